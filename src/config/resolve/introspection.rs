//! How is an issuer asked about tokens that it alone can read (RFC 7662)?
//!
//! The client's id and secret become one header here, so that the secret goes no further as a text.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded::byte_serialize;

use super::{Context, issuers, quantity, web};
use crate::config::raw::{DurationText, RawIntrospection};
use crate::config::report::At;
use crate::config::{Endpoint, Introspection, KeySource};
use crate::route::Credential;
use crate::token::AnswerRules;

const CACHE: Duration = Duration::from_secs(30);
const LONGEST_CACHE: Duration = Duration::from_secs(600);
const TIMEOUT: Duration = Duration::from_secs(3);

/// None where the report says why. `metadata_url` is where the endpoint is looked up that `url` does not name.
pub fn resolve(
    raw: RawIntrospection,
    metadata_url: Option<&str>,
    allow_http: bool,
    at: &At<'_>,
    context: &mut Context<'_>,
) -> Option<Introspection> {
    let RawIntrospection { url, client_id, client_secret_file, client_secret_env, cache, timeout, only, allow_missing_audience } = raw;
    let endpoint = match (url, metadata_url) {
        (Some(url), _) => sound(&url, allow_http, &at.key("url"), context).then_some(Endpoint::At(url)),
        (None, Some(url)) => Some(Endpoint::Metadata(url.to_owned())),
        (None, None) => Some(Endpoint::Discovery),
    };
    let cache = believed(cache, &at.key("cache"), context);
    let timeout = quantity::duration(timeout, TIMEOUT, &at.key("timeout"), &mut context.report);
    let secret = context.client_secret(client_secret_file, client_secret_env, at);
    let client_id = client(client_id, at, context);
    Some(Introspection {
        endpoint: endpoint?,
        authorization: basic(&client_id?, &secret?),
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

fn client(raw: Option<String>, at: &At<'_>, context: &mut Context<'_>) -> Option<String> {
    let named = raw.filter(|id| !id.trim().is_empty());
    if named.is_none() {
        context.missing_key(at, "client_id", "what Doorward is called at the introspection endpoint");
    }
    named
}

/// RFC 6749 §2.3.1: id and secret are form-encoded first, so that a `:` in the id is not the one between them.
fn basic(id: &str, secret: &str) -> Credential {
    let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(id), encode(secret));
    Credential::new("Authorization".into(), format!("Basic {}", STANDARD.encode(pair)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_and_secret_are_form_encoded_before_they_are_joined() {
        let header = basic("a:b c", "p%+ß");
        assert_eq!(STANDARD.decode(header.reveal().strip_prefix("Basic ").unwrap()).unwrap(), b"a%3Ab+c:p%25%2B%C3%9F");
        assert!(!format!("{header:?}").contains("Basic"));
    }
}
