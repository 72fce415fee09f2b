//! Whose tokens are accepted, and where their keys come from.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::token::Algorithm;
use url::Url;

use super::{Context, introspection, quantity, web};
use crate::config::authorization_server::OWN;
use crate::config::document::{list, near_miss};
use crate::config::raw::{ALGORITHMS, DurationText, Keyed, RawClaims, RawIssuer, RawKeys, Strings};
use crate::config::report::At;
use crate::config::{Issuer, KeySource, KeyTimes, Profile, lint, profile};
use crate::governance::Acceptance;
use crate::token::{ClaimNames, IssuerRules};

mod dialect;

const LONGEST_LEEWAY: Duration = Duration::from_secs(300);

fn parse_algorithm(name: &str) -> Option<Algorithm> {
    Algorithm::from_str(name).ok().filter(|_| ALGORITHMS.contains(&name))
}

/// All issuers by name, and their names in the order of the file.
/// There may be none where tokens are issued here.
pub fn issuers(raw: Option<Keyed<RawIssuer>>, issues: bool, at: &At<'_>, context: &mut Context<'_>) -> BTreeMap<String, Arc<Issuer>> {
    let Some(Keyed(raw)) = raw.filter(|raw| !raw.0.is_empty()) else {
        if !issues {
            context.missing_key(at, "issuers", "whose tokens are accepted: `issuers: { corp: { issuer: https://login.example.com } }`");
        }
        return BTreeMap::new();
    };
    let at = at.key("issuers");
    context.issuers = raw.iter().map(|(name, _)| name.clone()).collect();
    let mut all: BTreeMap<String, Arc<Issuer>> = BTreeMap::new();
    for (name, raw) in raw {
        let at = at.key(&name);
        if issues && name == OWN {
            context.report.mend(&at, format!("`{OWN}` is the name of the issuer here"), "give this one another name");
        }
        let Some(issuer) = issuer(&name, raw, &at, context) else { continue };
        match all.values().find(|other| other.rules.issuer == issuer.rules.issuer) {
            Some(other) => {
                let message = format!("`{}` is also the issuer of `{}`", issuer.rules.issuer, other.rules.name);
                context.report.mend(&at.key("issuer"), message, "one issuer has one entry; put its audiences and types together");
            }
            None => {
                all.insert(name, Arc::new(issuer));
            }
        }
    }
    all
}

fn issuer(name: &str, raw: RawIssuer, at: &At<'_>, context: &mut Context<'_>) -> Option<Issuer> {
    let RawIssuer {
        issuer,
        metadata_url,
        jwks_uri,
        jwks_file,
        algorithms,
        audience,
        token_types,
        claims,
        required_claims,
        leeway,
        keys,
        allow_http,
        profile,
        audience_from,
        required_values,
        allow_assumed_s256,
        introspection,
        accept_new_keys,
    } = raw;
    let allow_http = allow_http.unwrap_or(false);
    let profile = dialect::profile(profile, &at.key("profile"), context);
    let own = jwks_uri.is_none() && jwks_file.is_none() && metadata_url.is_none();
    let patterned = issuer.as_ref().filter(|_| own).and_then(|issuer| profile::metadata_url(profile, issuer));
    let only = introspection.as_ref().is_some_and(|raw| raw.only == Some(true));
    let asked = introspection.is_some();
    let described = metadata_url.as_deref().or(patterned.as_deref());
    let named = issuer.as_deref().unwrap_or_default();
    let introspection =
        introspection.and_then(|raw| introspection::resolve(raw, named, described, allow_http, &at.key("introspection"), context));
    let source = match only {
        true => introspection::no_keys([("jwks_uri", jwks_uri.is_some()), ("jwks_file", jwks_file.is_some())], at, context),
        false => key_source(metadata_url, jwks_uri, jwks_file, allow_http, at, context),
    };
    let source = patterned.filter(|_| !only).map(KeySource::Metadata).or(source);
    let rules = IssuerRules {
        name: name.to_owned(),
        issuer: "".into(),
        algorithms: accepted_algorithms(algorithms, profile, &at.key("algorithms"), context),
        token_types: accepted_types(token_types, profile, &at.key("token_types"), context),
        audience: context.strings(audience, &at.key("audience")),
        leeway: accepted_leeway(leeway, &at.key("leeway"), context),
        claims: claim_names(claims, profile, &at.key("claims"), context),
        required_claims: match required_claims {
            None => owned(profile.required_claims),
            some => context.strings(some, &at.key("required_claims")),
        },
        audience_from: dialect::audience_from(audience_from, profile),
        required_values: dialect::required_values(required_values, profile, &at.key("required_values"), context),
        own: false,
    };
    dialect::audience_is_named(&rules, profile, at, context);
    let times = key_times(keys, &at.key("keys"), context);
    let accept_new_keys = acceptance(accept_new_keys, &at.key("accept_new_keys"), context);
    if accept_new_keys != Acceptance::Immediately && matches!(source, Some(KeySource::File(_) | KeySource::Nowhere)) {
        let message = "no keys of this issuer are fetched, so none can be new";
        context.report.mend(&at.key("accept_new_keys"), message, "remove the key");
    }
    let Some(identifier) = issuer else {
        context.missing_key(at, "issuer", "the issuer identifier, as tokens carry it in `iss`");
        return None;
    };
    identifier_is_sound(&identifier, allow_http, &at.key("issuer"), context).then_some(())?;
    let introspection = if asked { Some(introspection?) } else { None };
    dialect::identifier_fits(&identifier, profile, &at.key("issuer"), context);
    let assume_s256 = allow_assumed_s256.unwrap_or(profile.assume_s256);
    Some(Issuer {
        rules: Arc::new(IssuerRules { issuer: identifier.into(), ..rules }),
        keys: source?,
        times,
        allow_http,
        introspection,
        profile,
        assume_s256,
        accept_new_keys,
    })
}

/// Rules that ask for no more than RFC 9068.
pub(super) fn plain_rules(name: &str, identifier: &str, algorithms: Vec<Algorithm>, leeway: Duration) -> IssuerRules {
    IssuerRules {
        name: name.to_owned(),
        issuer: identifier.into(),
        algorithms,
        token_types: vec!["at+jwt".into()],
        audience: Vec::new(),
        leeway,
        claims: ClaimNames::default(),
        required_claims: Vec::new(),
        audience_from: Default::default(),
        required_values: Vec::new(),
        own: false,
    }
}

/// `immediately`, `after 10m` or `approved`.
pub(super) fn acceptance(raw: Option<String>, at: &At<'_>, context: &mut Context<'_>) -> Acceptance {
    let Some(text) = raw else { return Acceptance::Immediately };
    match (text.as_str(), text.strip_prefix("after ")) {
        ("immediately", _) => Acceptance::Immediately,
        ("approved", _) => Acceptance::Approved,
        (_, Some(time)) => {
            let time = Some(DurationText(time.to_owned()));
            Acceptance::After(quantity::duration(time, Duration::from_secs(600), at, &mut context.report))
        }
        _ => {
            let hint = "write `immediately`, `after 10m` or `approved`";
            context.report.mend(at, format!("`{text}` does not say when a new key counts"), hint);
            Acceptance::Approved
        }
    }
}

/// RFC 8414 §2: https, no query, no fragment.
pub(super) fn identifier_is_sound(text: &str, allow_http: bool, at: &At<'_>, context: &mut Context<'_>) -> bool {
    let Some(url) = web::url(text, at, &mut context.report) else { return false };
    if url.query().is_some() {
        context.report.error(at, format!("`{text}` has a query, which an issuer identifier may not have (RFC 8414 §2)"));
        return false;
    }
    is_safe(&url, allow_http, at, context)
}

pub(super) fn is_safe(url: &Url, allow_http: bool, at: &At<'_>, context: &mut Context<'_>) -> bool {
    if url.scheme() == "https" || web::is_loopback(url) {
        return true;
    }
    if !allow_http {
        let hint = "use https; `allow_http: true` beside it accepts the risk, for development";
        context.report.mend(at, "plain http lets anyone on the path forge this issuer's keys", hint);
        return false;
    }
    lint::plain_http_issuer(at, &mut context.report);
    true
}

pub(super) fn key_source(
    metadata_url: Option<String>,
    jwks_uri: Option<String>,
    jwks_file: Option<String>,
    allow_http: bool,
    at: &At<'_>,
    context: &mut Context<'_>,
) -> Option<KeySource> {
    let sound = |key: &str, text: &str, context: &mut Context<'_>| {
        let at = at.key(key);
        web::url(text, &at, &mut context.report).is_some_and(|url| is_safe(&url, allow_http, &at, context))
    };
    match (metadata_url, jwks_uri, jwks_file) {
        (None, None, None) => Some(KeySource::Discovery),
        (Some(url), None, None) => sound("metadata_url", &url, context).then_some(KeySource::Metadata(url)),
        (None, Some(url), None) => sound("jwks_uri", &url, context).then_some(KeySource::Jwks(url)),
        (None, None, Some(file)) => context.key_set(&at.key("jwks_file"), &file).map(KeySource::File),
        _ => {
            let message = "more than one of `metadata_url`, `jwks_uri` and `jwks_file`: the keys of an issuer have one source";
            context.report.mend(at, message, "keep one, or none for discovery");
            None
        }
    }
}

pub(super) fn accepted_algorithms(raw: Option<Strings>, profile: &Profile, at: &At<'_>, context: &mut Context<'_>) -> Vec<Algorithm> {
    let Some(raw) = raw else { return profile.algorithms.to_vec() };
    let mut all = Vec::new();
    for (index, name) in context.strings(Some(raw), at).into_iter().enumerate() {
        let at = &at.item(index);
        match parse_algorithm(&name) {
            Some(algorithm) => all.push(algorithm),
            None if name.eq_ignore_ascii_case("none") => {
                context.report.mend(
                    at,
                    "`none` is no signature: anyone could make such a token",
                    "name the algorithms that the issuer signs with",
                );
            }
            None if name.to_ascii_uppercase().starts_with("HS") => {
                let hint = "use an algorithm with a public key, such as `RS256` or `ES256`";
                context.report.mend(at, format!("`{name}` is never accepted: whoever can check such a signature can also forge it"), hint);
            }
            None => {
                let hint = near_miss(&name, ALGORITHMS).unwrap_or_else(|| format!("the algorithms are {}", list(ALGORITHMS)));
                context.report.mend(at, format!("unknown algorithm `{name}`"), hint);
            }
        }
    }
    all
}

/// Media types are compared without case, and without `application/` (RFC 7515 §4.1.9).
fn accepted_types(raw: Option<Strings>, profile: &Profile, at: &At<'_>, context: &mut Context<'_>) -> Vec<String> {
    if raw.is_none() {
        return owned(profile.token_types);
    }
    let plain = |name: String| {
        let lower = name.to_ascii_lowercase();
        lower.strip_prefix("application/").map_or(lower.clone(), str::to_owned)
    };
    context.strings(raw, at).into_iter().map(plain).collect()
}

pub(super) fn accepted_leeway(raw: Option<DurationText>, at: &At<'_>, context: &mut Context<'_>) -> Duration {
    if raw.as_ref().is_some_and(|text| matches!(humantime::parse_duration(text.0.trim()), Ok(Duration::ZERO))) {
        return Duration::ZERO;
    }
    let leeway = quantity::duration(raw, Duration::from_secs(30), at, &mut context.report);
    if leeway > LONGEST_LEEWAY {
        context.report.mend(at, "a leeway of more than 5m keeps expired tokens alive", "write `5m` or less, and set the clocks by NTP");
    }
    leeway
}

fn claim_names(raw: Option<RawClaims>, profile: &Profile, at: &At<'_>, context: &mut Context<'_>) -> ClaimNames {
    let default = ClaimNames {
        scopes: owned(profile.scopes),
        client: owned(profile.client),
        groups: owned(profile.groups),
        subject: profile.subject.into(),
    };
    let Some(RawClaims { scopes, client, groups, subject }) = raw else { return default };
    let mut names = |raw: Option<Strings>, key: &str, default: Vec<String>| match raw {
        None => default,
        some => context.strings(some, &at.key(key)),
    };
    let scopes = names(scopes, "scopes", default.scopes);
    let client = names(client, "client", default.client);
    let groups = names(groups, "groups", default.groups);
    let mut subjects = names(subject, "subject", vec![default.subject]);
    if subjects.len() > 1 {
        let hint = "two claims tried in turn could give one person's id to another; name one";
        context.report.mend(&at.key("subject"), "more than one claim for the subject", hint);
    }
    ClaimNames { scopes, client, groups, subject: subjects.pop().unwrap_or_default() }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

pub(super) fn key_times(raw: Option<RawKeys>, at: &At<'_>, context: &mut Context<'_>) -> KeyTimes {
    let default = KeyTimes::default();
    let Some(RawKeys { cache, cooldown, timeout, stale }) = raw else { return default };
    let report = &mut context.report;
    KeyTimes {
        cache: quantity::duration(cache, default.cache, &at.key("cache"), report),
        cooldown: quantity::duration(cooldown, default.cooldown, &at.key("cooldown"), report),
        timeout: quantity::duration(timeout, default.timeout, &at.key("timeout"), report),
        stale: quantity::duration(stale, default.stale, &at.key("stale"), report),
    }
}
