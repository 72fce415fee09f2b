//! Is this token revoked? An index in memory, asked on each request, also of tokens that were verified before.
//!
//! Two kinds of entries: some names are refused whenever a token was issued (a token, a session, a key);
//! the others refuse what was issued up to a moment (a client, a subject, an upstream, everything). An
//! entry leaves when the last token that it could hit has expired. Knows no database: see `store::feed`.
//!
//! Which came first, a token or a revocation "until now"? Clocks say it to within the issuer's leeway, in favour of the
//! revocation. What we issue ourselves says it exactly: it names the last change that the store held when it was made, and
//! every revocation is a change with a number of its own. So no clock is asked, and whoever signs in again at once is let in.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::token::{Digest, Error, Marker, Named, Verified};

/// Entries at most: about 29 MiB. `doorward revoke` refuses to write more.
pub const MOST: usize = 1_000_000;
/// Parts with a lock of their own: so many that [`MOST`] fill a table of 16,384 places each as far as it may be filled, or each
/// would take the double.
const SHARDS: usize = 75;
/// The longest leeway that an issuer can be given; an entry stays for as long after its last token.
const LEEWAY: u64 = 300;
/// Whenever it was issued, and for ever.
const ALWAYS: u32 = u32::MAX;

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// One token, by the SHA-256 of its text.
    Token(Digest),
    /// One token, by its `jti`.
    Id {
        issuer: String,
        jti: String,
    },
    /// Every token of a session (`sid`), of any issuer.
    Session(String),
    /// Every token that a client holds, of any issuer.
    Client(String),
    /// Every token that speaks for this subject.
    Subject {
        issuer: String,
        subject: String,
    },
    /// Every token that a key of an issuer signed.
    Key {
        issuer: String,
        kid: String,
    },
    /// Every token, at one upstream.
    Upstream(String),
    Everything,
}

/// A selector, and which of its tokens are meant. Times in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    pub selector: Selector,
    /// Tokens issued later are not meant; none means all.
    pub issued_until: Option<u64>,
    /// Until the moment at which it is written down, and not until one before that.
    pub until_now: bool,
    /// When the last token that is meant has expired; none is never.
    pub leaves: Option<u64>,
}

/// How long tokens live, and how old what is known of revocations may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// From `iat` to `exp`. A token that lives longer is refused, or it could outlive its revocation.
    pub token_lifetime: Duration,
    /// Without news for longer, every request is refused.
    pub max_age: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { token_lifetime: Duration::from_secs(24 * 3600), max_age: Duration::from_secs(30) }
    }
}

/// No entry can be taken in any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A verified token on its way to an upstream.
pub struct Asked<'a> {
    pub token: &'a Digest,
    pub verified: &'a Verified,
    pub upstream: &'a str,
    pub now: SystemTime,
}

/// When something was given out, as far as that can be known.
#[derive(Clone, Copy, Debug)]
pub struct Since {
    /// By the clock of whoever gave it out, in seconds since 1970; 0 where that is not said.
    pub at: u64,
    /// By how much that clock may differ.
    pub leeway: Duration,
    /// The number of the last change that the store held then; known only of what we give out ourselves.
    pub after: Option<u64>,
}

impl Selector {
    /// The word for it in the store, in commands and in records.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Id { .. } => "jti",
            Self::Session(_) => "session",
            Self::Client(_) => "client",
            Self::Subject { .. } => "subject",
            Self::Key { .. } => "key",
            Self::Upstream(_) => "upstream",
            Self::Everything => "everything",
        }
    }

    /// Whether a token is meant whenever it was issued.
    fn is_absolute(&self) -> bool {
        matches!(self, Self::Token(_) | Self::Id { .. } | Self::Session(_) | Self::Key { .. })
    }
}

impl Revocation {
    /// A revocation at `now` of what was issued until then, or `before` another moment. `expires` is that of
    /// the one token that is meant, if it is known.
    pub fn new(selector: Selector, now: u64, before: Option<u64>, expires: Option<u64>, bounds: &Bounds) -> Self {
        let issued_until = match (selector.is_absolute(), before) {
            (true, None) => None,
            (_, Some(before)) => Some(before.saturating_sub(1)),
            (false, None) => Some(now),
        };
        // What was issued later, up to the leeway, may be meant too; and it is believed for the leeway after its end.
        let last = issued_until.unwrap_or(now).saturating_add(bounds.token_lifetime.as_secs()).saturating_add(2 * LEEWAY);
        let leaves = match (&selector, expires) {
            // A key that is lost signs tokens of any time, for ever.
            (Selector::Key { .. }, _) if before.is_none() => None,
            (Selector::Everything, _) => None,
            (_, Some(expires)) => Some(expires.saturating_add(LEEWAY).min(last)),
            (_, None) => Some(last),
        };
        let until_now = issued_until.is_some_and(|until| until >= now);
        Self { selector, issued_until, until_now, leaves }
    }
}

/// Up to when tokens are meant, and when the entry leaves.
#[derive(Clone, Copy, Debug)]
struct Entry {
    issued_until: u32,
    leaves: u32,
    fence: Fence,
}

impl Entry {
    fn new(seq: u64, revocation: &Revocation) -> Self {
        Self {
            issued_until: seconds(revocation.issued_until),
            leaves: seconds(revocation.leaves),
            fence: if revocation.until_now { Fence::before(seq) } else { Fence::BY_CLOCK },
        }
    }

    /// Means what either meant.
    fn join(&mut self, other: Self) {
        let Self { issued_until, leaves, fence } = other;
        self.issued_until = self.issued_until.max(issued_until);
        self.leaves = self.leaves.max(leaves);
        self.fence = self.fence.join(fence);
    }

    fn hits(&self, since: &Since) -> bool {
        let (at, leeway) = (seconds(Some(since.at)), seconds(Some(since.leeway.as_secs())));
        // SECURITY: whatever could be presented at the moment of the revocation was issued up to the leeway after it.
        let by_clock = at.saturating_sub(leeway) <= self.issued_until;
        match since.after {
            None => by_clock,
            // SECURITY: a number of a store that a backup took the place of is no lie of seconds only.
            Some(after) => {
                after < self.fence.number() || (self.fence.asks_clock() && by_clock) || at.saturating_add(leeway) < self.issued_until
            }
        }
    }
}

/// Which revocations an entry stands for, in half the room of two fields: the number of the last one until now (what was given
/// out before that one is meant, by whatever clock), and in the lowest bit that one is not until now, and so the clock decides too.
#[derive(Clone, Copy, Debug)]
struct Fence(u64);

impl Fence {
    const BY_CLOCK: Self = Self(1);

    fn before(seq: u64) -> Self {
        Self(seq.min(u64::MAX >> 1) << 1)
    }

    fn join(self, other: Self) -> Self {
        Self(self.0.max(other.0) | (other.0 | self.0) & 1)
    }

    fn number(self) -> u64 {
        self.0 >> 1
    }

    fn asks_clock(self) -> bool {
        self.0 & 1 == 1
    }
}

/// Keys are hashes already.
#[derive(Default)]
struct Passing(u64);

impl Hasher for Passing {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

type Shard = RwLock<HashMap<u64, Entry, BuildHasherDefault<Passing>>>;

/// Everything that is revoked, and whether that is known well enough.
pub struct Revocations {
    marker: Marker,
    shards: Vec<Shard>,
    len: AtomicUsize,
    /// The kinds that there are entries of, one bit each: others are not looked for.
    kinds: AtomicU8,
    /// Tokens issued up to here are refused.
    everything: AtomicU32,
    /// Until here, what was given out names changes of a store that a backup took the place of.
    restored: AtomicU64,
    bounds: Bounds,
    /// The number of the change up to which the feed has read.
    read: AtomicI64,
    /// When the store was last read, in seconds since 1970.
    confirmed: AtomicU64,
    unknown: AtomicBool,
}

impl Revocations {
    /// Knows nothing yet, and so refuses everything until [`Self::confirm`].
    pub fn new(bounds: Bounds) -> Self {
        Self {
            marker: Marker::default(),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            len: AtomicUsize::new(0),
            kinds: AtomicU8::new(0),
            everything: AtomicU32::new(0),
            restored: AtomicU64::new(0),
            bounds,
            read: AtomicI64::new(0),
            confirmed: AtomicU64::new(0),
            unknown: AtomicBool::new(true),
        }
    }

    /// What tokens are marked with.
    pub fn marker(&self) -> &Marker {
        &self.marker
    }

    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Takes a revocation in, which is the change with this number; an entry that is there already only grows.
    ///
    /// # Errors
    /// [`Full`], and the entry is not there: what is revoked is then not known.
    pub fn apply(&self, seq: i64, revocation: &Revocation) -> Result<(), Full> {
        // SECURITY: a number that is none is that of the last change there can be.
        let entry = Entry::new(u64::try_from(seq).unwrap_or(u64::MAX), revocation);
        let mark = |kind, issuer: &str, name: &str| (kind, self.marker.mark(kind, issuer, name));
        let (kind, mark) = match &revocation.selector {
            Selector::Token(digest) => (Named::Token, self.marker.token(digest)),
            Selector::Id { issuer, jti } => mark(Named::Id, issuer, jti),
            Selector::Session(sid) => mark(Named::Session, "", sid),
            Selector::Client(client) => mark(Named::Client, "", client),
            Selector::Subject { issuer, subject } => mark(Named::Subject, issuer, subject),
            Selector::Key { issuer, kid } => mark(Named::Key, issuer, kid),
            Selector::Upstream(name) => mark(Named::Upstream, "", name),
            Selector::Everything => {
                self.everything.fetch_max(entry.issued_until, Ordering::Relaxed);
                return Ok(());
            }
        };
        let Some(shard) = self.shard(mark) else { return Err(Full) };
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = shard.get_mut(&mark) {
            there.join(entry);
            return Ok(());
        }
        if self.len.fetch_add(1, Ordering::Relaxed) >= MOST {
            self.len.fetch_sub(1, Ordering::Relaxed);
            return Err(Full);
        }
        shard.insert(mark, entry);
        self.kinds.fetch_or(bit(kind), Ordering::Release);
        Ok(())
    }

    /// Lets a token pass that nothing revokes. `key` is the `kid` that verified it, asked for only if keys are revoked.
    ///
    /// # Errors
    /// [`Error::Revoked`]; [`Error::Lifetime`] for a token that could outlive its revocation; [`Error::RevocationsUnknown`].
    pub fn check<K: AsRef<str>>(&self, asked: &Asked<'_>, key: impl FnOnce() -> Option<K>) -> Result<(), Error> {
        let now = since_epoch(asked.now);
        if !self.is_known(now) {
            return Err(Error::RevocationsUnknown);
        }
        let Asked { token, verified, upstream, .. } = asked;
        let marks = verified.marks.as_deref();
        let issued = marks.map_or(0, |marks| marks.issued);
        self.check_lifetime(verified, issued, now)?;
        // SECURITY: only of what we signed ourselves; another issuer could write any number there.
        let after = marks.and_then(|marks| marks.after).filter(|_| verified.rules.own);
        let since = self.believed(Since { at: issued.into(), leeway: verified.rules.leeway, after });
        if self.ends_everything(&since) {
            return Err(Error::Revoked);
        }
        let kinds = self.kinds.load(Ordering::Acquire);
        if kinds == 0 {
            return Ok(());
        }
        let is_named =
            |kind: Named, mark: &dyn Fn() -> Option<u64>| kinds & bit(kind) != 0 && mark().is_some_and(|mark| self.hits(mark, &since));
        let who = &verified.principal;
        let revoked = is_named(Named::Token, &|| Some(self.marker.token(token)))
            || is_named(Named::Id, &|| marks?.id)
            || is_named(Named::Session, &|| marks?.session)
            || is_named(Named::Subject, &|| Some(self.marker.mark(Named::Subject, who.issuer(), who.subject())))
            || is_named(Named::Client, &|| Some(self.marker.mark(Named::Client, "", who.client()?)))
            || is_named(Named::Upstream, &|| Some(self.marker.mark(Named::Upstream, "", upstream)))
            || kinds & bit(Named::Key) != 0
                && key().is_some_and(|kid| self.hits(self.marker.mark(Named::Key, who.issuer(), kid.as_ref()), &since));
        if revoked { Err(Error::Revoked) } else { Ok(()) }
    }

    /// Whether all that a person got then is revoked, or it is not known whether it is.
    pub fn ends_subject(&self, issuer: &str, subject: &str, since: Since, now: SystemTime) -> bool {
        let since = self.believed(since);
        !self.is_known(since_epoch(now))
            || self.ends_everything(&since)
            || self.hits(self.marker.mark(Named::Subject, issuer, subject), &since)
    }

    /// By the clock alone: everything is revoked before a time, and not until now.
    fn ends_everything(&self, since: &Since) -> bool {
        let until = self.everything.load(Ordering::Relaxed);
        until > 0 && since.at.saturating_sub(since.leeway.as_secs()) <= u64::from(until)
    }

    fn believed(&self, since: Since) -> Since {
        let is_old = since.at <= self.restored.load(Ordering::Acquire).saturating_add(since.leeway.as_secs());
        Since { after: since.after.filter(|_| !is_old), ..since }
    }

    /// A backup took the place of the store: its changes begin again at lower numbers. SECURITY: what was given out until `now`
    /// is judged by the clock alone, and so are the revocations that are known; to be called before any of the backup is applied.
    pub fn restored(&self, now: SystemTime) {
        self.restored.fetch_max(since_epoch(now), Ordering::AcqRel);
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            shard.values_mut().for_each(|entry| entry.fence = Fence::BY_CLOCK);
        }
    }

    /// A token that does not say when it was issued must end soon enough from now.
    fn check_lifetime(&self, verified: &Verified, issued: u32, now: u64) -> Result<(), Error> {
        let begins = if issued == 0 { now } else { u64::from(issued) };
        let lives = since_epoch(verified.expires).saturating_sub(begins);
        if lives > self.bounds.token_lifetime.as_secs() { Err(Error::Lifetime) } else { Ok(()) }
    }

    fn hits(&self, mark: u64, since: &Since) -> bool {
        // A shard that is not there cannot say no.
        let Some(shard) = self.shard(mark) else { return true };
        let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
        shard.get(&mark).is_some_and(|entry| entry.hits(since))
    }

    /// By the bits that the map itself uses least.
    fn shard(&self, mark: u64) -> Option<&Shard> {
        self.shards.get(usize::try_from(mark >> 40).unwrap_or_default() % SHARDS)
    }

    /// Every revocation up to the change with this number is here.
    pub fn note_read(&self, seq: i64) {
        self.read.store(seq, Ordering::Release);
    }

    /// The number up to which every revocation is here; some that are newer may be too.
    pub fn read(&self) -> i64 {
        self.read.load(Ordering::Acquire)
    }

    /// The store was read whole, beginning at `now`.
    pub fn confirm(&self, now: SystemTime) {
        self.confirmed.store(since_epoch(now), Ordering::Relaxed);
        self.unknown.store(false, Ordering::Release);
    }

    /// The store was not read for too long, or does not fit in: refuse everything until [`Self::confirm`].
    pub fn doubt(&self) {
        self.unknown.store(true, Ordering::Release);
    }

    /// SECURITY: asked by the wall clock too, for a process that was frozen wakes up in the middle of a request.
    fn is_known(&self, now: u64) -> bool {
        let age = now.saturating_sub(self.confirmed.load(Ordering::Relaxed));
        !self.unknown.load(Ordering::Acquire) && age <= self.bounds.max_age.as_secs()
    }

    /// Whether requests are let in at `now`.
    pub fn are_known(&self, now: SystemTime) -> bool {
        self.is_known(since_epoch(now))
    }

    /// Since the store was last read; none before the first time.
    pub fn age(&self, now: SystemTime) -> Option<Duration> {
        let confirmed = self.confirmed.load(Ordering::Relaxed);
        (confirmed > 0).then(|| Duration::from_secs(since_epoch(now).saturating_sub(confirmed)))
    }

    /// Lets entries go whose last token has expired.
    pub fn prune(&self, now: SystemTime) {
        let now = u32::try_from(since_epoch(now)).unwrap_or(ALWAYS);
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            let before = shard.len();
            shard.retain(|_, entry| entry.leaves == ALWAYS || entry.leaves > now);
            self.len.fetch_sub(before - shard.len(), Ordering::Relaxed);
            if shard.len() < shard.capacity() / 4 {
                shard.shrink_to_fit();
            }
        }
    }

    /// Entries, without the one for everything.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.everything.load(Ordering::Relaxed) == 0
    }
}

fn bit(kind: Named) -> u8 {
    1 << match kind {
        Named::Token => 0,
        Named::Id => 1,
        Named::Session => 2,
        Named::Client => 3,
        Named::Subject => 4,
        Named::Key => 5,
        Named::Upstream => 6,
    }
}

fn seconds(time: Option<u64>) -> u32 {
    time.map_or(ALWAYS, |time| u32::try_from(time).unwrap_or(ALWAYS))
}

fn since_epoch(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
