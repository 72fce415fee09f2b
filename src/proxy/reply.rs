//! Answers of our own, and what browsers may read of any answer.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, Method, Response, StatusCode};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;

use crate::route::Route;

/// Request headers of both eras that a browser may send.
const ALLOWED: &str =
    "authorization, content-type, accept, mcp-protocol-version, mcp-method, mcp-name, mcp-session-id, last-event-id, dpop, traceparent";
/// Answer headers that a browser may read.
const EXPOSED: &str = "www-authenticate, mcp-session-id, mcp-protocol-version, retry-after, doorward-request-id, dpop-nonce";
/// The nonce for the client's next proof (RFC 9449 §8.2).
pub const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Names the request in the audit record.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("doorward-request-id");

/// Which browsers may read an answer.
#[derive(Clone)]
pub enum Cors {
    None,
    /// Public documents.
    Anyone,
    /// The origin of this request, which the route accepts.
    Origin(HeaderValue),
}

impl Cors {
    /// For an MCP endpoint. `Err` where an origin is present and not accepted, or is given twice.
    pub fn of(route: &Route, headers: &HeaderMap) -> Result<Self, ()> {
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => Ok(Self::None),
            (Some(origin), None) if origin.to_str().is_ok_and(|text| route.accepts_origin(text)) => Ok(Self::Origin(origin.clone())),
            _ => Err(()),
        }
    }

    /// What an answer says of it.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let exposed = (ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        let all = match self {
            Self::None => [None, None, None],
            Self::Anyone => [Some((ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))), Some(exposed), None],
            Self::Origin(origin) => {
                let vary = (VARY, HeaderValue::from_static("origin"));
                [Some((ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone())), Some(exposed), Some(vary)]
            }
        };
        all.into_iter().flatten()
    }
}

/// The answer to a preflight, given before authentication. Names every `Mcp-Param-*` that was asked for.
pub fn preflight(headers: &HeaderMap, methods: &'static str) -> Response<Bytes> {
    let asked = headers.get("access-control-request-headers").and_then(|asked| asked.to_str().ok()).unwrap_or_default();
    let parameters = asked.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| {
        name.strip_prefix("mcp-param-").is_some_and(|rest| {
            !rest.is_empty() && rest.len() <= 64 && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
    });
    let allowed = parameters.take(32).fold(ALLOWED.to_owned(), |all, name| all + ", " + &name);
    let mut reply = Response::new(Bytes::new());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    let headers = reply.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    if let Ok(allowed) = HeaderValue::from_str(&allowed) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    reply
}

/// A public JSON document.
pub fn document(body: Bytes) -> Response<Bytes> {
    let mut reply = Response::new(body);
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    reply
}

pub fn empty(status: StatusCode) -> Response<Bytes> {
    let mut reply = Response::new(Bytes::new());
    *reply.status_mut() = status;
    reply
}

/// Sends a whole answer. `false` where the client is gone.
pub async fn send(session: &mut ServerSession, reply: Response<Bytes>, cors: &Cors, request_id: &str) -> bool {
    let (mut parts, body) = reply.into_parts();
    parts.headers.extend(cors.headers());
    if parts.status != StatusCode::NO_CONTENT {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        parts.headers.insert(REQUEST_ID, id);
    }
    let bare = body.is_empty() || session.req_header().method == Method::HEAD;
    if session.write_response_header(Box::new(ResponseHeader::from(parts))).await.is_err() {
        return false;
    }
    session.write_response_body(if bare { Bytes::new() } else { body }, true).await.is_ok()
}
