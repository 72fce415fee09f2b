use super::*;
use crate::mcp::Id;
use proptest::prelude::*;
use serde_json::{Value, json};

fn lens(kind: Kind, era: Era) -> Lens {
    Lens { kind, era, depth: 64 }
}

/// Shows names that begin with `a`.
fn shown(body: &str, kind: Kind, era: Era) -> Result<String, Unreadable> {
    cut(body.as_bytes(), lens(kind, era), &mut |name| name.starts_with('a')).map(|cut| String::from_utf8(cut.body).expect("text"))
}

fn tools(body: &str) -> Result<String, Unreadable> {
    shown(body, Kind::Tool, Era::Legacy)
}

#[test]
fn item_79_order_cursor_and_everything_else_stay_byte_for_byte() {
    let body = r#" {"jsonrpc" : "2.0","result":{ "x":[1, 2 ],"tools":[ {"name":"b"} , {"name":"a2", "n": 1.0e1},{"name":"\u0061\u0031"}, {"name":"c"} ],"nextCursor":"q\u00e9" },"id":1}"#;
    let short = r#" {"jsonrpc" : "2.0","result":{ "x":[1, 2 ],"tools":[{"name":"a2", "n": 1.0e1},{"name":"\u0061\u0031"}],"nextCursor":"q\u00e9" },"id":1}"#;
    assert_eq!(tools(body).as_deref(), Ok(short));
}

#[test]
fn item_79_the_cursor_stays_when_the_page_becomes_empty() {
    let body = r#"{"id":1,"result":{"tools":[{"name":"b"},{"name":"c"}],"nextCursor":"n"}}"#;
    let cut = cut(body.as_bytes(), lens(Kind::Tool, Era::Legacy), &mut |_| false).expect("a list");
    assert_eq!(cut.body, br#"{"id":1,"result":{"tools":[],"nextCursor":"n"}}"#);
    assert_eq!((cut.shown, cut.hidden), (0, 2));
}

#[test]
fn item_83_each_kind_of_list_is_cut_by_its_own_member() {
    for (kind, list, member) in [
        (Kind::Tool, "tools", "name"),
        (Kind::Prompt, "prompts", "name"),
        (Kind::Resource, "resources", "uri"),
        (Kind::Template, "resourceTemplates", "uriTemplate"),
    ] {
        let body = format!(r#"{{"id":1,"result":{{"{list}":[{{"{member}":"a:1"}},{{"{member}":"b:1"}}]}}}}"#);
        let short = format!(r#"{{"id":1,"result":{{"{list}":[{{"{member}":"a:1"}}]}}}}"#);
        assert_eq!(shown(&body, kind, Era::Legacy), Ok(short), "{list}");
    }
    // A resource is known by its URI alone.
    let body = r#"{"id":1,"result":{"resources":[{"name":"a","uri":"b:1"},{"name":"a"}]}}"#;
    assert_eq!(shown(body, Kind::Resource, Era::Legacy).as_deref(), Ok(r#"{"id":1,"result":{"resources":[]}}"#));
}

#[test]
fn items_without_one_lawful_name_are_not_shown() {
    for item in [
        r#"{}"#,
        r#"{"name":null}"#,
        r#"{"name":["a"]}"#,
        r#"{"title":"a"}"#,
        r#"{"name":"a","Name":"b"}"#,
        r#"{"NAME":"a"}"#,
        "1",
        "null",
        r#""a""#,
        r#"[{"name":"a"}]"#,
    ] {
        let body = format!(r#"{{"id":1,"result":{{"tools":[{item}]}}}}"#);
        assert_eq!(tools(&body).as_deref(), Ok(r#"{"id":1,"result":{"tools":[]}}"#), "{item}");
    }
}

#[test]
fn item_81_a_cut_list_is_private_and_its_time_to_live_stays() {
    let body = |scope: &str| format!(r#"{{"id":1,"result":{{"ttlMs":5{scope},"tools":[{{"name":"a"}}]}}}}"#);
    let private = body(r#","cacheScope":"private""#);
    for scope in [r#","cacheScope":"public""#, r#","cacheScope":"private""#, r#","cacheScope":null"#, r#","c\u0061cheScope":1"#] {
        for era in [Era::Modern, Era::Legacy] {
            let cut = shown(&body(scope), Kind::Tool, era).expect("a list");
            assert_eq!(serde_json::from_str::<Value>(&cut).unwrap(), serde_json::from_str::<Value>(&private).unwrap());
        }
    }
    let end = r#"{"id":1,"result":{"ttlMs":5,"tools":[{"name":"a"}],"cacheScope":"private"}}"#;
    assert_eq!(shown(&body(""), Kind::Tool, Era::Modern).as_deref(), Ok(end));
    assert_eq!(shown(&body(""), Kind::Tool, Era::Legacy).as_deref(), Ok(body("").as_str()));
}

#[test]
fn an_error_passes_as_it_is() {
    let body = r#"{"jsonrpc":"2.0", "id":null,"error":{"code":-32603,"message":"tools","data":{"tools":[1]}}}"#;
    assert_eq!(tools(body).as_deref(), Ok(body));
}

#[test]
fn s27_what_cannot_be_read_in_one_way_never_passes() {
    let list = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"b"}]}}"#;
    assert!(tools(list).is_ok());
    let deep = format!(r#"{{"id":1,"result":{{"tools":[{}1{}]}}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    for body in [
        "",
        "<html>",
        "null",
        "{}",
        r#"{"id":1}"#,
        r#"{"id":1,"result":null}"#,
        r#"{"id":1,"result":[]}"#,
        r#"{"id":1,"result":{}}"#,
        r#"{"id":1,"result":{"resultType":"input_required"}}"#,
        r#"{"id":1,"result":{"tools":{}}}"#,
        r#"{"id":1,"result":{"tools":null}}"#,
        r#"{"id":1,"result":{"tools":[{"name":"b"}],"tools":[]}}"#,
        r#"{"id":1,"result":{"tools":[],"tool\u0073":[{"name":"b"}]}}"#,
        r#"{"id":1,"result":{"tools":[],"Tools":[{"name":"b"}]}}"#,
        r#"{"id":1,"result":{"tools":[],"toolſ":[{"name":"b"}]}}"#,
        r#"{"id":1,"result":{"tools":[],"prompts":[{"name":"b"}]}}"#,
        r#"{"id":1,"result":{"prompts":[{"name":"b"}]}}"#,
        r#"{"id":1,"result":{"tools":[],"CacheScope":"public"}}"#,
        r#"{"id":1,"result":{"tools":[]},"Result":{"tools":[{"name":"b"}]}}"#,
        r#"{"id":1,"result":{"tools":[]},"error":{}}"#,
        r#"{"id":1,"method":"x","result":{"tools":[]}}"#,
        r#"{"id":1,"result":{"tools":[{"name":"a","name":"b"}]}}"#,
        r#"{"id":1,"result":{"tools":[{"name":"a","x":{"y":1,"y":2}}]}}"#,
        r#"{"id":1,"result":{"tools":[NaN]}}"#,
        r#"{"id":1,"result":{"tools":[{"name":"a"},]}}"#,
        list.strip_suffix('}').expect("an object"),
        &format!("[{list}]"),
        &format!("{list}{list}"),
        &format!("\u{feff}{list}"),
        &deep,
    ] {
        assert_eq!(tools(body), Err(Unreadable), "{body:.100}");
    }
    assert_eq!(cut(b"\xff", lens(Kind::Tool, Era::Legacy), &mut |_| true), Err(Unreadable));
}

fn judged(data: &str, expected: Option<Kind>, era: Era) -> Verdict {
    judge_event(data.as_bytes(), Watch { expected, resumed: false, era, depth: 64 }, &mut |_, name| name.starts_with('a'))
}

#[test]
fn item_59_requests_to_the_client_are_dropped_in_the_modern_era_only() {
    for request in [
        r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"roots/list"}"#,
        r#"{"\u006dethod":"x","id":"1"}"#,
    ] {
        for expected in [None, Some(Kind::Tool)] {
            assert_eq!(judged(request, expected, Era::Modern), Verdict::Drop, "{request}");
            assert_eq!(judged(request, expected, Era::Legacy), Verdict::Pass, "{request}");
        }
    }
    for data in [r#"{"Method":"x","id":1}"#, r#"{"METHOD":"x","id":1}"#, r#"{"method":"x","id":1,"result":{}}"#, r#"{"method":"x","id":1"#]
    {
        assert_eq!(judged(data, None, Era::Modern), Verdict::Unreadable, "{data}");
    }
}

#[test]
fn item_80_notifications_pass() {
    let data = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":{"tools":[{"name":"b"}]}}}"#;
    for era in [Era::Modern, Era::Legacy] {
        for expected in [None, Some(Kind::Tool)] {
            assert_eq!(judged(data, expected, era), Verdict::Pass);
        }
    }
}

#[test]
fn lists_in_a_stream_are_cut_by_what_they_are() {
    let list = |member: &str, name: &str| format!(r#"{{"id":1,"result":{{"{member}":[{{"{name}":"b"}},{{"{name}":"a"}}]}}}}"#);
    for (member, name) in [("tools", "name"), ("prompts", "name"), ("resources", "uri"), ("resourceTemplates", "uriTemplate")] {
        let short = format!(r#"{{"id":1,"result":{{"{member}":[{{"{name}":"a"}}]}}}}"#);
        assert_eq!(judged(&list(member, name), Some(Kind::Tool), Era::Legacy), Verdict::Replace(short.into()));
    }
    let other = r#"{"id":1,"result":{"content":[]}}"#;
    assert_eq!(judged(other, Some(Kind::Tool), Era::Modern), Verdict::Pass);
    for data in [r#"[{"id":1,"result":{"tools":[]}}]"#, r#"{"id":1,"result":{"Tools":[]}}"#, r#"{"id":1,"result":[]}"#, "{}", "tools", "\n"]
    {
        assert_eq!(judged(data, Some(Kind::Tool), Era::Legacy), Verdict::Unreadable, "{data}");
    }
}

#[test]
fn on_other_streams_nothing_is_looked_at_but_requests() {
    for data in [r#"{"id":1,"result":{"content":[{"text":"NaN"}],"x":NaN}}"#, "not json", r#"{"a":1,"a":2}"#] {
        assert_eq!(judged(data, None, Era::Modern), Verdict::Pass);
        assert_eq!(judged(data, None, Era::Legacy), Verdict::Pass);
    }
    let result = r#"{"id":1,"result":{"content":[{"type":"text","text":"the method"}]}}"#;
    assert_eq!(judged(result, None, Era::Modern), Verdict::Pass);
}

#[test]
fn the_first_look_sees_the_word_in_every_spelling() {
    for data in ["method", "xmethod", "METHOD", "MeThOd", "hhmethod", r"\u006d", r"met\u0068od", "hmethhmethod"] {
        assert!(may_hold_method(data.as_bytes()), "{data}");
    }
    for data in ["", "h", "metho", "etho d", "methd", r"\n\\h", "ethod"] {
        assert!(!may_hold_method(data.as_bytes()), "{data}");
    }
}

fn answers() -> impl Strategy<Value = Value> {
    let item = prop_oneof![
        4 => ("[ab]{0,2}", any::<String>(), 0..3u8).prop_map(|(name, text, extra)| {
            let mut item = json!({"description": text, "inputSchema": {"properties": {"x": {"name": "a"}}}});
            if extra > 0 {
                item["name"] = name.into();
            }
            item
        }),
        1 => any::<i32>().prop_map(Value::from),
        1 => Just(json!({"name": 1})),
    ];
    (prop::collection::vec(item, 0..8), any::<Option<String>>(), any::<bool>()).prop_map(|(items, cursor, scoped)| {
        let mut result = json!({"tools": items, "zz": [1.5, {"tools": [{"name": "b"}]}]});
        if let Some(cursor) = cursor {
            result["nextCursor"] = cursor.into();
        }
        if scoped {
            result["cacheScope"] = "public".into();
        }
        json!({"jsonrpc": "2.0", "id": "x", "result": result})
    })
}

proptest! {
    #[test]
    fn a_cut_equals_filtering_the_tree(answer in answers(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&answer).unwrap() } else { answer.to_string() };
        let ours: Value = serde_json::from_str(&shown(&text, Kind::Tool, Era::Modern).unwrap()).unwrap();
        let mut expected = answer;
        expected["result"]["cacheScope"] = "private".into();
        let items = expected["result"]["tools"].as_array_mut().unwrap();
        items.retain(|item| item.get("name").and_then(Value::as_str).is_some_and(|name| name.starts_with('a')));
        prop_assert_eq!(ours, expected);
    }

    #[test]
    fn a_mangled_answer_never_shows_what_is_hidden(answer in answers(), at in any::<prop::sample::Index>(), with in "[\\[\\]{}\",:a\\\\]{0,2}") {
        let text = answer.to_string();
        let chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        let mangled: String = chars[..at].iter().copied().chain(with.chars()).chain(chars[at..].iter().skip(1).copied()).collect();
        if let Ok(cut) = shown(&mangled, Kind::Tool, Era::Legacy) {
            let cut: Value = serde_json::from_str(&cut).unwrap();
            for item in cut["result"]["tools"].as_array().into_iter().flatten() {
                prop_assert!(item["name"].as_str().is_some_and(|name| name.starts_with('a')), "{}", item);
            }
        }
    }

    #[test]
    fn a_remembered_cut_equals_a_fresh_one(answer in answers(), ids in prop::collection::vec(any::<String>(), 1..5), last in any::<bool>()) {
        let memo = Memo::new(4, 1 << 20);
        for id in ids {
            let id = Value::from(id).to_string();
            let result = &answer["result"];
            let body = if last { format!(r#"{{"result":{result}, "id": {id} }}"#) } else { format!(r#"{{"id":{id},"result":{result}}}"#) };
            let lens = lens(Kind::Tool, Era::Modern);
            let mut shows = |name: &str| name.starts_with('a');
            let fresh = cut(body.as_bytes(), lens, &mut shows).unwrap().body;
            prop_assert_eq!(memo.cut(&(), Id(&id), body.as_bytes(), lens, &mut |name, _| shows(name), None).unwrap(), fresh);
        }
    }

    #[test]
    fn any_bytes_are_survived(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = cut(&body, lens(Kind::Tool, Era::Modern), &mut |_| true);
        let _ = judge_event(&body, Watch { expected: Some(Kind::Tool), resumed: true, era: Era::Modern, depth: 64 }, &mut |_, _| true);
    }
}

/// Cuts tools that begin with `a`, and puts brackets around the cursor.
fn sealed(body: &str) -> Result<String, Unreadable> {
    let lens = Lens { kind: Kind::Tool, era: Era::Legacy, depth: 64 };
    let mut seal = |kind: Kind, cursor: &str| (cursor != "bad").then(|| format!("{}<{cursor}>", kind.as_str()));
    let cut = cut_items(body.as_bytes(), lens, &mut |name, _| name.starts_with('a'), Some(&mut seal))?;
    Ok(String::from_utf8(cut.body).expect("text"))
}

#[test]
fn a_cursor_is_given_another_name_wherever_it_stands() {
    let list = r#"[{"name":"b"},{"name":"a"}]"#;
    for (body, told) in [
        (
            format!(r#"{{"id":1,"result":{{"nextCursor": "x\n","tools":{list}}}}}"#),
            r#"{"id":1,"result":{"nextCursor": "tool<x\n>","tools":[{"name":"a"}]}}"#,
        ),
        (
            format!(r#"{{"result":{{"tools":{list},"nextCursor":"" }},"id":1}}"#),
            r#"{"result":{"tools":[{"name":"a"}],"nextCursor":"tool<>" },"id":1}"#,
        ),
        (format!(r#"{{"result":{{"tools":{list},"nextCursor":null}}}}"#), r#"{"result":{"tools":[{"name":"a"}],"nextCursor":null}}"#),
    ] {
        assert_eq!(sealed(&body).as_deref(), Ok(told));
    }
    assert_eq!(sealed(r#"{"result":{"tools":[],"nextCursor":"bad"}}"#), Err(Unreadable));
    assert_eq!(sealed(r#"{"result":{"tools":[],"nextCursor":"a","nextCursor":"b"}}"#), Err(Unreadable));
}
