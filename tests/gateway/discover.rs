//! What a server says of itself, what a subscription may tell, methods of extensions, and routes of one era only.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;

use crate::support::client::{Call, MODERN};
use crate::support::upstream::{Answer, Cut, Seen, plain};
use crate::support::{Setup, World, soon};

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

fn everything() -> Value {
    json!({
        "tools": {"listChanged": true}, "prompts": {}, "resources": {"subscribe": true}, "completions": {}, "logging": {},
        "tasks": {"list": {}}, "experimental": {"acme": {}}, "shiny": {},
        "extensions": {"io.modelcontextprotocol/tasks": {}, "com.acme/reports": {}, "io.modelcontextprotocol/ui": {}},
    })
}

fn discovered() -> Value {
    json!({"resultType": "complete", "supportedVersions": ["2027-01-01", MODERN, "2025-11-25", "2024-11-05"], "capabilities": everything(),
        "instructions": "be kind", "ttlMs": 5, "cacheScope": "public", "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "fake"}}})
}

fn initialized(version: &str) -> Value {
    json!({"protocolVersion": version, "capabilities": everything(), "serverInfo": {"name": "fake", "version": "1"}})
}

/// The same result as JSON, or as an event of a stream.
fn answering(world: &World, result: Value, stream: bool) {
    world.files.script(move |seen| {
        let body = json!({"jsonrpc": "2.0", "id": seen.json()["id"], "result": result});
        let answer = if stream { Answer::events(format!("event: message\ndata: {body}\n\n")) } else { Answer::json(body) };
        Some(answer.with("mcp-session-id", "1"))
    });
}

fn message(text: &str) -> Value {
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or(text);
    serde_json::from_str(data).unwrap_or_else(|_| panic!("no JSON: {text}"))
}

fn initialize(world: &World, version: &str) -> Call {
    let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}});
    world.legacy("initialize", params).token(&world.ta())
}

fn discover(world: &World) -> Call {
    world.modern("server/discover", json!({})).token(&world.ta())
}

#[tokio::test]
async fn item_60_discovery_shows_only_what_is_policed_here() {
    let world = World::start().await;
    for stream in [false, true] {
        answering(&world, discovered(), stream);
        let reply = discover(&world).send().await;
        let mut expected = discovered();
        expected["supportedVersions"] = json!([MODERN, "2025-11-25"]);
        expected["capabilities"] = json!({
            "tools": {"listChanged": true}, "prompts": {}, "resources": {"subscribe": true}, "completions": {}, "logging": {}, "tasks": {"list": {}},
            "extensions": {"io.modelcontextprotocol/tasks": {}, "io.modelcontextprotocol/ui": {}},
        });
        assert_eq!(message(&reply.is(200).text()), json!({"jsonrpc": "2.0", "id": 1, "result": expected}), "stream: {stream}");
    }
}

#[tokio::test]
async fn item_60_what_no_rule_can_open_is_no_capability() {
    let world = World::start().await;
    world.crm.script(|seen| Some(Answer::result(seen, discovered())));
    let token = world.issuer.token(&format!("{}/mcp/crm", world.origin), |_| {});
    let reply = world.modern("server/discover", json!({})).path("/mcp/crm").token(&token).send().await;
    let capabilities = &reply.is(200).json()["result"]["capabilities"];
    assert_eq!(capabilities["tools"], json!({"listChanged": true}));
    for gone in ["prompts", "resources", "completions"] {
        assert!(capabilities.get(gone).is_none(), "{capabilities}");
    }
}

#[tokio::test]
async fn item_60_extensions_pass_where_the_operator_names_them() {
    let world = World::with(|config| config["upstreams"]["files"]["extensions"] = json!(["com.acme/reports", "acme"])).await;
    answering(&world, discovered(), false);
    let capabilities = discover(&world).send().await.json()["result"]["capabilities"].clone();
    assert_eq!(
        capabilities["extensions"],
        json!({"io.modelcontextprotocol/tasks": {}, "com.acme/reports": {}, "io.modelcontextprotocol/ui": {}})
    );
    assert_eq!(capabilities["experimental"], json!({"acme": {}}));
}

#[tokio::test]
async fn initialize_is_cut_likewise_and_keeps_its_session() {
    let world = World::start().await;
    for stream in [false, true] {
        answering(&world, initialized("2025-06-18"), stream);
        let reply = initialize(&world, "2025-06-18").send().await;
        assert!(reply.is(200).header("mcp-session-id").len() > 22, "{reply:?}");
        let result = message(&reply.text())["result"].clone();
        assert_eq!((&result["protocolVersion"], &result["serverInfo"]["name"]), (&json!("2025-06-18"), &json!("fake")));
        let capabilities: Vec<&String> = result["capabilities"].as_object().unwrap().keys().collect();
        assert!(capabilities.iter().all(|name| !["experimental", "shiny"].contains(&name.as_str())), "{capabilities:?}");
        assert_eq!(result["capabilities"]["tasks"], json!({"list": {}}));
        assert_eq!(result["capabilities"]["extensions"], json!({"io.modelcontextprotocol/tasks": {}, "io.modelcontextprotocol/ui": {}}));
    }
}

#[tokio::test]
async fn a_version_that_is_not_policed_here_is_not_agreed_on() {
    let world = World::start().await;
    for stream in [false, true] {
        answering(&world, initialized("2024-11-05"), stream);
        let told = message(&initialize(&world, "2024-11-05").send().await.is(200).text());
        assert_eq!((&told["id"], &told["error"]["code"]), (&json!(1), &json!(-32602)), "{told}");
        assert!(told["error"]["data"]["supported"].as_array().unwrap().contains(&json!("2025-11-25")), "{told}");
        assert!(told.get("result").is_none());
    }
}

#[tokio::test]
async fn an_introduction_that_cannot_be_read_is_not_passed() {
    let world = World::start().await;
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"result":{"capabilities":{},"Capabilities":{"tasks":{}}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"capabilities":{},"capabilities":{"tasks":{}}}}"#,
        "[]",
        "no JSON",
    ] {
        world.files.once(Answer::text(200, "application/json", body));
        discover(&world).send().await.is(502);
    }
    world.files.once(Answer::text(200, "text/plain", "hello"));
    discover(&world).send().await.is(502);
}

#[tokio::test]
async fn observing_cuts_no_introduction() {
    let world = World::with(|config| config["upstreams"]["files"]["mode"] = json!("observe")).await;
    answering(&world, discovered(), false);
    assert_eq!(discover(&world).send().await.json()["result"], discovered());
}

#[tokio::test]
async fn item_76_a_plain_400_of_a_legacy_upstream_passes_as_it_is() {
    let world = World::start().await;
    let calls = [discover(&world), world.tool("read_file").token(&world.ta()), world.modern("tools/list", json!({})).token(&world.ta())];
    for (kind, body) in [
        ("text/plain", "Bad Request: Server not initialized"),
        ("application/json", "Bad Request: Server not initialized"),
        ("application/json", r#"{"detail":"Missing session ID"}"#),
        ("application/json", r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: Server not initialized"}}"#),
        ("application/json", ""),
    ] {
        for call in &calls {
            world.files.once(Answer::text(400, kind, body));
            let reply = call.clone().send().await;
            assert_eq!((reply.status, reply.text().as_str(), reply.header("content-type").as_str()), (400, body, kind));
        }
    }
    // A list is none the less a list.
    for body in [r#"{"result":{"tools":[{"name":"wipe"}]}}"#, r#"[{"result":{"tools":[{"name":"wipe"}]}}]"#, r#"{"Result":{"tools":[]}}"#] {
        world.files.once(Answer::text(400, "application/json", body));
        let reply = calls[2].clone().send().await;
        assert!(!reply.text().contains("wipe") && reply.status != 200, "{reply:?}");
    }
}

async fn modern_only() -> World {
    World::with(|config| config["upstreams"]["files"]["eras"] = json!("modern")).await
}

#[tokio::test]
async fn item_77_a_modern_route_tells_a_legacy_client_which_versions_there_are() {
    let world = modern_only().await;
    let reply = initialize(&world, "2025-11-25").send().await;
    reply.refuses(400, -32022);
    let told = reply.json();
    assert_eq!(told["error"]["data"], json!({"supported": [MODERN], "requested": "2025-11-25"}));
    assert_eq!(told["id"], 1);
    let call = world.legacy("tools/call", json!({"name": "read_file"})).token(&world.ta());
    call.clone().send().await.refuses(400, -32022);
    call.without("mcp-protocol-version").send().await.refuses(400, -32022);
    world
        .legacy("tools/list", json!({}))
        .body(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
        .token(&world.ta())
        .send()
        .await
        .is(400);
    world.files.saw_nothing();
    world.tool("read_file").token(&world.ta()).send().await.is(200);
}

#[tokio::test]
async fn item_52_a_modern_route_has_no_sessions() {
    let world = modern_only().await;
    for method in [Method::GET, Method::DELETE] {
        let call = world.legacy("x", json!({})).method(method).body("").without("content-type").header("mcp-session-id", "abc");
        assert_eq!(call.token(&world.ta()).send().await.is(405).header("allow"), "POST");
    }
    answering(&world, discovered(), false);
    assert_eq!(discover(&world).send().await.json()["result"]["supportedVersions"], json!([MODERN]));
}

fn listen(world: &World, notifications: Value) -> Call {
    world.modern("subscriptions/listen", json!({"notifications": notifications})).token(&world.ta())
}

async fn next(stream: &mut reqwest::Response) -> Value {
    let chunk = soon("an event", stream.chunk()).await.unwrap().expect("more of the stream");
    message(std::str::from_utf8(&chunk).unwrap())
}

async fn event(feed: &Sender<Result<Bytes, Cut>>, message: &Value) {
    feed.send(Ok(format!("data: {message}\n\n").into())).await.unwrap();
}

/// A stream that is open, and the end to feed it by.
async fn listening(world: &World, notifications: Value) -> (reqwest::Response, Sender<Result<Bytes, Cut>>) {
    let (answer, feed) = Answer::stream();
    world.files.once(answer);
    let stream = listen(world, notifications).open().await;
    assert_eq!(stream.status(), 200);
    (stream, feed)
}

fn notification(method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({SUBSCRIPTION: 1});
    json!({"jsonrpc": "2.0", "method": format!("notifications/{method}"), "params": params})
}

fn acknowledged(notifications: Value) -> Value {
    notification("subscriptions/acknowledged", json!({"notifications": notifications}))
}

#[tokio::test]
async fn items_86_and_87_a_subscription_is_narrowed_to_what_its_caller_may_read() {
    let world = World::start().await;
    let asked = json!({"toolsListChanged": true, "resourceSubscriptions": ["file:///priv/b", "file:///pub/a", "file:///pub/../priv/b"]});
    let (mut stream, feed) = listening(&world, asked.clone()).await;
    let seen = world.files.only();
    let whole = String::from_utf8(listen(&world, asked).bytes().to_vec()).unwrap();
    let narrowed = whole.replace(r#"["file:///priv/b","file:///pub/a","file:///pub/../priv/b"]"#, r#"["file:///pub/a"]"#);
    assert_ne!(whole, narrowed);
    assert_eq!(String::from_utf8_lossy(&seen.body), narrowed, "the rest byte for byte");
    // A server that honours more than it was asked for is not believed.
    event(&feed, &acknowledged(json!({"toolsListChanged": true, "resourceSubscriptions": ["file:///priv/b", "file:///pub/a"]}))).await;
    let told = next(&mut stream).await;
    assert_eq!(told, acknowledged(json!({"toolsListChanged": true, "resourceSubscriptions": ["file:///pub/a"]})));
    event(&feed, &notification("resources/updated", json!({"uri": "file:///priv/b"}))).await;
    event(&feed, &notification("resources/updated", json!({"uri": "file:///pub/../priv/b"}))).await;
    let update = notification("resources/updated", json!({"uri": "file:///pub/a"}));
    event(&feed, &update).await;
    assert_eq!(next(&mut stream).await, update);
    for kind in ["tools", "prompts", "resources"] {
        let changed = notification(&format!("{kind}/list_changed"), json!({}));
        event(&feed, &changed).await;
        assert_eq!(next(&mut stream).await, changed);
    }
    let end = json!({"jsonrpc": "2.0", "id": 1, "result": {"resultType": "complete", "_meta": {SUBSCRIPTION: 1}}});
    event(&feed, &end).await;
    assert_eq!(next(&mut stream).await, end);
    drop(feed);
    assert_eq!(soon("the end", stream.chunk()).await.unwrap(), None);
    world.gateway.audited(1, |line| line["operation"] == "subscriptions/listen" && line["reason"] == "narrowed").await;
}

#[tokio::test]
async fn a_subscription_of_which_nothing_is_left_is_refused() {
    let world = World::start().await;
    listen(&world, json!({"resourceSubscriptions": ["file:///priv/b"]})).send().await.refuses(403, -31403);
    listen(&world, json!({"resourceSubscriptions": ["file:///priv/b"], "toolsListChanged": false})).send().await.refuses(403, -31403);
    // A scope that would cure it is asked for.
    let reader = world.modern("subscriptions/listen", json!({"notifications": {"resourceSubscriptions": ["file:///pub/a"]}}));
    let reply = reader.token(&world.token(|token| token.claims["scope"] = json!("crm:read"))).send().await;
    assert_eq!(reply.is(403).challenge_parameter("error").as_deref(), Some("insufficient_scope"));
    world.files.saw_nothing();
    let (_stream, _feed) = listening(&world, json!({"resourceSubscriptions": ["file:///priv/b"], "toolsListChanged": true})).await;
    assert_eq!(world.files.only().json()["params"]["notifications"], json!({"resourceSubscriptions": [], "toolsListChanged": true}));
}

#[tokio::test]
async fn a_subscription_whose_every_wish_is_granted_is_not_touched() {
    let world = World::start().await;
    let asked = json!({"resourceSubscriptions": ["file:///pub/a"], "promptsListChanged": true});
    let (_stream, _feed) = listening(&world, asked.clone()).await;
    assert_eq!(world.files.only().body, listen(&world, asked).bytes());
}

#[tokio::test]
async fn the_stream_of_a_call_tells_of_no_resource() {
    let world = World::start().await;
    let update = notification("resources/updated", json!({"uri": "file:///priv/b"}));
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}});
    let done = json!({"jsonrpc": "2.0", "id": 1, "result": {"resultType": "complete", "content": []}});
    world.files.once(Answer::events(format!("data: {progress}\n\ndata: {update}\n\ndata: {done}\n\n")));
    let reply = world.tool("read_file").token(&world.ta()).send().await;
    assert_eq!(reply.is(200).text(), format!("data: {progress}\n\ndata: {done}\n\n"));
}

#[tokio::test]
async fn an_event_of_a_subscription_that_has_two_readings_ends_it() {
    let world = World::start().await;
    let (mut stream, feed) = listening(&world, json!({"toolsListChanged": true})).await;
    let bent =
        r#"data: {"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"file:///pub/a","Uri":"file:///priv/b"}}"#;
    feed.send(Ok(format!("{bent}\n\n").into())).await.unwrap();
    let rest = soon("the end", async { stream.chunk().await.map(|chunk| chunk.map(|bytes| bytes.to_vec())) }).await;
    assert!(!matches!(rest, Ok(Some(ref bytes)) if !bytes.is_empty()), "{rest:?}");
}

async fn with_extensions() -> World {
    World::with(|config| {
        config["upstreams"]["files"]["methods"] = json!([
            {"name": "acme/report", "tool": "/report/id"},
            {"name": "acme/show", "resource": "/uris"},
            {"name": "acme/status", "allow_unnamed": true},
            {"name": "notifications/acme/seen", "allow_unnamed": true},
        ]);
    })
    .await
}

#[tokio::test]
async fn item_49_and_s24_a_configured_method_passes_by_the_rules_of_what_it_names() {
    let world = with_extensions().await;
    let report = |id: &str| world.modern("acme/report", json!({"report": {"id": id}})).token(&world.ta());
    report("read_file").send().await.is(200);
    assert_eq!(world.files.only().body, report("read_file").bytes());
    report("wipe").send().await.refuses(403, -31403);
    report("unheard_of").send().await.refuses(403, -31403);
    let reply = report("write_file").send().await;
    assert_eq!(reply.is(403).challenge_parameter("error").as_deref(), Some("insufficient_scope"));
    world.legacy("acme/report", json!({"report": {"id": "read_file"}})).token(&world.ta()).send().await.is(200);
    world.legacy("acme/report", json!({"report": {"id": "wipe"}})).token(&world.ta()).send().await.refuses(403, -31403);
    let show = |uris: Value| world.modern("acme/show", json!({"uris": uris})).token(&world.ta()).send();
    show(json!(["file:///pub/a", "file:///pub/b"])).await.is(200);
    show(json!("file:///pub/a")).await.is(200);
    show(json!(["file:///pub/a", "file:///priv/b"])).await.refuses(403, -31403);
    world.modern("acme/status", json!({})).token(&world.ta()).send().await.is(200);
    let count = world.files.count();
    world.gateway.audited(1, |line| line["operation"] == "acme/report" && line["name"] == "wipe").await;
    // Without the configuration, and at another upstream, nobody knows it.
    for other in ["acme/Report", "acme/reports", "acme/report/x"] {
        world.modern(other, json!({"report": {"id": "read_file"}})).token(&world.ta()).send().await.refuses(404, -32601);
    }
    let token = world.issuer.token(&format!("{}/mcp/crm", world.origin), |_| {});
    world.modern("acme/status", json!({})).path("/mcp/crm").token(&token).send().await.refuses(404, -32601);
    assert_eq!(world.files.count(), count);
}

#[tokio::test]
async fn a_configured_method_cannot_be_bent() {
    let world = with_extensions().await;
    for params in [
        json!({}),
        json!({"report": {}}),
        json!({"report": "read_file"}),
        json!({"report": {"id": 7}}),
        json!({"report": {"id": []}}),
        json!({"report": {"id": ["read_file", 7]}}),
        json!({"report": {"id": "read_file", "ID": "wipe"}}),
        json!({"report": {"id": "read_file"}, "Report": {"id": "wipe"}}),
    ] {
        let reply = world.modern("acme/report", params.clone()).token(&world.ta()).send().await;
        assert_eq!(reply.status, 400, "{params}: {reply:?}");
    }
    let good = || world.modern("acme/report", json!({"report": {"id": "read_file"}})).token(&world.ta());
    good().header("mcp-name", "wipe").send().await.refuses(400, -32020);
    good().without("mcp-method").send().await.refuses(400, -32020);
    good().replace("mcp-method", "acme/status").send().await.refuses(400, -32020);
    let twice = String::from_utf8(good().bytes().to_vec()).unwrap().replace(r#""id":"read_file""#, r#""id":"read_file","\u0069d":"wipe""#);
    good().body(twice).send().await.refuses(400, -32600);
    let silent = good().edit(|message| {
        message.as_object_mut().unwrap().remove("id");
    });
    silent.send().await.refuses(400, -32600);
    world.files.saw_nothing();
    good().header("mcp-name", "read_file").send().await.is(200);
    let note = world.legacy("x", json!({})).body(r#"{"jsonrpc":"2.0","method":"notifications/acme/seen"}"#).token(&world.ta());
    note.send().await.is(202);
    assert_eq!(world.files.last().json()["method"], "notifications/acme/seen");
}

/// The configuration with `unlisted` for readers too.
fn wider(config: &Value) -> Value {
    let mut config = config.clone();
    config["upstreams"]["files"]["rules"][1]["tools"] = json!(["read_file", "unlisted"]);
    config["upstreams"]["files"]["rules"][1]["resources"] = json!(["file:///priv/**"]);
    config
}

#[tokio::test]
async fn item_s42_a_subscription_is_told_that_the_rules_have_changed_and_follows_them() {
    let world = World::start().await;
    let (mut stream, feed) = listening(&world, json!({"toolsListChanged": true, "resourceSubscriptions": ["file:///pub/a"]})).await;
    let granted = acknowledged(json!({"toolsListChanged": true, "resourceSubscriptions": ["file:///pub/a"]}));
    event(&feed, &granted).await;
    assert_eq!(next(&mut stream).await, granted);
    world.gateway.reload(&wider(&world.config)).await;
    assert_eq!(next(&mut stream).await, notification("tools/list_changed", json!({})));
    event(&feed, &notification("resources/updated", json!({"uri": "file:///pub/a"}))).await;
    let now = notification("resources/updated", json!({"uri": "file:///priv/b"}));
    event(&feed, &now).await;
    assert_eq!(next(&mut stream).await, now, "judged by the rules that hold now");
    let names = world.modern("tools/list", json!({})).token(&world.ta()).send().await.names("tools", "name");
    assert!(names.contains(&"unlisted".to_owned()), "{names:?}");
}

fn sessions(seen: &Seen) -> Option<Answer> {
    let starts = seen.method == Method::POST && seen.json()["method"] == "initialize";
    starts.then(|| Answer::result(seen, initialized("2025-11-25")).with("mcp-session-id", "1"))
}

#[tokio::test]
async fn item_s42_the_stream_of_a_session_is_told_and_cut_by_the_rules_that_hold() {
    let setup = Setup::new().await;
    setup.files.script(sessions);
    let world = setup.start().await;
    let session = initialize(&world, "2025-11-25").send().await.header("mcp-session-id");
    let (answer, feed) = Answer::stream();
    world.files.once(answer);
    let within = world.legacy("x", json!({})).header("mcp-session-id", &session).token(&world.ta());
    let mut stream = within.method(Method::GET).body("").without("content-type").open().await;
    let list = json!({"jsonrpc": "2.0", "id": 3, "result": {"tools": [{"name": "read_file"}, {"name": "unlisted"}]}});
    event(&feed, &list).await;
    assert_eq!(next(&mut stream).await["result"]["tools"], json!([{"name": "read_file"}]));
    // Other changes are nothing to tell of.
    let mut other = world.config.clone();
    other["limits"] = json!({"depth": 41});
    world.gateway.reload(&other).await;
    world.gateway.reload(&wider(&world.config)).await;
    let told = next(&mut stream).await;
    assert_eq!(told, json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
    event(&feed, &list).await;
    assert_eq!(next(&mut stream).await["result"]["tools"], json!([{"name": "read_file"}, {"name": "unlisted"}]));
}

#[tokio::test]
async fn item_s42_who_was_promised_nothing_is_told_nothing() {
    let world = World::start().await;
    let (mut stream, feed) = listening(&world, json!({"promptsListChanged": true})).await;
    event(&feed, &acknowledged(json!({}))).await;
    next(&mut stream).await;
    world.gateway.reload(&wider(&world.config)).await;
    let last = notification("prompts/list_changed", json!({}));
    event(&feed, &last).await;
    assert_eq!(next(&mut stream).await, last);
    world.files.script(|seen| Some(plain(seen)));
}

/// Tells the gateway of a tool whose region is repeated in a header.
async fn regional(world: &World) {
    let schema = json!({"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}, "n": {"type": "integer", "x-mcp-header": "N"}}});
    let list = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "read_file", "inputSchema": schema}]}});
    world.files.once(Answer::json(list));
    let reply = world.modern("tools/list", json!({})).token(&world.ta()).send().await;
    assert_eq!(reply.json()["result"]["tools"][0]["inputSchema"], schema);
}

fn regional_call(world: &World, arguments: Value) -> Call {
    world.modern("tools/call", json!({"name": "read_file", "arguments": arguments})).token(&world.ta())
}

#[tokio::test]
async fn item_48_a_parameter_that_the_tool_wants_in_a_header_must_stand_there() {
    let world = World::start().await;
    regional_call(&world, json!({"region": "eu"})).send().await.is(200);
    regional(&world).await;
    let seen = world.files.count();
    let call = |arguments: Value| regional_call(&world, arguments);
    call(json!({"region": "eu"})).send().await.refuses(400, -32020);
    call(json!({"region": "eu"})).header("mcp-param-region", "us").send().await.refuses(400, -32020);
    call(json!({"region": "eu"})).header("Mcp-Param-Region", "eu").header("mcp-param-region", "us").send().await.refuses(400, -32020);
    let reply = call(json!({})).header("mcp-param-region", "eu").send().await;
    assert_eq!(reply.refuses(400, -32020).json()["id"], 1);
    assert_eq!(world.files.count(), seen);
    call(json!({"region": null})).send().await.is(200);
    call(json!({"n": 42})).header("mcp-param-n", "42.0").send().await.is(200);
    call(json!({"region": "eu"})).header("mcp-param-region", "eu").header("mcp-param-foo", "bar").send().await.is(200);
    assert_eq!((world.files.last().header("mcp-param-region"), world.files.last().header("mcp-param-foo")), ("eu".into(), "bar".into()));
    // A legacy client knows of no such headers, and the tool of another name wants none.
    world.legacy("tools/call", json!({"name": "read_file", "arguments": {"region": "eu"}})).token(&world.ta()).send().await.is(200);
}

#[tokio::test]
async fn item_48_a_header_that_browsers_do_not_send_may_be_forgiven_but_not_a_wrong_one() {
    let world = World::with(|config| config["upstreams"]["files"]["allow_missing_param_headers"] = json!(true)).await;
    regional(&world).await;
    let said = || (world.files.last().header("mcp-param-region"), world.files.last().header("mcp-param-n"));
    regional_call(&world, json!({"region": "eu"})).send().await.is(200);
    assert_eq!(said(), ("eu".into(), String::new()), "the server is told what the client could not say");
    regional_call(&world, json!({"region": "Zürich", "n": 42})).send().await.is(200);
    assert_eq!(said(), ("=?base64?WsO8cmljaA==?=".into(), "42".into()));
    regional_call(&world, json!({"region": "eu", "n": 42})).header("mcp-param-region", "eu").send().await.is(200);
    assert_eq!(said(), ("eu".into(), "42".into()));
    regional_call(&world, json!({"region": "eu"})).header("mcp-param-region", "us").send().await.refuses(400, -32020);
}

#[tokio::test]
async fn item_65_a_legacy_request_of_an_unknown_version_is_refused() {
    let world = World::start().await;
    for version in ["1999-01-01", "2024-11-05", "2099-01-01", "latest", ""] {
        let reply = world.legacy("tools/list", json!({})).replace("mcp-protocol-version", version).token(&world.ta()).send().await;
        assert_eq!(reply.status, 400, "{version}: {reply:?}");
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_66_a_legacy_request_may_leave_its_version_out() {
    let setup = Setup::new().await;
    setup.files.script(sessions);
    let world = setup.start().await;
    let session = initialize(&world, "2025-11-25").send().await.header("mcp-session-id");
    let call = world.legacy("tools/call", json!({"name": "read_file"})).without("mcp-protocol-version").token(&world.ta());
    call.clone().send().await.is(200);
    call.header("mcp-session-id", &session).send().await.is(200);
    assert_eq!(world.files.last().header("mcp-protocol-version"), "", "the server knows what was agreed on");
}
