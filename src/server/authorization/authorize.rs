//! The authorize endpoint (RFC 6749 §4.1.1, OAuth 2.1 §4.1.1), in the order that keeps it from being an open redirector:
//! the client, then its redirect URI, each answered by a page; then everything else.
//!
//! What is wrong with a request of a client that nobody configured is told to it only after a person has signed in
//! (OAuth 2.1 §7.12.2). Consent comes before the login: at the login all clients look alike.

use bytes::Bytes;
use http::{Method, Request, StatusCode};

use super::browser::Browser;
use super::login::{Errand, Journey, Refusal, set};
use super::pages::{self, Frame, Saying};
use super::session::Session;
use super::{Call, ClientFault, Fault, Reply, Server, Told};
use crate::config::AuthorizationServer;
use crate::config::login::Login;
use crate::config::texts::fill;
use crate::governance::client::{Key, State, Terms};
use crate::oauth::authorization::{self, Asker, Authorized, Parameters, Resource, Resources, answer};
use crate::oauth::{ClientAuthentication, ClientKind, GrantType, Person, RegisteredClient, consent, redirect};
use crate::principal::{Principal, Proof};

impl Server {
    pub(super) async fn authorize(&self, call: &Call<'_>, request: &Request<Bytes>) -> Reply {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Reply::method("GET");
        }
        self.asked(call, request).await.unwrap_or_else(|fault| pages::unavailable(call, request, &fault))
    }

    async fn asked(&self, call: &Call<'_>, request: &Request<Bytes>) -> Result<Reply, Fault> {
        let parameters = Parameters::parse(request.uri().query().unwrap_or_default().as_bytes());
        let frame = Frame::of(call, request);
        let bad = |text: &str, reason| pages::wrong(call, frame, StatusCode::BAD_REQUEST, text, reason);
        let Ok(Some(id)) = parameters.one("client_id") else { return Ok(bad(&frame.t.error_client, "client_missing")) };
        let client = match self.client(call, id).await {
            Ok(client) => client,
            Err(fault) => return self.no_client(call, request, id, fault),
        };
        let registered = match (parameters.one("redirect_uri"), client.redirect_uris.as_slice()) {
            (Ok(Some(asked)), all) => redirect::find(all, asked).map(|registered| (asked, registered)),
            (Ok(None), [only]) => Some((only.as_str(), only.as_str())),
            _ => None,
        };
        let Some((redirect_uri, registered_uri)) = registered else {
            return Ok(bad(&frame.t.error_redirect, "redirect_uri").about(&client.id));
        };
        let terms = self.terms(call, &client.id).unwrap_or_default();
        let asker = Asker {
            client_id: &client.id,
            redirect_uri,
            registered_uri,
            takes_codes: client.grant_types.contains(&GrantType::AuthorizationCode),
            refreshes: client.grant_types.contains(&GrantType::RefreshToken),
            ceiling: client.scope.as_deref(),
        };
        let upstreams = terms.upstreams.as_deref();
        let approved = |asked: Authorized| match upstreams {
            Some(names) if !names.iter().any(|name| *name == *asked.upstream) => Err(authorization::Fault::Elsewhere),
            _ => Ok(asked),
        };
        match Authorized::check(&parameters, &asker, &Known(call.settings)).and_then(approved) {
            Ok(asked) => self.go_on(call, request, &client, asked).await,
            Err(fault) => {
                let quiet = parameters.one("prompt").is_ok_and(|prompt| prompt == Some("none"));
                let state = parameters.one("state").ok().flatten().filter(|state| state.len() <= authorization::LONGEST_STATE);
                let refusal = refusal(&client.id, redirect_uri, state, fault);
                self.refuse(call, request, &client, refusal, fault, quiet).await
            }
        }
    }

    /// Everything fits: is somebody signed in, and did the person say yes before?
    async fn go_on(&self, call: &Call<'_>, request: &Request<Bytes>, client: &RegisteredClient, asked: Authorized) -> Result<Reply, Fault> {
        let refuse = |fault| refusal(&asked.client_id, &asked.redirect_uri, asked.state.as_deref(), fault);
        let quiet = asked.prompt.none;
        let logins = self.logins(call, &asked.upstream);
        if logins.is_empty() {
            let fault = authorization::Fault::Unavailable;
            return self.refuse(call, request, client, refuse(fault), fault, quiet).await;
        }
        let Some(session) = self.good_session(call, request, &asked, &logins).await? else {
            if quiet {
                let fault = authorization::Fault::LoginRequired;
                return self.refuse(call, request, client, refuse(fault), fault, quiet).await;
            }
            return self.ask(call, request, client, asked, None, &logins);
        };
        let given = call.store.consent(&session.person.subject, &asked).await?;
        let is_public = client.authentication == ClientAuthentication::None;
        if consent::suffices(given.as_ref(), &asked, &client.fingerprint, is_public) {
            return self.issue(call, &asked, &session.person).await;
        }
        if quiet {
            let fault = authorization::Fault::ConsentRequired;
            return self.refuse(call, request, client, refuse(fault), fault, quiet).await;
        }
        self.ask(call, request, client, asked, Some(&session.person), &logins)
    }

    /// The session that will do for this request: of a fitting login, young enough, of a person who is still there.
    pub(super) async fn good_session(
        &self,
        call: &Call<'_>,
        request: &Request<Bytes>,
        asked: &Authorized,
        logins: &[&Login],
    ) -> Result<Option<Session>, Fault> {
        let Some(session) = self.signed_in(call, request).await? else { return Ok(None) };
        let Person { login, authenticated, acr, .. } = &session.person;
        let fits = logins.iter().any(|one| one.name() == login);
        let young = asked.max_age.is_none_or(|max_age| call.now.saturating_sub(*authenticated) <= max_age);
        let strong = asked.acr_values.is_empty() || acr.as_ref().is_some_and(|acr| asked.acr_values.contains(acr));
        if !(fits && young && strong) || asked.prompt.login {
            return Ok(None);
        }
        let person = self.present(call, session.person.clone()).await?;
        let after = session.person.after;
        Ok(person.map(|person| Session { person: Person { after, ..person }, ..session }))
    }

    /// The person said yes, and is signed in: keeps the yes, and gives the client its code.
    pub(super) async fn agreed(
        &self,
        call: &Call<'_>,
        request: &Request<Bytes>,
        asked: &Authorized,
        fingerprint: &str,
        person: &Person,
    ) -> Result<Reply, Fault> {
        let frame = Frame::of(call, request);
        match self.client(call, &asked.client_id).await {
            // SECURITY: what was agreed to is the client as it was shown, which may have changed meanwhile.
            Ok(client) if client.fingerprint == fingerprint => {}
            Ok(_) => return Ok(pages::wrong(call, frame, StatusCode::CONFLICT, &frame.t.error_begin_again, "client_changed")),
            Err(fault) => return self.no_client(call, request, &asked.client_id, fault),
        }
        let given = consent::Given::to(asked, fingerprint);
        call.store.put_consent(&person.subject, &given, call.now).await?;
        self.issue(call, asked, person).await
    }

    async fn issue(&self, call: &Call<'_>, asked: &Authorized, person: &Person) -> Result<Reply, Fault> {
        let code = self.grant_code(call, asked, person).await?;
        let mut said = vec![("code", code.as_str())];
        said.extend(asked.state.as_deref().map(|state| ("state", state)));
        said.push(("iss", &call.settings.issuer));
        let location = answer(&asked.redirect_uri, &said).ok_or(Fault::Unreadable)?;
        let who = Principal::new(Proof {
            issuer: call.settings.issuer.clone(),
            subject: person.subject.clone(),
            client: Some(asked.client_id.clone()),
            scopes: asked.scopes.clone(),
            ..Proof::default()
        });
        let told =
            Told { who: Some(who.into()), upstream: Some(asked.upstream.clone()), ..Told::answered("code_issued").about(&asked.client_id) };
        Ok(Reply::see_other(&location, told))
    }

    /// A client that cannot have what it asks for hears it where that is safe; the person reads it otherwise.
    async fn refuse(
        &self,
        call: &Call<'_>,
        request: &Request<Bytes>,
        client: &RegisteredClient,
        refusal: Refusal,
        fault: authorization::Fault,
        quiet: bool,
    ) -> Result<Reply, Fault> {
        let mut reply = if client.kind == ClientKind::Configured || self.signed_in(call, request).await?.is_some() {
            self.inform(call, &refusal)
        } else {
            let frame = Frame::of(call, request);
            let words = [("client", client.name.as_str()), ("what", fault.description())];
            let text = fill(&frame.t.refused, &words);
            let logins = &call.settings.logins.all;
            if quiet || logins.is_empty() {
                pages::wrong(call, frame, StatusCode::BAD_REQUEST, &text, fault.reason())
            } else {
                let texts = vec![text, frame.t.refused_tell.clone()];
                let title = fill(&frame.t.refused_title, &words);
                let journey = Journey { errand: Errand::Refusal(refusal), anew: false };
                self.choose(call, request, StatusCode::BAD_REQUEST, (title, texts), journey)?
            }
        };
        reply.told = Told { upstream: None, ..Told::refused(fault.reason()).about(&client.id) };
        Ok(reply)
    }

    /// A page, and never a redirect, for a client that may do nothing.
    fn no_client(&self, call: &Call<'_>, request: &Request<Bytes>, id: &str, fault: ClientFault) -> Result<Reply, Fault> {
        let frame = Frame::of(call, request);
        let name = [("client", id)];
        let contact = frame.contact();
        let closed = |title: &str, text: &str, reason| {
            let saying = Saying::new(fill(title, &name), fill(text, &[("contact", &contact)]));
            pages::say(StatusCode::FORBIDDEN, frame.referred(call), saying, Told::refused(reason))
        };
        let wrong = |status, text: &str, reason| pages::wrong(call, frame, status, text, reason);
        let reply = match fault {
            ClientFault::Fault(fault) => return Err(fault),
            ClientFault::Unknown => wrong(StatusCode::BAD_REQUEST, &frame.t.error_client, "client_unknown"),
            ClientFault::Unreachable(why) => {
                tracing::warn!(why, request = call.origin.id, "a client's document cannot be fetched");
                wrong(StatusCode::BAD_GATEWAY, &frame.t.error_document, "client_unreachable")
            }
            ClientFault::Refused(why) => {
                let text = format!("{} {}", frame.t.error_document, fill(&frame.t.error_request, &[("what", why)]));
                wrong(StatusCode::BAD_REQUEST, &text, "client_refused")
            }
            ClientFault::Pending(code) => self.waiting(call, request, id, code),
            ClientFault::Suspended => closed(&frame.t.suspended_title, &frame.t.suspended, "client_suspended"),
            ClientFault::Retired => closed(&frame.t.retired_title, &frame.t.retired, "client_retired"),
        };
        Ok(reply.about(id))
    }

    /// Nobody has decided on the client yet: the person reads who was asked, and what to tell them.
    fn waiting(&self, call: &Call<'_>, request: &Request<Bytes>, id: &str, code: String) -> Reply {
        let frame = Frame::of(call, request);
        let name = [("client", id)];
        let again = request.uri().path_and_query().map(|again| (again.to_string(), frame.t.try_again.clone()));
        let saying = Saying {
            title: fill(&frame.t.waiting_title, &name),
            texts: vec![fill(&frame.t.waiting, &[("contact", &frame.contact())]), frame.t.waiting_code.clone()],
            code: Some(code),
            after: vec![fill(&frame.t.waiting_then, &name)],
            link: again.filter(|_| request.method() == Method::GET && request.uri().path() == "/authorize"),
        };
        pages::say(StatusCode::FORBIDDEN, frame.referred(call), saying, Told::refused("client_pending"))
    }

    fn ask(
        &self,
        call: &Call<'_>,
        request: &Request<Bytes>,
        client: &RegisteredClient,
        asked: Authorized,
        person: Option<&Person>,
        logins: &[&Login],
    ) -> Result<Reply, Fault> {
        let browser = Browser::of(call, request)?;
        let mut reply = self.consent_page(call, request, &browser, client, asked, person, logins)?;
        set(&mut reply, browser.set);
        Ok(reply)
    }
}

impl Server {
    /// On what terms an operator approved a client; none where nobody did.
    pub(super) fn terms(&self, call: &Call<'_>, id: &str) -> Option<Terms> {
        let key = Key { issuer: call.settings.issuer.to_string(), id: id.to_owned() };
        let client = call.world.clients.as_ref()?.find(&key)?;
        (client.state == State::Approved).then_some(client.terms)
    }
}

/// What is refused, as the client is told.
pub(super) fn refusal(client_id: &str, redirect_uri: &str, state: Option<&str>, fault: authorization::Fault) -> Refusal {
    Refusal {
        client_id: client_id.to_owned(),
        redirect_uri: redirect_uri.to_owned(),
        state: state.map(str::to_owned),
        code: fault.code().to_owned(),
        description: fault.description().to_owned(),
    }
}

/// The resources of a configuration.
struct Known<'a>(&'a AuthorizationServer);

impl Resources for Known<'_> {
    fn find(&self, asked: &str) -> Option<Resource<'_>> {
        self.0.resource(asked).map(resource)
    }

    fn only(&self) -> Option<Resource<'_>> {
        if let [only] = self.0.resources.as_slice() { Some(resource(only)) } else { None }
    }
}

fn resource(known: &crate::config::authorization_server::Resource) -> Resource<'_> {
    Resource { identifier: &known.resource, upstream: &known.upstream, scopes: &known.scopes }
}
