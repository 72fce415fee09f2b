//! Streams that stay open: what an idle one weighs, how late an event is, how fast one command ends all.

use std::cell::{Cell, RefCell};
use std::io;
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
}

/// `wait` opens a stream without events, `tick` one with an event each second.
pub async fn measure(seat: &Seat, wait: &Rendered, tick: &Rendered, time: Duration) -> io::Result<Measured> {
    enough_descriptors()?;
    let heard = Rc::new(Heard::default());
    let mut faults = Vec::new();
    let before = resident_at_rest(seat.pid).await;
    for nth in 0..STREAMS {
        let request = if nth < STREAMS - TICKING { wait } else { tick };
        tokio::task::spawn_local(listen(seat.address.clone(), request.clone(), heard.clone()));
        // Not all at once: a queue of connections is not what is measured.
        if nth % 50 == 49 {
            until(&heard.open, nth + 1, &mut faults, "streams were opened").await;
        }
    }
    until(&heard.open, STREAMS, &mut faults, "streams were opened").await;
    let full = resident_at_rest(seat.pid).await;
    heard.delays.borrow_mut().clear();
    tokio::time::sleep(time.max(Duration::from_secs(3))).await;
    let delay = percentile(&heard.delays.take(), 0.99).map_or(f64::NAN, |delay| delay.as_secs_f64() * 1e3);
    let begun = Instant::now();
    seat.move_resource()?;
    until(&heard.ended, STREAMS, &mut faults, "streams ended").await;
    let ended_in = begun.elapsed().as_secs_f64() * 1e3;
    Ok(Measured { weight: (full - before) * 1024.0 / STREAMS as f64, delay, ended_in, faults })
}

/// Reads a stream to its end.
async fn listen(address: String, request: Rendered, heard: Rc<Heard>) {
    let opened = async {
        let mut stream = TcpStream::connect(&address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&request).await?;
        io::Result::Ok(stream)
    };
    let Ok(mut stream) = opened.await else { return };
    let mut buffer = Vec::with_capacity(1 << 10);
    let mut begun = false;
    while matches!(stream.read_buf(&mut buffer).await, Ok(count) if count > 0) {
        let now = since_epoch();
        if !begun && find(&buffer, b"data: ").is_some() {
            begun = buffer.starts_with(b"HTTP/1.1 200");
            heard.open.set(heard.open.get() + usize::from(begun));
        }
        if let Some(at) = find(&buffer, b"\"sent\":") {
            let sent = std::str::from_utf8(scalar(&buffer[at + 7..])).ok().and_then(|text| text.parse::<u64>().ok());
            heard.delays.borrow_mut().extend(sent.map(|sent| now.saturating_sub(Duration::from_micros(sent))));
        }
        if buffer.ends_with(b"0\r\n\r\n") {
            break;
        }
        buffer.clear();
    }
    heard.ended.set(heard.ended.get() + usize::from(begun));
}

pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970")
}

async fn until(counter: &Cell<usize>, count: usize, faults: &mut Vec<String>, what: &str) {
    let begun = Instant::now();
    while counter.get() < count {
        if begun.elapsed() > PATIENCE {
            let fault = format!("only {} of {count} {what}", counter.get());
            faults.extend((!faults.contains(&fault)).then_some(fault));
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn percentile(delays: &[Duration], share: f64) -> Option<Duration> {
    let mut sorted = delays.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied()
}

/// Children inherit what this process may open; `benches/load/run` raises it.
fn enough_descriptors() -> io::Result<()> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default();
    let soft = line.split_whitespace().next().and_then(|soft| soft.parse::<u64>().ok()).unwrap_or(u64::MAX);
    if soft >= DESCRIPTORS {
        return Ok(());
    }
    Err(io::Error::other(format!("{STREAMS} streams need {DESCRIPTORS} open files, and this process may have {soft}: `ulimit -n 65536`")))
}
