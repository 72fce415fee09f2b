//! Where is the next byte of a kind? Searches that read eight bytes or more at a time, without
//! `unsafe`. Knows nothing of what the bytes mean.

use std::sync::LazyLock;

use memchr::memmem;

/// A word that is looked for in every message: to prepare a search costs as much as to search a short text.
pub struct Word(LazyLock<memmem::Finder<'static>>);

impl Word {
    pub const fn new(prepare: fn() -> memmem::Finder<'static>) -> Self {
        Self(LazyLock::new(prepare))
    }

    pub fn is_in(&self, data: &[u8]) -> bool {
        self.0.find(data).is_some()
    }
}

/// Bytes of a text for which it pays to look for control characters once, before everything else.
const LONG: usize = 1 << 10;

/// Whether a long text is known to have no control character, so that [`plain`] need not look for one.
pub(super) fn is_calm(text: &[u8]) -> bool {
    text.len() >= LONG && text.chunks(4 << 10).all(|part| part.iter().fold(u8::MAX, |least, &byte| least.min(byte)) >= 0x20)
}

/// How many bytes come before the first quote, backslash or control character. `calm`: there is none of the last.
#[inline(always)]
pub(super) fn plain(bytes: &[u8], calm: bool) -> usize {
    // Most strings are short.
    if let Some(word) = bytes.first_chunk::<8>() {
        let marks = special_bytes(u64::from_le_bytes(*word));
        if marks != 0 {
            return (marks.trailing_zeros() / 8) as usize;
        }
    }
    // Searched with the widest registers that the machine has.
    if calm { memchr::memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len()) } else { plain_slowly(bytes) }
}

#[inline(never)]
fn plain_slowly(bytes: &[u8]) -> usize {
    let special = |byte: u8| (byte == b'"') | (byte == b'\\') | (byte < 0x20);
    find(bytes, special_bytes, special)
}

fn special_bytes(word: u64) -> u64 {
    equal(word, b'"') | equal(word, b'\\') | below(word, 0x20)
}

/// How many bytes come before the first that is one of two.
pub(super) fn until(bytes: &[u8], one: u8, other: u8) -> usize {
    find(bytes, |word| equal(word, one) | equal(word, other), |byte| (byte == one) | (byte == other))
}

/// Eight bytes at a time, then blocks that the compiler turns into vector code.
#[inline(always)]
fn find(bytes: &[u8], marks: impl Fn(u64) -> u64, special: impl Fn(u8) -> bool + Copy) -> usize {
    let mut at = 0;
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let marks = marks(u64::from_le_bytes(*word));
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
        if at == 32 {
            let (blocks, _) = bytes.get(at..).unwrap_or_default().as_chunks::<32>();
            let clean = blocks.iter().take_while(|block| block.iter().fold(0, |any, &byte| any | u8::from(special(byte))) == 0);
            at += 32 * clean.count();
        }
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|&byte| special(byte)).unwrap_or(rest.len())
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Marks the bytes below `bound` (at most 0x80). The lowest mark is exact; borrows can only spoil those above it.
fn below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(LOW * u64::from(bound)) & !word & HIGH
}

fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (LOW * u64::from(byte)), 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_a_long_text_without_control_characters_is_calm() {
        let mut text = vec![b'a'; 10_000];
        assert!(is_calm(&text));
        assert!(!is_calm(&text[..1_000]));
        for at in [0, 4_095, 4_096, 9_999] {
            text[at] = 0x1F;
            assert!(!is_calm(&text), "{at}");
            text[at] = b' ';
        }
        assert!(is_calm(&text));
    }

    proptest! {
        #[test]
        fn search_by_words_finds_what_search_by_bytes_finds(bytes in prop::collection::vec(prop_oneof![8 => any::<u8>(), 1 => Just(b'"')], 0..200)) {
            let slow = bytes.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20).unwrap_or(bytes.len());
            prop_assert_eq!(plain(&bytes, false), slow);
            let calm: Vec<u8> = bytes.iter().map(|&b| b.max(0x20)).collect();
            let slow = calm.iter().position(|&b| b == b'"' || b == b'\\').unwrap_or(calm.len());
            prop_assert_eq!(plain(&calm, true), slow);
            let slow = bytes.iter().position(|&b| b == 10 || b == 13).unwrap_or(bytes.len());
            prop_assert_eq!(until(&bytes, 10, 13), slow);
        }
    }
}
