//! The audit record: one line of JSON for each request, written by one thread.
//!
//! A request takes a [`Slot`] before it is forwarded; where none is free, or the file cannot be
//! written, the request is refused unless the configuration says `when_full: drop`. The slot is used
//! when the request is told, so what was forwarded is always written.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::config::WhenFull;
use crate::event::Event;

/// Records waiting for the disk.
const QUEUE: usize = 8_192;
/// How long records gather before they are written together: waking the thread and asking the disk for each
/// one would cost more than the request.
const GATHER: Duration = Duration::from_millis(5);
/// Between two looks whether the file is still where it was.
const LOOK: Duration = Duration::from_secs(1);
/// Between two tries to write after a failure.
const RETRY: Duration = Duration::from_millis(250);

/// The way to the writing thread. Cloning shares it.
#[derive(Clone)]
pub struct Audit {
    shared: Arc<Shared>,
    lines: Sender<Line>,
}

struct Shared {
    taken: AtomicUsize,
    failing: AtomicBool,
}

enum Line {
    Event(Box<Event>),
    Note(Box<Note>),
    /// Write everything that came before, then drop the sender.
    Flush(Sender<()>),
}

/// Something that a person did, besides requests. Holds no token.
#[derive(Clone, Debug)]
pub struct Note {
    /// 32 hexadecimal digits.
    pub id: String,
    pub time: SystemTime,
    pub operation: &'static str,
    /// What it was done to.
    pub name: String,
    /// SHA-256 of the token that it was done to.
    pub token: Option<[u8; 32]>,
    /// In the person's own words.
    pub reason: String,
    pub actor: String,
    /// The number of the change in the store.
    pub seq: i64,
    pub source: std::net::IpAddr,
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

impl Audit {
    /// Opens the file (or standard output) and starts the writing thread, which ends when every
    /// clone is gone and everything is written.
    pub fn start(file: Option<PathBuf>) -> io::Result<(Self, JoinHandle<()>)> {
        let (lines, queue) = channel();
        let shared = Arc::new(Shared { taken: AtomicUsize::new(0), failing: AtomicBool::new(false) });
        let sink = Sink::open(file)?;
        let thread = std::thread::Builder::new().name("audit".into()).spawn({
            let shared = shared.clone();
            move || write_all(sink, &queue, &shared)
        })?;
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
            Some(Slot { shared: None }) => return false,
            // A refusal without a slot is still told, as long as there is room.
            None if self.shared.taken.load(Ordering::Relaxed) >= QUEUE => return false,
            None => {
                self.shared.taken.fetch_add(1, Ordering::Relaxed);
            }
            Some(mut slot) => slot.shared = None,
        }
        self.lines.send(Line::Event(Box::new(event))).is_ok()
    }

    /// Hands over what a person did. It is written even where there is no room for requests.
    pub fn note(&self, note: Note) {
        self.shared.taken.fetch_add(1, Ordering::Relaxed);
        let _ = self.lines.send(Line::Note(Box::new(note)));
    }

    /// Whether records can be written at present.
    pub fn is_healthy(&self) -> bool {
        !self.shared.failing.load(Ordering::Relaxed)
    }

    /// Returns when everything recorded so far is written, or `timeout` has passed: then `false`.
    pub fn flush(&self, timeout: Duration) -> bool {
        let (done, wait) = channel();
        // The sender is dropped when all is written.
        self.lines.send(Line::Flush(done)).is_ok() && wait.recv_timeout(timeout) == Err(RecvTimeoutError::Disconnected)
    }
}

fn write_all(mut sink: Sink, queue: &Receiver<Line>, shared: &Shared) {
    while let Ok(first) = queue.recv() {
        if !matches!(first, Line::Flush(_)) {
            std::thread::sleep(GATHER);
        }
        let mut batch = Vec::with_capacity(16 << 10);
        let mut written = 0;
        let mut waiting = Vec::new();
        let mut next = Some(first);
        while let Some(line) = next {
            match line {
                Line::Event(event) => {
                    render(&event, &mut batch);
                    written += 1;
                }
                Line::Note(note) => {
                    render_note(&note, &mut batch);
                    written += 1;
                }
                Line::Flush(done) => waiting.push(done),
            }
            next = if batch.len() < 256 << 10 { queue.try_recv().ok() } else { None };
        }
        while let Err(error) = sink.append(&batch) {
            if !shared.failing.swap(true, Ordering::Relaxed) {
                tracing::error!(%error, "audit records cannot be written");
            }
            std::thread::sleep(RETRY);
        }
        if shared.failing.swap(false, Ordering::Relaxed) {
            tracing::info!("audit records are written again");
        }
        shared.taken.fetch_sub(written, Ordering::Relaxed);
    }
}

/// The audit file, or standard output.
struct Sink {
    path: Option<PathBuf>,
    file: Option<File>,
    looked: Instant,
}

impl Sink {
    fn open(path: Option<PathBuf>) -> io::Result<Self> {
        let file = path.as_ref().map(open).transpose()?;
        Ok(Self { path, file, looked: Instant::now() })
    }

    /// Appends whole lines, or none: a torn write is cut off again before the next try.
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let Some(path) = &self.path else {
            let mut out = BufWriter::new(io::stdout().lock());
            return out.write_all(lines).and_then(|()| out.flush());
        };
        let mut file = match self.file.take() {
            Some(file) if self.looked.elapsed() < LOOK => file,
            // A file that was moved or deleted is opened anew, so that rotation by others works.
            found => {
                self.looked = Instant::now();
                match found {
                    Some(file) if is_same(&file, path) => file,
                    _ => open(path)?,
                }
            }
        };
        let before = file.metadata()?.len();
        match file.write_all(lines) {
            Ok(()) => {
                self.file = Some(file);
                Ok(())
            }
            Err(error) => {
                file.set_len(before)?;
                Err(error)
            }
        }
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

fn is_same(file: &File, path: &PathBuf) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => open.ino() == there.ino() && open.dev() == there.dev(),
        _ => false,
    }
}

/// The line as it stands in the file: the names of the audit contract.
#[derive(Serialize)]
struct Record<'a> {
    id: &'a str,
    time: String,
    upstream: Option<&'a str>,
    subject: Option<&'a str>,
    client: Option<&'a str>,
    issuer: Option<&'a str>,
    token: Option<String>,
    scopes: Option<&'a [String]>,
    operation: &'a str,
    name: Option<&'a str>,
    outcome: &'static str,
    reason: &'a str,
    rule: Option<Rule<'a>>,
    arguments: Option<String>,
    source: std::net::IpAddr,
    session: Option<String>,
    era: Option<&'static str>,
    status: u16,
    duration_us: u64,
    trace: Option<&'a str>,
}

#[derive(Serialize)]
struct Rule<'a> {
    name: &'a str,
    place: String,
}

fn render(event: &Event, out: &mut Vec<u8>) {
    let Event {
        id,
        time,
        upstream,
        who,
        token,
        operation,
        name,
        outcome,
        reason,
        rule,
        arguments,
        source,
        session,
        era,
        status,
        duration,
        overhead: _,
        trace,
    } = event;
    let digest = |digest: &[u8; 32]| URL_SAFE_NO_PAD.encode(digest);
    let record = Record {
        id,
        time: humantime::format_rfc3339_micros(*time).to_string(),
        upstream: upstream.as_deref(),
        subject: who.as_ref().map(|who| who.subject()),
        client: who.as_ref().and_then(|who| who.client()),
        issuer: who.as_ref().map(|who| who.issuer()),
        token: token.as_ref().map(digest),
        scopes: who.as_ref().map(|who| who.scopes()),
        operation,
        name: name.as_deref(),
        outcome: outcome.as_str(),
        reason,
        rule: rule.as_ref().map(|(name, place)| Rule { name, place: place.to_string() }),
        arguments: arguments.as_ref().map(digest),
        source: *source,
        session: session.as_ref().map(digest),
        era: era.map(|era| era.as_str()),
        status: *status,
        duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
        trace: trace.as_deref(),
    };
    write_line(&record, out);
}

/// The members of [`Record`] that a note has, and those that only it has.
fn render_note(note: &Note, out: &mut Vec<u8>) {
    let Note { id, time, operation, name, token, reason, actor, seq, source } = note;
    let record = serde_json::json!({
        "id": id,
        "time": humantime::format_rfc3339_micros(*time).to_string(),
        "token": token.map(|digest| URL_SAFE_NO_PAD.encode(digest)),
        "operation": operation,
        "name": name,
        "outcome": "done",
        "reason": reason,
        "actor": actor,
        "seq": seq,
        "source": source,
    });
    write_line(&record, out);
}

fn write_line(record: &impl Serialize, out: &mut Vec<u8>) {
    let start = out.len();
    match serde_json::to_writer(&mut *out, record) {
        Ok(()) => out.push(b'\n'),
        Err(_) => out.truncate(start),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome;
    use std::net::Ipv4Addr;

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
}
