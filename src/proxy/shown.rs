//! What the gateway itself shows to an upstream with one request: a signed assertion, an obtained token.

use http::HeaderValue;

use super::record::Tale;
use crate::denial::Fault;
use crate::pipeline::Admitted;
use crate::remote::upstream_token::Caller;
use crate::route::{Head, Route};
use crate::state::Snapshot;
use crate::token::{self, Credential, Scheme};

/// Headers that are made for one request.
#[derive(Default)]
pub struct Shown {
    pub assertion: Option<HeaderValue>,
    /// The value of `Authorization`.
    pub token: Option<HeaderValue>,
}

impl Shown {
    pub async fn gather(world: &Snapshot, route: &Route, head: &Head<'_>, admitted: &Admitted, tale: &mut Tale<'_>) -> Result<Self, Fault> {
        let mut shown = Self::default();
        if route.identity.asserts() {
            let assertion = world.assertions.header(route, &admitted.verified, &admitted.token, head.received);
            shown.assertion = Some(assertion.ok_or(Fault::Internal)?);
        }
        if route.grant.is_some() {
            let waiting = std::time::Instant::now();
            let token = world.upstream_tokens.header(route, caller(head, admitted)).await;
            tale.waited(waiting);
            shown.token = Some(token.map_err(|_| Fault::UpstreamCredential)?);
        }
        Ok(shown)
    }
}

/// Only the digest of a token is kept, so an exchange takes the token from the head. One that is bound to
/// its sender is not ours to exchange.
fn caller<'a>(head: &Head<'a>, admitted: &Admitted) -> Caller<'a> {
    let token = match token::credential(head.headers) {
        Ok(Credential::Presented { scheme: Scheme::Bearer, token }) if admitted.verified.bound.is_none() => Some(token),
        _ => None,
    };
    Caller { digest: admitted.token, token }
}
