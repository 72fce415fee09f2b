//! Where clients come in and where upstreams are: TLS, HTTP/2, Unix sockets.

use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::support::client::{builder, modern, read_answer};
use crate::support::gateway::free_port;
use crate::support::tls::Identity;
use crate::support::{DEADLINE, Setup, Upstream, World, eventually};

/// A world that serves TLS, and what it serves it with.
async fn over_tls() -> (World, Identity) {
    let identity = Identity::new();
    let mut setup = Setup::new().await;
    setup.over_tls(&identity);
    (setup.start_with(identity.client()).await, identity)
}

#[tokio::test]
async fn tls_is_served_and_http2_is_chosen_by_alpn() {
    let (world, identity) = over_tls().await;
    let call = world.tool("read_file").token(&world.ta());
    let reply = call.clone().send().await;
    assert_eq!(reply.is(200).version, http::Version::HTTP_2);
    assert_eq!(world.get("/.well-known/oauth-protected-resource/mcp/files").await.json()["resource"], json!(world.resource()));
    let root = reqwest::Certificate::from_pem(identity.certificate_pem.as_bytes()).unwrap();
    let old = builder().tls_certs_only([root]).http1_only().build().unwrap();
    let reply = call.by(&old, &world.origin).send().await;
    assert_eq!(reply.is(200).version, http::Version::HTTP_11);
}

#[tokio::test]
async fn over_h2_the_same_rules_hold() {
    let (world, _) = over_tls().await;
    let reply = world.tool("read_file").send().await;
    assert_eq!(reply.is(401).challenge_parameter("resource_metadata"), Some(world.metadata_url()));
    world.tool("wipe").token(&world.ta()).send().await.refuses(403, -31403);
    let token = world.ta();
    let twice = world.tool("read_file").token(&token).token(&token).send().await;
    assert_eq!(twice.is(400).challenge_parameter("error").as_deref(), Some("invalid_request"));
    let list = world.modern("tools/list", json!({})).token(&token).send().await;
    assert_eq!(list.names("tools", "name"), ["read_file", "read_path"]);
    assert_eq!(world.files.count(), 1);
}

#[tokio::test]
async fn over_h2_a_refusal_of_one_call_harms_no_other() {
    let (world, _) = over_tls().await;
    let calls = (0..40).map(|at| {
        let call = world.tool(if at % 2 == 0 { "read_file" } else { "wipe" }).token(&world.ta());
        async move { (at, call.send().await.status) }
    });
    for (at, status) in futures_util::future::join_all(calls).await {
        assert_eq!(status, if at % 2 == 0 { 200 } else { 403 });
    }
}

#[tokio::test]
async fn plain_http_at_a_tls_listener_gets_nothing() {
    let (world, _) = over_tls().await;
    let mut socket = tokio::net::TcpStream::connect(&world.address).await.unwrap();
    socket.write_all(format!("GET /mcp/files HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", world.address).as_bytes()).await.unwrap();
    let answer = read_answer(&mut socket, DEADLINE).await;
    assert!(answer.closed && answer.status != Some(200), "{answer:?}");
}

#[tokio::test]
async fn a_renewed_certificate_is_served_without_a_restart() {
    let (world, _) = over_tls().await;
    let call = world.tool("read_file").token(&world.ta());
    call.clone().send().await.is(200);
    let renewed = Identity::new();
    renewed.write(world.folder.path());
    world.gateway.signal("HUP");
    eventually("the renewed certificate", || async {
        let fresh = renewed.client();
        call.clone().by(&fresh, &world.origin).try_send().await.is_ok().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_renewed_certificate_is_noticed_without_a_signal() {
    let (world, _) = over_tls().await;
    let renewed = Identity::new();
    renewed.write(world.folder.path());
    let call = world.tool("read_file").token(&world.ta());
    eventually("the renewed certificate", || async {
        let fresh = renewed.client();
        call.clone().by(&fresh, &world.origin).try_send().await.is_ok().then_some(())
    })
    .await;
}

#[tokio::test]
async fn half_a_renewal_keeps_the_old_certificate() {
    let (world, _) = over_tls().await;
    std::fs::write(world.folder.path().join("cert.pem"), "not a certificate").unwrap();
    let before = world.gateway.metrics().await.sum("doorward_config_reload_total", "");
    world.gateway.signal("HUP");
    eventually("the reload to be counted", || async {
        (world.gateway.metrics().await.sum("doorward_config_reload_total", "") > before).then_some(())
    })
    .await;
    world.tool("read_file").token(&world.ta()).send().await.is(200);
}

#[tokio::test]
async fn a_unix_socket_is_served() {
    let mut setup = Setup::new().await;
    let path = setup.folder.path().join("doorward.sock");
    setup.config["listen"].as_array_mut().unwrap().push(json!({"address": format!("unix:{}", path.display())}));
    let world = setup.start().await;
    let local = builder().tls_certs_only([]).unix_socket(path.clone()).build().unwrap();
    let call = |tool: &str| modern(&local, &world.origin, "tools/call", json!({"name": tool, "arguments": {}}));
    call("read_file").send().await.is(401);
    call("read_file").token(&world.ta()).send().await.is(200);
    call("wipe").token(&world.ta()).send().await.is(403);
    assert_eq!(world.files.only().header("x-mcp-user"), "user-a");
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode & 0o007, 0, "{mode:o}");
}

#[tokio::test]
async fn a_unix_socket_that_was_left_behind_does_not_hinder_the_start() {
    let mut setup = Setup::new().await;
    let path = setup.folder.path().join("doorward.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    setup.config["listen"].as_array_mut().unwrap().push(json!({"address": format!("unix:{}", path.display())}));
    let world = setup.start().await;
    let local = builder().tls_certs_only([]).unix_socket(path).build().unwrap();
    modern(&local, &world.origin, "tools/list", json!({})).send().await.is(401);
}

#[tokio::test]
async fn http2_without_tls_is_served_where_it_is_asked_for() {
    let world = World::with(|config| config["listen"][0]["h2c"] = json!(true)).await;
    let h2c = builder().tls_certs_only([]).http2_prior_knowledge().build().unwrap();
    let reply = world.tool("read_file").token(&world.ta()).by(&h2c, &world.origin).send().await;
    assert_eq!(reply.is(200).version, http::Version::HTTP_2);
    // And HTTP/1.1 on the same port.
    world.tool("read_file").token(&world.ta()).send().await.is(200);
}

#[tokio::test]
async fn several_listeners_serve_the_same_world() {
    let other = free_port();
    let world = World::with(|config| config["listen"].as_array_mut().unwrap().push(json!({"address": format!("127.0.0.1:{other}")}))).await;
    let origin = format!("http://127.0.0.1:{other}");
    let call = modern(&world.http, &origin, "tools/call", json!({"name": "read_file", "arguments": {}})).token(&world.ta());
    call.clone().header("host", &world.address).send().await.is(200);
    // Its own name is not the one that clients type.
    call.send().await.is(421);
}

#[tokio::test]
async fn an_https_upstream_is_reached_with_its_own_authority() {
    let identity = Identity::new();
    let mut setup = Setup::before(Upstream::tls(&identity).await).await;
    let ca = setup.folder.path().join("ca.pem");
    std::fs::write(&ca, &identity.certificate_pem).unwrap();
    setup.config["upstreams"]["files"]["ca_file"] = json!(ca);
    let world = setup.start().await;
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    let seen = world.files.only();
    assert!(seen.header("host").starts_with("localhost:"), "{}", seen.text());
    let list = world.modern("tools/list", json!({})).token(&world.ta()).send().await;
    assert_eq!(list.names("tools", "name"), ["read_file", "read_path"]);
}

#[tokio::test]
async fn an_https_upstream_of_another_authority_is_not_talked_to() {
    let (identity, other) = (Identity::new(), Identity::new());
    let upstream = Upstream::tls(&identity).await;
    let mut setup = Setup::before(upstream).await;
    let ca = setup.folder.path().join("ca.pem");
    std::fs::write(&ca, &other.certificate_pem).unwrap();
    setup.config["upstreams"]["files"]["ca_file"] = json!(ca);
    let world = setup.start().await;
    world.tool("read_file").token(&world.ta()).send().await.refuses(502, -31502);
    world.files.saw_nothing();
}

#[tokio::test]
async fn an_https_upstream_without_a_named_authority_needs_a_public_one() {
    let world = Setup::before(Upstream::tls(&Identity::new()).await).await.start().await;
    world.tool("read_file").token(&world.ta()).send().await.refuses(502, -31502);
    world.files.saw_nothing();
}

#[tokio::test]
async fn a_unix_upstream_is_reached() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::before(Upstream::unix(&folder.path().join("upstream.sock")).await).await;
    let world = setup.start().await;
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    let list = world.modern("tools/list", json!({})).token(&world.ta()).send().await;
    assert_eq!(list.names("tools", "name"), ["read_file", "read_path"]);
    assert_eq!(world.files.seen()[0].header("x-mcp-user"), "user-a");
}

#[tokio::test]
async fn an_h2c_upstream_is_reached_and_its_answers_are_cut() {
    let mut setup = Setup::before(Upstream::h2c().await).await;
    setup.config["upstreams"]["files"]["http2"] = json!(true);
    let world = setup.start().await;
    let calls = (0..20).map(|_| world.modern("tools/list", json!({})).token(&world.ta()).send());
    for reply in futures_util::future::join_all(calls).await {
        assert_eq!(reply.is(200).names("tools", "name"), ["read_file", "read_path"]);
    }
    let seen = &world.files.seen()[0];
    assert_eq!((seen.version, seen.header("x-mcp-user").as_str(), seen.path.as_str()), (http::Version::HTTP_2, "user-a", "/mcp"));
    assert!(!seen.text().contains("Bearer"));
}

#[tokio::test]
async fn admin_answers_stay_off_the_public_listener() {
    let world = World::start().await;
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(world.gateway.admin(path).await.0, 200, "{path}");
        let reply = world.get(path).await;
        assert_eq!(reply.status, 404, "{path}: {reply:?}");
    }
}
