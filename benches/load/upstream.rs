//! A fake MCP server that costs as little as possible, so that the gateway is what is measured.
//!
//! HTTP/1.1 with keep-alive on the generator's own thread, canned answers by method and tool name. The answer
//! carries the request's own id. It checks nothing: it must stay cheap, and only the gateway
//! speaks to it.

use std::cell::Cell;
use std::fmt::Write as _;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::seat::{PATH, PUBLIC_URL};
use crate::streams::since_epoch;
use crate::tokens::SCOPE;

/// How many tools `tools/list` names: `tool_000` to `tool_099`.
pub const TOOLS: usize = 100;
/// Answers by ten events.
pub const EVENTS_TOOL: &str = "events";
/// Answers by one event and keeps the stream open.
pub const WAIT_TOOL: &str = "wait";
/// The same, and an event each second that says when it was sent.
pub const TICK_TOOL: &str = "tick";

/// How a question about a token begins (RFC 7662).
const INTROSPECTION: &[u8] = b"POST /introspect ";

const EVENTS: usize = 10;
const PAUSE: Duration = Duration::from_millis(1);
const TICK: Duration = Duration::from_secs(1);
const PHASES: u32 = 500;

/// Serves whoever connects, for as long as the run lasts.
pub async fn run(listener: TcpListener) {
    let canned = Rc::new(Canned::new());
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let canned = canned.clone();
        // A connection that breaks is its own matter: the next one is served all the same.
        tokio::task::spawn_local(async move { serve(stream, &canned).await });
    }
}

/// Both halves of an answer, around the id.
struct Canned {
    call: [String; 2],
    list: [String; 2],
    event: String,
    /// About any token that it is asked about.
    active: String,
    ticking: Cell<u32>,
}

impl Canned {
    fn new() -> Self {
        let text = "Three issues match: 4711, 4712 and 4720. The newest was opened two days ago by a colleague of yours.";
        let call = [
            "{\"jsonrpc\":\"2.0\",\"id\":".to_owned(),
            format!(
                ",\"result\":{{\"resultType\":\"complete\",\"content\":[{{\"type\":\"text\",\"text\":\"{text}\"}}],\
                 \"structuredContent\":{{\"count\":3,\"ids\":[4711,4712,4720],\"truncated\":false}},\"isError\":false}}}}"
            ),
        ];
        let event = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":\
                     {\"progressToken\":1,\"progress\":3,\"total\":10,\"message\":\"reading the issues of the third repository\"}}\n\n";
        let active = json!({ "active": true, "aud": format!("{PUBLIC_URL}{PATH}"), "sub": "user-00000001", "client_id": "agent-workbench",
            "scope": format!("openid profile {SCOPE} mcp:tools offline"), "token_type": "Bearer" });
        Self {
            ticking: Cell::new(0),
            active: active.to_string(),
            call,
            list: ["{\"jsonrpc\":\"2.0\",\"id\":".to_owned(), list()],
            event: event.to_owned(),
        }
    }

    /// Streams that were opened in one moment tick all over the second: else each event waits for all before it.
    fn next_phase(&self) -> Duration {
        let nth = self.ticking.replace(self.ticking.get() + 1);
        TICK * (nth % PHASES) / PHASES
    }
}

/// About 60 KB: every tool as a real server describes it.
fn list() -> String {
    let mut text = String::from(",\"result\":{\"resultType\":\"complete\",\"ttlMs\":60000,\"cacheScope\":\"public\",\"tools\":[");
    for n in 0..TOOLS {
        let comma = if n == 0 { "" } else { "," };
        let _ = write!(
            text,
            "{comma}{{\"name\":\"tool_{n:03}\",\"title\":\"Search the issues of repository {n}\",\"description\":\"Finds issues by words, \
             labels and state, newest first. Returns at most `limit` of them, and a cursor when there are more.\",\"inputSchema\":\
             {{\"type\":\"object\",\"properties\":{{\"query\":{{\"type\":\"string\",\"description\":\"Words to look for, all of them\"}},\
             \"state\":{{\"type\":\"string\",\"enum\":[\"open\",\"closed\",\"all\"]}},\"limit\":{{\"type\":\"integer\",\"minimum\":1,\
             \"maximum\":100}}}},\"required\":[\"query\"]}},\"annotations\":{{\"readOnlyHint\":true,\"openWorldHint\":true}}}}"
        );
    }
    text.push_str("]}}");
    text
}

async fn serve(mut stream: TcpStream, canned: &Canned) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(64 << 10);
    let mut answer = Vec::with_capacity(64 << 10);
    loop {
        let Some((body, end)) = read_request(&mut stream, &mut buffer).await? else { return Ok(()) };
        let request = &buffer[body..end];
        if buffer.starts_with(INTROSPECTION) {
            let parts = [canned.active.clone(), String::new()];
            write_json(&mut stream, &mut answer, &parts, b"").await?;
            buffer.drain(..end);
            continue;
        }
        let id = after(request, b"\"id\"").map_or(&b"null"[..], scalar);
        match Asked::of(request) {
            Asked::Call => write_json(&mut stream, &mut answer, &canned.call, id).await?,
            Asked::List => write_json(&mut stream, &mut answer, &canned.list, id).await?,
            Asked::Events => events(&mut stream, canned, id).await?,
            Asked::Wait => return wait(stream, canned).await,
            Asked::Tick => return tick(stream, canned.next_phase()).await,
        }
        buffer.drain(..end);
    }
}

enum Asked {
    Call,
    List,
    Events,
    Wait,
    Tick,
}

impl Asked {
    fn of(request: &[u8]) -> Self {
        match after(request, b"\"method\"").map(scalar) {
            Some(b"\"tools/list\"") => return Self::List,
            Some(b"\"tools/call\"") => {}
            _ => return Self::Call,
        }
        match after(request, b"\"name\"").map(scalar).and_then(|name| name.strip_prefix(b"\"")?.strip_suffix(b"\"")) {
            Some(name) if name == EVENTS_TOOL.as_bytes() => Self::Events,
            Some(name) if name == WAIT_TOOL.as_bytes() => Self::Wait,
            Some(name) if name == TICK_TOOL.as_bytes() => Self::Tick,
            _ => Self::Call,
        }
    }
}

/// Start and end of the next request's body in `buffer`; nothing when the peer is done.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<(usize, usize)>> {
    let head = loop {
        if let Some(at) = find(buffer, b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let length = content_length(&buffer[..head]).unwrap_or(0);
    while buffer.len() < head + length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some((head, head + length)))
}

async fn write_json(stream: &mut TcpStream, answer: &mut Vec<u8>, [before, behind]: &[String; 2], id: &[u8]) -> io::Result<()> {
    answer.clear();
    let length = before.len() + id.len() + behind.len();
    answer.extend_from_slice(format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n").as_bytes());
    answer.extend_from_slice(before.as_bytes());
    answer.extend_from_slice(id);
    answer.extend_from_slice(behind.as_bytes());
    stream.write_all(answer).await
}

const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";

/// Nine notifications and the result, with pauses as a tool makes them: without, one read would find several events.
async fn events(stream: &mut TcpStream, canned: &Canned, id: &[u8]) -> io::Result<()> {
    stream.write_all(STREAM_HEAD).await?;
    for _ in 1..EVENTS {
        write_chunk(stream, canned.event.as_bytes()).await?;
        tokio::time::sleep(PAUSE).await;
    }
    let [before, behind] = &canned.call;
    let result = [b"event: message\ndata: ", before.as_bytes(), id, behind.as_bytes(), b"\n\n"].concat();
    write_chunk(stream, &result).await?;
    stream.write_all(b"0\r\n\r\n").await
}

/// One event, then silence until the peer goes.
async fn wait(mut stream: TcpStream, canned: &Canned) -> io::Result<()> {
    stream.write_all(STREAM_HEAD).await?;
    write_chunk(&mut stream, canned.event.as_bytes()).await?;
    let mut rest = [0; 64];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// An event now, and one each second, `phase` later than all of them would be at once.
async fn tick(mut stream: TcpStream, phase: Duration) -> io::Result<()> {
    stream.write_all(STREAM_HEAD).await?;
    let mut pause = TICK + phase;
    loop {
        let sent = since_epoch().as_micros();
        let event = format!(
            "event: message\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":\
             {{\"level\":\"info\",\"data\":{{\"sent\":{sent}}}}}}}\n\n"
        );
        write_chunk(&mut stream, event.as_bytes()).await?;
        tokio::time::sleep(std::mem::replace(&mut pause, TICK)).await;
    }
}

async fn write_chunk(stream: &mut TcpStream, data: &[u8]) -> io::Result<()> {
    stream.write_all(&[format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()).await
}

pub fn content_length(head: &[u8]) -> Option<usize> {
    let line = head.split(|byte| *byte == b'\n').find(|line| starts_with_folded(line, b"content-length:"))?;
    std::str::from_utf8(&line[b"content-length:".len()..]).ok()?.trim().parse().ok()
}

pub fn starts_with_folded(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}

pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// What follows a member's name and its colon.
fn after<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = text[find(text, name)? + name.len()..].trim_ascii_start();
    Some(rest.strip_prefix(b":")?.trim_ascii_start())
}

/// The number or string at the start, as written. The load has no escapes in either.
pub fn scalar(text: &[u8]) -> &[u8] {
    let end = match text.strip_prefix(b"\"") {
        Some(inner) => inner.iter().position(|byte| *byte == b'"').map_or(text.len(), |at| at + 2),
        None => text.iter().position(|byte| matches!(byte, b',' | b'}') || byte.is_ascii_whitespace()).unwrap_or(text.len()),
    };
    &text[..end]
}
