//! What may a subscription tell (MCP 2026-07-28 "subscriptions/listen")? A request is narrowed to the resources that its caller
//! may read and the tasks that are its own, and so is what its stream says (SEP-2663 "Notifications"). Knows no rules: the caller
//! says what is readable, and which tasks are whose.

use std::borrow::Cow;
use std::ops::Range;

use super::introduction::Told;
use super::json::{Fault, Scanner, is_variant};
use super::listing::{Unreadable, may_hold_method};
use super::result::rewrite;
use super::sse::Verdict;

const MESSAGE: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];
const PARAMS: &[&str] = &["uri", "notifications", "taskId"];
const NOTIFICATIONS: &[&str] = &["resourceSubscriptions", "taskIds", "toolsListChanged", "promptsListChanged", "resourcesListChanged"];
const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
const UPDATED: &str = "notifications/resources/updated";
const TASK: &str = "notifications/tasks";

/// Who says what of a subscription remains.
pub struct Keeps<'k> {
    /// Whether a resource does.
    pub resource: &'k mut dyn FnMut(&str) -> bool,
    /// The name of a task on the other side; none for one that goes.
    pub task: &'k mut dyn FnMut(&str) -> Option<String>,
}

/// A request as it goes on.
#[derive(Debug, PartialEq, Eq)]
pub struct Narrowed {
    pub body: Vec<u8>,
    /// Something was taken out.
    pub less: bool,
}

/// Whether a listen request, read before, asks for the changes of any list.
pub fn asks_for_lists(body: &[u8], depth: usize) -> bool {
    let (mut resource, mut task) = (|_: &str| true, |_: &str| None);
    let mut heard = Heard::new(Keeps { resource: &mut resource, task: &mut task });
    std::str::from_utf8(body).is_ok_and(|text| heard.read(text, depth).is_ok()) && !heard.lists.is_empty()
}

/// A listen request without the tasks and resources that go, and with the tasks that stay under their other names; the rest stays byte for
/// byte. None where nothing changes.
pub fn narrow(body: &[u8], depth: usize, keeps: Keeps<'_>) -> Option<Narrowed> {
    let text = std::str::from_utf8(body).ok()?;
    let mut heard = Heard::new(keeps);
    heard.read(text, depth).ok()?;
    let body = heard.changes().then(|| heard.without(text)).flatten()?;
    Some(Narrowed { body, less: heard.gone > 0 })
}

/// The task that a notification of the newer design tells of, and where its `params` stand; none for any other message.
///
/// # Errors
/// [`Unreadable`] where it has more than one reading.
pub fn told_of(data: &[u8], depth: usize) -> Result<Option<(String, Range<usize>)>, Unreadable> {
    let text = std::str::from_utf8(data).map_err(|_| Unreadable)?;
    let (mut resource, mut task) = (|_: &str| false, |_: &str| None);
    let mut heard = Heard::new(Keeps { resource: &mut resource, task: &mut task });
    if heard.read(text, depth).is_err() || heard.strange {
        return Err(Unreadable);
    }
    match (heard.method.as_deref(), heard.answers, heard.task, heard.params) {
        (Some(TASK), false, Some(task), Some(params)) if !heard.unclear => Ok(Some((task.into_owned(), params))),
        _ => Ok(None),
    }
}

/// Judges an event of a modern stream. The acknowledgement names only what was `granted`, as the client knows it; an update of a resource that is not
/// `readable` goes (a server may tell of a part of what was subscribed to). None for everything else. `told` becomes the
/// changes of lists that the server acknowledges.
pub fn judge_event(
    data: &[u8],
    depth: usize,
    granted: Keeps<'_>,
    readable: &mut dyn FnMut(&str) -> bool,
    told: &mut Told,
) -> Option<Verdict> {
    if !may_hold_method(data) {
        return None;
    }
    let Ok(text) = std::str::from_utf8(data) else { return Some(Verdict::Unreadable) };
    let mut heard = Heard::new(granted);
    if heard.read(text, depth).is_err() || heard.strange {
        return Some(Verdict::Unreadable);
    }
    if !matches!(heard.method.as_deref(), Some(ACKNOWLEDGED | UPDATED)) {
        return None;
    }
    if heard.unclear {
        return Some(Verdict::Unreadable);
    }
    if heard.method.as_deref() == Some(ACKNOWLEDGED) {
        *told = heard.lists;
    }
    match heard.method.as_deref() {
        Some(ACKNOWLEDGED) if heard.changes() => Some(heard.without(text).map_or(Verdict::Unreadable, Verdict::Replace)),
        Some(UPDATED) if !heard.uri.as_deref().is_some_and(readable) => Some(Verdict::Drop),
        _ => None,
    }
}

/// The members of a request, an acknowledgement or an update that matter here.
struct Heard<'a, 'k> {
    keeps: Keeps<'k>,
    method: Option<Cow<'a, str>>,
    /// There is a `result`, an `error` or an `id`.
    answers: bool,
    params: Option<Range<usize>>,
    uri: Option<Cow<'a, str>>,
    /// `params.taskId`.
    task: Option<Cow<'a, str>>,
    /// Where the list of resources stands, and the items that stay as they are written.
    place: Option<Range<usize>>,
    kept: Vec<&'a str>,
    /// Where the list of tasks stands, and the items that stay, under their other names.
    tasks: Option<Range<usize>>,
    named: Vec<String>,
    gone: usize,
    lists: Told,
    /// Something that has more than one reading, in every message and in these.
    strange: bool,
    unclear: bool,
}

impl<'a, 'k> Heard<'a, 'k> {
    fn new(keeps: Keeps<'k>) -> Self {
        Self {
            keeps,
            method: None,
            answers: false,
            params: None,
            uri: None,
            task: None,
            place: None,
            kept: Vec::new(),
            tasks: None,
            named: Vec::new(),
            gone: 0,
            lists: Told::default(),
            strange: false,
            unclear: false,
        }
    }

    fn read(&mut self, text: &'a str, depth: usize) -> Result<(), Fault> {
        let mut scanner = Scanner::new(text, depth);
        scanner.object(|scanner, name| match name {
            "method" if scanner.peek()? == b'"' => {
                self.method = Some(scanner.string()?);
                Ok(())
            }
            "params" if scanner.peek()? == b'{' => {
                let from = scanner.at();
                self.params(scanner)?;
                self.params = Some(from..scanner.at());
                Ok(())
            }
            other => {
                self.answers |= matches!(other, "id" | "result" | "error");
                self.strange |= other == "method" || is_variant(other, MESSAGE);
                scanner.skip()
            }
        })?;
        self.strange |= scanner.duplicate();
        scanner.end()
    }

    fn params(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        scanner.object(|scanner, name| match name {
            "uri" if scanner.peek()? == b'"' => {
                self.uri = Some(scanner.string()?);
                Ok(())
            }
            "taskId" if scanner.peek()? == b'"' => {
                self.task = Some(scanner.string()?);
                Ok(())
            }
            "notifications" if scanner.peek()? == b'{' => self.notifications(scanner),
            other => {
                self.unclear |= is_variant(other, PARAMS);
                scanner.skip()
            }
        })
    }

    fn notifications(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        scanner.object(|scanner, name| match name {
            "resourceSubscriptions" if scanner.peek()? == b'[' => self.resources(scanner),
            "taskIds" => self.tasks(scanner),
            "toolsListChanged" => is_true(scanner, &mut self.lists.tools),
            "promptsListChanged" => is_true(scanner, &mut self.lists.prompts),
            "resourcesListChanged" => is_true(scanner, &mut self.lists.resources),
            other => {
                self.unclear |= is_variant(other, NOTIFICATIONS);
                scanner.skip()
            }
        })
    }

    fn tasks(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        let array = scanner.peek()? == b'[';
        let from = scanner.at();
        let item = |scanner: &mut Scanner<'a>| {
            let named = match scanner.peek()? {
                b'"' => (self.keeps.task)(&scanner.string()?).and_then(|named| serde_json::to_string(&named).ok()),
                _ => scanner.skip().map(|()| None)?,
            };
            self.gone += usize::from(named.is_none());
            self.named.extend(named);
            Ok(())
        };
        if array {
            scanner.array(item)?;
        } else {
            scanner.skip()?;
            self.gone += 1;
        }
        self.tasks = Some(from..scanner.at());
        Ok(())
    }

    fn changes(&self) -> bool {
        self.gone > 0 || !self.named.is_empty()
    }

    fn resources(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        let from = scanner.at();
        scanner.array(|scanner| {
            let text = scanner.peek()? == b'"';
            let from = scanner.at();
            let kept = if text {
                let uri = scanner.string()?;
                (self.keeps.resource)(&uri)
            } else {
                scanner.skip()?;
                false
            };
            if kept {
                self.kept.push(scanner.between(from, scanner.at()));
            } else {
                self.gone += 1;
            }
            Ok(())
        })?;
        self.place = Some(from..scanner.at());
        Ok(())
    }

    fn without(&self, text: &str) -> Option<Vec<u8>> {
        let resources = self.place.clone().map(|place| (place, format!("[{}]", self.kept.join(","))));
        let tasks = self.tasks.clone().map(|place| (place, format!("[{}]", self.named.join(","))));
        let mut edits: Vec<_> = resources.into_iter().chain(tasks).collect();
        edits.sort_unstable_by_key(|(place, _)| place.start);
        (!edits.is_empty()).then(|| rewrite(text, &edits).into_bytes())
    }
}

fn is_true(scanner: &mut Scanner<'_>, flag: &mut bool) -> Result<(), Fault> {
    *flag = scanner.raw()? == "true";
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(uri: &str) -> bool {
        uri.starts_with("pub:")
    }

    /// Tasks of the caller's own begin with `own`.
    fn renamed(task: &str) -> Option<String> {
        task.strip_prefix("own").map(str::to_owned)
    }

    fn judged(data: &str) -> Option<Verdict> {
        let granted = Keeps { resource: &mut |uri| uri == "pub:a", task: &mut renamed };
        judge_event(data.as_bytes(), 64, granted, &mut public, &mut Told::default())
    }

    fn narrowed(body: &str) -> Option<(String, bool)> {
        let narrowed = narrow(body.as_bytes(), 64, Keeps { resource: &mut public, task: &mut renamed })?;
        Some((String::from_utf8(narrowed.body).expect("text"), narrowed.less))
    }

    #[test]
    fn a_request_is_narrowed_and_the_rest_stays_byte_for_byte() {
        let body = r#"{ "id":1.0e0, "params" : {"x":[ 1 ],"notifications":{"resourceSubscriptions" : [ "priv:b", "p\u0075b:a" , "pub:c","x"],"toolsListChanged": false}} }"#;
        let narrowed = r#"{ "id":1.0e0, "params" : {"x":[ 1 ],"notifications":{"resourceSubscriptions" : ["p\u0075b:a","pub:c"],"toolsListChanged": false}} }"#;
        assert_eq!(self::narrowed(body), Some((narrowed.to_owned(), true)));
        assert_eq!(self::narrowed(narrowed), None);
        assert!(!asks_for_lists(body.as_bytes(), 64));
        assert!(asks_for_lists(body.replace("false", "true").as_bytes(), 64));
    }

    #[test]
    fn an_acknowledgement_names_what_was_granted_and_keeps_its_subscription() {
        let ack = |uris: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":1}},"notifications":{{"resourceSubscriptions":{uris}}}}}}}"#
            )
        };
        assert_eq!(judged(&ack(r#"["pub:a"]"#)), None);
        assert_eq!(judged(&ack(r#"["pub:a","priv:b","pub:c"]"#)), Some(Verdict::Replace(ack(r#"["pub:a"]"#).into_bytes())));
    }

    #[test]
    fn item_91_tasks_of_others_are_taken_out_of_a_request_and_out_of_its_acknowledgement() {
        let body = |tasks: &str| {
            format!(
                r#"{{"id":1,"params":{{"notifications":{{"taskIds":{tasks},"toolsListChanged":true,"resourceSubscriptions":["pub:a"]}}}}}}"#
            )
        };
        for tasks in [r#"["1","2"]"#, r#"[ "1" ]"#, r#"{"1":2}"#] {
            assert_eq!(narrowed(&body(tasks)), Some((body("[]"), true)), "{tasks}");
        }
        assert_eq!(narrowed(&body("[ ]")), None);
        assert_eq!(narrowed(&body(r#"["own1", "2", "\u006fwn3"]"#)), Some((body(r#"["1","3"]"#), true)));
        assert_eq!(narrowed(&body(r#"["own1"]"#)), Some((body(r#"["1"]"#), false)));
        let ack = |tasks: &str| {
            format!(r#"{{"method":"notifications/subscriptions/acknowledged","params":{{"notifications":{{"taskIds":{tasks}}}}}}}"#)
        };
        assert_eq!(judged(&ack(r#"["1"]"#)), Some(Verdict::Replace(ack("[]").into_bytes())));
        assert_eq!(judged(&ack(r#"["own1","2"]"#)), Some(Verdict::Replace(ack(r#"["1"]"#).into_bytes())));
        assert_eq!(judged(&ack(r#"["1"]"#).replace("taskIds", "TaskIds")), Some(Verdict::Unreadable));
    }

    #[test]
    fn item_91_a_notification_tells_of_one_task() {
        let told = |data: &str| {
            told_of(data.as_bytes(), 64).map(|told| told.map(|(task, place)| (task, data.get(place).expect("in it").to_owned())))
        };
        let params = r#"{"taskId":"7","result":{"taskId":"8"}}"#;
        assert_eq!(told(&format!(r#"{{"params":{params},"method":"notifications/t\u0061sks"}}"#)), Ok(Some(("7".into(), params.into()))));
        for other in [
            format!(r#"{{"params":{params},"method":"notifications/tasks/status"}}"#),
            format!(r#"{{"params":{params},"method":"notifications/tasks","id":1}}"#),
            format!(r#"{{"params":{params},"method":"notifications/tasks","result":{{}}}}"#),
            r#"{"params":{"taskId":7},"method":"notifications/tasks"}"#.to_owned(),
            r#"{"params":{"taskId":"7","taskID":"8"},"method":"notifications/tasks"}"#.to_owned(),
            r#"{"method":"notifications/tasks"}"#.to_owned(),
        ] {
            assert_eq!(told(&other), Ok(None), "{other}");
        }
        let twice = r#"{"params":{"taskId":"7","taskId":"8"},"method":"notifications/tasks"}"#;
        assert_eq!(told(twice), Err(Unreadable));
    }

    #[test]
    fn an_update_of_what_is_not_readable_goes() {
        let update = |params: &str| format!(r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{params}}}"#);
        assert_eq!(judged(&update(r#"{"uri":"pub:z"}"#)), None);
        for params in [r#"{"uri":"priv:b"}"#, "{}", r#"{"uri":7}"#, "[]"] {
            assert_eq!(judged(&update(params)), Some(Verdict::Drop), "{params}");
        }
        for params in [r#"{"uri":"pub:z","Uri":"priv:b"}"#, r#"{"uri":"pub:z","uri":"priv:b"}"#] {
            assert_eq!(judged(&update(params)), Some(Verdict::Unreadable), "{params}");
        }
        let escaped = r#"{"m\u0065thod":"notifications/resources/\u0075pdated","params":{"uri":"priv:b"}}"#;
        assert_eq!(judged(escaped), Some(Verdict::Drop));
    }

    #[test]
    fn everything_else_is_left_to_others() {
        for data in [r#"{"method":"notifications/tools/list_changed"}"#, r#"{"id":1,"result":{}}"#, r#"{"method":"x","params":{"Uri":1}}"#]
        {
            assert_eq!(judged(data), None, "{data}");
        }
        for data in [r#"{"method":"x""#, r#"["method"]"#, r#"{"Method":"notifications/resources/updated"}"#] {
            assert_eq!(judged(data), Some(Verdict::Unreadable), "{data}");
        }
    }
}
