//! The admin listener as it may be written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Later, OneOrMany, RawTls, Strings};

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
    #[schemars(skip)]
    pub login: Option<Later>,
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
