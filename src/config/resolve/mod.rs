//! From raw values to a [`Config`] that cannot be wrong. One file per section; every problem is
//! noted with its place and the reading goes on, so that all are told at once.
//!
//! Raw structs are taken apart whole: a key that is added to the contract and forgotten here does
//! not compile.

mod admin;
mod arguments;
mod assertion_keys;
mod audit;
mod authorization_server;
mod client;
mod clients;
mod dpop;
mod files;
mod introspection;
mod issuers;
mod listeners;
mod login;
mod pages;
mod quantity;
mod registration;
mod rules;
mod scopes;
mod signals;
mod store;
mod traces;
mod trusted;
mod upstreams;
mod web;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::document::Document;
use super::raw::{Later, RawConfig, RawLimits, RawLog, RawUpstream, Strings};
use super::report::{At, Report};
use super::{AssertionKeys, Config, Issuer, Limits, Log, Seen, lint};
use crate::governance::Acceptance;
pub use scopes::Scopes;

/// What all sections share while they are resolved.
pub struct Context<'a> {
    pub env: &'a dyn Fn(&str) -> Option<String>,
    pub report: Report,
    /// Every file that was read.
    pub files: Vec<Seen>,
    /// The names of all issuers in the file, faulty ones too.
    issuers: Vec<String>,
    /// Of the text read so far.
    hash: Fnv,
}

/// A file with one upstream.
pub struct Included {
    name: String,
    document: Document,
    raw: Option<RawUpstream>,
}

/// The configuration in a file and what it includes; `None` when the report holds an error.
pub fn config(path: &Path, context: &mut Context<'_>) -> Option<Config> {
    let text = context.text(path)?;
    let document = Document::new(&path.display().to_string(), folder(path), "", &text);
    let raw: RawConfig = document.parse(&text, &mut context.report)?;
    let RawConfig {
        public_url,
        allow_hosts,
        listen,
        admin,
        upgrade,
        audit,
        seal_keys_file,
        log,
        traces,
        issuers,
        upstreams,
        upstreams_dir,
        limits,
        dpop,
        scopes,
        assertion_keys,
        signed_metadata,
        store,
        signals,
        clients,
        authorization_server,
    } = raw;
    let at = At::new(&document);
    let public_url = public_origin(public_url, &at, context);
    let allow_hosts = hosts(allow_hosts, &at.key("allow_hosts"), context);
    let listeners = listeners::listeners(listen, &at, context);
    let admin = admin::admin(admin, &at, &listeners, context);
    let upgrade = listeners::upgrade(upgrade, &at, context);
    let mut issuers = issuers::issuers(issuers, authorization_server.is_some(), &at, context);
    let own = public_url.as_deref().filter(|_| authorization_server.is_some()).map(authorization_server::own_issuer).map(Arc::new);
    let scopes = Scopes::resolve(scopes, &at.key("scopes"), context);
    let dpop_offered = dpop.is_some();
    let dpop = dpop::resolve(dpop, &at.key("dpop"), context);
    let mut included = upstreams::included(upstreams_dir, &at, context);
    let section = upstreams::Section {
        public_url: public_url.as_deref(),
        issuers: &issuers,
        own: own.as_ref(),
        issues: authorization_server.is_some(),
        opens: authorization_server.as_ref().is_some_and(|raw| raw.registration.as_ref().is_some_and(registration::opens)),
        scopes: &scopes,
        dpop: &dpop.rules,
        dpop_offered,
    };
    let (routes, owned) = section.resolve(upstreams, &mut included, &at, context);
    let assertion_keys = assertion_keys::resolve(assertion_keys, &at.key("assertion_keys"), context);
    let signed_metadata = signed_metadata.unwrap_or(false);
    if signed_metadata && !matches!(assertion_keys, AssertionKeys::Given(_)) && !context.report.is_told("assertion_keys") {
        let hint = "name a key with `assertion_keys: { file: … }`: whoever verified a signature must find the same key tomorrow";
        context.report.mend(&at.key("signed_metadata"), "metadata is signed by a key that stays, and there is none", hint);
    }
    lint::unreachable_certificates(&routes, &listeners, &at.key("listen"), &mut context.report);
    lint::unused_scopes(&scopes, &routes, &at.key("scopes"), &mut context.report);
    let audit = audit::audit(audit, &at.key("audit"), context);
    let has_store = store.is_some();
    let signals = signals::Beside { public_url: public_url.as_deref(), issuers: &issuers, routes: &routes, has_store }.resolve(
        signals,
        &at.key("signals"),
        context,
    );
    let clients = clients::Beside { issuers: &issuers, routes: &routes }.resolve(clients, &at.key("clients"), context);
    let store = store.and_then(|raw| store::resolve(raw, &at.key("store"), context));
    if store.is_none() && !context.report.has_errors() {
        for route in routes.iter().filter(|route| route.approves_clients) {
            let hint = "add `store: sqlite:doorward.db`";
            context.report.mend(&at, format!("`clients: {{ unknown: pending }}` of `{}` needs a `store`", route.name), hint);
        }
    }
    let beside = authorization_server::Beside { own: own.as_ref(), store: store.as_ref(), routes: &routes, owned, scopes: &scopes };
    let mut trusted = BTreeMap::new();
    let authorization_server =
        authorization_server.and_then(|raw| beside.resolve(raw, &mut trusted, &at.key("authorization_server"), context)).map(Arc::new);
    issuers.extend(trusted);
    issuers.extend(own.map(|own| (own.rules.name.clone(), own)));
    if store.is_none() && !context.report.has_errors() {
        let waits = |(_, issuer): &(&String, &Arc<Issuer>)| issuer.accept_new_keys != Acceptance::Immediately;
        for (name, _) in issuers.iter().filter(waits) {
            let at = at.key("issuers").key(name).key("accept_new_keys");
            context.report.mend(&at, "who would remember which keys are known? this needs a `store`", "add `store: sqlite:doorward.db`");
        }
    }
    let traces = traces.and_then(|raw| traces::traces(raw, &at.key("traces"), context));
    let sealer = seal_keys_file.and_then(|written| context.seal_keys(&at.key("seal_keys_file"), &written));
    let limits = self::limits(limits, &at.key("limits"), context);
    if context.report.has_errors() {
        return None;
    }
    let (files, hash) = (std::mem::take(&mut context.files), context.hash.0);
    Some(Config {
        public_url: public_url?,
        allow_hosts,
        listeners,
        admin,
        upgrade,
        audit,
        sealer,
        log: self::log(log),
        traces,
        limits,
        dpop,
        store,
        assertion_keys,
        signed_metadata,
        signals,
        authorization_server,
        clients,
        issuers,
        routes,
        files,
        hash,
    })
}

impl<'a> Context<'a> {
    pub fn new(env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { env, report: Report::default(), files: Vec::new(), issuers: Vec::new(), hash: Fnv::default() }
    }

    /// The text of a configuration file.
    fn text(&mut self, path: &Path) -> Option<String> {
        let seen = Seen::now(path);
        match std::fs::read_to_string(path) {
            Ok(text) => {
                self.files.push(seen);
                self.hash.add(text.as_bytes());
                Some(text)
            }
            Err(error) => {
                let next = match error.kind() {
                    std::io::ErrorKind::NotFound => " (`--config` names another; `doorward serve --upstream URL` needs none)",
                    _ => "",
                };
                let message = format!("cannot read this file: {}{next}", files::io_words(&error));
                self.report.file(&path.display().to_string(), message);
                None
            }
        }
    }

    /// A key of the contract that this version does not have: refused, never ignored.
    fn later(&mut self, at: &At<'_>, key: &str, value: Option<Later>) {
        if let Some(Later) = value {
            self.report.mend(&at.key(key), format!("`{key}` is not yet in this version"), "remove the key");
        }
    }

    /// A key that must be there, or a section that must hold something. Told at the place that
    /// lacks it, unless it is there and was found broken.
    fn missing_key(&mut self, at: &At<'_>, key: &str, hint: &str) {
        let here = at.key(key);
        if self.report.is_told(&here.path) {
            return;
        }
        match here.is_there() {
            true => self.report.mend(&here, format!("`{key}` is empty"), hint),
            false => self.report.mend(at, format!("`{key}` is missing"), hint),
        }
    }

    /// A list that, where it stands, names something.
    fn strings(&mut self, raw: Option<Strings>, at: &At<'_>) -> Vec<String> {
        let Some(Strings(all)) = raw else { return Vec::new() };
        if all.is_empty() {
            self.report.mend(at, "the list is empty", "name something, or remove the key");
        }
        for (index, text) in all.iter().enumerate() {
            if text.is_empty() {
                self.report.error(&at.item(index), "an empty text names nothing");
            } else if all.iter().take(index).any(|before| before == text) {
                self.report.error(&at.item(index), format!("`{text}` stands here twice"));
            }
        }
        all
    }
}

fn folder(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

fn public_origin(raw: Option<String>, at: &At<'_>, context: &mut Context<'_>) -> Option<String> {
    let Some(text) = raw else {
        context.missing_key(at, "public_url", "the origin that clients type: `public_url: https://mcp.example.com`");
        return None;
    };
    let at = at.key("public_url");
    let url = web::origin(&text, &at, &mut context.report)?;
    if url.scheme() == "http" && !web::is_loopback(&url) {
        let hint = "use https; where TLS ends before doorward, write the https origin that clients type";
        context.report.mend(&at, format!("`{text}` is plain http off loopback, where tokens could be read"), hint);
    }
    Some(text)
}

/// Hosts with or without a port, as they stand in `Host`.
fn hosts(raw: Option<Strings>, at: &At<'_>, context: &mut Context<'_>) -> Vec<String> {
    let hosts = context.strings(raw, at);
    for (index, host) in hosts.iter().enumerate() {
        if host.is_empty() || !host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']')) {
            let hint = "write it as clients send it: `doorward.internal:8443`; there are no wildcards";
            context.report.mend(&at.item(index), format!("`{host}` is not a host"), hint);
        }
    }
    hosts
}

fn log(raw: Option<RawLog>) -> Log {
    match raw {
        None | Some(RawLog::Auto) => Log::Auto,
        Some(RawLog::Text) => Log::Text,
        Some(RawLog::Json) => Log::Json,
    }
}

fn limits(raw: Option<RawLimits>, at: &At<'_>, context: &mut Context<'_>) -> Limits {
    let default = Limits::default();
    let Some(raw) = raw else { return default };
    let RawLimits {
        connections,
        headers,
        header_count,
        header_timeout,
        body_timeout,
        idle_timeout,
        depth,
        batch,
        token_cache,
        drain_timeout,
        streams_per_subject,
        tasks,
    } = raw;
    context.later(at, "streams_per_subject", streams_per_subject);
    context.later(at, "tasks", tasks);
    let report = &mut context.report;
    Limits {
        connections: quantity::count(connections, default.connections, &at.key("connections"), report),
        headers: quantity::size(headers, default.headers, &at.key("headers"), report),
        header_count: quantity::count(header_count, default.header_count, &at.key("header_count"), report),
        header_timeout: quantity::duration(header_timeout, default.header_timeout, &at.key("header_timeout"), report),
        body_timeout: quantity::duration(body_timeout, default.body_timeout, &at.key("body_timeout"), report),
        idle_timeout: quantity::duration(idle_timeout, default.idle_timeout, &at.key("idle_timeout"), report),
        depth: quantity::count(depth, default.depth, &at.key("depth"), report),
        batch: quantity::count(batch, default.batch, &at.key("batch"), report),
        token_cache: quantity::count(token_cache, default.token_cache, &at.key("token_cache"), report),
        drain_timeout: quantity::duration(drain_timeout, default.drain_timeout, &at.key("drain_timeout"), report),
    }
}

/// FNV-1a in 64 bits: the same in every build, so that replicas can be compared.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// One text; two texts never hash like one.
    fn add(&mut self, text: &[u8]) {
        for byte in text.iter().copied().chain([0xFF]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
