//! Passkeys of accounts: what a page asks an authenticator, and what becomes of the answer.
//!
//! The challenge is sealed into the page for its browser, so that nothing is stored for whoever only looks, and any
//! replica can take the answer; it is noted when it comes back, so that it comes back once.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::browser::{Browser, PAGE};
use super::pages::Policy;
use super::sign_in::{No, counter, field};
use super::{Call, Fault, Server, digest, secret};
use crate::mcp::seal::Purpose;
use crate::oauth::account::{self as rules, Account, AccountState};
use crate::oauth::authorization::Parameters;
use crate::oauth::passkey::{Answer, Known, LONGEST_LABEL, Made, New, RelyingParty, Unproven};
use crate::store::authorization::{Attempt, Kind, Passkey};

const SCRIPT: &str = include_str!("../../../templates/passkey.js");
/// That script, and no other (CSP Level 3 §2.3.1).
static ONLY_SCRIPT: LazyLock<String> = LazyLock::new(|| {
    format!("script-src 'sha256-{}'", STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, SCRIPT.as_bytes())))
});

/// What an authenticator is asked for.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Errand {
    SignIn,
    /// A new passkey for the account with this id.
    Make(String),
}

/// What the form brings back.
#[derive(Serialize, Deserialize)]
struct Asked {
    challenge: String,
    errand: Errand,
}

/// What the script on a page needs.
pub(super) struct Ask {
    pub sealed: String,
    pub challenge: String,
    pub party: String,
    pub script: &'static str,
}

/// What a page with an [`Ask`] may do.
pub(super) fn policy<'a>(ask: Option<&Ask>, forms: &'a str) -> Policy<'a> {
    Policy { forms, more: ask.map_or("", |_| ONLY_SCRIPT.as_str()) }
}

impl Server {
    /// A new challenge for this browser; none where browsers make no passkeys for `public_url`.
    pub(super) fn challenge(&self, call: &Call<'_>, browser: &Browser, errand: Errand) -> Result<Option<Ask>, Fault> {
        let Some(party) = RelyingParty::of(&call.settings.issuer) else { return Ok(None) };
        let (challenge, _) = secret()?;
        let sealed = self.seal_for(call, Purpose::Passkey, browser, &Asked { challenge: challenge.clone(), errand })?;
        Ok(Some(Ask { sealed, challenge, party: party.id, script: SCRIPT }))
    }

    /// The challenge that a form answers; none where it was for something or somebody else, is too old, or came before.
    async fn asked_of(
        &self,
        call: &Call<'_>,
        browser: &Browser,
        form: &Parameters,
        errand: &Errand,
    ) -> Result<Option<(RelyingParty, String)>, Fault> {
        let Some(party) = RelyingParty::of(&call.settings.issuer) else { return Ok(None) };
        let asked: Option<Asked> = self.open_from(call, Purpose::Passkey, browser, field(form, "asked"))?;
        let Some(Asked { challenge, .. }) = asked.filter(|asked| asked.errand == *errand) else { return Ok(None) };
        // SECURITY: before it is judged, and in the store: whoever sees an answer can show it to no replica.
        let seen = digest(&format!("passkey\0{challenge}"));
        let is_new = call.store.put_new_ticket(Kind::Seen, &seen, "", call.now.saturating_add(PAGE), call.now).await?;
        Ok(is_new.then_some((party, challenge)))
    }

    /// The new passkey that a form brings for this account; none where it is not to be kept.
    pub(super) async fn made(
        &self,
        call: &Call<'_>,
        browser: &Browser,
        form: &Parameters,
        account: &Account,
    ) -> Result<Option<Passkey>, Fault> {
        let errand = Errand::Make(account.id.clone());
        let Some((party, challenge)) = self.asked_of(call, browser, form, &errand).await? else { return Ok(None) };
        let (client_data, attestation) = (bytes(form, "client_data"), bytes(form, "attestation"));
        let new = New { client_data: &client_data, attestation: &attestation };
        match new.judge(&party, &challenge) {
            Ok(Made { id, key, counter, backup }) => Ok(Some(Passkey {
                id: URL_SAFE_NO_PAD.encode(id),
                account: account.id.clone(),
                key: URL_SAFE_NO_PAD.encode(key),
                label: label(field(form, "label")),
                created: call.now,
                used: None,
                counter,
                eligible: backup.eligible,
                backed_up: backup.done,
            })),
            Err(why) => {
                refused(call, why);
                Ok(None)
            }
        }
    }

    /// Whose passkey answers, where its account may sign in.
    pub(super) async fn check_passkey(
        &self,
        call: &Call<'_>,
        browser: &Browser,
        form: &Parameters,
        device: Option<&str>,
    ) -> Result<Result<Account, No>, Fault> {
        let id = URL_SAFE_NO_PAD.encode(bytes(form, "passkey"));
        let passkey = call.store.passkey(&id).await?;
        let is_known = match (&passkey, device) {
            (Some(passkey), Some(device)) => self.device(call, device).await?.accounts.contains(&passkey.account),
            _ => false,
        };
        let key = counter("passkey", &id, device.filter(|_| is_known).unwrap_or("strangers"));
        if let Attempt::Wait(until) = call.store.attempt(&key, call.now, rules::MEMORY, rules::wait).await? {
            return Ok(Err(No::Wait(until)));
        }
        let account = match &passkey {
            Some(passkey) => call.store.account(&passkey.account).await?,
            None => None,
        };
        let (Some(passkey), Some(account)) = (passkey, account.filter(|account| account.state == AccountState::Active)) else {
            return Ok(Err(No::Passkey));
        };
        // SECURITY: only what was counted is noted, and of a passkey that is known, or strangers could fill the store.
        let Some((party, challenge)) = self.asked_of(call, browser, form, &Errand::SignIn).await? else { return Ok(Err(No::Passkey)) };
        if !prove(call, &party, &challenge, &passkey, form).await? {
            return Ok(Err(No::Passkey));
        }
        call.store.forget_attempts(&key).await?;
        Ok(Ok(account))
    }
}

/// Whether the answer is this passkey's; a use is noted.
async fn prove(call: &Call<'_>, party: &RelyingParty, challenge: &str, passkey: &Passkey, form: &Parameters) -> Result<bool, Fault> {
    let (client_data, authenticator_data) = (bytes(form, "client_data"), bytes(form, "authenticator_data"));
    let (signature, user_handle) = (bytes(form, "signature"), bytes(form, "user_handle"));
    let answer =
        Answer { client_data: &client_data, authenticator_data: &authenticator_data, signature: &signature, user_handle: &user_handle };
    let key = URL_SAFE_NO_PAD.decode(&passkey.key).map_err(|_| Fault::Unreadable)?;
    let known = Known { key: &key, counter: passkey.counter, eligible: passkey.eligible, account: &passkey.account };
    match answer.judge(party, challenge, &known) {
        Ok(used) if call.store.use_passkey(&passkey.id, used, call.now).await? => Ok(true),
        Ok(_) => {
            refused(call, Unproven::Counter);
            Ok(false)
        }
        Err(why) => {
            refused(call, why);
            Ok(false)
        }
    }
}

/// People hear one thing; why, stands in the log.
fn refused(call: &Call<'_>, why: Unproven) {
    tracing::warn!(request = call.origin.id, %why, "a passkey was refused");
}

/// A field in base64url; what is none is empty, which is never right.
fn bytes(form: &Parameters, name: &'static str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(field(form, name)).unwrap_or_default()
}

/// What a person calls it.
pub(super) fn label(written: &str) -> String {
    let label: String = written.trim().chars().filter(|c| !c.is_control()).take(LONGEST_LABEL).collect();
    if label.is_empty() { "passkey".to_owned() } else { label }
}
