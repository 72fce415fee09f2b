//! Requests to the authorization server inside: bounded, counted, and recorded. What they mean is [`crate::server`]'s affair.

use bytes::Bytes;
use http::header::HOST;
use http::{Method, Request};
use pingora::protocols::http::ServerSession;

use super::exchange::{Exchange, drain_later};
use super::reply::{self, Cors};
use super::{body, record};
use crate::denial::{self, Denial};
use crate::limit::neighbourhood;
use crate::server::authorization::{Origin, Reply};

/// Bytes of a body.
const BODY: usize = 64 << 10;

/// `false` where the connection must be given up.
pub async fn serve(exchange: &mut Exchange<'_>, session: &mut ServerSession) -> bool {
    let path = session.req_header().uri.path();
    let operation = exchange.gateway.authorization.operation(path);
    exchange.tale.tell(|event| event.operation = operation);
    if exchange.gateway.authorization.is_for_scripts(path) {
        exchange.cors = Cors::Anyone;
    }
    if session.req_header().method == Method::OPTIONS && matches!(exchange.cors, Cors::Anyone) {
        exchange.tale.answered("preflight", 204);
        let reply = reply::preflight(&session.req_header().headers, "GET, HEAD, POST, OPTIONS");
        return reply::send(session, reply, &exchange.cors, exchange.tale.id()).await;
    }
    let request = match take_in(exchange, session).await {
        Ok(request) => request,
        Err(denial) => return exchange.deny(session, &denial, None).await,
    };
    let origin = Origin { id: exchange.tale.id(), source: exchange.source, now: exchange.received };
    let Reply { response, told } = exchange.gateway.authorization.answer(exchange.world, request, origin).await;
    let status = response.status().as_u16();
    exchange.tale.tell(|event| {
        (event.outcome, event.reason, event.status) = (told.outcome, told.reason, status);
        (event.who, event.token, event.upstream) = (told.who, told.token, told.upstream);
        event.name = told.name.map(|name| record::name(&name));
    });
    drain_later(session, false);
    reply::send(session, response, &exchange.cors, exchange.tale.id()).await
}

/// How often, and only then the body.
async fn take_in(exchange: &mut Exchange<'_>, session: &mut ServerSession) -> Result<Request<Bytes>, Denial> {
    // INVARIANT: the route table sends no request here without it.
    let server = exchange.world.config.authorization_server.as_ref().ok_or(denial::Fault::Internal)?;
    let limited = |wait: std::time::Duration| denial::Fault::RateLimited(wait.as_secs() + 1);
    exchange.gateway.limiter.admit(("authorization", neighbourhood(exchange.source)), server.rate).map_err(limited)?;
    let body = match session.req_header().method {
        Method::POST | Method::PUT => body::read(session, BODY, exchange.world.config.limits.body_timeout).await?,
        _ => Bytes::new(),
    };
    // SECURITY: after the body, or slow strangers would hold the places of everybody's records.
    let slot = exchange.gateway.audit.slot(exchange.world.config.audit.when_full);
    exchange.tale.slot = Some(slot.ok_or(denial::Fault::AuditUnavailable)?);
    let head = session.req_header();
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.uri.clone();
    *request.headers_mut() = head.headers.clone();
    request.headers_mut().remove(HOST);
    Ok(request)
}
