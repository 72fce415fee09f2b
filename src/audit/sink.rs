//! Where do sealed lines go? To a file that others may move away, or to standard output; whole, or not at all.
//!
//! Knows the chain and the state beside the file, and what a file looks like that was cut, torn or changed. Does not know
//! what a request is: what is written comes in as a function that renders it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::chain::{Head, LEAD, Sealed};
use super::line::{self, Begin, Reason};
use super::state::{Id, Kept, Point, State};

/// Between two looks whether the file is still where it was.
pub const LOOK: Duration = Duration::from_secs(1);
/// How far back the last line of a file is looked for: longer than any line.
const TAIL: u64 = 1 << 20;

/// The end of a log.
pub struct Sink {
    head: Head,
    place: Place,
    /// This process has said that it writes here.
    begun: bool,
    batch: Vec<u8>,
}

enum Place {
    /// Standard output, a pipe or a device: what was written is gone.
    Stream(Option<PathBuf>),
    File(Kind),
}

struct Kind {
    path: PathBuf,
    file: Option<File>,
    looked: Instant,
    state: State,
}

/// Lines as they are made: each is rendered as an object, then sealed.
pub struct Page<'a> {
    head: Head,
    out: &'a mut Vec<u8>,
}

impl<'a> Page<'a> {
    fn new(head: &Head, out: &'a mut Vec<u8>) -> Self {
        out.clear();
        head.lead(out);
        Self { head: head.clone(), out }
    }

    /// Adds what `render` writes, if it writes something.
    pub fn line(&mut self, render: impl FnOnce(&mut Vec<u8>) -> bool) {
        let start = self.out.len();
        if render(self.out) {
            self.head.seal(self.out, start);
        }
    }

    /// What the next line builds on.
    pub fn head(&self) -> &Head {
        &self.head
    }
}

impl Sink {
    /// `log` is what a new log is called.
    pub fn open(path: Option<PathBuf>, log: String) -> io::Result<Self> {
        let place = match path {
            Some(path) if std::fs::metadata(&path).map_or(true, |found| found.is_file()) => {
                let file = open(&path)?;
                let state = State::open(&path)?;
                Place::File(Kind { path, file: Some(file), looked: Instant::now(), state })
            }
            other => Place::Stream(other),
        };
        Ok(Self { head: Head::new(log), place, begun: false, batch: Vec::with_capacity(16 << 10) })
    }

    /// Whether what was written can be read again.
    pub fn is_file(&self) -> bool {
        matches!(self.place, Place::File(_))
    }

    /// Whether this process has written something.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Appends all the lines, or none, and hands back their bytes.
    pub fn append(&mut self, time: SystemTime, mut write: impl FnMut(&mut Page<'_>)) -> io::Result<&[u8]> {
        let Self { head, place, begun, batch } = self;
        match place {
            Place::Stream(path) => {
                let mut page = Page::new(head, batch);
                if !*begun {
                    let first = Begin { reason: Reason::First, torn: 0 };
                    page.line(|out| line::begin(first, time, &Head::new(String::new()), out));
                }
                write(&mut page);
                let after = page.head;
                match path {
                    Some(path) => OpenOptions::new().append(true).open(path)?.write_all(lines(batch))?,
                    None => {
                        let mut out = io::stdout().lock();
                        out.write_all(lines(batch)).and_then(|()| out.flush())?;
                    }
                }
                *head = after;
            }
            Place::File(kind) => {
                kind.ready()?;
                let done = kind.append(head, begun, batch, time, write);
                kind.state.unlock();
                done?;
            }
        }
        *begun = true;
        Ok(lines(batch))
    }
}

impl Kind {
    /// Takes the lock of the state that others see.
    fn ready(&mut self) -> io::Result<()> {
        if self.looked.elapsed() >= LOOK && !self.state.is_there() {
            self.state = State::open(&self.path)?;
        }
        self.state.lock()
    }

    fn append(
        &mut self,
        head: &mut Head,
        begun: &mut bool,
        batch: &mut Vec<u8>,
        time: SystemTime,
        mut write: impl FnMut(&mut Page<'_>),
    ) -> io::Result<()> {
        let kept = self.state.read()?;
        let mut file = self.file(kept.as_ref())?;
        let id = Id::of(&file)?;
        let found = file.metadata()?.len();
        let (from, begin) = match kept {
            Some(kept) if *begun && kept.file == id && kept.length == found => (kept.head, None),
            kept => {
                let (head, begin) = self.resume(&file, (id, found), kept, head, !*begun)?;
                (head, Some(begin))
            }
        };
        if begin.is_some_and(|begin| begin.reason == Reason::Altered) {
            tracing::error!(file = %self.path.display(), "the audit file does not end as it was left");
        }
        let mut page = Page::new(&from, batch);
        if let Some(begin) = begin {
            page.line(|out| line::begin(begin, time, &from, out));
        }
        write(&mut page);
        let after = page.head;
        let now = Kept { head: from, file: id, length: file.metadata()?.len(), next: None };
        self.put(&mut file, &now, &after, lines(batch))?;
        *head = after;
        self.file = Some(file);
        Ok(())
    }

    /// Writes lines down, and before them how far they will lead: whoever comes after a kill in between gives out no number twice.
    fn put(&self, file: &mut File, now: &Kept, after: &Head, lines: &[u8]) -> io::Result<()> {
        let next = Point { sequence: after.sequence, chain: after.chain };
        self.state.write(&Kept { next: Some(next), ..now.clone() })?;
        let then = Kept { head: after.clone(), file: now.file, length: now.length + lines.len() as u64, next: None };
        let done = file.write_all(lines).and_then(|()| self.state.write(&then));
        if done.is_err() {
            file.set_len(now.length)?;
            // It stands in the same place as before; where even that fails, the file itself tells.
            let _ = self.state.write(now);
        }
        done
    }

    /// What to go on from, in a file that is new here or is not as it was left. A torn last line is cut off.
    fn resume(&self, file: &File, (id, length): (Id, u64), kept: Option<Kept>, own: &Head, start: bool) -> io::Result<(Head, Begin)> {
        let (tail, torn) = tail(file, length)?;
        if torn > 0 {
            file.set_len(length - torn)?;
        }
        let is_empty = length == torn;
        let began = if start { Reason::Start } else { Reason::Altered };
        let (head, reason) = match (kept, tail) {
            (None, None) if own.sequence == 0 => (own.clone(), if is_empty { Reason::First } else { Reason::Altered }),
            // The state was lost, and this process still knows.
            (None, None) => (own.clone(), Reason::Altered),
            (None, Some(tail)) => (tail, began),
            // Lines that were written before a process could note them are its own.
            (Some(kept), Some(tail)) if tail == kept.head || (tail.log == kept.head.log && tail.sequence > kept.head.sequence) => {
                (tail, began)
            }
            // Somebody began the file and wrote nothing into it.
            (Some(kept), None) if is_empty && kept.file == id && kept.length == 0 => {
                let reason = if kept.head.sequence == 0 { Reason::First } else { Reason::Rotated };
                (kept.head, reason)
            }
            (Some(kept), None) if is_empty => (self.last(kept, id), Reason::Rotated),
            (Some(kept), _) => (self.last(kept, id), Reason::Altered),
        };
        Ok((head, Begin { reason, torn }))
    }

    /// The end of a log that is not in this file any more. Where somebody was killed while writing, the file that was moved away
    /// says how far that went.
    fn last(&self, kept: Kept, id: Id) -> Head {
        let Some(Point { sequence, chain }) = kept.next.clone() else { return kept.head };
        let moved = if kept.file == id { None } else { kept.file.beside(&self.path) };
        // SECURITY: where nobody can say, the lines count as written: a gap is told by `audit verify`, and no number is given twice.
        let unknown = Head { log: kept.head.log.clone(), sequence, chain };
        moved.and_then(|path| ended(&path, &kept)).unwrap_or(unknown)
    }

    /// The file to append to. One that was moved or deleted is opened anew, so that rotation by others works.
    fn file(&mut self, kept: Option<&Kept>) -> io::Result<File> {
        let fresh = self.looked.elapsed() < LOOK;
        let mine = |file: &File| kept.is_none_or(|kept| Id::of(file).is_ok_and(|id| id == kept.file));
        match self.file.take() {
            Some(file) if fresh && mine(&file) => Ok(file),
            found => {
                self.looked = Instant::now();
                match found {
                    Some(file) if Id::of(&file)?.is_at(&self.path) => Ok(file),
                    _ => open(&self.path),
                }
            }
        }
    }
}

/// The page without what it was sealed behind.
fn lines(page: &[u8]) -> &[u8] {
    page.get(LEAD..).unwrap_or_default()
}

/// Where a file ends that was moved away while it was written. Half a line is cut off there too.
fn ended(path: &Path, kept: &Kept) -> Option<Head> {
    let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let (tail, torn) = tail(&file, length).ok()?;
    let head = match tail {
        Some(tail) if tail.log == kept.head.log && tail.sequence >= kept.head.sequence => tail,
        None if kept.length == 0 && length == torn => kept.head.clone(),
        _ => return None,
    };
    if torn > 0 {
        file.set_len(length - torn).ok()?;
    }
    Some(head)
}

/// The head that the last whole line names, and how many bytes of a torn line follow it.
fn tail(file: &File, length: u64) -> io::Result<(Option<Head>, u64)> {
    let from = length.saturating_sub(TAIL);
    let mut bytes = vec![0; usize::try_from(length - from).unwrap_or_default()];
    file.read_exact_at(&mut bytes, from)?;
    let end = bytes.iter().rposition(|byte| *byte == b'\n');
    let rest = bytes.get(end.map_or(0, |end| end + 1)..).unwrap_or_default();
    // Half a line of ours, or what a disk leaves that lost its power. Anything else is somebody's, and stays.
    let ours = rest.is_empty() || rest.starts_with(b"{") || rest.starts_with(&[0]);
    if !ours || (end.is_none() && from > 0) {
        return Err(io::Error::other("the audit file does not end in a record: is it another file?"));
    }
    let whole = bytes.get(..end.unwrap_or_default()).unwrap_or_default();
    let last = whole.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok((Sealed::read(last).map(|sealed| sealed.head), rest.len() as u64))
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests;
