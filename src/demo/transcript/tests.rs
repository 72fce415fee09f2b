//! The tour before a scripted door: it must pass where the door is kept, and notice each flaw.

use super::*;
use crate::demo::{Neighbours, Ports, Serving, start_neighbours};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::HeaderValue;
use std::path::PathBuf;
use tokio::net::TcpListener;

fn refusal(challenge: &'static str) -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert("www-authenticate", HeaderValue::from_static(challenge));
    Reply { status: 401, headers, body: String::new() }
}

#[test]
fn a_parameter_of_the_challenge_is_found_by_its_whole_name() {
    let reply = refusal(r#"Bearer error_description="a, b", error="x", scope="a b", resource_metadata="http://127.0.0.1/m""#);
    assert_eq!(challenge(&reply, "scope").as_deref(), Some("a b"));
    assert_eq!(challenge(&reply, "error").as_deref(), Some("x"));
    assert_eq!(challenge(&reply, "resource_metadata").as_deref(), Some("http://127.0.0.1/m"));
    assert_eq!(challenge(&reply, "metadata"), None);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    Open,
    WrongResource,
    WholeList,
    PassesTheToken,
    NoStepUp,
    ChallengesTheForbidden,
    LetsAliceDrop,
    CountsNothing,
    RecordsNothing,
}

#[derive(Clone)]
struct Door {
    flaw: Flaw,
    resource: String,
    issuer: String,
    upstream: String,
    audit: PathBuf,
    client: reqwest::Client,
}

const READS: [&str; 5] = ["whoami", "list_notes", "read_note", "search_notes", "run_report"];

async fn answer(State(door): State<Door>, headers: HeaderMap, body: Bytes) -> Response {
    let message: Value = serde_json::from_slice(&body).expect("json");
    let name = message.pointer("/params/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some(token) = headers.get("authorization").and_then(|value| value.to_str().ok()) else {
        if door.flaw == Flaw::Open {
            return door.forward(body, &headers, "", false).await.1.into_response();
        }
        let challenge = format!(r#"Bearer scope="notes:read", resource_metadata="{}/metadata""#, door.resource);
        return refuse(401, &challenge);
    };
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).expect("a token")).expect("base64");
    let claims: Value = serde_json::from_slice(&claims).expect("claims");
    let (subject, scope) = (claims["sub"].as_str().expect("sub"), claims["scope"].as_str().expect("scope"));
    if name == "drop_database" {
        let permitted = subject == "bob" || door.flaw == Flaw::LetsAliceDrop;
        if door.flaw != Flaw::RecordsNothing {
            let record = json!({ "subject": subject, "name": name, "outcome": if permitted { "permitted" } else { "refused" } });
            let text = std::fs::read_to_string(&door.audit).unwrap_or_default();
            std::fs::write(&door.audit, format!("{text}{record}\n")).expect("written");
        }
        if !permitted {
            let challenge = if door.flaw == Flaw::ChallengesTheForbidden { r#"Bearer error="insufficient_scope""# } else { "" };
            return refuse(403, challenge);
        }
    } else if name == "create_note" && scope == "notes:read" {
        let scope = if door.flaw == Flaw::NoStepUp { "notes:read" } else { "notes:write" };
        return refuse(403, &format!(r#"Bearer error="insufficient_scope", scope="{scope}""#));
    }
    let (kind, text) = door.forward(body, &headers, subject, door.flaw == Flaw::PassesTheToken).await;
    let text = if message["method"] == "tools/list" && door.flaw != Flaw::WholeList { cut(&text) } else { text };
    ([("content-type", kind)], text).into_response()
}

fn cut(text: &str) -> String {
    let mut answer: Value = serde_json::from_str(text).expect("json");
    answer["result"]["tools"].as_array_mut().expect("a list").retain(|tool| READS.contains(&tool["name"].as_str().expect("a name")));
    answer.to_string()
}

fn refuse(status: u16, challenge: &str) -> Response {
    let mut reply = (axum::http::StatusCode::from_u16(status).expect("a status"), "{}").into_response();
    if !challenge.is_empty() {
        reply.headers_mut().insert("www-authenticate", HeaderValue::from_str(challenge).expect("a value"));
    }
    reply
}

impl Door {
    async fn forward(&self, body: Bytes, headers: &HeaderMap, user: &str, token: bool) -> (String, String) {
        let mut request = self.client.post(&self.upstream).body(body).header("x-forwarded-user", user).header("accept", &headers["accept"]);
        if token {
            request = request.header("authorization", &headers["authorization"]);
        }
        let reply = request.send().await.expect("an answer");
        let kind = reply.headers()["content-type"].to_str().expect("text").to_owned();
        (kind, reply.text().await.expect("a body"))
    }

    fn router(self) -> Router {
        let resource = if self.flaw == Flaw::WrongResource { "http://127.0.0.1:1/other".into() } else { self.resource.clone() };
        let metadata = json!({ "resource": resource, "authorization_servers": [self.issuer] }).to_string();
        let counted = match self.flaw {
            Flaw::CountsNothing => "",
            _ => "doorward_requests_total{outcome=\"permitted\"} 2\ndoorward_requests_total{outcome=\"refused\"} 3\n",
        };
        Router::new()
            .route("/mcp", post(answer))
            .route("/mcp/metadata", get(async move || metadata))
            .route("/metrics", get(async move || counted))
            .with_state(self)
    }
}

async fn tour(flaw: Flaw) -> (Result<(), Failure>, String) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let Neighbours { mut addresses, folder, upstream, issuer } = start_neighbours(Ports::default(), false).await.expect("started");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    addresses.gateway = listener.local_addr().expect("an address");
    addresses.admin = addresses.gateway;
    let door = Door {
        flaw,
        resource: addresses.resource(),
        issuer: addresses.issuer(),
        upstream: format!("http://{}/mcp", addresses.upstream),
        audit: folder.audit(),
        client: reqwest::Client::new(),
    };
    let door = Serving::start(listener, door.router()).expect("started");
    let mut told = Vec::new();
    let outcome = run(&addresses, &mut told).await;
    for serving in [door, upstream, issuer] {
        serving.stop().await;
    }
    (outcome, String::from_utf8(told).expect("text"))
}

#[tokio::test]
async fn the_tour_passes_where_the_door_is_kept_and_shows_no_token() {
    let (outcome, told) = tour(Flaw::None).await;
    outcome.expect("passed");
    for part in [
        "1. The server alone",
        "TOKEN=$(curl -s ",
        "5 of 12 tools: whoami, ",
        r#""x-forwarded-user": "alice""#,
        r#"scope="notes:write""#,
        "note 4 `Hello` created",
        "step 2 of 2",
        "database dropped",
        "doorward_requests_total{outcome=\"refused\"} 3",
        r#""subject":"bob""#,
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    // `eyJ` is how the head of every JWT begins.
    assert!(!told.contains("eyJ"), "{told}");
}

#[tokio::test]
async fn the_tour_notices_each_flaw() {
    for (flaw, noticed) in [
        (Flaw::Open, "expected 401"),
        (Flaw::WrongResource, "expected the resource and the demo's issuer"),
        (Flaw::WholeList, "expected whoami, list_notes"),
        (Flaw::PassesTheToken, "expected the user alice and no Authorization header"),
        (Flaw::NoStepUp, "expected 403 with insufficient_scope and notes:write"),
        (Flaw::ChallengesTheForbidden, "expected 403 without a challenge"),
        (Flaw::LetsAliceDrop, "expected 403 without a challenge"),
        (Flaw::CountsNothing, "expected doorward_requests_total"),
        (Flaw::RecordsNothing, "expected the refusal of alice"),
    ] {
        let failure = tour(flaw).await.0.expect_err("a flaw").to_string();
        assert!(failure.contains(noticed), "{flaw:?}: {failure}");
        assert!(!failure.contains("eyJ"), "{failure}");
    }
}
