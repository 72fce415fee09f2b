//! One command that shows the door at work: a sample MCP server, an issuer of its own, and a
//! transcript that a person can follow and repeat by curl; and beside them an account, for any MCP client to sign in with.
//!
//! Nothing here guards anything real. All of it listens on loopback only and ends with the process;
//! the gateway itself is started by whoever calls [`start_neighbours`], from [`config::Folder`].

pub mod config;
pub mod issuer;
pub mod sign_in;
pub mod transcript;
pub mod upstream;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Which ports of 127.0.0.1 to use; zero for any that is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    pub gateway: u16,
    pub admin: u16,
    pub issuer: u16,
    pub upstream: u16,
}

/// Where everything in a running demo is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    pub gateway: SocketAddr,
    pub admin: SocketAddr,
    pub issuer: SocketAddr,
    pub upstream: SocketAddr,
    /// The gateway's audit log.
    pub audit: PathBuf,
}

impl Addresses {
    /// The resource identifier: what clients type, and what tokens name as their audience.
    pub fn resource(&self) -> String {
        format!("http://{}/mcp", self.gateway)
    }

    /// The same server for clients that sign in at the gateway itself.
    pub fn own_resource(&self) -> String {
        format!("http://{}/mine", self.gateway)
    }

    /// The issuer identifier.
    pub fn issuer(&self) -> String {
        format!("http://{}", self.issuer)
    }
}

/// Why the demo did not work.
#[derive(Debug)]
pub enum Failure {
    Io {
        what: &'static str,
        source: io::Error,
    },
    /// An address that others could reach.
    NotLoopback(SocketAddr),
    /// No key could be made.
    Key,
    /// No answer at all.
    Http {
        step: String,
        source: reqwest::Error,
    },
    /// An answer that is not what the step is to show.
    Unexpected {
        step: String,
        wanted: String,
        found: String,
    },
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io { what, source } => write!(f, "cannot {what}: {source}"),
            Self::NotLoopback(address) => write!(f, "the demo listens on loopback only, not on `{address}`"),
            Self::Key => write!(f, "cannot make a signing key"),
            Self::Http { step, source } => write!(f, "step `{step}`: no answer: {source}"),
            Self::Unexpected { step, wanted, found } => write!(f, "step `{step}`: expected {wanted}, found {found}"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Http { source, .. } => Some(source),
            Self::NotLoopback(_) | Self::Key | Self::Unexpected { .. } => None,
        }
    }
}

/// What the steps are taken with.
fn http_client() -> Result<reqwest::Client, Failure> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).redirect(reqwest::redirect::Policy::none());
    client.build().map_err(|source| Failure::Http { step: "start".into(), source })
}

/// The running sample server and issuer, and the folder with the gateway's configuration.
#[derive(Debug)]
pub struct Neighbours {
    pub addresses: Addresses,
    pub folder: config::Folder,
    upstream: Serving,
    issuer: Serving,
}

impl Neighbours {
    /// Lets requests in flight end, then stops both servers. The folder goes when this is dropped.
    pub async fn stop(self) {
        self.upstream.stop().await;
        self.issuer.stop().await;
    }
}

/// Starts the sample server and the issuer, chooses ports for the gateway, and writes its configuration.
pub async fn start_neighbours(ports: Ports, keep: bool) -> Result<Neighbours, Failure> {
    let upstream = listen(ports.upstream).await?;
    let issuer = listen(ports.issuer).await?;
    // Held until both are known, so that they differ; the gateway binds them a moment later.
    let gateway = listen(ports.gateway).await?;
    let admin = listen(ports.admin).await?;
    let mut addresses = Addresses {
        gateway: address(&gateway)?,
        admin: address(&admin)?,
        issuer: address(&issuer)?,
        upstream: address(&upstream)?,
        audit: PathBuf::new(),
    };
    drop((gateway, admin));
    let folder = config::Folder::create(&addresses, keep)?;
    addresses.audit = folder.audit();
    let upstream = Serving::start(upstream, upstream::router())?;
    let issuer = Serving::start(issuer, issuer::router(addresses.issuer())?)?;
    Ok(Neighbours { addresses, folder, upstream, issuer })
}

async fn listen(port: u16) -> Result<TcpListener, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|source| Failure::Io { what: "listen on 127.0.0.1", source })
}

fn address(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    listener.local_addr().map_err(|source| Failure::Io { what: "read a listener's address", source })
}

/// A server in this process, with a way to stop it.
#[derive(Debug)]
pub struct Serving {
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl Serving {
    /// SECURITY: neither server asks who is calling, so an address off loopback is refused.
    pub fn start(listener: TcpListener, router: Router) -> Result<Self, Failure> {
        let here = address(&listener)?;
        if !here.ip().is_loopback() {
            return Err(Failure::NotLoopback(here));
        }
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = axum::serve(listener, router).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        Ok(Self { stop, task: tokio::spawn(serve.into_future()) })
    }

    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_off_loopback_is_refused() {
        let listener = TcpListener::bind("0.0.0.0:0").await.expect("a port");
        assert!(matches!(Serving::start(listener, upstream::router()), Err(Failure::NotLoopback(_))));
    }

    #[tokio::test]
    async fn neighbours_answer_until_they_are_stopped_and_their_folder_goes() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let neighbours = start_neighbours(Ports::default(), false).await.expect("started");
        let metadata = format!("{}/.well-known/oauth-authorization-server", neighbours.addresses.issuer());
        assert_eq!(reqwest::get(&metadata).await.expect("an answer").status(), 200);
        let folder = neighbours.folder.path().to_owned();
        assert!(folder.join("doorward.yaml").is_file());
        neighbours.stop().await;
        assert!(reqwest::get(&metadata).await.is_err());
        assert!(!folder.exists());
    }
}
