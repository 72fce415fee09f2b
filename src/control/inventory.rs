//! Every client that is known, decided on, waiting, only seen in use or configured; and which of them is meant.

use super::registered::Registered;
use super::{Fault, issuer};
use crate::config::{Config, ConfiguredClient};
use crate::governance::client::{Client, Key, State};
use crate::store::{ClientUse, Store};

/// A client as it is now, with its use.
pub type Known = (Client, Option<ClientUse>);

/// What is asked of a client that stands in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// To refuse it, in an emergency.
    Stricter,
    /// To take back such a refusal.
    Back,
    /// What is for the configuration to say.
    Terms,
}

/// One list of the clients of the store and of the configuration; without a store, of the latter alone.
///
/// # Errors
/// [`Fault::Store`]; [`Fault::NoStore`] where no client is configured either.
pub async fn inventory(store: Option<&Store>, config: &Config) -> Result<Vec<Known>, Fault> {
    Ok(Inventory::read(store, config).await?.all)
}

/// The same, with what clients say of themselves.
pub struct Inventory<'a> {
    pub all: Vec<Known>,
    pub registered: Registered<'a>,
}

impl<'a> Inventory<'a> {
    /// # Errors
    /// As of [`inventory`].
    pub async fn read(store: Option<&Store>, config: &'a Config) -> Result<Self, Fault> {
        let stored = match store {
            Some(store) => store.inventory().await?,
            None if config.clients.is_empty() => return Err(Fault::NoStore),
            None => Vec::new(),
        };
        let registered = Registered::read(store, config).await?;
        let mut all = config.with_configured(stored);
        registered.join(&mut all);
        Ok(Self { all, registered })
    }
}

/// By its id, or else by its code; with an issuer also one that is not known. SECURITY: never one of several that would fit.
///
/// # Errors
/// [`Fault::Unknown`]; [`Fault::Invalid`] where several are meant.
pub fn find(mut all: Vec<Known>, config: &Config, name: &str, of: Option<&str>) -> Result<(Key, Option<Known>), Fault> {
    if let Some(text) = of {
        let key = Key { issuer: issuer(text, config)?, id: name.to_owned() };
        let at = all.iter().position(|(client, _)| client.key == key);
        return Ok((key, at.map(|at| all.swap_remove(at))));
    }
    all.retain(|(client, _)| client.key.id == name || client.key.code() == name);
    match (all.pop(), all.is_empty()) {
        (Some(found), true) => Ok((found.0.key.clone(), Some(found))),
        (Some(_), false) => Err(Fault::Invalid(format!("`{name}` means several clients: name the id and the issuer"))),
        (None, _) => {
            Err(Fault::Unknown(format!("no client `{name}` is known; to enter it before it was seen, name its id and its issuer")))
        }
    }
}

/// May this be done to a client that stands in the configuration? `stored` is what the store has of it.
pub(super) fn check_reach(configured: &ConfiguredClient, stored: Option<&Client>, reach: Reach) -> Result<(), Fault> {
    let is_suspended = stored.is_some_and(|stored| stored.state == State::Suspended);
    match reach {
        Reach::Stricter => Ok(()),
        Reach::Back if is_suspended && configured.client.state == State::Approved => Ok(()),
        Reach::Back | Reach::Terms => {
            let (id, place) = (&configured.client.key.id, &configured.place);
            let can = "here it can only be suspended, let back from that, or retired";
            Err(Fault::Conflict(format!("client `{id}` is configured at {place}: change it there; {can}")))
        }
    }
}
