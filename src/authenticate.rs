//! Who? The one step that may wait: a token, the rules of its issuer and that issuer's live keys make a caller.
//!
//! A token that was verified before is recalled without waiting, and judged anew by all that may
//! have changed since: time, rules, keys, route. Knows nothing of requests.

use std::sync::Arc;
use std::time::SystemTime;

use crate::remote::{Issuers, KeyStore};
use crate::route::Route;
use crate::token::{Digest, Error, IssuerRules, Token, TokenCache, Unverified, Verified};

/// The caller that a token proves which is not remembered, at this route and now.
pub async fn prove(
    token: Token<'_>,
    digest: Digest,
    route: &Route,
    issuers: &Issuers,
    cache: &TokenCache,
    now: SystemTime,
) -> Result<Arc<Verified>, Error> {
    let unverified = Unverified::parse(token.as_str())?;
    let rules = route.issuers.iter().find(|rules| *rules.issuer == *unverified.issuer()).ok_or(Error::Issuer)?;
    unverified.check(rules, now)?;
    let store = issuers.find(rules).ok_or(Error::KeysUnavailable)?;
    let verified = Arc::new(cache.share(verify(&unverified, rules, store, cache.kept()).await?));
    // Remembered even if it is not for this route: the next such request is refused without cryptography.
    cache.insert(digest, verified.clone());
    accept(verified, route)
}

/// The answer for a token that was verified before, if what is remembered still decides. Never waits.
pub fn recall(
    digest: &Digest,
    route: &Route,
    issuers: &Issuers,
    cache: &TokenCache,
    now: SystemTime,
) -> Option<Result<Arc<Verified>, Error>> {
    let verified = cache.find(digest)?;
    // Under other rules, those of another route or of a reload, it proves nothing.
    let rules = route.issuers.iter().find(|rules| Arc::ptr_eq(rules, &verified.rules) || **rules == verified.rules)?;
    if !verified.is_live(now, rules.leeway) {
        cache.forget(digest);
        return Some(Err(Error::Expired));
    }
    // SECURITY: a key that its issuer withdrew takes its tokens with it.
    if !issuers.find(rules)?.current()?.contains(verified.key) {
        cache.forget(digest);
        return None;
    }
    Some(accept(verified, route))
}

/// An unknown key may only be new: the token waits for a fetch before it is refused. A token without
/// `kid` cannot name its key, so there a signature by none of those held may be by a new one.
async fn verify(unverified: &Unverified<'_>, rules: &Arc<IssuerRules>, store: &Arc<KeyStore>, kept: &[String]) -> Result<Verified, Error> {
    let (kid, algorithm) = (unverified.key_id(), unverified.algorithm());
    let keys = store.keys().await?;
    let first = unverified.verify(rules, keys.find(kid, algorithm), kept);
    let newer = match first {
        Err(Error::UnknownKey) => store.learn(|keys| keys.find(kid, algorithm).next().is_some()).await,
        Err(Error::Signature) if kid.is_none() => store.learn(|newer| newer.version() != keys.version()).await,
        decided => return decided,
    };
    match newer {
        Some(keys) => unverified.verify(rules, keys.find(kid, algorithm), kept),
        None => first,
    }
}

/// Was the token issued for this resource (RFC 8707 §2, RFC 9068 §4)? Also with one slash at its end,
/// as some clients type it; unless the issuer's rules name other audiences.
fn accept(verified: Arc<Verified>, route: &Route) -> Result<Arc<Verified>, Error> {
    let ours = &verified.rules.audience;
    let is_resource = |audience: &String| *audience == route.resource || audience.strip_suffix('/') == Some(route.resource.as_str());
    let named = verified.audience.iter().any(|audience| if ours.is_empty() { is_resource(audience) } else { ours.contains(audience) });
    if named { Ok(verified) } else { Err(Error::Audience) }
}

#[cfg(test)]
mod tests;
