//! How a person signs in, elsewhere or with an account of ours: set out, come back, go on.
//!
//! Who sets out is remembered by `state` together with a cookie of that browser, so that only the browser that left
//! can come back, once, within ten minutes (RFC 9700 §4.7, §4.4; security-topics-update §2.3).

use bytes::Bytes;
use http::header::{HeaderValue, SET_COOKIE};
use http::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::browser::Browser;
use super::cookies::Cookies;
use super::pages::{self, Frame};
use super::{Call, Fault, Reply, Server, Told, digest, secret};
use crate::config::login::Login;
use crate::mcp::seal::Purpose;
use crate::oauth::authorization::{Authorized, answer};
use crate::oauth::{Person, pkce};
use crate::remote::login::{Departure, Kept, LoginError};
use crate::store::authorization::Kind;

/// From setting out to coming back, in seconds.
const TRIP: u64 = 600;
/// Trips of all people together; of more, those that began first are forgotten.
const UNDER_WAY: i64 = 10_000;
/// Trips that one browser may be on; the oldest cookies of more are taken away.
const TRIPS: usize = 5;
/// What cookies of trips begin with.
const COOKIE: &str = "login-";
/// Where logins send people back to.
pub(super) const CALLBACK: &str = "/doorward/callback";

/// What a client is told instead of a code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refusal {
    pub client_id: String,
    pub redirect_uri: String,
    pub state: Option<String>,
    pub code: String,
    pub description: String,
}

/// What a person signs in for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Errand {
    /// A client, which the person has agreed to; with the client's fingerprint then.
    Client { asked: Box<Authorized>, fingerprint: String },
    /// A client that is refused, and hears it only when somebody is signed in.
    Refusal(Refusal),
    /// A page of ours.
    Page(String),
}

impl Errand {
    /// Where a client waits.
    pub fn back(&self) -> Option<&str> {
        match self {
            Self::Client { asked, .. } => Some(&asked.redirect_uri),
            Self::Refusal(refusal) => Some(&refusal.redirect_uri),
            Self::Page(_) => None,
        }
    }
}

/// A person on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journey {
    pub errand: Errand,
    /// Whoever is signed in there signs in anew.
    pub anew: bool,
}

/// One trip to a login and back.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Trip {
    pub journey: Journey,
    pub login: String,
}

/// What state and cookie of a trip stand for. Nothing of it is in the store.
pub(in crate::server) struct Secrets {
    /// Under which the trip is kept.
    pub kept: String,
    pub nonce: String,
    pub verifier: String,
}

impl Secrets {
    pub fn of(state: &str, cookie: &str) -> Self {
        let derive = |what: &str| digest(&format!("{what}.{state}.{cookie}"));
        Self { kept: derive("trip"), nonce: derive("nonce"), verifier: derive("verifier") }
    }
}

/// The name of a trip's cookie, so that trips of one browser do not get into each other's way.
pub(super) fn trip_cookie(state: &str) -> Option<String> {
    Some(format!("{COOKIE}{}", state.get(..8)?))
}

impl Journey {
    fn max_age(&self) -> Option<u64> {
        match &self.errand {
            Errand::Client { asked, .. } => asked.max_age,
            Errand::Refusal(_) | Errand::Page(_) => None,
        }
    }

    fn acr_values(&self) -> &[String] {
        match &self.errand {
            Errand::Client { asked, .. } => &asked.acr_values,
            Errand::Refusal(_) | Errand::Page(_) => &[],
        }
    }

    /// The client that waits, for records.
    fn about(&self) -> Option<&str> {
        match &self.errand {
            Errand::Client { asked, .. } => Some(&asked.client_id),
            Errand::Refusal(refusal) => Some(&refusal.client_id),
            Errand::Page(_) => None,
        }
    }
}

impl Server {
    /// The logins for an upstream: accounts for one that is `self_managed`, the others for a bridge.
    pub(super) fn logins<'a>(&self, call: &Call<'a>, upstream: &str) -> Vec<&'a Login> {
        let own = call.settings.resources.iter().any(|resource| *resource.upstream == *upstream && resource.self_managed);
        call.settings.logins.all.iter().filter(|login| matches!(login, Login::Accounts(_)) == own).collect()
    }

    /// Sends a person to a login.
    pub(super) async fn set_out(&self, call: &Call<'_>, request: &Request<Bytes>, login: &Login, journey: Journey) -> Result<Reply, Fault> {
        if matches!(login, Login::Accounts(_)) {
            return self.to_accounts(call, request, &journey);
        }
        let Some(gate) = call.world.logins.find(login.name()) else { return Ok(self.no_login(call, request, &LoginError::NoLogin)) };
        let (state, _) = secret()?;
        let (cookie, _) = secret()?;
        let Secrets { kept, nonce, verifier } = Secrets::of(&state, &cookie);
        let callback = call.settings.endpoint(CALLBACK);
        let departure = Departure {
            state: &state,
            nonce: &nonce,
            challenge: &pkce::challenge(&verifier),
            redirect_uri: &callback,
            anew: journey.anew,
            max_age: journey.max_age(),
            acr_values: journey.acr_values(),
        };
        let url = match gate.depart(&departure).await {
            Ok(url) => url,
            Err(error) => return Ok(self.no_login(call, request, &error)),
        };
        let about = journey.about().map(str::to_owned);
        let trip = serde_json::to_string(&Trip { journey, login: login.name().to_owned() }).map_err(|_| Fault::Unreadable)?;
        call.store.put_ticket_among(Kind::Login, &kept, &trip, call.now.saturating_add(TRIP), UNDER_WAY).await?;
        let mut reply = Reply::see_other(&url, Told { name: about, ..Told::answered("sent_to_login") });
        let cookies = Cookies::of(call, request);
        let name = trip_cookie(&state);
        let old = cookies.under(COOKIE).into_iter().skip(TRIPS - 1).filter_map(|rest| cookies.clear(&format!("{COOKIE}{rest}")));
        set(&mut reply, old.chain(name.and_then(|name| cookies.write(&name, &cookie, Some(TRIP)))));
        Ok(reply)
    }

    /// The page of accounts takes the journey along, sealed to the browser.
    fn to_accounts(&self, call: &Call<'_>, request: &Request<Bytes>, journey: &Journey) -> Result<Reply, Fault> {
        let browser = Browser::of(call, request)?;
        let ticket = self.seal_for(call, Purpose::SignIn, &browser, journey)?;
        let told = Told { name: journey.about().map(str::to_owned), ..Told::answered("sent_to_login") };
        let mut reply = Reply::see_other(&call.settings.endpoint(&format!("/doorward/sign-in?ticket={ticket}")), told);
        set(&mut reply, browser.set);
        Ok(reply)
    }

    /// Lets a person in who signed in with an account here. `ticket` is what the sign-in page was opened with.
    ///
    /// # Errors
    /// The store cannot take it in.
    pub(super) async fn come_in(&self, call: &Call<'_>, request: &Request<Bytes>, ticket: &str, person: Person) -> Result<Reply, Fault> {
        let frame = Frame::of(call, request);
        let journey: Option<Journey> = match Browser::known(call, request) {
            Some(browser) => self.open_from(call, Purpose::SignIn, &browser, ticket)?,
            None => None,
        };
        match journey {
            Some(journey) => self.complete(call, request, journey, person, None).await,
            None => Ok(pages::wrong(call, frame, StatusCode::FORBIDDEN, &frame.t.error_begin_again, "page_expired")),
        }
    }

    /// A person is in: begins a session, and goes on with what it is for.
    pub(super) async fn complete(
        &self,
        call: &Call<'_>,
        request: &Request<Bytes>,
        journey: Journey,
        person: Person,
        kept: Option<Kept>,
    ) -> Result<Reply, Fault> {
        // SECURITY: as it was when they began, where that is known, or a password that was just replaced would open what comes after.
        let after = match person.after {
            None => Some(call.store.changes().await?),
            known => known,
        };
        let person = Person { after, ..person };
        self.remember(call, &person, kept).await?;
        let session = self.sign_in(call, request, &person).await?;
        let mut reply = match journey.errand {
            Errand::Client { asked, fingerprint } => self.agreed(call, request, &asked, &fingerprint, &person).await?,
            Errand::Refusal(refusal) => self.inform(call, &refusal),
            Errand::Page(path) => Reply::see_other(&call.settings.endpoint(&path), Told::answered("signed_in")),
        };
        set(&mut reply, session);
        Ok(reply)
    }

    /// Tells a client that there is no code for it (RFC 6749 §4.1.2.1, RFC 9207 §2).
    pub(super) fn inform(&self, call: &Call<'_>, refusal: &Refusal) -> Reply {
        let Refusal { client_id, redirect_uri, state, code, description } = refusal;
        let mut said = vec![("error", code.as_str()), ("error_description", description)];
        said.extend(state.as_deref().map(|state| ("state", state)));
        said.push(("iss", &call.settings.issuer));
        let told = Told::refused("authorize_refused").about(client_id);
        match answer(redirect_uri, &said) {
            Some(location) => Reply::see_other(&location, told),
            None => Fault::Unreadable.into(),
        }
    }

    /// A login that cannot be reached, or does not let somebody in.
    pub(super) fn no_login(&self, call: &Call<'_>, request: &Request<Bytes>, error: &LoginError) -> Reply {
        let frame = Frame::of(call, request);
        tracing::warn!(%error, request = call.origin.id, "a person could not sign in");
        let (status, text) = match error {
            LoginError::Entrance | LoginError::Subject => (StatusCode::FORBIDDEN, &frame.t.error_entrance),
            LoginError::Fetch(_) => (StatusCode::BAD_GATEWAY, &frame.t.error_unavailable),
            _ => (StatusCode::BAD_GATEWAY, &frame.t.error_login),
        };
        pages::wrong(call, frame, status, text, error.reason())
    }
}

/// Sends cookies along.
pub(super) fn set(reply: &mut Reply, cookies: impl IntoIterator<Item = HeaderValue>) {
    for cookie in cookies {
        reply.response.headers_mut().append(SET_COOKIE, cookie);
    }
}
