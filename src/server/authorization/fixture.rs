//! An authorization server without a socket, for tests: a configuration, a store, and the address of whoever asks.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};

use super::{Call, Origin, Reply, Server};
use crate::audit::Audit;
use crate::config;
use crate::governance::client::{Client, Source, State as ClientState, Terms};
use crate::metrics::Metrics;
use crate::state::{Snapshot, State};
use crate::store::Store;

pub const ISSUER: &str = "http://127.0.0.1:4999";
pub const NOW: u64 = 1_800_000_000;

pub struct Fixture {
    pub server: Server,
    pub world: Arc<Snapshot>,
    pub store: Store,
    pub source: IpAddr,
    pub now: u64,
    /// Holds the database.
    pub _folder: tempfile::TempDir,
}

impl Fixture {
    /// `section` is what `authorization_server` holds.
    pub async fn new(section: Value) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().expect("a folder");
        let config = json!({
            "public_url": ISSUER,
            "listen": [{ "address": "127.0.0.1:4999" }],
            "store": format!("sqlite:{}", folder.path().join("doorward.db").display()),
            "upstreams": { "files": {
                "path": "/files", "url": "http://127.0.0.1:4998/", "ownership": "self_managed",
                "rules": [{ "tools": ["read_file"], "scopes": ["files:read"] }],
            } },
            "authorization_server": section,
        });
        let path = folder.path().join("doorward.yaml");
        std::fs::write(&path, config.to_string()).expect("written");
        let loaded = config::load(&path, &|_| None).expect("a sound configuration");
        let store = Store::open(&loaded.config.store.as_ref().expect("a store").place).await.expect("opens");
        let state = Arc::new(State::new(&path, loaded.config, Metrics::new().expect("metrics")).expect("a state"));
        state.opened(store.clone());
        let (audit, _writer) = Audit::start(Some(folder.path().join("audit.jsonl"))).expect("starts");
        let world = state.current();
        let source = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        Self { server: Server::new(state, audit), world, store, source, now: NOW, _folder: folder }
    }

    /// With an empty memory, as a replica that has just begun.
    pub fn restarted(self) -> Self {
        let server = Server { clients: super::clients::Memory::default(), ..self.server };
        Self { server, ..self }
    }

    pub fn call(&self) -> Call<'_> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(self.now);
        let origin = Origin { id: "0", source: self.source, now };
        let settings = self.world.config.authorization_server.as_ref().expect("an authorization server");
        Call { world: &self.world, settings, store: &self.store, origin, now: self.now }
    }

    pub async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).expect("a request");
        self.server.answer(&self.world, request, self.call().origin).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask(Method::POST, path, &[("content-type", "application/json")], body.to_string()).await
    }

    /// What an operator decides, as every replica hears of it.
    pub fn decide(&self, id: &str, state: ClientState, terms: Terms) {
        let key = super::clients::key(&self.call(), id);
        let client = Client { state, terms, source: Source::Registered, ..Client::seen(key, self.now) };
        self.world.clients.as_ref().expect("an index").apply(client);
    }
}

/// The JSON of an answer.
pub fn json_of(reply: &Reply) -> Value {
    serde_json::from_slice(reply.response.body()).expect("JSON")
}
