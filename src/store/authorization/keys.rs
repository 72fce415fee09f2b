//! Keys that sign access tokens, sealed: shared by all replicas, made by one of them.

use super::super::{Error, Store, on, soon};
use super::{number, time};

/// Takes the feed's row, so that two replicas do not both make a key.
const LOCK: &str = "UPDATE feed SET seq = seq WHERE one = 1";
const NEWEST: &str = "SELECT MAX(signs_from) FROM signing_keys";
const INSERT: &str = "INSERT INTO signing_keys (kid, algorithm, sealed, created, signs_from) VALUES ($1, $2, $3, $4, $5)";
const ALL: &str = "SELECT kid, algorithm, sealed, created, signs_from FROM signing_keys ORDER BY signs_from, kid";
/// A key has ended where one that signs since `$1` came after it.
const SWEEP: &str = "DELETE FROM signing_keys WHERE signs_from < (SELECT MAX(signs_from) FROM signing_keys WHERE signs_from <= $1)";

/// One row. Times in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedKey {
    pub kid: String,
    pub algorithm: String,
    pub sealed: String,
    pub created: u64,
    pub signs_from: u64,
}

impl Store {
    /// In the order in which they sign.
    pub async fn signing_keys(&self) -> Result<Vec<SealedKey>, Error> {
        type Row = (String, String, String, i64, i64);
        let rows: Vec<Row> = soon(async { on!(self, pool => Ok(sqlx::query_as(ALL).fetch_all(pool).await?)) }).await?;
        let key = |(kid, algorithm, sealed, created, signs_from)| SealedKey {
            kid,
            algorithm,
            sealed,
            created: time(created),
            signs_from: time(signs_from),
        };
        Ok(rows.into_iter().map(key).collect())
    }

    /// Adds a key behind the newest one that is known here. Whether it was added: not where another replica was first.
    pub async fn add_signing_key(&self, key: &SealedKey, newest: Option<u64>) -> Result<bool, Error> {
        soon(async {
            on!(self, pool => {
                let mut change = pool.begin().await?;
                sqlx::query(LOCK).execute(&mut *change).await?;
                let found: Option<i64> = sqlx::query_scalar(NEWEST).fetch_one(&mut *change).await?;
                if found.map(time) != newest {
                    change.rollback().await?;
                    return Ok(false);
                }
                sqlx::query(INSERT)
                    .bind(&key.kid).bind(&key.algorithm).bind(&key.sealed).bind(number(key.created)).bind(number(key.signs_from))
                    .execute(&mut *change).await?;
                change.commit().await?;
                Ok(true)
            })
        })
        .await
    }

    /// Drops keys whose last token has expired: those that another one followed so long ago.
    pub(super) async fn sweep_signing_keys(&self, now: u64) -> Result<(), Error> {
        let before = now.saturating_sub(crate::oauth::schedule::TAIL);
        soon(async {
            on!(self, pool => {
                sqlx::query(SWEEP).bind(number(before)).execute(pool).await?;
                Ok(())
            })
        })
        .await
    }
}
