//! Every "no" on its way to the client: one table of status, reason, JSON-RPC error and challenge.
//!
//! What the client hears and what the operator reads are two texts. The first never says which of
//! several secrets was wrong, and never holds a name that the client sent.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, Response, StatusCode};
use serde_json::{Value, json};

use crate::governance::Barred;
use crate::mcp::{self, Era, era};
use crate::oauth::challenge;
use crate::pin::Flaw;
use crate::policy::{Refusal, Why};
use crate::route::{self, ChallengeScopes, Route};
use crate::token::{self, Scheme};

/// What went wrong. A fault has exactly one row in the table below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Route(route::Error),
    Origin,
    /// A method that the resource does not have. Holds the `Allow` value.
    Method(&'static str),
    Credential(token::Error),
    Message(mcp::Error),
    /// A body that is not `application/json`.
    MediaType,
    /// A request body with a content coding.
    ContentCoding,
    BodyTooLarge,
    BodyTimeout,
    /// The body did not arrive whole.
    BodyBroken,
    /// Longer or more headers than the limit.
    HeadTooLarge,
    HeadTimeout,
    /// A head that HTTP servers read in different ways (RFC 9112 §2.2, §6.1).
    HeadMalformed(&'static str),
    /// Another version than HTTP/1.1 and HTTP/2.
    HttpVersion,
    /// A session id that was not given out here.
    UnknownSession,
    /// A `requestState` that was not given to this caller for this very request, or too long ago.
    UnknownState,
    /// A task id that was not given to this caller.
    UnknownTask,
    /// A cursor that was not given to this caller for this list.
    UnknownCursor,
    /// Only scopes are missing: all that the operation asks for.
    InsufficientScope(Vec<String>),
    /// The login is too weak or too old (RFC 9470): what the next one must be, its greatest age in
    /// seconds, and all scopes to ask for with it.
    StepUp {
        acr: Vec<String>,
        max_age: Option<u64>,
        scopes: Vec<String>,
    },
    /// The same challenge went out several times and changed nothing.
    StepUpLoop,
    /// The rules say no, and no scope would change that.
    Forbidden(&'static str),
    /// The client may not call, whatever its token says.
    Client(Barred),
    /// What the rules would allow, of a tool that is not as somebody approved it.
    Tool(Flaw),
    /// Holds the seconds to wait.
    RateLimited(u64),
    /// The caller listens by as many streams as one may.
    TooManyStreams,
    /// The audit record could not be written, and calls without one are refused.
    AuditUnavailable,
    /// The authorization server did not answer for its metadata.
    MetadataUnavailable,
    /// It answered, with a document that is not its own or not sound (RFC 8414 §3.3).
    MetadataUnusable,
    UpstreamUnreachable,
    UpstreamTimeout,
    /// The upstream asked us for a credential.
    UpstreamUnauthorized,
    /// The credential for the upstream could not be obtained.
    UpstreamCredential,
    /// The upstream answered with a redirect, which would name an address of the inside.
    UpstreamRedirect,
    /// The upstream used a content coding that it was asked not to use.
    UpstreamCoding,
    /// The client went away before the answer was complete.
    ClientGone,
    /// The upstream gave out a session id that no header may carry (MCP 2025-11-25 "Session Management").
    UpstreamSession,
    /// A list that cannot be read cannot be cut, so it is not passed.
    UnreadableList,
    /// A result that must be looked through and cannot be read, or that its request does not allow.
    UnreadableResult,
    /// The answer broke off before anything of it was sent.
    UpstreamBroken,
    /// The server asked for what this upstream's servers may not ask of clients.
    ServerRequest,
    /// An answer that is not one message cannot be put among others.
    UnreadableAnswer,
    Internal,
}

/// A fault with what is known of the request it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    pub fault: Fault,
    /// The request's id as JSON text, once it is known.
    pub id: Option<String>,
    pub era: Option<Era>,
}

/// One row of the table.
struct Row {
    status: u16,
    reason: &'static str,
    code: i32,
    message: Cow<'static, str>,
}

impl From<Fault> for Denial {
    fn from(fault: Fault) -> Self {
        Self { fault, id: None, era: None }
    }
}

impl From<token::Error> for Denial {
    fn from(error: token::Error) -> Self {
        Fault::Credential(error).into()
    }
}

impl From<route::Error> for Denial {
    fn from(error: route::Error) -> Self {
        Fault::Route(error).into()
    }
}

impl From<&Refusal<'_>> for Fault {
    fn from(refusal: &Refusal<'_>) -> Self {
        match refusal.why() {
            Why::Scope(scopes) => Self::InsufficientScope(scopes.iter().map(|scope| (*scope).to_owned()).collect()),
            Why::StepUp(step) => Self::StepUp {
                acr: step.acr.iter().map(|class| (*class).to_owned()).collect(),
                max_age: step.max_age.map(|age| age.as_secs()),
                scopes: step.scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            },
            Why::NotNamed => Self::Forbidden("no_rule"),
            Why::Denied => Self::Forbidden("denied_by_rule"),
            Why::UriNotCanonical => Self::Forbidden("uri_not_canonical"),
            Why::Unmet(unmet) => Self::Forbidden(unmet.key()),
        }
    }
}

impl Denial {
    pub fn status(&self) -> u16 {
        // Legacy clients hear of an unknown method or task as JSON-RPC alone.
        match (&self.fault, self.era) {
            (Fault::Message(mcp::Error::UnknownMethod) | Fault::UnknownTask, Some(Era::Legacy)) if self.id.is_some() => 200,
            _ => self.fault.row().status,
        }
    }

    /// The label for audit and metrics, from a closed set.
    pub fn reason(&self) -> &'static str {
        self.fault.row().reason
    }

    /// The whole answer to a bearer. `route` is where the challenge points.
    pub fn reply(&self, route: Option<&Route>) -> Response<Bytes> {
        self.reply_to(Scheme::Bearer, route)
    }

    /// The whole answer to a client that used this scheme.
    pub fn reply_to(&self, scheme: Scheme, route: Option<&Route>) -> Response<Bytes> {
        let mut reply = Response::new(Bytes::from(self.body()));
        *reply.status_mut() = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
        match &self.fault {
            Fault::Method(allow) => {
                headers.insert(ALLOW, HeaderValue::from_static(allow));
            }
            Fault::RateLimited(seconds) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(*seconds));
            }
            // What cannot be had at present may be had soon.
            _ if self.status() == 503 => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        for challenge in route.map(|route| self.challenges(scheme, route)).unwrap_or_default() {
            headers.append(WWW_AUTHENTICATE, challenge);
        }
        reply
    }

    /// A JSON-RPC error response.
    fn body(&self) -> String {
        let Row { code, message, .. } = self.fault.row();
        let mut body = String::with_capacity(192);
        body.push_str(r#"{"jsonrpc":"2.0","#);
        for part in self.id.iter().flat_map(|id| [r#""id":"#, id, ","]) {
            body.push_str(part);
        }
        let message = Value::from(message.as_ref());
        // Writing to a text cannot fail.
        let _ = write!(body, r#""error":{{"code":{code},"message":{message}"#);
        if let Fault::Message(mcp::Error::Version { requested, modern: true }) = &self.fault {
            let _ = write!(body, r#","data":{}"#, json!({ "supported": era::MODERN, "requested": requested }));
        }
        body.push_str("}}");
        body
    }

    /// The `WWW-Authenticate` values of RFC 6750 §3, RFC 9449 §7.1 and RFC 9728 §5.1, where the fault
    /// has any. Bearer comes first: some clients read only the first scheme.
    fn challenges(&self, scheme: Scheme, route: &Route) -> Vec<HeaderValue> {
        if !matches!(self.fault, Fault::Credential(_) | Fault::InsufficientScope(_) | Fault::StepUp { .. }) {
            return Vec::new();
        }
        let message = &self.fault.row().message;
        let initial = route.policy.initial_scopes();
        let metadata = Some(route.metadata_url.as_str());
        let scopes: Vec<&str>;
        let (error, asked, metadata): (_, &[&str], _) = match &self.fault {
            Fault::Credential(
                token::Error::KeysUnavailable
                | token::Error::IntrospectionUnavailable
                | token::Error::ProofsFull
                | token::Error::RevocationsUnknown
                | token::Error::TooLong,
            ) => {
                return Vec::new();
            }
            // Nothing usable was offered: the challenge has no `error` (RFC 6750 §3.1).
            Fault::Credential(token::Error::Absent | token::Error::Scheme) => (None, &initial, metadata),
            Fault::Credential(token::Error::Malformed) => (Some("invalid_request"), &[], None),
            Fault::Credential(token::Error::Proof(_)) => (Some("invalid_dpop_proof"), &initial, metadata),
            Fault::Credential(token::Error::Nonce) => (Some("use_dpop_nonce"), &initial, metadata),
            Fault::Credential(_) => (Some("invalid_token"), &initial, metadata),
            Fault::InsufficientScope(missing) => {
                scopes = missing.iter().map(String::as_str).collect();
                (Some("insufficient_scope"), &scopes, metadata)
            }
            Fault::StepUp { scopes: missing, .. } => {
                scopes = missing.iter().map(String::as_str).collect();
                (Some("insufficient_user_authentication"), &scopes, metadata)
            }
            _ => return Vec::new(),
        };
        let error = error.map(|code| (code, message.as_ref()));
        let algorithms = &route.sender.algorithms;
        let mut texts = if scheme == Scheme::Dpop || route.sender.demand.dpop {
            vec![challenge::dpop(algorithms, error, asked, metadata)]
        } else {
            let bearer = challenge::bearer(error, asked, metadata);
            let speaks_of_dpop = route.sender.offered || self.fault == Fault::Credential(token::Error::Bound);
            let dpop = (speaks_of_dpop && self.status() == 401).then(|| challenge::dpop(algorithms, None, &[], metadata));
            std::iter::once(bearer).chain(dpop).collect()
        };
        if let (Fault::StepUp { acr, max_age, .. }, Some(first)) = (&self.fault, texts.first_mut()) {
            let acr: Vec<&str> = acr.iter().map(String::as_str).collect();
            challenge::step_up(first, &acr, *max_age);
        }
        texts.iter().filter_map(|text| HeaderValue::from_str(text).ok()).collect()
    }
}

impl Fault {
    /// The same with the scopes that the route challenges a caller for who holds these: there are
    /// clients that forget what they had when they ask for more.
    #[must_use]
    pub fn challenging(mut self, route: &Route, held: &[String]) -> Self {
        if let (Self::InsufficientScope(scopes) | Self::StepUp { scopes, .. }, ChallengeScopes::Union) = (&mut self, route.challenge) {
            let required: Vec<&str> = scopes.iter().map(String::as_str).collect();
            *scopes = route.policy.union(&required, held).into_iter().map(str::to_owned).collect();
        }
        self
    }

    /// The table. Own JSON-RPC codes are `-(31000 + status)`: outside every range that JSON-RPC
    /// and MCP reserve.
    fn row(&self) -> Row {
        use mcp::Error as M;
        use route::Error as R;
        use token::Error as T;
        let (status, reason, code, message): (u16, &'static str, i32, &'static str) = match self {
            Self::Route(R::Spelling) => (400, "path_spelling", -31400, "the path is not in its plain spelling"),
            Self::Route(R::Host) => (400, "host_malformed", -31400, "the Host header is missing or malformed"),
            Self::Route(R::Misdirected) => (421, "misdirected", -31421, "this host is not served here"),
            Self::Route(R::SeveralIssuers) => {
                (404, "several_issuers", -31404, "resources here have different authorization servers: ask at the path of one resource")
            }
            Self::Route(R::NotFound) => (404, "not_found", -31404, "nothing is served at this path"),
            Self::Origin => (403, "origin", -31403, "this Origin may not call"),
            Self::Method(_) => (405, "method_not_allowed", -31405, "this method is not served at this path"),

            Self::Credential(T::Absent) => (401, "token_missing", -31401, "an access token is required"),
            Self::Credential(T::Scheme) => (401, "token_missing", -31401, "an access token is required, with the Bearer or DPoP scheme"),
            Self::Credential(T::Malformed) => {
                (400, "credential_malformed", -31400, "exactly one well-formed Authorization header is expected")
            }
            Self::Credential(T::Expired) => (401, "token_expired", -31401, "the access token has expired"),
            Self::Credential(T::NotYet) => (401, "token_not_yet_valid", -31401, "the access token is not valid yet"),
            Self::Credential(T::Audience) => (401, "token_audience", -31401, "the access token was not issued for this resource"),
            Self::Credential(T::Issuer) => (401, "token_issuer", -31401, "the access token is not from an issuer accepted here"),
            Self::Credential(T::Signature) => (401, "token_signature", -31401, "the access token is invalid"),
            Self::Credential(T::UnknownKey) => (401, "token_unknown_key", -31401, "the access token is invalid"),
            Self::Credential(T::KeyHeld) => (401, "token_key_held", -31401, "the access token is invalid"),
            Self::Credential(T::Algorithm) => (401, "token_algorithm", -31401, "the access token is invalid"),
            Self::Credential(T::Type) => (401, "token_type", -31401, "the token is not an access token"),
            Self::Credential(T::IdToken) => (401, "token_is_id_token", -31401, "the token is not an access token"),
            Self::Credential(T::Header) => (401, "token_header", -31401, "the access token is invalid"),
            Self::Credential(T::NotJwt) => (401, "token_malformed", -31401, "the access token is invalid"),
            // Another such token would not help, so the client is not sent for one.
            Self::Credential(T::TooLong) => (431, "token_too_long", -31431, "the access token is longer than is accepted here"),
            Self::Credential(T::ClaimType(_)) => (401, "token_claim_type", -31401, "the access token is invalid"),
            Self::Credential(T::MissingClaim(_)) => (401, "token_claim_missing", -31401, "the access token lacks a required claim"),
            Self::Credential(T::ClaimValue) => (401, "token_claim_value", -31401, "the access token is not of the kind accepted here"),
            Self::Credential(T::Bound) => {
                (401, "token_bound", -31401, "the access token is bound to a key and may not be used as a bearer token")
            }
            Self::Credential(T::Confirmation) => (401, "token_confirmation", -31401, "the access token is bound in a way not known here"),
            Self::Credential(T::Unbound) => {
                (401, "token_unbound", -31401, "the access token is not bound to what a proof of possession here needs")
            }
            Self::Credential(T::Certificate) => {
                (401, "token_certificate", -31401, "the access token is bound to a client certificate that this connection lacks")
            }
            Self::Credential(T::Proof(flaw)) => (401, flaw.reason(), -31401, flaw.message()),
            Self::Credential(T::Nonce) => (401, "proof_nonce", -31401, "the DPoP proof needs the nonce that this answer gives"),
            Self::Credential(T::ProofsFull) => (503, "proofs_full", -31503, "no more DPoP proofs can be accepted at present"),
            Self::Credential(T::KeysUnavailable) => (503, "keys_unavailable", -31503, "access tokens cannot be verified at present"),
            Self::Credential(T::Inactive) => (401, "token_inactive", -31401, "the access token is not active"),
            Self::Credential(T::Revoked) => (401, "revoked", -31401, "the access token was revoked"),
            Self::Credential(T::Lifetime) => (401, "token_lifetime", -31401, "the access token lives longer than is accepted here"),
            Self::Credential(T::RevocationsUnknown) => (503, "revocations_unknown", -31503, "access tokens cannot be checked at present"),
            Self::Credential(T::IntrospectionUnavailable) => {
                (503, "introspection_unavailable", -31503, "access tokens cannot be checked at present")
            }

            Self::Message(M::NotJson) => (400, "not_json", -32700, "the body is not strict JSON in UTF-8"),
            Self::Message(M::TooDeep) => (400, "too_deep", -32600, "the message is nested too deeply"),
            Self::Message(M::DuplicateMember) => (400, "duplicate_member", -32600, "an object of the message names a member twice"),
            Self::Message(M::VariantMember) => {
                (400, "variant_member", -32600, "a member is spelled like a protocol member in another case")
            }
            Self::Message(M::Batch(what)) => (400, "batch", -32600, what),
            Self::Message(M::NotRequest(what)) => (400, "not_a_request", -32600, what),
            Self::Message(M::Response) => (400, "unexpected_response", -32600, "no request is waiting for this response"),
            Self::Message(M::UnknownMethod) => (404, "unknown_method", -32601, "the method is not known here"),
            Self::Message(M::Params(what)) => (400, "invalid_params", -32602, what),
            Self::Message(M::Meta(what)) => (400, "invalid_meta", -32602, what),
            Self::Message(M::Header(what)) => (400, "header_mismatch", -32020, what),
            Self::Message(M::Version { modern: true, .. }) => (400, "unsupported_version", -32022, "the protocol version is not supported"),
            Self::Message(M::Version { modern: false, .. }) => {
                (400, "unsupported_version", -32600, "the protocol version is not supported")
            }

            Self::MediaType => (415, "media_type", -31415, "the body must be application/json"),
            Self::ContentCoding => (415, "content_coding", -31415, "the body must not be compressed"),
            Self::BodyTooLarge => (413, "body_too_large", -31413, "the body is larger than the limit"),
            Self::BodyTimeout => (408, "body_timeout", -31408, "the body took too long to arrive"),
            Self::BodyBroken => (400, "body_broken", -31400, "the body did not arrive whole"),
            Self::HeadTimeout => (408, "head_timeout", -31408, "the request head took too long to arrive"),
            Self::HeadMalformed(what) => (400, "head_malformed", -31400, what),
            Self::HttpVersion => (505, "http_version", -31505, "this version of HTTP is not served"),
            Self::UnknownSession => (404, "unknown_session", -31404, "the session is not known here"),
            // One answer for what is another's, what is altered and what never was.
            Self::UnknownState => (400, "unknown_state", -32602, "the request state is not known here"),
            Self::UnknownTask => (400, "unknown_task", -32602, "the task is not known here"),
            Self::UnknownCursor => (400, "unknown_cursor", -32602, "the cursor is not known here"),
            Self::HeadTooLarge => (431, "head_too_large", -31431, "the request head is larger than the limit"),

            Self::InsufficientScope(_) => (403, "insufficient_scope", -31403, "this operation needs a scope that the access token lacks"),
            Self::StepUp { .. } => {
                (401, "insufficient_user_authentication", -31401, "this operation needs a more recent or a stronger login")
            }
            Self::StepUpLoop => {
                (403, "step_up_loop", -31403, "the same authorization was asked for repeatedly without effect; try again in a few minutes")
            }
            Self::Forbidden(reason) => (403, reason, -31403, "the access rules do not allow this operation"),
            Self::Client(Barred::Pending(code)) => {
                let message = format!("this client has not been approved yet; ask for it with the code {code}");
                return Row { status: 403, reason: "client_pending", code: -31403, message: message.into() };
            }
            Self::Client(Barred::Suspended) => (403, "client_suspended", -31403, "this client is suspended"),
            Self::Client(Barred::Retired) => (403, "client_retired", -31403, "this client is not used any more"),
            Self::Client(Barred::Expired) => (403, "client_expired", -31403, "the approval of this client has expired"),
            Self::Client(Barred::Elsewhere) => (403, "client_upstream", -31403, "this client is not approved for this resource"),
            Self::Client(Barred::Unnamed) => (403, "client_unnamed", -31403, "the access token names no client, and each must be approved"),
            Self::Client(Barred::Narrowed) => (403, "client_narrowed", -31403, "the scopes of this client were cut"),
            Self::Tool(Flaw::Changed) => (403, "tool_changed", -31403, "the tool is not as it was approved"),
            Self::Tool(Flaw::Unapproved) => (403, "tool_unapproved", -31403, "the tool has not been approved"),
            Self::Tool(Flaw::Unverified) => (503, "tool_unverified", -31503, "the tool has not yet been compared with what was approved"),
            Self::RateLimited(_) => (429, "rate_limited", -31429, "too many requests"),
            Self::TooManyStreams => (429, "too_many_streams", -31429, "too many open streams"),
            Self::AuditUnavailable => (503, "audit_unavailable", -31503, "the request cannot be recorded at present"),
            Self::MetadataUnavailable => {
                (503, "metadata_unavailable", -31503, "the authorization server's metadata cannot be had at present")
            }
            Self::MetadataUnusable => (502, "metadata_unusable", -31502, "the authorization server's metadata cannot be used"),
            Self::UpstreamUnreachable => (502, "upstream_unreachable", -31502, "the MCP server cannot be reached"),
            Self::UpstreamTimeout => (504, "upstream_timeout", -31504, "the MCP server took too long to answer"),
            Self::UpstreamUnauthorized => (502, "upstream_unauthorized", -31502, "the MCP server did not accept the gateway"),
            Self::UpstreamCredential => (502, "upstream_credential", -31502, "the gateway has no credential for the MCP server at present"),
            Self::UpstreamRedirect => (502, "upstream_redirect", -31502, "the MCP server answered with a redirect"),
            Self::UpstreamCoding => (502, "upstream_coding", -31502, "the MCP server's answer cannot be read"),
            Self::UpstreamSession => (502, "upstream_session", -31502, "the MCP server's answer cannot be read"),
            Self::ClientGone => (499, "client_gone", -31499, "the client went away"),
            Self::UnreadableList => (502, "unreadable_list", -31502, "the MCP server's list cannot be read"),
            Self::UnreadableResult => (502, "unreadable_result", -31502, "the MCP server's answer cannot be read"),
            Self::UpstreamBroken => (502, "upstream_broken", -31502, "the MCP server's answer broke off"),
            Self::ServerRequest => (502, "server_request", -31502, "the MCP server asked for what is not passed on to clients"),
            Self::UnreadableAnswer => (502, "unreadable_answer", -31502, "the MCP server's answer cannot be read"),
            Self::Internal => (500, "internal", -31500, "the gateway failed"),
        };
        Row { status, reason, code, message: Cow::Borrowed(message) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_cannot_be_had_at_present_says_when_to_come_again() {
        use token::Error as T;
        let credentials = [T::KeysUnavailable, T::IntrospectionUnavailable, T::ProofsFull, T::RevocationsUnknown].map(Fault::Credential);
        for fault in credentials.into_iter().chain([Fault::AuditUnavailable, Fault::Tool(Flaw::Unverified), Fault::MetadataUnavailable]) {
            let reply = Denial::from(fault.clone()).reply(None);
            assert_eq!(
                (reply.status().as_u16(), reply.headers().get(RETRY_AFTER)),
                (503, Some(&HeaderValue::from_static("5"))),
                "{fault:?}"
            );
        }
    }
}
