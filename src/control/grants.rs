//! What one subject lets a client do at one upstream, as the access review knows it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::governance::review;

/// What one subject lets one client do at one upstream, and what was used of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Grant {
    pub upstream: String,
    pub subject: String,
    /// Those that came with its tokens and that the client's ceiling leaves.
    pub scopes: Vec<String>,
    /// Those of them on which its use rests.
    pub needed: Vec<String>,
    /// The rules that could let it through.
    pub reachable: Vec<Reachable>,
    pub used: Vec<Used>,
    /// Requests that went on.
    pub passed: u64,
    pub refused: u64,
    /// RFC 3339.
    pub first: String,
    /// RFC 3339.
    pub last: String,
}

/// A rule that could let a caller through.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Reachable {
    pub rule: String,
    /// `file:line`.
    pub place: String,
    pub tools: Vec<String>,
    pub prompts: Vec<String>,
    pub resources: Vec<String>,
    /// The condition that cannot be decided beforehand.
    pub depends_on: Option<String>,
}

/// A thing that was used.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Used {
    /// `tool`, `prompt` or `resource`.
    pub kind: String,
    pub name: String,
    pub uses: u64,
    /// RFC 3339.
    pub first: String,
    /// RFC 3339.
    pub last: String,
    /// The rule that decides on it now.
    pub rule: Option<String>,
}

impl From<review::Grant> for Grant {
    fn from(grant: review::Grant) -> Self {
        let (first, last) = (grant.first.to_string(), grant.last.to_string());
        let reachable = grant.reachable.into_iter().map(Reachable::from).collect();
        let used = grant.used.into_iter().map(Used::from).collect();
        let review::Grant { upstream, subject, scopes, needed, passed, refused, .. } = grant;
        Self { upstream, subject, scopes, needed, reachable, used, passed, refused, first, last }
    }
}

impl From<review::Reachable> for Reachable {
    fn from(review::Reachable { rule, place, tools, prompts, resources, depends_on }: review::Reachable) -> Self {
        Self { rule, place, tools, prompts, resources, depends_on: depends_on.map(Into::into) }
    }
}

impl From<review::Used> for Used {
    fn from(review::Used { kind, name, uses, first, last, rule }: review::Used) -> Self {
        Self { kind: kind.into_owned(), name, uses, first: first.to_string(), last: last.to_string(), rule }
    }
}
