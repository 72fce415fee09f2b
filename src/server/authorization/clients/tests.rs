use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::*;
use crate::oauth::{ClientAuthentication, ClientKeys, GrantType};
use crate::server::authorization::fixture::{Fixture, NOW, json_of};

fn agent() -> Value {
    json!({ "client_name": "Acme agent", "redirect_uris": ["https://agent.example/cb"], "token_endpoint_auth_method": "none" })
}

async fn registered(fixture: &Fixture, metadata: &Value) -> String {
    let reply = fixture.post("/register", metadata).await;
    assert_eq!(reply.response.status(), 201, "{:?}", reply.response.body());
    json_of(&reply)["client_id"].as_str().expect("an id").to_owned()
}

/// A host that publishes one document, and counts.
struct Host {
    url: String,
    page: Mutex<(u16, Value)>,
    asked: AtomicUsize,
}

impl Host {
    async fn serve() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/client.json", listener.local_addr().expect("an address"));
        let document = json!({ "client_id": url, "client_name": "Acme agent", "redirect_uris": ["https://agent.example/cb"] });
        let host = Arc::new(Self { url, page: Mutex::new((200, document)), asked: AtomicUsize::new(0) });
        let app = Router::new().fallback({
            let host = host.clone();
            move |_: Uri| async move {
                host.asked.fetch_add(1, Ordering::Relaxed);
                let (status, document) = host.page.lock().expect("a lock").clone();
                let headers = [("content-type", "application/json"), ("cache-control", "max-age=600")];
                (StatusCode::from_u16(status).expect("a status"), headers, document.to_string()).into_response()
            }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        host
    }

    fn set(&self, member: &str, value: Value) {
        self.page.lock().expect("a lock").1[member] = value;
    }

    fn answer(&self, status: u16) {
        self.page.lock().expect("a lock").0 = status;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn with(registration: Value) -> Fixture {
    Fixture::new(json!({ "registration": registration })).await
}

fn pending(found: Result<RegisteredClient, ClientFault>) -> String {
    match found {
        Err(ClientFault::Pending(code)) => code,
        other => panic!("not pending: {other:?}"),
    }
}

#[tokio::test]
async fn item_131_a_client_that_registered_waits_until_it_is_approved() {
    let fixture = with(json!({ "dynamic": "approval" })).await;
    let id = registered(&fixture, &agent()).await;
    let call = fixture.call();
    assert_eq!(fixture.store.clients_since(0, 10).await.expect("read"), [], "nobody waits for one that only registered");
    let code = pending(fixture.server.client(&call, &id).await);
    assert_eq!(code, key(&call, &id).code());
    let queue = fixture.store.clients_since(0, 10).await.expect("read");
    let [(_, waiting)] = queue.as_slice() else { panic!("{queue:?}") };
    assert_eq!((waiting.key.id.as_str(), waiting.state, waiting.source), (id.as_str(), State::Pending, Source::Registered));
    fixture.decide(&id, State::Approved, Terms::default());
    let client = fixture.server.client(&call, &id).await.expect("approved");
    assert_eq!((client.name.as_str(), client.authentication, client.scope), ("Acme agent", ClientAuthentication::None, None));
}

#[tokio::test]
async fn s37_a_decision_on_a_client_holds_for_every_kind() {
    let host = Host::serve().await;
    let section = json!({
        "registration": { "dynamic": "open", "metadata_documents": "open", "allow_loopback": true },
        "clients": { "desk": { "redirect_uris": ["https://desk.example/cb"] } },
    });
    let fixture = Fixture::new(section).await;
    let (call, dynamic) = (fixture.call(), registered(&fixture, &agent()).await);
    for id in ["desk", &dynamic, &host.url] {
        assert!(fixture.server.client(&call, id).await.is_ok(), "{id}");
        fixture.decide(id, State::Suspended, Terms::default());
        assert!(matches!(fixture.server.client(&call, id).await, Err(ClientFault::Suspended)), "{id}");
        fixture.decide(id, State::Approved, Terms { expires: Some(NOW), ..Terms::default() });
        assert!(matches!(fixture.server.client(&call, id).await, Err(ClientFault::Suspended)), "{id}");
        fixture.decide(id, State::Approved, Terms { scopes: Some(vec!["files:read".into()]), ..Terms::default() });
        let client = fixture.server.client(&call, id).await.expect("approved");
        assert_eq!(client.scope, Some(vec!["files:read".to_owned()]), "{id}");
        fixture.decide(id, State::Retired, Terms::default());
        assert!(matches!(fixture.server.client(&call, id).await, Err(ClientFault::Retired)), "{id}");
    }
}

#[tokio::test]
async fn an_unknown_client_is_unknown_whatever_its_id_looks_like() {
    let fixture = with(json!({})).await;
    for id in ["", "dyn-unknown", "desk", "a b", "caf\u{e9}", "a\u{0}", &"a".repeat(LONGEST + 1)] {
        assert!(matches!(fixture.server.client(&fixture.call(), id).await, Err(ClientFault::Unknown)), "{id:?}");
    }
}

#[tokio::test]
async fn where_registration_is_open_only_suspicious_clients_wait() {
    let fixture = with(json!({ "dynamic": "open", "rate": "100/m" })).await;
    let plain = registered(&fixture, &agent()).await;
    assert!(fixture.server.client(&fixture.call(), &plain).await.is_ok());
    for (name, uri) in [("Claude", "https://evil.example/cb"), ("CIaude", "https://evil.example/cb"), ("Acme desk", "com.acme.desk:/cb")] {
        let id = registered(&fixture, &json!({ "client_name": name, "redirect_uris": [uri], "token_endpoint_auth_method": "none" })).await;
        pending(fixture.server.client(&fixture.call(), &id).await);
    }
    // What is like an approved one waits too; like one that nobody approved, not.
    let like = |uri: &str| json!({ "client_name": "ACME AGENT", "redirect_uris": [uri], "token_endpoint_auth_method": "none" });
    let before = registered(&fixture, &like("https://one.example/cb")).await;
    assert!(fixture.server.client(&fixture.call(), &before).await.is_ok());
    fixture.decide(&plain, State::Approved, Terms::default());
    let after = registered(&fixture, &like("https://two.example/cb")).await;
    pending(fixture.server.client(&fixture.call(), &after).await);
}

#[tokio::test]
async fn item_121_and_s34_what_may_not_be_fetched_is_refused_without_a_fetch() {
    let host = Host::serve().await;
    let refused = async |registration: Value, id: &str| {
        let fixture = with(registration).await;
        matches!(fixture.server.client(&fixture.call(), id).await, Err(ClientFault::Refused(_)))
    };
    let open = || json!({ "allow_loopback": true });
    let port = host.url.split([':', '/']).nth(4).expect("a port");
    for id in [
        format!("http://app.example:{port}"),
        format!("http://127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{port}#x"),
        format!("http://a@127.0.0.1:{port}/x"),
        format!("http://127.0.0.1:{port}/a/../b"),
    ] {
        assert!(refused(open(), &id).await, "{id}");
    }
    assert!(refused(json!({}), &host.url).await, "loopback is not allowed");
    assert!(refused(json!({ "allow_loopback": true, "metadata_documents": "off" }), &host.url).await);
    assert!(refused(json!({ "allow_loopback": true, "allow_hosts": ["claude.ai", "*.claude.ai"] }), &host.url).await);
    assert_eq!(host.asked(), 0);
    let trusted = with(json!({ "allow_loopback": true, "allow_hosts": ["127.0.0.1"] })).await;
    pending(trusted.server.client(&trusted.call(), &host.url).await);
    assert_eq!(host.asked(), 1);
}

#[tokio::test]
async fn item_122_a_document_that_is_not_sound_is_refused_and_not_kept() {
    let host = Host::serve().await;
    let fixture = with(json!({ "allow_loopback": true })).await;
    host.set("client_id", json!(format!("{}x", host.url)));
    assert!(matches!(fixture.server.client(&fixture.call(), &host.url).await, Err(ClientFault::Refused(_))));
    assert_eq!(fixture.store.registration(&host.url).await.expect("read"), None);
    host.answer(404);
    assert!(matches!(fixture.server.client(&fixture.call(), &host.url).await, Err(ClientFault::Refused(_))));
    host.answer(503);
    assert!(matches!(fixture.server.client(&fixture.call(), &host.url).await, Err(ClientFault::Unreachable(_))));
    assert_eq!(host.asked(), 3);
}

#[tokio::test]
async fn item_126_a_changed_document_is_another_fingerprint_and_the_inventory_knows_it() {
    let host = Host::serve().await;
    let fixture = with(json!({ "allow_loopback": true })).await;
    pending(fixture.server.client(&fixture.call(), &host.url).await);
    fixture.decide(&host.url, State::Approved, Terms::default());
    let before = fixture.server.client(&fixture.call(), &host.url).await.expect("approved");
    host.set("redirect_uris", json!(["https://agent.example/other"]));
    assert_eq!(fixture.server.client(&fixture.call(), &host.url).await.expect("held"), before);
    let fixture = fixture.restarted();
    let after = fixture.server.client(&fixture.call(), &host.url).await.expect("approved");
    assert_ne!(after.fingerprint, before.fingerprint);
    let row = fixture.store.registration(&host.url).await.expect("read").expect("there");
    assert_eq!(row.metadata.redirect_uris, after.redirect_uris);
}

#[tokio::test]
async fn a_host_that_does_not_answer_stops_its_clients_after_a_day_and_one_that_says_no_at_once() {
    let host = Host::serve().await;
    let fixture = with(json!({ "allow_loopback": true })).await;
    pending(fixture.server.client(&fixture.call(), &host.url).await);
    fixture.decide(&host.url, State::Approved, Terms::default());
    fixture.server.client(&fixture.call(), &host.url).await.expect("approved");
    host.answer(503);
    let mut fixture = fixture.restarted();
    fixture.server.client(&fixture.call(), &host.url).await.expect("as it was");
    fixture.now = NOW + 24 * 3_600;
    let fixture = fixture.restarted();
    assert!(matches!(fixture.server.client(&fixture.call(), &host.url).await, Err(ClientFault::Unreachable(_))));
    host.answer(404);
    let mut fixture = fixture.restarted();
    fixture.now = NOW;
    assert!(matches!(fixture.server.client(&fixture.call(), &host.url).await, Err(ClientFault::Refused(_))));
}

#[tokio::test]
async fn no_host_is_asked_more_often_than_may_be() {
    let host = Host::serve().await;
    let fixture = with(json!({ "allow_loopback": true })).await;
    host.answer(404);
    for n in 0..100 {
        let id = format!("{}?{n}", host.url);
        assert!(matches!(fixture.server.client(&fixture.call(), &id).await, Err(ClientFault::Refused(_) | ClientFault::Unreachable(_))));
    }
    assert!((60..70).contains(&host.asked()), "{}", host.asked());
}

#[tokio::test]
async fn item_126_a_client_whose_host_said_no_is_not_let_in_by_asking_until_its_host_may_not_be_asked() {
    let host = Host::serve().await;
    let fixture = with(json!({ "allow_loopback": true })).await;
    pending(fixture.server.client(&fixture.call(), &host.url).await);
    fixture.decide(&host.url, State::Approved, Terms::default());
    fixture.server.client(&fixture.call(), &host.url).await.expect("approved");
    host.answer(410);
    let fixture = fixture.restarted();
    for n in 0..100 {
        let found = fixture.server.client(&fixture.call(), &host.url).await;
        assert!(matches!(found, Err(ClientFault::Refused(_) | ClientFault::Unreachable(_))), "{n}: {found:?}");
    }
}

#[tokio::test]
async fn s36_whoever_asks_a_host_for_what_is_not_there_keeps_no_known_client_of_it_out() {
    let host = Host::serve().await;
    let fixture = with(json!({ "allow_loopback": true })).await;
    pending(fixture.server.client(&fixture.call(), &host.url).await);
    fixture.decide(&host.url, State::Approved, Terms::default());
    let mut fixture = fixture.restarted();
    fixture.now = NOW + 2 * 24 * 3_600;
    for n in 0..100 {
        let id = format!("{}?{n}", host.url);
        assert!(fixture.server.client(&fixture.call(), &id).await.is_err());
    }
    fixture.server.client(&fixture.call(), &host.url).await.expect("approved, and asked about");
}

#[tokio::test]
async fn s36_documents_of_one_address_come_in_as_slowly_as_registrations_do() {
    let host = Host::serve().await;
    let mut fixture = with(json!({ "allow_loopback": true, "rate": "3/m" })).await;
    let ask = async |fixture: &Fixture, n: usize| {
        let id = format!("{}?{n}", host.url);
        host.set("client_id", json!(id));
        fixture.server.client(&fixture.call(), &id).await
    };
    for n in 0..3 {
        pending(ask(&fixture, n).await);
    }
    assert!(matches!(ask(&fixture, 3).await, Err(ClientFault::Unreachable(_))));
    assert_eq!(fixture.store.registrations_after("", 10).await.expect("read").len(), 3);
    pending(ask(&fixture, 0).await);
    fixture.source = std::net::Ipv4Addr::new(192, 0, 2, 2).into();
    pending(ask(&fixture, 3).await);
}

#[tokio::test]
async fn item_125_a_client_that_names_keys_is_known_by_them_alone() {
    let host = Host::serve().await;
    let fixture = with(json!({ "allow_loopback": true, "metadata_documents": "open" })).await;
    let key = crate::token::forge::Signer::new(crate::token::Algorithm::ES256).jwk("1");
    host.set("token_endpoint_auth_method", json!("private_key_jwt"));
    host.set("jwks", json!({ "keys": [key] }));
    host.set("grant_types", json!(["authorization_code", "client_credentials"]));
    let client = fixture.server.client(&fixture.call(), &host.url).await.expect("open");
    let ClientAuthentication::Keys(keys @ ClientKeys::Inline(_)) = &client.authentication else { panic!("{client:?}") };
    assert_eq!(fixture.server.client_keys(&fixture.call(), keys, |_| true).await.expect("keys").len(), 1);
    assert_eq!(client.grant_types, [GrantType::AuthorizationCode], "what needs no person needs an approval");
    fixture.decide(&host.url, State::Approved, Terms::default());
    let client = fixture.server.client(&fixture.call(), &host.url).await.expect("approved");
    assert_eq!(client.grant_types, [GrantType::AuthorizationCode, GrantType::ClientCredentials]);
}

#[tokio::test]
async fn item_127_a_key_set_at_a_private_address_is_never_fetched() {
    let host = Host::serve().await;
    let fixture = with(json!({})).await;
    let port = host.url.split(':').nth(2).expect("a port");
    let place = ClientKeys::At(format!("https://127.0.0.1:{port}"));
    assert!(matches!(fixture.server.client_keys(&fixture.call(), &place, |_| true).await, Err(ClientFault::Unreachable(_))));
    assert_eq!(host.asked(), 0);
}
