//! What does the signed assertion of a caller say, and with which key is it signed?
//!
//! One JWT for one upstream (RFC 7519, ES256 of RFC 7518 §3.4), a minute long. Time and `jti` come in
//! as values. Knows no clock, no file and no header.

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::principal::{Kind, Principal};

/// The header that carries it.
pub const HEADER: &str = "doorward-assertion";
/// `typ`: tells it from access tokens and ID tokens (RFC 8725 §3.11).
pub const TYPE: &str = "doorward-assertion+jwt";
/// Seconds that it is valid.
pub const LIFETIME: u64 = 60;
/// The claim of the access token that is passed on as it is: who acts for the subject (RFC 8693 §4.1).
pub const ACTOR: &str = "act";

/// A private P-256 key with its public half as a JWK.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    kid: String,
    public: Value,
}

/// An assertion before it is signed.
#[derive(Clone, Copy, Debug)]
pub struct Assertion<'a> {
    /// `iss`: the gateway's `public_url`.
    pub gateway: &'a str,
    /// `aud`: the upstream's resource identifier.
    pub audience: &'a str,
    pub who: &'a Principal,
    /// `iat`, in seconds since 1970.
    pub issued: u64,
    /// `exp`.
    pub expires: u64,
    /// `jti`.
    pub id: &'a str,
}

impl SigningKey {
    /// A new key, or none where the system has no randomness.
    pub fn generate() -> Option<Self> {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok().map(Self::new)
    }

    /// From PKCS #8 or SEC 1 in DER; none where it is not a key on P-256.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der).ok().map(Self::new)
    }

    fn new(pair: EcdsaKeyPair) -> Self {
        // An uncompressed point: 0x04, x, y (SEC 1 §2.3.3).
        let point = pair.public_key().as_ref();
        let text = |bytes: Option<&[u8]>| URL_SAFE_NO_PAD.encode(bytes.unwrap_or_default());
        let (x, y) = (text(point.get(1..33)), text(point.get(33..65)));
        // RFC 7638 §3.2: the required members in the order of their names.
        let thumbprint = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, thumbprint.as_bytes()));
        let public = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "use": "sig", "alg": "ES256" });
        Self { pair, kid, public }
    }

    /// Its thumbprint (RFC 7638).
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half (RFC 7517).
    pub fn public(&self) -> &Value {
        &self.public
    }

    /// The compact serialisation (RFC 7515 §3.1); none where the system has no randomness.
    pub fn sign(&self, assertion: &Assertion<'_>) -> Option<String> {
        self.sign_claims(TYPE, &assertion.claims())
    }

    /// The same for other claims. `kind` tells the token from those of every other kind (RFC 8725 §3.11).
    pub fn sign_claims(&self, kind: &str, claims: &Value) -> Option<String> {
        let header = json!({ "alg": "ES256", "typ": kind, "kid": self.kid });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).ok()?;
        Some(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.kid)
    }
}

impl Assertion<'_> {
    fn claims(&self) -> Value {
        let Self { gateway, audience, who, issued, expires, id } = self;
        let mut claims = Map::new();
        let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        set("iss", json!(gateway));
        set("aud", json!(audience));
        // SECURITY: a machine has no `sub`, so that its id is never read as a person's (RFC 9068 §5).
        if who.kind() == Kind::User {
            set("sub", json!(who.subject()));
        }
        // Unique together only (RFC 9493 §3.2.4).
        set("sub_id", json!({ "format": "iss_sub", "iss": who.issuer(), "sub": who.subject() }));
        if let Some(client) = who.client() {
            set("client_id", json!(client));
        }
        set("scope", json!(who.scopes().join(" ")));
        set("groups", json!(who.groups()));
        if let Some(actor) = who.claim(ACTOR).filter(|actor| actor.is_object()) {
            set(ACTOR, actor.clone());
        }
        set("iat", json!(issued));
        set("exp", json!(expires));
        set("jti", json!(id));
        Value::Object(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::Proof;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    fn proof() -> Proof {
        Proof {
            issuer: "https://login.example.com".into(),
            subject: "alice".into(),
            client: Some("inspector".into()),
            scopes: vec!["a".into(), "b".into()],
            groups: vec!["dev".into(), "s,re".into()],
            claims: Map::new(),
        }
    }

    fn signed(key: &SigningKey, proof: Proof) -> (Value, Value, String) {
        let who = Principal::new(proof);
        let assertion =
            Assertion { gateway: "https://gw.example", audience: "https://gw.example/a", who: &who, issued: 100, expires: 160, id: "j" };
        let text = key.sign(&assertion).expect("signed");
        let part = |n: usize| -> Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text.split('.').nth(n).expect("a part")).expect("base64url")).expect("json")
        };
        (part(0), part(1), text.clone())
    }

    #[test]
    fn s29_the_assertion_says_who_for_whom_and_for_how_long() {
        let key = SigningKey::generate().expect("a key");
        let (header, claims, _) = signed(&key, proof());
        assert_eq!(header, json!({ "alg": "ES256", "typ": "doorward-assertion+jwt", "kid": key.kid() }));
        let expected = json!({
            "iss": "https://gw.example", "aud": "https://gw.example/a", "sub": "alice", "client_id": "inspector",
            "sub_id": { "format": "iss_sub", "iss": "https://login.example.com", "sub": "alice" },
            "scope": "a b", "groups": ["dev", "s,re"], "iat": 100, "exp": 160, "jti": "j",
        });
        assert_eq!(claims, expected);
    }

    #[test]
    fn a_machine_has_no_sub_that_could_be_read_as_a_persons() {
        let (_, claims, _) = signed(&SigningKey::generate().expect("a key"), Proof { subject: "inspector".into(), ..proof() });
        assert_eq!((claims.get("sub"), &claims["client_id"]), (None, &json!("inspector")));
    }

    #[test]
    fn the_actor_of_the_token_is_passed_on_and_nothing_that_is_no_actor() {
        let key = SigningKey::generate().expect("a key");
        let with = |act: Value| Proof { claims: Map::from_iter([("act".to_owned(), act)]), ..proof() };
        assert_eq!(signed(&key, with(json!({ "sub": "agent" }))).1["act"], json!({ "sub": "agent" }));
        assert_eq!(signed(&key, with(json!("agent"))).1.get("act"), None);
    }

    #[test]
    fn the_published_key_verifies_it_and_holds_no_private_part() {
        let key = SigningKey::generate().expect("a key");
        let (_, _, text) = signed(&key, proof());
        let (message, signature) = text.rsplit_once('.').expect("a signature");
        let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(key.public()[name].as_str().expect("text")).expect("base64url");
        let point = [vec![4], coordinate("x"), coordinate("y")].concat();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        assert!(public.verify(message.as_bytes(), &signature).is_ok());
        assert!(public.verify(b"another", &signature).is_err());
        assert_eq!(key.public().get("d"), None);
        assert!(!format!("{key:?}").contains(&key.public()["x"].to_string()));
    }

    #[test]
    fn a_key_that_is_read_again_is_the_same_key() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let der = pair.to_pkcs8v1().expect("der");
        let (one, two) = (SigningKey::from_der(der.as_ref()).expect("a key"), SigningKey::new(pair));
        assert_eq!(one.kid(), two.kid());
        assert!(SigningKey::from_der(b"no key").is_none());
    }
}
