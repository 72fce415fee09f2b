//! What may stand in the file: the YAML contract as serde reads it, and nothing else.
//!
//! The doc comments become the descriptions of the JSON Schema. Every key is optional here, so that
//! `resolve` can name all that are missing at once. Keys of later versions are known, refused, and
//! absent from the schema. This file knows no file, no room and no meaning.

pub mod admin;
pub mod authorization_server;
pub mod clients;
mod forms;
pub mod login;
pub mod pages;
pub mod registration;
pub mod signals;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

pub use forms::{ALGORITHMS, AlgorithmNames, DurationText, Keyed, LATER, Later, OneOrMany, RateText, SizeText, Strings};

/// Configuration of Doorward, the gateway that puts OAuth and per-tool rules before MCP servers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Doorward", title = "Doorward")]
pub struct RawConfig {
    /// The origin that clients type, such as `https://mcp.example.com`. Never derived from request headers. Plain http is for loopback.
    #[schemars(required)]
    pub public_url: Option<String>,
    /// `Host` values that are accepted besides those of `public_url` and `resource`: names of the inside, where a proxy before
    /// doorward or a client beside it uses another. Costs: one more name by which a browser could be led here; addresses in
    /// answers still come from `public_url`.
    pub allow_hosts: Option<Strings>,
    /// Where clients connect.
    #[schemars(required)]
    pub listen: Option<Vec<RawListener>>,
    /// Metrics, health and the admin API, on addresses of their own.
    pub admin: Option<admin::RawAdmin>,
    /// How a new process takes over from the running one without a gap.
    pub upgrade: Option<RawUpgrade>,
    /// One record per decision.
    pub audit: Option<RawAudit>,
    /// A file of keys that seal session ids and whatever else clients bring back: one of 32 bytes in
    /// base64 a line, the newest first. Replicas need the same ones; without it each process has its own.
    pub seal_keys_file: Option<String>,
    /// `auto` (default: text on a terminal, JSON elsewhere), `text` or `json`.
    pub log: Option<RawLog>,
    /// Where the spans of requests go. Default: nowhere, and none are made.
    pub traces: Option<RawTraces>,
    /// Who issues the tokens that are accepted here, by a name of your choice. Needed unless all are issued by `authorization_server`.
    pub issuers: Option<Keyed<RawIssuer>>,
    /// The MCP servers behind this door, by name.
    pub upstreams: Option<Keyed<RawUpstream>>,
    /// A folder with one file per upstream; the file's stem is the upstream's name.
    pub upstreams_dir: Option<String>,
    /// Bounds of the whole process.
    pub limits: Option<RawLimits>,
    /// Proofs that a token is in the hands it was issued to (DPoP, RFC 9449). When this section exists, challenges and metadata offer it.
    pub dpop: Option<RawDpop>,
    /// Words for scopes, and what implies what. When this section exists, every scope that a rule asks for must be in it.
    pub scopes: Option<Keyed<RawScope>>,
    /// The keys that assertions are signed with. Default: made at start, and anew every 30 days.
    pub assertion_keys: Option<RawAssertionKeys>,
    /// Say the resource metadata once more as a JWT in `signed_metadata` (RFC 9728 §2.2), signed by the first key of `assertion_keys.file`,
    /// which it needs. Default false.
    pub signed_metadata: Option<bool>,
    /// Where revocations are kept: `sqlite:doorward.db` for one machine, `postgres://…` for several replicas. Without it nothing can be revoked here.
    pub store: Option<RawStore>,
    /// Who may tell of sessions and accounts that have ended, by a name of your choice; their tokens are revoked. Needs `store`.
    pub signals: Option<Keyed<signals::RawSignal>>,
    /// Clients by a name of your choice; one list with those of the `store`, which wins where its state is stricter.
    pub clients: Option<Keyed<clients::RawClient>>,
    /// Tokens are issued here, for upstreams with `ownership: bridge` or `self_managed`.
    pub authorization_server: Option<authorization_server::RawAuthorizationServer>,
}

/// A database: its address alone, or with what is demanded of it.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "Store", untagged)]
pub enum RawStore {
    /// `sqlite:doorward.db`, or `postgres://doorward@db.internal/doorward`.
    Address(String),
    Section(Box<RawStoreSection>),
}

impl<'de> Deserialize<'de> for RawStore {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = RawStore;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an address such as `sqlite:doorward.db`, or a mapping")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(RawStore::Address(text.to_owned()))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let section = RawStoreSection::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(RawStore::Section(Box::new(section)))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A database, by exactly one of `url`, `url_file` and `url_env`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "StoreSection")]
pub struct RawStoreSection {
    /// `sqlite:doorward.db`, or `postgres://doorward@db.internal/doorward` without a password.
    pub url: Option<String>,
    /// A file with the address, which may then hold a password.
    pub url_file: Option<String>,
    /// The same, in a variable of the environment.
    pub url_env: Option<String>,
    /// How long requests are let in while the database cannot be read; then each is refused with 503. Default 30s.
    pub revocation_max_age: Option<DurationText>,
    /// Let requests in for this long instead. A token that is revoked meanwhile works for as long. Default: no.
    pub allow_stale_revocations: Option<DurationText>,
    /// The longest that a token may live, from `iat` to `exp`; longer ones are refused. Revocations are kept for as long. Default 24h.
    pub token_lifetime: Option<DurationText>,
}

/// What is asked of DPoP proofs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Dpop")]
pub struct RawDpop {
    /// Accepted signature algorithms. Default ES256, EdDSA.
    #[schemars(with = "Option<AlgorithmNames>")]
    pub algorithms: Option<Strings>,
    /// How old a proof, or its nonce, may be, and how far ahead of the clock here. Default 60s, at most 5m.
    pub window: Option<DurationText>,
    /// Ask for a nonce of ours in each proof. Costs clients one more round trip at the beginning. Default false.
    pub nonce: Option<bool>,
    /// The secret that nonces are made with, so that replicas know each other's. Default: a random one in each process.
    pub nonce_secret_file: Option<String>,
    /// The same, in a variable of the environment.
    pub nonce_secret_env: Option<String>,
    /// Proofs remembered until they are too old, so that none is used twice; one caller may use a 32nd of them. When they are
    /// used up, further proofs are refused. Default 262144.
    pub remembered: Option<usize>,
}

/// One address to listen at.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Listener")]
pub struct RawListener {
    /// `0.0.0.0:8443`, `[::]:8443` or `unix:/run/doorward.sock`.
    #[schemars(required)]
    pub address: Option<String>,
    /// Serve TLS, with HTTP/2 offered: one certificate, or several, of which each client gets the one that its SNI names
    /// (exact names before wildcards; the first for everybody else). The files are read again when they change.
    pub tls: Option<OneOrMany<RawTls>>,
    /// Accept HTTP/2 without TLS, by prior knowledge. Default false.
    pub h2c: Option<bool>,
    /// Certificates in PEM that clients' certificates must come from (mutual TLS). Read again when they change.
    pub client_ca: Option<String>,
    /// Whether every client must show a certificate: `required` (default, with `client_ca`) or `optional`.
    pub client_certificate: Option<RawClientCertificate>,
    /// Networks of proxies that may speak for others: only from these are `X-Forwarded-For`, `Forwarded` and `Client-Cert`
    /// (RFC 9440) believed. `unix` stands for whoever reaches a Unix socket.
    pub trusted_proxies: Option<Strings>,
    /// Every connection begins with a PROXY protocol header, version 1 or 2. Needs `trusted_proxies`; others are cut off. Default false.
    pub proxy_protocol: Option<bool>,
}

/// What a client must show.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ClientCertificate", inline)]
pub enum RawClientCertificate {
    Optional,
    Required,
}

/// The handing over of listening sockets to the next process.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Upgrade")]
pub struct RawUpgrade {
    /// The Unix socket at which `doorward serve --upgrade` asks the running process for its listeners. Only the same user gets them.
    #[schemars(required)]
    pub socket: Option<String>,
}

/// A certificate and its key, both PEM.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Tls")]
pub struct RawTls {
    /// The chain, the server's own certificate first.
    #[schemars(required)]
    pub certificate: Option<String>,
    /// The private key of the first certificate.
    #[schemars(required)]
    pub key: Option<String>,
}

/// The audit log.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Audit")]
pub struct RawAudit {
    /// JSON lines are appended here; without it they go to standard output.
    pub file: Option<String>,
    /// `refuse` (default) answers 503 when a record cannot be written; `drop` goes on without it, and counts.
    pub when_full: Option<RawWhenFull>,
    /// Signatures over the log, by which a log that was rewritten or cut is told from the one that was written.
    pub checkpoints: Option<RawCheckpoints>,
    /// A copy of each line goes to standard output too. A reader that is too slow loses lines there, never in the file. Default false.
    pub stdout: Option<bool>,
    /// A copy of each line goes to an OpenTelemetry collector. One that is too slow loses lines there, never in the file.
    pub otlp: Option<RawExport>,
}

/// Signed checkpoints of the audit log.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Checkpoints")]
pub struct RawCheckpoints {
    /// A private Ed25519 key in PEM (PKCS #8), which only the gateway can read.
    #[schemars(required)]
    pub key_file: Option<String>,
    /// How far apart checkpoints are at least. Default 60s.
    pub every: Option<DurationText>,
}

/// A collector of logs, by OTLP over HTTP (protobuf).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Export")]
pub struct RawExport {
    /// Where the collector takes logs: `http://127.0.0.1:4318/v1/logs`.
    #[schemars(required)]
    pub endpoint: Option<String>,
    /// A file with headers for the collector, such as its key: one `Name: value` in each line.
    pub headers_file: Option<String>,
    /// Certificates in PEM that the collector's must come from, instead of the system's. For https.
    pub ca_file: Option<String>,
    /// Send by plain http off loopback. Anyone on the path can then read who did what, and the headers. Default false.
    pub allow_http: Option<bool>,
}

/// What happens when an audit record cannot be written.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "WhenFull", inline)]
pub enum RawWhenFull {
    Refuse,
    Drop,
}

/// The form of the log on standard error.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Log", inline)]
pub enum RawLog {
    Auto,
    Text,
    Json,
}

/// Traces, sent to an OpenTelemetry collector by OTLP over HTTP (protobuf).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Traces")]
pub struct RawTraces {
    /// Where the collector takes traces: `http://127.0.0.1:4318/v1/traces`.
    #[schemars(required)]
    pub endpoint: Option<String>,
    /// A file with headers for the collector, such as its key: one `Name: value` in each line.
    pub headers_file: Option<String>,
    /// Certificates in PEM that the collector's must come from, instead of the system's. For https.
    pub ca_file: Option<String>,
    /// The share of requests that are traced, from 0 to 1, where the caller's `traceparent` does not decide. Default 1.
    #[schemars(range(min = 0, max = 1))]
    pub ratio: Option<f64>,
    /// Send by plain http off loopback. Anyone on the path can then read which requests were made, and the headers. Default false.
    pub allow_http: Option<bool>,
}

/// An authorization server whose access tokens are accepted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Issuer")]
pub struct RawIssuer {
    /// The issuer identifier, exactly as tokens carry it in `iss`. Its keys are found by RFC 8414 and OpenID Connect discovery.
    #[schemars(required)]
    pub issuer: Option<String>,
    /// The metadata document, where discovery would not find it.
    pub metadata_url: Option<String>,
    /// The key set, without discovery.
    pub jwks_uri: Option<String>,
    /// The key set in a file, read again when it changes.
    pub jwks_file: Option<String>,
    /// Accepted signature algorithms. Default RS256, ES256, EdDSA. HMAC and `none` are never accepted.
    #[schemars(with = "Option<AlgorithmNames>")]
    pub algorithms: Option<Strings>,
    /// Accepted audiences. Default: the upstream's own resource.
    pub audience: Option<Strings>,
    /// Accepted `typ` headers. Default `at+jwt` (RFC 9068); add `JWT` for issuers that do not set it.
    pub token_types: Option<Strings>,
    /// Where this issuer keeps what it says of the caller, as dotted claim paths tried in turn.
    pub claims: Option<RawClaims>,
    /// Claims that must be present besides `iss`, `sub`, `aud`, `exp` and `iat`.
    pub required_claims: Option<Strings>,
    /// Tolerated clock difference. Default 30s, at most 5m.
    pub leeway: Option<DurationText>,
    /// How its keys are kept.
    pub keys: Option<RawKeys>,
    /// Ask this issuer about tokens that are not JWTs (RFC 7662).
    pub introspection: Option<RawIntrospection>,
    /// Accept plain http off loopback. Anyone on the path can then forge tokens: for development only. Default false.
    pub allow_http: Option<bool>,
    /// A provider whose dialect is known: sets the other keys, each of which may still be written here.
    #[schemars(with = "Option<super::profile::Names>")]
    pub profile: Option<String>,
    /// What stands for the audience in a token without `aud`. Default `aud`: such a token is refused.
    pub audience_from: Option<RawAudienceFrom>,
    /// Claims that must have one of these texts, such as `token_use: access`.
    pub required_values: Option<Keyed<Strings>>,
    /// Say that the authorization server takes PKCE with S256 where its own metadata is silent. Default false.
    pub allow_assumed_s256: Option<bool>,
    /// When a key counts that this issuer publishes anew: `immediately` (default), `after 10m`, or `approved` (by
    /// `doorward keys approve`). Its first keys count at once. The last two need `store`.
    #[schemars(extend("pattern" = "^(immediately|approved|after .+)$"))]
    pub accept_new_keys: Option<String>,
}

/// How an issuer is asked about a token. Exactly one of `client_secret_file` and `client_secret_env`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Introspection")]
pub struct RawIntrospection {
    /// The introspection endpoint. Default: `introspection_endpoint` of the issuer's metadata.
    pub url: Option<String>,
    /// What Doorward is called there.
    #[schemars(required)]
    pub client_id: Option<String>,
    /// A file with the client's secret, sent by HTTP Basic.
    pub client_secret_file: Option<String>,
    /// An environment variable with the client's secret.
    pub client_secret_env: Option<String>,
    /// A key that signs a proof of who asks (RFC 7523), in place of a secret.
    pub private_key_jwt: Option<RawPrivateKeyJwt>,
    /// How long an answer is believed, if the token does not expire before: a revoked token may live on for as long.
    /// Default 30s, at most 10m.
    pub cache: Option<DurationText>,
    /// Of one question. Default 3s.
    pub timeout: Option<DurationText>,
    /// Ask about every token of this issuer, JWTs too; keys of it are neither fetched nor used. Default false.
    pub only: Option<bool>,
    /// Accept answers without `aud`: a token that was issued for any other server of this issuer then opens this one too. Default false.
    pub allow_missing_audience: Option<bool>,
}

/// Where a token says what it is for.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "AudienceFrom", inline)]
pub enum RawAudienceFrom {
    Aud,
    ClientId,
}

/// Claim paths of an issuer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Claims")]
pub struct RawClaims {
    /// Granted scopes. Default `scope`, then `scp`.
    pub scopes: Option<Strings>,
    /// The client's id. Default `client_id`, then `azp`.
    pub client: Option<Strings>,
    /// The person's groups or roles. Default `groups`.
    pub groups: Option<Strings>,
    /// The person's id. Default `sub`. Exactly one.
    pub subject: Option<Strings>,
}

/// How an issuer's keys are kept.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Keys")]
pub struct RawKeys {
    /// How long a fetched key set is fresh. Default 10m.
    pub cache: Option<DurationText>,
    /// At most one fetch for an unknown key id in this time. Default 30s.
    pub cooldown: Option<DurationText>,
    /// Of one fetch. Default 3s.
    pub timeout: Option<DurationText>,
    /// How long the last good set still serves when it cannot be fetched anew. Default 1h.
    pub stale: Option<DurationText>,
}

/// An MCP server behind this door.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Upstream")]
pub struct RawUpstream {
    /// What people call it. Default: its key.
    pub name: Option<String>,
    /// The path that clients use, such as `/github/mcp`.
    pub path: Option<String>,
    /// The resource identifier that tokens must name as audience. Default `public_url` and `path`.
    pub resource: Option<String>,
    /// Where the MCP server is: `http://127.0.0.1:3001/mcp`, `https://…`, or `unix:/run/mcp.sock:/mcp`.
    /// Several, of one scheme and path, are servers that share the calls.
    #[schemars(required, with = "Strings")]
    pub url: Option<Strings>,
    /// Certificates, PEM, that an https server is verified with, instead of the system's.
    pub ca_file: Option<String>,
    /// Speak HTTP/2 to the server. Default false.
    pub http2: Option<bool>,
    /// What Doorward shows to an https server that asks for a certificate. The files are read again when they change.
    pub client_certificate: Option<RawTls>,
    /// Looks after the servers between calls. Without it only calls tell which ones are down.
    pub health: Option<RawHealth>,
    /// Who issues tokens: `hosted` (default), an authorization server elsewhere; `bridge`, Doorward, for people who sign in elsewhere;
    /// `self_managed`, Doorward with accounts of its own.
    pub ownership: Option<RawOwnership>,
    /// Names of the issuers accepted here. Default: all.
    pub issuers: Option<Strings>,
    /// `enforce` (default), or `observe`: decide and record, but let authenticated calls pass.
    pub mode: Option<RawMode>,
    /// `granted` (default) lists what the caller may use; `acquirable` also what a wider scope would allow.
    pub list: Option<RawList>,
    /// What a caller is told that lacks a scope.
    pub challenge: Option<RawChallenge>,
    /// Read from the top; the first rule that names the thing decides; what no rule names is refused.
    pub rules: Option<Vec<RawRule>>,
    /// What the server is told of the caller.
    pub identity: Option<RawIdentity>,
    /// What Doorward itself shows to the server. The client's token never goes there.
    pub credential: Option<RawCredential>,
    /// Browser origins that may call, such as `https://app.example.com`. Any other `Origin` gets 403.
    #[schemars(with = "Option<Vec<String>>")]
    pub origins: Option<Strings>,
    /// Bounds of this upstream.
    pub limits: Option<RawRouteLimits>,
    /// Which clients may call. Needs `store` where they must be approved.
    pub clients: Option<RawRouteClients>,
    /// What records of this upstream hold besides.
    pub audit: Option<RawRouteAudit>,
    /// Accept only tokens that are bound to a key, with a proof of it (DPoP, RFC 9449). Bound tokens are accepted everywhere. Default false.
    pub require_dpop: Option<bool>,
    /// Accept only tokens that are bound to the client certificate of the connection (RFC 8705). Default false.
    pub require_certificate: Option<bool>,
    /// What the server may ask of a client while it answers: `elicitation` (a form), `elicitation_url` (a page that the user is
    /// sent to), `sampling` (the client's model works for the server), `roots` (folders of the user's). Default: nothing.
    pub allow_server_requests: Option<Vec<RawServerRequest>>,
    /// `both` (default), or `modern`: no `initialize`, no sessions, only 2026-07-28 and later.
    pub eras: Option<RawEras>,
    /// Methods of extensions. Any other that the revisions do not define is refused.
    pub methods: Option<Vec<RawMethod>>,
    /// Extensions and experimental capabilities of the server that clients are told of. Default: none but MCP Apps.
    pub extensions: Option<Strings>,
    /// Accept calls without the `Mcp-Param-…` headers that a tool's schema asks for (`x-mcp-header`): browsers do not send them. They
    /// are added on the way to the server; those that come must still repeat the arguments. Default false.
    pub allow_missing_param_headers: Option<bool>,
    #[schemars(skip)]
    pub tasks: Option<Later>,
    /// Let the server's tools through only as they were approved. Without it their definitions may change at any time.
    pub pin: Option<RawPin>,
}

/// Where the approved definitions of tools stand.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Pin")]
pub struct RawPin {
    /// Written by `doorward approve`, one file for each upstream, read again when it changes. A file that is not there approves nothing.
    #[schemars(required)]
    pub file: Option<String>,
    /// How often the servers are asked for their tools, besides what callers' lists show. Default 1m, at least 1s.
    pub interval: Option<DurationText>,
}

/// What a server may ask of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ServerRequest", inline)]
pub enum RawServerRequest {
    Elicitation,
    ElicitationUrl,
    Sampling,
    Roots,
}

/// Which revisions are served.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Eras", inline)]
pub enum RawEras {
    Both,
    Modern,
}

/// A method of an extension, and where it says what it is about. Exactly one of its keys beside `name`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Method")]
pub struct RawMethod {
    /// As messages spell it: `acme/report`.
    #[schemars(required)]
    pub name: Option<String>,
    /// JSON Pointer from `params` on to what rules judge as the name of a tool, or as an array of names.
    pub tool: Option<String>,
    /// The same for the name of a prompt.
    pub prompt: Option<String>,
    /// The same for the URI of a resource.
    pub resource: Option<String>,
    /// It names nothing, and every admitted caller may use it: no rule is asked. Default false.
    pub allow_unnamed: Option<bool>,
}

/// How servers are looked after between calls.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Health")]
pub struct RawHealth {
    /// Asked for with GET and must be answered with 2xx. Default: that a connection opens is enough.
    pub path: Option<String>,
    /// Default `10s`.
    pub interval: Option<DurationText>,
    /// How long one check may take. Default `2s`.
    pub timeout: Option<DurationText>,
    /// Good checks in a row until a server is used again. Default 1.
    #[schemars(range(min = 1, max = 100))]
    pub healthy: Option<u32>,
    /// Bad checks in a row until a server is left alone. Default 3.
    #[schemars(range(min = 1, max = 100))]
    pub unhealthy: Option<u32>,
}

/// Who issues tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Ownership", inline)]
pub enum RawOwnership {
    Hosted,
    Bridge,
    SelfManaged,
}

/// What records of one upstream hold besides.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RouteAudit")]
pub struct RawRouteAudit {
    /// By tool: arguments whose values go into the audit log, each up to 1 KiB. Choose none that may hold a secret. Default: none, and
    /// records have a digest of all arguments.
    pub arguments: Option<Keyed<Strings>>,
}

/// Which clients may call.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RouteClients")]
pub struct RawRouteClients {
    /// What a client gets that nobody approved: `pending` refuses it until somebody does (`doorward clients approve`), `allow`
    /// (default) lets it in.
    pub unknown: Option<RawUnknown>,
}

/// What a client gets that nobody approved.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Unknown", inline)]
pub enum RawUnknown {
    Pending,
    Allow,
}

/// Whether a no is final.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Mode", inline)]
pub enum RawMode {
    Enforce,
    Observe,
}

/// What lists show.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "List", inline)]
pub enum RawList {
    Granted,
    Acquirable,
}

/// What a caller is told that lacks a scope.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Challenge")]
pub struct RawChallenge {
    /// `union` (default) names the scopes of the operation and those of this upstream that the caller holds, for clients that
    /// would lose what they had; `required` those of the operation alone.
    pub scopes: Option<RawChallengeScopes>,
}

/// Which scopes a challenge names.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ChallengeScopes", inline)]
pub enum RawChallengeScopes {
    Union,
    Required,
}

/// How, and how lately, a person must have logged in (RFC 9470).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "StepUp")]
pub struct RawStepUp {
    /// The oldest that the login may be, by `auth_time` of the token: `5m`.
    pub max_age: Option<DurationText>,
    /// Authentication context classes, by `acr` of the token, one of which it must have.
    pub acr: Option<Strings>,
}

/// What it names, and what must hold. All conditions must hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Rule")]
pub struct RawRule {
    /// How the audit log calls the rule. Default: the upstream's name and the rule's number.
    pub name: Option<String>,
    /// Tool names, exact or with `*`.
    pub tools: Option<Strings>,
    /// Resource URIs; `*` within a segment, `**` across segments.
    pub resources: Option<Strings>,
    /// Prompt names, exact or with `*`.
    pub prompts: Option<Strings>,
    /// Refuse what this rule names, whoever asks. Takes no conditions.
    pub deny: Option<bool>,
    /// Scopes that must all be granted, themselves or by a scope that implies them.
    pub scopes: Option<Strings>,
    /// Groups, one of which the caller must be in.
    pub groups: Option<Strings>,
    /// Client ids, exact or with `*`.
    pub clients: Option<Strings>,
    /// Subjects, exact or with `*`. A machine is never one of them.
    pub subjects: Option<Strings>,
    /// Claims by dotted path, with the value or values allowed.
    #[schemars(with = "Option<std::collections::BTreeMap<String, Value>>")]
    pub claims: Option<Keyed<Value>>,
    /// JSON Schema (2020-12) of each argument, as in the tool's own `inputSchema`.
    #[schemars(with = "Option<std::collections::BTreeMap<String, Value>>")]
    pub arguments: Option<Keyed<Value>>,
    /// Arguments named above that may be absent.
    pub optional: Option<Strings>,
    /// Arguments that must equal a claim of the caller: `tenant: claims.tenant_id`.
    pub arguments_equal: Option<Keyed<String>>,
    /// Networks that the connection may come from: `10.0.0.0/8`.
    pub source: Option<Strings>,
    /// Alternatives, one of which must hold in full.
    pub any_of: Option<Vec<RawConditions>>,
    /// The person must have logged in thus, and is asked to if not (RFC 9470).
    pub step_up: Option<RawStepUp>,
    /// Short for `step_up: { acr: … }`.
    pub acr: Option<Strings>,
}

/// Conditions that must all hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Conditions")]
pub struct RawConditions {
    /// Scopes that must all be granted, themselves or by a scope that implies them.
    pub scopes: Option<Strings>,
    /// Groups, one of which the caller must be in.
    pub groups: Option<Strings>,
    /// Client ids, exact or with `*`.
    pub clients: Option<Strings>,
    /// Subjects, exact or with `*`. A machine is never one of them.
    pub subjects: Option<Strings>,
    /// Claims by dotted path, with the value or values allowed.
    #[schemars(with = "Option<std::collections::BTreeMap<String, Value>>")]
    pub claims: Option<Keyed<Value>>,
    /// JSON Schema (2020-12) of each argument, as in the tool's own `inputSchema`.
    #[schemars(with = "Option<std::collections::BTreeMap<String, Value>>")]
    pub arguments: Option<Keyed<Value>>,
    /// Arguments named above that may be absent.
    pub optional: Option<Strings>,
    /// Arguments that must equal a claim of the caller: `tenant: claims.tenant_id`.
    pub arguments_equal: Option<Keyed<String>>,
    /// Networks that the connection may come from: `10.0.0.0/8`.
    pub source: Option<Strings>,
    /// The person must have logged in thus, and is asked to if not (RFC 9470).
    pub step_up: Option<RawStepUp>,
    /// Short for `step_up: { acr: … }`.
    pub acr: Option<Strings>,
}

/// What the server is told of the caller.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Identity")]
pub struct RawIdentity {
    /// Header names, each with where its value comes from: `subject`, `client`, `issuer`, `groups`, `scopes`, `kind` or `claims.…`.
    pub headers: Option<Keyed<String>>,
    /// Also send `Doorward-Assertion`: a JWT for this server, signed with a key of `/.well-known/doorward/jwks.json`. Default false.
    pub assertion: Option<bool>,
}

/// The keys that assertions are signed with. At most one of its keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AssertionKeys")]
pub struct RawAssertionKeys {
    /// Private P-256 keys in PEM: the first signs, all are published. Several replicas need the same file.
    pub file: Option<String>,
    /// How long a key made here signs. At least 2h, default 30d.
    pub rotate: Option<DurationText>,
}

/// The credential that Doorward shows to the server. Exactly one of its keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Credential")]
pub struct RawCredential {
    /// A file with a bearer token.
    pub bearer_file: Option<String>,
    /// An environment variable with a bearer token.
    pub bearer_env: Option<String>,
    /// A header of another name.
    pub header: Option<RawCredentialHeader>,
    /// A token that Doorward gets for itself (RFC 6749 §4.4), the same for all callers.
    pub client_credentials: Option<RawTokenGrant>,
    /// A token that Doorward gets for each caller in exchange for the caller's own (RFC 8693), which goes to that authorization
    /// server and nowhere else.
    pub token_exchange: Option<RawTokenGrant>,
}

/// How a token for the server is obtained. Exactly one of `token_url` and `issuer`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TokenGrant")]
pub struct RawTokenGrant {
    /// The token endpoint.
    pub token_url: Option<String>,
    /// The authorization server, whose token endpoint is found by discovery.
    pub issuer: Option<String>,
    /// Doorward's own id there.
    #[schemars(required)]
    pub client_id: Option<String>,
    /// A file with its secret, sent by HTTP Basic.
    pub client_secret_file: Option<String>,
    /// An environment variable with its secret.
    pub client_secret_env: Option<String>,
    /// A key that signs a proof of who asks (RFC 7523), in place of a secret.
    pub private_key_jwt: Option<RawPrivateKeyJwt>,
    /// Scopes to ask for. Default: what the authorization server gives.
    pub scopes: Option<Strings>,
    /// The resource that the token is for (RFC 8707). Default for an exchange without `audience`: the server's `url`.
    pub resource: Option<String>,
    /// The audience that the token is for, as the authorization server calls it.
    pub audience: Option<String>,
    /// Only for an exchange: a file with a token that says who acts for the caller (RFC 8693 §2.1).
    pub actor_token_file: Option<String>,
    /// Of one request for a token. Default 5s.
    pub timeout: Option<DurationText>,
    /// Accept plain http off loopback. Anyone on the path can then read the secret and the tokens. Default false.
    pub allow_http: Option<bool>,
}

/// How Doorward proves who it is without a secret that others know: `private_key_jwt` (RFC 7523 §2.2). Each proof is good for a minute, once.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PrivateKeyJwt")]
pub struct RawPrivateKeyJwt {
    /// A file with one private key in PEM: RSA, P-256, P-384, P-521 or Ed25519. Its public half is registered at the authorization server.
    #[schemars(required)]
    pub key_file: Option<String>,
    /// What the authorization server calls the key. Default: the proof names none.
    pub kid: Option<String>,
    /// Such as `PS256`. Default: the usual one of the key: ES256, ES384, ES512, EdDSA or RS256.
    pub algorithm: Option<String>,
    /// Whom the proof is for. Default: the issuer identifier, or the `token_url` where no issuer is named.
    pub audience: Option<String>,
}

/// A header with a secret. Exactly one of `value_file` and `value_env`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CredentialHeader")]
pub struct RawCredentialHeader {
    /// Such as `X-Api-Key`.
    #[schemars(required)]
    pub name: Option<String>,
    /// A file with the whole value.
    pub value_file: Option<String>,
    /// An environment variable with the whole value.
    pub value_env: Option<String>,
}

/// Bounds of one upstream.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RouteLimits")]
pub struct RawRouteLimits {
    /// Of a request body. Default 4MiB.
    pub body: Option<SizeText>,
    /// Requests of one client. Default: no limit.
    pub per_client: Option<RateText>,
    /// Requests of one subject. Default: no limit.
    pub per_subject: Option<RateText>,
    /// Until the server's answer begins, and between two parts of it. Default 60s.
    pub timeout: Option<DurationText>,
    /// Streams that one subject may listen by at once. Default: no limit.
    pub streams_per_subject: Option<usize>,
    #[schemars(skip)]
    pub tasks: Option<Later>,
}

/// Bounds of the whole process.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Limits")]
pub struct RawLimits {
    /// Open connections. Default 20000.
    pub connections: Option<usize>,
    /// Bytes of a request head. Default 16KiB.
    pub headers: Option<SizeText>,
    /// Headers of a request. Default 100.
    pub header_count: Option<usize>,
    /// From the first byte of a head to its last. Default 5s.
    pub header_timeout: Option<DurationText>,
    /// From the end of the head to the end of the body. Default 10s.
    pub body_timeout: Option<DurationText>,
    /// Of a connection without a request. Default 60s.
    pub idle_timeout: Option<DurationText>,
    /// Nesting of a message. Default 64.
    pub depth: Option<usize>,
    /// Messages in one batch of a client of 2025-03-26. Default 20.
    pub batch: Option<usize>,
    /// Verified tokens that are remembered. Default 50000.
    pub token_cache: Option<usize>,
    /// How long a stop waits for requests in flight. Default 10s.
    pub drain_timeout: Option<DurationText>,
    #[schemars(skip)]
    pub streams_per_subject: Option<Later>,
    #[schemars(skip)]
    pub tasks: Option<Later>,
}

/// A scope in words, and what it implies.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Scope")]
pub struct RawScope {
    /// What the scope allows, in words for people.
    pub text: Option<String>,
    /// Scopes that this one includes.
    pub implies: Option<Strings>,
    /// Whether the resource metadata and the first challenge name it, so that clients ask for it at once. Default true; false for
    /// what is asked for only when it is needed.
    pub advertise: Option<bool>,
}
