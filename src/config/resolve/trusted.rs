//! Whose JWTs are taken for tokens of our own: identity providers and platforms.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::authorization_server::Owned;
use super::{Context, issuers};
use crate::config::authorization_server::Trusted;
use crate::config::document::{list, near_miss};
use crate::config::raw::authorization_server::{RawIdentityIssuer, RawWorkloadIssuer, RawWorkloadRule};
use crate::config::raw::{DurationText, Keyed, RawKeys, Strings};
use crate::config::report::At;
use crate::config::{Issuer, profile};
use crate::governance::Acceptance;
use crate::oauth::assertion;
use crate::oauth::identity_assertion::IdentityRules;
use crate::oauth::is_scope_token;
use crate::oauth::workload::{WorkloadRule, WorkloadRules};
use crate::policy::matcher::NamePattern;
use crate::token::{Algorithm, IssuerRules};

/// What subjects of people begin with who sign in here, before a `|`.
const LOGINS: [&str; 3] = ["account", "oauth2", "application"];

/// What both sections are resolved beside, and the issuers that come of them.
pub struct Section<'a> {
    /// `public_url`, whose own word is never taken.
    pub own: &'a str,
    pub owned: &'a [Owned],
    /// By the name under which their keys are found.
    pub issuers: BTreeMap<String, Arc<Issuer>>,
}

/// Where an issuer's keys come from, as either section writes it.
struct Source {
    issuer: Option<String>,
    metadata_url: Option<String>,
    jwks_uri: Option<String>,
    jwks_file: Option<String>,
    algorithms: Option<Strings>,
    leeway: Option<DurationText>,
    keys: Option<RawKeys>,
    allow_http: Option<bool>,
}

impl Section<'_> {
    pub fn identities(
        &mut self,
        raw: Option<Keyed<RawIdentityIssuer>>,
        at: &At<'_>,
        context: &mut Context<'_>,
    ) -> Vec<Trusted<IdentityRules>> {
        let Keyed(raw) = raw.unwrap_or(Keyed(Vec::new()));
        raw.into_iter().filter_map(|(name, raw)| self.identity(name, raw, at, context)).collect()
    }

    fn identity(&mut self, name: String, raw: RawIdentityIssuer, at: &At<'_>, context: &mut Context<'_>) -> Option<Trusted<IdentityRules>> {
        let RawIdentityIssuer {
            issuer,
            metadata_url,
            jwks_uri,
            jwks_file,
            algorithms,
            leeway,
            keys,
            allow_http,
            upstreams,
            scopes,
            allow_reuse,
            allow_login_subjects,
        } = raw;
        let at = at.key(&name);
        if name.contains('|') {
            context.report.mend(&at, "a name with `|` would make subjects that two providers share", "write another name");
        }
        // SECURITY: subjects begin with it, and those of logins with these: its word would be taken for theirs.
        if LOGINS.contains(&name.as_str()) {
            context.report.mend(&at, format!("subjects that begin with `{name}|` are those of a login here"), "write another name");
        }
        let source = Source { issuer, metadata_url, jwks_uri, jwks_file, algorithms, leeway, keys, allow_http };
        let upstreams = self.upstreams(upstreams, &at.key("upstreams"), context);
        let scopes = scopes.map(|raw| self::scopes(Some(raw), &at.key("scopes"), context));
        let issuer = self.issuer(&format!("identity_assertions.{name}"), source, &at, context)?;
        let prefix = if allow_login_subjects.unwrap_or(false) { String::new() } else { format!("{name}|") };
        let rules = IdentityRules {
            issuer: issuer.issuer.to_string(),
            prefix,
            algorithms: issuer.algorithms.clone(),
            leeway: issuer.leeway,
            single_use: !allow_reuse.unwrap_or(false),
            upstreams,
            scopes,
        };
        Some(Trusted { name, issuer, rules })
    }

    pub fn workloads(
        &mut self,
        raw: Option<Keyed<RawWorkloadIssuer>>,
        at: &At<'_>,
        context: &mut Context<'_>,
    ) -> Vec<Trusted<WorkloadRules>> {
        let Keyed(raw) = raw.unwrap_or(Keyed(Vec::new()));
        raw.into_iter().filter_map(|(name, raw)| self.workload(name, raw, at, context)).collect()
    }

    fn workload(&mut self, name: String, raw: RawWorkloadIssuer, at: &At<'_>, context: &mut Context<'_>) -> Option<Trusted<WorkloadRules>> {
        let RawWorkloadIssuer { issuer, metadata_url, jwks_uri, jwks_file, algorithms, leeway, keys, allow_http, audience, rules } = raw;
        let at = at.key(&name);
        let source = Source { issuer, metadata_url, jwks_uri, jwks_file, algorithms, leeway, keys, allow_http };
        let audiences = match audience {
            None => vec![self.own.to_owned()],
            some => context.strings(some, &at.key("audience")),
        };
        let rules = rules.unwrap_or_default();
        if rules.is_empty() {
            context.missing_key(&at, "rules", "which workloads get a token: `rules: [ { subject: …, client: …, scopes: […] } ]`");
        }
        let here = at.key("rules");
        let rules = rules.into_iter().enumerate().filter_map(|(index, raw)| self.rule(raw, &here.item(index), context)).collect();
        let issuer = self.issuer(&format!("workloads.{name}"), source, &at, context)?;
        let rules = WorkloadRules {
            issuer: issuer.issuer.to_string(),
            audiences,
            algorithms: issuer.algorithms.clone(),
            leeway: issuer.leeway,
            rules,
        };
        Some(Trusted { name, issuer, rules })
    }

    fn rule(&self, raw: RawWorkloadRule, at: &At<'_>, context: &mut Context<'_>) -> Option<WorkloadRule> {
        let RawWorkloadRule { subject, claims, client, upstreams, scopes } = raw;
        let Keyed(claims) = claims.unwrap_or(Keyed(Vec::new()));
        let claims = claims.into_iter().map(|(path, values)| {
            let here = at.key("claims").key(&path);
            (path, context.strings(Some(values), &here))
        });
        let claims = claims.collect();
        let upstreams = self.upstreams(upstreams, &at.key("upstreams"), context);
        let scopes = self::scopes(scopes, &at.key("scopes"), context);
        if subject.as_deref().is_none_or(str::is_empty) {
            context.missing_key(at, "subject", "the `sub` of its JWT: `subject: system:serviceaccount:prod:batch`");
        }
        if subject.as_deref() == Some("*") {
            context.report.mend(&at.key("subject"), "`*` is every workload of the platform", "name a part of it at least");
        }
        if client.as_deref().is_none_or(str::is_empty) {
            context.missing_key(at, "client", "the client that the workload comes as: `client: batch`");
        }
        Some(WorkloadRule { subject: NamePattern::new(subject?), claims, client: client?, upstreams, scopes })
    }

    fn issuer(&mut self, key: &str, source: Source, at: &At<'_>, context: &mut Context<'_>) -> Option<Arc<IssuerRules>> {
        let Source { issuer, metadata_url, jwks_uri, jwks_file, algorithms, leeway, keys, allow_http } = source;
        let allow_http = allow_http.unwrap_or(false);
        let source = issuers::key_source(metadata_url, jwks_uri, jwks_file, allow_http, at, context);
        let algorithms: Vec<Algorithm> = match algorithms {
            None => assertion::algorithms(),
            some => issuers::accepted_algorithms(some, &profile::PLAIN, &at.key("algorithms"), context),
        };
        let leeway: Duration = issuers::accepted_leeway(leeway, &at.key("leeway"), context);
        let times = issuers::key_times(keys, &at.key("keys"), context);
        let Some(identifier) = issuer else {
            context.missing_key(at, "issuer", "the `iss` of its JWTs");
            return None;
        };
        let here = at.key("issuer");
        issuers::identifier_is_sound(&identifier, allow_http, &here, context).then_some(())?;
        if identifier == self.own {
            context.report.mend(&here, "its own tokens prove nothing to an authorization server", "name another issuer");
            return None;
        }
        let rules = Arc::new(issuers::plain_rules(key, &identifier, algorithms, leeway));
        let issuer = Issuer {
            rules: rules.clone(),
            keys: source?,
            times,
            allow_http,
            introspection: None,
            profile: &profile::PLAIN,
            assume_s256: false,
            accept_new_keys: Acceptance::Immediately,
        };
        self.issuers.insert(key.to_owned(), Arc::new(issuer));
        Some(rules)
    }

    fn upstreams(&self, raw: Option<Strings>, at: &At<'_>, context: &mut Context<'_>) -> Option<Vec<String>> {
        let names = context.strings(Some(raw?), at);
        let known: Vec<&str> = self.owned.iter().map(|owned| owned.upstream.as_str()).collect();
        for (index, name) in names.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let hint = near_miss(name, &known).unwrap_or_else(|| format!("tokens are issued for {}", list(&known)));
                context.report.mend(&at.item(index), format!("no tokens are issued for an upstream `{name}`"), hint);
            }
        }
        Some(names)
    }
}

fn scopes(raw: Option<Strings>, at: &At<'_>, context: &mut Context<'_>) -> Vec<String> {
    let all = context.strings(raw, at);
    for (index, scope) in all.iter().enumerate().filter(|(_, scope)| !is_scope_token(scope)) {
        context.report.error(&at.item(index), format!("`{scope}` is not a scope"));
    }
    all
}
