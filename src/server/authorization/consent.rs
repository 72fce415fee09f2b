//! Does the person agree? The page that asks, and what becomes of the answer.
//!
//! It names the client, its host, the scopes in words, and where access goes, before the person is sent to any login
//! (MCP Security Best Practices, "Confused Deputy"; RFC 9700 §4.11).

use askama::Template;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::authorize::refusal;
use super::browser::{Browser, posted};
use super::login::{Errand, Journey, set};
use super::pages::{self, Frame, Policy, Saying};
use super::{Call, Fault, Reply, Server, Told};
use crate::config::login::Login;
use crate::config::texts::fill;
use crate::mcp::seal::Purpose;
use crate::oauth::authorization::{self, Authorized};
use crate::oauth::redirect::{self, Place};
use crate::oauth::{ClientKind, Person, RegisteredClient};

/// What the form brings back.
#[derive(Serialize, Deserialize)]
struct Question {
    asked: Authorized,
    /// What the client is called, and what it was when the page was shown.
    client: String,
    fingerprint: String,
    /// An operator configured the client.
    configured: bool,
}

#[derive(Template)]
#[template(path = "consent.html")]
struct Consent<'a> {
    frame: Frame<'a>,
    title: String,
    client: &'a str,
    /// Where the client says it is from: the host of its id or page.
    client_host: Option<String>,
    vouched: bool,
    resource: &'a str,
    resource_url: &'a str,
    goes_to: String,
    goes_to_host: Option<String>,
    warning: Option<String>,
    person: Option<String>,
    scopes: Vec<Scope<'a>>,
    ticket: String,
    logins: Vec<Button>,
    /// The value of the button for another account.
    other: Option<&'static str>,
}

struct Scope<'a> {
    name: &'a str,
    text: &'a str,
}

/// A way to go on.
pub(super) struct Button {
    pub name: &'static str,
    pub text: String,
}

/// The value of the button for whoever is signed in already.
const AS_NOW: &str = "session";
/// The same, but to sign in as somebody else.
const AS_OTHER: &str = "other";

#[derive(Template)]
#[template(path = "choose.html")]
struct Choose<'a> {
    frame: Frame<'a>,
    title: String,
    texts: Vec<String>,
    ticket: String,
    logins: Vec<Button>,
}

impl Server {
    #[expect(clippy::too_many_arguments, reason = "one page, and everything that stands on it")]
    pub(super) fn consent_page(
        &self,
        call: &Call<'_>,
        request: &Request<Bytes>,
        browser: &Browser,
        client: &RegisteredClient,
        asked: Authorized,
        person: Option<&Person>,
        logins: &[&Login],
    ) -> Result<Reply, Fault> {
        let frame = Frame::of(call, request);
        let known = call.settings.resources.iter().find(|resource| resource.resource == asked.resource);
        let resource = known.map_or(&*asked.resource, |known| known.title.as_str()).to_owned();
        let name = [("client", client.name.as_str()), ("resource", &resource)];
        let place = Place::of(&asked.redirect_uri);
        let is_configured = client.kind == ClientKind::Configured;
        let question = Question {
            client: client.name.clone(),
            fingerprint: client.fingerprint.clone(),
            configured: is_configured,
            asked: asked.clone(),
        };
        let mut scopes: Vec<Scope<'_>> =
            asked.scopes.iter().map(|scope| Scope { name: scope, text: call.settings.words.get(scope).unwrap_or(scope) }).collect();
        if asked.offline {
            scopes.push(Scope { name: &frame.t.consent_offline, text: &frame.t.consent_offline });
        }
        let page = Consent {
            frame,
            title: fill(&frame.t.consent_title, &name),
            client: &client.name,
            client_host: self.client_host(client),
            vouched: is_configured || self.terms(call, &client.id).is_some(),
            resource: &resource,
            resource_url: &asked.resource,
            goes_to: match &place {
                Ok(Place::App(scheme)) => fill(&frame.t.consent_program, &[("scheme", scheme)]),
                _ => frame.t.consent_this_computer.clone(),
            },
            goes_to_host: if let Ok(Place::Web(host)) = &place { Some(host.clone()) } else { None },
            warning: match &place {
                Ok(Place::Loopback(_)) => Some(fill(&frame.t.consent_loopback_warning, &name)),
                Ok(Place::Web(_)) => None,
                _ => Some(fill(&frame.t.consent_program_warning, &name)),
            },
            person: person.map(called),
            scopes,
            ticket: self.seal_for(call, Purpose::Page, browser, &question)?,
            logins: buttons(frame, person, logins),
            other: person.map(|_| AS_OTHER),
        };
        let forms = forms(call, Some(&asked.redirect_uri), logins);
        let told = Told { upstream: Some(asked.upstream.clone()), ..Told::answered("consent_asked").about(&client.id) };
        Ok(pages::page(StatusCode::OK, &page, Policy { forms: &forms, more: "" }, told))
    }

    /// Where a client says it is from. Its document's host is proven, its page's host is not.
    fn client_host(&self, client: &RegisteredClient) -> Option<String> {
        match client.kind {
            ClientKind::Document => redirect::host(&client.id),
            ClientKind::Configured | ClientKind::Registered => None,
        }
    }

    pub(super) async fn consent(&self, call: &Call<'_>, request: &Request<Bytes>) -> Reply {
        if request.method() != Method::POST {
            return Reply::method("POST");
        }
        self.answered(call, request).await.unwrap_or_else(|fault| pages::unavailable(call, request, &fault))
    }

    async fn answered(&self, call: &Call<'_>, request: &Request<Bytes>) -> Result<Reply, Fault> {
        let frame = Frame::of(call, request);
        let forbidden = |text: &str, reason| Ok(pages::wrong(call, frame, StatusCode::FORBIDDEN, text, reason));
        // SECURITY: CSRF: a form of ours, from our own origin, sealed for this very browser.
        let (Some(form), Some(browser)) = (posted(call, request), Browser::known(call, request)) else {
            return forbidden(&frame.t.error_forged, "form_forged");
        };
        let question: Option<Question> = match form.one("ticket") {
            Ok(Some(ticket)) => self.open_from(call, Purpose::Page, &browser, ticket)?,
            _ => return forbidden(&frame.t.error_forged, "form_forged"),
        };
        let Some(Question { asked, client, fingerprint, configured }) = question else {
            return forbidden(&frame.t.error_begin_again, "page_expired");
        };
        let logins = self.logins(call, &asked.upstream);
        match (form.one("allow"), form.one("deny")) {
            (Ok(None), Ok(Some(_))) => {
                let refusal = refusal(&asked.client_id, &asked.redirect_uri, asked.state.as_deref(), authorization::Fault::Denied);
                // Nobody is sent to an unknown client's address before signing in (OAuth 2.1 §7.12.2).
                if configured || self.signed_in(call, request).await?.is_some() {
                    return Ok(Reply { told: Told::refused("consent_denied").about(&asked.client_id), ..self.inform(call, &refusal) });
                }
                let saying = Saying::new(&frame.t.denied_title, fill(&frame.t.denied, &[("client", &client)]));
                Ok(pages::say(StatusCode::OK, frame, saying, Told::refused("consent_denied").about(&asked.client_id)))
            }
            (Ok(Some(AS_NOW)), Ok(None)) => match self.good_session(call, request, &asked, &logins).await? {
                Some(session) => self.agreed(call, request, &asked, &fingerprint, &session.person).await,
                None => forbidden(&frame.t.error_begin_again, "page_expired"),
            },
            (Ok(Some(how)), Ok(None)) => {
                let anew = asked.prompt.login || how == AS_OTHER;
                let journey = Journey { anew, errand: Errand::Client { asked: Box::new(asked), fingerprint } };
                match (how, logins.as_slice()) {
                    (AS_OTHER, [only]) => self.set_out(call, request, only, journey).await,
                    (AS_OTHER, _) => self.choose(call, request, StatusCode::OK, (frame.t.sign_in_title.clone(), Vec::new()), journey),
                    (how, all) => match all.iter().find(|login| login.name() == how) {
                        Some(login) => self.set_out(call, request, login, journey).await,
                        None => forbidden(&frame.t.error_forged, "form_forged"),
                    },
                }
            }
            _ => forbidden(&frame.t.error_forged, "form_forged"),
        }
    }

    /// A page with one button for each login.
    pub(super) fn choose(
        &self,
        call: &Call<'_>,
        request: &Request<Bytes>,
        status: StatusCode,
        (title, texts): (String, Vec<String>),
        journey: Journey,
    ) -> Result<Reply, Fault> {
        let frame = Frame::of(call, request);
        let browser = Browser::of(call, request)?;
        let logins: Vec<&Login> = self.logins_for(call, &journey.errand);
        let forms = forms(call, journey.errand.back(), &logins);
        let ticket = self.seal_for(call, Purpose::Page, &browser, &journey)?;
        let page = Choose { frame, title, texts, ticket, logins: ways(frame, &logins) };
        let mut reply = pages::page(status, &page, Policy { forms: &forms, more: "" }, Told::answered("login_asked"));
        set(&mut reply, browser.set);
        Ok(reply)
    }

    /// The person chose a login.
    pub(super) async fn begin(&self, call: &Call<'_>, request: &Request<Bytes>) -> Reply {
        if request.method() != Method::POST {
            return Reply::method("POST");
        }
        self.chosen(call, request).await.unwrap_or_else(|fault| pages::unavailable(call, request, &fault))
    }

    async fn chosen(&self, call: &Call<'_>, request: &Request<Bytes>) -> Result<Reply, Fault> {
        let frame = Frame::of(call, request);
        let forbidden = |text: &str, reason| Ok(pages::wrong(call, frame, StatusCode::FORBIDDEN, text, reason));
        let (Some(form), Some(browser)) = (posted(call, request), Browser::known(call, request)) else {
            return forbidden(&frame.t.error_forged, "form_forged");
        };
        let (Ok(Some(ticket)), Ok(Some(name))) = (form.one("ticket"), form.one("login")) else {
            return forbidden(&frame.t.error_forged, "form_forged");
        };
        let Some(journey) = self.open_from::<Journey>(call, Purpose::Page, &browser, ticket)? else {
            return forbidden(&frame.t.error_begin_again, "page_expired");
        };
        match self.logins_for(call, &journey.errand).into_iter().find(|login| login.name() == name) {
            Some(login) => self.set_out(call, request, login, journey).await,
            None => forbidden(&frame.t.error_forged, "form_forged"),
        }
    }

    fn logins_for<'a>(&self, call: &Call<'a>, errand: &Errand) -> Vec<&'a Login> {
        match errand {
            Errand::Client { asked, .. } => self.logins(call, &asked.upstream),
            Errand::Refusal(_) | Errand::Page(_) => call.settings.logins.all.iter().collect(),
        }
    }
}

/// What a person is called on a page.
pub(super) fn called(person: &Person) -> String {
    match (&person.name, &person.email) {
        (Some(name), Some(email)) => format!("{name} ({email})"),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => person.subject.clone(),
    }
}

/// With somebody signed in, one click is enough; else the button says where it leads.
fn buttons(frame: Frame<'_>, person: Option<&Person>, logins: &[&Login]) -> Vec<Button> {
    if person.is_some() {
        return vec![Button { name: AS_NOW, text: frame.t.allow.clone() }];
    }
    logins.iter().map(|login| Button { name: login.name(), text: fill(&frame.t.allow_with, &[("login", login.title())]) }).collect()
}

fn ways(frame: Frame<'_>, logins: &[&Login]) -> Vec<Button> {
    logins.iter().map(|login| Button { name: login.name(), text: fill(&frame.t.continue_with, &[("login", login.title())]) }).collect()
}

/// Where the form may lead: some browsers hold every redirect after it to `form-action`. Logins lead on to places that
/// nobody can name here, so it is held to schemes.
pub(super) fn forms(call: &Call<'_>, redirect_uri: Option<&str>, logins: &[&Login]) -> String {
    let mut all = vec!["'self'".to_owned()];
    let mut add = |url: &str| {
        let scheme = url.split_once(':').map(|(scheme, _)| format!("{}:", scheme.to_ascii_lowercase()));
        if let Some(scheme) = scheme.filter(|scheme| !all.contains(scheme)) {
            all.push(scheme);
        }
    };
    redirect_uri.into_iter().for_each(&mut add);
    for login in logins {
        match login {
            Login::Oidc(login) => add(&login.issuer),
            Login::OAuth2(login) => add(&login.authorization_url),
            Login::Application(login) => add(&login.url),
            Login::Accounts(_) => add(&call.settings.issuer),
        }
    }
    all.join(" ")
}
