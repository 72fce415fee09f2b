//! Who asks at the token endpoint (RFC 6749 §2.3, RFC 7523 §2.2)? Exactly one proof, of the kind that the client has.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};

use super::reply::Answer;
use super::{Call, ClientFault, Reply, Server, digest};
use crate::oauth::assertion::Moment;
use crate::oauth::client_assertion::{self, ClientAssertion};
use crate::oauth::form::Form;
use crate::oauth::{ClientAuthentication, ClientKeys, Code, OAuthError, RegisteredClient};
use crate::store::authorization::Kind;
use crate::token::KeySet;

/// Tolerated difference of a client's clock.
const LEEWAY: std::time::Duration = std::time::Duration::from_secs(30);

/// A client that may ask.
pub(super) struct Asking {
    pub client: RegisteredClient,
    /// It has proven who it is; a public one cannot.
    pub is_proven: bool,
}

/// What was shown. Never printed.
enum Shown {
    Nothing,
    Secret { text: String, by_basic: bool },
    Assertion(String),
}

/// The parameters of a POST.
pub(super) fn form(request: &Request<Bytes>) -> Answer<Form> {
    let mut types = request.headers().get_all(CONTENT_TYPE).iter();
    let essence = types.next().and_then(|value| value.to_str().ok()?.split(';').next()).unwrap_or_default().trim();
    let is_form = essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") && types.next().is_none();
    if !is_form || request.headers().contains_key(CONTENT_ENCODING) {
        return Err(OAuthError::new(Code::InvalidRequest, "the body is to be `application/x-www-form-urlencoded`").into());
    }
    Ok(Form::parse(request.body())?)
}

/// Whether a client says who it is at all.
pub(super) fn is_named(request: &Request<Bytes>, form: &Form) -> bool {
    request.headers().contains_key(AUTHORIZATION)
        || ["client_id", "client_secret", "client_assertion"].iter().any(|name| form.one(name).is_some())
}

impl Server {
    /// The client that asks, which is approved.
    pub(super) async fn asking(&self, call: &Call<'_>, request: &Request<Bytes>, form: &Form) -> Answer<Asking> {
        let (id, shown) = shown(request, form)?;
        let by_basic = matches!(shown, Shown::Secret { by_basic: true, .. });
        let client = self.client(call, &id).await.map_err(|fault| barred(fault, by_basic, &id))?;
        let is_proven = match (&client.authentication, &shown) {
            (ClientAuthentication::None, Shown::Nothing) => false,
            (ClientAuthentication::Secret(expected), Shown::Secret { text, .. }) => {
                let found = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
                // SECURITY: digests, in constant time: neither length nor content shows.
                if verify_slices_are_equal(found.as_ref(), expected).is_err() {
                    return Err(unproven("the client is not who it says", by_basic).about(&id).into());
                }
                true
            }
            (ClientAuthentication::Keys(keys), Shown::Assertion(text)) => {
                self.prove_client(call, keys, &id, text).await.map_err(|reply| Box::new(reply.about(&id)))?;
                true
            }
            _ => return Err(unproven("the client is to prove itself as it is registered", by_basic).about(&id).into()),
        };
        Ok(Asking { client, is_proven })
    }

    /// RFC 7523 §3: by a key of the client's, for us, and once.
    async fn prove_client(&self, call: &Call<'_>, keys: &ClientKeys, id: &str, text: &str) -> Answer<()> {
        let refused = |flaw| unproven(flaw, false);
        let endpoint = call.settings.endpoint("/token");
        let audiences = [&*call.settings.issuer, endpoint.as_str()];
        let audiences = audiences.get(..if call.settings.tokens.allow_endpoint_audience { 2 } else { 1 }).unwrap_or_default();
        let at = Moment { now: call.origin.now, leeway: LEEWAY };
        let assertion = ClientAssertion::read(text, audiences, at).map_err(refused)?;
        let jwt = &assertion.jwt;
        let (kid, algorithm) = (jwt.key_id(), jwt.algorithm());
        let has = |set: &KeySet| set.find(kid, algorithm).next().is_some();
        let keys = self.client_keys(call, keys, has).await.map_err(|fault| barred(fault, false, id))?;
        jwt.signed_by(keys.find(kid, algorithm))
            .map_err(|_| unproven("the client assertion is not signed by a key of the client", false))?;
        let seen = digest(&format!("client assertion\n{}\n{}", assertion.client_id, assertion.id));
        let until = assertion.expires + 2 * LEEWAY.as_secs();
        match call.store.put_new_ticket(Kind::Seen, &seen, "", until, call.now).await.map_err(super::Fault::from)? {
            true => Ok(()),
            false => Err(unproven("the client assertion was used before", false).into()),
        }
    }
}

/// The id, and the one proof of it.
fn shown(request: &Request<Bytes>, form: &Form) -> Answer<(String, Shown)> {
    let invalid = |description| OAuthError::new(Code::InvalidRequest, description);
    let named = form.one("client_id");
    let basic = basic(request)?;
    let secret = form.one("client_secret");
    let assertion = form.one("client_assertion");
    let agrees = |id: String| match named {
        Some(named) if named != id => Err(invalid("`client_id` names another client")),
        _ => Ok(id),
    };
    match (basic, secret, assertion) {
        (Some((id, text)), None, None) => {
            let shown = if text.is_empty() { Shown::Nothing } else { Shown::Secret { text, by_basic: true } };
            Ok((agrees(id)?, shown))
        }
        (None, Some(text), None) => {
            let id = named.ok_or(invalid("`client_id` is missing"))?;
            Ok((id.to_owned(), Shown::Secret { text: text.to_owned(), by_basic: false }))
        }
        (None, None, Some(text)) => {
            if form.one("client_assertion_type") != Some(client_assertion::TYPE) {
                return Err(invalid("`client_assertion_type` is not one that is accepted").into());
            }
            let claimed = crate::token::Unverified::parse(text).map(|jwt| jwt.issuer().to_owned());
            let id = claimed.map_err(|_| unproven("the client assertion is no JWT that is accepted", false))?;
            Ok((agrees(id)?, Shown::Assertion(text.to_owned())))
        }
        (None, None, None) => {
            let id = named.ok_or_else(|| unproven("no client is named", false))?;
            Ok((id.to_owned(), Shown::Nothing))
        }
        _ => Err(invalid("the client proves itself in more than one way").into()),
    }
}

/// RFC 6749 §2.3.1: both parts are encoded as in a form.
fn basic(request: &Request<Bytes>) -> Answer<Option<(String, String)>> {
    let mut values = request.headers().get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let malformed = || unproven("the `Authorization` header is no HTTP Basic that is accepted", true);
    let decoded = || {
        let (scheme, text) = value.to_str().ok()?.split_once(' ')?;
        let text = scheme.eq_ignore_ascii_case("Basic").then(|| STANDARD.decode(text.trim()).ok())??;
        let (id, secret) = std::str::from_utf8(&text).ok()?.split_once(':')?;
        let plain = |part: &str| url::form_urlencoded::parse(format!("p={part}").as_bytes()).next().map(|(_, value)| value.into_owned());
        let is_one = |part: &str| !part.contains('&');
        (is_one(id) && is_one(secret)).then(|| Some((plain(id)?, plain(secret)?)))?
    };
    match (decoded(), values.next()) {
        (Some(pair), None) => Ok(Some(pair)),
        _ => Err(malformed().into()),
    }
}

/// RFC 6749 §5.2: 401, and a challenge for whoever came by HTTP Basic.
fn unproven(description: &'static str, by_basic: bool) -> Reply {
    let mut reply = Reply::error(OAuthError::new(Code::InvalidClient, description));
    if by_basic {
        reply.response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(r#"Basic realm="doorward""#));
    }
    reply
}

/// Why a client may not go on. One that is only not approved is told apart, or it would register again and again.
fn barred(fault: ClientFault, by_basic: bool, id: &str) -> Box<Reply> {
    let unauthorized = |description, reason| {
        let mut reply = Reply::error(OAuthError::new(Code::UnauthorizedClient, description));
        reply.told.reason = reason;
        reply
    };
    let reply = match fault {
        ClientFault::Unknown => unproven("no such client is known here", by_basic),
        ClientFault::Retired => unproven("the client is retired", by_basic),
        ClientFault::Refused(why) => unproven(why, by_basic),
        ClientFault::Pending(_) => unauthorized("nobody has approved the client yet", "client_pending"),
        ClientFault::Suspended => unauthorized("the client is suspended", "client_suspended"),
        ClientFault::Unreachable(_) => {
            Reply::error(OAuthError::new(Code::TemporarilyUnavailable, "the client's document cannot be fetched now"))
        }
        ClientFault::Fault(fault) => fault.into(),
    };
    Box::new(reply.about(id))
}
