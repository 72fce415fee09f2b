//! `doorward serve`: start, reload on change and SIGHUP, stop gracefully.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::watch::Watch;
use super::{Failure, File, log, runtime};
use crate::audit::Audit;
use crate::config::{self, Config, Problem};
use crate::metrics::Metrics;
use crate::proxy::{self, Running};
use crate::server::admin::{self, Admin};
use crate::state::{State, environment};

/// Editors and Kubernetes write several times; one reload is enough.
const SETTLE: Duration = Duration::from_millis(200);

/// Between two looks for issuers without keys.
const WARM: Duration = Duration::from_secs(1);

#[derive(Args)]
pub struct Serve {
    #[command(flatten)]
    file: File,
}

impl Serve {
    pub fn run(self) -> Result<(), Failure> {
        let path = &self.file.config;
        let loaded = config::load(path, &environment).map_err(Failure::Problems)?;
        log::start(loaded.config.log);
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let drain = loaded.config.limits.drain_timeout;
        let (audit, writer) = Audit::start(loaded.config.audit.file.clone())
            .map_err(|error| Failure::Impossible(format!("cannot open the audit file: {error}")))?;
        let metrics = Metrics::new().map_err(|error| Failure::Impossible(error.to_string()))?;
        let runtime = runtime()?;
        let clean = runtime.block_on(async {
            let state = Arc::new(State::new(path, loaded.config, metrics.clone()).map_err(Failure::Impossible)?);
            let up = Up::start(state, metrics, audit.clone()).await.map_err(Failure::Impossible)?;
            up.until_told_to_stop().await?;
            Ok::<_, Failure>(up.stop(drain).await)
        })?;
        runtime.shutdown_timeout(Duration::from_millis(100));
        audit.flush(Duration::from_secs(5));
        drop(audit);
        let _ = writer.join();
        if !clean {
            tracing::warn!("stopped with requests still in flight");
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// A gateway with its admin listener.
pub struct Up {
    state: Arc<State>,
    pub running: Running,
    draining: Arc<AtomicBool>,
    _admin_stop: oneshot::Sender<()>,
}

impl Up {
    /// Everything that listens, on the current runtime.
    pub async fn start(state: Arc<State>, metrics: Metrics, audit: Audit) -> Result<Self, String> {
        let world = state.current();
        keep_warm(&state);
        // The door is open before anybody is told that it is.
        let running = proxy::start(state.clone(), metrics.clone(), audit.clone(), random()).await?;
        let draining = Arc::new(AtomicBool::new(false));
        let (stop, stopped) = oneshot::channel::<()>();
        if let Some(address) = world.config.admin {
            let told = |error: std::io::Error| format!("cannot listen on `{address}` for admin: {error}");
            let listener = tokio::net::TcpListener::bind(address).await.map_err(told)?;
            let router = admin::router(Admin { state: state.clone(), metrics, audit, draining: draining.clone() });
            let ended = async { drop(stopped.await) };
            tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(ended).await });
            tracing::info!(%address, "admin listening");
        }
        for address in &running.addresses {
            tracing::info!(%address, public_url = world.config.public_url, "listening");
        }
        Ok(Self { state, running, draining, _admin_stop: stop })
    }

    /// Reloads on SIGHUP and on changed files; returns on SIGTERM and SIGINT.
    async fn until_told_to_stop(&self) -> Result<(), Failure> {
        let told = |error: std::io::Error| Failure::Impossible(format!("cannot listen for signals: {error}"));
        let mut hangup = signal(SignalKind::hangup()).map_err(told)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(told)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(told)?;
        let (changed, mut changes) = mpsc::channel(1);
        let mut _watching = self.watch(&changed);
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                _ = hangup.recv() => {}
                _ = changes.recv() => {
                    tokio::time::sleep(SETTLE).await;
                    while changes.try_recv().is_ok() {}
                    if !self.has_changed() {
                        continue;
                    }
                }
            }
            if self.reload() {
                _watching = self.watch(&changed);
            }
        }
    }

    fn watch(&self, changed: &mpsc::Sender<()>) -> Option<Watch> {
        let files = &self.state.current().config.files;
        Watch::start(files, changed.clone())
            .inspect_err(|error| tracing::warn!(%error, "files cannot be watched; send SIGHUP after a change"))
            .ok()
    }

    /// Something happened in a folder of the configuration; was it one of our files?
    fn has_changed(&self) -> bool {
        self.state.has_changed()
    }

    fn reload(&self) -> bool {
        let before = self.state.current();
        match self.state.reload() {
            Ok(warnings) => {
                for warning in &warnings {
                    tracing::warn!("{warning}");
                }
                let now = self.state.current();
                warn_of_restart(&before.config, &now.config);
                self.running.reloaded();
                tracing::info!("configuration reloaded");
                true
            }
            Err(problems) => {
                tell(&problems);
                false
            }
        }
    }

    /// Stops listening, drains, ends streams.
    pub async fn stop(self, drain: Duration) -> bool {
        self.draining.store(true, Ordering::Relaxed);
        tracing::info!("stopping");
        self.running.stop(drain).await
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
        && before.admin == now.admin
        && before.audit.file == now.audit.file
        && before.log == now.log
        && before.traces == now.traces
        && before.limits.connections == now.limits.connections;
    if !same {
        tracing::warn!(
            "a change of `listen`, `admin`, `audit.file`, `log`, `traces` or `limits.connections` takes effect at the next start"
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
