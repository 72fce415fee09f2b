//! What does a client say of itself? Its metadata (RFC 7591 §2), read once; what cannot be had is left out.
//!
//! The same for those that register and for those that publish a document (`client_document`). Nothing of it is proven.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::client_id::DocumentUrl;
use super::redirect::{self, Place};
use super::{ClientAuthentication, ClientKeys, ClientKind, Code, GrantType, OAuthError, RegisteredClient};
use crate::token::json;

/// Characters of a name.
const LONGEST_NAME: usize = 100;
/// Bytes of another text.
const LONGEST: usize = 1_024;
/// Bytes of a key set within metadata, and its keys.
const LARGEST_KEYS: usize = 8 << 10;
const MOST_KEYS: usize = 10;
/// Members of a JWK that nobody shows (RFC 7518 §6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// Grants that need no person, and so are only for clients that prove themselves.
const ALONE: [GrantType; 2] = [GrantType::ClientCredentials, GrantType::JwtBearer];

/// How a client says that it will prove itself, as in `token_endpoint_auth_method`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    #[default]
    None,
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
}

impl Method {
    pub fn named(name: &str) -> Option<Self> {
        serde_json::from_value(name.into()).ok()
    }

    pub fn has_secret(self) -> bool {
        matches!(self, Self::ClientSecretBasic | Self::ClientSecretPost)
    }
}

/// Where the metadata comes from, and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// Posted by anyone.
    Registration,
    /// Published at the client's id: it holds no secret.
    Document,
}

/// What a client has said, as far as it holds here. Spelled as in RFC 7591; what it has not is absent, never null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redirect_uris: Vec<String>,
    pub grant_types: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub response_types: Vec<String>,
    pub token_endpoint_auth_method: Method,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dpop_bound_access_tokens: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logo_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tos_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software_version: Option<String>,
}

/// The same as it was sent. Members that are not known here are ignored (RFC 7591 §2); those that are null are absent.
#[derive(Deserialize)]
struct Stated {
    client_name: Option<String>,
    redirect_uris: Option<Vec<String>>,
    grant_types: Option<Vec<String>>,
    response_types: Option<Vec<String>>,
    token_endpoint_auth_method: Option<String>,
    jwks: Option<Value>,
    jwks_uri: Option<String>,
    dpop_bound_access_tokens: Option<bool>,
    client_uri: Option<String>,
    logo_uri: Option<String>,
    tos_uri: Option<String>,
    policy_uri: Option<String>,
    software_id: Option<String>,
    software_version: Option<String>,
}

/// Why metadata is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not one JSON object with one reading.
    Object,
    /// A member of another type than RFC 7591 says.
    Type,
    Redirect(redirect::Fault),
    NoRedirect,
    ManyRedirects,
    /// `grant_types` and `response_types` do not belong together (RFC 7591 §2.1).
    Inconsistent,
    /// No grant that there is here.
    Grants,
    Method,
    /// `jwks` and `jwks_uri` at once (RFC 7591 §2).
    TwoKeySets,
    NoKeySet,
    KeySet,
    PrivateKey,
    KeySetUrl,
    Name,
    /// A document needs a name.
    NoName,
    Address,
    Long,
    /// A document that says it holds a secret.
    Secret,
    /// A replacement that names another client, or what is not the client's to say (RFC 7592 §2.2).
    Replacement,
}

impl Fault {
    pub fn error(self) -> OAuthError {
        let (code, description) = match self {
            Self::Redirect(fault) => (Code::InvalidRedirectUri, fault.text()),
            Self::NoRedirect => (Code::InvalidRedirectUri, "redirect_uris must name at least one"),
            Self::ManyRedirects => (Code::InvalidRedirectUri, "redirect_uris may name at most 10"),
            fault => (Code::InvalidClientMetadata, fault.text()),
        };
        OAuthError::new(code, description)
    }

    /// For a person who is told why a client cannot be used.
    pub fn text(self) -> &'static str {
        match self {
            Self::Object => "the metadata must be one JSON object without duplicate members",
            Self::Type => "a member of the metadata has another type than RFC 7591 says",
            Self::Redirect(fault) => fault.text(),
            Self::NoRedirect => "it names no redirect URI",
            Self::ManyRedirects => "it names more than 10 redirect URIs",
            Self::Inconsistent => "grant_types and response_types do not belong together",
            Self::Grants => "grant_types must name authorization_code, or for a client that proves itself another grant of this server",
            Self::Method => "token_endpoint_auth_method must be one of those in the metadata of this server",
            Self::TwoKeySets => "jwks and jwks_uri must not both be present",
            Self::NoKeySet => "private_key_jwt needs jwks or jwks_uri",
            Self::KeySet => "jwks must be a JSON Web Key Set of at most 10 keys and 8 KiB",
            Self::PrivateKey => "jwks must hold public keys alone",
            Self::KeySetUrl => "jwks_uri must be an https URL",
            Self::Name => "client_name must be at most 100 characters, without control characters",
            Self::NoName => "the document must have a client_name",
            Self::Address => "client_uri, logo_uri, tos_uri and policy_uri must be web addresses",
            Self::Long => "a member of the metadata is longer than 1024 bytes",
            Self::Secret => "a document must not speak of a client secret",
            Self::Replacement => "the request must name its own client_id, and nothing that the server alone says",
        }
    }
}

impl Metadata {
    /// Reads what was posted or published. `allow_loopback` lets plain `http` on loopback pass for `jwks_uri`.
    ///
    /// # Errors
    /// The first fault.
    pub fn read(text: &[u8], from: Whence, allow_loopback: bool) -> Result<Self, Fault> {
        Self::of(json::object(text).ok_or(Fault::Object)?, from, allow_loopback)
    }

    /// As [`Self::read`] of an object.
    ///
    /// # Errors
    /// The first fault.
    pub fn of(object: Map<String, Value>, from: Whence, allow_loopback: bool) -> Result<Self, Fault> {
        let stated: Stated = serde_json::from_value(Value::Object(object)).map_err(|_| Fault::Type)?;
        let method = method(stated.token_endpoint_auth_method.as_deref(), from)?;
        let grants = grants(stated.grant_types, stated.response_types, method)?;
        let has_code = grants.contains(&GrantType::AuthorizationCode);
        let redirect_uris = redirects(stated.redirect_uris.unwrap_or_default(), has_code)?;
        let (jwks, jwks_uri) = keys(stated.jwks, stated.jwks_uri, method, allow_loopback)?;
        Ok(Self {
            client_name: name(stated.client_name)?,
            redirect_uris,
            grant_types: grants.into_iter().map(|grant| grant.name().to_owned()).collect(),
            response_types: if has_code { vec!["code".into()] } else { vec![] },
            token_endpoint_auth_method: method,
            jwks,
            jwks_uri,
            dpop_bound_access_tokens: stated.dpop_bound_access_tokens.unwrap_or_default(),
            client_uri: address(stated.client_uri)?,
            logo_uri: address(stated.logo_uri)?,
            tos_uri: address(stated.tos_uri)?,
            policy_uri: address(stated.policy_uri)?,
            software_id: text(stated.software_id)?,
            software_version: text(stated.software_version)?,
        })
    }

    /// A replacement of all metadata of this client (RFC 7592 §2.2). `secret` says whether the one that was sent is its own.
    ///
    /// # Errors
    /// The first fault.
    pub fn replacement(text: &[u8], id: &str, secret: impl FnOnce(&str) -> bool, allow_loopback: bool) -> Result<Self, Fault> {
        const OURS: [&str; 4] = ["registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"];
        let object = json::object(text).ok_or(Fault::Object)?;
        let is_own = object.get("client_id").and_then(Value::as_str) == Some(id);
        let is_secret = object.get("client_secret").is_none_or(|sent| sent.as_str().is_some_and(secret));
        if !is_own || !is_secret || OURS.iter().any(|name| object.contains_key(*name)) {
            return Err(Fault::Replacement);
        }
        Self::of(object, Whence::Registration, allow_loopback)
    }

    /// As it is called: by its name, or else by where its answers go.
    pub fn name(&self) -> String {
        let host = || self.redirect_uris.iter().find_map(|uri| redirect::host(uri)).unwrap_or_default();
        self.client_name.clone().unwrap_or_else(host)
    }

    /// Of everything that a person or an operator decides on. Programs that register alike are one, whatever their port.
    pub fn fingerprint(&self) -> String {
        let mut places: Vec<String> = self.redirect_uris.iter().map(|uri| redirect::essence(uri)).collect();
        places.sort_unstable();
        places.dedup();
        let said = json!([
            self.client_name,
            places,
            self.grant_types,
            self.token_endpoint_auth_method,
            self.jwks,
            self.jwks_uri,
            self.dpop_bound_access_tokens,
            self.client_uri,
            self.software_id,
        ]);
        URL_SAFE_NO_PAD.encode(digest(&SHA256, said.to_string().as_bytes()))
    }

    /// The id of a client without a secret: it follows from what the client says, so whoever says the same is the same
    /// client, on every replica and after a retirement too.
    pub fn public_id(&self) -> String {
        format!("dyn-{}", self.fingerprint().chars().take(22).collect::<String>())
    }

    /// The client as the endpoints need it. Grants without a person are for those on whom one has decided.
    pub fn client(&self, id: &str, kind: ClientKind, secret: Option<[u8; 32]>, is_decided: bool) -> RegisteredClient {
        let grants = self.grant_types.iter().filter_map(|name| GrantType::named(name));
        let keys = || match (&self.jwks, &self.jwks_uri) {
            (Some(set), _) => ClientKeys::Inline(set.clone()),
            (None, place) => ClientKeys::At(place.clone().unwrap_or_default()),
        };
        RegisteredClient {
            id: id.to_owned(),
            kind,
            name: self.name(),
            uri: self.client_uri.clone(),
            redirect_uris: self.redirect_uris.clone(),
            grant_types: grants.filter(|grant| is_decided || !ALONE.contains(grant)).collect(),
            authentication: match (self.token_endpoint_auth_method, secret) {
                (Method::None, _) => ClientAuthentication::None,
                (Method::PrivateKeyJwt, _) => ClientAuthentication::Keys(keys()),
                // SECURITY: no secret equals a digest of nothing but zeros.
                (_, secret) => ClientAuthentication::Secret(secret.unwrap_or_default()),
            },
            // SDKs register the scopes of their first challenge and ask for more later: what it may have is decided elsewhere.
            scope: None,
            software_id: self.software_id.clone(),
            fingerprint: self.fingerprint(),
            dpop_bound: self.dpop_bound_access_tokens,
        }
    }

    /// The client information response (RFC 7591 §3.2.1) without what is secret.
    pub fn answer(&self, id: &str, issued_at: u64) -> Map<String, Value> {
        let said = serde_json::to_value(self).ok();
        let mut answer = Map::from_iter([("client_id".to_owned(), Value::from(id)), ("client_id_issued_at".to_owned(), issued_at.into())]);
        if let Some(Value::Object(members)) = said {
            answer.extend(members);
        }
        answer
    }
}

fn method(stated: Option<&str>, from: Whence) -> Result<Method, Fault> {
    let method = match (stated, from) {
        (Some(name), _) => Method::named(name).ok_or(Fault::Method)?,
        // RFC 7591 §2.
        (None, Whence::Registration) => Method::ClientSecretBasic,
        (None, Whence::Document) => Method::None,
    };
    if from == Whence::Document && method.has_secret() { Err(Fault::Secret) } else { Ok(method) }
}

/// Those that there are here, in our order. What else a client can do is left out, and it is told so by what it gets back.
fn grants(stated: Option<Vec<String>>, responses: Option<Vec<String>>, method: Method) -> Result<Vec<GrantType>, Fault> {
    let stated = stated.unwrap_or_else(|| vec![GrantType::AuthorizationCode.name().to_owned()]);
    let names = |name: &str| stated.iter().any(|one| one == name);
    if let Some(responses) = responses {
        let answers = |name: &str| responses.iter().any(|response| response.split(' ').any(|one| one == name));
        let is_consistent = answers("code") == names("authorization_code") && answers("token") == names("implicit");
        if !is_consistent {
            return Err(Fault::Inconsistent);
        }
    }
    let is_proven = method != Method::None;
    let may = |grant: &GrantType| names(grant.name()) && (is_proven || !ALONE.contains(grant));
    let grants: Vec<GrantType> = GrantType::ALL.into_iter().filter(may).collect();
    if grants.iter().all(|grant| *grant == GrantType::RefreshToken) { Err(Fault::Grants) } else { Ok(grants) }
}

/// Each is judged by itself: a client is not kept out for one that no answer would go to anyway.
fn redirects(stated: Vec<String>, is_needed: bool) -> Result<Vec<String>, Fault> {
    if stated.len() > redirect::MOST {
        return Err(Fault::ManyRedirects);
    }
    let (mut kept, mut dropped) = (Vec::new(), None);
    for uri in stated {
        match Place::of(&uri) {
            Ok(_) if kept.contains(&uri) => {}
            Ok(_) => kept.push(uri),
            Err(fault) if fault.is_dropped() => dropped = Some(fault),
            Err(fault) => return Err(Fault::Redirect(fault)),
        }
    }
    match dropped {
        Some(fault) if kept.is_empty() => Err(Fault::Redirect(fault)),
        _ if kept.is_empty() && is_needed => Err(Fault::NoRedirect),
        _ => Ok(kept),
    }
}

/// SECURITY: a private key is refused even where no key is needed, so that its owner learns of it.
fn keys(set: Option<Value>, place: Option<String>, method: Method, allow_loopback: bool) -> Result<(Option<Value>, Option<String>), Fault> {
    if set.is_some() && place.is_some() {
        return Err(Fault::TwoKeySets);
    }
    if let Some(set) = &set {
        check_keys(set)?;
    }
    if let Some(place) = &place {
        DocumentUrl::parse(place, allow_loopback).map_err(|_| Fault::KeySetUrl)?;
    }
    match method {
        Method::PrivateKeyJwt if set.is_none() && place.is_none() => Err(Fault::NoKeySet),
        Method::PrivateKeyJwt => Ok((set, place)),
        _ => Ok((None, None)),
    }
}

fn check_keys(set: &Value) -> Result<(), Fault> {
    let keys = set.get("keys").and_then(Value::as_array).ok_or(Fault::KeySet)?;
    if keys.is_empty() || keys.len() > MOST_KEYS || set.to_string().len() > LARGEST_KEYS {
        return Err(Fault::KeySet);
    }
    let is_private = |key: &Value| PRIVATE.iter().any(|member| key.get(member).is_some()) || key.get("kty").is_some_and(|kty| kty == "oct");
    if keys.iter().any(is_private) { Err(Fault::PrivateKey) } else { Ok(()) }
}

/// SECURITY: what would turn the direction of a text around is refused with the control characters.
fn name(stated: Option<String>) -> Result<Option<String>, Fault> {
    let Some(name) = stated.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()) else { return Ok(None) };
    let turns = |letter: char| matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_fine = name.chars().count() <= LONGEST_NAME && !name.chars().any(|letter| letter.is_control() || turns(letter));
    if is_fine { Ok(Some(name)) } else { Err(Fault::Name) }
}

/// An address that a person may be shown. One that is not https is left out.
fn address(stated: Option<String>) -> Result<Option<String>, Fault> {
    let Some(address) = text(stated)? else { return Ok(None) };
    let url = url::Url::parse(&address).map_err(|_| Fault::Address)?;
    match url.scheme() {
        "https" if url.username().is_empty() && url.password().is_none() => Ok(Some(url.into())),
        "http" => Ok(None),
        _ => Err(Fault::Address),
    }
}

fn text(stated: Option<String>) -> Result<Option<String>, Fault> {
    match stated {
        Some(text) if text.len() > LONGEST || text.chars().any(char::is_control) => Err(Fault::Long),
        other => Ok(other.filter(|text| !text.is_empty())),
    }
}

#[cfg(test)]
mod tests;
