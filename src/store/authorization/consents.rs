//! What a person agreed to, for which client.

use super::super::{Error, Store, on, soon};
use super::number;
use crate::oauth::Authorized;
use crate::oauth::consent::Given;

const PUT: &str = "INSERT INTO consents (subject, client_id, redirect_uri, resource, scopes, fingerprint, given)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (subject, client_id, redirect_uri, resource) DO UPDATE SET scopes = excluded.scopes,
    fingerprint = excluded.fingerprint, given = excluded.given";
const READ: &str = "SELECT scopes, fingerprint FROM consents
    WHERE subject = $1 AND client_id = $2 AND redirect_uri = $3 AND resource = $4";
const DROP: &str = "DELETE FROM consents WHERE subject = $1 AND client_id = $2";

impl Store {
    /// Keeps what a person agreed to, in the place of what was agreed to before.
    pub async fn put_consent(&self, subject: &str, given: &Given, now: u64) -> Result<(), Error> {
        let Given { client_id, redirect_uri, resource, scopes, fingerprint } = given;
        let scopes = serde_json::Value::from(scopes.clone()).to_string();
        soon(async {
            on!(self, pool => {
                sqlx::query(PUT)
                    .bind(subject).bind(client_id).bind(redirect_uri).bind(resource).bind(&scopes).bind(fingerprint).bind(number(now))
                    .execute(pool).await?;
                Ok(())
            })
        })
        .await
    }

    /// What the person agreed to for the client, redirect URI and resource of a request. What cannot be read is no yes.
    pub async fn consent(&self, subject: &str, asked: &Authorized) -> Result<Option<Given>, Error> {
        let Authorized { client_id, registered_uri, resource, .. } = asked;
        let row: Option<(String, String)> = soon(async {
            on!(self, pool => {
                let query = sqlx::query_as(READ).bind(subject).bind(client_id).bind(registered_uri).bind(resource);
                Ok(query.fetch_optional(pool).await?)
            })
        })
        .await?;
        Ok(row.and_then(|(scopes, fingerprint)| {
            let scopes = serde_json::from_str(&scopes).ok()?;
            let (client_id, redirect_uri, resource) = (client_id.clone(), registered_uri.clone(), resource.clone());
            Some(Given { client_id, redirect_uri, resource, scopes, fingerprint })
        }))
    }

    /// Forgets all that a person agreed to for a client.
    pub async fn drop_consents(&self, subject: &str, client_id: &str) -> Result<(), Error> {
        soon(async {
            on!(self, pool => {
                sqlx::query(DROP).bind(subject).bind(client_id).execute(pool).await?;
                Ok(())
            })
        })
        .await
    }
}
