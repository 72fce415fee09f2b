//! The token endpoint (RFC 6749 §3.2).

use bytes::Bytes;
use http::Request;

use super::{Call, Reply, Server};

impl Server {
    pub(super) async fn token(&self, _call: &Call<'_>, _request: &Request<Bytes>) -> Reply {
        Reply::not_found()
    }
}
