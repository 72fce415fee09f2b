//! Why keys or an answer could not be had. For the operator's eyes; a client only hears that they could not.

use std::fmt;
use std::path::PathBuf;

use crate::token::KeysError;

/// One fetch that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// Not an absolute URL.
    Url(String),
    /// Plain http off loopback, and the configuration does not allow it.
    PlainHttp(String),
    Timeout,
    /// No connection, or one that broke.
    Unreachable,
    Status(u16),
    TooLarge,
    /// A metadata document that is no JSON object, or whose members have wrong types.
    Metadata,
    /// A member of the document that is not what RFC 8414 §2 says. Holds its name.
    Member(&'static str),
    /// The document speaks for another issuer (RFC 8414 §3.3). Holds what it says.
    Issuer(String),
    NoJwksUri,
    NoIntrospectionEndpoint,
    /// An answer that is not `application/json`. Holds what it is.
    MediaType(String),
    /// No introspection response (RFC 7662 §2.2).
    Answer,
    /// No answer of a transmitter (RFC 8936 §2.3).
    Waiting,
    Keys(KeysError),
    /// A key set without one usable key.
    NoKeys,
    /// Who is asking cannot be proven to the authorization server.
    Client,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => write!(f, "`{url}` is not an absolute http or https URL"),
            Self::PlainHttp(url) => write!(f, "`{url}` is plain http; use https, or set `allow_http` for development"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Unreachable => f.write_str("no connection, or it broke"),
            Self::Status(status) => write!(f, "the answer was {status} instead of 200"),
            Self::TooLarge => f.write_str("the answer is larger than is read"),
            Self::Metadata => f.write_str("the metadata is not the JSON object that RFC 8414 describes"),
            Self::Member(name) => write!(f, "`{name}` of the metadata is missing or not what RFC 8414 describes"),
            Self::Issuer(said) => write!(f, "the metadata is of issuer `{said}`, which must equal the configured one to the letter"),
            Self::NoJwksUri => f.write_str("the metadata has no `jwks_uri`; name one with `jwks_uri` in the issuer's configuration"),
            Self::NoIntrospectionEndpoint => {
                f.write_str("the metadata has no `introspection_endpoint`; name it with `url` in the issuer's `introspection`")
            }
            Self::MediaType(kind) if kind.ends_with("introspection+jwt") => {
                f.write_str("the answer is a signed JWT (RFC 9701); have the issuer answer this client with plain `application/json`")
            }
            Self::MediaType(kind) => write!(f, "the answer is `{kind}` instead of `application/json`"),
            Self::Answer => f.write_str("the answer is not one JSON object with a boolean `active` (RFC 7662 §2.2)"),
            Self::Waiting => f.write_str("the answer is not one JSON object with `sets` (RFC 8936 §2.3)"),
            Self::Keys(error) => error.fmt(f),
            Self::NoKeys => f.write_str("the key set has no usable key"),
            Self::Client => f.write_str("nothing was asked: the client's id or secret cannot be sent, or the system has no randomness"),
        }
    }
}

impl std::error::Error for FetchError {}

/// Why the issuers of a configuration could not be made ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// The system gives no randomness.
    Randomness,
    /// The HTTP client cannot be made: no root certificates.
    Client,
    File {
        issuer: String,
        path: PathBuf,
        why: String,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Randomness => f.write_str("the system gives no randomness"),
            Self::Client => f.write_str("the HTTP client cannot be made; are root certificates installed?"),
            Self::File { issuer, path, why } => write!(f, "keys of issuer `{issuer}` in `{}`: {why}", path.display()),
        }
    }
}

impl std::error::Error for BuildError {}
