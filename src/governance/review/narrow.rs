//! Which rules name more than was used, and what would name just that?
//!
//! The first rule that names a thing decides, so what a narrower rule lets go of falls to the rules behind it. Where one of
//! those could let it through, a rule that denies it is proposed too: a narrower rule never permits more than the wide one.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Basis, Finding, Gap, KEYS, Upstream, Word};
use crate::governance::observed::About;
use crate::mcp::Kind;
use crate::policy::Rule;
use crate::policy::matcher::{NamePattern, UriPattern};

/// Names that take the place of one wildcard, at most: more are better told by a pattern.
const NAMES: usize = 50;

/// A narrower list of names for a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Narrowing {
    pub upstream: String,
    pub rule: String,
    /// `file:line` of the rule.
    pub place: String,
    /// `tools`, `prompts` or `resources`.
    pub key: Word,
    /// The wildcards that say more than was used.
    pub wildcards: Vec<String>,
    /// As the list is.
    pub before: Vec<String>,
    /// As it could be; none where there is no narrower one to propose.
    pub after: Option<Vec<String>>,
    /// What must then be denied right behind the rule.
    pub deny: Vec<String>,
    /// Why nothing is proposed.
    pub unless: Option<Word>,
    /// The rule's number, from 0.
    #[serde(skip)]
    pub index: usize,
    /// The rule's file.
    #[serde(skip)]
    pub file: String,
}

/// What was found of the rules of one upstream.
pub struct Found {
    pub unused: Vec<Finding>,
    pub narrowings: Vec<Narrowing>,
}

pub fn rules(upstream: &Upstream<'_>, basis: &Basis<'_>, gaps: &[&Gap]) -> Found {
    let mut found = Found { unused: Vec::new(), narrowings: Vec::new() };
    let used = used(upstream, basis);
    let is_gap = |kind: Kind| gaps.iter().any(|gap| gap.upstream == *upstream.name && gap.about == About::Thing(kind));
    for (index, rule) in upstream.policy.rules().iter().enumerate().filter(|(_, rule)| !rule.deny) {
        let names = |kinds: &[Kind]| -> BTreeSet<&str> {
            used.iter().filter(|(by, kind, _)| *by == index && kinds.contains(kind)).map(|(_, _, name)| *name).collect()
        };
        let speaks_of = |kinds: &[Kind]| kinds.iter().any(|kind| !patterns(rule, *kind).is_empty());
        let unknown = KEYS.iter().flat_map(|(_, kinds)| kinds.iter()).any(|kind| is_gap(*kind) && speaks_of(&[*kind]));
        if !unknown && KEYS.iter().all(|(_, kinds)| names(kinds).is_empty()) {
            let (upstream, rule, place) = (upstream.name.to_string(), rule.name.clone(), rule.place.to_string());
            found.unused.push(Finding::UnusedRule { upstream, rule, place });
            continue;
        }
        for (key, kinds) in KEYS {
            let wide = Wide { upstream, index, rule, key, kinds, is_known: !kinds.iter().any(|kind| is_gap(*kind)) };
            found.narrowings.extend(wide.narrowed(&names(kinds)));
        }
    }
    found
}

/// What was used in the window, with the number of the rule that decides on it now.
fn used<'a>(upstream: &Upstream<'a>, basis: &Basis<'a>) -> BTreeSet<(usize, Kind, &'a str)> {
    let facts = basis.facts.iter().filter(|fact| fact.of.upstream == *upstream.name && fact.span.last >= basis.since);
    facts
        .filter_map(|fact| {
            let About::Thing(kind) = fact.of.about else { return None };
            let index = upstream.policy.rules().iter().position(|rule| rule.names(kind, &fact.of.name))?;
            Some((index, kind, &*fact.of.name))
        })
        .collect()
}

fn patterns(rule: &Rule, kind: Kind) -> Vec<&str> {
    match kind {
        Kind::Tool => rule.tools.iter().map(NamePattern::as_str).collect(),
        Kind::Prompt => rule.prompts.iter().map(NamePattern::as_str).collect(),
        Kind::Resource | Kind::Template => rule.resources.iter().map(UriPattern::as_str).collect(),
    }
}

fn matches(kind: Kind, pattern: &str, name: &str) -> bool {
    match kind {
        Kind::Tool | Kind::Prompt => NamePattern::new(pattern).matches(name),
        Kind::Resource | Kind::Template => UriPattern::new(pattern).matches(name),
    }
}

fn meet(kind: Kind, one: &str, other: &str) -> bool {
    match kind {
        Kind::Tool | Kind::Prompt => NamePattern::new(one).meets(&NamePattern::new(other)),
        Kind::Resource | Kind::Template => UriPattern::new(one).meets(&UriPattern::new(other)),
    }
}

fn is_wildcard(pattern: &str) -> bool {
    pattern.contains('*')
}

/// One list of names of one rule.
struct Wide<'a> {
    upstream: &'a Upstream<'a>,
    index: usize,
    rule: &'a Rule,
    key: &'static str,
    kinds: &'static [Kind],
    is_known: bool,
}

impl Wide<'_> {
    fn narrowed(&self, used: &BTreeSet<&str>) -> Option<Narrowing> {
        let kind = *self.kinds.first()?;
        let before = patterns(self.rule, kind);
        let wildcards: Vec<&str> = before.iter().copied().filter(|pattern| is_wildcard(pattern)).collect();
        if wildcards.is_empty() {
            return None;
        }
        let (mut after, mut gone): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        for pattern in &before {
            // A name goes where the first pattern is that matches it.
            let first = |name: &&&str| before.iter().find(|one| matches(kind, one, name)).is_some_and(|first| first == pattern);
            let names: Vec<&str> = used.iter().filter(first).copied().collect();
            // A star in a name would be a wildcard anew.
            if !is_wildcard(pattern) || names.len() > NAMES || names.iter().any(|name| is_wildcard(name)) {
                after.push(pattern);
            } else {
                gone.push(pattern);
                after.extend(names.iter().filter(|name| !before.contains(name)));
            }
        }
        let unless = match () {
            () if !self.is_known => Some("not all use is known"),
            () if gone.is_empty() => Some("more names were used than a list should have"),
            () if after.is_empty() => Some("nothing of it was used: remove it by hand"),
            () => None,
        };
        let owned = |all: &[&str]| -> Vec<String> { all.iter().map(|one| (*one).to_owned()).collect() };
        Some(Narrowing {
            upstream: self.upstream.name.to_string(),
            rule: self.rule.name.clone(),
            place: self.rule.place.to_string(),
            key: self.key.into(),
            wildcards: owned(&wildcards),
            before: owned(&before),
            after: unless.is_none().then(|| owned(&after)),
            deny: if unless.is_none() { self.denied(kind, &gone) } else { Vec::new() },
            unless: unless.map(Into::into),
            index: self.index,
            file: self.rule.place.file.to_string(),
        })
    }

    /// What a rule behind this one could let through instead.
    fn denied(&self, kind: Kind, gone: &[&str]) -> Vec<String> {
        let behind = || self.upstream.policy.rules().iter().skip(self.index + 1).filter(|rule| !rule.deny);
        let falls_through = |pattern: &&&str| behind().flat_map(|rule| patterns(rule, kind)).any(|other| meet(kind, pattern, other));
        gone.iter().filter(falls_through).map(|pattern| (*pattern).to_owned()).collect()
    }
}
