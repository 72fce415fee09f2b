//! What is particular to PostgreSQL: how a change wakes the other replicas.

use std::str::FromStr;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};

use super::{Error, PATIENCE};

const CONNECTIONS: u32 = 4;
/// Sent with each change, in its transaction. It says nothing: who hears it reads the feed.
pub const NOTIFY: &str = "SELECT pg_notify('doorward_feed', '')";
const CHANNEL: &str = "doorward_feed";

pub async fn connect(url: &str) -> Result<PgPool, Error> {
    let options = PgConnectOptions::from_str(url)?
        .application_name("doorward")
        // What was acknowledged is on the disk, whatever the server's default.
        .options([("synchronous_commit", "on")]);
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(PATIENCE).connect_with(options).await?;
    Ok(pool)
}

/// A connection of its own, which a pooler that shares connections between transactions cannot give.
pub async fn listen(pool: &PgPool) -> Result<PgListener, Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}
