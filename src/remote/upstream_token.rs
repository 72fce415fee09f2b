//! Tokens for upstreams, obtained once and kept until shortly before they expire.
//!
//! One for all callers, or one for each caller's token, under its digest alone. However many ask at
//! once, one request is under way for each. A token that is still good serves while its successor is fetched.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use quick_cache::sync::Cache;
use tokio::time::Instant;

use super::BuildError;
use super::http::Http;
use super::token_endpoint::{Giver, Obtained, Remote, TokenError};
use crate::config::Config;
use crate::route::Route;
use crate::route::grant::{Grant, GrantKind};
use crate::token::{Digest, Token};

/// Tokens kept for the callers of one upstream.
const KEPT: usize = 10_000;
/// A failure is the answer for this long, so that an authorization server in trouble is not flooded.
const PAUSE: Duration = Duration::from_secs(1);
/// After a token could not be renewed in good time.
const RETRY: Duration = Duration::from_secs(5);
/// A token that the upstream refuses is thrown away at most once in this time.
const REJECTIONS: Duration = Duration::from_secs(30);
/// Before its expiry a token is no longer sent: it has a way to go. At most this, and a tenth of its life.
const MARGIN: Duration = Duration::from_secs(5);

/// Whose token is asked for.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    pub digest: Digest,
    /// As sent, if it was a bearer token.
    pub token: Option<Token<'a>>,
}

/// By the upstream's name.
#[derive(Default)]
pub struct UpstreamTokens {
    http: Option<Http>,
    sources: BTreeMap<Arc<str>, Arc<Source>>,
}

struct Source {
    name: Arc<str>,
    grant: Grant,
    giver: Box<dyn Giver>,
    /// One without a digest where the token is the same for all callers.
    slots: Cache<Option<Digest>, Arc<Slot>>,
}

#[derive(Default)]
struct Slot {
    held: ArcSwapOption<Held>,
    /// Held across the request for a token: whoever else needs one waits here for the same.
    flight: tokio::sync::Mutex<Option<(Instant, TokenError)>>,
    renewing: AtomicBool,
    rejected: Mutex<Option<Instant>>,
}

#[derive(Clone)]
struct Held {
    value: HeaderValue,
    /// From when a successor is fetched.
    renew: Instant,
    /// From when it is not sent any more.
    end: Instant,
}

impl UpstreamTokens {
    /// Asks for nothing yet. Tokens of grants that did not change are taken over.
    pub fn build(config: &Config, old: Option<&Self>) -> Result<Self, BuildError> {
        let mut new = Self { http: old.and_then(|old| old.http.clone()), sources: BTreeMap::new() };
        for route in &config.routes {
            let Some(grant) = &route.grant else { continue };
            let kept = old.and_then(|old| old.sources.get(&route.name)).filter(|source| source.grant == *grant);
            let source = match kept {
                Some(source) => source.clone(),
                None => Arc::new(Source::new(route.name.clone(), grant, Box::new(Remote::new(new.http()?, grant.clone())))),
            };
            new.sources.insert(route.name.clone(), source);
        }
        Ok(new)
    }

    /// The `Authorization` value for this caller at this upstream. Waits only where none is kept.
    pub async fn header(&self, route: &Route, caller: Caller<'_>) -> Result<HeaderValue, TokenError> {
        let source = self.sources.get(&route.name).ok_or(TokenError::NoGrant)?;
        source.header(caller).await
    }

    /// The gateway's own token for this upstream, where it obtains one that is the same for all callers.
    pub async fn own(&self, route: &Route) -> Result<Option<HeaderValue>, TokenError> {
        match route.grant.as_ref().map(|grant| &grant.kind) {
            Some(GrantKind::ClientCredentials) => self.header(route, Caller { digest: Digest::default(), token: None }).await.map(Some),
            Some(GrantKind::Exchange { .. }) | None => Ok(None),
        }
    }

    /// The upstream did not accept this value: the next request gets another, unless that happened just now.
    pub fn reject(&self, route: &Route, digest: Digest, sent: &HeaderValue) {
        if let Some(source) = self.sources.get(&route.name) {
            source.reject(digest, sent);
        }
    }

    fn http(&mut self) -> Result<Http, BuildError> {
        let http = match self.http.take() {
            Some(http) => http,
            None => Http::new().map_err(|_| BuildError::Client)?,
        };
        Ok(self.http.insert(http).clone())
    }
}

impl Source {
    fn new(name: Arc<str>, grant: &Grant, giver: Box<dyn Giver>) -> Self {
        Self { name, grant: grant.clone(), giver, slots: Cache::new(KEPT) }
    }

    fn key(&self, digest: Digest) -> Option<Digest> {
        matches!(self.grant.kind, GrantKind::Exchange { .. }).then_some(digest)
    }

    async fn header(self: &Arc<Self>, caller: Caller<'_>) -> Result<HeaderValue, TokenError> {
        let slot = match self.slots.get_or_insert_with(&self.key(caller.digest), || Ok::<_, Infallible>(Arc::default())) {
            Ok(slot) => slot,
            Err(never) => match never {},
        };
        let now = Instant::now();
        if let Some(held) = slot.held.load_full().filter(|held| now < held.end) {
            if now >= held.renew {
                self.renew(&slot, &held, caller);
            }
            return Ok(held.value.clone());
        }
        self.fetch(&slot, caller).await
    }

    /// On the request's way: there is nothing that could be sent.
    async fn fetch(&self, slot: &Slot, caller: Caller<'_>) -> Result<HeaderValue, TokenError> {
        let mut failure = slot.flight.lock().await;
        let now = Instant::now();
        if let Some(held) = slot.held.load_full().filter(|held| now < held.end) {
            return Ok(held.value.clone());
        }
        if let Some((since, error)) = &*failure
            && since.elapsed() < PAUSE
        {
            return Err(error.clone());
        }
        match self.obtain(caller.token).await {
            Ok(held) => {
                let value = held.value.clone();
                slot.held.store(Some(Arc::new(held)));
                *failure = None;
                Ok(value)
            }
            Err(error) => {
                tracing::warn!(upstream = %self.name, %error, "no credential for the upstream");
                *failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Off the request's way, one at a time.
    fn renew(self: &Arc<Self>, slot: &Arc<Slot>, held: &Arc<Held>, caller: Caller<'_>) {
        if slot.renewing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (source, slot, held) = (self.clone(), slot.clone(), held.clone());
        // The caller's token is held until the answer is there, and by nobody else.
        let subject = caller.token.map(|token| token.as_str().to_owned());
        tokio::spawn(async move {
            let subject = subject.as_deref().and_then(|text| Token::new(text).ok());
            let next = source.obtain(subject).await.unwrap_or_else(|error| {
                tracing::warn!(upstream = %source.name, %error, "the credential for the upstream is not renewed yet");
                Held { renew: Instant::now() + RETRY, ..Held::clone(&held) }
            });
            // What was rejected meanwhile does not come back.
            slot.held.compare_and_swap(&held, Some(Arc::new(next)));
            slot.renewing.store(false, Ordering::Release);
        });
    }

    async fn obtain(&self, subject: Option<Token<'_>>) -> Result<Held, TokenError> {
        // It lives from when it was asked for: it may have been made at once, and been long on its way.
        let asked = Instant::now();
        let subject = subject.filter(|_| matches!(self.grant.kind, GrantKind::Exchange { .. }));
        let Obtained { value, lifetime } = self.giver.obtain(subject).await?;
        Ok(Held { value, renew: asked + lifetime * 3 / 4, end: asked + lifetime - MARGIN.min(lifetime / 10) })
    }

    fn reject(&self, digest: Digest, sent: &HeaderValue) {
        let Some(slot) = self.slots.get(&self.key(digest)) else { return };
        let Some(held) = slot.held.load_full().filter(|held| held.value == *sent) else { return };
        let mut rejected = slot.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        if rejected.is_some_and(|since| since.elapsed() < REJECTIONS) {
            return;
        }
        *rejected = Some(Instant::now());
        tracing::warn!(upstream = %self.name, "the upstream did not accept its credential, which is fetched anew");
        slot.held.compare_and_swap(&held, None);
    }
}

#[cfg(test)]
mod tests;
