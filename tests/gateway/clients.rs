//! Clients have a life: from pending to approved, narrowed, suspended and retired (S37), on every replica.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::gateway::run;
use crate::support::upstream::Answer;
use crate::support::{Setup, World, eventually, soon};

/// A world in which clients must be approved.
async fn world() -> World {
    let mut setup = Setup::new().await;
    let file = setup.folder.path().join("doorward.db");
    setup.config["store"] = json!(format!("sqlite:{}", file.display()));
    setup.config["upstreams"]["files"]["clients"] = json!({"unknown": "pending"});
    setup.start().await
}

async fn clients(world: &World, what: &[&str]) -> Output {
    let config = world.gateway.config_file.display().to_string();
    let mut arguments = vec!["clients", what[0], "--config", &config];
    arguments.extend(&what[1..]);
    run(&arguments).await
}

async fn decided(world: &World, what: &[&str]) -> Output {
    clients(world, &[what, &["--reason", "ticket 7", "--by", "mia"]].concat()).await
}

async fn done(world: &World, what: &[&str]) {
    let output = decided(world, what).await;
    assert!(output.status.success(), "{what:?}: {}", String::from_utf8_lossy(&output.stderr));
}

async fn listed(world: &World) -> Value {
    let output = clients(world, &["list", "--json"]).await;
    serde_json::from_slice(&output.stdout).unwrap()
}

fn token(world: &World, client: &str) -> String {
    world.token(|token| token.claims["client_id"] = json!(client))
}

async fn call(world: &World, token: &str) -> Reply {
    world.tool("read_file").token(token).send().await
}

/// Until calls are answered with this status and, for a refusal, this message.
async fn becomes(world: &World, token: &str, status: u16, message: &str) {
    eventually(message, async || {
        let reply = call(world, token).await;
        (reply.status == status && reply.text().contains(message)).then_some(())
    })
    .await;
}

async fn reasons(world: &World, reason: &str) {
    let records = world.gateway.audited(1, |record| record["reason"] == reason).await;
    assert_eq!(records[0]["outcome"], "refused", "{reason}");
}

#[tokio::test]
async fn s37_s38_from_pending_to_approved_narrowed_suspended_and_retired() {
    let world = world().await;
    let token = token(&world, "desk-1");
    let before = world.files.count();
    let reply = call(&world, &token).await;
    reply.refuses(403, -31403);
    assert_eq!(reply.challenge(), "", "no challenge would cure it");
    let code = reply.text().split("code ").nth(1).unwrap()[..8].to_owned();
    reasons(&world, "client_pending").await;
    eventually("in the queue", async || (listed(&world).await.as_array().unwrap().len() == 1).then_some(())).await;
    assert_eq!(world.files.count(), before);
    let seen = listed(&world).await[0].clone();
    assert_eq!((&seen["id"], &seen["code"], &seen["state"]), (&json!("desk-1"), &json!(code), &json!("pending")));
    assert_eq!((&seen["source"], &seen["issuer"]), (&json!("observed"), &json!(world.issuer.url)));

    done(&world, &["approve", &code, "--owner", "Team A", "--purpose", "desk"]).await;
    becomes(&world, &token, 200, "").await;
    done(&world, &["approve", "desk-1", "--scopes", "nothing"]).await;
    becomes(&world, &token, 403, "scope").await;
    done(&world, &["approve", "desk-1", "--all-scopes", "--upstreams", "crm"]).await;
    becomes(&world, &token, 403, "not approved for this resource").await;
    done(&world, &["approve", "desk-1", "--all-upstreams"]).await;
    becomes(&world, &token, 200, "").await;
    done(&world, &["suspend", "desk-1"]).await;
    becomes(&world, &token, 403, "suspended").await;
    done(&world, &["approve", "desk-1"]).await;
    becomes(&world, &token, 200, "").await;
    done(&world, &["retire", "desk-1"]).await;
    becomes(&world, &token, 403, "not used any more").await;
    let output = decided(&world, &["approve", "desk-1"]).await;
    assert_eq!(output.status.code(), Some(3), "a tombstone");
    for reason in ["client_suspended", "client_retired", "client_upstream"] {
        reasons(&world, reason).await;
    }

    let output = clients(&world, &["show", "desk-1", "--json"]).await;
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&shown["owner"], &shown["purpose"]), (&json!("Team A"), &json!("desk")));
    let states: Vec<&str> = shown["decisions"].as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["pending", "approved", "approved", "approved", "approved", "suspended", "approved", "retired"]);
    let records: Vec<Value> = world.gateway.records().into_iter().filter(|record| record["operation"] == "admin/client_retire").collect();
    assert_eq!((&records[0]["actor"], &records[0]["reason"]), (&json!("mia"), &json!("ticket 7")));
}

#[tokio::test]
async fn explain_says_what_a_governed_client_hears_and_not_only_what_the_rules_say() {
    let world = world().await;
    let file = world.folder.path().join("claims.json");
    let claims = json!({"iss": world.issuer.url, "sub": "user-a", "client_id": "desk-1", "scope": "files:read"});
    std::fs::write(&file, claims.to_string()).unwrap();
    let explain = async |more: &[&str]| {
        let config = world.gateway.config_file.display().to_string();
        let claims = file.display().to_string();
        let fixed = ["explain", "--config", &config, "--upstream", "files", "--tool", "read_file", "--claims", &claims];
        let output = run(&[&fixed[..], more].concat()).await;
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let tells = async |code: i32, texts: &[&str]| {
        let (status, said) = explain(&[]).await;
        assert_eq!(status, Some(code), "{said}");
        assert!(texts.iter().all(|text| said.contains(text)), "{texts:?}: {said}");
    };
    tells(1, &["refused", "client_pending", "doorward clients approve desk-1", "hears     403"]).await;
    call(&world, &token(&world, "desk-1")).await.is(403);
    eventually("in the queue", async || (listed(&world).await.as_array().unwrap().len() == 1).then_some(())).await;
    done(&world, &["approve", "desk-1"]).await;
    tells(0, &["permitted", "readers"]).await;
    done(&world, &["approve", "desk-1", "--scopes", "crm:read"]).await;
    tells(1, &["refused", "scope `files:read`", "cut to what it is approved for: none"]).await;
    done(&world, &["suspend", "desk-1"]).await;
    tells(1, &["client_suspended", "doorward clients resume desk-1"]).await;
    let (status, said) = explain(&["--json"]).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &said["permitted"], &said["reason"]), (Some(1), &json!(false), &json!("client_suspended")));
    assert_eq!(said["hears"]["status"], json!(403));
}

#[tokio::test]
async fn an_approval_is_for_one_client_alone() {
    let world = world().await;
    done(&world, &["approve", "desk-1", "--issuer", "corp"]).await;
    becomes(&world, &token(&world, "desk-1"), 200, "").await;
    call(&world, &token(&world, "DESK-1")).await.is(403);
    call(&world, &token(&world, "desk-1 ")).await.is(403);
    let unnamed = world.token(|token| {
        token.remove("client_id");
        token.remove("azp");
    });
    assert_ne!(call(&world, &unnamed).await.status, 200);
}

#[tokio::test]
async fn a_suspended_client_is_refused_where_unknown_ones_are_allowed() {
    let mut setup = Setup::new().await;
    let file = setup.folder.path().join("doorward.db");
    setup.config["store"] = json!(format!("sqlite:{}", file.display()));
    let world = setup.start().await;
    let token = token(&world, "desk-1");
    call(&world, &token).await.is(200);
    done(&world, &["approve", "desk-1", "--issuer", "corp"]).await;
    done(&world, &["suspend", "desk-1"]).await;
    becomes(&world, &token, 403, "suspended").await;
}

#[tokio::test]
async fn a_decision_that_would_have_no_effect_is_refused() {
    let world = world().await;
    for what in [
        vec!["suspend", "nobody"],
        vec!["approve", "nobody"],
        vec!["retire", "nobody", "--issuer", "corp"],
        vec!["approve", "a", "--issuer", "elsewhere"],
        vec!["approve", "a", "--issuer", "corp", "--upstreams", "nothing"],
        vec!["approve", "a", "--issuer", "corp", "--expires", "2001-01-01T00:00:00Z"],
    ] {
        assert_eq!(decided(&world, &what).await.status.code(), Some(3), "{what:?}");
    }
    assert_eq!(listed(&world).await, json!([]));
}

#[tokio::test]
async fn s37_a_stream_ends_with_the_approval_of_its_client_though_nothing_else_happens() {
    let world = world().await;
    let mut streams = Vec::new();
    let mut expires = std::time::UNIX_EPOCH;
    for client in ["desk-2", "desk-1"] {
        let mut terms = vec!["approve", client, "--issuer", "corp"];
        let until;
        if client == "desk-1" {
            let seconds = crate::support::issuer::now() + 6;
            expires += std::time::Duration::from_secs(seconds);
            until = humantime::format_rfc3339_seconds(expires).to_string();
            terms.extend(["--expires", &until]);
        }
        done(&world, &terms).await;
        becomes(&world, &token(&world, client), 200, "").await;
        let (answer, feed) = Answer::stream();
        world.files.once(answer);
        let listen = world.modern("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}));
        let stream = listen.token(&token(&world, client)).open().await;
        assert_eq!(stream.status(), 200);
        streams.push((stream, feed));
    }
    let (mut ending, _idle) = streams.pop().unwrap();
    let (mut lasting, feed) = streams.pop().unwrap();
    let last = soon("the last event", ending.chunk()).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&last).contains("subscriptionId"), "{last:?}");
    let late = std::time::SystemTime::now().duration_since(expires);
    assert!(late.is_ok_and(|late| late.as_millis() < 1_000), "it ends then, and within a second");
    feed.send(Ok(": still here\n\n".into())).await.unwrap();
    assert_eq!(soon("an event", lasting.chunk()).await.unwrap().unwrap(), ": still here\n\n");
    world.gateway.audited(1, |record| record["reason"] == "client_expired" && record["status"] == 200).await;
    call(&world, &token(&world, "desk-1")).await.is(403);
}

#[tokio::test]
async fn s37_streams_of_a_client_end_when_it_is_suspended_or_its_scopes_are_cut_and_no_others() {
    let world = world().await;
    for client in ["desk-1", "desk-2", "desk-3"] {
        done(&world, &["approve", client, "--issuer", "corp"]).await;
        becomes(&world, &token(&world, client), 200, "").await;
    }
    let mut streams = Vec::new();
    for client in ["desk-1", "desk-2", "desk-3"] {
        let (answer, feed) = Answer::stream();
        world.files.once(answer);
        let listen = world.modern("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}));
        let stream = listen.token(&token(&world, client)).open().await;
        assert_eq!(stream.status(), 200);
        streams.push((stream, feed));
    }
    done(&world, &["suspend", "desk-1"]).await;
    done(&world, &["approve", "desk-2", "--scopes", "nothing"]).await;
    let (mut lasting, feed) = streams.pop().unwrap();
    for (mut stream, _idle) in streams {
        while soon("the end of the stream", stream.chunk()).await.unwrap().is_some() {}
    }
    feed.send(Ok(": still here\n\n".into())).await.unwrap();
    assert_eq!(soon("an event", lasting.chunk()).await.unwrap().unwrap(), ": still here\n\n");
    for reason in ["client_suspended", "client_narrowed"] {
        world.gateway.audited(1, |record| record["reason"] == reason && record["status"] == 200).await;
    }
}

/// A world whose configuration has clients.
async fn configured(clients: Value) -> World {
    let mut setup = Setup::new().await;
    let file = setup.folder.path().join("doorward.db");
    setup.config["store"] = json!(format!("sqlite:{}", file.display()));
    setup.config["upstreams"]["files"]["clients"] = json!({"unknown": "pending"});
    setup.config["clients"] = clients;
    setup.start().await
}

#[tokio::test]
async fn s38_clients_of_the_configuration_and_of_the_store_are_one_list() {
    let world = configured(json!({
        "desk": {"id": "desk-1", "owner": "Team A", "purpose": "desk", "scopes": ["files:read"], "upstreams": ["files"],
                 "redirect_uris": ["http://127.0.0.1/callback"], "names": ["Desk"]},
        "old": {"id": "desk-0", "state": "suspended"},
    }))
    .await;
    becomes(&world, &token(&world, "desk-1"), 200, "").await;
    call(&world, &token(&world, "desk-0")).await.is(403);
    call(&world, &token(&world, "desk-2")).await.is(403);
    eventually("the queue", async || (listed(&world).await.as_array().unwrap().len() == 3).then_some(())).await;
    let list = listed(&world).await;
    let of = |id: &str| list.as_array().unwrap().iter().find(|client| client["id"] == id).unwrap().clone();
    let state = |id: &str| (of(id)["source"].clone(), of(id)["state"].clone());
    assert_eq!(state("desk-1"), (json!("configured"), json!("approved")));
    assert_eq!(state("desk-0"), (json!("configured"), json!("suspended")));
    assert_eq!(state("desk-2"), (json!("observed"), json!("pending")));
    let desk = of("desk-1");
    assert_eq!(
        (&desk["owner"], &desk["redirect_uris"], &desk["names"]),
        (&json!("Team A"), &json!(["http://127.0.0.1/callback"]), &json!(["Desk"]))
    );
    assert!(desk["configured_at"].as_str().unwrap().contains("doorward.yaml:"), "{desk}");
}

#[tokio::test]
async fn s37_a_configured_client_is_changed_in_its_file_and_by_command_only_suspended_or_retired() {
    let world = configured(json!({"desk": {"id": "desk-1"}})).await;
    let token = token(&world, "desk-1");
    becomes(&world, &token, 200, "").await;
    for what in [vec!["approve", "desk-1"], vec!["approve", "desk-1", "--scopes", "a"], vec!["own", "desk-1", "--owner", "Team B"]] {
        let output = decided(&world, &what).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{what:?}");
        assert!(said.contains("doorward.yaml:") && said.contains("change it there"), "{said}");
    }
    done(&world, &["suspend", "desk-1"]).await;
    becomes(&world, &token, 403, "suspended").await;
    let refused = decided(&world, &["approve", "desk-1", "--all-scopes"]).await;
    assert_eq!(refused.status.code(), Some(3), "terms are the file's");
    done(&world, &["approve", "desk-1"]).await;
    becomes(&world, &token, 200, "").await;
    done(&world, &["retire", "desk-1"]).await;
    becomes(&world, &token, 403, "not used any more").await;
    // The file does not bring it back.
    let mut config = world.config.clone();
    config["clients"]["desk"]["owner"] = json!("Team B");
    world.gateway.reload(&config).await;
    call(&world, &token).await.is(403);
}

#[tokio::test]
async fn a_client_that_the_configuration_retires_stays_retired_when_its_entry_goes() {
    let world = configured(json!({"desk": {"id": "desk-1", "state": "retired"}})).await;
    let token = token(&world, "desk-1");
    becomes(&world, &token, 403, "not used any more").await;
    let shown = async || -> Value { serde_json::from_slice(&clients(&world, &["show", "desk-1", "--json"]).await.stdout).unwrap() };
    eventually("the tombstone", async || (shown().await["decisions"].as_array().unwrap().len() == 1).then_some(())).await;
    let mut config = world.config.clone();
    config.as_object_mut().unwrap().remove("clients");
    world.gateway.reload(&config).await;
    becomes(&world, &token, 403, "not used any more").await;
    let output = decided(&world, &["approve", "desk-1"]).await;
    assert_eq!(output.status.code(), Some(3), "a tombstone");
}

#[tokio::test]
async fn s42_a_reload_changes_what_a_configured_client_may_and_a_client_may_be_configured_without_a_store() {
    let world = World::with(|config| config["clients"] = json!({"desk": {"id": "desk-1", "upstreams": ["crm"]}})).await;
    let token = token(&world, "desk-1");
    becomes(&world, &token, 403, "not approved for this resource").await;
    call(&world, &world.ta()).await.is(200);
    let mut config = world.config.clone();
    config["clients"]["desk"]["upstreams"] = json!(["crm", "files"]);
    world.gateway.reload(&config).await;
    becomes(&world, &token, 200, "").await;
    config["clients"]["desk"]["expires"] = json!("2001-01-01T00:00:00Z");
    world.gateway.reload(&config).await;
    becomes(&world, &token, 403, "").await;
    reasons(&world, "client_expired").await;
}
