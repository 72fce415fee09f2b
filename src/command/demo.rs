//! `doorward demo`: the whole job on loopback, with nothing else installed.

use std::io::{Write, stdout};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::following::Following;
use super::serve::Up;
use super::{Failure, log, runtime, users};
use crate::audit::Audit;
use crate::config::{self, Log};
use crate::demo::sign_in::{self, Password};
use crate::demo::{Ports, start_neighbours, transcript};
use crate::metrics::Metrics;
use crate::state::{State, environment};

#[derive(Args)]
pub struct Demo {
    /// End after the transcript instead of staying up.
    #[arg(long)]
    once: bool,
    /// Keep the folder with the configuration and the audit file.
    #[arg(long)]
    keep: bool,
    /// Port of the gateway on 127.0.0.1; 0 for any that is free.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

impl Demo {
    pub fn run(self) -> Result<(), Failure> {
        log::start(Log::Text);
        runtime()?.block_on(self.show())
    }

    async fn show(self) -> Result<(), Failure> {
        let ports = Ports { gateway: self.port, ..Ports::default() };
        let neighbours = start_neighbours(ports, self.keep).await.map_err(impossible)?;
        let path = neighbours.folder.config();
        let loaded = config::load(&path, &environment).map_err(Failure::Problems)?;
        let (audit, _writer) = Audit::start(loaded.config.audit.file.clone()).map_err(impossible)?;
        let metrics = Metrics::new().map_err(impossible)?;
        let state = Arc::new(State::new(&path, loaded.config, metrics.clone()).map_err(Failure::Impossible)?);
        let following = Following::start(&state).await.map_err(Failure::Impossible)?;
        let up = Up::start(state, metrics, audit).await.map_err(Failure::Impossible)?;
        let addresses = &neighbours.addresses;
        transcript::run(addresses, &mut stdout()).await.map_err(impossible)?;
        let invitation = users::first(&path, sign_in::NAME).await?.unwrap_or_default();
        let Password(password) = sign_in::run(addresses, &invitation, &mut stdout()).await.map_err(impossible)?;
        if !self.once {
            let (own, resource, name) = (addresses.own_resource(), addresses.resource(), sign_in::NAME);
            let text = format!(
                "\nStill up. Give your MCP client the URL {own} and sign in as `{name}` with the password `{password}`.\n\
                 {resource} takes tokens from the demo issuer. Configuration: {}. Ctrl-C ends it all.\n",
                path.display()
            );
            let _ = stdout().write_all(text.as_bytes());
            let _ = tokio::signal::ctrl_c().await;
        }
        up.stop(Duration::from_secs(2)).await;
        if let Some(following) = following {
            following.end().await;
        }
        neighbours.stop().await;
        Ok(())
    }
}

fn impossible(error: impl std::fmt::Display) -> Failure {
    Failure::Impossible(error.to_string())
}
