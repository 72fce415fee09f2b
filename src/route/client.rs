//! As whom does the gateway ask an authorization server, and how does it prove that?
//!
//! By a secret (RFC 6749 §2.3.1), or by a short assertion that its own key signs (RFC 7523 §2.2). Time and
//! `jti` come in as values. Knows no clock and no file.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, RsaEncoding, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderValue;
use serde_json::{Map, Value, json};
use url::form_urlencoded::{Serializer, byte_serialize};

use super::grant::Secret;
use crate::token::Algorithm;

/// Seconds that a client assertion is good for.
pub const LIFETIME: u64 = 60;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The gateway as a client of one authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub id: String,
    pub proof: Proof,
}

/// How a client proves that it is the one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    Secret(Secret),
    /// `private_key_jwt` of OpenID Connect Core §9.
    Key {
        key: Arc<ClientKey>,
        /// `aud`: the authorization server's issuer identifier or its endpoint, as it wants it.
        audience: String,
    },
}

/// The system has no randomness, or the client's id cannot stand in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unprovable;

impl Client {
    /// Puts the proof into `form`, or gives the header that goes with it. `id` is the `jti`, never used twice.
    ///
    /// # Errors
    /// [`Unprovable`], where nothing may be asked.
    pub fn prove(&self, form: &mut Serializer<'_, String>, now: SystemTime, id: &str) -> Result<Option<HeaderValue>, Unprovable> {
        match &self.proof {
            Proof::Secret(secret) => basic(&self.id, secret.reveal()).map(Some),
            Proof::Key { key, audience } => {
                let assertion = key.assertion(&self.id, audience, now, id).ok_or(Unprovable)?;
                // RFC 7521 §4.2: the id is optional beside the assertion, and some servers look for it.
                form.append_pair("client_id", &self.id);
                form.append_pair("client_assertion_type", JWT_BEARER).append_pair("client_assertion", &assertion);
                Ok(None)
            }
        }
    }
}

/// RFC 6749 §2.3.1: id and secret are form-encoded first, so that a `:` in the id is not the one between them.
fn basic(id: &str, secret: &str) -> Result<HeaderValue, Unprovable> {
    let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(id), encode(secret));
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).map_err(|_| Unprovable)?;
    value.set_sensitive(true);
    Ok(value)
}

/// A private key of the gateway's as a client. Never printed.
pub struct ClientKey {
    pair: Pair,
    algorithm: Algorithm,
    kid: Option<String>,
    /// What the pair was made of: a reload compares keys by it.
    der: Vec<u8>,
}

enum Pair {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl ClientKey {
    /// From PKCS #8, PKCS #1 or SEC 1 in DER, for this algorithm; for the usual one of the key where none is named.
    /// None where the key is not one for it.
    pub fn from_der(der: &[u8], algorithm: Option<Algorithm>, kid: Option<String>) -> Option<Self> {
        const USUAL: [Algorithm; 5] = [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512, Algorithm::EdDSA, Algorithm::RS256];
        let (pair, algorithm) = match algorithm {
            Some(algorithm) => (Pair::new(der, algorithm)?, algorithm),
            None => USUAL.into_iter().find_map(|algorithm| Some((Pair::new(der, algorithm)?, algorithm)))?,
        };
        Some(Self { pair, algorithm, kid, der: der.to_vec() })
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// RFC 7523 §3: who asks, who is asked, for how long, and once.
    fn assertion(&self, client: &str, audience: &str, now: SystemTime, id: &str) -> Option<String> {
        let issued = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
        let mut header = Map::new();
        header.insert("alg".into(), json!(self.algorithm.as_str()));
        header.insert("typ".into(), json!("JWT"));
        if let Some(kid) = &self.kid {
            header.insert("kid".into(), json!(kid));
        }
        let claims = json!({ "iss": client, "sub": client, "aud": audience, "iat": issued, "exp": issued + LIFETIME, "jti": id });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&Value::Object(header)), part(&claims));
        let signature = self.pair.sign(message.as_bytes())?;
        Some(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl Pair {
    fn new(der: &[u8], algorithm: Algorithm) -> Option<Self> {
        let rsa = |encoding| {
            let pair = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)).ok()?;
            Some(Self::Rsa(pair, encoding))
        };
        let ec = |curve: &'static EcdsaSigningAlgorithm| EcdsaKeyPair::from_private_key_der(curve, der).ok().map(Self::Ec);
        match algorithm {
            Algorithm::RS256 => rsa(&signature::RSA_PKCS1_SHA256),
            Algorithm::RS384 => rsa(&signature::RSA_PKCS1_SHA384),
            Algorithm::RS512 => rsa(&signature::RSA_PKCS1_SHA512),
            Algorithm::PS256 => rsa(&signature::RSA_PSS_SHA256),
            Algorithm::PS384 => rsa(&signature::RSA_PSS_SHA384),
            Algorithm::PS512 => rsa(&signature::RSA_PSS_SHA512),
            Algorithm::ES256 => ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::ES384 => ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            Algorithm::ES512 => ec(&signature::ECDSA_P521_SHA512_FIXED_SIGNING),
            Algorithm::EdDSA => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok().map(Self::Ed),
        }
    }

    /// None where the system has no randomness.
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Rsa(pair, encoding) => {
                let mut bytes = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &SystemRandom::new(), message, &mut bytes).ok()?;
                Some(bytes)
            }
            Self::Ec(pair) => pair.sign(&SystemRandom::new(), message).ok().map(|signature| signature.as_ref().to_vec()),
            Self::Ed(pair) => Some(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl PartialEq for ClientKey {
    fn eq(&self, other: &Self) -> bool {
        let Self { pair: _, algorithm, kid, der } = self;
        (algorithm, kid, der) == (&other.algorithm, &other.kid, &other.der)
    }
}

impl Eq for ClientKey {}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientKey").field("algorithm", &self.algorithm).field("kid", &self.kid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::forge;
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{KeyPair, UnparsedPublicKey, VerificationAlgorithm};

    fn shown(client: &Client) -> (Option<HeaderValue>, Vec<(String, String)>) {
        let mut form = Serializer::new(String::new());
        let header = client.prove(&mut form, forge::now(), "once").expect("a proof");
        let pairs = url::form_urlencoded::parse(form.finish().as_bytes()).into_owned().collect();
        (header, pairs)
    }

    fn with_key(key: ClientKey) -> Client {
        Client { id: "door:ward".into(), proof: Proof::Key { key: Arc::new(key), audience: "https://login.example.com".into() } }
    }

    #[test]
    fn id_and_secret_are_form_encoded_before_they_are_joined() {
        let client = Client { id: "a:b c".into(), proof: Proof::Secret(Secret::new("p%+ß".into())) };
        let (header, form) = shown(&client);
        let header = header.expect("a header");
        let text = header.to_str().ok().and_then(|value| value.strip_prefix("Basic ")).expect("basic");
        assert_eq!(STANDARD.decode(text).expect("base64"), b"a%3Ab+c:p%25%2B%C3%9F");
        assert!(header.is_sensitive() && form.is_empty());
        assert!(!format!("{client:?}").contains("p%+"));
    }

    /// Checks the assertion with the public half, and gives its header and its claims.
    fn opened(client: &Client, algorithm: &'static dyn VerificationAlgorithm, public: &[u8]) -> (Value, Value) {
        let (header, form) = shown(client);
        assert_eq!(header, None);
        assert_eq!(form[0], ("client_id".to_owned(), "door:ward".to_owned()));
        assert_eq!(form[1], ("client_assertion_type".to_owned(), JWT_BEARER.to_owned()));
        let (name, assertion) = &form[2];
        assert_eq!((name.as_str(), form.len()), ("client_assertion", 3));
        let parts: Vec<&str> = assertion.split('.').collect();
        let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("base64");
        let message = format!("{}.{}", parts[0], parts[1]);
        UnparsedPublicKey::new(algorithm, public).verify(message.as_bytes(), &bytes(parts[2])).expect("a good signature");
        let json = |part: &str| serde_json::from_slice(&bytes(part)).expect("json");
        (json(parts[0]), json(parts[1]))
    }

    #[test]
    fn an_assertion_says_what_rfc_7523_wants_and_is_signed_by_the_key() {
        let pair = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let der = pair.private_key().as_der().expect("der");
        let key = ClientKey::from_der(der.as_ref(), None, Some("key-1".into())).expect("a key");
        assert!(!format!("{key:?}").contains("der"));
        let (header, claims) = opened(&with_key(key), &signature::ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
        assert_eq!(header, json!({ "alg": "ES256", "typ": "JWT", "kid": "key-1" }));
        let expected = json!({
            "iss": "door:ward", "sub": "door:ward", "aud": "https://login.example.com",
            "iat": forge::NOW, "exp": forge::NOW + 60, "jti": "once",
        });
        assert_eq!(claims, expected);
    }

    #[test]
    fn every_kind_of_key_signs_with_its_algorithms_and_no_other() {
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der>::as_der(&rsa).expect("der");
        let public = rsa.public_key().as_ref();
        for (algorithm, check) in [
            (Algorithm::RS256, &signature::RSA_PKCS1_2048_8192_SHA256),
            (Algorithm::RS384, &signature::RSA_PKCS1_2048_8192_SHA384),
            (Algorithm::RS512, &signature::RSA_PKCS1_2048_8192_SHA512),
            (Algorithm::PS256, &signature::RSA_PSS_2048_8192_SHA256),
            (Algorithm::PS384, &signature::RSA_PSS_2048_8192_SHA384),
            (Algorithm::PS512, &signature::RSA_PSS_2048_8192_SHA512),
        ] {
            let key = ClientKey::from_der(der.as_ref(), Some(algorithm), None).expect("a key");
            let (header, _) = opened(&with_key(key), check, public);
            assert_eq!(header, json!({ "alg": algorithm.as_str(), "typ": "JWT" }));
        }
        assert_eq!(ClientKey::from_der(der.as_ref(), None, None).map(|key| key.algorithm()), Some(Algorithm::RS256));
        for (algorithm, curve) in [
            (Algorithm::ES256, &signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            (Algorithm::ES384, &signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            (Algorithm::ES512, &signature::ECDSA_P521_SHA512_FIXED_SIGNING),
        ] {
            let pair = EcdsaKeyPair::generate(curve).expect("a key");
            let der = pair.to_pkcs8v1().expect("der");
            assert_eq!(ClientKey::from_der(der.as_ref(), None, None).map(|key| key.algorithm()), Some(algorithm));
            for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
                assert!(ClientKey::from_der(der.as_ref(), Some(other), None).is_none(), "{algorithm} as {other}");
            }
        }
        let ed = Ed25519KeyPair::generate().expect("a key").to_pkcs8().expect("der");
        assert_eq!(ClientKey::from_der(ed.as_ref(), None, None).map(|key| key.algorithm()), Some(Algorithm::EdDSA));
        assert!(ClientKey::from_der(b"no key", None, None).is_none());
    }
}
