//! Start and stop: what a supervisor sees.

use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::gateway::{exit, launch, write_config, yaml};
use crate::support::{Answer, Setup, World, eventually, soon};

/// A process that does not outlive its test.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `serve` with what must not start: it ends soon, not with 0, and says why.
async fn does_not_start(child: Child) -> String {
    let begun = Instant::now();
    let mut child = Reaped(child);
    let mut pipe = child.0.stderr.take().unwrap();
    let status = exit(&mut child.0).await;
    // A second is the bar; a machine that is busy with other tests takes its time to start anything.
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(!status.success(), "{status}");
    assert!(status.code().is_some(), "ended by a signal: {status}");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut pipe, &mut text).unwrap();
    assert!(!text.contains("panicked"), "{text}");
    text
}

#[tokio::test]
async fn c_25_a_bad_configuration_does_not_start_and_names_its_place() {
    let setup = Setup::new().await;
    let file = setup.folder.path().join("doorward.yaml");
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 6] = [
        ("rulez", |config| config["upstreams"]["files"]["rulez"] = json!([])),
        ("files:raed", |config| config["upstreams"]["files"]["rules"][1]["scopes"] = json!(["files:raed"])),
        ("nobody", |config| config["upstreams"]["files"]["issuers"] = json!(["nobody"])),
        ("public_url", |config| config["public_url"] = json!("not a url")),
        ("/no/such/secret", |config| config["upstreams"]["files"]["credential"] = json!({"bearer_file": "/no/such/secret"})),
        ("/no/such/cert", |config| config["listen"][0]["tls"] = json!({"certificate": "/no/such/cert", "key": "/no/such/key"})),
    ];
    for (named, change) in changes {
        let mut config = setup.config.clone();
        change(&mut config);
        write_config(&file, &yaml(&config));
        let told = does_not_start(launch(&file)).await;
        assert!(told.contains(named) && told.contains("doorward.yaml:"), "{named}: {told}");
    }
}

#[tokio::test]
async fn c_25_what_is_no_configuration_does_not_start() {
    let setup = Setup::new().await;
    let file = setup.folder.path().join("doorward.yaml");
    for text in ["", "public_url: [", "- a\n- b\n", "{}", "\u{0}", "a: 1\n---\nb: 2\n"] {
        write_config(&file, text);
        let told = does_not_start(launch(&file)).await;
        assert!(told.contains("doorward.yaml"), "{text:?}: {told}");
    }
    let told = does_not_start(launch(&setup.folder.path().join("missing.yaml"))).await;
    assert!(told.contains("missing.yaml"), "{told}");
}

#[tokio::test]
async fn c_25_a_port_in_use_does_not_start() {
    let setup = Setup::new().await;
    let file = setup.folder.path().join("doorward.yaml");
    write_config(&file, &yaml(&setup.config));
    for key in ["/listen/0/address", "/admin/address"] {
        let address = setup.config.pointer(key).unwrap().as_str().unwrap().to_owned();
        let _taken = std::net::TcpListener::bind(&address).unwrap();
        let told = does_not_start(launch(&file)).await;
        assert!(told.contains(&address), "{told}");
    }
}

#[tokio::test]
async fn c_25_an_audit_file_that_cannot_be_written_does_not_start() {
    let mut setup = Setup::new().await;
    setup.config["audit"]["file"] = json!("/no/such/folder/audit.jsonl");
    let file = setup.folder.path().join("doorward.yaml");
    write_config(&file, &yaml(&setup.config));
    let told = does_not_start(launch(&file)).await;
    assert!(told.contains("/no/such/folder"), "{told}");
}

fn check(file: &std::path::Path, flags: &[&str]) -> (Option<i32>, String, String) {
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_doorward"))
        .args(["check", "--config"])
        .arg(file)
        .args(flags)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (done.status.code(), text(done.stdout), text(done.stderr))
}

#[tokio::test]
async fn check_tells_good_from_bad_without_serving() {
    let setup = Setup::new().await;
    let file = setup.folder.path().join("doorward.yaml");
    write_config(&file, &yaml(&setup.config));
    let (code, out, err) = check(&file, &[]);
    assert_eq!(code, Some(0), "{out}{err}");
    let mut bad = setup.config.clone();
    bad["upstreams"]["files"]["rulez"] = json!([]);
    bad["issuers"]["corp"]["algorithms"] = json!(["HS256"]);
    write_config(&file, &yaml(&bad));
    let (code, out, err) = check(&file, &[]);
    assert_eq!(code, Some(1), "{out}{err}");
    // Both problems, not only the first.
    let told = format!("{out}{err}");
    assert!(told.contains("rulez") && told.contains("doorward.yaml:"), "{told}");
    let (code, out, _) = check(&file, &["--json"]);
    assert_eq!(code, Some(1));
    serde_json::from_str::<Value>(&out).unwrap_or_else(|error| panic!("{error}: {out}"));
    assert_eq!(setup.issuer.metadata_fetches(), 0);
}

#[tokio::test]
async fn health_and_readiness_are_told_on_the_admin_address() {
    let world = World::start().await;
    assert_eq!(world.gateway.admin("/healthz").await.0, 200);
    assert_eq!(world.gateway.admin("/readyz").await.0, 200);
    assert_eq!(world.gateway.admin("/nowhere").await.0, 404);
}

#[tokio::test]
async fn a_gateway_that_says_it_is_ready_takes_calls() {
    for _ in 0..3 {
        let setup = Setup::new().await;
        let http = crate::support::client::client();
        let _gateway = crate::support::Gateway::start_until_ready(setup.folder.path(), &setup.config, &http).await;
        let address = setup.config["listen"][0]["address"].as_str().unwrap();
        assert!(tokio::net::TcpStream::connect(address).await.is_ok(), "ready, and nobody listens");
    }
}

/// Stops the gateway with five calls in flight whose answers are of this media type.
async fn stopped_with_calls_in_flight(media_type: &str, answer: &'static str) {
    let mut world = World::start().await;
    let (answers, feeds): (Vec<_>, Vec<_>) = (0..5).map(|_| Answer::held(media_type)).unzip();
    let mut answers = answers.into_iter();
    world.files.script(move |_| answers.next());
    let calls: Vec<_> = (0..5).map(|_| tokio::spawn(world.tool("read_file").token(&world.ta()).send())).collect();
    world.files.arrived(5).await;
    world.gateway.signal("TERM");
    // Nobody new comes in.
    eventually("the listener to close", || async { tokio::net::TcpStream::connect(&world.address).await.is_err().then_some(()) }).await;
    for feed in feeds {
        // Where the gateway has given up, the reply below says so.
        let _ = feed.send(Ok(Bytes::from_static(answer.as_bytes()))).await;
    }
    for call in calls {
        let reply = soon("a call in flight", call).await.unwrap();
        assert!(reply.is(200).text().contains("\"id\":1"), "{reply:?}");
    }
    assert_eq!(world.gateway.exit().await.code(), Some(0));
    assert_eq!(world.gateway.audit().iter().filter(|line| line["outcome"] == "permitted").count(), 5);
}

#[tokio::test]
async fn c_16_calls_in_flight_finish_when_the_gateway_is_told_to_stop() {
    stopped_with_calls_in_flight("application/json", r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[]}}"#).await;
}

#[tokio::test]
async fn c_16_calls_answered_by_a_stream_finish_as_well() {
    // Many servers answer every call with a stream of one event.
    let event = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"resultType\":\"complete\",\"content\":[]}}\n\n";
    stopped_with_calls_in_flight("text/event-stream", event).await;
}

#[tokio::test]
async fn c_16_a_stop_without_work_is_quick() {
    let mut world = World::start().await;
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    let begun = Instant::now();
    world.gateway.signal("TERM");
    assert_eq!(world.gateway.exit().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn c_16_a_stream_ends_when_the_wait_is_over() {
    let mut world = World::with(|config| config["limits"] = json!({"drain_timeout": "1s"})).await;
    let (answer, feed) = Answer::stream();
    world.files.once(answer);
    let mut response = world.tool("read_file").token(&world.ta()).open().await;
    feed.send(Ok(Bytes::from_static(b": hello\n\n"))).await.unwrap();
    soon("the first bytes", response.chunk()).await.unwrap().unwrap();
    let begun = Instant::now();
    world.gateway.signal("TERM");
    while let Ok(Some(_)) = soon("the end of the stream", response.chunk()).await {}
    assert_eq!(world.gateway.exit().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    soon("the end of the upstream's call", feed.closed()).await;
    assert_eq!(world.gateway.audit().len(), 1);
}

#[tokio::test]
async fn an_interrupt_stops_as_well() {
    let mut world = World::start().await;
    world.gateway.signal("INT");
    let status = world.gateway.exit().await;
    assert!(!world.gateway.stderr().contains("panicked"), "{status}: {}", world.gateway.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_16_under_load_every_call_that_was_taken_is_answered_and_recorded() {
    let mut world = World::start().await;
    let answered = Arc::new(AtomicUsize::new(0));
    let load: Vec<_> = (0..8)
        .map(|_| {
            let (call, answered) = (world.tool("read_file").token(&world.ta()), answered.clone());
            tokio::spawn(async move {
                while let Ok(reply) = call.try_send().await {
                    reply.is(200);
                    answered.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    eventually("some load", || async { (answered.load(SeqCst) > 50).then_some(()) }).await;
    world.gateway.signal("TERM");
    for load in load {
        soon("the end of the load", load).await.unwrap();
    }
    assert_eq!(world.gateway.exit().await.code(), Some(0));
    let permitted = world.gateway.audit().iter().filter(|line| line["outcome"] == "permitted").count();
    assert_eq!((world.files.count(), permitted), (answered.load(SeqCst), answered.load(SeqCst)));
}

#[tokio::test]
async fn a_restart_appends_to_the_audit() {
    let mut world = World::start().await;
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    world.gateway.signal("TERM");
    world.gateway.exit().await;
    let before = world.gateway.audit().len();
    let again = crate::support::Gateway::start(world.folder.path(), &world.config, &world.http).await;
    world.tool("wipe").token(&world.ta()).send().await.is(403);
    again.audited(before + 1, |_| true).await;
}
