//! Clients whose id is the address of a document about them (Client ID Metadata Document), and keys that clients publish.
//!
//! What was fetched is also kept in the store: for whoever decides on the client, for other replicas, and for the time when its
//! host does not answer. A host that answers otherwise is believed.

use std::sync::Arc;
use std::time::Duration;

use super::clients::Found;
use super::{Call, ClientFault, Fault, Server};
use crate::config::registration::Admission;
use crate::oauth::client_id::DocumentUrl;
use crate::oauth::registration::Metadata;
use crate::oauth::{ClientKeys, ClientKind};
use crate::remote::client_document::{ClientDocuments, DocumentError};
use crate::route::Rate;
use crate::store::authorization::{Added, Registration};
use crate::token::KeySet;

/// Fetches of one host, whoever asks for them: no one is flooded by way of us.
const RATE: Rate = Rate { count: 60, per: Duration::from_secs(60) };
/// The same of one client that is known.
const KNOWN: Rate = Rate { count: 10, per: Duration::from_secs(60) };
/// How long after its last use a client may go on while its host does not answer, in seconds.
const STALE: u64 = 24 * 3_600;

impl Server {
    /// The client that publishes a document at this address.
    pub(super) async fn published(&self, call: &Call<'_>, id: &str) -> Result<Found, ClientFault> {
        let settings = &call.settings.registration;
        if settings.documents == Admission::Off {
            return Err(ClientFault::Refused("clients that publish a document are not let in here"));
        }
        let url = DocumentUrl::parse(id, settings.loopback).map_err(|fault| ClientFault::Refused(fault.text()))?;
        if !settings.trusts(url.host()) {
            return Err(ClientFault::Refused("documents of this host are not taken here"));
        }
        let documents = self.clients.documents(settings)?;
        let (row, is_stale) = match self.document(call, &documents, &url).await? {
            Ok(metadata) => (self.keep(call, id, &metadata).await?, false),
            Err(Some(error)) if !error.is_passing() => {
                tracing::info!(client = id, %error, "the document of a client is refused");
                // SECURITY: or whoever makes us ask too often would be let in as it was before.
                if self.row(call, id).await?.is_some_and(|row| row.used.is_some()) {
                    call.store.disuse_registration(id).await?;
                    self.clients.forget(id);
                }
                return Err(ClientFault::Refused(words(&error)));
            }
            Err(error) => {
                let why = error.as_ref().map_or("its host was asked too often", words);
                let row = self.row(call, id).await?.filter(|row| row.used.is_some_and(|used| used + STALE > call.now));
                (row.ok_or(ClientFault::Unreachable(why))?, true)
            }
        };
        Ok(Found { row, kind: ClientKind::Document, admission: settings.documents, is_stale })
    }

    /// No error where the host may not be asked again so soon. SECURITY: a client that is known has a budget of its own, so that
    /// nobody uses its host's up by asking for what is not there.
    async fn document(
        &self,
        call: &Call<'_>,
        documents: &ClientDocuments,
        url: &DocumentUrl,
    ) -> Result<Result<Arc<Metadata>, Option<DocumentError>>, Fault> {
        if let Some(metadata) = documents.held(url) {
            return Ok(Ok(metadata));
        }
        let id = url.url().as_str();
        let admitted = match self.row(call, id).await? {
            Some(_) => self.clients.limiter.admit(("client", id), KNOWN),
            None => self.clients.limiter.admit(("document", url.host()), RATE),
        };
        Ok(match admitted {
            Ok(()) => documents.get(url).await.map_err(Some),
            Err(_) => Err(None),
        })
    }

    async fn keep(&self, call: &Call<'_>, id: &str, metadata: &Metadata) -> Result<Arc<Registration>, ClientFault> {
        if let Some(row) = self.row(call, id).await? {
            if row.metadata == *metadata {
                return Ok(row);
            }
            call.store.replace_registration(id, metadata, call.now).await?;
            self.clients.forget(id);
            return Ok(Arc::new(Registration { metadata: metadata.clone(), changed: call.now, ..row.as_ref().clone() }));
        }
        let now = call.now;
        self.pace(call, "document").map_err(|_| ClientFault::Unreachable("too many clients made themselves known just now"))?;
        let (client_id, metadata) = (id.to_owned(), metadata.clone());
        let new = Registration { client_id, metadata, secret: None, management: None, created: now, changed: now, used: None };
        match self.add(call, &new).await? {
            Added::New | Added::Known => Ok(Arc::new(new)),
            Added::Full => Err(ClientFault::Unreachable("too many clients wait for a decision here")),
        }
    }

    /// The keys that a client signs with. A set at its own address that is not `wanted`, for want of a key, is fetched anew.
    ///
    /// # Errors
    /// There are none, or none can be had now.
    pub(super) async fn client_keys(
        &self,
        call: &Call<'_>,
        keys: &ClientKeys,
        wanted: impl Fn(&KeySet) -> bool,
    ) -> Result<Arc<KeySet>, ClientFault> {
        let place = match keys {
            ClientKeys::Inline(set) => {
                let set = KeySet::parse(set.to_string().as_bytes()).map_err(|_| ClientFault::Refused("its keys cannot be read"))?;
                return Ok(Arc::new(set));
            }
            ClientKeys::At(place) => place,
        };
        let documents = self.clients.documents(&call.settings.registration)?;
        let host = url::Url::parse(place).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        if !documents.holds_keys(place) && self.clients.limiter.admit(("document", host), RATE).is_err() {
            return Err(ClientFault::Unreachable("its host was asked too often"));
        }
        documents.keys(place, wanted).await.map_err(|error| {
            tracing::info!(place, %error, "the keys of a client cannot be fetched");
            ClientFault::Unreachable("its keys cannot be fetched")
        })
    }
}

/// For a person who cannot go on.
fn words(error: &DocumentError) -> &'static str {
    match error {
        DocumentError::Fetch(crate::remote::FetchError::Special) => "its document is at an address where nothing is fetched for others",
        DocumentError::Fetch(_) => "its document cannot be fetched",
        DocumentError::Document(fault) => fault.text(),
    }
}
