//! May an issuer be asked about one more token? Time comes in as a value; nothing is asked here.
//!
//! Two bounds. After five failures in a row the valve is shut for two seconds at a time, and one
//! question each time finds out whether the issuer is back. And tokens that turn out to be none
//! spend a budget: a flood of made-up ones costs the issuer a burst and then twenty a second, while
//! a token that was good before is always asked about.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row that shut the valve.
const MOST_FAILURES: u32 = 5;

/// How long it stays shut before one question tries.
const SHUT: Duration = Duration::from_secs(2);

/// Questions about tokens never seen good that may turn out to be about nothing, in a row.
const BURST: u32 = 256;

/// In this time one of them comes back.
const REFILL: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// Ask: whoever hears this must [`Valve::land`].
    Go,
    /// Shut: the issuer does not answer.
    Shut,
    /// Too many made-up tokens.
    Spent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Active,
    Inactive,
    /// The issuer is there, but would not answer about this token.
    Odd,
    Failed,
}

#[derive(Debug)]
pub(super) struct Valve {
    failures: u32,
    shut_until: Option<Instant>,
    probing: bool,
    spare: u32,
    /// When `spare` last grew, or was full.
    refilled: Option<Instant>,
}

impl Valve {
    pub(super) fn new() -> Self {
        Self { failures: 0, shut_until: None, probing: false, spare: BURST, refilled: None }
    }

    /// `known` tokens were good before.
    pub(super) fn ask(&mut self, known: bool, now: Instant) -> Pass {
        let is_shut = self.failures >= MOST_FAILURES;
        if is_shut && (self.probing || self.shut_until.is_some_and(|until| now < until)) {
            return Pass::Shut;
        }
        self.refill(now);
        if !known && self.spare == 0 {
            return Pass::Spent;
        }
        if !known {
            self.spare -= 1;
        }
        self.probing = is_shut;
        Pass::Go
    }

    /// Whether this was the first failure after the issuer had been well, or the first answer after it had not.
    pub(super) fn land(&mut self, known: bool, outcome: Outcome, now: Instant) -> bool {
        let before = self.failures;
        self.probing = false;
        if outcome == Outcome::Failed {
            self.failures = self.failures.saturating_add(1);
            self.shut_until = Some(now + SHUT);
        } else {
            self.failures = 0;
        }
        if !known && matches!(outcome, Outcome::Active | Outcome::Failed) {
            self.spare = (self.spare + 1).min(BURST);
        }
        (before == 0) != (self.failures == 0)
    }

    fn refill(&mut self, now: Instant) {
        let since = self.refilled.filter(|_| self.spare < BURST).unwrap_or(now);
        let grown = (now - since).as_millis() / REFILL.as_millis();
        let grown = u32::try_from(grown).unwrap_or(BURST).min(BURST);
        self.spare = (self.spare + grown).min(BURST);
        self.refilled = Some(since + REFILL * grown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Questions let through when asked each millisecond, each landing at once.
    fn let_through(valve: &mut Valve, known: bool, outcome: Outcome, milliseconds: u64) -> u32 {
        let start = Instant::now();
        let mut count = 0;
        for tick in 0..milliseconds {
            let now = start + Duration::from_millis(tick);
            if valve.ask(known, now) == Pass::Go {
                valve.land(known, outcome, now);
                count += 1;
            }
        }
        count
    }

    #[test]
    fn a_flood_of_made_up_tokens_costs_a_burst_and_then_a_trickle() {
        assert_eq!(let_through(&mut Valve::new(), false, Outcome::Inactive, 10_000), 256 + 199);
        assert_eq!(let_through(&mut Valve::new(), false, Outcome::Odd, 10_000), 256 + 199);
    }

    #[test]
    fn good_tokens_and_known_ones_are_asked_about_without_a_bound() {
        assert_eq!(let_through(&mut Valve::new(), false, Outcome::Active, 10_000), 10_000);
        let mut spent = Valve::new();
        let_through(&mut spent, false, Outcome::Inactive, 1_000);
        assert_eq!(spent.ask(false, Instant::now()), Pass::Spent);
        assert_eq!(let_through(&mut spent, true, Outcome::Active, 1_000), 1_000);
    }

    #[test]
    fn c_03_an_outage_costs_one_question_in_two_seconds() {
        assert_eq!(let_through(&mut Valve::new(), true, Outcome::Failed, 60_000), 5 + 29);
    }

    #[test]
    fn one_question_at_a_time_finds_out_whether_the_issuer_is_back() {
        let (mut valve, now) = (Valve::new(), Instant::now());
        assert_eq!(let_through(&mut valve, true, Outcome::Failed, 100), 5);
        let later = now + Duration::from_secs(10);
        assert_eq!(valve.ask(true, later), Pass::Go);
        assert_eq!(valve.ask(true, later), Pass::Shut);
        assert!(valve.land(true, Outcome::Active, later), "the issuer is back");
        assert_eq!(valve.ask(true, later), Pass::Go);
        assert!(!valve.land(true, Outcome::Active, later));
    }

    #[test]
    fn failures_with_answers_between_them_do_not_shut_it() {
        let (mut valve, now) = (Valve::new(), Instant::now());
        for _ in 0..20 {
            for outcome in [Outcome::Failed, Outcome::Failed, Outcome::Failed, Outcome::Failed, Outcome::Inactive] {
                assert_eq!(valve.ask(true, now), Pass::Go);
                valve.land(true, outcome, now);
            }
        }
    }
}
