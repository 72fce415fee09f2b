//! Which clients a person let in, and the end of that.

use bytes::Bytes;
use http::Request;

use super::{Call, Reply, Server};

impl Server {
    pub(super) async fn connected(&self, _call: &Call<'_>, _request: &Request<Bytes>) -> Reply {
        Reply::not_found()
    }
}
