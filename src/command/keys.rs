//! `doorward keys`: the keys that issuers publish, those on hold, and decisions on them.
//!
//! Asks the admin API, or works on the store itself. A decision is on the disk and in the audit log when the command
//! returns; replicas hear of it within a second.

use clap::{Args, Subcommand};

use super::comparison::plain;
use super::reach::Place;
use super::{Failure, complain, say};
use crate::config::{Config, StorePlace};
use crate::control::keys::{self, Decision, Listed, Listing, Outcome, Shown, StateName, Version, Versions};
use crate::control::{Fault, Hand};
use crate::remote::Issuers;
use crate::store::Store;

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
    Versions(OfDocuments),
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    place: Place,
    /// Only those in this state.
    #[arg(long)]
    state: Option<StateName>,
    /// A JSON array, with every decision on each.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct OfDocuments {
    #[command(flatten)]
    place: Place,
    /// A JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Decide {
    #[command(flatten)]
    place: Place,
    /// The key's id (`kid`), or its thumbprint (RFC 7638).
    #[arg(value_name = "KEY", allow_hyphen_values = true)]
    name: String,
    /// The issuer identifier, as in `iss`, or the issuer's name in the configuration; `signals.NAME` for a transmitter.
    #[arg(long)]
    issuer: Option<String>,
    /// Why, for the records.
    #[arg(long)]
    reason: String,
    /// Who decides, for the records. Over the admin API it is known who asks.
    #[arg(long = "by", value_name = "NAME", required_unless_present = "admin")]
    by: Option<String>,
}

impl Keys {
    pub fn run(self) -> Result<(), Failure> {
        match self.what {
            What::List(list) => list.run(),
            What::Approve(decide) => decide.run("approve", async |hand, asked| keys::approve(hand, asked).await),
            What::Reject(decide) => decide.run("reject", async |hand, asked| keys::reject(hand, asked).await),
            What::Versions(versions) => versions.run(),
        }
    }
}

impl List {
    fn run(self) -> Result<(), Failure> {
        let listing = Listing { state: self.state };
        let here = async |store: &Store, config: &Config| keys::list(store, config, &listing).await;
        let Listed { keys } = self.place.read("/admin/v1/keys", &listing, here)?;
        if self.json {
            return say(&format!("{:#}\n", serde_json::to_value(&keys).unwrap_or_default()));
        }
        for Shown { issuer, thumbprint, kid, state, since, gone, until, .. } in &keys {
            let kid = if kid.is_empty() { "-" } else { kid };
            let gone = gone.as_ref().map(|gone| format!(" gone {gone}")).unwrap_or_default();
            let until = until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
            say(&format!("{:<8} {} {thumbprint} {issuer} since {since}{until}{gone}\n", state.name(), plain(kid)))?;
        }
        Ok(())
    }
}

impl OfDocuments {
    fn run(self) -> Result<(), Failure> {
        let here = async |store: &Store, _: &Config| keys::versions(store).await;
        let Versions { versions } = self.place.read("/admin/v1/keys/versions", &serde_json::json!({}), here)?;
        if self.json {
            return say(&format!("{:#}\n", serde_json::to_value(&versions).unwrap_or_default()));
        }
        for Version { issuer, kind, digest, first_seen, last_seen, .. } in &versions {
            say(&format!("{kind:<8} {digest} {issuer} first {first_seen} last {last_seen}\n"))?;
        }
        Ok(())
    }
}

impl Decide {
    fn run(&self, what: &str, work: impl AsyncFnOnce(&Hand<'_>, &Decision) -> Result<Outcome, Fault>) -> Result<(), Failure> {
        let Self { place, name, issuer, reason, by } = self;
        let asked = Decision { key: name.clone(), issuer: issuer.clone(), reason: reason.clone(), by: by.clone() };
        let path = format!("/admin/v1/key/{what}");
        let Outcome { state, key, issuer, seq } = place.change(&path, (&asked, by.as_deref()), async |hand| work(hand, &asked).await)?;
        say(&format!("{}: key {} of {issuer} ({seq})\n", state.name(), plain(&key)))
    }
}

/// What is known of issuers' keys, for a command that verifies a token itself. Makes no database.
pub(super) async fn recall(config: &Config, issuers: &Issuers) {
    let Some(store) = &config.store else { return };
    if matches!(&store.place, StorePlace::Sqlite(path) if !path.exists()) {
        return;
    }
    let read = async {
        let database = Store::open(&store.place).await.map_err(Fault::from)?;
        let keys = keys::all(&database).await;
        database.close().await;
        keys
    };
    match read.await {
        Ok(keys) => keys.into_iter().for_each(|key| issuers.surfaces().keys.apply(key)),
        Err(fault) => complain(&format!("doorward: {fault}; which keys are on hold is not known")),
    }
}
