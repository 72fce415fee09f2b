//! What in a result must come back unaltered, or may not be seen? Finds states, task ids and resources in
//! an answer and lets a [`Keeper`] say what becomes of each. Knows no keys and no rules.
//!
//! Members are looked for as they are usually spelled. One that is spelled with escapes stays as it is:
//! what was not sealed opens nothing when it comes back.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem;

use super::json::{Fault, Scanner, is_variant};
use super::sse::Verdict;

const MESSAGE: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];
const RESULT: &[&str] = &["resultType", "requestState", "taskId", "task", "contents", "content", "messages"];
const RELATED: &str = "io.modelcontextprotocol/related-task";
/// What stands where an embedded resource was, in the form of any content.
const WITHHELD: &str = r#"{"type":"text","text":"a resource that the access rules do not allow was left out"}"#;

/// Who decides about what was found.
pub trait Keeper {
    /// The state as the client is to know it.
    fn state(&mut self, state: &str) -> Option<String>;
    /// The task's id as the client is to know it.
    fn task(&mut self, id: &str) -> Option<String>;
    /// Whether the client may see the resource that the answer carries; `embedded`: in something else than a reading.
    fn shows(&mut self, uri: &str, embedded: bool) -> bool;
}

/// What to look for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// How many levels may nest, at most 127.
    pub depth: usize,
    /// The request may be answered with a `requestState`.
    pub states: bool,
    /// The request may be answered with a task, or is about one.
    pub tasks: bool,
    /// The client did not say that it understands `resultType: task`, so none may come (SEP-2663).
    pub no_task: bool,
    /// The request read a resource.
    pub reading: bool,
    /// There are rules about resources.
    pub resources: bool,
}

impl Sight {
    /// Whether an answer has to be looked at at all.
    pub fn looks(self) -> bool {
        self.states || self.tasks || self.no_task || self.resources
    }
}

/// A cheap first look: whether an answer could hold any of it.
pub fn may_hold(data: &[u8], sight: Sight) -> bool {
    let has = |needle: &str| memmem::find(data, needle.as_bytes()).is_some();
    (sight.reading && sight.resources)
        || (sight.states && has("\"requestState\""))
        || (sight.tasks && has("\"taskId\""))
        || (sight.no_task && has("\"task\""))
        || (sight.resources && (has("\"resource\"") || has("\"contents\"")))
}

/// Whether an event could be a notification about a task.
pub fn may_tell_of_task(data: &[u8]) -> bool {
    // Some servers escape the slash.
    memmem::find(data, b"notifications/tasks").is_some() || memmem::find(data, b"notifications\\/tasks").is_some()
}

/// Looks through one message. A notification about a task is dropped: it names the task by an id that the
/// client does not know, and may speak of another's (clients may not rely on it, MCP 2025-11-25 "Task Status Notification").
pub fn refit(data: &[u8], sight: Sight, keeper: &mut dyn Keeper) -> Verdict {
    let Ok(text) = std::str::from_utf8(data) else { return Verdict::Unreadable };
    let mut reader = Reader { sight, keeper, edits: Vec::new(), strange: false, method: None, answer: false };
    let mut scanner = Scanner::new(text, sight.depth);
    let read = reader.message(&mut scanner).and_then(|()| scanner.end());
    if read.is_err() || reader.strange || scanner.duplicate() || (reader.method.is_some() && reader.answer) {
        return Verdict::Unreadable;
    }
    if reader.method.is_some_and(|method| method.starts_with("notifications/tasks")) {
        return Verdict::Drop;
    }
    if reader.edits.is_empty() { Verdict::Pass } else { Verdict::Replace(rewrite(text, &reader.edits).into_bytes()) }
}

/// The text with each of these places, which come in order, written anew.
pub fn rewrite(text: &str, edits: &[(Range<usize>, String)]) -> String {
    let mut out = String::with_capacity(text.len() + edits.iter().map(|(_, new)| new.len()).sum::<usize>());
    let mut done = 0;
    for (place, new) in edits {
        out.push_str(text.get(done..place.start).unwrap_or_default());
        out.push_str(new);
        done = place.end;
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}

struct Reader<'a, 'k> {
    sight: Sight,
    keeper: &'k mut dyn Keeper,
    edits: Vec<(Range<usize>, String)>,
    /// Something that has more than one reading, or that may not be.
    strange: bool,
    method: Option<Cow<'a, str>>,
    answer: bool,
}

impl<'a> Reader<'a, '_> {
    fn message(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        if scanner.peek()? != b'{' {
            self.strange = true;
            return scanner.skip();
        }
        scanner.object(|scanner, name| {
            match name {
                "result" => {
                    self.answer = true;
                    return self.result(scanner, true);
                }
                "error" => self.answer = true,
                "method" if scanner.peek()? == b'"' => {
                    self.method = Some(scanner.string()?);
                    return Ok(());
                }
                other => self.strange |= other == "method" || is_variant(other, MESSAGE),
            }
            scanner.skip()
        })
    }

    /// A result, or the one that a finished task brings within its own.
    fn result(&mut self, scanner: &mut Scanner<'a>, outer: bool) -> Result<(), Fault> {
        if scanner.peek()? != b'{' {
            return scanner.skip();
        }
        scanner.object(|scanner, name| {
            match name {
                "requestState" if outer && self.sight.states => return self.passed(scanner, |keeper, state| keeper.state(state)),
                "taskId" if outer && self.sight.tasks => return self.task(scanner),
                "task" if outer && self.sight.tasks => return self.tagged(scanner),
                "_meta" if self.sight.tasks => return self.related(scanner),
                "resultType" if self.sight.no_task => {
                    self.strange |= scanner.raw()?.trim_matches('"') == "task";
                    return Ok(());
                }
                "result" if outer && self.sight.tasks => return self.result(scanner, false),
                "contents" if self.sight.resources => return self.contents(scanner),
                "content" if self.sight.resources => return self.content(scanner),
                "messages" if self.sight.resources => return self.messages(scanner),
                other => self.strange |= is_variant(other, RESULT),
            }
            scanner.skip()
        })
    }

    /// `_meta`, with the task that the result is related to.
    fn related(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        if scanner.peek()? != b'{' {
            return scanner.skip();
        }
        scanner.object(|scanner, name| if name == RELATED { self.tagged(scanner) } else { scanner.skip() })
    }

    /// What names a task.
    fn tagged(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        if scanner.peek()? != b'{' {
            return scanner.skip();
        }
        scanner.object(|scanner, name| if name == "taskId" { self.task(scanner) } else { scanner.skip() })
    }

    fn task(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        self.passed(scanner, |keeper, id| keeper.task(id))
    }

    fn passed(&mut self, scanner: &mut Scanner<'a>, seal: impl FnOnce(&mut dyn Keeper, &str) -> Option<String>) -> Result<(), Fault> {
        if scanner.peek()? != b'"' {
            // Nothing that a client could bring back.
            return scanner.skip();
        }
        let from = scanner.at();
        let text = scanner.string()?;
        match seal(&mut *self.keeper, &text).and_then(|sealed| serde_json::to_string(&sealed).ok()) {
            Some(sealed) => self.edits.push((from..scanner.at(), sealed)),
            None => self.strange = true,
        }
        Ok(())
    }

    /// What a reading brings: each thing is judged by its own URI.
    fn contents(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        if scanner.peek()? != b'[' {
            return scanner.skip();
        }
        let from = scanner.at();
        let (mut kept, mut gone) = (Vec::new(), false);
        scanner.array(|scanner| {
            scanner.peek()?;
            let start = scanner.at();
            let uri = self.uri(scanner)?;
            if uri.is_some_and(|uri| self.keeper.shows(&uri, false)) {
                kept.push(scanner.between(start, scanner.at()));
            } else {
                gone = true;
            }
            Ok(())
        })?;
        if gone {
            self.edits.push((from..scanner.at(), format!("[{}]", kept.join(","))));
        }
        Ok(())
    }

    fn messages(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        if scanner.peek()? != b'[' {
            return scanner.skip();
        }
        scanner.array(|scanner| {
            if scanner.peek()? != b'{' {
                return scanner.skip();
            }
            scanner.object(|scanner, name| if name == "content" { self.content(scanner) } else { scanner.skip() })
        })
    }

    fn content(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        match scanner.peek()? {
            b'[' => scanner.array(|scanner| self.block(scanner)),
            _ => self.block(scanner),
        }
    }

    /// A resource that is embedded is left out where it may not be seen; a link stays, because what it
    /// leads to is judged when it is read.
    fn block(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        if scanner.peek()? != b'{' {
            return scanner.skip();
        }
        let from = scanner.at();
        let mut withheld = false;
        scanner.object(|scanner, name| {
            if name != "resource" {
                return scanner.skip();
            }
            let uri = self.uri(scanner)?;
            withheld |= uri.is_some_and(|uri| !self.keeper.shows(&uri, true));
            Ok(())
        })?;
        if withheld {
            self.edits.push((from..scanner.at(), WITHHELD.to_owned()));
        }
        Ok(())
    }

    fn uri(&mut self, scanner: &mut Scanner<'a>) -> Result<Option<Cow<'a, str>>, Fault> {
        if scanner.peek()? != b'{' {
            scanner.skip()?;
            return Ok(None);
        }
        let mut uri = None;
        scanner.object(|scanner, name| {
            if name == "uri" && scanner.peek()? == b'"' {
                uri = Some(scanner.string()?);
                return Ok(());
            }
            self.strange |= is_variant(name, &["uri"]);
            scanner.skip()
        })?;
        Ok(uri)
    }
}

#[cfg(test)]
mod tests;
