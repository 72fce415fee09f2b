//! What do they ask? Messages of 2026-07-28, and what bends them (acceptance group D).

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::support::client::{Call, MODERN};
use crate::support::{Answer, World, soon};

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";

fn call(world: &World) -> Call {
    world.tool("read_file").token(&world.ta())
}

/// Sends a bent call: refused with this status and code, the id echoed, nothing forwarded.
async fn refused(world: &World, what: &str, call: Call, status: u16, code: i64) {
    let before = world.files.count();
    let reply = call.send().await;
    assert_eq!((reply.status, reply.json()["error"]["code"].as_i64()), (status, Some(code)), "{what}: {reply:?}");
    // What the head alone gives away is refused before there is an id to echo.
    let of_the_head = ["two names", "header twice"].contains(&what) || !what.is_ascii();
    assert!(reply.json()["id"] == 1 || of_the_head, "{what}: {reply:?}");
    assert_eq!(reply.json()["jsonrpc"], json!("2.0"), "{what}");
    assert_eq!(world.files.count(), before, "{what}");
}

#[tokio::test]
async fn item_39_a_header_that_names_another_tool_is_a_mismatch() {
    let world = World::start().await;
    let split = world.tool("wipe").replace("mcp-name", "read_file").token(&world.ta());
    refused(&world, "header read_file, body wipe", split, 400, -32020).await;
    refused(&world, "header wipe, body read_file", call(&world).replace("mcp-name", "wipe"), 400, -32020).await;
    refused(&world, "two names", call(&world).header("mcp-name", "wipe"), 400, -32020).await;
    refused(&world, "another method", call(&world).replace("mcp-method", "tools/list"), 400, -32020).await;
}

#[tokio::test]
async fn item_40_standard_headers_are_required() {
    let world = World::start().await;
    refused(&world, "no Mcp-Method", call(&world).without("mcp-method"), 400, -32020).await;
    for (method, params) in [
        ("tools/call", json!({"name": "read_file"})),
        ("resources/read", json!({"uri": "file:///pub/a"})),
        ("prompts/get", json!({"name": "greet"})),
    ] {
        let nameless = world.modern(method, params).without("mcp-name").token(&world.ta());
        refused(&world, method, nameless, 400, -32020).await;
    }
    world.modern("tools/list", json!({})).token(&world.ta()).send().await.is(200);
}

#[tokio::test]
async fn item_41_header_and_body_must_speak_the_same_version() {
    let world = World::start().await;
    let older = call(&world).edit(|message| message["params"]["_meta"][VERSION] = json!("2025-11-25"));
    refused(&world, "body older", older, 400, -32020).await;
    refused(&world, "header older", call(&world).replace("mcp-protocol-version", "2025-11-25"), 400, -32020).await;
    refused(&world, "header absent", call(&world).without("mcp-protocol-version"), 400, -32020).await;
    refused(&world, "header twice", call(&world).header("mcp-protocol-version", MODERN), 400, -32020).await;
}

#[tokio::test]
async fn item_42_meta_is_required_with_capabilities() {
    let world = World::start().await;
    let without = |member: &'static str| {
        call(&world).edit(move |message| {
            message["params"]["_meta"].as_object_mut().unwrap().remove(member);
        })
    };
    let bare = call(&world).edit(|message| {
        message["params"].as_object_mut().unwrap().remove("_meta");
    });
    refused(&world, "no _meta", bare, 400, -32602).await;
    refused(&world, "no capabilities", without("io.modelcontextprotocol/clientCapabilities"), 400, -32602).await;
    let listed = call(&world).edit(|message| message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!([]));
    refused(&world, "capabilities no object", listed, 400, -32602).await;
}

#[tokio::test]
async fn item_43_client_info_may_be_absent() {
    let world = World::start().await;
    let shy = call(&world).edit(|message| {
        message["params"]["_meta"].as_object_mut().unwrap().remove("io.modelcontextprotocol/clientInfo");
    });
    shy.send().await.is(200);
}

#[tokio::test]
async fn item_44_an_unknown_version_is_told_which_are_known() {
    let world = World::start().await;
    let future = call(&world)
        .replace("mcp-protocol-version", "2099-01-01")
        .edit(|message| message["params"]["_meta"][VERSION] = json!("2099-01-01"));
    let reply = future.send().await;
    reply.refuses(400, -32022);
    let data = &reply.json()["error"]["data"];
    assert_eq!(data["requested"], json!("2099-01-01"));
    assert!(data["supported"].as_array().unwrap().contains(&json!(MODERN)), "{data}");
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_45_names_behind_the_base64_sentinel_are_decoded_strictly() {
    let name = "Hello, \u{4e16}\u{754c}";
    let world = World::with(|config| {
        let rule = json!({"tools": [name, "=?BASE64?QQ==?="], "scopes": ["files:read"]});
        config["upstreams"]["files"]["rules"].as_array_mut().unwrap().insert(0, rule);
    })
    .await;
    let named = |header: &str| world.tool(name).replace("mcp-name", header).token(&world.ta());
    named("=?base64?SGVsbG8sIOS4lueVjA==?=").send().await.is(200);
    for header in [
        "=?base64?SGVsbG8sIOS4lueVjA?=",
        "=?base64?SGVsbG8sIOS4lueVjA===?=",
        "=?base64?SGVsbG8sIOS4lueVjA=\u{a0}?=",
        "=?base64?SGVsbG8s-_S4lueVjA==?=",
        "=?base64?//79?=",
        "=?base64??=",
        "=?BASE64?SGVsbG8sIOS4lueVjA==?=",
        "=?base64?SGVsbG8sIOS4lueVjA==",
        "Hello, ??",
    ] {
        refused(&world, header, named(header), 400, -32020).await;
    }
    // In other letters it is no sentinel but a name like any other.
    let literal = world.modern("tools/call", json!({"name": "=?BASE64?QQ==?="})).replace("mcp-name", "=?BASE64?QQ==?=");
    literal.token(&world.ta()).send().await.is(200);
}

#[tokio::test]
async fn item_46_white_space_around_header_values_is_nothing_and_case_is_something() {
    let world = World::start().await;
    call(&world).replace("mcp-name", " \tread_file \t").replace("mcp-method", "  tools/call ").send().await.is(200);
    for method in ["TOOLS/CALL", "Tools/call", "tools/call/", "tools /call"] {
        refused(&world, method, call(&world).replace("mcp-method", method), 400, -32020).await;
    }
    refused(&world, "READ_FILE", call(&world).replace("mcp-name", "READ_FILE"), 400, -32020).await;
}

#[tokio::test]
async fn item_47_unknown_parameter_headers_travel_on() {
    let world = World::start().await;
    call(&world).header("mcp-param-foo", "bar baz").send().await.is(200);
    let seen = world.files.only();
    assert_eq!(seen.header("mcp-param-foo"), "bar baz");
    assert_eq!((seen.header("mcp-method"), seen.header("mcp-name")), ("tools/call".into(), "read_file".into()));
    assert_eq!(seen.header("mcp-protocol-version"), MODERN);
}

#[tokio::test]
async fn item_49_an_unknown_method_is_404() {
    let world = World::start().await;
    for method in
        ["foo/bar", "tools/Call", "Tools/call", "tools/call ", "rpc.discover", "tasks/list", "tasks/result", "sampling/createMessage"]
    {
        refused(&world, method, world.modern(method, json!({})).token(&world.ta()), 404, -32601).await;
    }
}

#[tokio::test]
async fn item_50_methods_of_the_legacy_era_are_unknown() {
    let world = World::start().await;
    for (method, params) in [
        ("initialize", json!({"protocolVersion": MODERN, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}})),
        ("ping", json!({})),
        ("logging/setLevel", json!({"level": "debug"})),
        ("resources/subscribe", json!({"uri": "file:///pub/a"})),
        ("resources/unsubscribe", json!({"uri": "file:///pub/a"})),
    ] {
        refused(&world, method, world.modern(method, params).token(&world.ta()), 404, -32601).await;
    }
}

#[tokio::test]
async fn item_51_every_400_and_404_tells_a_modern_client_so_in_json_rpc() {
    let world = World::start().await;
    let bodies = ["", "{", "[]", "1", "null", "{}", r#"{"jsonrpc":"1.0","id":1,"method":"tools/list"}"#, "\u{feff}{}"];
    for body in bodies {
        let reply = call(&world).body(body.to_owned()).send().await;
        assert_eq!(reply.status, 400, "{body:?}: {reply:?}");
        assert!(reply.header("content-type").starts_with("application/json"), "{body:?}");
        assert!(reply.json()["error"]["code"].is_i64(), "{body:?}: {reply:?}");
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_52_get_and_delete_are_405_with_allow() {
    let world = World::start().await;
    for method in [Method::GET, Method::DELETE] {
        let reply = call(&world).method(method.clone()).body("").send().await;
        let allow = reply.is(405).header("allow");
        assert!(allow.starts_with("POST") && !allow.contains(method.as_str()), "{method}: {allow}");
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_53_session_headers_are_neither_forwarded_nor_echoed() {
    let world = World::start().await;
    world.files.script(|seen| Some(crate::support::upstream::plain(seen).with("mcp-session-id", "minted")));
    let reply = call(&world).header("mcp-session-id", "abc").header("last-event-id", "7").send().await;
    assert_eq!(reply.is(200).header("mcp-session-id"), "");
    let seen = world.files.only();
    assert_eq!((seen.header("mcp-session-id"), seen.header("last-event-id")), (String::new(), String::new()));
}

#[tokio::test]
async fn item_54_an_origin_must_be_allowed() {
    let world = World::with(|config| config["upstreams"]["files"]["origins"] = json!(["https://app.example"])).await;
    call(&world).send().await.is(200);
    call(&world).header("origin", "https://app.example").send().await.is(200);
    let before = world.files.count();
    for origin in [
        "https://evil.example",
        "null",
        "https://app.example.evil.example",
        "https://app.example:8443",
        "http://app.example",
        "https://APP.example/",
        "",
    ] {
        let reply = call(&world).header("origin", origin).send().await;
        assert_eq!(reply.status, 403, "{origin:?}: {reply:?}");
        assert_eq!(reply.header("access-control-allow-origin"), "", "{origin:?}");
    }
    // Two of them are not one good one.
    call(&world).header("origin", "https://app.example").header("origin", "https://evil.example").send().await.is(403);
    assert_eq!(world.files.count(), before);
}

#[tokio::test]
async fn item_55_a_batch_is_refused() {
    let world = World::start().await;
    let one = String::from_utf8(call(&world).bytes().to_vec()).unwrap();
    for body in [format!("[{one}]"), format!("[{one},{one}]"), "[]".into()] {
        let reply = call(&world).body(body).send().await;
        reply.refuses(400, -32600);
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_56_a_response_from_a_client_is_refused() {
    let world = World::start().await;
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}"#,
        r#"{"jsonrpc":"2.0","id":"a","result":{"content":[]}}"#,
    ] {
        let modern = call(&world).body(body).send().await;
        assert_eq!(modern.status, 400, "{body}: {modern:?}");
        let legacy = world.legacy("x", json!({})).body(body).token(&world.ta()).send().await;
        assert_eq!(legacy.status, 400, "{body}: {legacy:?}");
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_57_a_client_that_leaves_ends_the_call_upstream() {
    let world = World::start().await;
    let (answer, feed) = Answer::stream();
    world.files.once(answer);
    let mut response = call(&world).open().await;
    feed.send(Ok(Bytes::from_static(b": hello\n\n"))).await.unwrap();
    assert_eq!(soon("the first bytes", response.chunk()).await.unwrap().unwrap(), ": hello\n\n");
    drop(response);
    soon("the end of the upstream's call", feed.closed()).await;
}

#[tokio::test]
async fn item_57_a_client_that_leaves_before_the_answer_ends_the_call_upstream() {
    let world = World::start().await;
    let (silence, given_up) = Answer::never();
    world.files.once(silence);
    let waiting = tokio::spawn(call(&world).open());
    world.files.arrived(1).await;
    waiting.abort();
    soon("the end of the upstream's call", given_up).await.unwrap_err();
}

#[tokio::test]
async fn item_58_events_and_comments_pass_one_by_one() {
    let world = World::start().await;
    let (answer, feed) = Answer::stream();
    world.files.once(answer);
    let mut response = call(&world).open().await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let progress = r#"data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}"#;
    let done = r#"data: {"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[]}}"#;
    for event in [": keep-alive\n\n".to_owned(), format!("{progress}\n\n"), format!("event: message\n{done}\n\n")] {
        feed.send(Ok(Bytes::from(event.clone()))).await.unwrap();
        // The next is not sent before this one has arrived.
        let mut arrived = String::new();
        while arrived.len() < event.len() {
            let chunk = soon("an event", response.chunk()).await.unwrap().unwrap();
            arrived.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        assert_eq!(arrived, event);
    }
    drop(feed);
    assert!(soon("the end", response.chunk()).await.unwrap().is_none());
}

#[tokio::test]
async fn item_59_a_request_of_the_server_is_dropped_from_a_modern_stream() {
    let world = World::start().await;
    let request = r#"data: {"jsonrpc":"2.0","id":9,"method":"sampling/createMessage","params":{}}"#;
    let done = r#"data: {"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[]}}"#;
    world.files.once(Answer::events(format!("{request}\n\n{done}\n\n")));
    let reply = call(&world).send().await;
    assert!(!reply.text().contains("sampling"), "{reply:?}");
    assert!(reply.is(200).text().contains("\"id\":1"), "{reply:?}");
}

#[tokio::test]
async fn item_61_an_id_is_a_string_or_an_integer() {
    let world = World::start().await;
    for id in [json!(7), json!(-7), json!("abc"), json!("\u{4e16}"), json!(9_007_199_254_740_993_u64)] {
        let reply = call(&world).edit(|message| message["id"] = id.clone()).send().await;
        assert_eq!(reply.is(200).json()["id"], id);
        let refusal = world.tool("wipe").token(&world.ta()).edit(|message| message["id"] = id.clone()).send().await;
        assert_eq!(refusal.is(403).json()["id"], id);
    }
    let before = world.files.count();
    for id in ["null", "1.5", "true", "{}", "[]", "[1]"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"read_file"}}}}"#);
        let reply = call(&world).body(body).send().await;
        reply.refuses(400, -32600);
    }
    assert_eq!(world.files.count(), before);
}

#[tokio::test]
async fn a_call_without_an_id_is_still_a_call() {
    let world = World::start().await;
    for tool in ["wipe", "read_file"] {
        let silent = world.tool(tool).token(&world.ta()).edit(|message| {
            message.as_object_mut().unwrap().remove("id");
        });
        let reply = silent.send().await;
        assert!([400, 403].contains(&reply.status), "{tool}: {reply:?}");
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_62_no_code_of_ours_is_in_the_range_of_the_specification() {
    let world = World::start().await;
    let calls = [
        call(&world).without("authorization"),
        world.tool("wipe").token(&world.ta()),
        world.tool("write_file").token(&world.ta()),
        call(&world).body("["),
        call(&world).body("[]"),
        call(&world).without("mcp-method"),
        call(&world).replace("content-type", "text/plain"),
        call(&world).path("/nowhere"),
        call(&world).header("origin", "https://evil.example"),
        call(&world).method(Method::PUT),
        world.modern("resources/read", json!({"uri": "file:///priv/b"})).token(&world.ta()),
        world.modern("no/such", json!({})).token(&world.ta()),
    ];
    for call in calls {
        let reply = call.send().await;
        let code = reply.code();
        let reserved = (-32099..=-32020).contains(&code) && ![-32020, -32021, -32022].contains(&code);
        let legacy = (-32019..=-32000).contains(&code);
        assert!(!reserved && !legacy && code != -32042, "{reply:?}");
    }
}

#[tokio::test]
async fn item_s20_a_message_with_two_readings_is_refused() {
    let world = World::start().await;
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let message = |params: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{params},{meta}}}}}"#);
    call(&world).body(message(r#""name":"read_file""#)).send().await.is(200);
    for params in [
        r#""name":"read_file","name":"wipe""#,
        r#""name":"wipe","name":"read_file""#,
        r#""name":"read_file","n\u0061me":"wipe""#,
        r#""name":"read_file","Name":"wipe""#,
        r#""name":"read_file","NAME":"wipe""#,
        r#""name":"read_file","argument\u017f":{}"#,
        r#""name":"read_file","arguments":{"a":1,"a":2}"#,
        r#""name":"read_file","arguments":{"deep":[{"a":1,"\u0061":2}]}"#,
    ] {
        let reply = call(&world).body(message(params)).send().await;
        assert_eq!(reply.status, 400, "{params}: {reply:?}");
    }
    for body in [
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call","params":{{"name":"wipe",{meta}}}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","Method":"x","params":{{"name":"read_file",{meta}}}}}"#),
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"read_file",{meta}}},"param\u017f":{{"name":"wipe"}}}}"#
        ),
        format!(r#"{{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/call","params":{{"name":"read_file",{meta}}}}}"#),
    ] {
        let reply = call(&world).body(body.clone()).send().await;
        assert_eq!(reply.status, 400, "{body}: {reply:?}");
    }
    assert_eq!(world.files.count(), 1);
}

#[tokio::test]
async fn item_s20_an_escaped_key_is_the_key_it_spells() {
    let world = World::start().await;
    let body =
        String::from_utf8(world.tool("wipe").bytes().to_vec()).unwrap().replace("\"name\":\"wipe\"", "\"n\\u0061me\":\"w\\u0069pe\"");
    assert!(body.contains("\\u0061"));
    world.tool("wipe").token(&world.ta()).body(body).send().await.refuses(403, -31403);
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_s21_bodies_that_are_not_plain_json_are_refused_quickly() {
    let world = World::start().await;
    let good = call(&world).bytes();
    let utf16: Vec<u8> = String::from_utf8(good.to_vec()).unwrap().encode_utf16().flat_map(u16::to_le_bytes).collect();
    let with = |before: &[u8], after: &[u8]| [before, &good[..], after].concat();
    let deep = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"a":{}{}}}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    for (what, body) in [
        ("BOM", with(b"\xef\xbb\xbf", b"")),
        ("UTF-16", utf16),
        ("trailing garbage", with(b"", b"x")),
        ("a second message", with(b"", &good)),
        ("a NUL behind", with(b"", b"\0")),
        ("NaN", br#"{"jsonrpc":"2.0","id":NaN,"method":"ping"}"#.to_vec()),
        ("a comment", with(b"/* */", b"")),
        ("bad UTF-8", b"{\"jsonrpc\":\"2.0\",\"id\":\"\xff\",\"method\":\"ping\"}".to_vec()),
        ("a lone surrogate", br#"{"jsonrpc":"2.0","id":"\ud800","method":"ping"}"#.to_vec()),
        ("depth", deep.into_bytes()),
    ] {
        let reply = tokio::time::timeout(Duration::from_secs(2), call(&world).body(body).send()).await.expect(what);
        assert_eq!(reply.status, 400, "{what}: {reply:?}");
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "application/jsonx", "text/json"] {
        let reply = call(&world).replace("content-type", kind).send().await;
        assert_eq!(reply.status, 415, "{kind}: {reply:?}");
    }
    call(&world).without("content-type").send().await.is(415);
    let two = call(&world).header("content-type", "text/plain").send().await;
    assert!([400, 415].contains(&two.status), "{two:?}");
    call(&world).header("content-encoding", "gzip").body(crate::support::upstream::gzip(&good)).send().await.is(415);
    world.files.saw_nothing();
    call(&world).replace("content-type", "application/json; charset=utf-8").send().await.is(200);
    call(&world).replace("content-type", "Application/JSON").send().await.is(200);
}

#[tokio::test]
async fn a_path_with_one_slash_behind_it_is_the_same_resource() {
    let world = World::start().await;
    let reply = call(&world).path("/mcp/files/").send().await;
    reply.is(200);
    world.tool("wipe").path("/mcp/files/").token(&world.ta()).send().await.is(403);
    world.tool("read_file").path("/mcp/files/").send().await.is(401);
}

#[tokio::test]
async fn legacy_calls_pass_by_the_same_rules() {
    let world = World::start().await;
    let params = |name: &str| json!({"name": name, "arguments": {}});
    world.legacy("tools/call", params("read_file")).token(&world.ta()).send().await.is(200);
    world.legacy("tools/call", params("wipe")).token(&world.ta()).send().await.refuses(403, -31403);
    let reply = world.legacy("tools/call", params("write_file")).token(&world.ta()).send().await;
    assert_eq!(reply.is(403).challenge_parameter("error").as_deref(), Some("insufficient_scope"));
    assert_eq!(world.files.count(), 1);
}

#[tokio::test]
async fn legacy_initialize_passes_and_a_stranger_version_does_not() {
    let world = World::start().await;
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}});
    let reply = world.legacy("initialize", params).token(&world.ta()).send().await;
    assert_eq!(reply.is(200).json()["result"]["serverInfo"]["name"], json!("fake"));
    let stranger = world.legacy("tools/list", json!({})).replace("mcp-protocol-version", "1999-01-01").token(&world.ta()).send().await;
    assert_eq!(stranger.status, 400, "{stranger:?}");
    world.legacy("tools/list", json!({})).without("mcp-protocol-version").token(&world.ta()).send().await.is(200);
}

#[tokio::test]
async fn a_legacy_session_of_nobody_is_404() {
    let world = World::start().await;
    let reply = world.legacy("tools/list", json!({})).header("mcp-session-id", "abc").token(&world.ta()).send().await;
    reply.is(404);
    world.files.saw_nothing();
}

#[tokio::test]
async fn notifications_are_answered_202_and_cancellations_go_no_further() {
    let world = World::start().await;
    let notify = |method: &str, params: Value| {
        let body = json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string();
        world.legacy("x", json!({})).body(body).token(&world.ta()).send()
    };
    let cancelled = notify("notifications/cancelled", json!({"requestId": 1})).await;
    assert!(cancelled.is(202).body.is_empty(), "{cancelled:?}");
    notify("notifications/progress", json!({"progressToken": 1, "progress": 1})).await.is(202);
    world.files.saw_nothing();
    notify("notifications/initialized", json!({})).await.is(202);
    assert_eq!(world.files.only().json()["method"], json!("notifications/initialized"));
    let unknown = notify("notifications/whatever", json!({})).await;
    assert!((400..500).contains(&unknown.status), "{unknown:?}");
    assert_eq!(world.files.count(), 1);
}

#[tokio::test]
async fn item_78_eras_cannot_be_mixed() {
    let world = World::start().await;
    let mixed = world.legacy("tools/call", json!({"name": "read_file", "_meta": {VERSION: MODERN}})).token(&world.ta());
    refused(&world, "header legacy, body modern", mixed, 400, -32020).await;
}

#[tokio::test]
async fn item_s13_what_a_client_accepts_travels_on_and_its_server_answers_for_it() {
    let world = World::start().await;
    for accept in ["application/json", "text/html", "*/*;q=0.1"] {
        world.files.once(Answer::text(406, "text/plain", "not acceptable"));
        let reply = world.tool("read_file").replace("accept", accept).token(&world.ta()).send().await;
        assert_eq!((reply.status, reply.text().as_str()), (406, "not acceptable"));
        assert_eq!(world.files.last().header("accept"), accept);
    }
}
