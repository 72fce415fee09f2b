//! Keeps what a serving process knows of revocations as its store is, from before the first request to after the last.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::serve::random;
use crate::governance::Revocations;
use crate::governance::client::{self, Client, Key};
use crate::state::State;
use crate::store::feed::Feed;
use crate::store::observing::Observing;
use crate::store::{Error, Reason, Replica, Store};

/// Between two looks whether revocations are still known.
const LOOK: Duration = Duration::from_secs(1);
/// Revocations that come one after the other are told to open streams together.
const GATHER: Duration = Duration::from_millis(100);
/// To say goodbye to a database that may be away.
const FAREWELL: Duration = Duration::from_secs(1);
/// Between two tries to write down who is retired.
const BURIAL: Duration = Duration::from_secs(5);

/// The store of a serving process, being followed.
pub struct Following {
    store: Store,
    replica: Replica,
    tasks: [JoinHandle<()>; 3],
    /// Writes down what was used, until it is told to stop.
    observing: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Following {
    /// Opens the store and reads all that is revoked; nothing where the configuration names no store.
    pub async fn start(state: &Arc<State>) -> Result<Option<Self>, String> {
        let world = state.current();
        let (Some(config), Some(index), Some(clients)) = (&world.config.store, &world.revocations, &world.clients) else { return Ok(None) };
        let told = |error: crate::store::Error| format!("cannot use the store: {error}");
        let store = Store::open(&config.place).await.map_err(told)?;
        let replica = Replica { id: format!("{:016x}", random()), place: place(), max_age: config.bounds.max_age };
        let news = Arc::new(Notify::new());
        let told_by_feed = news.clone();
        let keys = world.issuers.surfaces().keys.clone();
        let mut feed = Feed::new(store.clone(), index.clone(), clients.clone(), keys, replica.clone(), move || told_by_feed.notify_one());
        feed.load().await.map_err(told)?;
        state.opened(store.clone());
        tracing::info!(revocations = index.len(), "store open");
        if let Some(server) = &world.config.authorization_server {
            warn_of_another_issuer(&store, &server.issuer).await.map_err(told)?;
        }
        let tasks = [
            tokio::spawn(feed.follow()),
            tokio::spawn(tell(state.clone(), index.clone(), news)),
            tokio::spawn(bury(state.clone(), store.clone())),
        ];
        let observing = world.observed.clone().map(|observed| {
            let (stop, stopped) = oneshot::channel();
            (stop, tokio::spawn(Observing::new(store.clone(), observed).follow(stopped)))
        });
        Ok(Some(Self { store, replica, tasks, observing }))
    }

    /// Tells the others not to wait for this replica any more.
    pub async fn end(self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        let farewell = async {
            if let Some((stop, observing)) = self.observing {
                let _ = stop.send(());
                let _ = observing.await;
            }
            let _ = self.store.leave(&self.replica).await;
            self.store.close().await;
        };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}

/// Clients keep their credentials by the issuer's name (MCP 2026-07-28, client registration): under another name none of them is
/// known any more.
async fn warn_of_another_issuer(store: &Store, issuer: &str) -> Result<(), crate::store::Error> {
    for (before, clients) in store.clients_of_others(issuer).await? {
        tracing::error!(
            before,
            now = issuer,
            clients,
            "`public_url` names another issuer than the one that clients registered with; all of them must register, and be approved, anew"
        );
    }
    Ok(())
}

/// Requests know of themselves; open streams are told when something was revoked, and when it is not known any more what is.
async fn tell(state: Arc<State>, index: Arc<Revocations>, news: Arc<Notify>) {
    loop {
        let heard = tokio::time::timeout(LOOK, news.notified()).await.is_ok();
        if heard || !index.are_known(SystemTime::now()) {
            state.revoked();
            tokio::time::sleep(GATHER).await;
        }
    }
}

/// Whom the configuration retires is retired for ever: the tombstone stays in the store when the entry goes.
async fn bury(state: Arc<State>, store: Store) {
    let mut worlds = state.worlds();
    let mut buried: HashSet<Key> = HashSet::new();
    loop {
        let world = state.current();
        let retired = world.config.clients.iter().filter(|one| one.client.state == client::State::Retired);
        let mut failed = false;
        for configured in retired.filter(|one| !buried.contains(&one.client.key)).cloned().collect::<Vec<_>>() {
            let key = &configured.client.key;
            let made = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let reason = Reason { text: "retired by the configuration", actor: &configured.place, made };
            let retire = |found: Option<Client>| found.unwrap_or_else(|| Client::entered(key.clone())).moved(client::State::Retired);
            match store.change_client(key, retire, &reason).await {
                // It is retired already.
                Ok(_) | Err(Error::Client(_)) => {
                    buried.insert(key.clone());
                }
                Err(error) => {
                    tracing::warn!(%error, client = key.id, "that a client is retired cannot be written down");
                    failed = true;
                }
            }
        }
        tokio::select! {
            changed = worlds.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(BURIAL), if failed => {}
        }
    }
}

/// Host and process, for people.
fn place() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    format!("{}:{}", if host.is_empty() { "localhost" } else { host }, std::process::id())
}
