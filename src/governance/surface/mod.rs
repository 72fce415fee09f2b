//! What issuers publish and we lean on: which of their keys count, and how their documents change.
//!
//! A change is a [`Drift`]: recorded and counted, and for a new key a hold where the operator wants one. Fetches
//! nothing, knows no database and no clock: see `remote::surfaces` and `store::surfaces`.

mod document;
mod index;
mod keys;

pub use document::{Summary, differences, summary};
pub use index::IssuerKeys;
pub use keys::{Acceptance, IssuerKey, KeyState, Settled, Shown, settle, shown};

/// Characters of what a stranger wrote that are kept.
const WORDS: usize = 256;

/// One change of what an issuer publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    pub kind: Kind,
    /// Which key, endpoint or list, and how it changed.
    pub what: String,
    /// A key that verifies nothing for now.
    pub on_hold: bool,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    NewKey,
    /// A key that is not published any more.
    VanishedKey,
    /// A key that had vanished.
    ReturnedKey,
    /// A known key under another id.
    RenamedKey,
    /// A key, or a list of the metadata, with an algorithm that was not there.
    Algorithms,
    /// Another address than before, where there is one.
    Endpoint,
    JwksUri,
}

impl Kind {
    pub const ALL: [Self; 7] =
        [Self::NewKey, Self::VanishedKey, Self::ReturnedKey, Self::RenamedKey, Self::Algorithms, Self::Endpoint, Self::JwksUri];

    /// The label for audit and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::NewKey => "key_new",
            Self::VanishedKey => "key_vanished",
            Self::ReturnedKey => "key_returned",
            Self::RenamedKey => "key_renamed",
            Self::Algorithms => "algorithms",
            Self::Endpoint => "endpoint",
            Self::JwksUri => "jwks_uri",
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(WORDS).collect()
}

#[cfg(test)]
mod tests;
