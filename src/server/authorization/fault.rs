//! What goes wrong at our own end: the store, keys, randomness. What a client did wrong is an [`crate::oauth::OAuthError`].

use std::fmt;

use crate::store;

/// Why a request cannot be answered now.
#[derive(Debug)]
pub enum Fault {
    Store(store::Error),
    /// The store is not open: it was configured after the start.
    Unopened,
    /// There is no key to sign with.
    NoKey,
    /// The store was not read for too long, or holds more than can be known.
    Unknown,
    /// Too many passwords wait to be looked at.
    Busy,
    /// The system has no randomness.
    Randomness,
    /// What the store holds cannot be read.
    Unreadable,
    /// The login cannot be asked about a person.
    Login,
    /// The client for fetches cannot be made.
    Http,
}

impl Fault {
    /// The label for records and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Store(_) => "store_unavailable",
            Self::Unopened => "store_unopened",
            Self::NoKey => "no_signing_key",
            Self::Unknown => "revocations_unknown",
            Self::Busy => "busy",
            Self::Randomness => "no_randomness",
            Self::Unreadable => "store_unreadable",
            Self::Login => "login_unavailable",
            Self::Http => "no_http_client",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => write!(f, "the store cannot be used: {error}"),
            Self::Unopened => f.write_str("the store takes effect at the next start"),
            Self::NoKey => f.write_str("there is no key to sign with"),
            Self::Unknown => f.write_str("it is not known what is revoked"),
            Self::Busy => f.write_str("too many passwords wait to be looked at"),
            Self::Randomness => f.write_str("the system has no randomness"),
            Self::Unreadable => f.write_str("what the store holds cannot be read"),
            Self::Login => f.write_str("the login cannot be asked whether a person is still there"),
            Self::Http => f.write_str("the HTTP client cannot be made; are root certificates installed?"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<store::authorization::NoRandomness> for Fault {
    fn from(_: store::authorization::NoRandomness) -> Self {
        Self::Randomness
    }
}

impl From<store::Error> for Fault {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}
