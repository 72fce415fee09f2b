//! What clients of the authorization server inside say of themselves, and what is odd about that.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::inventory::Known;
use super::{Fault, written};
use crate::config::Config;
use crate::governance::client::{Client, Key, Source, State};
use crate::oauth::registration::Metadata;
use crate::oauth::{RegisteredClient, client_id, known_clients, likeness, suspicion};
use crate::store::Store;
use crate::store::authorization::Registration;

/// Rows read at once.
const PAGE: i64 = 5_000;

/// What a client says of itself, and what is to be said about that.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ClientAbout")]
pub struct About {
    /// What it calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_types: Option<Vec<String>>,
    /// How it shows at the token endpoint who it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_method: Option<String>,
    /// The known program whose redirect URIs it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_as: Option<String>,
    /// What is odd about it, for whoever decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<Vec<String>>,
    /// Of what it says of itself: another one is another promise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// When it registered, or its document was read first (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered: Option<String>,
}

/// The clients of the authorization server at one time.
pub struct Registered<'a> {
    config: &'a Config,
    rows: BTreeMap<String, Registration>,
}

impl<'a> Registered<'a> {
    /// # Errors
    /// [`Fault::Store`].
    pub async fn read(store: Option<&Store>, config: &'a Config) -> Result<Self, Fault> {
        let (mut rows, mut last) = (BTreeMap::new(), String::new());
        let Some((store, _)) = store.zip(config.authorization_server.as_ref()) else { return Ok(Self { config, rows }) };
        loop {
            let page = store.registrations_after(&last, PAGE).await?;
            let Some(row) = page.last() else { return Ok(Self { config, rows }) };
            last.clone_from(&row.client_id);
            rows.extend(page.into_iter().map(|row| (row.client_id.clone(), row)));
        }
    }

    /// Adds those that nobody has decided on, and those of `authorization_server.clients`.
    pub fn join(&self, all: &mut Vec<Known>) {
        let Some(server) = self.config.authorization_server.as_deref() else { return };
        let key = |id: &String| Key { issuer: server.issuer.to_string(), id: id.clone() };
        for id in server.clients.keys() {
            match all.iter_mut().find(|(client, _)| client.key == key(id)) {
                // A decision that is stricter stays.
                Some((client, _)) if client.state == State::Pending => client.state = State::Approved,
                Some(_) => {}
                None => all.push((Client { state: State::Approved, source: Source::Configured, ..Client::entered(key(id)) }, None)),
            }
        }
        for row in self.rows.values() {
            if !all.iter().any(|(client, _)| client.key == key(&row.client_id)) {
                let source = if client_id::is_url(&row.client_id) { Source::Document } else { Source::Registered };
                all.push((Client { source, ..Client::seen(key(&row.client_id), row.created) }, None));
            }
        }
    }

    /// Redirect URIs and whatever else a client says; `all` is the whole inventory.
    pub fn about(&self, key: &Key, all: &[Known]) -> (Vec<String>, About) {
        let Some(server) = self.config.authorization_server.as_deref().filter(|server| *server.issuer == key.issuer) else {
            return Default::default();
        };
        if let Some(client) = server.clients.get(&key.id) {
            let (name, fingerprint) = (Some(client.name.clone()), Some(client.fingerprint.clone()));
            return (client.redirect_uris.clone(), About { name, fingerprint, ..About::default() });
        }
        let Some(row) = self.rows.get(&key.id) else { return Default::default() };
        let Metadata { redirect_uris, software_id, client_uri, grant_types, token_endpoint_auth_method, .. } = row.metadata.clone();
        let about = About {
            name: Some(row.metadata.name()),
            software_id,
            client_uri,
            grant_types: Some(grant_types),
            token_endpoint_auth_method: serde_json::to_value(token_endpoint_auth_method)
                .ok()
                .and_then(|name| name.as_str().map(str::to_owned)),
            known_as: known_clients::of(&redirect_uris).map(|known| known.name.to_owned()),
            flags: Some(self.flags(row, key, all)),
            fingerprint: Some(row.metadata.fingerprint()),
            registered: Some(written(row.created)),
        };
        (redirect_uris, about)
    }

    /// When a client of this id last asked for something, in seconds since 1970.
    pub fn used(&self, key: &Key) -> Option<u64> {
        let server = self.config.authorization_server.as_deref()?;
        self.rows.get(&key.id).filter(|_| *server.issuer == key.issuer)?.used
    }

    fn flags(&self, row: &Registration, key: &Key, all: &[Known]) -> Vec<String> {
        let fold = likeness::fold(&row.metadata.name());
        let is_other = |other: &&Registration| {
            let is =
                |client: &Client| client.key.issuer == key.issuer && client.key.id == other.client_id && client.state == State::Approved;
            other.client_id != row.client_id && all.iter().any(|(client, _)| is(client))
        };
        let alike = self.rows.values().filter(|other| likeness::fold(&other.metadata.name()) == fold).filter(is_other);
        let mut others: Vec<Metadata> = alike.map(|other| other.metadata.clone()).collect();
        others.extend(self.configured().map(|client| Metadata {
            client_name: Some(client.name.clone()),
            redirect_uris: client.redirect_uris.clone(),
            ..Metadata::default()
        }));
        suspicion::flags(&row.metadata, &others).iter().map(suspicion::Flag::text).collect()
    }

    fn configured(&self) -> impl Iterator<Item = &RegisteredClient> {
        self.config.authorization_server.iter().flat_map(|server| server.clients.values()).map(AsRef::as_ref)
    }
}
