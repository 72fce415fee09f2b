//! `doorward grants`, `doorward ownership` and `doorward demo`: what an operator does and reads of the authorization server inside.

use std::process::Output;

use serde_json::{Value, json};

use crate::authorization_flow::{Scene, scene};
use crate::support::gateway::run;

const GADGET: &str = "https://gadget.example/cb";

async fn command(scene: &Scene, what: &[&str]) -> Output {
    let config = scene.world.gateway.config_file.display().to_string();
    let (words, rest) = what.split_at(what.iter().position(|word| word.starts_with('-')).unwrap_or(what.len()));
    run(&[words, &["--config", &config], rest].concat()).await
}

async fn listed(scene: &Scene, filter: &[&str]) -> Vec<Value> {
    let output = command(scene, &[&["grants", "list", "--json"], filter].concat()).await;
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test]
async fn an_operator_lists_what_people_let_clients_do_and_ends_one_of_it_at_once() {
    let scene = scene().await;
    let gadget = scene.register("Gadget", &[GADGET]).await;
    let one = scene.signs_in(&gadget, GADGET).await;
    let other = scene.signs_in("desk", "https://desk.example/cb").await;
    let all = listed(&scene, &[]).await;
    assert_eq!(all.len(), 2, "{all:?}");
    let [found] = listed(&scene, &["--client", &gadget]).await.try_into().unwrap();
    assert_eq!(
        (&found["subject"], &found["name"], &found["upstream"], &found["scopes"], &found["bound_to_a_key"]),
        (&json!("alice"), &json!("Alice"), &json!("files"), &json!(["files:read"]), &json!(false))
    );
    for nobody in [["--client", "x"], ["--subject", "bob"], ["--upstream", "crm"]] {
        assert!(listed(&scene, &nobody).await.is_empty(), "{nobody:?}");
    }
    assert_eq!(listed(&scene, &["--subject", "alice", "--upstream", "files"]).await.len(), 2);
    let text = String::from_utf8(command(&scene, &["grants", "list"]).await.stdout).unwrap();
    assert!(text.contains(&format!("alice `Alice` lets {gadget} use files (files:read), last used 20")), "{text}");

    let id = found["id"].as_str().unwrap();
    let why = ["--reason", "left the team", "--by", "mia"];
    // Of one that is there and one that is not, neither: who ends grants must not believe that more was ended than was.
    let wrong = command(&scene, &[&["grants", "end", id, "nothing"], why.as_slice()].concat()).await;
    assert_eq!(wrong.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("there is no grant `nothing`"));
    assert_eq!(listed(&scene, &[]).await.len(), 2);
    let done = command(&scene, &[&["grants", "end", id], why.as_slice()].concat()).await;
    assert_eq!(String::from_utf8_lossy(&done.stdout), "ended: 1\n", "{}", String::from_utf8_lossy(&done.stderr));
    let call = async |tokens: &Value| scene.world.tool("read_file").token(tokens["access_token"].as_str().unwrap()).send().await.status;
    crate::support::eventually("the end", async || (call(&one).await == 401).then_some(())).await;
    let refresh = one["refresh_token"].as_str().unwrap();
    let (status, said) = scene.token(&[("grant_type", "refresh_token"), ("client_id", &gadget), ("refresh_token", refresh)]).await;
    assert_eq!((status, &said["error"]), (400, &json!("invalid_grant")));
    assert_eq!((call(&other).await, listed(&scene, &[]).await.len()), (200, 1));
    let again = command(&scene, &[&["grants", "end", id], why.as_slice()].concat()).await;
    assert!(String::from_utf8_lossy(&again.stderr).contains("has ended already"));
    let acts: Vec<Value> = scene.world.gateway.records().into_iter().filter(|record| record["operation"] == "admin/revoke").collect();
    assert_eq!((acts.len(), &acts[0]["actor"], &acts[0]["reason"]), (1, &json!("mia"), &json!("left the team")));
}

#[tokio::test]
async fn ownership_says_for_each_upstream_who_does_what() {
    let scene = scene().await;
    let output = command(&scene, &["ownership", "--json"]).await;
    let all: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let (files, crm) = match all[0]["upstream"] == "files" {
        true => (&all[0], &all[1]),
        false => (&all[1], &all[0]),
    };
    assert_eq!((&files["ownership"], &crm["ownership"]), (&json!("bridge"), &json!("hosted")));
    let says = |upstream: &Value, duty: &str, part: &str| {
        let said = upstream[duty].as_str().unwrap().to_owned();
        assert!(said.contains(part), "{duty}: {said}");
    };
    says(files, "issues", &format!("Doorward, as {}", scene.world.origin));
    says(files, "registers", "metadata documents off, dynamic registration open, 1 in the configuration");
    says(files, "consents", "people sign in with Acme (`oidc`)");
    says(files, "signs", "ES256");
    says(files, "revokes", "doorward grants end");
    says(files, "reviews", "clients come in as `registration` says");
    says(crm, "issues", &scene.world.issuer.url);
    says(crm, "registers", "the issuer");
    says(crm, "signs", "keys from its metadata");
    says(crm, "reviews", "clients that nobody approved may call");
    let text = String::from_utf8(command(&scene, &["ownership"]).await.stdout).unwrap();
    assert!(text.contains(&format!("files ({}/mcp/files): bridge\n  issues     Doorward", scene.world.origin)), "{text}");
}

#[tokio::test]
async fn issue_6_9_the_demo_signs_a_client_in_with_no_other_service_and_shows_no_secret() {
    let output = run(&["demo", "--once"]).await;
    let (text, told) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{text}\n{told}");
    for part in [
        "POST /mine                                   401",
        "POST /register                               201",
        "GET /authorize?…                             200",
        "POST /doorward/consent                       303",
        "POST /doorward/sign-in                       303",
        "POST /token                                  200",
        "whoami: the server sees account|",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let shown = text.matches("/invite/").count();
    assert!(!text.contains("eyJ") && !text.contains("code=") && shown == text.matches("/invite/…").count(), "{text}");
}
