//! By which names, beside its own digest, can a token be revoked? Its `jti`, its session, and when it was issued.
//!
//! Names are kept as 64-bit hashes under a key that each process draws for itself: nobody outside can
//! aim for two names with one hash, and by chance that happens to one token in 10^13 among a million
//! names. Knows nothing of what was revoked.

use std::hash::{BuildHasher, RandomState};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::jwt::{decode, time};
use super::{Form, Members, Token, json};

/// What a name names. The same text in two kinds is two names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Named {
    /// A token by its digest.
    Token,
    /// `jti` of an issuer (RFC 7519 §4.1.7), or what stands for it.
    Id,
    /// `sid` (OpenID Connect Front-Channel Logout 1.0 §3).
    Session,
    Client,
    /// `sub` of an issuer, as its configuration reads it.
    Subject,
    /// `kid` of an issuer.
    Key,
    Upstream,
}

/// The claim of our own tokens that names the last change which the store held when they were issued.
pub const AFTER: &str = "after";

/// Makes hashes of names. Two markers agree only if one is a clone of the other.
#[derive(Clone, Debug, Default)]
pub struct Marker(RandomState);

/// What is remembered of a verified token, so that it can be revoked by more than its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// `iat` in seconds since 1970; 0 where the token does not say, so that it counts as older than anything.
    pub issued: u32,
    /// The last change that the store held when it was issued. SECURITY: worth something only in a token of our own.
    pub after: Option<u64>,
    pub id: Option<u64>,
    pub session: Option<u64>,
}

impl Marker {
    /// The hash of a name. `issuer` is empty where the name is not an issuer's.
    pub fn mark(&self, kind: Named, issuer: &str, name: &str) -> u64 {
        self.0.hash_one((kind, issuer, name))
    }

    /// The hash of a token's digest.
    pub fn token(&self, digest: &[u8; 32]) -> u64 {
        self.0.hash_one((Named::Token, digest))
    }

    /// What these claims of a verified token say. `signed` stands for a missing `jti`.
    pub(crate) fn marks(&self, issuer: &str, claims: &Members, signed: Option<&str>) -> Marks {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let issued = time(claims, "iat").ok().flatten().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let id = match (text("jti"), signed) {
            (Some(jti), _) => Some(self.mark(Named::Id, issuer, jti)),
            (None, Some(signed)) => Some(self.mark(Named::Id, issuer, &stand_in(signed))),
            (None, None) => None,
        };
        Marks {
            issued: issued.map_or(0, |since| u32::try_from(since.as_secs()).unwrap_or(u32::MAX)),
            after: claims.get(AFTER).and_then(Value::as_u64),
            id,
            session: text("sid").map(|sid| self.mark(Named::Session, "", sid)),
        }
    }
}

/// What a token says of itself, unverified: enough to revoke it, and for nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    pub issuer: String,
    /// Its `jti`, or what stands for it.
    pub id: String,
    /// `exp` in seconds since 1970.
    pub expires: Option<u64>,
}

/// Reads a JWT without verifying it; none for what only its issuer can read.
///
/// SECURITY: an ECDSA signature can be written in two ways (r, s and r, -s), so one who holds a revoked
/// JWT can give it another digest. The `jti`, or the digest of what is signed, stays.
pub fn claimed(token: Token<'_>) -> Option<Claimed> {
    if token.form() != Form::Jws {
        return None;
    }
    let (signed, _) = token.as_str().rsplit_once('.')?;
    let (_, payload) = signed.split_once('.')?;
    let claims = json::members(&decode(payload)?)?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let expires = time(&claims, "exp").ok().flatten().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    Some(Claimed {
        issuer: text("iss")?.to_owned(),
        id: text("jti").map_or_else(|| stand_in(signed), str::to_owned),
        expires: expires.map(|since| since.as_secs()),
    })
}

/// No `jti` of an issuer begins so by chance.
fn stand_in(signed: &str) -> String {
    format!("doorward:signed:{}", URL_SAFE_NO_PAD.encode(digest(&SHA256, signed.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(value: Value) -> Members {
        json::members(value.to_string().as_bytes()).expect("an object")
    }

    #[test]
    fn names_of_two_kinds_or_issuers_never_meet() {
        let marker = Marker::default();
        let mark = |kind, issuer, name| marker.mark(kind, issuer, name);
        assert_eq!(mark(Named::Id, "a", "b"), marker.clone().mark(Named::Id, "a", "b"));
        assert_ne!(mark(Named::Id, "a", "b"), mark(Named::Subject, "a", "b"));
        assert_ne!(mark(Named::Id, "ab", "c"), mark(Named::Id, "a", "bc"));
        assert_ne!(mark(Named::Id, "a", "b"), Marker::default().mark(Named::Id, "a", "b"));
    }

    #[test]
    fn a_token_without_iat_counts_as_older_than_anything() {
        let marks = Marker::default().marks("a", &claims(serde_json::json!({"sid": "s"})), None);
        assert_eq!((marks.issued, marks.after, marks.id), (0, None, None));
        assert!(marks.session.is_some());
    }

    #[test]
    fn another_spelling_of_the_signature_is_the_same_token() {
        let payload = URL_SAFE_NO_PAD.encode(br#"{"iss":"https://a.example","exp":100}"#);
        let of = |signature: &str| {
            let text = format!("e30.{payload}.{signature}");
            claimed(Token::new(&text).expect("a token")).expect("a JWT")
        };
        assert_eq!(of("AAAA"), of("BBBB"));
        assert_eq!(of("AAAA").expires, Some(100));
        assert_eq!(claimed(Token::new("opaque").expect("a token")), None);
        let marker = Marker::default();
        let marks = marker.marks("https://a.example", &claims(serde_json::json!({})), Some(&format!("e30.{payload}")));
        assert_eq!(marks.id, Some(marker.mark(Named::Id, "https://a.example", &of("AAAA").id)));
    }
}
