//! Tasks of the older design in lists, notifications and resumed streams, and subscriptions to tasks of the newer one: each
//! caller's own, by the ids that it knows (acceptance items 88 and 91).

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;

use crate::support::client::{Call, Reply};
use crate::support::upstream::{Answer, Cut, Seen, plain};
use crate::support::{World, soon};

/// A server that gives the same easily guessed session to everybody, begins the task that the call's `id` argument names, and
/// lists everybody's.
fn tasks(seen: &Seen) -> Option<Answer> {
    if seen.method != Method::POST {
        return None;
    }
    let message = seen.json();
    Some(match message["method"].as_str().unwrap_or_default() {
        "initialize" => plain(seen).with("mcp-session-id", "1"),
        "tools/call" => Answer::result(seen, json!({"task": {"taskId": message["params"]["arguments"]["id"], "status": "working"}})),
        "tasks/list" => Answer::result(seen, list()),
        "tasks/get" => Answer::result(seen, json!({"taskId": message["params"]["taskId"], "status": "working"})),
        _ => plain(seen),
    })
}

fn list() -> Value {
    let task = |id: &str| json!({"taskId": id, "status": "working", "ttl": null});
    json!({"tasks": [task("1"), task("2"), task("3"), {"status": "nameless"}], "nextCursor": "c"})
}

async fn start() -> World {
    let world = World::start().await;
    world.files.script(tasks);
    world
}

fn begin(world: &World, id: &str, tool: &str, token: &str) -> Call {
    world.legacy("tools/call", json!({"name": tool, "arguments": {"id": id}, "task": {"ttl": 60000}})).token(token)
}

/// Begins a task; gives the id that the client knows.
async fn begun(world: &World, id: &str, tool: &str, token: &str) -> String {
    begin(world, id, tool, token).send().await.is(200).json()["result"]["task"]["taskId"].as_str().unwrap().to_owned()
}

fn listing(world: &World, cursor: Option<&str>, token: &str) -> Call {
    world.legacy("tasks/list", cursor.map_or(json!({}), |cursor| json!({"cursor": cursor}))).token(token)
}

fn message(reply: &Reply) -> Value {
    let text = reply.text();
    serde_json::from_str(text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or(&text)).unwrap()
}

fn ids(reply: &Reply) -> Vec<String> {
    let message = message(reply.is(200));
    message["result"]["tasks"].as_array().unwrap().iter().map(|task| task["taskId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn item_88_a_list_of_tasks_holds_the_callers_own_by_the_ids_that_it_knows() {
    let world = start().await;
    let both = world.token(|token| token.claims["scope"] = json!("files:read files:write"));
    let one = begun(&world, "1", "read_file", &both).await;
    let three = begun(&world, "3", "write_file", &both).await;
    let two = begun(&world, "2", "read_file", &world.tb()).await;
    for stream in [false, true] {
        world.files.script(move |seen| match (tasks(seen), stream && seen.json()["method"] == "tasks/list") {
            (Some(Answer::Reply { body, .. }), true) => Some(Answer::events(format!("data: {}\n\n", String::from_utf8_lossy(&body)))),
            (answer, _) => answer,
        });
        assert_eq!(ids(&listing(&world, None, &both).send().await), [one.clone(), three.clone()], "stream: {stream}");
        assert_eq!(ids(&listing(&world, None, &world.tb()).send().await), std::slice::from_ref(&two));
        // The right to the tool is asked for again.
        assert_eq!(ids(&listing(&world, None, &world.ta()).send().await), std::slice::from_ref(&one));
        let other = world.token(|token| token.claims["sub"] = json!("user-c"));
        assert!(ids(&listing(&world, None, &other).send().await).is_empty());
    }
    world.legacy("tasks/get", json!({"taskId": one})).token(&both).send().await.is(200);
    assert_eq!(world.files.last().json()["params"]["taskId"], "1");
    let line = world.gateway.audited(8, |line| line["operation"] == "tasks/list" && line["outcome"] == "permitted").await;
    assert!(line.iter().all(|line| line["era"] == "legacy"), "{line:?}");
}

#[tokio::test]
async fn item_88_the_cursor_of_a_list_of_tasks_is_its_callers_own() {
    let world = start().await;
    let next = listing(&world, None, &world.ta()).send().await.is(200).json()["result"]["nextCursor"].as_str().unwrap().to_owned();
    listing(&world, Some(&next), &world.ta()).send().await.is(200);
    assert_eq!(world.files.last().json()["params"]["cursor"], "c");
    let seen = world.files.count();
    listing(&world, Some(&next), &world.tb()).send().await.refuses(400, -32602);
    listing(&world, Some("c"), &world.ta()).send().await.refuses(400, -32602);
    let tools = world.legacy("tools/list", json!({"cursor": next})).token(&world.ta());
    tools.send().await.refuses(400, -32602);
    assert_eq!(world.files.count(), seen);
}

#[tokio::test]
async fn item_88_where_rules_are_observed_the_tasks_of_others_are_not_shown_either() {
    let world = World::with(|config| config["upstreams"]["files"]["mode"] = json!("observe")).await;
    world.files.script(tasks);
    let own = begun(&world, "1", "wipe", &world.ta()).await;
    assert_eq!(ids(&listing(&world, None, &world.ta()).send().await), [own]);
    listing(&world, Some("c"), &world.ta()).send().await.refuses(400, -32602);
}

#[tokio::test]
async fn a_list_of_tasks_that_cannot_be_read_in_one_way_is_not_passed() {
    let world = start().await;
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"result":{"Tasks":[{"taskId":"1"}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"tasks":[{"taskId":"1"}],"tasks":[]}}"#,
        r#"[{"jsonrpc":"2.0","id":1,"result":{"tasks":[{"taskId":"1"}]}}]"#,
    ] {
        world.files.once(Answer::text(200, "application/json", body));
        listing(&world, None, &world.ta()).send().await.is(502);
    }
    world.files.once(Answer::text(200, "text/plain", list().to_string()));
    listing(&world, None, &world.ta()).send().await.is(502);
}

async fn session(world: &World, token: &str) -> String {
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}});
    world.legacy("initialize", params).token(token).send().await.is(200).header("mcp-session-id")
}

/// The stream of a session, from this event on.
async fn listen(world: &World, session: &str, after: Option<&str>) -> (reqwest::Response, Sender<Result<Bytes, Cut>>) {
    let (answer, feed) = Answer::stream();
    let mut answer = Some(answer);
    world.files.script(move |seen| if seen.method == Method::GET { answer.take() } else { tasks(seen) });
    let mut call = world.legacy("x", json!({})).method(Method::GET).body("").without("content-type");
    if let Some(after) = after {
        call = call.header("last-event-id", after);
    }
    let stream = call.header("mcp-session-id", session).token(&world.ta()).open().await;
    assert_eq!(stream.status(), 200);
    (stream, feed)
}

async fn tell(feed: &Sender<Result<Bytes, Cut>>, event: &Value) {
    feed.send(Ok(format!("data: {event}\n\n").into())).await.unwrap();
}

async fn next(stream: &mut reqwest::Response) -> Value {
    let chunk = soon("an event", stream.chunk()).await.unwrap().expect("more of the stream");
    let text = String::from_utf8(chunk.to_vec()).unwrap();
    serde_json::from_str(text.lines().find_map(|line| line.strip_prefix("data: ")).expect("data")).unwrap()
}

fn status(id: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/tasks/status", "params": {"taskId": id, "status": "completed"}})
}

#[tokio::test]
async fn item_88_the_status_of_a_task_is_told_to_who_began_it_while_the_tool_is_theirs() {
    let world = start().await;
    let both = world.token(|token| token.claims["scope"] = json!("files:read files:write"));
    let own = begun(&world, "1", "read_file", &world.ta()).await;
    begun(&world, "2", "read_file", &world.tb()).await;
    begun(&world, "3", "write_file", &both).await;
    let session = session(&world, &world.ta()).await;
    let (mut stream, feed) = listen(&world, &session, None).await;
    // Another's, one that nobody began, and one of a tool that this token may not use.
    for hidden in ["2", "4", "3"] {
        tell(&feed, &status(hidden)).await;
    }
    tell(&feed, &status("1")).await;
    assert_eq!(next(&mut stream).await, status(&own));
    // By the rules of now.
    let mut less = world.config.clone();
    less["upstreams"]["files"]["rules"][1]["tools"] = json!(["read_nothing"]);
    world.gateway.reload(&less).await;
    tell(&feed, &status("1")).await;
    let last = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}});
    tell(&feed, &last).await;
    assert_eq!(next(&mut stream).await, last);
}

#[tokio::test]
async fn item_88_a_task_that_begins_on_a_resumed_stream_is_sealed_too() {
    let world = start().await;
    let session = session(&world, &world.ta()).await;
    // The server closes the stream of the call before it answers, as 2025-11-25 lets it.
    world.files.once(Answer::events("id: e1\ndata: \n\n"));
    let call = begin(&world, "1", "read_file", &world.ta()).header("mcp-session-id", &session).send().await;
    let event = call.is(200).text().lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    let (mut stream, feed) = listen(&world, &session, Some(&event)).await;
    assert_eq!(world.files.last().header("last-event-id"), "e1");
    let answer = json!({"jsonrpc": "2.0", "id": 1, "result": {"task": {"taskId": "7", "status": "working"}}});
    feed.send(Ok(format!("id: e2\ndata: {answer}\n\n").into())).await.unwrap();
    let chunk = soon("an event", stream.chunk()).await.unwrap().unwrap();
    let text = String::from_utf8(chunk.to_vec()).unwrap();
    let told: Value = serde_json::from_str(text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap()).unwrap();
    let task = told["result"]["task"]["taskId"].as_str().unwrap().to_owned();
    assert!(task.len() > 40, "{told}");
    drop(stream);
    // The stream may be resumed again, and the task is the caller's own.
    let again = text.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    let (mut stream, feed) = listen(&world, &session, Some(&again)).await;
    assert_eq!(world.files.last().header("last-event-id"), "e2");
    tell(&feed, &answer).await;
    assert_eq!(next(&mut stream).await["result"]["task"]["taskId"], json!(task), "the same each time");
    world.legacy("tasks/get", json!({"taskId": task})).token(&world.ta()).send().await.is(200);
    assert_eq!(world.files.last().json()["params"]["taskId"], "7");
    let line = world.gateway.audited(1, |line| line["operation"] == "tasks/get" && line["outcome"] == "permitted").await;
    assert_eq!(line[0]["name"], "read_file");
    world.legacy("tasks/get", json!({"taskId": task})).token(&world.tb()).send().await.refuses(200, -32602);
}

#[tokio::test]
async fn item_88_on_a_stream_that_resumes_no_call_a_task_of_nobody_knows_whom_is_not_delivered() {
    let world = start().await;
    let own = begun(&world, "1", "read_file", &world.ta()).await;
    let session = session(&world, &world.ta()).await;
    let (mut stream, feed) = listen(&world, &session, None).await;
    let answer = |id: &str| json!({"jsonrpc": "2.0", "id": 3, "result": {"task": {"taskId": id, "status": "working"}}});
    tell(&feed, &answer("9")).await;
    tell(&feed, &json!({"jsonrpc": "2.0", "id": 4, "result": {"tasks": [{"taskId": "1"}, {"taskId": "9"}]}})).await;
    assert_eq!(next(&mut stream).await["result"]["tasks"], json!([{"taskId": own}]), "a list is cut, whoever asked for it");
    tell(&feed, &answer("1")).await;
    assert_eq!(next(&mut stream).await["result"]["task"]["taskId"], json!(own));
}

const RELATED: &str = "io.modelcontextprotocol/related-task";

/// A message with the task that it belongs to, in `params` or `result`.
fn related(mut message: Value, within: &str, task: &str) -> Value {
    message[within]["_meta"][RELATED] = json!({"taskId": task});
    message
}

fn progress() -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}})
}

fn question(id: u64) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": {"message": "sure?", "requestedSchema": {}}})
}

/// An upstream that may ask, and a session that can be asked.
async fn asking() -> (World, String) {
    let world = World::with(|config| config["upstreams"]["files"]["allow_server_requests"] = json!(["elicitation"])).await;
    world.files.script(tasks);
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}}, "clientInfo": {"name": "x", "version": "1"}});
    let session = world.legacy("initialize", params).token(&world.ta()).send().await.is(200).header("mcp-session-id");
    (world, session)
}

#[tokio::test]
async fn item_88_what_belongs_to_a_task_names_it_as_the_client_knows_it() {
    let (world, session) = asking().await;
    let own = begun(&world, "1", "read_file", &world.ta()).await;
    let (answer, feed) = Answer::stream();
    let mut answer = Some(answer);
    world.files.script(move |seen| match seen.json()["method"].as_str() {
        Some("tasks/result") => answer.take(),
        None => Some(Answer::text(202, "text/plain", "")),
        _ => tasks(seen),
    });
    let call = world.legacy("tasks/result", json!({"taskId": own})).header("mcp-session-id", &session).token(&world.ta());
    let mut stream = call.open().await;
    for told in [progress(), json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": 1}})] {
        tell(&feed, &related(told.clone(), "params", "1")).await;
        assert_eq!(next(&mut stream).await, related(told, "params", &own));
    }
    tell(&feed, &related(question(41), "params", "1")).await;
    let asked = next(&mut stream).await;
    let mut expected = related(question(41), "params", &own);
    expected["id"] = asked["id"].clone();
    assert_eq!(asked, expected);
    assert_ne!(asked["id"], 41);
    // Back it comes by the server's own id, and nobody else's task can be named.
    let answer = |task: &str| {
        let body = related(json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "accept"}}), "result", task);
        world.legacy("x", json!({})).header("mcp-session-id", &session).token(&world.ta()).body(body.to_string())
    };
    let count = world.files.count();
    for foreign in ["1", "2", own.replace(char::is_alphabetic, "A").as_str()] {
        answer(foreign).send().await.is(400);
    }
    assert_eq!(world.files.count(), count);
    answer(&own).send().await.is(202);
    let seen = world.files.last().json();
    assert_eq!((&seen["id"], &seen["result"]["_meta"][RELATED]["taskId"]), (&json!(41), &json!("1")));
    tell(&feed, &related(json!({"jsonrpc": "2.0", "id": 1, "result": {"content": []}}), "result", "1")).await;
    assert_eq!(next(&mut stream).await["result"]["_meta"][RELATED]["taskId"], json!(own));
}

#[tokio::test]
async fn item_88_what_belongs_to_a_task_of_another_is_neither_told_nor_asked() {
    let (world, session) = asking().await;
    let own = begun(&world, "1", "read_file", &world.ta()).await;
    begun(&world, "2", "read_file", &world.tb()).await;
    let (mut stream, feed) = listen(&world, &session, None).await;
    tell(&feed, &related(progress(), "params", "2")).await;
    let count = world.files.count();
    tell(&feed, &related(question(7), "params", "2")).await;
    world.files.arrived(count + 1).await;
    let told = world.files.last().json();
    assert_eq!((&told["id"], &told["error"]["code"]), (&json!(7), &json!(-32601)));
    tell(&feed, &json!([related(progress(), "params", "2"), related(progress(), "params", "1")])).await;
    assert_eq!(next(&mut stream).await, json!([related(progress(), "params", &own)]), "in an array too");
    let lines = world.gateway.audited(1, |line| line["operation"] == "elicitation/create").await;
    assert_eq!((&lines[0]["reason"], &lines[0]["outcome"]), (&json!("unknown_task"), &json!("refused")));
}

#[tokio::test]
async fn item_88_a_message_of_a_client_belongs_to_its_own_task_only() {
    let (world, session) = asking().await;
    let own = begun(&world, "1", "read_file", &world.ta()).await;
    let call = |task: &str, token: &str| {
        let named = json!({RELATED: {"taskId": task}});
        world.legacy("tools/call", json!({"name": "read_file", "_meta": named})).token(token)
    };
    call(&own, &world.ta()).send().await.is(200);
    assert_eq!(world.files.last().json()["params"]["_meta"][RELATED]["taskId"], "1");
    let count = world.files.count();
    call(&own, &world.tb()).send().await.refuses(200, -32602);
    call("1", &world.ta()).send().await.refuses(200, -32602);
    let other = |key: &str, id: Value| json!({"name": "read_file", "_meta": {key: {"taskId": id}}});
    world.legacy("tools/call", other(RELATED, json!(1))).token(&world.ta()).send().await.refuses(400, -32602);
    world.legacy("tools/call", other(&RELATED.replace("task", "Task"), json!("1"))).token(&world.ta()).send().await.is(400);
    let told = related(progress(), "params", "1").to_string();
    world.legacy("x", json!({})).header("mcp-session-id", &session).token(&world.ta()).body(told).send().await.is(400);
    let batch =
        json!([related(json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "read_file"}}), "params", "1")]);
    let reply = world.legacy("x", json!({})).without("mcp-protocol-version").token(&world.ta()).body(batch.to_string()).send().await;
    assert_eq!(reply.is(200).json()[0]["error"]["code"], -32602);
    assert_eq!(world.files.count(), count);
    let told = related(progress(), "params", &own).to_string();
    world.legacy("x", json!({})).header("mcp-session-id", &session).token(&world.ta()).body(told).send().await;
    assert_eq!(world.files.last().json(), related(progress(), "params", "1"));
}

#[tokio::test]
async fn item_88_an_answer_about_one_task_gives_no_right_to_another() {
    let world = start().await;
    let own = begun(&world, "1", "read_file", &world.ta()).await;
    begun(&world, "2", "read_file", &world.tb()).await;
    let answers = [
        json!({"taskId": "2", "status": "working"}),
        json!({"content": [], "_meta": {RELATED: {"taskId": "2"}}}),
        json!({"task": {"taskId": "2"}}),
    ];
    for result in answers {
        let body = json!({"jsonrpc": "2.0", "id": 1, "result": result});
        for answer in [Answer::json(body.clone()), Answer::events(format!("data: {body}\n\n"))] {
            world.files.once(answer);
            let reply = world.legacy("tasks/get", json!({"taskId": own})).token(&world.ta()).send().await;
            assert!(!reply.text().contains("taskId"), "{reply:?}");
        }
    }
    // A call that began none tells of a task of the caller's own by the id that it knows, and of no other.
    for (id, told) in [("1", Some(own)), ("2", None)] {
        world.files.once(Answer::json(json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [], "_meta": {RELATED: {"taskId": id}}}})));
        let reply = world.legacy("tools/call", json!({"name": "read_file"})).token(&world.ta()).send().await;
        match told {
            Some(told) => assert_eq!(reply.is(200).json()["result"]["_meta"][RELATED]["taskId"], json!(told)),
            None => assert_eq!(reply.status, 502, "{reply:?}"),
        }
    }
}

const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// A client that speaks the extension, and fills in forms.
fn speaking(call: Call) -> Call {
    let capabilities = json!({"elicitation": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}});
    call.edit(|message| message["params"]["_meta"][CAPABILITIES] = capabilities)
}

/// Begins a task of the newer design; gives the id that the client knows.
async fn begun_anew(world: &World, id: &str, tool: &str, token: &str) -> String {
    world.files.once(Answer::json(json!({"jsonrpc": "2.0", "id": 1, "result": {"resultType": "task", "taskId": id, "status": "working"}})));
    message(speaking(world.tool(tool)).token(token).send().await.is(200))["result"]["taskId"].as_str().unwrap().to_owned()
}

/// A subscription to these tasks, and the end to feed it by.
async fn following(world: &World, tasks: &[&str]) -> (reqwest::Response, Sender<Result<Bytes, Cut>>) {
    let (answer, feed) = Answer::stream();
    world.files.once(answer);
    let wanted = json!({"notifications": {"toolsListChanged": true, "taskIds": tasks}});
    let stream = speaking(world.modern("subscriptions/listen", wanted)).token(&world.ta()).open().await;
    assert_eq!(stream.status(), 200);
    (stream, feed)
}

fn subscribed(method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({"io.modelcontextprotocol/subscriptionId": 1});
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

async fn follower() -> World {
    World::with(|config| {
        config["upstreams"]["files"]["allow_server_requests"] = json!(["elicitation"]);
        let secret = json!({"name": "secret", "resources": ["file:///secret/**"], "deny": true});
        config["upstreams"]["files"]["rules"].as_array_mut().unwrap().push(secret);
    })
    .await
}

#[tokio::test]
async fn item_91_a_subscription_follows_the_callers_own_tasks_by_the_ids_that_it_knows() {
    let world = follower().await;
    let both = world.token(|token| token.claims["scope"] = json!("files:read files:write"));
    let own = begun_anew(&world, "1", "read_file", &world.ta()).await;
    let others = begun_anew(&world, "2", "read_file", &world.tb()).await;
    // The caller's own, of a tool that this token may not use.
    let unusable = begun_anew(&world, "3", "write_file", &both).await;
    let (mut stream, feed) = following(&world, &[&own, &others, &unusable, "1", "4"]).await;
    assert_eq!(world.files.last().json()["params"]["notifications"]["taskIds"], json!(["1"]));
    let acknowledged = |tasks: Value| {
        subscribed("notifications/subscriptions/acknowledged", json!({"notifications": {"toolsListChanged": true, "taskIds": tasks}}))
    };
    tell(&feed, &acknowledged(json!(["1", "2", "3"]))).await;
    assert_eq!(next(&mut stream).await, acknowledged(json!([own])));
    let done = |id: &str, uri: &str| {
        let content = json!([{"type": "resource", "resource": {"uri": uri, "text": "x"}}]);
        subscribed("notifications/tasks", json!({"taskId": id, "status": "completed", "result": {"content": content}}))
    };
    for hidden in ["2", "3", "4"] {
        tell(&feed, &done(hidden, "file:///pub/a")).await;
    }
    tell(&feed, &subscribed("notifications/tasks", json!({"status": "completed"}))).await;
    tell(&feed, &done("1", "file:///pub/a")).await;
    assert_eq!(next(&mut stream).await, done(&own, "file:///pub/a"));
    tell(&feed, &done("1", "file:///secret/a")).await;
    let cut = next(&mut stream).await;
    assert_eq!((&cut["params"]["taskId"], &cut["params"]["result"]["content"][0]["type"]), (&json!(own), &json!("text")));
    // By the rules of now.
    let mut less = world.config.clone();
    less["upstreams"]["files"]["rules"][1]["tools"] = json!(["read_nothing"]);
    world.gateway.reload(&less).await;
    tell(&feed, &done("1", "file:///pub/a")).await;
    drop(feed);
    let mut rest = String::new();
    while let Some(chunk) = soon("the end", stream.chunk()).await.unwrap() {
        rest += std::str::from_utf8(&chunk).unwrap();
    }
    assert!(!rest.contains("notifications/tasks"), "{rest}");
}

#[tokio::test]
async fn item_95_what_a_followed_task_asks_is_judged_like_any_question() {
    let world = follower().await;
    let own = begun_anew(&world, "1", "read_file", &world.ta()).await;
    let (mut stream, feed) = following(&world, &[&own]).await;
    let asks = |id: &str, method: &str| {
        let inputs = json!({"k": {"method": method, "params": {"message": "m"}}});
        subscribed("notifications/tasks", json!({"taskId": id, "status": "input_required", "inputRequests": inputs}))
    };
    tell(&feed, &asks("1", "sampling/createMessage")).await;
    tell(&feed, &asks("1", "elicitation/create")).await;
    assert_eq!(next(&mut stream).await, asks(&own, "elicitation/create"));
    let lines = world.gateway.audited(2, |line| line["operation"] != "subscriptions/listen" && line["operation"] != "tools/call").await;
    let told: Vec<_> = lines.iter().map(|line| (line["operation"].as_str().unwrap(), line["outcome"].as_str().unwrap())).collect();
    assert_eq!(told, [("sampling/createMessage", "refused"), ("elicitation/create", "permitted")]);
    drop(feed);
    while soon("the end", stream.chunk()).await.unwrap().is_some() {}
    let line = world.gateway.audited(1, |line| line["operation"] == "subscriptions/listen").await;
    assert_eq!(line[0]["reason"], "permitted", "nothing was taken out");
}

#[tokio::test]
async fn item_91_who_does_not_declare_tasks_follows_none() {
    let world = World::start().await;
    let own = begun_anew(&world, "1", "read_file", &world.ta()).await;
    let (answer, _feed) = Answer::stream();
    world.files.once(answer);
    let wanted = json!({"notifications": {"toolsListChanged": true, "taskIds": [own]}});
    world.modern("subscriptions/listen", wanted).token(&world.ta()).open().await;
    assert_eq!(world.files.last().json()["params"]["notifications"]["taskIds"], json!([]));
}

#[tokio::test]
async fn item_91_tasks_are_taken_out_of_a_subscription_and_of_what_it_tells() {
    let world = World::start().await;
    let (answer, feed) = Answer::stream();
    world.files.once(answer);
    let wanted = json!({"notifications": {"toolsListChanged": true, "taskIds": ["9", "of another"]}});
    let mut stream = world.modern("subscriptions/listen", wanted).token(&world.ta()).open().await;
    assert_eq!(stream.status(), 200);
    assert_eq!(world.files.last().json()["params"]["notifications"], json!({"toolsListChanged": true, "taskIds": []}));
    let told = |method: &str, mut params: Value| {
        params["_meta"] = json!({"io.modelcontextprotocol/subscriptionId": 1});
        json!({"jsonrpc": "2.0", "method": method, "params": params})
    };
    let acknowledged = |tasks: Value| {
        told("notifications/subscriptions/acknowledged", json!({"notifications": {"toolsListChanged": true, "taskIds": tasks}}))
    };
    tell(&feed, &acknowledged(json!(["9"]))).await;
    assert_eq!(next(&mut stream).await, acknowledged(json!([])));
    tell(&feed, &told("notifications/tasks", json!({"taskId": "9", "status": "completed", "result": {"content": []}}))).await;
    let changed = told("notifications/tools/list_changed", json!({}));
    tell(&feed, &changed).await;
    assert_eq!(next(&mut stream).await, changed);
    drop(feed);
    assert_eq!(soon("the end", stream.chunk()).await.unwrap(), None);
    world.gateway.audited(1, |line| line["reason"] == "narrowed").await;
}
