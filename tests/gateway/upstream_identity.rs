//! What the upstream is told, and what never leaves (acceptance group G).

use http::Method;
use serde_json::json;

use crate::support::{Answer, Setup, World, raw};

/// A whole HTTP/1.1 request for one permitted call, with these header lines besides.
fn request(world: &World, token: &str, lines: &str) -> Vec<u8> {
    let body = world.legacy("tools/call", json!({"name": "read_file", "arguments": {}})).bytes();
    let head = format!(
        "POST /mcp/files HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         MCP-Protocol-Version: 2025-11-25\r\nContent-Length: {}\r\n{lines}\r\n",
        world.address,
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

#[tokio::test]
async fn item_98_no_credential_of_the_client_reaches_the_upstream() {
    let world = World::start().await;
    let token = world.ta();
    world
        .tool("read_file")
        .token(&token)
        .header("cookie", "session=abc")
        .header("dpop", "proof")
        .header("proxy-authorization", "Basic abc")
        .send()
        .await
        .is(200);
    let seen = world.files.only();
    for name in ["authorization", "cookie", "dpop", "proxy-authorization"] {
        assert_eq!(seen.header(name), "", "{name}");
    }
    assert!(!seen.text().contains(&token));
    assert!(!seen.text().contains(token.rsplit('.').next().unwrap()));
}

#[tokio::test]
async fn item_98_the_message_arrives_as_it_was_judged() {
    let world = World::start().await;
    let call = world.tool("read_file").token(&world.ta());
    let sent: serde_json::Value = serde_json::from_slice(&call.bytes()).unwrap();
    call.send().await.is(200);
    let seen = world.files.only();
    assert_eq!(seen.json(), sent);
    assert_eq!((seen.method.clone(), seen.path.as_str()), (Method::POST, "/mcp"));
    assert_eq!(seen.header("content-length"), seen.body.len().to_string());
    assert_eq!(seen.header("content-type"), "application/json");
    assert!(world.files.url.contains(&seen.header("host")), "{}", seen.header("host"));
}

#[tokio::test]
async fn the_upstream_learns_who_is_asking() {
    let world = World::start().await;
    let token = world.token(|token| {
        token.claims["email"] = json!("a@example.com");
        token.claims["groups"] = json!(["dev", "sre"]);
    });
    world.tool("read_file").token(&token).send().await.is(200);
    let seen = world.files.only();
    assert_eq!(seen.header("x-mcp-user"), "user-a");
    assert_eq!(seen.header("x-mcp-email"), "a@example.com");
    assert_eq!(seen.header("x-mcp-groups"), "dev,sre");
}

#[tokio::test]
async fn item_99_an_identity_header_of_the_client_is_removed_in_every_spelling() {
    let world = World::start().await;
    let spellings = [
        "X-Mcp-User",
        "x_mcp_user",
        "X-MCP-USER",
        "X_Mcp-User",
        "XMcpUser",
        "x-mcp-email",
        "X_MCP_EMAIL",
        "x-mcp-groups",
        "Doorward-Assertion",
    ];
    for name in spellings {
        let mut call = world.tool("read_file").token(&world.ta());
        for value in ["superuser", "admin"] {
            call = call.header(name, value);
        }
        call.send().await.is(200);
    }
    for seen in world.files.seen() {
        let text = seen.text();
        assert!(!text.contains("superuser") && !text.contains("admin"), "{text}");
        // Nothing but the gateway's own value, and none where the token says nothing.
        assert_eq!((seen.header("x-mcp-user").as_str(), seen.header("x-mcp-email").as_str()), ("user-a", ""));
    }
}

#[tokio::test]
async fn item_99_a_header_that_connection_names_is_still_the_gateways() {
    let world = World::start().await;
    let token = world.ta();
    for lines in ["Connection: x-mcp-user\r\n", "Connection: close, X-Mcp-User\r\nX-Mcp-User: root\r\n"] {
        let before = world.files.count();
        let reply = raw(&world.address, &request(&world, &token, lines)).await;
        match reply.status {
            Some(200) => assert_eq!(world.files.seen()[before].header("x-mcp-user"), "user-a", "{lines}"),
            status => assert_eq!((status, world.files.count()), (Some(400), before), "{reply:?}"),
        }
    }
}

#[tokio::test]
async fn item_99_a_trailer_is_no_header() {
    let world = World::start().await;
    let body = world.legacy("tools/call", json!({"name": "read_file", "arguments": {}})).bytes();
    let mut bytes = format!(
        "POST /mcp/files HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\nTrailer: X-Mcp-User\r\n\r\n{:x}\r\n",
        world.address,
        world.ta(),
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(&body);
    bytes.extend_from_slice(b"\r\n0\r\nX-Mcp-User: root\r\nAuthorization: Bearer root\r\n\r\n");
    raw(&world.address, &bytes).await;
    for seen in world.files.seen() {
        assert!(!seen.text().contains("root"), "{}", seen.text());
    }
}

#[tokio::test]
async fn item_100_the_gateway_shows_its_own_credential() {
    let mut setup = Setup::new().await;
    let file = setup.folder.path().join("secret");
    std::fs::write(&file, "from-a-file\n").unwrap();
    setup.config["upstreams"]["files"]["credential"] = json!({"bearer_file": file});
    setup.config["upstreams"]["crm"]["credential"] = json!({"header": {"name": "X-Api-Key", "value_env": "GATEWAY_TEST_SECRET"}});
    let world = setup.start().await;
    world.tool("read_file").token(&world.ta()).header("x-api-key", "mine").send().await.is(200);
    assert_eq!(world.files.only().header("authorization"), "Bearer from-a-file");
    let crm = world.issuer.token(&format!("{}/mcp/crm", world.origin), |token| token.claims["scope"] = json!("crm:read"));
    let call = world.tool("crm_find").path("/mcp/crm").token(&crm).header("X_Api_Key", "mine").header("x-api-key", "mine");
    call.send().await.is(200);
    let seen = world.crm.only();
    assert_eq!((seen.header("x-api-key").as_str(), seen.header("authorization").as_str()), ("upstream-secret", ""));
    assert!(!seen.text().contains("mine"), "{}", seen.text());
    for text in [world.gateway.stderr(), world.gateway.metrics().await.0] {
        assert!(!text.contains("from-a-file") && !text.contains("upstream-secret"), "{text}");
    }
}

#[tokio::test]
async fn item_102_no_token_is_written_anywhere() {
    let world = World::start().await;
    let tokens = [
        world.ta(),
        world.tw(),
        world.token(|token| token.claims["exp"] = json!(1)),
        world.token(|token| token.claims["aud"] = json!("x")),
        world.token(|token| token.header["kid"] = json!("unknown")),
        world.token(|token| token.header["alg"] = json!("HS256")),
        "an-opaque-but-very-secret-token".to_owned(),
    ];
    world.files.script(|seen| (seen.json()["params"]["name"] == "write_file").then_some(Answer::Die));
    for token in &tokens {
        world.tool("read_file").token(token).send().await;
        world.tool("write_file").token(token).send().await;
        world.tool("wipe").token(token).send().await;
        world.tool("read_file").header("authorization", &format!("Basic {token}")).send().await;
        world.tool("read_file").path(&format!("/mcp/files?access_token={token}")).send().await;
        world.tool("read_file").path(&format!("/nowhere/{token}")).token(token).send().await;
        world.tool("read_file").token(token).body("{").send().await;
        world.tool("read_file").header("authorization", &format!("Bearer {token} {token}")).send().await;
        raw(&world.address, format!("POST /mcp/files HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\r\n").as_bytes()).await;
    }
    world.gateway.audited(tokens.len(), |_| true).await;
    let audit = std::fs::read_to_string(&world.gateway.audit_file).unwrap();
    let (stderr, metrics) = (world.gateway.stderr(), world.gateway.metrics().await.0);
    for token in &tokens {
        // The signature alone would be enough to rebuild the rest.
        let secret = token.rsplit('.').next().unwrap();
        for (place, text) in [("audit", &audit), ("stderr", &stderr), ("metrics", &metrics)] {
            assert!(!text.contains(secret), "a token stands in {place}");
        }
    }
}

#[tokio::test]
async fn item_102_no_argument_is_written_anywhere() {
    let world = World::start().await;
    let call =
        |tool: &str| world.modern("tools/call", json!({"name": tool, "arguments": {"path": "/pub/s3cret-argument"}})).token(&world.ta());
    call("read_path").send().await.is(200);
    call("wipe").send().await.is(403);
    world.gateway.audited(2, |_| true).await;
    let audit = std::fs::read_to_string(&world.gateway.audit_file).unwrap();
    for text in [audit, world.gateway.stderr(), world.gateway.metrics().await.0] {
        assert!(!text.contains("s3cret-argument"), "{text}");
    }
}

#[tokio::test]
async fn item_s29_identity_values_cannot_break_out_of_their_header() {
    let world = World::start().await;
    let token = world.token(|token| {
        token.claims["sub"] = json!("al\r\nX-Admin: 1\u{e9}%");
        token.claims["groups"] = json!(["a,b", "c\r\nd"]);
    });
    world.tool("read_file").token(&token).send().await.is(200);
    let seen = world.files.only();
    assert_eq!(seen.header("x-mcp-user"), "al%0D%0AX-Admin: 1%C3%A9%25");
    assert_eq!(seen.header("x-mcp-groups"), "a%2Cb,c%0D%0Ad");
    assert_eq!(seen.header("x-admin"), "");
}

#[tokio::test]
async fn item_s29_spaces_around_a_subject_do_not_make_it_another_persons() {
    let world = World::start().await;
    for (subject, told) in [("user-a ", "user-a%20"), (" user-a", "%20user-a"), ("user a", "user a")] {
        let token = world.token(|token| {
            token.claims["sub"] = json!(subject);
            token.claims["groups"] = json!(["dev", " sre"]);
        });
        world.tool("read_file").token(&token).send().await.is(200);
        let seen = world.files.last();
        assert_eq!((seen.header("x-mcp-user").as_str(), seen.header("x-mcp-groups").as_str()), (told, "dev,%20sre"));
    }
}

#[tokio::test]
async fn item_s30_who_is_calling_is_not_the_clients_to_say_in_headers_that_nobody_configured() {
    let world = World::start().await;
    let mut call = world.tool("read_file").token(&world.ta()).header("x-request-id", "kept");
    for name in [
        "x-forwarded-user",
        "X_Forwarded_Email",
        "x-forwarded-preferred-username",
        "x-auth-request-groups",
        "remote-user",
        "Remote_Groups",
        "x-remote-user",
        "x-webauth-user",
        "x-goog-authenticated-user-email",
        "x-ms-client-principal-name",
        "x-amzn-oidc-identity",
        "cf-access-authenticated-user-email",
        "tailscale-user-login",
    ] {
        call = call.header(name, "impostor");
    }
    call.send().await.is(200);
    let seen = world.files.only();
    assert!(!seen.text().contains("impostor"), "{}", seen.text());
    assert_eq!((seen.header("x-request-id").as_str(), seen.header("x-mcp-user").as_str()), ("kept", "user-a"));
}

#[tokio::test]
async fn item_s30_forwarding_headers_come_from_the_real_peer() {
    let world = World::start().await;
    let mut call = world.tool("read_file").token(&world.ta());
    for (name, value) in [
        ("x-forwarded-for", "10.0.0.1"),
        ("X_Forwarded_For", "10.0.0.1"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "gopher"),
        ("forwarded", "for=10.0.0.1;host=evil.example"),
        ("x-real-ip", "10.0.0.1"),
        ("x-original-url", "/evil"),
        ("x-http-method-override", "DELETE"),
    ] {
        call = call.header(name, value);
    }
    call.send().await.is(200);
    let seen = world.files.only();
    let text = seen.text();
    for forged in ["10.0.0.1", "evil", "gopher", "DELETE"] {
        assert!(!text.contains(forged), "{forged} in {text}");
    }
    assert!(["", "127.0.0.1"].contains(&seen.header("x-forwarded-for").as_str()), "{text}");
}

#[tokio::test]
async fn item_s30_hop_by_hop_headers_end_here() {
    let world = World::start().await;
    let token = world.ta();
    let lines =
        "Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nConnection: keep-alive, x-private\r\nX-Private: 1\r\n";
    let reply = raw(&world.address, &request(&world, &token, lines)).await;
    assert_eq!(reply.status, Some(200), "{reply:?}");
    let seen = world.files.only();
    for name in ["keep-alive", "proxy-connection", "te", "x-private", "upgrade"] {
        assert_eq!(seen.header(name), "", "{name}");
    }
}

#[tokio::test]
async fn item_s31_what_an_upstream_sets_for_its_own_clients_stays_here() {
    let world = World::start().await;
    world.files.script(|seen| {
        let answer = crate::support::upstream::plain(seen);
        Some(
            answer
                .with("set-cookie", "a=b")
                .with("www-authenticate", "Basic realm=\"x\"")
                .with("mcp-session-id", "minted")
                .with("server", "secret-server/1.0")
                .with("access-control-allow-origin", "*"),
        )
    });
    let reply = world.tool("read_file").token(&world.ta()).send().await;
    for name in ["set-cookie", "www-authenticate", "mcp-session-id", "access-control-allow-origin"] {
        assert_eq!(reply.is(200).header(name), "", "{name}");
    }
}

#[tokio::test]
async fn item_s31_what_works_on_our_origin_or_on_a_proxy_before_us_stays_here() {
    let world = World::start().await;
    let headers = [
        ("clear-site-data", "\"*\""),
        ("x-accel-redirect", "/internal/secret"),
        ("x-accel-expires", "3600"),
        ("x-sendfile", "/etc/passwd"),
        ("service-worker-allowed", "/"),
        ("report-to", "{\"endpoints\": []}"),
        ("reporting-endpoints", "default=\"https://elsewhere.example\""),
        ("nel", "{\"report_to\": \"default\"}"),
        ("content-location", "/mcp/crm"),
        ("cdn-cache-control", "public, max-age=600"),
        ("surrogate-control", "max-age=600"),
        ("proxy-authentication-info", "x=1"),
        ("set-cookie2", "a=b"),
    ];
    let dress = move |answer: Answer| headers.iter().fold(answer, |answer, (name, value)| answer.with(name, value));
    world.files.script(move |seen| Some(dress(crate::support::upstream::plain(seen))));
    let call = world.tool("read_file").token(&world.ta()).send().await;
    let list = world.modern("tools/list", json!({})).token(&world.ta()).send().await;
    world.files.script(move |seen| {
        let answer = json!({"jsonrpc": "2.0", "id": seen.json()["id"], "result": {"resultType": "complete", "content": []}});
        Some(dress(Answer::events(format!("data: {answer}\n\n"))))
    });
    let stream = world.tool("read_file").token(&world.ta()).send().await;
    for reply in [call, list, stream] {
        for (name, _) in headers {
            assert_eq!(reply.is(200).header(name), "", "{name}");
        }
    }
}

#[tokio::test]
async fn item_s31_a_401_of_the_upstream_is_no_challenge_for_the_client() {
    let world = World::start().await;
    world.files.script(|_| Some(Answer::text(401, "text/plain", "who are you").with("www-authenticate", "Bearer realm=\"inner\"")));
    let reply = world.tool("read_file").token(&world.ta()).send().await;
    reply.refuses(502, -31502);
    assert_eq!(reply.challenge(), "");
    assert!(!reply.text().contains("who are you"), "{reply:?}");
    let list = world.modern("tools/list", json!({})).token(&world.ta()).send().await;
    list.refuses(502, -31502);
}

#[tokio::test]
async fn item_s31_a_redirect_of_the_upstream_is_not_followed() {
    let world = World::start().await;
    let elsewhere = format!("{}?redirected", world.crm.url);
    world.files.script(move |_| Some(Answer::text(307, "text/plain", "").with("location", &elsewhere)));
    world.tool("read_file").token(&world.ta()).send().await;
    assert_eq!(world.files.count(), 1);
    world.crm.saw_nothing();
}

#[tokio::test]
async fn an_upstream_failure_says_nothing_of_the_inside() {
    let world = World::start().await;
    world.files.script(|_| Some(Answer::Die));
    let reply = world.tool("read_file").token(&world.ta()).send().await;
    reply.refuses(502, -31502);
    assert!(!format!("{reply:?}").contains(&world.files.url[7..20]), "{reply:?}");
}
