//! What does an MCP server really have? Its own lists, asked for as a client would.
//!
//! First as a client of 2026-07-28, without a session; where that is not understood, with `initialize`.
//! Answers come as JSON or as an event stream; pages, bytes and time are bounded. Judges nothing.

use std::fs;
use std::time::Duration;

use bytes::BytesMut;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, Identity, RequestBuilder};
use serde_json::{Value, json};

use crate::mcp::listing::{self, Lens};
use crate::mcp::{Era, Kind};
use crate::route::{Address, Place, Upstream};

const MODERN: &str = "2026-07-28";
const LEGACY: &str = "2025-11-25";

/// Bytes of the longest answer, pages of the longest list, names in it, characters of the longest name.
const LARGEST: usize = 8 << 20;
const PAGES: usize = 100;
const NAMES: usize = 10_000;
const NAME: usize = 1_000;
/// Levels of a definition.
const DEPTH: usize = 127;

/// JSON-RPC: the server does not have this method.
const UNKNOWN_METHOD: i64 = -32601;

/// What a server lists.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listed {
    pub tools: Vec<String>,
    pub prompts: Vec<String>,
    pub resources: Vec<String>,
    pub templates: Vec<String>,
}

/// How the server is spoken to.
struct Dialogue {
    http: Client,
    url: String,
    credential: Option<(HeaderName, HeaderValue)>,
    /// None as a client of 2026-07-28; the session id otherwise, where the server gave one.
    legacy: Option<Option<String>>,
}

/// Asks the server for all its lists. `own` is an `Authorization` that the gateway obtained for it; `timeout` is of one request.
///
/// # Errors
/// In words for the operator: it cannot be reached, or does not speak MCP.
pub async fn listed(upstream: &Upstream, own: Option<&HeaderValue>, timeout: Duration) -> Result<Listed, String> {
    let mut dialogue = Dialogue::new(upstream, own, timeout)?;
    let tools = match dialogue.list("tools/list", "tools", "name").await {
        Ok(tools) => tools,
        Err(modern) => {
            dialogue.initialize().await.map_err(|legacy| format!("as a client of {MODERN}: {modern}; with `initialize`: {legacy}"))?;
            dialogue.list("tools/list", "tools", "name").await?
        }
    };
    Ok(Listed {
        tools,
        prompts: dialogue.list("prompts/list", "prompts", "name").await?,
        resources: dialogue.list("resources/list", "resources", "uri").await?,
        templates: dialogue.list("resources/templates/list", "resourceTemplates", "uriTemplate").await?,
    })
}

/// A tool as a server defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defined {
    pub name: String,
    /// The JSON text of the definition, as it was sent.
    pub text: String,
}

/// Asks one server of the upstream for its tools. `own` and `timeout` as with [`listed`].
///
/// # Errors
/// In words for the operator: it cannot be reached, does not speak MCP, or its list has more than one reading.
pub async fn tools(upstream: &Upstream, place: &Place, own: Option<&HeaderValue>, timeout: Duration) -> Result<Vec<Defined>, String> {
    let mut dialogue = Dialogue::to(upstream, place, own, timeout)?;
    match dialogue.definitions().await {
        Ok(tools) => Ok(tools),
        Err(modern) => {
            dialogue.initialize().await.map_err(|legacy| format!("as a client of {MODERN}: {modern}; with `initialize`: {legacy}"))?;
            dialogue.definitions().await
        }
    }
}

impl Dialogue {
    fn new(upstream: &Upstream, own: Option<&HeaderValue>, timeout: Duration) -> Result<Self, String> {
        // Servers of one upstream have the same tools; the first one speaks for all.
        let place = upstream.reach.places.first().ok_or("it has no server")?;
        Self::to(upstream, place, own, timeout)
    }

    fn to(upstream: &Upstream, place: &Place, own: Option<&HeaderValue>, timeout: Duration) -> Result<Self, String> {
        let mut builder = Client::builder()
            .user_agent(concat!("doorward/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(timeout);
        let mut scheme = "http";
        match &place.address {
            Address::Tcp { .. } => {}
            Address::Tls { ca, .. } => {
                scheme = "https";
                if let Some(ca) = ca {
                    let pem = fs::read(ca).map_err(|error| format!("cannot read `{}`: {error}", ca.display()))?;
                    let roots = Certificate::from_pem_bundle(&pem).map_err(|_| format!("`{}` holds no certificates", ca.display()))?;
                    builder = builder.tls_certs_only(roots);
                }
            }
            Address::Unix(path) => builder = builder.unix_socket(path.as_path()),
        }
        if upstream.reach.http2 && scheme == "http" {
            builder = builder.http2_prior_knowledge();
        }
        if let Some(shown) = &upstream.reach.client_certificate {
            let read = |path: &std::path::Path| fs::read(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()));
            let pem = [read(&shown.certificate)?, read(&shown.key)?].concat();
            let identity = Identity::from_pem(&pem).map_err(|_| format!("`{}` cannot be used", shown.certificate.display()))?;
            builder = builder.identity(identity);
        }
        let http = builder.build().map_err(|_| "the HTTP client cannot be made; are root certificates installed?".to_owned())?;
        let fixed = upstream.credential.as_ref().map(|credential| {
            let name = HeaderName::from_bytes(credential.header.as_bytes()).map_err(|_| "its credential is in no header".to_owned())?;
            let mut value = HeaderValue::from_str(credential.reveal()).map_err(|_| "no header can carry its credential".to_owned())?;
            value.set_sensitive(true);
            Ok::<_, String>((name, value))
        });
        let credential = fixed.transpose()?.or_else(|| own.map(|value| (AUTHORIZATION, value.clone())));
        Ok(Self { http, url: format!("{scheme}://{}{}", place.authority, upstream.path), credential, legacy: None })
    }

    async fn initialize(&mut self) -> Result<(), String> {
        self.legacy = Some(None);
        let client = json!({ "name": "doorward", "version": env!("CARGO_PKG_VERSION") });
        let params = json!({ "protocolVersion": LEGACY, "capabilities": {}, "clientInfo": client });
        let told = self.ask("initialize", params).await.map_err(|error| error.words)?;
        self.legacy = Some(told.session);
        let done = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        self.request("notifications/initialized").body(done.to_string()).send().await.map_err(|error| unreachable(&error))?;
        Ok(())
    }

    /// All pages of one list; nothing where the server does not have it.
    async fn list(&self, method: &str, member: &str, key: &str) -> Result<Vec<String>, String> {
        let mut names = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES {
            let params = cursor.map_or_else(|| json!({}), |cursor| json!({ "cursor": cursor }));
            let result = match self.ask(method, params).await {
                Ok(told) => told.result,
                // Every server has tools; the other lists are optional. That of tools also tells the eras apart.
                Err(error) if error.unknown_method && method != "tools/list" => return Ok(names),
                Err(error) => return Err(error.words),
            };
            let page = result.get(member).and_then(Value::as_array).ok_or_else(|| format!("`{method}` was answered without `{member}`"))?;
            let found = page.iter().filter_map(|item| item.get(key)?.as_str());
            names.extend(found.take(NAMES - names.len()).map(|name| name.chars().take(NAME).collect::<String>()));
            cursor = result.get("nextCursor").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() || names.len() >= NAMES {
                break;
            }
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// All pages of the tools, read as strictly as the lists of callers are.
    async fn definitions(&self) -> Result<Vec<Defined>, String> {
        let lens = Lens { kind: Kind::Tool, era: Era::Modern, depth: DEPTH };
        let (mut all, mut bytes) = (Vec::new(), 0);
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES {
            let params = cursor.map_or_else(|| json!({}), |cursor| json!({ "cursor": cursor }));
            let Told { text, result, .. } = self.ask("tools/list", params).await.map_err(|error| error.words)?;
            let mut take = |name: &str, text: &str| {
                all.push(Defined { name: name.to_owned(), text: text.to_owned() });
                false
            };
            listing::cut_items(text.as_bytes(), lens, &mut take, None)
                .map_err(|_| "`tools/list` was answered with what has several readings")?;
            bytes += text.len();
            if bytes > LARGEST || all.len() > NAMES {
                return Err("its list of tools is too long".into());
            }
            cursor = result.get("nextCursor").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() {
                return Ok(all);
            }
        }
        Err("its list of tools has too many pages".into())
    }

    /// One request and what came of it.
    async fn ask(&self, method: &str, mut params: Value) -> Result<Told, Fault> {
        if let (None, Some(params)) = (&self.legacy, params.as_object_mut()) {
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientInfo": { "name": "doorward", "version": env!("CARGO_PKG_VERSION") },
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            params.insert("_meta".into(), meta);
        }
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut answer = self.request(method).body(message.to_string()).send().await.map_err(|error| Fault::from(unreachable(&error)))?;
        let status = answer.status().as_u16();
        let session = answer.headers().get("mcp-session-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let mut body = BytesMut::new();
        let mut found = None;
        while let Some(chunk) = answer.chunk().await.map_err(|error| Fault::from(unreachable(&error)))? {
            if body.len() + chunk.len() > LARGEST {
                return Err(format!("the answer to `{method}` is larger than 8 MiB").into());
            }
            body.extend_from_slice(&chunk);
            // A stream may stay open after what was asked for.
            if chunk.contains(&b'\n') {
                found = response_in(&body);
                if found.is_some() {
                    break;
                }
            }
        }
        let Some((response, text)) = found.or_else(|| response_in(&body)) else {
            return Err(Fault {
                words: format!("`{method}` was answered with {status} and no JSON-RPC response"),
                unknown_method: status == 404,
            });
        };
        match (response.get("result"), response.get("error")) {
            (Some(result), _) => Ok(Told { session, result: result.clone(), text }),
            (None, error) => {
                let code = error.and_then(|error| error.get("code")?.as_i64());
                let words = format!("`{method}` was answered with {status} and error {}", code.unwrap_or_default());
                Err(Fault { words, unknown_method: code == Some(UNKNOWN_METHOD) })
            }
        }
    }

    fn request(&self, method: &str) -> RequestBuilder {
        let mut request = self
            .http
            .post(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .header(ACCEPT_ENCODING, "identity");
        if let Some((name, value)) = &self.credential {
            request = request.header(name, value);
        }
        match &self.legacy {
            None => request.header("mcp-protocol-version", MODERN).header("mcp-method", method),
            Some(_) if method == "initialize" => request,
            Some(None) => request.header("mcp-protocol-version", LEGACY),
            Some(Some(session)) => request.header("mcp-protocol-version", LEGACY).header("mcp-session-id", session),
        }
    }
}

/// What a request was answered with.
struct Told {
    session: Option<String>,
    result: Value,
    /// The whole response, as it was sent.
    text: String,
}

/// Why there is no result.
struct Fault {
    words: String,
    unknown_method: bool,
}

impl From<String> for Fault {
    fn from(words: String) -> Self {
        Self { words, unknown_method: false }
    }
}

fn unreachable(error: &reqwest::Error) -> String {
    if error.is_timeout() { "no answer in time".into() } else { "no connection, or it broke".into() }
}

/// The response to request 1, and its text: the whole body, or one event of a stream.
fn response_in(body: &[u8]) -> Option<(Value, String)> {
    let is_ours = |value: &Value| {
        value.get("id").is_none_or(|id| *id == 1 || id.is_null()) && (value.get("result").is_some() || value.get("error").is_some())
    };
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        return Some((value, String::from_utf8(body.to_vec()).ok()?)).filter(|(value, _)| is_ours(value));
    }
    let text = std::str::from_utf8(body).ok()?.replace("\r\n", "\n");
    let mut events = text.split("\n\n").map(|event| {
        event
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(|data| data.strip_prefix(' ').unwrap_or(data))
            .collect::<Vec<_>>()
            .join("\n")
    });
    events.find_map(|data| Some((serde_json::from_str::<Value>(&data).ok().filter(is_ours)?, data)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_found_in_json_and_among_the_events_of_a_stream() {
        let response = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": []}});
        let told = Some((response.clone(), response.to_string()));
        assert_eq!(response_in(response.to_string().as_bytes()), told);
        let note = json!({"jsonrpc": "2.0", "method": "notifications/progress"});
        for end in ["\n", "\r\n"] {
            let stream = format!(": hello{end}{end}event: message{end}data: {note}{end}{end}id: 7{end}data: {response}{end}{end}");
            assert_eq!(response_in(stream.as_bytes()), told);
        }
    }

    #[test]
    fn what_is_no_response_to_us_is_none() {
        for body in ["", "<html>", "{}", r#"{"id":2,"result":{}}"#, "data: {\"id\":1,\"resu", "\u{0}"] {
            assert_eq!(response_in(body.as_bytes()), None, "{body}");
        }
    }
}
