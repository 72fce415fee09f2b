//! Every client that is known: those decided on, those that made themselves known and wait, and those of the configuration;
//! each with what it says of itself.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::governance::client::{Client, Key, Source, State, Terms};
use crate::oauth::registration::Metadata;
use crate::oauth::{RegisteredClient, client_id, known_clients, likeness, suspicion};
use crate::store::authorization::Registration;
use crate::store::{Error, Store};

/// Rows read at once.
const PAGE: i64 = 5_000;

/// What is known at one time.
pub struct Inventory<'a> {
    config: &'a Config,
    pub clients: Vec<Client>,
    registrations: BTreeMap<String, Registration>,
}

impl<'a> Inventory<'a> {
    /// # Errors
    /// The store cannot be read.
    pub async fn read(store: &Store, config: &'a Config) -> Result<Self, Error> {
        let mut all = Self { config, clients: decided(store).await?, registrations: registrations(store).await? };
        let Some(server) = config.authorization_server.as_deref() else { return Ok(all) };
        let key = |id: &String| Key { issuer: server.issuer.to_string(), id: id.clone() };
        let is_new = |key: &Key, clients: &[Client]| !clients.iter().any(|client| client.key == *key);
        let waiting = all.registrations.values().map(|row| registered(key(&row.client_id), row));
        let configured = server.clients.keys().map(|id| Client {
            state: State::Approved,
            source: Source::Configured,
            first_seen: None,
            terms: Terms::default(),
            key: key(id),
        });
        let more: Vec<Client> = waiting.chain(configured).filter(|client| is_new(&client.key, &all.clients)).collect();
        all.clients.extend(more);
        Ok(all)
    }

    pub fn find(&self, key: &Key) -> Option<Client> {
        self.clients.iter().find(|client| client.key == *key).cloned()
    }

    /// Of what a client says of itself: another one is another promise.
    pub fn fingerprint(&self, key: &Key) -> Option<String> {
        match self.said(key)? {
            Said::Registered(row) => Some(row.metadata.fingerprint()),
            Said::Configured(client) => Some(client.fingerprint.clone()),
        }
    }

    /// What a client is called, where that is known.
    pub fn name(&self, key: &Key) -> Option<String> {
        match self.said(key)? {
            Said::Registered(row) => Some(row.metadata.name()),
            Said::Configured(client) => Some(client.name.clone()),
        }
    }

    /// What is odd about a client, for whoever decides on it.
    pub fn flags(&self, key: &Key) -> Vec<String> {
        let Some(Said::Registered(row)) = self.said(key) else { return Vec::new() };
        let fold = likeness::fold(&row.metadata.name());
        let is_other = |other: &&Registration| {
            let key = Key { id: other.client_id.clone(), ..key.clone() };
            other.client_id != row.client_id && self.find(&key).is_some_and(|client| client.state == State::Approved)
        };
        let alike = self.registrations.values().filter(|other| likeness::fold(&other.metadata.name()) == fold).filter(is_other);
        let mut others: Vec<Metadata> = alike.map(|other| other.metadata.clone()).collect();
        others.extend(self.configured().map(|client| Metadata {
            client_name: Some(client.name.clone()),
            redirect_uris: client.redirect_uris.clone(),
            ..Metadata::default()
        }));
        suspicion::flags(&row.metadata, &others).iter().map(suspicion::Flag::text).collect()
    }

    /// What a client says of itself, and what is to be said about that.
    pub fn details(&self, key: &Key) -> Map<String, Value> {
        let details = match self.said(key) {
            None => json!({}),
            Some(Said::Configured(client)) => json!({ "name": client.name, "redirect_uris": client.redirect_uris }),
            Some(Said::Registered(row)) => json!({
                "name": row.metadata.name(), "redirect_uris": row.metadata.redirect_uris, "software_id": row.metadata.software_id,
                "client_uri": row.metadata.client_uri, "grant_types": row.metadata.grant_types,
                "token_endpoint_auth_method": row.metadata.token_endpoint_auth_method,
                "known_as": known_clients::of(&row.metadata.redirect_uris).map(|known| known.name), "flags": self.flags(key),
                "fingerprint": row.metadata.fingerprint(), "registered": time(row.created), "last_used": row.used.map(time),
            }),
        };
        match details {
            Value::Object(mut details) => {
                details.retain(|_, value| !value.is_null());
                details
            }
            _ => Map::new(),
        }
    }

    fn said(&self, key: &Key) -> Option<Said<'_>> {
        let server = self.config.authorization_server.as_deref().filter(|server| *server.issuer == key.issuer)?;
        let configured = server.clients.get(&key.id).map(|client| Said::Configured(client));
        configured.or_else(|| self.registrations.get(&key.id).map(Said::Registered))
    }

    fn configured(&self) -> impl Iterator<Item = &RegisteredClient> {
        self.config.authorization_server.iter().flat_map(|server| server.clients.values()).map(AsRef::as_ref)
    }
}

enum Said<'a> {
    Registered(&'a Registration),
    Configured(&'a RegisteredClient),
}

/// One that nobody has decided on, and that has not asked to be let in.
fn registered(key: Key, row: &Registration) -> Client {
    let source = if client_id::is_url(&row.client_id) { Source::Document } else { Source::Registered };
    Client { source, ..Client::seen(key, row.created) }
}

async fn decided(store: &Store) -> Result<Vec<Client>, Error> {
    let (mut clients, mut read) = (Vec::new(), 0);
    loop {
        let page = store.clients_since(read, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(clients) };
        read = *last;
        clients.extend(page.into_iter().map(|(_, client)| client));
    }
}

async fn registrations(store: &Store) -> Result<BTreeMap<String, Registration>, Error> {
    let (mut all, mut last) = (BTreeMap::new(), String::new());
    loop {
        let page = store.registrations_after(&last, PAGE).await?;
        let Some(row) = page.last() else { return Ok(all) };
        last.clone_from(&row.client_id);
        all.extend(page.into_iter().map(|row| (row.client_id.clone(), row)));
    }
}

pub fn time(seconds: u64) -> String {
    humantime::format_rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}
