//! Which part of an upstream's answer may this caller see? Cuts lists, in JSON and in stream
//! events. Knows no rules: the caller brings the question whether a name is shown.
//!
//! What cannot be read in exactly one way is [`Unreadable`] and must not be passed.

use std::borrow::Cow;

use super::bytes::{Word, any_place};
use super::json::{Fault, Scanner, is_variant};
use super::sse::Verdict;
use super::{Era, Kind};

pub use super::memo::Memo;

/// The members of a result that hold a list, and the member that names an item of it.
const LISTS: &[(&str, Kind, &str)] = &[
    ("tools", Kind::Tool, "name"),
    ("resources", Kind::Resource, "uri"),
    ("resourceTemplates", Kind::Template, "uriTemplate"),
    ("prompts", Kind::Prompt, "name"),
];
const MESSAGE: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];
const RESULT: &[&str] = &["tools", "resources", "resourceTemplates", "prompts", "nextCursor", "cacheScope"];

/// An answer that cannot be judged, so it cannot be passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// How to look at the answer to a list request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lens {
    /// What the request listed.
    pub kind: Kind,
    pub era: Era,
    /// How many levels may nest, at most 127.
    pub depth: usize,
}

/// A list answer with only those items that are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub body: Vec<u8>,
    pub shown: usize,
    pub hidden: usize,
    pub(super) id: Option<Place>,
}

/// Where the answer's id stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub before: usize,
    /// In the cut answer.
    pub after: usize,
    pub length: usize,
}

/// Cuts one JSON-RPC answer to a list request. Order, `nextCursor` and every other member stay as
/// they are, byte for byte; items without a lawful name go. `cacheScope` becomes `private`, for the
/// list is now this caller's own (MCP 2026-07-28, "Caching"). An error answer passes as it is.
pub fn cut(body: &[u8], lens: Lens, shows: &mut dyn FnMut(&str) -> bool) -> Result<Cut, Unreadable> {
    cut_items(body, lens, &mut |name, _| shows(name), None)
}

/// Gives the `nextCursor` of a list another name.
pub type Naming<'n> = &'n mut dyn FnMut(Kind, &str) -> Option<String>;

/// A cheap first look: whether a list could have a next page.
pub fn may_go_on(body: &[u8]) -> bool {
    static WORD: Word = Word::new(|| memchr::memmem::Finder::new("\"nextCursor\""));
    WORD.is_in(body)
}

/// As [`cut`], for a caller that looks at each whole item, as it stands there: `shows` is told its name and its JSON text.
/// A `nextCursor` is given another name on its way.
pub fn cut_items(
    body: &[u8],
    lens: Lens,
    shows: &mut dyn FnMut(&str, &str) -> bool,
    cursor: Option<Naming<'_>>,
) -> Result<Cut, Unreadable> {
    let text = std::str::from_utf8(body).map_err(|_| Unreadable)?;
    let mut shows = |_: Kind, name: &str, item: &str| shows(name, item);
    let mut cutter = Cutter::new(text, lens.era, &mut shows, Some(lens.kind), cursor);
    cutter.read(lens.depth)?;
    let Cutter { method, result, error, list, shown, hidden, id, .. } = cutter;
    match (method, result, error, list) {
        (false, false, true, _) => Ok(Cut { body: body.to_vec(), shown: 0, hidden: 0, id: None }),
        (false, true, false, Some(kind)) if kind == lens.kind => Ok(Cut { body: cutter.finish(), shown, hidden, id }),
        _ => Err(Unreadable),
    }
}

/// Whether a body that is no lawful answer holds no list in any reading: neither a result, nor more than one reading.
pub fn holds_none(body: &[u8], depth: usize) -> bool {
    let Ok(text) = std::str::from_utf8(body) else { return false };
    if !text.trim_start().starts_with(['{', '[']) {
        return true;
    }
    let mut shows = |_: Kind, _: &str, _: &str| false;
    let mut cutter = Cutter::new(text, Era::Legacy, &mut shows, None, None);
    cutter.read(depth).is_ok() && !cutter.result
}

/// How to look at the events of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// What the request listed; none if it was no list request.
    pub expected: Option<Kind>,
    /// The stream may deliver the answers to any earlier request of its session.
    pub resumed: bool,
    pub era: Era,
    /// How many levels may nest, at most 127.
    pub depth: usize,
}

/// Judges the data of one stream event.
///
/// * Requests to the client are dropped in the modern era, which has none (MCP 2026-07-28,
///   "Transports"), and pass in the legacy one. Notifications pass.
/// * On the stream of a list request, and on one that is resumed, each result that holds a list is cut, whatever its id: a
///   resumed stream delivers the answers to other requests.
/// * On other streams nothing else is looked at, but for arrays, which no single message is.
pub fn judge_event(data: &[u8], watch: Watch, shows: &mut dyn FnMut(Kind, &str) -> bool) -> Verdict {
    judge_items(data, watch, &mut |kind, name, _| shows(kind, name), None)
}

/// As [`judge_event`], for a caller that looks at each whole item: `shows` is told its kind, its name and its JSON text.
/// The `nextCursor` of a list is given another name on its way.
pub fn judge_items(data: &[u8], watch: Watch, shows: &mut dyn FnMut(Kind, &str, &str) -> bool, cursor: Option<Naming<'_>>) -> Verdict {
    let lists = watch.expected.is_some() || watch.resumed;
    if data.trim_ascii_start().first() == Some(&b'[') {
        return Verdict::Unreadable;
    }
    if !lists && (watch.era == Era::Legacy || !may_hold_method(data)) {
        return Verdict::Pass;
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return Verdict::Unreadable;
    };
    let mut cutter = Cutter::new(text, watch.era, shows, watch.expected, cursor);
    if cutter.read(watch.depth).is_err() {
        return Verdict::Unreadable;
    }
    match (cutter.method, cutter.result, cutter.error) {
        (true, false, false) if cutter.has_id && watch.era == Era::Modern => Verdict::Drop,
        (true, false, false) | (false, false, true) => Verdict::Pass,
        (false, true, false) if lists && cutter.list.is_some() => Verdict::Replace(cutter.finish()),
        (false, true, false) => Verdict::Pass,
        _ => Verdict::Unreadable,
    }
}

/// A cheap first look: without the word, in any case or escaped, no parser finds a method.
pub(super) fn may_hold_method(data: &[u8]) -> bool {
    any_place(data, [b'h', b'H', b'\\'], |at| names_method(data, at))
}

/// Whether an escaped letter begins here, or the word stands around its `h`.
pub(super) fn names_method(data: &[u8], at: usize) -> bool {
    if data.get(at) == Some(&b'\\') {
        return data.get(at + 1) == Some(&b'u');
    }
    let word = at.checked_sub(3).and_then(|from| data.get(from..at + 3));
    word.is_some_and(|word| word.eq_ignore_ascii_case(b"method"))
}

/// Reads an answer and writes what may be seen of it, span by span.
struct Cutter<'a, 's, 'n> {
    text: &'a str,
    era: Era,
    shows: &'s mut dyn FnMut(Kind, &str, &str) -> bool,
    /// What was asked for, where that is known.
    asked: Option<Kind>,
    cursor: Option<Naming<'n>>,
    out: Vec<u8>,
    /// How much of the text has been copied or left out.
    done: usize,
    method: bool,
    result: bool,
    error: bool,
    has_id: bool,
    id: Option<Place>,
    /// The list that the result holds.
    list: Option<Kind>,
    scoped: bool,
    /// Something that has more than one reading.
    strange: bool,
    shown: usize,
    hidden: usize,
}

impl<'a, 's, 'n> Cutter<'a, 's, 'n> {
    fn new(
        text: &'a str,
        era: Era,
        shows: &'s mut dyn FnMut(Kind, &str, &str) -> bool,
        asked: Option<Kind>,
        cursor: Option<Naming<'n>>,
    ) -> Self {
        Self {
            text,
            era,
            shows,
            asked,
            cursor,
            out: Vec::new(),
            done: 0,
            method: false,
            result: false,
            error: false,
            has_id: false,
            id: None,
            list: None,
            scoped: false,
            strange: false,
            shown: 0,
            hidden: 0,
        }
    }

    fn read(&mut self, depth: usize) -> Result<(), Unreadable> {
        let mut scanner = Scanner::new(self.text, depth);
        let read = self.message(&mut scanner).and_then(|()| scanner.end());
        if read.is_err() || self.strange || scanner.duplicate() { Err(Unreadable) } else { Ok(()) }
    }

    /// The cut text.
    fn finish(mut self) -> Vec<u8> {
        self.copy_to(self.text.len());
        self.out
    }

    fn copy_to(&mut self, to: usize) {
        self.out.extend_from_slice(self.text.as_bytes().get(self.done..to).unwrap_or_default());
        self.done = to;
    }

    fn message(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        scanner.object(|scanner, name| {
            match name {
                "result" => {
                    self.result = true;
                    return self.result(scanner);
                }
                "id" => {
                    let length = scanner.raw()?.len();
                    let before = scanner.at() - length;
                    self.has_id = true;
                    self.id = Some(Place { before, after: self.out.len() + before - self.done, length });
                    return Ok(());
                }
                "method" => self.method = true,
                "error" => self.error = true,
                other => self.strange |= is_variant(other, MESSAGE),
            }
            scanner.skip()
        })
    }

    fn result(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        if scanner.peek()? != b'{' {
            self.strange = true;
            return scanner.skip();
        }
        scanner.object(|scanner, name| {
            if let Some((_, kind, member)) = LISTS.iter().find(|(list, ..)| *list == name) {
                return self.list(scanner, *kind, member);
            }
            if name == "cacheScope" {
                return self.scope(scanner);
            }
            // Only three other methods may be answered with a question (MCP 2026-07-28 "Supported Requests").
            if name == "resultType" && self.asked.is_some() && scanner.peek()? == b'"' {
                self.strange |= scanner.string()? == "input_required";
                return Ok(());
            }
            if name == "nextCursor" && self.cursor.is_some() && scanner.peek()? == b'"' {
                return self.next_page(scanner);
            }
            self.strange |= is_variant(name, RESULT);
            scanner.skip()
        })?;
        if self.list.is_some() && !self.scoped && self.era == Era::Modern {
            self.copy_to(scanner.at() - 1);
            self.out.extend_from_slice(br#","cacheScope":"private""#);
        }
        Ok(())
    }

    fn next_page(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        let from = scanner.at();
        let cursor = scanner.string()?;
        // A list of unknown kind keeps its cursor, which then opens nothing.
        let Some(kind) = self.list.or(self.asked) else { return Ok(()) };
        let named = self.cursor.as_mut().and_then(|name| name(kind, &cursor)).and_then(|name| serde_json::to_string(&name).ok());
        match named {
            Some(named) => {
                self.copy_to(from);
                self.out.extend_from_slice(named.as_bytes());
                self.done = scanner.at();
            }
            None => self.strange = true,
        }
        Ok(())
    }

    fn scope(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        scanner.peek()?;
        let from = scanner.at();
        scanner.skip()?;
        self.scoped = true;
        self.copy_to(from);
        self.out.extend_from_slice(br#""private""#);
        self.done = scanner.at();
        Ok(())
    }

    fn list(&mut self, scanner: &mut Scanner<'a>, kind: Kind, member: &str) -> Result<(), Fault> {
        // Two lists in one answer, or no list at all, is nothing that a server means.
        self.strange |= self.list.replace(kind).is_some() || scanner.peek()? != b'[';
        if self.strange {
            return scanner.skip();
        }
        self.out.reserve(self.text.len());
        self.copy_to(scanner.at() + 1);
        scanner.array(|scanner| {
            scanner.peek()?;
            let from = scanner.at();
            let name = item(scanner, member)?;
            let text = scanner.between(from, scanner.at());
            if !name.is_some_and(|name| (self.shows)(kind, &name, text)) {
                self.hidden += 1;
                return Ok(());
            }
            if self.shown > 0 {
                self.out.push(b',');
            }
            self.shown += 1;
            self.out.extend_from_slice(text.as_bytes());
            Ok(())
        })?;
        self.done = scanner.at() - 1;
        Ok(())
    }
}

/// Reads one item of a list and gives its name, if it has exactly one.
fn item<'a>(scanner: &mut Scanner<'a>, member: &str) -> Result<Option<Cow<'a, str>>, Fault> {
    if scanner.peek()? != b'{' {
        scanner.skip()?;
        return Ok(None);
    }
    let mut found = None;
    let mut variant = false;
    scanner.object(|scanner, name| {
        if name == member && scanner.peek()? == b'"' {
            found = Some(scanner.string()?);
            return Ok(());
        }
        variant |= is_variant(name, &[member]);
        scanner.skip()
    })?;
    Ok(found.filter(|_| !variant))
}

#[cfg(test)]
mod tests;
