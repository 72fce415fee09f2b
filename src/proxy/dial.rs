//! Connections to upstreams: how a request is written, and when it may be sent again.
//!
//! A call is sent once; only what changes nothing is sent again, and only where a pooled connection
//! turned out to be dead before anything was answered.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::{Buf, BytesMut};
use http::header::HOST;
use pingora::connectors::http::Connector;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client::HttpSession as Http1Session;
use pingora::protocols::{ALPN, Stream};
use pingora::upstreams::peer::Peer;
use pingora::{Error, ErrorType, OrErr};
use tokio::io::AsyncWriteExt;

use super::destination::Destination;
use super::pool::{Backend, Flight, Pool};
use super::record::Tale;
use super::resolve::{Resolver, System};
use super::response::Plan;
use super::upstream::Outgoing;
use crate::denial::Fault;
use crate::metrics::Metrics;
use crate::route::Route;

/// Shorter than the 5 s of Node's and uvicorn's servers, which close without a word.
pub const IDLE: Duration = Duration::from_secs(4);
pub const CONNECT: Duration = Duration::from_secs(3);
/// The same where another server may be tried.
const CONNECT_OR_TURN: Duration = Duration::from_secs(1);
/// Of one request, whatever the reason.
const TRIES: usize = 5;
const POOL: usize = 1_024;
/// What a head usually fits in, and the longest body that is copied behind it.
const HEAD: usize = 2 << 10;
const JOINED: usize = 16 << 10;

/// An upstream that has answered with a head.
pub struct Reached {
    /// On the heap: it is handed from room to room.
    pub session: Box<HttpSession>,
    pub peer: Destination,
    /// Which server it is.
    pub mark: Arc<str>,
    _flight: Flight,
}

/// Connections to all servers, kept open between requests.
pub struct Links {
    /// Of HTTP/1.1 connections, which are written to here.
    pub streams: TransportConnector,
    /// Of connections that may be HTTP/2.
    pub sessions: Connector,
}

/// All upstreams: their servers, and the connections there.
pub struct Upstreams {
    links: Arc<Links>,
    /// By the upstream's name.
    pools: ArcSwap<HashMap<Arc<str>, Arc<Pool>>>,
    resolver: Arc<dyn Resolver>,
    metrics: Metrics,
}

impl Upstreams {
    pub fn new(metrics: Metrics) -> Self {
        let options = || Some(ConnectorOptions::new(POOL));
        let links = Links { streams: TransportConnector::new(options()), sessions: Connector::new(options()) };
        Self { links: Arc::new(links), pools: ArcSwap::default(), resolver: Arc::new(System), metrics }
    }

    /// Looks after the upstreams of these routes and no others, and reads certificates anew. What did
    /// not change keeps its connections and its standing.
    pub fn keep(&self, routes: &[Arc<Route>]) {
        self.metrics.upstreams_changed();
        let keep = |route: &Arc<Route>| {
            let pool = self.find(route).inspect(|pool| pool.reload()).unwrap_or_else(|| self.make(route));
            pool.tell_all();
            (route.name.clone(), pool)
        };
        self.pools.store(Arc::new(routes.iter().map(keep).collect()));
    }

    fn find(&self, route: &Route) -> Option<Arc<Pool>> {
        let pools = self.pools.load();
        pools.get(&route.name).filter(|pool| pool.reach == route.upstream.reach).cloned()
    }

    fn make(&self, route: &Route) -> Arc<Pool> {
        let pool = Arc::new(Pool::new(route, self.metrics.clone()));
        pool.look_after(&self.links, &self.resolver);
        pool
    }

    /// Sends the request and waits for the head of the answer.
    pub async fn call(
        &self,
        mut outgoing: Outgoing,
        downstream: &mut ServerSession,
        plan: &Plan<'_>,
        tale: &mut Tale<'_>,
    ) -> Result<Reached, Fault> {
        let waiting = Instant::now();
        // Futures are pinned where they are made: whoever takes them by value copies all they have room for.
        let sending = pin!(self.send(&mut outgoing, plan.repeatable));
        let leaving = pin!(gone(downstream));
        let result = tokio::select! {
            biased;
            result = tokio::time::timeout(plan.route.limits.timeout, sending) => match result {
                Ok(result) => result,
                Err(_) => Err(Fault::UpstreamTimeout),
            },
            () = leaving => Err(Fault::ClientGone),
        };
        tale.waited(waiting);
        result
    }

    /// Where no connection opens nothing was sent, and another server is tried. What was sent is sent
    /// again only where it changes nothing: on a new connection where an old one turned out to be dead,
    /// to another server otherwise.
    async fn send(&self, outgoing: &mut Outgoing, repeatable: bool) -> Result<Reached, Fault> {
        // SECURITY: a request that began before a reload goes where its own configuration says, with the
        // credential that is meant for there; the servers are forgotten with it.
        let pool = self.find(&outgoing.target).unwrap_or_else(|| self.make(&outgoing.target));
        pool.known().await;
        let mut tried: Vec<Arc<Backend>> = Vec::new();
        let home = outgoing.home.clone();
        let mut next = pool.pick(&tried, home.as_deref());
        // The client begins anew, with a server that is there (MCP 2025-11-25 "Session Management").
        let homeless = |next: &Option<Arc<Backend>>, tried: &[Arc<Backend>]| home.is_some() && next.is_none() && pool.size() > tried.len();
        if homeless(&next, &tried) {
            return Err(Fault::UnknownSession);
        }
        let mut fresh = false;
        for attempt_left in (0..TRIES).rev() {
            let Some(backend) = next.take() else { break };
            let flight = backend.flight();
            let others = attempt_left > 0 && pool.size() > tried.len() + 1;
            match self.dial(&backend, outgoing.target.upstream.reach.http2, fresh, others).await {
                Err(error) => tell(outgoing, &error, "upstream cannot be reached"),
                Ok((dialled, reused)) => {
                    // What may be sent again is kept; what is sent once is given away.
                    let header = if repeatable { outgoing.header.clone() } else { outgoing.header.take() };
                    let Some(header) = header else { break };
                    match attempt(dialled, outgoing, header, &backend).await {
                        Ok(session) => {
                            pool.succeeded(&backend);
                            return Ok(Reached { session, peer: backend.peer.clone(), mark: backend.mark.clone(), _flight: flight });
                        }
                        // Closed while it was idle: that says nothing of the server.
                        Err(_) if reused && repeatable => {
                            fresh = true;
                            next = Some(backend);
                            continue;
                        }
                        Err(error) => tell(outgoing, &error, "upstream failed"),
                    }
                    if !repeatable {
                        if !reused {
                            pool.failed(&backend);
                        }
                        break;
                    }
                }
            }
            pool.failed(&backend);
            tried.push(backend);
            fresh = false;
            next = pool.pick(&tried, home.as_deref());
            if homeless(&next, &tried) {
                return Err(Fault::UnknownSession);
            }
        }
        Err(Fault::UpstreamUnreachable)
    }

    /// A connection to the server; a `fresh` one was not used before, where that can be told.
    async fn dial(&self, backend: &Backend, http2: bool, fresh: bool, others: bool) -> pingora::Result<(Dialled, bool)> {
        let peer = &backend.peer;
        if !http2
            && !fresh
            && let Some(stream) = self.links.streams.reused_stream(peer).await
        {
            return Ok((Dialled::Stream(stream), true));
        }
        // On the heap: it takes 9 KiB, for which the task of every connection need not make room.
        let dialled = Box::pin(async {
            if http2 {
                let (session, reused) = self.links.sessions.get_http_session(peer).await?;
                return Ok((Dialled::Session(Box::new(session)), reused));
            }
            Ok((Dialled::Stream(self.links.streams.new_stream(peer).await?), false))
        });
        if !others {
            return dialled.await;
        }
        tokio::time::timeout(CONNECT_OR_TURN, dialled).await.unwrap_or_else(|_| Error::e_explain(ErrorType::ConnectTimedout, "in a second"))
    }

    /// Takes back a connection whose answer was read to its end.
    pub async fn release(&self, reached: Reached) {
        let Reached { session, peer, _flight, .. } = reached;
        match *session {
            HttpSession::H1(mut session) if peer.options.alpn == ALPN::H1 => {
                session.respect_keepalive();
                if let Some(stream) = session.reuse().await {
                    self.links.streams.release_stream(stream, peer.reuse_hash(), Some(IDLE));
                }
            }
            other => Box::pin(self.links.sessions.release_http_session(other, &peer, Some(IDLE))).await,
        }
    }
}

fn tell(outgoing: &Outgoing, error: &Error, what: &'static str) {
    tracing::warn!(upstream = %outgoing.target.name, error = %error.etype().as_str(), "{what}");
}

/// A connection that nothing was sent on yet.
enum Dialled {
    Stream(Stream),
    Session(Box<HttpSession>),
}

/// Sends the request and reads the head of the answer.
async fn attempt(
    dialled: Dialled,
    outgoing: &Outgoing,
    mut header: Box<RequestHeader>,
    backend: &Backend,
) -> pingora::Result<Box<HttpSession>> {
    header.insert_header(HOST, backend.authority.clone())?;
    let mut session = match dialled {
        Dialled::Stream(mut stream) => {
            write(&mut stream, &header, &outgoing.body).await.or_err(pingora::ErrorType::WriteError, "while writing the request")?;
            Box::new(HttpSession::H1(Http1Session::new(stream)))
        }
        Dialled::Session(mut session) => {
            if matches!(*session, HttpSession::H2(_)) {
                for_h2(&mut header, backend, outgoing.target.upstream.path.as_str());
            }
            session.write_request_header(header).await?;
            session.write_request_body(outgoing.body.clone(), true).await?;
            session.finish_request_body().await?;
            session
        }
    };
    loop {
        session.read_response_header().await?;
        // Interim answers (RFC 9110 §15.2) are not for the client: it was told to go on already.
        if !session.response_header().is_some_and(|header| header.status.is_informational()) {
            return Ok(session);
        }
    }
}

/// A request in one write where the connection can: the server is woken once. Over TLS, which takes one piece at a time, a
/// small body goes in the record of its head.
async fn write(stream: &mut Stream, header: &RequestHeader, body: &[u8]) -> std::io::Result<()> {
    let joined = body.len() <= JOINED;
    let mut wire = BytesMut::with_capacity(HEAD + if joined { body.len() } else { 0 });
    wire.extend_from_slice(header.method.as_str().as_bytes());
    wire.extend_from_slice(b" ");
    wire.extend_from_slice(header.raw_path());
    wire.extend_from_slice(b" HTTP/1.1\r\n");
    header.header_to_h1_wire(&mut wire);
    wire.extend_from_slice(b"\r\n");
    if joined {
        wire.extend_from_slice(body);
        stream.write_all(&wire).await?;
    } else {
        stream.write_all_buf(&mut wire.chain(body)).await?;
    }
    stream.flush().await
}

/// HTTP/2 names the authority in the target (RFC 9113 §8.3.1).
pub fn for_h2(header: &mut RequestHeader, backend: &Backend, path: &str) {
    let scheme = if backend.peer.is_tls() { "https" } else { "http" };
    header.remove_header(&HOST);
    if let Ok(uri) = http::Uri::builder().scheme(scheme).authority(backend.authority.as_bytes()).path_and_query(path).build() {
        header.set_uri(uri);
    }
    header.set_version(http::Version::HTTP_2);
}

/// Ends when the client has gone, and never otherwise.
pub async fn gone(downstream: &mut ServerSession) {
    while let Ok(Some(_) | None) = downstream.read_body_or_idle(true).await {
        if downstream.is_http2() {
            std::future::pending::<()>().await;
        }
    }
}
