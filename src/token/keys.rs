//! Which public keys does an issuer sign with? A JWK Set (RFC 7517), read once into keys ready to verify.
//!
//! Each key knows the algorithms it may verify, so a header can never choose another (RFC 8725 §3.1).
//! The JWK is read here and the signature checked by `aws_lc_rs` itself: a key parsed once verifies
//! RS256 in 18.9 µs, one rebuilt on each call in 25.4; and ES512 and `Ed25519` come along.
//! Knows nothing of where a set comes from, or when.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::Algorithm;

/// Bytes of the largest set that is read.
pub const LARGEST: usize = 1 << 20;

/// Keys of a set that are read; those after them are skipped.
pub const MOST: usize = 100;

/// One public key of an issuer.
pub struct Key {
    id: u64,
    thumbprint: [u8; 32],
    kid: Option<String>,
    verifiers: Vec<(Algorithm, ParsedPublicKey)>,
}

/// The usable keys of one issuer at one time.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Arc<Key>>,
    skipped: usize,
    version: u64,
    digest: [u8; 32],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysError {
    TooLarge,
    /// Not a JSON object with a `keys` array (RFC 7517 §5).
    NotKeySet,
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the key set is larger than 1 MiB",
            Self::NotKeySet => "not a JWK Set: a JSON object with an array `keys` is expected",
        })
    }
}

impl std::error::Error for KeysError {}

impl KeySet {
    /// The set of an issuer that has no keys.
    pub fn none() -> Self {
        Self::default()
    }

    /// A key that is of no use here (symmetric, for encryption, weak, of an unknown type or broken)
    /// never spoils its set: it is skipped and counted.
    pub fn parse(text: &[u8]) -> Result<Self, KeysError> {
        if text.len() > LARGEST {
            return Err(KeysError::TooLarge);
        }
        let set: JwkSet = serde_json::from_slice(text).map_err(|_| KeysError::NotKeySet)?;
        let total = set.keys.len();
        let keys: Vec<Arc<Key>> = set.keys.into_iter().take(MOST).filter_map(Key::new).map(Arc::new).collect();
        Ok(Self { skipped: total - keys.len(), version: version(&keys), keys, digest: sha256(text) })
    }

    /// The keys of it that are kept, as if the others were of no use here.
    #[must_use]
    pub fn only(&self, keep: impl Fn(&Key) -> bool) -> Self {
        let keys: Vec<Arc<Key>> = self.keys.iter().filter(|key| keep(key)).cloned().collect();
        Self { skipped: self.skipped + self.len() - keys.len(), version: version(&keys), keys, digest: self.digest }
    }

    /// The keys that a token with this header may have been signed with: those named `kid`, which
    /// may be several, or without one all that fit the algorithm.
    pub fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        let fits = move |key: &&Key| (kid.is_none() || key.kid() == kid) && key.verifier(algorithm).is_some();
        self.keys.iter().map(Arc::as_ref).filter(fits)
    }

    /// Whether a key that verified a token before is still in the set.
    pub fn contains(&self, id: u64) -> bool {
        self.keys.iter().any(|key| key.id == id)
    }

    /// The same for the same keys, whatever their order.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many keys of the document are of no use here.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub fn keys(&self) -> &[Arc<Key>] {
        &self.keys
    }

    /// SHA-256 of the document's text.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

/// Order in the document does not matter, what is in it does.
fn version(keys: &[Arc<Key>]) -> u64 {
    keys.iter().fold(keys.len() as u64, |sum, key| sum.wrapping_add(key.version()))
}

impl Key {
    fn new(jwk: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(jwk).ok()?;
        if !jwk.is_for_signatures() {
            return None;
        }
        let material = Material::read(&jwk)?;
        let algorithms: Vec<Algorithm> = match jwk.alg {
            Some(name) => vec![name.parse().ok()?],
            None => Algorithm::ALL.to_vec(),
        };
        let verifiers: Vec<_> = algorithms.into_iter().filter_map(|algorithm| Some((algorithm, material.verifier(algorithm)?))).collect();
        if verifiers.is_empty() {
            return None;
        }
        let id = identify(&material, &verifiers)?;
        Some(Self { id, thumbprint: material.thumbprint()?, kid: jwk.kid, verifiers })
    }

    /// The same for the same public key with the same algorithms, here and after a restart.
    pub fn id(&self) -> u64 {
        self.id
    }

    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// RFC 7638 §3, with SHA-256.
    pub fn thumbprint(&self) -> &[u8; 32] {
        &self.thumbprint
    }

    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.verifiers.iter().map(|(algorithm, _)| *algorithm)
    }

    /// Whether this key made the signature, with this very algorithm.
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.verifier(algorithm).is_some_and(|key| key.verify_sig(message, signature).is_ok())
    }

    fn verifier(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        self.verifiers.iter().find_map(|(name, key)| (*name == algorithm).then_some(key))
    }

    fn version(&self) -> u64 {
        let name = self.kid.as_deref().unwrap_or_default();
        let mut context = Context::new(&SHA256);
        context.update(&self.id.to_be_bytes());
        context.update(name.as_bytes());
        first_eight(context.finish().as_ref()).unwrap_or(self.id)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<Algorithm> = self.algorithms().collect();
        f.debug_struct("Key").field("kid", &self.kid).field("algorithms", &algorithms).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

/// The members of a JWK that are read (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2). Private members and
/// certificates are not.
#[derive(Deserialize)]
pub(super) struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    pub(super) usage: Option<String>,
    pub(super) key_ops: Option<Vec<String>>,
    pub(super) alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwk {
    /// Whether `use` and `key_ops` let it verify (RFC 7517 §4.2 and §4.3).
    pub(super) fn is_for_signatures(&self) -> bool {
        let verifies = |all: &Vec<String>| all.iter().any(|one| one == "verify");
        self.usage.as_deref().is_none_or(|usage| usage == "sig") && self.key_ops.as_ref().is_none_or(verifies)
    }
}

/// A public key as bytes.
pub(super) enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
    P384(Vec<u8>),
    P521(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Material {
    pub(super) fn read(jwk: &Jwk) -> Option<Self> {
        let (x, y) = (jwk.x.as_deref(), jwk.y.as_deref());
        match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => rsa(decode(jwk.n.as_deref()?)?, decode(jwk.e.as_deref()?)?),
            ("EC", Some("P-256")) => Some(Self::P256(point(x?, y?, 32)?)),
            ("EC", Some("P-384")) => Some(Self::P384(point(x?, y?, 48)?)),
            ("EC", Some("P-521")) => Some(Self::P521(point(x?, y?, 66)?)),
            ("OKP", Some("Ed25519")) => Some(Self::Ed25519(decode(x?).filter(|x| x.len() == 32)?)),
            _ => None,
        }
    }

    pub(super) fn verifier(&self, algorithm: Algorithm) -> Option<ParsedPublicKey> {
        let parsed = match (self, algorithm) {
            (Self::Rsa { n, e }, _) => RsaPublicKeyComponents { n, e }.to_parsed_public_key(rsa_parameters(algorithm)?),
            (Self::P256(point), Algorithm::ES256) => ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point),
            (Self::P384(point), Algorithm::ES384) => ParsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point),
            (Self::P521(point), Algorithm::ES512) => ParsedPublicKey::new(&signature::ECDSA_P521_SHA512_FIXED, point),
            (Self::Ed25519(x), Algorithm::EdDSA) => ParsedPublicKey::new(&signature::ED25519, x),
            _ => return None,
        };
        parsed.ok()
    }

    /// The required members in the order of their names, without a space (RFC 7638 §3.2, RFC 8037 §2).
    pub(super) fn thumbprint(&self) -> Option<[u8; 32]> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let json = match self {
            Self::Rsa { n, e } => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(e), text(n)),
            Self::Ed25519(x) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text(x)),
            Self::P256(point) | Self::P384(point) | Self::P521(point) => {
                let (crv, size) = match self {
                    Self::P256(_) => ("P-256", 32),
                    Self::P384(_) => ("P-384", 48),
                    _ => ("P-521", 66),
                };
                let (x, y) = point.get(1..)?.split_at_checked(size)?;
                format!(r#"{{"crv":"{crv}","kty":"EC","x":"{}","y":"{}"}}"#, text(x), text(y))
            }
        };
        Some(sha256(json.as_bytes()))
    }

    fn parts(&self) -> (&'static str, &[u8], &[u8]) {
        match self {
            Self::Rsa { n, e } => ("RSA", n, e),
            Self::P256(point) => ("P-256", point, &[]),
            Self::P384(point) => ("P-384", point, &[]),
            Self::P521(point) => ("P-521", point, &[]),
            Self::Ed25519(x) => ("Ed25519", x, &[]),
        }
    }
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 | Algorithm::ES384 | Algorithm::ES512 | Algorithm::EdDSA => None,
    }
}

/// 2048 to 8192 bits (RFC 7518 §3.3) and an odd exponent of at least 3: with 1 everything would be a signature.
fn rsa(n: Vec<u8>, e: Vec<u8>) -> Option<Material> {
    let (n, e) = (without_leading_zeros(n), without_leading_zeros(e));
    let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
    let odd = e.last()? & 1 == 1;
    let weak = e.len() == 1 && e.first().is_some_and(|e| *e < 3);
    ((2048..=8192).contains(&bits) && odd && !weak && e.len() <= 8).then_some(Material::Rsa { n, e })
}

/// Some issuers write the sign byte of an ASN.1 integer.
fn without_leading_zeros(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

/// Coordinates have the full size of the curve (RFC 7518 §6.2.1.2).
fn point(x: &str, y: &str, size: usize) -> Option<Vec<u8>> {
    let (x, y) = (decode(x)?, decode(y)?);
    if x.len() != size || y.len() != size {
        return None;
    }
    Some([vec![4], x, y].concat())
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn identify(material: &Material, verifiers: &[(Algorithm, ParsedPublicKey)]) -> Option<u64> {
    let (kind, first, second) = material.parts();
    let mut context = Context::new(&SHA256);
    for part in [kind.as_bytes(), first, second] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    for (algorithm, _) in verifiers {
        context.update(algorithm.as_str().as_bytes());
    }
    first_eight(context.finish().as_ref())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    aws_lc_rs::digest::digest(&SHA256, bytes).as_ref().try_into().unwrap_or_default()
}

fn first_eight(digest: &[u8]) -> Option<u64> {
    digest.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::forge::{self, Signer};
    use serde_json::json;

    fn set(keys: &[Value]) -> KeySet {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("a key set")
    }

    fn with(mut jwk: Value, name: &str, value: Value) -> Value {
        jwk[name] = value;
        jwk
    }

    #[test]
    fn a_key_verifies_only_what_its_type_and_alg_allow() {
        let rsa = set(&[Signer::rsa().jwk("r")]);
        assert_eq!(rsa.keys()[0].algorithms().count(), 6);
        let one = set(&[with(Signer::rsa().jwk("r"), "alg", json!("RS256"))]);
        assert_eq!(one.keys()[0].algorithms().collect::<Vec<_>>(), [Algorithm::RS256]);
        assert_eq!(one.find(Some("r"), Algorithm::PS256).count(), 0);
        for algorithm in Algorithm::ALL {
            let signer = Signer::new(algorithm);
            let set = set(&[signer.jwk("k")]);
            let key = set.find(Some("k"), algorithm).next().expect("the key");
            let signature = signer.sign(algorithm, b"message");
            assert!(key.verifies(algorithm, b"message", &signature), "{algorithm}");
            assert!(!key.verifies(algorithm, b"massage", &signature), "{algorithm}");
            for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
                assert!(!key.verifies(other, b"message", &signature), "{algorithm} as {other}");
            }
        }
    }

    #[test]
    fn an_odd_key_never_spoils_its_set() {
        let good = Signer::new(Algorithm::ES256).jwk("good");
        let rsa = Signer::rsa().jwk("r");
        let short = URL_SAFE_NO_PAD.encode([0xff; 128]);
        let odd = [
            json!({"kty": "oct", "k": "c2VjcmV0", "kid": "o", "alg": "HS256"}),
            json!({"kty": "oct", "k": "c2VjcmV0", "kid": "o", "alg": "RS256"}),
            with(good.clone(), "use", json!("enc")),
            with(good.clone(), "key_ops", json!(["sign"])),
            with(good.clone(), "alg", json!("HS256")),
            with(good.clone(), "alg", json!("none")),
            with(good.clone(), "alg", json!("RS256")),
            with(good.clone(), "alg", json!("ES384")),
            with(good.clone(), "alg", json!(7)),
            with(good.clone(), "kid", json!(["a"])),
            with(good.clone(), "crv", json!("secp256k1")),
            with(good.clone(), "crv", json!("P-384")),
            with(good.clone(), "x", json!("AAAA")),
            with(good.clone(), "x", good["y"].clone()),
            with(good.clone(), "x", json!("not base64!")),
            with(good.clone(), "y", Value::Null),
            with(rsa.clone(), "n", json!(short)),
            with(rsa.clone(), "n", json!("")),
            with(rsa.clone(), "e", json!("AQ")),
            with(rsa.clone(), "e", json!("AA")),
            with(rsa.clone(), "e", json!("Ag")),
            with(rsa.clone(), "alg", json!("RSA-OAEP")),
            json!({"kty": "OKP", "crv": "Ed448", "x": "AAAA"}),
            json!({"kty": "OKP", "crv": "X25519", "x": URL_SAFE_NO_PAD.encode([9; 32])}),
            json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}),
            json!({"kty": "quantum"}),
            json!({}),
            json!(null),
            json!("key"),
            json!([]),
        ];
        for key in &odd {
            let set = set(&[key.clone(), good.clone()]);
            assert_eq!((set.len(), set.skipped()), (1, 1), "{key}");
        }
        let all: Vec<Value> = odd.iter().cloned().chain([good]).collect();
        assert_eq!(set(&all).skipped(), odd.len());
    }

    #[test]
    fn an_unknown_member_is_ignored_and_a_sign_byte_forgiven() {
        let jwk = with(with(Signer::rsa().jwk("r"), "x5c", json!([1])), "ext", json!(true));
        let n = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().expect("n")).expect("base64");
        let signed = with(jwk.clone(), "n", json!(URL_SAFE_NO_PAD.encode([vec![0], n].concat())));
        assert_eq!(set(&[jwk]).version(), set(&[signed]).version());
    }

    #[test]
    fn a_kid_finds_all_its_keys_and_no_kid_all_that_fit() {
        let (a, b, c) = (Signer::new(Algorithm::ES256), Signer::new(Algorithm::ES256), Signer::new(Algorithm::EdDSA));
        let set = set(&[a.jwk("same"), b.jwk("same"), c.jwk("same"), forge::without(a.jwk("x"), "kid")]);
        assert_eq!(set.find(Some("same"), Algorithm::ES256).count(), 2);
        assert_eq!(set.find(Some("same"), Algorithm::EdDSA).count(), 1);
        assert_eq!(set.find(None, Algorithm::ES256).count(), 3);
        assert_eq!(set.find(Some("other"), Algorithm::ES256).count(), 0);
        assert_eq!(set.find(Some(""), Algorithm::ES256).count(), 0);
    }

    #[test]
    fn identity_follows_the_material_and_the_algorithms() {
        let (a, b) = (Signer::new(Algorithm::ES256), Signer::new(Algorithm::ES256));
        let (one, two) = (set(&[a.jwk("1"), b.jwk("2")]), set(&[b.jwk("2"), a.jwk("1")]));
        assert_eq!(one.version(), two.version());
        assert!(two.contains(one.keys()[0].id()));
        let alone = set(&[a.jwk("1")]);
        assert_ne!(alone.version(), one.version());
        assert!(!alone.contains(one.keys()[1].id()));
        assert_ne!(set(&[a.jwk("renamed")]).version(), alone.version());
        let rsa = Signer::rsa().jwk("r");
        assert_ne!(set(std::slice::from_ref(&rsa)).keys()[0].id(), set(&[with(rsa, "alg", json!("RS256"))]).keys()[0].id());
    }

    #[test]
    fn what_is_no_set_is_an_error() {
        for text in ["", "{}", "[]", r#"{"keys":{}}"#, r#"{"keys":null}"#, "<html>"] {
            assert_eq!(KeySet::parse(text.as_bytes()).err(), Some(KeysError::NotKeySet), "{text}");
        }
        assert_eq!(KeySet::parse(&vec![b' '; LARGEST + 1]).err(), Some(KeysError::TooLarge));
        assert!(KeySet::parse(br#"{"keys":[]}"#).is_ok_and(|set| set.is_empty()));
    }

    #[test]
    fn a_set_is_bounded() {
        let jwk = Signer::new(Algorithm::EdDSA).jwk("k");
        let set = set(&vec![jwk; MOST + 20]);
        assert_eq!((set.len(), set.skipped()), (MOST, 20));
    }
}
