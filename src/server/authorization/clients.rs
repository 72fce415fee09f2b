//! The one place that finds a client, and says whether it may do anything.
//!
//! Three kinds: those of the configuration, those that registered, and those whose id is the address of a document
//! (`published`). What somebody decided of one counts before what it says of itself.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quick_cache::sync::Cache;

use super::{Call, Fault, Server};
use crate::config::registration::{Admission, Registration as Settings};
use crate::governance::client::{Client, Key, Source, State, Terms};
use crate::limit::Limiter;
use crate::oauth::registration::Metadata;
use crate::oauth::suspicion::{self, Flag};
use crate::oauth::{ClientKind, RegisteredClient, client_id, likeness};
use crate::remote::client_document::ClientDocuments;
use crate::remote::special::Reach;
use crate::store::Error;
use crate::store::authorization::Registration;

/// Bytes of an id that is looked for.
const LONGEST: usize = 1_024;
/// How long a row is taken for what it is, and how many at once.
const FRESH: Duration = Duration::from_secs(2);
const ROWS: usize = 2_000;
/// How exact the time of a client's last use is, in seconds.
const USED: u64 = 3_600;

/// Why there is no client to go on with.
#[derive(Debug)]
pub enum ClientFault {
    Unknown,
    /// Nobody has decided on it yet; holds the code to tell the operator.
    Pending(String),
    Suspended,
    Retired,
    /// Its document cannot be fetched now.
    Unreachable(&'static str),
    /// Its document, or its id, is not acceptable.
    Refused(&'static str),
    Fault(Fault),
}

impl From<Fault> for ClientFault {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Error> for ClientFault {
    fn from(error: Error) -> Self {
        Self::Fault(error.into())
    }
}

/// What is remembered of clients; bounded, and never the only place of anything.
pub(super) struct Memory {
    /// With where they may be fetched from, which the configuration may change.
    documents: Mutex<Option<(Reach, Arc<ClientDocuments>)>>,
    rows: Cache<String, (Arc<Registration>, Instant)>,
    pub(super) limiter: Limiter,
}

impl Default for Memory {
    fn default() -> Self {
        Self { documents: Mutex::default(), rows: Cache::new(ROWS), limiter: Limiter::default() }
    }
}

impl Memory {
    /// Fetches what clients publish.
    pub(super) fn documents(&self, settings: &Settings) -> Result<Arc<ClientDocuments>, Fault> {
        let reach = Reach { loopback: settings.loopback, networks: settings.networks.clone() };
        let mut held = self.documents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, documents)) = held.as_ref().filter(|(known, _)| *known == reach) {
            return Ok(documents.clone());
        }
        let documents = Arc::new(ClientDocuments::new(reach.clone()).map_err(|_| Fault::Http)?);
        *held = Some((reach, documents.clone()));
        Ok(documents)
    }

    /// What is known of a client may have changed.
    pub(super) fn forget(&self, id: &str) {
        self.rows.remove(id);
    }
}

/// A client that made itself known.
pub(super) struct Found {
    pub row: Arc<Registration>,
    pub kind: ClientKind,
    pub admission: Admission,
    /// It is as it was when its document could be fetched last.
    pub is_stale: bool,
}

impl Server {
    /// The client of this id, if it may go on.
    ///
    /// # Errors
    /// Why it may do nothing now.
    pub async fn client(&self, call: &Call<'_>, id: &str) -> Result<RegisteredClient, ClientFault> {
        if id.is_empty() || id.len() > LONGEST || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ClientFault::Unknown);
        }
        let decided = decided(call, id)?;
        if let Some(configured) = call.settings.clients.get(id) {
            return Ok(under(configured.as_ref().clone(), decided.as_ref()));
        }
        let found = match client_id::is_url(id) {
            true => self.published(call, id).await?,
            false => self.registered(call, id).await?,
        };
        self.admit(call, found, decided).await
    }

    async fn registered(&self, call: &Call<'_>, id: &str) -> Result<Found, ClientFault> {
        let row = self.row(call, id).await?.ok_or(ClientFault::Unknown)?;
        Ok(Found { row, kind: ClientKind::Registered, admission: call.settings.registration.dynamic, is_stale: false })
    }

    /// What a client that made itself known says, a moment old at most.
    pub(super) async fn row(&self, call: &Call<'_>, id: &str) -> Result<Option<Arc<Registration>>, Fault> {
        if let Some((row, _)) = self.clients.rows.get(id).filter(|(_, since)| since.elapsed() < FRESH) {
            return Ok(Some(row));
        }
        let row = call.store.registration(id).await?.map(Arc::new);
        if let Some(row) = &row {
            self.clients.rows.insert(id.to_owned(), (row.clone(), Instant::now()));
        }
        Ok(row)
    }

    async fn admit(&self, call: &Call<'_>, found: Found, decided: Option<Client>) -> Result<RegisteredClient, ClientFault> {
        let Found { row, kind, admission, is_stale } = found;
        let is_approved = decided.as_ref().is_some_and(|client| client.state == State::Approved);
        if !is_stale {
            self.note_use(call, &row).await?;
        }
        if decided.is_none() {
            self.enter(call, &row.client_id, kind).await?;
        }
        let may_go_on = is_approved || admission == Admission::Open && !self.flags(call, &row).await?.iter().any(Flag::is_held);
        if !may_go_on {
            return Err(ClientFault::Pending(key(call, &row.client_id).code()));
        }
        let secret = row.secret.as_deref().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok());
        Ok(under(row.metadata.client(&row.client_id, kind, secret, is_approved), decided.as_ref()))
    }

    /// Into the inventory, where it waits for a decision. Not at its registration: whoever only registers keeps nobody waiting.
    async fn enter(&self, call: &Call<'_>, id: &str, kind: ClientKind) -> Result<(), Fault> {
        let source = if kind == ClientKind::Document { Source::Document } else { Source::Registered };
        let seen = Client { source, ..Client::seen(key(call, id), call.now) };
        Ok(call.store.saw_client(&seen).await?)
    }

    async fn note_use(&self, call: &Call<'_>, row: &Registration) -> Result<(), Fault> {
        if row.used.is_some_and(|used| used + USED > call.now) {
            return Ok(());
        }
        call.store.used_registration(&row.client_id, call.now, call.now + call.settings.registration.keep.as_secs()).await?;
        self.clients.forget(&row.client_id);
        Ok(())
    }

    /// What is odd about a client, beside those that somebody approved.
    pub(super) async fn flags(&self, call: &Call<'_>, row: &Registration) -> Result<Vec<Flag>, Fault> {
        let name = row.metadata.name();
        let alike = call.store.registrations_like(&name).await?;
        let is_other = |other: &&Registration| {
            let approved = standing(call, &other.client_id).is_some_and(|client| client.state == State::Approved);
            other.client_id != row.client_id && approved
        };
        let fold = likeness::fold(&name);
        let configured = call.settings.clients.values().filter(|client| likeness::fold(&client.name) == fold).map(|client| Metadata {
            client_name: Some(client.name.clone()),
            redirect_uris: client.redirect_uris.clone(),
            ..Metadata::default()
        });
        let others: Vec<Metadata> = alike.iter().filter(is_other).map(|other| other.metadata.clone()).chain(configured).collect();
        Ok(suspicion::flags(&row.metadata, &others))
    }
}

pub(super) fn key(call: &Call<'_>, id: &str) -> Key {
    Key { issuer: call.settings.issuer.to_string(), id: id.to_owned() }
}

/// What the inventory holds of a client.
pub(super) fn standing(call: &Call<'_>, id: &str) -> Option<Client> {
    call.world.clients.as_ref()?.find(&key(call, id))
}

/// The same, where it does not refuse the client.
fn decided(call: &Call<'_>, id: &str) -> Result<Option<Client>, ClientFault> {
    let Some(client) = standing(call, id) else { return Ok(None) };
    match client.state {
        State::Suspended => Err(ClientFault::Suspended),
        State::Retired => Err(ClientFault::Retired),
        State::Approved if client.terms.expires.is_some_and(|expires| expires <= call.now) => Err(ClientFault::Suspended),
        State::Pending | State::Approved => Ok(Some(client)),
    }
}

/// With the scopes that somebody approved, where they are fewer.
fn under(client: RegisteredClient, decided: Option<&Client>) -> RegisteredClient {
    let Some(Client { state: State::Approved, terms: Terms { scopes: Some(ceiling), .. }, .. }) = decided else { return client };
    let scope = match &client.scope {
        Some(own) => own.iter().filter(|scope| ceiling.contains(scope)).cloned().collect(),
        None => ceiling.clone(),
    };
    RegisteredClient { scope: Some(scope), ..client }
}

#[cfg(test)]
mod tests;
