//! What is granted and not used? Clients, grants, scopes and wildcards held against what was observed.
//!
//! A grant is what one subject lets one client do at one upstream. Judged by the rules as they are now. Use before the window
//! does not count; where use is not all known, nothing smaller is proposed. Knows no database, no file and no clock.

mod narrow;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use narrow::Narrowing;

use super::client::{Client, Key, State};
use super::observed::{About, Fact, Gap, Span};
use crate::mcp::Kind;
use crate::policy::known::Known;
use crate::policy::{Caller, Policy};
use crate::principal::{Principal, Proof};

/// Seconds since 1970, told as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(inline)]
pub struct Time(#[schemars(with = "String")] pub u64);

/// A word of ours.
pub type Word = Cow<'static, str>;

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The end of the year 9999, beyond which there is no such text.
        write!(f, "{}", humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(self.0.min(253_402_300_799))))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(told: D) -> Result<Self, D::Error> {
        let time = humantime::parse_rfc3339(&String::deserialize(told)?).map_err(de::Error::custom)?;
        Ok(Self(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()))
    }
}

/// An upstream with its rules as they are now.
#[derive(Clone, Copy, Debug)]
pub struct Upstream<'a> {
    pub name: &'a Arc<str>,
    pub policy: &'a Policy,
}

/// What a review is made from. Times in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    pub upstreams: &'a [Upstream<'a>],
    pub clients: &'a [Client],
    /// In their order.
    pub facts: &'a [Fact],
    pub gaps: &'a [Gap],
    /// When observing began.
    pub begun: Option<u64>,
    /// Use before this does not count.
    pub since: u64,
    pub now: u64,
    /// Only this client; its review says nothing of rules, which others use too.
    pub only: Option<&'a Key>,
}

/// What was found.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Review {
    pub made: Time,
    /// Use before this does not count.
    pub since: Time,
    /// When observing began; where that is later than `since`, less is known than was asked for.
    pub observed_since: Option<Time>,
    /// Where use is not all known.
    pub gaps: Vec<Unknown>,
    pub clients: Vec<ClientLine>,
    pub grants: Vec<Grant>,
    pub findings: Vec<Finding>,
    /// Of clients, grants and findings without counts, times and lines: another one when something is to be looked at anew.
    pub digest: String,
    /// Narrower rules, for a patch.
    #[serde(skip)]
    pub narrowings: Vec<Narrowing>,
}

/// A kind of use at an upstream of which some is not known.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ReviewGap")]
pub struct Unknown {
    pub upstream: String,
    pub about: Word,
    pub lost: u64,
    pub last: Time,
}

/// A client, as it was used.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ReviewedClient")]
pub struct ClientLine {
    pub issuer: String,
    pub id: String,
    pub code: String,
    pub state: Word,
    pub owner: String,
    pub purpose: String,
    /// The ceiling, where there is one.
    pub scopes: Option<Vec<String>>,
    pub upstreams: Option<Vec<String>>,
    pub expires: Option<Time>,
    pub uses: u64,
    pub first_used: Option<Time>,
    pub last_used: Option<Time>,
    pub subjects: usize,
}

/// What one subject lets one client do at one upstream.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ReviewedGrant")]
pub struct Grant {
    pub upstream: String,
    pub issuer: String,
    pub client: Option<String>,
    pub subject: String,
    /// Those that came with its tokens and that the client's ceiling leaves.
    pub scopes: Vec<String>,
    /// Those of them on which its use rests.
    pub needed: Vec<String>,
    pub reachable: Vec<Reachable>,
    pub used: Vec<Used>,
    pub passed: u64,
    pub refused: u64,
    pub first: Time,
    pub last: Time,
    /// What the rules ask for, where a wider scope implies it.
    #[serde(skip)]
    smallest: BTreeSet<String>,
}

/// A rule that could let the caller through.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ReviewedRule")]
pub struct Reachable {
    pub rule: String,
    pub place: String,
    pub tools: Vec<String>,
    pub prompts: Vec<String>,
    pub resources: Vec<String>,
    /// The condition that cannot be decided here.
    pub depends_on: Option<Word>,
}

/// A thing that the caller used.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ReviewedUse")]
pub struct Used {
    pub kind: Word,
    pub name: String,
    pub uses: u64,
    pub first: Time,
    pub last: Time,
    /// The rule that decides on it now.
    pub rule: Option<String>,
}

/// What could be less.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// Approved, or not decided on, and not used.
    UnusedClient { issuer: String, client: String, code: String, state: Word, last_used: Option<Time> },
    /// Nothing was ever done with it.
    UnusedGrant { upstream: String, issuer: String, client: Option<String>, subject: String, scopes: Vec<String> },
    /// No use of a client rests on these scopes.
    UnneededScopes {
        issuer: String,
        client: Option<String>,
        code: Option<String>,
        unneeded: Vec<String>,
        /// Of those held: a ceiling that takes nothing away that was used.
        enough: Vec<String>,
        /// What the rules themselves ask for: enough for new tokens.
        smallest: Vec<String>,
    },
    /// Nothing that the rule names was used.
    UnusedRule { upstream: String, rule: String, place: String },
    /// A wildcard says more than was used.
    WideWildcard(Narrowing),
}

impl Finding {
    /// Without the line of a rule, which is another one after each change of its file.
    fn anywhere(self) -> Self {
        match self {
            Self::UnusedRule { upstream, rule, .. } => Self::UnusedRule { upstream, rule, place: String::new() },
            Self::WideWildcard(narrowing) => Self::WideWildcard(Narrowing { place: String::new(), ..narrowing }),
            other => other,
        }
    }
}

/// What is granted, and what of it was not needed.
pub fn review(basis: &Basis<'_>) -> Review {
    let is_meant = |issuer: &str, client: &str| basis.only.is_none_or(|key| key.issuer == issuer && key.id == client);
    let gaps: Vec<&Gap> = basis.gaps.iter().filter(|gap| gap.last >= basis.since).collect();
    let clients: Vec<ClientLine> = known(basis).into_iter().filter(|client| is_meant(&client.issuer, &client.id)).collect();
    let grants: Vec<Grant> =
        grants(basis).into_iter().filter(|grant| is_meant(&grant.issuer, grant.client.as_deref().unwrap_or_default())).collect();
    let mut findings = unused(&clients, &grants, basis.since);
    findings.extend(unneeded(&grants, &gaps));
    let mut narrowings = Vec::new();
    if basis.only.is_none() {
        for upstream in basis.upstreams {
            let found = narrow::rules(upstream, basis, &gaps);
            findings.extend(found.unused);
            findings.extend(found.narrowings.iter().cloned().map(Finding::WideWildcard));
            narrowings.extend(found.narrowings);
        }
    }
    let digest = digest(&clients, &grants, &findings);
    let unknown =
        |gap: &Gap| Unknown { upstream: gap.upstream.to_string(), about: gap.about.name().into(), lost: gap.lost, last: Time(gap.last) };
    Review {
        made: Time(basis.now),
        since: Time(basis.since),
        observed_since: basis.begun.map(Time),
        gaps: gaps.into_iter().map(unknown).collect(),
        clients,
        grants,
        findings,
        digest,
        narrowings,
    }
}

/// What passed of a client, and of whom.
type Came<'a> = (Option<Span>, BTreeSet<&'a str>);

/// Those in the store, and those that only came with requests.
fn known(basis: &Basis<'_>) -> Vec<ClientLine> {
    let mut uses: BTreeMap<(&str, &str), Came<'_>> = BTreeMap::new();
    for Fact { of, span } in basis.facts.iter().filter(|fact| !fact.of.client.is_empty()) {
        let (passed, subjects) = uses.entry((&of.issuer, &of.client)).or_default();
        subjects.insert(&of.subject);
        if of.about == About::Passed {
            match passed {
                Some(before) => before.add(*span),
                None => *passed = Some(*span),
            }
        }
    }
    let mut all: BTreeMap<(&str, &str), Client> =
        basis.clients.iter().map(|client| ((&*client.key.issuer, &*client.key.id), client.clone())).collect();
    for (issuer, id) in uses.keys() {
        let key = Key { issuer: (*issuer).to_owned(), id: (*id).to_owned() };
        all.entry((issuer, id)).or_insert_with(|| Client::seen(key, basis.now));
    }
    let one = |(place, Client { key, state, terms, .. }): ((&str, &str), Client)| {
        let (passed, subjects) = uses.get(&place).map_or((None, 0), |(passed, subjects)| (*passed, subjects.len()));
        ClientLine {
            code: key.code(),
            issuer: key.issuer,
            id: key.id,
            state: state.name().into(),
            owner: terms.owner,
            purpose: terms.purpose,
            scopes: terms.scopes,
            upstreams: terms.upstreams,
            expires: terms.expires.map(Time),
            uses: passed.map_or(0, |span| span.uses),
            first_used: passed.map(|span| Time(span.first)),
            last_used: passed.map(|span| Time(span.last)),
            subjects,
        }
    };
    all.into_iter().map(one).collect()
}

/// Facts of one caller lie together.
fn grants(basis: &Basis<'_>) -> Vec<Grant> {
    let is_same = |one: &Fact, other: &Fact| {
        let caller = |fact: &Fact| (fact.of.upstream.clone(), fact.of.issuer.clone(), fact.of.client.clone(), fact.of.subject.clone());
        caller(one) == caller(other)
    };
    let ceilings: BTreeMap<(&str, &str), &Vec<String>> =
        basis.clients.iter().filter_map(|client| Some(((&*client.key.issuer, &*client.key.id), client.terms.scopes.as_ref()?))).collect();
    basis.facts.chunk_by(is_same).filter_map(|facts| grant(facts, &ceilings, basis)).collect()
}

fn grant(facts: &[Fact], ceilings: &BTreeMap<(&str, &str), &Vec<String>>, basis: &Basis<'_>) -> Option<Grant> {
    let of = &facts.first()?.of;
    let policy = basis.upstreams.iter().find(|upstream| *upstream.name == of.upstream).map(|upstream| upstream.policy);
    let ceiling = ceilings.get(&(&*of.issuer, &*of.client));
    let counts = |scope: &str| ceiling.is_none_or(|ceiling| ceiling.iter().any(|kept| kept == scope));
    let lately = || facts.iter().filter(|fact| fact.span.last >= basis.since);
    let is_scope = |fact: &&Fact| fact.of.about == About::Scope && counts(&fact.of.name);
    let scopes: Vec<String> = lately().filter(is_scope).map(|fact| fact.of.name.to_string()).collect();
    let (mut used, mut needed, mut smallest) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for Fact { of, span } in lately() {
        let About::Thing(kind) = of.about else { continue };
        let rule = policy.and_then(|policy| policy.naming(kind, &of.name));
        for (held, asked) in rule.filter(|rule| !rule.deny).map(|rule| rule.rests_on(&scopes)).unwrap_or_default() {
            needed.insert(held.to_owned());
            smallest.insert(asked.to_owned());
        }
        let (kind, name, rule) = (kind.as_str(), of.name.to_string(), rule.map(|rule| rule.name.clone()));
        used.push(Used { kind: kind.into(), name, uses: span.uses, first: Time(span.first), last: Time(span.last), rule });
    }
    let count = |about| facts.iter().find(|fact| fact.of.about == about).map_or(0, |fact| fact.span.uses);
    let client = (!of.client.is_empty()).then(|| of.client.to_string());
    let proof = Proof {
        issuer: of.issuer.clone(),
        subject: of.subject.to_string(),
        client: client.clone(),
        scopes: scopes.clone(),
        ..Proof::default()
    };
    Some(Grant {
        upstream: of.upstream.to_string(),
        issuer: of.issuer.to_string(),
        client,
        subject: of.subject.to_string(),
        scopes,
        needed: needed.into_iter().collect(),
        reachable: policy.map(|policy| reachable(policy, Principal::new(proof), basis.now)).unwrap_or_default(),
        used,
        passed: count(About::Passed),
        refused: count(About::Refused),
        first: Time(facts.iter().map(|fact| fact.span.first).min()?),
        last: Time(facts.iter().map(|fact| fact.span.last).max()?),
        smallest,
    })
}

fn reachable(policy: &Policy, who: Principal, now: u64) -> Vec<Reachable> {
    let caller = Caller { principal: &who, source: Ipv4Addr::UNSPECIFIED.into(), now: UNIX_EPOCH + Duration::from_secs(now) };
    let nothing = BTreeMap::new();
    let reach = policy.reach(caller, Known { groups: false, source: false, arguments: &nothing });
    let one = |(_, rule, depends_on): (usize, &crate::policy::Rule, Option<&'static str>)| Reachable {
        rule: rule.name.clone(),
        place: rule.place.to_string(),
        tools: rule.tools.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
        prompts: rule.prompts.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
        resources: rule.resources.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
        depends_on: depends_on.map(Into::into),
    };
    reach.into_iter().map(one).collect()
}

/// Clients that may call and do not, and grants with which nothing was done.
fn unused(clients: &[ClientLine], grants: &[Grant], since: u64) -> Vec<Finding> {
    let may_call = |client: &&ClientLine| [State::Approved.name(), State::Pending.name()].contains(&&*client.state);
    let is_unused = |client: &&ClientLine| client.last_used.is_none_or(|last| last.0 < since);
    let mut all = Vec::new();
    for ClientLine { issuer, id, code, state, last_used, .. } in clients.iter().filter(may_call).filter(is_unused) {
        let (issuer, client, code) = (issuer.clone(), id.clone(), code.clone());
        all.push(Finding::UnusedClient { issuer, client, code, state: state.clone(), last_used: *last_used });
    }
    for grant in grants.iter().filter(|grant| grant.used.is_empty() && grant.last.0 >= since) {
        let Grant { upstream, issuer, client, subject, scopes, .. } = grant.clone();
        all.push(Finding::UnusedGrant { upstream, issuer, client, subject, scopes });
    }
    all
}

/// Of each client, over all that it does everywhere: a ceiling holds everywhere too.
fn unneeded(grants: &[Grant], gaps: &[&Gap]) -> Vec<Finding> {
    let mut clients: BTreeMap<(&str, Option<&str>), Vec<&Grant>> = BTreeMap::new();
    for grant in grants {
        clients.entry((&grant.issuer, grant.client.as_deref())).or_default().push(grant);
    }
    let has_gap = |grant: &&Grant| gaps.iter().any(|gap| *gap.upstream == *grant.upstream && gap.about != About::Scope);
    let mut all = Vec::new();
    for ((issuer, client), grants) in clients {
        let set =
            |scopes: fn(&Grant) -> Vec<&String>| -> BTreeSet<String> { grants.iter().flat_map(|grant| scopes(grant)).cloned().collect() };
        let (held, enough) = (set(|grant| grant.scopes.iter().collect()), set(|grant| grant.needed.iter().collect()));
        let smallest = set(|grant| grant.smallest.iter().collect());
        let unneeded: Vec<String> = held.difference(&enough).cloned().collect();
        // What was not used at all is told as such.
        if enough.is_empty() || (unneeded.is_empty() && smallest == enough) || grants.iter().any(has_gap) {
            continue;
        }
        let code = client.map(|id| Key { issuer: issuer.to_owned(), id: id.to_owned() }.code());
        all.push(Finding::UnneededScopes {
            issuer: issuer.to_owned(),
            client: client.map(str::to_owned),
            code,
            unneeded,
            enough: enough.into_iter().collect(),
            smallest: smallest.into_iter().collect(),
        });
    }
    all
}

fn digest(clients: &[ClientLine], grants: &[Grant], findings: &[Finding]) -> String {
    let clients: Vec<_> = clients
        .iter()
        .map(|one| (&one.issuer, &one.id, &one.state, &one.owner, &one.purpose, &one.scopes, &one.upstreams, one.expires))
        .collect();
    let grants: Vec<_> = grants
        .iter()
        .map(|one| {
            let used: Vec<_> = one.used.iter().map(|used| (&used.kind, &used.name)).collect();
            let reach: Vec<_> =
                one.reachable.iter().map(|one| (&one.rule, &one.tools, &one.prompts, &one.resources, &one.depends_on)).collect();
            (&one.upstream, &one.issuer, &one.client, &one.subject, &one.scopes, &one.needed, reach, used)
        })
        .collect();
    let findings: Vec<Finding> = findings.iter().cloned().map(Finding::anywhere).collect();
    let text = serde_json::to_vec(&(clients, grants, findings)).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text))
}

/// The key of a rule, and the kinds of things that it names.
const KEYS: [(&str, &[Kind]); 3] =
    [("tools", &[Kind::Tool]), ("prompts", &[Kind::Prompt]), ("resources", &[Kind::Resource, Kind::Template])];

#[cfg(test)]
mod tests;
