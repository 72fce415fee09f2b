//! `doorward approve`: writes down how an upstream's tools are defined, and who says that they are well so.
//!
//! Without a tool or `--all` it shows the differences and writes nothing. Asks the admin API, or the servers itself.

use std::time::SystemTime;

use clap::Args;

use super::comparison::{own_token, plain};
use super::reach::{Api, Reach, witness};
use super::{Failure, File, runtime, say};
use crate::config;
use crate::control::tools::{Approval, Done, Look, Question, Shown, pinned};
use crate::state::environment;

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
    #[arg(long, value_name = "NAME", env = "USER")]
    by: Option<String>,
    #[command(flatten)]
    file: File,
    #[command(flatten)]
    at: Reach,
}

impl Approve {
    pub fn run(mut self) -> Result<(), Failure> {
        // A service may have an empty `USER`.
        self.by = self.by.filter(|by| !by.is_empty());
        match self.at.api()? {
            Some(api) => self.over(&api),
            None => self.here(),
        }
    }

    /// What was shown is what is approved: the gateway is told its digest.
    fn over(&self, api: &Api) -> Result<(), Failure> {
        let shown: Shown = api.get("/admin/v1/tools", &Question { upstream: self.upstream.clone() })?;
        if self.is_only_looking(&shown)? {
            return Ok(());
        }
        tell(&api.post("/admin/v1/tools/approve", &self.asked(&shown))?)
    }

    fn here(&self) -> Result<(), Failure> {
        let config = config::load(&self.file.config, &environment).map_err(Failure::Problems)?.config;
        let route = pinned(&config, &self.upstream)?;
        runtime()?.block_on(async {
            let own = own_token(&config, route).await;
            let own = own.map_err(|why| Failure::Impossible(format!("`{}` could not be asked: {why}", self.upstream)))?;
            let look = Look::at(route, own.as_ref()).await?;
            let shown = look.shown();
            if self.is_only_looking(&shown)? {
                return Ok(());
            }
            let actor = self.by.as_deref().unwrap_or("unknown");
            tell(&look.approve(&self.asked(&shown), actor, SystemTime::now(), &witness(&config, actor)).await?)
        })
    }

    fn asked(&self, shown: &Shown) -> Approval {
        Approval {
            upstream: self.upstream.clone(),
            tools: self.tools.clone(),
            all: self.all,
            digest: Some(shown.digest.clone()),
            by: self.by.clone(),
        }
    }

    /// Shows the differences, and whether that is all.
    fn is_only_looking(&self, shown: &Shown) -> Result<bool, Failure> {
        say(&format!("{}\n{}", self.upstream, shown.text))?;
        if !self.tools.is_empty() || self.all {
            return Ok(false);
        }
        if shown.same {
            return Ok(true);
        }
        say("nothing is approved by this; name tools, or say --all\n")?;
        Err(Failure::No)
    }
}

fn tell(done: &Done) -> Result<(), Failure> {
    say(&format!("approved {} by {}\n", done.tools.len(), plain(&done.by)))
}
