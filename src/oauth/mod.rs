//! What OAuth wants said, as pure documents: resource metadata and challenges.

pub mod authorization;
pub mod challenge;
pub mod consent;
pub mod hand_off;
pub mod pkce;
pub mod resource_metadata;

/// Whether a string is a scope token (RFC 6749 §3.3).
pub fn is_scope_token(scope: &str) -> bool {
    !scope.is_empty() && scope.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5B | 0x5D..=0x7E))
}
