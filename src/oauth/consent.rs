//! Did this person say yes to this client before, to this and no less (RFC 9700 §4.11, MCP Security Best Practices)?
//!
//! A yes is for one person, one client as it was then, one redirect URI, one resource and a set of scopes. It never
//! stands in for another.

use super::authorization::Authorized;
use super::redirect::Place;

/// What a person agreed to, as it was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    pub client_id: String,
    /// The registered one.
    pub redirect_uri: String,
    pub resource: String,
    pub scopes: Vec<String>,
    /// Of what the client said of itself then.
    pub fingerprint: String,
}

impl Given {
    /// What a yes to this request is.
    pub fn to(asked: &Authorized, fingerprint: &str) -> Self {
        Self {
            client_id: asked.client_id.clone(),
            redirect_uri: asked.registered_uri.clone(),
            resource: asked.resource.clone(),
            scopes: asked.scopes.clone(),
            fingerprint: fingerprint.to_owned(),
        }
    }

    /// Whether it is a yes to this request of the client as it is now.
    pub fn covers(&self, asked: &Authorized, fingerprint: &str) -> bool {
        let Self { client_id, redirect_uri, resource, scopes, fingerprint: then } = self;
        *client_id == asked.client_id
            && *redirect_uri == asked.registered_uri
            && *resource == asked.resource
            && *then == fingerprint
            && asked.scopes.iter().all(|scope| scopes.contains(scope))
    }
}

/// Whether a yes from before is enough. A public client behind an address that any program could have is asked for
/// each time (RFC 8252 §8.6, OAuth 2.1 §8.6).
pub fn suffices(given: Option<&Given>, asked: &Authorized, fingerprint: &str, is_public: bool) -> bool {
    let anybodys = is_public && !matches!(Place::of(&asked.redirect_uri), Ok(Place::Web(_)));
    !asked.prompt.consent && !anybodys && given.is_some_and(|given| given.covers(asked, fingerprint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Authorized {
        Authorized {
            client_id: "x".into(),
            redirect_uri: "https://x.example/cb".into(),
            registered_uri: "https://x.example/cb".into(),
            challenge: String::new(),
            resource: "https://gw.example/files".into(),
            upstream: "files".into(),
            scopes: vec!["a".into(), "b".into()],
            offline: true,
            state: None,
            dpop_jkt: None,
            prompt: Default::default(),
            max_age: None,
            acr_values: vec![],
        }
    }

    #[test]
    fn item_111_a_yes_is_to_nothing_else() {
        let given = Given::to(&asked(), "f");
        let enough = |asked: &Authorized, fingerprint| suffices(Some(&given), asked, fingerprint, true);
        assert!(enough(&asked(), "f"));
        assert!(enough(&Authorized { scopes: vec!["b".into()], ..asked() }, "f"), "less is covered");
        assert!(!enough(&asked(), "another"), "the client changed");
        for other in [
            Authorized { client_id: "y".into(), ..asked() },
            Authorized { registered_uri: "https://x.example/cb2".into(), ..asked() },
            Authorized { resource: "https://gw.example/crm".into(), ..asked() },
            Authorized { scopes: vec!["a".into(), "c".into()], ..asked() },
            Authorized { prompt: super::super::authorization::Prompt { consent: true, ..Default::default() }, ..asked() },
        ] {
            assert!(!enough(&other, "f"), "{other:?}");
        }
        assert!(!suffices(None, &asked(), "f", true));
    }

    #[test]
    fn a_public_client_that_any_program_could_be_is_asked_for_each_time() {
        for uri in ["http://127.0.0.1:5/cb", "http://localhost/cb", "http://[::1]/cb", "cursor://x/cb"] {
            let asked = Authorized { redirect_uri: uri.into(), registered_uri: uri.into(), ..asked() };
            let given = Given::to(&asked, "f");
            assert!(!suffices(Some(&given), &asked, "f", true), "{uri}");
            assert!(suffices(Some(&given), &asked, "f", false), "{uri}: its secret says who it is");
        }
    }
}
