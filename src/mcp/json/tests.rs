use super::*;
use proptest::prelude::*;
use serde_json::Value;

fn scan(text: &str) -> Scan<bool> {
    let mut scanner = Scanner::new(text, 64);
    scanner.skip()?;
    scanner.end()?;
    Ok(scanner.duplicate())
}

#[test]
fn what_serde_json_refuses_is_refused() {
    for text in [
        "",
        " ",
        "\u{feff}{}",
        "{} {}",
        "[1,]",
        "{,}",
        r#"{"a":1,}"#,
        r#"{"a"}"#,
        r#"{"a":}"#,
        "{a:1}",
        "{'a':1}",
        "NaN",
        "-",
        "-Infinity",
        "01",
        "1.",
        ".5",
        "1e",
        "+1",
        "0x10",
        "truE",
        "nul",
        "\"\t\"",
        "\"\u{1}\"",
        r#""\x""#,
        r#""\u12""#,
        r#""\u+123""#,
        r#""\ud800""#,
        r#""\ud800x""#,
        r#""\ud800\u0041""#,
        r#""\udc00""#,
        "\"abc",
        "\"abcdefgh\\",
        "[1",
        "]",
        "[}",
        "{\"a\":1]",
        "1e400",
        "-1e309",
        "/**/1",
        "1\u{0}",
        "1\u{1f}",
        "[1 2]",
    ] {
        assert_eq!(scan(text), Err(Fault::NotJson), "{text}");
        assert!(serde_json::from_str::<Value>(text).is_err(), "{text}");
    }
    let long = "9".repeat(400);
    assert_eq!(scan(&long), Err(Fault::NotJson));
}

#[test]
fn what_is_json_is_read() {
    for text in ["0", "-0", "1e5", "-1.5E-7", "0e999999999999", "\"\u{7f}\u{2028}\"", r#""\ud83d\ude00\/\"""#, " [ ] ", "\t{ }\r\n", "null"]
    {
        assert_eq!(scan(text), Ok(false), "{text}");
        assert!(serde_json::from_str::<Value>(text).is_ok(), "{text}");
    }
}

#[test]
fn a_member_named_twice_is_seen_at_any_depth_and_in_any_spelling() {
    let many: String = (0..40).map(|n| format!(r#""m{n}":1,"#)).collect();
    for text in [
        r#"{"a":1,"a":2}"#.to_owned(),
        r#"{"name":1,"n\u0061me":2}"#.into(),
        r#"[[{"x":{"a":1,"b":2,"a":3}}]]"#.into(),
        format!(r#"{{{many}"m3":2}}"#),
        format!(r#"{{{many}"z":{{"q":1,"\u0071":1}}}}"#),
        r#"{"😀":1,"\ud83d\ude00":2}"#.into(),
    ] {
        assert_eq!(scan(&text), Ok(true), "{text}");
    }
    assert_eq!(scan(&format!(r#"{{{many}"M3":2,"z":[{{"a":1}},{{"a":1}}]}}"#)), Ok(false));
    assert_eq!(scan(r#"{"a":{"a":1},"b":{"a":1}}"#), Ok(false));
}

#[test]
fn ten_thousand_levels_are_too_deep_and_do_not_overflow() {
    assert_eq!(scan(&"[".repeat(10_000)), Err(Fault::TooDeep));
    assert_eq!(scan(&r#"{"a":"#.repeat(10_000)), Err(Fault::TooDeep));
    assert_eq!(scan(&format!("{}{}", "[".repeat(64), "]".repeat(64))), Ok(false));
    assert_eq!(scan(&format!("{}{}", "[".repeat(65), "]".repeat(65))), Err(Fault::TooDeep));
    let mut scanner = Scanner::new("", usize::MAX);
    assert_eq!(scanner.depth, DEEPEST);
    assert_eq!(scanner.skip(), Err(Fault::NotJson));
}

#[test]
fn names_that_go_folds_are_variants() {
    let members = ["params", "taskId"];
    for name in ["Params", "paramſ", "PARAMS", "tas\u{212A}Id", "taskid"] {
        assert!(is_variant(name, &members), "{name}");
    }
    for name in ["params", "taskId", "param", "paramss", "", "pärams"] {
        assert!(!is_variant(name, &members), "{name}");
    }
}

#[test]
fn a_scanned_text_becomes_a_raw_value_without_a_second_reading() {
    // Not JSON: had it been read again, it would have been refused.
    assert_eq!(raw_value("unread").map(RawValue::get), Some("unread"));
}

pub(crate) fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|n| if n.abs() > LARGEST { Value::Null } else { Value::from(n) }),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..20).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn holds_huge(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64().is_some_and(|number| number.abs() > LARGEST),
        Value::Array(items) => items.iter().any(holds_huge),
        Value::Object(members) => members.values().any(holds_huge),
        _ => false,
    }
}

proptest! {
    #[test]
    fn whatever_serde_json_writes_is_read(value in json()) {
        prop_assert_eq!(scan(&value.to_string()), Ok(false));
        prop_assert_eq!(scan(&serde_json::to_string_pretty(&value).unwrap()), Ok(false));
    }

    #[test]
    fn a_mangled_text_is_read_only_if_serde_json_reads_it(value in json(), cut in any::<prop::sample::Index>(), with in "[\\[\\]{}\",:0-9eE.\\\\ud-]{0,3}") {
        let text = value.to_string();
        let chars: Vec<char> = text.chars().collect();
        let at = cut.index(chars.len());
        let mangled: String = chars[..at].iter().copied().chain(with.chars()).chain(chars[at..].iter().skip(1).copied()).collect();
        let ours = scan(&mangled);
        let theirs = serde_json::from_str::<Value>(&mangled);
        prop_assert!(ours.is_err() || theirs.is_ok(), "{}", mangled);
        // A lost sign of an exponent makes a number that only some parsers can hold.
        if theirs.is_ok_and(|value| !holds_huge(&value)) {
            prop_assert!(ours.is_ok(), "{}", mangled);
        }
    }

    #[test]
    fn strings_are_unescaped_as_by_serde_json(text in any::<String>()) {
        let json = serde_json::to_string(&text).unwrap();
        let all: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        for json in [json, format!("\"{all}\"")] {
            prop_assert_eq!(Scanner::new(&json, 1).string().unwrap(), text.as_str());
        }
    }
}
