//! What is sent on: to which address, with which headers, and when it may be sent again.
//!
//! The bytes are the ones that were judged. A call is sent once; only what changes nothing is sent
//! again, and only where a pooled connection turned out to be dead before anything was answered.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use pingora::utils::tls::{WrappedX509, parse_x509};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::record::Tale;
use super::response::Plan;
use crate::denial::Fault;
use crate::identity;
use crate::pipeline::{Admitted, Release};
use crate::route::{Address, Head, Route, Upstream};

/// Shorter than the 5 s of Node's and uvicorn's servers, which close without a word.
const IDLE: Duration = Duration::from_secs(4);
const CONNECT: Duration = Duration::from_secs(3);
/// A name is resolved again after this time, off the request path.
const RESOLVE: Duration = Duration::from_secs(30);
const POOL: usize = 1_024;
const H2_STREAMS: usize = 100;

/// A request as it goes to the upstream.
pub struct Outgoing {
    header: RequestHeader,
    body: Bytes,
    target: Arc<Route>,
}

/// An upstream that has answered with a head.
pub struct Reached {
    pub session: HttpSession,
    pub peer: Arc<HttpPeer>,
}

impl Outgoing {
    /// SECURITY: the only way to a request for an upstream takes the proof that it was released.
    pub fn new(
        _: &Release,
        route: &Arc<Route>,
        head: &Head<'_>,
        admitted: &Admitted,
        trace: Option<&str>,
        body: Bytes,
    ) -> Result<Self, Fault> {
        let header = build(route, head, admitted, trace, body.len()).ok_or(Fault::Internal)?;
        Ok(Self { header, body, target: route.clone() })
    }
}

/// Client headers pass unless they are hop-by-hop, ours, a credential, or an identity header in any spelling.
fn build(route: &Route, head: &Head<'_>, admitted: &Admitted, trace: Option<&str>, length: usize) -> Option<RequestHeader> {
    let upstream = &route.upstream;
    let mut header = RequestHeader::build("POST", upstream.path.as_bytes(), Some(head.headers.len() + 6)).ok()?;
    let nominated = nominated(head);
    for (name, value) in head.headers {
        let text = name.as_str();
        if is_ours(text) || nominated.iter().any(|nominated| nominated.eq_ignore_ascii_case(text)) || route.identity.strips(text) {
            continue;
        }
        header.append_header(name.clone(), value.clone()).ok()?;
    }
    header.insert_header(HOST, upstream.authority.as_str()).ok()?;
    header.insert_header(CONTENT_TYPE, "application/json").ok()?;
    header.insert_header(CONTENT_LENGTH, HeaderValue::from(length)).ok()?;
    header.insert_header(ACCEPT_ENCODING, "identity").ok()?;
    header.insert_header("X-Forwarded-For", identity::forwarded_for(head.source)).ok()?;
    if let Some(trace) = trace {
        header.insert_header("traceparent", format!("00-{trace}-{:016x}-01", span(head))).ok()?;
    }
    for (name, value) in route.identity.values(&admitted.verified.principal) {
        header.insert_header(HeaderName::from_bytes(name.as_bytes()).ok()?, value).ok()?;
    }
    if let Some(credential) = &upstream.credential {
        let mut value = HeaderValue::from_str(credential.reveal()).ok()?;
        value.set_sensitive(true);
        header.insert_header(HeaderName::from_bytes(credential.header.as_bytes()).ok()?, value).ok()?;
    }
    Some(header)
}

/// A child span, different for each request.
fn span(head: &Head<'_>) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(head.received).max(1)
}

/// Headers that the client nominated as hop-by-hop (RFC 9110 §7.6.1).
fn nominated(head: &Head<'_>) -> Vec<String> {
    let lists = head.headers.get_all(http::header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(|name| name.trim().to_owned()).collect()
}

/// Hop-by-hop, framing, and what this version keeps to itself: sessions are not carried yet.
fn is_ours(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "host"
            | "content-length"
            | "content-type"
            | "content-encoding"
            | "expect"
            | "accept-encoding"
            | "origin"
            | "referer"
            | "traceparent"
            | "mcp-session-id"
            | "last-event-id"
            | "doorward-request-id"
            | "max-forwards"
            | "via"
    ) || name.starts_with("sec-")
        || name.starts_with("access-control-")
}

/// Pools of connections to all upstreams, and their resolved addresses.
pub struct Upstreams {
    connector: Connector,
    peers: RwLock<HashMap<(Address, bool), Known>>,
}

#[derive(Clone)]
struct Known {
    peer: Arc<HttpPeer>,
    resolved: Instant,
}

impl Upstreams {
    pub fn new() -> Self {
        Self { connector: Connector::new(Some(ConnectorOptions::new(POOL))), peers: RwLock::default() }
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
        outgoing: Outgoing,
        downstream: &mut ServerSession,
        plan: &Plan<'_>,
        tale: &mut Tale<'_>,
    ) -> Result<Reached, Fault> {
        let waiting = Instant::now();
        let result = tokio::select! {
            biased;
            result = tokio::time::timeout(plan.route.limits.timeout, self.send(&outgoing, plan.repeatable)) => match result {
                Ok(result) => result,
                Err(_) => Err(Fault::UpstreamTimeout),
            },
            _ = gone(downstream) => Err(Fault::ClientGone),
        };
        tale.waited(waiting);
        result
    }

    async fn send(&self, outgoing: &Outgoing, repeatable: bool) -> Result<Reached, Fault> {
        let peer = self.peer(&outgoing.target.upstream).await?;
        loop {
            let (mut session, reused) = self.connector.get_http_session(&*peer).await.map_err(|error| {
                tracing::warn!(upstream = %outgoing.target.name, error = %error.etype().as_str(), "upstream cannot be reached");
                Fault::UpstreamUnreachable
            })?;
            match attempt(&mut session, outgoing).await {
                Ok(()) => return Ok(Reached { session, peer }),
                Err(_) if reused && repeatable => {}
                Err(error) => {
                    tracing::warn!(upstream = %outgoing.target.name, error = %error.etype().as_str(), "upstream failed");
                    return Err(Fault::UpstreamUnreachable);
                }
            }
        }
    }

    /// Takes back a connection whose answer was read to its end.
    pub async fn release(&self, reached: Reached) {
        self.connector.release_http_session(reached.session, &*reached.peer, Some(IDLE)).await;
    }

    async fn peer(&self, upstream: &Upstream) -> Result<Arc<HttpPeer>, Fault> {
        let key = (upstream.address.clone(), upstream.http2);
        let known = self.peers.read().ok().and_then(|peers| peers.get(&key).cloned());
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
            peers.insert(key, Known { peer: peer.clone(), resolved: Instant::now() });
        }
        Ok(peer)
    }
}

async fn attempt(session: &mut HttpSession, outgoing: &Outgoing) -> pingora::Result<()> {
    let mut header = outgoing.header.clone();
    if matches!(session, HttpSession::H2(_)) {
        for_h2(&mut header, &outgoing.target.upstream);
    }
    session.write_request_header(Box::new(header)).await?;
    session.write_request_body(outgoing.body.clone(), true).await?;
    session.finish_request_body().await?;
    loop {
        session.read_response_header().await?;
        // Interim answers (RFC 9110 §15.2) are not for the client: it was told to go on already.
        if !session.response_header().is_some_and(|header| header.status.is_informational()) {
            return Ok(());
        }
    }
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

fn trust_anchors(path: &std::path::Path) -> Option<Arc<[WrappedX509]>> {
    let certificates = CertificateDer::pem_file_iter(path).ok()?;
    let wrapped: Result<Vec<_>, _> = certificates.map(|der| der.map(|der| WrappedX509::new(der.to_vec(), parse_x509))).collect();
    wrapped.ok().filter(|all| !all.is_empty()).map(Arc::from)
}

/// Ends when the client has gone, and never otherwise.
pub async fn gone(downstream: &mut ServerSession) {
    while let Ok(Some(_) | None) = downstream.read_body_or_idle(true).await {
        if downstream.is_http2() {
            std::future::pending::<()>().await;
        }
    }
}
