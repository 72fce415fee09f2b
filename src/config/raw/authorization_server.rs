//! The section `authorization_server`, as serde reads it.

use schemars::JsonSchema;
use serde::Deserialize;

use serde_json::Value;

use super::login::RawLogin;
use super::pages::RawPages;
use super::registration::{RawClient, RawRegistration};
use super::{AlgorithmNames, DurationText, Keyed, RateText, RawKeys, Strings};

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
    /// Identity providers, by a name of your choice, whose identity assertions (ID-JAG, enterprise-managed authorization) are
    /// exchanged for access tokens.
    pub identity_assertions: Option<Keyed<RawIdentityIssuer>>,
    /// Platforms, by a name of your choice, whose workloads get access tokens for a JWT of theirs: Kubernetes service accounts,
    /// SPIFFE identities with an `iss`.
    pub workloads: Option<Keyed<RawWorkloadIssuer>>,
    /// Ids of clients that may ask about every token (RFC 7662). Others may ask about their own alone.
    pub introspection_clients: Option<Strings>,
    /// How clients come to be known that are not named here. Without it each waits until somebody approves it.
    pub registration: Option<RawRegistration>,
    /// Clients that need no approval, by their ids.
    pub clients: Option<Keyed<RawClient>>,
    /// Where people sign in.
    pub login: Option<RawLogin>,
    /// How long a browser stays signed in. Default 8h, at most 7d.
    pub session: Option<DurationText>,
    /// What people see on pages.
    pub pages: Option<RawPages>,
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

/// An identity provider that says which client may act for which person.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "IdentityIssuer")]
pub struct RawIdentityIssuer {
    /// The `iss` of its assertions. Its keys are found by RFC 8414 and OpenID Connect discovery.
    #[schemars(required)]
    pub issuer: Option<String>,
    /// Its metadata document, where discovery would not find it.
    pub metadata_url: Option<String>,
    /// Its key set, without discovery.
    pub jwks_uri: Option<String>,
    /// Its key set in a file.
    pub jwks_file: Option<String>,
    /// Accepted signature algorithms. Default ES256, EdDSA, RS256, PS256.
    #[schemars(with = "Option<AlgorithmNames>")]
    pub algorithms: Option<Strings>,
    /// Tolerated clock difference. Default 30s, at most 5m.
    pub leeway: Option<DurationText>,
    /// How its keys are kept.
    pub keys: Option<RawKeys>,
    /// Plain http off loopback, for development.
    pub allow_http: Option<bool>,
    /// Names of the upstreams that it may let people into. Default: all whose tokens are issued here.
    pub upstreams: Option<Strings>,
    /// Scopes that it may give. Default: all of the upstream.
    pub scopes: Option<Strings>,
    /// Take one assertion several times, until it expires. Whoever steals one can then use it too. Default false.
    pub allow_reuse: Option<bool>,
    /// Its subjects are those of `login`, so that a person is the same by either way. Right only where both are one provider;
    /// another could then speak for anyone. Default false: a subject here is NAME, `|` and the provider's own.
    pub allow_login_subjects: Option<bool>,
}

/// A platform that says which workload somebody is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "WorkloadIssuer")]
pub struct RawWorkloadIssuer {
    /// The `iss` of its JWTs. Its keys are found by RFC 8414 and OpenID Connect discovery.
    #[schemars(required)]
    pub issuer: Option<String>,
    /// Its metadata document, where discovery would not find it.
    pub metadata_url: Option<String>,
    /// Its key set, without discovery.
    pub jwks_uri: Option<String>,
    /// Its key set in a file.
    pub jwks_file: Option<String>,
    /// Accepted signature algorithms. Default ES256, EdDSA, RS256, PS256.
    #[schemars(with = "Option<AlgorithmNames>")]
    pub algorithms: Option<Strings>,
    /// Tolerated clock difference. Default 30s, at most 5m.
    pub leeway: Option<DurationText>,
    /// How its keys are kept.
    pub keys: Option<RawKeys>,
    /// Plain http off loopback, for development.
    pub allow_http: Option<bool>,
    /// What its JWTs carry in `aud`, and nothing besides. Default: `public_url`.
    pub audience: Option<Strings>,
    /// Read from the top; the first that names the workload decides; one that no rule names gets no token.
    #[schemars(required)]
    pub rules: Option<Vec<RawWorkloadRule>>,
}

/// Which workloads, and what they get. All conditions must hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "WorkloadRule")]
pub struct RawWorkloadRule {
    /// `sub` of the JWT, exact or with `*`: `system:serviceaccount:prod:*`.
    #[schemars(required)]
    pub subject: Option<String>,
    /// Claims by dotted path, with the text or texts allowed.
    #[schemars(with = "Option<std::collections::BTreeMap<String, Value>>")]
    pub claims: Option<Keyed<Strings>>,
    /// The client that the workload comes as, under which it is found in the inventory and can be suspended.
    #[schemars(required)]
    pub client: Option<String>,
    /// Names of the upstreams that it may use. Default: all whose tokens are issued here.
    pub upstreams: Option<Strings>,
    /// Scopes that it may have.
    pub scopes: Option<Strings>,
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
