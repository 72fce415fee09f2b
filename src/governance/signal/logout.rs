//! Is this a logout token for us (OpenID Connect Back-Channel Logout 1.0 §2.6), and whom does it name?

use std::time::SystemTime;

use serde_json::Value;

use super::set::{jti, seconds};
use super::{Fault, Happening, Kind, Subject, Told, Unproven};
use crate::token::{IssuerRules, Unverified};

/// The only event of a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// For whom logout tokens are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutRules {
    /// The client ids that people log in with: one of them is in `aud`.
    pub audience: Vec<String>,
}

impl LogoutRules {
    /// Everything but the signature, and by whose keys that is to be verified.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn read<'a, 'i, I>(&self, text: &'a str, issuers: I, now: SystemTime) -> Result<(Unproven<'a>, &'i IssuerRules), Fault>
    where
        I: IntoIterator<Item = &'i IssuerRules>,
    {
        let token = Unverified::parse(text)?;
        // §2.4 recommends the type and providers have others; what follows tells it from an ID token all the same.
        if !matches!(token.kind(), "logout+jwt" | "jwt" | "none") {
            return Err(Fault::Type);
        }
        let rules = issuers.into_iter().find(|rules| *rules.issuer == *token.issuer()).ok_or(Fault::Issuer)?;
        if !rules.algorithms.contains(&token.algorithm()) {
            return Err(Fault::Algorithm);
        }
        if !token.audience().iter().any(|audience| self.audience.contains(audience)) {
            return Err(Fault::Audience);
        }
        let claims = token.claims();
        // SECURITY: an ID token must not pass for one (§2.4).
        if claims.contains_key("nonce") {
            return Err(Fault::Claim("nonce"));
        }
        if !claims.get("events").and_then(|events| events.get(EVENT)).is_some_and(Value::is_object) {
            return Err(Fault::Events);
        }
        let made = check_times(&token, rules, now)?;
        let jti = jti(claims)?;
        let text = |name: &'static str| match claims.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(Fault::Claim(name)),
        };
        let (sub, sid) = (text("sub")?, text("sid")?);
        if sub.is_none() && sid.is_none() {
            return Err(Fault::Claim("sub"));
        }
        let subject = Subject::of_logout(&rules.issuer, sub, sid)?;
        let happenings = vec![Happening { kind: Some(Kind::Logout), subject, at: made }];
        Ok((Unproven { token, told: Told { issuer: rules.issuer.to_string(), jti, happenings } }, rules))
    }
}

/// `iat` in seconds since 1970; the token is not from the future, and has not expired.
fn check_times(token: &Unverified<'_>, rules: &IssuerRules, now: SystemTime) -> Result<u64, Fault> {
    let made = token.time("iat").ok().flatten().ok_or(Fault::Claim("iat"))?;
    let ends = token.time("exp").ok().flatten().ok_or(Fault::Claim("exp"))?;
    if now.checked_add(rules.leeway).is_some_and(|now| made > now) {
        return Err(Fault::Time);
    }
    if ends.checked_add(rules.leeway).is_some_and(|ends| ends <= now) {
        return Err(Fault::Expired);
    }
    Ok(seconds(made))
}
