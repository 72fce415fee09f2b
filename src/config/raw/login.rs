//! The section `authorization_server.login`, as serde reads it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{AlgorithmNames, DurationText, Keyed, RawKeys, Strings};

/// Where people sign in. Several are offered side by side.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Login")]
pub struct RawLogin {
    /// An OpenID provider.
    pub oidc: Option<RawOidcLogin>,
    /// A plain OAuth 2 server with a user endpoint, such as GitHub.
    pub oauth2: Option<RawOAuth2Login>,
    /// An application's own login page, which says by a signed request who signed in.
    pub application: Option<RawApplicationLogin>,
    /// Accounts kept here.
    pub accounts: Option<RawAccountsLogin>,
}

/// An OpenID provider.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "OidcLogin")]
pub struct RawOidcLogin {
    /// What the button says. Default: the host of the issuer.
    pub title: Option<String>,
    /// The issuer identifier, exactly as its metadata and ID tokens carry it.
    #[schemars(required)]
    pub issuer: Option<String>,
    /// A provider by name, which sets what it needs besides the standard.
    pub profile: Option<RawOidcProfile>,
    /// Where its metadata stands, when not at the standard place.
    pub metadata_url: Option<String>,
    /// Its key set, instead of the one that its metadata names.
    pub jwks_uri: Option<String>,
    /// Signature algorithms of its ID tokens. Default RS256, ES256, EdDSA.
    #[schemars(with = "Option<AlgorithmNames>")]
    pub algorithms: Option<Strings>,
    /// What Doorward is called there.
    #[schemars(required)]
    pub client_id: Option<String>,
    /// A file with the client's secret.
    pub client_secret_file: Option<String>,
    /// The same, in a variable of the environment.
    pub client_secret_env: Option<String>,
    /// The secret goes into the body instead of a header, for providers that take it only there. Default false.
    pub client_secret_post: Option<bool>,
    /// What is asked for. Default openid, profile, email and offline_access.
    pub scopes: Option<Strings>,
    /// Sent along when a person is sent there.
    pub parameters: Option<Keyed<String>>,
    /// Where ID tokens and the userinfo endpoint say who somebody is.
    pub claims: Option<RawPersonClaims>,
    /// Who of its people may come in. Default all of them.
    pub require: Option<RawEntrance>,
    /// Anybody in the world with an account there may come in. Default false; needed for providers that let everybody in.
    pub allow_anyone: Option<bool>,
    /// How old its last word on a person may be when a client refreshes. Default 15m.
    pub recheck: Option<DurationText>,
    /// Where it cannot be asked about a person (it gave no refresh token): how long until the person signs in again. Default 12h.
    pub sign_in_again: Option<DurationText>,
    /// Tolerated clock difference. Default 30s, at most 5m.
    pub leeway: Option<DurationText>,
    /// How its keys are fetched and kept; `timeout` is of all requests to it.
    pub keys: Option<RawKeys>,
    /// Plain http off loopback, for development.
    pub allow_http: Option<bool>,
}

/// Providers that need more than the standard says.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "OidcProfile")]
pub enum RawOidcProfile {
    /// Refresh tokens by `access_type=offline`, no `offline_access`; open to everybody.
    Google,
    /// The person's `oid` as subject, and no `resource`.
    Entra,
    /// `sub`, groups in `groups`.
    Okta,
    /// `sub`, roles in `realm_access.roles`.
    Keycloak,
}

/// A plain OAuth 2 server with a user endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "OAuth2Login")]
pub struct RawOAuth2Login {
    /// What the button says. Default `GitHub`, or the host of `authorization_url`.
    pub title: Option<String>,
    /// `github` sets all that follows but the client and who may come in.
    pub profile: Option<RawOAuth2Profile>,
    pub authorization_url: Option<String>,
    pub token_url: Option<String>,
    /// Answers with a JSON object on whom the access token is for.
    pub user_url: Option<String>,
    /// Where GitHub's organisations and teams are read. Default `https://api.github.com`.
    pub api_url: Option<String>,
    #[schemars(required)]
    pub client_id: Option<String>,
    /// A file with the client's secret.
    pub client_secret_file: Option<String>,
    /// The same, in a variable of the environment.
    pub client_secret_env: Option<String>,
    /// The secret goes into the body instead of a header. Default true for GitHub, else false.
    pub client_secret_post: Option<bool>,
    /// What is asked for. Default for GitHub read:user and read:org.
    pub scopes: Option<Strings>,
    /// Sent along when a person is sent there.
    pub parameters: Option<Keyed<String>>,
    /// Where the user endpoint says who somebody is. Default `id`, `name`, `email` and `groups`.
    pub claims: Option<RawPersonClaims>,
    /// GitHub organisations; a member of one may come in.
    pub organizations: Option<Strings>,
    /// GitHub teams as `organization/team`; a member of one may come in.
    pub teams: Option<Strings>,
    /// Who of its people may come in.
    pub require: Option<RawEntrance>,
    /// Anybody in the world with an account there may come in. Default false.
    pub allow_anyone: Option<bool>,
    /// How old its last word on a person may be when a client refreshes. Default 15m.
    pub recheck: Option<DurationText>,
    /// How long until the person signs in again, where its token cannot be kept. Default 12h.
    pub sign_in_again: Option<DurationText>,
    /// Of one request. Default 5s.
    pub timeout: Option<DurationText>,
    /// Plain http off loopback, for development.
    pub allow_http: Option<bool>,
}

/// OAuth 2 servers by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "OAuth2Profile")]
pub enum RawOAuth2Profile {
    Github,
}

/// An application's own login page.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ApplicationLogin")]
pub struct RawApplicationLogin {
    /// What the button says. Default: the host of `url`.
    pub title: Option<String>,
    /// Where a person is sent, with `ticket` added.
    #[schemars(required)]
    pub url: Option<String>,
    /// A file with what its requests are signed with, at least 32 characters.
    pub secret_file: Option<String>,
    /// The same, in a variable of the environment.
    pub secret_env: Option<String>,
    /// Where it is asked, by a signed request, whether a person may still come in.
    pub status_url: Option<String>,
    /// How old its last word on a person may be when a client refreshes. Default 15m.
    pub recheck: Option<DurationText>,
    /// Without `status_url`: how long until the person signs in again. Default 12h.
    pub sign_in_again: Option<DurationText>,
    /// Of one request. Default 5s.
    pub timeout: Option<DurationText>,
    /// Plain http off loopback, for development.
    pub allow_http: Option<bool>,
}

/// Accounts kept here.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AccountsLogin")]
pub struct RawAccountsLogin {
    /// What the button says. Default `your account`.
    pub title: Option<String>,
}

/// Where a login says who somebody is: dotted claim paths.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PersonClaims")]
pub struct RawPersonClaims {
    /// Never given to another person. Default `sub`.
    pub subject: Option<String>,
    /// Default `name`.
    pub name: Option<String>,
    /// Default `email`; counts only where `email_verified` is not false.
    pub email: Option<String>,
    /// Tried in turn. Default `groups`.
    pub groups: Option<Strings>,
}

/// Who may come in.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Entrance")]
pub struct RawEntrance {
    /// Members of one of these groups.
    pub groups: Option<Strings>,
    /// Claim paths, each with the values of which it must be one: `{ hd: acme.com }`.
    pub claims: Option<Keyed<Strings>>,
}
