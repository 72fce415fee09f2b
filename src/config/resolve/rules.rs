//! Rules: what each names, and what must hold.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value;

use super::scopes::Scopes;
use super::{Context, arguments, quantity};
use crate::config::document::near_miss;
use crate::config::lint;
use crate::config::raw::{Keyed, RawConditions, RawRule, RawStepUp, Strings};
use crate::config::report::At;
use crate::oauth::is_scope_token;
use crate::policy::arguments::{Arguments, Equal, Schema};
use crate::policy::matcher::{NamePattern, UriPattern, is_canonical_uri};
use crate::policy::{Condition, Demand, Place, Policy, Rule};

/// The rules of one upstream. `at` is the upstream's own place.
pub fn policy(raw: Option<Vec<RawRule>>, at: &At<'_>, upstream: &str, scopes: &Scopes, context: &mut Context<'_>) -> Policy {
    let here = at.key("rules");
    let Some(raw) = raw.filter(|raw| !raw.is_empty()) else {
        lint::no_rules(at, &mut context.report);
        return Policy::default();
    };
    let mut named = Named::default();
    let mut rules = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let name = format!("{upstream}#{}", index + 1);
        rules.push(rule(raw, name, &here.item(index), scopes, &mut named, context));
    }
    lint::rules(&rules, &here, &mut context.report);
    Policy::new(rules).keeping_back(scopes.kept_back())
}

/// What was named before, and by which rule: `(key, pattern)` → path and line.
#[derive(Default)]
struct Named(HashMap<(&'static str, String), (String, usize)>);

fn rule(raw: RawRule, default_name: String, at: &At<'_>, scopes: &Scopes, named: &mut Named, context: &mut Context<'_>) -> Rule {
    let RawRule {
        name,
        tools,
        resources,
        prompts,
        deny,
        scopes: wanted,
        groups,
        clients,
        subjects,
        claims,
        arguments,
        optional,
        arguments_equal,
        source,
        any_of,
        step_up,
        acr,
    } = raw;
    if name.as_deref().is_some_and(|name| name.trim().is_empty()) {
        context.report.error(&at.key("name"), "an empty text is no name");
    }
    let only_tools = prompts.is_none() && resources.is_none();
    let nothing = tools.is_none() && only_tools;
    let tools = named.new_patterns("tools", tools, at, context);
    let prompts = named.new_patterns("prompts", prompts, at, context);
    let resources = named.new_patterns("resources", resources, at, context);
    for (index, uri) in resources.iter().enumerate().filter(|(_, uri)| !uri.starts_with('*') && !is_canonical_uri(uri)) {
        let hint = "URIs are compared in their plain spelling (RFC 3986 §6.2.2): lower-case scheme, no dots, no needless escapes";
        context.report.mend(&at.key("resources").item(index), format!("`{uri}` can never match"), hint);
    }
    if nothing {
        context.report.missing(at, "the rule names nothing", "name what it is about with `tools`, `resources` or `prompts`");
    }
    let judges_arguments = arguments.is_some() || arguments_equal.is_some();
    if judges_arguments && !only_tools {
        let hint = "only calls of tools have arguments that are judged; give prompts and resources a rule of their own";
        context.report.mend(
            &at.key(if arguments.is_some() { "arguments" } else { "arguments_equal" }),
            "conditions on arguments in a rule that also names prompts or resources",
            hint,
        );
    }

    let raw =
        RawConditions { scopes: wanted, groups, clients, subjects, claims, arguments, optional, arguments_equal, source, step_up, acr };
    let mut conditions = conditions(raw, at, scopes, context);
    conditions.extend(alternatives(any_of, &at.key("any_of"), scopes, context));
    refuse_half_denial(deny, &conditions, at, context);

    Rule {
        name: name.unwrap_or(default_name),
        place: Place { file: at.document.file.clone(), line: at.line() },
        tools: tools.into_iter().map(NamePattern::new).collect(),
        prompts: prompts.into_iter().map(NamePattern::new).collect(),
        resources: resources.into_iter().map(UriPattern::new).collect(),
        deny: deny == Some(true),
        conditions,
    }
}

impl Named {
    /// The first rule that names a thing decides, so a pattern that stands again says nothing.
    fn new_patterns(&mut self, key: &'static str, raw: Option<Strings>, at: &At<'_>, context: &mut Context<'_>) -> Vec<String> {
        let rule = at;
        let at = rule.key(key);
        let all = context.strings(raw, &at);
        for (index, pattern) in all.iter().enumerate() {
            let here = || (rule.path.clone(), rule.line());
            let (path, line) = self.0.entry((key, pattern.clone())).or_insert_with(here);
            if *path != rule.path {
                let hint = "the first rule that names a thing decides; put alternatives into one rule with `any_of`";
                context.report.mend(&at.item(index), format!("`{pattern}` is already decided by the rule on line {line}"), hint);
            }
        }
        all
    }
}

fn refuse_half_denial(deny: Option<bool>, conditions: &[Condition], at: &At<'_>, context: &mut Context<'_>) {
    match deny {
        Some(true) if !conditions.is_empty() => {
            let hint = "the first rule that names a thing decides, so a condition would let nobody through either; remove the conditions, or `deny`";
            context.report.mend(&at.key("deny"), "a rule with `deny` takes no conditions", hint);
        }
        Some(false) => context.report.mend(&at.key("deny"), "`deny: false` says nothing", "remove the key"),
        Some(true) | None => {}
    }
}

fn alternatives(raw: Option<Vec<RawConditions>>, at: &At<'_>, scopes: &Scopes, context: &mut Context<'_>) -> Option<Condition> {
    let raw = raw?;
    if raw.is_empty() {
        context.report.mend(at, "the list is empty", "name alternatives, or remove the key");
    }
    let mut all = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let at = at.item(index);
        let alternative = conditions(raw, &at, scopes, context);
        if alternative.is_empty() {
            context.report.missing(&at, "an alternative without conditions always holds", "give it a condition, or remove it");
        }
        all.push(alternative);
    }
    Some(Condition::AnyOf(all))
}

/// Everything but `any_of`, the cheap before the dear.
fn conditions(raw: RawConditions, at: &At<'_>, known: &Scopes, context: &mut Context<'_>) -> Vec<Condition> {
    let RawConditions { scopes, groups, clients, subjects, claims, arguments, optional, arguments_equal, source, step_up, acr } = raw;
    let mut all = Vec::new();
    if source.is_some() {
        all.push(Condition::Source(networks(source, &at.key("source"), context)));
    }
    if clients.is_some() {
        all.push(Condition::Clients(patterns(clients, &at.key("clients"), context)));
    }
    if subjects.is_some() {
        all.push(Condition::Subjects(patterns(subjects, &at.key("subjects"), context)));
    }
    if groups.is_some() {
        all.push(Condition::Groups(context.strings(groups, &at.key("groups"))));
    }
    for (path, value) in claims.map(|Keyed(pairs)| pairs).into_iter().flatten() {
        let values = claim_values(value, &at.key("claims").key(&path), context);
        all.push(Condition::Claim { path, values });
    }
    if step_up.is_some() || acr.is_some() {
        all.push(Condition::StepUp(demand(step_up, acr, at, context)));
    }
    if let Some(judged) = judged_arguments(arguments, optional, arguments_equal, at, context) {
        all.push(Condition::Arguments(judged));
    }
    if scopes.is_some() {
        let at = at.key("scopes");
        let wanted = context.strings(scopes, &at);
        all.push(Condition::Scopes(known.requirements(wanted, &at, context)));
    }
    all
}

/// `acr` beside `step_up` is the same as within it.
fn demand(step_up: Option<RawStepUp>, acr: Option<Strings>, at: &At<'_>, context: &mut Context<'_>) -> Demand {
    let here = at.key("step_up");
    let (max_age, inner) = match step_up {
        Some(RawStepUp { max_age: None, acr: None }) => {
            context.report.missing(&here, "`step_up` demands nothing", "say `max_age: 5m`, or which `acr`");
            (None, None)
        }
        Some(RawStepUp { max_age, acr }) => (max_age, acr),
        None => (None, None),
    };
    let max_age = max_age.map(|text| quantity::duration(Some(text), Duration::from_secs(300), &here.key("max_age"), &mut context.report));
    let (acr, place) = match (inner, acr) {
        (Some(_), Some(_)) => {
            context.report.mend(&at.key("acr"), "`acr` stands both here and in `step_up`", "write it once");
            return Demand::default();
        }
        (Some(inner), None) => (Some(inner), here.key("acr")),
        (None, outer) => (outer, at.key("acr")),
    };
    let acr = context.strings(acr, &place);
    for (index, class) in acr.iter().enumerate().filter(|(_, class)| !class.is_empty() && !is_scope_token(class)) {
        let hint = "a class has no spaces, quotes or backslashes; write several as a list";
        context.report.mend(&place.item(index), format!("`{class}` is not an authentication context class"), hint);
    }
    Demand { acr, max_age }
}

fn patterns(raw: Option<Strings>, at: &At<'_>, context: &mut Context<'_>) -> Vec<NamePattern> {
    context.strings(raw, at).into_iter().map(NamePattern::new).collect()
}

/// CIDR networks, or single addresses.
pub(super) fn networks(raw: Option<Strings>, at: &At<'_>, context: &mut Context<'_>) -> Vec<IpNet> {
    let mut all = Vec::new();
    for (index, text) in context.strings(raw, at).into_iter().enumerate() {
        match text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
            Ok(network) => all.push(network.trunc()),
            Err(_) => context.report.mend(&at.item(index), format!("`{text}` is not a network"), "write it as `10.0.0.0/8` or `fd00::/8`"),
        }
    }
    all
}

fn claim_values(value: Value, at: &At<'_>, context: &mut Context<'_>) -> Vec<Value> {
    let values = match value {
        Value::Array(values) => values,
        value => vec![value],
    };
    if values.is_empty() {
        context.report.mend(at, "the list is empty", "name the values that are allowed, or remove the claim");
    }
    if values.iter().any(|value| value.is_null() || value.is_object() || value.is_array()) {
        context.report.mend(
            at,
            "a claim is compared with texts, numbers, `true` or `false`",
            "name a member of it by dotted path: `realm_access.roles`",
        );
    }
    values
}

fn judged_arguments(
    schemas: Option<Keyed<Value>>,
    optional: Option<Strings>,
    equal: Option<Keyed<String>>,
    at: &At<'_>,
    context: &mut Context<'_>,
) -> Option<Arguments> {
    let judged = schemas.is_some() || equal.is_some();
    for (key, empty) in [
        ("arguments", schemas.as_ref().is_some_and(|all| all.0.is_empty())),
        ("arguments_equal", equal.as_ref().is_some_and(|all| all.0.is_empty())),
    ] {
        if empty {
            context.report.missing(&at.key(key), "no argument is named here", "name one, or remove the key");
        }
    }
    let raw = schemas.map(|Keyed(pairs)| pairs).unwrap_or_default();
    let optional = optional_arguments(optional, &raw, &at.key("optional"), context);
    let mut schemas = Vec::new();
    for (argument, schema) in raw {
        let at = at.key("arguments").key(&argument);
        if let Some(validator) = arguments::validator(&schema, &at, context) {
            let optional = optional.contains(&argument);
            schemas.push(Schema { argument, validator, optional });
        }
    }
    let equal = equal.map(|Keyed(pairs)| pairs).unwrap_or_default();
    let equal = equal.into_iter().filter_map(|(argument, claim)| equal_to(argument, &claim, &at.key("arguments_equal"), context)).collect();
    judged.then_some(Arguments { schemas, equal })
}

fn optional_arguments(raw: Option<Strings>, schemas: &[(String, Value)], at: &At<'_>, context: &mut Context<'_>) -> Vec<String> {
    let all = context.strings(raw, at);
    let known: Vec<&str> = schemas.iter().map(|(argument, _)| argument.as_str()).collect();
    for (index, argument) in all.iter().enumerate().filter(|(_, argument)| !known.contains(&argument.as_str())) {
        let hint = near_miss(argument, &known)
            .unwrap_or_else(|| "an argument that is not named under `arguments` is free anyway; remove it here".into());
        context.report.mend(&at.item(index), format!("`{argument}` has no schema under `arguments`"), hint);
    }
    all
}

fn equal_to(argument: String, claim: &str, at: &At<'_>, context: &mut Context<'_>) -> Option<Equal> {
    match claim.strip_prefix("claims.").filter(|path| !path.is_empty()) {
        Some(path) => Some(Equal { argument, claim: path.to_owned() }),
        None => {
            let hint = "name a claim of the caller: `claims.tenant_id`; for fixed values use `arguments` with `enum`";
            context.report.mend(&at.key(&argument), format!("`{claim}` is not a claim"), hint);
            None
        }
    }
}
