//! Which key signs now, and which are published? Time and new keys come in as values.
//!
//! A key is published before it signs, so that no upstream meets an unknown one, and stays published
//! until its last assertion has expired.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde_json::{Value, json};

use super::assertion::LIFETIME;
use super::signing::SigningKey;

/// How long a key is published before it signs: longer than anybody should remember the set.
pub const LEAD: Duration = Duration::from_secs(3600);
/// How long it is published after it signed last: an assertion's life, and clocks that differ.
pub const TAIL: Duration = Duration::from_secs(LIFETIME + 300);

/// The keys of assertions at one time.
#[derive(Clone, Debug)]
pub struct KeyRing {
    signing: Arc<SigningKey>,
    /// Since when it signs.
    since: SystemTime,
    /// The one after it, and since when it is published.
    next: Option<(Arc<SigningKey>, SystemTime)>,
    /// Others that are published; those with an end until then.
    others: Vec<(Arc<SigningKey>, Option<SystemTime>)>,
    /// None for keys of a file, which the operator changes.
    rotate: Option<Duration>,
}

impl KeyRing {
    /// A key that is replaced after `rotate`, which should be longer than [`LEAD`].
    pub fn generated(key: SigningKey, rotate: Duration, now: SystemTime) -> Self {
        Self { signing: Arc::new(key), since: now, next: None, others: Vec::new(), rotate: Some(rotate) }
    }

    /// Keys of the operator's: the first signs, the others are only published. None where there is none.
    pub fn fixed(keys: Vec<SigningKey>, now: SystemTime) -> Option<Self> {
        let mut keys = keys.into_iter().map(Arc::new);
        let signing = keys.next()?;
        let others = keys.map(|key| (key, None)).collect();
        Some(Self { signing, since: now, next: None, others, rotate: None })
    }

    /// The same keys, with those that `old` published and this does not for as long as their assertions live.
    #[must_use]
    pub fn after(mut self, old: &Self, now: SystemTime) -> Self {
        let until = now + TAIL;
        for (key, end) in old.published() {
            if !self.published().any(|(other, _)| other.kid() == key.kid()) {
                self.others.push((key.clone(), Some(end.unwrap_or(until).min(until))));
            }
        }
        self
    }

    pub fn signing(&self) -> &Arc<SigningKey> {
        &self.signing
    }

    /// Whether [`Self::advance`] may have something to do. Cheap enough for each request.
    pub fn is_due(&self, now: SystemTime) -> bool {
        let is_over = self.others.iter().any(|(_, end)| end.is_some_and(|end| now >= end));
        is_over || self.rotate.is_some_and(|rotate| now + LEAD >= self.since + rotate)
    }

    /// The ring as it should be now, where that is another. `make` gives a new key.
    pub fn advance(&self, now: SystemTime, make: impl FnOnce() -> Option<SigningKey>) -> Option<Self> {
        let mut next = self.clone();
        next.others.retain(|(_, end)| end.is_none_or(|end| now < end));
        let mut changed = next.others.len() != self.others.len();
        let Some(rotate) = self.rotate else { return changed.then_some(next) };
        match &self.next {
            None if now + LEAD >= self.since + rotate => {
                // Without randomness the old key goes on signing.
                if let Some(key) = make() {
                    next.next = Some((Arc::new(key), now));
                    changed = true;
                }
            }
            Some((key, published)) if now >= self.since + rotate && now >= *published + LEAD => {
                next.others.push((self.signing.clone(), Some(now + TAIL)));
                (next.signing, next.since, next.next) = (key.clone(), now, None);
                changed = true;
            }
            _ => {}
        }
        changed.then_some(next)
    }

    /// The key set (RFC 7517 §5), the signing key first.
    pub fn document(&self) -> Bytes {
        let keys: Vec<&Value> = self.published().map(|(key, _)| key.public()).collect();
        json!({ "keys": keys }).to_string().into()
    }

    fn published(&self) -> impl Iterator<Item = (&Arc<SigningKey>, Option<SystemTime>)> {
        let next = self.next.iter().map(|(key, _)| (key, None));
        let others = self.others.iter().map(|(key, end)| (key, *end));
        std::iter::once((&self.signing, None)).chain(next).chain(others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn start() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn kids(ring: &KeyRing) -> Vec<String> {
        ring.published().map(|(key, _)| key.kid().to_owned()).collect()
    }

    fn key() -> SigningKey {
        SigningKey::generate().expect("a key")
    }

    #[test]
    fn a_key_is_published_before_it_signs_and_after_it_signed_last() {
        let begin = start();
        let first = KeyRing::generated(key(), 30 * DAY, begin);
        assert!(first.advance(begin + 29 * DAY, || Some(key())).is_none());

        let announced = first.advance(begin + 30 * DAY - LEAD, || Some(key())).expect("a next key");
        assert_eq!(announced.signing().kid(), first.signing().kid());
        assert_eq!(kids(&announced).len(), 2);

        let turned = announced.advance(begin + 30 * DAY, || None).expect("a turn");
        assert_eq!(turned.signing().kid(), kids(&announced)[1]);
        assert!(kids(&turned).contains(&first.signing().kid().to_owned()));

        assert!(turned.advance(begin + 30 * DAY + TAIL - Duration::from_secs(1), || None).is_none());
        let alone = turned.advance(begin + 30 * DAY + TAIL, || None).expect("without the old one");
        assert_eq!(kids(&alone), [turned.signing().kid()]);
    }

    #[test]
    fn a_key_that_was_just_published_does_not_sign_though_its_time_has_long_come() {
        let begin = start();
        let first = KeyRing::generated(key(), 30 * DAY, begin);
        // Nobody asked for a year.
        let late = begin + 365 * DAY;
        let announced = first.advance(late, || Some(key())).expect("a next key");
        assert!(announced.advance(late + LEAD - Duration::from_secs(1), || None).is_none());
        assert_ne!(announced.advance(late + LEAD, || None).expect("a turn").signing().kid(), first.signing().kid());
    }

    #[test]
    fn without_randomness_the_old_key_goes_on() {
        let first = KeyRing::generated(key(), DAY, start());
        assert!(first.advance(start() + 2 * DAY, || None).is_none());
    }

    #[test]
    fn keys_of_a_file_turn_only_with_the_file_and_their_assertions_stay_good() {
        let (old, spare) = (key(), key());
        let old = KeyRing::fixed(vec![old, spare], start()).expect("a ring");
        assert!(old.advance(start() + 365 * DAY, || Some(key())).is_none());
        let new = KeyRing::fixed(vec![key()], start()).expect("a ring").after(&old, start());
        assert_eq!(kids(&new).len(), 3);
        assert_eq!(kids(&new.advance(start() + TAIL, || None).expect("alone")), [new.signing().kid()]);
        assert!(KeyRing::fixed(Vec::new(), start()).is_none());
    }

    #[test]
    fn the_document_has_public_parts_alone() {
        let ring = KeyRing::generated(key(), DAY, start());
        let document: Value = serde_json::from_slice(&ring.document()).expect("json");
        assert_eq!(document["keys"].as_array().map(Vec::len), Some(1));
        assert_eq!(document["keys"][0]["kid"], ring.signing().kid());
        assert_eq!(document["keys"][0].get("d"), None);
    }
}
