//! One YAML file: its text as raw values with the lines they stand on, and every fault of shape.
//!
//! Serde stops at the first fault. So the faulty part is noted, taken out, and the rest read again,
//! until it reads; what was taken out is remembered as broken, so that nobody complains of it twice.
//! Knows YAML and serde's words, nothing of what the keys mean.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use serde::de::{DeserializeOwned, DeserializeSeed};
use serde_json::{Map, Value};
use serde_path_to_error::{Path as SerdePath, Segment};

use super::locate::Lines;
use super::raw::LATER;
use super::report::{At, Report};
use super::tree::{NO_KEY, Node, Strict, TAGGED};

/// More faults of shape in one file are not told.
const MOST_FAULTS: usize = 200;

/// A file that was read.
#[derive(Debug)]
pub struct Document {
    /// As it was named on the command line, or found in a folder.
    pub file: Arc<str>,
    /// What relative paths in it are relative to.
    pub folder: PathBuf,
    /// The path of the whole: empty, or `upstreams.github` for an included file.
    pub root: String,
    pub lines: Lines,
}

impl Document {
    pub fn new(file: &str, folder: PathBuf, root: &str, text: &str) -> Self {
        Self { file: file.into(), folder, root: root.to_owned(), lines: Lines::scan(text, root) }
    }

    /// The text as `T`; `None` when it is not one mapping in YAML.
    pub fn parse<T: DeserializeOwned>(&self, text: &str, report: &mut Report) -> Option<T> {
        let mut tree = self.tree(text, report)?;
        let top = At::new(self);
        if !tree.is_object() {
            let found = if tree.is_null() { "nothing".to_owned() } else { describe(&tree, false) };
            report.error(&top, format!("a mapping of keys is expected here, found {found}"));
            return None;
        }
        clean(&mut tree, &top, report);
        self.shape(tree, report)
    }

    fn tree(&self, text: &str, report: &mut Report) -> Option<Value> {
        let repeated = RefCell::new(Vec::new());
        let mut documents = serde_yaml::Deserializer::from_str(text);
        let first = documents.next()?;
        let seed = Node { path: self.root.clone(), repeated: &repeated };
        let tree = match seed.deserialize(first) {
            Ok(tree) => tree,
            Err(error) => {
                self.not_yaml(&error, report);
                return None;
            }
        };
        if documents.next().is_some() {
            let marks = text.lines().enumerate().filter(|(_, line)| line.starts_with("---"));
            let line = marks.map(|(index, _)| index + 1).filter(|line| *line > 1).last().unwrap_or(1);
            report.syntax(
                self,
                line,
                "there is more than one document in this file",
                Some("keep one, without a line of `---` between two".into()),
            );
            return None;
        }
        for path in repeated.into_inner() {
            self.repeated(&path, report);
        }
        Some(tree)
    }

    fn repeated(&self, path: &str, report: &mut Report) {
        let at = At::new(self).absolute(path);
        let key = path.rsplit('.').next().unwrap_or(path);
        match self.lines.repeated.iter().find(|(double, _, _)| double == path) {
            Some((_, first, line)) => report.at_line(&at, *line, format!("`{key}` stands here twice, first on line {first}")),
            None => report.error(&at, format!("`{key}` stands here twice")),
        }
    }

    fn not_yaml(&self, error: &serde_yaml::Error, report: &mut Report) {
        let line = error.location().map_or(1, |location| location.line());
        let full = error.to_string();
        let text = full.split(" at line ").next().unwrap_or(&full);
        let own = [
            (TAGGED, "write values without tags; upstreams in files of their own are named with `upstreams_dir`"),
            (NO_KEY, "braces begin a mapping; fill in what a template left open, or put the text in quotes"),
        ];
        if let Some((message, hint)) = own.iter().find(|(message, _)| text.ends_with(message)) {
            return report.syntax(self, line, message, Some((*hint).into()));
        }
        let hint = match text {
            _ if full.contains("cannot start any token") => {
                "indent with spaces, and put text that begins with `@`, `%` or a backtick in quotes"
            }
            _ if full.contains("mapping values are not allowed") => "check the indentation, and put text that holds `: ` in quotes",
            _ if full.contains("anchor") || full.contains("alphabetic") => "put text that begins with `*` or `&` in quotes",
            _ => "check the indentation, quotes and brackets here and on the lines before",
        };
        report.syntax(self, line, &format!("not YAML: {text}"), Some(hint.into()));
    }

    fn shape<T: DeserializeOwned>(&self, mut tree: Value, report: &mut Report) -> Option<T> {
        for _ in 0..MOST_FAULTS {
            let error = match serde_path_to_error::deserialize(Strict(tree.clone())) {
                Ok(raw) => return Some(raw),
                Err(error) => error,
            };
            let message = error.inner().to_string();
            let unknown = message.starts_with("unknown field");
            let path = error.path();
            let mut at = self.at(path);
            if unknown
                && let Some(key) = quoted(&message).first()
                && !at.path.ends_with(key.as_str())
            {
                at = at.key(key);
            }
            let steps = steps(path);
            let found = find(&mut tree, &steps).cloned();
            self.fault(&at, &message, found.as_ref(), report);
            report.broken(&at);
            if !take_out(&mut tree, &steps) {
                return None;
            }
        }
        None
    }

    fn at(&self, path: &SerdePath) -> At<'_> {
        path.iter().fold(At::new(self), |at, segment| match segment {
            Segment::Seq { index } => at.item(*index),
            Segment::Map { key } => at.key(key),
            Segment::Enum { .. } | Segment::Unknown => at,
        })
    }

    /// One fault, in the operator's words.
    fn fault(&self, at: &At<'_>, message: &str, found: Option<&Value>, report: &mut Report) {
        let words = quoted(message);
        let key = at.last();
        if message.starts_with("unknown field") {
            let known: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
            let hint = match key {
                "<<" => Some("merge keys are not part of YAML 1.2; write the keys out".to_owned()),
                key => near_miss(key, &known).or_else(|| Some(format!("the keys here are {}", list(&known)))),
            };
            report.error_hint(at, format!("unknown key `{key}`"), hint);
            if let Some(meant) = nearest(key, &known) {
                report.broken(&at.parent().key(meant));
            }
        } else if message.starts_with("unknown variant") {
            let known: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
            let written = words.first().map_or("", String::as_str);
            let hint = near_miss(written, &known).or_else(|| Some(format!("write {}", list(&known).replace(" and ", " or "))));
            report.error_hint(at, format!("unknown value `{written}`"), hint);
        } else {
            let expected = message.rsplit("expected ").next().unwrap_or(message);
            let secret = at.path.contains(".credential");
            let found = found.map_or_else(|| "something else".to_owned(), |found| describe(found, secret));
            report.error(at, format!("{} is expected here, found {found}", plain(expected)));
        }
    }
}

/// The steps of a path that lead into a tree.
enum Step {
    Key(String),
    Item(usize),
}

fn steps(path: &SerdePath) -> Vec<Step> {
    let step = |segment: &Segment| match segment {
        Segment::Seq { index } => Some(Step::Item(*index)),
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    path.iter().filter_map(step).collect()
}

fn find<'t>(tree: &'t mut Value, steps: &[Step]) -> Option<&'t mut Value> {
    steps.iter().try_fold(tree, |node, step| match step {
        Step::Key(key) => node.get_mut(key.as_str()),
        Step::Item(index) => node.get_mut(*index),
    })
}

/// Takes the faulty part out. An entry of a list gives way to an empty one, so that the others keep
/// their numbers.
fn take_out(tree: &mut Value, steps: &[Step]) -> bool {
    let Some((last, parents)) = steps.split_last() else { return false };
    let Some(parent) = find(tree, parents) else { return false };
    match (last, parent) {
        (Step::Key(key), Value::Object(members)) => members.shift_remove(key).is_some(),
        (Step::Item(index), Value::Array(items)) => match items.get_mut(*index) {
            Some(item) if *item == Value::Object(Map::new()) => {
                *item = "".into();
                true
            }
            Some(item) if *item == Value::String(String::new()) => {
                items.clear();
                true
            }
            Some(item) => {
                *item = Value::Object(Map::new());
                true
            }
            None => false,
        },
        _ => false,
    }
}

/// Keys that would hold a secret, if there were such keys.
const SECRETS: &[&str] = &["bearer", "token", "secret", "client_secret", "password", "api_key", "key_secret"];

/// Refuses keys without a value, which would silently be no condition at all, and secrets.
fn clean(node: &mut Value, at: &At<'_>, report: &mut Report) {
    match node {
        Value::Object(members) => {
            let mut out: Vec<String> = Vec::new();
            for (key, value) in members.iter_mut() {
                let here = at.key(key);
                let (names, values) = freedom(at);
                if value.is_null() {
                    report.error_hint(&here, format!("`{key}` has no value"), Some("give it one, or remove the key".into()));
                } else if !names && is_literal_secret(at, key, value) {
                    report.error_hint(&here, "a secret may not stand in this file".into(), Some(secret_hint(at, key)));
                    if matches!(at.last(), "credential" | "header") {
                        report.broken(at);
                    }
                } else {
                    if !values {
                        clean(value, &here, report);
                    }
                    continue;
                }
                report.broken(&here);
                out.push(key.clone());
            }
            for key in out {
                members.shift_remove(&key);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                clean(item, &at.item(index), report);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whether the keys below are names of the operator's own, and whether their values are too
/// (JSON Schemas, claim values).
fn freedom(at: &At<'_>) -> (bool, bool) {
    if matches!(at.path.as_str(), "upstreams" | "issuers" | "scopes") {
        return (true, false);
    }
    // An upstream or issuer may itself be called `claims`.
    let named = matches!(at.parent().path.as_str(), "upstreams" | "issuers");
    let free = !named && matches!(at.last(), "arguments" | "arguments_equal" | "claims" | "headers");
    (free, free)
}

fn is_literal_secret(parent: &At<'_>, key: &str, value: &Value) -> bool {
    let scalar = value.is_string() || value.is_number();
    let in_header = parent.path.ends_with("credential.header");
    scalar && (SECRETS.contains(&key) || key == "credential" || (in_header && key == "value"))
}

fn secret_hint(parent: &At<'_>, key: &str) -> String {
    match key {
        "value" => "put it into a file and name the file with `value_file`, or name a variable with `value_env`".into(),
        "credential" => "put it into a file and name the file: `credential: { bearer_file: … }`".into(),
        _ if parent.last() == "credential" => {
            "put it into a file and name the file with `bearer_file`, or name a variable with `bearer_env`".into()
        }
        key => format!("put it into a file and name the file with `{key}_file`"),
    }
}

/// The words in backticks of a message.
fn quoted(message: &str) -> Vec<String> {
    message.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What is near enough to be meant.
pub fn nearest<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    let distance = |word: &str| strsim::damerau_levenshtein(&written.to_lowercase(), &word.to_lowercase());
    let near = known.iter().map(|word| (distance(word), *word)).min_by_key(|(distance, _)| *distance);
    let length = written.chars().count();
    near.filter(|(distance, _)| *distance <= length.div_ceil(3).min(3) && *distance < length).map(|(_, word)| word)
}

/// A hint at what is near enough to be meant.
pub fn near_miss(written: &str, known: &[&str]) -> Option<String> {
    nearest(written, known).map(|word| format!("did you mean `{word}`?"))
}

/// Known words for people, without those of later versions.
pub fn list(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().filter(|word| !LATER.contains(word)).map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => "none".into(),
    }
}

/// Serde's words for what it wants, in the operator's.
fn plain(expected: &str) -> &str {
    match expected {
        "a sequence" => "a list",
        "a map" => "a mapping of keys",
        "a mapping" => "a mapping of keys",
        "a string" | "string or map" => "text",
        "a boolean" => "`true` or `false`",
        "usize" | "u32" | "u64" => "a whole number",
        other if other.starts_with("struct ") => "a mapping of keys",
        other => other,
    }
}

fn describe(value: &Value, secret: bool) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(truth) => format!("`{truth}`"),
        Value::Number(_) | Value::String(_) if secret => "text".into(),
        Value::Number(number) => format!("the number `{number}`"),
        Value::String(text) if text.len() <= 60 && !text.contains('\n') => format!("the text `{text}`"),
        Value::String(_) => "a long text".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a mapping".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every key and entry of the tree that stands in block style.
    fn places(node: &Value, at: &At<'_>, found: &mut Vec<(String, String)>) {
        match node {
            Value::Object(members) => members.iter().for_each(|(key, value)| {
                found.push((at.key(key).path, key.clone()));
                places(value, &at.key(key), found);
            }),
            Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| {
                found.push((at.item(index).path, "-".into()));
                places(item, &at.item(index), found);
            }),
            _ => {}
        }
    }

    #[test]
    fn the_scanner_and_the_parser_agree_on_every_line_of_the_reference() {
        let text = include_str!("../../config/doorward.yaml");
        let document = Document::new("doorward.yaml", PathBuf::new(), "", text);
        let tree = document.tree(text, &mut Report::default()).expect("yaml");
        let mut found = Vec::new();
        places(&tree, &At::new(&document), &mut found);
        assert!(found.len() > 150);
        let lines: Vec<&str> = text.lines().collect();
        for (path, key) in found {
            let line = lines[document.lines.line(&path) - 1];
            assert!(line.contains(&key) || line.contains(['{', '[']), "{path} is not on `{line}`");
            assert!(document.lines.exact(&path).is_some() || line.contains(['{', '[']), "{path} has no line");
        }
    }

    #[test]
    fn what_is_near_is_meant_and_what_is_far_is_not() {
        assert_eq!(nearest("isuer", &["audience", "issuer"]), Some("issuer"));
        assert_eq!(nearest("Scopes", &["scopes"]), Some("scopes"));
        assert_eq!(nearest("telemetry", &["listen", "limits"]), None);
        assert_eq!(nearest("x", &["a"]), None);
    }
}
