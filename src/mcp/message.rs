//! One JSON-RPC message, read once.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{Era, Kind, Method};

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
    pub method: &'static Method,
    pub target: Target<'a>,
    /// `params.arguments` of a tool call.
    pub arguments: Option<&'a RawValue>,
}

#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// Absent for a notification.
    pub id: Option<Id<'a>>,
    pub era: Era,
    pub operation: Operation<'a>,
    /// W3C trace context from `params._meta.traceparent`, as sent.
    pub traceparent: Option<Cow<'a, str>>,
}
