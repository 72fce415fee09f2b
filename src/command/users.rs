//! `doorward users`: the accounts of self-managed mode. An operator invites, disables and lets in again; passwords
//! and passkeys are their people's own.
//!
//! A change is on the disk and in the audit log when the command returns; what it ends, ends on every replica within a second.

mod passkeys;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::comparison::plain;
use super::{Failure, File, reach, recorder, say};
use crate::config::{self, AuthorizationServer, Config};
use crate::control::{Fault, written};
use crate::governance::{Revocation, Selector};
use crate::oauth::account::{self, Account, AccountState};
use crate::server::authorization::{Invitation, secret};
use crate::state::environment;
use crate::store::authorization::{Kind, Passkey};
use crate::store::{Error, Reason, Store};

/// Bytes of a reason, a name or a group.
const LONGEST: usize = 256;
/// Groups of one account.
const GROUPS: usize = 64;
/// How long an invitation works.
const INVITATION: Duration = Duration::from_secs(72 * 3600);

#[derive(Args)]
pub struct Users {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make an account, and print the link by which its person chooses a password.
    Invite(Invite),
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
    RemovePasskey(passkeys::RemovePasskey),
    /// Say which groups somebody is in, in the place of those before.
    Groups(Groups),
    /// Show in which browsers somebody is signed in, and which clients act in their name.
    Sessions(Named),
    /// Sign somebody out everywhere and disconnect all their clients.
    End(Change),
}

#[derive(Args)]
struct Invite {
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
    file: File,
    /// A JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Groups {
    #[command(flatten)]
    change: Change,
    /// None for no group at all.
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    groups: Vec<String>,
}

/// An account that is asked about.
#[derive(Args)]
struct Named {
    #[command(flatten)]
    file: File,
    /// The account's name.
    name: String,
    /// In JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Change {
    #[command(flatten)]
    file: File,
    /// The account's name.
    name: String,
    /// Why, for the records.
    #[arg(long)]
    reason: String,
    /// Who decides, for the records.
    #[arg(long = "by", value_name = "NAME")]
    by: String,
}

impl Users {
    pub fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Invite(invite) => invite.run(),
            What::List(list) => list.run(),
            What::Disable(change) => change.run("disabled", &|account, _| account.state = AccountState::Disabled, Ends::Everything),
            What::Enable(change) => change.run("enabled", &enable, Ends::Nothing),
            What::Reset(change) => change.reset(),
            What::Passkeys(named) => named.passkeys(),
            What::RemovePasskey(remove) => remove.run(),
            What::Groups(groups) => {
                check_groups(&groups.groups)?;
                groups.change.run("groups changed", &|account, _| account.groups.clone_from(&groups.groups), Ends::Nothing)
            }
            What::Sessions(named) => named.sessions(),
            What::End(change) => change.run("ended everything", &|_, _| {}, Ends::Everything),
        }
    }
}

/// What ends with a change of an account.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Nothing,
    /// All that is signed in and connected now, and nothing of what comes afterwards.
    Everything,
}

/// Whoever has neither password nor passkey is invited still.
fn enable(account: &mut Account, passkeys: &[Passkey]) {
    account.state = if account.password.is_some() || !passkeys.is_empty() { AccountState::Active } else { AccountState::Invited };
}

impl Invite {
    fn run(&self) -> Result<(), Failure> {
        let Change { file, name, .. } = &self.change;
        self.change.check()?;
        check_groups(&self.groups)?;
        for (what, text) in [("--display", &self.display), ("--email", &self.email)] {
            if text.as_ref().is_some_and(|text| text.trim().is_empty() || text.len() > LONGEST || text.chars().any(char::is_control)) {
                return Err(Failure::Impossible(format!("`{what}` must say something, in at most {LONGEST} bytes")));
            }
        }
        let name = account::name(name).map_err(|unfit| Failure::Impossible(unfit.to_string()))?;
        let (config, now) = (load(file)?, seconds());
        let link = with_store(&config, async |store, server| {
            let (display, email, groups) = (self.display.clone(), self.email.clone(), self.groups.clone());
            let account = Account { display, email, groups, ..invited(name.clone(), now)? };
            if !store.put_account(&account).await.map_err(told)? {
                return Err(Failure::Impossible(format!("there is an account `{name}` already")));
            }
            link(&store, server, &account.id, now).await
        })?;
        say(&format!("invited: {name}\n{link}\nThe link works once, within 72 hours. Give it to nobody else.\n"))?;
        self.change.record(&config, "invited", &name)
    }
}

impl Change {
    fn check(&self) -> Result<(), Failure> {
        for (name, text) in [("--reason", &self.reason), ("--by", &self.by)] {
            if text.trim().is_empty() || text.len() > LONGEST {
                return Err(Failure::Impossible(format!("`{name}` must say something, in at most {LONGEST} bytes")));
            }
        }
        Ok(())
    }

    fn run(&self, done: &'static str, change: &dyn Fn(&mut Account, &[Passkey]), ends: Ends) -> Result<(), Failure> {
        self.check()?;
        let (config, now) = (load(&self.file)?, seconds());
        let name = with_store(&config, async |store, server| {
            let account = find(&store, &self.name).await?;
            let passkeys = store.passkeys_of(&account.id).await.map_err(told)?;
            let change = |account: &mut Account| {
                change(account, &passkeys);
                account.changed = now;
                true
            };
            let account = store.change_account(&account.id, change).await.map_err(told)?.unwrap_or(account);
            if ends == Ends::Everything {
                self.end(&store, server, &config, &account, now).await?;
            }
            Ok(account.name)
        })?;
        say(&format!("{done}: {name}\n"))?;
        self.record(&config, done, &name)
    }

    fn reset(&self) -> Result<(), Failure> {
        self.check()?;
        let (config, now) = (load(&self.file)?, seconds());
        let (name, link) = with_store(&config, async |store, server| {
            let account = find(&store, &self.name).await?;
            if account.state == AccountState::Disabled {
                return Err(Failure::Impossible(format!("`{}` is disabled: enable it first", account.name)));
            }
            let link = link(&store, server, &account.id, now).await?;
            Ok((account.name, link))
        })?;
        say(&format!("{name}\n{link}\nThe link works once, within 72 hours. Whatever is connected ends when it is used.\n"))?;
        self.record(&config, "reset offered", &name)
    }

    async fn end(&self, store: &Store, server: &AuthorizationServer, config: &Config, account: &Account, now: u64) -> Result<(), Failure> {
        let Some(bounds) = config.store.as_ref().map(|store| &store.bounds) else { return Ok(()) };
        let (reason, until) = (Reason { text: &self.reason, actor: &self.by, made: now }, store.latest(now).await.map_err(told)?);
        let person = Selector::Subject { issuer: server.issuer.to_string(), subject: account.subject() };
        store.revoke(&Revocation::new(person, until, None, None, bounds), &reason).await.map_err(told)?;
        store.end_sessions(&account.subject(), None).await.map_err(told)
    }

    fn record(&self, config: &Config, done: &'static str, name: &str) -> Result<(), Failure> {
        Ok(recorder::record(config, "admin/user", format!("account {name}: {done}"), (&self.reason, &self.by))
            .map_err(Fault::Unrecorded)?)
    }
}

impl List {
    fn run(&self) -> Result<(), Failure> {
        let config = load(&self.file)?;
        let accounts = with_store(&config, async |store, _| store.accounts().await.map_err(told))?;
        if self.json {
            let all: Vec<Value> = accounts.iter().map(shown).collect();
            return say(&format!("{:#}\n", Value::from(all)));
        }
        if accounts.is_empty() {
            return say("no accounts\n");
        }
        let line = |account: &Account| {
            let groups = if account.groups.is_empty() { "no groups".to_owned() } else { account.groups.join(", ") };
            format!("{:<32} {:<8} {}\n", account.name, account.state.name(), groups)
        };
        say(&accounts.iter().map(line).collect::<String>())
    }
}

impl Named {
    fn sessions(&self) -> Result<(), Failure> {
        let (config, now) = (load(&self.file)?, seconds());
        let (account, sessions, grants) = with_store(&config, async |store, _| {
            let account = find(&store, &self.name).await?;
            let sessions = store.sessions_of(&account.subject(), now).await.map_err(told)?;
            let grants = store.grants_of(&account.subject(), now).await.map_err(told)?;
            Ok((account, sessions, grants))
        })?;
        if self.json {
            let sessions: Vec<Value> = sessions
                .iter()
                .map(|one| json!({ "since": written(one.begun), "until": written(one.expires), "browser": one.agent }))
                .collect();
            let clients: Vec<Value> = grants
                .iter()
                .map(|one| json!({ "client": one.client_id, "resource": one.resource, "grant": one.id, "since": written(seconds_of(one.created)) }))
                .collect();
            return say(&format!("{:#}\n", json!({ "account": shown(&account), "browsers": sessions, "clients": clients })));
        }
        let mut text = format!("{} ({})\n", account.name, account.state.name());
        for one in &sessions {
            text += &format!("browser  since {}  {}\n", written(one.begun), plain(&one.agent));
        }
        for one in &grants {
            text += &format!("client   since {}  {} at {}\n", written(seconds_of(one.created)), plain(&one.client_id), one.resource);
        }
        if sessions.is_empty() && grants.is_empty() {
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
    let (Some(place), server) = (&config.store, accounts(&config)?) else { return Err(Fault::NoStore.into()) };
    let store = Store::open(&place.place).await.map_err(told)?;
    let accounts = store.accounts().await.map_err(told)?;
    let now = seconds();
    let link = match accounts.first() {
        Some(account) if account.password.is_some() || account.state == AccountState::Active => None,
        Some(account) => Some(link(&store, server, &account.id, now).await?),
        None => {
            let name = account::name(name).unwrap_or_else(|_| "me".into());
            let account = Account { display: None, ..invited(name, now)? };
            store.put_account(&account).await.map_err(told)?;
            Some(link(&store, server, &account.id, now).await?)
        }
    };
    store.close().await;
    Ok(link)
}

/// An account whose person has not come yet.
fn invited(name: String, now: u64) -> Result<Account, Failure> {
    let (id, _) = secret().map_err(|fault| Failure::Impossible(fault.to_string()))?;
    Ok(Account {
        id: id.chars().take(22).collect(),
        name,
        display: None,
        email: None,
        groups: Vec::new(),
        state: AccountState::Invited,
        password: None,
        created: now,
        changed: now,
    })
}

async fn find(store: &Store, name: &str) -> Result<Account, Failure> {
    let name = account::name(name).map_err(|unfit| Failure::Impossible(unfit.to_string()))?;
    let found = store.account_named(&name).await.map_err(told)?;
    found.ok_or_else(|| Failure::Impossible(format!("there is no account `{name}`: see `doorward users list`")))
}

/// A new link for this account.
async fn link(store: &Store, server: &AuthorizationServer, account: &str, now: u64) -> Result<String, Failure> {
    let (link, kept) = secret().map_err(|fault| Failure::Impossible(fault.to_string()))?;
    let body = Invitation { account: account.to_owned() }.text().map_err(|fault| Failure::Impossible(fault.to_string()))?;
    store.put_ticket(Kind::Invite, &kept, &body, now + INVITATION.as_secs()).await.map_err(told)?;
    Ok(server.endpoint(&format!("/doorward/invite/{link}")))
}

fn check_groups(groups: &[String]) -> Result<(), Failure> {
    let odd = |group: &String| group.trim().is_empty() || group.len() > LONGEST || group.chars().any(char::is_control);
    match groups.len() > GROUPS || groups.iter().any(odd) {
        true => Err(Failure::Impossible(format!("groups are at most {GROUPS}, each of 1 to {LONGEST} bytes"))),
        false => Ok(()),
    }
}

fn load(file: &File) -> Result<Config, Failure> {
    Ok(config::load(&file.config, &environment).map_err(Failure::Problems)?.config)
}

fn with_store<T>(config: &Config, work: impl AsyncFnOnce(Store, &AuthorizationServer) -> Result<T, Failure>) -> Result<T, Failure> {
    let server = accounts(config)?;
    reach::with_store(config, async |store| work(store.clone(), server).await)
}

/// The authorization server, where it keeps accounts.
fn accounts(config: &Config) -> Result<&AuthorizationServer, Failure> {
    let found = config.authorization_server.as_deref().filter(|server| server.logins.find("accounts").is_some());
    found.ok_or_else(|| {
        Failure::Impossible("no accounts are kept here: the configuration has no `authorization_server.login.accounts`".into())
    })
}

fn told(error: Error) -> Failure {
    Failure::Impossible(format!("cannot use the store: {error}"))
}

fn shown(account: &Account) -> Value {
    let Account { id, name, display, email, groups, state, password, created, changed } = account;
    json!({
        "id": id, "name": name, "display": display, "email": email, "groups": groups, "state": state.name(),
        "has_password": password.is_some(), "created": written(*created), "changed": written(*changed),
    })
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn seconds_of(row: i64) -> u64 {
    u64::try_from(row).unwrap_or(0)
}
