use std::time::SystemTime;

use futures_util::future::BoxFuture;

use super::*;
use crate::config::{self, Config, StorePlace};
use crate::control::Witness;

const CONFIG: &str = r#"
public_url: https://mcp.example.com
listen: [{ address: "127.0.0.1:1" }]
issuers: { corp: { issuer: https://login.example.com } }
upstreams:
  files: { path: /mcp, url: "http://127.0.0.1:2/mcp", issuers: [corp], rules: [{ tools: [read_file], subjects: [alice] }] }
"#;

struct Nobody;

impl Witness for Nobody {
    fn saw<'a>(&'a self, _: &'static str, _: String, _: &'a str) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A disk that is full.
struct Full;

impl Witness for Full {
    fn saw<'a>(&'a self, _: &'static str, _: String, _: &'a str) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(std::future::ready(Err(Fault::Unrecorded(String::new()))))
    }
}

/// The configuration, and a store.
async fn world(folder: &tempfile::TempDir) -> (Config, Store) {
    let file = folder.path().join("doorward.yaml");
    std::fs::write(&file, CONFIG).expect("written");
    let config = config::load(&file, &|_| None).expect("a configuration").config;
    (config, Store::open(&StorePlace::Sqlite(folder.path().join("doorward.db"))).await.expect("opens"))
}

#[tokio::test]
async fn what_is_revoked_together_is_revoked_though_no_record_can_be_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let (config, store) = world(&folder).await;
    let hand = Hand { config: &config, store: &store, now: SystemTime::now(), actor: "mia", witness: &Full };
    let wanted = Wanted {
        client: Some("app".into()),
        subject: Some("alice".into()),
        issuer: Some("corp".into()),
        reason: "laptop stolen".into(),
        ..Wanted::default()
    };
    let told = revoke(&hand, &Bounds::default(), &wanted).await.expect_err("it is said that there is no record");
    assert_eq!(told, Fault::Unrecorded(String::new()));
    assert_eq!(store.since(0, 10).await.expect("read").len(), 2);
}

/// Up to when the tokens of a client are meant, where the clock of whoever revokes differs from the database's.
async fn until(config: &Config, store: &Store, now: SystemTime, before: Option<&str>) -> u64 {
    let hand = Hand { config, store, now, actor: "mia", witness: &Nobody };
    let before = before.map(str::to_owned);
    let wanted = Wanted { client: Some("app".into()), reason: "laptop stolen".into(), before, ..Wanted::default() };
    let done = revoke(&hand, &Bounds::default(), &wanted).await.expect("revoked");
    let found = store.since(done[0].seq - 1, 1).await.expect("read");
    found[0].1.issued_until.expect("a time")
}

#[tokio::test]
async fn issue_5_a_clock_that_is_minutes_behind_leaves_no_token_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let (config, store) = world(&folder).await;
    let (now, minutes) = (SystemTime::now(), Duration::from_secs(300));
    assert!(until(&config, &store, now - minutes, None).await >= seconds(now), "behind");
    assert_eq!(until(&config, &store, now + minutes, None).await, seconds(now + minutes), "ahead: more is refused, and nothing less");
    let named = written(seconds(now) - 600);
    assert_eq!(until(&config, &store, now - minutes, Some(&named)).await, seconds(now) - 601, "a time that is said is meant");
}
