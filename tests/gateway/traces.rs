//! What a collector of traces gets: spans of each request, and never what a caller wrote.

use std::sync::atomic::{AtomicU16, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;

use crate::support::tls::Identity;
use crate::support::{Answer, Setup, World, eventually};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// An OTLP/HTTP collector that keeps what it gets.
struct Collector {
    url: String,
    kept: Arc<Kept>,
}

struct Kept {
    status: AtomicU16,
    exports: Mutex<Vec<(HeaderMap, Bytes)>>,
}

async fn take(State(kept): State<Arc<Kept>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    kept.exports.lock().unwrap().push((headers, body));
    StatusCode::from_u16(kept.status.load(SeqCst)).unwrap()
}

impl Collector {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let kept = Arc::new(Kept { status: AtomicU16::new(200), exports: Mutex::default() });
        let router = axum::Router::new().route("/v1/traces", axum::routing::post(take)).with_state(kept.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, kept }
    }

    fn exports(&self) -> Vec<(HeaderMap, Bytes)> {
        self.kept.exports.lock().unwrap().clone()
    }

    fn spans(&self) -> Vec<Span> {
        let decode = |(_, body): &(HeaderMap, Bytes)| ExportTraceServiceRequest::decode(body.clone()).unwrap();
        let resources = self.exports().iter().map(decode).flat_map(|export| export.resource_spans).collect::<Vec<_>>();
        resources.into_iter().flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    /// The spans of the request with this id, its own first, once they are there.
    async fn of(&self, id: &str) -> (Span, Vec<Span>) {
        let root = eventually("the spans of a request", || async {
            self.spans().into_iter().find(|span| text(span, "doorward.request_id").as_deref() == Some(id))
        })
        .await;
        let children = self.spans().into_iter().filter(|span| span.parent_span_id == root.span_id).collect();
        (root, children)
    }
}

fn any(span: &Span, key: &str) -> Option<Any> {
    span.attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value
}

fn text(span: &Span, key: &str) -> Option<String> {
    match any(span, key)? {
        Any::StringValue(text) => Some(text),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

async fn world(collector: &Collector, ratio: f64) -> World {
    World::with(|config| config["traces"] = json!({"endpoint": collector.url, "ratio": ratio})).await
}

#[tokio::test]
async fn a_call_has_a_span_and_each_room_a_span_beneath_it() {
    let collector = Collector::start().await;
    let world = world(&collector, 0.0).await;
    let reply = world.tool("read_file").header("traceparent", &format!("00-{TRACE}-{CALLER}-01")).token(&world.ta()).send().await;
    let id = reply.is(200).header("doorward-request-id");
    let (root, children) = collector.of(&id).await;

    assert_eq!((hex(&root.trace_id), hex(&root.parent_span_id)), (TRACE.to_owned(), CALLER.to_owned()));
    assert_eq!((root.name.as_str(), root.kind), ("tools/call", 2));
    for (key, value) in [
        ("mcp.method.name", "tools/call"),
        ("doorward.upstream", "files"),
        ("doorward.outcome", "permitted"),
        ("doorward.reason", "permitted"),
        ("doorward.rule", "readers"),
    ] {
        assert_eq!(text(&root, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(any(&root, "http.response.status_code"), Some(Any::IntValue(200)));

    assert_eq!(names(&children), ["route", "authenticate", "body", "judge", "upstream", "relay"]);
    assert!(children.iter().all(|child| child.trace_id == root.trace_id && child.span_id.len() == 8));
    let mut at = root.start_time_unix_nano;
    for child in &children {
        assert!(child.start_time_unix_nano >= at && child.end_time_unix_nano >= child.start_time_unix_nano, "{children:?}");
        at = child.end_time_unix_nano;
    }
    assert_eq!(at, root.end_time_unix_nano);

    // The upstream is told of the span that waits for it.
    let upstream = children.iter().find(|child| child.name == "upstream").unwrap();
    assert_eq!(world.files.only().header("traceparent"), format!("00-{TRACE}-{}-01", hex(&upstream.span_id)));
    let (headers, _) = collector.exports().remove(0);
    assert_eq!(headers["content-type"], "application/x-protobuf");
}

#[tokio::test]
async fn the_trace_of_the_message_goes_before_that_of_the_head() {
    let collector = Collector::start().await;
    let world = world(&collector, 0.0).await;
    let reply = world
        .modern("tools/call", json!({"name": "read_file", "arguments": {}}))
        .edit(|message| message["params"]["_meta"]["traceparent"] = json!(format!("00-{TRACE}-{CALLER}-01")))
        .header("traceparent", "00-11111111111111111111111111111111-2222222222222222-01")
        .token(&world.ta())
        .send()
        .await;
    let (root, _) = collector.of(&reply.is(200).header("doorward-request-id")).await;
    assert_eq!(hex(&root.trace_id), TRACE);
}

#[tokio::test]
async fn a_refused_request_ends_in_the_room_that_refused_it() {
    let collector = Collector::start().await;
    let world = world(&collector, 1.0).await;
    for (call, status, reason, last) in [
        (world.tool("read_file").path("/nowhere"), 404, "not_found", "route"),
        (world.tool("read_file"), 401, "token_missing", "authenticate"),
        (world.tool("wipe").token(&world.ta()), 403, "denied_by_rule", "judge"),
    ] {
        let reply = call.send().await;
        let (root, children) = collector.of(&reply.is(status).header("doorward-request-id")).await;
        assert_eq!(text(&root, "doorward.reason").as_deref(), Some(reason));
        assert_eq!((names(&children).pop(), root.status), (Some(last), None), "{reason}");
    }
}

#[tokio::test]
async fn a_failed_call_is_marked_where_it_failed() {
    let collector = Collector::start().await;
    let world = world(&collector, 1.0).await;
    world.files.once(Answer::Die);
    let reply = world.tool("read_file").token(&world.ta()).send().await;
    let (root, mut children) = collector.of(&reply.is(502).header("doorward-request-id")).await;
    let failed = |span: &Span| span.status.as_ref().is_some_and(|status| status.code == 2);
    let last = children.pop().unwrap();
    assert!(failed(&root) && failed(&last) && last.name == "upstream" && !children.iter().any(failed));
}

#[tokio::test]
async fn nothing_that_a_caller_wrote_reaches_the_collector() {
    let collector = Collector::start().await;
    let world = world(&collector, 1.0).await;
    let token = world.token(|token| token.claims["sub"] = json!("subject-canary"));
    let calls = [
        world.modern("tools/call", json!({"name": "read_path", "arguments": {"path": "/pub/argument-canary"}})).token(&token),
        world.tool("tool-canary").token(&token),
        world.modern("method-canary", json!({})).token(&token),
        world.tool("read_file").token("token-canary"),
        world.tool("read_file").path("/path-canary"),
        world.tool("read_file").header("host", "host-canary.example"),
        world.tool("read_file").header("tracestate", "state-canary=1").header("baggage", "k=baggage-canary").token(&token),
        world.modern("resources/read", json!({"uri": "file:///pub/uri-canary"})).token(&token),
    ];
    for call in calls {
        let id = call.send().await.header("doorward-request-id");
        collector.of(&id).await;
    }
    let signature = token.rsplit('.').next().unwrap();
    for (headers, body) in collector.exports() {
        let all = format!("{headers:?}{}", String::from_utf8_lossy(&body));
        assert!(!all.contains("canary") && !all.contains(signature) && !all.contains(&token), "{all}");
    }
}

#[tokio::test]
async fn a_stranger_has_no_say_in_what_is_traced() {
    let collector = Collector::start().await;
    let world = world(&collector, 0.0).await;
    let parent = format!("00-{TRACE}-{CALLER}-01");
    world.tool("read_file").header("traceparent", &parent).send().await.is(401);
    world.tool("read_file").path("/nowhere").header("traceparent", &parent).send().await.is(404);
    // A known caller that asks for none, and one that asks for nothing where the share is nothing.
    world.tool("read_file").header("traceparent", &format!("00-{TRACE}-{CALLER}-00")).token(&world.ta()).send().await.is(200);
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    let reply = world.tool("read_file").header("traceparent", &parent).token(&world.ta()).send().await;
    collector.of(&reply.header("doorward-request-id")).await;
    assert_eq!(collector.spans().iter().filter(|span| span.kind == 2).count(), 1);
    let told: Vec<String> = world.files.seen().iter().map(|seen| seen.header("traceparent")).collect();
    assert!(told[0].starts_with(&format!("00-{TRACE}-")) && told[0].ends_with("-00") && told[1].ends_with("-00"), "{told:?}");
}

#[tokio::test]
async fn a_collector_that_is_down_costs_no_call_and_is_counted() {
    let collector = Collector::start().await;
    collector.kept.status.store(503, SeqCst);
    let world = world(&collector, 1.0).await;
    for _ in 0..3 {
        world.tool("read_file").token(&world.ta()).send().await.is(200);
    }
    let dropped = || async { world.gateway.metrics().await.sum("doorward_traces_dropped_total", "") };
    eventually("losses to be counted", || async { (dropped().await >= 3.0).then_some(()) }).await;
    collector.kept.status.store(200, SeqCst);
    let reply = world.tool("read_file").token(&world.ta()).send().await;
    collector.of(&reply.is(200).header("doorward-request-id")).await;
    eventually("the recovery to be told", || async { world.gateway.stderr().contains("by the collector again").then_some(()) }).await;
}

#[tokio::test]
async fn nobody_at_the_collectors_address_costs_no_call() {
    let world = World::with(|config| config["traces"] = json!({"endpoint": "http://127.0.0.1:9/v1/traces"})).await;
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    eventually("the loss to be counted", || async {
        (world.gateway.metrics().await.sum("doorward_traces_dropped_total", "") >= 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_stop_sends_what_is_left_and_the_collector_gets_its_headers() {
    let collector = Collector::start().await;
    let mut setup = Setup::new().await;
    std::fs::write(setup.folder.path().join("collector"), "X-Api-Key: key-for-the-collector\nX-Tenant: acme\n").unwrap();
    setup.config["traces"] = json!({"endpoint": collector.url, "headers_file": "collector"});
    let mut world = setup.start().await;
    let reply = world.tool("read_file").token(&world.ta()).send().await;
    world.gateway.signal("TERM");
    assert!(world.gateway.exit().await.success());
    assert_eq!(collector.of(&reply.header("doorward-request-id")).await.1.len(), 6);
    let (headers, _) = collector.exports().remove(0);
    assert_eq!((headers["x-api-key"].as_bytes(), headers["x-tenant"].as_bytes()), (&b"key-for-the-collector"[..], &b"acme"[..]));
    assert!(!world.gateway.stderr().contains("key-for-the-collector"));
}

/// TLS before the collector; its address.
async fn over_tls(collector: &Collector, identity: &Identity) -> String {
    let plain = collector.url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://127.0.0.1:{}/v1/traces", listener.local_addr().unwrap().port());
    let acceptor = identity.acceptor();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, plain) = (acceptor.clone(), plain.clone());
            tokio::spawn(async move {
                let Ok(mut inner) = acceptor.accept(socket).await else { return };
                let mut outer = tokio::net::TcpStream::connect(plain).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut inner, &mut outer).await;
            });
        }
    });
    url
}

#[tokio::test]
async fn a_collector_of_a_named_authority_gets_spans_and_one_of_another_none() {
    let (collector, identity, other) = (Collector::start().await, Identity::new(), Identity::new());
    let url = over_tls(&collector, &identity).await;
    let with_ca = |pem: String| {
        let url = url.clone();
        async move {
            let mut setup = Setup::new().await;
            std::fs::write(setup.folder.path().join("collector-ca.pem"), pem).unwrap();
            setup.config["traces"] = json!({"endpoint": url, "ca_file": "collector-ca.pem"});
            setup.start().await
        }
    };
    let world = with_ca(other.certificate_pem.clone()).await;
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    eventually("the loss to be counted", || async {
        (world.gateway.metrics().await.sum("doorward_traces_dropped_total", "") >= 1.0).then_some(())
    })
    .await;
    assert_eq!(collector.exports().len(), 0);
    let world = with_ca(identity.certificate_pem.clone()).await;
    let reply = world.tool("read_file").token(&world.ta()).send().await;
    collector.of(&reply.is(200).header("doorward-request-id")).await;
}
