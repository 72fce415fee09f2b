//! Is this tool still defined as it was? One text for every spelling of the same definition, and its digest.
//!
//! Knows nothing of what was approved, by whom, or what follows from a change.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use aws_lc_rs::digest;

use super::json::{Fault, Scanner};

/// As deep as any list may be read.
const DEPTH: usize = 127;
/// Bytes of the longest definition: a longer one is not compared, so it is never the approved one.
const LONGEST: usize = 1 << 20;

/// What a server says of one tool, whole: also `_meta` and members that are not known here, because a client may act on
/// them. Members are ordered by code point, without white space between; numbers stand as the server spelt them.
#[derive(Clone, PartialEq, Eq)]
pub struct Definition(String);

/// SHA-256 of a definition.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Definition {
    /// Reads one item of a list. None for what has more than one reading, such as a member that is named twice.
    pub fn read(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let mut scanner = Scanner::new(text, DEPTH);
        let mut out = String::with_capacity(text.len());
        canonical(&mut scanner, &mut out).and_then(|()| scanner.end()).ok()?;
        (!scanner.duplicate() && out.starts_with('{')).then_some(Self(out))
    }

    pub fn as_json(&self) -> &str {
        &self.0
    }

    pub fn digest(&self) -> Digest {
        let mut out = [0; 32];
        let hash = digest::digest(&digest::SHA256, self.0.as_bytes());
        out.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        Digest(out)
    }

    /// The same JSON in lines, two spaces for each level, for people and for version control.
    pub fn pretty(&self) -> String {
        let mut out = String::with_capacity(self.0.len() * 2);
        let (mut level, mut quoted, mut escaped, mut last) = (0_usize, false, false, ' ');
        for c in self.0.chars() {
            if quoted {
                out.push(c);
                (quoted, escaped) = (escaped || c != '"', !escaped && c == '\\');
                last = c;
                continue;
            }
            match c {
                '}' | ']' => {
                    level = level.saturating_sub(1);
                    if !matches!(last, '{' | '[') {
                        line(&mut out, level);
                    }
                }
                _ if matches!(last, '{' | '[' | ',') => line(&mut out, level),
                _ => {}
            }
            out.push(c);
            match c {
                '{' | '[' => level += 1,
                ':' => out.push(' '),
                '"' => quoted = true,
                _ => {}
            }
            last = c;
        }
        out
    }
}

impl std::fmt::Debug for Definition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Definition({})", self.digest())
    }
}

impl Digest {
    /// Reads what [`std::fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("sha256:")?.as_bytes();
        let mut out = [0; 32];
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
            let mut nibbles = pair.iter().map(|digit| match digit {
                b'0'..=b'9' => Some(digit - b'0'),
                b'a'..=b'f' => Some(digit - b'a' + 10),
                _ => None,
            });
            *byte = nibbles.next()?? << 4 | nibbles.next()??;
        }
        Some(Self(out))
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// Whether every parser reads this JSON alike.
pub fn is_unambiguous(text: &str) -> bool {
    let mut scanner = Scanner::new(text, DEPTH);
    scanner.skip().and_then(|()| scanner.end()).is_ok() && !scanner.duplicate()
}

fn line(out: &mut String, level: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", level));
}

/// Writes the value that comes next. It recurses no deeper than the scanner lets it.
fn canonical(scanner: &mut Scanner<'_>, out: &mut String) -> Result<(), Fault> {
    match scanner.peek()? {
        b'{' => {
            let mut members = BTreeMap::new();
            scanner.object(|scanner, name| {
                let mut value = String::new();
                canonical(scanner, &mut value)?;
                members.insert(name.to_owned(), value);
                Ok(())
            })?;
            out.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                string(name, out);
                out.push(':');
                out.push_str(value);
            }
            out.push('}');
        }
        b'[' => {
            out.push('[');
            let mut first = true;
            scanner.array(|scanner| {
                out.push_str(if first { "" } else { "," });
                first = false;
                canonical(scanner, out)
            })?;
            out.push(']');
        }
        b'"' => string(&scanner.string()?, out),
        _ => out.push_str(scanner.raw()?),
    }
    Ok(())
}

/// A string as JSON, with the same escapes for the same text.
fn string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Definition::read(text).unwrap_or_else(|| panic!("{text}")).digest()
    }

    #[test]
    fn the_order_of_members_white_space_and_escapes_are_no_change() {
        let one = digest(r#"{"name":"a","inputSchema":{"type":"object","x":[1,{"b":2,"a":"\n"}]}}"#);
        let same = "{ \"inputSchema\" : {\"x\": [1, {\"a\":\"\\u000a\", \"b\":2}], \"type\":\"obj\\u0065ct\"},\n\"name\":\"a\"}";
        assert_eq!(one, digest(same));
    }

    #[test]
    fn any_other_difference_is_a_change() {
        let base = r#"{"name":"a","description":"reads","n":1}"#;
        for other in [
            r#"{"name":"a","description":"reads ","n":1}"#,
            r#"{"name":"a","description":"reads\u200b","n":1}"#,
            r#"{"name":"a","description":"reads","n":1.0}"#,
            r#"{"name":"a","description":"reads","n":"1"}"#,
            r#"{"name":"a","description":"reads","n":1,"_meta":{"ui":"x"}}"#,
            r#"{"name":"a","description":"reads","n":1,"icons":[]}"#,
            r#"{"name":"a","n":1}"#,
        ] {
            assert_ne!(digest(base), digest(other), "{other}");
        }
        assert_ne!(digest(r#"{"a":[1,2]}"#), digest(r#"{"a":[2,1]}"#));
        assert_ne!(digest(r#"{"a":123456789012345678901}"#), digest(r#"{"a":123456789012345678902}"#));
    }

    #[test]
    fn what_has_two_readings_has_none() {
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(LONGEST));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        for text in ["", "[]", "1", r#"{"a":1,"a":2}"#, r#"{"a":{"b":1,"\u0062":1}}"#, r#"{"a":"\ud800"}"#, r#"{"a":1} x"#, &deep, &long] {
            assert_eq!(Definition::read(text), None, "{text}");
        }
    }

    #[test]
    fn the_pretty_text_is_the_same_definition() {
        let text = r#"{"b":{},"a":[],"c":[1,{"x":"{,:[\"\\"},[[]]],"d":"\\"}"#;
        let definition = Definition::read(text).expect("read");
        let pretty = definition.pretty();
        assert_eq!(Definition::read(&pretty), Some(definition.clone()), "{pretty}");
        assert!(pretty.starts_with("{\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n    1,\n"), "{pretty}");
    }

    #[test]
    fn a_digest_is_read_as_it_is_written_and_nothing_else_is() {
        let one = digest("{}");
        assert_eq!(Digest::parse(&one.to_string()), Some(one));
        assert_eq!(one.to_string(), "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
        for text in ["", "sha256:", "44136f", &one.to_string().to_uppercase(), &format!("{one}0")] {
            assert_eq!(Digest::parse(text), None, "{text}");
        }
    }
}
