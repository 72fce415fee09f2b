use http::header::CACHE_CONTROL;
use serde_json::json;

use super::*;
use crate::governance::client::Terms;
use crate::server::authorization::ClientFault;
use crate::server::authorization::fixture::{Fixture, ISSUER, json_of};

fn agent() -> Value {
    json!({
        "client_name": "Acme agent", "redirect_uris": ["https://agent.example/cb"], "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"], "scope": "files:read", "made_up": 1,
    })
}

/// With a secret.
fn backend() -> Value {
    json!({ "client_name": "Acme backend", "redirect_uris": ["https://backend.example/cb"], "token_endpoint_auth_method": "client_secret_post" })
}

async fn with(registration: Value) -> Fixture {
    Fixture::new(json!({ "registration": registration })).await
}

async fn open() -> Fixture {
    with(json!({ "rate": "1000/m" })).await
}

fn says(reply: &Reply, status: u16, error: &str) {
    assert_eq!(reply.response.status(), status, "{:?}", reply.response.body());
    let body = json_of(reply);
    assert_eq!(body["error"], error);
    assert!(body["error_description"].is_string());
    assert_eq!(reply.response.headers()[CACHE_CONTROL], "no-store");
    assert_eq!(reply.told.outcome, crate::event::Outcome::Refused);
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[tokio::test]
async fn item_128_a_sound_registration_is_201_with_what_is_effective() {
    let fixture = open().await;
    let reply = fixture.post("/register", &agent()).await;
    assert_eq!(reply.response.status(), 201);
    assert_eq!(reply.response.headers()[CACHE_CONTROL], "no-store");
    let id = json_of(&reply)["client_id"].as_str().expect("an id").to_owned();
    assert!(!id.starts_with("https://"));
    assert_eq!(
        json_of(&reply),
        json!({
            "client_id": id, "client_id_issued_at": fixture.now, "client_name": "Acme agent",
            "redirect_uris": ["https://agent.example/cb"], "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"], "token_endpoint_auth_method": "none",
        })
    );
    assert_eq!((reply.told.reason, reply.told.name), ("registered", Some(id)));
}

#[tokio::test]
async fn item_128_a_secret_comes_with_its_end_and_is_kept_by_its_digest_alone() {
    let fixture = open().await;
    let reply = fixture.post("/register", &backend()).await;
    let answer = json_of(&reply);
    let (id, secret) = (answer["client_id"].as_str().expect("an id"), answer["client_secret"].as_str().expect("a secret"));
    assert_eq!((&answer["client_secret_expires_at"], &answer["token_endpoint_auth_method"]), (&json!(0), &json!("client_secret_post")));
    let row = fixture.store.registration(id).await.expect("read").expect("there");
    assert_eq!(row.secret, Some(digest(secret)));
    assert!(!format!("{row:?}").contains(secret));
    let again = json_of(&fixture.post("/register", &backend()).await);
    assert_ne!(again["client_id"], answer["client_id"], "a secret is nobody else's");
}

#[tokio::test]
async fn item_129_and_130_what_is_wrong_is_said_in_the_words_of_rfc_7591() {
    let fixture = open().await;
    let with = |member: &str, value: Value| {
        let mut metadata = agent();
        metadata[member] = value;
        metadata
    };
    for uri in ["http://evil.example/cb", "javascript:alert(1)", "https://*.agent.example/cb", "https://agent.example/cb#x"] {
        says(&fixture.post("/register", &with("redirect_uris", json!([uri]))).await, 400, "invalid_redirect_uri");
    }
    for (member, value) in [
        ("response_types", json!(["token"])),
        ("grant_types", json!(["password"])),
        ("client_name", json!(1)),
        ("token_endpoint_auth_method", json!("client_secret_jwt")),
    ] {
        says(&fixture.post("/register", &with(member, value)).await, 400, "invalid_client_metadata");
    }
    for (kind, body) in
        [("text/plain", agent().to_string()), ("application/json", "{".into()), ("application/json", " ".repeat(LARGEST + 1))]
    {
        says(&fixture.ask(Method::POST, "/register", &[("content-type", kind)], body).await, 400, "invalid_client_metadata");
    }
    assert_eq!(fixture.ask(Method::GET, "/register", &[], "").await.response.status(), 405);
    assert!(fixture.store.registrations_after("", 10).await.expect("read").is_empty());
}

#[tokio::test]
async fn registrations_that_repeat_are_one_client_that_nobody_can_manage() {
    let fixture = open().await;
    let on = |port: u16| {
        let mut metadata = agent();
        metadata["redirect_uris"] = json!([format!("http://localhost:{port}/callback")]);
        metadata
    };
    let first = json_of(&fixture.post("/register", &on(3334)).await);
    for port in 5_001..=5_500 {
        let reply = fixture.post("/register", &on(port)).await;
        assert_eq!((reply.response.status().as_u16(), &json_of(&reply)), (201, &first));
        assert_eq!(reply.told.reason, "registered_again");
    }
    assert_eq!(fixture.store.registrations_after("", 10).await.expect("read").len(), 1);
    assert!(first.get("registration_access_token").is_none());
    let uri = format!("/doorward/register/{}", first["client_id"].as_str().expect("an id"));
    for token in ["x", ""] {
        let reply = fixture.ask(Method::DELETE, &uri, &[("authorization", &bearer(token))], "").await;
        says(&reply, 401, "invalid_token");
    }
}

#[tokio::test]
async fn item_132_without_the_initial_access_token_nobody_registers() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "let-me-register").expect("written");
    let fixture = with(json!({ "initial_access_token_file": file })).await;
    let json = ("content-type", "application/json");
    for headers in [vec![json], vec![json, ("authorization", "Bearer other")], vec![json, ("authorization", "Basic let-me-register")]] {
        let reply = fixture.ask(Method::POST, "/register", &headers, agent().to_string()).await;
        says(&reply, 401, "invalid_token");
        assert_eq!(reply.response.headers()[WWW_AUTHENTICATE], "Bearer error=\"invalid_token\"");
    }
    let headers = [json, ("authorization", "Bearer let-me-register")];
    assert_eq!(fixture.ask(Method::POST, "/register", &headers, agent().to_string()).await.response.status(), 201);
}

#[tokio::test]
async fn where_registration_is_off_nobody_registers_and_is_told_whom_to_ask() {
    let fixture = with(json!({ "dynamic": "off" })).await;
    says(&fixture.post("/register", &agent()).await, 403, "access_denied");
}

#[tokio::test]
async fn s36_registrations_are_limited_by_address_and_in_all() {
    let mut fixture = with(json!({ "rate": "2/h" })).await;
    let mut register = async |last: u8| {
        fixture.source = std::net::IpAddr::from([192, 0, 2, last]);
        fixture.post("/register", &agent()).await
    };
    for _ in 0..2 {
        assert_eq!(register(1).await.response.status(), 201);
    }
    let reply = register(1).await;
    says(&reply, 429, "temporarily_unavailable");
    assert!(reply.response.headers().contains_key(RETRY_AFTER));
    let mut taken = 2;
    for address in 2..=250 {
        taken += u32::from(register(address).await.response.status() == 201);
    }
    assert_eq!(taken, 2 * ALL);
}

#[tokio::test]
async fn s36_there_are_only_so_many_registered_clients() {
    let fixture = with(json!({ "most": 2, "rate": "1000/m" })).await;
    let named = |name: &str| {
        let mut metadata = agent();
        metadata["client_name"] = json!(name);
        metadata
    };
    for name in ["a", "b"] {
        assert_eq!(fixture.post("/register", &named(name)).await.response.status(), 201);
    }
    let reply = fixture.post("/register", &named("c")).await;
    says(&reply, 503, "temporarily_unavailable");
    assert!(reply.response.headers().contains_key(RETRY_AFTER));
    assert_eq!(fixture.post("/register", &named("a")).await.response.status(), 201, "who is known is known");
}

#[tokio::test]
async fn item_134_a_registrant_reads_changes_and_deletes_its_own_client() {
    let fixture = with(json!({ "dynamic": "open", "rate": "1000/m" })).await;
    let first = json_of(&fixture.post("/register", &backend()).await);
    let id = first["client_id"].as_str().expect("an id").to_owned();
    let uri = first["registration_client_uri"].as_str().expect("a URI").strip_prefix(ISSUER).expect("ours").to_owned();
    let token = bearer(first["registration_access_token"].as_str().expect("a token"));
    let ask = async |method: Method, body: Value| {
        let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
        fixture.ask(method, &uri, &headers, if body.is_null() { String::new() } else { body.to_string() }).await
    };
    let read = ask(Method::GET, Value::Null).await;
    assert_eq!(read.response.status(), 200);
    let mut expected = first.clone();
    let members = expected.as_object_mut().expect("an object");
    members.remove("client_secret");
    members.remove("client_secret_expires_at");
    assert_eq!(json_of(&read), expected);

    // Nobody else's token, and nothing for anybody without one.
    let other = json_of(&fixture.post("/register", &backend()).await);
    let stranger = bearer(other["registration_access_token"].as_str().expect("a token"));
    for headers in [vec![], vec![("authorization", stranger.as_str())], vec![("authorization", "Bearer x")]] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            says(&fixture.ask(method, &uri, &headers, "{}").await, 401, "invalid_token");
        }
    }
    let unknown = fixture.ask(Method::GET, "/doorward/register/dyn-unknown", &[("authorization", &token)], "").await;
    says(&unknown, 401, "invalid_token");

    let mut changed = backend();
    changed["client_id"] = json!(id);
    changed["client_secret"] = first["client_secret"].clone();
    changed["redirect_uris"] = json!(["https://backend.example/other"]);
    let reply = ask(Method::PUT, changed.clone()).await;
    assert_eq!((reply.response.status().as_u16(), &json_of(&reply)["redirect_uris"]), (200, &changed["redirect_uris"]));
    for (member, value) in [("client_id", json!("other")), ("client_secret", json!("other")), ("token_endpoint_auth_method", json!("none"))]
    {
        let mut wrong = changed.clone();
        wrong[member] = value;
        says(&ask(Method::PUT, wrong).await, 400, "invalid_client_metadata");
    }
    assert!(fixture.server.client(&fixture.call(), &id).await.is_ok());
    let gone = ask(Method::DELETE, Value::Null).await;
    assert_eq!((gone.response.status().as_u16(), gone.response.body().len()), (204, 0));
    says(&ask(Method::GET, Value::Null).await, 401, "invalid_token");
    assert!(matches!(fixture.server.client(&fixture.call(), &id).await, Err(ClientFault::Unknown)));
    let tombstone = fixture.store.client(&key(&fixture.call(), &id)).await.expect("read").expect("there");
    assert_eq!(tombstone.state, State::Retired, "its tokens are dead");
}

#[tokio::test]
async fn item_134_a_client_that_changes_where_its_answers_go_waits_again() {
    let fixture = open().await;
    let first = json_of(&fixture.post("/register", &backend()).await);
    let id = first["client_id"].as_str().expect("an id").to_owned();
    let uri = format!("/doorward/register/{id}");
    let token = bearer(first["registration_access_token"].as_str().expect("a token"));
    let approve = async || {
        let approved = |found: Option<crate::governance::client::Client>| {
            let entered = crate::governance::client::Client::entered(key(&fixture.call(), &id));
            found.unwrap_or(entered).moved(State::Approved)
        };
        let reason = Reason { text: "test", actor: "mia", made: fixture.now };
        fixture.store.change_client(&key(&fixture.call(), &id), approved, &reason).await.expect("written");
    };
    let put = async |member: &str, value: Value| {
        let mut changed = backend();
        changed["client_id"] = json!(id);
        changed[member] = value;
        let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
        let reply = fixture.ask(Method::PUT, &uri, &headers, changed.to_string()).await;
        assert_eq!(reply.response.status(), 200, "{member}");
        fixture.store.client(&key(&fixture.call(), &id)).await.expect("read").expect("there").state
    };
    approve().await;
    assert_eq!(put("software_version", json!("2")).await, State::Approved, "nothing that was decided on");
    assert_eq!(put("redirect_uris", json!(["https://evil.example/cb"])).await, State::Pending);
    approve().await;
    assert_eq!(put("client_name", json!("Claude")).await, State::Pending);
}

#[tokio::test]
async fn a_retired_client_does_not_come_back_by_registering_again() {
    let fixture = with(json!({ "dynamic": "open" })).await;
    let id = json_of(&fixture.post("/register", &agent()).await)["client_id"].as_str().expect("an id").to_owned();
    fixture.decide(&id, State::Retired, Terms::default());
    fixture.store.drop_registration(&id).await.expect("dropped");
    assert_eq!(json_of(&fixture.post("/register", &agent()).await)["client_id"], json!(id));
    assert!(matches!(fixture.server.client(&fixture.call(), &id).await, Err(ClientFault::Retired)));
}
