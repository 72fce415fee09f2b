//! Listening sockets handed to the next process, so that no connection is refused between the two.
//!
//! The running process waits at a Unix socket. The next one connects, is given the sockets by name,
//! begins to serve, and says that it is ready; then the running one stops accepting and drains.
//! What waits to be accepted belongs to the socket and not to a process, so nothing is lost.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};

/// Sockets that one message may carry; the kernel's bound is 253.
const MOST: usize = 200;
/// Bytes of all names together.
const NAMES: usize = 32 << 10;
/// How long the other process may take to become ready.
const READY: Duration = Duration::from_secs(60);
/// How long one message may take.
const SOON: Duration = Duration::from_secs(5);

/// Listening sockets by the address that the configuration names.
#[derive(Debug, Default)]
pub struct Sockets(Vec<(String, OwnedFd)>);

impl Sockets {
    pub fn add(&mut self, name: String, socket: OwnedFd) {
        self.0.push((name, socket));
    }

    /// The socket for this address, if one was handed over.
    pub fn take(&mut self, name: &str) -> Option<OwnedFd> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Puts others behind these.
    pub fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// The running process, as the next one sees it.
pub struct Predecessor(UnixStream);

/// Asks the running process for its sockets. None where no process waits at the path.
///
/// # Errors
/// A process is there and does not answer as it should.
pub async fn ask(path: &Path) -> Result<Option<(Sockets, Predecessor)>, String> {
    let Ok(stream) = UnixStream::connect(path).await else { return Ok(None) };
    let told = |error: io::Error| format!("the running process gives no sockets at `{}`: {error}", path.display());
    let sockets = tokio::time::timeout(SOON, receive(&stream)).await.map_err(|_| told(io::ErrorKind::TimedOut.into()))?.map_err(told)?;
    Ok(Some((sockets, Predecessor(stream))))
}

impl Predecessor {
    /// Tells the running process to go. When this returns, its place at the path is free.
    pub async fn relieve(mut self) -> Result<(), String> {
        let relieved = async {
            self.0.write_all(b"ready\n").await?;
            let mut answer = [0; 5];
            self.0.read_exact(&mut answer).await
        };
        match tokio::time::timeout(SOON, relieved).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("the running process was not relieved: {error}")),
            Err(_) => Err("the running process was not relieved in time".into()),
        }
    }
}

/// Where the running process waits for the next.
pub struct Desk {
    listener: UnixListener,
    path: PathBuf,
    owner: u32,
}

impl Desk {
    pub fn open(path: &Path) -> Result<Self, String> {
        let told = |error: io::Error| format!("cannot wait for an upgrade at `{}`: {error}", path.display());
        super::server::remove_stale(path).map_err(told)?;
        let listener = UnixListener::bind(path).map_err(told)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(told)?;
        let owner = std::fs::metadata(path).map_err(told)?.uid();
        Ok(Self { listener, path: path.to_owned(), owner })
    }

    /// Gives the sockets to whoever asks, until one of them is ready to take over.
    pub async fn relieved(self, sockets: &Sockets) {
        loop {
            let Ok((mut stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            };
            // SECURITY: whoever holds a listening socket can answer in our name.
            if !stream.peer_cred().is_ok_and(|peer| peer.uid() == self.owner) {
                tracing::warn!("another user asked for the listening sockets and got none");
                continue;
            }
            match tokio::time::timeout(READY, hand_over(&mut stream, sockets)).await {
                Ok(Ok(())) => {
                    let _ = std::fs::remove_file(&self.path);
                    drop(self.listener);
                    let _ = stream.write_all(b"gone\n").await;
                    return;
                }
                Ok(Err(error)) => tracing::warn!(%error, "an upgrade was begun and not finished, serving on"),
                Err(_) => tracing::warn!("an upgrade was not ready in time, serving on"),
            }
        }
    }
}

async fn hand_over(stream: &mut UnixStream, sockets: &Sockets) -> io::Result<()> {
    send(stream, sockets).await?;
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await?;
    if &answer == b"ready\n" { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// One message: a line for each name, and the sockets in the same order.
async fn send(stream: &UnixStream, sockets: &Sockets) -> io::Result<()> {
    let names: String = sockets.0.iter().map(|(name, _)| format!("{name}\n")).collect();
    if sockets.0.len() > MOST || names.len() > NAMES || names.is_empty() {
        return Err(io::Error::other("too many listeners, or none"));
    }
    let fds: Vec<_> = sockets.0.iter().map(|(_, socket)| socket.as_fd()).collect();
    let sent = stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            ancillary.push(SendAncillaryMessage::ScmRights(&fds));
            Ok(sendmsg(stream, &[IoSlice::new(names.as_bytes())], &mut ancillary, SendFlags::empty())?)
        })
        .await?;
    if sent == names.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

async fn receive(stream: &UnixStream) -> io::Result<Sockets> {
    let mut names = vec![0; NAMES];
    let (length, fds) = stream
        .async_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let message = recvmsg(stream, &mut [IoSliceMut::new(&mut names)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
            let mut fds = Vec::new();
            for received in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = received {
                    fds.extend(rights);
                }
            }
            Ok((message.bytes, fds))
        })
        .await?;
    let names = names.get(..length).and_then(|names| std::str::from_utf8(names).ok()).unwrap_or_default();
    let names: Vec<_> = names.lines().map(str::to_owned).collect();
    if names.is_empty() || names.len() != fds.len() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Sockets(names.into_iter().zip(fds).collect()))
}
