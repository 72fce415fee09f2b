//! Where a login elsewhere sends people back to.

use bytes::Bytes;
use http::Request;

use super::{Call, Reply, Server};

impl Server {
    pub(super) async fn callback(&self, _call: &Call<'_>, _request: &Request<Bytes>) -> Reply {
        Reply::not_found()
    }
}
