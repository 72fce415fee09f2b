//! Metadata and published keys: public, for every origin.

use bytes::Bytes;
use http::{Method, Request};

use super::{Call, Reply, Server};

impl Server {
    /// RFC 8414 §3, OpenID Connect Discovery §4.
    pub(super) fn metadata(&self, _call: &Call<'_>, _request: &Request<Bytes>) -> Reply {
        Reply::not_found()
    }

    /// RFC 7517 §5.
    pub(super) async fn key_set(&self, call: &Call<'_>, request: &Request<Bytes>) -> Reply {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return Reply::method("GET, HEAD");
        }
        match self.keys.current() {
            Some(ring) => Reply::document(ring.document(call.now)),
            None => super::Fault::NoKey.into(),
        }
    }
}
