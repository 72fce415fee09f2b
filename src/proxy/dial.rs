//! Connections to upstreams: where they are, how a request is written, and when it may be sent again.
//!
//! A call is sent once; only what changes nothing is sent again, and only where a pooled connection
//! turned out to be dead before anything was answered.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::header::HOST;
use pingora::OrErr;
use pingora::connectors::http::Connector;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client::HttpSession as Http1Session;
use pingora::protocols::{ALPN, Stream};
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy, Peer};
use pingora::utils::tls::{WrappedX509, parse_x509};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::AsyncWriteExt;

use super::record::Tale;
use super::response::Plan;
use super::upstream::Outgoing;
use crate::denial::Fault;
use crate::route::{Address, Upstream};

/// Shorter than the 5 s of Node's and uvicorn's servers, which close without a word.
const IDLE: Duration = Duration::from_secs(4);
const CONNECT: Duration = Duration::from_secs(3);
/// A name is resolved again by the first request after this time; while it cannot be, the old address serves.
const RESOLVE: Duration = Duration::from_secs(30);
const POOL: usize = 1_024;
const H2_STREAMS: usize = 100;
/// What a head usually fits in, and the longest body that is copied behind it.
const HEAD: usize = 2 << 10;
const JOINED: usize = 16 << 10;

/// An upstream that has answered with a head.
pub struct Reached {
    pub session: HttpSession,
    pub peer: Arc<HttpPeer>,
}

/// Pools of connections to all upstreams, and their resolved addresses.
pub struct Upstreams {
    /// Of HTTP/1.1 connections, which are written to here.
    streams: TransportConnector,
    /// Of connections that may be HTTP/2.
    sessions: Connector,
    peers: RwLock<HashMap<Address, Vec<Known>>>,
}

#[derive(Clone)]
struct Known {
    peer: Arc<HttpPeer>,
    http2: bool,
    resolved: Instant,
}

impl Upstreams {
    pub fn new() -> Self {
        let options = || Some(ConnectorOptions::new(POOL));
        Self { streams: TransportConnector::new(options()), sessions: Connector::new(options()), peers: RwLock::default() }
    }

    /// Forgets addresses and trust anchors, so that a new configuration is read anew.
    pub fn forget(&self) {
        if let Ok(mut peers) = self.peers.write() {
            peers.clear();
        }
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
        let result = tokio::select! {
            biased;
            result = tokio::time::timeout(plan.route.limits.timeout, self.send(&mut outgoing, plan.repeatable)) => match result {
                Ok(result) => result,
                Err(_) => Err(Fault::UpstreamTimeout),
            },
            _ = gone(downstream) => Err(Fault::ClientGone),
        };
        tale.waited(waiting);
        result
    }

    async fn send(&self, outgoing: &mut Outgoing, repeatable: bool) -> Result<Reached, Fault> {
        let peer = self.peer(&outgoing.target.upstream).await?;
        loop {
            let dialled = if outgoing.target.upstream.http2 { self.session(&peer).await } else { self.stream(&peer).await };
            let (dialled, reused) = dialled.map_err(|error| {
                tracing::warn!(upstream = %outgoing.target.name, error = %error.etype().as_str(), "upstream cannot be reached");
                Fault::UpstreamUnreachable
            })?;
            // What may be sent again is kept; what is sent once is given away.
            let header = if repeatable { outgoing.header.clone() } else { outgoing.header.take() };
            let Some(header) = header else { return Err(Fault::UpstreamUnreachable) };
            match attempt(dialled, outgoing, header).await {
                Ok(session) => return Ok(Reached { session, peer }),
                Err(_) if reused && repeatable => {}
                Err(error) => {
                    tracing::warn!(upstream = %outgoing.target.name, error = %error.etype().as_str(), "upstream failed");
                    return Err(Fault::UpstreamUnreachable);
                }
            }
        }
    }

    async fn session(&self, peer: &Arc<HttpPeer>) -> pingora::Result<(Dialled, bool)> {
        let (session, reused) = self.sessions.get_http_session(&**peer).await?;
        Ok((Dialled::Session(Box::new(session)), reused))
    }

    async fn stream(&self, peer: &Arc<HttpPeer>) -> pingora::Result<(Dialled, bool)> {
        let (stream, reused) = self.streams.get_stream(&**peer).await?;
        Ok((Dialled::Stream(stream), reused))
    }

    /// Takes back a connection whose answer was read to its end.
    pub async fn release(&self, reached: Reached) {
        let Reached { session, peer } = reached;
        match session {
            HttpSession::H1(mut session) if peer.options.alpn == ALPN::H1 => {
                session.respect_keepalive();
                if let Some(stream) = session.reuse().await {
                    self.streams.release_stream(stream, peer.reuse_hash(), Some(IDLE));
                }
            }
            other => self.sessions.release_http_session(other, &*peer, Some(IDLE)).await,
        }
    }

    async fn peer(&self, upstream: &Upstream) -> Result<Arc<HttpPeer>, Fault> {
        let known = self.peers.read().ok().and_then(|peers| {
            let known = peers.get(&upstream.address)?;
            known.iter().find(|known| known.http2 == upstream.http2).cloned()
        });
        match known {
            Some(known) if known.resolved.elapsed() < RESOLVE || !upstream.address.is_named() => return Ok(known.peer),
            _ => {}
        }
        let peer = match resolve(upstream).await {
            Some(peer) => Arc::new(peer),
            // A name that cannot be resolved just now is still where it was.
            None => match known {
                Some(known) => known.peer,
                None => return Err(Fault::UpstreamUnreachable),
            },
        };
        if let Ok(mut peers) = self.peers.write() {
            let known = peers.entry(upstream.address.clone()).or_default();
            known.retain(|known| known.http2 != upstream.http2);
            known.push(Known { peer: peer.clone(), http2: upstream.http2, resolved: Instant::now() });
        }
        Ok(peer)
    }
}

/// A connection that nothing was sent on yet.
enum Dialled {
    Stream(Stream),
    Session(Box<HttpSession>),
}

/// Sends the request and reads the head of the answer.
async fn attempt(dialled: Dialled, outgoing: &Outgoing, header: Box<RequestHeader>) -> pingora::Result<HttpSession> {
    let mut session = match dialled {
        Dialled::Stream(mut stream) => {
            write(&mut stream, &header, &outgoing.body).await.or_err(pingora::ErrorType::WriteError, "while writing the request")?;
            HttpSession::H1(Http1Session::new(stream))
        }
        Dialled::Session(mut session) => {
            let mut header = header;
            if matches!(*session, HttpSession::H2(_)) {
                for_h2(&mut header, &outgoing.target.upstream);
            }
            session.write_request_header(header).await?;
            session.write_request_body(outgoing.body.clone(), true).await?;
            session.finish_request_body().await?;
            *session
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

/// A request in one piece where it is small: one packet, and one time that the server is woken.
async fn write(stream: &mut Stream, header: &RequestHeader, body: &[u8]) -> std::io::Result<()> {
    let mut wire = BytesMut::with_capacity(HEAD + if body.len() <= JOINED { body.len() } else { 0 });
    wire.extend_from_slice(header.method.as_str().as_bytes());
    wire.extend_from_slice(b" ");
    wire.extend_from_slice(header.raw_path());
    wire.extend_from_slice(b" HTTP/1.1\r\n");
    header.header_to_h1_wire(&mut wire);
    wire.extend_from_slice(b"\r\n");
    if body.len() <= JOINED {
        wire.extend_from_slice(body);
        stream.write_all(&wire).await?;
    } else {
        stream.write_all(&wire).await?;
        stream.write_all(body).await?;
    }
    stream.flush().await
}

/// HTTP/2 names the authority in the target (RFC 9113 §8.3.1).
fn for_h2(header: &mut RequestHeader, upstream: &Upstream) {
    let scheme = if matches!(upstream.address, Address::Tls { .. }) { "https" } else { "http" };
    header.remove_header(&HOST);
    if let Ok(uri) =
        http::Uri::builder().scheme(scheme).authority(upstream.authority.as_str()).path_and_query(upstream.path.as_str()).build()
    {
        header.set_uri(uri);
    }
    header.set_version(http::Version::HTTP_2);
}

async fn resolve(upstream: &Upstream) -> Option<HttpPeer> {
    let mut peer = match &upstream.address {
        Address::Unix(path) => HttpPeer::new_uds(path.to_str()?, false, String::new()).ok()?,
        Address::Tcp { host, port } => HttpPeer::new(look_up(host, *port).await?, false, String::new()),
        Address::Tls { host, port, ca } => {
            let mut peer = HttpPeer::new(look_up(host, *port).await?, true, host.clone());
            if let Some(path) = ca {
                peer.options.ca = Some(trust_anchors(path)?);
            }
            peer
        }
    };
    let options = &mut peer.options;
    options.connection_timeout = Some(CONNECT);
    options.total_connection_timeout = Some(CONNECT);
    options.idle_timeout = Some(IDLE);
    options.max_h2_streams = H2_STREAMS;
    options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
    match (upstream.http2, &upstream.address) {
        (true, Address::Tls { .. }) => options.set_http_version(2, 1),
        (true, _) => options.set_http_version(2, 2),
        (false, _) => options.set_http_version(1, 1),
    }
    Some(peer)
}

async fn look_up(host: &str, port: u16) -> Option<std::net::SocketAddr> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    tokio::net::lookup_host((host, port)).await.ok()?.next()
}

/// None where a certificate cannot be read: the framework's own parser would panic on it.
fn trust_anchors(path: &std::path::Path) -> Option<Arc<[WrappedX509]>> {
    let mut wrapped = Vec::new();
    for der in CertificateDer::pem_file_iter(path).ok()? {
        let der = der.ok()?;
        RootCertStore::empty().add(der.clone()).ok()?;
        wrapped.push(WrappedX509::new(der.to_vec(), parse_x509));
    }
    (!wrapped.is_empty()).then(|| wrapped.into())
}

/// Ends when the client has gone, and never otherwise.
pub async fn gone(downstream: &mut ServerSession) {
    while let Ok(Some(_) | None) = downstream.read_body_or_idle(true).await {
        if downstream.is_http2() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;

    #[test]
    fn a_certificate_that_is_none_is_no_trust_anchor_and_no_panic() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let pem =
            format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", base64::prelude::BASE64_STANDARD.encode("not DER"));
        std::fs::write(file.path(), pem).expect("written");
        assert!(trust_anchors(file.path()).is_none());
        let made = rcgen::generate_simple_self_signed(vec!["ca.example".into()]).expect("made");
        std::fs::write(file.path(), made.cert.pem()).expect("written");
        assert_eq!(trust_anchors(file.path()).map(|anchors| anchors.len()), Some(1));
    }
}
