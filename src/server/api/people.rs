//! People sign in with a browser: out to the OpenID provider, back with a code, and in until they sign out.
//!
//! The ways there and back are those of [`crate::remote::login`]. Nothing is kept of whoever only sets out: `state`, nonce and
//! verifier come from a cookie of that browser, so that no other browser can come back (RFC 9700 §4.7, §4.4). Sessions are in
//! memory: they end with the process, and what somebody may do is asked of the configuration each time.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::Query;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header, request};
use axum::response::{IntoResponse, Response};

use super::pages::{self, Attesting};
use super::who::{Actor, By};
use super::{Api, Call, Refusal, guard, may, reviews, whole};
use crate::config::{AdminLogin, Role};
use crate::control::{Fault, Witness};
use crate::governance::Since;
use crate::oauth::authorization::Parameters;
use crate::oauth::{Person, pkce};
use crate::remote::login::{Arrival, Departure, Gate, LoginError};
use crate::server::authorization::cookies::Cookies;
use crate::server::authorization::login::Secrets;
use crate::server::authorization::{digest, secret};
use crate::server::listen::Peer;
use crate::state::Snapshot;

/// Sessions at once; of more, the one that ends first ends.
const MOST: usize = 1_000;
/// From setting out to coming back, in seconds.
const TRIP: u64 = 600;
/// Cookies, and what forms bring back.
const SESSION_COOKIE: &str = "admin-session";
const TRIP_COOKIE: &str = "admin-trip";
const PROOF: &str = "csrf";

const HOME: &str = "/admin/";
const SIGN_IN: &str = "/admin/sign-in";
const CALLBACK: &str = "/admin/callback";
const SIGN_OUT: &str = "/admin/sign-out";
const REVIEW: &str = "/admin/review";
/// The change that the page of the review makes.
const ATTEST: &str = "/admin/v1/review/attest";

pub fn is_page(path: &str) -> bool {
    matches!(path, HOME | SIGN_IN | CALLBACK | SIGN_OUT | REVIEW)
}

/// Somebody who signed in.
pub struct Session {
    pub person: Person,
    /// Whose word it is.
    pub issuer: String,
    pub begun: SystemTime,
    pub ends: SystemTime,
    /// What changes carry, besides the cookie.
    pub proof: String,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// Everybody who is signed in, by the digest of the cookie.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<String, Arc<Session>>>);

impl Sessions {
    fn begin(&self, cookie: &str, session: Arc<Session>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, other| other.ends > session.begun);
        if all.len() >= MOST
            && let Some(first) = all.iter().min_by_key(|(_, other)| other.ends).map(|(key, _)| key.clone())
        {
            all.remove(&first);
        }
        all.insert(digest(cookie), session);
    }

    fn find(&self, cookie: &str, now: SystemTime) -> Option<Arc<Session>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&digest(cookie)).filter(|session| session.begun <= now && now < session.ends).cloned()
    }

    fn end(&self, cookie: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest(cookie));
    }
}

/// Whether a browser says that somebody is signed in, rightly or not.
pub fn has_session(login: &AdminLogin, headers: &HeaderMap) -> bool {
    !Cookies::at(&login.url, headers).under(SESSION_COOKIE).is_empty()
}

/// Who is signed in, and still may come in.
pub fn signed_in(api: &Api, world: &Snapshot, login: &AdminLogin, peer: &Peer, headers: &HeaderMap) -> Option<Actor> {
    let now = SystemTime::now();
    let session = api.sessions.find(Cookies::at(&login.url, headers).read(SESSION_COOKIE)?, now)?;
    let begun = session.begun.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let is_out = |subject: &str| {
        let revocations = world.revocations.as_ref();
        let since = Since { at: begun, leeway: Duration::ZERO, after: None };
        revocations.is_some_and(|revocations| revocations.ends_subject(&session.issuer, subject, since, now))
    };
    // The configuration may have changed since.
    let is_old = now.duration_since(session.begun).unwrap_or_default() >= login.session;
    if is_old || session.issuer != login.issuer || is_out(&session.person.subject) {
        return None;
    }
    let role = login.role(&session.person)?;
    Some(actor(session, role, peer))
}

fn actor(session: Arc<Session>, role: Role, peer: &Peer) -> Actor {
    Actor { name: session.person.subject.clone(), role, by: By::Person, source: peer.source, session: Some(session) }
}

/// One request for a page.
pub struct Visit<'a> {
    pub api: &'a Arc<Api>,
    pub world: &'a Arc<Snapshot>,
    pub login: &'a AdminLogin,
    pub peer: &'a Peer,
    pub head: &'a request::Parts,
    pub id: &'a str,
}

impl Visit<'_> {
    /// The page, or one that says why there is none.
    pub async fn answer(&self, body: Body) -> Response {
        let answer = match (&self.head.method, self.head.uri.path()) {
            (&Method::GET, HOME) => Ok(self.home()),
            (&Method::GET, SIGN_IN) => self.set_out().await,
            (&Method::GET, CALLBACK) => self.come_back().await,
            (&Method::GET, REVIEW) => self.review().await,
            (&Method::POST, REVIEW) => self.attest(body).await,
            (&Method::POST, SIGN_OUT) => self.sign_out(body).await,
            _ => Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this page is not asked for like that")),
        };
        answer.unwrap_or_else(|refusal| pages::refused(&refusal, &self.url(HOME)))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.login.url)
    }

    fn cookies(&self) -> Cookies<'_> {
        Cookies::at(&self.login.url, &self.head.headers)
    }

    fn home(&self) -> Response {
        match signed_in(self.api, self.world, self.login, self.peer, &self.head.headers) {
            Some(who) => pages::home(&who),
            None => pages::signed_out(&self.login.logins, &self.url(SIGN_IN)),
        }
    }

    async fn set_out(&self) -> Result<Response, Refusal> {
        let (cookie, _) = secret().map_err(|_| no_chance())?;
        let state = state(&cookie);
        let Secrets { nonce, verifier, .. } = Secrets::of(&state, &cookie);
        let departure = Departure {
            state: &state,
            nonce: &nonce,
            challenge: &pkce::challenge(&verifier),
            redirect_uri: &self.url(CALLBACK),
            anew: false,
            max_age: None,
            acr_values: &[],
        };
        let url = self.gate()?.depart(&departure).await.map_err(|error| self.unreachable(&error))?;
        Ok(self.go(&url, [self.cookies().write(TRIP_COOKIE, &cookie, Some(TRIP))]))
    }

    async fn come_back(&self) -> Result<Response, Refusal> {
        self.api.failures.admit(self.peer)?;
        let stray = || {
            let message = "this sign-in was not begun in this browser, or too long ago: begin again";
            Refusal::new(StatusCode::BAD_REQUEST, "stray", message)
        };
        let parameters = Parameters::parse(self.head.uri.query().unwrap_or_default().as_bytes());
        let cookie = self.cookies().read(TRIP_COOKIE).ok_or_else(stray)?;
        let state = parameters.one("state").ok().flatten().filter(|shown| guard::is_same(shown, &state(cookie))).ok_or_else(stray)?;
        let (Ok(Some(code)), Ok(issuer)) = (parameters.one("code"), parameters.one("iss")) else {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "not_signed_in", "the provider signed nobody in: begin again"));
        };
        let Secrets { nonce, verifier, .. } = Secrets::of(state, cookie);
        let now = SystemTime::now();
        let arrival = Arrival {
            code,
            issuer,
            verifier: &verifier,
            nonce: &nonce,
            redirect_uri: &self.url(CALLBACK),
            max_age: None,
            kept: &self.login.claims(),
            now,
        };
        match self.gate()?.arrive(&arrival).await {
            Ok(arrived) => self.come_in(arrived.person, now).await,
            Err(error @ LoginError::Fetch(_)) => Err(self.unreachable(&error)),
            Err(error) => Err(self.turned_away(&error)),
        }
    }

    async fn come_in(&self, person: Person, now: SystemTime) -> Result<Response, Refusal> {
        let role = self.login.role(&person).ok_or_else(|| self.turned_away(&LoginError::Entrance))?;
        if !self.api.audit.is_healthy() {
            return Err(Fault::Unrecordable.into());
        }
        let (cookie, _) = secret().map_err(|_| no_chance())?;
        let ends = now.checked_add(self.login.session).unwrap_or(now);
        let proof = digest(&format!("proof.{cookie}"));
        let session = Arc::new(Session { person, issuer: self.login.issuer.clone(), begun: now, ends, proof });
        let call = self.call(actor(session.clone(), role, self.peer));
        call.recorder(None)?.saw("admin/sign_in", role.name().to_owned(), "signed_in").await?;
        if let Some(old) = self.cookies().read(SESSION_COOKIE) {
            self.api.sessions.end(old);
        }
        self.api.sessions.begin(&cookie, session);
        let cookies = self.cookies();
        let lasts = self.login.session.as_secs();
        Ok(self.go(&self.url(HOME), [cookies.write(SESSION_COOKIE, &cookie, Some(lasts)), cookies.clear(TRIP_COOKIE)]))
    }

    async fn sign_out(&self, body: Body) -> Result<Response, Refusal> {
        let (call, _) = self.posted(body).await?;
        if let Some(cookie) = self.cookies().read(SESSION_COOKIE) {
            self.api.sessions.end(cookie);
        }
        call.recorder(None)?.saw("admin/sign_out", call.who.role.name().to_owned(), "signed_out").await?;
        Ok(self.go(&self.url(HOME), [self.cookies().clear(SESSION_COOKIE)]))
    }

    async fn review(&self) -> Result<Response, Refusal> {
        let Some(call) = self.known() else { return Ok(self.go(&self.url(HOME), [None])) };
        let Ok(Query(question)) = Query::try_from_uri(&self.head.uri) else {
            return Err(Fault::Invalid("a review takes `since`, `client` and `issuer`".into()).into());
        };
        let reviewed = reviews::make(&call, &question).await?;
        let proof = call.who.session.as_ref().filter(|_| call.who.role >= Role::Reviewer).map(|session| session.proof.as_str());
        let attesting = proof.map(|proof| {
            let asked = [("since", &question.since), ("client", &question.client), ("issuer", &question.issuer)];
            let asked = asked.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
            Attesting { action: REVIEW, fields: std::iter::once((PROOF, proof)).chain(asked).collect() }
        });
        pages::review(&reviewed, attesting).ok_or_else(|| Fault::Busy("the page cannot be made".into()).into())
    }

    async fn attest(&self, body: Body) -> Result<Response, Refusal> {
        let (call, form) = self.posted(body).await?;
        let entry = self.api.table.iter().find(|entry| entry.path == ATTEST).ok_or_else(super::not_found)?;
        may(&call, entry)?;
        if !self.api.audit.is_healthy() {
            return Err(Fault::Unrecordable.into());
        }
        let said = |name| form.one(name).map(|text| text.map(str::to_owned)).map_err(|_| Fault::Invalid(format!("`{name}` stands twice")));
        let attestation = crate::control::reviews::Attestation {
            since: said("since")?,
            client: said("client")?,
            issuer: said("issuer")?,
            digest: said("digest")?,
            note: said("note")?,
            by: None,
        };
        reviews::attest(call, attestation).await?;
        Ok(self.go(&self.url(REVIEW), [None]))
    }

    /// A form of a page of ours, by somebody who is signed in.
    async fn posted(&self, body: Body) -> Result<(Call, Parameters), Refusal> {
        let body = whole(self.head, body, "application/x-www-form-urlencoded").await?;
        let form = Parameters::parse(&body);
        let ended = || Refusal::new(StatusCode::UNAUTHORIZED, "signed_out", "you are not signed in any more: sign in again");
        let call = self.known().ok_or_else(ended)?;
        let proof = call.who.session.as_ref().map(|session| session.proof.as_str()).unwrap_or_default();
        let is_ours = form.one(PROOF).ok().flatten().is_some_and(|shown| guard::is_same(shown, proof));
        if is_ours { Ok((call, form)) } else { Err(guard::forged()) }
    }

    fn known(&self) -> Option<Call> {
        signed_in(self.api, self.world, self.login, self.peer, &self.head.headers).map(|who| self.call(who))
    }

    fn call(&self, who: Actor) -> Call {
        let (api, world) = (self.api.clone(), self.world.clone());
        Call { api, world, who: Arc::new(who), id: self.id.to_owned(), now: SystemTime::now() }
    }

    fn gate(&self) -> Result<&Arc<Gate>, Refusal> {
        self.world.admin_logins.find("oidc").ok_or_else(super::not_found)
    }

    /// Always by 303, so that what was posted is not posted again.
    fn go<const N: usize>(&self, url: &str, cookies: [Option<HeaderValue>; N]) -> Response {
        let mut response = StatusCode::SEE_OTHER.into_response();
        if let Ok(url) = HeaderValue::from_str(url) {
            response.headers_mut().insert(header::LOCATION, url);
        }
        for cookie in cookies.into_iter().flatten() {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }

    fn unreachable(&self, error: &LoginError) -> Refusal {
        tracing::warn!(%error, request = self.id, "nobody can sign in for admin");
        Refusal::new(StatusCode::BAD_GATEWAY, "login_unavailable", "the provider cannot be asked at present: try again in a moment")
    }

    /// SECURITY: which of the checks failed only the operator reads.
    fn turned_away(&self, error: &LoginError) -> Refusal {
        tracing::warn!(%error, request = self.id, "somebody could not sign in for admin");
        let refusal = self.api.failures.failed(self.api, self.peer, error.reason(), "you are not let in here");
        match refusal.status {
            StatusCode::UNAUTHORIZED => Refusal { status: StatusCode::FORBIDDEN, error: "not_let_in", ..refusal },
            _ => refusal,
        }
    }
}

/// What stands for a trip in the address. Of no use without the cookie.
fn state(cookie: &str) -> String {
    digest(&format!("state.{cookie}"))
}

fn no_chance() -> Refusal {
    Fault::Busy("the system gives no random numbers".into()).into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn session(begun: u64, ends: u64) -> Arc<Session> {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        Arc::new(Session { person: Person::default(), issuer: String::new(), begun: at(begun), ends: at(ends), proof: String::new() })
    }

    #[test]
    fn a_session_ends_by_its_time_and_sessions_are_bounded() {
        let sessions = Sessions::default();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        sessions.begin("a", session(10, 20));
        assert!(sessions.find("a", at(10)).is_some() && sessions.find("a", at(19)).is_some());
        assert!(sessions.find("a", at(20)).is_none() && sessions.find("a", at(9)).is_none() && sessions.find("b", at(10)).is_none());
        for number in 0..MOST as u64 {
            sessions.begin(&number.to_string(), session(11, 30 + number));
        }
        assert_eq!(sessions.0.lock().expect("the lock").len(), MOST);
        assert!(sessions.find("a", at(12)).is_none(), "it would have ended first");
        sessions.begin("late", session(5_000, 6_000));
        assert_eq!(sessions.0.lock().expect("the lock").len(), 1, "those that ended are forgotten");
        sessions.end("late");
        assert!(sessions.find("late", at(5_001)).is_none());
    }
}
