//! The audit log as evidence: what was written is proved, what was done to it is found, and what a proposed configuration
//! would have changed is told from it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use prost::Message as _;
use serde_json::{Value, json};

use crate::support::gateway::{free_port, run, write_config, yaml};
use crate::support::{Gateway, Setup, World, eventually};

/// What the command said, and its exit code.
fn said(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

async fn verify(files: &[&Path], more: &[&str]) -> (i32, String) {
    let files = files.iter().map(|path| path.to_str().unwrap());
    let arguments: Vec<&str> = ["audit", "verify"].into_iter().chain(files).chain(more.iter().copied()).collect();
    said(&run(&arguments).await)
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn rewrite(path: &Path, lines: &[String]) {
    std::fs::write(path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

fn operations(path: &Path) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let read = |line: &String| serde_json::from_str::<Value>(line).unwrap();
    lines(path).iter().map(read).map(|line| (text(&line["operation"]), text(&line["reason"]))).collect()
}

impl World {
    async fn calls(&self, count: usize) {
        for _ in 0..count {
            self.tool("read_file").token(&self.ta()).send().await.is(200);
        }
    }

    async fn stopped(&mut self, signal: &str) {
        self.gateway.signal(signal);
        self.gateway.exit().await;
    }

    async fn again(&mut self) {
        self.gateway = Gateway::start(self.folder.path(), &self.config, &self.http).await;
    }

    fn log(&self) -> PathBuf {
        self.gateway.audit_file.clone()
    }
}

/// A private Ed25519 key in a file.
fn key(folder: &Path) -> PathBuf {
    let pair = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap();
    let text = STANDARD.encode(pair.to_pkcs8v1().unwrap().as_ref());
    let path = folder.join("audit.pem");
    std::fs::write(&path, format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    path
}

#[tokio::test]
async fn item_s41_each_line_proves_the_one_before_it_and_a_changed_one_is_named() {
    let mut world = World::start().await;
    world.calls(5).await;
    world.stopped("TERM").await;
    let log = world.log();
    let (code, text) = verify(&[&log], &["--complete"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("7 records, 1 to 7; the end is the one that the state names"), "{text}");
    let told = operations(&log);
    let plain: Vec<_> = told.iter().map(|(operation, _)| operation.as_str()).collect();
    assert_eq!(plain, ["audit/begin", "tools/call", "tools/call", "tools/call", "tools/call", "tools/call", "audit/end"]);
    // As an auditor without the gateway would: SHA-256 over one run of bytes of the file.
    let text = std::fs::read_to_string(&log).unwrap();
    let marks: Vec<usize> = text.match_indices(",\"chain\":\"").map(|(at, _)| at).collect();
    for pair in marks.windows(2) {
        let value = |at: usize| &text[at + 10..at + 53];
        let covered = &text[pair[0] + 10..pair[1]];
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, covered.as_bytes());
        assert_eq!(crate::support::issuer::b64(digest), value(pair[1]));
    }
    let mut changed = lines(&log);
    changed[3] = changed[3].replace("\"permitted\"", "\"refused\"");
    rewrite(&log, &changed);
    let (code, text) = verify(&[&log], &[]).await;
    assert!(code == 1 && text.contains("audit.jsonl:4: this record or the one before it is not what was written"), "{text}");
    assert!(text.contains("the log is not what was written"), "{text}");
    let (code, text) = verify(&[&log], &["--json"]).await;
    let told: Value = serde_json::from_str(&text).unwrap();
    assert!(code == 1 && told["sound"] == false && told["problems"][0]["place"].as_str().unwrap().ends_with(":4"), "{text}");
}

#[tokio::test]
async fn the_chain_goes_on_over_stops_kills_and_a_torn_line() {
    let mut world = World::start().await;
    for signal in ["TERM", "KILL", "KILL"] {
        world.calls(3).await;
        world.gateway.audited(3, |_| true).await;
        world.stopped(signal).await;
        if signal == "KILL" {
            // A write that the disk never finished.
            let text = std::fs::read_to_string(world.log()).unwrap();
            std::fs::write(world.log(), format!("{text}{{\"id\":\"to")).unwrap();
            let (code, text) = verify(&[&world.log()], &[]).await;
            assert!(code == 1 && text.contains("torn: the line has no end"), "{text}");
        }
        world.again().await;
    }
    world.calls(1).await;
    world.stopped("TERM").await;
    let (code, text) = verify(&[&world.log()], &["--complete"]).await;
    assert_eq!(code, 0, "{text}");
    let begins: Vec<Value> = lines(&world.log()).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let torn: Vec<_> = begins.iter().filter(|line| line["operation"] == "audit/begin").map(|line| line["torn_bytes"].clone()).collect();
    assert_eq!(torn, [json!(0), json!(0), json!(9), json!(9)]);
}

#[tokio::test]
async fn no_line_is_torn_or_lost_in_kills_under_load() {
    let mut world = World::start().await;
    for _ in 0..4 {
        let calls = (0..40).map(|_| world.tool("read_file").token(&world.ta()).send());
        let load = tokio::time::timeout(std::time::Duration::from_millis(60), futures_util::future::join_all(calls));
        let _ = load.await;
        world.stopped("KILL").await;
        world.again().await;
    }
    world.stopped("TERM").await;
    let (code, text) = verify(&[&world.log()], &["--complete"]).await;
    assert_eq!(code, 0, "{text}");
}

#[tokio::test]
async fn rotation_by_others_keeps_the_chain_and_what_is_gone_between_files_is_found() {
    let mut world = World::start().await;
    let old = world.log().with_extension("1");
    world.calls(4).await;
    world.gateway.audited(4, |_| true).await;
    std::fs::rename(world.log(), &old).unwrap();
    let made = AtomicUsize::new(4);
    eventually("a new file", || async {
        world.calls(1).await;
        made.fetch_add(1, SeqCst);
        world.log().exists().then_some(())
    })
    .await;
    let told = |path: &Path| operations(path).iter().filter(|(operation, _)| operation == "tools/call").count();
    eventually("every record", || async { (told(&old) + told(&world.log()) == made.load(SeqCst)).then_some(()) }).await;
    // Copied and cut short in place, as `copytruncate` does.
    let copy = world.log().with_extension("2");
    std::fs::copy(world.log(), &copy).unwrap();
    std::fs::OpenOptions::new().write(true).open(world.log()).unwrap().set_len(0).unwrap();
    world.calls(2).await;
    world.stopped("TERM").await;
    let files = [&*world.log(), &*old, &*copy];
    let (code, text) = verify(&files, &["--complete"]).await;
    assert_eq!(code, 0, "{text}");
    assert_eq!(operations(&world.log())[0], ("audit/begin".into(), "rotated".into()));
    let state = world.log().with_extension("jsonl.state");
    let (code, text) = verify(&[&state, &copy, &old, &world.log()], &["--complete"]).await;
    assert!(code == 0 && text.contains("the end is the one that the state names"), "{text}");
    // The newest alone is well, and says what it does not know.
    let (code, text) = verify(&[&world.log()], &[]).await;
    assert!(code == 0 && text.contains("were not given"), "{text}");
    assert_eq!(verify(&[&world.log()], &["--complete"]).await.0, 1);
    let all = lines(&old);
    rewrite(&old, &all[..all.len() - 2]);
    let (code, text) = verify(&files, &[]).await;
    assert!(code == 1 && text.contains("missing before this one"), "{text}");
}

#[tokio::test]
async fn what_is_cut_off_at_the_end_is_found_by_the_state_and_marked_at_the_next_start() {
    let mut world = World::start().await;
    world.calls(5).await;
    world.stopped("TERM").await;
    let all = lines(&world.log());
    rewrite(&world.log(), &all[..4]);
    let (code, text) = verify(&[&world.log()], &[]).await;
    assert!(code == 1 && text.contains("records 5 to 7 are missing at the end: the state names 7 as the last"), "{text}");
    // Even where the state was taken away, nobody claims that the end is proved.
    let state = world.log().with_extension("jsonl.state");
    let kept = std::fs::read(&state).unwrap();
    std::fs::remove_file(&state).unwrap();
    let (code, text) = verify(&[&world.log()], &[]).await;
    assert!(code == 0 && text.contains("its last records could be missing"), "{text}");
    std::fs::write(&state, kept).unwrap();
    world.again().await;
    world.calls(1).await;
    world.stopped("TERM").await;
    assert_eq!(operations(&world.log())[4], ("audit/begin".into(), "altered".into()));
    assert!(world.gateway.stderr().contains("does not end as it was left"), "{}", world.gateway.stderr());
    let (code, text) = verify(&[&world.log()], &[]).await;
    assert!(code == 1 && text.contains(":5: records 5 to 7 are missing before this one"), "{text}");
}

#[tokio::test]
async fn two_processes_write_one_chain_while_one_takes_over() {
    let mut setup = Setup::new().await;
    setup.config["upgrade"] = json!({"socket": setup.folder.path().join("upgrade.sock")});
    let mut world = setup.start().await;
    world.calls(3).await;
    let mut next = world.gateway.successor();
    for _ in 0..20 {
        world.calls(1).await;
    }
    world.gateway.exit().await;
    world.calls(3).await;
    next.signal("TERM");
    next.exit().await;
    let (code, text) = verify(&[&world.log()], &["--complete"]).await;
    assert_eq!(code, 0, "{text}");
    assert_eq!(operations(&world.log()).iter().filter(|(operation, _)| operation == "tools/call").count(), 26);
}

#[tokio::test]
async fn checkpoints_are_signed_published_and_find_a_log_that_was_cut_or_made_anew() {
    let mut setup = Setup::new().await;
    let secret = key(setup.folder.path());
    setup.config["audit"]["checkpoints"] = json!({"key_file": secret, "every": "1s"});
    let mut world = setup.start().await;
    world.calls(3).await;
    world.gateway.says("audit checkpoint").await;
    world.stopped("TERM").await;
    world.gateway.says("\"stopped\"").await;
    let path = |name: &str| world.folder.path().join(name).to_str().unwrap().to_owned();
    let printed = run(&["audit", "key", "--config", world.gateway.config_file.to_str().unwrap()]).await;
    std::fs::write(path("public.pem"), &printed.stdout).unwrap();
    std::fs::write(path("stderr"), world.gateway.stderr()).unwrap();
    let evidence = [String::from("--key"), path("public.pem"), "--published".into(), path("stderr")];
    let evidence: Vec<&str> = evidence.iter().map(String::as_str).collect();
    let (code, text) = verify(&[&world.log()], &evidence).await;
    assert!(code == 0 && text.contains("signed checkpoints, the last over record"), "{text}");
    // The state goes with the log where somebody is thorough.
    let all = lines(&world.log());
    std::fs::remove_file(world.log().with_extension("jsonl.state")).unwrap();
    let checkpoint = all.iter().position(|line| line.contains("audit/checkpoint")).unwrap();
    rewrite(&world.log(), &all[..checkpoint + 1]);
    let (code, text) = verify(&[&world.log()], &evidence).await;
    assert!(code == 1 && text.contains("the log was cut"), "{text}");
    // Another gateway's log, sound in itself, under another key.
    rewrite(&world.log(), &all);
    let other = World::start().await;
    other.calls(1).await;
    other.gateway.audited(1, |_| true).await;
    let (code, text) = verify(&[&other.log()], &evidence[..2]).await;
    assert!(code == 1 && text.contains("no checkpoint is signed by a key that was given"), "{text}");
    let (code, text) = verify(&[&world.log(), &other.log()], &[]).await;
    assert!(code == 0 && text.matches("log ").count() >= 2, "{text}");
    assert!(!world.gateway.stderr().contains("BEGIN"), "{}", world.gateway.stderr());
}

#[tokio::test]
async fn a_reload_is_a_record_with_its_actor() {
    let world = World::start().await;
    let mut config = world.config.clone();
    config["upstreams"]["files"]["rules"][1]["name"] = json!("readers-too");
    world.gateway.reload(&config).await;
    world.gateway.offer_and_wait("nonsense: [").await;
    let acts = || world.gateway.records().into_iter().filter(|line| line["operation"] == "admin/reload").collect::<Vec<_>>();
    let has = |outcome: &str| acts().iter().any(|act| act["outcome"] == outcome);
    eventually("both records", || async { (has("answered") && has("refused")).then_some(()) }).await;
    let acts = acts();
    assert!(acts.iter().all(|act| act["actor"] == "files or SIGHUP" && act["chain"].is_string()), "{acts:?}");
    assert_eq!(verify(&[&world.log()], &[]).await.0, 0);
}

#[tokio::test]
async fn search_prints_what_fits_and_nothing_else() {
    let world = World::start().await;
    world.calls(2).await;
    world.tool("wipe").token(&world.tb()).send().await.is(403);
    world.gateway.audited(3, |_| true).await;
    let log = world.log();
    let search = |flags: &'static [&'static str]| {
        let log = log.clone();
        async move {
            let arguments: Vec<&str> = ["audit", "search", log.to_str().unwrap()].into_iter().chain(flags.iter().copied()).collect();
            let (code, text) = said(&run(&arguments).await);
            (code, text.lines().count())
        }
    };
    assert_eq!(search(&["--subject", "user-b"]).await, (0, 1));
    assert_eq!(search(&["--outcome", "permitted", "--name", "read_file"]).await, (0, 2));
    assert_eq!(search(&["--outcome", "permitted", "--limit", "1"]).await, (0, 1));
    assert_eq!(search(&["--rule", "nobody-wipes"]).await, (0, 1));
    assert_eq!(search(&["--since", "2000-01-01T00:00:00Z"]).await, (0, 4));
    assert_eq!(search(&["--until", "2000-01-01T00:00:00Z"]).await, (1, 0));
    assert_eq!(search(&["--since", "yesterday"]).await.0, 2);
}

#[tokio::test]
async fn a_collector_gets_each_line_as_it_stands_in_the_file() {
    type Kept = Arc<Mutex<Vec<Bytes>>>;
    async fn take(State(kept): State<Kept>, body: Bytes) {
        kept.lock().unwrap().push(body);
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/logs", listener.local_addr().unwrap());
    let kept = Kept::default();
    let router = axum::Router::new().route("/v1/logs", axum::routing::post(take)).with_state(kept.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let mut world = World::with(|config| config["audit"]["otlp"] = json!({"endpoint": url})).await;
    world.calls(3).await;
    world.stopped("TERM").await;
    let mut got = Vec::new();
    for export in kept.lock().unwrap().iter() {
        let read = ExportLogsServiceRequest::decode(export.clone()).unwrap();
        for record in &read.resource_logs[0].scope_logs[0].log_records {
            let Some(Any::StringValue(line)) = record.body.clone().unwrap().value else { panic!("a text") };
            got.push(line);
        }
    }
    assert_eq!(got, lines(&world.log()));
    // What the collector keeps can be verified as the file can.
    let copy = world.folder.path().join("copy");
    rewrite(&copy, &got);
    assert_eq!(verify(&[&copy], &["--complete"]).await.0, 0);
}

#[tokio::test]
async fn a_collector_that_is_away_holds_nothing_up_and_its_losses_are_counted() {
    let world = World::with(|config| config["audit"]["otlp"] = json!({"endpoint": "http://127.0.0.1:1/v1/logs"})).await;
    world.calls(3).await;
    eventually("losses to be counted", || async {
        (world.gateway.metrics().await.sum("doorward_audit_copies_dropped_total", "") >= 1.0).then_some(())
    })
    .await;
    assert_eq!(world.gateway.audited(3, |_| true).await.len(), 3);
}

#[tokio::test]
async fn a_copy_on_standard_output_has_the_same_lines() {
    let mut setup = Setup::new().await;
    setup.config["audit"]["stdout"] = json!(true);
    let world = setup.start().await;
    world.calls(1).await;
    let mut config = world.config.clone();
    drop(world.gateway);
    // Another one, whose standard output somebody reads.
    config["listen"][0]["address"] = json!(format!("127.0.0.1:{}", free_port()));
    config["admin"]["address"] = json!(format!("127.0.0.1:{}", free_port()));
    let file = world.folder.path().join("again.yaml");
    std::fs::write(&file, yaml(&config)).unwrap();
    let log = world.folder.path().join("audit.jsonl");
    let before = lines(&log).len();
    let child = Command::new(env!("CARGO_BIN_EXE_doorward"))
        .args(["serve", "--config"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("a begin record", || async { (lines(&log).len() > before).then_some(()) }).await;
    // Until then a signal just ends it.
    let ready = format!("http://{}/readyz", config["admin"]["address"].as_str().unwrap());
    eventually("readiness", async || world.http.get(&ready).send().await.is_ok_and(|answer| answer.status() == 200).then_some(())).await;
    assert!(Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status().unwrap().success());
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let copy: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert!(!copy.is_empty());
    assert_eq!(copy[..], lines(&log)[before..before + copy.len()]);
}

#[tokio::test]
async fn replay_tells_what_a_proposed_configuration_would_change_for_whom_and_how_often() {
    let world = World::start().await;
    world.calls(3).await;
    world.tool("read_file").token(&world.tb()).send().await.is(200);
    world.tool("wipe").token(&world.tb()).send().await.is(403);
    world.tool("restart").token(&world.ta()).send().await.is(403);
    world.modern("tools/call", json!({"name": "read_path", "arguments": {"path": "/pub/a"}})).token(&world.ta()).send().await.is(200);
    world.modern("tools/list", json!({})).token(&world.ta()).send().await.is(200);
    world.tool("read_file").send().await.is(401);
    world.gateway.audited(9, |_| true).await;
    let log = world.log();
    let replay = |config: Value, flags: &'static [&'static str]| {
        let (file, log) = (world.folder.path().join("proposed.yaml"), log.clone());
        async move {
            std::fs::write(&file, yaml(&config)).unwrap();
            let arguments = ["replay", "--config", file.to_str().unwrap(), log.to_str().unwrap()];
            let arguments: Vec<&str> = arguments.into_iter().chain(flags.iter().copied()).collect();
            said(&run(&arguments).await)
        }
    };
    // The same again: only what depends on arguments stays open.
    let (code, text) = replay(world.config.clone(), &["--json"]).await;
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        [&told["replayed"], &told["same"], &told["would_be_permitted"], &told["would_be_refused"], &told["undecidable"]],
        [&json!(8), &json!(7), &json!(0), &json!(0), &json!(1)],
        "{text}"
    );
    assert_eq!((&told["changes"][0]["reason"], &told["changes"][0]["name"]), (&json!("arguments"), &json!("read_path")));
    assert_eq!(code, 1);
    assert_eq!(replay(world.config.clone(), &["--allow-undecided"]).await.0, 0);
    // Narrower for one, wider for another.
    let mut proposed = world.config.clone();
    let rules = proposed["upstreams"]["files"]["rules"].as_array_mut().unwrap();
    rules[0] = json!({"name": "anybody-wipes", "tools": ["wipe"], "scopes": ["files:read"]});
    rules[1]["subjects"] = json!(["user-b"]);
    rules[5] = json!({"name": "restarters", "tools": ["restart"], "groups": ["sre"]});
    let (code, text) = replay(proposed, &["--json"]).await;
    let told: Value = serde_json::from_str(&text).unwrap();
    let changes: Vec<_> = told["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
            (text("would"), text("subject"), text("name"), text("reason"), one["count"].as_u64().unwrap())
        })
        .collect();
    let expect = |would: &str, subject: &str, name: &str, reason: &str, count: u64| {
        (would.to_owned(), subject.to_owned(), name.to_owned(), reason.to_owned(), count)
    };
    assert_eq!(
        changes,
        [
            expect("permitted", "user-b", "wipe", "permitted", 1),
            expect("refused", "user-a", "read_file", "subjects", 3),
            expect("undecidable", "user-a", "read_path", "arguments", 1),
        ],
        "{text}"
    );
    assert_eq!(code, 1);
    // An upstream that is gone, and an issuer that is no longer accepted.
    let mut gone = world.config.clone();
    gone["upstreams"].as_object_mut().unwrap().remove("files");
    let (_, text) = replay(gone, &[]).await;
    assert!(text.contains("would be refused:\n  3 x files tools/call read_file for user-a by client-one: not_found"), "{text}");
    let mut moved = world.config.clone();
    moved["issuers"]["corp"]["issuer"] = json!("https://other.example");
    let (_, text) = replay(moved, &[]).await;
    assert!(text.contains("token_issuer") && !text.contains("would be permitted:"), "{text}");
    // A configuration that is wrong is told as everywhere.
    assert_eq!(replay(json!({"public_url": "x"}), &[]).await.0, 1);
}

#[tokio::test]
async fn values_of_arguments_are_recorded_where_an_upstream_opts_in_and_replay_decides_by_them() {
    let world = World::with(|config| {
        config["upstreams"]["files"]["audit"] = json!({"arguments": {"read_path": ["path"]}});
    })
    .await;
    let call = async |tool: &str, arguments: Value| {
        world.modern("tools/call", json!({"name": tool, "arguments": arguments})).token(&world.ta()).send().await.status
    };
    assert_eq!(call("read_path", json!({"path": "/pub/a", "note": "s3cr3t-note"})).await, 200);
    assert_eq!(call("read_path", json!({"path": "/etc/shadow"})).await, 403);
    assert_eq!(call("read_path", json!({"path": format!("/pub/{}", "x".repeat(2_000))})).await, 200);
    assert_eq!(call("read_file", json!({"path": "/pub/secret-elsewhere"})).await, 200);
    let records = world.gateway.audited(4, |record| record["operation"] == "tools/call").await;
    assert_eq!(records[0]["values"], json!({"path": {"value": "/pub/a"}}));
    assert_eq!(records[1]["values"], json!({"path": {"value": "/etc/shadow"}}));
    assert_eq!(records[2]["values"], json!({"path": {"bytes": 2_007}}));
    assert_eq!(records[3].get("values"), None);
    let log = std::fs::read_to_string(&world.gateway.audit_file).unwrap();
    assert!(!log.contains("s3cr3t-note") && !log.contains("secret-elsewhere"), "only what was named");

    let mut proposed = world.config.clone();
    proposed["upstreams"]["files"]["rules"][4]["arguments"]["path"]["pattern"] = json!("^/pub/b");
    let file = world.folder.path().join("proposed.yaml");
    write_config(&file, &yaml(&proposed));
    let log = world.gateway.audit_file.to_str().unwrap();
    let output = run(&["replay", "--config", file.to_str().unwrap(), log, "--json"]).await;
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let counts = ["same", "would_be_permitted", "would_be_refused", "undecidable"].map(|name| told[name].as_u64().unwrap());
    assert_eq!(counts, [2, 0, 1, 1], "{told:#}");
}
