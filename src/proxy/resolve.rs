//! Names of upstreams, resolved beside the requests: once at start, then again and again.
//!
//! What was found serves until something else is found. Knows names and addresses, not what is sent there.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::pool::Pool;

const REFRESH: Duration = Duration::from_secs(30);
/// While nothing is known, or an address does not answer.
const SOON: Duration = Duration::from_secs(1);
const LOOK_UP: Duration = Duration::from_secs(5);
/// Addresses of one name; a resolver may be anybody's.
const MOST: usize = 32;

/// Whoever knows the addresses of a name.
#[async_trait]
pub trait Resolver: Send + Sync {
    async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The system's resolver: hosts file, search domains and all.
pub struct System;

#[async_trait]
impl Resolver for System {
    async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let found = tokio::time::timeout(LOOK_UP, tokio::net::lookup_host((host, port))).await??;
        Ok(found.take(MOST).collect())
    }
}

/// Keeps one name of a pool resolved for as long as the pool lives. `stirred` asks for it sooner.
pub async fn keep(pool: Weak<Pool>, place: usize, resolver: Arc<dyn Resolver>, stirred: Arc<Notify>) {
    loop {
        let Some(held) = pool.upgrade() else { return };
        let known = refresh(&held, place, &*resolver).await;
        drop(held);
        tokio::time::sleep(SOON).await;
        if known {
            tokio::select! {
                () = tokio::time::sleep(REFRESH) => {}
                () = stirred.notified() => {}
            }
        }
    }
}

/// Asks once. Returns whether addresses are known now, be they old ones.
pub async fn refresh(pool: &Pool, place: usize, resolver: &dyn Resolver) -> bool {
    let Some((host, port)) = pool.name(place) else { return true };
    match resolver.look_up(host, port).await {
        Ok(found) if !found.is_empty() => pool.resolved(place, Some(found)),
        failed => {
            let error = failed.err().map_or_else(|| "no address".to_owned(), |error| error.to_string());
            let known = pool.resolved(place, None);
            tracing::warn!(upstream = %pool.upstream(), host, error, known, "name of an upstream cannot be resolved");
            known
        }
    }
}
