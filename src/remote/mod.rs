//! What is asked of others: where an issuer keeps its keys, and which they are.
//!
//! [`http`] is the one client for our own fetches, [`discovery`] goes from an issuer to its key set,
//! `pace` says when a fetch may begin, [`keystore`] holds the live keys of one issuer, [`Issuers`] those of all.
//! [`upstream_token`] keeps the tokens that upstreams are shown, and [`token_endpoint`] asks for them.
//! Only configured issuers are ever asked: nothing in a token can name an address. This room judges no token.

pub mod discovery;
pub mod error;
#[cfg(test)]
pub(crate) mod fixture;
pub mod http;
mod issuers;
pub mod keystore;
mod pace;
pub mod token_endpoint;
pub mod upstream_token;

pub use error::{BuildError, FetchError};
pub use issuers::Issuers;
pub use keystore::{FetchCounts, KeyStore};
pub use upstream_token::UpstreamTokens;
