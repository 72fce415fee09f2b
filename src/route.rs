//! Where to? Host and path choose a route, exactly.
//!
//! Paths that a server might read differently (`//mcp`, `/mcp/%66iles`, `/a/../mcp`, `/mcp;x`) are
//! refused before they are compared. One slash at the end is forgiven and not passed on. Knows
//! nothing of sockets; a [`Head`] is a view that the rim makes and tests build from literals.

pub mod client;
pub mod grant;
pub mod protocol;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method};

use crate::identity::IdentityRules;
use crate::mcp::ask::Asks;
use crate::pin::Pin;
use crate::policy::Policy;
use crate::token::{Demand, IssuerRules};

/// A borrowed view of a request's head, with the time it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    pub method: &'a Method,
    /// The authority in the request's target, as sent: `:authority` in HTTP/2.
    pub authority: Option<&'a str>,
    /// The raw path, without the query.
    pub path: &'a str,
    pub headers: &'a HeaderMap,
    /// The client's address; the unspecified address for a Unix socket.
    pub source: IpAddr,
    /// SHA-256 of the client's verified certificate in DER (RFC 8705 §3.1).
    pub certificate: Option<[u8; 32]>,
    pub received: SystemTime,
}

impl<'a> Head<'a> {
    /// The host that is asked for, with its port: the target's authority, or `Host`.
    pub fn host(&self) -> Option<&'a str> {
        self.authority.or_else(|| self.headers.get(HOST)?.to_str().ok())
    }
}

/// What the configuration says of one upstream, resolved.
#[derive(Debug)]
pub struct Route {
    /// The upstream's key in the configuration.
    pub name: Arc<str>,
    /// The resource identifier (RFC 8707), exactly what clients type and tokens name as audience.
    pub resource: String,
    /// Where the resource's metadata stands (RFC 9728 §3.1).
    pub metadata_url: String,
    /// The metadata document (RFC 9728 §2).
    pub metadata: Bytes,
    /// Issuers whose tokens are accepted here, and no others.
    pub issuers: Vec<Arc<IssuerRules>>,
    pub policy: Policy,
    pub identity: IdentityRules,
    pub upstream: Upstream,
    /// How the upstream's credential is obtained, where it is not a fixed one.
    pub grant: Option<grant::Grant>,
    pub mode: Mode,
    pub list: ListMode,
    pub challenge: ChallengeScopes,
    /// Browser origins that may call, besides the resource's own.
    pub origins: Vec<String>,
    pub limits: RouteLimits,
    pub sender: Sender,
    /// Where its tools are only let through as they were approved.
    pub pin: Option<Arc<Pin>>,
    /// What the server may ask of the client.
    pub asks: Asks,
    pub protocol: protocol::Protocol,
    /// Clients that nobody approved are refused here; see [`crate::governance`].
    pub approves_clients: bool,
    /// Arguments by tool whose values go into records.
    pub recorded_arguments: BTreeMap<String, Vec<String>>,
}

/// How callers prove that a token is theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    pub demand: Demand,
    /// Algorithms of proofs, as challenges name them (RFC 9449 §5.1): `ES256 EdDSA`.
    pub algorithms: Arc<str>,
    /// Whether challenges and metadata speak of DPoP to those who did not ask.
    pub offered: bool,
}

/// Where and how the MCP server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    pub reach: Arc<Reach>,
    /// Path and query that every request is sent to.
    pub path: PathAndQuery,
    /// The upstream's own credential: header name and the file or variable that holds its value.
    pub credential: Option<Credential>,
}

/// The servers of one upstream, each of which may be given any call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// At least one, and of one scheme.
    pub places: Vec<Place>,
    /// HTTP/2 with prior knowledge, or by ALPN over TLS.
    pub http2: bool,
    /// Shown to servers that ask for one in the TLS handshake. The files are read at load and on reload.
    pub client_certificate: Option<ClientCertificate>,
    /// How servers are looked after between calls; without it only calls tell.
    pub health: Option<Health>,
}

impl Reach {
    /// One server, spoken to in HTTP/1.1.
    pub fn to(place: Place) -> Self {
        Self { places: vec![place], http2: false, client_certificate: None, health: None }
    }
}

/// One server's address and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub address: Address,
    /// Sent as `Host`/`:authority`.
    pub authority: String,
}

impl Place {
    /// How metrics and logs call it.
    pub fn label(&self) -> String {
        match &self.address {
            Address::Unix(path) => format!("unix:{}", path.display()),
            Address::Tcp { .. } | Address::Tls { .. } => self.authority.clone(),
        }
    }
}

/// Paths of a PEM certificate chain and its key; they exist and fit each other when resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Checks that Doorward makes on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Asked for with GET, and must be answered with 2xx; without it a connection is enough.
    pub path: Option<String>,
    pub interval: Duration,
    /// Never more than `interval`.
    pub timeout: Duration,
    /// Good checks in a row until a server is used again, at least 1.
    pub healthy: u32,
    /// Bad checks in a row until a server is left alone, at least 1.
    pub unhealthy: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    Tcp { host: String, port: u16 },
    Tls { host: String, port: u16, ca: Option<PathBuf> },
    Unix(PathBuf),
}

impl Address {
    /// Whether it holds a name that must be resolved.
    pub fn is_named(&self) -> bool {
        match self {
            Self::Tcp { host, .. } | Self::Tls { host, .. } => host.parse::<IpAddr>().is_err() && !host.starts_with('['),
            Self::Unix(_) => false,
        }
    }
}

/// The credential Doorward itself shows to an upstream. The value is read at load and on reload.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    pub header: String,
    value: String,
}

impl Credential {
    pub fn new(header: String, value: String) -> Self {
        Self { header, value }
    }

    /// The whole header value. Never printed.
    pub fn reveal(&self) -> &str {
        &self.value
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential {{ header: {:?}, value: *** }}", self.header)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Enforce,
    /// Decide and record, but let authenticated calls pass.
    Observe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ListMode {
    #[default]
    Granted,
    /// Also list what a wider scope would allow, so that a client can ask for it.
    Acquirable,
}

/// Which scopes a challenge names to a caller whose token lacks one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ChallengeScopes {
    /// Those of the operation, and those of this upstream that the caller holds: some clients take a
    /// challenge as it is and would lose what they had.
    #[default]
    Union,
    /// Those of the operation alone.
    Required,
}

/// How many in which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteLimits {
    /// Bytes of a request body.
    pub body: usize,
    pub per_client: Option<Rate>,
    pub per_subject: Option<Rate>,
    /// Streams that one subject may listen by at once.
    pub streams_per_subject: Option<usize>,
    /// Until the upstream's answer begins, and between two reads of it unless it is a stream.
    pub timeout: Duration,
}

/// Why no route was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The path has another spelling than the plain one.
    Spelling,
    /// No `Host`, or one that is no authority.
    Host,
    /// A host that no route has.
    Misdirected,
    /// One document is asked for where there would be several.
    SeveralIssuers,
    NotFound,
}

/// What a request is for.
#[derive(Clone, Debug)]
pub enum Target {
    Mcp(Arc<Route>),
    /// The protected resource metadata of a route.
    Metadata(Arc<Route>),
    /// The keys that assertions are signed with.
    AssertionKeys,
    /// The metadata of a route's first issuer, for clients that look for it here.
    Issuer(Arc<Route>),
    /// The same at a host whose routes have different first issuers: no one document would be right.
    Undecided,
    /// Where an entry of `signals`, by its name, is told what happened elsewhere.
    Signal(Arc<str>, Inlet),
    /// The authorization server inside: its documents, its endpoints and its pages.
    Authorization,
}

/// The ways in which signals come in by request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Inlet {
    /// Security event tokens (RFC 8935).
    Push,
    /// Global Token Revocation.
    Revoke,
    /// OpenID Connect Back-Channel Logout.
    Logout,
}

impl Inlet {
    /// What a record calls it.
    pub fn operation(self) -> &'static str {
        match self {
            Self::Push => "signal/push",
            Self::Revoke => "signal/revoke",
            Self::Logout => "signal/logout",
        }
    }
}

/// Where the keys that assertions are signed with stand, at `public_url`.
pub const ASSERTION_KEYS: &str = "/.well-known/doorward/jwks.json";

/// Where the endpoints of the authorization server inside stand, at `public_url`: where clients guess them.
pub const AUTHORIZATION_PATHS: [&str; 6] = ["/authorize", "/token", "/register", "/revoke", "/introspect", "/jwks.json"];
/// What its pages begin with.
pub const AUTHORIZATION_PAGES: &str = "/doorward/";

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
/// The two names of an authorization server's metadata (RFC 8414 §3.1, OpenID Connect Discovery §4).
const ISSUER_WELL_KNOWN: [&str; 2] = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];

/// All routes by host and path.
#[derive(Debug, Default)]
pub struct RouteTable {
    hosts: HashMap<String, HashMap<String, Target>>,
    /// Other names of a host.
    aliases: HashMap<String, String>,
    routes: Vec<Arc<Route>>,
}

impl RouteTable {
    /// The metadata of a host's only route also stands at the root, for clients that look only there
    /// (RFC 9728 §3.1); where there are several the root would be ambiguous and stays empty.
    pub fn new(routes: Vec<Arc<Route>>) -> Self {
        let mut hosts: HashMap<String, HashMap<String, Target>> = HashMap::new();
        for route in &routes {
            let (host, path) = route.place();
            let paths = hosts.entry(host).or_default();
            paths.insert(format!("{WELL_KNOWN}{}", if path == "/" { "" } else { &path }), Target::Metadata(route.clone()));
            paths.insert(path, Target::Mcp(route.clone()));
        }
        for paths in hosts.values_mut() {
            let mut here = paths.values().filter_map(|target| match target {
                Target::Mcp(route) => Some(route.clone()),
                Target::Metadata(_)
                | Target::AssertionKeys
                | Target::Issuer(_)
                | Target::Undecided
                | Target::Signal(..)
                | Target::Authorization => None,
            });
            if let (Some(only), None) = (here.next(), here.next()) {
                paths.entry(WELL_KNOWN.into()).or_insert(Target::Metadata(only));
            }
        }
        hosts.values_mut().for_each(place_issuers);
        Self { hosts, aliases: HashMap::new(), routes }
    }

    /// Answers to other `Host` values as to the one of `origin`.
    #[must_use]
    pub fn with_aliases(mut self, origin: &str, aliases: &[String]) -> Self {
        let host = plain_authority(origin.split_once("://").map_or(origin, |(_, host)| host));
        self.aliases = aliases.iter().map(|alias| (plain_authority(alias), host.clone())).collect();
        self
    }

    /// Serves the keys of assertions at `origin`, where any route has them, or something else is signed by them.
    #[must_use]
    pub fn with_assertion_keys(mut self, origin: &str, also: bool) -> Self {
        if also || self.routes.iter().any(|route| route.identity.asserts()) {
            let host = plain_authority(origin.split_once("://").map_or(origin, |(_, host)| host));
            self.hosts.entry(host).or_default().insert(ASSERTION_KEYS.into(), Target::AssertionKeys);
        }
        self
    }

    /// Takes signals in at these paths of `origin`.
    #[must_use]
    pub fn with_signals<'a>(mut self, origin: &str, inlets: impl Iterator<Item = (&'a str, Arc<str>, Inlet)>) -> Self {
        let host = plain_authority(origin.split_once("://").map_or(origin, |(_, host)| host));
        for (path, name, inlet) in inlets {
            self.hosts.entry(host.clone()).or_default().entry(path.to_owned()).or_insert(Target::Signal(name, inlet));
        }
        self
    }

    /// Serves the authorization server whose issuer is `origin`: its metadata at every place where clients look for the
    /// issuer of a route that is this one, and all else at `origin`.
    #[must_use]
    pub fn with_authorization(mut self, origin: Option<&str>) -> Self {
        let Some(origin) = origin else { return self };
        for target in self.hosts.values_mut().flat_map(HashMap::values_mut) {
            if matches!(target, Target::Issuer(route) if route.issuers.first().is_some_and(|rules| *rules.issuer == *origin)) {
                *target = Target::Authorization;
            }
        }
        let host = plain_authority(origin.split_once("://").map_or(origin, |(_, host)| host));
        let paths = self.hosts.entry(host).or_default();
        for path in ISSUER_WELL_KNOWN.into_iter().chain(AUTHORIZATION_PATHS).chain([AUTHORIZATION_PAGES]) {
            paths.insert(path.into(), Target::Authorization);
        }
        self
    }

    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    pub fn find(&self, head: &Head<'_>) -> Result<&Target, Error> {
        let host = head.host().filter(|host| is_authority(host)).ok_or(Error::Host)?;
        let paths = match self.hosts.get(host) {
            Some(paths) => paths,
            None => self.elsewhere(&plain_authority(host)).ok_or(Error::Misdirected)?,
        };
        if let Some(target) = paths.get(head.path) {
            return Ok(target);
        }
        if !is_plain_path(head.path) {
            return Err(Error::Spelling);
        }
        let page = || paths.get(AUTHORIZATION_PAGES).filter(|_| head.path.starts_with(AUTHORIZATION_PAGES));
        head.path.strip_suffix('/').and_then(|path| paths.get(path)).or_else(page).ok_or(Error::NotFound)
    }
}

impl RouteTable {
    fn elsewhere(&self, host: &str) -> Option<&HashMap<String, Target>> {
        self.hosts.get(host).or_else(|| self.hosts.get(self.aliases.get(host)?))
    }
}

impl Route {
    /// Host (with a port that is not the scheme's own) and path, as the table is keyed.
    fn place(&self) -> (String, String) {
        let rest = self.resource.split_once("://").map_or(self.resource.as_str(), |(_, rest)| rest);
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = if path.is_empty() { "/" } else { path };
        (plain_authority(authority), path.to_owned())
    }

    /// The paths of the claims that its rules and identity headers ask for.
    pub fn claims(&self) -> Vec<String> {
        self.policy.claims().into_iter().chain(self.identity.claims()).map(str::to_owned).collect()
    }

    /// An `Origin` is accepted when it is listed, or the resource's own.
    pub fn accepts_origin(&self, origin: &str) -> bool {
        let own = self.resource.get(..self.resource.len() - self.resource_path_len()).unwrap_or_default();
        origin == own || self.origins.iter().any(|allowed| allowed == origin)
    }

    fn resource_path_len(&self) -> usize {
        let rest = self.resource.split_once("://").map_or("", |(_, rest)| rest);
        rest.find('/').map_or(0, |at| rest.len() - at)
    }
}

/// Where clients guess the metadata of an authorization server from a resource's URL: with the path
/// behind the well-known name, with the path before it, and at the root.
fn place_issuers(paths: &mut HashMap<String, Target>) {
    let routes: Vec<(String, Arc<Route>)> = paths
        .iter()
        .filter_map(|(path, target)| match target {
            Target::Mcp(route) => Some((path.clone(), route.clone())),
            _ => None,
        })
        .collect();
    let first = |route: &Arc<Route>| route.issuers.first().map(|rules| rules.issuer.clone());
    let Some((_, any)) = routes.first() else { return };
    let common = routes.iter().all(|(_, route)| first(route) == first(any));
    let root = if common { Target::Issuer(any.clone()) } else { Target::Undecided };
    for (path, route) in routes.iter().filter(|(path, _)| path != "/") {
        let [oauth, openid] = ISSUER_WELL_KNOWN;
        for place in [format!("{oauth}{path}"), format!("{openid}{path}"), format!("{path}{oauth}"), format!("{path}{openid}")] {
            paths.entry(place).or_insert_with(|| Target::Issuer(route.clone()));
        }
    }
    for place in ISSUER_WELL_KNOWN {
        paths.entry(place.into()).or_insert_with(|| root.clone());
    }
}

/// Lower case, without a default port.
fn plain_authority(authority: &str) -> String {
    let lower = authority.to_ascii_lowercase();
    match lower.rsplit_once(':') {
        Some((host, "443" | "80")) if !host.is_empty() => host.to_owned(),
        _ => lower,
    }
}

fn is_authority(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']'))
}

/// A path that every server reads alike: no escapes, doubled slashes, dot segments, backslashes or parameters.
fn is_plain_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.contains("//")
        && path.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~' | b'@' | b'+'))
        && !path.split('/').any(|segment| segment == "." || segment == "..")
}

#[cfg(test)]
mod tests;
