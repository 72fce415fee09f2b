//! What OAuth wants said and checked, as pure rules and documents: those of a resource, and those of an authorization server.

pub mod account;
pub mod assertion;
pub mod authorization;
pub mod challenge;
pub mod client;
pub mod client_assertion;
pub mod client_document;
pub mod client_id;
pub mod consent;
pub mod error;
pub mod form;
pub mod grant;
pub mod hand_off;
pub mod identity_assertion;
pub mod issue;
pub mod known_clients;
pub mod likeness;
pub mod passkey;
pub mod person;
pub mod pkce;
pub mod redirect;
pub mod refresh;
pub mod registration;
pub mod resource_metadata;
pub mod schedule;
pub mod server_metadata;
pub mod suspicion;
pub mod workload;

pub use authorization::Authorized;
pub use client::{ClientAuthentication, ClientKeys, ClientKind, GrantType, RegisteredClient};
pub use error::{Code, OAuthError};
pub use person::Person;

/// Whether a string is a scope token (RFC 6749 §3.3).
pub fn is_scope_token(scope: &str) -> bool {
    !scope.is_empty() && scope.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5B | 0x5D..=0x7E))
}
