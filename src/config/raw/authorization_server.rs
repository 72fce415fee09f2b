//! The section `authorization_server`, as serde reads it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::registration::{RawClient, RawRegistration};
use super::{DurationText, Keyed, Later, RateText};

/// Tokens are issued here, for upstreams with `ownership: bridge` or `self_managed`. The issuer is `public_url`. Needs `store`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AuthorizationServer")]
pub struct RawAuthorizationServer {
    /// A file with 32 random bytes in base64, which seals signing keys and other secrets in the store. Default with SQLite: made at
    /// the first start, beside the database. With PostgreSQL it must be named, and be the same for all replicas. Without it nothing
    /// that was sealed can be read again.
    pub key_file: Option<String>,
    /// What is issued, and how long it lives.
    pub tokens: Option<RawTokens>,
    /// Requests of one address to these endpoints. Default 30/s.
    pub rate: Option<RateText>,
    #[schemars(skip)]
    pub login: Option<Later>,
    /// How clients come to be known that are not named here. Without it each waits until somebody approves it.
    pub registration: Option<RawRegistration>,
    /// Clients that need no approval, by their ids.
    pub clients: Option<Keyed<RawClient>>,
}

/// What is issued, and how long it lives.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Tokens")]
pub struct RawTokens {
    /// An access token. Default 10m, at most 1h.
    pub access: Option<DurationText>,
    /// What a person agreed to, however often its refresh token is exchanged. Default 30d.
    pub refresh: Option<DurationText>,
    /// A refresh token that is not used. Default 7d.
    pub refresh_idle: Option<DurationText>,
    /// An authorization code. Default 60s, at most 10m.
    pub code: Option<DurationText>,
    /// The signature of access tokens: `ES256` (default) or `EdDSA`.
    pub algorithm: Option<RawSigning>,
    /// How long a signing key signs. Default 30d, at least 2h.
    pub rotate_keys: Option<DurationText>,
    /// Accept a client's assertion whose `aud` is the URL of the token endpoint. An assertion that another server was shown then
    /// works here if that server has the same URL in mind; for clients that cannot name the issuer. Default false.
    pub allow_endpoint_audience: Option<bool>,
}

/// A signature algorithm for tokens of our own.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[schemars(rename = "Signing", inline)]
pub enum RawSigning {
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "EdDSA")]
    EdDsa,
}
