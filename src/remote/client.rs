//! Who is asking an authorization server? The clock and the randomness of a proof; what it says is [`crate::route::client`]'s.

use std::time::SystemTime;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use url::form_urlencoded::Serializer;

use super::FetchError;
use crate::route::client::Client;

/// The form with the client's proof in it, or the header that goes beside it.
///
/// # Errors
/// [`FetchError::Client`], where nothing may be asked.
pub(super) fn prove(client: &Client, form: String) -> Result<(Option<HeaderValue>, String), FetchError> {
    // 128 random bits.
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| FetchError::Client)?;
    let mut form = Serializer::new(form);
    let header = client.prove(&mut form, SystemTime::now(), &URL_SAFE_NO_PAD.encode(bytes)).map_err(|_| FetchError::Client)?;
    Ok((header, form.finish()))
}
