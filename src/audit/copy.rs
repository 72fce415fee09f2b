//! Where do copies of the lines go without holding anything up? Into a queue bounded in bytes, that another thread empties.
//!
//! What finds no room is lost there and counted, never in the log itself. Knows no destination but standard output.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use super::Tap;

/// Bytes that wait for one destination.
const ROOM: usize = 4 << 20;

/// Bytes that are on their way, and how many there may be.
#[derive(Clone, Default)]
pub struct Room(Arc<AtomicUsize>);

impl Room {
    /// Takes room for some bytes, where there is any.
    pub fn take(&self, bytes: usize) -> bool {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        // A batch larger than all the room passes when nothing waits.
        let fits = before == 0 || before.saturating_add(bytes) <= ROOM;
        if !fits {
            self.give(bytes);
        }
        fits
    }

    pub fn give(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// How many lines these are.
pub fn lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// Copies to standard output. `dropped` is told how many lines were lost.
///
/// # Errors
/// Where no thread can be started.
pub fn stdout(dropped: impl Fn(u64) + Send + Clone + 'static) -> io::Result<Tap> {
    let (batches, queue) = channel::<Vec<u8>>();
    let room = Room::default();
    let (mine, lost) = (room.clone(), dropped.clone());
    std::thread::Builder::new().name("audit-stdout".into()).spawn(move || {
        while let Ok(batch) = queue.recv() {
            let mut out = io::stdout().lock();
            if out.write_all(&batch).and_then(|()| out.flush()).is_err() {
                lost(lines(&batch));
            }
            mine.give(batch.len());
        }
    })?;
    Ok(Box::new(move |bytes| {
        if !room.take(bytes.len()) || batches.send(bytes.to_vec()).is_err() {
            dropped(lines(bytes));
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_room_beyond_the_bound_and_again_when_it_is_given_back() {
        let room = Room::default();
        assert!(room.take(ROOM - 1) && room.take(1) && !room.take(1));
        room.give(1);
        assert!(room.take(1));
        room.give(ROOM);
        assert!(room.take(2 * ROOM) && !room.take(1));
    }
}
