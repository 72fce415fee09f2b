//! Which streams are open, whose they are, and how they are ended from outside.
//!
//! A stream that is begun tells here who holds it; [`Streams::end`] ends those that a [`Hit`] means,
//! also idle ones. Plain calls never come here. Knows no sockets and no clock.

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::principal::Principal;
use crate::route::Route;
use crate::token::Digest;

/// Ends that are remembered for requests that began before them and become streams after them.
const REMEMBERED: usize = 256;

/// Who holds a stream, and by what.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The upstream's key in the configuration.
    pub upstream: Arc<str>,
    pub who: Arc<Principal>,
    pub token: Digest,
    /// The token's `iat`, where it says one.
    pub issued: Option<SystemTime>,
    /// The digest of a legacy session, as audit records name it.
    pub session: Option<Box<[u8; 32]>>,
}

/// Which streams are to end: all that are of `whose`, at `upstream` where one is named, and with a
/// token issued before `issued_before` where that is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub whose: Whose,
    pub upstream: Option<Arc<str>>,
    /// A token that does not say when it was issued counts as older than any time.
    pub issued_before: Option<SystemTime>,
}

/// Whose streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    Everyone,
    /// Everybody whom this issuer (its identifier) vouched for.
    Issuer(Arc<str>),
    /// A person or a machine; a subject means something only at its issuer.
    Subject {
        issuer: Arc<str>,
        subject: Arc<str>,
    },
    Client {
        issuer: Arc<str>,
        client: Arc<str>,
    },
    Token(Digest),
    /// By the digest that audit records name.
    Session([u8; 32]),
}

impl From<Whose> for Hit {
    fn from(whose: Whose) -> Self {
        Self { whose, upstream: None, issued_before: None }
    }
}

impl Hit {
    pub fn at(self, upstream: Arc<str>) -> Self {
        Self { upstream: Some(upstream), ..self }
    }

    pub fn issued_before(self, time: SystemTime) -> Self {
        Self { issued_before: Some(time), ..self }
    }

    fn means(&self, holder: &Holder) -> bool {
        self.upstream.as_ref().is_none_or(|upstream| *upstream == holder.upstream)
            && self.issued_before.is_none_or(|time| holder.issued.is_none_or(|issued| issued < time))
            && self.whose.is(holder)
    }
}

impl Whose {
    fn is(&self, holder: &Holder) -> bool {
        let who = &holder.who;
        match self {
            Self::Everyone => true,
            Self::Issuer(issuer) => who.issuer() == &**issuer,
            Self::Subject { issuer, subject } => who.issuer() == &**issuer && who.subject() == &**subject,
            Self::Client { issuer, client } => who.issuer() == &**issuer && who.client() == Some(client),
            Self::Token(digest) => holder.token == *digest,
            Self::Session(digest) => holder.session.as_deref() == Some(digest),
        }
    }
}

/// What a new configuration ends: streams of upstreams that are gone or have become another resource,
/// and of callers whose issuer an upstream no longer accepts by the same rules.
pub fn lost(before: &[Arc<Route>], now: &[Arc<Route>]) -> Vec<Hit> {
    let mut hits = Vec::new();
    for old in before {
        match now.iter().find(|new| new.name == old.name && new.resource == old.resource) {
            None => hits.push(Hit::from(Whose::Everyone).at(old.name.clone())),
            Some(new) => {
                let lost = old.issuers.iter().filter(|rules| !new.issuers.contains(rules));
                hits.extend(lost.map(|rules| Hit::from(Whose::Issuer(rules.issuer.clone())).at(old.name.clone())));
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
            None => self.forgotten.filter(|time| *time >= asked).map(|_| "revoked"),
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
