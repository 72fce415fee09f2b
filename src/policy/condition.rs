//! Conditions are data, not a language: `check` can reason about them, `explain` can name the one
//! that failed. A condition that cannot be evaluated is not met.

use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value;

use super::Caller;
use super::arguments::Arguments;
use super::matcher::NamePattern;
use super::step_up::{Demand, StepUp};
use crate::mcp::Operation;
use crate::principal::Kind;

/// A scope that is asked for, with every scope that is enough for it (itself, and all that imply it).
#[derive(Clone, Debug)]
pub struct Requirement {
    pub scope: String,
    pub satisfied_by: Vec<String>,
}

#[derive(Debug)]
pub enum Condition {
    /// All of them, each held itself or implied by a held one.
    Scopes(Vec<Requirement>),
    /// At least one of them.
    Groups(Vec<String>),
    /// The client is one of them.
    Clients(Vec<NamePattern>),
    /// The caller is a person and is one of them; a machine never is.
    Subjects(Vec<NamePattern>),
    /// The claim has (or, as an array, contains) one of the values.
    Claim { path: String, values: Vec<Value> },
    /// The peer's address lies in one of the networks.
    Source(Vec<IpNet>),
    /// How, and how lately, the person logged in (RFC 9470).
    StepUp(Demand),
    /// What the call's arguments must be.
    Arguments(Arguments),
    /// One of the alternatives holds in full.
    AnyOf(Vec<Vec<Condition>>),
}

impl Condition {
    /// The paths of the claims that it looks at.
    pub(super) fn claims(&self) -> Vec<&str> {
        match self {
            Self::Claim { path, .. } => vec![path],
            Self::Arguments(arguments) => arguments.equal.iter().map(|equal| equal.claim.as_str()).collect(),
            Self::AnyOf(alternatives) => alternatives.iter().flatten().flat_map(Self::claims).collect(),
            Self::StepUp(demand) => demand.claims(),
            Self::Scopes(_) | Self::Groups(_) | Self::Clients(_) | Self::Subjects(_) | Self::Source(_) => vec![],
        }
    }
}

/// The condition that did not hold, by the name of its key.
#[derive(Clone, Debug, PartialEq)]
pub enum Unmet<'a> {
    Scopes,
    Groups(&'a [String]),
    Clients,
    Subjects,
    Claim(&'a str),
    Source,
    /// A login that is too weak or too old, of a caller that cannot log in again.
    StepUp,
    /// The argument that was absent, of another spelling, or not as the rule demands.
    Argument(&'a str),
    AnyOf,
}

impl Unmet<'_> {
    /// The key of the rule that did not hold.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Scopes => "scopes",
            Self::Groups(_) => "groups",
            Self::Clients => "clients",
            Self::Subjects => "subjects",
            Self::Claim(_) => "claims",
            Self::Source => "source",
            Self::StepUp => "step_up",
            Self::Argument(_) => "arguments",
            Self::AnyOf => "any_of",
        }
    }
}

pub(super) enum Outcome<'a> {
    Met,
    /// Nothing is missing but what the client can ask its authorization server for.
    Lacks(Lack<'a>),
    Not(Unmet<'a>),
}

/// What a new token must have. Holds all that was asked for, held or not: clients take a challenge
/// as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Lack<'a> {
    pub scopes: Vec<&'a str>,
    pub lacks_scope: bool,
    pub acr: Option<Vec<&'a str>>,
    pub max_age: Option<Duration>,
    pub lacks_login: bool,
}

impl<'a> Lack<'a> {
    fn ask_scopes(&mut self, required: &'a [Requirement]) {
        self.scopes.extend(required.iter().map(|requirement| requirement.scope.as_str()));
    }

    /// One login must satisfy all demands: the shortest age, and the classes that all accept.
    fn ask_login(&mut self, acr: Option<Vec<&'a str>>, max_age: Option<Duration>) {
        self.max_age = [self.max_age, max_age].into_iter().flatten().min();
        self.acr = match (self.acr.take(), acr) {
            (Some(mine), Some(other)) => Some(mine.into_iter().filter(|one| other.contains(one)).collect()),
            (mine, other) => mine.or(other),
        };
    }

    fn add(&mut self, other: Self) {
        let Self { scopes, lacks_scope, acr, max_age, lacks_login } = other;
        self.scopes.extend(scopes);
        self.ask_login(acr, max_age);
        self.lacks_scope |= lacks_scope;
        self.lacks_login |= lacks_login;
    }

    /// What the login must be, and the scopes to ask for with it; none where the login is well.
    pub(super) fn step_up(self) -> Result<StepUp<'a>, Vec<&'a str>> {
        let Self { scopes, lacks_scope, acr, max_age, lacks_login } = self;
        if lacks_login { Ok(StepUp { acr: acr.unwrap_or_default(), max_age, scopes, lacks_scope }) } else { Err(scopes) }
    }
}

/// All conditions. Without an operation, those on arguments are left aside.
pub(super) fn all<'a>(conditions: &'a [Condition], caller: Caller<'_>, operation: Option<&Operation<'_>>) -> Outcome<'a> {
    let mut lack = Lack::default();
    for condition in conditions {
        match one(condition, caller, operation) {
            Outcome::Met => match condition {
                Condition::Scopes(required) => lack.ask_scopes(required),
                Condition::StepUp(demand) => lack.ask_login(demand.acr(), demand.max_age),
                _ => {}
            },
            Outcome::Lacks(more) => lack.add(more),
            not @ Outcome::Not(_) => return not,
        }
    }
    if lack.lacks_scope || lack.lacks_login { Outcome::Lacks(lack) } else { Outcome::Met }
}

fn one<'a>(condition: &'a Condition, caller: Caller<'_>, operation: Option<&Operation<'_>>) -> Outcome<'a> {
    let who = caller.principal;
    match condition {
        Condition::Scopes(required) => {
            if required.iter().all(|requirement| holds(who.scopes(), requirement)) {
                Outcome::Met
            } else {
                let mut lack = Lack { lacks_scope: true, ..Lack::default() };
                lack.ask_scopes(required);
                Outcome::Lacks(lack)
            }
        }
        Condition::Groups(wanted) => met(who.groups().iter().any(|group| wanted.contains(group)), Unmet::Groups(wanted)),
        Condition::Clients(patterns) => {
            met(who.client().is_some_and(|client| patterns.iter().any(|pattern| pattern.matches(client))), Unmet::Clients)
        }
        Condition::Subjects(patterns) => {
            met(who.kind() == Kind::User && patterns.iter().any(|pattern| pattern.matches(who.subject())), Unmet::Subjects)
        }
        Condition::Claim { path, values } => met(who.claim(path).is_some_and(|claim| contains(claim, values)), Unmet::Claim(path)),
        Condition::Source(networks) => met(networks.iter().any(|network| network.contains(&caller.source)), Unmet::Source),
        Condition::StepUp(demand) => {
            if demand.is_met(who, caller.now) {
                Outcome::Met
            } else if who.kind() == Kind::Client {
                // A machine has no login to repeat, so a challenge could only make it loop.
                Outcome::Not(Unmet::StepUp)
            } else {
                Outcome::Lacks(Lack { acr: demand.acr(), max_age: demand.max_age, lacks_login: true, ..Lack::default() })
            }
        }
        Condition::Arguments(arguments) => match operation {
            None => Outcome::Met,
            Some(operation) => match arguments.check(operation.arguments, who) {
                Ok(()) => Outcome::Met,
                Err(argument) => Outcome::Not(Unmet::Argument(argument)),
            },
        },
        Condition::AnyOf(alternatives) => any_of(alternatives, caller, operation),
    }
}

fn any_of<'a>(alternatives: &'a [Vec<Condition>], caller: Caller<'_>, operation: Option<&Operation<'_>>) -> Outcome<'a> {
    let mut curable = None;
    for alternative in alternatives {
        match all(alternative, caller, operation) {
            Outcome::Met => return Outcome::Met,
            lacks @ Outcome::Lacks(_) => curable = curable.or(Some(lacks)),
            Outcome::Not(_) => {}
        }
    }
    curable.unwrap_or(Outcome::Not(Unmet::AnyOf))
}

/// Every scope that conditions ask for, also in alternatives.
pub(super) fn requirements(conditions: &[Condition]) -> Vec<&Requirement> {
    let mut all = Vec::new();
    for condition in conditions {
        match condition {
            Condition::Scopes(required) => all.extend(required),
            Condition::AnyOf(alternatives) => all.extend(alternatives.iter().flat_map(|alternative| requirements(alternative))),
            _ => {}
        }
    }
    all
}

fn holds(scopes: &[String], requirement: &Requirement) -> bool {
    requirement.satisfied_by.iter().any(|enough| scopes.contains(enough))
}

fn contains(claim: &Value, values: &[Value]) -> bool {
    match claim {
        Value::Array(items) => items.iter().any(|item| values.contains(item)),
        other => values.contains(other),
    }
}

fn met(holds: bool, unmet: Unmet<'_>) -> Outcome<'_> {
    if holds { Outcome::Met } else { Outcome::Not(unmet) }
}
