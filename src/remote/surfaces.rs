//! What was fetched of issuers and nobody has looked at yet: the latest key set and the latest document of each.
//!
//! A key set is held against what is known of the issuer's keys before it counts. Writing it down is for whoever
//! takes it from here; nothing that is fetched waits for that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};
use tokio::sync::Notify;

use crate::governance::IssuerKeys;
use crate::governance::surface::{self, Drift, Summary};
use crate::token::KeySet;

/// Changes of one issuer that wait to be told, where nobody writes them down.
const WAITING: usize = 256;

/// What issuers publish, and what of it counts. One for the life of the process.
#[derive(Debug, Default)]
pub struct Surfaces {
    pub keys: Arc<IssuerKeys>,
    /// By issuer identifier.
    fresh: Mutex<BTreeMap<Arc<str>, Sighting>>,
    news: Notify,
}

/// What was last fetched of one issuer.
#[derive(Clone, Debug, Default)]
pub struct Sighting {
    pub keys: Option<Arc<KeySet>>,
    pub document: Option<Document>,
    /// How keys changed, as far as this process knows.
    pub drifts: Vec<Drift>,
}

/// A metadata document.
#[derive(Clone, Debug)]
pub struct Document {
    /// SHA-256 of its text.
    pub digest: [u8; 32],
    pub summary: Summary,
}

impl Sighting {
    /// With what was seen later.
    pub fn follow(&mut self, later: Self) {
        let Self { keys, document, drifts } = later;
        self.keys = keys.or(self.keys.take());
        self.document = document.or(self.document.take());
        self.drifts.extend(drifts);
        self.drifts.truncate(WAITING);
    }
}

impl Surfaces {
    /// Takes in a key set, before it counts.
    pub(super) fn see_keys(&self, issuer: &Arc<str>, set: &Arc<KeySet>) {
        let drifts = self.keys.see(issuer, set, now()).drifts;
        self.note(issuer, Sighting { keys: Some(set.clone()), drifts, document: None });
    }

    /// Takes in a metadata document that is the issuer's own.
    pub(super) fn see_document(&self, issuer: &Arc<str>, text: &[u8], document: &Map<String, Value>) {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text).as_ref().try_into().unwrap_or_default();
        let document = Some(Document { digest, summary: surface::summary(document) });
        self.note(issuer, Sighting { document, ..Sighting::default() });
    }

    /// What was fetched since the last call.
    pub fn take(&self) -> BTreeMap<Arc<str>, Sighting> {
        std::mem::take(&mut *self.fresh())
    }

    /// Returns when there is something to take.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    fn note(&self, issuer: &Arc<str>, sighting: Sighting) {
        self.fresh().entry(issuer.clone()).or_default().follow(sighting);
        self.news.notify_one();
    }

    fn fresh(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Sighting>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
