//! A token was refused: what should the operator change at the provider? Never told to a client.
//!
//! The texts stand in the table of profiles; here is only which of them fits, and how often it is said.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::profile::PLAIN;
use crate::config::{Config, Mistake, Profile};
use crate::route::Route;
use crate::token::{Error, Form, IssuerRules, Token, Unverified};

/// How long the same advice is not said again.
const PAUSE: Duration = Duration::from_secs(60);
/// Pieces of advice that are remembered as said: more than any configuration has of upstreams, issuers and mistakes in use.
const REMEMBERED: usize = 10_000;

/// One line for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The issuer's key in the configuration; empty where it cannot be told.
    pub issuer: String,
    pub mistake: Mistake,
    pub text: &'static str,
}

impl Advice {
    /// For a refused token of this route; none where the provider is not what is wrong.
    pub fn of(error: Error, token: Token<'_>, route: &Route, config: &Config) -> Option<Self> {
        let mistake = mistake(error, token.form())?;
        let rules = issuer(token, route);
        let known = rules.and_then(|rules| config.issuers.get(&rules.name));
        let profile: &Profile = known.map_or(&PLAIN, |issuer| issuer.profile);
        Some(Self { issuer: rules.map(|rules| rules.name.clone()).unwrap_or_default(), mistake, text: profile.advice(mistake) })
    }
}

fn mistake(error: Error, form: Form) -> Option<Mistake> {
    match (error, form) {
        (Error::NotJwt | Error::Algorithm | Error::Header | Error::Type, Form::Jwe) => Some(Mistake::Encrypted),
        (Error::NotJwt, Form::Opaque) => Some(Mistake::Opaque),
        (Error::Audience, _) => Some(Mistake::WrongAudience),
        (Error::MissingClaim("aud"), _) => Some(Mistake::NoAudience),
        (Error::MissingClaim(_), _) => Some(Mistake::NoClaim),
        (Error::IdToken, _) => Some(Mistake::IdToken),
        (Error::Type | Error::ClaimValue, _) => Some(Mistake::Kind),
        (Error::Issuer, _) => Some(Mistake::Issuer),
        (Error::Algorithm, Form::Jws) => Some(Mistake::Algorithm),
        _ => None,
    }
}

/// Whose token it seems to be: an upstream's only issuer, or the one that the token claims.
fn issuer<'r>(token: Token<'_>, route: &'r Route) -> Option<&'r Arc<IssuerRules>> {
    match route.issuers.as_slice() {
        [only] => Some(only),
        several => {
            let claimed = Unverified::parse(token.as_str()).ok()?;
            several.iter().find(|rules| *rules.issuer == *claimed.issuer())
        }
    }
}

/// Says each advice at most once a minute, however often strangers give cause for it.
#[derive(Default)]
pub struct Advisor {
    said: Mutex<HashMap<Said, Instant>>,
}

/// Upstream, issuer and mistake.
type Said = (Arc<str>, String, Mistake);

impl Advisor {
    /// Whether this advice for this upstream is due at `now`.
    pub fn is_due(&self, upstream: &Arc<str>, advice: &Advice, now: Instant) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (upstream.clone(), advice.issuer.clone(), advice.mistake);
        if said.get(&key).is_some_and(|before| now.saturating_duration_since(*before) < PAUSE) {
            return false;
        }
        if said.len() >= REMEMBERED {
            said.clear();
        }
        said.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_a_token_tells_what_was_meant() {
        let rows = [
            (Error::NotJwt, "abc", Some(Mistake::Opaque)),
            (Error::NotJwt, "a.b.c.d.e", Some(Mistake::Encrypted)),
            (Error::Algorithm, "a.b.c.d.e", Some(Mistake::Encrypted)),
            (Error::Algorithm, "a.b.c", Some(Mistake::Algorithm)),
            (Error::NotJwt, "a.b.c", None),
            (Error::MissingClaim("aud"), "a.b.c", Some(Mistake::NoAudience)),
            (Error::MissingClaim("sub"), "a.b.c", Some(Mistake::NoClaim)),
            (Error::Expired, "a.b.c", None),
            (Error::Signature, "a.b.c", None),
            (Error::KeysUnavailable, "a.b.c", None),
        ];
        for (error, text, expected) in rows {
            assert_eq!(mistake(error, Token::new(text).expect("a token").form()), expected, "{error:?} {text}");
        }
    }

    #[test]
    fn the_same_advice_is_said_once_a_minute_and_another_at_once() {
        let (advisor, begin) = (Advisor::default(), Instant::now());
        let advice = |mistake| Advice { issuer: "corp".into(), mistake, text: "" };
        let upstream: Arc<str> = "files".into();
        assert!(advisor.is_due(&upstream, &advice(Mistake::Opaque), begin));
        assert!(!advisor.is_due(&upstream, &advice(Mistake::Opaque), begin + PAUSE / 2));
        assert!(advisor.is_due(&upstream, &advice(Mistake::Issuer), begin));
        assert!(advisor.is_due(&"crm".into(), &advice(Mistake::Opaque), begin));
        assert!(advisor.is_due(&upstream, &advice(Mistake::Opaque), begin + PAUSE));
    }
}
