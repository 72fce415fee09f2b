//! The life of an issuer's key: seen, perhaps held, accepted or rejected, vanished, returned.
//!
//! The keys of an issuer that is seen for the first time are believed; every later one is new. A key is known by its
//! thumbprint (RFC 7638), for its id is the issuer's to choose and to give to another.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Drift, Kind, cut};
use crate::token::KeySet;

/// Keys of one issuer that are remembered; of more, those that vanished longest ago are forgotten, but never a rejected one.
const REMEMBERED: usize = 200;

/// What becomes of a key that an issuer publishes anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acceptance {
    #[default]
    Immediately,
    /// It verifies nothing until then, or until somebody approves it.
    After(Duration),
    /// It verifies nothing until somebody approves it.
    Approved,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    Accepted,
    /// Verifies nothing for now.
    Held,
    /// Verifies nothing, however often it is published.
    Rejected,
}

impl KeyState {
    pub const ALL: [Self; 3] = [Self::Accepted, Self::Held, Self::Rejected];

    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Held => "held",
            Self::Rejected => "rejected",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What is known of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerKey {
    /// The issuer identifier.
    pub issuer: String,
    /// In base64url.
    pub thumbprint: String,
    /// Its ids, with a space between; none is empty.
    pub kid: String,
    /// What it may verify, with a space between.
    pub algorithms: String,
    pub state: KeyState,
    /// When it was seen first, or its hold began anew; in seconds since 1970.
    pub since: u64,
    /// When it was found to be gone.
    pub gone: Option<u64>,
}

impl IssuerKey {
    /// Whether its time on hold is over.
    pub fn is_due(&self, acceptance: Acceptance, now: u64) -> bool {
        let held = match acceptance {
            Acceptance::Immediately => Duration::ZERO,
            Acceptance::After(held) => held,
            Acceptance::Approved => return false,
        };
        // SECURITY: a key that was shown and withdrawn does not wait out its time unseen.
        self.state == KeyState::Held && self.gone.is_none() && now >= self.since.saturating_add(held.as_secs())
    }

    /// For records: the id that people know, and the thumbprint that tells it from all others.
    pub fn label(&self) -> String {
        label(&self.kid, &self.thumbprint)
    }
}

/// A key as a set shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub thumbprint: String,
    pub kid: String,
    pub algorithms: String,
}

/// The keys of a set, each once, in the order of their thumbprints.
pub fn shown(set: &KeySet) -> Vec<Shown> {
    let mut all: BTreeMap<String, (BTreeSet<&str>, BTreeSet<&str>)> = BTreeMap::new();
    for key in set.keys() {
        let (kids, algorithms) = all.entry(URL_SAFE_NO_PAD.encode(key.thumbprint())).or_default();
        kids.extend(key.kid());
        algorithms.extend(key.algorithms().map(|algorithm| algorithm.as_str()));
    }
    let join = |words: BTreeSet<&str>| cut(&words.into_iter().collect::<Vec<_>>().join(" "));
    let show = |(thumbprint, (kids, algorithms))| Shown { thumbprint, kid: join(kids), algorithms: join(algorithms) };
    all.into_iter().map(show).collect()
}

/// What a fetched set changes in what is known of an issuer's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// As they are from now on.
    pub changed: Vec<IssuerKey>,
    /// Thumbprints of those that nobody remembers any more.
    pub forgotten: Vec<String>,
    pub drifts: Vec<Drift>,
}

impl Settled {
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.forgotten.is_empty()
    }
}

/// Holds a set against what is known of its issuer's keys.
pub fn settle(issuer: &str, known: &[IssuerKey], set: &[Shown], acceptance: Acceptance, now: u64) -> Settled {
    let mut settled = Settled::default();
    for shown in set {
        match known.iter().find(|key| key.thumbprint == shown.thumbprint) {
            Some(before) => settled.meet(before, shown, now),
            None => {
                let is_first = known.is_empty();
                let state = if is_first || acceptance == Acceptance::Immediately { KeyState::Accepted } else { KeyState::Held };
                let Shown { thumbprint, kid, algorithms } = shown.clone();
                let key = IssuerKey { issuer: issuer.to_owned(), thumbprint, kid, algorithms, state, since: now, gone: None };
                if !is_first {
                    settled.drift(Kind::NewKey, format!("key {}", key.label()), state == KeyState::Held);
                }
                settled.changed.push(key);
            }
        }
    }
    let is_gone = |key: &&IssuerKey| key.gone.is_none() && !set.iter().any(|shown| shown.thumbprint == key.thumbprint);
    for key in known.iter().filter(is_gone) {
        settled.drift(Kind::VanishedKey, format!("key {}", key.label()), false);
        settled.changed.push(IssuerKey { gone: Some(now), ..key.clone() });
    }
    settled.forget(known);
    settled
}

impl Settled {
    /// A key that is known.
    fn meet(&mut self, before: &IssuerKey, shown: &Shown, now: u64) {
        let mut key = before.clone();
        let on_hold = key.state != KeyState::Accepted;
        if key.gone.take().is_some() {
            if key.state == KeyState::Held {
                key.since = now;
            }
            self.drift(Kind::ReturnedKey, format!("key {}", key.label()), on_hold);
        }
        if key.kid != shown.kid {
            self.drift(Kind::RenamedKey, format!("key {} is now {}", key.label(), label(&shown.kid, &shown.thumbprint)), on_hold);
            key.kid.clone_from(&shown.kid);
        }
        if key.algorithms != shown.algorithms {
            let had: Vec<&str> = before.algorithms.split(' ').collect();
            let wider: Vec<&str> = shown.algorithms.split(' ').filter(|name| !had.contains(name)).collect();
            if !wider.is_empty() {
                self.drift(Kind::Algorithms, format!("key {} also verifies {}", key.label(), wider.join(" ")), on_hold);
            }
            key.algorithms.clone_from(&shown.algorithms);
        }
        if key != *before {
            self.changed.push(key);
        }
    }

    fn drift(&mut self, kind: Kind, what: String, on_hold: bool) {
        self.drifts.push(Drift { kind, what: cut(&what), on_hold });
    }

    fn forget(&mut self, known: &[IssuerKey]) {
        let fresh = self.changed.iter().filter(|key| !known.iter().any(|before| before.thumbprint == key.thumbprint)).count();
        let excess = (known.len() + fresh).saturating_sub(REMEMBERED);
        let is_back = |key: &IssuerKey| self.changed.iter().any(|now| now.thumbprint == key.thumbprint && now.gone.is_none());
        let mut gone: Vec<(u64, &IssuerKey)> =
            known.iter().filter(|key| key.state != KeyState::Rejected && !is_back(key)).filter_map(|key| Some((key.gone?, key))).collect();
        gone.sort_by_key(|(since, _)| *since);
        self.forgotten = gone.into_iter().take(excess).map(|(_, key)| key.thumbprint.clone()).collect();
    }
}

/// Shortened, for people: whoever decides names a key by what means one alone.
fn label(kid: &str, thumbprint: &str) -> String {
    let short: String = thumbprint.chars().take(8).collect();
    if kid.is_empty() { format!("without id ({short})") } else { format!("{kid} ({short})") }
}
