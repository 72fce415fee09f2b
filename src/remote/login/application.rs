//! An application's own login page: people are sent there with a ticket, and the application says in a signed
//! request of its own who signed in (see `oauth::hand_off`). Later it is asked by a request that we sign alike.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::super::http::{Http, permitted};
use super::person::from_application;
use super::{Departure, FetchError, LoginError, Recheck, seconds};
use crate::config::login::ApplicationLogin;
use crate::oauth::Person;
use crate::oauth::hand_off::{SIGNATURE, TIMESTAMP, sign};
use crate::token::json::object;

/// One application.
#[derive(Debug)]
pub struct Application {
    http: Http,
    login: ApplicationLogin,
}

impl Application {
    pub(super) fn new(http: Http, login: &ApplicationLogin) -> Self {
        Self { http, login: login.clone() }
    }

    pub(super) fn login(&self) -> &ApplicationLogin {
        &self.login
    }

    pub(super) fn depart(&self, departure: &Departure<'_>) -> Result<String, LoginError> {
        let mut url = permitted(&self.login.url, self.login.allow_http)?;
        url.query_pairs_mut().append_pair("ticket", departure.state);
        if departure.anew {
            url.query_pairs_mut().append_pair("prompt", "login");
        }
        Ok(url.into())
    }

    /// Answers of `{"active": true, …}` may bring what is new of the person, as in a hand-off.
    pub(super) async fn recheck(&self, before: &Person, paths: &[String], now: SystemTime) -> Result<Recheck, LoginError> {
        let url = self.login.status_url.as_deref().ok_or(LoginError::NoLogin)?;
        let url = permitted(url, self.login.allow_http)?;
        let bare = before.subject.strip_prefix("application|").ok_or(LoginError::Subject)?;
        let body = json!({ "subject": bare }).to_string();
        let time = seconds(now);
        let signature = sign(self.login.secret.reveal(), time, body.as_bytes());
        let signature = HeaderValue::from_str(&signature).map_err(|_| LoginError::Answer("was not asked for"))?;
        let headers = HeaderMap::from_iter([
            (HeaderName::from_static(TIMESTAMP), HeaderValue::from(time)),
            (HeaderName::from_static(SIGNATURE), signature),
        ]);
        let (status, body) = self.http.post_signed(&url, headers, body, self.login.timeout).await?;
        if status != 200 {
            return Err(FetchError::Status(status).into());
        }
        let said = object(&body).ok_or(LoginError::Answer("is no JSON object"))?;
        match said.get("active") {
            Some(Value::Bool(true)) if said.contains_key("subject") => {
                let person = from_application(&said, paths, Some(before.authenticated))?;
                let same = person.subject == before.subject;
                if same { Ok(Recheck { person: Some(person), kept: None }) } else { Err(LoginError::OtherPerson) }
            }
            Some(Value::Bool(true)) => Ok(Recheck::default()),
            Some(Value::Bool(false)) => Err(LoginError::Entrance),
            _ => Err(LoginError::Answer("has no boolean `active`")),
        }
    }
}
