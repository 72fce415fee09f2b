//! What people may do to the gateway: decide on clients, revoke, and read what was done.
//!
//! The admin API does it in the running process, commands without it on the store itself; both through this room, with the
//! same words in and out. Knows no HTTP and no command line.

pub mod clients;
pub mod given;
pub mod grants;
pub mod inventory;
pub mod keys;
pub mod records;
pub mod registered;
pub mod reviews;
pub mod revocations;
pub mod tools;
pub mod users;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;

use crate::config::Config;
use crate::governance::client::Stuck;
use crate::store::{Error, Store};

/// Bytes of a reason or a name.
pub const LONGEST: usize = 1_024;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What was asked for cannot be meant.
    Invalid(String),
    /// It is not there.
    Unknown(String),
    /// It cannot be done to what is there.
    Conflict(String),
    /// It is not any more what was looked at.
    Changed(String),
    /// The configuration has no store.
    NoStore,
    /// The store cannot be used; it may have been done.
    Store(String),
    /// It was not done, for no record could tell of it.
    Unrecordable,
    /// It is done, and no record tells of it.
    Unrecorded(String),
    /// Not now.
    Busy(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Invalid(what) | Self::Unknown(what) | Self::Conflict(what) | Self::Changed(what) | Self::Busy(what) => f.write_str(what),
            Self::NoStore => f.write_str("the configuration has no `store`: add `store: sqlite:doorward.db`"),
            Self::Store(what) => write!(f, "cannot use the store: {what}"),
            Self::Unrecordable => f.write_str("nothing was done: audit records cannot be written at present"),
            Self::Unrecorded(what) => write!(f, "done, but the audit record cannot be written{what}"),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Client(Stuck::Unknown) => Self::Unknown(Stuck::Unknown.to_string()),
            Error::Client(stuck) => Self::Conflict(stuck.to_string()),
            Error::Full => Self::Conflict(Error::Full.to_string()),
            other => Self::Store(other.to_string()),
        }
    }
}

/// Writes down what was done, so that it is on the disk.
pub trait Witness: Send + Sync {
    /// # Errors
    /// [`Fault::Unrecorded`].
    fn saw<'a>(&'a self, operation: &'static str, name: String, reason: &'a str) -> BoxFuture<'a, Result<(), Fault>>;
}

/// Who does it, when, and to what.
#[derive(Clone, Copy)]
pub struct Hand<'a> {
    pub config: &'a Config,
    pub store: &'a Store,
    pub now: SystemTime,
    /// For the records.
    pub actor: &'a str,
    pub witness: &'a dyn Witness,
}

impl Hand<'_> {
    fn seconds(&self) -> u64 {
        seconds(self.now)
    }
}

/// What must be said, and not at length.
///
/// # Errors
/// [`Fault::Invalid`].
pub fn said(name: &str, text: &str) -> Result<(), Fault> {
    if text.trim().is_empty() || text.len() > LONGEST {
        return Err(Fault::Invalid(format!("`{name}` must say something, in at most {LONGEST} bytes")));
    }
    Ok(())
}

/// By its identifier, or by its name in the configuration. Another one's revocation would have no effect.
///
/// # Errors
/// [`Fault::Invalid`].
pub fn issuer(text: &str, config: &Config) -> Result<String, Fault> {
    if let Some(issuer) = config.issuers.get(text) {
        return Ok(issuer.rules.issuer.to_string());
    }
    match config.issuers.values().any(|issuer| *issuer.rules.issuer == *text) {
        true => Ok(text.to_owned()),
        false => Err(Fault::Invalid(format!("the configuration has no issuer `{text}`"))),
    }
}

fn upstream(name: &str, config: &Config) -> Result<(), Fault> {
    match config.routes.iter().any(|route| *route.name == *name) {
        true => Ok(()),
        false => Err(Fault::Invalid(format!("the configuration has no upstream `{name}`"))),
    }
}

fn time(text: &str) -> Result<SystemTime, Fault> {
    humantime::parse_rfc3339_weak(text).map_err(|_| Fault::Invalid(format!("`{text}` is not a time: write it as `2026-08-01T12:00:00Z`")))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// RFC 3339.
pub fn written(seconds: u64) -> String {
    humantime::format_rfc3339(UNIX_EPOCH + Duration::from_secs(seconds.min(LAST_SECOND))).to_string()
}

/// The same, of a time as it stands in a row.
fn stamp(row: i64) -> String {
    written(u64::try_from(row).unwrap_or(0))
}

/// The end of the year 9999, the last that can be written.
const LAST_SECOND: u64 = 253_402_300_799;
