//! Clients: well-formed MCP calls of both eras that can be bent, and bytes on a socket.

use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub const MODERN: &str = "2026-07-28";
pub const LEGACY: &str = "2025-11-25";
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";

/// A client without proxy, redirects or trusted roots.
pub fn builder() -> reqwest::ClientBuilder {
    super::install_crypto();
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(super::DEADLINE)
}

pub fn client() -> reqwest::Client {
    builder().tls_certs_only([]).build().unwrap()
}

/// The text of a JSON-RPC request without `_meta`.
pub fn json_call(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

/// A request in the making.
#[derive(Clone)]
pub struct Call {
    http: reqwest::Client,
    origin: String,
    path: String,
    method: Method,
    headers: Vec<(String, Vec<u8>)>,
    message: Value,
    body: Option<Bytes>,
    chunks: Option<usize>,
}

/// A request of 2026-07-28, exactly as standards demand it.
pub fn modern(http: &reqwest::Client, origin: &str, method: &str, params: Value) -> Call {
    let mut message = json_call(method, params);
    message["params"]["_meta"] = json!({
        VERSION_KEY: MODERN,
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}},
    });
    let mut call = Call::new(http, origin, message).header("mcp-protocol-version", MODERN).header("mcp-method", method);
    let named = match method {
        "tools/call" | "prompts/get" => call.message["params"]["name"].as_str(),
        "resources/read" => call.message["params"]["uri"].as_str(),
        _ => None,
    };
    if let Some(name) = named.map(header_value) {
        call = call.header("mcp-name", &name);
    }
    call
}

/// A name as a header value: plain, or behind the Base64 sentinel where the revision demands it.
pub fn header_value(name: &str) -> String {
    let plain = name.bytes().all(|byte| (0x20..0x7F).contains(&byte)) && name.trim() == name && !name.starts_with("=?base64?");
    if plain { name.to_owned() } else { format!("=?base64?{}?=", base64::engine::general_purpose::STANDARD.encode(name)) }
}

/// A request of 2025-11-25 without a session.
pub fn legacy(http: &reqwest::Client, origin: &str, method: &str, params: Value) -> Call {
    let call = Call::new(http, origin, json_call(method, params));
    if method == "initialize" { call } else { call.header("mcp-protocol-version", LEGACY) }
}

impl Call {
    fn new(http: &reqwest::Client, origin: &str, message: Value) -> Self {
        let call = Self {
            http: http.clone(),
            origin: origin.to_owned(),
            path: "/mcp/files".into(),
            method: Method::POST,
            headers: Vec::new(),
            message,
            body: None,
            chunks: None,
        };
        call.header("content-type", "application/json").header("accept", "application/json, text/event-stream")
    }

    /// Adds a header beside those of the same name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.as_bytes().to_vec()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    /// Puts a header in the place of all of the same name.
    pub fn replace(self, name: &str, value: &str) -> Self {
        self.without(name).header(name, value)
    }

    pub fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn path(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Changes the message.
    pub fn edit(mut self, edit: impl FnOnce(&mut Value)) -> Self {
        edit(&mut self.message);
        self
    }

    /// Sends these bytes and not the message.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sends the body without a length, in chunks of this size.
    pub fn chunked(mut self, size: usize) -> Self {
        self.chunks = Some(size);
        self
    }

    /// Sends by another client to another origin.
    pub fn by(mut self, http: &reqwest::Client, origin: &str) -> Self {
        self.http = http.clone();
        self.origin = origin.to_owned();
        self
    }

    /// The bytes of the body as they will be sent.
    pub fn bytes(&self) -> Bytes {
        self.body.clone().unwrap_or_else(|| self.message.to_string().into())
    }

    fn request(&self) -> reqwest::RequestBuilder {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), http::HeaderValue::from_bytes(value).unwrap());
        }
        let request = self.http.request(self.method.clone(), format!("{}{}", self.origin, self.path)).headers(headers);
        let body = self.bytes();
        match self.chunks {
            _ if body.is_empty() => request,
            None => request.body(body),
            Some(size) => {
                let chunks: Vec<_> = body.chunks(size).map(|chunk| Ok::<_, std::io::Error>(Bytes::copy_from_slice(chunk))).collect();
                request.body(reqwest::Body::wrap_stream(futures_util::stream::iter(chunks)))
            }
        }
    }

    /// Sends, and reads the whole answer.
    pub async fn send(self) -> Reply {
        self.try_send().await.unwrap()
    }

    pub async fn try_send(&self) -> reqwest::Result<Reply> {
        let response = self.request().send().await?;
        let (status, version, headers) = (response.status().as_u16(), response.version(), response.headers().clone());
        Ok(Reply { status, version, headers, body: response.bytes().await? })
    }

    /// Sends, and leaves the answer's body to be read.
    pub async fn open(self) -> reqwest::Response {
        self.request().send().await.unwrap()
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub version: http::Version,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// All values of a header, joined by `|`; absent is the empty string.
    pub fn header(&self, name: &str) -> String {
        let values: Vec<_> = self.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        values.join("|")
    }

    pub fn challenge(&self) -> String {
        self.header("www-authenticate")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The code of the JSON-RPC error.
    #[track_caller]
    pub fn code(&self) -> i64 {
        self.json()["error"]["code"].as_i64().unwrap_or_else(|| panic!("no JSON-RPC error: {self:?}"))
    }

    #[track_caller]
    pub fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// The status and the JSON-RPC error code of a refusal.
    #[track_caller]
    pub fn refuses(&self, status: u16, code: i64) -> &Self {
        self.is(status);
        assert_eq!(self.code(), code, "{self:?}");
        self
    }

    /// The value of one parameter of the challenge.
    pub fn challenge_parameter(&self, name: &str) -> Option<String> {
        let challenge = self.challenge();
        let begin = challenge.find(&format!("{name}=\""))? + name.len() + 2;
        Some(challenge[begin..].split('"').next()?.to_owned())
    }

    /// The names in a list result.
    #[track_caller]
    pub fn names(&self, list: &str, key: &str) -> Vec<String> {
        let body = self.json();
        let items = body["result"][list].as_array().unwrap_or_else(|| panic!("no list: {self:?}"));
        items.iter().map(|item| item[key].as_str().unwrap().to_owned()).collect()
    }
}

/// What came back for bytes on a socket.
#[derive(Debug)]
pub struct Raw {
    /// Of the first answer; none when the connection was closed without one.
    pub status: Option<u16>,
    pub text: String,
    /// Whether the gateway closed the connection within the wait.
    pub closed: bool,
}

/// Sends bytes, and reads until the first answer is whole or the connection is closed.
pub async fn raw(address: &str, bytes: &[u8]) -> Raw {
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    // A gateway that has already refused may close before everything is written.
    let _ = socket.write_all(bytes).await;
    read_answer(&mut socket, super::DEADLINE).await
}

/// Reads one answer with a `Content-Length`, or until the connection is closed.
pub async fn read_answer(socket: &mut (impl AsyncReadExt + Unpin), wait: Duration) -> Raw {
    let mut received = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        loop {
            match socket.read(&mut buffer).await {
                Ok(0) | Err(_) => return true,
                Ok(count) => received.extend_from_slice(&buffer[..count]),
            }
            if is_whole(&String::from_utf8_lossy(&received)) {
                return false;
            }
        }
    };
    let closed = tokio::time::timeout(wait, reading).await.unwrap_or(false);
    let text = String::from_utf8_lossy(&received).into_owned();
    let answer = text.strip_prefix("HTTP/1.1 100").and_then(|rest| Some(rest.split_once("\r\n\r\n")?.1)).unwrap_or(&text);
    let status = answer.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    Raw { status, text, closed }
}

fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let head = head.to_ascii_lowercase();
    if head.starts_with("http/1.1 100") {
        return is_whole(body);
    }
    if head.starts_with("http/1.1 204") || head.starts_with("http/1.1 304") {
        return true;
    }
    match head.lines().find_map(|line| line.strip_prefix("content-length:")) {
        Some(length) => body.len() >= length.trim().parse().unwrap_or(usize::MAX),
        None => head.contains("transfer-encoding") && body.ends_with("0\r\n\r\n"),
    }
}
