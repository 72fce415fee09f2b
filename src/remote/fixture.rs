//! An issuer on loopback and a configuration that names it, for tests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Issuers;
use super::http::Http;
use crate::config::{Audit, Config, Issuer, KeySource, KeyTimes, Limits, Log};
use crate::token::IssuerRules;

/// A web server that serves these paths and writes down what it is asked for.
#[derive(Default)]
pub struct Site {
    pages: Mutex<HashMap<String, (u16, String)>>,
    asked: Mutex<Vec<String>>,
}

impl Site {
    /// Its origin, and itself.
    pub async fn serve() -> (String, Arc<Self>) {
        let site = Arc::new(Self::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let app = Router::new().fallback({
            let site = site.clone();
            move |uri: Uri| async move { site.answer(uri.path()).await }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        (origin, site)
    }

    async fn answer(&self, path: &str) -> Response {
        self.asked.lock().expect("a lock").push(path.to_owned());
        let page = self.pages.lock().expect("a lock").get(path).cloned();
        match page {
            Some((0, _)) => std::future::pending().await,
            Some((status @ 300..400, to)) => (StatusCode::from_u16(status).expect("a status"), [("location", to)]).into_response(),
            Some((status, body)) => (StatusCode::from_u16(status).expect("a status"), body).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }

    /// Status 0 never answers; one from 300 on has the body as its `Location`.
    pub fn put(&self, path: &str, status: u16, body: impl ToString) {
        self.pages.lock().expect("a lock").insert(path.to_owned(), (status, body.to_string()));
    }

    pub fn put_keys(&self, path: &str, keys: &[Value]) {
        self.put(path, 200, json!({ "keys": keys }));
    }

    /// The paths asked for since the last time.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().expect("a lock"))
    }
}

pub fn http() -> Http {
    // Another test may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Http::new().expect("a client")
}

pub fn config(issuers: Vec<Issuer>) -> Config {
    Config {
        allow_hosts: vec![],
        public_url: String::new(),
        listeners: vec![],
        admin: None,
        upgrade: None,
        sealer: None,
        audit: Audit::default(),
        log: Log::Auto,
        traces: None,
        limits: Limits::default(),
        store: None,
        dpop: Default::default(),
        assertion_keys: crate::config::AssertionKeys::Generated(Duration::from_secs(1)),
        authorization_server: None,
        signed_metadata: false,
        signals: vec![],
        clients: vec![],
        issuers: issuers.into_iter().map(|issuer| (issuer.rules.name.clone(), Arc::new(issuer))).collect(),
        routes: vec![],
        files: vec![],
        hash: 0,
    }
}

/// One issuer with its keys at this URL, and a cooldown of nothing, so that no test waits for one.
pub fn issuers(rules: Arc<IssuerRules>, jwks_uri: String) -> Issuers {
    let times = KeyTimes { cooldown: Duration::ZERO, ..KeyTimes::default() };
    http();
    let issuer = Issuer {
        rules,
        keys: KeySource::Jwks(jwks_uri),
        times,
        allow_http: false,
        introspection: None,
        profile: &crate::config::profile::PLAIN,
        assume_s256: false,
        accept_new_keys: crate::governance::Acceptance::Immediately,
    };
    Issuers::build(&config(vec![issuer]), None).expect("issuers")
}
