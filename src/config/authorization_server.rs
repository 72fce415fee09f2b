//! The authorization server inside, resolved.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::login::Logins;
use super::registration::{Admission, Registration};
use super::texts::Pages;
use crate::oauth::RegisteredClient;
use crate::oauth::identity_assertion::IdentityRules;
use crate::oauth::workload::WorkloadRules;
use crate::route::Rate;
use crate::token::{Algorithm, IssuerRules};

/// The key of the own issuer among all issuers. No configuration can use it.
pub const OWN: &str = "doorward";

/// Where tokens are issued here, for upstreams whose `ownership` is `bridge` or `self_managed`.
#[derive(Debug)]
pub struct AuthorizationServer {
    /// `public_url`, always.
    pub issuer: Arc<str>,
    /// What is demanded of the tokens that it issues.
    pub rules: Arc<IssuerRules>,
    pub key_file: KeyFile,
    pub tokens: Tokens,
    /// What tokens can be issued for, in the order of the routes; never none.
    pub resources: Vec<Resource>,
    /// Identity providers whose word is taken for people (ID-JAG).
    pub identity_assertions: Vec<Trusted<IdentityRules>>,
    /// Platforms whose word is taken for workloads.
    pub workloads: Vec<Trusted<WorkloadRules>>,
    /// Clients that may ask about every token, not their own alone.
    pub introspection_clients: Vec<String>,
    /// Words for scopes.
    pub words: BTreeMap<String, String>,
    /// Requests of one address.
    pub rate: Rate,
    pub registration: Registration,
    /// Clients of the configuration, by their ids.
    pub clients: BTreeMap<String, Arc<RegisteredClient>>,
    /// Where people sign in; none where only machines get tokens.
    pub logins: Logins,
    /// How long a browser stays signed in.
    pub session: Duration,
    pub pages: Pages,
}

/// Whose JWTs are taken for tokens of our own, and under which rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted<R> {
    /// The key in the configuration.
    pub name: String,
    /// Under which its keys are found.
    pub issuer: Arc<IssuerRules>,
    pub rules: R,
}

/// What metadata may tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offers {
    /// People can be asked.
    pub authorize: bool,
    /// Clients can register themselves.
    pub registration: bool,
    /// Clients can publish a document at their id.
    pub documents: bool,
}

/// What seals everything secret in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    pub path: PathBuf,
    /// Made at the first start where it is not there.
    pub make: bool,
}

/// How long what is issued lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// At most an hour.
    pub access: Duration,
    /// From consent on, however often it is exchanged.
    pub refresh: Duration,
    /// Without being used.
    pub refresh_idle: Duration,
    pub code: Duration,
    /// ES256 or EdDSA.
    pub algorithm: Algorithm,
    /// How long a key signs.
    pub rotate_keys: Duration,
    /// A client authenticates by an assertion whose `aud` is the token endpoint too, not the issuer alone.
    pub allow_endpoint_audience: bool,
}

impl Default for Tokens {
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        Self {
            access: Duration::from_secs(600),
            refresh: Duration::from_secs(30 * DAY),
            refresh_idle: Duration::from_secs(7 * DAY),
            code: Duration::from_secs(60),
            algorithm: Algorithm::ES256,
            rotate_keys: Duration::from_secs(30 * DAY),
            allow_endpoint_audience: false,
        }
    }
}

/// A resource that tokens are issued for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    pub upstream: Arc<str>,
    /// What people call it.
    pub title: String,
    /// The audience, as it stands in tokens.
    pub resource: String,
    /// Every scope that a rule of it can be met with.
    pub scopes: Vec<String>,
    /// Those of them that metadata name.
    pub advertised: Vec<String>,
    /// Only tokens that are bound to a key are accepted there.
    pub require_dpop: bool,
    /// Clients that nobody approved are refused there.
    pub approves_clients: bool,
    /// People have accounts here; else they sign in elsewhere.
    pub self_managed: bool,
}

impl AuthorizationServer {
    /// The resource that is meant (RFC 8707 §2): compared after scheme and host are in lower case, a default port and one
    /// slash at the end are dropped.
    pub fn resource(&self, asked: &str) -> Option<&Resource> {
        let asked = canonical(asked)?;
        self.resources.iter().find(|known| canonical(&known.resource).as_deref() == Some(asked.as_str()))
    }

    /// What is enabled.
    pub fn offers(&self) -> Offers {
        Offers {
            authorize: !self.logins.all.is_empty(),
            registration: self.registration.dynamic != Admission::Off,
            documents: self.registration.documents != Admission::Off,
        }
    }

    /// The URL of one of its endpoints.
    pub fn endpoint(&self, path: &str) -> String {
        format!("{}{path}", self.issuer)
    }

    /// The ownership of an upstream whose tokens are issued here.
    pub fn ownership(&self, upstream: &str) -> Option<&'static str> {
        let own = self.resources.iter().find(|resource| *resource.upstream == *upstream)?;
        Some(if own.self_managed { "self_managed" } else { "bridge" })
    }

    pub fn bridges(&self) -> bool {
        self.resources.iter().any(|resource| !resource.self_managed)
    }
}

/// None where it is no absolute URL, or has a fragment or a query.
fn canonical(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let plain = url.fragment().is_none() && url.query().is_none() && url.username().is_empty() && url.password().is_none();
    // The parser also resolves dots and re-encodes; what it changes beyond case and port is not the same resource.
    let path = text.split_once("://")?.1.find('/').and_then(|at| text.split_once("://")?.1.get(at..)).unwrap_or("/");
    if !plain || url.path() != path {
        return None;
    }
    let whole = format!("{}{path}", url.origin().ascii_serialization());
    Some(whole.strip_suffix('/').map_or(whole.clone(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn item_107_case_of_scheme_and_host_a_default_port_and_one_slash_do_not_matter_and_nothing_else() {
        let same = canonical("https://mcp.example.com/files");
        for other in ["HTTPS://MCP.example.COM/files", "https://mcp.example.com:443/files", "https://mcp.example.com/files/"] {
            assert_eq!(canonical(other), same, "{other}");
        }
        for other in [
            "https://mcp.example.com/Files",
            "https://mcp.example.com/files//",
            "https://mcp.example.com:8443/files",
            "http://mcp.example.com/files",
            "https://mcp.example.com/x/../files",
            "https://mcp.example.com/%66iles",
            "https://mcp.example.com/files?x",
            "https://mcp.example.com/files#x",
            "https://a@mcp.example.com/files",
            "/files",
            "",
        ] {
            assert_ne!(canonical(other), same, "{other}");
        }
        assert_eq!(canonical("https://mcp.example.com"), canonical("https://mcp.example.com/"));
    }
}
