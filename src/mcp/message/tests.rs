use super::*;
use crate::mcp::ask::Asks;
use proptest::prelude::*;
use serde_json::{Value, json};

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

fn legacy(body: &str) -> Result<Message<'_>, Failure<'_>> {
    Message::parse(body.as_bytes(), &Claim::default(), 64)
}

fn legacy_error(body: &str) -> Error {
    legacy(body).expect_err(body).error
}

/// A modern request, as JSON that a test may change.
fn modern(method: &str, params: Value) -> Value {
    let mut body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
    body["params"]["_meta"] = json!({VERSION: "2026-07-28", CAPABILITIES: {}});
    body
}

fn claim<'a>(method: &'a str, name: Option<&'a str>) -> Claim<'a> {
    Claim { version: Some("2026-07-28"), method: Some(method), name }
}

/// Parses and gives the error with the id that would be echoed.
fn refused(body: &Value, claim: Claim<'_>) -> (Error, Option<String>) {
    let text = body.to_string();
    let failure = Message::parse(text.as_bytes(), &claim, 64).expect_err(&text);
    (failure.error, failure.id.map(|id| id.as_json().to_owned()))
}

fn accepted(body: &Value, claim: Claim<'_>) {
    let text = body.to_string();
    let message = Message::parse(text.as_bytes(), &claim, 64).unwrap_or_else(|failure| panic!("{text}: {failure:?}"));
    assert_eq!(message.era, Era::Modern);
}

fn target(body: &str) -> Target<'_> {
    legacy(body).unwrap_or_else(|failure| panic!("{body}: {failure:?}")).operation.target
}

fn one(kind: Kind, name: &str) -> Target<'_> {
    Target::One(Thing { kind, name: name.into() })
}

#[test]
fn a_tool_call_is_read_with_its_name_arguments_and_id() {
    let body = r#" {"params":{"arguments":{"a": [1, 2]},"name":"n\u0061me"},"method":"tools/call","id":"x\n","jsonrpc":"2.0"} "#;
    let message = legacy(body).expect("a call");
    assert_eq!(message.id.map(Id::as_json), Some(r#""x\n""#));
    assert_eq!(message.era, Era::Legacy);
    assert_eq!(message.operation.method.name, "tools/call");
    assert_eq!(message.operation.target, one(Kind::Tool, "name"));
    assert_eq!(message.operation.arguments.map(RawValue::get), Some(r#"{"a": [1, 2]}"#));
}

#[test]
fn each_method_names_its_thing() {
    let ask = |method: &str, params: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
    assert_eq!(target(&ask("prompts/get", r#"{"name":"p","uri":"x"}"#)), one(Kind::Prompt, "p"));
    assert_eq!(target(&ask("resources/read", r#"{"name":"p","uri":"file:///a"}"#)), one(Kind::Resource, "file:///a"));
    assert_eq!(target(&ask("completion/complete", r#"{"ref":{"type":"ref/prompt","name":"p"}}"#)), one(Kind::Prompt, "p"));
    assert_eq!(target(&ask("completion/complete", r#"{"ref":{"uri":"a://b","type":"ref/resource"}}"#)), one(Kind::Resource, "a://b"));
    assert_eq!(target(&ask("completion/complete", r#"{"ref":{"uri":"a://{b}","type":"ref/resource"}}"#)), one(Kind::Template, "a://{b}"));
    for method in ["tools/list", "resources/list", "resources/templates/list", "prompts/list", "initialize", "ping", "logging/setLevel"] {
        assert_eq!(target(&ask(method, r#"{"cursor":"","protocolVersion":"1999-01-01"}"#)), Target::Nothing, "{method}");
    }
    assert_eq!(target(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#), Target::Nothing);
}

#[test]
fn a_listen_request_names_each_resource() {
    let body = modern("subscriptions/listen", json!({"notifications": {"resourceSubscriptions": ["a://b", "c://d"], "taskIds": []}}));
    let text = body.to_string();
    let message = Message::parse(text.as_bytes(), &claim("subscriptions/listen", None), 64).expect("a listen request");
    let things = ["a://b", "c://d"].map(|name| Thing { kind: Kind::Resource, name: name.into() });
    assert_eq!(message.operation.target, Target::Each(things.into()));
    for notifications in
        [json!({"resourceSubscriptions": "a://b"}), json!({"resourceSubscriptions": ["a://b", 1]}), json!({"taskIds": "t"}), json!([])]
    {
        let body = modern("subscriptions/listen", json!({"notifications": notifications}));
        assert!(matches!(refused(&body, claim("subscriptions/listen", None)).0, Error::Params(_)), "{body}");
    }
}

#[test]
fn a_member_that_the_method_needs_is_demanded() {
    for (method, params) in [
        ("tools/call", json!({})),
        ("tools/call", json!({"name": 1})),
        ("tools/call", json!({"name": ["a"]})),
        ("tools/call", json!({"uri": "a"})),
        ("tools/call", json!({"name": "a", "arguments": []})),
        ("tools/call", json!({"name": "a", "arguments": null})),
        ("tools/call", json!({"name": "a", "requestState": {}})),
        ("tools/call", json!({"name": "a", "requestState": 1, "taskId": 1, "cursor": 1})),
        ("tools/list", json!({"cursor": 1, "taskId": 1})),
        ("tasks/get", json!({})),
        ("tasks/get", json!({"taskId": 1})),
        ("tasks/get", json!({"taskId": null})),
        ("tools/list", json!({"cursor": 1})),
        ("prompts/get", json!({"name": null})),
        ("resources/read", json!({"name": "a"})),
        ("completion/complete", json!({})),
        ("completion/complete", json!({"ref": "ref/prompt"})),
        ("completion/complete", json!({"ref": {"type": "ref/prompt"}})),
        ("completion/complete", json!({"ref": {"type": "ref/prompt", "uri": "a"}})),
        ("completion/complete", json!({"ref": {"type": "ref/resource", "name": "a"}})),
        ("completion/complete", json!({"ref": {"type": "ref/tool", "name": "a"}})),
        ("completion/complete", json!({"ref": {"name": "a"}})),
        ("tools/list", json!({"_meta": 1})),
    ] {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        assert!(matches!(legacy_error(&body), Error::Params(_)), "{body}");
    }
}

#[test]
fn s21_what_is_not_strict_json_in_utf_8_is_refused_without_an_id() {
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let utf_16: Vec<u8> = call.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let long = "\"".to_owned() + &"x".repeat(1000) + "\u{1}\"";
    for body in [
        b"".to_vec(),
        [b"\xef\xbb\xbf", call.as_bytes()].concat(),
        utf_16,
        format!("{call}x").into(),
        format!("{call}{call}").into(),
        format!("{call}\0").into(),
        call.replace("ping", "p\u{0}ing").into(),
        call.replace('1', "NaN").into(),
        call.replace("ping", r"\ud800").into(),
        call.replace('1', &long).into(),
        [&call.as_bytes()[..call.len() - 3], b"\xff\"}"].concat(),
        call.strip_suffix('}').expect("an object").into(),
    ] {
        let failure = Message::parse(&body, &Claim::default(), 64).expect_err("not JSON");
        assert_eq!(failure, Failure { error: Error::NotJson, id: None, era: None }, "{}", String::from_utf8_lossy(&body));
    }
}

#[test]
fn s21_deep_nesting_is_refused_everywhere_and_does_not_overflow() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        for levels in [62, 10_000] {
            let deep = format!("{}1{}", open.repeat(levels), close.repeat(levels));
            let call = format!(r#"{{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{{"name":"a","arguments":{{"x":{deep}}}}}}}"#);
            let failure = legacy(&call).expect_err("too deep");
            assert_eq!(failure.error, Error::TooDeep);
            assert_eq!(failure.id.map(Id::as_json), Some("9"));
            assert_eq!(
                legacy_error(&format!(r#"{{"x":[{deep}]}}"#)),
                if levels == 62 { Error::NotRequest("`jsonrpc` must be \"2.0\"") } else { Error::TooDeep }
            );
        }
    }
}

#[test]
fn s20_a_member_named_twice_is_refused_and_the_id_echoed() {
    let params = [
        r#"{"name":"read_file","name":"wipe"}"#,
        r#"{"name":"read_file","n\u0061me":"wipe"}"#,
        r#"{"name":"a","arguments":{"x":[{"y":1,"y":2}]}}"#,
        r#"{"name":"a","_meta":{"k":1,"k":1}}"#,
        r#"{"name":"a","_meta":{},"_meta":{}}"#,
        r#"{"name":"a","unknown":{"k":1,"\u006b":1}}"#,
    ];
    for params in params {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"tools/call","params":{params},"id":"q"}}"#);
        let failure = legacy(&body).expect_err(&body);
        assert_eq!((failure.error, failure.id), (Error::DuplicateMember, Some(Id(r#""q""#))), "{body}");
    }
    let failure = legacy(r#"{"jsonrpc":"2.0","id":1,"method":"ping","id":2}"#).expect_err("two ids");
    assert_eq!((failure.error, failure.id), (Error::DuplicateMember, None));
    let twice = r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"a"}}"#;
    assert_eq!(legacy_error(twice), Error::DuplicateMember);
}

#[test]
fn members_that_go_would_take_for_ours_are_refused() {
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","_meta":{"progressToken":1},"arguments":{}},"x":1}"#;
    assert!(legacy(call).is_ok());
    for (from, to) in [
        (r#""x""#, r#""Method""#),
        (r#""x""#, r#""METHOD""#),
        (r#""x""#, r#""paramſ""#),
        (r#""x""#, r#""Id""#),
        (r#""x""#, r#""reſult""#),
        (r#""x""#, r#""\u0050arams""#),
        (r#""_meta":{"#, r#""Name":"b","_meta":{"#),
        (r#""_meta":{"#, r#""NAME":"b","_meta":{"#),
        (r#""_meta":{"#, r#""taſk":1,"_meta":{"#),
        (r#""_meta":{"#, r#""tas\u212a":1,"_meta":{"#),
        (r#""_meta":{"#, r#""_META":{},"_meta":{"#),
        (r#""_meta":{"#, r#""Arguments":{},"_meta":{"#),
        (r#""progressToken""#, r#""io.modelcontextprotocol/protocolversion""#),
        (r#""arguments":{}"#, r#""ref":{"Type":1}"#),
        (r#""arguments":{}"#, r#""notifications":{"ResourceSubscriptions":1}"#),
    ] {
        let body = call.replacen(from, to, 1);
        assert_eq!(legacy_error(&body), Error::VariantMember, "{body}");
    }
    // Arguments are the tool's own.
    assert!(legacy(&call.replace(r#""arguments":{}"#, r#""arguments":{"Name":1,"Method":2}"#)).is_ok());
}

#[test]
fn item_55_a_batch_is_refused_in_every_era() {
    let call = modern("tools/call", json!({"name": "a"})).to_string();
    for body in ["[]".to_owned(), format!("[{call}]"), format!(" [{call},{call}]")] {
        assert_eq!(legacy_error(&body), Error::Batch("batches are not accepted"));
        let failure = Message::parse(body.as_bytes(), &claim("tools/call", Some("a")), 64).expect_err("a batch");
        assert_eq!((failure.error, failure.era), (Error::Batch("batches are not accepted"), Some(Era::Modern)));
    }
    assert_eq!(legacy_error("[1,"), Error::NotJson);
}

#[test]
fn item_56_a_response_from_the_client_is_refused_and_its_id_not_echoed() {
    for body in [r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#] {
        for claim in [Claim::default(), Claim { version: Some("2026-07-28"), method: None, name: None }] {
            let failure = Message::parse(body.as_bytes(), &claim, 64).expect_err("a response");
            assert_eq!((failure.error, failure.id), (Error::Response, None));
        }
    }
    assert!(matches!(legacy_error(r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#), Error::NotRequest(_)));
}

#[test]
fn item_61_an_id_is_a_string_or_an_integer() {
    let ask = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"wipe"}}}}"#);
    for id in ["null", "true", "1.5", "1.0", "1e3", "-0", "{}", "[1]", "18446744073709551616", "123456789012345678901234567890"] {
        let body = ask(id);
        let failure = legacy(&body).expect_err(id);
        assert_eq!((failure.error, failure.id), (Error::NotRequest("`id` must be a string or an integer"), None), "{id}");
    }
    for id in ["0", "-1", "18446744073709551615", "-9223372036854775808", r#""""#, r#""null""#] {
        assert_eq!(legacy(&ask(id)).expect("a call").id.map(Id::as_json), Some(id));
    }
}

#[test]
fn a_call_without_an_id_is_still_a_call_and_refused() {
    for method in ["tools/call", "tools/list", "resources/read", "initialize", "server/discover"] {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{{"name":"wipe","uri":"a:b"}}}}"#);
        assert_eq!(legacy_error(&body), Error::NotRequest("a request needs an id"));
    }
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}"#;
    assert_eq!(legacy_error(body), Error::NotRequest("a notification has no id"));
    let body = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(legacy(body).expect("a notification").id, None);
}

#[test]
fn a_message_that_is_not_json_rpc_is_refused() {
    for body in [
        "1",
        "null",
        r#""x""#,
        "{}",
        r#"{"id":1,"method":"ping"}"#,
        r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":null}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#,
    ] {
        assert!(matches!(legacy_error(body), Error::NotRequest(_)), "{body}");
    }
}

#[test]
fn item_49_and_s24_unknown_methods_are_refused_with_the_id() {
    for method in ["foo/bar", "ui/open", "Tools/call", "tools/call ", "tools/call\u{200b}", "tasks/begin", ""] {
        let body = modern(method, json!({"name": "a", "uri": "a:b"}));
        assert_eq!(refused(&body, claim(method, None)), (Error::UnknownMethod, Some("7".into())), "{method}");
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method}).to_string();
        assert_eq!(legacy_error(&body), Error::UnknownMethod, "{method}");
    }
}

#[test]
fn what_comes_back_is_told_with_its_place() {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{ "cursor" : "a\"b" , "taskId":"t"}}"#;
    let message = legacy(body).expect("a message");
    let [one] = message.returned.as_slice() else { panic!("{message:?}") };
    assert_eq!((one.what, &*one.text, body.get(one.place.clone())), (Passed::Cursor, "a\"b", Some(r#""a\"b""#)));
    let none = legacy(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":null}}"#).expect("a message");
    assert!(none.returned.is_empty());
}

#[test]
fn item_95_a_message_tells_which_questions_its_client_can_answer() {
    let all = Asks { elicitation: true, elicitation_url: true, sampling: true, roots: true };
    for (capabilities, answers) in [
        (json!({}), Asks::default()),
        (json!({"elicitation": {}, "tools": {"sampling": {}}}), Asks { elicitation: true, ..Asks::default() }),
        (json!({"elicitation": {"url": {}}}), Asks { elicitation_url: true, ..Asks::default() }),
        (json!({"elicitation": {"form": {}, "url": {}}, "sampling": {"tools": {}}, "roots": {}}), all),
        (json!({"elicitation": true, "sampling": null, "roots": []}), Asks::default()),
    ] {
        let mut body = modern("tools/call", json!({"name": "a"}));
        body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities.clone();
        let text = body.to_string();
        let message = Message::parse(text.as_bytes(), &claim("tools/call", Some("a")), 64).expect("a message");
        assert_eq!(message.answers, answers, "{capabilities}");
    }
}

#[test]
fn a_list_of_tasks_is_asked_for_in_the_older_era_only() {
    assert_eq!(legacy(r#"{"jsonrpc":"2.0","id":1,"method":"tasks/list"}"#).expect("a message").operation.method.verb, Verb::Tasks);
    let body = modern("tasks/list", json!({}));
    assert_eq!(refused(&body, claim("tasks/list", None)).0, Error::UnknownMethod);
}

#[test]
fn a_task_is_asked_for_in_the_older_era_only() {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a", "task": {"ttl": 1}}}).to_string();
    assert!(legacy(&body).expect("a message").begins_task);
    let body = modern("tools/call", json!({"name": "a", "task": {}}));
    assert!(matches!(refused(&body, claim("tools/call", Some("a"))).0, Error::Params(_)));
}

#[test]
fn item_50_methods_of_the_other_era_are_unknown() {
    for method in ["initialize", "ping", "logging/setLevel"] {
        let body = modern(method, json!({"level": "debug"}));
        assert_eq!(refused(&body, claim(method, None)), (Error::UnknownMethod, Some("7".into())), "{method}");
    }
    for method in ["server/discover", "subscriptions/listen"] {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method}).to_string();
        let failure = legacy(&body).expect_err(method);
        assert_eq!((failure.error, failure.era), (Error::UnknownMethod, Some(Era::Legacy)), "{method}");
    }
}

#[test]
fn item_39_and_40_head_and_body_must_agree_on_method_and_name() {
    let wipe = modern("tools/call", json!({"name": "wipe"}));
    let read = modern("resources/read", json!({"uri": "a:b", "name": "x"}));
    let prompt = modern("prompts/get", json!({"name": "p"}));
    let list = modern("tools/list", json!({}));
    for (body, method, name) in [
        (&wipe, Some("tools/call"), Some("read_file")),
        (&wipe, Some("tools/call"), Some("Wipe")),
        (&wipe, Some("tools/call"), None),
        (&wipe, Some("TOOLS/CALL"), Some("wipe")),
        (&wipe, Some("tools/list"), Some("wipe")),
        (&wipe, None, Some("wipe")),
        (&wipe, Some("tools/call"), Some("=?base64?d2lwZQ?=")),
        (&read, Some("resources/read"), Some("x")),
        (&read, Some("resources/read"), None),
        (&prompt, Some("prompts/get"), None),
        (&list, None, None),
    ] {
        let (error, id) = refused(body, Claim { version: Some("2026-07-28"), method, name });
        assert!(matches!(error, Error::Header(_)), "{method:?} {name:?}: {error:?}");
        assert_eq!(id.as_deref(), Some("7"));
    }
    accepted(&wipe, claim("tools/call", Some("wipe")));
    accepted(&wipe, claim("tools/call", Some("=?base64?d2lwZQ==?=")));
    accepted(&read, claim("resources/read", Some("a:b")));
    accepted(&list, claim("tools/list", None));
    accepted(&list, claim("tools/list", Some("=?base64?whatever?=")));
    accepted(&modern("tools/call", json!({"name": "Hello, 世界"})), claim("tools/call", Some("=?base64?SGVsbG8sIOS4lueVjA==?=")));
}

#[test]
fn legacy_clients_may_send_names_that_nobody_reads() {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#;
    let claim = Claim { version: Some("2025-11-25"), method: Some("initialize"), name: Some("b") };
    assert_eq!(Message::parse(body.as_bytes(), &claim, 64).expect("a call").operation.target, one(Kind::Tool, "a"));
}

/// What a client says of its era, and the answer: `Ok` or the error by its name.
#[test]
fn items_41_to_44_and_78_the_era_is_what_head_and_body_agree_on() {
    let full = |version: &str| json!({VERSION: version, CAPABILITIES: {}});
    let table: &[(Option<&str>, Value, &str)] = &[
        (None, json!(null), "legacy"),
        (Some("2025-11-25"), json!(null), "legacy"),
        (Some("2025-03-26"), json!({"progressToken": 1}), "legacy"),
        (Some("2026-07-28"), full("2026-07-28"), "modern"),
        (
            Some("2026-07-28"),
            json!({VERSION: "2026-07-28", CAPABILITIES: {}, "io.modelcontextprotocol/clientInfo": {"name": "x"}}),
            "modern",
        ),
        (Some("2026-07-28"), json!(null), "meta"),
        (Some("2026-07-28"), json!({}), "meta"),
        (Some("2026-07-28"), json!({CAPABILITIES: {}}), "meta"),
        (Some("2026-07-28"), json!({VERSION: "2026-07-28"}), "meta"),
        (Some("2026-07-28"), json!({VERSION: "2026-07-28", CAPABILITIES: []}), "meta"),
        (Some("2026-07-28"), json!({VERSION: 1, CAPABILITIES: {}}), "meta"),
        (Some("2026-07-28"), json!({VERSION: "2026-07-28", CAPABILITIES: {}, "io.modelcontextprotocol/clientInfo": "x"}), "meta"),
        (None, json!({CAPABILITIES: {}}), "meta"),
        (None, full("2026-07-28"), "header"),
        (None, full("2025-11-25"), "header"),
        (Some("2026-07-28"), full("2025-11-25"), "header"),
        (Some("2025-11-25"), full("2026-07-28"), "header"),
        (Some("2099-01-01"), full("2026-07-28"), "header"),
        (Some("2025-11-25"), json!({CAPABILITIES: {}}), "header"),
        (Some("2099-01-01"), full("2099-01-01"), "version, modern"),
        (Some("2025-11-25"), full("2025-11-25"), "version, modern"),
        (Some("2099-01-01"), json!({CAPABILITIES: {}}), "version, modern"),
        (Some("1999-01-01"), json!(null), "version, legacy"),
        (Some("2024-11-05"), json!(null), "version, legacy"),
        (Some("2026-07-28 "), json!(null), "version, legacy"),
        (Some(""), json!(null), "version, legacy"),
    ];
    for (header, meta, expected) in table {
        let params = if meta.is_null() { json!({"name": "a"}) } else { json!({"name": "a", "_meta": meta}) };
        let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}).to_string();
        let claim = Claim { version: *header, method: Some("tools/call"), name: Some("a") };
        let outcome = match Message::parse(body.as_bytes(), &claim, 64) {
            Ok(message) => message.era.as_str(),
            Err(failure) => {
                assert_eq!(failure.id, Some(Id("7")));
                match failure.error {
                    Error::Meta(_) => "meta",
                    Error::Header(_) => "header",
                    Error::Version { requested, modern } => {
                        assert_eq!(Some(requested.as_str()), *header);
                        if modern { "version, modern" } else { "version, legacy" }
                    }
                    other => panic!("{other:?}"),
                }
            }
        };
        assert_eq!(outcome, *expected, "{header:?} {meta}");
    }
}

#[test]
fn a_version_is_echoed_no_longer_than_a_version_could_be() {
    let long = "é".repeat(5000);
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": {"_meta": {VERSION: long}}});
    let (error, _) = refused(&body, Claim { version: Some(&long), method: None, name: None });
    assert_eq!(error, Error::Version { requested: "é".repeat(64), modern: true });
}

#[test]
fn notifications_of_the_modern_era_need_no_headers_but_may_not_contradict_them() {
    let bare = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    let with_meta =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"_meta": {VERSION: "2026-07-28"}}}).to_string();
    let head = |method| Claim { version: Some("2026-07-28"), method, name: None };
    for (body, claim) in
        [(bare, head(None)), (bare, head(Some("notifications/cancelled"))), (&with_meta, head(None)), (&with_meta, Claim::default())]
    {
        let message = Message::parse(body.as_bytes(), &claim, 64).expect("a notification");
        assert_eq!((message.era, message.operation.method.verb), (Era::Modern, Verb::Absorb));
    }
    for claim in [head(Some("tools/call")), Claim { version: Some("2025-11-25"), ..Claim::default() }] {
        assert!(matches!(Message::parse(with_meta.as_bytes(), &claim, 64).expect_err("a contradiction").error, Error::Header(_)));
    }
}

#[test]
fn a_retry_carries_its_state_as_data_and_the_trace_context_is_read() {
    let mut body = modern("tools/call", json!({"name": "a", "requestState": "s", "inputResponses": {"k": {}}}));
    body["params"]["_meta"]["traceparent"] = json!("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01");
    let text = body.to_string();
    let message = Message::parse(text.as_bytes(), &claim("tools/call", Some("a")), 64).expect("a retry");
    assert_eq!(message.traceparent.as_deref(), Some("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"));
    body["params"]["_meta"]["traceparent"] = json!(1);
    accepted(&body, claim("tools/call", Some("a")));
}

/// Valid calls, and what they hold.
fn calls() -> impl Strategy<Value = Value> {
    let id = prop_oneof![any::<i64>().prop_map(Value::from), any::<String>().prop_map(Value::from)];
    let arguments = prop::collection::btree_map(
        ".{0,4}",
        prop_oneof![any::<String>().prop_map(Value::from), any::<i32>().prop_map(Value::from)],
        0..20,
    );
    (id, any::<String>(), arguments).prop_map(|(id, name, arguments)| {
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": name, "arguments": arguments}})
    })
}

proptest! {
    #[test]
    fn a_call_is_read_as_serde_json_reads_it(call in calls(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&call).unwrap() } else { call.to_string() };
        let message = legacy(&text).unwrap();
        let id: Value = serde_json::from_str(message.id.unwrap().as_json()).unwrap();
        prop_assert_eq!(&id, &call["id"]);
        let arguments: Value = serde_json::from_str(message.operation.arguments.unwrap().get()).unwrap();
        prop_assert_eq!(&arguments, &call["params"]["arguments"]);
        prop_assert_eq!(message.operation.target, one(Kind::Tool, call["params"]["name"].as_str().unwrap()));
    }

    #[test]
    fn a_mutated_call_is_refused_or_read_as_serde_json_reads_it(
        call in calls(),
        at in any::<prop::sample::Index>(),
        with in prop_oneof!["[\\[\\]{}\",:0-9a-z\\\\]{0,2}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..3)],
        gone in 0..4usize,
    ) {
        let text = call.to_string().into_bytes();
        let at = at.index(text.len());
        let body = [&text[..at], &with, text.get(at + gone..).unwrap_or_default()].concat();
        if let Ok(message) = Message::parse(&body, &Claim::default(), 64) {
            let reference: Value = serde_json::from_slice(&body).unwrap();
            prop_assert_eq!(&reference["method"], message.operation.method.name);
            prop_assert_eq!(reference.get("id").map(Value::to_string).is_some(), message.id.is_some());
            if let Target::One(thing) = message.operation.target {
                prop_assert_eq!(&reference["params"]["name"], thing.name.as_ref());
            }
        }
    }

    #[test]
    fn any_bytes_are_survived(body in prop::collection::vec(any::<u8>(), 0..300), depth in any::<usize>()) {
        let _ = Message::parse(&body, &Claim::default(), depth);
    }
}
