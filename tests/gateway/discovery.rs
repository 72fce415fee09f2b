//! How a client that knows only the URL finds out where to get a token (acceptance group A).

use http::Method;
use serde_json::json;

use crate::support::World;

const PRM: &str = "/.well-known/oauth-protected-resource";

#[tokio::test]
async fn item_1_without_a_token_the_challenge_points_to_the_metadata_and_has_no_error() {
    let world = World::start().await;
    let reply = world.modern("tools/list", json!({})).send().await;
    reply.is(401);
    assert_eq!(reply.challenge_parameter("resource_metadata"), Some(world.metadata_url()));
    assert!(reply.challenge().starts_with("Bearer "), "{}", reply.challenge());
    assert!(!reply.challenge().contains("error"), "{}", reply.challenge());
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_2_the_first_challenge_names_the_minimal_scope() {
    let world = World::start().await;
    let reply = world.modern("tools/list", json!({})).send().await;
    assert_eq!(reply.challenge_parameter("scope").as_deref(), Some("files:read"));
}

#[tokio::test]
async fn item_2_a_scope_that_is_not_advertised_is_asked_for_only_when_it_is_needed() {
    let world = World::with(|config| {
        let first = json!({"tools": ["purge"], "scopes": ["files:purge"]});
        config["upstreams"]["files"]["rules"].as_array_mut().unwrap().insert(0, first);
        config["scopes"]["files:purge"] = json!({"text": "Purge files", "advertise": false});
    })
    .await;
    let reply = world.modern("tools/list", json!({})).send().await;
    assert_eq!(reply.is(401).challenge_parameter("scope").as_deref(), Some("files:read"));
    let told = world.get(&format!("{PRM}/mcp/files")).await.json()["scopes_supported"].to_string();
    assert!(!told.contains("purge"), "{told}");
    let reply = world.tool("purge").token(&world.ta()).send().await;
    assert_eq!(reply.is(403).challenge_parameter("scope").as_deref(), Some("files:purge files:read"));
}

#[tokio::test]
async fn item_3_metadata_stands_at_the_path_form_and_names_the_resource_exactly() {
    let world = World::start().await;
    let reply = world.get(&format!("{PRM}/mcp/files")).await;
    reply.is(200);
    assert!(reply.header("content-type").starts_with("application/json"));
    assert_eq!(reply.json()["resource"], json!(world.resource()));
    assert_eq!(reply.json()["authorization_servers"], json!([world.issuer.url]));
    assert_eq!(reply.json()["bearer_methods_supported"], json!(["header"]));
}

#[tokio::test]
async fn item_3_the_url_in_the_challenge_leads_to_a_document_of_the_same_resource() {
    let world = World::start().await;
    let challenge = world.modern("tools/list", json!({})).send().await;
    let url = challenge.challenge_parameter("resource_metadata").unwrap();
    let reply = world.get(url.strip_prefix(&world.origin).unwrap()).await;
    assert_eq!(reply.is(200).json()["resource"], json!(world.resource()));
}

#[tokio::test]
async fn item_4_each_resource_has_a_document_of_its_own() {
    let world = World::start().await;
    let files = world.get(&format!("{PRM}/mcp/files")).await;
    let crm = world.get(&format!("{PRM}/mcp/crm")).await;
    assert_eq!(crm.is(200).json()["resource"], json!(format!("{}/mcp/crm", world.origin)));
    assert_ne!(files.body, crm.body);
}

#[tokio::test]
async fn item_5_the_document_has_no_empty_list_and_no_null() {
    let world = World::start().await;
    for path in ["/mcp/files", "/mcp/crm"] {
        let document = world.get(&format!("{PRM}{path}")).await.json();
        for (member, value) in document.as_object().unwrap() {
            assert!(!value.is_null(), "{member} is null");
            assert!(value.as_array().is_none_or(|list| !list.is_empty()), "{member} is empty");
        }
    }
}

/// Nothing is signed here, and nothing says so; what an issuer signs of its own document is left out (`remote/metadata`).
#[tokio::test]
async fn item_s3_no_document_claims_to_be_signed() {
    let world = World::start().await;
    for path in ["/mcp/files", "/mcp/crm"] {
        assert!(world.get(&format!("{PRM}{path}")).await.is(200).json().get("signed_metadata").is_none(), "{path}");
    }
}

#[tokio::test]
async fn item_6_a_foreign_host_gets_no_document_and_no_challenge() {
    let world = World::start().await;
    for path in ["/mcp/files", &format!("{PRM}/mcp/files")] {
        let reply =
            world.modern("tools/list", json!({})).path(path).method(Method::GET).body("").header("host", "evil.example").send().await;
        assert!([400, 421].contains(&reply.status), "{path}: {reply:?}");
        assert!(!format!("{reply:?}").contains("evil"), "{path}: {reply:?}");
    }
}

#[tokio::test]
async fn item_6_what_a_proxy_would_say_of_the_host_changes_no_url() {
    let world = World::start().await;
    let forged = [
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "gopher"),
        ("x-forwarded-port", "666"),
        ("x-forwarded-prefix", "/evil"),
        ("forwarded", "host=evil.example;proto=gopher"),
        ("x-original-url", "/evil"),
        ("x-rewrite-url", "/evil"),
    ];
    for path in ["/mcp/files".to_owned(), format!("{PRM}/mcp/files")] {
        let call = world.modern("tools/list", json!({})).path(&path).method(Method::GET).body("");
        let plain = call.clone().send().await;
        for (name, value) in forged {
            let reply = call.clone().header(name, value).send().await;
            assert_eq!((reply.status, &reply.body, reply.challenge()), (plain.status, &plain.body, plain.challenge()), "{path} {name}");
        }
    }
}

#[tokio::test]
async fn item_7_supported_scopes_are_those_of_the_resource_alone() {
    let world = World::start().await;
    let files = world.get(&format!("{PRM}/mcp/files")).await.json();
    let scopes: Vec<&str> = files["scopes_supported"].as_array().unwrap().iter().map(|scope| scope.as_str().unwrap()).collect();
    assert!(scopes.contains(&"files:read"), "{scopes:?}");
    for foreign in ["crm:read", "offline_access", "*"] {
        assert!(!scopes.contains(&foreign), "{scopes:?}");
    }
    let crm = world.get(&format!("{PRM}/mcp/crm")).await.json();
    assert_eq!(crm["scopes_supported"], json!(["crm:read"]));
}

#[tokio::test]
async fn item_7_a_scope_that_is_one_of_several_ways_in_is_told() {
    let world = World::with(|config| {
        let any = json!([{"tools": ["crm_find"], "any_of": [{"groups": ["sre"]}, {"scopes": ["crm:read"]}]}]);
        config["upstreams"]["crm"]["rules"] = any;
    })
    .await;
    assert_eq!(world.get(&format!("{PRM}/mcp/crm")).await.json()["scopes_supported"], json!(["crm:read"]));
    let reply = world.tool("crm_find").path("/mcp/crm").send().await;
    assert_eq!(reply.is(401).challenge_parameter("scope").as_deref(), Some("crm:read"));
}

#[tokio::test]
async fn item_s1_an_unknown_resource_has_no_document() {
    let world = World::start().await;
    for path in ["/mcp/unknown", "/mcp", "/mcp/files/more", "/MCP/files", "/"] {
        let reply = world.get(&format!("{PRM}{path}")).await;
        assert!([400, 404].contains(&reply.status), "{path}: {reply:?}");
        assert!(!reply.text().contains("authorization_servers"), "{path}: {reply:?}");
    }
}

#[tokio::test]
async fn the_root_document_is_there_for_an_only_resource_and_absent_for_several() {
    let several = World::start().await;
    several.get(PRM).await.is(404);
    let one = World::with(|config| {
        config["upstreams"].as_object_mut().unwrap().remove("crm");
    })
    .await;
    assert_eq!(one.get(PRM).await.is(200).json()["resource"], json!(one.resource()));
}

#[tokio::test]
async fn item_s2_a_preflight_needs_no_token_and_allows_the_headers_of_mcp() {
    let origin = "https://app.example";
    let world = World::with(|config| config["upstreams"]["files"]["origins"] = json!([origin])).await;
    for path in ["/mcp/files".to_owned(), format!("{PRM}/mcp/files")] {
        let reply = world
            .modern("tools/list", json!({}))
            .path(&path)
            .method(Method::OPTIONS)
            .body("")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization, content-type, mcp-method")
            .send()
            .await;
        assert!((200..300).contains(&reply.status), "{path}: {reply:?}");
        assert!(["*", origin].contains(&reply.header("access-control-allow-origin").as_str()), "{path}: {reply:?}");
        let allowed = reply.header("access-control-allow-headers").to_ascii_lowercase();
        for header in ["authorization", "content-type", "mcp-protocol-version", "mcp-method", "mcp-name", "mcp-session-id", "last-event-id"]
        {
            assert!(allowed.contains(header), "{path}: {header} is not in {allowed}");
        }
        assert!(reply.header("access-control-allow-credentials").is_empty(), "{path}: {reply:?}");
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_s2_a_browser_may_read_the_challenge_and_the_answer() {
    let origin = "https://app.example";
    let world = World::with(|config| config["upstreams"]["files"]["origins"] = json!([origin])).await;
    let call = world.tool("read_file").header("origin", origin);
    let refused = call.clone().send().await;
    let allowed = call.token(&world.ta()).send().await;
    for reply in [refused.is(401), allowed.is(200)] {
        assert!(["*", origin].contains(&reply.header("access-control-allow-origin").as_str()), "{reply:?}");
        assert!(reply.header("access-control-expose-headers").to_ascii_lowercase().contains("www-authenticate"), "{reply:?}");
    }
}

#[tokio::test]
async fn a_document_may_be_read_from_any_web_page() {
    let world = World::start().await;
    let reply =
        world.modern("x", json!({})).path(&format!("{PRM}/mcp/files")).method(Method::GET).body("").header("origin", "https://any.example");
    assert_eq!(reply.send().await.is(200).header("access-control-allow-origin"), "*");
}

#[tokio::test]
async fn the_head_of_a_document_has_no_body() {
    let world = World::start().await;
    let reply = world.modern("x", json!({})).path(&format!("{PRM}/mcp/files")).method(Method::HEAD).body("").send().await;
    assert!(reply.is(200).body.is_empty());
}
