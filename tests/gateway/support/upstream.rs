//! A fake MCP server without auth: it records every request and answers from a script.

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};

/// One request, as it really arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    /// Path and query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub version: Version,
    /// Whether the body came whole.
    pub whole: bool,
}

impl Seen {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("the upstream got no JSON: {:?}", self.body))
    }

    /// All values of a header, joined by `|`; absent is the empty string.
    pub fn header(&self, name: &str) -> String {
        let values: Vec<_> = self.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        values.join("|")
    }

    /// Head and body as one text, to look for what must not be there.
    pub fn text(&self) -> String {
        format!("{} {} {:?} {}", self.method, self.path, self.headers, String::from_utf8_lossy(&self.body))
    }
}

/// What the upstream does next.
pub enum Answer {
    Reply {
        status: u16,
        headers: Vec<(String, String)>,
        body: Bytes,
    },
    /// The head at once, then what comes through the channel; an error cuts the connection.
    Stream {
        headers: Vec<(String, String)>,
        chunks: mpsc::Receiver<Result<Bytes, Cut>>,
    },
    /// Nothing, ever; the guard falls when the gateway gives up.
    Never(oneshot::Sender<()>),
    /// The connection is cut after the request was read.
    Die,
}

/// The upstream fell over in the middle of an answer.
#[derive(Debug)]
pub struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut")
    }
}

impl std::error::Error for Cut {}

impl Answer {
    pub fn json(body: Value) -> Self {
        Self::text(200, "application/json", body.to_string())
    }

    pub fn text(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self::Reply { status, headers: vec![("content-type".into(), content_type.into())], body: body.into() }
    }

    /// An event stream that is over at once.
    pub fn events(body: impl Into<Bytes>) -> Self {
        Self::text(200, "text/event-stream", body)
    }

    /// A JSON-RPC result for the request.
    pub fn result(request: &Seen, result: Value) -> Self {
        Self::json(json!({"jsonrpc": "2.0", "id": request.json()["id"], "result": result}))
    }

    /// An open event stream and the end to feed it by.
    pub fn stream() -> (Self, mpsc::Sender<Result<Bytes, Cut>>) {
        Self::held("text/event-stream")
    }

    /// The head of an answer, and the end to feed its body by.
    pub fn held(media_type: &str) -> (Self, mpsc::Sender<Result<Bytes, Cut>>) {
        let (feed, chunks) = mpsc::channel(64);
        (Self::Stream { headers: vec![("content-type".into(), media_type.into())], chunks }, feed)
    }

    /// Silence, and what fails to arrive once the gateway has given up.
    pub fn never() -> (Self, oneshot::Receiver<()>) {
        let (guard, given_up) = oneshot::channel();
        (Self::Never(guard), given_up)
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        match &mut self {
            Self::Reply { headers, .. } | Self::Stream { headers, .. } => headers.push((name.into(), value.into())),
            Self::Never(_) | Self::Die => {}
        }
        self
    }
}

type Script = Box<dyn FnMut(&Seen) -> Option<Answer> + Send>;

/// The server; it listens for as long as the test runs.
#[derive(Clone)]
pub struct Upstream {
    /// Where the gateway finds it.
    pub url: String,
    speaks: Speaks,
    shared: Arc<Shared>,
}

/// Of a mortal upstream.
pub struct Life(tokio::task::JoinHandle<()>);

impl Drop for Life {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Shared {
    seen: Mutex<Vec<Seen>>,
    count: watch::Sender<usize>,
    script: Mutex<Option<Script>>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Speaks {
    Http1,
    H2,
}

impl Upstream {
    pub async fn start() -> Self {
        Self::tcp(Speaks::Http1).await
    }

    pub async fn h2c() -> Self {
        Self::tcp(Speaks::H2).await
    }

    async fn tcp(speaks: Speaks) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self::new(format!("http://{}/mcp", listener.local_addr().unwrap()), speaks);
        let shared = upstream.shared.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let _ = socket.set_nodelay(true);
                tokio::spawn(serve(socket, speaks, shared.clone()));
            }
        });
        upstream
    }

    /// On this port (0 is any) until its life is dropped: then nobody listens there, and open connections are cut.
    pub async fn mortal(port: u16) -> (Self, Life) {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let upstream = Self::new(format!("http://{}/mcp", listener.local_addr().unwrap()), Speaks::Http1);
        let shared = upstream.shared.clone();
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let _ = socket.set_nodelay(true);
                connections.spawn(serve(socket, Speaks::Http1, shared.clone()));
            }
        });
        (upstream, Life(serving))
    }

    /// Over TLS, with the certificate of `identity`.
    pub async fn tls(identity: &super::tls::Identity) -> Self {
        Self::tls_by(identity.acceptor()).await
    }

    /// Over TLS, as `acceptor` has it.
    pub async fn tls_by(acceptor: tokio_rustls::TlsAcceptor) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let upstream = Self::new(format!("https://localhost:{port}/mcp"), Speaks::Http1);
        let shared = upstream.shared.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (shared, acceptor) = (shared.clone(), acceptor.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(socket).await {
                        serve(stream, Speaks::Http1, shared).await;
                    }
                });
            }
        });
        upstream
    }

    pub async fn unix(path: &Path) -> Self {
        let listener = tokio::net::UnixListener::bind(path).unwrap();
        let upstream = Self::new(format!("unix:{}", path.display()), Speaks::Http1);
        let shared = upstream.shared.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Speaks::Http1, shared.clone()));
            }
        });
        upstream
    }

    fn new(url: String, speaks: Speaks) -> Self {
        let shared = Shared { seen: Mutex::default(), count: watch::channel(0).0, script: Mutex::default() };
        Self { url, speaks, shared: Arc::new(shared) }
    }

    pub fn is_h2(&self) -> bool {
        self.speaks == Speaks::H2
    }

    /// Answers by this function; where it gives none, as a plain MCP server would.
    pub fn script(&self, script: impl FnMut(&Seen) -> Option<Answer> + Send + 'static) {
        *self.shared.script.lock().unwrap() = Some(Box::new(script));
    }

    /// Gives this answer once, then answers plainly again.
    pub fn once(&self, answer: Answer) {
        let mut answer = Some(answer);
        self.script(move |_| answer.take());
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        *self.shared.count.borrow()
    }

    /// The latest request.
    pub fn last(&self) -> Seen {
        self.seen().pop().expect("a request")
    }

    /// The only request so far.
    #[track_caller]
    pub fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "the upstream saw {} requests", seen.len());
        seen[0].clone()
    }

    #[track_caller]
    pub fn saw_nothing(&self) {
        let seen: Vec<String> = self.seen().iter().map(Seen::text).collect();
        assert!(seen.is_empty(), "the upstream saw {seen:?}");
    }

    /// Waits until so many requests have arrived.
    pub async fn arrived(&self, count: usize) {
        let mut counter = self.shared.count.subscribe();
        super::soon("a request at the upstream", counter.wait_for(|seen| *seen >= count)).await.unwrap();
    }
}

type Body = UnsyncBoxBody<Bytes, Cut>;

async fn serve(socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, speaks: Speaks, shared: Arc<Shared>) {
    let service = service_fn(move |request| answer(request, shared.clone()));
    let io = TokioIo::new(socket);
    // An upstream that dies ends its connection with an error: that is what was asked for.
    let _ = match speaks {
        Speaks::Http1 => hyper::server::conn::http1::Builder::new().serve_connection(io, service).await,
        Speaks::H2 => hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await,
    };
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Body>, Cut> {
    let (head, body) = request.into_parts();
    let (body, whole) = match body.collect().await {
        Ok(body) => (body.to_bytes(), true),
        Err(_) => (Bytes::new(), false),
    };
    let path = head.uri.path_and_query().map(|path| path.to_string()).unwrap_or_default();
    let seen = Seen { method: head.method, path, headers: head.headers, body, version: head.version, whole };
    shared.seen.lock().unwrap().push(seen.clone());
    let scripted = shared.script.lock().unwrap().as_mut().and_then(|script| script(&seen));
    shared.count.send_modify(|count| *count += 1);
    let answer = scripted.unwrap_or_else(|| plain(&seen));
    let (status, headers, body) = match answer {
        Answer::Reply { status, headers, body } => (status, headers, Full::new(body).map_err(never).boxed_unsync()),
        Answer::Stream { headers, mut chunks } => {
            let stream = futures_util::stream::poll_fn(move |context| {
                chunks.poll_recv(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
            });
            (200, headers, StreamBody::new(stream).boxed_unsync())
        }
        Answer::Never(guard) => {
            let _guard = guard;
            std::future::pending().await
        }
        Answer::Die => return Err(Cut),
    };
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    Ok(response.body(body).unwrap())
}

fn never(error: Infallible) -> Cut {
    match error {}
}

/// What an ordinary MCP server would say.
pub fn plain(seen: &Seen) -> Answer {
    let Ok(message) = serde_json::from_slice::<Value>(&seen.body) else {
        return Answer::text(400, "text/plain", "no JSON");
    };
    if message.get("id").is_none() {
        return Answer::Reply { status: 202, headers: vec![], body: Bytes::new() };
    }
    let named = |names: &[&str], key: &str| -> Vec<Value> {
        names.iter().map(|name| json!({key: name, "name": name, "inputSchema": {"type": "object"}})).collect()
    };
    let mut result = match message["method"].as_str().unwrap_or_default() {
        "tools/list" => json!({"tools": named(TOOLS, "name")}),
        "prompts/list" => json!({"prompts": named(&["greet", "secret_prompt"], "name")}),
        "resources/list" => json!({"resources": named(&["file:///pub/a", "file:///priv/b"], "uri")}),
        "resources/templates/list" => json!({"resourceTemplates": named(&["file:///pub/{name}", "file:///priv/{name}"], "uriTemplate")}),
        "initialize" => {
            json!({"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "fake", "version": "1"}})
        }
        "server/discover" => json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}),
        _ => json!({"content": [{"type": "text", "text": "done"}]}),
    };
    if message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"].is_string() {
        result["resultType"] = json!("complete");
        if message["method"].as_str().is_some_and(|method| method.ends_with("/list") || method == "server/discover") {
            result["ttlMs"] = json!(60000);
            result["cacheScope"] = json!("public");
        }
    }
    Answer::result(seen, result)
}

/// The tools of the fake server, in its own order.
pub const TOOLS: &[&str] = &["write_file", "read_file", "wipe", "merge", "unlisted", "read_path"];

/// `bytes` as one stored gzip member: compressed as far as HTTP is concerned.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    let mut out = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF, 1];
    out.extend(length.to_le_bytes());
    out.extend((!length).to_le_bytes());
    out.extend(bytes);
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    out.extend((!crc).to_le_bytes());
    out.extend(u32::from(length).to_le_bytes());
    out
}
