//! What goes out through a client and comes back: states, tasks and cursors are each caller's own, and
//! results bring nothing that the rules do not allow (acceptance groups E and F).

use serde_json::{Value, json};

use crate::support::World;
use crate::support::client::{Call, Reply};
use crate::support::upstream::{Answer, Seen, plain};

/// Awkward on purpose: quotes, escapes, what is no ASCII.
const STATE: &str = "s\"t\\a/te \u{1F511}\u{e9} =";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// Asks for input until a state comes back.
fn asks(seen: &Seen) -> Option<Answer> {
    match seen.json()["params"].get("requestState") {
        None => Some(Answer::result(
            seen,
            json!({"resultType": "input_required", "requestState": STATE, "inputRequests": {"k": {"method": "roots/list", "params": {}}}}),
        )),
        Some(_) => Some(Answer::result(seen, json!({"resultType": "complete", "content": []}))),
    }
}

fn events(seen: &Seen) -> Option<Answer> {
    let Some(Answer::Reply { body, .. }) = asks(seen) else { return None };
    Some(Answer::events(format!("data: {}\n\n", String::from_utf8_lossy(&body))))
}

fn result(reply: &Reply) -> Value {
    let text = reply.text();
    let json = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or(&text);
    serde_json::from_str::<Value>(json).unwrap()["result"].clone()
}

/// Servers may ask for folders here.
fn ask(config: &mut Value) {
    config["upstreams"]["files"]["allow_server_requests"] = json!(["roots"]);
}

async fn start() -> World {
    World::with(ask).await
}

/// The state that a call brings.
async fn state(call: Call) -> String {
    let reply = call.send().await;
    let state = result(reply.is(200))["requestState"].as_str().unwrap().to_owned();
    assert!(state != STATE && !reply.text().contains("s\\\"t"), "{reply:?}");
    state
}

fn retry(call: Call, state: &str) -> Call {
    call.edit(|message| {
        message["id"] = json!(2);
        message["params"]["requestState"] = json!(state);
        message["params"]["inputResponses"] = json!({"k": {"roots": []}});
    })
}

fn read_file(world: &World, token: &str) -> Call {
    world.modern("tools/call", json!({"name": "read_file", "arguments": {"path": "/pub/a", "n": 1}})).token(token)
}

async fn refused(world: &World, what: &str, call: Call, code: i64, reason: &str) {
    let before = world.files.count();
    let reply = call.send().await;
    assert_eq!((reply.status, reply.json()["error"]["code"].as_i64()), (400, Some(code)), "{what}: {reply:?}");
    assert_eq!(world.files.count(), before, "{what}");
    let lines = world.gateway.audited(1, |line| line["reason"] == reason && line["outcome"] == "refused").await;
    assert!(!lines[0].to_string().contains("requestState"), "{what}");
}

#[tokio::test]
async fn item_94_a_state_is_sealed_for_the_client_and_exact_for_the_upstream() {
    let world = start().await;
    for script in [asks, events] {
        world.files.script(script);
        for (method, params) in [
            ("tools/call", json!({"name": "read_file", "arguments": {"b": 1, "a": [1, {"d": 1, "c": 2}]}})),
            ("prompts/get", json!({"name": "greet", "arguments": {"who": "x"}})),
            ("resources/read", json!({"uri": "file:///pub/a"})),
        ] {
            let call = || world.modern(method, params.clone()).token(&world.ta());
            let sealed = state(call()).await;
            let again = retry(call(), &sealed);
            let sent = String::from_utf8(again.bytes().to_vec()).unwrap();
            again.send().await.is(200);
            let seen = world.files.last();
            assert_eq!(seen.json()["params"]["requestState"], json!(STATE), "{method}");
            let expected = sent.replace(&json!(sealed).to_string(), &json!(STATE).to_string());
            assert_eq!(String::from_utf8_lossy(&seen.body), expected, "{method}: only the state differs");
        }
    }
}

#[tokio::test]
async fn item_93_a_state_of_another_caller_thing_or_argument_is_refused() {
    let world = World::with(|config| {
        ask(config);
        let also = json!({"tools": ["also"], "scopes": ["files:read"]});
        config["upstreams"]["files"]["rules"].as_array_mut().unwrap().push(also);
    })
    .await;
    world.files.script(asks);
    let own = state(read_file(&world, &world.ta())).await;
    let refuse = async |what: &str, call: Call, state: &str| {
        refused(&world, what, retry(call, state), -32602, "unknown_state").await;
    };
    refuse("another person", read_file(&world, &world.tb()), &own).await;
    let client = world.token(|token| token.claims["client_id"] = json!("another-client"));
    refuse("another client", read_file(&world, &client), &own).await;
    let also = world.modern("tools/call", json!({"name": "also", "arguments": {"path": "/pub/a", "n": 1}}));
    refuse("another tool", also.token(&world.ta()), &own).await;
    let other = read_file(&world, &world.ta()).edit(|message| message["params"]["arguments"]["n"] = json!(2));
    refuse("another argument", other, &own).await;
    refuse("another method", world.modern("prompts/get", json!({"name": "greet"})).token(&world.ta()), &own).await;
    refuse("a list", world.modern("tools/list", json!({})).token(&world.ta()), &own).await;
    refuse("the upstream's own", read_file(&world, &world.ta()), STATE).await;
    refuse("nothing", read_file(&world, &world.ta()), "").await;
    let legacy = world.legacy("tools/call", json!({"name": "read_file", "requestState": own})).token(&world.ta());
    refuse("the older era", legacy, &own).await;
    for at in [0, own.len() / 2, own.len() - 2] {
        let mut altered = own.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        refuse("altered", read_file(&world, &world.ta()), &String::from_utf8(altered).unwrap()).await;
    }
    retry(read_file(&world, &world.ta()), &own).send().await.is(200);
    let number = read_file(&world, &world.ta()).edit(|message| message["params"]["requestState"] = json!(7));
    number.send().await.refuses(400, -32602);
}

#[tokio::test]
async fn item_93_arguments_may_be_written_in_another_order() {
    let world = start().await;
    world.files.script(asks);
    let own = state(read_file(&world, &world.ta())).await;
    let text = String::from_utf8(retry(read_file(&world, &world.ta()), &own).bytes().to_vec()).unwrap();
    let turned = [
        (r#"{"path":"/pub/a","n":1}"#, r#"{ "n" : 1, "path" : "\/pub\/a" }"#),
        (r#"{"n":1,"path":"/pub/a"}"#, r#"{ "path" : "\/pub\/a", "n":1 }"#),
    ];
    let turned = turned.iter().fold(text.clone(), |text, (from, to)| text.replace(from, to));
    assert_ne!(turned, text);
    read_file(&world, &world.ta()).body(turned).send().await.is(200);
}

#[tokio::test]
async fn item_93_the_right_to_the_thing_is_asked_for_again() {
    let world = start().await;
    world.files.script(asks);
    let own = state(read_file(&world, &world.ta())).await;
    let before = world.files.count();
    let less = world.token(|token| token.claims["scope"] = json!("other"));
    retry(read_file(&world, &less), &own).send().await.is(403);
    assert_eq!(world.files.count(), before);
}

#[tokio::test]
async fn a_state_that_is_spelled_with_escapes_passes_and_opens_nothing() {
    let world = start().await;
    world.files.script(|seen| {
        let id = seen.json()["id"].clone();
        Some(Answer::text(
            200,
            "application/json",
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"input_required","request\u0053tate":"raw"}}}}"#),
        ))
    });
    let reply = read_file(&world, &world.ta()).send().await;
    assert_eq!(result(reply.is(200))["requestState"], json!("raw"));
    refused(&world, "raw", retry(read_file(&world, &world.ta()), "raw"), -32602, "unknown_state").await;
}

#[tokio::test]
async fn a_state_in_an_answer_that_has_two_readings_is_not_passed() {
    let world = start().await;
    world.files.script(|seen| {
        let id = seen.json()["id"].clone();
        Some(Answer::text(
            200,
            "application/json",
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"requestState":"a","requestState":"b"}}}}"#),
        ))
    });
    let reply = read_file(&world, &world.ta()).send().await;
    assert_eq!(reply.status, 502, "{reply:?}");
    world.gateway.audited(1, |line| line["reason"] == "unreadable_result").await;
}

#[tokio::test]
async fn item_96_a_list_is_not_answered_with_a_question() {
    let world = start().await;
    world.files.script(asks);
    let reply = world.modern("tools/list", json!({})).token(&world.ta()).send().await;
    assert_eq!(reply.status, 502, "{reply:?}");
    assert!(!reply.text().contains("requestState"), "{reply:?}");
}

#[tokio::test]
async fn item_102_nothing_that_is_sealed_is_written_down() {
    let world = start().await;
    world.files.script(asks);
    let own = state(read_file(&world, &world.ta())).await;
    retry(read_file(&world, &world.ta()), &own).send().await.is(200);
    retry(read_file(&world, &world.tb()), &own).send().await.refuses(400, -32602);
    let lines = world.gateway.audited(3, |line| line["operation"] == "tools/call").await;
    let written = format!("{lines:?} {}", world.gateway.stderr());
    assert!(!written.contains(&own) && !written.contains('\u{1F511}'), "{written}");
}

#[tokio::test]
async fn a_large_answer_without_anything_to_seal_passes_as_it_is() {
    let world = World::with(|config| {
        ask(config);
        config["upstreams"]["files"]["rules"] = json!([{"tools": ["read_file"], "scopes": ["files:read"]}]);
    })
    .await;
    let large = "x".repeat(3 << 20);
    let text = large.clone();
    world.files.script(move |seen| Some(Answer::result(seen, json!({"content": [{"type": "text", "text": text}]}))));
    let reply = read_file(&world, &world.ta()).send().await;
    assert_eq!(result(reply.is(200))["content"][0]["text"], json!(large));
}

/// Every tool call begins the task `1`, and every question about it is answered.
fn tasks(seen: &Seen) -> Option<Answer> {
    let message = seen.json();
    let modern = !seen.header("mcp-method").is_empty();
    Some(match (message["method"].as_str().unwrap(), modern) {
        ("tools/call", true) => Answer::result(seen, json!({"resultType": "task", "taskId": "1", "status": "working", "ttlMs": null})),
        ("tools/call", false) => Answer::result(seen, json!({"task": {"taskId": "1", "status": "working"}})),
        ("tasks/get", true) => {
            let done = json!({"resultType": "complete", "taskId": "1", "status": "completed", "result": {"content": [{"type": "text", "text": "done"}]}});
            Answer::result(seen, done)
        }
        ("tasks/get", false) => Answer::result(seen, json!({"taskId": "1", "status": "completed"})),
        ("tasks/result", _) => {
            Answer::result(seen, json!({"content": [], "_meta": {"io.modelcontextprotocol/related-task": {"taskId": "1"}}}))
        }
        _ => plain(seen),
    })
}

fn begin(world: &World, token: &str) -> Call {
    read_file(world, token)
        .edit(|message| message["params"]["_meta"][CAPABILITIES] = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}}))
}

fn about(world: &World, method: &str, task: &str, token: &str) -> Call {
    world.modern(method, json!({"taskId": task})).header("mcp-name", task).token(token)
}

fn older(world: &World, method: &str, task: &str, token: &str) -> Call {
    world.legacy(method, json!({"taskId": task})).token(token)
}

#[tokio::test]
async fn item_89_a_task_is_its_callers_own() {
    let world = start().await;
    world.files.script(tasks);
    let reply = begin(&world, &world.ta()).send().await;
    let task = result(reply.is(200))["taskId"].as_str().unwrap().to_owned();
    assert!(task.len() > 40, "{task}");
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let reply = about(&world, method, &task, &world.ta()).send().await;
        reply.is(200);
        let seen = world.files.last();
        assert_eq!((seen.json()["params"]["taskId"].clone(), seen.header("mcp-name")), (json!("1"), "1".into()), "{method}");
        if method == "tasks/get" {
            assert_eq!(result(&reply)["taskId"], json!(task), "known by the same id each time");
        }
        refused(&world, "another person's", about(&world, method, &task, &world.tb()), -32602, "unknown_task").await;
        refused(&world, "as the upstream knows it", about(&world, method, "1", &world.ta()), -32602, "unknown_task").await;
        let foreign = about(&world, method, &task, &world.tb()).send().await;
        let unknown = about(&world, method, "1", &world.tb()).send().await;
        assert_eq!(foreign.text(), unknown.text(), "nobody learns whose it is");
    }
    let line = world.gateway.audited(1, |line| line["operation"] == "tasks/get" && line["outcome"] == "permitted").await;
    assert_eq!(line[0]["name"], json!("read_file"), "{line:?}");
    older(&world, "tasks/get", &task, &world.ta()).send().await.refuses(200, -32602);
}

#[tokio::test]
async fn item_89_a_task_of_a_tool_that_is_no_longer_permitted_gives_nothing() {
    let world = start().await;
    world.files.script(tasks);
    let task = result(&begin(&world, &world.ta()).send().await)["taskId"].as_str().unwrap().to_owned();
    let before = world.files.count();
    let less = world.token(|token| token.claims["scope"] = json!("other"));
    about(&world, "tasks/get", &task, &less).send().await.is(403);
    assert_eq!(world.files.count(), before);
}

#[tokio::test]
async fn item_88_a_task_of_the_older_era_is_its_callers_own() {
    let world = start().await;
    world.files.script(tasks);
    let call = world.legacy("tools/call", json!({"name": "read_file", "arguments": {}, "task": {"ttl": 60000}})).token(&world.ta());
    let task = result(call.send().await.is(200))["task"]["taskId"].as_str().unwrap().to_owned();
    assert_eq!(world.files.last().json()["params"]["task"], json!({"ttl": 60000}));
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        let reply = older(&world, method, &task, &world.ta()).send().await;
        assert!(!reply.is(200).text().contains(r#""taskId":"1""#), "{reply:?}");
        assert_eq!(world.files.last().json()["params"]["taskId"], json!("1"), "{method}");
        let before = world.files.count();
        let foreign = older(&world, method, &task, &world.tb()).send().await;
        foreign.refuses(200, -32602);
        let unknown = older(&world, method, "1", &world.ta()).send().await;
        assert_eq!(foreign.text(), unknown.text());
        assert_eq!(world.files.count(), before, "{method}");
    }
}

#[tokio::test]
async fn item_90_the_name_header_of_a_task_request_must_agree() {
    let world = start().await;
    world.files.script(tasks);
    let task = result(&begin(&world, &world.ta()).send().await)["taskId"].as_str().unwrap().to_owned();
    for call in [
        about(&world, "tasks/get", &task, &world.ta()).replace("mcp-name", "1"),
        about(&world, "tasks/get", &task, &world.ta()).without("mcp-name"),
    ] {
        call.send().await.refuses(400, -32020);
    }
    for params in [json!({}), json!({"taskId": 1}), json!({"taskId": null})] {
        let call = world.modern("tasks/get", params).header("mcp-name", "1").token(&world.ta());
        call.send().await.refuses(400, -32602);
    }
    world.modern("tasks/result", json!({"taskId": task})).header("mcp-name", &task).token(&world.ta()).send().await.refuses(404, -32601);
}

#[tokio::test]
async fn item_92_a_task_for_a_client_that_knows_none_is_not_passed() {
    let world = start().await;
    world.files.script(tasks);
    let reply = read_file(&world, &world.ta()).send().await;
    assert_eq!(reply.status, 502, "{reply:?}");
    assert!(!reply.text().contains("taskId"), "{reply:?}");
}

#[tokio::test]
async fn item_91_notifications_about_tasks_do_not_pass() {
    let world = start().await;
    world.files.script(|seen| {
        let id = seen.json()["id"].clone();
        Some(Answer::events(format!(
            "data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tasks\",\"params\":{{\"taskId\":\"9\",\"result\":\"of another\"}}}}\n\n\
             data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{{}}}}\n\n\
             data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"content\":[]}}}}\n\n"
        )))
    });
    let reply = read_file(&world, &world.ta()).send().await;
    assert!(!reply.text().contains("of another") && reply.text().contains("progress") && reply.text().contains("content"), "{reply:?}");
}

/// A list that always goes on, by the cursor `c"1`.
fn pages(seen: &Seen) -> Option<Answer> {
    let list = match seen.json()["method"].as_str().unwrap() {
        "tools/list" => json!({"nextCursor": "c\"1", "tools": [{"name": "read_file"}, {"name": "wipe"}]}),
        _ => json!({"prompts": [{"name": "greet"}], "nextCursor": "c\"1"}),
    };
    Some(Answer::result(seen, list))
}

fn list(world: &World, cursor: Option<&str>, token: &str) -> Call {
    world.modern("tools/list", cursor.map_or(json!({}), |cursor| json!({"cursor": cursor}))).token(token)
}

#[tokio::test]
async fn a_cursor_is_its_callers_own_for_the_list_it_came_with() {
    let world = start().await;
    world.files.script(pages);
    let next = async |token: &str| {
        let reply = list(&world, None, token).send().await;
        assert!(!reply.is(200).text().contains("wipe"), "{reply:?}");
        result(&reply)["nextCursor"].as_str().unwrap().to_owned()
    };
    let (a, b) = (next(&world.ta()).await, next(&world.tb()).await);
    assert_ne!(a, b, "those who see the same list have cursors of their own");
    assert_eq!(a, next(&world.ta()).await, "and the same one each time");
    list(&world, Some(&a), &world.ta()).send().await.is(200);
    assert_eq!(world.files.last().json()["params"]["cursor"], json!("c\"1"));
    refused(&world, "another's", list(&world, Some(&a), &world.tb()), -32602, "unknown_cursor").await;
    refused(&world, "the upstream's own", list(&world, Some("c\"1"), &world.ta()), -32602, "unknown_cursor").await;
    let prompts = world.modern("prompts/list", json!({"cursor": a})).token(&world.ta());
    refused(&world, "another list's", prompts, -32602, "unknown_cursor").await;
    list(&world, None, &world.ta()).edit(|message| message["params"]["cursor"] = Value::Null).send().await.is(200);
}

#[tokio::test]
async fn a_cursor_in_a_stream_is_sealed_alike() {
    let world = start().await;
    world.files.script(|seen| {
        let Some(Answer::Reply { body, .. }) = pages(seen) else { return None };
        Some(Answer::events(format!("data: {}\n\n", String::from_utf8_lossy(&body))))
    });
    let streamed = result(list(&world, None, &world.ta()).send().await.is(200))["nextCursor"].as_str().unwrap().to_owned();
    world.files.script(pages);
    let whole = result(list(&world, None, &world.ta()).send().await.is(200))["nextCursor"].as_str().unwrap().to_owned();
    assert_eq!(streamed, whole);
    list(&world, Some(&streamed), &world.ta()).send().await.is(200);
}

fn contents(seen: &Seen) -> Option<Answer> {
    Some(Answer::result(
        seen,
        json!({"contents": [
            {"uri": "file:///pub/a", "text": "asked"},
            {"uri": "file:///pub/b", "text": "allowed"},
            {"uri": "file:///etc/shadow", "text": "denied"},
            {"uri": "file:///pub/../etc/shadow", "text": "disguised"},
        ]}),
    ))
}

#[tokio::test]
async fn item_s18_a_reading_brings_nothing_that_the_caller_may_not_read() {
    let world = start().await;
    let read = || world.modern("resources/read", json!({"uri": "file:///pub/a"})).token(&world.ta());
    world.files.script(contents);
    let whole = read().send().await;
    world.files.script(|seen| {
        let Some(Answer::Reply { body, .. }) = contents(seen) else { return None };
        Some(Answer::events(format!("data: {}\n\n", String::from_utf8_lossy(&body))))
    });
    let streamed = read().send().await;
    let legacy = world.legacy("resources/read", json!({"uri": "file:///pub/a"})).token(&world.ta()).send().await;
    for reply in [whole, streamed, legacy] {
        let texts: Vec<_> = result(reply.is(200))["contents"].as_array().unwrap().iter().map(|one| one["text"].clone()).collect();
        assert_eq!(texts, [json!("asked"), json!("allowed")], "{reply:?}");
    }
    world.gateway.audited(3, |line| line["reason"] == "resource_withheld" && line["outcome"] == "permitted").await;
}

#[tokio::test]
async fn item_s18_an_upstream_that_is_only_observed_passes_all_and_says_so() {
    let world = World::with(|config| config["upstreams"]["files"]["mode"] = json!("observe")).await;
    world.files.script(contents);
    let reply = world.modern("resources/read", json!({"uri": "file:///pub/a"})).token(&world.ta()).send().await;
    assert_eq!(result(reply.is(200))["contents"].as_array().unwrap().len(), 4, "{reply:?}");
    world.gateway.audited(1, |line| line["reason"] == "resource_withheld").await;
}

#[tokio::test]
async fn embedded_resources_of_a_denied_rule_are_left_out_and_links_stay() {
    let world = World::with(|config| {
        ask(config);
        let rule = json!({"resources": ["file:///secret/**"], "scopes": ["files:write"]});
        config["upstreams"]["files"]["rules"].as_array_mut().unwrap().push(rule);
    })
    .await;
    let block = |uri: &str, text: &str| json!({"type": "resource", "resource": {"uri": uri, "text": text}});
    let blocks = json!([block("file:///secret/a", "denied"), block("memo://made/up", "own"), {"type": "resource_link", "name": "l", "uri": "file:///secret/a"}]);
    let answer = blocks.clone();
    world.files.script(move |seen| {
        let prompt = seen.json()["method"] == "prompts/get";
        let messages = json!({"messages": [{"role": "user", "content": answer[0]}, {"role": "user", "content": answer[1]}]});
        Some(Answer::result(seen, if prompt { messages } else { json!({"content": answer}) }))
    });
    let tool = read_file(&world, &world.ta()).send().await;
    assert!(!tool.is(200).text().contains("denied"), "{tool:?}");
    assert_eq!((result(&tool)["content"][1].clone(), result(&tool)["content"][2].clone()), (blocks[1].clone(), blocks[2].clone()));
    let prompt = world.modern("prompts/get", json!({"name": "greet"})).token(&world.ta()).send().await;
    assert!(!prompt.is(200).text().contains("denied") && prompt.text().contains("own"), "{prompt:?}");
    let may = world.token(|token| token.claims["scope"] = json!("files:read files:write"));
    assert_eq!(result(read_file(&world, &may).send().await.is(200))["content"], blocks);
}

#[tokio::test]
async fn item_s25_an_app_is_a_resource_like_any_other() {
    let world = World::with(|config| {
        ask(config);
        let rule = json!({"tools": ["chart"], "resources": ["ui://chart/**"], "scopes": ["files:write"]});
        config["upstreams"]["files"]["rules"].as_array_mut().unwrap().push(rule);
    })
    .await;
    let read = |uri: &str, token: &str| world.modern("resources/read", json!({"uri": uri})).token(token);
    read("ui://chart/view.html", &world.ta()).send().await.is(403);
    read("ui://other/view.html", &world.ta()).send().await.is(403);
    world.tool("chart").token(&world.ta()).send().await.is(403);
    world.files.saw_nothing();
    read("ui://chart/view.html", &world.tw()).send().await.is(200);
}

#[tokio::test]
async fn item_102_a_refusal_in_json_is_looked_through_like_any_answer() {
    let world = start().await;
    world.files.script(|seen| {
        let result =
            json!({"resultType": "input_required", "requestState": STATE, "inputRequests": {"k": {"method": "roots/list", "params": {}}}});
        let body = json!({"jsonrpc": "2.0", "id": seen.json()["id"], "result": result}).to_string();
        Some(Answer::text(400, "application/json", body))
    });
    let reply = world.tool("read_file").token(&world.ta()).send().await;
    assert_eq!(reply.status, 400);
    let state = result(&reply)["requestState"].as_str().unwrap().to_owned();
    assert_ne!(state, STATE, "{reply:?}");
}

#[tokio::test]
async fn what_a_refusal_in_json_asks_or_carries_is_judged_too() {
    let world = World::with(|config| {
        let rule = json!({"resources": ["file:///secret/**"], "scopes": ["files:write"]});
        config["upstreams"]["files"]["rules"].as_array_mut().unwrap().push(rule);
    })
    .await;
    let refusing = |result: Value| {
        move |seen: &Seen| {
            let body = json!({"jsonrpc": "2.0", "id": seen.json()["id"], "result": result}).to_string();
            Some(Answer::text(422, "application/json", body))
        }
    };
    world.files.script(refusing(json!({"resultType": "input_required", "inputRequests": {"k": {"method": "roots/list"}}})));
    read_file(&world, &world.ta()).send().await.refuses(502, -31502);
    let secret = json!({"content": [{"type": "resource", "resource": {"uri": "file:///secret/a", "text": "denied"}}]});
    world.files.script(refusing(secret));
    let reply = read_file(&world, &world.ta()).send().await;
    assert_eq!((reply.status, reply.text().contains("denied")), (422, false), "{reply:?}");
}
