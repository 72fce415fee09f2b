//! Requests that go the other way: from a server to its client on a stream, and the client's answers
//! (MCP 2025-03-26 to 2025-11-25, sampling, elicitation, roots). The id of such a request is given
//! another name on its way to the client, so that only who was asked can answer. Knows no keys.

use std::borrow::Cow;
use std::ops::Range;

use super::ask::{Ask, member_sends_to_page};
use super::json::{Fault, Scanner, is_variant};
use super::listing::{Unreadable, may_hold_method};
use super::sse::Verdict;

const MESSAGE: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];
const CANCELLED: &str = "notifications/cancelled";
const UPDATED: &str = "notifications/resources/updated";

/// A server's message that names a request of its own, with the id as JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told<'a> {
    Request(Ask, &'a str),
    /// It takes the request back.
    Cancelled(&'a str),
    /// No request: a resource has changed. None where it is not named in one way.
    Updated(Option<&'a str>),
}

/// What becomes of such a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on, with another id as JSON text.
    As(String),
    /// It goes on as it is, as far as this room is concerned.
    Unchanged,
    Dropped,
    Unreadable,
}

/// A message that reports on a request and can do nothing else: the most frequent on any stream, and read only this once.
pub fn is_report(data: &[u8], depth: usize) -> bool {
    let Some(text) = may_hold_method(data).then(|| std::str::from_utf8(data).ok()).flatten() else { return false };
    let mut found = Envelope::default();
    matches!(found.read(text, depth), Ok(true))
        && found.id.is_none()
        && found.answers == 0
        && matches!(found.method.as_deref(), Some("notifications/progress" | "notifications/message"))
}

/// Judges a server's request, its cancellation of one, and what tells of a resource. None for what is none of these.
pub fn judge(data: &[u8], depth: usize, fate: &mut dyn FnMut(Told<'_>) -> Fate) -> Option<Verdict> {
    if !may_hold_method(data) {
        return None;
    }
    match read(data, depth, fate) {
        Ok(verdict) => verdict,
        Err(Unreadable) => Some(Verdict::Unreadable),
    }
}

fn read(data: &[u8], depth: usize, fate: &mut dyn FnMut(Told<'_>) -> Fate) -> Result<Option<Verdict>, Unreadable> {
    let text = std::str::from_utf8(data).map_err(|_| Unreadable)?;
    let mut found = Envelope::default();
    if !found.read(text, depth).map_err(|_| Unreadable)? {
        return Err(Unreadable);
    }
    let Some(method) = found.method else { return Ok(None) };
    // SECURITY: what is an answer too would be taken for one or the other.
    if found.answers > 0 {
        return Err(Unreadable);
    }
    if found.id.is_none() && method == UPDATED {
        let uri = found.uri.as_deref().filter(|_| !found.other_uri);
        return Ok(match fate(Told::Updated(uri)) {
            Fate::As(_) | Fate::Unchanged => None,
            Fate::Dropped => Some(Verdict::Drop),
            Fate::Unreadable => Some(Verdict::Unreadable),
        });
    }
    let (place, is_request) = match (found.id, found.cancelled) {
        (Some(id), _) => (id, true),
        (None, Some(id)) if method == CANCELLED => (id, false),
        _ => return Ok(None),
    };
    let id = text.get(place.clone()).ok_or(Unreadable)?;
    let told = if is_request { Told::Request(Ask::of(&method, found.page), id) } else { Told::Cancelled(id) };
    Ok(match fate(told) {
        Fate::As(named) => Some(Verdict::Replace(splice(text, place, &named))),
        Fate::Unchanged => None,
        Fate::Dropped => Some(Verdict::Drop),
        Fate::Unreadable => Some(Verdict::Unreadable),
    })
}

/// The id that a server's message answers, as JSON text; none where it is no answer.
pub fn answered(data: &[u8], depth: usize) -> Result<Option<&str>, Unreadable> {
    let text = std::str::from_utf8(data).map_err(|_| Unreadable)?;
    let mut found = Envelope::default();
    if !found.read(text, depth).map_err(|_| Unreadable)? {
        return Err(Unreadable);
    }
    match (found.method, found.answers, found.id) {
        (None, 1, Some(place)) => Ok(text.get(place)),
        (Some(_), 0, _) => Ok(None),
        _ => Err(Unreadable),
    }
}

/// A client's answer to a server's request.
#[derive(Debug)]
pub struct Answer<'a> {
    text: &'a str,
    /// The id that it names.
    pub id: Cow<'a, str>,
    place: Range<usize>,
}

impl<'a> Answer<'a> {
    /// A lawful response object whose id is a string, as all that [`judge`] gives are.
    pub fn read(body: &'a [u8], depth: usize) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let mut found = Envelope::default();
        if !found.read(text, depth).ok()? || found.method.is_some() || found.answers != 1 || !found.version {
            return None;
        }
        let place = found.id?;
        let mut scanner = Scanner::new(text.get(place.clone())?, 1);
        let id = scanner.string().ok()?;
        Some(Self { text, id, place })
    }

    /// The same answer, to the id that the server knows.
    pub fn to(&self, id: &str) -> Vec<u8> {
        splice(self.text, self.place.clone(), id)
    }
}

fn splice(text: &str, place: Range<usize>, with: &str) -> Vec<u8> {
    let (before, after) = (text.get(..place.start).unwrap_or_default(), text.get(place.end..).unwrap_or_default());
    [before, with, after].concat().into_bytes()
}

/// The outermost members of a message.
#[derive(Default)]
struct Envelope<'a> {
    version: bool,
    method: Option<Cow<'a, str>>,
    id: Option<Range<usize>>,
    /// `params.requestId`.
    cancelled: Option<Range<usize>>,
    /// `params.uri`.
    uri: Option<Cow<'a, str>>,
    /// It is there in another form, or in another spelling.
    other_uri: bool,
    /// `params` would send a user to a page.
    page: bool,
    answers: usize,
    strange: bool,
}

impl<'a> Envelope<'a> {
    /// Whether the text is one object that every parser reads alike.
    fn read(&mut self, text: &'a str, depth: usize) -> Result<bool, Fault> {
        let mut scanner = Scanner::new(text, depth);
        if scanner.peek()? != b'{' {
            return Ok(false);
        }
        scanner.object(|scanner, name| {
            match name {
                "jsonrpc" => self.version = scanner.raw()? == r#""2.0""#,
                "id" => self.id = Some(place(scanner)?),
                "method" if scanner.peek()? == b'"' => self.method = Some(scanner.string()?),
                "params" if scanner.peek()? == b'{' => return self.params(scanner),
                "result" | "error" => {
                    self.answers += 1;
                    scanner.skip()?;
                }
                other => {
                    self.strange |= other == "method" || is_variant(other, MESSAGE);
                    scanner.skip()?;
                }
            }
            Ok(())
        })?;
        scanner.end()?;
        Ok(!self.strange && !scanner.duplicate())
    }

    fn params(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        scanner.object(|scanner, name| match name {
            "requestId" => {
                self.cancelled = Some(place(scanner)?);
                Ok(())
            }
            "uri" if scanner.peek()? == b'"' => {
                self.uri = Some(scanner.string()?);
                Ok(())
            }
            _ => {
                self.other_uri |= name == "uri" || is_variant(name, &["uri"]);
                self.page |= member_sends_to_page(scanner, name)?;
                Ok(())
            }
        })
    }
}

fn place(scanner: &mut Scanner<'_>) -> Result<Range<usize>, Fault> {
    let length = scanner.raw()?.len();
    Ok(scanner.at() - length..scanner.at())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(data: &str) -> Result<Option<String>, Unreadable> {
        let mut fate = |told: Told<'_>| match told {
            Told::Updated(_) => Fate::Unchanged,
            Told::Request(_, id) | Told::Cancelled(id) => Fate::As(format!("\"x{}\"", id.replace('"', "'"))),
        };
        match judge(data.as_bytes(), 32, &mut fate) {
            None => Ok(None),
            Some(Verdict::Replace(bytes)) => Ok(Some(String::from_utf8(bytes).expect("text"))),
            Some(_) => Err(Unreadable),
        }
    }

    #[test]
    fn only_a_report_that_reads_one_way_is_one() {
        let report = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":2}}"#;
        assert!(is_report(report.as_bytes(), 64));
        for other in [
            report.replace("progress\",", "cancelled\","),
            report.replace(r#""params""#, r#""id":1,"params""#),
            report.replace(r#""params""#, r#""result":{},"params""#),
            report.replace(r#""params""#, r#""method":"ping","params""#),
            report.replace("notifications/progress", "notifications/resources/updated"),
            format!("[{report}]"),
            format!("{report} x"),
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_owned(),
        ] {
            assert!(!is_report(other.as_bytes(), 64), "{other}");
        }
    }

    #[test]
    fn a_request_is_told_by_its_kind_and_may_be_dropped() {
        let mut kinds = Vec::new();
        for (method, params) in [
            ("elicitation/create", r#"{"message":"m"}"#),
            ("elicitation/create", r#"{"mode":"url"}"#),
            ("sampling/createMessage", "{}"),
            ("roots/list", "[1]"),
            ("tasks/get", "{}"),
        ] {
            let data = format!(r#"{{"params":{params},"id":"7","method":"{method}"}}"#);
            let verdict = judge(data.as_bytes(), 32, &mut |told| {
                let Told::Request(ask, r#""7""#) = told else { panic!("{told:?}") };
                kinds.push(ask);
                Fate::Dropped
            });
            assert_eq!(verdict, Some(Verdict::Drop));
        }
        assert_eq!(kinds, [Ask::Elicitation, Ask::ElicitationUrl, Ask::Sampling, Ask::Roots, Ask::Other]);
    }

    #[test]
    fn a_servers_request_gets_another_id_and_nothing_else_changes() {
        let asked = r#"{"jsonrpc":"2.0", "id" : 7 ,"method":"sampling/createMessage","params":{"id":1}}"#;
        let told = r#"{"jsonrpc":"2.0", "id" : "x7" ,"method":"sampling/createMessage","params":{"id":1}}"#;
        assert_eq!(renamed(asked), Ok(Some(told.into())));
        assert_eq!(renamed(r#"{"id":"a","m\u0065thod":"ping"}"#), Ok(Some(r#"{"id":"x'a'","m\u0065thod":"ping"}"#.into())));
    }

    #[test]
    fn a_cancellation_names_the_request_as_the_client_knows_it() {
        let told = renamed(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7,"reason":"r"}}"#);
        assert_eq!(
            told,
            Ok(Some(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"x7","reason":"r"}}"#.into()))
        );
    }

    #[test]
    fn a_changed_resource_is_told_by_its_one_uri() {
        for (params, uri) in [
            (r#"{"uri":"file:///a"}"#, Some("file:///a")),
            (r#"{"\u0075ri":"file:///\u0061"}"#, Some("file:///a")),
            (r#"{"uri":"file:///a","URI":"file:///b"}"#, None),
            (r#"{"uRi":"file:///b"}"#, None),
            (r#"{"uri":["file:///a"]}"#, None),
            ("{}", None),
            ("3", None),
        ] {
            let data = format!(r#"{{"params":{params},"method":"notifications/resources/updated"}}"#);
            let verdict = judge(data.as_bytes(), 32, &mut |told| {
                assert_eq!(told, Told::Updated(uri), "{params}");
                Fate::Dropped
            });
            assert_eq!(verdict, Some(Verdict::Drop), "{params}");
        }
    }

    #[test]
    fn results_and_other_notifications_stay_as_they_are() {
        for data in [
            r#"{"jsonrpc":"2.0","id":7,"result":{"method":1}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"requestId":7}}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{}}"#,
        ] {
            assert_eq!(renamed(data), Ok(None), "{data}");
        }
    }

    #[test]
    fn what_has_two_readings_is_not_passed() {
        for data in [
            r#"{"id":7,"id":8,"method":"ping"}"#,
            r#"{"id":7,"Method":"x","method":"ping"}"#,
            r#"{"id":7,"method":"ping""#,
            r#"[{"id":7,"method":"ping"}]"#,
            r#"{"id":7,"method":["ping"]}"#,
            r#"{"id":7,"method":"ping","result":{}}"#,
        ] {
            assert_eq!(renamed(data), Err(Unreadable), "{data}");
        }
    }

    #[test]
    fn an_answer_gives_its_id_back() {
        let body = br#"{"jsonrpc":"2.0","id":"t.7","result":{"id":"t.7"}}"#;
        let answer = Answer::read(body, 32).expect("an answer");
        assert_eq!(answer.id, "t.7");
        assert_eq!(answer.to("7"), br#"{"jsonrpc":"2.0","id":7,"result":{"id":"t.7"}}"#);
    }

    #[test]
    fn what_is_no_lawful_answer_is_none() {
        for body in [
            r#"{"jsonrpc":"2.0","id":7,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":"a","result":{},"error":{}}"#,
            r#"{"jsonrpc":"2.0","id":"a"}"#,
            r#"{"id":"a","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":"a","id":"b","result":{}}"#,
            r#"[{"jsonrpc":"2.0","id":"a","result":{}}]"#,
            r#"{"jsonrpc":"2.0","result":{}}"#,
        ] {
            assert!(Answer::read(body.as_bytes(), 32).is_none(), "{body}");
        }
    }
}
