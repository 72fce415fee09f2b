//! Several servers behind one upstream: who is given a call, what is sent again, and what a server that fails costs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::support::gateway::free_port;
use crate::support::tls::Identity;
use crate::support::upstream::{Seen, plain};
use crate::support::{Answer, Setup, Upstream, World, eventually};

/// A world whose files endpoint has these servers.
async fn behind(urls: &[&str]) -> World {
    World::with(|config| config["upstreams"]["files"]["url"] = json!(urls)).await
}

fn dead() -> String {
    format!("http://127.0.0.1:{}/mcp", free_port())
}

/// What metrics call the server.
fn label(url: &str) -> String {
    url.trim_start_matches("http://").trim_end_matches("/mcp").to_owned()
}

/// Whether the metrics say that the server is given calls; none where they do not know it.
async fn healthy(world: &World, url: &str) -> Option<bool> {
    let metrics = world.gateway.metrics().await;
    let address = format!("address=\"{}\"", label(url));
    let mut series = metrics.series("doorward_upstream_healthy");
    series.find(|line| line.contains(&address)).map(|line| line.ends_with(" 1"))
}

async fn call(world: &World, token: &str) -> u16 {
    world.tool("read_file").token(token).send().await.status
}

/// A call that can be told from all others.
async fn numbered(world: &World, token: &str, number: usize) -> u16 {
    let params = json!({"name": "read_file", "arguments": {"number": number}});
    world.modern("tools/call", params).token(token).send().await.status
}

/// How often each number was delivered.
fn delivered(servers: &[&Upstream]) -> HashMap<u64, usize> {
    let mut counts = HashMap::new();
    for seen in servers.iter().flat_map(|server| server.seen()) {
        if let Some(number) = seen.json()["params"]["arguments"]["number"].as_u64() {
            *counts.entry(number).or_default() += 1;
        }
    }
    counts
}

fn is_list(seen: &Seen) -> bool {
    seen.json()["method"] == "tools/list"
}

#[tokio::test]
async fn calls_are_shared_by_all_servers() {
    let (one, other, third) = (Upstream::start().await, Upstream::start().await, Upstream::start().await);
    let world = behind(&[&one.url, &other.url, &third.url]).await;
    let token = world.ta();
    for _ in 0..9 {
        assert_eq!(call(&world, &token).await, 200);
    }
    assert_eq!([one.count(), other.count(), third.count()], [3, 3, 3]);
    // Each is called by its own name.
    for server in [&one, &other, &third] {
        assert_eq!(server.seen()[0].header("host"), label(&server.url));
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn one_of_three_that_is_down_from_the_start_costs_no_call() {
    let (one, other, down) = (Upstream::start().await, Upstream::start().await, dead());
    let world = behind(&[&one.url, &down, &other.url]).await;
    let token = world.ta();
    for number in 0..30 {
        assert_eq!(numbered(&world, &token, number).await, 200);
    }
    let counts = delivered(&[&one, &other]);
    assert!(counts.len() == 30 && counts.values().all(|count| *count == 1), "{counts:?}");
    assert!(one.count() >= 10 && other.count() >= 10, "{} {}", one.count(), other.count());
    assert_eq!(healthy(&world, &down).await, Some(false));
    assert_eq!(healthy(&world, &one.url).await, Some(true));
    assert_eq!(world.gateway.admin("/readyz").await.0, 200);
}

#[tokio::test]
async fn c_07_a_server_that_dies_under_load_fails_no_list_and_no_call_is_delivered_twice() {
    let (stays, (dies, life)) = (Upstream::start().await, Upstream::mortal(0).await);
    let world = Arc::new(behind(&[&stays.url, &dies.url]).await);
    let token = world.ta();
    let end = {
        let dies = dies.clone();
        tokio::spawn(async move {
            dies.arrived(40).await;
            drop(life);
        })
    };
    let answers: Vec<(usize, u16)> = futures_util::stream::iter(0..400)
        .map(|number| {
            let (world, token) = (world.clone(), token.clone());
            async move {
                let status = match number % 2 {
                    0 => world.modern("tools/list", json!({})).token(&token).send().await.status,
                    _ => numbered(&world, &token, number).await,
                };
                (number, status)
            }
        })
        .buffer_unordered(16)
        .collect()
        .await;
    end.await.unwrap();
    let failed: Vec<usize> = answers.iter().filter(|(_, status)| *status != 200).map(|(number, _)| *number).collect();
    assert!(failed.iter().all(|number| number % 2 == 1), "a list failed: {failed:?}");
    assert!(failed.len() <= 16, "more calls failed than were in flight: {failed:?}");
    assert!(answers.iter().all(|(_, status)| matches!(status, 200 | 502)));
    let counts = delivered(&[&stays, &dies]);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    assert!(stays.count() > 200);
}

#[tokio::test]
async fn what_may_have_had_its_effect_is_not_sent_to_another_server() {
    let (works, breaks) = (Upstream::start().await, Upstream::start().await);
    breaks.script(|_| Some(Answer::Die));
    let world = behind(&[&breaks.url, &works.url]).await;
    let token = world.ta();
    let mut failed = 0;
    for number in 0..12 {
        failed += usize::from(numbered(&world, &token, number).await == 502);
    }
    let counts = delivered(&[&works, &breaks]);
    assert!(counts.len() == 12 && counts.values().all(|count| *count == 1), "{counts:?}");
    assert_eq!(failed, breaks.count());
    assert!((1..=4).contains(&failed), "a server that breaks is left out: {failed}");
    assert_eq!(healthy(&world, &breaks.url).await, Some(false));
}

#[tokio::test]
async fn a_list_that_a_server_dies_over_is_answered_by_another() {
    let (works, breaks) = (Upstream::start().await, Upstream::start().await);
    breaks.script(|_| Some(Answer::Die));
    let world = behind(&[&breaks.url, &works.url]).await;
    for _ in 0..8 {
        let list = world.modern("tools/list", json!({})).token(&world.ta()).send().await;
        assert_eq!(list.is(200).names("tools", "name"), ["read_file", "read_path"]);
    }
    assert!(breaks.seen().iter().all(is_list) && breaks.count() >= 1);
    assert_eq!(works.count(), 8);
}

#[tokio::test]
async fn a_list_is_asked_again_once_where_a_kept_connection_turns_out_to_be_dead() {
    let world = World::start().await;
    let list = || world.modern("tools/list", json!({})).token(&world.ta()).send();
    list().await.is(200);
    world.files.once(Answer::Die);
    list().await.is(200);
    assert_eq!(world.files.count(), 3);
    // The only server, and a new connection each time: nothing says that a third time would help.
    world.files.script(|_| Some(Answer::Die));
    list().await.refuses(502, -31502);
    assert!(world.files.count() <= 5, "{}", world.files.count());
}

#[tokio::test]
async fn c_08_a_server_that_does_not_answer_is_given_no_more_calls() {
    let (fast, slow) = (Upstream::start().await, Upstream::start().await);
    slow.script(|_| Some(Answer::never().0));
    let world = Arc::new(behind(&[&slow.url, &fast.url]).await);
    let token = world.ta();
    let waiting = {
        let (world, token) = (world.clone(), token.clone());
        tokio::spawn(async move { call(&world, &token).await })
    };
    slow.arrived(1).await;
    for _ in 0..20 {
        assert_eq!(call(&world, &token).await, 200);
    }
    assert_eq!((slow.count(), fast.count()), (1, 20));
    // Slow is not broken.
    assert_eq!(healthy(&world, &slow.url).await, Some(true));
    waiting.abort();
}

#[tokio::test]
async fn c_07_where_all_are_down_calls_fail_at_once_and_succeed_as_soon_as_one_is_back() {
    let ports = [free_port(), free_port()];
    let urls = ports.map(|port| format!("http://127.0.0.1:{port}/mcp"));
    let world = behind(&[&urls[0], &urls[1]]).await;
    let token = world.ta();
    for _ in 0..10 {
        let begun = Instant::now();
        world.tool("read_file").token(&token).send().await.refuses(502, -31502);
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
    assert_eq!(healthy(&world, &urls[0]).await, Some(false));
    assert_eq!(world.gateway.admin("/readyz").await.0, 200, "the door itself is ready");
    let (back, _life) = Upstream::mortal(ports[1]).await;
    assert_eq!(call(&world, &token).await, 200);
    assert_eq!(back.count(), 1);
    assert_eq!(healthy(&world, &urls[1]).await, Some(true));
    assert_eq!(healthy(&world, &urls[0]).await, Some(false));
}

#[tokio::test]
async fn http2_servers_share_calls_too() {
    let (one, other, down) = (Upstream::h2c().await, Upstream::h2c().await, dead());
    let world = World::with(|config| {
        config["upstreams"]["files"]["url"] = json!([one.url, down, other.url]);
        config["upstreams"]["files"]["http2"] = json!(true);
    })
    .await;
    let token = world.ta();
    for number in 0..12 {
        assert_eq!(numbered(&world, &token, number).await, 200);
    }
    for server in [&one, &other] {
        assert!(server.count() >= 4);
        assert!(server.seen().iter().all(|seen| seen.version == http::Version::HTTP_2));
    }
}

#[tokio::test]
async fn a_name_with_an_address_that_nobody_listens_on_is_reached_at_the_other() {
    // `localhost` may be `::1` first, where this server is not.
    let server = Upstream::start().await;
    let world = behind(&[&server.url.replace("127.0.0.1", "localhost")]).await;
    let token = world.ta();
    for _ in 0..8 {
        assert_eq!(call(&world, &token).await, 200);
    }
    assert_eq!(server.count(), 8);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_502_and_not_a_wait() {
    let world = behind(&["http://nothing.invalid/mcp"]).await;
    let token = world.ta();
    let begun = Instant::now();
    world.tool("read_file").token(&token).send().await.refuses(502, -31502);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// A server whose health is what the test says, with checks twenty times a second.
async fn looked_after(checks: Value) -> (World, Upstream, Upstream) {
    let (ill, well) = (Upstream::start().await, Upstream::start().await);
    let world = World::with(|config| {
        config["upstreams"]["files"]["url"] = json!([ill.url, well.url]);
        config["upstreams"]["files"]["health"] = checks;
        config["upstreams"]["files"]["credential"] = json!({"bearer_env": "GATEWAY_TEST_SECRET"});
    })
    .await;
    (world, ill, well)
}

#[tokio::test]
async fn a_server_that_checks_find_ill_is_given_no_calls_until_they_find_it_well() {
    let (world, server, other) = looked_after(json!({"path": "/healthz", "interval": "50ms", "unhealthy": 2})).await;
    let is_check = |seen: &Seen| seen.path == "/healthz";
    other.script(move |seen| is_check(seen).then(|| Answer::text(200, "text/plain", "ok")));
    server.script(move |seen| is_check(seen).then(|| Answer::text(503, "text/plain", "ill")));
    eventually("the server to be ill", || async { (healthy(&world, &server.url).await == Some(false)).then_some(()) }).await;
    eventually("the other to be well", || async { (healthy(&world, &other.url).await == Some(true)).then_some(()) }).await;
    for _ in 0..10 {
        assert_eq!(call(&world, &world.ta()).await, 200);
    }
    assert!(server.seen().iter().all(is_check), "an ill server was given a call");
    server.script(move |seen| is_check(seen).then(|| Answer::text(200, "text/plain", "ok")));
    eventually("the server to be well", || async { (healthy(&world, &server.url).await == Some(true)).then_some(()) }).await;
    for _ in 0..4 {
        assert_eq!(call(&world, &world.ta()).await, 200);
    }
    assert!(server.seen().iter().any(|seen| !is_check(seen)));
    for check in server.seen().iter().filter(|seen| is_check(seen)) {
        assert_eq!(check.method, http::Method::GET);
        assert!(!check.text().contains("upstream-secret"), "{}", check.text());
        assert_eq!(check.header("host"), label(&server.url));
    }
}

#[tokio::test]
async fn a_check_without_a_path_asks_for_nothing_but_a_connection() {
    let down = free_port();
    let url = format!("http://127.0.0.1:{down}/mcp");
    let well = Upstream::start().await;
    let world = World::with(|config| {
        config["upstreams"]["files"]["url"] = json!([url, well.url]);
        config["upstreams"]["files"]["health"] = json!({"interval": "50ms", "unhealthy": 1});
    })
    .await;
    eventually("the server to be ill", || async { (healthy(&world, &url).await == Some(false)).then_some(()) }).await;
    assert_eq!(healthy(&world, &well.url).await, Some(true));
    let (back, _life) = Upstream::mortal(down).await;
    eventually("the server to be well", || async { (healthy(&world, &url).await == Some(true)).then_some(()) }).await;
    assert_eq!((back.count(), well.count()), (0, 0));
}

#[tokio::test]
async fn a_server_that_is_taken_out_of_the_configuration_is_given_no_more_calls() {
    let (leaves, stays) = (Upstream::start().await, Upstream::start().await);
    let mut world = behind(&[&leaves.url, &stays.url]).await;
    let token = world.ta();
    for _ in 0..4 {
        assert_eq!(call(&world, &token).await, 200);
    }
    let before = leaves.count();
    assert!(before >= 1);
    world.config["upstreams"]["files"]["url"] = json!([stays.url]);
    world.gateway.reload(&world.config).await;
    for _ in 0..6 {
        assert_eq!(call(&world, &token).await, 200);
    }
    assert_eq!(leaves.count(), before);
    eventually("the metric to go", || async { healthy(&world, &leaves.url).await.is_none().then_some(()) }).await;
    assert_eq!(healthy(&world, &stays.url).await, Some(true));
}

/// Gives the same session to everybody who begins one, as a server that counts from one does.
fn counting(seen: &Seen) -> Option<Answer> {
    (seen.json()["method"] == "initialize").then(|| plain(seen).with("mcp-session-id", "1"))
}

#[tokio::test]
async fn item_s32_a_session_never_reaches_a_server_where_another_has_the_same_id() {
    let (left, life) = Upstream::mortal(0).await;
    let right = Upstream::start().await;
    left.script(counting);
    right.script(counting);
    let mut world = behind(&[&left.url, &right.url]).await;
    let begin = |world: &World| {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}});
        world.legacy("initialize", params).token(&world.ta())
    };
    // One session at each of the two.
    let (mut at_left, mut at_right) = (None, None);
    while at_left.is_none() || at_right.is_none() {
        let before = left.count();
        let session = begin(&world).send().await.is(200).header("mcp-session-id");
        *(if left.count() > before { &mut at_left } else { &mut at_right }) = Some(session);
    }
    let within = |world: &World, session: &Option<String>| {
        world.legacy("tools/list", json!({})).header("mcp-session-id", session.as_ref().unwrap()).token(&world.ta())
    };
    for _ in 0..4 {
        let before = (left.count(), right.count());
        within(&world, &at_left).send().await.is(200);
        within(&world, &at_right).send().await.is(200);
        assert_eq!((left.count(), right.count()), (before.0 + 1, before.1 + 1));
    }
    // It is gone: the other one is not asked in its place, and a client that begins anew finds it.
    drop(life);
    let before = right.count();
    within(&world, &at_left).send().await.is(404);
    assert_eq!(right.count(), before);
    within(&world, &at_right).send().await.is(200);
    begin(&world).send().await.is(200);
    // It is taken out of the configuration, or another one has its place.
    world.config["upstreams"]["files"]["url"] = json!([right.url]);
    world.gateway.reload(&world.config).await;
    let before = right.count();
    within(&world, &at_left).send().await.is(404);
    assert_eq!(right.count(), before);
    within(&world, &at_right).send().await.is(200);
    world.gateway.audited(2, |line| line["reason"] == "unknown_session").await;
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_server_that_asks_and_changes_with_its_files() {
    let (server, ours, strange) = (Identity::new(), Identity::new(), Identity::new());
    let upstream = Upstream::tls_by(server.acceptor_for(&ours)).await;
    let mut setup = Setup::new().await;
    let ca = setup.folder.path().join("ca.pem");
    std::fs::write(&ca, &server.certificate_pem).unwrap();
    let (certificate, key) = strange.write(setup.folder.path());
    let files = &mut setup.config["upstreams"]["files"];
    files["url"] = json!(upstream.url);
    files["ca_file"] = json!(ca);
    files["client_certificate"] = json!({"certificate": certificate, "key": key});
    let world = setup.start().await;
    let token = world.ta();
    world.tool("read_file").token(&token).send().await.refuses(502, -31502);
    upstream.saw_nothing();

    ours.write(world.folder.path());
    eventually("the server to be content", || async { (call(&world, &token).await == 200).then_some(()) }).await;

    // A connection that was opened with what is no longer ours is not used again.
    strange.write(world.folder.path());
    eventually("the server to be discontent", || async { (call(&world, &token).await == 502).then_some(()) }).await;
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_is_not_reached_without_one() {
    let (server, ours) = (Identity::new(), Identity::new());
    let upstream = Upstream::tls_by(server.acceptor_for(&ours)).await;
    let mut setup = Setup::new().await;
    let ca = setup.folder.path().join("ca.pem");
    std::fs::write(&ca, &server.certificate_pem).unwrap();
    setup.config["upstreams"]["files"]["url"] = json!(upstream.url);
    setup.config["upstreams"]["files"]["ca_file"] = json!(ca);
    let world = setup.start().await;
    world.tool("read_file").token(&world.ta()).send().await.refuses(502, -31502);
    upstream.saw_nothing();
}
