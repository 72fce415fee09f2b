//! Which counters does a request touch? Found once for each kind of request, and then by a few numbers.
//!
//! Looking labels up hashes every label's text and takes a lock for each metric; here a request costs one look-up
//! without a lock. Knows no request; strangers cannot make it grow.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use prometheus::{Histogram, IntCounter, IntCounterVec};

use crate::event::{Event, Outcome};

/// Kinds of requests that are remembered; more would come from nowhere, and are looked up each time.
const KINDS: usize = 8_192;

/// The counters of one kind of request.
pub struct Series {
    pub requests: IntCounter,
    pub duration: Histogram,
    pub overhead: Histogram,
    /// For tool calls.
    pub tools: Option<Arc<Tools>>,
    /// INVARIANT: held so that no other text can come to lie where the key points.
    _upstream: Option<Arc<str>>,
}

impl Series {
    pub fn new(event: &Event, requests: IntCounter, duration: Histogram, overhead: Histogram, tools: Option<Arc<Tools>>) -> Self {
        Self { requests, duration, overhead, tools, _upstream: event.upstream.clone() }
    }
}

/// A kind of request, by where its texts lie. The same text may lie in two places: then two keys share one series.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    upstream: (usize, usize),
    operation: (usize, usize),
    reason: (usize, usize),
    outcome: usize,
}

impl Key {
    fn of(event: &Event) -> Self {
        let place = |text: &str| (text.as_ptr().addr(), text.len());
        Self {
            upstream: event.upstream.as_deref().map_or((0, 0), place),
            operation: place(event.operation),
            reason: place(event.reason),
            outcome: event.outcome as usize,
        }
    }
}

/// The series of every kind of request so far.
#[derive(Default)]
pub struct Known(ArcSwap<HashMap<Key, Arc<Series>, BuildHasherDefault<Mix>>>);

impl Known {
    /// Uses the series of this request, made by `make` where its kind is new.
    pub fn with(&self, event: &Event, make: impl FnOnce() -> Series, then: impl FnOnce(&Series)) {
        let key = Key::of(event);
        if let Some(series) = self.0.load().get(&key) {
            return then(series);
        }
        let series = Arc::new(make());
        if self.0.load().len() < KINDS {
            self.0.rcu(|known| {
                let mut next = HashMap::clone(known);
                next.insert(key, series.clone());
                next
            });
        }
        then(&series);
    }

    /// Lets go of the names of an old configuration. The counters themselves stay.
    pub fn forget(&self) {
        self.0.store(Arc::default());
    }
}

/// Mixes a few addresses; nobody outside chooses them.
#[derive(Default)]
pub struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, value: usize) {
        self.0 = (self.0.rotate_left(26) ^ value as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// The tools of one upstream that have a label of their own, and one label for all others.
#[derive(Default)]
pub struct Tools {
    known: ArcSwap<HashMap<String, Arc<Calls>>>,
    other: Calls,
}

/// Calls of one tool by outcome; a series begins with its first call.
type Calls = [OnceLock<IntCounter>; Outcome::ALL.len()];

impl Tools {
    /// Takes names as labels, as long as there are fewer than `most`.
    pub fn learn<'a>(&self, names: impl Iterator<Item = &'a str>, most: usize) {
        let known = self.known.load();
        let fresh: Vec<&str> = names.filter(|name| !known.contains_key(*name)).take(most).collect();
        if fresh.is_empty() || known.len() >= most {
            return;
        }
        self.known.rcu(|known| {
            let mut next = HashMap::clone(known);
            for name in &fresh {
                if next.len() < most && !next.contains_key(*name) {
                    next.insert((*name).to_owned(), Arc::default());
                }
            }
            next
        });
    }

    /// Counts one call.
    pub fn count(&self, upstream: &str, tool: Option<&str>, outcome: Outcome, all: &IntCounterVec) {
        let known = self.known.load();
        let (tool, calls) = tool.and_then(|tool| known.get_key_value(tool)).map_or(("other", &self.other), |(tool, calls)| (tool, calls));
        if let Some(calls) = calls.get(outcome as usize) {
            calls.get_or_init(|| all.with_label_values(&[upstream, tool, outcome.as_str()])).inc();
        }
    }
}
