//! Where operators look, and who may do what there.

use std::time::Duration;

use super::login::{Entrance, Logins};
use super::{ListenAddress, Tls};
use crate::oauth::Person;

/// The admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Never none.
    pub addresses: Vec<ListenAddress>,
    /// At the TCP addresses.
    pub tls: Option<Tls>,
    /// What `Host` may be, besides the listener's own address and `localhost`. In lower case, without a port.
    pub hosts: Vec<String>,
    pub tokens: Vec<AdminToken>,
    pub certificates: Vec<AdminCertificate>,
    pub login: Option<AdminLogin>,
}

impl Admin {
    /// Whether the admin API is served there, besides metrics and health. At a Unix socket its owner can always prove who it is.
    pub fn has_api(&self, address: &ListenAddress) -> bool {
        matches!(address, ListenAddress::Unix(_)) || self.knows_anybody()
    }

    /// Whether there is somebody who can prove who they are at an address.
    pub fn knows_anybody(&self) -> bool {
        !self.tokens.is_empty() || !self.certificates.is_empty() || self.login.is_some()
    }
}

/// How people sign in with a browser, and what they may do then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminLogin {
    /// The origin that people type, as browsers write it.
    pub url: String,
    /// The issuer of the one provider.
    pub issuer: String,
    /// The provider alone, under the name `oidc`.
    pub logins: Logins,
    /// Who is what; what may do most comes first.
    pub roles: Vec<(Role, Entrance)>,
    /// From signing in until one signs in again.
    pub session: Duration,
}

impl AdminLogin {
    /// What somebody may do; none who fits no role.
    pub fn role(&self, person: &Person) -> Option<Role> {
        self.roles.iter().find(|(_, who)| who.admits(&person.groups, &person.claims)).map(|(role, _)| *role)
    }

    /// The claims on which roles rest.
    pub fn claims(&self) -> Vec<String> {
        let paths = self.roles.iter().flat_map(|(_, who)| &who.claims).map(|(path, _)| path.clone());
        paths.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }
}

/// What somebody may do; each may do what the one before may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Approves clients, and says who owns them.
    Reviewer,
    /// Revokes, suspends, retires, reloads.
    Operator,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Reviewer, Self::Operator];

    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Reviewer => "reviewer",
            Self::Operator => "operator",
        }
    }
}

/// Who may use the admin API by a bearer token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminToken {
    pub name: String,
    pub role: Role,
    pub digest: TokenDigest,
}

/// SHA-256 of a token. Never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenDigest(pub [u8; 32]);

impl TokenDigest {
    pub fn of(token: &[u8]) -> Self {
        let mut bytes = [0; 32];
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token);
        bytes.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }

    /// In a time that says nothing of either.
    pub fn is(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl std::fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Who may use the admin API by a client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminCertificate {
    pub name: String,
    pub role: Role,
    /// As [`crate::certificate::subjects`] writes it.
    pub subject: String,
}
