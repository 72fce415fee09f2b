//! Tokens that are issued here and used here: the token endpoint of the real binary, and the door behind it.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Setup, World};

const SECRET: &str = "robots-secret";

/// A world whose upstreams take tokens of the authorization server inside.
async fn world(change: impl FnOnce(&mut Value)) -> World {
    let mut setup = Setup::new().await;
    let folder = setup.folder.path().to_owned();
    std::fs::write(folder.join("robot"), SECRET).unwrap();
    setup.config["store"] = json!(format!("sqlite:{}", folder.join("doorward.db").display()));
    for upstream in ["files", "crm"] {
        let upstream = setup.config["upstreams"][upstream].as_object_mut().unwrap();
        upstream.remove("issuers");
        upstream.insert("ownership".into(), json!("self_managed"));
    }
    setup.config["authorization_server"] = json!({
        "clients": { "robot": { "secret_file": "robot", "grant_types": ["client_credentials"], "scopes": ["files:read", "crm:read"] } },
    });
    change(&mut setup.config);
    setup.start().await
}

async fn post(world: &World, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = world.http.post(format!("{}{path}", world.origin)).basic_auth("robot", Some(SECRET));
    let answer = request.header("content-type", "application/x-www-form-urlencoded").body(body).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
}

async fn token(world: &World, path: &str) -> String {
    let resource = format!("{}{path}", world.origin);
    let (status, body) = post(world, "/token", &[("grant_type", "client_credentials"), ("resource", &resource)]).await;
    assert_eq!(status, 200, "{body}");
    body["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn item_107_a_token_that_is_issued_here_opens_its_own_resource_and_no_other() {
    let world = world(|_| {}).await;
    let files = token(&world, "/mcp/files").await;
    world.tool("read_file").token(&files).send().await.is(200);
    // What its scopes do not allow stays shut.
    assert_eq!(world.tool("write_file").token(&files).send().await.status, 403);
    let crm = token(&world, "/mcp/crm").await;
    assert_eq!(world.tool("read_file").token(&crm).send().await.status, 401);
    let records = world.gateway.audited(1, |record| record["operation"] == "oauth/token").await;
    assert_eq!((&records[0]["client"], &records[0]["reason"]), (&json!("robot"), &json!("client_credentials")));
    let whole = std::fs::read_to_string(&world.gateway.audit_file).unwrap();
    assert!(!whole.contains(&files) && !whole.contains(SECRET), "item 102");
}

#[tokio::test]
async fn item_30_a_scope_that_is_one_of_several_ways_in_can_be_had_from_the_server_inside() {
    let world = world(|config| {
        config["scopes"]["files:rotate"] = json!({"text": "Rotate files"});
        let rule = json!({"tools": ["rotate"], "any_of": [{"groups": ["sre"]}, {"scopes": ["files:rotate"]}]});
        config["upstreams"]["files"]["rules"].as_array_mut().unwrap().push(rule);
        config["authorization_server"]["clients"]["robot"]["scopes"] = json!(["files:read", "files:rotate"]);
    })
    .await;
    let resource = format!("{}/mcp/files", world.origin);
    let ask = async |scope: &str| {
        let form = [("grant_type", "client_credentials"), ("resource", &*resource), ("scope", scope)];
        post(&world, "/token", &form).await
    };
    let (_, body) = ask("files:read").await;
    let reply = world.tool("rotate").token(body["access_token"].as_str().unwrap()).send().await;
    let asked = reply.is(403).challenge_parameter("scope").unwrap();
    assert_eq!(asked, "files:rotate files:read");
    let (status, body) = ask(&asked).await;
    assert_eq!(status, 200, "{body}");
    world.tool("rotate").token(body["access_token"].as_str().unwrap()).send().await.is(200);
}

#[tokio::test]
async fn item_146_what_was_revoked_at_the_endpoint_is_refused_at_the_door_at_once() {
    let world = world(|_| {}).await;
    let (one, two) = (token(&world, "/mcp/files").await, token(&world, "/mcp/files").await);
    world.tool("read_file").token(&one).send().await.is(200);
    assert_eq!(post(&world, "/revoke", &[("token", &one)]).await.0, 200);
    assert_eq!(world.tool("read_file").token(&one).send().await.status, 401);
    world.tool("read_file").token(&two).send().await.is(200);
    assert_eq!(post(&world, "/introspect", &[("token", &one)]).await, (200, json!({ "active": false })));
    assert_eq!(post(&world, "/introspect", &[("token", &two)]).await.1["active"], true);
}

#[tokio::test]
async fn s2_documents_and_the_token_endpoint_answer_scripts_and_the_authorize_endpoint_does_not() {
    let world = world(|_| {}).await;
    let ask = async |method: Method, path: &str| {
        let request = world.http.request(method, format!("{}{path}", world.origin)).header("origin", "https://app.example.com");
        let answer = request.send().await.unwrap();
        let allowed = answer.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), allowed)
    };
    let anyone = Some("*".to_owned());
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration/mcp/files", "/jwks.json"] {
        assert_eq!(ask(Method::GET, path).await, (200, anyone.clone()), "{path}");
        assert_eq!(ask(Method::OPTIONS, path).await, (204, anyone.clone()), "{path}");
    }
    assert_eq!(ask(Method::OPTIONS, "/token").await, (204, anyone.clone()));
    assert_eq!(ask(Method::POST, "/token").await, (400, anyone));
    assert_eq!(ask(Method::GET, "/authorize").await.1, None);
    assert_eq!(ask(Method::POST, "/introspect").await.1, None);
    let metadata: Value = serde_json::from_slice(&world.get("/.well-known/oauth-authorization-server").await.body).unwrap();
    assert_eq!(metadata["issuer"], world.origin);
    let resource: Value = serde_json::from_slice(&world.get("/.well-known/oauth-protected-resource/mcp/files").await.body).unwrap();
    assert_eq!(resource["authorization_servers"], json!([world.origin]));
}

#[tokio::test]
async fn a_flood_of_one_address_is_bounded() {
    let world = world(|config| config["authorization_server"]["rate"] = json!("5/m")).await;
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(world.get("/jwks.json").await.status);
    }
    assert_eq!((&statuses[..5], statuses[7]), (&[200; 5][..], 429), "{statuses:?}");
}

#[tokio::test]
async fn keys_survive_a_restart_and_a_reload_and_so_do_tokens() {
    let mut world = world(|_| {}).await;
    let before = token(&world, "/mcp/files").await;
    let mut other = world.config.clone();
    other["limits"] = json!({ "batch": 7 });
    world.gateway.reload(&other).await;
    world.tool("read_file").token(&before).send().await.is(200);
    world.gateway.signal("TERM");
    world.gateway.exit().await;
    let again = crate::support::Gateway::start(world.folder.path(), &world.config, &world.http).await;
    world.gateway = again;
    world.tool("read_file").token(&before).send().await.is(200);
}
