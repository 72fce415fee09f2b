//! May they? Rules as plain data, and one function that always answers.
//!
//! Rules are read from the top. **The first rule that names the thing decides**: if all its
//! conditions hold the answer is a [`Permit`], else a [`Refusal`]; later rules are not asked. What
//! no rule names is refused. A condition that cannot be evaluated is not met. Lists are cut by the
//! same rules ([`Policy::standing`] and [`Policy::shows`]), so that what is seen is what may be
//! called.
//!
//! ```yaml
//! rules:
//!   - tools: ["*_secret"]          # 1: named here first, so nobody
//!     deny: true
//!   - tools: ["get_*"]             # 2: `get_repo` with scope repo:read, but never `get_secret`
//!     scopes: [repo:read]
//! ```
//!
//! This room does no I/O, knows no clock and no YAML.

pub mod arguments;
pub mod condition;
pub mod known;
pub mod matcher;
mod permit;
pub mod rule;
mod standing;
pub mod step_up;

pub use condition::{Condition, Requirement};
pub use permit::{Permit, Refusal, Why};
pub use rule::{Place, Rule};
pub use standing::Standing;
pub use step_up::{Demand, StepUp};

use std::net::IpAddr;
use std::time::SystemTime;

use crate::mcp::{Kind, Operation, Target, Thing, Verb};
use crate::principal::Principal;
use condition::Outcome;

/// Who is asking, and from where: what conditions look at besides the operation.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    pub principal: &'a Principal,
    pub source: IpAddr,
    /// When the request arrived: how old a login is, is judged by it.
    pub now: SystemTime,
}

/// The rules of one upstream.
#[derive(Debug, Default)]
pub struct Policy {
    rules: Vec<Rule>,
    /// Scopes that nobody is told to come with: they are asked for when they are needed.
    kept_back: Vec<String>,
}

impl Policy {
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules, kept_back: Vec::new() }
    }

    /// The same, and new clients are not told to come with these scopes.
    #[must_use]
    pub fn keeping_back(self, scopes: &[String]) -> Self {
        Self { kept_back: scopes.to_vec(), ..self }
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Decides one operation. Everything it touches must be permitted, or it is refused whole.
    pub fn authorize(&self, caller: Caller<'_>, operation: &Operation<'_>) -> Result<Permit<'_>, Refusal<'_>> {
        match &operation.target {
            Target::Nothing => Ok(Permit::unnamed()),
            Target::One(thing) => self.decide(caller, thing, operation),
            Target::Each(things) => things.iter().try_fold(Permit::unnamed(), |_, thing| self.decide(caller, thing, operation)),
        }
    }

    /// Leaves out of an operation on several things those that are not permitted, and decides what is left. The refusal, of the
    /// first of them, is for an operation of which nothing would be; it keeps that one.
    pub fn narrow<'a>(&'a self, caller: Caller<'_>, operation: &mut Operation<'_>) -> Result<Permit<'a>, Refusal<'a>> {
        let Target::Each(things) = &mut operation.target else { return self.authorize(caller, operation) };
        let mut asked = std::mem::take(things);
        let first = asked.first().cloned();
        let mut answer = None;
        asked.retain(|thing| match (self.decide(caller, thing, operation), &answer) {
            (Ok(permit), _) => {
                answer = Some(Ok(permit));
                true
            }
            (refused, None) => {
                answer = Some(refused);
                false
            }
            (Err(_), Some(_)) => false,
        });
        if asked.is_empty() {
            asked.extend(first);
        }
        operation.target = Target::Each(asked);
        answer.unwrap_or_else(|| Ok(Permit::unnamed()))
    }

    fn decide(&self, caller: Caller<'_>, thing: &Thing<'_>, operation: &Operation<'_>) -> Result<Permit<'_>, Refusal<'_>> {
        if matches!(thing.kind, Kind::Resource | Kind::Template) && !matcher::is_canonical_uri(&thing.name) {
            return Err(Refusal::new(None, Why::UriNotCanonical));
        }
        let Some(rule) = self.naming(thing.kind, &thing.name) else {
            return Err(Refusal::new(None, Why::NotNamed));
        };
        if rule.deny {
            return Err(Refusal::new(Some(rule), Why::Denied));
        }
        // What a task was called with is not known any more; it was judged when the task began.
        let judged = (operation.method.verb != Verb::Task).then_some(operation);
        match condition::all(&rule.conditions, caller, judged) {
            Outcome::Met => Ok(Permit::by(rule)),
            Outcome::Lacks(lack) => Err(Refusal::new(Some(rule), lack.step_up().map_or_else(Why::Scope, Why::StepUp))),
            Outcome::Not(unmet) => Err(Refusal::new(Some(rule), Why::Unmet(unmet))),
        }
    }

    /// The first rule that names the thing.
    pub fn naming(&self, kind: Kind, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.names(kind, name))
    }

    /// The first rule that names the thing and whose conditions hold, though it may not be the one
    /// that decides: what `explain` points at.
    pub fn allowing(&self, caller: Caller<'_>, operation: &Operation<'_>) -> Option<&Rule> {
        let Target::One(thing) = &operation.target else { return None };
        let mut naming = self.rules.iter().filter(|rule| !rule.deny && rule.names(thing.kind, &thing.name));
        naming.find(|rule| matches!(condition::all(&rule.conditions, caller, Some(operation)), Outcome::Met))
    }

    /// The scopes to ask for so that a new token can do what the old one could: those required, and of
    /// those held each that a rule here looks at and that no required one implies.
    pub fn union<'a>(&'a self, required: &[&'a str], held: &'a [String]) -> Vec<&'a str> {
        let mut all = required.to_vec();
        for scope in held {
            let mut asked = self.rules.iter().filter(|rule| !rule.deny).flat_map(|rule| condition::requirements(&rule.conditions));
            let counts = asked.clone().any(|one| one.satisfied_by.contains(scope));
            let implied =
                asked.any(|one| one.scope == *scope && required.iter().any(|by| one.satisfied_by.iter().any(|enough| enough == by)));
            if counts && !implied && !all.contains(&scope.as_str()) {
                all.push(scope);
            }
        }
        all
    }

    /// What the caller meets of each rule, leaving arguments aside: all that a list depends on. A
    /// login that is too weak or too old hides nothing: what is listed must not change with the
    /// clock, and who never sees a tool never asks for the login it needs.
    pub fn standing(&self, caller: Caller<'_>, acquirable: bool) -> Standing {
        Standing::of(self.rules.iter().map(|rule| {
            !rule.deny
                && match condition::all(&rule.conditions, caller, None) {
                    Outcome::Met => true,
                    Outcome::Lacks(lack) => acquirable || !lack.lacks_scope,
                    Outcome::Not(_) => false,
                }
        }))
    }

    /// Whether a list shows the thing to a caller of this standing.
    pub fn shows(&self, standing: &Standing, kind: Kind, name: &str) -> bool {
        if matches!(kind, Kind::Resource | Kind::Template) && !matcher::is_canonical_uri(name) {
            return false;
        }
        let naming = self.rules.iter().position(|rule| rule.names(kind, name));
        naming.is_some_and(|index| standing.holds(index))
    }

    /// Whether any rule speaks of resources.
    pub fn speaks_of_resources(&self) -> bool {
        self.rules.iter().any(|rule| !rule.resources.is_empty())
    }

    /// The paths of the claims that conditions look at.
    pub fn claims(&self) -> Vec<&str> {
        self.rules.iter().flat_map(|rule| &rule.conditions).flat_map(Condition::claims).collect()
    }

    /// Every scope that a rule asks for, also as an alternative to something else, in the order of the rules, each once: all
    /// that a token for this resource may be good for.
    pub fn scopes(&self) -> Vec<&str> {
        let mut all = Vec::new();
        for one in self.allowing_rules().flat_map(|rule| condition::requirements(&rule.conditions)) {
            if !all.contains(&one.scope.as_str()) {
                all.push(one.scope.as_str());
            }
        }
        all
    }

    /// The scopes of the first rule that asks for any: what a new client is told to come with. Where rules ask for some as an
    /// alternative alone, those of the first alternative. Never any that is kept back.
    pub fn initial_scopes(&self) -> Vec<&str> {
        let told = |scopes: &Vec<&str>| !scopes.is_empty() && !scopes.iter().any(|scope| self.kept_back.iter().any(|kept| kept == scope));
        let demanded = self.allowing_rules().map(Rule::scopes).find(told);
        demanded.or_else(|| self.allowing_rules().filter_map(Rule::alternative_scopes).find(told)).unwrap_or_default()
    }

    fn allowing_rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| !rule.deny)
    }
}

#[cfg(test)]
mod tests;
