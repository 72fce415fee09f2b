//! What a holder shows, and what is kept of it: a random value, and its digest.

use std::fmt;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The system has no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRandomness;

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the system has no randomness")
    }
}

impl std::error::Error for NoRandomness {}

/// 32 random bytes: the secret that its holder shows, and the digest that is kept of it.
///
/// # Errors
/// The system has no randomness.
pub fn secret() -> Result<(String, String), NoRandomness> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    let text = URL_SAFE_NO_PAD.encode(bytes);
    let digest = digest(&text);
    Ok((text, digest))
}

/// What is kept of a secret: its SHA-256 in base64url.
pub fn digest(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.as_bytes()))
}
