//! Looks after the servers of an upstream between calls, where the configuration asks for it.
//!
//! A check never carries a credential or an identity, and tells only the pool what it found.

use std::sync::{Arc, Weak};

use futures_util::future::join_all;
use http::header::{HOST, USER_AGENT};
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;

use super::dial::{Links, for_h2};
use super::pool::{Backend, Pool};
use crate::route::Health;

/// Checks all servers of a pool, again and again, for as long as the pool lives.
pub async fn keep(pool: Weak<Pool>, health: Health, links: Arc<Links>) {
    loop {
        let Some(held) = pool.upgrade() else { return };
        let backends = held.backends();
        join_all(backends.iter().map(|backend| check(&held, backend, &health, &links))).await;
        drop(held);
        tokio::time::sleep(health.interval).await;
    }
}

async fn check(pool: &Pool, backend: &Backend, health: &Health, links: &Links) {
    let well = tokio::time::timeout(health.timeout, is_well(backend, health, links)).await.unwrap_or(false);
    pool.checked(backend, well, if well { health.healthy } else { health.unhealthy });
}

async fn is_well(backend: &Backend, health: &Health, links: &Links) -> bool {
    match &health.path {
        None => links.streams.new_stream(&backend.peer).await.is_ok(),
        Some(path) => ask(backend, path, links).await.is_ok_and(|status| status.is_success()),
    }
}

async fn ask(backend: &Backend, path: &str, links: &Links) -> pingora::Result<http::StatusCode> {
    let (mut session, _) = links.sessions.get_http_session(&backend.peer).await?;
    let mut header = RequestHeader::build("GET", path.as_bytes(), Some(2))?;
    header.insert_header(HOST, backend.authority.clone())?;
    header.insert_header(USER_AGENT, "doorward")?;
    if matches!(session, HttpSession::H2(_)) {
        for_h2(&mut header, backend, path);
    }
    session.write_request_header(Box::new(header)).await?;
    session.finish_request_body().await?;
    loop {
        session.read_response_header().await?;
        match session.response_header().map(|header| header.status) {
            Some(status) if status.is_informational() => {}
            Some(status) => return Ok(status),
            None => return pingora::Error::e_explain(pingora::ErrorType::ReadError, "no head"),
        }
    }
}
