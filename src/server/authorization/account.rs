//! A person's own account: password, recovery codes, and the browsers in which they are signed in.

use askama::Template;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::browser::{Browser, posted};
use super::invite::Codes;
use super::login::{Errand, Journey, set};
use super::pages::{self, Frame, Policy};
use super::session::session_digest;
use super::sign_in::{field, has_accounts};
use super::{Call, Fault, Reply, Server, Told, digest};
use crate::config::texts::fill;
use crate::mcp::seal::Purpose;
use crate::oauth::account::{self as rules, Account, SUBJECT};
use crate::oauth::authorization::Parameters;
use crate::store::authorization::{Attempt, BrowserSession};

const PLACE: &str = "/doorward/account";

/// What the forms bring back: whose page it was.
#[derive(Serialize, Deserialize)]
struct Shown {
    account: String,
}

#[derive(Template)]
#[template(path = "account.html")]
struct Page<'a> {
    frame: Frame<'a>,
    name: &'a str,
    said: Option<String>,
    error: Option<String>,
    codes_left: String,
    sessions: Vec<Card>,
    ticket: String,
}

/// One browser in which the person is signed in.
struct Card {
    agent: String,
    since: String,
    digest: String,
    /// The browser that asks.
    here: bool,
}

/// What became of a form.
enum Done {
    Said(String),
    Wrong(String),
    Codes(Vec<String>),
}

impl Server {
    pub(super) async fn account(&self, call: &Call<'_>, request: &Request<Bytes>) -> Reply {
        if !has_accounts(call) {
            let frame = Frame::of(call, request);
            return pages::wrong(call, frame, StatusCode::NOT_FOUND, &frame.t.error_not_found, "not_found");
        }
        let reply = match *request.method() {
            Method::GET | Method::HEAD => self.own_account(call, request, None, None).await,
            Method::POST => self.change_own(call, request).await,
            _ => return Reply::method("GET, POST"),
        };
        reply.unwrap_or_else(|fault| pages::unavailable(call, request, &fault))
    }

    async fn own_account(
        &self,
        call: &Call<'_>,
        request: &Request<Bytes>,
        said: Option<String>,
        error: Option<String>,
    ) -> Result<Reply, Fault> {
        let frame = Frame::of(call, request);
        let Some(account) = self.whose(call, request).await? else {
            let words = (frame.t.sign_in_title.clone(), vec![frame.t.account_lead.clone()]);
            return self.choose(call, request, StatusCode::OK, words, Journey { errand: Errand::Page(PLACE.into()), anew: false });
        };
        let browser = Browser::of(call, request)?;
        let ticket = self.seal_for(call, Purpose::Page, &browser, &Shown { account: account.id.clone() })?;
        let here = session_digest(call, request);
        let sessions = call.store.sessions_of(&account.subject(), call.now).await?;
        let sessions = sessions.into_iter().map(|session| card(session, here.as_deref(), frame)).collect();
        let left = call.store.recovery_codes(&account.id).await?.to_string();
        let status = if error.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        let codes_left = fill(&frame.t.account_codes_left, &[("count", &left)]);
        let page = Page { frame, name: &account.name, said, error, codes_left, sessions, ticket };
        let mut reply = pages::page(status, &page, Policy::default(), Told::answered("page"));
        set(&mut reply, browser.set);
        Ok(reply)
    }

    async fn change_own(&self, call: &Call<'_>, request: &Request<Bytes>) -> Result<Reply, Fault> {
        let frame = Frame::of(call, request);
        let forged = || Ok(pages::wrong(call, frame, StatusCode::FORBIDDEN, &frame.t.error_forged, "form_forged"));
        let (Some(form), Some(browser)) = (posted(call, request), Browser::known(call, request)) else { return forged() };
        let Some(account) = self.whose(call, request).await? else { return forged() };
        let shown: Option<Shown> = self.open_from(call, Purpose::Page, &browser, field(&form, "ticket"))?;
        if shown.is_none_or(|shown| shown.account != account.id) {
            return forged();
        }
        let done = match field(&form, "do") {
            "end" => {
                call.store.end_session(&account.subject(), field(&form, "session")).await?;
                Done::Said(frame.t.account_session_ended.clone())
            }
            "password" => self.new_password(call, request, frame, account, &form).await?,
            "codes" => self.codes_for(call, frame, &account, &form).await?,
            _ => return forged(),
        };
        match done {
            Done::Said(text) => self.own_account(call, request, Some(text), None).await,
            Done::Wrong(text) => self.own_account(call, request, None, Some(text)).await,
            Done::Codes(codes) => {
                Ok(pages::page(StatusCode::OK, &Codes { frame, codes }, Policy::default(), Told::answered("recovery_codes")))
            }
        }
    }

    /// Sets another password. The other browsers are signed out; clients stay connected.
    async fn new_password(
        &self,
        call: &Call<'_>,
        request: &Request<Bytes>,
        frame: Frame<'_>,
        mut account: Account,
        form: &Parameters,
    ) -> Result<Done, Fault> {
        let new = field(form, "password");
        if let Err(unfit) = rules::password(new, &account.name) {
            return Ok(Done::Wrong(frame.unfit(unfit)));
        }
        if new != field(form, "again") {
            return Ok(Done::Wrong(frame.t.password_differs.clone()));
        }
        if let Some(wrong) = self.proves(call, frame, &account, form).await? {
            return Ok(wrong);
        }
        (account.password, account.changed) = (Some(self.hashing.hash(new.to_owned()).await?), call.now);
        call.store.change_account(&account).await?;
        let here = session_digest(call, request);
        for session in call.store.sessions_of(&account.subject(), call.now).await? {
            if Some(&session.digest) != here.as_ref() {
                call.store.end_session(&account.subject(), &session.digest).await?;
            }
        }
        Ok(Done::Said(frame.t.account_password_changed.clone()))
    }

    async fn codes_for(&self, call: &Call<'_>, frame: Frame<'_>, account: &Account, form: &Parameters) -> Result<Done, Fault> {
        match self.proves(call, frame, account, form).await? {
            Some(wrong) => Ok(wrong),
            None => Ok(Done::Codes(self.new_codes(call, account).await?)),
        }
    }

    /// The password once more, before what would outlast a session; counted like a sign-in. What it says where it is not.
    async fn proves(&self, call: &Call<'_>, frame: Frame<'_>, account: &Account, form: &Parameters) -> Result<Option<Done>, Fault> {
        let key = digest(&format!("own\0{}", account.id));
        if let Attempt::Wait(until) = call.store.attempt(&key, call.now, rules::MEMORY, rules::wait).await? {
            let seconds = until.saturating_sub(call.now).max(1).to_string();
            return Ok(Some(Done::Wrong(fill(&frame.t.sign_in_wait, &[("seconds", &seconds)]))));
        }
        let current: String = field(form, "current").chars().take(rules::LONGEST).collect();
        if !self.hashing.is(current, account.password.clone()).await? {
            return Ok(Some(Done::Wrong(frame.t.account_current_wrong.clone())));
        }
        call.store.forget_attempts(&key).await?;
        Ok(None)
    }

    /// The account that is signed in in the browser that asks.
    async fn whose(&self, call: &Call<'_>, request: &Request<Bytes>) -> Result<Option<Account>, Fault> {
        let Some(session) = self.signed_in(call, request).await? else { return Ok(None) };
        match session.person.subject.strip_prefix(SUBJECT) {
            Some(id) => Ok(call.store.account(id).await?),
            None => Ok(None),
        }
    }

    /// Signs the person out everywhere and disconnects all clients, here and on every replica.
    pub(super) async fn end_everything(&self, call: &Call<'_>, account: &Account, reason: &'static str) -> Result<(), Fault> {
        for session in call.store.sessions_of(&account.subject(), call.now).await? {
            call.store.end_session(&account.subject(), &session.digest).await?;
        }
        for grant in call.store.grants_of(&account.subject(), call.now).await? {
            self.end_grant(call, &grant, reason).await?;
        }
        Ok(())
    }
}

fn card(session: BrowserSession, here: Option<&str>, frame: Frame<'_>) -> Card {
    let since = std::time::UNIX_EPOCH + std::time::Duration::from_secs(session.begun);
    let since = humantime::format_rfc3339_seconds(since).to_string();
    Card {
        here: here == Some(session.digest.as_str()),
        since: fill(&frame.t.account_session_since, &[("since", since.get(..16).unwrap_or(&since))]),
        agent: session.agent,
        digest: session.digest,
    }
}
