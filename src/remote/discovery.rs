//! Where does an issuer keep its keys? From issuer to metadata to `jwks_uri` to the set.
//!
//! A document counts only for the issuer that it names, letter by letter (RFC 8414 §3.3). The address
//! found is kept for an hour, so that a rotation costs one request. Knows nothing of pace or of tokens.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::Url;

use super::http::{Http, permitted};
use super::keystore::Origin;
use super::{FetchError, Surfaces, http};
use crate::config::{Endpoint, Introspection, Issuer, KeySource};
use crate::token::KeySet;

/// How long a discovered `jwks_uri` is taken for granted.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Where the metadata of an issuer may stand, in the order to try: RFC 8414 §3.1, OpenID Connect
/// with the path likewise inserted, OpenID Connect Discovery §4 with the path in front.
pub fn candidates(issuer: &str) -> Vec<String> {
    let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
    let (scheme, rest) = issuer.split_once("://").unwrap_or(("https", issuer));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let origin = format!("{scheme}://{authority}");
    if path.is_empty() {
        return vec![format!("{origin}/.well-known/oauth-authorization-server"), format!("{origin}/.well-known/openid-configuration")];
    }
    vec![
        format!("{origin}/.well-known/oauth-authorization-server/{path}"),
        format!("{origin}/.well-known/openid-configuration/{path}"),
        format!("{origin}/{path}/.well-known/openid-configuration"),
    ]
}

/// The member of the metadata that is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Keys,
    Introspection,
}

/// The keys, or the introspection endpoint, of one configured issuer, over HTTP.
pub(super) struct Remote {
    http: Http,
    issuer: Arc<str>,
    source: KeySource,
    wanted: Wanted,
    /// Who looks at what is found.
    surfaces: Option<Arc<Surfaces>>,
    timeout: Duration,
    allow_http: bool,
    found: Mutex<Option<(Url, Instant)>>,
}

/// The members of RFC 8414 §2 that are read.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: Option<String>,
    introspection_endpoint: Option<String>,
}

impl Remote {
    pub(super) fn new(http: Http, issuer: &Issuer) -> Self {
        Self {
            http,
            issuer: issuer.rules.issuer.clone(),
            source: issuer.keys.clone(),
            wanted: Wanted::Keys,
            surfaces: None,
            timeout: issuer.times.timeout,
            allow_http: issuer.allow_http,
            found: Mutex::new(None),
        }
    }

    /// The documents that it finds are shown there.
    pub(super) fn shown_to(self, surfaces: &Arc<Surfaces>) -> Self {
        Self { surfaces: Some(surfaces.clone()), ..self }
    }

    /// Where the issuer answers about tokens; the same as for keys, but found in another member.
    pub(super) fn introspection(http: Http, issuer: &Issuer, asked: &Introspection) -> Self {
        let source = match &asked.endpoint {
            Endpoint::At(_) | Endpoint::Discovery => KeySource::Discovery,
            Endpoint::Metadata(url) => KeySource::Metadata(url.clone()),
        };
        Self { source, wanted: Wanted::Introspection, timeout: asked.timeout, ..Self::new(http, issuer) }
    }

    /// By discovery alone.
    pub(super) async fn endpoint(&self) -> Result<Url, FetchError> {
        self.address().await
    }

    async fn keys(&self) -> Result<KeySet, FetchError> {
        let url = self.address().await?;
        let fetched = self.http.get(&url, self.timeout).await;
        if matches!(fetched, Err(FetchError::Status(404 | 410))) {
            self.remember(None);
        }
        let keys = KeySet::parse(&fetched?).map_err(FetchError::Keys)?;
        if keys.is_empty() { Err(FetchError::NoKeys) } else { Ok(keys) }
    }

    async fn address(&self) -> Result<Url, FetchError> {
        let places = match &self.source {
            KeySource::Jwks(url) => return permitted(url, self.allow_http),
            KeySource::Metadata(url) => vec![url.clone()],
            KeySource::Discovery | KeySource::File(_) | KeySource::Nowhere | KeySource::Own => candidates(&self.issuer),
        };
        if let Some(url) = self.remembered() {
            return Ok(url);
        }
        let url = self.discover(&places).await?;
        self.remember(Some(url.clone()));
        Ok(url)
    }

    /// The first place with a fitting document; what went wrong at the first one otherwise. A host
    /// that does not answer is not asked for the next.
    async fn discover(&self, places: &[String]) -> Result<Url, FetchError> {
        let mut first = None;
        for place in places {
            match self.metadata(place).await {
                Ok(url) => return Ok(url),
                Err(error @ (FetchError::Timeout | FetchError::Unreachable)) => return Err(error),
                // Another place may be the right one: that there is nothing here says little.
                Err(error) => first = Some(first.filter(|first| !matches!(first, FetchError::Status(404))).unwrap_or(error)),
            }
        }
        Err(first.unwrap_or(FetchError::NoJwksUri))
    }

    async fn metadata(&self, place: &str) -> Result<Url, FetchError> {
        let url = http::permitted(place, self.allow_http)?;
        let text = self.http.get(&url, self.timeout).await?;
        let document: Map<String, Value> = serde_json::from_slice(&text).map_err(|_| FetchError::Metadata)?;
        let Metadata { issuer, jwks_uri, introspection_endpoint } = Metadata::deserialize(&document).map_err(|_| FetchError::Metadata)?;
        if *issuer != *self.issuer {
            return Err(FetchError::Issuer(issuer.chars().take(200).collect()));
        }
        if let Some(surfaces) = &self.surfaces {
            surfaces.see_document(&self.issuer, &text, &document);
        }
        let found = match self.wanted {
            Wanted::Keys => jwks_uri.ok_or(FetchError::NoJwksUri)?,
            Wanted::Introspection => introspection_endpoint.ok_or(FetchError::NoIntrospectionEndpoint)?,
        };
        permitted(&found, self.allow_http)
    }

    fn remembered(&self) -> Option<Url> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.as_ref().filter(|(_, since)| since.elapsed() < REMEMBERED).map(|(url, _)| url.clone())
    }

    fn remember(&self, url: Option<Url>) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = url.map(|url| (url, Instant::now()));
    }
}

impl Origin for Remote {
    fn fetch(&self) -> BoxFuture<'_, Result<KeySet, FetchError>> {
        Box::pin(self.keys())
    }
}

#[cfg(test)]
mod tests;
