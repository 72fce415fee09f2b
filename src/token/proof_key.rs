//! Which key does a proof bring along (RFC 9449 §4.2)? Read from the proof's own header, and held to the token's.
//!
//! A key that made a good proof once is kept ready to verify, by its thumbprint: reading a P-256 key
//! costs half of what its signature costs to check. Only a good proof puts a key here, so nobody
//! without a bound token can push others out. Knows no clock.

use std::sync::Arc;

use aws_lc_rs::signature::ParsedPublicKey;
use quick_cache::sync::Cache;
use serde::Deserialize;
use serde_json::Value;

use super::keys::{Jwk, Material};
use super::{Algorithm, Flaw, Thumbprint};

/// Members of private and symmetric keys (RFC 7518 §6.2.2, §6.3.2, §6.4.1).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Keys kept ready: of about 2 KiB each.
const KEPT: usize = 4096;

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
        self.parse_and_verify(message, signature).map(drop)
    }

    fn parse_and_verify(&self, message: &[u8], signature: &[u8]) -> Result<ParsedPublicKey, Flaw> {
        let parsed = self.material.verifier(self.algorithm).ok_or(Flaw::Key)?;
        parsed.verify_sig(message, signature).map_err(|_| Flaw::Signature)?;
        Ok(parsed)
    }
}

/// Keys that made good proofs before.
pub struct ProofKeys(Cache<(Thumbprint, Algorithm), Arc<ParsedPublicKey>>);

impl Default for ProofKeys {
    fn default() -> Self {
        Self(Cache::new(KEPT))
    }
}

impl ProofKeys {
    /// The same as [`ProofKey::verify`], and keeps the key.
    pub fn verify(&self, key: &ProofKey, message: &[u8], signature: &[u8]) -> Result<(), Flaw> {
        let name = (key.thumbprint, key.algorithm);
        if let Some(known) = self.0.get(&name) {
            return known.verify_sig(message, signature).map_err(|_| Flaw::Signature);
        }
        self.0.insert(name, Arc::new(key.parse_and_verify(message, signature)?));
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
        assert_eq!(keys.verify(&key, b"one", &[0; 64]), Err(Flaw::Signature));
        assert_eq!(keys.len(), 0);
        assert_eq!(keys.verify(&key, b"one", &signer.sign(Algorithm::ES256, b"one")), Ok(()));
        assert_eq!(keys.len(), 1);
    }

    #[test]
    fn a_key_kept_ready_refuses_what_a_fresh_one_refuses() {
        let keys = ProofKeys::default();
        for algorithm in Algorithm::ALL {
            let (signer, key) = made(algorithm);
            for round in 0..2 {
                assert_eq!(keys.verify(&key, b"one", &signer.sign(algorithm, b"one")), Ok(()), "{algorithm} {round}");
                assert_eq!(keys.verify(&key, b"two", &signer.sign(algorithm, b"one")), Err(Flaw::Signature), "{algorithm} {round}");
            }
        }
    }

    #[test]
    fn a_key_that_verified_one_algorithm_is_not_ready_for_another() {
        let keys = ProofKeys::default();
        let (signer, key) = made(Algorithm::RS256);
        assert_eq!(keys.verify(&key, b"one", &signer.sign(Algorithm::RS256, b"one")), Ok(()));
        let other = ProofKey { algorithm: Algorithm::PS256, ..key };
        assert_eq!(keys.verify(&other, b"one", &signer.sign(Algorithm::RS256, b"one")), Err(Flaw::Signature));
        let other = ProofKey { algorithm: Algorithm::ES256, ..other };
        assert_eq!(keys.verify(&other, b"one", &[0; 64]), Err(Flaw::Key));
    }
}
