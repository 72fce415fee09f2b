//! What is asked of DPoP proofs, and of which upstream's tokens.
//!
//! Knows the section and the two keys of an upstream; the checks are the token room's.

use std::time::Duration;

use super::{Context, quantity};
use crate::config::raw::RawDpop;
use crate::config::report::At;
use crate::config::{Dpop, Secret};
use crate::route::Sender;
use crate::token::dpop::ProofRules;
use crate::token::{Algorithm, Demand};

/// SEP-1932 wants no proof older than this accepted.
const LONGEST_WINDOW: Duration = Duration::from_secs(300);
/// Nonces and `iat` count in seconds.
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);
/// Characters of a secret: 16 random bytes in hexadecimal.
const SHORTEST_SECRET: usize = 32;

/// The section, or its defaults.
pub fn resolve(raw: Option<RawDpop>, at: &At<'_>, context: &mut Context<'_>) -> Dpop {
    let Some(RawDpop { algorithms, window, nonce, nonce_secret_file, nonce_secret_env, remembered }) = raw else { return Dpop::default() };
    let default = ProofRules::default();
    let here = at.key("window");
    let window = quantity::duration(window, default.window, &here, &mut context.report);
    if !(SHORTEST_WINDOW..=LONGEST_WINDOW).contains(&window) {
        context.report.mend(&here, "a window is between 1s and 5m", "60s is right where clocks are kept");
    }
    let remembered = quantity::count(remembered, default.remembered, &at.key("remembered"), &mut context.report);
    let algorithms = match algorithms {
        None => default.algorithms,
        Some(raw) => {
            let here = at.key("algorithms");
            let names = context.strings(Some(raw), &here);
            names.iter().enumerate().filter_map(|(index, name)| algorithm(name, &here.item(index), context)).collect()
        }
    };
    let nonce = nonce.unwrap_or(false);
    let named = nonce_secret_file.is_some() || nonce_secret_env.is_some();
    let secret = context.optional_secret([nonce_secret_file, nonce_secret_env], ("nonce_secret", "secret"), at);
    let (place, secret) = secret.map_or_else(|| (at.clone(), None), |(place, secret)| (place, Some(secret)));
    if named && !nonce {
        context.report.mend(&place, "a secret for nonces, and no nonces are asked for", "write `nonce: true`, or remove the secret");
    }
    if secret.as_ref().is_some_and(|secret| secret.len() < SHORTEST_SECRET) {
        context.report.mend(&place, "the secret is shorter than 32 characters", "make one with `openssl rand -hex 32`");
    }
    Dpop { rules: ProofRules { algorithms, window, nonce, remembered }, secret: secret.map(Secret) }
}

fn algorithm(name: &str, at: &At<'_>, context: &mut Context<'_>) -> Option<Algorithm> {
    let found = name.parse().ok();
    if found.is_none() && !name.is_empty() {
        context.report.mend(at, format!("`{name}` is not a signature algorithm for proofs"), "`ES256` and `EdDSA` are what clients use");
    }
    found
}

/// How callers of one upstream prove that a token is theirs.
pub fn sender(dpop: Option<bool>, certificate: Option<bool>, rules: &ProofRules, offered: bool) -> Sender {
    let demand = Demand { dpop: dpop.unwrap_or(false), certificate: certificate.unwrap_or(false) };
    let names: Vec<&str> = rules.algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
    Sender { demand, algorithms: names.join(" ").into(), offered: offered || demand.dpop }
}
