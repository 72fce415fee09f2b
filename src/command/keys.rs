//! `doorward keys`: the keys that issuers publish, those on hold, and decisions on them.
//!
//! A decision is on the disk and in the audit log when the command returns; replicas hear of it within a second.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::comparison::plain;
use super::reach::with_store;
use super::{Failure, File, complain, recorder, say};
use crate::config::{self, Config, StorePlace, Transmitter};
use crate::control::{Fault, issuer};
use crate::governance::surface::IssuerKey;
use crate::governance::{Acceptance, KeyState};
use crate::remote::Issuers;
use crate::state::environment;
use crate::store::{Error, Kept, Reason, Store};

/// Bytes of a reason or a name.
const LONGEST: usize = 1_024;

#[derive(Args)]
pub struct Keys {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// List the keys of issuers and of transmitters of signals; those that wait for a decision with `--state held`.
    List(List),
    /// Let a key verify from now on.
    Approve(Decide),
    /// Let a key verify nothing, however often its issuer publishes it.
    Reject(Decide),
    /// List the versions of key sets and metadata documents that were seen.
    Versions(Versions),
}

#[derive(Clone, Copy, ValueEnum)]
enum Word {
    Accepted,
    Held,
    Rejected,
}

impl Word {
    fn state(self) -> KeyState {
        match self {
            Self::Accepted => KeyState::Accepted,
            Self::Held => KeyState::Held,
            Self::Rejected => KeyState::Rejected,
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
    /// A JSON array, with every decision on each.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Versions {
    #[command(flatten)]
    file: File,
    /// A JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Decide {
    #[command(flatten)]
    file: File,
    /// The key's id (`kid`), or its thumbprint (RFC 7638).
    #[arg(value_name = "KEY")]
    name: String,
    /// The issuer identifier, as in `iss`, or the issuer's name in the configuration; `signals.NAME` for a transmitter.
    #[arg(long)]
    issuer: Option<String>,
    /// Why, for the records.
    #[arg(long)]
    reason: String,
    /// Who decides, for the records.
    #[arg(long = "by", value_name = "NAME")]
    by: String,
}

impl Keys {
    pub fn run(self) -> Result<(), Failure> {
        match self.what {
            What::List(list) => list.run(),
            What::Approve(decide) => decide.run("admin/key_approve", KeyState::Accepted),
            What::Reject(decide) => decide.run("admin/key_reject", KeyState::Rejected),
            What::Versions(versions) => versions.run(),
        }
    }
}

impl List {
    fn run(self) -> Result<(), Failure> {
        let config = load(&self.file)?;
        let told = with_store(&config, async |store| {
            let mut told = Vec::new();
            for key in all(store).await?.into_iter().filter(|key| self.state.is_none_or(|word| key.state == word.state())) {
                let decisions = if self.json { store.key_history(&key).await.map_err(failed)? } else { Vec::new() };
                told.push((key, decisions));
            }
            Ok(told)
        })?;
        if self.json {
            let keys: Vec<Value> = told
                .iter()
                .map(|(key, decisions)| {
                    let IssuerKey { issuer, thumbprint, kid, algorithms, state, since, gone } = key;
                    json!({
                        "issuer": issuer, "kid": kid, "thumbprint": thumbprint, "algorithms": algorithms, "state": state.name(),
                        "since": time(*since), "gone": gone.map(time), "until": until(key, &config), "decisions": decisions,
                    })
                })
                .collect();
            return say(&format!("{:#}\n", Value::from(keys)));
        }
        for (key, _) in &told {
            let IssuerKey { issuer, thumbprint, kid, state, since, gone, .. } = key;
            let kid = if kid.is_empty() { "-" } else { kid };
            let gone = gone.map(|gone| format!(" gone {}", time(gone))).unwrap_or_default();
            let until = until(key, &config).map(|until| format!(" until {until}")).unwrap_or_default();
            say(&format!("{:<8} {} {thumbprint} {issuer} since {}{until}{gone}\n", state.name(), plain(kid), time(*since)))?;
        }
        Ok(())
    }
}

impl Versions {
    fn run(self) -> Result<(), Failure> {
        let config = load(&self.file)?;
        let versions = with_store(&config, async |store| store.versions().await.map_err(failed))?;
        let stamp = |seconds: i64| time(u64::try_from(seconds).unwrap_or_default());
        if self.json {
            let versions: Vec<Value> = versions
                .iter()
                .map(|Kept { issuer, kind, digest, summary, first_seen, last_seen }| {
                    json!({
                        "issuer": issuer, "kind": kind, "digest": digest, "first_seen": stamp(*first_seen), "last_seen": stamp(*last_seen),
                        "summary": serde_json::from_str::<Value>(summary).unwrap_or_default(),
                    })
                })
                .collect();
            return say(&format!("{:#}\n", Value::from(versions)));
        }
        for Kept { issuer, kind, digest, first_seen, last_seen, .. } in &versions {
            say(&format!("{kind:<8} {digest} {issuer} first {} last {}\n", stamp(*first_seen), stamp(*last_seen)))?;
        }
        Ok(())
    }
}

impl Decide {
    fn run(&self, operation: &'static str, state: KeyState) -> Result<(), Failure> {
        let config = load(&self.file)?;
        for (name, text) in [("--reason", &self.reason), ("--by", &self.by), ("KEY", &self.name)] {
            if text.trim().is_empty() || text.len() > LONGEST {
                return Err(Failure::Impossible(format!("`{name}` must say something, in at most {LONGEST} bytes")));
            }
        }
        let of = self.issuer.as_deref().map(|text| whose(text, &config)).transpose()?;
        let made = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (seq, key) = with_store(&config, async |store| {
            let key = self.find(all(store).await?, of.as_deref())?;
            let reason = Reason { text: &self.reason, actor: &self.by, made };
            let decided = store.decide_key((&key.issuer, &key.thumbprint), state, |_| false, &reason).await.map_err(failed)?;
            decided.ok_or_else(|| Failure::Impossible(format!("key {} is {} already", plain(&key.label()), state.name())))
        })?;
        say(&format!("{}: key {} of {} ({seq})\n", state.name(), plain(&key.label()), key.issuer))?;
        let name = format!("key {} of {}", key.label(), key.issuer);
        Ok(recorder::record(&config, operation, name, (&self.reason, &self.by)).map_err(Fault::Unrecorded)?)
    }

    /// By its thumbprint or its id. SECURITY: never one of several that would fit.
    fn find(&self, keys: Vec<IssuerKey>, of: Option<&str>) -> Result<IssuerKey, Failure> {
        let is_named = |key: &IssuerKey| key.thumbprint == self.name || key.kid.split(' ').any(|kid| kid == self.name);
        let fits = |key: &IssuerKey| is_named(key) && of.is_none_or(|of| key.issuer == of);
        let mut found: Vec<IssuerKey> = keys.into_iter().filter(fits).collect();
        match (found.pop(), found.is_empty()) {
            (Some(key), true) => Ok(key),
            (Some(_), false) => {
                let hint = "write the thumbprint, as `doorward keys list` shows it, and `--issuer`";
                Err(Failure::Impossible(format!("`{}` means several keys: {hint}", self.name)))
            }
            (None, _) => Err(Failure::Impossible(format!("no key `{}` was seen; `doorward keys list` shows those that were", self.name))),
        }
    }
}

/// When a hold ends by itself.
fn until(key: &IssuerKey, config: &Config) -> Option<String> {
    let issuer = config.issuers.values().find(|issuer| *issuer.rules.issuer == *key.issuer).map(|issuer| issuer.accept_new_keys);
    let transmitter = || transmitters(config).find(|(_, one)| one.surface() == key.issuer).map(|(_, one)| one.accept_new_keys);
    match (key.state, issuer.or_else(transmitter)?) {
        (KeyState::Held, Acceptance::After(held)) => Some(time(key.since.saturating_add(held.as_secs()))),
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

async fn all(store: &Store) -> Result<Vec<IssuerKey>, Failure> {
    const PAGE: i64 = 5_000;
    let (mut keys, mut read) = (Vec::new(), 0);
    loop {
        let page = store.issuer_keys_since(read, PAGE).await.map_err(failed)?;
        let Some((last, _)) = page.last() else { break };
        read = *last;
        keys.extend(page.into_iter().map(|(_, key)| key));
    }
    keys.sort_by(|a: &IssuerKey, b: &IssuerKey| (&a.issuer, a.since, &a.thumbprint).cmp(&(&b.issuer, b.since, &b.thumbprint)));
    Ok(keys)
}

/// What is known of issuers' keys, for a command that verifies a token itself. Makes no database.
pub(super) async fn recall(config: &Config, issuers: &Issuers) {
    let Some(store) = &config.store else { return };
    if matches!(&store.place, StorePlace::Sqlite(path) if !path.exists()) {
        return;
    }
    let read = async {
        let database = Store::open(&store.place).await.map_err(failed)?;
        let keys = all(&database).await;
        database.close().await;
        keys
    };
    match read.await {
        Ok(keys) => keys.into_iter().for_each(|key| issuers.surfaces().keys.apply(key)),
        Err(Failure::Impossible(what)) => complain(&format!("doorward: {what}; which keys are on hold is not known")),
        Err(_) => {}
    }
}

fn load(file: &File) -> Result<Config, Failure> {
    config::load(&file.config, &environment).map(|loaded| loaded.config).map_err(Failure::Problems)
}

fn failed(error: Error) -> Failure {
    Failure::Impossible(format!("cannot use the store: {error}"))
}

fn time(seconds: u64) -> String {
    humantime::format_rfc3339(UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799))).to_string()
}
