//! The database is slow, stuck or read-only, or its disk is full: no call waits for it, nothing is half done, and what was
//! acknowledged holds. That it is away, crashes and comes back is shown in `revocation`, `surfaces` and `crash`; the audit
//! log's full disk in `record` and `admin_api`.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::admin_api::{secret, tokens};
use crate::revocation::share;
use crate::support::postgres::Postgres;
use crate::support::{Gateway, Setup, World, eventually};

/// How late bytes come through; none is never.
type Late = watch::Receiver<Option<Duration>>;

/// A wire to the database, and the hand on it.
async fn wire(to: u16) -> (u16, watch::Sender<Option<Duration>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (hand, late) = watch::channel(Some(Duration::ZERO));
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(("127.0.0.1", to)).await else { continue };
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::spawn(pass(near_in, far_out, late.clone()));
            tokio::spawn(pass(far_in, near_out, late.clone()));
        }
    });
    (port, hand)
}

async fn pass(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, mut late: Late) {
    let mut bytes = [0; 8192];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let Ok(late) = late.wait_for(Option::is_some).await.map(|late| *late) else { return };
        tokio::time::sleep(late.unwrap_or_default()).await;
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

async fn act(world: &World, path: &str, body: Value) -> (u16, Value) {
    let ask = world.http.post(format!("{}/admin/v1/{path}", world.gateway.admin)).bearer_auth(secret("operator"));
    let answer = ask.header("content-type", "application/json").body(body.to_string()).send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

async fn revoke(world: &World, subject: &str) -> (u16, Value) {
    act(world, "revocations/new", json!({"subject": subject, "issuer": "corp", "reason": "laptop stolen"})).await
}

async fn status(world: &World, subject: &str) -> u16 {
    let token = world.token(|token| token.claims["sub"] = json!(subject));
    world.tool("read_file").token(&token).send().await.status
}

async fn becomes(world: &World, subject: &str, expected: u16) {
    eventually(&format!("{subject} to be answered with {expected}"), async || (status(world, subject).await == expected).then_some(()))
        .await;
}

fn operations(world: &World, operation: &str) -> usize {
    world.gateway.records().iter().filter(|record| record["operation"] == operation && record["outcome"] == "answered").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issue_5_a_slow_database_slows_no_call_and_a_stuck_one_is_a_refusal_until_it_answers() {
    let postgres = Postgres::start().await;
    let (port, hand) = wire(postgres.port()).await;
    let mut setup = Setup::new().await;
    share(&mut setup, &Postgres::url_at(port));
    setup.config["store"]["revocation_max_age"] = json!("4s");
    setup.config["admin"]["tokens"] = tokens(&setup);
    let world = setup.start().await;
    assert_eq!(status(&world, "bob").await, 200);

    let late = Duration::from_millis(100);
    hand.send_replace(Some(late));
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(status(&world, "bob").await, 200);
    }
    // One question to the database takes twice as long as what is allowed here for a call.
    assert!(begun.elapsed() < 20 * late, "{:?}", begun.elapsed());
    let (code, told) = revoke(&world, "alice").await;
    assert_eq!(code, 200, "{told}");
    becomes(&world, "alice", 401).await;
    assert_eq!(status(&world, "bob").await, 200);

    hand.send_replace(None);
    let (code, told) = revoke(&world, "carol").await;
    assert_eq!((code, &told["error"]), (503, &json!("store_unavailable")));
    becomes(&world, "bob", 503).await;
    assert_eq!(world.gateway.admin("/readyz").await.0, 503);
    world.gateway.audited(1, |record| record["reason"] == "revocations_unknown").await;
    hand.send_replace(Some(Duration::ZERO));
    becomes(&world, "bob", 200).await;
    assert_eq!((status(&world, "alice").await, operations(&world, "admin/revoke")), (401, 1));
}

#[tokio::test]
async fn issue_5_a_read_only_database_takes_no_change_and_what_it_knows_rules_on() {
    let mut postgres = Postgres::start().await;
    let mut setup = Setup::new().await;
    share(&mut setup, &postgres.url());
    setup.config["admin"]["tokens"] = tokens(&setup);
    let world = setup.start().await;
    assert_eq!(revoke(&world, "alice").await.0, 200);
    becomes(&world, "alice", 401).await;

    postgres.crash();
    postgres.resume_read_only().await;
    let (code, told) = eventually("an answer of the database", async || {
        let (code, told) = revoke(&world, "bob").await;
        told["message"].as_str().is_some_and(|text| text.contains("read-only")).then_some((code, told))
    })
    .await;
    assert_eq!((code, &told["error"]), (503, &json!("store_unavailable")), "{told}");
    // For longer than it may go without news.
    let begun = Instant::now();
    becomes(&world, "bob", 200).await;
    while begun.elapsed() < Duration::from_secs(4) {
        assert_eq!((status(&world, "bob").await, status(&world, "alice").await), (200, 401));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    postgres.crash();
    postgres.resume().await;
    eventually("a revocation", async || (revoke(&world, "bob").await.0 == 200).then_some(())).await;
    becomes(&world, "bob", 401).await;
    assert_eq!(operations(&world, "admin/revoke"), 2, "what was not done has no record that it was");
}

/// No file of the process may grow beyond this.
fn limit_files(world: &World, bytes: &str) {
    let limit = Command::new("prlimit").args(["--pid", &world.gateway.pid().to_string(), &format!("--fsize={bytes}:")]).status();
    assert!(limit.unwrap().success());
}

#[tokio::test]
async fn issue_5_on_a_full_disk_the_store_takes_no_change_and_what_it_knows_rules_on() {
    let mut setup = Setup::new().await;
    let file = setup.folder.path().join("doorward.db");
    setup.config["store"] = json!(format!("sqlite:{}", file.display()));
    setup.config["admin"]["tokens"] = tokens(&setup);
    let mut world = setup.start().await;
    world.gateway.signal("TERM");
    world.gateway.exit().await;
    world.gateway = Gateway::start_for_a_full_disk(world.folder.path(), &world.config, &world.http).await;
    assert_eq!(revoke(&world, "alice").await.0, 200);
    becomes(&world, "alice", 401).await;

    let wal = std::fs::metadata(format!("{}-wal", file.display())).unwrap().len();
    let audit = std::fs::metadata(&world.gateway.audit_file).unwrap().len();
    assert!(wal > 2 * audit, "the audit log still has room: {wal} {audit}");
    limit_files(&world, &wal.to_string());
    let (code, told) = revoke(&world, "bob").await;
    assert_eq!((code, &told["error"]), (503, &json!("store_unavailable")), "{told}");
    let approve = json!({"client": "desk-1", "issuer": "corp", "reason": "asked for", "owner": "Team A", "purpose": "desk"});
    assert_eq!(act(&world, "client/approve", approve.clone()).await.0, 503);
    for _ in 0..5 {
        assert_eq!((status(&world, "bob").await, status(&world, "alice").await), (200, 401));
    }
    assert_eq!(world.gateway.admin("/readyz").await.0, 200);

    limit_files(&world, "unlimited");
    assert_eq!((revoke(&world, "bob").await.0, act(&world, "client/approve", approve).await.0), (200, 200));
    becomes(&world, "bob", 401).await;
    assert_eq!((operations(&world, "admin/revoke"), operations(&world, "admin/client_approve")), (2, 1));
}
