//! Who asks that a subject's tokens be revoked? A JWT of the sender's own, shown as its bearer token (private key JWT).
//!
//! The draft of Global Token Revocation leaves open how a sender proves itself; this is the way of Okta's Universal
//! Logout. The token says nothing of the subject: whoever takes it in sees to it that it is good for one request.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::set::jti;
use super::{Fault, Unproven};
use crate::token::{Algorithm, Unverified};

/// `typ`: tells it from event tokens, ID tokens and access tokens of the same key (RFC 8725 §3.11).
const TYPE: &str = "global-token-revocation+jwt";
/// From now to `exp`, for it is remembered for as long.
const LONGEST_LIFE: Duration = Duration::from_secs(600);

/// What is demanded of one sender's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderRules {
    /// Their `iss`, letter by letter.
    pub issuer: Arc<str>,
    /// One of these is in their `aud`: the endpoint's own address, unless agreed otherwise.
    pub audience: Vec<String>,
    pub algorithms: Vec<Algorithm>,
    /// Tolerated clock difference.
    pub leeway: Duration,
}

/// A sender's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub jti: String,
    /// Until then it must not be good for another request; leeway included.
    pub until: SystemTime,
}

impl SenderRules {
    /// Everything but the signature.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn read<'a>(&self, text: &'a str, now: SystemTime) -> Result<Unproven<'a, Shown>, Fault> {
        let token = Unverified::parse(text)?;
        if token.kind() != TYPE {
            return Err(Fault::Type);
        }
        if !self.algorithms.contains(&token.algorithm()) {
            return Err(Fault::Algorithm);
        }
        if *token.issuer() != *self.issuer {
            return Err(Fault::Issuer);
        }
        if !token.audience().iter().any(|audience| self.audience.contains(audience)) {
            return Err(Fault::Audience);
        }
        let until = self.until(&token, now)?;
        let told = Shown { jti: jti(token.claims())?, until };
        Ok(Unproven { token, told })
    }

    fn until(&self, token: &Unverified<'_>, now: SystemTime) -> Result<SystemTime, Fault> {
        let ends = token.time("exp").ok().flatten().ok_or(Fault::Claim("exp"))?;
        let until = ends.checked_add(self.leeway).ok_or(Fault::Claim("exp"))?;
        if until <= now {
            return Err(Fault::Expired);
        }
        let latest = now.checked_add(self.leeway);
        for name in ["nbf", "iat"] {
            let begins = token.time(name).map_err(|_| Fault::Claim(name))?;
            if begins.zip(latest).is_some_and(|(begins, latest)| begins > latest) {
                return Err(Fault::Time);
            }
        }
        if ends.duration_since(now).is_ok_and(|life| life > LONGEST_LIFE + self.leeway) { Err(Fault::Time) } else { Ok(until) }
    }
}
