//! To which task does a message belong (MCP 2025-11-25 "Tasks", Related Task Metadata)? Requests, notifications and answers of
//! both sides name it in `_meta`, by the id that they know. Knows no keys and no owners: the caller brings the other name.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem::Finder;

use super::bytes::Word;
use super::json::{Fault, Scanner, is_variant};
use super::result::rewrite;

/// The member of `_meta` that holds the task's id.
pub const RELATED: &str = "io.modelcontextprotocol/related-task";
static WORD: Word = Word::new(|| Finder::new("related-task\""));

/// Why a message that belongs to a task cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The task has no other name.
    Unknown,
    /// It has more than one reading.
    Unreadable,
}

/// A cheap first look: whether a message could belong to a task, as that is usually spelled.
pub fn may_belong(data: &[u8]) -> bool {
    WORD.is_in(data)
}

/// The message with its task under the name that `name` gives; none where it belongs to no task. `within`: `params` of a
/// request or notification, `result` of an answer.
///
/// # Errors
/// A [`Flaw`] where it must not go on.
pub fn rename(data: &[u8], depth: usize, within: &str, name: &mut dyn FnMut(&str) -> Option<String>) -> Result<Option<Vec<u8>>, Flaw> {
    let text = std::str::from_utf8(data).map_err(|_| Flaw::Unreadable)?;
    let mut scanner = Scanner::new(text, depth);
    let mut found = Found::default();
    found.message(&mut scanner, within).and_then(|()| scanner.end()).map_err(|_| Flaw::Unreadable)?;
    if found.strange || scanner.duplicate() {
        return Err(Flaw::Unreadable);
    }
    match found.task {
        None if found.other => Err(Flaw::Unknown),
        None => Ok(None),
        Some((place, id)) => {
            let named = name(&id).and_then(|named| serde_json::to_string(&named).ok()).ok_or(Flaw::Unknown)?;
            Ok(Some(rewrite(text, &[(place, named)]).into_bytes()))
        }
    }
}

#[derive(Default)]
struct Found<'a> {
    task: Option<(Range<usize>, Cow<'a, str>)>,
    /// The id is something else than a text.
    other: bool,
    /// Another parser would find something else.
    strange: bool,
}

impl<'a> Found<'a> {
    fn message(&mut self, scanner: &mut Scanner<'a>, within: &str) -> Result<(), Fault> {
        self.member(scanner, within, &mut |found, scanner| {
            found.member(scanner, "_meta", &mut |found, scanner| {
                found.member(scanner, RELATED, &mut |found, scanner| found.related(scanner))
            })
        })
    }

    /// Looks into one member of an object, where that is an object too.
    fn member(
        &mut self,
        scanner: &mut Scanner<'a>,
        wanted: &str,
        look: &mut dyn FnMut(&mut Self, &mut Scanner<'a>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        scanner.object(|scanner, name| {
            if name == wanted && scanner.peek()? == b'{' {
                return look(self, scanner);
            }
            self.strange |= is_variant(name, &[wanted]);
            scanner.skip()
        })
    }

    fn related(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        scanner.object(|scanner, name| {
            if name != "taskId" {
                self.strange |= is_variant(name, &["taskId"]);
                return scanner.skip();
            }
            if scanner.peek()? != b'"' {
                self.other |= scanner.raw()? != "null";
                return Ok(());
            }
            let from = scanner.at();
            let id = scanner.string()?;
            self.task = Some((from..scanner.at(), id));
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(data: &str, within: &str) -> Result<Option<String>, Flaw> {
        let named = rename(data.as_bytes(), 16, within, &mut |id| (id != "foreign").then(|| format!("<{id}>")))?;
        Ok(named.map(|data| String::from_utf8(data).expect("text")))
    }

    #[test]
    fn item_88_the_task_of_a_message_gets_another_name_and_nothing_else_changes() {
        let data = |task: &str| {
            format!(
                r#"{{ "method":"x","params":{{"taskId":"7","_meta":{{"a":[1],"io.modelcontextprotocol/related-task" : {{"x":1,"taskId": "{task}"}} }} }},"id":1}}"#
            )
        };
        assert!(may_belong(data("7").as_bytes()));
        assert_eq!(renamed(&data("7"), "params"), Ok(Some(data("<7>"))));
        assert_eq!(renamed(&data("foreign"), "params"), Err(Flaw::Unknown));
        assert_eq!(renamed(&data("7"), "result"), Ok(None));
        let answer = data("7").replace("params", "result");
        assert_eq!(renamed(&answer, "result"), Ok(Some(answer.replace(r#""taskId": "7""#, r#""taskId": "<7>""#))));
        let escaped = data("7").replace("related-task", r"related\u002dtask").replace("task/", r"task\/");
        assert!(renamed(&escaped, "params").is_ok_and(|named| named.is_some_and(|named| named.contains("<7>"))));
    }

    #[test]
    fn what_belongs_to_no_task_has_no_name() {
        for data in [
            "{}",
            r#"{"params":[1]}"#,
            r#"{"params":{"_meta":3}}"#,
            r#"{"params":{"_meta":{"io.modelcontextprotocol/related-task":"7"}}}"#,
            r#"{"params":{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":null}}}}"#,
            r#"{"params":{"x":{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"foreign"}}}}}"#,
        ] {
            assert_eq!(renamed(data, "params"), Ok(None), "{data}");
        }
    }

    #[test]
    fn what_another_parser_would_read_otherwise_does_not_go_on() {
        let related = r#"{"io.modelcontextprotocol/related-task":{"taskId":"7"}}"#;
        for data in [
            format!(r#"{{"params":{{"_Meta":{related}}}}}"#),
            format!(r#"{{"Params":{{"_meta":{related}}}}}"#),
            format!(r#"{{"params":{{"_meta":{}}}}}"#, related.replace("related", "Related")),
            format!(r#"{{"params":{{"_meta":{}}}}}"#, related.replace("taskId", "taskid")),
            format!(r#"{{"params":{{"_meta":{related},"_meta":{{}}}}}}"#),
            format!(r#"[{{"params":{{"_meta":{related}}}}}]"#),
            format!(r#"{{"params":{{"_meta":{related}}}"#),
        ] {
            assert_eq!(renamed(&data, "params"), Err(Flaw::Unreadable), "{data}");
        }
        let number = format!(r#"{{"params":{{"_meta":{}}}}}"#, related.replace(r#""7""#, "7"));
        assert_eq!(renamed(&number, "params"), Err(Flaw::Unknown));
    }
}
