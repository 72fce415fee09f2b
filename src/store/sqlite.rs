//! What is particular to SQLite: the file, its mode, and how a change by another process is noticed.

use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{Error, PATIENCE};

/// One reads the feed and one writes; each costs a thread.
const CONNECTIONS: u32 = 2;
/// Bytes of the smallest page.
const SMALLEST: u64 = 512;
/// For another process that is making the file just now.
const MAKING: Duration = Duration::from_secs(2);

/// Opens the file, and makes it where there is none. One that is there and is not a whole database is refused.
pub async fn connect(path: &Path) -> Result<SqlitePool, Error> {
    // SECURITY: made before SQLite would make it for everybody to read; the files beside it take its mode.
    let existed = path.exists();
    let made = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    made.map_err(|error| Error::Database(format!("cannot open `{}`: {error}", path.display())))?;
    if existed {
        filled(path).await?;
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        // What was acknowledged survives the loss of power too.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(PATIENCE)
        .foreign_keys(true);
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(PATIENCE).connect_with(options).await?;
    whole(&pool).await?;
    Ok(pool)
}

/// SECURITY: a file that is there without a page was cut off. SQLite would begin anew, and nobody know of what was revoked.
async fn filled(path: &Path) -> Result<(), Error> {
    let begun = Instant::now();
    while std::fs::metadata(path).is_ok_and(|file| file.len() < SMALLEST) {
        if begun.elapsed() > MAKING {
            return Err(Error::Damaged(format!("`{}` is empty or cut short; if it never held anything, remove it", path.display())));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// SECURITY: of pages that are torn or overwritten some can still be read, and what stood on the others would be forgotten.
async fn whole(pool: &SqlitePool) -> Result<(), Error> {
    let found: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(pool).await?;
    if found == "ok" { Ok(()) } else { Err(Error::Damaged(found)) }
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
