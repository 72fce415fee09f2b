//! Has this very answer been cut before, for somebody who may see the same? Upstreams give the
//! same list again and again; only the id differs.
//!
//! Why a hit is exact: an entry holds a whole answer as the bytes before and after its id, and a
//! hit means that all of them are equal. The id is one JSON token, a string or an integer, in both
//! answers (only a parsed [`Id`] can be asked for), and cutting never looks into it. So cutting the
//! new answer would leave out the same spans and give the remembered bytes around the new id.

use std::collections::VecDeque;
use std::sync::{PoisonError, RwLock};

use super::Id;
use super::listing::{Cut, Lens, Naming, Place, Unreadable, cut_items};

/// Recent list answers and their cuts, bounded in number and bytes; the oldest goes first.
///
/// `K` says what the caller may see: equal keys must see equal lists. Whoever holds one memo for
/// several policies, or across a reload, must put that into the key.
#[derive(Debug)]
pub struct Memo<K> {
    max_entries: usize,
    max_bytes: usize,
    shelf: RwLock<Shelf<K>>,
}

#[derive(Debug)]
struct Shelf<K> {
    bytes: usize,
    entries: VecDeque<Entry<K>>,
}

#[derive(Debug)]
struct Entry<K> {
    lens: Lens,
    key: K,
    answer: Around,
    cut: Around,
}

/// A message without its id.
#[derive(Debug)]
struct Around {
    before: Box<[u8]>,
    after: Box<[u8]>,
}

impl<K: Eq + Clone> Memo<K> {
    pub fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self { max_entries, max_bytes, shelf: RwLock::new(Shelf { bytes: 0, entries: VecDeque::new() }) }
    }

    /// Cuts an answer as [`cut_items`] does, or remembers how it was cut. `id` is the request's own; an
    /// answer that spells it differently is cut and not remembered.
    ///
    /// `cursor` must give equal names to equal cursors for equal keys.
    pub fn cut(
        &self,
        key: &K,
        id: Id<'_>,
        body: &[u8],
        lens: Lens,
        shows: &mut dyn FnMut(&str, &str) -> bool,
        cursor: Option<Naming<'_>>,
    ) -> Result<Vec<u8>, Unreadable> {
        if let Some(known) = self.recall(key, id, body, lens) {
            return Ok(known);
        }
        let cut = cut_items(body, lens, shows, cursor)?;
        if let Some((answer, short)) = around(body, &cut, id) {
            self.keep(Entry { lens, key: key.clone(), answer, cut: short });
        }
        Ok(cut.body)
    }

    fn recall(&self, key: &K, id: Id<'_>, body: &[u8], lens: Lens) -> Option<Vec<u8>> {
        let id = id.as_json().as_bytes();
        let shelf = self.shelf.read().unwrap_or_else(PoisonError::into_inner);
        let known =
            shelf.entries.iter().find(|entry| entry.answer.size() + id.len() == body.len() && entry.matches(key, id, body, lens))?;
        let Around { before, after } = &known.cut;
        Some([before, id, after].concat())
    }

    fn keep(&self, entry: Entry<K>) {
        // One answer may not push out all others.
        if entry.size() > self.max_bytes / 4 {
            return;
        }
        let mut shelf = self.shelf.write().unwrap_or_else(PoisonError::into_inner);
        shelf.bytes += entry.size();
        shelf.entries.push_back(entry);
        while shelf.entries.len() > self.max_entries || shelf.bytes > self.max_bytes {
            let Some(oldest) = shelf.entries.pop_front() else {
                return;
            };
            shelf.bytes -= oldest.size();
        }
    }
}

impl<K: Eq> Entry<K> {
    fn size(&self) -> usize {
        self.answer.size() + self.cut.size()
    }

    fn matches(&self, key: &K, id: &[u8], body: &[u8], lens: Lens) -> bool {
        let Around { before, after } = &self.answer;
        self.lens == lens
            && self.key == *key
            && body.strip_prefix(before.as_ref()).and_then(|rest| rest.strip_suffix(after.as_ref())) == Some(id)
    }
}

impl Around {
    fn size(&self) -> usize {
        self.before.len() + self.after.len()
    }
}

/// An answer and its cut without the id, if the answer spells the id as the request did.
fn around(body: &[u8], cut: &Cut, id: Id<'_>) -> Option<(Around, Around)> {
    let Place { before, after, length } = cut.id?;
    if body.get(before..before + length)? != id.as_json().as_bytes() {
        return None;
    }
    let parts = |text: &[u8], at: usize| Some(Around { before: text.get(..at)?.into(), after: text.get(at + length..)?.into() });
    Some((parts(body, before)?, parts(&cut.body, after)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::{Era, Kind};
    use std::cell::Cell;

    const LENS: Lens = Lens { kind: Kind::Tool, era: Era::Modern, depth: 64 };

    fn answer(id: &str, tail: &str) -> String {
        format!(r#"{{"result":{{"tools":[{{"name":"a"}},{{"name":"b"}}]{tail}}},"jsonrpc":"2.0","id":{id}}}"#)
    }

    /// Cuts to `a`; says whether the rules were asked.
    fn ask(memo: &Memo<u8>, key: u8, id: &str, body: &str) -> (String, bool) {
        let asked = Cell::new(false);
        let cut = memo.cut(
            &key,
            Id(id),
            body.as_bytes(),
            LENS,
            &mut |name, _| {
                asked.set(true);
                name == "a"
            },
            None,
        );
        (String::from_utf8(cut.expect("a list")).expect("text"), asked.get())
    }

    #[test]
    fn the_same_answer_with_another_id_is_not_read_again() {
        let memo = Memo::new(8, 1 << 20);
        let short = |id| format!(r#"{{"result":{{"tools":[{{"name":"a"}}],"cacheScope":"private"}},"jsonrpc":"2.0","id":{id}}}"#);
        assert_eq!(ask(&memo, 1, "1", &answer("1", "")), (short("1"), true));
        assert_eq!(ask(&memo, 1, "1", &answer("1", "")), (short("1"), false));
        assert_eq!(ask(&memo, 1, r#""longer, \"id\"""#, &answer(r#""longer, \"id\"""#, "")), (short(r#""longer, \"id\"""#), false));
    }

    #[test]
    fn item_82_another_caller_or_another_answer_is_cut_afresh() {
        let memo = Memo::new(8, 1 << 20);
        ask(&memo, 1, "1", &answer("1", ""));
        assert!(ask(&memo, 2, "1", &answer("1", "")).1, "another standing");
        assert!(ask(&memo, 1, "1", &answer("1", r#","x":1"#)).1, "another answer");
        assert!(ask(&memo, 1, "2", &answer("1", "")).1, "the answer to another request");
        let other = Lens { era: Era::Legacy, ..LENS };
        assert!(memo.recall(&1, Id("1"), answer("1", "").as_bytes(), LENS).is_some());
        assert!(memo.recall(&1, Id("1"), answer("1", "").as_bytes(), other).is_none(), "another lens");
    }

    #[test]
    fn an_answer_that_spells_the_id_differently_is_not_remembered() {
        let memo = Memo::new(8, 1 << 20);
        for _ in 0..2 {
            assert!(ask(&memo, 1, r#""a""#, &answer(r#""\u0061""#, "")).1);
        }
    }

    #[test]
    fn an_id_inside_the_list_is_not_taken_for_the_answers_id() {
        let memo = Memo::new(8, 1 << 20);
        let body = |id| format!(r#"{{"id":{id},"result":{{"tools":[{{"name":"a","id":1}}]}}}}"#);
        ask(&memo, 1, "1", &body("1"));
        let (cut, asked) = ask(&memo, 1, "7", &body("7"));
        assert_eq!((cut, asked), (r#"{"id":7,"result":{"tools":[{"name":"a","id":1}],"cacheScope":"private"}}"#.to_owned(), false));
    }

    #[test]
    fn it_is_bounded_in_number_and_in_bytes() {
        let memo = Memo::new(2, 1 << 20);
        for key in 0..10 {
            ask(&memo, key, "1", &answer("1", ""));
        }
        assert_eq!(memo.shelf.read().unwrap().entries.len(), 2);
        assert!(!ask(&memo, 9, "1", &answer("1", "")).1);
        assert!(ask(&memo, 0, "1", &answer("1", "")).1);

        let memo = Memo::new(1000, 1000);
        for key in 0..100 {
            ask(&memo, key, "1", &answer("1", ""));
        }
        let shelf = memo.shelf.read().unwrap();
        assert!(shelf.bytes <= 1000 && shelf.entries.len() > 1, "{} bytes", shelf.bytes);
        assert_eq!(shelf.bytes, shelf.entries.iter().map(Entry::size).sum::<usize>());
        drop(shelf);
        let large = format!(r#","x":"{}""#, "y".repeat(1000));
        assert!(ask(&memo, 1, "1", &answer("1", &large)).1);
        assert!(ask(&memo, 1, "1", &answer("1", &large)).1);
    }
}
