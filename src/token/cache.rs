//! Which tokens were verified already? By digest, so that no token stays in memory.
//!
//! Bounded; only what verified enters, so a flood of forged tokens pushes nothing out. Whether the
//! signing key is still the issuer's is for the caller to ask: this room holds no keys.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::{Digest, Verified};

#[derive(Debug)]
pub struct TokenCache {
    tokens: Cache<Digest, Arc<Verified>>,
    kept: Vec<String>,
}

impl TokenCache {
    /// Remembers about `capacity` tokens, and of their claims those at the paths that anybody will ask for.
    pub fn new(capacity: usize, kept: Vec<String>) -> Self {
        Self { tokens: Cache::new(capacity), kept }
    }

    /// The paths of the claims that are remembered.
    pub fn kept(&self) -> &[String] {
        &self.kept
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
