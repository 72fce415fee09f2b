//! Requests that tell of sessions and accounts that have ended: read within bounds, answered as each standard wants it.
//!
//! What they say and do is [`crate::signals`]'s affair. A stranger is refused before its body is read.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, Response, StatusCode};
use pingora::protocols::http::ServerSession;
use serde_json::json;

use super::exchange::{Exchange, drain_later};
use super::{body, reply};
use crate::config::{Secret, Signal};
use crate::denial::{self, Denial};
use crate::event::Outcome;
use crate::governance::signal::{Fault, Shown};
use crate::limit::neighbourhood;
use crate::route::Inlet;
use crate::signals::{Origin, Taken};
use crate::token::{Credential, Scheme, Token, credential};

/// Bytes of a body.
const BODY: usize = 64 << 10;

/// `false` where the connection must be given up.
pub async fn serve(exchange: &mut Exchange<'_>, session: &mut ServerSession, name: &Arc<str>, inlet: Inlet) -> bool {
    exchange.tale.tell(|event| event.operation = inlet.operation());
    // INVARIANT: routes and signals are of one world.
    let Some(signal) = exchange.world.config.signals.iter().find(|signal| signal.name == *name).cloned() else {
        return exchange.deny(session, &denial::Fault::Internal.into(), None).await;
    };
    let taken = match take_in(exchange, session, &signal, inlet).await {
        Ok(taken) => taken,
        Err(denial) => return exchange.deny(session, &denial, None).await,
    };
    exchange.gateway.signals.count(&signal, inlet.operation(), &taken);
    let reply = answer(inlet, &taken);
    let status = reply.status().as_u16();
    exchange.tale.tell(|event| {
        (event.outcome, event.reason, event.name) = match taken {
            Ok(Taken { effect, name }) => (Outcome::Answered, effect.reason(), Some(name)),
            Err(fault) if fault.is_passing() => (Outcome::Failed, fault.reason(), None),
            Err(fault) => (Outcome::Refused, fault.reason(), None),
        };
        event.status = status;
    });
    drain_later(session, false);
    reply::send(session, reply, &exchange.cors, exchange.tale.id()).await
}

/// The cheap questions first: how often, by which method, who. Only then the body is read.
async fn take_in(
    exchange: &mut Exchange<'_>,
    session: &mut ServerSession,
    signal: &Signal,
    inlet: Inlet,
) -> Result<Result<Taken, Fault>, Denial> {
    check_rate(exchange, signal)?;
    if session.req_header().method != Method::POST {
        return Err(denial::Fault::Method("POST").into());
    }
    let headers = &session.req_header().headers;
    let shown = match believed(exchange, headers, signal, inlet).await {
        Ok(shown) => shown,
        Err(fault) => return Ok(Err(fault)),
    };
    let headers = &session.req_header().headers;
    if !is_media(headers, inlet) {
        return Ok(Err(Fault::Media));
    }
    let body = body::read(session, BODY, exchange.world.config.limits.body_timeout).await?;
    // SECURITY: after the body, or slow strangers would hold the places of everybody's records.
    let slot = exchange.gateway.audit.slot(exchange.world.config.audit.when_full);
    exchange.tale.slot = Some(slot.ok_or(denial::Fault::AuditUnavailable)?);
    let (world, receiver) = (exchange.world, &exchange.gateway.signals);
    let origin = Origin { id: exchange.tale.id(), source: exchange.source, now: exchange.received };
    Ok(match inlet {
        Inlet::Push => match std::str::from_utf8(&body) {
            Ok(text) => receiver.event(world, signal, text.trim_ascii(), origin).await,
            Err(_) => Err(Fault::Malformed),
        },
        Inlet::Revoke => receiver.request(world, signal, shown.as_ref(), &body, origin).await,
        Inlet::Logout => match logout_token(&body) {
            Some(text) => receiver.logout(world, signal, &text, origin).await,
            None => Err(Fault::Malformed),
        },
    })
}

fn check_rate(exchange: &Exchange<'_>, signal: &Signal) -> Result<(), denial::Fault> {
    let limited = |wait: std::time::Duration| denial::Fault::RateLimited(wait.as_secs() + 1);
    exchange.gateway.limiter.admit(("signal", &signal.name, neighbourhood(exchange.source)), signal.rate).map_err(limited)
}

/// Is the sender who it should be? By the secret that it shows, or by a token of its own, which is the answer.
async fn believed(exchange: &Exchange<'_>, headers: &HeaderMap, signal: &Signal, inlet: Inlet) -> Result<Option<Shown>, Fault> {
    let endpoint = match inlet {
        Inlet::Push => signal.push.as_ref(),
        Inlet::Revoke => signal.revoke.as_ref(),
        // The logout token proves itself (OpenID Connect Back-Channel Logout 1.0 §2.5).
        Inlet::Logout => None,
    };
    match endpoint.map(|endpoint| (&endpoint.token, &endpoint.jwt)) {
        Some((_, Some(_))) => {
            let Ok(Credential::Presented { scheme: Scheme::Bearer, token }) = credential(headers) else { return Err(Fault::Sender) };
            let receiver = &exchange.gateway.signals;
            receiver.sender(exchange.world, signal, token.as_str(), exchange.received).await.map(Some)
        }
        Some((Some(secret), None)) if !shows(headers, secret) => Err(Fault::Sender),
        _ => Ok(None),
    }
}

/// SECURITY: digests are compared, in constant time, so that neither length nor content shows.
fn shows(headers: &HeaderMap, secret: &Secret) -> bool {
    let Ok(Credential::Presented { scheme: Scheme::Bearer, token }) = credential(headers) else { return false };
    let Ok(expected) = Token::new(secret.text()) else { return false };
    verify_slices_are_equal(&token.digest(), &expected.digest()).is_ok()
}

/// RFC 8935 §2.1, the draft's §3, OpenID Connect Back-Channel Logout 1.0 §2.5.
fn is_media(headers: &HeaderMap, inlet: Inlet) -> bool {
    let expected = match inlet {
        Inlet::Push => "application/secevent+jwt",
        Inlet::Revoke => "application/json",
        Inlet::Logout => "application/x-www-form-urlencoded",
    };
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next().and_then(|value| value.to_str().ok()), types.next()) else { return false };
    let essence = only.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(expected) && !headers.contains_key(CONTENT_ENCODING)
}

/// The only `logout_token` of a form; other parameters are ignored.
fn logout_token(body: &[u8]) -> Option<String> {
    let mut all = url::form_urlencoded::parse(body).filter(|(name, _)| name == "logout_token").map(|(_, value)| value.into_owned());
    let only = all.next()?;
    all.next().is_none().then_some(only)
}

fn answer(inlet: Inlet, taken: &Result<Taken, Fault>) -> Response<Bytes> {
    let mut reply = match taken {
        Ok(_) => reply::empty(match inlet {
            Inlet::Push => StatusCode::ACCEPTED,
            Inlet::Revoke => StatusCode::NO_CONTENT,
            Inlet::Logout => StatusCode::OK,
        }),
        Err(fault) => refusal(inlet, *fault),
    };
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// SECURITY: never holds anything that was sent.
fn refusal(inlet: Inlet, fault: Fault) -> Response<Bytes> {
    let text = match inlet {
        Inlet::Push => json!({ "err": fault.code(), "description": fault.message() }),
        Inlet::Revoke | Inlet::Logout => json!({ "error": error(fault), "error_description": fault.message() }),
    };
    let mut reply = Response::new(Bytes::from(text.to_string()));
    *reply.status_mut() = match (inlet, fault) {
        (_, fault) if fault.is_passing() => StatusCode::SERVICE_UNAVAILABLE,
        (Inlet::Revoke, Fault::Sender) => StatusCode::UNAUTHORIZED,
        (Inlet::Revoke, Fault::UnknownSubject) => StatusCode::NOT_FOUND,
        (Inlet::Revoke, Fault::Unmappable) => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::BAD_REQUEST,
    };
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if fault.is_passing() {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    if (inlet, fault) == (Inlet::Revoke, Fault::Sender) {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    reply
}

fn error(fault: Fault) -> &'static str {
    match fault {
        Fault::Sender => "invalid_token",
        fault if fault.is_passing() => "temporarily_unavailable",
        _ => "invalid_request",
    }
}
