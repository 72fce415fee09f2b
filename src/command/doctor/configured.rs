//! Is what others see what the configuration says? Compares documents that were fetched with those that would be served.

use serde_json::{Map, Value};

use super::finding::Finding;
use crate::config::{Config, Endpoint, Issuer, KeySource};
use crate::route::ASSERTION_KEYS;

const STEP: &str = "configured";

/// The protected resource metadata, as seen from here.
pub fn resource(config: &Config, url: &str, seen: &Map<String, Value>) -> Vec<Finding> {
    let is_here = |resource: &str| resource.trim_end_matches('/') == url.trim_end_matches('/');
    let Some(route) = config.routes.iter().find(|route| is_here(&route.resource)) else {
        let mend = "ask at `public_url` and `path` of an upstream, or give the configuration of this gateway";
        return vec![Finding::wrong(STEP, format!("no upstream of the configuration is the resource {url}"), mend)];
    };
    let mut expected: Map<String, Value> = serde_json::from_slice(&route.metadata).unwrap_or_default();
    if config.signed_metadata {
        expected.insert("jwks_uri".into(), format!("{}{ASSERTION_KEYS}", config.public_url).into());
    }
    let mut all = Vec::new();
    for (name, value) in &expected {
        match seen.get(name) {
            Some(said) if said == value => {}
            Some(said) => all.push(wrong(format!("`{name}` is {said}, and the configuration says {value}"))),
            None => all.push(wrong(format!("`{name}` is not there, and the configuration says {value}"))),
        }
    }
    // Signed anew at each start.
    for name in seen.keys().filter(|name| !expected.contains_key(*name) && *name != "signed_metadata") {
        all.push(wrong(format!("`{name}` is there, and the configuration does not say so")));
    }
    if all.is_empty() {
        all.push(Finding::well(STEP, format!("the metadata is that of upstream `{}`", route.name)));
    }
    all
}

/// The metadata of an authorization server that the resource names.
pub fn server(config: &Config, issuer: &str, seen: &Map<String, Value>) -> Vec<Finding> {
    let Some(configured) = config.issuers.values().find(|one| *one.rules.issuer == *issuer) else {
        let mend = "add the issuer to `issuers`, or find out who serves this metadata";
        return vec![Finding::wrong(STEP, format!("the configuration has no issuer {issuer}"), mend)];
    };
    let all = differences(configured, seen);
    match all.is_empty() {
        true => vec![Finding::well(STEP, format!("{issuer} is issuer `{}`", configured.rules.name))],
        false => all,
    }
}

fn differences(configured: &Issuer, seen: &Map<String, Value>) -> Vec<Finding> {
    let text = |name: &str| seen.get(name).and_then(Value::as_str);
    let mut all = Vec::new();
    if let KeySource::Jwks(url) = &configured.keys
        && let Some(said) = text("jwks_uri").filter(|said| said != url)
    {
        let mend = "find out where its keys are: tokens may be signed by others than those that are trusted here";
        all.push(Finding::wrong(STEP, format!("`jwks_uri` is {said}, and the configuration says {url}"), mend));
    }
    if let Some(Endpoint::At(url)) = configured.introspection.as_ref().map(|asked| &asked.endpoint)
        && let Some(said) = text("introspection_endpoint").filter(|said| said != url)
    {
        all.push(Finding::wrong(
            STEP,
            format!("`introspection_endpoint` is {said}, and the configuration says {url}"),
            "find out where tokens are to be asked about",
        ));
    }
    let listed = seen.get("id_token_signing_alg_values_supported").and_then(Value::as_array);
    let accepts = |name: &Value| configured.rules.algorithms.iter().any(|algorithm| name == algorithm.as_str());
    if listed.is_some_and(|listed| !listed.is_empty() && !listed.iter().any(accepts)) {
        let accepted: Vec<&str> = configured.rules.algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
        let what = format!("it says that it signs ID tokens by none of `algorithms` ({})", accepted.join(", "));
        all.push(Finding::note(STEP, what, "access tokens may be signed otherwise; look at one with `doorward explain`"));
    }
    all
}

fn wrong(what: String) -> Finding {
    let mend = "is another gateway or an older configuration before it, or does something between answer instead?";
    Finding::wrong(STEP, what, mend)
}
