//! `doorward review`: what is granted and was not used, and what would be enough; `review attest` writes down who looked.
//!
//! Exits with 0 where there is nothing to take away, and with 1 where there is.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};

use super::comparison::{plain, plain_json};
use super::reach::with_store;
use super::{Failure, File, recorder, say};
use crate::config::{self, Config};
use crate::control::Fault;
use crate::control::inventory::{find, inventory};
use crate::review::{self, Asked, Reviewed, words};
use crate::state::environment;

/// Bytes of a note or a name.
const LONGEST: usize = 1_024;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Review {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    of: Of,
    /// A JSON object.
    #[arg(long)]
    json: bool,
    /// Write grants and findings as comma-separated values.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write a page to hand round.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the narrower rules as a unified diff, for `patch -p1` in the folder of the configuration.
    #[arg(long, value_name = "FILE")]
    patch: Option<PathBuf>,
}

#[derive(Subcommand)]
enum What {
    /// Write down that somebody has looked at the review as it is now.
    Attest(Attest),
}

/// Which review.
#[derive(Args)]
struct Of {
    #[command(flatten)]
    file: File,
    /// Use that is older does not count.
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = humantime::parse_duration)]
    since: Duration,
    /// Only this client, by its id or code.
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// The client's issuer: its identifier, as in `iss`, or its name in the configuration.
    #[arg(long, requires = "client")]
    issuer: Option<String>,
}

#[derive(Args)]
struct Attest {
    #[command(flatten)]
    of: Of,
    /// Who looked, for the records.
    #[arg(long = "by", value_name = "NAME")]
    by: String,
    /// What they say of it, for the records.
    #[arg(long, default_value = "reviewed")]
    note: String,
    /// Only if the review still has this digest.
    #[arg(long)]
    digest: Option<String>,
}

impl Review {
    pub fn run(self) -> Result<(), Failure> {
        if let Some(What::Attest(attest)) = self.what {
            return attest.run();
        }
        let config = self.of.config()?;
        let (_, reviewed) = self.of.reviewed(&config, async |_, _, _| Ok(()))?;
        write(self.csv.as_deref(), || Ok(reviewed.csv()))?;
        write(self.patch.as_deref(), || Ok(reviewed.patch()))?;
        let page = || reviewed.html().map_err(|error| Failure::Impossible(format!("cannot make the page: {error}")));
        write(self.html.as_deref(), page)?;
        say(&if self.json { json(&reviewed)? } else { text(&reviewed) })?;
        if reviewed.review.findings.is_empty() { Ok(()) } else { Err(Failure::No) }
    }
}

impl Attest {
    fn run(self) -> Result<(), Failure> {
        for (name, text) in [("--by", &self.by), ("--note", &self.note)] {
            if text.trim().is_empty() || text.len() > LONGEST {
                return Err(Failure::Impossible(format!("`{name}` must say something, in at most {LONGEST} bytes")));
            }
        }
        let config = self.of.config()?;
        let (asked, reviewed) = self.of.reviewed(&config, async |store, reviewed: &Reviewed, asked: &Asked| {
            if self.digest.as_ref().is_some_and(|digest| *digest != reviewed.review.digest) {
                super::complain(&format!("doorward: the review is another now: its digest is {}", reviewed.review.digest));
                return Err(Failure::No);
            }
            let written = review::attest(store, reviewed, asked, &self.by, &self.note).await;
            written.map_err(|error| Failure::Impossible(format!("cannot use the store: {error}")))
        })?;
        let digest = &reviewed.review.digest;
        let (who, named) = match &asked.only {
            Some(key) => (format!(" of {}", plain(&key.id)), format!("review {digest} of client {} of {}", key.id, key.issuer)),
            None => (String::new(), format!("review {digest}")),
        };
        say(&format!("attested: review{who} {digest}, {} findings\n", reviewed.review.findings.len()))?;
        Ok(recorder::record(&config, "admin/review_attest", named, (&self.note, &self.by)).map_err(Fault::Unrecorded)?)
    }
}

impl Of {
    fn config(&self) -> Result<Config, Failure> {
        Ok(config::load(&self.file.config, &environment).map_err(Failure::Problems)?.config)
    }

    /// The review, and what `then` does with it while the store is open.
    fn reviewed(
        &self,
        config: &Config,
        then: impl AsyncFnOnce(&crate::store::Store, &Reviewed, &Asked) -> Result<(), Failure>,
    ) -> Result<(Asked, Reviewed), Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        with_store(config, async |store| {
            let only = match &self.client {
                Some(name) => Some(find(inventory(Some(store), config).await?, config, name, self.issuer.as_deref())?.0),
                None => None,
            };
            let asked = Asked { window: self.since, only };
            let told = |error: crate::store::Error| Failure::Impossible(format!("cannot use the store: {error}"));
            let reviewed = review::reviewed(store, config, &asked, now).await.map_err(told)?;
            then(store, &reviewed, &asked).await?;
            Ok((asked, reviewed))
        })
    }
}

fn write(file: Option<&Path>, text: impl FnOnce() -> Result<String, Failure>) -> Result<(), Failure> {
    let Some(file) = file else { return Ok(()) };
    std::fs::write(file, text()?).map_err(|error| Failure::Impossible(format!("cannot write `{}`: {error}", file.display())))
}

fn json(reviewed: &Reviewed) -> Result<String, Failure> {
    let value = serde_json::to_value(reviewed).map_err(|error| Failure::Impossible(format!("cannot tell the review: {error}")))?;
    Ok(format!("{}\n", plain_json(&value)))
}

/// SECURITY: names and ids are strangers' texts, and never steer a terminal.
fn text(reviewed: &Reviewed) -> String {
    let mut text = String::new();
    let mut line = |line: &str| {
        text.push_str(&plain(line));
        text.push('\n');
    };
    words::standing(reviewed).iter().for_each(|standing| line(standing));
    for group in words::groups(reviewed) {
        line("");
        line(group.title);
        for one in group.lines {
            line(&format!("  {}", one.what));
            line(&format!("    -> {}", one.then));
        }
    }
    for patch in &reviewed.patches {
        line("");
        patch.diff.lines().for_each(&mut line);
    }
    let review = &reviewed.review;
    line("");
    let (clients, grants, findings) = (review.clients.len(), review.grants.len(), review.findings.len());
    line(&format!("{clients} clients, {grants} grants, {findings} findings; digest {}", review.digest));
    text
}
