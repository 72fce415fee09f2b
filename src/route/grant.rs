//! How the gateway obtains a token for an upstream: what to ask, whom, as whom.
//!
//! Values alone; [`crate::remote`] does the asking.

use std::fmt;
use std::time::Duration;

use super::client::Client;

/// One configured way to a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub kind: GrantKind,
    pub endpoint: TokenEndpoint,
    /// As whom the token is asked for.
    pub client: Client,
    pub scopes: Vec<String>,
    /// RFC 8707 §2.
    pub resource: Option<String>,
    /// RFC 8693 §2.1.
    pub audience: Option<String>,
    /// Of one request.
    pub timeout: Duration,
    /// Plain http off loopback was allowed by the operator.
    pub allow_http: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantKind {
    /// One token for all callers (RFC 6749 §4.4).
    ClientCredentials,
    /// One for each caller, for the caller's own token (RFC 8693), with the token of who acts for them.
    Exchange { actor: Option<Secret> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenEndpoint {
    Url(String),
    /// Found by discovery (RFC 8414).
    Issuer(String),
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
