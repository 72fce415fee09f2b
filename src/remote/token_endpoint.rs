//! One request for a token, and what the answer says. Keeps no token.
//!
//! The caller's token stands in the form of an exchange (RFC 8693 §2.1) and nowhere else. Of an error
//! only its code is read: a description could repeat what was sent.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::BoxFuture;
use http::HeaderValue;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use url::Url;
use url::form_urlencoded::Serializer;

use super::discovery::candidates;
use super::http::{Http, permitted};
use super::{FetchError, client};
use crate::route::grant::{Grant, GrantKind, TokenEndpoint};
use crate::token::Token;

/// How long a discovered token endpoint is taken for granted.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// Of a token whose answer does not say.
const UNSTATED: Duration = Duration::from_secs(60);
/// No token is kept longer, whatever the answer says.
const LONGEST: u64 = 24 * 3600;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// A token as it goes to the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obtained {
    /// The whole `Authorization` value, marked as sensitive so that it is not printed.
    pub value: HeaderValue,
    pub lifetime: Duration,
}

/// Why there is no token. For the operator; holds nothing of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenError {
    Fetch(FetchError),
    /// The authorization server refused: status and error code (RFC 6749 §5.2).
    Refused(u16, String),
    /// The answer is not one that RFC 6749 §5.1 or RFC 8693 §2.2.1 describes.
    Answer(&'static str),
    /// The caller's token is bound to the caller's key: what it is exchanged for would not be.
    Bound,
    /// No bearer token of the caller is at hand.
    NoSubject,
    /// The authorization server gave the caller's own token back.
    SameToken,
    /// The upstream has no such grant.
    NoGrant,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetch(error) => error.fmt(f),
            Self::Refused(status, code) => write!(f, "the authorization server refused with {status} `{code}`"),
            Self::Answer(what) => write!(f, "the answer of the authorization server {what}"),
            Self::Bound => f.write_str("the caller's token is bound to a key and is not exchanged for one that is not"),
            Self::NoSubject => f.write_str("the caller sent no bearer token that could be exchanged"),
            Self::SameToken => f.write_str("the authorization server gave the caller's own token back, which never goes to an upstream"),
            Self::NoGrant => f.write_str("no grant is configured"),
        }
    }
}

impl From<FetchError> for TokenError {
    fn from(error: FetchError) -> Self {
        Self::Fetch(error)
    }
}

/// Who gives tokens. `subject` is the caller's own token, for an exchange.
pub(super) trait Giver: Send + Sync {
    fn obtain<'a>(&'a self, subject: Option<Token<'a>>) -> BoxFuture<'a, Result<Obtained, TokenError>>;
}

/// The authorization server of one grant, over HTTP.
pub(super) struct Remote {
    http: Http,
    grant: Grant,
    found: Mutex<Option<(Url, Instant)>>,
}

/// The members of RFC 8414 §2 that are read.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    token_endpoint: Option<String>,
}

/// The members of RFC 6749 §5.1 and RFC 8693 §2.2.1 that are read.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: String,
    expires_in: Option<u64>,
    issued_token_type: Option<String>,
}

impl Giver for Remote {
    fn obtain<'a>(&'a self, subject: Option<Token<'a>>) -> BoxFuture<'a, Result<Obtained, TokenError>> {
        Box::pin(self.ask(subject))
    }
}

impl Remote {
    pub(super) fn new(http: Http, grant: Grant) -> Self {
        Self { http, grant, found: Mutex::new(None) }
    }

    async fn ask(&self, subject: Option<Token<'_>>) -> Result<Obtained, TokenError> {
        let form = form(&self.grant, subject)?;
        // One deadline for discovery and request together.
        let ask = async {
            let url = self.url().await?;
            let (authorization, form) = client::prove(&self.grant.client, form)?;
            self.http.post_any(&url, authorization, form, self.grant.timeout).await.map_err(TokenError::from)
        };
        let (status, body) = tokio::time::timeout(self.grant.timeout, ask).await.map_err(|_| FetchError::Timeout)??;
        if status == 404 || status == 410 {
            self.remember(None);
        }
        read(&self.grant, subject, status, &body)
    }

    async fn url(&self) -> Result<Url, TokenError> {
        let issuer = match &self.grant.endpoint {
            TokenEndpoint::Url(url) => return Ok(permitted(url, self.grant.allow_http)?),
            TokenEndpoint::Issuer(issuer) => issuer,
        };
        if let Some(url) = self.remembered() {
            return Ok(url);
        }
        let mut first = None;
        for place in candidates(issuer) {
            match self.discover(issuer, &place).await {
                Ok(url) => {
                    self.remember(Some(url.clone()));
                    return Ok(url);
                }
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or(FetchError::Metadata).into())
    }

    async fn discover(&self, issuer: &str, place: &str) -> Result<Url, FetchError> {
        let text = self.http.get(&permitted(place, self.grant.allow_http)?, self.grant.timeout).await?;
        let metadata: Metadata = serde_json::from_slice(&text).map_err(|_| FetchError::Metadata)?;
        if metadata.issuer != issuer {
            return Err(FetchError::Issuer(metadata.issuer.chars().take(200).collect()));
        }
        permitted(&metadata.token_endpoint.ok_or(FetchError::Metadata)?, self.grant.allow_http)
    }

    fn remembered(&self) -> Option<Url> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.as_ref().filter(|(_, since)| since.elapsed() < REMEMBERED).map(|(url, _)| url.clone())
    }

    fn remember(&self, url: Option<Url>) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = url.map(|url| (url, Instant::now()));
    }
}

/// What is asked for, without who asks.
fn form(grant: &Grant, subject: Option<Token<'_>>) -> Result<String, TokenError> {
    let mut form = Serializer::new(String::new());
    match &grant.kind {
        GrantKind::ClientCredentials => {
            form.append_pair("grant_type", "client_credentials");
        }
        GrantKind::Exchange { actor } => {
            let subject = subject.ok_or(TokenError::NoSubject)?;
            // SECURITY: RFC 9449 §7 and RFC 8705 §3: what is bound stays bound.
            if is_bound(subject) {
                return Err(TokenError::Bound);
            }
            form.append_pair("grant_type", EXCHANGE);
            form.append_pair("subject_token", subject.as_str()).append_pair("subject_token_type", ACCESS_TOKEN);
            form.append_pair("requested_token_type", ACCESS_TOKEN);
            if let Some(actor) = actor {
                form.append_pair("actor_token", actor.reveal()).append_pair("actor_token_type", ACCESS_TOKEN);
            }
        }
    }
    if !grant.scopes.is_empty() {
        form.append_pair("scope", &grant.scopes.join(" "));
    }
    if let Some(resource) = &grant.resource {
        form.append_pair("resource", resource);
    }
    if let Some(audience) = &grant.audience {
        form.append_pair("audience", audience);
    }
    Ok(form.finish())
}

/// Whether a JWT says that it is bound to a key. It was verified before it came here.
fn is_bound(token: Token<'_>) -> bool {
    let payload = token.as_str().split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims: Option<Value> = payload.and_then(|text| serde_json::from_slice(&text).ok());
    claims.is_some_and(|claims| claims.get("cnf").is_some())
}

fn read(grant: &Grant, subject: Option<Token<'_>>, status: u16, body: &[u8]) -> Result<Obtained, TokenError> {
    if status != 200 {
        return Err(TokenError::Refused(status, error_code(body)));
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|_| TokenError::Answer("is not the JSON object that was asked for"))?;
    let Answer { access_token, token_type, expires_in, issued_token_type } = answer;
    if matches!(grant.kind, GrantKind::Exchange { .. }) && !matches!(issued_token_type.as_deref(), Some(ACCESS_TOKEN | JWT)) {
        return Err(TokenError::Answer("does not say that it holds an access token (`issued_token_type`)"));
    }
    if !token_type.eq_ignore_ascii_case("Bearer") {
        return Err(TokenError::Answer("holds no bearer token (`token_type`)"));
    }
    let token = Token::new(&access_token).map_err(|_| TokenError::Answer("holds a token that no header can carry"))?;
    // SECURITY: the caller's token never goes to an upstream, whoever hands it over.
    if subject == Some(token) {
        return Err(TokenError::SameToken);
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {access_token}")).map_err(|_| TokenError::Answer("holds no token"))?;
    value.set_sensitive(true);
    let lifetime = expires_in.map_or(UNSTATED, |seconds| Duration::from_secs(seconds.min(LONGEST)));
    if lifetime.is_zero() {
        return Err(TokenError::Answer("holds a token that has already expired"));
    }
    Ok(Obtained { value, lifetime })
}

/// RFC 6749 §5.2, in its own characters and bounded; an error code cannot hold a token.
fn error_code(body: &[u8]) -> String {
    let answer: Option<Value> = serde_json::from_slice(body).ok();
    let code = answer.as_ref().and_then(|answer| answer.get("error")?.as_str()).unwrap_or_default();
    let is_code = !code.is_empty() && code.len() <= 64 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if is_code { code.to_owned() } else { "no error code".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::client::{Client, Proof};
    use crate::route::grant::Secret;
    use serde_json::json;
    use url::form_urlencoded;

    fn grant(kind: GrantKind) -> Grant {
        Grant {
            kind,
            endpoint: TokenEndpoint::Url("http://127.0.0.1:1/token".into()),
            client: Client { id: "doorward".into(), proof: Proof::Secret(Secret::new("secret".into())) },
            scopes: vec!["a".into(), "b".into()],
            resource: Some("https://up.example/mcp".into()),
            audience: None,
            timeout: Duration::from_secs(1),
            allow_http: false,
        }
    }

    fn exchange() -> Grant {
        grant(GrantKind::Exchange { actor: Some(Secret::new("gateway-token".into())) })
    }

    fn answer(change: impl FnOnce(&mut Value)) -> Result<Obtained, TokenError> {
        let mut body = json!({ "access_token": "new", "token_type": "bearer", "expires_in": 60, "issued_token_type": ACCESS_TOKEN });
        change(&mut body);
        read(&exchange(), Some(Token::new("callers").expect("a token")), 200, body.to_string().as_bytes())
    }

    #[test]
    fn an_exchange_asks_as_rfc_8693_has_it() {
        let form = form(&exchange(), Some(Token::new("callers").expect("a token"))).expect("a form");
        let pairs: Vec<(String, String)> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        let expected = [
            ("grant_type", EXCHANGE),
            ("subject_token", "callers"),
            ("subject_token_type", ACCESS_TOKEN),
            ("requested_token_type", ACCESS_TOKEN),
            ("actor_token", "gateway-token"),
            ("actor_token_type", ACCESS_TOKEN),
            ("scope", "a b"),
            ("resource", "https://up.example/mcp"),
        ];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn client_credentials_never_hold_the_callers_token() {
        let form = form(&grant(GrantKind::ClientCredentials), Some(Token::new("callers").expect("a token"))).expect("a form");
        assert!(form.starts_with("grant_type=client_credentials&") && !form.contains("callers"), "{form}");
    }

    #[test]
    fn a_bound_token_is_not_exchanged_for_one_that_is_not() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"cnf":{"jkt":"x"}}"#);
        let token = format!("e30.{claims}.sig");
        assert_eq!(form(&exchange(), Some(Token::new(&token).expect("a token"))).err(), Some(TokenError::Bound));
        assert_eq!(form(&exchange(), None).err(), Some(TokenError::NoSubject));
    }

    #[test]
    fn a_good_answer_is_a_bearer_token_with_its_life() {
        let obtained = answer(|_| {}).expect("a token");
        assert_eq!((obtained.value.to_str().ok(), obtained.lifetime), (Some("Bearer new"), Duration::from_secs(60)));
        assert!(obtained.value.is_sensitive());
        assert_eq!(answer(|body| body["expires_in"] = Value::Null).ok().map(|it| it.lifetime), Some(UNSTATED));
    }

    #[test]
    fn answers_that_are_no_token_for_an_upstream_are_refused() {
        type Case = (&'static str, fn(&mut Value));
        let cases: [Case; 7] = [
            ("another kind", |body| body["issued_token_type"] = json!("urn:ietf:params:oauth:token-type:refresh_token")),
            ("no kind", |body| body["issued_token_type"] = Value::Null),
            ("not bearer", |body| body["token_type"] = json!("N_A")),
            ("bound", |body| body["token_type"] = json!("DPoP")),
            ("split", |body| body["access_token"] = json!("a\r\nX-Admin: 1")),
            ("expired", |body| body["expires_in"] = json!(0)),
            ("no token", |body| body["access_token"] = Value::Null),
        ];
        for (name, change) in cases {
            assert!(matches!(answer(change), Err(TokenError::Answer(_))), "{name}");
        }
        assert!(matches!(answer(|body| body["access_token"] = json!("callers")), Err(TokenError::SameToken)));
    }

    #[test]
    fn an_error_that_repeats_what_was_sent_is_not_repeated() {
        let refused = |body: &str| match read(&exchange(), None, 400, body.as_bytes()) {
            Err(TokenError::Refused(400, code)) => code,
            _ => panic!("not refused"),
        };
        assert_eq!(refused(r#"{"error":"invalid_grant","error_description":"callers"}"#), "invalid_grant");
        assert_eq!(refused(r#"{"error":"token eyJ.callers"}"#), "no error code");
        assert_eq!(refused("<html>"), "no error code");
    }
}
