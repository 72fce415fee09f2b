//! Is this request of the application that people sign in at, and made just now?
//!
//! Both sides sign alike: HMAC-SHA-256 over the time, a dot and the body, with the secret that both know.
//! The time is in seconds since 1970 and may be five minutes off.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The header with the time.
pub const TIMESTAMP: &str = "doorward-timestamp";
/// The header with the signature in base64url.
pub const SIGNATURE: &str = "doorward-signature";

/// How far the clocks may be apart, in seconds.
const WINDOW: u64 = 300;

/// The signature of a body sent at this time.
pub fn sign(secret: &[u8], timestamp: u64, body: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(tag(secret, &timestamp.to_string(), body))
}

/// Whether whoever knows the secret made this, at most five minutes ago. `timestamp` and `signature` are as sent.
pub fn is_signed(secret: &[u8], timestamp: &str, signature: &str, body: &[u8], now: u64) -> bool {
    let Ok(time) = timestamp.parse::<u64>() else { return false };
    let Ok(signature) = URL_SAFE_NO_PAD.decode(signature.trim_end_matches('=')) else { return false };
    let mut message = timestamp.as_bytes().to_vec();
    message.push(b'.');
    message.extend_from_slice(body);
    time.abs_diff(now) <= WINDOW && hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), &message, &signature).is_ok()
}

fn tag(secret: &[u8], timestamp: &str, body: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    context.update(timestamp.as_bytes());
    context.update(b".");
    context.update(body);
    context.sign()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    #[test]
    fn only_what_was_signed_just_now_passes() {
        let signature = sign(SECRET, 1000, b"{}");
        let passes = |secret: &[u8], timestamp, signature: &str, body: &[u8], now| is_signed(secret, timestamp, signature, body, now);
        assert!(passes(SECRET, "1000", &signature, b"{}", 1300));
        assert!(passes(SECRET, "1000", &signature, b"{}", 700));
        assert!(!passes(SECRET, "1000", &signature, b"{}", 1301), "old");
        assert!(!passes(SECRET, "1001", &signature, b"{}", 1000), "another time");
        assert!(!passes(SECRET, "01000", &signature, b"{}", 1000), "another spelling of the time");
        assert!(!passes(SECRET, "1000", &signature, b"{ }", 1000), "another body");
        assert!(!passes(b"another", "1000", &signature, b"{}", 1000), "another secret");
        assert!(!passes(SECRET, "1000", "", b"{}", 1000));
        assert!(!passes(SECRET, "1000.", &signature, b"{}", 1000));
    }
}
