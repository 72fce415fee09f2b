//! What does a record say? The names of the audit contract, for requests, for what people do to the gateway, and for
//! what the log says of itself.
//!
//! Knows no file and no chain: it writes one JSON object, which the caller seals.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};

use super::chain::{Head, number};
use crate::event::{Act, Event};

/// Groups of a caller that are kept in a record; of a caller with more, none are.
const GROUPS: usize = 64;

/// The first line of a file, of a process, and of what goes on after something was amiss.
pub const BEGIN: &str = "audit/begin";
/// The last line of a process that stopped in order.
pub const END: &str = "audit/end";
/// Records were lost between the lines around this one.
pub const GAP: &str = "audit/gap";
/// A signature over all that came before.
pub const CHECKPOINT: &str = "audit/checkpoint";

/// RFC 3339 in UTC, to the microsecond.
struct Time(SystemTime);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&humantime::format_rfc3339_micros(self.0))
    }
}

/// A request. Written out by hand: it is done for every request, and costs a third of what a serializer takes.
pub fn event(event: &Event, out: &mut Vec<u8>) -> bool {
    let Event {
        id,
        time,
        upstream,
        who,
        token,
        operation,
        name,
        outcome,
        reason,
        rule,
        arguments,
        values,
        source,
        session,
        era,
        status,
        duration,
        overhead: _,
        trace,
    } = event;
    let start = out.len();
    text(r#"{"id":"#, Some(id), out);
    let mut told = write!(out, r#","time":"{}""#, humantime::format_rfc3339_micros(*time));
    text(r#","upstream":"#, upstream.as_deref(), out);
    text(r#","subject":"#, who.as_ref().map(|who| who.subject()), out);
    text(r#","client":"#, who.as_ref().and_then(|who| who.client()), out);
    text(r#","issuer":"#, who.as_ref().map(|who| who.issuer()), out);
    digest(r#","token":"#, token.as_ref(), out);
    list(r#","scopes":"#, who.as_ref().map(|who| who.scopes()), out);
    list(r#","groups":"#, who.as_ref().map(|who| who.groups()).filter(|groups| groups.len() <= GROUPS), out);
    text(r#","operation":"#, Some(operation), out);
    text(r#","name":"#, name.as_deref(), out);
    text(r#","outcome":"#, Some(outcome.as_str()), out);
    text(r#","reason":"#, Some(reason), out);
    match rule {
        None => out.extend_from_slice(br#","rule":null"#),
        Some((name, place)) => {
            text(r#","rule":{"name":"#, Some(name), out);
            out.extend_from_slice(br#","place":"#);
            quoted_with(&place.file, out, |out| {
                out.push(b':');
                number(place.line as u64, out);
            });
            out.push(b'}');
        }
    }
    digest(r#","arguments":"#, arguments.as_ref(), out);
    if let Some(values) = values {
        out.extend_from_slice(br#","values":"#);
        out.extend_from_slice(values.to_json().as_bytes());
    }
    told = told.and(address(*source, out));
    digest(r#","session":"#, session.as_ref(), out);
    text(r#","era":"#, era.map(|era| era.as_str()), out);
    out.extend_from_slice(br#","status":"#);
    number((*status).into(), out);
    out.extend_from_slice(br#","duration_us":"#);
    number(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), out);
    text(r#","trace":"#, trace.as_deref(), out);
    out.push(b'}');
    if told.is_err() {
        out.truncate(start);
    }
    told.is_ok()
}

/// A member with a text, or null.
fn text(key: &str, value: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    match value {
        None => out.extend_from_slice(b"null"),
        Some(value) => quoted(value, out),
    }
}

fn quoted(value: &str, out: &mut Vec<u8>) {
    quoted_with(value, out, |_| {});
}

/// With something behind it that has nothing to escape.
fn quoted_with(value: &str, out: &mut Vec<u8>, more: impl FnOnce(&mut Vec<u8>)) {
    // Almost no text has anything to escape (RFC 8259 §7).
    if is_plain(value) {
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
    } else {
        json(&value, out);
        out.pop();
    }
    more(out);
    out.push(b'"');
}

/// Eight bytes at a time: most texts are short.
fn is_plain(value: &str) -> bool {
    let plain = |all: bool, &byte: &u8| all & (byte >= 0x20) & (byte != b'"') & (byte != b'\\');
    let (words, rest) = value.as_bytes().as_chunks::<8>();
    words.iter().all(|word| word.iter().fold(true, plain)) && rest.iter().fold(true, plain)
}

fn address(source: IpAddr, out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(br#","source":""#);
    match source {
        IpAddr::V4(source) => {
            for (index, octet) in source.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                number(octet.into(), out);
            }
        }
        IpAddr::V6(source) => write!(out, "{source}")?,
    }
    out.push(b'"');
    Ok(())
}

fn list(key: &str, values: Option<&[String]>, out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    let Some(values) = values else { return out.extend_from_slice(b"null") };
    out.push(b'[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        quoted(value, out);
    }
    out.push(b']');
}

fn digest(key: &str, value: Option<&[u8; 32]>, out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    let mut text = [0u8; 43];
    match value.and_then(|value| URL_SAFE_NO_PAD.encode_slice(value, &mut text).ok()) {
        None => out.extend_from_slice(b"null"),
        Some(_) => {
            out.push(b'"');
            out.extend_from_slice(&text);
            out.push(b'"');
        }
    }
}

/// What somebody did to the gateway itself.
pub fn act(act: &Act, out: &mut Vec<u8>) -> bool {
    #[derive(Serialize)]
    struct Done<'a> {
        id: Option<&'a str>,
        time: Time,
        upstream: Option<&'a str>,
        operation: &'a str,
        name: Option<&'a str>,
        outcome: &'static str,
        reason: &'a str,
        actor: &'a str,
    }
    let Act { id, time, upstream, operation, name, outcome, reason, actor } = act;
    let done = Done {
        id: id.as_deref(),
        time: Time(*time),
        upstream: upstream.as_deref(),
        operation,
        name: name.as_deref(),
        outcome: outcome.as_str(),
        reason,
        actor,
    };
    json(&done, out)
}

/// Why a `begin` line stands where it does, and what it goes on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    pub reason: Reason,
    /// Bytes of a torn last line that were cut off.
    pub torn: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The first line of a log.
    First,
    /// A process started.
    Start,
    /// The file before this one was moved or removed.
    Rotated,
    /// The file did not end as it was left: lines are missing or were changed.
    Altered,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Start => "start",
            Self::Rotated => "rotated",
            Self::Altered => "altered",
        }
    }
}

/// What a later line says of an earlier one.
#[derive(Serialize)]
struct Point {
    sequence: u64,
    chain: String,
}

fn point(head: &Head) -> Option<Point> {
    (head.sequence > 0).then(|| Point { sequence: head.sequence, chain: head.text() })
}

pub fn begin(begin: Begin, time: SystemTime, after: &Head, out: &mut Vec<u8>) -> bool {
    #[derive(Serialize)]
    struct Line {
        time: Time,
        operation: &'static str,
        reason: &'static str,
        version: &'static str,
        torn_bytes: u64,
        after: Option<Point>,
    }
    let line = Line {
        time: Time(time),
        operation: BEGIN,
        reason: begin.reason.as_str(),
        version: env!("CARGO_PKG_VERSION"),
        torn_bytes: begin.torn,
        after: point(after),
    };
    json(&line, out)
}

pub fn end(time: SystemTime, out: &mut Vec<u8>) -> bool {
    #[derive(Serialize)]
    struct Line {
        time: Time,
        operation: &'static str,
        reason: &'static str,
    }
    json(&Line { time: Time(time), operation: END, reason: "stop" }, out)
}

pub fn gap(dropped: u64, time: SystemTime, out: &mut Vec<u8>) -> bool {
    #[derive(Serialize)]
    struct Line {
        time: Time,
        operation: &'static str,
        reason: &'static str,
        dropped: u64,
    }
    json(&Line { time: Time(time), operation: GAP, reason: "full", dropped }, out)
}

/// `signed` is the time that the signature covers.
pub fn checkpoint(signed: &str, of: &Head, key: &str, signature: &str, out: &mut Vec<u8>) -> bool {
    #[derive(Serialize)]
    struct Line<'a> {
        time: &'a str,
        operation: &'static str,
        of: Option<Point>,
        key: &'a str,
        signature: &'a str,
    }
    json(&Line { time: signed, operation: CHECKPOINT, of: point(of), key, signature }, out)
}

/// Appends one object, or nothing.
fn json(value: &impl Serialize, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let written = serde_json::to_writer(&mut *out, value).is_ok();
    if !written {
        out.truncate(start);
    }
    out.flush().is_ok() && written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome;
    use crate::mcp::Era;
    use crate::policy::Place;
    use crate::principal::{Principal, Proof};
    use serde_json::{Value, json};
    use std::net::Ipv6Addr;
    use std::sync::Arc;
    use std::time::Duration;

    fn full() -> Event {
        let odd = "a\"\\\n\u{1}\u{7f}\u{2028}ä";
        let who = Principal::new(Proof {
            issuer: "https://issuer.example".into(),
            subject: odd.into(),
            client: Some("c".into()),
            scopes: vec!["one".into(), odd.into()],
            groups: vec!["g".into()],
            ..Proof::default()
        });
        Event {
            id: "1".into(),
            time: SystemTime::UNIX_EPOCH,
            upstream: Some("up".into()),
            who: Some(Arc::new(who)),
            token: Some([0; 32]),
            operation: "tools/call",
            name: Some(odd.into()),
            outcome: Outcome::Permitted,
            reason: "permitted",
            rule: Some((odd.into(), Place { file: "f".into(), line: 7 })),
            arguments: Some([255; 32]),
            values: None,
            source: Ipv6Addr::LOCALHOST.into(),
            session: Some([1; 32]),
            era: Some(Era::Legacy),
            status: 200,
            duration: Duration::from_micros(7),
            overhead: Duration::ZERO,
            trace: Some("t".into()),
        }
    }

    fn read(event: &Event) -> Value {
        let mut out = Vec::new();
        assert!(super::event(event, &mut out));
        serde_json::from_slice(&out).expect("json")
    }

    #[test]
    fn item_s41_every_field_is_read_back_whatever_it_holds() {
        let odd = "a\"\\\n\u{1}\u{7f}\u{2028}ä";
        let expected = json!({
            "id": "1", "time": "1970-01-01T00:00:00.000000Z", "upstream": "up", "subject": odd, "client": "c",
            "issuer": "https://issuer.example", "token": URL_SAFE_NO_PAD.encode([0; 32]), "scopes": ["one", odd], "groups": ["g"],
            "operation": "tools/call", "name": odd, "outcome": "permitted", "reason": "permitted",
            "rule": {"name": odd, "place": "f:7"}, "arguments": URL_SAFE_NO_PAD.encode([255; 32]), "source": "::1",
            "session": URL_SAFE_NO_PAD.encode([1; 32]), "era": "legacy", "status": 200, "duration_us": 7, "trace": "t",
        });
        assert_eq!(read(&full()), expected);
    }

    #[test]
    fn an_address_of_four_octets_is_written_as_one() {
        assert_eq!(read(&Event { source: IpAddr::from([203, 0, 113, 7]), ..full() })["source"], "203.0.113.7");
    }

    #[test]
    fn values_of_arguments_stand_in_a_record_that_has_some_and_in_no_other() {
        let raw = serde_json::value::RawValue::from_string(r#"{"owner":"ac\"me"}"#.into()).expect("json");
        let values = crate::event::values::Values::of(Some(&raw), &["owner".into()]).map(Box::new);
        assert_eq!(read(&Event { values, ..full() })["values"], json!({"owner": {"value": "ac\"me"}}));
        assert_eq!(read(&full()).get("values"), None);
    }

    #[test]
    fn what_is_not_known_is_null() {
        let bare = Event {
            upstream: None,
            who: None,
            token: None,
            name: None,
            rule: None,
            arguments: None,
            values: None,
            session: None,
            era: None,
            trace: None,
            ..full()
        };
        let read = read(&bare);
        for field in
            ["upstream", "subject", "client", "issuer", "token", "scopes", "groups", "name", "rule", "arguments", "session", "era", "trace"]
        {
            assert_eq!(read.get(field), Some(&Value::Null), "{field}");
        }
    }

    #[test]
    fn groups_are_kept_up_to_a_bound_or_not_at_all() {
        let with = |count: usize| {
            let proof = Proof { groups: vec!["g".into(); count], ..Proof::default() };
            read(&Event { who: Some(Arc::new(Principal::new(proof))), ..full() })
        };
        assert_eq!(with(GROUPS)["groups"].as_array().map(Vec::len), Some(GROUPS));
        assert_eq!(with(GROUPS + 1)["groups"], Value::Null);
    }
}
