//! The audit log, over the API.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::Call;
use crate::audit::checkpoint::Signer;
use crate::control::Fault;
use crate::control::records::{Filter, Query, each_line};

/// Records in one answer.
const MOST: u64 = 1_000;
/// Bytes of records in one answer.
const LARGEST: usize = 4 << 20;
/// For one search.
const PATIENCE: Duration = Duration::from_secs(30);

/// Records in the order of the log.
#[derive(Serialize, JsonSchema)]
pub struct Found {
    /// Each as it stands in the log.
    pub records: Vec<Value>,
    /// Ask again with `after` for the rest; null where the whole file was read.
    pub next: Option<u64>,
}

/// Whose signatures stand in the log.
#[derive(Serialize, JsonSchema)]
pub struct PublicKey {
    /// Its id, as checkpoints name it.
    pub kid: String,
    pub pem: String,
}

/// Takes nothing.
#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

pub async fn search(call: Call, query: Query) -> Result<Found, Fault> {
    let filter = Filter::new(&query)?;
    let Some(file) = call.world.config.audit.file.clone() else {
        return Err(Fault::Unknown("records go to standard output: only what keeps that can be searched".into()));
    };
    let turn = call.api.searches.clone().acquire_owned().await.map_err(|_| Fault::Busy("no search is made any more".into()))?;
    let limit = query.limit.unwrap_or(MOST).clamp(1, MOST);
    let search = move || {
        let found = read(&file, &filter, limit);
        drop(turn);
        found
    };
    match tokio::task::spawn_blocking(search).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(Fault::Unknown(format!("the audit file cannot be read: {error}"))),
        Err(_) => Err(Fault::Busy("the search was ended".into())),
    }
}

fn read(file: &Path, filter: &Filter, limit: u64) -> std::io::Result<Found> {
    let begun = Instant::now();
    let (mut records, mut bytes, mut last, mut next) = (Vec::new(), 0, None, None);
    each_line(File::open(file)?, |_, line, _| {
        let Ok(record) = serde_json::from_slice::<Value>(line) else { return true };
        if records.len() as u64 >= limit || bytes > LARGEST || begun.elapsed() > PATIENCE {
            next = last;
            return false;
        }
        last = record.get("sequence").and_then(Value::as_u64).or(last);
        if filter.fits(&record) {
            bytes += line.len();
            records.push(record);
        }
        true
    })?;
    Ok(Found { records, next })
}

pub async fn key(call: Call, _: Nothing) -> Result<PublicKey, Fault> {
    let checkpoints = call.world.config.audit.checkpoints.as_ref();
    let signer = checkpoints.and_then(|checkpoints| Signer::from_der(checkpoints.key.0.first()?));
    let found = signer.and_then(|signer| Some(PublicKey { kid: signer.kid().to_owned(), pem: signer.key()?.pem() }));
    found.ok_or_else(|| Fault::Unknown("`audit.checkpoints` is not set: nothing is signed".into()))
}
