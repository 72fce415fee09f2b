//! What stands in a message, before anybody asks what it means: the members that some method or
//! era looks at, read in one pass. Knows spelling, not meaning.

use std::borrow::Cow;

use super::Id;
use super::ask::Asks;
use super::json::{Fault, Scanner, is_variant};
use super::message::{Passed, Returned};
use super::related::RELATED;

const MESSAGE: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];
const PARAMS: &[&str] = &[
    "name",
    "uri",
    "arguments",
    "_meta",
    "ref",
    "cursor",
    "argument",
    "context",
    "level",
    "task",
    "requestState",
    "inputResponses",
    "taskId",
    "protocolVersion",
    "capabilities",
    "clientInfo",
    "notifications",
];
const REFERENCE: &[&str] = &["type", "name", "uri"];
const NOTIFICATIONS: &[&str] = &["resourceSubscriptions", "taskIds", "toolsListChanged", "promptsListChanged", "resourcesListChanged"];
const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const CLIENT: &str = "io.modelcontextprotocol/clientInfo";
const TASKS: &str = "io.modelcontextprotocol/tasks";
const META: &[&str] =
    &[VERSION, CAPABILITIES, CLIENT, RELATED, "io.modelcontextprotocol/logLevel", "io.modelcontextprotocol/subscriptionId"];

/// A member that ought to be a string.
#[derive(Clone, Debug, Default)]
pub(super) enum Field<'a> {
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Other,
}

/// A member that ought to be an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Shape {
    #[default]
    Absent,
    Object,
    Other,
}

/// A member that ought to be an array of strings.
#[derive(Clone, Debug, Default)]
pub(super) enum Texts<'a> {
    #[default]
    Absent,
    All(Vec<Cow<'a, str>>),
    Other,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Ident<'a> {
    #[default]
    Absent,
    Valid(Id<'a>),
    Other,
}

#[derive(Debug, Default)]
pub(super) struct Draft<'a> {
    pub object: bool,
    pub array: bool,
    pub duplicate: bool,
    pub variant: bool,
    pub jsonrpc: Field<'a>,
    pub id: Ident<'a>,
    pub method: Field<'a>,
    /// There is a `result` or an `error`.
    pub answer: bool,
    pub params: Shape,
    pub name: Field<'a>,
    pub uri: Field<'a>,
    pub arguments: Shape,
    pub arguments_text: &'a str,
    pub task: bool,
    /// What was given to the client and now comes back, of whatever method.
    pub returned: Vec<Returned<'a>>,
    /// Members that come back and are no strings.
    pub unreturnable: Vec<Passed>,
    pub reference: Shape,
    pub reference_type: Field<'a>,
    pub reference_name: Field<'a>,
    pub reference_uri: Field<'a>,
    pub notifications: Shape,
    pub subscriptions: Texts<'a>,
    pub tasks: Texts<'a>,
    pub meta: Shape,
    pub version: Field<'a>,
    pub capabilities: Shape,
    /// The client speaks the extension `io.modelcontextprotocol/tasks`.
    pub speaks_tasks: bool,
    /// The requests of servers that the client says it can answer: in `_meta`, and in `params` of the older `initialize`.
    pub answers: Asks,
    pub declared: Asks,
    pub client: Shape,
    pub traceparent: Field<'a>,
}

impl<'a> Draft<'a> {
    /// Reads the text to its end. At a fault the draft holds what was read before it.
    pub fn read(&mut self, text: &'a str, depth: usize) -> Result<(), Fault> {
        let mut scanner = Scanner::new(text, depth);
        let read = self.message(&mut scanner).and_then(|()| scanner.end());
        self.duplicate = scanner.duplicate();
        read
    }

    /// Whether the message shows any member that only the modern era has.
    pub fn looks_modern(&self) -> bool {
        !matches!(self.version, Field::Absent) || self.capabilities != Shape::Absent || self.client != Shape::Absent
    }

    fn message(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        self.array = scanner.peek()? == b'[';
        self.object = scanner.peek()? == b'{';
        if !self.object {
            return scanner.skip();
        }
        scanner.object(|scanner, name| {
            match name {
                "jsonrpc" => self.jsonrpc = field(scanner)?,
                "id" => self.id = ident(scanner, self.id)?,
                "method" => self.method = field(scanner)?,
                "params" => return self.params(scanner),
                "result" | "error" => {
                    self.answer = true;
                    scanner.skip()?;
                }
                other => {
                    self.variant |= is_variant(other, MESSAGE);
                    scanner.skip()?;
                }
            }
            Ok(())
        })
    }

    fn params(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        self.params = shape(scanner)?;
        if self.params != Shape::Object {
            return scanner.skip();
        }
        scanner.object(|scanner, name| {
            match name {
                "name" => self.name = field(scanner)?,
                "uri" => self.uri = field(scanner)?,
                "arguments" => {
                    self.arguments = shape(scanner)?;
                    self.arguments_text = scanner.raw()?;
                }
                "task" => {
                    self.task = true;
                    scanner.skip()?;
                }
                "requestState" => return self.returned(scanner, Passed::State),
                "cursor" => return self.returned(scanner, Passed::Cursor),
                "taskId" => return self.returned(scanner, Passed::Task),
                "_meta" => return self.meta(scanner),
                "capabilities" if scanner.peek()? == b'{' => {
                    return scanner.object(|scanner, name| declare(scanner, name, &mut self.declared));
                }
                "ref" => return self.reference(scanner),
                "notifications" => return self.notifications(scanner),
                other => {
                    self.variant |= is_variant(other, PARAMS);
                    scanner.skip()?;
                }
            }
            Ok(())
        })
    }

    fn returned(&mut self, scanner: &mut Scanner<'a>, what: Passed) -> Result<(), Fault> {
        scanner.peek()?;
        let from = scanner.at();
        match field(scanner)? {
            Field::Text(text) => self.returned.push(Returned { what, text, place: from..scanner.at() }),
            // Some clients say so that they have none.
            Field::Absent | Field::Other if scanner.between(from, scanner.at()) == "null" => {}
            Field::Absent | Field::Other => self.unreturnable.push(what),
        }
        Ok(())
    }

    fn capabilities(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        self.capabilities = shape(scanner)?;
        if self.capabilities != Shape::Object {
            return scanner.skip();
        }
        scanner.object(|scanner, name| match name {
            "extensions" if scanner.peek()? == b'{' => scanner.object(|scanner, name| {
                self.speaks_tasks |= name == TASKS;
                scanner.skip()
            }),
            _ => declare(scanner, name, &mut self.answers),
        })
    }

    fn meta(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        self.meta = shape(scanner)?;
        if self.meta != Shape::Object {
            return scanner.skip();
        }
        scanner.object(|scanner, name| {
            match name {
                VERSION => self.version = field(scanner)?,
                CAPABILITIES => return self.capabilities(scanner),
                CLIENT => {
                    self.client = shape(scanner)?;
                    scanner.skip()?;
                }
                "traceparent" => self.traceparent = field(scanner)?,
                RELATED if scanner.peek()? == b'{' => return self.related(scanner),
                other => {
                    self.variant |= is_variant(other, META);
                    scanner.skip()?;
                }
            }
            Ok(())
        })
    }

    fn related(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        scanner.object(|scanner, name| {
            if name == "taskId" {
                return self.returned(scanner, Passed::Related);
            }
            self.variant |= is_variant(name, &["taskId"]);
            scanner.skip()
        })
    }

    fn reference(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        self.reference = shape(scanner)?;
        if self.reference != Shape::Object {
            return scanner.skip();
        }
        scanner.object(|scanner, name| {
            match name {
                "type" => self.reference_type = field(scanner)?,
                "name" => self.reference_name = field(scanner)?,
                "uri" => self.reference_uri = field(scanner)?,
                other => {
                    self.variant |= is_variant(other, REFERENCE);
                    scanner.skip()?;
                }
            }
            Ok(())
        })
    }

    fn notifications(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        self.notifications = shape(scanner)?;
        if self.notifications != Shape::Object {
            return scanner.skip();
        }
        scanner.object(|scanner, name| {
            match name {
                "resourceSubscriptions" => self.subscriptions = texts(scanner)?,
                "taskIds" => self.tasks = texts(scanner)?,
                other => {
                    self.variant |= is_variant(other, NOTIFICATIONS);
                    scanner.skip()?;
                }
            }
            Ok(())
        })
    }
}

/// What one capability of a client says that it can answer.
fn declare(scanner: &mut Scanner<'_>, name: &str, answers: &mut Asks) -> Result<(), Fault> {
    let object = scanner.peek()? == b'{';
    match name {
        "elicitation" if object => elicitation(scanner, answers),
        "sampling" | "roots" => {
            let kind = if name == "roots" { &mut answers.roots } else { &mut answers.sampling };
            *kind = object;
            scanner.skip()
        }
        _ => scanner.skip(),
    }
}

/// By forms, by pages, or by both; an empty object is forms alone (MCP 2025-11-25, 2026-07-28 "Elicitation: Capabilities").
fn elicitation(scanner: &mut Scanner<'_>, answers: &mut Asks) -> Result<(), Fault> {
    let mut says = false;
    scanner.object(|scanner, name| {
        says |= matches!(name, "form" | "url");
        answers.elicitation |= name == "form";
        answers.elicitation_url |= name == "url";
        scanner.skip()
    })?;
    answers.elicitation |= !says;
    Ok(())
}

fn field<'a>(scanner: &mut Scanner<'a>) -> Result<Field<'a>, Fault> {
    if scanner.peek()? == b'"' {
        return Ok(Field::Text(scanner.string()?));
    }
    scanner.skip()?;
    Ok(Field::Other)
}

fn shape(scanner: &mut Scanner<'_>) -> Result<Shape, Fault> {
    Ok(if scanner.peek()? == b'{' { Shape::Object } else { Shape::Other })
}

fn texts<'a>(scanner: &mut Scanner<'a>) -> Result<Texts<'a>, Fault> {
    if scanner.peek()? != b'[' {
        scanner.skip()?;
        return Ok(Texts::Other);
    }
    let mut all = Vec::new();
    let mut strings = true;
    scanner.array(|scanner| {
        match field(scanner)? {
            Field::Text(text) => all.push(text),
            Field::Absent | Field::Other => strings = false,
        }
        Ok(())
    })?;
    Ok(if strings { Texts::All(all) } else { Texts::Other })
}

/// A string or an integer that 64 bits hold. An id that is named twice is none.
fn ident<'a>(scanner: &mut Scanner<'a>, before: Ident<'a>) -> Result<Ident<'a>, Fault> {
    let text = scanner.raw()?;
    let integer = || text != "-0" && (text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok());
    let valid = matches!(before, Ident::Absent) && (text.starts_with('"') || integer());
    Ok(if valid { Ident::Valid(Id(text)) } else { Ident::Other })
}
