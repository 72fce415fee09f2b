//! `doorward serve --upstream URL`: one MCP server for one person on loopback, without a configuration file.
//!
//! Writes the configuration into a folder of its own below the user's state folder, where it can be read and kept, and
//! makes the one account at the first start. What a person may use there is everything: it is their own server.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use url::Url;

use super::{Failure, say, users};

/// Where it listens unless `--port` says otherwise.
pub const PORT: u16 = 8730;

const CONFIG: &str = include_str!("solo.yaml");
const FILE: &str = "doorward.yaml";

/// What is to be served.
pub struct Solo {
    pub upstream: String,
    pub port: u16,
    /// Below this a folder for each upstream is made.
    pub state: PathBuf,
    /// Of the account.
    pub name: String,
}

impl Solo {
    /// Writes the configuration, unless one is there already for this upstream and port, and returns where it is.
    ///
    /// # Errors
    /// The URL is none, or the folder cannot be written.
    pub fn prepare(&self) -> Result<PathBuf, Failure> {
        let url = Url::parse(&self.upstream).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
        let url = url.ok_or_else(|| {
            Failure::Impossible(format!(
                "`--upstream {}` is not the URL of an MCP server, such as http://127.0.0.1:3000/mcp",
                self.upstream
            ))
        })?;
        let folder = self.state.join(folder_name(&url, self.port));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|error| cannot_write(&folder, &error))?;
        let file = folder.join(FILE);
        let text = CONFIG.replace("8730", &self.port.to_string()).replace("http://127.0.0.1:3000/mcp", &quoted(&self.upstream));
        match fs::read_to_string(&file) {
            // What its owner has changed stays.
            Ok(_) => {}
            Err(_) => fs::write(&file, text).map_err(|error| cannot_write(&file, &error))?,
        }
        Ok(file)
    }

    /// Makes the account at the first start, and says what to do.
    ///
    /// # Errors
    /// The store cannot be used.
    pub async fn welcome(&self, file: &Path) -> Result<(), Failure> {
        let link = users::first(file, &self.name).await?;
        let mut text =
            format!("\n{} is behind the door. Give your MCP client this URL:\n\n    http://127.0.0.1:{}/mcp\n\n", self.upstream, self.port);
        match link {
            Some(link) => {
                let _ = write!(text, "Once, choose your password here (the link works for 72 hours):\n\n    {link}\n\n");
            }
            None => text += "Sign in with the password that you chose. A lost one: `doorward users reset`.\n\n",
        }
        let _ = writeln!(text, "Configuration: {}", file.display());
        say(&text)
    }
}

/// `$XDG_STATE_HOME/doorward`, or what stands for it (XDG Base Directory Specification 0.8).
pub fn state_folder(env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let absolute = |path: String| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let base = env("XDG_STATE_HOME").and_then(absolute).or_else(|| Some(env("HOME").and_then(absolute)?.join(".local/state")))?;
    Some(base.join("doorward"))
}

/// One for each upstream and port, with a name that a person recognises.
fn folder_name(url: &Url, port: u16) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let place =
        format!("{}{}{}", url.host_str().unwrap_or_default(), url.port().map(|port| format!("-{port}")).unwrap_or_default(), url.path());
    let place: String = place.chars().map(plain).take(80).collect();
    format!("{}-at-{port}", place.trim_matches('-'))
}

/// As a text of YAML in double quotes, which every JSON text is.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Impossible(format!("cannot write `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solo(state: &Path, upstream: &str) -> Solo {
        Solo { upstream: upstream.into(), port: 9123, state: state.into(), name: "alice".into() }
    }

    #[test]
    fn what_is_written_is_a_configuration_without_a_problem_and_is_not_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = solo(folder.path(), "http://127.0.0.1:3001/mcp").prepare().ok().expect("a file");
        assert!(file.ends_with("127.0.0.1-3001-mcp-at-9123/doorward.yaml"), "{file:?}");
        let loaded = crate::config::load(&file, &|_| None).expect("a configuration");
        assert_eq!(loaded.config.public_url, "http://127.0.0.1:9123");
        fs::write(&file, "# mine\n").expect("written");
        assert!(solo(folder.path(), "http://127.0.0.1:3001/mcp").prepare().is_ok());
        assert_eq!(fs::read_to_string(&file).expect("text"), "# mine\n");
    }

    #[test]
    fn an_upstream_that_is_no_url_is_refused_and_nothing_is_made() {
        let folder = tempfile::tempdir().expect("a folder");
        for odd in ["", "notes", "file:///etc/passwd", "http://"] {
            assert!(solo(folder.path(), odd).prepare().is_err(), "{odd}");
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn the_state_folder_is_where_the_user_keeps_such_things() {
        let env = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        assert_eq!(state_folder(&env(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")])), Some("/s/doorward".into()));
        assert_eq!(state_folder(&env(&[("XDG_STATE_HOME", "s"), ("HOME", "/h")])), Some("/h/.local/state/doorward".into()));
        assert_eq!(state_folder(&env(&[])), None);
    }
}
