//! Notes in memory: a bounded shelf, gone with the process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

pub const SPACES: [&str; 3] = ["public", "team", "private"];
/// Notes on the shelf; the oldest makes room for a new one.
const MOST: usize = 100;
/// Bytes of a title or text.
const LONGEST: usize = 4000;

#[derive(Clone, Debug)]
struct Note {
    space: String,
    title: String,
    text: String,
}

#[derive(Debug)]
pub struct Shelf(Mutex<BTreeMap<u64, Note>>);

impl Default for Shelf {
    fn default() -> Self {
        Self(Mutex::new(first_notes()))
    }
}

fn first_notes() -> BTreeMap<u64, Note> {
    let note = |space: &str, title: &str, text: &str| Note { space: space.into(), title: title.into(), text: text.into() };
    BTreeMap::from([
        (1, note("public", "Opening hours", "The door is kept at all hours.")),
        (2, note("team", "Stand-up", "Alice: gateway. Bob: database.")),
        (3, note("private", "Offer letter", "Not for everybody.")),
    ])
}

/// What a tool answers: a text for people, or why it could not.
pub type Answer = Result<String, &'static str>;

impl Shelf {
    pub fn count(&self) -> usize {
        self.notes().len()
    }

    pub fn list(&self, arguments: &Value) -> Answer {
        let space = arguments.get("space").and_then(Value::as_str);
        let notes = self.notes();
        let wanted = notes.iter().filter(|(_, note)| space.is_none_or(|space| note.space == space));
        Ok(lines(wanted.map(|(id, note)| format!("{id}. {} ({})", note.title, note.space))))
    }

    pub fn read(&self, arguments: &Value) -> Answer {
        let id = id(arguments)?;
        self.notes().get(&id).map(|note| format!("{}\n\n{}", note.title, note.text)).ok_or(NO_NOTE)
    }

    pub fn search(&self, arguments: &Value) -> Answer {
        let query = text(arguments, "query")?.to_lowercase();
        let notes = self.notes();
        let wanted =
            notes.iter().filter(|(_, note)| note.title.to_lowercase().contains(&query) || note.text.to_lowercase().contains(&query));
        Ok(lines(wanted.map(|(id, note)| format!("{id}. {}", note.title))))
    }

    pub fn create(&self, arguments: &Value) -> Answer {
        let space = if arguments.get("space").is_some() { space(arguments)? } else { "team".into() };
        let note = Note { space, title: text(arguments, "title")?, text: text(arguments, "text")? };
        let mut notes = self.notes();
        let id = notes.last_key_value().map_or(1, |(last, _)| last + 1);
        let said = format!("note {id} `{}` created", note.title);
        notes.insert(id, note);
        if notes.len() > MOST {
            notes.pop_first();
        }
        Ok(said)
    }

    pub fn update(&self, arguments: &Value) -> Answer {
        let new = text(arguments, "text")?;
        let title = arguments.get("title").map(|_| text(arguments, "title")).transpose()?;
        self.change(arguments, "updated", |note| {
            note.text = new;
            if let Some(title) = title {
                note.title = title;
            }
        })
    }

    pub fn share(&self, arguments: &Value) -> Answer {
        let space = space(arguments)?;
        self.change(arguments, "shared", |note| note.space = space)
    }

    pub fn delete(&self, arguments: &Value) -> Answer {
        let id = id(arguments)?;
        self.notes().remove(&id).map(|note| format!("note {id} `{}` deleted", note.title)).ok_or(NO_NOTE)
    }

    pub fn export(&self) -> Answer {
        let notes = self.notes();
        let all = notes.iter().map(|(id, note)| json!({ "id": id, "space": note.space, "title": note.title, "text": note.text }));
        Ok(Value::from_iter(all).to_string())
    }

    pub fn clear(&self) -> Answer {
        let mut notes = self.notes();
        let count = notes.len();
        *notes = first_notes();
        Ok(format!("database dropped: {count} notes are gone (the sample puts its first three back)"))
    }

    fn change(&self, arguments: &Value, done: &str, change: impl FnOnce(&mut Note)) -> Answer {
        let id = id(arguments)?;
        let mut notes = self.notes();
        let note = notes.get_mut(&id).ok_or(NO_NOTE)?;
        change(note);
        Ok(format!("note {id} `{}` {done}", note.title))
    }

    fn notes(&self) -> MutexGuard<'_, BTreeMap<u64, Note>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const NO_NOTE: &str = "there is no note of this number";

fn id(arguments: &Value) -> Result<u64, &'static str> {
    arguments.get("id").and_then(Value::as_u64).ok_or("`id` must be a number")
}

fn space(arguments: &Value) -> Result<String, &'static str> {
    let space = arguments.get("space").and_then(Value::as_str).filter(|space| SPACES.contains(space));
    space.map(Into::into).ok_or("`space` must be public, team or private")
}

fn text(arguments: &Value, name: &str) -> Result<String, &'static str> {
    match arguments.get(name).and_then(Value::as_str) {
        Some(text) if text.len() <= LONGEST => Ok(text.into()),
        Some(_) => Err("the text is too long"),
        None => Err("a text argument is missing"),
    }
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_cannot_make_the_shelf_grow() {
        let shelf = Shelf::default();
        for n in 0..500 {
            shelf.create(&json!({ "title": n.to_string(), "text": "x" })).expect("created");
        }
        assert_eq!(shelf.count(), MOST);
        assert!(shelf.create(&json!({ "title": "x", "text": "x".repeat(LONGEST + 1) })).is_err());
        assert!(shelf.read(&json!({ "id": 1 })).is_err(), "the oldest made room");
        assert!(shelf.read(&json!({ "id": 503 })).expect("the newest").starts_with("499"));
    }

    #[test]
    fn a_note_is_created_found_shared_and_deleted() {
        let shelf = Shelf::default();
        assert_eq!(shelf.create(&json!({ "title": "Plan", "text": "secret plan" })).as_deref(), Ok("note 4 `Plan` created"));
        assert_eq!(shelf.search(&json!({ "query": "PLAN" })).as_deref(), Ok("4. Plan"));
        assert_eq!(shelf.share(&json!({ "id": 4, "space": "moon" })), Err("`space` must be public, team or private"));
        assert!(shelf.share(&json!({ "id": 4, "space": "public" })).is_ok());
        assert_eq!(shelf.list(&json!({ "space": "public" })).as_deref(), Ok("1. Opening hours (public)\n4. Plan (public)"));
        assert!(shelf.delete(&json!({ "id": 4 })).is_ok());
        assert_eq!(shelf.read(&json!({ "id": 4 })), Err(NO_NOTE));
    }
}
