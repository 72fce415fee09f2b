use std::time::Duration;

use serde_json::json;

use super::*;
use crate::config::{Endpoint, Introspection, KeyTimes};
use crate::remote::fixture::{self, config};
use crate::route::client::{Client, Proof};
use crate::route::grant::Secret;
use crate::token::forge::{Signer, rules};
use crate::token::{Algorithm, AnswerRules};

fn issuer(keys: KeySource, cache: u64) -> Issuer {
    let times = KeyTimes { cache: Duration::from_secs(cache), ..KeyTimes::default() };
    Issuer {
        rules: Arc::new(rules()),
        keys,
        times,
        allow_http: false,
        introspection: None,
        profile: &crate::config::profile::PLAIN,
        assume_s256: false,
        accept_new_keys: crate::governance::Acceptance::Immediately,
    }
}

#[test]
fn a_reload_keeps_the_keys_of_an_issuer_that_did_not_change() {
    fixture::http();
    let old = Issuers::build(&config(vec![issuer(KeySource::Discovery, 600)]), None).unwrap();
    let keeps = |issuer: Issuer| {
        let new = Issuers::build(&config(vec![issuer]), Some(&old)).unwrap();
        Arc::ptr_eq(new.find(&rules()).unwrap(), old.find(&rules()).unwrap())
    };
    assert!(keeps(issuer(KeySource::Discovery, 600)));
    let narrower = Arc::new(IssuerRules { algorithms: vec![Algorithm::ES256], ..rules() });
    assert!(keeps(Issuer { rules: narrower, ..issuer(KeySource::Discovery, 600) }));
    assert!(!keeps(issuer(KeySource::Discovery, 60)));
    assert!(!keeps(issuer(KeySource::Jwks("https://login.example.com/keys".into()), 600)));
    let moved = Arc::new(IssuerRules { issuer: "https://other.example".into(), ..rules() });
    assert!(!keeps(Issuer { rules: moved, ..issuer(KeySource::Discovery, 600) }));
}

#[test]
fn a_reload_keeps_refusals_only_while_nothing_about_the_issuer_changed() {
    fixture::http();
    let asked = |timeout: u64| Introspection {
        endpoint: Endpoint::Discovery,
        client: Client { id: "doorward".into(), proof: Proof::Secret(Secret::new("x".into())) },
        timeout: Duration::from_secs(timeout),
        answers: AnswerRules { cache: Duration::from_secs(30), allow_missing_audience: false },
        only: true,
    };
    let with = |timeout| Issuer { introspection: Some(asked(timeout)), ..issuer(KeySource::Nowhere, 600) };
    let old = Issuers::build(&config(vec![with(3)]), None).unwrap();
    assert!(old.has_keys(), "an issuer without keys is not waited for");
    let keeps = |issuer: Issuer| {
        let new = Issuers::build(&config(vec![issuer]), Some(&old)).unwrap();
        new.find_introspector(&rules()).is_some_and(|new| Arc::ptr_eq(new, old.find_introspector(&rules()).unwrap()))
    };
    assert!(keeps(with(3)));
    assert!(!keeps(with(4)));
    let stricter = Arc::new(IssuerRules { required_claims: vec!["org".into()], ..rules() });
    assert!(!keeps(Issuer { rules: stricter, ..with(3) }));
    assert!(!keeps(issuer(KeySource::Discovery, 600)));
}

#[test]
fn a_key_file_is_read_anew_with_each_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.json");
    let write = |kid: &str| std::fs::write(&path, json!({"keys": [Signer::new(Algorithm::EdDSA).jwk(kid)]}).to_string()).unwrap();
    let config = config(vec![issuer(KeySource::File(path.clone()), 600)]);
    let kid = |issuers: &Issuers| issuers.find(&rules())?.current()?.keys().first()?.kid().map(str::to_owned);
    write("a");
    let old = Issuers::build(&config, None).unwrap();
    assert_eq!(kid(&old).as_deref(), Some("a"));
    assert!(old.has_keys());
    write("b");
    assert_eq!(kid(&Issuers::build(&config, Some(&old)).unwrap()).as_deref(), Some("b"));
    for text in ["", "{}", r#"{"keys":[]}"#] {
        std::fs::write(&path, text).unwrap();
        assert!(matches!(Issuers::build(&config, Some(&old)), Err(BuildError::File { .. })), "{text}");
    }
    std::fs::remove_file(&path).unwrap();
    let error = Issuers::build(&config, Some(&old)).unwrap_err().to_string();
    assert!(error.contains("keys.json") && error.contains("`corp`"), "{error}");
}
