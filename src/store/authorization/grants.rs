//! What people let clients do: grants, their codes, and their families of refresh tokens.

use super::super::{Error, Store, on, soon};
use super::{number, time};
use crate::governance::Selector;

const GRANT: &str = "SELECT id, issuer, upstream, client_id, subject, person, resource, scopes, redirect_uri, binding, created, expires, used, ended, reason
    FROM grants";
/// What is not named is not asked for: an empty text.
const LIVE: &str = "WHERE ended IS NULL AND issuer = $1 AND expires > $2 AND id > $3
    AND ($4 = '' OR client_id = $4) AND ($5 = '' OR subject = $5) AND ($6 = '' OR upstream = $6)";
const PUT_GRANT: &str = "INSERT INTO grants (id, issuer, upstream, client_id, subject, person, resource, scopes, redirect_uri, binding,
    created, expires, used) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
const PUT_CODE: &str = "INSERT INTO codes (digest, grant_id, body, expires) VALUES ($1, $2, $3, $4)";
const CODE: &str = "SELECT grant_id, body, expires, used FROM codes WHERE digest = $1";
const USE_CODE: &str = "UPDATE codes SET used = $2 WHERE digest = $1 AND used IS NULL";
const BIND: &str = "UPDATE grants SET binding = $2, used = $3, expires = $4 WHERE id = $1 AND ended IS NULL";
const PUT_REFRESH: &str = "INSERT INTO refresh_tokens (digest, grant_id, generation, created, expires) VALUES ($1, $2, $3, $4, $5)";
const REFRESH: &str =
    "SELECT grant_id, generation, successor, successor_sealed, created, used, expires FROM refresh_tokens WHERE digest = $1";
const USE_REFRESH: &str = "UPDATE refresh_tokens SET used = $2, successor = $3, successor_sealed = $4 WHERE digest = $1 AND used IS NULL";
const FORGET_SEALED: &str = "UPDATE refresh_tokens SET successor_sealed = NULL WHERE successor = $1";
const USED: &str = "UPDATE grants SET used = $2 WHERE id = $1 AND ended IS NULL";
const SWEEP: [&str; 4] = [
    "UPDATE refresh_tokens SET successor_sealed = NULL WHERE successor_sealed IS NOT NULL AND used <= $1 - 3600",
    "DELETE FROM codes WHERE grant_id IN (SELECT id FROM grants WHERE expires <= $1 OR ended <= $1 - 86400)",
    "DELETE FROM refresh_tokens WHERE grant_id IN (SELECT id FROM grants WHERE expires <= $1 OR ended <= $1 - 86400)",
    "DELETE FROM grants WHERE expires <= $1 OR ended <= $1 - 86400",
];

/// What a person let a client do. Times in seconds since 1970; `person` and `scopes` in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Grant {
    pub id: String,
    /// The authorization server that made it: another one's are nobody's here.
    pub issuer: String,
    pub upstream: String,
    pub client_id: String,
    pub subject: String,
    pub person: String,
    pub resource: String,
    pub scopes: String,
    pub redirect_uri: String,
    /// The thumbprint of the key that its tokens are bound to.
    pub binding: Option<String>,
    pub created: i64,
    pub expires: i64,
    pub used: i64,
    pub ended: Option<i64>,
    pub reason: Option<String>,
}

/// Which grants are looked for; an empty text is whichever.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sought<'a> {
    pub issuer: &'a str,
    pub client: &'a str,
    pub subject: &'a str,
    pub upstream: &'a str,
    /// In seconds since 1970.
    pub now: u64,
}

/// A code as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    pub grant_id: String,
    pub body: String,
    pub expires: u64,
    pub used: bool,
}

/// A refresh token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refresh {
    pub grant_id: String,
    pub generation: i64,
    /// The digest of the one that it was exchanged for.
    pub successor: Option<String>,
    pub successor_sealed: Option<String>,
    pub created: u64,
    pub used: Option<u64>,
    pub expires: u64,
}

/// What a code is exchanged for.
#[derive(Clone, Copy, Debug)]
pub struct Redemption<'a> {
    /// Of the code.
    pub digest: &'a str,
    pub grant_id: &'a str,
    /// The key that all tokens of the grant will be bound to.
    pub binding: Option<&'a str>,
    /// Digest and end of the first refresh token.
    pub refresh: Option<(&'a str, u64)>,
    pub now: u64,
    /// The end of the grant, from now on.
    pub expires: u64,
}

/// What became of an attempt to use a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redeemed {
    First,
    /// Another was first.
    Again,
}

/// A refresh token in exchange for another.
#[derive(Clone, Copy, Debug)]
pub struct Rotation<'a> {
    pub grant_id: &'a str,
    /// Digest of the one that was shown.
    pub shown: &'a str,
    pub successor: &'a str,
    pub sealed: &'a str,
    pub generation: i64,
    pub now: u64,
    /// Of the successor.
    pub expires: u64,
}

/// Which grants a revocation ends: those that could give more tokens of the kind that it means. The statement's last
/// three parameters are the moment, the reason, and up to when they were made; before them stand those returned here.
pub(in crate::store) fn ended_by(selector: &Selector) -> Option<(&'static str, Vec<&str>)> {
    const END: [&str; 5] = [
        "UPDATE grants SET ended = $2, reason = $3 WHERE ended IS NULL AND id = $1 AND created <= $4",
        "UPDATE grants SET ended = $2, reason = $3 WHERE ended IS NULL AND client_id = $1 AND created <= $4",
        "UPDATE grants SET ended = $3, reason = $4 WHERE ended IS NULL AND issuer = $1 AND subject = $2 AND created <= $5",
        "UPDATE grants SET ended = $2, reason = $3 WHERE ended IS NULL AND upstream = $1 AND created <= $4",
        "UPDATE grants SET ended = $1, reason = $2 WHERE ended IS NULL AND created <= $3",
    ];
    let [session, client, subject, upstream, everything] = END;
    match selector {
        Selector::Session(id) => Some((session, vec![id])),
        Selector::Client(id) => Some((client, vec![id])),
        Selector::Subject { issuer, subject: name } => Some((subject, vec![issuer, name])),
        Selector::Upstream(name) => Some((upstream, vec![name])),
        Selector::Everything => Some((everything, vec![])),
        // One token is no grant, and a key makes none.
        Selector::Token(_) | Selector::Id { .. } | Selector::Key { .. } => None,
    }
}

impl Store {
    /// Keeps a new grant, with its code where it has one: digest, body and end.
    pub async fn put_grant(&self, grant: &Grant, code: Option<(&str, &str, u64)>) -> Result<(), Error> {
        soon(async {
            on!(self, pool => {
                let mut change = pool.begin().await?;
                sqlx::query(PUT_GRANT)
                    .bind(&grant.id).bind(&grant.issuer).bind(&grant.upstream).bind(&grant.client_id).bind(&grant.subject).bind(&grant.person).bind(&grant.resource)
                    .bind(&grant.scopes).bind(&grant.redirect_uri).bind(&grant.binding).bind(grant.created).bind(grant.expires)
                    .bind(grant.used)
                    .execute(&mut *change).await?;
                if let Some((digest, body, expires)) = code {
                    sqlx::query(PUT_CODE).bind(digest).bind(&grant.id).bind(body).bind(number(expires)).execute(&mut *change).await?;
                }
                change.commit().await?;
                Ok(())
            })
        })
        .await
    }

    pub async fn grant(&self, id: &str) -> Result<Option<Grant>, Error> {
        let query = || sqlx::AssertSqlSafe(format!("{GRANT} WHERE id = $1"));
        soon(async { on!(self, pool => Ok(sqlx::query_as(query()).bind(id).fetch_optional(pool).await?)) }).await
    }

    /// The grants of a person that are still good at `now`, the newest first; at most 200.
    pub async fn grants_of(&self, subject: &str, now: u64) -> Result<Vec<Grant>, Error> {
        let query = || {
            sqlx::AssertSqlSafe(format!("{GRANT} WHERE subject = $1 AND ended IS NULL AND expires > $2 ORDER BY created DESC LIMIT 200"))
        };
        soon(async { on!(self, pool => Ok(sqlx::query_as(query()).bind(subject).bind(number(now)).fetch_all(pool).await?)) }).await
    }

    /// The grants of a client that are still good at `now`; at most 1000.
    pub async fn grants_of_client(&self, client: &str, now: u64) -> Result<Vec<Grant>, Error> {
        let query =
            || sqlx::AssertSqlSafe(format!("{GRANT} WHERE client_id = $1 AND ended IS NULL AND expires > $2 ORDER BY created LIMIT 1000"));
        soon(async { on!(self, pool => Ok(sqlx::query_as(query()).bind(client).bind(number(now)).fetch_all(pool).await?)) }).await
    }

    /// The grants that this authorization server made and that are still good at `now`, of this client, person and upstream
    /// where they are named: those with the next ids after this one, at most `limit`.
    pub async fn grants_after(&self, id: &str, sought: &Sought<'_>, limit: i64) -> Result<Vec<Grant>, Error> {
        let Sought { issuer, client, subject, upstream, now } = *sought;
        let query = || sqlx::AssertSqlSafe(format!("{GRANT} {LIVE} ORDER BY id LIMIT $7"));
        soon(async {
            on!(self, pool => {
                let query = sqlx::query_as(query()).bind(issuer).bind(number(now)).bind(id).bind(client).bind(subject).bind(upstream);
                Ok(query.bind(limit).fetch_all(pool).await?)
            })
        })
        .await
    }

    pub async fn code(&self, digest: &str) -> Result<Option<Code>, Error> {
        let row: Option<(String, String, i64, Option<i64>)> =
            soon(async { on!(self, pool => Ok(sqlx::query_as(CODE).bind(digest).fetch_optional(pool).await?)) }).await?;
        Ok(row.map(|(grant_id, body, expires, used)| Code { grant_id, body, expires: time(expires), used: used.is_some() }))
    }

    /// Uses a code up. A grant lives as long as its code until then.
    pub async fn redeem(&self, redemption: &Redemption<'_>) -> Result<Redeemed, Error> {
        let Redemption { digest, grant_id, binding, refresh, now, expires } = *redemption;
        let now = number(now);
        soon(async {
            on!(self, pool => {
                let mut change = pool.begin().await?;
                if sqlx::query(USE_CODE).bind(digest).bind(now).execute(&mut *change).await?.rows_affected() != 1 {
                    change.rollback().await?;
                    return Ok(Redeemed::Again);
                }
                if sqlx::query(BIND).bind(grant_id).bind(binding).bind(now).bind(number(expires)).execute(&mut *change).await?.rows_affected() != 1 {
                    change.rollback().await?;
                    return Ok(Redeemed::Again);
                }
                if let Some((refresh, until)) = refresh {
                    sqlx::query(PUT_REFRESH)
                        .bind(refresh).bind(grant_id).bind(0_i64).bind(now).bind(number(until))
                        .execute(&mut *change).await?;
                }
                change.commit().await?;
                Ok(Redeemed::First)
            })
        })
        .await
    }

    pub async fn refresh_token(&self, digest: &str) -> Result<Option<Refresh>, Error> {
        type Row = (String, i64, Option<String>, Option<String>, i64, Option<i64>, i64);
        let row: Option<Row> =
            soon(async { on!(self, pool => Ok(sqlx::query_as(REFRESH).bind(digest).fetch_optional(pool).await?)) }).await?;
        Ok(row.map(|(grant_id, generation, successor, successor_sealed, created, used, expires)| Refresh {
            grant_id,
            generation,
            successor,
            successor_sealed,
            created: time(created),
            used: used.map(time),
            expires: time(expires),
        }))
    }

    /// Exchanges a refresh token. `false` where another was first, and nothing was written.
    pub async fn rotate(&self, rotation: &Rotation<'_>) -> Result<bool, Error> {
        let Rotation { grant_id, shown, successor, sealed, generation, now, expires } = *rotation;
        let now = number(now);
        soon(async {
            on!(self, pool => {
                let mut change = pool.begin().await?;
                let used = sqlx::query(USE_REFRESH).bind(shown).bind(now).bind(successor).bind(sealed).execute(&mut *change).await?;
                let live = sqlx::query(USED).bind(grant_id).bind(now).execute(&mut *change).await?;
                if used.rows_affected() != 1 || live.rows_affected() != 1 {
                    change.rollback().await?;
                    return Ok(false);
                }
                sqlx::query(FORGET_SEALED).bind(shown).execute(&mut *change).await?;
                sqlx::query(PUT_REFRESH)
                    .bind(successor).bind(grant_id).bind(generation).bind(now).bind(number(expires))
                    .execute(&mut *change).await?;
                change.commit().await?;
                Ok(true)
            })
        })
        .await
    }

    pub(super) async fn sweep_grants(&self, now: u64) -> Result<(), Error> {
        for statement in SWEEP {
            soon(async {
                on!(self, pool => {
                    sqlx::query(statement).bind(number(now)).execute(pool).await?;
                    Ok(())
                })
            })
            .await?;
        }
        Ok(())
    }
}
