//! OpenID Connect: code flow with PKCE, nonce and `iss`; the ID token is checked like every other JWT.
//!
//! A refresh token, where there is one, is how the provider is asked later whether the person is still there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::Url;

use super::super::discovery::{Remote, candidates};
use super::super::http::{Http, permitted};
use super::super::{FetchError, KeyStore};
use super::person::{admit, person};
use super::{Arrival, Arrived, Departure, Kept, LoginError, Recheck, TokenAnswer, authenticated, bearer, seconds, token_answer};
use crate::config::login::{LoginClient, OidcLogin};
use crate::config::{Issuer, profile};
use crate::governance::Acceptance;
use crate::oauth::Person;
use crate::token::{self, AudienceFrom, ClaimNames, IdTokenRules, IssuerRules, Unverified};

/// How long metadata is taken for granted.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// One provider.
pub struct Oidc {
    http: Http,
    login: OidcLogin,
    keys: Arc<KeyStore>,
    found: Mutex<Option<(Arc<Metadata>, Instant)>>,
}

/// The members that are read (OpenID Connect Discovery §3, RFC 9207 §3).
#[derive(Debug, Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: Option<String>,
    authorization_response_iss_parameter_supported: Option<bool>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl std::fmt::Debug for Oidc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Oidc").field("issuer", &self.login.issuer).finish_non_exhaustive()
    }
}

impl Oidc {
    pub(super) fn new(http: Http, login: &OidcLogin) -> Self {
        let issuer = issuer(login);
        let keys = KeyStore::new(&issuer.rules.name, Box::new(Remote::new(http.clone(), &issuer)), login.times);
        Self { http, login: login.clone(), keys, found: Mutex::new(None) }
    }

    pub(super) fn login(&self) -> &OidcLogin {
        &self.login
    }

    pub(super) async fn depart(&self, departure: &Departure<'_>) -> Result<String, LoginError> {
        let metadata = self.metadata().await?;
        let mut url = permitted(&metadata.authorization_endpoint, self.login.allow_http)?;
        let Departure { state, nonce, challenge, redirect_uri, anew, max_age, acr_values } = *departure;
        let mut query = url.query_pairs_mut();
        query.append_pair("response_type", "code").append_pair("client_id", &self.login.client.id);
        query.append_pair("redirect_uri", redirect_uri).append_pair("scope", &self.login.scopes.join(" "));
        query.append_pair("state", state).append_pair("nonce", nonce);
        query.append_pair("code_challenge", challenge).append_pair("code_challenge_method", "S256");
        if let Some(seconds) = max_age {
            query.append_pair("max_age", &seconds.to_string());
        }
        if !acr_values.is_empty() {
            query.append_pair("acr_values", &acr_values.join(" "));
        }
        let configured = self.login.parameters.iter().any(|(name, _)| name == "prompt");
        if anew && !configured {
            query.append_pair("prompt", "login");
        }
        for (name, value) in &self.login.parameters {
            query.append_pair(name, value);
        }
        drop(query);
        Ok(url.into())
    }

    pub(super) async fn arrive(&self, arrival: &Arrival<'_>) -> Result<Arrived, LoginError> {
        let metadata = self.metadata().await?;
        // SECURITY: RFC 9207 §2.4: before the code goes anywhere.
        match arrival.issuer {
            Some(issuer) if issuer != self.login.issuer => return Err(LoginError::MixUp),
            None if metadata.authorization_response_iss_parameter_supported == Some(true) => return Err(LoginError::MixUp),
            _ => {}
        }
        let Arrival { code, redirect_uri, verifier, .. } = *arrival;
        let form = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect_uri), ("code_verifier", verifier)];
        let answer = self.ask(&metadata, &form).await?;
        let id_token = answer.id_token.as_deref().ok_or(LoginError::Answer("has no ID token"))?;
        let told = self.believe(id_token, Some(arrival.nonce), arrival.now).await?;
        let authenticated = told.get("auth_time").and_then(Value::as_u64);
        is_fresh(authenticated, arrival.max_age, self.login.leeway, arrival.now)?;
        let claims = self.completed(&metadata, told, &answer, arrival.kept).await?;
        let person = person("oidc", &claims, &self.login.claims, arrival.kept, authenticated.unwrap_or(0))?;
        admit(&self.login.entrance, &person, &claims)?;
        Ok(Arrived { person, kept: answer.refresh_token.map(Kept::new) })
    }

    pub(super) async fn recheck(&self, before: &Person, kept: &Kept, paths: &[String], now: SystemTime) -> Result<Recheck, LoginError> {
        let metadata = self.metadata().await?;
        let mut answer = self.ask(&metadata, &[("grant_type", "refresh_token"), ("refresh_token", kept.reveal())]).await?;
        let renewed = answer.refresh_token.take().map(Kept::new);
        let told = match &answer.id_token {
            Some(id_token) => self.believe(id_token, None, now).await?,
            // A refresh need not bring one (OpenID Connect Core §12.2).
            None => match self.userinfo(&metadata, &answer).await? {
                Some(told) => told,
                None => return Ok(Recheck { person: None, kept: renewed }),
            },
        };
        let claims = self.completed(&metadata, told, &answer, paths).await?;
        let person = person("oidc", &claims, &self.login.claims, paths, before.authenticated)?;
        if person.subject != before.subject {
            return Err(LoginError::OtherPerson);
        }
        admit(&self.login.entrance, &person, &claims)?;
        Ok(Recheck { person: Some(Person { acr: before.acr.clone(), ..person }), kept: renewed })
    }

    async fn ask(&self, metadata: &Metadata, form: &[(&str, &str)]) -> Result<TokenAnswer, LoginError> {
        let url = permitted(&metadata.token_endpoint, self.login.allow_http)?;
        let methods = metadata.token_endpoint_auth_methods_supported.as_deref().unwrap_or_default();
        let only_body = !methods.is_empty()
            && !methods.iter().any(|method| method == "client_secret_basic")
            && methods.iter().any(|method| method == "client_secret_post");
        let client = LoginClient { in_body: self.login.client.in_body || only_body, ..self.login.client.clone() };
        let (authorization, form) = authenticated(&client, form)?;
        let (status, body) = self.http.post_any(&url, authorization, form, self.login.times.timeout).await?;
        token_answer(status, &body)
    }

    /// The claims of an ID token that is the provider's.
    async fn believe(&self, text: &str, nonce: Option<&str>, now: SystemTime) -> Result<Map<String, Value>, LoginError> {
        let OidcLogin { issuer, client, algorithms, leeway, .. } = &self.login;
        let rules = IdTokenRules { issuer, client: &client.id, algorithms, leeway: *leeway };
        let token = Unverified::parse(text).map_err(LoginError::IdToken)?;
        rules.check(&token, nonce, now).map_err(LoginError::IdToken)?;
        self.is_signed(&token).await.map_err(|error| match error {
            token::Error::KeysUnavailable => LoginError::Fetch(FetchError::NoKeys),
            error => LoginError::IdToken(error),
        })?;
        Ok(token.claims().clone().into())
    }

    /// An unknown key may only be new: it is looked for once before the token is refused.
    async fn is_signed(&self, token: &Unverified<'_>) -> Result<(), token::Error> {
        let (kid, algorithm) = (token.key_id(), token.algorithm());
        let keys = self.keys.keys().await?;
        let first = token.signed_by(keys.find(kid, algorithm)).map(|_| ());
        let newer = match first {
            Err(token::Error::UnknownKey) => self.keys.learn(|keys| keys.find(kid, algorithm).next().is_some()).await,
            Err(token::Error::Signature) if kid.is_none() => self.keys.learn(|newer| newer.version() != keys.version()).await,
            decided => return decided,
        };
        newer.map_or(first, |keys| token.signed_by(keys.find(kid, algorithm)).map(|_| ()))
    }

    /// With what only the userinfo endpoint says, where something is wanted that the ID token lacks.
    async fn completed(
        &self,
        metadata: &Metadata,
        mut told: Map<String, Value>,
        answer: &TokenAnswer,
        kept: &[String],
    ) -> Result<Map<String, Value>, LoginError> {
        let names = &self.login.claims;
        let wanted = [&names.name, &names.email].into_iter().chain(kept).chain(self.login.entrance.claims.iter().map(|(path, _)| path));
        let lacks = |path: &String| crate::principal::lookup(&told, path).is_none();
        let groupless = names.groups.iter().all(lacks);
        if !groupless && !wanted.into_iter().any(lacks) {
            return Ok(told);
        }
        if let Some(more) = self.userinfo(metadata, answer).await? {
            // SECURITY: OpenID Connect Core §5.3.2: another `sub` is another person.
            if more.get("sub") != told.get("sub") {
                return Err(LoginError::OtherPerson);
            }
            for (name, value) in more {
                told.entry(name).or_insert(value);
            }
        }
        Ok(told)
    }

    async fn userinfo(&self, metadata: &Metadata, answer: &TokenAnswer) -> Result<Option<Map<String, Value>>, LoginError> {
        let (Some(url), Some(token)) = (&metadata.userinfo_endpoint, &answer.access_token) else { return Ok(None) };
        let url = permitted(url, self.login.allow_http)?;
        match self.http.get_any(&url, bearer(token)?, self.login.times.timeout).await? {
            (200, body) => Ok(token::json::object(&body)),
            (500.., _) => Err(LoginError::Answer("is an error of the userinfo endpoint")),
            // Some give tokens that it does not take; the ID token stands.
            _ => Ok(None),
        }
    }

    async fn metadata(&self) -> Result<Arc<Metadata>, LoginError> {
        if let Some(found) = self.remembered(REMEMBERED) {
            return Ok(found);
        }
        match self.fetch().await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some((metadata.clone(), Instant::now()));
                Ok(metadata)
            }
            // Endpoints seldom move: old ones are better than none.
            Err(error) => self.remembered(24 * REMEMBERED).ok_or(LoginError::Fetch(error)),
        }
    }

    fn remembered(&self, within: Duration) -> Option<Arc<Metadata>> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.as_ref().filter(|(_, since)| since.elapsed() < within).map(|(metadata, _)| metadata.clone())
    }

    async fn fetch(&self) -> Result<Metadata, FetchError> {
        let places = match &self.login.metadata_url {
            Some(url) => vec![url.clone()],
            None => candidates(&self.login.issuer),
        };
        let mut first = None;
        for place in places {
            match self.fetch_at(&permitted(&place, self.login.allow_http)?).await {
                Ok(metadata) => return Ok(metadata),
                Err(error @ (FetchError::Timeout | FetchError::Unreachable)) => return Err(error),
                Err(error) => first = Some(first.filter(|first| !matches!(first, FetchError::Status(404))).unwrap_or(error)),
            }
        }
        Err(first.unwrap_or(FetchError::Metadata))
    }

    async fn fetch_at(&self, place: &Url) -> Result<Metadata, FetchError> {
        let text = self.http.get(place, self.login.times.timeout).await?;
        let metadata: Metadata = serde_json::from_slice(&text).map_err(|_| FetchError::Metadata)?;
        if metadata.issuer != self.login.issuer {
            return Err(FetchError::Issuer(metadata.issuer.chars().take(200).collect()));
        }
        Ok(metadata)
    }
}

/// Who was asked to sign in anew must have (OpenID Connect Core §3.1.2.1).
fn is_fresh(authenticated: Option<u64>, max_age: Option<u64>, leeway: Duration, now: SystemTime) -> Result<(), LoginError> {
    let Some(max_age) = max_age else { return Ok(()) };
    let age = authenticated.map(|then| seconds(now).saturating_sub(then));
    if age.is_some_and(|age| age <= max_age.saturating_add(leeway.as_secs())) { Ok(()) } else { Err(LoginError::Stale) }
}

/// The provider as an issuer whose keys are kept.
fn issuer(login: &OidcLogin) -> Issuer {
    let rules = IssuerRules {
        name: "login.oidc".into(),
        issuer: login.issuer.as_str().into(),
        algorithms: login.algorithms.clone(),
        // SECURITY: never an issuer of access tokens: no type is accepted of it.
        token_types: Vec::new(),
        audience: Vec::new(),
        leeway: login.leeway,
        claims: ClaimNames::default(),
        required_claims: Vec::new(),
        audience_from: AudienceFrom::Aud,
        required_values: Vec::new(),
        own: false,
    };
    Issuer {
        rules: Arc::new(rules),
        keys: login.keys.clone(),
        times: login.times,
        allow_http: login.allow_http,
        introspection: None,
        profile: &profile::PLAIN,
        assume_s256: false,
        accept_new_keys: Acceptance::Immediately,
    }
}
