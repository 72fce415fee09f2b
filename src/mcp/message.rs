//! One JSON-RPC message, read once.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::value::RawValue;

use super::ask::Asks;
use super::draft::{Draft, Field, Ident, Shape, Texts};
use super::headers::Claim;
use super::{Era, Error, Kind, Method, Verb, extension, json};

/// A request id: a string or an integer, kept as the JSON text that the client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id<'a>(pub(super) &'a str);

impl<'a> Id<'a> {
    /// The id as JSON, ready to be put into an answer.
    pub fn as_json(self) -> &'a str {
        self.0
    }
}

/// A named thing that an operation touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing<'a> {
    pub kind: Kind,
    /// The tool's or prompt's name, the resource's URI, the template's URI template.
    pub name: Cow<'a, str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    Nothing,
    One(Thing<'a>),
    /// All must be permitted, or none goes.
    Each(Vec<Thing<'a>>),
}

/// What one message asks for: all that policy looks at.
#[derive(Clone, Debug)]
pub struct Operation<'a> {
    pub method: &'a Method,
    pub target: Target<'a>,
    /// `params.arguments` of a tool call.
    pub arguments: Option<&'a RawValue>,
}

/// What a client is given to bring back as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// `requestState` of a multi round trip (MCP 2026-07-28).
    State,
    /// `cursor` of a list.
    Cursor,
    /// `taskId`.
    Task,
    /// The task that a message belongs to, in its `_meta` (MCP 2025-11-25).
    Related,
}

/// A member of `params` that was given to the client before.
#[derive(Clone, Debug)]
pub struct Returned<'a> {
    pub what: Passed,
    pub text: Cow<'a, str>,
    /// Where it stands in the body, quotes included.
    pub place: Range<usize>,
}

#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// Absent for a notification.
    pub id: Option<Id<'a>>,
    pub era: Era,
    pub operation: Operation<'a>,
    /// W3C trace context from `params._meta.traceparent`, as sent.
    pub traceparent: Option<Cow<'a, str>>,
    /// What comes back in it: states of any method, the cursor of a list, the id of a task.
    pub returned: Vec<Returned<'a>>,
    /// `params.arguments` of any method, as sent; empty without.
    pub arguments: &'a str,
    /// Whether it declares the extension `io.modelcontextprotocol/tasks`.
    pub speaks_tasks: bool,
    /// The tasks that a subscription wants to hear of, as its client knows them.
    pub tasks: Vec<Cow<'a, str>>,
    /// The requests of servers that it says its client can answer (MCP 2026-07-28 `clientCapabilities`); of an older client,
    /// its `initialize` says so.
    pub answers: Asks,
    /// Whether a tool call asks for a task (MCP 2025-11-25).
    pub begins_task: bool,
}

/// Why a message was refused, with what an answer to it can carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    pub error: Error,
    /// The request's id, if it could be read and is of a lawful type.
    pub id: Option<Id<'a>>,
    /// The era the client seems to speak; none if nothing could be read.
    pub era: Option<Era>,
}

impl<'a> Message<'a> {
    /// Reads one message and holds it against what the head claims ([`Claim::agree`] included).
    /// `depth`: how many levels may nest, at most 127.
    ///
    /// The checks come in this order: JSON, ambiguity (members twice or in another case),
    /// JSON-RPC, era and version, method, `params`, headers.
    pub fn parse(body: &'a [u8], claim: &Claim<'_>, depth: usize) -> Result<Self, Failure<'a>> {
        Self::parse_with(body, claim, depth, &[])
    }

    /// The same where the operator names methods of extensions ([`extension::row`]).
    pub fn parse_with(body: &'a [u8], claim: &Claim<'_>, depth: usize, extensions: &'a [Method]) -> Result<Self, Failure<'a>> {
        let mut draft = Draft::default();
        let read = match simdutf8::basic::from_utf8(body) {
            Ok(text) => draft.read(text, depth),
            Err(_) => Err(json::Fault::NotJson),
        };
        let id = match (read, draft.answer, draft.id) {
            // Nothing of a text that is not JSON can be trusted (JSON-RPC 2.0 §5.1).
            (Err(json::Fault::NotJson), ..) => None,
            // The id of a response is the server's, not the client's.
            (_, false, Ident::Valid(id)) => Some(id),
            _ => None,
        };
        let era = apparent_era(&draft, claim, read.is_ok());
        let error = match read {
            Ok(()) => match judge(draft, claim, id, Known { body, extensions }) {
                Ok(message) => return Ok(message),
                Err(error) => error,
            },
            Err(json::Fault::NotJson) => Error::NotJson,
            Err(json::Fault::TooDeep) => Error::TooDeep,
        };
        Err(Failure { error, id, era })
    }
}

/// The era that an answer to a faulty message should be dressed for.
fn apparent_era(draft: &Draft<'_>, claim: &Claim<'_>, readable: bool) -> Option<Era> {
    if draft.looks_modern() {
        return Some(Era::Modern);
    }
    let claimed = claim.version.and_then(Era::of);
    if readable { claimed.or(Some(Era::Legacy)) } else { claimed }
}

/// What most messages need not be held against.
#[derive(Clone, Copy)]
struct Known<'a> {
    body: &'a [u8],
    extensions: &'a [Method],
}

fn judge<'a>(mut draft: Draft<'a>, claim: &Claim<'_>, id: Option<Id<'a>>, known: Known<'a>) -> Result<Message<'a>, Error> {
    let name = method_name(&draft)?;
    let row = Method::find(&name).or_else(|| known.extensions.iter().find(|row| row.name == name));
    let notification = row.map_or(id.is_none(), |row| row.notification);
    if row.is_some() && notification && id.is_some() {
        return Err(Error::NotRequest("a notification has no id"));
    }
    // SECURITY: a call without an id is still a call to servers that do not look.
    if !notification && id.is_none() {
        return Err(Error::NotRequest("a request needs an id"));
    }
    let era = era(&draft, claim, notification)?;
    if era == Era::Modern {
        require_meta(&draft, notification)?;
    }
    let method = row.filter(|row| row.speaks(era)).ok_or(Error::UnknownMethod)?;
    if draft.meta == Shape::Other {
        return Err(Error::Params("`_meta` must be an object"));
    }
    let traceparent = match &draft.traceparent {
        Field::Text(text) => Some(text.clone()),
        Field::Absent | Field::Other => None,
    };
    let returned = returned(&mut draft, method)?;
    let answers = if era == Era::Modern { draft.answers } else { draft.declared };
    let (arguments, speaks_tasks, begins_task) = (draft.arguments_text, draft.speaks_tasks, draft.task);
    let tasks = match &draft.tasks {
        Texts::All(all) if method.verb == Verb::Listen => all.clone(),
        Texts::All(_) | Texts::Absent | Texts::Other => Vec::new(),
    };
    let operation = operation(draft, method, era, known.body)?;
    let message = Message { id, era, operation, traceparent, returned, arguments, speaks_tasks, tasks, answers, begins_task };
    claim.agree(&message)?;
    Ok(message)
}

/// All that JSON-RPC 2.0 asks of a request or notification.
fn method_name<'a>(draft: &Draft<'a>) -> Result<Cow<'a, str>, Error> {
    if draft.array {
        return Err(Error::Batch("batches are not accepted"));
    }
    if !draft.object {
        return Err(Error::NotRequest("the message is not an object"));
    }
    if draft.duplicate {
        return Err(Error::DuplicateMember);
    }
    if draft.variant {
        return Err(Error::VariantMember);
    }
    if !matches!(&draft.jsonrpc, Field::Text(version) if version == "2.0") {
        return Err(Error::NotRequest("`jsonrpc` must be \"2.0\""));
    }
    let method = match (&draft.method, draft.answer) {
        (Field::Absent, true) => return Err(Error::Response),
        (_, true) => return Err(Error::NotRequest("a request has neither result nor error")),
        (Field::Text(method), false) => method.clone(),
        (Field::Absent | Field::Other, false) => return Err(Error::NotRequest("`method` must be a string")),
    };
    if matches!(draft.id, Ident::Other) {
        return Err(Error::NotRequest("`id` must be a string or an integer"));
    }
    if draft.params == Shape::Other {
        return Err(Error::NotRequest("`params` must be an object"));
    }
    Ok(method)
}

/// Which era the message is of; head and body must not tell two stories.
fn era(draft: &Draft<'_>, claim: &Claim<'_>, notification: bool) -> Result<Era, Error> {
    match (&draft.version, claim.version) {
        (Field::Other, _) => Err(Error::Meta("`_meta` names the protocol version as something else than a string")),
        (Field::Text(body), Some(header)) if body != header => {
            Err(Error::Header("header mismatch: MCP-Protocol-Version and `_meta` name different versions"))
        }
        // The revision defines no header rules for notifications.
        (Field::Text(_), None) if !notification => Err(Error::Header("the MCP-Protocol-Version header is required")),
        (Field::Text(body), _) if Era::of(body) == Some(Era::Modern) => Ok(Era::Modern),
        (Field::Text(body), _) => Err(unsupported(body, true)),
        (Field::Absent, None) if draft.looks_modern() => Err(Error::Meta("`_meta` lacks the protocol version")),
        (Field::Absent, None) => Ok(Era::Legacy),
        (Field::Absent, Some(header)) => match Era::of(header) {
            Some(Era::Modern) if !notification => Err(Error::Meta("`_meta` lacks the protocol version")),
            Some(Era::Legacy) if draft.looks_modern() => {
                Err(Error::Header("header mismatch: MCP-Protocol-Version is of another era than `_meta`"))
            }
            Some(era) => Ok(era),
            None => Err(unsupported(header, draft.looks_modern())),
        },
    }
}

/// The version is echoed, so no more of it than a version could be long.
fn unsupported(version: &str, modern: bool) -> Error {
    Error::Version { requested: version.chars().take(64).collect(), modern }
}

/// The members of `_meta` that MCP 2026-07-28 requires ("Basic: _meta"); `clientInfo` is optional.
fn require_meta(draft: &Draft<'_>, notification: bool) -> Result<(), Error> {
    match draft.capabilities {
        Shape::Absent if !notification => return Err(Error::Meta("`_meta` lacks the client's capabilities")),
        Shape::Other => return Err(Error::Meta("the client's capabilities in `_meta` must be an object")),
        Shape::Absent | Shape::Object => {}
    }
    if draft.client == Shape::Other {
        return Err(Error::Meta("the client's description in `_meta` must be an object"));
    }
    Ok(())
}

/// Those members that the method gives a meaning to; a state is one for whatever server looks at it.
fn returned<'a>(draft: &mut Draft<'a>, method: &Method) -> Result<Vec<Returned<'a>>, Error> {
    let counts = |what: Passed| match what {
        Passed::State | Passed::Related => true,
        Passed::Cursor => matches!(method.verb, Verb::List(_) | Verb::Tasks),
        Passed::Task => method.verb == Verb::Task,
    };
    match draft.unreturnable.iter().find(|what| counts(**what)) {
        Some(Passed::State) => return Err(Error::Params("`requestState` must be a string")),
        Some(Passed::Cursor) => return Err(Error::Params("`cursor` must be a string")),
        Some(Passed::Task | Passed::Related) => return Err(Error::Params("`taskId` must be a string")),
        None => {}
    }
    let mut returned = std::mem::take(&mut draft.returned);
    returned.retain(|one| counts(one.what));
    if method.verb == Verb::Task && !returned.iter().any(|one| one.what == Passed::Task) {
        return Err(Error::Params("`taskId` must be a string"));
    }
    Ok(returned)
}

fn operation<'a>(draft: Draft<'a>, method: &'a Method, era: Era, body: &'a [u8]) -> Result<Operation<'a>, Error> {
    if draft.arguments == Shape::Other {
        return Err(Error::Params("`arguments` must be an object"));
    }
    let mut arguments = None;
    let target = match method.verb {
        Verb::Use(kind, member) => {
            if kind == Kind::Tool {
                if draft.task && era == Era::Modern {
                    return Err(Error::Params("tasks are not supported"));
                }
                arguments = (draft.arguments == Shape::Object).then_some(draft.arguments_text);
            }
            let name =
                if member == "uri" { text(draft.uri, "`uri` must be a string") } else { text(draft.name, "`name` must be a string") };
            Target::One(Thing { kind, name: name? })
        }
        Verb::Complete => Target::One(completed(draft)?),
        Verb::Listen => Target::Each(subscribed(draft)?),
        Verb::Point(kind, pointer) => extension::target(std::str::from_utf8(body).map_err(|_| Error::NotJson)?, kind, pointer)?,
        Verb::List(_) | Verb::Tasks | Verb::Introduce | Verb::Plain | Verb::Absorb | Verb::Task => Target::Nothing,
    };
    let arguments = match arguments {
        Some(text) => Some(json::raw_value(text).ok_or(Error::NotJson)?),
        None => None,
    };
    Ok(Operation { method, target, arguments })
}

fn text<'a>(field: Field<'a>, otherwise: &'static str) -> Result<Cow<'a, str>, Error> {
    match field {
        Field::Text(text) => Ok(text),
        Field::Absent | Field::Other => Err(Error::Params(otherwise)),
    }
}

/// What a completion completes; its values tell as much as the thing itself would.
fn completed(draft: Draft<'_>) -> Result<Thing<'_>, Error> {
    if draft.reference != Shape::Object {
        return Err(Error::Params("`ref` must be an object"));
    }
    match text(draft.reference_type, "`ref.type` must be a string")?.as_ref() {
        "ref/prompt" => Ok(Thing { kind: Kind::Prompt, name: text(draft.reference_name, "`ref.name` must be a string")? }),
        "ref/resource" => {
            let name = text(draft.reference_uri, "`ref.uri` must be a string")?;
            let kind = if name.contains('{') { Kind::Template } else { Kind::Resource };
            Ok(Thing { kind, name })
        }
        _ => Err(Error::Params("`ref.type` must be `ref/prompt` or `ref/resource`")),
    }
}

fn subscribed(draft: Draft<'_>) -> Result<Vec<Thing<'_>>, Error> {
    if draft.notifications != Shape::Object {
        return Err(Error::Params("`notifications` must be an object"));
    }
    if matches!(draft.tasks, Texts::Other) {
        return Err(Error::Params("`taskIds` must be an array of strings"));
    }
    match draft.subscriptions {
        Texts::Absent => Ok(Vec::new()),
        Texts::All(uris) => Ok(uris.into_iter().map(|name| Thing { kind: Kind::Resource, name }).collect()),
        Texts::Other => Err(Error::Params("`resourceSubscriptions` must be an array of strings")),
    }
}

#[cfg(test)]
mod tests;
