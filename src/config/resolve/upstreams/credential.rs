//! What Doorward itself shows to a server: one header, whose value never stands in the configuration.

use http::HeaderValue;

use super::{Context, identity};
use crate::config::raw::{RawCredential, RawCredentialHeader};
use crate::config::report::At;
use crate::route::Credential;

/// The header to send, or none where the report says why.
pub fn resolve(raw: RawCredential, at: &At<'_>, context: &mut Context<'_>) -> Option<Credential> {
    let RawCredential { bearer_file, bearer_env, header, client_credentials, token_exchange } = raw;
    let later = client_credentials.is_some() || token_exchange.is_some();
    context.later(at, "client_credentials", client_credentials);
    context.later(at, "token_exchange", token_exchange);
    let bearer = |token: String| Credential::new("Authorization".into(), format!("Bearer {token}"));
    match (bearer_file, bearer_env, header) {
        (Some(file), None, None) => context.secret_file(&at.key("bearer_file"), &file).map(bearer),
        (None, Some(variable), None) => context.secret_env(&at.key("bearer_env"), &variable).map(bearer),
        (None, None, Some(raw)) => other_header(raw, &at.key("header"), context),
        (None, None, None) if later => None,
        (None, None, None) => {
            context.report.missing(at, "no credential is named", "name one of `bearer_file`, `bearer_env` and `header`");
            None
        }
        _ => {
            context.report.mend(at, "more than one credential", "keep one of `bearer_file`, `bearer_env` and `header`");
            None
        }
    }
}

fn other_header(raw: RawCredentialHeader, at: &At<'_>, context: &mut Context<'_>) -> Option<Credential> {
    let RawCredentialHeader { name, value_file, value_env } = raw;
    let value = match (value_file, value_env) {
        (Some(file), None) => context.secret_file(&at.key("value_file"), &file),
        (None, Some(variable)) => context.secret_env(&at.key("value_env"), &variable),
        (None, None) => {
            context.report.missing(at, "no value is named", "name one of `value_file` and `value_env`");
            None
        }
        (Some(_), Some(_)) => {
            context.report.mend(at, "more than one value", "keep one of `value_file` and `value_env`");
            None
        }
    };
    let Some(name) = name else {
        context.missing_key(at, "name", "the header's name, such as `X-Api-Key`");
        return None;
    };
    let sound = identity::is_header_name(&name, &at.key("name"), context) && identity::is_free(&name, true, &at.key("name"), context);
    let value = value.filter(|value| sound && HeaderValue::from_str(value).is_ok())?;
    Some(Credential::new(name, value))
}
