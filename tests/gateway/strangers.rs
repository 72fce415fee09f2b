//! Callers who try what is another's: two people, two clients of one person, and two issuers that each know a person of the
//! same name. Nothing crosses, and each attempt is in the records.
//!
//! [`ATTEMPTS`] is the table to extend: whatever a caller is given that can be brought back belongs there.

use http::Method;
use serde_json::{Value, json};

use crate::support::client::Call;
use crate::support::upstream::{Answer, Seen, plain};
use crate::support::{Issuer, Setup, World, soon};

/// What its owner was given, as the owner knows it.
struct Given {
    session: String,
    event: String,
    /// The id of what the server asked.
    question: Value,
}

/// A try to use something of another's.
struct Attempt {
    what: &'static str,
    make: fn(&World, &Given, Own) -> Call,
    /// Of the answer, and of the record.
    status: u16,
    reason: &'static str,
}

/// What the stranger has: a token, and a session begun with it.
#[derive(Clone, Copy)]
struct Own<'a> {
    token: &'a str,
    session: &'a str,
}

const ATTEMPTS: &[Attempt] = &[
    unknown("a call in the session", |world, given, own| {
        within(world, &given.session, own).body(message("tools/call", json!({"name": "read_file", "arguments": {}})))
    }),
    unknown("a list in the session", |world, given, own| within(world, &given.session, own)),
    unknown("initialize in the session", |world, given, own| within(world, &given.session, own).body(message("initialize", json!({})))),
    unknown("a batch in the session", |world, given, own| {
        within(world, &given.session, own).replace("mcp-protocol-version", "2025-03-26").body(format!("[{}]", message("ping", json!({}))))
    }),
    unknown("its stream", |world, given, own| bare(world, Method::GET, &given.session, own)),
    unknown("its stream from an event on", |world, given, own| {
        bare(world, Method::GET, &given.session, own).header("last-event-id", &given.event)
    }),
    unknown("its end", |world, given, own| bare(world, Method::DELETE, &given.session, own)),
    unknown("the event in a session of one's own", |world, given, own| {
        bare(world, Method::GET, own.session, own).header("last-event-id", &given.event)
    }),
    unknown("the event as a session", |world, given, own| within(world, &given.event, own)),
    unknown("the question as a session", |world, given, own| within(world, given.question.as_str().unwrap(), own)),
    unknown("the session as an event", |world, given, own| {
        bare(world, Method::GET, own.session, own).header("last-event-id", &given.session)
    }),
    unknown("an answer in the session", |world, given, own| within(world, &given.session, own).body(answer(&given.question))),
    unknown("a cancellation in the session", |world, given, own| {
        within(world, &given.session, own).body(notification("notifications/cancelled", json!({"requestId": 1})))
    }),
    unknown("progress in the session", |world, given, own| {
        within(world, &given.session, own).body(notification("notifications/progress", json!({"progressToken": 1, "progress": 1})))
    }),
    unknown("a subscription in the session", |world, given, own| {
        within(world, &given.session, own).body(message("resources/subscribe", json!({"uri": "file:///pub/a"})))
    }),
    unknown("an unsubscription in the session", |world, given, own| {
        within(world, &given.session, own).body(message("resources/unsubscribe", json!({"uri": "file:///pub/a"})))
    }),
    unknown("the log level of the session", |world, given, own| {
        within(world, &given.session, own).body(message("logging/setLevel", json!({"level": "debug"})))
    }),
    Attempt {
        what: "an answer in a session of one's own",
        make: |world, given, own| within(world, own.session, own).body(answer(&given.question)),
        status: 400,
        reason: "unexpected_response",
    },
    Attempt {
        what: "an answer in no session",
        make: |world, given, own| within(world, "", own).without("mcp-session-id").body(answer(&given.question)),
        status: 400,
        reason: "unexpected_response",
    },
    Attempt {
        what: "an answer by the id that the server knows",
        make: |world, _, own| within(world, own.session, own).body(answer(&json!(41))),
        status: 400,
        reason: "unexpected_response",
    },
];

const fn unknown(what: &'static str, make: fn(&World, &Given, Own) -> Call) -> Attempt {
    Attempt { what, make, status: 404, reason: "unknown_session" }
}

fn message(method: &str, params: Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
}

fn notification(method: &str, params: Value) -> String {
    json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()
}

fn answer(question: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": question, "result": {"action": "accept"}}).to_string()
}

fn within(world: &World, session: &str, own: Own) -> Call {
    world.legacy("tools/list", json!({})).header("mcp-session-id", session).token(own.token)
}

fn bare(world: &World, method: Method, session: &str, own: Own) -> Call {
    within(world, session, own).method(method).body("").without("content-type")
}

/// An upstream that gives the same session id to everybody, as a careless one would.
fn sessions(seen: &Seen) -> Option<Answer> {
    match seen.method {
        Method::POST if seen.json()["method"] == "initialize" => Some(plain(seen).with("mcp-session-id", "1")),
        Method::POST if seen.json().get("method").is_none() => Some(Answer::text(202, "text/plain", "")),
        Method::GET => {
            let asked = json!({"jsonrpc": "2.0", "id": 41, "method": "elicitation/create", "params": {"message": "sure?"}});
            Some(Answer::events(format!("id: e7\ndata: {asked}\n\n")))
        }
        Method::DELETE => Some(Answer::text(200, "text/plain", "")),
        _ => None,
    }
}

/// Two issuers, each with a person of the same name.
async fn world() -> (World, Issuer) {
    let other = Issuer::start().await;
    let mut setup = Setup::new().await;
    setup.config["issuers"]["other"] = json!({"issuer": other.url});
    setup.config["upstreams"]["files"]["issuers"] = json!(["corp", "other"]);
    setup.config["upstreams"]["files"]["allow_server_requests"] = json!(["elicitation"]);
    setup.files.script(sessions);
    (setup.start().await, other)
}

async fn begin(world: &World, token: &str) -> String {
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}}, "clientInfo": {"name": "x", "version": "1"}});
    world.legacy("initialize", params).token(token).send().await.is(200).header("mcp-session-id")
}

/// Begins a session, listens on it and is asked.
async fn given(world: &World, token: &str) -> Given {
    let session = begin(world, token).await;
    let stream = bare(world, Method::GET, &session, Own { token, session: &session }).send().await.is(200).text();
    let line = |name: &str| stream.lines().find_map(|line| line.strip_prefix(name)).expect("a line of the event");
    let told: Value = serde_json::from_str(line("data: ")).unwrap();
    Given { session, event: line("id: ").to_owned(), question: told["id"].clone() }
}

/// Who comes instead of the owner, with a token that is good in itself.
fn strangers(world: &World, other: &Issuer) -> Vec<(&'static str, String)> {
    vec![
        ("another person", world.tb()),
        ("another client of the same person", world.token(|token| token.claims["client_id"] = json!("another-client"))),
        ("a person of the same name at another issuer", other.token(&world.resource(), |_| {})),
        (
            "the client itself, without the person",
            world.token(|token| {
                let client = token.claims["client_id"].clone();
                token.claims["sub"] = client;
            }),
        ),
    ]
}

#[tokio::test]
async fn items_67_70_s15_s16_s17_nothing_of_one_callers_is_anothers() {
    let (world, other) = world().await;
    let owner = world.ta();
    let given = given(&world, &owner).await;
    for (who, token) in strangers(&world, &other) {
        let session = begin(&world, &token).await;
        assert_ne!(session, given.session, "{who}");
        let own = Own { token: &token, session: &session };
        for Attempt { what, make, status, reason } in ATTEMPTS {
            let before = world.files.count();
            let reply = make(&world, &given, own).send().await;
            assert_eq!(reply.status, *status, "{who}: {what}: {reply:?}");
            assert_eq!(world.files.count(), before, "{who}: {what} reached the upstream");
            let id = reply.header("doorward-request-id");
            let line = world.gateway.audited(1, |line| line["id"] == id.as_str()).await.remove(0);
            assert_eq!((&line["outcome"], &line["reason"]), (&json!("refused"), &json!(reason)), "{who}: {what}: {line}");
            assert!(!line.to_string().contains(&given.session), "{what}: the id itself is not written down");
        }
    }
    // All of it is still its owner's.
    let own = Own { token: &owner, session: &given.session };
    within(&world, own.session, own).send().await.is(200);
    bare(&world, Method::GET, own.session, own).header("last-event-id", &given.event).send().await.is(200);
    assert_eq!(world.files.last().header("last-event-id"), "e7");
    within(&world, own.session, own).body(answer(&given.question)).send().await.is(202);
    assert_eq!(world.files.last().json()["id"], 41);
    bare(&world, Method::DELETE, own.session, own).send().await.is(200);
}

#[tokio::test]
async fn item_s32_callers_with_one_id_at_the_upstream_have_sessions_of_their_own() {
    let (world, other) = world().await;
    let mut sessions = vec![begin(&world, &world.ta()).await];
    for (_, token) in strangers(&world, &other) {
        sessions.push(begin(&world, &token).await);
    }
    for (n, session) in sessions.iter().enumerate() {
        assert!(!sessions[..n].contains(session), "two callers share a session");
    }
}

#[tokio::test]
async fn what_was_given_within_one_session_is_nothing_in_another_of_the_same_caller() {
    let (world, _) = world().await;
    let token = world.ta();
    let given = given(&world, &token).await;
    world.files.script(|seen| match seen.method == Method::POST && seen.json()["method"] == "initialize" {
        true => Some(plain(seen).with("mcp-session-id", "2")),
        false => sessions(seen),
    });
    let second = begin(&world, &token).await;
    let own = Own { token: &token, session: &second };
    let before = world.files.count();
    bare(&world, Method::GET, &second, own).header("last-event-id", &given.event).send().await.is(404);
    within(&world, &second, own).body(answer(&given.question)).send().await.is(400);
    assert_eq!(world.files.count(), before);
}

#[tokio::test]
async fn two_callers_with_equal_request_ids_hear_each_their_own_answer() {
    let (world, _) = world().await;
    let (first, feed_first) = Answer::stream();
    let (second, feed_second) = Answer::stream();
    let mut answers = vec![second, first];
    world.files.script(move |seen| match seen.json().get("method") {
        Some(method) if method == "tools/call" => answers.pop(),
        _ => sessions(seen),
    });
    let mut streams = Vec::new();
    for token in [world.ta(), world.tb()] {
        let session = begin(&world, &token).await;
        let call = within(&world, &session, Own { token: &token, session: &session });
        streams.push(call.body(message("tools/call", json!({"name": "read_file", "arguments": {}}))).open().await);
    }
    for (feed, text) in [(&feed_second, "for b"), (&feed_first, "for a")] {
        let result = json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": text}]}});
        feed.send(Ok(format!("data: {result}\n\n").into())).await.unwrap();
    }
    for (stream, text) in streams.iter_mut().zip(["for a", "for b"]) {
        let chunk = soon("an event", stream.chunk()).await.unwrap().unwrap();
        assert!(String::from_utf8_lossy(&chunk).contains(text), "{chunk:?}");
    }
}
