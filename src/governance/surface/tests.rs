use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::keys::shown;
use super::*;
use crate::token::forge::Signer;
use crate::token::{Algorithm, KeySet};

const HOUR: Acceptance = Acceptance::After(Duration::from_secs(3600));

fn signer() -> Signer {
    Signer::new(Algorithm::ES256)
}

fn set(keys: &[(&Signer, &str)]) -> Arc<KeySet> {
    let keys: Vec<Value> = keys.iter().map(|(signer, kid)| signer.jwk(kid)).collect();
    Arc::new(KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("a set"))
}

fn index(acceptance: Acceptance) -> IssuerKeys {
    let index = IssuerKeys::default();
    index.govern([("i".to_owned(), acceptance)].into_iter());
    index
}

/// The ids of the keys that verify.
fn usable(index: &IssuerKeys, set: &Arc<KeySet>) -> Vec<String> {
    index.usable("i", set).keys().iter().filter_map(|key| key.kid().map(str::to_owned)).collect()
}

fn kinds(settled: &Settled) -> Vec<&'static str> {
    settled.drifts.iter().map(|drift| drift.kind.name()).collect()
}

#[test]
fn the_first_keys_of_an_issuer_are_believed_and_a_later_one_is_held_until_it_is_accepted() {
    for acceptance in [HOUR, Acceptance::Approved] {
        let (index, a, b) = (index(acceptance), signer(), signer());
        assert_eq!(usable(&index, &set(&[(&a, "a")])), Vec::<String>::new(), "nobody knows it yet");
        assert_eq!(kinds(&index.see("i", &set(&[(&a, "a")]), 10)), Vec::<&str>::new());
        let both = set(&[(&a, "a"), (&b, "b")]);
        assert_eq!(usable(&index, &both), ["a"], "one that was never seen is on hold");
        let settled = index.see("i", &both, 20);
        assert_eq!((kinds(&settled), settled.drifts[0].on_hold), (vec!["key_new"], true));
        assert_eq!((usable(&index, &both), index.held("i")), (vec!["a".to_owned()], 1));
        index.apply(IssuerKey { state: KeyState::Accepted, ..settled.changed[0].clone() });
        assert_eq!((usable(&index, &both), index.held("i")), (vec!["a".to_owned(), "b".to_owned()], 0));
        assert_eq!(kinds(&index.see("i", &both, 30)), Vec::<&str>::new(), "what is known is no news");
    }
}

#[test]
fn accepted_immediately_a_new_key_is_told_and_verifies_and_a_rejected_one_never_does() {
    let (index, a, b) = (index(Acceptance::Immediately), signer(), signer());
    index.see("i", &set(&[(&a, "a")]), 10);
    let both = set(&[(&a, "a"), (&b, "b")]);
    let settled = index.see("i", &both, 20);
    assert_eq!((kinds(&settled), settled.drifts[0].on_hold), (vec!["key_new"], false));
    assert_eq!(usable(&index, &both), ["a", "b"]);
    index.apply(IssuerKey { state: KeyState::Rejected, ..settled.changed[0].clone() });
    assert_eq!(usable(&index, &both), ["a"]);
    let renamed = set(&[(&a, "a"), (&b, "c")]);
    assert_eq!(kinds(&index.see("i", &renamed, 30)), ["key_renamed"]);
    assert_eq!(usable(&index, &renamed), ["a"], "another id does not help it");
}

#[test]
fn a_hold_ends_by_time_only_for_a_key_that_was_there_all_the_time() {
    let (index, a, b) = (index(HOUR), signer(), signer());
    index.see("i", &set(&[(&a, "a")]), 0);
    let both = set(&[(&a, "a"), (&b, "b")]);
    index.see("i", &both, 100);
    assert!(index.due(3_699).is_empty());
    assert_eq!(index.due(3_700).len(), 1);
    assert_eq!(kinds(&index.see("i", &set(&[(&a, "a")]), 200)), ["key_vanished"]);
    assert!(index.due(9_999).is_empty(), "it is gone");
    assert_eq!(kinds(&index.see("i", &both, 5_000)), ["key_returned"]);
    assert!(index.due(8_599).is_empty(), "its hold began anew");
    assert_eq!(index.due(8_600).len(), 1);
    index.govern([("i".to_owned(), Acceptance::Approved)].into_iter());
    assert!(index.due(u64::MAX).is_empty(), "somebody must approve it");
}

#[test]
fn a_hold_counts_from_when_the_key_was_seen_though_it_was_written_down_later() {
    let (index, a, b) = (index(HOUR), signer(), signer());
    index.see("i", &set(&[(&a, "a")]), 0);
    let both = set(&[(&a, "a"), (&b, "b")]);
    let first = settle("i", &[], &shown(&set(&[(&a, "a")])), HOUR, 0).changed;
    index.see("i", &both, 100);
    let written = index.written("i", &first, &shown(&both), &[], 500);
    assert_eq!(written.changed.iter().map(|key| key.since).collect::<Vec<_>>(), [100]);
}

#[test]
fn a_key_that_comes_before_the_first_set_is_written_down_is_no_part_of_what_is_believed() {
    let (index, a, b) = (index(HOUR), signer(), signer());
    let both = set(&[(&a, "a"), (&b, "b")]);
    let mut drifts = index.see("i", &set(&[(&a, "a")]), 100).drifts;
    drifts.extend(index.see("i", &both, 100).drifts);
    // The store hears of the second set alone.
    let written = index.written("i", &[], &shown(&both), &drifts, 101);
    let states: Vec<(&str, KeyState, u64)> = written.changed.iter().map(|key| (key.kid.as_str(), key.state, key.since)).collect();
    assert!(states.contains(&("a", KeyState::Accepted, 101)) && states.contains(&("b", KeyState::Held, 100)), "{states:?}");
    assert_eq!((kinds(&written), written.drifts[0].on_hold), (vec!["key_new"], true));
    written.changed.iter().cloned().for_each(|key| index.apply(key));
    assert_eq!(usable(&index, &both), ["a"]);
    // Where another replica has written it and somebody has approved it, it stays approved.
    let approved: Vec<IssuerKey> = written.changed.iter().map(|key| IssuerKey { state: KeyState::Accepted, ..key.clone() }).collect();
    assert!(index.written("i", &approved, &shown(&both), &drifts, 102).is_empty());
}

#[test]
fn replicas_that_begin_at_once_agree_on_what_the_first_one_to_write_has_seen() {
    let (one, other, a, b) = (index(Acceptance::Approved), index(Acceptance::Approved), signer(), signer());
    let (of_one, of_other, both) = (set(&[(&a, "a")]), set(&[(&b, "b")]), set(&[(&a, "a"), (&b, "b")]));
    one.see("i", &of_one, 10);
    other.see("i", &of_other, 10);
    let first = one.written("i", &[], &shown(&of_one), &[], 11).changed;
    let second = other.written("i", &first, &shown(&of_other), &[], 11);
    assert_eq!((kinds(&second), second.drifts[0].on_hold), (vec!["key_new", "key_vanished"], true));
    // What the store has, every replica hears.
    for key in first.iter().chain(&second.changed) {
        one.apply(key.clone());
        other.apply(key.clone());
    }
    assert_eq!((usable(&one, &both), usable(&other, &both)), (vec!["a".to_owned()], vec!["a".to_owned()]));
}

#[test]
fn a_key_that_was_accepted_and_comes_back_is_an_event() {
    let (index, a, b) = (index(Acceptance::Approved), signer(), signer());
    index.see("i", &set(&[(&a, "a"), (&b, "b")]), 0);
    assert_eq!(kinds(&index.see("i", &set(&[(&a, "a")]), 1)), ["key_vanished"]);
    assert_eq!(kinds(&index.see("i", &set(&[(&a, "a")]), 2)), Vec::<&str>::new(), "told once");
    let both = set(&[(&a, "a"), (&b, "b")]);
    let settled = index.see("i", &both, 3);
    assert_eq!((kinds(&settled), settled.drifts[0].on_hold), (vec!["key_returned"], false));
    assert_eq!(usable(&index, &both), ["a", "b"]);
}

#[test]
fn a_wider_list_of_algorithms_of_a_key_is_told_and_a_narrower_is_not() {
    let (index, rsa) = (index(Acceptance::Immediately), Signer::rsa());
    let with = |alg: Option<&str>| {
        let mut jwk = rsa.jwk("r");
        if let Some(alg) = alg {
            jwk["alg"] = json!(alg);
        }
        Arc::new(KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes()).expect("a set"))
    };
    index.see("i", &with(Some("RS256")), 0);
    let settled = index.see("i", &with(None), 1);
    assert_eq!(kinds(&settled), ["algorithms"]);
    assert!(settled.drifts[0].what.contains("PS256"), "{:?}", settled.drifts);
    assert_eq!(kinds(&index.see("i", &with(Some("RS256")), 2)), Vec::<&str>::new());
}

#[test]
fn an_issuer_that_rotates_for_ever_fills_no_memory_and_a_rejected_key_is_not_forgotten() {
    let key = |n: u64, state| IssuerKey {
        issuer: "i".into(),
        thumbprint: format!("{n:04}"),
        kid: String::new(),
        algorithms: "ES256".into(),
        state,
        since: n,
        gone: Some(n),
    };
    let mut known: Vec<IssuerKey> = (0..200).map(|n| key(n, KeyState::Accepted)).collect();
    known[0].state = KeyState::Rejected;
    let now = shown(&set(&[(&signer(), "new")]));
    let settled = settle("i", &known, &now, Acceptance::Approved, 999);
    assert_eq!(settled.forgotten, ["0001"]);
    assert_eq!(settled.changed[0].state, KeyState::Held, "it is not the first");
}

#[test]
fn drift_of_the_metadata_is_told_by_kind_and_a_shorter_list_is_none() {
    let read = |value: Value| summary(value.as_object().expect("an object"));
    let before = read(json!({
        "issuer": "https://i", "jwks_uri": "https://i/k", "token_endpoint": "https://i/t", "revocation_endpoint": "https://i/r",
        "id_token_signing_alg_values_supported": ["RS256", "ES256"], "claims_supported": ["sub"],
    }));
    assert!(!before.contains_key("claims_supported"));
    assert_eq!(differences(&before, &before), []);
    let now = read(json!({
        "issuer": "https://i", "jwks_uri": "https://evil/k", "token_endpoint": "https://i/t2", "userinfo_endpoint": "https://i/u",
        "id_token_signing_alg_values_supported": ["RS256", "none"],
    }));
    let told: Vec<(&str, String)> = differences(&before, &now).into_iter().map(|drift| (drift.kind.name(), drift.what)).collect();
    assert_eq!(
        told,
        [
            ("algorithms", "id_token_signing_alg_values_supported also has none".into()),
            ("jwks_uri", "jwks_uri is https://evil/k, was https://i/k".into()),
            ("endpoint", "token_endpoint is https://i/t2, was https://i/t".into()),
            ("endpoint", "userinfo_endpoint is https://i/u, was not there".into()),
            ("endpoint", "revocation_endpoint is gone, was https://i/r".into()),
        ]
    );
}
