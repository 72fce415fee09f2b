//! Who signed in, as a login says.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A person, proven by a login. Kept with each grant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Person {
    /// Unique at this authorization server, and never given to another.
    pub subject: String,
    pub name: Option<String>,
    pub email: Option<String>,
    #[serde(default)]
    pub groups: Vec<String>,
    /// Claims that tokens carry besides.
    #[serde(default)]
    pub claims: Map<String, Value>,
    /// When the person last proved who they are, in seconds since 1970 (`auth_time`); 0 where the login does not say, which is
    /// too long ago for whoever asks.
    pub authenticated: u64,
    /// How (OpenID Connect Core §2).
    pub acr: Option<String>,
    /// Which login says so: its kind and, where there are several, its name.
    pub login: String,
    /// The last change that the store held when they began to sign in: what of theirs is revoked by a later one ends what comes
    /// of this sign-in. None where that was not noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}
