//! What an operator sees of a request: its audit line and its metrics.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::support::issuer::b64;
use crate::support::{Answer, World, eventually};

/// The one audit line of the request that this reply answers.
async fn line_of(world: &World, reply: &crate::support::Reply) -> Value {
    let id = reply.header("doorward-request-id");
    assert!(!id.is_empty(), "{reply:?}");
    let mut lines = world.gateway.audited(1, |line| line["id"] == id.as_str()).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

#[tokio::test]
async fn item_s41_a_permitted_call_is_told_in_full() {
    let world = World::start().await;
    let token = world.token(|token| token.claims["scope"] = json!("files:read other"));
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let reply = world
        .modern("tools/call", json!({"name": "read_path", "arguments": {"path": "/pub/a"}}))
        .edit(|message| message["params"]["_meta"]["traceparent"] = json!(format!("00-{trace}-b7ad6b7169203331-01")))
        .token(&token)
        .send()
        .await;
    let line = line_of(&world, reply.is(200)).await;
    for (field, value) in [
        ("upstream", json!("files")),
        ("subject", json!("user-a")),
        ("client", json!("client-one")),
        ("issuer", json!(world.issuer.url)),
        ("token", json!(b64(digest(&SHA256, token.as_bytes())))),
        ("scopes", json!(["files:read", "other"])),
        ("operation", json!("tools/call")),
        ("name", json!("read_path")),
        ("outcome", json!("permitted")),
        ("source", json!("127.0.0.1")),
        ("era", json!("modern")),
        ("status", json!(200)),
        ("trace", json!(trace)),
    ] {
        assert_eq!(line[field], value, "{field}: {line}");
    }
    assert_eq!(line["id"].as_str().unwrap().len(), 32, "{line}");
    assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    assert!(line["duration_us"].as_u64().unwrap() < 5_000_000, "{line}");
    assert!(line["reason"].is_string() && line["arguments"].is_string(), "{line}");
    // The rule's name, and where it stands in the file.
    let rule = line["rule"].to_string();
    assert!(rule.contains("by-path") && rule.contains("doorward.yaml:"), "{line}");
}

#[tokio::test]
async fn item_s41_the_place_of_a_rule_is_the_line_it_begins_on() {
    let world = World::start().await;
    let reply = world.tool("wipe").token(&world.ta()).send().await;
    let line = line_of(&world, &reply).await;
    let text = std::fs::read_to_string(&world.gateway.config_file).unwrap();
    let begins = text.lines().position(|line| line.contains("nobody-wipes")).unwrap() + 1;
    let rule = line["rule"].to_string();
    assert!(rule.contains(&format!("doorward.yaml:{begins}\"")), "line {begins}: {rule}");
}

#[tokio::test]
async fn item_s41_each_way_to_be_refused_has_its_reason() {
    let world = World::start().await;
    let token = world.ta();
    let good = world.tool("read_file").token(&token);
    let cases = [
        (world.tool("read_file"), 401, "token_missing"),
        (world.tool("read_file").token("opaque"), 401, "token_malformed"),
        (world.tool("read_file").token(&world.token(|token| token.claims["exp"] = json!(1))), 401, "token_expired"),
        (world.tool("read_file").token(&world.token(|token| token.claims["aud"] = json!("x"))), 401, "token_audience"),
        (world.tool("read_file").token(&world.token(|token| token.claims["iss"] = json!("x"))), 401, "token_issuer"),
        (world.tool("read_file").token(&world.token(|token| token.header["typ"] = json!("JWT"))), 401, "token_type"),
        (good.clone().header("authorization", "Bearer x"), 400, "credential_malformed"),
        (world.tool("write_file").token(&token), 403, "insufficient_scope"),
        (world.tool("wipe").token(&token), 403, "denied_by_rule"),
        (world.tool("unlisted").token(&token), 403, "no_rule"),
        (world.tool("read_path").token(&token), 403, "arguments"),
        (good.clone().body("{"), 400, "not_json"),
        (good.clone().body("[]"), 400, "batch"),
        (good.clone().replace("mcp-name", "wipe"), 400, "header_mismatch"),
        (world.modern("no/such", json!({})).token(&token), 404, "unknown_method"),
        (good.clone().replace("content-type", "text/plain"), 415, "media_type"),
        (good.clone().header("origin", "https://evil.example"), 403, "origin"),
        (good.clone().path("/nowhere"), 404, "not_found"),
        (good.clone().path("/mcp//files"), 400, "path_spelling"),
        (good.clone().header("host", "evil.example"), 421, "misdirected"),
        (good.method(http::Method::PUT), 405, "method_not_allowed"),
    ];
    for (call, status, reason) in cases {
        let reply = call.send().await;
        assert_eq!(reply.status, status, "{reason}: {reply:?}");
        let line = line_of(&world, &reply).await;
        assert_eq!((&line["outcome"], &line["reason"], &line["status"]), (&json!("refused"), &json!(reason), &json!(status)), "{line}");
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn item_s41_a_failure_of_the_upstream_is_told_as_one() {
    let world = World::start().await;
    world.files.once(Answer::Die);
    let reply = world.tool("read_file").token(&world.ta()).send().await;
    let line = line_of(&world, reply.is(502)).await;
    assert_eq!((&line["outcome"], &line["reason"]), (&json!("failed"), &json!("upstream_unreachable")), "{line}");
}

#[tokio::test]
async fn item_s41_a_refused_token_is_not_told_as_somebody() {
    let world = World::start().await;
    let reply = world.tool("read_file").token(&world.token(|token| token.claims["exp"] = json!(1))).send().await;
    let line = line_of(&world, &reply).await;
    for field in ["subject", "client", "scopes"] {
        assert!(line[field].is_null(), "{line}");
    }
}

#[tokio::test]
async fn item_s41_what_a_client_says_cannot_break_a_line() {
    let world = World::start().await;
    let name = format!("a\"\\\n{{}}\u{2028}\u{4e16}{}", "x".repeat(5000));
    let reply = world.tool(&name).token(&world.ta()).send().await;
    // Here the name is too long for a header, so it is asked for in the other era.
    let reply = if reply.status == 403 { reply } else { world.legacy("tools/call", json!({"name": name})).token(&world.ta()).send().await };
    let line = line_of(&world, reply.is(403)).await;
    let told = line["name"].as_str().unwrap();
    assert!(told.len() < 2000 && told.starts_with("a\"\\\n"), "{told}");
}

#[tokio::test]
async fn every_request_has_one_line_and_an_id_of_its_own() {
    let world = World::start().await;
    let calls = (0..50).map(|at| world.tool(if at % 2 == 0 { "read_file" } else { "wipe" }).token(&world.ta()).send());
    let replies = futures_util::future::join_all(calls).await;
    let mut ids: Vec<String> = replies.iter().map(|reply| reply.header("doorward-request-id")).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 50);
    let lines = world.gateway.audited(50, |_| true).await;
    assert_eq!(lines.len(), 50);
}

#[tokio::test]
async fn a_request_id_of_the_client_is_not_taken_over() {
    let world = World::start().await;
    let reply = world.tool("read_file").token(&world.ta()).header("doorward-request-id", "mine").send().await;
    assert_ne!(reply.header("doorward-request-id"), "mine");
}

#[tokio::test]
async fn metrics_have_their_names_and_labels() {
    let world = World::start().await;
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    world.tool("wipe").token(&world.ta()).send().await.is(403);
    world.tool("read_file").send().await.is(401);
    world.gateway.audited(3, |_| true).await;
    let metrics = eventually("the metrics", || async {
        let metrics = world.gateway.metrics().await;
        (metrics.sum("doorward_requests_total", "") >= 3.0).then_some(metrics)
    })
    .await;
    for name in [
        "doorward_requests_total",
        "doorward_request_duration_seconds",
        "doorward_overhead_seconds",
        "doorward_tool_calls_total",
        "doorward_issuer_keys_age_seconds",
        "doorward_issuer_fetch_total",
        "doorward_token_cache_total",
        "doorward_config_hash",
        "doorward_audit_dropped_total",
        "process_resident_memory_bytes",
    ] {
        assert!(metrics.has(name), "{name} is not in\n{}", metrics.0);
    }
    let count = |labels: &[&str]| {
        let fits = |line: &&str| labels.iter().all(|label| line.contains(label));
        metrics.series("doorward_requests_total").filter(fits).count()
    };
    let call = [r#"upstream="files""#, r#"operation="tools/call""#];
    assert_eq!(count(&[call[0], call[1], r#"outcome="permitted""#]), 1, "{}", metrics.0);
    assert_eq!(count(&[call[0], call[1], r#"outcome="refused""#, r#"reason="denied_by_rule""#]), 1, "{}", metrics.0);
    assert_eq!(count(&[call[0], r#"outcome="refused""#, r#"reason="token_missing""#]), 1, "{}", metrics.0);
    assert_eq!(metrics.sum("doorward_tool_calls_total", r#"tool="read_file""#), 1.0);
    assert_eq!(metrics.sum("doorward_tool_calls_total", r#"tool="wipe""#), 1.0);
    assert!(metrics.sum("doorward_issuer_fetch_total", r#"issuer="corp""#) >= 1.0);
}

#[tokio::test]
async fn item_102_invented_tools_are_counted_as_other() {
    let world = World::start().await;
    for serial in 0..20 {
        world.tool(&format!("invented-{serial}")).token(&world.ta()).send().await.is(403);
    }
    let metrics = eventually("the metrics", || async {
        let metrics = world.gateway.metrics().await;
        (metrics.sum("doorward_tool_calls_total", "") >= 20.0).then_some(metrics)
    })
    .await;
    assert_eq!(metrics.sum("doorward_tool_calls_total", r#"tool="other""#), 20.0);
    assert!(!metrics.0.contains("invented"), "{}", metrics.0);
}

#[tokio::test]
async fn tools_that_the_upstream_lists_are_counted_by_name() {
    let world = World::with(|config| config["upstreams"]["files"]["rules"] = json!([{"tools": ["*"], "scopes": ["files:read"]}])).await;
    world.modern("tools/list", json!({})).token(&world.ta()).send().await.is(200);
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    world.tool("never-listed").token(&world.ta()).send().await.is(200);
    let metrics = eventually("the metrics", || async {
        let metrics = world.gateway.metrics().await;
        (metrics.sum("doorward_tool_calls_total", "") >= 2.0).then_some(metrics)
    })
    .await;
    assert_eq!(metrics.sum("doorward_tool_calls_total", r#"tool="read_file""#), 1.0);
    assert_eq!(metrics.sum("doorward_tool_calls_total", r#"tool="other""#), 1.0);
}

#[tokio::test]
async fn no_label_grows_with_what_clients_invent() {
    let world = World::start().await;
    let token = world.ta();
    let mut series = Vec::new();
    for round in 0..3 {
        for serial in 0..25 {
            let name = format!("x{round}y{serial}");
            world.tool(&name).token(&token).send().await;
            world.modern(&format!("{name}/z"), json!({})).token(&token).send().await;
            world.tool("read_file").path(&format!("/{name}")).send().await;
            world.tool("read_file").header("host", &format!("{name}.example")).send().await;
            world.tool("read_file").token(&name).send().await;
            let sub = world.token(|token| token.claims["sub"] = json!(name));
            world.tool("read_file").token(&sub).header("x-forwarded-for", "9.9.9.9").send().await;
        }
        let wanted = f64::from((round + 1) * 150);
        let metrics = eventually("the metrics", || async {
            let metrics = world.gateway.metrics().await;
            (metrics.sum("doorward_requests_total", "") >= wanted).then_some(metrics)
        })
        .await;
        series.push(metrics.0.lines().filter(|line| !line.starts_with('#')).count());
    }
    assert_eq!(series[1], series[2], "{series:?}");
}

#[tokio::test]
async fn open_streams_are_counted_while_they_are_open() {
    let world = World::start().await;
    let (answer, feed) = Answer::stream();
    world.files.once(answer);
    let open = || async { world.gateway.metrics().await.sum("doorward_open_streams", r#"upstream="files""#) };
    let response = world.tool("read_file").token(&world.ta()).open().await;
    feed.send(Ok(": hello\n\n".into())).await.unwrap();
    eventually("the stream to be counted", || async { (open().await == 1.0).then_some(()) }).await;
    drop(response);
    eventually("the stream to be forgotten", || async { (open().await == 0.0).then_some(()) }).await;
}

#[tokio::test]
async fn c_17_without_a_place_for_its_record_no_call_is_made() {
    let world = World::with(|config| config["audit"] = json!({"file": "/dev/full"})).await;
    let status = || async { world.tool("read_file").token(&world.ta()).send().await };
    // The first record is what finds the disk full.
    status().await;
    eventually("calls to be refused", || async { (status().await.status == 503).then_some(()) }).await;
    let before = world.files.count();
    for _ in 0..5 {
        let reply = status().await;
        assert!(!reply.refuses(503, -31503).header("retry-after").is_empty());
    }
    assert_eq!(world.files.count(), before);
}

#[tokio::test]
async fn c_17_where_the_operator_says_drop_calls_go_on_and_losses_are_counted() {
    let world = World::with(|config| config["audit"] = json!({"file": "/dev/full", "when_full": "drop"})).await;
    for _ in 0..20 {
        world.tool("read_file").token(&world.ta()).send().await.is(200);
    }
    eventually("losses to be counted", || async {
        world.tool("read_file").token(&world.ta()).send().await.is(200);
        (world.gateway.metrics().await.sum("doorward_audit_dropped_total", "") > 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn c_17_a_file_that_was_moved_away_is_begun_anew() {
    let world = World::start().await;
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    world.gateway.audited(1, |_| true).await;
    let moved = world.gateway.audit_file.with_extension("1");
    std::fs::rename(&world.gateway.audit_file, &moved).unwrap();
    eventually("a new file", || async {
        world.tool("read_file").token(&world.ta()).send().await.is(200);
        world.gateway.audit_file.exists().then_some(())
    })
    .await;
    world.gateway.audited(1, |line| line["outcome"] == "permitted").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_12_memory_does_not_grow_with_what_strangers_invent() {
    let world = World::start().await;
    let hostile = |from: usize, to: usize| {
        let world = &world;
        async move {
            for batch in (from..to).step_by(50) {
                let calls = (batch..batch + 50).map(|serial| {
                    let token = match serial % 4 {
                        0 => format!("opaque-{serial}"),
                        1 => world.token(|token| token.header["kid"] = json!(format!("kid-{serial}"))),
                        2 => world.token(|token| token.claims["client_id"] = json!(format!("client-{serial}"))),
                        _ => world.token(|token| token.claims["sub"] = json!(format!("sub-{serial}"))),
                    };
                    let call =
                        world.tool(&format!("tool-{serial}")).token(&token).header("x-forwarded-for", &format!("10.0.{}.1", serial % 256));
                    call.header("mcp-session-id", &format!("session-{serial}")).send()
                });
                futures_util::future::join_all(calls).await;
            }
        }
    };
    hostile(0, 1000).await;
    let before = world.gateway.resident();
    hostile(1000, 3000).await;
    let grown = world.gateway.resident().saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB more");
    tokio::time::timeout(Duration::from_secs(1), world.tool("read_file").token(&world.ta()).send()).await.unwrap().is(200);
}
