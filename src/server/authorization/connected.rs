//! Which clients act in a person's name, and the end of that.

use askama::Template;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::browser::{Browser, posted};
use super::consent::called;
use super::login::{Errand, Journey, set};
use super::pages::{self, Frame, Policy, Saying};
use super::session::Session;
use super::{Call, Fault, Reply, Server, Told};
use crate::config::texts::fill;
use crate::mcp::seal::Purpose;
use crate::oauth::account::SUBJECT;
use crate::store::authorization::Grant;

const PLACE: &str = "/doorward/connected";
/// Clients on one page.
const SHOWN: usize = 100;

/// What the forms bring back: whose page it was.
#[derive(Serialize, Deserialize)]
struct Shown {
    connected: String,
}

#[derive(Template)]
#[template(path = "connected.html")]
struct Connected<'a> {
    frame: Frame<'a>,
    person: String,
    done: Option<String>,
    clients: Vec<Card>,
    ticket: String,
    /// The person has an account here.
    has_account: bool,
}

/// One client at one resource, however often it was connected.
struct Card {
    name: String,
    resource: String,
    dates: String,
    scopes: Vec<String>,
    grant: String,
    label: String,
}

impl Server {
    pub(super) async fn connected(&self, call: &Call<'_>, request: &Request<Bytes>) -> Reply {
        let reply = match *request.method() {
            Method::GET | Method::HEAD => self.connections(call, request, None).await,
            Method::POST => self.disconnect(call, request).await,
            _ => return Reply::method("GET, POST"),
        };
        reply.unwrap_or_else(|fault| pages::unavailable(call, request, &fault))
    }

    async fn connections(&self, call: &Call<'_>, request: &Request<Bytes>, done: Option<String>) -> Result<Reply, Fault> {
        let frame = Frame::of(call, request);
        let Some(Session { person, .. }) = self.signed_in(call, request).await? else {
            if call.settings.logins.all.is_empty() {
                return Ok(pages::wrong(call, frame, StatusCode::NOT_FOUND, &frame.t.error_not_found, "not_found"));
            }
            let words = (frame.t.sign_in_title.clone(), vec![frame.t.sign_in_lead.clone()]);
            let journey = Journey { errand: Errand::Page(PLACE.into()), anew: false };
            return self.choose(call, request, StatusCode::OK, words, journey);
        };
        let browser = Browser::of(call, request)?;
        let mut clients = Vec::new();
        for grants in alike(call.store.grants_of(&person.subject, call.now).await?).iter().take(SHOWN) {
            clients.extend(self.card(call, frame, grants).await);
        }
        let ticket = self.seal_for(call, Purpose::Page, &browser, &Shown { connected: person.subject.clone() })?;
        let has_account = person.subject.starts_with(SUBJECT);
        let page = Connected { frame, person: called(&person), done, clients, ticket, has_account };
        let mut reply = pages::page(StatusCode::OK, &page, Policy::default(), Told::answered("page"));
        set(&mut reply, browser.set);
        Ok(reply)
    }

    /// Of grants that are alike, the newest first; none of none.
    async fn card(&self, call: &Call<'_>, frame: Frame<'_>, grants: &[Grant]) -> Option<Card> {
        let grant = grants.first()?;
        let name = self.client(call, &grant.client_id).await.map_or_else(|_| grant.client_id.clone(), |client| client.name);
        let known = call.settings.resources.iter().find(|resource| resource.resource == grant.resource);
        let resource = known.map_or_else(|| grant.resource.clone(), |known| known.title.clone());
        let mut scopes: Vec<String> = Vec::new();
        for scope in grants.iter().flat_map(|grant| serde_json::from_str::<Vec<String>>(&grant.scopes).unwrap_or_default()) {
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        let since = grants.iter().map(|grant| grant.created).min().unwrap_or_default();
        let used = grants.iter().map(|grant| grant.used).max().unwrap_or_default();
        Some(Card {
            label: fill(&frame.t.connected_disconnect_one, &[("client", &name), ("resource", &resource)]),
            dates: fill(&frame.t.connected_dates, &[("since", &day(since)), ("used", &day(used))]),
            scopes: scopes.into_iter().map(|scope| call.settings.words.get(&scope).cloned().unwrap_or(scope)).collect(),
            grant: grant.id.clone(),
            name,
            resource,
        })
    }

    async fn disconnect(&self, call: &Call<'_>, request: &Request<Bytes>) -> Result<Reply, Fault> {
        let frame = Frame::of(call, request);
        let forged = || Ok(pages::wrong(call, frame, StatusCode::FORBIDDEN, &frame.t.error_forged, "form_forged"));
        let Some((session, form)) = self.own_form(call, request).await? else { return forged() };
        let Ok(Some(id)) = form.one("end") else { return forged() };
        let grants = call.store.grants_of(&session.person.subject, call.now).await?;
        // SECURITY: one's own alone. One that has ended meanwhile needs no more.
        let Some(mut all) = alike(grants).into_iter().find(|all| all.iter().any(|grant| grant.id == id)) else {
            return Ok(Reply::see_other(&call.settings.endpoint(PLACE), Told::answered("page")));
        };
        let card = self.card(call, frame, &all).await;
        let Some(grant) = all.first().cloned() else { return forged() };
        call.store.drop_consents(&session.person.subject, &grant.client_id).await?;
        // However many there are: a client that connected often is gone like any other.
        while !all.is_empty() {
            for grant in &all {
                self.end_grant(call, grant, "disconnected").await?;
            }
            let left = call.store.grants_of(&session.person.subject, call.now).await?;
            all = left.into_iter().filter(|other| is_alike(other, &grant)).collect();
        }
        let done = fill(&frame.t.connected_done, &[("client", card.as_ref().map_or(&grant.client_id, |card| &card.name))]);
        let reply = self.connections(call, request, Some(done)).await?;
        Ok(Reply { told: Told::answered("disconnected").about(&grant.client_id), ..reply })
    }

    pub(super) async fn sign_out_page(&self, call: &Call<'_>, request: &Request<Bytes>) -> Reply {
        if request.method() != Method::POST {
            return Reply::method("POST");
        }
        self.signed_out(call, request).await.unwrap_or_else(|fault| pages::unavailable(call, request, &fault))
    }

    async fn signed_out(&self, call: &Call<'_>, request: &Request<Bytes>) -> Result<Reply, Fault> {
        let frame = Frame::of(call, request);
        if self.own_form(call, request).await?.is_none() {
            return Ok(pages::wrong(call, frame, StatusCode::FORBIDDEN, &frame.t.error_forged, "form_forged"));
        }
        self.leave(call, request, frame).await
    }

    /// Signs the browser out that asks.
    pub(super) async fn leave(&self, call: &Call<'_>, request: &Request<Bytes>, frame: Frame<'_>) -> Result<Reply, Fault> {
        let cookie = self.sign_out(call, request).await?;
        let saying = Saying::new(&frame.t.signed_out_title, &frame.t.signed_out);
        let mut reply = pages::say(StatusCode::OK, frame, saying, Told::answered("signed_out"));
        set(&mut reply, cookie);
        Ok(reply)
    }

    /// A form of a page that was shown to whoever is signed in now.
    async fn own_form(
        &self,
        call: &Call<'_>,
        request: &Request<Bytes>,
    ) -> Result<Option<(Session, crate::oauth::authorization::Parameters)>, Fault> {
        let (Some(form), Some(browser)) = (posted(call, request), Browser::known(call, request)) else { return Ok(None) };
        let Some(session) = self.signed_in(call, request).await? else { return Ok(None) };
        let Ok(Some(ticket)) = form.one("ticket") else { return Ok(None) };
        let shown: Option<Shown> = self.open_from(call, Purpose::Page, &browser, ticket)?;
        let is_own = shown.is_some_and(|shown| shown.connected == session.person.subject);
        Ok(is_own.then_some((session, form)))
    }
}

/// Those of one client at one resource together, in the order in which the first of each came.
fn alike(grants: Vec<Grant>) -> Vec<Vec<Grant>> {
    let mut all: Vec<Vec<Grant>> = Vec::new();
    for grant in grants {
        match all.iter_mut().find(|group| group.first().is_some_and(|first| is_alike(first, &grant))) {
            Some(group) => group.push(grant),
            None => all.push(vec![grant]),
        }
    }
    all
}

fn is_alike(one: &Grant, other: &Grant) -> bool {
    one.client_id == other.client_id && one.resource == other.resource
}

/// The day of a time in seconds since 1970, as `2026-11-28`.
fn day(seconds: i64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    humantime::format_rfc3339_seconds(time).to_string().chars().take(10).collect()
}
