//! The one place that makes grants, codes and tokens.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::json;

use super::reply::Answer;
use super::{Call, Fault, Reply, Server, Told, secret};
use crate::config::authorization_server::Resource;
use crate::event::{Act, Outcome};
use crate::governance::client::Place;
use crate::governance::{Barred, Revocation, Selector};
use crate::oauth::issue::{AccessToken, Speaker, TYPE};
use crate::oauth::{Authorized, Code, OAuthError, Person};
use crate::principal::Principal;
use crate::store::Reason;
use crate::store::authorization::Grant;
use crate::token::{Thumbprint, Token};

/// What of an authorization is kept with its code.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct CodeBody {
    pub challenge: String,
    pub offline: bool,
    pub dpop_jkt: Option<String>,
}

/// A token that is to be made.
#[derive(Clone, Copy)]
pub(super) struct Order<'a> {
    pub client_id: &'a str,
    pub resource: &'a Resource,
    pub speaker: Speaker<'a>,
    pub scopes: &'a [String],
    /// The grant that it comes from.
    pub grant: Option<&'a str>,
    /// The key that it is bound to.
    pub binding: Option<&'a Thumbprint>,
    /// The client wants all its tokens bound.
    pub must_be_bound: bool,
}

/// A token that was made, and not given out yet.
pub(super) struct Issued {
    text: String,
    scopes: Vec<String>,
    is_bound: bool,
    lifetime: u64,
    who: Arc<Principal>,
    upstream: Arc<str>,
}

impl Issued {
    /// RFC 6749 §5.1. `more` stands beside what each answer has.
    pub fn answer(self, reason: &'static str, refresh: Option<&str>, more: &[(&str, serde_json::Value)]) -> Reply {
        let Self { text, scopes, is_bound, lifetime, who, upstream } = self;
        let mut body = json!({
            "access_token": text,
            "token_type": if is_bound { "DPoP" } else { "Bearer" },
            "expires_in": lifetime,
            "scope": scopes.join(" "),
        });
        if let Some(members) = body.as_object_mut() {
            members.extend(refresh.map(|token| ("refresh_token".to_owned(), json!(token))));
            members.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        }
        let token = Token::new(&text).ok().map(|token| token.digest());
        let name = who.client().map(str::to_owned);
        Reply::json(StatusCode::OK, &body, Told { name, who: Some(who), token, upstream: Some(upstream), ..Told::answered(reason) })
    }
}

impl Server {
    /// Keeps what a person agreed to, and returns the code for it.
    ///
    /// # Errors
    /// The store, or no randomness.
    pub async fn grant_code(&self, call: &Call<'_>, authorization: &Authorized, person: &Person) -> Result<String, Fault> {
        let Authorized { client_id, redirect_uri, challenge, resource, upstream, scopes, offline, dpop_jkt, .. } = authorization;
        let (code, code_digest) = secret()?;
        let (_, id) = secret()?;
        let expires = call.now + call.settings.tokens.code.as_secs();
        let number = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
        let grant = Grant {
            id,
            issuer: call.settings.issuer.to_string(),
            upstream: upstream.to_string(),
            client_id: client_id.clone(),
            subject: person.subject.clone(),
            person: serde_json::to_string(person).map_err(|_| Fault::Unreadable)?,
            resource: resource.clone(),
            scopes: serde_json::to_string(scopes).map_err(|_| Fault::Unreadable)?,
            redirect_uri: redirect_uri.clone(),
            created: number(call.now),
            // It lives as long as its code, until that one is redeemed.
            expires: number(expires),
            used: number(call.now),
            ..Grant::default()
        };
        let body = CodeBody { challenge: challenge.clone(), offline: *offline, dpop_jkt: dpop_jkt.clone() };
        let body = serde_json::to_string(&body).map_err(|_| Fault::Unreadable)?;
        call.store.put_grant(&grant, Some((&code_digest, &body, expires))).await?;
        Ok(code)
    }

    /// Ends a grant with all its tokens: refresh tokens in the store, access tokens and open streams at every replica.
    ///
    /// # Errors
    /// It may not have ended.
    pub async fn end_grant(&self, call: &Call<'_>, grant: &Grant, reason: &'static str) -> Result<(), Fault> {
        self.revoke_here(call, Selector::Session(grant.id.clone()), None, reason, &format!("grant of {}", grant.client_id)).await
    }

    /// Durably first; then this replica need not wait for the feed.
    pub(super) async fn revoke_here(
        &self,
        call: &Call<'_>,
        selector: Selector,
        expires: Option<u64>,
        reason: &'static str,
        name: &str,
    ) -> Result<(), Fault> {
        let index = call.world.revocations.as_ref().ok_or(Fault::Unopened)?;
        let revocation = Revocation::new(selector, call.now, None, expires, &index.bounds());
        let why = Reason { text: reason, actor: "authorization server", made: call.now };
        let seq = call.store.revoke(&revocation, &why).await?;
        // Where there is no room, the feed tells.
        let _ = index.apply(seq, &revocation);
        self.state.revoked();
        let act = Act {
            id: Some(call.origin.id.to_owned()),
            time: call.origin.now,
            upstream: None,
            operation: "admin/revoke",
            name: Some(name.to_owned()),
            outcome: Outcome::Answered,
            reason: reason.to_owned(),
            actor: "authorization server".into(),
        };
        if self.audit.act(act).is_err() {
            tracing::error!("a revocation cannot be recorded");
        }
        Ok(())
    }

    /// Makes a token, with the scopes that the client's terms leave of those granted. Nothing is given out by it.
    pub(super) async fn make(&self, call: &Call<'_>, order: &Order<'_>) -> Answer<Issued> {
        let Order { client_id, resource, speaker, scopes, grant, binding, must_be_bound } = *order;
        if binding.is_none() && (resource.require_dpop || must_be_bound) {
            return Err(OAuthError::new(Code::InvalidDpopProof, "only tokens that are bound to a key are issued here").into());
        }
        let after = call.store.changes().await.map_err(Fault::from)?;
        let ring = self.keys.current().ok_or(Fault::NoKey)?;
        let key = ring.signing(call.now).ok_or(Fault::NoKey)?;
        let lifetime = call.settings.tokens.access.as_secs();
        let (id, _) = secret()?;
        let thumbprint = binding.map(|key| URL_SAFE_NO_PAD.encode(key));
        let token = AccessToken {
            issuer: &call.settings.issuer,
            audience: &resource.resource,
            client_id,
            speaker,
            scopes,
            issued: call.now,
            expires: call.now + lifetime,
            id: &id,
            session: grant,
            binding: thumbprint.as_deref(),
            after,
        };
        let who = govern(call, resource, token.principal())?;
        let scopes = who.scopes().to_vec();
        let token = AccessToken { scopes: &scopes, ..token };
        let text = key.sign(TYPE, &token.claims()).ok_or(Fault::Randomness)?;
        let upstream = resource.upstream.clone();
        Ok(Issued { text, scopes, is_bound: binding.is_some(), lifetime, who: Arc::new(who), upstream })
    }
}

/// The same caller with the scopes that its client's terms leave; what is asked of each call is asked here already.
fn govern(call: &Call<'_>, resource: &Resource, who: Principal) -> Answer<Principal> {
    let Some(clients) = &call.world.clients else { return Ok(who) };
    let place = Place { upstream: &resource.upstream, approves: resource.approves_clients };
    match clients.check(&who, place, call.origin.now) {
        Ok(None) => Ok(who),
        Ok(Some(cut)) => Ok(cut),
        Err(barred) => {
            let (description, reason) = match barred {
                Barred::Pending(_) | Barred::Unnamed => ("nobody has approved the client yet", "client_pending"),
                Barred::Suspended => ("the client is suspended", "client_suspended"),
                Barred::Retired => ("the client is retired", "client_retired"),
                Barred::Expired => ("the client's approval has expired", "client_expired"),
                Barred::Elsewhere | Barred::Narrowed => ("the client is not approved for this resource", "client_elsewhere"),
            };
            let mut reply = Reply::error(OAuthError::new(Code::UnauthorizedClient, description));
            reply.told.reason = reason;
            Err(reply.about(who.client().unwrap_or_default()).into())
        }
    }
}
