//! Clients that look for the authorization server's metadata at the gateway find the server's own document.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Issuer, Setup, World};

const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

/// Where clients guess it from the URL of the files endpoint.
fn guesses() -> [String; 6] {
    [
        OAUTH.into(),
        OPENID.into(),
        format!("{OAUTH}/mcp/files"),
        format!("{OPENID}/mcp/files"),
        format!("/mcp/files{OAUTH}"),
        format!("/mcp/files{OPENID}"),
    ]
}

#[tokio::test]
async fn items_8_and_9_every_guess_leads_to_the_issuer_that_the_resource_names() {
    let world = World::start().await;
    let resource = world.get("/.well-known/oauth-protected-resource/mcp/files").await.json();
    for path in guesses() {
        let reply = world.get(&path).await;
        let document = reply.is(200).json();
        assert_eq!(document["issuer"], resource["authorization_servers"][0], "{path}");
        assert!(document["code_challenge_methods_supported"].as_array().unwrap().contains(&json!("S256")), "{path}");
        assert!(reply.header("content-type").starts_with("application/json"), "{path}");
    }
    assert!(world.issuer.metadata_fetches() <= 3, "{} fetches", world.issuer.metadata_fetches());
    world.files.saw_nothing();
}

#[tokio::test]
async fn any_web_page_may_read_it_and_nobody_may_write_it() {
    let world = World::start().await;
    let at = |method: Method| world.modern("x", json!({})).path(OAUTH).method(method).body("").header("origin", "https://any.example");
    assert_eq!(at(Method::GET).send().await.is(200).header("access-control-allow-origin"), "*");
    let preflight = at(Method::OPTIONS).header("access-control-request-headers", "mcp-protocol-version").send().await;
    assert_eq!(preflight.is(204).header("access-control-allow-origin"), "*");
    assert!(at(Method::HEAD).send().await.is(200).body.is_empty());
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        at(method).send().await.is(405);
    }
}

#[tokio::test]
async fn where_resources_have_different_issuers_the_root_has_none_and_each_path_its_own() {
    let other = Issuer::start().await;
    let mut setup = Setup::new().await;
    setup.config["issuers"]["other"] = json!({"issuer": other.url});
    setup.config["upstreams"]["crm"]["issuers"] = json!(["other"]);
    let world = setup.start().await;
    for path in [OAUTH, OPENID] {
        let reply = world.get(path).await;
        assert!(reply.is(404).text().contains("different authorization servers"), "{reply:?}");
        let issuer = |reply: crate::support::Reply| reply.is(200).json()["issuer"].clone();
        assert_eq!(issuer(world.get(&format!("{path}/mcp/files")).await), json!(world.issuer.url));
        assert_eq!(issuer(world.get(&format!("{path}/mcp/crm")).await), json!(other.url));
        world.get(&format!("{path}/mcp/unknown")).await.is(404);
    }
}

#[tokio::test]
async fn of_several_issuers_the_first_is_shown_and_all_are_named() {
    let other = Issuer::start().await;
    let mut setup = Setup::new().await;
    setup.config["issuers"]["other"] = json!({"issuer": other.url});
    for upstream in ["files", "crm"] {
        setup.config["upstreams"][upstream]["issuers"] = json!(["other", "corp"]);
    }
    let world = setup.start().await;
    let resource = world.get("/.well-known/oauth-protected-resource/mcp/files").await.json();
    assert_eq!(resource["authorization_servers"], json!([other.url, world.issuer.url]));
    assert_eq!(world.get(OAUTH).await.is(200).json()["issuer"], json!(other.url));
}

#[tokio::test]
async fn nothing_in_a_request_chooses_what_is_fetched_or_shown() {
    let world = World::start().await;
    let plain = world.get(OAUTH).await;
    for query in ["?issuer=https://evil.example", "?url=http://169.254.169.254/", "?redirect_uri=https://evil.example"] {
        assert_eq!(world.get(&format!("{OAUTH}{query}")).await.is(200).body, plain.body, "{query}");
    }
    for path in ["/https://evil.example", "/../mcp/files", "/mcp%2ffiles", "//evil.example"] {
        let reply = world.get(&format!("{OAUTH}{path}")).await;
        assert!([400, 404].contains(&reply.status) || reply.body == plain.body, "{path}: {reply:?}");
        assert!(!reply.text().contains("evil"), "{path}: {reply:?}");
    }
    let forged = world.modern("x", json!({})).path(OAUTH).method(Method::GET).body("").header("x-forwarded-host", "evil.example");
    assert_eq!(forged.send().await.is(200).body, plain.body);
    assert!(world.issuer.other_fetches().is_empty(), "{:?}", world.issuer.other_fetches());
}

#[tokio::test]
async fn an_issuer_that_is_away_is_a_503_and_is_not_asked_by_each_stranger() {
    let world = World::start().await;
    world.issuer.set_down(true);
    let reply = world.get(OAUTH).await;
    assert_eq!(reply.is(503).header("retry-after"), "5");
    let asked = world.issuer.metadata_fetches();
    for _ in 0..20 {
        world.get(OAUTH).await.is(503);
    }
    assert_eq!(world.issuer.metadata_fetches(), asked);
}

#[tokio::test]
async fn the_old_document_serves_while_the_issuer_is_away() {
    let world = World::with(|config| config["issuers"]["corp"]["keys"] = json!({"cache": "1ms", "cooldown": "1ms"})).await;
    let first = world.get(OAUTH).await;
    first.is(200);
    world.issuer.set_down(true);
    assert_eq!(world.get(OAUTH).await.is(200).body, first.body);
}

#[tokio::test]
async fn where_only_the_keys_are_named_there_is_nothing_to_show() {
    let mut setup = Setup::new().await;
    setup.config["issuers"]["corp"]["jwks_uri"] = Value::from(format!("{}/jwks", setup.issuer.url));
    let world = setup.start().await;
    world.get(OAUTH).await.is(404);
    assert_eq!(world.issuer.metadata_fetches(), 0);
}
