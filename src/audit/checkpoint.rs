//! Who vouches for the log? A signature over its head, with a key that only the gateway has.
//!
//! Ed25519 (RFC 8032). Without it whoever may write the whole log could compute the chain anew. Knows no file and no clock.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::chain::Head;

/// What stands before the key in a SubjectPublicKeyInfo (RFC 8410 §4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The private key.
pub struct Signer {
    pair: Ed25519KeyPair,
    kid: String,
}

impl Signer {
    /// From PKCS #8 in DER; none where it is not an Ed25519 key.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
        let kid = Key(pair.public_key().as_ref().try_into().ok()?).kid();
        Some(Self { pair, kid })
    }

    /// The public half, as `audit verify --key` takes it.
    pub fn key(&self) -> Option<Key> {
        Some(Key(self.pair.public_key().as_ref().try_into().ok()?))
    }

    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Base64url.
    pub fn sign(&self, head: &Head, time: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.sign(&signed(head, time)))
    }
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// From a SubjectPublicKeyInfo in DER.
    pub fn from_spki(der: &[u8]) -> Option<Self> {
        Some(Self(der.strip_prefix(&SPKI)?.try_into().ok()?))
    }

    /// In PEM (RFC 7468 §13).
    pub fn pem(&self) -> String {
        let der: Vec<u8> = SPKI.iter().chain(&self.0).copied().collect();
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    }

    /// Its thumbprint (RFC 7638, RFC 8037 §2).
    pub fn kid(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.0);
        URL_SAFE_NO_PAD.encode(digest(&SHA256, format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#).as_bytes()))
    }

    pub fn has_signed(&self, head: &Head, time: &str, signature: &str) -> bool {
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
        UnparsedPublicKey::new(&ED25519, self.0).verify(&signed(head, time), &signature).is_ok()
    }
}

fn signed(head: &Head, time: &str) -> Vec<u8> {
    format!("doorward audit checkpoint 1\n{}\n{}\n{}\n{time}\n", head.log, head.sequence, head.text()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_head_its_time_and_its_key_alone() {
        let make = || Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()).expect("a key");
        let (mine, other) = (Signer::from_der(make().as_ref()).expect("mine"), Signer::from_der(make().as_ref()).expect("other"));
        let head = Head { log: "abcdefgh".into(), sequence: 7, chain: [1; 32] };
        let signature = mine.sign(&head, "now");
        let key = mine.key().expect("a public key");
        assert!(key.has_signed(&head, "now", &signature));
        assert!(!key.has_signed(&head, "then", &signature) && !key.has_signed(&head, "now", "AAAA"));
        assert!(!other.key().expect("a key").has_signed(&head, "now", &signature));
        for altered in
            [Head { sequence: 8, ..head.clone() }, Head { chain: [2; 32], ..head.clone() }, Head { log: "abcdefgi".into(), ..head.clone() }]
        {
            assert!(!key.has_signed(&altered, "now", &signature));
        }
    }
}
