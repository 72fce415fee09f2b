//! The inventory of clients in store and configuration, the queue of those that wait, and decisions on them.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::grants::Grant;
use super::inventory::{Inventory, Known, Reach, check_reach, find};
use super::registered::About;
use super::{Fault, Hand, said, seconds, time, upstream, written};
use crate::config::Config;
use crate::governance::client::{Client, Key, Source, State, Stuck, Terms, merged};
use crate::review::{Asked, reviewed};
use crate::store::{Reason, Store};

/// Clients in one answer, where nothing else was asked for.
const FEW: u32 = 1_000;

/// Which clients are listed.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ClientListing")]
pub struct Listing {
    /// Only those in this state; `pending` is the queue.
    pub state: Option<StateName>,
    /// Only those behind this place: `next` of the answer before.
    pub after: Option<String>,
    /// At most so many. Default and most: 1000.
    pub limit: Option<u32>,
}

/// A state that a client can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ClientState")]
pub enum StateName {
    Pending,
    Approved,
    Suspended,
    Retired,
}

impl From<State> for StateName {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Approved => Self::Approved,
            State::Suspended => Self::Suspended,
            State::Retired => Self::Retired,
        }
    }
}

/// How a client came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ClientSource")]
pub enum SourceName {
    /// It stands in the configuration.
    Configured,
    /// A person entered it.
    Entered,
    /// A token named it.
    Observed,
    /// It registered itself here.
    Registered,
    /// A document that it publishes names it.
    Document,
}

impl From<Source> for SourceName {
    fn from(source: Source) -> Self {
        match source {
            Source::Configured => Self::Configured,
            Source::Entered => Self::Entered,
            Source::Observed => Self::Observed,
            Source::Registered => Self::Registered,
            Source::Document => Self::Document,
        }
    }
}

/// A client as it is now.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Client")]
pub struct Shown {
    pub id: String,
    pub issuer: String,
    /// Eight letters, as its callers were told.
    pub code: String,
    pub state: StateName,
    /// How it came to be known.
    pub source: SourceName,
    pub owner: String,
    pub purpose: String,
    /// Where it may call; null is everywhere.
    pub upstreams: Option<Vec<String>>,
    /// The scopes that count; null is all.
    pub scopes: Option<Vec<String>>,
    /// RFC 3339.
    pub expires: Option<String>,
    /// When a token first named it.
    pub first_seen: Option<String>,
    /// Of the requests that went on.
    pub first_used: Option<String>,
    pub last_used: Option<String>,
    /// Requests that went on.
    pub uses: u64,
    /// For how many it came.
    pub subjects: u64,
    /// `file:line` of its entry; null where it stands in the store alone.
    pub configured_at: Option<String>,
    /// Of its entry, or as it registered them.
    pub redirect_uris: Vec<String>,
    /// What it is called, by its entry.
    pub names: Vec<String>,
    #[serde(flatten)]
    pub about: About,
}

impl Shown {
    /// A client of the inventory.
    pub fn of((client, used): &Known, inventory: &Inventory<'_>, config: &Config) -> Self {
        let (entry, used) = (config.client(&client.key), used.as_ref());
        let (redirect_uris, about) = inventory.registered.about(&client.key, &inventory.all);
        let last_used = used.and_then(|used| used.last_used).max(inventory.registered.used(&client.key));
        let Client { key, state, source, terms: Terms { owner, purpose, upstreams, scopes, expires }, first_seen } = client.clone();
        Self {
            code: key.code(),
            id: key.id,
            issuer: key.issuer,
            state: state.into(),
            source: source.into(),
            owner,
            purpose,
            upstreams,
            scopes,
            expires: expires.map(written),
            first_seen: first_seen.map(written),
            first_used: used.and_then(|used| used.first_used).map(written),
            last_used: last_used.map(written),
            uses: used.map_or(0, |used| used.uses),
            subjects: used.map_or(0, |used| used.subjects),
            configured_at: entry.map(|entry| entry.place.clone()),
            redirect_uris: entry.map_or(redirect_uris, |entry| entry.redirect_uris.clone()),
            names: entry.map(|entry| entry.names.clone()).unwrap_or_default(),
            about,
        }
    }
}

/// Clients, by issuer and id.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Clients")]
pub struct Listed {
    pub clients: Vec<Shown>,
    /// Ask again with it as `after` for the rest; null where there is none.
    pub next: Option<String>,
}

/// Which client is meant.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Its id, or the code that its callers were told.
    pub client: String,
    /// The issuer identifier, as in `iss`, or the issuer's name in the configuration.
    pub issuer: Option<String>,
}

/// A client, every decision on it, and what it was granted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ClientWithDecisions")]
pub struct WithHistory {
    pub client: Shown,
    /// The first one first.
    pub decisions: Vec<Decided>,
    /// With what was used of each.
    pub grants: Vec<Grant>,
}

/// One decision.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ClientDecision")]
pub struct Decided {
    pub state: String,
    pub reason: String,
    /// Who decided.
    pub actor: String,
    /// RFC 3339.
    pub made: String,
}

/// What a decision came to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ClientChange")]
pub struct Outcome {
    pub client: Shown,
    /// The number of the change.
    pub seq: i64,
}

/// A decision on a client.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Decide")]
pub struct Decision {
    /// Its id, or the code that its callers were told.
    pub client: String,
    /// The issuer identifier, as in `iss`, or the issuer's name in the configuration.
    pub issuer: Option<String>,
    /// Why, for the records.
    pub reason: String,
    /// In whose name, for the records; who asks is known.
    pub by: Option<String>,
}

/// An approval. What is not said stays as it was; a client that is not known yet is entered where `issuer` is named.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Approve")]
pub struct Approval {
    /// Its id, or the code that its callers were told.
    pub client: String,
    /// The issuer identifier, as in `iss`, or the issuer's name in the configuration.
    pub issuer: Option<String>,
    /// Why, for the records.
    pub reason: String,
    /// In whose name, for the records; who asks is known.
    pub by: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is for.
    pub purpose: Option<String>,
    /// Only for these upstreams.
    pub upstreams: Option<Vec<String>>,
    /// For every upstream again.
    #[serde(default)]
    pub all_upstreams: bool,
    /// Only these scopes of its tokens count.
    pub scopes: Option<Vec<String>>,
    /// All scopes of its tokens count again.
    #[serde(default)]
    pub all_scopes: bool,
    /// Until this time (RFC 3339).
    pub expires: Option<String>,
    /// Until further notice again.
    #[serde(default)]
    pub no_expiry: bool,
}

/// Who answers for a client, and what it is for. What is not said stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Own")]
pub struct Ownership {
    /// Its id, or the code that its callers were told.
    pub client: String,
    /// The issuer identifier, as in `iss`, or the issuer's name in the configuration.
    pub issuer: Option<String>,
    /// Why, for the records.
    pub reason: String,
    /// In whose name, for the records; who asks is known.
    pub by: Option<String>,
    pub owner: Option<String>,
    pub purpose: Option<String>,
}

impl Approval {
    fn terms(&self, before: Terms, expires: Option<u64>) -> Terms {
        let unless = |lifted: bool, said: &Option<Vec<String>>, before| if lifted { None } else { said.clone().or(before) };
        Terms {
            upstreams: unless(self.all_upstreams, &self.upstreams, before.upstreams),
            scopes: unless(self.all_scopes, &self.scopes, before.scopes),
            expires: if self.no_expiry { None } else { expires.or(before.expires) },
            owner: self.owner.clone().unwrap_or(before.owner),
            purpose: self.purpose.clone().unwrap_or(before.purpose),
        }
    }

    /// Whether it is more than a plain yes.
    fn says_terms(&self) -> bool {
        let Self {
            client: _,
            issuer: _,
            reason: _,
            by: _,
            owner,
            purpose,
            upstreams,
            all_upstreams,
            scopes,
            all_scopes,
            expires,
            no_expiry,
        } = self;
        let said = [owner.is_some(), purpose.is_some(), upstreams.is_some(), scopes.is_some(), expires.is_some()];
        said.contains(&true) || *all_upstreams || *all_scopes || *no_expiry
    }

    /// What contradicts itself, or would refuse every call, is not meant. The end, in seconds since 1970.
    fn check(&self, hand: &Hand<'_>) -> Result<Option<u64>, Fault> {
        for (name, said, lifted, lift) in [
            ("upstreams", self.upstreams.is_some(), self.all_upstreams, "all_upstreams"),
            ("scopes", self.scopes.is_some(), self.all_scopes, "all_scopes"),
            ("expires", self.expires.is_some(), self.no_expiry, "no_expiry"),
        ] {
            if said && lifted {
                return Err(Fault::Invalid(format!("`{name}` and `{lift}` contradict each other: keep one")));
            }
        }
        let expires = self.expires.as_deref().map(time).transpose()?;
        if expires.is_some_and(|expires| expires <= hand.now) {
            return Err(Fault::Invalid("`expires` lies in the past".into()));
        }
        self.upstreams.iter().flatten().try_for_each(|name| upstream(name, hand.config))?;
        for (name, text) in [("owner", &self.owner), ("purpose", &self.purpose)] {
            at_most(name, text.as_deref())?;
        }
        Ok(expires.map(seconds))
    }
}

fn at_most(name: &str, text: Option<&str>) -> Result<(), Fault> {
    match text.is_some_and(|text| text.len() > super::LONGEST) {
        true => Err(Fault::Invalid(format!("`{name}` is longer than {} bytes", super::LONGEST))),
        false => Ok(()),
    }
}

/// Lists clients, page by page.
///
/// # Errors
/// [`Fault::Store`], [`Fault::NoStore`]; [`Fault::Invalid`] for an `after` that never was a `next`.
pub async fn list(store: Option<&Store>, config: &Config, what: &Listing) -> Result<Listed, Fault> {
    let most = usize::try_from(what.limit.unwrap_or(FEW).clamp(1, FEW)).unwrap_or(1);
    let after = what.after.as_deref().map(place).transpose()?;
    let inventory = Inventory::read(store, config).await?;
    let mut all = sorted(&inventory, what.state);
    all.retain(|(client, _)| after.as_ref().is_none_or(|after| client.key > *after));
    let has_more = all.len() > most;
    all.truncate(most);
    let next = all.last().filter(|_| has_more).map(|(client, _)| cursor(&client.key));
    Ok(Listed { clients: all.into_iter().map(|known| Shown::of(known, &inventory, config)).collect(), next })
}

/// Lists all of them.
///
/// # Errors
/// As of [`list`].
pub async fn all(store: Option<&Store>, config: &Config, state: Option<StateName>) -> Result<Vec<Shown>, Fault> {
    let inventory = Inventory::read(store, config).await?;
    Ok(sorted(&inventory, state).into_iter().map(|known| Shown::of(known, &inventory, config)).collect())
}

fn sorted<'i>(inventory: &'i Inventory<'_>, state: Option<StateName>) -> Vec<&'i Known> {
    let fits = |(client, _): &&Known| state.is_none_or(|state| state == client.state.into());
    let mut all: Vec<&Known> = inventory.all.iter().filter(fits).collect();
    all.sort_by(|(one, _), (other, _)| one.key.cmp(&other.key));
    all
}

/// Where a page ends. Whoever is on the list all the while is listed once, whatever changes between two pages.
fn cursor(Key { issuer, id }: &Key) -> String {
    URL_SAFE_NO_PAD.encode(format!("{issuer}\0{id}"))
}

fn place(cursor: &str) -> Result<Key, Fault> {
    let text = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    match text.split_once('\0') {
        Some((issuer, id)) => Ok(Key { issuer: issuer.to_owned(), id: id.to_owned() }),
        None => Err(Fault::Invalid("`after` is not the `next` of an answer".into())),
    }
}

/// One client, every decision on it, and what it was granted.
///
/// # Errors
/// [`Fault::Unknown`]; [`Fault::Invalid`] where several are meant.
pub async fn show(store: Option<&Store>, config: &Config, which: &Which, now: SystemTime) -> Result<WithHistory, Fault> {
    let inventory = Inventory::read(store, config).await?;
    let (key, found) = find(inventory.all.clone(), config, &which.client, which.issuer.as_deref())?;
    let client = Shown::of(&found.ok_or_else(|| Fault::Unknown(Stuck::Unknown.to_string()))?, &inventory, config);
    let Some(store) = store else { return Ok(WithHistory { client, decisions: Vec::new(), grants: Vec::new() }) };
    let decisions = store.client_history(&key).await?.into_iter().map(|one| Decided {
        state: one.state,
        reason: one.reason,
        actor: one.actor,
        made: written(u64::try_from(one.made).unwrap_or_default()),
    });
    let asked = Asked { only: Some(key), ..Asked::default() };
    let grants = reviewed(store, config, &asked, seconds(now)).await?.review.grants;
    Ok(WithHistory { client, decisions: decisions.collect(), grants: grants.into_iter().map(Grant::from).collect() })
}

/// Lets a client call.
///
/// # Errors
/// [`Fault::Invalid`], [`Fault::Unknown`], [`Fault::Conflict`] for a retired one; see [`Hand`] for the rest.
pub async fn approve(hand: &Hand<'_>, asked: &Approval) -> Result<Outcome, Fault> {
    let expires = asked.check(hand)?;
    let reach = if asked.says_terms() { Reach::Terms } else { Reach::Back };
    let meant = Meant { client: &asked.client, issuer: asked.issuer.as_deref(), reason: &asked.reason, reach };
    // Who names the issuer may enter a client before it was seen.
    let change = |found: Option<Client>, key: &Key| {
        let client = found.unwrap_or_else(|| Client::entered(key.clone()));
        let terms = asked.terms(client.terms.clone(), expires);
        Client { terms, ..client }.moved(State::Approved)
    };
    decide(hand, &meant, "admin/client_approve", &change).await
}

/// Refuses a client until it is approved again, or resumed.
///
/// # Errors
/// As of [`approve`].
pub async fn suspend(hand: &Hand<'_>, asked: &Decision) -> Result<Outcome, Fault> {
    let change = |found: Option<Client>, _: &Key| found.ok_or(Stuck::Unknown)?.moved(State::Suspended);
    decide(hand, &Meant::by(asked, Reach::Stricter), "admin/client_suspend", &change).await
}

/// Lets a suspended client call again, on the terms that it had.
///
/// # Errors
/// As of [`approve`]; [`Fault::Conflict`] for one that is not suspended.
pub async fn resume(hand: &Hand<'_>, asked: &Decision) -> Result<Outcome, Fault> {
    let change = |found: Option<Client>, _: &Key| found.ok_or(Stuck::Unknown)?.resumed();
    decide(hand, &Meant::by(asked, Reach::Back), "admin/client_resume", &change).await
}

/// Refuses a client for ever.
///
/// # Errors
/// As of [`approve`].
pub async fn retire(hand: &Hand<'_>, asked: &Decision) -> Result<Outcome, Fault> {
    let change = |found: Option<Client>, _: &Key| found.ok_or(Stuck::Unknown)?.moved(State::Retired);
    decide(hand, &Meant::by(asked, Reach::Stricter), "admin/client_retire", &change).await
}

/// Says who answers for a client, and what it is for.
///
/// # Errors
/// As of [`approve`].
pub async fn own(hand: &Hand<'_>, asked: &Ownership) -> Result<Outcome, Fault> {
    for (name, text) in [("owner", &asked.owner), ("purpose", &asked.purpose)] {
        at_most(name, text.as_deref())?;
    }
    let meant = Meant { client: &asked.client, issuer: asked.issuer.as_deref(), reason: &asked.reason, reach: Reach::Terms };
    let change = |found: Option<Client>, _: &Key| {
        let client = found.ok_or(Stuck::Unknown)?;
        let Terms { owner, purpose, .. } = client.terms.clone();
        let owner = asked.owner.clone().unwrap_or(owner);
        let purpose = asked.purpose.clone().unwrap_or(purpose);
        let (terms, state) = (Terms { owner, purpose, ..client.terms.clone() }, client.state);
        Client { terms, ..client }.moved(state)
    };
    decide(hand, &meant, "admin/client_own", &change).await
}

struct Meant<'a> {
    client: &'a str,
    issuer: Option<&'a str>,
    reason: &'a str,
    reach: Reach,
}

impl<'a> Meant<'a> {
    fn by(asked: &'a Decision, reach: Reach) -> Self {
        Self { client: &asked.client, issuer: asked.issuer.as_deref(), reason: &asked.reason, reach }
    }
}

type Change<'a> = dyn Fn(Option<Client>, &Key) -> Result<Client, Stuck> + Sync + 'a;

async fn decide(hand: &Hand<'_>, meant: &Meant<'_>, operation: &'static str, change: &Change<'_>) -> Result<Outcome, Fault> {
    for (name, text) in [("reason", meant.reason), ("by", hand.actor), ("client", meant.client)] {
        said(name, text)?;
    }
    let inventory = Inventory::read(Some(hand.store), hand.config).await?;
    let (key, found) = find(inventory.all.clone(), hand.config, meant.client, meant.issuer)?;
    let (seen, used) = found.unzip();
    let configured = hand.config.client(&key);
    if let Some(configured) = configured {
        check_reach(configured, hand.store.client(&key).await?.as_ref(), meant.reach)?;
    }
    // What the store has nothing of. SECURITY: what the configuration says of a client is never written there.
    let fresh = match (configured, seen) {
        (Some(_), seen) => Some(Client { first_seen: seen.and_then(|seen| seen.first_seen), ..Client::entered(key.clone()) }),
        (None, seen) => seen,
    };
    let reason = Reason { text: meant.reason, actor: hand.actor, made: hand.seconds() };
    let changed = |found: Option<Client>| change(found.or_else(|| fresh.clone()), &key);
    let (seq, client) = hand.store.change_client(&key, changed, &reason).await?;
    // What it says of itself may change; what was decided on is told by its fingerprint.
    let fingerprint = inventory.registered.about(&key, &inventory.all).1.fingerprint;
    let what = fingerprint.map(|fingerprint| format!(" ({fingerprint})")).unwrap_or_default();
    hand.witness.saw(operation, format!("client {} of {}{what}", client.key.id, client.key.issuer), meant.reason).await?;
    let client = configured.map_or_else(|| client.clone(), |configured| merged(&configured.client, Some(&client)));
    Ok(Outcome { client: Shown::of(&(client, used.flatten()), &inventory, hand.config), seq })
}
