//! Sends rendered requests and counts the answers: as fast as they come (closed loop) or at a rate (open loop).
//!
//! Raw HTTP/1.1 over keep-alive connections on one thread: the generator must stay cheaper than
//! what it measures. It reads an answer to its end by length or chunks, and opens a connection
//! anew when the peer has closed it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::upstream::{content_length, find, starts_with_folded};

/// A request as it goes over the wire.
pub type Rendered = Rc<[u8]>;

/// When a closed loop ends.
#[derive(Clone, Copy)]
pub enum Until {
    Elapsed(Duration),
    /// Each request of the set has been sent this often.
    Rounds(usize),
}

/// What came back.
#[derive(Default, Debug)]
pub struct Outcome {
    pub statuses: BTreeMap<u16, u64>,
    /// Connections that broke before an answer was complete.
    pub broken: u64,
    pub took: Duration,
    /// Of each answer, in an open loop.
    pub latencies: Vec<Duration>,
}

impl Outcome {
    pub fn answers(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Answers of any other status than the one that was meant, and broken connections.
    pub fn wrong(&self, expected: u16) -> u64 {
        self.answers() - self.statuses.get(&expected).copied().unwrap_or(0) + self.broken
    }

    pub fn median_latency(&self) -> Option<Duration> {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }
}

/// Keeps `connections` busy with the requests in turn.
pub async fn closed_loop(address: &str, requests: &[Rendered], connections: usize, until: Until) -> Outcome {
    let started = Instant::now();
    let outcome = Rc::new(RefCell::new(Outcome::default()));
    let next = Rc::new(Cell::new(0));
    let mut tasks = Vec::with_capacity(connections);
    for _ in 0..connections {
        let (address, requests) = (address.to_owned(), requests.to_vec());
        let (outcome, next) = (outcome.clone(), next.clone());
        tasks.push(tokio::task::spawn_local(async move {
            let mut connection = Connection::new(&address);
            loop {
                let turn = next.get();
                let over = match until {
                    Until::Elapsed(time) => started.elapsed() >= time,
                    Until::Rounds(rounds) => turn >= rounds * requests.len(),
                };
                if over {
                    return;
                }
                next.set(turn + 1);
                let answer = connection.exchange(&requests[turn % requests.len()]).await;
                outcome.borrow_mut().count(answer);
            }
        }));
    }
    let awake = tokio::task::spawn_local(stay_awake());
    let stuck = join(tasks).await;
    awake.abort();
    let mut outcome = outcome.take();
    outcome.broken += stuck;
    outcome.took = started.elapsed();
    outcome
}

/// Looks for what has come without ever sleeping.
///
/// To wake a core that sleeps is work of the one who writes to it, and on a virtual machine it may cost more than all
/// the rest of a request. How often it sleeps depends on how slow the gateway is, so a slow one would pay twice.
async fn stay_awake() {
    loop {
        tokio::task::yield_now().await;
    }
}

/// Sends `rate` requests a second whatever the answers do, and measures each.
///
/// An answer is timed from the moment its request is written; from the moment it was due when no
/// connection was free by then, so that a stall is not left out.
pub async fn open_loop(address: &str, requests: &[Rendered], connections: usize, rate: u32, time: Duration) -> Outcome {
    const LATE: Duration = Duration::from_millis(1);
    let started = Instant::now();
    let outcome = Rc::new(RefCell::new(Outcome::default()));
    let (queue, due) = mpsc::unbounded_channel::<Instant>();
    let due = Rc::new(tokio::sync::Mutex::new(due));
    // Without sleeping, as in `stay_awake`.
    let pace = tokio::task::spawn_local(async move {
        let step = Duration::from_secs(1) / rate;
        let mut at = Instant::now();
        while at.duration_since(started) < time {
            while Instant::now() < at {
                tokio::task::yield_now().await;
            }
            if queue.send(at).is_err() {
                return;
            }
            at += step;
        }
    });
    let mut tasks = Vec::with_capacity(connections);
    for first in 0..connections {
        let (address, requests) = (address.to_owned(), requests.to_vec());
        let (outcome, due) = (outcome.clone(), due.clone());
        tasks.push(tokio::task::spawn_local(async move {
            let mut connection = Connection::new(&address);
            let mut turn = first;
            loop {
                let Some(at) = due.lock().await.recv().await else { return };
                let begun = if at.elapsed() > LATE { at } else { Instant::now() };
                let answer = connection.exchange(&requests[turn % requests.len()]).await;
                turn += 1;
                let mut outcome = outcome.borrow_mut();
                outcome.latencies.push(begun.elapsed());
                outcome.count(answer);
            }
        }));
    }
    let stuck = join(tasks).await;
    pace.await.expect("the pace");
    let mut outcome = outcome.take();
    outcome.broken += stuck;
    outcome.took = started.elapsed();
    outcome
}

/// Longer than any cell that makes progress.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits for all connections; how many were cut off because nothing moved any more.
async fn join(mut tasks: Vec<tokio::task::JoinHandle<()>>) -> u64 {
    let all = async {
        for task in &mut tasks {
            task.await.expect("a connection's task");
        }
    };
    if tokio::time::timeout(PATIENCE, all).await.is_ok() {
        return 0;
    }
    tasks.iter().filter(|task| !task.is_finished()).map(|task| task.abort()).count() as u64
}

impl Outcome {
    fn count(&mut self, answer: io::Result<u16>) {
        match answer {
            Ok(status) => *self.statuses.entry(status).or_default() += 1,
            Err(_) => self.broken += 1,
        }
    }
}

/// One keep-alive connection, opened when it is needed.
pub struct Connection {
    address: String,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    pub fn new(address: &str) -> Self {
        Self { address: address.to_owned(), stream: None, buffer: Vec::with_capacity(16 << 10) }
    }

    /// Connects without a request.
    pub async fn open(&mut self) -> io::Result<()> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        self.stream = Some(stream);
        Ok(())
    }

    /// Sends a request and reads its answer to the end; the answer's status.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<u16> {
        let answer = self.attempt(request, true).await;
        if answer.is_err() {
            self.stream = None;
        }
        answer
    }

    /// Sends a request and reads the head and the first bytes of a stream that stays open.
    pub async fn begin(&mut self, request: &[u8]) -> io::Result<u16> {
        self.attempt(request, false).await
    }

    async fn attempt(&mut self, request: &[u8], to_end: bool) -> io::Result<u16> {
        if self.stream.is_none() {
            self.open().await?;
        }
        let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::NotConnected.into()) };
        stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            fill(stream, &mut self.buffer).await?;
        };
        let answer = Answer::read(&self.buffer[..head]).ok_or(io::ErrorKind::InvalidData)?;
        if to_end {
            match answer.length {
                Length::Known(length) => {
                    while self.buffer.len() < head + length {
                        fill(stream, &mut self.buffer).await?;
                    }
                }
                Length::Chunked => read_chunks(stream, &mut self.buffer, head).await?,
            }
        }
        if answer.close {
            self.stream = None;
        }
        Ok(answer.status)
    }
}

async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Reads past the last chunk. The load has no trailers.
async fn read_chunks(stream: &mut TcpStream, buffer: &mut Vec<u8>, mut at: usize) -> io::Result<()> {
    loop {
        let line = loop {
            if let Some(end) = find(&buffer[at..], b"\r\n") {
                break end;
            }
            fill(stream, buffer).await?;
        };
        let size = std::str::from_utf8(&buffer[at..at + line]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let size = size.ok_or(io::ErrorKind::InvalidData)?;
        at += line + 2 + size + 2;
        while buffer.len() < at {
            fill(stream, buffer).await?;
        }
        if size == 0 {
            return Ok(());
        }
    }
}

struct Answer {
    status: u16,
    length: Length,
    close: bool,
}

enum Length {
    Known(usize),
    Chunked,
}

impl Answer {
    fn read(head: &[u8]) -> Option<Self> {
        let status = std::str::from_utf8(head.get(9..12)?).ok()?.parse().ok()?;
        let length = match content_length(head) {
            Some(length) => Length::Known(length),
            None if has_line(head, b"transfer-encoding: chunked") => Length::Chunked,
            None => Length::Known(0),
        };
        Some(Self { status, length, close: has_line(head, b"connection: close") })
    }
}

fn has_line(head: &[u8], line: &[u8]) -> bool {
    head.split(|byte| *byte == b'\n').any(|found| starts_with_folded(found, line))
}
