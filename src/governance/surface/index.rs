//! Which keys of which issuer count now? In memory, as the store is; asked whenever a set is fetched or a decision comes in.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Drift;
use super::keys::{Acceptance, IssuerKey, KeyState, Settled, Shown, settle, shown};
use crate::token::{Key, KeySet};

/// What is known of the keys of every issuer.
#[derive(Debug, Default)]
pub struct IssuerKeys {
    known: RwLock<Known>,
    /// Another after each change: whoever has judged by an earlier one judges again.
    generation: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    /// By issuer identifier and thumbprint.
    keys: HashMap<String, BTreeMap<String, IssuerKey>>,
    /// By issuer identifier; others believe at once.
    acceptance: HashMap<String, Acceptance>,
}

impl IssuerKeys {
    /// What the configuration says of each issuer's new keys.
    pub fn govern(&self, acceptance: impl Iterator<Item = (String, Acceptance)>) {
        let acceptance = acceptance.collect();
        let mut known = self.write();
        if known.acceptance != acceptance {
            known.acceptance = acceptance;
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    pub fn acceptance(&self, issuer: &str) -> Acceptance {
        self.read().acceptance.get(issuer).copied().unwrap_or_default()
    }

    /// Takes in a key as the store has it.
    pub fn apply(&self, key: IssuerKey) {
        self.write().keys.entry(key.issuer.clone()).or_default().insert(key.thumbprint.clone(), key);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Takes in a set that was fetched, before it counts. The store has the last word: see [`Self::apply`].
    pub fn see(&self, issuer: &str, set: &KeySet, now: u64) -> Settled {
        let mut known = self.write();
        let acceptance = known.acceptance.get(issuer).copied().unwrap_or_default();
        let keys = known.keys.entry(issuer.to_owned()).or_default();
        let before: Vec<IssuerKey> = keys.values().cloned().collect();
        let settled = settle(issuer, &before, &shown(set), acceptance, now);
        for thumbprint in &settled.forgotten {
            keys.remove(thumbprint);
        }
        keys.extend(settled.changed.iter().map(|key| (key.thumbprint.clone(), key.clone())));
        if !settled.is_empty() {
            self.generation.fetch_add(1, Ordering::Release);
        }
        settled
    }

    /// What a set that was taken in here is to change in the store, which has `known`. `drifts` are those that [`Self::see`] found
    /// since anything was written.
    ///
    /// What was seen may have been seen before it could be written down: a hold began then, and the set that is believed is the
    /// first that was seen, not the first that is written.
    pub fn written(&self, issuer: &str, known: &[IssuerKey], set: &[Shown], drifts: &[Drift], now: u64) -> Settled {
        let mut settled = settle(issuer, known, set, self.acceptance(issuer), now);
        let is_first = known.is_empty();
        if is_first {
            settled.drifts = drifts.to_vec();
        }
        let here = self.read();
        for key in &mut settled.changed {
            let here = here.keys.get(issuer).and_then(|keys| keys.get(&key.thumbprint));
            let Some(here) = here.filter(|here| here.state == KeyState::Held && here.gone.is_none()) else { continue };
            if is_first {
                // SECURITY: a key that came after the first set is new, however little later.
                key.state = KeyState::Held;
            }
            if key.state == KeyState::Held {
                key.since = key.since.min(here.since);
            }
        }
        settled
    }

    /// The keys of a set that may verify.
    pub fn usable(&self, issuer: &str, set: &Arc<KeySet>) -> Arc<KeySet> {
        let known = self.read();
        let acceptance = known.acceptance.get(issuer).copied().unwrap_or_default();
        let keys = known.keys.get(issuer);
        let counts = |key: &Key| {
            let state = keys.and_then(|keys| keys.get(&URL_SAFE_NO_PAD.encode(key.thumbprint()))).map(|key| key.state);
            // SECURITY: where new keys are held, one that nobody knows is held.
            match (state, acceptance) {
                (Some(KeyState::Rejected), _) => false,
                (Some(KeyState::Accepted), _) | (_, Acceptance::Immediately) => true,
                (Some(KeyState::Held) | None, _) => false,
            }
        };
        if set.keys().iter().all(|key| counts(key)) { set.clone() } else { Arc::new(set.only(counts)) }
    }

    /// Whether a key waits for a time or a decision.
    pub fn is_held(&self, issuer: &str, key: &Key) -> bool {
        let known = self.read();
        let state = known.keys.get(issuer).and_then(|keys| keys.get(&URL_SAFE_NO_PAD.encode(key.thumbprint()))).map(|key| key.state);
        state == Some(KeyState::Held)
    }

    /// Keys whose time on hold is over.
    pub fn due(&self, now: u64) -> Vec<IssuerKey> {
        let known = self.read();
        let acceptance = |key: &IssuerKey| known.acceptance.get(&key.issuer).copied();
        let is_due = |key: &&IssuerKey| acceptance(key).is_some_and(|acceptance| key.is_due(acceptance, now));
        known.keys.values().flat_map(BTreeMap::values).filter(is_due).cloned().collect()
    }

    /// How many keys of an issuer are published and on hold.
    pub fn held(&self, issuer: &str) -> usize {
        let is_held = |key: &&IssuerKey| key.state == KeyState::Held && key.gone.is_none();
        self.read().keys.get(issuer).map_or(0, |keys| keys.values().filter(is_held).count())
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}
