//! The PROXY protocol, versions 1 and 2: who the client is, said before TLS and HTTP by a load
//! balancer that passes bytes.
//!
//! Both headers are a few fixed fields, of which only the source address is wanted: fewer lines than
//! a crate would need to be wrapped in. Whether the peer may say so is not known here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pingora::protocols::l4::stream::Stream;
use tokio::io::AsyncReadExt;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, with its end.
const LONGEST_LINE: usize = 107;
/// The longest header of version 2 that is read: addresses, and what a balancer adds to them.
const LONGEST: usize = 4 << 10;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The connection is made for this client.
    Client(IpAddr),
    /// The balancer speaks for itself (`LOCAL`), or does not know (`UNKNOWN`).
    Nobody,
}

/// How far a header was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    More,
    Malformed,
    /// What it says, and its length.
    Whole(Said, usize),
}

/// Takes the header off the connection; what came behind it is left to be read. None where there is
/// no whole and well-formed header. The deadline is the caller's.
pub async fn take(stream: &mut Stream) -> Option<Said> {
    let mut bytes = Vec::with_capacity(LONGEST_LINE);
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        match parse(&bytes) {
            Progress::More => {}
            Progress::Malformed => return None,
            Progress::Whole(said, length) => {
                stream.rewind(bytes.get(length..).unwrap_or_default());
                return Some(said);
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Progress {
    if begins(bytes, SIGNATURE) {
        return version2(bytes);
    }
    if begins(bytes, b"PROXY ") {
        return version1(bytes);
    }
    Progress::Malformed
}

/// Whether the bytes are the beginning of what is expected, as far as they go.
fn begins(bytes: &[u8], expected: &[u8]) -> bool {
    bytes.iter().zip(expected).all(|(one, other)| one == other)
}

fn version1(bytes: &[u8]) -> Progress {
    let first = bytes.get(..LONGEST_LINE).unwrap_or(bytes);
    let Some(end) = memchr::memmem::find(first, b"\r\n") else {
        return if bytes.len() < LONGEST_LINE { Progress::More } else { Progress::Malformed };
    };
    let line = bytes.get(..end).and_then(|line| std::str::from_utf8(line).ok());
    match line.and_then(line_says) {
        Some(said) => Progress::Whole(said, end + 2),
        None => Progress::Malformed,
    }
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 4711 443`, `PROXY UNKNOWN …`.
fn line_says(line: &str) -> Option<Said> {
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(Said::Nobody);
    }
    let (source, target) = (words.next()?, words.next()?);
    let source = match family {
        "TCP4" => source.parse::<Ipv4Addr>().ok().zip(target.parse::<Ipv4Addr>().ok()).map(|(source, _)| IpAddr::V4(source)),
        "TCP6" => source.parse::<Ipv6Addr>().ok().zip(target.parse::<Ipv6Addr>().ok()).map(|(source, _)| IpAddr::V6(source)),
        _ => None,
    }?;
    words.next()?.parse::<u16>().ok()?;
    words.next()?.parse::<u16>().ok()?;
    if words.next().is_some() {
        return None;
    }
    Some(Said::Client(source.to_canonical()))
}

fn version2(bytes: &[u8]) -> Progress {
    let Some((fixed, rest)) = bytes.split_first_chunk::<16>() else { return Progress::More };
    let [.., version, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST {
        return Progress::Malformed;
    }
    let said = match (version, family) {
        (0x20, _) => Some(Said::Nobody),
        // Unspecified: the receiver uses the connection's own addresses.
        (0x21, 0x00) => Some(Said::Nobody),
        (0x21, 0x11) if length >= 12 => rest.first_chunk::<4>().map(|address| Said::Client(IpAddr::from(*address))),
        (0x21, 0x21) if length >= 36 => rest.first_chunk::<16>().map(|address| Said::Client(IpAddr::from(*address).to_canonical())),
        // Datagrams and Unix sockets carry no HTTP for us; too short for what it claims to be.
        _ => return Progress::Malformed,
    };
    match said {
        Some(said) if rest.len() >= length => Progress::Whole(said, fixed.len() + length),
        _ => Progress::More,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &length, body].concat()
    }

    /// What whole bytes say, with something behind them that must be left alone.
    fn whole(header: &[u8]) -> Progress {
        parse(&[header, b"GET / HTTP/1.1\r\n"].concat())
    }

    #[test]
    fn both_versions_name_the_client() {
        let client = |text: &str| Said::Client(text.parse().unwrap());
        let four = [192, 0, 2, 7, 10, 0, 0, 1, 0, 80, 1, 187];
        let six = [[0x20, 0x01, 0x0d, 0xb8].as_slice(), &[0; 11], &[1], &[0; 20]].concat();
        let cases = [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n".to_vec(), client("192.0.2.7")),
            (b"PROXY TCP6 2001:db8::1 fd00::1 4711 443\r\n".to_vec(), client("2001:db8::1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Said::Nobody),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), Said::Nobody),
            (v2(0x21, 0x11, &four), client("192.0.2.7")),
            (v2(0x21, 0x11, &[four.as_slice(), b"\x04\x00\x01x"].concat()), client("192.0.2.7")),
            (v2(0x21, 0x21, &six), client("2001:db8::1")),
            (v2(0x20, 0x00, b""), Said::Nobody),
            (v2(0x21, 0x00, b"junk"), Said::Nobody),
        ];
        for (header, said) in cases {
            assert_eq!(whole(&header), Progress::Whole(said, header.len()), "{header:?}");
            for end in 0..header.len() {
                assert_eq!(parse(&header[..end]), Progress::More, "{end} of {header:?}");
            }
        }
    }

    #[test]
    fn anything_else_is_malformed() {
        let cases: [&[u8]; 16] = [
            b"GET / HTTP/1.1\r\n",
            b"\x16\x03\x01",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443 1\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 65536\r\n",
            b"PROXY TCP4 2001:db8::1 10.0.0.1 4711 443\r\n",
            b"PROXY TCP6 192.0.2.7 fd00::1 4711 443\r\n",
            b"PROXY  TCP4 192.0.2.7 10.0.0.1 4711 443\r\n",
            b"PROXY UDP4 192.0.2.7 10.0.0.1 4711 443\r\n",
            b"PROXY \xff\r\n",
            b"proxy TCP4 192.0.2.7 10.0.0.1 4711 443\r\n",
            &[b'P'; 4],
            &v2(0x21, 0x11, b"short"),
            &v2(0x21, 0x12, &[0; 12]),
            &v2(0x31, 0x11, &[0; 12]),
            &v2(0x22, 0x11, &[0; 12]),
        ];
        for bytes in cases {
            assert_eq!(parse(bytes), Progress::Malformed, "{bytes:?}");
        }
        assert_eq!(parse(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; LONGEST_LINE]].concat()), Progress::Malformed);
        assert_eq!(parse(&v2(0x21, 0x11, &[0; LONGEST + 1])), Progress::Malformed);
    }
}
