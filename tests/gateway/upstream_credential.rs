//! Tokens that the gateway obtains for an upstream: asked for once, shown there, and never the caller's own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::support::client_proof::ProofKey;
use crate::support::issuer::now;
use crate::support::{Answer, Setup, World};

/// One request for a token.
#[derive(Clone, Debug)]
struct Asked {
    authorization: String,
    form: HashMap<String, String>,
}

type Script = dyn Fn(&Asked, usize) -> (u16, Value) + Send + Sync;

/// An authorization server that gives tokens `given-1`, `given-2`, … or what its script says.
struct Server {
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    url: String,
    asked: Mutex<Vec<Asked>>,
    script: Mutex<Box<Script>>,
}

fn given(_: &Asked, number: usize) -> (u16, Value) {
    let kind = "urn:ietf:params:oauth:token-type:access_token";
    (200, json!({"access_token": format!("given-{number}"), "token_type": "Bearer", "expires_in": 300, "issued_token_type": kind}))
}

impl Server {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared { url: url.clone(), asked: Mutex::default(), script: Mutex::new(Box::new(given)) });
        let router = axum::Router::new()
            .route("/token", post(token))
            .route("/.well-known/oauth-authorization-server", get(metadata))
            .with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared }
    }

    fn script(&self, script: impl Fn(&Asked, usize) -> (u16, Value) + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap() = Box::new(script);
    }

    fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }
}

async fn token(State(shared): State<Arc<Shared>>, headers: HeaderMap, Form(form): Form<HashMap<String, String>>) -> Response {
    let authorization = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let asked = Asked { authorization, form };
    let number = {
        let mut all = shared.asked.lock().unwrap();
        all.push(asked.clone());
        all.len()
    };
    let (status, body) = shared.script.lock().unwrap()(&asked, number);
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

async fn metadata(State(shared): State<Arc<Shared>>) -> axum::Json<Value> {
    axum::Json(json!({"issuer": shared.url, "token_endpoint": format!("{}/token", shared.url)}))
}

/// A gateway whose files upstream has this way to a token; `change` may add to it.
async fn world(kind: &str, change: impl FnOnce(&mut Value)) -> (Server, World) {
    let server = Server::start().await;
    let mut setup = Setup::new().await;
    let secret = setup.folder.path().join("client-secret");
    std::fs::write(&secret, "s3cr3t-of-the-client\n").unwrap();
    let mut grant = json!({"token_url": format!("{}/token", server.url), "client_id": "doorward", "client_secret_file": secret});
    change(&mut grant);
    setup.config["upstreams"]["files"]["credential"] = json!({kind: grant});
    (server, setup.start().await)
}

fn basic() -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("doorward:s3cr3t-of-the-client"))
}

#[tokio::test]
async fn item_101_the_gateways_own_token_is_obtained_once_for_all_callers() {
    let (server, world) = world("client_credentials", |grant| grant["scopes"] = json!(["mcp", "read"])).await;
    for token in [world.ta(), world.tb(), world.ta()] {
        world.tool("read_file").token(&token).send().await.is(200);
    }
    assert!(world.files.seen().iter().all(|seen| seen.header("authorization") == "Bearer given-1"));
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    let expected = [("grant_type", "client_credentials"), ("scope", "mcp read")];
    assert_eq!(asked[0].form, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert_eq!(asked[0].authorization, basic());
}

#[tokio::test]
async fn item_101_a_callers_token_is_exchanged_and_never_reaches_the_upstream() {
    let (server, world) = world("token_exchange", |_| {}).await;
    let (a, b) = (world.ta(), world.tb());
    for token in [&a, &b, &a, &b] {
        world.tool("read_file").token(token).send().await.is(200);
    }
    let shown: Vec<String> = world.files.seen().iter().map(|seen| seen.header("authorization")).collect();
    assert_eq!(shown, ["Bearer given-1", "Bearer given-2", "Bearer given-1", "Bearer given-2"]);
    for seen in world.files.seen() {
        for token in [&a, &b] {
            assert!(!seen.text().contains(token.as_str()) && !seen.text().contains(token.rsplit('.').next().unwrap()));
        }
    }
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].form["grant_type"], "urn:ietf:params:oauth:grant-type:token-exchange");
    assert_eq!((&asked[0].form["subject_token"], &asked[1].form["subject_token"]), (&a, &b));
    assert_eq!(asked[0].form["subject_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    assert_eq!(asked[0].form["resource"], world.files.url);
    assert_eq!(asked[0].authorization, basic());
    assert!(!asked[0].form.contains_key("actor_token"));
}

#[tokio::test]
async fn an_exchange_can_name_an_audience_and_who_acts() {
    let server = Server::start().await;
    let mut setup = Setup::new().await;
    let (secret, actor) = (setup.folder.path().join("client-secret"), setup.folder.path().join("actor"));
    std::fs::write(&secret, "s3cr3t").unwrap();
    std::fs::write(&actor, "token-of-the-gateway\n").unwrap();
    setup.config["upstreams"]["files"]["credential"] = json!({"token_exchange": {
        "issuer": server.url, "client_id": "doorward", "client_secret_file": secret, "audience": "files-api", "actor_token_file": actor,
    }});
    let world = setup.start().await;
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    let asked = server.asked();
    assert_eq!((asked[0].form["audience"].as_str(), asked[0].form["actor_token"].as_str()), ("files-api", "token-of-the-gateway"));
    assert!(!asked[0].form.contains_key("resource"));
    assert_eq!(world.files.only().header("authorization"), "Bearer given-1");
}

#[tokio::test]
async fn item_101_without_a_token_for_it_the_upstream_is_not_called() {
    type Case = (&'static str, fn(&Asked, usize) -> (u16, Value));
    let kinds: [Case; 6] = [
        ("refused", |_, _| (400, json!({"error": "invalid_grant", "error_description": "said too much"}))),
        ("down", |_, _| (503, json!({}))),
        ("redirected", |_, _| (302, json!({}))),
        ("another type", |_, _| (200, json!({"access_token": "x", "token_type": "DPoP"}))),
        ("no JSON object", |_, _| (200, json!("x"))),
        // SECURITY: an authorization server that hands the caller's own token back.
        ("echo", |asked, _| {
            let kind = "urn:ietf:params:oauth:token-type:access_token";
            let token = asked.form.get("subject_token").cloned().unwrap_or_default();
            (200, json!({"access_token": token, "token_type": "Bearer", "issued_token_type": kind}))
        }),
    ];
    for (name, script) in kinds {
        let (server, world) = world("token_exchange", |_| {}).await;
        server.script(script);
        let token = world.ta();
        let reply = world.tool("read_file").token(&token).send().await;
        reply.refuses(502, -31502);
        assert_eq!(reply.challenge(), "", "{name}");
        assert_eq!(world.files.count(), 0, "{name}");
        let audit = world.gateway.audited(1, |line| line["reason"] == "upstream_credential").await;
        assert_eq!(audit[0]["outcome"], "failed", "{name}");
        let texts = [reply.text(), world.gateway.stderr(), std::fs::read_to_string(&world.gateway.audit_file).unwrap()];
        for secret in [token.as_str(), "s3cr3t-of-the-client", "said too much"] {
            assert!(texts.iter().all(|text| !text.contains(secret)), "{name}: {texts:?}");
        }
    }
}

#[tokio::test]
async fn nobody_who_is_refused_causes_an_exchange() {
    let (server, world) = world("token_exchange", |_| {}).await;
    world.tool("read_file").send().await.is(401);
    world.tool("read_file").token("e30.e30.e30").send().await.is(401);
    world.tool("wipe").token(&world.ta()).send().await.is(403);
    world.tool("write_file").token(&world.ta()).send().await.is(403);
    assert_eq!((server.asked().len(), world.files.count()), (0, 0));
}

#[tokio::test]
async fn an_upstream_that_answers_401_gets_another_token_once() {
    let (server, world) = world("client_credentials", |_| {}).await;
    world.files.script(|seen| match seen.header("authorization").as_str() {
        "Bearer given-1" => Some(Answer::text(401, "text/plain", "no")),
        _ => None,
    });
    let reply = world.tool("read_file").token(&world.ta()).send().await;
    reply.refuses(502, -31502);
    assert_eq!(reply.challenge(), "");
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    assert_eq!(server.asked().len(), 2);
    // One that accepts none does not make the gateway ask each time.
    world.files.script(|_| Some(Answer::text(401, "text/plain", "no")));
    for _ in 0..5 {
        world.tool("read_file").token(&world.ta()).send().await.is(502);
    }
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn item_99_a_clients_authorization_never_stands_beside_the_obtained_one() {
    let (_server, world) = world("client_credentials", |_| {}).await;
    let token = world.ta();
    let call = world.tool("read_file").token(&token);
    for name in ["proxy-authorization", "x_authorization", "authorization_"] {
        call.clone().header(name, "Bearer forged").send().await;
    }
    assert!(world.files.count() > 0);
    for seen in world.files.seen() {
        assert_eq!(seen.header("authorization"), "Bearer given-1");
        assert!(seen.header("proxy-authorization").is_empty() && seen.header("authorization_").is_empty(), "{}", seen.text());
    }
}

#[tokio::test]
async fn tokens_of_a_grant_that_did_not_change_survive_a_reload_and_others_do_not() {
    let (server, world) = world("client_credentials", |_| {}).await;
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    let mut config = world.config.clone();
    config["limits"] = json!({"depth": 32});
    world.gateway.reload(&config).await;
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    assert_eq!(server.asked().len(), 1);
    config["upstreams"]["files"]["credential"]["client_credentials"]["scopes"] = json!(["other"]);
    world.gateway.reload(&config).await;
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    assert_eq!((server.asked().len(), world.files.seen()[2].header("authorization").as_str()), (2, "Bearer given-2"));
}

#[tokio::test]
async fn item_102_obtained_tokens_and_secrets_appear_nowhere() {
    let (_server, world) = world("token_exchange", |_| {}).await;
    let reply = world.tool("read_file").token(&world.ta()).send().await;
    world.gateway.audited(1, |line| line["operation"] == "tools/call").await;
    let audit = std::fs::read_to_string(&world.gateway.audit_file).unwrap();
    for text in [world.gateway.stderr(), audit, world.gateway.metrics().await.0, format!("{reply:?}")] {
        assert!(!text.contains("given-1") && !text.contains("s3cr3t"), "{text}");
    }
}

/// The same with a key in place of the secret.
async fn world_with_key(kind: &str, proof: Value, change: impl FnOnce(&mut Value, &Server)) -> (Server, World, ProofKey) {
    let server = Server::start().await;
    let mut setup = Setup::new().await;
    let key = ProofKey::new(setup.folder.path());
    let mut proof = proof;
    proof["key_file"] = json!(key.file);
    let mut grant = json!({"client_id": "doorward", "private_key_jwt": proof});
    change(&mut grant, &server);
    setup.config["upstreams"]["files"]["credential"] = json!({kind: grant});
    (server, setup.start().await, key)
}

#[tokio::test]
async fn item_101_a_key_proves_who_asks_for_client_credentials_and_for_an_exchange() {
    for kind in ["client_credentials", "token_exchange"] {
        let (server, world, key) =
            world_with_key(kind, json!({"kid": "door-1", "algorithm": "ES256"}), |grant, server| grant["issuer"] = json!(server.url)).await;
        server.script(|_, number| {
            let (status, mut body) = given(&Asked { authorization: String::new(), form: HashMap::new() }, number);
            body["expires_in"] = json!(1);
            (status, body)
        });
        world.tool("read_file").token(&world.ta()).send().await.is(200);
        let first = server.asked().remove(0);
        assert_eq!((first.authorization.as_str(), first.form["client_id"].as_str()), ("", "doorward"), "{kind}");
        let (header, claims) = key.opened(&first.form);
        assert_eq!(header, json!({"alg": "ES256", "typ": "JWT", "kid": "door-1"}), "{kind}");
        let issued = claims["iat"].as_u64().unwrap();
        assert!(now().abs_diff(issued) < 10, "{kind}");
        let jti = claims["jti"].as_str().unwrap().to_owned();
        assert!(jti.len() >= 22, "{kind}");
        let expected = json!({"iss": "doorward", "sub": "doorward", "aud": server.url, "iat": issued, "exp": issued + 60, "jti": jti});
        assert_eq!(claims, expected, "{kind}");
        // Another token is asked for with another proof.
        crate::support::eventually("a second request for a token", || async {
            world.tool("read_file").token(&world.ta()).send().await.is(200);
            (server.asked().len() > 1).then_some(())
        })
        .await;
        let (_, again) = key.opened(&server.asked()[1].form);
        assert_ne!(again["jti"], json!(jti), "{kind}");
        let said = [world.gateway.stderr(), std::fs::read_to_string(&world.gateway.audit_file).unwrap()].concat();
        assert!(!said.contains(&first.form["client_assertion"]), "{kind}");
    }
}

#[tokio::test]
async fn a_proof_is_for_whom_the_operator_says() {
    let at_endpoint = |grant: &mut Value, server: &Server| grant["token_url"] = json!(format!("{}/token", server.url));
    let (server, world, key) = world_with_key("client_credentials", json!({}), at_endpoint).await;
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    let (header, claims) = key.opened(&server.asked()[0].form);
    assert_eq!((&header["kid"], &claims["aud"]), (&Value::Null, &json!(format!("{}/token", server.url))));
    let named = json!({"audience": "https://login.example.com"});
    let (server, world, key) = world_with_key("client_credentials", named, at_endpoint).await;
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    assert_eq!(key.opened(&server.asked()[0].form).1["aud"], json!("https://login.example.com"));
}

#[tokio::test]
async fn a_new_key_in_the_file_is_used_without_a_restart() {
    let issuer = |grant: &mut Value, server: &Server| grant["issuer"] = json!(server.url);
    let (server, world, key) = world_with_key("client_credentials", json!({}), issuer).await;
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    key.opened(&server.asked()[0].form);
    let renewed = ProofKey::new(world.folder.path());
    world.gateway.signal("HUP");
    // A token of the old key would still serve: what is asked for anew is asked for with the new one.
    crate::support::eventually("a token asked for with the new key", || async {
        world.tool("read_file").token(&world.ta()).send().await.is(200);
        (server.asked().len() > 1).then_some(())
    })
    .await;
    renewed.opened(&server.asked()[1].form);
}

#[tokio::test]
async fn the_gateways_own_questions_show_its_own_token_too() {
    let server = Server::start().await;
    let mut setup = Setup::new().await;
    let key = ProofKey::new(setup.folder.path());
    setup.config["upstreams"].as_object_mut().unwrap().remove("crm");
    setup.config["scopes"].as_object_mut().unwrap().retain(|name, _| name.starts_with("files:"));
    setup.config["upstreams"]["files"]["rules"] = json!([{"tools": ["*"], "scopes": ["files:read"]}]);
    setup.config["upstreams"]["files"]["credential"] =
        json!({"client_credentials": {"issuer": server.url, "client_id": "doorward", "private_key_jwt": {"key_file": key.file}}});
    setup.config["upstreams"]["files"]["pin"] = json!({"file": "files.tools.json", "interval": "1h"});
    setup.files.script(|seen| {
        let shows = seen.header("authorization").starts_with("Bearer given-");
        (!shows).then(|| Answer::text(401, "application/json", "{}"))
    });
    let file = setup.folder.path().join("doorward.yaml");
    crate::support::gateway::write_config(&file, &crate::support::gateway::yaml(&setup.config));
    let file = file.to_str().unwrap().to_owned();
    let approved = crate::support::gateway::run(&["approve", "files", "--all", "--by", "alice", "--config", &file]).await;
    assert_eq!(approved.status.code(), Some(0), "{approved:?}");
    let probed = crate::support::gateway::run(&["check", "--probe", "--config", &file]).await;
    assert_eq!(probed.status.code(), Some(0), "{probed:?}");
    // And its looks at pinned tools: nobody has listed them when the first call comes.
    let world = setup.start().await;
    crate::support::eventually("the first look", || async {
        (world.gateway.metrics().await.sum("doorward_pinned_tools", "state=\"verified\"") > 0.0).then_some(())
    })
    .await;
    world.tool("read_file").token(&world.ta()).send().await.is(200);
}
