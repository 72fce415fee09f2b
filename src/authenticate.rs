//! Who? The one step that may wait: a token, the rules of its issuer and that issuer's live keys, or its answer, make a caller.
//!
//! A token that was verified before is recalled without waiting, and judged anew by all that may
//! have changed since: time, rules, keys, route. Knows nothing of requests.

use std::sync::Arc;
use std::time::SystemTime;

use crate::remote::introspection::{Introspector, Told};
use crate::remote::{Issuers, KeyStore};
use crate::route::Route;
use crate::token::{Basis, Digest, Error, IssuerRules, Token, TokenCache, Unverified, Verified, Written, introspection};

/// The caller that a token proves which is not remembered, at this route and now.
pub async fn prove(
    token: Token<'_>,
    digest: Digest,
    route: &Route,
    issuers: &Issuers,
    cache: &TokenCache,
    now: SystemTime,
) -> Result<Arc<Verified>, Error> {
    let unverified = Unverified::parse(token.as_str());
    if let Some((rules, introspector)) = to_ask(token, &unverified, route, issuers) {
        let verified = introspect(token, digest, rules, introspector, cache, now).await?;
        cache.insert(digest, verified.clone());
        return accept(verified, route);
    }
    let unverified = unverified?;
    let rules = route.issuers.iter().find(|rules| *rules.issuer == *unverified.issuer()).ok_or(Error::Issuer)?;
    unverified.check(rules, now)?;
    let store = issuers.find(rules).ok_or(Error::KeysUnavailable)?;
    let mut verified = verify(&unverified, rules, store, cache.kept()).await?;
    verified.marks = cache.marker().map(|marker| Box::new(unverified.marks(marker)));
    let verified = Arc::new(cache.share(verified));
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
    let holds = match verified.basis {
        // SECURITY: beyond its time an answer is worth nothing, whether or not there is another.
        Basis::Answer { until, .. } => now < until,
        _ if !verified.is_live(now, rules.leeway) => {
            cache.forget(digest);
            return Some(Err(Error::Expired));
        }
        // SECURITY: a key that its issuer withdrew takes its tokens with it.
        Basis::Key(key) => issuers.find(rules)?.current()?.contains(key),
    };
    if !holds {
        cache.forget(digest);
        return None;
    }
    Some(accept(verified, route))
}

/// The issuer to ask about this token, if it is not one to verify here: the one of the route's issuers
/// that has `introspection`. It is asked about what is no signed JWT, and about JWTs that name it
/// where it has no keys; every other JWT is judged by its signature alone.
fn to_ask<'a>(
    token: Token<'_>,
    read: &Result<Unverified<'_>, Error>,
    route: &'a Route,
    issuers: &'a Issuers,
) -> Option<(&'a Arc<IssuerRules>, &'a Arc<Introspector>)> {
    let (rules, introspector) = route.issuers.iter().find_map(|rules| Some((rules, issuers.find_introspector(rules)?)))?;
    let names = |issuer: Option<&str>| introspector.only() && issuer == Some(&*rules.issuer);
    let asks = match read {
        Ok(unverified) => names(Some(unverified.issuer())),
        Err(_) => match introspection::written(token) {
            Written::Opaque => true,
            Written::Jwt(issuer) => names(issuer.as_deref()),
        },
    };
    asks.then_some((rules, introspector))
}

/// What the issuer's answer proves. A refusal is remembered apart, so that repeating it costs no question.
async fn introspect(
    token: Token<'_>,
    digest: Digest,
    rules: &Arc<IssuerRules>,
    introspector: &Arc<Introspector>,
    cache: &TokenCache,
    now: SystemTime,
) -> Result<Arc<Verified>, Error> {
    let Told { answer, asked } = introspector.ask(token, digest, now).await?;
    let verified = answer.verify(rules, introspector.answers(), asked, cache.kept());
    let mut verified = verified.inspect_err(|error| introspector.refuse(digest, *error))?;
    verified.marks = cache.marker().and_then(|marker| answer.marks(marker, rules, token)).map(Box::new);
    Ok(Arc::new(cache.share(verified)))
}

/// By the issuer's live keys, those among them that are new to us.
async fn verify(unverified: &Unverified<'_>, rules: &Arc<IssuerRules>, store: &Arc<KeyStore>, kept: &[String]) -> Result<Verified, Error> {
    let (kid, algorithm) = (unverified.key_id(), unverified.algorithm());
    store.verify(kid, algorithm, |keys| unverified.verify(rules, keys.find(kid, algorithm), kept)).await
}

/// Was the token issued for this resource (RFC 8707 §2, RFC 9068 §4)? Also with one slash at its end,
/// as some clients type it; unless the issuer's rules name other audiences.
fn accept(verified: Arc<Verified>, route: &Route) -> Result<Arc<Verified>, Error> {
    let ours = &verified.rules.audience;
    let is_resource = |audience: &String| *audience == route.resource || audience.strip_suffix('/') == Some(route.resource.as_str());
    let named = verified.audience.iter().any(|audience| if ours.is_empty() { is_resource(audience) } else { ours.contains(audience) });
    let is_any = matches!(verified.basis, Basis::Answer { any_audience: true, .. });
    if named || is_any { Ok(verified) } else { Err(Error::Audience) }
}

#[cfg(test)]
mod tests;
