//! Binds the listeners, serves until told to stop, and drains.

use std::io;
use std::os::fd::IntoRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::server::{Fds, ListenFds, ShutdownWatch};
use pingora::services::Service as _;
use pingora::services::listening::Service;
use tokio::net::TcpSocket;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use super::connection::Door;
use super::dial::Upstreams;
use super::record::Ids;
use super::tls::{self, Certificate};
use crate::advice::Advisor;
use crate::audit::Audit;
use crate::config::{ListenAddress, Listener, Tls};
use crate::limit::Limiter;
use crate::metrics::Metrics;
use crate::state::State;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4_096;
/// Buffers of a connection; the framework's 64 KiB for reading would stay resident for each idle one,
/// and heads and bodies are read into buffers of their own. A head and a small body leave together.
const READ_BUFFER: usize = 0;
const WRITE_BUFFER: usize = 2 << 10;

/// Everything that serves requests.
pub struct Gateway {
    pub state: Arc<State>,
    pub metrics: Metrics,
    pub audit: Audit,
    pub limiter: Limiter,
    pub upstreams: Upstreams,
    pub ids: Ids,
    pub advisor: Advisor,
    /// A client that takes no byte for this long is given up.
    pub write_timeout: Duration,
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
    certificates: Vec<(Arc<Certificate>, Tls)>,
    stop: watch::Sender<bool>,
    landed: mpsc::Receiver<()>,
    services: Vec<JoinHandle<()>>,
}

/// Binds every listener and begins to serve on the current runtime.
pub async fn start(state: Arc<State>, metrics: Metrics, audit: Audit, process: u64) -> Result<Running, String> {
    let world = state.current();
    let limits = world.config.limits;
    let (flights, landed) = mpsc::channel(1);
    let (stop, stopping) = watch::channel(false);
    let gateway = Arc::new(Gateway {
        state,
        metrics,
        audit,
        limiter: Limiter::default(),
        upstreams: Upstreams::new(),
        ids: Ids::new(process),
        advisor: Advisor::default(),
        write_timeout: limits.idle_timeout,
        flights,
    });
    let places = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let mut running = Running { gateway: gateway.clone(), addresses: vec![], certificates: vec![], stop, landed, services: vec![] };
    for listener in &world.config.listeners {
        let bound = bind(listener).await?;
        running.addresses.extend(bound.address);
        let endpoint = bound.endpoint.l4_buffer(L4BufferSettings::new(READ_BUFFER, WRITE_BUFFER));
        let mut acceptor = None;
        if let Some(tls) = &listener.tls {
            let certificate = Arc::new(Certificate::load(tls)?);
            running.certificates.push((certificate.clone(), tls.clone()));
            acceptor = Some(tls::acceptor(certificate)?);
        }
        let door = Door::new(gateway.clone(), places.clone(), acceptor, listener.h2c && listener.tls.is_none());
        let mut service = Service::new("doorward".into(), door);
        service.add_listener(endpoint);
        let (fds, stopping) = (bound.fds, stopping.clone());
        running.services.push(tokio::spawn(async move { service.start_service(Some(fds), stopping, 1).await }));
    }
    Ok(running)
}

/// Ends when the server is told to stop.
pub async fn told_to_stop(shutdown: &ShutdownWatch) {
    let mut shutdown = shutdown.clone();
    // An error means that nobody is left to tell: stop as well.
    drop(shutdown.wait_for(|stop| *stop).await);
}

impl Running {
    /// Takes over what a new configuration changed outside the snapshot: certificates and addresses.
    pub fn reloaded(&self) {
        self.gateway.upstreams.forget();
        for (certificate, tls) in &self.certificates {
            if let Err(problem) = certificate.reload(tls) {
                tracing::error!(problem, "certificate not reloaded, the old one stays in use");
            }
        }
    }

    /// Closes the listeners, ends streams, and waits for requests in flight, but not longer than
    /// `deadline`. Returns whether all had ended.
    pub async fn stop(mut self, deadline: Duration) -> bool {
        let _ = self.stop.send(true);
        let drain = async {
            for service in self.services.drain(..) {
                let _ = service.await;
            }
            // Every connection task holds the gateway; when the last request and this end let go of
            // their senders, the channel closes.
            drop(self.gateway);
            self.landed.recv().await;
        };
        tokio::time::timeout(deadline, drain).await.is_ok()
    }
}

struct Bound {
    endpoint: ListenerConfig,
    address: Option<std::net::SocketAddr>,
    fds: ListenFds,
}

/// Binds here and hands the socket over, because the framework panics on an address in use.
async fn bind(listener: &Listener) -> Result<Bound, String> {
    let mut fds = Fds::new();
    let (endpoint, address) = match &listener.address {
        ListenAddress::Tcp(address) => {
            let told = |error: io::Error| format!("cannot listen on `{address}`: {error}");
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(told)?;
            socket.set_reuseaddr(true).map_err(told)?;
            socket.bind(*address).map_err(told)?;
            let bound = socket.listen(BACKLOG).and_then(tokio::net::TcpListener::into_std).map_err(told)?;
            let real = bound.local_addr().map_err(told)?;
            fds.add(real.to_string(), bound.into_raw_fd());
            (ListenerConfig::tcp(real.to_string()), Some(real))
        }
        ListenAddress::Unix(path) => {
            let told = |error: io::Error| format!("cannot listen on `{}`: {error}", path.display());
            remove_stale(path).map_err(told)?;
            let bound = std::os::unix::net::UnixListener::bind(path).map_err(told)?;
            bound.set_nonblocking(true).map_err(told)?;
            // Whoever may reach the socket may reach the door; its group is the operator's choice.
            let mode = std::fs::Permissions::from_mode(0o660);
            std::fs::set_permissions(path, mode.clone()).map_err(told)?;
            let name = path.to_str().ok_or("the path of a socket must be UTF-8")?;
            fds.add(name.to_owned(), bound.into_raw_fd());
            (ListenerConfig::uds(name).permissions(mode), None)
        }
    };
    Ok(Bound { endpoint, address, fds: Arc::new(Mutex::new(fds)) })
}

/// Removes the socket of a process that is gone; anything else at the path is left alone.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() && std::os::unix::net::UnixStream::connect(path).is_err() => std::fs::remove_file(path),
        _ => Ok(()),
    }
}
