//! How is an issuer asked about tokens that it alone can read (RFC 7662)?

use std::time::Duration;

use super::{Context, client, issuers, quantity, web};
use crate::config::raw::{DurationText, RawIntrospection};
use crate::config::report::At;
use crate::config::{Endpoint, Introspection, KeySource};
use crate::token::AnswerRules;

const CACHE: Duration = Duration::from_secs(30);
const LONGEST_CACHE: Duration = Duration::from_secs(600);
const TIMEOUT: Duration = Duration::from_secs(3);

/// None where the report says why. `issuer` is its identifier; `metadata_url` is where the endpoint is looked up that `url` does not name.
pub fn resolve(
    raw: RawIntrospection,
    issuer: &str,
    metadata_url: Option<&str>,
    allow_http: bool,
    at: &At<'_>,
    context: &mut Context<'_>,
) -> Option<Introspection> {
    let RawIntrospection {
        url,
        client_id,
        client_secret_file,
        client_secret_env,
        private_key_jwt,
        cache,
        timeout,
        only,
        allow_missing_audience,
    } = raw;
    let endpoint = match (url, metadata_url) {
        (Some(url), _) => sound(&url, allow_http, &at.key("url"), context).then_some(Endpoint::At(url)),
        (None, Some(url)) => Some(Endpoint::Metadata(url.to_owned())),
        (None, None) => Some(Endpoint::Discovery),
    };
    let cache = believed(cache, &at.key("cache"), context);
    let timeout = quantity::duration(timeout, TIMEOUT, &at.key("timeout"), &mut context.report);
    let client = client::Section { client_id, client_secret_file, client_secret_env, private_key_jwt };
    let client = client.resolve("what Doorward is called at the introspection endpoint", issuer, at, context);
    Some(Introspection {
        endpoint: endpoint?,
        client: client?,
        timeout,
        answers: AnswerRules { cache, allow_missing_audience: allow_missing_audience.unwrap_or(false) },
        only: only.unwrap_or(false),
    })
}

/// The key source of an issuer whose tokens are all asked about. None where the report says what speaks against it.
pub fn no_keys(named: [(&str, bool); 2], at: &At<'_>, context: &mut Context<'_>) -> Option<KeySource> {
    let Some((key, _)) = named.into_iter().find(|(_, there)| *there) else { return Some(KeySource::Nowhere) };
    let hint = "remove one of the two: with `only` no key of this issuer is used";
    context.report.mend(&at.key(key), format!("`{key}` beside `introspection.only`"), hint);
    None
}

fn sound(text: &str, allow_http: bool, at: &At<'_>, context: &mut Context<'_>) -> bool {
    let Some(url) = web::url(text, at, &mut context.report) else { return false };
    if url.scheme() == "http" && !web::is_loopback(&url) && !allow_http {
        let hint = "use https; `allow_http: true` in the issuer accepts the risk, for development";
        context.report.mend(at, "plain http lets anyone on the path read tokens and forge the answers about them", hint);
        return false;
    }
    issuers::is_safe(&url, allow_http, at, context)
}

fn believed(raw: Option<DurationText>, at: &At<'_>, context: &mut Context<'_>) -> Duration {
    let cache = quantity::duration(raw, CACHE, at, &mut context.report);
    if cache > LONGEST_CACHE {
        context.report.mend(at, "a revoked token would be accepted for as long as an answer about it is believed", "write `10m` or less");
    }
    cache
}
