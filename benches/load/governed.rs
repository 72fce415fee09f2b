//! A store as it is on its first day, with the load's own client alone, and as it is after years: a million revocations and ten
//! thousand clients.

use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use doorward::config::StorePlace;
use doorward::store::Store;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use crate::tokens::{CLIENT, ISSUER};

pub const REVOCATIONS: i64 = 1_000_000;
pub const CLIENTS: i64 = 10_000;

/// Of every kind, so that each request asks for each of them. A digest is 43 characters of base64url.
const REVOKE: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
    INSERT INTO revocations (seq, kind, issuer, name, issued_until, leaves, reason, actor, made)
    SELECT i,
        CASE i % 7 WHEN 0 THEN 'token' WHEN 1 THEN 'jti' WHEN 2 THEN 'session' WHEN 3 THEN 'client' WHEN 4 THEN 'subject'
            WHEN 5 THEN 'key' ELSE 'upstream' END,
        CASE WHEN i % 7 IN (1, 4, 5) THEN $2 ELSE '' END,
        CASE i % 7 WHEN 0 THEN printf('%042d', i) || 'A' ELSE 'gone-' || i END,
        CASE WHEN i % 7 IN (3, 4, 6) THEN $3 END,
        $3 + 86400, 'laptop stolen', 'mia', $3
    FROM n";
const ENTER: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
    INSERT INTO clients (issuer, id, seq, state, source, owner, purpose, upstreams, scopes, expires, first_seen)
    SELECT $2, CASE i WHEN 1 THEN $4 ELSE 'client-' || i END, $5 + i, 'approved', 'entered', 'Team ' || i % 50, 'desk', '[\"load\"]',
        NULL, NULL, $3
    FROM n";
const COUNT: &str = "UPDATE feed SET seq = $1 + $2, revocations = $1";

/// Makes a file with so many of each. The tables are the gateway's own; one by one through the gateway it would take an hour.
pub async fn fill(path: &Path, revocations: i64, clients: i64) -> io::Result<()> {
    let store = Store::open(&StorePlace::Sqlite(path.to_owned())).await.map_err(io::Error::other)?;
    store.close().await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    write(path, i64::try_from(now).unwrap_or_default(), revocations, clients).await.map_err(io::Error::other)?;
    // Or the kernel would write it back while something is measured.
    std::fs::File::open(path)?.sync_all()
}

async fn write(path: &Path, now: i64, revocations: i64, clients: i64) -> sqlx::Result<()> {
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(SqliteConnectOptions::new().filename(path)).await?;
    if revocations > 0 {
        sqlx::query(REVOKE).bind(revocations).bind(ISSUER).bind(now).execute(&pool).await?;
    }
    sqlx::query(ENTER).bind(clients).bind(ISSUER).bind(now).bind(CLIENT).bind(revocations).execute(&pool).await?;
    sqlx::query(COUNT).bind(revocations).bind(clients).execute(&pool).await?;
    pool.close().await;
    Ok(())
}
