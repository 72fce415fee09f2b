//! What was used is counted, reviewed, narrowed and attested (S38, S39): on SQLite, and on PostgreSQL.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::revocation::second;
use crate::support::gateway::run;
use crate::support::postgres::Postgres;
use crate::support::{Setup, World, eventually};

/// Rules with wildcards: of readers, and of whoever may write for all the rest.
fn rules() -> Value {
    json!([
        {"name": "readers", "tools": ["get_*", "keep"], "resources": ["file:///pub/**"], "scopes": ["files:read"]},
        {"name": "writers", "tools": ["*"], "scopes": ["files:write"]},
    ])
}

/// Where uses are written down.
enum Place<'a> {
    File,
    Shared(&'a Postgres),
}

async fn world(place: Place<'_>, unknown: &str) -> World {
    let mut setup = Setup::new().await;
    setup.config["store"] = match place {
        Place::File => json!(format!("sqlite:{}", setup.folder.path().join("doorward.db").display())),
        Place::Shared(postgres) => {
            let file = setup.folder.path().join("store-url");
            std::fs::write(&file, postgres.url()).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
            json!({"url_file": file})
        }
    };
    setup.config["upstreams"]["files"]["clients"] = json!({"unknown": unknown});
    setup.config["upstreams"]["files"]["rules"] = rules();
    setup.start().await
}

async fn doorward(world: &World, command: &[&str]) -> Output {
    let config = world.gateway.config_file.display().to_string();
    let at = command.iter().position(|word| word.starts_with('-')).unwrap_or(command.len());
    let (words, flags) = command.split_at(at);
    run(&[words, &["--config", &config], flags].concat()).await
}

/// It was done, and said this.
async fn done(world: &World, command: &[&str]) -> String {
    let output = doorward(world, command).await;
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn review(world: &World) -> Value {
    let output = doorward(world, &["review", "--json"]).await;
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// The review, once it knows of so many requests.
async fn reviewed(world: &World, passed: u64) -> Value {
    eventually("uses to be written down", async || {
        let review = review(world).await;
        let sum: u64 = review["grants"].as_array().unwrap().iter().map(|grant| grant["passed"].as_u64().unwrap()).sum();
        (sum >= passed).then_some(review)
    })
    .await
}

fn token(world: &World, client: &str, subject: &str, scope: &str) -> String {
    world.token(|token| {
        token.claims["client_id"] = json!(client);
        token.claims["sub"] = json!(subject);
        token.claims["scope"] = json!(scope);
    })
}

async fn becomes(world: &World, token: &str, tool: &str, status: u16) {
    eventually(&format!("{status} for `{tool}`"), async || (world.tool(tool).token(token).send().await.status == status).then_some(()))
        .await;
}

/// From a pending client to a retired one in ten commands, each of which an operator would type.
async fn story(world: World) {
    let desk = token(&world, "desk-1", "alice", "files:read files:write");
    let call = async |tool: &str| world.tool(tool).token(&desk).send().await.status;
    assert_eq!(call("get_a").await, 403);
    // 1: who waits?
    let code = eventually("the queue", async || {
        let queue: Value = serde_json::from_str(&done(&world, &["clients", "list", "--state", "pending", "--json"]).await).unwrap();
        queue[0]["code"].as_str().map(str::to_owned)
    })
    .await;
    let why = ["--reason", "ticket 7", "--by", "mia"];
    // 2: let it in.
    done(&world, &[&["clients", "approve", code.as_str(), "--owner", "Team A"], why.as_slice()].concat()).await;
    becomes(&world, &desk, "get_a", 200).await;
    assert_eq!((call("get_b").await, call("keep").await), (200, 200));
    let read = world.modern("resources/read", json!({"uri": "file:///pub/a"})).token(&desk).send().await;
    assert_eq!(read.status, 200);

    // 3: what was granted and not needed? The answer is no: there is something.
    reviewed(&world, 4).await;
    let patch = world.folder.path().join("narrower.patch").display().to_string();
    let output = doorward(&world, &["review", "--patch", &patch]).await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(&format!("doorward clients approve {code} --scopes files:read")), "{text}");
    assert!(
        text.contains("readers: tools get_* is wider than its use") && text.contains("writers: nothing that it names was used"),
        "{text}"
    );
    // 4 and 5: the rules as they were used.
    let applied = Command::new("patch").args(["-p1", "-i", &patch, "-d"]).arg(world.folder.path()).output().unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stdout));
    done(&world, &["check"]).await;
    becomes(&world, &desk, "get_c", 403).await;
    assert_eq!((call("get_a").await, call("get_b").await, call("keep").await), (200, 200, 200));
    let other = world.modern("resources/read", json!({"uri": "file:///pub/b"})).token(&desk).send().await;
    assert_eq!((other.status, call("anything").await), (403, 200), "the rule behind decides on what it did before");
    // 6: only what it needs.
    done(&world, &[&["clients", "approve", code.as_str(), "--scopes", "files:read"], why.as_slice()].concat()).await;
    becomes(&world, &desk, "anything", 403).await;
    assert_eq!(call("get_a").await, 200);
    // 7: somebody has looked.
    let said = done(&world, &["review", "attest", "--by", "mia", "--note", "quarter 3"]).await;
    // 8 and 9: for a while, and for ever.
    done(&world, &[&["clients", "suspend", code.as_str()], why.as_slice()].concat()).await;
    becomes(&world, &desk, "get_a", 403).await;
    done(&world, &[&["clients", "retire", code.as_str()], why.as_slice()].concat()).await;
    // 10: the log proves it all.
    let mut world = world;
    world.gateway.signal("TERM");
    assert!(world.gateway.exit().await.success());
    let output = run(&["audit", "verify", &world.gateway.audit_file.display().to_string(), "--complete"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let acts: Vec<Value> = world.gateway.records().into_iter().filter(|one| one["actor"] == "mia").collect();
    let done: Vec<&str> = acts.iter().map(|act| act["operation"].as_str().unwrap()).collect();
    let approve = "admin/client_approve";
    assert_eq!(done, [approve, approve, "admin/review_attest", "admin/client_suspend", "admin/client_retire"]);
    let attested = &acts[2];
    let digest = attested["name"].as_str().unwrap().strip_prefix("review ").unwrap();
    assert!(attested["reason"] == "quarter 3" && digest.len() == 43 && said.contains(digest), "{attested}");
}

#[tokio::test]
async fn an_operator_leads_a_client_from_pending_to_retired_with_ten_commands_on_sqlite() {
    story(world(Place::File, "pending").await).await;
}

#[tokio::test]
async fn an_operator_leads_a_client_from_pending_to_retired_with_ten_commands_on_postgresql() {
    let postgres = Postgres::start().await;
    story(world(Place::Shared(&postgres), "pending").await).await;
}

/// The commands of docs/clients.md, as they stand there.
fn ten_commands() -> [&'static str; 10] {
    let (_, section) = include_str!("../../docs/clients.md").split_once("in ten commands\n").unwrap();
    let (_, block) = section.split_once("```console\n").unwrap();
    let lines: Vec<&str> = block.split("```").next().unwrap().lines().collect();
    lines.try_into().unwrap_or_else(|lines: Vec<&str>| panic!("{} commands", lines.len()))
}

/// Types a command into a shell in the folder of the configuration.
async fn typed(world: &World, line: &str, code: &str, variables: &[(&str, String)]) -> (Option<i32>, String) {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_doorward")).parent().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).current_dir(world.folder.path()).env("DOORWARD_CONFIG", &world.gateway.config_file).env("CODE", code);
    shell.env("PATH", format!("{}:{}", binary.display(), std::env::var("PATH").unwrap())).envs(variables.iter().cloned());
    let output = tokio::task::spawn_blocking(move || shell.output().unwrap()).await.unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr))
}

async fn as_on_the_page(world: World, variables: &[(&str, String)]) {
    let desk = token(&world, "desk-1", "alice", "files:read files:write");
    becomes(&world, &desk, "get_a", 403).await;
    let [list, approve, show, review, narrow, attest, suspend, retire, search, verify] = ten_commands();
    let code = eventually("the queue", async || {
        let (_, said) = typed(&world, list, "", variables).await;
        Some(said.split_whitespace().nth(2)?.to_owned())
    })
    .await;
    let done = async |line: &str| {
        let (status, said) = typed(&world, line, &code, variables).await;
        assert_eq!(status, Some(0), "{line}: {said}");
        said
    };
    done(approve).await;
    becomes(&world, &desk, "get_a", 200).await;
    eventually("its use", async || done(show).await.contains("scopes files:read, files:write, used get_a").then_some(())).await;
    let (status, said) = typed(&world, review, &code, variables).await;
    assert!(status == Some(1) && said.contains(&format!("doorward clients approve {code} --scopes files:read")), "{said}");
    done(narrow).await;
    becomes(&world, &desk, "anything", 403).await;
    assert_eq!(world.tool("get_a").token(&desk).send().await.status, 200);
    assert!(done(attest).await.starts_with("attested: review of desk-1 "));
    done(suspend).await;
    becomes(&world, &desk, "get_a", 403).await;
    done(retire).await;
    eventually("the tombstone", async || world.tool("get_a").token(&desk).send().await.text().contains("not used any more").then_some(()))
        .await;
    let found: Vec<Value> = done(search).await.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let acts: Vec<&str> = found.iter().map(|act| act["operation"].as_str().unwrap()).collect();
    let approve = "admin/client_approve";
    assert_eq!(acts, [approve, approve, "admin/review_attest", "admin/client_suspend", "admin/client_retire"]);
    let by = |act: &Value| act["actor"].as_str().is_some_and(|actor| actor.ends_with("mia"));
    assert!(found.iter().all(by), "{found:?}");
    assert!(done(verify).await.contains("the log is what was written"));
}

#[tokio::test]
async fn issue_5_the_ten_commands_of_the_page_lead_a_client_from_pending_to_retired_with_the_audit_to_prove_it() {
    as_on_the_page(world(Place::File, "pending").await, &[]).await;
}

#[tokio::test]
async fn issue_5_the_ten_commands_of_the_page_do_the_same_over_the_admin_api() {
    let mut setup = Setup::new().await;
    let file = setup.folder.path().join("operator");
    std::fs::write(&file, "0123456789abcdef0123456789abcdef").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    setup.config["admin"]["tokens"] = json!([{"name": "ops", "role": "operator", "file": file}]);
    setup.config["store"] = json!(format!("sqlite:{}", setup.folder.path().join("doorward.db").display()));
    setup.config["upstreams"]["files"]["clients"] = json!({"unknown": "pending"});
    setup.config["upstreams"]["files"]["rules"] = rules();
    let world = setup.start().await;
    let variables = [("DOORWARD_ADMIN", world.gateway.admin.clone()), ("DOORWARD_ADMIN_TOKEN_FILE", file.display().to_string())];
    as_on_the_page(world, &variables).await;
}

#[tokio::test]
async fn a_client_of_the_configuration_is_narrowed_where_it_stands_and_the_review_says_where() {
    let mut setup = Setup::new().await;
    setup.config["store"] = json!(format!("sqlite:{}", setup.folder.path().join("doorward.db").display()));
    setup.config["upstreams"]["files"]["rules"] = rules();
    setup.config["clients"] = json!({"desk": {"id": "desk-1", "issuer": "corp"}, "idle": {"issuer": "corp"}});
    let world = setup.start().await;
    let desk = token(&world, "desk-1", "alice", "files:read files:write");
    world.tool("get_a").token(&desk).send().await.is(200);
    let review = reviewed(&world, 1).await;
    let place = |client: &str| {
        let found = review["configured"].as_array().unwrap().iter().find(|one| one["client"] == client).unwrap();
        found["place"].as_str().unwrap().to_owned()
    };
    let text = String::from_utf8(doorward(&world, &["review"]).await.stdout).unwrap();
    assert!(text.contains(&format!("write `scopes: [files:read]` at {}", place("desk-1"))), "{text}");
    assert!(text.contains(&format!("write `state: suspended`, at {}", place("idle"))), "{text}");
    assert!(!text.contains("doorward clients approve") && !text.contains("doorward clients suspend"), "{text}");
    // What it says is what works: the command is sent to the same place.
    let refused = doorward(&world, &["clients", "approve", "desk-1", "--scopes", "files:read", "--reason", "r", "--by", "mia"]).await;
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(3) && said.contains(&place("desk-1")), "{said}");
    let mut config = world.config.clone();
    config["clients"]["desk"]["scopes"] = json!(["files:read"]);
    world.gateway.reload(&config).await;
    becomes(&world, &desk, "anything", 403).await;
}

#[tokio::test]
async fn s38_every_client_that_came_is_in_the_inventory_with_its_first_and_last_use() {
    let world = world(Place::File, "allow").await;
    let before = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let (alice, bob) = (token(&world, "desk-1", "alice", "files:read"), token(&world, "desk-1", "bob", "files:read"));
    for token in [&alice, &alice, &bob] {
        world.tool("get_a").token(token).send().await.is(200);
    }
    world.tool("wipe").token(&bob).send().await.is(403);
    reviewed(&world, 3).await;
    let list: Value = serde_json::from_str(&done(&world, &["clients", "list", "--json"]).await).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    assert_eq!((&list[0]["id"], &list[0]["state"], &list[0]["source"]), (&json!("desk-1"), &json!("pending"), &json!("observed")));
    assert_eq!((&list[0]["uses"], &list[0]["subjects"]), (&json!(3), &json!(2)));
    for key in ["first_seen", "first_used", "last_used"] {
        assert!(list[0][key].as_str().unwrap() >= before.as_str(), "{key}: {list}");
    }
    let shown: Value = serde_json::from_str(&done(&world, &["clients", "show", "desk-1", "--json"]).await).unwrap();
    let grants: Vec<(&str, u64, u64)> = shown["grants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|grant| (grant["subject"].as_str().unwrap(), grant["passed"].as_u64().unwrap(), grant["refused"].as_u64().unwrap()))
        .collect();
    assert_eq!(grants, [("alice", 2, 0), ("bob", 1, 1)]);
    assert!(done(&world, &["clients", "list"]).await.contains("last used 20"));
    // Known by its use alone, it can be decided on at once.
    done(&world, &["clients", "suspend", "desk-1", "--reason", "unknown", "--by", "mia"]).await;
    becomes(&world, &alice, "get_a", 403).await;
    assert_eq!(world.gateway.metrics().await.sum("doorward_clients", r#"state="suspended""#), 1.0);
    assert_eq!(world.gateway.metrics().await.sum("doorward_observed_lost_total", ""), 0.0);
}

#[tokio::test]
async fn s39_a_client_that_is_not_used_is_found_and_so_is_a_grant() {
    let world = world(Place::File, "allow").await;
    done(&world, &["clients", "approve", "idle", "--issuer", "corp", "--reason", "r", "--by", "mia"]).await;
    let lists = token(&world, "desk-1", "alice", "files:read");
    world.modern("tools/list", json!({})).token(&lists).send().await.is(200);
    let review = reviewed(&world, 1).await;
    let found = |kind: &str, key: &str| -> Vec<Value> {
        review["findings"].as_array().unwrap().iter().filter(|one| one["finding"] == kind).map(|one| one[key].clone()).collect()
    };
    assert_eq!(found("unused_client", "client"), ["idle"]);
    assert_eq!(found("unused_grant", "subject"), ["alice"]);
    assert_eq!(found("unused_rule", "rule"), ["readers", "writers", "crm#1"]);
    let place = found("unused_rule", "place")[0].as_str().unwrap().to_owned();
    let (file, line) = place.rsplit_once(':').unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    let line: usize = line.parse().unwrap();
    assert!(text.lines().nth(line - 1).unwrap().contains("- name: readers"), "{place}");
}

#[tokio::test]
async fn an_attestation_holds_until_there_is_something_new_to_look_at() {
    let world = world(Place::File, "allow").await;
    let desk = token(&world, "desk-1", "alice", "files:read");
    world.tool("get_a").token(&desk).send().await.is(200);
    let first = reviewed(&world, 1).await;
    assert_eq!(first["attested"], Value::Null);
    let digest = first["digest"].as_str().unwrap();
    let other = doorward(&world, &["review", "attest", "--by", "mia", "--digest", "another"]).await;
    assert_eq!(other.status.code(), Some(1), "it is not what was looked at");
    done(&world, &["review", "attest", "--by", "mia", "--digest", digest]).await;
    done(&world, &["review", "attest", "--by", "noa", "--client", "desk-1", "--note", "needed"]).await;
    let standing = async || {
        let review = review(&world).await;
        (review["attested"]["by"].clone(), review["attested"]["unchanged"].clone(), review["attested_clients"][0]["by"].clone())
    };
    assert_eq!(standing().await, (json!("mia"), json!(true), json!("noa")));
    world.tool("get_a").token(&desk).send().await.is(200);
    reviewed(&world, 2).await;
    assert_eq!(standing().await.1, json!(true), "the same once more is nothing new");
    world.tool("get_b").token(&desk).send().await.is(200);
    reviewed(&world, 3).await;
    assert_eq!(standing().await.1, json!(false));
    let records: Vec<Value> = world.gateway.records().into_iter().filter(|one| one["operation"] == "admin/review_attest").collect();
    assert_eq!(records.len(), 2);
    assert_eq!(records[0]["name"], json!(format!("review {digest}")));
    assert!(records[1]["name"].as_str().unwrap().contains(&format!("of client desk-1 of {}", world.issuer.url)), "{}", records[1]);
}

#[tokio::test]
async fn two_gateways_on_postgresql_count_together() {
    let postgres = Postgres::start().await;
    let world = world(Place::Shared(&postgres), "allow").await;
    let (_other, _folder, origin) = second(&world).await;
    let here = token(&world, "desk-1", "alice", "files:read");
    let there = world.issuer.token(&format!("{origin}/mcp/files"), |token| {
        token.claims["client_id"] = json!("desk-1");
        token.claims["sub"] = json!("alice");
        token.claims["scope"] = json!("files:read");
    });
    for _ in 0..3 {
        world.tool("get_a").token(&here).send().await.is(200);
        world.tool("get_a").by(&world.http, &origin).token(&there).send().await.is(200);
    }
    let review = reviewed(&world, 6).await;
    assert_eq!(review["grants"].as_array().unwrap().len(), 1, "{review}");
    let used = &review["grants"][0]["used"][0];
    assert_eq!((&used["name"], &used["uses"], &review["grants"][0]["passed"]), (&json!("get_a"), &json!(6), &json!(6)));
}

#[tokio::test]
async fn what_is_counted_is_written_down_when_the_gateway_stops() {
    let mut world = world(Place::File, "allow").await;
    let desk = token(&world, "desk-1", "alice", "files:read");
    world.tool("get_a").token(&desk).send().await.is(200);
    world.gateway.signal("TERM");
    assert!(world.gateway.exit().await.success());
    assert_eq!(review(&world).await["grants"][0]["used"][0]["name"], "get_a");
}

#[tokio::test]
async fn what_a_stranger_calls_itself_is_harmless_on_the_page_in_the_sheet_and_on_the_terminal() {
    let world = world(Place::File, "allow").await;
    let sly = "=<script>alert(1)</script>,\"\u{9b}31m";
    world.tool("get_a").token(&token(&world, sly, "alice", "files:read")).send().await.is(200);
    reviewed(&world, 1).await;
    let [page, sheet] = ["review.html", "review.csv"].map(|name| world.folder.path().join(name).display().to_string());
    let output = doorward(&world, &["review", "--since", "1h", "--html", &page, "--csv", &sheet]).await;
    assert_eq!(output.status.code(), Some(1));
    let page = std::fs::read_to_string(page).unwrap();
    assert!(!page.contains("<script") && page.contains("&#60;script&#62;alert(1)"), "{page}");
    assert!(page.contains("default-src 'none'") && page.contains("prefers-color-scheme: dark"));
    let sheet = std::fs::read_to_string(sheet).unwrap();
    assert!(sheet.starts_with("row,upstream,issuer,client,subject,") && sheet.contains(",\"'=<script>"), "{sheet}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains('\u{9b}') && text.contains("--- a/doorward.yaml\n+++ b/doorward.yaml\n@@ "), "{text}");
    // The same by the list of clients.
    assert!(!done(&world, &["clients", "list"]).await.contains('\u{9b}'));
}

#[tokio::test]
async fn without_a_store_there_is_nothing_to_review() {
    let world = World::start().await;
    assert_eq!(doorward(&world, &["review"]).await.status.code(), Some(3));
    assert_eq!(doorward(&world, &["review", "--json", "attest", "--by", "mia"]).await.status.code(), Some(2));
    world.tool("read_file").token(&world.ta()).send().await.is(200);
}
