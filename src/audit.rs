//! The audit record: one line of JSON for each request, sealed into a chain and written by one thread.
//!
//! A request takes a [`Slot`] before it is forwarded; where none is free, or the file cannot be
//! written, the request is refused unless the configuration says `when_full: drop`. The slot is used
//! when the request is told, so what was forwarded is always written. What was dropped leaves a line too.

pub mod chain;
pub mod checkpoint;
pub mod copy;
pub mod line;
pub mod sink;
pub mod state;
pub mod verify;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::WhenFull;
use crate::event::{Act, Event};
use checkpoint::Signer;
use sink::{Page, Sink};

/// Records waiting for the disk.
const QUEUE: usize = 8_192;
/// Records that are written together at most.
const BATCH: usize = 768;
/// How long records gather before they are written together: waking the thread and asking the disk for each
/// one would cost more than the request.
const GATHER: Duration = Duration::from_millis(10);
/// Between two tries to write after a failure.
const RETRY: Duration = Duration::from_millis(250);
/// How long a failing disk is tried when the process wants to end.
const LAST: Duration = Duration::from_secs(2);
/// Characters of what an actor says that are kept.
const WORDS: usize = 256;

/// The way to the writing thread. Cloning shares it.
#[derive(Clone)]
pub struct Audit {
    shared: Arc<Shared>,
    lines: Sender<Line>,
}

struct Shared {
    taken: AtomicUsize,
    failing: AtomicBool,
    /// Records that were lost since the last gap was told.
    lost: AtomicU64,
}

enum Line {
    Event(Box<Event>),
    Act(Box<Act>),
    /// Write everything that came before, then drop the sender.
    Flush(Sender<()>),
}

/// The right to have one record written.
pub struct Slot {
    shared: Option<Arc<Shared>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.taken.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Takes a copy of the lines that were written. Must not wait.
pub type Tap = Box<dyn FnMut(&[u8]) + Send>;

/// What the log is made of besides its records.
#[derive(Default)]
pub struct Setup {
    /// Standard output where there is none.
    pub file: Option<PathBuf>,
    /// Who signs checkpoints, and how often at most.
    pub signer: Option<(Signer, Duration)>,
    /// Where copies go.
    pub taps: Vec<Tap>,
}

impl Audit {
    /// Opens the file (or standard output) and starts the writing thread, which ends when every
    /// clone is gone and everything is written.
    ///
    /// # Errors
    /// Where the file or the state beside it cannot be opened.
    pub fn start(file: Option<PathBuf>) -> io::Result<(Self, JoinHandle<()>)> {
        Self::start_with(Setup { file, ..Setup::default() })
    }

    /// The same, with checkpoints and copies.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(setup: Setup) -> io::Result<(Self, JoinHandle<()>)> {
        let Setup { file, signer, taps } = setup;
        let mut name = [0; 6];
        aws_lc_rs::rand::fill(&mut name).map_err(|_| io::Error::other("the system has no randomness"))?;
        let (lines, queue) = channel();
        let shared = Arc::new(Shared { taken: AtomicUsize::new(0), failing: AtomicBool::new(false), lost: AtomicU64::new(0) });
        let sink = Sink::open(file, URL_SAFE_NO_PAD.encode(name))?;
        let writer = Writer { sink, shared: shared.clone(), signer, signed: None, unsigned: false, taps };
        let thread = std::thread::Builder::new().name("audit".into()).spawn(move || writer.run(&queue))?;
        Ok((Self { shared, lines }, thread))
    }

    /// A slot for one record; none where records cannot be kept and `when_full` says refuse.
    pub fn slot(&self, when_full: WhenFull) -> Option<Slot> {
        let taken = self.shared.taken.fetch_add(1, Ordering::Relaxed);
        let slot = Slot { shared: Some(self.shared.clone()) };
        let full = taken >= QUEUE || self.shared.failing.load(Ordering::Relaxed);
        match (full, when_full) {
            (false, _) => Some(slot),
            (true, WhenFull::Drop) => Some(Slot { shared: None }),
            (true, WhenFull::Refuse) => None,
        }
    }

    /// Hands the record over. `false` where it was dropped.
    pub fn record(&self, event: Event, slot: Option<Slot>) -> bool {
        match slot {
            Some(Slot { shared: None }) => return self.lose(),
            // A refusal without a slot is still told, as long as there is room.
            None if self.shared.taken.load(Ordering::Relaxed) >= QUEUE => return self.lose(),
            None => {
                self.shared.taken.fetch_add(1, Ordering::Relaxed);
            }
            Some(mut slot) => slot.shared = None,
        }
        self.lines.send(Line::Event(Box::new(event))).is_ok()
    }

    /// Records what somebody did to the gateway itself, in the same chain as the requests. It is not yet on the
    /// disk when this returns: [`Self::flush`] waits. Acts are few, so there is always room.
    ///
    /// # Errors
    /// [`Unwritable`] where records cannot be written at present: what must leave a trace should not be done then.
    pub fn act(&self, mut act: Act) -> Result<(), Unwritable> {
        if !self.is_healthy() {
            return Err(Unwritable);
        }
        for text in [Some(&mut act.reason), Some(&mut act.actor), act.name.as_mut()].into_iter().flatten() {
            if let Some((end, _)) = text.char_indices().nth(WORDS) {
                text.truncate(end);
            }
        }
        self.shared.taken.fetch_add(1, Ordering::Relaxed);
        self.lines.send(Line::Act(Box::new(act))).map_err(|_| Unwritable)
    }

    fn lose(&self) -> bool {
        self.shared.lost.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Whether records can be written at present.
    pub fn is_healthy(&self) -> bool {
        !self.shared.failing.load(Ordering::Relaxed)
    }

    /// Returns when everything recorded so far is written, or `timeout` has passed.
    /// `false` where it is not.
    pub fn flush(&self, timeout: Duration) -> bool {
        let (done, wait) = channel();
        let sent = self.lines.send(Line::Flush(done)).is_ok();
        sent && wait.recv_timeout(timeout) != Err(RecvTimeoutError::Timeout) && self.is_healthy()
    }
}

/// Audit records cannot be written at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwritable;

/// What the thread holds.
struct Writer {
    sink: Sink,
    shared: Arc<Shared>,
    signer: Option<(Signer, Duration)>,
    /// When a checkpoint was signed last.
    signed: Option<Instant>,
    /// Lines were written since.
    unsigned: bool,
    taps: Vec<Tap>,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Line>) {
        // A file begins with the process, and what is wrong with it is found at once.
        if self.sink.is_file() {
            self.write(&[], false);
        }
        while let Some(lines) = self.next(queue) {
            let (mut records, mut flushes) = (Vec::with_capacity(lines.len()), Vec::new());
            for line in lines {
                match line {
                    Line::Flush(done) => flushes.push(done),
                    record => records.push(record),
                }
            }
            if !records.is_empty() || self.is_due() {
                self.write(&records, false);
                self.shared.taken.fetch_sub(records.len(), Ordering::Relaxed);
            }
            drop(flushes);
        }
        if self.sink.has_begun() || self.shared.lost.load(Ordering::Relaxed) > 0 {
            self.write(&[], true);
        }
    }

    /// What is to be written together: nothing where only a checkpoint is due, none at the end.
    fn next(&self, queue: &Receiver<Line>) -> Option<Vec<Line>> {
        let first = match &self.signer {
            Some((_, every)) if self.unsigned => match queue.recv_timeout(*every) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => return Some(Vec::new()),
                Err(RecvTimeoutError::Disconnected) => return None,
            },
            _ => queue.recv().ok()?,
        };
        if !matches!(first, Line::Flush(_)) {
            std::thread::sleep(GATHER);
        }
        let mut lines = vec![first];
        lines.extend(queue.try_iter().take(BATCH - 1));
        Some(lines)
    }

    fn is_due(&self) -> bool {
        self.unsigned && self.signer.as_ref().is_some_and(|(_, every)| self.signed.is_none_or(|signed| signed.elapsed() >= *every))
    }

    /// Tries until it is done, unless nobody is left who would wait.
    fn write(&mut self, records: &[Line], last: bool) {
        let lost = self.shared.lost.swap(0, Ordering::Relaxed);
        let sign = self.is_due() || (last && self.unsigned);
        let mut alone = None;
        loop {
            let now = SystemTime::now();
            let signer = self.signer.as_ref().map(|(signer, _)| signer).filter(|_| sign || last);
            let mut told = None;
            let written = self.sink.append(now, |page| {
                if lost > 0 {
                    page.line(|out| line::gap(lost, now, out));
                }
                for record in records {
                    page.line(|out| match record {
                        Line::Event(event) => line::event(event, out),
                        Line::Act(act) => line::act(act, out),
                        Line::Flush(_) => false,
                    });
                }
                if last {
                    page.line(|out| line::end(now, out));
                }
                if let Some(signer) = signer {
                    told = Some(sign_page(signer, now, page));
                }
            });
            match written {
                Ok(bytes) => {
                    self.taps.iter_mut().filter(|_| !bytes.is_empty()).for_each(|tap| tap(bytes));
                    self.unsigned |= !records.is_empty() || lost > 0 || self.signed.is_none();
                    if let Some(checkpoint) = told {
                        // Published where the log of the process goes: who cuts the file cannot cut that.
                        tracing::info!(checkpoint, "audit checkpoint");
                        (self.signed, self.unsigned) = (Some(Instant::now()), false);
                    }
                    break;
                }
                Err(error) if !self.shared.failing.swap(true, Ordering::Relaxed) => {
                    tracing::error!(%error, "audit records cannot be written");
                }
                Err(_) => {}
            }
            // SECURITY: a process that should end and cannot write must not stay for ever.
            if Arc::strong_count(&self.shared) == 1 && alone.get_or_insert_with(Instant::now).elapsed() > LAST {
                tracing::error!(records = records.len(), "audit records are lost: the process ends");
                // Should the last line find room, it comes with a gap.
                self.shared.lost.fetch_add(lost + records.len() as u64, Ordering::Relaxed);
                return;
            }
            std::thread::sleep(RETRY);
        }
        if self.shared.failing.swap(false, Ordering::Relaxed) {
            tracing::info!("audit records are written again");
        }
    }
}

/// Signs what the page builds on so far, and says it as a line.
fn sign_page(signer: &Signer, now: SystemTime, page: &mut Page<'_>) -> String {
    let time = humantime::format_rfc3339_micros(now).to_string();
    let head = page.head().clone();
    let signature = signer.sign(&head, &time);
    page.line(|out| line::checkpoint(&time, &head, signer.kid(), &signature, out));
    verify::publish(&head, &time, signer.kid(), &signature)
}

#[cfg(test)]
mod tests {
    use super::sink::LOOK;
    use super::*;
    use crate::event::Outcome;
    use std::net::Ipv4Addr;
    use std::time::SystemTime;

    fn event(id: &str) -> Event {
        Event {
            id: id.into(),
            time: SystemTime::UNIX_EPOCH,
            upstream: Some("up".into()),
            who: None,
            token: Some([0; 32]),
            operation: "tools/call",
            name: Some("echo".into()),
            outcome: Outcome::Permitted,
            reason: "permitted",
            rule: None,
            arguments: None,
            values: None,
            source: Ipv4Addr::LOCALHOST.into(),
            session: None,
            era: None,
            status: 200,
            duration: Duration::from_micros(7),
            overhead: Duration::ZERO,
            trace: None,
        }
    }

    #[test]
    fn each_record_is_one_line_and_a_moved_file_is_opened_anew() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("audit.jsonl");
        let (audit, thread) = Audit::start(Some(path.clone())).expect("starts");
        for n in 0..3 {
            let slot = audit.slot(WhenFull::Refuse);
            assert!(audit.record(event(&n.to_string()), slot));
        }
        audit.flush(Duration::from_secs(5));
        std::fs::rename(&path, folder.path().join("old")).expect("moved");
        let begun = Instant::now();
        while !path.exists() && begun.elapsed() < 5 * LOOK {
            assert!(audit.record(event("3"), None));
            audit.flush(Duration::from_secs(5));
        }
        drop(audit);
        thread.join().expect("ends");
        let lines = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("read").lines().count();
        assert!(lines("old") >= 3 && lines("audit.jsonl") >= 1);
    }

    #[test]
    fn without_room_a_request_is_refused_unless_the_operator_drops() {
        let (audit, _thread) = Audit::start(None).expect("starts");
        let held: Vec<_> = (0..QUEUE).map(|_| audit.slot(WhenFull::Refuse)).collect();
        assert!(audit.slot(WhenFull::Refuse).is_none());
        assert!(audit.slot(WhenFull::Drop).is_some());
        drop(held);
        assert!(audit.slot(WhenFull::Refuse).is_some());
    }

    #[test]
    fn item_s41_what_was_dropped_leaves_a_line_that_says_how_much() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("audit.jsonl");
        let (audit, thread) = Audit::start(Some(path.clone())).expect("starts");
        let held: Vec<_> = (0..QUEUE).map(|_| audit.slot(WhenFull::Refuse)).collect();
        for _ in 0..3 {
            assert!(!audit.record(event("lost"), audit.slot(WhenFull::Drop)));
        }
        drop(held);
        assert!(audit.record(event("kept"), audit.slot(WhenFull::Refuse)));
        drop(audit);
        thread.join().expect("ends");
        let text = std::fs::read_to_string(&path).expect("read");
        let mut verifier = verify::Verifier::default();
        text.lines().for_each(|line| verifier.line("x", line.as_bytes()));
        let report = verifier.finish();
        assert_eq!(report.count, 0, "{:?}", report.problems);
        let found = report.logs.values().next().expect("a log");
        assert_eq!((found.records, found.dropped, found.ended), (4, 3, true));
    }

    #[test]
    fn an_act_is_a_record_in_the_same_chain_with_its_words_cut() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("audit.jsonl");
        let (audit, thread) = Audit::start(Some(path.clone())).expect("starts");
        let act = Act {
            id: None,
            time: SystemTime::UNIX_EPOCH,
            upstream: None,
            operation: "admin/revoke",
            name: Some("client-one".into()),
            outcome: Outcome::Answered,
            reason: "ä".repeat(WORDS + 1),
            actor: "alice".into(),
        };
        assert_eq!(audit.act(act), Ok(()));
        drop(audit);
        thread.join().expect("ends");
        let text = std::fs::read_to_string(&path).expect("read");
        let line: serde_json::Value = serde_json::from_str(text.lines().nth(1).expect("a line")).expect("json");
        assert_eq!(
            (line["operation"].as_str(), line["actor"].as_str(), line["sequence"].as_u64()),
            (Some("admin/revoke"), Some("alice"), Some(2))
        );
        assert_eq!(line["reason"].as_str().map(|reason| reason.chars().count()), Some(WORDS));
    }
}
