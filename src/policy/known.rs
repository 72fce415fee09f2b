//! What would the rules say of a caller of whom not everything is known?
//!
//! A record of the past holds no claims, no login, and of arguments only those that were opted in. A rule that looks at them cannot be decided from it, and
//! is said to be so; it is never guessed. Everything else is asked of the same conditions that decide in service.

use std::collections::BTreeMap;

use serde_json::Value;

use super::condition::{self, Outcome};
use super::{Caller, Condition, Permit, Policy, Refusal, Rule};
use crate::mcp::{Operation, Target};

/// What is known of the caller and the operation besides subject, client, issuer, scopes and source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known<'a> {
    pub groups: bool,
    pub source: bool,
    /// Those arguments of which it is known; without a value those that were absent. INVARIANT: the operation has the same.
    pub arguments: &'a BTreeMap<String, Option<Value>>,
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
    pub fn foresee(&self, caller: Caller<'_>, operation: &Operation<'_>, known: Known<'_>) -> Verdict<'_> {
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
    pub fn reach(&self, caller: Caller<'_>, known: Known<'_>) -> Vec<(usize, &Rule, Option<&'static str>)> {
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
fn all(conditions: &[Condition], caller: Caller<'_>, known: Known<'_>) -> Holds {
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

fn one(condition: &Condition, caller: Caller<'_>, known: Known<'_>) -> Holds {
    match condition {
        Condition::Claim { .. } => Holds::Unknown("claims"),
        Condition::StepUp(_) => Holds::Unknown("step_up"),
        Condition::Arguments(arguments) => match arguments.foresee(known.arguments) {
            Some(true) => Holds::Yes,
            Some(false) => Holds::No,
            None => Holds::Unknown("arguments"),
        },
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

fn any_of(alternatives: &[Vec<Condition>], caller: Caller<'_>, known: Known<'_>) -> Holds {
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
    use crate::policy::arguments::{Arguments, Equal, Schema};
    use crate::policy::matcher::NamePattern;
    use crate::policy::{Demand, Place, Requirement};
    use crate::principal::{Principal, Proof};
    use serde_json::Map;
    use std::net::Ipv4Addr;
    use std::time::SystemTime;

    static NOTHING: BTreeMap<String, Option<Value>> = BTreeMap::new();
    const ALL: Known<'static> = Known { groups: true, source: true, arguments: &NOTHING };

    fn scope(name: &str) -> Condition {
        Condition::Scopes(vec![Requirement { scope: name.into(), satisfied_by: vec![name.into()] }])
    }

    fn foreseen(conditions: Vec<Condition>, known: Known<'_>) -> String {
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
        let given: Map<String, Value> = known.arguments.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect();
        let given = serde_json::value::to_raw_value(&given).expect("json");
        let operation = Operation { method: Method::find("tools/call").expect("known"), target, arguments: Some(&given) };
        match policy.foresee(caller, &operation, known) {
            Verdict::Permitted(_) => "permitted".into(),
            Verdict::Refused(_) => "refused".into(),
            Verdict::Undecidable(_, key) => key.into(),
        }
    }

    /// `owner` must be `acme`.
    fn owner(optional: bool) -> Arguments {
        let validator = jsonschema::validator_for(&serde_json::json!({ "const": "acme" })).expect("a schema");
        Arguments { schemas: vec![Schema { argument: "owner".into(), validator, optional }], equal: vec![] }
    }

    #[test]
    fn a_rule_on_arguments_is_decided_where_records_have_their_values() {
        for (value, optional, expected) in
            [(Some("acme"), false, "permitted"), (Some("evil"), false, "refused"), (None, false, "refused"), (None, true, "permitted")]
        {
            let arguments = BTreeMap::from([("owner".to_owned(), value.map(Value::from))]);
            let known = Known { arguments: &arguments, ..ALL };
            assert_eq!(foreseen(vec![Condition::Arguments(owner(optional))], known), expected, "{value:?}");
        }
        let equal = || Arguments { equal: vec![Equal { argument: "owner".into(), claim: "org".into() }], ..owner(true) };
        let of = |arguments: &BTreeMap<_, _>| foreseen(vec![Condition::Arguments(equal())], Known { arguments, ..ALL });
        assert_eq!(of(&BTreeMap::from([("owner".to_owned(), Some(Value::from("acme")))])), "arguments", "no claim is known");
        assert_eq!(of(&BTreeMap::from([("owner".to_owned(), None)])), "refused");
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
            (vec![Condition::Arguments(owner(false))], ALL, "arguments"),
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
