//! From what a login says to a [`Person`], and who of them may come in.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::LoginError;
use crate::config::login::{Entrance, PersonClaims};
use crate::oauth::Person;
use crate::principal::lookup;

/// What subjects of each login begin with, so that no two logins make the same subject. Those of an OpenID provider
/// stay as they are, and may not begin with one of the others.
pub const PREFIXES: [(&str, &str); 3] = [("oauth2", "oauth2|"), ("application", "application|"), ("accounts", "account|")];

/// Bytes of a subject.
const LONGEST: usize = 256;
/// Groups that are taken over.
const MOST_GROUPS: usize = 500;

/// A person by these claims. `kept` are the paths that tokens carry on.
pub fn person(
    login: &str,
    claims: &Map<String, Value>,
    names: &PersonClaims,
    kept: &[String],
    authenticated: u64,
) -> Result<Person, LoginError> {
    let vouched = vouched(claims);
    let claims = &*vouched;
    let raw = match lookup(claims, &names.subject) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) if number.is_u64() => number.to_string(),
        _ => return Err(LoginError::Subject),
    };
    let text = |path: &str| lookup(claims, path).and_then(Value::as_str).filter(|text| !text.is_empty()).map(cut);
    Ok(Person {
        subject: subject(login, &raw)?,
        name: text(&names.name),
        email: text(&names.email),
        groups: names.groups.iter().find_map(|path| lookup(claims, path)).map(groups).transpose()?.unwrap_or_default(),
        claims: kept.iter().filter_map(|path| Some((path.clone(), lookup(claims, path)?.clone()))).collect(),
        authenticated,
        acr: text("acr"),
        login: login.to_owned(),
        after: None,
    })
}

/// SECURITY: see [`PREFIXES`].
fn subject(login: &str, raw: &str) -> Result<String, LoginError> {
    if raw.is_empty() || raw.len() > LONGEST || raw.chars().any(char::is_control) {
        return Err(LoginError::Subject);
    }
    match PREFIXES.iter().find(|(name, _)| *name == login) {
        Some((_, prefix)) => Ok(format!("{prefix}{raw}")),
        None if PREFIXES.iter().any(|(_, prefix)| raw.starts_with(prefix)) => Err(LoginError::Subject),
        None => Ok(raw.to_owned()),
    }
}

/// SECURITY: never fewer than there are, or a rule that denies a group would not.
fn groups(value: &Value) -> Result<Vec<String>, LoginError> {
    match value {
        Value::String(one) => Ok(vec![cut(one)]),
        Value::Array(all) if all.len() > MOST_GROUPS => Err(LoginError::Answer("names more groups than are read")),
        Value::Array(all) => Ok(all.iter().filter_map(Value::as_str).map(cut).collect()),
        _ => Ok(Vec::new()),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

/// Whether the person is one of those who may come in; `claims` is all that the login says.
pub fn admit(entrance: &Entrance, person: &Person, claims: &Map<String, Value>) -> Result<(), LoginError> {
    if entrance.admits(&person.groups, &vouched(claims)) { Ok(()) } else { Err(LoginError::Entrance) }
}

/// SECURITY: an address that was never shown to be the person's is nobody's.
fn vouched(claims: &Map<String, Value>) -> Cow<'_, Map<String, Value>> {
    if claims.get("email_verified") != Some(&Value::Bool(false)) {
        return Cow::Borrowed(claims);
    }
    let mut claims = claims.clone();
    claims.remove("email");
    Cow::Owned(claims)
}

/// What an application says of a person in its hand-off, or when it is asked again. `authenticated` is what was known before.
///
/// # Errors
/// It names nobody.
pub fn from_application(said: &Map<String, Value>, kept: &[String], authenticated: Option<u64>) -> Result<Person, LoginError> {
    let names = PersonClaims { subject: "subject".into(), name: "name".into(), email: "email".into(), groups: vec!["groups".into()] };
    let mut claims = match said.get("claims") {
        None => Map::new(),
        Some(Value::Object(claims)) => claims.clone(),
        Some(_) => return Err(LoginError::Answer("has `claims` that are no object")),
    };
    for name in ["subject", "name", "email", "groups", "acr"] {
        claims.remove(name);
        if let Some(value) = said.get(name) {
            claims.insert(name.to_owned(), value.clone());
        }
    }
    let authenticated = authenticated.or_else(|| said.get("auth_time")?.as_u64()).unwrap_or(0);
    person("application", &claims, &names, kept, authenticated)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names() -> PersonClaims {
        PersonClaims {
            subject: "sub".into(),
            name: "name".into(),
            email: "email".into(),
            groups: vec!["groups".into(), "realm.roles".into()],
        }
    }

    fn of(login: &str, claims: Value) -> Result<Person, LoginError> {
        person(login, claims.as_object().expect("an object"), &names(), &["tenant".into(), "email".into()], 7)
    }

    #[test]
    fn claims_become_a_person() {
        let said =
            json!({"sub": "alice", "name": "Alice", "email": "a@x", "realm": {"roles": ["sre", 7, "dev"]}, "tenant": {"id": 1}, "x": 1});
        let alice = of("oidc", said).expect("a person");
        assert_eq!((alice.subject.as_str(), alice.name.as_deref(), alice.email.as_deref()), ("alice", Some("Alice"), Some("a@x")));
        assert_eq!(alice.groups, ["sre", "dev"]);
        assert_eq!(Value::Object(alice.claims), json!({"tenant": {"id": 1}, "email": "a@x"}));
        assert_eq!((alice.authenticated, alice.login.as_str()), (7, "oidc"));
    }

    #[test]
    fn s33_a_person_in_more_groups_than_are_read_is_not_taken_for_one_in_fewer() {
        let groups = |count: usize| (0..count).map(|n| format!("g{n}")).collect::<Vec<_>>();
        assert_eq!(of("oidc", json!({"sub": "alice", "groups": groups(MOST_GROUPS)})).expect("a person").groups.len(), MOST_GROUPS);
        let more = of("oidc", json!({"sub": "alice", "groups": groups(MOST_GROUPS + 1)}));
        assert_eq!(more, Err(LoginError::Answer("names more groups than are read")));
    }

    #[test]
    fn no_two_logins_make_the_same_subject() {
        assert_eq!(of("oauth2", json!({"sub": 583231})).expect("a person").subject, "oauth2|583231");
        assert_eq!(of("application", json!({"sub": "alice"})).expect("a person").subject, "application|alice");
        for forged in ["oauth2|583231", "application|alice", "account|1", "", "a\nb", &"x".repeat(257)] {
            assert_eq!(of("oidc", json!({"sub": forged})), Err(LoginError::Subject), "{forged}");
        }
        for nobody in [json!({}), json!({"sub": null}), json!({"sub": ["a"]}), json!({"sub": 1.5}), json!({"sub": -1})] {
            assert_eq!(of("oidc", nobody), Err(LoginError::Subject));
        }
    }

    #[test]
    fn an_address_that_is_not_verified_is_nobodys() {
        let person = of("oidc", json!({"sub": "a", "email": "boss@x", "email_verified": false})).expect("a person");
        assert_eq!((person.email, person.claims.len()), (None, 0));
        assert!(of("oidc", json!({"sub": "a", "email": "a@x", "email_verified": true})).expect("a person").email.is_some());
    }

    #[test]
    fn an_address_that_is_not_verified_lets_nobody_in() {
        let entrance = Entrance { groups: vec![], claims: vec![("email".into(), vec!["boss@x".into()])] };
        for (verified, expected) in [(json!(true), true), (json!(null), true), (json!(false), false)] {
            let claims = json!({"sub": "a", "email": "boss@x", "email_verified": verified});
            let person = of("oidc", claims.clone()).expect("a person");
            assert_eq!(admit(&entrance, &person, claims.as_object().expect("an object")).is_ok(), expected, "{verified}");
        }
    }

    #[test]
    fn only_those_who_may_come_in() {
        let entrance = Entrance { groups: vec!["sre".into()], claims: vec![("hd".into(), vec!["acme.com".into()])] };
        let enters = |claims: Value| {
            let person = of("oidc", claims.clone()).expect("a person");
            admit(&entrance, &person, claims.as_object().expect("an object")).is_ok()
        };
        assert!(enters(json!({"sub": "a", "groups": ["dev", "sre"], "hd": "acme.com"})));
        assert!(enters(json!({"sub": "a", "groups": "sre", "hd": ["x", "acme.com"]})));
        assert!(!enters(json!({"sub": "a", "groups": ["sre"]})));
        assert!(!enters(json!({"sub": "a", "groups": ["sre"], "hd": "acme.com.evil.example"})));
        assert!(!enters(json!({"sub": "a", "groups": ["SRE"], "hd": "acme.com"})));
        assert!(!enters(json!({"sub": "a", "hd": "acme.com"})));
    }

    #[test]
    fn an_application_cannot_overwrite_the_subject_by_a_claim() {
        let said = json!({"subject": "alice", "claims": {"subject": "root", "groups": ["admin"], "tenant": "t"}});
        let person = from_application(said.as_object().expect("an object"), &["tenant".into()], None).expect("a person");
        assert_eq!(person.authenticated, 0, "not said");
        assert_eq!((person.subject.as_str(), person.groups.len()), ("application|alice", 0));
        assert_eq!(Value::Object(person.claims), json!({"tenant": "t"}));
    }
}
