//! The admin API: what the commands do, for programs and people that may.
//!
//! A request is asked in this order: is it for this listener (`guard`), from no foreign page, who asks (`who`), what for
//! ([`table`]), may they, and is it well-formed. Pages, where people sign in, are answered before that by `people`. Each change is done by [`crate::control`] and recorded in the audit log of
//! the running process before it is answered.

mod audit;
mod clients;
pub mod document;
mod gateway;
mod grants;
mod guard;
mod keys;
mod pages;
mod people;
mod reviews;
mod revocations;
pub mod table;
mod tools;
mod users;
mod who;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State as Extract};
use axum::http::{HeaderValue, Method, StatusCode, header, request};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::listen::Peer;
use crate::audit::Audit;
use crate::config::Admin;
use crate::control::{Fault, Hand, Witness, said};
use crate::event::{Act, Outcome};
use crate::state::{Snapshot, State};
use crate::store::Store;
use people::{Sessions, Visit};
use table::Entry;
use who::{Actor, Failures};

/// Bytes of a body.
const LARGEST: usize = 64 << 10;
/// For an audit record to be on the disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// A wish to read the configuration anew.
pub struct Reload {
    /// For the records.
    pub actor: String,
    pub id: String,
    /// Warnings, or the problems that left the old one in use.
    pub done: oneshot::Sender<Result<Vec<String>, Vec<String>>>,
}

/// Everything that the API answers from.
pub struct Api {
    state: Arc<State>,
    audit: Audit,
    draining: Arc<AtomicBool>,
    reload: mpsc::Sender<Reload>,
    table: Vec<Entry>,
    /// Made when it is first asked for: most gateways never are, and it would weigh a megabyte.
    document: OnceLock<serde_json::Value>,
    failures: Failures,
    sessions: Sessions,
    /// One search of the audit log at a time, one review, and one look at the tools of an upstream.
    searches: Arc<Semaphore>,
    reviews: Arc<Semaphore>,
    looks: Arc<Semaphore>,
}

impl Api {
    pub fn new(state: Arc<State>, audit: Audit, draining: Arc<AtomicBool>, reload: mpsc::Sender<Reload>) -> Self {
        let (table, document) = (table::entries(), OnceLock::new());
        let one = || Arc::new(Semaphore::new(1));
        let (failures, sessions) = (Failures::default(), Sessions::default());
        let (searches, reviews, looks) = (one(), one(), one());
        Self { state, audit, draining, reload, table, document, failures, sessions, searches, reviews, looks }
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// One request of somebody who is known.
#[derive(Clone)]
pub struct Call {
    api: Arc<Api>,
    /// Pinned for the life of the request.
    world: Arc<Snapshot>,
    who: Arc<Actor>,
    /// 32 hexadecimal digits, also sent back as `Doorward-Request-Id`.
    id: String,
    now: SystemTime,
}

impl Call {
    fn store(&self) -> Result<&Store, Fault> {
        self.api.state.store().ok_or(Fault::NoStore)
    }

    fn hand<'a>(&'a self, witness: &'a Recorder<'a>) -> Result<Hand<'a>, Fault> {
        Ok(Hand { config: &self.world.config, store: self.store()?, now: self.now, actor: &witness.actor, witness })
    }

    /// Who asks, and in whose name as they say.
    fn recorder(&self, by: Option<&str>) -> Result<Recorder<'_>, Fault> {
        let actor = match by {
            Some(by) => {
                said("by", by)?;
                format!("{}, says {by}", self.who)
            }
            None => self.who.to_string(),
        };
        Ok(Recorder { call: self, actor })
    }

    fn act(&self, operation: &'static str, name: Option<String>, outcome: Outcome, reason: &str, actor: String) -> Act {
        Act { id: Some(self.id.clone()), time: self.now, upstream: None, operation, name, outcome, reason: reason.to_owned(), actor }
    }
}

/// Writes into the log of the running process.
struct Recorder<'a> {
    call: &'a Call,
    actor: String,
}

impl Witness for Recorder<'_> {
    fn saw<'a>(&'a self, operation: &'static str, name: String, reason: &'a str) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let act = self.call.act(operation, Some(name), Outcome::Answered, reason, self.actor.clone());
            let audit = self.call.api.audit.clone();
            audit.act(act).map_err(|_| Fault::Unrecorded(String::new()))?;
            let flushed = tokio::task::spawn_blocking(move || audit.flush(PATIENCE)).await;
            if flushed.unwrap_or(false) { Ok(()) } else { Err(Fault::Unrecorded(String::new())) }
        })
    }
}

/// What is answered instead.
struct Refusal {
    status: StatusCode,
    /// For programs.
    error: &'static str,
    /// For people, with the next step.
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, error: &'static str, message: impl Into<String>) -> Self {
        Self { status, error, message: message.into() }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        let (status, error) = match &fault {
            Fault::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
            Fault::Unknown(_) => (StatusCode::NOT_FOUND, "not_found"),
            Fault::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            Fault::Changed(_) => (StatusCode::PRECONDITION_FAILED, "changed"),
            Fault::NoStore => (StatusCode::SERVICE_UNAVAILABLE, "no_store"),
            Fault::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable"),
            Fault::Unrecordable => (StatusCode::SERVICE_UNAVAILABLE, "unrecordable"),
            Fault::Unrecorded(_) => (StatusCode::SERVICE_UNAVAILABLE, "unrecorded"),
            Fault::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        };
        Self::new(status, error, fault.to_string())
    }
}

/// Answers every request that is not for metrics or health.
pub async fn serve(Extract(api): Extract<Arc<Api>>, ConnectInfo(peer): ConnectInfo<Peer>, request: Request) -> Response {
    let id = random_id();
    let (head, body) = request.into_parts();
    let method = head.method.clone();
    let mut response = match answer(&api, &peer, &head, body, &id).await {
        Ok(answer) => answer,
        Err(refusal) => refused(&api, &refusal, head.uri.path()),
    };
    if method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A page has brought its own.
    let policy = headers.entry(header::CONTENT_SECURITY_POLICY);
    policy.or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert("doorward-request-id", id);
    }
    response
}

fn refused(api: &Api, Refusal { status, error, message }: &Refusal, path: &str) -> Response {
    let mut response = (*status, axum::Json(json!({ "error": error, "message": message }))).into_response();
    let headers = response.headers_mut();
    match *status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"doorward admin\""));
        }
        StatusCode::TOO_MANY_REQUESTS => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            let allowed: Vec<&str> = api.table.iter().filter(|entry| entry.path == path).map(|entry| entry.method.as_str()).collect();
            if let Ok(allowed) = HeaderValue::from_str(&allowed.join(", ")) {
                headers.insert(header::ALLOW, allowed);
            }
        }
        _ => {}
    }
    response
}

async fn answer(api: &Arc<Api>, peer: &Peer, head: &request::Parts, body: Body, id: &str) -> Result<Response, Refusal> {
    let world = api.state.current();
    let Some(admin) = world.config.admin.as_ref().filter(|admin| has_api(admin, peer)) else { return Err(not_found()) };
    let host = guard::host(head, peer, admin)?;
    guard::site(head, peer, &host, admin)?;
    let path = head.uri.path();
    if let Some(login) = admin.login.as_ref().filter(|_| people::is_page(path)) {
        return Ok(Visit { api, world: &world, login, peer, head, id }.answer(body).await);
    }
    let who = api.failures.authenticate(api, &world, admin, peer, &head.headers)?;
    let Some(entry) = api.table.iter().find(|entry| entry.path == path && entry.method == head.method) else {
        return Err(match api.table.iter().any(|entry| entry.path == path) {
            true => Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("`{}` is not for this path", head.method)),
            false => not_found(),
        });
    };
    let call = Call { api: api.clone(), world: world.clone(), who: Arc::new(who), id: id.to_owned(), now: SystemTime::now() };
    may(&call, entry)?;
    if let Some(session) = call.who.session.as_ref().filter(|_| entry.is_change()) {
        guard::proof(head, &session.proof)?;
    }
    let body = match entry.is_change() {
        true => whole(head, body, "application/json").await?,
        false => Bytes::new(),
    };
    if entry.is_change() && !api.audit.is_healthy() {
        return Err(Fault::Unrecordable.into());
    }
    Ok(axum::Json(entry.run(call, &head.uri, &body).await?).into_response())
}

/// SECURITY: what a reload adds to the configuration opens nothing at a socket that was bound without TLS off loopback.
fn has_api(admin: &Admin, peer: &Peer) -> bool {
    let Some(local) = peer.local else { return true };
    (local.is_loopback() || peer.is_tls) && admin.knows_anybody()
}

fn not_found() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here: `/admin/v1/openapi.json` says what there is")
}

/// A no to somebody who is known leaves a record.
fn may(call: &Call, entry: &Entry) -> Result<(), Refusal> {
    if call.who.role >= entry.role {
        return Ok(());
    }
    let _ = call.api.audit.act(call.act("admin/refused", Some(entry.path.to_owned()), Outcome::Refused, "role", call.who.to_string()));
    let message = format!("this is for the role `{}`, and you are `{}`", entry.role.name(), call.who.role.name());
    Err(Refusal::new(StatusCode::FORBIDDEN, "role", message))
}

/// A body of the type that is expected. SECURITY: a form of a foreign page cannot be JSON without asking before, and is never
/// told yes.
async fn whole(head: &request::Parts, body: Body, expected: &str) -> Result<Bytes, Refusal> {
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(expected) {
        let message = format!("send a body with `Content-Type: {expected}`");
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", message));
    }
    let too_large = || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("a body is of at most {LARGEST} bytes"));
    let read = tokio::time::timeout(Duration::from_secs(10), to_bytes(body, LARGEST)).await;
    read.map_err(|_| Refusal::from(Fault::Invalid("the body did not come in time".into())))?.map_err(|_| too_large())
}

fn random_id() -> String {
    let mut bytes = [0; 16];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
