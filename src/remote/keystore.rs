//! Which keys does one issuer sign with now? Read without a lock, refreshed behind the request's back.
//!
//! A rotation is never a false no: a token with an unknown key waits for the fetch that is under way
//! or may begin, and only then is refused. An outage is served from the last good set, for a time.
//! Knows nothing of tokens; where keys come from is the origin's affair.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::pace::{Outcome, Pace, Reason, Start};
use super::{FetchError, Surfaces};
use crate::config::KeyTimes;
use crate::token::{Algorithm, Error, KeySet};

/// How long keys that nobody asked for may be past their time before a request waits for new ones,
/// so that a withdrawn key is not honoured after a quiet night.
const IDLE_GRACE: Duration = Duration::from_secs(5);

/// What a key set comes from. A fetch is bounded in time by its origin.
pub(super) trait Origin: Send + Sync {
    fn fetch(&self) -> BoxFuture<'_, Result<KeySet, FetchError>>;
}

/// The live keys of one issuer.
pub struct KeyStore {
    name: String,
    /// None where the keys are a file, read with the configuration.
    origin: Option<Box<dyn Origin>>,
    /// Without one every key counts.
    gate: Option<Gate>,
    times: KeyTimes,
    held: ArcSwap<Held>,
    pace: Mutex<Pace>,
    /// When the fetch began that ended last.
    landed: watch::Sender<Option<Instant>>,
    counts: Counts,
}

/// Says which keys of a fetched set count.
pub(super) struct Gate {
    /// The issuer identifier.
    pub issuer: Arc<str>,
    pub surfaces: Arc<Surfaces>,
}

/// What is known, replaced whole.
#[derive(Clone, Default)]
struct Held {
    /// What was fetched.
    all: Option<Arc<KeySet>>,
    /// Those of them that count.
    keys: Option<Arc<KeySet>>,
    /// Of what is known of the issuer's keys, by which that was judged.
    generation: u64,
    /// When `keys` were fetched.
    fetched: Option<Instant>,
    /// When the last fetch ended, well or not.
    tried: Option<Instant>,
}

#[derive(Default)]
struct Counts {
    ok: AtomicU64,
    unchanged: AtomicU64,
    failed: AtomicU64,
}

/// How many fetches ended how, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchCounts {
    /// Brought other keys than before.
    pub ok: u64,
    /// Brought the same keys.
    pub unchanged: u64,
    pub failed: u64,
}

impl KeyStore {
    /// `name` is the issuer's key in the configuration.
    pub(super) fn new(name: &str, origin: Box<dyn Origin>, times: KeyTimes) -> Arc<Self> {
        Self::with(name, Some(origin), None, times, Held::default())
    }

    /// The same for keys of which not each counts as soon as it is published.
    pub(super) fn gated(name: &str, origin: Box<dyn Origin>, gate: Gate, times: KeyTimes) -> Arc<Self> {
        Self::with(name, Some(origin), Some(gate), times, Held::default())
    }

    /// Keys that never change while this store lives.
    pub fn fixed(name: &str, keys: KeySet) -> Arc<Self> {
        let now = Some(Instant::now());
        let keys = Some(Arc::new(keys));
        Self::with(name, None, None, KeyTimes::default(), Held { all: keys.clone(), keys, generation: 0, fetched: now, tried: now })
    }

    /// Keys of our own, which are told by [`Self::publish`].
    pub fn own(name: &str) -> Arc<Self> {
        Self::with(name, None, None, KeyTimes::default(), Held::default())
    }

    /// The keys to judge by from now on, in a store that fetches none.
    pub fn publish(&self, keys: KeySet) {
        let now = Some(Instant::now());
        let keys = Some(Arc::new(keys));
        self.held.store(Arc::new(Held { all: keys.clone(), keys, generation: 0, fetched: now, tried: now }));
    }

    fn with(name: &str, origin: Option<Box<dyn Origin>>, gate: Option<Gate>, times: KeyTimes, held: Held) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            origin,
            gate,
            times,
            held: ArcSwap::from_pointee(held),
            pace: Mutex::new(Pace::new(times.cooldown)),
            landed: watch::Sender::new(None),
            counts: Counts::default(),
        })
    }

    /// The keys to judge by, without waiting. When they are no longer fresh a fetch begins in the
    /// background. None asks the caller to wait in [`Self::keys`].
    pub fn current(self: &Arc<Self>) -> Option<Arc<KeySet>> {
        let held = self.held();
        let (keys, fetched, tried) = (held.keys.as_ref()?, held.fetched?, held.tried?);
        if self.origin.is_none() {
            return Some(keys.clone());
        }
        let now = Instant::now();
        let age = now - fetched;
        if age < self.times.cache {
            return Some(keys.clone());
        }
        self.refresh(now);
        let idle = now - tried > self.times.cache.saturating_add(IDLE_GRACE);
        (!idle && age < self.lifetime()).then(|| keys.clone())
    }

    /// The keys to judge by; waits for the first ones at most the configured timeout.
    pub async fn keys(self: &Arc<Self>) -> Result<Arc<KeySet>, Error> {
        if let Some(keys) = self.current() {
            return Ok(keys);
        }
        let fetched = self.await_fetch(Reason::Needed, || self.current()).await;
        fetched.or_else(|| self.usable()).ok_or(Error::KeysUnavailable)
    }

    /// Other keys than those held, which lack what a token names: waits for a fetch that begins
    /// after this call, if the pace allows one within the configured timeout.
    pub async fn learn(self: &Arc<Self>, wanted: impl Fn(&KeySet) -> bool) -> Option<Arc<KeySet>> {
        self.origin.as_ref()?;
        self.await_fetch(Reason::Unknown, || self.usable().filter(|keys| wanted(keys))).await
    }

    /// What `attempt` makes of the keys. An unknown key may only be new: then it waits for a fetch and tries once more. What
    /// is signed without a `kid` cannot name its key, so there a signature by none of those held may be by a new one.
    ///
    /// # Errors
    /// Those of `attempt`, and [`Error::KeysUnavailable`].
    pub async fn verify<T>(
        self: &Arc<Self>,
        kid: Option<&str>,
        algorithm: Algorithm,
        attempt: impl Fn(&KeySet) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let keys = self.keys().await?;
        let first = attempt(&keys);
        let newer = match first {
            // Another fetch would bring the same key, and somebody must decide on it.
            Err(Error::UnknownKey) if self.holds_back(kid, algorithm) => return Err(Error::KeyHeld),
            Err(Error::UnknownKey) => self.learn(|keys| keys.find(kid, algorithm).next().is_some()).await,
            Err(Error::Signature) if kid.is_none() => self.learn(|newer| newer.version() != keys.version()).await,
            decided => return decided,
        };
        match newer {
            Some(keys) => attempt(&keys),
            None if self.holds_back(kid, algorithm) => Err(Error::KeyHeld),
            None => first,
        }
    }

    /// Whether a key that the issuer publishes under this name does not count, or not yet.
    pub fn holds_back(&self, kid: Option<&str>, algorithm: Algorithm) -> bool {
        let Held { all: Some(all), keys: Some(keys), .. } = &**self.held() else { return false };
        kid.is_some() && !Arc::ptr_eq(all, keys) && all.find(kid, algorithm).any(|key| !keys.contains(key.id()))
    }

    /// Whether a key under this name does not count yet: the same text may be believed later.
    pub fn awaits(&self, kid: Option<&str>, algorithm: Algorithm) -> bool {
        let (Some(gate), Some(all)) = (&self.gate, &self.held().all) else { return false };
        self.holds_back(kid, algorithm) && all.find(kid, algorithm).any(|key| gate.surfaces.keys.is_held(&gate.issuer, key))
    }

    /// Whether the issuer publishes this key and it does not count.
    pub fn bars(&self, id: u64) -> bool {
        let Held { all: Some(all), keys: Some(keys), .. } = &**self.held() else { return false };
        !Arc::ptr_eq(all, keys) && all.contains(id) && !keys.contains(id)
    }

    /// Fetches the first keys, so that the first request need not wait.
    pub async fn warm(self: &Arc<Self>) {
        // What went wrong was logged where it did; readiness tells by `has_keys`.
        let _ = self.keys().await;
    }

    /// Whether there are keys to judge by.
    pub fn has_keys(&self) -> bool {
        self.usable().is_some()
    }

    /// Since the held keys were fetched; none without keys.
    pub fn age(&self) -> Option<Duration> {
        self.held.load().fetched.map(|fetched| fetched.elapsed())
    }

    pub fn fetches(&self) -> FetchCounts {
        let Counts { ok, unchanged, failed } = &self.counts;
        let [ok, unchanged, failed] = [ok, unchanged, failed].map(|count| count.load(Ordering::Relaxed));
        FetchCounts { ok, unchanged, failed }
    }

    /// What is held, unless it is beyond `stale`.
    fn usable(&self) -> Option<Arc<KeySet>> {
        let held = self.held();
        let live = self.origin.is_none() || held.fetched?.elapsed() < self.lifetime();
        held.keys.clone().filter(|_| live)
    }

    /// What is known, judged by all that was decided of the issuer's keys until now.
    fn held(&self) -> arc_swap::Guard<Arc<Held>> {
        let held = self.held.load();
        match &self.gate {
            Some(gate) if gate.surfaces.keys.generation() != held.generation => {
                self.held.rcu(|held| self.judged(Held::clone(held)));
                self.held.load()
            }
            _ => held,
        }
    }

    /// SECURITY: read before the judgement, so that a decision that comes in meanwhile is not missed.
    fn judged(&self, held: Held) -> Held {
        let Some(gate) = &self.gate else { return Held { keys: held.all.clone(), ..held } };
        let generation = gate.surfaces.keys.generation();
        let keys = held.all.as_ref().map(|all| gate.surfaces.keys.usable(&gate.issuer, all));
        Held { keys, generation, ..held }
    }

    fn lifetime(&self) -> Duration {
        self.times.cache.saturating_add(self.times.stale)
    }

    /// Never waits: where another is at the pace, that one will do it.
    fn refresh(self: &Arc<Self>, now: Instant) {
        if let Ok(pace) = self.pace.try_lock() {
            self.begin(pace, Reason::Needed, now);
        }
    }

    async fn await_fetch(self: &Arc<Self>, reason: Reason, find: impl Fn() -> Option<Arc<KeySet>>) -> Option<Arc<KeySet>> {
        timeout(self.times.timeout, self.follow(reason, find)).await.ok()?
    }

    async fn follow(self: &Arc<Self>, reason: Reason, find: impl Fn() -> Option<Arc<KeySet>>) -> Option<Arc<KeySet>> {
        let mut landed = self.landed.subscribe();
        let arrived = Instant::now();
        loop {
            let begun = *landed.borrow_and_update();
            if let Some(keys) = find() {
                return Some(keys);
            }
            // An answer to a question asked before we came proves nothing: a key may be younger.
            if begun.is_some_and(|begun| begun > arrived) {
                return None;
            }
            match self.begin(self.pace(), reason, Instant::now()) {
                Start::Now => return self.own_flight(landed, find).await,
                Start::Running => landed.changed().await.ok()?,
                Start::At(time) => sleep_until(time).await,
                Start::No => return None,
            }
        }
    }

    /// The fetch that this caller began is the last word.
    async fn own_flight(
        &self,
        mut landed: watch::Receiver<Option<Instant>>,
        find: impl Fn() -> Option<Arc<KeySet>>,
    ) -> Option<Arc<KeySet>> {
        landed.changed().await.ok()?;
        find()
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a fetch if there is something to fetch from and the pace allows. It is a task of its own: a caller that goes away takes nothing with it.
    fn begin(self: &Arc<Self>, mut pace: MutexGuard<'_, Pace>, reason: Reason, now: Instant) -> Start {
        let (Some(_), Ok(runtime)) = (&self.origin, Handle::try_current()) else { return Start::No };
        let start = pace.ask(reason, now);
        drop(pace);
        if start == Start::Now {
            let flight = Flight { store: self.clone(), landed: false };
            runtime.spawn(flight.fly());
        }
        start
    }

    /// Takes in what a fetch brought, then lets the waiting look.
    fn land(&self, fetched: Result<KeySet, FetchError>) {
        let (held, now) = (self.held.load_full(), Instant::now());
        let fetched = fetched.map(Arc::new);
        let (outcome, counter) = match (&fetched, &held.all) {
            (Err(_), _) => (Outcome::Failed, &self.counts.failed),
            (Ok(new), Some(old)) if new.version() == old.version() => (Outcome::Unchanged, &self.counts.unchanged),
            (Ok(_), _) => (Outcome::News, &self.counts.ok),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.report(&fetched, outcome, held.tried == held.fetched);
        if let (Some(gate), Ok(keys)) = (&self.gate, &fetched) {
            gate.surfaces.see_keys(&gate.issuer, keys);
        }
        self.held.rcu(|held| match &fetched {
            Ok(keys) => self.judged(Held { all: Some(keys.clone()), fetched: Some(now), tried: Some(now), ..Held::default() }),
            Err(_) => Held { tried: Some(now), ..Held::clone(held) },
        });
        let begun = self.pace().land(outcome);
        self.landed.send_replace(begun);
    }

    /// An outage is a warning once; what repeats it is for those who look closely.
    fn report(&self, fetched: &Result<Arc<KeySet>, FetchError>, outcome: Outcome, was_well: bool) {
        match fetched {
            Ok(keys) if outcome == Outcome::News => {
                tracing::info!(issuer = self.name, keys = keys.len(), skipped = keys.skipped(), "fetched other keys than before");
            }
            Ok(_) if !was_well => tracing::info!(issuer = self.name, "keys can be fetched again"),
            Ok(_) => tracing::debug!(issuer = self.name, "fetched the same keys"),
            Err(error) if !was_well => tracing::debug!(issuer = self.name, %error, "keys still cannot be fetched"),
            Err(error) => tracing::warn!(issuer = self.name, %error, "keys could not be fetched"),
        }
    }
}

impl fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyStore").field("name", &self.name).field("age", &self.age()).finish_non_exhaustive()
    }
}

/// One fetch under way. If it is dropped half way, the next may begin.
struct Flight {
    store: Arc<KeyStore>,
    landed: bool,
}

impl Flight {
    async fn fly(mut self) {
        let fetched = match &self.store.origin {
            Some(origin) => origin.fetch().await,
            None => Err(FetchError::NoKeys),
        };
        self.landed = true;
        self.store.land(fetched);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.landed {
            let begun = self.store.pace().land(Outcome::Failed);
            self.store.landed.send_replace(begun);
        }
    }
}

#[cfg(test)]
mod tests;
