//! The four questions in a row. Read this file first.
//!
//! Where to: [`RouteTable::find`](crate::route::RouteTable::find). Who: [`admit`]. What, and may
//! they: [`judge`], and [`Judgement::release`], whose answer the forwarding code demands.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use crate::authenticate::{prove, recall};
use crate::denial::{Denial, Fault};
use crate::governance::client::Place;
use crate::governance::{Asked, Barred};
use crate::mcp::headers::Claim;
use crate::mcp::seal::Sealer;
use crate::mcp::{self, Era, Failure, Kind, Message, Operation, Passed, Returned, Target, Thing, Verb, introduction, listen, result};
use crate::policy::{Caller, Permit, Policy, Refusal};
use crate::principal::Principal;
use crate::route::{Head, Mode, Route};
use crate::session::{Errand, Seals, Session};
use crate::state::Snapshot;
use crate::token::{self, Basis, Credential, Digest, Verified};

/// A caller that was let in: the proof that [`judge`] needs.
pub struct Admitted {
    pub route: Arc<Route>,
    pub verified: Arc<Verified>,
    pub token: Digest,
    /// The token had been verified before.
    pub recalled: bool,
}

impl Admitted {
    /// Why the caller would not be let in any more, if anything was revoked since.
    pub fn since_revoked(&self, world: &Snapshot, now: SystemTime) -> Result<(), Denial> {
        check_revoked(&self.verified, &self.token, &self.route, world, now)?;
        let store = world.issuers.find(&self.verified.rules);
        if let (Basis::Key(key), Some(store)) = (&self.verified.basis, store)
            && store.bars(*key)
        {
            return Err(token::Error::KeyHeld.into());
        }
        // What a reload demands since, it demands of what is open too.
        let demanded = |route: &Arc<Route>| route.name == self.route.name && route.approves_clients;
        let approves = world.clients.is_some() && world.routes.routes().iter().any(demanded);
        match self.under_ceiling(world, self.route.approves_clients || approves, now)? {
            None => Ok(()),
            Some(_) => Err(Fault::Client(Barred::Narrowed).into()),
        }
    }

    /// When the approval of the caller's client ends, where it has an end.
    pub fn approved_until(&self, world: &Snapshot) -> Option<SystemTime> {
        world.clients.as_ref()?.ends(&self.verified.principal)
    }

    /// May the client call, and which of the scopes count? Asked once the caller is known, so that a refusal is recorded with it.
    pub fn govern(&mut self, world: &Snapshot, now: SystemTime) -> Result<(), Denial> {
        if let Some(principal) = self.under_ceiling(world, self.route.approves_clients, now)? {
            self.verified = Arc::new(Verified { principal: Arc::new(principal), ..Verified::clone(&self.verified) });
        }
        Ok(())
    }

    fn under_ceiling(&self, world: &Snapshot, approves: bool, now: SystemTime) -> Result<Option<Principal>, Denial> {
        let Some(clients) = &world.clients else { return Ok(None) };
        let place = Place { upstream: &self.route.name, approves };
        clients.check(&self.verified.principal, place, now).map_err(|barred| Fault::Client(barred).into())
    }
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
    check_revoked(&verified, &token, route, world, head.received)?;
    world.proofs.check(scheme, &verified, &token, route, head)?;
    Ok(Admitted { route: route.clone(), verified, token, recalled })
}

/// Was the token, or anything that it comes from, revoked? Asked on each request, where there is a store.
fn check_revoked(verified: &Verified, token: &Digest, route: &Route, world: &Snapshot, now: SystemTime) -> Result<(), token::Error> {
    let Some(revocations) = &world.revocations else { return Ok(()) };
    let asked = Asked { token, verified, upstream: &route.name, now };
    revocations.check(&asked, || world.issuers.key_name(verified))
}

/// A message and what the rules say of it.
pub struct Judgement<'a> {
    pub message: Message<'a>,
    pub decision: Result<Permit<'a>, Refusal<'a>>,
    /// What came back by way of the client, as the upstream knows it; none where nothing did.
    pub restored: Result<Option<Box<Restored>>, Fault>,
    admitted: &'a Admitted,
}

/// A message in which what was sealed is opened.
#[derive(Debug)]
pub struct Restored {
    pub body: Bytes,
    /// The task that it is about.
    pub task: Option<String>,
}

/// What, and may they? Pure: bytes in, proof or reason out.
pub fn judge<'a>(
    admitted: &'a Admitted,
    head: &Head<'_>,
    body: &'a [u8],
    depth: usize,
    sealer: &Arc<Sealer>,
) -> Result<Judgement<'a>, Denial> {
    let claim = Claim::read(head.headers).map_err(|error| unclaimed(error, body, depth))?;
    let route = &admitted.route;
    let mut message = Message::parse_with(body, &claim, depth, &route.protocol.methods).map_err(denied)?;
    if message.era == Era::Legacy && route.protocol.modern_only {
        return Err(too_old(&message, &claim, body, depth));
    }
    let restored = if message.returned.is_empty() { Ok(None) } else { restore(admitted, head, body, &mut message, sealer).map(Some) };
    let caller = Caller { principal: &admitted.verified.principal, source: head.source, now: head.received };
    let decision = match (message.operation.method.verb, route.mode) {
        (Verb::Listen, Mode::Enforce) => subscribe(&route.policy, caller, &mut message.operation, body, depth),
        _ => route.policy.authorize(caller, &message.operation),
    };
    Ok(Judgement { message, decision, restored, admitted })
}

/// Opens what was given to this caller. A task then names the tool that began it, so that the rules are
/// asked about that tool again. SECURITY: what does not open never goes on; a state also binds the
/// caller to what it was given for.
fn restore(
    admitted: &Admitted,
    head: &Head<'_>,
    body: &[u8],
    message: &mut Message<'_>,
    sealer: &Arc<Sealer>,
) -> Result<Box<Restored>, Fault> {
    let seals = Seals::new(sealer.clone(), &admitted.route, &admitted.verified.principal);
    let mut edits = Vec::new();
    let mut task = None;
    for Returned { what, text, place } in &message.returned {
        let opened = match what {
            Passed::State => seals.opened_state(&Errand::of(message), text, head.received).ok_or(Fault::UnknownState)?,
            Passed::Task => {
                let (tool, id) = seals.opened_task(message.era, text).ok_or(Fault::UnknownTask)?;
                task = Some((tool, id.clone()));
                id
            }
            Passed::Related => seals.opened_task(message.era, text).ok_or(Fault::UnknownTask)?.1,
            Passed::Cursor => match (seals.opened_cursor(message.operation.method, text), admitted.route.mode) {
                (Some(cursor), _) => cursor.to_owned(),
                // Lists of things that rules speak of pass as they are there, with their cursors.
                (None, Mode::Observe) if message.operation.method.verb != Verb::Tasks => continue,
                (None, _) => return Err(Fault::UnknownCursor),
            },
        };
        edits.push((place.clone(), serde_json::to_string(&opened).map_err(|_| Fault::Internal)?));
    }
    let task = task.map(|(tool, id)| {
        message.operation.target = Target::One(Thing { kind: Kind::Tool, name: tool.into() });
        id
    });
    let body = std::str::from_utf8(body).map_err(|_| Fault::Internal)?;
    Ok(Box::new(Restored { body: result::rewrite(body, &edits).into(), task }))
}

/// The right to forward a message: permitted, or refused in an upstream that only observes.
/// INVARIANT: only [`Judgement::release`] and [`attend`] make one.
pub struct Release(());

/// The right to open, resume or end the caller's own session, or to answer what was asked within it.
pub fn attend(_: &Admitted, _: &Session) -> Release {
    Release(())
}

/// A task that a subscription may tell of.
#[derive(Debug)]
pub struct Followed {
    /// The tool that began it.
    pub tool: String,
    /// As the upstream knows it.
    pub id: String,
    /// As the client does.
    pub known: String,
}

/// Tasks that one subscription may name; those beyond are left out of it.
const FOLLOWED: usize = 256;

impl Judgement<'_> {
    /// The tasks that a subscription may tell of: the caller's own, whose tools it may use (SEP-2663 "Security").
    pub fn followed(&self, sealer: &Arc<Sealer>, source: IpAddr, now: SystemTime) -> Vec<Followed> {
        let Admitted { route, verified, .. } = self.admitted;
        let Some(method) = mcp::Method::find("tasks/get").filter(|_| self.message.speaks_tasks && !self.message.tasks.is_empty()) else {
            return Vec::new();
        };
        let seals = Seals::new(sealer.clone(), route, &verified.principal);
        let caller = || Caller { principal: &verified.principal, source, now };
        let follow = |known: &Cow<'_, str>| {
            let (tool, id) = seals.opened_task(Era::Modern, known)?;
            let target = Target::One(Thing { kind: Kind::Tool, name: tool.as_str().into() });
            let permitted = route.policy.authorize(caller(), &Operation { method, target, arguments: None }).is_ok();
            permitted.then(|| Followed { tool, id, known: known.clone().into_owned() })
        };
        self.message.tasks.iter().take(FOLLOWED).filter_map(follow).collect()
    }

    /// The id of the task that it is about, as the upstream knows it.
    pub fn task(&self) -> Option<&str> {
        self.restored.as_ref().ok()?.as_ref()?.task.as_deref()
    }

    /// What is to be sent on: these bytes, or the same with what came back opened.
    pub fn body(&self, read: &Bytes) -> Bytes {
        match &self.restored {
            Ok(Some(restored)) => restored.body.clone(),
            _ => read.clone(),
        }
    }

    pub fn release(&self, mode: Mode) -> Result<Release, Denial> {
        if let (Err(fault), true) = (&self.restored, self.decision.is_ok() || mode == Mode::Observe) {
            return Err(Denial {
                fault: fault.clone(),
                id: self.message.id.map(|id| id.as_json().to_owned()),
                era: Some(self.message.era),
            });
        }
        match (&self.decision, mode) {
            (Ok(_), _) | (Err(_), Mode::Observe) => Ok(Release(())),
            (Err(refusal), Mode::Enforce) => {
                let fault = Fault::from(refusal).challenging(&self.admitted.route, self.admitted.verified.principal.scopes());
                Err(Denial { fault, id: self.message.id.map(|id| id.as_json().to_owned()), era: Some(self.message.era) })
            }
        }
    }
}

/// A subscription may be narrowed (MCP 2026-07-28 "subscriptions/listen"): it goes on with what is left of it, if anything is.
fn subscribe<'a>(
    policy: &'a Policy,
    caller: Caller<'_>,
    operation: &mut Operation<'a>,
    body: &[u8],
    depth: usize,
) -> Result<Permit<'a>, Refusal<'a>> {
    match policy.narrow(caller, operation) {
        // Changes of lists are nobody's secret.
        Err(_) if listen::asks_for_lists(body, depth) => {
            operation.target = Target::Each(Vec::new());
            policy.authorize(caller, operation)
        }
        decision => decision,
    }
}

/// MCP 2026-07-28 "Backward Compatibility": who speaks only older revisions is told which are spoken here.
fn too_old(message: &Message<'_>, claim: &Claim<'_>, body: &[u8], depth: usize) -> Denial {
    let asked = introduction::asked(body, depth).or_else(|| claim.version.map(str::to_owned));
    let requested = asked.unwrap_or_default().chars().take(64).collect();
    let error = mcp::Error::Version { requested, modern: true };
    denied(Failure { error, id: message.id, era: Some(message.era) })
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
