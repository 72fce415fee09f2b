use super::*;
use crate::mcp::definition::Definition;
use crate::pin::{Approval, Approvals};
use crate::route::{Address, ChallengeScopes, ListMode, Mode, Place, Reach, RouteLimits, Sender};
use std::time::Duration;

const GOOD: &str = r#"{"name":"a","description":"good"}"#;
const SAME: &str = r#"{ "description": "good", "name": "a" }"#;
const BAD: &str = r#"{"name":"a","description":"bad"}"#;

/// An upstream on this port, with one approved tool.
fn route(port: u16, by: &str) -> Arc<Route> {
    let definition = Definition::read(GOOD).expect("a definition");
    let mut approvals = Approvals::default();
    approvals.insert("a".into(), Approval { digest: definition.digest(), definition, by: by.into(), at: String::new() });
    let place = Place { address: Address::Tcp { host: "127.0.0.1".into(), port }, authority: String::new() };
    Arc::new(Route {
        name: "up".into(),
        resource: "https://x/up".into(),
        metadata_url: String::new(),
        metadata: Default::default(),
        issuers: vec![],
        policy: Default::default(),
        identity: Default::default(),
        upstream: Upstream { reach: Arc::new(Reach::to(place)), path: http::uri::PathAndQuery::from_static("/"), credential: None },
        grant: None,
        mode: Mode::Enforce,
        list: ListMode::Granted,
        challenge: ChallengeScopes::default(),
        origins: vec![],
        limits: RouteLimits { body: 1, per_client: None, per_subject: None, streams_per_subject: None, timeout: Duration::from_secs(1) },
        sender: Sender::default(),
        asks: Default::default(),
        protocol: Default::default(),
        approves_clients: false,
        recorded_arguments: Default::default(),
        pin: Some(Arc::new(Pin { file: "x".into(), interval: Duration::from_secs(1), approvals })),
    })
}

fn vigils(route: &Arc<Route>, old: Option<&Vigils>) -> (Vigils, Arc<Vigil>) {
    let vigils = Vigils::build(std::slice::from_ref(route), old);
    let vigil = vigils.find("up").expect("pinned").clone();
    (vigils, vigil)
}

#[test]
fn s28_a_tool_is_let_through_once_it_was_seen_as_approved() {
    let (_, vigil) = vigils(&route(1, "alice"), None);
    assert_eq!(vigil.flaw("a"), Some(Flaw::Unverified));
    assert!(vigil.take_wanted() && !vigil.take_wanted());
    assert!(vigil.see("a", SAME));
    assert_eq!(vigil.flaw("a"), None);
    assert_eq!(vigil.flaw("A"), Some(Flaw::Unapproved));
    assert!(!vigil.take_wanted(), "a name that nobody approved wants no look");
    assert_eq!(vigil.census(), Census { verified: 1, ..Census::default() });
}

#[test]
fn s28_from_changed_no_way_leads_back() {
    let (_, vigil) = vigils(&route(1, "alice"), None);
    assert!(vigil.see("a", GOOD) && !vigil.see("a", BAD) && !vigil.see("a", GOOD));
    assert_eq!((vigil.flaw("a"), vigil.changes()), (Some(Flaw::Changed), 1));
    assert!(!vigil.see("a", "not json") && vigil.changes() == 1);
    assert_eq!(vigil.untold().collect::<Vec<_>>(), ["a"]);
    assert_eq!(vigil.untold().count(), 0);
}

#[test]
fn s28_a_reload_keeps_a_change_and_an_approval_ends_it() {
    let (old, vigil) = vigils(&route(1, "alice"), None);
    vigil.see("a", BAD);
    let (moved, vigil) = vigils(&route(2, "alice"), Some(&old));
    assert_eq!(vigil.flaw("a"), Some(Flaw::Changed), "other servers do not excuse it");
    let (_, vigil) = vigils(&route(2, "bob"), Some(&moved));
    assert_eq!(vigil.flaw("a"), Some(Flaw::Unverified));
}

#[test]
fn s28_a_reload_keeps_what_is_well_only_of_the_same_servers() {
    let (old, vigil) = vigils(&route(1, "alice"), None);
    vigil.see("a", GOOD);
    assert_eq!(vigils(&route(1, "alice"), Some(&old)).1.flaw("a"), None);
    assert_eq!(vigils(&route(2, "alice"), Some(&old)).1.flaw("a"), Some(Flaw::Unverified));
}

#[test]
fn s28_names_that_nobody_approved_are_bounded() {
    let (_, vigil) = vigils(&route(1, "alice"), None);
    for n in 0..2 * STRANGERS {
        assert!(!vigil.see(&format!("{n}"), "{}") && !vigil.see(&"x".repeat(10_000), "{}"));
    }
    let told = vigil.untold_strangers();
    assert_eq!(told.len(), STRANGERS);
    assert!(told.iter().all(|name| name.len() <= 256) && vigil.untold_strangers().is_empty());
}

#[test]
fn s28_no_other_method_reaches_a_changed_tool_and_its_task_can_be_ended() {
    use crate::mcp::{Method, Thing};
    let (vigils, vigil) = vigils(&route(1, "alice"), None);
    assert!(!vigil.see("a", BAD));
    let pointed = Method { name: "acme/run", verb: Verb::Point(Kind::Tool, "/tool"), notification: false, modern: true, legacy: true };
    let of = |name: &str| Method::find(name).expect("a method");
    let rows = [
        (of("tools/call"), Some(Flaw::Changed)),
        (of("tasks/get"), Some(Flaw::Changed)),
        (of("tasks/result"), Some(Flaw::Changed)),
        (of("tasks/update"), Some(Flaw::Changed)),
        (of("tasks/cancel"), None),
        (&pointed, Some(Flaw::Changed)),
        (of("prompts/get"), None),
    ];
    for (method, flaw) in rows {
        let target = Target::One(Thing { kind: Kind::Tool, name: "a".into() });
        assert_eq!(vigils.flaw("up", &Operation { method, target, arguments: None }), flaw, "{}", method.name);
    }
}
