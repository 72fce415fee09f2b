//! Which key does a proof bring along (RFC 9449 §4.2)? Read from the proof's own header, and held to the token's.
//!
//! A key that made a good proof once is kept ready to verify, by its thumbprint and with the header that it
//! came in: reading a P-256 key costs half of what its signature costs to check, and a client writes the same
//! header each time. Only a good proof puts a key here and each key has one place, so nobody without a bound
//! token can push others out. Knows no clock.

use std::sync::Arc;

use aws_lc_rs::signature::ParsedPublicKey;
use quick_cache::sync::Cache;
use serde::Deserialize;
use serde_json::Value;

use super::keys::{Jwk, Material};
use super::{Algorithm, Flaw, Thumbprint};

/// Members of private and symmetric keys (RFC 7518 §6.2.2, §6.3.2, §6.4.1).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Keys kept ready: of about 2 KiB each, and their header.
const KEPT: usize = 4096;
/// Bytes of the longest header that is kept; that of an RSA key of 4096 bits has about 1 KiB.
const LONGEST_HEADER: usize = 2 << 10;

/// The public key of a proof, as it says itself, good for one algorithm.
pub struct ProofKey {
    material: Material,
    algorithm: Algorithm,
    thumbprint: Thumbprint,
}

impl ProofKey {
    /// None for a key with a private part (RFC 9449 §4.3 point 7), for another use, weak or broken.
    pub fn read(jwk: &Value, algorithm: Algorithm) -> Option<Self> {
        if jwk.as_object()?.keys().any(|name| PRIVATE.contains(&name.as_str())) {
            return None;
        }
        let jwk = Jwk::deserialize(jwk).ok()?;
        if !jwk.is_for_signatures() || jwk.alg.as_deref().is_some_and(|name| name.parse() != Ok(algorithm)) {
            return None;
        }
        let material = Material::read(&jwk)?;
        let thumbprint = material.thumbprint()?;
        Some(Self { material, algorithm, thumbprint })
    }

    /// RFC 7638 §3, with SHA-256.
    pub fn thumbprint(&self) -> &Thumbprint {
        &self.thumbprint
    }

    /// Whether it made `signature` over `message`.
    ///
    /// # Errors
    /// [`Flaw::Key`] where it is no key of that algorithm, or no point of its curve; [`Flaw::Signature`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Flaw> {
        verify(&self.verifier()?, message, signature)
    }

    fn verifier(&self) -> Result<ParsedPublicKey, Flaw> {
        self.material.verifier(self.algorithm).ok_or(Flaw::Key)
    }
}

fn verify(key: &ParsedPublicKey, message: &[u8], signature: &[u8]) -> Result<(), Flaw> {
    key.verify_sig(message, signature).map_err(|_| Flaw::Signature)
}

/// A key that made a good proof before, and the header that brought it, as it was signed; none of one that is too long to keep.
#[derive(Clone)]
pub struct KnownKey {
    header: Option<Arc<str>>,
    algorithm: Algorithm,
    verifier: Arc<ParsedPublicKey>,
}

impl KnownKey {
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The same as [`ProofKey::verify`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Flaw> {
        verify(&self.verifier, message, signature)
    }
}

/// Keys that made good proofs before.
pub struct ProofKeys(Cache<Thumbprint, KnownKey>);

impl Default for ProofKeys {
    fn default() -> Self {
        Self(Cache::new(KEPT))
    }
}

impl ProofKeys {
    /// The key with this thumbprint, if its last good proof had the same header to the letter: whatever is to be asked of
    /// a header was asked then, but for what is configured.
    pub fn known(&self, thumbprint: &Thumbprint, header: &str) -> Option<KnownKey> {
        self.0.get(thumbprint).filter(|known| known.header.as_deref() == Some(header))
    }

    /// The same as [`ProofKey::verify`], and keeps the key with its header.
    pub fn verify(&self, key: &ProofKey, header: &str, message: &[u8], signature: &[u8]) -> Result<(), Flaw> {
        let ready = self.0.get(&key.thumbprint).filter(|known| known.algorithm == key.algorithm);
        let verifier = ready.map_or_else(|| key.verifier().map(Arc::new), |known| Ok(known.verifier))?;
        verify(&verifier, message, signature)?;
        let header = (header.len() <= LONGEST_HEADER).then(|| header.into());
        self.0.insert(key.thumbprint, KnownKey { header, algorithm: key.algorithm, verifier });
        Ok(())
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.len()
    }
}

impl std::fmt::Debug for ProofKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProofKeys").field("kept", &self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::forge::Signer;

    fn made(algorithm: Algorithm) -> (Signer, ProofKey) {
        let signer = Signer::new(algorithm);
        let key = ProofKey::read(&signer.jwk("x"), algorithm).expect("a key");
        (signer, key)
    }

    #[test]
    fn only_a_good_proof_leaves_its_key_behind() {
        let keys = ProofKeys::default();
        let (signer, key) = made(Algorithm::ES256);
        assert_eq!(keys.verify(&key, "head", b"one", &[0; 64]), Err(Flaw::Signature));
        assert_eq!(keys.len(), 0);
        assert_eq!(keys.verify(&key, "head", b"one", &signer.sign(Algorithm::ES256, b"one")), Ok(()));
        assert_eq!(keys.len(), 1);
    }

    #[test]
    fn a_key_kept_ready_refuses_what_a_fresh_one_refuses() {
        let keys = ProofKeys::default();
        for algorithm in Algorithm::ALL {
            let (signer, key) = made(algorithm);
            for round in 0..2 {
                assert_eq!(keys.verify(&key, "head", b"one", &signer.sign(algorithm, b"one")), Ok(()), "{algorithm} {round}");
                assert_eq!(keys.verify(&key, "head", b"two", &signer.sign(algorithm, b"one")), Err(Flaw::Signature), "{algorithm} {round}");
            }
        }
    }

    #[test]
    fn a_key_is_known_by_the_header_of_its_last_good_proof_alone() {
        let keys = ProofKeys::default();
        let (signer, key) = made(Algorithm::ES256);
        let signature = signer.sign(Algorithm::ES256, b"one");
        assert!(keys.known(key.thumbprint(), "head").is_none());
        assert_eq!(keys.verify(&key, "head", b"one", &signature), Ok(()));
        let known = keys.known(key.thumbprint(), "head").expect("a known key");
        assert_eq!((known.verify(b"one", &signature), known.verify(b"two", &signature)), (Ok(()), Err(Flaw::Signature)));
        assert!(keys.known(key.thumbprint(), "Head").is_none());
        assert!(keys.known(made(Algorithm::ES256).1.thumbprint(), "head").is_none());

        assert_eq!(keys.verify(&key, "forged", b"two", &signature), Err(Flaw::Signature));
        assert!(keys.known(key.thumbprint(), "head").is_some() && keys.known(key.thumbprint(), "forged").is_none());
        assert_eq!(keys.verify(&key, "other", b"one", &signature), Ok(()));
        assert!(keys.known(key.thumbprint(), "head").is_none() && keys.known(key.thumbprint(), "other").is_some());
        assert_eq!(keys.len(), 1);
    }

    #[test]
    fn a_header_too_long_to_keep_is_read_each_time() {
        let keys = ProofKeys::default();
        let (signer, key) = made(Algorithm::ES256);
        let long = "h".repeat(LONGEST_HEADER + 1);
        assert_eq!(keys.verify(&key, &long, b"one", &signer.sign(Algorithm::ES256, b"one")), Ok(()));
        assert_eq!((keys.len(), keys.known(key.thumbprint(), &long).is_none()), (1, true));
        assert!(keys.known(key.thumbprint(), "").is_none(), "and nothing stands for it");
    }

    #[test]
    fn a_key_that_verified_one_algorithm_is_not_ready_for_another() {
        let keys = ProofKeys::default();
        let (signer, key) = made(Algorithm::RS256);
        assert_eq!(keys.verify(&key, "head", b"one", &signer.sign(Algorithm::RS256, b"one")), Ok(()));
        let other = ProofKey { algorithm: Algorithm::PS256, ..key };
        assert_eq!(keys.verify(&other, "head", b"one", &signer.sign(Algorithm::RS256, b"one")), Err(Flaw::Signature));
        let other = ProofKey { algorithm: Algorithm::ES256, ..other };
        assert_eq!(keys.verify(&other, "head", b"one", &[0; 64]), Err(Flaw::Key));
    }
}
