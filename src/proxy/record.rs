//! The one event of a request. It is told when the exchange is dropped, however that comes about.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::Gateway;
use crate::audit::Slot;
use crate::denial::Denial;
use crate::event::{Event, Outcome};

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
            source,
            era: None,
            status: 499,
            duration: Duration::ZERO,
            overhead: Duration::ZERO,
            trace: None,
        };
        Self { gateway, event: Some(event), slot: None, begun: Instant::now(), waited: Duration::ZERO }
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

    pub fn trace(&self) -> Option<&str> {
        self.event.as_ref()?.trace.as_deref()
    }

    pub fn denied(&mut self, denial: &Denial) {
        self.tell(|event| {
            // A permitted call that fails afterwards has failed; it was not refused.
            event.outcome = if event.reason == PERMITTED { Outcome::Failed } else { Outcome::Refused };
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
    process: u64,
    next: AtomicU64,
}

impl Ids {
    pub fn new(process: u64) -> Self {
        Self { process, next: AtomicU64::new(1) }
    }

    fn next(&self) -> String {
        format!("{:016x}{:016x}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// A span id for the trace context, never zero.
    pub fn span(&self) -> u64 {
        (self.process ^ self.next.load(Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15)).max(1)
    }
}
