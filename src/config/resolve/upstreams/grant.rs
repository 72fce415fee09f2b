//! How a token for a server is obtained: from whom, as whom, for what.

use std::time::Duration;

use super::{Context, quantity, web};
use crate::config::raw::RawTokenGrant;
use crate::config::report::At;
use crate::config::resolve::client;
use crate::route::grant::{Grant, GrantKind, Secret, TokenEndpoint};

const TIMEOUT: Duration = Duration::from_secs(5);

/// That it is an exchange, and the server's URL.
pub struct Exchange<'a> {
    pub url: Option<&'a str>,
}

/// One way to a token, or none where the report says why.
pub fn resolve(raw: RawTokenGrant, exchange: Option<Exchange<'_>>, at: &At<'_>, context: &mut Context<'_>) -> Option<Grant> {
    let RawTokenGrant {
        token_url,
        issuer,
        client_id,
        client_secret_file,
        client_secret_env,
        private_key_jwt,
        scopes,
        resource,
        audience,
        actor_token_file,
        timeout,
        allow_http,
    } = raw;
    let allow_http = allow_http.unwrap_or(false);
    let endpoint = endpoint(token_url, issuer, allow_http, at, context);
    let scopes = context.strings(scopes, &at.key("scopes"));
    for (index, scope) in scopes.iter().enumerate() {
        // RFC 6749 §3.3.
        if !scope.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\')) {
            context.report.mend(&at.key("scopes").item(index), format!("`{scope}` is not a scope"), "one scope is one text without spaces");
        }
    }
    let resource = match resource {
        Some(resource) => web::url(&resource, &at.key("resource"), &mut context.report).map(|_| resource),
        None => None,
    };
    let timeout = quantity::duration(timeout, TIMEOUT, &at.key("timeout"), &mut context.report);
    let actor = actor_token_file.and_then(|file| {
        let at = at.key("actor_token_file");
        if exchange.is_none() {
            context.report.mend(&at, "nobody acts for a caller where the token is the gateway's own", "remove the key");
            return None;
        }
        context.secret_file(&at, &file).map(Secret::new)
    });
    let resource = match &exchange {
        Some(Exchange { url }) if resource.is_none() && audience.is_none() => default_resource(*url, at, context),
        _ => resource,
    };
    let client = client::Section { client_id, client_secret_file, client_secret_env, private_key_jwt };
    let server = match &endpoint {
        Some(TokenEndpoint::Url(text) | TokenEndpoint::Issuer(text)) => text,
        None => "",
    };
    let client = client.resolve("doorward's own id at that authorization server", server, at, context);
    let kind = if exchange.is_some() { GrantKind::Exchange { actor } } else { GrantKind::ClientCredentials };
    Some(Grant { kind, endpoint: endpoint?, client: client?, scopes, resource, audience, timeout, allow_http })
}

/// RFC 8693 §2.1: an exchange says what the token is for, or the token could be good for anything.
fn default_resource(url: Option<&str>, at: &At<'_>, context: &mut Context<'_>) -> Option<String> {
    match url {
        Some(url) if url.starts_with("http") => Some(url.to_owned()),
        Some(_) => {
            context.report.mend(at, "a server at a socket has no address that a token could be for", "name `resource` or `audience`");
            None
        }
        None => None,
    }
}

fn endpoint(
    token_url: Option<String>,
    issuer: Option<String>,
    allow_http: bool,
    at: &At<'_>,
    context: &mut Context<'_>,
) -> Option<TokenEndpoint> {
    let (key, text, made): (_, _, fn(String) -> TokenEndpoint) = match (token_url, issuer) {
        (Some(url), None) => ("token_url", url, TokenEndpoint::Url),
        (None, Some(issuer)) => ("issuer", issuer, TokenEndpoint::Issuer),
        (None, None) => {
            context.report.missing(at, "no authorization server is named", "name one of `token_url` and `issuer`");
            return None;
        }
        (Some(_), Some(_)) => {
            context.report.mend(at, "more than one authorization server", "keep one of `token_url` and `issuer`");
            return None;
        }
    };
    let at = at.key(key);
    let url = web::url(&text, &at, &mut context.report)?;
    if url.scheme() == "http" && !web::is_loopback(&url) {
        if !allow_http {
            let hint = "use https; `allow_http: true` beside it accepts the risk, for development";
            context.report.mend(&at, "plain http lets anyone on the path read the secret and the tokens", hint);
            return None;
        }
        context.report.warn(&at, "plain http lets anyone on the path read the secret and the tokens", "use https");
    }
    Some(made(text))
}
