//! Scopes in words, and what implies what.

use std::collections::BTreeMap;

use super::Context;
use crate::config::document::{list, near_miss};
use crate::config::raw::{Keyed, RawScope};
use crate::config::report::At;
use crate::oauth::is_scope_token;
use crate::policy::Requirement;

/// The declared scopes, each with what it implies; `None` where the section is absent and any scope
/// may be asked for.
#[derive(Debug, Default)]
pub struct Scopes {
    declared: Option<Vec<(String, Vec<String>)>>,
    /// Those that the metadata and the first challenge leave out.
    kept_back: Vec<String>,
    words: BTreeMap<String, String>,
}

impl Scopes {
    pub fn resolve(raw: Option<Keyed<RawScope>>, at: &At<'_>, context: &mut Context<'_>) -> Self {
        let Some(Keyed(raw)) = raw else { return Self::default() };
        let names: Vec<String> = raw.iter().map(|(name, _)| name.clone()).collect();
        let (mut declared, mut kept_back, mut words) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (name, RawScope { text, implies, advertise }) in raw {
            let at = at.key(&name);
            if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
                context.report.error(&at.key("text"), "an empty text tells people nothing");
            }
            is_askable(&name, &at, context);
            let at = at.key("implies");
            let implies = context.strings(implies, &at);
            for (index, implied) in implies.iter().enumerate() {
                if !names.contains(implied) {
                    unknown(implied, &names, &at.item(index), context);
                }
            }
            if advertise == Some(false) {
                kept_back.push(name.clone());
            }
            words.extend(text.map(|text| (name.clone(), text)));
            declared.push((name, implies));
        }
        let scopes = Self { declared: Some(declared), kept_back, words };
        scopes.refuse_cycles(at, context);
        scopes
    }

    /// Whether clients are told of the scope before they need it.
    pub fn advertises(&self, scope: &str) -> bool {
        !self.kept_back.iter().any(|kept| kept == scope)
    }

    /// Those that clients are not told of before.
    pub fn kept_back(&self) -> &[String] {
        &self.kept_back
    }

    /// What each scope allows, in words for people.
    pub fn words(&self) -> BTreeMap<String, String> {
        self.words.clone()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.declared.iter().flatten().map(|(name, _)| name.as_str())
    }

    /// The scopes of a rule, each with all that are enough for it.
    pub fn requirements(&self, wanted: Vec<String>, at: &At<'_>, context: &mut Context<'_>) -> Vec<Requirement> {
        let mut all = Vec::new();
        for (index, scope) in wanted.into_iter().enumerate() {
            let at = at.item(index);
            if !is_askable(&scope, &at, context) {
                continue;
            }
            if self.declared.is_some() && !self.names().any(|name| name == scope) {
                let names: Vec<String> = self.names().map(str::to_owned).collect();
                unknown(&scope, &names, &at, context);
            }
            let satisfied_by = self.satisfying(&scope);
            all.push(Requirement { scope, satisfied_by });
        }
        all
    }

    /// The scope itself and all that imply it, over any number of steps.
    pub fn satisfying(&self, scope: &str) -> Vec<String> {
        let mut enough = vec![scope.to_owned()];
        loop {
            let more = self
                .declared
                .iter()
                .flatten()
                .find(|(name, implies)| !enough.contains(name) && implies.iter().any(|implied| enough.contains(implied)));
            match more {
                Some((name, _)) => enough.push(name.clone()),
                None => return enough,
            }
        }
    }

    fn refuse_cycles(&self, at: &At<'_>, context: &mut Context<'_>) {
        for (name, implies) in self.declared.iter().flatten() {
            let around = self.satisfying(name);
            if let Some(back) = implies.iter().find(|implied| around.contains(implied)) {
                let message = if back == name {
                    format!("`{name}` implies itself")
                } else {
                    format!("`{name}` implies `{back}`, which implies `{name}` again")
                };
                context.report.error(&at.key(name).key("implies"), message);
            }
        }
    }
}

fn is_askable(scope: &str, at: &At<'_>, context: &mut Context<'_>) -> bool {
    if scope == "offline_access" {
        let hint = "it asks the authorization server for a refresh token and allows nothing here; remove it";
        context.report.mend(at, "`offline_access` is not a scope of this resource", hint);
    } else if scope == "*" {
        context.report.mend(at, "`*` is no wildcard among scopes", "name each scope that is needed");
    } else if !scope.is_empty() && !is_scope_token(scope) {
        let hint = "a scope has no spaces, quotes or backslashes (RFC 6749 §3.3); write several as a list";
        context.report.mend(at, format!("`{scope}` is not a scope"), hint);
    } else {
        return !scope.is_empty();
    }
    false
}

fn unknown(scope: &str, names: &[String], at: &At<'_>, context: &mut Context<'_>) {
    // A scope that is declared wrongly is told at its own place.
    if context.report.is_told(&format!("scopes.{scope}")) {
        return;
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let hint = near_miss(scope, &names).unwrap_or_else(|| format!("declare it there, or write one of {}", list(&names)));
    context.report.mend(at, format!("`{scope}` is not declared under `scopes`"), hint);
}
