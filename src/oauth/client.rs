//! What a client may do, whether it was configured, registered itself or publishes a document.

use serde_json::Value;

/// How a client came to be known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// By the operator, in the configuration.
    Configured,
    /// By itself (RFC 7591).
    Registered,
    /// By the document at its id (Client ID Metadata Document).
    Document,
}

/// A way to get a token (RFC 6749 §1.3, RFC 7523 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GrantType {
    AuthorizationCode,
    RefreshToken,
    ClientCredentials,
    JwtBearer,
}

impl GrantType {
    pub const ALL: [Self; 4] = [Self::AuthorizationCode, Self::RefreshToken, Self::ClientCredentials, Self::JwtBearer];

    /// As `grant_type` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::ClientCredentials => "client_credentials",
            Self::JwtBearer => "urn:ietf:params:oauth:grant-type:jwt-bearer",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grant| grant.name() == name)
    }
}

/// How a client proves itself at the token endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// A public client has nothing to prove itself with.
    None,
    /// SHA-256 of its secret.
    Secret([u8; 32]),
    /// A JWT signed with its own key (RFC 7523 §2.2).
    Keys(ClientKeys),
}

/// Where a client's public keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientKeys {
    /// A JWK Set (RFC 7517 §5).
    Inline(Value),
    /// Where it publishes one.
    At(String),
}

/// A client as the endpoints need it. Its state is governance's affair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredClient {
    pub id: String,
    pub kind: ClientKind,
    /// As it calls itself; nobody vouches for it.
    pub name: String,
    /// Its page.
    pub uri: Option<String>,
    pub redirect_uris: Vec<String>,
    pub grant_types: Vec<GrantType>,
    pub authentication: ClientAuthentication,
    /// The scopes that it may ask for; none is all.
    pub scope: Option<Vec<String>>,
    pub software_id: Option<String>,
    /// Of all that a consent leans on: another one wants a new consent.
    pub fingerprint: String,
    /// It wants all its tokens bound to a key (RFC 9449 §5.2).
    pub dpop_bound: bool,
}
