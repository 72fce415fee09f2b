//! Revocations as rows: written with the next number of the feed, read from a number on.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::authorization::ended_by;
use super::{Error, Pool, Store, on, postgres, soon};
use crate::governance::revocation::MOST;
use crate::governance::{Revocation, Selector};

/// SECURITY: the first statement of a change takes the row's lock, so numbers become visible in their order,
/// and none is skipped by whoever reads from a number on.
const NEXT: &str = "UPDATE feed SET seq = seq + 1, revocations = revocations + 1 WHERE one = 1 RETURNING seq, revocations";
const INSERT: &str = "INSERT INTO revocations (seq, kind, issuer, name, issued_until, leaves, reason, actor, made)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const DROP_KEY: &str = "DELETE FROM signing_keys WHERE kid = $1";
const HEAD: &str = "SELECT seq FROM feed WHERE one = 1";
const SINCE: &str = "SELECT seq, kind, issuer, name, issued_until, leaves, made FROM revocations WHERE seq > $1 ORDER BY seq LIMIT $2";
const RECORDED: &str = "SELECT seq, kind, issuer, name, issued_until, leaves, reason, actor, made FROM revocations
    WHERE seq > $1 ORDER BY seq LIMIT $2";
const PURGE: &str = "DELETE FROM revocations WHERE seq IN (SELECT seq FROM revocations WHERE leaves < $1 LIMIT $2)";
const PURGED: &str = "UPDATE feed SET revocations = revocations - $1 WHERE one = 1";

type Row = (i64, String, String, String, Option<i64>, Option<i64>, i64);

/// A revocation with all that was written down of it.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub seq: i64,
    pub revocation: Revocation,
    pub reason: String,
    pub actor: String,
    /// In seconds since 1970.
    pub made: u64,
}

/// Why, by whom and when something was revoked.
#[derive(Clone, Debug)]
pub struct Reason<'a> {
    pub text: &'a str,
    pub actor: &'a str,
    /// In seconds since 1970.
    pub made: u64,
}

impl Store {
    /// Writes a revocation, and answers with its number when it is on the disk.
    ///
    /// # Errors
    /// [`Error::Full`], or that nothing was written; after [`Error::Slow`] it may have been.
    pub async fn revoke(&self, revocation: &Revocation, reason: &Reason<'_>) -> Result<i64, Error> {
        let (issuer, name) = columns(&revocation.selector);
        let number = |time: Option<u64>| time.map(|time| i64::try_from(time).unwrap_or(i64::MAX));
        soon(async {
            on!(self, pool => {
                let mut change = pool.begin().await?;
                let (seq, count): (i64, i64) = sqlx::query_as(NEXT).fetch_one(&mut *change).await?;
                if usize::try_from(count).is_ok_and(|count| count > MOST) {
                    change.rollback().await?;
                    return Err(Error::Full);
                }
                sqlx::query(INSERT)
                    .bind(seq)
                    .bind(revocation.selector.kind())
                    .bind(issuer)
                    .bind(&name)
                    .bind(number(revocation.issued_until))
                    .bind(number(revocation.leaves))
                    .bind(reason.text)
                    .bind(reason.actor)
                    .bind(number(Some(reason.made)))
                    .execute(&mut *change)
                    .await?;
                // SECURITY: in the same change, or a grant could outlive what the index in memory remembers.
                if let Some((statement, names)) = ended_by(&revocation.selector) {
                    let end = names.into_iter().fold(sqlx::query(statement), |query, name| query.bind(name.to_owned()));
                    // Until now are those that are there, whatever the clocks said that made them.
                    let until = number(revocation.issued_until).filter(|_| !revocation.until_now).unwrap_or(i64::MAX);
                    end.bind(number(Some(reason.made))).bind(reason.text).bind(until).execute(&mut *change).await?;
                }
                // A key of our own that signs nothing good any more: the next look at the store makes another.
                if let Selector::Key { kid, .. } = &revocation.selector {
                    sqlx::query(DROP_KEY).bind(kid).execute(&mut *change).await?;
                }
                if matches!(self.pool, Pool::Postgres(_)) {
                    sqlx::query(postgres::NOTIFY).execute(&mut *change).await?;
                }
                change.commit().await?;
                Ok(seq)
            })
        })
        .await
    }

    /// The number of the last change, as what is given out names it. SECURITY: read and never guessed: what was revoked by a
    /// change with a greater number was revoked afterwards.
    pub async fn changes(&self) -> Result<u64, Error> {
        Ok(u64::try_from(self.head().await?).unwrap_or_default())
    }

    /// The number of the last change.
    pub async fn head(&self) -> Result<i64, Error> {
        soon(async { on!(self, pool => Ok(sqlx::query_scalar(HEAD).fetch_one(pool).await?)) }).await
    }

    /// At most `limit` revocations with greater numbers than `seq`, in their order.
    pub async fn since(&self, seq: i64, limit: i64) -> Result<Vec<(i64, Revocation)>, Error> {
        let rows: Vec<Row> =
            soon(async { on!(self, pool => Ok(sqlx::query_as(SINCE).bind(seq).bind(limit).fetch_all(pool).await?)) }).await?;
        rows.into_iter().map(revocation).collect()
    }

    /// The same, each with why and by whom.
    pub async fn revocations_since(&self, seq: i64, limit: i64) -> Result<Vec<Recorded>, Error> {
        type Whole = (i64, String, String, String, Option<i64>, Option<i64>, String, String, i64);
        let rows: Vec<Whole> =
            soon(async { on!(self, pool => Ok(sqlx::query_as(RECORDED).bind(seq).bind(limit).fetch_all(pool).await?)) }).await?;
        let recorded = |(seq, kind, issuer, name, issued_until, leaves, reason, actor, made): Whole| {
            let (seq, revocation) = revocation((seq, kind, issuer, name, issued_until, leaves, made))?;
            Ok(Recorded { seq, revocation, reason, actor, made: u64::try_from(made).unwrap_or(0) })
        };
        rows.into_iter().map(recorded).collect()
    }

    /// Drops revocations whose last token has expired at `now`, in seconds since 1970; at most `limit`. How many it were.
    pub async fn purge(&self, now: i64, limit: i64) -> Result<i64, Error> {
        soon(async {
            on!(self, pool => {
                let mut change = pool.begin().await?;
                let gone = sqlx::query(PURGE).bind(now).bind(limit).execute(&mut *change).await?.rows_affected();
                let gone = i64::try_from(gone).unwrap_or(i64::MAX);
                if gone > 0 {
                    sqlx::query(PURGED).bind(gone).execute(&mut *change).await?;
                }
                change.commit().await?;
                Ok(gone)
            })
        })
        .await
    }
}

/// Issuer and name, as they stand in a row.
fn columns(selector: &Selector) -> (&str, String) {
    match selector {
        Selector::Token(digest) => ("", URL_SAFE_NO_PAD.encode(digest)),
        Selector::Id { issuer, jti } => (issuer, jti.clone()),
        Selector::Subject { issuer, subject } => (issuer, subject.clone()),
        Selector::Key { issuer, kid } => (issuer, kid.clone()),
        Selector::Session(name) | Selector::Client(name) | Selector::Upstream(name) => ("", name.clone()),
        Selector::Everything => ("", String::new()),
    }
}

/// SECURITY: what cannot be read is an error, never skipped.
fn revocation(row: Row) -> Result<(i64, Revocation), Error> {
    let (seq, kind, issuer, name, issued_until, leaves, made) = row;
    let digest = || URL_SAFE_NO_PAD.decode(&name).ok()?.try_into().ok();
    let selector = match kind.as_str() {
        "token" => Selector::Token(digest().ok_or(Error::Row(seq))?),
        "jti" => Selector::Id { issuer, jti: name },
        "session" => Selector::Session(name),
        "client" => Selector::Client(name),
        "subject" => Selector::Subject { issuer, subject: name },
        "key" => Selector::Key { issuer, kid: name },
        "upstream" => Selector::Upstream(name),
        "everything" => Selector::Everything,
        _ => return Err(Error::Row(seq)),
    };
    let time = |time: Option<i64>| time.map(|time| u64::try_from(time).unwrap_or(0));
    // Whoever means an earlier time writes down one that lies before the writing.
    let until_now = issued_until.is_some_and(|until| until >= made);
    Ok((seq, Revocation { selector, issued_until: time(issued_until), until_now, leaves: time(leaves) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_selector_comes_back_as_it_went() {
        let text = || "x".to_owned();
        for selector in [
            Selector::Token([5; 32]),
            Selector::Id { issuer: text(), jti: "j".into() },
            Selector::Session(text()),
            Selector::Client(text()),
            Selector::Subject { issuer: text(), subject: "s".into() },
            Selector::Key { issuer: text(), kid: "k".into() },
            Selector::Upstream(text()),
            Selector::Everything,
        ] {
            let (issuer, name) = columns(&selector);
            for (made, until_now) in [(7, true), (8, false)] {
                let row = (3, selector.kind().to_owned(), issuer.to_owned(), name.clone(), Some(7), None, made);
                let (seq, back) = revocation(row).expect("a row of ours");
                let selector = selector.clone();
                assert_eq!((seq, back), (3, Revocation { selector, issued_until: Some(7), until_now, leaves: None }));
            }
        }
    }

    #[test]
    fn a_row_of_a_later_version_is_never_skipped() {
        let row = |kind: &str, name: &str| (9, kind.to_owned(), String::new(), name.to_owned(), None, None, 0);
        assert!(matches!(revocation(row("planet", "x")), Err(Error::Row(9))));
        assert!(matches!(revocation(row("token", "not a digest")), Err(Error::Row(9))));
    }
}
