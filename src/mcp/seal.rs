//! What passes through a client and comes back: is it the very thing that was given to this caller?
//!
//! Ids stay readable and get a tag; states are encrypted. Both are bound to their owner and purpose,
//! so nothing has to be remembered, and what is another's, forged or altered opens like what never
//! was. Knows no clock and draws no randomness.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::{constant_time, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Bytes of a secret.
pub const SECRET: usize = 32;
/// Bytes of the random value that each sealing takes.
pub const NONCE: usize = NONCE_LEN;
/// Bytes of a tag: 128 bits cannot be guessed.
const TAG: usize = 16;
/// Secrets that are held at once.
pub const MOST_KEYS: usize = 8;

/// What a sealed value is for; one is never taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `Mcp-Session-Id` of the legacy era.
    Session,
    /// The id of a request from a server to its client.
    Request,
    /// The id of a stream's event, which comes back as `Last-Event-ID`.
    Event,
    /// The same of a stream that answers a call of a tool, with the tool.
    Answer,
    /// `requestState` of a multi round trip.
    State,
    /// The id of a task.
    Task,
    /// The `nextCursor` of a list.
    Cursor,
    /// A key that signs access tokens, at rest.
    SigningKey,
    /// The refresh token that another was exchanged for, at rest.
    Successor,
    /// What a login elsewhere gave for a person, at rest.
    LoginToken,
    /// What a page's form brings back.
    Page,
    /// What a person is on the way to who signs in with an account here.
    SignIn,
    /// The challenge that a passkey answers.
    Passkey,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Session => b"session",
            Self::Request => b"request",
            Self::Event => b"event",
            Self::Answer => b"answer",
            Self::State => b"state",
            Self::Task => b"task",
            Self::Cursor => b"cursor",
            Self::SigningKey => b"signing key",
            Self::Successor => b"successor",
            Self::LoginToken => b"login token",
            Self::Page => b"page",
            Self::SignIn => b"sign in",
            Self::Passkey => b"passkey",
        }
    }
}

/// To whom and where something was given, as a digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner([u8; 32]);

impl Owner {
    /// Of parts in a fixed order; each counts with its length, so that none runs into the next.
    pub fn new(parts: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut owner = [0; 32];
        owner.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Self(owner)
    }

    /// The same, narrowed to one more part.
    pub fn and(&self, part: &[u8]) -> Self {
        Self::new(&[&self.0, part])
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owner")
    }
}

/// The keys that seal and open. The first one seals, all of them open: a key is rotated by putting
/// a new one before it, and dropped when what it sealed has ended.
pub struct Sealer {
    keys: Vec<Key>,
}

struct Key {
    tagging: hmac::Key,
    sealing: LessSafeKey,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({} keys)", self.keys.len())
    }
}

impl Sealer {
    /// None without a secret; of more than [`MOST_KEYS`] the last are left out.
    pub fn new(secrets: &[[u8; SECRET]]) -> Option<Self> {
        let keys: Option<Vec<Key>> = secrets.iter().take(MOST_KEYS).map(Key::new).collect();
        keys.filter(|keys| !keys.is_empty()).map(|keys| Self { keys })
    }

    /// The id with its tag before it: `TAG.id`.
    pub fn tag(&self, purpose: Purpose, owner: &Owner, id: &str) -> Option<String> {
        let tag = self.keys.first()?.tag(purpose, owner, id);
        Some(format!("{}.{id}", URL_SAFE_NO_PAD.encode(tag)))
    }

    /// The id that was tagged for this owner and purpose.
    pub fn untag<'t>(&self, purpose: Purpose, owner: &Owner, tagged: &'t str) -> Option<&'t str> {
        let (tag, id) = tagged.split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        let fits = |key: &Key| constant_time::verify_slices_are_equal(&key.tag(purpose, owner, id), &tag).is_ok();
        self.keys.iter().any(fits).then_some(id)
    }

    /// Encrypts `text` until `expires` (seconds since 1970). `nonce` is random; one that comes twice
    /// reveals no more than that two texts were equal (RFC 8452).
    pub fn seal(&self, purpose: Purpose, owner: &Owner, text: &str, expires: u64, nonce: [u8; NONCE]) -> Option<String> {
        let key = self.keys.first()?;
        let mut sealed = expires.to_be_bytes().to_vec();
        sealed.extend_from_slice(text.as_bytes());
        key.sealing.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound(purpose, owner), &mut sealed).ok()?;
        let mut whole = nonce.to_vec();
        whole.append(&mut sealed);
        Some(URL_SAFE_NO_PAD.encode(whole))
    }

    /// Encrypts `text` without an end, always to the same: whoever is given a thing twice can tell that it is
    /// one. The nonce is a MAC over all that is sealed, so it comes twice only with the same text (RFC 8452 §1).
    pub fn seal_same(&self, purpose: Purpose, owner: &Owner, text: &str) -> Option<String> {
        self.seal_derived(purpose, owner, text, u64::MAX)
    }

    /// Encrypts `text` until `expires` (seconds since 1970), with such a nonce.
    pub fn seal_derived(&self, purpose: Purpose, owner: &Owner, text: &str, expires: u64) -> Option<String> {
        let mac = self.keys.first()?.tag(purpose, &owner.and(&expires.to_be_bytes()), text);
        self.seal(purpose, owner, text, expires, *mac.first_chunk::<NONCE>()?)
    }

    /// The exact text that was sealed for this owner and purpose, unless `now` is past its end.
    pub fn open(&self, purpose: Purpose, owner: &Owner, sealed: &str, now: u64) -> Option<String> {
        let whole = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = whole.split_first_chunk::<NONCE>()?;
        self.keys.iter().find_map(|key| {
            let mut text = sealed.to_vec();
            let text = key.sealing.open_in_place(Nonce::assume_unique_for_key(*nonce), bound(purpose, owner), &mut text).ok()?;
            let (expires, text) = text.split_first_chunk::<8>()?;
            let text = std::str::from_utf8(text).ok()?;
            (now < u64::from_be_bytes(*expires)).then(|| text.to_owned())
        })
    }
}

impl Key {
    /// Two keys from one secret (RFC 5869).
    fn new(secret: &[u8; SECRET]) -> Option<Self> {
        let whole = Salt::new(HKDF_SHA256, b"doorward").extract(secret);
        let derive = |label: &[u8]| {
            let mut key = [0; SECRET];
            whole.expand(&[label], Length).ok()?.fill(&mut key).ok()?;
            Some(key)
        };
        let sealing = UnboundKey::new(&AES_256_GCM_SIV, &derive(b"sealing")?).ok()?;
        Some(Self { tagging: hmac::Key::new(hmac::HMAC_SHA256, &derive(b"tagging")?), sealing: LessSafeKey::new(sealing) })
    }

    fn tag(&self, purpose: Purpose, owner: &Owner, id: &str) -> [u8; TAG] {
        let mut context = hmac::Context::with_key(&self.tagging);
        context.update(&associated(purpose, owner));
        context.update(id.as_bytes());
        let mut tag = [0; TAG];
        tag.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        tag
    }
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        SECRET
    }
}

fn bound(purpose: Purpose, owner: &Owner) -> Aad<Vec<u8>> {
    Aad::from(associated(purpose, owner))
}

/// The owner is of a fixed length, so the purpose begins where it ends; a zero ends the purpose.
fn associated(purpose: Purpose, owner: &Owner) -> Vec<u8> {
    let mut bytes = owner.0.to_vec();
    bytes.extend_from_slice(purpose.label());
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sealer(secrets: &[u8]) -> Sealer {
        Sealer::new(&secrets.iter().map(|byte| [*byte; SECRET]).collect::<Vec<_>>()).expect("a sealer")
    }

    fn alice() -> Owner {
        Owner::new(&[b"files", b"https://login.example.com", b"alice"])
    }

    proptest! {
        #[test]
        fn any_text_comes_back_exactly(text in ".{0,200}", nonce in any::<[u8; NONCE]>(), purpose in 0..2) {
            let purpose = [Purpose::State, Purpose::Task][purpose as usize];
            let sealed = sealer(&[1]).seal(purpose, &alice(), &text, 100, nonce).expect("sealed");
            prop_assert_eq!(sealer(&[1]).open(purpose, &alice(), &sealed, 99), Some(text));
        }

        #[test]
        fn no_change_of_one_bit_opens(text in ".{0,40}", bit in 0usize..4096) {
            let sealed = sealer(&[1]).seal(Purpose::State, &alice(), &text, 100, [7; NONCE]).expect("sealed");
            let mut bytes = URL_SAFE_NO_PAD.decode(&sealed).expect("decodes");
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let altered = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(sealer(&[1]).open(Purpose::State, &alice(), &altered, 0), None);
        }

        #[test]
        fn no_change_of_one_bit_of_a_tagged_id_passes(id in "[!-~]{1,40}", at in 0usize..4096, bit in 0u8..7) {
            let tagged = sealer(&[1]).tag(Purpose::Session, &alice(), &id).expect("tagged");
            let mut bytes = tagged.clone().into_bytes();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let altered = String::from_utf8(bytes).expect("ascii");
            prop_assert_eq!(sealer(&[1]).untag(Purpose::Session, &alice(), &altered), None);
            prop_assert_eq!(sealer(&[1]).untag(Purpose::Session, &alice(), &tagged), Some(id.as_str()));
        }

        #[test]
        fn what_nobody_sealed_never_opens(text in "\\PC{0,120}") {
            prop_assert_eq!(sealer(&[1]).open(Purpose::State, &alice(), &text, 0), None);
            prop_assert_eq!(sealer(&[1]).untag(Purpose::Session, &alice(), &text), None);
        }
    }

    #[test]
    fn what_is_sealed_without_an_end_is_the_same_each_time_and_another_owners_is_not() {
        let bob = Owner::new(&[b"files", b"https://login.example.com", b"bob"]);
        let sealed = |owner: &Owner, text: &str| sealer(&[1]).seal_same(Purpose::Task, owner, text).expect("sealed");
        assert_eq!(sealed(&alice(), "task"), sealed(&alice(), "task"));
        assert_ne!(sealed(&alice(), "task"), sealed(&bob, "task"));
        assert_ne!(sealed(&alice(), "task"), sealed(&alice(), "tasj"));
        assert_eq!(sealer(&[2, 1]).open(Purpose::Task, &alice(), &sealed(&alice(), "task"), u64::MAX - 1).as_deref(), Some("task"));
        assert_eq!(sealer(&[1]).open(Purpose::Task, &bob, &sealed(&alice(), "task"), 0), None);
    }

    #[test]
    fn another_owner_purpose_or_key_opens_nothing() {
        let sealed = sealer(&[1]).seal(Purpose::State, &alice(), "s", 100, [0; NONCE]).expect("sealed");
        let tagged = sealer(&[1]).tag(Purpose::Session, &alice(), "s").expect("tagged");
        let bob = Owner::new(&[b"files", b"https://login.example.com", b"bob"]);
        assert_eq!(sealer(&[1]).open(Purpose::State, &bob, &sealed, 0), None);
        assert_eq!(sealer(&[1]).open(Purpose::Task, &alice(), &sealed, 0), None);
        assert_eq!(sealer(&[2]).open(Purpose::State, &alice(), &sealed, 0), None);
        assert_eq!(sealer(&[1]).open(Purpose::State, &alice().and(b"tools/call"), &sealed, 0), None);
        assert_eq!(sealer(&[1]).untag(Purpose::Session, &bob, &tagged), None);
        assert_eq!(sealer(&[1]).untag(Purpose::Event, &alice(), &tagged), None);
        assert_eq!(sealer(&[2]).untag(Purpose::Session, &alice(), &tagged), None);
    }

    #[test]
    fn a_sealed_text_ends() {
        let sealed = sealer(&[1]).seal(Purpose::State, &alice(), "s", 100, [0; NONCE]).expect("sealed");
        assert_eq!(sealer(&[1]).open(Purpose::State, &alice(), &sealed, 99).as_deref(), Some("s"));
        assert_eq!(sealer(&[1]).open(Purpose::State, &alice(), &sealed, 100), None);
    }

    #[test]
    fn a_new_key_seals_and_the_old_one_still_opens() {
        let old = sealer(&[1]).seal(Purpose::State, &alice(), "s", 100, [0; NONCE]).expect("sealed");
        let tagged = sealer(&[1]).tag(Purpose::Session, &alice(), "id").expect("tagged");
        assert_eq!(sealer(&[2, 1]).open(Purpose::State, &alice(), &old, 0).as_deref(), Some("s"));
        assert_eq!(sealer(&[2, 1]).untag(Purpose::Session, &alice(), &tagged), Some("id"));
        let new = sealer(&[2, 1]).seal(Purpose::State, &alice(), "s", 100, [0; NONCE]).expect("sealed");
        assert_eq!(sealer(&[1]).open(Purpose::State, &alice(), &new, 0), None);
    }

    #[test]
    fn parts_of_an_owner_do_not_run_into_each_other() {
        assert_ne!(Owner::new(&[b"ab", b"c"]), Owner::new(&[b"a", b"bc"]));
        assert_ne!(Owner::new(&[b"a"]), Owner::new(&[b"a", b""]));
    }

    #[test]
    fn a_sealed_text_does_not_show_what_is_in_it() {
        let sealed = sealer(&[1]).seal(Purpose::State, &alice(), "secret", 100, [0; NONCE]).expect("sealed");
        let bytes = URL_SAFE_NO_PAD.decode(sealed).expect("decodes");
        assert!(!bytes.windows(6).any(|window| window == b"secret"));
    }
}
