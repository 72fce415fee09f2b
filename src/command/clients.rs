//! `doorward clients`: the inventory of clients in store and configuration, the queue of those that wait, and decisions on them.
//!
//! A decision is on the disk and in the audit log when the command returns; replicas hear of it within a second.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::comparison::plain;
use super::revoke::issuer;
use super::{Failure, File, recorder, runtime, say};
use crate::config::{self, Config, ConfiguredClient};
use crate::governance::client::{Client, Key, State, Stuck, Terms};
use crate::governance::review::{Grant, Time};
use crate::review::{self, Asked, words};
use crate::state::environment;
use crate::store::{ClientUse, Error, Reason, Store};

/// What a command may do to a client that stands in the configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Refuse it, in an emergency.
    Stricter,
    /// Take back such a refusal.
    Back,
    /// Nothing: that is for the configuration to say.
    None,
}

/// Bytes of a reason or a name.
const LONGEST: usize = 1_024;

#[derive(Args)]
pub struct Clients {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// List clients; those that wait for a decision with `--state pending`.
    List(List),
    /// Show one client and every decision on it.
    Show(Show),
    /// Let a client call. What is not said stays as it was; a client that is not known yet is entered.
    Approve(Box<Approve>),
    /// Refuse a client until it is approved again.
    Suspend(Decide),
    /// Refuse a client for ever.
    Retire(Decide),
    /// Say who answers for a client, and what it is for.
    Own(Own),
}

#[derive(Clone, Copy, ValueEnum)]
enum Word {
    Pending,
    Approved,
    Suspended,
    Retired,
}

impl Word {
    fn state(self) -> State {
        match self {
            Self::Pending => State::Pending,
            Self::Approved => State::Approved,
            Self::Suspended => State::Suspended,
            Self::Retired => State::Retired,
        }
    }
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    file: File,
    /// Only those in this state.
    #[arg(long)]
    state: Option<Word>,
    /// A JSON array.
    #[arg(long)]
    json: bool,
}

/// Which client is meant.
#[derive(Args)]
struct Which {
    #[command(flatten)]
    file: File,
    /// The client's id, or the code that it was told.
    #[arg(value_name = "CLIENT")]
    name: String,
    /// The issuer identifier, as in `iss`, or the issuer's name in the configuration.
    #[arg(long)]
    issuer: Option<String>,
}

#[derive(Args)]
struct Show {
    #[command(flatten)]
    which: Which,
    /// A JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Decide {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    why: WhyAndWho,
}

#[derive(Args)]
struct WhyAndWho {
    /// Why, for the records.
    #[arg(long)]
    reason: String,
    /// Who decides, for the records.
    #[arg(long = "by", value_name = "NAME")]
    by: String,
}

#[derive(Args)]
struct Approve {
    #[command(flatten)]
    decide: Decide,
    #[command(flatten)]
    owner: Owner,
    /// Only for these upstreams.
    #[arg(long, value_name = "NAME", value_delimiter = ',', conflicts_with = "all_upstreams")]
    upstreams: Option<Vec<String>>,
    /// For every upstream again.
    #[arg(long)]
    all_upstreams: bool,
    /// Only these scopes of its tokens count.
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', conflicts_with = "all_scopes")]
    scopes: Option<Vec<String>>,
    /// All scopes of its tokens count again.
    #[arg(long)]
    all_scopes: bool,
    /// Until this time (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339_weak, conflicts_with = "no_expiry")]
    expires: Option<SystemTime>,
    /// Until further notice again.
    #[arg(long)]
    no_expiry: bool,
}

#[derive(Args)]
struct Own {
    #[command(flatten)]
    decide: Decide,
    #[command(flatten)]
    owner: Owner,
}

#[derive(Args)]
struct Owner {
    /// Who answers for it.
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// What it is for.
    #[arg(long)]
    purpose: Option<String>,
}

impl Owner {
    fn of(&self, terms: Terms) -> Terms {
        let Self { owner, purpose } = self;
        Terms { owner: owner.clone().unwrap_or(terms.owner), purpose: purpose.clone().unwrap_or(terms.purpose), ..terms }
    }
}

impl Approve {
    fn terms(&self, terms: Terms) -> Terms {
        let unless = |lifted: bool, said: &Option<Vec<String>>, before| if lifted { None } else { said.clone().or(before) };
        let terms = self.owner.of(terms);
        Terms {
            upstreams: unless(self.all_upstreams, &self.upstreams, terms.upstreams),
            scopes: unless(self.all_scopes, &self.scopes, terms.scopes),
            expires: if self.no_expiry { None } else { self.expires.map(seconds).or(terms.expires) },
            ..terms
        }
    }

    fn says_terms(&self) -> bool {
        let Self { decide: _, owner: Owner { owner, purpose }, upstreams, all_upstreams, scopes, all_scopes, expires, no_expiry } = self;
        let said = [owner.is_some(), purpose.is_some(), upstreams.is_some(), scopes.is_some(), expires.is_some()];
        said.contains(&true) || *all_upstreams || *all_scopes || *no_expiry
    }

    /// What would refuse every call is not meant.
    fn check(&self, config: &Config) -> Result<(), Failure> {
        if self.expires.is_some_and(|expires| expires <= SystemTime::now()) {
            return Err(Failure::Impossible("`--expires` lies in the past".into()));
        }
        let is_known = |name: &String| config.routes.iter().any(|route| *route.name == **name);
        match self.upstreams.iter().flatten().find(|name| !is_known(name)) {
            Some(name) => Err(Failure::Impossible(format!("the configuration has no upstream `{name}`"))),
            None => Ok(()),
        }
    }
}

impl Clients {
    pub fn run(self) -> Result<(), Failure> {
        match self.what {
            What::List(list) => list.run(),
            What::Show(show) => show.run(),
            What::Approve(approve) => {
                let enter = |key: &Key| Some(Client::entered(key.clone()));
                let change = |client: Client| {
                    let terms = approve.terms(client.terms.clone());
                    Client { terms, ..client }.moved(State::Approved)
                };
                let reach = if approve.says_terms() { Reach::None } else { Reach::Back };
                approve.decide.run("admin/client_approve", reach, &|config| approve.check(config), &enter, &change)
            }
            What::Suspend(decide) => {
                decide.run("admin/client_suspend", Reach::Stricter, &|_| Ok(()), &|_| None, &|client| client.moved(State::Suspended))
            }
            What::Retire(decide) => {
                decide.run("admin/client_retire", Reach::Stricter, &|_| Ok(()), &|_| None, &|client| client.moved(State::Retired))
            }
            What::Own(own) => {
                let change = |client: Client| {
                    let (terms, state) = (own.owner.of(client.terms.clone()), client.state);
                    Client { terms, ..client }.moved(state)
                };
                own.decide.run("admin/client_own", Reach::None, &|_| Ok(()), &|_| None, &change)
            }
        }
    }
}

impl List {
    fn run(self) -> Result<(), Failure> {
        let (config, _) = load(&self.file)?;
        let mut clients = inventory(&config)?;
        clients.retain(|(client, _)| self.state.is_none_or(|word| client.state == word.state()));
        if self.json {
            let all: Vec<Value> = clients.iter().map(|(client, used)| shown(client, used.as_ref(), &config)).collect();
            return say(&format!("{:#}\n", Value::from(all)));
        }
        for (Client { key, state, source, terms, .. }, used) in &clients {
            let owner = if terms.owner.is_empty() { "-" } else { &terms.owner };
            let used = used
                .as_ref()
                .and_then(|used| used.last_used)
                .map_or_else(|| "never used".to_owned(), |last| format!("last used {}", Time(last)));
            let (state, source) = (state.name(), source.name());
            say(&format!("{state:<9} {source:<10} {} {} {} {} {used}\n", key.code(), plain(&key.id), key.issuer, plain(owner)))?;
        }
        Ok(())
    }
}

impl Show {
    fn run(self) -> Result<(), Failure> {
        let (config, now) = load(&self.which.file)?;
        let (key, found) = find(inventory(&config)?, &self.which.name, self.which.issuer.as_deref(), &config)?;
        let (client, used) = found.ok_or_else(|| told(Error::Client(Stuck::Unknown)))?;
        let (history, grants) = match &config.store {
            Some(_) => with_store(&config, async |store| {
                let history = store.client_history(&key).await.map_err(told)?;
                let asked = Asked { only: Some(key), ..Asked::default() };
                let grants = review::reviewed(&store, &config, &asked, now).await.map_err(told)?.review.grants;
                Ok((history, grants))
            })?,
            None => (Vec::new(), Vec::new()),
        };
        let mut object = shown(&client, used.as_ref(), &config);
        if let Some(object) = object.as_object_mut() {
            object.insert("decisions".into(), json!(history));
            object.insert("grants".into(), json!(grants));
        }
        if self.json {
            return say(&format!("{object:#}\n"));
        }
        for (name, value) in object.as_object().into_iter().flatten().filter(|(name, _)| !["decisions", "grants"].contains(&name.as_str()))
        {
            say(&format!("{name}: {value}\n"))?;
        }
        for Grant { upstream, subject, scopes, used, last, .. } in &grants {
            let names: Vec<String> = used.iter().map(|used| used.name.clone()).collect();
            let (scopes, names) = (words::listed(scopes), words::listed(&names));
            say(&plain(&format!("grant: {subject} at {upstream}, scopes {scopes}, used {names}, last {last}")))?;
            say("\n")?;
        }
        for decision in history {
            let when = humantime::format_rfc3339(UNIX_EPOCH + Duration::from_secs(u64::try_from(decision.made).unwrap_or_default()));
            say(&format!("{when} {} by {}: {}\n", decision.state, plain(&decision.actor), plain(&decision.reason)))?;
        }
        Ok(())
    }
}

impl Decide {
    fn run(
        &self,
        operation: &'static str,
        reach: Reach,
        check: &dyn Fn(&Config) -> Result<(), Failure>,
        enter: &dyn Fn(&Key) -> Option<Client>,
        change: &dyn Fn(Client) -> Result<Client, Stuck>,
    ) -> Result<(), Failure> {
        let (config, now) = load(&self.which.file)?;
        let WhyAndWho { reason, by } = &self.why;
        for (name, text) in [("--reason", reason), ("--by", by), ("CLIENT", &self.which.name)] {
            if text.trim().is_empty() || text.len() > LONGEST {
                return Err(Failure::Impossible(format!("`{name}` must say something, in at most {LONGEST} bytes")));
            }
        }
        check(&config)?;
        let (seq, client) = with_store(&config, async |store| {
            let known = config.with_configured(store.inventory().await.map_err(told)?);
            let (key, seen) = find(known, &self.which.name, self.which.issuer.as_deref(), &config)?;
            let configured = config.client(&key);
            if let Some(configured) = configured {
                check_reach(configured, store.client(&key).await.map_err(told)?.as_ref(), reach)?;
            }
            // What the configuration says of it is never written into the store.
            let entered =
                |seen: Option<Client>| Client { first_seen: seen.and_then(|seen| seen.first_seen), ..Client::entered(key.clone()) };
            let seen = seen.map(|(client, _)| client);
            let start = if configured.is_some() { Some(entered(seen)) } else { seen.or_else(|| enter(&key)) };
            let changed = |found: Option<Client>| change(found.or_else(|| start.clone()).ok_or(Stuck::Unknown)?);
            store.change_client(&key, changed, &Reason { text: reason, actor: by, made: now }).await.map_err(told)
        })?;
        let Client { key, state, .. } = &client;
        say(&format!("{}: {} of {} ({seq})\n", state.name(), plain(&key.id), key.issuer))?;
        let name = format!("client {} of {}", client.key.id, client.key.issuer);
        recorder::record(&config, "decided", operation, name, (&self.why.reason, &self.why.by))
    }
}

/// A client as it is now, with its use.
type Found = (Client, Option<ClientUse>);

/// By its id, or else by its code; with an issuer also one that is not known. SECURITY: never one of several that would fit.
pub(super) async fn found(name: &str, of: Option<&str>, store: &Store, config: &Config) -> Result<(Key, Option<Found>), Failure> {
    find(config.with_configured(store.inventory().await.map_err(told)?), name, of, config)
}

fn find(mut all: Vec<Found>, name: &str, of: Option<&str>, config: &Config) -> Result<(Key, Option<Found>), Failure> {
    if let Some(text) = of {
        let key = Key { issuer: issuer(text, config)?, id: name.to_owned() };
        let at = all.iter().position(|(client, _)| client.key == key);
        return Ok((key, at.map(|at| all.swap_remove(at))));
    }
    all.retain(|(client, _)| client.key.id == name || client.key.code() == name);
    match (all.pop(), all.is_empty()) {
        (Some(found), true) => Ok((found.0.key.clone(), Some(found))),
        (Some(_), false) => Err(Failure::Impossible(format!("`{name}` means several clients: write the id and `--issuer`"))),
        (None, _) => {
            let hint = "to enter it before it was seen, write its id and `--issuer`";
            Err(Failure::Impossible(format!("no client `{name}` is known; {hint}")))
        }
    }
}

fn load(file: &File) -> Result<(Config, u64), Failure> {
    let loaded = config::load(&file.config, &environment).map_err(Failure::Problems)?;
    Ok((loaded.config, seconds(SystemTime::now())))
}

pub(super) fn with_store<T>(config: &Config, work: impl AsyncFnOnce(Store) -> Result<T, Failure>) -> Result<T, Failure> {
    let Some(store) = &config.store else {
        return Err(Failure::Impossible("the configuration has no `store`, so no clients are kept here".into()));
    };
    runtime()?.block_on(async {
        let database = Store::open(&store.place).await.map_err(told)?;
        let done = work(database.clone()).await;
        database.close().await;
        done
    })
}

/// Every client that is known, in the store or in the configuration.
fn inventory(config: &Config) -> Result<Vec<Found>, Failure> {
    let stored = match (&config.store, config.clients.is_empty()) {
        (None, false) => Vec::new(),
        _ => with_store(config, async |store| store.inventory().await.map_err(told))?,
    };
    Ok(config.with_configured(stored))
}

/// May a command do this to a client that stands in the configuration?
fn check_reach(configured: &ConfiguredClient, stored: Option<&Client>, reach: Reach) -> Result<(), Failure> {
    let is_suspended = stored.is_some_and(|stored| stored.state == State::Suspended);
    match reach {
        Reach::Stricter => Ok(()),
        Reach::Back if is_suspended && configured.client.state == State::Approved => Ok(()),
        Reach::Back | Reach::None => {
            let (id, place) = (plain(&configured.client.key.id), &configured.place);
            let can = "a command can only suspend it, take that back, or retire it";
            Err(Failure::Impossible(format!("client `{id}` is configured at {place}: change it there; {can}")))
        }
    }
}

fn told(error: Error) -> Failure {
    match error {
        Error::Client(stuck) => Failure::Impossible(stuck.to_string()),
        error => Failure::Impossible(format!("cannot use the store: {error}")),
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn shown(client: &Client, used: Option<&ClientUse>, config: &Config) -> Value {
    let written = config.client(&client.key);
    let Client { key, state, source, terms: Terms { owner, purpose, upstreams, scopes, expires }, first_seen } = client;
    let time = |time: &Option<u64>| time.map(|time| Time(time).to_string());
    let (first_used, last_used) = used.map_or((None, None), |used| (used.first_used, used.last_used));
    json!({
        "id": key.id, "issuer": key.issuer, "code": key.code(), "state": state.name(), "source": source.name(),
        "owner": owner, "purpose": purpose, "upstreams": upstreams, "scopes": scopes,
        "expires": time(expires), "first_seen": time(first_seen),
        "first_used": time(&first_used), "last_used": time(&last_used),
        "uses": used.map_or(0, |used| used.uses), "subjects": used.map_or(0, |used| used.subjects),
        "configured_at": written.map(|written| &written.place),
        "redirect_uris": written.map_or(&[][..], |written| &written.redirect_uris),
        "names": written.map_or(&[][..], |written| &written.names),
    })
}
