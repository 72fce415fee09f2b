//! Keeps what a serving process knows of revocations as its store is, from before the first request to after the last.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::serve::random;
use crate::governance::Revocations;
use crate::state::State;
use crate::store::feed::Feed;
use crate::store::observing::Observing;
use crate::store::{Replica, Store};

/// Between two looks whether revocations are still known.
const LOOK: Duration = Duration::from_secs(1);
/// Revocations that come one after the other are told to open streams together.
const GATHER: Duration = Duration::from_millis(100);
/// To say goodbye to a database that may be away.
const FAREWELL: Duration = Duration::from_secs(1);

/// The store of a serving process, being followed.
pub struct Following {
    store: Store,
    replica: Replica,
    tasks: [JoinHandle<()>; 2],
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
        let mut feed = Feed::new(store.clone(), index.clone(), clients.clone(), replica.clone(), move || told_by_feed.notify_one());
        feed.load().await.map_err(told)?;
        state.opened(store.clone());
        tracing::info!(revocations = index.len(), "store open");
        let tasks = [tokio::spawn(feed.follow()), tokio::spawn(tell(state.clone(), index.clone(), news))];
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

/// Host and process, for people.
fn place() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    format!("{}:{}", if host.is_empty() { "localhost" } else { host }, std::process::id())
}
