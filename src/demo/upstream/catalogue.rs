//! What the sample server offers: tools of different danger, resources, a template, prompts.
//!
//! Plain documents, as a server would send them; what the tools do stands in `super`.

use serde_json::{Value, json};

/// Twelve tools, from harmless to ruinous.
pub fn tools() -> Value {
    json!([
        tool("whoami", "Who the server was told is calling", READS, json!({}), &[]),
        tool("list_notes", "Titles of all notes of a space", READS, json!({ "space": space() }), &[]),
        tool("read_note", "One note by its number", READS, json!({ "id": id() }), &["id"]),
        tool("search_notes", "Notes that hold a word", READS, json!({ "query": text(80) }), &["query"]),
        tool(
            "create_note",
            "Write a new note",
            WRITES,
            json!({ "title": text(80), "text": text(4000), "space": space() }),
            &["title", "text"]
        ),
        tool(
            "update_note",
            "Replace the text of a note",
            WRITES,
            json!({ "id": id(), "title": text(80), "text": text(4000) }),
            &["id", "text"]
        ),
        tool("share_note", "Move a note to another space", WRITES, json!({ "id": id(), "space": space() }), &["id", "space"]),
        tool("delete_note", "Delete a note for good", RUINS, json!({ "id": id() }), &["id"]),
        tool(
            "run_report",
            "Count all notes, slowly, with progress",
            READS,
            json!({ "steps": { "type": "integer", "minimum": 1, "maximum": 20 } }),
            &[]
        ),
        tool("export_all", "Every note of every space, private ones too", READS, json!({}), &[]),
        tool("rotate_secret", "Make a new signing secret and show it", RUINS, json!({}), &[]),
        tool("drop_database", "Delete everything", RUINS, json!({ "confirm": { "type": "boolean" } }), &[]),
    ])
}

/// Three resources; the last is not for everybody.
pub fn resources() -> Value {
    json!([
        { "uri": "notes://public/welcome", "name": "welcome", "title": "Welcome", "mimeType": "text/plain" },
        { "uri": "notes://team/roadmap", "name": "roadmap", "title": "Roadmap", "mimeType": "text/plain" },
        { "uri": "notes://private/salaries", "name": "salaries", "title": "Salaries", "mimeType": "text/plain" },
    ])
}

/// The text of a resource.
pub fn resource(uri: &str) -> Option<&'static str> {
    match uri {
        "notes://public/welcome" => Some("Welcome to the notes of the Doorward demo."),
        "notes://team/roadmap" => Some("Q1: keep the door. Q2: keep keeping it."),
        "notes://private/salaries" => Some("Nobody who reads this through the door should see it."),
        _ => None,
    }
}

pub fn templates() -> Value {
    json!([{ "uriTemplate": "notes://{space}/{name}", "name": "note", "title": "A note by space and name", "mimeType": "text/plain" }])
}

pub fn prompts() -> Value {
    json!([
        { "name": "summarise_space", "description": "Sum up the notes of a space",
          "arguments": [{ "name": "space", "description": "public, team or private", "required": true }] },
        { "name": "weekly_update", "description": "Draft the weekly update", "arguments": [] },
    ])
}

/// The one message of a prompt.
pub fn prompt(name: &str, space: &str) -> Option<String> {
    match name {
        "summarise_space" => Some(format!("Sum up all notes of the space `{space}` in three sentences.")),
        "weekly_update" => Some("Draft a weekly update from the notes that changed since Monday.".into()),
        _ => None,
    }
}

/// Hints of a tool (`ToolAnnotations`): claims of the server, which nobody has to believe.
#[derive(Clone, Copy)]
struct Hints {
    reads: bool,
    ruins: bool,
}

const READS: Hints = Hints { reads: true, ruins: false };
const WRITES: Hints = Hints { reads: false, ruins: false };
const RUINS: Hints = Hints { reads: false, ruins: true };

fn tool(name: &str, description: &str, hints: Hints, properties: Value, required: &[&str]) -> Value {
    json!({
        "name": name,
        "description": description,
        "inputSchema": { "type": "object", "properties": properties, "required": required, "additionalProperties": false },
        "annotations": { "readOnlyHint": hints.reads, "destructiveHint": hints.ruins, "openWorldHint": false },
    })
}

fn space() -> Value {
    json!({ "type": "string", "enum": super::notes::SPACES })
}

fn id() -> Value {
    json!({ "type": "integer", "minimum": 1 })
}

fn text(longest: usize) -> Value {
    json!({ "type": "string", "maxLength": longest })
}
