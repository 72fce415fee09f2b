//! The inventory of clients in the store, the queue of those that wait, and decisions on them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fault, Hand, issuer, said, seconds, time, upstream, written};
use crate::config::Config;
use crate::governance::client::{Client, Key, State, Stuck, Terms};
use crate::store::{Reason, Store};

/// Rows read at once.
const PAGE: i64 = 5_000;
/// Clients in one answer, where nothing else was asked for.
const FEW: u32 = 1_000;

/// Which clients are listed.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ClientListing")]
pub struct Listing {
    /// Only those in this state; `pending` is the queue.
    pub state: Option<StateName>,
    /// Only those that changed after this number: `next` of the answer before.
    pub after: Option<i64>,
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
    Configured,
    Observed,
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
}

impl Shown {
    pub fn of(client: &Client) -> Self {
        let Client { key, state, source, terms: Terms { owner, purpose, upstreams, scopes, expires }, first_seen } = client.clone();
        let source = match source {
            crate::governance::client::Source::Configured => SourceName::Configured,
            crate::governance::client::Source::Observed => SourceName::Observed,
        };
        let (code, expires, first_seen) = (key.code(), expires.map(written), first_seen.map(written));
        let Key { issuer, id } = key;
        Self { id, issuer, code, state: state.into(), source, owner, purpose, upstreams, scopes, expires, first_seen }
    }
}

/// Clients, in the order in which they changed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Clients")]
pub struct Listed {
    pub clients: Vec<Shown>,
    /// Ask again with `after` for the rest; null where there is none.
    pub next: Option<i64>,
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

/// A client, and every decision on it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ClientWithDecisions")]
pub struct WithHistory {
    pub client: Shown,
    /// The first one first.
    pub decisions: Vec<Decided>,
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

/// Lists clients.
///
/// # Errors
/// [`Fault::Store`].
pub async fn list(store: &Store, what: &Listing) -> Result<Listed, Fault> {
    let most = usize::try_from(what.limit.unwrap_or(FEW).clamp(1, FEW)).unwrap_or(1);
    let (mut clients, mut read) = (Vec::new(), what.after.unwrap_or_default());
    loop {
        let page = store.clients_since(read, PAGE).await?;
        if page.is_empty() {
            return Ok(Listed { clients, next: None });
        }
        for (seq, client) in &page {
            if clients.len() == most {
                return Ok(Listed { clients, next: Some(read) });
            }
            read = *seq;
            if what.state.is_none_or(|state| state == client.state.into()) {
                clients.push(Shown::of(client));
            }
        }
    }
}

/// One client, and every decision on it.
///
/// # Errors
/// [`Fault::Unknown`]; [`Fault::Invalid`] where several are meant.
pub async fn show(store: &Store, config: &Config, which: &Which) -> Result<WithHistory, Fault> {
    let key = find(store, config, &which.client, which.issuer.as_deref()).await?;
    let client = store.client(&key).await?.ok_or_else(|| Fault::Unknown(Stuck::Unknown.to_string()))?;
    let decisions = store.client_history(&key).await?.into_iter().map(|one| Decided {
        state: one.state,
        reason: one.reason,
        actor: one.actor,
        made: written(u64::try_from(one.made).unwrap_or_default()),
    });
    Ok(WithHistory { client: Shown::of(&client), decisions: decisions.collect() })
}

/// Lets a client call.
///
/// # Errors
/// [`Fault::Invalid`], [`Fault::Unknown`], [`Fault::Conflict`] for a retired one; see [`Hand`] for the rest.
pub async fn approve(hand: &Hand<'_>, asked: &Approval) -> Result<Outcome, Fault> {
    let expires = asked.check(hand)?;
    let meant = Meant { client: &asked.client, issuer: asked.issuer.as_deref(), reason: &asked.reason };
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
    decide(hand, &Meant::by(asked), "admin/client_suspend", &change).await
}

/// Lets a suspended client call again, on the terms that it had.
///
/// # Errors
/// As of [`approve`]; [`Fault::Conflict`] for one that is not suspended.
pub async fn resume(hand: &Hand<'_>, asked: &Decision) -> Result<Outcome, Fault> {
    let change = |found: Option<Client>, _: &Key| found.ok_or(Stuck::Unknown)?.resumed();
    decide(hand, &Meant::by(asked), "admin/client_resume", &change).await
}

/// Refuses a client for ever.
///
/// # Errors
/// As of [`approve`].
pub async fn retire(hand: &Hand<'_>, asked: &Decision) -> Result<Outcome, Fault> {
    let change = |found: Option<Client>, _: &Key| found.ok_or(Stuck::Unknown)?.moved(State::Retired);
    decide(hand, &Meant::by(asked), "admin/client_retire", &change).await
}

/// Says who answers for a client, and what it is for.
///
/// # Errors
/// As of [`approve`].
pub async fn own(hand: &Hand<'_>, asked: &Ownership) -> Result<Outcome, Fault> {
    for (name, text) in [("owner", &asked.owner), ("purpose", &asked.purpose)] {
        at_most(name, text.as_deref())?;
    }
    let meant = Meant { client: &asked.client, issuer: asked.issuer.as_deref(), reason: &asked.reason };
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
}

impl<'a> Meant<'a> {
    fn by(asked: &'a Decision) -> Self {
        Self { client: &asked.client, issuer: asked.issuer.as_deref(), reason: &asked.reason }
    }
}

type Change<'a> = dyn Fn(Option<Client>, &Key) -> Result<Client, Stuck> + Sync + 'a;

async fn decide(hand: &Hand<'_>, meant: &Meant<'_>, operation: &'static str, change: &Change<'_>) -> Result<Outcome, Fault> {
    for (name, text) in [("reason", meant.reason), ("by", hand.actor), ("client", meant.client)] {
        said(name, text)?;
    }
    let key = find(hand.store, hand.config, meant.client, meant.issuer).await?;
    let reason = Reason { text: meant.reason, actor: hand.actor, made: hand.seconds() };
    let (seq, client) = hand.store.change_client(&key, |found| change(found, &key), &reason).await?;
    hand.witness.saw(operation, format!("client {} of {}", client.key.id, client.key.issuer), meant.reason).await?;
    Ok(Outcome { client: Shown::of(&client), seq })
}

/// By its id, or else by its code. SECURITY: never one of several that would fit.
async fn find(store: &Store, config: &Config, name: &str, of: Option<&str>) -> Result<Key, Fault> {
    if let Some(text) = of {
        return Ok(Key { issuer: issuer(text, config)?, id: name.to_owned() });
    }
    let (mut found, mut read): (Vec<Key>, i64) = (Vec::new(), 0);
    loop {
        let page = store.clients_since(read, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        read = *last;
        found.extend(page.into_iter().map(|(_, client)| client.key).filter(|key| key.id == name || key.code() == name));
    }
    // A client that changed while it was read is read twice.
    found.sort();
    found.dedup();
    match (found.pop(), found.is_empty()) {
        (Some(key), true) => Ok(key),
        (Some(_), false) => Err(Fault::Invalid(format!("`{name}` means several clients: name the id and the issuer"))),
        (None, _) => {
            Err(Fault::Unknown(format!("no client `{name}` is known; to enter it before it was seen, name its id and its issuer")))
        }
    }
}
