//! The section `clients`, as serde reads it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Strings;

/// A client, by whose word it may call, and for what.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Client")]
pub struct RawClient {
    /// As tokens carry it. Default: the entry's own name.
    pub id: Option<String>,
    /// The issuer, by name, whose client it is. Default: the only one.
    pub issuer: Option<String>,
    /// `approved` (default), `pending`, `suspended`, or `retired`: that for ever, also when the entry is gone.
    pub state: Option<RawState>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is for.
    pub purpose: Option<String>,
    /// The upstreams, by name, where it may call. Default: everywhere.
    pub upstreams: Option<Strings>,
    /// The scopes that count of those that its tokens have. Default: all.
    pub scopes: Option<Strings>,
    /// Until when it may call (RFC 3339).
    pub expires: Option<String>,
    /// Where its authorization server may send people back, for the inventory.
    pub redirect_uris: Option<Strings>,
    /// What it calls itself, for the inventory.
    pub names: Option<Strings>,
}

/// How far the life of a client has come.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ClientState", inline)]
pub enum RawState {
    Pending,
    Approved,
    Suspended,
    Retired,
}
