//! Which tokens were verified already? By digest, so that no token stays in memory.
//!
//! Bounded; only what verified enters, so a flood of forged tokens pushes nothing out. Whether the
//! signing key is still the issuer's is for the caller to ask: this room holds no keys.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::{Digest, Verified};

#[derive(Debug)]
pub struct TokenCache(Cache<Digest, Arc<Verified>>);

impl TokenCache {
    /// Remembers about `capacity` tokens.
    pub fn new(capacity: usize) -> Self {
        Self(Cache::new(capacity))
    }

    /// What was verified, which may have expired since.
    pub fn find(&self, digest: &Digest) -> Option<Arc<Verified>> {
        self.0.get(digest)
    }

    pub fn insert(&self, digest: Digest, verified: Arc<Verified>) {
        self.0.insert(digest, verified);
    }

    pub fn forget(&self, digest: &Digest) {
        self.0.remove(digest);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }
}
