//! What does a record say? The names of the audit contract, for requests, for what people do to the gateway, and for
//! what the log says of itself.
//!
//! Knows no file and no chain: it writes one JSON object, which the caller seals.

use std::io::Write;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};

use super::chain::Head;
use crate::event::{Act, Event};
use crate::policy::Place;

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

#[derive(Serialize)]
struct Record<'a> {
    id: &'a str,
    time: Time,
    upstream: Option<&'a str>,
    subject: Option<&'a str>,
    client: Option<&'a str>,
    issuer: Option<&'a str>,
    token: Option<Digest<'a>>,
    scopes: Option<&'a [String]>,
    groups: Option<&'a [String]>,
    operation: &'a str,
    name: Option<&'a str>,
    outcome: &'static str,
    reason: &'a str,
    rule: Option<Rule<'a>>,
    arguments: Option<Digest<'a>>,
    source: std::net::IpAddr,
    session: Option<Digest<'a>>,
    era: Option<&'static str>,
    status: u16,
    duration_us: u64,
    trace: Option<&'a str>,
}

#[derive(Serialize)]
struct Rule<'a> {
    name: &'a str,
    #[serde(serialize_with = "place")]
    place: &'a Place,
}

fn place<S: Serializer>(place: &Place, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(place)
}

/// RFC 3339 in UTC, to the microsecond.
struct Time(SystemTime);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&humantime::format_rfc3339_micros(self.0))
    }
}

struct Digest<'a>(&'a [u8; 32]);

impl Serialize for Digest<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut text = [0u8; 43];
        let written = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text).ok().and_then(|_| std::str::from_utf8(&text).ok());
        out.serialize_str(written.unwrap_or_default())
    }
}

/// A request.
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
        source,
        session,
        era,
        status,
        duration,
        overhead: _,
        trace,
    } = event;
    let record = Record {
        id,
        time: Time(*time),
        upstream: upstream.as_deref(),
        subject: who.as_ref().map(|who| who.subject()),
        client: who.as_ref().and_then(|who| who.client()),
        issuer: who.as_ref().map(|who| who.issuer()),
        token: token.as_ref().map(Digest),
        scopes: who.as_ref().map(|who| who.scopes()),
        groups: who.as_ref().map(|who| who.groups()).filter(|groups| groups.len() <= GROUPS),
        operation,
        name: name.as_deref(),
        outcome: outcome.as_str(),
        reason,
        rule: rule.as_ref().map(|(name, place)| Rule { name, place }),
        arguments: arguments.as_ref().map(Digest),
        source: *source,
        session: session.as_ref().map(Digest),
        era: era.map(|era| era.as_str()),
        status: *status,
        duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
        trace: trace.as_deref(),
    };
    json(&record, out)
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
