//! Arrays of messages, which only 2025-03-26 has: each message is judged, sent and recorded as if it had come alone.

use http::Method;
use serde_json::{Value, json};

use crate::support::client::{Call, Reply};
use crate::support::gateway::run;
use crate::support::upstream::{Answer, Seen, plain};
use crate::support::{Setup, World, soon};

fn request(id: impl Into<Value>, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "method": method, "params": params})
}

fn tool(id: impl Into<Value>, name: &str) -> Value {
    request(id, "tools/call", json!({"name": name, "arguments": {}}))
}

fn notification(method: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": method})
}

/// Of a client of 2025-03-26, which has no header for its revision.
fn batch(world: &World, messages: Value) -> Call {
    let call = world.legacy("initialize", json!({})).token(&world.ta());
    call.body(messages.to_string())
}

fn forwarded(world: &World) -> Vec<Value> {
    world.files.seen().iter().map(Seen::json).collect()
}

#[track_caller]
fn items(reply: &Reply) -> Vec<Value> {
    reply.is(200).json().as_array().unwrap_or_else(|| panic!("no array: {reply:?}")).clone()
}

#[tokio::test]
async fn item_71_each_message_of_a_batch_is_judged_and_only_what_is_allowed_goes_on() {
    let world = World::start().await;
    let messages =
        json!([tool(1, "read_file"), tool("w", "wipe"), request(3, "tools/list", json!({})), notification("notifications/initialized")]);
    for claim in [None, Some("2025-03-26")] {
        let before = world.files.count();
        let mut call = batch(&world, messages.clone());
        if let Some(claim) = claim {
            call = call.header("mcp-protocol-version", claim);
        }
        let reply = call.send().await;
        let answers = items(&reply);
        assert_eq!(reply.header("content-type"), "application/json");
        let ids: Vec<&Value> = answers.iter().map(|answer| &answer["id"]).collect();
        assert_eq!(ids, [&json!(1), &json!("w"), &json!(3)]);
        assert_eq!(answers[0]["result"]["content"][0]["text"], "done");
        assert_eq!(answers[1]["error"]["code"], -31403);
        assert_eq!(answers[2]["result"]["tools"].as_array().unwrap().len(), 2, "{reply:?}");
        let sent = forwarded(&world).split_off(before);
        assert_eq!(sent, [messages[0].clone(), messages[2].clone(), messages[3].clone()], "each alone, as it was sent");
    }
}

#[tokio::test]
async fn item_71_each_message_has_a_record_of_its_own() {
    let world = World::start().await;
    batch(&world, json!([tool(1, "read_file"), tool(2, "wipe"), {"id": 3}])).send().await.is(200);
    let lines = world.gateway.audited(4, |_| true).await;
    let told: Vec<[&str; 3]> = lines.iter().map(|line| ["operation", "outcome", "reason"].map(|key| line[key].as_str().unwrap())).collect();
    assert_eq!(told[0], ["tools/call", "permitted", "permitted"]);
    assert_eq!(told[1], ["tools/call", "refused", "denied_by_rule"]);
    assert_eq!(told[2], ["none", "refused", "not_a_request"]);
    assert_eq!(told[3], ["batch", "answered", "gathered"]);
    assert!(lines.iter().all(|line| line["subject"] == "user-a" && line["era"] == "legacy"), "{lines:?}");
    assert_eq!(lines.iter().map(|line| line["id"].as_str().unwrap()).collect::<std::collections::BTreeSet<_>>().len(), 4);
}

#[tokio::test]
async fn items_55_and_72_an_array_of_any_other_revision_is_refused() {
    let world = World::start().await;
    for version in ["2025-06-18", "2025-11-25", "2026-07-28"] {
        let call = batch(&world, json!([tool(1, "read_file")])).header("mcp-protocol-version", version);
        call.send().await.refuses(400, -32600);
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_73_initialize_may_not_be_in_a_batch() {
    let world = World::start().await;
    let first =
        request(1, "initialize", json!({"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}));
    for messages in [json!([first]), json!([tool(2, "read_file"), first])] {
        batch(&world, messages).send().await.refuses(400, -32600);
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn a_batch_is_bounded_and_not_empty() {
    let world = World::with(|config| config["limits"] = json!({"batch": 3})).await;
    batch(&world, json!([])).send().await.refuses(400, -32600);
    let ping = || request(1, "ping", json!({}));
    batch(&world, json!([ping(), ping(), ping(), ping()])).send().await.refuses(400, -32600);
    world.files.saw_nothing();
    assert_eq!(items(&batch(&world, json!([ping(), ping(), ping()])).send().await).len(), 3);
}

#[tokio::test]
async fn a_batch_of_notifications_is_accepted_without_a_body() {
    let world = World::start().await;
    let reply =
        batch(&world, json!([notification("notifications/initialized"), notification("notifications/cancelled"), notification("no/such")]))
            .send()
            .await;
    assert_eq!(reply.is(202).body.len(), 0);
    assert_eq!(forwarded(&world), [notification("notifications/initialized")]);
}

#[tokio::test]
async fn item_s20_each_message_must_have_one_reading() {
    let world = World::start().await;
    let bad = [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_file","name":"wipe"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"Method":"x","method":"tools/call","params":{"name":"read_file"}}"#,
        r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"read_file"}}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"read_file"}}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_file"}}]"#,
        "1",
    ];
    let reply = batch(&world, json!([])).body(format!("[{}]", bad.join(","))).send().await;
    let answers = items(&reply);
    assert_eq!(answers.len(), bad.len(), "{reply:?}");
    assert!(answers.iter().all(|answer| answer["error"]["code"] == -32600), "{reply:?}");
    for whole in ["[", "[1,]", "[1] x", "\u{feff}[1]"] {
        batch(&world, json!([])).body(whole).send().await.refuses(400, -32700);
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_37_rates_count_each_message() {
    let world = World::with(|config| config["upstreams"]["files"]["limits"] = json!({"per_subject": "3/h"})).await;
    let answers =
        items(&batch(&world, json!([tool(1, "read_file"), tool(2, "read_file"), tool(3, "read_file"), tool(4, "read_file")])).send().await);
    let codes: Vec<Option<i64>> = answers.iter().map(|answer| answer["error"]["code"].as_i64()).collect();
    assert_eq!(codes, [None, None, None, Some(-31429)]);
    assert_eq!(answers[3]["id"], 4);
    assert_eq!(world.files.count(), 3);
    batch(&world, json!([tool(1, "read_file")])).send().await.is(429);
}

#[tokio::test]
async fn an_answer_that_is_not_one_message_takes_no_other_place() {
    let world = World::start().await;
    let list = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "wipe"}]}});
    let bodies = [
        format!("{list},{list}"),
        format!("[{list}]"),
        String::new(),
        "{}".into(),
        json!({"jsonrpc": "2.0", "id": 7, "method": "sampling/createMessage"}).to_string(),
        r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#.into(),
    ];
    for body in bodies {
        world.files.once(Answer::text(200, "application/json", body.clone()));
        let answers = items(&batch(&world, json!([tool(1, "read_file"), tool(2, "read_file")])).send().await);
        assert_eq!(answers.len(), 2, "{body}");
        assert_eq!((&answers[0]["id"], &answers[0]["error"]["code"]), (&json!(1), &json!(-31502)), "{body}");
        assert!(answers[1]["result"].is_object());
    }
    world.files.script(|_| Some(Answer::text(200, "text/html", "<p>")));
    let answers = items(&batch(&world, json!([tool(1, "read_file")])).send().await);
    assert_eq!(answers[0]["error"]["code"], -31502);
}

#[tokio::test]
async fn item_80_the_answer_on_a_stream_is_gathered_and_its_list_cut() {
    let world = World::start().await;
    let list = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "wipe"}, {"name": "read_file"}]}});
    let other = json!({"jsonrpc": "2.0", "id": 9, "result": {"tools": [{"name": "wipe"}]}});
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}});
    let asked = json!({"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage", "params": {}});
    let event = |data: &Value| format!("id: 4\ndata: {data}\n\n");
    let streams = [
        [&progress, &asked, &other, &list].map(event).concat(),
        event(&json!([progress, other, list])),
        format!("id: 0\ndata: \n\n: hello\n\n{}", event(&list)),
    ];
    for stream in streams {
        world.files.once(Answer::events(stream.clone()));
        let reply = batch(&world, json!([request(1, "tools/list", json!({})), tool(2, "read_file")])).send().await;
        let answers = items(&reply);
        assert_eq!(answers.len(), 2, "{stream}");
        assert_eq!(answers[0], json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "read_file"}]}}), "{stream}");
    }
    for stream in [event(&other), event(&json!([[list]])), "data: {\n\n".into(), String::new()] {
        world.files.once(Answer::events(stream.clone()));
        let answers = items(&batch(&world, json!([request(1, "tools/list", json!({}))])).send().await);
        assert_eq!(answers[0]["error"]["code"], -31502, "{stream}");
    }
}

#[tokio::test]
async fn a_batch_within_a_session_is_its_owners_and_ends_with_it() {
    let world = World::start().await;
    world.files.script(|seen| match seen.json().get("method").is_some_and(|method| method == "initialize") {
        true => Some(plain(seen).with("mcp-session-id", "s")),
        false => None,
    });
    let start = json!({"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}});
    let session = world.legacy("initialize", start).token(&world.ta()).send().await.is(200).header("mcp-session-id");
    let within = |token: &str| {
        let call = world.legacy("initialize", json!({})).token(token).header("mcp-session-id", &session);
        call.body(json!([notification("notifications/cancelled"), tool(1, "read_file")]).to_string())
    };
    assert_eq!(items(&within(&world.ta()).send().await).len(), 1);
    let seen = world.files.seen();
    assert!(seen[1..].iter().all(|seen| seen.header("mcp-session-id") == "s" && seen.method == Method::POST), "{seen:?}");
    assert_eq!(seen.len(), 3);
    within(&world.tb()).send().await.is(404);
    assert_eq!(world.files.count(), 3, "nothing of another's batch went on");
    // A session that has ended is told as such.
    world.files.script(|_| Some(Answer::text(404, "text/plain", "")));
    within(&world.ta()).send().await.is(404);
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_goes_no_further_in_a_batch_either() {
    let world = World::start().await;
    let answer = json!({"jsonrpc": "2.0", "id": 41, "result": {}});
    batch(&world, json!([answer])).send().await.is(202);
    world.files.saw_nothing();
    world.gateway.audited(1, |line| line["reason"] == "unexpected_response").await;
}

#[tokio::test]
async fn a_batch_goes_no_further_once_its_caller_is_revoked() {
    let mut setup = Setup::new().await;
    let file = setup.folder.path().join("doorward.db");
    setup.config["store"] = json!(format!("sqlite:{}", file.display()));
    let world = setup.start().await;
    let (answer, feed) = Answer::held("application/json");
    world.files.once(answer);
    let call = batch(&world, json!([tool(1, "read_file"), tool(2, "read_file")]));
    let sent = tokio::spawn(async move { call.send().await });
    world.files.arrived(1).await;
    let config = world.gateway.config_file.display().to_string();
    let what =
        ["revoke", "--wait", "--config", &config, "--subject", "user-a", "--issuer", &world.issuer.url, "--reason", "lost", "--by", "mia"];
    assert!(run(&what).await.status.success());
    feed.send(Ok(json!({"jsonrpc": "2.0", "id": 1, "result": {}}).to_string().into())).await.unwrap();
    drop(feed);
    let reply = soon("the answer", sent).await.unwrap();
    assert_eq!(reply.is(401).challenge_parameter("error").as_deref(), Some("invalid_token"));
    assert_eq!(world.files.count(), 1, "the second call was never made");
    world.gateway.audited(1, |line| line["operation"] == "batch" && line["reason"] == "revoked").await;
}
