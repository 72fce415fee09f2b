//! Which event tokens wait for us at a transmitter? One question of RFC 8936, bounded in time and size.
//!
//! Judges no token: what was taken in is told with the next question, and what was not, with its reason.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::http::{Http, permitted};
use super::{FetchError, error::BuildError};

/// Event tokens that are asked for at once, and looked at.
pub const MOST: usize = 100;
/// For the question and the answer themselves, besides the time that the transmitter may wait.
const ON_THE_WAY: Duration = Duration::from_secs(10);

/// One transmitter's endpoint.
pub struct Polled {
    http: Http,
    url: Url,
    authorization: String,
    wait: Duration,
}

/// What became of the event tokens of earlier answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By `jti`.
    pub taken: Vec<String>,
    /// By `jti`: error code and description (RFC 8935 §2.4).
    pub refused: BTreeMap<String, (&'static str, &'static str)>,
}

impl Report {
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.refused.is_empty()
    }
}

/// What waits.
#[derive(Debug, Default)]
pub struct Waiting {
    /// By `jti`, at most [`MOST`].
    pub sets: BTreeMap<String, String>,
    pub more: bool,
}

/// RFC 8936 §2.2.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'a> {
    max_events: usize,
    return_immediately: bool,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    ack: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    set_errs: BTreeMap<&'a str, SetError>,
}

#[derive(Serialize)]
struct SetError {
    err: &'static str,
    description: &'static str,
}

/// RFC 8936 §2.3.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    sets: BTreeMap<String, Value>,
    #[serde(default)]
    more_available: bool,
}

impl Polled {
    /// # Errors
    /// There can be no client, or no such URL.
    pub fn new(poll: &crate::config::Poll, allow_http: bool) -> Result<Self, BuildError> {
        let http = Http::new().map_err(|_| BuildError::Client)?;
        let url = permitted(&poll.url, allow_http).map_err(|_| BuildError::Client)?;
        Ok(Self { http, url, authorization: format!("Bearer {}", poll.token.text()), wait: poll.wait })
    }

    /// Tells what became of earlier tokens, and waits for more unless `at_once`.
    ///
    /// # Errors
    /// No answer in time, or another than RFC 8936 §2.3 describes. Then nothing of the report counts as told.
    pub async fn ask(&self, report: &Report, at_once: bool) -> Result<Waiting, FetchError> {
        let set_errs = report.refused.iter().map(|(jti, (err, description))| (jti.as_str(), SetError { err, description })).collect();
        let question = Question { max_events: MOST, return_immediately: at_once, ack: &report.taken, set_errs };
        let text = serde_json::to_string(&question).map_err(|_| FetchError::Waiting)?;
        let body = self.http.post_json(&self.url, &self.authorization, text, self.wait.saturating_add(ON_THE_WAY)).await?;
        let Answer { sets, more_available } = serde_json::from_slice(&body).map_err(|_| FetchError::Waiting)?;
        let more = more_available || sets.len() > MOST;
        // What is no text is no token, and is answered for as such: one that is broken must not hold up the others.
        let text = |(jti, set): (String, Value)| (jti, set.as_str().unwrap_or_default().to_owned());
        Ok(Waiting { sets: sets.into_iter().take(MOST).map(text).collect(), more })
    }
}

impl fmt::Debug for Polled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Polled").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}
