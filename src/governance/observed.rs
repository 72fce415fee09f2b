//! Who used what? Counts each caller's requests in memory, until they are written down.
//!
//! A caller is one subject, by one client, at one upstream. What finds no room is counted as lost, with where, so that nobody
//! takes silence for proof. Knows no database and no clock: see `store::observed`.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::mcp::{Kind, Target};
use crate::principal::Principal;

const SHARDS: usize = 16;
/// Callers between two writings.
const CALLERS: usize = 16_384;
/// Names of one kind that one caller uses between two writings.
const NAMES: usize = 256;
/// Scopes that are told of one caller between two writings.
const SCOPES: usize = 256;
/// Bytes of each text that is written down: five of them make a key of an index.
const LONGEST: usize = 400;
/// Facts that wait to be written.
const WAITING: usize = 50_000;

/// What a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum About {
    /// Requests that the rules let through, or that were only observed.
    Passed,
    /// Requests that the rules refused.
    Refused,
    /// A scope that came with requests of either kind, and counts here.
    Scope,
    /// A thing that was used.
    Thing(Kind),
}

impl About {
    const ALL: [Self; 7] = [
        Self::Passed,
        Self::Refused,
        Self::Scope,
        Self::Thing(Kind::Tool),
        Self::Thing(Kind::Prompt),
        Self::Thing(Kind::Resource),
        Self::Thing(Kind::Template),
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Refused => "refused",
            Self::Scope => "scope",
            Self::Thing(kind) => kind.as_str(),
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|about| about.name() == name)
    }
}

/// How often, and from when to when, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub uses: u64,
    pub first: u64,
    pub last: u64,
}

impl Span {
    fn at(now: u64) -> Self {
        Self { uses: 1, first: now, last: now }
    }

    /// Together with another.
    pub fn add(&mut self, other: Self) {
        self.uses = self.uses.saturating_add(other.uses);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

/// What a count belongs to. In the order in which it is written, the same on every replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    pub upstream: Arc<str>,
    pub issuer: Arc<str>,
    /// Empty where the token names none.
    pub client: Arc<str>,
    pub subject: Arc<str>,
    pub about: About,
    /// The scope, or the thing; empty for requests.
    pub name: Arc<str>,
}

/// One count, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub of: Subject,
    pub span: Span,
}

/// Counts that found no room, so that what was used there is not all known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub upstream: Arc<str>,
    pub about: About,
    pub lost: u64,
    /// The last time, in seconds since 1970.
    pub last: u64,
}

/// A request that was judged.
#[derive(Clone, Copy, Debug)]
pub struct Noted<'a> {
    pub upstream: &'a Arc<str>,
    pub who: &'a Arc<Principal>,
    pub target: &'a Target<'a>,
    /// It went on, so what it names was used.
    pub passed: bool,
    pub now: SystemTime,
}

/// All that was counted and is not written yet.
pub struct Observed {
    hasher: RandomState,
    shards: [Mutex<HashMap<u64, Row>>; SHARDS],
    gaps: Mutex<Gaps>,
    /// Since the start, for the metric.
    lost: AtomicU64,
}

impl Default for Observed {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
            gaps: Mutex::default(),
            lost: AtomicU64::new(0),
        }
    }
}

/// How much was lost, and when last, by upstream and kind.
type Gaps = BTreeMap<(Arc<str>, About), (u64, u64)>;

/// One caller since the last writing.
struct Row {
    upstream: Arc<str>,
    /// As it came last: with its scopes. Requests with the same token share it.
    who: Arc<Principal>,
    /// Since it came with these scopes.
    with_scopes: Span,
    passed: Option<Span>,
    refused: Option<Span>,
    /// Scopes that it came with before.
    scopes: BTreeMap<String, Span>,
    things: BTreeMap<Kind, HashMap<Box<str>, Span>>,
}

impl Observed {
    /// Counts a request. Takes one short lock, and no memory where the caller and the thing were there before.
    pub fn note(&self, noted: &Noted<'_>) {
        let Noted { upstream, who, target, passed, now } = *noted;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let hash = self.hasher.hash_one((&**upstream, who.issuer(), who.client(), who.subject()));
        let place = usize::try_from(hash % SHARDS as u64).unwrap_or_default();
        let Some(shard) = self.shards.get(place) else { return };
        let mut rows = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = rows.len() >= CALLERS / SHARDS;
        let row = match rows.get_mut(&hash) {
            Some(row) if row.is_of(upstream, who) => row,
            None if !is_full && Row::fits(upstream, who) => rows.entry(hash).or_insert_with(|| Row::new(upstream, who, now)),
            // Nobody's hash is another's, in practice.
            Some(_) | None => return self.lose_all(noted, now),
        };
        row.scopes(who, now);
        let count = if passed { &mut row.passed } else { &mut row.refused };
        count.get_or_insert(Span { uses: 0, ..Span::at(now) }).add(Span::at(now));
        if !passed {
            return;
        }
        match target {
            Target::Nothing => {}
            Target::One(thing) => self.used(row, thing.kind, &thing.name, now),
            Target::Each(things) => things.iter().for_each(|thing| self.used(row, thing.kind, &thing.name, now)),
        }
    }

    fn used(&self, row: &mut Row, kind: Kind, name: &str, now: u64) {
        let names = row.things.entry(kind).or_default();
        if let Some(span) = names.get_mut(name) {
            span.add(Span::at(now));
        } else if names.len() < NAMES && is_kept(name) {
            names.insert(name.into(), Span::at(now));
        } else {
            self.lose(&row.upstream, About::Thing(kind), 1, now);
        }
    }

    fn lose_all(&self, noted: &Noted<'_>, now: u64) {
        self.lose(noted.upstream, if noted.passed { About::Passed } else { About::Refused }, 1, now);
        let lose = |kind| self.lose(noted.upstream, About::Thing(kind), 1, now);
        match noted.target {
            Target::One(thing) if noted.passed => lose(thing.kind),
            Target::Each(things) if noted.passed => things.iter().for_each(|thing| lose(thing.kind)),
            _ => {}
        }
    }

    /// Counts what was forgotten or never known.
    pub fn lose(&self, upstream: &Arc<str>, about: About, lost: u64, now: u64) {
        self.lost.fetch_add(lost, Ordering::Relaxed);
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, last) = gaps.entry((upstream.clone(), about)).or_default();
        *count = count.saturating_add(lost);
        *last = now.max(*last);
    }

    /// Counts rows of the store that made room for others; the store itself keeps where.
    pub fn fell(&self, rows: u64) {
        self.lost.fetch_add(rows, Ordering::Relaxed);
    }

    /// Counts that were lost since the start.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Takes out what was counted since the last time, into what waits.
    pub fn drain(&self, waiting: &mut Waiting) {
        for shard in &self.shards {
            let rows = std::mem::take(&mut *shard.lock().unwrap_or_else(PoisonError::into_inner));
            for row in rows.into_values() {
                row.told(&mut |fact| {
                    if let Some(Fact { of, span }) = waiting.take_in(fact) {
                        self.lose(&of.upstream, of.about, span.uses, span.last);
                    }
                });
            }
        }
    }

    /// Takes out what is not known.
    pub fn take_gaps(&self) -> Vec<Gap> {
        let gaps = std::mem::take(&mut *self.gaps.lock().unwrap_or_else(PoisonError::into_inner));
        gaps.into_iter().map(|((upstream, about), (lost, last))| Gap { upstream, about, lost, last }).collect()
    }

    /// Puts back what could not be written; it was counted already.
    pub fn keep_gaps(&self, kept: Vec<Gap>) {
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        for Gap { upstream, about, lost, last } in kept {
            let (count, latest) = gaps.entry((upstream, about)).or_default();
            *count = count.saturating_add(lost);
            *latest = last.max(*latest);
        }
    }
}

/// Counts that wait to be written, in the order in which they will be: replicas never wait for each other in a circle.
#[derive(Debug, Default)]
pub struct Waiting(BTreeMap<Subject, Span>);

impl Waiting {
    /// Gives back what finds no room.
    fn take_in(&mut self, fact: Fact) -> Option<Fact> {
        if let Some(span) = self.0.get_mut(&fact.of) {
            span.add(fact.span);
            return None;
        }
        if self.0.len() >= WAITING {
            return Some(fact);
        }
        self.0.insert(fact.of, fact.span);
        None
    }

    /// The first ones.
    pub fn first(&self, most: usize) -> Vec<Fact> {
        self.0.iter().take(most).map(|(of, span)| Fact { of: of.clone(), span: *span }).collect()
    }

    /// Lets go of what is written.
    pub fn written(&mut self, facts: &[Fact]) {
        for fact in facts {
            self.0.remove(&fact.of);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Row {
    /// Whether its texts can be written down.
    fn fits(upstream: &str, who: &Principal) -> bool {
        [upstream, who.issuer(), who.client().unwrap_or_default(), who.subject()].into_iter().all(is_kept)
    }

    fn new(upstream: &Arc<str>, who: &Arc<Principal>, now: u64) -> Self {
        Self {
            upstream: upstream.clone(),
            who: who.clone(),
            with_scopes: Span { uses: 0, ..Span::at(now) },
            passed: None,
            refused: None,
            scopes: BTreeMap::new(),
            things: BTreeMap::new(),
        }
    }

    fn is_of(&self, upstream: &Arc<str>, who: &Arc<Principal>) -> bool {
        let is_same = |one: &Principal, other: &Principal| {
            (one.subject(), one.client(), one.issuer()) == (other.subject(), other.client(), other.issuer())
        };
        self.upstream == *upstream && (Arc::ptr_eq(&self.who, who) || is_same(&self.who, who))
    }

    /// Notes with which scopes it comes.
    fn scopes(&mut self, who: &Arc<Principal>, now: u64) {
        if !Arc::ptr_eq(&self.who, who) && self.who.scopes() != who.scopes() {
            self.put_scopes_by();
            self.who = who.clone();
            self.with_scopes = Span { uses: 0, ..Span::at(now) };
        }
        self.with_scopes.add(Span::at(now));
    }

    fn put_scopes_by(&mut self) {
        for scope in self.who.scopes() {
            if let Some(span) = self.scopes.get_mut(scope) {
                span.add(self.with_scopes);
            } else if self.scopes.len() < SCOPES && is_kept(scope) {
                self.scopes.insert(scope.clone(), self.with_scopes);
            }
        }
    }

    fn told(mut self, tell: &mut dyn FnMut(Fact)) {
        self.put_scopes_by();
        let text = |text: &str| -> Arc<str> { text.into() };
        let nothing = Subject {
            upstream: self.upstream.clone(),
            issuer: text(self.who.issuer()),
            client: text(self.who.client().unwrap_or_default()),
            subject: text(self.who.subject()),
            about: About::Passed,
            name: text(""),
        };
        let mut tell = |about, name: &str, span| tell(Fact { of: Subject { about, name: text(name), ..nothing.clone() }, span });
        for (about, span) in [(About::Passed, self.passed), (About::Refused, self.refused)] {
            span.into_iter().for_each(|span| tell(about, "", span));
        }
        self.scopes.iter().for_each(|(scope, span)| tell(About::Scope, scope, *span));
        for (kind, names) in &self.things {
            names.iter().for_each(|(name, span)| tell(About::Thing(*kind), name, *span));
        }
    }
}

/// PostgreSQL keeps no NUL, and no index keeps what is very long.
fn is_kept(text: &str) -> bool {
    text.len() <= LONGEST && !text.contains('\0')
}

#[cfg(test)]
mod tests;
