//! What is asked: requests as bytes, one set for each row of the table.

use std::rc::Rc;

use serde_json::{Value, json};

use crate::generator::Rendered;
use crate::seat::{HOST, PATH};
use crate::upstream::{EVENTS_TOOL, TICK_TOOL, WAIT_TOOL};

const VERSION: &str = "2026-07-28";
/// Named by a rule.
const ALLOWED: &str = "tool_000";
/// Named by none.
const FORBIDDEN: &str = "tool_050";

/// A call of about 330 bytes.
pub fn call(token: Option<&str>, id: usize) -> Rendered {
    call_of(ALLOWED, token, id, query())
}

/// The same with a bound token and its proof.
pub fn call_with_proof(token: &str, proof: &str, id: usize) -> Rendered {
    let body = call_body(ALLOWED, id, query());
    post_with("tools/call", Some(ALLOWED), &format!("authorization: DPoP {token}\r\ndpop: {proof}\r\n"), &body)
}

pub fn forbidden_call(token: &str, id: usize) -> Rendered {
    call_of(FORBIDDEN, Some(token), id, query())
}

/// A call whose answer is ten events.
pub fn events(token: &str, id: usize) -> Rendered {
    call_of(EVENTS_TOOL, Some(token), id, query())
}

/// A call whose answer is a stream that does not end.
pub fn wait(token: &str) -> Rendered {
    call_of(WAIT_TOOL, Some(token), 1, query())
}

/// The same, with an event each second.
pub fn tick(token: &str) -> Rendered {
    call_of(TICK_TOOL, Some(token), 1, query())
}

/// A call with 50 KB of arguments: a document in one string beside 100 small objects.
pub fn large_call(token: &str, id: usize) -> Rendered {
    let document = "The quick brown fox jumps over the lazy dog, and notes it in the minutes.\n".repeat(600);
    let labels: Vec<Value> = (0..100).map(|n| json!({ "id": n, "name": format!("label {n}"), "ok": true })).collect();
    call_of(ALLOWED, Some(token), id, json!({ "query": "open issues", "document": document, "labels": labels }))
}

pub fn list(token: &str, id: usize) -> Rendered {
    let body = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/list", "params": { "_meta": meta() } });
    post("tools/list", None, Some(token), &body)
}

fn query() -> Value {
    json!({ "query": "label:bug state:open", "limit": 20 })
}

fn call_of(tool: &str, token: Option<&str>, id: usize, arguments: Value) -> Rendered {
    post("tools/call", Some(tool), token, &call_body(tool, id, arguments))
}

fn call_body(tool: &str, id: usize, arguments: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": { "name": tool, "arguments": arguments, "_meta": meta() } })
}

fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientInfo": { "name": "load", "version": "1.0" },
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

fn post(method: &str, name: Option<&str>, token: Option<&str>, body: &Value) -> Rendered {
    let authorization = token.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
    post_with(method, name, &authorization, body)
}

fn post_with(method: &str, name: Option<&str>, authorization: &str, body: &Value) -> Rendered {
    let name = name.map_or_else(String::new, |name| format!("mcp-name: {name}\r\n"));
    let body = body.to_string();
    let text = format!(
        "POST {PATH} HTTP/1.1\r\nhost: {HOST}\r\n{authorization}user-agent: load/1.0\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: {VERSION}\r\nmcp-method: {method}\r\n{name}\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    Rc::from(text.into_bytes())
}
