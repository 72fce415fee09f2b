//! Where operators connect: who is at the other end, as far as the connection tells.
//!
//! TLS is shaken apart from accepting, so that nobody who is slow keeps others waiting. Connections are bounded in number and
//! in the time they may say nothing. Knows no HTTP.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;

use crate::certificate::subjects;
use crate::tls::{Certificates, Protocols};

/// The router speaks no other.
pub const PROTOCOLS: Protocols = &[b"http/1.1"];
/// Connections at once; further ones wait.
const MOST: usize = 256;
/// For a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Without a byte from the other end; longer than any answer takes.
const IDLE: Duration = Duration::from_secs(150);
/// After a failure to accept, for want of descriptors perhaps.
const RETRY: Duration = Duration::from_millis(500);

/// From where a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    Address(IpAddr),
    /// A user of this machine, by a Unix socket; none where the system does not say.
    User(Option<u32>),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::User(Some(uid)) => write!(f, "uid {uid}"),
            Self::User(None) => f.write_str("an unknown user"),
        }
    }
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub struct Peer {
    pub source: Source,
    /// Our own address, where it is no Unix socket.
    pub local: Option<IpAddr>,
    pub is_tls: bool,
    /// At a Unix socket, the user that runs this process, by the system's word.
    pub is_owner: bool,
    /// What a verified client certificate says its subject is.
    pub subjects: Arc<[String]>,
}

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A socket that listens.
pub enum Socket {
    Tcp(TcpListener, Option<Arc<Certificates>>),
    Unix(UnixListener),
}

/// Connections that are ready to be served.
pub struct Door(mpsc::Receiver<(Link, Peer)>);

impl Door {
    /// Accepts until it is dropped.
    pub fn open(socket: Socket) -> Self {
        let (ready, door) = mpsc::channel(1);
        tokio::spawn(async move {
            tokio::select! {
                () = ready.closed() => {}
                () = accept(&socket, &ready) => {}
            }
        });
        Self(door)
    }
}

impl Listener for Door {
    type Io = Link;
    type Addr = Peer;

    async fn accept(&mut self) -> (Link, Peer) {
        match self.0.recv().await {
            Some(ready) => ready,
            // The accepting task ends after this.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

async fn accept(socket: &Socket, ready: &mpsc::Sender<(Link, Peer)>) {
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let accepted = match socket {
            Socket::Tcp(listener, tls) => listener.accept().await.map(|(stream, _)| {
                let (tls, ready) = (tls.clone(), ready.clone());
                tokio::spawn(async move {
                    let greeted = tokio::time::timeout(HANDSHAKE, greet(stream, tls.as_deref())).await;
                    if let Ok(Some((stream, peer))) = greeted {
                        let _ = ready.send((Link::new(stream, place), peer)).await;
                    }
                });
            }),
            Socket::Unix(listener) => match listener.accept().await {
                Ok((stream, _)) => {
                    let peer = user(&stream);
                    let _ = ready.send((Link::new(Box::new(stream), place), peer)).await;
                    Ok(())
                }
                Err(error) => Err(error),
            },
        };
        if let Err(error) = accepted {
            tracing::warn!(%error, "the admin listener cannot accept");
            tokio::time::sleep(RETRY).await;
        }
    }
}

async fn greet(stream: TcpStream, tls: Option<&Certificates>) -> Option<(Box<dyn Stream>, Peer)> {
    let (source, local) = (stream.peer_addr().ok()?.ip().to_canonical(), stream.local_addr().ok()?.ip().to_canonical());
    let peer = Peer { source: Source::Address(source), local: Some(local), is_tls: false, is_owner: false, subjects: Arc::default() };
    let Some(tls) = tls else { return Some((Box::new(stream), peer)) };
    let stream = TlsAcceptor::from(tls.current().config.clone()).accept(stream).await.ok()?;
    let own = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let subjects = own.map(|own| subjects(own)).unwrap_or_default().into();
    Some((Box::new(stream), Peer { is_tls: true, subjects, ..peer }))
}

/// SECURITY: by the system's word alone.
fn user(stream: &UnixStream) -> Peer {
    let uid = stream.peer_cred().ok().map(|peer| peer.uid());
    let is_owner = uid.is_some() && uid == own_user();
    Peer { source: Source::User(uid), local: None, is_tls: false, is_owner, subjects: Arc::default() }
}

/// By a connection of our own to ourselves.
fn own_user() -> Option<u32> {
    let (one, _other) = UnixStream::pair().ok()?;
    one.peer_cred().ok().map(|own| own.uid())
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection that ends when nothing comes for long.
pub struct Link {
    stream: Box<dyn Stream>,
    idle: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Link {
    fn new(stream: Box<dyn Stream>, place: OwnedSemaphorePermit) -> Self {
        Self { stream, idle: Box::pin(tokio::time::sleep(IDLE)), _place: place }
    }
}

impl AsyncRead for Link {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Pending => this.idle.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into())),
            ready => {
                this.idle.as_mut().reset(Instant::now() + IDLE);
                ready
            }
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
