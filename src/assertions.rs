//! The signed assertion that goes with a request: live keys, and what was signed a moment ago.
//!
//! A signature costs more than the rest of a request's decisions, so an assertion is used again for
//! half its life, by the same verified token at the same upstream only. Reads the clock of nobody.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::HeaderValue;
use quick_cache::sync::Cache;
use serde_json::Value;

use crate::config::{AssertionKeys, Config};
use crate::identity::assertion::{Assertion, LIFETIME};
use crate::identity::ring::KeyRing;
use crate::identity::signing::SigningKey;
use crate::oauth::resource_metadata;
use crate::route::{ASSERTION_KEYS, Route};
use crate::token::{Digest, Verified};

/// How long an assertion is used again.
const REUSE: Duration = Duration::from_secs(30);
const KEPT: usize = 10_000;

/// Signs the assertions of one world.
pub struct Assertions {
    gateway: String,
    keys: Arc<Keys>,
    recent: Cache<(Digest, Arc<str>), Recent>,
    /// Signed metadata by upstream, where the operator wants it.
    metadata: HashMap<Arc<str>, Bytes>,
}

/// Live keys; a reload that leaves their source as it was keeps them.
struct Keys {
    source: AssertionKeys,
    ring: ArcSwap<KeyRing>,
    turning: Mutex<()>,
}

#[derive(Clone)]
struct Recent {
    /// What was asserted: another verification of the same token may say something else.
    verified: Arc<Verified>,
    signed: SystemTime,
    expires: u64,
    value: HeaderValue,
}

/// The system has no randomness to make a key from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRandomness;

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no key for assertions can be made: the system has no randomness")
    }
}

impl Assertions {
    /// Takes the keys over from the old world where their source is the same.
    pub fn build(config: &Config, old: Option<&Self>, now: SystemTime) -> Result<Self, NoRandomness> {
        let keys = match old.filter(|old| old.keys.source == config.assertion_keys) {
            Some(old) => old.keys.clone(),
            None => Arc::new(Keys::new(&config.assertion_keys, old.map(|old| &*old.keys), now)?),
        };
        let metadata = if config.signed_metadata { signed_metadata(config, &keys, now)? } else { HashMap::new() };
        Ok(Self { gateway: config.public_url.clone(), keys, recent: Cache::new(KEPT), metadata })
    }

    /// The resource metadata of an upstream as it is served.
    pub fn metadata(&self, route: &Route) -> Bytes {
        self.metadata.get(&route.name).unwrap_or(&route.metadata).clone()
    }

    /// The header's value for this caller at this upstream; none where it cannot be signed.
    pub fn header(&self, route: &Route, verified: &Arc<Verified>, token: &Digest, now: SystemTime) -> Option<HeaderValue> {
        let key = (*token, route.name.clone());
        let seconds = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
        if let Some(recent) = self.recent.get(&key)
            && recent.serves(verified, now, seconds)
        {
            return Some(recent.value);
        }
        let expires = (seconds + LIFETIME).min(last_second(verified));
        let assertion = Assertion {
            gateway: &self.gateway,
            audience: &route.resource,
            who: &verified.principal,
            issued: seconds,
            expires,
            id: &identifier()?,
        };
        let mut value = HeaderValue::try_from(assertion.sign(self.keys.ring(now).signing())?).ok()?;
        value.set_sensitive(true);
        self.recent.insert(key, Recent { verified: verified.clone(), signed: now, expires, value: value.clone() });
        Some(value)
    }

    /// The published key set.
    pub fn document(&self, now: SystemTime) -> Bytes {
        self.keys.ring(now).document()
    }
}

/// Signed once: the keys are the operator's own, and a change of them is a reload.
fn signed_metadata(config: &Config, keys: &Keys, now: SystemTime) -> Result<HashMap<Arc<str>, Bytes>, NoRandomness> {
    let issued = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (ring, jwks_uri) = (keys.ring(now), format!("{}{ASSERTION_KEYS}", config.public_url));
    let sign = |claims: &Value| ring.signing().sign(resource_metadata::SIGNED_TYPE, claims);
    let signed = |route: &Arc<Route>| {
        let text = resource_metadata::signed(&route.metadata, (&config.public_url, &jwks_uri), issued, sign)?;
        Some((route.name.clone(), Bytes::from(text)))
    };
    config.routes.iter().map(signed).collect::<Option<_>>().ok_or(NoRandomness)
}

impl Recent {
    /// A clock that was set back makes it too new as well as too old.
    fn serves(&self, verified: &Arc<Verified>, now: SystemTime, seconds: u64) -> bool {
        let is_fresh = now.duration_since(self.signed).is_ok_and(|age| age < REUSE);
        is_fresh && seconds < self.expires && Arc::ptr_eq(&self.verified, verified)
    }
}

impl Keys {
    fn new(source: &AssertionKeys, old: Option<&Self>, now: SystemTime) -> Result<Self, NoRandomness> {
        let ring = match source {
            AssertionKeys::Generated(rotate) => KeyRing::generated(SigningKey::generate().ok_or(NoRandomness)?, *rotate, now),
            AssertionKeys::Given(keys) => {
                let keys = keys.0.iter().filter_map(|key| SigningKey::from_der(key)).collect();
                KeyRing::fixed(keys, now).ok_or(NoRandomness)?
            }
        };
        let ring = match old {
            Some(old) => ring.after(&old.ring.load(), now),
            None => ring,
        };
        Ok(Self { source: source.clone(), ring: ArcSwap::from_pointee(ring), turning: Mutex::new(()) })
    }

    /// The ring of this moment. Whoever notices that it must turn turns it, one at a time.
    fn ring(&self, now: SystemTime) -> Arc<KeyRing> {
        let ring = self.ring.load_full();
        if !ring.is_due(now) {
            return ring;
        }
        let _turning = self.turning.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = self.ring.load_full();
        match ring.advance(now, SigningKey::generate) {
            Some(next) => {
                let next = Arc::new(next);
                self.ring.store(next.clone());
                next
            }
            None => ring,
        }
    }
}

/// An assertion ends with the token that it speaks of, leeway included.
fn last_second(verified: &Verified) -> u64 {
    let end = verified.expires.checked_add(verified.rules.leeway).unwrap_or(verified.expires);
    end.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// 128 random bits.
fn identifier() -> Option<String> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}
