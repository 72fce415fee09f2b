//! Which replicas serve, and how far has each read the feed? For whoever waits until all know.

use std::time::Duration;

use super::{Error, Pool, Store, on, soon};

const SQLITE_NOW: &str = "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)";
const POSTGRES_NOW: &str = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";
const BEAT: &str = "INSERT INTO replicas (id, place, seq, seen, max_age) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (id) DO UPDATE SET place = $2, seq = $3, seen = $4, max_age = $5";
const LEAVE: &str = "DELETE FROM replicas WHERE id = $1";
const ALL: &str = "SELECT id, place, seq, seen, max_age FROM replicas ORDER BY place, id";
const FORGET: &str = "DELETE FROM replicas WHERE seen + max_age + 3600000 < $1";

/// A process that serves.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Another in each process.
    pub id: String,
    /// Where it is, for people: host and process.
    pub place: String,
    /// After so long without news it refuses every request by itself.
    pub max_age: Duration,
}

/// How far a replica has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub id: String,
    pub place: String,
    pub seq: i64,
    /// Without a sign for so long that by now it refuses every request by itself, or has ended.
    pub is_gone: bool,
}

impl Store {
    /// Says that this replica serves, and has read up to `seq`.
    pub async fn beat(&self, replica: &Replica, seq: i64) -> Result<(), Error> {
        let now = self.now().await?;
        soon(async {
            on!(self, pool => {
                sqlx::query(BEAT)
                    .bind(&replica.id)
                    .bind(&replica.place)
                    .bind(seq)
                    .bind(now)
                    .bind(i64::try_from(replica.max_age.as_millis()).unwrap_or(i64::MAX))
                    .execute(pool)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Says that this replica serves no more.
    pub async fn leave(&self, replica: &Replica) -> Result<(), Error> {
        soon(async { on!(self, pool => Ok(sqlx::query(LEAVE).bind(&replica.id).execute(pool).await.map(drop)?)) }).await
    }

    /// All replicas that were seen lately.
    pub async fn replicas(&self) -> Result<Vec<Standing>, Error> {
        let now = self.now().await?;
        let rows: Vec<(String, String, i64, i64, i64)> =
            soon(async { on!(self, pool => Ok(sqlx::query_as(ALL).fetch_all(pool).await?)) }).await?;
        let standing = |(id, place, seq, seen, max_age): (String, String, i64, i64, i64)| {
            // It may have read the feed for the last time a little after it said so.
            let is_gone = now.saturating_sub(seen) > max_age.saturating_add(BETWEEN_BEATS);
            Standing { id, place, seq, is_gone }
        };
        Ok(rows.into_iter().map(standing).collect())
    }

    /// Forgets replicas that ended without a word, long ago.
    pub async fn forget_replicas(&self) -> Result<(), Error> {
        let now = self.now().await?;
        soon(async { on!(self, pool => Ok(sqlx::query(FORGET).bind(now).execute(pool).await.map(drop)?)) }).await
    }

    /// The later of `now` and the clock that all replicas share, in seconds since 1970. What is revoked "until now" is meant so:
    /// by a clock that is minutes behind, whatever was issued in those minutes would be left out.
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn latest(&self, now: u64) -> Result<u64, Error> {
        let shared = self.now().await? / 1_000;
        Ok(now.max(u64::try_from(shared).unwrap_or_default()))
    }

    /// The earlier of both: what has expired by it has expired for every replica.
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn earliest(&self, now: u64) -> Result<u64, Error> {
        let shared = self.now().await? / 1_000;
        Ok(now.min(u64::try_from(shared).unwrap_or_default()))
    }

    /// In milliseconds since 1970, by the one clock that all replicas share.
    async fn now(&self) -> Result<i64, Error> {
        soon(async {
            match &self.pool {
                Pool::Sqlite(pool) => Ok(sqlx::query_scalar(SQLITE_NOW).fetch_one(pool).await?),
                Pool::Postgres(pool) => Ok(sqlx::query_scalar(POSTGRES_NOW).fetch_one(pool).await?),
            }
        })
        .await
    }
}

/// Milliseconds; see [`super::feed`].
const BETWEEN_BEATS: i64 = 5_000;
