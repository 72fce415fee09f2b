//! The access review of a gateway: what the store knows, held against the configuration, in words and as a patch.
//!
//! `command` prints it; whatever serves it over HTTP gives out the same [`Reviewed`]. Writes nothing but an attestation.

mod page;
mod patch;
mod sheet;
pub mod words;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use page::Attesting;
pub use patch::Patch;

use crate::config::Config;
use crate::governance::client::Key;
use crate::governance::review::{Basis, Review, Time, Upstream, review};
use crate::store::{Attestation, Error, Store};

/// Which review.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Use counts that is no older than this.
    pub window: Duration,
    /// Only this client.
    pub only: Option<Key>,
}

impl Default for Asked {
    fn default() -> Self {
        Self { window: Duration::from_secs(90 * 24 * 3600), only: None }
    }
}

/// A review, when it was last looked at, and what would make the rules narrower.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Review")]
pub struct Reviewed {
    #[serde(flatten)]
    pub review: Review,
    /// The last time somebody attested it: the whole, or this one client.
    pub attested: Option<Attested>,
    /// Attestations of single clients.
    pub attested_clients: Vec<Attested>,
    /// Unified diffs against the files of the configuration.
    pub patches: Vec<Patch>,
    /// Rules, by `file:line`, whose text must be narrowed by hand.
    pub by_hand: Vec<String>,
    /// Clients of the review that stand in the configuration, which is where their terms are changed.
    pub configured: Vec<Configured>,
}

/// Where the configuration speaks of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ConfiguredClient")]
pub struct Configured {
    pub issuer: String,
    pub client: String,
    /// `file:line`.
    pub place: String,
}

/// Somebody's word that a review was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AttestedBefore")]
pub struct Attested {
    pub issuer: Option<String>,
    pub client: Option<String>,
    pub at: Time,
    pub by: String,
    pub note: String,
    pub digest: String,
    /// Whether it is still what was looked at; none of single clients in a review of all.
    pub unchanged: Option<bool>,
}

/// The review as of `now`, in seconds since 1970.
///
/// # Errors
/// The store cannot be read.
pub async fn reviewed(store: &Store, config: &Config, asked: &Asked, now: u64) -> Result<Reviewed, Error> {
    let stored = store.all_clients().await?.into_iter().map(|client| (client, ())).collect();
    let clients: Vec<_> = config.with_configured(stored).into_iter().map(|(client, ())| client).collect();
    let gaps = store.observed_gaps().await?;
    let facts = match &asked.only {
        Some(key) => store.observed_of(key).await?,
        None => store.observed().await?,
    };
    let begun = store.observed_since().await?;
    let attestations = store.attestations().await?;
    let upstreams: Vec<Upstream<'_>> = config.routes.iter().map(|route| Upstream { name: &route.name, policy: &route.policy }).collect();
    let review = review(&Basis {
        upstreams: &upstreams,
        clients: &clients,
        facts: &facts,
        gaps: &gaps,
        begun,
        since: now.saturating_sub(asked.window.as_secs()),
        now,
        only: asked.only.as_ref(),
    });
    let (patches, by_hand) = patch::patches(config, &review.narrowings);
    let is_meant = |one: &&Attestation| match &asked.only {
        Some(key) => one.issuer == key.issuer && one.client == key.id,
        None => one.client.is_empty(),
    };
    let attested = attestations.iter().rfind(is_meant).map(|one| Attested { unchanged: Some(one.digest == review.digest), ..told(one) });
    let of_clients = attestations.iter().filter(|one| asked.only.is_none() && !one.client.is_empty());
    let attested_clients = of_clients.map(told).collect();
    let is_reviewed = |key: &Key| review.clients.iter().any(|line| line.issuer == key.issuer && line.id == key.id);
    let configured = config.clients.iter().filter(|one| is_reviewed(&one.client.key));
    let configured = configured.map(|one| Configured {
        issuer: one.client.key.issuer.clone(),
        client: one.client.key.id.clone(),
        place: one.place.clone(),
    });
    let configured = configured.collect();
    Ok(Reviewed { attested, attested_clients, patches, by_hand, configured, review })
}

/// Writes down that somebody has looked at this review.
///
/// # Errors
/// It is not on the disk.
pub async fn attest(store: &Store, reviewed: &Reviewed, asked: &Asked, by: &str, note: &str) -> Result<(), Error> {
    let key = asked.only.clone().unwrap_or(Key { issuer: String::new(), id: String::new() });
    let attestation = Attestation {
        issuer: key.issuer,
        client: key.id,
        made: i64::try_from(reviewed.review.made.0).unwrap_or(i64::MAX),
        actor: by.to_owned(),
        note: note.to_owned(),
        digest: reviewed.review.digest.clone(),
    };
    store.attest(&attestation).await
}

impl Reviewed {
    /// A page of HTML by itself: no script, nothing from elsewhere.
    ///
    /// # Errors
    /// Never, in practice: the template was checked when it was compiled.
    pub fn html(&self) -> Result<String, askama::Error> {
        page::html(self, None)
    }

    /// The same, with a form by which a signed-in person attests it.
    ///
    /// # Errors
    /// As of [`Self::html`].
    pub fn page(&self, attesting: Option<Attesting<'_>>) -> Result<String, askama::Error> {
        page::html(self, attesting)
    }

    /// Grants and findings as comma-separated values (RFC 4180).
    pub fn csv(&self) -> String {
        sheet::csv(self)
    }

    /// All patches in one text, for `patch -p1` in the folder of the configuration.
    pub fn patch(&self) -> String {
        self.patches.iter().map(|patch| patch.diff.as_str()).collect()
    }
}

fn told(attestation: &Attestation) -> Attested {
    let Attestation { issuer, client, made, actor, note, digest } = attestation.clone();
    let some = |text: String| (!text.is_empty()).then_some(text);
    let at = Time(u64::try_from(made).unwrap_or_default());
    Attested { issuer: some(issuer), client: some(client), at, by: actor, note, digest, unchanged: None }
}
