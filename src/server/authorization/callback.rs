//! Where a login sends people back to, and where an application hands them over.
//!
//! `state` and the cookie of the trip belong together: without both there is no trip, and a trip is taken once
//! (RFC 6749 §10.12, RFC 9700 §4.7). The code goes only to the login that the trip was to (RFC 9207).

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::authorize::refusal;
use super::cookies::{Cookies, is_secret};
use super::login::{CALLBACK, Errand, Journey, Secrets, Trip, set, trip_cookie};
use super::pages::{self, Frame};
use super::{Call, Fault, Reply, Server, Told, digest, secret};
use crate::config::login::Login;
use crate::oauth::authorization::{self, Parameters};
use crate::oauth::hand_off::{SIGNATURE, TIMESTAMP, is_signed};
use crate::oauth::{ClientKind, Code, OAuthError, Person};
use crate::remote::login::{Arrival, Arrived, LoginError, from_application};
use crate::store::authorization::Kind;

/// From the hand-off until the browser comes, in seconds.
const HAND_OFF: u64 = 120;

/// Somebody whom an application hands over.
#[derive(Serialize, Deserialize)]
struct HandedOver {
    /// Of the trip.
    state: String,
    person: Person,
}

impl Server {
    pub(super) async fn callback(&self, call: &Call<'_>, request: &Request<Bytes>) -> Reply {
        if request.method() != Method::GET {
            return Reply::method("GET");
        }
        self.came_back(call, request).await.unwrap_or_else(|fault| pages::unavailable(call, request, &fault))
    }

    async fn came_back(&self, call: &Call<'_>, request: &Request<Bytes>) -> Result<Reply, Fault> {
        let frame = Frame::of(call, request);
        let stray = || Ok(pages::wrong(call, frame, StatusCode::BAD_REQUEST, &frame.t.error_begin_again, "login_stray"));
        let parameters = Parameters::parse(request.uri().query().unwrap_or_default().as_bytes());
        let Ok(Some(state)) = parameters.one("state") else { return stray() };
        let cookies = Cookies::of(call, request);
        let Some(name) = trip_cookie(state).filter(|_| is_secret(state)) else { return stray() };
        let Some(cookie) = cookies.read(&name) else { return stray() };
        let secrets = Secrets::of(state, cookie);
        let Some(text) = call.store.take_ticket(Kind::Login, &secrets.kept, call.now).await? else { return stray() };
        let trip: Trip = serde_json::from_str(&text).map_err(|_| Fault::Unreadable)?;
        let mut reply = self.arrived(call, request, &parameters, state, &secrets, trip).await?;
        set(&mut reply, cookies.clear(&name));
        Ok(reply)
    }

    async fn arrived(
        &self,
        call: &Call<'_>,
        request: &Request<Bytes>,
        parameters: &Parameters,
        state: &str,
        secrets: &Secrets,
        trip: Trip,
    ) -> Result<Reply, Fault> {
        let Trip { journey, login } = trip;
        let frame = Frame::of(call, request);
        if let Ok(Some(code)) = parameters.one("error") {
            tracing::warn!(
                request = call.origin.id,
                login,
                cancelled = code == "access_denied",
                "a login sent a person back without a code"
            );
            return self.turned_away(call, request, &journey).await;
        }
        let (Ok(Some(code)), Ok(issuer)) = (parameters.one("code"), parameters.one("iss")) else {
            return Ok(pages::wrong(call, frame, StatusCode::BAD_REQUEST, &frame.t.error_login, "login_answer"));
        };
        let Some(Login::Application(_)) = call.settings.logins.find(&login) else {
            return self.exchanged(call, request, &login, code, issuer, secrets, journey).await;
        };
        let handed = call.store.take_ticket(Kind::HandOff, &digest(code), call.now).await?;
        let handed: Option<HandedOver> = handed.map(|text| serde_json::from_str(&text)).transpose().map_err(|_| Fault::Unreadable)?;
        // SECURITY: the person was handed over for this trip and no other.
        match handed.filter(|handed| handed.state == digest(state)) {
            Some(HandedOver { person, .. }) => self.complete(call, request, journey, person, None).await,
            None => Ok(pages::wrong(call, frame, StatusCode::BAD_REQUEST, &frame.t.error_begin_again, "login_stray")),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "everything that an answer is checked by")]
    async fn exchanged(
        &self,
        call: &Call<'_>,
        request: &Request<Bytes>,
        login: &str,
        code: &str,
        issuer: Option<&str>,
        secrets: &Secrets,
        journey: Journey,
    ) -> Result<Reply, Fault> {
        let Some(gate) = call.world.logins.find(login) else { return Ok(self.no_login(call, request, &LoginError::NoLogin)) };
        let callback = call.settings.endpoint(CALLBACK);
        let max_age = if let Errand::Client { asked, .. } = &journey.errand { asked.max_age } else { None };
        let arrival = Arrival {
            code,
            issuer,
            verifier: &secrets.verifier,
            nonce: &secrets.nonce,
            redirect_uri: &callback,
            max_age,
            kept: &kept(call),
            now: call.origin.now,
        };
        match gate.arrive(&arrival).await {
            Ok(Arrived { person, kept }) => self.complete(call, request, journey, person, kept).await,
            Err(error) => Ok(self.no_login(call, request, &error)),
        }
    }

    /// The person did not sign in. Only a client that an operator configured is told.
    async fn turned_away(&self, call: &Call<'_>, request: &Request<Bytes>, journey: &Journey) -> Result<Reply, Fault> {
        if let Errand::Client { asked, .. } = &journey.errand
            && self.client(call, &asked.client_id).await.is_ok_and(|client| client.kind == ClientKind::Configured)
        {
            let refusal = refusal(&asked.client_id, &asked.redirect_uri, asked.state.as_deref(), authorization::Fault::Denied);
            return Ok(Reply { told: Told::refused("login_cancelled").about(&asked.client_id), ..self.inform(call, &refusal) });
        }
        let frame = Frame::of(call, request);
        Ok(pages::wrong(call, frame, StatusCode::FORBIDDEN, &frame.t.error_login_cancelled, "login_cancelled"))
    }

    /// An application says who signed in there, in a request that it signed. It hears where to send the browser.
    pub(super) async fn hand_off(&self, call: &Call<'_>, request: &Request<Bytes>) -> Reply {
        let Some(Login::Application(login)) = call.settings.logins.find("application") else { return Reply::not_found() };
        if request.method() != Method::POST {
            return Reply::method("POST");
        }
        let header = |name: &str| {
            let mut all = request.headers().get_all(name).iter();
            let only = all.next().filter(|_| all.next().is_none());
            only.and_then(|value| value.to_str().ok()).unwrap_or_default()
        };
        let secret = login.secret.reveal();
        if !is_signed(secret, header(TIMESTAMP), header(SIGNATURE), request.body(), call.now) {
            let error = OAuthError::new(Code::InvalidClient, "the signature is not of this application, or more than five minutes old");
            return Reply { told: Told::refused("hand_off_signature"), ..Reply::error(error) };
        }
        let said =
            header(CONTENT_TYPE.as_str()).starts_with("application/json").then(|| crate::token::json::object(request.body())).flatten();
        let ticket = said.as_ref().and_then(|said| said.get("ticket")).and_then(Value::as_str).filter(|ticket| is_secret(ticket));
        let (Some(said), Some(ticket)) = (&said, ticket) else {
            return Reply::error(OAuthError::new(Code::InvalidRequest, "a JSON object with the ticket and the subject is expected"));
        };
        let person = match from_application(said, &kept(call), None) {
            Ok(person) => person,
            Err(error) => {
                tracing::warn!(%error, request = call.origin.id, "an application handed nobody over");
                return Reply::error(OAuthError::new(Code::InvalidRequest, "the subject, or the claims, cannot be read"));
            }
        };
        self.take_over(call, ticket, person).await.unwrap_or_else(Into::into)
    }

    async fn take_over(&self, call: &Call<'_>, ticket: &str, person: Person) -> Result<Reply, Fault> {
        let (code, kept) = secret()?;
        let handed = serde_json::to_string(&HandedOver { state: digest(ticket), person }).map_err(|_| Fault::Unreadable)?;
        call.store.put_ticket(Kind::HandOff, &kept, &handed, call.now.saturating_add(HAND_OFF)).await?;
        let to = call.settings.endpoint(&format!("{CALLBACK}?state={ticket}&code={code}"));
        Ok(Reply::json(StatusCode::OK, &json!({ "continue": to }), Told::answered("handed_over")))
    }
}

/// The claims that some upstream asks for, and so tokens carry on.
pub(super) fn kept(call: &Call<'_>) -> Vec<String> {
    let mut paths: Vec<String> = call.world.config.routes.iter().flat_map(|route| route.claims()).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}
