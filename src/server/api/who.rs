//! Who asks, by which credential, and what may they?

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::http::{HeaderMap, StatusCode, header};
use quick_cache::sync::Cache;

use super::people::{self, Session};
use super::{Api, Refusal, random_id};
use crate::config::{Admin, Role, TokenDigest};
use crate::event::{Act, Outcome};
use crate::limit::Limiter;
use crate::route::Rate;
use crate::server::listen::{Peer, Source};
use crate::state::Snapshot;

/// Wrong credentials that one source may show; then nobody is asked who comes from there, for a while.
const RATE: Rate = Rate { count: 10, per: Duration::from_secs(60) };
/// Sources that are remembered at once.
const SOURCES: usize = 10_000;

/// Somebody who is known.
#[derive(Clone, Debug)]
pub struct Actor {
    pub name: String,
    pub role: Role,
    pub by: By,
    pub source: Source,
    /// Of a person who signed in.
    pub session: Option<Arc<Session>>,
}

/// By which credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Token,
    Certificate,
    /// The Unix socket is theirs.
    Socket,
    /// A person signed in with a browser.
    Person,
}

impl By {
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Certificate => "certificate",
            Self::Socket => "socket",
            Self::Person => "person",
        }
    }
}

impl fmt::Display for Actor {
    /// For the records: `token ops from 127.0.0.1`, `person alice of https://login.example.com from 10.1.2.3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.by.name(), self.name)?;
        if let Some(session) = &self.session {
            write!(f, " of {}", session.issuer)?;
        }
        write!(f, " from {}", self.source)
    }
}

/// Tells who asks, and bounds how often somebody may be wrong.
pub struct Failures {
    limiter: Limiter,
    /// Until when nobody from there is asked.
    barred: Cache<Source, Instant>,
}

impl Default for Failures {
    fn default() -> Self {
        Self { limiter: Limiter::default(), barred: Cache::new(SOURCES) }
    }
}

impl Failures {
    /// A token, else a session, else a certificate, else the user of a Unix socket. SECURITY: one that is shown and wrong is
    /// never passed over.
    pub fn authenticate(&self, api: &Api, world: &Snapshot, admin: &Admin, peer: &Peer, headers: &HeaderMap) -> Result<Actor, Refusal> {
        self.admit(peer)?;
        if headers.contains_key(header::AUTHORIZATION) {
            let wrong = "this token is not one of `admin.tokens`";
            return bearer(admin, peer, headers).ok_or_else(|| self.failed(api, peer, "credential", wrong));
        }
        if let Some(login) = &admin.login
            && people::has_session(login, headers)
        {
            let ended = || format!("you are not signed in any more: sign in again at {}/admin/", login.url);
            let known = people::signed_in(api, world, login, peer, headers);
            return known.ok_or_else(|| Refusal::new(StatusCode::UNAUTHORIZED, "signed_out", ended()));
        }
        let known = admin.certificates.iter().find(|known| peer.subjects.contains(&known.subject));
        let actor = |name: &str, role, by| Actor { name: name.to_owned(), role, by, source: peer.source, session: None };
        if let Some(known) = known {
            return Ok(actor(&known.name, known.role, By::Certificate));
        }
        if peer.is_owner {
            return Ok(actor("owner", Role::Operator, By::Socket));
        }
        let message = "say who asks: `Authorization: Bearer TOKEN`, with a token of `admin.tokens`";
        Err(Refusal::new(StatusCode::UNAUTHORIZED, "unauthenticated", message))
    }

    /// # Errors
    /// Nobody from there is asked for now.
    pub fn admit(&self, peer: &Peer) -> Result<(), Refusal> {
        if self.barred.get(&peer.source).is_some_and(|until| Instant::now() < until) { Err(too_many()) } else { Ok(()) }
    }

    /// Writes down that somebody was wrong, and counts it.
    pub fn failed(&self, api: &Api, peer: &Peer, reason: &'static str, message: &str) -> Refusal {
        if let Err(wait) = self.limiter.admit(peer.source, RATE) {
            self.barred.insert(peer.source, Instant::now() + wait);
            return too_many();
        }
        let act = Act {
            id: Some(random_id()),
            time: SystemTime::now(),
            upstream: None,
            operation: "admin/refused",
            name: None,
            outcome: Outcome::Refused,
            reason: reason.into(),
            actor: format!("nobody known from {}", peer.source),
        };
        let _ = api.audit.act(act);
        Refusal::new(StatusCode::UNAUTHORIZED, "unauthenticated", message)
    }
}

fn too_many() -> Refusal {
    Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_many_failures", "too many wrong credentials came from there: wait a minute")
}

/// Exactly one `Authorization: Bearer`, with a token that is known.
fn bearer(admin: &Admin, peer: &Peer, headers: &HeaderMap) -> Option<Actor> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let shown = TokenDigest::of(token.as_bytes());
    // Every one is compared, whichever fits.
    let found = admin.tokens.iter().fold(None, |found, known| if known.digest.is(&shown) { Some(known) } else { found });
    found.map(|known| Actor { name: known.name.clone(), role: known.role, by: By::Token, source: peer.source, session: None })
}
