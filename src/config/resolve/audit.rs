//! Where do audit records go, who signs them, and where do copies go?

use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use super::{Context, quantity, traces};
use crate::config::raw::{RawAudit, RawCheckpoints, RawExport, RawTraces, RawWhenFull};
use crate::config::report::At;
use crate::config::{Audit, Checkpoints, PrivateKeys, WhenFull};

const EVERY: Duration = Duration::from_secs(60);
const SHORTEST: Duration = Duration::from_secs(1);

/// The section, and what it is without one.
pub fn audit(raw: Option<RawAudit>, at: &At<'_>, context: &mut Context<'_>) -> Audit {
    let Some(RawAudit { file, when_full, checkpoints, stdout, otlp }) = raw else { return Audit::default() };
    let file = file.map(|file| {
        let (at, path) = (at.key("file"), Context::path(at, &file));
        if file.is_empty() {
            context.report.mend(&at, "an empty text names no file", "name a file, or remove the key");
        } else if path.is_dir() {
            context.report.mend(&at, format!("`{file}` is a folder"), "name a file in it");
        } else if !path.parent().is_none_or(|folder| folder.as_os_str().is_empty() || folder.is_dir()) {
            context.report.mend(
                &at,
                format!("the folder of `{file}` does not exist"),
                "make it; a relative path starts at the folder of this file",
            );
        }
        path
    });
    let when_full = match when_full {
        None => WhenFull::default(),
        Some(RawWhenFull::Refuse) => WhenFull::Refuse,
        Some(RawWhenFull::Drop) => WhenFull::Drop,
    };
    let stdout = stdout.unwrap_or_default();
    if stdout && file.is_none() {
        context.report.mend(&at.key("stdout"), "without `file` records go to standard output anyhow", "remove the key, or name a file");
    }
    let checkpoints = checkpoints.and_then(|raw| self::checkpoints(raw, &at.key("checkpoints"), context));
    let export = otlp.and_then(|raw| {
        let RawExport { endpoint, headers_file, ca_file, allow_http } = raw;
        let at = at.key("otlp");
        if endpoint.is_none() {
            context.missing_key(&at, "endpoint", "where the collector takes logs: `endpoint: http://127.0.0.1:4318/v1/logs`");
            return None;
        }
        traces::collector(RawTraces { endpoint, headers_file, ca_file, ratio: None, allow_http }, "logs", &at, context)
    });
    Audit { file, when_full, checkpoints, stdout, export }
}

fn checkpoints(raw: RawCheckpoints, at: &At<'_>, context: &mut Context<'_>) -> Option<Checkpoints> {
    let RawCheckpoints { key_file, every } = raw;
    let every = quantity::duration(every, EVERY, &at.key("every"), &mut context.report);
    if every < SHORTEST {
        context.report.mend(&at.key("every"), "checkpoints are at least a second apart", "write `1s` or more; the default is 60s");
    }
    let Some(file) = key_file else {
        context.missing_key(at, "key_file", "make one: `openssl genpkey -algorithm ed25519 -out FILE`");
        return None;
    };
    let at = at.key("key_file");
    let content = context.read(&at, &file)?;
    context.warn_if_open(&at, &file);
    let key = PrivateKeyDer::from_pem_slice(&content).ok().map(|key| key.secret_der().to_vec());
    let sound = key.filter(|key| aws_lc_rs::signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(key).is_ok());
    if sound.is_none() {
        let hint = "make one: `openssl genpkey -algorithm ed25519 -out FILE`";
        context.report.mend(&at, format!("`{file}` does not hold a private Ed25519 key in PEM"), hint);
    }
    Some(Checkpoints { key: PrivateKeys(vec![sound?]), every })
}
