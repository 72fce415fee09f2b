//! Where did the log end? The head of a log in a small file beside it, and the lock of those that write it.
//!
//! Two processes write one log for a moment when one takes over from the other; each does so under the lock, from where the
//! last one stopped. Whoever cuts the log short would have to change this file too.
//!
//! Before lines are written it says where the log will end by them: a process that is killed between lines and state may have
//! written them to a file that is moved away before the next one starts, and no number may be given out twice.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::chain::{self, Head};

/// Bytes of the file: it is written in place, and never grows.
const SIZE: usize = 512;
/// How long another process may hold the lock.
const PATIENCE: Duration = Duration::from_secs(1);

/// The end of a log, and the file in which it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub head: Head,
    pub file: Id,
    /// Of that file, in bytes.
    pub length: u64,
    /// The end by lines that are being written; none where all are.
    pub next: Option<Point>,
}

/// A place in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    pub sequence: u64,
    pub chain: [u8; 32],
}

/// Tells one file from another, whatever they are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    pub device: u64,
    pub inode: u64,
}

impl Id {
    pub fn of(file: &File) -> io::Result<Self> {
        file.metadata().map(|found| Self { device: found.dev(), inode: found.ino() })
    }

    /// Whether the file of this name is it.
    pub fn is_at(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|found| self.inode == found.ino() && self.device == found.dev())
    }

    /// The file beside this one that it is, whatever it is called by now.
    pub fn beside(&self, path: &Path) -> Option<PathBuf> {
        let folder = path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?;
        let found = std::fs::read_dir(folder).ok()?.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
        found.map(|entry| entry.path()).find(|path| self.is_at(path))
    }
}

/// The open file.
pub struct State {
    path: PathBuf,
    file: File,
}

#[derive(Deserialize)]
struct Text {
    log: String,
    sequence: u64,
    chain: String,
    device: u64,
    inode: u64,
    length: u64,
    next: Option<NextText>,
}

#[derive(Deserialize)]
struct NextText {
    sequence: u64,
    chain: String,
}

/// Beside the log, under its name and `.state`.
pub fn beside(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".state");
    name.into()
}

/// What a file says, for those that only read.
pub fn read(path: &Path) -> Option<Head> {
    parse(&std::fs::read(path).ok()?).map(|kept| kept.head)
}

fn parse(bytes: &[u8]) -> Option<Kept> {
    let Text { log, sequence, chain, device, inode, length, next } = serde_json::from_slice(bytes).ok()?;
    let next = match next {
        Some(NextText { sequence, chain }) => Some(Point { sequence, chain: chain::value(&chain)? }),
        None => None,
    };
    Some(Kept { head: Head { log, sequence, chain: chain::value(&chain)? }, file: Id { device, inode }, length, next })
}

impl State {
    pub fn open(log: &Path) -> io::Result<Self> {
        let path = beside(log);
        let told = |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display()));
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        Ok(Self { file: open.map_err(told)?, path })
    }

    /// Waits for the lock, which ends with [`Self::unlock`] and with the process.
    pub fn lock(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            match self.file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if begun.elapsed() > PATIENCE => {
                    return Err(io::Error::other(format!("`{}` is locked by another process", self.path.display())));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    pub fn unlock(&self) {
        let _ = self.file.unlock();
    }

    /// Whether it is still where others look for it.
    pub fn is_there(&self) -> bool {
        Id::of(&self.file).is_ok_and(|id| id.is_at(&self.path))
    }

    /// None where there is none yet, or where it cannot be read as one.
    pub fn read(&self) -> io::Result<Option<Kept>> {
        let mut bytes = [0; SIZE];
        let length = self.file.read_at(&mut bytes, 0)?;
        Ok(parse(bytes.get(..length).unwrap_or_default()))
    }

    pub fn write(&self, kept: &Kept) -> io::Result<()> {
        let Kept { head, file: Id { device, inode }, length, next } = kept;
        let next = next.as_ref().map(|Point { sequence, chain }| {
            let chain = Head { log: String::new(), sequence: *sequence, chain: *chain }.text();
            format!(r#","next":{{"sequence":{sequence},"chain":"{chain}"}}"#)
        });
        let mut text = format!(
            r#"{{"log":"{}","sequence":{},"chain":"{}","device":{device},"inode":{inode},"length":{length}{}}}"#,
            head.log,
            head.sequence,
            head.text(),
            next.unwrap_or_default()
        )
        .into_bytes();
        text.resize(SIZE - 1, b' ');
        text.push(b'\n');
        self.file.write_all_at(&text, 0)
    }
}
