//! The signed assertion: what an upstream may believe, and how it checks it.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::issuer::now;
use crate::support::{Setup, World};

const KEYS: &str = "/.well-known/doorward/jwks.json";

async fn asserting() -> World {
    World::with(|config| config["upstreams"]["files"]["identity"]["assertion"] = json!(true)).await
}

fn part(assertion: &str, n: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(assertion.split('.').nth(n).unwrap()).unwrap()).unwrap()
}

/// The claims, once a published key has verified them.
async fn verified(world: &World, assertion: &str) -> Value {
    verified_as(world, assertion, "doorward-assertion+jwt").await
}

async fn verified_as(world: &World, assertion: &str, kind: &str) -> Value {
    let keys = world.get(KEYS).await.json();
    let header = part(assertion, 0);
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).expect("a published key");
    let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [vec![4], coordinate("x"), coordinate("y")].concat());
    let (message, signature) = assertion.rsplit_once('.').unwrap();
    public.verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).expect("a good signature");
    assert_eq!((header["alg"].as_str(), header["typ"].as_str()), (Some("ES256"), Some(kind)));
    part(assertion, 1)
}

#[tokio::test]
async fn s29_the_upstream_gets_an_assertion_for_itself_that_lives_a_minute() {
    let world = asserting().await;
    let token = world.token(|token| {
        token.claims["groups"] = json!(["dev", "sre"]);
        token.claims["act"] = json!({"sub": "agent-7"});
    });
    let before = now();
    world.tool("read_file").token(&token).send().await.is(200);
    let claims = verified(&world, &world.files.only().header("doorward-assertion")).await;
    let issued = claims["iat"].as_u64().unwrap();
    assert!((before..=now()).contains(&issued));
    let expected = json!({
        "iss": world.origin, "aud": world.resource(), "sub": "user-a", "client_id": "client-one",
        "sub_id": {"format": "iss_sub", "iss": world.issuer.url, "sub": "user-a"},
        "scope": "files:read", "groups": ["dev", "sre"], "act": {"sub": "agent-7"},
        "iat": issued, "exp": issued + 60, "jti": claims["jti"],
    });
    assert_eq!(claims, expected);
    assert!(claims["jti"].as_str().unwrap().len() >= 22);
}

#[tokio::test]
async fn item_99_a_forged_assertion_never_arrives_in_any_spelling() {
    let world = asserting().await;
    for name in ["Doorward-Assertion", "doorward_assertion", "DOORWARD-ASSERTION", "doorwardassertion", "Doorward_Assertion"] {
        let before = world.files.count();
        world.tool("read_file").token(&world.ta()).header(name, "forged.forged.forged").send().await.is(200);
        let seen = world.files.seen()[before].clone();
        assert!(!seen.text().contains("forged"), "{}", seen.text());
        verified(&world, &seen.header("doorward-assertion")).await;
    }
    // Where none is configured there is none at all.
    let crm = world.issuer.token(&format!("{}/mcp/crm", world.origin), |token| token.claims["scope"] = json!("crm:read"));
    let call = world.tool("crm_find").path("/mcp/crm").token(&crm).header("Doorward-Assertion", "forged.forged.forged");
    call.send().await.is(200);
    assert_eq!(world.crm.only().header("doorward-assertion"), "");
}

#[tokio::test]
async fn item_99_a_header_that_connection_names_is_still_signed() {
    let world = asserting().await;
    let call = world.tool("read_file").token(&world.ta()).header("connection", "doorward-assertion");
    if call.send().await.status == 200 {
        verified(&world, &world.files.only().header("doorward-assertion")).await;
    }
    assert!(world.files.seen().iter().all(|seen| !seen.header("doorward-assertion").is_empty()));
}

#[tokio::test]
async fn one_callers_assertion_is_never_anothers() {
    let world = asserting().await;
    for _ in 0..3 {
        for (token, who) in [(world.ta(), "user-a"), (world.tb(), "user-b")] {
            let before = world.files.count();
            world.tool("read_file").token(&token).send().await.is(200);
            let claims = verified(&world, &world.files.seen()[before].header("doorward-assertion")).await;
            assert_eq!(claims["sub"], who);
        }
    }
}

#[tokio::test]
async fn an_assertion_is_used_again_by_the_same_token_only_and_for_the_same_upstream_only() {
    let world = World::with(|config| {
        for upstream in ["files", "crm"] {
            config["upstreams"][upstream]["identity"]["assertion"] = json!(true);
        }
        config["issuers"]["corp"]["audience"] = json!(["api://both"]);
    })
    .await;
    let token = world.issuer.token("api://both", |token| token.claims["scope"] = json!("files:read crm:read"));
    for _ in 0..2 {
        world.tool("read_file").token(&token).send().await.is(200);
    }
    world.tool("crm_find").path("/mcp/crm").token(&token).send().await.is(200);
    let other = world.issuer.token("api://both", |token| token.claims["scope"] = json!("files:read"));
    world.tool("read_file").token(&other).send().await.is(200);
    let files: Vec<String> = world.files.seen().iter().map(|seen| seen.header("doorward-assertion")).collect();
    assert_eq!(files[0], files[1]);
    assert_ne!(part(&files[0], 1)["jti"], part(&files[2], 1)["jti"]);
    let crm = part(&world.crm.only().header("doorward-assertion"), 1);
    assert_eq!(crm["aud"], format!("{}/mcp/crm", world.origin));
    assert_ne!(crm["jti"], part(&files[0], 1)["jti"]);
}

#[tokio::test]
async fn an_assertion_ends_with_the_token_it_speaks_of() {
    let world = World::with(|config| {
        config["upstreams"]["files"]["identity"]["assertion"] = json!(true);
        config["issuers"]["corp"]["leeway"] = json!("0s");
    })
    .await;
    let end = now() + 20;
    let token = world.token(|token| token.claims["exp"] = json!(end));
    world.tool("read_file").token(&token).send().await.is(200);
    assert_eq!(part(&world.files.only().header("doorward-assertion"), 1)["exp"], json!(end));
}

#[tokio::test]
async fn a_machine_has_a_client_id_and_no_sub() {
    let world = asserting().await;
    let token = world.token(|token| token.claims["sub"] = json!("client-one"));
    world.tool("read_file").token(&token).send().await.is(200);
    let claims = verified(&world, &world.files.only().header("doorward-assertion")).await;
    assert_eq!((claims.get("sub"), claims["client_id"].as_str()), (None, Some("client-one")));
}

#[tokio::test]
async fn the_keys_are_public_cacheable_and_hold_no_private_part() {
    let world = asserting().await;
    let reply = world.get(KEYS).await;
    reply.is(200);
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("cache-control"), "max-age=300");
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    let body = reply.json();
    let keys = body["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    let mut names: Vec<&String> = keys[0].as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    // Where no upstream has assertions there is nothing to verify.
    World::start().await.get(KEYS).await.is(404);
}

#[tokio::test]
async fn the_keys_survive_a_reload_and_so_does_what_they_signed() {
    let world = asserting().await;
    let before = world.get(KEYS).await.text();
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    let assertion = world.files.only().header("doorward-assertion");
    let mut config = world.config.clone();
    config["limits"] = json!({"depth": 32});
    world.gateway.reload(&config).await;
    assert_eq!(world.get(KEYS).await.text(), before);
    verified(&world, &assertion).await;
}

#[tokio::test]
async fn keys_of_a_file_are_the_same_on_every_replica_and_a_new_file_takes_over_without_a_gap() {
    use std::os::unix::fs::PermissionsExt;
    let write = |path: &std::path::Path| {
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(path, key.serialize_pem()).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    };
    let mut worlds = Vec::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.pem");
    write(&file);
    for _ in 0..2 {
        let mut setup = Setup::new().await;
        setup.config["upstreams"]["files"]["identity"]["assertion"] = json!(true);
        setup.config["assertion_keys"] = json!({"file": file});
        worlds.push(setup.start().await);
    }
    let [world, other] = worlds.try_into().ok().unwrap();
    let before = world.get(KEYS).await.json();
    assert_eq!(before, other.get(KEYS).await.json());

    world.tool("read_file").token(&world.ta()).send().await.is(200);
    let old = world.files.only().header("doorward-assertion");
    write(&file);
    world.gateway.signal("HUP");
    crate::support::eventually("the new key", || async {
        (world.get(KEYS).await.json()["keys"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;
    verified(&world, &old).await;
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    let new = world.files.seen()[1].header("doorward-assertion");
    assert_ne!(part(&old, 0)["kid"], part(&new, 0)["kid"]);
    verified(&world, &new).await;
}

#[tokio::test]
async fn item_102_an_assertion_is_nowhere_but_at_the_upstream() {
    let world = asserting().await;
    let reply = world.tool("read_file").token(&world.ta()).send().await;
    let assertion = world.files.only().header("doorward-assertion");
    let signature = assertion.rsplit('.').next().unwrap();
    world.gateway.audited(1, |line| line["operation"] == "tools/call").await;
    let audit = std::fs::read_to_string(&world.gateway.audit_file).unwrap();
    for text in [world.gateway.stderr(), audit, world.gateway.metrics().await.0, format!("{reply:?}")] {
        assert!(!text.contains(signature), "{text}");
    }
}

#[tokio::test]
async fn item_s3_signed_metadata_says_the_same_and_is_verified_with_the_published_key() {
    let mut setup = Setup::new().await;
    let file = setup.folder.path().join("keys.pem");
    std::fs::write(&file, rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem()).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    setup.config["assertion_keys"] = json!({"file": file});
    setup.config["signed_metadata"] = json!(true);
    let world = setup.start().await;
    let document = world.get("/.well-known/oauth-protected-resource/mcp/files").await.json();
    assert_eq!(document["resource"], json!(world.resource()));
    assert_eq!(document["jwks_uri"], json!(format!("{}{KEYS}", world.origin)));
    let signed = document["signed_metadata"].as_str().unwrap();
    let claims = verified_as(&world, signed, "resource-metadata+jwt").await;
    assert_eq!(claims["iss"], json!(world.origin));
    let mut plain = claims.clone();
    for added in ["iss", "iat"] {
        assert!(plain.as_object_mut().unwrap().remove(added).is_some(), "{added}");
    }
    let mut expected = document.clone();
    expected.as_object_mut().unwrap().remove("signed_metadata");
    assert_eq!(plain, expected, "the same members, and no `signed_metadata` within");
    let told =
        crate::support::gateway::run(&["doctor", &world.resource(), "--json", "--config", world.gateway.config_file.to_str().unwrap()])
            .await;
    assert!(String::from_utf8_lossy(&told.stdout).contains("the metadata is that of upstream `files`"), "{told:?}");
}

#[tokio::test]
async fn item_s3_without_the_key_metadata_is_not_signed() {
    let world = World::start().await;
    let document = world.get("/.well-known/oauth-protected-resource/mcp/files").await.json();
    assert_eq!((document.get("signed_metadata"), document.get("jwks_uri")), (None, None));
}
