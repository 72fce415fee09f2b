//! A sample MCP server without auth of its own: notes, and tools of different danger.
//!
//! Stateless, in both eras: `initialize` without sessions (2025-03-26 to 2025-11-25), and
//! `server/discover` with `_meta` on each request (2026-07-28). It believes the identity headers it
//! is given, which is what the gateway is for. Knows nothing of tokens.

mod catalogue;
mod notes;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Map, Value, json};

use notes::{Answer, Shelf};

const MODERN: &str = "2026-07-28";
const LEGACY: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];
const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// Between two progress events of a report.
const STEP: Duration = Duration::from_millis(60);

/// The server's routes: MCP at `/mcp`, and no state but its notes.
pub fn router() -> Router {
    // Other methods than POST get 405 with `Allow: POST` from the router.
    Router::new().route("/mcp", post(answer)).layer(DefaultBodyLimit::max(1 << 20)).with_state(Arc::new(Shelf::default()))
}

/// One request, read.
struct Call<'a> {
    id: Value,
    method: &'a str,
    params: &'a Value,
    modern: bool,
    headers: &'a HeaderMap,
}

/// A result, or a JSON-RPC error's code and message.
type Outcome = Result<Value, (i32, &'static str)>;

async fn answer(State(shelf): State<Arc<Shelf>>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(message) = serde_json::from_slice::<Value>(&body) else {
        return error(StatusCode::BAD_REQUEST, None, -32700, "not JSON");
    };
    let Some(method) = message.get("method").and_then(Value::as_str) else {
        return error(StatusCode::BAD_REQUEST, None, -32600, "not a request");
    };
    let Some(id) = message.get("id").cloned() else {
        return StatusCode::ACCEPTED.into_response();
    };
    let params = message.get("params").unwrap_or(&Value::Null);
    let version = params.get("_meta").and_then(|meta| meta.get(VERSION)).and_then(Value::as_str);
    if version.is_some_and(|version| version != MODERN) {
        return error(StatusCode::BAD_REQUEST, Some(id), -32022, "this protocol version is not spoken here");
    }
    let call = Call { id, method, params, modern: version.is_some(), headers: &headers };
    if call.is_report() && accepts_stream(&headers) {
        return report(&shelf, &call);
    }
    match call.outcome(&shelf) {
        Ok(result) => Json(call.response(result)).into_response(),
        // Era M names a status for it; era L has JSON-RPC alone.
        Err((-32601, message)) if call.modern => error(StatusCode::NOT_FOUND, Some(call.id), -32601, message),
        Err((code, message)) => error(StatusCode::OK, Some(call.id), code, message),
    }
}

impl Call<'_> {
    fn outcome(&self, shelf: &Shelf) -> Outcome {
        match (self.method, self.modern) {
            ("server/discover", true) => Ok(discovery()),
            ("initialize", false) => Ok(self.initialize()),
            ("ping", false) => Ok(json!({})),
            ("tools/list", _) => Ok(json!({ "tools": catalogue::tools() })),
            ("resources/list", _) => Ok(json!({ "resources": catalogue::resources() })),
            ("resources/templates/list", _) => Ok(json!({ "resourceTemplates": catalogue::templates() })),
            ("prompts/list", _) => Ok(json!({ "prompts": catalogue::prompts() })),
            ("resources/read", _) => self.read(),
            ("prompts/get", _) => self.prompt(),
            ("tools/call", _) => self.tool(shelf),
            _ => Err((-32601, "this method is not known here")),
        }
    }

    /// The whole JSON-RPC response. In the modern era every result says that it is complete, and
    /// those that may be kept say for how long and for whom.
    fn response(&self, mut result: Value) -> Value {
        if let (true, Some(result)) = (self.modern, result.as_object_mut()) {
            result.insert("resultType".into(), "complete".into());
            if self.method.ends_with("/list") || matches!(self.method, "server/discover" | "resources/read") {
                result.insert("ttlMs".into(), 60_000.into());
                result.insert("cacheScope".into(), "public".into());
            }
        }
        json!({ "jsonrpc": "2.0", "id": self.id, "result": result })
    }

    fn initialize(&self) -> Value {
        let asked = self.text("protocolVersion");
        let [newest, ..] = LEGACY;
        let version = LEGACY.into_iter().find(|version| *version == asked).unwrap_or(newest);
        json!({ "protocolVersion": version, "capabilities": capabilities(), "serverInfo": server_info(), "instructions": INSTRUCTIONS })
    }

    fn read(&self) -> Outcome {
        let uri = self.text("uri");
        // Revisions before 2026-07-28 have a code of their own for it.
        let text = catalogue::resource(uri).ok_or((if self.modern { -32602 } else { -32002 }, "there is no such resource"))?;
        Ok(json!({ "contents": [{ "uri": uri, "mimeType": "text/plain", "text": text }] }))
    }

    fn prompt(&self) -> Outcome {
        let space = self.params.get("arguments").and_then(|arguments| arguments.get("space")).and_then(Value::as_str).unwrap_or("team");
        let text = catalogue::prompt(self.text("name"), space).ok_or((-32602, "there is no such prompt"))?;
        Ok(json!({ "messages": [{ "role": "user", "content": { "type": "text", "text": text } }] }))
    }

    fn tool(&self, shelf: &Shelf) -> Outcome {
        let arguments = self.params.get("arguments").unwrap_or(&Value::Null);
        let answer = match self.text("name") {
            "whoami" => return Ok(whoami(self.headers)),
            "list_notes" => shelf.list(arguments),
            "read_note" => shelf.read(arguments),
            "search_notes" => shelf.search(arguments),
            "create_note" => shelf.create(arguments),
            "update_note" => shelf.update(arguments),
            "share_note" => shelf.share(arguments),
            "delete_note" => shelf.delete(arguments),
            "run_report" => Ok(summary(shelf)),
            "export_all" => shelf.export(),
            "rotate_secret" => Ok("a new secret was made, and a real server would show it now".into()),
            "drop_database" => shelf.clear(),
            _ => return Err((-32602, "there is no such tool")),
        };
        Ok(tool_result(answer))
    }

    fn is_report(&self) -> bool {
        self.method == "tools/call" && self.text("name") == "run_report"
    }

    fn text(&self, member: &str) -> &str {
        self.params.get(member).and_then(Value::as_str).unwrap_or_default()
    }
}

const INSTRUCTIONS: &str = "Sample notes of the Doorward demo. Nothing here is real.";

fn discovery() -> Value {
    json!({
        "supportedVersions": [MODERN],
        "capabilities": capabilities(),
        "instructions": INSTRUCTIONS,
        "_meta": { "io.modelcontextprotocol/serverInfo": server_info() },
    })
}

fn capabilities() -> Value {
    json!({ "tools": {}, "resources": {}, "prompts": {} })
}

fn server_info() -> Value {
    json!({ "name": "doorward-demo-notes", "title": "Doorward demo notes", "version": env!("CARGO_PKG_VERSION") })
}

/// What the server was told of its caller. Says only whether a credential came through, never which.
fn whoami(headers: &HeaderMap) -> Value {
    let mut identity = Map::new();
    for (name, value) in headers {
        let name = name.as_str();
        if name.starts_with("x-forwarded-") || name.starts_with("doorward-") {
            identity.insert(name.into(), String::from_utf8_lossy(value.as_bytes()).into());
        }
    }
    let seen = json!({ "identity": identity, "authorization": headers.contains_key(header::AUTHORIZATION) });
    json!({ "content": [{ "type": "text", "text": seen.to_string() }], "structuredContent": seen })
}

fn tool_result(answer: Answer) -> Value {
    let (text, failed) = match answer {
        Ok(text) => (text, false),
        Err(why) => (why.into(), true),
    };
    json!({ "content": [{ "type": "text", "text": text }], "isError": failed })
}

fn summary(shelf: &Shelf) -> String {
    format!("report done: {} notes", shelf.count())
}

fn accepts_stream(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(|value| value.contains("text/event-stream"))
}

/// An answer as a stream: progress where the client gave a token for it, then the response.
fn report(shelf: &Shelf, call: &Call<'_>) -> Response {
    let arguments = call.params.get("arguments");
    let steps = arguments.and_then(|arguments| arguments.get("steps")).and_then(Value::as_u64).unwrap_or(3).clamp(1, 20);
    let token = call.params.get("_meta").and_then(|meta| meta.get("progressToken")).cloned();
    let progress = |step: u64| {
        let token = token.as_ref()?;
        Some(json!({ "jsonrpc": "2.0", "method": "notifications/progress",
            "params": { "progressToken": token, "progress": step, "total": steps, "message": format!("step {step} of {steps}") } }))
    };
    let mut messages: Vec<Value> = (1..=steps).filter_map(progress).collect();
    messages.push(call.response(tool_result(Ok(summary(shelf)))));
    let events = stream::unfold(messages.into_iter(), |mut messages| async move {
        let message = messages.next()?;
        tokio::time::sleep(STEP).await;
        Some((Ok::<_, Infallible>(Event::default().event("message").data(message.to_string())), messages))
    });
    ([("x-accel-buffering", "no")], Sse::new(events)).into_response()
}

fn error(status: StatusCode, id: Option<Value>, code: i32, message: &str) -> Response {
    let mut body = json!({ "jsonrpc": "2.0", "error": { "code": code, "message": message } });
    if let (Some(id), Some(body)) = (id, body.as_object_mut()) {
        body.insert("id".into(), id);
    }
    if let (-32022, Some(error)) = (code, body.get_mut("error").and_then(Value::as_object_mut)) {
        error.insert("data".into(), json!({ "supported": [MODERN] }));
    }
    (status, Json(body)).into_response()
}

#[cfg(test)]
mod tests;
