//! What the gateway itself shows to an upstream with one request: a signed assertion.

use std::time::SystemTime;

use http::HeaderValue;

use crate::denial::Fault;
use crate::pipeline::Admitted;
use crate::route::Route;
use crate::state::Snapshot;

/// Headers that are made for one request.
#[derive(Default)]
pub struct Shown {
    pub assertion: Option<HeaderValue>,
}

impl Shown {
    pub fn gather(world: &Snapshot, route: &Route, admitted: &Admitted, now: SystemTime) -> Result<Self, Fault> {
        let mut shown = Self::default();
        if route.identity.asserts() {
            let assertion = world.assertions.header(route, &admitted.verified, &admitted.token, now);
            shown.assertion = Some(assertion.ok_or(Fault::Internal)?);
        }
        Ok(shown)
    }
}
