//! Is the log what was written? Lines come in as they stand in files, problems come out with their places.
//!
//! Works without the gateway and without its keys. Lines of several logs (of replicas) may be mixed; each log is followed by
//! its own chain. Opens no file itself.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::chain::{self, Head, Sealed};
use super::checkpoint::Key;
use super::line::{BEGIN, CHECKPOINT, END, GAP};

/// Problems that are told one by one.
const TOLD: usize = 20;
/// How a published checkpoint begins, wherever it stands in a line.
const PUBLISHED: &str = "doorward-checkpoint/1/";

/// A checkpoint for the eyes of others: without a character that any log would have to escape.
pub fn publish(head: &Head, time: &str, kid: &str, signature: &str) -> String {
    format!("{PUBLISHED}{}/{}/{}/{time}/{kid}/{signature}", head.log, head.sequence, head.text())
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `file:line`, or the file alone where no line can be blamed.
    pub place: String,
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// What was found of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The record before the first that was given; 0 where nothing came before.
    pub after: u64,
    /// The last record.
    pub last: u64,
    pub records: u64,
    /// Requests that were let pass without a record, by `when_full: drop`.
    pub dropped: u64,
    /// Checkpoints whose signature holds.
    pub signed: u64,
    /// The last record that such a checkpoint covers.
    pub covered: Option<u64>,
    /// It ends in the record of an orderly stop.
    pub ended: bool,
    /// The state beside the file names the same end.
    pub confirmed: bool,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Report {
    pub logs: BTreeMap<String, Found>,
    /// In the order of the lines, up to a bound.
    pub problems: Vec<Problem>,
    /// How many there were.
    pub count: u64,
}

/// Follows the lines.
#[derive(Default)]
pub struct Verifier {
    keys: BTreeMap<String, Key>,
    logs: BTreeMap<String, (Head, Found)>,
    published: BTreeMap<(String, u64), (String, [u8; 32])>,
    states: BTreeMap<String, (String, Head)>,
    report: Report,
}

#[derive(Deserialize)]
struct Begins {
    after: Option<Point>,
}

#[derive(Deserialize)]
struct Point {
    sequence: u64,
    chain: String,
}

#[derive(Deserialize)]
struct Signed {
    time: String,
    of: Option<Point>,
    key: String,
    signature: String,
}

#[derive(Deserialize)]
struct Gap {
    dropped: u64,
}

#[derive(Deserialize)]
struct What {
    operation: String,
}

impl Verifier {
    /// With keys, each checkpoint must be signed by one of them, and each log must have one.
    pub fn new(keys: Vec<Key>) -> Self {
        Self { keys: keys.into_iter().map(|key| (key.kid(), key)).collect(), ..Self::default() }
    }

    /// Looks for published checkpoints in a line of any text, which the log must then agree with. To be called before
    /// [`Self::line`].
    pub fn published(&mut self, place: &str, text: &str) {
        let Some((_, rest)) = text.split_once(PUBLISHED) else { return };
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && !"-_/:.".contains(letter)).unwrap_or(rest.len());
        let parts: Vec<&str> = rest.get(..end).unwrap_or_default().split('/').collect();
        let [log, sequence, chain, time, kid, signature] = parts.as_slice() else {
            return self.wrong(place.into(), "a published checkpoint that is cut or changed".into());
        };
        let (Ok(sequence), Some(chain)) = (sequence.parse(), chain::value(chain)) else {
            return self.wrong(place.into(), "a published checkpoint that is cut or changed".into());
        };
        let head = Head { log: (*log).to_owned(), sequence, chain };
        if !self.keys.is_empty() && !self.keys.get(*kid).is_some_and(|key| key.has_signed(&head, time, signature)) {
            return self.wrong(place.into(), format!("the checkpoint of record {sequence} is not signed by a key that was given"));
        }
        self.published.insert((head.log, sequence), (place.to_owned(), chain));
    }

    /// One line, without its newline.
    pub fn line(&mut self, place: &str, line: &[u8]) {
        let Some(sealed) = Sealed::read(line) else {
            return self.wrong(place.into(), "not a record: it does not end in its place and chain value".into());
        };
        let operation = serde_json::from_slice::<What>(line).map(|what| what.operation).unwrap_or_default();
        let known = self.logs.remove(&sealed.head.log);
        let (before, (mut found, flaw)) = match known {
            Some((before, found)) => {
                let flaw = flaw(&sealed, &before, &operation, line);
                (Some(before), (found, flaw))
            }
            None => (None, self.first(&sealed, &operation, line)),
        };
        let sound = flaw.is_none();
        if let Some(flaw) = flaw {
            self.wrong(place.into(), flaw);
        }
        found.records += 1;
        found.last = sealed.head.sequence;
        found.ended = operation == END || (found.ended && operation == CHECKPOINT);
        match operation.as_str() {
            GAP => found.dropped += serde_json::from_slice::<Gap>(line).map(|gap| gap.dropped).unwrap_or_default(),
            CHECKPOINT if sound => self.checkpoint(place, line, before.as_ref(), &mut found),
            _ => {}
        }
        if let Some((_, chain)) = self.published.remove(&(sealed.head.log.clone(), sealed.head.sequence))
            && chain != sealed.head.chain
        {
            self.wrong(place.into(), "this record or one before it is not what a published checkpoint names".into());
        }
        let named = self.states.get(&sealed.head.log).map(|(_, state)| state);
        if named.is_some_and(|state| state.sequence == sealed.head.sequence && state.chain != sealed.head.chain) {
            self.wrong(place.into(), "this record or one before it is not what the state names".into());
        }
        self.logs.insert(sealed.head.log.clone(), (sealed.head, found));
    }

    /// The first line that is given of a log.
    fn first(&self, sealed: &Sealed<'_>, operation: &str, line: &[u8]) -> (Found, Option<String>) {
        let start = |after| Found { after, ..Found::default() };
        if operation != BEGIN {
            let flaw = "what came before was removed: the log does not begin with a begin record".to_owned();
            return (start(sealed.head.sequence.saturating_sub(1)), Some(flaw));
        }
        let before = match serde_json::from_slice::<Begins>(line).ok().and_then(|begins| begins.after) {
            None => Head::new(sealed.head.log.clone()),
            Some(Point { sequence, chain }) => {
                Head { log: sealed.head.log.clone(), sequence, chain: chain::value(&chain).unwrap_or_default() }
            }
        };
        let sound = before.sequence.checked_add(1) == Some(sealed.head.sequence) && sealed.follows(&before.chain);
        (start(before.sequence), (!sound).then(|| CHANGED.to_owned()))
    }

    fn checkpoint(&mut self, place: &str, line: &[u8], before: Option<&Head>, found: &mut Found) {
        let read = serde_json::from_slice::<Signed>(line).ok();
        let (Some(Signed { time, of: Some(of), key, signature }), Some(before)) = (read, before) else {
            return self.wrong(place.into(), "a checkpoint that names no record".into());
        };
        if of.sequence != before.sequence || chain::value(&of.chain) != Some(before.chain) {
            return self.wrong(place.into(), "a checkpoint of another record than the one before it".into());
        }
        if self.keys.is_empty() {
            return;
        }
        match self.keys.get(&key) {
            None => self.wrong(place.into(), format!("a checkpoint signed by `{key}`, which was not given")),
            Some(known) if known.has_signed(before, &time, &signature) => {
                found.signed += 1;
                found.covered = Some(before.sequence);
            }
            Some(_) => self.wrong(place.into(), "the signature of this checkpoint does not hold".into()),
        }
    }

    /// What the state beside a file says of the end. To be read before the file, which may still grow, and to be called
    /// before [`Self::line`].
    pub fn state(&mut self, place: &str, state: Head) {
        self.states.insert(state.log.clone(), (place.to_owned(), state));
    }

    fn is_there(&mut self, place: String, state: &Head) {
        match self.logs.get_mut(&state.log) {
            None => self.wrong(place, format!("the state names the log `{}`, of which no record was given", state.log)),
            Some((last, _)) if last.sequence < state.sequence => {
                let missing = range(last.sequence + 1, state.sequence);
                self.wrong(place, format!("{missing} missing at the end: the state names {} as the last", state.sequence));
            }
            Some((_, found)) => found.confirmed = true,
        }
    }

    /// Says what was found.
    pub fn finish(mut self) -> Report {
        for (place, state) in std::mem::take(&mut self.states).into_values() {
            self.is_there(place, &state);
        }
        for ((log, sequence), (place, _)) in std::mem::take(&mut self.published) {
            let cut = match self.logs.get(&log) {
                Some((last, _)) => sequence > last.sequence,
                None => true,
            };
            if cut {
                self.wrong(place, format!("a checkpoint names record {sequence} of log `{log}`, which is missing: the log was cut"));
            }
        }
        if !self.keys.is_empty() {
            let bare: Vec<_> = self.logs.iter().filter(|(_, (_, found))| found.signed == 0).map(|(log, _)| log.clone()).collect();
            for log in bare {
                self.wrong(format!("log {log}"), "no checkpoint is signed by a key that was given".into());
            }
        }
        self.report.logs = self.logs.into_iter().map(|(log, (_, found))| (log, found)).collect();
        self.report
    }

    /// A problem that the caller found, such as a file without an end.
    pub fn wrong(&mut self, place: String, what: String) {
        self.report.count += 1;
        if self.report.problems.len() < TOLD {
            self.report.problems.push(Problem { place, what });
        }
    }
}

const CHANGED: &str = "this record or the one before it is not what was written";

/// What is wrong with a line after `before`.
fn flaw(sealed: &Sealed<'_>, before: &Head, operation: &str, line: &[u8]) -> Option<String> {
    let (expected, found) = (before.sequence.saturating_add(1), sealed.head.sequence);
    if found > expected {
        return Some(format!("{} missing before this one", range(expected, found - 1)));
    }
    if found < expected {
        return Some(format!("record {found} stands where {expected} should: repeated or out of order"));
    }
    if !sealed.follows(&before.chain) {
        return Some(CHANGED.to_owned());
    }
    // What a begin record says of the one before it is also for people to read.
    let begins = (operation == BEGIN).then(|| serde_json::from_slice::<Begins>(line).ok()).flatten()?;
    let agrees = begins.after.is_some_and(|after| after.sequence == before.sequence && chain::value(&after.chain) == Some(before.chain));
    (!agrees).then(|| "the begin record names another record than the one before it".to_owned())
}

fn range(from: u64, to: u64) -> String {
    if from == to { format!("record {from} is") } else { format!("records {from} to {to} are") }
}

#[cfg(test)]
mod tests;
