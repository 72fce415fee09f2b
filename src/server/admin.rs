//! The admin listener: `/metrics`, `/healthz`, `/readyz`, and the admin API where it is configured. Never on a public address.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use axum::Router;
use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use super::api::{self, Api};
use crate::audit::Audit;
use crate::metrics::Metrics;
use crate::state::State;

/// What the admin listener tells of.
#[derive(Clone)]
pub struct Admin {
    pub state: Arc<State>,
    pub metrics: Metrics,
    pub audit: Audit,
    /// Set while a stop waits for requests in flight.
    pub draining: Arc<AtomicBool>,
}

/// Everything besides metrics and health is the API's, which says itself whether there is one.
pub fn router(admin: Admin, api: Arc<Api>) -> Router {
    let open = Router::new().route("/metrics", get(metrics)).route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready));
    open.with_state(admin).fallback_service(Router::new().fallback(api::serve).with_state(api))
}

async fn metrics(Extract(admin): Extract<Admin>) -> impl IntoResponse {
    let world = admin.state.current();
    for (rules, keys) in world.issuers.iter() {
        let counts = keys.fetches();
        admin.metrics.issuer(&rules.name, keys.age(), counts.ok, counts.unchanged, counts.failed);
    }
    for (issuer, introspector) in world.issuers.introspectors() {
        admin.metrics.introspection(issuer, introspector.counts());
    }
    if let Some(revocations) = &world.revocations {
        admin.metrics.revocations(revocations.len(), revocations.age(SystemTime::now()));
    }
    if let (Some(clients), Some(observed)) = (&world.clients, &world.observed) {
        admin.metrics.governed(clients.counts().into_iter().map(|(state, count)| (state.name(), count)), observed.lost());
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], admin.metrics.text())
}

/// Ready while calls can be taken: not while draining, nor while records cannot be written or the store cannot be read.
/// An issuer without keys is told in the text but is no reason to take the replica out.
async fn ready(Extract(admin): Extract<Admin>) -> impl IntoResponse {
    if admin.draining.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
    }
    if !admin.audit.is_healthy() {
        return (StatusCode::SERVICE_UNAVAILABLE, "audit records cannot be written\n".to_owned());
    }
    let world = admin.state.current();
    if world.revocations.as_ref().is_some_and(|revocations| !revocations.are_known(SystemTime::now())) {
        return (StatusCode::SERVICE_UNAVAILABLE, "it is not known what is revoked\n".to_owned());
    }
    let waiting: Vec<&str> = world.issuers.iter().filter(|(_, keys)| !keys.has_keys()).map(|(rules, _)| rules.name.as_str()).collect();
    match waiting.as_slice() {
        [] => (StatusCode::OK, "ready\n".to_owned()),
        names => (StatusCode::OK, format!("ready; no keys yet from: {}\n", names.join(", "))),
    }
}
