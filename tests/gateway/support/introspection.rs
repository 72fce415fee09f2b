//! A fake introspection endpoint: answers by token, with anything about an answer wrong.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::issuer::now;

/// One question as it arrived.
#[derive(Clone, Debug)]
pub struct Question {
    pub path: String,
    pub authorization: String,
    pub form: HashMap<String, String>,
}

/// How all questions are answered, whatever the token.
#[derive(Clone, Debug, Default)]
pub enum Mood {
    #[default]
    ByToken,
    Status(u16),
    /// Nothing is ever said.
    Silent,
    /// This text, as this media type.
    Text(&'static str, String),
    Redirect(String),
}

/// The endpoint, listening on loopback for as long as the test runs.
#[derive(Clone)]
pub struct Introspection {
    pub url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    tokens: Mutex<HashMap<String, Value>>,
    mood: Mutex<Mood>,
    questions: Mutex<Vec<Question>>,
}

impl Introspection {
    pub async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/introspect", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(answer).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared }
    }

    /// A full answer about a live token.
    pub fn active(issuer: &str, audience: &str) -> Value {
        json!({
            "active": true, "iss": issuer, "aud": audience, "sub": "user-a", "client_id": "client-one", "scope": "files:read",
            "token_type": "Bearer", "iat": now(), "exp": now() + 300,
        })
    }

    /// What is said of this token from now on.
    pub fn put(&self, token: &str, answer: Value) {
        self.shared.tokens.lock().unwrap().insert(token.to_owned(), answer);
    }

    pub fn be(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    pub fn questions(&self) -> Vec<Question> {
        self.shared.questions.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.shared.questions.lock().unwrap().len()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, uri: axum::http::Uri, headers: HeaderMap, body: Bytes) -> Response {
    let form: HashMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    let authorization = headers.get(header::AUTHORIZATION).map_or("", |value| value.to_str().unwrap()).to_owned();
    let token = form.get("token").cloned().unwrap_or_default();
    shared.questions.lock().unwrap().push(Question { path: uri.path().to_owned(), authorization, form });
    let mood = shared.mood.lock().unwrap().clone();
    match mood {
        Mood::ByToken => {
            let known = shared.tokens.lock().unwrap().get(&token).cloned();
            axum::Json(known.unwrap_or_else(|| json!({"active": false}))).into_response()
        }
        Mood::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Mood::Silent => std::future::pending().await,
        Mood::Text(media_type, text) => ([(header::CONTENT_TYPE, media_type)], text).into_response(),
        Mood::Redirect(to) => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response(),
    }
}
