//! Is this text JSON that every parser reads alike, and where do its members stand? One pass over
//! the text, no tree. Knows nothing of MCP: its callers say which members they want to look into.

use std::borrow::Cow;
use std::collections::HashSet;
use std::iter;

use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, Error as ValueError, MapDeserializer};
use serde_json::value::RawValue;

use super::bytes::Marks;

/// serde_json gives up at 128 levels, and policy reads arguments with it: what we accept, it accepts.
const DEEPEST: usize = 127;
/// Objects with more members than this compare names by hash.
const FEW: usize = 16;
/// Numbers beyond it are infinite to some parsers and an error to others.
const LARGEST: f64 = 1e308;

/// Why the text cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    NotJson,
    TooDeep,
}

type Scan<T> = Result<T, Fault>;

/// A strict reader of one JSON text (RFC 8259). Beyond the grammar it refuses lone surrogates and
/// numbers out of the range of a double; a member that is named twice, at whatever depth, raises
/// [`Self::duplicate`].
pub(super) struct Scanner<'a> {
    text: &'a str,
    marks: Marks<'a>,
    at: usize,
    open: usize,
    depth: usize,
    /// Names of the members read so far, of every object that is still open.
    names: Vec<Name>,
    duplicate: bool,
}

/// A string as it stands between its quotes.
#[derive(Clone, Copy)]
struct Quoted {
    from: usize,
    to: usize,
    escaped: bool,
}

#[derive(Clone, Copy)]
struct Name {
    print: u64,
    quoted: Quoted,
}

/// The members of one open object: in `names` from `start` on, or all in `many`.
struct Members<'a> {
    start: usize,
    many: Option<HashSet<Cow<'a, str>>>,
}

impl<'a> Scanner<'a> {
    /// `depth`: how many containers may be open at once, at most 127.
    pub fn new(text: &'a str, depth: usize) -> Self {
        let depth = depth.min(DEEPEST);
        Self { text, marks: Marks::new(text.as_bytes()), at: 0, open: 0, depth, names: Vec::with_capacity(FEW), duplicate: false }
    }

    /// Whether any object read so far named a member twice (names compared unescaped).
    pub fn duplicate(&self) -> bool {
        self.duplicate
    }

    /// The offset of the next byte.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The text between two offsets.
    #[inline(always)]
    pub fn between(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or_default()
    }

    /// The first byte of what comes next, which tells its type.
    #[inline(always)]
    pub fn peek(&mut self) -> Scan<u8> {
        loop {
            match self.byte() {
                Some(byte) if byte > b' ' => return Ok(byte),
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(_) | None => return Err(Fault::NotJson),
            }
        }
    }

    /// Reads an object; `member` must read the value of each member it is told of.
    pub fn object(&mut self, mut member: impl FnMut(&mut Self, &str) -> Scan<()>) -> Scan<()> {
        self.members(|scanner, name| member(scanner, &name.text(scanner.text)))
    }

    /// Reads an array; `item` must read each item.
    #[inline(always)]
    pub fn array(&mut self, mut item: impl FnMut(&mut Self) -> Scan<()>) -> Scan<()> {
        self.enter(b'[')?;
        if self.peek()? == b']' {
            self.at += 1;
        } else {
            loop {
                item(self)?;
                match self.token()? {
                    b',' => {}
                    b']' => break,
                    _ => return Err(Fault::NotJson),
                }
            }
        }
        self.open -= 1;
        Ok(())
    }

    /// Reads a string, unescaped.
    pub fn string(&mut self) -> Scan<Cow<'a, str>> {
        if self.peek()? != b'"' {
            return Err(Fault::NotJson);
        }
        Ok(self.quoted()?.text(self.text))
    }

    /// Reads any value and gives its text.
    pub fn raw(&mut self) -> Scan<&'a str> {
        self.peek()?;
        let from = self.at;
        self.skip()?;
        Ok(self.between(from, self.at))
    }

    /// Reads any value. It recurses no deeper than the scanner's depth.
    pub fn skip(&mut self) -> Scan<()> {
        self.value()
    }

    /// Nothing but white space may follow.
    pub fn end(&self) -> Scan<()> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if rest.iter().all(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')) { Ok(()) } else { Err(Fault::NotJson) }
    }

    #[inline(always)]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline(always)]
    fn token(&mut self) -> Scan<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    #[inline(always)]
    fn enter(&mut self, bracket: u8) -> Scan<()> {
        if self.token()? != bracket {
            return Err(Fault::NotJson);
        }
        if self.open == self.depth {
            return Err(Fault::TooDeep);
        }
        self.open += 1;
        Ok(())
    }

    #[inline(always)]
    fn value(&mut self) -> Scan<()> {
        match self.peek()? {
            b'"' => self.quoted().map(|_| ()),
            b'{' | b'[' => self.container(),
            first => self.scalar(first),
        }
    }

    fn container(&mut self) -> Scan<()> {
        if self.byte() == Some(b'{') { self.members(|scanner, _| scanner.value()) } else { self.array(Self::value) }
    }

    #[inline(always)]
    fn members(&mut self, mut member: impl FnMut(&mut Self, Quoted) -> Scan<()>) -> Scan<()> {
        self.enter(b'{')?;
        let mut members = Members { start: self.names.len(), many: None };
        if self.peek()? == b'}' {
            self.at += 1;
        } else {
            loop {
                if self.peek()? != b'"' {
                    return Err(Fault::NotJson);
                }
                let name = self.quoted()?;
                if self.token()? != b':' {
                    return Err(Fault::NotJson);
                }
                self.duplicate |= !members.admit(&mut self.names, name, self.text);
                member(self, name)?;
                match self.token()? {
                    b',' => {}
                    b'}' => break,
                    _ => return Err(Fault::NotJson),
                }
            }
        }
        self.names.truncate(members.start);
        self.open -= 1;
        Ok(())
    }

    /// Reads a string whose opening quote is next.
    #[inline(always)]
    fn quoted(&mut self) -> Scan<Quoted> {
        let bytes = self.text.as_bytes();
        let from = self.at + 1;
        let mut escaped = false;
        self.at = from;
        loop {
            self.at = self.marks.next(self.at);
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Quoted { from, to: self.at - 1, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    match bytes.get(self.at + 1) {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
                        Some(b'u') => self.unicode()?,
                        _ => return Err(Fault::NotJson),
                    }
                }
                _ => return Err(Fault::NotJson),
            }
        }
    }

    /// Reads `\uXXXX`, or two of them that make one character.
    fn unicode(&mut self) -> Scan<()> {
        let digits = self.text.as_bytes().get(self.at + 2..).unwrap_or_default();
        match (hex(digits), digits.get(4..)) {
            (Some(0xD800..=0xDBFF), Some([b'\\', b'u', low @ ..])) if matches!(hex(low), Some(0xDC00..=0xDFFF)) => self.at += 12,
            (Some(0xD800..=0xDFFF) | None, _) => return Err(Fault::NotJson),
            (Some(_), _) => self.at += 6,
        }
        Ok(())
    }

    fn scalar(&mut self, first: u8) -> Scan<()> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at += match (first, rest) {
            (b't', [_, b'r', b'u', b'e', ..]) | (b'n', [_, b'u', b'l', b'l', ..]) => 4,
            (b'f', [_, b'a', b'l', b's', b'e', ..]) => 5,
            _ => return self.number(),
        };
        Ok(())
    }

    fn number(&mut self) -> Scan<()> {
        let from = self.at;
        self.at += usize::from(self.byte() == Some(b'-'));
        if self.byte() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        let power = matches!(self.byte(), Some(b'e' | b'E'));
        if power {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits()?;
        }
        if power || self.at - from > 300 {
            let number: f64 = self.between(from, self.at).parse().map_err(|_| Fault::NotJson)?;
            if number.abs() > LARGEST {
                return Err(Fault::NotJson);
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> Scan<()> {
        let from = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == from { Err(Fault::NotJson) } else { Ok(()) }
    }
}

impl Quoted {
    fn text(self, whole: &str) -> Cow<'_, str> {
        let raw = whole.get(self.from..self.to).unwrap_or_default();
        if self.escaped { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) }
    }
}

impl<'a> Members<'a> {
    /// Takes in one more name; `false` if it is there already.
    #[inline(always)]
    fn admit(&mut self, names: &mut Vec<Name>, quoted: Quoted, whole: &'a str) -> bool {
        if quoted.escaped || names.len() - self.start >= FEW || self.many.is_some() {
            return self.admit_slowly(names, quoted, whole);
        }
        let print = fingerprint(whole.as_bytes().get(quoted.from..quoted.to).unwrap_or_default());
        let own = names.get(self.start..).unwrap_or_default();
        if own.iter().any(|name| name.print == print) {
            return self.admit_slowly(names, quoted, whole);
        }
        names.push(Name { print, quoted });
        true
    }

    #[inline(never)]
    fn admit_slowly(&mut self, names: &mut Vec<Name>, quoted: Quoted, whole: &'a str) -> bool {
        let text = quoted.text(whole);
        if let Some(many) = &mut self.many {
            return many.insert(text);
        }
        let own = names.get(self.start..).unwrap_or_default();
        if own.iter().any(|name| name.quoted.text(whole) == text) {
            return false;
        }
        if own.len() >= FEW {
            self.many = Some(names.drain(self.start..).map(|name| name.quoted.text(whole)).chain(iter::once(text)).collect());
        } else {
            names.push(Name { print: fingerprint(text.as_bytes()), quoted });
        }
        true
    }
}

/// Equal for equal names; of unequal names, few have the same.
#[inline(always)]
fn fingerprint(name: &[u8]) -> u64 {
    let length = name.len() as u64;
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        return u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29) ^ length;
    }
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        return u64::from(u32::from_le_bytes(*first)) << 32 ^ u64::from(u32::from_le_bytes(*last)) ^ length << 28;
    }
    name.iter().fold(length, |print, &byte| print << 8 | u64::from(byte))
}

/// Text that a scanner has read, as serde_json's own type for it, without reading it again.
pub(super) fn raw_value(text: &str) -> Option<&RawValue> {
    // serde_json takes a raw value from any deserializer that offers it under this name. If it
    // ever takes another name, the text is read a second time, no more.
    let member = iter::once(("$serde_json::private::RawValue", BorrowedStrDeserializer::<ValueError>::new(text)));
    let known = <&RawValue>::deserialize(MapDeserializer::new(member)).ok();
    known.or_else(|| serde_json::from_str(text).ok())
}

/// Whether a parser that folds case (Go's `encoding/json`, CVE-2026-27896) takes a name for one of
/// the members without its being one.
pub(super) fn is_variant(name: &str, members: &[&str]) -> bool {
    !members.contains(&name) && members.iter().any(|member| folds_to(name, member))
}

fn folds_to(name: &str, member: &str) -> bool {
    // ſ and K are longer than what they fold to, never shorter.
    name.len() >= member.len() && name.len() <= 3 * member.len() && name.chars().map(fold).eq(member.chars().map(fold))
}

fn fold(c: char) -> char {
    match c {
        'ſ' => 's',
        '\u{212A}' => 'k',
        _ => c.to_ascii_lowercase(),
    }
}

/// Four hexadecimal digits.
fn hex(digits: &[u8]) -> Option<u32> {
    let digits = digits.first_chunk::<4>()?;
    digits.iter().try_fold(0, |code, &digit| Some(code << 4 | char::from(digit).to_digit(16)?))
}

/// The inside of a string that was scanned.
fn unescape(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((before, escape)) = rest.split_once('\\') {
        out.push_str(before);
        let mut chars = escape.chars();
        match chars.next() {
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('u') => {
                let mut code = hex(chars.as_str().as_bytes()).unwrap_or_default();
                chars.nth(3);
                if (0xD800..=0xDBFF).contains(&code) {
                    chars.nth(1);
                    let low = hex(chars.as_str().as_bytes()).unwrap_or_default();
                    chars.nth(3);
                    code = 0x10000 + ((code & 0x3FF) << 10 | low & 0x3FF);
                }
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(literal) => out.push(literal),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
