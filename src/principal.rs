//! The proven caller: who a verified token speaks for, and what it says of them.
//!
//! Knows nothing of tokens, keys or requests. Only [`crate::token`] makes one.

use std::sync::Arc;

use serde_json::{Map, Value};

/// Whether a token speaks for a person or for a machine (RFC 9068 §5: the two must not collide).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    User,
    /// The client acts for itself (client credentials): its `sub` is the client's own id.
    Client,
}

/// The caller that a token proved.
#[derive(Clone, Debug)]
pub struct Principal {
    kind: Kind,
    subject: Box<str>,
    alike: Arc<Alike>,
    /// Seldom any, so it takes no room where there are none.
    claims: Option<Box<Map<String, Value>>>,
}

/// What many callers have in common: one copy of it is enough for all.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Alike {
    issuer: Arc<str>,
    client: Option<String>,
    scopes: Vec<String>,
    groups: Vec<String>,
}

/// What a verified token says of its caller, before it is one.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    pub issuer: Arc<str>,
    pub subject: String,
    pub client: Option<String>,
    pub scopes: Vec<String>,
    pub groups: Vec<String>,
    /// The claims that conditions and identity headers point at; others are not remembered.
    pub claims: Map<String, Value>,
}

impl Principal {
    /// A machine is a caller whose subject is its own client id (RFC 9068 §2.2). A user's rules
    /// and headers never apply to it, whatever its id is spelled like.
    pub(crate) fn new(proof: Proof) -> Self {
        let Proof { issuer, subject, client, scopes, groups, claims } = proof;
        let kind = if client.as_deref() == Some(subject.as_str()) { Kind::Client } else { Kind::User };
        let claims = (!claims.is_empty()).then(|| Box::new(claims));
        Self { kind, subject: subject.into(), alike: Arc::new(Alike { issuer, client, scopes, groups }), claims }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Lets others replace what many callers have in common by one copy of it.
    pub(crate) fn share(&mut self, copy: impl FnOnce(Arc<Alike>) -> Arc<Alike>) {
        self.alike = copy(self.alike.clone());
    }

    /// The issuer identifier, exactly as configured and as the token's `iss`.
    pub fn issuer(&self) -> &str {
        &self.alike.issuer
    }

    /// Unique only together with [`Self::issuer`].
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// `client_id`, `azp` or what the issuer's `claims.client` names.
    pub fn client(&self) -> Option<&str> {
        self.alike.client.as_deref()
    }

    /// As granted, without what they imply.
    pub fn scopes(&self) -> &[String] {
        &self.alike.scopes
    }

    /// The same caller with those of its scopes that are among `ceiling`; none where all of them are.
    pub fn under(&self, ceiling: &[String]) -> Option<Self> {
        if self.scopes().iter().all(|scope| ceiling.contains(scope)) {
            return None;
        }
        let Alike { issuer, client, scopes, groups } = &*self.alike;
        let scopes = scopes.iter().filter(|scope| ceiling.contains(scope)).cloned().collect();
        let alike = Arc::new(Alike { issuer: issuer.clone(), client: client.clone(), scopes, groups: groups.clone() });
        Some(Self { alike, ..self.clone() })
    }

    pub fn groups(&self) -> &[String] {
        &self.alike.groups
    }

    /// A claim by dotted path (`realm_access.roles`); a name that itself holds dots is tried first.
    pub fn claim(&self, path: &str) -> Option<&Value> {
        lookup(self.claims.as_deref()?, path)
    }
}

/// A JSON object, however its members are kept.
pub trait Object {
    /// The value of the member with this name.
    fn member(&self, name: &str) -> Option<&Value>;
}

impl Object for Map<String, Value> {
    fn member(&self, name: &str) -> Option<&Value> {
        self.get(name)
    }
}

/// A member of a claim set by dotted path; a member whose own name holds the dots wins.
pub fn lookup<'a>(claims: &'a impl Object, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.member(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    lookup(claims.member(first)?.as_object()?, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_that_is_its_own_client_is_a_machine() {
        let proof = Proof { subject: "alice".into(), client: Some("alice".into()), ..Proof::default() };
        assert_eq!(Principal::new(proof).kind(), Kind::Client);
    }

    #[test]
    fn a_claim_is_found_by_dotted_path_and_by_its_own_dotted_name() {
        let claims = serde_json::json!({"a": {"b": 1}, "https://x.example/roles": 2});
        let Value::Object(claims) = claims else { panic!("an object") };
        let who = Principal::new(Proof { claims, ..Proof::default() });
        assert_eq!(who.claim("a.b"), Some(&Value::from(1)));
        assert_eq!(who.claim("https://x.example/roles"), Some(&Value::from(2)));
        assert_eq!(who.claim("a.c"), None);
    }
}
