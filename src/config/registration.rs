//! How clients come to be known that nobody configured, and those that somebody did: resolved.

use std::time::Duration;

use ipnet::IpNet;

use super::Secret;
use crate::oauth::client_id;
use crate::route::Rate;

/// Whether clients may make themselves known, and what they may do then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Off,
    /// They wait until somebody approves them.
    Approval,
    /// They may go on at once, but for those that look like others.
    Open,
}

/// The section `registration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Those that publish a document.
    pub documents: Admission,
    /// Those that register (RFC 7591).
    pub dynamic: Admission,
    /// Whose documents are fetched; none is everyone's.
    pub hosts: Option<Vec<String>>,
    /// Networks that documents may be fetched from besides public ones.
    pub networks: Vec<IpNet>,
    /// Documents on this machine too, with plain http.
    pub loopback: bool,
    /// Registrations of one address.
    pub rate: Rate,
    /// What whoever registers shows (RFC 7591 §3).
    pub token: Option<Secret>,
    /// How long a client is kept that nobody has approved and nobody uses.
    pub keep: Duration,
    /// Clients at most that made themselves known.
    pub most: usize,
}

impl Default for Registration {
    fn default() -> Self {
        Self {
            documents: Admission::Approval,
            dynamic: Admission::Approval,
            hosts: None,
            networks: Vec::new(),
            loopback: false,
            rate: Rate { count: 10, per: Duration::from_secs(60) },
            token: None,
            keep: Duration::from_secs(30 * 24 * 3600),
            most: 5_000,
        }
    }
}

impl Registration {
    /// Whether a document of this host may be fetched.
    pub fn trusts(&self, host: &str) -> bool {
        self.hosts.as_ref().is_none_or(|hosts| hosts.iter().any(|pattern| client_id::host_fits(pattern, host)))
    }
}
