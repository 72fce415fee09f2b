//! `doorward check --probe`: what each server really has, against the rules.
//!
//! The comparison is pure; what is asked of the servers is asked by [`crate::remote::listed`].

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::comparison::{Comparison, found, own_token, plain_json};
use super::{Failure, runtime, say};
use crate::config::Config;
use crate::mcp::Kind;
use crate::policy::{Condition, Policy, Rule};
use crate::remote::listed::{Listed, listed};
use crate::route::Route;

/// Of one request to a server.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One upstream: what was found there, or why nothing was.
struct Probed<'a> {
    upstream: &'a str,
    found: Result<Found<'a>, String>,
}

struct Found<'a> {
    /// Everything the server lists, with the rule that decides it.
    things: Vec<(Kind, String, Option<&'a Rule>)>,
    /// Names and patterns of rules that match nothing there.
    idle: Vec<(&'a Rule, &'a str)>,
    /// How the tools differ from what was approved, where they are pinned.
    pinned: Option<Comparison<'a>>,
}

/// Asks every upstream. `strict`: a thing that no rule names is a no as well.
pub fn run(config: &Config, json: bool, strict: bool) -> Result<(), Failure> {
    let runtime = runtime()?;
    let probed: Vec<Probed<'_>> = config.routes.iter().map(|route| runtime.block_on(probe(config, route))).collect();
    if json {
        let told = json!({ "ok": is_well(&probed, strict), "upstreams": probed.iter().map(Probed::to_json).collect::<Vec<_>>() });
        say(&format!("{}\n", plain_json(&told)))?;
    } else {
        say(&probed.iter().map(Probed::text).collect::<Vec<_>>().join("\n"))?;
    }
    if is_well(&probed, strict) { Ok(()) } else { Err(Failure::No) }
}

async fn probe<'a>(config: &Config, route: &'a Route) -> Probed<'a> {
    let found = async {
        let own = own_token(config, route).await?;
        let mut compared = Found::compare(&route.policy, listed(&route.upstream, own.as_ref(), TIMEOUT).await?);
        if let Some(pin) = &route.pin {
            compared.pinned = Some(Comparison::new(pin, &found(route, own.as_ref(), TIMEOUT).await?));
        }
        Ok(compared)
    };
    let found = found.await;
    Probed { upstream: &route.name, found }
}

fn is_well(probed: &[Probed<'_>], strict: bool) -> bool {
    probed.iter().all(|one| match &one.found {
        Ok(found) if found.pinned.as_ref().is_some_and(|pinned| !pinned.is_well() || strict && !pinned.is_same()) => false,
        Ok(found) => found.idle.is_empty() && !(strict && found.things.iter().any(|(_, _, rule)| rule.is_none())),
        Err(_) => false,
    })
}

impl<'a> Found<'a> {
    fn compare(policy: &'a Policy, listed: Listed) -> Self {
        let Listed { tools, prompts, resources, templates } = listed;
        let lists = [(Kind::Tool, tools), (Kind::Prompt, prompts), (Kind::Resource, resources), (Kind::Template, templates)];
        let things: Vec<(Kind, String)> =
            lists.into_iter().flat_map(|(kind, names)| names.into_iter().map(move |name| (kind, name))).collect();
        let mut idle = Vec::new();
        for rule in policy.rules() {
            let tools = rule.tools.iter().filter(|pattern| !things.iter().any(|(kind, name)| *kind == Kind::Tool && pattern.matches(name)));
            let prompts =
                rule.prompts.iter().filter(|pattern| !things.iter().any(|(kind, name)| *kind == Kind::Prompt && pattern.matches(name)));
            // A server need not list every resource it serves, so those of rules are not missed here.
            idle.extend(tools.chain(prompts).map(|pattern| (rule, pattern.as_str())));
        }
        let things =
            things.into_iter().map(|(kind, name)| (kind, policy.naming(kind, &name), name)).map(|(kind, rule, name)| (kind, name, rule));
        Self { things: things.collect(), idle, pinned: None }
    }
}

impl Probed<'_> {
    fn text(&self) -> String {
        let mut text = format!("{}\n", self.upstream);
        match &self.found {
            Err(why) => {
                let _ = writeln!(text, "  could not be asked: {why}");
            }
            Ok(Found { things, idle, pinned }) => {
                let rows: Vec<[String; 5]> = things.iter().map(row).collect();
                let mut widths = [0; 4];
                for row in &rows {
                    widths.iter_mut().zip(row).for_each(|(width, cell)| *width = (*width).max(cell.chars().count()));
                }
                for row in &rows {
                    let [kind, name, rule, scopes, who] = row;
                    let [a, b, c, d] = widths;
                    let line = format!("  {kind:a$}  {name:b$}  {rule:c$}  {scopes:d$}  {who}");
                    let _ = writeln!(text, "{}", line.trim_end());
                }
                for (rule, pattern) in idle {
                    let _ = writeln!(text, "  {} ({}) names `{}`, which matches nothing there", rule.name, rule.place, shown(pattern));
                }
                let unnamed = things.iter().filter(|(_, _, rule)| rule.is_none()).count();
                let _ = writeln!(
                    text,
                    "  {} listed, {unnamed} that no rule names, {} names of rules without a match",
                    things.len(),
                    idle.len()
                );
                text.push_str(&pinned.as_ref().map(Comparison::text).unwrap_or_default());
            }
        }
        text
    }

    fn to_json(&self) -> Value {
        let place = |rule: &Rule| json!({ "name": rule.name, "place": rule.place.to_string() });
        match &self.found {
            Err(why) => json!({ "upstream": self.upstream, "error": why }),
            Ok(Found { things, idle, pinned }) => {
                let thing = |(kind, name, rule): &(Kind, String, Option<&Rule>)| {
                    json!({
                        "kind": word(*kind),
                        "name": name,
                        "rule": rule.map(place),
                        "deny": rule.map(|rule| rule.deny),
                        "scopes": rule.map(|rule| rule.scopes()),
                        "who": rule.map(who),
                    })
                };
                json!({
                    "upstream": self.upstream,
                    "things": things.iter().map(thing).collect::<Vec<_>>(),
                    "pinned": pinned.as_ref().map(Comparison::to_json),
                    "unmatched": idle.iter().map(|(rule, pattern)| json!({ "rule": place(rule), "name": pattern })).collect::<Vec<_>>(),
                })
            }
        }
    }
}

fn row((kind, name, rule): &(Kind, String, Option<&Rule>)) -> [String; 5] {
    let name = shown(name);
    match rule {
        None => [word(*kind).into(), name, "-".into(), "-".into(), "nobody: no rule names it".into()],
        Some(rule) if rule.deny => [word(*kind).into(), name, rule.place.to_string(), "-".into(), "nobody: denied".into()],
        Some(rule) => {
            let scopes = rule.scopes();
            let scopes = if scopes.is_empty() { "-".into() } else { scopes.join(" ") };
            [word(*kind).into(), name, rule.place.to_string(), scopes, who(rule)]
        }
    }
}

/// A server's text may not move the operator's cursor.
fn shown(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Tool => "tool",
        Kind::Prompt => "prompt",
        Kind::Resource => "resource",
        Kind::Template => "template",
    }
}

/// Whom the rule lets in, besides asking for scopes.
fn who(rule: &Rule) -> String {
    if rule.deny {
        return "nobody".into();
    }
    let all: Vec<String> = rule.conditions.iter().filter_map(demand).collect();
    if all.is_empty() { "anyone".into() } else { all.join(", ") }
}

fn demand(condition: &Condition) -> Option<String> {
    Some(match condition {
        Condition::Scopes(_) => return None,
        Condition::Groups(groups) => format!("groups {}", groups.join("|")),
        Condition::Clients(patterns) => format!("clients {}", patterns.iter().map(|one| one.as_str()).collect::<Vec<_>>().join("|")),
        Condition::Subjects(patterns) => format!("subjects {}", patterns.iter().map(|one| one.as_str()).collect::<Vec<_>>().join("|")),
        Condition::Claim { path, .. } => format!("claim {path}"),
        Condition::Source(networks) => format!("from {}", networks.iter().map(ToString::to_string).collect::<Vec<_>>().join("|")),
        Condition::StepUp(_) => "a login that is recent or strong enough".into(),
        Condition::Arguments(_) => "with these arguments".into(),
        Condition::AnyOf(alternatives) => {
            let one = |all: &Vec<Condition>| {
                let words = all.iter().map(|one| match one {
                    Condition::Scopes(required) => {
                        format!("scopes {}", required.iter().map(|one| one.scope.as_str()).collect::<Vec<_>>().join(" "))
                    }
                    other => demand(other).unwrap_or_default(),
                });
                words.collect::<Vec<_>>().join(" and ")
            };
            alternatives.iter().map(one).collect::<Vec<_>>().join(" or ")
        }
    })
}
