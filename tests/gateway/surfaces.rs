//! What issuers publish is watched: a new key is told of, and held where the operator wants that (issue 5, point 8).

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::gateway::{free_port, run};
use crate::support::postgres::Postgres;
use crate::support::{Answer, Gateway, Issuer, Setup, Signer, World, eventually, soon};

/// An issuer's keys are fetched anew by nearly each request.
fn hasty(config: &mut Value, accept: Option<&str>) {
    config["issuers"]["corp"]["keys"] = json!({"cache": "50ms", "cooldown": "50ms"});
    if let Some(accept) = accept {
        config["issuers"]["corp"]["accept_new_keys"] = json!(accept);
    }
}

async fn world(accept: &str) -> World {
    let mut setup = Setup::new().await;
    setup.config["store"] = json!(format!("sqlite:{}", setup.folder.path().join("doorward.db").display()));
    hasty(&mut setup.config, Some(accept));
    setup.start().await
}

async fn shared(postgres: &Postgres, accept: &str) -> World {
    let mut setup = Setup::new().await;
    share(&mut setup, postgres, accept);
    setup.start().await
}

fn share(setup: &mut Setup, postgres: &Postgres, accept: &str) {
    let file = setup.folder.path().join("store-url");
    std::fs::write(&file, postgres.url()).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    setup.config["store"] = json!({"url_file": file, "revocation_max_age": "2m"});
    hasty(&mut setup.config, Some(accept));
}

fn signed_by(world: &World, origin: &str, signer: &Signer) -> String {
    world.issuer.token(&format!("{origin}/mcp/files"), |token| {
        token.header["kid"] = json!(signer.kid);
        token.signer = signer.clone();
    })
}

async fn status(world: &World, origin: &str, signer: &Signer) -> u16 {
    let token = signed_by(world, origin, signer);
    world.tool("read_file").by(&world.http, origin).token(&token).send().await.status
}

async fn becomes(world: &World, origin: &str, signer: &Signer, expected: u16) {
    eventually(&format!("{} to be answered with {expected}", signer.kid), async || {
        (status(world, origin, signer).await == expected).then_some(())
    })
    .await;
}

async fn keys(world: &World, what: &[&str]) -> Output {
    let config = world.gateway.config_file.display().to_string();
    let mut arguments = vec!["keys", what[0], "--config", &config];
    arguments.extend(&what[1..]);
    run(&arguments).await
}

async fn decided(world: &World, what: &[&str]) {
    let output = keys(world, &[what, &["--reason", "rotation 7", "--by", "mia"]].concat()).await;
    assert!(output.status.success(), "{what:?}: {}", String::from_utf8_lossy(&output.stderr));
}

async fn listed(world: &World) -> Vec<Value> {
    let output = keys(world, &["list", "--json"]).await;
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Acts of this kind, once there is one.
async fn acts(gateway: &Gateway, operation: &str) -> Vec<Value> {
    many_acts(gateway, operation, 1).await
}

/// At least so many: a record follows its metric by a few milliseconds.
async fn many_acts(gateway: &Gateway, operation: &str, count: usize) -> Vec<Value> {
    eventually(operation, async || {
        let acts: Vec<Value> = gateway.records().into_iter().filter(|record| record["operation"] == operation).collect();
        (acts.len() >= count).then_some(acts)
    })
    .await
}

async fn drift(gateway: &Gateway, kind: &str) -> f64 {
    gateway.metrics().await.sum("doorward_issuer_drift_total", &format!("kind=\"{kind}\""))
}

async fn second(world: &World) -> (Gateway, tempfile::TempDir, String) {
    second_with(world, |_| {}).await
}

async fn second_with(world: &World, change: impl FnOnce(&mut Value)) -> (Gateway, tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let (port, mut config) = (free_port(), world.config.clone());
    let origin = format!("http://127.0.0.1:{port}");
    config["public_url"] = json!(origin);
    config["listen"][0]["address"] = json!(format!("127.0.0.1:{port}"));
    config["admin"]["address"] = json!(format!("127.0.0.1:{}", free_port()));
    config["audit"]["file"] = json!(folder.path().join("audit.jsonl"));
    change(&mut config);
    (Gateway::start(folder.path(), &config, &world.http).await, folder, origin)
}

/// From held to approved and rejected, on two replicas, and over a restart.
async fn held_until_approved(mut world: World) {
    let (old, new, here) = (world.issuer.signer.clone(), Signer::es256("key-2"), world.origin.clone());
    becomes(&world, &here, &old, 200).await;
    let (other, _folder, there) = second(&world).await;
    becomes(&world, &there, &old, 200).await;
    world.issuer.publish(&new);
    becomes(&world, &here, &new, 401).await;
    let refused = world.gateway.audited(1, |record| record["reason"] == "token_key_held").await;
    assert_eq!(refused[0]["outcome"], "refused");
    becomes(&world, &there, &new, 401).await;
    // Whichever saw it first.
    let told = eventually("the drift", async || {
        let all = [world.gateway.records(), other.records()].concat();
        let told: Vec<Value> = all.into_iter().filter(|record| record["operation"] == "admin/drift").collect();
        (!told.is_empty()).then_some(told)
    })
    .await;
    assert_eq!((&told[0]["reason"], &told[0]["outcome"]), (&json!("key_new"), &json!("refused")));
    assert!(told[0]["name"].as_str().unwrap().starts_with("key key-2 ("), "{told:?}");
    assert_eq!(drift(&world.gateway, "key_new").await + drift(&other, "key_new").await, 1.0, "one replica tells of it");
    eventually("the gauge", async || {
        (world.gateway.metrics().await.sum("doorward_issuer_keys_held", "issuer=\"corp\"") == 1.0).then_some(())
    })
    .await;

    // A restart forgets no hold, and takes no known key for new.
    world.gateway.signal("TERM");
    world.gateway.exit().await;
    world.gateway = Gateway::start(world.folder.path(), &world.config, &world.http).await;
    becomes(&world, &here, &old, 200).await;
    for _ in 0..5 {
        assert_eq!(status(&world, &here, &new).await, 401);
    }
    assert_eq!(world.gateway.metrics().await.sum("doorward_issuer_drift_total", ""), 0.0);
    let states: Vec<(String, String)> = listed(&world)
        .await
        .iter()
        .map(|key| (key["kid"].as_str().unwrap().to_owned(), key["state"].as_str().unwrap().to_owned()))
        .collect();
    assert!(states.contains(&("key-1".into(), "accepted".into())) && states.contains(&("key-2".into(), "held".into())), "{states:?}");

    decided(&world, &["approve", "key-2"]).await;
    becomes(&world, &here, &new, 200).await;
    becomes(&world, &there, &new, 200).await;
    let approved = acts(&world.gateway, "admin/key_approve").await;
    assert_eq!((&approved[0]["actor"], &approved[0]["reason"]), (&json!("mia"), &json!("rotation 7")));
    let again = keys(&world, &["approve", "key-2", "--reason", "x", "--by", "y"]).await;
    assert_eq!(again.status.code(), Some(3), "nothing to decide");

    let (answer, _idle) = Answer::stream();
    world.files.once(answer);
    let listen = world.modern("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}));
    let mut stream = listen.token(&signed_by(&world, &here, &new)).open().await;
    assert_eq!(stream.status(), 200);
    decided(&world, &["reject", "key-2"]).await;
    becomes(&world, &here, &new, 401).await;
    becomes(&world, &there, &new, 401).await;
    while soon("the end of its stream", stream.chunk()).await.unwrap().is_some() {}
    becomes(&world, &here, &old, 200).await;
    let key = listed(&world).await.into_iter().find(|key| key["kid"] == "key-2").unwrap();
    let decisions: Vec<&str> = key["decisions"].as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(decisions, ["accepted", "rejected"]);
}

#[tokio::test]
async fn issue_5_8_a_new_key_is_held_until_it_is_approved_on_every_replica_and_over_a_restart() {
    held_until_approved(world("approved").await).await;
}

#[tokio::test]
async fn issue_5_8_the_same_on_postgresql() {
    let postgres = Postgres::start().await;
    held_until_approved(shared(&postgres, "approved").await).await;
}

#[tokio::test]
async fn issue_5_8_of_replicas_that_start_together_and_see_other_keys_one_is_believed_and_the_other_told_of() {
    let (postgres, elsewhere) = (Postgres::start().await, Issuer::start().await);
    let mut setup = Setup::new().await;
    share(&mut setup, &postgres, "approved");
    setup.config["issuers"]["corp"]["jwks_uri"] = json!(format!("{}/jwks", setup.issuer.url));
    for issuer in [&setup.issuer, &elsewhere] {
        issuer.set_slow(true);
    }
    let world = setup.start().await;
    let at = json!(format!("{}/jwks", elsewhere.url));
    let (other, _folder, there) = second_with(&world, |config| config["issuers"]["corp"]["jwks_uri"] = at).await;
    for issuer in [&world.issuer, &elsewhere] {
        issuer.set_slow(false);
    }
    let states = eventually("both sets", async || {
        let mut states: Vec<String> = listed(&world).await.iter().map(|key| key["state"].as_str().unwrap().to_owned()).collect();
        states.sort_unstable();
        (states.len() == 2).then_some(states)
    })
    .await;
    assert_eq!(states, ["accepted", "held"]);
    assert_eq!(drift(&world.gateway, "key_new").await + drift(&other, "key_new").await, 1.0, "one of them tells of the other's key");
    eventually("what was not written first to be on hold where it was seen too", async || {
        let one = status(&world, &world.origin, &world.issuer.signer).await;
        let two = status(&world, &there, &elsewhere.signer).await;
        ([one.min(two), one.max(two)] == [200, 401]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn issue_5_8_a_hold_ends_by_time_and_not_while_the_store_is_away() {
    let mut postgres = Postgres::start().await;
    let world = shared(&postgres, "after 2s").await;
    let (old, first, second, here) = (world.issuer.signer.clone(), Signer::es256("key-2"), Signer::es256("key-3"), world.origin.clone());
    becomes(&world, &here, &old, 200).await;
    eventually("the first key to be written down", async || (!listed(&world).await.is_empty()).then_some(())).await;
    world.issuer.publish(&first);
    becomes(&world, &here, &first, 401).await;
    acts(&world.gateway, "admin/drift").await;
    becomes(&world, &here, &first, 200).await;
    let accepted = acts(&world.gateway, "admin/key_accept").await;
    assert_eq!(accepted[0]["actor"], "doorward");

    postgres.crash();
    world.issuer.publish(&second);
    becomes(&world, &here, &second, 401).await;
    let begun = std::time::Instant::now();
    while begun.elapsed().as_secs() < 4 {
        assert_eq!(status(&world, &here, &second).await, 401, "with the store away a held key stays held");
        assert_eq!(status(&world, &here, &first).await, 200);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    postgres.resume().await;
    becomes(&world, &here, &second, 200).await;
}

#[tokio::test]
async fn issue_5_8_without_a_store_new_vanished_and_returned_keys_are_told_of_and_new_ones_count_at_once() {
    let world = World::with(|config| hasty(config, None)).await;
    let (old, new, here) = (world.issuer.signer.clone(), Signer::es256("key-2"), world.origin.clone());
    becomes(&world, &here, &old, 200).await;
    world.issuer.publish(&new);
    becomes(&world, &here, &new, 200).await;
    let told = async |kind: &str, count: f64| {
        eventually(kind, async || {
            status(&world, &here, &new).await;
            (drift(&world.gateway, kind).await == count).then_some(())
        })
        .await;
    };
    told("key_new", 1.0).await;
    world.issuer.publish_only(&[&new]);
    told("key_vanished", 1.0).await;
    assert_eq!(status(&world, &here, &old).await, 401);
    world.issuer.publish(&old);
    told("key_returned", 1.0).await;
    becomes(&world, &here, &old, 200).await;
    let acts = many_acts(&world.gateway, "admin/drift", 3).await;
    let reasons: Vec<&str> = acts.iter().map(|act| act["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["key_new", "key_vanished", "key_returned"]);
    assert!(acts.iter().all(|act| act["outcome"] == "answered" && act["actor"] == json!(world.issuer.url)), "{acts:?}");
}

#[tokio::test]
async fn issue_5_8_another_endpoint_and_a_wider_list_of_algorithms_are_told_of_and_each_version_is_kept() {
    let world = world("immediately").await;
    let asked = async || assert_eq!(world.get("/.well-known/oauth-authorization-server").await.status, 200);
    asked().await;
    eventually("the first version", async || {
        let versions: Vec<Value> = serde_json::from_slice(&keys(&world, &["versions", "--json"]).await.stdout).unwrap();
        (versions.len() == 2).then_some(())
    })
    .await;
    assert_eq!(world.gateway.metrics().await.sum("doorward_issuer_drift_total", ""), 0.0, "the first is no drift");
    let elsewhere = format!("{}/elsewhere", world.issuer.url);
    world.issuer.describe("token_endpoint", json!(elsewhere));
    world.issuer.describe("id_token_signing_alg_values_supported", json!(["RS256", "PS256"]));
    for kind in ["endpoint", "algorithms"] {
        eventually(kind, async || {
            asked().await;
            (drift(&world.gateway, kind).await == 1.0).then_some(())
        })
        .await;
    }
    let acts = many_acts(&world.gateway, "admin/drift", 2).await;
    assert!(acts.iter().any(|act| act["name"].as_str().unwrap().contains(&elsewhere)), "{acts:?}");
    let versions: Vec<Value> = serde_json::from_slice(&keys(&world, &["versions", "--json"]).await.stdout).unwrap();
    let kinds: Vec<&str> = versions.iter().map(|version| version["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["keys", "metadata", "metadata"]);
    assert_eq!(versions[2]["summary"]["token_endpoint"], json!([elsewhere]));
}

#[tokio::test]
async fn a_decision_on_a_key_that_would_have_no_effect_is_refused() {
    let world = world("approved").await;
    becomes(&world, &world.origin, &world.issuer.signer, 200).await;
    eventually("the key", async || (listed(&world).await.len() == 1).then_some(())).await;
    for what in [vec!["approve", "nothing"], vec!["approve", "key-1"], vec!["reject", "key-1", "--issuer", "elsewhere"]] {
        let output = keys(&world, &[what.as_slice(), &["--reason", "x", "--by", "y"]].concat()).await;
        assert_eq!(output.status.code(), Some(3), "{what:?}");
    }
    becomes(&world, &world.origin, &world.issuer.signer, 200).await;
}

#[tokio::test]
async fn explain_knows_of_a_key_on_hold() {
    let world = world("approved").await;
    let (new, here) = (Signer::es256("key-2"), world.origin.clone());
    becomes(&world, &here, &world.issuer.signer, 200).await;
    world.issuer.publish(&new);
    becomes(&world, &here, &new, 401).await;
    acts(&world.gateway, "admin/drift").await;
    let file = world.folder.path().join("token");
    std::fs::write(&file, signed_by(&world, &here, &new)).unwrap();
    let config = world.gateway.config_file.display().to_string();
    let output =
        run(&["explain", "--config", &config, "--token", file.to_str().unwrap(), "--upstream", "files", "--tool", "read_file"]).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("token_key_held"), "{said} {}", String::from_utf8_lossy(&output.stderr));
}
