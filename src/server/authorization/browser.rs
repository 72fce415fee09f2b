//! One browser: what it is known by before anybody signed in, and what forms bring back from it.
//!
//! A form holds its whole request, sealed to the browser that was shown it. So nothing is stored for whoever only
//! looks, and no form of another browser, or of another site, opens (RFC 9700 §4.7).

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, ORIGIN};
use http::{Method, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cookies::Cookies;
use super::{Call, Fault, Server, secret};
use crate::mcp::seal::{NONCE, Owner, Purpose};
use crate::oauth::authorization::Parameters;

/// How long a page may stay open before its form is of no use, in seconds.
pub(super) const PAGE: u64 = 30 * 60;
const COOKIE: &str = "browser";

/// A browser, by the value of its cookie.
pub(super) struct Browser {
    id: String,
    /// To be sent along, where the cookie is new.
    pub set: Option<HeaderValue>,
}

impl Browser {
    /// The browser that sends this, or a new one.
    pub fn of<B>(call: &Call<'_>, request: &Request<B>) -> Result<Self, Fault> {
        let cookies = Cookies::of(call, request);
        if let Some(id) = cookies.read(COOKIE) {
            return Ok(Self { id: id.to_owned(), set: None });
        }
        let (id, _) = secret()?;
        let set = cookies.write(COOKIE, &id, None);
        Ok(Self { id, set })
    }

    /// The browser that sends this, if it was here before.
    pub fn known<B>(call: &Call<'_>, request: &Request<B>) -> Option<Self> {
        Some(Self { id: Cookies::of(call, request).read(COOKIE)?.to_owned(), set: None })
    }

    fn owner(&self) -> Owner {
        Owner::new(&[b"browser", self.id.as_bytes()])
    }
}

/// A form of ours as it comes back; none where it comes from elsewhere.
pub(super) fn posted(call: &Call<'_>, request: &Request<Bytes>) -> Option<Parameters> {
    let only = |name| {
        let mut all = request.headers().get_all(name).iter();
        match (all.next(), all.next()) {
            (None, _) => Some(None),
            (Some(only), None) => only.to_str().ok().map(Some),
            _ => None,
        }
    };
    let media = only(CONTENT_TYPE.as_str())?.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    // SECURITY: every browser says where a POST comes from. What says nothing still needs the sealed field and the cookie.
    let own = only(ORIGIN.as_str())?.is_none_or(|origin| origin == &*call.settings.issuer);
    let same = only("sec-fetch-site")?.is_none_or(|site| site == "same-origin");
    let is_form = request.method() == Method::POST && media.eq_ignore_ascii_case("application/x-www-form-urlencoded");
    (is_form && own && same).then(|| Parameters::parse(request.body()))
}

impl Server {
    /// What a form, or a step of a sign-in, brings back from this browser.
    pub(super) fn seal_for(&self, call: &Call<'_>, purpose: Purpose, browser: &Browser, what: &impl Serialize) -> Result<String, Fault> {
        let text = serde_json::to_string(what).map_err(|_| Fault::Unreadable)?;
        let mut nonce = [0; NONCE];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| Fault::Randomness)?;
        let sealer = self.keys.sealer()?;
        sealer.seal(purpose, &browser.owner(), &text, call.now.saturating_add(PAGE), nonce).ok_or(Fault::Randomness)
    }

    /// The same, opened; none where it was not sealed for this browser and purpose, or too long ago.
    pub(super) fn open_from<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        purpose: Purpose,
        browser: &Browser,
        sealed: &str,
    ) -> Result<Option<T>, Fault> {
        let text = self.keys.sealer()?.open(purpose, &browser.owner(), sealed, call.now);
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }
}
