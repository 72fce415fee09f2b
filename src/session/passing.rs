//! What is given to a client to bring back, and is nobody else's: states of multi round trips, ids of
//! tasks, cursors of lists. Nothing is remembered. Knows no clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::Seals;
use crate::mcp::seal::{Owner, Purpose};
use crate::mcp::{Era, Kind, Message, Method, Target, Verb};

/// The kind of a list of tasks.
const TASKS: &str = "task";

/// How long a state may stay with the client: longer than people take to answer a question.
const STATE: Duration = Duration::from_secs(60 * 60);

/// What a state was given for: the retry must be of the same method and name, with the same arguments
/// (MCP 2026-07-28 "Multi Round-Trip Requests", Server Requirements).
#[derive(Clone, Copy, Debug)]
pub struct Errand<'a> {
    method: &'a Method,
    name: &'a str,
    arguments: &'a str,
}

impl<'a> Errand<'a> {
    pub fn of(message: &'a Message<'_>) -> Self {
        let name = match &message.operation.target {
            Target::One(thing) => &*thing.name,
            Target::Nothing | Target::Each(_) => "",
        };
        Self { method: message.operation.method, name, arguments: message.arguments }
    }

    /// Arguments count by their value: a client may write the same object in another way.
    fn owner(&self, caller: &Owner) -> Owner {
        let arguments = match serde_json::from_str::<Value>(self.arguments) {
            Ok(mut value) => {
                value.sort_all_objects();
                value.to_string()
            }
            Err(_) => self.arguments.to_owned(),
        };
        caller.and(self.method.name.as_bytes()).and(self.name.as_bytes()).and(arguments.as_bytes())
    }
}

impl Seals {
    /// Whose they are: equal owners are given equal cursors.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// A `requestState` as the client is to know it.
    pub fn state(&self, errand: &Errand<'_>, state: &str, now: SystemTime) -> Option<String> {
        let expires = seconds(now + STATE);
        self.sealer.seal_derived(Purpose::State, &errand.owner(&self.owner), state, expires)
    }

    /// The exact state that was given for this errand.
    pub fn opened_state(&self, errand: &Errand<'_>, sealed: &str, now: SystemTime) -> Option<String> {
        self.sealer.open(Purpose::State, &errand.owner(&self.owner), sealed, seconds(now))
    }

    /// The id of a task that `tool` has begun, as the client is to know it: the same each time.
    pub fn task(&self, era: Era, tool: &str, id: &str) -> Option<String> {
        self.sealer.seal_same(Purpose::Task, &self.owner.and(era.as_str().as_bytes()), &serde_json::to_string(&[tool, id]).ok()?)
    }

    /// The tool that began the task, and the id that the upstream knows.
    pub fn opened_task(&self, era: Era, sealed: &str) -> Option<(String, String)> {
        let text = self.sealer.open(Purpose::Task, &self.owner.and(era.as_str().as_bytes()), sealed, 0)?;
        serde_json::from_str(&text).ok()
    }

    /// The cursor of a list of this kind, as the client is to know it.
    pub fn cursor(&self, kind: Kind, cursor: &str) -> Option<String> {
        self.sealer.tag(Purpose::Cursor, &self.owner.and(kind.as_str().as_bytes()), cursor)
    }

    /// The cursor that was given for the list that this method asks for.
    pub fn opened_cursor<'s>(&self, method: &Method, sealed: &'s str) -> Option<&'s str> {
        let kind = match method.verb {
            Verb::List(kind) => kind.as_str(),
            Verb::Tasks => TASKS,
            _ => return None,
        };
        self.sealer.untag(Purpose::Cursor, &self.owner.and(kind.as_bytes()), sealed)
    }

    /// The cursor of a list of tasks.
    pub fn task_cursor(&self, cursor: &str) -> Option<String> {
        self.sealer.tag(Purpose::Cursor, &self.owner.and(TASKS.as_bytes()), cursor)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
