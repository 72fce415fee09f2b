//! Keeps what a serving process knows of revocations as its store is, from before the first request to after the last.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::serve::random;
use crate::state::State;
use crate::store::feed::Feed;
use crate::store::{Replica, Store};

/// To say goodbye to a database that may be away.
const FAREWELL: Duration = Duration::from_secs(1);

/// The store of a serving process, being followed.
pub struct Following {
    store: Store,
    replica: Replica,
    task: JoinHandle<()>,
}

impl Following {
    /// Opens the store and reads all that is revoked; nothing where the configuration names no store.
    pub async fn start(state: &State) -> Result<Option<Self>, String> {
        let world = state.current();
        let (Some(config), Some(index)) = (&world.config.store, &world.revocations) else { return Ok(None) };
        let told = |error: crate::store::Error| format!("cannot use the store: {error}");
        let store = Store::open(&config.place).await.map_err(told)?;
        let replica = Replica { id: format!("{:016x}", random()), place: place(), max_age: config.bounds.max_age };
        let mut feed = Feed::new(store.clone(), index.clone(), replica.clone(), revoked);
        feed.load().await.map_err(told)?;
        state.opened(store.clone());
        tracing::info!(revocations = index.len(), "store open");
        Ok(Some(Self { store, replica, task: tokio::spawn(feed.follow()) }))
    }

    /// Tells the others not to wait for this replica any more.
    pub async fn end(self) {
        self.task.abort();
        let farewell = async {
            let _ = self.store.leave(&self.replica).await;
            self.store.close().await;
        };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}

/// Something was revoked: requests from here on know. This is the one place from which open streams are to be told.
fn revoked() {
    tracing::debug!("revocations read");
}

/// Host and process, for people.
fn place() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    format!("{}:{}", if host.is_empty() { "localhost" } else { host }, std::process::id())
}
