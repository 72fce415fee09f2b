//! What the operator wrote, resolved into a [`Config`] that cannot be wrong.
//!
//! `raw` mirrors the YAML and nothing else; `resolve` turns it into the rooms' own types, collecting
//! every problem with its place instead of stopping at the first; `lint` finds what is legal and
//! probably not meant. Config knows the rooms; no room knows YAML.

mod document;
mod lint;
mod locate;
pub mod problem;
pub mod profile;
mod raw;
mod report;
mod resolve;
mod schema;
mod tree;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use problem::{Problem, Severity};
pub use profile::{Mistake, Profile};
pub use schema::schema;

use crate::route::Route;
use crate::token::IssuerRules;

/// A configuration that can be used, and what is probably not meant in it.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Problem>,
}

/// Reads a configuration and everything that it names. `env` answers for the environment.
///
/// # Errors
/// Every problem that was found, in the order of files and lines; never none.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Vec<Problem>> {
    let mut context = resolve::Context::new(env);
    let config = resolve::config(path, &mut context);
    let warnings = context.report.finish()?;
    config.map(|config| Loaded { config, warnings }).ok_or_else(|| vec![Problem::unexplained(path)])
}

/// The resolved configuration.
#[derive(Debug)]
pub struct Config {
    /// The origin that clients type, without a slash at the end.
    pub public_url: String,
    /// `Host` values that are accepted besides those of the routes.
    pub allow_hosts: Vec<String>,
    pub listeners: Vec<Listener>,
    /// `/metrics`, `/healthz` and `/readyz`.
    pub admin: Option<SocketAddr>,
    pub audit: Audit,
    pub log: Log,
    pub limits: Limits,
    /// By their key in the file.
    pub issuers: BTreeMap<String, Arc<Issuer>>,
    /// In the order of the files.
    pub routes: Vec<Arc<Route>>,
    /// Every file that was read: configuration, included upstreams, certificates, keys, secrets. Watched for changes.
    pub files: Vec<PathBuf>,
    /// Of the text of all configuration files; the same text has the same hash.
    pub hash: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub address: ListenAddress,
    pub tls: Option<Tls>,
    /// HTTP/2 without TLS, by prior knowledge. With TLS, HTTP/2 is always offered.
    pub h2c: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Paths of a PEM certificate chain and its key; they exist and fit each other when resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// JSON lines are appended here; none writes to standard output.
    pub file: Option<PathBuf>,
    pub when_full: WhenFull,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// A request whose record cannot be written is refused.
    #[default]
    Refuse,
    Drop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Log {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    Text,
    Json,
}

/// Bounds of the whole process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub connections: usize,
    /// Bytes of a request head.
    pub headers: usize,
    pub header_count: usize,
    /// From the first byte of a head to its last.
    pub header_timeout: Duration,
    /// From the end of the head to the end of the body.
    pub body_timeout: Duration,
    /// Of a connection without a request.
    pub idle_timeout: Duration,
    /// Nesting of a message.
    pub depth: usize,
    /// Verified tokens remembered.
    pub token_cache: usize,
    /// How long a stop waits for requests in flight.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            headers: 16 << 10,
            header_count: 100,
            header_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            depth: 64,
            token_cache: 50_000,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// One issuer: what is demanded of its tokens, and where its keys come from.
#[derive(Debug, PartialEq, Eq)]
pub struct Issuer {
    pub rules: Arc<IssuerRules>,
    pub keys: KeySource,
    pub times: KeyTimes,
    /// Plain http off loopback was allowed by the operator.
    pub allow_http: bool,
    /// The provider's dialect; [`profile::PLAIN`] where none is named.
    pub profile: &'static Profile,
    /// Its metadata says S256 where it is silent on PKCE.
    pub assume_s256: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// RFC 8414, then OpenID Connect discovery, both path forms.
    Discovery,
    /// A metadata document at this URL.
    Metadata(String),
    /// The key set at this URL.
    Jwks(String),
    /// The key set in this file, read at load and on reload.
    File(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyTimes {
    /// How long a fetched set is fresh.
    pub cache: Duration,
    /// At most one fetch for an unknown `kid` in this time.
    pub cooldown: Duration,
    pub timeout: Duration,
    /// How long the last good set is kept after it ceased to be fresh, when it cannot be fetched anew.
    pub stale: Duration,
}

impl Default for KeyTimes {
    fn default() -> Self {
        Self {
            cache: Duration::from_secs(600),
            cooldown: Duration::from_secs(30),
            timeout: Duration::from_secs(3),
            stale: Duration::from_secs(3600),
        }
    }
}
