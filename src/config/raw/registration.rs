//! The sections `registration` and `clients` of `authorization_server`, as serde reads them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{DurationText, RateText, Strings};

/// How clients come to be known that nobody configured. At most one of `initial_access_token_file` and `initial_access_token_env`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Registration")]
pub struct RawRegistration {
    /// Clients whose id is the address of a document about them: `off`, `approval` (default: each waits until somebody
    /// approves it) or `open` (each may go on at once, but for those that look like another).
    pub metadata_documents: Option<RawAdmission>,
    /// Clients that register themselves (RFC 7591): `off`, `approval` (default) or `open`.
    pub dynamic: Option<RawAdmission>,
    /// Only documents of these hosts are fetched: `claude.ai`, or `*.claude.ai` for all below it. Default: of every host.
    pub allow_hosts: Option<Strings>,
    /// Networks that documents may be fetched from besides public ones, such as `10.20.0.0/16`. Costs: whoever opens a sign-in page
    /// can have doorward ask there.
    pub allow_networks: Option<Strings>,
    /// Fetch documents from this machine too, with plain http. For development, where `public_url` is on loopback. Default false.
    pub allow_loopback: Option<bool>,
    /// Registrations of one address. Default 10/m.
    pub rate: Option<RateText>,
    /// A token that whoever registers must show.
    pub initial_access_token_file: Option<String>,
    /// The same, in a variable of the environment.
    pub initial_access_token_env: Option<String>,
    /// How long a client is kept that nobody has decided on and nobody uses. Default 30d.
    pub keep_unused: Option<DurationText>,
    /// Clients that made themselves known, at most. Default 5000.
    pub most: Option<usize>,
}

/// Whether clients may make themselves known.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Admission", inline)]
pub enum RawAdmission {
    Off,
    Approval,
    Open,
}

/// A client, by its id, that may go on as it stands here. Without a secret and keys it is a public one. At most one of `secret_file`,
/// `secret_env`, `jwks_file` and `jwks_uri`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Client")]
pub struct RawClient {
    /// What people are told it is called. Default: its id.
    pub name: Option<String>,
    /// Where answers may go. On loopback any port is meant.
    pub redirect_uris: Option<Strings>,
    /// How it gets tokens. Default: `authorization_code` and `refresh_token` with redirect URIs, `client_credentials` without.
    pub grant_types: Option<Vec<RawGrant>>,
    /// Its secret.
    pub secret_file: Option<String>,
    /// The same, in a variable of the environment.
    pub secret_env: Option<String>,
    /// Its public keys, with which it signs what it authenticates by.
    pub jwks_file: Option<String>,
    /// Where it publishes them.
    pub jwks_uri: Option<String>,
    /// The scopes that it may ask for. Default: all.
    pub scopes: Option<Strings>,
    /// Every token of it is bound to a key (DPoP). Default false.
    pub require_dpop: Option<bool>,
}

/// A way to get a token.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[schemars(rename = "GrantType", inline)]
pub enum RawGrant {
    #[serde(rename = "authorization_code")]
    AuthorizationCode,
    #[serde(rename = "refresh_token")]
    RefreshToken,
    #[serde(rename = "client_credentials")]
    ClientCredentials,
    #[serde(rename = "urn:ietf:params:oauth:grant-type:jwt-bearer")]
    JwtBearer,
}
