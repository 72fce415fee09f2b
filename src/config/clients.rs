//! A client that stands in the configuration, for the list that is one with the store's.

use std::collections::{HashMap, HashSet};

use super::Config;
use crate::governance::client::{Client, Key, merged};

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

impl Config {
    /// What stands here of this client.
    pub fn client(&self, key: &Key) -> Option<&ConfiguredClient> {
        self.clients.iter().find(|configured| configured.client.key == *key).map(AsRef::as_ref)
    }

    /// One list of what the store has and what stands here: a configured client is as the configuration says, unless the
    /// store has a stricter state. Each keeps what stands beside it.
    pub fn with_configured<T: Default>(&self, stored: Vec<(Client, T)>) -> Vec<(Client, T)> {
        let written: HashMap<&Key, &Client> = self.clients.iter().map(|written| (&written.client.key, &written.client)).collect();
        let mut clients = stored;
        for (stored, _) in &mut clients {
            if let Some(client) = written.get(&stored.key) {
                *stored = merged(client, Some(stored));
            }
        }
        let known: HashSet<Key> = clients.iter().map(|(client, _)| client.key.clone()).collect();
        let only_written = self.clients.iter().map(|written| &written.client).filter(|client| !known.contains(&client.key));
        clients.extend(only_written.map(|client| (merged(client, None), T::default())));
        clients
    }
}
