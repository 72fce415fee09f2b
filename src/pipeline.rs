//! The four questions in a row. Read this file first.
//!
//! Where to: [`RouteTable::find`](crate::route::RouteTable::find). Who: [`admit`]. What, and may
//! they: [`judge`], and [`Judgement::release`], whose answer the forwarding code demands.

use std::sync::Arc;

use crate::authenticate::{prove, recall};
use crate::denial::{Denial, Fault};
use crate::governance::Asked;
use crate::mcp::headers::Claim;
use crate::mcp::{self, Failure, Message};
use crate::policy::{Caller, Permit, Refusal};
use crate::route::{Head, Mode, Route};
use crate::session::Session;
use crate::state::Snapshot;
use crate::token::{self, Credential, Digest, Verified};

/// A caller that was let in: the proof that [`judge`] needs.
pub struct Admitted {
    pub route: Arc<Route>,
    pub verified: Arc<Verified>,
    pub token: Digest,
    /// The token had been verified before.
    pub recalled: bool,
}

/// Who? Needs only the head.
pub async fn admit(route: &Arc<Route>, head: &Head<'_>, world: &Snapshot) -> Result<Admitted, Denial> {
    let (scheme, presented) = match token::credential(head.headers)? {
        Credential::Absent => return Err(token::Error::Absent.into()),
        Credential::Presented { scheme, token } => (scheme, token),
    };
    let token = presented.digest();
    let (answer, recalled) = match recall(&token, route, &world.issuers, &world.tokens, head.received) {
        Some(answer) => (answer, true),
        // On the heap, because it is rare and large, and every request's task would have to make room for it.
        None => (Box::pin(prove(presented, token, route, &world.issuers, &world.tokens, head.received)).await, false),
    };
    let verified = answer?;
    check_revoked(&verified, &token, route, head, world)?;
    world.proofs.check(scheme, &verified, &token, route, head)?;
    Ok(Admitted { route: route.clone(), verified, token, recalled })
}

/// Was the token, or anything that it comes from, revoked? Asked on each request, where there is a store.
fn check_revoked(verified: &Verified, token: &Digest, route: &Route, head: &Head<'_>, world: &Snapshot) -> Result<(), token::Error> {
    let Some(revocations) = &world.revocations else { return Ok(()) };
    let asked = Asked { token, verified, upstream: &route.name, now: head.received };
    revocations.check(&asked, || world.issuers.key_name(verified))
}

/// A message and what the rules say of it.
pub struct Judgement<'a> {
    pub message: Message<'a>,
    pub decision: Result<Permit<'a>, Refusal<'a>>,
    admitted: &'a Admitted,
}

/// What, and may they? Pure: bytes in, proof or reason out.
pub fn judge<'a>(admitted: &'a Admitted, head: &Head<'_>, body: &'a [u8], depth: usize) -> Result<Judgement<'a>, Denial> {
    let claim = Claim::read(head.headers).map_err(|error| unclaimed(error, body, depth))?;
    let message = Message::parse(body, &claim, depth).map_err(denied)?;
    let caller = Caller { principal: &admitted.verified.principal, source: head.source, now: head.received };
    let decision = admitted.route.policy.authorize(caller, &message.operation);
    Ok(Judgement { message, decision, admitted })
}

/// The right to forward a message: permitted, or refused in an upstream that only observes.
/// INVARIANT: only [`Judgement::release`] and [`attend`] make one.
pub struct Release(());

/// The right to open, resume or end the caller's own session, or to answer what was asked within it.
pub fn attend(_: &Admitted, _: &Session) -> Release {
    Release(())
}

impl Judgement<'_> {
    pub fn release(&self, mode: Mode) -> Result<Release, Denial> {
        match (&self.decision, mode) {
            (Ok(_), _) | (Err(_), Mode::Observe) => Ok(Release(())),
            (Err(refusal), Mode::Enforce) => {
                let fault = Fault::from(refusal).challenging(&self.admitted.route, self.admitted.verified.principal.scopes());
                Err(Denial { fault, id: self.message.id.map(|id| id.as_json().to_owned()), era: Some(self.message.era) })
            }
        }
    }
}

/// Headers that claim nothing clearly. The message is read all the same, for the id to answer to.
fn unclaimed(error: mcp::Error, body: &[u8], depth: usize) -> Denial {
    let (id, era) = match Message::parse(body, &Claim::default(), depth) {
        Ok(message) => (message.id, Some(message.era)),
        Err(failure) => (failure.id, failure.era),
    };
    denied(Failure { error, id, era })
}

fn denied(failure: Failure<'_>) -> Denial {
    Denial { fault: Fault::Message(failure.error), id: failure.id.map(|id| id.as_json().to_owned()), era: failure.era }
}
