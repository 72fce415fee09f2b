//! The endpoints without a socket: a real store, real keys, and a clock that the tests move.

mod assertions;
mod codes;
mod documents;
mod passkeys;
mod proofs;
mod refresh;
mod revocation;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};

use super::{Call, Origin, Reply, Server};
use crate::audit::Audit;
use crate::config;
use crate::metrics::Metrics;
use crate::oauth::account::{Account, AccountState, SUBJECT};
use crate::oauth::{Authorized, Person, pkce};
use crate::state::State;
use crate::store::Store;
use crate::token::Algorithm;
use crate::token::forge::Signer;

const ORIGIN: &str = "https://mcp.example.com";
const FILES: &str = "https://mcp.example.com/files";
const CRM: &str = "https://mcp.example.com/crm";
const REDIRECT: &str = "http://127.0.0.1/cb";
const ALICE: &str = "account|alice";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const SECRET: &str = "a secret with : and %";
const IDP: &str = "https://idp.example.com";
const CLUSTER: &str = "https://cluster.example.com";

/// Keys of those whose word is taken: made once for all tests.
struct Signers {
    client: Signer,
    idp: Signer,
    cluster: Signer,
}

/// One replica, or more than one over the same store.
struct Fixture {
    folder: Arc<tempfile::TempDir>,
    config: PathBuf,
    state: Arc<State>,
    server: Arc<Server>,
    signers: Arc<Signers>,
    /// Seconds by which the clock was moved on.
    later: AtomicU64,
    begun: u64,
    /// It hears what is revoked.
    reads: AtomicBool,
}

/// What came back.
#[derive(Debug)]
struct Got {
    status: u16,
    body: Value,
    headers: http::HeaderMap,
    reason: &'static str,
}

impl Got {
    #[track_caller]
    fn is(self, status: u16, error: &str) -> Self {
        assert_eq!((self.status, self.body["error"].as_str().unwrap_or_default()), (status, error), "{self:?}");
        self
    }

    fn text(&self, name: &str) -> String {
        self.body[name].as_str().unwrap_or_else(|| panic!("no `{name}`: {self:?}")).to_owned()
    }

    /// The claims of the access token.
    fn claims(&self) -> Value {
        part(&self.text("access_token"), 1)
    }
}

fn part(jwt: &str, index: usize) -> Value {
    let text = jwt.split('.').nth(index).expect("a part");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64url")).expect("json")
}

/// The account of this person.
fn account(person: &Person, now: u64) -> Account {
    let id = person.subject.strip_prefix(SUBJECT).unwrap_or(&person.subject).to_owned();
    Account {
        name: id.clone(),
        id,
        display: person.name.clone(),
        email: person.email.clone(),
        groups: person.groups.clone(),
        state: AccountState::Active,
        password: None,
        created: now,
        changed: now,
    }
}

impl Fixture {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Value)) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let signers = Arc::new(Signers {
            client: Signer::new(Algorithm::ES256),
            idp: Signer::new(Algorithm::ES256),
            cluster: Signer::new(Algorithm::EdDSA),
        });
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).expect("written");
        write("secret", SECRET.into());
        for (name, signer) in [("client.json", &signers.client), ("idp.json", &signers.idp), ("cluster.json", &signers.cluster)] {
            write(name, json!({ "keys": [signer.jwk("k1")] }).to_string());
        }
        let mut written = configuration();
        change(&mut written);
        write("doorward.yaml", serde_yaml::to_string(&written).expect("yaml"));
        let config = folder.path().join("doorward.yaml");
        Self::over(folder, config, signers).await
    }

    /// Another replica.
    async fn beside(&self) -> Self {
        let other = Self::over(self.folder.clone(), self.config.clone(), self.signers.clone()).await;
        other.later.store(self.later.load(Ordering::Relaxed), Ordering::Relaxed);
        other
    }

    async fn over(folder: Arc<tempfile::TempDir>, config: PathBuf, signers: Arc<Signers>) -> Self {
        let loaded = config::load(&config, &|_| None);
        let loaded = loaded.unwrap_or_else(|all| panic!("{}", all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")));
        let place = loaded.config.store.as_ref().expect("a store").place.clone();
        let metrics = Metrics::new().expect("metrics");
        let state = Arc::new(State::new(&config, loaded.config, metrics).expect("a world"));
        state.opened(Store::open(&place).await.expect("a store"));
        let (audit, _writer) = Audit::start(Some(folder.path().join("audit.jsonl"))).expect("a log");
        let server = Arc::new(Server::new(state.clone(), audit));
        server.open().await.unwrap_or_else(|error| panic!("{error}"));
        let begun = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
        Self { folder, config, state, server, signers, later: AtomicU64::new(0), begun, reads: AtomicBool::new(true) }
    }

    fn now(&self) -> u64 {
        self.begun + self.later.load(Ordering::Relaxed)
    }

    fn pass(&self, seconds: u64) {
        self.later.fetch_add(seconds, Ordering::Relaxed);
    }

    fn origin(&self) -> Origin<'static> {
        let now = UNIX_EPOCH + Duration::from_secs(self.now());
        Origin { id: "00000000000000000000000000000001", source: std::net::Ipv4Addr::LOCALHOST.into(), now }
    }

    async fn send(&self, request: Request<Bytes>) -> Got {
        let world = self.state.current();
        let origin = self.origin();
        let index = world.revocations.as_ref().expect("a store");
        if self.reads.load(Ordering::Relaxed) {
            index.confirm(origin.now);
        } else {
            index.doubt();
        }
        let Reply { response, told } = self.server.answer(&world, request, origin).await;
        let body = serde_json::from_slice(response.body()).unwrap_or_default();
        Got { status: response.status().as_u16(), body, headers: response.headers().clone(), reason: told.reason }
    }

    async fn post(&self, path: &str, pairs: &[(&str, &str)], headers: &[(&str, &str)]) -> Got {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let mut request = Request::builder().method(Method::POST).uri(path).header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Bytes::from(body)).expect("a request")).await
    }

    async fn get(&self, path: &str) -> Got {
        self.send(Request::builder().uri(path).body(Bytes::new()).expect("a request")).await
    }

    /// A code for `alice` by this client.
    async fn code(&self, client: &str) -> String {
        self.code_with(client, |_, _| {}).await
    }

    async fn code_with(&self, client: &str, change: impl FnOnce(&mut Authorized, &mut Person)) -> String {
        let world = self.state.current();
        let settings = world.config.authorization_server.as_ref().expect("the section");
        let store = self.state.store().expect("a store");
        let call = Call { world: &world, settings, store, origin: self.origin(), now: self.now() };
        let mut authorized = Authorized {
            client_id: client.into(),
            redirect_uri: REDIRECT.into(),
            registered_uri: REDIRECT.into(),
            challenge: pkce::challenge(VERIFIER),
            resource: FILES.into(),
            upstream: "files".into(),
            scopes: vec!["files:read".into(), "files:write".into()],
            offline: true,
            state: None,
            dpop_jkt: None,
            prompt: Default::default(),
            max_age: None,
            acr_values: Vec::new(),
        };
        let mut person = Person { subject: ALICE.into(), authenticated: self.now(), login: "accounts".into(), ..Person::default() };
        change(&mut authorized, &mut person);
        store.put_account(&account(&person, self.now())).await.expect("an account");
        self.server.grant_code(&call, &authorized, &person).await.expect("a code")
    }

    /// Redeems a code of the public client.
    async fn redeem(&self, code: &str) -> Got {
        self.post("/token", &redeeming(code, "app"), &[]).await
    }

    /// The first tokens of the public client.
    async fn tokens(&self) -> Got {
        let code = self.code("app").await;
        let got = self.redeem(&code).await;
        assert_eq!(got.status, 200, "{got:?}");
        got
    }

    async fn refresh(&self, token: &str) -> Got {
        self.post("/token", &[("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "app")], &[]).await
    }

    fn jwt(&self, signer: &Signer, algorithm: Algorithm, kind: Option<&str>, claims: &Value) -> String {
        let mut header = json!({ "alg": algorithm.as_str(), "kid": "k1" });
        if let Some(kind) = kind {
            header["typ"] = json!(kind);
        }
        signer.token(algorithm, &header, claims)
    }
}

fn redeeming<'a>(code: &'a str, client: &'a str) -> [(&'a str, &'a str); 5] {
    [("grant_type", "authorization_code"), ("code", code), ("code_verifier", VERIFIER), ("redirect_uri", REDIRECT), ("client_id", client)]
}

fn basic(id: &str, secret: &str) -> String {
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encode(id), encode(secret))))
}

fn configuration() -> Value {
    json!({
        "public_url": ORIGIN,
        "listen": [{ "address": "127.0.0.1:0" }],
        "store": "sqlite:doorward.db",
        "upstreams": {
            "files": {
                "path": "/files",
                "url": "http://127.0.0.1:3001/mcp",
                "ownership": "self_managed",
                "rules": [{ "tools": ["read"], "scopes": ["files:read"] }, { "tools": ["write"], "scopes": ["files:write"] }],
            },
            "crm": {
                "path": "/crm",
                "url": "http://127.0.0.1:3002/mcp",
                "ownership": "self_managed",
                "rules": [{ "tools": ["*"], "scopes": ["crm:read"] }],
            },
        },
        "authorization_server": {
            "clients": {
                "app": { "redirect_uris": [REDIRECT] },
                "other": { "redirect_uris": [REDIRECT] },
                "web": { "redirect_uris": [REDIRECT], "secret_file": "secret" },
                "robot": { "secret_file": "secret", "grant_types": ["client_credentials"], "scopes": ["files:read", "crm:read"] },
                "signer": {
                    "jwks_file": "client.json",
                    "grant_types": ["client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
                },
            },
            "introspection_clients": ["robot"],
            "identity_assertions": { "corp": { "issuer": IDP, "jwks_file": "idp.json", "upstreams": ["files"] } },
            "workloads": {
                "cluster": {
                    "issuer": CLUSTER,
                    "jwks_file": "cluster.json",
                    "rules": [{ "subject": "system:serviceaccount:prod:*", "client": "batch", "scopes": ["files:read"], "upstreams": ["files"] }],
                },
            },
        },
    })
}
