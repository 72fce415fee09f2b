//! Clients in the store: each change takes a number of the feed, so that replicas hear of it as of revocations.
//!
//! Whoever changes one holds the feed's row from the first statement on, so what was read is still so when it is written.

use std::collections::HashSet;

use super::{Error, Pool, Reason, Store, on, postgres, soon};
use crate::governance::client::{Client, Key, MOST, Source, State, Stuck, Terms};

pub(super) const NEXT: &str = "UPDATE feed SET seq = seq + 1 WHERE one = 1 RETURNING seq";
const COLUMNS: &str = "SELECT seq, issuer, id, state, source, owner, purpose, upstreams, scopes, expires, first_seen FROM clients";
const COUNT: &str = "SELECT COUNT(*) FROM clients";
const WRITE: &str = "INSERT INTO clients (seq, issuer, id, state, source, owner, purpose, upstreams, scopes, expires, first_seen)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (issuer, id) DO UPDATE SET seq = excluded.seq, state = excluded.state, owner = excluded.owner,
    purpose = excluded.purpose, upstreams = excluded.upstreams, scopes = excluded.scopes, expires = excluded.expires,
    first_seen = excluded.first_seen";
const NOTE: &str = "INSERT INTO client_changes (seq, issuer, id, state, reason, actor, made) VALUES ($1, $2, $3, $4, $5, $6, $7)";
const HISTORY: &str = "SELECT state, reason, actor, made FROM client_changes WHERE issuer = $1 AND id = $2 ORDER BY seq";

/// Rows read at once.
const PAGE: i64 = 5_000;

type Row = (i64, String, String, String, String, String, String, Option<String>, Option<String>, Option<i64>, Option<i64>);

/// One decision on a client.
#[derive(Clone, Debug, serde::Serialize, sqlx::FromRow)]
pub struct Decision {
    pub state: String,
    pub reason: String,
    pub actor: String,
    /// In seconds since 1970.
    pub made: i64,
}

impl Store {
    /// Changes a client as `change` says of what is there now, and answers with the number and the client when it is on the disk.
    ///
    /// # Errors
    /// [`Error::Client`] is the change's own no; after [`Error::Slow`] it may have been written.
    pub async fn change_client<F>(&self, key: &Key, change: F, reason: &Reason<'_>) -> Result<(i64, Client), Error>
    where
        F: Fn(Option<Client>) -> Result<Client, Stuck>,
    {
        let (changed, made) = (|found| change(found).map_err(Error::Client), number(reason.made));
        soon(async {
            on!(self, pool => {
                let mut tx = pool.begin().await?;
                let seq: i64 = sqlx::query_scalar(NEXT).fetch_one(&mut *tx).await?;
                let found: Option<Row> = sqlx::query_as(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE issuer = $1 AND id = $2")))
                    .bind(&key.issuer).bind(&key.id).fetch_optional(&mut *tx).await?;
                let client = changed(found.map(client).transpose()?.map(|(_, client)| client))?;
                let columns = Columns::of(&client);
                sqlx::query(WRITE)
                    .bind(seq).bind(&client.key.issuer).bind(&client.key.id).bind(client.state.name()).bind(client.source.name())
                    .bind(&client.terms.owner).bind(&client.terms.purpose).bind(columns.upstreams).bind(columns.scopes)
                    .bind(columns.expires).bind(columns.first_seen)
                    .execute(&mut *tx).await?;
                sqlx::query(NOTE)
                    .bind(seq).bind(&client.key.issuer).bind(&client.key.id).bind(client.state.name())
                    .bind(reason.text).bind(reason.actor).bind(made)
                    .execute(&mut *tx).await?;
                if matches!(self.pool, Pool::Postgres(_)) {
                    sqlx::query(postgres::NOTIFY).execute(&mut *tx).await?;
                }
                tx.commit().await?;
                Ok((seq, client))
            })
        })
        .await
    }

    /// Writes that a client was seen, unless it is known; not when there are as many as there may be.
    pub async fn saw_client(&self, seen: &Client) -> Result<(), Error> {
        let (known, count) = (self.client(&seen.key).await?, self.client_count().await?);
        if known.is_some() || usize::try_from(count).is_ok_and(|count| count >= MOST) {
            return Ok(());
        }
        let made = seen.first_seen.unwrap_or_default();
        let text = match seen.source {
            Source::Registered => "it registered and asked to be let in",
            Source::Document => "it asked to be let in, with a document",
            Source::Configured | Source::Entered | Source::Observed => "seen in a token",
        };
        let reason = Reason { text, actor: "doorward", made };
        // Known meanwhile: as it is.
        let keep = |found: Option<Client>| found.map_or_else(|| Ok(seen.clone()), |_| Err(Stuck::Unknown));
        match self.change_client(&seen.key, keep, &reason).await {
            Ok(_) | Err(Error::Client(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn client_count(&self) -> Result<i64, Error> {
        soon(async { on!(self, pool => Ok(sqlx::query_scalar(COUNT).fetch_one(pool).await?)) }).await
    }

    pub async fn client(&self, key: &Key) -> Result<Option<Client>, Error> {
        let query = || sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE issuer = $1 AND id = $2"));
        let row: Option<Row> =
            soon(async { on!(self, pool => Ok(sqlx::query_as(query()).bind(&key.issuer).bind(&key.id).fetch_optional(pool).await?)) })
                .await?;
        Ok(row.map(client).transpose()?.map(|(_, client)| client))
    }

    /// At most `limit` clients that changed after `seq`, in that order, each as it is now.
    pub async fn clients_since(&self, seq: i64, limit: i64) -> Result<Vec<(i64, Client)>, Error> {
        let query = || sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE seq > $1 ORDER BY seq LIMIT $2"));
        let rows: Vec<Row> =
            soon(async { on!(self, pool => Ok(sqlx::query_as(query()).bind(seq).bind(limit).fetch_all(pool).await?)) }).await?;
        rows.into_iter().map(client).collect()
    }

    /// Every client that was decided on or waits for it.
    pub async fn all_clients(&self) -> Result<Vec<Client>, Error> {
        let (mut clients, mut read) = (Vec::new(), 0);
        loop {
            let page = self.clients_since(read, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            read = *last;
            clients.extend(page.into_iter().map(|(_, client)| client));
        }
        // A client that changes while it is read is read twice; the later one counts.
        let mut known = HashSet::new();
        clients.reverse();
        clients.retain(|client: &Client| known.insert(client.key.clone()));
        clients.reverse();
        Ok(clients)
    }

    /// Every decision on a client, the first one first.
    pub async fn client_history(&self, key: &Key) -> Result<Vec<Decision>, Error> {
        soon(async { on!(self, pool => Ok(sqlx::query_as(HISTORY).bind(&key.issuer).bind(&key.id).fetch_all(pool).await?)) }).await
    }
}

/// What of a client has another form in a row.
struct Columns {
    upstreams: Option<String>,
    scopes: Option<String>,
    expires: Option<i64>,
    first_seen: Option<i64>,
}

impl Columns {
    fn of(client: &Client) -> Self {
        let list = |names: &Vec<String>| serde_json::Value::from(names.clone()).to_string();
        let Terms { upstreams, scopes, expires, .. } = &client.terms;
        Self {
            upstreams: upstreams.as_ref().map(list),
            scopes: scopes.as_ref().map(list),
            expires: expires.map(number),
            first_seen: client.first_seen.map(number),
        }
    }
}

pub(super) fn number(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// SECURITY: what cannot be read is an error, never skipped and never without its bounds.
fn client(row: Row) -> Result<(i64, Client), Error> {
    let (seq, issuer, id, state, source, owner, purpose, upstreams, scopes, expires, first_seen) = row;
    let list = |text: Option<String>| text.map(|text| serde_json::from_str(&text).map_err(|_| Error::Row(seq))).transpose();
    let time = |time: Option<i64>| time.map(|time| u64::try_from(time).unwrap_or(0));
    let source = match source.as_str() {
        // The store has what people enter; what the configuration has stands there alone.
        "entered" | "configured" => Source::Entered,
        "observed" => Source::Observed,
        "registered" => Source::Registered,
        "document" => Source::Document,
        _ => return Err(Error::Row(seq)),
    };
    let client = Client {
        key: Key { issuer, id },
        state: State::named(&state).ok_or(Error::Row(seq))?,
        source,
        terms: Terms { owner, purpose, upstreams: list(upstreams)?, scopes: list(scopes)?, expires: time(expires) },
        first_seen: time(first_seen),
    };
    Ok((seq, client))
}
