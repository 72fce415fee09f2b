//! Is this a security event token for us (RFC 8417, SSF 1.0 §4), and what does it say?
//!
//! Checked in the order: type, algorithm, issuer, audience, claims, time, events. A SET does not expire, but one that
//! is too old says nothing of tokens that still live.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{Fault, Happening, Kind, LONGEST_NAME, Subject, Told, Unproven};
use crate::token::{Algorithm, Members, Unverified};

/// Events in one token. SSF 1.0 §4.1.2 has one.
const MOST_EVENTS: usize = 16;

/// What is demanded of one transmitter's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetRules {
    /// Their `iss`, letter by letter.
    pub transmitter: Arc<str>,
    /// One of these is in their `aud`.
    pub audience: Vec<String>,
    pub algorithms: Vec<Algorithm>,
    /// Tolerated clock difference.
    pub leeway: Duration,
    /// How long ago one may have been made.
    pub max_age: Duration,
}

impl SetRules {
    /// Everything but the signature.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn read<'a>(&self, text: &'a str, now: SystemTime) -> Result<Unproven<'a>, Fault> {
        let token = Unverified::parse(text)?;
        // SECURITY: a token of another kind, by the same key, must not pass for one (RFC 8417 §4.5, RFC 8725 §3.11).
        if token.kind() != "secevent+jwt" {
            return Err(Fault::Type);
        }
        if !self.algorithms.contains(&token.algorithm()) {
            return Err(Fault::Algorithm);
        }
        if *token.issuer() != *self.transmitter {
            return Err(Fault::Issuer);
        }
        if !token.audience().iter().any(|audience| self.audience.contains(audience)) {
            return Err(Fault::Audience);
        }
        // SSF 1.0 §4.1.5, §4.1.6: never in a SET, so that nothing takes one for another token.
        for name in ["exp", "sub"] {
            if token.claims().contains_key(name) {
                return Err(Fault::Claim(name));
            }
        }
        let made = self.made(&token, now)?;
        let jti = jti(token.claims())?;
        let toe = token.time("toe").map_err(|_| Fault::Claim("toe"))?.map(seconds);
        let happenings = happenings(token.claims(), made, toe)?;
        let issuer = token.issuer().to_owned();
        Ok(Unproven { token, told: Told { issuer, jti, happenings } })
    }

    /// `iat`, in seconds since 1970.
    fn made(&self, token: &Unverified<'_>, now: SystemTime) -> Result<u64, Fault> {
        let made = token.time("iat").ok().flatten().ok_or(Fault::Claim("iat"))?;
        let is_ahead = now.checked_add(self.leeway).is_some_and(|now| made > now);
        let is_old = made.checked_add(self.max_age).is_some_and(|last| last < now);
        if is_ahead || is_old { Err(Fault::Time) } else { Ok(seconds(made)) }
    }
}

/// RFC 8417 §2.2: it must have one.
pub(super) fn jti(claims: &Members) -> Result<String, Fault> {
    let jti = claims.get("jti").and_then(Value::as_str).filter(|jti| !jti.is_empty() && jti.len() <= LONGEST_NAME);
    jti.map(str::to_owned).ok_or(Fault::Claim("jti"))
}

pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn happenings(claims: &Members, made: u64, toe: Option<u64>) -> Result<Vec<Happening>, Fault> {
    let events = claims.get("events").and_then(Value::as_object).ok_or(Fault::Events)?;
    if events.is_empty() || events.len() > MOST_EVENTS {
        return Err(Fault::Events);
    }
    let common = claims.get("sub_id").map(Subject::read).transpose()?;
    events.iter().map(|(uri, event)| happening(uri, event, common.as_ref(), made, toe)).collect()
}

fn happening(uri: &str, event: &Value, common: Option<&Subject>, made: u64, toe: Option<u64>) -> Result<Happening, Fault> {
    let event = event.as_object().ok_or(Fault::Events)?;
    let kind = Kind::of(uri);
    // Before SSF 1.0 the subject stood in the event.
    let subject = match (common, event.get("subject")) {
        (Some(common), _) => common.clone(),
        (None, Some(own)) if kind.is_some() => Subject::read(own)?,
        (None, None) if kind.is_some_and(|kind| !matches!(kind, Kind::Verification | Kind::StreamUpdated)) => return Err(Fault::Subject),
        (None, _) => Subject::default(),
    };
    // SECURITY: no later than the token was made, so that a token used again revokes nothing new, and a time in
    // milliseconds or a wrong clock does not lock anybody out for years.
    let at = event.get("event_timestamp").map(timestamp).transpose()?.or(toe).unwrap_or(made).min(made);
    Ok(Happening { kind, subject, at })
}

/// CAEP 1.0 §2: seconds since 1970.
fn timestamp(value: &Value) -> Result<u64, Fault> {
    let fraction = value.as_f64().filter(|seconds| *seconds >= 0.0);
    value.as_u64().or(fraction.map(|seconds| seconds as u64)).ok_or(Fault::Claim("event_timestamp"))
}
