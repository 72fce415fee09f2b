use super::*;
use crate::mcp::{Method, Target};
use crate::principal::Proof;
use matcher::NamePattern;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::net::Ipv4Addr;

fn place() -> Place {
    Place { file: "t.yaml".into(), line: 1 }
}

fn rule(tools: &[&str], conditions: Vec<Condition>) -> Rule {
    Rule {
        name: "t".into(),
        place: place(),
        tools: tools.iter().map(|t| NamePattern::new(*t)).collect(),
        prompts: vec![],
        resources: vec![],
        deny: false,
        conditions,
    }
}

fn deny(tools: &[&str]) -> Rule {
    Rule { deny: true, ..rule(tools, vec![]) }
}

fn scopes(all: &[(&str, &[&str])]) -> Condition {
    let requirement = |(scope, more): &(&str, &[&str])| Requirement {
        scope: (*scope).into(),
        satisfied_by: std::iter::once(*scope).chain(more.iter().copied()).map(String::from).collect(),
    };
    Condition::Scopes(all.iter().map(requirement).collect())
}

fn caller(scopes: &[&str], groups: &[&str]) -> Principal {
    let claims = serde_json::json!({"tenant_id": "acme"});
    Principal::new(Proof {
        subject: "alice".into(),
        client: Some("app".into()),
        scopes: scopes.iter().map(|s| (*s).into()).collect(),
        groups: groups.iter().map(|s| (*s).into()).collect(),
        claims: claims.as_object().cloned().unwrap_or_default(),
        ..Proof::default()
    })
}

fn decide<'p>(policy: &'p Policy, who: &Principal, tool: &str, arguments: Option<&str>) -> Result<Permit<'p>, Refusal<'p>> {
    let raw = arguments.map(|text| RawValue::from_string(text.into()).expect("json"));
    let operation = Operation {
        method: Method::find("tools/call").expect("in the table"),
        target: Target::One(Thing { kind: Kind::Tool, name: Cow::Borrowed(tool) }),
        arguments: raw.as_deref(),
    };
    policy.authorize(Caller { principal: who, source: Ipv4Addr::LOCALHOST.into() }, &operation)
}

#[test]
fn what_no_rule_names_is_refused() {
    let policy = Policy::new(vec![rule(&["get_*"], vec![])]);
    let refusal = decide(&policy, &caller(&[], &[]), "wipe", None).expect_err("refused");
    assert_eq!(refusal.why(), &Why::NotNamed);
}

#[test]
fn the_first_rule_that_names_the_thing_decides() {
    let policy = Policy::new(vec![deny(&["*_secret"]), rule(&["get_*"], vec![])]);
    let who = caller(&[], &[]);
    assert_eq!(decide(&policy, &who, "get_secret", None).expect_err("refused").why(), &Why::Denied);
    assert!(decide(&policy, &who, "get_issue", None).is_ok());
}

#[test]
fn a_scope_is_held_by_what_implies_it_and_the_challenge_names_all() {
    let policy = Policy::new(vec![rule(&["read"], vec![scopes(&[("r", &["w"]), ("x", &[])])])]);
    assert!(decide(&policy, &caller(&["w", "x"], &[]), "read", None).is_ok());
    let who = caller(&["r"], &[]);
    assert_eq!(decide(&policy, &who, "read", None).expect_err("refused").why(), &Why::Scope(vec!["r", "x"]));
}

#[test]
fn a_scope_that_would_not_cure_is_never_asked_for() {
    let policy = Policy::new(vec![rule(&["rm"], vec![scopes(&[("admin", &[])]), Condition::Groups(vec!["sre".into()])])]);
    let who = caller(&[], &["dev"]);
    let refusal = decide(&policy, &who, "rm", None).expect_err("refused");
    assert!(matches!(refusal.why(), Why::Unmet(condition::Unmet::Groups(_))));
}

#[test]
fn one_alternative_is_enough() {
    let any = Condition::AnyOf(vec![vec![Condition::Groups(vec!["sre".into()])], vec![scopes(&[("admin", &[])])]]);
    let policy = Policy::new(vec![rule(&["rm"], vec![any])]);
    assert!(decide(&policy, &caller(&[], &["sre"]), "rm", None).is_ok());
    assert!(decide(&policy, &caller(&["admin"], &[]), "rm", None).is_ok());
    let who = caller(&[], &[]);
    assert_eq!(decide(&policy, &who, "rm", None).expect_err("refused").why(), &Why::Scope(vec!["admin"]));
}

fn owner_rule(optional: bool) -> Policy {
    let validator = jsonschema::draft202012::new(&serde_json::json!({"enum": ["acme"]})).expect("schema");
    let schema = arguments::Schema { argument: "owner".into(), validator, optional };
    let equal = arguments::Equal { argument: "tenant".into(), claim: "tenant_id".into() };
    let arguments = arguments::Arguments { schemas: vec![schema], equal: vec![equal] };
    Policy::new(vec![rule(&["create"], vec![Condition::Arguments(arguments)])])
}

#[test]
fn arguments_are_judged_by_schema_and_by_claim() {
    let who = caller(&[], &[]);
    let cases = [
        (r#"{"owner":"acme","tenant":"acme"}"#, true),
        (r#"{"owner":"evil","tenant":"acme"}"#, false),
        (r#"{"owner":"acme","tenant":"evil"}"#, false),
        (r#"{"owner":"acme"}"#, false),
        (r#"{"tenant":"acme"}"#, false),
        (r#"{"owner":"acme","Owner":"evil","tenant":"acme"}"#, false),
        (r#"{"owner":"acme","tenant":"acme","TENANT":"x"}"#, false),
        (r#"{"owner":["acme"],"tenant":"acme"}"#, false),
        (r#"[]"#, false),
    ];
    for (given, expected) in cases {
        assert_eq!(decide(&owner_rule(false), &who, "create", Some(given)).is_ok(), expected, "{given}");
    }
    assert!(decide(&owner_rule(false), &who, "create", None).is_err());
    assert!(decide(&owner_rule(true), &who, "create", Some(r#"{"tenant":"acme"}"#)).is_ok());
}

#[test]
fn a_machine_is_never_one_of_the_subjects() {
    let policy = Policy::new(vec![rule(&["x"], vec![Condition::Subjects(vec![NamePattern::new("*")])])]);
    let machine = Principal::new(Proof { subject: "alice".into(), client: Some("alice".into()), ..Proof::default() });
    assert!(decide(&policy, &machine, "x", None).is_err());
    assert!(decide(&policy, &caller(&[], &[]), "x", None).is_ok());
}

#[test]
fn a_list_shows_what_a_call_permits_and_acquirable_shows_what_a_scope_would() {
    let policy = Policy::new(vec![deny(&["*_secret"]), rule(&["get_*"], vec![]), rule(&["put"], vec![scopes(&[("w", &[])])])]);
    let who = caller(&[], &[]);
    let caller = Caller { principal: &who, source: Ipv4Addr::LOCALHOST.into() };
    let granted = policy.standing(caller, false);
    for tool in ["get_a", "get_secret", "put", "other"] {
        assert_eq!(policy.shows(&granted, Kind::Tool, tool), decide(&policy, &who, tool, None).is_ok(), "{tool}");
    }
    assert!(policy.shows(&policy.standing(caller, true), Kind::Tool, "put"));
}
