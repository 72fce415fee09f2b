//! Whose tokens are to be revoked? The request of Global Token Revocation (draft-parecki-oauth-global-token-revocation §3).

use super::{Fault, Happening, Kind, Subject};
use crate::token::json;

/// Reads `{"sub_id": …}`; what else is in it is ignored. `now` is in seconds since 1970.
///
/// # Errors
/// [`Fault::Malformed`] or [`Fault::Subject`].
pub fn request(body: &[u8], now: u64) -> Result<Happening, Fault> {
    let members = json::object(body).ok_or(Fault::Malformed)?;
    let subject = Subject::read(members.get("sub_id").ok_or(Fault::Subject)?)?;
    Ok(Happening { kind: Some(Kind::Request), subject, at: now })
}
