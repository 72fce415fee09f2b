//! How often may they? Rates per client and per subject, kept per replica.
//!
//! The cell rate algorithm is `governor`'s; the table of callers is bounded here, so that a stranger
//! with many identities costs others nothing but a fresh start.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota};
use quick_cache::sync::Cache;

use crate::route::Rate;

/// Callers remembered at once.
const CALLERS: usize = 100_000;

/// One table for all upstreams; a caller is known by upstream, kind and identity.
pub struct Limiter {
    callers: Cache<u64, Arc<DefaultDirectRateLimiter>>,
    clock: DefaultClock,
}

impl Default for Limiter {
    fn default() -> Self {
        Self { callers: Cache::new(CALLERS), clock: DefaultClock::default() }
    }
}

impl Limiter {
    /// Counts one request. `Err` holds how long to wait for the next one to pass.
    pub fn admit(&self, who: impl Hash, rate: Rate) -> Result<(), Duration> {
        let mut hasher = DefaultHasher::new();
        (who, rate.count, rate.per).hash(&mut hasher);
        let key = hasher.finish();
        let limiter = match self.callers.get(&key) {
            Some(limiter) => limiter,
            None => {
                let Some(quota) = quota(rate) else { return Err(rate.per) };
                let fresh = Arc::new(DefaultDirectRateLimiter::direct(quota));
                self.callers.insert(key, fresh.clone());
                fresh
            }
        };
        limiter.check().map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }
}

fn quota(rate: Rate) -> Option<Quota> {
    let burst = NonZeroU32::new(rate.count)?;
    Some(Quota::with_period(rate.per.checked_div(rate.count)?)?.allow_burst(burst))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn item_37_one_caller_over_the_rate_waits_and_another_does_not() {
        let limiter = Limiter::default();
        let rate = Rate { count: 2, per: Duration::from_secs(60) };
        assert!(limiter.admit(("up", "alice"), rate).is_ok());
        assert!(limiter.admit(("up", "alice"), rate).is_ok());
        let wait = limiter.admit(("up", "alice"), rate).expect_err("limited");
        assert!(wait > Duration::from_secs(20) && wait <= Duration::from_secs(30), "{wait:?}");
        assert!(limiter.admit(("up", "bob"), rate).is_ok());
    }
}
