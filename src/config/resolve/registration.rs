//! Which clients are known, and how may others make themselves known?

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use ipnet::IpNet;

use super::{Context, quantity, web};
use crate::config::raw::registration::{RawAdmission, RawClient, RawGrant, RawRegistration};
use crate::config::raw::{Keyed, Strings};
use crate::config::registration::{Admission, Registration};
use crate::config::report::At;
use crate::oauth::client_id::{self, DocumentUrl};
use crate::oauth::redirect::Place;
use crate::oauth::{ClientAuthentication, ClientKeys, ClientKind, GrantType, RegisteredClient, is_scope_token};

/// Bytes of a client's id.
const LONGEST_ID: usize = 200;

/// Whether any client may go on that nobody approved.
pub fn opens(raw: &RawRegistration) -> bool {
    [raw.metadata_documents, raw.dynamic].into_iter().flatten().any(|admission| matches!(admission, RawAdmission::Open))
}

/// `issuer` is `public_url`.
pub fn resolve(raw: Option<RawRegistration>, issuer: Option<&str>, at: &At<'_>, context: &mut Context<'_>) -> Registration {
    let default = Registration::default();
    let Some(raw) = raw else { return default };
    let RawRegistration {
        metadata_documents,
        dynamic,
        allow_hosts,
        allow_networks,
        allow_loopback,
        rate,
        initial_access_token_file,
        initial_access_token_env,
        keep_unused,
        most,
    } = raw;
    let token = [initial_access_token_file, initial_access_token_env];
    let token = context.optional_secret(token, ("initial_access_token", "initial access token"), at);
    let registration = Registration {
        documents: metadata_documents.map_or(default.documents, admission),
        dynamic: dynamic.map_or(default.dynamic, admission),
        hosts: allow_hosts.map(|hosts| self::hosts(hosts, &at.key("allow_hosts"), context)),
        networks: networks(allow_networks, &at.key("allow_networks"), context),
        loopback: allow_loopback.unwrap_or(false),
        rate: quantity::rate(rate, &at.key("rate"), &mut context.report).unwrap_or(default.rate),
        token: token.and_then(|token| context.bearer(token)),
        keep: quantity::duration(keep_unused, default.keep, &at.key("keep_unused"), &mut context.report),
        most: quantity::count(most, default.most, &at.key("most"), &mut context.report),
    };
    let is_local = issuer.and_then(|issuer| url::Url::parse(issuer).ok()).is_some_and(|url| web::is_loopback(&url));
    if registration.loopback && !is_local {
        let hint = "remove the key; documents of an internal network are allowed by `allow_networks`";
        context.report.mend(&at.key("allow_loopback"), "documents on this machine are for a `public_url` on loopback", hint);
    }
    registration
}

fn admission(raw: RawAdmission) -> Admission {
    match raw {
        RawAdmission::Off => Admission::Off,
        RawAdmission::Approval => Admission::Approval,
        RawAdmission::Open => Admission::Open,
    }
}

fn hosts(raw: Strings, at: &At<'_>, context: &mut Context<'_>) -> Vec<String> {
    let hosts = context.strings(Some(raw), at);
    for (index, host) in hosts.iter().enumerate() {
        let plain = host.strip_prefix("*.").unwrap_or(host);
        let is_host = url::Host::parse(plain).is_ok_and(|parsed| parsed.to_string() == plain);
        if !is_host {
            context.report.mend(&at.item(index), format!("`{host}` is not a host"), "write `claude.ai`, or `*.claude.ai` for all below it");
        }
    }
    hosts
}

fn networks(raw: Option<Strings>, at: &At<'_>, context: &mut Context<'_>) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for (index, text) in context.strings(raw, at).iter().enumerate() {
        match text.parse::<IpNet>() {
            Ok(network) => networks.push(network),
            Err(_) => context.report.mend(&at.item(index), format!("`{text}` is not a network"), "write it as `10.20.0.0/16`"),
        }
    }
    networks
}

/// By their ids.
pub fn clients(raw: Option<Keyed<RawClient>>, at: &At<'_>, context: &mut Context<'_>) -> BTreeMap<String, Arc<RegisteredClient>> {
    let Some(Keyed(raw)) = raw else { return BTreeMap::new() };
    let mut clients = BTreeMap::new();
    for (id, raw) in raw {
        let here = at.key(&id);
        let is_plain = !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain || client_id::is_url(&id) || id.starts_with("dyn-") {
            let hint =
                "write letters, digits and signs; clients whose id is an address publish a document, and `dyn-` is for those that register";
            context.report.mend(&here, format!("`{id}` cannot be the id of a client"), hint);
        }
        if let Some(client) = client(&id, raw, &here, context) {
            clients.insert(id, Arc::new(client));
        }
    }
    clients
}

fn client(id: &str, raw: RawClient, at: &At<'_>, context: &mut Context<'_>) -> Option<RegisteredClient> {
    let RawClient { name, redirect_uris, grant_types, secret_file, secret_env, jwks_file, jwks_uri, scopes, require_dpop } = raw;
    let redirect_uris = redirects(redirect_uris, &at.key("redirect_uris"), context);
    let authentication = authentication([secret_file, secret_env, jwks_file, jwks_uri], at, context);
    let grant_types = grants(grant_types, !redirect_uris.is_empty());
    let is_public = authentication == Some(ClientAuthentication::None);
    let has = |grant| grant_types.contains(&grant);
    if has(GrantType::AuthorizationCode) && redirect_uris.is_empty() {
        context.missing_key(at, "redirect_uris", "`authorization_code` sends an answer somewhere");
    } else if has(GrantType::ClientCredentials) && is_public {
        context.report.missing(
            at,
            "a client that acts for itself proves itself",
            "name one of `secret_file`, `secret_env`, `jwks_file` and `jwks_uri`",
        );
    }
    let scope = scopes.map(|scopes| self::scopes(scopes, &at.key("scopes"), context));
    let mut client = RegisteredClient {
        id: id.to_owned(),
        kind: ClientKind::Configured,
        name: name.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| id.to_owned()),
        uri: None,
        redirect_uris,
        grant_types,
        authentication: authentication?,
        scope,
        software_id: None,
        fingerprint: String::new(),
        dpop_bound: require_dpop.unwrap_or(false),
    };
    client.fingerprint = fingerprint(&client);
    Some(client)
}

/// Of what a consent leans on. A new secret asks nobody again.
fn fingerprint(client: &RegisteredClient) -> String {
    let said = format!("{:?}", (&client.id, &client.name, &client.redirect_uris));
    let hash = digest(&SHA256, said.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn redirects(raw: Option<Strings>, at: &At<'_>, context: &mut Context<'_>) -> Vec<String> {
    let uris = context.strings(raw, at);
    for (index, uri) in uris.iter().enumerate() {
        if let Err(fault) = Place::of(uri) {
            let hint = "an https address, http on loopback, or an app's own scheme such as `com.example.app:/callback`";
            context.report.mend(&at.item(index), format!("`{uri}`: {}", fault.text()), hint);
        }
    }
    uris
}

fn grants(raw: Option<Vec<RawGrant>>, has_redirects: bool) -> Vec<GrantType> {
    let grant = |raw: RawGrant| match raw {
        RawGrant::AuthorizationCode => GrantType::AuthorizationCode,
        RawGrant::RefreshToken => GrantType::RefreshToken,
        RawGrant::ClientCredentials => GrantType::ClientCredentials,
        RawGrant::JwtBearer => GrantType::JwtBearer,
    };
    match raw {
        Some(raw) => raw.into_iter().map(grant).collect(),
        None if has_redirects => vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
        None => vec![GrantType::ClientCredentials],
    }
}

fn authentication(
    [secret_file, secret_env, jwks_file, jwks_uri]: [Option<String>; 4],
    at: &At<'_>,
    context: &mut Context<'_>,
) -> Option<ClientAuthentication> {
    let secret = |text: String| {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        ClientAuthentication::Secret(bytes)
    };
    match (secret_file, secret_env, jwks_file, jwks_uri) {
        (None, None, None, None) => Some(ClientAuthentication::None),
        (Some(file), None, None, None) => context.secret_file(&at.key("secret_file"), &file).map(secret),
        (None, Some(variable), None, None) => context.secret_env(&at.key("secret_env"), &variable).map(secret),
        (None, None, Some(file), None) => {
            let here = at.key("jwks_file");
            let path = context.key_set(&here, &file)?;
            let set = std::fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok())?;
            Some(ClientAuthentication::Keys(ClientKeys::Inline(set)))
        }
        (None, None, None, Some(url)) => {
            if let Err(fault) = DocumentUrl::parse(&url, false) {
                context.report.mend(
                    &at.key("jwks_uri"),
                    format!("`{url}`: {}", fault.text()),
                    "write the https address of the client's key set",
                );
                return None;
            }
            Some(ClientAuthentication::Keys(ClientKeys::At(url)))
        }
        _ => {
            let hint = "keep one of `secret_file`, `secret_env`, `jwks_file` and `jwks_uri`";
            context.report.mend(at, "the client proves itself in more than one way", hint);
            None
        }
    }
}

fn scopes(raw: Strings, at: &At<'_>, context: &mut Context<'_>) -> Vec<String> {
    let scopes = context.strings(Some(raw), at);
    for (index, scope) in scopes.iter().enumerate().filter(|(_, scope)| !is_scope_token(scope)) {
        context.report.mend(&at.item(index), format!("`{scope}` is not a scope"), "one scope an entry, without spaces");
    }
    scopes
}
