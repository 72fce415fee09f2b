//! Who may tell of sessions and accounts that have ended, and how: one resolved entry of `signals`.

use std::sync::Arc;
use std::time::Duration;

use super::{KeySource, KeyTimes, Secret};
use crate::governance::Acceptance;
use crate::governance::signal::{Kind, LogoutRules, Mapping, SenderRules, SetRules};
use crate::route::{Inlet, Rate};
use crate::token::IssuerRules;

/// One sender of signals. At least one of `push`, `poll`, `revoke` and `logout` is there; `events` wherever the first two are,
/// and `transmitter` wherever one of its own keys signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The key in the configuration.
    pub name: Arc<str>,
    /// Whose tokens it ends; never none.
    pub issuers: Vec<Arc<IssuerRules>>,
    pub mapping: Mapping,
    pub transmitter: Option<Transmitter>,
    pub events: Option<Events>,
    /// Security event tokens that are sent here (RFC 8935).
    pub push: Option<SignalEndpoint>,
    /// Security event tokens that are fetched (RFC 8936).
    pub poll: Option<Poll>,
    /// Global Token Revocation. Always with a secret, or with rules for the sender's own tokens.
    pub revoke: Option<SignalEndpoint>,
    pub logout: Option<Logout>,
    /// Requests from one address.
    pub rate: Rate,
}

/// What is demanded of security event tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events {
    pub rules: SetRules,
    /// Kinds that have an effect.
    pub accepted: Vec<Kind>,
}

/// Whose keys sign event tokens and requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmitter {
    /// Its `iss`.
    pub issuer: Arc<str>,
    /// Discovery is that of SSF 1.0 §7.1.
    pub keys: KeySource,
    pub times: KeyTimes,
    /// Plain http off loopback was allowed by the operator.
    pub allow_http: bool,
    pub accept_new_keys: Acceptance,
}

impl Transmitter {
    /// What its keys are remembered by: those of an issuer of the same name are others.
    pub fn surface(&self) -> String {
        format!("signals:{}", self.issuer)
    }
}

/// A path of ours at `public_url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalEndpoint {
    pub path: String,
    /// What the sender shows as its bearer token.
    pub token: Option<Secret>,
    /// A JWT of its own instead, made for each request.
    pub jwt: Option<SenderRules>,
}

/// Where events are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    pub url: String,
    /// Shown as bearer token.
    pub token: Secret,
    /// How long the transmitter may take to answer when it has nothing.
    pub wait: Duration,
}

/// OpenID Connect Back-Channel Logout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logout {
    pub path: String,
    pub rules: LogoutRules,
}

impl Signal {
    /// Where its requests come in, and which of its ways each path is.
    pub fn inlets(&self) -> impl Iterator<Item = (&str, Inlet)> {
        let push = self.push.as_ref().map(|endpoint| (endpoint.path.as_str(), Inlet::Push));
        let revoke = self.revoke.as_ref().map(|endpoint| (endpoint.path.as_str(), Inlet::Revoke));
        let logout = self.logout.as_ref().map(|logout| (logout.path.as_str(), Inlet::Logout));
        push.into_iter().chain(revoke).chain(logout)
    }
}
