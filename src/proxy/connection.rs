//! One client connection: counted against the cap, its heads read under our own deadlines, one
//! request after the other. HTTP/2 connections are handed to the framework with bounded settings.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::listeners::tls::Acceptor;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::protocols::{ALPN, Stream, l4};
use pingora::server::ShutdownWatch;
use tokio::sync::Semaphore;

use super::gathered::Gathered;
use super::head::{self, NoHead};
use super::peer::Peer;
use super::proxy_protocol::{self, Said};
use super::server::told_to_stop;
use super::{Gateway, exchange, record};
use crate::config::{Limits, Listener, Trusted};
use crate::denial::Denial;
use crate::tls::Certificates;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Streams open at once on one HTTP/2 connection.
const H2_STREAMS: u32 = 100;

/// What accepts connections of one listener.
pub struct Door {
    gateway: Arc<Gateway>,
    tls: Option<Arc<Certificates>>,
    places: Arc<Semaphore>,
    h2c: bool,
    trusted: Arc<Trusted>,
    proxy_protocol: bool,
}

impl Door {
    pub fn new(gateway: Arc<Gateway>, places: Arc<Semaphore>, tls: Option<Arc<Certificates>>, listener: &Listener) -> Self {
        let (h2c, trusted) = (listener.h2c && listener.tls.is_none(), Arc::new(listener.trusted.clone()));
        Self { gateway, tls, places, h2c, trusted, proxy_protocol: listener.proxy_protocol }
    }
}

#[async_trait]
impl ServerApp for Door {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let Ok(_place) = self.places.clone().try_acquire_owned() else {
            self.gateway.metrics.connection_refused();
            return None;
        };
        let _open = self.gateway.metrics.connection();
        let limits = self.limits();
        let (mut stream, peer) = tokio::time::timeout(limits.header_timeout, Box::pin(self.greet(stream))).await.ok()??;
        if stream.selected_alpn_proto() == Some(ALPN::H2) || self.h2c && begins_with_preface(&mut stream, &limits).await? {
            let connection = Arc::new(Http2::new(self.gateway.clone(), peer, limits, self.h2c));
            return tokio::select! {
                biased;
                done = connection.process_new(stream, shutdown) => done,
                () = connection.stays_silent() => None,
            };
        }
        self.http1(Gathered::over(stream), &peer, shutdown).await;
        None
    }
}

impl Door {
    /// As they are now: a reload changes them for the next head.
    fn limits(&self) -> Limits {
        self.gateway.state.current().config.limits
    }

    /// PROXY protocol and TLS. The caller's deadline is that of a head: the framework's own is a
    /// minute, and before the cap.
    async fn greet(&self, stream: Stream) -> Option<(Stream, Peer)> {
        let mut bare = stream.into_any().downcast::<l4::stream::Stream>().ok()?;
        let mut peer = Peer::of(&bare, &self.trusted);
        if self.proxy_protocol {
            self.introduced(&mut bare, &mut peer).await?;
        }
        let Some(tls) = &self.tls else { return Some((bare, peer)) };
        let served = tls.current();
        let acceptor = Acceptor::from_server_config(served.config.clone());
        let stream: Stream = Box::new(acceptor.tls_handshake(*bare).await.ok()?);
        peer.after_handshake(&stream, &served);
        Some((stream, peer))
    }

    /// SECURITY: without a whole, well-formed header from a trusted peer there is no connection.
    async fn introduced(&self, bare: &mut l4::stream::Stream, peer: &mut Peer) -> Option<()> {
        let refused = self.gateway.metrics.proxy_header_refused();
        if !peer.is_trusted() {
            return None;
        }
        match proxy_protocol::take(bare).await? {
            Said::Client(address) => peer.address = Some(address),
            Said::Nobody => {}
        }
        refused.forget();
        Some(())
    }

    async fn http1(&self, mut stream: Box<Gathered>, peer: &Peer, shutdown: &ShutdownWatch) {
        let mut stopped = pin!(told_to_stop(&self.gateway.closing));
        let mut alarm = pin!(tokio::time::sleep(self.limits().idle_timeout));
        loop {
            let limits = self.limits();
            let head = tokio::select! {
                biased;
                head = head::read(&mut stream, &limits, alarm.as_mut()) => head,
                () = &mut stopped => return,
            };
            let head = match head {
                Ok(head) => head,
                Err(NoHead::Quiet) => return,
                Err(NoHead::Denied(fault)) => {
                    let denial = Denial::from(fault);
                    record::refused_head(&self.gateway, peer.source(), &denial);
                    let _ = head::refuse(&mut stream, &denial).await;
                    return;
                }
            };
            let mut session = ServerSession::new_http1(stream);
            session.set_keepalive(Some(60));
            session.set_pipelined_prefix(head);
            let reused = exchange::run(&self.gateway, peer, session, shutdown).await;
            let Some(same) = reused.and_then(|reused| Gathered::of(reused.consume().0)) else { return };
            stream = same;
        }
    }
}

/// Whether the client speaks HTTP/2 by prior knowledge; none where it says nothing in time.
async fn begins_with_preface(stream: &mut Stream, limits: &Limits) -> Option<bool> {
    let mut first = [0; PREFACE.len()];
    match tokio::time::timeout(limits.header_timeout, stream.try_peek(&mut first)).await {
        Ok(Ok(peeked)) => Some(peeked && first == *PREFACE),
        Ok(Err(_)) | Err(_) => None,
    }
}

/// One HTTP/2 connection, driven by the framework.
struct Http2 {
    gateway: Arc<Gateway>,
    peer: Peer,
    limits: Limits,
    options: HttpServerOptions,
    begun: AtomicBool,
}

impl Http2 {
    fn new(gateway: Arc<Gateway>, peer: Peer, limits: Limits, h2c: bool) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2c = h2c;
        options.h2_idle_timeout = Some(limits.idle_timeout);
        Self { gateway, peer, limits, options, begun: AtomicBool::new(false) }
    }

    /// Ends when no request has come in the time of a head: the framework waits for a preface, and
    /// for the end of a first head, without a limit of its own.
    async fn stays_silent(&self) {
        tokio::time::sleep(self.limits.header_timeout).await;
        if self.begun.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl HttpServerApp for Http2 {
    async fn process_new_http(self: &Arc<Self>, session: ServerSession, shutdown: &ShutdownWatch) -> Option<ReusedHttpStream> {
        self.begun.store(true, Ordering::Relaxed);
        exchange::run(&self.gateway, &self.peer, session, shutdown).await
    }

    // Whoever sets one of these options sets all: the framework's own bounds are its defaults' only.
    fn h2_options(&self) -> Option<H2Options> {
        let mut options = default_h2_options();
        options.max_header_list_size(u32::try_from(self.limits.headers).unwrap_or(u32::MAX));
        options.max_concurrent_streams(H2_STREAMS);
        options.max_concurrent_reset_streams(16);
        options.initial_window_size(256 << 10);
        options.initial_connection_window_size(1 << 20);
        options.max_send_buffer_size(256 << 10);
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}
