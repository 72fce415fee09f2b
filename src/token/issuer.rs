//! What is demanded of one issuer's tokens.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// A signature algorithm that a token may use (RFC 7518 §3.1, RFC 8037). There is no `none` and no
/// HMAC here, so neither can be configured, nor confused with another (RFC 8725 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    /// Ed25519, also by its own name of RFC 9864.
    EdDSA,
}

/// A name that is no [`Algorithm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownAlgorithm;

impl Algorithm {
    pub const ALL: [Self; 10] =
        [Self::RS256, Self::RS384, Self::RS512, Self::PS256, Self::PS384, Self::PS512, Self::ES256, Self::ES384, Self::ES512, Self::EdDSA];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::EdDSA => "EdDSA",
        }
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    /// By the exact name; case matters (RFC 7515 §4.1.1).
    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        if name == "Ed25519" {
            return Ok(Self::EdDSA);
        }
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name).ok_or(UnknownAlgorithm)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a signature algorithm that is supported (RS, PS and ES with 256, 384 or 512, and EdDSA)")
    }
}

impl std::error::Error for UnknownAlgorithm {}

/// Rules for the tokens of one issuer, resolved from its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerRules {
    /// The key in the configuration.
    pub name: String,
    /// The issuer identifier; compared with `iss` by code point (RFC 9068 §4).
    pub issuer: Arc<str>,
    pub algorithms: Vec<Algorithm>,
    /// Accepted `typ` values, lower case, without `application/`; `none` stands for a token without one.
    pub token_types: Vec<String>,
    /// Accepted audiences; empty for the route's own resource.
    pub audience: Vec<String>,
    /// Tolerated clock difference.
    pub leeway: Duration,
    pub claims: ClaimNames,
    /// Claims that must be present besides `iss`, `sub`, `aud`, `exp` and `iat`.
    pub required_claims: Vec<String>,
    /// What a token without `aud` names as its audience.
    pub audience_from: AudienceFrom,
    /// Claim paths, and the texts of which each must be one.
    pub required_values: Vec<(String, Vec<String>)>,
    /// We are the issuer: what its tokens say beyond RFC 9068 is ours.
    pub own: bool,
}

/// Where a token says what it is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AudienceFrom {
    /// `aud`, which must be there (RFC 9068 §2.2).
    #[default]
    Aud,
    /// `client_id`, in a token without `aud`: the client it was issued to stands for the resource.
    ClientId,
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
