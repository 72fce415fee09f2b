//! Which of the keys in the store signs now, and when is the next one due?
//!
//! A key is published before it signs, so that no replica and no verifier meets an unknown one, and stays published until
//! its last token has expired. Time comes in as a value.

use crate::identity::ring;

/// Seconds for which a key is published before it signs.
pub const LEAD: u64 = ring::LEAD.as_secs();
/// The longest that an access token may live, in seconds.
pub const LONGEST_ACCESS: u64 = 3600;
/// Seconds for which a key is published after it signed last: the life of a token, and the largest leeway.
pub const TAIL: u64 = LONGEST_ACCESS + 300;

/// The times of one key, in seconds since 1970, in the order of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub created: u64,
    pub signs_from: u64,
}

/// The index of the key that signs at `now`: the last one whose time has come, or the first where a clock is behind.
pub fn signing(spans: &[Span], now: u64) -> Option<usize> {
    let come = spans.iter().filter(|span| span.signs_from <= now).count();
    if spans.is_empty() { None } else { Some(come.saturating_sub(1)) }
}

/// Whether the key at `index` is published at `now`.
pub fn is_published(spans: &[Span], index: usize, now: u64) -> bool {
    spans.get(index + 1).is_none_or(|next| now < next.signs_from.saturating_add(TAIL))
}

/// When a key that is made at `now` is to sign from, where one is due. `is_wanted` says whether the last key is of the
/// kind that the configuration wants.
pub fn due(spans: &[Span], is_wanted: bool, rotate: u64, now: u64) -> Option<u64> {
    let Some(last) = spans.last() else { return Some(now) };
    // One that waits to sign is enough.
    if last.signs_from > now {
        return None;
    }
    if !is_wanted {
        return Some(now + LEAD);
    }
    let turn = last.signs_from.saturating_add(rotate);
    (now + LEAD >= turn).then(|| turn.max(now + LEAD))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;

    fn at(signs_from: u64) -> Span {
        Span { created: signs_from.saturating_sub(LEAD), signs_from }
    }

    #[test]
    fn s44_a_key_is_published_before_it_signs_and_until_its_last_token_has_expired() {
        let begin = 1_800_000_000;
        assert_eq!(due(&[], true, 30 * DAY, begin), Some(begin));
        let first = [at(begin)];
        assert_eq!(due(&first, true, 30 * DAY, begin + 29 * DAY), None);
        let turn = begin + 30 * DAY;
        assert_eq!(due(&first, true, 30 * DAY, turn - LEAD), Some(turn));
        let both = [at(begin), at(turn)];
        assert_eq!(due(&both, true, 30 * DAY, turn - 1), None, "one that waits is enough");
        assert_eq!((signing(&both, turn - 1), signing(&both, turn)), (Some(0), Some(1)));
        assert!(is_published(&both, 1, turn - LEAD), "before it signs");
        assert!(is_published(&both, 0, turn + LONGEST_ACCESS));
        assert!(!is_published(&both, 0, turn + TAIL));
        assert!(is_published(&both, 1, turn + 365 * DAY));
    }

    #[test]
    fn a_key_that_is_late_still_waits_until_it_is_known() {
        let begin = 1_800_000_000;
        let late = begin + 365 * DAY;
        assert_eq!(due(&[at(begin)], true, 30 * DAY, late), Some(late + LEAD));
    }

    #[test]
    fn another_algorithm_begins_as_soon_as_its_key_is_known() {
        let begin = 1_800_000_000;
        assert_eq!(due(&[at(begin)], false, 30 * DAY, begin + 5), Some(begin + 5 + LEAD));
        assert_eq!(due(&[at(begin), at(begin + 5 + LEAD)], false, 30 * DAY, begin + 6), None);
    }

    #[test]
    fn a_clock_that_is_behind_signs_with_the_first_key() {
        assert_eq!(signing(&[at(100)], 5), Some(0));
        assert_eq!(signing(&[], 5), None);
    }
}
