//! What in a result must come back unaltered, or may not be seen? Finds states, task ids and resources in
//! an answer and lets a [`Keeper`] say what becomes of each. Knows no keys and no rules.
//!
//! Members are looked for as they are usually spelled. One that is spelled with escapes stays as it is:
//! what was not sealed opens nothing when it comes back.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem::Finder;

use super::bytes::Word;
use super::json::{Fault, Scanner, is_variant};
use super::related::{self, RELATED};
use super::sse::Verdict;

const MESSAGE: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];
const RESULT: &[&str] = &["resultType", "requestState", "taskId", "task", "tasks", "nextCursor", "contents", "content", "messages"];
/// What stands where an embedded resource was, in the form of any content.
const WITHHELD: &str = r#"{"type":"text","text":"a resource that the access rules do not allow was left out"}"#;

/// Who decides about what was found.
pub trait Keeper {
    /// The state as the client is to know it.
    fn state(&mut self, state: &str) -> Option<String>;
    /// The task's id as the client is to know it; none where it cannot be told which tool began it.
    fn task(&mut self, id: &str) -> Option<String>;
    /// The same of a task that the server tells of unasked, or in a list of all; none for one that is not the client's.
    fn told(&mut self, id: &str) -> Option<String>;
    /// The cursor of a list of tasks as the client is to know it.
    fn cursor(&mut self, cursor: &str) -> Option<String>;
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
    /// The request lists tasks (MCP 2025-11-25 `tasks/list`): those of others go.
    pub lists_tasks: bool,
    /// The answer may belong to a task (MCP 2025-11-25).
    pub related: bool,
    /// The answer to such a request may come by, on a stream of its session.
    pub strays: bool,
    /// The request may not be answered with `resultType: input_required` (MCP 2026-07-28 "Supported Requests").
    pub no_input: bool,
    /// The request read a resource.
    pub reading: bool,
    /// What the request read is this caller's to have, and no cache may give it to another (MCP 2026-07-28 "Caching").
    pub private: bool,
    /// There are rules about resources.
    pub resources: bool,
}

impl Sight {
    /// Whether an answer has to be looked at at all.
    pub fn looks(self) -> bool {
        self.states || self.tasks || self.no_task || self.lists_tasks || self.strays || self.no_input || self.resources
    }

    /// Whether nothing of an answer may pass before all of it was looked at.
    pub fn whole(self) -> bool {
        self.lists_tasks || self.resources
    }
}

static WORD_STATE: Word = Word::new(|| Finder::new("\"requestState\""));
static WORD_TASK_ID: Word = Word::new(|| Finder::new("\"taskId\""));
static WORD_TASK: Word = Word::new(|| Finder::new("\"task\""));
static WORD_TASKS: Word = Word::new(|| Finder::new("\"tasks\""));
static WORD_INPUT: Word = Word::new(|| Finder::new("\"input_required\""));
static WORD_RESOURCE: Word = Word::new(|| Finder::new("\"resource\""));
static WORD_CONTENTS: Word = Word::new(|| Finder::new("\"contents\""));
static WORD_ESCAPE: Word = Word::new(|| Finder::new("\\u"));
static WORD_TOLD: Word = Word::new(|| Finder::new("notifications/tasks"));
static WORD_TOLD_ESCAPED: Word = Word::new(|| Finder::new("notifications\\/tasks"));

/// A cheap first look: whether an answer could hold any of it.
pub fn may_hold(data: &[u8], sight: Sight) -> bool {
    let has = |word: &Word| word.is_in(data);
    (sight.reading && sight.resources)
        || (sight.states && has(&WORD_STATE))
        || (sight.tasks && has(&WORD_TASK_ID))
        || (sight.no_task && has(&WORD_TASK))
        || (sight.related && related::may_belong(data))
        || sight.lists_tasks
        || (sight.strays && (has(&WORD_TASKS) || has(&WORD_ESCAPE)))
        || (sight.no_input && (has(&WORD_INPUT) || has(&WORD_ESCAPE)))
        || (sight.resources && (has(&WORD_RESOURCE) || has(&WORD_CONTENTS)))
}

/// Whether an event could be a notification about a task.
pub fn may_tell_of_task(data: &[u8]) -> bool {
    // Some servers escape the slash.
    WORD_TOLD.is_in(data) || WORD_TOLD_ESCAPED.is_in(data)
}

/// The notification that a task of the older design has another status (MCP 2025-11-25 "Task Status Notification").
const STATUS: &str = "notifications/tasks/status";

/// Looks through one message. A notification about a task passes where the task is the client's own, by the id that it knows;
/// that of the newer design, which brings the result with it, is dropped: nobody may have subscribed to it here.
pub fn refit(data: &[u8], sight: Sight, keeper: &mut dyn Keeper) -> Verdict {
    let Ok(text) = std::str::from_utf8(data) else { return Verdict::Unreadable };
    let mut reader = Reader { sight, keeper, edits: Vec::new(), strange: false, foreign: false, method: None, named: None, answer: false };
    let mut scanner = Scanner::new(text, sight.depth);
    let read = reader.message(&mut scanner).and_then(|()| scanner.end());
    if read.is_err() || reader.strange || scanner.duplicate() || (reader.method.is_some() && reader.answer) {
        return Verdict::Unreadable;
    }
    let about_task = reader.method.as_deref().is_some_and(|method| method.starts_with("notifications/tasks"));
    if reader.foreign || (about_task && !reader.tells()) {
        return Verdict::Drop;
    }
    reader.edits.sort_unstable_by_key(|(place, _)| place.start);
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
    /// It is about a task of which nobody knows whose it is.
    foreign: bool,
    method: Option<Cow<'a, str>>,
    /// The task that a notification names, and where.
    named: Option<(Range<usize>, Cow<'a, str>)>,
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
                "params" if scanner.peek()? == b'{' => return self.params(scanner),
                "method" if scanner.peek()? == b'"' => {
                    self.method = Some(scanner.string()?);
                    return Ok(());
                }
                other => self.strange |= other == "method" || is_variant(other, MESSAGE),
            }
            scanner.skip()
        })
    }

    /// Of a notification, if it is one.
    fn params(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        let mut variant = false;
        scanner.object(|scanner, name| {
            if name == "taskId" && scanner.peek()? == b'"' {
                let from = scanner.at();
                let id = scanner.string()?;
                self.named = Some((from..scanner.at(), id));
                return Ok(());
            }
            variant |= is_variant(name, &["taskId"]);
            scanner.skip()
        })?;
        self.named.take_if(|_| variant);
        Ok(())
    }

    /// Whether a notification tells of a task of the client's own, which is then named as the client knows it.
    fn tells(&mut self) -> bool {
        if self.method.as_deref() != Some(STATUS) {
            return false;
        }
        let Some((place, id)) = self.named.take() else { return false };
        let Some(told) = self.keeper.told(&id).and_then(|told| serde_json::to_string(&told).ok()) else { return false };
        self.edits.push((place, told));
        true
    }

    /// A result, or the one that a finished task brings within its own.
    fn result(&mut self, scanner: &mut Scanner<'a>, outer: bool) -> Result<(), Fault> {
        if scanner.peek()? != b'{' {
            return scanner.skip();
        }
        let private = outer && self.sight.private;
        let (mut scoped, mut read) = (false, false);
        scanner.object(|scanner, name| {
            read |= name == "contents";
            match name {
                "cacheScope" if private => {
                    scoped = true;
                    return self.scope(scanner);
                }
                "requestState" if outer && self.sight.states => return self.passed(scanner, |keeper, state| keeper.state(state)),
                "taskId" if outer && self.sight.tasks => return self.task(scanner),
                "task" if outer && self.sight.tasks => return self.tagged(scanner),
                "_meta" if self.sight.tasks || self.sight.related => return self.related(scanner),
                "resultType" if self.sight.no_task || self.sight.no_input => return self.kind(scanner),
                "tasks" if outer && (self.sight.lists_tasks || self.sight.strays) => return self.tasks(scanner),
                "nextCursor" if outer && self.sight.lists_tasks => {
                    return self.passed(scanner, |keeper, cursor| keeper.cursor(cursor));
                }
                "result" if outer && self.sight.tasks => return self.result(scanner, false),
                "contents" if self.sight.resources => return self.contents(scanner),
                "content" if self.sight.resources => return self.content(scanner),
                "messages" if self.sight.resources => return self.messages(scanner),
                other => self.strange |= is_variant(other, RESULT) || (private && is_variant(other, &["cacheScope"])),
            }
            scanner.skip()
        })?;
        if private && read && !scoped {
            let end = scanner.at() - 1;
            self.edits.push((end..end, r#","cacheScope":"private""#.to_owned()));
        }
        Ok(())
    }

    /// The rules let this caller read it; whoever else may, is asked anew.
    fn scope(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        scanner.peek()?;
        let from = scanner.at();
        if scanner.raw()? != r#""private""# {
            self.edits.push((from..scanner.at(), r#""private""#.to_owned()));
        }
        Ok(())
    }

    fn kind(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        if scanner.peek()? != b'"' {
            return scanner.skip();
        }
        let kind = scanner.string()?;
        self.strange |= (self.sight.no_task && kind == "task") || (self.sight.no_input && kind == "input_required");
        Ok(())
    }

    /// Everybody's tasks: those of others go, the client's own are named as it knows them.
    fn tasks(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        if scanner.peek()? != b'[' {
            self.strange = true;
            return scanner.skip();
        }
        let from = scanner.at();
        let mut kept = Vec::new();
        scanner.array(|scanner| {
            kept.extend(self.listed(scanner)?);
            Ok(())
        })?;
        self.edits.push((from..scanner.at(), format!("[{}]", kept.join(","))));
        Ok(())
    }

    /// One task of the list, if it is the client's.
    fn listed(&mut self, scanner: &mut Scanner<'a>) -> Result<Option<String>, Fault> {
        if scanner.peek()? != b'{' {
            scanner.skip()?;
            return Ok(None);
        }
        let start = scanner.at();
        let (mut named, mut variant) = (None, false);
        scanner.object(|scanner, name| {
            if name == "taskId" && scanner.peek()? == b'"' {
                let from = scanner.at();
                let id = scanner.string()?;
                named = Some((from - start..scanner.at() - start, id));
                return Ok(());
            }
            variant |= is_variant(name, &["taskId"]);
            scanner.skip()
        })?;
        let item = scanner.between(start, scanner.at());
        let Some((place, id)) = named.filter(|_| !variant) else { return Ok(None) };
        let told = self.keeper.told(&id).and_then(|told| serde_json::to_string(&told).ok());
        Ok(told.map(|told| rewrite(item, &[(place, told)])))
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
        if scanner.peek()? != b'"' {
            // Nothing that a client could bring back.
            return scanner.skip();
        }
        let from = scanner.at();
        let id = scanner.string()?;
        match self.keeper.task(&id).and_then(|sealed| serde_json::to_string(&sealed).ok()) {
            Some(sealed) => self.edits.push((from..scanner.at(), sealed)),
            None => self.foreign = true,
        }
        Ok(())
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
