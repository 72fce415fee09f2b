use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Seals by writing brackets; shows what begins with `pub:`, and embedded also what begins with `own:`.
struct Brackets;

impl Keeper for Brackets {
    fn state(&mut self, state: &str) -> Option<String> {
        (state != "bad").then(|| format!("<{state}>"))
    }

    fn task(&mut self, id: &str) -> Option<String> {
        (id != "lost").then(|| format!("[{id}]"))
    }

    fn told(&mut self, id: &str) -> Option<String> {
        id.starts_with("own").then(|| format!("[{id}]"))
    }

    fn cursor(&mut self, cursor: &str) -> Option<String> {
        Some(format!("({cursor})"))
    }

    fn shows(&mut self, uri: &str, embedded: bool) -> bool {
        uri.starts_with("pub:") || (embedded && uri.starts_with("own:"))
    }
}

const ALL: Sight = Sight {
    depth: 64,
    states: true,
    tasks: true,
    no_task: false,
    lists_tasks: false,
    related: true,
    strays: true,
    no_input: false,
    reading: false,
    private: false,
    resources: true,
};

fn seen(text: &str, sight: Sight) -> Verdict {
    refit(text.as_bytes(), sight, &mut Brackets)
}

fn replaced(text: &str) -> String {
    match seen(text, ALL) {
        Verdict::Replace(new) => String::from_utf8(new).expect("text"),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn item_94_only_the_state_changes_and_every_other_byte_stays() {
    let text = r#"{ "jsonrpc":"2.0", "id":1,"result" : {"requestState" : "a\"\u00e9", "resultType":"input_required","inputRequests":{"k":{"requestState":"x"}}} }"#;
    let told = r#"{ "jsonrpc":"2.0", "id":1,"result" : {"requestState" : "<a\"é>", "resultType":"input_required","inputRequests":{"k":{"requestState":"x"}}} }"#;
    assert_eq!(replaced(text), told);
    // Another spelling of the member is the same member once somebody looks.
    assert_eq!(replaced(r#"{"result":{"request\u0053tate":"s"}}"#), r#"{"result":{"request\u0053tate":"<s>"}}"#);
}

#[test]
fn task_ids_are_sealed_where_either_design_puts_them() {
    for (text, told) in [
        (r#"{"result":{"task":{"taskId":"7","status":"working"}}}"#, r#"{"result":{"task":{"taskId":"[7]","status":"working"}}}"#),
        (r#"{"result":{"resultType":"task","taskId":"7"}}"#, r#"{"result":{"resultType":"task","taskId":"[7]"}}"#),
        (
            r#"{"result":{"content":[],"_meta":{"taskId":"x","io.modelcontextprotocol/related-task":{"taskId":"7"}}}}"#,
            r#"{"result":{"content":[],"_meta":{"taskId":"x","io.modelcontextprotocol/related-task":{"taskId":"[7]"}}}}"#,
        ),
    ] {
        assert_eq!(replaced(text), told);
    }
}

#[test]
fn item_92_a_task_that_nobody_asked_for_is_not_passed() {
    let sight = Sight { tasks: false, no_task: true, ..ALL };
    assert_eq!(seen(r#"{"result":{"resultType":"task","taskId":"7"}}"#, sight), Verdict::Unreadable);
    assert_eq!(seen(r#"{"result":{"resultType":"complete","content":["task"]}}"#, sight), Verdict::Pass);
}

#[test]
fn what_tells_of_tasks_unasked_is_dropped() {
    for method in ["notifications/tasks", "notifications/tasks/status", r"notifications\/tasks"] {
        let text = format!(r#"{{"method":"{method}","params":{{"taskId":"7"}}}}"#);
        assert!(may_tell_of_task(text.as_bytes()));
        assert_eq!(seen(&text, ALL), Verdict::Drop);
    }
    assert_eq!(seen(r#"{"result":{"text":"notifications/tasks"}}"#, ALL), Verdict::Pass);
}

#[test]
fn item_88_of_a_list_of_tasks_only_the_callers_own_remain_by_the_ids_that_it_knows() {
    let sight = Sight { lists_tasks: true, ..ALL };
    let text = r#"{"id":1,"result":{"nextCursor":"c","tasks":[{"taskId":"own1", "status":"working"},{"taskId":"2"},{"status":"x","taskId":"own3"},{"taskId":"own4","TaskId":"2"},{"taskId":5},7]}}"#;
    let told =
        r#"{"id":1,"result":{"nextCursor":"(c)","tasks":[{"taskId":"[own1]", "status":"working"},{"status":"x","taskId":"[own3]"}]}}"#;
    assert_eq!(seen(text, sight), Verdict::Replace(told.into()));
    assert!(may_hold(b"{}", sight), "whatever it says");
    assert!(sight.whole());
    for text in [r#"{"result":{"tasks":{"taskId":"own1"}}}"#, r#"{"result":{"Tasks":[]}}"#, r#"{"result":{"tasks":[],"tasks":[]}}"#] {
        assert_eq!(seen(text, sight), Verdict::Unreadable, "{text}");
    }
    // One that comes by on the stream of a session, cursor and all.
    assert_eq!(replaced(r#"{"result":{"tasks":[{"taskId":"2"}]}}"#), r#"{"result":{"tasks":[]}}"#);
}

#[test]
fn item_88_the_status_of_the_callers_own_task_passes_by_the_id_that_it_knows() {
    let status = |id: &str| format!(r#"{{"method":"notifications/tasks/status","params":{{"status":"working", "taskId":{id}}}}}"#);
    assert_eq!(replaced(&status(r#""own1""#)), status(r#""[own1]""#));
    for id in [r#""7""#, "7", r#""own1","TaskId":"7""#] {
        assert_eq!(seen(&status(id), ALL), Verdict::Drop, "{id}");
    }
    assert_eq!(seen(&status(r#""own1","taskId":"7""#), ALL), Verdict::Unreadable);
}

#[test]
fn a_task_of_which_nobody_knows_the_tool_is_not_delivered() {
    assert_eq!(seen(r#"{"id":1,"result":{"task":{"taskId":"lost"}}}"#, ALL), Verdict::Drop);
}

#[test]
fn item_96_a_question_where_there_may_be_none_is_not_passed() {
    let sight = Sight { no_input: true, ..ALL };
    for kind in ["input_required", r"input\u005frequired"] {
        let text = format!(r#"{{"result":{{"resultType":"{kind}"}}}}"#);
        assert!(may_hold(text.as_bytes(), Sight { no_input: true, ..Sight::default() }), "{kind}");
        assert_eq!(seen(&text, sight), Verdict::Unreadable, "{kind}");
        assert_eq!(seen(&text, ALL), Verdict::Pass, "{kind}");
    }
    assert_eq!(seen(r#"{"result":{"resultType":"complete","x":"input_required"}}"#, sight), Verdict::Pass);
}

#[test]
fn item_s18_a_reading_brings_nothing_that_may_not_be_read() {
    let text = r#"{"result":{"contents":[{"uri":"pub:a","text":"1"}, {"uri":"own:b","text":"2"},{"text":"3"},7,{"uri":"pub:c"}]}}"#;
    assert_eq!(replaced(text), r#"{"result":{"contents":[{"uri":"pub:a","text":"1"},{"uri":"pub:c"}]}}"#);
    assert_eq!(replaced(r#"{"result":{"contents":[{"uri":"x:"}]}}"#), r#"{"result":{"contents":[]}}"#);
    assert_eq!(seen(r#"{"result":{"contents":[{"uri":"pub:a"}]}}"#, ALL), Verdict::Pass);
    assert_eq!(seen(r#"{"result":{"contents":[{"uri":"pub:a","URI":"x:"}]}}"#, ALL), Verdict::Unreadable);
}

#[test]
fn item_82_what_a_caller_reads_is_no_other_callers() {
    let sight = Sight { reading: true, private: true, ..ALL };
    let told = |text: &str| match seen(text, sight) {
        Verdict::Replace(new) => String::from_utf8(new).expect("text"),
        other => panic!("{text}: {other:?}"),
    };
    let private = r#"{"result":{"contents":[{"uri":"pub:a"}],"ttlMs":5,"cacheScope":"private"}}"#;
    assert_eq!(told(&private.replace("private", "public")), private);
    assert_eq!(seen(private, sight), Verdict::Pass);
    assert_eq!(told(r#"{"result":{"cache\u0053cope" : 7,"contents":[]}}"#), r#"{"result":{"cache\u0053cope" : "private","contents":[]}}"#);
    assert_eq!(
        told(r#"{"result":{"contents":[{"uri":"x:"}] }}"#),
        r#"{"result":{"contents":[] ,"cacheScope":"private"}}"#,
        "cut and without a word"
    );
    // A question is not kept by anybody, and within a content the word is the server's own.
    let question = r#"{"result":{"resultType":"input_required","inputRequests":{}}}"#;
    assert_eq!(seen(question, sight), Verdict::Pass);
    assert_eq!(
        told(r#"{"result":{"contents":[{"uri":"pub:a","cacheScope":"public"}],"cacheScope":"public"}}"#).matches("public").count(),
        1
    );
    assert_eq!(seen(r#"{"result":{"contents":[],"CacheScope":"public"}}"#, sight), Verdict::Unreadable);
    assert_eq!(seen(r#"{"result":{"contents":[],"cacheScope":"public"}}"#, ALL), Verdict::Pass, "an older revision has no caches");
}

#[test]
fn embedded_resources_are_left_out_and_links_stay() {
    let blocks = json!([
        {"type": "text", "text": "t"},
        {"type": "resource", "resource": {"uri": "x:", "text": "secret"}},
        {"type": "resource_link", "uri": "x:"},
        {"type": "resource", "resource": {"uri": "own:", "text": "fine"}},
    ]);
    let told = |text: Value| serde_json::from_str::<Value>(&replaced(&text.to_string())).expect("json");
    let mut kept = blocks.clone();
    kept[1] = serde_json::from_str(WITHHELD).expect("json");
    assert_eq!(told(json!({"result": {"content": blocks}})), json!({"result": {"content": kept}}), "of a tool");
    assert_eq!(
        told(json!({"result": {"status": "completed", "result": {"content": blocks}}}))["result"]["result"]["content"],
        kept,
        "of a task"
    );
    let messages = json!({"result": {"messages": [{"role": "user", "content": blocks[1]}, {"role": "user", "content": blocks[3]}]}});
    let told = told(messages);
    assert_eq!(told["result"]["messages"][0], json!({"role": "user", "content": kept[1]}), "of a prompt");
    assert_eq!(told["result"]["messages"][1]["content"], blocks[3]);
}

#[test]
fn what_has_two_readings_or_cannot_be_sealed_is_not_passed() {
    for text in [
        r#"{"result":{"requestState":"a","requestState":"b"}}"#,
        r#"{"result":{"RequestState":"a"}}"#,
        r#"{"result":{"requestState":"a"},"method":"x"}"#,
        r#"{"result":{"requestState":"bad"}}"#,
        r#"[{"result":{"requestState":"a"}}]"#,
        r#"{"result":{"requestState":"a"}"#,
    ] {
        assert_eq!(seen(text, ALL), Verdict::Unreadable, "{text}");
    }
    assert_eq!(refit(b"{\"result\":\"\xff\"}", ALL, &mut Brackets), Verdict::Unreadable);
}

#[test]
fn the_first_look_finds_only_what_is_looked_for() {
    let state = br#"{"result":{"requestState":"a"}}"#;
    assert!(may_hold(state, Sight { states: true, ..Sight::default() }));
    assert!(!may_hold(state, Sight { tasks: true, resources: true, no_task: true, ..Sight::default() }));
    assert!(!may_hold(br#"{"result":{"content":[{"type":"text","text":"\"requestState\""}]}}"#, ALL), "within a text");
}

proptest! {
    #[test]
    fn any_state_is_given_whole_and_the_rest_stays(state in ".{0,60}", other in ".{0,60}") {
        prop_assume!(state != "bad");
        let text = json!({"id": 1, "result": {"other": other, "requestState": state}}).to_string();
        let told: Value = serde_json::from_str(&replaced(&text)).expect("json");
        prop_assert_eq!(told, json!({"id": 1, "result": {"other": other, "requestState": format!("<{state}>")}}));
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = refit(&bytes, ALL, &mut Brackets);
    }
}
