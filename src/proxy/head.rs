//! The raw HTTP/1 head, read by us before the framework sees a byte of it.
//!
//! The framework has no deadline for a whole head, a fixed limit of 1 MiB, and accepts what servers
//! read in different ways: bare LF, `Content-Length` beside `Transfer-Encoding`, several codings, no
//! `Host`. Here a head has a size, a count, a time, and one reading (RFC 9112 §2.2, §3.2, §6).

use std::io;
use std::pin::Pin;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::BytesMut;
use memchr::{memchr, memchr_iter, memchr2, memmem};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, Sleep};

use super::gathered::Gathered;
use crate::config::Limits;
use crate::denial::{Denial, Fault};

/// What usual heads and small bodies fit in. Not the 4 KiB of the framework's own buffers: every connection at rest holds one
/// of these, and the allocator would fetch and give back a page at each request where they fill its pages of that size.
const FIRST_READ: usize = 3 << 10;

/// How long, and for how many bytes, a refused client is listened to after the answer.
const LINGER: Duration = Duration::from_millis(500);
const LINGERED: usize = 256 << 10;

/// Why there is no head.
pub enum NoHead {
    /// The client closed, or sent nothing in time.
    Quiet,
    Denied(Fault),
}

/// Waits for a head and returns it, with what was read behind it unless that is a part of a body. `alarm` is the
/// connection's own: it is set again when it rings too early, not for each request.
pub async fn read(stream: &mut Gathered, limits: &Limits, mut alarm: Pin<&mut Sleep>) -> Result<BytesMut, NoHead> {
    let mut bytes = BytesMut::with_capacity(FIRST_READ);
    let until = Instant::now().checked_add(limits.idle_timeout).unwrap_or_else(|| alarm.deadline());
    if alarm.deadline() > until {
        alarm.as_mut().reset(until);
    }
    loop {
        tokio::select! {
            biased;
            read = stream.read_buf(&mut bytes) => match read {
                Ok(0) | Err(_) => return Err(NoHead::Quiet),
                Ok(_) => break,
            },
            () = &mut alarm => match Instant::now() < until {
                true => alarm.as_mut().reset(until),
                false => return Err(NoHead::Quiet),
            },
        }
    }
    // The usual head arrives at once and needs no timer.
    let length = match end(&bytes, 0) {
        Some(length) => length,
        None => rest(stream, limits, &mut bytes).await?,
    };
    let head = bytes.get(..length).unwrap_or_default();
    let body = check(head, limits).map_err(NoHead::Denied)?;
    // The rest of the body has come, or is about to: it is read in one piece with its beginning.
    if (1..body).contains(&(bytes.len() - length)) {
        stream.put_back(bytes.split_off(length));
    }
    Ok(bytes)
}

/// Reads on until the head is complete, under the head's deadline.
async fn rest(stream: &mut Gathered, limits: &Limits, bytes: &mut BytesMut) -> Result<usize, NoHead> {
    let more = async {
        loop {
            let seen = bytes.len();
            if seen > limits.headers {
                return Err(NoHead::Denied(Fault::HeadTooLarge));
            }
            match stream.read_buf(bytes).await {
                Ok(0) | Err(_) => return Err(NoHead::Quiet),
                Ok(_) => {}
            }
            if let Some(length) = end(bytes, seen.saturating_sub(3)) {
                return Ok(length);
            }
        }
    };
    match tokio::time::timeout(limits.header_timeout, more).await {
        Ok(result) => result,
        Err(_) => Err(NoHead::Denied(Fault::HeadTimeout)),
    }
}

/// Where the head ends, looking from `from`.
fn end(bytes: &[u8], from: usize) -> Option<usize> {
    static END: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new("\r\n\r\n"));
    END.find(bytes.get(from..)?).map(|at| from + at + 4)
}

/// One reading for every server, or none. Gives the length that the body is said to have, 0 where it is not said.
fn check(head: &[u8], limits: &Limits) -> Result<usize, Fault> {
    const MALFORMED: fn(&'static str) -> Fault = Fault::HeadMalformed;
    if head.len() > limits.headers {
        return Err(Fault::HeadTooLarge);
    }
    let mut begun = 0;
    let mut lines = memchr_iter(b'\n', head).map(|at| {
        let line = head.get(begun..at).and_then(|line| line.strip_suffix(b"\r"));
        begun = at + 1;
        line
    });
    let request = lines.next().flatten().ok_or_else(|| MALFORMED("a line of the head does not end with CR LF"))?;
    if !request.ends_with(b" HTTP/1.1") {
        let is_http = request.windows(6).any(|window| window == b" HTTP/");
        return Err(if is_http { Fault::HttpVersion } else { MALFORMED("the request line is malformed") });
    }
    let target = request.splitn(2, |byte| *byte == b' ').nth(1).unwrap_or_default();
    let target = target.strip_suffix(b" HTTP/1.1").unwrap_or_default();
    if !target.starts_with(b"/") || !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
        return Err(MALFORMED("the request target must be a path"));
    }
    let (mut hosts, mut lengths, mut codings, mut count, mut body) = (0, 0, 0, 0, 0);
    for line in lines {
        let line = line.ok_or_else(|| MALFORMED("a line of the head does not end with CR LF"))?;
        if line.is_empty() {
            break;
        }
        count += 1;
        if matches!(line.first(), Some(b' ' | b'\t')) || memchr2(b'\r', 0, line).is_some() {
            return Err(MALFORMED("a header is folded or holds a control character"));
        }
        let colon = memchr(b':', line).ok_or_else(|| MALFORMED("a header has no colon"))?;
        let (name, value) = line.split_at(colon);
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => hosts += 1,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                lengths += 1;
                let length = value.get(1..).unwrap_or_default().trim_ascii();
                if length.is_empty() || !length.iter().all(u8::is_ascii_digit) {
                    return Err(MALFORMED("the length of the body is not a number"));
                }
                body = length.iter().fold(0, |sum: usize, digit| sum.saturating_mul(10).saturating_add(usize::from(digit - b'0')));
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                codings += 1;
                let coding = value.get(1..).unwrap_or_default().trim_ascii();
                if !coding.eq_ignore_ascii_case(b"chunked") {
                    return Err(MALFORMED("no other Transfer-Encoding than chunked is accepted"));
                }
            }
            _ => {}
        }
    }
    match (hosts, lengths, codings) {
        _ if count > limits.header_count => Err(Fault::HeadTooLarge),
        (1, 0 | 1, 0) | (1, 0, 1) => Ok(body),
        (1, _, _) => Err(MALFORMED("the length of the body is given more than once")),
        _ => Err(MALFORMED("exactly one Host header is expected")),
    }
}

/// Answers on the bare stream and gives the connection up.
pub async fn refuse(stream: &mut Gathered, denial: &Denial) -> io::Result<()> {
    let reply = denial.reply(None);
    let mut text =
        format!("HTTP/1.1 {} {}\r\n", reply.status().as_str(), reply.status().canonical_reason().unwrap_or("Refused")).into_bytes();
    for (name, value) in reply.headers() {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(format!("content-length: {}\r\nconnection: close\r\n\r\n", reply.body().len()).as_bytes());
    text.extend_from_slice(reply.body());
    let send = async {
        stream.write_all(&text).await?;
        stream.flush().await?;
        AsyncWriteExt::shutdown(stream).await?;
        linger(stream).await
    };
    tokio::time::timeout(LINGER, send).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Reads what is still on its way and throws it away: closing on unread bytes would reset the
/// connection, and the reset may overtake the answer.
async fn linger(stream: &mut Gathered) -> io::Result<()> {
    let mut waste = BytesMut::with_capacity(FIRST_READ);
    let mut left = LINGERED;
    while left > 0 {
        waste.clear();
        match stream.read_buf(&mut waste).await? {
            0 => return Ok(()),
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(head: &str) -> Result<usize, &'static str> {
        match check(head.as_bytes(), &Limits { headers: 400, header_count: 4, ..Limits::default() }) {
            Ok(body) => Ok(body),
            Err(Fault::HeadMalformed(_)) => Err("malformed"),
            Err(Fault::HeadTooLarge) => Err("large"),
            Err(Fault::HttpVersion) => Err("version"),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_head_with_one_reading_passes() {
        assert_eq!(checked("POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"), Ok(3));
        assert_eq!(checked(&format!("POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", "9".repeat(30))), Ok(usize::MAX));
        assert_eq!(checked("POST /mcp HTTP/1.1\r\nHOST: a\r\nTransfer-Encoding: Chunked\r\n\r\n"), Ok(0));
    }

    #[test]
    fn heads_that_servers_read_differently_are_refused() {
        let cases = [
            ("POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "malformed"),
            ("POST /mcp HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "malformed"),
            ("POST /mcp HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "malformed"),
            ("POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", "malformed"),
            ("POST /mcp HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n", "malformed"),
            ("POST /mcp HTTP/1.1\nHost: a\r\n\r\n", "malformed"),
            ("POST /mcp HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n", "malformed"),
            ("POST /mcp HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", "malformed"),
            ("POST /mcp HTTP/1.1\r\nX: a\r\n\r\n", "malformed"),
            ("POST /mcp HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "malformed"),
            ("POST http://a/mcp HTTP/1.1\r\nHost: a\r\n\r\n", "malformed"),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "malformed"),
            ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "malformed"),
            ("POST /mcp#x HTTP/1.1\r\nHost: a\r\n\r\n", "malformed"),
            ("POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n", "malformed"),
            ("GET / HTTP/1.0\r\nHost: a\r\n\r\n", "version"),
            ("hello\r\n\r\n", "malformed"),
            ("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\n\r\n", "large"),
        ];
        for (head, expected) in cases {
            assert_eq!(checked(head), Err(expected), "{head:?}");
        }
        assert_eq!(checked(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(400))), Err("large"));
    }
}
