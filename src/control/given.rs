//! What people let clients do at the authorization server inside, and the end of it.
//!
//! What is ended is refused at every replica: a grant's refresh tokens, access tokens and open streams (RFC 7009 §2.1).
//! Grants of other issuers are theirs; what was used of them is in the access review.

use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fault, Hand, revocations, said, seconds, stamp};
use crate::config::{AuthorizationServer, Config};
use crate::oauth::Person;
use crate::store::Store;
use crate::store::authorization::{Grant, Sought};

/// Grants of one question to the store.
const PAGE: i64 = 500;
/// Grants of one list, and those that are ended together.
pub const MOST: usize = 10_000;
const TOGETHER: usize = 500;

/// Which grants are listed; what is not named is not asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "GivenListing")]
pub struct Listing {
    /// Only those of this client.
    pub client: Option<String>,
    /// Only those of this person, as records name it.
    pub subject: Option<String>,
    /// Only those at this upstream.
    pub upstream: Option<String>,
}

/// What a person lets a client do. Times are RFC 3339.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Given")]
pub struct Shown {
    pub id: String,
    pub client: String,
    pub subject: String,
    /// What the person is called, where that is known.
    pub name: Option<String>,
    pub upstream: String,
    pub resource: String,
    pub scopes: Vec<String>,
    pub redirect_uri: String,
    /// Its tokens are bound to a key of the client.
    pub bound_to_a_key: bool,
    pub created: String,
    pub last_used: String,
    pub expires: String,
}

/// Grants that are good, the latest use first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "GivenList")]
pub struct Listed {
    pub grants: Vec<Shown>,
    /// Only the first 10,000 were looked at: name a client, a subject or an upstream.
    pub cut: bool,
}

/// Grants that are to end.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "GivenEnd")]
pub struct Ending {
    /// As the list names them; at most 500.
    pub grants: Vec<String>,
    /// For the records.
    pub reason: String,
    /// In whose name, for the records.
    pub by: Option<String>,
}

/// What was ended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "GivenEnded")]
pub struct Done {
    pub ended: usize,
    /// The number of the last change.
    pub seq: i64,
}

/// # Errors
/// [`Fault::Conflict`] where no grants are made here; [`Fault::Store`].
pub async fn list(store: &Store, config: &Config, listing: &Listing, now: SystemTime) -> Result<Listed, Fault> {
    let named = |name: &Option<String>| name.clone().unwrap_or_default();
    let (client, subject, upstream) = (named(&listing.client), named(&listing.subject), named(&listing.upstream));
    let issuer = &issuing(config)?.issuer;
    let mut found = all(store, &Sought { issuer, client: &client, subject: &subject, upstream: &upstream, now: seconds(now) }).await?;
    found.sort_by(|one, other| (other.used, &one.id).cmp(&(one.used, &other.id)));
    Ok(Listed { cut: found.len() >= MOST, grants: found.iter().map(Shown::from).collect() })
}

/// Refuses their refresh tokens, access tokens and open streams from now on.
///
/// # Errors
/// Nothing was ended where one is none here or has ended already; after [`Fault::Store`] and [`Fault::Unrecorded`] the
/// first ones may be.
pub async fn end(hand: &Hand<'_>, asked: &Ending) -> Result<Done, Fault> {
    if asked.grants.is_empty() || asked.grants.len() > TOGETHER {
        return Err(Fault::Invalid(format!("`grants` names 1 to {TOGETHER} of them")));
    }
    for (name, text) in [("reason", asked.reason.as_str()), ("by", hand.actor)] {
        said(name, text)?;
    }
    issuing(hand.config)?;
    for id in &asked.grants {
        known(hand, id).await?;
    }
    let bounds = hand.config.store.as_ref().map(|store| store.bounds).ok_or(Fault::NoStore)?;
    let ended = revocations::end(hand, &bounds, &asked.grants, &asked.reason).await?;
    Ok(Done { ended: ended.len(), seq: ended.last().map_or(0, |last| last.seq) })
}

/// SECURITY: whoever ends grants must hear where nothing was ended, so an id that is none here is an error before any is.
async fn known(hand: &Hand<'_>, id: &str) -> Result<(), Fault> {
    said("grants", id)?;
    let grant = hand.store.grant(id).await?;
    let own = hand.config.authorization_server.as_ref().map(|server| &server.issuer);
    match grant.filter(|grant| own.is_some_and(|own| *grant.issuer == **own)) {
        None => Err(Fault::Unknown(format!("there is no grant `{id}`: see `doorward grants list`; nothing was ended"))),
        Some(grant) if grant.ended.is_some() => Err(Fault::Conflict(format!("the grant `{id}` has ended already; nothing was ended"))),
        Some(_) => Ok(()),
    }
}

async fn all(store: &Store, sought: &Sought<'_>) -> Result<Vec<Grant>, Fault> {
    let mut found: Vec<Grant> = Vec::new();
    loop {
        let after = found.last().map(|grant| grant.id.clone()).unwrap_or_default();
        let page = store.grants_after(&after, sought, PAGE).await?;
        let is_last = i64::try_from(page.len()).is_ok_and(|count| count < PAGE);
        found.extend(page);
        if is_last || found.len() >= MOST {
            return Ok(found);
        }
    }
}

fn issuing(config: &Config) -> Result<&AuthorizationServer, Fault> {
    config
        .authorization_server
        .as_deref()
        .ok_or_else(|| Fault::Conflict("no grants are made here: no upstream has `ownership: bridge` or `ownership: self_managed`".into()))
}

impl From<&Grant> for Shown {
    fn from(grant: &Grant) -> Self {
        let Grant { id, client_id, subject, person, upstream, resource, scopes, redirect_uri, binding, created, expires, used, .. } =
            grant.clone();
        Self {
            id,
            client: client_id,
            subject,
            name: serde_json::from_str::<Person>(&person).ok().and_then(|person| person.name),
            upstream,
            resource,
            scopes: serde_json::from_str(&scopes).unwrap_or_default(),
            redirect_uri,
            bound_to_a_key: binding.is_some(),
            created: stamp(created),
            last_used: stamp(used),
            expires: stamp(expires),
        }
    }
}
