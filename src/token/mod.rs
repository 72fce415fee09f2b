//! Who is asking? Credentials, JWT and opaque access tokens, keys and issuers: rules over plain values.
//!
//! The order of a check (RFC 9068 §4, RFC 8725): size → shape → header (`typ`, `crit`, no key
//! material, algorithm on the issuer's list) → issuer by exact `iss` → key of *that* issuer by `kid`
//! and algorithm → everything cheap (`exp`, `nbf`, `iat`, types) → signature → required claims → audience.
//! Whatever is read before the signature is only used to say no early. This room fetches nothing
//! and knows no clock: keys and time come in as values.

pub mod binding;
pub mod cache;
pub mod credential;
pub mod dpop;
pub mod error;
pub mod id_token;
pub mod introspection;
pub mod issuer;
pub(crate) mod json;
pub mod jwt;
pub mod keys;
pub mod marks;
pub mod nonce;
pub mod proof_key;
pub mod replay;

#[cfg(test)]
pub(crate) mod forge;

pub use binding::{Binding, Demand, Thumbprint};
pub use cache::TokenCache;
pub use credential::{Credential, Digest, Form, Scheme, Token, credential};
pub use error::{Error, Flaw};
pub use id_token::IdTokenRules;
pub use introspection::{Answer, AnswerRules, NotAnswer, Written};
pub use issuer::{Algorithm, AudienceFrom, ClaimNames, IssuerRules, UnknownAlgorithm};
pub use json::Members;
pub(crate) use jwt::prove;
pub use jwt::{Basis, Unverified, Verified};
pub use keys::{Key, KeySet, KeysError};
pub use marks::{Marker, Marks, Named};
pub use nonce::Nonces;
pub use replay::Replay;
