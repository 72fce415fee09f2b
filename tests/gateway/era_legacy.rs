//! Sessions, streams and server requests of the older revisions: each caller's own, and nobody else's.

use http::Method;
use serde_json::{Value, json};

use crate::support::client::{Call, Reply};
use crate::support::upstream::{Answer, Seen, plain};
use crate::support::{Setup, World, eventually, soon};

/// An upstream that gives out the same easily guessed session id to everybody.
async fn with_sessions() -> World {
    let world = World::with(|config| config["upstreams"]["files"]["allow_server_requests"] = json!(["elicitation"])).await;
    world.files.script(sessions);
    world
}

fn sessions(seen: &Seen) -> Option<Answer> {
    let starts = seen.method == Method::POST && seen.json()["method"] == "initialize";
    match seen.method {
        Method::DELETE => Some(Answer::text(200, "text/plain", "")),
        Method::POST if seen.json().get("method").is_none() => Some(Answer::text(202, "text/plain", "")),
        _ if starts => Some(plain(seen).with("mcp-session-id", "1")),
        _ => None,
    }
}

fn initialize(world: &World, token: &str) -> Call {
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}}, "clientInfo": {"name": "x", "version": "1"}});
    world.legacy("initialize", params).token(token)
}

async fn begin(world: &World, token: &str) -> String {
    let reply = initialize(world, token).send().await;
    let session = reply.is(200).header("mcp-session-id");
    assert!(!session.is_empty(), "{reply:?}");
    session
}

fn within(world: &World, session: &str, token: &str) -> Call {
    world.legacy("tools/list", json!({})).header("mcp-session-id", session).token(token)
}

fn attend(world: &World, method: Method, session: &str, token: &str) -> Call {
    within(world, session, token).method(method).body("").without("content-type")
}

fn events(session: &World, id: &str, token: &str) -> Call {
    attend(session, Method::GET, id, token)
}

/// The stream that a GET opened, and the end to feed it by.
async fn listening(
    world: &World,
    session: &str,
    token: &str,
) -> (reqwest::Response, tokio::sync::mpsc::Sender<Result<bytes::Bytes, crate::support::upstream::Cut>>) {
    let (answer, feed) = Answer::stream();
    let mut answer = Some(answer);
    world.files.script(move |seen| if seen.method == Method::GET { answer.take() } else { sessions(seen) });
    let stream = events(world, session, token).open().await;
    assert_eq!(stream.status(), 200);
    (stream, feed)
}

async fn next(stream: &mut reqwest::Response) -> String {
    let chunk = soon("an event", stream.chunk()).await.unwrap().expect("more of the stream");
    String::from_utf8(chunk.to_vec()).unwrap()
}

fn data(event: &str) -> Value {
    let line = event.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
    serde_json::from_str(line).unwrap()
}

#[tokio::test]
async fn items_64_and_69_a_session_id_is_sealed_and_the_upstream_sees_its_own() {
    let world = with_sessions().await;
    let session = begin(&world, &world.ta()).await;
    assert!(session.len() > 22 && session.bytes().all(|byte| byte.is_ascii_graphic()), "{session}");
    within(&world, &session, &world.ta()).send().await.is(200);
    assert_eq!(world.files.last().header("mcp-session-id"), "1");
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    assert_eq!(world.files.last().header("mcp-session-id"), "", "a modern call beside it has no session");
    let lines = world.gateway.audited(3, |line| line["outcome"] == "permitted").await;
    let digests: Vec<&Value> = lines.iter().map(|line| &line["session"]).collect();
    assert!(digests[0].is_null() && digests[2].is_null(), "{digests:?}");
    assert_eq!(digests[1].as_str().map(str::len), Some(43), "recorded by digest: {digests:?}");
}

#[tokio::test]
async fn item_67_the_session_of_another_is_404_and_survives() {
    let world = with_sessions().await;
    let session = begin(&world, &world.ta()).await;
    let seen = world.files.count();
    for token in [world.tb(), world.token(|token| token.claims["client_id"] = json!("another-client"))] {
        within(&world, &session, &token).send().await.is(404);
        for method in [Method::GET, Method::DELETE] {
            attend(&world, method, &session, &token).send().await.is(404);
        }
    }
    assert_eq!(world.files.count(), seen);
    within(&world, &session, &world.ta()).send().await.is(200);
    world.gateway.audited(6, |line| line["reason"] == "unknown_session").await;
}

#[tokio::test]
async fn item_68_an_unknown_or_altered_session_is_404_and_two_are_400() {
    let world = with_sessions().await;
    let session = begin(&world, &world.ta()).await;
    let seen = world.files.count();
    for bad in ["1", "abc", ".1", &session[1..], &format!("{session}1"), &session.to_uppercase(), &session[..session.len() - 1]] {
        within(&world, bad, &world.ta()).send().await.is(404);
    }
    within(&world, &session, &world.ta()).header("mcp-session-id", &session).send().await.is(400);
    assert_eq!(world.files.count(), seen);
}

#[tokio::test]
async fn a_session_of_one_upstream_is_none_of_another() {
    let world = with_sessions().await;
    let session = begin(&world, &world.ta()).await;
    let token = world.issuer.token(&format!("{}/mcp/crm", world.origin), |_| {});
    within(&world, &session, &token).path("/mcp/crm").send().await.is(404);
    world.crm.saw_nothing();
}

#[tokio::test]
async fn item_70_a_stream_needs_a_token_and_a_session() {
    let world = with_sessions().await;
    let session = begin(&world, &world.ta()).await;
    let seen = world.files.count();
    events(&world, &session, "").without("authorization").send().await.is(401);
    events(&world, &session, &world.ta()).without("mcp-session-id").send().await.is(405);
    assert_eq!(world.files.count(), seen);
    let (mut stream, feed) = listening(&world, &session, &world.ta()).await;
    feed.send(Ok(": hello\n\n".into())).await.unwrap();
    assert_eq!(next(&mut stream).await, ": hello\n\n");
}

#[tokio::test]
async fn item_74_priming_events_retry_and_comments_pass_and_ids_come_back() {
    let world = with_sessions().await;
    let session = begin(&world, &world.ta()).await;
    let (mut stream, feed) = listening(&world, &session, &world.ta()).await;
    feed.send(Ok("id: e7\ndata: \n\n".into())).await.unwrap();
    let primed = next(&mut stream).await;
    let id = primed.strip_prefix("id: ").and_then(|rest| rest.strip_suffix("\ndata: \n\n")).expect("a priming event").to_owned();
    feed.send(Ok("retry: 500\n\n".into())).await.unwrap();
    assert_eq!(next(&mut stream).await, "retry: 500\n\n");
    world.files.script(|seen| if seen.method == Method::GET { Some(Answer::events("")) } else { sessions(seen) });
    events(&world, &session, &world.ta()).header("last-event-id", &id).send().await.is(200);
    assert_eq!(world.files.last().header("last-event-id"), "e7");
    // Another's, a guessed or an altered one resumes nothing.
    let seen = world.files.count();
    let other = begin(&world, &world.tb()).await;
    events(&world, &other, &world.tb()).header("last-event-id", &id).send().await.is(404);
    for bad in ["e7", "x.e7", &format!("{id}8")] {
        events(&world, &session, &world.ta()).header("last-event-id", bad).send().await.is(404);
    }
    assert_eq!(world.files.count(), seen + 1);
}

#[tokio::test]
async fn a_resumed_stream_delivers_no_list_uncut() {
    let world = with_sessions().await;
    let session = begin(&world, &world.ta()).await;
    let (mut stream, feed) = listening(&world, &session, &world.ta()).await;
    let list = json!({"jsonrpc": "2.0", "id": 3, "result": {"tools": [{"name": "read_file"}, {"name": "wipe"}]}});
    feed.send(Ok(format!("id: 1\ndata: {list}\n\n").into())).await.unwrap();
    assert_eq!(data(&next(&mut stream).await)["result"]["tools"], json!([{"name": "read_file"}]));
    world.files.script(|seen| {
        (seen.method == Method::GET).then(|| Answer::json(json!({"jsonrpc": "2.0", "id": 3, "result": {"tools": [{"name": "wipe"}]}})))
    });
    events(&world, &session, &world.ta()).send().await.is(502);
}

/// Asks the client something on its stream; gives the id under which the client knows it.
async fn asked(world: &World, session: &str, token: &str) -> Value {
    let (mut stream, feed) = listening(world, session, token).await;
    let request = json!({"jsonrpc": "2.0", "id": 41, "method": "elicitation/create", "params": {"message": "sure?"}});
    feed.send(Ok(format!("data: {request}\n\n").into())).await.unwrap();
    let told = data(&next(&mut stream).await);
    assert_eq!(told["params"], request["params"]);
    let cancelled = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 41}});
    feed.send(Ok(format!("data: {cancelled}\n\n").into())).await.unwrap();
    assert_eq!(data(&next(&mut stream).await)["params"]["requestId"], told["id"]);
    told["id"].clone()
}

fn answering(world: &World, session: &str, token: &str, id: &Value) -> impl Future<Output = Reply> + use<> {
    within(world, session, token).body(json!({"jsonrpc": "2.0", "id": id, "result": {"action": "accept"}}).to_string()).send()
}

#[tokio::test]
async fn a_servers_request_is_answered_by_who_was_asked() {
    let world = with_sessions().await;
    let session = begin(&world, &world.ta()).await;
    let id = asked(&world, &session, &world.ta()).await;
    answering(&world, &session, &world.ta(), &id).await.is(202);
    let seen = world.files.last();
    assert_eq!(seen.json(), json!({"jsonrpc": "2.0", "id": 41, "result": {"action": "accept"}}));
    assert_eq!(seen.header("mcp-session-id"), "1");
}

#[tokio::test]
async fn item_s16_an_answer_to_what_nobody_asked_goes_no_further() {
    let world = with_sessions().await;
    let session = begin(&world, &world.ta()).await;
    let id = asked(&world, &session, &world.ta()).await;
    let others = begin(&world, &world.tb()).await;
    let seen = world.files.count();
    for bad in [json!(41), json!("41"), json!("x.41"), json!(null), json!(format!("{}1", id.as_str().unwrap()))] {
        answering(&world, &session, &world.ta(), &bad).await.is(400);
    }
    answering(&world, &others, &world.tb(), &id).await.is(400);
    answering(&world, &session, &world.tb(), &id).await.is(404);
    let without = within(&world, &session, &world.ta()).without("mcp-session-id");
    without.body(json!({"jsonrpc": "2.0", "id": id, "result": {}}).to_string()).send().await.is(400);
    assert_eq!(world.files.count(), seen);
}

#[tokio::test]
async fn items_75_and_s17_cancelling_stays_within_the_session() {
    let world = with_sessions().await;
    let session = begin(&world, &world.ta()).await;
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}).to_string();
    let seen = world.files.count();
    within(&world, &session, &world.tb()).body(cancel.clone()).send().await.is(404);
    within(&world, &session, &world.ta()).without("mcp-session-id").body(cancel.clone()).send().await.is(202);
    assert_eq!(world.files.count(), seen, "not without a session of the caller's own");
    within(&world, &session, &world.ta()).body(cancel).send().await;
    assert_eq!(world.files.last().json()["method"], "notifications/cancelled");
    // A client that goes away cancels nothing.
    let (silent, given_up) = Answer::never();
    let mut silent = Some(silent);
    world.files.script(move |_| silent.take());
    let call = within(&world, &session, &world.ta());
    let waiting = tokio::spawn(async move { call.try_send().await.is_ok() });
    let seen = world.files.count() + 1;
    eventually("the call to arrive", || async { (world.files.count() == seen).then_some(()) }).await;
    waiting.abort();
    let _ = soon("the gateway to give up", given_up).await;
    assert_eq!(world.files.count(), seen);
}

#[tokio::test]
async fn item_s15_a_session_is_ended_by_its_owner() {
    let world = with_sessions().await;
    let session = begin(&world, &world.ta()).await;
    attend(&world, Method::DELETE, &session, &world.ta()).send().await.is(200);
    let seen = world.files.last();
    assert_eq!((seen.method.as_str(), seen.header("mcp-session-id").as_str(), seen.body.len()), ("DELETE", "1", 0));
}

#[tokio::test]
async fn a_reload_ends_no_session_and_replicas_share_keys() {
    let mut setup = Setup::new().await;
    let keys = setup.folder.path().join("keys");
    std::fs::write(&keys, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").unwrap();
    let world = with_sessions().await;
    let session = begin(&world, &world.ta()).await;
    let mut changed = world.config.clone();
    changed["limits"] = json!({"depth": 40});
    world.gateway.reload(&changed).await;
    within(&world, &session, &world.ta()).send().await.is(200);
    // With keys of a file, a restart ends none either; the newest key stands first.
    setup.config["seal_keys_file"] = json!(keys);
    setup.files.script(sessions);
    let mut world = setup.start().await;
    let session = begin(&world, &world.ta()).await;
    std::fs::write(&keys, "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").unwrap();
    world.gateway.signal("TERM");
    world.gateway.exit().await;
    world.gateway = crate::support::gateway::Gateway::start(world.folder.path(), &world.config, &world.http).await;
    within(&world, &session, &world.ta()).send().await.is(200);
    assert_ne!(begin(&world, &world.ta()).await, session, "the new key seals");
}

#[tokio::test]
async fn item_s8_a_stream_ends_with_its_token_though_it_is_idle() {
    let mut setup = Setup::new().await;
    setup.config["issuers"]["corp"]["leeway"] = json!("0s");
    setup.files.script(sessions);
    let world = setup.start().await;
    let short = || world.token(|token| token.claims["exp"] = json!(crate::support::issuer::now() + 2));
    let session = begin(&world, &world.ta()).await;
    let token = short();
    let (mut stream, _feed) = listening(&world, &session, &token).await;
    assert_eq!(soon("the stream to end", stream.chunk()).await.unwrap(), None);
    world.gateway.audited(1, |line| line["reason"] == "token_expired" && line["operation"] == "session/stream").await;
    within(&world, &session, &token).send().await.is(401);
    // A subscription of the modern era is told so.
    let (answer, feed) = Answer::stream();
    let mut answer = Some(answer);
    world.files.script(move |_| answer.take());
    let listen = world.modern("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}));
    let mut stream = listen.token(&short()).open().await;
    feed.send(Ok(": open\n\n".into())).await.unwrap();
    assert_eq!(next(&mut stream).await, ": open\n\n");
    let last = data(&next(&mut stream).await);
    assert_eq!(last["result"]["resultType"], "complete");
    assert_eq!(last["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"], last["id"]);
    assert_eq!(soon("the stream to end", stream.chunk()).await.unwrap(), None);
}

#[tokio::test]
async fn a_session_id_that_no_header_may_carry_is_refused() {
    let world = World::start().await;
    world.files.script(|seen| Some(plain(seen).with("mcp-session-id", "a b")));
    initialize(&world, &world.ta()).send().await.is(502);
}
