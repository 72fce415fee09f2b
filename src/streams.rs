//! Which streams are open, whose they are, and how they are ended from outside.
//!
//! A stream that is begun tells here who holds it; [`Streams::end`] ends those that a [`Hit`] means,
//! also idle ones. Plain calls never come here. Knows no sockets and no clock.

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::principal::Principal;
use crate::route::{Mode, Route};

/// Ends that are remembered for requests that began before them and become streams after them.
const REMEMBERED: usize = 256;

/// Who holds a stream.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The upstream's key in the configuration.
    pub upstream: Arc<str>,
    pub who: Arc<Principal>,
}

/// Which streams are to end: all that are open at `upstream`, or those of callers whom `issuer` (its identifier) vouched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub upstream: Arc<str>,
    pub issuer: Option<Arc<str>>,
}

impl Hit {
    fn means(&self, holder: &Holder) -> bool {
        self.upstream == holder.upstream && self.issuer.as_ref().is_none_or(|issuer| holder.who.issuer() == &**issuer)
    }
}

/// What a new configuration ends: streams of upstreams that are gone or have become another resource, that are enforced
/// and were only observed, or that may ask less, and of callers whose issuer an upstream no longer accepts by the same rules.
pub fn lost(before: &[Arc<Route>], now: &[Arc<Route>]) -> Vec<Hit> {
    let mut hits = Vec::new();
    for old in before {
        match now.iter().find(|new| new.name == old.name && new.resource == old.resource) {
            None => hits.push(Hit { upstream: old.name.clone(), issuer: None }),
            // An open stream goes on as it began.
            Some(new) if new.mode == Mode::Enforce && (old.mode != Mode::Enforce || !new.asks.covers(old.asks)) => {
                hits.push(Hit { upstream: old.name.clone(), issuer: None });
            }
            Some(new) => {
                let lost = old.issuers.iter().filter(|rules| !new.issuers.contains(rules));
                hits.extend(lost.map(|rules| Hit { upstream: old.name.clone(), issuer: Some(rules.issuer.clone()) }));
            }
        }
    }
    hits
}

/// A caller who already has as many streams as one may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// Every open stream of this process.
#[derive(Default)]
pub struct Streams(Mutex<Table>);

#[derive(Default)]
struct Table {
    open: HashMap<u64, Entry>,
    next: u64,
    /// Streams to listen by, of each caller at each upstream. None is kept at zero.
    listening: HashMap<Caller, usize>,
    ended: VecDeque<(Instant, Hit, &'static str)>,
    /// The time of the latest end that is remembered no more.
    forgotten: Option<Instant>,
}

struct Entry {
    holder: Holder,
    listens: bool,
    told: Arc<Told>,
}

impl Streams {
    /// Begins a stream that has no end of its own, unless its caller has `most` of them at the upstream.
    /// `asked` is when the request came in: an end between then and now ends this stream too.
    pub fn listen(self: &Arc<Self>, holder: Holder, most: Option<usize>, asked: Instant) -> Result<Open, TooMany> {
        {
            let mut table = self.0.lock();
            let count = table.listening.entry(Caller::of(&holder)).or_default();
            if most.is_some_and(|most| *count >= most) {
                return Err(TooMany);
            }
            *count += 1;
        }
        Ok(self.enter(holder, true, asked))
    }

    /// Begins the stream that a call is answered by. It is not counted: the call may have had its effect.
    pub fn answer(self: &Arc<Self>, holder: Holder, asked: Instant) -> Open {
        self.enter(holder, false, asked)
    }

    fn enter(self: &Arc<Self>, holder: Holder, listens: bool, asked: Instant) -> Open {
        let told = Arc::new(Told::default());
        let mut table = self.0.lock();
        if let Some(reason) = table.missed(&holder, asked) {
            told.tell(reason);
        }
        let key = table.next;
        table.next = key.wrapping_add(1);
        table.open.insert(key, Entry { holder, listens, told: told.clone() });
        Open { streams: self.clone(), key, told }
    }

    /// Ends every stream that `hit` means, and those that a request of before `now` will yet become.
    /// Returns how many were open. `reason` stands in their records.
    pub fn end(&self, hit: Hit, reason: &'static str, now: Instant) -> usize {
        let mut table = self.0.lock();
        let hits = table.open.values().filter(|entry| hit.means(&entry.holder));
        let count = hits.filter(|entry| entry.told.tell(reason)).count();
        if table.ended.len() >= REMEMBERED {
            table.forgotten = table.ended.pop_front().map(|(time, ..)| time);
        }
        table.ended.push_back((now, hit, reason));
        count
    }

    /// Streams open now.
    pub fn count(&self) -> usize {
        self.0.lock().open.len()
    }
}

impl Table {
    /// Why a stream of a request of `asked` must not begin.
    fn missed(&self, holder: &Holder, asked: Instant) -> Option<&'static str> {
        let mut later = self.ended.iter().rev().take_while(|(time, ..)| *time >= asked);
        match later.find(|(_, hit, _)| hit.means(holder)) {
            Some((_, _, reason)) => Some(reason),
            // SECURITY: it is not known any more whether one of those meant it.
            None => self.forgotten.filter(|time| *time >= asked).map(|_| "reload"),
        }
    }
}

/// An open stream. It leaves the table when this is dropped, however that comes about.
pub struct Open {
    streams: Arc<Streams>,
    key: u64,
    told: Arc<Told>,
}

impl Open {
    /// Waits until somebody ends the stream, and says why. Loses nothing when it is dropped and asked again.
    pub async fn ended(&self) -> &'static str {
        loop {
            if let Some(reason) = self.told.reason.get() {
                return reason;
            }
            self.told.wake.notified().await;
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut table = self.streams.0.lock();
        let Some(Entry { holder, listens: true, .. }) = table.open.remove(&self.key) else { return };
        let caller = Caller::of(&holder);
        let left = table.listening.get_mut(&caller).map_or(0, |count| {
            *count = count.saturating_sub(1);
            *count
        });
        if left == 0 {
            table.listening.remove(&caller);
        }
        if table.open.is_empty() {
            table.open.shrink_to_fit();
            table.listening.shrink_to_fit();
        }
    }
}

#[derive(Default)]
struct Told {
    reason: OnceLock<&'static str>,
    wake: Notify,
}

impl Told {
    /// Whether it was the first to say so.
    fn tell(&self, reason: &'static str) -> bool {
        let first = self.reason.set(reason).is_ok();
        self.wake.notify_one();
        first
    }
}

/// Whose streams are counted together: upstream, issuer, kind and subject.
struct Caller(Arc<str>, Arc<Principal>);

impl Caller {
    fn of(holder: &Holder) -> Self {
        Self(holder.upstream.clone(), holder.who.clone())
    }

    fn parts(&self) -> impl Hash + Eq {
        let Self(upstream, who) = self;
        (upstream, who.issuer(), who.kind(), who.subject())
    }
}

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Caller {}

impl Hash for Caller {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.parts().hash(hasher);
    }
}

#[cfg(test)]
mod tests;
