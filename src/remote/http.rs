//! How are documents fetched and questions asked? One GET or POST, bounded in time and size, that follows nobody.
//!
//! No redirects (a document speaks only for the URL it was asked at), no proxy from the environment,
//! no cookies, no content codings. Knows nothing of what a document says.

use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use url::{Host, Url};

use super::FetchError;

/// Bytes of the largest answer that is read.
const LARGEST: usize = 1 << 20;

/// Bytes of the largest answer to a form.
const LARGEST_ANSWER: usize = 64 << 10;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// The client for our own fetches. A process crypto provider must be installed before.
#[derive(Clone, Debug)]
pub struct Http(reqwest::Client);

impl Http {
    pub fn new() -> Result<Self, FetchError> {
        let headers = HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static("application/json")),
            (ACCEPT_ENCODING, HeaderValue::from_static("identity")),
        ]);
        let client = reqwest::Client::builder()
            .user_agent(concat!("doorward/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // Fetches are rare and may come from several runtimes: a kept connection would belong to one.
            .pool_max_idle_per_host(0)
            .build();
        client.map(Self).map_err(|_| FetchError::Unreachable)
    }

    /// The body of a 200; `timeout` covers all of it, from the name lookup to the last byte.
    pub async fn get(&self, url: &Url, timeout: Duration) -> Result<Bytes, FetchError> {
        let answer = self.0.get(url.clone()).timeout(timeout).send().await.map_err(explain)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(answer.status().as_u16()));
        }
        read(answer, LARGEST).await
    }

    /// The body of a 200 that is `application/json`, for a form posted with this
    /// `Authorization`, if any; `timeout` covers all of it.
    pub async fn post(&self, url: &Url, authorization: Option<HeaderValue>, form: String, timeout: Duration) -> Result<Bytes, FetchError> {
        let answer = self.submit(url, authorization, FORM, form, timeout).await?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(answer.status().as_u16()));
        }
        let media_type = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            return Err(FetchError::MediaType(media_type.chars().take(100).collect()));
        }
        read(answer, LARGEST_ANSWER).await
    }

    /// The status and the body of whatever answers a form; `timeout` covers all of it.
    pub async fn post_any(
        &self,
        url: &Url,
        authorization: Option<HeaderValue>,
        form: String,
        timeout: Duration,
    ) -> Result<(u16, Bytes), FetchError> {
        let answer = self.submit(url, authorization, FORM, form, timeout).await?;
        let status = answer.status().as_u16();
        Ok((status, read(answer, LARGEST).await?))
    }

    /// The body of a 200 for JSON posted with this `Authorization`; `timeout` covers all of it.
    pub async fn post_json(&self, url: &Url, authorization: &str, json: String, timeout: Duration) -> Result<Bytes, FetchError> {
        let authorization = HeaderValue::from_str(authorization).map_err(|_| FetchError::Unreachable)?;
        let answer = self.submit(url, Some(authorization), JSON, json, timeout).await?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(answer.status().as_u16()));
        }
        read(answer, LARGEST).await
    }

    async fn submit(
        &self,
        url: &Url,
        secret: Option<HeaderValue>,
        kind: &'static str,
        body: String,
        timeout: Duration,
    ) -> Result<reqwest::Response, FetchError> {
        let mut request = self.0.post(url.clone()).timeout(timeout).header(CONTENT_TYPE, kind).body(body);
        if let Some(mut secret) = secret {
            secret.set_sensitive(true);
            request = request.header(AUTHORIZATION, secret);
        }
        request.send().await.map_err(explain)
    }
}

async fn read(mut answer: reqwest::Response, largest: usize) -> Result<Bytes, FetchError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(explain)? {
        if body.len() + chunk.len() > largest {
            return Err(FetchError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// A URL that may be fetched: https, or http where nobody can listen in or the operator allowed it.
pub fn permitted(url: &str, allow_http: bool) -> Result<Url, FetchError> {
    let parsed = Url::parse(url).map_err(|_| FetchError::Url(url.to_owned()))?;
    match (parsed.scheme(), parsed.host()) {
        ("https", Some(_)) => Ok(parsed),
        ("http", Some(host)) if allow_http || is_loopback(&host) => Ok(parsed),
        ("http", Some(_)) => Err(FetchError::PlainHttp(url.to_owned())),
        _ => Err(FetchError::Url(url.to_owned())),
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => IpAddr::V4(*address).is_loopback(),
        Host::Ipv6(address) => IpAddr::V6(*address).is_loopback(),
    }
}

fn explain(error: reqwest::Error) -> FetchError {
    if error.is_timeout() { FetchError::Timeout } else { FetchError::Unreachable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_or_by_permission() {
        for url in ["https://a.example/x", "http://127.0.0.1:1/x", "http://127.9.9.9/", "http://[::1]:1/x", "http://localhost/x"] {
            assert!(permitted(url, false).is_ok(), "{url}");
        }
        for url in [
            "http://a.example/",
            "http://10.0.0.1/",
            "http://localhost.evil.example/",
            "http://127.0.0.1.evil.example/",
            "http://127.0.0.1@evil.example/",
        ] {
            assert_eq!(permitted(url, false), Err(FetchError::PlainHttp(url.into())), "{url}");
            assert!(permitted(url, true).is_ok(), "{url}");
        }
        for url in ["", "/x", "file:///etc/passwd", "ftp://a.example/", "data:,x"] {
            assert_eq!(permitted(url, true), Err(FetchError::Url(url.into())), "{url}");
        }
    }
}
