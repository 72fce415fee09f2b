//! The demo's configuration: real YAML, with the ports that were chosen, in a folder of its own.
//!
//! Knows the text, not what it means: the gateway reads it like any other file.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Addresses, Failure};

/// The configuration as it stands in the repository, with ports 7400 to 7403.
pub const TEMPLATE: &str = include_str!("config.yaml");

/// The configuration for these addresses. One pass, so that no port is taken for another.
pub fn render(addresses: &Addresses) -> String {
    let Addresses { gateway, admin, issuer, upstream, audit: _ } = addresses;
    let mut parts = TEMPLATE.split("127.0.0.1:740");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut rest = part.chars();
        let address = match rest.next() {
            Some('0') => gateway,
            Some('1') => admin,
            Some('2') => issuer,
            _ => upstream,
        };
        text.push_str(&address.to_string());
        text.push_str(rest.as_str());
    }
    text
}

/// A new temporary folder with the configuration in it, for this user alone. It is removed on drop
/// unless it is to be kept.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    pub fn create(addresses: &Addresses, keep: bool) -> Result<Self, Failure> {
        let moment = SystemTime::UNIX_EPOCH.elapsed().map(|elapsed| elapsed.as_nanos()).unwrap_or_default();
        let path = std::env::temp_dir().join(format!("doorward-demo-{}-{moment:x}", std::process::id()));
        // Fails where something of this name is there already, so nobody can put a link in our way.
        DirBuilder::new().mode(0o700).create(&path).map_err(|source| Failure::Io { what: "make a temporary folder", source })?;
        let folder = Self { path, keep };
        fs::write(folder.config(), render(addresses)).map_err(|source| Failure::Io { what: "write the configuration", source })?;
        Ok(folder)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn config(&self) -> PathBuf {
        self.path.join("doorward.yaml")
    }

    pub fn audit(&self) -> PathBuf {
        self.path.join("audit.jsonl")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        let at = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        Addresses { gateway: at(9001), admin: at(9002), issuer: at(9003), upstream: at(9004), audit: PathBuf::new() }
    }

    #[test]
    fn every_port_of_the_template_is_replaced() {
        let text = render(&addresses());
        assert!(!text.contains(":740"), "{text}");
        for port in ["public_url: http://127.0.0.1:9001 ", "address: 127.0.0.1:9002", "issuer: http://127.0.0.1:9003", "127.0.0.1:9004/mcp"]
        {
            assert!(text.contains(port), "{port}");
        }
    }

    #[test]
    fn a_port_that_the_template_uses_for_another_is_not_replaced_twice() {
        let mut addresses = addresses();
        addresses.gateway.set_port(7401);
        assert!(render(&addresses).contains("public_url: http://127.0.0.1:7401 "));
    }

    #[test]
    fn a_folder_is_removed_unless_it_is_kept() {
        let gone = Folder::create(&addresses(), false).expect("made").path().to_owned();
        assert!(!gone.exists());
        let kept = Folder::create(&addresses(), true).expect("made").path().to_owned();
        assert!(kept.join("doorward.yaml").is_file());
        fs::remove_dir_all(kept).expect("removed");
    }
}
