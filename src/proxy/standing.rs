//! How one server stands: what it is busy with, and whether calls and checks have failed of late.
//!
//! Atomics only, for it is touched by every call. Knows neither addresses nor connections; time is told.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// Failures in a row until a server is left out.
const FAILURES: u32 = 3;
/// How long at first; doubled each time that it is left out again without a success between.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// One call in this time tries a server whose time is over.
const TRIAL: Duration = Duration::from_secs(1);

/// Of one server, kept while its address is configured or resolved.
#[derive(Debug, Default)]
pub struct Standing {
    in_flight: AtomicUsize,
    failures: AtomicU32,
    ejections: AtomicU32,
    /// Milliseconds until which it is left out; 0 where it is not.
    until: AtomicU64,
    trial: AtomicU64,
    sick: AtomicBool,
    /// Checks in a row that said other than `sick` does.
    checks: AtomicU32,
}

impl Standing {
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    pub fn depart(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    pub fn arrive(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Neither left out for failed calls nor found ill by checks.
    pub fn is_fit(&self) -> bool {
        self.until.load(Relaxed) == 0 && !self.sick.load(Relaxed)
    }

    /// Whether the caller shall try a server that was left out long enough; said to one caller at a time.
    pub fn may_try(&self, now: Duration) -> bool {
        let (until, now) = (self.until.load(Relaxed), millis(now));
        if until == 0 || now < until || self.sick.load(Relaxed) {
            return false;
        }
        let trial = self.trial.load(Relaxed);
        now >= trial && self.trial.compare_exchange(trial, now + millis(TRIAL), Relaxed, Relaxed).is_ok()
    }

    /// Returns whether it is left out from now on.
    pub fn failed(&self, now: Duration) -> bool {
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        let (until, now) = (self.until.load(Relaxed), millis(now));
        if failures < FAILURES || now < until {
            return false;
        }
        let doubled = FIRST.saturating_mul(1 << self.ejections.load(Relaxed).min(8)).min(LONGEST);
        // Of many calls that fail together one sets the time.
        if self.until.compare_exchange(until, now + millis(doubled), Relaxed, Relaxed).is_err() {
            return false;
        }
        self.ejections.fetch_add(1, Relaxed);
        true
    }

    /// It has answered a call. Returns whether it was left out before.
    pub fn succeeded(&self) -> bool {
        if self.failures.load(Relaxed) == 0 && self.until.load(Relaxed) == 0 {
            return false;
        }
        self.failures.store(0, Relaxed);
        self.ejections.store(0, Relaxed);
        self.until.swap(0, Relaxed) != 0
    }

    /// A check has ended; `row` such checks in a row change the mind. Returns whether it was changed.
    pub fn checked(&self, well: bool, row: u32) -> bool {
        if well != self.sick.load(Relaxed) {
            self.checks.store(0, Relaxed);
            return false;
        }
        if self.checks.fetch_add(1, Relaxed).saturating_add(1) < row {
            return false;
        }
        self.checks.store(0, Relaxed);
        self.sick.store(!well, Relaxed);
        if well {
            self.succeeded();
        }
        true
    }
}

/// Never 0, which says that there is no time.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX >> 1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn three_failures_in_a_row_leave_a_server_out_and_a_success_between_does_not() {
        let standing = Standing::default();
        assert!(!standing.failed(at(1)) && !standing.failed(at(1)));
        assert!(!standing.succeeded());
        assert!(!standing.failed(at(1)) && !standing.failed(at(1)) && standing.is_fit());
        assert!(standing.failed(at(1)));
        assert!(!standing.is_fit());
        assert!(standing.succeeded() && standing.is_fit());
    }

    #[test]
    fn a_server_is_left_out_longer_each_time_and_never_for_good() {
        let standing = Standing::default();
        let mut now = 0;
        let mut last = 0;
        (0..2).for_each(|_| assert!(!standing.failed(at(now))));
        for _ in 0..12 {
            assert!(standing.failed(at(now)));
            assert!(!standing.may_try(at(now)));
            let out = (1..=60_000).find(|out| standing.may_try(at(now + out))).expect("its time ends");
            assert!(out >= last && out <= 60_000, "{out}");
            (last, now) = (out, now + out);
        }
        assert_eq!(last, 60_000);
    }

    #[test]
    fn calls_that_fail_together_leave_a_server_out_once() {
        let standing = Standing::default();
        let ejections = (0..100).filter(|_| standing.failed(at(5))).count();
        assert_eq!(ejections, 1);
        assert!(standing.may_try(at(1_006)));
    }

    #[test]
    fn one_call_tries_a_server_whose_time_is_over() {
        let standing = Standing::default();
        assert!((0..3).any(|_| standing.failed(at(1))));
        assert!(!standing.may_try(at(500)));
        assert!(standing.may_try(at(2_000)));
        assert!((0..100).all(|_| !standing.may_try(at(2_500))));
        assert!(standing.may_try(at(3_500)), "a trial that never ends does not keep it out");
    }

    #[test]
    fn checks_change_the_mind_after_a_row_and_calls_do_not_overrule_them() {
        let standing = Standing::default();
        assert!(!standing.checked(false, 3) && !standing.checked(false, 3) && !standing.checked(true, 1));
        assert!(!standing.checked(false, 3) && !standing.checked(false, 3) && standing.checked(false, 3));
        assert!(!standing.is_fit() && !standing.succeeded() && !standing.is_fit());
        assert!(!standing.checked(true, 2) && standing.checked(true, 2) && standing.is_fit());
    }
}
