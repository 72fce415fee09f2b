//! One client connection: counted against the cap, its heads read under our own deadlines, one
//! request after the other. HTTP/2 connections are handed to the framework with bounded settings.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::listeners::tls::Acceptor;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::protocols::{ALPN, Stream, l4};
use pingora::server::ShutdownWatch;
use tokio::sync::Semaphore;

use super::head::{self, NoHead};
use super::server::told_to_stop;
use super::{Gateway, exchange, record};
use crate::config::Limits;
use crate::denial::Denial;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Streams open at once on one HTTP/2 connection.
const H2_STREAMS: u32 = 100;

/// What accepts connections of one listener.
pub struct Door {
    app: Arc<App>,
    tls: Option<Acceptor>,
    places: Arc<Semaphore>,
    h2c: bool,
}

impl Door {
    pub fn new(gateway: Arc<Gateway>, places: Arc<Semaphore>, tls: Option<Acceptor>, h2c: bool, limits: Limits) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2c = h2c;
        options.h2_idle_timeout = Some(limits.idle_timeout);
        Self { app: Arc::new(App { gateway, options, limits }), tls, places, h2c }
    }
}

#[async_trait]
impl ServerApp for Door {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let metrics = &self.app.gateway.metrics;
        let Ok(_place) = self.places.clone().try_acquire_owned() else {
            metrics.connection_refused();
            return None;
        };
        let _open = metrics.connection();
        let mut stream = self.handshake(stream).await?;
        if stream.selected_alpn_proto() == Some(ALPN::H2) || self.h2c && begins_with_preface(&mut stream, &self.app.limits).await? {
            return self.app.process_new(stream, shutdown).await;
        }
        self.http1(stream, shutdown).await;
        None
    }
}

impl Door {
    /// TLS, under the deadline of a head: the framework's own is a minute, and before the cap.
    async fn handshake(&self, stream: Stream) -> Option<Stream> {
        let Some(tls) = &self.tls else { return Some(stream) };
        let bare = stream.into_any().downcast::<l4::stream::Stream>().ok()?;
        let handshake = tokio::time::timeout(self.app.limits.header_timeout, tls.tls_handshake(*bare));
        Some(Box::new(handshake.await.ok()?.ok()?))
    }

    async fn http1(&self, mut stream: Stream, shutdown: &ShutdownWatch) {
        loop {
            let head = tokio::select! {
                biased;
                head = head::read(&mut stream, &self.app.limits) => head,
                () = told_to_stop(shutdown) => return,
            };
            let head = match head {
                Ok(head) => head,
                Err(NoHead::Quiet) => return,
                Err(NoHead::Denied(fault)) => {
                    let denial = Denial::from(fault);
                    record::refused_head(&self.app.gateway, record::peer(&stream), &denial);
                    let _ = head::refuse(&mut stream, &denial).await;
                    return;
                }
            };
            let mut session = ServerSession::new_http1(stream);
            session.set_keepalive(Some(60));
            session.set_pipelined_prefix(head);
            match self.app.process_new_http(session, shutdown).await {
                Some(reused) => (stream, _) = reused.consume(),
                None => return,
            }
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

/// What answers the requests of a connection.
struct App {
    gateway: Arc<Gateway>,
    options: HttpServerOptions,
    limits: Limits,
}

#[async_trait]
impl HttpServerApp for App {
    async fn process_new_http(self: &Arc<Self>, session: ServerSession, shutdown: &ShutdownWatch) -> Option<ReusedHttpStream> {
        exchange::run(&self.gateway, session, shutdown).await
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
