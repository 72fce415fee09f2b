//! What an access token says (RFC 9068 §2.2), before it is signed.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Person;
use crate::principal::{Principal, Proof};
use crate::token::marks::AFTER;

/// `typ` (RFC 9068 §2.1).
pub const TYPE: &str = "at+jwt";

/// Claims that are ours to set. SECURITY: what a login says can never stand in their place.
const RESERVED: [&str; 27] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "client_id",
    "azp",
    "scope",
    "scp",
    "sid",
    "cnf",
    "act",
    "may_act",
    "auth_time",
    "acr",
    "amr",
    "groups",
    "nonce",
    "at_hash",
    "c_hash",
    "s_hash",
    "events",
    "typ",
    "token_use",
    AFTER,
];

/// For whom a token speaks.
#[derive(Clone, Copy, Debug)]
pub enum Speaker<'a> {
    Person(&'a Person),
    /// The client itself.
    Client,
    /// Somebody that a trusted issuer vouches for.
    Foreign {
        subject: &'a str,
        /// Who acts for the subject (RFC 8693 §4.1).
        actor: Option<&'a Value>,
        claims: &'a Map<String, Value>,
    },
}

/// An access token, for one resource.
#[derive(Clone, Copy, Debug)]
pub struct AccessToken<'a> {
    pub issuer: &'a str,
    pub audience: &'a str,
    pub client_id: &'a str,
    pub speaker: Speaker<'a>,
    pub scopes: &'a [String],
    /// In seconds since 1970.
    pub issued: u64,
    pub expires: u64,
    pub id: &'a str,
    /// The grant that it comes from, by which it can be ended.
    pub session: Option<&'a str>,
    /// The thumbprint of the key that it is bound to (RFC 9449 §6.1).
    pub binding: Option<&'a str>,
    /// The number of the last change that the store holds: what is revoked by a later one is revoked for this token, and
    /// nothing else is.
    pub after: u64,
}

impl AccessToken<'_> {
    pub fn subject(&self) -> &str {
        match self.speaker {
            Speaker::Person(person) => &person.subject,
            // RFC 9068 §2.2: a machine's subject is its own id, and policy tells it from people by that.
            Speaker::Client => self.client_id,
            Speaker::Foreign { subject, .. } => subject,
        }
    }

    pub fn claims(&self) -> Value {
        let mut claims = Map::new();
        match self.speaker {
            Speaker::Person(person) => {
                add(&mut claims, &person.claims);
                let texts = [("name", &person.name), ("email", &person.email), ("acr", &person.acr)];
                claims.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text.as_ref()?)))));
                if person.authenticated > 0 {
                    claims.insert("auth_time".into(), json!(person.authenticated));
                }
                if !person.groups.is_empty() {
                    claims.insert("groups".into(), json!(person.groups));
                }
            }
            Speaker::Client => {}
            Speaker::Foreign { actor, claims: others, .. } => {
                add(&mut claims, others);
                claims.extend(actor.map(|actor| ("act".to_owned(), actor.clone())));
            }
        }
        let own = [
            ("iss", json!(self.issuer)),
            ("sub", json!(self.subject())),
            ("aud", json!(self.audience)),
            ("client_id", json!(self.client_id)),
            ("scope", json!(self.scopes.join(" "))),
            ("iat", json!(self.issued)),
            ("exp", json!(self.expires)),
            ("jti", json!(self.id)),
            (AFTER, json!(self.after)),
        ];
        claims.extend(own.map(|(name, value)| (name.to_owned(), value)));
        claims.extend(self.session.map(|session| ("sid".to_owned(), json!(session))));
        claims.extend(self.binding.map(|thumbprint| ("cnf".to_owned(), json!({ "jkt": thumbprint }))));
        Value::Object(claims)
    }

    /// The caller that it will prove.
    pub fn principal(&self) -> Principal {
        let groups = match self.speaker {
            Speaker::Person(person) => person.groups.clone(),
            Speaker::Client | Speaker::Foreign { .. } => Vec::new(),
        };
        Principal::new(Proof {
            issuer: Arc::from(self.issuer),
            subject: self.subject().to_owned(),
            client: Some(self.client_id.to_owned()),
            scopes: self.scopes.to_vec(),
            groups,
            claims: Map::new(),
        })
    }
}

fn add(claims: &mut Map<String, Value>, others: &Map<String, Value>) {
    let allowed = others.iter().filter(|(name, _)| !RESERVED.contains(&name.as_str()));
    claims.extend(allowed.map(|(name, value)| (name.clone(), value.clone())));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(speaker: Speaker<'_>) -> Value {
        let scopes = ["a".to_owned(), "b".to_owned()];
        AccessToken {
            issuer: "https://gw.example",
            audience: "https://gw.example/files",
            client_id: "c1",
            speaker,
            scopes: &scopes,
            issued: 100,
            expires: 700,
            id: "j",
            session: Some("g"),
            binding: None,
            after: 7,
        }
        .claims()
    }

    #[test]
    fn item_120_an_access_token_says_what_rfc_9068_wants() {
        let person = Person { subject: "alice".into(), groups: vec!["sre".into()], authenticated: 50, ..Person::default() };
        let expected = json!({
            "iss": "https://gw.example", "sub": "alice", "aud": "https://gw.example/files", "client_id": "c1", "scope": "a b",
            "iat": 100, "exp": 700, "jti": "j", "after": 7, "sid": "g", "auth_time": 50, "groups": ["sre"],
        });
        assert_eq!(token(Speaker::Person(&person)), expected);
    }

    #[test]
    fn a_machine_is_its_own_subject() {
        let claims = token(Speaker::Client);
        assert_eq!((&claims["sub"], claims.get("groups"), claims.get("auth_time")), (&json!("c1"), None, None));
    }

    #[test]
    fn what_a_login_says_never_takes_the_place_of_what_we_say() {
        let bad = json!({ "sub": "root", "aud": "x", "scope": "all", "cnf": {}, "sid": "s", "groups": ["admin"], "exp": 9, "after": 99, "tenant": "t1" });
        let Value::Object(bad) = bad else { panic!("an object") };
        let person = Person { subject: "alice".into(), claims: bad.clone(), ..Person::default() };
        for claims in [token(Speaker::Person(&person)), token(Speaker::Foreign { subject: "alice", actor: None, claims: &bad })] {
            assert_eq!(
                (&claims["sub"], &claims["scope"], &claims["exp"], &claims["sid"], &claims["after"]),
                (&json!("alice"), &json!("a b"), &json!(700), &json!("g"), &json!(7))
            );
            assert_eq!((claims.get("cnf"), claims.get("groups"), &claims["tenant"]), (None, None, &json!("t1")));
        }
    }
}
