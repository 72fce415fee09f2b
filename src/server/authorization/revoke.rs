//! Tokens that are to end (RFC 7009): a refresh token with its whole grant, an access token alone.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::json;

use super::client_authentication::form;
use super::introspect::Told as Found;
use super::reply::Answer;
use super::token::refused;
use super::{Call, Reply, Server, Told};
use crate::governance::Selector;
use crate::oauth::{Code, OAuthError};

impl Server {
    pub(super) async fn revoke(&self, call: &Call<'_>, request: &Request<Bytes>) -> Reply {
        if request.method() != Method::POST {
            return Reply::method("POST");
        }
        match self.end_token(call, request).await {
            Ok(reply) => reply,
            Err(reply) => *reply,
        }
    }

    async fn end_token(&self, call: &Call<'_>, request: &Request<Bytes>) -> Answer<Reply> {
        let form = form(request)?;
        let asking = self.asking(call, request, &form).await?;
        let client = &asking.client.id;
        let token = form.one("token").ok_or(OAuthError::new(Code::InvalidRequest, "`token` is missing"))?;
        // RFC 7009 §2.2: a token that is none is as good as revoked.
        let done = |reason| Reply::json(StatusCode::OK, &json!({}), Told::answered(reason).about(client));
        match self.find_token(call, token).await? {
            None => Ok(done("nothing_to_revoke")),
            Some(found) if found.client() != Some(client.as_str()) => {
                Err(refused("the token was issued to another client", "other_client", client))
            }
            Some(Found::Refresh { grant, .. }) => {
                self.end_grant(call, &grant, "revoked_by_client").await?;
                Ok(done("refresh_token_revoked"))
            }
            Some(Found::Access { claims, .. }) => {
                let text = |name: &str| claims.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
                let expires = claims.get("exp").and_then(serde_json::Value::as_u64);
                let selector = Selector::Id { issuer: call.settings.issuer.to_string(), jti: text("jti") };
                self.revoke_here(call, selector, expires, "revoked_by_client", &format!("jti {} of {client}", text("jti"))).await?;
                Ok(done("access_token_revoked"))
            }
        }
    }
}
