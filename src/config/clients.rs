//! A client that stands in the configuration, for the list that is one with the store's.

use crate::governance::client::Client;

/// One resolved entry of `clients`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredClient {
    /// The key in the configuration.
    pub name: String,
    /// As it is unless the store has a stricter state.
    pub client: Client,
    /// For people: an authorization server elsewhere has its own.
    pub redirect_uris: Vec<String>,
    /// What it calls itself.
    pub names: Vec<String>,
    /// `file:line` of the entry.
    pub place: String,
}
