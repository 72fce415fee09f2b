//! May they? Rules as the client meets them (acceptance group C).

use serde_json::{Value, json};

use crate::support::client::Call;
use crate::support::{Reply, World};

/// Refused by the rules, and no scope would cure it.
#[track_caller]
fn forbidden(reply: &Reply) {
    reply.refuses(403, -31403);
    assert_eq!(reply.challenge(), "", "{reply:?}");
}

/// The world with one more rule at the top.
async fn ruled(rule: Value) -> World {
    World::with(|config| config["upstreams"]["files"]["rules"].as_array_mut().unwrap().insert(0, rule)).await
}

fn arguments(world: &World, tool: &str, arguments: Value) -> Call {
    world.modern("tools/call", json!({"name": tool, "arguments": arguments}))
}

#[tokio::test]
async fn item_29_a_missing_scope_is_challenged_and_upstream_sees_nothing() {
    let world = World::start().await;
    let reply = world.tool("write_file").token(&world.ta()).send().await;
    reply.refuses(403, -31403);
    assert_eq!(reply.json()["id"], json!(1));
    assert!(reply.challenge().starts_with("Bearer "), "{reply:?}");
    assert_eq!(reply.challenge_parameter("error").as_deref(), Some("insufficient_scope"));
    assert_eq!(reply.challenge_parameter("scope").as_deref(), Some("files:write"));
    assert_eq!(reply.challenge_parameter("resource_metadata"), Some(world.metadata_url()));
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_29_the_same_call_passes_with_the_scope_that_was_asked_for() {
    let world = World::start().await;
    let reply = world.tool("write_file").token(&world.ta()).send().await;
    let scope = reply.challenge_parameter("scope").unwrap();
    let stepped_up = world.token(|token| token.claims["scope"] = json!(scope));
    world.tool("write_file").token(&stepped_up).send().await.is(200);
}

#[tokio::test]
async fn item_30_all_scopes_of_the_operation_stand_in_one_challenge() {
    let world = World::start().await;
    for held in ["crm:read", "merge:left"] {
        let token = world.token(|token| token.claims["scope"] = json!(held));
        let reply = world.tool("merge").token(&token).send().await;
        assert_eq!(reply.is(403).headers.get_all("www-authenticate").iter().count(), 1);
        assert_eq!(reply.challenge_parameter("scope").as_deref(), Some("merge:left merge:right"), "holding {held}");
    }
    let both = world.token(|token| token.claims["scope"] = json!("merge:right merge:left"));
    world.tool("merge").token(&both).send().await.is(200);
}

#[tokio::test]
async fn item_31_a_scope_that_implies_the_one_asked_for_is_enough() {
    let world = World::start().await;
    world.tool("read_file").token(&world.tw()).send().await.is(200);
    // Not the other way round.
    world.tool("write_file").token(&world.ta()).send().await.is(403);
}

#[tokio::test]
async fn item_32_scopes_are_compared_exactly_and_in_any_order() {
    let world = World::start().await;
    for scopes in ["files:read2", "FILES:READ", "files:rea", "files", "xfiles:read", "files:read,files:write", ""] {
        let token = world.token(|token| token.claims["scope"] = json!(scopes));
        let reply = world.tool("read_file").token(&token).send().await;
        assert_eq!(reply.status, 403, "{scopes}: {reply:?}");
    }
    for (claim, scopes) in [("scope", json!("x files:read y")), ("scope", json!("y x files:read")), ("scp", json!(["x", "files:read"]))] {
        let token = world.token(|token| {
            token.remove("scope");
            token.claims[claim] = scopes.clone();
        });
        let reply = world.tool("read_file").token(&token).send().await;
        assert_eq!(reply.status, 200, "{scopes}: {reply:?}");
    }
}

#[tokio::test]
async fn item_33_a_scope_alone_does_not_open_what_a_group_guards() {
    let world = World::start().await;
    forbidden(&world.tool("restart").token(&world.ta()).send().await);
    world.files.saw_nothing();
    let line = world.gateway.audited(1, |line| line["name"] == "restart").await.remove(0);
    assert_eq!((&line["outcome"], &line["reason"]), (&json!("refused"), &json!("groups")), "{line}");
    assert!(line["rule"].to_string().contains("sre-only"), "{line}");
    let sre = world.token(|token| token.claims["groups"] = json!(["dev", "sre"]));
    world.tool("restart").token(&sre).send().await.is(200);
}

#[tokio::test]
async fn item_33_where_the_group_is_missing_no_scope_is_asked_for() {
    let world = World::start().await;
    let neither = world.token(|token| token.claims["scope"] = json!("crm:read"));
    forbidden(&world.tool("restart").token(&neither).send().await);
}

#[tokio::test]
async fn item_34_a_list_without_scopes_is_empty_and_stays_so() {
    let world = World::start().await;
    let token = world.token(|token| token.claims["scope"] = json!("crm:read"));
    for _ in 0..2 {
        let reply = world.modern("tools/list", json!({})).token(&token).send().await;
        assert_eq!(reply.is(200).names("tools", "name"), Vec::<String>::new());
    }
}

#[tokio::test]
async fn item_36_arguments_are_judged_in_the_body_and_not_in_headers() {
    let world = World::start().await;
    let token = world.ta();
    let call = |path: Value| arguments(&world, "read_path", json!({"path": path})).token(&token);
    call(json!("/pub/a")).send().await.is(200);
    forbidden(&call(json!("/etc/shadow")).header("mcp-param-path", "/pub/a").send().await);
    forbidden(&call(json!(["/pub/a"])).send().await);
    forbidden(&call(json!(null)).send().await);
    forbidden(&arguments(&world, "read_path", json!({})).token(&token).send().await);
    forbidden(&arguments(&world, "read_path", json!({"Path": "/pub/a"})).token(&token).send().await);
    let without = world.modern("tools/call", json!({"name": "read_path"})).token(&token).send().await;
    forbidden(&without);
    assert_eq!(world.files.count(), 1);
}

#[tokio::test]
async fn an_optional_argument_may_be_absent_but_not_wrong() {
    let world = ruled(json!({
        "tools": ["post"], "scopes": ["files:read"], "optional": ["title"],
        "arguments": {"owner": {"enum": ["acme"]}, "title": {"maxLength": 3}},
    }))
    .await;
    let token = world.ta();
    let status = |with: Value| {
        let call = arguments(&world, "post", with).token(&token);
        async { call.send().await.status }
    };
    assert_eq!(status(json!({"owner": "acme"})).await, 200);
    assert_eq!(status(json!({"owner": "acme", "title": "abc", "other": 1})).await, 200);
    assert_eq!(status(json!({"owner": "acme", "title": "abcd"})).await, 403);
    assert_eq!(status(json!({"title": "abc"})).await, 403);
    assert_eq!(status(json!({"owner": "ACME"})).await, 403);
}

#[tokio::test]
async fn an_argument_bound_to_a_claim_must_equal_it() {
    let world = ruled(json!({"tools": ["tenant"], "scopes": ["files:read"], "arguments_equal": {"tenant": "claims.tenant_id"}})).await;
    let acme = world.token(|token| token.claims["tenant_id"] = json!("acme"));
    arguments(&world, "tenant", json!({"tenant": "acme"})).token(&acme).send().await.is(200);
    forbidden(&arguments(&world, "tenant", json!({"tenant": "other"})).token(&acme).send().await);
    forbidden(&arguments(&world, "tenant", json!({})).token(&acme).send().await);
    // Two absent things are not equal.
    forbidden(&arguments(&world, "tenant", json!({"tenant": null})).token(&world.ta()).send().await);
    forbidden(&arguments(&world, "tenant", json!({})).token(&world.ta()).send().await);
}

#[tokio::test]
async fn item_37_a_subject_at_its_rate_waits_and_others_do_not() {
    let world = World::with(|config| config["upstreams"]["files"]["limits"] = json!({"per_subject": "3/m"})).await;
    let (a, b) = (world.ta(), world.tb());
    for _ in 0..3 {
        world.tool("read_file").token(&a).send().await.is(200);
    }
    let limited = world.tool("read_file").token(&a).send().await;
    limited.refuses(429, -31429);
    let wait: u64 = limited.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    // Another token of the same person is still the same person.
    world.tool("read_file").token(&world.ta()).send().await.is(429);
    world.tool("read_file").token(&b).send().await.is(200);
    assert_eq!(world.files.count(), 4);
}

#[tokio::test]
async fn item_37_a_client_at_its_rate_waits_and_other_clients_do_not() {
    let world = World::with(|config| config["upstreams"]["files"]["limits"] = json!({"per_client": "2/m"})).await;
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    world.tool("read_file").token(&world.tb()).send().await.is(200);
    world.tool("read_file").token(&world.ta()).send().await.is(429);
    let other = world.token(|token| token.claims["client_id"] = json!("client-two"));
    world.tool("read_file").token(&other).send().await.is(200);
}

#[tokio::test]
async fn item_s9_what_nobody_may_do_is_refused_without_a_challenge() {
    let world = World::start().await;
    for scopes in ["files:read", "files:read files:write merge:left merge:right crm:read", "crm:read"] {
        let token = world.token(|token| token.claims["scope"] = json!(scopes));
        forbidden(&world.tool("wipe").token(&token).send().await);
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_s11_what_no_rule_names_is_refused() {
    let world = World::start().await;
    forbidden(&world.tool("unlisted").token(&world.ta()).send().await);
    forbidden(&world.modern("resources/read", json!({"uri": "file:///other"})).token(&world.ta()).send().await);
    forbidden(&world.modern("prompts/get", json!({"name": "other"})).token(&world.ta()).send().await);
    world.files.saw_nothing();
    let nothing = World::with(|config| config["upstreams"]["files"]["rules"] = json!([])).await;
    forbidden(&nothing.tool("read_file").token(&nothing.ta()).send().await);
    nothing.files.saw_nothing();
}

#[tokio::test]
async fn item_s22_no_variant_of_a_name_is_the_name() {
    let world = World::start().await;
    for name in [
        "Wipe",
        "WIPE",
        "wipe ",
        " wipe",
        "wipe\u{200b}",
        "w\u{456}pe",
        "wipe\u{0}",
        "wipe\n",
        "read_file ",
        "Read_file",
        "read_file\u{0}",
        "read_fil\u{0435}",
        "",
    ] {
        let reply = world.tool(name).token(&world.ta()).send().await;
        assert!([400, 403].contains(&reply.status), "{name:?}: {reply:?}");
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_s22_a_pattern_in_a_call_is_only_a_name() {
    let world = World::start().await;
    for name in ["*", "read_*", "**"] {
        forbidden(&world.tool(name).token(&world.ta()).send().await);
    }
}

#[tokio::test]
async fn the_first_rule_that_names_a_tool_decides() {
    let world = World::with(|config| {
        config["upstreams"]["files"]["rules"] = json!([
            {"tools": ["*_secret"], "deny": true},
            {"tools": ["get_*"], "scopes": ["files:read"]},
            {"tools": ["get_own"], "scopes": ["files:write"]},
        ]);
    })
    .await;
    world.tool("get_repo").token(&world.ta()).send().await.is(200);
    world.tool("get_own").token(&world.ta()).send().await.is(200);
    forbidden(&world.tool("get_secret").token(&world.ta()).send().await);
}

#[tokio::test]
async fn clients_subjects_claims_and_sources_must_all_hold() {
    let world = ruled(json!({
        "tools": ["guarded"], "clients": ["client-*"], "subjects": ["user-a"], "claims": {"email_verified": [true]}, "source": ["127.0.0.0/8"],
    }))
    .await;
    let good = |change: fn(&mut Value)| {
        world.token(|token| {
            token.claims["email_verified"] = json!(true);
            change(&mut token.claims);
        })
    };
    world.tool("guarded").token(&good(|_| {})).send().await.is(200);
    let wrong: [fn(&mut Value); 5] = [
        |claims| claims["client_id"] = json!("robot"),
        |claims| claims["sub"] = json!("user-b"),
        |claims| claims["email_verified"] = json!("true"),
        |claims| claims["email_verified"] = json!(false),
        |claims| {
            claims.as_object_mut().unwrap().remove("email_verified");
        },
    ];
    for change in wrong {
        forbidden(&world.tool("guarded").token(&good(change)).send().await);
    }
}

#[tokio::test]
async fn a_source_is_the_real_peer_whatever_headers_say() {
    let world = ruled(json!({"tools": ["guarded"], "scopes": ["files:read"], "source": ["10.0.0.0/8"]})).await;
    let call = world.tool("guarded").token(&world.ta());
    let forged = call.header("x-forwarded-for", "10.0.0.1").header("forwarded", "for=10.0.0.1").header("x-real-ip", "10.0.0.1");
    forbidden(&forged.send().await);
}

#[tokio::test]
async fn one_of_several_alternatives_is_enough() {
    let world = ruled(json!({"tools": ["either"], "any_of": [{"groups": ["sre"]}, {"scopes": ["files:write"]}]})).await;
    let sre = world.token(|token| token.claims["groups"] = json!(["sre"]));
    world.tool("either").token(&sre).send().await.is(200);
    world.tool("either").token(&world.tw()).send().await.is(200);
    let reply = world.tool("either").token(&world.ta()).send().await;
    assert_eq!(reply.is(403).challenge_parameter("scope").as_deref(), Some("files:write"));
}

#[tokio::test]
async fn claims_are_read_where_the_operator_says() {
    let world = World::with(|config| {
        config["issuers"]["corp"]["claims"] =
            json!({"scopes": "permissions", "groups": "realm_access.roles", "client": "appid", "subject": "oid"});
    })
    .await;
    let token = world.token(|token| {
        token.claims["permissions"] = json!(["files:read"]);
        token.claims["realm_access"] = json!({"roles": ["sre"]});
        token.claims["appid"] = json!("app-9");
        token.claims["oid"] = json!("object-7");
        token.claims["scope"] = json!("");
    });
    world.tool("restart").token(&token).send().await.is(200);
    assert_eq!(world.files.only().header("x-mcp-user"), "object-7");
}

#[tokio::test]
async fn item_s43_observing_lets_pass_what_rules_refuse_and_says_so() {
    let world = World::with(|config| config["upstreams"]["files"]["mode"] = json!("observe")).await;
    world.tool("wipe").token(&world.ta()).send().await.is(200);
    let line = world.gateway.audited(1, |line| line["name"] == "wipe").await.remove(0);
    assert_eq!((&line["outcome"], &line["reason"]), (&json!("observed"), &json!("denied_by_rule")), "{line}");
}

#[tokio::test]
async fn item_s43_explain_says_that_what_is_only_observed_goes_through() {
    let world = World::with(|config| config["upstreams"]["files"]["mode"] = json!("observe")).await;
    let file = world.folder.path().join("claims.json");
    std::fs::write(&file, json!({"iss": world.issuer.url, "sub": "user-a", "scope": "files:read"}).to_string()).unwrap();
    let config = world.gateway.config_file.display().to_string();
    let claims = file.display().to_string();
    let fixed = ["explain", "--config", &config, "--upstream", "files", "--tool", "wipe", "--claims", &claims];
    let output = crate::support::gateway::run(&fixed).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("nobody-wipes") && said.contains("mode      observe") && !said.contains("hears"), "{said}");
    let output = crate::support::gateway::run(&[&fixed[..], &["--json"]].concat()).await;
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&said["permitted"], &said["mode"], &said["hears"]), (&json!(false), &json!("observe"), &json!(null)));
}

#[tokio::test]
async fn item_s43_observing_forgives_no_token_and_no_message() {
    let world = World::with(|config| config["upstreams"]["files"]["mode"] = json!("observe")).await;
    world.tool("wipe").send().await.is(401);
    world.tool("wipe").token(&world.token(|token| token.claims["aud"] = json!("x"))).send().await.is(401);
    world.tool("wipe").token(&world.ta()).body("[]").send().await.is(400);
    world.modern("no/such", json!({})).token(&world.ta()).send().await.is(404);
    world.files.saw_nothing();
}

#[tokio::test]
async fn a_list_may_also_show_what_a_wider_scope_would_open() {
    let world = World::with(|config| config["upstreams"]["files"]["list"] = json!("acquirable")).await;
    let reply = world.modern("tools/list", json!({})).token(&world.ta()).send().await;
    assert_eq!(reply.names("tools", "name"), ["write_file", "read_file", "merge", "read_path"]);
    world.tool("write_file").token(&world.ta()).send().await.is(403);
}
