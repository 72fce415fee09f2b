use std::collections::VecDeque;
use std::io;

use async_trait::async_trait;
use futures_util::FutureExt;

use super::super::resolve::{Resolver, refresh};
use super::*;
use crate::route::{ListMode, Mode, Place, RouteLimits, Upstream};

/// Says what it is told to, once each.
struct Fake(Mutex<VecDeque<io::Result<Vec<SocketAddr>>>>);

#[async_trait]
impl Resolver for Fake {
    async fn look_up(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        assert_eq!(port, 80);
        self.0.lock().expect("whole").pop_front().expect("one look-up too many")
    }
}

fn says(answers: impl IntoIterator<Item = io::Result<Vec<SocketAddr>>>) -> Fake {
    Fake(Mutex::new(answers.into_iter().collect()))
}

fn ips(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| SocketAddr::new(text.parse().expect("an address"), 80)).collect()
}

fn failure() -> io::Result<Vec<SocketAddr>> {
    Err(io::Error::other("no resolver"))
}

fn pool(hosts: &[&str]) -> Pool {
    let place = |host: &&str| Place { address: Address::Tcp { host: (*host).into(), port: 80 }, authority: format!("{host}:80") };
    with(Reach { places: hosts.iter().map(place).collect(), http2: false, client_certificate: None, health: None })
}

fn with(reach: Reach) -> Pool {
    let route = Route {
        name: "up".into(),
        resource: "https://mcp.example/mcp".into(),
        metadata_url: String::new(),
        metadata: bytes::Bytes::new(),
        issuers: vec![],
        policy: crate::policy::Policy::default(),
        identity: Default::default(),
        upstream: Upstream { reach: Arc::new(reach), path: http::uri::PathAndQuery::from_static("/mcp"), credential: None },
        mode: Mode::Enforce,
        list: ListMode::Granted,
        challenge: Default::default(),
        grant: None,
        sender: Default::default(),
        pin: None,
        protocol: Default::default(),
        origins: vec![],
        limits: RouteLimits { body: 1, per_client: None, per_subject: None, streams_per_subject: None, timeout: Duration::from_secs(1) },
        approves_clients: false,
        recorded_arguments: Default::default(),
        asks: Default::default(),
    };
    Pool::new(&route, Metrics::new().expect("registers"))
}

fn addresses(pool: &Pool) -> Vec<String> {
    pool.backends().iter().map(|backend| backend.peer._address.to_string()).collect()
}

fn picked(pool: &Pool) -> String {
    pool.pick(&[], None).map(|backend| backend.peer._address.to_string()).expect("a server")
}

fn fail(pool: &Pool, address: &str) {
    let backend = pool.backends().iter().find(|backend| backend.peer._address.to_string() == address).cloned().expect("known");
    (0..3).for_each(|_| pool.failed(&backend));
}

#[test]
fn equal_servers_take_turns() {
    let pool = pool(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    let mut seen: Vec<String> = (0..3).map(|_| picked(&pool)).collect();
    seen.sort();
    assert_eq!(seen, ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]);
}

#[test]
fn a_busy_server_is_given_no_call_while_another_is_idle() {
    let pool = pool(&["10.0.0.1", "10.0.0.2"]);
    let held: Vec<Flight> = (0..2).map(|_| pool.pick(&[], None).expect("a server").flight()).collect();
    let busy = pool.pick(&[], None).expect("a server");
    let _third = busy.flight();
    for _ in 0..10 {
        assert!(!Arc::ptr_eq(&pool.pick(&[], None).expect("a server").standing, &busy.standing));
    }
    drop(held);
}

#[test]
fn a_server_that_failed_is_left_out_and_where_all_failed_all_are_tried() {
    let pool = pool(&["10.0.0.1", "10.0.0.2"]);
    fail(&pool, "10.0.0.1:80");
    assert!((0..20).all(|_| picked(&pool) == "10.0.0.2:80"));
    assert!(pool.metrics.text().contains(r#"doorward_upstream_healthy{address="10.0.0.1:80",upstream="up"} 0"#));
    fail(&pool, "10.0.0.2:80");
    let mut tried = Vec::new();
    while let Some(backend) = pool.pick(&tried, None) {
        tried.push(backend);
    }
    assert_eq!(tried.len(), 2);
    pool.succeeded(&tried[0]);
    assert_eq!(picked(&pool), tried[0].peer._address.to_string());
    let label = format!(r#"doorward_upstream_healthy{{address="{}",upstream="up"}} 1"#, tried[0].peer._address);
    assert!(pool.metrics.text().contains(&label));
}

#[test]
fn the_only_server_is_tried_however_often_it_failed() {
    let pool = pool(&["10.0.0.1"]);
    (0..20).for_each(|_| fail(&pool, "10.0.0.1:80"));
    assert_eq!(picked(&pool), "10.0.0.1:80");
}

#[tokio::test]
async fn a_name_that_was_pointed_elsewhere_is_followed() {
    let pool = pool(&["mcp.example"]);
    assert!(pool.pick(&[], None).is_none());
    let resolver = says([Ok(ips(&["10.0.0.1"])), Ok(ips(&["10.0.0.2"]))]);
    assert!(refresh(&pool, 0, &resolver).await);
    assert_eq!(addresses(&pool), ["10.0.0.1:80"]);
    assert!(refresh(&pool, 0, &resolver).await);
    assert_eq!(addresses(&pool), ["10.0.0.2:80"]);
}

#[tokio::test]
async fn a_session_follows_the_name_of_its_server_and_no_other() {
    let pool = pool(&["mcp.example", "10.0.0.9"]);
    let resolver = says([Ok(ips(&["10.0.0.1"])), Ok(ips(&["10.0.0.2", "10.0.0.3"]))]);
    assert!(refresh(&pool, 0, &resolver).await);
    let home = pool.backends().first().map(|backend| backend.mark.clone()).expect("a server");
    assert!(refresh(&pool, 0, &resolver).await);
    for _ in 0..4 {
        let picked = pool.pick(&[], Some(&home)).expect("an address of the name");
        assert_ne!(picked.peer._address.to_string(), "10.0.0.9:80");
    }
}

#[tokio::test]
async fn while_the_resolver_fails_the_last_good_answer_serves() {
    let pool = pool(&["mcp.example"]);
    let resolver = says([Ok(ips(&["10.0.0.1"])), failure(), Ok(vec![])]);
    for _ in 0..3 {
        assert!(refresh(&pool, 0, &resolver).await, "an address is known");
        assert_eq!(addresses(&pool), ["10.0.0.1:80"]);
    }
}

#[tokio::test]
async fn a_name_that_resolves_to_nothing_is_waited_for_once() {
    let pool = pool(&["mcp.example"]);
    assert!(pool.known().now_or_never().is_none());
    assert!(!refresh(&pool, 0, &says([failure()])).await);
    assert!(pool.known().now_or_never().is_some());
    assert!(pool.pick(&[], None).is_none());
    assert!(refresh(&pool, 0, &says([Ok(ips(&["10.0.0.1"]))])).await);
    assert_eq!(picked(&pool), "10.0.0.1:80");
}

#[tokio::test]
async fn the_order_of_an_answer_says_nothing_and_an_address_that_stays_keeps_its_standing() {
    let pool = pool(&["mcp.example"]);
    let resolver =
        says([Ok(ips(&["10.0.0.1", "10.0.0.2"])), Ok(ips(&["10.0.0.2", "10.0.0.1", "10.0.0.1"])), Ok(ips(&["10.0.0.3", "10.0.0.1"]))]);
    refresh(&pool, 0, &resolver).await;
    let before = pool.backends();
    fail(&pool, "10.0.0.1:80");
    refresh(&pool, 0, &resolver).await;
    assert!(Arc::ptr_eq(&before, &pool.backends()));
    refresh(&pool, 0, &resolver).await;
    assert!((0..10).all(|_| picked(&pool) == "10.0.0.3:80"));
}

#[tokio::test]
async fn the_other_family_is_used_where_the_preferred_one_fails() {
    let pool = pool(&["mcp.example"]);
    refresh(&pool, 0, &says([Ok(ips(&["2001:db8::1", "10.0.0.1", "10.0.0.2"]))])).await;
    assert!((0..10).all(|_| picked(&pool) == "[2001:db8::1]:80"));
    let first = pool.pick(&[], None).expect("a server");
    assert!(pool.pick(&[first], None).expect("another").peer._address.to_string().starts_with("10.0.0."));
    fail(&pool, "[2001:db8::1]:80");
    assert!(picked(&pool).starts_with("10.0.0."));
    // One of its addresses answers calls: so does the name.
    assert!(pool.metrics.text().contains(r#"doorward_upstream_healthy{address="mcp.example:80",upstream="up"} 1"#));
}

#[tokio::test]
async fn a_failure_asks_for_the_name_again() {
    let pool = pool(&["mcp.example"]);
    refresh(&pool, 0, &says([Ok(ips(&["10.0.0.1"]))])).await;
    pool.failed(&pool.pick(&[], None).expect("a server"));
    tokio::time::timeout(Duration::from_secs(5), pool.stirred[0].notified()).await.expect("it was asked for");
}

#[test]
fn what_was_to_be_verified_by_files_is_not_verified_without_them() {
    let place = Place {
        address: Address::Tls { host: "mcp.example".into(), port: 443, ca: Some("/nonexistent/ca.pem".into()) },
        authority: "mcp.example".into(),
    };
    let pool = with(Reach::to(place));
    pool.resolved(0, Some(ips(&["10.0.0.1"])));
    assert!(pool.pick(&[], None).is_none());
}

#[tokio::test]
async fn a_pool_that_is_let_go_ends_what_looked_after_it() {
    let pool = Arc::new(pool(&["mcp.example"]));
    let links =
        Links { streams: pingora::connectors::TransportConnector::new(None), sessions: pingora::connectors::http::Connector::new(None) };
    let resolver: Arc<dyn Resolver> = Arc::new(says([Ok(ips(&["10.0.0.1"]))]));
    pool.look_after(&Arc::new(links), &resolver);
    pool.known().await;
    let task = pool.tasks.lock().expect("whole").first().cloned().expect("a task");
    drop(pool);
    while !task.is_finished() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_session_stays_at_its_server_until_that_is_gone() {
    let pool = pool(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    let home = pool.backends().iter().map(|backend| backend.mark.clone()).nth(1).expect("a server");
    for _ in 0..5 {
        let picked = pool.pick(&[], Some(&home)).expect("a server");
        assert_eq!(picked.peer._address.to_string(), "10.0.0.2:80");
    }
    let gone = pool.pick(&[], Some(&home)).expect("a server");
    assert!(pool.pick(&[gone], Some(&home)).is_none(), "another has sessions of its own");
    assert!(pool.pick(&[], Some("elsewhere")).is_none());
}
