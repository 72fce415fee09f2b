//! The access review, and somebody's word that it was looked at.

use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::inventory::{find, inventory};
use super::{Fault, Hand, said, seconds};
use crate::config::Config;
use crate::review::{self, Asked, Reviewed};
use crate::store::Store;

/// Which review.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ReviewQuestion")]
pub struct Question {
    /// Use that is older does not count: `90d`, which is the default.
    pub since: Option<String>,
    /// Only this client, by its id or code.
    pub client: Option<String>,
    /// The client's issuer: its identifier, as in `iss`, or its name in the configuration.
    pub issuer: Option<String>,
}

/// That somebody has looked at a review as it is now.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// As the review was asked for.
    pub since: Option<String>,
    pub client: Option<String>,
    pub issuer: Option<String>,
    /// Only if the review still has this digest; else 412.
    pub digest: Option<String>,
    /// What they say of it, for the records. Default: `reviewed`.
    pub note: Option<String>,
    /// In whose name, for the records.
    pub by: Option<String>,
}

/// What was attested.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Attested")]
pub struct Done {
    /// Of the review.
    pub digest: String,
    /// The only client that it was of.
    pub client: Option<String>,
    pub findings: usize,
}

/// The review as of `now`.
///
/// # Errors
/// There is no such client, or the store cannot be read.
pub async fn review(store: &Store, config: &Config, question: &Question, now: SystemTime) -> Result<Reviewed, Fault> {
    let asked = asked(store, config, question).await?;
    Ok(review::reviewed(store, config, &asked, seconds(now)).await?)
}

async fn asked(store: &Store, config: &Config, question: &Question) -> Result<Asked, Fault> {
    let Question { since, client, issuer } = question;
    let window = since.as_deref().map(window).transpose()?.unwrap_or(Asked::default().window);
    let only = match client {
        Some(name) => Some(find(inventory(Some(store), config).await?, config, name, issuer.as_deref())?.0),
        None if issuer.is_some() => return Err(Fault::Invalid("`issuer` is of the `client`, and none is named".into())),
        None => None,
    };
    Ok(Asked { window, only })
}

fn window(text: &str) -> Result<Duration, Fault> {
    humantime::parse_duration(text).map_err(|_| Fault::Invalid(format!("`since` is a time such as `90d`, and not `{text}`")))
}

/// Writes down that somebody has looked.
///
/// # Errors
/// [`Fault::Changed`] where the review is another than was looked at; nothing was done, but for [`Fault::Store`] and
/// [`Fault::Unrecorded`].
pub async fn attest(hand: &Hand<'_>, attestation: &Attestation) -> Result<Done, Fault> {
    let Attestation { since, client, issuer, digest, note, by: _ } = attestation;
    let note = note.as_deref().unwrap_or("reviewed");
    for (name, text) in [("by", hand.actor), ("note", note)] {
        said(name, text)?;
    }
    let question = Question { since: since.clone(), client: client.clone(), issuer: issuer.clone() };
    let asked = asked(hand.store, hand.config, &question).await?;
    let reviewed = review::reviewed(hand.store, hand.config, &asked, hand.seconds()).await?;
    let now = reviewed.review.digest.clone();
    if digest.as_ref().is_some_and(|digest| *digest != now) {
        return Err(Fault::Changed(format!("the review is another now: its digest is {now}")));
    }
    review::attest(hand.store, &reviewed, &asked, hand.actor, note).await?;
    let named = match &asked.only {
        Some(key) => format!("review {now} of client {} of {}", key.id, key.issuer),
        None => format!("review {now}"),
    };
    hand.witness.saw("admin/review_attest", named, note).await?;
    Ok(Done { digest: now, client: asked.only.map(|key| key.id), findings: reviewed.review.findings.len() })
}
