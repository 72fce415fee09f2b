//! What all pages have in common.

use bytes::Bytes;
use http::Request;

use super::{Call, Reply, Server};

impl Server {
    /// Style sheets and the like.
    pub(super) fn asset(&self, _call: &Call<'_>, _request: &Request<Bytes>) -> Reply {
        Reply::not_found()
    }
}
