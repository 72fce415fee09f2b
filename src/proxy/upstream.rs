//! What is sent on: the bytes that were judged, and a head of our own making.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use pingora::http::RequestHeader;

use super::shown::Shown;
use crate::denial::Fault;
use crate::identity::{self, assertion};
use crate::mcp::headers;
use crate::pipeline::{Admitted, Release};
use crate::route::{Head, Route};
use crate::session::Session;

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
    pub method: &'static str,
    pub body: Bytes,
    /// The caller's own session.
    pub session: Option<&'a Session>,
    pub traceparent: Option<String>,
    /// The task that it is about, as the upstream knows it.
    pub task: Option<&'a str>,
    /// What the gateway itself shows.
    pub shown: Shown,
}

/// Client headers pass unless they are hop-by-hop, ours, a credential, or an identity header in any spelling.
fn build(route: &Route, head: &Head<'_>, admitted: &Admitted, sent: Sent<'_>) -> Option<RequestHeader> {
    let upstream = &route.upstream;
    let mut header = RequestHeader::build_no_case(sent.method, upstream.path.as_bytes(), Some(head.headers.len() + 6)).ok()?;
    let nominated = nominated(head);
    for (name, value) in head.headers {
        let text = name.as_str();
        if is_ours(text) || nominated.iter().any(|nominated| nominated.eq_ignore_ascii_case(text)) || route.identity.strips(text) {
            continue;
        }
        header.append_header(name.clone(), value.clone()).ok()?;
    }
    if sent.method == "POST" {
        header.insert_header(CONTENT_TYPE, "application/json").ok()?;
        header.insert_header(CONTENT_LENGTH, HeaderValue::from(sent.body.len())).ok()?;
    }
    if let Some(session) = sent.session {
        header.insert_header("mcp-session-id", session.id()).ok()?;
        if let Some(event) = &session.last_event {
            header.insert_header("last-event-id", event.as_str()).ok()?;
        }
    }
    if let (Some(task), true) = (sent.task, header.headers.contains_key("mcp-name")) {
        header.insert_header("mcp-name", headers::encode(task).as_ref()).ok()?;
    }
    header.insert_header(ACCEPT_ENCODING, "identity").ok()?;
    header.insert_header("X-Forwarded-For", identity::forwarded_for(head.source)).ok()?;
    if let Some(traceparent) = &sent.traceparent {
        header.insert_header("traceparent", traceparent.as_str()).ok()?;
    }
    for (name, value) in route.identity.values(&admitted.verified.principal) {
        header.insert_header(HeaderName::from_bytes(name.as_bytes()).ok()?, value).ok()?;
    }
    if let Some(value) = sent.shown.assertion {
        header.insert_header(assertion::HEADER, value).ok()?;
    }
    if let Some(token) = sent.shown.token {
        header.insert_header(AUTHORIZATION, token).ok()?;
    }
    if let Some(credential) = &upstream.credential {
        let mut value = HeaderValue::from_str(credential.reveal()).ok()?;
        value.set_sensitive(true);
        header.insert_header(HeaderName::from_bytes(credential.header.as_bytes()).ok()?, value).ok()?;
    }
    Some(header)
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
