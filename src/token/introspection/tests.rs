use serde_json::json;

use super::*;
use crate::principal::Kind;
use crate::token::ClaimNames;
use crate::token::forge::{ISSUER, NOW, RESOURCE, Signer, claims, header, now, rules, with, without};
use crate::token::{Algorithm, Basis};

const DEMANDS: AnswerRules = AnswerRules { cache: Duration::from_secs(30), allow_missing_audience: false };

/// A full answer about a live token.
fn active() -> Value {
    with(with(claims(), "active", json!(true)), "token_type", json!("Bearer"))
}

fn judge_by(rules: IssuerRules, demands: AnswerRules, answer: &Value) -> Result<Verified, Error> {
    Answer::parse(answer.to_string().as_bytes()).expect("an answer").verify(&Arc::new(rules), demands, now(), &["org".into()])
}

fn judge(answer: &Value) -> Result<Verified, Error> {
    judge_by(rules(), DEMANDS, answer)
}

fn after(seconds: u64) -> SystemTime {
    now() + Duration::from_secs(seconds)
}

fn until(verified: &Verified) -> SystemTime {
    match verified.basis {
        Basis::Answer { until, .. } => until,
        Basis::Key(_) => panic!("an answer"),
    }
}

#[test]
fn an_answer_proves_what_a_jwt_with_its_claims_would() {
    let verified = judge(&with(active(), "org", json!("acme"))).unwrap();
    let who = &verified.principal;
    assert_eq!((who.issuer(), who.subject(), who.client()), (ISSUER, "alice", Some("inspector")));
    assert_eq!(who.scopes(), ["repo:read", "repo:write"]);
    assert_eq!(who.claim("org"), Some(&json!("acme")));
    assert_eq!((*verified.audience).to_vec(), [RESOURCE]);
    assert_eq!(until(&verified), after(30));
}

#[test]
fn only_a_true_that_is_a_boolean_is_active() {
    for active in ["\"true\"", "1", "null", "[true]", "{\"a\":true}", "\"yes\""] {
        assert_eq!(Answer::parse(format!(r#"{{"active":{active},"sub":"alice"}}"#).as_bytes()), Err(NotAnswer), "{active}");
    }
    for text in
        ["", "true", "[]", "{}", r#"{"Active":true}"#, r#"{"active":false,"active":true}"#, r#"{"active":true,"sub":"a","sub":"b"}"#]
    {
        assert_eq!(Answer::parse(text.as_bytes()), Err(NotAnswer), "{text}");
    }
    assert_eq!(Answer::parse(br#"{"active":false,"sub":"alice"}"#), Ok(Answer::Inactive));
    assert_eq!(Answer::Inactive.verify(&Arc::new(rules()), DEMANDS, now(), &[]).err(), Some(Error::Inactive));
}

#[test]
fn item_23_active_is_not_enough() {
    for (name, value, error) in [
        ("iss", json!("https://evil.example"), Error::Issuer),
        ("iss", json!(format!("{ISSUER}/")), Error::Issuer),
        ("exp", json!(NOW - 31), Error::Expired),
        ("nbf", json!(NOW + 31), Error::NotYet),
        ("iat", json!(NOW + 31), Error::NotYet),
        ("exp", json!("soon"), Error::ClaimType("exp")),
        ("exp", json!(true), Error::ClaimType("exp")),
        ("iss", json!(7), Error::ClaimType("iss")),
        ("aud", json!({"a": 1}), Error::ClaimType("aud")),
        ("aud", json!([RESOURCE, 7]), Error::ClaimType("aud")),
        ("aud", json!(null), Error::ClaimType("aud")),
        ("scope", json!({"a": 1}), Error::ClaimType("scope")),
        ("sub", json!(7), Error::ClaimType("sub")),
        ("sub", json!(""), Error::MissingClaim("subject")),
        ("client_id", json!(["inspector"]), Error::ClaimType("client_id")),
        ("token_type", json!("refresh_token"), Error::Type),
        ("token_type", json!("mac"), Error::Type),
        ("token_type", json!(null), Error::Type),
        ("token_type", json!("DPoP"), Error::Confirmation),
        ("typ", json!("Refresh"), Error::Type),
        ("typ", json!("ID"), Error::Type),
        ("token_use", json!("refresh_token"), Error::Type),
        ("cnf", json!({"jkt": "x"}), Error::Confirmation),
        ("cnf", json!({}), Error::Confirmation),
        ("cnf", json!(null), Error::Confirmation),
    ] {
        assert_eq!(judge(&with(active(), name, value.clone())).err(), Some(error), "{name} {value}");
    }
    assert_eq!(judge(&without(active(), "aud")).err(), Some(Error::MissingClaim("aud")));
    let strict = IssuerRules { required_claims: vec!["org".into()], ..rules() };
    assert_eq!(judge_by(strict, DEMANDS, &active()).err(), Some(Error::MissingClaim("required_claims")));
}

#[test]
fn what_an_issuer_need_not_say_may_be_absent() {
    for name in ["iss", "exp", "iat", "nbf", "token_type", "client_id", "scope", "jti"] {
        assert!(judge(&without(active(), name)).is_ok(), "{name}");
    }
    for kind in ["bearer", "BEARER", "access_token"] {
        assert!(judge(&with(active(), "token_type", json!(kind))).is_ok(), "{kind}");
    }
    assert!(judge(&with(active(), "scope", json!(["repo:read"]))).is_ok_and(|verified| verified.principal.scopes() == ["repo:read"]));
}

#[test]
fn an_answer_is_believed_until_the_cache_ends_or_the_token_does() {
    assert_eq!(until(&judge(&active()).unwrap()), after(30));
    assert_eq!(until(&judge(&with(active(), "exp", json!(NOW + 5))).unwrap()), after(5));
    assert_eq!(until(&judge(&without(active(), "exp")).unwrap()), after(30));
    // Within the leeway it is good for this one request.
    assert!(until(&judge(&with(active(), "exp", json!(NOW - 5))).unwrap()) < now());
}

#[test]
fn a_missing_audience_is_accepted_only_by_the_operators_word_and_another_one_never() {
    let lax = AnswerRules { allow_missing_audience: true, ..DEMANDS };
    let any = |answer: &Value| match judge_by(rules(), lax, answer).unwrap().basis {
        Basis::Answer { any_audience, .. } => any_audience,
        Basis::Key(_) => false,
    };
    assert!(any(&without(active(), "aud")));
    assert!(!any(&active()));
    assert!(!any(&with(active(), "aud", json!([]))));
    assert!(!any(&with(active(), "aud", json!("https://other.example"))));
}

#[test]
fn a_token_without_a_person_speaks_for_its_client_and_a_name_is_no_identifier() {
    let machine = judge(&without(active(), "sub")).unwrap().principal.clone();
    assert_eq!((machine.subject(), machine.kind()), ("inspector", Kind::Client));
    let named = with(without(active(), "sub"), "username", json!("alice"));
    assert_eq!(judge(&named).err(), Some(Error::MissingClaim("subject")));
    let by_name = IssuerRules { claims: ClaimNames { subject: "username".into(), ..ClaimNames::default() }, ..rules() };
    let person = judge_by(by_name, DEMANDS, &named).unwrap().principal.clone();
    assert_eq!((person.subject(), person.kind()), ("alice", Kind::User));
    assert_eq!(judge(&without(without(active(), "sub"), "client_id")).err(), Some(Error::MissingClaim("subject")));
}

#[test]
fn a_signed_jwt_is_told_from_what_only_its_issuer_reads() {
    let jwt = Signer::new(Algorithm::ES256).token(Algorithm::ES256, &header(Algorithm::ES256, "k"), &claims());
    assert_eq!(written(Token::new(&jwt).unwrap()), Written::Jwt(Some(ISSUER.into())));
    assert_eq!(written(Token::new("e30.e30.").unwrap()), Written::Jwt(None));
    assert_eq!(written(Token::new("e30.x.y").unwrap()), Written::Jwt(None));
    for opaque in ["abc", "a.b.c", "ya29.a0Af-H6.x", "e30.e30", "e30.a.b.c.d", "..", "W10.e30.x"] {
        assert_eq!(written(Token::new(opaque).unwrap()), Written::Opaque, "{opaque}");
    }
}

#[test]
fn an_answer_is_never_printed() {
    let answer = Answer::parse(active().to_string().as_bytes()).unwrap();
    assert_eq!(format!("{answer:?}"), "Active(***)");
}
