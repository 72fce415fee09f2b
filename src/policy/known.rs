//! What would the rules say of a caller of whom not everything is known?
//!
//! A record of the past holds no arguments, no claims and no login. A rule that looks at them cannot be decided from it, and
//! is said to be so; it is never guessed. Everything else is asked of the same conditions that decide in service.

use super::condition::{self, Outcome};
use super::{Caller, Condition, Permit, Policy, Refusal, Rule};
use crate::mcp::{Operation, Target};

/// What is known of the caller and the operation besides subject, client, issuer, scopes and source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub groups: bool,
    pub source: bool,
}

/// The answer as far as it can be had.
#[derive(Debug)]
pub enum Verdict<'a> {
    Permitted(Permit<'a>),
    Refused(Refusal<'a>),
    /// The rule that decides looks at something unknown: the key of that condition.
    Undecidable(&'a Rule, &'static str),
}

/// A condition's answer: three-valued (Kleene).
enum Holds {
    Yes,
    No,
    Unknown(&'static str),
}

impl Policy {
    /// As [`Policy::authorize`], for what is known.
    pub fn foresee(&self, caller: Caller<'_>, operation: &Operation<'_>, known: Known) -> Verdict<'_> {
        if let Target::One(thing) = &operation.target
            && let Some(rule) = self.naming(thing.kind, &thing.name)
            && let Holds::Unknown(key) = all(&rule.conditions, caller, known)
        {
            return Verdict::Undecidable(rule, key);
        }
        // Nothing that it looks at is unknown, or what is known refuses already.
        match self.authorize(caller, operation) {
            Ok(permit) => Verdict::Permitted(permit),
            Err(refusal) => Verdict::Refused(refusal),
        }
    }

    /// The rules whose conditions the caller meets, as far as is known of it, by number; with the key of a condition that
    /// cannot be decided.
    pub fn reach(&self, caller: Caller<'_>, known: Known) -> Vec<(usize, &Rule, Option<&'static str>)> {
        let rules = self.rules.iter().enumerate().filter(|(_, rule)| !rule.deny);
        rules
            .filter_map(|(index, rule)| match all(&rule.conditions, caller, known) {
                Holds::Yes => Some((index, rule, None)),
                Holds::Unknown(key) => Some((index, rule, Some(key))),
                Holds::No => None,
            })
            .collect()
    }
}

/// A condition that is known not to hold decides, whatever the others are.
fn all(conditions: &[Condition], caller: Caller<'_>, known: Known) -> Holds {
    let mut unknown = None;
    for condition in conditions {
        match one(condition, caller, known) {
            Holds::Yes => {}
            Holds::No => return Holds::No,
            Holds::Unknown(key) => unknown = unknown.or(Some(key)),
        }
    }
    unknown.map_or(Holds::Yes, Holds::Unknown)
}

fn one(condition: &Condition, caller: Caller<'_>, known: Known) -> Holds {
    match condition {
        Condition::Claim { .. } => Holds::Unknown("claims"),
        Condition::StepUp(_) => Holds::Unknown("step_up"),
        Condition::Arguments(_) => Holds::Unknown("arguments"),
        Condition::Groups(_) if !known.groups => Holds::Unknown("groups"),
        Condition::Source(_) if !known.source => Holds::Unknown("source"),
        Condition::AnyOf(alternatives) => any_of(alternatives, caller, known),
        Condition::Scopes(_) | Condition::Groups(_) | Condition::Clients(_) | Condition::Subjects(_) | Condition::Source(_) => {
            match condition::all(std::slice::from_ref(condition), caller, None) {
                Outcome::Met => Holds::Yes,
                Outcome::Lacks(_) | Outcome::Not(_) => Holds::No,
            }
        }
    }
}

fn any_of(alternatives: &[Vec<Condition>], caller: Caller<'_>, known: Known) -> Holds {
    let mut unknown = None;
    for alternative in alternatives {
        match all(alternative, caller, known) {
            Holds::Yes => return Holds::Yes,
            Holds::No => {}
            Holds::Unknown(key) => unknown = unknown.or(Some(key)),
        }
    }
    unknown.map_or(Holds::No, Holds::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::{Kind, Method, Thing};
    use crate::policy::arguments::Arguments;
    use crate::policy::matcher::NamePattern;
    use crate::policy::{Demand, Place, Requirement};
    use crate::principal::{Principal, Proof};
    use std::net::Ipv4Addr;
    use std::time::SystemTime;

    const ALL: Known = Known { groups: true, source: true };

    fn scope(name: &str) -> Condition {
        Condition::Scopes(vec![Requirement { scope: name.into(), satisfied_by: vec![name.into()] }])
    }

    fn foreseen(conditions: Vec<Condition>, known: Known) -> String {
        let rule = Rule {
            name: "r".into(),
            place: Place { file: "f".into(), line: 1 },
            tools: vec![NamePattern::new("*")],
            prompts: vec![],
            resources: vec![],
            deny: false,
            conditions,
        };
        let policy = Policy::new(vec![rule]);
        let principal =
            Principal::new(Proof { subject: "alice".into(), scopes: vec!["held".into()], groups: vec!["sre".into()], ..Proof::default() });
        let caller = Caller { principal: &principal, source: Ipv4Addr::LOCALHOST.into(), now: SystemTime::UNIX_EPOCH };
        let target = Target::One(Thing { kind: Kind::Tool, name: "t".into() });
        let operation = Operation { method: Method::find("tools/call").expect("known"), target, arguments: None };
        match policy.foresee(caller, &operation, known) {
            Verdict::Permitted(_) => "permitted".into(),
            Verdict::Refused(_) => "refused".into(),
            Verdict::Undecidable(_, key) => key.into(),
        }
    }

    #[test]
    fn what_is_unknown_is_never_guessed_and_what_is_known_to_fail_refuses() {
        let claim = || Condition::Claim { path: "acr".into(), values: vec![] };
        let groups = || Condition::Groups(vec!["sre".into()]);
        let blind = Known { groups: false, ..ALL };
        for (conditions, known, expected) in [
            (vec![scope("held")], ALL, "permitted"),
            (vec![scope("other")], ALL, "refused"),
            (vec![scope("held"), claim()], ALL, "claims"),
            (vec![claim(), scope("other")], ALL, "refused"),
            (vec![Condition::Arguments(Arguments::default())], ALL, "arguments"),
            (vec![Condition::StepUp(Demand::default())], ALL, "step_up"),
            (vec![groups()], ALL, "permitted"),
            (vec![groups()], blind, "groups"),
            (vec![Condition::Source(vec![])], Known { source: false, ..ALL }, "source"),
            (vec![Condition::AnyOf(vec![vec![claim()], vec![scope("held")]])], ALL, "permitted"),
            (vec![Condition::AnyOf(vec![vec![claim()], vec![scope("other")]])], ALL, "claims"),
            (vec![Condition::AnyOf(vec![vec![claim(), scope("other")]])], ALL, "refused"),
        ] {
            let told = format!("{conditions:?}");
            assert_eq!(foreseen(conditions, known), expected, "{told}");
        }
    }
}
