//! Which tasks has this caller begun? `tasks/list` and notifications about tasks name each by the server's own id, and a server
//! without auth names everybody's (MCP 2025-11-25 "Tasks": receivers must list a requestor's own only). The one table of this
//! room: what is forgotten, or began by way of another process, is not shown. Knows no sockets.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::mcp::seal::Owner;

/// Tasks that are remembered of one caller, the latest.
const TASKS: usize = 128;
/// Callers of whom any are, those that began one last.
const CALLERS: usize = 1_024;
/// Bytes of a tool's name.
const NAME: usize = 256;

/// The tasks of the older design that were begun, or asked for, by way of this process.
#[derive(Default)]
pub struct Begun(Mutex<Table>);

#[derive(Default)]
struct Table {
    callers: HashMap<Owner, Caller>,
    /// Grows with each note.
    clock: u64,
}

#[derive(Default)]
struct Caller {
    tasks: VecDeque<(Digest, Arc<str>)>,
    last: u64,
}

/// Ids may be long.
type Digest = [u8; 16];

impl Begun {
    /// Remembers that `tool` began the task of this id (the server's) for `owner`.
    pub fn note(&self, owner: Owner, id: &str, tool: &str) {
        if tool.len() > NAME {
            return;
        }
        let digest = digest(id);
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.clock += 1;
        let now = table.clock;
        if !table.callers.contains_key(&owner) && table.callers.len() >= CALLERS {
            let oldest = table.callers.iter().min_by_key(|(_, caller)| caller.last).map(|(owner, _)| *owner);
            oldest.map(|oldest| table.callers.remove(&oldest));
        }
        let caller = table.callers.entry(owner).or_default();
        caller.last = now;
        if caller.tasks.iter().any(|(known, _)| *known == digest) {
            return;
        }
        if caller.tasks.len() >= TASKS {
            caller.tasks.pop_front();
        }
        caller.tasks.push_back((digest, tool.into()));
    }

    /// The tool that began the task of this id, if `owner` is known to have asked for it.
    pub fn tool(&self, owner: &Owner, id: &str) -> Option<Arc<str>> {
        let digest = digest(id);
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, tool) = table.callers.get(owner)?.tasks.iter().rev().find(|(known, _)| *known == digest)?;
        Some(tool.clone())
    }
}

fn digest(id: &str) -> Digest {
    blake3::hash(id.as_bytes()).as_bytes().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str) -> Owner {
        Owner::new(&[name.as_bytes()])
    }

    #[test]
    fn item_88_a_task_is_known_to_who_began_it_and_to_nobody_else() {
        let begun = Begun::default();
        begun.note(owner("alice"), "1", "read_file");
        begun.note(owner("alice"), "1", "another");
        assert_eq!(begun.tool(&owner("alice"), "1").as_deref(), Some("read_file"), "the first word counts");
        assert_eq!((begun.tool(&owner("alice"), "2"), begun.tool(&owner("bob"), "1")), (None, None));
        begun.note(owner("alice"), "3", &"x".repeat(NAME + 1));
        assert_eq!(begun.tool(&owner("alice"), "3"), None);
    }

    #[test]
    fn tasks_and_callers_are_bounded_and_one_caller_pushes_nobody_out() {
        let begun = Begun::default();
        begun.note(owner("alice"), "a", "t");
        for n in 0..3 * TASKS {
            begun.note(owner("bob"), &n.to_string(), "t");
        }
        assert!(begun.tool(&owner("alice"), "a").is_some());
        assert!(begun.tool(&owner("bob"), &(3 * TASKS - 1).to_string()).is_some() && begun.tool(&owner("bob"), "0").is_none());
        for n in 0..CALLERS {
            begun.note(owner(&n.to_string()), "a", "t");
        }
        assert_eq!(begun.tool(&owner("alice"), "a"), None, "who was quiet for longest");
        assert!(begun.0.lock().expect("no panic").callers.len() <= CALLERS);
    }
}
