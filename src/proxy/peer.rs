//! Who is at the other end of one connection, and for whom it speaks.
//!
//! A proxy that is trusted may speak for others; everybody else speaks for itself, and what it says
//! of others is not looked at.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};

use http::{HeaderMap, HeaderValue};
use pingora::protocols::Stream;
use pingora::protocols::l4;

use super::forwarded::{self, fingerprint};
use crate::certificate::Leaf;
use crate::config::Trusted;
use crate::denial::Fault;
use crate::identity;
use crate::route::Error;
use crate::tls::Served;

/// The other end of one connection.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// None at a Unix socket.
    pub address: Option<IpAddr>,
    pub trusted: Arc<Trusted>,
    /// Of the verified certificate that it showed in its handshake.
    certificate: Option<[u8; 32]>,
    /// The SNI that it sent, and the certificate that it was shown for it.
    asked: Option<(String, Arc<Leaf>)>,
    /// What `X-Forwarded-For` says of it, from its first request on.
    forwarded: OnceLock<Option<HeaderValue>>,
}

/// For whom one request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    pub source: IpAddr,
    /// SHA-256 of its certificate in DER (RFC 8705 §3.1).
    pub certificate: Option<[u8; 32]>,
}

impl Peer {
    pub fn of(stream: &l4::stream::Stream, trusted: &Arc<Trusted>) -> Self {
        use pingora::protocols::GetSocketDigest;
        let digest = stream.get_socket_digest();
        let address = digest.as_ref().and_then(|digest| digest.peer_addr()).and_then(|address| address.as_inet());
        Self { address: address.map(|address| address.ip().to_canonical()), trusted: trusted.clone(), ..Self::default() }
    }

    /// Adds what the handshake showed.
    pub fn after_handshake(&mut self, stream: &Stream, served: &Served) {
        let Some(session) = stream.get_ssl() else { return };
        self.certificate = session.peer_certificate_der().map(fingerprint);
        self.asked = session.server_name().and_then(|name| Some((name.to_owned(), served.leaf(name)?)));
    }

    /// May speak for others.
    pub fn is_trusted(&self) -> bool {
        self.trusted.trusts(self.address)
    }

    /// The unspecified address for a Unix socket.
    pub fn source(&self) -> IpAddr {
        self.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// For itself.
    pub fn alone(&self) -> Client {
        Client { source: self.source(), certificate: self.certificate }
    }

    /// `X-Forwarded-For` of a request that is made for `source`, which is mostly the peer itself.
    pub fn forwarded_for(&self, source: IpAddr) -> Option<HeaderValue> {
        if source != self.source() {
            return identity::forwarded_for(source);
        }
        self.forwarded.get_or_init(|| identity::forwarded_for(source)).clone()
    }

    /// For whom a request with these headers is made.
    ///
    /// SECURITY: from a trusted proxy only its headers say which certificate the client has; the
    /// proxy's own must never pass for a client's.
    pub fn client(&self, headers: &HeaderMap) -> Result<Client, Fault> {
        if !self.is_trusted() {
            return Ok(self.alone());
        }
        let source = forwarded::source(headers, &self.trusted).map_err(Fault::HeadMalformed)?;
        let certificate = forwarded::certificate(headers).map_err(Fault::HeadMalformed)?;
        Ok(Client { source: source.unwrap_or_else(|| self.source()), certificate })
    }

    /// A connection serves the host that its SNI named, and those that the same certificate is for,
    /// so that HTTP/2 connections can be shared (RFC 9110 §15.5.20, RFC 9113 §9.1.1). A trusted proxy
    /// has a handshake of its own, whose SNI is not the client's.
    pub fn serves(&self, authority: &str) -> Result<(), Error> {
        let Some((name, leaf)) = &self.asked else { return Ok(()) };
        let host = host(authority);
        if self.is_trusted() || host.eq_ignore_ascii_case(name) || leaf.covers(host) { Ok(()) } else { Err(Error::Misdirected) }
    }
}

/// An authority without its port.
fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']')) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_authority_without_its_port() {
        for (authority, expected) in [("a", "a"), ("a:1", "a"), ("[::1]:1", "[::1]"), ("[::1]", "[::1]"), ("::1", "::1"), ("a:b", "a:b")] {
            assert_eq!(host(authority), expected);
        }
    }

    #[test]
    fn a_request_is_forwarded_for_whom_it_is_made_and_no_other() {
        let peer = Peer { address: "10.0.0.1".parse().ok(), ..Peer::default() };
        for source in ["192.0.2.1", "10.0.0.1", "2001:db8::1", "10.0.0.1", "192.0.2.2"] {
            assert_eq!(peer.forwarded_for(source.parse().unwrap()).unwrap(), source);
        }
        assert_eq!(Peer::default().forwarded_for(Peer::default().source()).unwrap(), "0.0.0.0");
    }

    #[test]
    fn only_a_trusted_peer_speaks_for_others() {
        let headers: HeaderMap = [(http::HeaderName::from_static("x-forwarded-for"), "192.0.2.1".parse().unwrap())].into_iter().collect();
        let trusted = Arc::new(Trusted { networks: vec!["10.0.0.0/8".parse().unwrap()], unix: false });
        let peer =
            |address: &str| Peer { address: address.parse().ok(), trusted: trusted.clone(), certificate: Some([7; 32]), ..Peer::default() };
        let (proxy, stranger) = (peer("10.0.0.1"), peer("198.51.100.1"));
        assert_eq!(proxy.client(&headers).unwrap(), Client { source: "192.0.2.1".parse().unwrap(), certificate: None });
        assert_eq!(stranger.client(&headers).unwrap(), Client { source: "198.51.100.1".parse().unwrap(), certificate: Some([7; 32]) });
        assert_eq!(proxy.client(&HeaderMap::new()).unwrap().source, "10.0.0.1".parse::<IpAddr>().unwrap());
    }
}
