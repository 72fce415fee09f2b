//! Who is this person, says the login? Out to it with a browser, back with a code, and asked again later.
//!
//! [`oidc`] is OpenID Connect with PKCE, nonce and `iss`; [`oauth2`] a plain OAuth 2 server with a user endpoint,
//! `github` its organisations and teams; [`application`] an application's own login page; `person` makes a
//! [`Person`] of what each says, and says who may come in. Tokens of a login never leave this room but as a
//! [`Kept`], which its keeper seals.

pub mod application;
mod github;
pub mod oauth2;
pub mod oidc;
mod person;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::http::Http;
use super::{BuildError, FetchError};
use crate::config::login::{Login, LoginClient, Logins};
use crate::oauth::Person;
use crate::token;

pub use person::{PREFIXES, from_application};

/// Why somebody did not come in. For the operator; holds nothing of a token or of what a person is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginError {
    Fetch(FetchError),
    /// The login refused: status and error code (RFC 6749 §5.2).
    Refused(u16, String),
    /// The answer is not one that the standards describe.
    Answer(&'static str),
    IdToken(token::Error),
    /// The answer is of another issuer than the one that was asked (RFC 9207 §2.4).
    MixUp,
    /// The person signed in longer ago than was asked for.
    Stale,
    /// It names nobody, or somebody that another login could name too.
    Subject,
    /// The person is not one of those who may come in.
    Entrance,
    /// The login speaks of another person than before.
    OtherPerson,
    /// There is no such login any more, or none that could be asked.
    NoLogin,
}

impl LoginError {
    /// Whether the person is out, and not merely unknown at present.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Refused(400 | 401, code) => matches!(code.as_str(), "invalid_grant" | "invalid_token"),
            Self::Entrance | Self::OtherPerson | Self::NoLogin => true,
            Self::Fetch(_) | Self::Refused(..) | Self::Answer(_) | Self::IdToken(_) | Self::MixUp | Self::Stale | Self::Subject => false,
        }
    }

    /// The label for audit and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Fetch(_) => "login_unavailable",
            Self::Refused(..) => "login_refused",
            Self::Answer(_) => "login_answer",
            Self::IdToken(_) => "login_id_token",
            Self::MixUp => "login_mix_up",
            Self::Stale => "login_stale",
            Self::Subject => "login_subject",
            Self::Entrance => "login_entrance",
            Self::OtherPerson => "login_other_person",
            Self::NoLogin => "login_gone",
        }
    }
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetch(error) => error.fmt(f),
            Self::Refused(status, code) => write!(f, "the login refused with {status} `{code}`"),
            Self::Answer(what) => write!(f, "the answer of the login {what}"),
            Self::IdToken(error) => write!(f, "the ID token is not believed: {error:?}"),
            Self::MixUp => f.write_str("the answer is of another issuer than was asked (RFC 9207)"),
            Self::Stale => f.write_str("the person did not sign in anew, as was asked for"),
            Self::Subject => f.write_str("the login names nobody, or somebody whom another login could name"),
            Self::Entrance => f.write_str("the person is not one of those that `require`, `organizations` or `teams` let in"),
            Self::OtherPerson => f.write_str("the login speaks of another person than before"),
            Self::NoLogin => f.write_str("there is no such login any more"),
        }
    }
}

impl From<FetchError> for LoginError {
    fn from(error: FetchError) -> Self {
        Self::Fetch(error)
    }
}

/// How a person is sent to a login.
#[derive(Clone, Copy, Debug)]
pub struct Departure<'a> {
    /// Comes back with the person.
    pub state: &'a str,
    pub nonce: &'a str,
    /// Of PKCE, by S256.
    pub challenge: &'a str,
    /// Where the person comes back to.
    pub redirect_uri: &'a str,
    /// The person signs in anew, whoever is signed in there.
    pub anew: bool,
    /// In seconds.
    pub max_age: Option<u64>,
    pub acr_values: &'a [String],
}

/// How a person comes back.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    pub code: &'a str,
    /// Of the answer, where it has one (RFC 9207).
    pub issuer: Option<&'a str>,
    pub verifier: &'a str,
    pub nonce: &'a str,
    pub redirect_uri: &'a str,
    /// In seconds.
    pub max_age: Option<u64>,
    /// Claim paths that tokens carry on.
    pub kept: &'a [String],
    pub now: SystemTime,
}

/// A token of a login, by which it can be asked about the person later. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept(String);

impl Kept {
    pub fn new(token: String) -> Self {
        Self(token)
    }

    /// To be sealed.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Whoever came in.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub person: Person,
    /// None where nobody can be asked about the person later.
    pub kept: Option<Kept>,
}

/// What a login says of a person later on.
#[derive(Clone, Debug, Default)]
pub struct Recheck {
    /// None where it says no more than that the person is still there.
    pub person: Option<Person>,
    /// In the place of what was kept.
    pub kept: Option<Kept>,
}

/// Every login that sends people away, ready to be asked.
#[derive(Debug, Default)]
pub struct LoginGates {
    entries: BTreeMap<&'static str, Arc<Gate>>,
}

/// One login.
#[derive(Debug)]
pub enum Gate {
    Oidc(oidc::Oidc),
    OAuth2(oauth2::OAuth2),
    Application(application::Application),
}

impl LoginGates {
    /// Fetches nothing yet. What did not change is taken over.
    ///
    /// # Errors
    /// There can be no client.
    pub fn build(logins: Option<&Logins>, old: Option<&Self>) -> Result<Self, BuildError> {
        let mut new = Self::default();
        for login in logins.into_iter().flat_map(|logins| &logins.all) {
            let name = login.name();
            if let Some(same) = old.and_then(|old| old.entries.get(name)).filter(|gate| gate.is_for(login)) {
                new.entries.insert(name, same.clone());
                continue;
            }
            let http = || Http::new().map_err(|_| BuildError::Client);
            let gate = match login {
                Login::Oidc(login) => Gate::Oidc(oidc::Oidc::new(http()?, login)),
                Login::OAuth2(login) => Gate::OAuth2(oauth2::OAuth2::new(http()?, login)),
                Login::Application(login) => Gate::Application(application::Application::new(http()?, login)),
                Login::Accounts(_) => continue,
            };
            new.entries.insert(name, Arc::new(gate));
        }
        Ok(new)
    }

    pub fn find(&self, name: &str) -> Option<&Arc<Gate>> {
        self.entries.get(name)
    }
}

impl Gate {
    fn is_for(&self, login: &Login) -> bool {
        match (self, login) {
            (Self::Oidc(gate), Login::Oidc(login)) => gate.login() == &**login,
            (Self::OAuth2(gate), Login::OAuth2(login)) => gate.login() == &**login,
            (Self::Application(gate), Login::Application(login)) => gate.login() == &**login,
            _ => false,
        }
    }

    /// Where the browser goes.
    ///
    /// # Errors
    /// The login cannot be found.
    pub async fn depart(&self, departure: &Departure<'_>) -> Result<String, LoginError> {
        match self {
            Self::Oidc(gate) => gate.depart(departure).await,
            Self::OAuth2(gate) => gate.depart(departure),
            Self::Application(gate) => gate.depart(departure),
        }
    }

    /// Who came back with this code.
    ///
    /// # Errors
    /// Why nobody comes in. An application hands its people over itself.
    pub async fn arrive(&self, arrival: &Arrival<'_>) -> Result<Arrived, LoginError> {
        match self {
            Self::Oidc(gate) => gate.arrive(arrival).await,
            Self::OAuth2(gate) => gate.arrive(arrival).await,
            Self::Application(_) => Err(LoginError::NoLogin),
        }
    }

    /// Whether the person may still come in.
    ///
    /// # Errors
    /// [`LoginError::is_final`] tells whether the person is out, or cannot be asked about at present.
    pub async fn recheck(&self, before: &Person, kept: &Kept, paths: &[String], now: SystemTime) -> Result<Recheck, LoginError> {
        match self {
            Self::Oidc(gate) => gate.recheck(before, kept, paths, now).await,
            Self::OAuth2(gate) => gate.recheck(before, kept, paths).await,
            Self::Application(gate) => gate.recheck(before, paths, now).await,
        }
    }

    /// Whether it can be asked about a person of whom no token is kept.
    pub fn knows_by_name(&self) -> bool {
        matches!(self, Self::Application(gate) if gate.login().status_url.is_some())
    }
}

/// A form with the client's credential in it or beside it (RFC 6749 §2.3.1).
fn authenticated(client: &LoginClient, pairs: &[(&str, &str)]) -> Result<(Option<HeaderValue>, String), LoginError> {
    let mut form = Serializer::new(String::new());
    form.extend_pairs(pairs);
    if client.in_body {
        form.append_pair("client_id", &client.id).append_pair("client_secret", client.secret.text());
        return Ok((None, form.finish()));
    }
    let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(&client.id), encode(client.secret.text()));
    let value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair)));
    let mut value = value.map_err(|_| LoginError::Answer("was not asked for: the client's id or secret cannot be sent"))?;
    value.set_sensitive(true);
    Ok((Some(value), form.finish()))
}

fn bearer(token: &str) -> Result<HeaderValue, LoginError> {
    HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| LoginError::Answer("holds a token that cannot be sent"))
}

/// The members of a token answer that are read (RFC 6749 §5.1, OpenID Connect Core §3.1.3.3).
#[derive(serde::Deserialize)]
struct TokenAnswer {
    access_token: Option<String>,
    refresh_token: Option<String>,
    id_token: Option<String>,
    /// Some say no with a 200.
    error: Option<String>,
}

/// SECURITY: of an error only its code is read: a description could repeat what was sent.
fn token_answer(status: u16, body: &[u8]) -> Result<TokenAnswer, LoginError> {
    let answer: Option<TokenAnswer> = serde_json::from_slice(body).ok();
    let error = answer.as_ref().and_then(|answer| answer.error.as_deref());
    match (status, error, answer.is_some()) {
        (200, None, true) => answer.ok_or(LoginError::Answer("is no JSON object")),
        (200, None, false) => Err(LoginError::Answer("is no JSON object")),
        (200, Some(code), _) => Err(LoginError::Refused(400, plain(code))),
        (500.., _, _) => Err(FetchError::Status(status).into()),
        (_, code, _) => Err(LoginError::Refused(status, code.map_or_else(|| "no error code".into(), plain))),
    }
}

fn plain(code: &str) -> String {
    let is_code = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_code { code.to_owned() } else { "no error code".into() }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
