//! Does a caller come back again and again with what a challenge did not cure? Then it is told so.
//!
//! There are clients that answer a challenge by refreshing the same token, and ask again at once,
//! without end. Kept per replica in a table of bounded size; time comes in as a value.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;

/// Callers and operations remembered at once.
const REMEMBERED: usize = 10_000;

/// The same challenge goes out so often in a [`WINDOW`], and then no more.
const OFTEN: u32 = 2;

/// Long enough for a few rounds through a browser, short enough to try again after.
pub const WINDOW: Duration = Duration::from_secs(120);

/// The challenges that went out, by caller and operation. What the challenge says is part of the
/// value: another one begins to count anew.
pub struct Insistence {
    told: Cache<u64, Told>,
    /// Whether there ever was a challenge: most gateways need not look for one on each call.
    any: AtomicBool,
    /// SECURITY: keyed anew for each process, so that nobody can choose names that count as another's.
    prints: RandomState,
}

#[derive(Clone, Copy)]
struct Told {
    what: u64,
    times: u32,
    since: Instant,
}

impl Default for Insistence {
    fn default() -> Self {
        Self { told: Cache::new(REMEMBERED), any: AtomicBool::new(false), prints: RandomState::new() }
    }
}

impl Insistence {
    /// Counts one challenge; `false` where it has gone out often enough.
    pub fn may_challenge(&self, who: impl Hash, what: impl Hash, now: Instant) -> bool {
        let (key, what) = (self.prints.hash_one(who), self.prints.hash_one(what));
        let told = self.told.get(&key).filter(|told| told.what == what && now.saturating_duration_since(told.since) < WINDOW);
        let told = told.unwrap_or(Told { what, times: 0, since: now });
        if told.times >= OFTEN {
            return false;
        }
        self.any.store(true, Ordering::Relaxed);
        self.told.insert(key, Told { times: told.times + 1, ..told });
        true
    }

    /// The operation was permitted: the challenge did its work.
    pub fn cured(&self, who: impl Hash) {
        if self.any.load(Ordering::Relaxed) {
            self.told.remove(&self.prints.hash_one(who));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_same_challenge_in_the_window_does_not_go_out() {
        let (table, now) = (Insistence::default(), Instant::now());
        let told: Vec<bool> = (0..5).map(|n| table.may_challenge(("alice", "wipe"), "scope", now + Duration::from_secs(n))).collect();
        assert_eq!(told, [true, true, false, false, false]);
        assert!(table.may_challenge(("bob", "wipe"), "scope", now), "another caller");
        assert!(table.may_challenge(("alice", "read"), "scope", now), "another operation");
        assert!(table.may_challenge(("alice", "wipe"), "scope", now + WINDOW), "later");
    }

    #[test]
    fn success_and_another_challenge_begin_to_count_anew() {
        let (table, now) = (Insistence::default(), Instant::now());
        for _ in 0..5 {
            assert!(table.may_challenge("alice", "scope", now));
            table.cured("alice");
        }
        for what in ["a", "b", "a", "b"] {
            assert!(table.may_challenge("alice", what, now));
        }
    }

    #[test]
    fn strangers_cannot_make_it_grow() {
        let (table, now) = (Insistence::default(), Instant::now());
        for n in 0..REMEMBERED * 3 {
            table.may_challenge(n, "scope", now);
        }
        assert!(table.told.len() <= REMEMBERED);
    }
}
