//! Which proofs were seen already? Bounded, and full means no.
//!
//! A proof is known by its caller, key and `jti` (RFC 9449 §11.1), as digests, for as long as its
//! `iat` could be accepted. What is forgotten in time is refused by time; nothing is forgotten
//! early, so a full store refuses. It takes a valid token and a valid proof to put anything here,
//! and one caller may fill no more than its share, whatever number of keys it has. Knows no clock.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Digest;

const SHARDS: usize = 64;

/// One caller may hold this part of the whole.
pub const SHARE: usize = 32;

/// Half of a SHA-256: no one finds two alike.
type Short = [u8; 16];

/// Whose proof it is, and which. Callers are told apart by issuer and subject; a proof is bound to
/// its token by `ath`, so the same proof can only ever come from the same caller.
#[derive(Clone, Copy, Debug)]
pub struct Use {
    pub caller: Digest,
    /// Of the key's thumbprint and the `jti`.
    pub proof: Digest,
    /// `iat`.
    pub issued: SystemTime,
}

/// Bounds of the store, which may be others after a reload.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How far `iat` may lie back.
    pub window: Duration,
    /// Proofs remembered in all.
    pub most: usize,
}

/// Why a proof may not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It was used before.
    Seen,
    /// So old that it may have been used and forgotten.
    TooOld,
    /// The store, or the caller's share of it, is full.
    Full,
}

pub struct Replay {
    shards: Vec<Mutex<Shard>>,
    total: AtomicUsize,
    /// Everything issued before this second may have been forgotten. It only grows, so a wider
    /// window or a clock that was set back revives no proof.
    forgotten: AtomicU64,
    /// The second in which a full store was last swept whole.
    swept: AtomicU64,
    /// Random, so that nobody can choose to share a shard with another.
    places: RandomState,
}

#[derive(Default)]
struct Shard {
    /// `iat` in seconds by proof, by caller.
    callers: HashMap<Short, HashMap<Short, u64>>,
    /// The second of the last sweep.
    swept: u64,
}

impl Default for Replay {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            total: AtomicUsize::new(0),
            forgotten: AtomicU64::new(0),
            swept: AtomicU64::new(0),
            places: RandomState::new(),
        }
    }
}

impl Replay {
    /// Notes a use: the first of its kind passes. Call after everything else was found good.
    ///
    /// # Errors
    /// See [`Refused`]; nothing is noted then.
    pub fn first(&self, usage: &Use, bounds: Bounds, now: SystemTime) -> Result<(), Refused> {
        match self.note(usage, bounds, now) {
            Err(Refused::Full) if self.sweep_all(bounds, now) => self.note(usage, bounds, now),
            decided => decided,
        }
    }

    fn note(&self, usage: &Use, bounds: Bounds, now: SystemTime) -> Result<(), Refused> {
        let (caller, proof, issued) = (short(&usage.caller), short(&usage.proof), seconds(usage.issued));
        let place = usize::try_from(self.places.hash_one(caller) % SHARDS as u64).unwrap_or_default();
        let Some(shard) = self.shards.get(place) else { return Err(Refused::Full) };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let due = seconds(now).saturating_sub(shard.swept) > (bounds.window.as_secs() / 4).max(1);
        if due {
            self.sweep(&mut shard, bounds, now);
        }
        if issued < self.forgotten.load(Ordering::Acquire) {
            return Err(Refused::TooOld);
        }
        match shard.callers.get_mut(&caller) {
            Some(seen) if seen.contains_key(&proof) => return Err(Refused::Seen),
            Some(seen) if self.has_room(seen.len(), bounds) => {
                seen.insert(proof, issued);
            }
            None if self.has_room(0, bounds) => {
                shard.callers.insert(caller, HashMap::from([(proof, issued)]));
            }
            Some(_) | None => return Err(Refused::Full),
        }
        self.total.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Proofs remembered.
    pub fn len(&self) -> usize {
        self.total.load(Ordering::Acquire)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// For one more of a caller who has used so many. The total may be overrun by as many requests as run at once; memory stays
    /// bounded.
    fn has_room(&self, used: usize, bounds: Bounds) -> bool {
        self.len() < bounds.most && used < (bounds.most / SHARE).max(1)
    }

    /// Sweeps a full store, at most once a second. Whether it was done.
    fn sweep_all(&self, bounds: Bounds, now: SystemTime) -> bool {
        let now_seconds = seconds(now);
        if self.swept.swap(now_seconds, Ordering::AcqRel) == now_seconds {
            return false;
        }
        for shard in &self.shards {
            self.sweep(&mut shard.lock().unwrap_or_else(PoisonError::into_inner), bounds, now);
        }
        true
    }

    /// Forgets what can no longer be accepted. The line is drawn before anything is dropped.
    fn sweep(&self, shard: &mut Shard, bounds: Bounds, now: SystemTime) {
        let line = seconds(now).saturating_sub(bounds.window.as_secs() + 1);
        self.forgotten.fetch_max(line, Ordering::AcqRel);
        let mut dropped = 0;
        shard.callers.retain(|_, seen| {
            let before = seen.len();
            seen.retain(|_, issued| *issued >= line);
            dropped += before - seen.len();
            // A burst must not keep its memory once it is over.
            seen.shrink_to(2 * seen.len());
            !seen.is_empty()
        });
        let callers = shard.callers.len();
        shard.callers.shrink_to(2 * callers);
        self.total.fetch_sub(dropped, Ordering::AcqRel);
        shard.swept = seconds(now);
    }
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").field("len", &self.len()).finish_non_exhaustive()
    }
}

fn short(digest: &Digest) -> Short {
    digest.first_chunk().copied().unwrap_or_default()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { window: Duration::from_secs(60), most: 64 };

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    fn proof(caller: u8, number: u8, issued: u64) -> Use {
        Use { caller: [caller; 32], proof: [number; 32], issued: at(issued) }
    }

    #[test]
    fn item_141_a_proof_passes_once_for_as_long_as_it_could_be_accepted() {
        let replay = Replay::default();
        assert_eq!(replay.first(&proof(1, 1, 1_000), BOUNDS, at(1_000)), Ok(()));
        for now in [1_000, 1_030, 1_060] {
            assert_eq!(replay.first(&proof(1, 1, 1_000), BOUNDS, at(now)), Err(Refused::Seen), "{now}");
        }
        assert_eq!(replay.first(&proof(1, 2, 1_000), BOUNDS, at(1_000)), Ok(()));
        assert_eq!(replay.first(&proof(2, 1, 1_000), BOUNDS, at(1_000)), Ok(()));
    }

    #[test]
    fn what_was_forgotten_is_refused_even_by_a_wider_window_or_an_earlier_clock() {
        let replay = Replay::default();
        assert_eq!(replay.first(&proof(1, 1, 1_000), BOUNDS, at(1_000)), Ok(()));
        assert_eq!(replay.first(&proof(1, 2, 2_000), BOUNDS, at(2_000)), Ok(()));
        assert_eq!(replay.len(), 1);
        let wider = Bounds { window: Duration::from_secs(300), most: 64 };
        assert_eq!(replay.first(&proof(1, 1, 1_000), wider, at(1_010)), Err(Refused::TooOld));
        assert_eq!(replay.first(&proof(2, 1, 1_938), wider, at(2_000)), Err(Refused::TooOld));
        assert_eq!(replay.first(&proof(2, 1, 1_940), wider, at(2_000)), Ok(()));
    }

    #[test]
    fn one_caller_fills_its_share_and_no_more() {
        let replay = Replay::default();
        for number in 0..2 {
            assert_eq!(replay.first(&proof(1, number, 1_000), BOUNDS, at(1_000)), Ok(()));
        }
        assert_eq!(replay.first(&proof(1, 9, 1_000), BOUNDS, at(1_000)), Err(Refused::Full));
        assert_eq!(replay.first(&proof(2, 9, 1_000), BOUNDS, at(1_000)), Ok(()));
        assert_eq!(replay.first(&proof(1, 0, 1_000), BOUNDS, at(1_000)), Err(Refused::Seen));
    }

    #[test]
    fn a_burst_does_not_keep_its_memory() {
        let replay = Replay::default();
        let bounds = Bounds { window: BOUNDS.window, most: 32 * 256 };
        for number in 0..255 {
            assert_eq!(replay.first(&proof(1, number, 1_000), bounds, at(1_000)), Ok(()));
        }
        assert_eq!(replay.first(&proof(1, 255, 1_100), bounds, at(1_100)), Ok(()));
        let kept: usize = replay
            .shards
            .iter()
            .flat_map(|shard| shard.lock().expect("a lock").callers.values().map(HashMap::capacity).collect::<Vec<_>>())
            .sum();
        assert_eq!(replay.len(), 1);
        assert!(kept < 16, "{kept}");
    }

    #[test]
    fn a_full_store_refuses_and_forgets_nothing_and_has_room_again_in_time() {
        let replay = Replay::default();
        for number in 0..64 {
            assert_eq!(replay.first(&proof(number, 1, 1_000), BOUNDS, at(1_000)), Ok(()));
        }
        assert_eq!(replay.first(&proof(200, 1, 1_000), BOUNDS, at(1_000)), Err(Refused::Full));
        for number in 0..64 {
            assert_eq!(replay.first(&proof(number, 1, 1_000), BOUNDS, at(1_060)), Err(Refused::Seen));
        }
        for number in 0..64 {
            assert_eq!(replay.first(&proof(number, 2, 1_100), BOUNDS, at(1_100)), Ok(()), "{number}");
        }
        assert_eq!(replay.len(), 64);
    }
}
