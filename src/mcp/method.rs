//! The method table: every method of every era as data. A method that is not in it is refused.

use super::Era;

/// What a rule can speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Tool,
    Prompt,
    Resource,
    /// A resource template, named by its URI template.
    Template,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Prompt => "prompt",
            Self::Resource => "resource",
            Self::Template => "template",
        }
    }
}

/// What a method does, as far as policy and the way back are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Acts on one thing, named by a string member of `params`.
    Use(Kind, &'static str),
    /// Completes an argument of the prompt or resource that `params.ref` names: judged as its use.
    Complete,
    /// Answers with a list that must be cut to what the caller may use.
    List(Kind),
    /// Opens a stream of changes; each resource in `params.notifications.resourceSubscriptions` is judged, and those that may
    /// not be read are left out.
    Listen,
    /// Acts on a task that a tool call has begun, named by `params.taskId`: judged as the use of that tool.
    Task,
    /// Answers with a list of tasks, of which the caller sees those that it began and whose tools it may still use.
    Tasks,
    /// Acts on the thing, or on each of the things, at a JSON Pointer (RFC 6901) from `params` on: methods of extensions.
    Point(Kind, &'static str),
    /// Answers with what the server says of itself, which must be cut to what passes here.
    Introduce,
    /// Names nothing that a rule could speak of: any admitted caller may.
    Plain,
    /// A notification that speaks of other requests: it goes on within a session, which is its caller's
    /// own. Without one nobody can tell whose they are, so it is acknowledged here and goes no further.
    Absorb,
}

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Method {
    pub name: &'static str,
    pub verb: Verb,
    pub notification: bool,
    pub modern: bool,
    pub legacy: bool,
}

impl Method {
    const fn both(name: &'static str, verb: Verb) -> Self {
        Self { name, verb, notification: false, modern: true, legacy: true }
    }

    const fn modern(name: &'static str, verb: Verb) -> Self {
        Self { name, verb, notification: false, modern: true, legacy: false }
    }

    const fn legacy(name: &'static str, verb: Verb) -> Self {
        Self { name, verb, notification: false, modern: false, legacy: true }
    }

    const fn notification(name: &'static str, verb: Verb) -> Self {
        Self { name, verb, notification: true, modern: true, legacy: true }
    }

    pub fn speaks(&self, era: Era) -> bool {
        match era {
            Era::Modern => self.modern,
            Era::Legacy => self.legacy,
        }
    }

    /// Finds the row of a method name, compared by code point.
    pub fn find(name: &str) -> Option<&'static Self> {
        METHODS.iter().find(|method| method.name == name)
    }
}

/// Ordered by how often they are asked.
pub static METHODS: &[Method] = &[
    Method::both("tools/call", Verb::Use(Kind::Tool, "name")),
    Method::both("tools/list", Verb::List(Kind::Tool)),
    Method::both("resources/read", Verb::Use(Kind::Resource, "uri")),
    Method::both("resources/list", Verb::List(Kind::Resource)),
    Method::both("resources/templates/list", Verb::List(Kind::Template)),
    Method::both("prompts/get", Verb::Use(Kind::Prompt, "name")),
    Method::both("prompts/list", Verb::List(Kind::Prompt)),
    Method::both("completion/complete", Verb::Complete),
    Method::modern("server/discover", Verb::Introduce),
    Method::modern("subscriptions/listen", Verb::Listen),
    Method::both("tasks/get", Verb::Task),
    Method::both("tasks/cancel", Verb::Task),
    Method::legacy("tasks/result", Verb::Task),
    Method::legacy("tasks/list", Verb::Tasks),
    Method::modern("tasks/update", Verb::Task),
    Method::legacy("initialize", Verb::Introduce),
    Method::legacy("ping", Verb::Plain),
    Method::legacy("resources/subscribe", Verb::Use(Kind::Resource, "uri")),
    Method::legacy("resources/unsubscribe", Verb::Use(Kind::Resource, "uri")),
    Method::legacy("logging/setLevel", Verb::Plain),
    Method::notification("notifications/initialized", Verb::Plain),
    Method::notification("notifications/roots/list_changed", Verb::Plain),
    Method::notification("notifications/cancelled", Verb::Absorb),
    Method::notification("notifications/progress", Verb::Absorb),
];
