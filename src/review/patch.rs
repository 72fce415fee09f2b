//! Narrower rules as unified diffs against the files that hold the wide ones. Reads the files, and never writes them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use similar::TextDiff;

use crate::config::Config;
use crate::config::edit::Edit;
use crate::governance::review::Narrowing;

/// Lines around a change.
const CONTEXT: usize = 3;

/// The change of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Patch {
    pub file: String,
    /// With names from the folder of the configuration on, behind `a/` and `b/`.
    pub diff: String,
}

/// What is to change of one rule.
type Rule<'a> = (&'a str, Reverse<usize>);

/// One patch for each file, and the places of rules that cannot be changed by one.
pub fn patches(config: &Config, narrowings: &[Narrowing]) -> (Vec<Patch>, Vec<String>) {
    let mut files: BTreeMap<&str, BTreeMap<Rule<'_>, Vec<&Narrowing>>> = BTreeMap::new();
    for one in narrowings.iter().filter(|one| one.after.is_some()) {
        // From the last rule to the first, so that the numbers of those to come still hold.
        files.entry(&one.file).or_default().entry((&one.upstream, Reverse(one.index))).or_default().push(one);
    }
    let main = config.files.first().map(|seen| seen.path.as_path());
    let (mut patches, mut by_hand) = (Vec::new(), Vec::new());
    for (file, rules) in files {
        let path = Path::new(file);
        // What is on the disk is another configuration than the one that was reviewed.
        let is_same = config.files.iter().any(|seen| seen.path == path && !seen.has_changed());
        let Some(old) = std::fs::read_to_string(path).ok().filter(|_| is_same) else {
            by_hand.extend(rules.into_values().flatten().map(|one| one.place.clone()));
            continue;
        };
        let mut new = old.clone();
        for ((upstream, Reverse(index)), parts) in rules {
            match edited(&new, main == Some(path), upstream, index, &parts) {
                Some(text) => new = text,
                None => by_hand.extend(parts.first().map(|one| one.place.clone())),
            }
        }
        if new != old {
            patches.push(Patch { file: file.to_owned(), diff: diff(&named(path, main), &old, &new) });
        }
    }
    (patches, by_hand)
}

fn edited(text: &str, is_main: bool, upstream: &str, rule: usize, parts: &[&Narrowing]) -> Option<String> {
    let lists: Vec<(&str, &[String])> = parts.iter().filter_map(|one| Some((&*one.key, one.after.as_deref()?))).collect();
    let deny: Vec<(&str, &[String])> =
        parts.iter().filter(|one| !one.deny.is_empty()).map(|one| (&*one.key, one.deny.as_slice())).collect();
    Edit { upstream, rule, lists: &lists, deny: &deny }.apply(text, is_main)
}

/// From the folder of the configuration on, where it lies there.
fn named(path: &Path, main: Option<&Path>) -> String {
    let folder = main.and_then(Path::parent);
    let short = folder.and_then(|folder| path.strip_prefix(folder).ok()).unwrap_or(path);
    short.display().to_string().trim_start_matches('/').to_owned()
}

fn diff(name: &str, old: &str, new: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    diff.unified_diff().context_radius(CONTEXT).header(&format!("a/{name}"), &format!("b/{name}")).to_string()
}
