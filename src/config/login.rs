//! Where people sign in, when Doorward is the authorization server.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{KeySource, KeyTimes, Secret};
use crate::principal::lookup;
use crate::token::Algorithm;

/// Every way to sign in, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logins {
    pub all: Vec<Login>,
}

/// One way to sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    Oidc(Box<OidcLogin>),
    OAuth2(Box<OAuth2Login>),
    Application(Box<ApplicationLogin>),
    /// Accounts kept here.
    Accounts(AccountsLogin),
}

impl Login {
    /// Its key in the configuration, and `Person::login`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Oidc(_) => "oidc",
            Self::OAuth2(_) => "oauth2",
            Self::Application(_) => "application",
            Self::Accounts(_) => "accounts",
        }
    }

    /// What a person reads on its button.
    pub fn title(&self) -> &str {
        match self {
            Self::Oidc(login) => &login.title,
            Self::OAuth2(login) => &login.title,
            Self::Application(login) => &login.title,
            Self::Accounts(login) => &login.title,
        }
    }

    pub fn standing(&self) -> Standing {
        match self {
            Self::Oidc(login) => login.standing,
            Self::OAuth2(login) => login.standing,
            Self::Application(login) => login.standing,
            Self::Accounts(_) => Standing::default(),
        }
    }
}

impl Logins {
    pub fn find(&self, name: &str) -> Option<&Login> {
        self.all.iter().find(|login| login.name() == name)
    }
}

/// How long the word of a login holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// A person is asked about again when a client refreshes and the last answer is older.
    pub recheck: Duration,
    /// Where nobody can be asked, the person signs in again after this time.
    pub sign_in_again: Duration,
}

impl Default for Standing {
    fn default() -> Self {
        Self { recheck: Duration::from_secs(15 * 60), sign_in_again: Duration::from_secs(12 * 3600) }
    }
}

/// Where a login keeps what it says of a person: dotted claim paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonClaims {
    pub subject: String,
    pub name: String,
    pub email: String,
    pub groups: Vec<String>,
}

/// Who of those that can sign in may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entrance {
    /// One of these; empty for all.
    pub groups: Vec<String>,
    /// Claim paths, and the texts of which each must be one.
    pub claims: Vec<(String, Vec<String>)>,
}

impl Entrance {
    /// Whether somebody of these groups and claims is one of them.
    pub fn admits(&self, groups: &[String], claims: &Map<String, Value>) -> bool {
        let Self { groups: wanted, claims: pairs } = self;
        let in_group = wanted.is_empty() || groups.iter().any(|group| wanted.contains(group));
        let says = |(path, values): &(String, Vec<String>)| lookup(claims, path).is_some_and(|said| has_one(said, values));
        in_group && pairs.iter().all(says)
    }
}

fn has_one(said: &Value, values: &[String]) -> bool {
    match said {
        Value::String(text) => values.contains(text),
        Value::Bool(truth) => values.iter().any(|value| *value == truth.to_string()),
        Value::Array(all) => all.iter().any(|one| one.as_str().is_some_and(|text| values.iter().any(|value| value == text))),
        _ => false,
    }
}

/// What we are to an OAuth server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginClient {
    pub id: String,
    pub secret: Secret,
    /// The secret goes into the body of a request (`client_secret_post`).
    pub in_body: bool,
}

/// An OpenID provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcLogin {
    pub title: String,
    pub issuer: String,
    pub keys: KeySource,
    pub metadata_url: Option<String>,
    pub algorithms: Vec<Algorithm>,
    pub client: LoginClient,
    pub scopes: Vec<String>,
    /// Sent along, for providers that want more than the standard says.
    pub parameters: Vec<(String, String)>,
    pub claims: PersonClaims,
    pub entrance: Entrance,
    pub standing: Standing,
    pub leeway: Duration,
    pub times: KeyTimes,
    pub allow_http: bool,
}

/// A plain OAuth 2 server with a place that tells who a token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2Login {
    pub title: String,
    pub authorization_url: String,
    pub token_url: String,
    pub user_url: String,
    /// Where organisations and teams are read, for GitHub.
    pub api_url: Option<String>,
    pub client: LoginClient,
    pub scopes: Vec<String>,
    pub parameters: Vec<(String, String)>,
    pub claims: PersonClaims,
    pub entrance: Entrance,
    pub standing: Standing,
    pub timeout: Duration,
    pub allow_http: bool,
}

/// An application's own login page, which says by a signed request who signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationLogin {
    pub title: String,
    pub url: String,
    /// What requests of the application are signed with.
    pub secret: Secret,
    /// Where it tells whether a person may still come in; none where it does not.
    pub status_url: Option<String>,
    pub standing: Standing,
    pub timeout: Duration,
    pub allow_http: bool,
}

/// Accounts kept here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountsLogin {
    pub title: String,
}

impl Default for AccountsLogin {
    fn default() -> Self {
        Self { title: "your account".into() }
    }
}
