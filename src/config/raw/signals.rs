//! The section `signals`, as serde reads it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{AlgorithmNames, DurationText, RateText, RawKeys, Strings};

/// Someone who tells of sessions and accounts that have ended.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Signal")]
pub struct RawSignal {
    /// The issuers, by name, whose tokens it ends. Default: the only one.
    pub issuers: Option<Strings>,
    /// The `iss` of its event tokens, and of the tokens by which it proves itself (`revoke.jwt`). Default: the identifier of its only issuer.
    pub transmitter: Option<String>,
    /// What its event tokens carry in `aud` for us. Needed for `push` and `poll`.
    pub audience: Option<Strings>,
    /// Where its `ssf-configuration` stands. Default: found from `transmitter`.
    pub metadata_url: Option<String>,
    /// Its key set, instead of one found in its metadata.
    pub jwks_uri: Option<String>,
    /// Its key set in a file.
    pub jwks_file: Option<String>,
    /// Signature algorithms of its event tokens. Default RS256, ES256, EdDSA.
    #[schemars(with = "Option<AlgorithmNames>")]
    pub algorithms: Option<Strings>,
    /// Events that have an effect, such as `session-revoked`. Default: all that are understood.
    #[schemars(with = "Option<EventNames>")]
    pub events: Option<Strings>,
    /// Formats of subject identifiers that name a subject as tokens do: `iss_sub` and `opaque` (default), and `email`, for issuers
    /// whose subjects are e-mail addresses.
    #[schemars(with = "Option<SubjectFormats>")]
    pub subjects: Option<Strings>,
    /// The end of a session ends its tokens alone, by their `sid`, and leaves the person's others. A token without `sid` then lives on.
    /// Default false: the person's earlier tokens are ended too, and clients with a live session get new ones.
    pub allow_session_only: Option<bool>,
    /// How long ago an event token may have been made. Default 7d, at most 90d.
    pub max_age: Option<DurationText>,
    /// Tolerated clock difference. Default 30s, at most 5m.
    pub leeway: Option<DurationText>,
    /// When a key counts that it publishes anew: `immediately` (default), `after 10m`, or `approved` (by `doorward keys approve`).
    /// Its first keys count at once.
    #[schemars(extend("pattern" = "^(immediately|approved|after .+)$"))]
    pub accept_new_keys: Option<String>,
    /// How its keys are fetched and kept.
    pub keys: Option<RawKeys>,
    /// Plain http off loopback, for development.
    pub allow_http: Option<bool>,
    /// Requests from one address. Default 200/s.
    pub rate: Option<RateText>,
    /// Event tokens that it sends here (RFC 8935).
    pub push: Option<RawPush>,
    /// Event tokens that are fetched from it (RFC 8936).
    pub poll: Option<RawPoll>,
    /// Requests to revoke all tokens of a subject (Global Token Revocation).
    pub revoke: Option<RawRevoke>,
    /// Logout tokens (OpenID Connect Back-Channel Logout).
    pub logout: Option<RawLogout>,
}

/// Where event tokens are sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SignalPush")]
pub struct RawPush {
    /// The path at `public_url`. Default `/.doorward/signals/NAME`.
    pub path: Option<String>,
    /// A file with the bearer token that the transmitter shows.
    pub token_file: Option<String>,
    /// The same, in a variable of the environment.
    pub token_env: Option<String>,
    /// Let a transmitter in that shows no bearer token. Its event tokens are signed all the same; a stranger's cost a verification each.
    pub allow_no_token: Option<bool>,
}

/// Where event tokens are fetched.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SignalPoll")]
pub struct RawPoll {
    /// The `endpoint_url` of the stream.
    #[schemars(required)]
    pub url: Option<String>,
    /// A file with the bearer token to show there.
    pub token_file: Option<String>,
    /// The same, in a variable of the environment.
    pub token_env: Option<String>,
    /// How long the transmitter may wait for an event before it answers. Default 30s, at most 5m.
    pub wait: Option<DurationText>,
}

/// Where revocation of a subject is asked for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SignalRevoke")]
pub struct RawRevoke {
    /// The path at `public_url`. Default `/.doorward/signals/NAME/revoke`.
    pub path: Option<String>,
    /// A file with the bearer token that whoever asks shows.
    pub token_file: Option<String>,
    /// The same, in a variable of the environment.
    pub token_env: Option<String>,
    /// Whoever asks shows a JWT instead that `transmitter` signed, a new one for each request.
    pub jwt: Option<RawRevokeJwt>,
}

/// Tokens by which a sender proves itself, of the type `global-token-revocation+jwt`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SignalRevokeJwt")]
pub struct RawRevokeJwt {
    /// What they carry in `aud`. Default: the address of the endpoint, `public_url` and `path`.
    pub audience: Option<Strings>,
}

/// Where logout tokens are sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SignalLogout")]
pub struct RawLogout {
    /// The path at `public_url`. Default `/.doorward/signals/NAME/logout`.
    pub path: Option<String>,
    /// The client ids that people log in with, as logout tokens carry them in `aud`.
    #[schemars(required)]
    pub audience: Option<Strings>,
}

/// Only for the schema.
macro_rules! names {
    ($name:ident, $all:expr) => {
        pub struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let all = $all;
                schemars::json_schema!({ "anyOf": [{ "enum": all }, { "type": "array", "items": { "enum": all }, "minItems": 1 }] })
            }
        }
    };
}

names!(EventNames, EVENTS);
names!(SubjectFormats, SUBJECTS);

/// Events that may be accepted; a test holds that they are those that are understood.
pub const EVENTS: &[&str] = &[
    "session-revoked",
    "credential-change",
    "token-claims-change",
    "sessions-revoked",
    "account-disabled",
    "account-purged",
    "account-credential-change-required",
    "credential-compromise",
    "tokens-revoked",
];

/// Formats of subject identifiers (RFC 9493 §3.2) that can name a subject here.
pub const SUBJECTS: &[&str] = &["iss_sub", "opaque", "email"];
