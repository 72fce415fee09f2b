//! What servers ask of clients: sampling, elicitation, roots. Nothing of it passes unless the configuration says so.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::upstream::{Answer, Cut, Seen, plain};
use crate::support::{World, soon};

const KINDS: [(&str, &str, &str); 4] = [
    ("elicitation", "elicitation/create", r#"{"message":"sure?","requestedSchema":{}}"#),
    ("elicitation_url", "elicitation/create", r#"{"mode":"url","url":"https://evil.example/","message":"go"}"#),
    ("sampling", "sampling/createMessage", r#"{"messages":[],"tools":[{"name":"wipe"}]}"#),
    ("roots", "roots/list", "{}"),
];

fn asking(id: &Value, method: &str, params: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": serde_json::from_str::<Value>(params).unwrap()})
}

fn result(text: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": text}]}})
}

fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

async fn allowing(kinds: &[&str]) -> World {
    let world = World::with(|config| config["upstreams"]["files"]["allow_server_requests"] = json!(kinds)).await;
    world.files.script(sessions);
    world
}

fn sessions(seen: &Seen) -> Option<Answer> {
    match (seen.method.as_str(), seen.json()["method"].as_str()) {
        ("POST", None) => Some(Answer::text(202, "text/plain", "")),
        ("POST", Some("initialize")) => Some(plain(seen).with("mcp-session-id", "s")),
        _ => None,
    }
}

async fn begin(world: &World, token: &str) -> String {
    let all = json!({"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {"listChanged": true}});
    begin_declaring(world, token, &all).await
}

async fn begin_declaring(world: &World, token: &str, capabilities: &Value) -> String {
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": {"name": "x", "version": "1"}});
    world.legacy("initialize", params).token(token).send().await.is(200).header("mcp-session-id")
}

/// The next answers of the upstream, in order; then it answers plainly again.
fn answer_next(world: &World, answer: Answer) {
    let mut answer = Some(answer);
    world.files.script(move |seen| match seen.json().get("method") {
        Some(method) if method == "tools/call" => answer.take(),
        _ => sessions(seen),
    });
}

struct Streaming {
    stream: reqwest::Response,
    feed: mpsc::Sender<Result<Bytes, Cut>>,
}

impl Streaming {
    /// A tool call within a session, answered by a stream.
    async fn call(world: &World, session: &str) -> Self {
        let (answer, feed) = Answer::stream();
        answer_next(world, answer);
        let call = world.legacy("tools/call", json!({"name": "read_file", "arguments": {}}));
        let stream = call.header("mcp-session-id", session).token(&world.ta()).open().await;
        assert_eq!(stream.status(), 200);
        Self { stream, feed }
    }

    async fn tell(&self, data: &Value) {
        self.feed.send(Ok(event(data).into())).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        let chunk = soon("an event", self.stream.chunk()).await.unwrap().expect("more of the stream");
        let text = String::from_utf8(chunk.to_vec()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
        serde_json::from_str(line).unwrap()
    }
}

#[tokio::test]
async fn nothing_is_asked_of_a_client_by_default_and_the_server_hears_so() {
    let world = World::start().await;
    world.files.script(sessions);
    let session = begin(&world, &world.ta()).await;
    let mut call = Streaming::call(&world, &session).await;
    for (n, (kind, method, params)) in KINDS.into_iter().enumerate() {
        let before = world.files.count();
        let id = [json!(41), json!("a\"b"), json!(0), json!("x")][n].clone();
        call.tell(&asking(&id, method, params)).await;
        world.files.arrived(before + 1).await;
        let told = world.files.last();
        assert_eq!((told.method.clone(), told.header("mcp-session-id")), (Method::POST, "s".into()), "{kind}");
        assert_eq!((&told.json()["id"], &told.json()["error"]["code"]), (&id, &json!(-32601)), "{kind}");
        assert!(!told.text().contains("eyJ"), "no token of the caller's goes along: {}", told.text());
        assert_eq!(told.header("x-mcp-user"), "user-a");
    }
    call.tell(&asking(&json!(7), "vendor/ask", "{}")).await;
    call.tell(&result("done")).await;
    assert_eq!(call.next().await, result("done"), "nothing of it reached the client");
    let lines = world.gateway.audited(5, |line| line["reason"] == "server_request").await;
    let told: Vec<[&str; 3]> =
        lines.iter().map(|line| ["operation", "outcome", "subject"].map(|key| line[key].as_str().unwrap())).collect();
    let methods = ["elicitation/create", "elicitation/create", "sampling/createMessage", "roots/list", "server/other"];
    assert_eq!(told, methods.map(|method| [method, "refused", "user-a"]));
    assert_eq!([&lines[0]["name"], &lines[1]["name"]], [&Value::Null, &json!("url")]);
    assert!(lines.iter().all(|line| line["session"].is_string() && line["era"] == "legacy"), "{lines:?}");
    assert!(!lines.iter().any(|line| line.to_string().contains("evil.example")), "what is asked is not written down");
    let metrics = world.gateway.metrics().await;
    for (kind, ..) in KINDS {
        assert_eq!(metrics.sum("doorward_server_requests_total", &format!("kind=\"{kind}\",outcome=\"refused\"")), 1.0, "{kind}");
    }
}

#[tokio::test]
async fn each_kind_passes_where_it_is_allowed_and_no_other() {
    for (allowed, ..) in KINDS {
        let world = allowing(&[allowed]).await;
        let session = begin(&world, &world.ta()).await;
        let mut call = Streaming::call(&world, &session).await;
        for (kind, method, params) in KINDS {
            call.tell(&asking(&json!(41), method, params)).await;
            if kind == allowed {
                let told = call.next().await;
                assert_eq!((&told["method"], &told["params"]), (&json!(method), &serde_json::from_str(params).unwrap()));
            }
        }
        call.tell(&result("done")).await;
        assert_eq!(call.next().await, result("done"), "{allowed}");
        let permitted = world.gateway.audited(1, |line| line["outcome"] == "permitted" && line["operation"] != "initialize").await;
        let kind = KINDS.into_iter().find(|(kind, ..)| *kind == allowed).unwrap();
        assert!(permitted.iter().any(|line| line["operation"] == kind.1), "{permitted:?}");
        world.gateway.audited(3, |line| line["reason"] == "server_request").await;
    }
}

#[tokio::test]
async fn a_ping_passes_and_progress_and_log_messages_too() {
    let world = allowing(&[]).await;
    let session = begin(&world, &world.ta()).await;
    let mut call = Streaming::call(&world, &session).await;
    call.tell(&asking(&json!(1), "ping", "{}")).await;
    assert_eq!(call.next().await["method"], "ping");
    for method in ["notifications/message", "notifications/progress", "notifications/tools/list_changed"] {
        let told = json!({"jsonrpc": "2.0", "method": method, "params": {"progressToken": 1, "data": "x"}});
        call.tell(&told).await;
        assert_eq!(call.next().await, told);
    }
}

#[tokio::test]
async fn item_86_a_change_of_a_resource_that_may_not_be_read_is_not_told() {
    let world = allowing(&[]).await;
    let session = begin(&world, &world.ta()).await;
    let mut call = Streaming::call(&world, &session).await;
    let changed = |params: Value| json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": params});
    let hidden = ["file:///priv/b", "file:///pub/../priv/b", "FILE:///pub/a", "file:///pub/%2e%2e/priv"];
    for params in hidden.map(|uri| json!({"uri": uri})) {
        call.tell(&changed(params)).await;
    }
    call.tell(&changed(json!({"uri": "file:///pub/a", "Uri": "file:///priv/b"}))).await;
    call.tell(&json!([changed(json!({"uri": "file:///priv/b"})), changed(json!({}))])).await;
    call.tell(&changed(json!({"uri": "file:///pub/a"}))).await;
    assert_eq!(call.next().await, changed(json!({"uri": "file:///pub/a"})));
}

#[tokio::test]
async fn item_86_without_a_session_no_change_of_a_resource_is_told() {
    let world = World::start().await;
    let changed = json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "file:///priv/b"}});
    world.files.once(Answer::events(event(&changed) + &event(&result("done"))));
    let reply = world.legacy("tools/call", json!({"name": "read_file"})).token(&world.ta()).send().await;
    assert_eq!(reply.is(200).text(), event(&result("done")));
}

#[tokio::test]
async fn items_95_and_96_a_subscription_that_is_answered_in_json_is_judged_too() {
    let world = allowing(&["elicitation"]).await;
    for (answer, passes) in [
        (needing(&json!({"k": {"method": "sampling/createMessage", "params": {}}})), false),
        (needing(&json!({"k": {"method": "elicitation/create", "params": {"message": "m"}}})), false),
        (json!({"jsonrpc": "2.0", "id": 1, "result": {"resultType": "input_required", "requestState": "s"}}), false),
        (asking(&json!(1), "sampling/createMessage", "{}"), false),
        (json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "no subscriptions"}}), true),
        (json!({"jsonrpc": "2.0", "id": 1, "result": {"resultType": "complete"}}), true),
    ] {
        world.files.once(Answer::json(answer.clone()));
        let call = world.modern("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}));
        let reply = call.token(&world.ta()).send().await;
        assert_eq!(reply.json() == answer, passes, "{answer}: {reply:?}");
        assert_eq!(reply.status, if passes { 200 } else { 502 }, "{answer}: {reply:?}");
    }
    world.gateway.audited(2, |line| line["operation"] == "sampling/createMessage" && line["reason"] == "server_request").await;
}

#[tokio::test]
async fn a_stream_that_is_listened_to_is_no_way_round() {
    let world = World::start().await;
    let (answer, feed) = Answer::stream();
    let mut answer = Some(answer);
    world.files.script(move |seen| if seen.method == Method::GET { answer.take() } else { sessions(seen) });
    let session = begin(&world, &world.ta()).await;
    let listen = world.legacy("ping", json!({})).method(Method::GET).body("").without("content-type");
    let mut stream = listen.header("mcp-session-id", &session).token(&world.ta()).open().await;
    feed.send(Ok(event(&asking(&json!(1), "sampling/createMessage", "{}")).into())).await.unwrap();
    world.files.arrived(3).await;
    assert_eq!(world.files.last().json()["error"]["code"], -32601);
    feed.send(Ok(": on\n\n".into())).await.unwrap();
    assert_eq!(soon("an event", stream.chunk()).await.unwrap().unwrap(), ": on\n\n");
}

#[tokio::test]
async fn a_request_among_others_in_an_array_is_judged_too() {
    let world = allowing(&["elicitation"]).await;
    let session = begin(&world, &world.ta()).await;
    let mut call = Streaming::call(&world, &session).await;
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}});
    let list = json!({"jsonrpc": "2.0", "id": 3, "result": {"tools": [{"name": "wipe"}, {"name": "read_file"}]}});
    let asked = asking(&json!(5), "elicitation/create", "{}");
    call.tell(&json!([asking(&json!(4), "roots/list", "{}"), progress, asked, list])).await;
    let told = call.next().await;
    assert_eq!(told.as_array().unwrap().len(), 3, "{told}");
    assert_eq!(told[0], progress);
    assert!(told[1]["id"].as_str().unwrap().ends_with(".5"), "{told}");
    assert_eq!(told[2]["result"]["tools"], json!([{"name": "read_file"}]));
    world.files.arrived(3).await;
    assert_eq!((&world.files.last().json()["id"], &world.files.last().json()["error"]["code"]), (&json!(4), &json!(-32601)));
}

#[tokio::test]
async fn without_a_session_nothing_is_asked_for_nobody_could_answer() {
    let world = allowing(&["elicitation", "elicitation_url", "sampling", "roots"]).await;
    let stream = [event(&asking(&json!(1), "sampling/createMessage", "{}")), event(&result("done"))].concat();
    world.files.once(Answer::events(stream));
    let reply = world.legacy("tools/call", json!({"name": "read_file", "arguments": {}})).token(&world.ta()).send().await;
    assert_eq!(reply.is(200).text(), event(&result("done")));
    world.gateway.audited(1, |line| line["reason"] == "no_session" && line["outcome"] == "refused").await;
}

#[tokio::test]
async fn where_rules_are_observed_a_refused_question_passes_and_is_recorded() {
    let world = World::with(|config| config["upstreams"]["files"]["mode"] = json!("observe")).await;
    world.files.script(sessions);
    let session = begin(&world, &world.ta()).await;
    let mut call = Streaming::call(&world, &session).await;
    call.tell(&asking(&json!(1), "sampling/createMessage", "{}")).await;
    assert_eq!(call.next().await["method"], "sampling/createMessage");
    world.files.once(Answer::json(needing(&json!({"k": {"method": "roots/list"}}))));
    assert!(world.tool("read_file").token(&world.ta()).send().await.is(200).text().contains("inputRequests"));
    world.gateway.audited(2, |line| line["reason"] == "server_request" && line["outcome"] == "observed").await;
}

#[tokio::test]
async fn item_59_a_request_on_a_modern_stream_is_dropped_and_recorded() {
    let world = allowing(&["elicitation", "elicitation_url", "sampling", "roots"]).await;
    for (_, method, params) in KINDS {
        let stream = [event(&asking(&json!(1), method, params)), event(&result("done"))].concat();
        world.files.once(Answer::events(stream));
        let reply = world.tool("read_file").token(&world.ta()).send().await;
        assert_eq!(reply.is(200).text(), event(&result("done")), "{method}");
    }
    let lines = world.gateway.audited(4, |line| line["reason"] == "server_request").await;
    assert!(lines.iter().all(|line| line["era"] == "modern" && line["outcome"] == "refused"), "{lines:?}");
}

fn needing(inputs: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "result": {"resultType": "input_required", "inputRequests": inputs}})
}

#[tokio::test]
async fn item_95_input_requests_are_refused_unless_their_kind_is_allowed() {
    for (allowed, ..) in KINDS {
        let world = allowing(&[allowed]).await;
        for (kind, method, params) in KINDS {
            let input = json!({"method": method, "params": serde_json::from_str::<Value>(params).unwrap()});
            let body = needing(&json!({"k": input}));
            let both = needing(&json!({"a": {"method": "elicitation/create", "params": {}}, "b": {"method": "sampling/createMessage"}}));
            for as_events in [false, true] {
                let answer = |body: &Value| if as_events { Answer::events(event(body)) } else { Answer::json(body.clone()) };
                world.files.once(answer(&body));
                let reply = world.tool("read_file").token(&world.ta()).send().await;
                if kind == allowed {
                    assert!(reply.is(200).text().contains("input_required"), "{kind}: {reply:?}");
                } else if as_events {
                    assert_eq!(reply.is(200).text().matches("data:").count(), 1);
                    assert!(reply.text().contains("-31502") && !reply.text().contains("inputRequests"), "{kind}: {reply:?}");
                } else {
                    reply.refuses(502, -31502);
                }
                world.files.once(answer(&both));
                let reply = world.tool("read_file").token(&world.ta()).send().await;
                assert!(!reply.text().contains("inputRequests"), "one of two is one too many: {reply:?}");
            }
        }
        world.gateway.audited(6, |line| line["reason"] == "server_request" && line["operation"] != "tools/call").await;
    }
}

/// What a server of 2025-11-25 answers until the user has been to a page.
fn sent_to_page(id: &Value) -> Value {
    let pages = json!([{"mode": "url", "elicitationId": "e", "url": "https://evil.example/", "message": "go"}]);
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32042, "message": "go first", "data": {"elicitations": pages}}})
}

#[tokio::test]
async fn item_95_an_error_that_sends_to_a_page_is_judged_like_the_question_it_stands_for() {
    for allowed in [false, true] {
        let world = allowing(if allowed { &["elicitation_url"] } else { &["elicitation", "sampling", "roots"] }).await;
        let session = begin(&world, &world.ta()).await;
        let page = sent_to_page(&json!(1));
        let passes = |text: String| text.contains("evil.example");
        // Alone in JSON and in events, of either era, within a session, and whatever the status.
        for answer in [
            Answer::json(page.clone()),
            Answer::events(event(&page)),
            Answer::text(400, "application/json", page.to_string()),
            Answer::text(200, "application/json", page.to_string().replace("-32042", "-3.2042e4")),
        ] {
            answer_next(&world, answer);
            let call = world.legacy("tools/call", json!({"name": "read_file", "arguments": {}}));
            let reply = call.header("mcp-session-id", &session).token(&world.ta()).send().await;
            assert_eq!((passes(reply.text()), reply.text().contains("-31502")), (allowed, !allowed), "{reply:?}");
        }
        for answer in [Answer::json(page.clone()), Answer::events(event(&page))] {
            answer_next(&world, answer);
            let reply = world.tool("read_file").token(&world.ta()).send().await;
            assert_eq!(passes(reply.text()), allowed, "{reply:?}");
        }
        // On the stream of a session, in the place of the answer to another request.
        let mut call = Streaming::call(&world, &session).await;
        call.tell(&sent_to_page(&json!(9))).await;
        let told = call.next().await;
        assert_eq!((&told["id"], passes(told.to_string())), (&json!(9), allowed));
        assert_eq!(told["error"]["code"], if allowed { -32042 } else { -31502 });
        let (outcome, reason) = if allowed { ("permitted", "permitted") } else { ("refused", "server_request") };
        let fits = |line: &Value| line["operation"] == "elicitation/create" && line["outcome"] == outcome && line["reason"] == reason;
        let lines = world.gateway.audited(7, fits).await;
        assert!(lines.iter().all(|line| line["name"] == "url" && !line.to_string().contains("evil")), "{lines:?}");
        // A batch can ask nothing.
        answer_next(&world, Answer::json(page.clone()));
        let batch = json!([{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "read_file"}}]).to_string();
        let call = world.legacy("initialize", json!({})).header("mcp-session-id", &session).token(&world.ta()).body(batch);
        assert_eq!(call.send().await.is(200).json()[0]["error"]["code"], -31502);
    }
}

#[tokio::test]
async fn other_errors_of_a_server_pass_as_they_are() {
    let world = World::start().await;
    let error =
        json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "-32042", "data": {"elicitations": [{"code": -32042}]}}});
    for answer in [Answer::json(error.clone()), Answer::events(event(&error))] {
        world.files.once(answer);
        let reply = world.tool("read_file").token(&world.ta()).send().await;
        assert!(reply.is(200).text().contains(&error.to_string()), "{reply:?}");
    }
}

#[tokio::test]
async fn item_95_what_a_client_does_not_declare_is_not_asked_of_it() {
    let world = allowing(&["elicitation", "elicitation_url", "sampling", "roots"]).await;
    let declared = [
        ("elicitation", json!({"elicitation": {}})),
        ("elicitation_url", json!({"elicitation": {"url": {}}})),
        ("sampling", json!({"sampling": {}})),
        ("roots", json!({"roots": {}})),
    ];
    for (kind, method, params) in KINDS {
        for (says, capabilities) in &declared {
            let input = json!({"method": method, "params": serde_json::from_str::<Value>(params).unwrap()});
            let body = needing(&json!({"k": input}));
            for answer in [Answer::json(body.clone()), Answer::events(event(&body))] {
                world.files.once(answer);
                let call = world.tool("read_file").token(&world.ta());
                let call = call.edit(|message| {
                    message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities.clone();
                });
                let reply = call.send().await;
                assert_eq!(reply.text().contains("inputRequests"), kind == *says, "{kind} of a client of {says}: {reply:?}");
            }
        }
    }
    let lines = world.gateway.audited(24, |line| line["reason"] == "undeclared_request" && line["outcome"] == "refused").await;
    assert_eq!(lines.len(), 24, "each of four kinds, of three clients, twice");
}

#[tokio::test]
async fn item_95_an_older_client_is_asked_only_what_it_declared_when_its_session_began() {
    let world = allowing(&["elicitation", "elicitation_url", "sampling", "roots"]).await;
    let declared = [
        ("none", json!({"tasks": {}, "experimental": {"sampling": {}}})),
        ("elicitation", json!({"elicitation": {}})),
        ("elicitation_url", json!({"elicitation": {"url": {}}})),
        ("sampling", json!({"sampling": {"tools": {}}})),
        ("roots", json!({"roots": {"listChanged": true}})),
    ];
    for (says, capabilities) in &declared {
        let session = begin_declaring(&world, &world.ta(), capabilities).await;
        let mut call = Streaming::call(&world, &session).await;
        for (n, (kind, method, params)) in KINDS.into_iter().enumerate() {
            let before = world.files.count();
            call.tell(&asking(&json!(n), method, params)).await;
            if kind == *says {
                assert_eq!(call.next().await["method"], method, "{kind} of a client of {says}");
                continue;
            }
            world.files.arrived(before + 1).await;
            let told = world.files.last().json();
            assert_eq!((&told["id"], &told["error"]["code"]), (&json!(n), &json!(-32601)), "{kind} of a client of {says}");
        }
        call.tell(&result("done")).await;
        assert_eq!(call.next().await, result("done"));
    }
    let fits = |line: &Value| line["reason"] == "undeclared_request" && line["outcome"] == "refused" && line["era"] == "legacy";
    let lines = world.gateway.audited(16, fits).await;
    assert_eq!(lines.len(), 16, "four of one client, three of each other");
    assert!(lines.iter().all(|line| line["session"].is_string()), "{lines:?}");
}

#[tokio::test]
async fn item_95_what_an_older_client_declared_stays_with_its_session_on_every_way() {
    let world = allowing(&["elicitation", "elicitation_url", "sampling", "roots"]).await;
    let roots = json!({"roots": {}});
    // A server that names the session again in each answer takes nothing away and adds nothing.
    let session = begin_declaring(&world, &world.ta(), &roots).await;
    world.files.once(Answer::json(result("x")).with("mcp-session-id", "s"));
    let call = world.legacy("tools/call", json!({"name": "read_file", "arguments": {}})).header("mcp-session-id", &session);
    let again = call.token(&world.ta()).edit(|message| message["params"]["capabilities"] = json!({"sampling": {}})).send().await;
    let again = again.is(200).header("mcp-session-id");
    assert_eq!(again, session);
    let widened = session.replace(".1-", ".f-");
    assert_ne!(widened, session, "{session}");
    let call = world.legacy("tools/list", json!({})).header("mcp-session-id", &widened).token(&world.ta());
    call.send().await.is(404);
    // On the stream that is listened to, after a reload, and in the place of an answer.
    let mut config = world.config.clone();
    config["upstreams"]["files"]["rules"][2]["tools"] = json!(["write_another"]);
    world.gateway.reload(&config).await;
    let (answer, feed) = Answer::stream();
    let mut answer = Some(answer);
    world.files.script(move |seen| if seen.method == Method::GET { answer.take() } else { sessions(seen) });
    let call = world.legacy("x", json!({})).method(Method::GET).body("").without("content-type");
    let stream = call.header("mcp-session-id", &session).token(&world.ta()).open().await;
    let mut listening = Streaming { stream, feed };
    listening.tell(&asking(&json!(1), "sampling/createMessage", "{}")).await;
    listening.tell(&asking(&json!(2), "roots/list", "{}")).await;
    assert_eq!(listening.next().await["method"], "roots/list");
    for page in [Answer::json(sent_to_page(&json!(1))), Answer::events(event(&sent_to_page(&json!(1))))] {
        answer_next(&world, page);
        let call = world.legacy("tools/call", json!({"name": "read_file", "arguments": {}}));
        let reply = call.header("mcp-session-id", &session).token(&world.ta()).send().await;
        assert!(reply.text().contains("-31502") && !reply.text().contains("evil"), "{reply:?}");
    }
    world.gateway.audited(3, |line| line["reason"] == "undeclared_request" && line["outcome"] == "refused").await;
}

#[tokio::test]
async fn item_96_what_may_not_be_answered_with_a_question_is_not() {
    let world = allowing(&["elicitation", "elicitation_url", "sampling", "roots"]).await;
    let lists = ["tools/list", "prompts/list", "resources/list", "resources/templates/list"].map(|method| (method, json!({})));
    let others = [("completion/complete", json!({"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "a", "value": ""}}))];
    for (method, params) in lists.into_iter().chain(others).chain([("server/discover", json!({}))]) {
        // The list may be there all the same.
        let result =
            json!({"resultType": "input_required", "requestState": "s", "tools": [], "capabilities": {}, "completion": {"values": []}});
        for result in [result.clone(), json!({"resultType": "input_required", "prompts": []})] {
            let body = json!({"jsonrpc": "2.0", "id": 1, "result": result});
            for answer in [Answer::json(body.clone()), Answer::events(event(&body))] {
                world.files.once(answer);
                let reply = world.modern(method, params.clone()).token(&world.ta()).try_send().await;
                assert!(!reply.is_ok_and(|reply| reply.text().contains("input_required")), "{method}");
            }
        }
    }
}

#[tokio::test]
async fn no_spelling_and_no_length_hides_what_is_asked() {
    let world = World::start().await;
    let body = needing(&json!({"k": {"method": "roots/list"}})).to_string();
    let filler = "x".repeat(300 << 10);
    let bodies = [
        body.replace("inputRequests", r"input\u0052equests"),
        body.replace("inputRequests", "InputRequests"),
        body.replace("inputRequests", "inputRequest\u{17f}"),
        body.replace(r#"{"id""#, &format!(r#"{{"x":"{filler}","id""#)),
        format!("[{body}]"),
        asking(&json!(1), "roots/list", "{}").to_string(),
        json!([result("x"), asking(&json!(1), "roots/list", "{}")]).to_string(),
    ];
    for body in bodies {
        world.files.once(Answer::text(200, "application/json", body.clone()));
        world.tool("read_file").token(&world.ta()).send().await.is(502);
        world.files.once(Answer::text(200, "application/json", body.clone()));
        world.legacy("tools/call", json!({"name": "read_file", "arguments": {}})).token(&world.ta()).send().await.is(502);
    }
    // Types that some clients take for JSON, and events that have two readings or no id.
    for media in ["application/json+x", "text/plain; x=application/json", "x/text/event-stream"] {
        world.files.once(Answer::text(200, media, body.clone()));
        world.tool("read_file").token(&world.ta()).send().await.is(502);
    }
    world.files.once(Answer::text(200, "text/plain", body.clone()).with("content-type", "application/json"));
    world.tool("read_file").token(&world.ta()).send().await.is(502);
    let without_id = body.replace(r#""id":1,"#, "");
    for data in [body.replace(r#"{"id":1"#, r#"{"id":1,"id":1"#), without_id, format!("[{body}]"), format!("{body} x")] {
        assert!(data.contains("inputRequests"));
        world.files.once(Answer::events(format!("data: {data}\n\n")));
        let reply = world.tool("read_file").token(&world.ta()).try_send().await;
        assert!(!reply.is_ok_and(|reply| reply.text().contains("inputRequests")), "{data}");
    }
    // Behind what was already passed on it ends the answer, which is then no JSON. Where rules speak of resources nothing is
    // passed on before the end.
    let world = World::with(|config| {
        let rules = config["upstreams"]["files"]["rules"].as_array_mut().unwrap();
        for rule in rules.iter_mut().filter_map(Value::as_object_mut) {
            rule.retain(|key, _| !key.starts_with("resource"));
        }
        rules.retain(|rule| rule.get("tools").is_some());
    })
    .await;
    let filler = "x".repeat(1_500 << 10);
    let body = body.replace(r#""inputRequests""#, &format!(r#""x":"{filler}","inputRequests""#));
    let (answer, feed) = Answer::held("application/json");
    world.files.once(answer);
    let mut reply = world.tool("read_file").token(&world.ta());
    reply = reply.header("x-test", "1");
    let sending = tokio::spawn(async move { reply.try_send().await });
    for part in body.as_bytes().chunks(16 << 10) {
        if feed.send(Ok(Bytes::copy_from_slice(part))).await.is_err() {
            break;
        }
    }
    drop(feed);
    let cut = soon("the answer to be cut", sending).await.unwrap();
    assert!(cut.is_err(), "{:?}", cut.map(|reply| (reply.status, reply.text().len())));
    world.gateway.audited(1, |line| line["reason"] == "server_request" && line["outcome"] == "failed").await;
}

#[tokio::test]
async fn answers_that_ask_nothing_pass_byte_for_byte_however_they_arrive() {
    let world = World::start().await;
    let filler = r"a\u0041 inputRequests method \\".repeat(10 << 10);
    let long = format!(r#"{{"jsonrpc":"2.0","id":1, "result":{{"content":[{{"type":"text","text":"{filler}"}}]}}}}"#);
    for body in [r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"text":"inputRequests \"method\""}]}}"#.to_owned(), long] {
        for size in [7_000, usize::MAX] {
            let (answer, feed) = Answer::held("application/json");
            world.files.once(answer);
            let call = world.tool("read_file").token(&world.ta());
            let sending = tokio::spawn(async move { call.send().await });
            for part in body.as_bytes().chunks(size) {
                feed.send(Ok(Bytes::copy_from_slice(part))).await.unwrap();
            }
            drop(feed);
            let reply = soon("the answer", sending).await.unwrap();
            assert!(reply.is(200).text() == body, "{} bytes", body.len());
        }
    }
}

#[tokio::test]
async fn a_refused_question_cannot_be_answered() {
    let world = World::start().await;
    world.files.script(sessions);
    let session = begin(&world, &world.ta()).await;
    let call = Streaming::call(&world, &session).await;
    call.tell(&asking(&json!(41), "roots/list", "{}")).await;
    world.files.arrived(3).await;
    let answer = world.legacy("x", json!({})).header("mcp-session-id", &session).token(&world.ta());
    let answer = answer.body(json!({"jsonrpc": "2.0", "id": 41, "result": {"roots": []}}).to_string());
    answer.send().await.refuses(400, -32600);
    assert_eq!(world.files.count(), 3);
}

#[tokio::test]
async fn in_a_batch_nothing_is_asked_and_the_server_hears_so() {
    let world = allowing(&["elicitation"]).await;
    let session = begin(&world, &world.ta()).await;
    let stream = [event(&asking(&json!(9), "elicitation/create", "{}")), event(&result("done"))].concat();
    answer_next(&world, Answer::events(stream));
    let batch = json!([{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "read_file"}}]).to_string();
    let call = world.legacy("initialize", json!({})).header("mcp-session-id", &session).token(&world.ta()).body(batch);
    assert_eq!(call.send().await.is(200).json(), json!([result("done")]));
    assert_eq!((&world.files.last().json()["id"], &world.files.last().json()["error"]["code"]), (&json!(9), &json!(-32601)));
}
