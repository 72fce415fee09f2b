//! A new passkey (§7.1).

use minicbor::Decoder;

use super::authenticator::AuthenticatorData;
use super::key::Key;
use super::{Backup, RelyingParty, Unproven, check_client, sha256};

/// What a browser brings of a passkey that was just made.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    pub client_data: &'a [u8],
    /// The attestation object (§6.5.4).
    pub attestation: &'a [u8],
}

/// A passkey that may be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub id: Vec<u8>,
    /// As COSE writes it; [`Key::read`] reads it.
    pub key: Vec<u8>,
    pub counter: u32,
    pub backup: Backup,
}

/// An attestation object, taken apart.
struct Attestation<'a> {
    format: &'a str,
    statement: Statement<'a>,
    data: &'a [u8],
}

/// What may stand in a statement; `members` counts all that does.
#[derive(Default)]
struct Statement<'a> {
    members: u64,
    algorithm: Option<i64>,
    signature: Option<&'a [u8]>,
}

impl New<'_> {
    /// The passkey, where it is one for `party` and answers `challenge` (base64url, as it was sent).
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn judge(&self, party: &RelyingParty, challenge: &str) -> Result<Made, Unproven> {
        check_client(party, "webauthn.create", challenge, self.client_data)?;
        let Attestation { format, statement, data } = attestation(self.attestation).ok_or(Unproven::Attestation)?;
        let read = AuthenticatorData::read(data).ok_or(Unproven::AuthenticatorData)?;
        let backup = read.check(party)?;
        let attested = read.attested.as_ref().ok_or(Unproven::AuthenticatorData)?;
        let key = Key::read(attested.key).ok_or(Unproven::Key)?;
        let signed = [data, sha256(self.client_data).as_ref()].concat();
        if !statement.holds(format, &key, &signed) {
            return Err(Unproven::Attestation);
        }
        if !attested.has_good_id() {
            return Err(Unproven::CredentialId);
        }
        Ok(Made { id: attested.id.to_vec(), key: attested.key.to_vec(), counter: read.counter, backup })
    }
}

impl Statement<'_> {
    /// None at all (§8.7), or signed by the new key itself (§8.2, "self attestation"), which browsers let through although
    /// none was asked for.
    fn holds(&self, format: &str, key: &Key, signed: &[u8]) -> bool {
        match (format, self.members, self.algorithm, self.signature) {
            ("none", 0, None, None) => true,
            ("packed", 2, Some(algorithm), Some(signature)) => algorithm == key.algorithm() && key.verify(signed, signature),
            _ => false,
        }
    }
}

fn attestation(object: &[u8]) -> Option<Attestation<'_>> {
    let mut decoder = Decoder::new(object);
    let (mut format, mut found, mut data) = (None, None, None);
    for _ in 0..decoder.map().ok()?? {
        let was = match decoder.str().ok()? {
            "fmt" => format.replace(decoder.str().ok()?).is_some(),
            "attStmt" => found.replace(statement(&mut decoder)?).is_some(),
            "authData" => data.replace(decoder.bytes().ok()?).is_some(),
            _ => return None,
        };
        if was {
            return None;
        }
    }
    (decoder.position() == object.len()).then_some(())?;
    Some(Attestation { format: format?, statement: found?, data: data? })
}

fn statement<'a>(decoder: &mut Decoder<'a>) -> Option<Statement<'a>> {
    let mut found = Statement { members: decoder.map().ok()??, ..Statement::default() };
    for _ in 0..found.members {
        match decoder.str().ok()? {
            "alg" => found.algorithm = Some(decoder.i64().ok()?),
            "sig" => found.signature = Some(decoder.bytes().ok()?),
            _ => decoder.skip().ok()?,
        }
    }
    Some(found)
}
