//! Does this ID token say who signed in here just now (OpenID Connect Core §3.1.3.7)?
//!
//! Told apart strictly from access tokens (RFC 8725 §3.12): this check and that of access tokens have no
//! token in common. The signature is [`Unverified::signed_by`]'s.

use std::time::{Duration, SystemTime};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde_json::Value;

use super::jwt::{is_live, later};
use super::{Algorithm, Error, Unverified};

/// What is demanded of one provider's ID tokens.
#[derive(Clone, Copy, Debug)]
pub struct IdTokenRules<'a> {
    pub issuer: &'a str,
    /// What we are called there.
    pub client: &'a str,
    pub algorithms: &'a [Algorithm],
    pub leeway: Duration,
}

impl IdTokenRules<'_> {
    /// Everything but the signature. `nonce` is the one that was sent; a token that comes by refresh has none.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn check(&self, token: &Unverified<'_>, nonce: Option<&str>, now: SystemTime) -> Result<(), Error> {
        if token.issuer() != self.issuer {
            return Err(Error::Issuer);
        }
        if !self.algorithms.contains(&token.algorithm()) {
            return Err(Error::Algorithm);
        }
        if !matches!(token.kind(), "none" | "jwt") {
            return Err(Error::Type);
        }
        let text = |name: &str| token.claims().get(name).and_then(Value::as_str);
        if !token.audience().iter().any(|audience| audience == self.client) {
            return Err(Error::Audience);
        }
        match text("azp") {
            Some(party) if party != self.client => return Err(Error::Audience),
            None if token.audience().len() > 1 => return Err(Error::Audience),
            _ => {}
        }
        let expires = token.time("exp")?.ok_or(Error::MissingClaim("exp"))?;
        if !is_live(expires, self.leeway, now) {
            return Err(Error::Expired);
        }
        let issued = token.time("iat")?.ok_or(Error::MissingClaim("iat"))?;
        let begins = token.time("nbf")?.unwrap_or(issued);
        if later(now, self.leeway).is_some_and(|now| issued > now || begins > now) {
            return Err(Error::NotYet);
        }
        if text("sub").is_none_or(str::is_empty) {
            return Err(Error::MissingClaim("sub"));
        }
        let Some(nonce) = nonce else { return Ok(()) };
        let said = text("nonce").ok_or(Error::MissingClaim("nonce"))?;
        verify_slices_are_equal(said.as_bytes(), nonce.as_bytes()).map_err(|_| Error::ClaimValue)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_000_000;
    const RULES: IdTokenRules<'static> = IdTokenRules {
        issuer: "https://login.example.com",
        client: "doorward",
        algorithms: &[Algorithm::ES256],
        leeway: Duration::from_secs(30),
    };

    fn check(header: Value, change: impl FnOnce(&mut Value), nonce: Option<&str>) -> Result<(), Error> {
        let mut claims = json!({
            "iss": RULES.issuer, "aud": "doorward", "sub": "alice", "nonce": "n", "iat": NOW - 5, "exp": NOW + 300,
        });
        change(&mut claims);
        let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}.c2ln", encode(header), encode(claims));
        RULES.check(&Unverified::parse(&text)?, nonce, UNIX_EPOCH + Duration::from_secs(NOW))
    }

    fn with(change: impl FnOnce(&mut Value)) -> Result<(), Error> {
        check(json!({"alg": "ES256", "kid": "k"}), change, Some("n"))
    }

    #[test]
    fn a_sound_one_passes() {
        assert_eq!(with(|_| {}), Ok(()));
        assert_eq!(check(json!({"alg": "ES256", "typ": "JWT"}), |_| {}, Some("n")), Ok(()));
        assert_eq!(with(|claims| (claims["aud"], claims["azp"]) = (json!(["doorward", "other"]), json!("doorward"))), Ok(()));
        assert_eq!(check(json!({"alg": "ES256"}), |claims| drop(claims.as_object_mut().unwrap().remove("nonce")), None), Ok(()));
    }

    #[test]
    fn each_wrong_claim_is_refused() {
        assert_eq!(with(|claims| claims["iss"] = json!("https://login.example.com/")), Err(Error::Issuer));
        assert_eq!(with(|claims| claims["aud"] = json!("another")), Err(Error::Audience));
        assert_eq!(with(|claims| claims["aud"] = json!(["doorward", "other"])), Err(Error::Audience));
        assert_eq!(with(|claims| claims["azp"] = json!("another")), Err(Error::Audience));
        assert_eq!(with(|claims| claims["exp"] = json!(NOW - 30)), Err(Error::Expired));
        assert_eq!(with(|claims| claims["iat"] = json!(NOW + 31)), Err(Error::NotYet));
        assert_eq!(with(|claims| claims["nonce"] = json!("m")), Err(Error::ClaimValue));
        assert_eq!(with(|claims| drop(claims.as_object_mut().unwrap().remove("nonce"))), Err(Error::MissingClaim("nonce")));
        assert_eq!(with(|claims| drop(claims.as_object_mut().unwrap().remove("sub"))), Err(Error::MissingClaim("sub")));
        assert_eq!(with(|claims| drop(claims.as_object_mut().unwrap().remove("exp"))), Err(Error::MissingClaim("exp")));
    }

    #[test]
    fn an_access_token_and_another_algorithm_are_refused() {
        assert_eq!(check(json!({"alg": "ES256", "typ": "at+jwt"}), |_| {}, Some("n")), Err(Error::Type));
        assert_eq!(check(json!({"alg": "RS256"}), |_| {}, Some("n")), Err(Error::Algorithm));
        assert_eq!(check(json!({"alg": "none"}), |_| {}, Some("n")), Err(Error::Algorithm));
        assert_eq!(check(json!({"alg": "HS256"}), |_| {}, Some("n")), Err(Error::Algorithm));
    }
}
