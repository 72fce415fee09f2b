//! Is the person still there? Asked of the login when a client refreshes, and before a session gives a code.
//!
//! What the login said last holds for its `recheck`. It is asked by a token that it gave, which is kept sealed; where
//! there is none, the person signs in again after `sign_in_again`. Who is out stays out until a new login
//! (MCP 2025-03-26 "Session Binding").

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::callback::kept;
use super::{Call, Fault, Server, digest};
use crate::config::login::Standing;
use crate::mcp::seal::{NONCE, Owner, Purpose};
use crate::oauth::Person;
use crate::remote::login::{Gate, Kept, Recheck};
use crate::store::authorization::{Grant, Kind};

/// While one replica asks, others wait.
const ASKING: u64 = 15;
const PATIENCE: Duration = Duration::from_millis(200);
const ROUNDS: u32 = 20;
/// Of the last word on a person: no grant lives longer than a year.
const REMEMBERED: u64 = 366 * 24 * 3600;

/// The last word on a person.
#[derive(Serialize, Deserialize)]
struct Word {
    person: Person,
    /// When the person came in here, in seconds since 1970.
    signed_in: u64,
    /// When the login said so.
    checked: u64,
    /// By what the login is asked again, sealed.
    token: Option<String>,
    /// The login said that the person is out.
    out: bool,
}

impl Server {
    /// The person of a grant as the login says now; none where the person is out.
    ///
    /// # Errors
    /// It cannot be known at present.
    pub(super) async fn still_there(&self, call: &Call<'_>, _grant: &Grant, person: Person) -> Result<Option<Person>, Fault> {
        self.present(call, person).await
    }

    /// The same, of anybody who signed in once.
    pub(super) async fn present(&self, call: &Call<'_>, person: Person) -> Result<Option<Person>, Fault> {
        let Some(login) = call.settings.logins.find(&person.login) else { return Ok(None) };
        // Accounts of our own are ended by revocation.
        let Some(gate) = call.world.logins.find(&person.login) else { return Ok(Some(person)) };
        let standing = login.standing();
        let key = key(&person);
        for _ in 0..ROUNDS {
            let word = self.word(call, &key).await?;
            if let Some(answer) = settled(call.now, &standing, word.as_ref(), &person) {
                return Ok(answer);
            }
            let token = match word.as_ref().and_then(|word| word.token.as_deref()) {
                Some(sealed) => {
                    Some(self.keys.sealer()?.open(Purpose::LoginToken, &owner(&key), sealed, call.now).ok_or(Fault::Unreadable)?)
                }
                None if gate.knows_by_name() => None,
                None => {
                    let since = word.as_ref().map_or(person.authenticated, |word| word.signed_in);
                    let young = call.now.saturating_sub(since) <= standing.sign_in_again.as_secs();
                    return Ok(young.then_some(person));
                }
            };
            // SECURITY: a token that is exchanged twice at once would look stolen at the login.
            if call.store.put_new_ticket(Kind::Challenge, &key, "asking", call.now.saturating_add(ASKING), call.now).await? {
                let since = word.as_ref().map_or(person.authenticated, |word| word.signed_in);
                let answer = self.ask_again(call, gate, (&key, since), &person, token).await;
                call.store.drop_ticket(Kind::Challenge, &key).await?;
                return answer;
            }
            tokio::time::sleep(PATIENCE).await;
        }
        Err(Fault::Login)
    }

    async fn ask_again(
        &self,
        call: &Call<'_>,
        gate: &Gate,
        (key, since): (&str, u64),
        person: &Person,
        token: Option<String>,
    ) -> Result<Option<Person>, Fault> {
        let before = Kept::new(token.clone().unwrap_or_default());
        match gate.recheck(person, &before, &kept(call), call.origin.now).await {
            Ok(Recheck { person: now, kept }) => {
                let now = now.unwrap_or_else(|| person.clone());
                let token = kept.or_else(|| token.map(Kept::new));
                self.keep_word(call, (key, since), &now, token, false).await?;
                Ok(Some(now))
            }
            Err(error) if error.is_final() => {
                tracing::info!(%error, subject = person.subject, "a person is out, says the login");
                self.keep_word(call, (key, since), person, None, true).await?;
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(%error, "a login cannot be asked whether a person is still there");
                Err(Fault::Login)
            }
        }
    }

    /// Somebody has just signed in.
    pub(super) async fn remember(&self, call: &Call<'_>, person: &Person, token: Option<Kept>) -> Result<(), Fault> {
        if call.world.logins.find(&person.login).is_none() {
            return Ok(());
        }
        self.keep_word(call, (&key(person), call.now), person, token, false).await
    }

    async fn word(&self, call: &Call<'_>, key: &str) -> Result<Option<Word>, Fault> {
        let text = call.store.ticket(Kind::Standing, key, call.now).await?;
        text.map(|text| serde_json::from_str(&text).map_err(|_| Fault::Unreadable)).transpose()
    }

    async fn keep_word(
        &self,
        call: &Call<'_>,
        (key, signed_in): (&str, u64),
        person: &Person,
        token: Option<Kept>,
        out: bool,
    ) -> Result<(), Fault> {
        let expires = call.now.saturating_add(REMEMBERED);
        let token = token.map(|token| {
            let mut nonce = [0; NONCE];
            aws_lc_rs::rand::fill(&mut nonce).map_err(|_| Fault::Randomness)?;
            let sealer = self.keys.sealer()?;
            sealer.seal(Purpose::LoginToken, &owner(key), token.reveal(), expires, nonce).ok_or(Fault::Randomness)
        });
        let word = Word { person: person.clone(), signed_in, checked: call.now, token: token.transpose()?, out };
        let text = serde_json::to_string(&word).map_err(|_| Fault::Unreadable)?;
        Ok(call.store.put_ticket(Kind::Standing, key, &text, expires).await?)
    }
}

/// What is known without asking.
fn settled(now: u64, standing: &Standing, word: Option<&Word>, person: &Person) -> Option<Option<Person>> {
    let word = word?;
    if word.out {
        return Some(None);
    }
    let fresh = now.saturating_sub(word.checked) <= standing.recheck.as_secs();
    // What is new of the person counts; when this client's person signed in does not change.
    fresh.then(|| Some(Person { authenticated: person.authenticated, acr: person.acr.clone(), ..word.person.clone() }))
}

/// One word on each person.
fn key(person: &Person) -> String {
    digest(&format!("{}\0{}", person.login, person.subject))
}

fn owner(key: &str) -> Owner {
    Owner::new(&[b"login token", key.as_bytes()])
}
