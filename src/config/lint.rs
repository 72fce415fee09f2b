//! What is legal and probably not meant. Warnings only: `check` shows them, nothing stops for them.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;

use super::report::{At, Report};
use super::resolve::Scopes;
use crate::certificate::Leaf;
use crate::config::Listener;
use crate::policy::matcher::{NamePattern, UriPattern};
use crate::policy::{Condition, Rule};
use crate::route::Route;

const DAY: i64 = 24 * 60 * 60;
/// A certificate with less time than this is told of.
const SOON: i64 = 14 * DAY;

/// Verbs at the head of tool names that change something.
const WRITES: &[&str] = &[
    "add", "apply", "cancel", "close", "create", "delete", "deploy", "drop", "edit", "exec", "execute", "grant", "insert", "kill", "merge",
    "move", "patch", "post", "publish", "push", "put", "remove", "rename", "replace", "revoke", "run", "send", "set", "transfer", "update",
    "upload", "wipe", "write",
];

pub fn plain_http_issuer(at: &At<'_>, report: &mut Report) {
    report.warn(at, "plain http lets anyone on the path forge this issuer's keys", "use https outside of development");
}

pub fn plain_http_upstream(host: &str, at: &At<'_>, report: &mut Report) {
    let hint = "use https, a Unix socket, or a sidecar on loopback";
    report.warn(at, format!("calls go to `{host}` in plain http, with the identity of the caller in them"), hint);
}

pub fn other_host(origin: &str, at: &At<'_>, report: &mut Report) {
    let hint = format!("clients must reach this gateway at `{origin}` too, with a certificate for it");
    report.warn(at, "the resource is at another origin than `public_url`", hint);
}

/// A certificate that ends soon, or has ended: clients will turn away, and doorward serves on.
pub fn expiry(own: &CertificateDer<'_>, file: &str, at: &At<'_>, report: &mut Report) {
    let (Some(leaf), Ok(now)) = (Leaf::read(own), SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)) else { return };
    let left = leaf.not_after - i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let message = match left {
        ..0 => format!("`{file}` has expired"),
        0..SOON => format!("`{file}` expires in {} days", left / DAY),
        _ => return,
    };
    report.warn(at, message, "renew it; the file is read again when it changes");
}

pub fn observe(at: &At<'_>, report: &mut Report) {
    report.warn(at, "the rules of this upstream are recorded and not enforced", "write `enforce` when the audit log shows what you expect");
}

pub fn no_rules(at: &At<'_>, report: &mut Report) {
    report.warn(at, "no rule: every tool, resource and prompt is refused", "name what is allowed under `rules`");
}

/// Upstreams where only certificate-bound tokens pass, behind listeners that see no certificate.
pub fn unreachable_certificates(routes: &[Arc<Route>], listeners: &[Listener], at: &At<'_>, report: &mut Report) {
    let sees = |listener: &Listener| {
        let trusts = listener.trusted.unix || !listener.trusted.networks.is_empty();
        trusts || listener.tls.as_ref().is_some_and(|tls| tls.clients.is_some())
    };
    if listeners.is_empty() || listeners.iter().any(sees) {
        return;
    }
    for route in routes.iter().filter(|route| route.sender.demand.certificate) {
        let message =
            format!("upstream `{}` requires certificates, and no listener asks clients for one: every call is refused", route.name);
        report.mend(at, message, "set `client_ca` at a listener, or `trusted_proxies` for a proxy that sends `Client-Cert`");
    }
}

/// Scopes that are declared, and that no rule asks for, not even by what they imply.
pub fn unused_scopes(scopes: &Scopes, routes: &[Arc<Route>], at: &At<'_>, report: &mut Report) {
    let mut asked: Vec<&str> = Vec::new();
    for rule in routes.iter().flat_map(|route| route.policy.rules()) {
        enough(&rule.conditions, &mut asked);
    }
    for name in scopes.names().filter(|name| !asked.contains(name)) {
        report.warn(&at.key(name), format!("no rule asks for `{name}`"), "remove it, or ask for it in a rule");
    }
}

/// Every scope that is enough somewhere.
fn enough<'r>(conditions: &'r [Condition], asked: &mut Vec<&'r str>) {
    for condition in conditions {
        match condition {
            Condition::Scopes(required) => asked.extend(required.iter().flat_map(|one| &one.satisfied_by).map(String::as_str)),
            Condition::AnyOf(alternatives) => alternatives.iter().for_each(|alternative| enough(alternative, asked)),
            _ => {}
        }
    }
}

/// The rules of one upstream, as they stand to each other.
pub fn rules(rules: &[Rule], at: &At<'_>, report: &mut Report) {
    for (index, rule) in rules.iter().enumerate() {
        let (at, before) = (at.item(index), rules.get(..index).unwrap_or_default());
        if !can_never_decide(rule, before, &at, report) {
            decided_elsewhere(rule, before, &at, report);
        }
        too_wide(rule, &at, report);
        odd_names(rule, &at, report);
    }
}

/// Several names in one text.
fn odd_names(rule: &Rule, at: &At<'_>, report: &mut Report) {
    for (key, patterns) in [("tools", &rule.tools), ("prompts", &rule.prompts)] {
        let odd = patterns.iter().map(NamePattern::as_str).enumerate().filter(|(_, name)| name.contains([' ', ',']));
        for (index, name) in odd {
            let hint = "write several as a list: `[a, b]`";
            report.warn(&at.key(key).item(index), format!("`{name}` is read as one name, with its spaces and commas"), hint);
        }
    }
}

/// All that the rule names is named by rules above it.
fn can_never_decide(rule: &Rule, before: &[Rule], at: &At<'_>, report: &mut Report) -> bool {
    let tools = rule.tools.iter().map(|pattern| covering(before, |rule| covers_name(&rule.tools, pattern)));
    let prompts = rule.prompts.iter().map(|pattern| covering(before, |rule| covers_name(&rule.prompts, pattern)));
    let resources = rule.resources.iter().map(|pattern| covering(before, |rule| covers_uri(&rule.resources, pattern)));
    let covers: Option<Vec<&Rule>> = tools.chain(prompts).chain(resources).collect();
    let Some(first) = covers.as_ref().and_then(|covers| covers.first()) else { return false };
    let message =
        format!("this rule never decides: all it names is decided by rules above, the first of them on line {}", first.place.line);
    report.warn(at, message, "the first rule that names a thing decides; move this rule up, or remove it");
    true
}

/// A single pattern that never decides, or a denial that comes too late for some of what it names.
fn decided_elsewhere(rule: &Rule, before: &[Rule], at: &At<'_>, report: &mut Report) {
    let named = |key: &'static str, patterns: fn(&Rule) -> &[NamePattern], report: &mut Report| {
        for (index, pattern) in patterns(rule).iter().enumerate() {
            let at = at.key(key).item(index);
            if let Some(other) = covering(before, |other| covers_name(patterns(other), pattern)) {
                decided_already(pattern.as_str(), other, &at, report);
            } else if rule.deny
                && let Some((other, first)) = overlapping(before, patterns, pattern)
            {
                let message =
                    format!("`{}` is denied too late: what `{first}` also names is decided on line {}", pattern.as_str(), other.place.line);
                report.warn(&at, message, "the first rule that names a thing decides; put denials first");
            }
        }
    };
    named("tools", |rule| &rule.tools, report);
    named("prompts", |rule| &rule.prompts, report);
    for (index, pattern) in rule.resources.iter().enumerate() {
        if let Some(other) = covering(before, |other| covers_uri(&other.resources, pattern)) {
            decided_already(pattern.as_str(), other, &at.key("resources").item(index), report);
        }
    }
}

fn decided_already(pattern: &str, other: &Rule, at: &At<'_>, report: &mut Report) {
    let message = format!("`{pattern}` is already decided by the rule on line {}", other.place.line);
    report.warn(at, message, "the first rule that names a thing decides; move it up, or remove it");
}

fn covering(before: &[Rule], covers: impl Fn(&Rule) -> bool) -> Option<&Rule> {
    before.iter().find(|rule| covers(rule))
}

fn covers_name(patterns: &[NamePattern], other: &NamePattern) -> bool {
    patterns.iter().any(|pattern| pattern.covers(other))
}

fn covers_uri(patterns: &[UriPattern], other: &UriPattern) -> bool {
    patterns.iter().any(|pattern| pattern.covers(other))
}

/// An allowing rule above that names something of what `pattern` names, and by which of its own.
fn overlapping<'r>(before: &'r [Rule], patterns: fn(&Rule) -> &[NamePattern], pattern: &NamePattern) -> Option<(&'r Rule, &'r str)> {
    let allowing = before.iter().filter(|rule| !rule.deny);
    let firsts = allowing.flat_map(|rule| patterns(rule).iter().map(move |first| (rule, first)));
    firsts.filter(|(_, first)| first.meets(pattern)).map(|(rule, first)| (rule, first.as_str())).next()
}

/// A wildcard that lets more through than was probably meant.
fn too_wide(rule: &Rule, at: &At<'_>, report: &mut Report) {
    if rule.deny {
        return;
    }
    let names = rule.tools.iter().chain(&rule.prompts).filter(|pattern| !pattern.is_exact()).map(NamePattern::as_str);
    let uris = rule.resources.iter().map(UriPattern::as_str).filter(|pattern| pattern.contains('*'));
    if rule.conditions.is_empty() {
        if let Some(wildcard) = names.chain(uris).next() {
            let message = format!("`{wildcard}` is open to everyone with a valid token");
            report.warn(at, message, "add a condition such as `scopes`, or name things one by one");
        }
        return;
    }
    let write = rule.tools.iter().find(|pattern| !pattern.is_exact() && may_write(pattern));
    if let Some(pattern) = write.filter(|_| !asks_for_scope(&rule.conditions)) {
        let message = format!("`{}` matches tools that change things, and no scope is asked for", pattern.as_str());
        report.warn(at, message, "add `scopes`, so that a person grants it and a client can ask for it");
    }
}

fn may_write(pattern: &NamePattern) -> bool {
    WRITES.iter().any(|verb| pattern.meets(&NamePattern::new(format!("{verb}_*"))) && !pattern.as_str().starts_with("*_"))
}

/// Whether every way through the conditions asks for a scope.
fn asks_for_scope(conditions: &[Condition]) -> bool {
    conditions.iter().any(|condition| match condition {
        Condition::Scopes(_) => true,
        Condition::AnyOf(alternatives) => alternatives.iter().all(|alternative| asks_for_scope(alternative)),
        _ => false,
    })
}
