//! What does an authorization request ask for, and may it be asked (RFC 6749 §4.1.1, OAuth 2.1 §4.1.1)?
//!
//! Client and redirect come first: without both sound nobody is redirected anywhere. Everything after
//! them has a [`Fault`] that may be told to the client. Knows no store; what is registered comes in.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{is_scope_token, pkce};

/// Bytes of a `state` that is carried through.
pub const LONGEST_STATE: usize = 2_048;
/// Scopes in one request.
const MOST_SCOPES: usize = 100;

/// A request's parameters. Those without a value count as left out (RFC 6749 §3.1).
#[derive(Clone, Debug, Default)]
pub struct Parameters(Vec<(String, String)>);

/// A parameter stands more than once (RFC 6749 §3.1). Holds its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated(pub &'static str);

impl Parameters {
    /// Of a query or a form.
    pub fn parse(text: &[u8]) -> Self {
        let pairs = url::form_urlencoded::parse(text).filter(|(_, value)| !value.is_empty());
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The only value of a parameter.
    ///
    /// # Errors
    /// There are several.
    pub fn one(&self, name: &'static str) -> Result<Option<&str>, Repeated> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (_, Some(_)) => Err(Repeated(name)),
            (only, None) => Ok(only),
        }
    }

    /// All values of a parameter that may stand more than once.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// What a client is told, at its redirect URI (RFC 6749 §4.1.2.1, RFC 8707 §2, RFC 9470 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Repeated(&'static str),
    NoResponseType,
    ResponseType,
    ResponseMode,
    /// The client is not registered for codes.
    Grant,
    /// It is approved for other resources.
    Elsewhere,
    RequestObject,
    RequestUri,
    /// `authorization_details`, of which no type is known here (RFC 9396 §5).
    Details,
    NoChallenge,
    Challenge,
    Method,
    /// `dpop_jkt` is no thumbprint (RFC 9449 §10).
    Thumbprint,
    State,
    NoResource,
    Resource,
    Resources,
    Scope,
    Prompt,
    MaxAge,
    /// `prompt=none`, and nobody is signed in.
    LoginRequired,
    /// `prompt=none`, and the person was not asked yet.
    ConsentRequired,
    /// The person said no, or may not use this.
    Denied,
    /// The login cannot be reached.
    Unavailable,
}

impl Fault {
    /// `error`.
    pub fn code(self) -> &'static str {
        match self {
            Self::ResponseType => "unsupported_response_type",
            Self::Grant | Self::Elsewhere => "unauthorized_client",
            Self::RequestObject => "request_not_supported",
            Self::RequestUri => "request_uri_not_supported",
            Self::Details => "invalid_authorization_details",
            Self::NoResource | Self::Resource | Self::Resources => "invalid_target",
            Self::Scope => "invalid_scope",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::Denied => "access_denied",
            Self::Unavailable => "temporarily_unavailable",
            Self::Repeated(_)
            | Self::NoResponseType
            | Self::ResponseMode
            | Self::NoChallenge
            | Self::Challenge
            | Self::Method
            | Self::Thumbprint
            | Self::State
            | Self::Prompt
            | Self::MaxAge => "invalid_request",
        }
    }

    /// `error_description`, in the characters of RFC 6749 §4.1.2.1. Never holds what was sent.
    pub fn description(self) -> &'static str {
        match self {
            Self::Repeated(_) => "a parameter stands more than once",
            Self::NoResponseType => "response_type is missing; it must be code",
            Self::ResponseType => "only response_type=code is supported",
            Self::ResponseMode => "only response_mode=query is supported",
            Self::Grant => "this client is not registered for the authorization_code grant",
            Self::Elsewhere => "this client is approved for other resources",
            Self::RequestObject => "request objects are not supported",
            Self::RequestUri => "request_uri is not supported",
            Self::Details => "no type of authorization_details is known here; ask for scopes",
            Self::NoChallenge => "PKCE is required: code_challenge is missing",
            Self::Challenge => "code_challenge is not the base64url of a SHA-256 digest",
            Self::Method => "code_challenge_method must be S256",
            Self::Thumbprint => "dpop_jkt is not the thumbprint of a key",
            Self::State => "state is too long",
            Self::NoResource => "resource is missing, and there is more than one",
            Self::Resource => "resource is not one of this server",
            Self::Resources => "a token is for one resource; ask for each on its own",
            Self::Scope => "none of the scopes is known for this resource, or one is malformed",
            Self::Prompt => "prompt has a value that is not supported, or none beside another",
            Self::MaxAge => "max_age is not a number of seconds",
            Self::LoginRequired => "nobody is signed in, and prompt=none forbids to ask",
            Self::ConsentRequired => "the person was not asked yet, and prompt=none forbids to ask",
            Self::Denied => "access was not granted",
            Self::Unavailable => "the login is not available at present",
        }
    }

    /// The label for audit and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Repeated(_) => "authorize_repeated",
            Self::NoResponseType | Self::ResponseType => "authorize_response_type",
            Self::ResponseMode => "authorize_response_mode",
            Self::Grant => "authorize_grant",
            Self::Elsewhere => "authorize_upstream",
            Self::RequestObject | Self::RequestUri => "authorize_request_object",
            Self::Details => "authorize_details",
            Self::NoChallenge | Self::Challenge | Self::Method => "authorize_pkce",
            Self::Thumbprint => "authorize_dpop",
            Self::State => "authorize_state",
            Self::NoResource | Self::Resource | Self::Resources => "authorize_resource",
            Self::Scope => "authorize_scope",
            Self::Prompt | Self::MaxAge => "authorize_prompt",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::Denied => "access_denied",
            Self::Unavailable => "login_unavailable",
        }
    }
}

impl From<Repeated> for Fault {
    fn from(Repeated(name): Repeated) -> Self {
        Self::Repeated(name)
    }
}

/// A resource that tokens are issued for.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    /// As it stands in tokens.
    pub identifier: &'a str,
    /// The upstream's name.
    pub upstream: &'a Arc<str>,
    /// The scopes that mean something there.
    pub scopes: &'a [String],
}

/// Every resource that tokens are issued for.
pub trait Resources {
    /// The one that is meant by this spelling (RFC 8707 §2).
    fn find(&self, asked: &str) -> Option<Resource<'_>>;

    /// The only one there is.
    fn only(&self) -> Option<Resource<'_>>;
}

/// What must happen before an answer (OpenID Connect Core §3.1.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// Nothing may be shown.
    pub none: bool,
    /// The person signs in anew.
    pub login: bool,
    /// The person is asked again.
    pub consent: bool,
}

/// A checked request: what a code, and then tokens, will be for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorized {
    pub client_id: String,
    /// Where the answer goes, exactly as asked.
    pub redirect_uri: String,
    /// The registered URI that it matches; another port on loopback apart, the same. Consent is kept by it.
    pub registered_uri: String,
    /// Of PKCE, by S256.
    pub challenge: String,
    /// The canonical resource, which becomes the audience (RFC 8707).
    pub resource: String,
    /// The upstream behind it.
    pub upstream: Arc<str>,
    pub scopes: Vec<String>,
    /// The client may have a refresh token too.
    pub offline: bool,
    pub state: Option<String>,
    /// The thumbprint of the key that the code is bound to (RFC 9449 §10).
    pub dpop_jkt: Option<String>,
    #[serde(default)]
    pub prompt: Prompt,
    /// The login may be no older, in seconds (RFC 9470 §4).
    pub max_age: Option<u64>,
    /// Classes of login that were asked for, the preferred one first.
    #[serde(default)]
    pub acr_values: Vec<String>,
}

/// What is known of the client when a request of it is read.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    pub client_id: &'a str,
    pub redirect_uri: &'a str,
    pub registered_uri: &'a str,
    /// It is registered for the authorization code grant.
    pub takes_codes: bool,
    /// It is registered for refresh tokens.
    pub refreshes: bool,
    /// The scopes that it may have; none is all.
    pub ceiling: Option<&'a [String]>,
}

impl Authorized {
    /// Everything after client and redirect. Scopes that mean nothing there, or that the client may not have, are left
    /// out (RFC 6749 §3.3); one that is left must be.
    ///
    /// # Errors
    /// What the client is told.
    pub fn check(parameters: &Parameters, asker: &Asker<'_>, resources: &impl Resources) -> Result<Self, Fault> {
        match parameters.one("response_type")? {
            None => return Err(Fault::NoResponseType),
            Some("code") => {}
            Some(_) => return Err(Fault::ResponseType),
        }
        if !asker.takes_codes {
            return Err(Fault::Grant);
        }
        if parameters.one("request")?.is_some() {
            return Err(Fault::RequestObject);
        }
        if parameters.one("request_uri")?.is_some() {
            return Err(Fault::RequestUri);
        }
        if parameters.one("authorization_details")?.is_some() {
            return Err(Fault::Details);
        }
        if parameters.one("response_mode")?.is_some_and(|mode| mode != "query") {
            return Err(Fault::ResponseMode);
        }
        let challenge = challenge(parameters)?;
        let state = parameters.one("state")?;
        if state.is_some_and(|state| state.len() > LONGEST_STATE) {
            return Err(Fault::State);
        }
        let dpop_jkt = parameters.one("dpop_jkt")?;
        if dpop_jkt.is_some_and(|thumbprint| !pkce::is_challenge(thumbprint)) {
            return Err(Fault::Thumbprint);
        }
        let resource = resource(parameters, resources)?;
        let scopes = scopes(parameters.one("scope")?, &resource, asker.ceiling)?;
        let max_age = parameters.one("max_age")?.map(str::parse::<u64>).transpose().map_err(|_| Fault::MaxAge)?;
        let acr_values = parameters.one("acr_values")?.unwrap_or_default();
        Ok(Self {
            client_id: asker.client_id.to_owned(),
            redirect_uri: asker.redirect_uri.to_owned(),
            registered_uri: asker.registered_uri.to_owned(),
            challenge: challenge.to_owned(),
            resource: resource.identifier.to_owned(),
            upstream: resource.upstream.clone(),
            scopes,
            offline: asker.refreshes,
            state: state.map(str::to_owned),
            dpop_jkt: dpop_jkt.map(str::to_owned),
            prompt: prompt(parameters.one("prompt")?)?,
            max_age,
            acr_values: acr_values.split(' ').filter(|class| is_scope_token(class)).take(8).map(str::to_owned).collect(),
        })
    }
}

/// A missing method is `plain` (RFC 7636 §4.3), which is refused (OAuth 2.1 §7.5.1).
fn challenge(parameters: &Parameters) -> Result<&str, Fault> {
    let challenge = parameters.one("code_challenge")?.ok_or(Fault::NoChallenge)?;
    if parameters.one("code_challenge_method")? != Some("S256") {
        return Err(Fault::Method);
    }
    if pkce::is_challenge(challenge) { Ok(challenge) } else { Err(Fault::Challenge) }
}

fn resource<'r>(parameters: &Parameters, resources: &'r impl Resources) -> Result<Resource<'r>, Fault> {
    let mut found: Option<Resource<'_>> = None;
    for asked in parameters.all("resource") {
        let one = resources.find(asked).ok_or(Fault::Resource)?;
        if found.is_some_and(|other| other.identifier != one.identifier) {
            return Err(Fault::Resources);
        }
        found = Some(one);
    }
    // Clients of 2025-03-26 name none.
    found.or_else(|| resources.only()).ok_or(Fault::NoResource)
}

fn scopes(asked: Option<&str>, resource: &Resource<'_>, ceiling: Option<&[String]>) -> Result<Vec<String>, Fault> {
    let allowed = |scope: &str| ceiling.is_none_or(|ceiling| ceiling.iter().any(|one| one == scope));
    let Some(asked) = asked else {
        return Ok(resource.scopes.iter().filter(|scope| allowed(scope)).cloned().collect());
    };
    let words: Vec<&str> = asked.split(' ').filter(|word| !word.is_empty()).collect();
    if words.len() > MOST_SCOPES || words.iter().any(|word| !is_scope_token(word)) {
        return Err(Fault::Scope);
    }
    let mut granted: Vec<String> = Vec::new();
    for word in &words {
        let known = resource.scopes.iter().any(|scope| scope == word) && allowed(word);
        if known && !granted.iter().any(|one| one == word) {
            granted.push((*word).to_owned());
        }
    }
    // It asks for a refresh token (OpenID Connect Core §11), and is no scope of a resource.
    let asks = words.iter().any(|word| *word != "offline_access");
    if granted.is_empty() && asks { Err(Fault::Scope) } else { Ok(granted) }
}

fn prompt(asked: Option<&str>) -> Result<Prompt, Fault> {
    let mut prompt = Prompt::default();
    for word in asked.unwrap_or_default().split(' ').filter(|word| !word.is_empty()) {
        match word {
            "none" => prompt.none = true,
            "login" | "select_account" => prompt.login = true,
            "consent" => prompt.consent = true,
            _ => return Err(Fault::Prompt),
        }
    }
    if prompt.none && (prompt.login || prompt.consent) {
        return Err(Fault::Prompt);
    }
    Ok(prompt)
}

/// The address of an answer: what the redirect URI has already, then these, each once (RFC 6749 §4.1.2, RFC 9207 §2).
/// None where the redirect URI is no URL.
pub fn answer(redirect_uri: &str, parameters: &[(&str, &str)]) -> Option<String> {
    if redirect_uri.bytes().any(|byte| byte.is_ascii_control() || byte == b'#') || !redirect_uri.contains(':') {
        return None;
    }
    let query = parameters
        .iter()
        .fold(&mut url::form_urlencoded::Serializer::new(String::new()), |all, (name, value)| all.append_pair(name, value))
        .finish();
    // The URI is compared by code point, so it must not be spelled anew here.
    let joint = if redirect_uri.contains('?') { '&' } else { '?' };
    Some(format!("{redirect_uri}{joint}{query}"))
}

#[cfg(test)]
mod tests;
