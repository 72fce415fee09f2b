//! What does an address answer, whatever it answers? For an operator who looks at a server from outside.
//!
//! Bounded in time and size, no redirects, no proxy from the environment. Judges nothing.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};
use url::Url;

use super::FetchError;

/// Bytes of an answer that are read; the rest is left.
const LARGEST: usize = 1 << 20;

/// Whatever came back.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A client for looking.
#[derive(Clone, Debug)]
pub struct Asker {
    http: reqwest::Client,
    timeout: Duration,
}

impl Asker {
    /// `timeout` is of one request, from the name lookup to the last byte.
    ///
    /// # Errors
    /// There are no root certificates.
    pub fn new(timeout: Duration) -> Result<Self, FetchError> {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("doorward/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        Ok(Self { http: builder.build().map_err(|_| FetchError::Unreachable)?, timeout })
    }

    /// # Errors
    /// There was no answer. An answer that breaks off is one.
    pub async fn ask(&self, method: Method, url: &Url, headers: &[(&str, &str)], body: String) -> Result<Answer, FetchError> {
        let mut request = self.http.request(method, url.clone()).timeout(self.timeout).header("accept-encoding", "identity");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.body(body);
        }
        let told = |error: reqwest::Error| if error.is_timeout() { FetchError::Timeout } else { FetchError::Unreachable };
        let mut answer = request.send().await.map_err(told)?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let mut body = BytesMut::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST {
                break;
            }
        }
        Ok(Answer { status, headers, body: body.freeze() })
    }
}
