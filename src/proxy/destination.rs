//! Where one server is, and how a connection there is made: what the framework's connectors ask about it.
//!
//! Two answers are given faster than its own peer gives them, because they are asked for every call.

use std::fmt;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use pingora::protocols::l4::socket::SocketAddr;
use pingora::upstreams::peer::{HttpPeer, Peer, PeerOptions, Proxy};
use pingora::utils::tls::CertKey;

/// A server's address with all that a connection there is made with. Cloning shares it.
#[derive(Clone)]
pub struct Destination(Arc<Place>);

struct Place {
    peer: HttpPeer,
    /// Of everything that makes one connection differ from another.
    hash: u64,
}

impl Destination {
    pub fn new(peer: HttpPeer) -> Self {
        Self(Arc::new(Place { hash: peer.reuse_hash(), peer }))
    }
}

impl Deref for Destination {
    type Target = HttpPeer;

    fn deref(&self) -> &HttpPeer {
        &self.0.peer
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.peer.fmt(f)
    }
}

impl Peer for Destination {
    fn address(&self) -> &SocketAddr {
        self.0.peer.address()
    }

    fn tls(&self) -> bool {
        self.0.peer.tls()
    }

    fn sni(&self) -> &str {
        self.0.peer.sni()
    }

    fn reuse_hash(&self) -> u64 {
        self.0.hash
    }

    fn get_proxy(&self) -> Option<&Proxy> {
        self.0.peer.get_proxy()
    }

    fn get_peer_options(&self) -> Option<&PeerOptions> {
        self.0.peer.get_peer_options()
    }

    /// Pooled connections are found by the hash, and own their socket: no other can have come in its place. The
    /// framework would ask the kernel for the address of each one before each call.
    fn matches_fd<V: AsRawFd>(&self, _: V) -> bool {
        true
    }

    fn get_client_cert_key(&self) -> Option<&Arc<CertKey>> {
        self.0.peer.get_client_cert_key()
    }
}
