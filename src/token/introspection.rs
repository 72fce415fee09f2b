//! What does the issuer's answer say of a token (RFC 7662 §2.2), and is that enough to let its bearer in?
//!
//! `active` says that the token lives, not that it is for us: all that is demanded of a JWT's claims
//! is demanded of an answer. Fetches nothing, and knows no clock: see `remote::introspection`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::jwt::{Basis, check_types, decode, has_value, is_live, later, prove, strings, time};
use super::marks::claimed;
use super::{Binding, Error, IssuerRules, Marker, Marks, Members, Named, Token, Verified, json};
use crate::principal::{Principal, lookup};

/// Token types of RFC 6749 §7.1 that a bearer may show; some issuers say `access_token` (RFC 8693 §3).
const BEARER: [&str; 2] = ["bearer", "access_token"];

/// What issuers call tokens that are not for resource servers, in `typ` or `token_use`.
const NOT_ACCESS: [&str; 8] = ["refresh", "refresh_token", "offline", "id", "id_token", "logout", "logout_token", "authorization_code"];

/// How a token is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// Only its issuer can read it. An encrypted token (five parts) is one of these.
    Opaque,
    /// A signed JWT, with the `iss` that it claims. Good for finding whom to ask, and for nothing else.
    Jwt(Option<String>),
}

/// The form of a token: three parts, the first of which is a JSON object, are a signed JWT.
pub fn written(token: Token<'_>) -> Written {
    let mut parts = token.as_str().split('.');
    let (Some(header), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Written::Opaque;
    };
    let object = |part: &str| decode(part).and_then(|text| json::members(&text));
    if object(header).is_none() {
        return Written::Opaque;
    }
    Written::Jwt(object(payload).and_then(|claims| claims.get("iss")?.as_str().map(str::to_owned)))
}

/// What is demanded of one issuer's answers besides its [`IssuerRules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerRules {
    /// The longest that an answer is believed.
    pub cache: Duration,
    /// An answer without `aud` is taken for a token to any of our resources.
    pub allow_missing_audience: bool,
}

/// An issuer's answer about one token.
#[derive(Clone, PartialEq)]
pub enum Answer {
    Inactive,
    Active(Members),
}

/// A text that is no introspection response: not one JSON object without duplicate members, or without a boolean `active`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnswer;

impl Answer {
    pub fn parse(text: &[u8]) -> Result<Self, NotAnswer> {
        let mut members = json::members(text).ok_or(NotAnswer)?;
        match members.remove("active") {
            Some(Value::Bool(true)) => Ok(Self::Active(members)),
            // RFC 7662 §2.2: whatever else it says of such a token is not looked at.
            Some(Value::Bool(false)) => Ok(Self::Inactive),
            _ => Err(NotAnswer),
        }
    }

    /// What the token proved, by an answer to a question asked at `now`. Of the claims those at the `kept` paths are remembered.
    ///
    /// The audience is for the caller to compare, as with a JWT.
    pub fn verify(&self, rules: &Arc<IssuerRules>, demands: AnswerRules, now: SystemTime, kept: &[String]) -> Result<Verified, Error> {
        let Self::Active(claims) = self else { return Err(Error::Inactive) };
        check_types(claims)?;
        check_issuer(claims, rules)?;
        check_kind(claims)?;
        let binding = binding(claims)?;
        let expires = check_times(claims, rules.leeway, now)?;
        let audience = match claims.get("aud").map(strings) {
            Some(named) => named.ok_or(Error::ClaimType("aud"))?,
            None if demands.allow_missing_audience => Vec::new(),
            None => return Err(Error::MissingClaim("aud")),
        };
        if rules.required_claims.iter().any(|path| lookup(claims, path).is_none_or(Value::is_null)) {
            return Err(Error::MissingClaim("required_claims"));
        }
        if !rules.required_values.iter().all(|(path, values)| has_value(claims, path, values)) {
            return Err(Error::ClaimValue);
        }
        let proof = match machine(claims, rules) {
            Some(claims) => prove(rules.issuer.clone(), &claims, &rules.claims, kept)?,
            None => prove(rules.issuer.clone(), claims, &rules.claims, kept)?,
        };
        // Only an issuer that is asked may leave it out.
        time(claims, "iat")?;
        let believed = later(now, demands.cache).unwrap_or(now);
        let until = expires.map_or(believed, |expires| expires.min(believed));
        Ok(Verified {
            principal: Arc::new(Principal::new(proof)),
            expires: expires.unwrap_or(until),
            basis: Basis::Answer { until, any_audience: !claims.contains_key("aud") },
            audience: audience.into(),
            bound: binding.boxed(),
            marks: None,
            rules: rules.clone(),
        })
    }
}

impl Answer {
    /// By what the `token` that this is the answer to can be revoked.
    pub fn marks(&self, marker: &Marker, rules: &IssuerRules, token: Token<'_>) -> Option<Marks> {
        let Self::Active(claims) = self else { return None };
        let marks = marker.marks(&rules.issuer, claims, None);
        // SECURITY: a JWT is known by what it says itself, as where it is verified here: its signature has several spellings.
        let id = claimed(token).map(|claimed| marker.mark(Named::Id, &rules.issuer, &claimed.id));
        Some(Marks { id: id.or(marks.id), ..marks })
    }
}

impl std::fmt::Debug for Answer {
    /// The claims of a person are nobody's business.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Inactive => "Inactive",
            Self::Active(_) => "Active(***)",
        })
    }
}

/// Whoever answers for several issuers may hold a token of another one.
fn check_issuer(claims: &Members, rules: &IssuerRules) -> Result<(), Error> {
    match claims.get("iss").map(Value::as_str) {
        None => Ok(()),
        Some(said) if said == Some(&*rules.issuer) => Ok(()),
        Some(_) => Err(Error::Issuer),
    }
}

/// Issuers also answer for refresh and ID tokens (RFC 7662 §4): those are not for us.
fn check_kind(claims: &Members) -> Result<(), Error> {
    match claims.get("token_type") {
        None => {}
        Some(Value::String(kind)) if BEARER.contains(&kind.to_ascii_lowercase().as_str()) || is_dpop(kind) => {}
        Some(_) => return Err(Error::Type),
    }
    let is_other = |name: &str| {
        let said = claims.get(name).and_then(Value::as_str).map(str::to_ascii_lowercase);
        said.is_some_and(|said| NOT_ACCESS.contains(&said.as_str()))
    };
    if is_other("typ") || is_other("token_use") { Err(Error::Type) } else { Ok(()) }
}

/// What the token is bound to (RFC 8705 §3.2, RFC 9449 §6.2). A DPoP token whose key is not named is bound to what nobody here can check.
fn binding(claims: &Members) -> Result<Binding, Error> {
    let binding = Binding::read(claims)?;
    let is_dpop = claims.get("token_type").and_then(Value::as_str).is_some_and(is_dpop);
    if is_dpop && binding.key.is_none() { Err(Error::Confirmation) } else { Ok(binding) }
}

fn is_dpop(kind: &str) -> bool {
    kind.eq_ignore_ascii_case("DPoP")
}

/// `exp`, where there is one: the issuer may keep the time to itself, and then the answer's own time ends it.
fn check_times(claims: &Members, leeway: Duration, now: SystemTime) -> Result<Option<SystemTime>, Error> {
    let expires = time(claims, "exp")?;
    if expires.is_some_and(|expires| !is_live(expires, leeway, now)) {
        return Err(Error::Expired);
    }
    let begins = [time(claims, "iat")?, time(claims, "nbf")?];
    if later(now, leeway).is_some_and(|now| begins.into_iter().flatten().any(|begins| begins > now)) {
        return Err(Error::NotYet);
    }
    Ok(expires)
}

/// The claims of a token that speaks for nobody but its client, completed by the `sub` that a JWT
/// would have (RFC 9068 §2.2). `username` is a name for people, which the next person may get: it
/// is never taken for an identifier unless `claims.subject` says so.
fn machine(claims: &Members, rules: &IssuerRules) -> Option<Map<String, Value>> {
    let is_person = ["sub", "username", &rules.claims.subject].iter().any(|path| lookup(claims, path).is_some());
    let client = rules.claims.client.iter().find_map(|path| lookup(claims, path))?.as_str().filter(|client| !client.is_empty())?;
    if is_person {
        return None;
    }
    let mut claims = Map::from(claims.clone());
    claims.insert("sub".into(), client.into());
    Some(claims)
}

#[cfg(test)]
mod tests;
