//! Where is the next byte of a kind? Searches that read eight bytes or more at a time, without
//! `unsafe`. Knows nothing of what the bytes mean.

use std::sync::LazyLock;

use memchr::memmem;
use wide::u8x16;

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

/// Bytes that are looked at together.
const BLOCK: usize = 64;

/// Where a JSON text has what a string may not hold as it is: quotes, backslashes, control characters (RFC 8259 §7).
/// It remembers the marks of the block that it looked at last, so that each block is read once, however many it has.
pub(super) struct Marks<'a> {
    text: &'a [u8],
    /// The end of the block that was looked at last; zero before the first.
    to: usize,
    /// Its marks: the lowest bit is its first byte.
    bits: u64,
}

impl<'a> Marks<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, to: 0, bits: 0 }
    }

    /// The first mark at `at` or after it, or the length of the text. Ask in the order of the text.
    #[inline(always)]
    pub fn next(&mut self, at: usize) -> usize {
        let left = self.to.wrapping_sub(at);
        if !(1..=BLOCK).contains(&left) {
            return self.find(at);
        }
        match self.bits >> (BLOCK - left) {
            0 => self.find(self.to),
            bits => at + bits.trailing_zeros() as usize,
        }
    }

    #[inline(always)]
    fn find(&mut self, mut at: usize) -> usize {
        while let Some(block) = self.text.get(at..).and_then(<[u8]>::first_chunk) {
            match marks(block) {
                0 => at += BLOCK,
                bits => return self.keep(at, bits),
            }
        }
        self.find_last(at)
    }

    /// What is less than a block is filled up with quotes: the first of them stands for the end.
    #[inline(never)]
    fn find_last(&mut self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        self.keep(at, marks(&filled_up(rest, b'"')))
    }

    #[inline(always)]
    fn keep(&mut self, at: usize, bits: u64) -> usize {
        (self.to, self.bits) = (at + BLOCK, bits);
        at + bits.trailing_zeros() as usize
    }
}

#[inline(always)]
fn marks(block: &[u8; BLOCK]) -> u64 {
    gather(block, |part| part.simd_eq(u8x16::splat(b'"')) | part.simd_eq(u8x16::splat(b'\\')) | part.simd_lt(u8x16::splat(b' ')))
}

/// One bit for each byte that is marked: the lowest is the first byte's.
#[inline(always)]
fn gather(block: &[u8; BLOCK], marked: impl Fn(u8x16) -> u8x16) -> u64 {
    let (parts, _) = block.as_chunks();
    parts.iter().rev().fold(0, |bits, part| bits << 16 | u64::from(marked(u8x16::new(*part)).to_bitmask()))
}

/// What is less than a block, with `filling` behind it.
fn filled_up(rest: &[u8], filling: u8) -> [u8; BLOCK] {
    let mut block = [filling; BLOCK];
    block.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    block
}

/// Whether `holds` says so of any place where one of a few bytes stands. Asks in the order of the text.
pub(super) fn any_place<const FEW: usize>(text: &[u8], sought: [u8; FEW], mut holds: impl FnMut(usize) -> bool) -> bool {
    let sought = sought.map(u8x16::splat);
    let places = |block: &[u8; BLOCK]| gather(block, |part| sought.iter().fold(u8x16::ZERO, |any, one| any | part.simd_eq(*one)));
    let (blocks, rest) = text.as_chunks();
    let mut from = 0;
    for block in blocks {
        if any_bit(places(block), |bit| holds(from + bit)) {
            return true;
        }
        from += BLOCK;
    }
    let filling = u64::MAX << rest.len();
    any_bit(places(&filled_up(rest, 0)) & !filling, |bit| holds(from + bit))
}

#[inline(always)]
fn any_bit(mut bits: u64, mut holds: impl FnMut(usize) -> bool) -> bool {
    while bits != 0 {
        if holds(bits.trailing_zeros() as usize) {
            return true;
        }
        bits &= bits - 1;
    }
    false
}

/// How many bytes come before the first that is one of two.
#[inline(always)]
pub(super) fn until(bytes: &[u8], one: u8, other: u8) -> usize {
    let sought = |byte: u8| (byte == one) | (byte == other);
    let mut at = 0;
    // Eight bytes at a time, then blocks that the compiler turns into vector code.
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*word);
        let marks = equal(word, one) | equal(word, other);
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
        if at == 32 {
            let (blocks, _) = bytes.get(at..).unwrap_or_default().as_chunks::<32>();
            let clean = blocks.iter().take_while(|block| block.iter().fold(0, |any, &byte| any | u8::from(sought(byte))) == 0);
            at += 32 * clean.count();
        }
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|&byte| sought(byte)).unwrap_or(rest.len())
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Marks the bytes that are equal to `byte`. The lowest mark is exact; borrows can only spoil those above it.
fn equal(word: u64, byte: u8) -> u64 {
    let differing = word ^ (LOW * u64::from(byte));
    differing.wrapping_sub(LOW) & !differing & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::iter;

    use proptest::prelude::*;

    fn all(text: &[u8]) -> Vec<usize> {
        let mut marks = Marks::new(text);
        let first = marks.next(0);
        iter::successors(Some(first), |at| Some(marks.next(at + 1))).take_while(|&at| at < text.len()).collect()
    }

    fn is_mark(byte: u8) -> bool {
        byte == b'"' || byte == b'\\' || byte < 0x20
    }

    #[test]
    fn each_byte_is_marked_or_not_wherever_it_stands() {
        for length in [1, 15, 16, 63, 64, 65, 127, 128, 200] {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut text = vec![b'a'; length];
                    text[at] = byte;
                    assert_eq!(all(&text), if is_mark(byte) { vec![at] } else { vec![] }, "{byte} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn a_text_without_marks_ends_at_its_end_wherever_one_asks() {
        for length in [0, 1, 63, 64, 65, 128, 130] {
            let text = vec![b' '; length];
            let mut marks = Marks::new(&text);
            for at in 0..=length {
                assert_eq!(marks.next(at), length, "from {at}");
            }
            assert!(marks.next(length + 1) > length);
        }
    }

    proptest! {
        #[test]
        fn marks_are_those_that_a_search_by_bytes_finds(
            bytes in prop::collection::vec(prop_oneof![8 => any::<u8>(), 1 => Just(b'"'), 1 => Just(b'\\')], 0..400),
            steps in prop::collection::vec(0usize..90, 0..40),
        ) {
            let marked: Vec<usize> = (0..bytes.len()).filter(|&at| is_mark(bytes[at])).collect();
            prop_assert_eq!(all(&bytes), marked);
            let mut marks = Marks::new(&bytes);
            let mut at = 0;
            for step in steps {
                at = (at + step).min(bytes.len());
                let slow = at + bytes[at..].iter().position(|&byte| is_mark(byte)).unwrap_or(bytes.len() - at);
                prop_assert_eq!(marks.next(at), slow);
            }
        }

        #[test]
        fn places_are_those_that_a_search_by_bytes_finds(bytes in prop::collection::vec(prop_oneof![4 => any::<u8>(), 1 => Just(b'q')], 0..400)) {
            let mut seen = Vec::new();
            let none = any_place(&bytes, [b'q', 0], |at| {
                seen.push(at);
                false
            });
            let slow: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] == b'q' || bytes[at] == 0).collect();
            prop_assert_eq!((none, &seen), (false, &slow));
            prop_assert_eq!(any_place(&bytes, [b'q', 0], |at| Some(&at) == slow.last()), !slow.is_empty());
        }

        #[test]
        fn search_by_words_finds_what_search_by_bytes_finds(bytes in prop::collection::vec(prop_oneof![8 => any::<u8>(), 1 => Just(10)], 0..200)) {
            let slow = bytes.iter().position(|&b| b == 10 || b == 13).unwrap_or(bytes.len());
            prop_assert_eq!(until(&bytes, 10, 13), slow);
        }
    }
}
