//! How many tokens does the token endpoint issue a second, on one core, beside the bare signatures that it makes?
//!
//! Issue 6 asks for at least 500 a second with ES256, stated as a ratio to the signature rate. Two ways: client credentials with
//! a secret, which write nothing, and refresh tokens, each of which is exchanged on the disk.
//!
//! `cargo bench --bench issue`
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a measurement stops at what cannot be, and prints")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use doorward::audit::Audit;
use doorward::config;
use doorward::identity::signing::{Curve, SigningKey};
use doorward::metrics::Metrics;
use doorward::oauth::account::{Account, AccountState};
use doorward::oauth::authorization::Prompt;
use doorward::oauth::{Authorized, Person, pkce};
use doorward::server::authorization::{Call, Origin, Server};
use doorward::state::State;
use doorward::store::Store;
use http::{Method, Request};
use serde_json::{Value, json};

const FOR: Duration = Duration::from_secs(3);
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const REDIRECT: &str = "http://127.0.0.1/cb";

struct Desk {
    state: Arc<State>,
    server: Arc<Server>,
    store: Store,
    _folder: tempfile::TempDir,
}

impl Desk {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("secret"), "a secret").expect("written");
        let config = folder.path().join("doorward.yaml");
        std::fs::write(&config, configuration().to_string()).expect("written");
        let loaded = config::load(&config, &|_| None).unwrap_or_else(|all| panic!("{all:?}"));
        let store = Store::open(&loaded.config.store.as_ref().expect("a store").place).await.expect("opened");
        let state = Arc::new(State::new(&config, loaded.config, Metrics::new().expect("metrics")).expect("a world"));
        state.opened(store.clone());
        let (audit, _writer) = Audit::start(Some(folder.path().join("audit.jsonl"))).expect("a log");
        let server = Arc::new(Server::new(state.clone(), audit));
        server.open().await.expect("keys");
        Self { state, server, store, _folder: folder }
    }

    async fn post(&self, form: &[(&str, &str)]) -> Value {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::builder().method(Method::POST).uri("/token").header("content-type", "application/x-www-form-urlencoded");
        let world = self.state.current();
        let reply = self.server.answer(&world, request.body(Bytes::from(body)).expect("a request"), origin()).await;
        assert_eq!(reply.response.status(), 200, "{:?}", reply.response.body());
        serde_json::from_slice(reply.response.body()).expect("json")
    }

    async fn refresh_token(&self) -> String {
        let world = self.state.current();
        let settings = world.config.authorization_server.as_ref().expect("the section");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_secs();
        let call = Call { world: &world, settings, store: &self.store, origin: origin(), now };
        let authorized = Authorized {
            client_id: "app".into(),
            redirect_uri: REDIRECT.into(),
            registered_uri: REDIRECT.into(),
            challenge: pkce::challenge(VERIFIER),
            resource: "https://mcp.example.com/files".into(),
            upstream: "files".into(),
            scopes: vec!["files:read".into()],
            offline: true,
            state: None,
            dpop_jkt: None,
            prompt: Prompt::default(),
            max_age: None,
            acr_values: Vec::new(),
        };
        let account = Account {
            id: format!("alice-{now}"),
            name: format!("alice-{now}"),
            display: None,
            email: None,
            groups: Vec::new(),
            state: AccountState::Active,
            password: Some("never asked for".into()),
            created: now,
            changed: now,
        };
        assert!(self.store.put_account(&account).await.expect("written"));
        let person = Person { subject: account.subject(), authenticated: now, login: "accounts".into(), ..Person::default() };
        let code = self.server.grant_code(&call, &authorized, &person).await.expect("a code");
        let form = [("grant_type", "authorization_code"), ("code", &code), ("code_verifier", VERIFIER), ("client_id", "app")];
        token(&self.post(&form).await)
    }
}

fn token(body: &Value) -> String {
    body.get("refresh_token").and_then(Value::as_str).expect("a refresh token").to_owned()
}

fn origin() -> Origin<'static> {
    Origin { id: "0", source: Ipv4Addr::LOCALHOST.into(), now: SystemTime::now() }
}

fn configuration() -> Value {
    json!({
        "public_url": "https://mcp.example.com",
        "listen": [{ "address": "127.0.0.1:0" }],
        "store": "sqlite:doorward.db",
        "upstreams": { "files": {
            "path": "/files", "url": "http://127.0.0.1:3001/mcp", "ownership": "self_managed",
            "rules": [{ "tools": ["*"], "scopes": ["files:read"] }],
        } },
        "authorization_server": { "clients": {
            "app": { "redirect_uris": [REDIRECT] },
            "robot": { "secret_file": "secret", "grant_types": ["client_credentials"] },
        } },
    })
}

/// How often `once` ends in [`FOR`], a second.
async fn rate(mut once: impl AsyncFnMut()) -> f64 {
    let begun = Instant::now();
    let mut count = 0_u32;
    while begun.elapsed() < FOR {
        once().await;
        count += 1;
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (key, _) = SigningKey::generate_on(Curve::P256).expect("a key");
    let claims = json!({ "iss": "https://mcp.example.com", "sub": "alice", "aud": "https://mcp.example.com/files", "exp": 1 });
    let bare = rate(async || drop(std::hint::black_box(key.sign("at+jwt", &claims)))).await;
    let desk = Desk::new().await;
    let form = [("grant_type", "client_credentials"), ("client_id", "robot"), ("client_secret", "a secret")];
    let credentials = rate(async || drop(desk.post(&form).await)).await;
    let mut shown = desk.refresh_token().await;
    let refreshed = rate(async || {
        let form = [("grant_type", "refresh_token"), ("client_id", "app"), ("refresh_token", &shown)];
        shown = token(&desk.post(&form).await);
    })
    .await;
    println!("bare ES256 signatures     {bare:>9.0} /s");
    println!("client credentials        {credentials:>9.0} /s  {:.2} of bare", credentials / bare);
    println!("refresh, SQLite on disk   {refreshed:>9.0} /s  {:.2} of bare", refreshed / bare);
}
