//! What the operator wrote, resolved into a [`Config`] that cannot be wrong.
//!
//! `raw` mirrors the YAML and nothing else; `resolve` turns it into the rooms' own types, collecting
//! every problem with its place instead of stopping at the first; `lint` finds what is legal and
//! probably not meant. Config knows the rooms; no room knows YAML.

mod admin;
pub mod authorization_server;
mod clients;
mod document;
pub mod edit;
mod lint;
mod locate;
pub mod login;
pub mod problem;
pub mod profile;
mod raw;
pub mod registration;
mod report;
mod resolve;
mod schema;
mod seen;
mod signals;
pub mod texts;
mod tree;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustls::pki_types::CertificateDer;

pub use admin::{Admin, AdminCertificate, AdminLogin, AdminToken, Role, TokenDigest};
pub use authorization_server::AuthorizationServer;
pub use clients::ConfiguredClient;
pub use problem::{Problem, Severity};
pub use profile::{Mistake, Profile};
pub use schema::schema;
pub use seen::Seen;
pub use signals::{Events, Logout, Poll, Signal, SignalEndpoint, Transmitter};

use crate::governance::{Acceptance, Bounds};
use crate::mcp::seal::Sealer;
use crate::route::Route;
use crate::route::client::Client;
use crate::token::dpop::ProofRules;
use crate::token::{AnswerRules, IssuerRules};

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
    /// Metrics, health, and the admin API.
    pub admin: Option<Admin>,
    /// The Unix socket at which the next process asks for the listening sockets.
    pub upgrade: Option<PathBuf>,
    pub audit: Audit,
    /// What seals that which clients bring back, where replicas share it; none for keys of the process's own.
    pub sealer: Option<Arc<Sealer>>,
    pub log: Log,
    /// Where spans go; without it none are made.
    pub traces: Option<Traces>,
    pub limits: Limits,
    pub dpop: Dpop,
    /// Where revocations are kept; without it nothing can be revoked here.
    pub store: Option<Store>,
    pub assertion_keys: AssertionKeys,
    /// Resource metadata is signed too. Only with keys of a file.
    pub signed_metadata: bool,
    /// Who may tell of sessions and accounts that have ended, in the order of the file. Never without a store.
    pub signals: Vec<Arc<Signal>>,
    /// Where tokens are issued here. Never without a store.
    pub authorization_server: Option<Arc<AuthorizationServer>>,
    /// In the order of the file.
    pub clients: Vec<Arc<ConfiguredClient>>,
    /// By their key in the file.
    pub issuers: BTreeMap<String, Arc<Issuer>>,
    /// In the order of the files.
    pub routes: Vec<Arc<Route>>,
    /// Everything that was read: configuration, the folder of included upstreams, certificates, keys, secrets. Watched for changes.
    pub files: Vec<Seen>,
    /// Of the text of all configuration files; the same text has the same hash.
    pub hash: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub address: ListenAddress,
    pub tls: Option<Tls>,
    /// HTTP/2 without TLS, by prior knowledge. With TLS, HTTP/2 is always offered.
    pub h2c: bool,
    /// Peers that may speak for others.
    pub trusted: Trusted,
    /// Every connection begins with a PROXY protocol header; only trusted peers may connect.
    pub proxy_protocol: bool,
}

/// Peers whose word about the client counts. Nobody's, unless configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    pub networks: Vec<IpNet>,
    /// Whoever reaches the Unix socket.
    pub unix: bool,
}

impl Trusted {
    /// `None` is a peer at a Unix socket.
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        match peer {
            Some(address) => self.networks.iter().any(|network| network.contains(&address.to_canonical())),
            None => self.unix,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl std::fmt::Display for ListenAddress {
    /// As the configuration names it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What a listener shows, and what it demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Never none; the first is for clients whose SNI names no other.
    pub pairs: Vec<Pair>,
    pub clients: Option<Clients>,
}

/// Whose certificates clients may show (mutual TLS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    pub ca: PathBuf,
    pub required: bool,
}

/// Paths of a PEM certificate chain and its key; they exist and fit each other when resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Audit {
    /// JSON lines are appended here; none writes to standard output.
    pub file: Option<PathBuf>,
    pub when_full: WhenFull,
    /// Without them nobody vouches for the log.
    pub checkpoints: Option<Checkpoints>,
    /// A copy goes to standard output.
    pub stdout: bool,
    /// A copy goes to this collector of logs.
    pub export: Option<Traces>,
}

/// Signatures over the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoints {
    /// One Ed25519 key.
    pub key: PrivateKeys,
    /// How far apart they are at least.
    pub every: Duration,
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

/// A collector of traces.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    pub endpoint: String,
    /// Sent with each export. SECURITY: marked as sensitive, so that they are never printed.
    pub headers: http::HeaderMap,
    /// Authorities that the collector's certificate must come from; none for the system's.
    pub ca: Option<Vec<CertificateDer<'static>>>,
    /// The share of requests that are traced where no caller decides, from 0 to 1.
    pub ratio: f64,
}

/// Proofs of possession (RFC 9449).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dpop {
    pub rules: ProofRules,
    /// What nonces are made with, shared by replicas; without it a random one.
    pub secret: Option<Secret>,
}

/// A database and what is demanded of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    pub place: StorePlace,
    pub bounds: Bounds,
}

/// Where the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorePlace {
    /// A file, made at the first start.
    Sqlite(PathBuf),
    /// A `postgres://` address, which may hold a password.
    Postgres(Secret),
}

/// A secret that was read at load. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// As text.
    pub fn text(&self) -> &str {
        &self.0
    }

    pub fn reveal(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Where the keys of assertions come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssertionKeys {
    /// Made at start, and anew after this time.
    Generated(Duration),
    /// As the operator's file held them when it was read, in DER; never none. Never printed.
    Given(PrivateKeys),
}

/// Private keys in DER that are of the kind their place asks for.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKeys(pub Vec<Vec<u8>>);

impl std::fmt::Debug for PrivateKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
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
    /// Messages in one batch (MCP 2025-03-26).
    pub batch: usize,
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
            batch: 20,
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
    /// How it is asked about tokens that it alone can read.
    pub introspection: Option<Introspection>,
    /// The provider's dialect; [`profile::PLAIN`] where none is named.
    pub profile: &'static Profile,
    /// Its metadata says S256 where it is silent on PKCE.
    pub assume_s256: bool,
    /// What becomes of a key that it publishes anew.
    pub accept_new_keys: Acceptance,
}

/// How an issuer is asked about a token (RFC 7662).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introspection {
    pub endpoint: Endpoint,
    /// As whom it is asked.
    pub client: Client,
    /// Of one question.
    pub timeout: Duration,
    pub answers: AnswerRules,
    /// JWTs of this issuer are asked about too.
    pub only: bool,
}

/// Where an introspection endpoint is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    At(String),
    /// `introspection_endpoint` of the metadata document at this URL (RFC 8414 §2).
    Metadata(String),
    /// The same, of the document that discovery finds.
    Discovery,
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
    /// No keys: the issuer is asked about each of its tokens.
    Nowhere,
    /// The keys are those of the authorization server inside.
    Own,
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
