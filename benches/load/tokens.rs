//! Access tokens as an identity provider makes them, about 1 KB each, and the key set that verifies them.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub const ISSUER: &str = "https://login.example.com";
/// Who holds them.
pub const CLIENT: &str = "agent-workbench";
/// The scope that the load's rules ask for.
pub const SCOPE: &str = "mcp:read";

/// The issuer's two keys.
pub struct Mint {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    rng: SystemRandom,
    audience: String,
}

impl Mint {
    /// Keys made now, for tokens to one audience.
    pub fn new(audience: &str) -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key"),
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a P-256 key"),
            rng: SystemRandom::new(),
            audience: audience.to_owned(),
        }
    }

    pub fn write_jwks(&self, folder: &Path) -> PathBuf {
        // RSAPublicKey in DER (RFC 8017 A.1.1): for 2048 bits the modulus stands behind nine bytes of tags, lengths and sign.
        let modulus = &self.rsa.public_key().as_ref()[9..9 + 256];
        let point = self.ec.public_key().as_ref();
        let keys = json!({ "keys": [
            { "kty": "RSA", "kid": "rs-1", "use": "sig", "alg": "RS256",
              "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB" },
            { "kty": "EC", "crv": "P-256", "kid": "es-1", "use": "sig", "alg": "ES256",
              "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..]) },
        ]});
        let path = folder.join("jwks.json");
        std::fs::write(&path, keys.to_string()).expect("a file in the temporary folder");
        path
    }

    /// One ES256 token for each ten of RS256, as when two identity providers share a gateway.
    pub fn mixed(&self, serial: usize) -> String {
        if serial % 11 == 10 { self.es256(serial) } else { self.rs256(serial) }
    }

    pub fn rs256(&self, serial: usize) -> String {
        let input = signing_input("RS256", "rs-1", self.claims(serial));
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        self.rsa.sign(&RSA_PKCS1_SHA256, &self.rng, input.as_bytes(), &mut signature).expect("a signature");
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub fn es256(&self, serial: usize) -> String {
        self.signed_by_ec(&signing_input("ES256", "es-1", self.claims(serial)))
    }

    /// Bound to the key with this thumbprint (RFC 9449 §6.1).
    pub fn bound(&self, serial: usize, thumbprint: &str) -> String {
        let mut claims = self.claims(serial);
        claims["cnf"] = json!({ "jkt": thumbprint });
        self.signed_by_ec(&signing_input("ES256", "es-1", claims))
    }

    fn signed_by_ec(&self, input: &str) -> String {
        let signature = self.ec.sign(&self.rng, input.as_bytes()).expect("a signature");
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn claims(&self, serial: usize) -> Value {
        let now = now();
        json!({
            "iss": ISSUER, "aud": self.audience, "sub": format!("user-{serial:08}"), "client_id": CLIENT,
            "iat": now, "nbf": now, "exp": now + 3600, "jti": format!("3f6c1d52-9a4e-4c1b-8d77-{serial:012}"),
            "scope": format!("openid profile {SCOPE} mcp:tools offline"),
            "email": format!("user-{serial:08}@example.com"), "name": "Ada Example", "tenant_id": "acme-labs",
            "groups": ["engineering", "platform", "on-call", "all-staff"],
        })
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

fn signing_input(algorithm: &str, kid: &str, claims: Value) -> String {
    let header = json!({ "alg": algorithm, "typ": "at+jwt", "kid": kid });
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// A client that proves, for one URL, that it holds its key (RFC 9449).
pub struct Holder {
    key: EcdsaKeyPair,
    rng: SystemRandom,
    url: String,
}

impl Holder {
    pub fn new(url: &str) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a P-256 key");
        Self { key, rng: SystemRandom::new(), url: url.to_owned() }
    }

    fn coordinates(&self) -> (String, String) {
        let point = self.key.public_key().as_ref();
        (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]))
    }

    /// The point itself, in base64url.
    pub fn key(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key.public_key())
    }

    /// RFC 7638 §3.
    pub fn thumbprint(&self) -> String {
        let (x, y) = self.coordinates();
        let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        URL_SAFE_NO_PAD.encode(digest(&SHA256, members.as_bytes()))
    }

    /// Dated nearly a minute ahead: within the window of a minute, and good for almost two.
    pub fn proof(&self, token: &str, serial: usize) -> String {
        let (x, y) = self.coordinates();
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": { "kty": "EC", "crv": "P-256", "x": x, "y": y } });
        let claims = json!({
            "jti": format!("9b2f0c64-1d3e-4f5a-8c77-{serial:012}"), "htm": "POST", "htu": self.url, "iat": now() + 50,
            "ath": URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes())),
        });
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.key.sign(&self.rng, input.as_bytes()).expect("a signature");
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The same token with one letter in the middle of its signature changed.
pub fn forged(token: &str) -> String {
    let (input, signature) = token.rsplit_once('.').expect("three parts");
    let (left, right) = signature.split_at(signature.len() / 2);
    let other = if right.starts_with('A') { "B" } else { "A" };
    format!("{input}.{left}{other}{}", &right[1..])
}
