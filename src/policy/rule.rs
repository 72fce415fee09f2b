//! One rule: what it names, and what must hold.

use std::fmt;
use std::sync::Arc;

use super::Condition;
use super::condition::requirements;
use super::matcher::{NamePattern, UriPattern};
use crate::mcp::Kind;

/// Where a rule stands in its file: what audit, `explain` and `check` point at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub file: Arc<str>,
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

#[derive(Debug)]
pub struct Rule {
    /// The rule's own `name`, or its upstream and number (`github#2`).
    pub name: String,
    pub place: Place,
    pub tools: Vec<NamePattern>,
    pub prompts: Vec<NamePattern>,
    /// Resources and resource templates.
    pub resources: Vec<UriPattern>,
    /// What this rule names is refused, whoever asks. Such a rule has no conditions.
    pub deny: bool,
    /// All must hold.
    pub conditions: Vec<Condition>,
}

impl Rule {
    pub fn names(&self, kind: Kind, name: &str) -> bool {
        match kind {
            Kind::Tool => self.tools.iter().any(|pattern| pattern.matches(name)),
            Kind::Prompt => self.prompts.iter().any(|pattern| pattern.matches(name)),
            Kind::Resource | Kind::Template => self.resources.iter().any(|pattern| pattern.matches(name)),
        }
    }

    /// The scopes that the rule asks for outside its alternatives.
    pub fn scopes(&self) -> Vec<&str> {
        let requirements = self.conditions.iter().filter_map(|condition| match condition {
            Condition::Scopes(required) => Some(required),
            _ => None,
        });
        requirements.flatten().map(|requirement| requirement.scope.as_str()).collect()
    }

    /// The scopes of the first of its alternatives that asks for any.
    pub fn alternative_scopes(&self) -> Option<Vec<&str>> {
        let alternatives = self.conditions.iter().filter_map(|condition| match condition {
            Condition::AnyOf(alternatives) => Some(alternatives),
            _ => None,
        });
        let asked = alternatives.flatten().map(|alternative| requirements(alternative)).find(|asked| !asked.is_empty())?;
        Some(asked.into_iter().map(|one| one.scope.as_str()).collect())
    }

    /// On which of the scopes that a caller holds its use by this rule rests: each with the scope that the rule asks for, where
    /// the held one implies it. Of alternatives nobody knows which one held, so all that could have been enough count.
    pub fn rests_on<'a>(&'a self, held: &'a [String]) -> Vec<(&'a str, &'a str)> {
        let mut all = Vec::new();
        for condition in &self.conditions {
            match condition {
                Condition::Scopes(required) => all.extend(required.iter().filter_map(|one| {
                    let same = held.iter().find(|scope| **scope == one.scope);
                    let enough = same.or_else(|| held.iter().find(|scope| one.satisfied_by.contains(scope)))?;
                    Some((enough.as_str(), one.scope.as_str()))
                })),
                Condition::AnyOf(alternatives) => {
                    let asked = alternatives.iter().flat_map(|alternative| requirements(alternative));
                    for one in asked {
                        all.extend(
                            held.iter().filter(|scope| one.satisfied_by.contains(scope)).map(|scope| (scope.as_str(), scope.as_str())),
                        );
                    }
                }
                _ => {}
            }
        }
        all
    }
}
