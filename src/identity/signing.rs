//! A private key that signs JWTs, with its public half as a JWK.
//!
//! Knows no claim: what is signed, and under which `typ`, comes in. Knows no file.

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// On which curve a key is, and so how it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// ES256 (RFC 7518 §3.4).
    P256,
    /// EdDSA (RFC 8037 §3.1).
    Ed25519,
}

impl Curve {
    /// `alg`.
    pub fn algorithm(self) -> &'static str {
        match self {
            Self::P256 => "ES256",
            Self::Ed25519 => "EdDSA",
        }
    }

    /// The curve of this `alg`.
    pub fn named(algorithm: &str) -> Option<Self> {
        [Self::P256, Self::Ed25519].into_iter().find(|curve| curve.algorithm() == algorithm)
    }
}

/// A private key with its public half as a JWK.
pub struct SigningKey {
    pair: Pair,
    curve: Curve,
    kid: String,
    public: Value,
}

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// A new key on P-256, or none where the system has no randomness.
    pub fn generate() -> Option<Self> {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok().map(Self::p256)
    }

    /// A new key, and the same in PKCS #8 to be kept; none where the system has no randomness.
    pub fn generate_on(curve: Curve) -> Option<(Self, Vec<u8>)> {
        let der = match curve {
            Curve::P256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).ok()?.as_ref().to_vec(),
            Curve::Ed25519 => Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).ok()?.as_ref().to_vec(),
        };
        Some((Self::read(curve, &der)?, der))
    }

    /// From PKCS #8 or SEC 1 in DER; none where it is not a key on P-256.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        Self::read(Curve::P256, der)
    }

    /// From PKCS #8 in DER; none where it is not a key on this curve.
    pub fn read(curve: Curve, der: &[u8]) -> Option<Self> {
        match curve {
            Curve::P256 => EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der).ok().map(Self::p256),
            Curve::Ed25519 => Ed25519KeyPair::from_pkcs8(der).ok().map(Self::ed25519),
        }
    }

    fn p256(pair: EcdsaKeyPair) -> Self {
        // An uncompressed point: 0x04, x, y (SEC 1 §2.3.3).
        let point = pair.public_key().as_ref();
        let text = |bytes: Option<&[u8]>| URL_SAFE_NO_PAD.encode(bytes.unwrap_or_default());
        let (x, y) = (text(point.get(1..33)), text(point.get(33..65)));
        // RFC 7638 §3.2: the required members in the order of their names.
        let kid = thumbprint(&format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#));
        let public = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "use": "sig", "alg": "ES256" });
        Self { pair: Pair::P256(pair), curve: Curve::P256, kid, public }
    }

    fn ed25519(pair: Ed25519KeyPair) -> Self {
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        // RFC 8037 §2 and its appendix A.3.
        let kid = thumbprint(&format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
        let public = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig", "alg": "EdDSA" });
        Self { pair: Pair::Ed25519(pair), curve: Curve::Ed25519, kid, public }
    }

    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// Its thumbprint (RFC 7638).
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half (RFC 7517).
    pub fn public(&self) -> &Value {
        &self.public
    }

    /// The compact serialisation (RFC 7515 §3.1) of these claims; none where the system has no randomness.
    pub fn sign(&self, typ: &str, claims: &Value) -> Option<String> {
        let header = json!({ "alg": self.curve.algorithm(), "typ": typ, "kid": self.kid });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(claims));
        let signature = match &self.pair {
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), message.as_bytes()).ok()?,
            Pair::Ed25519(pair) => pair.try_sign(message.as_bytes()).ok()?,
        };
        Some(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.kid)
    }
}

fn thumbprint(members: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, members.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};

    fn parts(text: &str) -> (&str, Vec<u8>) {
        let (message, signature) = text.rsplit_once('.').expect("a signature");
        (message, URL_SAFE_NO_PAD.decode(signature).expect("base64url"))
    }

    fn coordinate(key: &SigningKey, name: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(key.public()[name].as_str().expect("text")).expect("base64url")
    }

    #[test]
    fn the_published_key_verifies_what_was_signed_and_holds_no_private_part() {
        for curve in [Curve::P256, Curve::Ed25519] {
            let (key, der) = SigningKey::generate_on(curve).expect("a key");
            let text = key.sign("x+jwt", &json!({ "a": 1 })).expect("signed");
            let (message, signature) = parts(&text);
            let verifies = match curve {
                Curve::P256 => {
                    let point = [vec![4], coordinate(&key, "x"), coordinate(&key, "y")].concat();
                    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message.as_bytes(), &signature).is_ok()
                }
                Curve::Ed25519 => UnparsedPublicKey::new(&ED25519, coordinate(&key, "x")).verify(message.as_bytes(), &signature).is_ok(),
            };
            assert!(verifies, "{curve:?}");
            assert_eq!(key.public().get("d"), None);
            assert_eq!(SigningKey::read(curve, &der).expect("the same").kid(), key.kid());
            assert!(!format!("{key:?}").contains(&key.public()["x"].to_string()));
        }
        assert!(SigningKey::from_der(b"no key").is_none());
        let (_, der) = SigningKey::generate_on(Curve::Ed25519).expect("a key");
        assert!(SigningKey::from_der(&der).is_none(), "a key of one curve is none of the other");
    }
}
