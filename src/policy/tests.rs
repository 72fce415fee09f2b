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
    policy.authorize(Caller { principal: who, source: Ipv4Addr::LOCALHOST.into(), now: SystemTime::UNIX_EPOCH }, &operation)
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

#[test]
fn item_7_scopes_that_are_one_of_several_ways_in_are_told_and_can_be_asked_for() {
    let any = || Condition::AnyOf(vec![vec![Condition::Groups(vec!["sre".into()])], vec![scopes(&[("admin", &[]), ("write", &[])])]]);
    let denied = Rule { deny: true, ..rule(&["never"], vec![]) };
    let policy = Policy::new(vec![denied, rule(&["rm"], vec![any()])]);
    assert_eq!((policy.scopes(), policy.initial_scopes()), (vec!["admin", "write"], vec!["admin", "write"]));
    let policy = Policy::new(vec![rule(&["rm"], vec![any()]), rule(&["ls"], vec![scopes(&[("read", &[]), ("write", &[])])])]);
    assert_eq!((policy.scopes(), policy.initial_scopes()), (vec!["admin", "write", "read"], vec!["read", "write"]));
}

#[test]
fn item_2_a_scope_that_is_kept_back_is_not_what_a_new_client_comes_with() {
    let rules = || vec![rule(&["rm"], vec![scopes(&[("admin", &[])])]), rule(&["ls"], vec![scopes(&[("read", &[])])])];
    assert_eq!(Policy::new(rules()).initial_scopes(), ["admin"]);
    assert_eq!(Policy::new(rules()).keeping_back(&["admin".into()]).initial_scopes(), ["read"]);
    let all = Policy::new(rules()).keeping_back(&["admin".into(), "read".into()]);
    assert!(all.initial_scopes().is_empty());
    assert_eq!(all.scopes(), ["admin", "read"], "it can be had all the same");
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
    let caller = Caller { principal: &who, source: Ipv4Addr::LOCALHOST.into(), now: SystemTime::UNIX_EPOCH };
    let granted = policy.standing(caller, false);
    for tool in ["get_a", "get_secret", "put", "other"] {
        assert_eq!(policy.shows(&granted, Kind::Tool, tool), decide(&policy, &who, tool, None).is_ok(), "{tool}");
    }
    assert!(policy.shows(&policy.standing(caller, true), Kind::Tool, "put"));
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    struct Draft {
        patterns: Vec<String>,
        deny: bool,
        scope: Option<String>,
        group: Option<String>,
    }

    fn draft() -> impl Strategy<Value = Draft> {
        let pattern = prop::sample::select(vec!["*", "a", "b", "ab", "a*", "*b", "a*b", "get_*", "get_x", "*_secret", "get_secret"]);
        let patterns = prop::collection::vec(pattern.prop_map(String::from), 1..3);
        let scope = prop::option::of(prop::sample::select(vec!["r", "w"]).prop_map(String::from));
        let group = prop::option::of(prop::sample::select(vec!["sre", "dev"]).prop_map(String::from));
        (patterns, any::<bool>(), scope, group).prop_map(|(patterns, deny, scope, group)| Draft { patterns, deny, scope, group })
    }

    fn build(drafts: &[Draft]) -> Policy {
        let one = |draft: &Draft| {
            let patterns: Vec<&str> = draft.patterns.iter().map(String::as_str).collect();
            if draft.deny {
                return deny(&patterns);
            }
            let scope = draft.scope.iter().map(|scope| scopes(&[(scope, &[])]));
            let group = draft.group.iter().map(|group| Condition::Groups(vec![group.clone()]));
            rule(&patterns, scope.chain(group).collect())
        };
        Policy::new(drafts.iter().map(one).collect())
    }

    fn who() -> impl Strategy<Value = Principal> {
        let held = prop::sample::subsequence(vec!["r", "w"], 0..=2);
        let groups = prop::sample::subsequence(vec!["sre", "dev"], 0..=2);
        (held, groups).prop_map(|(held, groups)| caller(&held, &groups))
    }

    const TOOLS: &[&str] = &["a", "b", "ab", "aab", "get_x", "get_secret", "x_secret", "c", ""];

    proptest! {
        #[test]
        fn a_list_shows_exactly_what_a_call_permits(drafts in prop::collection::vec(draft(), 0..6), who in who()) {
            let policy = build(&drafts);
            let standing = policy.standing(Caller { principal: &who, source: Ipv4Addr::LOCALHOST.into(), now: SystemTime::UNIX_EPOCH }, false);
            for tool in TOOLS {
                prop_assert_eq!(policy.shows(&standing, Kind::Tool, tool), decide(&policy, &who, tool, None).is_ok(), "{}", tool);
            }
        }

        #[test]
        fn adding_a_deny_rule_never_widens(drafts in prop::collection::vec(draft(), 0..6), added in draft(), at in 0usize..6, who in who()) {
            let before = build(&drafts);
            let mut more = drafts.clone();
            more.insert(at.min(drafts.len()), Draft { deny: true, ..added });
            let after = build(&more);
            for tool in TOOLS {
                prop_assert!(decide(&after, &who, tool, None).is_err() || decide(&before, &who, tool, None).is_ok(), "{}", tool);
            }
        }

        #[test]
        fn a_name_that_no_pattern_matches_is_refused(drafts in prop::collection::vec(draft(), 0..6), who in who(), name in "[A-Z]{1,5}") {
            let drafts: Vec<Draft> = drafts.into_iter().filter(|draft| draft.patterns.iter().all(|pattern| pattern != "*")).collect();
            prop_assert!(decide(&build(&drafts), &who, &name, None).is_err());
        }
    }
}
