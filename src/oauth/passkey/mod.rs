//! Passkeys: what an authenticator says, judged (Web Authentication Level 3 §7.1, §7.2).
//!
//! Only what accounts need of it: keys that the authenticator finds by itself, that ask for the person's finger or PIN
//! each time, and of which nobody has to know the maker. Knows no clock, no randomness and no store.

mod assertion;
mod authenticator;
#[cfg(test)]
pub(crate) mod forge;
mod key;
mod registration;
#[cfg(test)]
mod tests;

pub use assertion::{Answer, Known, Used};
pub use key::Key;
pub use registration::{Made, New};

use std::fmt;

use serde::Deserialize;
use url::{Host, Url};

/// Passkeys of one account.
pub const MOST: usize = 16;
/// Bytes of the longest credential id (§5.8.3).
pub const LONGEST_ID: usize = 1023;
/// Characters of what a person calls a passkey.
pub const LONGEST_LABEL: usize = 64;

/// For whom passkeys are made: no other site can use them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelyingParty {
    /// The host of `public_url` (§5.4.2).
    pub id: String,
    /// What pages come from, as browsers write it.
    pub origin: String,
}

impl RelyingParty {
    /// None where browsers make no passkeys: at an IP address, or over plain http elsewhere than at localhost.
    pub fn of(public_url: &str) -> Option<Self> {
        let url = Url::parse(public_url).ok()?;
        let Some(Host::Domain(id)) = url.host() else { return None };
        let is_local = id == "localhost" || id.ends_with(".localhost");
        let is_secure = url.scheme() == "https" || (url.scheme() == "http" && is_local);
        is_secure.then(|| Self { id: id.to_owned(), origin: url.origin().ascii_serialization() })
    }
}

/// Whether an authenticator's key may be, and is, kept elsewhere too (§6.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    pub eligible: bool,
    pub done: bool,
}

/// Why an answer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// What the browser signed for cannot be read.
    ClientData,
    /// It was for something else.
    Ceremony,
    Challenge,
    Origin,
    /// Asked for inside a page of another site.
    Framed,
    /// What the authenticator signed cannot be read.
    AuthenticatorData,
    /// The key is another site's.
    Party,
    /// Nobody was there.
    Presence,
    /// The authenticator did not ask who it was.
    Verification,
    /// Backed up although it may not be, or no longer what it was made as.
    Backup,
    /// An algorithm that was not offered, or a key that is none.
    Key,
    Attestation,
    CredentialId,
    /// The key is another account's.
    Person,
    Signature,
    /// The counter went back: there may be a copy of the key.
    Counter,
}

impl fmt::Display for Unproven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientData => "the client data cannot be read",
            Self::Ceremony => "the client data is of another ceremony",
            Self::Challenge => "the challenge is another",
            Self::Origin => "the origin is another",
            Self::Framed => "it was asked for inside another site",
            Self::AuthenticatorData => "the authenticator data cannot be read",
            Self::Party => "the relying party is another",
            Self::Presence => "nobody was present",
            Self::Verification => "the person was not verified",
            Self::Backup => "the backup flags do not fit",
            Self::Key => "the key is none that was asked for",
            Self::Attestation => "the attestation is none that is taken",
            Self::CredentialId => "the credential id is empty or too long",
            Self::Person => "the user handle is another account's",
            Self::Signature => "the signature is not of this key",
            Self::Counter => "the signature counter went back",
        })
    }
}

/// What a browser says that it asked for (§5.8.1).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientData {
    r#type: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: Option<bool>,
    #[serde(default)]
    top_origin: Option<String>,
}

/// §7.1 steps 5 to 11, §7.2 steps 9 to 14.
fn check_client(party: &RelyingParty, ceremony: &str, challenge: &str, client_data: &[u8]) -> Result<(), Unproven> {
    let said: ClientData = serde_json::from_slice(client_data).map_err(|_| Unproven::ClientData)?;
    let rules = [
        (said.r#type == ceremony, Unproven::Ceremony),
        (said.challenge == challenge, Unproven::Challenge),
        (said.origin == party.origin, Unproven::Origin),
        (said.cross_origin != Some(true) && said.top_origin.is_none(), Unproven::Framed),
    ];
    rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, why)| Err(why))
}

fn sha256(bytes: &[u8]) -> aws_lc_rs::digest::Digest {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes)
}
