//! A person's own account: password, passkeys, recovery codes, and the browsers in which they are signed in.

use std::collections::HashSet;

use askama::Template;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::browser::{Browser, posted};
use super::invite::Codes;
use super::login::{Errand, Journey, set};
use super::pages::{self, Frame, Policy};
use super::passkeys::{self, Ask, Errand as Asks};
use super::session::session_digest;
use super::sign_in::{field, has_accounts};
use super::{Call, Fault, Reply, Server, Told, digest};
use crate::config::texts::fill;
use crate::mcp::seal::Purpose;
use crate::oauth::account::{self as rules, Account, SUBJECT};
use crate::oauth::authorization::Parameters;
use crate::store::authorization::{Attempt, BrowserSession, Passkey};

const PLACE: &str = "/doorward/account";
/// How long ago somebody without a password may have signed in before what would outlast the session, in seconds.
const FRESH: u64 = 10 * 60;

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
    /// The account's id.
    account: &'a str,
    has_password: bool,
    passkeys: Vec<PasskeyCard>,
    /// Their ids, with spaces between.
    known: String,
    /// Where browsers make passkeys.
    passkey: Option<Ask>,
}

/// Whose account is asked for.
struct Own {
    account: Account,
    /// When the person last signed in, in seconds since 1970.
    authenticated: u64,
}

/// One passkey.
struct PasskeyCard {
    id: String,
    label: String,
    dates: String,
    backed_up: bool,
    /// What its button says to whom does not see it.
    remove: String,
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
    /// The same, with what the record says.
    Noted(String, &'static str),
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
        let Some(Own { account, .. }) = self.whose(call, request).await? else {
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
        let kept = call.store.passkeys_of(&account.id).await?;
        let page = Page {
            frame,
            name: &account.name,
            said,
            error,
            codes_left,
            sessions,
            ticket,
            account: &account.id,
            has_password: account.password.is_some(),
            known: kept.iter().map(|passkey| passkey.id.as_str()).collect::<Vec<_>>().join(" "),
            passkeys: kept.into_iter().map(|passkey| passkey_card(passkey, frame)).collect(),
            passkey: self.challenge(call, &browser, Asks::Make(account.id.clone()))?,
        };
        let mut reply = pages::page(status, &page, passkeys::policy(page.passkey.as_ref(), "'self'"), Told::answered("page"));
        set(&mut reply, browser.set);
        Ok(reply)
    }

    async fn change_own(&self, call: &Call<'_>, request: &Request<Bytes>) -> Result<Reply, Fault> {
        let frame = Frame::of(call, request);
        let forged = || Ok(pages::wrong(call, frame, StatusCode::FORBIDDEN, &frame.t.error_forged, "form_forged"));
        let (Some(form), Some(browser)) = (posted(call, request), Browser::known(call, request)) else { return forged() };
        let Some(own) = self.whose(call, request).await? else { return forged() };
        let account = &own.account;
        let shown: Option<Shown> = self.open_from(call, Purpose::Page, &browser, field(&form, "ticket"))?;
        if shown.is_none_or(|shown| shown.account != account.id) {
            return forged();
        }
        let done = match field(&form, "do") {
            "end" => {
                call.store.end_session(&account.subject(), field(&form, "session")).await?;
                Done::Said(frame.t.account_session_ended.clone())
            }
            "password" => self.new_password(call, request, frame, &own, &form).await?,
            "passkey" => self.new_passkey(call, frame, &browser, &own, &form).await?,
            "forget" => self.forget_passkey(call, frame, account, &form).await?,
            "codes" => self.codes_for(call, frame, &own, &form).await?,
            _ => return forged(),
        };
        match done {
            Done::Said(text) => self.own_account(call, request, Some(text), None).await,
            Done::Noted(text, reason) => {
                let reply = self.own_account(call, request, Some(text), None).await?;
                Ok(Reply { told: Told::answered(reason).about(&account.name), ..reply })
            }
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
        own: &Own,
        form: &Parameters,
    ) -> Result<Done, Fault> {
        let mut account = own.account.clone();
        let new = field(form, "password");
        if let Err(unfit) = rules::password(new, &account.name) {
            return Ok(Done::Wrong(frame.unfit(unfit)));
        }
        if new != field(form, "again") {
            return Ok(Done::Wrong(frame.t.password_differs.clone()));
        }
        if let Some(wrong) = self.proves(call, frame, own, form).await? {
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

    async fn codes_for(&self, call: &Call<'_>, frame: Frame<'_>, own: &Own, form: &Parameters) -> Result<Done, Fault> {
        match self.proves(call, frame, own, form).await? {
            Some(wrong) => Ok(wrong),
            None => Ok(Done::Codes(self.new_codes(call, &own.account).await?)),
        }
    }

    async fn new_passkey(&self, call: &Call<'_>, frame: Frame<'_>, browser: &Browser, own: &Own, form: &Parameters) -> Result<Done, Fault> {
        if let Some(wrong) = self.proves(call, frame, own, form).await? {
            return Ok(wrong);
        }
        let is_kept = match self.made(call, browser, form, &own.account).await? {
            Some(passkey) => call.store.put_passkey(&passkey).await?,
            None => false,
        };
        match is_kept {
            true => Ok(Done::Noted(frame.t.passkey_made.clone(), "passkey_added")),
            false => Ok(Done::Wrong(frame.t.passkey_wrong.clone())),
        }
    }

    /// The last way in stays.
    async fn forget_passkey(&self, call: &Call<'_>, frame: Frame<'_>, account: &Account, form: &Parameters) -> Result<Done, Fault> {
        if account.password.is_none() && call.store.passkeys_of(&account.id).await?.len() <= 1 {
            return Ok(Done::Wrong(frame.t.passkey_last.clone()));
        }
        call.store.drop_passkey(&account.id, field(form, "id")).await?;
        Ok(Done::Noted(frame.t.passkey_removed.clone(), "passkey_removed"))
    }

    /// The password once more, before what would outlast a session; counted like a sign-in. Whoever has none must have signed
    /// in just now. What it says where it is not.
    async fn proves(&self, call: &Call<'_>, frame: Frame<'_>, own: &Own, form: &Parameters) -> Result<Option<Done>, Fault> {
        let Own { account, authenticated } = own;
        if account.password.is_none() {
            let is_fresh = call.now.saturating_sub(*authenticated) <= FRESH;
            return Ok((!is_fresh).then(|| Done::Wrong(frame.t.passkey_anew.clone())));
        }
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
    async fn whose(&self, call: &Call<'_>, request: &Request<Bytes>) -> Result<Option<Own>, Fault> {
        let Some(session) = self.signed_in(call, request).await? else { return Ok(None) };
        match session.person.subject.strip_prefix(SUBJECT) {
            Some(id) => {
                let account = call.store.account(id).await?;
                Ok(account.map(|account| Own { account, authenticated: session.person.authenticated }))
            }
            None => Ok(None),
        }
    }

    /// Signs the person out everywhere and disconnects all clients, here and on every replica.
    pub(super) async fn end_everything(&self, call: &Call<'_>, account: &Account, reason: &'static str) -> Result<(), Fault> {
        let (subject, mut ended) = (account.subject(), HashSet::new());
        loop {
            // The store gives the newest ones: what is ended makes room for those before.
            let mut sessions = call.store.sessions_of(&subject, call.now).await?;
            sessions.retain(|session| ended.insert(session.digest.clone()));
            let mut grants = call.store.grants_of(&subject, call.now).await?;
            grants.retain(|grant| ended.insert(grant.id.clone()));
            if sessions.is_empty() && grants.is_empty() {
                return Ok(());
            }
            for session in sessions {
                call.store.end_session(&subject, &session.digest).await?;
            }
            for grant in grants {
                self.end_grant(call, &grant, reason).await?;
            }
        }
    }
}

fn passkey_card(passkey: Passkey, frame: Frame<'_>) -> PasskeyCard {
    let made = date(passkey.created);
    let dates = match passkey.used.map(date) {
        Some(used) => fill(&frame.t.passkey_dates, &[("made", &made), ("used", &used)]),
        None => fill(&frame.t.passkey_unused, &[("made", &made)]),
    };
    let remove = fill(&frame.t.passkey_remove_one, &[("passkey", &passkey.label)]);
    PasskeyCard { dates, remove, id: passkey.id, label: passkey.label, backed_up: passkey.backed_up }
}

/// To the minute.
fn date(seconds: u64) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(at).to_string().chars().take(16).collect()
}

fn card(session: BrowserSession, here: Option<&str>, frame: Frame<'_>) -> Card {
    Card {
        here: here == Some(session.digest.as_str()),
        since: fill(&frame.t.account_session_since, &[("since", &date(session.begun))]),
        agent: session.agent,
        digest: session.digest,
    }
}
