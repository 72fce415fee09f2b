//! The one place that makes grants, codes and tokens.

use super::{Call, Fault, Server, digest, secret};
use crate::oauth::{Authorized, Person};
use crate::store::authorization::Grant;

/// What of an authorization is kept with its code.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct CodeBody {
    pub challenge: String,
    pub upstream: std::sync::Arc<str>,
    pub offline: bool,
    pub dpop_jkt: Option<String>,
}

impl Server {
    /// Keeps what a person agreed to, and returns the code for it.
    pub async fn grant_code(&self, call: &Call<'_>, authorization: &Authorized, person: &Person) -> Result<String, Fault> {
        let Authorized { client_id, redirect_uri, challenge, resource, upstream, scopes, offline, dpop_jkt, .. } = authorization;
        let (code, code_digest) = secret()?;
        let (id, _) = secret()?;
        let expires = call.now + call.settings.tokens.code.as_secs();
        let now = i64::try_from(call.now).unwrap_or(i64::MAX);
        let grant = Grant {
            id: digest(&id),
            client_id: client_id.clone(),
            subject: person.subject.clone(),
            person: serde_json::to_string(person).map_err(|_| Fault::Unreadable)?,
            resource: resource.clone(),
            scopes: serde_json::to_string(scopes).map_err(|_| Fault::Unreadable)?,
            redirect_uri: redirect_uri.clone(),
            created: now,
            expires: i64::try_from(expires).unwrap_or(i64::MAX),
            used: now,
            ..Grant::default()
        };
        let body = CodeBody { challenge: challenge.clone(), upstream: upstream.clone(), offline: *offline, dpop_jkt: dpop_jkt.clone() };
        let body = serde_json::to_string(&body).map_err(|_| Fault::Unreadable)?;
        call.store.put_grant(&grant, Some((&code_digest, &body, expires))).await?;
        Ok(code)
    }
}
