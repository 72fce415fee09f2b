//! The authorization server inside: a plain function from a request to a reply, without a socket.
//!
//! One file for each endpoint. The rules are those of [`crate::oauth`]; here they meet the store, keys and records.
//!
//! | file | holds |
//! |---|---|
//! | `documents` | metadata and published keys |
//! | `token`, `client_authentication`, `issue` | the token endpoint, who asks there, and the one place that makes grants, codes and tokens |
//! | `revoke`, `introspect` | tokens that end, and what a token says |
//! | `keys` | signing keys, made, published, turned |
//! | `clients`, `published`, `register` | who a client is, and how it comes to be known |
//! | `authorize`, `consent`, `callback`, `login`, `session`, `connected`, `pages` | what a person sees |
//! | `sign_in`, `passkeys`, `account`, `invite`, `hashing` | accounts of our own |
//! | `reply`, `fault` | answers, and what goes wrong |

mod account;
mod assertion;
mod authorize;
mod browser;
mod callback;
mod client_authentication;
mod clients;
mod connected;
mod consent;
pub(super) mod cookies;
mod documents;
mod fault;
#[cfg(test)]
pub(crate) mod fixture;
mod hashing;
mod introspect;
mod invite;
mod issue;
mod keys;
pub(super) mod login;
mod pages;
mod passkeys;
mod published;
mod register;
mod reply;
mod revoke;
mod session;
mod sign_in;
mod standing;
mod token;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Request;

pub use clients::ClientFault;
pub use fault::Fault;
pub use keys::OpenError;
pub use reply::{Reply, Told};

pub use crate::store::authorization::digest;

use crate::audit::Audit;
use crate::config::AuthorizationServer;
use crate::route::AUTHORIZATION_PAGES;
use crate::state::{Snapshot, State};
use crate::store::Store;

use hashing::Hashing;
use keys::Keys;

/// Where tokens are issued. One for the life of the process, through all reloads.
pub struct Server {
    state: Arc<State>,
    audit: Audit,
    keys: Keys,
    hashing: Hashing,
    clients: clients::Memory,
}

/// From where a request came.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// In 32 hexadecimal digits.
    pub id: &'a str,
    pub source: IpAddr,
    pub now: SystemTime,
}

/// What one request is answered with: one world, one time, one place.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub world: &'a Snapshot,
    pub settings: &'a Arc<AuthorizationServer>,
    pub store: &'a Store,
    pub origin: Origin<'a>,
    /// In seconds since 1970.
    pub now: u64,
}

impl Server {
    pub fn new(state: Arc<State>, audit: Audit) -> Self {
        Self { state, audit, keys: Keys::default(), hashing: Hashing::default(), clients: clients::Memory::default() }
    }

    /// What a record calls a request to this path.
    pub fn operation(&self, path: &str) -> &'static str {
        Endpoint::of(path).operation()
    }

    /// Whether pages of any origin may read the answers of this path: documents, and what clients in browsers call. Never
    /// what a person sees (RFC 9700 §2.6).
    pub fn is_for_scripts(&self, path: &str) -> bool {
        !matches!(Endpoint::of(path), Endpoint::Authorize | Endpoint::Introspect | Endpoint::Page)
    }

    /// Answers one request.
    pub async fn answer(&self, world: &Snapshot, request: Request<Bytes>, origin: Origin<'_>) -> Reply {
        let (Some(settings), Some(store)) = (&world.config.authorization_server, self.state.store()) else {
            return Fault::Unopened.into();
        };
        let now = origin.now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let call = Call { world, settings, store, origin, now };
        match Endpoint::of(request.uri().path()) {
            Endpoint::Metadata => self.metadata(&call, &request),
            Endpoint::Keys => self.key_set(&call, &request).await,
            Endpoint::Token => self.token(&call, &request).await,
            Endpoint::Revoke => self.revoke(&call, &request).await,
            Endpoint::Introspect => self.introspect(&call, &request).await,
            Endpoint::Register => self.register(&call, &request).await,
            Endpoint::Authorize => self.authorize(&call, &request).await,
            Endpoint::Page => self.page(&call, &request).await,
        }
    }

    /// What stands below `/doorward/`.
    async fn page(&self, call: &Call<'_>, request: &Request<Bytes>) -> Reply {
        let rest = request.uri().path().strip_prefix(AUTHORIZATION_PAGES).unwrap_or_default();
        match rest.split('/').next().unwrap_or_default() {
            "consent" => self.consent(call, request).await,
            "begin" => self.begin(call, request).await,
            "callback" => self.callback(call, request).await,
            "hand-off" => self.hand_off(call, request).await,
            "connected" => self.connected(call, request).await,
            "sign-out" => self.sign_out_page(call, request).await,
            "sign-in" => self.sign_in_page(call, request).await,
            "account" => self.account(call, request).await,
            "invite" => self.invite(call, request).await,
            "register" => self.register(call, request).await,
            _ => self.asset(call, request),
        }
    }
}

/// What a path is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Metadata,
    Keys,
    Token,
    Revoke,
    Introspect,
    Register,
    Authorize,
    Page,
}

impl Endpoint {
    fn of(path: &str) -> Self {
        match path.strip_suffix('/').unwrap_or(path) {
            "/token" => Self::Token,
            "/revoke" => Self::Revoke,
            "/introspect" => Self::Introspect,
            "/register" => Self::Register,
            "/authorize" => Self::Authorize,
            "/jwks.json" => Self::Keys,
            path if path.starts_with("/doorward/register/") => Self::Register,
            path if path.starts_with(AUTHORIZATION_PAGES) => Self::Page,
            _ => Self::Metadata,
        }
    }

    fn operation(self) -> &'static str {
        match self {
            Self::Metadata | Self::Keys => "oauth/metadata",
            Self::Token => "oauth/token",
            Self::Revoke => "oauth/revoke",
            Self::Introspect => "oauth/introspect",
            Self::Register => "oauth/register",
            Self::Authorize => "oauth/authorize",
            Self::Page => "oauth/page",
        }
    }
}

/// The secret that its holder shows, and the digest that is kept of it.
///
/// # Errors
/// The system has no randomness.
pub fn secret() -> Result<(String, String), Fault> {
    Ok(crate::store::authorization::secret()?)
}

#[cfg(test)]
mod tests;
