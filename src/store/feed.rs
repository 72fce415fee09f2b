//! Keeps the index in memory as the store is: reads what is new, says how far it has read, and doubts the index when it cannot read.
//!
//! PostgreSQL wakes it by a notification; SQLite is asked often whether another connection has written.
//! Every change has a number, so after a lost connection it goes on where it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgListener;
use sqlx::{PgPool, Sqlite, SqlitePool};

use super::{Error, Pool, Replica, Store, postgres, soon, sqlite};
use crate::governance::{Clients, IssuerKeys, Revocations};

/// Between two looks at SQLite, and at PostgreSQL if no notification comes: these are what shows that it answers.
const SQLITE_LOOK: Duration = Duration::from_millis(200);
const POSTGRES_LOOK: Duration = Duration::from_millis(500);
/// After a failure.
const RETRY: Duration = Duration::from_millis(500);
/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(5);
/// Between two sweeps of what has expired.
const SWEEP: Duration = Duration::from_secs(300);
/// New clients written between two looks: strangers never keep revocations waiting.
const NEW: usize = 8;
/// Rows read at once.
const PAGE: i64 = 5_000;

/// Reads the store into the index, and goes on doing so.
pub struct Feed {
    store: Store,
    index: Arc<Revocations>,
    clients: Arc<Clients>,
    keys: Arc<IssuerKeys>,
    replica: Replica,
    /// Called when something new is revoked: open streams are to be judged anew.
    told: Box<dyn Fn() + Send + Sync>,
    read: i64,
    /// Milliseconds after `begun` at which the last good reading began.
    confirmed: Arc<AtomicU64>,
    begun: Instant,
}

impl Feed {
    pub fn new(
        store: Store,
        index: Arc<Revocations>,
        clients: Arc<Clients>,
        keys: Arc<IssuerKeys>,
        replica: Replica,
        told: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self { store, index, clients, keys, replica, told: Box::new(told), read: 0, confirmed: Arc::default(), begun: Instant::now() }
    }

    /// Reads everything that is there; to be called before the first request.
    pub async fn load(&mut self) -> Result<(), Error> {
        // SECURITY: first, so that whoever revokes while this is read waits for this replica too.
        self.store.beat(&self.replica, self.read).await?;
        self.catch_up().await?;
        self.store.beat(&self.replica, self.read).await
    }

    /// Never ends by itself.
    pub async fn follow(mut self) {
        let watchdog = watch(self.index.clone(), self.confirmed.clone(), self.begun);
        let follow = async {
            loop {
                let Err(error) = self.follow_until_it_fails().await;
                tracing::error!(%error, "revocations cannot be read");
                tokio::time::sleep(RETRY).await;
            }
        };
        tokio::join!(watchdog, follow);
    }

    async fn follow_until_it_fails(&mut self) -> Result<std::convert::Infallible, Error> {
        let mut changes = Changes::of(&self.store).await?;
        // What came between the last reading and the listening.
        self.catch_up().await?;
        self.beat().await;
        let (mut beat, mut swept) = (Instant::now(), Instant::now());
        loop {
            let asked = (SystemTime::now(), Instant::now());
            let news = match changes.wait().await? {
                true => self.catch_up().await?,
                false => {
                    self.confirm(asked);
                    false
                }
            };
            self.write_seen().await;
            if news || beat.elapsed() >= BEAT {
                self.beat().await;
                beat = Instant::now();
            }
            if swept.elapsed() >= SWEEP {
                self.sweep().await;
                swept = Instant::now();
            }
        }
    }

    /// Whether there was anything new.
    async fn catch_up(&mut self) -> Result<bool, Error> {
        let asked = (SystemTime::now(), Instant::now());
        let head = self.store.head().await?;
        if head < self.read {
            // A backup was put back: whatever it holds is read again, and what is known already stays.
            tracing::warn!(head, read = self.read, "the store is older than what was read of it");
            self.index.restored(asked.0);
            self.read = 0;
        }
        let before = self.read;
        self.read_clients(before).await?;
        self.read_keys(before).await?;
        let read = read_into(&self.store, &self.index, &mut self.read, head).await;
        self.index.note_read(self.read);
        let is_news = self.read != before;
        if is_news {
            (self.told)();
        }
        read?;
        self.confirm(asked);
        Ok(is_news)
    }

    /// Before the revocations, which alone say how far was read: what fails here is read again.
    async fn read_clients(&self, mut read: i64) -> Result<(), Error> {
        loop {
            let page = self.store.clients_since(read, PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            read = *last;
            page.into_iter().for_each(|(_, client)| self.clients.apply(client));
        }
    }

    /// As clients are read.
    async fn read_keys(&self, mut read: i64) -> Result<(), Error> {
        loop {
            let page = self.store.issuer_keys_since(read, PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            read = *last;
            page.into_iter().for_each(|(_, key)| self.keys.apply(key));
        }
    }

    /// Writes down who was seen for the first time.
    async fn write_seen(&self) {
        for client in self.clients.take_seen(NEW) {
            if let Err(error) = self.store.saw_client(&client).await {
                tracing::warn!(%error, "a new client cannot be written down");
                return;
            }
        }
    }

    fn confirm(&self, (wall, instant): (SystemTime, Instant)) {
        self.confirmed.store(millis(instant.duration_since(self.begun)), Ordering::Relaxed);
        self.index.confirm(wall);
    }

    /// A store that cannot be written, for want of room perhaps, can still be read.
    async fn beat(&self) {
        if let Err(error) = self.store.beat(&self.replica, self.read).await {
            tracing::warn!(%error, "the store cannot be told how far it was read");
        }
    }

    async fn sweep(&self) {
        let now = SystemTime::now();
        self.index.prune(now);
        if let Err(error) = self.purge(now).await {
            tracing::warn!(%error, "expired revocations stay in the store");
        }
    }

    async fn purge(&self, now: SystemTime) -> Result<(), Error> {
        // SECURITY: a clock that is ahead must not drop what other replicas still need.
        let seconds = self.store.earliest(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()).await?;
        while self.store.purge(i64::try_from(seconds).unwrap_or_default(), PAGE).await? >= PAGE {}
        self.store.sweep_authorization(seconds).await?;
        self.clients.forget(&self.store.sweep_registrations(seconds).await?);
        self.store.forget_replicas().await
    }
}

/// For a decision that cannot wait until the feed looks again: takes in what is revoked until now.
///
/// # Errors
/// The store cannot be read, or there is no room in the index.
pub async fn catch_up(store: &Store, index: &Revocations) -> Result<(), Error> {
    let head = store.head().await?;
    read_into(store, index, &mut index.read(), head).await
}

/// Takes the revocations after the change `read` into the index, up to `head` at least, and moves it on.
async fn read_into(store: &Store, index: &Revocations, read: &mut i64, head: i64) -> Result<(), Error> {
    while *read < head {
        let page = store.since(*read, PAGE).await?;
        for (seq, revocation) in &page {
            // SECURITY: an index that lacks one is no index.
            index.apply(*seq, revocation).map_err(|_| Error::Full)?;
        }
        // Behind the last one, the rest has expired and is gone.
        *read = page.last().map_or(head, |(last, _)| *last);
    }
    Ok(())
}

/// By a clock that nobody sets: doubts the index when it was not confirmed for too long, whatever the reading is stuck in.
async fn watch(index: Arc<Revocations>, confirmed: Arc<AtomicU64>, begun: Instant) {
    loop {
        tokio::time::sleep(SQLITE_LOOK).await;
        let confirmed = Duration::from_millis(confirmed.load(Ordering::Relaxed));
        if begun.elapsed().saturating_sub(confirmed) > index.bounds().max_age {
            index.doubt();
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Tells when there may be something new.
enum Changes {
    Sqlite { connection: PoolConnection<Sqlite>, version: i64, file: Option<sqlite::Opened> },
    Postgres(PgListener),
}

impl Changes {
    async fn of(store: &Store) -> Result<Self, Error> {
        match &store.pool {
            Pool::Sqlite(pool) => Self::sqlite(pool, store.file.clone()).await,
            Pool::Postgres(pool) => Self::postgres(pool).await,
        }
    }

    async fn sqlite(pool: &SqlitePool, file: Option<sqlite::Opened>) -> Result<Self, Error> {
        file.as_ref().map_or(Ok(()), sqlite::Opened::check)?;
        let mut connection = pool.acquire().await?;
        let version = data_version(&mut connection).await?;
        Ok(Self::Sqlite { connection, version, file })
    }

    async fn postgres(pool: &PgPool) -> Result<Self, Error> {
        soon(async { Ok(Self::Postgres(postgres::listen(pool).await?)) }).await
    }

    /// Waits for a notification, or for the time of the next look. `false` says that the database answered, and has nothing new.
    async fn wait(&mut self) -> Result<bool, Error> {
        match self {
            Self::Sqlite { connection, version, file } => {
                tokio::time::sleep(SQLITE_LOOK).await;
                file.as_ref().map_or(Ok(()), sqlite::Opened::check)?;
                let now = soon(data_version(connection)).await?;
                Ok(std::mem::replace(version, now) != now)
            }
            Self::Postgres(listener) => match tokio::time::timeout(POSTGRES_LOOK, listener.try_recv()).await {
                Ok(Ok(Some(_))) | Err(_) => Ok(true),
                Ok(Ok(None)) => Err(Error::Database("the connection was lost".into())),
                Ok(Err(error)) => Err(error.into()),
            },
        }
    }
}

/// Another number after each change by another connection, of this process or any other.
async fn data_version(connection: &mut PoolConnection<Sqlite>) -> Result<i64, Error> {
    Ok(sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut **connection).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StorePlace;
    use crate::governance::{Bounds, Revocation, Selector};
    use crate::store::Reason;

    #[tokio::test]
    async fn a_replica_whose_clock_is_ahead_purges_nothing_that_others_still_need() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&StorePlace::Sqlite(folder.path().join("doorward.db"))).await.expect("opens");
        let now = SystemTime::now();
        let made = now.duration_since(UNIX_EPOCH).expect("a time").as_secs();
        let revocation = Revocation::new(Selector::Client("c".into()), made, None, None, &Bounds::default());
        store.revoke(&revocation, &Reason { text: "test", actor: "mia", made }).await.expect("written");
        let index = Arc::new(Revocations::new(Bounds::default()));
        let replica = Replica { id: "a".into(), place: "here".into(), max_age: Duration::from_secs(30) };
        let feed = Feed::new(store.clone(), index, Arc::default(), Arc::default(), replica, || {});
        feed.purge(now + Duration::from_secs(48 * 3600)).await.expect("purged");
        assert_eq!(store.since(0, 10).await.expect("read").len(), 1);
    }
}
