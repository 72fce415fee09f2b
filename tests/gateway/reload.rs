//! Another configuration while the gateway serves: it rules whole, or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use serde_json::{Value, json};

use crate::support::gateway::{write_config, yaml};
use crate::support::{Answer, Setup, World, eventually, soon};

/// The configuration with `read_file` open or closed.
fn with_reading(config: &Value, open: bool) -> Value {
    let mut config = config.clone();
    if !open {
        config["upstreams"]["files"]["rules"][1]["tools"] = json!(["read_nothing"]);
    }
    config
}

async fn reads(world: &World) -> u16 {
    world.tool("read_file").token(&world.ta()).send().await.status
}

#[tokio::test]
async fn a_signal_brings_the_new_rules() {
    let world = World::start().await;
    assert_eq!(reads(&world).await, 200);
    world.gateway.reload(&with_reading(&world.config, false)).await;
    assert_eq!(reads(&world).await, 403);
    world.gateway.reload(&world.config).await;
    assert_eq!(reads(&world).await, 200);
}

#[tokio::test]
async fn a_changed_file_brings_the_new_rules_without_a_signal() {
    let world = World::start().await;
    let before = world.gateway.metrics().await.hash();
    write_config(&world.gateway.config_file, &yaml(&with_reading(&world.config, false)));
    world.gateway.changed(&before).await;
    assert_eq!(reads(&world).await, 403);
    // A file that is written in place is noticed as well.
    let before = world.gateway.metrics().await.hash();
    std::fs::write(&world.gateway.config_file, yaml(&world.config)).unwrap();
    world.gateway.changed(&before).await;
    assert_eq!(reads(&world).await, 200);
}

#[tokio::test]
async fn a_change_that_a_signal_told_of_is_loaded_once() {
    let world = World::start().await;
    let reloads = async || world.gateway.metrics().await.sum("doorward_config_reload_total", "");
    let untold = async |config: &Value| {
        let hash = world.gateway.metrics().await.hash();
        write_config(&world.gateway.config_file, &yaml(config));
        world.gateway.changed(&hash).await;
    };
    // Files are looked at once after the start, and not in the middle of what follows.
    untold(&with_reading(&world.config, false)).await;
    let before = reloads().await;
    world.gateway.reload(&world.config).await;
    // By the time that files of which nobody told are looked at again, those of the change before were too.
    untold(&with_reading(&world.config, false)).await;
    assert_eq!(reloads().await - before, 2.0);
}

#[tokio::test]
async fn an_upstream_that_is_added_to_the_folder_is_served_without_a_signal() {
    let mut setup = Setup::new().await;
    let folder = setup.folder.path().join("upstreams");
    std::fs::create_dir(&folder).unwrap();
    let Value::Object(all) = setup.config["upstreams"].take() else { panic!("a map") };
    let (last, first): (Vec<_>, Vec<_>) = all.into_iter().partition(|(name, _)| name == "crm");
    let add = |upstreams: Vec<(String, Value)>| {
        for (name, upstream) in upstreams {
            write_config(&folder.join(format!("{name}.yaml")), &yaml(&upstream));
        }
    };
    add(first);
    setup.config.as_object_mut().unwrap().remove("upstreams");
    setup.config["upstreams_dir"] = json!(folder);
    let world = setup.start().await;
    let call = || world.modern("tools/list", json!({})).path("/mcp/crm").send();
    assert_eq!(call().await.status, 404);
    add(last);
    eventually("the added upstream", || async { (call().await.status == 401).then_some(()) }).await;
}

#[tokio::test]
async fn item_s10_a_bad_file_keeps_the_old_world_and_says_so() {
    let world = World::start().await;
    let hash = world.gateway.metrics().await.hash();
    let mut unknown_key = world.config.clone();
    unknown_key["upstreams"]["files"]["rulez"] = json!([]);
    let mut unknown_scope = with_reading(&world.config, false);
    unknown_scope["upstreams"]["files"]["rules"][1]["scopes"] = json!(["files:raed"]);
    let mut no_issuer = world.config.clone();
    no_issuer["upstreams"]["files"]["issuers"] = json!(["nobody"]);
    for bad in [yaml(&unknown_key), yaml(&unknown_scope), yaml(&no_issuer), "public_url: [".to_owned(), String::new()] {
        world.gateway.offer_and_wait(&bad).await;
        assert_eq!(world.gateway.metrics().await.hash(), hash);
        assert_eq!(reads(&world).await, 200);
        world.tool("wipe").token(&world.ta()).send().await.is(403);
    }
    eventually("the operator to be told", || async { world.gateway.stderr().contains("rulez").then_some(()) }).await;
    // The next good one is taken.
    world.gateway.reload(&with_reading(&world.config, false)).await;
    assert_eq!(reads(&world).await, 403);
}

#[tokio::test]
async fn a_file_that_vanishes_keeps_the_old_world() {
    let world = World::start().await;
    std::fs::remove_file(&world.gateway.config_file).unwrap();
    let before = world.gateway.metrics().await.sum("doorward_config_reload_total", "");
    world.gateway.signal("HUP");
    eventually("the reload to be counted", || async {
        (world.gateway.metrics().await.sum("doorward_config_reload_total", "") > before).then_some(())
    })
    .await;
    assert_eq!(reads(&world).await, 200);
}

#[tokio::test]
async fn a_reload_forgets_no_key_and_asks_for_none() {
    let world = World::start().await;
    assert_eq!(reads(&world).await, 200);
    world.issuer.set_down(true);
    world.gateway.reload(&with_reading(&world.config, false)).await;
    assert_eq!(reads(&world).await, 403);
    world.gateway.reload(&world.config).await;
    assert_eq!(reads(&world).await, 200);
}

#[tokio::test]
async fn a_reload_may_add_and_remove_upstreams() {
    let world = World::start().await;
    let mut without = world.config.clone();
    without["upstreams"].as_object_mut().unwrap().remove("crm");
    world.gateway.reload(&without).await;
    world.tool("crm_find").path("/mcp/crm").send().await.is(404);
    world.get("/.well-known/oauth-protected-resource/mcp/crm").await.is(404);
    world.gateway.reload(&world.config).await;
    world.tool("crm_find").path("/mcp/crm").send().await.is(401);
}

#[tokio::test]
async fn a_reload_may_change_an_issuer() {
    let world = World::start().await;
    let token = world.ta();
    world.tool("read_file").token(&token).send().await.is(200);
    let mut stricter = world.config.clone();
    stricter["issuers"]["corp"]["audience"] = json!(["api://other"]);
    world.gateway.reload(&stricter).await;
    // A remembered token is judged anew.
    world.tool("read_file").token(&token).send().await.is(401);
}

#[tokio::test]
async fn a_changed_list_of_rules_cuts_lists_at_once() {
    let world = World::start().await;
    let list = || world.modern("tools/list", json!({})).token(&world.ta()).send();
    assert_eq!(list().await.names("tools", "name"), ["read_file", "read_path"]);
    world.gateway.reload(&with_reading(&world.config, false)).await;
    assert_eq!(list().await.names("tools", "name"), ["read_path"]);
}

#[tokio::test]
async fn a_call_in_flight_ends_in_the_world_it_began_in() {
    let world = World::start().await;
    let (answer, feed) = Answer::stream();
    world.files.once(answer);
    let reading = tokio::spawn(world.modern("tools/list", json!({})).token(&world.ta()).send());
    world.files.arrived(1).await;
    world.gateway.reload(&with_reading(&world.config, false)).await;
    let list = r#"data: {"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read_file"},{"name":"wipe"}]}}"#;
    feed.send(Ok(format!("{list}\n\n").into())).await.unwrap();
    drop(feed);
    let reply = soon("the list", reading).await.unwrap();
    assert!(reply.is(200).text().contains("read_file") && !reply.text().contains("wipe"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_14_many_reloads_under_load_drop_nothing_and_decide_nothing_wrongly() {
    let world = Arc::new(World::start().await);
    let (open, closed) = (world.config.clone(), with_reading(&world.config, false));
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (world, stop) = (world.clone(), stop.clone());
            tokio::spawn(async move {
                let token = world.token(|token| token.claims["scope"] = json!("files:read files:write"));
                let mut calls = 0;
                while !stop.load(SeqCst) {
                    for (tool, right) in [("write_file", &[200][..]), ("wipe", &[403]), ("read_file", &[200, 403])] {
                        let reply = world.tool(tool).token(&token).try_send().await.unwrap_or_else(|error| panic!("dropped: {error:?}"));
                        assert!(right.contains(&reply.status), "{tool}: {reply:?}");
                        calls += 1;
                    }
                }
                calls
            })
        })
        .collect();
    for round in 0..40 {
        match round % 5 {
            4 => world.gateway.offer_and_wait("upstreams: {").await,
            // Two by two, so that each reload is a change.
            step => {
                let config = if step % 2 == 0 { &closed } else { &open };
                world.gateway.reload(config).await;
                assert_eq!(reads(&world).await, if step % 2 == 0 { 403 } else { 200 }, "round {round}");
            }
        }
    }
    stop.store(true, SeqCst);
    for calls in load {
        assert!(calls.await.unwrap() > 0);
    }
}

#[tokio::test]
async fn records_beside_the_configuration_cause_no_reload() {
    let world = World::start().await;
    assert_eq!(world.gateway.audit_file.parent(), world.gateway.config_file.parent());
    for _ in 0..30 {
        assert_eq!(reads(&world).await, 200);
    }
    world.gateway.audited(30, |_| true).await;
    // A real change is reloaded once or twice; had each record been taken for one, there would be more.
    world.gateway.reload(&with_reading(&world.config, false)).await;
    let reloads = world.gateway.metrics().await.sum("doorward_config_reload_total", "");
    assert!(reloads <= 2.0, "{reloads} reloads");
}

#[tokio::test]
async fn item_82_a_list_that_an_older_world_cut_is_not_remembered_for_the_newer_one() {
    let world = World::start().await;
    let (answer, feed) = Answer::held("application/json");
    world.files.once(answer);
    let list = || world.modern("tools/list", json!({})).token(&world.ta());
    let before = list();
    let asked = tokio::spawn(async move { before.send().await });
    world.files.arrived(1).await;
    let mut narrower = world.config.clone();
    // As many rules, met by the same callers: only what they name is another.
    narrower["upstreams"]["files"]["rules"][1]["tools"] = json!(["unlisted"]);
    world.gateway.reload(&narrower).await;
    let body = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "read_file"}, {"name": "unlisted"}]}}).to_string();
    feed.send(Ok(body.clone().into())).await.unwrap();
    drop(feed);
    assert_eq!(soon("the older list", asked).await.unwrap().names("tools", "name"), ["read_file"], "in flight");
    for _ in 0..2 {
        world.files.once(Answer::text(200, "application/json", body.clone()));
        assert_eq!(list().send().await.names("tools", "name"), ["unlisted"]);
    }
}
