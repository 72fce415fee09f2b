//! What is asked of others: where an issuer keeps its keys, and which they are.
//!
//! [`http`] is the one client for our own fetches, [`discovery`] goes from an issuer to its key set,
//! [`metadata`] keeps an issuer's document to be shown again, `pace` says when a fetch may begin, [`keystore`] holds the live keys of one issuer, [`Issuers`] those of all.
//! Only configured issuers are ever asked: nothing in a token can name an address. This room judges no token.

pub mod discovery;
pub mod error;
#[cfg(test)]
pub(crate) mod fixture;
pub mod http;
mod issuers;
pub mod keystore;
pub mod metadata;
mod pace;

pub use error::{BuildError, FetchError};
pub use issuers::Issuers;
pub use keystore::{FetchCounts, KeyStore};
pub use metadata::MetadataStore;
