//! `doorward review`: what is granted and was not used, and what would be enough; `review attest` writes down who looked.
//!
//! Asks the admin API, or works on the store itself. Exits with 0 where there is nothing to take away, and with 1 where there is.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};

use super::comparison::{plain, plain_json};
use super::reach::{Reach, local, look};
use super::{Failure, File, say};
use crate::control::Fault;
use crate::control::reviews::{self, Attestation, Done, Question};
use crate::review::{Reviewed, words};

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
    #[command(flatten)]
    at: Reach,
    /// Use that is older does not count.
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = humantime::parse_duration)]
    since: Duration,
    /// Only this client, by its id or code.
    #[arg(long, value_name = "CLIENT", allow_hyphen_values = true)]
    client: Option<String>,
    /// The client's issuer: its identifier, as in `iss`, or its name in the configuration.
    #[arg(long, requires = "client")]
    issuer: Option<String>,
}

#[derive(Args)]
struct Attest {
    #[command(flatten)]
    of: Of,
    /// Who looked, for the records. Over the admin API it is known who asks.
    #[arg(long = "by", value_name = "NAME", required_unless_present = "admin")]
    by: Option<String>,
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
        let reviewed = self.of.reviewed()?;
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
        let Self { of, by, note, digest } = self;
        let Question { since, client, issuer } = of.question();
        let asked = Attestation { since, client, issuer, digest, note: Some(note), by: by.clone() };
        let Done { digest, client, findings } = match of.at.api()? {
            Some(api) => api.post("/admin/v1/review/attest", &asked)?,
            None => local(&of.file, by.as_deref().unwrap_or_default(), async |hand| reviews::attest(hand, &asked).await)?,
        };
        let who = client.map(|client| format!(" of {}", plain(&client))).unwrap_or_default();
        say(&format!("attested: review{who} {digest}, {findings} findings\n"))
    }
}

impl Of {
    fn question(&self) -> Question {
        let since = Some(humantime::format_duration(self.since).to_string());
        Question { since, client: self.client.clone(), issuer: self.issuer.clone() }
    }

    fn reviewed(&self) -> Result<Reviewed, Failure> {
        let question = self.question();
        match self.at.api()? {
            Some(api) => api.get("/admin/v1/review", &question),
            None => look(&self.file, async |store, config| {
                reviews::review(store.ok_or(Fault::NoStore)?, config, &question, SystemTime::now()).await
            }),
        }
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
