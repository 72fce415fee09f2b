//! Why may they, or why not? The decision on one operation, told for whoever wrote the rules.
//!
//! Pure: the same policy that decides in service is asked, then what it answered is put into words.
//! Reads no token, no file, and prints nothing itself.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::WWW_AUTHENTICATE;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::denial::{Denial, Fault};
use crate::mcp::{Kind, Method, Operation, Target, Thing};
use crate::policy::condition::Unmet;
use crate::policy::step_up::age;
use crate::policy::{Caller, Condition, Policy, Refusal, Rule, StepUp, Why};
use crate::principal::Principal;
use crate::route::{Mode, Route};

/// The use of one thing, as a client would ask for it; none for a template, which is only listed.
pub fn operation<'a>(kind: Kind, name: &'a str, arguments: Option<&'a RawValue>) -> Option<Operation<'a>> {
    let method = match kind {
        Kind::Tool => Method::find("tools/call"),
        Kind::Prompt => Method::find("prompts/get"),
        Kind::Resource => Method::find("resources/read"),
        Kind::Template => None,
    }?;
    Some(Operation { method, target: Target::One(Thing { kind, name: Cow::Borrowed(name) }), arguments })
}

/// A decision and its reasons.
#[derive(Debug)]
pub struct Explanation<'a> {
    /// The rule that decided; none where no rule names the thing.
    rule: Option<&'a Rule>,
    refusal: Option<Refusal<'a>>,
    /// What would have to be otherwise, in the order in which to look.
    missing: Vec<String>,
    nearest: Option<Nearest<'a>>,
    /// The caller's scopes, which a challenge may name again.
    held: Vec<String>,
}

/// The rule that comes closest to an allowance, where another one decided or none did.
#[derive(Clone, Copy, Debug)]
pub enum Nearest<'a> {
    /// It would allow this caller, but an earlier rule names the thing and decides.
    Later(&'a Rule),
    /// It names something that is spelled almost like it.
    Spelling(&'a Rule, &'a str),
}

/// Asks the policy, and finds the reasons.
pub fn explain<'a>(policy: &'a Policy, caller: Caller<'_>, operation: &Operation<'_>) -> Explanation<'a> {
    let refusal = match policy.authorize(caller, operation) {
        Ok(permit) => return Explanation { rule: permit.rule(), refusal: None, missing: vec![], nearest: None, held: vec![] },
        Err(refusal) => refusal,
    };
    let nearest = match refusal.why() {
        Why::NotNamed => spelled_alike(policy, operation),
        Why::UriNotCanonical => None,
        Why::Denied | Why::Scope(_) | Why::StepUp(_) | Why::Unmet(_) => policy.allowing(caller, operation).map(Nearest::Later),
    };
    Explanation {
        rule: refusal.rule(),
        missing: missing(&refusal, caller),
        refusal: Some(refusal),
        nearest,
        held: caller.principal.scopes().into(),
    }
}

fn missing(refusal: &Refusal<'_>, caller: Caller<'_>) -> Vec<String> {
    let who = caller.principal;
    match refusal.why() {
        Why::NotNamed => vec!["a rule that names it".into()],
        Why::Denied => vec!["nothing: this rule denies it to everybody".into()],
        Why::UriNotCanonical => vec!["the plain spelling of the URI: lower-case scheme, no dot segments, no needless escapes".into()],
        Why::Scope(asked) => scopes_missing(refusal.rule(), asked, who),
        Why::StepUp(step) => {
            let mut all = login_missing(step, caller);
            if step.lacks_scope {
                all.extend(scopes_missing(refusal.rule(), &step.scopes, who));
            }
            all
        }
        Why::Unmet(unmet) => vec![needs(unmet, who)],
    }
}

/// Of the scopes that are asked for, those that the caller has neither itself nor by implication.
fn scopes_missing(rule: Option<&Rule>, asked: &[&str], who: &Principal) -> Vec<String> {
    let conditions = rule.map(|rule| rule.conditions.as_slice()).unwrap_or_default();
    let held = |scope: &str| {
        let mut requirements = conditions.iter().filter_map(|condition| match condition {
            Condition::Scopes(required) => Some(required),
            _ => None,
        });
        who.scopes().iter().any(|held| held == scope)
            || requirements
                .any(|all| all.iter().any(|one| one.scope == scope && one.satisfied_by.iter().any(|by| who.scopes().contains(by))))
    };
    asked.iter().filter(|scope| !held(scope)).map(|scope| format!("scope `{scope}`")).collect()
}

/// What the next login must have that this one had not.
fn login_missing(step: &StepUp<'_>, caller: Caller<'_>) -> Vec<String> {
    let mut all = Vec::new();
    let class = caller.principal.claim("acr").and_then(Value::as_str);
    if !step.acr.is_empty() && !class.is_some_and(|class| step.acr.contains(&class)) {
        let wanted = step.acr.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ");
        let has = class.map_or_else(|| "the token has no `acr`".to_owned(), |class| format!("the token has `{class}`"));
        all.push(format!("a login of class {wanted}; {has}"));
    }
    let age = age(caller.principal, caller.now);
    if let Some(most) = step.max_age.filter(|most| age.is_none_or(|age| age > *most)) {
        let seconds = |time: Duration| humantime::format_duration(Duration::from_secs(time.as_secs())).to_string();
        let has = age.map_or_else(|| "the token has no usable `auth_time`".to_owned(), |age| format!("this one is {} old", seconds(age)));
        all.push(format!("a login at most {} old; {has}", seconds(most)));
    }
    all
}

fn needs(unmet: &Unmet<'_>, who: &Principal) -> String {
    let has = |values: &[String]| if values.is_empty() { "none".to_owned() } else { listed(values) };
    match unmet {
        Unmet::Scopes => "scopes".into(),
        Unmet::Groups(wanted) => format!("one of the groups {}; the caller has {}", listed(wanted), has(who.groups())),
        Unmet::Clients => format!("another client than `{}`", who.client().unwrap_or("none")),
        Unmet::Subjects => format!("another person than `{}`", who.subject()),
        Unmet::Claim(path) => match who.claim(path) {
            Some(value) => format!("another value of claim `{path}`; the caller has `{value}`"),
            None => format!("claim `{path}`, which the token does not have"),
        },
        Unmet::StepUp => "a stronger or more recent login, which a machine cannot have".into(),
        Unmet::Source => "another source address".into(),
        Unmet::Argument(name) => format!("argument `{name}` as the rule demands it, or at all"),
        Unmet::AnyOf => "one of the alternatives of `any_of`; none holds in full".into(),
    }
}

/// The exact tool or prompt name that is closest, where it is close enough for a slip.
fn spelled_alike<'a>(policy: &'a Policy, operation: &Operation<'_>) -> Option<Nearest<'a>> {
    let Target::One(thing) = &operation.target else { return None };
    let named = policy.rules().iter().filter(|rule| !rule.deny).flat_map(|rule| {
        let patterns = match thing.kind {
            Kind::Tool => rule.tools.as_slice(),
            Kind::Prompt => rule.prompts.as_slice(),
            Kind::Resource | Kind::Template => &[],
        };
        patterns.iter().filter(|pattern| pattern.is_exact()).map(move |pattern| (rule, pattern.as_str()))
    });
    let scored = named.map(|(rule, name)| (strsim::damerau_levenshtein(name, &thing.name), rule, name));
    scored
        .filter(|(distance, ..)| *distance <= 2)
        .min_by_key(|(distance, ..)| *distance)
        .map(|(_, rule, name)| Nearest::Spelling(rule, name))
}

fn listed(values: &[String]) -> String {
    values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ")
}

impl Explanation<'_> {
    pub fn is_permitted(&self) -> bool {
        self.refusal.is_none()
    }

    /// What the client would hear at this route; none where the call goes through, as it does where the rules are only observed.
    pub fn hears(&self, route: Option<&Route>) -> Option<Response<Bytes>> {
        let fault = Fault::from(self.refusal.as_ref().filter(|_| !observes(route))?);
        let fault = route.map(|route| fault.clone().challenging(route, &self.held)).unwrap_or(fault);
        Some(Denial::from(fault).reply(route))
    }

    /// For programs: the same as the text.
    pub fn to_json(&self, route: Option<&Route>) -> Value {
        let rule = |rule: &Rule| json!({ "name": rule.name, "place": rule.place.to_string() });
        let nearest = self.nearest.map(|nearest| match nearest {
            Nearest::Later(one) => json!({ "rule": rule(one), "why": "later" }),
            Nearest::Spelling(one, name) => json!({ "rule": rule(one), "why": "spelling", "name": name }),
        });
        let hears = self.hears(route).map(|reply| {
            let body: Value = serde_json::from_slice(reply.body()).unwrap_or_default();
            json!({ "status": reply.status().as_u16(), "challenge": challenge(&reply), "body": body })
        });
        json!({
            "permitted": self.is_permitted(),
            "rule": self.rule.map(rule),
            "reason": self.refusal.as_ref().map(|refusal| Denial::from(Fault::from(refusal)).reason()),
            "missing": self.missing,
            "nearest": nearest,
            "mode": if observes(route) { "observe" } else { "enforce" },
            "hears": hears,
        })
    }

    /// For people, a line each.
    pub fn text(&self, route: Option<&Route>) -> String {
        let mut lines = vec![format!("{self}")];
        match self.rule {
            Some(rule) => lines.push(format!("  rule      {} ({})", rule.name, rule.place)),
            None if self.is_permitted() => lines.push("  rule      none is needed: it names nothing".into()),
            None => lines.push("  rule      none names it".into()),
        }
        lines.extend(self.missing.iter().map(|missing| format!("  missing   {missing}")));
        match self.nearest {
            Some(Nearest::Later(rule)) => {
                lines.push(format!(
                    "  nearest   {} ({}) would allow it, but is not asked: the first rule that names it decides",
                    rule.name, rule.place
                ));
            }
            Some(Nearest::Spelling(rule, name)) => lines.push(format!("  nearest   {} ({}) names `{name}`", rule.name, rule.place)),
            None => {}
        }
        if !self.is_permitted() && observes(route) {
            lines.push("  mode      observe: this is recorded, and the call goes through".into());
        }
        if let Some(reply) = self.hears(route) {
            lines.push(format!("  hears     {} {}", reply.status().as_u16(), String::from_utf8_lossy(reply.body())));
            if let Some(challenge) = challenge(&reply) {
                lines.push(format!("            WWW-Authenticate: {challenge}"));
            }
        }
        lines.join("\n")
    }
}

/// The verdict in one word.
impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_permitted() { "permitted" } else { "refused" })
    }
}

fn observes(route: Option<&Route>) -> bool {
    route.is_some_and(|route| route.mode == Mode::Observe)
}

fn challenge(reply: &Response<Bytes>) -> Option<&str> {
    reply.headers().get(WWW_AUTHENTICATE)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::matcher::NamePattern;
    use crate::policy::{Place, Requirement};
    use crate::principal::Proof;
    use std::net::Ipv4Addr;

    fn rule(name: &str, line: usize, tools: &[&str], conditions: Vec<Condition>) -> Rule {
        Rule {
            name: name.into(),
            place: Place { file: "t.yaml".into(), line },
            tools: tools.iter().map(|tool| NamePattern::new(*tool)).collect(),
            prompts: vec![],
            resources: vec![],
            deny: false,
            conditions,
        }
    }

    fn scope(scope: &str, implied_by: &[&str]) -> Requirement {
        let satisfied_by = std::iter::once(scope).chain(implied_by.iter().copied()).map(Into::into).collect();
        Requirement { scope: scope.into(), satisfied_by }
    }

    fn policy() -> Policy {
        Policy::new(vec![
            Rule { deny: true, ..rule("secrets", 1, &["*_secret"], vec![]) },
            rule("reading", 2, &["get_*"], vec![Condition::Scopes(vec![scope("read", &["write"])])]),
            rule("writing", 3, &["create_note"], vec![Condition::Scopes(vec![scope("read", &["write"]), scope("write", &[])])]),
            rule("database", 4, &["drop_database"], vec![Condition::Groups(vec!["sre".into()])]),
            rule("all", 5, &["*_secret", "drop_database"], vec![]),
        ])
    }

    fn text(tool: &str, scopes: &[&str]) -> String {
        let policy = policy();
        let scopes = scopes.iter().map(|one| (*one).into()).collect();
        let who = Principal::new(Proof { subject: "alice".into(), scopes, groups: vec!["dev".into()], ..Proof::default() });
        let caller = Caller { principal: &who, source: Ipv4Addr::LOCALHOST.into(), now: std::time::SystemTime::UNIX_EPOCH };
        let explanation = explain(&policy, caller, &operation(Kind::Tool, tool, None).expect("a call"));
        assert_eq!(explanation.to_json(None)["permitted"], explanation.is_permitted());
        explanation.text(None)
    }

    fn without_answer(text: &str) -> String {
        text.lines().filter(|line| !line.starts_with("  hears")).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_permit_names_its_rule_and_the_client_hears_nothing_of_it() {
        assert_eq!(text("get_note", &["write"]), "permitted\n  rule      reading (t.yaml:2)");
    }

    #[test]
    fn only_scopes_that_are_not_held_or_implied_are_missing() {
        let told = text("create_note", &["read"]);
        assert_eq!(without_answer(&told), "refused\n  rule      writing (t.yaml:3)\n  missing   scope `write`");
        assert!(told.contains("  hears     403 {"), "{told}");
    }

    #[test]
    fn a_rule_that_would_allow_but_comes_too_late_is_named() {
        let told = text("drop_database", &[]);
        assert!(told.contains("missing   one of the groups `sre`; the caller has `dev`"), "{told}");
        assert!(told.contains("nearest   all (t.yaml:5) would allow it, but is not asked"), "{told}");
    }

    #[test]
    fn a_slip_of_the_pen_is_found_and_a_denied_name_is_never_suggested() {
        assert!(text("crate_note", &[]).contains("nearest   writing (t.yaml:3) names `create_note`"));
        assert!(!text("unlike_anything", &[]).contains("nearest"));
    }

    #[test]
    fn a_denial_is_for_everybody() {
        let told = text("my_secret", &["write"]);
        assert!(told.contains("rule      secrets (t.yaml:1)") && told.contains("denies it to everybody"), "{told}");
    }

    #[test]
    fn a_template_cannot_be_asked_for() {
        assert!(operation(Kind::Template, "notes://{space}", None).is_none());
        assert_eq!(operation(Kind::Resource, "notes://a", None).expect("a read").method.name, "resources/read");
    }
}
