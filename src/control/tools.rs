//! How the tools of a pinned upstream differ from what was approved, and their approval as they are now.
//!
//! Whoever looked can name what they saw by its digest: what a server says in the meantime is not approved with it.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Fault, Witness, said};
use crate::comparison::{Comparison, Found, approved, found, plain};
use crate::config::Config;
use crate::pin::{Approvals, Pin};
use crate::review::words::listed;
use crate::route::Route;

/// Of one request to a server.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Characters of a tool's name in a record.
const LONGEST: usize = 128;

/// Whose tools.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ToolsQuestion")]
pub struct Question {
    /// The upstream, by its key in the configuration. It has a `pin`.
    pub upstream: String,
}

/// What the servers say now, beside what was approved.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ToolsCompared")]
pub struct Shown {
    pub upstream: String,
    /// Of everything that the servers say of their tools.
    pub digest: String,
    /// Everything is as it was approved, and nothing else is there.
    pub same: bool,
    /// For people.
    pub text: String,
    /// As `doorward check --probe --json` tells it.
    pub comparison: Value,
}

/// Which tools are approved as they are now.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ToolsApproval")]
pub struct Approval {
    pub upstream: String,
    /// By their names.
    #[serde(default)]
    pub tools: Vec<String>,
    /// Every one; those that are gone are struck.
    #[serde(default)]
    pub all: bool,
    /// Only if the servers still say what they did; else 412.
    pub digest: Option<String>,
    /// In whose name, for the records.
    pub by: Option<String>,
}

/// What was approved.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ToolsApproved")]
pub struct Done {
    pub upstream: String,
    /// Those that are approved from now on, or anew.
    pub tools: Vec<String>,
    /// Who approved them, as the file says.
    pub by: String,
}

/// An upstream with its pin as the file has it now, and what its servers say.
pub struct Look<'a> {
    route: &'a Route,
    pin: Pin,
    found: Found,
}

/// The upstream of this name, if its tools are pinned.
///
/// # Errors
/// [`Fault::Unknown`], [`Fault::Conflict`].
pub fn pinned<'a>(config: &'a Config, upstream: &str) -> Result<&'a Route, Fault> {
    let route = config.routes.iter().find(|route| *route.name == *upstream);
    let route = route.ok_or_else(|| Fault::Unknown(format!("there is no upstream `{upstream}`")))?;
    match &route.pin {
        Some(_) => Ok(route),
        None => Err(Fault::Conflict(format!("`{upstream}` has no `pin: {{ file: … }}`"))),
    }
}

impl<'a> Look<'a> {
    /// Asks every server. `own` is an `Authorization` that the gateway obtained for them.
    ///
    /// # Errors
    /// One cannot be asked, or the file of approvals cannot be read.
    pub async fn at(route: &'a Route, own: Option<&HeaderValue>) -> Result<Self, Fault> {
        let Some(pin) = &route.pin else { return Err(Fault::Conflict(format!("`{}` has no `pin`", route.name))) };
        let pin = Pin { approvals: read(&pin.file, &route.name)?, ..Pin::clone(pin) };
        let found = found(route, own, TIMEOUT).await;
        let found = found.map_err(|why| Fault::Busy(format!("`{}` could not be asked: {why}", route.name)))?;
        Ok(Self { route, pin, found })
    }

    pub fn shown(&self) -> Shown {
        let comparison = Comparison::new(&self.pin, &self.found);
        Shown {
            upstream: self.route.name.to_string(),
            digest: self.digest(),
            same: comparison.is_same(),
            text: comparison.text(),
            comparison: comparison.to_json(),
        }
    }

    /// Writes the approvals down.
    ///
    /// # Errors
    /// [`Fault::Changed`] where the servers say something else than was looked at; nothing was done, but for [`Fault::Unrecorded`].
    pub async fn approve(&self, asked: &Approval, actor: &str, now: SystemTime, witness: &dyn Witness) -> Result<Done, Fault> {
        said("by", actor)?;
        if asked.tools.is_empty() != asked.all {
            return Err(Fault::Invalid("name `tools`, or say `all`".into()));
        }
        if asked.digest.as_ref().is_some_and(|digest| *digest != self.digest()) {
            return Err(Fault::Changed(format!("the servers of `{}` say something else of their tools now: look again", self.route.name)));
        }
        let at = humantime::format_rfc3339_seconds(now).to_string();
        let approvals = approved(&self.pin, &self.found, &asked.tools, actor, &at).map_err(Fault::Conflict)?;
        let is_new = |(name, approval): &(&str, &crate::pin::Approval)| self.pin.approvals.find(name) != Some(*approval);
        let tools: Vec<String> = approvals.iter().filter(is_new).map(|(name, _)| name.to_owned()).collect();
        write(&self.pin.file, &approvals.write(&self.route.name))?;
        let short: Vec<String> = tools.iter().map(|name| plain(name).chars().take(LONGEST).collect()).collect();
        let name = format!("tools of {}: {}", self.route.name, listed(&short));
        witness.saw("admin/tools_approve", name, if asked.all { "all" } else { "named" }).await?;
        Ok(Done { upstream: self.route.name.to_string(), tools, by: actor.to_owned() })
    }

    fn digest(&self) -> String {
        let mut text = Vec::new();
        for (name, definitions) in &self.found {
            text.push(Value::from(name.as_str()).to_string());
            text.extend(definitions.iter().map(|one| one.as_ref().map_or_else(|| "?".to_owned(), |one| one.digest().to_string())));
        }
        URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.join("\n").as_bytes()))
    }
}

/// As the file is now: a running gateway may not have read it anew yet. One that is not there approves nothing.
fn read(file: &Path, upstream: &str) -> Result<Approvals, Fault> {
    let told = |why: String| Fault::Conflict(format!("cannot read `{}`: {why}", file.display()));
    match fs::read_to_string(file) {
        Ok(text) => Approvals::read(&text, upstream).map_err(told),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Approvals::default()),
        Err(error) => Err(told(error.to_string())),
    }
}

/// Whole or not at all: the gateway may read it at any moment.
fn write(file: &Path, text: &str) -> Result<(), Fault> {
    // A link stays one.
    let path = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let draft = path.with_extension("draft");
    let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, &path));
    written.map_err(|error| Fault::Conflict(format!("cannot write `{}`: {error}", path.display())))
}
