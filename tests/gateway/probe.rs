//! `doorward check --probe`: what a server really has, against the rules.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::Setup;
use crate::support::gateway::{run, write_config, yaml};
use crate::support::upstream::{Answer, Seen, Upstream, plain};

async fn check(setup: &Setup, arguments: &[&str]) -> Output {
    let file = setup.folder.path().join("doorward.yaml");
    write_config(&file, &yaml(&setup.config));
    run(&[&["check", "--probe", "--config", file.to_str().unwrap()], arguments].concat()).await
}

/// Only the files upstream, with these rules.
async fn setup(files: Upstream, rules: Value) -> Setup {
    let mut setup = Setup::before(files).await;
    setup.config["upstreams"].as_object_mut().unwrap().remove("crm");
    setup.config["scopes"].as_object_mut().unwrap().retain(|name, _| name.starts_with("files:"));
    setup.config["upstreams"]["files"]["rules"] = rules;
    setup
}

fn rules() -> Value {
    json!([
        {"name": "no-wiping", "tools": ["wipe"], "deny": true},
        {"name": "readers", "tools": ["read_*"], "resources": ["file:///pub/**"], "prompts": ["greet"], "scopes": ["files:read"]},
        {"name": "writers", "tools": ["write_file"], "scopes": ["files:write"], "groups": ["sre"]},
    ])
}

/// Knows nothing of 2026-07-28, wants a session, gives tools by the page and as events.
fn old_server(seen: &Seen) -> Option<Answer> {
    let message = seen.json();
    let method = message["method"].as_str().unwrap_or_default().to_owned();
    if seen.header("mcp-protocol-version") == "2026-07-28" {
        return Some(Answer::text(400, "text/plain", "Server not initialized"));
    }
    match method.as_str() {
        "initialize" => match plain(seen) {
            answer @ Answer::Reply { .. } => Some(answer.with("mcp-session-id", "s1")),
            other => Some(other),
        },
        _ if seen.header("mcp-session-id") != "s1" => Some(Answer::text(400, "text/plain", "no session")),
        "tools/list" => {
            let (names, next) = match message["params"]["cursor"].as_str() {
                None => (["write_file", "wipe"], Some("2")),
                Some(_) => (["read_file", "read_path"], None),
            };
            let tools: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
            let result = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": tools, "nextCursor": next}});
            Some(Answer::events(format!("event: message\ndata: {result}\n\n")))
        }
        "prompts/list" => Some(Answer::json(json!({"jsonrpc": "2.0", "id": 1, "result": {"prompts": [{"name": "greet"}]}}))),
        "resources/list" => Some(Answer::json(json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "no"}}))),
        _ => None,
    }
}

#[tokio::test]
async fn each_thing_is_shown_with_its_rule_its_scopes_and_who() {
    let setup = setup(Upstream::start().await, rules()).await;
    let told = check(&setup, &[]).await;
    let text = String::from_utf8(told.stdout).unwrap();
    let line = |name: &str| text.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("no {name}: {text}")).to_owned();
    assert!(line(" write_file ").contains("files:write") && line(" write_file ").ends_with("groups sre"), "{text}");
    assert!(line(" write_file ").contains("doorward.yaml:"), "{text}");
    assert!(line(" read_path ").contains("files:read") && line(" read_path ").ends_with("anyone"), "{text}");
    assert!(line(" wipe ").ends_with("nobody: denied"), "{text}");
    assert!(line(" merge ").ends_with("nobody: no rule names it"), "{text}");
    assert!(line(" file:///priv/b ").ends_with("nobody: no rule names it"), "{text}");
    assert_eq!(told.status.code(), Some(0), "what no rule names is refused, and no fault: {text}");
    assert_eq!(check(&setup, &["--strict"]).await.status.code(), Some(1));
}

#[tokio::test]
async fn a_name_in_a_rule_that_matches_nothing_is_a_no() {
    let setup = setup(Upstream::start().await, json!([{"tools": ["raed_file", "read_*"]}])).await;
    let told = check(&setup, &["--json"]).await;
    let json: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told.status.code(), Some(1));
    assert_eq!(json["ok"], false);
    assert_eq!(json["upstreams"][0]["unmatched"].as_array().unwrap().len(), 1);
    assert_eq!(json["upstreams"][0]["unmatched"][0]["name"], "raed_file");
}

#[tokio::test]
async fn a_server_of_the_old_era_is_asked_in_a_session_and_by_the_page() {
    let files = Upstream::start().await;
    files.script(old_server);
    let setup = setup(files, rules()).await;
    let told = check(&setup, &["--json"]).await;
    let json: Value = serde_json::from_slice(&told.stdout).unwrap();
    let things = json["upstreams"][0]["things"].as_array().unwrap_or_else(|| panic!("{json}"));
    let names: Vec<_> = things.iter().filter(|thing| thing["kind"] == "tool").map(|thing| thing["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["read_file", "read_path", "wipe", "write_file"]);
    assert_eq!(told.status.code(), Some(0), "{json}");
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_is_a_no_with_a_reason() {
    let mut setup = setup(Upstream::start().await, rules()).await;
    setup.config["upstreams"]["files"]["url"] = json!("http://127.0.0.1:1/mcp");
    let told = check(&setup, &[]).await;
    assert_eq!(told.status.code(), Some(1));
    assert!(String::from_utf8(told.stdout).unwrap().contains("could not be asked: "));
}
