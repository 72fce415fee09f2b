//! How a client of one's own comes to a token with no other service: told step by step, as client and browser take them.
//!
//! Everything is really done: the invitation is accepted, the client registers, a person agrees and signs in, and a tool is
//! called. A step that is not answered as it should be ends it with a [`Failure`]. Neither password nor token is shown.

use std::collections::BTreeMap;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use super::issuer::random_text;
use super::{Addresses, Failure, http_client};

/// The name of the account.
pub const NAME: &str = "alice";
const CLIENT: &str = "Demo client";
/// Nobody listens there: the answer is read from the redirect.
const REDIRECT: &str = "http://127.0.0.1/callback";

/// What alice signs in with, for whoever started the demo.
pub struct Password(pub String);

/// Accepts the invitation and signs a client in at the resource of one's own.
///
/// # Errors
/// The first step that is not answered as it should be, or a writer that fails.
pub async fn run(addresses: &Addresses, invitation: &str, out: &mut dyn Write) -> Result<Password, Failure> {
    let client = http_client()?;
    let password = random_text().ok_or(Failure::Key)?;
    // RFC 7636 §4.1: at least 43 characters.
    let verifier: String = (0..3).filter_map(|_| random_text()).collect();
    let mut visit = Visit { client, origin: format!("http://{}", addresses.gateway), cookies: BTreeMap::new(), out };
    visit.line("\nAnd a client of your own, with no other service: the gateway is its authorization server\n")?;
    visit.looks_for_the_server(&addresses.own_resource()).await?;
    visit.accepts(invitation, &password).await?;
    let id = visit.registers().await?;
    let code = visit.signs_in(&id, &addresses.own_resource(), &verifier, &password).await?;
    let token = visit.redeems(&id, &code, &verifier).await?;
    visit.calls(&addresses.own_resource(), &token).await?;
    Ok(Password(password))
}

/// A client and its person's browser.
struct Visit<'a> {
    client: reqwest::Client,
    origin: String,
    cookies: BTreeMap<String, String>,
    out: &'a mut dyn Write,
}

/// An answer.
struct Page {
    step: String,
    status: u16,
    location: String,
    challenge: String,
    body: String,
}

impl Visit<'_> {
    /// RFC 9728 §5.1, RFC 8414 §3.
    async fn looks_for_the_server(&mut self, resource: &str) -> Result<(), Failure> {
        let page = self.send("POST", resource, message(self.client.post(resource), &whoami())).await?;
        let metadata = page.challenge.split_once(r#"resource_metadata=""#).and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default();
        page.want(401, !metadata.is_empty(), "a challenge that names the metadata")?;
        self.told(&page, "sign in first: the metadata say where")?;
        let page = self.send("GET", metadata, self.client.get(metadata)).await?;
        let server = page.json().pointer("/authorization_servers/0").cloned().unwrap_or_default();
        page.want(200, server == json!(self.origin), "this gateway as the authorization server")?;
        self.told(&page, &format!("at the gateway itself, {}", self.origin))
    }

    async fn accepts(&mut self, invitation: &str, password: &str) -> Result<(), Failure> {
        let page = self.browse(invitation, None).await?;
        page.want(200, !page.ticket().is_empty(), "a page to choose a password at")?;
        let form = [("ticket", page.ticket()), ("password", password), ("again", password)];
        let mut page = self.browse(invitation, Some(&form)).await?;
        page.want(200, true, "an account")?;
        // The link is a secret.
        page.step = "POST /doorward/invite/…".into();
        self.told(&page, &format!("{NAME} has accepted her invitation and chosen a password"))
    }

    /// RFC 7591 §3.
    async fn registers(&mut self) -> Result<String, Failure> {
        let url = format!("{}/register", self.origin);
        let about = json!({ "client_name": CLIENT, "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
        let page = self.send("POST", &url, message(self.client.post(&url), &about)).await?;
        let id = page.text("client_id");
        page.want(201, !id.is_empty(), "a client id")?;
        self.told(&page, &format!("the client registers itself: `{CLIENT}` is {id}"))?;
        Ok(id)
    }

    /// RFC 6749 §4.1.1 with RFC 7636 §4.3.
    async fn signs_in(&mut self, id: &str, resource: &str, verifier: &str, password: &str) -> Result<String, Failure> {
        let challenge = URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes()));
        let asked = [
            ("response_type", "code"),
            ("client_id", id),
            ("redirect_uri", REDIRECT),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("resource", resource),
            ("scope", "notes:read"),
        ];
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(asked).finish();
        let page = self.browse(&format!("{}/authorize?{query}", self.origin), None).await?;
        page.want(200, page.body.contains(CLIENT) && !page.ticket().is_empty(), "a page that asks for consent")?;
        self.told(&page, "the browser shows who asks for what, before anybody signs in")?;
        let page = self.browse(&self.at("/doorward/consent"), Some(&[("ticket", page.ticket()), ("allow", "accounts")])).await?;
        page.want(303, page.location.contains("/doorward/sign-in?"), "the way to the sign-in page")?;
        self.told(&page, "allowed")?;
        let page = self.browse(&page.location.clone(), None).await?;
        page.want(200, !page.ticket().is_empty(), "a page to sign in at")?;
        let form = [("ticket", page.ticket()), ("name", NAME), ("password", password)];
        let page = self.browse(&self.at("/doorward/sign-in"), Some(&form)).await?;
        let answer = Url::parse(&page.location).ok().filter(|_| page.location.starts_with(REDIRECT));
        let code = answer.and_then(|url| url.query_pairs().find(|(name, _)| name == "code").map(|(_, code)| code.into_owned()));
        page.want(303, code.is_some(), "a code for the client")?;
        self.told(&page, &format!("{NAME} signs in, and goes back to the client with a code"))?;
        Ok(code.unwrap_or_default())
    }

    /// RFC 6749 §4.1.3.
    async fn redeems(&mut self, id: &str, code: &str, verifier: &str) -> Result<String, Failure> {
        let url = self.at("/token");
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("client_id", id),
            ("code_verifier", verifier),
        ];
        let page = self.send("POST", &url, posted(self.client.post(&url), &form)).await?;
        let token = page.text("access_token");
        page.want(200, !token.is_empty(), "an access token")?;
        let refresh = if page.text("refresh_token").is_empty() { "" } else { ", and a refresh token" };
        let seconds = page.json().get("expires_in").and_then(Value::as_u64).unwrap_or_default();
        self.told(&page, &format!("the code and its verifier for a token of {seconds} seconds{refresh}"))?;
        Ok(token)
    }

    async fn calls(&mut self, resource: &str, token: &str) -> Result<(), Failure> {
        let request = message(self.client.post(resource), &whoami()).bearer_auth(token);
        let page = self.send("POST", resource, request).await?;
        let document = page.json();
        let seen = document.pointer("/result/structuredContent/identity/x-forwarded-user").and_then(Value::as_str);
        let user = seen.filter(|user| user.starts_with("account|")).unwrap_or_default().to_owned();
        page.want(200, !user.is_empty(), "a call in the name of the account")?;
        self.told(&page, &format!("whoami: the server sees {user}, and no token"))
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// As a browser: with cookies, and saying where a form comes from.
    async fn browse(&mut self, url: &str, form: Option<&[(&str, &str)]>) -> Result<Page, Failure> {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let (method, mut request) = match form {
            Some(form) => ("POST", posted(self.client.post(url), form).header(ORIGIN, &self.origin)),
            None => ("GET", self.client.get(url)),
        };
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        self.send(method, url, request).await
    }

    async fn send(&mut self, method: &str, url: &str, request: reqwest::RequestBuilder) -> Result<Page, Failure> {
        let path = url.strip_prefix(&self.origin).unwrap_or(url);
        let step = format!("{method} {}{}", path.split('?').next().unwrap_or_default(), if path.contains('?') { "?…" } else { "" });
        let answer = request.send().await.map_err(|source| Failure::Http { step: step.clone(), source })?;
        for line in answer.headers().get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok()) {
            if let Some((name, value)) = line.split(';').next().and_then(|pair| pair.split_once('=')) {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let (status, location, challenge) = (answer.status().as_u16(), header(LOCATION.as_str()), header("www-authenticate"));
        let body = answer.text().await.map_err(|source| Failure::Http { step: step.clone(), source })?;
        Ok(Page { step, status, location, challenge, body })
    }

    fn told(&mut self, page: &Page, what: &str) -> Result<(), Failure> {
        self.line(&format!("    {:<44} {}  {what}", page.step, page.status))
    }

    fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.out, "{text}").map_err(|source| Failure::Io { what: "write the transcript", source })
    }
}

impl Page {
    fn want(&self, status: u16, right: bool, wanted: &str) -> Result<(), Failure> {
        if self.status == status && right {
            return Ok(());
        }
        let found = format!("status {}, challenge {:?}", self.status, self.challenge);
        Err(Failure::Unexpected { step: self.step.clone(), wanted: format!("{status} and {wanted}"), found })
    }

    /// The hidden field of its form.
    fn ticket(&self) -> &str {
        let value = self.body.split_once(r#"name="ticket" value=""#).map(|(_, rest)| rest);
        value.and_then(|rest| rest.split('"').next()).unwrap_or_default()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    fn text(&self, member: &str) -> String {
        self.json().get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

const ACCEPT: &str = "application/json, text/event-stream";

fn whoami() -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "whoami", "arguments": {} } })
}

fn message(request: reqwest::RequestBuilder, body: &Value) -> reqwest::RequestBuilder {
    request.header("content-type", "application/json").header("accept", ACCEPT).body(body.to_string())
}

fn posted(request: reqwest::RequestBuilder, form: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    request.header("content-type", "application/x-www-form-urlencoded").body(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{Ports, start_neighbours};

    #[tokio::test]
    async fn where_nobody_asks_for_a_token_it_ends_with_what_was_expected() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let neighbours = start_neighbours(Ports::default(), false).await.expect("started");
        let mut addresses = neighbours.addresses.clone();
        addresses.gateway = addresses.upstream;
        let mut told = Vec::new();
        let failure = run(&addresses, "http://127.0.0.1:1/doorward/invite/x", &mut told).await.err().expect("a flaw").to_string();
        neighbours.stop().await;
        assert!(failure.contains("step `POST /mine`: expected 401 and a challenge that names the metadata"), "{failure}");
    }
}
