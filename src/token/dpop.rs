//! Does this proof show that the caller holds the key (RFC 9449 §4.3)? Every check but the last, replay.
//!
//! The order: shape and bounds → header → everything cheap → signature. Method, URL, token, key,
//! time and nonces come in as values; a proof says nothing of who the caller is. Knows no clock.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use serde_json::Value;
use url::Url;

use super::jwt::{date, decode};
use super::proof_key::{KnownKey, ProofKey, ProofKeys};
use super::{Algorithm, Digest, Error, Flaw, Members, Nonces, Thumbprint, json};

/// Bytes of the longest proof that is looked at: one with an RSA key of 8192 bits has about 3 KiB.
pub const LONGEST: usize = 8 << 10;

/// Bytes of the longest `jti`.
const LONGEST_ID: usize = 256;

/// Header members that bring other keys along or change how the proof is read (RFC 7515 §4.1, RFC 7797).
const REFUSED_HEADERS: [&str; 6] = ["crit", "jku", "x5u", "x5c", "b64", "zip"];

/// What is demanded of proofs, resolved from the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofRules {
    /// Accepted signature algorithms.
    pub algorithms: Vec<Algorithm>,
    /// How far `iat` may lie back or ahead.
    pub window: Duration,
    /// Proofs must have a nonce of ours.
    pub nonce: bool,
    /// Proofs remembered against replay.
    pub remembered: usize,
}

impl Default for ProofRules {
    fn default() -> Self {
        Self { algorithms: vec![Algorithm::ES256, Algorithm::EdDSA], window: Duration::from_secs(60), nonce: false, remembered: 262_144 }
    }
}

/// The request that a proof must be for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub method: &'a str,
    /// The URL that clients type, without query and fragment.
    pub url: &'a str,
    /// SHA-256 of the access token; none where one is asked for (RFC 9449 §5).
    pub token: Option<&'a Digest>,
    /// The key that the token is bound to; none where any may be (RFC 9449 §5).
    pub key: Option<&'a Thumbprint>,
    /// Where a nonce is demanded, those that are ours.
    pub nonces: Option<&'a Nonces>,
    pub now: SystemTime,
}

/// What a good proof leaves to ask: was it used before?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proven {
    /// Of thumbprint and `jti`.
    pub id: Digest,
    /// `iat`.
    pub issued: SystemTime,
    /// Of the key that made it.
    pub key: Thumbprint,
}

/// The one proof of a head (RFC 9449 §4.3 points 1 and 2).
///
/// # Errors
/// None, several, or one that is too long or no text.
pub fn proof(headers: &HeaderMap) -> Result<&str, Error> {
    let mut values = headers.get_all("dpop").iter();
    let value = values.next().ok_or(Error::Proof(Flaw::Missing))?;
    if values.next().is_some() {
        return Err(Error::Proof(Flaw::Several));
    }
    if value.len() > LONGEST {
        return Err(Error::Proof(Flaw::TooLong));
    }
    value.to_str().map_err(|_| Error::Proof(Flaw::Malformed))
}

/// RFC 9449 §4.3, points 2 to 12.
///
/// # Errors
/// [`Error::Proof`] with the first flaw found, or [`Error::Nonce`] where all else is well.
pub fn check(proof: &str, expected: &Expected<'_>, rules: &ProofRules, keys: &ProofKeys) -> Result<Proven, Error> {
    let checked = Parts::parse(proof).and_then(|parts| parts.check(expected, rules, keys));
    let (proven, nonce) = checked.map_err(Error::Proof)?;
    match expected.nonces {
        Some(nonces) if !nonce.is_some_and(|nonce| nonces.accepts(&nonce, expected.now)) => Err(Error::Nonce),
        _ => Ok(proven),
    }
}

struct Parts<'a> {
    /// Header and payload as signed.
    message: &'a str,
    header: &'a str,
    claims: Members,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn parse(proof: &'a str) -> Result<Self, Flaw> {
        if proof.len() > LONGEST {
            return Err(Flaw::TooLong);
        }
        let (message, signature) = proof.rsplit_once('.').ok_or(Flaw::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(Flaw::Malformed)?;
        Ok(Self { message, header, claims: members(claims)?, signature: decode(signature).ok_or(Flaw::Malformed)? })
    }

    fn check(&self, expected: &Expected<'_>, rules: &ProofRules, keys: &ProofKeys) -> Result<(Proven, Option<String>), Flaw> {
        let head = Head::of(self.header, expected.key, rules, keys)?;
        let (id, issued) = self.check_claims(expected, rules.window)?;
        let nonce = self.nonce()?;
        let key = head.verify(self, expected.key, keys)?;
        Ok((Proven { id: identify(&key, id), issued, key }, nonce))
    }

    /// `jti` and `iat`; method, URL, time and token are the request's.
    fn check_claims(&self, expected: &Expected<'_>, window: Duration) -> Result<(&str, SystemTime), Flaw> {
        let id = self.text("jti")?;
        if id.is_empty() || id.len() > LONGEST_ID {
            return Err(Flaw::Malformed);
        }
        if self.text("htm")? != expected.method {
            return Err(Flaw::Method);
        }
        if !is_same_url(self.text("htu")?, expected.url) {
            return Err(Flaw::Url);
        }
        let issued = self.claims.get("iat").and_then(date).ok_or(Flaw::Malformed)?;
        let issued = SystemTime::UNIX_EPOCH.checked_add(issued).ok_or(Flaw::Time)?;
        let apart = expected.now.duration_since(issued).unwrap_or_else(|ahead| ahead.duration());
        if apart > window {
            return Err(Flaw::Time);
        }
        if let Some(expected) = expected.token {
            let token = decode(self.text("ath").map_err(|_| Flaw::Token)?).ok_or(Flaw::Token)?;
            if token != expected {
                return Err(Flaw::Token);
            }
        }
        Ok((id, issued))
    }

    fn nonce(&self) -> Result<Option<String>, Flaw> {
        match self.claims.get("nonce") {
            None => Ok(None),
            Some(Value::String(nonce)) => Ok(Some(nonce.clone())),
            Some(_) => Err(Flaw::Malformed),
        }
    }

    fn text(&self, name: &str) -> Result<&str, Flaw> {
        self.claims.get(name).and_then(Value::as_str).ok_or(Flaw::Malformed)
    }
}

/// A header in which all is well, and its key.
enum Head {
    /// The bound key made a good proof with the same header before.
    Known(KnownKey),
    Read(ProofKey),
}

impl Head {
    fn of(header: &str, bound: Option<&Thumbprint>, rules: &ProofRules, keys: &ProofKeys) -> Result<Self, Flaw> {
        match bound.and_then(|bound| keys.known(bound, header)) {
            Some(known) if rules.algorithms.contains(&known.algorithm()) => Ok(Self::Known(known)),
            Some(_) => Err(Flaw::Algorithm),
            None => Self::read(&members(header)?, rules).map(Self::Read),
        }
    }

    fn read(header: &Members, rules: &ProofRules) -> Result<ProofKey, Flaw> {
        // Case does not matter, and `application/` may stand before it (RFC 7515 §4.1.9).
        let kind = header.get("typ").and_then(Value::as_str).ok_or(Flaw::Type)?.to_ascii_lowercase();
        if kind.strip_prefix("application/").unwrap_or(&kind) != "dpop+jwt" {
            return Err(Flaw::Type);
        }
        if REFUSED_HEADERS.iter().any(|name| header.contains_key(name)) {
            return Err(Flaw::Malformed);
        }
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(|name| name.parse().ok());
        let algorithm = algorithm.filter(|algorithm| rules.algorithms.contains(algorithm)).ok_or(Flaw::Algorithm)?;
        header.get("jwk").and_then(|jwk| ProofKey::read(jwk, algorithm)).ok_or(Flaw::Key)
    }

    /// The thumbprint of the key that made the proof, which is the bound one where there is one.
    fn verify(&self, proof: &Parts<'_>, bound: Option<&Thumbprint>, keys: &ProofKeys) -> Result<Thumbprint, Flaw> {
        let (message, signature) = (proof.message.as_bytes(), proof.signature.as_slice());
        match (self, bound) {
            (Self::Known(key), Some(bound)) => key.verify(message, signature).map(|()| *bound),
            (Self::Read(key), Some(bound)) if key.thumbprint() == bound => {
                keys.verify(key, proof.header, message, signature).map(|()| *bound)
            }
            // SECURITY: anybody has a key. Only those that tokens are bound to are kept.
            (Self::Read(key), None) => key.verify(message, signature).map(|()| *key.thumbprint()),
            _ => Err(Flaw::OtherKey),
        }
    }
}

/// Without query and fragment, after the normalisation of RFC 3986 §6.2.2 and §6.2.3 (RFC 9449 §4.3
/// point 9). One slash at the end is forgiven, as it is in the request.
fn is_same_url(claimed: &str, ours: &str) -> bool {
    if claimed == ours {
        return true;
    }
    // What a lenient parser would mend is not the same URL.
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') && text.contains("://");
    let (true, Ok(claimed), Ok(ours)) = (plain(claimed), Url::parse(claimed), Url::parse(ours)) else { return false };
    let is_bare = claimed.username().is_empty() && claimed.password().is_none();
    let path = unescaped(claimed.path());
    let same_path = path == ours.path() || path.strip_suffix('/') == Some(ours.path());
    is_bare && claimed.scheme() == ours.scheme() && claimed.host() == ours.host() && claimed.port() == ours.port() && same_path
}

/// Escapes of characters that need none (RFC 3986 §6.2.2.2). A path of ours needs none at all.
fn unescaped(path: &str) -> String {
    let mut parts = path.split('%');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let escaped = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()).map(char::from);
        match (escaped, part.get(2..)) {
            (Some(c), Some(rest)) if c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~') => {
                plain.push(c);
                plain.push_str(rest);
            }
            _ => {
                plain.push('%');
                plain.push_str(part);
            }
        }
    }
    plain
}

fn identify(thumbprint: &Thumbprint, id: &str) -> Digest {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(thumbprint);
    context.update(id.as_bytes());
    context.finish().as_ref().try_into().unwrap_or_default()
}

fn members(part: &str) -> Result<Members, Flaw> {
    decode(part).and_then(|text| json::members(&text)).ok_or(Flaw::Malformed)
}

#[cfg(test)]
mod tests;
