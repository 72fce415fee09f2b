//! What the gateway bears: an upstream that comes and goes, and one that never answers, at the size of a test.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::gateway::free_port;
use crate::support::upstream::Answer;
use crate::support::{Upstream, World, eventually};

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
