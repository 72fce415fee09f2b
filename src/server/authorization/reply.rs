//! Answers of the authorization server, and what a record says of them.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION, PRAGMA, RETRY_AFTER};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::Fault;
use crate::event::Outcome;
use crate::oauth::{Code, OAuthError};
use crate::principal::Principal;

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    pub response: Response<Bytes>,
    pub told: Told,
}

/// What is needed to go on, or the answer that ends it.
pub(super) type Answer<T> = Result<T, Box<Reply>>;

/// What a record says of a request. Never a secret.
#[derive(Clone, Debug)]
pub struct Told {
    pub outcome: Outcome,
    pub reason: &'static str,
    /// A client's id, or whatever it is about.
    pub name: Option<String>,
    /// Who is known, and by which client.
    pub who: Option<Arc<Principal>>,
    /// SHA-256 of the token.
    pub token: Option<[u8; 32]>,
    pub upstream: Option<Arc<str>>,
}

impl Told {
    pub fn answered(reason: &'static str) -> Self {
        Self { outcome: Outcome::Answered, reason, name: None, who: None, token: None, upstream: None }
    }

    pub fn refused(reason: &'static str) -> Self {
        Self { outcome: Outcome::Refused, ..Self::answered(reason) }
    }

    /// With what it is about.
    #[must_use]
    pub fn about(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }
}

impl Reply {
    pub fn new(response: Response<Bytes>, told: Told) -> Self {
        Self { response, told }
    }

    /// With what it is about.
    #[must_use]
    pub fn about(mut self, name: impl Into<String>) -> Self {
        self.told.name = Some(name.into());
        self
    }

    /// JSON that nobody may keep (RFC 6749 §5.1).
    pub fn json(status: StatusCode, body: &Value, told: Told) -> Self {
        let mut response = Response::new(Bytes::from(body.to_string()));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        private(&mut response);
        Self { response, told }
    }

    /// A public document, which may be kept for a while.
    pub fn document(body: Bytes) -> Self {
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
        headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        Self { response, told: Told::answered("metadata") }
    }

    /// RFC 6749 §5.2.
    pub fn error(error: OAuthError) -> Self {
        let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::BAD_REQUEST);
        let body = json!({ "error": error.code.name(), "error_description": error.description });
        Self::json(status, &body, Told::refused(error.code.name()))
    }

    /// Always by 303, so that what was posted is not posted again (OAuth 2.1 "HTTP 307 Redirect").
    pub fn see_other(location: &str, told: Told) -> Self {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::SEE_OTHER;
        if let Ok(location) = HeaderValue::from_str(location) {
            response.headers_mut().insert(LOCATION, location);
        }
        private(&mut response);
        Self { response, told }
    }

    /// 405, with the methods that there are.
    pub fn method(allowed: &'static str) -> Self {
        let mut reply = Self::error(OAuthError::new(Code::InvalidRequest, "another method is needed"));
        *reply.response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        reply.response.headers_mut().insert(http::header::ALLOW, HeaderValue::from_static(allowed));
        reply.told.reason = "method";
        reply
    }

    pub fn not_found() -> Self {
        let mut reply = Self::error(OAuthError::new(Code::InvalidRequest, "nothing is here"));
        *reply.response.status_mut() = StatusCode::NOT_FOUND;
        reply.told.reason = "not_found";
        reply
    }
}

impl From<OAuthError> for Reply {
    fn from(error: OAuthError) -> Self {
        Self::error(error)
    }
}

impl From<Fault> for Reply {
    fn from(fault: Fault) -> Self {
        tracing::error!(%fault, "the authorization server cannot answer");
        let mut reply = Self::error(OAuthError::new(Code::TemporarilyUnavailable, "try again in a moment"));
        reply.response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
        (reply.told.outcome, reply.told.reason) = (Outcome::Failed, fault.reason());
        reply
    }
}

impl From<OAuthError> for Box<Reply> {
    fn from(error: OAuthError) -> Self {
        Self::new(Reply::error(error))
    }
}

impl From<Fault> for Box<Reply> {
    fn from(fault: Fault) -> Self {
        Self::new(fault.into())
    }
}

fn private(response: &mut Response<Bytes>) {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
}
