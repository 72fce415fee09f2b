//! The accounts of self-managed mode. An operator invites, disables and lets in again; passwords and passkeys are their
//! people's own.
//!
//! What a change ends, ends on every replica within a second.

use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fault, Hand, said, seconds, stamp, written};
use crate::config::{AuthorizationServer, Config};
use crate::governance::{Revocation, Selector};
use crate::oauth::account::{self, Account, AccountState, Invitation};
use crate::store::authorization::{BrowserSession, Grant, Kind, Passkey, digest, secret};
use crate::store::{Reason, Store};

/// Bytes of a group, an address or what somebody is called.
const LONGEST: usize = 256;
/// Groups of one account.
const GROUPS: usize = 64;
/// How long an invitation works.
const INVITATION: Duration = Duration::from_secs(72 * 3600);
/// Characters of what a passkey is called by here.
const REFERENCE: usize = 12;

/// Where an account is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "AccountState")]
pub enum StateName {
    /// Made, and its person has not come yet.
    Invited,
    Active,
    /// Nobody signs in with it until it is enabled again.
    Disabled,
}

impl StateName {
    pub fn name(self) -> &'static str {
        match self {
            Self::Invited => AccountState::Invited.name(),
            Self::Active => AccountState::Active.name(),
            Self::Disabled => AccountState::Disabled.name(),
        }
    }
}

impl From<AccountState> for StateName {
    fn from(state: AccountState) -> Self {
        match state {
            AccountState::Invited => Self::Invited,
            AccountState::Active => Self::Active,
            AccountState::Disabled => Self::Disabled,
        }
    }
}

/// An account. Times are RFC 3339.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Account")]
pub struct Shown {
    /// The subject of its tokens is `account|` and this.
    pub id: String,
    pub name: String,
    /// What people read instead of the name.
    pub display: Option<String>,
    pub email: Option<String>,
    pub groups: Vec<String>,
    pub state: StateName,
    pub has_password: bool,
    pub created: String,
    pub changed: String,
}

/// All accounts by name, at most 10,000.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Accounts")]
pub struct Listed {
    pub accounts: Vec<Shown>,
}

/// Whose account.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "WhichAccount")]
pub struct Which {
    /// The account's name.
    pub name: String,
}

/// An account with its passkeys, where its person is signed in, and which clients act in their name.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AccountWithUse")]
pub struct WithUse {
    pub account: Shown,
    /// The oldest first.
    pub passkeys: Vec<ShownPasskey>,
    /// The newest 100.
    pub browsers: Vec<ShownBrowser>,
    /// The newest 200.
    pub clients: Vec<ShownClient>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Passkey")]
pub struct ShownPasskey {
    /// What it is called by here.
    pub id: String,
    /// What its person calls it.
    pub label: String,
    pub created: String,
    pub used: Option<String>,
    /// It may be kept elsewhere too, and is.
    pub backup_eligible: bool,
    pub backed_up: bool,
    pub counter: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SignedInBrowser")]
pub struct ShownBrowser {
    pub since: String,
    pub until: String,
    /// What it called itself.
    pub browser: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ConnectedClient")]
pub struct ShownClient {
    pub client: String,
    pub resource: String,
    /// As `grants` names it.
    pub grant: String,
    pub since: String,
}

/// A new account.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AccountInvite")]
pub struct Invite {
    /// What its person types.
    pub name: String,
    /// What people read instead.
    pub display: Option<String>,
    pub email: Option<String>,
    #[serde(default)]
    pub groups: Vec<String>,
    /// For the records.
    pub reason: String,
    /// In whose name, for the records.
    pub by: Option<String>,
}

/// What is done to an account.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AccountChange")]
pub struct Change {
    /// The account's name.
    pub name: String,
    /// For the records.
    pub reason: String,
    /// In whose name, for the records.
    pub by: Option<String>,
}

/// Other groups of an account.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AccountGroups")]
pub struct Groups {
    /// The account's name.
    pub name: String,
    /// In the place of those before.
    pub groups: Vec<String>,
    /// For the records.
    pub reason: String,
    /// In whose name, for the records.
    pub by: Option<String>,
}

/// A passkey that nobody signs in with any more.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PasskeyRemoval")]
pub struct Removal {
    /// The account's name.
    pub name: String,
    /// Its `id`, as `user` shows it.
    pub passkey: String,
    /// For the records.
    pub reason: String,
    /// In whose name, for the records.
    pub by: Option<String>,
}

/// An account after a change.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AccountChanged")]
pub struct Outcome {
    pub account: Shown,
}

/// A link for its person alone: it works once, within 72 hours.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AccountOffered")]
pub struct Offered {
    pub account: Shown,
    pub link: String,
}

/// # Errors
/// No accounts are kept here, or the store cannot be read.
pub async fn list(store: &Store, config: &Config) -> Result<Listed, Fault> {
    accounts(config)?;
    Ok(Listed { accounts: store.accounts().await?.into_iter().map(Shown::from).collect() })
}

/// # Errors
/// There is no such account, no accounts are kept here, or the store cannot be read.
pub async fn show(store: &Store, config: &Config, which: &Which, now: SystemTime) -> Result<WithUse, Fault> {
    let now = seconds(now);
    accounts(config)?;
    let account = find(store, &which.name).await?;
    let passkeys = store.passkeys_of(&account.id).await?.into_iter().map(ShownPasskey::from).collect();
    let browsers = store.sessions_of(&account.subject(), now).await?.into_iter().map(ShownBrowser::from).collect();
    let clients = store.grants_of(&account.subject(), now).await?.into_iter().map(ShownClient::from).collect();
    Ok(WithUse { account: account.into(), passkeys, browsers, clients })
}

/// Makes an account, and the link by which its person chooses a password or a passkey.
///
/// # Errors
/// Nothing was done, but for [`Fault::Store`] and [`Fault::Unrecorded`].
pub async fn invite(hand: &Hand<'_>, asked: &Invite) -> Result<Offered, Fault> {
    reasoned(hand, &asked.reason)?;
    fit("groups", &asked.groups)?;
    fit("display", asked.display.as_slice())?;
    fit("email", asked.email.as_slice())?;
    let (server, name) = (accounts(hand.config)?, name(&asked.name)?);
    let Invite { display, email, groups, .. } = asked.clone();
    let account = Account { display, email, groups, ..invited(name, hand.seconds())? };
    if !hand.store.put_account(&account).await? {
        return Err(Fault::Conflict(format!("there is an account `{}` already", account.name)));
    }
    let link = link(hand.store, server, &account.id, hand.seconds()).await?;
    saw(hand, &account, "invited", &asked.reason).await?;
    Ok(Offered { account: account.into(), link })
}

/// A new link for somebody who has lost the password. Whatever is connected ends when it is used.
///
/// # Errors
/// As of [`invite`].
pub async fn reset(hand: &Hand<'_>, asked: &Change) -> Result<Offered, Fault> {
    reasoned(hand, &asked.reason)?;
    let server = accounts(hand.config)?;
    let account = find(hand.store, &asked.name).await?;
    if account.state == AccountState::Disabled {
        return Err(Fault::Conflict(format!("`{}` is disabled: enable it first", account.name)));
    }
    let link = link(hand.store, server, &account.id, hand.seconds()).await?;
    saw(hand, &account, "reset offered", &asked.reason).await?;
    Ok(Offered { account: account.into(), link })
}

/// Lets nobody sign in with it any more, and ends all that it has signed in or connected.
///
/// # Errors
/// As of [`invite`].
pub async fn disable(hand: &Hand<'_>, asked: &Change) -> Result<Outcome, Fault> {
    let account = changed(hand, asked, |account, _| account.state = AccountState::Disabled).await?;
    end_all(hand, &account, &asked.reason).await?;
    saw(hand, &account, "disabled", &asked.reason).await?;
    Ok(Outcome { account: account.into() })
}

/// Lets somebody sign in again. Whoever has neither password nor passkey is invited still.
///
/// # Errors
/// As of [`invite`].
pub async fn enable(hand: &Hand<'_>, asked: &Change) -> Result<Outcome, Fault> {
    let account = changed(hand, asked, |account, passkeys| {
        account.state = if account.password.is_some() || !passkeys.is_empty() { AccountState::Active } else { AccountState::Invited };
    });
    let account = account.await?;
    saw(hand, &account, "enabled", &asked.reason).await?;
    Ok(Outcome { account: account.into() })
}

/// Signs somebody out everywhere and disconnects all their clients.
///
/// # Errors
/// As of [`invite`].
pub async fn end(hand: &Hand<'_>, asked: &Change) -> Result<Outcome, Fault> {
    let account = changed(hand, asked, |_, _| {}).await?;
    end_all(hand, &account, &asked.reason).await?;
    saw(hand, &account, "ended everything", &asked.reason).await?;
    Ok(Outcome { account: account.into() })
}

/// Says which groups somebody is in, in the place of those before.
///
/// # Errors
/// As of [`invite`].
pub async fn regroup(hand: &Hand<'_>, asked: &Groups) -> Result<Outcome, Fault> {
    fit("groups", &asked.groups)?;
    let Groups { name, groups, reason, by } = asked.clone();
    let account = changed(hand, &Change { name, reason, by }, |account, _| account.groups.clone_from(&groups)).await?;
    saw(hand, &account, "groups changed", &asked.reason).await?;
    Ok(Outcome { account: account.into() })
}

/// Lets nobody sign in with a passkey any more. What it signed in and connected goes on: [`end`] ends that.
///
/// # Errors
/// As of [`invite`].
pub async fn remove_passkey(hand: &Hand<'_>, asked: &Removal) -> Result<Outcome, Fault> {
    reasoned(hand, &asked.reason)?;
    accounts(hand.config)?;
    let account = find(hand.store, &asked.name).await?;
    let all = hand.store.passkeys_of(&account.id).await?;
    let Some(passkey) = all.iter().find(|passkey| reference(passkey) == asked.passkey) else {
        let name = &account.name;
        return Err(Fault::Unknown(format!("`{name}` has no passkey `{}`: see `doorward users passkeys {name}`", asked.passkey)));
    };
    hand.store.drop_passkey(&account.id, &passkey.id).await?;
    let change = |account: &mut Account| {
        account.changed = hand.seconds();
        true
    };
    let account = hand.store.change_account(&account.id, change).await?.unwrap_or(account);
    saw(hand, &account, "passkey removed", &asked.reason).await?;
    Ok(Outcome { account: account.into() })
}

/// Makes the only account where there is none, and returns the link to its password; none where its person has one, or a
/// passkey.
///
/// # Errors
/// No accounts are kept here, or the store cannot be used.
pub async fn first(store: &Store, config: &Config, wished: &str, now: SystemTime) -> Result<Option<String>, Fault> {
    let now = seconds(now);
    let server = accounts(config)?;
    match store.accounts().await?.first() {
        Some(account) if account.password.is_some() || account.state == AccountState::Active => Ok(None),
        Some(account) => Ok(Some(link(store, server, &account.id, now).await?)),
        None => {
            let account = invited(account::name(wished).unwrap_or_else(|_| "me".into()), now)?;
            store.put_account(&account).await?;
            Ok(Some(link(store, server, &account.id, now).await?))
        }
    }
}

async fn changed(hand: &Hand<'_>, asked: &Change, change: impl Fn(&mut Account, &[Passkey])) -> Result<Account, Fault> {
    reasoned(hand, &asked.reason)?;
    accounts(hand.config)?;
    let account = find(hand.store, &asked.name).await?;
    let passkeys = hand.store.passkeys_of(&account.id).await?;
    let change = |account: &mut Account| {
        change(account, &passkeys);
        account.changed = hand.seconds();
        true
    };
    Ok(hand.store.change_account(&account.id, change).await?.unwrap_or(account))
}

/// All that is signed in and connected now, however much there is, and nothing of what comes afterwards.
async fn end_all(hand: &Hand<'_>, account: &Account, reason: &str) -> Result<(), Fault> {
    let server = accounts(hand.config)?;
    let person = Selector::Subject { issuer: server.issuer.to_string(), subject: account.subject() };
    revoke(hand, person, hand.store.latest(hand.seconds()).await?, reason).await?;
    hand.store.end_sessions(&account.subject(), None).await?;
    Ok(())
}

async fn revoke(hand: &Hand<'_>, selector: Selector, until: u64, reason: &str) -> Result<(), Fault> {
    let bounds = hand.config.store.as_ref().map(|store| store.bounds).ok_or(Fault::NoStore)?;
    let reason = Reason { text: reason, actor: hand.actor, made: hand.seconds() };
    hand.store.revoke(&Revocation::new(selector, until, None, None, &bounds), &reason).await?;
    Ok(())
}

async fn saw(hand: &Hand<'_>, account: &Account, done: &str, reason: &str) -> Result<(), Fault> {
    hand.witness.saw("admin/user", format!("account {}: {done}", account.name), reason).await
}

/// The authorization server, where it keeps accounts.
fn accounts(config: &Config) -> Result<&AuthorizationServer, Fault> {
    let found = config.authorization_server.as_deref().filter(|server| server.logins.find("accounts").is_some());
    found.ok_or_else(|| Fault::Conflict("no accounts are kept here: the configuration has no `authorization_server.login.accounts`".into()))
}

async fn find(store: &Store, written: &str) -> Result<Account, Fault> {
    let name = name(written)?;
    let found = store.account_named(&name).await?;
    found.ok_or_else(|| Fault::Unknown(format!("there is no account `{name}`: see `doorward users list`")))
}

fn name(written: &str) -> Result<String, Fault> {
    account::name(written).map_err(|unfit| Fault::Invalid(unfit.to_string()))
}

/// An account whose person has not come yet.
fn invited(name: String, now: u64) -> Result<Account, Fault> {
    let (id, _) = secret().map_err(|error| Fault::Busy(error.to_string()))?;
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

/// A new link for this account.
async fn link(store: &Store, server: &AuthorizationServer, account: &str, now: u64) -> Result<String, Fault> {
    let (link, kept) = secret().map_err(|error| Fault::Busy(error.to_string()))?;
    let body = Invitation { account: account.to_owned() }.text();
    store.put_ticket(Kind::Invite, &kept, &body, now.saturating_add(INVITATION.as_secs())).await?;
    Ok(server.endpoint(&format!("/doorward/invite/{link}")))
}

fn reasoned(hand: &Hand<'_>, reason: &str) -> Result<(), Fault> {
    said("reason", reason)?;
    said("by", hand.actor)
}

fn fit(name: &str, texts: &[String]) -> Result<(), Fault> {
    let odd = |text: &String| text.trim().is_empty() || text.len() > LONGEST || text.chars().any(char::is_control);
    match texts.len() > GROUPS || texts.iter().any(odd) {
        true => Err(Fault::Invalid(format!("`{name}` must say something, in 1 to {LONGEST} bytes each, at most {GROUPS} of them"))),
        false => Ok(()),
    }
}

fn reference(passkey: &Passkey) -> String {
    digest(&passkey.id).chars().take(REFERENCE).collect()
}

impl From<Account> for Shown {
    fn from(account: Account) -> Self {
        let Account { id, name, display, email, groups, state, password, created, changed } = account;
        let (created, changed) = (written(created), written(changed));
        Self { id, name, display, email, groups, state: state.into(), has_password: password.is_some(), created, changed }
    }
}

impl From<Passkey> for ShownPasskey {
    fn from(passkey: Passkey) -> Self {
        let id = reference(&passkey);
        let Passkey { label, created, used, counter, eligible, backed_up, .. } = passkey;
        Self { id, label, created: written(created), used: used.map(written), backup_eligible: eligible, backed_up, counter }
    }
}

impl From<BrowserSession> for ShownBrowser {
    fn from(session: BrowserSession) -> Self {
        Self { since: written(session.begun), until: written(session.expires), browser: session.agent }
    }
}

impl From<Grant> for ShownClient {
    fn from(grant: Grant) -> Self {
        Self { client: grant.client_id, resource: grant.resource, grant: grant.id, since: stamp(grant.created) }
    }
}
