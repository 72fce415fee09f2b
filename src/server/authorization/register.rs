//! Clients that register themselves (RFC 7591, RFC 7592).

use bytes::Bytes;
use http::Request;

use super::{Call, Reply, Server};

impl Server {
    pub(super) async fn register(&self, _call: &Call<'_>, _request: &Request<Bytes>) -> Reply {
        Reply::not_found()
    }
}
