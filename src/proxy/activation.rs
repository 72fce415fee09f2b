//! Listening sockets that a supervisor opened and holds (systemd socket activation, `sd_listen_fds(3)`).
//!
//! The supervisor keeps them open over a restart, so whoever connects meanwhile waits and is not refused. Each socket
//! belongs to the listener of its address; one that no listener names is an error, for nobody would ever answer there.

use std::env;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use super::upgrade::Sockets;
use crate::config::{Config, ListenAddress};

/// Sockets that one process may be given.
const MOST: usize = 200;

/// What was handed over at the start of the process.
#[derive(Debug, Default)]
pub struct Handed {
    tcp: Vec<TcpListener>,
    unix: Vec<UnixListener>,
}

impl Handed {
    /// Takes the sockets that the environment speaks of, and the words about them out of it. For the very beginning, while
    /// the process has one thread.
    ///
    /// # Errors
    /// In words for the operator: what was handed over is no listening stream socket.
    pub fn take() -> Result<Self, String> {
        let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
        // SECURITY: only what is meant for this very process; a parent's variables are not.
        let meant = number("LISTEN_PID").is_some_and(|pid| u32::try_from(pid).is_ok_and(|pid| pid == std::process::id()));
        let count = number("LISTEN_FDS").unwrap_or_default();
        if !meant || count == 0 {
            return Ok(Self::default());
        }
        if count > MOST {
            return Err(format!("the supervisor hands over {count} sockets, and {MOST} is the most"));
        }
        let mut all = ListenFd::from_env();
        let mut handed = Self::default();
        for index in 0..all.len() {
            if let Ok(Some(socket)) = all.take_tcp_listener(index) {
                checked(&socket, index)?;
                handed.tcp.push(socket);
            } else if let Ok(Some(socket)) = all.take_unix_listener(index) {
                checked(&socket, index)?;
                handed.unix.push(socket);
            } else {
                return Err(format!("what the supervisor hands over as number {index} is no stream socket; use `ListenStream=`"));
            }
        }
        Ok(handed)
    }

    /// The sockets by the names of the listeners that they belong to, the admin listener's too.
    ///
    /// # Errors
    /// In words for the operator: a socket that no listener names.
    pub fn fit(self, config: &Config) -> Result<Sockets, String> {
        let mut sockets = Sockets::default();
        let name = |is_there: &dyn Fn(&ListenAddress) -> bool| {
            let listener = config.listeners.iter().map(|listener| &listener.address).find(|address| is_there(address));
            let admin = || config.admin.iter().flat_map(|admin| &admin.addresses).find(|address| is_there(address));
            listener.map(ToString::to_string).or_else(|| admin().map(admin_label))
        };
        let stray = |place: String| {
            format!("the supervisor hands over a socket at `{place}`, which no listener names; add it to `listen`, or to `admin.address`")
        };
        for socket in self.tcp {
            let told = |error: std::io::Error| format!("a socket of the supervisor cannot be used: {error}");
            let real = socket.local_addr().map_err(told)?;
            socket.set_nonblocking(true).map_err(told)?;
            let name = name(&|address| *address == ListenAddress::Tcp(real)).ok_or_else(|| stray(real.to_string()))?;
            sockets.add(name, OwnedFd::from(socket));
        }
        for socket in self.unix {
            let told = |error: std::io::Error| format!("a socket of the supervisor cannot be used: {error}");
            let real = socket.local_addr().map_err(told)?;
            socket.set_nonblocking(true).map_err(told)?;
            let path = real.as_pathname().unwrap_or(Path::new("without a path"));
            let is_same =
                |other: &Path| other == path || other.canonicalize().is_ok_and(|other| path.canonicalize().is_ok_and(|path| path == other));
            let name = name(&|address| matches!(address, ListenAddress::Unix(other) if is_same(other)));
            let name = name.ok_or_else(|| stray(format!("unix:{}", path.display())))?;
            sockets.add(name, OwnedFd::from(socket));
        }
        Ok(sockets)
    }
}

/// What the admin listener's socket is called between processes.
pub fn admin_label(address: &ListenAddress) -> String {
    format!("admin {address}")
}

/// A connection (`Accept=yes`) is not a listener.
fn checked(socket: impl AsFd, index: usize) -> Result<(), String> {
    match socket_acceptconn(socket) {
        Ok(true) => Ok(()),
        _ => Err(format!("what the supervisor hands over as number {index} does not listen; use `Accept=no`")),
    }
}
