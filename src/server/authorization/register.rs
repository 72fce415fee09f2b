//! Clients that register themselves (RFC 7591), and what a registrant may do with its client afterwards (RFC 7592).
//!
//! A client without a secret is whoever says the same of itself: registering it again gives the same id, and nobody may change or
//! delete it. One with a secret or a key is its registrant's own, who is given a token to manage it.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::{Map, Value};

use super::clients::{key, standing};
use super::{Call, Fault, Reply, Server, Told, digest, secret};
use crate::config::registration::Admission;
use crate::governance::client::State;
use crate::limit::neighbourhood;
use crate::oauth::registration::{self, Metadata, Whence};
use crate::oauth::{Code, OAuthError};
use crate::route::Rate;
use crate::store::authorization::{Added, Registration};
use crate::store::{Error, Reason};
use crate::token::{Credential, Scheme, credential};

/// Bytes of a body.
const LARGEST: usize = 16 << 10;
/// Where a registrant manages its client; the client's id follows.
const MANAGEMENT: &str = "/doorward/register/";
/// How many times the rate of one address all addresses together may register.
const ALL: u32 = 20;

/// An answer that refuses.
type No = Box<Reply>;

impl Server {
    pub(super) async fn register(&self, call: &Call<'_>, request: &Request<Bytes>) -> Reply {
        let done = match request.uri().path().strip_prefix(MANAGEMENT) {
            Some(id) => self.manage(call, request, id).await,
            None if request.method() != Method::POST => return Reply::method("POST"),
            None => self.take_in(call, request).await,
        };
        done.unwrap_or_else(|no| *no)
    }

    async fn take_in(&self, call: &Call<'_>, request: &Request<Bytes>) -> Result<Reply, No> {
        let settings = &call.settings.registration;
        if settings.dynamic == Admission::Off {
            let error = OAuthError::new(Code::AccessDenied, "clients do not register here; ask whoever runs this server for a client id");
            return Err(with_status(error.into(), StatusCode::FORBIDDEN).into());
        }
        self.check_rate(call)?;
        if let Some(expected) = &settings.token
            && !shows(request.headers(), &digest(expected.text()))
        {
            return Err(unauthorized("an initial access token is needed to register"));
        }
        let metadata = Metadata::read(json_of(request)?, Whence::Registration, settings.loopback).map_err(refused)?;
        let kept = new(call, metadata)?;
        match self.add(call, &kept.row).await.map_err(fault)? {
            Added::New => Ok(kept.reply(call, "registered")),
            Added::Known => {
                let row = call.store.registration(&kept.row.client_id).await.map_err(fault)?.unwrap_or(kept.row);
                Ok(Kept { row, secret: None, management: None }.reply(call, "registered_again"))
            }
            Added::Full => {
                tracing::warn!(most = settings.most, "there are as many registered clients as may be");
                let error = OAuthError::new(Code::TemporarilyUnavailable, "too many clients wait for a decision here; try again later");
                Err(later(error.into(), 3_600).into())
            }
        }
    }

    /// Keeps a client that is new, if there is room.
    pub(super) async fn add(&self, call: &Call<'_>, row: &Registration) -> Result<Added, Fault> {
        let settings = &call.settings.registration;
        let (added, left) = call.store.add_registration(row, call.now + settings.keep.as_secs(), settings.most).await?;
        if let Some(clients) = &call.world.clients {
            clients.forget(&left);
        }
        Ok(added)
    }

    /// How long to wait. SECURITY: an address that floods is stopped alone, and all together before they fill the store.
    pub(super) fn pace(&self, call: &Call<'_>, what: &'static str) -> Result<(), std::time::Duration> {
        let rate = call.settings.registration.rate;
        let all = Rate { count: rate.count.saturating_mul(ALL), ..rate };
        let limiter = &self.clients.limiter;
        limiter.admit((what, neighbourhood(call.origin.source)), rate).and_then(|()| limiter.admit(what, all))
    }

    fn check_rate(&self, call: &Call<'_>) -> Result<(), No> {
        self.pace(call, "register").map_err(|wait| {
            let error = OAuthError::new(Code::TemporarilyUnavailable, "too many registrations; try again later");
            let mut reply = later(with_status(error.into(), StatusCode::TOO_MANY_REQUESTS), wait.as_secs() + 1);
            reply.told.reason = "rate_limited";
            reply.into()
        })
    }

    /// Reading, changing and deleting a client by whoever registered it.
    async fn manage(&self, call: &Call<'_>, request: &Request<Bytes>, id: &str) -> Result<Reply, No> {
        self.check_rate(call)?;
        let row = self.own(call, request.headers(), id).await?;
        let reply = match *request.method() {
            Method::GET => own_answer(call, request.headers(), &row, "registration_read"),
            Method::PUT => self.change(call, request, row).await?,
            Method::DELETE => self.delete(call, &row).await?,
            _ => Reply::method("GET, PUT, DELETE"),
        };
        Ok(reply.about(id))
    }

    /// SECURITY: one answer for what is unknown, retired and another's (RFC 7592 §2.1).
    async fn own(&self, call: &Call<'_>, headers: &HeaderMap, id: &str) -> Result<Registration, No> {
        let is_retired = standing(call, id).is_some_and(|client| client.state == State::Retired);
        let row = match id.is_ascii() && !is_retired {
            true => call.store.registration(id).await.map_err(fault)?,
            false => None,
        };
        let expected = row.as_ref().and_then(|row| row.management.clone());
        let is_shown = shows(headers, &expected.unwrap_or_else(|| digest("")));
        row.filter(|row| row.management.is_some() && is_shown).ok_or_else(|| unauthorized("this token is not of this client"))
    }

    /// SECURITY: the decision is taken back before what it was about is changed.
    async fn change(&self, call: &Call<'_>, request: &Request<Bytes>, row: Registration) -> Result<Reply, No> {
        let is_own = |sent: &str| row.secret.as_deref().is_some_and(|kept| is_same(&digest(sent), kept));
        let loopback = call.settings.registration.loopback;
        let metadata = Metadata::replacement(json_of(request)?, &row.client_id, is_own, loopback).map_err(refused)?;
        let (before, after) = (row.metadata.token_endpoint_auth_method, metadata.token_endpoint_auth_method);
        if before != after && !(before.has_secret() && after.has_secret()) {
            let error = OAuthError::new(Code::InvalidClientMetadata, "to authenticate in another way, register another client");
            return Err(no(error));
        }
        if metadata.fingerprint() != row.metadata.fingerprint() {
            self.decide(call, &row.client_id, State::Pending, "its registrant changed it").await?;
        }
        call.store.replace_registration(&row.client_id, &metadata, call.now).await.map_err(fault)?;
        self.clients.forget(&row.client_id);
        Ok(own_answer(call, request.headers(), &Registration { metadata, ..row }, "registration_changed"))
    }

    async fn delete(&self, call: &Call<'_>, row: &Registration) -> Result<Reply, No> {
        self.decide(call, &row.client_id, State::Retired, "its registrant deleted it").await?;
        call.store.drop_registration(&row.client_id).await.map_err(fault)?;
        self.clients.forget(&row.client_id);
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(Reply::new(response, Told::answered("registration_deleted")))
    }

    /// What the registrant's word changes in the inventory. A suspended client stays suspended, but for its end.
    async fn decide(&self, call: &Call<'_>, id: &str, state: State, why: &str) -> Result<(), No> {
        let change = |found: Option<crate::governance::client::Client>| {
            let client = found.ok_or(crate::governance::client::Stuck::Unknown)?;
            let stays = state == State::Pending && client.state == State::Suspended;
            let state = if stays { State::Suspended } else { state };
            client.moved(state)
        };
        let reason = Reason { text: why, actor: "registrant", made: call.now };
        match call.store.change_client(&key(call, id), change, &reason).await {
            // Nobody has let it in, so there is nothing to take back.
            Ok(_) | Err(Error::Client(_)) => Ok(()),
            Err(error) => Err(fault(error)),
        }
    }
}

/// A client, and what is told of it once alone.
struct Kept {
    row: Registration,
    secret: Option<String>,
    management: Option<String>,
}

fn new(call: &Call<'_>, metadata: Metadata) -> Result<Kept, No> {
    let is_public = metadata.token_endpoint_auth_method == registration::Method::None;
    let pair = |wanted: bool| if wanted { secret().map(|(text, digest)| (Some(text), Some(digest))) } else { Ok((None, None)) };
    let (shown_secret, secret_digest) = pair(metadata.token_endpoint_auth_method.has_secret()).map_err(fault)?;
    let (management, management_digest) = pair(!is_public).map_err(fault)?;
    let client_id = match is_public {
        true => metadata.public_id(),
        false => format!("dyn-{}", secret().map_err(fault)?.0),
    };
    let (secret, management_digest, now) = (secret_digest, management_digest, call.now);
    let row = Registration { client_id, metadata, secret, management: management_digest, created: now, changed: now, used: None };
    Ok(Kept { row, secret: shown_secret, management })
}

impl Kept {
    /// RFC 7591 §3.2.1.
    fn reply(self, call: &Call<'_>, reason: &'static str) -> Reply {
        let Self { row, secret, management } = self;
        let mut answer = row.metadata.answer(&row.client_id, row.created);
        if let Some(secret) = secret {
            answer.insert("client_secret".into(), secret.into());
            answer.insert("client_secret_expires_at".into(), 0.into());
        }
        if let Some(token) = management {
            manageable(&mut answer, call, &row.client_id, &token);
        }
        Reply::json(StatusCode::CREATED, &Value::Object(answer), Told::answered(reason).about(row.client_id))
    }
}

/// RFC 7592 §3. The secret was told once, and is not known here.
fn own_answer(call: &Call<'_>, headers: &HeaderMap, row: &Registration, reason: &'static str) -> Reply {
    let mut answer = row.metadata.answer(&row.client_id, row.created);
    if let Ok(Credential::Presented { token, .. }) = credential(headers) {
        manageable(&mut answer, call, &row.client_id, token.as_str());
    }
    Reply::json(StatusCode::OK, &Value::Object(answer), Told::answered(reason))
}

fn manageable(answer: &mut Map<String, Value>, call: &Call<'_>, id: &str, token: &str) {
    answer.insert("registration_client_uri".into(), call.settings.endpoint(&format!("{MANAGEMENT}{id}")).into());
    answer.insert("registration_access_token".into(), token.into());
}

/// The body, where it is said to be JSON and not larger than anybody needs.
fn json_of(request: &Request<Bytes>) -> Result<&[u8], No> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(no(OAuthError::new(Code::InvalidClientMetadata, "the content type must be application/json")));
    }
    if request.body().len() > LARGEST {
        return Err(no(OAuthError::new(Code::InvalidClientMetadata, "the metadata is larger than 16 KiB")));
    }
    Ok(request.body())
}

/// SECURITY: digests are compared, in constant time.
fn shows(headers: &HeaderMap, expected: &str) -> bool {
    let Ok(Credential::Presented { scheme: Scheme::Bearer, token }) = credential(headers) else { return false };
    is_same(&digest(token.as_str()), expected)
}

fn is_same(one: &str, other: &str) -> bool {
    verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

/// RFC 6750 §3.1.
fn unauthorized(description: &'static str) -> No {
    let mut reply = Reply::from(OAuthError::new(Code::InvalidToken, description));
    reply.response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
    reply.into()
}

fn refused(fault: registration::Fault) -> No {
    no(fault.error())
}

fn fault(error: impl Into<Fault>) -> No {
    Box::new(Reply::from(error.into()))
}

fn no(error: OAuthError) -> No {
    Box::new(error.into())
}

fn with_status(mut reply: Reply, status: StatusCode) -> Reply {
    *reply.response.status_mut() = status;
    reply
}

fn later(mut reply: Reply, seconds: u64) -> Reply {
    reply.response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    reply
}

#[cfg(test)]
mod tests;
