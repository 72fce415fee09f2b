//! Which nonces did this gateway give out? Any replica with the same secret can tell, and none keeps a list.
//!
//! A nonce is the second it was made in and an HMAC over it (RFC 9449 §8, §9): good for the window,
//! by anyone, any number of times. It says that a proof is fresh; that it is used once is for the
//! replay store to say. Knows no clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What the secret is used for, so that it is used for nothing else by mistake.
const PURPOSE: &[u8] = b"doorward dpop nonce v1";

/// Makes nonces, and knows its own.
pub struct Nonces {
    key: hmac::Key,
    window: Duration,
}

impl Nonces {
    /// Nonces under this secret that are good for `window`, and by clocks that are that much apart.
    pub fn new(secret: &[u8], window: Duration) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, PURPOSE).as_ref());
        Self { key, window }
    }

    /// The nonce of this second: 54 characters that a header may carry.
    pub fn issue(&self, now: SystemTime) -> String {
        let second = seconds(now).to_be_bytes();
        let tag = hmac::sign(&self.key, &second);
        URL_SAFE_NO_PAD.encode([second.as_slice(), tag.as_ref()].concat())
    }

    /// Whether the nonce is one of ours and of the time. The tag is compared in constant time.
    pub fn accepts(&self, nonce: &str, now: SystemTime) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(nonce) else { return false };
        let Some((second, tag)) = bytes.split_first_chunk::<8>() else { return false };
        hmac::verify(&self.key, second, tag).is_ok() && u64::from_be_bytes(*second).abs_diff(seconds(now)) <= self.window.as_secs()
    }
}

impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nonces").field("window", &self.window).finish_non_exhaustive()
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    #[test]
    fn a_nonce_is_good_for_its_window_on_every_replica_with_the_secret() {
        let (one, other) = (Nonces::new(b"secret", WINDOW), Nonces::new(b"secret", WINDOW));
        let nonce = one.issue(at(1_000));
        for (second, good) in [(939, false), (940, true), (1_000, true), (1_060, true), (1_061, false)] {
            assert_eq!(other.accepts(&nonce, at(second)), good, "{second}");
        }
        assert!(!Nonces::new(b"other", WINDOW).accepts(&nonce, at(1_000)));
    }

    #[test]
    fn no_changed_nonce_is_one_of_ours() {
        let nonces = Nonces::new(b"secret", WINDOW);
        let nonce = nonces.issue(at(1_000));
        assert_eq!(nonce.len(), 54);
        for place in 0..nonce.len() {
            let (left, right) = nonce.split_at(place);
            let (_, rest) = right.split_at(1);
            for letter in ["A", "B", "_", "=", " "] {
                let changed = format!("{left}{letter}{rest}");
                assert_eq!(nonces.accepts(&changed, at(1_000)), changed == nonce, "{changed}");
            }
            assert!(!nonces.accepts(left, at(1_000)));
        }
        assert!(!nonces.accepts(&format!("{nonce}AA"), at(1_000)));
    }
}
