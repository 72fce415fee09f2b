//! How does one record prove the one before it?
//!
//! Each line ends in `"log"`, `"sequence"` and `"chain"`: SHA-256 of the text from the chain value of the line before it to
//! its own `,"chain":`. In a file that is one run of bytes. Whoever changes, removes, adds or
//! swaps a line breaks every later one. Knows no file, clock or event.

use aws_lc_rs::digest::{Context, SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// A chain value as text: 32 bytes in base64url.
const DIGITS: usize = 43;
const CHAIN: &[u8] = b",\"chain\":\"";
const CLOSE: &[u8] = b"\"}\n";
/// What of the line before a line is covered by it: the chain value and all behind it.
pub const LEAD: usize = DIGITS + 3;

/// The end of a log: what the next line builds on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Tells one log from another: those of replicas may be kept in one place.
    pub log: String,
    /// Of the last line; 0 before the first.
    pub sequence: u64,
    pub chain: [u8; 32],
}

/// A line that names its place.
#[derive(Debug)]
pub struct Sealed<'a> {
    pub head: Head,
    /// What the chain value covers besides the one before it.
    covered: &'a [u8],
}

#[derive(Deserialize)]
struct Place {
    log: String,
    sequence: u64,
}

impl Head {
    /// A log without a line.
    pub fn new(log: String) -> Self {
        Self { log, sequence: 0, chain: [0; 32] }
    }

    /// The chain value as it stands in lines.
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.chain)
    }

    /// What a line is sealed behind: the end of the line before it.
    pub fn lead(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.text().as_bytes());
        out.extend_from_slice(CLOSE);
    }

    /// Ends the object that begins at `start` of `out` (its closing brace stands there) as the line after this head. What
    /// stands before `start` is the line before it, or [`Self::lead`].
    pub fn seal(&mut self, out: &mut Vec<u8>, start: usize) {
        out.pop();
        self.sequence += 1;
        out.extend_from_slice(b",\"log\":\"");
        out.extend_from_slice(self.log.as_bytes());
        out.extend_from_slice(b"\",\"sequence\":");
        number(self.sequence, out);
        // One run of bytes, hashed in one go: it is done for every line.
        let covered = out.get(start.saturating_sub(LEAD)..).unwrap_or_default();
        self.chain.copy_from_slice(digest(&SHA256, covered).as_ref());
        out.extend_from_slice(CHAIN);
        let mut text = [0u8; DIGITS];
        if URL_SAFE_NO_PAD.encode_slice(self.chain, &mut text).is_ok() {
            out.extend_from_slice(&text);
        }
        out.extend_from_slice(CLOSE);
    }
}

/// Writes a number in decimal.
pub fn number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(decimal(number, &mut [0; 20]));
}

fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut begin = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        begin -= 1;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    digits.get(begin..).unwrap_or_default()
}

/// Reads a chain value.
pub fn value(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

impl<'a> Sealed<'a> {
    /// A whole line without its newline; none where it does not end as a record does.
    pub fn read(line: &'a [u8]) -> Option<Self> {
        let (rest, text) = line.strip_suffix(b"\"}")?.split_at_checked(line.len().checked_sub(DIGITS + 2)?)?;
        let covered = rest.strip_suffix(CHAIN)?;
        let chain = value(std::str::from_utf8(text).ok()?)?;
        let Place { log, sequence } = serde_json::from_slice(line).ok()?;
        Some(Self { head: Head { log, sequence, chain }, covered })
    }

    /// Whether it is what it was, if the line before it had this chain value.
    pub fn follows(&self, before: &[u8; 32]) -> bool {
        let mut lead = Vec::with_capacity(LEAD);
        Head { chain: *before, ..self.head.clone() }.lead(&mut lead);
        let mut context = Context::new(&SHA256);
        context.update(&lead);
        context.update(self.covered);
        context.finish().as_ref() == self.head.chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(head: &mut Head, body: &str) -> Vec<u8> {
        let mut out = Vec::new();
        head.lead(&mut out);
        out.extend_from_slice(body.as_bytes());
        head.seal(&mut out, LEAD);
        assert_eq!(out.pop(), Some(b'\n'));
        out.split_off(LEAD)
    }

    #[test]
    fn a_line_is_read_back_and_follows_only_the_one_before_it() {
        let mut head = Head::new("abcdefgh".into());
        let first = sealed(&mut head, r#"{"id":"1"}"#);
        let before = head.clone();
        let second = sealed(&mut head, r#"{"id":"\",\"chain\":\""}"#);
        let (first, second) = (Sealed::read(&first).expect("sealed"), Sealed::read(&second).expect("sealed"));
        assert_eq!((&first.head, &second.head), (&before, &head));
        assert!(first.follows(&[0; 32]) && second.follows(&before.chain) && !second.follows(&[0; 32]));
        assert!(serde_json::from_slice::<serde_json::Value>(b"{}").is_ok());
    }

    #[test]
    fn numbers_are_written_as_numbers() {
        for number in [0, 1, 9, 10, 1_234_567_890, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }

    #[test]
    fn what_is_no_record_is_not_read() {
        for line in ["", "}", "{}", r#"{"log":"x","sequence":1}"#, r#"{"log":"x","sequence":1,"chain":"short"}"#] {
            assert!(Sealed::read(line.as_bytes()).is_none(), "{line}");
        }
    }
}
