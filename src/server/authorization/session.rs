//! A person in a browser: signed in until the session ends, the person is out, or signs out.

use bytes::Bytes;
use http::Request;
use http::header::{HeaderValue, USER_AGENT};
use serde::{Deserialize, Serialize};

use super::cookies::Cookies;
use super::{Call, Fault, Server, digest, secret};
use crate::governance::Since;
use crate::oauth::Person;
use crate::store::authorization::{BrowserSession, Kind};

const COOKIE: &str = "session";
/// Characters of what a browser calls itself.
const LONGEST_AGENT: usize = 120;

/// What is kept of a session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Session {
    pub person: Person,
    /// In seconds since 1970.
    pub begun: u64,
}

impl Server {
    /// Who is signed in in the browser that sends this.
    ///
    /// # Errors
    /// The store cannot say.
    pub(super) async fn signed_in(&self, call: &Call<'_>, request: &Request<Bytes>) -> Result<Option<Session>, Fault> {
        let Some(cookie) = Cookies::of(call, request).read(COOKIE) else { return Ok(None) };
        let Some(text) = call.store.ticket(Kind::Session, &digest(cookie), call.now).await? else { return Ok(None) };
        let session: Session = serde_json::from_str(&text).map_err(|_| Fault::Unreadable)?;
        let Person { subject, login, .. } = &session.person;
        // A login that was taken away opens nothing any more.
        let is_offered = call.settings.logins.find(login).is_some();
        let since = Since { at: session.begun, leeway: call.settings.rules.leeway, after: session.person.after };
        let revocations = call.world.revocations.as_ref();
        let is_out = revocations.is_none_or(|revocations| revocations.ends_subject(&call.settings.issuer, subject, since, call.origin.now));
        Ok((is_offered && !is_out).then_some(session))
    }

    /// Signs a person in, and returns the cookie for it. Whoever was signed in in that browser is not any more.
    ///
    /// # Errors
    /// The session cannot be kept.
    pub(super) async fn sign_in(&self, call: &Call<'_>, request: &Request<Bytes>, person: &Person) -> Result<Option<HeaderValue>, Fault> {
        self.sign_out(call, request).await?;
        let (cookie, kept) = secret()?;
        let lasts = call.settings.session.as_secs();
        let session = Session { person: person.clone(), begun: call.now };
        let text = serde_json::to_string(&session).map_err(|_| Fault::Unreadable)?;
        let expires = call.now.saturating_add(lasts);
        call.store.put_ticket(Kind::Session, &kept, &text, expires).await?;
        let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("a browser");
        let agent = agent.chars().take(LONGEST_AGENT).collect();
        let noted = BrowserSession { digest: kept, begun: call.now, expires, agent };
        call.store.note_session(&person.subject, &noted).await?;
        Ok(Cookies::of(call, request).write(COOKIE, &cookie, Some(lasts)))
    }

    /// Ends the session of the browser that sends this, and returns what takes its cookie away.
    ///
    /// # Errors
    /// It cannot be ended.
    pub(super) async fn sign_out(&self, call: &Call<'_>, request: &Request<Bytes>) -> Result<Option<HeaderValue>, Fault> {
        let cookies = Cookies::of(call, request);
        let Some(cookie) = cookies.read(COOKIE) else { return Ok(None) };
        call.store.drop_ticket(Kind::Session, &digest(cookie)).await?;
        Ok(cookies.clear(COOKIE))
    }
}

/// The session of the browser that sends this, by the digest under which it is kept.
pub(super) fn session_digest<B>(call: &Call<'_>, request: &Request<B>) -> Option<String> {
    Cookies::of(call, request).read(COOKIE).map(digest)
}
