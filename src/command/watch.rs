//! Tells when a file of the configuration has changed.
//!
//! Folders are watched, not files: Kubernetes swaps a link, and editors replace the file.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// Watches until dropped.
pub struct Watch {
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Sends on `changed` when something happens in the folder of one of the files.
    pub fn start(files: &[PathBuf], changed: mpsc::Sender<()>) -> notify::Result<Self> {
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_))) {
                // A full channel already says what there is to say.
                let _ = changed.try_send(());
            }
        })?;
        let folders: HashSet<PathBuf> = files.iter().map(|file| folder(file)).collect();
        for folder in folders {
            watcher.watch(&folder, RecursiveMode::NonRecursive)?;
        }
        Ok(Self { _watcher: watcher })
    }
}

fn folder(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
