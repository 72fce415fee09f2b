//! The refusal matrix: every endpoint and method, by everything a caller may show, to the whole answer.

use http::Method;
use serde_json::{Value, json};

use crate::support::client::Call;
use crate::support::{Reply, Setup, World};

const PRM: &str = "/.well-known/oauth-protected-resource";

/// What a caller shows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shows {
    Nothing,
    Malformed,
    Expired,
    WrongAudience,
    WrongIssuer,
    TooLittleScope,
    Forbidden,
    ForgedHeaders,
}

const ALL: [Shows; 8] = [
    Shows::Nothing,
    Shows::Malformed,
    Shows::Expired,
    Shows::WrongAudience,
    Shows::WrongIssuer,
    Shows::TooLittleScope,
    Shows::Forbidden,
    Shows::ForgedHeaders,
];

/// A refusal: all that the client gets besides the headers that every refusal has.
#[derive(Debug, PartialEq)]
struct Refusal {
    status: u16,
    challenge: String,
    allow: String,
    body: Value,
}

fn refusal(status: u16, id: Option<u64>, message: &str) -> Refusal {
    let error = json!({"code": -31_000 - i64::from(status), "message": message});
    let body = match id {
        Some(id) => json!({"jsonrpc": "2.0", "id": id, "error": error}),
        None => json!({"jsonrpc": "2.0", "error": error}),
    };
    Refusal { status, challenge: String::new(), allow: String::new(), body }
}

impl Refusal {
    fn challenged(mut self, challenge: String) -> Self {
        self.challenge = challenge;
        self
    }

    /// What the reply is, with the headers of every refusal checked.
    #[track_caller]
    fn of(what: &str, reply: &Reply) -> Self {
        assert_eq!(reply.header("content-type"), "application/json", "{what}: {reply:?}");
        assert_eq!(reply.header("cache-control"), "no-store", "{what}: {reply:?}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{what}: {reply:?}");
        assert_eq!(reply.header("content-length"), reply.body.len().to_string(), "{what}: {reply:?}");
        assert_eq!(reply.header("doorward-request-id").len(), 32, "{what}: {reply:?}");
        for unwanted in ["server", "set-cookie", "location", "access-control-allow-origin", "x-powered-by"] {
            assert_eq!(reply.header(unwanted), "", "{what}: {reply:?}");
        }
        Self { status: reply.status, challenge: reply.challenge(), allow: reply.header("allow"), body: reply.json() }
    }
}

impl Shows {
    /// The tool that is called; the one that is permitted unless it is the tool that is at fault.
    fn tool(self) -> &'static str {
        match self {
            Self::TooLittleScope => "write_file",
            Self::Forbidden => "wipe",
            _ => "read_file",
        }
    }

    fn adorn(self, world: &World, call: Call) -> Call {
        match self {
            Self::Nothing => call,
            Self::Malformed => call.header("authorization", "Bearer a b"),
            Self::Expired => call.token(&world.token(|token| token.claims["exp"] = json!(1))),
            Self::WrongAudience => call.token(&world.issuer.token("https://other.example/mcp", |_| {})),
            Self::WrongIssuer => call.token(&world.token(|token| token.claims["iss"] = json!("https://other.example"))),
            Self::TooLittleScope | Self::Forbidden => call.token(&world.ta()),
            Self::ForgedHeaders => call
                .header("x-mcp-user", "root")
                .header("x_mcp_user", "root")
                .header("x-forwarded-user", "root")
                .header("x-forwarded-for", "127.0.0.1")
                .header("doorward-assertion", "e30.e30.e30")
                .header("x-original-url", "/healthz")
                .header("x-http-method-override", "OPTIONS"),
        }
    }

    /// What the token room says; none where it is content.
    fn unauthenticated(self, world: &World) -> Option<Refusal> {
        let metadata = world.metadata_url();
        let invalid = |message: &str| {
            refusal(401, None, message).challenged(format!(
                r#"Bearer error="invalid_token", error_description="{message}", scope="files:read", resource_metadata="{metadata}""#
            ))
        };
        Some(match self {
            Self::Nothing | Self::ForgedHeaders => refusal(401, None, "an access token is required")
                .challenged(format!(r#"Bearer scope="files:read", resource_metadata="{metadata}""#)),
            Self::Malformed => refusal(400, None, "exactly one well-formed Authorization header is expected").challenged(
                r#"Bearer error="invalid_request", error_description="exactly one well-formed Authorization header is expected""#.into(),
            ),
            Self::Expired => invalid("the access token has expired"),
            Self::WrongAudience => invalid("the access token was not issued for this resource"),
            Self::WrongIssuer => invalid("the access token is not from an issuer accepted here"),
            Self::TooLittleScope | Self::Forbidden => return None,
        })
    }
}

#[tokio::test]
async fn the_mcp_endpoint_refuses_post_by_what_is_shown() {
    let world = World::start().await;
    for shows in ALL {
        let expected = shows.unauthenticated(&world).unwrap_or_else(|| match shows {
            Shows::Forbidden => refusal(403, Some(1), "the access rules do not allow this operation"),
            _ => {
                let message = "this operation needs a scope that the access token lacks";
                refusal(403, Some(1), message).challenged(format!(
                    r#"Bearer error="insufficient_scope", error_description="{message}", scope="files:write", resource_metadata="{}""#,
                    world.metadata_url()
                ))
            }
        });
        let params = json!({"name": shows.tool(), "arguments": {}});
        for call in [world.modern("tools/call", params.clone()), world.legacy("tools/call", params)] {
            let reply = shows.adorn(&world, call).send().await;
            assert_eq!(Refusal::of(&format!("{shows:?}"), &reply), expected, "{shows:?}");
        }
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn the_mcp_endpoint_refuses_other_methods_after_asking_for_a_token() {
    let world = World::start().await;
    let odd = Method::from_bytes(b"PURGE").unwrap();
    for method in [Method::GET, Method::DELETE, Method::PUT, Method::PATCH, Method::TRACE, odd] {
        for shows in ALL {
            let expected = shows.unauthenticated(&world).unwrap_or_else(|| {
                let mut refusal = refusal(405, None, "this method is not served at this path");
                // Without a session there is nothing to listen on or to end.
                let attends = [Method::GET, Method::DELETE].contains(&method);
                refusal.allow = if attends { "POST" } else { "POST, GET, DELETE" }.into();
                refusal
            });
            let body = if method == Method::PUT { "{}" } else { "" };
            let call = world.legacy("tools/list", json!({})).method(method.clone()).body(body);
            let reply = shows.adorn(&world, call).send().await;
            let what = format!("{method} {shows:?}");
            assert_eq!(Refusal::of(&what, &reply), expected, "{what}");
        }
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn a_preflight_is_answered_alike_whatever_is_shown() {
    let world = World::start().await;
    for path in ["/mcp/files".to_owned(), format!("{PRM}/mcp/files")] {
        for shows in ALL {
            let call = world
                .legacy("tools/list", json!({}))
                .path(&path)
                .method(Method::OPTIONS)
                .body("")
                .header("origin", &world.origin)
                .header("access-control-request-method", "POST");
            let reply = shows.adorn(&world, call).send().await;
            assert!((200..300).contains(&reply.status) && reply.body.is_empty(), "{path} {shows:?}: {reply:?}");
        }
        let stranger =
            world.legacy("x", json!({})).path("/mcp/files").method(Method::OPTIONS).body("").header("origin", "https://evil.example");
        let reply = stranger.header("access-control-request-method", "POST").send().await;
        assert_eq!(reply.header("access-control-allow-origin"), "", "{reply:?}");
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn the_metadata_is_the_same_for_everybody() {
    let world = World::start().await;
    let path = format!("{PRM}/mcp/files");
    let public = world.get(&path).await.body;
    for shows in ALL {
        let ask = |method: Method, body: &'static str| {
            let call = world.legacy("tools/list", json!({})).path(&path).method(method).body(body);
            shows.adorn(&world, call).send()
        };
        let reply = ask(Method::GET, "").await;
        assert_eq!((reply.status, &reply.body), (200, &public), "{shows:?}");
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let reply = ask(method.clone(), "{}").await;
            assert_eq!(reply.status, 405, "{method} {shows:?}: {reply:?}");
            assert!(reply.header("allow").contains("GET"), "{method} {shows:?}: {reply:?}");
        }
    }
    world.files.saw_nothing();
}

#[tokio::test]
async fn what_is_not_served_is_not_found_for_everybody() {
    let world = World::start().await;
    let expected = refusal(404, None, "nothing is served at this path");
    let paths = [
        PRM,
        "/",
        "/mcp",
        "/mcp/file",
        "/mcp/files2",
        "/mcp/files/x",
        "/MCP/FILES",
        "/metrics",
        "/healthz",
        "/readyz",
        "/authorize",
        "/token",
        "/register",
        "/favicon.ico",
        "/.env",
    ];
    for path in paths {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::TRACE] {
            for shows in ALL {
                let body = if method == Method::POST { "{}" } else { "" };
                let call = world.legacy("tools/list", json!({})).path(path).method(method.clone()).body(body);
                let reply = shows.adorn(&world, call).send().await;
                let what = format!("{method} {path} {shows:?}");
                assert_eq!(Refusal::of(&what, &reply), expected, "{what}");
            }
        }
    }
    world.files.saw_nothing();
    world.crm.saw_nothing();
}

#[tokio::test]
async fn another_host_is_misdirected_for_everybody() {
    let world = World::start().await;
    let expected = refusal(421, None, "this host is not served here");
    for path in ["/mcp/files".to_owned(), format!("{PRM}/mcp/files"), "/nowhere".into()] {
        for host in ["evil.example", "localhost", "127.0.0.1", "127.0.0.1:1"] {
            for shows in ALL {
                let call = shows.adorn(&world, world.tool("read_file")).path(&path).header("host", host);
                let reply = call.send().await;
                let what = format!("{host}{path} {shows:?}");
                assert_eq!(Refusal::of(&what, &reply), expected, "{what}");
            }
        }
    }
    world.files.saw_nothing();
}

/// Every document that is nobody's secret: where it stands.
fn documents() -> Vec<String> {
    let mut all = vec![format!("{PRM}/mcp/files"), format!("{PRM}/mcp/crm"), "/.well-known/doorward/jwks.json".to_owned()];
    for name in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        all.extend([name.to_owned(), format!("{name}/mcp/files"), format!("/mcp/files{name}"), format!("/mcp/crm{name}")]);
    }
    all
}

#[tokio::test]
async fn every_document_is_the_same_for_everybody_and_nobody_may_change_it() {
    let world = World::with(|config| config["upstreams"]["files"]["identity"]["assertion"] = json!(true)).await;
    for path in documents() {
        let public = world.get(&path).await.is(200).body.clone();
        for shows in ALL {
            let ask = |method: Method, body: &'static str| {
                let call = world.legacy("tools/list", json!({})).path(&path).method(method).body(body);
                shows.adorn(&world, call).send()
            };
            let what = format!("{path} {shows:?}");
            let reply = ask(Method::GET, "").await;
            assert_eq!((reply.status, &reply.body), (200, &public), "{what}");
            assert_eq!(reply.header("x-content-type-options"), "nosniff", "{what}: {reply:?}");
            let head = ask(Method::HEAD, "").await;
            assert_eq!((head.status, head.body.len()), (200, 0), "{what}");
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::TRACE] {
                let reply = ask(method.clone(), if method == Method::TRACE { "" } else { "{}" }).await;
                let expected = ("this method is not served at this path", 405);
                assert_eq!((reply.json()["error"]["message"].as_str().unwrap(), reply.status), expected, "{method} {what}: {reply:?}");
                assert_eq!((reply.header("allow").as_str(), reply.challenge().as_str()), ("GET, HEAD, OPTIONS", ""), "{method} {what}");
            }
        }
    }
    world.files.saw_nothing();
    world.crm.saw_nothing();
}

#[tokio::test]
async fn a_head_request_is_refused_like_any_other_and_has_no_body() {
    let world = World::start().await;
    for (path, is_mcp) in [("/mcp/files", true), ("/nowhere", false), (PRM, false)] {
        for shows in ALL {
            let call = world.legacy("tools/list", json!({})).path(path).method(Method::HEAD).body("");
            let reply = shows.adorn(&world, call).send().await;
            let expected = match (is_mcp, shows.unauthenticated(&world)) {
                (false, _) => 404,
                (true, Some(refusal)) => refusal.status,
                (true, None) => 405,
            };
            assert_eq!((reply.status, reply.body.len()), (expected, 0), "{path} {shows:?}: {reply:?}");
        }
    }
    world.files.saw_nothing();
}

/// Who may tell of what has ended is settled by a secret of that way's own: no caller's token opens it.
#[tokio::test]
async fn no_callers_token_opens_a_way_in_for_signals() {
    let mut setup = Setup::new().await;
    let secret = setup.folder.path().join("secret");
    std::fs::write(&secret, "push-me-0123456789").unwrap();
    setup.config["store"] = json!(format!("sqlite:{}", setup.folder.path().join("doorward.db").display()));
    setup.config["signals"] = json!({"tr": {
        "issuers": ["corp"], "transmitter": "https://tr.example", "audience": ["https://us.example"], "jwks_uri": "http://127.0.0.1:9/jwks",
        "push": {"token_file": secret}, "revoke": {"token_file": secret}, "logout": {"audience": ["portal"]},
    }});
    let world = setup.start().await;
    let ways = [
        ("/.doorward/signals/tr", "application/secevent+jwt", 400),
        ("/.doorward/signals/tr/revoke", "application/json", 401),
        ("/.doorward/signals/tr/logout", "application/x-www-form-urlencoded", 400),
    ];
    for (path, kind, status) in ways {
        for shows in ALL {
            let call = |method: Method| {
                let body = if method == Method::POST { "{}" } else { "" };
                let call = world.legacy("tools/list", json!({})).path(path).method(method).body(body);
                shows.adorn(&world, call.replace("content-type", kind)).send()
            };
            let reply = call(Method::POST).await;
            assert_eq!(reply.status, status, "{path} {shows:?}: {reply:?}");
            for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
                let reply = call(method.clone()).await;
                assert_eq!((reply.status, reply.header("allow").as_str()), (405, "POST"), "{method} {path} {shows:?}: {reply:?}");
            }
        }
    }
    world.files.saw_nothing();
    // Nobody's token was ended.
    world.tool("read_file").token(&world.ta()).send().await.is(200);
}

#[tokio::test]
async fn messages_are_refused_with_their_code() {
    let world = World::start().await;
    let token = world.ta();
    let call = || world.tool("read_file").token(&token);
    let cases: Vec<(&str, Call, u16, i64, &str)> = vec![
        ("not JSON", call().body("{"), 400, -32700, "the body is not strict JSON in UTF-8"),
        ("batch", call().body("[]"), 400, -32600, "batches are not accepted"),
        ("duplicate", call().body(r#"{"jsonrpc":"2.0","jsonrpc":"2.0"}"#), 400, -32600, "an object of the message names a member twice"),
        ("response", call().body(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), 400, -32600, "no request is waiting for this response"),
        ("media type", call().replace("content-type", "text/plain"), 415, -31415, "the body must be application/json"),
        ("coding", call().header("content-encoding", "gzip"), 415, -31415, "the body must not be compressed"),
        ("origin", call().header("origin", "https://evil.example"), 403, -31403, "this Origin may not call"),
        ("unknown method", world.modern("no/such", json!({})).token(&token), 404, -32601, "the method is not known here"),
        ("spelling", call().path("/mcp/%66iles"), 400, -31400, "the path is not in its plain spelling"),
    ];
    for (what, call, status, code, message) in cases {
        let reply = call.send().await;
        let got = Refusal::of(what, &reply);
        assert_eq!((got.status, &got.body["error"]), (status, &json!({"code": code, "message": message})), "{what}: {reply:?}");
        assert_eq!((got.challenge.as_str(), got.allow.as_str()), ("", ""), "{what}");
    }
    world.files.saw_nothing();
}
