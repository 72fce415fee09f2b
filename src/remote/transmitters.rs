//! Whose keys sign event tokens? The live keys of each configured transmitter.
//!
//! Found by SSF 1.0 §7.2: `/.well-known/ssf-configuration` with the transmitter's path behind it. A document counts
//! only for the transmitter that it names. A reload keeps the keys of one that did not change.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Deserialize;

use super::http::{Http, permitted};
use super::keystore::{Gate, Origin};
use super::{BuildError, FetchError, KeyStore, Surfaces};
use crate::config::{Config, KeySource, Transmitter};
use crate::governance::Acceptance;
use crate::token::KeySet;

/// By name of the entry in `signals`.
#[derive(Debug, Default)]
pub struct Transmitters {
    http: Option<Http>,
    entries: BTreeMap<Arc<str>, (Transmitter, Arc<KeyStore>)>,
}

impl Transmitters {
    /// Fetches nothing yet. Key files are read here. What is fetched is shown to `surfaces`.
    ///
    /// # Errors
    /// There can be no client, or a file cannot be read.
    pub fn build(config: &Config, surfaces: &Arc<Surfaces>, old: Option<&Self>) -> Result<Self, BuildError> {
        let mut new = Self { http: old.and_then(|old| old.http.clone()), entries: BTreeMap::new() };
        for signal in &config.signals {
            let Some(transmitter) = &signal.transmitter else { continue };
            let kept = old.and_then(|old| old.entries.get(&signal.name)).filter(|(before, _)| comes_alike(before, transmitter));
            let store = match (&transmitter.keys, kept) {
                (KeySource::File(path), _) => KeyStore::fixed(&signal.name, read(&signal.name, path)?),
                (_, Some((_, store))) => store.clone(),
                (_, None) => {
                    let gate = Gate { issuer: transmitter.surface().into(), surfaces: surfaces.clone() };
                    KeyStore::gated(&signal.name, Box::new(Remote::new(new.http()?, transmitter)), gate, transmitter.times)
                }
            };
            new.entries.insert(signal.name.clone(), (transmitter.clone(), store));
        }
        Ok(new)
    }

    /// The live keys of the transmitter of this entry in `signals`.
    pub fn find(&self, name: &str) -> Option<&Arc<KeyStore>> {
        self.entries.get(name).map(|(_, store)| store)
    }

    /// What the configuration says of the new keys of each, by what they are remembered by.
    pub fn acceptance(&self) -> impl Iterator<Item = (String, Acceptance)> {
        self.entries.values().map(|(transmitter, _)| (transmitter.surface(), transmitter.accept_new_keys))
    }

    /// By name of the entry in `signals`, with what its keys are remembered by.
    pub fn surfaces(&self) -> impl Iterator<Item = (&str, String)> {
        self.entries.iter().map(|(name, (transmitter, _))| (&**name, transmitter.surface()))
    }

    fn http(&mut self) -> Result<Http, BuildError> {
        let http = match self.http.take() {
            Some(http) => http,
            None => Http::new().map_err(|_| BuildError::Client)?,
        };
        Ok(self.http.insert(http).clone())
    }
}

fn comes_alike(old: &Transmitter, new: &Transmitter) -> bool {
    old.issuer == new.issuer && old.keys == new.keys && old.times == new.times && old.allow_http == new.allow_http
}

fn read(name: &str, path: &Path) -> Result<KeySet, BuildError> {
    let because = |why: String| BuildError::File { issuer: name.to_owned(), path: path.to_owned(), why };
    let text = std::fs::read(path).map_err(|error| because(error.to_string()))?;
    let keys = KeySet::parse(&text).map_err(|error| because(error.to_string()))?;
    if keys.is_empty() { Err(because("the key set has no usable key".into())) } else { Ok(keys) }
}

/// The keys of one transmitter, over HTTP.
struct Remote {
    http: Http,
    transmitter: Arc<str>,
    source: KeySource,
    timeout: Duration,
    allow_http: bool,
}

/// The members of SSF 1.0 §7.1 that are read.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: Option<String>,
}

impl Remote {
    fn new(http: Http, transmitter: &Transmitter) -> Self {
        let Transmitter { issuer, keys, times, allow_http, accept_new_keys: _ } = transmitter;
        Self { http, transmitter: issuer.clone(), source: keys.clone(), timeout: times.timeout, allow_http: *allow_http }
    }

    async fn keys(&self) -> Result<KeySet, FetchError> {
        let place = match &self.source {
            KeySource::Jwks(url) => url.clone(),
            KeySource::Metadata(url) => self.jwks_uri(url).await?,
            KeySource::Discovery | KeySource::File(_) | KeySource::Nowhere | KeySource::Own => {
                self.jwks_uri(&metadata_url(&self.transmitter)).await?
            }
        };
        let text = self.http.get(&permitted(&place, self.allow_http)?, self.timeout).await?;
        let keys = KeySet::parse(&text).map_err(FetchError::Keys)?;
        if keys.is_empty() { Err(FetchError::NoKeys) } else { Ok(keys) }
    }

    async fn jwks_uri(&self, place: &str) -> Result<String, FetchError> {
        let text = self.http.get(&permitted(place, self.allow_http)?, self.timeout).await?;
        let Metadata { issuer, jwks_uri } = serde_json::from_slice(&text).map_err(|_| FetchError::Metadata)?;
        // SECURITY: SSF 1.0 §7.2.3: another's document names another's keys.
        if issuer != *self.transmitter {
            return Err(FetchError::Issuer(issuer.chars().take(200).collect()));
        }
        jwks_uri.ok_or(FetchError::NoJwksUri)
    }
}

impl Origin for Remote {
    fn fetch(&self) -> BoxFuture<'_, Result<KeySet, FetchError>> {
        Box::pin(self.keys())
    }
}

/// SSF 1.0 §7.2.1: between host and path.
fn metadata_url(transmitter: &str) -> String {
    let plain = transmitter.strip_suffix('/').unwrap_or(transmitter);
    let (scheme, rest) = plain.split_once("://").unwrap_or(("https", plain));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let slash = if path.is_empty() { "" } else { "/" };
    format!("{scheme}://{authority}/.well-known/ssf-configuration{slash}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_stands_between_host_and_path() {
        let at = |transmitter| metadata_url(transmitter);
        assert_eq!(at("https://tr.example.com"), "https://tr.example.com/.well-known/ssf-configuration");
        assert_eq!(at("https://tr.example.com/"), "https://tr.example.com/.well-known/ssf-configuration");
        assert_eq!(at("https://tr.example.com:8443/issuer1/a"), "https://tr.example.com:8443/.well-known/ssf-configuration/issuer1/a");
    }
}
