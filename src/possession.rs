//! Does the caller hold what the token is bound to? Asked on each request, also of a token that was verified before.
//!
//! Strings the rules of [`crate::token`] to what this process remembers of proofs and nonces. Knows
//! the head and the route, and nothing of sockets: a certificate comes in by its digest.

use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest::{Context, SHA256};
use http::HeaderMap;

use crate::route::{Head, Route};
use crate::token::dpop::{self, Expected, ProofRules, Proven};
use crate::token::proof_key::ProofKeys;
use crate::token::replay::{Bounds, Refused, Use};
use crate::token::{Digest, Error, Flaw, Nonces, Replay, Scheme, Thumbprint, Verified};

/// Rules for proofs, and what was seen under them.
#[derive(Debug)]
pub struct Proofs {
    rules: ProofRules,
    /// Where a nonce is demanded.
    nonces: Option<Nonces>,
    /// One for the life of the process, through all reloads.
    replay: Arc<Replay>,
    /// Likewise.
    keys: Arc<ProofKeys>,
}

impl Proofs {
    /// Nonces are made under `secret`; proofs that the `old` one saw stay seen.
    pub fn new(rules: ProofRules, secret: &[u8], old: Option<&Self>) -> Self {
        let nonces = rules.nonce.then(|| Nonces::new(secret, rules.window));
        let (replay, keys) = old.map(|old| (old.replay.clone(), old.keys.clone())).unwrap_or_default();
        Self { rules, nonces, replay, keys }
    }

    /// The nonce for the client's next proof, where one is demanded.
    pub fn nonce(&self, now: SystemTime) -> Option<String> {
        self.nonces.as_ref().map(|nonces| nonces.issue(now))
    }

    /// Checks binding, certificate and proof (RFC 9449 §4.3 and §7, RFC 8705 §3). A good proof is used up by it.
    ///
    /// # Errors
    /// What is wrong with the binding, or else with the proof.
    pub fn check(&self, scheme: Scheme, verified: &Verified, token: &Digest, route: &Route, head: &Head<'_>) -> Result<(), Error> {
        let Some(key) = verified.binding().admits(scheme, head.certificate.as_ref(), route.sender.demand)? else { return Ok(()) };
        let expected = Expected {
            method: head.method.as_str(),
            url: &route.resource,
            token: Some(token),
            key: Some(&key),
            nonces: self.nonces.as_ref(),
            now: head.received,
        };
        let proven = dpop::check(dpop::proof(head.headers)?, &expected, &self.rules, &self.keys)?;
        self.use_up(&proven, caller(verified.principal.issuer(), verified.principal.subject()), head.received)
    }

    /// The proof of whoever asks for a token at `url`, where there is one (RFC 9449 §5); it is not used up yet. `key` is the
    /// one that what is shown is bound to already.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn prove(&self, headers: &HeaderMap, url: &str, key: Option<&Thumbprint>, now: SystemTime) -> Result<Option<Proven>, Error> {
        if !headers.contains_key("dpop") {
            return if key.is_some() { Err(Error::Proof(Flaw::Missing)) } else { Ok(None) };
        }
        let expected = Expected { method: "POST", url, token: None, key, nonces: self.nonces.as_ref(), now };
        dpop::check(dpop::proof(headers)?, &expected, &self.rules, &self.keys).map(Some)
    }

    /// Uses such a proof up. SECURITY: to be called once all else is well, so that strangers cannot fill what is remembered.
    ///
    /// # Errors
    /// It was used before, or no more can be remembered.
    pub fn used_by(&self, proven: &Proven, issuer: &str, client: &str, now: SystemTime) -> Result<(), Error> {
        self.use_up(proven, caller(issuer, client), now)
    }

    fn use_up(&self, proven: &Proven, caller: Digest, now: SystemTime) -> Result<(), Error> {
        let usage = Use { caller, proof: proven.id, issued: proven.issued };
        let bounds = Bounds { window: self.rules.window, most: self.rules.remembered };
        self.replay.first(&usage, bounds, now).map_err(|refused| match refused {
            Refused::Seen => Error::Proof(Flaw::Replayed),
            Refused::TooOld => Error::Proof(Flaw::Time),
            Refused::Full => Error::ProofsFull,
        })
    }
}

/// Issuer and subject; no text of one can run into the other.
fn caller(issuer: &str, subject: &str) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(&(issuer.len() as u64).to_be_bytes());
    context.update(issuer.as_bytes());
    context.update(subject.as_bytes());
    context.finish().as_ref().try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Method;

    use super::*;
    use crate::principal::{Principal, Proof};
    use crate::route::{Address, ListMode, Mode, Place, Reach, RouteLimits, Sender, Upstream};
    use crate::token::{Basis, Binding, Demand, forge};

    const CERTIFICATE: [u8; 32] = [4; 32];

    fn route(demand: Demand) -> Route {
        Route {
            name: "files".into(),
            resource: forge::RESOURCE.into(),
            metadata_url: String::new(),
            metadata: bytes::Bytes::new(),
            issuers: vec![],
            policy: Default::default(),
            identity: Default::default(),
            upstream: Upstream {
                reach: Arc::new(Reach::to(Place { address: Address::Unix("socket".into()), authority: String::new() })),
                path: http::uri::PathAndQuery::from_static("/"),
                credential: None,
            },
            challenge: Default::default(),
            grant: None,
            mode: Mode::Enforce,
            list: ListMode::Granted,
            origins: vec![],
            limits: RouteLimits {
                body: 1,
                per_client: None,
                per_subject: None,
                streams_per_subject: None,
                timeout: Duration::from_secs(1),
            },
            asks: Default::default(),
            sender: Sender { demand, ..Sender::default() },
            pin: None,
            protocol: Default::default(),
            approves_clients: false,
            recorded_arguments: Default::default(),
        }
    }

    fn verified(binding: Binding) -> Verified {
        let issuer = forge::ISSUER.into();
        let proof = Proof { issuer, subject: "alice".into(), client: None, scopes: vec![], groups: vec![], claims: serde_json::Map::new() };
        Verified {
            principal: Arc::new(Principal::new(proof)),
            expires: forge::now(),
            basis: Basis::Key(1),
            audience: Arc::new([]),
            bound: binding.boxed(),
            marks: None,
            rules: Arc::new(forge::rules()),
        }
    }

    fn check(binding: Binding, certificate: Option<[u8; 32]>, demand: Demand) -> Result<(), Error> {
        let head = Head {
            method: &Method::POST,
            authority: Some("mcp.example.com"),
            path: "/files",
            headers: &HeaderMap::new(),
            source: std::net::Ipv4Addr::LOCALHOST.into(),
            certificate,
            received: forge::now(),
        };
        let proofs = Proofs::new(ProofRules::default(), b"secret", None);
        proofs.check(Scheme::Bearer, &verified(binding), &[7; 32], &route(demand), &head)
    }

    #[test]
    fn item_144_the_certificate_of_the_connection_must_be_the_tokens() {
        let bound = Binding { key: None, certificate: Some(CERTIFICATE) };
        let demand = Demand { dpop: false, certificate: true };
        assert_eq!(check(bound, Some(CERTIFICATE), Demand::default()), Ok(()));
        assert_eq!(check(bound, Some(CERTIFICATE), demand), Ok(()));
        assert_eq!(check(bound, Some([5; 32]), Demand::default()), Err(Error::Certificate));
        assert_eq!(check(bound, None, Demand::default()), Err(Error::Certificate));
        assert_eq!(check(Binding::default(), Some(CERTIFICATE), demand), Err(Error::Unbound));
        assert_eq!(check(Binding::default(), Some(CERTIFICATE), Demand::default()), Ok(()));
    }

    #[test]
    fn issuer_and_subject_do_not_run_into_each_other() {
        assert_ne!(caller("https://a.example", "b"), caller("https://a.exampl", "eb"));
        assert_eq!(caller("https://a.example", "b"), caller("https://a.example", "b"));
    }
}
