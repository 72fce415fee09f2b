//! What is demanded of one issuer's tokens.

use std::time::Duration;

use jsonwebtoken::Algorithm;

/// Rules for the tokens of one issuer, resolved from its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerRules {
    /// The key in the configuration.
    pub name: String,
    /// The issuer identifier; compared with `iss` by code point (RFC 9068 §4).
    pub issuer: String,
    pub algorithms: Vec<Algorithm>,
    /// Accepted `typ` values, lower case, without `application/`.
    pub token_types: Vec<String>,
    /// Accepted audiences; empty for the route's own resource.
    pub audience: Vec<String>,
    /// Tolerated clock difference.
    pub leeway: Duration,
    pub claims: ClaimNames,
    /// Claims that must be present besides `iss`, `sub`, `aud`, `exp` and `iat`.
    pub required_claims: Vec<String>,
}

/// Where an issuer keeps what it says of the caller: dotted claim paths, tried in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNames {
    pub scopes: Vec<String>,
    pub client: Vec<String>,
    pub groups: Vec<String>,
    pub subject: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            scopes: vec!["scope".into(), "scp".into()],
            client: vec!["client_id".into(), "azp".into()],
            groups: vec!["groups".into()],
            subject: "sub".into(),
        }
    }
}
