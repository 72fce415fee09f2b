//! How often may they? Rates per client and per subject, kept per replica.
//!
//! The cell rate algorithm is `governor`'s; the table of callers is bounded here, so that a stranger
//! with many identities costs others nothing but a fresh start.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::clock::{Clock, DefaultClock};
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};
use quick_cache::sync::Cache;

use crate::route::Rate;

/// Callers remembered at once.
const CALLERS: usize = 100_000;

/// One table for all upstreams; a caller is known by upstream, kind and identity.
pub struct Limiter {
    callers: Callers,
    /// SECURITY: keyed anew for each process, so that nobody can choose a name that spends another's rate.
    prints: ahash::RandomState,
    /// One for each rate that a configuration has named, which are few.
    rates: ArcSwap<Vec<(Rate, Arc<Keyed>)>>,
    clock: DefaultClock,
}

/// Who is counted by where requests come from: an IPv4 address, or the /64 of IPv6 of which one subscriber has every address.
pub fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

type Keyed = RateLimiter<u64, Callers, DefaultClock>;

impl Default for Limiter {
    fn default() -> Self {
        Self {
            callers: Callers(Arc::new(Cache::new(CALLERS))),
            prints: ahash::RandomState::new(),
            rates: ArcSwap::default(),
            clock: DefaultClock::default(),
        }
    }
}

impl Limiter {
    /// Counts one request. `Err` holds how long to wait for the next one to pass.
    pub fn admit(&self, who: impl Hash, rate: Rate) -> Result<(), Duration> {
        let who = self.prints.hash_one((who, rate));
        let known = self.rates.load();
        let checked = match known.iter().find(|(known, _)| *known == rate) {
            Some((_, keyed)) => keyed.check_key(&who),
            None => self.learn(rate).ok_or(rate.per)?.check_key(&who),
        };
        checked.map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }

    fn learn(&self, rate: Rate) -> Option<Arc<Keyed>> {
        let fresh = Arc::new(RateLimiter::new(quota(rate)?, self.callers.clone(), self.clock.clone()));
        // Of two that are made at once both count in the same table of callers.
        self.rates.rcu(|known| known.iter().cloned().chain([(rate, fresh.clone())]).collect::<Vec<_>>());
        Some(fresh)
    }
}

/// When each caller's next request is due, by the hash of the caller and the rate.
#[derive(Clone)]
struct Callers(Arc<Cache<u64, Arc<AtomicU64>>>);

impl StateStore for Callers {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let due = self.0.get(key).unwrap_or_else(|| {
            let fresh = Arc::new(AtomicU64::new(0));
            self.0.insert(*key, fresh.clone());
            fresh
        });
        let mut seen = due.load(Ordering::Acquire);
        loop {
            let (answer, next) = f((seen != 0).then(|| seen.into()))?;
            match due.compare_exchange_weak(seen, next.into(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(answer),
                Err(other) => seen = other,
            }
        }
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
    fn s36_a_subscriber_with_many_addresses_is_one() {
        let of = |address: &str| neighbourhood(address.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }

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

    #[test]
    fn nobody_can_know_which_names_count_as_one_in_another_process() {
        let prints = [Limiter::default(), Limiter::default()].map(|limiter| limiter.prints.hash_one(("up", "alice")));
        assert_ne!(prints[0], prints[1]);
    }
}
