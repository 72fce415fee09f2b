//! What Doorward itself shows to a server: one header, whose value never stands in the configuration.

use http::HeaderValue;

use super::{Context, grant, identity};
use crate::config::raw::{RawCredential, RawCredentialHeader};
use crate::config::report::At;
use crate::route::Credential;
use crate::route::grant::Grant;

/// What stands under `credential`.
#[derive(Default)]
pub struct Resolved {
    /// A header that is always the same.
    pub fixed: Option<Credential>,
    /// A token that is obtained.
    pub grant: Option<Grant>,
}

impl Resolved {
    /// The name of the header that carries the credential.
    pub fn header(&self) -> Option<&str> {
        let obtained = self.grant.is_some().then_some("Authorization");
        self.fixed.as_ref().map(|fixed| fixed.header.as_str()).or(obtained)
    }
}

const CHOICES: &str = "`bearer_file`, `bearer_env`, `header`, `client_credentials` and `token_exchange`";

/// What to send, or nothing where the report says why. `url` is the server's.
pub fn resolve(raw: RawCredential, url: Option<&str>, at: &At<'_>, context: &mut Context<'_>) -> Resolved {
    let RawCredential { bearer_file, bearer_env, header, client_credentials, token_exchange } = raw;
    let bearer = |token: String| Credential::new("Authorization".into(), format!("Bearer {token}"));
    let fixed = |fixed| Resolved { fixed, grant: None };
    let obtained = |grant| Resolved { fixed: None, grant };
    match (bearer_file, bearer_env, header, client_credentials, token_exchange) {
        (Some(file), None, None, None, None) => fixed(context.secret_file(&at.key("bearer_file"), &file).map(bearer)),
        (None, Some(variable), None, None, None) => fixed(context.secret_env(&at.key("bearer_env"), &variable).map(bearer)),
        (None, None, Some(raw), None, None) => fixed(other_header(raw, &at.key("header"), context)),
        (None, None, None, Some(raw), None) => obtained(grant::resolve(raw, None, &at.key("client_credentials"), context)),
        (None, None, None, None, Some(raw)) => {
            obtained(grant::resolve(raw, Some(grant::Exchange { url }), &at.key("token_exchange"), context))
        }
        (None, None, None, None, None) => {
            context.report.missing(at, "no credential is named", format!("name one of {CHOICES}"));
            Resolved::default()
        }
        _ => {
            context.report.mend(at, "more than one credential", format!("keep one of {CHOICES}"));
            Resolved::default()
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
    let sound =
        identity::header_name(&name, &at.key("name"), context).is_some() && identity::is_free(&name, true, &at.key("name"), context);
    let value = value.filter(|value| sound && HeaderValue::from_str(value).is_ok())?;
    Some(Credential::new(name, value))
}
