//! For authorization servers that are elsewhere: their metadata at our own origin, and what the operator
//! should change there when their tokens do not fit.
//!
//! Which document stands where was decided by the route table; what it says is the server's.

use std::time::Instant;

use http::{HeaderMap, Method};
use pingora::protocols::http::ServerSession;

use super::Gateway;
use super::exchange::Exchange;
use super::reply::{self, Cors};
use crate::advice::Advice;
use crate::denial::Fault;
use crate::remote::FetchError;
use crate::route::{self, Route};
use crate::state::Snapshot;
use crate::token::{self, Credential};

const METHODS: &str = "GET, HEAD, OPTIONS";

/// Public, for every origin, like the resource's own metadata. Without a route there is no one answer.
pub async fn issuer_metadata(exchange: &mut Exchange<'_>, session: &mut ServerSession, route: Option<&Route>) -> bool {
    exchange.cors = Cors::Anyone;
    if let Some(route) = route {
        exchange.tale.tell(|event| event.upstream = Some(route.name.clone()));
    }
    let method = session.req_header().method.clone();
    if method == Method::OPTIONS {
        exchange.tale.answered("preflight", 204);
        let reply = reply::preflight(&session.req_header().headers, METHODS);
        return reply::send(session, reply, &exchange.cors, exchange.tale.id()).await;
    }
    if method != Method::GET && method != Method::HEAD {
        return exchange.deny(session, &Fault::Method(METHODS).into(), None).await;
    }
    match document(exchange, route).await {
        Ok(document) => {
            exchange.tale.answered("metadata", 200);
            reply::send(session, reply::document(document), &exchange.cors, exchange.tale.id()).await
        }
        Err(fault) => exchange.deny(session, &fault.into(), None).await,
    }
}

async fn document(exchange: &Exchange<'_>, route: Option<&Route>) -> Result<bytes::Bytes, Fault> {
    let route = route.ok_or(Fault::Route(route::Error::SeveralIssuers))?;
    let store = route.issuers.first().and_then(|rules| exchange.world.issuers.metadata(rules));
    // Where the operator names the keys and not the metadata there is nothing to show.
    let store = store.ok_or(Fault::Route(route::Error::NotFound))?;
    store.document().await.map_err(|error| match error {
        FetchError::Timeout | FetchError::Unreachable | FetchError::Status(500..) => Fault::MetadataUnavailable,
        _ => Fault::MetadataUnusable,
    })
}

/// One line in the log on how to mend what the provider does. The client hears nothing of it.
pub fn advise(gateway: &Gateway, world: &Snapshot, route: &Route, error: token::Error, headers: &HeaderMap) {
    let Ok(Credential::Presented { token, .. }) = token::credential(headers) else { return };
    let Some(advice) = Advice::of(error, token, route, &world.config) else { return };
    if gateway.advisor.is_due(&route.name, &advice, Instant::now()) {
        let (mistake, upstream) = (advice.mistake.as_str(), &*route.name);
        tracing::warn!(
            upstream,
            issuer = advice.issuer,
            reason = mistake,
            advice = advice.text,
            "a token was refused that the provider could mend"
        );
    }
}
