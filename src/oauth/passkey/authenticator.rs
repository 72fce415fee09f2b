//! What an authenticator signs (§6.1): for whom, with whom there, how often so far.

use minicbor::Decoder;

use super::{Backup, LONGEST_ID, RelyingParty, Unproven, sha256};

const PRESENT: u8 = 1;
const VERIFIED: u8 = 1 << 2;
const ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const ATTESTED: u8 = 1 << 6;
const EXTENDED: u8 = 1 << 7;

/// The parts of it that count.
pub(super) struct AuthenticatorData<'a> {
    party: &'a [u8; 32],
    flags: u8,
    pub counter: u32,
    /// A new credential.
    pub attested: Option<Attested<'a>>,
}

/// §6.5.1.
pub(super) struct Attested<'a> {
    pub id: &'a [u8],
    /// A COSE key.
    pub key: &'a [u8],
}

impl<'a> AuthenticatorData<'a> {
    /// None where it is cut, or something follows it.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (party, rest) = bytes.split_first_chunk::<32>()?;
        let (&[flags], rest) = rest.split_first_chunk::<1>()?;
        let (counter, mut rest) = rest.split_first_chunk::<4>()?;
        let mut attested = None;
        if flags & ATTESTED != 0 {
            let (_aaguid, after) = rest.split_first_chunk::<16>()?;
            let (length, after) = after.split_first_chunk::<2>()?;
            let (id, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
            let (key, after) = one_value(after)?;
            attested = Some(Attested { id, key });
            rest = after;
        }
        if flags & EXTENDED != 0 {
            rest = one_value(rest)?.1;
        }
        rest.is_empty().then_some(Self { party, flags, counter: u32::from_be_bytes(*counter), attested })
    }

    /// §7.1 steps 14 to 18, §7.2 steps 15 to 19.
    pub fn check(&self, party: &RelyingParty) -> Result<Backup, Unproven> {
        let has = |flag| self.flags & flag != 0;
        let backup = Backup { eligible: has(ELIGIBLE), done: has(BACKED_UP) };
        let rules = [
            (self.party.as_slice() == sha256(party.id.as_bytes()).as_ref(), Unproven::Party),
            (has(PRESENT), Unproven::Presence),
            (has(VERIFIED), Unproven::Verification),
            (backup.eligible || !backup.done, Unproven::Backup),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(backup), |(_, why)| Err(why))
    }
}

impl Attested<'_> {
    /// §7.1 step 25.
    pub fn has_good_id(&self) -> bool {
        (1..=LONGEST_ID).contains(&self.id.len())
    }
}

/// A map of CBOR at the beginning, and what follows it.
fn one_value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut decoder = Decoder::new(bytes);
    decoder.probe().map().ok()?;
    decoder.skip().ok()?;
    bytes.split_at_checked(decoder.position())
}
