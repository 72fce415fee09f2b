//! Streams that stay open: what an idle one weighs, how late an event is, how fast one command ends all.

use std::cell::{Cell, RefCell};
use std::io;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::generator::Rendered;
use crate::measure::resident_at_rest;
use crate::seat::Seat;
use crate::upstream::{find, scalar};

/// Open at once; [`TICKING`] of them have an event each second.
const STREAMS: usize = 5_000;
const TICKING: usize = 500;
/// Sockets at the gateway, and some more.
const DESCRIPTORS: u64 = 2 * STREAMS as u64 + 500;
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Measured {
    /// KiB of resident memory for each idle stream, its two connections included.
    pub weight: f64,
    /// From the write at the server to the read at the client, at the 99th percentile, in milliseconds.
    pub delay: f64,
    /// From the command until the last stream had ended, in milliseconds.
    pub ended_in: f64,
    pub faults: Vec<String>,
}

#[derive(Default)]
struct Heard {
    open: Cell<usize>,
    ended: Cell<usize>,
    delays: RefCell<Vec<Duration>>,
    /// Why the first of those that did not open did not.
    broken: RefCell<Option<String>>,
}

/// `wait` opens a stream without events, `tick` one with an event each second. Each step waits for at most [`PATIENCE`], and
/// the first that waits in vain is the last.
pub async fn measure(seat: &Seat, wait: &Rendered, tick: &Rendered, time: Duration) -> io::Result<Measured> {
    enough_descriptors()?;
    let heard = Rc::new(Heard::default());
    let mut measured = Measured { weight: f64::NAN, delay: f64::NAN, ended_in: f64::NAN, faults: Vec::new() };
    let before = resident_at_rest(seat.pid).await;
    for nth in 0..STREAMS {
        let request = if nth < STREAMS - TICKING { wait } else { tick };
        tokio::task::spawn_local(listen(seat.address.clone(), request.clone(), heard.clone()));
        // Not all at once: a queue of connections is not what is measured.
        if nth % 50 == 49
            && let Err(fault) = until(&heard, &heard.open, nth + 1, "streams were opened").await
        {
            measured.faults.push(fault);
            return Ok(measured);
        }
    }
    eprintln!("streams: {STREAMS} are open");
    measured.weight = (resident_at_rest(seat.pid).await - before) * 1024.0 / STREAMS as f64;
    heard.delays.borrow_mut().clear();
    tokio::time::sleep(time.max(Duration::from_secs(3))).await;
    let delays = heard.delays.take();
    let at = |share| percentile(&delays, share).unwrap_or_default();
    eprintln!("streams: {} events, delayed p50 {:?}, p90 {:?}, most {:?}", delays.len(), at(0.5), at(0.9), at(1.0));
    measured.delay = percentile(&delays, 0.99).map_or(f64::NAN, |delay| delay.as_secs_f64() * 1e3);
    if delays.len() < TICKING {
        measured.faults.push(format!("only {} events came from {TICKING} streams", delays.len()));
    }
    let ended = heard.ended.get();
    if ended > 0 {
        measured.faults.push(format!("{ended} streams ended by themselves"));
    }
    let begun = Instant::now();
    seat.move_resource()?;
    match until(&heard, &heard.ended, STREAMS, "streams ended").await {
        Ok(()) => measured.ended_in = begun.elapsed().as_secs_f64() * 1e3,
        Err(fault) => measured.faults.push(fault),
    }
    Ok(measured)
}

/// Reads a stream to its end.
async fn listen(address: String, request: Rendered, heard: Rc<Heard>) {
    let mut begun = false;
    let read = read(&address, &request, &heard, &mut begun).await;
    if begun {
        heard.ended.set(heard.ended.get() + 1);
    } else if let Err(fault) = read {
        heard.broken.borrow_mut().get_or_insert_with(|| fault.to_string());
    }
}

async fn read(address: &str, request: &Rendered, heard: &Heard, begun: &mut bool) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(request).await?;
    let mut buffer = Vec::with_capacity(1 << 10);
    // The head and the first event may come in one piece or in several.
    while find(&buffer, b"data: ").is_none() {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(io::Error::other("closed before the first event"));
        }
        if buffer.len() >= 12 && !buffer.starts_with(b"HTTP/1.1 200") {
            return Err(io::Error::other(String::from_utf8_lossy(&buffer[..12]).into_owned()));
        }
    }
    *begun = true;
    heard.open.set(heard.open.get() + 1);
    loop {
        buffer.clear();
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        let now = since_epoch();
        if let Some(at) = find(&buffer, b"\"sent\":") {
            let sent = std::str::from_utf8(scalar(&buffer[at + 7..])).ok().and_then(|text| text.parse::<u64>().ok());
            heard.delays.borrow_mut().extend(sent.map(|sent| now.saturating_sub(Duration::from_micros(sent))));
        }
        if buffer.ends_with(b"0\r\n\r\n") {
            return Ok(());
        }
    }
}

pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970")
}

async fn until(heard: &Heard, counter: &Cell<usize>, count: usize, what: &str) -> Result<(), String> {
    let begun = Instant::now();
    while counter.get() < count {
        let broken = heard.broken.borrow().clone();
        if broken.is_some() || begun.elapsed() > PATIENCE {
            let why = broken.map_or(String::new(), |why| format!(": {why}"));
            return Err(format!("only {} of {count} {what}{why}", counter.get()));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

fn percentile(delays: &[Duration], share: f64) -> Option<Duration> {
    let mut sorted = delays.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied()
}

/// Lets this process and its children open as much as is allowed; before the first of them is started.
pub fn raise_descriptors() {
    if soft_limit().is_ok_and(|soft| soft < DESCRIPTORS) {
        let process = std::process::id().to_string();
        // What cannot be raised is told when it is needed.
        let _ = Command::new("prlimit").args(["--pid", &process, &format!("--nofile={DESCRIPTORS}:")]).stderr(Stdio::null()).status();
    }
}

fn enough_descriptors() -> io::Result<()> {
    let soft = soft_limit()?;
    if soft >= DESCRIPTORS {
        return Ok(());
    }
    Err(io::Error::other(format!("{STREAMS} streams need {DESCRIPTORS} open files, and this process may have {soft}: `ulimit -n 65536`")))
}

/// How much this process, and what it starts, may have open.
fn soft_limit() -> io::Result<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default();
    Ok(line.split_whitespace().next().and_then(|soft| soft.parse().ok()).unwrap_or(u64::MAX))
}
