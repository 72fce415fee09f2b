//! Streams live and end: at once, in order, in the way of their era, on HTTP/1.1 and HTTP/2, whoever reads or does not.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Sender;

use crate::support::client::{self, Call};
use crate::support::upstream::{Answer, Cut, plain};
use crate::support::{Setup, World, eventually, soon};

type Feed = Sender<Result<Bytes, Cut>>;

/// By HTTP/1.1 and by HTTP/2.
async fn both(change: impl Fn(&mut Value)) -> [World; 2] {
    let mut setup = Setup::new().await;
    change(&mut setup.config);
    let mut over_h2 = Setup::new().await;
    change(&mut over_h2.config);
    over_h2.config["listen"][0]["h2c"] = json!(true);
    let h2 = client::builder().tls_certs_only([]).http2_prior_knowledge().build().unwrap();
    [setup.start().await, over_h2.start_with(h2).await]
}

fn listen(world: &World) -> Call {
    world.modern("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}))
}

/// Opens what `call` asks for, and has its first event pass.
async fn open(world: &World, call: Call) -> (reqwest::Response, Feed) {
    let (answer, feed) = Answer::stream();
    let mut answer = Some(answer);
    world.files.script(move |seen| answer.take().filter(|_| seen.json()["method"] != "initialize"));
    let mut stream = call.open().await;
    assert_eq!(stream.status(), 200);
    feed.send(Ok(": open\n\n".into())).await.unwrap();
    assert_eq!(next(&mut stream).await, ": open\n\n");
    (stream, feed)
}

async fn next(stream: &mut reqwest::Response) -> String {
    let chunk = soon("an event", stream.chunk()).await.unwrap().expect("more of the stream");
    String::from_utf8(chunk.to_vec()).unwrap()
}

/// The stream of a legacy session.
async fn session(world: &World) -> (reqwest::Response, Feed) {
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}});
    world.files.script(|seen| Some(plain(seen).with("mcp-session-id", "1")));
    let begun = world.legacy("initialize", params).token(&world.ta()).send().await;
    let (answer, feed) = Answer::stream();
    world.files.once(answer);
    let call = world.legacy("tools/list", json!({})).method(Method::GET).body("").without("content-type");
    let mut stream = call.header("mcp-session-id", &begun.is(200).header("mcp-session-id")).token(&world.ta()).open().await;
    assert_eq!(stream.status(), 200);
    feed.send(Ok(": open\n\n".into())).await.unwrap();
    assert_eq!(next(&mut stream).await, ": open\n\n");
    (stream, feed)
}

/// The stream ends with the result of a subscription.
async fn ends_gracefully(stream: &mut reqwest::Response) {
    let last = next(stream).await;
    let last: Value = serde_json::from_str(last.trim().strip_prefix("data: ").expect("data")).unwrap();
    assert_eq!(last["result"]["resultType"], "complete");
    assert_eq!(last["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"], last["id"]);
    ends(stream).await;
}

/// Nothing more comes; on HTTP/2 the end is a frame of no bytes.
async fn ends(stream: &mut reqwest::Response) {
    while let Some(chunk) = soon("the end of the stream", stream.chunk()).await.unwrap() {
        assert!(chunk.is_empty(), "{chunk:?}");
    }
}

/// The same gateway, with the resource of `files` somewhere else.
fn moved(world: &World) -> Value {
    let mut config = world.config.clone();
    config["upstreams"]["files"]["path"] = json!("/mcp/moved");
    config
}

#[tokio::test]
async fn a_subject_listens_by_so_many_streams_and_no_more() {
    for world in both(|config| config["upstreams"]["files"]["limits"] = json!({"streams_per_subject": 2})).await {
        let first = open(&world, listen(&world).token(&world.ta())).await;
        let _second = session(&world).await;
        let asked = world.files.count();
        let refusal = listen(&world).token(&world.ta()).send().await;
        assert_eq!(refusal.refuses(429, -31429).json()["id"], 1);
        assert_eq!(world.files.count(), asked, "the upstream hears nothing of it");
        let lines = world.gateway.audited(1, |line| line["reason"] == "too_many_streams").await;
        assert_eq!(lines[0]["outcome"], "refused");
        // Another subject, another upstream and a plain call are none of it.
        let _other = open(&world, listen(&world).token(&world.tb())).await;
        world.files.script(|_| None);
        world.tool("read_file").token(&world.ta()).send().await.is(200);
        // A stream that its client leaves makes room.
        drop(first);
        let again = eventually("a place", || async {
            let (answer, feed) = Answer::stream();
            world.files.once(answer);
            let stream = listen(&world).token(&world.ta()).open().await;
            (stream.status() == 200).then_some((stream, feed))
        })
        .await;
        // So does one that the upstream ends, or breaks off.
        let (stream, feed) = again;
        feed.send(Err(Cut)).await.unwrap();
        eventually("a place", || async {
            world.files.once(Answer::events(": over\n\n"));
            (listen(&world).token(&world.ta()).send().await.status == 200).then_some(())
        })
        .await;
        drop(stream);
    }
}

#[tokio::test]
async fn a_place_is_free_again_after_a_connection_that_was_reset_and_after_an_upstream_that_did_not_answer() {
    let limits = json!({"streams_per_subject": 1, "timeout": "300ms"});
    let world = World::with(|config| config["upstreams"]["files"]["limits"] = limits).await;
    for _ in 0..5 {
        let call = listen(&world);
        let (answer, feed) = Answer::stream();
        let mut answer = Some(answer);
        world.files.script(move |_| answer.take());
        let mut socket = eventually("a place", || async {
            let mut socket = TcpStream::connect(&world.address).await.unwrap();
            socket.write_all(&world.written(&call, LISTENS)).await.unwrap();
            let mut first = [0; 12];
            socket.read_exact(&mut first).await.unwrap();
            (&first == b"HTTP/1.1 200").then_some(socket)
        })
        .await;
        feed.send(Ok(": unread\n\n".into())).await.unwrap();
        socket.readable().await.unwrap();
        // Closing upon unread bytes resets the connection.
        socket.write_all(b"x").await.unwrap();
        drop(socket);
        soon("the end of the upstream's stream", feed.closed()).await;
    }
    world.files.script(|_| Some(Answer::never().0));
    let unanswered = || async { (listen(&world).token(&world.ta()).send().await.status == 504).then_some(()) };
    eventually("a place", unanswered).await;
    eventually("a place", unanswered).await;
    assert_eq!(world.gateway.metrics().await.sum("doorward_open_streams", ""), 0.0);
}

const LISTENS: &str = "Mcp-Method: subscriptions/listen";

#[tokio::test]
async fn a_stream_that_has_arrived_leaves_in_one_write_with_its_head_and_its_end() {
    let world = World::start().await;
    let event = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"resultType\":\"complete\",\"content\":[]}}\n\n";
    world.files.script(move |_| Some(Answer::events(event)));
    let request = world.written(&world.tool("read_file"), "Mcp-Method: tools/call\r\nMcp-Name: read_file");
    let mut socket = TcpStream::connect(&world.address).await.unwrap();
    let mut whole = 0;
    for _ in 0..50 {
        socket.write_all(&request).await.unwrap();
        let (mut answer, mut reads) = (Vec::with_capacity(4 << 10), 0);
        while !answer.ends_with(b"\r\n0\r\n\r\n") {
            assert_ne!(soon("the answer", socket.read_buf(&mut answer)).await.unwrap(), 0, "{}", String::from_utf8_lossy(&answer));
            reads += 1;
        }
        whole += i32::from(reads == 1);
        assert!(String::from_utf8_lossy(&answer).contains(event), "{}", String::from_utf8_lossy(&answer));
    }
    // The server may write in two, but seldom does.
    assert!(whole > 25, "{whole}");
}

#[tokio::test]
async fn item_s19_a_reload_ends_the_streams_of_an_upstream_that_is_gone_within_a_second() {
    for world in both(|_| {}).await {
        let (mut listening, _feed) = open(&world, listen(&world).token(&world.ta())).await;
        let (mut attending, _other) = session(&world).await;
        let (mut call, _answer) = open(&world, world.tool("read_file").token(&world.ta())).await;
        let begun = Instant::now();
        world.gateway.offer(&crate::support::gateway::yaml(&moved(&world)));
        ends_gracefully(&mut listening).await;
        ends(&mut attending).await;
        ends(&mut call).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        world.gateway.audited(3, |line| line["reason"] == "reload").await;
        eventually("no open stream", || async { (world.gateway.metrics().await.sum("doorward_open_streams", "") == 0.0).then_some(()) })
            .await;
    }
}

#[tokio::test]
async fn item_s42_a_reload_that_begins_to_enforce_or_lets_less_be_asked_ends_streams_that_began_before() {
    let kinds = |config: &mut Value, kinds: &[&str]| config["upstreams"]["files"]["allow_server_requests"] = json!(kinds);
    let started = |config: &mut Value| {
        config["upstreams"]["files"]["mode"] = json!("observe");
        kinds(config, &["sampling"]);
    };
    for world in both(started).await {
        let mut config = world.config.clone();
        let (mut stream, feed) = open(&world, listen(&world).token(&world.ta())).await;
        kinds(&mut config, &["sampling", "roots"]);
        world.gateway.reload(&config).await;
        feed.send(Ok("retry: 500\n\n".into())).await.unwrap();
        assert_eq!(next(&mut stream).await, "retry: 500\n\n", "what widens ends nothing");
        config["upstreams"]["files"]["mode"] = json!("enforce");
        world.gateway.reload(&config).await;
        ends_gracefully(&mut stream).await;
        let (mut attending, _feed) = session(&world).await;
        kinds(&mut config, &["sampling"]);
        world.gateway.reload(&config).await;
        ends(&mut attending).await;
        world.gateway.audited(2, |line| line["reason"] == "reload").await;
    }
}

#[tokio::test]
async fn a_reload_ends_the_streams_of_callers_whose_issuer_changed_and_no_others() {
    for world in both(|_| {}).await {
        let (mut stream, feed) = open(&world, listen(&world).token(&world.ta())).await;
        let mut config = world.config.clone();
        config["upstreams"]["files"]["rules"][0]["tools"] = json!(["wipe", "scrub"]);
        config["upstreams"]["crm"]["path"] = json!("/mcp/elsewhere");
        world.gateway.reload(&config).await;
        feed.send(Ok("retry: 500\n\n".into())).await.unwrap();
        assert_eq!(next(&mut stream).await, "retry: 500\n\n", "neither its upstream nor its issuer is another");
        config["issuers"]["corp"]["required_claims"] = json!(["email"]);
        world.gateway.reload(&config).await;
        ends_gracefully(&mut stream).await;
    }
}

#[tokio::test]
async fn item_s8_a_stream_ends_with_its_token_on_both_protocols_idle_or_busy() {
    for world in both(|config| config["issuers"]["corp"]["leeway"] = json!("0s")).await {
        let short = || world.token(|token| token.claims["exp"] = json!(crate::support::issuer::now() + 2));
        let (mut idle, _feed) = open(&world, listen(&world).token(&short())).await;
        ends_gracefully(&mut idle).await;
        // An upstream that never pauses cannot put the end off.
        let (mut busy, feed) = open(&world, listen(&world).token(&short())).await;
        let flood = tokio::spawn(async move { while feed.send(Ok(Bytes::from(": x\n\n".repeat(1_000)))).await.is_ok() {} });
        let all = async {
            let mut last = Bytes::new();
            while let Some(chunk) = busy.chunk().await.unwrap() {
                last = chunk;
            }
            last
        };
        let last = soon("the end of a busy stream", all).await;
        assert!(String::from_utf8_lossy(&last).contains("subscriptionId"), "{last:?}");
        soon("the end at the upstream", flood).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_stream_holds_passes_at_once_and_as_it_is_on_both_protocols() {
    for world in both(|_| {}).await {
        let (mut stream, feed) = open(&world, listen(&world).token(&world.ta())).await;
        let told = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n";
        for event in ["retry: 3000\n\n", ": keep-alive\n\n", told, ":\n\n"] {
            feed.send(Ok(event.into())).await.unwrap();
            // The next is not sent before this one has arrived.
            assert_eq!(next(&mut stream).await, event);
        }
    }
}

/// A client that has opened a stream and takes nothing of it, once nothing more goes in.
async fn stalled(world: &World) -> (TcpStream, Feed) {
    let (answer, feed) = Answer::stream();
    world.files.once(answer);
    let mut socket = TcpStream::connect(&world.address).await.unwrap();
    socket.write_all(&world.written(&listen(world), LISTENS)).await.unwrap();
    let chunk = Bytes::from(format!(": {}\n\n", "x".repeat((64 << 10) - 4)));
    while tokio::time::timeout(Duration::from_millis(300), feed.send(Ok(chunk.clone()))).await.is_ok_and(|sent| sent.is_ok()) {}
    (socket, feed)
}

#[tokio::test]
async fn a_reader_who_takes_nothing_is_given_up() {
    let world = World::with(|config| config["limits"] = json!({"idle_timeout": "1s"})).await;
    let (_socket, feed) = stalled(&world).await;
    soon("the end at the upstream", feed.closed()).await;
    eventually("no connection", || async { (world.gateway.metrics().await.sum("doorward_connections", "") == 0.0).then_some(()) }).await;
}

#[tokio::test]
async fn a_stream_is_ended_though_its_reader_takes_nothing() {
    let world = World::start().await;
    let (_socket, feed) = stalled(&world).await;
    world.gateway.offer(&crate::support::gateway::yaml(&moved(&world)));
    soon("the end at the upstream", feed.closed()).await;
    world.gateway.audited(1, |line| line["reason"] == "reload").await;
}

#[tokio::test]
async fn what_is_revoked_ends_a_stream_though_its_reader_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("doorward.db");
    let world = World::with(|config| config["store"] = json!(format!("sqlite:{}", file.display()))).await;
    let (_socket, feed) = stalled(&world).await;
    let config = world.gateway.config_file.display().to_string();
    let what = ["--subject", "user-a", "--issuer", &world.issuer.url];
    let arguments = [&["revoke", "--config", &config, "--reason", "lost", "--by", "mia"][..], &what].concat();
    assert!(crate::support::gateway::run(&arguments).await.status.success());
    soon("the end at the upstream", feed.closed()).await;
    world.gateway.audited(1, |line| line["reason"] == "revoked").await;
}

#[tokio::test]
async fn item_s19_what_is_revoked_ends_its_streams_within_a_second_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("doorward.db");
    for world in both(|config| config["store"] = json!(format!("sqlite:{}", file.display()))).await {
        let other = world.token(|token| token.claims["sub"] = json!("user-b"));
        let (mut lasting, feed) = open(&world, listen(&world).token(&other)).await;
        let (mut modern, _idle) = open(&world, listen(&world).token(&world.ta())).await;
        let (mut legacy, _quiet) = session(&world).await;
        let config = world.gateway.config_file.display().to_string();
        let what = ["--subject", "user-a", "--issuer", &world.issuer.url];
        let arguments = [&["revoke", "--config", &config, "--reason", "lost", "--by", "mia"][..], &what].concat();
        assert!(crate::support::gateway::run(&arguments).await.status.success());
        let written = Instant::now();
        ends_gracefully(&mut modern).await;
        ends(&mut legacy).await;
        assert!(written.elapsed() < Duration::from_secs(1), "{:?}", written.elapsed());
        feed.send(Ok(": still here\n\n".into())).await.unwrap();
        assert_eq!(next(&mut lasting).await, ": still here\n\n");
        world.gateway.audited(2, |record| record["reason"] == "revoked" && record["status"] == 200).await;
    }
}
