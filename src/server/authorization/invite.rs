//! How an invited person comes to an account: by a link that works once, for three days, and a password or a passkey of their own.
//!
//! The same link lets somebody in again who has lost password and recovery codes, where an operator makes one.

use askama::Template;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::browser::{Browser, posted};
use super::login::set;
use super::pages::{self, Frame, Policy};
use super::passkeys::{self, Ask, Errand};
use super::sign_in::{field, has_accounts};
use super::{Call, Fault, Reply, Server, Told, digest};
use crate::mcp::seal::Purpose;
use crate::oauth::account::{self, Account, AccountState, Invitation};
use crate::oauth::authorization::Parameters;
use crate::store::authorization::{Kind, Passkey};

const PLACE: &str = "/doorward/invite/";
/// Recovery codes of an account.
const CODES: usize = 10;
/// No letter that looks like a digit, 32 in all.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// What the form brings back: which link it is for.
#[derive(Serialize, Deserialize)]
struct Shown {
    invite: String,
}

#[derive(Template)]
#[template(path = "invite.html")]
struct Invite<'a> {
    frame: Frame<'a>,
    account: &'a Account,
    action: &'a str,
    ticket: String,
    error: Option<String>,
    passkey: Option<Ask>,
}

/// By what the person is known from now on.
enum Means {
    /// Its hash.
    Password(String),
    Passkey(Box<Passkey>),
}

#[derive(Template)]
#[template(path = "codes.html")]
pub(super) struct Codes<'a> {
    pub frame: Frame<'a>,
    pub codes: Vec<String>,
}

impl Server {
    pub(super) async fn invite(&self, call: &Call<'_>, request: &Request<Bytes>) -> Reply {
        let reply = match *request.method() {
            Method::GET | Method::HEAD => self.invited(call, request, None).await,
            Method::POST => self.accepted(call, request).await,
            _ => return Reply::method("GET, POST"),
        };
        reply.unwrap_or_else(|fault| pages::unavailable(call, request, &fault))
    }

    /// The page on which a password is chosen. To look at it uses nothing up: programs follow links too.
    async fn invited(&self, call: &Call<'_>, request: &Request<Bytes>, error: Option<String>) -> Result<Reply, Fault> {
        let frame = Frame::of(call, request);
        let Some(account) = self.invitee(call, request).await? else {
            return Ok(pages::wrong(call, frame, StatusCode::NOT_FOUND, &frame.t.invite_gone, "invite_gone"));
        };
        let browser = Browser::of(call, request)?;
        let ticket = self.seal_for(call, Purpose::Page, &browser, &Shown { invite: digest(link(request)) })?;
        let status = if error.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        let passkey = self.challenge(call, &browser, Errand::Make(account.id.clone()))?;
        let page = Invite { frame, account: &account, action: request.uri().path(), ticket, error, passkey };
        let mut reply = pages::page(status, &page, passkeys::policy(page.passkey.as_ref(), "'self'"), Told::answered("page"));
        set(&mut reply, browser.set);
        Ok(reply)
    }

    async fn accepted(&self, call: &Call<'_>, request: &Request<Bytes>) -> Result<Reply, Fault> {
        let frame = Frame::of(call, request);
        let forged = || Ok(pages::wrong(call, frame, StatusCode::FORBIDDEN, &frame.t.error_forged, "form_forged"));
        let (Some(form), Some(browser)) = (posted(call, request), Browser::known(call, request)) else { return forged() };
        let kept = digest(link(request));
        let shown: Option<Shown> = self.open_from(call, Purpose::Page, &browser, field(&form, "ticket"))?;
        if shown.is_none_or(|shown| shown.invite != kept) {
            return forged();
        }
        let gone = || Ok(pages::wrong(call, frame, StatusCode::NOT_FOUND, &frame.t.invite_gone, "invite_gone"));
        let Some(account) = self.invitee(call, request).await? else { return gone() };
        let means = match self.means(call, frame, &browser, &form, &account).await? {
            Ok(means) => means,
            Err(wrong) => return self.invited(call, request, Some(wrong)).await,
        };
        // SECURITY: of two who open the same link at once, one gets the account.
        if call.store.take_ticket(Kind::Invite, &kept, call.now).await?.is_none() {
            return gone();
        }
        // Nor does an older link of theirs, that somebody else may hold, set another password after this one.
        call.store.drop_tickets(Kind::Invite, &Invitation { account: account.id.clone() }.text()).await?;
        // Whoever was let in before may be why this is a new beginning.
        call.store.drop_passkeys(&account.id).await?;
        let is_back = account.state != AccountState::Invited || account.password.is_some();
        let password = match means {
            Means::Password(hash) => Some(hash),
            Means::Passkey(passkey) if call.store.put_passkey(&passkey, &account).await? => None,
            Means::Passkey(_) => return gone(),
        };
        let begin = |account: &mut Account| {
            let may = account.state != AccountState::Disabled;
            (account.password, account.state, account.changed) = (password, AccountState::Active, call.now);
            may
        };
        let Some(account) = call.store.change_account(&account.id, begin).await? else { return gone() };
        if is_back {
            self.end_everything(call, &account, "reset").await?;
        }
        let codes = self.new_codes(call, &account).await?;
        let told = Told::answered("account_begun").about(&account.name);
        Ok(pages::page(StatusCode::OK, &Codes { frame, codes }, Policy::default(), told))
    }

    /// The password or the passkey that the form brings; what is said where it is not taken.
    async fn means(
        &self,
        call: &Call<'_>,
        frame: Frame<'_>,
        browser: &Browser,
        form: &Parameters,
        account: &Account,
    ) -> Result<Result<Means, String>, Fault> {
        if form.one("passkey").is_ok_and(|passkey| passkey.is_some()) {
            let made = self.made(call, browser, form, account).await?;
            return Ok(made.map(|passkey| Means::Passkey(Box::new(passkey))).ok_or_else(|| frame.t.passkey_wrong.clone()));
        }
        let password = field(form, "password");
        if let Err(unfit) = account::password(password, &account.name) {
            return Ok(Err(frame.unfit(unfit)));
        }
        if password != field(form, "again") {
            return Ok(Err(frame.t.password_differs.clone()));
        }
        Ok(Ok(Means::Password(self.hashing.hash(password.to_owned()).await?)))
    }

    /// Whose link it is, where it still works.
    async fn invitee(&self, call: &Call<'_>, request: &Request<Bytes>) -> Result<Option<Account>, Fault> {
        if !has_accounts(call) {
            return Ok(None);
        }
        let Some(text) = call.store.ticket(Kind::Invite, &digest(link(request)), call.now).await? else { return Ok(None) };
        let Invitation { account } = serde_json::from_str(&text).map_err(|_| Fault::Unreadable)?;
        let account = call.store.account(&account).await?;
        Ok(account.filter(|account| account.state != AccountState::Disabled))
    }

    /// New recovery codes in the place of all others. They are shown this once.
    pub(super) async fn new_codes(&self, call: &Call<'_>, account: &Account) -> Result<Vec<String>, Fault> {
        let codes: Vec<String> = (0..CODES).map(|_| code()).collect::<Result<_, _>>()?;
        let digests: Vec<String> = codes.iter().map(|code| digest(&code.replace('-', ""))).collect();
        call.store.put_recovery_codes(&account.id, &digests).await?;
        Ok(codes)
    }
}

/// The secret of the link.
fn link<B>(request: &Request<B>) -> &str {
    request.uri().path().strip_prefix(PLACE).unwrap_or_default()
}

/// Four groups of four letters, 80 bits.
fn code() -> Result<String, Fault> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Fault::Randomness)?;
    let letter = |byte: &u8| char::from(LETTERS.get(usize::from(byte % 32)).copied().unwrap_or(b'A'));
    let groups: Vec<String> = bytes.chunks(4).map(|four| four.iter().map(letter).collect()).collect();
    Ok(groups.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_code_can_be_read_out_and_is_never_the_same() {
        let one = code().expect("a code");
        assert_eq!(one.len(), 19);
        assert!(one.split('-').all(|group| group.len() == 4 && group.bytes().all(|byte| LETTERS.contains(&byte))), "{one}");
        assert_ne!(one, code().expect("a code"));
    }
}
