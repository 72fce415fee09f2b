//! Which records of an audit log fit, and how its lines are read.

use std::io::{self, BufRead, BufReader, Read};
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Fault, time};

/// No record is longer, in bytes.
pub const LONGEST: u64 = 1 << 20;

/// Calls with each line's number, the line without its newline, and whether it had one, until it answers `false`.
///
/// # Errors
/// Where it cannot be read.
pub fn each_line(source: impl Read, mut tell: impl FnMut(u64, &[u8], bool) -> bool) -> io::Result<()> {
    let mut source = BufReader::with_capacity(1 << 16, source);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = (&mut source).take(LONGEST).read_until(b'\n', &mut line)?;
        let whole = line.last() == Some(&b'\n');
        if whole {
            line.pop();
        }
        if read == 0 || !tell(number, &line, whole) {
            break;
        }
    }
    Ok(())
}

/// What a record must say. Everything that is named must fit.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Query {
    #[arg(long)]
    pub subject: Option<String>,
    #[arg(long)]
    pub client: Option<String>,
    #[arg(long)]
    pub upstream: Option<String>,
    /// An MCP method, or `admin/…` and `audit/…`.
    #[arg(long)]
    pub operation: Option<String>,
    /// A tool, prompt or URI.
    #[arg(long)]
    pub name: Option<String>,
    /// `permitted`, `refused`, `observed`, `failed` or `answered`.
    #[arg(long)]
    pub outcome: Option<String>,
    #[arg(long)]
    pub reason: Option<String>,
    /// Who did something to the gateway.
    #[arg(long)]
    pub actor: Option<String>,
    /// The digest of a token, as records have it.
    #[arg(long, value_name = "DIGEST")]
    pub token: Option<String>,
    /// A request id.
    #[arg(long)]
    pub id: Option<String>,
    /// The name of the rule that decided.
    #[arg(long)]
    pub rule: Option<String>,
    /// RFC 3339: `2026-11-24T10:00:00Z`.
    #[arg(long, value_name = "TIME", value_parser = a_time)]
    pub since: Option<String>,
    #[arg(long, value_name = "TIME", value_parser = a_time)]
    pub until: Option<String>,
    /// Stop after so many.
    #[arg(long, value_name = "COUNT")]
    pub limit: Option<u64>,
    /// Only records of the log with a greater `sequence`.
    #[arg(long, value_name = "SEQUENCE")]
    pub after: Option<u64>,
}

/// The text of a time, so that on the command line one that is none is wrong usage.
fn a_time(text: &str) -> Result<String, String> {
    time(text).map(|_| text.to_owned()).map_err(|fault| fault.to_string())
}

/// A query that can be asked of each record.
pub struct Filter {
    query: Query,
    since: Option<SystemTime>,
    until: Option<SystemTime>,
}

impl Filter {
    /// # Errors
    /// [`Fault::Invalid`] where a time is none.
    pub fn new(query: &Query) -> Result<Self, Fault> {
        let parsed = |text: &Option<String>| text.as_deref().map(time).transpose();
        Ok(Self { since: parsed(&query.since)?, until: parsed(&query.until)?, query: query.clone() })
    }

    pub fn fits(&self, record: &Value) -> bool {
        let Self { query, since, until } = self;
        let Query { subject, client, upstream, operation, name, outcome, reason, actor, token, id, rule, after, .. } = query;
        let texts = [
            ("subject", subject),
            ("client", client),
            ("upstream", upstream),
            ("operation", operation),
            ("name", name),
            ("outcome", outcome),
            ("reason", reason),
            ("actor", actor),
            ("token", token),
            ("id", id),
        ];
        let same = |found: Option<&Value>, wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| found.and_then(Value::as_str) == Some(wanted.as_str()))
        };
        let at = record.get("time").and_then(Value::as_str).and_then(|time| humantime::parse_rfc3339(time).ok());
        let sequence = record.get("sequence").and_then(Value::as_u64);
        texts.iter().all(|(key, wanted)| same(record.get(key), wanted))
            && same(record.get("rule").and_then(|rule| rule.get("name")), rule)
            && since.is_none_or(|since| at.is_some_and(|at| at >= since))
            && until.is_none_or(|until| at.is_some_and(|at| at < until))
            && after.is_none_or(|after| sequence.is_some_and(|sequence| sequence > after))
    }
}
