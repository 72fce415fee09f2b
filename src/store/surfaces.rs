//! What issuers publish, as rows: their keys, what was decided of each, and the versions of their documents.
//!
//! As with clients, whoever changes something holds the feed's row from the first statement on, so of several replicas
//! that see a change at once one tells of it, and what is decided of a key is heard by all.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::clients::{Decision, NEXT, number};
use super::{Error, Pool, Reason, Store, on, postgres, soon};
use crate::governance::surface::{IssuerKey, KeyState, Settled};

/// Versions that are kept of one surface.
const VERSIONS: i64 = 20;

const KEYS: &str = "SELECT seq, issuer, thumbprint, kid, algorithms, state, since, gone FROM issuer_keys";
const WRITE: &str = "INSERT INTO issuer_keys (seq, issuer, thumbprint, kid, algorithms, state, since, gone)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (issuer, thumbprint) DO UPDATE SET seq = excluded.seq, kid = excluded.kid, algorithms = excluded.algorithms,
    state = excluded.state, since = excluded.since, gone = excluded.gone";
const FORGET: [&str; 2] = [
    "DELETE FROM issuer_keys WHERE issuer = $1 AND thumbprint = $2",
    "DELETE FROM issuer_key_changes WHERE issuer = $1 AND thumbprint = $2",
];
const NOTE: &str =
    "INSERT INTO issuer_key_changes (seq, issuer, thumbprint, state, reason, actor, made) VALUES ($1, $2, $3, $4, $5, $6, $7)";
const HISTORY: &str = "SELECT state, reason, actor, made FROM issuer_key_changes WHERE issuer = $1 AND thumbprint = $2 ORDER BY seq";
const CURRENT: &str = "SELECT digest, summary FROM surfaces WHERE issuer = $1 AND kind = $2 ORDER BY seq DESC LIMIT 1";
const VERSION: &str = "INSERT INTO surfaces (issuer, kind, digest, seq, summary, first_seen, last_seen) VALUES ($1, $2, $3, $4, $5, $6, $6)
    ON CONFLICT (issuer, kind, digest) DO UPDATE SET seq = excluded.seq, last_seen = excluded.last_seen";
const OLDER: &str = "DELETE FROM surfaces WHERE issuer = $1 AND kind = $2 AND digest NOT IN
    (SELECT digest FROM surfaces WHERE issuer = $1 AND kind = $2 ORDER BY seq DESC LIMIT $3)";
const ALL_VERSIONS: &str = "SELECT issuer, kind, digest, summary, first_seen, last_seen FROM surfaces ORDER BY issuer, kind, seq";

type Row = (i64, String, String, String, String, String, i64, Option<i64>);

/// What is watched of an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SurfaceKind {
    Keys,
    Metadata,
}

impl SurfaceKind {
    fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Metadata => "metadata",
        }
    }
}

/// A document as it was fetched.
#[derive(Clone, Debug)]
pub struct Version<'a> {
    pub issuer: &'a str,
    pub kind: SurfaceKind,
    /// SHA-256 of its text.
    pub digest: &'a [u8; 32],
    /// What it says, as JSON.
    pub summary: &'a str,
    /// In seconds since 1970.
    pub now: u64,
}

/// A version that is kept.
#[derive(Clone, Debug, serde::Serialize, sqlx::FromRow)]
pub struct Kept {
    pub issuer: String,
    /// `keys` or `metadata`.
    pub kind: String,
    /// In base64url.
    pub digest: String,
    /// JSON.
    pub summary: String,
    /// In seconds since 1970.
    pub first_seen: i64,
    /// When it last took the place of another.
    pub last_seen: i64,
}

impl Store {
    /// Holds a fetched key set against what is known, and answers with what was changed when it is on the disk.
    ///
    /// # Errors
    /// Nothing was changed; after [`Error::Slow`] it may have been.
    pub async fn saw_keys(&self, version: &Version<'_>, settle: impl Fn(&[IssuerKey]) -> Settled) -> Result<Settled, Error> {
        let Version { issuer, kind, digest, summary, now } = version;
        let (kind, digest, now) = (kind.name(), URL_SAFE_NO_PAD.encode(digest), number(*now));
        // Nearly always nothing is new, and nobody is to be held up for that.
        let is_current = self.current(issuer, kind).await?.is_some_and(|(current, _)| current == digest);
        if is_current && settle(&self.issuer_keys(issuer).await?).is_empty() {
            return Ok(Settled::default());
        }
        let query = || sqlx::AssertSqlSafe(format!("{KEYS} WHERE issuer = $1"));
        soon(async {
            on!(self, pool => {
                let mut tx = pool.begin().await?;
                let first: i64 = sqlx::query_scalar(NEXT).fetch_one(&mut *tx).await?;
                let rows: Vec<Row> = sqlx::query_as(query()).bind(issuer).fetch_all(&mut *tx).await?;
                let known = rows.into_iter().map(key).map(|row| row.map(|(_, key)| key)).collect::<Result<Vec<_>, _>>()?;
                let settled = settle(&known);
                sqlx::query(VERSION).bind(issuer).bind(kind).bind(&digest).bind(first).bind(summary).bind(now).execute(&mut *tx).await?;
                sqlx::query(OLDER).bind(issuer).bind(kind).bind(VERSIONS).execute(&mut *tx).await?;
                for statement in FORGET {
                    for thumbprint in &settled.forgotten {
                        sqlx::query(statement).bind(issuer).bind(thumbprint).execute(&mut *tx).await?;
                    }
                }
                // A number for each, for readers take a page of them at a time.
                for key in &settled.changed {
                    let seq: i64 = sqlx::query_scalar(NEXT).fetch_one(&mut *tx).await?;
                    sqlx::query(WRITE)
                        .bind(seq).bind(&key.issuer).bind(&key.thumbprint).bind(&key.kid).bind(&key.algorithms)
                        .bind(key.state.name()).bind(number(key.since)).bind(key.gone.map(number))
                        .execute(&mut *tx).await?;
                }
                if matches!(self.pool, Pool::Postgres(_)) {
                    sqlx::query(postgres::NOTIFY).execute(&mut *tx).await?;
                }
                tx.commit().await?;
                Ok(settled)
            })
        })
        .await
    }

    /// Keeps a version of a document. `Some` where it is another than before: with the summary of that one, if there was one.
    pub async fn saw_document(&self, version: &Version<'_>) -> Result<Option<Option<String>>, Error> {
        let Version { issuer, kind, digest, summary, now } = version;
        let (kind, digest, now) = (kind.name(), URL_SAFE_NO_PAD.encode(digest), number(*now));
        if self.current(issuer, kind).await?.is_some_and(|(current, _)| current == digest) {
            return Ok(None);
        }
        soon(async {
            on!(self, pool => {
                let mut tx = pool.begin().await?;
                let seq: i64 = sqlx::query_scalar(NEXT).fetch_one(&mut *tx).await?;
                let before: Option<(String, String)> = sqlx::query_as(CURRENT).bind(issuer).bind(kind).fetch_optional(&mut *tx).await?;
                if before.as_ref().is_some_and(|(current, _)| *current == digest) {
                    tx.rollback().await?;
                    return Ok(None);
                }
                sqlx::query(VERSION).bind(issuer).bind(kind).bind(&digest).bind(seq).bind(summary).bind(now).execute(&mut *tx).await?;
                sqlx::query(OLDER).bind(issuer).bind(kind).bind(VERSIONS).execute(&mut *tx).await?;
                tx.commit().await?;
                Ok(Some(before.map(|(_, summary)| summary)))
            })
        })
        .await
    }

    /// Puts a key into another state, if it is there and not in that state. `unless` it is as this says by now.
    ///
    /// # Errors
    /// Nothing was changed; after [`Error::Slow`] it may have been.
    pub async fn decide_key(
        &self,
        (issuer, thumbprint): (&str, &str),
        state: KeyState,
        unless: impl Fn(&IssuerKey) -> bool,
        reason: &Reason<'_>,
    ) -> Result<Option<(i64, IssuerKey)>, Error> {
        let (made, query) = (number(reason.made), || sqlx::AssertSqlSafe(format!("{KEYS} WHERE issuer = $1 AND thumbprint = $2")));
        soon(async {
            on!(self, pool => {
                let mut tx = pool.begin().await?;
                let seq: i64 = sqlx::query_scalar(NEXT).fetch_one(&mut *tx).await?;
                let row: Option<Row> = sqlx::query_as(query()).bind(issuer).bind(thumbprint).fetch_optional(&mut *tx).await?;
                let before = row.map(key).transpose()?.map(|(_, key)| key).filter(|key| key.state != state && !unless(key));
                let Some(before) = before else {
                    tx.rollback().await?;
                    return Ok(None);
                };
                let key = IssuerKey { state, ..before };
                sqlx::query(WRITE)
                    .bind(seq).bind(&key.issuer).bind(&key.thumbprint).bind(&key.kid).bind(&key.algorithms)
                    .bind(key.state.name()).bind(number(key.since)).bind(key.gone.map(number))
                    .execute(&mut *tx).await?;
                sqlx::query(NOTE)
                    .bind(seq).bind(&key.issuer).bind(&key.thumbprint).bind(key.state.name())
                    .bind(reason.text).bind(reason.actor).bind(made)
                    .execute(&mut *tx).await?;
                if matches!(self.pool, Pool::Postgres(_)) {
                    sqlx::query(postgres::NOTIFY).execute(&mut *tx).await?;
                }
                tx.commit().await?;
                Ok(Some((seq, key)))
            })
        })
        .await
    }

    /// Every key of an issuer that is remembered.
    pub async fn issuer_keys(&self, issuer: &str) -> Result<Vec<IssuerKey>, Error> {
        let query = || sqlx::AssertSqlSafe(format!("{KEYS} WHERE issuer = $1 ORDER BY since, thumbprint"));
        let rows: Vec<Row> = soon(async { on!(self, pool => Ok(sqlx::query_as(query()).bind(issuer).fetch_all(pool).await?)) }).await?;
        rows.into_iter().map(|row| key(row).map(|(_, key)| key)).collect()
    }

    /// At most `limit` keys that changed after `seq`, in that order, each as it is now.
    pub async fn issuer_keys_since(&self, seq: i64, limit: i64) -> Result<Vec<(i64, IssuerKey)>, Error> {
        let query = || sqlx::AssertSqlSafe(format!("{KEYS} WHERE seq > $1 ORDER BY seq LIMIT $2"));
        let rows: Vec<Row> =
            soon(async { on!(self, pool => Ok(sqlx::query_as(query()).bind(seq).bind(limit).fetch_all(pool).await?)) }).await?;
        rows.into_iter().map(key).collect()
    }

    /// Every decision on a key, the first one first.
    pub async fn key_history(&self, key: &IssuerKey) -> Result<Vec<Decision>, Error> {
        let IssuerKey { issuer, thumbprint, .. } = key;
        soon(async { on!(self, pool => Ok(sqlx::query_as(HISTORY).bind(issuer).bind(thumbprint).fetch_all(pool).await?)) }).await
    }

    /// Every version that is kept, by issuer and kind, the current one last.
    pub async fn versions(&self) -> Result<Vec<Kept>, Error> {
        soon(async { on!(self, pool => Ok(sqlx::query_as(ALL_VERSIONS).fetch_all(pool).await?)) }).await
    }

    async fn current(&self, issuer: &str, kind: &str) -> Result<Option<(String, String)>, Error> {
        soon(async { on!(self, pool => Ok(sqlx::query_as(CURRENT).bind(issuer).bind(kind).fetch_optional(pool).await?)) }).await
    }
}

/// SECURITY: what cannot be read is an error, never skipped.
fn key(row: Row) -> Result<(i64, IssuerKey), Error> {
    let (seq, issuer, thumbprint, kid, algorithms, state, since, gone) = row;
    let time = |time: i64| u64::try_from(time).unwrap_or(0);
    let state = KeyState::named(&state).ok_or(Error::Row(seq))?;
    Ok((seq, IssuerKey { issuer, thumbprint, kid, algorithms, state, since: time(since), gone: gone.map(time) }))
}
