//! Takes in what others tell of sessions and accounts that have ended: proves it, writes it down, and only then says so.
//!
//! The rules are those of [`crate::governance::signal`]; here they meet keys, the store and the records. However a
//! signal comes in, by a request or by [`poll`], it goes through [`Receiver`]. Knows no socket.

mod once;
pub mod poll;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use quick_cache::sync::Cache;

use crate::audit::Audit;
use crate::config::{Events, Signal};
use crate::event::{Act, Outcome};
use crate::governance::signal::{self, Fault, Happening, Kind, Shown, Told, Unproven};
use crate::governance::{Bounds, Revocation, Selector};
use crate::metrics::Metrics;
use crate::remote::KeyStore;
use crate::state::{Snapshot, State};
use crate::store::Reason;
use once::Once;

/// Signals that are remembered, so that one that comes again is not written again. Forgetting one early costs a row
/// of the store and no more: what a signal revokes does not depend on when it comes.
const REMEMBERED: usize = 20_000;
/// Characters of a name, in a record and in the store.
const NAME: usize = 256;

/// What a signal did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Something is revoked, and on the disk.
    Revoked,
    /// The transmitter only asked whether it is heard, or told of its stream.
    Acknowledged,
    /// It was taken in before.
    Repeated,
    /// It is in order, and means nobody or nothing here.
    NotApplicable,
}

impl Effect {
    /// The label for audit and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Revoked => "signal_revoked",
            Self::Acknowledged => "signal_acknowledged",
            Self::Repeated => "signal_repeated",
            Self::NotApplicable => "signal_not_applicable",
        }
    }
}

/// A signal that was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub effect: Effect,
    /// What happened, and what was revoked for it, for records.
    pub name: String,
}

/// From where a signal came, for records.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Of the request, in 32 hexadecimal digits.
    pub id: &'a str,
    pub source: IpAddr,
    pub now: SystemTime,
}

/// Where all signals come in.
pub struct Receiver {
    pub state: Arc<State>,
    metrics: Metrics,
    audit: Audit,
    /// By sender, kind, issuer and `jti`. Only what was proven and written down is in it, so strangers cannot fill it.
    heard: Cache<blake3::Hash, ()>,
    /// Tokens by which senders have proven themselves.
    shown: Once,
}

impl Receiver {
    pub fn new(state: Arc<State>, metrics: Metrics, audit: Audit) -> Self {
        Self { state, metrics, audit, heard: Cache::new(REMEMBERED), shown: Once::default() }
    }

    /// Takes a security event token in.
    ///
    /// # Errors
    /// It has no effect. Where [`Fault::is_passing`], it may be sent again.
    pub async fn event(&self, world: &Snapshot, signal: &Signal, text: &str, origin: Origin<'_>) -> Result<Taken, Fault> {
        let Some(Events { rules, accepted, .. }) = &signal.events else { return Err(Fault::Malformed) };
        let unproven = rules.read(text, origin.now)?;
        let keys = world.transmitters.find(&signal.name).ok_or(Fault::KeysUnavailable)?;
        let mut told = prove(&unproven, keys).await?;
        // An event that the operator does not want is one that is not known here.
        let is_wanted = |kind: &Kind| accepted.contains(kind) || matches!(kind, Kind::Verification | Kind::StreamUpdated);
        for happening in &mut told.happenings {
            happening.kind = happening.kind.filter(is_wanted);
        }
        self.take_in(world, signal, "event", &told, origin).await
    }

    /// Takes a logout token in.
    ///
    /// # Errors
    /// As of [`Self::event`].
    pub async fn logout(&self, world: &Snapshot, signal: &Signal, text: &str, origin: Origin<'_>) -> Result<Taken, Fault> {
        let logout = signal.logout.as_ref().ok_or(Fault::Malformed)?;
        let (unproven, rules) = logout.rules.read(text, signal.issuers.iter().map(AsRef::as_ref), origin.now)?;
        let keys = world.issuers.find(rules).ok_or(Fault::KeysUnavailable)?;
        let told = prove(&unproven, keys).await?;
        self.take_in(world, signal, "logout", &told, origin).await
    }

    /// Proves who asks for a revocation, by the sender's own token.
    ///
    /// # Errors
    /// [`Fault::Sender`], whatever is wrong with it; [`Fault::KeysUnavailable`].
    pub async fn sender(&self, world: &Snapshot, signal: &Signal, text: &str, now: SystemTime) -> Result<Shown, Fault> {
        let rules = signal.revoke.as_ref().and_then(|endpoint| endpoint.jwt.as_ref()).ok_or(Fault::Sender)?;
        let unproven = rules.read(text, now).map_err(|fault| self.not_the_sender(signal, fault))?;
        let keys = world.transmitters.find(&signal.name).ok_or(Fault::KeysUnavailable)?;
        prove(&unproven, keys).await.map_err(|fault| self.not_the_sender(signal, fault))
    }

    /// The sender hears no more than that it is not believed; the operator hears why.
    fn not_the_sender(&self, signal: &Signal, fault: Fault) -> Fault {
        if fault.is_passing() {
            return fault;
        }
        tracing::debug!(signal = &*signal.name, reason = fault.reason(), "a sender's token is not accepted");
        Fault::Sender
    }

    /// Revokes all tokens of the subject that an authenticated sender asks for. `shown` is the token by which it has
    /// proven itself, where it has one for each request.
    ///
    /// # Errors
    /// As of [`Self::event`]; [`Fault::UnknownSubject`] and [`Fault::Unmappable`] where it names nobody here;
    /// [`Fault::Sender`] where its token was shown with another request before.
    pub async fn request(
        &self,
        world: &Snapshot,
        signal: &Signal,
        shown: Option<&Shown>,
        body: &[u8],
        origin: Origin<'_>,
    ) -> Result<Taken, Fault> {
        if let Some(Shown { jti, until }) = shown {
            self.shown.note(mark([&signal.name, "sender", "", jti]), *until, blake3::hash(body), origin.now)?;
        }
        let happening = signal::request(body, seconds(origin.now))?;
        let (bounds, now) = (bounds(world)?, self.latest(origin).await?);
        let revocations = signal.mapping.revocations(&happening, now, &bounds);
        if revocations.is_empty() {
            return Err(signal.mapping.why_not(&happening.subject));
        }
        let name = describe(&happening, &revocations);
        self.write(world, signal, &revocations, &name, origin).await?;
        Ok(Taken { effect: Effect::Revoked, name })
    }

    /// Counts a signal.
    pub fn count(&self, signal: &Signal, operation: &'static str, result: &Result<Taken, Fault>) {
        let result = match result {
            Ok(Taken { effect: Effect::Revoked, .. }) => "revoked",
            Ok(Taken { effect: Effect::Acknowledged, .. }) => "acknowledged",
            Ok(Taken { effect: Effect::Repeated, .. }) => "repeated",
            Ok(Taken { effect: Effect::NotApplicable, .. }) => "not_applicable",
            Err(fault) if fault.is_passing() => "failed",
            Err(_) => "refused",
        };
        self.metrics.signal(&signal.name, operation, result);
    }

    async fn take_in(
        &self,
        world: &Snapshot,
        signal: &Signal,
        kind: &'static str,
        told: &Told,
        origin: Origin<'_>,
    ) -> Result<Taken, Fault> {
        let (bounds, now) = (bounds(world)?, self.latest(origin).await?);
        let all = told.happenings.iter().map(|happening| (happening, signal.mapping.revocations(happening, now, &bounds)));
        let all: Vec<(&Happening, Vec<Revocation>)> = all.collect();
        let name = cut(&all.iter().map(|(happening, revocations)| describe(happening, revocations)).collect::<Vec<_>>().join("; "));
        let mark = mark([&signal.name, kind, &told.issuer, &told.jti]);
        if self.heard.get(&mark).is_some() {
            return Ok(Taken { effect: Effect::Repeated, name });
        }
        let mut effect = Effect::NotApplicable;
        for (happening, revocations) in &all {
            if !revocations.is_empty() {
                let why = format!("{} ({})", describe(happening, &[]), cut(&told.jti));
                self.write(world, signal, revocations, &why, origin).await?;
                effect = Effect::Revoked;
            } else if effect == Effect::NotApplicable && matches!(happening.kind, Some(Kind::Verification | Kind::StreamUpdated)) {
                effect = Effect::Acknowledged;
            }
        }
        // What has no effect under this configuration may have one under the next.
        if effect != Effect::NotApplicable {
            self.heard.insert(mark, ());
        }
        if told.happenings.iter().any(|happening| happening.kind == Some(Kind::StreamUpdated)) {
            tracing::warn!(signal = &*signal.name, "the transmitter says that its stream of signals was changed");
        }
        Ok(Taken { effect, name })
    }

    /// By no clock that is behind.
    async fn latest(&self, origin: Origin<'_>) -> Result<u64, Fault> {
        let store = self.state.store().ok_or(Fault::Store)?;
        store.latest(seconds(origin.now)).await.map_err(|error| {
            tracing::error!(%error, "the store cannot be asked for a signal");
            Fault::Store
        })
    }

    /// Durably, or not at all as far as the sender hears: it sends again, and nothing is revoked twice by that.
    async fn write(&self, world: &Snapshot, signal: &Signal, all: &[Revocation], why: &str, origin: Origin<'_>) -> Result<(), Fault> {
        let store = self.state.store().ok_or(Fault::Store)?;
        let actor = format!("signal {}", signal.name);
        for revocation in all {
            let reason = Reason { text: why, actor: &actor, made: seconds(origin.now) };
            let seq = store.revoke(revocation, &reason).await.map_err(|error| {
                tracing::error!(signal = &*signal.name, %error, "a signal cannot be written down");
                Fault::Store
            })?;
            // This replica need not wait for the feed. Where there is no room, the feed tells.
            if let Some(index) = &world.revocations {
                let _ = index.apply(seq, revocation);
            }
            // The request's own record, which has its place, names it too.
            if self.audit.act(act(revocation, why, &actor, origin)).is_err() {
                tracing::error!(signal = &*signal.name, "a revocation cannot be recorded");
            }
        }
        // Open streams are judged anew.
        self.state.revoked();
        Ok(())
    }
}

/// What the record says of one revocation.
fn act(revocation: &Revocation, why: &str, actor: &str, origin: Origin<'_>) -> Act {
    Act {
        id: Some(origin.id.to_owned()),
        time: origin.now,
        upstream: None,
        operation: "admin/revoke",
        name: Some(of(&revocation.selector)),
        outcome: Outcome::Answered,
        reason: why.to_owned(),
        actor: actor.to_owned(),
    }
}

/// An unknown key may only be new: the signal waits for a fetch before it is refused.
async fn prove<T: Clone>(unproven: &Unproven<'_, T>, store: &Arc<KeyStore>) -> Result<T, Fault> {
    let (kid, algorithm) = (unproven.key_id(), unproven.algorithm());
    let keys = store.keys().await?;
    let first = unproven.prove(keys.find(kid, algorithm));
    let newer = match first {
        Err(Fault::UnknownKey) => store.learn(|keys| keys.find(kid, algorithm).next().is_some()).await,
        Err(Fault::Signature) if kid.is_none() => store.learn(|newer| newer.version() != keys.version()).await,
        decided => return decided.cloned(),
    };
    match newer {
        Some(keys) => unproven.prove(keys.find(kid, algorithm)).cloned(),
        None if store.awaits(kid, algorithm) => Err(Fault::KeyHeld),
        None => first.cloned(),
    }
}

fn bounds(world: &Snapshot) -> Result<Bounds, Fault> {
    world.revocations.as_ref().map(|revocations| revocations.bounds()).ok_or(Fault::Store)
}

/// SECURITY: of all that makes a `jti` one of its kind, or one sender's signal could stand in the way of another's.
fn mark(parts: [&str; 4]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes()).update(part.as_bytes());
    }
    hasher.finalize()
}

fn describe(happening: &Happening, revocations: &[Revocation]) -> String {
    let kind = happening.kind.map_or("unknown event", Kind::name);
    match revocations {
        [] => kind.to_owned(),
        all => cut(&format!("{kind}: {}", all.iter().map(|revocation| of(&revocation.selector)).collect::<Vec<_>>().join(", "))),
    }
}

/// What is revoked, in the words of `doorward revoke`.
fn of(selector: &Selector) -> String {
    let kind = selector.kind();
    match selector {
        Selector::Id { issuer, jti: name } | Selector::Subject { issuer, subject: name } | Selector::Key { issuer, kid: name } => {
            cut(&format!("{kind} {name} of {issuer}"))
        }
        Selector::Session(name) | Selector::Client(name) | Selector::Upstream(name) => cut(&format!("{kind} {name}")),
        Selector::Token(_) | Selector::Everything => kind.to_owned(),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(NAME).collect()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
