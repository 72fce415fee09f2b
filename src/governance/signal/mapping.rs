//! Which revocations follow from what happened?
//!
//! SECURITY: a sender is believed about the subjects of its own issuers and of nobody else.

use std::sync::Arc;

use super::event::Ends;
use super::subject::Identifier;
use super::{Fault, Happening, Subject};
use crate::governance::{Bounds, Revocation, Selector};

/// Which formats of subject identifiers name a subject as tokens do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Formats {
    pub iss_sub: bool,
    pub opaque: bool,
    /// Where the subject of a token is its e-mail address.
    pub email: bool,
}

/// How one sender's words are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Identifiers of the issuers whose tokens it ends.
    pub issuers: Vec<Arc<str>>,
    pub formats: Formats,
    /// The end of a session leaves the person's other tokens alone.
    pub session_only: bool,
}

impl Mapping {
    /// What is revoked for what happened; nothing where it names nobody here.
    pub fn revocations(&self, happening: &Happening, now: u64, bounds: &Bounds) -> Vec<Revocation> {
        let Some(kind) = happening.kind else { return Vec::new() };
        let mut selectors = match (kind.ends(), self.session(&happening.subject)) {
            (Ends::Nothing, _) => return Vec::new(),
            (Ends::Session, Some(session)) if self.session_only => vec![session],
            // Access tokens need not carry the session's id: without it only their subject reaches them.
            (_, session) => session.into_iter().chain(self.user(&happening.subject)).collect(),
        };
        selectors.dedup();
        let at = happening.at.min(now);
        let revocation = |selector| {
            let before = matches!(selector, Selector::Subject { .. }).then(|| at.saturating_add(1));
            Revocation::new(selector, now, before, None, bounds)
        };
        selectors.into_iter().map(revocation).collect()
    }

    /// Why a request revokes nothing.
    pub fn why_not(&self, subject: &Subject) -> Fault {
        let understood = |identifier: &Identifier| match identifier {
            Identifier::IssSub { .. } => self.formats.iss_sub,
            Identifier::Opaque(_) => self.formats.opaque,
            Identifier::Email(_) => self.formats.email,
            Identifier::JwtId { .. } => true,
            Identifier::Foreign => false,
        };
        if subject.user.iter().any(understood) { Fault::UnknownSubject } else { Fault::Unmappable }
    }

    fn session(&self, subject: &Subject) -> Option<Selector> {
        match subject.session.as_ref()? {
            Identifier::Opaque(sid) => Some(Selector::Session(sid.clone())),
            _ => None,
        }
    }

    fn user<'s>(&'s self, subject: &'s Subject) -> impl Iterator<Item = Selector> + 's {
        subject.user.iter().flat_map(|identifier| self.selectors(identifier))
    }

    fn selectors(&self, identifier: &Identifier) -> Vec<Selector> {
        match identifier {
            Identifier::IssSub { iss, sub } if self.formats.iss_sub && self.speaks_for(iss) => {
                vec![Selector::Subject { issuer: iss.clone(), subject: sub.clone() }]
            }
            Identifier::JwtId { iss, jti } if self.speaks_for(iss) => vec![Selector::Id { issuer: iss.clone(), jti: jti.clone() }],
            Identifier::Opaque(id) if self.formats.opaque => self.with_each_issuer(id),
            Identifier::Email(address) if self.formats.email => {
                let mut all = self.with_each_issuer(address);
                // Who is meant does not depend on case, and what a token says may be in another (RFC 9493 §3.2.2.1).
                let lower = address.to_lowercase();
                if lower != *address {
                    all.extend(self.with_each_issuer(&lower));
                }
                all
            }
            _ => Vec::new(),
        }
    }

    fn speaks_for(&self, iss: &str) -> bool {
        self.issuers.iter().any(|issuer| **issuer == *iss)
    }

    fn with_each_issuer(&self, subject: &str) -> Vec<Selector> {
        self.issuers.iter().map(|issuer| Selector::Subject { issuer: issuer.to_string(), subject: subject.to_owned() }).collect()
    }
}
