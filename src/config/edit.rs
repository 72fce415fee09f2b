//! Changes a rule in the text of a file, and leaves everything else as it is written: comments, order, style.
//!
//! The text is found by its lines and brackets, which is not all of YAML. So the result is read again, and is only given out
//! if it means what the old text meant, but for the change; else there is none.

use std::cell::RefCell;
use std::ops::Range;

use serde::de::DeserializeSeed;
use serde_json::{Value, json};

use super::locate::Lines;
use super::tree::Node;

/// A change of one rule.
#[derive(Clone, Copy, Debug)]
pub struct Edit<'a> {
    pub upstream: &'a str,
    /// The rule's number, from 0.
    pub rule: usize,
    /// Lists to change: the key, and what is to stand there.
    pub lists: &'a [(&'a str, &'a [String])],
    /// What a new rule right behind this one is to deny, by key.
    pub deny: &'a [(&'a str, &'a [String])],
}

impl Edit<'_> {
    /// The text with this change; `is_main` where the file holds the whole configuration, and not one upstream. None where it
    /// cannot be written so that nothing else changes.
    pub fn apply(&self, text: &str, is_main: bool) -> Option<String> {
        let old = tree(text)?;
        let mut meant = old.clone();
        let owner = if is_main { meant.get_mut("upstreams")?.get_mut(self.upstream)? } else { &mut meant };
        let rules = owner.get_mut("rules")?.as_array_mut()?;
        let mut new = text.to_owned();
        if !self.deny.is_empty() {
            new = self.denying(&new, is_main)?;
        }
        for (key, after) in self.lists {
            let rule = rules.get_mut(self.rule)?.as_object_mut()?;
            let list = placed(&texts(rule.get(*key)?)?, after);
            new = self.listing(&new, is_main, key, &list, &texts(rule.get(*key)?)?)?;
            rule.insert((*key).to_owned(), json!(list));
        }
        if !self.deny.is_empty() {
            let mut denial: serde_json::Map<String, Value> =
                self.deny.iter().map(|(key, names)| ((*key).to_owned(), json!(names))).collect();
            denial.insert("deny".into(), true.into());
            rules.insert(self.rule + 1, denial.into());
        }
        (tree(&new)? == meant).then_some(new)
    }

    /// Where the rule begins: the offset of its line, and the columns of its dash and of what follows it.
    fn place(&self, text: &str, is_main: bool) -> Option<Place> {
        let root = if is_main { String::new() } else { format!("upstreams.{}", self.upstream) };
        let number = Lines::scan(text, &root).exact(&format!("upstreams.{}.rules[{}]", self.upstream, self.rule))?;
        let start = text.split_inclusive('\n').take(number - 1).map(str::len).sum();
        let line = text.get(start..)?.lines().next()?;
        let dash = indent(line);
        let content = line.get(dash..)?.strip_prefix('-')?.trim_start_matches(' ');
        Some(Place { start, dash, column: line.len() - content.len() })
    }

    fn denying(&self, text: &str, is_main: bool) -> Option<String> {
        let place = self.place(text, is_main)?;
        let (mut at, mut end) = (place.start, place.start);
        for (index, line) in text.get(place.start..)?.split_inclusive('\n').enumerate() {
            let is_empty = is_remark(line);
            if index > 0 && !is_empty && indent(line) <= place.dash {
                break;
            }
            at += line.len();
            if !is_empty {
                end = at;
            }
        }
        let lists: Vec<String> = self.deny.iter().map(|(key, names)| format!("{key}: {}", flow(names))).collect();
        let (before, after) = (text.get(..end)?, text.get(end..)?);
        let gap = if before.ends_with('\n') { "" } else { "\n" };
        Some(format!("{before}{gap}{}- {{ {}, deny: true }}\n{after}", " ".repeat(place.dash), lists.join(", ")))
    }

    fn listing(&self, text: &str, is_main: bool, key: &str, list: &[String], before: &[String]) -> Option<String> {
        let Place { start, column, .. } = self.place(text, is_main)?;
        let first = start + column;
        let value = match text.get(first..)?.starts_with('{') {
            true => Written::Inline(member(text, first, key)?),
            false => entry(text, start, column, key)?,
        };
        match value {
            Written::Inline(range) => Some(format!("{}{}{}", text.get(..range.start)?, flow(list), text.get(range.end..)?)),
            Written::Items(items) => items_changed(text, &items, list, before),
        }
    }
}

struct Place {
    start: usize,
    dash: usize,
    column: usize,
}

/// How a list stands in the text.
enum Written {
    /// `[a, b]` or `a`.
    Inline(Range<usize>),
    /// The lines of each `- a`.
    Items(Vec<Range<usize>>),
}

/// What stays keeps its place; what is new stands where the first one went.
fn placed(before: &[String], after: &[String]) -> Vec<String> {
    let mut fresh: Vec<String> = after.iter().filter(|name| !before.contains(name)).cloned().collect();
    let mut list = Vec::new();
    for name in before {
        if after.contains(name) {
            list.push(name.clone());
        } else {
            list.append(&mut fresh);
        }
    }
    list.append(&mut fresh);
    list
}

/// Lines of entries that stay are left as they are, with their remarks.
fn items_changed(text: &str, items: &[Range<usize>], list: &[String], before: &[String]) -> Option<String> {
    if items.len() != before.len() {
        return None;
    }
    let mut out = text.get(..items.first()?.start)?.to_owned();
    let mut fresh = list.iter().filter(|name| !before.contains(name)).peekable();
    let mut end = items.first()?.start;
    for (range, name) in items.iter().zip(before) {
        out.push_str(text.get(end..range.start)?);
        let line = text.get(range.clone())?;
        if list.contains(name) {
            out.push_str(line);
        } else {
            for name in fresh.by_ref() {
                out.push_str(&format!("{}- {}\n", " ".repeat(indent(line)), quoted(name)));
            }
        }
        end = range.end;
    }
    out.push_str(text.get(end..)?);
    fresh.peek().is_none().then_some(out)
}

/// The value of a key of a mapping in block style, whose keys stand in this column.
fn entry(text: &str, start: usize, column: usize, key: &str) -> Option<Written> {
    let mut at = start;
    let mut lines = text.get(start..)?.split_inclusive('\n').enumerate();
    let after = loop {
        let (index, line) = lines.next()?;
        let own = if index == 0 { line.get(column..)? } else { line.trim_start_matches(' ') };
        let here = line.len() - own.len();
        if index > 0 && !is_remark(line) && here < column {
            return None;
        }
        if here == column
            && let Some(rest) = key_stripped(own, key)
        {
            at += line.len() - rest.len();
            break rest;
        }
        at += line.len();
    };
    let value = after.trim_start_matches(' ');
    if !is_remark(value) {
        let from = at + after.len() - value.len();
        return Some(Written::Inline(from..value_end(text, from)?));
    }
    at += after.len();
    let (mut items, mut dash): (Vec<Range<usize>>, Option<usize>) = (Vec::new(), None);
    for (_, line) in lines {
        let here = indent(line);
        let end = at + line.len();
        if !is_remark(line) {
            let is_item = line.trim_start_matches(' ').starts_with("- ");
            match dash {
                None if is_item && here >= column => dash = Some(here),
                Some(dash) if here == dash && is_item => {}
                // The entry goes on.
                Some(dash) if here > dash => {
                    if let Some(item) = items.last_mut() {
                        item.end = end;
                    }
                    at = end;
                    continue;
                }
                _ => break,
            }
            items.push(at..end);
        }
        at = end;
    }
    Some(Written::Items(items))
}

/// The value of a key in `{ … }` that begins at `open`.
fn member(text: &str, open: usize, key: &str) -> Option<Range<usize>> {
    let mut at = open + 1;
    loop {
        at = past_space(text, at);
        let rest = text.get(at..)?;
        if rest.starts_with('}') {
            return None;
        }
        if rest.starts_with(',') {
            at += 1;
            continue;
        }
        let end = match rest.chars().next()? {
            '"' | '\'' => past_quote(text, at)?,
            _ => at + rest.find(':')?,
        };
        let name = text.get(at..end)?.trim().trim_matches(['"', '\'']);
        let colon = past_space(text, end);
        let from = past_space(text, colon + text.get(colon..)?.strip_prefix(':').map(|_| 1)?);
        let to = value_end(text, from)?;
        if name == key {
            return Some(from..to);
        }
        at = to;
    }
}

/// Where a value ends that begins here: a list or mapping in brackets, a quoted text, or a plain one.
fn value_end(text: &str, from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    match rest.chars().next()? {
        '[' | '{' => past_brackets(text, from),
        '"' | '\'' => past_quote(text, from),
        '&' | '!' | '|' | '>' => None,
        _ => {
            let line = rest.split(['\n', ',', '}', ']']).next()?;
            Some(from + line.split(" #").next()?.trim_end().len())
        }
    }
}

fn past_brackets(text: &str, from: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = from;
    let mut is_head = true;
    while let Some(letter) = text.get(at..)?.chars().next() {
        match letter {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.checked_sub(1)?,
            '"' | '\'' if is_head => {
                at = past_quote(text, at)?;
                is_head = false;
                continue;
            }
            '#' if text.get(..at)?.ends_with([' ', '\n']) => {
                at += text.get(at..)?.find('\n')?;
                continue;
            }
            _ => {}
        }
        at += letter.len_utf8();
        if depth == 0 {
            return Some(at);
        }
        is_head = matches!(letter, '[' | '{' | ',' | ':') || (is_head && letter.is_whitespace());
    }
    None
}

fn past_quote(text: &str, from: usize) -> Option<usize> {
    let mut letters = text.get(from..)?.char_indices();
    let (_, quote) = letters.next()?;
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' if quote == '"' => drop(letters.next()),
            letter if letter == quote => {
                // `''` is one within such a text.
                if quote == '\'' && letters.clone().next().is_some_and(|(_, next)| next == quote) {
                    letters.next();
                    continue;
                }
                return Some(from + at + 1);
            }
            _ => {}
        }
    }
    None
}

fn past_space(text: &str, from: usize) -> usize {
    let mut at = from;
    while let Some(rest) = text.get(at..) {
        let trimmed = rest.trim_start();
        at += rest.len() - trimmed.len();
        let is_remark = trimmed.starts_with('#') && rest.len() != trimmed.len();
        match trimmed.find('\n').filter(|_| is_remark) {
            Some(end) => at += end,
            None => return at,
        }
    }
    at
}

/// What follows `key:` at the head of a text.
fn key_stripped<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let forms = [key.to_owned(), format!("\"{key}\""), format!("'{key}'")];
    let rest = forms.iter().find_map(|form| text.strip_prefix(form.as_str()))?;
    rest.trim_start_matches(' ').strip_prefix(':').filter(|rest| rest.starts_with([' ', '\n', '\r']) || rest.is_empty())
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// A line, or the rest of one, that says nothing.
fn is_remark(line: &str) -> bool {
    let text = line.trim();
    text.is_empty() || text.starts_with('#')
}

fn flow(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    format!("[{}]", names.join(", "))
}

/// Plain where any reader takes it for a text; else as in JSON, which YAML reads alike.
fn quoted(name: &str) -> String {
    let is_word = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/'));
    let lower = name.to_ascii_lowercase();
    let is_value = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"].contains(&&*lower);
    if is_word && !is_value { name.to_owned() } else { Value::from(name).to_string() }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn tree(text: &str) -> Option<Value> {
    let repeated = RefCell::default();
    let node = Node { path: String::new(), repeated: &repeated };
    node.deserialize(serde_yaml::Deserializer::from_str(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(rules: &str, lists: &[(&str, &[&str])], deny: &[(&str, &[&str])]) -> Option<String> {
        let text = format!("upstreams:\n  github:\n    rules:\n{rules}\n  other: 1\n");
        let lists: Vec<(&str, Vec<String>)> = lists.iter().map(|(k, n)| (*k, n.iter().map(|n| (*n).to_owned()).collect())).collect();
        let deny: Vec<(&str, Vec<String>)> = deny.iter().map(|(k, n)| (*k, n.iter().map(|n| (*n).to_owned()).collect())).collect();
        let lists: Vec<(&str, &[String])> = lists.iter().map(|(key, names)| (*key, names.as_slice())).collect();
        let deny: Vec<(&str, &[String])> = deny.iter().map(|(key, names)| (*key, names.as_slice())).collect();
        let new = Edit { upstream: "github", rule: 1, lists: &lists, deny: &deny }.apply(&text, true)?;
        let inner = new.strip_prefix("upstreams:\n  github:\n    rules:\n")?.strip_suffix("\n  other: 1\n")?;
        Some(inner.to_owned())
    }

    const FIRST: &str = "      - { tools: [x], deny: true }\n";
    const LIST: &[(&str, &[&str])] = &[("tools", &["get_a", "list_a", "keep"])];

    #[test]
    fn a_list_is_changed_in_whatever_style_it_stands_and_nothing_else() {
        for (before, after) in [
            (
                "      - tools: [\"get_*\", keep]   # readers\n        scopes: [a]",
                "      - tools: [get_a, list_a, keep]   # readers\n        scopes: [a]",
            ),
            (
                "      - { scopes: [\"t: [\"], 'tools': [\"get_*\", keep], groups: [it's] } # x",
                "      - { scopes: [\"t: [\"], 'tools': [get_a, list_a, keep], groups: [it's] } # x",
            ),
            (
                "      - scopes: [a]\n        # which\n        tools:\n          - \"get_*\"  # all\n          # the other\n          - keep # it\n        groups: [b]",
                "      - scopes: [a]\n        # which\n        tools:\n          - get_a\n          - list_a\n          # the other\n          - keep # it\n        groups: [b]",
            ),
            (
                "      - scopes: [a]\n        tools:\n        - keep\n        - 'get_*'",
                "      - scopes: [a]\n        tools:\n        - keep\n        - get_a\n        - list_a",
            ),
            (
                "      - tools: [keep,\n                \"get_*\", # ] not yet\n               ]\n        scopes: [a]",
                "      - tools: [keep, get_a, list_a]\n        scopes: [a]",
            ),
            ("      -\n        tools: [\"get_*\", keep]", ""),
        ] {
            let new = edited(&format!("{FIRST}{before}"), LIST, &[]);
            let expected = (!after.is_empty()).then(|| format!("{FIRST}{after}"));
            assert_eq!(new, expected, "{before}");
        }
    }

    #[test]
    fn one_text_becomes_a_list_and_names_are_quoted_where_they_must_be() {
        let names: &[(&str, &[&str])] = &[("tools", &["on", "a: b", "é", "7", "x.y/z-1", "\"q\""])];
        let new = edited(&format!("{FIRST}      - tools: \"*\" # all\n        scopes: [a]"), names, &[]).expect("changed");
        assert_eq!(
            new,
            format!("{FIRST}      - tools: [\"on\", \"a: b\", \"é\", \"7\", x.y/z-1, \"\\\"q\\\"\"] # all\n        scopes: [a]")
        );
    }

    #[test]
    fn a_rule_that_denies_stands_right_behind() {
        let rules =
            format!("{FIRST}      - tools: [\"get_*\", keep]\n        scopes:\n          - a\n\n      # the rest\n      - tools: [\"*\"]");
        let new = edited(&rules, LIST, &[("tools", &["get_*"])]).expect("changed");
        let expected = "      - tools: [get_a, list_a, keep]\n        scopes:\n          - a\n      - { tools: [\"get_*\"], deny: true }\n\n      # the rest\n      - tools: [\"*\"]";
        assert_eq!(new, format!("{FIRST}{expected}"));
    }

    #[test]
    fn what_cannot_be_changed_alone_is_left() {
        // The anchor would go with the list that others refer to.
        let shared = format!("{FIRST}      - tools: &all [\"get_*\", keep]\n      - prompts: *all");
        assert_eq!(edited(&shared, LIST, &[]), None);
        // No rule has a line of its own here.
        assert_eq!(edited("      [{ tools: [x] }, { tools: [\"get_*\", keep] }]", LIST, &[]), None);
        assert_eq!(edited(FIRST, LIST, &[]), None, "there is no such rule");
        assert_eq!(edited(&format!("{FIRST}      - prompts: [a]"), LIST, &[]), None, "nor such a list");
    }

    #[test]
    fn every_rule_of_every_sample_can_be_changed() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
        let folders = [root.clone(), root.join("examples"), root.join("providers")];
        let files =
            folders.iter().flat_map(|folder| std::fs::read_dir(folder).expect("a folder")).map(|entry| entry.expect("an entry").path());
        let mut changed = 0;
        for file in files.filter(|path| path.extension().is_some_and(|end| end == "yaml")) {
            let text = std::fs::read_to_string(&file).expect("a file");
            let tree = tree(&text).expect("yaml");
            for (upstream, value) in tree["upstreams"].as_object().into_iter().flatten() {
                for (rule, value) in value["rules"].as_array().into_iter().flatten().enumerate() {
                    for key in ["tools", "prompts", "resources"].into_iter().filter(|key| value[*key] != Value::Null) {
                        let (names, deny) = (["used_a".to_owned(), "u:*".to_owned()], ["rest*".to_owned()]);
                        let lists: [(&str, &[String]); 1] = [(key, &names)];
                        let edit = Edit { upstream, rule, lists: &lists, deny: &[(key, &deny)] };
                        assert!(edit.apply(&text, true).is_some(), "{}: {upstream}, rule {rule}, {key}", file.display());
                        changed += 1;
                    }
                }
            }
        }
        assert!(changed > 40, "{changed}");
    }

    #[test]
    fn a_file_of_one_upstream_is_changed_too() {
        let names = ["get_a".to_owned()];
        let edit = Edit { upstream: "github", rule: 0, lists: &[("tools", &names)], deny: &[] };
        let new = edit.apply("path: /mcp\nrules:\n- tools: get_*\n  scopes: [a]\n", false);
        assert_eq!(new.as_deref(), Some("path: /mcp\nrules:\n- tools: [get_a]\n  scopes: [a]\n"));
    }
}
