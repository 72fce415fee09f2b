//! Files that the configuration names: secrets, certificates, key sets. Each is read once here, so
//! that what is missing is told at load and not at the first request.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::Context;
use crate::config::raw::RawTls;
use crate::config::report::At;
use crate::config::{Secret, Seen};
use crate::mcp::seal::{MOST_KEYS, SECRET, Sealer};
use crate::token::Token;

/// A secret is not longer than a header may be.
const LONGEST_SECRET: usize = 8 << 10;

impl Context<'_> {
    /// The path that is meant, relative to the file in which it is written.
    pub fn path(at: &At<'_>, written: &str) -> PathBuf {
        at.document.folder.join(written)
    }

    /// A file's content; the fault is told where the file is named.
    pub fn read(&mut self, at: &At<'_>, written: &str) -> Option<Vec<u8>> {
        let path = Self::path(at, written);
        let seen = Seen::now(&path);
        match std::fs::read(&path) {
            Ok(content) => {
                self.files.push(seen);
                Some(content)
            }
            Err(error) => {
                let hint = match (error.kind(), Path::new(written).is_relative()) {
                    (ErrorKind::NotFound, true) => "a relative path starts at the folder of this file",
                    (ErrorKind::PermissionDenied, _) => "the user that runs doorward must be able to read it",
                    _ => "",
                };
                let message = format!("cannot read `{written}`: {}", io_words(&error));
                self.report.error_hint(at, message, (!hint.is_empty()).then(|| hint.to_owned()));
                None
            }
        }
    }

    /// A secret from a file, without the newline at its end.
    pub fn secret_file(&mut self, at: &At<'_>, written: &str) -> Option<String> {
        // SECURITY: a token written here by mistake must not be repeated in a log.
        if looks_secret(written) && !Self::path(at, written).exists() {
            self.report.mend(
                at,
                "no such file; what stands here looks like a secret",
                "put the secret into a file, and write the file's path here",
            );
            return None;
        }
        let content = self.read(at, written)?;
        self.warn_if_open(at, written);
        let Ok(text) = String::from_utf8(content) else {
            self.report.error(at, format!("`{written}` is not text"));
            return None;
        };
        let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
        self.read_secret(at, text, &format!("`{written}`"))
    }

    /// Secrets from a file, one in each line.
    pub fn secret_lines(&mut self, at: &At<'_>, written: &str) -> Option<String> {
        let content = self.read(at, written)?;
        self.warn_if_open(at, written);
        match String::from_utf8(content) {
            Ok(text) if text.len() <= LONGEST_SECRET => return Some(text),
            Ok(_) => self.report.error(at, format!("`{written}` is longer than 8KiB")),
            Err(_) => self.report.error(at, format!("`{written}` is not text")),
        }
        None
    }

    /// A secret from the environment.
    pub fn secret_env(&mut self, at: &At<'_>, variable: &str) -> Option<String> {
        let Some(value) = (self.env)(variable) else {
            if looks_secret(variable) {
                self.report.mend(
                    at,
                    "no such variable; what stands here looks like a secret",
                    "put the secret into a variable, and write the variable's name here",
                );
                return None;
            }
            self.report.mend(at, format!("the environment has no `{variable}`"), "set the variable where doorward is started");
            return None;
        };
        self.read_secret(at, &value, &format!("the variable `{variable}`"))
    }

    /// The secret of a client, named in exactly one of two ways.
    pub fn client_secret(&mut self, file: Option<String>, variable: Option<String>, at: &At<'_>) -> Option<String> {
        let (_, secret) = self.secret([file, variable], ("client_secret", "client secret"), "", at)?;
        Some(secret)
    }

    /// What is named by one of `{key}_file` and `{key}_env`, and where that stands. `or` ends the hint where neither does.
    pub fn secret<'a>(&mut self, named: [Option<String>; 2], of: (&str, &str), or: &str, at: &At<'a>) -> Option<(At<'a>, String)> {
        let (key, what) = of;
        if named.iter().all(Option::is_none) {
            self.report.missing(at, format!("no {what} is named"), format!("name one of `{key}_file` and `{key}_env`{or}"));
        }
        self.optional_secret(named, of, at)
    }

    /// The same, and there may be none.
    pub fn optional_secret<'a>(
        &mut self,
        [file, variable]: [Option<String>; 2],
        (key, what): (&str, &str),
        at: &At<'a>,
    ) -> Option<(At<'a>, String)> {
        match (file, variable) {
            (None, None) => None,
            (Some(file), None) => {
                let here = at.key(&format!("{key}_file"));
                let secret = self.secret_file(&here, &file)?;
                Some((here, secret))
            }
            (None, Some(variable)) => {
                let here = at.key(&format!("{key}_env"));
                let secret = self.secret_env(&here, &variable)?;
                Some((here, secret))
            }
            (Some(_), Some(_)) => {
                self.report.mend(at, format!("more than one {what}"), format!("keep one of `{key}_file` and `{key}_env`"));
                None
            }
        }
    }

    /// The files of a certificate chain and of its key, where both are named.
    pub fn pair(&mut self, RawTls { certificate, key }: RawTls, at: &At<'_>) -> Option<(String, String)> {
        if certificate.is_none() {
            self.missing_key(at, "certificate", "the file of the certificate chain");
        }
        if key.is_none() {
            self.missing_key(at, "key", "the file of the private key");
        }
        certificate.zip(key)
    }

    /// A secret that can be sent as a bearer token.
    pub fn bearer(&mut self, (at, text): (At<'_>, String)) -> Option<Secret> {
        if Token::new(&text).is_err() {
            let hint = "use letters, digits and `-._~+/` alone (RFC 6750 §2.1)";
            self.report.mend(&at, "what is named cannot be sent as a bearer token", hint);
            return None;
        }
        Some(Secret::new(text))
    }

    /// SECURITY: what is wrong is said, the secret itself never.
    fn read_secret(&mut self, at: &At<'_>, value: &str, whence: &str) -> Option<String> {
        if value.trim().is_empty() {
            self.report.error(at, format!("{whence} is empty"));
        } else if value.contains(['\n', '\r']) {
            self.report.error(at, format!("{whence} holds more than one line"));
        } else if value.len() > LONGEST_SECRET {
            self.report.error(at, format!("{whence} is longer than 8KiB"));
        } else if value != value.trim() || !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            self.report.error(at, format!("{whence} holds spaces around it, or characters that a header cannot carry"));
        } else {
            return Some(value.to_owned());
        }
        None
    }

    /// Keys that seal, one of 32 bytes in base64 a line; the first one seals, all open.
    pub fn seal_keys(&mut self, at: &At<'_>, written: &str) -> Option<Arc<Sealer>> {
        const SHAPE: &str = "one key a line, the newest first: `openssl rand -base64 32`";
        let content = self.read(at, written)?;
        self.warn_if_open(at, written);
        let text = String::from_utf8(content).ok();
        let lines = || text.iter().flat_map(|text| text.lines()).map(str::trim).filter(|line| !line.is_empty());
        let keys: Option<Vec<[u8; SECRET]>> = lines().map(|line| STANDARD.decode(line).ok()?.try_into().ok()).collect();
        match keys {
            Some(keys) if keys.len() > MOST_KEYS => {
                self.report.mend(at, format!("`{written}` holds more than {MOST_KEYS} keys"), "remove the oldest, at the end");
                None
            }
            Some(keys) if !keys.is_empty() => Sealer::new(&keys).map(Arc::new),
            _ => {
                self.report.mend(at, format!("`{written}` does not hold keys of 32 bytes in base64"), SHAPE);
                None
            }
        }
    }

    pub fn warn_if_open(&mut self, at: &At<'_>, written: &str) {
        let mode = std::fs::metadata(Self::path(at, written)).map_or(0, |data| data.permissions().mode());
        if mode & 0o077 != 0 {
            let message = format!("`{written}` can be read by others than its owner (mode {:03o})", mode & 0o777);
            self.report.warn(at, message, "chmod 600");
        }
    }

    /// At least one certificate in PEM.
    pub fn certificates(&mut self, at: &At<'_>, written: &str) -> Option<Vec<CertificateDer<'static>>> {
        let content = self.read(at, written)?;
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
        match all {
            Ok(all) if !all.is_empty() => Some(all),
            Ok(_) | Err(_) => {
                self.report.mend(at, format!("`{written}` holds no certificate in PEM"), "it begins with `-----BEGIN CERTIFICATE-----`");
                None
            }
        }
    }

    /// A private key in PEM that belongs to the first of the certificates.
    pub fn key_of(&mut self, at: &At<'_>, written: &str, chain: Option<Vec<CertificateDer<'static>>>) {
        let Some(content) = self.read(at, written) else { return };
        self.warn_if_open(at, written);
        let Ok(key) = PrivateKeyDer::from_pem_slice(&content) else {
            self.report.mend(at, format!("`{written}` holds no private key in PEM"), "it begins with `-----BEGIN PRIVATE KEY-----`");
            return;
        };
        let Some(chain) = chain else { return };
        match CertifiedKey::from_der(chain, key, &rustls::crypto::aws_lc_rs::default_provider()) {
            Ok(_) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                self.report.mend(
                    at,
                    format!("`{written}` is not the key of this certificate"),
                    "the server's own certificate comes first in its file",
                );
            }
            Err(error) => self.report.error(at, format!("`{written}` cannot be used: {error}")),
        }
    }

    /// A key set: JSON with a list `keys`. The keys themselves are judged when they are used.
    pub fn key_set(&mut self, at: &At<'_>, written: &str) -> Option<PathBuf> {
        let content = self.read(at, written)?;
        let set: Option<serde_json::Value> = serde_json::from_slice(&content).ok();
        match set.as_ref().and_then(|set| set.get("keys")?.as_array()) {
            Some(keys) if !keys.is_empty() => Some(Self::path(at, written)),
            Some(_) => {
                self.report.error(at, format!("`{written}` holds no key"));
                None
            }
            None => {
                self.report.mend(at, format!("`{written}` is not a key set"), "a key set is JSON: `{ \"keys\": [ … ] }` (RFC 7517)");
                None
            }
        }
    }
}

/// Long, without a slash or dot, and of mixed characters, as tokens are.
fn looks_secret(text: &str) -> bool {
    let mixed = text.bytes().any(|b| b.is_ascii_lowercase()) && text.bytes().any(|b| b.is_ascii_digit());
    text.contains(' ') || (text.len() >= 20 && mixed && !text.contains(['/', '.']))
}

/// Why a file cannot be read, without the system's error number.
pub fn io_words(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "no such file".into(),
        ErrorKind::PermissionDenied => "permission denied".into(),
        ErrorKind::IsADirectory => "it is a folder".into(),
        ErrorKind::NotADirectory => "it is not a folder".into(),
        ErrorKind::InvalidData => "it is not text in UTF-8".into(),
        _ => error.to_string(),
    }
}
