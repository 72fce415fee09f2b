//! Step-up: challenges that ask for another login or a wider token, and callers that loop (RFC 9470, acceptance group C).

use serde_json::{Value, json};

use crate::support::issuer::now;
use crate::support::{Reply, World};

/// A world in which `drop` needs a login of five minutes, `seal` one of class `gold`, `both` a scope besides.
async fn guarded(change: impl FnOnce(&mut Value)) -> World {
    World::with(|config| {
        let rules = json!([
            {"name": "fresh", "tools": ["drop"], "step_up": {"max_age": "5m"}},
            {"name": "gold", "tools": ["seal"], "acr": ["gold", "urn:x:mfa"]},
            {"name": "both", "tools": ["both"], "scopes": ["files:write"], "step_up": {"max_age": "5m", "acr": ["gold"]}},
            {"name": "grouped", "tools": ["grouped"], "groups": ["sre"], "step_up": {"max_age": "5m"}},
            {"name": "either", "tools": ["either"], "any_of": [{"groups": ["sre"]}, {"step_up": {"max_age": "1m"}}]},
        ]);
        let all = config["upstreams"]["files"]["rules"].as_array_mut().unwrap();
        all.splice(0..0, rules.as_array().unwrap().clone());
        change(config);
    })
    .await
}

fn with(world: &World, claims: &Value) -> String {
    world.token(|token| claims.as_object().unwrap().iter().for_each(|(name, value)| token.claims[name] = value.clone()))
}

async fn call(world: &World, tool: &str, claims: Value) -> Reply {
    world.tool(tool).token(&with(world, &claims)).send().await
}

#[track_caller]
fn challenged(reply: &Reply, acr: Option<&str>, max_age: Option<&str>, scope: Option<&str>) {
    reply.refuses(401, -31401);
    assert_eq!(reply.challenge_parameter("error").as_deref(), Some("insufficient_user_authentication"), "{reply:?}");
    assert_eq!(reply.challenge_parameter("acr_values").as_deref(), acr, "{reply:?}");
    assert_eq!(reply.challenge_parameter("max_age").as_deref(), max_age, "{reply:?}");
    assert_eq!(reply.challenge_parameter("scope").as_deref(), scope, "{reply:?}");
    assert_eq!(reply.headers.get_all("www-authenticate").iter().count(), 1);
}

#[tokio::test]
async fn item_35_an_old_login_is_challenged_and_a_fresh_one_passes() {
    let world = guarded(|_| {}).await;
    let reply = call(&world, "drop", json!({"auth_time": now() - 301})).await;
    challenged(&reply, None, Some("300"), Some("files:read"));
    assert_eq!(reply.challenge_parameter("resource_metadata"), Some(world.metadata_url()));
    world.files.saw_nothing();
    call(&world, "drop", json!({"auth_time": now() - 200})).await.is(200);
}

#[tokio::test]
async fn item_35_a_token_that_does_not_say_when_is_not_fresh() {
    let world = guarded(|_| {}).await;
    for (user, claims) in [json!({}), json!({"auth_time": now().to_string()}), json!({"auth_time": now() + 3600})].into_iter().enumerate() {
        let mut claims = claims;
        claims["sub"] = json!(format!("user-{user}"));
        challenged(&call(&world, "drop", claims).await, None, Some("300"), Some("files:read"));
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_35_a_class_that_is_not_met_is_named() {
    let world = guarded(|_| {}).await;
    challenged(&call(&world, "seal", json!({"acr": "silver"})).await, Some("gold urn:x:mfa"), None, Some("files:read"));
    call(&world, "seal", json!({"acr": "gold"})).await.is(200);
    call(&world, "seal", json!({"acr": "urn:x:mfa"})).await.is(200);
}

#[tokio::test]
async fn a_missing_scope_and_an_old_login_are_one_challenge_of_401_and_each_alone_is_its_own() {
    let world = guarded(|_| {}).await;
    let fresh = now();
    challenged(&call(&world, "both", json!({})).await, Some("gold"), Some("300"), Some("files:write"));
    let scope_only = call(&world, "both", json!({"acr": "gold", "auth_time": fresh})).await;
    assert_eq!(scope_only.refuses(403, -31403).challenge_parameter("error").as_deref(), Some("insufficient_scope"));
    assert_eq!(scope_only.challenge_parameter("max_age"), None);
    let scope = json!("files:write");
    challenged(&call(&world, "both", json!({"scope": scope, "acr": "gold"})).await, Some("gold"), Some("300"), Some("files:write"));
    call(&world, "both", json!({"scope": scope, "acr": "gold", "auth_time": fresh})).await.is(200);
}

#[tokio::test]
async fn a_login_is_not_asked_for_where_it_would_not_help() {
    let world = guarded(|_| {}).await;
    let reply = call(&world, "grouped", json!({})).await;
    assert_eq!(reply.refuses(403, -31403).challenge(), "");
    let line = world.gateway.audited(1, |line| line["name"] == "grouped").await.remove(0);
    assert_eq!(line["reason"], "groups");
}

#[tokio::test]
async fn a_machine_is_never_asked_to_log_in() {
    let world = guarded(|_| {}).await;
    let reply = call(&world, "drop", json!({"sub": "robot", "client_id": "robot"})).await;
    assert_eq!(reply.refuses(403, -31403).challenge(), "");
}

#[tokio::test]
async fn an_alternative_that_a_login_would_open_is_offered() {
    let world = guarded(|_| {}).await;
    challenged(&call(&world, "either", json!({})).await, None, Some("60"), Some("files:read"));
    call(&world, "either", json!({"groups": ["sre"]})).await.is(200);
    call(&world, "either", json!({"auth_time": now()})).await.is(200);
}

#[tokio::test]
async fn a_tool_that_needs_a_login_is_listed_and_one_that_needs_a_scope_is_not() {
    let world = World::with(|config| {
        let rules = config["upstreams"]["files"]["rules"].as_array_mut().unwrap();
        rules.retain(|rule| rule["name"] != "mergers");
        rules.insert(0, json!({"tools": ["merge"], "step_up": {"max_age": "5m"}}));
        rules.insert(0, json!({"tools": ["unlisted"], "scopes": ["files:write"], "step_up": {"max_age": "5m"}}));
    })
    .await;
    let list = world.modern("tools/list", json!({})).token(&world.ta()).send().await;
    assert_eq!(list.is(200).names("tools", "name"), ["read_file", "merge", "read_path"]);
}

#[tokio::test]
async fn a_challenge_names_what_the_caller_holds_too_so_that_nothing_is_lost() {
    let world = World::start().await;
    let held = json!("merge:left files:read openid crm:read");
    let reply = call(&world, "merge", json!({"scope": held})).await;
    // `openid` and another upstream's scope are nothing to this one.
    assert_eq!(reply.is(403).challenge_parameter("scope").as_deref(), Some("merge:left merge:right files:read"));
    let reply = call(&world, "write_file", json!({"scope": held})).await;
    // `files:write` implies `files:read`.
    assert_eq!(reply.is(403).challenge_parameter("scope").as_deref(), Some("files:write merge:left"));
}

#[tokio::test]
async fn item_s12_a_client_of_an_older_revision_is_told_what_it_holds_too() {
    let world = World::start().await;
    let token = with(&world, &json!({"scope": "merge:left files:read"}));
    let reply = world.legacy("tools/call", json!({"name": "merge", "arguments": {}})).token(&token).send().await;
    assert_eq!(reply.is(403).challenge_parameter("scope").as_deref(), Some("merge:left merge:right files:read"));
    // Not where that is configured otherwise.
    let world = World::with(|config| config["upstreams"]["files"]["challenge"] = json!({"scopes": "required"})).await;
    let token = with(&world, &json!({"scope": "merge:left files:read"}));
    let reply = world.legacy("tools/call", json!({"name": "merge", "arguments": {}})).token(&token).send().await;
    assert_eq!(reply.is(403).challenge_parameter("scope").as_deref(), Some("merge:left merge:right"));
}

#[tokio::test]
async fn a_challenge_of_required_scopes_names_no_others() {
    let world = World::with(|config| config["upstreams"]["files"]["challenge"] = json!({"scopes": "required"})).await;
    let reply = call(&world, "merge", json!({"scope": "merge:left files:read"})).await;
    assert_eq!(reply.is(403).challenge_parameter("scope").as_deref(), Some("merge:left merge:right"));
}

#[tokio::test]
async fn a_client_that_loops_is_told_so_and_others_are_not() {
    let world = guarded(|_| {}).await;
    for (tool, status) in [("write_file", 403), ("drop", 401)] {
        for _ in 0..2 {
            let reply = call(&world, tool, json!({"jti": now().to_string()})).await;
            assert_ne!(reply.is(status).challenge(), "");
        }
        for _ in 0..3 {
            let reply = call(&world, tool, json!({})).await;
            assert_eq!(reply.refuses(403, -31403).challenge(), "");
        }
        let other = world.tool(tool).token(&world.tb()).send().await;
        assert_ne!(other.is(status).challenge(), "", "another caller");
        let other = world.tool(tool).token(&world.ta()).header("user-agent", "another/1.0").send().await;
        assert_ne!(other.is(status).challenge(), "", "another program of the same client");
    }
    let lines = world.gateway.audited(6, |line| line["reason"] == "step_up_loop").await;
    assert!(lines.iter().all(|line| line["outcome"] == "refused" && line["subject"] == "user-a"), "{lines:?}");
    assert_eq!(world.gateway.metrics().await.sum("doorward_step_up_loops_total", "files"), 6.0);
    world.files.saw_nothing();
}

#[tokio::test]
async fn success_forgives_a_caller_its_challenges() {
    let world = guarded(|_| {}).await;
    for _ in 0..4 {
        challenged(&call(&world, "drop", json!({})).await, None, Some("300"), Some("files:read"));
        call(&world, "drop", json!({"auth_time": now()})).await.is(200);
    }
}

#[tokio::test]
async fn item_38_elevation_leaves_two_records_of_one_trace() {
    let world = World::start().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    world.tool("write_file").header("traceparent", &parent).token(&world.ta()).send().await.is(403);
    world.tool("write_file").header("traceparent", &parent).token(&world.tw()).send().await.is(200);
    let lines = world.gateway.audited(2, |line| line["trace"] == trace).await;
    let told: Vec<_> = lines.iter().map(|line| (line["outcome"].as_str().unwrap(), line["reason"].as_str().unwrap())).collect();
    assert_eq!(told, [("refused", "insufficient_scope"), ("permitted", "permitted")]);
    assert_eq!(lines[0]["rule"], lines[1]["rule"]);
    assert_eq!(lines[0]["subject"], lines[1]["subject"]);
    assert_ne!(lines[0]["token"], lines[1]["token"]);
}
