//! What must survive: revocations, and how far each replica has read them. SQLite, or PostgreSQL for several replicas.
//!
//! One schema and one text for each query; what differs stands in `sqlite` and `postgres`. Whatever a
//! method has answered is on the disk. Knows nothing of requests: they never wait for a database.

pub mod authorization;
mod clients;
pub mod feed;
mod observed;
pub mod observing;
mod postgres;
mod replicas;
mod revocations;
mod sqlite;
mod surfaces;

use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::{PgPool, SqlitePool};

pub use clients::Decision;
pub use observed::{Attestation, ClientUse};
pub use replicas::{Replica, Standing};
pub use revocations::{Reason, Recorded};
pub use surfaces::{Kept, SurfaceKind, Version};

use crate::config::StorePlace;
use crate::governance::client::Stuck;

/// For a connection, and for one statement.
const PATIENCE: Duration = Duration::from_secs(5);
/// Two processes that make the same tables at once get into each other's way; one of them then finds them made.
const TRIES: usize = 5;

/// The same statements on either database.
macro_rules! on {
    ($store:expr, $pool:ident => $body:expr) => {
        match &$store.pool {
            $crate::store::Pool::Sqlite($pool) => $body,
            $crate::store::Pool::Postgres($pool) => $body,
        }
    };
}
use on;

/// An open database. Cloning shares it.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    /// The file that was opened, for SQLite.
    file: Option<sqlite::Opened>,
}

#[derive(Clone)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// Why the store cannot be read or written. Never holds the address, for that may hold a password.
#[derive(Debug)]
pub enum Error {
    Database(String),
    /// No answer in time.
    Slow,
    /// As many revocations as replicas can hold.
    Full,
    /// The file that was opened is not the one that is there now.
    Replaced,
    /// The file is not the whole database that it was; holds what was found.
    Damaged(String),
    /// What a client cannot become.
    Client(Stuck),
    /// A row that this version cannot read.
    Row(i64),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Database(what) => f.write_str(what),
            Self::Slow => write!(f, "the database did not answer within {} s", PATIENCE.as_secs()),
            Self::Full => {
                f.write_str("there are as many revocations as replicas can hold; revoke everything before a time with `--before` instead")
            }
            Self::Replaced => f.write_str("the database's file is not the one that was opened; start anew"),
            Self::Damaged(what) => write!(
                f,
                "the database is damaged ({what}): put a backup back, or save what can be read by `sqlite3 FILE .recover | sqlite3 SAVED`; \
                 one that begins anew would forget what was revoked"
            ),
            Self::Client(stuck) => write!(f, "{stuck}"),
            Self::Row(seq) => write!(
                f,
                "change {seq} cannot be read: a later version wrote it, or the database is damaged; start that version, or put a backup back"
            ),
        }
    }
}

impl std::error::Error for Error {}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => Self::Slow,
            // SECURITY: what PostgreSQL says of a faulty address may repeat it.
            sqlx::Error::Configuration(_) => Self::Database("the address of the database cannot be read".into()),
            sqlx::Error::Database(error) if is_damage(&*error) => Self::Damaged(error.message().to_owned()),
            other => Self::Database(other.to_string()),
        }
    }
}

/// SQLite's words for a file that is torn (`SQLITE_CORRUPT`) or another thing altogether (`SQLITE_NOTADB`).
fn is_damage(error: &(dyn sqlx::error::DatabaseError + 'static)) -> bool {
    let is_sqlite = error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some();
    let code = error.code().and_then(|code| code.parse::<u32>().ok());
    is_sqlite && code.is_some_and(|code| matches!(code & 0xFF, 11 | 26))
}

impl Store {
    /// Opens the database, and makes or renews its tables. A SQLite file is made for its owner alone.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub async fn open(place: &StorePlace) -> Result<Self, Error> {
        let store = match place {
            StorePlace::Sqlite(path) => {
                let pool = Pool::Sqlite(sqlite::connect(path).await?);
                Self { pool, file: Some(sqlite::Opened::new(path)) }
            }
            StorePlace::Postgres(url) => Self { pool: Pool::Postgres(postgres::connect(url.text()).await?), file: None },
        };
        store.migrate().await?;
        Ok(store)
    }

    async fn migrate(&self) -> Result<(), Error> {
        let mut last = Error::Slow;
        for round in 0..TRIES {
            let result = match &self.pool {
                Pool::Sqlite(pool) => lenient(sqlx::migrate!("./migrations/sqlite")).run(pool).await,
                Pool::Postgres(pool) => lenient(sqlx::migrate!("./migrations/postgres")).run(pool).await,
            };
            match result {
                Ok(()) => return Ok(()),
                Err(error) => last = Error::Database(format!("cannot make the tables: {error}")),
            }
            tokio::time::sleep(Duration::from_millis(50 << round)).await;
        }
        Err(last)
    }

    /// Closes all connections, and writes back what SQLite keeps beside its file.
    pub async fn close(&self) {
        on!(self, pool => pool.close().await);
    }
}

/// An older replica goes on beside a newer one that has added to the tables.
fn lenient(mut migrator: Migrator) -> Migrator {
    migrator.set_ignore_missing(true);
    migrator
}

/// An answer within [`PATIENCE`].
async fn soon<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(PATIENCE, answer).await.unwrap_or(Err(Error::Slow))
}

#[cfg(test)]
mod tests;
