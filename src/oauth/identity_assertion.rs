//! Does a trusted identity provider say that this client may act for this person (ID-JAG §4.4.1, enterprise-managed authorization)?

use std::time::Duration;

use serde_json::{Map, Value};

use super::assertion::{self, Flaw, IDENTITY, Moment};
use crate::token::{Algorithm, Binding, Unverified};

/// What is demanded of one provider's assertions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityRules {
    pub issuer: String,
    /// What its subjects begin with here, so that no other login can make the same.
    pub prefix: String,
    pub algorithms: Vec<Algorithm>,
    pub leeway: Duration,
    /// An assertion is taken once.
    pub single_use: bool,
    /// Upstreams that it may let people into; none is all.
    pub upstreams: Option<Vec<String>>,
    /// Scopes that it may give; none is all.
    pub scopes: Option<Vec<String>>,
}

/// A well-formed assertion for us, whose signature nobody has looked at.
pub struct IdentityAssertion<'a> {
    pub jwt: Unverified<'a>,
    /// As it is called here.
    pub subject: String,
    pub client_id: String,
    pub id: String,
    /// In seconds since 1970.
    pub expires: u64,
    /// `resource`, as it stands there; none where the provider leaves it to the request.
    pub resources: Option<Vec<String>>,
    pub scopes: Option<Vec<String>>,
    /// The thumbprint of the key that the client must prove (RFC 9449).
    pub binding: Option<[u8; 32]>,
    /// Who acts for the person.
    pub actor: Option<Value>,
    /// What else tokens carry: when and how the person signed in, and by what address.
    pub claims: Map<String, Value>,
}

/// Claims that are passed on as they are.
const PASSED: [&str; 2] = ["email", "name"];

impl<'a> IdentityAssertion<'a> {
    /// # Errors
    /// What is wrong with it.
    pub fn read(jwt: Unverified<'a>, rules: &IdentityRules, issuer: &str, at: Moment) -> Result<Self, Flaw> {
        if jwt.kind() != IDENTITY {
            return Err("the assertion is no identity assertion");
        }
        if jwt.issuer() != rules.issuer || !rules.algorithms.contains(&jwt.algorithm()) {
            return Err("the assertion is signed by an algorithm that is not accepted of its issuer");
        }
        if !assertion::is_for(&jwt, &[issuer]) {
            return Err("the assertion is for another authorization server");
        }
        let expires = assertion::expires(&jwt, at)?;
        if jwt.time("iat").ok().flatten().is_none() {
            return Err("the assertion has no `iat`");
        }
        let id = assertion::id(&jwt)?.to_owned();
        let subject = assertion::text(&jwt, "sub").ok_or("the assertion has no `sub`")?;
        let client_id = assertion::text(&jwt, "client_id").ok_or("the assertion names no client")?.to_owned();
        // Details of an authorization that nobody here understands would be lost (RFC 9396 §5).
        if jwt.claims().contains_key("authorization_details") {
            return Err("the assertion has `authorization_details`, which are not understood here");
        }
        let binding = Binding::read(jwt.claims()).map_err(|_| "the assertion is bound to what is not known here")?;
        if binding.certificate.is_some() {
            return Err("the assertion is bound to a certificate");
        }
        let resources = match jwt.claims().get("resource") {
            None => None,
            Some(Value::String(one)) => Some(vec![one.clone()]),
            Some(Value::Array(all)) => Some(
                all.iter()
                    .map(|one| one.as_str().map(str::to_owned))
                    .collect::<Option<Vec<_>>>()
                    .ok_or("`resource` of the assertion is malformed")?,
            ),
            Some(_) => return Err("`resource` of the assertion is malformed"),
        };
        let scopes =
            assertion::text(&jwt, "scope").map(|text| text.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect());
        let actor = jwt.claims().get("act").filter(|actor| actor.is_object()).cloned();
        let passed = PASSED.iter().filter_map(|name| Some(((*name).to_owned(), Value::from(assertion::text(&jwt, name)?))));
        let claims = passed.collect();
        let subject = format!("{}{subject}", rules.prefix);
        Ok(Self { subject, client_id, id, expires, resources, scopes, binding: binding.key, actor, claims, jwt })
    }

    /// Which of the scopes of a resource it gives: those that it names, the operator lets it give, and the client asks for.
    ///
    /// # Errors
    /// None of those that are asked for.
    pub fn granted(&self, rules: &IdentityRules, of_resource: &[String], asked: Option<&[String]>) -> Result<Vec<String>, Flaw> {
        let within = |list: Option<&[String]>, scope: &String| list.is_none_or(|list| list.contains(scope));
        let named = self.scopes.as_deref().unwrap_or(of_resource);
        let given = named.iter().filter(|scope| of_resource.contains(scope) && within(rules.scopes.as_deref(), scope));
        let granted: Vec<String> = given.filter(|scope| within(asked, scope)).cloned().collect();
        let wants_some = asked.is_some_and(|asked| !asked.is_empty()) || self.scopes.as_ref().is_some_and(|named| !named.is_empty());
        if granted.is_empty() && wants_some { Err("the assertion gives none of the scopes that are asked for") } else { Ok(granted) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000;
    const HERE: &str = "https://gw.example";

    fn rules() -> IdentityRules {
        IdentityRules {
            issuer: "https://idp.example".into(),
            prefix: "corp|".into(),
            algorithms: assertion::algorithms(),
            leeway: Duration::from_secs(30),
            single_use: true,
            upstreams: None,
            scopes: Some(vec!["a".into(), "b".into()]),
        }
    }

    fn text(kind: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = json!({
            "iss": "https://idp.example", "sub": "alice", "aud": HERE, "client_id": "c1", "jti": "j", "iat": NOW, "exp": NOW + 300,
            "resource": "https://gw.example/files", "scope": "a c",
        });
        change(&mut claims);
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", part(&json!({ "alg": "ES256", "typ": kind })), part(&claims))
    }

    fn read(text: &str) -> Result<IdentityAssertion<'_>, Flaw> {
        let at = Moment { now: SystemTime::UNIX_EPOCH + Duration::from_secs(NOW), leeway: Duration::from_secs(30) };
        IdentityAssertion::read(Unverified::parse(text).map_err(|_| "no JWT")?, &rules(), HERE, at)
    }

    #[test]
    fn item_136_a_good_one_says_who_for_what_and_by_which_client() {
        let text = text(IDENTITY, |_| {});
        let good = read(&text).unwrap_or_else(|flaw| panic!("{flaw}"));
        assert_eq!((good.subject.as_str(), good.client_id.as_str(), good.id.as_str()), ("corp|alice", "c1", "j"));
        assert_eq!(good.resources, Some(vec!["https://gw.example/files".into()]));
        let of_resource = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(good.granted(&rules(), &of_resource, None), Ok(vec!["a".into()]), "what it names and may give");
        assert_eq!(good.granted(&rules(), &of_resource, Some(&["a".into(), "b".into()])), Ok(vec!["a".into()]));
        assert!(good.granted(&rules(), &of_resource, Some(&["b".into()])).is_err(), "what it does not name");
        assert!(good.granted(&rules(), &["b".to_owned()], None).is_err());
    }

    #[test]
    fn item_137_what_is_wrong_with_it_is_refused() {
        type Change = fn(&mut Value);
        let wrong: [(&str, Change); 10] = [
            ("two audiences", |claims| claims["aud"] = json!([HERE, "https://other.example"])),
            ("another audience", |claims| claims["aud"] = json!("https://other.example")),
            ("another issuer", |claims| claims["iss"] = json!("https://evil.example")),
            ("expired", |claims| claims["exp"] = json!(NOW - 31)),
            ("no client", |claims| claims["client_id"] = json!("")),
            ("no subject", |claims| claims["sub"] = json!("")),
            ("no id", |claims| drop(claims.as_object_mut().expect("an object").remove("jti"))),
            ("no time", |claims| drop(claims.as_object_mut().expect("an object").remove("iat"))),
            ("a foreign binding", |claims| claims["cnf"] = json!({ "kid": "x" })),
            ("details", |claims| claims["authorization_details"] = json!([{ "type": "x" }])),
        ];
        for (what, change) in wrong {
            assert!(read(&text(IDENTITY, change)).is_err(), "{what}");
        }
        for kind in ["JWT", "at+jwt", "id-jag+jwt", "OAUTH-ID-JAG"] {
            assert!(read(&text(kind, |_| {})).is_err(), "{kind}");
        }
    }
}
