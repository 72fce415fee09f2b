//! What is asked of others: where an issuer keeps its keys, which they are, and what it says of a token.
//!
//! [`http`] is the one client for our own fetches, [`discovery`] goes from an issuer to its key set,
//! [`collector`] takes spans where the operator named one, [`audit_export`] copies of audit lines,
//! [`metadata`] keeps an issuer's document to be shown again, `pace` says when a fetch may begin, [`keystore`] holds the live keys of one issuer, [`Issuers`] those of all.
//! [`introspection`] asks about a token that only its issuer can read, as often as `valve` lets it.
//! [`upstream_token`] keeps the tokens that upstreams are shown, and [`token_endpoint`] asks for them;
//! `client` proves to an authorization server who is asking.
//! [`login`] asks who a person is who signs in elsewhere.
//! [`Surfaces`] remembers what was fetched for whoever watches it, and says which keys count.
//! [`Transmitters`] holds the keys of those who send event tokens, and [`poll`] fetches what waits there.
//! Only configured issuers are ever asked: nothing in a token can name an address. [`client_document`] alone goes where
//! strangers say, and [`special`] says where not. This room judges no token.

pub mod admin;
pub mod ask;
pub mod audit_export;
mod client;
pub mod client_document;
pub mod collector;
pub mod discovery;
pub mod error;
#[cfg(test)]
pub(crate) mod fixture;
pub mod http;
pub mod introspection;
mod issuers;
pub mod keystore;
pub mod listed;
pub mod login;
pub mod metadata;
mod pace;
pub mod poll;
pub mod special;
pub mod surfaces;
pub mod token_endpoint;
mod transmitters;
pub mod upstream_token;
mod valve;

pub use error::{BuildError, FetchError};
pub use introspection::Introspector;
pub use issuers::Issuers;
pub use keystore::{FetchCounts, KeyStore};
pub use metadata::MetadataStore;
pub use surfaces::Surfaces;
pub use transmitters::Transmitters;
pub use upstream_token::UpstreamTokens;
