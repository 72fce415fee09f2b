//! Where a command does what it does: over the admin API of a running gateway, or on the store of a configuration.
//!
//! The store itself is the way when nothing runs, or nobody is let in: whoever can read the configuration and write the
//! database needs no credential of the gateway.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::Args;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::comparison::plain;
use super::{Failure, File, complain, recorder, runtime};
use crate::config::{self, Config};
use crate::control::{Fault, Hand, Witness};
use crate::remote::admin::{Answer, Client, Credentials};
use crate::state::environment;
use crate::store::Store;

/// Where the admin API is, and who asks.
#[derive(Args)]
pub struct Reach {
    /// Ask the admin API there: `http://127.0.0.1:9180`, `https://…` or `unix:/run/doorward/admin.sock`. Without it the command works on
    /// the store that the configuration names.
    #[arg(long, value_name = "URL", env = "DOORWARD_ADMIN")]
    admin: Option<String>,
    /// The token for it. Not needed at a Unix socket of one's own.
    #[arg(long, value_name = "FILE", env = "DOORWARD_ADMIN_TOKEN_FILE")]
    admin_token_file: Option<PathBuf>,
    /// A certificate and its key in PEM, to be shown to it.
    #[arg(long, value_name = "FILE", env = "DOORWARD_ADMIN_CERTIFICATE")]
    admin_certificate: Option<PathBuf>,
    /// The authority in PEM that its own certificate comes from.
    #[arg(long, value_name = "FILE", env = "DOORWARD_ADMIN_CA")]
    admin_ca: Option<PathBuf>,
}

/// Where something is done: over the admin API, or on the store of a configuration.
#[derive(Args)]
pub struct Place {
    #[command(flatten)]
    pub file: File,
    #[command(flatten)]
    pub at: Reach,
}

impl Place {
    /// Asks the API at `path`, or `here` where no API is named.
    pub fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
        here: impl AsyncFnOnce(&Store, &Config) -> Result<T, Fault>,
    ) -> Result<T, Failure> {
        match self.at.api()? {
            Some(api) => api.get(path, query),
            None => look(&self.file, async |store, config| here(store.ok_or(Fault::NoStore)?, config).await),
        }
    }

    /// Tells the API at `path`, or does it `here` where no API is named, in the name of whoever says so.
    pub fn change<T: DeserializeOwned>(
        &self,
        path: &str,
        (body, by): (&impl Serialize, Option<&str>),
        here: impl AsyncFnOnce(&Hand<'_>) -> Result<T, Fault>,
    ) -> Result<T, Failure> {
        match self.at.api()? {
            Some(api) => api.post(path, body),
            None => local(&self.file, by.unwrap_or_default(), here),
        }
    }
}

/// The admin API, to be asked.
pub struct Api {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Reach {
    /// The admin API, if the command is to ask it.
    pub fn api(&self) -> Result<Option<Api>, Failure> {
        let Some(place) = self.admin.as_deref().filter(|place| !place.is_empty()) else { return Ok(None) };
        let read = |path: &Option<PathBuf>| {
            path.as_ref()
                .map(|path| std::fs::read(path).map_err(|error| Failure::Impossible(format!("cannot read `{}`: {error}", path.display()))))
        };
        let token = read(&self.admin_token_file).transpose()?;
        let token = token.map(|token| String::from_utf8_lossy(&token).trim().to_owned());
        let (certificate, ca) = (read(&self.admin_certificate).transpose()?, read(&self.admin_ca).transpose()?);
        let credentials = Credentials { token: token.as_deref(), certificate: certificate.as_deref(), ca: ca.as_deref() };
        let client = Client::new(place, &credentials).map_err(Failure::Impossible)?;
        Ok(Some(Api { client, runtime: runtime()? }))
    }
}

impl Api {
    pub fn get<T: DeserializeOwned>(&self, path: &str, query: &impl Serialize) -> Result<T, Failure> {
        read(self.runtime.block_on(self.client.get(path, query)))
    }

    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        read(self.runtime.block_on(self.client.post(path, body)))
    }
}

fn read<T: DeserializeOwned>(answer: Result<Answer, String>) -> Result<T, Failure> {
    let Answer { status, body } = answer.map_err(Failure::Impossible)?;
    if status == 200 {
        let told = |error| Failure::Impossible(format!("the admin API is of another version: {error}"));
        return serde_json::from_value(body).map_err(told);
    }
    if status == 412 {
        return Err(Fault::Changed(message(&body)).into());
    }
    let message = message(&body);
    let hint = match status {
        401 => "; name your token's file by `--admin-token-file` or `DOORWARD_ADMIN_TOKEN_FILE`",
        _ => "",
    };
    Err(Failure::Impossible(format!("the admin API answers {status}: {message}{hint}")))
}

fn message(body: &serde_json::Value) -> String {
    plain(body.get("message").and_then(serde_json::Value::as_str).unwrap_or("no reason was given"))
}

impl From<Fault> for Failure {
    /// What is not any more as it was looked at is an answer of no; anything else could not be done.
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Changed(what) => {
                complain(&format!("doorward: {what}"));
                Self::No
            }
            other => Self::Impossible(other.to_string()),
        }
    }
}

/// Does `work` on the store of the configuration.
pub fn local<T>(file: &File, actor: &str, work: impl AsyncFnOnce(&Hand<'_>) -> Result<T, Fault>) -> Result<T, Failure> {
    let config = config::load(&file.config, &environment).map_err(Failure::Problems)?.config;
    with_store(&config, async |store| {
        let witness = witness(&config, actor);
        let hand = Hand { config: &config, store, now: SystemTime::now(), actor, witness: &witness };
        Ok(work(&hand).await?)
    })
}

/// Reads what the configuration says and, where it names one, the store.
pub fn look<T>(file: &File, work: impl AsyncFnOnce(Option<&Store>, &Config) -> Result<T, Fault>) -> Result<T, Failure> {
    let config = config::load(&file.config, &environment).map_err(Failure::Problems)?.config;
    match &config.store {
        Some(_) => with_store(&config, async |store| Ok(work(Some(store), &config).await?)),
        None => Ok(runtime()?.block_on(work(None, &config))?),
    }
}

/// Does `work` on the store of a configuration.
pub fn with_store<T>(config: &Config, work: impl AsyncFnOnce(&Store) -> Result<T, Failure>) -> Result<T, Failure> {
    runtime()?.block_on(open(config, work))
}

/// The same, where a runtime is there already.
pub async fn open<T>(config: &Config, work: impl AsyncFnOnce(&Store) -> Result<T, Failure>) -> Result<T, Failure> {
    let Some(store) = &config.store else { return Err(Fault::NoStore.into()) };
    let database = Store::open(&store.place).await.map_err(Fault::from)?;
    let done = work(&database).await;
    database.close().await;
    done
}

/// Writes into the log that the gateway of this configuration writes.
pub fn witness<'a>(config: &'a Config, actor: &'a str) -> impl Witness + 'a {
    Recorder { config, actor }
}

struct Recorder<'a> {
    config: &'a Config,
    actor: &'a str,
}

impl Witness for Recorder<'_> {
    fn saw<'a>(&'a self, operation: &'static str, name: String, reason: &'a str) -> BoxFuture<'a, Result<(), Fault>> {
        let written = recorder::record(self.config, operation, name, (reason, self.actor));
        Box::pin(std::future::ready(written.map_err(Fault::Unrecorded)))
    }
}
