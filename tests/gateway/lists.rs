//! The way back: what a caller may not use is not shown, however the upstream says it (group F).

use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::client::Call;
use crate::support::upstream::{Seen, gzip, plain};
use crate::support::{Answer, Reply, World, soon};

/// Names that user A must never read.
const HIDDEN: &[&str] = &["wipe", "write_file", "unlisted", "merge", "secret_prompt", "priv/"];

fn tools(world: &World) -> Call {
    world.modern("tools/list", json!({})).token(&world.ta())
}

#[track_caller]
fn hides(reply: &Reply) {
    let text = reply.text().replace("\"private\"", "");
    for name in HIDDEN {
        assert!(!text.contains(name), "{name} is shown: {reply:?}");
    }
}

/// Not a list at all: an error of HTTP, or of JSON-RPC, that shows nothing.
#[track_caller]
fn fails_closed(what: &str, reply: &Reply) {
    hides(reply);
    let told = reply.status >= 500 || reply.json()["error"].is_object();
    assert!(told, "{what}: {reply:?}");
}

fn page(items: Value) -> impl Fn(&Seen) -> Answer {
    move |seen| {
        Answer::result(seen, json!({"resultType": "complete", "tools": items, "ttlMs": 1, "cacheScope": "public", "nextCursor": "c2"}))
    }
}

#[tokio::test]
async fn item_79_a_list_holds_what_may_be_called_in_its_order() {
    let world = World::start().await;
    assert_eq!(tools(&world).send().await.is(200).names("tools", "name"), ["read_file", "read_path"]);
    let writer = world.modern("tools/list", json!({})).token(&world.tw()).send().await;
    assert_eq!(writer.names("tools", "name"), ["write_file", "read_file", "read_path"]);
    let legacy = world.legacy("tools/list", json!({})).token(&world.ta()).send().await;
    assert_eq!(legacy.names("tools", "name"), ["read_file", "read_path"]);
}

#[tokio::test]
async fn item_79_what_is_listed_may_be_called_and_what_is_not_may_not() {
    let world = World::start().await;
    let listed = tools(&world).send().await.names("tools", "name");
    for tool in crate::support::upstream::TOOLS {
        let call = world.modern("tools/call", json!({"name": tool, "arguments": {"path": "/pub/a"}}));
        let status = call.token(&world.ta()).send().await.status;
        assert_eq!(status == 200, listed.iter().any(|name| name == tool), "{tool}: {status}");
    }
}

#[tokio::test]
async fn item_79_a_page_that_becomes_empty_keeps_its_cursor() {
    let world = World::start().await;
    let empty = page(json!([{"name": "wipe"}]));
    world.files.script(move |seen| Some(empty(seen)));
    let reply = tools(&world).send().await;
    assert_eq!(reply.is(200).json()["result"]["tools"], json!([]));
    let next = reply.json()["result"]["nextCursor"].clone();
    tools(&world).edit(|message| message["params"]["cursor"] = next).send().await.is(200);
    assert_eq!(world.files.last().json()["params"]["cursor"], json!("c2"));
}

#[tokio::test]
async fn what_stays_in_a_list_stays_as_it_was() {
    let world = World::start().await;
    let tool = json!({"name": "read_file", "title": "\u{4e16}\u{754c} \"q\"", "inputSchema": {"type": "object", "required": []}, "x": 1.50, "big": 12345678901234567890_u64});
    let item = tool.clone();
    world.files.script(move |seen| Some(page(json!([item, {"name": "wipe"}]))(seen)));
    assert_eq!(tools(&world).send().await.json()["result"]["tools"], json!([tool]));
}

#[tokio::test]
async fn item_80_a_list_in_an_event_stream_is_cut_and_the_rest_passes() {
    let world = World::start().await;
    world.files.script(|seen| {
        let list = json!({"jsonrpc": "2.0", "id": seen.json()["id"], "result": {"tools": [{"name": "wipe"}, {"name": "read_file"}]}});
        let notice = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}"#;
        Some(Answer::events(format!(": hello\n\nid: 1\ndata: {notice}\n\nid: 2\nevent: message\ndata: {list}\n\n")))
    });
    for call in [tools(&world), world.legacy("tools/list", json!({})).token(&world.ta())] {
        let reply = call.send().await;
        hides(reply.is(200));
        let text = reply.text();
        assert!(text.contains(": hello") && text.contains("notifications/message"), "{text}");
        // Older clients resume by it, so it is sealed to them.
        assert!(text.lines().any(|line| line == "id: 2" || line.starts_with("id: ") && line.ends_with(".2")), "{text}");
        assert!(text.contains("read_file"), "{text}");
    }
}

#[tokio::test]
async fn item_81_a_cut_list_is_private() {
    let world = World::start().await;
    assert_eq!(tools(&world).send().await.json()["result"]["cacheScope"], json!("private"));
    // On every page, whether something was cut from it or not.
    let whole = page(json!([{"name": "read_file"}]));
    world.files.script(move |seen| Some(whole(seen)));
    assert_eq!(tools(&world).send().await.json()["result"]["cacheScope"], json!("private"));
}

#[tokio::test]
async fn item_81_what_a_browser_or_proxy_would_remember_is_taken_off() {
    let world = World::start().await;
    world.files.script(|seen| Some(plain(seen).with("etag", "\"x\"").with("cache-control", "public, max-age=600")));
    let reply = tools(&world).send().await;
    assert_eq!(reply.header("etag"), "");
    assert!(!reply.header("cache-control").contains("public"), "{reply:?}");
}

#[tokio::test]
async fn item_82_one_callers_list_is_never_anothers() {
    let world = World::start().await;
    let nobody = world.token(|token| token.claims["scope"] = json!("none"));
    for _ in 0..3 {
        assert_eq!(tools(&world).send().await.names("tools", "name"), ["read_file", "read_path"]);
        let writer = world.modern("tools/list", json!({})).token(&world.tw()).send().await;
        assert_eq!(writer.names("tools", "name").len(), 3);
        let empty = world.modern("tools/list", json!({})).token(&nobody).send().await;
        assert_eq!(empty.names("tools", "name"), Vec::<String>::new());
    }
}

#[tokio::test]
async fn item_82_a_changed_list_is_seen_at_once_and_ids_are_each_their_own() {
    let world = World::start().await;
    for (id, tool) in [(json!(1), "read_file"), (json!("x"), "read_path"), (json!(1), "read_path"), (json!(2), "read_file")] {
        world.files.script(move |seen| Some(page(json!([{"name": tool}, {"name": "wipe"}]))(seen)));
        let reply = tools(&world).edit(|message| message["id"] = id.clone()).send().await;
        assert_eq!((reply.json()["id"].clone(), reply.names("tools", "name")), (id, vec![tool.to_owned()]));
    }
}

#[tokio::test]
async fn item_82_what_a_caller_may_read_is_never_public_in_a_cache() {
    let world = World::start().await;
    let answer = |seen: &Seen, scope: &str| {
        let contents = json!([{"uri": "file:///pub/a", "text": "asked"}, {"uri": "file:///priv/b", "text": "priv/"}]);
        Answer::result(seen, json!({"resultType": "complete", "contents": contents, "ttlMs": 60_000, "cacheScope": scope}))
    };
    let read = || world.modern("resources/read", json!({"uri": "file:///pub/a"})).token(&world.ta()).send();
    for scope in ["public", "private"] {
        world.files.script(move |seen| Some(answer(seen, scope)));
        let whole = read().await;
        world.files.script(move |seen| {
            let Answer::Reply { body, .. } = answer(seen, scope) else { return None };
            Some(Answer::events(format!("data: {}\n\n", String::from_utf8_lossy(&body))))
        });
        for reply in [whole, read().await] {
            assert!(reply.is(200).text().contains("asked"), "{reply:?}");
            assert!(reply.text().contains(r#""cacheScope":"private""#) && !reply.text().contains("public"), "{scope}: {reply:?}");
            hides(&reply);
        }
    }
}

#[tokio::test]
async fn item_83_resources_templates_and_prompts_are_cut_likewise() {
    let world = World::start().await;
    for (method, list, key, left) in [
        ("resources/list", "resources", "uri", "file:///pub/a"),
        ("resources/templates/list", "resourceTemplates", "uriTemplate", "file:///pub/{name}"),
        ("prompts/list", "prompts", "name", "greet"),
    ] {
        let reply = world.modern(method, json!({})).token(&world.ta()).send().await;
        assert_eq!(reply.is(200).names(list, key), [left], "{method}");
        hides(&reply);
    }
}

#[tokio::test]
async fn item_84_a_resource_is_read_under_its_one_name_only() {
    let world = World::start().await;
    let read = |uri: &str| world.modern("resources/read", json!({"uri": uri})).token(&world.ta()).send();
    read("file:///pub/a").await.is(200);
    read("file:///pub/a/b.txt").await.is(200);
    for uri in [
        "file:///priv/b",
        "file:///pub/../priv/b",
        "file:///pub/%2e%2e/priv/b",
        "file:///pub/%2E%2E/priv/b",
        "file:///pub/..%2fpriv/b",
        "file:///pub/..\\priv/b",
        "FILE:///pub/a",
        "File:///pub/a",
        "file://host/../pub/a",
        "file:///pub/./a",
        "file:///pub/%61",
        "file:///pub",
        "file:/pub/a",
        "/pub/a",
        "pub/a",
        "",
    ] {
        let reply = read(uri).await;
        assert!([400, 403].contains(&reply.status), "{uri}: {reply:?}");
    }
    assert_eq!(world.files.count(), 2);
}

#[tokio::test]
async fn item_85_prompts_and_completions_are_judged_as_their_use() {
    let world = World::start().await;
    let ask = |method: &str, params: Value| world.modern(method, params).token(&world.ta()).send();
    let argument = json!({"name": "x", "value": "a"});
    ask("prompts/get", json!({"name": "greet"})).await.is(200);
    ask("completion/complete", json!({"ref": {"type": "ref/prompt", "name": "greet"}, "argument": argument})).await.is(200);
    ask("completion/complete", json!({"ref": {"type": "ref/resource", "uri": "file:///pub/{name}"}, "argument": argument})).await.is(200);
    assert_eq!(world.files.count(), 3);
    ask("prompts/get", json!({"name": "secret_prompt"})).await.is(403);
    for reference in [
        json!({"type": "ref/prompt", "name": "secret_prompt"}),
        json!({"type": "ref/resource", "uri": "file:///priv/{name}"}),
        json!({"type": "ref/resource", "uri": "file:///priv/b"}),
    ] {
        let reply = ask("completion/complete", json!({"ref": reference, "argument": argument})).await;
        assert_eq!(reply.status, 403, "{reference}: {reply:?}");
    }
    for reference in [json!({"type": "ref/other", "name": "greet"}), json!({}), json!("greet"), json!({"type": "ref/prompt"})] {
        let reply = ask("completion/complete", json!({"ref": reference, "argument": argument})).await;
        assert!([400, 403].contains(&reply.status), "{reference}: {reply:?}");
    }
    assert_eq!(world.files.count(), 3);
}

#[tokio::test]
async fn item_97_no_way_of_cutting_a_stream_shows_more() {
    let world = World::start().await;
    let list = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "wipe", "title": "\u{4e16}"}, {"name": "read_file", "title": "\u{754c}"}]}}).to_string();
    let (first, second) = list.split_at(list.find(",\"result\"").unwrap());
    let streams = [
        ("LF", format!("data: {list}\n\n")),
        ("CRLF", format!("data: {list}\r\n\r\n")),
        ("CR", format!("data: {list}\r\r")),
        ("no space", format!("data:{list}\n\n")),
        ("two lines", format!("data: {first}\ndata: {second}\n\n")),
        ("BOM", format!("\u{feff}data: {list}\n\n")),
        ("priming", format!("id: 0\ndata: \n\nretry: 10\ndata: {list}\n\n")),
        ("another event type", format!("event: message\ndata: {list}\n\n")),
    ];
    for (what, stream) in streams {
        for size in [1, 7, 4096] {
            let (answer, feed) = Answer::stream();
            world.files.once(answer);
            let reading = tokio::spawn(tools(&world).send());
            for chunk in stream.as_bytes().chunks(size) {
                feed.send(Ok(Bytes::copy_from_slice(chunk))).await.unwrap();
            }
            drop(feed);
            let reply = soon(what, reading).await.unwrap();
            hides(reply.is(200));
            assert!(reply.text().contains("read_file") && reply.text().contains('\u{754c}'), "{what} by {size}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn item_97_half_an_event_at_the_end_is_not_shown() {
    let world = World::start().await;
    world.files.once(Answer::events(r#"data: {"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"wipe"}]}}"#));
    let reply = tools(&world).try_send().await;
    if let Ok(reply) = reply {
        hides(&reply);
    }
}

#[tokio::test]
async fn item_97_an_event_that_cannot_be_read_is_not_shown() {
    let world = World::start().await;
    for event in [
        r#"data: {"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"wipe"}]}"#,
        r#"data: {"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"wipe"}]}}"#,
        r#"data: {"jsonrpc":"2.0","id":1,"result":{"tools":[],"tools":[{"name":"wipe"}]}}"#,
        r#"data: [{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"wipe"}]}}]"#,
        "data: wipe",
        "event: other\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"tools\":[{\"name\":\"wipe\"}]}}",
    ] {
        world.files.once(Answer::events(format!("{event}\n\n")));
        // A cut connection is as good as silence.
        if let Ok(reply) = tools(&world).try_send().await {
            hides(&reply);
        }
    }
}

#[tokio::test]
async fn item_s24_methods_that_nobody_knows_are_refused() {
    let world = World::start().await;
    for method in ["ui/open", "vendor/x", "tasks/begin", "elicitation/create", "roots/list"] {
        let modern = world.modern(method, json!({"taskId": "x"})).token(&world.ta()).send().await;
        modern.refuses(404, -32601);
        // Legacy clients hear of it in JSON-RPC alone.
        let legacy = world.legacy(method, json!({"taskId": "x"})).token(&world.ta()).send().await;
        legacy.refuses(200, -32601);
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_s26_a_compressed_list_is_never_passed_unread() {
    let world = World::start().await;
    world.files.script(|seen| {
        let list = json!({"jsonrpc": "2.0", "id": seen.json()["id"], "result": {"tools": [{"name": "wipe"}, {"name": "read_file"}]}});
        let body = gzip(list.to_string().as_bytes());
        Some(Answer::text(200, "application/json", body).with("content-encoding", "gzip"))
    });
    let reply = tools(&world).header("accept-encoding", "gzip, br").send().await;
    hides(&reply);
    match reply.status {
        200 => assert!(reply.text().contains("read_file") && reply.header("content-encoding").is_empty(), "{reply:?}"),
        status => assert_eq!(status, 502, "{reply:?}"),
    }
    let asked = world.files.only().header("accept-encoding");
    assert!(["", "identity"].contains(&asked.as_str()), "{asked}");
}

#[tokio::test]
async fn item_s26_codings_that_cannot_be_undone_are_refused() {
    let world = World::start().await;
    for coding in ["zstd", "deflate", "br", "gzip, br", "x-unknown", "gzip, gzip"] {
        let list = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "wipe"}]}}).to_string();
        world.files.once(Answer::text(200, "application/json", list).with("content-encoding", coding));
        if let Ok(reply) = tools(&world).try_send().await {
            fails_closed(coding, &reply);
        }
    }
}

#[tokio::test]
async fn item_s26_another_charset_is_refused() {
    let world = World::start().await;
    for charset in ["utf-16le", "iso-2022-jp", "\"utf-7\""] {
        let list = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "read_file"}]}}).to_string();
        world.files.once(Answer::text(200, &format!("application/json; charset={charset}"), list));
        assert_eq!(tools(&world).send().await.status, 502, "{charset}");
    }
}

#[tokio::test]
async fn item_s27_a_list_that_cannot_be_read_is_not_passed() {
    let world = World::start().await;
    let wrapped = |result: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
    for body in [
        "wipe".to_owned(),
        String::new(),
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"wipe"}]}"#.into(),
        wrapped(r#"{"tools":{"name":"wipe"}}"#),
        wrapped(r#"{"tools":[],"tools":[{"name":"wipe"}]}"#),
        wrapped(r#"{"tools":[],"Tools":[{"name":"wipe"}]}"#),
        wrapped(r#"{"tools":[],"tool\u017f":[{"name":"wipe"}]}"#),
        wrapped(r#"{"tools":[{"name":"read_file","name":"wipe"}]}"#),
        wrapped(r#"[{"name":"wipe"}]"#),
        format!("[{}]", wrapped(r#"{"tools":[{"name":"wipe"}]}"#)),
        format!("{}x wipe", wrapped(r#"{"tools":[]}"#)),
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]},"result":{"tools":[{"name":"wipe"}]}}"#.into(),
    ] {
        world.files.once(Answer::text(200, "application/json", body.clone()));
        match tools(&world).try_send().await {
            Ok(reply) => fails_closed(&body, &reply),
            Err(error) => assert!(!error.is_timeout(), "{body}: {error}"),
        }
    }
}

#[tokio::test]
async fn item_s27_items_without_a_name_are_not_shown() {
    let world = World::start().await;
    let items = page(
        json!([{"title": "wipe"}, {"name": 7, "title": "wipe"}, {"name": ["read_file"], "title": "wipe"}, {"Name": "read_file", "title": "wipe"}, "wipe", null, {"name": "read_file"}]),
    );
    world.files.script(move |seen| Some(items(seen)));
    if let Ok(reply) = tools(&world).try_send().await {
        hides(&reply);
    }
}

#[tokio::test]
async fn a_list_under_another_media_type_is_not_passed_unread() {
    let world = World::start().await;
    for kind in ["text/plain", "text/html", "application/octet-stream", "application/xml"] {
        let list = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "wipe"}]}}).to_string();
        world.files.once(Answer::text(200, kind, list));
        if let Ok(reply) = tools(&world).try_send().await {
            hides(&reply);
        }
    }
}

#[tokio::test]
async fn a_list_with_an_error_status_is_not_passed_unread() {
    let world = World::start().await;
    for status in [201, 203, 206, 400, 404, 500, 503] {
        let list = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "wipe"}]}}).to_string();
        world.files.once(Answer::text(status, "application/json", list));
        if let Ok(reply) = tools(&world).try_send().await {
            hides(&reply);
        }
    }
}

#[tokio::test]
async fn an_error_of_the_upstream_reaches_the_client_as_it_is() {
    let world = World::start().await;
    let error = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "bad cursor"}});
    world.files.once(Answer::json(error.clone()));
    assert_eq!(tools(&world).send().await.is(200).json(), error);
}

#[tokio::test]
async fn a_long_list_is_cut_whole() {
    let world = World::start().await;
    world.files.script(|seen| {
        let filler = "x".repeat(600);
        let tools: Vec<Value> =
            (0..300).map(|at| json!({"name": if at % 10 == 0 { "read_file" } else { "wipe" }, "description": filler})).collect();
        Some(Answer::result(seen, json!({"tools": tools})))
    });
    let reply = tools(&world).send().await;
    assert_eq!(reply.is(200).names("tools", "name"), vec!["read_file"; 30]);
}

#[tokio::test]
async fn a_call_is_answered_as_the_upstream_said_it() {
    let world = World::start().await;
    let answer = r#"{"jsonrpc":"2.0", "id":1,"result":{"content":[ {"type":"text","text":"\u4e16"} ],"x":1.50}}"#;
    world.files.once(Answer::text(200, "application/json", answer));
    let reply = world.tool("read_file").token(&world.ta()).send().await;
    assert_eq!(reply.is(200).text(), answer);
}
