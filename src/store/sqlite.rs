//! What is particular to SQLite: the file, its mode, and how a change by another process is noticed.

use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{Error, PATIENCE};

/// One reads the feed and one writes; each costs a thread.
const CONNECTIONS: u32 = 2;

pub async fn connect(path: &Path) -> Result<SqlitePool, Error> {
    // SECURITY: made before SQLite would make it for everybody to read; the files beside it take its mode.
    let made = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    made.map_err(|error| Error::Database(format!("cannot open `{}`: {error}", path.display())))?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        // What was acknowledged survives the loss of power too.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(PATIENCE)
        .foreign_keys(true);
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(PATIENCE).connect_with(options).await?;
    Ok(pool)
}

/// A file as it was opened: another one may take its name.
#[derive(Clone, Debug)]
pub struct Opened {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl Opened {
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity(path) }
    }

    /// SECURITY: whoever goes on reading a file that was replaced never sees another change.
    pub fn check(&self) -> Result<(), Error> {
        let is_same = self.identity.is_some() && self.identity == identity(&self.path);
        if is_same { Ok(()) } else { Err(Error::Replaced) }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}
