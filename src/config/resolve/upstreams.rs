//! Upstreams: one [`Route`] each, complete.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::authorization_server::Owned;
use super::scopes::Scopes;
use super::{Context, Included, dpop, folder, quantity, rules, web};
use crate::config::document::{Document, list, near_miss};
use crate::config::raw::{
    Keyed, RawChallenge, RawChallengeScopes, RawList, RawMode, RawOwnership, RawRouteAudit, RawRouteClients, RawRouteLimits,
    RawServerRequest, RawUnknown, RawUpstream, Strings,
};
use crate::config::report::At;
use crate::config::{Issuer, Seen, lint};
use crate::event::values;
use crate::mcp::ask::Asks;
use crate::oauth::resource_metadata::{self, SenderConstraint};
use crate::policy::Policy;
use crate::route::grant::GrantKind;
use crate::route::{ChallengeScopes, ListMode, Mode, Route, RouteLimits, Sender, Upstream};
use crate::token::dpop::ProofRules;
use crate::token::{Demand, IssuerRules};

mod credential;
mod grant;
mod identity;
mod pin;
mod protocol;
mod reach;

/// What all upstreams lean on.
pub struct Section<'a> {
    pub public_url: Option<&'a str>,
    pub issuers: &'a BTreeMap<String, Arc<Issuer>>,
    /// The issuer here, where `public_url` is sound.
    pub own: Option<&'a Arc<Issuer>>,
    /// Whether tokens are issued here.
    pub issues: bool,
    /// Some clients that make themselves known there may go on at once.
    pub opens: bool,
    pub scopes: &'a Scopes,
    pub dpop: &'a ProofRules,
    /// Whether the section stands in the file.
    pub dpop_offered: bool,
}

/// The files of `upstreams_dir`, sorted by name.
pub fn included(raw: Option<String>, at: &At<'_>, context: &mut Context<'_>) -> Vec<Included> {
    let Some(written) = raw else { return Vec::new() };
    let at = at.key("upstreams_dir");
    let path = Context::path(&at, &written);
    context.files.push(Seen::now(&path));
    let entries = match std::fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) => {
            let message = format!("cannot read the folder `{written}`: {}", super::files::io_words(&error));
            context.report.mend(&at, message, "a relative path starts at the folder of this file");
            return Vec::new();
        }
    };
    // Editors keep hidden files beside the real ones.
    let is_hidden = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let is_yaml = |path: &PathBuf| !is_hidden(path) && path.extension().is_some_and(|end| end == "yaml" || end == "yml");
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(is_yaml).collect();
    paths.sort();
    if paths.is_empty() {
        context.report.mend(&at, format!("no upstream is in the folder `{written}`"), "one file per upstream, such as `github.yaml`");
    }
    paths.iter().filter_map(|path| include(path, context)).collect()
}

fn include(path: &Path, context: &mut Context<'_>) -> Option<Included> {
    let name = path.file_stem()?.to_string_lossy().into_owned();
    let text = context.text(path)?;
    let document = Document::new(&path.display().to_string(), folder(path), &format!("upstreams.{name}"), &text);
    let raw = document.parse(&text, &mut context.report);
    Some(Included { name, document, raw })
}

impl Section<'_> {
    /// All upstreams, those of the main file first.
    pub fn resolve(
        &self,
        raw: Option<Keyed<RawUpstream>>,
        included: &mut [Included],
        at: &At<'_>,
        context: &mut Context<'_>,
    ) -> (Vec<Arc<Route>>, Vec<Owned>) {
        let raw = raw.map(|Keyed(pairs)| pairs).unwrap_or_default();
        if raw.is_empty() && included.is_empty() && !at.key("upstreams_dir").is_there() {
            context.missing_key(
                at,
                "upstreams",
                "the MCP servers behind this door: `upstreams: { files: { path: /mcp, url: http://127.0.0.1:3001/mcp } }`",
            );
        }
        let main = raw.into_iter().map(|(name, raw)| (at.key("upstreams").key(&name), name, Some(raw)));
        let mut all: Vec<(At<'_>, String, Option<RawUpstream>)> = main.collect();
        let raws: Vec<Option<RawUpstream>> = included.iter_mut().map(|file| file.raw.take()).collect();
        all.extend(included.iter().zip(raws).map(|(file, raw)| (At::new(&file.document), file.name.clone(), raw)));

        let mut seen: Vec<(String, At<'_>)> = Vec::new();
        let mut routes: Vec<(Arc<Route>, At<'_>)> = Vec::new();
        let mut owned = Vec::new();
        for (at, name, raw) in all {
            if let Some((_, first)) = seen.iter().find(|(other, _)| *other == name) {
                context.report.error(&at, format!("an upstream `{name}` is already at {}", first.place()));
                continue;
            }
            seen.push((name.clone(), at.clone()));
            let place = if raw.as_ref().is_some_and(|raw| raw.resource.is_some()) { "resource" } else { "path" };
            owned.extend(raw.as_ref().and_then(|raw| owned_here(&name, raw)));
            let Some(route) = raw.and_then(|raw| self.route(&name, raw, &at, context)) else { continue };
            match routes.iter().find(|(other, _)| is_same_place(&other.resource, &route.resource)) {
                Some((other, _)) => {
                    let message = format!("`{}` is already the resource of `{}`", route.resource, other.name);
                    context.report.mend(&at.key(place), message, "every upstream has a path of its own");
                }
                None => routes.push((Arc::new(route), at)),
            }
        }
        (routes.into_iter().map(|(route, _)| route).collect(), owned)
    }

    fn route(&self, name: &str, raw: RawUpstream, at: &At<'_>, context: &mut Context<'_>) -> Option<Route> {
        let RawUpstream {
            name: title,
            path,
            resource,
            url,
            ca_file,
            http2,
            client_certificate,
            health,
            ownership,
            issuers,
            mode,
            list,
            challenge,
            rules,
            identity,
            credential,
            origins,
            limits,
            clients,
            audit,
            require_dpop,
            require_certificate,
            allow_server_requests,
            eras,
            methods,
            extensions,
            allow_missing_param_headers,
            tasks,
            pin,
        } = raw;
        let here = matches!(ownership, Some(RawOwnership::Bridge | RawOwnership::SelfManaged));
        // Who registers itself here is approved first, unless the operator says otherwise.
        let approves_clients = match clients.and_then(|RawRouteClients { unknown }| unknown) {
            Some(RawUnknown::Pending) => true,
            Some(RawUnknown::Allow) => false,
            None => here && !self.opens,
        };
        context.later(at, "tasks", tasks);
        let valid_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if !valid_name || name.is_empty() {
            context.report.mend(
                at,
                format!("`{name}` is not a name for an upstream"),
                "use letters, digits, `-`, `_` and `.`: it becomes a label of metrics",
            );
        }

        let resource = self.resource(path, resource, at, context);
        let issuers = match here {
            true => self.issued_here(issuers, at, context),
            false => self.accepted(issuers, &at.key("issuers"), context),
        };
        self.only_one_is_asked(&issuers, at, context);
        let mode = mode.map_or_else(Mode::default, |mode| resolve_mode(mode, at, context));
        let list = list.map_or_else(ListMode::default, |list| match list {
            RawList::Granted => ListMode::Granted,
            RawList::Acquirable => ListMode::Acquirable,
        });
        let challenge = match challenge.and_then(|RawChallenge { scopes }| scopes) {
            None | Some(RawChallengeScopes::Union) => ChallengeScopes::Union,
            Some(RawChallengeScopes::Required) => ChallengeScopes::Required,
        };
        let policy = rules::policy(rules, at, name, self.scopes, context);
        let first = url.as_ref().and_then(|Strings(urls)| urls.first()).map(String::as_str);
        let credential = credential.map(|raw| credential::resolve(raw, first, &at.key("credential"), context)).unwrap_or_default();
        let identity = identity::rules(identity, credential.header(), &at.key("identity"), context);
        let reach = reach::Section { url, ca_file, http2, client_certificate, health };
        let fixed = credential.fixed;
        let upstream = reach.resolve(at, context).map(|(reach, path)| Upstream { reach: Arc::new(reach), path, credential: fixed });
        let origins = browser_origins(origins, &at.key("origins"), context);
        let limits = route_limits(limits, &at.key("limits"), context);
        let recorded_arguments = recorded(audit, &at.key("audit"), context);
        let exchanged = credential.grant.as_ref().is_some_and(|grant| matches!(grant.kind, GrantKind::Exchange { .. }));
        let pin = pin.and_then(|raw| pin::resolve(raw, name, exchanged, &at.key("pin"), context)).map(Arc::new);
        let sender = dpop::sender(require_dpop, require_certificate, self.dpop, self.dpop_offered);
        let protocol = protocol::Section { eras, methods, extensions, allow_missing_param_headers }.resolve(&policy, at, context);
        let (resource, upstream) = (resource?, upstream?);
        Some(Route {
            name: name.into(),
            metadata_url: resource_metadata::url(&resource),
            metadata: metadata(&resource, &issuers, &policy, self.scopes, title.as_deref().unwrap_or(name), &sender),
            resource,
            issuers,
            policy,
            identity,
            upstream,
            grant: credential.grant,
            mode,
            list,
            challenge,
            origins,
            limits,
            sender,
            pin,
            asks: asks(&allow_server_requests.unwrap_or_default()),
            protocol,
            approves_clients,
            recorded_arguments,
        })
    }

    /// `public_url` and `path`, unless `resource` says otherwise.
    fn resource(&self, path: Option<String>, resource: Option<String>, at: &At<'_>, context: &mut Context<'_>) -> Option<String> {
        if let Some(path) = &path
            && let Some(fault) = web::path_fault(path)
        {
            let hint = "a path is plain: `/github/mcp`";
            context.report.mend(&at.key("path"), format!("`{path}` {fault}"), hint);
            return None;
        }
        match (path, resource) {
            (None, None) => {
                context.missing_key(at, "path", "the path that clients use: `path: /github/mcp`");
                None
            }
            (Some(path), None) => self.public_url.map(|origin| if path == "/" { origin.to_owned() } else { format!("{origin}{path}") }),
            (path, Some(resource)) => self.own_resource(path.as_deref(), resource, &at.key("resource"), context),
        }
    }

    fn own_resource(&self, path: Option<&str>, resource: String, at: &At<'_>, context: &mut Context<'_>) -> Option<String> {
        let url = web::url(&resource, at, &mut context.report)?;
        let origin = url.origin().ascii_serialization();
        let Some(own_path) = resource.strip_prefix(&origin) else {
            context.report.mend(at, format!("`{resource}` is not in its plain spelling"), format!("it begins with `{origin}`"));
            return None;
        };
        let own_path = if own_path.is_empty() { "/" } else { own_path };
        if url.scheme() == "http" && !web::is_loopback(&url) {
            context.report.mend(at, format!("`{resource}` is plain http off loopback, where tokens could be read"), "use https");
        } else if url.query().is_some() {
            context.report.error(at, format!("`{resource}` has a query, which a resource here may not have"));
        } else if let Some(fault) = web::path_fault(own_path) {
            context.report.mend(at, format!("the path of `{resource}` {fault}"), "a path is plain: `/github/mcp`");
        } else if let Some(path) = path.filter(|path| *path != own_path) {
            let hint = "clients ask for the resource at its own path; write the same path in both, or remove `path`";
            context.report.mend(at, format!("`{resource}` has another path than `path: {path}`"), hint);
        } else {
            if self.public_url.is_some_and(|public| public != origin) {
                lint::other_host(&origin, at, &mut context.report);
            }
            return Some(resource);
        }
        None
    }

    /// A token that only its issuer can read does not say who that is; it is never shown to several.
    fn only_one_is_asked(&self, issuers: &[Arc<IssuerRules>], at: &At<'_>, context: &mut Context<'_>) {
        let is_asked = |rules: &&Arc<IssuerRules>| self.issuers.get(&rules.name).is_some_and(|issuer| issuer.introspection.is_some());
        let mut asked = issuers.iter().filter(is_asked).map(|rules| rules.name.as_str());
        if let (Some(first), Some(second)) = (asked.next(), asked.next()) {
            let here = at.key("issuers");
            let here = if here.is_there() { &here } else { at };
            let message =
                format!("`{first}` and `{second}` both have `introspection`, and an opaque token does not say which of them to ask");
            context.report.mend(here, message, "name only one of them in this upstream's `issuers`");
        }
    }

    /// Tokens of the authorization server inside, and no others.
    fn issued_here(&self, raw: Option<Strings>, at: &At<'_>, context: &mut Context<'_>) -> Vec<Arc<IssuerRules>> {
        if raw.is_some() {
            context.report.mend(
                &at.key("issuers"),
                "tokens for this upstream are issued here, and no others are accepted",
                "remove the key",
            );
        }
        if !self.issues {
            let hint = "add the section, or write `hosted`";
            context.report.mend(&at.key("ownership"), "tokens are to be issued here, and there is no `authorization_server`", hint);
        }
        self.own.iter().map(|own| own.rules.clone()).collect()
    }

    fn accepted(&self, raw: Option<Strings>, at: &At<'_>, context: &mut Context<'_>) -> Vec<Arc<IssuerRules>> {
        let rules = |issuer: &Arc<Issuer>| issuer.rules.clone();
        if self.issuers.is_empty() && context.issuers.is_empty() && self.issues {
            let hint = "write `ownership: bridge` or `self_managed`, or name an issuer under `issuers`";
            context.report.mend(at, "nobody issues tokens for this upstream", hint);
        }
        if raw.is_none() {
            return self.issuers.values().map(rules).collect();
        }
        let known: Vec<&str> = self.issuers.keys().map(String::as_str).collect();
        let mut all = Vec::new();
        for (index, name) in context.strings(raw, at).iter().enumerate() {
            match self.issuers.get(name) {
                Some(issuer) => all.push(rules(issuer)),
                // A faulty issuer is told at its own place.
                None if context.issuers.contains(name) || context.report.is_told(&format!("issuers.{name}")) => {}
                None => {
                    let hint = near_miss(name, &known).unwrap_or_else(|| format!("the issuers are {}", list(&known)));
                    context.report.mend(&at.item(index), format!("unknown issuer `{name}`"), hint);
                }
            }
        }
        all
    }
}

/// Where its tokens are issued here: by what name, and for whom.
fn owned_here(name: &str, raw: &RawUpstream) -> Option<Owned> {
    let self_managed = match raw.ownership? {
        RawOwnership::Hosted => return None,
        RawOwnership::Bridge => false,
        RawOwnership::SelfManaged => true,
    };
    Some(Owned { upstream: name.to_owned(), title: raw.name.clone().unwrap_or_else(|| name.to_owned()), self_managed })
}

/// Arguments by tool whose values are recorded.
fn recorded(raw: Option<RawRouteAudit>, at: &At<'_>, context: &mut Context<'_>) -> BTreeMap<String, Vec<String>> {
    let Some(RawRouteAudit { arguments: Some(Keyed(raw)) }) = raw else { return BTreeMap::new() };
    let at = at.key("arguments");
    let mut all = BTreeMap::new();
    for (tool, names) in raw {
        let at = at.key(&tool);
        if tool.contains('*') {
            context.report.mend(&at, format!("`{tool}` is not one tool"), "name each tool whose arguments are to be recorded");
        }
        let names = context.strings(Some(names), &at);
        if names.len() > values::MOST {
            context.report.mend(&at, format!("more than {} arguments of one tool", values::MOST), "name those that a reviewer needs");
        }
        all.insert(tool, names);
    }
    all
}

fn asks(named: &[RawServerRequest]) -> Asks {
    let names = |one| named.contains(&one);
    Asks {
        elicitation: names(RawServerRequest::Elicitation),
        elicitation_url: names(RawServerRequest::ElicitationUrl),
        sampling: names(RawServerRequest::Sampling),
        roots: names(RawServerRequest::Roots),
    }
}

fn resolve_mode(raw: RawMode, at: &At<'_>, context: &mut Context<'_>) -> Mode {
    match raw {
        RawMode::Enforce => Mode::Enforce,
        RawMode::Observe => {
            lint::observe(&at.key("mode"), &mut context.report);
            Mode::Observe
        }
    }
}

fn metadata(resource: &str, issuers: &[Arc<IssuerRules>], policy: &Policy, scopes: &Scopes, name: &str, sender: &Sender) -> Bytes {
    let issuers: Vec<&str> = issuers.iter().map(|issuer| &*issuer.issuer).collect();
    let asked: Vec<&str> = policy.scopes().into_iter().filter(|scope| scopes.advertises(scope)).collect();
    let algorithms: Vec<&str> = sender.algorithms.split(' ').filter(|_| sender.offered).collect();
    let Demand { dpop: dpop_required, certificate: certificate_bound } = sender.demand;
    let constraint = SenderConstraint { algorithms: &algorithms, dpop_required, certificate_bound };
    resource_metadata::document(resource, &issuers, &asked, name, &constraint).into()
}

/// Host without case and path, as the route table tells routes apart.
fn is_same_place(a: &str, b: &str) -> bool {
    let place = |resource: &str| resource.split_once("://").map(|(_, rest)| rest.trim_end_matches('/').to_owned());
    place(a) == place(b)
}

fn browser_origins(raw: Option<Strings>, at: &At<'_>, context: &mut Context<'_>) -> Vec<String> {
    // Unlike other lists this one may be empty: no origin but the resource's own is the default.
    let raw = raw.filter(|raw| !raw.0.is_empty());
    let all = context.strings(raw, at);
    for (index, text) in all.iter().enumerate() {
        let at = at.item(index);
        if text.contains('*') {
            context.report.mend(
                &at,
                format!("`{text}` would let any website call in its visitor's name"),
                "name each origin that may call",
            );
        } else if text == "null" {
            context.report.mend(&at, "`null` is the origin of every sandboxed page", "name each origin that may call");
        } else {
            web::origin(text, &at, &mut context.report);
        }
    }
    all
}

fn route_limits(raw: Option<RawRouteLimits>, at: &At<'_>, context: &mut Context<'_>) -> RouteLimits {
    let default =
        RouteLimits { body: 4 << 20, per_client: None, per_subject: None, streams_per_subject: None, timeout: Duration::from_secs(60) };
    let Some(RawRouteLimits { body, per_client, per_subject, timeout, streams_per_subject, tasks }) = raw else { return default };
    context.later(at, "tasks", tasks);
    let report = &mut context.report;
    RouteLimits {
        body: quantity::size(body, default.body, &at.key("body"), report),
        per_client: quantity::rate(per_client, &at.key("per_client"), report),
        per_subject: quantity::rate(per_subject, &at.key("per_subject"), report),
        streams_per_subject: streams_per_subject.map(|most| quantity::count(Some(most), most, &at.key("streams_per_subject"), report)),
        timeout: quantity::duration(timeout, default.timeout, &at.key("timeout"), report),
    }
}
