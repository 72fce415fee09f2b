//! Which tokens were verified already? By digest, so that no token stays in memory.
//!
//! Bounded; only what verified enters, so a flood of forged tokens pushes nothing out. Whether the
//! signing key is still the issuer's is for the caller to ask: this room holds no keys.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::{Digest, Marker, Verified};
use crate::principal::Alike;

/// Copies that are shared, of each kind; more are kept by their tokens alone.
const SHARED: usize = 1_024;

#[derive(Debug)]
pub struct TokenCache {
    tokens: Cache<Digest, Arc<Verified>>,
    audiences: Cache<Arc<[String]>, Arc<[String]>>,
    /// Client, scopes and groups: few, each in many tokens.
    alike: Cache<Arc<Alike>, Arc<Alike>>,
    kept: Vec<String>,
    /// Where revocations are kept.
    marker: Option<Marker>,
}

impl TokenCache {
    /// Remembers about `capacity` tokens, and of their claims those at the paths that anybody will ask for.
    pub fn new(capacity: usize, kept: Vec<String>) -> Self {
        Self { tokens: Cache::new(capacity), audiences: Cache::new(SHARED), alike: Cache::new(SHARED), kept, marker: None }
    }

    /// The same, with what each token can be revoked by.
    #[must_use]
    pub fn marking(mut self, marker: Option<Marker>) -> Self {
        self.marker = marker;
        self
    }

    /// Makes what a token can be revoked by; none where revocations are not kept.
    pub fn marker(&self) -> Option<&Marker> {
        self.marker.as_ref()
    }

    /// The paths of the claims that are remembered.
    pub fn kept(&self) -> &[String] {
        &self.kept
    }

    /// The same, with one copy of what many tokens have alike.
    pub fn share(&self, mut verified: Verified) -> Verified {
        verified.audience = same(&self.audiences, verified.audience);
        if let Some(principal) = Arc::get_mut(&mut verified.principal) {
            principal.share(|alike| same(&self.alike, alike));
        }
        verified
    }

    /// What was verified, which may have expired since.
    pub fn find(&self, digest: &Digest) -> Option<Arc<Verified>> {
        self.tokens.get(digest)
    }

    pub fn insert(&self, digest: Digest, verified: Arc<Verified>) {
        self.tokens.insert(digest, verified);
    }

    pub fn forget(&self, digest: &Digest) {
        self.tokens.remove(digest);
    }

    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tokens.len() == 0
    }
}

/// The copy that is there already, or this one from now on.
fn same<T: ?Sized + Eq + std::hash::Hash>(shelf: &Cache<Arc<T>, Arc<T>>, one: Arc<T>) -> Arc<T> {
    shelf.get(&one).unwrap_or_else(|| {
        shelf.insert(one.clone(), one.clone());
        one
    })
}
