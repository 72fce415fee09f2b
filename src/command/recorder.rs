//! The audit log of a process: what the configuration says, put together.

use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use super::Failure;
use super::serve::random;
use crate::audit::checkpoint::Signer;
use crate::audit::copy::{self, Room};
use crate::audit::{Audit, Setup, Tap};
use crate::config::{self, Traces};
use crate::event::{Act, Outcome};
use crate::metrics::Metrics;
use crate::remote::audit_export::Export;

/// For the record of a command.
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts the writing thread, and the one that sends copies where there is a collector. Both end when every
/// [`Audit`] is gone, in this order.
pub fn start(config: &config::Audit, metrics: &Metrics) -> Result<(Audit, Vec<JoinHandle<()>>), Failure> {
    let config::Audit { file, when_full: _, checkpoints, stdout, export } = config;
    let (mut taps, mut threads): (Vec<Tap>, _) = (Vec::new(), Vec::new());
    let lost = metrics.clone();
    let dropped = move |lines| lost.audit_copies_dropped(lines);
    if *stdout && file.is_some() {
        taps.push(copy::stdout(dropped.clone()).map_err(|error| Failure::Impossible(format!("cannot copy audit records: {error}")))?);
    }
    if let Some(collector) = export {
        let (tap, thread) = exporting(collector, dropped)?;
        taps.push(tap);
        threads.push(thread);
    }
    let signer = checkpoints.as_ref().and_then(|checkpoints| {
        let signer = checkpoints.key.0.first().and_then(|der| Signer::from_der(der))?;
        Some((signer, checkpoints.every))
    });
    let (audit, writer) = Audit::start_with(Setup { file: file.clone(), signer, taps })
        .map_err(|error| Failure::Impossible(format!("cannot open the audit file: {error}")))?;
    threads.insert(0, writer);
    Ok((audit, threads))
}

/// Writes down what a command did to the gateway, in the log that the gateway writes. Nothing where that log is no file.
///
/// # Errors
/// Why no record tells of it; empty where nobody knows.
pub fn record(config: &config::Config, operation: &'static str, name: String, (reason, actor): (&str, &str)) -> Result<(), String> {
    let Some(file) = &config.audit.file else { return Ok(()) };
    let (audit, writer) = Audit::start(Some(file.clone())).map_err(|error| format!(": {error}"))?;
    let act = audit.act(Act {
        id: None,
        time: SystemTime::now(),
        upstream: None,
        operation,
        name: Some(name),
        outcome: Outcome::Answered,
        reason: reason.to_owned(),
        actor: actor.to_owned(),
    });
    let written = act.is_ok() && audit.flush(PATIENCE);
    drop(audit);
    // The writing thread may try for ever; a command does not.
    if !written {
        return Err(String::new());
    }
    let _ = writer.join();
    Ok(())
}

fn exporting(collector: &Traces, dropped: impl Fn(u64) + Send + Clone + 'static) -> Result<(Tap, JoinHandle<()>), Failure> {
    let impossible = |error: &dyn std::fmt::Display| Failure::Impossible(format!("cannot export audit records: {error}"));
    let (batches, export) = Export::new(collector, format!("{:016x}", random())).map_err(|error| impossible(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| impossible(&error))?;
    let room = Room::default();
    let (mine, lost) = (room.clone(), dropped.clone());
    let done = move |batch: &[u8], taken: bool| {
        mine.give(batch.len());
        if !taken {
            lost(copy::lines(batch));
        }
    };
    let thread = std::thread::Builder::new().name("audit-export".into()).spawn(move || runtime.block_on(export.run(done)));
    let tap = move |bytes: &[u8]| {
        if !room.take(bytes.len()) {
            dropped(copy::lines(bytes));
        } else if batches.try_send(bytes.to_vec()).is_err() {
            room.give(bytes.len());
            dropped(copy::lines(bytes));
        }
    };
    Ok((Box::new(tap), thread.map_err(|error| impossible(&error))?))
}
