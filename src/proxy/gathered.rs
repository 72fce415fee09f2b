//! A client's HTTP/1 connection on which what belongs together leaves in one write and arrives in one read: the head of a
//! stream with its first events, its last events with its end, the beginning of a body that came with its head with the
//! rest. The framework flushes after each of them, and hands over each by itself.

use std::fmt;
use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use pingora::protocols::http::ServerSession;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest, UniqueID,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection whose flushes can be left out (see [`hold`]), and that takes back what was read too early.
pub struct Gathered {
    stream: Stream,
    held: AtomicBool,
    early: BytesMut,
}

impl Gathered {
    pub fn over(stream: Stream) -> Box<Self> {
        Box::new(Self { stream, held: AtomicBool::new(false), early: BytesMut::new() })
    }

    /// The connection as it was before the framework had it.
    pub fn of(stream: Stream) -> Option<Box<Self>> {
        stream.into_any().downcast().ok()
    }

    /// What is read next, with whatever has arrived behind it by then.
    pub fn put_back(&mut self, early: BytesMut) {
        self.early = early;
    }
}

// What a client sent is not for a log.
impl fmt::Debug for Gathered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gathered").field("stream", &self.stream).field("early", &self.early.len()).finish_non_exhaustive()
    }
}

/// Whether what is written to the client waits for what is written after it. Who holds a write lets go before the next one,
/// which must follow at once and sends both. Means nothing on HTTP/2.
pub fn hold(session: &ServerSession, held: bool) {
    let ServerSession::H1(session) = session else { return };
    if let Some(connection) = (**session.stream()).as_any().downcast_ref::<Gathered>() {
        connection.held.store(held, Ordering::Relaxed);
    }
}

impl AsyncRead for Gathered {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buffer.remaining();
        if self.early.len() > room {
            buffer.put_slice(&self.early.split_to(room));
            return Poll::Ready(Ok(()));
        }
        // Taken whole, so that a connection at rest does not hold the head of its last request.
        buffer.put_slice(&mem::take(&mut self.early));
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            // An error behind what was put back comes again, or is the end.
            _ if buffer.remaining() < room => Poll::Ready(Ok(())),
            read => read,
        }
    }
}

impl AsyncWrite for Gathered {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[async_trait]
impl Shutdown for Gathered {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl UniqueID for Gathered {
    fn id(&self) -> i32 {
        self.stream.id()
    }
}

impl Ssl for Gathered {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.stream.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

/// Nobody looks ahead on HTTP/1: what was put back would be passed over.
impl Peek for Gathered {}

impl GetTimingDigest for Gathered {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.stream.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.stream.get_write_pending_time()
    }
}

impl GetProxyDigest for Gathered {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.stream.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Gathered {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.stream.set_socket_digest(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn connection(early: &[u8]) -> (Box<Gathered>, tokio::io::DuplexStream) {
        let (own, other) = tokio::io::duplex(100);
        let mut connection = Gathered::over(Box::new(own));
        connection.put_back(early.into());
        (connection, other)
    }

    #[tokio::test]
    async fn what_was_put_back_comes_first_and_with_what_has_arrived_since() {
        let (mut connection, mut client) = connection(b"early").await;
        client.write_all(b", late").await.unwrap();
        let mut read = BytesMut::with_capacity(50);
        connection.read_buf(&mut read).await.unwrap();
        assert_eq!(read, "early, late");
    }

    #[tokio::test]
    async fn what_was_put_back_waits_for_nothing() {
        let (mut connection, client) = connection(b"early").await;
        let mut read = [0; 3];
        assert_eq!(connection.read(&mut read).await.unwrap(), 3);
        assert_eq!(connection.read(&mut read).await.unwrap(), 2);
        assert_eq!(&read, b"lyr");
        drop(client);
        assert_eq!(connection.read(&mut read).await.unwrap(), 0);
        assert_eq!(connection.early.capacity(), 0);
    }

    #[tokio::test]
    async fn a_connection_that_ended_gives_what_was_put_back() {
        let (mut connection, client) = connection(b"early").await;
        drop(client);
        let mut read = Vec::new();
        connection.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"early");
    }

    #[tokio::test]
    async fn what_a_client_sent_is_not_shown() {
        let (connection, _client) = connection(b"secret").await;
        assert!(!format!("{connection:?}").contains("secret"), "{connection:?}");
    }
}
