//! What the gateway bears: an upstream that comes and goes, and one that never answers, at the size of a test.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpStream;

use crate::support::gateway::free_port;
use crate::support::upstream::Answer;
use crate::support::{Gateway, Upstream, World, eventually};

/// How many times each call arrived, by its id.
fn delivered(upstream: &Upstream, counts: &mut HashMap<String, usize>) {
    for seen in upstream.seen() {
        *counts.entry(seen.json()["id"].to_string()).or_default() += 1;
    }
}

#[tokio::test]
async fn c_07_an_upstream_that_comes_and_goes_is_followed_and_hears_no_call_twice() {
    let port = free_port();
    let world = World::with(|config| config["upstreams"]["files"]["url"] = json!(format!("http://127.0.0.1:{port}/mcp"))).await;
    let token = world.ta();
    let call = |id: usize| world.tool("read_file").token(&token).edit(|message| message["id"] = json!(id)).send();
    let (mut id, mut counts) = (0, HashMap::new());
    for _ in 0..6 {
        let (upstream, life) = Upstream::mortal(port).await;
        // No time to notice: the first call after its return passes.
        for _ in 0..8 {
            id += 1;
            call(id).await.is(200);
        }
        // And some are under way when it goes.
        let under_way = futures_util::future::join_all((0..8).map(|number| call(id + 1 + number)));
        let cut = async {
            upstream.arrived(9).await;
            drop(life);
        };
        let (replies, ()) = tokio::join!(under_way, cut);
        id += 8;
        assert!(replies.iter().all(|reply| [200, 502].contains(&reply.status)), "{replies:?}");
        for _ in 0..4 {
            let begun = Instant::now();
            id += 1;
            call(id).await.refuses(502, -31502);
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        }
        delivered(&upstream, &mut counts);
    }
    assert!(counts.len() >= 48 && counts.values().all(|count| *count == 1), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_08_hundreds_of_calls_without_an_answer_cost_little_and_delay_nobody() {
    const OPEN: usize = 400;
    let world = World::with(|config| config["upstreams"]["files"]["limits"] = json!({"timeout": "8s"})).await;
    world.files.script(|seen| (seen.json()["id"] == "slow").then(|| Answer::never().0));
    let (token, other) = (world.ta(), world.tb());
    let honest = || world.tool("read_file").token(&other).send();
    honest().await.is(200);
    let before = world.gateway.resident();
    let slow: Vec<_> = (0..OPEN)
        .map(|_| tokio::spawn(world.tool("read_file").token(&token).edit(|message| message["id"] = json!("slow")).send()))
        .collect();
    world.files.arrived(OPEN + 1).await;
    let mut took = Vec::new();
    for _ in 0..50 {
        let begun = Instant::now();
        honest().await.is(200);
        took.push(begun.elapsed());
    }
    took.sort();
    assert!(took[45] < Duration::from_millis(50), "{took:?}");
    let grown = world.gateway.resident().saturating_sub(before);
    // The bar is 64 MiB for a thousand.
    assert!(grown < (64 << 10) * OPEN as u64 / 1000, "{grown} KiB more");
    for reply in slow {
        reply.await.unwrap().refuses(504, -31504);
    }
    eventually("the end of all calls", || async { (honest().await.status == 200).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_13_many_large_bodies_at_once_cost_no_more_than_they_are_and_are_given_back() {
    let world = World::start().await;
    let token = world.ta();
    let body = json!({"name": "read_file", "arguments": {"pad": "x".repeat(1 << 20)}});
    let round = || futures_util::future::join_all((0..50).map(|_| world.modern("tools/call", body.clone()).token(&token).send()));
    world.tool("read_file").token(&token).send().await.is(200);
    let before = world.gateway.resident();
    let mut most = 0;
    for _ in 0..3 {
        let mut round = std::pin::pin!(round());
        let replies = loop {
            tokio::select! {
                replies = &mut round => break replies,
                () = tokio::time::sleep(Duration::from_millis(10)) => most = most.max(world.gateway.resident()),
            }
        };
        assert!(replies.iter().all(|reply| reply.status == 200), "{:?}", replies.iter().map(|reply| reply.status).collect::<Vec<_>>());
    }
    assert!(most.saturating_sub(before) < 128 << 10, "{} KiB more", most - before);
    eventually("memory to be given back", || async { (world.gateway.resident().saturating_sub(before) < 64 << 10).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_18_every_decision_has_one_line_and_they_stand_in_their_order() {
    const EACH: usize = 120;
    let world = World::start().await;
    let (token, expired) = (world.ta(), world.token(|token| token.claims["exp"] = json!(1)));
    let calls = [
        (world.tool("read_file").token(&token), 200),
        (world.tool("wipe").token(&token), 403),
        (world.tool("read_file").token(&expired), 401),
        (world.tool("read_file"), 401),
        (world.modern("tools/list", json!({})).token(&token), 200),
        (world.tool("read_file").token(&token).body("{"), 400),
    ];
    let askers = calls.iter().map(|(call, status)| async move {
        for _ in 0..EACH {
            call.clone().send().await.is(*status);
        }
    });
    futures_util::future::join_all(askers).await;
    let lines = world.gateway.audited(EACH * calls.len(), |_| true).await;
    let mut statuses = HashMap::<u64, usize>::new();
    lines.iter().for_each(|line| *statuses.entry(line["status"].as_u64().unwrap()).or_default() += 1);
    assert_eq!(statuses, HashMap::from([(200, 2 * EACH), (403, EACH), (401, 2 * EACH), (400, EACH)]));
    let ids: std::collections::HashSet<_> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), lines.len());
    let sequence: Vec<u64> = world.gateway.records().iter().map(|line| line["sequence"].as_u64().unwrap()).collect();
    assert!(sequence.windows(2).all(|pair| pair[1] == pair[0] + 1), "{sequence:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_20_without_descriptors_it_waits_and_does_not_spin_and_goes_on_when_there_are_some() {
    let mut world = World::start().await;
    world.gateway.signal("TERM");
    world.gateway.exit().await;
    world.gateway = Gateway::start_with_files(256, world.folder.path(), &world.config, &world.http).await;
    world.gateway.says("fewer files than `limits.connections`").await;
    let token = world.ta();
    world.tool("read_file").token(&token).send().await.is(200);
    let mut taken = Vec::new();
    for _ in 0..400 {
        taken.push(TcpStream::connect(&world.address).await.unwrap());
    }
    eventually("the last descriptor to be taken", || async {
        let files = std::fs::read_dir(format!("/proc/{}/fd", world.gateway.pid())).unwrap().count();
        (files >= 255).then_some(())
    })
    .await;
    let (begun, before) = (Instant::now(), processor_time(&world));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let share = (processor_time(&world) - before).as_secs_f64() / begun.elapsed().as_secs_f64();
    assert!(share < 0.5, "{share} of a processor");
    drop(taken);
    // On a connection of its own.
    let fresh = crate::support::client::client();
    eventually("calls to be served again", || async {
        let reply = world.tool("read_file").token(&token).by(&fresh, &world.origin).try_send().await;
        reply.is_ok_and(|reply| reply.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_23_beside_hostile_callers_no_honest_call_fails_or_waits_long() {
    let world = World::start().await;
    let token = world.ta();
    let hostile = [
        world.tool("read_file"),
        world.tool("read_file").token("not.a.token"),
        world.tool("read_file").token(&world.token(|token| token.header["kid"] = json!("made-up"))),
        world.tool("read_file").token(&world.token(|token| token.claims["aud"] = json!("elsewhere"))),
        world.tool("wipe").token(&world.tb()),
        world.tool("read_file").token(&world.tb()).body("[".repeat(5_000)),
        world.tool("read_file").token(&world.tb()).body(r#"{"jsonrpc":"2.0","id":1,"id":2}"#),
        world.tool("read_file").path("/mcp/../mcp/files"),
    ];
    let attackers: Vec<_> = hostile
        .into_iter()
        .map(|call| {
            tokio::spawn(async move {
                let mut refused = 0;
                loop {
                    match call.clone().send().await.status {
                        400..500 => refused += 1,
                        status => panic!("a hostile call is answered with {status} after {refused}"),
                    }
                }
            })
        })
        .collect();
    let mut took = Vec::new();
    for _ in 0..300 {
        let begun = Instant::now();
        world.tool("read_file").token(&token).send().await.is(200);
        took.push(begun.elapsed());
    }
    took.sort();
    assert!(took[297] < Duration::from_millis(500), "{:?} at the 99th percentile, {:?} in the middle", took[297], took[150]);
    for attacker in attackers {
        assert!(!attacker.is_finished(), "every attack was refused");
        attacker.abort();
    }
}

/// What the same call takes straight to the server and through the gateway, in turn, on connections that stay open.
struct Added {
    /// Of the fastest tenth.
    fastest: Duration,
    median: Duration,
    p99: Duration,
    /// Processor time of the gateway for one call.
    cost: Duration,
}

/// User and system time of the gateway so far.
fn processor_time(world: &World) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", world.gateway.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // The kernel counts in hundredths of a second.
    Duration::from_millis(ticks * 10)
}

async fn added(world: &World, tokens: &[String]) -> Added {
    let body = json!({"path": "x".repeat(1024)});
    let (origin, path) = world.files.url.split_at(world.files.url.rfind("/mcp").unwrap());
    let call = |token: &str| world.modern("tools/call", json!({"name": "read_file", "arguments": body})).token(token);
    let timed = |call: crate::support::client::Call| async move {
        let begun = Instant::now();
        call.send().await.is(200);
        begun.elapsed()
    };
    let (mut straight, mut through) = (Vec::new(), Vec::new());
    let before = processor_time(world);
    for token in tokens {
        straight.push(timed(call(token).by(&world.http, origin).path(path)).await);
        through.push(timed(call(token)).await);
    }
    let cost = (processor_time(world) - before) / u32::try_from(tokens.len()).unwrap();
    straight.sort();
    through.sort();
    let at = |all: &[Duration], share: usize| all[all.len() * share / 100];
    let over = |share| at(&through, share).saturating_sub(at(&straight, share));
    Added { fastest: over(10), median: over(50), p99: over(99), cost }
}

/// The bars are those of a release. A build for tests beside other tests is given sixty times the processor time, and of its delays
/// only the fastest tenth is looked at: that still finds a wait that nobody meant (delayed acknowledgements are 40 ms each), a key
/// that is parsed or a set that is fetched for each call.
#[tokio::test]
async fn c_22_what_the_gateway_adds_to_a_call_is_little_for_tokens_seen_before_and_new_ones() {
    const CALLS: usize = 300;
    let world = World::start().await;
    let signer = crate::support::Signer::rs256("rsa-1");
    world.issuer.publish(&signer);
    let token = || {
        world.token(|token| {
            token.header["alg"] = json!("RS256");
            token.header["kid"] = json!("rsa-1");
            token.signer = signer.clone();
        })
    };
    let again = vec![token(); CALLS];
    let new: Vec<String> = (0..CALLS).map(|_| token()).collect();
    world.tool("read_file").token(&again[0]).send().await.is(200);
    let fetches = world.issuer.key_fetches();
    // Processor time for each call: 8,000 a second on one core, and 2,500 whose token is new.
    let rows = [("seen before", &again, Duration::from_micros(125)), ("new", &new, Duration::from_micros(400))];
    for (what, tokens, bar) in rows {
        let Added { fastest, median, p99, cost } = added(&world, tokens).await;
        let holds = if cfg!(debug_assertions) {
            fastest <= Duration::from_millis(20) && cost <= bar * 60
        } else {
            median <= Duration::from_micros(300) && p99 <= Duration::from_micros(1_500) && cost <= bar
        };
        assert!(holds, "{what}: fastest tenth {fastest:?}, median {median:?}, p99 {p99:?}, {cost:?} of processor a call");
    }
    assert_eq!(world.issuer.key_fetches(), fetches, "keys were fetched for calls");
}
