//! `doorward clients`: the inventory of clients in store and configuration, the queue of those that wait, and decisions on them.
//!
//! Asks the admin API, or works on the store itself. A decision is on the disk and in the audit log when the command
//! returns; replicas hear of it within a second.

use std::time::SystemTime;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::comparison::plain;
use super::reach::{Place, look};
use super::{Failure, say};
use crate::control::clients::{
    self, Approval, Decision, Listed, Listing, Outcome, Ownership, Shown, SourceName, StateName, Which, WithHistory,
};
use crate::control::grants::Grant;
use crate::control::{Fault, Hand};
use crate::review::words;

#[derive(Args)]
pub struct Clients {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// List clients; those that wait for a decision with `--state pending`.
    List(List),
    /// Show one client, every decision on it, and what was used of what it was granted.
    Show(Show),
    /// Let a client call. What is not said stays as it was; a client that is not known yet is entered.
    Approve(Box<Approve>),
    /// Refuse a client until it is approved again, or resumed.
    Suspend(Decide),
    /// Let a suspended client call again, on the terms that it had.
    Resume(Decide),
    /// Refuse a client for ever.
    Retire(Decide),
    /// Say who answers for a client, and what it is for.
    Own(Own),
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    place: Place,
    /// Only those in this state.
    #[arg(long)]
    state: Option<StateName>,
    /// A JSON array.
    #[arg(long)]
    json: bool,
}

/// Which client is meant.
#[derive(Args)]
struct Named {
    #[command(flatten)]
    place: Place,
    /// The client's id, or the code that it was told.
    #[arg(value_name = "CLIENT", allow_hyphen_values = true)]
    name: String,
    /// The issuer identifier, as in `iss`, or the issuer's name in the configuration.
    #[arg(long)]
    issuer: Option<String>,
}

#[derive(Args)]
struct Show {
    #[command(flatten)]
    which: Named,
    /// A JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Decide {
    #[command(flatten)]
    which: Named,
    /// Why, for the records.
    #[arg(long)]
    reason: String,
    /// Who decides, for the records. Over the admin API it is known who asks.
    #[arg(long = "by", value_name = "NAME", required_unless_present = "admin")]
    by: Option<String>,
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
    #[arg(long, value_name = "TIME", conflicts_with = "no_expiry")]
    expires: Option<String>,
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

impl Clients {
    pub fn run(self) -> Result<(), Failure> {
        match self.what {
            What::List(list) => list.run(),
            What::Show(show) => show.run(),
            What::Approve(approve) => {
                let (decide, asked) = approve.asked();
                decide.run("approve", &asked, async |hand| clients::approve(hand, &asked).await)
            }
            What::Suspend(decide) => {
                let asked = decide.asked();
                decide.run("suspend", &asked, async |hand| clients::suspend(hand, &asked).await)
            }
            What::Resume(decide) => {
                let asked = decide.asked();
                decide.run("resume", &asked, async |hand| clients::resume(hand, &asked).await)
            }
            What::Retire(decide) => {
                let asked = decide.asked();
                decide.run("retire", &asked, async |hand| clients::retire(hand, &asked).await)
            }
            What::Own(own) => {
                let Decision { client, issuer, reason, by } = own.decide.asked();
                let Owner { owner, purpose } = own.owner;
                let asked = Ownership { client, issuer, reason, by, owner, purpose };
                own.decide.run("own", &asked, async |hand| clients::own(hand, &asked).await)
            }
        }
    }
}

impl Approve {
    fn asked(self) -> (Decide, Approval) {
        let Self { decide, owner: Owner { owner, purpose }, upstreams, all_upstreams, scopes, all_scopes, expires, no_expiry } = self;
        let Decision { client, issuer, reason, by } = decide.asked();
        let asked =
            Approval { client, issuer, reason, by, owner, purpose, upstreams, all_upstreams, scopes, all_scopes, expires, no_expiry };
        (decide, asked)
    }
}

impl List {
    /// Every page.
    fn all(&self) -> Result<Vec<Shown>, Failure> {
        let (Place { file, at }, state) = (&self.place, self.state);
        let Some(api) = at.api()? else {
            return look(file, async |store, config| clients::all(store, config, state).await);
        };
        let (mut all, mut asked) = (Vec::new(), Listing { state, ..Listing::default() });
        loop {
            let page: Listed = api.get("/admin/v1/clients", &asked)?;
            all.extend(page.clients);
            match page.next {
                Some(next) => asked.after = Some(next),
                None => return Ok(all),
            }
        }
    }

    fn run(self) -> Result<(), Failure> {
        let clients = self.all()?;
        if self.json {
            return say(&pretty(&clients));
        }
        for Shown { id, issuer, code, state, source, owner, last_used, about, .. } in &clients {
            let owner = if owner.is_empty() { "-" } else { owner };
            let used = last_used.as_ref().map_or_else(|| "never used".to_owned(), |last| format!("last used {last}"));
            let (state, source) = (word(*state), origin(*source));
            let name = about.name.as_ref().map(|name| format!(" `{}`", plain(name))).unwrap_or_default();
            say(&format!("{state:<9} {source:<10} {code} {} {issuer} {} {used}{name}\n", plain(id), plain(owner)))?;
            for flag in about.flags.iter().flatten() {
                say(&format!("{:<9} {}\n", "", plain(flag)))?;
            }
        }
        Ok(())
    }
}

impl Show {
    fn run(self) -> Result<(), Failure> {
        let Named { place, name, issuer } = self.which;
        let which = Which { client: name, issuer };
        let WithHistory { client, decisions, grants } = match place.at.api()? {
            Some(api) => api.get("/admin/v1/client", &which)?,
            None => look(&place.file, async |store, config| clients::show(store, config, &which, SystemTime::now()).await)?,
        };
        let mut object = serde_json::to_value(&client).unwrap_or_default();
        if self.json {
            if let Some(object) = object.as_object_mut() {
                object.insert("decisions".into(), serde_json::to_value(&decisions).unwrap_or_default());
                object.insert("grants".into(), serde_json::to_value(&grants).unwrap_or_default());
            }
            return say(&pretty(&object));
        }
        for (name, value) in object.as_object().into_iter().flatten() {
            say(&format!("{name}: {}\n", plain(&value.to_string())))?;
        }
        for Grant { upstream, subject, scopes, used, last, .. } in &grants {
            let names: Vec<String> = used.iter().map(|used| used.name.clone()).collect();
            let (scopes, names) = (words::listed(scopes), words::listed(&names));
            say(&plain(&format!("grant: {subject} at {upstream}, scopes {scopes}, used {names}, last {last}")))?;
            say("\n")?;
        }
        for decision in decisions {
            say(&format!("{} {} by {}: {}\n", decision.made, decision.state, plain(&decision.actor), plain(&decision.reason)))?;
        }
        Ok(())
    }
}

impl Decide {
    fn asked(&self) -> Decision {
        let Named { place: _, name, issuer } = &self.which;
        Decision { client: name.clone(), issuer: issuer.clone(), reason: self.reason.clone(), by: self.by.clone() }
    }

    fn run(&self, what: &str, asked: &impl Serialize, work: impl AsyncFnOnce(&Hand<'_>) -> Result<Outcome, Fault>) -> Result<(), Failure> {
        let by = self.by.as_deref();
        let Outcome { client, seq } = self.which.place.change(&format!("/admin/v1/client/{what}"), (asked, by), work)?;
        say(&format!("{}: {} of {} ({seq})\n", word(client.state), plain(&client.id), client.issuer))
    }
}

fn word(state: StateName) -> &'static str {
    match state {
        StateName::Pending => "pending",
        StateName::Approved => "approved",
        StateName::Suspended => "suspended",
        StateName::Retired => "retired",
    }
}

fn origin(source: SourceName) -> &'static str {
    match source {
        SourceName::Configured => "configured",
        SourceName::Entered => "entered",
        SourceName::Observed => "observed",
        SourceName::Registered => "registered",
        SourceName::Document => "document",
    }
}

fn pretty(value: &impl Serialize) -> String {
    format!("{:#}\n", serde_json::to_value(value).unwrap_or_default())
}
