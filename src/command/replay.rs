//! `doorward replay`: what would a proposed configuration have said to the requests of an audit log?
//!
//! Callers are rebuilt from their records, and the same policy that decides in service is asked. Records have digests of
//! arguments and only those values that an upstream opted in to, and no claims: what a rule decides by them is told as undecidable, never guessed.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use clap::Args;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::audit::each_line;
use super::{Failure, File, say};
use crate::config::{self, Config};
use crate::denial::{Denial, Fault};
use crate::mcp::{Kind, Method, Operation, Target, Thing, Verb};
use crate::policy::known::{Known, Verdict};
use crate::policy::{Caller, Refusal, Rule};
use crate::principal::{Principal, Proof};
use crate::route::{Mode, Route};
use crate::state::environment;

/// Different changes that are told one by one.
const GROUPS: usize = 100_000;
/// Characters of a name that a record keeps: one as long as that may have been cut.
const NAME: usize = 256;

#[derive(Args)]
pub struct Replay {
    /// The proposed configuration.
    #[command(flatten)]
    file: File,
    /// Files of the audit log; `-` for standard input. `doorward audit verify` says whether they can be believed.
    #[arg(required = true, value_name = "AUDIT")]
    files: Vec<PathBuf>,
    /// Exit with 0 also where requests could not be decided from their records.
    #[arg(long)]
    allow_undecided: bool,
    /// For programs.
    #[arg(long)]
    json: bool,
}

/// The fields of a record that are looked at.
#[derive(Debug, Deserialize)]
struct Record {
    time: String,
    upstream: Option<String>,
    subject: Option<String>,
    client: Option<String>,
    issuer: Option<String>,
    scopes: Option<Vec<String>>,
    groups: Option<Vec<String>>,
    operation: String,
    name: Option<String>,
    outcome: Option<String>,
    reason: Option<String>,
    rule: Option<RecordRule>,
    source: Option<IpAddr>,
    #[serde(default)]
    values: BTreeMap<String, Map<String, Value>>,
}

#[derive(Debug, Deserialize)]
struct RecordRule {
    name: String,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Passes,
    Refused,
    Undecidable,
}

impl Fate {
    fn as_str(self) -> &'static str {
        match self {
            Self::Passes => "permitted",
            Self::Refused => "refused",
            Self::Undecidable => "undecidable",
        }
    }
}

/// What the proposed configuration says, and why.
struct Foreseen {
    fate: Fate,
    reason: &'static str,
    rule: Option<String>,
}

/// Requests that are alike in everything that is told of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    to: Fate,
    upstream: String,
    operation: String,
    name: Option<String>,
    subject: String,
    client: Option<String>,
    issuer: String,
    /// Whether it passed when it was made.
    passed: bool,
    was: Option<String>,
    rule: Option<String>,
    reason: &'static str,
}

struct Times {
    count: u64,
    first: String,
    last: String,
}

#[derive(Default)]
struct Found {
    changes: BTreeMap<Change, Times>,
    /// Requests whose change found no room among those told one by one.
    untold: u64,
    replayed: u64,
    same: u64,
    permitted: u64,
    refused: u64,
    undecidable: u64,
    /// Records that no rule had decided: of callers who were not known, of messages that were not read, of the log itself.
    skipped: u64,
    unreadable: u64,
}

impl Replay {
    pub fn run(self) -> Result<(), Failure> {
        let loaded = config::load(&self.file.config, &environment).map_err(Failure::Problems)?;
        let mut found = Found::default();
        for path in &self.files {
            each_line(path, |_, line, _| match serde_json::from_slice::<Record>(line) {
                Ok(record) => found.take(record, &loaded.config),
                // What the log says of itself, and acts, have other fields.
                Err(_) => match serde_json::from_slice::<Value>(line) {
                    Ok(_) => found.skipped += 1,
                    Err(_) => found.unreadable += 1,
                },
            })?;
        }
        say(&if self.json { found.json() } else { found.text() })?;
        let undecided = found.undecidable + found.unreadable;
        if found.permitted + found.refused == 0 && (undecided == 0 || self.allow_undecided) { Ok(()) } else { Err(Failure::No) }
    }
}

impl Found {
    fn take(&mut self, record: Record, config: &Config) {
        let Some(passed) = passed(&record) else {
            self.skipped += 1;
            return;
        };
        let Some(Foreseen { fate, reason, rule }) = foresee(&record, config) else {
            self.skipped += 1;
            return;
        };
        self.replayed += 1;
        match (fate, passed) {
            (Fate::Passes, true) | (Fate::Refused, false) => {
                self.same += 1;
                return;
            }
            (Fate::Passes, false) => self.permitted += 1,
            (Fate::Refused, true) => self.refused += 1,
            (Fate::Undecidable, _) => self.undecidable += 1,
        }
        let Record { time, upstream, subject, client, issuer, operation, name, rule: was, .. } = record;
        let change = Change {
            to: fate,
            upstream: upstream.unwrap_or_default(),
            operation,
            name,
            subject: subject.unwrap_or_default(),
            client,
            issuer: issuer.unwrap_or_default(),
            passed,
            was: was.map(|rule| rule.name),
            rule,
            reason,
        };
        if self.changes.len() >= GROUPS && !self.changes.contains_key(&change) {
            self.untold += 1;
            return;
        }
        let times = self.changes.entry(change).or_insert_with(|| Times { count: 0, first: time.clone(), last: time.clone() });
        times.count += 1;
        if time < times.first {
            times.first.clone_from(&time);
        }
        if time > times.last {
            times.last = time;
        }
    }

    /// The most frequent first.
    fn sorted(&self) -> Vec<(&Change, &Times)> {
        let mut all: Vec<_> = self.changes.iter().collect();
        all.sort_by(|(one, of_one), (other, of_other)| one.to.cmp(&other.to).then(of_other.count.cmp(&of_one.count)).then(one.cmp(other)));
        all
    }

    fn text(&self) -> String {
        let Self { replayed, same, permitted, refused, undecidable, skipped, unreadable, untold, .. } = self;
        let mut text = String::new();
        let mut titled = None;
        for (change, Times { count, first, last }) in self.sorted() {
            if titled != Some(change.to) {
                titled = Some(change.to);
                text.push_str(match change.to {
                    Fate::Passes => "would be permitted:\n",
                    Fate::Refused => "would be refused:\n",
                    Fate::Undecidable => "cannot be decided from the record:\n",
                });
            }
            let Change { upstream, operation, name, subject, client, was, rule, reason, passed, .. } = change;
            let name = name.as_deref().map(|name| format!(" {}", printable(name))).unwrap_or_default();
            let client = client.as_deref().map(|client| format!(" by {}", printable(client))).unwrap_or_default();
            let rule = rule.as_deref().unwrap_or("no rule");
            let was = match (was.as_deref(), passed) {
                (Some(was), true) => format!("permitted by {was}"),
                (Some(was), false) => format!("refused by {was}"),
                (None, true) => "permitted".to_owned(),
                (None, false) => "refused by no rule".to_owned(),
            };
            let _ = writeln!(
                text,
                "  {count} x {upstream} {operation}{name} for {}{client}: {reason} ({rule}), was {was}; {first} to {last}",
                printable(subject)
            );
        }
        if *untold > 0 {
            let _ = writeln!(text, "and {untold} requests more");
        }
        let _ = writeln!(
            text,
            "{replayed} requests replayed: {same} the same, {permitted} would be permitted, {refused} would be refused, {undecidable} undecidable; {skipped} records not decided by a rule, {unreadable} unreadable"
        );
        text
    }

    fn json(&self) -> String {
        let Self { replayed, same, permitted, refused, undecidable, skipped, unreadable, untold, .. } = self;
        let changes: Vec<Value> = self
            .sorted()
            .into_iter()
            .map(|(change, Times { count, first, last })| {
                let Change { to, upstream, operation, name, subject, client, issuer, passed, was, rule, reason } = change;
                json!({
                    "would": to.as_str(), "was": if *passed { "permitted" } else { "refused" }, "reason": reason,
                    "upstream": upstream, "operation": operation, "name": name,
                    "subject": subject, "client": client, "issuer": issuer,
                    "rule_before": was, "rule": rule, "count": count, "first": first, "last": last,
                })
            })
            .collect();
        let told = json!({
            "replayed": replayed, "same": same, "would_be_permitted": permitted, "would_be_refused": refused,
            "undecidable": undecidable, "skipped": skipped, "unreadable": unreadable, "untold": untold, "changes": changes,
        });
        format!("{told}\n")
    }
}

/// Whether the rules let the request pass; none where it was not for the rules to say.
fn passed(record: &Record) -> Option<bool> {
    record.subject.as_ref()?;
    match (record.outcome.as_deref()?, record.reason.as_deref()?) {
        // Cut short before it was read.
        ("failed", _) if record.operation == "none" => None,
        // What failed behind the rules was permitted by them.
        ("permitted" | "observed" | "failed", _) => Some(true),
        ("refused", reason) if is_of_rules(reason) => Some(false),
        _ => None,
    }
}

/// Reasons that come from rules and from nothing else.
fn is_of_rules(reason: &str) -> bool {
    const REASONS: [&str; 15] = [
        "insufficient_scope",
        "insufficient_user_authentication",
        "step_up_loop",
        "denied_by_rule",
        "no_rule",
        "uri_not_canonical",
        "scopes",
        "groups",
        "clients",
        "subjects",
        "claims",
        "source",
        "step_up",
        "arguments",
        "any_of",
    ];
    REASONS.contains(&reason)
}

/// None for what names nothing that a configuration decides.
fn foresee(record: &Record, config: &Config) -> Option<Foreseen> {
    let refused = |reason| Some(Foreseen { fate: Fate::Refused, reason, rule: None });
    let upstream = record.upstream.as_deref()?;
    let Some(route) = config.routes.iter().find(|route| *route.name == *upstream) else {
        return refused("not_found");
    };
    let issuer = record.issuer.as_deref()?;
    if !route.issuers.iter().any(|rules| rules.issuer.as_ref() == issuer) {
        return refused("token_issuer");
    }
    let arguments = record.arguments();
    let given = given(&arguments);
    let operation = match operation(record, given.as_deref()) {
        Some(operation) => operation,
        // A session's own comings and goings: whoever is admitted may.
        None if record.operation.starts_with("session/") => {
            return Some(Foreseen { fate: Fate::Passes, reason: "permitted", rule: None });
        }
        None => return Some(Foreseen { fate: Fate::Undecidable, reason: "operation", rule: None }),
    };
    let cut = record.name.as_ref().is_some_and(|name| name.chars().count() >= NAME);
    if cut && operation.target != Target::Nothing {
        return Some(Foreseen { fate: Fate::Undecidable, reason: "name", rule: None });
    }
    let principal = Principal::new(Proof {
        issuer: issuer.into(),
        subject: record.subject.clone()?,
        client: record.client.clone(),
        scopes: record.scopes.clone().unwrap_or_default(),
        groups: record.groups.clone().unwrap_or_default(),
        ..Proof::default()
    });
    Some(judge(record, route, &principal, &operation, &arguments))
}

/// Those that the record knows of, each with its value where it had one.
type Arguments = BTreeMap<String, Option<Value>>;

impl Record {
    fn arguments(&self) -> Arguments {
        let known = |(name, kept): (&String, &Map<String, Value>)| match kept.get("value") {
            Some(value) => Some((name.clone(), Some(value.clone()))),
            None if kept.is_empty() => Some((name.clone(), None)),
            // Too long, or spelled in two ways.
            None => None,
        };
        self.values.iter().filter_map(known).collect()
    }
}

/// The arguments of a call, as far as they are known.
fn given(arguments: &Arguments) -> Option<Box<RawValue>> {
    let there: BTreeMap<&String, &Value> = arguments.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))).collect();
    to_raw_value(&there).ok().filter(|_| !there.is_empty())
}

fn judge(record: &Record, route: &Arc<Route>, principal: &Principal, operation: &Operation<'_>, arguments: &Arguments) -> Foreseen {
    let now = humantime::parse_rfc3339(&record.time).unwrap_or(SystemTime::UNIX_EPOCH);
    let known = Known { groups: record.groups.is_some(), source: record.source.is_some(), arguments };
    let caller = Caller { principal, source: record.source.unwrap_or(IpAddr::from([0, 0, 0, 0])), now };
    let named = |rule: Option<&Rule>| rule.map(|rule| format!("{} at {}", rule.name, rule.place));
    match (route.policy.foresee(caller, operation, known), route.mode) {
        (Verdict::Permitted(permit), _) => Foreseen { fate: Fate::Passes, reason: "permitted", rule: named(permit.rule()) },
        (Verdict::Refused(refusal), Mode::Enforce) => {
            Foreseen { fate: Fate::Refused, reason: reason(&refusal), rule: named(refusal.rule()) }
        }
        (Verdict::Refused(refusal), Mode::Observe) => Foreseen { fate: Fate::Passes, reason: "observed", rule: named(refusal.rule()) },
        (Verdict::Undecidable(rule, _), Mode::Observe) => Foreseen { fate: Fate::Passes, reason: "observed", rule: named(Some(rule)) },
        (Verdict::Undecidable(rule, key), Mode::Enforce) => Foreseen { fate: Fate::Undecidable, reason: key, rule: named(Some(rule)) },
    }
}

fn reason(refusal: &Refusal<'_>) -> &'static str {
    Denial::from(Fault::from(refusal)).reason()
}

/// The operation that the record tells of; none where the record does not say what it named.
fn operation<'r>(record: &'r Record, arguments: Option<&'r RawValue>) -> Option<Operation<'r>> {
    let method = Method::find(&record.operation)?;
    let thing = |kind, name| Target::One(Thing { kind, name: std::borrow::Cow::Borrowed(name) });
    let target = match (method.verb, record.name.as_deref()) {
        (Verb::Use(kind, _) | Verb::Point(kind, _), Some(name)) => thing(kind, name),
        // The tool that began it.
        (Verb::Task, Some(name)) => thing(Kind::Tool, name),
        // Of a prompt or a resource; only the resource's name is a URI, and only it has a scheme.
        (Verb::Complete, Some(name)) if !name.contains(':') => thing(Kind::Prompt, name),
        (Verb::Use(..) | Verb::Point(..) | Verb::Task | Verb::Complete, _) => return None,
        // One record names the first of those that were asked for.
        (Verb::Listen, Some(_)) => return None,
        (Verb::List(_) | Verb::Tasks | Verb::Introduce | Verb::Plain | Verb::Absorb | Verb::Listen, _) => Target::Nothing,
    };
    Some(Operation { method, target, arguments })
}

/// Without what could move the cursor of a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}
