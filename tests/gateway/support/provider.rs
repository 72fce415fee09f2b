//! A fake OpenID provider, with GitHub's and a company's own ways of telling who somebody is, and a browser.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::issuer::{Signer, Token, b64, now};

pub const CLIENT: &str = "doorward-at-idp";
pub const SECRET: &str = "idp-secret-0123456789";

type Pairs = HashMap<String, String>;

/// Listening on loopback for as long as the test runs.
pub struct Provider {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    url: String,
    signer: Signer,
    /// Who is signed in there; nobody gets `access_denied`.
    user: Mutex<Option<Value>>,
    /// Subjects that are disabled.
    disabled: Mutex<Vec<String>>,
    codes: Mutex<HashMap<String, (Pairs, Value)>>,
    refreshes: Mutex<HashMap<String, Value>>,
    asked: Mutex<Vec<Pairs>>,
    tokens: Mutex<Vec<Pairs>>,
    /// Changes ID tokens before they are signed.
    #[expect(clippy::type_complexity, reason = "one hook of a test")]
    twist: Mutex<Option<Box<dyn Fn(&mut Token) + Send>>>,
    /// What stands in `iss` of answers; none leaves it out.
    issuer: Mutex<Option<String>>,
}

impl Provider {
    pub async fn start() -> Self {
        let signer = Signer::es256("idp-1");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            url: url.clone(),
            signer,
            user: Mutex::new(Some(json!({"sub": "alice", "name": "Alice", "email": "alice@example.com", "groups": ["staff"]}))),
            disabled: Mutex::default(),
            codes: Mutex::default(),
            refreshes: Mutex::default(),
            asked: Mutex::default(),
            tokens: Mutex::default(),
            twist: Mutex::default(),
            issuer: Mutex::new(Some(url.clone())),
        });
        let router = axum::Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/jwks", get(jwks))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .route("/user/orgs", get(organizations))
            .route("/user/teams", get(teams))
            .with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared }
    }

    /// Who is signed in there from now on.
    pub fn signs_in(&self, user: Option<Value>) {
        *self.shared.user.lock().unwrap() = user;
    }

    pub fn disable(&self, subject: &str) {
        self.shared.disabled.lock().unwrap().push(subject.into());
    }

    /// How often a person was sent there.
    pub fn visits(&self) -> usize {
        self.shared.asked.lock().unwrap().len()
    }

    /// What a person was last sent there with.
    pub fn last_visit(&self) -> Pairs {
        self.shared.asked.lock().unwrap().last().cloned().unwrap()
    }

    /// The last question for a token.
    pub fn last_question(&self) -> Pairs {
        self.shared.tokens.lock().unwrap().last().cloned().unwrap()
    }

    pub fn questions(&self) -> usize {
        self.shared.tokens.lock().unwrap().len()
    }

    pub fn twist(&self, change: impl Fn(&mut Token) + Send + 'static) {
        *self.shared.twist.lock().unwrap() = Some(Box::new(change));
    }

    /// A JWT for this audience, with this `typ`, as the provider signs them.
    pub fn token(&self, kind: &str, audience: &str) -> String {
        let mut token = Token::new(&self.url, audience, &self.shared.signer);
        token.header["typ"] = json!(kind);
        token.claims["sub"] = json!("alice");
        token.sign()
    }

    /// What answers name as their issuer.
    pub fn says_it_is(&self, issuer: Option<&str>) {
        *self.shared.issuer.lock().unwrap() = issuer.map(str::to_owned);
    }
}

async fn metadata(State(shared): State<Arc<Shared>>) -> axum::Json<Value> {
    let url = &shared.url;
    axum::Json(json!({
        "issuer": url, "jwks_uri": format!("{url}/jwks"), "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"), "userinfo_endpoint": format!("{url}/userinfo"),
        "authorization_response_iss_parameter_supported": true,
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    }))
}

async fn jwks(State(shared): State<Arc<Shared>>) -> axum::Json<Value> {
    axum::Json(json!({"keys": [shared.signer.jwk()]}))
}

/// Whoever is signed in there is sent straight back: a remembered login asks nothing.
async fn authorize(State(shared): State<Arc<Shared>>, Query(asked): Query<Pairs>) -> Response {
    shared.asked.lock().unwrap().push(asked.clone());
    let mut back = url::Url::parse(&asked["redirect_uri"]).unwrap();
    let user = shared.user.lock().unwrap().clone();
    match user {
        Some(user) => {
            let code = format!("code-{}", shared.asked.lock().unwrap().len());
            shared.codes.lock().unwrap().insert(code.clone(), (asked.clone(), user));
            back.query_pairs_mut().append_pair("code", &code);
        }
        None => {
            back.query_pairs_mut().append_pair("error", "access_denied");
        }
    }
    back.query_pairs_mut().append_pair("state", &asked["state"]);
    if let Some(issuer) = &*shared.issuer.lock().unwrap() {
        back.query_pairs_mut().append_pair("iss", issuer);
    }
    Redirect::to(back.as_str()).into_response()
}

async fn token(State(shared): State<Arc<Shared>>, headers: HeaderMap, Form(form): Form<Pairs>) -> Response {
    shared.tokens.lock().unwrap().push(form.clone());
    use base64::Engine;
    let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{CLIENT}:{SECRET}")));
    let in_header = headers.get("authorization").is_some_and(|value| value == &basic);
    let in_body = form.get("client_secret").is_some_and(|secret| secret == SECRET);
    let refused = |code: &str| (StatusCode::BAD_REQUEST, axum::Json(json!({"error": code}))).into_response();
    if !in_header && !in_body {
        return (StatusCode::UNAUTHORIZED, axum::Json(json!({"error": "invalid_client"}))).into_response();
    }
    let (user, nonce) = match form["grant_type"].as_str() {
        "authorization_code" => {
            let Some((asked, user)) = shared.codes.lock().unwrap().remove(&form["code"]) else { return refused("invalid_grant") };
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, form["code_verifier"].as_bytes());
            if b64(digest) != asked["code_challenge"] || form["redirect_uri"] != asked["redirect_uri"] {
                return refused("invalid_grant");
            }
            (user, asked.get("nonce").cloned())
        }
        _ => match shared.refreshes.lock().unwrap().remove(&form["refresh_token"]) {
            Some(user) => (user, None),
            None => return refused("invalid_grant"),
        },
    };
    if shared.disabled.lock().unwrap().iter().any(|subject| user["sub"] == **subject) {
        return refused("invalid_grant");
    }
    let refresh = format!("refresh-{}", shared.tokens.lock().unwrap().len());
    shared.refreshes.lock().unwrap().insert(refresh.clone(), user.clone());
    let mut id = Token::new(&shared.url, CLIENT, &shared.signer);
    id.header["typ"] = json!("JWT");
    id.claims = json!({"iss": shared.url, "aud": CLIENT, "sub": user["sub"], "iat": now(), "exp": now() + 300, "auth_time": now()});
    if let Some(nonce) = nonce {
        id.claims["nonce"] = json!(nonce);
    }
    if let Some(twist) = &*shared.twist.lock().unwrap() {
        twist(&mut id);
    }
    let access = user.to_string();
    axum::Json(json!({"access_token": b64(access), "token_type": "Bearer", "id_token": id.sign(), "refresh_token": refresh}))
        .into_response()
}

fn bearer(headers: &HeaderMap) -> Option<Value> {
    use base64::Engine;
    let token = headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")?;
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}

async fn userinfo(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    match bearer(&headers) {
        Some(user) if !shared.disabled.lock().unwrap().iter().any(|subject| user["sub"] == **subject) => axum::Json(user).into_response(),
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}

async fn organizations(headers: HeaderMap) -> Response {
    let user = bearer(&headers).unwrap_or_default();
    axum::Json(user["orgs"].as_array().cloned().unwrap_or_default().iter().map(|one| json!({"login": one})).collect::<Vec<_>>())
        .into_response()
}

async fn teams(headers: HeaderMap) -> Response {
    let user = bearer(&headers).unwrap_or_default();
    let team = |one: &Value| {
        let (organization, slug) = one.as_str().unwrap().split_once('/').unwrap();
        json!({"slug": slug, "organization": {"login": organization}})
    };
    axum::Json(user["teams"].as_array().cloned().unwrap_or_default().iter().map(team).collect::<Vec<_>>()).into_response()
}

/// A person's browser: keeps cookies by host, follows nothing by itself, runs no script.
#[derive(Clone)]
pub struct Browser {
    http: reqwest::Client,
    cookies: Arc<Mutex<HashMap<String, String>>>,
    origin: String,
}

/// What a browser got.
#[derive(Clone, Debug)]
pub struct Page {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Page {
    pub fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }

    pub fn location(&self) -> String {
        self.headers.get("location").unwrap_or_else(|| panic!("no redirect: {self:#?}")).to_str().unwrap().to_owned()
    }

    /// The parameters of the redirect.
    pub fn answer(&self) -> Vec<(String, String)> {
        let url = url::Url::parse(&self.location()).unwrap();
        url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    }

    /// The only parameter of this name of the redirect.
    pub fn said(&self, name: &str) -> Option<String> {
        let all: Vec<String> = self.answer().into_iter().filter(|(other, _)| other == name).map(|(_, value)| value).collect();
        assert!(all.len() <= 1, "{name} stands {} times", all.len());
        all.first().cloned()
    }

    /// The hidden field.
    pub fn ticket(&self) -> String {
        let (_, rest) = self.text.split_once(r#"name="ticket" value=""#).unwrap_or_else(|| panic!("no form: {self:#?}"));
        rest.split('"').next().unwrap().to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn cookies(&self) -> Vec<String> {
        self.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap().to_owned()).collect()
    }
}

impl Browser {
    pub fn new(origin: &str) -> Self {
        Self::with(origin, reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap())
    }

    pub fn with(origin: &str, http: reqwest::Client) -> Self {
        Self { http, cookies: Arc::default(), origin: origin.into() }
    }

    pub async fn get(&self, url: &str) -> Page {
        self.send(self.http.get(self.absolute(url)), url).await
    }

    /// A form of one of the gateway's own pages.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Page {
        self.post_from(path, form, &[("origin", &self.origin), ("sec-fetch-site", "same-origin")]).await
    }

    /// A form with these headers.
    pub async fn post_from(&self, path: &str, form: &[(&str, &str)], headers: &[(&str, &str)]) -> Page {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.http.post(self.absolute(path)).header("content-type", "application/x-www-form-urlencoded").body(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.send(request, path).await
    }

    /// What a script of a page of ours sends.
    pub async fn post_json(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Page {
        let request = self.http.post(self.absolute(path)).header("content-type", "application/json").body(body.to_string());
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.send(request, path).await
    }

    pub fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.lock().unwrap().get(name).cloned()
    }

    fn absolute(&self, url: &str) -> String {
        if url.starts_with('/') { format!("{}{url}", self.origin) } else { url.to_owned() }
    }

    async fn send(&self, request: reqwest::RequestBuilder, url: &str) -> Page {
        let own = url.starts_with('/') || url.starts_with(&self.origin);
        let line: Vec<String> = self.cookies.lock().unwrap().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = if own && !line.is_empty() { request.header("cookie", line.join("; ")) } else { request };
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        if own {
            for line in headers.get_all("set-cookie") {
                let (name, rest) = line.to_str().unwrap().split_once('=').unwrap();
                let value = rest.split(';').next().unwrap();
                match rest.contains("Max-Age=0") {
                    true => self.cookies.lock().unwrap().remove(name),
                    false => self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned()),
                };
            }
        }
        Page { status, headers, text: answer.text().await.unwrap() }
    }

    /// As if somebody had put it there.
    pub fn keep(&self, name: &str, value: &str) {
        self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    pub fn cookie_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.cookies.lock().unwrap().keys().cloned().collect();
        names.sort();
        names
    }
}
