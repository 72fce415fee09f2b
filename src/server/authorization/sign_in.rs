//! Where people with an account of ours sign in, by a password, a passkey or a recovery code.
//!
//! Attempts are counted before they are judged, for each name: those of a browser that its person has used before, and
//! those of all others together. So strangers who guess make strangers wait, and nobody is locked out at home. A name
//! that nobody has is answered as one that somebody has, after as long.

use askama::Template;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::browser::{Browser, posted};
use super::consent::forms;
use super::cookies::Cookies;
use super::login::{Journey, set};
use super::pages::{self, Frame};
use super::passkeys::{self, Ask, Errand};
use super::{Call, Fault, Reply, Server, Told, digest, secret};
use crate::config::login::Login;
use crate::config::texts::fill;
use crate::mcp::seal::Purpose;
use crate::oauth::account::{self, Account, AccountState};
use crate::oauth::authorization::Parameters;
use crate::oauth::{Person, account as rules};
use crate::store::authorization::{Attempt, Kind};

/// The cookie of a browser in which somebody has signed in before.
const COOKIE: &str = "device";
/// How long a browser is known, in seconds.
const KNOWN: u64 = 180 * 24 * 3600;
/// Accounts that one browser is known for.
const ACCOUNTS: usize = 8;

/// What is kept of a known browser: the accounts whose people have signed in there, the latest last.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Device {
    pub accounts: Vec<String>,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn<'a> {
    frame: Frame<'a>,
    ticket: &'a str,
    name: &'a str,
    error: Option<String>,
    /// By a recovery code instead of a password.
    recovers: bool,
    other: String,
    /// Where browsers make passkeys.
    passkey: Option<Ask>,
}

/// What the page shows of what was typed.
#[derive(Default)]
struct Typed<'a> {
    ticket: &'a str,
    name: &'a str,
    recovers: bool,
    error: Option<String>,
}

/// Why nobody is signed in.
pub(super) enum No {
    /// One answer for unknown names, disabled accounts and wrong passwords.
    Wrong,
    /// One answer for whatever is not right about a passkey.
    Passkey,
    Wait(u64),
    Unfit(account::Unfit),
}

impl Server {
    pub(super) async fn sign_in_page(&self, call: &Call<'_>, request: &Request<Bytes>) -> Reply {
        if !has_accounts(call) {
            let frame = Frame::of(call, request);
            return pages::wrong(call, frame, StatusCode::NOT_FOUND, &frame.t.error_not_found, "not_found");
        }
        let reply = match *request.method() {
            Method::GET | Method::HEAD => self.sign_in_shown(call, request),
            Method::POST => self.signing_in(call, request).await,
            _ => return Reply::method("GET, POST"),
        };
        reply.unwrap_or_else(|fault| pages::unavailable(call, request, &fault))
    }

    async fn signing_in(&self, call: &Call<'_>, request: &Request<Bytes>) -> Result<Reply, Fault> {
        let frame = Frame::of(call, request);
        // SECURITY: the browser must be the one that was shown the page, or a stranger could sign it in as himself.
        let (Some(form), Some(browser)) = (posted(call, request), Browser::known(call, request)) else {
            return Ok(pages::wrong(call, frame, StatusCode::FORBIDDEN, &frame.t.error_forged, "form_forged"));
        };
        let (ticket, name) = (field(&form, "ticket"), field(&form, "name"));
        let device = Cookies::of(call, request).read(COOKIE);
        let after = call.store.changes().await?;
        let has = |name| form.one(name).is_ok_and(|value| value.is_some());
        let recovers = has("code");
        let judged = match (has("passkey"), recovers) {
            (true, _) => self.check_passkey(call, &browser, &form, device).await?,
            (false, true) => self.recover(call, name, field(&form, "code"), field(&form, "password")).await?,
            (false, false) => self.check_password(call, name, field(&form, "password"), device).await?,
        };
        match judged {
            Ok(account) => {
                let cookie = self.know(call, request, &account, device).await?;
                // A recovery ends whatever came before it, and not itself.
                let person = Person { after: (!recovers).then_some(after), ..person(&account, call.now) };
                let mut reply = self.come_in(call, request, ticket, person).await?;
                set(&mut reply, cookie);
                Ok(reply)
            }
            Err(no) => self.not_signed_in(call, request, Typed { ticket, name, recovers, error: None }, &no),
        }
    }

    fn sign_in_shown(&self, call: &Call<'_>, request: &Request<Bytes>) -> Result<Reply, Fault> {
        let query = Parameters::parse(request.uri().query().unwrap_or_default().as_bytes());
        let recovers = query.one("recover").is_ok_and(|found| found.is_some());
        let typed = Typed { ticket: field(&query, "ticket"), recovers, ..Typed::default() };
        self.sign_in_form(call, request, StatusCode::OK, typed, Told::answered("page"))
    }

    fn sign_in_form(
        &self,
        call: &Call<'_>,
        request: &Request<Bytes>,
        status: StatusCode,
        typed: Typed<'_>,
        told: Told,
    ) -> Result<Reply, Fault> {
        let Typed { ticket, name, recovers, error } = typed;
        let browser = Browser::known(call, request);
        let journey: Option<Journey> = match &browser {
            Some(browser) => self.open_from(call, Purpose::SignIn, browser, ticket)?,
            None => None,
        };
        let passkey = match browser.filter(|_| !recovers) {
            Some(browser) => self.challenge(call, &browser, Errand::SignIn)?,
            None => None,
        };
        let forms = forms(call, journey.as_ref().and_then(|journey| journey.errand.back()), &[]);
        let page = SignIn { frame: Frame::of(call, request), ticket, name, error, recovers, other: other(ticket, recovers), passkey };
        Ok(pages::page(status, &page, passkeys::policy(page.passkey.as_ref(), &forms), told))
    }

    fn not_signed_in(&self, call: &Call<'_>, request: &Request<Bytes>, typed: Typed<'_>, no: &No) -> Result<Reply, Fault> {
        let frame = Frame::of(call, request);
        let (status, reason, error) = match no {
            No::Wrong if typed.recovers => (StatusCode::FORBIDDEN, "sign_in_wrong", frame.t.recovery_wrong.clone()),
            No::Wrong => (StatusCode::FORBIDDEN, "sign_in_wrong", frame.t.sign_in_wrong.clone()),
            No::Passkey => (StatusCode::FORBIDDEN, "passkey_wrong", frame.t.passkey_wrong.clone()),
            No::Wait(until) => {
                let seconds = until.saturating_sub(call.now).max(1).to_string();
                (StatusCode::TOO_MANY_REQUESTS, "sign_in_wait", fill(&frame.t.sign_in_wait, &[("seconds", &seconds)]))
            }
            No::Unfit(unfit) => (StatusCode::BAD_REQUEST, "password_unfit", frame.unfit(*unfit)),
        };
        let mut reply = self.sign_in_form(call, request, status, Typed { error: Some(error), ..typed }, Told::refused(reason))?;
        if let No::Wait(until) = no {
            reply.response.headers_mut().insert(http::header::RETRY_AFTER, until.saturating_sub(call.now).max(1).into());
        }
        Ok(reply)
    }

    /// Whether this is the password of an account that may sign in.
    async fn check_password(
        &self,
        call: &Call<'_>,
        name: &str,
        password: &str,
        device: Option<&str>,
    ) -> Result<Result<Account, No>, Fault> {
        let account = self.named(call, name).await?;
        let known = match (&account, device) {
            (Some(account), Some(device)) => self.device(call, device).await?.accounts.contains(&account.id),
            _ => false,
        };
        let whose = device.filter(|_| known).unwrap_or("strangers");
        let key = attempts("password", name, whose);
        if let Attempt::Wait(until) = call.store.attempt(&key, call.now, rules::MEMORY, rules::wait).await? {
            return Ok(Err(No::Wait(until)));
        }
        let hash = account.as_ref().and_then(|account| account.password.clone());
        let cut: String = password.chars().take(rules::LONGEST).collect();
        let is_right = self.hashing.is(cut, hash).await?;
        let Some(account) = account.filter(|account| is_right && account.state == AccountState::Active) else { return Ok(Err(No::Wrong)) };
        call.store.forget_attempts(&key).await?;
        Ok(Ok(account))
    }

    /// Takes a recovery code for a new password. Whatever was signed in or connected before is ended, and passkeys are
    /// forgotten: they may be why the password has to be new.
    async fn recover(&self, call: &Call<'_>, name: &str, code: &str, password: &str) -> Result<Result<Account, No>, Fault> {
        if let Err(unfit) = rules::password(password, &rules::name(name).unwrap_or_default()) {
            return Ok(Err(No::Unfit(unfit)));
        }
        let key = attempts("recovery", name, "strangers");
        if let Attempt::Wait(until) = call.store.attempt(&key, call.now, rules::MEMORY, rules::wait).await? {
            return Ok(Err(No::Wait(until)));
        }
        let hash = self.hashing.hash(password.to_owned()).await?;
        let Some(account) = self.named(call, name).await?.filter(|account| account.state == AccountState::Active) else {
            return Ok(Err(No::Wrong));
        };
        let code: String = code.chars().filter(char::is_ascii_alphanumeric).map(|one| one.to_ascii_uppercase()).collect();
        if !call.store.use_recovery_code(&account.id, &digest(&code)).await? {
            return Ok(Err(No::Wrong));
        }
        let change = |account: &mut Account| {
            let may = account.state == AccountState::Active;
            (account.password, account.changed) = (Some(hash), call.now);
            may
        };
        let Some(account) = call.store.change_account(&account.id, change).await? else { return Ok(Err(No::Wrong)) };
        call.store.forget_attempts(&key).await?;
        call.store.drop_passkeys(&account.id).await?;
        self.end_everything(call, &account, "recovered").await?;
        Ok(Ok(account))
    }

    async fn named(&self, call: &Call<'_>, name: &str) -> Result<Option<Account>, Fault> {
        match rules::name(name) {
            Ok(name) => Ok(call.store.account_named(&name).await?),
            Err(_) => Ok(None),
        }
    }

    pub(super) async fn device(&self, call: &Call<'_>, cookie: &str) -> Result<Device, Fault> {
        let text = call.store.ticket(Kind::Device, &digest(cookie), call.now).await?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    /// From now on this browser is known for the account. Only whoever has signed in puts anything there.
    async fn know(
        &self,
        call: &Call<'_>,
        request: &Request<Bytes>,
        account: &Account,
        device: Option<&str>,
    ) -> Result<Option<http::HeaderValue>, Fault> {
        let mut known = match device {
            Some(device) => self.device(call, device).await?,
            None => Device::default(),
        };
        known.accounts.retain(|id| *id != account.id);
        known.accounts.push(account.id.clone());
        known.accounts.reverse();
        known.accounts.truncate(ACCOUNTS);
        known.accounts.reverse();
        let cookie = match device {
            Some(device) => device.to_owned(),
            None => secret()?.0,
        };
        let text = serde_json::to_string(&known).map_err(|_| Fault::Unreadable)?;
        call.store.put_ticket(Kind::Device, &digest(&cookie), &text, call.now.saturating_add(KNOWN)).await?;
        Ok(Cookies::of(call, request).write(COOKIE, &cookie, Some(KNOWN)))
    }
}

/// Under which attempts for this name are counted. Names share counters: there are at most 262,144 of them, however many
/// names strangers invent, and a known name is no more likely than another to wait for somebody else's attempts.
fn attempts(kind: &str, name: &str, whose: &str) -> String {
    counter(kind, &rules::name(name).unwrap_or_default(), whose)
}

/// The same for what is no name.
pub(super) fn counter(kind: &str, what: &str, whose: &str) -> String {
    let shared: String = digest(what).chars().take(3).collect();
    digest(&format!("{kind}\0{shared}\0{whose}"))
}

/// Whether there are accounts here at all.
pub(super) fn has_accounts(call: &Call<'_>) -> bool {
    call.settings.logins.all.iter().any(|login| matches!(login, Login::Accounts(_)))
}

/// Who signed in, as tokens will say.
pub(super) fn person(account: &Account, now: u64) -> Person {
    Person {
        subject: account.subject(),
        name: Some(account.display.clone().unwrap_or_else(|| account.name.clone())),
        email: account.email.clone(),
        groups: account.groups.clone(),
        authenticated: now,
        login: "accounts".into(),
        ..Person::default()
    }
}

/// The only value of a field; none given is the empty text, which is never right.
pub(super) fn field<'a>(form: &'a Parameters, name: &'static str) -> &'a str {
    form.one(name).ok().flatten().unwrap_or_default()
}

/// Where the page with the other way is.
fn other(ticket: &str, recovers: bool) -> String {
    let ticket: String = url::form_urlencoded::byte_serialize(ticket.as_bytes()).collect();
    format!("/doorward/sign-in?ticket={ticket}{}", if recovers { "" } else { "&recover=1" })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn however_many_names_are_invented_the_counters_are_few() {
        let counted: HashSet<String> = (0..300_000).map(|n| attempts("password", &format!("name{n}"), "strangers")).collect();
        assert!(counted.len() < 200_000, "{}", counted.len());
        assert_eq!(attempts("password", " Alice", "strangers"), attempts("password", "alice", "strangers"));
        assert_ne!(attempts("password", "alice", "strangers"), attempts("recovery", "alice", "strangers"));
    }
}
