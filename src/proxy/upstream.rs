//! What is sent on: the bytes that were judged, and a head of our own making.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use pingora::http::RequestHeader;

use super::shown::Shown;
use crate::denial::Fault;
use crate::identity::assertion;
use crate::mcp::headers;
use crate::mcp::mirror::Lacking;
use crate::pipeline::{Admitted, Release};
use crate::route::{Head, Route};
use crate::session::Session;

pub(super) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A request as it goes to the upstream.
pub struct Outgoing {
    pub(super) header: Option<Box<RequestHeader>>,
    pub(super) body: Bytes,
    pub(super) target: Arc<Route>,
    /// The server where the session began.
    pub(super) home: Option<String>,
}

impl Outgoing {
    /// SECURITY: the only way to a request for an upstream takes the proof that it was released.
    pub fn new(_: &Release, admitted: &Admitted, head: &Head<'_>, sent: Sent<'_>) -> Result<Self, Fault> {
        let (route, body) = (&admitted.route, sent.body.clone());
        let home = sent.session.map(|session| session.home.clone());
        let header = build(route, head, admitted, sent).ok_or(Fault::Internal)?;
        Ok(Self { header: Some(Box::new(header)), body, target: route.clone(), home })
    }
}

/// What is sent on besides the client's headers.
pub struct Sent<'a> {
    /// `POST`, or for a session alone `GET` or `DELETE`.
    pub method: Method,
    pub body: Bytes,
    /// The caller's own session.
    pub session: Option<&'a Session>,
    pub traceparent: Option<String>,
    /// The real peer ([`super::peer::Peer::forwarded_for`]).
    pub forwarded_for: HeaderValue,
    /// The task that it is about, as the upstream knows it.
    pub task: Option<&'a str>,
    /// Headers that repeat arguments and that the client left out: a server that reads them finds them all the same.
    pub lacking: &'a [Lacking],
    /// What the gateway itself shows.
    pub shown: Shown,
}

/// Client headers pass unless they are hop-by-hop, ours, a credential, or an identity header in any spelling.
fn build(route: &Route, head: &Head<'_>, admitted: &Admitted, sent: Sent<'_>) -> Option<RequestHeader> {
    let upstream = &route.upstream;
    // The framework's own builder copies every name.
    let mut headers = HeaderMap::with_capacity(head.headers.len() + 8);
    let nominated = nominated(head);
    for (name, value) in head.headers {
        let text = name.as_str();
        if is_ours(text) || nominated.iter().any(|nominated| nominated.eq_ignore_ascii_case(text)) || route.identity.strips(text) {
            continue;
        }
        headers.try_append(name.clone(), value.clone()).ok()?;
    }
    let mut set = |name: HeaderName, value: HeaderValue| headers.try_insert(name, value).ok();
    if sent.method == Method::POST {
        set(CONTENT_TYPE, HeaderValue::from_static("application/json"))?;
        set(CONTENT_LENGTH, HeaderValue::from(sent.body.len()))?;
    }
    if let Some(session) = sent.session {
        set(SESSION, HeaderValue::from_str(session.id()).ok()?)?;
        if let Some(event) = &session.last_event {
            set(LAST_EVENT, HeaderValue::from_str(event).ok()?)?;
        }
    }
    set(ACCEPT_ENCODING, HeaderValue::from_static("identity"))?;
    set(FORWARDED_FOR, sent.forwarded_for)?;
    if let (Some(task), true) = (sent.task, head.headers.contains_key(NAME)) {
        set(NAME, HeaderValue::from_str(&headers::encode(task)).ok()?)?;
    }
    for (name, value) in sent.lacking {
        set(name.clone(), value.clone())?;
    }
    if let Some(traceparent) = sent.traceparent {
        set(TRACEPARENT, HeaderValue::try_from(traceparent).ok()?)?;
    }
    for (name, value) in route.identity.values(&admitted.verified.principal) {
        set(name.clone(), HeaderValue::try_from(value).ok()?)?;
    }
    if let Some(value) = sent.shown.assertion {
        set(HeaderName::from_static(assertion::HEADER), value)?;
    }
    if let Some(token) = sent.shown.token {
        set(AUTHORIZATION, token)?;
    }
    if let Some(credential) = &upstream.credential {
        let mut value = HeaderValue::from_str(credential.reveal()).ok()?;
        value.set_sensitive(true);
        set(HeaderName::from_bytes(credential.header.as_bytes()).ok()?, value)?;
    }
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = sent.method;
    parts.uri = upstream.path.clone().into();
    parts.headers = headers;
    Some(parts.into())
}

/// Headers that the client nominated as hop-by-hop (RFC 9110 §7.6.1).
fn nominated(head: &Head<'_>) -> Vec<String> {
    let lists = head.headers.get_all(http::header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(|name| name.trim().to_owned()).collect()
}

/// Hop-by-hop, framing, and what is set anew: a session, once it has proved to be the caller's.
fn is_ours(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "host"
            | "content-length"
            | "content-type"
            | "content-encoding"
            | "expect"
            | "accept-encoding"
            | "origin"
            | "referer"
            | "traceparent"
            | "mcp-session-id"
            | "last-event-id"
            | "doorward-request-id"
            | "max-forwards"
            | "via"
    ) || name.starts_with("sec-")
        || name.starts_with("access-control-")
}
