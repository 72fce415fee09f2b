//! Which files and folders was the configuration read from, and are they still as they were?

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A file or folder as it was just before it was read, so that no change after that is missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub path: PathBuf,
    stamp: Option<Stamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    file: u64,
    length: u64,
    modified: SystemTime,
}

impl Seen {
    /// As it is now; also one that is not there.
    pub fn now(path: &Path) -> Self {
        let stamp = |data: std::fs::Metadata| Some(Stamp { file: data.ino(), length: data.len(), modified: data.modified().ok()? });
        Self { path: path.to_owned(), stamp: std::fs::metadata(path).ok().and_then(stamp) }
    }

    /// Whether it is another than it was, or is gone.
    pub fn has_changed(&self) -> bool {
        Self::now(&self.path) != *self
    }

    /// The folder in which a change of it shows: its own for a folder, that which holds it for a file.
    pub fn folder(&self) -> PathBuf {
        match self.path.parent() {
            _ if self.path.is_dir() => self.path.clone(),
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_replaced_or_removed_has_changed() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a");
        std::fs::write(&path, "one").expect("written");
        let seen = Seen::now(&path);
        assert!(!seen.has_changed());
        std::fs::write(folder.path().join("b"), "two").expect("written");
        assert!(!seen.has_changed(), "another file");
        std::fs::rename(folder.path().join("b"), &path).expect("replaced");
        assert!(seen.has_changed());
        std::fs::remove_file(&path).expect("removed");
        assert!(seen.has_changed());
    }

    #[test]
    fn a_file_that_is_added_changes_its_folder() {
        let folder = tempfile::tempdir().expect("folder");
        let seen = Seen::now(folder.path());
        std::fs::write(folder.path().join("a"), "one").expect("written");
        assert!(seen.has_changed());
        assert_eq!(seen.folder(), folder.path());
    }
}
