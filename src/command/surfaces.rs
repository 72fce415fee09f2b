//! Watches what issuers publish: writes each version down, tells of drift by log, audit record and metric, and ends holds
//! whose time is over.
//!
//! Beside the requests: what was fetched counts, or is held, before it comes here. With the store away nothing is
//! accepted, and what was seen meanwhile is written when it is back.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::audit::Audit;
use crate::event::{Act, Outcome};
use crate::governance::surface::{Drift, Summary, differences, shown};
use crate::governance::{IssuerKey, KeyState};
use crate::metrics::Metrics;
use crate::remote::surfaces::{Document, Sighting, Surfaces};
use crate::state::{Snapshot, State};
use crate::store::{Error, Reason, Store, SurfaceKind, Version};
use crate::token::KeySet;

/// Between two looks for holds that are over.
const TICK: Duration = Duration::from_secs(1);

/// Begins, on the current runtime, for as long as that lives.
pub fn start(state: Arc<State>, metrics: Metrics, audit: Audit) {
    let watch = Watch { state, metrics, audit, pending: BTreeMap::new(), documents: HashMap::new(), failing: false };
    tokio::spawn(watch.follow());
}

struct Watch {
    state: Arc<State>,
    metrics: Metrics,
    audit: Audit,
    /// Seen, and not written yet; by issuer identifier.
    pending: BTreeMap<Arc<str>, Sighting>,
    /// What documents said last, where there is no store.
    documents: HashMap<Arc<str>, Summary>,
    failing: bool,
}

impl Watch {
    async fn follow(mut self) {
        let surfaces = self.state.current().issuers.surfaces().clone();
        loop {
            let _ = tokio::time::timeout(TICK, surfaces.news()).await;
            for (issuer, sighting) in surfaces.take() {
                self.pending.entry(issuer).or_default().follow(sighting);
            }
            match self.state.store().cloned() {
                Some(store) => self.write_all(&store, &surfaces).await,
                None => self.tell_all(),
            }
            for (name, issuer) in watched(&self.state.current()) {
                self.metrics.issuer_keys_held(&name, surfaces.keys.held(&issuer));
            }
        }
    }

    async fn write_all(&mut self, store: &Store, surfaces: &Surfaces) {
        let mut failed = None;
        for (issuer, mut sighting) in std::mem::take(&mut self.pending) {
            if let Err(error) = self.write(store, surfaces, &issuer, &mut sighting).await {
                failed = Some(error);
                self.pending.insert(issuer, sighting);
            }
        }
        if failed.is_none() {
            failed = self.release(store, surfaces).await.err();
        }
        if let Some(error) = &failed
            && !self.failing
        {
            tracing::warn!(%error, "what issuers publish cannot be written down; no new key is accepted meanwhile");
        }
        self.failing = failed.is_some();
    }

    /// What was written is taken out of the sighting.
    async fn write(&self, store: &Store, surfaces: &Surfaces, issuer: &Arc<str>, sighting: &mut Sighting) -> Result<(), Error> {
        if let Some(Document { digest, summary }) = &sighting.document {
            let text = json!(summary).to_string();
            let version = Version { issuer, kind: SurfaceKind::Metadata, digest, summary: &text, now: now() };
            if let Some(Some(before)) = store.saw_document(&version).await? {
                let before = serde_json::from_str(&before).unwrap_or_default();
                differences(&before, summary).iter().for_each(|drift| self.tell(issuer, drift));
            }
            sighting.document = None;
        }
        if let Some(set) = &sighting.keys {
            let (text, set_shown, now) = (described(set), shown(set), now());
            let version = Version { issuer, kind: SurfaceKind::Keys, digest: set.digest(), summary: &text, now };
            let settled = |known: &[IssuerKey]| surfaces.keys.written(issuer, known, &set_shown, &sighting.drifts, now);
            let settled = store.saw_keys(&version, settled).await?;
            settled.changed.into_iter().for_each(|key| surfaces.keys.apply(key));
            settled.drifts.iter().for_each(|drift| self.tell(issuer, drift));
            (sighting.keys, sighting.drifts) = (None, Vec::new());
        }
        Ok(())
    }

    /// Ends holds whose time is over. SECURITY: in the store first, so that with it away a held key stays held.
    async fn release(&self, store: &Store, surfaces: &Surfaces) -> Result<(), Error> {
        let now = now();
        let reason = Reason { text: "its time on hold is over", actor: "doorward", made: now };
        for key in surfaces.keys.due(now) {
            let acceptance = surfaces.keys.acceptance(&key.issuer);
            let id = (key.issuer.as_str(), key.thumbprint.as_str());
            let decided = store.decide_key(id, KeyState::Accepted, |key| !key.is_due(acceptance, now), &reason).await?;
            if let Some((_, key)) = decided {
                tracing::info!(issuer = key.issuer, key = key.label(), "a new key counts from now on: its time on hold is over");
                self.act(
                    "admin/key_accept",
                    format!("key {} of {}", key.label(), key.issuer),
                    Outcome::Answered,
                    reason.text,
                    reason.actor,
                );
                surfaces.keys.apply(key);
            }
        }
        Ok(())
    }

    /// Without a store changes are known for as long as the process lives.
    fn tell_all(&mut self) {
        for (issuer, Sighting { keys: _, document, drifts }) in std::mem::take(&mut self.pending) {
            drifts.iter().for_each(|drift| self.tell(&issuer, drift));
            let Some(Document { summary, .. }) = document else { continue };
            if let Some(before) = self.documents.insert(issuer.clone(), summary.clone()) {
                differences(&before, &summary).iter().for_each(|drift| self.tell(&issuer, drift));
            }
        }
    }

    fn tell(&self, issuer: &str, Drift { kind, what, on_hold }: &Drift) {
        if let Some((name, _)) = watched(&self.state.current()).find(|(_, one)| one == issuer) {
            self.metrics.issuer_drift(&name, *kind);
        }
        tracing::warn!(issuer, kind = kind.name(), on_hold, "an issuer publishes something else than before: {}", what.escape_debug());
        let outcome = if *on_hold { Outcome::Refused } else { Outcome::Answered };
        self.act("admin/drift", format!("{what} of {issuer}"), outcome, kind.name(), issuer);
    }

    fn act(&self, operation: &'static str, name: String, outcome: Outcome, reason: &str, actor: &str) {
        let (reason, actor) = (reason.to_owned(), actor.to_owned());
        let act = Act { id: None, time: SystemTime::now(), upstream: None, operation, name: Some(name), outcome, reason, actor };
        if self.audit.act(act).is_err() {
            tracing::error!(operation, "a change at an issuer cannot be recorded");
        }
    }
}

/// Whose keys are watched: their names for metrics, and what they are remembered by.
fn watched(world: &Snapshot) -> impl Iterator<Item = (String, String)> {
    let issuers = world.issuers.iter().map(|(rules, _)| (rules.name.clone(), rules.issuer.to_string()));
    issuers.chain(world.transmitters.surfaces().map(|(name, surface)| (format!("signals.{name}"), surface)))
}

/// A set as it is kept: which key, by which id, for what.
fn described(set: &KeySet) -> String {
    let key =
        |key: crate::governance::surface::Shown| json!({ "kid": key.kid, "thumbprint": key.thumbprint, "algorithms": key.algorithms });
    Value::from(shown(set).into_iter().map(key).collect::<Vec<_>>()).to_string()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
