//! What all JWTs have in common that are shown at the token endpoint: by clients, by identity providers, by workloads.
//!
//! Each kind has rules of its own, and none takes the other's (RFC 8725 §3.12). Signatures are checked by whoever has the keys.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::server_metadata::ASSERTION_ALGORITHMS;
use crate::token::{Algorithm, Unverified};

/// Bytes of an id that is remembered.
const LONGEST_ID: usize = 256;
/// The longest that such a JWT may still live: its id is remembered for as long.
pub const LONGEST_LIFE: Duration = Duration::from_secs(3600);

/// Why it is refused: a sentence for whoever sent it.
pub type Flaw = &'static str;

/// `typ` of an identity assertion (ID-JAG §3).
pub const IDENTITY: &str = "oauth-id-jag+jwt";

/// The kinds of JWT that have a type of their own, and are nothing else.
const TYPED: [&str; 6] = [IDENTITY, "at+jwt", "dpop+jwt", "logout+jwt", "secevent+jwt", crate::identity::assertion::TYPE];

/// Whether a `typ` says nothing of a kind: `JWT`, or none.
pub fn is_untyped(kind: &str) -> bool {
    matches!(kind, "jwt" | "none")
}

/// Whether a `typ` is that of another kind.
pub fn is_of_another_kind(kind: &str) -> bool {
    TYPED.contains(&kind)
}

/// When a JWT is looked at, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now: SystemTime,
    pub leeway: Duration,
}

/// Algorithms that are accepted where the operator names none.
pub fn algorithms() -> Vec<Algorithm> {
    ASSERTION_ALGORITHMS.iter().filter_map(|name| name.parse().ok()).collect()
}

/// `exp`, which must come soon; `iat` and `nbf` must not lie ahead. In seconds since 1970.
pub fn expires(jwt: &Unverified<'_>, at: Moment) -> Result<u64, Flaw> {
    let time = |name| jwt.time(name).map_err(|_| "a time of the assertion is malformed");
    let expires = time("exp")?.ok_or("the assertion has no `exp`")?;
    if expires + at.leeway <= at.now {
        return Err("the assertion has expired");
    }
    if expires > at.now + LONGEST_LIFE + at.leeway {
        return Err("the assertion lives for more than an hour");
    }
    for name in ["iat", "nbf"] {
        if time(name)?.is_some_and(|begins| begins > at.now + at.leeway) {
            return Err("the assertion is not valid yet");
        }
    }
    Ok(expires.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// `aud` is this one value, alone (security-topics-update §2.1, ID-JAG §4.4.1).
pub fn is_for(jwt: &Unverified<'_>, audiences: &[&str]) -> bool {
    matches!(jwt.audience(), [only] if audiences.contains(&only.as_str()))
}

/// `jti`, bounded.
pub fn id<'a>(jwt: &'a Unverified<'_>) -> Result<&'a str, Flaw> {
    let id = text(jwt, "jti").ok_or("the assertion has no `jti`")?;
    if id.len() > LONGEST_ID { Err("the `jti` of the assertion is too long") } else { Ok(id) }
}

/// A claim that is a text, and not empty.
pub fn text<'a>(jwt: &'a Unverified<'_>, name: &str) -> Option<&'a str> {
    jwt.claims().get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}
