//! When may a fetch of keys begin? Time comes in as a value; nothing is fetched here.
//!
//! Fetches keep a distance of two seconds, whatever asks for them. Tokens with an unknown key may
//! cause three more in a row that bring nothing new, and then one each cooldown: a flood of made-up
//! key ids costs a handful a minute. A fetch that brought new keys costs nothing, so an issuer that
//! rotates quickly is followed; nor does one that failed, so that the end of an outage is noticed.

use std::time::Duration;

use tokio::time::Instant;

const DISTANCE: Duration = Duration::from_secs(2);

/// Fetches for unknown keys that may bring nothing new, one after the other.
const BURST: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// There are no keys, or they are no longer fresh.
    Needed,
    /// A token names a key that is not held.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    News,
    Unchanged,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Begin: whoever hears this must fetch, and then [`Pace::land`].
    Now,
    /// One is under way.
    Running,
    /// Not before.
    At(Instant),
    No,
}

#[derive(Debug)]
pub(super) struct Pace {
    cooldown: Duration,
    running: Option<Reason>,
    begun: Option<Instant>,
    failed: bool,
    spare: u32,
    /// When `spare` last grew, or was full.
    refilled: Option<Instant>,
}

impl Pace {
    pub(super) fn new(cooldown: Duration) -> Self {
        Self { cooldown, running: None, begun: None, failed: false, spare: BURST, refilled: None }
    }

    pub(super) fn ask(&mut self, reason: Reason, now: Instant) -> Start {
        if self.running.is_some() {
            return Start::Running;
        }
        self.refill(now);
        if reason == Reason::Unknown && self.spare == 0 {
            return Start::No;
        }
        let next = self.begun.map_or(now, |begun| begun + DISTANCE.min(self.cooldown));
        if now < next {
            // What is held will do while the issuer is away; where nothing is, the next try may help.
            return if self.failed && reason == Reason::Unknown { Start::No } else { Start::At(next) };
        }
        if reason == Reason::Unknown {
            self.spare -= 1;
        }
        self.running = Some(reason);
        self.begun = Some(now);
        Start::Now
    }

    /// Ends the fetch that [`Start::Now`] began, and says when that was.
    pub(super) fn land(&mut self, outcome: Outcome) -> Option<Instant> {
        let reason = self.running.take();
        self.failed = outcome == Outcome::Failed;
        if reason == Some(Reason::Unknown) && outcome != Outcome::Unchanged {
            self.spare = (self.spare + 1).min(BURST);
        }
        self.begun
    }

    fn refill(&mut self, now: Instant) {
        let mut since = self.refilled.filter(|_| self.spare < BURST).unwrap_or(now);
        while self.spare < BURST && now - since >= self.cooldown {
            self.spare += 1;
            since += self.cooldown;
        }
        self.refilled = Some(since);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOLDOWN: Duration = Duration::from_secs(30);

    /// Fetches begun when asked each 100 ms, each landing at once.
    fn begun(pace: &mut Pace, reason: Reason, seconds: u64, outcome: Outcome) -> u32 {
        let start = Instant::now();
        let mut count = 0;
        for tick in 0..seconds * 10 {
            if pace.ask(reason, start + Duration::from_millis(tick * 100)) == Start::Now {
                pace.land(outcome);
                count += 1;
            }
        }
        count
    }

    #[test]
    fn a_flood_of_unknown_keys_costs_a_handful_of_fetches_a_minute() {
        let mut pace = Pace::new(COOLDOWN);
        assert!((3..=5).contains(&begun(&mut pace, Reason::Unknown, 60, Outcome::Unchanged)));
        let mut pace = Pace::new(COOLDOWN);
        assert!((21..=23).contains(&begun(&mut pace, Reason::Unknown, 600, Outcome::Unchanged)));
    }

    #[test]
    fn an_issuer_that_rotates_quickly_is_followed_at_one_fetch_in_two_seconds() {
        assert_eq!(begun(&mut Pace::new(COOLDOWN), Reason::Unknown, 60, Outcome::News), 30);
    }

    #[test]
    fn an_outage_costs_one_fetch_in_two_seconds() {
        assert_eq!(begun(&mut Pace::new(COOLDOWN), Reason::Unknown, 60, Outcome::Failed), 30);
        assert_eq!(begun(&mut Pace::new(COOLDOWN), Reason::Needed, 60, Outcome::Failed), 30);
    }

    #[test]
    fn one_fetch_at_a_time() {
        let (mut pace, now) = (Pace::new(COOLDOWN), Instant::now());
        assert_eq!(pace.ask(Reason::Needed, now), Start::Now);
        assert_eq!(pace.ask(Reason::Unknown, now + COOLDOWN), Start::Running);
        assert_eq!(pace.land(Outcome::News), Some(now));
        assert_eq!(pace.ask(Reason::Unknown, now + Duration::from_secs(1)), Start::At(now + DISTANCE));
        assert_eq!(pace.ask(Reason::Unknown, now + DISTANCE), Start::Now);
    }

    #[test]
    fn an_unknown_key_does_not_wait_for_an_issuer_that_just_failed() {
        let (mut pace, now) = (Pace::new(COOLDOWN), Instant::now());
        assert_eq!(pace.ask(Reason::Needed, now), Start::Now);
        pace.land(Outcome::Failed);
        assert_eq!(pace.ask(Reason::Needed, now + Duration::from_secs(1)), Start::At(now + DISTANCE));
        assert_eq!(pace.ask(Reason::Unknown, now + Duration::from_secs(1)), Start::No);
        assert_eq!(pace.ask(Reason::Needed, now + DISTANCE), Start::Now);
    }

    #[test]
    fn a_cooldown_of_nothing_does_not_hang() {
        assert_eq!(begun(&mut Pace::new(Duration::ZERO), Reason::Unknown, 1, Outcome::Unchanged), 10);
    }
}
