//! What do others tell of sessions and accounts that have ended, and what does that revoke here?
//!
//! Three ways to be told, one answer: a security event token (RFC 8417, SSF, CAEP, RISC), a logout token
//! (OpenID Connect Back-Channel Logout 1.0), a request (Global Token Revocation). Fetches no key, knows no clock.

mod event;
mod fault;
mod global;
mod logout;
mod mapping;
mod sender;
mod set;
mod subject;

pub use event::Kind;
pub use fault::Fault;
pub use global::request;
pub use logout::LogoutRules;
pub use mapping::{Formats, Mapping};
pub use sender::{SenderRules, Shown};
pub use set::SetRules;
pub use subject::Subject;

use crate::token::{Algorithm, Key, Unverified};

/// Bytes of a name, be it a subject, a session or an id, that can be taken in.
const LONGEST_NAME: usize = 1_024;

/// What somebody tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Whoever signed it: `iss`.
    pub issuer: String,
    /// What tells it from all others of its kind and issuer.
    pub jti: String,
    /// Never none.
    pub happenings: Vec<Happening>,
}

/// One thing that happened to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// None for a kind that is not known here.
    pub kind: Option<Kind>,
    pub subject: Subject,
    /// In seconds since 1970; never after the signal was made.
    pub at: u64,
}

/// A signed signal that is in order, and whose signature nobody has looked at: what it says is not to be had yet.
pub struct Unproven<'a, T = Told> {
    token: Unverified<'a>,
    told: T,
}

impl<T> Unproven<'_, T> {
    pub fn key_id(&self) -> Option<&str> {
        self.token.key_id()
    }

    pub fn algorithm(&self) -> Algorithm {
        self.token.algorithm()
    }

    /// What it says, if one of `keys` signed it.
    ///
    /// # Errors
    /// [`Fault::UnknownKey`] without keys, else [`Fault::Signature`].
    pub fn prove<'k>(&self, keys: impl Iterator<Item = &'k Key>) -> Result<&T, Fault> {
        self.token.signed_by(keys)?;
        Ok(&self.told)
    }
}

#[cfg(test)]
mod tests;
