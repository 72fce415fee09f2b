//! Tokens that end, and what is told of them (items 146, 147).

use super::*;
use crate::governance::{Bounds, Revocation, Selector};
use crate::store::Reason;

#[tokio::test]
async fn item_146_a_revoked_refresh_token_takes_its_access_tokens_along() {
    let fixture = Fixture::new().await;
    let got = fixture.tokens().await;
    let (refresh, access) = (got.text("refresh_token"), got.text("access_token"));
    let asked = fixture.introspect_all(&access).await;
    assert_eq!(asked.body["active"], true);
    let revoked = fixture.post("/revoke", &[("token", &refresh), ("client_id", "app")], &[]).await;
    assert_eq!((revoked.status, revoked.headers["cache-control"].to_str().ok()), (200, Some("no-store")));
    fixture.refresh(&refresh).await.is(400, "invalid_grant");
    assert_eq!(fixture.introspect_all(&access).await.body, json!({ "active": false }));
}

#[tokio::test]
async fn item_146_garbage_is_200_and_another_clients_token_is_refused() {
    let fixture = Fixture::new().await;
    let got = fixture.tokens().await;
    for garbage in ["garbage", "a.b.c", "\u{e9}", &got.text("access_token").replace('.', "x.")] {
        assert_eq!(fixture.post("/revoke", &[("token", garbage), ("client_id", "app")], &[]).await.status, 200, "{garbage}");
    }
    for token in ["refresh_token", "access_token"] {
        let foreign = fixture.post("/revoke", &[("token", &got.text(token)), ("client_id", "other")], &[]).await;
        foreign.is(400, "invalid_grant");
    }
    fixture.post("/revoke", &[("token", "x"), ("client_id", "nobody")], &[]).await.is(401, "invalid_client");
    fixture.post("/revoke", &[("client_id", "app")], &[]).await.is(400, "invalid_request");
    assert_eq!(fixture.refresh(&got.text("refresh_token")).await.status, 200, "and nothing has ended");
}

#[tokio::test]
async fn a_revoked_access_token_ends_alone() {
    let fixture = Fixture::new().await;
    let got = fixture.tokens().await;
    let access = got.text("access_token");
    assert_eq!(fixture.post("/revoke", &[("token", &access), ("client_id", "app")], &[]).await.status, 200);
    assert_eq!(fixture.introspect_all(&access).await.body, json!({ "active": false }));
    assert_eq!(fixture.refresh(&got.text("refresh_token")).await.status, 200);
}

#[tokio::test]
async fn item_147_who_does_not_prove_itself_is_told_nothing_and_of_a_foreign_token_nobody_is() {
    let fixture = Fixture::new().await;
    let (access, refresh) = {
        let got = fixture.tokens().await;
        (got.text("access_token"), got.text("refresh_token"))
    };
    fixture.post("/introspect", &[("token", &access)], &[]).await.is(401, "invalid_client");
    fixture.post("/introspect", &[("token", &access), ("client_id", "app")], &[]).await.is(401, "invalid_client");
    for token in ["garbage", "a.b.c", access.as_str(), refresh.as_str()] {
        // `web` may ask about its own tokens alone.
        let got = fixture.introspect_as_web(token).await;
        assert_eq!((got.status, got.body), (200, json!({ "active": false })));
    }
    let own = fixture.code("web").await;
    let got = fixture.post("/token", &redeeming(&own, "web"), &[("authorization", &basic("web", SECRET))]).await;
    let told = fixture.introspect_as_web(&got.text("access_token")).await.body;
    assert_eq!(
        (&told["active"], &told["sub"], &told["aud"], &told["token_type"]),
        (&json!(true), &json!(ALICE), &json!(FILES), &json!("Bearer"))
    );
    let told = fixture.introspect_as_web(&got.text("refresh_token")).await.body;
    assert_eq!((&told["active"], &told["client_id"]), (&json!(true), &json!("web")));
    fixture.pass(700);
    assert_eq!(fixture.introspect_as_web(&got.text("access_token")).await.body, json!({ "active": false }));
}

#[tokio::test]
async fn item_148_a_revocation_of_a_person_ends_that_persons_grants_for_good_and_no_others() {
    let fixture = Fixture::new().await;
    let alice = fixture.tokens().await.text("refresh_token");
    let code = fixture.code_with("app", |_, person| person.subject = "account|bob".into()).await;
    let bob = fixture.redeem(&code).await.text("refresh_token");
    let selector = Selector::Subject { issuer: ORIGIN.into(), subject: ALICE.into() };
    let revocation = Revocation::new(selector, fixture.now(), None, None, &Bounds::default());
    let reason = Reason { text: "left", actor: "mia", made: fixture.now() };
    fixture.state.store().expect("a store").revoke(&revocation, &reason).await.expect("written");
    // Longer than the revocation itself is remembered: the grant has ended in the store.
    fixture.pass(3 * 24 * 3600);
    assert_eq!(fixture.refresh(&alice).await.is(400, "invalid_grant").reason, "grant_ended");
    assert_eq!(fixture.refresh(&bob).await.status, 200);
    let later = fixture.tokens().await;
    assert_eq!(fixture.refresh(&later.text("refresh_token")).await.status, 200, "what she agreed to afterwards is good");
}

#[tokio::test]
async fn each_wide_revocation_ends_the_grants_that_it_means() {
    for (selector, ends) in [
        (Selector::Client("app".into()), true),
        (Selector::Client("web".into()), false),
        (Selector::Upstream("files".into()), true),
        (Selector::Upstream("crm".into()), false),
        (Selector::Everything, true),
        (Selector::Subject { issuer: "https://other.example.com".into(), subject: ALICE.into() }, false),
    ] {
        let fixture = Fixture::new().await;
        let token = fixture.tokens().await.text("refresh_token");
        let revocation = Revocation::new(selector.clone(), fixture.now(), None, None, &Bounds::default());
        let reason = Reason { text: "test", actor: "mia", made: fixture.now() };
        fixture.state.store().expect("a store").revoke(&revocation, &reason).await.expect("written");
        let status = fixture.refresh(&token).await.status;
        assert_eq!(status, if ends { 400 } else { 200 }, "{selector:?}");
    }
}

impl Fixture {
    /// By the client that may ask about every token.
    pub(super) async fn introspect_all(&self, token: &str) -> Got {
        self.post("/introspect", &[("token", token)], &[("authorization", &basic("robot", SECRET))]).await
    }
}

#[tokio::test]
async fn issue_6_8_whoever_signs_in_again_at_once_is_let_in_and_nothing_from_before_is_though_the_clocks_differ() {
    let subject = Selector::Subject { issuer: ORIGIN.into(), subject: ALICE.into() };
    for selector in [Selector::Client("app".into()), subject, Selector::Upstream("files".into())] {
        for (skew, by_the_late_one) in [(0, true), (4, true), (4, false)] {
            let late = Fixture::new().await;
            let early = late.beside().await;
            early.pass(skew);
            let before = [late.tokens().await, early.tokens().await];
            let by = if by_the_late_one { &late } else { &early };
            by.ends(&selector, &[&late, &early]).await;
            let after = [late.tokens().await, early.tokens().await];
            for replica in [&late, &early] {
                for old in &before {
                    let told = replica.introspect_all(&old.text("access_token")).await.body;
                    assert_eq!(told, json!({ "active": false }), "{selector:?}, {skew}");
                }
                for new in &after {
                    let told = replica.introspect_all(&new.text("access_token")).await.body;
                    assert_eq!(told["active"], true, "{selector:?}, {skew}: {told}");
                }
            }
        }
    }
}

#[tokio::test]
async fn item_148_a_revocation_until_now_ends_what_a_replica_whose_clock_is_ahead_gave_out() {
    let (here, minutes) = (Fixture::new().await, 5);
    let ahead = here.beside().await;
    ahead.pass(minutes * 60);
    let got = ahead.tokens().await;
    here.ends(&Selector::Client("app".into()), &[&here, &ahead]).await;
    ahead.refresh(&got.text("refresh_token")).await.is(400, "invalid_grant");
    assert_eq!(ahead.introspect_all(&got.text("access_token")).await.body, json!({ "active": false }));
}

impl Fixture {
    /// Revokes until now by this replica's clock; these replicas read it.
    async fn ends(&self, selector: &Selector, replicas: &[&Fixture]) {
        let store = self.state.store().expect("a store");
        let revocation = Revocation::new(selector.clone(), self.now(), None, None, &Bounds::default());
        store.revoke(&revocation, &Reason { text: "test", actor: "mia", made: self.now() }).await.expect("written");
        for replica in replicas {
            let index = replica.state.current().revocations.clone().expect("an index");
            for (seq, revocation) in store.since(0, 100).await.expect("read") {
                index.apply(seq, &revocation).expect("room");
            }
        }
    }
}

#[tokio::test]
async fn s33_a_recovery_ends_all_however_often_a_thief_signed_in_and_connected() {
    use crate::store::authorization::{BrowserSession, Grant, Kind};
    let fixture = Fixture::new().await;
    let first = fixture.tokens().await;
    let store = fixture.state.store().expect("a store");
    let grant = store.grants_of(ALICE, fixture.now()).await.expect("read").remove(0);
    let expires = fixture.now() + 3600;
    // More than any page lists, so that the first ones stand on none.
    for n in 0..250 {
        let later = Grant { id: format!("grant-{n}"), created: grant.created + 1, ..grant.clone() };
        store.put_grant(&later, None).await.expect("written");
        let digest = format!("session-{n:03}");
        store.put_ticket(Kind::Session, &digest, "{}", expires).await.expect("written");
        let session = BrowserSession { digest, begun: fixture.now() + n, expires, agent: "a browser".into() };
        store.note_session(ALICE, &session).await.expect("written");
    }
    let world = fixture.state.current();
    let settings = world.config.authorization_server.as_ref().expect("the section");
    let call = Call { world: &world, settings, store, origin: fixture.origin(), now: fixture.now() };
    let account = store.account_named("alice").await.expect("read").expect("an account");
    fixture.server.end_everything(&call, &account, "recovered").await.expect("ended");
    fixture.refresh(&first.text("refresh_token")).await.is(400, "invalid_grant");
    assert_eq!(fixture.introspect_all(&first.text("access_token")).await.body, json!({ "active": false }));
    assert_eq!(store.ticket(Kind::Session, "session-000", fixture.now()).await.expect("read"), None);
    let after = fixture.tokens().await;
    assert_eq!(fixture.introspect_all(&after.text("access_token")).await.body["active"], true, "and nothing of what comes then");
}

#[tokio::test]
async fn s33_what_was_under_way_while_a_person_was_revoked_gives_no_token() {
    let fixture = Fixture::new().await;
    let subject = Selector::Subject { issuer: ORIGIN.into(), subject: ALICE.into() };
    let before = fixture.state.store().expect("a store").changes().await.expect("read");
    let early = fixture.code_with("app", |_, person| person.after = Some(before)).await;
    let early = fixture.redeem(&early).await;
    assert_eq!(early.status, 200, "{early:?}");
    fixture.ends(&subject, &[&fixture]).await;
    let code = fixture.code_with("app", |_, person| person.after = Some(before)).await;
    assert_eq!(fixture.redeem(&code).await.is(400, "invalid_grant").reason, "grant_ended");
    let code = fixture.code_with("app", |_, person| person.after = Some(before + 1)).await;
    assert_eq!(fixture.redeem(&code).await.status, 200, "whoever signed in afterwards");
}

#[tokio::test]
async fn s33_what_was_under_way_gives_no_token_on_a_replica_that_has_not_heard_of_the_revocation_either() {
    let fixture = Fixture::new().await;
    let store = fixture.state.store().expect("a store");
    let before = store.changes().await.expect("read");
    fixture.ends(&Selector::Subject { issuer: ORIGIN.into(), subject: ALICE.into() }, &[]).await;
    let code = fixture.code_with("app", |_, person| person.after = Some(before)).await;
    assert_eq!(fixture.redeem(&code).await.is(400, "invalid_grant").reason, "grant_ended");
}

#[tokio::test]
async fn s40_while_it_is_not_known_what_is_revoked_a_code_gives_no_token_and_is_not_used_up() {
    let fixture = Fixture::new().await;
    let before = fixture.state.store().expect("a store").changes().await.expect("read");
    let code = fixture.code_with("app", |_, person| person.after = Some(before)).await;
    fixture.reads.store(false, Ordering::Relaxed);
    let got = fixture.redeem(&code).await;
    assert_eq!((got.status, got.reason), (503, "revocations_unknown"));
    fixture.reads.store(true, Ordering::Relaxed);
    assert_eq!(fixture.redeem(&code).await.status, 200);
}
