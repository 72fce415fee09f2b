//! Metadata and published keys: public, for every origin.

use bytes::Bytes;
use http::{Method, Request};

use super::{Call, Fault, Reply, Server};
use crate::config::authorization_server::Offers;
use crate::oauth::server_metadata::{self, Description};

impl Server {
    /// RFC 8414 §3, OpenID Connect Discovery §4.
    pub(super) fn metadata(&self, call: &Call<'_>, request: &Request<Bytes>) -> Reply {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return Reply::method("GET, HEAD, OPTIONS");
        }
        let settings = call.settings;
        let Offers { authorize, registration, documents } = settings.offers();
        let mut scopes: Vec<&str> = settings.resources.iter().flat_map(|resource| &resource.advertised).map(String::as_str).collect();
        scopes.sort_unstable();
        scopes.dedup();
        let proofs: Vec<&str> = call.world.config.dpop.rules.algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
        let resources: Vec<&str> = settings.resources.iter().map(|resource| resource.resource.as_str()).collect();
        let about = Description {
            issuer: &settings.issuer,
            authorize,
            registration,
            documents,
            identity_assertions: !settings.identity_assertions.is_empty(),
            workloads: !settings.workloads.is_empty(),
            scopes: &scopes,
            proofs: &proofs,
            algorithm: settings.tokens.algorithm.as_str(),
            resources: &resources,
        };
        Reply::document(server_metadata::document(&about, request.uri().path().contains("openid-configuration")).into())
    }

    /// RFC 7517 §5.
    pub(super) async fn key_set(&self, call: &Call<'_>, request: &Request<Bytes>) -> Reply {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return Reply::method("GET, HEAD, OPTIONS");
        }
        match self.keys.current() {
            Some(ring) => Reply::document(ring.document(call.now)),
            None => Fault::NoKey.into(),
        }
    }
}
