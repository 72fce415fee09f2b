//! A passkey, used (§7.2).

use super::authenticator::AuthenticatorData;
use super::key::Key;
use super::{Backup, RelyingParty, Unproven, check_client, sha256};

/// What a browser brings of a passkey that was just used.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub client_data: &'a [u8],
    pub authenticator_data: &'a [u8],
    pub signature: &'a [u8],
    /// Whose the authenticator says it is.
    pub user_handle: &'a [u8],
}

/// What is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// As COSE writes it.
    pub key: &'a [u8],
    pub counter: u32,
    /// As it was made.
    pub eligible: bool,
    /// The account's id.
    pub account: &'a str,
}

/// What is to be kept from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    pub counter: u32,
    pub backed_up: bool,
}

impl Answer<'_> {
    /// Whether this proves that the person of `known` was there, for `challenge` (base64url, as it was sent).
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn judge(&self, party: &RelyingParty, challenge: &str, known: &Known<'_>) -> Result<Used, Unproven> {
        if self.user_handle != known.account.as_bytes() {
            return Err(Unproven::Person);
        }
        check_client(party, "webauthn.get", challenge, self.client_data)?;
        let read = AuthenticatorData::read(self.authenticator_data).ok_or(Unproven::AuthenticatorData)?;
        let Backup { eligible, done } = read.check(party)?;
        if eligible != known.eligible {
            return Err(Unproven::Backup);
        }
        let key = Key::read(known.key).ok_or(Unproven::Key)?;
        let signed = [self.authenticator_data, sha256(self.client_data).as_ref()].concat();
        if !key.verify(&signed, self.signature) {
            return Err(Unproven::Signature);
        }
        // Authenticators that do not count say 0 always.
        let counts = read.counter != 0 || known.counter != 0;
        if counts && read.counter <= known.counter {
            return Err(Unproven::Counter);
        }
        Ok(Used { counter: read.counter, backed_up: done })
    }
}
