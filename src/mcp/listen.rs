//! What may a subscription tell (MCP 2026-07-28 "subscriptions/listen")? A request is narrowed to the resources that its caller
//! may read, and so is what its stream says. Tasks are never granted: clients poll (SEP-2663 "Notifications" are optional).
//! Knows no rules: the caller says what is readable.

use std::borrow::Cow;
use std::ops::Range;

use super::introduction::Told;
use super::json::{Fault, Scanner, is_variant};
use super::listing::may_hold_method;
use super::result::rewrite;
use super::sse::Verdict;

const MESSAGE: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];
const PARAMS: &[&str] = &["uri", "notifications"];
const NOTIFICATIONS: &[&str] = &["resourceSubscriptions", "taskIds", "toolsListChanged", "promptsListChanged", "resourcesListChanged"];
const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
const UPDATED: &str = "notifications/resources/updated";

/// Whether a listen request, read before, asks for the changes of any list.
pub fn asks_for_lists(body: &[u8], depth: usize) -> bool {
    let mut all = |_: &str| true;
    let mut heard = Heard::new(&mut all);
    std::str::from_utf8(body).is_ok_and(|text| heard.read(text, depth).is_ok()) && !heard.lists.is_empty()
}

/// A listen request without tasks and without the resources that `keeps` does not keep; the rest stays byte for byte. None where nothing goes.
pub fn narrow(body: &[u8], depth: usize, keeps: &mut dyn FnMut(&str) -> bool) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok()?;
    let mut heard = Heard::new(keeps);
    heard.read(text, depth).ok()?;
    (heard.gone > 0).then(|| heard.without(text)).flatten()
}

/// Judges an event of a modern stream. The acknowledgement names only what was `granted`, and no task; an update of a resource that is not
/// `readable` goes (a server may tell of a part of what was subscribed to). None for everything else. `told` becomes the
/// changes of lists that the server acknowledges.
pub fn judge_event(
    data: &[u8],
    depth: usize,
    granted: &mut dyn FnMut(&str) -> bool,
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
        Some(ACKNOWLEDGED) if heard.gone > 0 => Some(heard.without(text).map_or(Verdict::Unreadable, Verdict::Replace)),
        Some(UPDATED) if !heard.uri.as_deref().is_some_and(readable) => Some(Verdict::Drop),
        _ => None,
    }
}

/// The members of a request, an acknowledgement or an update that matter here.
struct Heard<'a, 'k> {
    keeps: &'k mut dyn FnMut(&str) -> bool,
    method: Option<Cow<'a, str>>,
    uri: Option<Cow<'a, str>>,
    /// Where the list of resources stands, and the items that stay as they are written.
    place: Option<Range<usize>>,
    kept: Vec<&'a str>,
    /// Where the list of tasks stands.
    tasks: Option<Range<usize>>,
    gone: usize,
    lists: Told,
    /// Something that has more than one reading, in every message and in these.
    strange: bool,
    unclear: bool,
}

impl<'a, 'k> Heard<'a, 'k> {
    fn new(keeps: &'k mut dyn FnMut(&str) -> bool) -> Self {
        Self {
            keeps,
            method: None,
            uri: None,
            place: None,
            kept: Vec::new(),
            tasks: None,
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
            "params" if scanner.peek()? == b'{' => self.params(scanner),
            other => {
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
            "taskIds" => {
                scanner.peek()?;
                let from = scanner.at();
                let none = scanner.raw()?.trim_start_matches(['[', ' ', '\t', '\r', '\n']).starts_with(']');
                self.tasks = Some(from..scanner.at());
                self.gone += usize::from(!none);
                Ok(())
            }
            "toolsListChanged" => is_true(scanner, &mut self.lists.tools),
            "promptsListChanged" => is_true(scanner, &mut self.lists.prompts),
            "resourcesListChanged" => is_true(scanner, &mut self.lists.resources),
            other => {
                self.unclear |= is_variant(other, NOTIFICATIONS);
                scanner.skip()
            }
        })
    }

    fn resources(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        let from = scanner.at();
        scanner.array(|scanner| {
            let text = scanner.peek()? == b'"';
            let from = scanner.at();
            let kept = if text {
                let uri = scanner.string()?;
                (self.keeps)(&uri)
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
        let tasks = self.tasks.clone().map(|place| (place, "[]".to_owned()));
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

    fn judged(data: &str) -> Option<Verdict> {
        judge_event(data.as_bytes(), 64, &mut |uri| uri == "pub:a", &mut public, &mut Told::default())
    }

    #[test]
    fn a_request_is_narrowed_and_the_rest_stays_byte_for_byte() {
        let body = r#"{ "id":1.0e0, "params" : {"x":[ 1 ],"notifications":{"resourceSubscriptions" : [ "priv:b", "p\u0075b:a" , "pub:c","x"],"toolsListChanged": false}} }"#;
        let narrowed = r#"{ "id":1.0e0, "params" : {"x":[ 1 ],"notifications":{"resourceSubscriptions" : ["p\u0075b:a","pub:c"],"toolsListChanged": false}} }"#;
        assert_eq!(narrow(body.as_bytes(), 64, &mut public).map(|body| String::from_utf8(body).expect("text")).as_deref(), Some(narrowed));
        assert_eq!(narrow(narrowed.as_bytes(), 64, &mut public), None);
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
    fn item_91_tasks_are_taken_out_of_a_request_and_out_of_its_acknowledgement() {
        let body = |tasks: &str| {
            format!(
                r#"{{"id":1,"params":{{"notifications":{{"taskIds":{tasks},"toolsListChanged":true,"resourceSubscriptions":["pub:a"]}}}}}}"#
            )
        };
        for tasks in [r#"["1","2"]"#, r#"[ "1" ]"#, r#"{"1":2}"#] {
            assert_eq!(narrow(body(tasks).as_bytes(), 64, &mut public), Some(body("[]").into_bytes()), "{tasks}");
        }
        assert_eq!(narrow(body("[ ]").as_bytes(), 64, &mut public), None);
        let ack = |tasks: &str| {
            format!(r#"{{"method":"notifications/subscriptions/acknowledged","params":{{"notifications":{{"taskIds":{tasks}}}}}}}"#)
        };
        assert_eq!(judged(&ack(r#"["1"]"#)), Some(Verdict::Replace(ack("[]").into_bytes())));
        assert_eq!(judged(&ack(r#"["1"]"#).replace("taskIds", "TaskIds")), Some(Verdict::Unreadable));
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
