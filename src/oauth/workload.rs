//! As which client does a workload come that shows a JWT of its platform: a Kubernetes service account, a SPIFFE identity?

use std::time::Duration;

use serde_json::Value;

use super::assertion::{self, Flaw, Moment};
use crate::policy::matcher::NamePattern;
use crate::principal::lookup;
use crate::token::{Algorithm, Unverified};

/// What is demanded of one platform's JWTs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadRules {
    pub issuer: String,
    /// What stands in `aud`, alone: our issuer, unless the operator says otherwise.
    pub audiences: Vec<String>,
    pub algorithms: Vec<Algorithm>,
    pub leeway: Duration,
    /// Read from the top; the first that fits decides.
    pub rules: Vec<WorkloadRule>,
}

/// Which workloads, and what they get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadRule {
    /// `sub`, exact or with `*` for any text.
    pub subject: NamePattern,
    /// Claims by dotted path, with the texts of which each must be one.
    pub claims: Vec<(String, Vec<String>)>,
    /// The client that they come as.
    pub client: String,
    pub upstreams: Option<Vec<String>>,
    pub scopes: Vec<String>,
}

impl WorkloadRules {
    /// The rule for this JWT, whose signature nobody has looked at.
    ///
    /// # Errors
    /// What is wrong with it, or that no rule names it.
    pub fn judge(&self, jwt: &Unverified<'_>, at: Moment) -> Result<&WorkloadRule, Flaw> {
        if !assertion::is_untyped(jwt.kind()) || assertion::is_of_another_kind(jwt.kind()) {
            return Err("the assertion is a JWT of another kind");
        }
        if jwt.issuer() != self.issuer || !self.algorithms.contains(&jwt.algorithm()) {
            return Err("the assertion is signed by an algorithm that is not accepted of its issuer");
        }
        let audiences: Vec<&str> = self.audiences.iter().map(String::as_str).collect();
        if !assertion::is_for(jwt, &audiences) {
            return Err("the assertion is for another audience");
        }
        assertion::expires(jwt, Moment { leeway: self.leeway, ..at })?;
        let subject = assertion::text(jwt, "sub").ok_or("the assertion has no `sub`")?;
        let holds = |(path, values): &(String, Vec<String>)| {
            lookup(jwt.claims(), path).and_then(Value::as_str).is_some_and(|said| values.iter().any(|value| value == said))
        };
        let fits = |rule: &&WorkloadRule| rule.subject.matches(subject) && rule.claims.iter().all(holds);
        self.rules.iter().find(fits).ok_or("no rule names this workload")
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

    fn rules() -> WorkloadRules {
        let rule = |subject: &str, claims: Vec<(String, Vec<String>)>, client: &str| WorkloadRule {
            subject: NamePattern::new(subject),
            claims,
            client: client.into(),
            upstreams: None,
            scopes: vec!["a".into()],
        };
        WorkloadRules {
            issuer: "https://cluster.example".into(),
            audiences: vec!["https://gw.example".into()],
            algorithms: assertion::algorithms(),
            leeway: Duration::from_secs(30),
            rules: vec![
                rule("system:serviceaccount:prod:*", vec![("env.tier".into(), vec!["gold".into()])], "gold"),
                rule("system:serviceaccount:prod:batch", vec![], "batch"),
            ],
        }
    }

    fn judge(kind: Option<&str>, change: impl FnOnce(&mut Value)) -> Result<String, Flaw> {
        let mut claims = json!({
            "iss": "https://cluster.example", "sub": "system:serviceaccount:prod:batch", "aud": ["https://gw.example"],
            "exp": NOW + 3000, "iat": NOW,
        });
        change(&mut claims);
        let mut header = json!({ "alg": "RS256" });
        if let Some(kind) = kind {
            header["typ"] = json!(kind);
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}.c2ln", part(&header), part(&claims));
        let jwt = Unverified::parse(&text).map_err(|_| "no JWT")?;
        let at = Moment { now: SystemTime::UNIX_EPOCH + Duration::from_secs(NOW), leeway: Duration::ZERO };
        rules().judge(&jwt, at).map(|rule| rule.client.clone())
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        assert_eq!(judge(None, |_| {}).as_deref(), Ok("batch"));
        assert_eq!(judge(Some("JWT"), |claims| claims["env"] = json!({ "tier": "gold" })).as_deref(), Ok("gold"));
        assert!(judge(None, |claims| claims["sub"] = json!("system:serviceaccount:dev:batch")).is_err());
        assert!(judge(None, |claims| claims["sub"] = json!("system:serviceaccount:prod:batch2")).is_err());
    }

    #[test]
    fn item_140_an_identity_assertion_is_no_workload_and_neither_is_what_is_for_another() {
        for kind in [assertion::IDENTITY, "at+jwt", "dpop+jwt", "odd+jwt"] {
            assert!(judge(Some(kind), |_| {}).is_err(), "{kind}");
        }
        assert!(judge(None, |claims| claims["aud"] = json!(["https://gw.example", "https://x.example"])).is_err());
        assert!(judge(None, |claims| claims["aud"] = json!("https://x.example")).is_err());
        assert!(judge(None, |claims| claims["iss"] = json!("https://x.example")).is_err());
        assert!(judge(None, |claims| claims["exp"] = json!(NOW - 31)).is_err());
    }
}
