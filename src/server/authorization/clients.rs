//! The one place that finds a client, and says whether it may do anything.

use super::{Call, Fault, Server};
use crate::oauth::RegisteredClient;

/// Why there is no client to go on with.
#[derive(Debug)]
pub enum ClientFault {
    Unknown,
    /// Nobody has decided on it yet; holds the code to tell the operator.
    Pending(String),
    Suspended,
    Retired,
    /// Its document cannot be fetched now.
    Unreachable(&'static str),
    /// Its document, or its id, is not acceptable.
    Refused(&'static str),
    Fault(Fault),
}

impl Server {
    /// The client of this id, if it is approved.
    ///
    /// # Errors
    /// Why it may do nothing now.
    pub async fn client(&self, _call: &Call<'_>, _id: &str) -> Result<RegisteredClient, ClientFault> {
        Err(ClientFault::Unknown)
    }
}
