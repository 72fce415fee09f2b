use super::*;
use crate::governance::client::Terms;
use crate::governance::observed::Subject;
use crate::policy::matcher::{NamePattern, UriPattern};
use crate::policy::{Condition, Place, Requirement, Rule};

const NOW: u64 = 1_000_000;
const SINCE: u64 = 500_000;

fn scope(name: &str, by: &[&str]) -> Requirement {
    let satisfied_by = [name].iter().chain(by).map(|name| (*name).to_owned()).collect();
    Requirement { scope: name.into(), satisfied_by }
}

fn rule(tools: &[&str], conditions: Vec<Condition>) -> Rule {
    let line = 10;
    Rule {
        name: format!("r-{}", tools.first().copied().unwrap_or("none")),
        place: Place { file: "doorward.yaml".into(), line },
        tools: tools.iter().map(|name| NamePattern::new(*name)).collect(),
        prompts: vec![],
        resources: vec![],
        deny: false,
        conditions,
    }
}

fn fact(client: &str, subject: &str, about: About, name: &str, last: u64) -> Fact {
    let of =
        Subject { upstream: "files".into(), issuer: "i".into(), client: client.into(), subject: subject.into(), about, name: name.into() };
    Fact { of, span: Span { uses: 3, first: last - 10, last } }
}

fn tool(client: &str, subject: &str, name: &str) -> Fact {
    fact(client, subject, About::Thing(Kind::Tool), name, NOW - 100)
}

/// A caller with these scopes that comes now.
fn caller(client: &str, subject: &str, scopes: &[&str]) -> Vec<Fact> {
    let scopes = scopes.iter().map(|name| fact(client, subject, About::Scope, name, NOW - 100));
    [fact(client, subject, About::Passed, "", NOW - 100)].into_iter().chain(scopes).collect()
}

fn approved(id: &str, terms: Terms) -> Client {
    let key = Key { issuer: "i".into(), id: id.into() };
    Client { state: State::Approved, terms, ..Client::seen(key, 1) }
}

struct Given {
    policy: Policy,
    clients: Vec<Client>,
    facts: Vec<Fact>,
    gaps: Vec<Gap>,
}

impl Given {
    fn new(rules: Vec<Rule>, facts: Vec<Fact>) -> Self {
        Self { policy: Policy::new(rules), clients: vec![], facts, gaps: vec![] }
    }

    fn review_of(mut self, only: Option<&Key>) -> Review {
        self.facts.sort_by(|one, other| one.of.cmp(&other.of));
        let name = "files".into();
        let upstreams = [Upstream { name: &name, policy: &self.policy }];
        let (clients, facts, gaps) = (&self.clients, &self.facts, &self.gaps);
        review(&Basis { upstreams: &upstreams, clients, facts, gaps, begun: Some(1), since: SINCE, now: NOW, only })
    }

    fn review(self) -> Review {
        self.review_of(None)
    }

    fn findings(self) -> serde_json::Value {
        serde_json::to_value(self.review().findings).expect("json")
    }
}

fn scopes(required: Vec<Requirement>) -> Condition {
    Condition::Scopes(required)
}

#[test]
fn s38_a_grant_says_what_is_granted_needed_reachable_and_used() {
    let groups = rule(&["restart"], vec![scopes(vec![scope("a", &[])]), Condition::Groups(vec!["sre".into()])]);
    let rules = vec![rule(&["get"], vec![scopes(vec![scope("a", &[])])]), rule(&["wipe"], vec![scopes(vec![scope("z", &[])])]), groups];
    let mut facts = caller("desk", "alice", &["a", "b"]);
    facts.extend([tool("desk", "alice", "get"), fact("desk", "alice", About::Refused, "", NOW)]);
    let review = Given::new(rules, facts).review();
    let [grant] = review.grants.as_slice() else { panic!("{review:?}") };
    assert_eq!((grant.scopes.join(" "), grant.needed.join(" ")), ("a b".into(), "a".into()));
    let reach: Vec<_> = grant.reachable.iter().map(|one| (one.rule.as_str(), one.depends_on.as_deref())).collect();
    assert_eq!(reach, [("r-get", None), ("r-restart", Some("groups"))]);
    let used: Vec<_> = grant.used.iter().map(|used| (&*used.kind, used.name.as_str(), used.uses, used.rule.as_deref())).collect();
    assert_eq!(used, [("tool", "get", 3, Some("r-get"))]);
    assert_eq!((grant.passed, grant.refused, grant.first.0, grant.last.0), (3, 3, NOW - 110, NOW));
    let [client] = review.clients.as_slice() else { panic!("{review:?}") };
    assert_eq!((client.id.as_str(), &*client.state, client.uses, client.last_used), ("desk", "pending", 3, Some(Time(NOW - 100))));
}

#[test]
fn s39_clients_and_grants_without_use_are_found_and_those_that_may_not_call_anyway_are_not() {
    let mut given = Given::new(vec![], caller("busy", "alice", &["a"]));
    given.facts.push(fact("old", "bob", About::Passed, "", SINCE - 1));
    given.facts.push(fact("tried", "carol", About::Refused, "", NOW));
    let retired = |client: Client| client.moved(State::Retired).expect("can be");
    given.clients = ["busy", "old", "never"].map(|id| approved(id, Terms::default())).into();
    given.clients.push(retired(approved("gone", Terms::default())));
    let findings = given.findings();
    let of = |kind: &str, key: &str| -> Vec<String> {
        let all = findings.as_array().expect("a list").iter().filter(|one| one["finding"] == kind);
        all.map(|one| one[key].as_str().unwrap_or("-").to_owned()).collect()
    };
    assert_eq!(of("unused_client", "client"), ["never", "old", "tried"]);
    // One that listed tools, and one that was always refused; what is older than the window is the client's matter.
    assert_eq!(of("unused_grant", "subject"), ["alice", "carol"]);
}

#[test]
fn scopes_never_needed_are_found_with_those_that_are_enough() {
    let read = || scopes(vec![scope("read", &["write"])]);
    let mut facts = caller("desk", "alice", &["read", "admin"]);
    facts.push(tool("desk", "alice", "get"));
    // Another subject of the same client needs another scope.
    facts.extend(caller("desk", "bob", &["list", "admin"]));
    facts.push(tool("desk", "bob", "list"));
    // A wide scope where a narrow one would do.
    facts.extend(caller("wide", "carol", &["write"]));
    facts.push(tool("wide", "carol", "get"));
    let rules = || vec![rule(&["get"], vec![read()]), rule(&["list"], vec![scopes(vec![scope("list", &[])])])];
    let findings = Given::new(rules(), facts.clone()).findings();
    let of = |at: usize, key: &str| findings[at][key].clone();
    assert_eq!(findings.as_array().map(Vec::len), Some(2), "{findings}");
    assert_eq!((of(0, "client"), of(0, "unneeded"), of(0, "enough")), ("desk".into(), vec!["admin"].into(), vec!["list", "read"].into()));
    assert_eq!((of(1, "client"), of(1, "unneeded"), of(1, "enough")), ("wide".into(), serde_json::json!([]), vec!["write"].into()));
    assert_eq!(of(1, "smallest"), serde_json::json!(["read"]));

    // What a ceiling takes away already is not granted.
    let mut given = Given::new(rules(), facts.clone());
    let ceiling = Some(["read", "list"].map(str::to_owned).into());
    given.clients.push(approved("desk", Terms { scopes: ceiling, ..Terms::default() }));
    assert_eq!(given.findings().as_array().map(Vec::len), Some(1));

    // Where not all use is known, nothing is said not to be needed.
    let mut given = Given::new(rules(), facts);
    given.gaps.push(Gap { upstream: "files".into(), about: About::Thing(Kind::Tool), lost: 1, last: NOW });
    assert_eq!(given.findings(), serde_json::json!([]));
}

#[test]
fn of_alternatives_every_scope_that_could_have_been_enough_is_needed() {
    let either = Condition::AnyOf(vec![vec![scopes(vec![scope("a", &[])])], vec![scopes(vec![scope("b", &[])])]]);
    let mut facts = caller("desk", "alice", &["a", "b", "c"]);
    facts.push(tool("desk", "alice", "get"));
    let findings = Given::new(vec![rule(&["get"], vec![either])], facts).findings();
    assert_eq!((&findings[0]["unneeded"], &findings[0]["enough"]), (&serde_json::json!(["c"]), &serde_json::json!(["a", "b"])));
}

fn narrowings(given: Given) -> Vec<Narrowing> {
    given.review().narrowings
}

#[test]
fn a_wildcard_gives_way_to_the_names_that_were_used() {
    let used = || ["get_b", "get_a", "keep"].map(|name| tool("desk", "alice", name)).to_vec();
    let rules = || vec![rule(&["get_*", "keep", "list_*", "get_a"], vec![])];
    let found = narrowings(Given::new(rules(), used()));
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(one.wildcards, ["get_*", "list_*"]);
    assert_eq!(one.after.as_deref(), Some(["get_b", "keep", "get_a"].map(str::to_owned).as_slice()));
    assert!(one.deny.is_empty(), "no rule behind it could let anything through");

    let mut given = Given::new(rules(), used());
    given.gaps.push(Gap { upstream: "files".into(), about: About::Thing(Kind::Tool), lost: 1, last: NOW });
    assert_eq!(narrowings(given)[0].after, None, "not all use is known");
    let mut given = Given::new(rules(), used());
    given.gaps.push(Gap { upstream: "files".into(), about: About::Thing(Kind::Tool), lost: 1, last: SINCE - 1 });
    assert!(narrowings(given)[0].after.is_some(), "what is not known would not count");

    let many = (0..60).map(|n| tool("desk", "alice", &format!("get_{n}"))).collect();
    assert_eq!(narrowings(Given::new(vec![rule(&["get_*"], vec![])], many))[0].after, None);
    let star = vec![tool("desk", "alice", "get_*x")];
    assert_eq!(narrowings(Given::new(vec![rule(&["get_*"], vec![])], star))[0].after, None, "its name would be a wildcard");
}

#[test]
fn what_a_narrower_rule_lets_go_of_is_denied_where_a_rule_behind_it_could_permit_it() {
    let admin = rule(&["*"], vec![scopes(vec![scope("admin", &[])])]);
    let used = vec![tool("desk", "alice", "get_a"), tool("desk", "alice", "other")];
    let found = narrowings(Given::new(vec![rule(&["get_*"], vec![]), admin], used));
    assert_eq!(found.iter().map(|one| one.deny.join(" ")).collect::<Vec<_>>(), ["get_*", ""]);
    let [before, after] = [&found[0].before, found[0].after.as_ref().expect("narrower")];
    assert_eq!((before.as_slice(), after.as_slice()), (["get_*".to_owned()].as_slice(), ["get_a".to_owned()].as_slice()));
}

#[test]
fn a_rule_without_use_is_told_as_such_and_a_rule_that_denies_is_not() {
    let mut resources = rule(&[], vec![]);
    resources.resources = vec![UriPattern::new("file:///**")];
    let denies = Rule { deny: true, ..rule(&["x*"], vec![]) };
    let mut facts = vec![fact("desk", "alice", About::Thing(Kind::Resource), "file:///a/b", NOW)];
    // Long ago is not now.
    facts.push(fact("desk", "alice", About::Thing(Kind::Tool), "get_a", SINCE - 1));
    let review = Given::new(vec![denies, rule(&["get_*"], vec![]), resources], facts).review();
    let unused: Vec<_> = review.findings.iter().filter(|one| matches!(one, Finding::UnusedRule { .. })).collect();
    assert!(matches!(unused.as_slice(), [Finding::UnusedRule { rule, .. }] if rule == "r-get_*"), "{unused:?}");
    assert_eq!(review.narrowings[0].after.as_deref(), Some(["file:///a/b".to_owned()].as_slice()));
}

#[test]
fn the_digest_changes_with_what_is_to_be_looked_at_and_with_nothing_else() {
    let rules = || vec![rule(&["get_*"], vec![scopes(vec![scope("a", &[])])])];
    let facts = || caller("desk", "alice", &["a"]).into_iter().chain([tool("desk", "alice", "get_a")]).collect::<Vec<_>>();
    let digest = |facts| Given::new(rules(), facts).review().digest;
    let before = digest(facts());
    assert_eq!(before.len(), 43);
    let mut more = facts();
    more.iter_mut().for_each(|fact| fact.span.add(Span { uses: 9, first: NOW, last: NOW }));
    assert_eq!(digest(more), before, "used more often");
    let elsewhere = rules().into_iter().map(|rule| Rule { place: Place { file: "other.yaml".into(), line: 99 }, ..rule }).collect();
    assert_eq!(Given::new(elsewhere, facts()).review().digest, before, "on another line");
    for other in [tool("desk", "alice", "get_b"), fact("desk", "alice", About::Scope, "b", NOW), tool("desk", "bob", "get_a")] {
        assert_ne!(digest([facts(), vec![other.clone()]].concat()), before, "{other:?}");
    }
    let mut given = Given::new(rules(), facts());
    given.clients.push(approved("desk", Terms { owner: "Team A".into(), ..Terms::default() }));
    assert_ne!(given.review().digest, before);
}

#[test]
fn a_review_of_one_client_speaks_of_nobody_else_and_of_no_rule() {
    let facts = [caller("desk", "alice", &["a"]), caller("other", "bob", &["a"])].concat();
    let key = Key { issuer: "i".into(), id: "desk".into() };
    let review = Given::new(vec![rule(&["get_*"], vec![])], facts).review_of(Some(&key));
    assert_eq!((review.clients.len(), review.grants.len(), review.narrowings.len()), (1, 1, 0));
    assert!(matches!(review.findings.as_slice(), [Finding::UnusedGrant { subject, .. }] if subject == "alice"), "{:?}", review.findings);
}

mod properties {
    use proptest::prelude::*;

    use super::*;
    use crate::mcp::{Method, Operation, Target, Thing};

    fn pattern() -> impl Strategy<Value = String> {
        "[ab*]{1,4}"
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn narrower_rules_permit_what_was_used_refuse_what_they_let_go_of_and_never_permit_more(
            lists in proptest::collection::vec((proptest::collection::vec(pattern(), 1..3), any::<bool>()), 1..4),
            names in proptest::collection::vec("[ab]{1,4}", 1..6),
        ) {
            let build = |lists: &[(Vec<String>, bool)]| -> Vec<Rule> {
                lists.iter().map(|(tools, deny)| {
                    let tools: Vec<&str> = tools.iter().map(String::as_str).collect();
                    Rule { deny: *deny, ..rule(&tools, vec![]) }
                }).collect()
            };
            let wide = Policy::new(build(&lists));
            let who = Principal::new(Proof::default());
            let caller = Caller { principal: &who, source: Ipv4Addr::LOCALHOST.into(), now: UNIX_EPOCH };
            let permits = |policy: &Policy, name: &str| {
                let target = Target::One(Thing { kind: Kind::Tool, name: name.to_owned().into() });
                let operation = Operation { method: Method::find("tools/call").expect("known"), target, arguments: None };
                policy.authorize(caller, &operation).is_ok()
            };
            let used: Vec<String> = names.iter().filter(|name| permits(&wide, name)).cloned().collect();
            let facts = used.iter().map(|name| tool("desk", "alice", name)).collect();
            let mut narrower = lists.clone();
            let mut found = narrowings(Given::new(build(&lists), facts));
            found.reverse();
            for one in &found {
                let Some(after) = &one.after else { continue };
                narrower[one.index].0 = after.clone();
                if !one.deny.is_empty() {
                    narrower.insert(one.index + 1, (one.deny.clone(), true));
                }
            }
            let narrow = Policy::new(build(&narrower));
            // What was let go of is refused, whatever rule stands behind.
            let falls = |name: &str| {
                let index = wide.rules().iter().position(|rule| rule.names(Kind::Tool, name))?;
                found.iter().find(|one| one.index == index)?.after.as_ref().filter(|after| !rule(&after.iter().map(String::as_str).collect::<Vec<_>>(), vec![]).names(Kind::Tool, name))
            };
            for name in ["a", "b", "aa", "ab", "ba", "bb", "aab", "abab", "bbb", "baba"].into_iter().map(str::to_owned).chain(names) {
                if permits(&narrow, &name) {
                    prop_assert!(permits(&wide, &name), "{name}");
                }
                if falls(&name).is_some() {
                    prop_assert!(!permits(&narrow, &name), "{name} was let go of");
                }
                if used.contains(&name) {
                    prop_assert!(permits(&narrow, &name), "{name} was used");
                }
            }
        }
    }
}
