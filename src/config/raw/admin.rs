//! The admin listener as it may be written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::login::{RawEntrance, RawOidcLogin};
use super::{DurationText, OneOrMany, RawTls, Strings};

/// Metrics, health and the admin API.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Admin")]
pub struct RawAdmin {
    /// Where `/metrics`, `/healthz` and `/readyz` are served: `127.0.0.1:9180`, `unix:/run/doorward/admin.sock`, or several. Not for
    /// the clients' network. The admin API is there too: at a Unix socket always, for the user that runs Doorward and for
    /// `tokens`; at an address where `tokens` or `certificates` are named.
    #[schemars(required)]
    pub address: Option<Strings>,
    /// Serve TLS at the addresses. Demanded for the admin API off loopback. The files are read again when they change.
    pub tls: Option<OneOrMany<RawTls>>,
    /// Certificates in PEM that the certificates of `certificates` must come from.
    pub client_ca: Option<String>,
    /// Names besides the listener's own address and `localhost` that `Host` may have. Any other gets 421 from the admin API.
    pub hosts: Option<Strings>,
    /// Who may use the admin API by a bearer token.
    pub tokens: Option<Vec<RawAdminToken>>,
    /// Who may use the admin API by a client certificate. Needs `tls` and `client_ca`.
    pub certificates: Option<Vec<RawAdminCertificate>>,
    /// People sign in there with a browser.
    pub login: Option<RawAdminLogin>,
}

/// Where people sign in, and what they may do then.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AdminLogin")]
pub struct RawAdminLogin {
    /// What people type: `https://ops.example.com`, or `http://localhost:9180` on loopback. Its host may stand in `Host`.
    /// The provider sends them back to `/admin/callback` there, which is to be registered with it.
    #[schemars(required)]
    pub url: Option<String>,
    /// The OpenID provider, as in `authorization_server.login`. `recheck` and `sign_in_again` have no meaning here.
    #[schemars(required)]
    pub oidc: Option<RawOidcLogin>,
    /// Who is what. Whoever fits none does not come in; whoever fits several is the one that may do most.
    #[schemars(required)]
    pub roles: Option<RawAdminRoles>,
    /// How long one is signed in, at most 24h. Default 8h.
    pub session: Option<DurationText>,
}

/// The people of each role: one of `groups`, and all of `claims`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AdminRoles")]
pub struct RawAdminRoles {
    pub viewer: Option<RawEntrance>,
    pub reviewer: Option<RawEntrance>,
    pub operator: Option<RawEntrance>,
}

/// A bearer token and what it may do.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AdminToken")]
pub struct RawAdminToken {
    /// How records call whoever has it.
    #[schemars(required)]
    pub name: Option<String>,
    #[schemars(required)]
    pub role: Option<RawRole>,
    /// The file with the token, of at least 32 characters: `openssl rand -hex 32`. Read again when it changes.
    #[schemars(required)]
    pub file: Option<String>,
}

/// A client certificate and what it may do.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AdminCertificate")]
pub struct RawAdminCertificate {
    /// How records call whoever has it.
    #[schemars(required)]
    pub name: Option<String>,
    #[schemars(required)]
    pub role: Option<RawRole>,
    /// What the certificate must say: `dns:ops.example.com`, `email:mia@example.com`, `uri:spiffe://example.com/ops` of its
    /// alternative names, or `cn:ops` for its common name.
    #[schemars(required)]
    pub subject: Option<String>,
}

/// `viewer` reads; `reviewer` also approves clients and says who owns them; `operator` does everything.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Role", inline)]
pub enum RawRole {
    Viewer,
    Reviewer,
    Operator,
}
