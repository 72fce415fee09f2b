//! What do clients publish of themselves? Documents and key sets at addresses that strangers name.
//!
//! SECURITY: a name is looked up once, every address it has is judged, and the connection goes to those very addresses;
//! no redirect is followed. So no document can make us ask inside the network that we stand in, and no second look-up
//! can give another answer. What was not sound is not kept (draft-ietf-oauth-client-id-metadata-document §4.3, §6.5).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use quick_cache::sync::Cache;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::{Host, Url};

use super::http::{self, explain};
use super::special::Reach;
use super::{BuildError, FetchError};
use crate::oauth::client_document::{self, DocumentFault};
use crate::oauth::client_id::DocumentUrl;
use crate::oauth::registration::Metadata;
use crate::token::KeySet;

/// Bytes of the largest document, and of the largest key set.
const LARGEST: usize = 5 << 10;
const LARGEST_KEYS: usize = 32 << 10;
/// From the look-up of the name to the last byte.
const PATIENCE: Duration = Duration::from_secs(5);
/// At once, for all clients.
const FETCHES: usize = 16;
/// Documents, and key sets, that are kept.
const KEPT: usize = 1_000;
/// How long a key set is kept, and how soon it may be fetched anew for a key that it lacks.
const KEYS_FRESH: Duration = Duration::from_secs(600);
const KEYS_COOLDOWN: Duration = Duration::from_secs(30);

/// How long a document is kept, whatever its headers say.
#[derive(Clone, Copy, Debug)]
pub struct Freshness {
    pub least: Duration,
    pub most: Duration,
    /// Where it says nothing.
    pub silent: Duration,
}

impl Default for Freshness {
    fn default() -> Self {
        Self { least: Duration::from_secs(60), most: Duration::from_secs(24 * 3600), silent: Duration::from_secs(300) }
    }
}

/// Why there is no document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentError {
    Fetch(FetchError),
    Document(DocumentFault),
}

impl DocumentError {
    /// Whether it says nothing about the document: the next try may find it as it was.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Fetch(FetchError::Timeout | FetchError::Unreachable | FetchError::Status(429 | 500..)))
    }
}

impl std::fmt::Display for DocumentError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fetch(error) => error.fmt(f),
            Self::Document(fault) => f.write_str(fault.text()),
        }
    }
}

/// How a name is looked up.
type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// Fetches and keeps what clients publish.
pub struct ClientDocuments {
    client: reqwest::Client,
    reach: Arc<Reach>,
    freshness: Freshness,
    fetches: Semaphore,
    documents: Cache<String, Held<Metadata>>,
    keys: Cache<String, Held<KeySet>>,
}

/// Something that was fetched.
struct Held<T> {
    what: Arc<T>,
    fetched: Instant,
    until: Instant,
}

impl<T> Clone for Held<T> {
    fn clone(&self) -> Self {
        Self { what: self.what.clone(), ..*self }
    }
}

impl ClientDocuments {
    /// A process crypto provider must be installed before.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(reach: Reach) -> Result<Self, BuildError> {
        let system =
            |name: String| -> BoxFuture<'static, _> { Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) }) };
        Self::with(reach, Freshness::default(), Arc::new(system))
    }

    fn with(reach: Reach, freshness: Freshness, lookup: Lookup) -> Result<Self, BuildError> {
        let reach = Arc::new(reach);
        let resolver = Resolver { lookup, reach: reach.clone() };
        let client = http::builder().dns_resolver(Arc::new(resolver)).build().map_err(|_| BuildError::Client)?;
        let (documents, keys) = (Cache::new(KEPT), Cache::new(KEPT));
        Ok(Self { client, reach, freshness, fetches: Semaphore::new(FETCHES), documents, keys })
    }

    /// A document that is held and still fresh.
    pub fn held(&self, url: &DocumentUrl) -> Option<Arc<Metadata>> {
        self.documents.get(url.url().as_str()).filter(|held| held.until > Instant::now()).map(|held| held.what)
    }

    /// The client's document, fetched unless it is held. Those who ask for it at once share one fetch.
    ///
    /// # Errors
    /// Why there is none, or none that is sound.
    pub async fn get(&self, url: &DocumentUrl) -> Result<Arc<Metadata>, DocumentError> {
        if let Some(metadata) = self.held(url) {
            return Ok(metadata);
        }
        let id = url.url().as_str();
        self.documents.remove(id);
        let fetch = async {
            let (text, fresh) = self.fetch(url.url(), LARGEST).await.map_err(DocumentError::Fetch)?;
            let metadata = client_document::read(&text, url, self.reach.loopback).map_err(DocumentError::Document)?;
            Ok(Held::new(metadata, self.freshness.of(fresh)))
        };
        self.documents.get_or_insert_async(id, fetch).await.map(|held| held.what)
    }

    /// Whether a key set is held, so that a fetch of it is paced.
    pub fn holds_keys(&self, place: &str) -> bool {
        self.keys.get(place).is_some_and(|held| held.until > Instant::now())
    }

    /// The key set at a client's `jwks_uri`. One that is not `wanted`, for want of a key, is fetched anew now and then.
    ///
    /// # Errors
    /// Why there is none. A set that is held is better than none.
    pub async fn keys(&self, place: &str, wanted: impl Fn(&KeySet) -> bool) -> Result<Arc<KeySet>, FetchError> {
        let (held, now) = (self.keys.get(place), Instant::now());
        if let Some(held) = &held {
            let is_enough = held.until > now && wanted(&held.what);
            if is_enough || held.fetched + KEYS_COOLDOWN > now {
                return Ok(held.what.clone());
            }
        }
        let fetched = async {
            let url = DocumentUrl::parse(place, self.reach.loopback).map_err(|_| FetchError::Url(place.to_owned()))?;
            let (text, _) = self.fetch(url.url(), LARGEST_KEYS).await?;
            let keys = KeySet::parse(&text).map_err(FetchError::Keys)?;
            if keys.is_empty() { Err(FetchError::NoKeys) } else { Ok(Held::new(keys, KEYS_FRESH)) }
        };
        match (fetched.await, held) {
            (Ok(fetched), _) => {
                self.keys.insert(place.to_owned(), fetched.clone());
                Ok(fetched.what)
            }
            (Err(error), Some(held)) if held.until > now => {
                tracing::warn!(%error, "the keys of a client cannot be fetched anew");
                self.keys.insert(place.to_owned(), Held { fetched: now, ..held.clone() });
                Ok(held.what)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// The body of a 200 that is JSON, and for how long its headers say that it is fresh.
    async fn fetch(&self, url: &Url, largest: usize) -> Result<(Bytes, Option<Duration>), FetchError> {
        self.check(url)?;
        let fetch = async {
            let _place = self.fetches.acquire().await.map_err(|_| FetchError::Unreachable)?;
            let answer = self.client.get(url.clone()).send().await.map_err(forbidden)?;
            if answer.status() != reqwest::StatusCode::OK {
                return Err(FetchError::Status(answer.status().as_u16()));
            }
            check_media(answer.headers())?;
            let fresh = fresh(answer.headers());
            Ok((http::read(answer, largest).await?, fresh))
        };
        tokio::time::timeout(PATIENCE, fetch).await.unwrap_or(Err(FetchError::Timeout))
    }

    /// SECURITY: an address in the URL itself is never looked up, so it is judged here.
    fn check(&self, url: &Url) -> Result<(), FetchError> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            _ => None,
        };
        if address.is_some_and(|address| !self.reach.permits(address)) { Err(FetchError::Special) } else { Ok(()) }
    }
}

impl<T> Held<T> {
    fn new(what: T, fresh: Duration) -> Self {
        let now = Instant::now();
        Self { what: Arc::new(what), fetched: now, until: now + fresh }
    }
}

impl Freshness {
    fn of(&self, stated: Option<Duration>) -> Duration {
        stated.unwrap_or(self.silent).clamp(self.least, self.most)
    }
}

/// Looks a name up once, and lets through what may be connected to.
struct Resolver {
    lookup: Lookup,
    reach: Arc<Reach>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (looked_up, reach) = ((self.lookup)(name.as_str().to_owned()), self.reach.clone());
        Box::pin(async move {
            let found = looked_up.await?;
            // SECURITY: one closed address spoils the name, for whoever set it up does not mean well.
            if found.is_empty() || found.iter().any(|address| !reach.permits(address.ip())) {
                return Err(Closed.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[derive(Debug)]
struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the name leads to an address for special use")
    }
}

impl std::error::Error for Closed {}

fn forbidden(error: reqwest::Error) -> FetchError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(&error);
    while let Some(one) = cause {
        if one.is::<Closed>() {
            return FetchError::Special;
        }
        cause = one.source();
    }
    explain(error)
}

/// `application/json`, or another kind of JSON object.
fn check_media(headers: &HeaderMap) -> Result<(), FetchError> {
    let stated = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = stated.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = kind == "application/json" || kind.starts_with("application/") && kind.ends_with("+json");
    if is_json { Ok(()) } else { Err(FetchError::MediaType(kind.chars().take(100).collect())) }
}

/// What is left of `max-age` (RFC 9111 §5.2.2); nothing where it may not be kept at all.
fn fresh(headers: &HeaderMap) -> Option<Duration> {
    let stated: Vec<String> =
        headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok()).map(str::to_ascii_lowercase).collect();
    let directives = || stated.iter().flat_map(|value| value.split(',')).map(str::trim);
    if directives().any(|one| matches!(one, "no-store" | "no-cache")) {
        return Some(Duration::ZERO);
    }
    let seconds = |name: &str| directives().find_map(|one| one.strip_prefix(name)?.trim_matches('"').parse::<u64>().ok());
    let most = seconds("s-maxage=").or_else(|| seconds("max-age="))?;
    let age = headers.get(AGE).and_then(|value| value.to_str().ok()?.parse::<u64>().ok()).unwrap_or(0);
    Some(Duration::from_secs(most.saturating_sub(age)))
}

#[cfg(test)]
mod tests;
