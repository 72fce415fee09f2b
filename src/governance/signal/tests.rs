use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::*;
use crate::governance::{Bounds, Revocation, Selector};
use crate::token::forge::{self, ISSUER, NOW, Signer, now, with, without};
use crate::token::{Algorithm, IssuerRules};

const TRANSMITTER: &str = "https://tr.example.com";
const US: &str = "https://mcp.example.com/signals";
const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
const DISABLED: &str = "https://schemas.openid.net/secevent/risc/event-type/account-disabled";
const CLIENT: &str = "doorward-login";

fn rules() -> SetRules {
    SetRules {
        transmitter: TRANSMITTER.into(),
        audience: vec![US.into()],
        algorithms: vec![Algorithm::ES256],
        leeway: Duration::from_secs(30),
        max_age: Duration::from_secs(3600),
    }
}

fn mapping() -> Mapping {
    let formats = Formats { iss_sub: true, opaque: true, email: false };
    Mapping { issuers: vec![ISSUER.into()], formats, session_only: false }
}

fn header() -> Value {
    json!({"alg": "ES256", "typ": "secevent+jwt", "kid": "k"})
}

fn alice() -> Value {
    json!({"format": "iss_sub", "iss": ISSUER, "sub": "alice"})
}

fn set(event: &str) -> Value {
    json!({"iss": TRANSMITTER, "aud": US, "iat": NOW - 5, "jti": "s1", "sub_id": alice(), "events": {event: {"event_timestamp": NOW - 20}}})
}

fn told(claims: &Value) -> Result<Told, Fault> {
    told_with(&header(), claims)
}

fn told_with(header: &Value, claims: &Value) -> Result<Told, Fault> {
    let signer = Signer::new(Algorithm::ES256);
    let keys = forge::key_set(&[signer.jwk("k")]);
    let text = signer.token(Algorithm::ES256, header, claims);
    let unproven = rules().read(&text, now())?;
    unproven.prove(keys.find(unproven.key_id(), unproven.algorithm())).cloned()
}

/// What is revoked, in short.
fn revoked(claims: &Value, mapping: &Mapping) -> Vec<Revocation> {
    let told = told(claims).expect("in order");
    told.happenings.iter().flat_map(|happening| mapping.revocations(happening, NOW, &Bounds::default())).collect()
}

fn selectors(claims: &Value, mapping: &Mapping) -> Vec<Selector> {
    revoked(claims, mapping).into_iter().map(|revocation| revocation.selector).collect()
}

fn subject(name: &str) -> Selector {
    Selector::Subject { issuer: ISSUER.into(), subject: name.into() }
}

#[test]
fn item_149_a_session_that_ended_ends_the_tokens_of_its_subject_up_to_the_event() {
    let all = revoked(&set(SESSION_REVOKED), &mapping());
    assert_eq!(all.len(), 1);
    assert_eq!((&all[0].selector, all[0].issued_until), (&subject("alice"), Some(NOW - 20)));
}

#[test]
fn item_149_each_claim_that_is_wrong_is_told_by_its_code() {
    let good = set(SESSION_REVOKED);
    let cases = [
        (with(good.clone(), "iss", json!("https://evil.example")), Fault::Issuer, "invalid_issuer"),
        (with(good.clone(), "iss", json!("https://tr.example.com/")), Fault::Issuer, "invalid_issuer"),
        (without(good.clone(), "iss"), Fault::Issuer, "invalid_issuer"),
        (with(good.clone(), "aud", json!("https://other.example")), Fault::Audience, "invalid_audience"),
        (with(good.clone(), "aud", json!([])), Fault::Audience, "invalid_audience"),
        (with(good.clone(), "aud", json!(7)), Fault::Audience, "invalid_audience"),
        (without(good.clone(), "aud"), Fault::Audience, "invalid_audience"),
        (with(good.clone(), "exp", json!(NOW + 60)), Fault::Claim("exp"), "invalid_request"),
        (with(good.clone(), "sub", json!("alice")), Fault::Claim("sub"), "invalid_request"),
        (without(good.clone(), "iat"), Fault::Claim("iat"), "invalid_request"),
        (with(good.clone(), "iat", json!(NOW + 31)), Fault::Time, "invalid_request"),
        (with(good.clone(), "iat", json!(NOW - 3601)), Fault::Time, "invalid_request"),
        (without(good.clone(), "jti"), Fault::Claim("jti"), "invalid_request"),
        (with(good.clone(), "jti", json!("")), Fault::Claim("jti"), "invalid_request"),
        (with(good.clone(), "jti", json!("j".repeat(1025))), Fault::Claim("jti"), "invalid_request"),
        (without(good.clone(), "events"), Fault::Events, "invalid_request"),
        (with(good.clone(), "events", json!({})), Fault::Events, "invalid_request"),
        (with(good.clone(), "events", json!([SESSION_REVOKED])), Fault::Events, "invalid_request"),
        (with(good.clone(), "events", json!({SESSION_REVOKED: true})), Fault::Events, "invalid_request"),
        (without(good.clone(), "sub_id"), Fault::Subject, "invalid_request"),
        (with(good.clone(), "sub_id", json!("alice")), Fault::Subject, "invalid_request"),
        (with(good.clone(), "sub_id", json!({"format": "iss_sub", "iss": ISSUER})), Fault::Subject, "invalid_request"),
        (with(good.clone(), "sub_id", json!({"format": "opaque", "id": ""})), Fault::Subject, "invalid_request"),
        (with(good.clone(), "sub_id", json!({"format": "opaque", "id": "x".repeat(1025)})), Fault::Subject, "invalid_request"),
        (
            with(good.clone(), "events", json!({SESSION_REVOKED: {"event_timestamp": "soon"}})),
            Fault::Claim("event_timestamp"),
            "invalid_request",
        ),
        (with(good, "toe", json!("then")), Fault::Claim("toe"), "invalid_request"),
    ];
    for (claims, fault, code) in cases {
        assert_eq!((told(&claims), fault.code()), (Err(fault), code), "{claims}");
    }
    let many: serde_json::Map<String, Value> = (0..17).map(|n| (format!("https://x.example/{n}"), json!({}))).collect();
    assert_eq!(told(&with(set(SESSION_REVOKED), "events", json!(many))), Err(Fault::Events));
}

#[test]
fn item_149_no_token_of_another_kind_or_key_passes_for_one() {
    let claims = set(SESSION_REVOKED);
    for typ in ["JWT", "at+jwt", "logout+jwt", "dpop+jwt", ""] {
        assert_eq!(told_with(&with(header(), "typ", json!(typ)), &claims), Err(Fault::Type), "{typ}");
    }
    assert_eq!(told_with(&without(header(), "typ"), &claims), Err(Fault::Type));
    assert!(told_with(&with(header(), "typ", json!("application/secevent+jwt")), &claims).is_ok());
    for alg in ["none", "HS256", "nOnE"] {
        assert_eq!(told_with(&with(header(), "alg", json!(alg)), &claims), Err(Fault::Algorithm), "{alg}");
    }
    assert_eq!(told_with(&with(header(), "alg", json!("RS256")), &claims), Err(Fault::Algorithm));
    assert_eq!(told_with(&with(header(), "kid", json!("other")), &claims), Err(Fault::UnknownKey));
    for (name, member) in [("crit", json!(["exp"])), ("jwk", json!({})), ("x5u", json!("https://evil.example"))] {
        assert_eq!(told_with(&with(header(), name, member), &claims), Err(Fault::Header), "{name}");
    }
}

#[test]
fn item_149_what_it_says_is_not_to_be_had_without_its_signature() {
    let (signer, other) = (Signer::new(Algorithm::ES256), Signer::new(Algorithm::ES256));
    let text = signer.token(Algorithm::ES256, &header(), &set(DISABLED));
    let stranger = forge::key_set(&[other.jwk("k")]);
    let unproven = rules().read(&text, now()).map(|unproven| unproven.prove(stranger.keys().iter().map(|key| &**key)).cloned());
    assert!(matches!(unproven, Ok(Err(Fault::Signature))));
    let (message, _) = text.rsplit_once('.').expect("three parts");
    let unsigned = format!("{message}.");
    let keys = forge::key_set(&[signer.jwk("k")]);
    assert!(matches!(
        rules().read(&unsigned, now()).map(|it| it.prove(keys.keys().iter().map(|key| &**key)).cloned()),
        Ok(Err(Fault::Signature))
    ));
    for text in ["", "x", "a.b.c", message, "{}"] {
        assert!(matches!(rules().read(text, now()).map(drop), Err(Fault::Malformed)), "{text}");
    }
}

#[test]
fn duplicate_members_are_refused_wherever_they_stand() {
    let signer = Signer::new(Algorithm::ES256);
    let twice = set(SESSION_REVOKED).to_string().replace(r#""sub":"alice""#, r#""sub":"bob","sub":"alice""#);
    let encode = |text: &str| {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
    };
    let message = format!("{}.{}", forge::part(&header()), encode(&twice));
    let signature = signer.sign(Algorithm::ES256, message.as_bytes());
    use base64::Engine;
    let text = format!("{message}.{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(signature));
    assert!(matches!(rules().read(&text, now()).map(drop), Err(Fault::Malformed)));
    let body = format!(r#"{{"sub_id":{},"sub_id":{}}}"#, alice(), alice());
    assert_eq!(request(body.as_bytes(), NOW), Err(Fault::Malformed));
}

#[test]
fn a_sender_is_believed_about_its_own_issuers_alone() {
    let foreign = json!({"format": "iss_sub", "iss": "https://other.example", "sub": "alice"});
    assert_eq!(selectors(&with(set(DISABLED), "sub_id", foreign), &mapping()), []);
    let foreign = json!({"format": "jwt_id", "iss": "https://other.example", "jti": "t"});
    assert_eq!(selectors(&with(set(DISABLED), "sub_id", foreign), &mapping()), []);
}

#[test]
fn each_format_names_what_it_is_configured_to_name() {
    let one = |sub_id: Value, mapping: &Mapping| selectors(&with(set(DISABLED), "sub_id", sub_id), mapping);
    let opaque = json!({"format": "opaque", "id": "u1"});
    let email = json!({"format": "email", "email": "Alice@Example.com"});
    let jwt = json!({"format": "jwt_id", "iss": ISSUER, "jti": "t1"});
    let phone = json!({"format": "phone_number", "phone_number": "+1"});
    let aliases = json!({"format": "aliases", "identifiers": [phone, alice(), opaque]});
    assert_eq!(one(opaque, &mapping()), [subject("u1")]);
    assert_eq!(one(email.clone(), &mapping()), []);
    assert_eq!(one(jwt, &mapping()), [Selector::Id { issuer: ISSUER.into(), jti: "t1".into() }]);
    assert_eq!(one(phone, &mapping()), []);
    assert_eq!(one(aliases, &mapping()), [subject("alice"), subject("u1")]);
    let formats = Formats { iss_sub: false, opaque: false, email: true };
    let by_email = Mapping { formats, ..mapping() };
    assert_eq!(one(email, &by_email), [subject("Alice@Example.com"), subject("alice@example.com")]);
    assert_eq!(one(alice(), &by_email), []);
    let legacy = with(
        without(set(DISABLED), "sub_id"),
        "events",
        json!({DISABLED: {"subject": {"subject_type": "iss-sub", "iss": ISSUER, "sub": "alice"}}}),
    );
    assert_eq!(selectors(&legacy, &mapping()), [subject("alice")]);
}

#[test]
fn a_complex_subject_ends_its_session_and_the_earlier_tokens_of_its_person() {
    let session = json!({"format": "opaque", "id": "sid-1"});
    let complex = json!({"format": "complex", "user": alice(), "session": session, "device": {"format": "opaque", "id": "d"}});
    let claims = with(set(SESSION_REVOKED), "sub_id", complex);
    let sid = Selector::Session("sid-1".into());
    assert_eq!(selectors(&claims, &mapping()), [sid.clone(), subject("alice")]);
    let only = Mapping { session_only: true, ..mapping() };
    assert_eq!(selectors(&claims, &only), std::slice::from_ref(&sid));
    // An account that is disabled is disabled in all its sessions.
    let disabled = with(claims.clone(), "events", json!({DISABLED: {}}));
    assert_eq!(selectors(&disabled, &only), [sid.clone(), subject("alice")]);
    let alone = with(claims.clone(), "sub_id", json!({"format": "complex", "session": {"format": "opaque", "id": "sid-1"}}));
    assert_eq!(selectors(&alone, &mapping()), [sid]);
    let device = with(claims, "sub_id", json!({"format": "complex", "device": {"format": "opaque", "id": "d"}}));
    assert_eq!(selectors(&device, &mapping()), []);
    for odd in [
        json!({"format": "complex", "user": "alice"}),
        json!({"format": "complex", "user": {"format": "complex", "user": alice()}}),
        json!({"format": "aliases", "identifiers": []}),
        json!({"format": "aliases", "identifiers": [{"format": "aliases", "identifiers": [alice()]}]}),
        json!({"format": 7}),
        json!({}),
    ] {
        assert_eq!(told(&with(set(SESSION_REVOKED), "sub_id", odd.clone())), Err(Fault::Subject), "{odd}");
    }
}

#[test]
fn no_event_reaches_beyond_the_moment_its_token_was_made() {
    let until = |event: Value, change: fn(Value) -> Value| {
        let claims = change(with(set(SESSION_REVOKED), "events", json!({SESSION_REVOKED: event})));
        revoked(&claims, &mapping())[0].issued_until
    };
    let same: fn(Value) -> Value = |claims| claims;
    assert_eq!(until(json!({}), same), Some(NOW - 5));
    assert_eq!(until(json!({"event_timestamp": NOW * 1000}), same), Some(NOW - 5));
    assert_eq!(until(json!({"event_timestamp": 0}), same), Some(0));
    assert_eq!(until(json!({"event_timestamp": NOW as f64 - 30.5}), same), Some(NOW - 31));
    assert_eq!(until(json!({}), |claims| with(claims, "toe", json!(NOW - 9))), Some(NOW - 9));
    // Ahead within the leeway: still not ahead of us.
    assert_eq!(until(json!({"event_timestamp": NOW + 20}), |claims| with(claims, "iat", json!(NOW + 20))), Some(NOW));
}

#[test]
fn what_is_not_known_revokes_nothing_and_a_question_is_answered() {
    let event = |uri: &str| with(set(DISABLED), "events", json!({uri: {}}));
    let near = ["https://evil.example/session-revoked", "session-revoked", &format!("{SESSION_REVOKED}/"), &SESSION_REVOKED.to_uppercase()];
    for uri in near {
        assert_eq!(told(&event(uri)).expect("in order").happenings[0].kind, None, "{uri}");
        assert_eq!(selectors(&event(uri), &mapping()), [], "{uri}");
    }
    let uri = "https://schemas.openid.net/secevent/ssf/event-type/verification";
    let verification = with(event(uri), "sub_id", json!({"format": "opaque", "id": "stream-1"}));
    assert_eq!(told(&verification).expect("in order").happenings[0].kind, Some(Kind::Verification));
    assert_eq!(selectors(&verification, &mapping()), []);
    assert!(told(&without(event(uri), "sub_id")).is_ok());
    for kind in Kind::choices() {
        assert_eq!(Kind::named(kind.name()), Some(kind));
    }
    assert_eq!((Kind::named("logout"), Kind::named("verification")), (None, None));
}

fn logout_claims() -> Value {
    json!({
        "iss": ISSUER, "aud": CLIENT, "iat": NOW - 1, "exp": NOW + 120, "jti": "l1", "sub": "alice", "sid": "sid-1",
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    })
}

fn logout(header: &Value, claims: &Value) -> Result<Told, Fault> {
    let signer = Signer::new(Algorithm::ES256);
    let keys = forge::key_set(&[signer.jwk("k")]);
    let text = signer.token(Algorithm::ES256, header, claims);
    let issuer: IssuerRules = forge::rules();
    let (unproven, _) = LogoutRules { audience: vec![CLIENT.into()] }.read(&text, [&issuer], now())?;
    unproven.prove(keys.keys().iter().map(|key| &**key)).cloned()
}

#[test]
fn a_logout_token_ends_its_session_and_the_earlier_tokens_of_its_subject() {
    let header = json!({"alg": "ES256", "typ": "logout+jwt", "kid": "k"});
    let ends = |claims: &Value, mapping: Mapping| {
        let told = logout(&header, claims).expect("in order");
        mapping.revocations(&told.happenings[0], NOW, &Bounds::default()).into_iter().map(|one| one.selector).collect::<Vec<_>>()
    };
    let sid = Selector::Session("sid-1".into());
    assert_eq!(ends(&logout_claims(), mapping()), [sid.clone(), subject("alice")]);
    assert_eq!(ends(&logout_claims(), Mapping { session_only: true, ..mapping() }), std::slice::from_ref(&sid));
    assert_eq!(ends(&without(logout_claims(), "sub"), mapping()), [sid]);
    assert_eq!(ends(&without(logout_claims(), "sid"), Mapping { session_only: true, ..mapping() }), [subject("alice")]);
    for typ in [json!("JWT"), json!("application/logout+jwt")] {
        assert!(logout(&with(header.clone(), "typ", typ), &logout_claims()).is_ok());
    }
    assert!(logout(&without(header, "typ"), &logout_claims()).is_ok());
}

#[test]
fn a_logout_token_is_refused_for_each_thing_that_is_wrong() {
    let header = json!({"alg": "ES256", "typ": "logout+jwt", "kid": "k"});
    let good = logout_claims();
    let cases = [
        (with(good.clone(), "nonce", json!("n")), Fault::Claim("nonce")),
        (without(without(good.clone(), "sub"), "sid"), Fault::Claim("sub")),
        (with(good.clone(), "sid", json!(7)), Fault::Claim("sid")),
        (with(good.clone(), "sid", json!("")), Fault::Subject),
        (with(good.clone(), "iss", json!("https://evil.example")), Fault::Issuer),
        (with(good.clone(), "aud", json!("another-client")), Fault::Audience),
        (with(good.clone(), "events", json!({})), Fault::Events),
        (with(good.clone(), "events", json!({"http://schemas.openid.net/event/backchannel-logout": 1})), Fault::Events),
        (with(good.clone(), "events", json!({SESSION_REVOKED: {}})), Fault::Events),
        (without(good.clone(), "jti"), Fault::Claim("jti")),
        (without(good.clone(), "iat"), Fault::Claim("iat")),
        (with(good.clone(), "iat", json!(NOW + 60)), Fault::Time),
        (without(good.clone(), "exp"), Fault::Claim("exp")),
        (with(good, "exp", json!(NOW - 31)), Fault::Expired),
    ];
    for (claims, fault) in cases {
        assert_eq!(logout(&header, &claims), Err(fault), "{claims}");
    }
    for typ in ["at+jwt", "secevent+jwt", "dpop+jwt"] {
        assert_eq!(logout(&with(header.clone(), "typ", json!(typ)), &logout_claims()), Err(Fault::Type), "{typ}");
    }
    assert_eq!(logout(&with(header, "alg", json!("none")), &logout_claims()), Err(Fault::Algorithm));
}

#[test]
fn item_148_a_request_names_one_subject_and_ends_what_it_has_until_now() {
    let body = |sub_id: &Value| json!({"sub_id": sub_id, "more": 1}).to_string();
    let happening = request(body(&alice()).as_bytes(), NOW).expect("a request");
    let all = mapping().revocations(&happening, NOW, &Bounds::default());
    assert_eq!((all.len(), &all[0].selector, all[0].issued_until), (1, &subject("alice"), Some(NOW)));
    for wrong in ["", "[]", "{}", r#"{"sub_id":"alice"}"#, r#"{"sub_id":{"format":"iss_sub","sub":"a"}}"#, r#"{"sub":"alice"}"#] {
        assert!(request(wrong.as_bytes(), NOW).is_err(), "{wrong}");
    }
    let why = |sub_id: &Value| mapping().why_not(&request(body(sub_id).as_bytes(), NOW).expect("a request").subject);
    assert_eq!(why(&json!({"format": "iss_sub", "iss": "https://other.example", "sub": "alice"})), Fault::UnknownSubject);
    assert_eq!(why(&json!({"format": "email", "email": "a@b.example"})), Fault::Unmappable);
    assert_eq!(why(&json!({"format": "did", "url": "did:example:1"})), Fault::Unmappable);
}

#[test]
fn a_revocation_of_long_ago_has_left_already() {
    let old = with(set(SESSION_REVOKED), "events", json!({SESSION_REVOKED: {"event_timestamp": 1}}));
    let leaves = revoked(&old, &mapping())[0].leaves.expect("it leaves");
    assert!(UNIX_EPOCH + Duration::from_secs(leaves) < SystemTime::now());
}

const ENDPOINT: &str = "https://mcp.example.com/.doorward/signals/okta/revoke";

fn shown(header: &Value, claims: &Value) -> Result<Shown, Fault> {
    let rules = SenderRules {
        issuer: TRANSMITTER.into(),
        audience: vec![ENDPOINT.into()],
        algorithms: vec![Algorithm::ES256],
        leeway: Duration::from_secs(30),
    };
    let signer = Signer::new(Algorithm::ES256);
    let keys = forge::key_set(&[signer.jwk("k")]);
    let text = signer.token(Algorithm::ES256, header, claims);
    let unproven = rules.read(&text, now())?;
    unproven.prove(keys.find(unproven.key_id(), unproven.algorithm())).cloned()
}

#[test]
fn item_148_a_senders_own_token_is_of_its_type_for_this_endpoint_and_short_lived() {
    let header = json!({"alg": "ES256", "typ": "global-token-revocation+jwt", "kid": "k"});
    let good =
        json!({"iss": TRANSMITTER, "sub": TRANSMITTER, "aud": ENDPOINT, "jti": "r1", "iat": NOW, "nbf": NOW - 300, "exp": NOW + 300});
    let until = UNIX_EPOCH + Duration::from_secs(NOW + 330);
    assert_eq!(shown(&header, &good), Ok(Shown { jti: "r1".into(), until }));
    assert!(shown(&header, &with(good.clone(), "aud", json!(["https://elsewhere.example", ENDPOINT]))).is_ok());
    for typ in ["JWT", "at+jwt", "secevent+jwt"] {
        assert_eq!(shown(&with(header.clone(), "typ", json!(typ)), &good), Err(Fault::Type), "{typ}");
    }
    for (name, value, fault) in [
        ("iss", json!("https://evil.example"), Fault::Issuer),
        ("aud", json!("https://mcp.example.com"), Fault::Audience),
        ("exp", json!(NOW - 31), Fault::Expired),
        ("exp", json!(NOW + 3_600), Fault::Time),
        ("nbf", json!(NOW + 31), Fault::Time),
        ("iat", json!(NOW + 31), Fault::Time),
        ("jti", json!(""), Fault::Claim("jti")),
    ] {
        assert_eq!(shown(&header, &with(good.clone(), name, value.clone())), Err(fault), "{name} {value}");
    }
    for name in ["exp", "jti"] {
        assert_eq!(shown(&header, &without(good.clone(), name)), Err(Fault::Claim(name)));
    }
}
