//! `doorward status` and `doorward reload`: of a running gateway, over its admin API.

use clap::Args;
use serde_json::{Value, json};

use super::reach::{Api, Reach};
use super::{Failure, say};

#[derive(Args)]
pub struct Status {
    #[command(flatten)]
    at: Reach,
    /// A JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Reload {
    #[command(flatten)]
    at: Reach,
}

impl Status {
    pub fn run(self) -> Result<(), Failure> {
        let status: Value = asked(&self.at)?.get("/admin/v1/status", &json!({}))?;
        if self.json {
            return say(&format!("{status:#}\n"));
        }
        for (name, value) in status.as_object().into_iter().flatten() {
            say(&format!("{name}: {value}\n"))?;
        }
        Ok(())
    }
}

impl Reload {
    pub fn run(self) -> Result<(), Failure> {
        let reloaded: Value = asked(&self.at)?.post("/admin/v1/reload", &json!({}))?;
        for warning in reloaded.get("warnings").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            say(&format!("{warning}\n"))?;
        }
        say("reloaded\n")
    }
}

fn asked(at: &Reach) -> Result<Api, Failure> {
    at.api()?.ok_or_else(|| Failure::Impossible("say where the gateway is asked: `--admin URL`, or `DOORWARD_ADMIN`".into()))
}
