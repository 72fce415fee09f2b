//! What servers say of their tools, beside what was approved: in lines for a person, in JSON for a program.
//!
//! SECURITY: a definition is a stranger's text. Whatever could move a cursor, colour, hide or reorder is shown as `\u{…}`,
//! lines are broken where they are long, and a line that goes on begins with `|`, so that none passes for another.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use http::HeaderValue;
use serde_json::{Value, json};
use similar::{Algorithm, ChangeTag, capture_diff_slices_deadline, group_diff_ops};

use crate::config::Config;
use crate::mcp::definition::Definition;
use crate::pin::{Approval, Approvals, Pin};
use crate::remote::{UpstreamTokens, listed};
use crate::route::Route;

/// Characters of a line, lines of one difference, lines that stay the same around it.
const WIDTH: usize = 160;
const LINES: usize = 2_000;
const AROUND: usize = 2;
/// After it a difference is shown more coarsely.
const PATIENCE: Duration = Duration::from_secs(2);

/// The tools of all servers of an upstream. Several definitions where they differ; none for what cannot be compared.
pub type Found = BTreeMap<String, Vec<Option<Definition>>>;

/// Asks every server. `own` is an `Authorization` that the gateway obtained for them; `timeout` is of one request.
///
/// # Errors
/// In words for the operator, of the first server that could not be asked.
pub async fn found(route: &Route, own: Option<&HeaderValue>, timeout: Duration) -> Result<Found, String> {
    let mut found = Found::new();
    for place in &route.upstream.reach.places {
        let tools = listed::tools(&route.upstream, place, own, timeout).await.map_err(|why| format!("{}: {why}", place.label()))?;
        for tool in tools {
            let definition = Definition::read(&tool.text);
            let all = found.entry(tool.name).or_default();
            if !all.contains(&definition) {
                all.push(definition);
            }
        }
    }
    Ok(found)
}

/// The gateway's own token for an upstream, where it obtains one.
///
/// # Errors
/// In words for the operator.
pub async fn own_token(config: &Config, route: &Route) -> Result<Option<HeaderValue>, String> {
    let tokens = UpstreamTokens::build(config, None).map_err(|error| error.to_string())?;
    tokens.own(route).await.map_err(|error| format!("its credential cannot be obtained: {error}"))
}

/// How an upstream's tools differ from their approvals.
pub struct Comparison<'a> {
    pin: &'a Pin,
    same: usize,
    changed: Vec<Changed<'a>>,
    new: Vec<String>,
    missing: Vec<&'a str>,
}

struct Changed<'a> {
    name: &'a str,
    approval: &'a Approval,
    /// The first that is another than approved.
    found: Option<Definition>,
    /// Some servers have it as approved.
    here_and_there: bool,
}

impl<'a> Comparison<'a> {
    pub fn new(pin: &'a Pin, found: &Found) -> Self {
        let (mut same, mut changed, mut missing) = (0, Vec::new(), Vec::new());
        for (name, approval) in pin.approvals.iter() {
            let Some(all) = found.get(name) else {
                missing.push(name);
                continue;
            };
            let is_approved = |one: &Option<Definition>| one.as_ref() == Some(&approval.definition);
            match all.iter().find(|one| !is_approved(one)) {
                None => same += 1,
                Some(other) => {
                    changed.push(Changed { name, approval, found: other.clone(), here_and_there: all.iter().any(is_approved) });
                }
            }
        }
        let new = found.keys().filter(|name| pin.approvals.find(name).is_none()).cloned().collect();
        Self { pin, same, changed, new, missing }
    }

    /// Nothing that was approved has changed or is gone.
    pub fn is_well(&self) -> bool {
        self.changed.is_empty() && self.missing.is_empty()
    }

    /// And nothing is there that was not approved.
    pub fn is_same(&self) -> bool {
        self.is_well() && self.new.is_empty()
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for Changed { name, approval, found, here_and_there } in &self.changed {
            let part = if *here_and_there { ", on some of its servers" } else { "" };
            let _ = writeln!(text, "  changed: {}{part} (approved by {}, {})", plain(name), plain(&approval.by), plain(&approval.at));
            match found {
                Some(found) => difference(&approval.definition, found).iter().for_each(|line| {
                    let _ = writeln!(text, "    {line}");
                }),
                None => text.push_str("    its definition has more than one reading, or is too long\n"),
            }
        }
        for name in &self.new {
            let _ = writeln!(text, "  new: {}", plain(name));
        }
        for name in &self.missing {
            let _ = writeln!(text, "  missing: {}", plain(name));
        }
        let file = self.pin.file.display();
        let (changed, new, missing) = (self.changed.len(), self.new.len(), self.missing.len());
        let _ = writeln!(text, "  pinned by {file}: {} as approved, {changed} changed, {new} new, {missing} missing", self.same);
        text
    }

    pub fn to_json(&self) -> Value {
        let changed = |Changed { name, approval, found, here_and_there }: &Changed<'_>| {
            json!({
                "name": name,
                "approved": approval.digest.to_string(),
                "approved_by": approval.by,
                "approved_at": approval.at,
                "found": found.as_ref().map(|found| found.digest().to_string()),
                "on_some_servers": here_and_there,
                "difference": found.as_ref().map(|found| difference(&approval.definition, found)),
            })
        };
        json!({
            "file": self.pin.file.display().to_string(),
            "as_approved": self.same,
            "changed": self.changed.iter().map(changed).collect::<Vec<_>>(),
            "new": self.new,
            "missing": self.missing,
        })
    }
}

/// The tools that are approved from now on. `names`: those to approve; none for all that differ, and to strike what is gone.
///
/// # Errors
/// A tool that no server has, or that cannot be approved, because it is not one thing.
pub fn approved(pin: &Pin, found: &Found, names: &[String], by: &str, at: &str) -> Result<Approvals, String> {
    let mut approvals = pin.approvals.clone();
    let all = names.is_empty();
    if all {
        approvals.retain(|name| found.contains_key(name));
    }
    for name in if all { found.keys().collect::<Vec<_>>() } else { names.iter().collect() } {
        let definition = match found.get(name).map(Vec::as_slice) {
            None | Some([]) => return Err(format!("no server has a tool `{}`", plain(name))),
            Some([Some(only)]) => only,
            Some([None]) => return Err(format!("the definition of `{}` has more than one reading, or is too long", plain(name))),
            Some(_) => return Err(format!("the servers define `{}` differently", plain(name))),
        };
        if all && approvals.find(name).is_some_and(|approval| approval.definition == *definition) {
            continue;
        }
        let approval = Approval { digest: definition.digest(), definition: definition.clone(), by: by.to_owned(), at: at.to_owned() };
        approvals.insert(name.clone(), approval);
    }
    Ok(approvals)
}

/// Lines that are gone (`-`), that came (`+`), and some around them.
fn difference(old: &Definition, new: &Definition) -> Vec<String> {
    let (old, new) = (lines(old), lines(new));
    let ops = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, Some(Instant::now() + PATIENCE));
    let mut out = Vec::new();
    for (index, group) in group_diff_ops(ops, AROUND).into_iter().enumerate() {
        if index > 0 {
            out.push("…".to_owned());
        }
        for op in group {
            out.extend(op.iter_changes(&old, &new).map(|change| {
                let sign = match change.tag() {
                    ChangeTag::Equal => ' ',
                    ChangeTag::Delete => '-',
                    ChangeTag::Insert => '+',
                };
                format!("{sign} {}", change.value())
            }));
        }
    }
    if out.len() > LINES {
        let more = out.len() - LINES;
        out.truncate(LINES);
        out.push(format!("… and {more} more lines"));
    }
    out
}

/// A definition as lines that can be compared: broken at its own line ends, and where they are long.
fn lines(definition: &Definition) -> Vec<String> {
    let mut out = Vec::new();
    for line in definition.pretty().lines() {
        let indent: String = line.chars().take_while(|c| *c == ' ').collect();
        let (mut now, mut length, mut escaped) = (String::new(), 0, false);
        for c in line.chars() {
            let shown = plain(c.encode_utf8(&mut [0; 4]));
            length += shown.chars().count();
            now.push_str(&shown);
            let ends_line = escaped && c == 'n';
            escaped = c == '\\' && !escaped;
            if ends_line || (length >= WIDTH && !escaped) {
                out.push(std::mem::replace(&mut now, format!("{indent}    | ")));
                length = 0;
            }
        }
        out.push(now);
    }
    out
}

/// A stranger's text that does nothing to a terminal and hides nothing from its reader.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match is_unseen(c) {
            true => out.extend(c.escape_unicode()),
            false => out.push(c),
        }
    }
    out
}

/// JSON that means the same, as harmless to a terminal as [`plain`] text is.
pub fn plain_json(json: &Value) -> String {
    let mut out = String::new();
    for c in json.to_string().chars() {
        match is_unseen(c) {
            // Outside of strings there is nothing of the kind.
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                let _ = write!(out, "\\u{unit:04x}");
            }),
            false => out.push(c),
        }
    }
    out
}

/// Controls, and what has no shape of its own or changes that of others: marks of direction, joiners, tags, fillers.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}'
        )
        || (c.is_whitespace() && c != ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(text: &str) -> Definition {
        Definition::read(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn a_changed_description_and_schema_are_shown_line_by_line() {
        let old = definition(r#"{"name":"a","description":"Reads.\nOnly reads.","inputSchema":{"type":"object","properties":{}}}"#);
        let new =
            definition(r#"{"name":"a","description":"Reads.\nSends ~/.ssh too.","inputSchema":{"type":"object","properties":{"key":{}}}}"#);
        let told = difference(&old, &new).join("\n");
        assert!(told.contains("-       | Only reads.\","), "{told}");
        assert!(told.contains("+       | Sends ~/.ssh too.\","), "{told}");
        assert!(told.contains("+       \"key\": {}"), "{told}");
        assert!(told.contains("    \"description\": \"Reads.\\n"), "{told}");
    }

    #[test]
    fn what_would_act_on_a_terminal_is_shown_and_not_sent() {
        let sly = "a\u{1b}[2K\u{9b}31m\r\u{202e}gnp.exe\u{200b}\u{e0041}\u{feff}\u{2028}\u{a0}\u{7f}";
        assert_eq!(plain(sly), "a\\u{1b}[2K\\u{9b}31m\\u{d}\\u{202e}gnp.exe\\u{200b}\\u{e0041}\\u{feff}\\u{2028}\\u{a0}\\u{7f}");
        let json = json!({ "name": sly });
        let text = plain_json(&json);
        assert!(!text.contains(is_unseen) && serde_json::from_str::<Value>(&text).is_ok_and(|read| read == json), "{text}");
        assert_eq!(plain("世界 é 🙂 \"q\""), "世界 é 🙂 \"q\"");
        let with = |text: &str| definition(&json!({"name": "a", "description": text}).to_string());
        let told = difference(&with("ok"), &with(sly)).join("\n");
        assert!(told.chars().all(|c| c == '\n' || !is_unseen(c)), "{told:?}");
    }

    #[test]
    fn no_line_is_long_and_none_passes_for_another() {
        let with = |text: &str| definition(&json!({"name": "a", "description": text}).to_string());
        let sly = format!("{}\n  \"readOnlyHint\": true\\n{}", "x".repeat(10_000), "\\".repeat(1_000));
        let told = difference(&with("ok"), &with(&sly));
        assert!(told.len() > 60 && told.iter().all(|line| line.chars().count() < WIDTH + 20), "{told:?}");
        let hint = told.iter().find(|line| line.contains("readOnlyHint")).expect("the line");
        assert!(hint.trim_start_matches(['+', ' ']).starts_with('|'), "{hint}");
    }

    #[test]
    fn a_huge_definition_is_shown_in_bounded_lines_and_time() {
        let with = |seed: u32| {
            let members: Vec<String> = (0..30_000_u32).map(|n| format!("\"m{n}\":{}", n.wrapping_mul(seed) % 7)).collect();
            definition(&format!("{{\"name\":\"a\",{}}}", members.join(",")))
        };
        let begun = Instant::now();
        let told = difference(&with(3), &with(5));
        assert_eq!(told.len(), LINES + 1);
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn only_what_is_one_thing_is_approved() {
        let one = |text: &str| Some(definition(text));
        let pin = Pin { file: "x".into(), interval: PATIENCE, approvals: Approvals::default() };
        let found = Found::from([
            ("a".to_owned(), vec![one(r#"{"name":"a"}"#)]),
            ("b".to_owned(), vec![one(r#"{"name":"b"}"#), one(r#"{"name":"b","x":1}"#)]),
            ("c".to_owned(), vec![None]),
        ]);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let told = |list: &[&str]| approved(&pin, &found, &names(list), "me", "now").map(|all| all.iter().count());
        assert_eq!(told(&["a"]), Ok(1));
        assert!(told(&["a", "b"]).is_err_and(|why| why.contains("differently")));
        assert!(told(&["c"]).is_err_and(|why| why.contains("more than one reading")));
        assert!(told(&["d\u{1b}"]).is_err_and(|why| why.contains("`d\\u{1b}`")));
        assert!(told(&[]).is_err());
    }
}
