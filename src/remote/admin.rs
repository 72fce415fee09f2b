//! The admin API of a running gateway, asked by commands.
//!
//! At a URL or a Unix socket, with a token, a certificate, or neither. Knows nothing of what is asked.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::http::permitted;

/// For one answer: the longest that is waited for, and some more.
const TIMEOUT: Duration = Duration::from_secs(90);
/// Bytes of an answer.
const LARGEST: usize = 32 << 20;

/// Who asks.
#[derive(Default)]
pub struct Credentials<'a> {
    pub token: Option<&'a str>,
    /// A certificate and its key in PEM.
    pub certificate: Option<&'a [u8]>,
    /// Whom to trust, besides those that the system trusts.
    pub ca: Option<&'a [u8]>,
}

/// The way to a gateway.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    /// As it was named, for messages.
    place: String,
}

/// What it answered.
pub struct Answer {
    pub status: u16,
    /// Null where it is no JSON.
    pub body: Value,
}

impl Client {
    /// # Errors
    /// What is wrong with the place or the credentials. SECURITY: a token is not sent over plain http off loopback.
    pub fn new(place: &str, credentials: &Credentials<'_>) -> Result<Self, String> {
        let Credentials { token, certificate, ca } = credentials;
        let builder = reqwest::Client::builder()
            .user_agent(concat!("doorward/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(TIMEOUT);
        let (mut builder, base) = match place.strip_prefix("unix:") {
            Some(path) => (builder.unix_socket(std::path::Path::new(path)), "http://localhost".to_owned()),
            None => (builder, place.to_owned()),
        };
        let hint = "write `https://…`, `http://127.0.0.1:9180` or `unix:/run/doorward/admin.sock`";
        let base = permitted(&base, false).map_err(|error| format!("`{place}` cannot be asked: {error}; {hint}"))?;
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| "the token's file does not hold one token")?;
            value.set_sensitive(true);
            builder = builder.default_headers(HeaderMap::from_iter([(AUTHORIZATION, value)]));
        }
        if let Some(pem) = certificate {
            let identity = reqwest::Identity::from_pem(pem).map_err(|_| "no certificate with its key is in the file of the certificate")?;
            builder = builder.identity(identity);
        }
        if let Some(pem) = ca {
            let all = reqwest::Certificate::from_pem_bundle(pem).map_err(|_| "no certificate is in the file of the authority")?;
            builder = builder.tls_certs_merge(all);
        }
        let http = builder.build().map_err(|error| format!("`{place}` cannot be asked: {error}"))?;
        Ok(Self { http, base, place: place.to_owned() })
    }

    /// # Errors
    /// No answer.
    pub async fn get(&self, path: &str, query: &impl Serialize) -> Result<Answer, String> {
        let mut url = self.at(path)?;
        if let Ok(Value::Object(members)) = serde_json::to_value(query) {
            let said = members.into_iter().filter(|(_, value)| !value.is_null());
            let said: Vec<(String, String)> =
                said.map(|(name, value)| (name, value.as_str().map_or_else(|| value.to_string(), str::to_owned))).collect();
            if !said.is_empty() {
                url.query_pairs_mut().extend_pairs(said);
            }
        }
        self.read(self.http.get(url).send().await).await
    }

    /// # Errors
    /// No answer; what was asked for may be done.
    pub async fn post(&self, path: &str, body: &impl Serialize) -> Result<Answer, String> {
        let body = serde_json::to_vec(body).map_err(|error| error.to_string())?;
        self.read(self.http.post(self.at(path)?).header(CONTENT_TYPE, "application/json").body(body).send().await).await
    }

    fn at(&self, path: &str) -> Result<Url, String> {
        self.base.join(path).map_err(|_| format!("`{}` cannot be asked", self.place))
    }

    async fn read(&self, answer: Result<reqwest::Response, reqwest::Error>) -> Result<Answer, String> {
        let told = |error: reqwest::Error| match error.is_connect() {
            true => format!("no gateway answers at `{}`: does it run, and is `admin` configured there?", self.place),
            false => {
                format!("`{}` did not answer: {}", self.place, if error.is_timeout() { "it took too long" } else { "the answer was cut" })
            }
        };
        let mut answer = answer.map_err(told)?;
        let (status, mut body) = (answer.status().as_u16(), Vec::new());
        while let Some(chunk) = answer.chunk().await.map_err(told)? {
            if body.len() + chunk.len() > LARGEST {
                return Err(format!("`{}` answered more than is read", self.place));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body: serde_json::from_slice(&body).unwrap_or_default() })
    }
}
