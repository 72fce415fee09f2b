//! Fetches event tokens from transmitters that cannot reach us (RFC 8936), for as long as it lives.
//!
//! One task for each entry of `signals` that has `poll`. What was taken in is acknowledged with the next question; what
//! could not be written down is not, and comes again. Several replicas may poll one stream: they share the store.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::task::{AbortHandle, JoinHandle};

use super::{Origin, Receiver};
use crate::audit::Audit;
use crate::config::Signal;
use crate::event::{Event, Outcome};
use crate::governance::signal::Fault;
use crate::metrics::Metrics;
use crate::remote::poll::{Polled, Report, Waiting};

/// Between two looks at the configuration.
const LOOK: Duration = Duration::from_secs(1);
/// Between two questions, so that a transmitter that answers at once is not asked without end.
const DISTANCE: Duration = Duration::from_millis(200);
/// After a failure, doubled with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// Ends when it is dropped.
pub struct Polling(JoinHandle<()>);

impl Drop for Polling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Polling {
    /// `draw` gives random numbers, for the ids of records.
    pub fn start(receiver: Arc<Receiver>, audit: Audit, metrics: Metrics, draw: fn() -> u64) -> Self {
        Self(tokio::spawn(supervise(Arc::new(Poller { receiver, audit, metrics, draw }))))
    }
}

struct Poller {
    receiver: Arc<Receiver>,
    audit: Audit,
    metrics: Metrics,
    draw: fn() -> u64,
}

/// Begins and ends tasks as the configuration changes.
async fn supervise(poller: Arc<Poller>) {
    let mut running: HashMap<Arc<str>, (Arc<Signal>, Running)> = HashMap::new();
    loop {
        let world = poller.receiver.state.current();
        let wanted: Vec<&Arc<Signal>> = world.config.signals.iter().filter(|signal| signal.poll.is_some()).collect();
        running.retain(|_, (signal, _)| wanted.contains(&&*signal));
        for signal in wanted {
            if !running.contains_key(&signal.name) {
                let task = tokio::spawn(poller.clone().follow(signal.clone()));
                running.insert(signal.name.clone(), (signal.clone(), Running(task.abort_handle())));
            }
        }
        drop(world);
        tokio::time::sleep(LOOK).await;
    }
}

struct Running(AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Poller {
    async fn follow(self: Arc<Self>, signal: Arc<Signal>) {
        let Some(poll) = &signal.poll else { return };
        let allow_http = signal.transmitter.as_ref().is_some_and(|transmitter| transmitter.allow_http);
        let polled = match Polled::new(poll, allow_http) {
            Ok(polled) => polled,
            Err(error) => {
                tracing::error!(signal = &*signal.name, %error, "signals cannot be fetched");
                return;
            }
        };
        let (mut report, mut more, mut retry) = (Report::default(), false, Duration::ZERO);
        loop {
            // What was taken in is told at once, and not after a wait for what comes next.
            let waiting = polled.ask(&report, more || !report.is_empty()).await;
            let pause = match waiting {
                Ok(Waiting { sets, more: further }) => {
                    if !retry.is_zero() {
                        tracing::info!(signal = &*signal.name, "signals can be fetched again");
                    }
                    let asked = sets.len();
                    (report, more, retry) = (self.take_in(&signal, sets).await, further, Duration::ZERO);
                    // Something was kept back: no answer of ours would change that at once.
                    if report.taken.len() + report.refused.len() < asked { FIRST_RETRY } else { DISTANCE }
                }
                Err(error) => {
                    if retry.is_zero() {
                        tracing::warn!(signal = &*signal.name, %error, "signals cannot be fetched");
                    }
                    self.metrics.signal(&signal.name, "signal/poll", "failed");
                    retry = (retry * 2).clamp(FIRST_RETRY, LAST_RETRY);
                    retry
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// What the transmitter is to hear of these event tokens. One that failed for the time being is left out.
    async fn take_in(&self, signal: &Signal, sets: impl IntoIterator<Item = (String, String)>) -> Report {
        let mut report = Report::default();
        for (jti, text) in sets {
            match self.take_one(signal, &text).await {
                Ok(()) => report.taken.push(jti),
                Err(fault) if fault.is_passing() => {}
                Err(fault) => {
                    report.refused.insert(jti, (fault.code(), fault.message()));
                }
            }
        }
        report
    }

    async fn take_one(&self, signal: &Signal, text: &str) -> Result<(), Fault> {
        let world = self.receiver.state.current();
        // What happens is recorded, or does not happen.
        let slot = self.audit.slot(world.config.audit.when_full).ok_or(Fault::Store)?;
        let (time, begun) = (SystemTime::now(), Instant::now());
        let id = format!("{:016x}{:016x}", (self.draw)(), (self.draw)());
        let origin = Origin { id: &id, source: IpAddr::V4(Ipv4Addr::UNSPECIFIED), now: time };
        let result = self.receiver.event(&world, signal, text, origin).await;
        self.receiver.count(signal, "signal/poll", &result);
        let (outcome, reason, name) = match &result {
            Ok(taken) => (Outcome::Answered, taken.effect.reason(), Some(taken.name.clone())),
            Err(fault) if fault.is_passing() => (Outcome::Failed, fault.reason(), None),
            Err(fault) => (Outcome::Refused, fault.reason(), None),
        };
        let event = Event {
            id: id.clone(),
            time,
            upstream: None,
            who: None,
            token: None,
            operation: "signal/poll",
            name,
            outcome,
            reason,
            rule: None,
            arguments: None,
            values: None,
            source: origin.source,
            session: None,
            era: None,
            status: 0,
            duration: begun.elapsed(),
            overhead: begun.elapsed(),
            trace: None,
        };
        if !self.audit.record(event, Some(slot)) {
            self.metrics.audit_dropped();
        }
        result.map(drop)
    }
}
