//! Tells when a file of the configuration has changed.
//!
//! Folders are watched, not files: Kubernetes swaps a link, and editors replace the file.

use std::collections::HashSet;
use std::path::PathBuf;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::config::Seen;

/// Watches until dropped.
pub struct Watch {
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Sends on `changed` when something happens in the folder of one of the files.
    pub fn start(files: &[Seen], changed: mpsc::Sender<()>) -> notify::Result<Self> {
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_))) {
                // A full channel already says what there is to say.
                let _ = changed.try_send(());
            }
        })?;
        let folders: HashSet<PathBuf> = files.iter().map(Seen::folder).collect();
        for folder in folders {
            watcher.watch(&folder, RecursiveMode::NonRecursive)?;
        }
        Ok(Self { _watcher: watcher })
    }
}
