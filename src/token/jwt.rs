//! Is this JWT a live access token of this issuer? Parsed strictly, checked cheaply, then verified.
//!
//! [`Unverified`] is what a stranger wrote: good for saying no, never for saying yes. [`Verified`] is
//! made by a signature alone. Knows no clock, and no key that it is not handed.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::{Algorithm, AudienceFrom, Binding, ClaimNames, Error, IssuerRules, Key, Marker, Marks, Members, json};
use crate::principal::{Object, Principal, Proof, lookup};

/// Keys that are tried for a token without a `kid`, or with one that several share.
const MOST_TRIES: usize = 16;

/// Header members that bring keys along, change how the token is read, or must be understood and
/// are not (RFC 8725 §3.10, RFC 7515 §4.1.11, RFC 7797).
const REFUSED_HEADERS: [&str; 7] = ["crit", "jwk", "jku", "x5u", "x5c", "b64", "zip"];

/// Members that only an ID token has (OpenID Connect Core §2, §3.3.2.11).
const ID_TOKEN_CLAIMS: [&str; 4] = ["nonce", "at_hash", "c_hash", "s_hash"];

/// The end of the year 9999: what lies beyond is never.
const LAST_SECOND: u64 = 253_402_300_799;

/// A well-formed JWT whose signature nobody has looked at.
pub struct Unverified<'a> {
    /// Header and payload as signed.
    message: &'a str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    kid: Option<String>,
    /// Lower case, without `application/`; `none` where the header has none.
    kind: String,
    issuer: String,
    audience: Vec<String>,
    claims: Members,
}

/// What a token proved. It was live and its key was the issuer's when this was made.
#[derive(Clone, Debug)]
pub struct Verified {
    pub principal: Arc<Principal>,
    /// `exp`, without leeway.
    pub expires: SystemTime,
    /// Whose word it is.
    pub basis: Basis,
    pub audience: Arc<[String]>,
    /// What the caller must hold besides; asked on each request.
    /// None for a bearer token, as most are.
    pub bound: Option<Box<Binding>>,
    /// By what it can be revoked, where revocations are kept; see [`Unverified::marks`].
    pub marks: Option<Box<Marks>>,
    /// The rules that it was verified by; under others it proves nothing.
    pub rules: Arc<IssuerRules>,
}

/// On what a token was believed, and so what may end that belief before it expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The [`Key::id`] that verified it; ends when the issuer withdraws the key.
    Key(u64),
    /// The issuer's own answer (RFC 7662), believed `until` then and no longer.
    Answer {
        until: SystemTime,
        /// It names no audience, and the operator allows that.
        any_audience: bool,
    },
}

impl<'a> Unverified<'a> {
    /// Three parts, strict base64url, JSON objects without duplicate members, a header that brings
    /// no key, registered claims of their own types (RFC 7515 §5.2, RFC 7519 §4.1, RFC 8725 §3).
    pub fn parse(token: &'a str) -> Result<Self, Error> {
        let (message, signature) = token.rsplit_once('.').ok_or(Error::NotJwt)?;
        let (header, payload) = message.split_once('.').ok_or(Error::NotJwt)?;
        let header = decode(header).and_then(|text| json::members(&text)).ok_or(Error::NotJwt)?;
        if header.keys().any(|name| REFUSED_HEADERS.contains(&name.as_str())) {
            return Err(Error::Header);
        }
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(|name| name.parse().ok()).ok_or(Error::Algorithm)?;
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err(Error::Header),
        };
        let kind = kind(header.get("typ"))?;
        let claims = decode(payload).and_then(|text| json::members(&text)).ok_or(Error::NotJwt)?;
        let signature = decode(signature).ok_or(Error::NotJwt)?;
        check_types(&claims)?;
        let issuer = claims.get("iss").and_then(Value::as_str).ok_or(Error::MissingClaim("iss"))?.to_owned();
        let audience = claims.get("aud").map_or(Some(Vec::new()), strings).ok_or(Error::ClaimType("aud"))?;
        Ok(Self { message, signature, algorithm, kid, kind, issuer, audience, claims })
    }

    /// `iss`, as claimed.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub fn key_id(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// `typ` of the header, lower case, without `application/`; `none` where there is none.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// `aud`, as claimed.
    pub fn audience(&self) -> &[String] {
        &self.audience
    }

    /// All claims, as claimed.
    pub fn claims(&self) -> &Members {
        &self.claims
    }

    /// A claim that is a time (RFC 7519 §2), as claimed.
    ///
    /// # Errors
    /// It is there, and no time.
    pub fn time(&self, name: &'static str) -> Result<Option<SystemTime>, Error> {
        time(&self.claims, name)
    }

    /// The first of `keys` that made the signature. For a token that is no access token: what it says is for the caller to judge.
    ///
    /// # Errors
    /// [`Error::UnknownKey`] without keys, else [`Error::Signature`].
    pub fn signed_by<'k>(&self, keys: impl Iterator<Item = &'k Key>) -> Result<&'k Key, Error> {
        let mut keys = keys.take(MOST_TRIES).peekable();
        keys.peek().ok_or(Error::UnknownKey)?;
        let message = self.message.as_bytes();
        keys.find(|key| key.verifies(self.algorithm, message, &self.signature)).ok_or(Error::Signature)
    }

    /// Everything but signature and audience: what is refused here costs no cryptography.
    pub fn check(&self, rules: &IssuerRules, now: SystemTime) -> Result<(), Error> {
        if *self.issuer != *rules.issuer {
            return Err(Error::Issuer);
        }
        if !rules.algorithms.contains(&self.algorithm) {
            return Err(Error::Algorithm);
        }
        if !rules.token_types.contains(&self.kind) {
            return Err(Error::Type);
        }
        if self.kind != "at+jwt" && self.looks_like_id_token(rules) {
            return Err(Error::IdToken);
        }
        self.check_times(rules.leeway, now)?;
        Binding::read(&self.claims)?;
        if self.claims.get("sub").and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(Error::MissingClaim("sub"));
        }
        if !self.claims.contains_key("aud") && self.client_audience(rules).is_none() {
            return Err(Error::MissingClaim("aud"));
        }
        if rules.required_claims.iter().any(|path| lookup(&self.claims, path).is_none_or(Value::is_null)) {
            return Err(Error::MissingClaim("required_claims"));
        }
        if !rules.required_values.iter().all(|(path, values)| has_value(&self.claims, path, values)) {
            return Err(Error::ClaimValue);
        }
        Ok(())
    }

    /// The signature, by the first of the issuer's `keys` that fits. Call [`Self::check`] before.
    /// Of the claims only those at the `kept` paths are remembered.
    pub fn verify<'k>(&self, rules: &Arc<IssuerRules>, keys: impl Iterator<Item = &'k Key>, kept: &[String]) -> Result<Verified, Error> {
        let key = self.signed_by(keys)?;
        let expires = time(&self.claims, "exp")?.ok_or(Error::MissingClaim("exp"))?;
        let principal = Arc::new(Principal::new(prove(rules.issuer.clone(), &self.claims, &rules.claims, kept)?));
        let (audience, bound) = (self.audience_under(rules).into(), Binding::read(&self.claims)?.boxed());
        Ok(Verified { principal, expires, basis: Basis::Key(key.id()), audience, bound, marks: None, rules: rules.clone() })
    }

    /// SECURITY: a token that has `aud` is judged by it alone, or one bound to another resource would pass.
    fn audience_under(&self, rules: &IssuerRules) -> Vec<String> {
        match self.client_audience(rules) {
            Some(client) if !self.claims.contains_key("aud") => vec![client.to_owned()],
            _ => self.audience.clone(),
        }
    }

    /// By what this token can be revoked.
    pub fn marks(&self, marker: &Marker) -> Marks {
        marker.marks(&self.issuer, &self.claims, Some(self.message))
    }

    fn client_audience(&self, rules: &IssuerRules) -> Option<&str> {
        match rules.audience_from {
            AudienceFrom::Aud => None,
            AudienceFrom::ClientId => self.claims.get("client_id").and_then(Value::as_str).filter(|client| !client.is_empty()),
        }
    }

    /// RFC 9068 §4, RFC 7519 §4.1.4 to §4.1.6; the leeway is the same on both sides.
    fn check_times(&self, leeway: Duration, now: SystemTime) -> Result<(), Error> {
        let expires = time(&self.claims, "exp")?.ok_or(Error::MissingClaim("exp"))?;
        if !is_live(expires, leeway, now) {
            return Err(Error::Expired);
        }
        let issued = time(&self.claims, "iat")?.ok_or(Error::MissingClaim("iat"))?;
        let begins = time(&self.claims, "nbf")?.unwrap_or(issued);
        if later(now, leeway).is_some_and(|now| issued > now || begins > now) {
            return Err(Error::NotYet);
        }
        Ok(())
    }

    /// Where `typ` does not tell (RFC 8725 §3.12). An audience that is the client itself is an ID
    /// token's, unless the operator named it as an audience of access tokens.
    fn looks_like_id_token(&self, rules: &IssuerRules) -> bool {
        let says =
            |name: &str, value: &str| self.claims.get(name).and_then(Value::as_str).is_some_and(|said| said.eq_ignore_ascii_case(value));
        if self.claims.keys().any(|name| ID_TOKEN_CLAIMS.contains(&name.as_str())) || says("typ", "ID") || says("token_use", "id") {
            return true;
        }
        let is_client = |audience: &String| {
            let mut clients = rules.claims.client.iter().filter_map(|path| lookup(&self.claims, path)?.as_str());
            clients.any(|client| client == audience) && !rules.audience.contains(audience)
        };
        !self.audience.is_empty() && self.audience.iter().all(is_client)
    }
}

impl Verified {
    /// What the token is bound to; nothing for a bearer token.
    pub fn binding(&self) -> Binding {
        self.bound.as_deref().copied().unwrap_or_default()
    }

    /// By code point; audiences besides ours do no harm (RFC 9068 §4).
    pub fn accepts(&self, audiences: &[&str]) -> Result<(), Error> {
        let named = self.audience.iter().any(|audience| audiences.contains(&audience.as_str()));
        if named { Ok(()) } else { Err(Error::Audience) }
    }

    /// When it has expired for certain: `exp` and the leeway of its rules.
    pub fn ends(&self) -> SystemTime {
        later(self.expires, self.rules.leeway).unwrap_or(self.expires)
    }

    pub fn is_live(&self, now: SystemTime, leeway: Duration) -> bool {
        is_live(self.expires, leeway, now)
    }
}

/// Whether the claim is one of these texts; one that is not there is none of them.
pub(super) fn has_value(claims: &Members, path: &str, values: &[String]) -> bool {
    lookup(claims, path).and_then(Value::as_str).is_some_and(|said| values.iter().any(|value| value == said))
}

pub(super) fn is_live(expires: SystemTime, leeway: Duration, now: SystemTime) -> bool {
    later(expires, leeway).is_none_or(|end| now < end)
}

/// None lies beyond all time.
pub(super) fn later(time: SystemTime, by: Duration) -> Option<SystemTime> {
    time.checked_add(by)
}

/// RFC 7515 §4.1.9: `application/` may be left out, case does not matter.
fn kind(typ: Option<&Value>) -> Result<String, Error> {
    let Some(typ) = typ else { return Ok("none".into()) };
    let lower = typ.as_str().ok_or(Error::Type)?.to_ascii_lowercase();
    Ok(lower.strip_prefix("application/").map_or_else(|| lower.clone(), str::to_owned))
}

/// What a registered claim must be.
enum Shape {
    Text,
    Date,
    Texts,
}

const REGISTERED: [(&str, Shape); 11] = [
    ("iss", Shape::Text),
    ("sub", Shape::Text),
    ("client_id", Shape::Text),
    ("azp", Shape::Text),
    ("jti", Shape::Text),
    ("exp", Shape::Date),
    ("nbf", Shape::Date),
    ("iat", Shape::Date),
    ("aud", Shape::Texts),
    ("scope", Shape::Texts),
    ("scp", Shape::Texts),
];

/// A registered claim of a wrong type is refused, never taken for absent.
pub(super) fn check_types(claims: &Members) -> Result<(), Error> {
    for (name, value) in claims.iter() {
        let Some((name, shape)) = REGISTERED.iter().find(|(registered, _)| registered == name) else { continue };
        let fits = match shape {
            Shape::Text => value.is_string(),
            Shape::Date => date(value).is_some(),
            Shape::Texts => value.is_string() || value.as_array().is_some_and(|many| many.iter().all(Value::is_string)),
        };
        if !fits {
            return Err(Error::ClaimType(name));
        }
    }
    Ok(())
}

/// A claim that is a time, or [`Error::ClaimType`] where it is none.
pub(super) fn time(claims: &Members, name: &'static str) -> Result<Option<SystemTime>, Error> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let since = date(value).ok_or(Error::ClaimType(name))?;
    Ok(SystemTime::UNIX_EPOCH.checked_add(since))
}

/// A `NumericDate` (RFC 7519 §2), which may have a fraction; the end of the year 9999 for any later one.
pub(super) fn date(value: &Value) -> Option<Duration> {
    match (value.as_u64(), value.as_f64()?) {
        (Some(seconds), _) => Some(Duration::from_secs(seconds.min(LAST_SECOND))),
        (None, seconds) if seconds >= LAST_SECOND as f64 => Some(Duration::from_secs(LAST_SECOND)),
        (None, seconds) => Duration::try_from_secs_f64(seconds).ok(),
    }
}

/// One string, or an array of nothing else.
pub(super) fn strings(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(many) => many.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// What a claim set says of its caller, with the claims at the `kept` paths, each under its whole path.
pub(crate) fn prove(issuer: Arc<str>, claims: &impl Object, names: &ClaimNames, kept: &[String]) -> Result<Proof, Error> {
    let text = |path: &str, name| match lookup(claims, path) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Error::ClaimType(name)),
    };
    let client = match names.client.iter().find(|path| lookup(claims, path).is_some()) {
        Some(path) => text(path, "client")?,
        None => None,
    };
    // A machine keeps its `sub`: under another claim's value it might pass for a person (RFC 9068 §5).
    let subject = match text("sub", "sub")? {
        Some(sub) if client.as_ref() == Some(&sub) => sub,
        _ => text(&names.subject, "subject")?.filter(|subject| !subject.is_empty()).ok_or(Error::MissingClaim("subject"))?,
    };
    let scopes = match first(claims, &names.scopes) {
        Some(Value::String(text)) => text.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect(),
        Some(value) => strings(value).ok_or(Error::ClaimType("scopes"))?,
        None => Vec::new(),
    };
    let groups = match first(claims, &names.groups) {
        Some(value) => strings(value).ok_or(Error::ClaimType("groups"))?,
        None => Vec::new(),
    };
    let claims = kept.iter().filter_map(|path| Some((path.clone(), lookup(claims, path)?.clone()))).collect();
    Ok(Proof { issuer, subject, client, scopes, groups, claims })
}

/// The first of the named claims that is there; the others are not added to it.
fn first<'a>(claims: &'a impl Object, paths: &[String]) -> Option<&'a Value> {
    paths.iter().find_map(|path| lookup(claims, path))
}

pub(super) fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

#[cfg(test)]
mod tests;
