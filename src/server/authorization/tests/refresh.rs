//! Refresh tokens: exchanged once, never wider, and ended with their family (items 118, 119).

use super::*;

#[tokio::test]
async fn item_118_each_exchange_gives_another_token_and_the_old_one_ends_the_family() {
    let fixture = Fixture::new().await;
    let first = fixture.tokens().await.text("refresh_token");
    let second = fixture.refresh(&first).await;
    assert_eq!(second.status, 200, "{second:?}");
    let second_token = second.text("refresh_token");
    assert_ne!(first, second_token);
    fixture.pass(21);
    let other = fixture.beside().await;
    assert_eq!(other.refresh(&first).await.is(400, "invalid_grant").reason, "refresh_reused");
    assert_eq!(fixture.refresh(&second_token).await.is(400, "invalid_grant").reason, "grant_ended");
    let asked = fixture.introspect_as_web(&second.text("access_token")).await;
    assert_eq!(asked.body, json!({ "active": false }));
}

#[tokio::test]
async fn item_118_within_the_grace_a_lost_answer_is_given_again() {
    let fixture = Fixture::new().await;
    let first = fixture.tokens().await.text("refresh_token");
    let second = fixture.refresh(&first).await.text("refresh_token");
    fixture.pass(19);
    let other = fixture.beside().await;
    let again = other.refresh(&first).await;
    assert_eq!(again.text("refresh_token"), second, "the same successor, whichever replica is asked");
    assert_eq!(fixture.refresh(&second).await.status, 200);
    // Once the successor was used, whoever shows the old one is another.
    assert_eq!(fixture.refresh(&first).await.is(400, "invalid_grant").reason, "refresh_reused");
}

#[tokio::test]
async fn item_118_two_who_refresh_at_once_get_the_same_successor() {
    let fixture = Fixture::new().await;
    let other = fixture.beside().await;
    let first = fixture.tokens().await.text("refresh_token");
    let (one, two) = tokio::join!(fixture.refresh(&first), other.refresh(&first));
    assert_eq!((one.status, two.status), (200, 200), "{one:?} {two:?}");
    assert_eq!(one.text("refresh_token"), two.text("refresh_token"));
}

#[tokio::test]
async fn item_119_a_refresh_narrows_and_never_widens() {
    let fixture = Fixture::new().await;
    let code = fixture.code_with("app", |authorized, _| authorized.scopes = vec!["files:read".into()]).await;
    let first = fixture.redeem(&code).await.text("refresh_token");
    let asked = |token: &str, scope: &str| {
        [("grant_type", "refresh_token"), ("client_id", "app"), ("refresh_token", token), ("scope", scope)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let send = async |pairs: [(String, String); 4]| {
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        fixture.post("/token", &pairs, &[]).await
    };
    send(asked(&first, "files:read files:write")).await.is(400, "invalid_scope");
    let same = send(asked(&first, "files:read offline_access")).await;
    assert_eq!(same.body["scope"], "files:read");
    // What was asked for in vain cost nothing, and the whole grant is still there.
    assert_eq!(fixture.refresh(&same.text("refresh_token")).await.body["scope"], "files:read");
}

#[tokio::test]
async fn item_119_another_client_gets_nothing_for_it_and_ends_nothing() {
    let fixture = Fixture::new().await;
    let first = fixture.tokens().await.text("refresh_token");
    let stolen = [("grant_type", "refresh_token"), ("refresh_token", first.as_str()), ("client_id", "other")];
    assert_eq!(fixture.post("/token", &stolen, &[]).await.is(400, "invalid_grant").reason, "other_client");
    assert_eq!(fixture.refresh(&first).await.status, 200);
    fixture.refresh("bm90IGEgdG9rZW4").await.is(400, "invalid_grant");
}

#[tokio::test]
async fn a_refresh_token_lives_as_long_as_it_is_used_and_no_longer_than_the_grant() {
    const DAY: u64 = 24 * 3600;
    let fixture = Fixture::new().await;
    let mut token = fixture.tokens().await.text("refresh_token");
    for _ in 0..4 {
        fixture.pass(6 * DAY);
        token = fixture.refresh(&token).await.text("refresh_token");
    }
    fixture.pass(6 * DAY);
    fixture.refresh(&token).await.is(400, "invalid_grant");
    let idle = fixture.tokens().await.text("refresh_token");
    fixture.pass(7 * DAY);
    assert_eq!(fixture.refresh(&idle).await.is(400, "invalid_grant").reason, "refresh_expired");
}

#[tokio::test]
async fn what_a_client_did_not_ask_for_it_does_not_get() {
    let fixture = Fixture::new().await;
    let code = fixture.code_with("app", |authorized, _| authorized.offline = false).await;
    assert_eq!(fixture.redeem(&code).await.body.get("refresh_token"), None);
}

#[tokio::test]
async fn no_secret_stands_in_the_store() {
    let fixture = Fixture::new().await;
    let code = fixture.code("app").await;
    let first = fixture.redeem(&code).await;
    let second = fixture.refresh(&first.text("refresh_token")).await;
    fixture.state.store().expect("a store").close().await;
    let mut all = Vec::new();
    for entry in std::fs::read_dir(fixture.folder.path()).expect("a folder") {
        let path = entry.expect("a file").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("doorward.db"))
            && path.extension().is_none_or(|end| end != "key")
        {
            all.extend(std::fs::read(path).expect("read"));
        }
    }
    let holds = |text: &str| all.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("alice"), "it is the database that was read");
    for secret in [&code, &first.text("refresh_token"), &second.text("refresh_token"), &second.text("access_token")] {
        assert!(!holds(secret));
    }
}

#[tokio::test]
async fn item_119_a_client_gets_no_scope_that_its_configuration_does_not_name_any_more() {
    let fixture = Fixture::with(|config| config["authorization_server"]["clients"]["app"]["scopes"] = json!(["files:read"])).await;
    // Agreed to when it could have more.
    let got = fixture.tokens().await;
    assert_eq!((got.claims()["scope"].clone(), &got.body["scope"]), (json!("files:read"), &json!("files:read")));
    let next = fixture.refresh(&got.text("refresh_token")).await;
    assert_eq!(next.claims()["scope"], "files:read");
    let refresh = next.text("refresh_token");
    let pairs = [("grant_type", "refresh_token"), ("refresh_token", &refresh), ("client_id", "app"), ("scope", "files:write")];
    fixture.post("/token", &pairs, &[]).await.is(400, "invalid_scope");
}
