//! A plain OAuth 2 server with a place that tells whom an access token is for.
//!
//! Its tokens have no audience (any client's would do), so one is believed only when it came from the token
//! endpoint in exchange for our own code, with our own secret and PKCE.

use serde_json::{Map, Value};

use super::super::http::{Http, permitted};
use super::person::{admit, person};
use super::{Arrival, Arrived, Departure, Kept, LoginError, Recheck, authenticated, bearer, github, token_answer};
use crate::config::login::OAuth2Login;
use crate::oauth::Person;
use crate::token::json;

/// One server.
#[derive(Debug)]
pub struct OAuth2 {
    http: Http,
    login: OAuth2Login,
}

impl OAuth2 {
    pub(super) fn new(http: Http, login: &OAuth2Login) -> Self {
        Self { http, login: login.clone() }
    }

    pub(super) fn login(&self) -> &OAuth2Login {
        &self.login
    }

    pub(super) fn depart(&self, departure: &Departure<'_>) -> Result<String, LoginError> {
        let mut url = permitted(&self.login.authorization_url, self.login.allow_http)?;
        let Departure { state, challenge, redirect_uri, anew, .. } = *departure;
        let mut query = url.query_pairs_mut();
        query.append_pair("response_type", "code").append_pair("client_id", &self.login.client.id);
        query.append_pair("redirect_uri", redirect_uri).append_pair("state", state);
        query.append_pair("code_challenge", challenge).append_pair("code_challenge_method", "S256");
        if !self.login.scopes.is_empty() {
            query.append_pair("scope", &self.login.scopes.join(" "));
        }
        if anew && !self.login.parameters.iter().any(|(name, _)| name == "prompt") {
            // GitHub's way; others leave what they do not know aside.
            query.append_pair("prompt", "select_account");
        }
        for (name, value) in &self.login.parameters {
            query.append_pair(name, value);
        }
        drop(query);
        Ok(url.into())
    }

    pub(super) async fn arrive(&self, arrival: &Arrival<'_>) -> Result<Arrived, LoginError> {
        let Arrival { code, redirect_uri, verifier, .. } = *arrival;
        let form = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect_uri), ("code_verifier", verifier)];
        let (authorization, form) = authenticated(&self.login.client, &form)?;
        let url = permitted(&self.login.token_url, self.login.allow_http)?;
        let (status, body) = self.http.post_form(&url, authorization, form, self.login.timeout).await?;
        let token = token_answer(status, &body)?.access_token.ok_or(LoginError::Answer("has no access token"))?;
        // Such a server does not say when the person signed in there.
        let person = self.who(&token, arrival.kept, 0).await?;
        Ok(Arrived { person, kept: Some(Kept::new(token)) })
    }

    pub(super) async fn recheck(&self, before: &Person, kept: &Kept, paths: &[String]) -> Result<Recheck, LoginError> {
        let person = self.who(kept.reveal(), paths, before.authenticated).await?;
        if person.subject != before.subject {
            return Err(LoginError::OtherPerson);
        }
        Ok(Recheck { person: Some(person), kept: None })
    }

    async fn who(&self, token: &str, kept: &[String], authenticated: u64) -> Result<Person, LoginError> {
        let mut claims = self.told(token).await?;
        if let Some(api) = &self.login.api_url {
            let groups = github::groups(&self.http, api, token, &self.login).await?;
            claims.insert("groups".into(), groups.into());
        }
        let person = person("oauth2", &claims, &self.login.claims, kept, authenticated)?;
        admit(&self.login.entrance, &person, &claims)?;
        Ok(person)
    }

    async fn told(&self, token: &str) -> Result<Map<String, Value>, LoginError> {
        let url = permitted(&self.login.user_url, self.login.allow_http)?;
        let (status, body) = self.http.get_any(&url, bearer(token)?, self.login.timeout).await?;
        match status {
            200 => json::object(&body).ok_or(LoginError::Answer("on who it is is no JSON object")),
            401 => Err(LoginError::Refused(401, "invalid_token".into())),
            500.. => Err(super::FetchError::Status(status).into()),
            _ => Err(LoginError::Refused(status, "no user".into())),
        }
    }
}
