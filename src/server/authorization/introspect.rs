//! What a token says (RFC 7662).

use bytes::Bytes;
use http::Request;

use super::{Call, Reply, Server};

impl Server {
    pub(super) async fn introspect(&self, _call: &Call<'_>, _request: &Request<Bytes>) -> Reply {
        Reply::not_found()
    }
}
