//! The keys that issuers publish, those on hold, and decisions on them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::clients::Decided;
use super::{Fault, Hand, issuer, said, stamp, written};
use crate::config::{Config, Transmitter};
use crate::governance::surface::IssuerKey;
use crate::governance::{Acceptance, KeyState};
use crate::store::{Kept, Reason, Store};

/// Keys that are read at once.
const PAGE: i64 = 5_000;

/// Which keys are listed.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "KeyListing")]
pub struct Listing {
    /// Only those in this state; `held` is the queue.
    pub state: Option<StateName>,
}

/// A state that a key can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "KeyState")]
pub enum StateName {
    Accepted,
    /// It verifies nothing for now.
    Held,
    /// It verifies nothing, however often it is published.
    Rejected,
}

impl StateName {
    pub fn name(self) -> &'static str {
        KeyState::from(self).name()
    }
}

impl From<StateName> for KeyState {
    fn from(name: StateName) -> Self {
        match name {
            StateName::Accepted => Self::Accepted,
            StateName::Held => Self::Held,
            StateName::Rejected => Self::Rejected,
        }
    }
}

impl From<KeyState> for StateName {
    fn from(state: KeyState) -> Self {
        match state {
            KeyState::Accepted => Self::Accepted,
            KeyState::Held => Self::Held,
            KeyState::Rejected => Self::Rejected,
        }
    }
}

/// A key as it is now. Times are RFC 3339.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "IssuerKey")]
pub struct Shown {
    /// The issuer identifier.
    pub issuer: String,
    /// As its issuer calls it; several where it had several names.
    pub kid: String,
    /// RFC 7638, in base64url.
    pub thumbprint: String,
    pub algorithms: String,
    pub state: StateName,
    /// When it came into this state.
    pub since: String,
    /// When its issuer ceased to publish it.
    pub gone: Option<String>,
    /// When its hold ends by itself.
    pub until: Option<String>,
    /// The first one first.
    pub decisions: Vec<Decided>,
}

/// Keys, by issuer and age.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "IssuerKeys")]
pub struct Listed {
    pub keys: Vec<Shown>,
}

/// A version of a key set or metadata document. Times are RFC 3339.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SurfaceVersion")]
pub struct Version {
    pub issuer: String,
    /// `keys` or `metadata`.
    pub kind: String,
    /// SHA-256 of its text, in base64url.
    pub digest: String,
    pub first_seen: String,
    /// When it last took the place of another.
    pub last_seen: String,
    /// What it says.
    pub summary: Value,
}

/// By issuer and kind, the current one last.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SurfaceVersions")]
pub struct Versions {
    pub versions: Vec<Version>,
}

/// A decision on a key.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "KeyDecision")]
pub struct Decision {
    /// Its id (`kid`), or its thumbprint (RFC 7638).
    pub key: String,
    /// The issuer identifier, as in `iss`, or the issuer's name in the configuration; `signals.NAME` for a transmitter.
    pub issuer: Option<String>,
    /// For the records.
    pub reason: String,
    /// In whose name, for the records.
    pub by: Option<String>,
}

/// What a decision came to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "KeyChange")]
pub struct Outcome {
    pub state: StateName,
    /// The key, as people call it.
    pub key: String,
    pub issuer: String,
    /// The number of the change.
    pub seq: i64,
}

/// # Errors
/// The store cannot be read.
pub async fn list(store: &Store, config: &Config, listing: &Listing) -> Result<Listed, Fault> {
    let mut keys = Vec::new();
    for key in all(store).await? {
        if listing.state.is_some_and(|state| key.state != state.into()) {
            continue;
        }
        let history = store.key_history(&key).await?;
        let decisions = history.into_iter().map(|decision| Decided {
            state: decision.state,
            reason: decision.reason,
            actor: decision.actor,
            made: stamp(decision.made),
        });
        let until = until(&key, config);
        let IssuerKey { issuer, thumbprint, kid, algorithms, state, since, gone } = key;
        let (since, gone, decisions) = (written(since), gone.map(written), decisions.collect());
        keys.push(Shown { issuer, kid, thumbprint, algorithms, state: state.into(), since, gone, until, decisions });
    }
    Ok(Listed { keys })
}

/// # Errors
/// The store cannot be read.
pub async fn versions(store: &Store) -> Result<Versions, Fault> {
    let shown = |Kept { issuer, kind, digest, summary, first_seen, last_seen }| Version {
        issuer,
        kind,
        digest,
        first_seen: stamp(first_seen),
        last_seen: stamp(last_seen),
        summary: serde_json::from_str(&summary).unwrap_or_default(),
    };
    Ok(Versions { versions: store.versions().await?.into_iter().map(shown).collect() })
}

/// Lets a key verify from now on.
///
/// # Errors
/// Nothing was done, but for [`Fault::Store`] and [`Fault::Unrecorded`].
pub async fn approve(hand: &Hand<'_>, asked: &Decision) -> Result<Outcome, Fault> {
    decide(hand, asked, "admin/key_approve", KeyState::Accepted).await
}

/// Lets a key verify nothing, however often its issuer publishes it.
///
/// # Errors
/// As of [`approve`].
pub async fn reject(hand: &Hand<'_>, asked: &Decision) -> Result<Outcome, Fault> {
    decide(hand, asked, "admin/key_reject", KeyState::Rejected).await
}

async fn decide(hand: &Hand<'_>, asked: &Decision, operation: &'static str, state: KeyState) -> Result<Outcome, Fault> {
    for (name, text) in [("reason", asked.reason.as_str()), ("by", hand.actor), ("key", &asked.key)] {
        said(name, text)?;
    }
    let of = asked.issuer.as_deref().map(|text| whose(text, hand.config)).transpose()?;
    let key = find(all(hand.store).await?, &asked.key, of.as_deref())?;
    let reason = Reason { text: &asked.reason, actor: hand.actor, made: hand.seconds() };
    let decided = hand.store.decide_key((&key.issuer, &key.thumbprint), state, |_| false, &reason).await?;
    let already = || Fault::Conflict(format!("key {} is {} already", key.label().escape_debug(), state.name()));
    let (seq, key) = decided.ok_or_else(already)?;
    hand.witness.saw(operation, format!("key {} of {}", key.label(), key.issuer), &asked.reason).await?;
    Ok(Outcome { state: state.into(), key: key.label(), issuer: key.issuer, seq })
}

/// By its thumbprint or its id. SECURITY: never one of several that would fit.
fn find(keys: Vec<IssuerKey>, name: &str, of: Option<&str>) -> Result<IssuerKey, Fault> {
    let is_named = |key: &IssuerKey| key.thumbprint == name || key.kid.split(' ').any(|kid| kid == name);
    let fits = |key: &IssuerKey| is_named(key) && of.is_none_or(|of| key.issuer == of);
    let mut found: Vec<IssuerKey> = keys.into_iter().filter(fits).collect();
    match (found.pop(), found.is_empty()) {
        (Some(key), true) => Ok(key),
        (Some(_), false) => {
            let hint = "write the thumbprint, as `doorward keys list` shows it, and the issuer";
            Err(Fault::Conflict(format!("`{name}` means several keys: {hint}")))
        }
        (None, _) => Err(Fault::Unknown(format!("no key `{name}` was seen; `doorward keys list` shows those that were"))),
    }
}

/// When a hold ends by itself.
fn until(key: &IssuerKey, config: &Config) -> Option<String> {
    let issuer = config.issuers.values().find(|issuer| *issuer.rules.issuer == *key.issuer).map(|issuer| issuer.accept_new_keys);
    let transmitter = || transmitters(config).find(|(_, one)| one.surface() == key.issuer).map(|(_, one)| one.accept_new_keys);
    match (key.state, issuer.or_else(transmitter)?) {
        (KeyState::Held, Acceptance::After(held)) => Some(written(key.since.saturating_add(held.as_secs()))),
        _ => None,
    }
}

fn transmitters(config: &Config) -> impl Iterator<Item = (&str, &Transmitter)> {
    config.signals.iter().filter_map(|signal| Some((&*signal.name, signal.transmitter.as_ref()?)))
}

/// What keys are remembered by: of an issuer, or of `signals.NAME`.
fn whose(text: &str, config: &Config) -> Result<String, Fault> {
    let is_meant = |(name, one): &(&str, &Transmitter)| one.surface() == text || text.strip_prefix("signals.") == Some(name);
    match transmitters(config).find(is_meant) {
        Some((_, transmitter)) => Ok(transmitter.surface()),
        None => issuer(text, config),
    }
}

/// Every key that is remembered, by issuer and age.
///
/// # Errors
/// The store cannot be read.
pub async fn all(store: &Store) -> Result<Vec<IssuerKey>, Fault> {
    let (mut keys, mut read) = (Vec::new(), 0);
    loop {
        let page = store.issuer_keys_since(read, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        read = *last;
        keys.extend(page.into_iter().map(|(_, key)| key));
    }
    keys.sort_by(|a: &IssuerKey, b: &IssuerKey| (&a.issuer, a.since, &a.thumbprint).cmp(&(&b.issuer, b.since, &b.thumbprint)));
    Ok(keys)
}
