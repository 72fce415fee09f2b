//! As whom are authorization servers asked, and with which secret or key?

use std::str::FromStr;
use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use super::Context;
use crate::config::raw::RawPrivateKeyJwt;
use crate::config::report::At;
use crate::route::client::{Client, ClientKey, Proof};
use crate::route::grant::Secret;
use crate::token::Algorithm;

/// Bytes of a `kid`; it goes into each proof.
const LONGEST_KID: usize = 256;

/// The keys of a section that say who is asking.
pub struct Section {
    pub client_id: Option<String>,
    pub client_secret_file: Option<String>,
    pub client_secret_env: Option<String>,
    pub private_key_jwt: Option<RawPrivateKeyJwt>,
}

impl Section {
    /// None where the report says why. `what` tells what `client_id` is; `audience` is whom a proof is for by default.
    pub fn resolve(self, what: &str, audience: &str, at: &At<'_>, context: &mut Context<'_>) -> Option<Client> {
        let Self { client_id, client_secret_file, client_secret_env, private_key_jwt } = self;
        let proof = proof(client_secret_file, client_secret_env, private_key_jwt, audience, at, context);
        let Some(id) = client_id.filter(|id| !id.trim().is_empty()) else {
            context.missing_key(at, "client_id", what);
            return None;
        };
        Some(Client { id, proof: proof? })
    }
}

/// Named in exactly one of three ways.
fn proof(
    file: Option<String>,
    variable: Option<String>,
    key: Option<RawPrivateKeyJwt>,
    audience: &str,
    at: &At<'_>,
    context: &mut Context<'_>,
) -> Option<Proof> {
    match (file, variable, key) {
        (Some(file), None, None) => context.secret_file(&at.key("client_secret_file"), &file).map(Secret::new).map(Proof::Secret),
        (None, Some(variable), None) => context.secret_env(&at.key("client_secret_env"), &variable).map(Secret::new).map(Proof::Secret),
        (None, None, Some(key)) => signed(key, audience, &at.key("private_key_jwt"), context),
        (None, None, None) => {
            let hint = "name one of `client_secret_file`, `client_secret_env` and `private_key_jwt`";
            context.report.missing(at, "no client secret is named", hint);
            None
        }
        _ => {
            let hint = "keep one of `client_secret_file`, `client_secret_env` and `private_key_jwt`";
            context.report.mend(at, "more than one client secret", hint);
            None
        }
    }
}

fn signed(raw: RawPrivateKeyJwt, default: &str, at: &At<'_>, context: &mut Context<'_>) -> Option<Proof> {
    let RawPrivateKeyJwt { key_file, kid, algorithm, audience } = raw;
    let named = algorithm.is_some();
    let algorithm = algorithm.and_then(|name| self::algorithm(&name, &at.key("algorithm"), context));
    let has_kid = kid.as_ref().is_none_or(|kid| !kid.is_empty() && kid.len() <= LONGEST_KID);
    if !has_kid {
        context.report.mend(&at.key("kid"), "a key's name has 1 to 256 bytes", "write it as the authorization server shows it");
    }
    if audience.as_ref().is_some_and(String::is_empty) {
        let hint = "write the authorization server's issuer identifier or endpoint, or remove the key";
        context.report.mend(&at.key("audience"), "an empty text names nobody", hint);
    }
    let audience = audience.unwrap_or_else(|| default.to_owned());
    let Some(file) = key_file else {
        context.missing_key(at, "key_file", "make one: `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE`");
        return None;
    };
    let at = at.key("key_file");
    let content = context.read(&at, &file)?;
    context.warn_if_open(&at, &file);
    let Ok(key) = PrivateKeyDer::from_pem_slice(&content) else {
        context.report.mend(&at, format!("`{file}` holds no private key in PEM"), "it begins with `-----BEGIN PRIVATE KEY-----`");
        return None;
    };
    if named && algorithm.is_none() {
        return None;
    }
    let Some(key) = ClientKey::from_der(key.secret_der(), algorithm, kid.filter(|_| has_kid)) else {
        let (message, hint) = match algorithm {
            Some(algorithm) => {
                (format!("the key in `{file}` cannot sign with {algorithm}"), "remove `algorithm` for the usual one of the key")
            }
            None => (
                format!("the key in `{file}` is of no kind that can be used"),
                "use RSA of 2048 bits or more, P-256, P-384, P-521 or Ed25519",
            ),
        };
        context.report.mend(&at, message, hint);
        return None;
    };
    Some(Proof::Key { key: Arc::new(key), audience })
}

fn algorithm(name: &str, at: &At<'_>, context: &mut Context<'_>) -> Option<Algorithm> {
    let known = Algorithm::from_str(name).ok();
    if known.is_none() {
        let hint = "one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 and EdDSA";
        context.report.mend(at, format!("`{name}` is no algorithm that a private key signs with"), hint);
    }
    known
}
