//! One consistent world, replaced whole.
//!
//! A request pins the [`Snapshot`] it began with for its whole life. A reload builds the next world
//! beside it; where that fails, the old one stays and says why.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::watch;

use crate::assertions::Assertions;
use crate::config::{self, Config, Problem, Seen, Severity};
use crate::governance::client::Key;
use crate::governance::{Clients, Observed, Revocations};
use crate::mcp::listing::Memo;
use crate::mcp::seal::{Owner, Sealer};
use crate::metrics::Metrics;
use crate::policy::Standing;
use crate::possession::Proofs;
use crate::remote::login::LoginGates;
use crate::remote::{BuildError, Issuers, Transmitters, UpstreamTokens};
use crate::route::{Inlet, RouteTable};
use crate::store::Store;
use crate::token::TokenCache;
use crate::vigil::Vigils;

/// Cuts of lists that are remembered, and the bytes they may take in all.
const LISTS: usize = 256;
const LIST_BYTES: usize = 16 << 20;

/// What decides: configuration, routes, keys, and what was remembered under them.
pub struct Snapshot {
    pub config: Config,
    pub routes: RouteTable,
    pub issuers: Issuers,
    /// The keys of those who send signals.
    pub transmitters: Transmitters,
    /// Where people sign in elsewhere.
    pub logins: LoginGates,
    /// Where operators sign in.
    pub admin_logins: LoginGates,
    /// What upstreams are shown where it must be obtained.
    pub upstream_tokens: UpstreamTokens,
    /// What upstreams are told of callers, signed.
    pub assertions: Assertions,
    /// Verified tokens; a new world starts with none.
    pub tokens: TokenCache,
    /// Proofs of possession; what was seen stays seen in the next world.
    pub proofs: Proofs,
    /// For nonces where the configuration names no secret. One for the life of the process.
    secret: [u8; 32],
    /// What seals that which clients bring back.
    pub sealer: Arc<Sealer>,
    /// What was revoked, where there is a store. One for the life of the process, through all reloads.
    pub revocations: Option<Arc<Revocations>>,
    /// Clients and what was decided of them, where there is a store or the configuration has some. One for the life of the process.
    pub clients: Option<Arc<Clients>>,
    /// Who used what, where there is a store to write it down in. One for the life of the process.
    pub observed: Option<Arc<Observed>>,
    /// Cut lists by upstream, standing and the changes of tools that were seen before, and those that have a next page by
    /// caller too: its cursor is the caller's own.
    pub lists: Memo<(Arc<str>, Standing, u64, Option<Owner>)>,
    /// What was seen of the tools of pinned upstreams.
    pub vigils: Vigils,
}

impl Snapshot {
    /// Builds a world; the keys of issuers that did not change are taken over from the old one.
    pub fn build(config: Config, old: Option<&Self>) -> Result<Self, BuildError> {
        let secret = old.map_or_else(random, |old| Ok(old.secret))?;
        let nonce_secret = config.dpop.secret.as_ref().map_or(secret.as_slice(), |secret| secret.reveal());
        let revocations = match old {
            Some(old) => old.revocations.clone(),
            None => config.store.as_ref().map(|store| Arc::new(Revocations::new(store.bounds))),
        };
        let clients = match old.and_then(|old| old.clients.clone()) {
            Some(clients) => Some(clients),
            None => (config.store.is_some() || !config.clients.is_empty()).then(Arc::default),
        };
        let observed = match old {
            Some(old) => old.observed.clone(),
            None => config.store.as_ref().map(|_| Arc::default()),
        };
        let issuers = Issuers::build(&config, old.map(|old| &old.issuers))?;
        Ok(Self {
            proofs: Proofs::new(config.dpop.rules.clone(), nonce_secret, old.map(|old| &old.proofs)),
            secret,
            routes: RouteTable::new(config.routes.clone())
                .with_aliases(&config.public_url, &config.allow_hosts)
                .with_assertion_keys(&config.public_url, config.signed_metadata)
                .with_signals(&config.public_url, inlets(&config))
                .with_authorization(config.authorization_server.as_deref().map(|server| &*server.issuer)),
            transmitters: Transmitters::build(&config, issuers.surfaces(), old.map(|old| &old.transmitters))?,
            issuers,
            logins: LoginGates::build(config.authorization_server.as_deref().map(|server| &server.logins), old.map(|old| &old.logins))?,
            admin_logins: LoginGates::build(
                config.admin.as_ref().and_then(|admin| admin.login.as_ref()).map(|login| &login.logins),
                old.map(|old| &old.admin_logins),
            )?,
            upstream_tokens: UpstreamTokens::build(&config, old.map(|old| &old.upstream_tokens))?,
            assertions: Assertions::build(&config, old.map(|old| &old.assertions), SystemTime::now())
                .map_err(|_| BuildError::Randomness)?,
            tokens: TokenCache::new(config.limits.token_cache, kept(&config))
                .marking(revocations.as_ref().map(|revocations| revocations.marker().clone())),
            revocations,
            clients,
            observed,
            sealer: sealer(&config, &secret)?,
            lists: Memo::new(LISTS, LIST_BYTES),
            vigils: Vigils::build(&config.routes, old.map(|old| &old.vigils)),
            config,
        })
    }
}

impl Snapshot {
    /// What is kept through all worlds follows this one's configuration from now on.
    fn rules(&self) {
        self.issuers.govern(self.transmitters.acceptance());
        if let Some(clients) = &self.clients {
            clients.configure(self.config.clients.iter().map(|configured| configured.client.clone()));
            clients.vouch(vouched(&self.config));
        }
    }
}

fn random() -> Result<[u8; 32], BuildError> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| BuildError::Randomness)?;
    Ok(bytes)
}

/// The configured keys; without them one of the process's own, which a reload keeps, so that it ends no session.
fn sealer(config: &Config, secret: &[u8; 32]) -> Result<Arc<Sealer>, BuildError> {
    match &config.sealer {
        Some(configured) => Ok(configured.clone()),
        None => Sealer::new(std::slice::from_ref(secret)).map(Arc::new).ok_or(BuildError::Randomness),
    }
}

/// The clients that the configuration approves: those that it describes, and those that workloads come as.
pub fn vouched(config: &Config) -> impl Iterator<Item = Key> {
    let server = config.authorization_server.as_deref();
    server.into_iter().flat_map(|server| {
        let workloads = server.workloads.iter().flat_map(|trusted| &trusted.rules.rules).map(|rule| &rule.client);
        server.clients.keys().chain(workloads).map(|id| Key { issuer: server.issuer.to_string(), id: id.clone() })
    })
}

/// Every path at which signals come in.
fn inlets(config: &Config) -> impl Iterator<Item = (&str, Arc<str>, Inlet)> {
    config.signals.iter().flat_map(|signal| signal.inlets().map(|(path, inlet)| (path, signal.name.clone(), inlet)))
}

/// Every claim that a rule or an identity header of any upstream asks for.
fn kept(config: &Config) -> Vec<String> {
    let mut paths: Vec<String> = config.routes.iter().flat_map(|route| route.claims()).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// The world in use and how to replace it.
pub struct State {
    current: ArcSwap<Snapshot>,
    path: PathBuf,
    metrics: Metrics,
    /// What was read at the last try.
    seen: ArcSwap<Vec<Seen>>,
    /// The open database, where there is one. One for the life of the process.
    store: OnceLock<Store>,
    /// Counts the worlds, and what was revoked in them.
    worlds: watch::Sender<u64>,
    /// What became of the last reload.
    last: ArcSwapOption<Reloaded>,
}

/// What became of a reload.
#[derive(Clone, Debug)]
pub struct Reloaded {
    pub time: SystemTime,
    /// Why the old world stayed; none where the new one is in use.
    pub problems: Vec<String>,
}

/// Reads an environment variable.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl State {
    pub fn new(path: &Path, config: Config, metrics: Metrics) -> Result<Self, String> {
        metrics.configured(&config);
        let seen = ArcSwap::from_pointee(config.files.clone());
        let first = Snapshot::build(config, None).map_err(|error| error.to_string())?;
        first.rules();
        Ok(Self {
            current: ArcSwap::from_pointee(first),
            path: path.to_owned(),
            metrics,
            seen,
            worlds: watch::Sender::new(1),
            store: OnceLock::new(),
            last: ArcSwapOption::empty(),
        })
    }

    /// Changes with each new world, and when something was revoked in it.
    pub fn worlds(&self) -> watch::Receiver<u64> {
        self.worlds.subscribe()
    }

    /// The database is open: what comes in from now on can be written down.
    pub fn opened(&self, store: Store) {
        // There is one configuration of it, and it was opened once.
        let _ = self.store.set(store);
    }

    /// The open database.
    pub fn store(&self) -> Option<&Store> {
        self.store.get()
    }

    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Tells whoever is open that something was revoked, or that it is not known any more what is.
    pub fn revoked(&self) {
        self.worlds.send_modify(|world| *world += 1);
    }

    /// What became of the last reload; none before the first.
    pub fn last_reload(&self) -> Option<Arc<Reloaded>> {
        self.last.load_full()
    }

    /// Loads the configuration anew and returns its warnings. Any problem leaves the old world as it is.
    pub fn reload(&self) -> Result<Vec<Problem>, Vec<Problem>> {
        let result = self.replace();
        let problems = result.as_ref().err().into_iter().flatten().map(ToString::to_string).collect();
        self.last.store(Some(Arc::new(Reloaded { time: SystemTime::now(), problems })));
        result
    }

    fn replace(&self) -> Result<Vec<Problem>, Vec<Problem>> {
        self.seen.store(Arc::new(self.current().config.files.iter().map(|file| Seen::now(&file.path)).collect()));
        let loaded = config::load(&self.path, &environment).inspect_err(|_| self.metrics.reloaded(false))?;
        self.seen.store(Arc::new(loaded.config.files.clone()));
        let next = Snapshot::build(loaded.config, Some(&self.current.load_full())).map_err(|error| {
            self.metrics.reloaded(false);
            vec![self.unusable(&error)]
        })?;
        next.rules();
        let next = Arc::new(next);
        self.current.store(next.clone());
        self.worlds.send_modify(|world| *world += 1);
        // Last: who sees the hash of a configuration may rely on its rules, on streams that are open too.
        self.metrics.configured(&next.config);
        self.metrics.reloaded(true);
        Ok(loaded.warnings)
    }

    fn unusable(&self, error: &BuildError) -> Problem {
        let file = self.path.display().to_string().into();
        Problem { severity: Severity::Error, file, line: 0, path: "issuers".into(), message: error.to_string(), hint: None }
    }

    /// Whether a file of the configuration is another than when it was last read.
    pub fn has_changed(&self) -> bool {
        self.seen.load().iter().any(Seen::has_changed)
    }
}
