//! Does this JWT say that a client is who it says (`private_key_jwt`, RFC 7523 §2.2 and §3)?

use super::assertion::{self, Flaw, Moment};
use crate::token::Unverified;

/// `client_assertion_type`.
pub const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A well-formed assertion for us, whose signature nobody has looked at.
pub struct ClientAssertion<'a> {
    pub jwt: Unverified<'a>,
    pub client_id: String,
    /// `jti`: to be used once, until [`Self::expires`] and the leeway.
    pub id: String,
    /// In seconds since 1970.
    pub expires: u64,
}

impl<'a> ClientAssertion<'a> {
    /// `audiences`: the issuer, and the token endpoint where that is allowed; one of them, alone.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &'a str, audiences: &[&str], at: Moment) -> Result<Self, Flaw> {
        let jwt = Unverified::parse(text).map_err(|_| "the client assertion is no JWT that is accepted")?;
        // `client-authentication+jwt` is the type that security-topics-update gives it.
        if !assertion::is_untyped(jwt.kind()) && jwt.kind() != "client-authentication+jwt" {
            return Err("the client assertion is a JWT of another kind");
        }
        if !assertion::algorithms().contains(&jwt.algorithm()) {
            return Err("the client assertion is signed by an algorithm that is not accepted");
        }
        if !assertion::is_for(&jwt, audiences) {
            return Err("the client assertion names another audience: it must be the issuer, alone");
        }
        let expires = assertion::expires(&jwt, at)?;
        let id = assertion::id(&jwt)?.to_owned();
        let client_id = jwt.issuer().to_owned();
        if client_id.is_empty() || assertion::text(&jwt, "sub") != Some(client_id.as_str()) {
            return Err("`iss` and `sub` of the client assertion are the client's id");
        }
        Ok(Self { jwt, client_id, id, expires })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::*;

    const NOW: u64 = 1_800_000_000;
    const ISSUER: &str = "https://gw.example";
    const ENDPOINT: &str = "https://gw.example/token";

    fn jwt(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", part(header), part(claims))
    }

    fn good() -> Value {
        json!({ "iss": "c1", "sub": "c1", "aud": ISSUER, "exp": NOW + 60, "iat": NOW, "jti": "j1" })
    }

    fn read(header: Value, change: impl FnOnce(&mut Value), audiences: &[&str]) -> Result<String, Flaw> {
        let mut claims = good();
        change(&mut claims);
        let at = Moment { now: SystemTime::UNIX_EPOCH + Duration::from_secs(NOW), leeway: Duration::from_secs(30) };
        ClientAssertion::read(&jwt(&header, &claims), audiences, at).map(|assertion| assertion.client_id)
    }

    fn es256() -> Value {
        json!({ "alg": "ES256", "typ": "JWT" })
    }

    #[test]
    fn item_135_a_good_assertion_names_its_client() {
        assert_eq!(read(es256(), |_| {}, &[ISSUER]).as_deref(), Ok("c1"));
        assert!(read(json!({ "alg": "ES256" }), |_| {}, &[ISSUER]).is_ok());
        assert!(read(es256(), |claims| claims["aud"] = json!([ISSUER]), &[ISSUER]).is_ok());
    }

    #[test]
    fn item_135_what_is_wrong_with_one_claim_is_refused() {
        type Change = fn(&mut Value);
        let wrong: [(&str, Change); 11] = [
            ("another audience", |claims| claims["aud"] = json!("https://other.example")),
            ("two audiences", |claims| claims["aud"] = json!([ISSUER, "https://other.example"])),
            ("the endpoint, where that is not allowed", |claims| claims["aud"] = json!(ENDPOINT)),
            ("expired", |claims| claims["exp"] = json!(NOW - 31)),
            ("an hour and more", |claims| claims["exp"] = json!(NOW + 3700)),
            ("from the future", |claims| claims["iat"] = json!(NOW + 31)),
            ("no id", |claims| claims["jti"] = json!("")),
            ("a long id", |claims| claims["jti"] = json!("a".repeat(257))),
            ("another subject", |claims| claims["sub"] = json!("c2")),
            ("no end", |claims| drop(claims.as_object_mut().expect("an object").remove("exp"))),
            ("no audience", |claims| drop(claims.as_object_mut().expect("an object").remove("aud"))),
        ];
        for (what, change) in wrong {
            assert!(read(es256(), change, &[ISSUER]).is_err(), "{what}");
        }
        assert!(read(es256(), |claims| claims["aud"] = json!(ENDPOINT), &[ISSUER, ENDPOINT]).is_ok(), "where it is allowed");
    }

    #[test]
    fn item_140_no_jwt_of_another_kind_and_none_without_a_signature_is_one() {
        for kind in ["oauth-id-jag+jwt", "at+jwt", "dpop+jwt", "logout+jwt", "application/oauth-id-jag+jwt", "whatever"] {
            assert!(read(json!({ "alg": "ES256", "typ": kind }), |_| {}, &[ISSUER]).is_err(), "{kind}");
        }
        for algorithm in ["none", "HS256", "RS384"] {
            assert!(read(json!({ "alg": algorithm, "typ": "JWT" }), |_| {}, &[ISSUER]).is_err(), "{algorithm}");
        }
    }
}
