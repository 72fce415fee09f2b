//! Which clients stand in the configuration, whose are they, and what may they?

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::Context;
use crate::config::document::{list, near_miss};
use crate::config::raw::clients::{RawClient, RawState};
use crate::config::raw::{Keyed, Strings};
use crate::config::report::At;
use crate::config::{ConfiguredClient, Issuer};
use crate::governance::client::{Client, Key, LONGEST, MOST, Source, State, Terms};
use crate::route::Route;

/// What the section is resolved beside.
pub struct Beside<'a> {
    pub issuers: &'a BTreeMap<String, Arc<Issuer>>,
    pub routes: &'a [Arc<Route>],
}

impl Beside<'_> {
    /// In the order of the file.
    pub fn resolve(&self, raw: Option<Keyed<RawClient>>, at: &At<'_>, context: &mut Context<'_>) -> Vec<Arc<ConfiguredClient>> {
        let Some(Keyed(raw)) = raw else { return Vec::new() };
        if raw.len() > MOST {
            context.report.mend(at, format!("more than {MOST} clients cannot be known at once"), "let rules name them by `clients`");
        }
        let mut places: HashMap<Key, String> = HashMap::new();
        let mut all = Vec::new();
        for (name, raw) in raw {
            let at = at.key(&name);
            let Some(client) = self.client(&name, raw, &at, context) else { continue };
            let key = client.client.key.clone();
            if let Some(other) = places.get(&key) {
                context.report.mend(&at, format!("client `{}` is already at {other}", key.id), "one client has one entry");
                continue;
            }
            places.insert(key, client.place.clone());
            all.push(Arc::new(client));
        }
        all
    }

    fn client(&self, name: &str, raw: RawClient, at: &At<'_>, context: &mut Context<'_>) -> Option<ConfiguredClient> {
        let RawClient { id, issuer, state, owner, purpose, upstreams, scopes, expires, redirect_uris, names } = raw;
        let id = id.unwrap_or_else(|| name.to_owned());
        if id.is_empty() || id.len() > LONGEST {
            context.report.mend(&at.key("id"), format!("an id has 1 to {LONGEST} bytes"), "write it as tokens carry it");
        }
        let issuer = self.issuer(issuer, at, context);
        let upstreams = upstreams.map(|raw| self.upstreams(raw, &at.key("upstreams"), context));
        let scopes = scopes.map(|raw| context.strings(Some(raw), &at.key("scopes")));
        let expires = expires.and_then(|text| time(&text, &at.key("expires"), context));
        let redirect_uris = redirect_uris.map(|raw| addresses(raw, &at.key("redirect_uris"), context)).unwrap_or_default();
        let names = context.strings(names, &at.key("names"));
        let state = match state {
            None | Some(RawState::Approved) => State::Approved,
            Some(RawState::Pending) => State::Pending,
            Some(RawState::Suspended) => State::Suspended,
            Some(RawState::Retired) => State::Retired,
        };
        let terms = Terms { owner: owner.unwrap_or_default(), purpose: purpose.unwrap_or_default(), upstreams, scopes, expires };
        let client = Client { key: Key { issuer: issuer?, id }, state, source: Source::Configured, terms, first_seen: None };
        Some(ConfiguredClient { name: name.to_owned(), client, redirect_uris, names, place: at.place() })
    }

    /// The issuer identifier, for a client id belongs to its issuer.
    fn issuer(&self, raw: Option<String>, at: &At<'_>, context: &mut Context<'_>) -> Option<String> {
        let identifier = |issuer: &Arc<Issuer>| issuer.rules.issuer.to_string();
        let Some(name) = raw else {
            if context.issuers.len() > 1 {
                context.missing_key(at, "issuer", "with several issuers: the one whose client this is");
                return None;
            }
            return self.issuers.values().next().map(identifier);
        };
        let found = self.issuers.get(&name).map(identifier);
        // A faulty issuer is told at its own place.
        if found.is_none() && !context.issuers.contains(&name) {
            let known: Vec<&str> = self.issuers.keys().map(String::as_str).collect();
            let hint = near_miss(&name, &known).unwrap_or_else(|| format!("the issuers are {}", list(&known)));
            context.report.mend(&at.key("issuer"), format!("unknown issuer `{name}`"), hint);
        }
        found
    }

    fn upstreams(&self, raw: Strings, at: &At<'_>, context: &mut Context<'_>) -> Vec<String> {
        let known: Vec<&str> = self.routes.iter().map(|route| &*route.name).collect();
        let names = context.strings(Some(raw), at);
        for (index, name) in names.iter().enumerate() {
            // A faulty upstream is told at its own place.
            if !known.contains(&name.as_str()) && !context.report.is_told(&format!("upstreams.{name}")) {
                let hint = near_miss(name, &known).unwrap_or_else(|| format!("the upstreams are {}", list(&known)));
                context.report.mend(&at.item(index), format!("unknown upstream `{name}`"), hint);
            }
        }
        names
    }
}

/// In seconds since 1970.
fn time(text: &str, at: &At<'_>, context: &mut Context<'_>) -> Option<u64> {
    let time = humantime::parse_rfc3339_weak(text).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    if time.is_none() {
        context.report.mend(at, format!("`{text}` is not a time"), "write it as `2027-01-31T12:00:00Z`");
    }
    time.map(|time| time.as_secs())
}

fn addresses(raw: Strings, at: &At<'_>, context: &mut Context<'_>) -> Vec<String> {
    let all = context.strings(Some(raw), at);
    for (index, text) in all.iter().enumerate() {
        // RFC 6749 §3.1.2: absolute, without a fragment; apps have schemes of their own (RFC 8252 §7.1).
        if !url::Url::parse(text).is_ok_and(|url| url.fragment().is_none()) {
            context.report.mend(
                &at.item(index),
                format!("`{text}` is not an absolute URI without fragment"),
                "write it as it is registered",
            );
        }
    }
    all
}
