//! Which tokens were verified already? By digest, so that no token stays in memory.
//!
//! Bounded; only what verified enters, so a flood of forged tokens pushes nothing out. Whether the
//! signing key is still the issuer's is for the caller to ask: this room holds no keys.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::{Digest, Verified};

/// Sets that are shared; more are kept by their tokens alone.
const SETS: usize = 1_024;

#[derive(Debug)]
pub struct TokenCache {
    tokens: Cache<Digest, Arc<Verified>>,
    /// Scopes, groups and audiences: few sets, each in many tokens.
    sets: Cache<Arc<[String]>, Arc<[String]>>,
    /// Clients.
    texts: Cache<Arc<str>, Arc<str>>,
    kept: Vec<String>,
}

impl TokenCache {
    /// Remembers about `capacity` tokens, and of their claims those at the paths that anybody will ask for.
    pub fn new(capacity: usize, kept: Vec<String>) -> Self {
        Self { tokens: Cache::new(capacity), sets: Cache::new(SETS), texts: Cache::new(SETS), kept }
    }

    /// The paths of the claims that are remembered.
    pub fn kept(&self) -> &[String] {
        &self.kept
    }

    /// The same, with one copy of what many tokens have alike.
    pub fn share(&self, mut verified: Verified) -> Verified {
        verified.audience = same(&self.sets, verified.audience);
        if let Some(principal) = Arc::get_mut(&mut verified.principal) {
            principal.share(|set| same(&self.sets, set), |text| same(&self.texts, text));
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
