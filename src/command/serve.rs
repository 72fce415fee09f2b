//! `doorward serve`: start, reload on change and SIGHUP, stop gracefully.

use std::future::pending;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::following::Following;
use super::solo::{self, Solo};
use super::watch::Watch;
use super::{Failure, File, descriptors, log, lookout, operators, recorder, runtime, surfaces};
use crate::audit::Audit;
use crate::config::{self, Config, Problem};
use crate::event::{Act, Outcome};
use crate::metrics::Metrics;
use crate::proxy::activation::Handed;
use crate::proxy::upgrade::{self, Desk, Sockets};
use crate::proxy::{self, Running};
use crate::server::admin::{self, Admin};
use crate::server::api::{Api, Reload};
use crate::server::listen::{Door, PROTOCOLS, Peer};
use crate::signals::poll::Polling;
use crate::state::{State, environment};
use crate::tls::Certificates;

/// Editors and Kubernetes write several times; one reload is enough.
const SETTLE: Duration = Duration::from_millis(200);

/// Between two looks for issuers without keys.
const WARM: Duration = Duration::from_secs(1);

#[derive(Args)]
pub struct Serve {
    #[command(flatten)]
    file: File,
    /// Take the listeners over from the running process, which then drains and ends. Needs `upgrade.socket`.
    #[arg(long)]
    upgrade: bool,
    /// Protect this one MCP server for one person on loopback, without a configuration file.
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "upgrade"])]
    upstream: Option<String>,
    /// Where to listen, with `--upstream`.
    #[arg(long, value_name = "PORT", default_value_t = solo::PORT, requires = "upstream")]
    port: u16,
}

impl Serve {
    pub fn run(self) -> Result<(), Failure> {
        // Before there is a second thread.
        let handed = Handed::take().map_err(Failure::Impossible)?;
        let solo = self.solo()?;
        let written = solo.as_ref().map(Solo::prepare).transpose()?;
        let path = written.as_deref().unwrap_or(&self.file.config);
        let loaded = config::load(path, &environment).map_err(Failure::Problems)?;
        let handed = handed.fit(&loaded.config).map_err(Failure::Impossible)?;
        log::start(loaded.config.log);
        descriptors::tell_of_few(descriptors::raise(), loaded.config.limits.connections);
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let drain = loaded.config.limits.drain_timeout;
        let desk = loaded.config.upgrade.clone();
        if self.upgrade && desk.is_none() {
            return Err(Failure::Impossible("`--upgrade` needs `upgrade: { socket: … }` in the configuration".into()));
        }
        let metrics = Metrics::new().map_err(|error| Failure::Impossible(error.to_string()))?;
        let (audit, writers) = recorder::start(&loaded.config.audit, &metrics)?;
        let runtime = runtime()?;
        let clean = runtime.block_on(async {
            let state = Arc::new(State::new(path, loaded.config, metrics.clone()).map_err(Failure::Impossible)?);
            // Before anybody is let in: who is revoked?
            let following = Following::start(&state).await.map_err(Failure::Impossible)?;
            // Before anybody is told that we are ready: a signal that nobody waits for ends the process.
            let signals = Signals::listen()?;
            let mut up = match desk.as_deref().filter(|_| self.upgrade) {
                Some(path) => take_over(path, handed, state, metrics, audit.clone()).await,
                None => Up::at(handed, state, metrics, audit.clone()).await,
            }
            .map_err(Failure::Impossible)?;
            if let (Some(solo), Some(path)) = (&solo, &written) {
                solo.welcome(path).await?;
            }
            let desk = match desk.as_deref().map(Desk::open).transpose() {
                // It serves already, perhaps alone.
                Err(problem) if self.upgrade => {
                    tracing::error!(problem, "no later process can take over");
                    None
                }
                other => other.map_err(Failure::Impossible)?,
            };
            let begun = match up.until_told_to_stop(signals, desk).await {
                End::Stop => Instant::now(),
                End::Relieved => up.retire(drain / 2).await,
            };
            let clean = up.stop(drain.saturating_sub(begun.elapsed())).await;
            if let Some(following) = following {
                following.end().await;
            }
            Ok::<_, Failure>(clean)
        })?;
        runtime.shutdown_timeout(Duration::from_millis(100));
        audit.flush(Duration::from_secs(5));
        drop(audit);
        for writer in writers {
            let _ = writer.join();
        }
        if !clean {
            tracing::warn!("stopped with requests still in flight");
        }
        tracing::info!("stopped");
        Ok(())
    }
}

impl Serve {
    /// What `--upstream` asks for.
    fn solo(&self) -> Result<Option<Solo>, Failure> {
        let Some(upstream) = self.upstream.clone() else { return Ok(None) };
        let state = solo::state_folder(&environment)
            .ok_or_else(|| Failure::Impossible("no folder to keep accounts in: set HOME or XDG_STATE_HOME".into()))?;
        let name = environment("USER").unwrap_or_else(|| "me".into());
        Ok(Some(Solo { upstream, port: self.port, state, name }))
    }
}

/// Starts at the sockets of the running process, and sends that one home.
async fn take_over(path: &Path, handed: Sockets, state: Arc<State>, metrics: Metrics, audit: Audit) -> Result<Up, String> {
    let Some((mut sockets, predecessor)) = upgrade::ask(path).await? else {
        tracing::warn!(path = %path.display(), "no running process to take over from, starting anew");
        return Up::at(handed, state, metrics, audit).await;
    };
    // Those of the supervisor are the same ones, where both have them.
    sockets.append(handed);
    let up = Up::start_with(&mut sockets, state, metrics, audit).await?;
    // Sockets that this configuration does not name end with the running process.
    drop(sockets);
    // Whatever became of the other, these sockets are served here now.
    match predecessor.relieve().await {
        Ok(()) => tracing::info!("took over from the running process"),
        Err(problem) => tracing::error!(problem, "took over from a process that gave no answer"),
    }
    Ok(up)
}

/// What a supervisor says.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let told = |error: std::io::Error| Failure::Impossible(format!("cannot listen for signals: {error}"));
        let listen = |kind| signal(kind).map_err(told);
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }
}

/// Why serving ends.
enum End {
    Stop,
    /// Another process serves in our place.
    Relieved,
}

/// A gateway with its admin listener.
pub struct Up {
    state: Arc<State>,
    audit: Audit,
    pub running: Running,
    draining: Arc<AtomicBool>,
    admin_stop: Option<watch::Sender<()>>,
    /// Of the admin listener.
    admin_certificates: Option<Arc<Certificates>>,
    /// What the admin API asks for.
    reloads: Option<mpsc::Receiver<Reload>>,
    /// Signals that are fetched.
    polling: Option<Polling>,
}

impl Up {
    /// Everything that listens, on the current runtime.
    pub async fn start(state: Arc<State>, metrics: Metrics, audit: Audit) -> Result<Self, String> {
        Self::at(Sockets::default(), state, metrics, audit).await
    }

    /// At the sockets of a supervisor, and others beside them.
    async fn at(mut sockets: Sockets, state: Arc<State>, metrics: Metrics, audit: Audit) -> Result<Self, String> {
        Self::start_with(&mut sockets, state, metrics, audit).await
    }

    /// At sockets that were handed over, as far as they go.
    async fn start_with(sockets: &mut Sockets, state: Arc<State>, metrics: Metrics, audit: Audit) -> Result<Self, String> {
        let world = state.current();
        keep_warm(&state);
        lookout::start(state.clone(), metrics.clone(), audit.clone());
        surfaces::start(state.clone(), metrics.clone(), audit.clone());
        // The door is open before anybody is told that it is.
        let mut running = proxy::start_with(sockets, state.clone(), metrics.clone(), audit.clone(), random()).await?;
        let polling = Polling::start(running.gateway.signals.clone(), audit.clone(), metrics.clone(), random);
        let draining = Arc::new(AtomicBool::new(false));
        let (stop, stopped) = watch::channel(());
        let (reload, reloads) = mpsc::channel(1);
        let mut admin_certificates = None;
        if let Some(config) = &world.config.admin {
            admin_certificates = config.tls.as_ref().map(|tls| Certificates::load(tls, PROTOCOLS)).transpose()?.map(Arc::new);
            let api = Arc::new(Api::new(state.clone(), audit.clone(), draining.clone(), reload));
            let admin = Admin { state: state.clone(), metrics, audit: audit.clone(), draining: draining.clone() };
            for address in &config.addresses {
                let keep = world.config.upgrade.is_some();
                let socket = operators::bind(address, sockets, keep.then_some(&mut running.sockets), admin_certificates.clone())?;
                let router = admin::router(admin.clone(), api.clone()).into_make_service_with_connect_info::<Peer>();
                let mut stopped = stopped.clone();
                // Ends when the sender is gone.
                let ended = async move { while stopped.changed().await.is_ok() {} };
                tokio::spawn(async move { axum::serve(Door::open(socket), router).with_graceful_shutdown(ended).await });
                tracing::info!(%address, api = config.has_api(address), "admin listening");
            }
        }
        for address in &running.addresses {
            tracing::info!(%address, public_url = world.config.public_url, "listening");
        }
        Ok(Self {
            state,
            audit,
            running,
            draining,
            admin_stop: Some(stop),
            admin_certificates,
            reloads: Some(reloads),
            polling: Some(polling),
        })
    }

    /// Reloads on SIGHUP and on changed files; returns on SIGTERM and SIGINT, and when another process took over.
    async fn until_told_to_stop(&mut self, mut signals: Signals, desk: Option<Desk>) -> End {
        let (changed, mut changes) = mpsc::channel(1);
        let mut reloads = self.reloads.take();
        let this = &*self;
        let mut _watching = this.watch(&changed);
        // When files that have changed are looked at; whoever sends a signal meanwhile does not wait for it.
        let mut settled: Option<Instant> = None;
        let mut relieved = pin!(async {
            match desk {
                Some(desk) => desk.relieved(&this.running.sockets).await,
                None => pending().await,
            }
        });
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return End::Stop,
                _ = signals.interrupt.recv() => return End::Stop,
                () = &mut relieved => return End::Relieved,
                _ = signals.hangup.recv() => settled = None,
                Some(asked) = next(&mut reloads) => {
                    let Reload { actor, id, done } = asked;
                    let result = this.reload(&actor, Some(id));
                    if result.is_ok() {
                        _watching = this.watch(&changed);
                    }
                    let texts = |problems: Vec<Problem>| -> Vec<String> { problems.iter().map(ToString::to_string).collect() };
                    let _ = done.send(result.map(texts).map_err(texts));
                    continue;
                }
                _ = changes.recv(), if settled.is_none() => {
                    settled = Some(Instant::now() + SETTLE);
                    continue;
                }
                () = tokio::time::sleep_until(settled.unwrap_or_else(Instant::now).into()), if settled.is_some() => {
                    settled = None;
                    while changes.try_recv().is_ok() {}
                    if !this.has_changed() {
                        continue;
                    }
                }
            }
            if this.reload("files or SIGHUP", None).is_ok() {
                _watching = this.watch(&changed);
            }
        }
    }

    fn watch(&self, changed: &mpsc::Sender<()>) -> Option<Watch> {
        let files = &self.state.current().config.files;
        let watch = Watch::start(files, changed.clone());
        // What changed between the reading and the watching is looked for once; a full channel does that already.
        let _ = changed.try_send(());
        watch.inspect_err(|error| tracing::warn!(%error, "files cannot be watched; send SIGHUP after a change")).ok()
    }

    /// Something happened in a folder of the configuration; was it one of our files?
    fn has_changed(&self) -> bool {
        self.state.has_changed()
    }

    fn reload(&self, actor: &str, id: Option<String>) -> Result<Vec<Problem>, Vec<Problem>> {
        let before = self.state.current();
        let result = self.state.reload();
        self.admin_certificates.iter().for_each(|certificates| certificates.reload());
        match &result {
            Ok(warnings) => {
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                let now = self.state.current();
                warn_of_restart(&before.config, &now.config);
                self.running.reloaded(&before);
                self.record_reload(Outcome::Answered, format!("configuration {:016x}", now.config.hash), actor, id);
                tracing::info!("configuration reloaded");
            }
            Err(problems) => {
                tell(problems);
                self.record_reload(Outcome::Refused, format!("{} problems", problems.len()), actor, id);
                self.running.renew_certificates();
            }
        }
        result
    }

    fn record_reload(&self, outcome: Outcome, reason: String, actor: &str, id: Option<String>) {
        let (time, actor) = (SystemTime::now(), actor.to_owned());
        let act = Act { id, time, upstream: None, operation: "admin/reload", name: None, outcome, reason, actor };
        if self.audit.act(act).is_err() {
            tracing::warn!("the reload has no audit record: records cannot be written at present");
        }
    }

    /// Leaves new connections to the process that took over, and waits for the old ones to go. Returns
    /// when that began.
    async fn retire(&mut self, linger: Duration) -> Instant {
        let begun = Instant::now();
        tracing::info!("another process has taken over");
        // Metrics and health are the other's now.
        self.admin_stop = None;
        self.polling = None;
        self.running.retire(linger).await;
        begun
    }

    /// Stops listening, drains, ends streams.
    pub async fn stop(self, drain: Duration) -> bool {
        self.draining.store(true, Ordering::Relaxed);
        tracing::info!("stopping");
        drop(self.polling);
        self.running.stop(drain).await
    }
}

/// The next of what the admin API asks for; never comes where there is none.
async fn next(reloads: &mut Option<mpsc::Receiver<Reload>>) -> Option<Reload> {
    match reloads {
        Some(reloads) => reloads.recv().await,
        None => pending().await,
    }
}

/// Fetches keys that are not there yet without holding anything up, again and again: an issuer
/// may start later than its gateway, and a reload may bring a new one.
fn keep_warm(state: &Arc<State>) {
    let state = state.clone();
    tokio::spawn(async move {
        loop {
            let world = state.current();
            if !world.issuers.has_keys() {
                world.issuers.warm().await;
            }
            tokio::time::sleep(WARM).await;
        }
    });
}

fn tell(problems: &[Problem]) {
    tracing::error!(problems = problems.len(), "configuration not reloaded, the old one stays in use");
    for problem in problems {
        tracing::error!("{problem}");
    }
}

/// What is bound at start stays as it was.
fn warn_of_restart(before: &Config, now: &Config) {
    let same = before.listeners == now.listeners
        && operators::are_same(before.admin.as_ref(), now.admin.as_ref())
        && before.upgrade == now.upgrade
        && before.audit.file == now.audit.file
        && before.audit.checkpoints == now.audit.checkpoints
        && before.audit.stdout == now.audit.stdout
        && before.audit.export == now.audit.export
        && before.log == now.log
        && before.traces == now.traces
        && before.store == now.store
        && before.limits.connections == now.limits.connections;
    if !same {
        tracing::warn!(
            "a change of `listen`, `admin` (but for who may), `upgrade`, `audit` (but for `when_full`), `log`, `traces`, `store` or `limits.connections` takes effect at the next start"
        );
    }
}

/// Tells one process's request ids from another's.
pub fn random() -> u64 {
    let mut bytes = [0; 8];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => u64::from_ne_bytes(bytes),
        Err(_) => u64::from(std::process::id()),
    }
}
