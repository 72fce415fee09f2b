//! What does an authorization server say of itself? Its document, checked, to be shown at our own origin.
//!
//! Clients of 2025-03-26, and those that find no resource metadata, look for it here. The document stays
//! the server's own: its `issuer` is never rewritten (RFC 8414 §3.3). Knows nothing of requests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::discovery::candidates;
use super::http::{Http, permitted};
use super::{FetchError, Surfaces, http};
use crate::config::{Issuer, KeySource, KeyTimes};

/// Members that are addresses which clients follow (RFC 8414 §2, RFC 7009, RFC 7662, RFC 8628, RFC 9126).
const ENDPOINTS: [&str; 9] = [
    "authorization_endpoint",
    "token_endpoint",
    "registration_endpoint",
    "revocation_endpoint",
    "introspection_endpoint",
    "device_authorization_endpoint",
    "pushed_authorization_request_endpoint",
    "userinfo_endpoint",
    "jwks_uri",
];

const PKCE: &str = "code_challenge_methods_supported";

/// The document of one issuer, fetched when somebody asks and kept as long as its keys are.
pub struct MetadataStore {
    http: Http,
    name: String,
    issuer: Arc<str>,
    /// Who looks at what is found.
    surfaces: Arc<Surfaces>,
    places: Vec<String>,
    times: KeyTimes,
    allow_http: bool,
    assume_s256: bool,
    held: Mutex<Held>,
    /// One fetch at a time, whoever asks.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct Held {
    document: Option<(Bytes, Instant)>,
    failed: Option<(FetchError, Instant)>,
}

impl std::fmt::Debug for MetadataStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetadataStore").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl MetadataStore {
    pub(super) fn new(http: Http, issuer: &Issuer, surfaces: &Arc<Surfaces>) -> Self {
        let places = match &issuer.keys {
            KeySource::Metadata(url) => vec![url.clone()],
            _ => candidates(&issuer.rules.issuer),
        };
        Self {
            http,
            name: issuer.rules.name.clone(),
            issuer: issuer.rules.issuer.clone(),
            surfaces: surfaces.clone(),
            places,
            times: issuer.times,
            allow_http: issuer.allow_http,
            assume_s256: issuer.assume_s256,
            held: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// The document as JSON. An old one serves while another is fetched, and for `stale` when it cannot be.
    ///
    /// # Errors
    /// Why there is none; the same answer for `cooldown`, so that no stranger makes us ask again and again.
    pub async fn document(&self) -> Result<Bytes, FetchError> {
        if let Some(answer) = self.settled() {
            return answer;
        }
        let _turn = match (self.turn.try_lock(), self.usable()) {
            (Ok(turn), _) => turn,
            (Err(_), Some(old)) => return Ok(old),
            (Err(_), None) => self.turn.lock().await,
        };
        if let Some(answer) = self.settled() {
            return answer;
        }
        let fetched = self.fetch().await;
        let now = Instant::now();
        match fetched {
            Ok(document) => {
                *self.held() = Held { document: Some((document.clone(), now)), failed: None };
                Ok(document)
            }
            Err(error) => {
                tracing::warn!(issuer = self.name, %error, "the authorization server's metadata could not be fetched");
                self.held().failed = Some((error.clone(), now));
                self.usable().ok_or(error)
            }
        }
    }

    /// What needs no fetch: a fresh document, or a failure that is not old enough to try again.
    fn settled(&self) -> Option<Result<Bytes, FetchError>> {
        let held = self.held().clone();
        if let Some((document, since)) = held.document
            && since.elapsed() < self.times.cache
        {
            return Some(Ok(document));
        }
        let (error, since) = held.failed?;
        (since.elapsed() < self.times.cooldown).then(|| self.usable().ok_or(error))
    }

    fn usable(&self) -> Option<Bytes> {
        let lifetime: Duration = self.times.cache.saturating_add(self.times.stale);
        self.held().document.clone().filter(|(_, since)| since.elapsed() < lifetime).map(|(document, _)| document)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first place with a sound document; a host that does not answer is not asked for the next.
    async fn fetch(&self) -> Result<Bytes, FetchError> {
        let mut first = None;
        for place in &self.places {
            match self.fetch_at(place).await {
                Ok(document) => return Ok(document),
                Err(error @ (FetchError::Timeout | FetchError::Unreachable)) => return Err(error),
                Err(error) => first = Some(first.filter(|first| !matches!(first, FetchError::Status(404))).unwrap_or(error)),
            }
        }
        Err(first.unwrap_or(FetchError::Metadata))
    }

    async fn fetch_at(&self, place: &str) -> Result<Bytes, FetchError> {
        let url = http::permitted(place, self.allow_http)?;
        let text = self.http.get(&url, self.times.timeout).await?;
        let document: Map<String, Value> = serde_json::from_slice(&text).map_err(|_| FetchError::Metadata)?;
        let sound = sound(document.clone(), &self.issuer, self.allow_http, self.assume_s256)?;
        self.surfaces.see_document(&self.issuer, &text, &document);
        Ok(Value::Object(sound).to_string().into())
    }
}

/// The document as it may be passed on: of this issuer, with endpoints that a client may follow, without
/// members that have no value (RFC 8414 §3.2) and without `plain` PKCE (OAuth 2.1 §7.5.1).
fn sound(mut document: Map<String, Value>, issuer: &str, allow_http: bool, assume_s256: bool) -> Result<Map<String, Value>, FetchError> {
    match document.get("issuer").and_then(Value::as_str) {
        Some(said) if said == issuer => {}
        Some(said) => return Err(FetchError::Issuer(said.chars().take(200).collect())),
        None => return Err(FetchError::Member("issuer")),
    }
    // A signed copy would say what is changed here (RFC 8414 §2.1).
    document.remove("signed_metadata");
    document.retain(|_, value| !value.is_null());
    for name in ENDPOINTS {
        let Some(value) = document.get(name) else { continue };
        let url = value.as_str().ok_or(FetchError::Member(name))?;
        permitted(url, allow_http).map_err(|_| FetchError::Member(name))?;
    }
    for name in ["authorization_endpoint", "token_endpoint"] {
        document.get(name).ok_or(FetchError::Member(name))?;
    }
    match document.get_mut(PKCE) {
        Some(Value::Array(methods)) => methods.retain(|method| method != "plain"),
        Some(_) => return Err(FetchError::Member(PKCE)),
        None if assume_s256 => {
            document.insert(PKCE.into(), json!(["S256"]));
        }
        None => {}
    }
    document.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
    Ok(document)
}

#[cfg(test)]
mod tests;
