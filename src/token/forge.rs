//! Keys and tokens made on the fly, for tests.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Algorithm, AudienceFrom, ClaimNames, IssuerRules, KeySet};

pub const ISSUER: &str = "https://login.example.com";
pub const RESOURCE: &str = "https://mcp.example.com/files";
pub const NOW: u64 = 1_800_000_000;

pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

pub enum Signer {
    Rsa(Arc<RsaKeyPair>),
    Ec(Algorithm, EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    pub fn new(algorithm: Algorithm) -> Self {
        let ec = |parameters| Self::Ec(algorithm, EcdsaKeyPair::generate(parameters).expect("a key"));
        match algorithm {
            Algorithm::ES256 => ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::ES384 => ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            Algorithm::ES512 => ec(&signature::ECDSA_P521_SHA512_FIXED_SIGNING),
            Algorithm::EdDSA => Self::Ed(Ed25519KeyPair::generate().expect("a key")),
            _ => Self::rsa(),
        }
    }

    /// One RSA key for all: they are slow to make.
    pub fn rsa() -> Self {
        static KEY: OnceLock<Arc<RsaKeyPair>> = OnceLock::new();
        Self::Rsa(KEY.get_or_init(|| Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"))).clone())
    }

    pub fn jwk(&self, kid: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            // RSAPublicKey in DER: two headers and a sign byte, the modulus, `02 03`, the exponent.
            Self::Rsa(pair) => {
                let der = pair.public_key().as_ref();
                json!({"kty": "RSA", "kid": kid, "n": text(&der[9..265]), "e": text(&der[267..])})
            }
            Self::Ec(algorithm, pair) => {
                let crv = match algorithm {
                    Algorithm::ES256 => "P-256",
                    Algorithm::ES384 => "P-384",
                    _ => "P-521",
                };
                let (x, y) = pair.public_key().as_ref()[1..].split_at((pair.public_key().as_ref().len() - 1) / 2);
                json!({"kty": "EC", "crv": crv, "kid": kid, "x": text(x), "y": text(y)})
            }
            Self::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": text(pair.public_key().as_ref())}),
        }
    }

    pub fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Rsa(pair) => {
                let padding: &dyn signature::RsaEncoding = match algorithm {
                    Algorithm::RS256 => &signature::RSA_PKCS1_SHA256,
                    Algorithm::RS384 => &signature::RSA_PKCS1_SHA384,
                    Algorithm::RS512 => &signature::RSA_PKCS1_SHA512,
                    Algorithm::PS256 => &signature::RSA_PSS_SHA256,
                    Algorithm::PS384 => &signature::RSA_PSS_SHA384,
                    _ => &signature::RSA_PSS_SHA512,
                };
                let mut bytes = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &SystemRandom::new(), message, &mut bytes).expect("a signature");
                bytes
            }
            Self::Ec(_, pair) => pair.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A signed token. `alg` is what is really signed with; the header may claim otherwise.
    pub fn token(&self, algorithm: Algorithm, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", part(header), part(claims));
        let signature = self.sign(algorithm, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

pub fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

pub fn header(algorithm: Algorithm, kid: &str) -> Value {
    json!({"alg": algorithm.as_str(), "typ": "at+jwt", "kid": kid})
}

/// The claims of a good access token.
pub fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": RESOURCE, "sub": "alice", "client_id": "inspector", "jti": "1",
        "scope": "repo:read repo:write", "iat": NOW - 10, "exp": NOW + 600,
    })
}

pub fn with(mut value: Value, name: &str, member: Value) -> Value {
    value[name] = member;
    value
}

pub fn without(mut value: Value, name: &str) -> Value {
    value.as_object_mut().expect("an object").remove(name);
    value
}

pub fn rules() -> IssuerRules {
    IssuerRules {
        name: "corp".into(),
        issuer: ISSUER.into(),
        algorithms: Algorithm::ALL.to_vec(),
        token_types: vec!["at+jwt".into()],
        audience: Vec::new(),
        leeway: Duration::from_secs(30),
        claims: ClaimNames::default(),
        required_claims: Vec::new(),
        audience_from: AudienceFrom::Aud,
        required_values: Vec::new(),
        own: false,
    }
}

pub fn key_set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("a key set")
}
