//! What a token says (RFC 7662), to those who prove who they are: of their own tokens, or of all where the operator says so.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::{Map, Value, json};

use super::client_authentication::form;
use super::reply::Answer;
use super::{Call, Fault, Reply, Server, digest};
use crate::authenticate;
use crate::governance::Asked;
use crate::governance::client::Place;
use crate::oauth::{Code, OAuthError};
use crate::store::authorization::{Grant, Refresh};
use crate::token::{Token, Unverified, Verified};

/// A token of ours, whether or not it is still good.
#[expect(clippy::large_enum_variant, reason = "one a request, taken apart at once")]
pub(super) enum Told {
    Access { verified: Arc<Verified>, claims: Map<String, Value>, is_good: bool },
    Refresh { grant: Grant, row: Refresh },
}

impl Told {
    /// Whose it is.
    pub fn client(&self) -> Option<&str> {
        match self {
            Self::Access { verified, .. } => verified.principal.client(),
            Self::Refresh { grant, .. } => Some(&grant.client_id),
        }
    }
}

impl Server {
    pub(super) async fn introspect(&self, call: &Call<'_>, request: &Request<Bytes>) -> Reply {
        if request.method() != Method::POST {
            return Reply::method("POST");
        }
        match self.tell(call, request).await {
            Ok(reply) => reply,
            Err(reply) => *reply,
        }
    }

    async fn tell(&self, call: &Call<'_>, request: &Request<Bytes>) -> Answer<Reply> {
        let form = form(request)?;
        let asking = self.asking(call, request, &form).await?;
        if !asking.is_proven {
            // RFC 7662 §2.1: whoever could ask without proof could guess tokens.
            return Err(OAuthError::new(Code::InvalidClient, "whoever asks proves who it is").into());
        }
        let token = form.one("token").ok_or(OAuthError::new(Code::InvalidRequest, "`token` is missing"))?;
        let client = &asking.client.id;
        let may_see = |found: &Told| found.client() == Some(client.as_str()) || call.settings.introspection_clients.contains(client);
        let found = self.find_token(call, token).await?.filter(may_see);
        let (body, reason) = match found.and_then(|found| describe(call, found)) {
            Some(body) => (body, "token_active"),
            None => (json!({ "active": false }), "token_inactive"),
        };
        Ok(Reply::json(StatusCode::OK, &body, super::Told::answered(reason).about(client)))
    }

    /// A token of ours by its text; none for whatever else, and for what has long gone.
    pub(super) async fn find_token(&self, call: &Call<'_>, text: &str) -> Answer<Option<Told>> {
        let Ok(token) = Token::new(text) else { return Ok(None) };
        if let Some(row) = call.store.refresh_token(&digest(text)).await.map_err(Fault::from)? {
            let grant = call.store.grant(&row.grant_id).await.map_err(Fault::from)?;
            let own = grant.filter(|grant| grant.issuer == *call.settings.issuer);
            return Ok(own.map(|grant| Told::Refresh { grant, row }));
        }
        let Ok(claimed) = Unverified::parse(text) else { return Ok(None) };
        let named = claimed.audience().first().and_then(|audience| call.settings.resource(audience));
        let route = named.and_then(|named| call.world.routes.routes().iter().find(|route| route.name == named.upstream));
        let Some(route) = route else { return Ok(None) };
        let world = call.world;
        let proven = authenticate::prove(token, token.digest(), route, &world.issuers, &world.tokens, call.origin.now).await;
        let Ok(verified) = proven else { return Ok(None) };
        let asked = Asked { token: &token.digest(), verified: &verified, upstream: &route.name, now: call.origin.now };
        let stands =
            |revocations: &Arc<crate::governance::Revocations>| revocations.check(&asked, || world.issuers.key_name(&verified)).is_ok();
        let place = Place { upstream: &route.name, approves: route.approves_clients };
        let client = world.clients.as_ref().is_none_or(|clients| clients.check(&verified.principal, place, call.origin.now).is_ok());
        let is_good = client && world.revocations.as_ref().is_none_or(stands);
        Ok(Some(Told::Access { claims: claimed.claims().clone().into(), verified, is_good }))
    }
}

/// RFC 7662 §2.2; none for what is not active.
fn describe(call: &Call<'_>, found: Told) -> Option<Value> {
    match found {
        Told::Access { is_good: false, .. } => None,
        Told::Access { mut claims, verified, .. } => {
            let bound = verified.binding().key.is_some();
            claims.insert("active".into(), json!(true));
            claims.insert("token_type".into(), json!(if bound { "DPoP" } else { "Bearer" }));
            Some(Value::Object(claims))
        }
        Told::Refresh { grant, row } => {
            let end = row.expires.min(u64::try_from(grant.expires).unwrap_or(0));
            if grant.ended.is_some() || row.used.is_some() || call.now >= end {
                return None;
            }
            let scopes: Vec<String> = serde_json::from_str(&grant.scopes).unwrap_or_default();
            Some(json!({
                "active": true, "iss": grant.issuer, "sub": grant.subject, "client_id": grant.client_id, "aud": grant.resource,
                "scope": scopes.join(" "), "iat": row.created, "exp": end,
            }))
        }
    }
}
