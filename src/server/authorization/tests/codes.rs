//! Codes, and who redeems them (items 107, 108, 115 to 117, 120).

use super::*;

#[tokio::test]
async fn item_117_a_token_answer_is_json_that_nobody_keeps() {
    let fixture = Fixture::new().await;
    let got = fixture.tokens().await;
    assert_eq!(got.headers["cache-control"], "no-store");
    assert_eq!(got.headers["content-type"], "application/json");
    assert_eq!((&got.body["token_type"], &got.body["expires_in"]), (&json!("Bearer"), &json!(600)));
    assert_eq!(got.body["scope"], "files:read files:write");
    assert!(got.body["refresh_token"].is_string());
}

#[tokio::test]
async fn item_120_an_access_token_is_an_at_jwt_for_one_resource() {
    let fixture = Fixture::new().await;
    let got = fixture.tokens().await;
    let header = part(&got.text("access_token"), 0);
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("ES256")));
    let claims = got.claims();
    for (name, value) in [("iss", json!(ORIGIN)), ("sub", json!(ALICE)), ("aud", json!(FILES)), ("client_id", json!("app"))] {
        assert_eq!(claims[name], value, "{name}");
    }
    assert_eq!(claims["exp"].as_u64().zip(claims["iat"].as_u64()).map(|(end, begin)| end - begin), Some(600));
    assert!(claims["jti"].is_string() && claims["sid"].is_string() && claims["auth_time"].is_u64());
    let keys = fixture.get("/jwks.json").await;
    assert_eq!(keys.body["keys"][0]["kid"], header["kid"]);
}

#[tokio::test]
async fn item_115_the_second_use_of_a_code_is_refused_and_revokes_what_the_first_gave() {
    let fixture = Fixture::new().await;
    let code = fixture.code("app").await;
    let first = fixture.redeem(&code).await;
    assert_eq!(first.status, 200, "{first:?}");
    // At another replica, so that nothing in memory decides.
    let other = fixture.beside().await;
    assert_eq!(other.redeem(&code).await.is(400, "invalid_grant").reason, "code_reused");
    fixture.refresh(&first.text("refresh_token")).await.is(400, "invalid_grant");
    let asked = other.introspect_as_web(&first.text("access_token")).await;
    assert_eq!(asked.body, json!({ "active": false }));
}

#[tokio::test]
async fn item_115_of_two_who_come_at_once_none_keeps_anything() {
    let fixture = Fixture::new().await;
    let code = fixture.code("app").await;
    let (one, two) = tokio::join!(fixture.redeem(&code), fixture.redeem(&code));
    let good: Vec<&Got> = [&one, &two].into_iter().filter(|got| got.status == 200).collect();
    assert_eq!(good.len(), 1, "{one:?} {two:?}");
    fixture.refresh(&good[0].text("refresh_token")).await.is(400, "invalid_grant");
}

#[tokio::test]
async fn item_115_a_code_is_bound_to_client_redirect_and_time_and_a_wrong_guess_costs_nothing() {
    let fixture = Fixture::new().await;
    let code = fixture.code("app").await;
    assert_eq!(fixture.post("/token", &redeeming(&code, "other"), &[]).await.is(400, "invalid_grant").reason, "other_client");
    let mut elsewhere = redeeming(&code, "app");
    elsewhere[3].1 = "http://127.0.0.1/cb2";
    assert_eq!(fixture.post("/token", &elsewhere, &[]).await.is(400, "invalid_grant").reason, "redirect_mismatch");
    assert_eq!(fixture.redeem(&code).await.status, 200, "and the owner still can");
    let late = fixture.code("app").await;
    fixture.pass(61);
    fixture.redeem(&late).await.is(400, "invalid_grant");
    fixture.redeem("bm90IGEgY29kZQ").await.is(400, "invalid_grant");
}

#[tokio::test]
async fn item_116_a_wrong_a_missing_and_a_superfluous_verifier_are_refused() {
    let fixture = Fixture::new().await;
    let code = fixture.code("app").await;
    let mut wrong = redeeming(&code, "app");
    let other = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    wrong[2].1 = other;
    assert_eq!(fixture.post("/token", &wrong, &[]).await.is(400, "invalid_grant").reason, "verifier_mismatch");
    wrong[2].1 = "";
    fixture.post("/token", &wrong, &[]).await.is(400, "invalid_request");
    let got = fixture.redeem(&code).await;
    let refresh = got.text("refresh_token");
    let superfluous = [("grant_type", "refresh_token"), ("refresh_token", &refresh), ("client_id", "app"), ("code_verifier", VERIFIER)];
    fixture.post("/token", &superfluous, &[]).await.is(400, "invalid_request");
}

#[tokio::test]
async fn item_108_a_token_request_for_another_resource_is_refused() {
    let fixture = Fixture::new().await;
    let code = fixture.code("app").await;
    let with = |resource: &'static str| redeeming(&code, "app").into_iter().chain([("resource", resource)]).collect::<Vec<_>>();
    fixture.post("/token", &with(CRM), &[]).await.is(400, "invalid_target");
    fixture.post("/token", &with("https://other.example.com/files"), &[]).await.is(400, "invalid_target");
    let got = fixture.post("/token", &with("HTTPS://MCP.example.com/files"), &[]).await;
    assert_eq!(got.claims()["aud"], FILES, "item 107: another case of the host is the same resource");
    let refresh = got.text("refresh_token");
    let elsewhere = [("grant_type", "refresh_token"), ("refresh_token", &refresh), ("client_id", "app"), ("resource", CRM)];
    fixture.post("/token", &elsewhere, &[]).await.is(400, "invalid_target");
}

#[tokio::test]
async fn a_client_proves_itself_as_it_is_registered_and_in_no_other_way() {
    let fixture = Fixture::new().await;
    let code = fixture.code("web").await;
    let anonymous = redeeming(&code, "web");
    fixture.post("/token", &anonymous, &[]).await.is(401, "invalid_client");
    let body = |secret: &'static str| anonymous.into_iter().chain([("client_secret", secret)]).collect::<Vec<_>>();
    fixture.post("/token", &body("wrong"), &[]).await.is(401, "invalid_client");
    let wrong = fixture.post("/token", &anonymous, &[("authorization", &basic("web", "wrong"))]).await.is(401, "invalid_client");
    assert!(wrong.headers["www-authenticate"].to_str().expect("text").starts_with("Basic"));
    let both = fixture.post("/token", &body(SECRET), &[("authorization", &basic("web", SECRET))]).await;
    both.is(400, "invalid_request");
    fixture.post("/token", &anonymous, &[("authorization", &basic("app", SECRET))]).await.is(400, "invalid_request");
    let good = fixture.post("/token", &anonymous, &[("authorization", &basic("web", SECRET))]).await;
    assert_eq!(good.status, 200, "{good:?}");
    let again = fixture.code("web").await;
    let posted: Vec<_> = redeeming(&again, "web").into_iter().chain([("client_secret", SECRET)]).collect();
    assert_eq!(fixture.post("/token", &posted, &[]).await.status, 200);
    // A public client with a secret is somebody who is confused.
    let code = fixture.code("app").await;
    let odd: Vec<_> = redeeming(&code, "app").into_iter().chain([("client_secret", SECRET)]).collect();
    fixture.post("/token", &odd, &[]).await.is(401, "invalid_client");
}

#[tokio::test]
async fn an_unknown_client_is_401_invalid_client() {
    let fixture = Fixture::new().await;
    let code = fixture.code("app").await;
    fixture.post("/token", &redeeming(&code, "nobody"), &[]).await.is(401, "invalid_client");
    let got = fixture.post("/token", &redeeming(&code, ""), &[]).await.is(401, "invalid_client");
    assert_eq!(got.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn s37_a_suspended_client_redeems_nothing_and_refreshes_nothing() {
    let fixture = Fixture::new().await;
    let (code, before) = (fixture.code("app").await, fixture.tokens().await);
    fixture.suspend("app").await;
    for got in [fixture.redeem(&code).await, fixture.refresh(&before.text("refresh_token")).await] {
        assert_eq!(got.is(400, "unauthorized_client").reason, "client_suspended");
    }
}

#[tokio::test]
async fn only_a_post_of_a_form_is_a_token_request() {
    let fixture = Fixture::new().await;
    let got = fixture.get("/token?grant_type=client_credentials").await;
    assert_eq!((got.status, got.headers["allow"].to_str().ok()), (405, Some("POST")));
    let request = Request::builder().method(Method::POST).uri("/token").header("content-type", "application/json");
    let got = fixture.send(request.body(Bytes::from_static(b"{}")).expect("a request")).await;
    got.is(400, "invalid_request");
    fixture.post("/token", &[("grant_type", "password"), ("client_id", "app")], &[]).await.is(400, "unsupported_grant_type");
}

#[tokio::test]
async fn a_client_that_is_not_registered_for_a_grant_does_not_get_it() {
    let fixture = Fixture::new().await;
    let asked = [("grant_type", "client_credentials"), ("resource", FILES)];
    fixture.post("/token", &asked, &[("authorization", &basic("web", SECRET))]).await.is(400, "unauthorized_client");
}

impl Fixture {
    pub(super) async fn introspect_as_web(&self, token: &str) -> Got {
        self.post("/introspect", &[("token", token)], &[("authorization", &basic("web", SECRET))]).await
    }

    pub(super) async fn suspend(&self, client: &str) {
        use crate::governance::client::{Client, Key, State as Standing};
        let key = Key { issuer: ORIGIN.into(), id: client.into() };
        let suspended = Client { state: Standing::Suspended, ..Client::entered(key) };
        self.state.current().clients.as_ref().expect("a store").apply(suspended);
    }
}
