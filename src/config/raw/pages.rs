//! The section `authorization_server.pages`, as serde reads it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Keyed;

/// What people see on pages.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Pages")]
pub struct RawPages {
    /// The name above each page. Default: the host of `public_url`.
    pub title: Option<String>,
    /// Whom people ask for approval and help, as they are told: an address, a channel, a desk.
    pub contact: Option<String>,
    /// Files with the words of pages, by language tag; what one leaves out is in English. `config/texts/de.yaml` is a sample.
    pub translations: Option<Keyed<String>>,
}
