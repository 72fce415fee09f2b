//! `doorward approve`: writes down how an upstream's tools are defined, and who says that they are well so.
//!
//! Without a tool or `--all` it shows the differences and writes nothing.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::comparison::{Comparison, approved, found, own_token};
use super::{Failure, File, runtime, say};
use crate::config;
use crate::pin::Pin;
use crate::state::environment;

/// Of one request to a server.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Args)]
pub struct Approve {
    /// The upstream, by its key in the configuration. It has a `pin`.
    upstream: String,
    /// The tools to approve as they are now.
    #[arg(value_name = "TOOL", conflicts_with = "all")]
    tools: Vec<String>,
    /// Approve every tool as it is now, and strike those that are gone.
    #[arg(long)]
    all: bool,
    /// Who approves.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown")]
    by: String,
    #[command(flatten)]
    file: File,
}

impl Approve {
    pub fn run(self) -> Result<(), Failure> {
        let config = config::load(&self.file.config, &environment).map_err(Failure::Problems)?.config;
        let route = config.routes.iter().find(|route| *route.name == self.upstream);
        let route = route.ok_or_else(|| Failure::Impossible(format!("there is no upstream `{}`", self.upstream)))?;
        let Some(pin) = &route.pin else {
            return Err(Failure::Impossible(format!("`{}` has no `pin: {{ file: … }}`", self.upstream)));
        };
        let asked = runtime()?.block_on(async {
            let own = own_token(&config, route).await?;
            found(route, own.as_ref(), TIMEOUT).await
        });
        let found = asked.map_err(|why| Failure::Impossible(format!("`{}` could not be asked: {why}", self.upstream)))?;
        let comparison = Comparison::new(pin, &found);
        say(&format!("{}\n{}", self.upstream, comparison.text()))?;
        if self.tools.is_empty() && !self.all {
            if comparison.is_same() {
                return Ok(());
            }
            say("nothing is approved by this; name tools, or say --all\n")?;
            return Err(Failure::No);
        }
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let approvals = approved(pin, &found, &self.tools, &self.by, &now).map_err(Failure::Impossible)?;
        let count = approvals.iter().filter(|(_, approval)| approval.at == now && approval.by == self.by).count();
        write(&Pin { approvals, ..Pin::clone(pin) }, &self.upstream)?;
        say(&format!("approved {count} by {}\n", self.by))
    }
}

/// Whole or not at all: the gateway may read it at any moment.
fn write(pin: &Pin, upstream: &str) -> Result<(), Failure> {
    // A link stays one.
    let path = fs::canonicalize(&pin.file).unwrap_or_else(|_| pin.file.clone());
    let draft = path.with_extension("draft");
    let written = fs::write(&draft, pin.approvals.write(upstream)).and_then(|()| fs::rename(&draft, &path));
    written.map_err(|error| Failure::Impossible(format!("cannot write `{}`: {error}", Path::display(&path))))
}
