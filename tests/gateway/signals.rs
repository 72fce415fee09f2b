//! What others tell of sessions and accounts that have ended ends tokens here (items 148, 149).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::support::gateway::run;
use crate::support::issuer::now;
use crate::support::{Answer, DEADLINE, Issuer, Setup, Signer, Token, World, eventually, soon};

const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
const DISABLED: &str = "https://schemas.openid.net/secevent/risc/event-type/account-disabled";
const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";
const US: &str = "https://mcp.example.com/signals";
const SECRET: &str = "push-me-0123456789";
const CLIENT: &str = "portal";

/// Whoever tells: its metadata, its keys, and events that wait to be fetched.
struct Transmitter {
    url: String,
    signer: Signer,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    url: Mutex<String>,
    keys: Mutex<Vec<Value>>,
    /// What the metadata says of itself, if not the truth.
    claims_to_be: Mutex<Option<String>>,
    answers: Mutex<VecDeque<(StatusCode, Value)>>,
    questions: Mutex<Vec<Value>>,
}

impl Transmitter {
    async fn start() -> Self {
        let signer = Signer::es256("tr-1");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        *shared.url.lock().unwrap() = url.clone();
        shared.keys.lock().unwrap().push(signer.jwk());
        let router = axum::Router::new()
            .route("/.well-known/ssf-configuration", get(configuration))
            .route("/jwks", get(keys))
            .route("/poll", post(poll))
            .with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, signer, shared }
    }

    /// A sound event token about user A.
    fn set(&self, event: &str, issuer: &Issuer, change: impl FnOnce(&mut Token)) -> String {
        let mut token = Token::new(&self.url, US, &self.signer);
        token.header["typ"] = json!("secevent+jwt");
        for claim in ["sub", "client_id", "scope", "exp"] {
            token.remove(claim);
        }
        token.claims["sub_id"] = json!({"format": "iss_sub", "iss": issuer.url, "sub": "user-a"});
        token.claims["events"] = json!({event: {"event_timestamp": now()}});
        change(&mut token);
        token.sign()
    }

    /// The next answer to a question for events.
    fn waits(&self, status: StatusCode, answer: Value) {
        self.shared.answers.lock().unwrap().push_back((status, answer));
    }

    /// The first question that fits.
    async fn asked(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || async { self.shared.questions.lock().unwrap().iter().find(|question| fits(question)).cloned() }).await
    }
}

async fn configuration(State(shared): State<Arc<Shared>>) -> axum::Json<Value> {
    let url = shared.url.lock().unwrap().clone();
    let issuer = shared.claims_to_be.lock().unwrap().clone().unwrap_or(url.clone());
    axum::Json(json!({"issuer": issuer, "jwks_uri": format!("{url}/jwks"), "spec_version": "1_0"}))
}

async fn keys(State(shared): State<Arc<Shared>>) -> axum::Json<Value> {
    axum::Json(json!({"keys": *shared.keys.lock().unwrap()}))
}

/// Without an answer a question waits until its asker goes.
async fn poll(State(shared): State<Arc<Shared>>, headers: HeaderMap, axum::Json(question): axum::Json<Value>) -> Response {
    if headers.get("authorization").is_none_or(|value| value != &format!("Bearer {SECRET}")) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let at_once = question["returnImmediately"] == true;
    shared.questions.lock().unwrap().push(question);
    let next = || shared.answers.lock().unwrap().pop_front();
    let (status, answer) = match next() {
        Some(answer) => answer,
        None if at_once => (StatusCode::OK, json!({"sets": {}})),
        None => eventually("an event or the end", || async { next() }).await,
    };
    (status, axum::Json(answer)).into_response()
}

/// A world whose tokens `tr` may end in each way.
async fn world(transmitter: &Transmitter, change: impl FnOnce(&mut Value)) -> World {
    let mut setup = Setup::new().await;
    let secret = setup.folder.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    setup.config["store"] = json!(format!("sqlite:{}", setup.folder.path().join("doorward.db").display()));
    setup.config["signals"] = json!({"tr": {
        "issuers": ["corp"],
        "transmitter": transmitter.url,
        "audience": [US],
        "push": {"token_file": secret},
        "revoke": {"token_file": secret},
        "logout": {"audience": [CLIENT]},
    }});
    change(&mut setup.config["signals"]["tr"]);
    setup.start().await
}

struct Answered {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

async fn send(world: &World, path: &str, kind: &str, secret: Option<&str>, body: &str) -> Answered {
    let mut request = world.http.post(format!("{}{path}", world.origin)).header("content-type", kind).body(body.to_owned());
    if let Some(secret) = secret {
        request = request.header("authorization", format!("Bearer {secret}"));
    }
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let text = answer.text().await.unwrap();
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
    Answered { status, headers, body }
}

async fn push(world: &World, set: &str) -> Answered {
    send(world, "/.doorward/signals/tr", "application/secevent+jwt", Some(SECRET), set).await
}

async fn revoke(world: &World, body: &Value) -> Answered {
    send(world, "/.doorward/signals/tr/revoke", "application/json", Some(SECRET), &body.to_string()).await
}

async fn logout(world: &World, token: &str) -> Answered {
    let kind = "application/x-www-form-urlencoded";
    send(world, "/.doorward/signals/tr/logout", kind, None, &format!("logout_token={token}")).await
}

async fn passes(world: &World, token: &str) {
    world.tool("read_file").token(token).send().await.is(200);
}

async fn refused(world: &World, token: &str) {
    let reply = world.tool("read_file").token(token).send().await;
    assert_eq!((reply.status, reply.challenge_parameter("error").as_deref()), (401, Some("invalid_token")), "{reply:?}");
}

/// The records of what was revoked, once there are any.
async fn revocations(world: &World) -> Vec<Value> {
    eventually("a revocation's record", || async {
        let all = world.gateway.records().into_iter().filter(|record| record["operation"] == "admin/revoke");
        Some(all.collect::<Vec<_>>()).filter(|all| !all.is_empty())
    })
    .await
}

async fn recorded(world: &World, operation: &str, reason: &str) -> Value {
    let records = world.gateway.audited(1, |record| record["operation"] == operation && record["reason"] == reason).await;
    records[0].clone()
}

#[tokio::test]
async fn item_149_a_pushed_event_ends_the_subjects_tokens_at_once_and_nobody_elses() {
    let transmitter = Transmitter::start().await;
    let world = world(&transmitter, |_| {}).await;
    let (ta, tb) = (world.ta(), world.tb());
    passes(&world, &ta).await;
    let answer = push(&world, &transmitter.set(SESSION_REVOKED, &world.issuer, |_| {})).await;
    assert_eq!((answer.status, answer.body), (202, Value::Null));
    assert_eq!(answer.headers["cache-control"], "no-store");
    // What was said is so: no wait.
    refused(&world, &ta).await;
    passes(&world, &tb).await;
    let record = recorded(&world, "signal/push", "signal_revoked").await;
    assert_eq!((&record["outcome"], &record["status"]), (&json!("answered"), &json!(202)));
    assert_eq!(record["name"], format!("session-revoked: subject user-a of {}", world.issuer.url));
    let done = revocations(&world).await;
    assert_eq!((&done[0]["actor"], &done[0]["id"]), (&json!("signal tr"), &record["id"]));
    let counted = world.gateway.metrics().await.sum("doorward_signals_total", r#"operation="signal/push",result="revoked",signal="tr""#);
    assert_eq!(counted as u64, 1);
}

#[tokio::test]
async fn item_148_an_open_stream_of_the_subject_ends_and_another_persons_goes_on() {
    let transmitter = Transmitter::start().await;
    let world = world(&transmitter, |_| {}).await;
    let mut open = Vec::new();
    for token in [world.ta(), world.tb()] {
        let (answer, feed) = Answer::stream();
        world.files.once(answer);
        let listen = world.modern("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}));
        let mut stream = listen.token(&token).open().await;
        feed.send(Ok(": open\n\n".into())).await.unwrap();
        assert_eq!(soon("an event", stream.chunk()).await.unwrap().unwrap(), ": open\n\n");
        open.push((stream, feed));
    }
    assert_eq!(push(&world, &transmitter.set(SESSION_REVOKED, &world.issuer, |_| {})).await.status, 202);
    soon("the end of the stream", async { while open[0].0.chunk().await.unwrap().is_some() {} }).await;
    open[1].1.send(Ok(": more\n\n".into())).await.unwrap();
    assert_eq!(soon("an event", open[1].0.chunk()).await.unwrap().unwrap(), ": more\n\n");
}

#[tokio::test]
async fn item_149_who_logged_in_after_the_event_is_let_in() {
    let transmitter = Transmitter::start().await;
    let world = world(&transmitter, |_| {}).await;
    let before = world.token(|token| token.claims["iat"] = json!(now() - 200));
    let set = transmitter.set(SESSION_REVOKED, &world.issuer, |token| {
        token.claims["events"] = json!({SESSION_REVOKED: {"event_timestamp": now() - 100}});
    });
    assert_eq!(push(&world, &set).await.status, 202);
    refused(&world, &before).await;
    passes(&world, &world.ta()).await;
}

#[tokio::test]
async fn item_149_the_same_token_again_is_accepted_and_does_nothing_anew() {
    let transmitter = Transmitter::start().await;
    let world = world(&transmitter, |_| {}).await;
    let set = transmitter.set(DISABLED, &world.issuer, |_| {});
    assert_eq!(push(&world, &set).await.status, 202);
    assert_eq!(push(&world, &set).await.status, 202);
    recorded(&world, "signal/push", "signal_repeated").await;
    assert_eq!(revocations(&world).await.len(), 1);
}

#[tokio::test]
async fn item_149_whatever_is_wrong_is_refused_by_its_code_and_has_no_effect() {
    let transmitter = Transmitter::start().await;
    let world = world(&transmitter, |_| {}).await;
    let ta = world.ta();
    let set = |change: &dyn Fn(&mut Token)| transmitter.set(SESSION_REVOKED, &world.issuer, |token| change(token));
    let stranger = Signer::es256("tr-1");
    let good = set(&|_| {});
    let (message, _) = good.rsplit_once('.').unwrap();
    let unsigned = |alg: &str| {
        let mut token = Token::new("x", "x", &transmitter.signer);
        let sound = set(&|_| {});
        let payload = sound.split('.').nth(1).unwrap().to_owned();
        token.header = json!({"alg": alg, "typ": "secevent+jwt", "kid": "tr-1"});
        format!("{}.{payload}.", crate::support::issuer::b64(token.header.to_string()))
    };
    let cases = [
        ("wrong audience", set(&|token| token.claims["aud"] = json!("https://else.example")), "invalid_audience"),
        ("wrong issuer", set(&|token| token.claims["iss"] = json!("https://evil.example")), "invalid_issuer"),
        ("issuer of access tokens", set(&|token| token.claims["iss"] = json!(world.issuer.url)), "invalid_issuer"),
        ("wrong type", set(&|token| token.header["typ"] = json!("JWT")), "invalid_request"),
        ("access token type", set(&|token| token.header["typ"] = json!("at+jwt")), "invalid_request"),
        ("with exp", set(&|token| token.claims["exp"] = json!(now() + 60)), "invalid_request"),
        ("with sub", set(&|token| token.claims["sub"] = json!("user-a")), "invalid_request"),
        ("without jti", set(&|token| token.remove("jti")), "invalid_request"),
        ("from the future", set(&|token| token.claims["iat"] = json!(now() + 600)), "invalid_request"),
        ("too old", set(&|token| token.claims["iat"] = json!(now() - 8 * 86_400)), "invalid_request"),
        ("no events", set(&|token| token.claims["events"] = json!({})), "invalid_request"),
        ("unknown key", set(&|token| token.header["kid"] = json!("tr-9")), "invalid_key"),
        ("another's key", set(&|token| token.signer = stranger.clone()), "invalid_key"),
        ("alg none", unsigned("none"), "invalid_key"),
        ("alg HS256", unsigned("HS256"), "invalid_key"),
        ("no signature", format!("{message}."), "invalid_key"),
        ("two parts", message.to_owned(), "invalid_request"),
        ("an access token", ta.clone(), "invalid_request"),
        ("nothing", String::new(), "invalid_request"),
    ];
    for (what, set, code) in &cases {
        let answer = push(&world, set).await;
        assert_eq!((answer.status, &answer.body["err"]), (400, &json!(code)), "{what}: {}", answer.body);
        assert!(answer.body["description"].is_string(), "{what}");
    }
    let records = world.gateway.audited(cases.len(), |record| record["operation"] == "signal/push").await;
    assert!(records.iter().all(|record| record["outcome"] == "refused" && record["reason"].as_str().unwrap().starts_with("signal_")));
    passes(&world, &ta).await;
    // The same one, as it should be.
    assert_eq!(push(&world, &good).await.status, 202);
    refused(&world, &ta).await;
}

#[tokio::test]
async fn a_stranger_is_refused_before_its_token_is_looked_at() {
    let transmitter = Transmitter::start().await;
    let world = world(&transmitter, |_| {}).await;
    let ta = world.ta();
    let set = transmitter.set(SESSION_REVOKED, &world.issuer, |_| {});
    let (path, kind) = ("/.doorward/signals/tr", "application/secevent+jwt");
    for secret in [None, Some("wrong"), Some("push-me-012345678"), Some("push-me-01234567890"), Some(ta.as_str())] {
        let answer = send(&world, path, kind, secret, &set).await;
        assert_eq!((answer.status, &answer.body["err"]), (400, &json!("authentication_failed")), "{secret:?}");
    }
    recorded(&world, "signal/push", "signal_sender").await;
    for wrong in ["application/json", "application/jwt", "text/plain"] {
        let answer = send(&world, path, wrong, Some(SECRET), &set).await;
        assert_eq!((answer.status, &answer.body["err"]), (400, &json!("invalid_request")), "{wrong}");
    }
    let large = "x".repeat(70_000);
    assert_eq!(send(&world, path, kind, Some(SECRET), &large).await.status, 413);
    assert_eq!(world.get(path).await.status, 405);
    assert_eq!(world.get("/.doorward/signals/other").await.status, 404);
    passes(&world, &ta).await;
    // No secret of anybody stands in a record or in the log.
    let told = format!("{:?}{}", world.gateway.audit(), world.gateway.stderr());
    assert!(!told.contains(SECRET) && !told.contains(&set) && !told.contains("wrong"));
}

#[tokio::test]
async fn a_flood_is_told_to_wait() {
    let transmitter = Transmitter::start().await;
    let world = world(&transmitter, |tr| tr["rate"] = json!("3/h")).await;
    let (path, kind) = ("/.doorward/signals/tr", "application/secevent+jwt");
    for _ in 0..3 {
        assert_eq!(send(&world, path, kind, None, "x").await.status, 400);
    }
    let answer = send(&world, path, kind, None, "x").await;
    assert_eq!(answer.status, 429);
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn item_149_a_transmitter_ends_no_tokens_of_an_issuer_that_is_not_its_own() {
    let transmitter = Transmitter::start().await;
    let world = world(&transmitter, |_| {}).await;
    let ta = world.ta();
    let foreign = json!({"format": "iss_sub", "iss": "https://other.example", "sub": "user-a"});
    let by_email = json!({"format": "email", "email": "user-a"});
    for sub_id in [foreign, by_email] {
        let set = transmitter.set(DISABLED, &world.issuer, |token| token.claims["sub_id"] = sub_id.clone());
        assert_eq!(push(&world, &set).await.status, 202, "{sub_id}");
    }
    let unknown = transmitter.set("https://evil.example/session-revoked", &world.issuer, |_| {});
    assert_eq!(push(&world, &unknown).await.status, 202);
    let asks = transmitter.set(VERIFICATION, &world.issuer, |token| token.claims["sub_id"] = json!({"format": "opaque", "id": "s"}));
    assert_eq!(push(&world, &asks).await.status, 202);
    world.gateway.audited(3, |record| record["reason"] == "signal_not_applicable").await;
    recorded(&world, "signal/push", "signal_acknowledged").await;
    passes(&world, &ta).await;
}

#[tokio::test]
async fn item_149_a_session_ends_by_its_sid_and_alone_where_the_operator_says_so() {
    let transmitter = Transmitter::start().await;
    let world = world(&transmitter, |tr| tr["allow_session_only"] = json!(true)).await;
    let of = |sid: &str| world.token(|token| token.claims["sid"] = json!(sid));
    let (one, two) = (of("sid-1"), of("sid-2"));
    passes(&world, &one).await;
    let set = transmitter.set(SESSION_REVOKED, &world.issuer, |token| {
        let user = token.claims["sub_id"].clone();
        token.claims["sub_id"] = json!({"format": "complex", "user": user, "session": {"format": "opaque", "id": "sid-1"}});
    });
    assert_eq!(push(&world, &set).await.status, 202);
    refused(&world, &one).await;
    passes(&world, &two).await;
}

#[tokio::test]
async fn an_event_of_a_key_that_is_new_waits_for_it_and_another_transmitters_metadata_is_not_believed() {
    let transmitter = Transmitter::start().await;
    let world = world(&transmitter, |tr| tr["keys"] = json!({"cooldown": "1ms"})).await;
    let ta = world.ta();
    assert_eq!(push(&world, &transmitter.set(VERIFICATION, &world.issuer, |_| {})).await.status, 202);
    let rotated = Signer::es256("tr-2");
    transmitter.shared.keys.lock().unwrap().push(rotated.jwk());
    let set = transmitter.set(SESSION_REVOKED, &world.issuer, |token| {
        token.header["kid"] = json!("tr-2");
        token.signer = rotated.clone();
    });
    assert_eq!(push(&world, &set).await.status, 202);
    refused(&world, &ta).await;

    let liar = Transmitter::start().await;
    *liar.shared.claims_to_be.lock().unwrap() = Some("https://other.example".into());
    let world = self::world(&liar, |tr| tr["keys"] = json!({"timeout": "300ms"})).await;
    let answer = push(&world, &liar.set(SESSION_REVOKED, &world.issuer, |_| {})).await;
    assert_eq!(answer.status, 503);
    assert!(answer.headers.contains_key("retry-after"));
    let record = recorded(&world, "signal/push", "signal_keys_unavailable").await;
    assert_eq!(record["outcome"], "failed");
}

#[tokio::test]
async fn a_transmitters_new_key_is_held_until_it_is_approved_and_its_event_comes_again() {
    let transmitter = Transmitter::start().await;
    let change = |tr: &mut Value| {
        tr["keys"] = json!({"cooldown": "1ms"});
        tr["accept_new_keys"] = json!("approved");
        tr["poll"] = json!({"url": format!("{}/poll", transmitter.url), "token_file": tr["push"]["token_file"], "wait": "1s"});
    };
    let world = world(&transmitter, change).await;
    let ta = world.ta();
    assert_eq!(push(&world, &transmitter.set(VERIFICATION, &world.issuer, |_| {})).await.status, 202);
    let rotated = Signer::es256("tr-2");
    transmitter.shared.keys.lock().unwrap().push(rotated.jwk());
    let set = transmitter.set(SESSION_REVOKED, &world.issuer, |token| {
        token.header["kid"] = json!("tr-2");
        token.signer = rotated.clone();
    });
    let answer = push(&world, &set).await;
    assert!(answer.status == 503 && answer.headers.contains_key("retry-after"), "{} {}", answer.status, answer.body);
    assert_eq!(recorded(&world, "signal/push", "signal_key_held").await["outcome"], "failed");
    // Fetched, it is neither taken nor given back as wrong.
    transmitter.waits(StatusCode::OK, json!({"sets": {"one": set}}));
    recorded(&world, "signal/poll", "signal_key_held").await;
    assert!(
        transmitter.shared.questions.lock().unwrap().iter().all(|question| question["ack"] == json!([]) || question.get("ack").is_none())
    );
    passes(&world, &ta).await;
    let drift =
        eventually("the drift", async || world.gateway.records().into_iter().find(|record| record["operation"] == "admin/drift")).await;
    assert_eq!((&drift["actor"], &drift["outcome"]), (&json!(format!("signals:{}", transmitter.url)), &json!("refused")));
    eventually("the gauge", async || {
        (world.gateway.metrics().await.sum("doorward_issuer_keys_held", "issuer=\"signals.tr\"") == 1.0).then_some(())
    })
    .await;

    let config = world.gateway.config_file.display().to_string();
    let decided = ["keys", "approve", "tr-2", "--issuer", "signals.tr", "--config", &config, "--reason", "rotation", "--by", "mia"];
    let output = run(&decided).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    eventually("the event to be taken", async || (push(&world, &set).await.status == 202).then_some(())).await;
    refused(&world, &ta).await;
    // The issuer's own keys are others.
    assert_eq!(world.gateway.metrics().await.sum("doorward_issuer_drift_total", "issuer=\"corp\""), 0.0);
}

#[tokio::test]
async fn s40_what_was_told_is_known_to_the_command_and_survives_a_restart() {
    let transmitter = Transmitter::start().await;
    let mut world = world(&transmitter, |_| {}).await;
    let ta = world.ta();
    assert_eq!(push(&world, &transmitter.set(DISABLED, &world.issuer, |_| {})).await.status, 202);
    world.gateway.signal("TERM");
    world.gateway.exit().await;
    let (folder, config, http) = (world.folder.path().to_owned(), world.config.clone(), world.http.clone());
    world.gateway = crate::support::Gateway::start(&folder, &config, &http).await;
    refused(&world, &ta).await;
    passes(&world, &world.tb()).await;
}

#[tokio::test]
async fn events_are_fetched_where_they_cannot_be_sent_and_each_is_answered_for() {
    let transmitter = Transmitter::start().await;
    let ta_ends = |tr: &mut Value| {
        let secret = tr["push"]["token_file"].clone();
        tr.as_object_mut().unwrap().remove("push");
        tr["poll"] = json!({"url": format!("{}/poll", transmitter.url), "token_file": secret, "wait": "2s"});
    };
    let world = world(&transmitter, ta_ends).await;
    let (ta, tb) = (world.ta(), world.tb());
    passes(&world, &ta).await;
    let first = transmitter.asked("a question that waits", |question| question["returnImmediately"] == false).await;
    assert!(first["maxEvents"].as_u64().unwrap() <= 100 && first.get("ack").is_none(), "{first}");
    let good = transmitter.set(SESSION_REVOKED, &world.issuer, |token| token.claims["jti"] = json!("good"));
    let wrong = transmitter.set(SESSION_REVOKED, &world.issuer, |token| token.claims["aud"] = json!("https://else.example"));
    transmitter.waits(StatusCode::OK, json!({"sets": {"broken": 7, "good": good, "wrong": wrong}, "moreAvailable": false}));
    let told = transmitter.asked("an answer", |question| question["ack"] == json!(["good"])).await;
    assert_eq!(told["setErrs"]["wrong"]["err"], "invalid_audience", "{told}");
    assert_eq!(told["setErrs"]["broken"]["err"], "invalid_request", "{told}");
    refused(&world, &ta).await;
    passes(&world, &tb).await;
    recorded(&world, "signal/poll", "signal_revoked").await;
    recorded(&world, "signal/poll", "signal_audience").await;
    // Nothing is told twice.
    let after = transmitter.asked("a further question", |question| question["returnImmediately"] == false && question.get("ack").is_none());
    after.await;
    assert_eq!(transmitter.shared.questions.lock().unwrap().iter().filter(|question| question.get("ack").is_some()).count(), 1);
}

#[tokio::test]
async fn a_transmitter_that_fails_is_asked_again_and_what_it_was_told_is_told_again() {
    let transmitter = Transmitter::start().await;
    let polls = |tr: &mut Value| {
        let secret = tr["push"]["token_file"].clone();
        tr["poll"] = json!({"url": format!("{}/poll", transmitter.url), "token_file": secret});
    };
    let set = {
        let issuer = Issuer::start().await;
        transmitter.set(VERIFICATION, &issuer, |_| {})
    };
    transmitter.waits(StatusCode::OK, json!({"sets": {"v": set}}));
    transmitter.waits(StatusCode::SERVICE_UNAVAILABLE, json!({}));
    transmitter.waits(StatusCode::OK, json!(["no answer of RFC 8936"]));
    let world = world(&transmitter, polls).await;
    eventually("three reports of the same", || async {
        let questions = transmitter.shared.questions.lock().unwrap();
        (questions.iter().filter(|question| question["ack"] == json!(["v"])).count() == 3).then_some(())
    })
    .await;
    assert!(world.gateway.metrics().await.sum("doorward_signals_total", r#"operation="signal/poll",result="failed""#) >= 2.0);
    world.gateway.says("signals can be fetched again").await;
    assert!(!world.gateway.stderr().contains(SECRET));
}

#[tokio::test]
async fn item_148_a_request_ends_all_tokens_of_its_subject_and_only_its_sender_may_ask() {
    let transmitter = Transmitter::start().await;
    let world = world(&transmitter, |_| {}).await;
    let (ta, tb) = (world.ta(), world.tb());
    let body = |iss: &str, sub: &str| json!({"sub_id": {"format": "iss_sub", "iss": iss, "sub": sub}});
    let ours = body(&world.issuer.url, "user-a");
    let (path, kind) = ("/.doorward/signals/tr/revoke", "application/json");
    for secret in [None, Some("wrong")] {
        let answer = send(&world, path, kind, secret, &ours.to_string()).await;
        assert_eq!((answer.status, answer.headers["www-authenticate"].to_str().unwrap()), (401, "Bearer"));
    }
    assert_eq!(revoke(&world, &json!({"sub": "user-a"})).await.status, 400);
    assert_eq!(revoke(&world, &body("https://other.example", "user-a")).await.status, 404);
    assert_eq!(revoke(&world, &json!({"sub_id": {"format": "email", "email": "a@b.example"}})).await.status, 422);
    assert_eq!(send(&world, path, "text/plain", Some(SECRET), &ours.to_string()).await.status, 400);
    passes(&world, &ta).await;
    let answer = revoke(&world, &ours).await;
    assert_eq!((answer.status, answer.body), (204, Value::Null));
    refused(&world, &ta).await;
    passes(&world, &tb).await;
    let record = recorded(&world, "signal/revoke", "signal_revoked").await;
    assert_eq!(record["name"], format!("global-token-revocation: subject user-a of {}", world.issuer.url));
}

fn logout_token(world: &World, change: impl FnOnce(&mut Token)) -> String {
    world.issuer.token(CLIENT, |token| {
        token.header["typ"] = json!("logout+jwt");
        for claim in ["client_id", "scope"] {
            token.remove(claim);
        }
        token.claims["sid"] = json!("sid-1");
        token.claims["events"] = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
        change(token);
    })
}

#[tokio::test]
async fn a_logout_token_of_the_issuer_ends_the_tokens_of_the_session_and_is_refused_where_it_is_none() {
    let transmitter = Transmitter::start().await;
    let world = world(&transmitter, |_| {}).await;
    let ta = world.token(|token| token.claims["sid"] = json!("sid-1"));
    let stranger = Signer::es256("key-1");
    let wrong = [
        ("nonce", logout_token(&world, |token| token.claims["nonce"] = json!("n"))),
        ("audience", logout_token(&world, |token| token.claims["aud"] = json!("another"))),
        ("no event", logout_token(&world, |token| token.claims["events"] = json!({}))),
        ("nobody", logout_token(&world, |token| ["sub", "sid"].iter().for_each(|claim| token.remove(claim)))),
        ("expired", logout_token(&world, |token| token.claims["exp"] = json!(now() - 60))),
        ("type", logout_token(&world, |token| token.header["typ"] = json!("at+jwt"))),
        ("signature", logout_token(&world, |token| token.signer = stranger)),
        ("none", logout_token(&world, |token| token.header["alg"] = json!("none"))),
        ("transmitter's", transmitter.set(SESSION_REVOKED, &world.issuer, |token| token.claims["aud"] = json!(CLIENT))),
        ("access token", world.ta()),
    ];
    for (what, token) in &wrong {
        let answer = logout(&world, token).await;
        assert_eq!((answer.status, &answer.body["error"]), (400, &json!("invalid_request")), "{what}");
        assert_eq!(answer.headers["cache-control"], "no-store", "{what}");
    }
    let token = logout_token(&world, |_| {});
    let twice = format!("{token}&logout_token={token}");
    assert_eq!(logout(&world, &twice).await.status, 400);
    passes(&world, &ta).await;
    let answer = logout(&world, &token).await;
    assert_eq!((answer.status, answer.headers["cache-control"].to_str().unwrap()), (200, "no-store"));
    refused(&world, &ta).await;
    passes(&world, &world.tb()).await;
    let again = logout(&world, &token).await;
    assert_eq!(again.status, 200);
    recorded(&world, "signal/logout", "signal_repeated").await;
}

#[tokio::test]
async fn the_id_of_one_signal_does_not_stand_in_the_way_of_another_kinds() {
    let transmitter = Transmitter::start().await;
    let world = world(&transmitter, |_| {}).await;
    let set = transmitter.set(DISABLED, &world.issuer, |token| token.claims["jti"] = json!("same"));
    assert_eq!(push(&world, &set).await.status, 202);
    let token = logout_token(&world, |token| {
        token.claims["jti"] = json!("same");
        token.claims["sub"] = json!("user-b");
    });
    assert_eq!(logout(&world, &token).await.status, 200);
    refused(&world, &world.ta()).await;
    refused(&world, &world.tb()).await;
}

#[tokio::test]
async fn what_meant_nobody_is_heard_when_it_comes_again_under_another_configuration() {
    let transmitter = Transmitter::start().await;
    let world = world(&transmitter, |tr| tr["events"] = json!("session-revoked")).await;
    let ta = world.ta();
    let set = transmitter.set(DISABLED, &world.issuer, |token| token.claims["sub_id"] = json!({"format": "opaque", "id": "user-a"}));
    assert_eq!(push(&world, &set).await.status, 202);
    passes(&world, &ta).await;
    let mut config = world.config.clone();
    config["signals"]["tr"]["events"] = json!(["session-revoked", "account-disabled"]);
    world.gateway.reload(&config).await;
    assert_eq!(push(&world, &set).await.status, 202);
    refused(&world, &ta).await;
}

#[tokio::test]
async fn a_reload_opens_and_closes_the_ways_in() {
    let transmitter = Transmitter::start().await;
    let world = world(&transmitter, |_| {}).await;
    let mut config = world.config.clone();
    config["signals"]["tr"]["push"]["path"] = json!("/told");
    world.gateway.reload(&config).await;
    let set = transmitter.set(SESSION_REVOKED, &world.issuer, |_| {});
    assert_eq!(push(&world, &set).await.status, 404);
    assert_eq!(send(&world, "/told", "application/secevent+jwt", Some(SECRET), &set).await.status, 202);
    config.as_object_mut().unwrap().remove("signals");
    world.gateway.reload(&config).await;
    assert_eq!(send(&world, "/told", "application/secevent+jwt", Some(SECRET), &set).await.status, 404);
}

#[tokio::test]
async fn signals_without_a_store_are_refused_with_the_next_step() {
    let transmitter = Transmitter::start().await;
    let world = world(&transmitter, |_| {}).await;
    let mut config = world.config.clone();
    config.as_object_mut().unwrap().remove("store");
    let file = world.folder.path().join("without.yaml");
    std::fs::write(&file, serde_yaml::to_string(&config).unwrap()).unwrap();
    let output = tokio::time::timeout(DEADLINE, run(&["check", "--config", &file.display().to_string()])).await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success() && said.contains("no `store`") && said.contains("add `store: sqlite:doorward.db`"), "{said}");
}

/// A sound token by which the transmitter proves itself at the endpoint.
fn sender_token(transmitter: &Transmitter, world: &World, change: impl FnOnce(&mut Token)) -> String {
    let endpoint = format!("{}/.doorward/signals/tr/revoke", world.origin);
    let mut token = Token::new(&transmitter.url, &endpoint, &transmitter.signer);
    token.header["typ"] = json!("global-token-revocation+jwt");
    for claim in ["client_id", "scope"] {
        token.remove(claim);
    }
    token.claims["sub"] = json!(transmitter.url);
    token.claims["nbf"] = json!(now() - 300);
    change(&mut token);
    token.sign()
}

#[tokio::test]
async fn item_148_a_sender_proves_itself_by_a_token_of_its_own_that_is_good_for_one_request() {
    let transmitter = Transmitter::start().await;
    let world = world(&transmitter, |signal| {
        signal["revoke"] = json!({"jwt": {}});
        signal.as_object_mut().unwrap().retain(|key, _| !matches!(key.as_str(), "push" | "audience"));
    })
    .await;
    let ask = async |token: Option<&str>, subject: &str| {
        let body = json!({"sub_id": {"format": "iss_sub", "iss": world.issuer.url, "sub": subject}}).to_string();
        send(&world, "/.doorward/signals/tr/revoke", "application/json", token, &body).await
    };
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    let stranger = Signer::es256("tr-1");
    let bad = [
        sender_token(&transmitter, &world, |token| token.header["typ"] = json!("JWT")),
        sender_token(&transmitter, &world, |token| token.claims["aud"] = json!(world.origin)),
        sender_token(&transmitter, &world, |token| token.claims["iss"] = json!(world.issuer.url)),
        sender_token(&transmitter, &world, |token| token.claims["exp"] = json!(now() - 60)),
        sender_token(&transmitter, &world, |token| token.claims["exp"] = json!(now() + 86_400)),
        sender_token(&transmitter, &world, |token| token.remove("jti")),
        sender_token(&transmitter, &world, |token| token.signer = stranger.clone()),
        SECRET.to_owned(),
    ];
    for token in &bad {
        let answer = ask(Some(token), "user-a").await;
        assert_eq!((answer.status, &answer.body["error"]), (401, &json!("invalid_token")), "{token}");
        assert!(answer.headers.contains_key("www-authenticate"));
    }
    assert_eq!(ask(None, "user-a").await.status, 401);
    world.tool("read_file").token(&world.ta()).send().await.is(200);

    let good = sender_token(&transmitter, &world, |_| {});
    assert_eq!(ask(Some(&good), "user-a").await.status, 204);
    eventually("the end of the token", async || {
        (world.tool("read_file").token(&world.token(|token| token.claims["iat"] = json!(now() - 60))).send().await.status == 401)
            .then_some(())
    })
    .await;
    assert_eq!(ask(Some(&good), "user-b").await.status, 401, "a copy of it asks for nothing else");
    world.tool("read_file").token(&world.tb()).send().await.is(200);
    assert_eq!(ask(Some(&good), "user-a").await.status, 204, "the same request may come again");
    assert_eq!(ask(Some(&sender_token(&transmitter, &world, |_| {})), "user-b").await.status, 204);
    let audit = std::fs::read_to_string(&world.gateway.audit_file).unwrap();
    assert!(!audit.contains(good.rsplit('.').next().unwrap()));
}
