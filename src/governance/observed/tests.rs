use std::borrow::Cow;
use std::time::Duration;

use super::*;
use crate::mcp::Thing;
use crate::principal::Proof;

fn who(subject: &str, scopes: &[&str]) -> Arc<Principal> {
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    let proof = Proof { issuer: "i".into(), subject: subject.into(), client: Some("c".into()), scopes, ..Proof::default() };
    Arc::new(Principal::new(proof))
}

fn tool(name: &str) -> Target<'_> {
    Target::One(Thing { kind: Kind::Tool, name: Cow::Borrowed(name) })
}

fn note(observed: &Observed, who: &Arc<Principal>, target: &Target<'_>, passed: bool, now: u64) {
    let now = UNIX_EPOCH + Duration::from_secs(now);
    observed.note(&Noted { upstream: &"files".into(), who, target, passed, now });
}

/// `about name uses first last` of each fact, in their order.
fn told(observed: &Observed) -> Vec<String> {
    let mut waiting = Waiting::default();
    observed.drain(&mut waiting);
    let line =
        |Fact { of, span }: Fact| format!("{} {} {} {} {} {}", of.subject, of.about.name(), of.name, span.uses, span.first, span.last);
    waiting.first(usize::MAX).into_iter().map(line).collect()
}

#[test]
fn each_caller_has_counts_of_its_requests_scopes_and_things_with_first_and_last_time() {
    let observed = Observed::default();
    let alice = who("alice", &["a", "b"]);
    note(&observed, &alice, &tool("get"), true, 10);
    note(&observed, &alice, &tool("get"), true, 30);
    note(&observed, &alice, &tool("wipe"), false, 20);
    // Another token of the same caller, with other scopes.
    note(&observed, &who("alice", &["b"]), &Target::Nothing, true, 40);
    note(&observed, &who("bob", &[]), &tool("get"), false, 50);
    assert_eq!(
        told(&observed),
        [
            "alice passed  3 10 40",
            "alice refused  1 20 20",
            "alice scope a 3 10 30",
            "alice scope b 4 10 40",
            "alice tool get 2 10 30",
            "bob refused  1 50 50",
        ]
    );
    assert_eq!(told(&observed), Vec::<String>::new(), "nothing is told twice");
}

#[test]
fn every_resource_of_a_subscription_is_used() {
    let observed = Observed::default();
    let thing = |name| Thing { kind: Kind::Resource, name: Cow::Borrowed(name) };
    note(&observed, &who("alice", &[]), &Target::Each(vec![thing("file:///a"), thing("file:///b")]), true, 1);
    assert_eq!(told(&observed), ["alice passed  1 1 1", "alice resource file:///a 1 1 1", "alice resource file:///b 1 1 1"]);
}

#[test]
fn what_strangers_can_grow_is_bounded_and_what_finds_no_room_is_counted_as_lost() {
    let observed = Observed::default();
    let alice = who("alice", &[]);
    for n in 0..NAMES + 7 {
        note(&observed, &alice, &tool(&format!("t{n}")), true, 1);
    }
    note(&observed, &alice, &tool(&"x".repeat(LONGEST + 1)), true, 2);
    note(&observed, &alice, &tool("a\0b"), true, 3);
    assert_eq!(observed.lost(), 9);
    let lost = Gap { upstream: "files".into(), about: About::Thing(Kind::Tool), lost: 9, last: 3 };
    assert_eq!(observed.take_gaps(), std::slice::from_ref(&lost));
    observed.keep_gaps(vec![lost.clone()]);
    assert_eq!((observed.take_gaps(), observed.lost()), (vec![lost], 9));
    assert_eq!(told(&observed).len(), NAMES + 1);

    for n in 0..2 * CALLERS {
        note(&observed, &who(&format!("s{n}"), &[]), &Target::Nothing, true, 1);
    }
    let rows = told(&observed).len();
    assert!(rows <= CALLERS, "{rows}");
    assert_eq!(observed.lost(), (9 + 2 * CALLERS - rows) as u64);
}

#[test]
fn what_waits_is_bounded_and_adds_up() {
    let mut waiting = Waiting::default();
    let fact = |n: usize| Fact {
        of: Subject {
            upstream: "u".into(),
            issuer: "i".into(),
            client: "c".into(),
            subject: n.to_string().into(),
            about: About::Passed,
            name: "".into(),
        },
        span: Span::at(n as u64),
    };
    assert!((0..WAITING).all(|n| waiting.take_in(fact(n)).is_none()));
    assert_eq!(waiting.take_in(fact(WAITING)), Some(fact(WAITING)));
    let again = Fact { span: Span { uses: 5, first: 0, last: 9 }, ..fact(7) };
    assert_eq!(waiting.take_in(again), None);
    let seven = waiting.first(usize::MAX).into_iter().find(|one| &*one.of.subject == "7").expect("there");
    assert_eq!(seven.span, Span { uses: 6, first: 0, last: 9 });
    waiting.written(&[seven]);
    assert_eq!(waiting.take_in(fact(WAITING)), None, "what is written makes room");
}
