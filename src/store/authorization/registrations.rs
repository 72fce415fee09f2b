//! Clients that made themselves known: what they say of themselves. What was decided of them is in `clients`.
//!
//! Bounded: those that nobody has decided on leave when their time comes, and earlier when there is no room.

use super::super::{Error, Store, on, soon};
use super::{number, time};
use crate::governance::client::Key;
use crate::oauth::likeness;
use crate::oauth::registration::Metadata;

const COLUMNS: &str = "SELECT client_id, metadata, secret_digest, management_digest, created, changed, used FROM registrations";
/// Nothing where there are as many as there may be.
const ADD: &str = "INSERT INTO registrations
    (client_id, metadata, secret_digest, management_digest, fingerprint, likeness, created, changed, used, leaves)
    SELECT $1, $2, $3, $4, $5, $6, CAST($7 AS BIGINT), CAST($7 AS BIGINT), CAST($8 AS BIGINT), CAST($9 AS BIGINT)
    WHERE (SELECT COUNT(*) FROM registrations) < $10
    ON CONFLICT (client_id) DO NOTHING";
const REPLACE: &str = "UPDATE registrations SET metadata = $2, fingerprint = $3, likeness = $4, changed = $5 WHERE client_id = $1";
const USED: &str = "UPDATE registrations SET used = $2, leaves = $3 WHERE client_id = $1";
const DROP: &str = "DELETE FROM registrations WHERE client_id = $1";
const COUNT_ONE: &str = "SELECT COUNT(*) FROM registrations WHERE client_id = $1";
/// Those that were there long enough, on whom nobody has decided and to whom nobody is connected: first those that never came back,
/// then those that did so longest ago. To come back costs a stranger nothing.
const MAKE_ROOM: &str = "DELETE FROM registrations WHERE client_id IN (SELECT client_id FROM registrations r WHERE created < $1
    AND NOT EXISTS (SELECT 1 FROM clients c WHERE c.id = r.client_id AND (c.state <> 'pending' OR c.owner <> ''))
    AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.client_id = r.client_id AND g.ended IS NULL AND g.expires > $2)
    ORDER BY used IS NOT NULL, COALESCE(used, created) LIMIT $3) RETURNING client_id";
const LEAVE_QUEUE_TOO: &str = "DELETE FROM clients WHERE state = 'pending' AND owner = '' AND source IN ('registered', 'document')
    AND id = $1 RETURNING issuer, id";
const DISUSED: &str = "UPDATE registrations SET used = NULL WHERE client_id = $1";
/// Nobody has decided on them: not approved, not refused, no owner named.
const LEAVE_QUEUE: &str = "DELETE FROM clients WHERE state = 'pending' AND owner = '' AND source IN ('registered', 'document')
    AND id IN (SELECT client_id FROM registrations WHERE leaves <= $1) RETURNING issuer, id";
const FORGET_CHANGES: &str = "DELETE FROM client_changes WHERE issuer = $1 AND id = $2";
const LEAVE: &str = "DELETE FROM registrations WHERE leaves <= $1 AND client_id NOT IN (SELECT id FROM clients)";
/// How long whoever registered is waited for where there is no room.
const WAITED_FOR: u64 = 3_600;
/// Clients with names alike that are looked at.
const ALIKE: i64 = 50;

/// One client. Times in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The URL of its document, where it has one.
    pub client_id: String,
    pub metadata: Metadata,
    /// The digest of its secret, and of what its registrant shows to change it.
    pub secret: Option<String>,
    pub management: Option<String>,
    pub created: u64,
    pub changed: u64,
    pub used: Option<u64>,
}

/// What became of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    New,
    /// It was known, and is as it was.
    Known,
    /// There are as many as there may be.
    Full,
}

type Row = (String, String, Option<String>, Option<String>, i64, i64, Option<i64>);

impl Store {
    pub async fn registration(&self, id: &str) -> Result<Option<Registration>, Error> {
        let query = || sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE client_id = $1"));
        let row: Option<Row> = soon(async { on!(self, pool => Ok(sqlx::query_as(query()).bind(id).fetch_optional(pool).await?)) }).await?;
        row.map(registration).transpose()
    }

    /// Keeps a client that is not known, until `leaves` unless somebody decides on it or it is used. With those that had to leave
    /// the queue for it.
    pub async fn add_registration(&self, new: &Registration, leaves: u64, most: usize) -> Result<(Added, Vec<Key>), Error> {
        let mut left = Vec::new();
        for turn in 0..2 {
            if self.insert_registration(new, leaves, most).await? {
                return Ok((Added::New, left));
            }
            let known: i64 =
                soon(async { on!(self, pool => Ok(sqlx::query_scalar(COUNT_ONE).bind(&new.client_id).fetch_one(pool).await?)) }).await?;
            if known > 0 {
                return Ok((Added::Known, left));
            }
            if turn == 0 {
                left = self.make_room(new.created, most).await?;
            }
        }
        Ok((Added::Full, left))
    }

    /// A twentieth of them at once, or each new one would look for room.
    async fn make_room(&self, now: u64, most: usize) -> Result<Vec<Key>, Error> {
        let few = i64::try_from(most / 20).unwrap_or(i64::MAX).max(1);
        let before = number(now.saturating_sub(WAITED_FOR));
        soon(async {
            on!(self, pool => {
                let mut change = pool.begin().await?;
                let gone: Vec<String> = sqlx::query_scalar(MAKE_ROOM).bind(before).bind(number(now)).bind(few).fetch_all(&mut *change).await?;
                let mut left = Vec::new();
                for id in &gone {
                    let queued: Vec<(String, String)> = sqlx::query_as(LEAVE_QUEUE_TOO).bind(id).fetch_all(&mut *change).await?;
                    for (issuer, id) in queued {
                        sqlx::query(FORGET_CHANGES).bind(&issuer).bind(&id).execute(&mut *change).await?;
                        left.push(Key { issuer, id });
                    }
                }
                change.commit().await?;
                Ok(left)
            })
        })
        .await
    }

    async fn insert_registration(&self, new: &Registration, leaves: u64, most: usize) -> Result<bool, Error> {
        let Registration { client_id, metadata, secret, management, created, changed: _, used } = new;
        let said = text(metadata)?;
        soon(async {
            on!(self, pool => {
                let done = sqlx::query(ADD)
                    .bind(client_id).bind(&said).bind(secret).bind(management).bind(metadata.fingerprint())
                    .bind(likeness::fold(&metadata.name())).bind(number(*created)).bind(used.map(number)).bind(number(leaves))
                    .bind(i64::try_from(most).unwrap_or(i64::MAX))
                    .execute(pool).await?;
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }

    /// Puts other metadata in the place of a client's. Whether it is known.
    pub async fn replace_registration(&self, id: &str, metadata: &Metadata, now: u64) -> Result<bool, Error> {
        let said = text(metadata)?;
        soon(async {
            on!(self, pool => {
                let done = sqlx::query(REPLACE)
                    .bind(id).bind(&said).bind(metadata.fingerprint()).bind(likeness::fold(&metadata.name())).bind(number(now))
                    .execute(pool).await?;
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }

    /// A client asked for something at `now`.
    pub async fn used_registration(&self, id: &str, now: u64, leaves: u64) -> Result<(), Error> {
        soon(async {
            on!(self, pool => {
                sqlx::query(USED).bind(id).bind(number(now)).bind(number(leaves)).execute(pool).await?;
                Ok(())
            })
        })
        .await
    }

    /// What its host says now is no: how it was before is good for nothing.
    pub async fn disuse_registration(&self, id: &str) -> Result<(), Error> {
        soon(async {
            on!(self, pool => {
                sqlx::query(DISUSED).bind(id).execute(pool).await?;
                Ok(())
            })
        })
        .await
    }

    pub async fn drop_registration(&self, id: &str) -> Result<(), Error> {
        soon(async {
            on!(self, pool => {
                sqlx::query(DROP).bind(id).execute(pool).await?;
                Ok(())
            })
        })
        .await
    }

    /// Clients whose names look like this one to a person.
    pub async fn registrations_like(&self, name: &str) -> Result<Vec<Registration>, Error> {
        let query = || sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE likeness = $1 ORDER BY created LIMIT {ALIKE}"));
        let fold = likeness::fold(name);
        let rows: Vec<Row> = soon(async { on!(self, pool => Ok(sqlx::query_as(query()).bind(&fold).fetch_all(pool).await?)) }).await?;
        rows.into_iter().map(registration).collect()
    }

    /// At most `limit` clients whose ids come after this one, in the order of their ids.
    pub async fn registrations_after(&self, id: &str, limit: i64) -> Result<Vec<Registration>, Error> {
        let query = || sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE client_id > $1 ORDER BY client_id LIMIT $2"));
        let rows: Vec<Row> =
            soon(async { on!(self, pool => Ok(sqlx::query_as(query()).bind(id).bind(limit).fetch_all(pool).await?)) }).await?;
        rows.into_iter().map(registration).collect()
    }

    /// Drops those whose time has come at `now` and on whom nobody has decided, out of the queue too. Who is approved stays, and so
    /// does who is refused. Answers with those that left the queue.
    pub async fn sweep_registrations(&self, now: u64) -> Result<Vec<Key>, Error> {
        let now = number(now);
        soon(async {
            on!(self, pool => {
                let mut change = pool.begin().await?;
                let left: Vec<(String, String)> = sqlx::query_as(LEAVE_QUEUE).bind(now).fetch_all(&mut *change).await?;
                for (issuer, id) in &left {
                    sqlx::query(FORGET_CHANGES).bind(issuer).bind(id).execute(&mut *change).await?;
                }
                sqlx::query(LEAVE).bind(now).execute(&mut *change).await?;
                change.commit().await?;
                Ok(left.into_iter().map(|(issuer, id)| Key { issuer, id }).collect())
            })
        })
        .await
    }

    /// How many clients registered under other issuers than this one, by issuer: they keep what they know by the issuer's name.
    pub async fn clients_of_others(&self, issuer: &str) -> Result<Vec<(String, i64)>, Error> {
        let query = "SELECT issuer, COUNT(*) FROM clients WHERE source IN ('registered', 'document') AND issuer <> $1 GROUP BY issuer";
        soon(async { on!(self, pool => Ok(sqlx::query_as(query).bind(issuer).fetch_all(pool).await?)) }).await
    }
}

fn text(metadata: &Metadata) -> Result<String, Error> {
    serde_json::to_string(metadata).map_err(|error| Error::Database(error.to_string()))
}

/// SECURITY: what cannot be read is an error, never a client without its bounds.
fn registration(row: Row) -> Result<Registration, Error> {
    let (client_id, metadata, secret, management, created, changed, used) = row;
    let metadata = serde_json::from_str(&metadata).map_err(|_| Error::Row(created))?;
    let (created, changed, used) = (time(created), time(changed), used.map(time));
    Ok(Registration { client_id, metadata, secret, management, created, changed, used })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StorePlace;
    use crate::governance::client::{Client, Source, State};
    use crate::store::Reason;

    const ISSUER: &str = "https://mcp.example.com";
    const NOW: u64 = 1_800_000_000;

    async fn open(folder: &tempfile::TempDir) -> Store {
        Store::open(&StorePlace::Sqlite(folder.path().join("doorward.db"))).await.expect("opens")
    }

    fn client(id: &str, name: &str, created: u64) -> Registration {
        let metadata = Metadata {
            client_name: Some(name.to_owned()),
            redirect_uris: vec!["https://agent.example/cb".to_owned()],
            ..Metadata::default()
        };
        Registration { client_id: id.to_owned(), metadata, secret: None, management: None, created, changed: created, used: None }
    }

    async fn decide(store: &Store, id: &str, state: State) {
        let key = Key { issuer: ISSUER.into(), id: id.into() };
        let client = Client { state, source: Source::Registered, ..Client::seen(key.clone(), NOW) };
        let reason = Reason { text: "test", actor: "mia", made: NOW };
        store.change_client(&key, |_| Ok(client.clone()), &reason).await.expect("written");
    }

    #[tokio::test]
    async fn a_registration_comes_back_as_it_was_and_is_kept_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(&folder).await;
        let new = Registration { secret: Some("s".into()), management: Some("m".into()), ..client("dyn-1", "Acme", NOW) };
        assert_eq!(store.add_registration(&new, NOW + 10, 10).await.expect("added").0, Added::New);
        let other = client("dyn-1", "Evil", NOW + 1);
        assert_eq!(store.add_registration(&other, NOW + 10, 10).await.expect("known").0, Added::Known);
        assert_eq!(store.registration("dyn-1").await.expect("read"), Some(new));
        assert_eq!(store.registration("dyn-2").await.expect("read"), None);
        assert_eq!(store.registrations_like("ACME").await.expect("read").len(), 1);
        assert!(store.replace_registration("dyn-1", &other.metadata, NOW + 2).await.expect("replaced"));
        let found = store.registration("dyn-1").await.expect("read").expect("there");
        assert_eq!((found.metadata.name().as_str(), found.changed, found.secret.as_deref()), ("Evil", NOW + 2, Some("s")));
        store.drop_registration("dyn-1").await.expect("dropped");
        assert_eq!(store.registration("dyn-1").await.expect("read"), None);
    }

    #[tokio::test]
    async fn s36_registrations_are_bounded_and_those_that_never_came_back_make_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(&folder).await;
        for n in 0..3 {
            let added = store.add_registration(&client(&format!("dyn-{n}"), "Acme", NOW), NOW + 10, 3).await.expect("answered");
            assert_eq!(added, (Added::New, vec![]));
        }
        let late = |now| client("dyn-9", "Acme", now);
        assert_eq!(store.add_registration(&late(NOW + 60), NOW + 99, 3).await.expect("answered").0, Added::Full);
        for n in 1..3 {
            store.used_registration(&format!("dyn-{n}"), NOW + 1, NOW + 10).await.expect("used");
        }
        assert_eq!(store.add_registration(&late(NOW + 2 * WAITED_FOR), NOW + 99, 3).await.expect("answered").0, Added::New);
        let ids: Vec<String> = store.registrations_after("", 10).await.expect("read").into_iter().map(|one| one.client_id).collect();
        assert_eq!(ids, ["dyn-1", "dyn-2", "dyn-9"]);
    }

    #[tokio::test]
    async fn s39_unused_clients_leave_in_time_and_never_one_that_was_decided_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(&folder).await;
        for id in ["dyn-new", "dyn-queue", "dyn-good", "dyn-bad", "dyn-used"] {
            store.add_registration(&client(id, id, NOW), NOW + 10, 10).await.expect("added");
        }
        decide(&store, "dyn-queue", State::Pending).await;
        decide(&store, "dyn-good", State::Approved).await;
        decide(&store, "dyn-bad", State::Retired).await;
        store.used_registration("dyn-used", NOW + 5, NOW + 15).await.expect("used");
        assert_eq!(store.sweep_registrations(NOW + 9).await.expect("swept"), []);
        let left = store.sweep_registrations(NOW + 10).await.expect("swept");
        assert_eq!(left.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(), ["dyn-queue"]);
        let ids: Vec<String> = store.registrations_after("", 10).await.expect("read").into_iter().map(|one| one.client_id).collect();
        assert_eq!(ids, ["dyn-bad", "dyn-good", "dyn-used"]);
        let queue = Key { issuer: ISSUER.into(), id: "dyn-queue".into() };
        assert_eq!(store.client(&queue).await.expect("read"), None);
        assert!(store.client_history(&queue).await.expect("read").is_empty());
    }

    #[tokio::test]
    async fn s45_clients_of_another_issuer_are_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(&folder).await;
        decide(&store, "dyn-1", State::Approved).await;
        decide(&store, "dyn-2", State::Pending).await;
        assert_eq!(store.clients_of_others(ISSUER).await.expect("read"), []);
        assert_eq!(store.clients_of_others("https://new.example").await.expect("read"), [(ISSUER.to_owned(), 2)]);
    }

    #[tokio::test]
    async fn s36_whoever_fills_the_store_and_comes_back_each_hour_keeps_no_new_client_out_and_no_decided_or_connected_one_leaves() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(&folder).await;
        let flood: Vec<String> = (0..4).map(|n| format!("https://evil.example/{n}")).collect();
        for id in flood.iter().map(String::as_str).chain(["dyn-good", "dyn-bad", "dyn-connected"]) {
            assert_eq!(store.add_registration(&client(id, id, NOW), NOW + 99_999, 7).await.expect("answered").0, Added::New);
            store.used_registration(id, NOW + 1, NOW + 99_999).await.expect("used");
        }
        for id in &flood {
            decide(&store, id, State::Pending).await;
        }
        decide(&store, "dyn-good", State::Approved).await;
        decide(&store, "dyn-bad", State::Suspended).await;
        let created = i64::try_from(NOW).expect("fits");
        let grant = super::super::Grant {
            id: "g".into(),
            client_id: "dyn-connected".into(),
            created,
            expires: created + 99_999,
            ..Default::default()
        };
        store.put_grant(&grant, None).await.expect("written");
        let later = NOW + WAITED_FOR + 1;
        for id in &flood {
            store.used_registration(id, later, NOW + 99_999).await.expect("used");
        }
        let (added, left) = store.add_registration(&client("dyn-new", "Acme", later), NOW + 99_999, 7).await.expect("answered");
        assert_eq!((added, left.len()), (Added::New, 1));
        let ids: Vec<String> = store.registrations_after("", 10).await.expect("read").into_iter().map(|one| one.client_id).collect();
        assert_eq!(ids.iter().filter(|id| id.starts_with("dyn-")).collect::<Vec<_>>(), ["dyn-bad", "dyn-connected", "dyn-good", "dyn-new"]);
        assert_eq!(ids.len(), 7);
        assert_eq!(store.client(&left[0]).await.expect("read"), None, "nobody decides on what is gone");
        assert!(store.client_history(&left[0]).await.expect("read").is_empty());
    }
}
