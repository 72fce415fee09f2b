//! The one event of a request. It is told when the exchange is dropped, however that comes about.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::Gateway;
use crate::audit::Slot;
use crate::denial::{Denial, Fault};
use crate::event::{Event, Outcome};
use crate::trace::{self, Context, Parent, Step, Trail};

/// Characters of a name that are kept in a record.
const NAME: usize = 256;

/// What becomes known of a request while it is answered.
pub struct Tale<'g> {
    gateway: &'g Gateway,
    event: Option<Event>,
    pub slot: Option<Slot>,
    begun: Instant,
    /// Time that was spent waiting for the client's body and for the upstream.
    waited: Duration,
    /// Where spans go somewhere.
    trail: Option<Box<Trail>>,
    parent: Option<Parent>,
}

impl<'g> Tale<'g> {
    pub fn begin(gateway: &'g Gateway, source: IpAddr, time: SystemTime) -> Self {
        let event = Event {
            id: gateway.ids.next(),
            time,
            upstream: None,
            who: None,
            token: None,
            operation: "none",
            name: None,
            // Until something else is known: a request that is cut short was cut short by the client.
            outcome: Outcome::Failed,
            reason: "client_gone",
            rule: None,
            arguments: None,
            values: None,
            source,
            session: None,
            era: None,
            status: 499,
            duration: Duration::ZERO,
            overhead: Duration::ZERO,
            trace: None,
        };
        let trail = gateway.traces.as_ref().map(|traces| {
            let context = Context::own(&event.id, traces.ratio());
            Box::new(Trail { context, steps: vec![(Step::Route, Duration::ZERO)] })
        });
        Self { gateway, event: Some(event), slot: None, begun: Instant::now(), waited: Duration::ZERO, trail, parent: None }
    }

    /// The request comes to another room.
    pub fn step(&mut self, step: Step) {
        if let Some(trail) = &mut self.trail {
            trail.steps.push((step, self.begun.elapsed()));
        }
    }

    /// The caller's own trace. SECURITY: to be told only of a caller that is known, since it decides what is kept.
    pub fn within(&mut self, parent: Option<Parent>) {
        self.parent = parent;
        if let (Some(trail), Some(parent)) = (&mut self.trail, parent) {
            trail.context = trail.context.within(parent);
        }
        self.tell(|event| event.trace = parent.map(|parent| format!("{:032x}", parent.trace)));
    }

    /// Changes what is told.
    pub fn tell(&mut self, change: impl FnOnce(&mut Event)) {
        if let Some(event) = &mut self.event {
            change(event);
        }
    }

    pub fn id(&self) -> &str {
        self.event.as_ref().map_or("", |event| &event.id)
    }

    /// The `traceparent` for the upstream: the span that waits for it where there are spans, else one of the caller's trace.
    pub fn traceparent(&self) -> Option<String> {
        if let Some(trail) = &self.trail {
            return Some(trail.context.traceparent());
        }
        let parent = self.parent?;
        Some(Context::own(self.id(), 0.0).within(parent).traceparent())
    }

    pub fn denied(&mut self, denial: &Denial) {
        // What the rules allow is refused all the same where the session that it names is not the caller's.
        let foreign = denial.fault == Fault::UnknownSession && self.slot.is_none();
        self.tell(|event| {
            // A permitted call that fails afterwards has failed; it was not refused.
            event.outcome = if event.reason == PERMITTED && !foreign { Outcome::Failed } else { Outcome::Refused };
            event.reason = denial.reason();
            event.status = denial.status();
        });
    }

    pub fn answered(&mut self, reason: &'static str, status: u16) {
        self.tell(|event| {
            event.outcome = Outcome::Answered;
            event.reason = reason;
            event.status = status;
        });
    }

    /// When the request came in.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// Adds a wait that is not the gateway's own time.
    pub fn waited(&mut self, since: Instant) {
        self.waited += since.elapsed();
    }
}

/// The reason of an outcome that the rules allowed.
pub const PERMITTED: &str = "permitted";

impl Drop for Tale<'_> {
    fn drop(&mut self) {
        let Some(mut event) = self.event.take() else { return };
        event.duration = self.begun.elapsed();
        event.overhead = event.duration.saturating_sub(self.waited);
        if let (Some(traces), Some(trail)) = (&self.gateway.traces, self.trail.take())
            && trail.context.sampled
            && !traces.offer(trace::spans(&event, &trail))
        {
            self.gateway.metrics.traces_dropped(1);
        }
        write(self.gateway, event, self.slot.take());
    }
}

fn write(gateway: &Gateway, event: Event, slot: Option<Slot>) {
    gateway.metrics.record(&event);
    tracing::debug!(id = %event.id, upstream = event.upstream.as_deref(), operation = event.operation, outcome = event.outcome.as_str(), reason = event.reason, status = event.status, "request");
    if !gateway.audit.record(event, slot) {
        gateway.metrics.audit_dropped();
    }
}

/// Tells of a head that never became a request.
pub fn refused_head(gateway: &Gateway, source: IpAddr, denial: &Denial) {
    let mut tale = Tale::begin(gateway, source, SystemTime::now());
    tale.denied(denial);
}

/// A name as it is kept: cut to a bound.
pub fn name(name: &str) -> String {
    name.chars().take(NAME).collect()
}

/// Request ids: a random half for the process and a counted half for the request.
pub struct Ids {
    process: String,
    next: AtomicU64,
}

impl Ids {
    pub fn new(process: u64) -> Self {
        Self { process: format!("{process:016x}"), next: AtomicU64::new(1) }
    }

    pub(super) fn next(&self) -> String {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let mut id = String::with_capacity(32);
        id.push_str(&self.process);
        // The library's way to format costs more than the rest of a record's beginning.
        id.extend((0..16).rev().filter_map(|digit| char::from_digit((count >> (4 * digit) & 0xF) as u32, 16)));
        id
    }
}
