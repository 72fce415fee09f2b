//! Whose session is this? What a legacy client brings back of what it was given: session ids, event
//! ids, and the ids of requests that the server asked it.
//!
//! There is no table, but for the tasks that were begun: whatever leaves carries a tag over upstream, caller and id, and what comes back
//! without the right one is answered like what never was (MCP 2025-11-25 "Session Management",
//! "Session Hijacking"). Knows no sockets.

pub mod begun;
mod passing;

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;

use crate::denial::Fault;
use crate::mcp;
use crate::mcp::ask::Asks;
use crate::mcp::seal::{Owner, Purpose, Sealer};
use crate::principal::{Kind, Principal};
use crate::route::Route;

pub use passing::Errand;

/// Bytes of the longest id that an upstream may give out.
const LONGEST: usize = 1 << 10;
/// Bytes of the longest name of a tool that the id of an event can carry.
const TOOL: usize = 256;

/// The seals of one caller at one upstream.
#[derive(Clone, Debug)]
pub struct Seals {
    sealer: Arc<Sealer>,
    owner: Owner,
}

/// A session that is its caller's own, with the id that the upstream knows.
#[derive(Clone, Debug)]
pub struct Session {
    id: String,
    /// Which of the upstream's servers it began at.
    pub home: String,
    /// The requests of servers that its client said it can answer, when it began.
    pub declared: Asks,
    /// The event after which a stream is to be resumed, as the upstream knows it.
    pub last_event: Option<String>,
    /// The tool whose call that stream answers, where it may begin a task or is about one.
    pub tool: Option<String>,
}

impl Seals {
    /// Bound to upstream, issuer, subject, kind and client: another client of the same person has its own.
    pub fn new(sealer: Arc<Sealer>, route: &Route, who: &Principal) -> Self {
        let kind: &[u8] = match who.kind() {
            Kind::User => b"user",
            Kind::Client => b"client",
        };
        let client = who.client().unwrap_or_default();
        let parts: [&[u8]; 5] = [route.name.as_bytes(), who.issuer().as_bytes(), kind, who.subject().as_bytes(), client.as_bytes()];
        Self { sealer, owner: Owner::new(&parts) }
    }

    /// The session that the head names; none where it names none.
    pub fn session(&self, headers: &HeaderMap) -> Result<Option<Session>, Fault> {
        let Some(sealed) = once(headers, "mcp-session-id")? else { return Ok(None) };
        let known = self.sealer.untag(Purpose::Session, &self.owner, sealed).and_then(|known| known.split_once('-'));
        let (begun, id) = known.ok_or(Fault::UnknownSession)?;
        let (home, declared) = begun.split_once('.').ok_or(Fault::UnknownSession)?;
        let declared = Asks::of_digit(declared).ok_or(Fault::UnknownSession)?;
        let (last_event, tool) = match once(headers, "last-event-id")? {
            None | Some("") => (None, None),
            Some(sealed) => {
                let (event, tool) = self.resumed(id, sealed).ok_or(Fault::UnknownSession)?;
                (Some(event), tool)
            }
        };
        Ok(Some(Session { id: id.to_owned(), home: home.to_owned(), declared, last_event, tool }))
    }

    /// The event of a stream of this session, and the tool that the stream answers for.
    fn resumed(&self, session: &str, sealed: &str) -> Option<(String, Option<String>)> {
        // SECURITY: a stream of another session's might hold what was never meant for this caller.
        let owner = self.owner.and(session.as_bytes());
        if let Some(event) = self.sealer.untag(Purpose::Event, &owner, sealed) {
            return Some((event.to_owned(), None));
        }
        let (tool, event) = self.sealer.untag(Purpose::Answer, &owner, sealed)?.split_once('.')?;
        let tool = String::from_utf8(URL_SAFE_NO_PAD.decode(tool).ok()?).ok()?;
        Some((event.to_owned(), Some(tool)))
    }

    /// The id of a session that the upstream's server `home` has just given out, as the client is to know it. What the client
    /// declared comes back with it.
    pub fn begun(&self, home: &str, declared: Asks, id: &str) -> Option<String> {
        let lawful = !id.is_empty() && id.len() <= LONGEST && id.bytes().all(|byte| byte.is_ascii_graphic());
        if lawful { self.sealer.tag(Purpose::Session, &self.owner, &format!("{home}.{}-{id}", declared.digit())) } else { None }
    }

    /// The id of a stream's event; none where a header could not bring it back. `tool`: whose call the stream answers, where
    /// that must be known when it is resumed.
    pub fn event(&self, session: Option<&Session>, tool: Option<&str>, id: &[u8]) -> Option<String> {
        let id = std::str::from_utf8(id).ok().filter(|id| id.len() <= LONGEST && id.bytes().all(|byte| byte.is_ascii_graphic()))?;
        match tool.filter(|tool| tool.len() <= TOOL) {
            None => self.sealer.tag(Purpose::Event, &self.within(session), id),
            Some(tool) => {
                let answer = format!("{}.{id}", URL_SAFE_NO_PAD.encode(tool));
                self.sealer.tag(Purpose::Answer, &self.within(session), &answer)
            }
        }
    }

    /// The id of a server's request, as JSON text in and out.
    pub fn request(&self, session: Option<&Session>, id: &str) -> Option<String> {
        if id.len() > LONGEST {
            return None;
        }
        let tagged = self.sealer.tag(Purpose::Request, &self.within(session), id)?;
        serde_json::to_string(&tagged).ok()
    }

    /// The id of a server's request that was asked within this session, as JSON text.
    pub fn asked<'s>(&self, session: &Session, id: &'s str) -> Result<&'s str, mcp::Error> {
        self.sealer.untag(Purpose::Request, &self.within(Some(session)), id).ok_or(mcp::Error::Response)
    }

    fn within(&self, session: Option<&Session>) -> Owner {
        self.owner.and(session.map_or(&[], |session| session.id.as_bytes()))
    }
}

impl Session {
    /// SHA-256 of the id: what is written down in its place.
    pub fn digest(&self) -> [u8; 32] {
        let mut out = [0; 32];
        out.iter_mut().zip(digest(&SHA256, self.id.as_bytes()).as_ref()).for_each(|(to, from)| *to = *from);
        out
    }

    /// The same session, with no stream of it to resume.
    pub fn without_event(&self) -> Self {
        Self { last_event: None, tool: None, ..self.clone() }
    }

    /// As the upstream knows it. Never told to anybody else.
    pub fn id(&self) -> &str {
        &self.id
    }
}

fn once<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>, Fault> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Fault::UnknownSession),
        (Some(_), Some(_)) => Err(Fault::Message(mcp::Error::Header("an MCP header is sent twice"))),
    }
}
