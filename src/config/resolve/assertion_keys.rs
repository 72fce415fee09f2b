//! The keys that assertions are signed with: a file of the operator's, or made at start.

use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use super::{Context, quantity};
use crate::config::raw::RawAssertionKeys;
use crate::config::report::At;
use crate::config::{AssertionKeys, PrivateKeys};
use crate::identity::ring::LEAD;
use crate::identity::signing::SigningKey;

const ROTATE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Keys of one file; the published set stays small.
const MOST: usize = 8;

pub fn resolve(raw: Option<RawAssertionKeys>, at: &At<'_>, context: &mut Context<'_>) -> AssertionKeys {
    let default = AssertionKeys::Generated(ROTATE);
    let Some(RawAssertionKeys { file, rotate }) = raw else { return default };
    if file.is_some() && rotate.is_some() {
        context.report.mend(&at.key("rotate"), "`rotate` is for keys made here, and `file` names others", "remove one of the two");
    }
    if let Some(file) = file {
        return given(&file, &at.key("file"), context).unwrap_or(default);
    }
    let rotate = quantity::duration(rotate, ROTATE, &at.key("rotate"), &mut context.report);
    if rotate < 2 * LEAD {
        let message = "a key is published an hour before it signs, so less than 2h is too short";
        context.report.mend(&at.key("rotate"), message, "write `2h` or more");
    }
    AssertionKeys::Generated(rotate)
}

fn given(file: &str, at: &At<'_>, context: &mut Context<'_>) -> Option<AssertionKeys> {
    let content = context.read(at, file)?;
    context.warn_if_open(at, file);
    let keys: Vec<Vec<u8>> = PrivateKeyDer::pem_slice_iter(&content)
        .map(|key| key.map(|key| key.secret_der().to_vec()))
        .collect::<Result<_, _>>()
        .unwrap_or_default();
    let sound = !keys.is_empty() && keys.iter().all(|key| SigningKey::from_der(key).is_some());
    if !sound {
        let hint = "make one: `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE`";
        context.report.mend(at, format!("`{file}` does not hold private P-256 keys in PEM"), hint);
        return None;
    }
    if keys.len() > MOST {
        context.report.mend(
            at,
            format!("`{file}` holds more than {MOST} keys"),
            "keep the one that signs, the one after it, and the one before it",
        );
        return None;
    }
    Some(AssertionKeys::Given(PrivateKeys(keys)))
}
