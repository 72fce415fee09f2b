//! Did the person log in well enough, and lately enough (RFC 9470)?
//!
//! Looks at `acr` and `auth_time` of the verified token; time comes in as a value. Knows no header.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::principal::Principal;

/// How far in the future an `auth_time` may lie: clocks differ.
const AHEAD: Duration = Duration::from_secs(60);

/// What a login must be. Empty demands nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Authentication context classes, one of which the login must have had. Empty: any.
    pub acr: Vec<String>,
    /// The oldest that the login may be.
    pub max_age: Option<Duration>,
}

/// A login that did not do, and all that is needed of the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepUp<'a> {
    pub acr: Vec<&'a str>,
    pub max_age: Option<Duration>,
    /// All scopes that the rule asks for, to be asked for in the same breath.
    pub scopes: Vec<&'a str>,
    /// One of them is missing too.
    pub lacks_scope: bool,
}

impl Demand {
    /// A claim that is absent or of another type is a demand not met.
    pub fn is_met(&self, who: &Principal, now: SystemTime) -> bool {
        self.has_class(who) && self.max_age.is_none_or(|most| age(who, now).is_some_and(|age| age <= most))
    }

    pub fn has_class(&self, who: &Principal) -> bool {
        self.acr.is_empty() || who.claim("acr").and_then(Value::as_str).is_some_and(|class| self.acr.iter().any(|one| one == class))
    }

    pub(super) fn acr(&self) -> Option<Vec<&str>> {
        (!self.acr.is_empty()).then(|| self.acr.iter().map(String::as_str).collect())
    }

    pub(super) fn claims(&self) -> Vec<&str> {
        let class = (!self.acr.is_empty()).then_some("acr");
        class.into_iter().chain(self.max_age.map(|_| "auth_time")).collect()
    }
}

/// How long ago the person logged in; none where the token does not say, or says something impossible.
pub fn age(who: &Principal, now: SystemTime) -> Option<Duration> {
    let seconds = who.claim("auth_time")?.as_f64()?;
    let login = SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
    match now.duration_since(login) {
        Ok(age) => Some(age),
        Err(ahead) => (ahead.duration() <= AHEAD).then_some(Duration::ZERO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::Proof;
    use serde_json::json;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(10_000)
    }

    fn who(claims: Value) -> Principal {
        Principal::new(Proof { subject: "alice".into(), claims: claims.as_object().cloned().unwrap_or_default(), ..Proof::default() })
    }

    #[test]
    fn item_35_a_login_is_fresh_up_to_its_age_and_not_a_second_longer() {
        let demand = Demand { max_age: Some(Duration::from_secs(300)), ..Demand::default() };
        for (auth_time, met) in
            [(json!(9_700), true), (json!(9_699), false), (json!(9_699.5), false), (json!(10_000), true), (json!(0), false)]
        {
            assert_eq!(demand.is_met(&who(json!({"auth_time": auth_time})), now()), met, "{auth_time}");
        }
    }

    #[test]
    fn a_login_of_no_time_or_an_impossible_one_is_not_fresh() {
        let demand = Demand { max_age: Some(Duration::MAX), ..Demand::default() };
        for claims in
            [json!({}), json!({"auth_time": "9900"}), json!({"auth_time": null}), json!({"auth_time": -1}), json!({"auth_time": [9900]})]
        {
            assert!(!demand.is_met(&who(claims.clone()), now()), "{claims}");
        }
        assert!(demand.is_met(&who(json!({"auth_time": 10_060})), now()));
        assert!(!demand.is_met(&who(json!({"auth_time": 10_061})), now()), "a login of the future");
        assert!(!demand.is_met(&who(json!({"auth_time": 1e300})), now()));
    }

    #[test]
    fn item_35_a_class_is_compared_exactly() {
        let demand = Demand { acr: vec!["urn:x:mfa".into(), "gold".into()], ..Demand::default() };
        for (acr, met) in [
            (json!("gold"), true),
            (json!("urn:x:mfa"), true),
            (json!("GOLD"), false),
            (json!(["gold"]), false),
            (json!("gold urn:x:mfa"), false),
        ] {
            assert_eq!(demand.is_met(&who(json!({"acr": acr})), now()), met, "{acr}");
        }
        assert!(!demand.is_met(&who(json!({})), now()));
    }
}
