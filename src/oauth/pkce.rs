//! Is whoever redeems a code the one who asked for it (RFC 7636)? S256 alone; `plain` proves nothing.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The challenge of a verifier (RFC 7636 §4.2, `S256`).
pub fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

/// Whether a text can be a challenge of S256: the base64url of 32 bytes, and no other spelling of them.
pub fn is_challenge(text: &str) -> bool {
    text.len() == 43 && URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

/// Whether a text can be a verifier: 43 to 128 unreserved characters (RFC 7636 §4.1).
pub fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'))
}

/// Whether `verifier` is the one that `challenge` was made from.
pub fn proves(verifier: &str, made: &str) -> bool {
    is_verifier(verifier) && verify_slices_are_equal(challenge(verifier).as_bytes(), made.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_example_of_rfc_7636_appendix_b_holds() {
        assert_eq!(challenge(VERIFIER), CHALLENGE);
        assert!(proves(VERIFIER, CHALLENGE));
    }

    #[test]
    fn item_116_another_verifier_proves_nothing() {
        for verifier in [
            "",
            CHALLENGE,
            VERIFIER.trim_start_matches('d'),
            &format!("{VERIFIER}A"),
            &VERIFIER.to_uppercase(),
            &VERIFIER.replace('-', "+"),
        ] {
            assert!(!proves(verifier, CHALLENGE), "{verifier}");
        }
        // `plain`: the verifier is the challenge itself.
        assert!(!proves(VERIFIER, VERIFIER));
    }

    #[test]
    fn item_105_only_a_digest_is_a_challenge() {
        assert!(is_challenge(CHALLENGE));
        for text in [
            "",
            "short",
            CHALLENGE.trim_start_matches('E'),
            &format!("{CHALLENGE}="),
            &CHALLENGE.replace('-', "+"),
            &"a".repeat(128),
            &"é".repeat(21),
        ] {
            assert!(!is_challenge(text), "{text}");
        }
    }
}
