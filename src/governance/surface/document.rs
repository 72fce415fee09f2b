//! What of an authorization server's metadata (RFC 8414 §2) is leaned on, and how two versions of it differ.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Drift, Kind, cut};

/// Members, and entries of a list, that are looked at.
const MOST: usize = 64;

const JWKS_URI: &str = "jwks_uri";

/// Members by name, each with its values: one address, or a list in order.
pub type Summary = BTreeMap<String, Vec<String>>;

/// Addresses that clients and we follow, and lists of algorithms and methods.
pub fn summary(document: &Map<String, Value>) -> Summary {
    let is_told = |name: &str| {
        name == JWKS_URI || name == "issuer" || name.ends_with("_endpoint") || name.ends_with("_alg_values_supported") || is_methods(name)
    };
    let member = |(name, value): (&String, &Value)| {
        let mut values: Vec<String> = match value {
            Value::String(text) => vec![cut(text)],
            Value::Array(all) => all.iter().take(MOST).filter_map(|one| one.as_str().map(cut)).collect(),
            _ => return None,
        };
        values.sort_unstable();
        is_told(name).then(|| (cut(name), values))
    };
    document.iter().filter_map(member).take(MOST).collect()
}

fn is_methods(name: &str) -> bool {
    matches!(name, "code_challenge_methods_supported" | "token_endpoint_auth_methods_supported")
}

/// What changed from one version to the next. A shorter list is no drift: nothing more is possible by it.
pub fn differences(before: &Summary, now: &Summary) -> Vec<Drift> {
    let mut drifts = Vec::new();
    let mut drift = |kind, what: String| drifts.push(Drift { kind, what: cut(&what), on_hold: false });
    for (name, values) in now {
        let old = before.get(name).map(Vec::as_slice).unwrap_or_default();
        if old == values.as_slice() {
            continue;
        }
        if is_list(name) {
            let wider: Vec<&str> = values.iter().filter(|value| !old.contains(value)).map(String::as_str).collect();
            if !wider.is_empty() {
                drift(Kind::Algorithms, format!("{name} also has {}", wider.join(" ")));
            }
            continue;
        }
        let was = if old.is_empty() { "not there".to_owned() } else { old.join(" ") };
        drift(address(name), format!("{name} is {}, was {was}", values.join(" ")));
    }
    for (name, values) in before.iter().filter(|(name, _)| !is_list(name) && !now.contains_key(*name)) {
        drift(address(name), format!("{name} is gone, was {}", values.join(" ")));
    }
    drifts
}

fn is_list(name: &str) -> bool {
    name.ends_with("_supported")
}

fn address(name: &str) -> Kind {
    if name == JWKS_URI { Kind::JwksUri } else { Kind::Endpoint }
}
