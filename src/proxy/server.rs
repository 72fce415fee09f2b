//! Binds the listeners, serves until told to stop, and drains.

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::server::{Fds, ListenFds, ShutdownWatch};
use pingora::services::Service as _;
use pingora::services::listening::Service;
use tokio::net::TcpSocket;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use super::attention::{Introduced, Mirrors};
use super::connection::Door;
use super::dial::Upstreams;
use super::record::Ids;
use super::upgrade::Sockets;
use crate::advice::Advisor;
use crate::audit::Audit;
use crate::config::{ListenAddress, Listener};
use crate::governance::Observed;
use crate::insist::Insistence;
use crate::limit::Limiter;
use crate::metrics::Metrics;
use crate::remote::collector::Collector;
use crate::server::authorization::Server as Authorization;
use crate::session::begun::Begun;
use crate::signals::Receiver;
use crate::state::{Snapshot, State};
use crate::streams::{self, Streams};
use crate::tls::Certificates;

/// HTTP/2 where the client offers it.
const PROTOCOLS: crate::tls::Protocols = &[b"h2", b"http/1.1"];
/// Connections that wait to be accepted.
const BACKLOG: u32 = 4_096;
/// From taking a connection to counting it, at most.
const UNCOUNTED: Duration = Duration::from_millis(200);
/// Buffers of a connection; the framework's 64 KiB for reading would stay resident for each idle one,
/// and heads and bodies are read into buffers of their own. A head and a small body leave together.
const READ_BUFFER: usize = 0;
const WRITE_BUFFER: usize = 2 << 10;

/// How long a stop waits for the collector to take the last spans.
const FLUSH: Duration = Duration::from_secs(2);

/// Everything that serves requests.
pub struct Gateway {
    pub state: Arc<State>,
    pub metrics: Metrics,
    pub audit: Audit,
    pub limiter: Limiter,
    /// Challenges that went out without effect.
    pub insistence: Insistence,
    pub upstreams: Upstreams,
    /// Open streams, to be ended from outside.
    pub streams: Arc<Streams>,
    pub ids: Ids,
    /// Where spans go; none are made without it.
    pub traces: Option<Collector>,
    pub advisor: Advisor,
    /// Where signals from outside come in.
    pub signals: Arc<Receiver>,
    /// Where tokens are issued.
    pub authorization: Arc<Authorization>,
    /// Who used what, where that is written down.
    pub observed: Option<Arc<Observed>>,
    /// What upstreams said of themselves.
    pub introduced: Introduced,
    /// What their tools want in headers.
    pub mirrors: Mirrors,
    /// The tasks of callers.
    pub begun: Begun,
    /// A client that takes no byte for this long is given up.
    pub write_timeout: Duration,
    /// Set when idle connections and streams are to end.
    pub closing: ShutdownWatch,
    flights: mpsc::Sender<()>,
}

impl Gateway {
    /// Counts a request in flight until the guard is dropped.
    pub fn in_flight(&self) -> mpsc::Sender<()> {
        self.flights.clone()
    }
}

/// A serving gateway.
pub struct Running {
    pub gateway: Arc<Gateway>,
    /// Where each TCP listener really listens.
    pub addresses: Vec<std::net::SocketAddr>,
    /// The listening sockets, for the next process; none unless an upgrade is configured.
    pub sockets: Sockets,
    /// By the listener's label.
    certificates: Vec<(String, Arc<Certificates>)>,
    places: Arc<Semaphore>,
    most_connections: u32,
    stop: watch::Sender<bool>,
    close: watch::Sender<bool>,
    landed: mpsc::Receiver<()>,
    services: Vec<JoinHandle<()>>,
}

/// Binds every listener and begins to serve on the current runtime.
pub async fn start(state: Arc<State>, metrics: Metrics, audit: Audit, process: u64) -> Result<Running, String> {
    start_with(&mut Sockets::default(), state, metrics, audit, process).await
}

/// Begins to serve at listening sockets that were handed over, and binds those that were not.
pub async fn start_with(
    inherited: &mut Sockets,
    state: Arc<State>,
    metrics: Metrics,
    audit: Audit,
    process: u64,
) -> Result<Running, String> {
    let world = state.current();
    let limits = world.config.limits;
    let (flights, landed) = mpsc::channel(1);
    let (stop, stopping) = watch::channel(false);
    let (close, closing) = watch::channel(false);
    let lost = metrics.clone();
    let collector = |traces| Collector::start(traces, format!("{process:016x}"), move |requests| lost.traces_dropped(requests));
    let traces = world.config.traces.as_ref().map(collector).transpose().map_err(|error| error.to_string())?;
    let authorization = Arc::new(Authorization::new(state.clone(), audit.clone()));
    authorization.open().await.map_err(|error| format!("cannot issue tokens: {error}"))?;
    let signals = Arc::new(Receiver::new(state.clone(), metrics.clone(), audit.clone()));
    let gateway = Arc::new(Gateway {
        observed: world.observed.clone(),
        state,
        signals,
        authorization,
        upstreams: Upstreams::new(metrics.clone()),
        streams: Arc::default(),
        metrics,
        audit,
        limiter: Limiter::default(),
        insistence: Insistence::default(),
        ids: Ids::new(process),
        traces,
        advisor: Advisor::default(),
        introduced: Introduced::default(),
        mirrors: Mirrors::default(),
        begun: Begun::default(),
        write_timeout: limits.idle_timeout,
        closing,
        flights,
    });
    gateway.upstreams.keep(world.routes.routes());
    let most_connections = u32::try_from(limits.connections).unwrap_or(u32::MAX >> 4);
    let places = Arc::new(Semaphore::new(usize::try_from(most_connections).unwrap_or(Semaphore::MAX_PERMITS)));
    let mut running = Running {
        gateway: gateway.clone(),
        addresses: vec![],
        sockets: Sockets::default(),
        certificates: vec![],
        places: places.clone(),
        most_connections,
        stop,
        close,
        landed,
        services: vec![],
    };
    let keep = world.config.upgrade.is_some();
    for listener in &world.config.listeners {
        let label = listener.address.to_string();
        let bound = bind(listener, inherited.take(&label), keep)?;
        running.addresses.extend(bound.address);
        if let Some(kept) = bound.kept {
            running.sockets.add(label.clone(), kept);
        }
        let endpoint = bound.endpoint.l4_buffer(L4BufferSettings::new(READ_BUFFER, WRITE_BUFFER));
        let tls = listener.tls.as_ref().map(|tls| Certificates::load(tls, PROTOCOLS)).transpose()?.map(Arc::new);
        running.certificates.extend(tls.clone().map(|tls| (label, tls)));
        let door = Door::new(gateway.clone(), places.clone(), tls, listener);
        let mut service = Service::new("doorward".into(), door);
        service.add_listener(endpoint);
        let (fds, stopping) = (bound.fds, stopping.clone());
        running.services.push(tokio::spawn(async move { service.start_service(Some(fds), stopping, 1).await }));
    }
    running.tell_expiry();
    Ok(running)
}

/// Ends when the server is told to stop.
pub async fn told_to_stop(shutdown: &ShutdownWatch) {
    let mut shutdown = shutdown.clone();
    // An error means that nobody is left to tell: stop as well.
    drop(shutdown.wait_for(|stop| *stop).await);
}

impl Running {
    /// Takes over what a new configuration changed outside the snapshot: certificates, addresses, and
    /// streams that could not be opened any more.
    pub fn reloaded(&self, before: &Snapshot) {
        let now = self.gateway.state.current();
        self.gateway.upstreams.keep(now.routes.routes());
        self.renew_certificates();
        let lost = streams::lost(before.routes.routes(), now.routes.routes());
        let ended: usize = lost.into_iter().map(|hit| self.gateway.streams.end(hit, "reload", Instant::now())).sum();
        if ended > 0 {
            tracing::info!(streams = ended, "streams ended with what they were opened under");
        }
    }

    /// Reads certificates and authorities again, also where the rest of the configuration is broken.
    pub fn renew_certificates(&self) {
        for (_, certificates) in &self.certificates {
            certificates.reload();
        }
        self.tell_expiry();
    }

    fn tell_expiry(&self) {
        for (label, certificates) in &self.certificates {
            if let Some(not_after) = certificates.not_after() {
                self.gateway.metrics.certificate_ends(label, not_after);
            }
        }
    }

    /// Stops accepting because another process does it now. Whoever is connected is served on and told
    /// to connect anew with its next answer; this returns when all have gone, or after `linger`.
    pub async fn retire(&mut self, linger: Duration) {
        let _ = self.stop.send(true);
        self.sockets.clear();
        let gone = async {
            for service in &mut self.services {
                let _ = service.await;
            }
            // A connection that was taken in the last moment is not counted at once.
            tokio::time::sleep(UNCOUNTED).await;
            drop(self.places.acquire_many(self.most_connections).await);
        };
        drop(tokio::time::timeout(linger, gone).await);
        self.services.retain(|service| !service.is_finished());
    }

    /// Closes the listeners, ends streams, and waits for requests in flight, but not longer than
    /// `deadline`. Returns whether all had ended.
    pub async fn stop(mut self, deadline: Duration) -> bool {
        let _ = self.stop.send(true);
        let _ = self.close.send(true);
        self.sockets.clear();
        let traces = self.gateway.traces.clone();
        let drain = async {
            for service in self.services.drain(..) {
                let _ = service.await;
            }
            // Every connection task holds the gateway; when the last request and this end let go of
            // their senders, the channel closes.
            drop(self.gateway);
            self.landed.recv().await;
        };
        let clean = tokio::time::timeout(deadline, drain).await.is_ok();
        if let Some(traces) = traces {
            traces.flush(FLUSH).await;
        }
        clean
    }
}

struct Bound {
    endpoint: ListenerConfig,
    address: Option<std::net::SocketAddr>,
    fds: ListenFds,
    /// The same socket once more, to be handed over.
    kept: Option<OwnedFd>,
}

/// Binds here and hands the socket over, because the framework panics on an address in use.
fn bind(listener: &Listener, inherited: Option<OwnedFd>, keep: bool) -> Result<Bound, String> {
    let told = |error: io::Error| format!("cannot listen on `{}`: {error}", listener.address.to_string().trim_start_matches("unix:"));
    let (endpoint, address, name, socket) = match &listener.address {
        ListenAddress::Tcp(address) => {
            let bound = inherited.map(|socket| Ok(socket.into())).unwrap_or_else(|| tcp(*address)).map_err(told)?;
            let real = bound.local_addr().map_err(told)?;
            (ListenerConfig::tcp(real.to_string()), Some(real), real.to_string(), OwnedFd::from(bound))
        }
        ListenAddress::Unix(path) => {
            let bound = inherited.map(Ok).unwrap_or_else(|| unix(path)).map_err(told)?;
            let name = path.to_str().ok_or("the path of a socket must be UTF-8")?.to_owned();
            (ListenerConfig::uds(&name).permissions(unix_mode()), None, name, bound)
        }
    };
    let kept = keep.then(|| socket.try_clone()).transpose().map_err(told)?;
    let mut fds = Fds::new();
    fds.add(name, socket.into_raw_fd());
    Ok(Bound { endpoint, address, fds: Arc::new(Mutex::new(fds)), kept })
}

/// A listening socket. Also made for the admin listener, which is handed over with the others.
pub fn tcp(address: std::net::SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

fn unix(path: &Path) -> io::Result<OwnedFd> {
    remove_stale(path)?;
    let bound = std::os::unix::net::UnixListener::bind(path)?;
    bound.set_nonblocking(true)?;
    std::fs::set_permissions(path, unix_mode())?;
    Ok(bound.into())
}

/// Whoever may reach the socket may reach the door; its group is the operator's choice.
fn unix_mode() -> std::fs::Permissions {
    std::fs::Permissions::from_mode(0o660)
}

/// Removes the socket of a process that is gone; anything else at the path is left alone.
pub fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() && std::os::unix::net::UnixStream::connect(path).is_err() => std::fs::remove_file(path),
        _ => Ok(()),
    }
}
