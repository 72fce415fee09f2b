//! Who may tell of sessions and accounts that have ended, how, and by which secret?

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Context, issuers, quantity, web};
use crate::config::document::{list, near_miss};
use crate::config::raw::signals::{EVENTS, RawLogout, RawPoll, RawPush, RawRevoke, RawRevokeJwt, RawSignal, SUBJECTS};
use crate::config::raw::{DurationText, Keyed, Strings};
use crate::config::report::At;
use crate::config::{Events, Issuer, KeySource, Logout, Poll, Secret, Signal, SignalEndpoint, Transmitter, profile};
use crate::governance::Acceptance;
use crate::governance::signal::{Formats, Kind, LogoutRules, Mapping, SenderRules, SetRules};
use crate::route::{Rate, Route};
use crate::token::IssuerRules;

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
/// Revocations are kept for no longer.
const OLDEST: Duration = Duration::from_secs(90 * 24 * 3600);
const WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
const RATE: Rate = Rate { count: 200, per: Duration::from_secs(1) };

/// What the section is resolved beside.
pub struct Beside<'a> {
    pub public_url: Option<&'a str>,
    pub issuers: &'a BTreeMap<String, Arc<Issuer>>,
    pub routes: &'a [Arc<Route>],
    pub has_store: bool,
}

impl Beside<'_> {
    /// In the order of the file.
    pub fn resolve(&self, raw: Option<Keyed<RawSignal>>, at: &At<'_>, context: &mut Context<'_>) -> Vec<Arc<Signal>> {
        let Some(Keyed(raw)) = raw else { return Vec::new() };
        if raw.is_empty() {
            context.report.mend(at, "nobody is named who sends signals", "name one, or remove the key");
        } else if !self.has_store {
            let hint = "add `store: sqlite:doorward.db`, or a PostgreSQL database for several replicas";
            context.report.mend(at, "signals revoke tokens, and there is no `store` to keep revocations in", hint);
        }
        let mut paths: Vec<(String, String)> = Vec::new();
        raw.into_iter().filter_map(|(name, raw)| self.signal(&name, raw, &mut paths, &at.key(&name), context).map(Arc::new)).collect()
    }

    fn signal(
        &self,
        name: &str,
        raw: RawSignal,
        paths: &mut Vec<(String, String)>,
        at: &At<'_>,
        context: &mut Context<'_>,
    ) -> Option<Signal> {
        let RawSignal {
            issuers,
            transmitter,
            audience,
            metadata_url,
            jwks_uri,
            jwks_file,
            algorithms,
            events,
            subjects,
            allow_session_only,
            max_age,
            leeway,
            accept_new_keys,
            keys,
            allow_http,
            rate,
            push,
            poll,
            revoke,
            logout,
        } = raw;
        if push.is_none() && poll.is_none() && revoke.is_none() && logout.is_none() {
            let hint = "name at least one of `push`, `poll`, `revoke` and `logout`";
            context.report.missing(at, "there is no way for its signals to come in", hint);
        }
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) || name.starts_with('.') {
            context.report.mend(at, format!("`{name}` is part of a path"), "write letters, digits, `-`, `_` and `.` alone");
        }
        let allow_http = allow_http.unwrap_or(false);
        let heard = push.is_some() || poll.is_some();
        let signed = heard || revoke.as_ref().is_some_and(|revoke| revoke.jwt.is_some());
        let issuers = self.issuers(issuers, at, context);
        let subjects = formats(subjects, &at.key("subjects"), context);
        let source = issuers::key_source(metadata_url, jwks_uri, jwks_file, allow_http, at, context);
        let algorithms = issuers::accepted_algorithms(algorithms, &profile::PLAIN, &at.key("algorithms"), context);
        let accepted = accepted(events, &at.key("events"), context);
        let max_age = bounded(max_age, WEEK, OLDEST, "90d", &at.key("max_age"), context);
        let leeway = issuers::accepted_leeway(leeway, &at.key("leeway"), context);
        let times = issuers::key_times(keys, &at.key("keys"), context);
        let accept_new_keys = issuers::acceptance(accept_new_keys, &at.key("accept_new_keys"), context);
        if accept_new_keys != Acceptance::Immediately && (!signed || matches!(source, Some(KeySource::File(_)))) {
            let message = "no keys of this transmitter are fetched, so none can be new";
            context.report.mend(&at.key("accept_new_keys"), message, "remove the key");
        }
        let rate = quantity::rate(rate, &at.key("rate"), &mut context.report).unwrap_or(RATE);
        let (audience, at_audience) = (context.strings(audience, &at.key("audience")), at.key("audience"));
        if heard && audience.is_empty() {
            context.missing_key(at, "audience", "what its event tokens carry in `aud` for us, as agreed with the transmitter");
        } else if !heard && !audience.is_empty() {
            context.report.mend(&at_audience, "no event tokens come in here", "add `push` or `poll`, or remove the key");
        }
        let transmitter = if signed { self.transmitter(transmitter, &issuers, allow_http, at, context) } else { None };
        let of_sender = transmitter.clone().map(|issuer| SenderRules { issuer, audience: vec![], algorithms: algorithms.clone(), leeway });
        let push = push.and_then(|raw| self.push(raw, name, paths, &at.key("push"), context));
        let poll = poll.and_then(|raw| poll_of(raw, allow_http, &at.key("poll"), context));
        let revoke = revoke.and_then(|raw| self.revoke(raw, of_sender, name, paths, &at.key("revoke"), context));
        let logout = logout.and_then(|raw| self.logout(raw, name, &issuers, paths, &at.key("logout"), context));
        let keys_of = |issuer: Arc<str>| Some(Transmitter { issuer, keys: source?, times, allow_http, accept_new_keys });
        let sender = match (signed, transmitter.clone()) {
            (true, transmitter) => Some(keys_of(transmitter?)?),
            (false, _) => None,
        };
        let rules = transmitter.map(|transmitter| SetRules { transmitter, audience, algorithms, leeway, max_age });
        let events = match (heard, rules) {
            (true, rules) => Some(Events { rules: rules?, accepted }),
            (false, _) => None,
        };
        let mapping = Mapping {
            issuers: issuers.iter().map(|rules| rules.issuer.clone()).collect(),
            formats: subjects,
            session_only: allow_session_only.unwrap_or(false),
        };
        Some(Signal { name: name.into(), issuers, mapping, transmitter: sender, events, push, poll, revoke, logout, rate })
    }

    fn issuers(&self, raw: Option<Strings>, at: &At<'_>, context: &mut Context<'_>) -> Vec<Arc<IssuerRules>> {
        if raw.is_none() {
            if context.issuers.len() > 1 {
                context.missing_key(at, "issuers", "with several issuers: those whose tokens it may end");
            }
            return self.issuers.values().map(|issuer| issuer.rules.clone()).collect();
        }
        let at = &at.key("issuers");
        let known: Vec<&str> = self.issuers.keys().map(String::as_str).collect();
        let mut all = Vec::new();
        for (index, name) in context.strings(raw, at).iter().enumerate() {
            match self.issuers.get(name) {
                Some(issuer) => all.push(issuer.rules.clone()),
                // A faulty issuer is told at its own place.
                None if context.issuers.contains(name) => {}
                None => {
                    let hint = near_miss(name, &known).unwrap_or_else(|| format!("the issuers are {}", list(&known)));
                    context.report.mend(&at.item(index), format!("unknown issuer `{name}`"), hint);
                }
            }
        }
        all
    }

    fn transmitter(
        &self,
        raw: Option<String>,
        issuers: &[Arc<IssuerRules>],
        allow_http: bool,
        at: &At<'_>,
        context: &mut Context<'_>,
    ) -> Option<Arc<str>> {
        let here = at.key("transmitter");
        match (raw, issuers) {
            (Some(text), _) => issuers::identifier_is_sound(&text, allow_http, &here, context).then(|| text.into()),
            (None, [only]) => Some(only.issuer.clone()),
            (None, []) => None,
            (None, _) => {
                context.missing_key(at, "transmitter", "with several issuers: the `iss` of its event tokens");
                None
            }
        }
    }

    fn push(
        &self,
        raw: RawPush,
        name: &str,
        paths: &mut Vec<(String, String)>,
        at: &At<'_>,
        context: &mut Context<'_>,
    ) -> Option<SignalEndpoint> {
        let RawPush { path, token_file, token_env, allow_no_token } = raw;
        let path = self.path(path, format!("/.doorward/signals/{name}"), paths, at, context);
        let token = match (allow_no_token.unwrap_or(false), token_file.is_some() || token_env.is_some()) {
            (true, false) => None,
            (true, true) => {
                context.report.mend(&at.key("allow_no_token"), "a token is named, and not asked for", "keep one of the two");
                return None;
            }
            (false, _) => Some(token(token_file, token_env, "; or write `allow_no_token: true`", at, context)?),
        };
        Some(SignalEndpoint { path: path?, token, jwt: None })
    }

    fn revoke(
        &self,
        raw: RawRevoke,
        sender: Option<SenderRules>,
        name: &str,
        paths: &mut Vec<(String, String)>,
        at: &At<'_>,
        context: &mut Context<'_>,
    ) -> Option<SignalEndpoint> {
        let RawRevoke { path, token_file, token_env, jwt } = raw;
        let path = self.path(path, format!("/.doorward/signals/{name}/revoke"), paths, at, context);
        let Some(RawRevokeJwt { audience }) = jwt else {
            let token = token(token_file, token_env, "; or write `jwt: {}`, for a sender that signs", at, context)?;
            return Some(SignalEndpoint { path: path?, token: Some(token), jwt: None });
        };
        if token_file.is_some() || token_env.is_some() {
            context.report.mend(&at.key("jwt"), "a bearer token is named too", "a sender proves itself in one way; keep one of the two");
        }
        let named = audience.is_some();
        let audience = context.strings(audience, &at.key("jwt").key("audience"));
        let own = || Some(vec![format!("{}{}", self.public_url?, path.as_ref()?)]);
        let audience = if named { audience } else { own()? };
        Some(SignalEndpoint { path: path?, token: None, jwt: Some(SenderRules { audience, ..sender? }) })
    }

    fn logout(
        &self,
        raw: RawLogout,
        name: &str,
        issuers: &[Arc<IssuerRules>],
        paths: &mut Vec<(String, String)>,
        at: &At<'_>,
        context: &mut Context<'_>,
    ) -> Option<Logout> {
        let RawLogout { path, audience } = raw;
        let path = self.path(path, format!("/.doorward/signals/{name}/logout"), paths, at, context);
        let audience = context.strings(audience, &at.key("audience"));
        if audience.is_empty() {
            context.missing_key(at, "audience", "the client ids that people log in with");
        }
        let without = |rules: &&Arc<IssuerRules>| self.issuers.get(&rules.name).is_some_and(|issuer| issuer.keys == KeySource::Nowhere);
        if let Some(rules) = issuers.iter().find(without) {
            let message = format!("logout tokens are signed, and of issuer `{}` no key is used (`introspection.only`)", rules.name);
            context.report.mend(at, message, "name other `issuers` here, or remove `logout`");
        }
        Some(Logout { path: path?, rules: LogoutRules { audience } })
    }

    /// A path that nothing else has.
    fn path(
        &self,
        raw: Option<String>,
        default: String,
        paths: &mut Vec<(String, String)>,
        at: &At<'_>,
        context: &mut Context<'_>,
    ) -> Option<String> {
        let here = if raw.is_some() { at.key("path") } else { at.clone() };
        let path = raw.unwrap_or(default);
        if let Some(fault) = web::path_fault(&path) {
            context.report.mend(&here, format!("`{path}` {fault}"), "write it as clients send it: `/signals/okta`");
            return None;
        }
        if let Some((_, other)) = paths.iter().find(|(taken, _)| *taken == path) {
            context.report.mend(&here, format!("`{path}` is already the path of `{other}`"), "each has a path of its own");
            return None;
        }
        let place = self.public_url.map(|origin| format!("{origin}{path}"));
        if let Some(route) = self.routes.iter().find(|route| place.as_deref() == Some(route.resource.trim_end_matches('/'))) {
            context.report.mend(&here, format!("`{path}` is the path of upstream `{}`", route.name), "each has a path of its own");
            return None;
        }
        paths.push((path.clone(), at.path.clone()));
        Some(path)
    }
}

fn poll_of(raw: RawPoll, allow_http: bool, at: &At<'_>, context: &mut Context<'_>) -> Option<Poll> {
    let RawPoll { url, token_file, token_env, wait } = raw;
    let wait = bounded(wait, WAIT, LONGEST_WAIT, "5m", &at.key("wait"), context);
    let token = token(token_file, token_env, "", at, context);
    let Some(url) = url else {
        context.missing_key(at, "url", "the `endpoint_url` of the stream");
        return None;
    };
    let here = at.key("url");
    let parsed = web::url(&url, &here, &mut context.report)?;
    if parsed.scheme() == "http" && !web::is_loopback(&parsed) && !allow_http {
        let hint = "use https; `allow_http: true` beside `poll` accepts the risk, for development";
        context.report.mend(&here, "plain http lets anyone on the path hold signals back", hint);
        return None;
    }
    Some(Poll { url, token: token?, wait })
}

/// A secret in exactly one of two ways, which can be a bearer token.
fn token(file: Option<String>, variable: Option<String>, or: &str, at: &At<'_>, context: &mut Context<'_>) -> Option<Secret> {
    let token = context.secret([file, variable], ("token", "bearer token"), or, at)?;
    context.bearer(token)
}

fn formats(raw: Option<Strings>, at: &At<'_>, context: &mut Context<'_>) -> Formats {
    if raw.is_none() {
        return Formats { iss_sub: true, opaque: true, email: false };
    }
    let named = known(raw, SUBJECTS, "format of subjects", at, context);
    let has = |name: &str| named.iter().any(|one| one == name);
    Formats { iss_sub: has("iss_sub"), opaque: has("opaque"), email: has("email") }
}

fn accepted(raw: Option<Strings>, at: &At<'_>, context: &mut Context<'_>) -> Vec<Kind> {
    if raw.is_none() {
        return Kind::choices().collect();
    }
    known(raw, EVENTS, "event", at, context).iter().filter_map(|name| Kind::named(name)).collect()
}

/// Those of the list that there are.
fn known(raw: Option<Strings>, all: &[&str], what: &str, at: &At<'_>, context: &mut Context<'_>) -> Vec<String> {
    let mut named = context.strings(raw, at);
    for (index, name) in named.iter().enumerate().filter(|(_, name)| !all.contains(&name.as_str())) {
        let hint = near_miss(name, all).unwrap_or_else(|| format!("there are {}", list(all)));
        context.report.mend(&at.item(index), format!("unknown {what} `{name}`"), hint);
    }
    named.retain(|name| all.contains(&name.as_str()));
    named
}

fn bounded(raw: Option<DurationText>, default: Duration, most: Duration, text: &str, at: &At<'_>, context: &mut Context<'_>) -> Duration {
    let duration = quantity::duration(raw, default, at, &mut context.report);
    if duration > most {
        context.report.mend(at, format!("this is longer than {text}"), format!("write `{text}` or less"));
    }
    duration
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_that_may_be_named_are_those_that_are_understood() {
        let mut understood: Vec<&str> = Kind::choices().map(Kind::name).collect();
        let mut named = EVENTS.to_vec();
        understood.sort_unstable();
        named.sort_unstable();
        assert_eq!(named, understood);
    }
}
