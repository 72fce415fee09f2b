//! What the authorization server keeps: one file for each kind of thing, one schema for both databases.
//!
//! Whoever changes something does it in one statement, or in one transaction that begins with a change, so that two
//! replicas never both succeed where one may.

mod accounts;
mod consents;
mod grants;
mod keys;
mod passkeys;
mod registrations;
mod secret;
mod sessions;
mod tickets;

pub use accounts::Attempt;
pub(in crate::store) use grants::ended_by;
pub use grants::{Code, Grant, Redeemed, Redemption, Refresh, Rotation, Sought};
pub use keys::SealedKey;
pub use passkeys::Passkey;
pub use registrations::{Added, Registration};
pub use secret::{NoRandomness, digest, secret};
pub use sessions::BrowserSession;
pub use tickets::Kind;

use super::{Error, Store};

impl Store {
    /// Drops what has ended at `now`, in seconds since 1970.
    pub async fn sweep_authorization(&self, now: u64) -> Result<(), Error> {
        self.sweep_tickets(now).await?;
        self.sweep_attempts(now).await?;
        self.sweep_sessions(now).await?;
        self.sweep_grants(now).await?;
        self.sweep_signing_keys(now).await
    }
}

/// A time as it stands in a row.
fn number(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// A time of a row.
fn time(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
