//! `doorward users`: the accounts of self-managed mode. An operator invites, disables and lets in again; passwords
//! and passkeys are their people's own.
//!
//! Asks the admin API, or works on the store itself. A change is on the disk and in the audit log when the command returns;
//! what it ends, ends on every replica within a second.

use std::time::SystemTime;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::comparison::plain;
use super::reach::{self, Place};
use super::{Failure, say};
use crate::config::{self, Config};
use crate::control::users::{
    self, Groups, Invite, Listed, Offered, Outcome, Removal, Shown, ShownBrowser, ShownClient, ShownPasskey, Which, WithUse,
};
use crate::control::{Fault, Hand};
use crate::state::environment;
use crate::store::Store;

#[derive(Args)]
pub struct Users {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make an account, and print the link by which its person chooses a password.
    Invite(Inviting),
    /// List accounts.
    List(List),
    /// Let nobody sign in with an account any more, and end all that it has signed in or connected.
    Disable(Change),
    /// Let somebody sign in again.
    Enable(Change),
    /// Print a new link for somebody who has lost password, passkeys and recovery codes. Until it is used, those work on.
    Reset(Change),
    /// List somebody's passkeys.
    Passkeys(Named),
    /// Let nobody sign in with a passkey any more. `end` ends what it has signed in.
    RemovePasskey(RemovePasskey),
    /// Say which groups somebody is in, in the place of those before.
    Groups(Regroup),
    /// Show in which browsers somebody is signed in, and which clients act in their name.
    Sessions(Named),
    /// Sign somebody out everywhere and disconnect all their clients.
    End(Change),
}

#[derive(Args)]
struct Inviting {
    #[command(flatten)]
    change: Change,
    /// What people read instead of the name.
    #[arg(long)]
    display: Option<String>,
    /// Stands in tokens as `email`.
    #[arg(long)]
    email: Option<String>,
    /// Groups, for `groups` in rules.
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    groups: Vec<String>,
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    place: Place,
    /// A JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Regroup {
    #[command(flatten)]
    change: Change,
    /// None for no group at all.
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    groups: Vec<String>,
}

#[derive(Args)]
struct RemovePasskey {
    #[command(flatten)]
    change: Change,
    /// Which one, as `doorward users passkeys` calls it.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    passkey: String,
}

/// An account that is asked about.
#[derive(Args)]
struct Named {
    #[command(flatten)]
    place: Place,
    /// The account's name.
    name: String,
    /// In JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Change {
    #[command(flatten)]
    place: Place,
    /// The account's name.
    name: String,
    /// Why, for the records.
    #[arg(long)]
    reason: String,
    /// Who decides, for the records. Over the admin API it is known who asks.
    #[arg(long = "by", value_name = "NAME", required_unless_present = "admin")]
    by: Option<String>,
}

impl Users {
    pub fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Invite(invite) => invite.run(),
            What::List(list) => list.run(),
            What::Disable(change) => change.decide("disable", "disabled", async |hand, asked| users::disable(hand, asked).await),
            What::Enable(change) => change.decide("enable", "enabled", async |hand, asked| users::enable(hand, asked).await),
            What::Reset(change) => change.reset(),
            What::Passkeys(named) => named.passkeys(),
            What::RemovePasskey(remove) => remove.run(),
            What::Groups(regroup) => regroup.run(),
            What::Sessions(named) => named.sessions(),
            What::End(change) => change.decide("end", "ended everything", async |hand, asked| users::end(hand, asked).await),
        }
    }
}

impl Inviting {
    fn run(self) -> Result<(), Failure> {
        let Self { change, display, email, groups } = self;
        let users::Change { name, reason, by } = change.asked();
        let asked = Invite { name, display, email, groups, reason, by };
        let Offered { account, link } = change.tell("invite", &asked, async |hand| users::invite(hand, &asked).await)?;
        say(&format!("invited: {}\n{link}\nThe link works once, within 72 hours. Give it to nobody else.\n", account.name))
    }
}

impl Change {
    fn asked(&self) -> users::Change {
        users::Change { name: self.name.clone(), reason: self.reason.clone(), by: self.by.clone() }
    }

    fn tell<T: serde::de::DeserializeOwned>(
        &self,
        what: &str,
        asked: &impl Serialize,
        here: impl AsyncFnOnce(&Hand<'_>) -> Result<T, Fault>,
    ) -> Result<T, Failure> {
        self.place.change(&format!("/admin/v1/user/{what}"), (asked, self.by.as_deref()), here)
    }

    fn decide(
        self,
        what: &str,
        done: &str,
        here: impl AsyncFnOnce(&Hand<'_>, &users::Change) -> Result<Outcome, Fault>,
    ) -> Result<(), Failure> {
        let asked = self.asked();
        let Outcome { account } = self.tell(what, &asked, async |hand| here(hand, &asked).await)?;
        say(&format!("{done}: {}\n", account.name))
    }

    fn reset(self) -> Result<(), Failure> {
        let asked = self.asked();
        let Offered { account, link } = self.tell("reset", &asked, async |hand| users::reset(hand, &asked).await)?;
        let name = account.name;
        say(&format!("{name}\n{link}\nThe link works once, within 72 hours. Whatever is connected ends when it is used.\n"))
    }
}

impl Regroup {
    fn run(self) -> Result<(), Failure> {
        let Self { change, groups } = self;
        let users::Change { name, reason, by } = change.asked();
        let asked = Groups { name, groups, reason, by };
        let Outcome { account } = change.tell("groups", &asked, async |hand| users::regroup(hand, &asked).await)?;
        say(&format!("groups changed: {}\n", account.name))
    }
}

impl RemovePasskey {
    fn run(self) -> Result<(), Failure> {
        let Self { change, passkey } = self;
        let users::Change { name, reason, by } = change.asked();
        let asked = Removal { name, passkey, reason, by };
        let Outcome { account } = change.tell("remove-passkey", &asked, async |hand| users::remove_passkey(hand, &asked).await)?;
        say(&format!("passkey removed: {}\n", account.name))
    }
}

impl List {
    fn run(&self) -> Result<(), Failure> {
        let here = async |store: &Store, config: &Config| users::list(store, config).await;
        let Listed { accounts } = self.place.read("/admin/v1/users", &json!({}), here)?;
        if self.json {
            return say(&pretty(&accounts));
        }
        if accounts.is_empty() {
            return say("no accounts\n");
        }
        let line = |account: &Shown| {
            let groups = if account.groups.is_empty() { "no groups".to_owned() } else { account.groups.join(", ") };
            format!("{:<32} {:<8} {}\n", account.name, account.state.name(), plain(&groups))
        };
        say(&accounts.iter().map(line).collect::<String>())
    }
}

impl Named {
    fn known(&self) -> Result<WithUse, Failure> {
        let which = Which { name: self.name.clone() };
        let here = async |store: &Store, config: &Config| users::show(store, config, &which, SystemTime::now()).await;
        self.place.read("/admin/v1/user", &which, here)
    }

    fn passkeys(&self) -> Result<(), Failure> {
        let WithUse { passkeys, .. } = self.known()?;
        if self.json {
            return say(&pretty(&passkeys));
        }
        if passkeys.is_empty() {
            return say("no passkeys\n");
        }
        let line = |passkey: &ShownPasskey| {
            let ShownPasskey { id, label, created, used, .. } = passkey;
            let used = used.as_ref().map_or_else(|| "never used".to_owned(), |used| format!("used {used}"));
            format!("{id}  made {created}  {used}  {}\n", plain(label))
        };
        say(&passkeys.iter().map(line).collect::<String>())
    }

    fn sessions(&self) -> Result<(), Failure> {
        let known = self.known()?;
        if self.json {
            return say(&pretty(&known));
        }
        let WithUse { account, browsers, clients, .. } = known;
        let mut text = format!("{} ({})\n", account.name, account.state.name());
        for ShownBrowser { since, browser, .. } in &browsers {
            text += &format!("browser  since {since}  {}\n", plain(browser));
        }
        for ShownClient { client, resource, since, .. } in &clients {
            text += &format!("client   since {since}  {} at {resource}\n", plain(client));
        }
        if browsers.is_empty() && clients.is_empty() {
            text += "signed in nowhere, and no client connected\n";
        }
        say(&text)
    }
}

/// Makes the only account where there is none, and returns the link to its password; none where its person has one, or a passkey.
///
/// # Errors
/// The store cannot be used.
pub(super) async fn first(file: &std::path::Path, name: &str) -> Result<Option<String>, Failure> {
    let config = config::load(file, &environment).map_err(Failure::Problems)?.config;
    reach::open(&config, async |store| Ok(users::first(store, &config, name, SystemTime::now()).await?)).await
}

fn pretty(value: &impl Serialize) -> String {
    format!("{:#}\n", serde_json::to_value(value).unwrap_or_default())
}
