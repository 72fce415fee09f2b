//! What was used, as rows that replicas add to, and who has looked at it.
//!
//! Bounded in all and for each caller: what was used longest ago falls out, and leaves a gap to tell of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Error, Store, on, soon};
use crate::governance::client::{Client, Key};
use crate::governance::observed::{About, Fact, Gap, Span, Subject};

/// How many rows there may be.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub all: i64,
    /// Of one caller.
    pub one: i64,
}

/// About 60 MB.
pub const ROOM: Room = Room { all: 200_000, one: 1_000 };

/// Rows of one statement, and callers with too many that are looked at in one go.
const CHUNK: usize = 64;
const CALLERS: i64 = 100;

const COLUMNS: &str = "upstream, issuer, client, subject, about, name";
const ADDED: &str = "ON CONFLICT (upstream, issuer, client, subject, about, name) DO UPDATE SET uses = observed.uses + excluded.uses,
    first_used = CASE WHEN excluded.first_used < observed.first_used THEN excluded.first_used ELSE observed.first_used END,
    last_used = CASE WHEN excluded.last_used > observed.last_used THEN excluded.last_used ELSE observed.last_used END";
const BEGUN: &str = "INSERT INTO observation (one, begun) VALUES (1, $1) ON CONFLICT (one) DO NOTHING";
const SINCE: &str = "SELECT begun FROM observation WHERE one = 1";
const GAP: &str = "INSERT INTO observed_gaps (upstream, about, lost, last_lost) VALUES ($1, $2, $3, $4)
    ON CONFLICT (upstream, about) DO UPDATE SET lost = observed_gaps.lost + excluded.lost,
    last_lost = CASE WHEN excluded.last_lost > observed_gaps.last_lost THEN excluded.last_lost ELSE observed_gaps.last_lost END";
const GAPS: &str = "SELECT upstream, about, lost, last_lost FROM observed_gaps ORDER BY upstream, about";
const COUNT: &str = "SELECT COUNT(*) FROM observed";
const CROWDED: &str = "SELECT upstream, issuer, client, subject, COUNT(*) FROM observed
    GROUP BY upstream, issuer, client, subject HAVING COUNT(*) > $1 LIMIT $2";
const OF_ONE: &str = "upstream = $2 AND issuer = $3 AND client = $4 AND subject = $5 AND about NOT IN ('passed', 'refused')";
const CLIENTS: &str = "SELECT issuer, client, CAST(SUM(CASE WHEN about = 'passed' THEN uses ELSE 0 END) AS BIGINT),
    MIN(CASE WHEN about = 'passed' THEN first_used END), MAX(CASE WHEN about = 'passed' THEN last_used END),
    MIN(first_used), COUNT(DISTINCT subject)
    FROM observed WHERE about IN ('passed', 'refused') AND client <> '' GROUP BY issuer, client ORDER BY issuer, client";
const ATTEST: &str = "INSERT INTO attestations (issuer, client, made, actor, note, digest) VALUES ($1, $2, $3, $4, $5, $6)";
const ATTESTED: &str = "SELECT issuer, client, made, actor, note, digest FROM attestations
    WHERE made = (SELECT MAX(made) FROM attestations AS latest WHERE latest.issuer = attestations.issuer
    AND latest.client = attestations.client) ORDER BY issuer, client, actor, digest";

type Row = (String, String, String, String, String, String, i64, i64, i64);
type Fallen = (String, String, i64);

/// How a client was used at all upstreams, by all subjects. Times in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ClientUse {
    #[serde(skip)]
    pub key: Key,
    /// Requests that went on.
    pub uses: u64,
    /// Of those; none where every request was refused.
    pub first_used: Option<u64>,
    pub last_used: Option<u64>,
    /// When it first came with a request of any kind.
    pub first_seen: u64,
    pub subjects: u64,
}

/// Somebody's word that a review was looked at.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct Attestation {
    /// Of the client; empty for the whole.
    pub issuer: String,
    pub client: String,
    /// In seconds since 1970.
    pub made: i64,
    pub actor: String,
    pub note: String,
    /// Of what was looked at.
    pub digest: String,
}

impl Store {
    /// Adds to what was counted before, by whomever. In the order given, which is the same for all who write.
    ///
    /// # Errors
    /// Nothing was written; after [`Error::Slow`] it may have been.
    pub async fn add_observed(&self, facts: &[Fact], now: u64) -> Result<(), Error> {
        let whole = insert(CHUNK);
        let single = insert(1);
        soon(async {
            on!(self, pool => {
                let mut change = pool.begin().await?;
                sqlx::query(BEGUN).bind(number(now)).execute(&mut *change).await?;
                for chunk in facts.chunks(CHUNK) {
                    let (text, size) = if chunk.len() == CHUNK { (&whole, CHUNK) } else { (&single, 1) };
                    for part in chunk.chunks(size) {
                        let mut query = sqlx::query(sqlx::AssertSqlSafe(text.clone()));
                        for Fact { of, span } in part {
                            let Subject { upstream, issuer, client, subject, about, name } = of;
                            query = query
                                .bind(&**upstream).bind(&**issuer).bind(&**client).bind(&**subject).bind(about.name()).bind(&**name)
                                .bind(number(span.uses)).bind(number(span.first)).bind(number(span.last));
                        }
                        query.execute(&mut *change).await?;
                    }
                }
                Ok(change.commit().await?)
            })
        })
        .await
    }

    /// Adds to what is not known.
    pub async fn add_gaps(&self, gaps: &[Gap]) -> Result<(), Error> {
        soon(async {
            on!(self, pool => {
                let mut change = pool.begin().await?;
                for Gap { upstream, about, lost, last } in gaps {
                    sqlx::query(GAP).bind(&**upstream).bind(about.name()).bind(number(*lost)).bind(number(*last))
                        .execute(&mut *change).await?;
                }
                Ok(change.commit().await?)
            })
        })
        .await
    }

    /// Lets fall out what was used longest ago, where there is too much of it: of one caller, or in all. At most `limit` rows of
    /// each; how many fell. Things fall before the requests that used them.
    pub async fn trim_observed(&self, room: Room, limit: i64) -> Result<u64, Error> {
        let crowded: Vec<(String, String, String, String, i64)> =
            soon(async { on!(self, pool => Ok(sqlx::query_as(CROWDED).bind(room.one).bind(CALLERS).fetch_all(pool).await?)) }).await?;
        let mut fallen = 0;
        for (upstream, issuer, client, subject, rows) in crowded {
            let most = rows.saturating_sub(room.one).min(limit);
            fallen += self.fell(OF_ONE, most, &[&upstream, &issuer, &client, &subject]).await?;
        }
        let rows: i64 = soon(async { on!(self, pool => Ok(sqlx::query_scalar(COUNT).fetch_one(pool).await?)) }).await?;
        if rows > room.all {
            fallen += self.fell("1 = 1", rows.saturating_sub(room.all).min(limit), &[]).await?;
        }
        Ok(fallen)
    }

    async fn fell(&self, which: &str, most: i64, of: &[&str]) -> Result<u64, Error> {
        let text = format!(
            "DELETE FROM observed WHERE ({COLUMNS}) IN (SELECT {COLUMNS} FROM observed WHERE {which} ORDER BY last_used LIMIT $1)
            RETURNING upstream, about, last_used"
        );
        soon(async {
            on!(self, pool => {
                let mut change = pool.begin().await?;
                let mut query = sqlx::query_as(sqlx::AssertSqlSafe(text)).bind(most);
                for one in of {
                    query = query.bind(*one);
                }
                let fallen: Vec<Fallen> = query.fetch_all(&mut *change).await?;
                for (upstream, about, last) in &fallen {
                    sqlx::query(GAP).bind(upstream).bind(about).bind(1_i64).bind(*last).execute(&mut *change).await?;
                }
                change.commit().await?;
                Ok(fallen.len() as u64)
            })
        })
        .await
    }

    /// All that was counted.
    pub async fn observed(&self) -> Result<Vec<Fact>, Error> {
        let query = || sqlx::AssertSqlSafe(format!("SELECT {COLUMNS}, uses, first_used, last_used FROM observed ORDER BY {COLUMNS}"));
        let rows: Vec<Row> = soon(async { on!(self, pool => Ok(sqlx::query_as(query()).fetch_all(pool).await?)) }).await?;
        Ok(facts(rows))
    }

    /// What was counted of one client.
    pub async fn observed_of(&self, key: &Key) -> Result<Vec<Fact>, Error> {
        let query = || {
            let text =
                format!("SELECT {COLUMNS}, uses, first_used, last_used FROM observed WHERE issuer = $1 AND client = $2 ORDER BY {COLUMNS}");
            sqlx::AssertSqlSafe(text)
        };
        let rows: Vec<Row> =
            soon(async { on!(self, pool => Ok(sqlx::query_as(query()).bind(&key.issuer).bind(&key.id).fetch_all(pool).await?)) }).await?;
        Ok(facts(rows))
    }

    /// Where something is not known.
    pub async fn observed_gaps(&self) -> Result<Vec<Gap>, Error> {
        let rows: Vec<(String, String, i64, i64)> =
            soon(async { on!(self, pool => Ok(sqlx::query_as(GAPS).fetch_all(pool).await?)) }).await?;
        let gap = |(upstream, about, lost, last): (String, String, i64, i64)| {
            Some(Gap { upstream: upstream.into(), about: About::named(&about)?, lost: time(lost), last: time(last) })
        };
        Ok(rows.into_iter().filter_map(gap).collect())
    }

    /// Since when anything is counted, in seconds since 1970; none where nothing ever was.
    pub async fn observed_since(&self) -> Result<Option<u64>, Error> {
        let begun: Option<i64> = soon(async { on!(self, pool => Ok(sqlx::query_scalar(SINCE).fetch_optional(pool).await?)) }).await?;
        Ok(begun.map(time))
    }

    /// Every client that came with a request, as far as that is still known.
    pub async fn client_uses(&self) -> Result<Vec<ClientUse>, Error> {
        type Row = (String, String, i64, Option<i64>, Option<i64>, i64, i64);
        let rows: Vec<Row> = soon(async { on!(self, pool => Ok(sqlx::query_as(CLIENTS).fetch_all(pool).await?)) }).await?;
        let one = |(issuer, id, uses, first, last, seen, subjects): Row| ClientUse {
            key: Key { issuer, id },
            uses: time(uses),
            first_used: first.map(time),
            last_used: last.map(time),
            first_seen: time(seen),
            subjects: time(subjects),
        };
        Ok(rows.into_iter().map(one).collect())
    }

    /// Every client that is known: decided on, waiting for it, or only seen with requests; with its use.
    pub async fn inventory(&self) -> Result<Vec<(Client, Option<ClientUse>)>, Error> {
        let mut uses: BTreeMap<Key, ClientUse> = self.client_uses().await?.into_iter().map(|one| (one.key.clone(), one)).collect();
        let mut all: Vec<(Client, Option<ClientUse>)> = Vec::new();
        for client in self.all_clients().await? {
            let used = uses.remove(&client.key);
            all.push((client, used));
        }
        all.extend(uses.into_iter().map(|(key, used)| (Client::seen(key, used.first_seen), Some(used))));
        Ok(all)
    }

    /// Writes down that somebody has looked, and answers when it is on the disk.
    pub async fn attest(&self, attestation: &Attestation) -> Result<(), Error> {
        let Attestation { issuer, client, made, actor, note, digest } = attestation;
        soon(async {
            on!(self, pool => {
                sqlx::query(ATTEST).bind(issuer).bind(client).bind(*made).bind(actor).bind(note).bind(digest).execute(pool).await?;
                Ok(())
            })
        })
        .await
    }

    /// The last attestation of each client, and of the whole.
    pub async fn attestations(&self) -> Result<Vec<Attestation>, Error> {
        soon(async { on!(self, pool => Ok(sqlx::query_as(ATTESTED).fetch_all(pool).await?)) }).await
    }
}

/// One statement for so many rows.
fn insert(rows: usize) -> String {
    let row = |row: usize| {
        let values: Vec<String> = (1..=9).map(|column| format!("${}", 9 * row + column)).collect();
        format!("({})", values.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!("INSERT INTO observed ({COLUMNS}, uses, first_used, last_used) VALUES {} {ADDED}", rows.join(", "))
}

/// What a later version counts is passed over.
fn facts(rows: Vec<Row>) -> Vec<Fact> {
    let mut last: [Arc<str>; 4] = Default::default();
    let mut shared = |texts: [String; 4]| {
        for (kept, text) in last.iter_mut().zip(texts) {
            if **kept != *text {
                *kept = text.into();
            }
        }
        last.clone()
    };
    let fact = |(upstream, issuer, client, subject, about, name, uses, first, last): Row| {
        let [upstream, issuer, client, subject] = shared([upstream, issuer, client, subject]);
        let of = Subject { upstream, issuer, client, subject, about: About::named(&about)?, name: name.into() };
        Some(Fact { of, span: Span { uses: time(uses), first: time(first), last: time(last) } })
    };
    rows.into_iter().filter_map(fact).collect()
}

fn number(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

fn time(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
