//! What nobody would send by accident: odd hosts, odd tokens, odd proofs, odd answers of issuers. Nothing of it opens anything,
//! none of it is an error of ours, and whoever comes next is served.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::introspection::{Introspection, Mood};
use crate::support::issuer::{b64, now};
use crate::support::{Issuer, Reply, Setup, World, eventually, json_call, raw};

/// Refused as the caller's fault, and the upstream hears nothing.
#[track_caller]
fn is_refusal(what: &str, reply: &Reply, world: &World, before: usize) {
    assert!((400..500).contains(&reply.status), "{what}: {reply:?}");
    assert_eq!(world.files.count(), before, "{what}: {reply:?}");
}

/// How often keys may have been fetched since then: once in two seconds, and once more for what was under way.
fn fetches_in(begun: Instant) -> usize {
    2 + usize::try_from(begun.elapsed().as_secs()).unwrap() / 2
}

async fn still_serves(world: &World) {
    world.tool("read_file").token(&world.ta()).send().await.is(200);
}

#[tokio::test]
async fn other_ways_to_write_our_host_are_other_hosts() {
    let world = World::start().await;
    let port = world.address.rsplit_once(':').unwrap().1.to_owned();
    let body = json_call("tools/call", json!({"name": "read_file", "arguments": {}})).to_string();
    let hosts = [
        format!("127.0.0.1.:{port}"),
        format!("127.0.0.1:0{port}"),
        format!("127.0.0.1:+{port}"),
        format!("127.0.0.1:{port}:{port}"),
        "127.0.0.1:".to_owned(),
        format!("127.1:{port}"),
        format!("2130706433:{port}"),
        format!("0x7f.0.0.1:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("[127.0.0.1]:{port}"),
        format!("127.0.0.1%00:{port}"),
        format!("127.0.0.1:{port}#@evil.example"),
        format!("127.0.0.1:{port}?.evil.example"),
        format!("127.0.0.1\\@evil.example:{port}"),
        format!("evil.example\u{0}127.0.0.1:{port}"),
        format!("\u{ff11}27.0.0.1:{port}"),
    ];
    for host in hosts {
        let token = world.ta();
        let length = body.len();
        let head = format!(
            "POST /mcp/files HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        let reply = raw(&world.address, [head.as_bytes(), body.as_bytes()].concat().as_slice()).await;
        assert!(reply.status.map_or(reply.closed, |status| [400, 421].contains(&status)), "{host:?}: {reply:?}");
        assert!(!reply.text.contains("evil"), "{host:?}: {reply:?}");
    }
    world.files.saw_nothing();
    still_serves(&world).await;
}

#[tokio::test]
async fn no_odd_token_is_let_in_or_brings_the_gateway_down() {
    let begun = Instant::now();
    let world = World::start().await;
    let claim = |name: &str, value: Value| world.token(|token| token.claims[name] = value);
    let header = |name: &str, value: Value| world.token(|token| token.header[name] = value);
    // The payload as text: what a map cannot say.
    let payload = |change: &dyn Fn(String) -> String| world.token(|token| token.payload = Some(change(token.claims.to_string())));
    let head = |change: &dyn Fn(String) -> String| world.token(|token| token.head = Some(change(token.header.to_string())));
    let good = world.ta();
    let jwe = |inner: &str| {
        let header = r#"{"alg":"RSA-OAEP","enc":"A256GCM","cty":"JWT","kid":"key-1","zip":"DEF"}"#;
        [b64(header), b64("key"), b64("iv"), b64(inner), b64("tag")].join(".")
    };
    let parts: Vec<&str> = good.split('.').collect();
    let odd = [
        ("a member twice, escaped", payload(&|text| text.replacen('{', r#"{"su\u0062":"root","#, 1))),
        ("a member twice, deep", payload(&|text| text.replacen('{', r#"{"act":{"sub":"a","sub":"b"},"#, 1))),
        ("cnf twice", payload(&|text| text.replacen('{', r#"{"cnf":{},"cnf":{"jkt":"x"},"#, 1))),
        ("the algorithm twice", head(&|text| text.replacen('{', r#"{"alg":"none","#, 1))),
        ("the type twice, escaped", head(&|text| text.replacen('{', r#"{"\u0074yp":"at+jwt","#, 1))),
        ("white space before the object", payload(&|text| format!("\u{a0}{text}"))),
        ("a byte order mark", payload(&|text| format!("\u{feff}{text}"))),
        ("two objects", payload(&|text| format!("{text}{text}"))),
        ("a number that is none", payload(&|text| text.replacen('{', r#"{"x":NaN,"#, 1))),
        ("a number beyond all bounds", payload(&|text| text.replacen('{', r#"{"nbf":1e999,"#, 1))),
        ("half a surrogate", payload(&|text| text.replacen('{', r#"{"x":"\ud800","#, 1))),
        ("nested a thousand deep", payload(&|text| text.replacen('{', &format!(r#"{{"x":{}{},"#, "[".repeat(1000), "]".repeat(1000)), 1))),
        ("an end in the past by sign", claim("exp", json!(-1))),
        ("an end as text", claim("exp", json!(format!("{}", now() + 300)))),
        ("an end as list", claim("exp", json!([now() + 300]))),
        ("an end as object", claim("exp", json!({"$date": now() + 300}))),
        ("an audience within an audience", claim("aud", json!([[world.resource()]]))),
        ("an audience as object", claim("aud", json!({"0": world.resource()}))),
        ("a subject as object", claim("sub", json!({"sub": "user-a"}))),
        ("a subject that is nothing", claim("sub", json!(""))),
        ("a scope as object", claim("scope", json!({"files:read": true}))),
        ("an issuer as list", claim("iss", json!([world.issuer.url]))),
        ("a confirmation of an unknown kind", claim("cnf", json!({"kid": "x"}))),
        ("a confirmation as text", claim("cnf", json!("jkt"))),
        ("a key name as number", header("kid", json!(7))),
        ("a key name as path", header("kid", json!("../../../../dev/null"))),
        ("a key name as query", header("kid", json!("x' UNION SELECT 'key"))),
        ("a key name as URL", header("kid", json!(format!("{}/jwks", world.issuer.url)))),
        ("a key name of many bytes", header("kid", json!("k".repeat(9_000)))),
        ("a key name with line ends", header("kid", json!("key-1\r\nX-Mcp-User: root"))),
        ("a critical extension", header("crit", json!(["exp"]))),
        ("an unencoded payload", header("b64", json!(false))),
        ("a compressed payload", header("zip", json!("DEF"))),
        (
            "a content type of a nested token",
            world.token(|token| {
                token.header["cty"] = json!("JWT");
                token.payload = Some(good.clone());
            }),
        ),
        ("an encrypted token around a good one", jwe(&good)),
        ("an encrypted token around an unsigned one", jwe(&format!("{}.{}.", b64(r#"{"alg":"none"}"#), parts[1]))),
        ("padding", format!("{}=.{}.{}", parts[0], parts[1], parts[2])),
        ("standard base64", format!("{}.{}.{}+/", parts[0], parts[1], parts[2])),
        ("the signature twice", format!("{good}.{}", parts[2])),
        ("JSON serialisation", json!({"payload": parts[1], "signatures": [{"protected": parts[0], "signature": parts[2]}]}).to_string()),
        ("parts without content", "..".to_owned()),
        ("ten thousand parts", ".".repeat(10_000)),
    ];
    for (what, token) in &odd {
        let before = world.files.count();
        let reply = world.tool("read_file").token(token).send().await;
        is_refusal(what, &reply, &world, before);
        assert!([400, 401].contains(&reply.status), "{what}: {reply:?}");
        assert!(!reply.header("x-mcp-user").contains("root"), "{what}");
    }
    still_serves(&world).await;
    assert!(world.issuer.other_fetches().is_empty(), "{:?}", world.issuer.other_fetches());
    assert!(world.issuer.key_fetches() <= fetches_in(begun), "{} fetches", world.issuer.key_fetches());
    let said = world.gateway.stderr() + &std::fs::read_to_string(&world.gateway.audit_file).unwrap();
    for trace in ["kkkkkkkkkk", "UNION SELECT", "dev/null", "root"] {
        assert!(!said.contains(trace), "{trace} of a refused token was written");
    }
}

#[tokio::test]
async fn item_28_odd_scopes_that_a_caller_holds_do_not_break_out_of_a_challenge() {
    let world = World::start().await;
    let held = "files:read \" , error=\"x\" a\\b \u{7f} \u{e9} x\r\nSet-Cookie:a=b \t tab";
    let token = world.token(|token| token.claims["scope"] = json!(held));
    let reply = world.tool("write_file").token(&token).send().await;
    reply.is(403);
    assert_eq!(reply.headers.get_all("www-authenticate").iter().count(), 1, "{reply:?}");
    let scope = reply.challenge_parameter("scope").unwrap();
    assert!(scope.split(' ').any(|scope| scope == "files:write"), "{scope}");
    assert!(scope.bytes().all(|byte| byte == b' ' || (byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))), "{scope:?}");
    assert_eq!(reply.challenge().matches("error=").count(), 1, "{reply:?}");
    assert_eq!(reply.header("set-cookie"), "");
    world.files.saw_nothing();
}

#[tokio::test]
async fn odd_answers_about_a_token_are_no_yes_and_no_error_of_ours() {
    let endpoint = Introspection::start().await;
    let mut setup = Setup::new().await;
    std::fs::write(setup.folder.path().join("secret"), "s3cret\n").unwrap();
    setup.config["issuers"]["corp"]["introspection"] =
        json!({"url": endpoint.url, "client_id": "gw", "client_secret_file": setup.folder.path().join("secret"), "cache": "1ms"});
    let world = setup.start().await;
    let good = Introspection::active(&world.issuer.url, &world.resource());
    let change = |name: &str, value: Value| {
        let mut answer = good.clone();
        answer[name] = value;
        answer
    };
    let odd = [
        ("active as number", change("active", json!(1))),
        ("active as list", change("active", json!([true]))),
        ("active as nothing", change("active", json!(null))),
        ("an end as number of milliseconds in the past", change("exp", json!(-1000))),
        ("an end as text", change("exp", json!("2099-01-01"))),
        ("an end as truth", change("exp", json!(true))),
        ("a beginning as object", change("nbf", json!({}))),
        ("an audience of many, none ours", change("aud", json!((0..2000).map(|n| format!("https://a{n}.example")).collect::<Vec<_>>()))),
        ("an audience of ours and a number", change("aud", json!([world.resource(), 1]))),
        ("an issuer as nothing", change("iss", json!(null))),
        ("a subject as number", change("sub", json!(7))),
        ("a client as object", change("client_id", json!({"id": "client-one"}))),
        ("a kind as list", change("token_type", json!(["Bearer"]))),
        ("a confirmation as nothing", change("cnf", json!(null))),
        ("a confirmation of two", change("cnf", json!({"jkt": "x", "x5t#S256": "y"}))),
        ("scopes as numbers", change("scope", json!([1, 2]))),
    ];
    for (number, (what, answer)) in odd.into_iter().enumerate() {
        let token = format!("opaque-{number}");
        endpoint.put(&token, answer);
        let before = world.files.count();
        let reply = world.tool("read_file").token(&token).send().await;
        // 503 where the answer is none, which says nothing of the token.
        assert!([401, 503].contains(&reply.status), "{what}: {reply:?}");
        assert_eq!(world.files.count(), before, "{what}");
        // A sound answer between odd ones keeps the circuit closed.
        endpoint.put(&format!("sound-{number}"), good.clone());
        world.tool("read_file").token(&format!("sound-{number}")).send().await.is(200);
    }
    for (what, text) in [
        ("nested deep", format!("{}{}", "[".repeat(5_000), "]".repeat(5_000))),
        ("a member twice", good.to_string().replacen('{', r#"{"sub":"root","#, 1)),
        ("a byte order mark", format!("\u{feff}{good}")),
        ("two answers", format!("{good}{good}")),
    ] {
        endpoint.be(Mood::Text("application/json", text));
        let reply = world.tool("read_file").token(&format!("text-{}", what.replace(' ', "-"))).send().await;
        assert_eq!(reply.status, 503, "{what}: {reply:?}");
        endpoint.be(Mood::ByToken);
        endpoint.put(&format!("after-{}", what.replace(' ', "-")), good.clone());
        world.tool("read_file").token(&format!("after-{}", what.replace(' ', "-"))).send().await.is(200);
    }
}

/// An issuer whose metadata speaks for another one.
async fn impostor(victim: &str, keys: Value) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (victim, own) = (victim.to_owned(), url.clone());
    let app = axum::Router::new().fallback(move |uri: axum::http::Uri| {
        let document = json!({
            "issuer": victim, "jwks_uri": format!("{own}/jwks"), "token_endpoint": format!("{own}/token"),
            "authorization_endpoint": format!("{own}/authorize"), "introspection_endpoint": format!("{own}/introspect"),
            "response_types_supported": ["code"], "code_challenge_methods_supported": ["S256"],
        });
        let answer = if uri.path() == "/jwks" { keys.clone() } else { document };
        async move { axum::Json(answer) }
    });
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

#[tokio::test]
async fn metadata_of_one_issuer_that_speaks_for_another_gains_nothing() {
    let mut setup = Setup::new().await;
    let forger = crate::support::Signer::es256("key-1");
    let url = impostor(&setup.issuer.url, json!({"keys": [forger.jwk()]})).await;
    setup.config["issuers"]["evil"] = json!({"issuer": url, "keys": {"timeout": "1s"}});
    setup.config["upstreams"]["files"]["issuers"] = json!(["evil", "corp"]);
    let world = setup.start().await;
    // In the other's name: with the impostor's key of the same name.
    let forged = world.token(|token| token.signer = forger.clone());
    let reply = world.tool("read_file").token(&forged).send().await;
    assert_eq!(reply.is(401).challenge_parameter("error").as_deref(), Some("invalid_token"));
    // In its own name: its keys were never had, for its document is not its own.
    let own = Issuer::start().await;
    let own = own.token(&world.resource(), |token| {
        token.claims["iss"] = json!(url);
        token.signer = forger.clone();
    });
    world.tool("read_file").token(&own).send().await.is(503);
    world.files.saw_nothing();
    // Nor is the document shown to clients as if it were.
    let shown = world.get("/.well-known/oauth-authorization-server/mcp/files").await;
    assert_eq!(shown.status, 502, "{shown:?}");
    assert!(!shown.text().contains("/authorize"), "{shown:?}");
    still_serves(&world).await;
}

#[tokio::test]
async fn a_proof_of_who_we_are_is_not_sent_to_whom_metadata_of_another_names() {
    let mut setup = Setup::new().await;
    let key = crate::support::client_proof::ProofKey::new(setup.folder.path());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let trap = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let (seen, claimed) = (asked.clone(), setup.issuer.url.clone());
    let place = trap.clone();
    let app = axum::Router::new().fallback(move |uri: axum::http::Uri| {
        seen.lock().unwrap().push(uri.path().to_owned());
        let document = json!({"issuer": claimed, "token_endpoint": format!("{place}/token")});
        async move { axum::Json(document) }
    });
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    setup.config["upstreams"]["files"]["credential"] =
        json!({"client_credentials": {"issuer": trap, "client_id": "gw", "private_key_jwt": {"key_file": key.file}}});
    let world = setup.start().await;
    world.tool("read_file").token(&world.ta()).send().await.is(502);
    world.gateway.says("which must equal the configured one to the letter").await;
    let asked = asked.lock().unwrap().clone();
    assert!(!asked.is_empty() && asked.iter().all(|path| path.contains("/.well-known/")), "{asked:?}");
    world.files.saw_nothing();
}

#[tokio::test]
async fn a_flood_of_long_key_names_costs_neither_memory_nor_fetches() {
    let world = World::start().await;
    still_serves(&world).await;
    let (begun, before) = (Instant::now(), (world.gateway.resident(), world.issuer.key_fetches()));
    for number in 0..300 {
        let token = world.token(|token| token.header["kid"] = json!(format!("{number}-{}", "k".repeat(8_000))));
        world.tool("read_file").token(&token).send().await.is(401);
    }
    let grown = world.gateway.resident().saturating_sub(before.0);
    // Three hundred names are 2.4 MB: none of them is kept.
    assert!(grown < 16 << 10, "{grown} KiB more");
    assert!(world.issuer.key_fetches() - before.1 <= fetches_in(begun), "{} fetches", world.issuer.key_fetches());
    eventually("all records", || async { (world.gateway.audit().len() > 300).then_some(()) }).await;
    assert!(world.gateway.audit().iter().all(|line| !line.to_string().contains("kkkkkk")));
}
