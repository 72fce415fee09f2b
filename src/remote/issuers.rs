//! The configured issuers, each with its live keys. A reload keeps the keys of an issuer that did not change.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;

use super::discovery::Remote;
use super::http::Http;
use super::keystore::Gate;
use super::{BuildError, Introspector, KeyStore, MetadataStore, Surfaces};
use crate::config::{Config, Issuer, KeySource};
use crate::governance::Acceptance;
use crate::token::{Basis, IssuerRules, KeySet, Verified};

/// By name in the configuration: two entries may speak of one issuer with different rules.
#[derive(Debug, Default)]
pub struct Issuers {
    http: Option<Http>,
    entries: BTreeMap<String, Entry>,
    surfaces: Arc<Surfaces>,
}

#[derive(Debug)]
struct Entry {
    issuer: Arc<Issuer>,
    store: Arc<KeyStore>,
    introspector: Option<Arc<Introspector>>,
    /// None where the operator names the keys and not the metadata.
    metadata: Option<Arc<MetadataStore>>,
}

impl Issuers {
    /// Fetches nothing yet: see [`Self::warm`]. Key files are read here.
    pub fn build(config: &Config, old: Option<&Self>) -> Result<Self, BuildError> {
        let surfaces = old.map_or_else(Arc::default, |old| old.surfaces.clone());
        let mut new = Self { http: old.and_then(|old| old.http.clone()), entries: BTreeMap::new(), surfaces };
        for (name, issuer) in &config.issuers {
            let store = match (&issuer.keys, old.and_then(|old| old.kept(name, issuer))) {
                (KeySource::File(path), _) => KeyStore::fixed(name, read(name, path)?),
                (KeySource::Nowhere, _) => KeyStore::fixed(name, KeySet::none()),
                (_, Some(store)) => store.clone(),
                (KeySource::Own, None) => KeyStore::own(name),
                (_, None) => {
                    let origin = Remote::new(new.http()?, issuer).shown_to(&new.surfaces);
                    let gate = Gate { issuer: issuer.rules.issuer.clone(), surfaces: new.surfaces.clone() };
                    KeyStore::gated(name, Box::new(origin), gate, issuer.times)
                }
            };
            let introspector = new.introspector(issuer, old.and_then(|old| old.entries.get(name)))?;
            let metadata = match (&issuer.keys, old.and_then(|old| old.kept_metadata(name, issuer))) {
                (KeySource::File(_) | KeySource::Jwks(_) | KeySource::Nowhere | KeySource::Own, _) => None,
                (_, Some(metadata)) => Some(metadata.clone()),
                (_, None) => Some(Arc::new(MetadataStore::new(new.http()?, issuer, &new.surfaces))),
            };
            new.entries.insert(name.clone(), Entry { issuer: issuer.clone(), store, introspector, metadata });
        }
        Ok(new)
    }

    /// What issuers publish, watched; the same through all reloads.
    pub fn surfaces(&self) -> &Arc<Surfaces> {
        &self.surfaces
    }

    /// What the configuration says of new keys rules from now on; also of `others`, by what they are remembered by.
    pub fn govern(&self, others: impl Iterator<Item = (String, Acceptance)>) {
        let acceptance = |entry: &Entry| (entry.issuer.rules.issuer.to_string(), entry.issuer.accept_new_keys);
        self.surfaces.keys.govern(self.entries.values().map(acceptance).chain(others));
    }

    /// The live keys of the issuer that these rules are for.
    pub fn find(&self, rules: &IssuerRules) -> Option<&Arc<KeyStore>> {
        self.entries.get(&rules.name).map(|entry| &entry.store)
    }

    /// Where to ask about a token, if the issuer that these rules are for is asked at all.
    pub fn find_introspector(&self, rules: &IssuerRules) -> Option<&Arc<Introspector>> {
        self.entries.get(&rules.name)?.introspector.as_ref()
    }

    /// In the order of their names.
    pub fn introspectors(&self) -> impl Iterator<Item = (&str, &Arc<Introspector>)> {
        self.entries.iter().filter_map(|(name, entry)| Some((name.as_str(), entry.introspector.as_ref()?)))
    }

    /// The metadata of the issuer that these rules are for, to be shown at our own origin.
    pub fn metadata(&self, rules: &IssuerRules) -> Option<&Arc<MetadataStore>> {
        self.entries.get(&rules.name)?.metadata.as_ref()
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<IssuerRules>, &Arc<KeyStore>)> {
        self.entries.values().map(|entry| (&entry.issuer.rules, &entry.store))
    }

    /// The `kid` of the key that verified a token; none for an introspected one, or a key without a name.
    pub fn key_name(&self, verified: &Verified) -> Option<String> {
        let Basis::Key(id) = verified.basis else { return None };
        let keys = self.find(&verified.rules)?.current()?;
        keys.keys().iter().find(|key| key.id() == id)?.kid().map(str::to_owned)
    }

    /// Fetches the first keys of all at once.
    pub async fn warm(&self) {
        join_all(self.entries.values().map(|entry| entry.store.warm())).await;
    }

    /// Whether there are keys of every issuer.
    pub fn has_keys(&self) -> bool {
        self.entries.values().all(|entry| entry.store.has_keys())
    }

    /// The store of an issuer whose keys still come from the same place at the same times.
    fn kept(&self, name: &str, new: &Issuer) -> Option<&Arc<KeyStore>> {
        let Entry { issuer: old, store, .. } = self.entries.get(name)?;
        comes_alike(old, new).then_some(store)
    }

    fn kept_metadata(&self, name: &str, new: &Issuer) -> Option<&Arc<MetadataStore>> {
        let Entry { issuer: old, metadata, .. } = self.entries.get(name)?;
        metadata.as_ref().filter(|_| comes_alike(old, new) && old.assume_s256 == new.assume_s256)
    }

    /// What was remembered of refusals holds only while nothing about the issuer changed.
    fn introspector(&mut self, issuer: &Arc<Issuer>, old: Option<&Entry>) -> Result<Option<Arc<Introspector>>, BuildError> {
        let Some(asked) = &issuer.introspection else { return Ok(None) };
        if let Some(Entry { introspector: Some(same), .. }) = old.filter(|old| old.issuer == *issuer) {
            return Ok(Some(same.clone()));
        }
        let before = old.and_then(|old| old.introspector.as_deref());
        Ok(Some(Introspector::over_http(self.http()?, &self.surfaces.clone(), issuer, asked, before)))
    }

    fn http(&mut self) -> Result<Http, BuildError> {
        let http = match self.http.take() {
            Some(http) => http,
            None => Http::new().map_err(|_| BuildError::Client)?,
        };
        Ok(self.http.insert(http).clone())
    }
}

/// From the same place at the same times.
fn comes_alike(old: &Issuer, new: &Issuer) -> bool {
    old.rules.issuer == new.rules.issuer && old.keys == new.keys && old.times == new.times && old.allow_http == new.allow_http
}

fn read(issuer: &str, path: &Path) -> Result<KeySet, BuildError> {
    let because = |why: String| BuildError::File { issuer: issuer.to_owned(), path: path.to_owned(), why };
    let text = std::fs::read(path).map_err(|error| because(error.to_string()))?;
    let keys = KeySet::parse(&text).map_err(|error| because(error.to_string()))?;
    if keys.is_empty() { Err(because("the key set has no usable key".into())) } else { Ok(keys) }
}

#[cfg(test)]
mod tests;
