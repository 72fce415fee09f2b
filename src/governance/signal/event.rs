//! What kinds of events are there, and whose tokens does each end?

/// An event that is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    SessionRevoked,
    SessionsRevoked,
    CredentialChange,
    CredentialChangeRequired,
    CredentialCompromise,
    TokenClaimsChange,
    AccountDisabled,
    AccountPurged,
    TokensRevoked,
    /// OpenID Connect Back-Channel Logout 1.0 §2.4; in no other token than its own.
    Logout,
    /// A request without an event: Global Token Revocation.
    Request,
    /// The transmitter asks whether it is heard (SSF 1.0 §8.1.4).
    Verification,
    /// The transmitter says that its stream goes on, pauses or has ended (SSF 1.0 §8.1.5).
    StreamUpdated,
}

/// Whose tokens an event ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Those of the session, where one is named.
    Session,
    /// All of the person's.
    User,
    Nothing,
}

const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";
const OAUTH: &str = "https://schemas.openid.net/secevent/oauth/event-type/";
const SSF: &str = "https://schemas.openid.net/secevent/ssf/event-type/";

/// Kind, where it is defined, and the last part of its URI, which is also its name in the configuration.
const TABLE: [(Kind, &str, &str); 11] = [
    (Kind::SessionRevoked, CAEP, "session-revoked"),
    (Kind::CredentialChange, CAEP, "credential-change"),
    (Kind::TokenClaimsChange, CAEP, "token-claims-change"),
    (Kind::SessionsRevoked, RISC, "sessions-revoked"),
    (Kind::AccountDisabled, RISC, "account-disabled"),
    (Kind::AccountPurged, RISC, "account-purged"),
    (Kind::CredentialChangeRequired, RISC, "account-credential-change-required"),
    (Kind::CredentialCompromise, RISC, "credential-compromise"),
    (Kind::TokensRevoked, OAUTH, "tokens-revoked"),
    (Kind::Verification, SSF, "verification"),
    (Kind::StreamUpdated, SSF, "stream-updated"),
];

impl Kind {
    /// By the whole URI, letter by letter.
    pub fn of(uri: &str) -> Option<Self> {
        TABLE.iter().find_map(|(kind, space, name)| (uri.strip_prefix(space) == Some(*name)).then_some(*kind))
    }

    /// By its name in the configuration.
    pub fn named(name: &str) -> Option<Self> {
        Self::choices().find(|kind| kind.name() == name)
    }

    /// Those that the configuration may choose from.
    pub fn choices() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|(kind, ..)| *kind).filter(|kind| kind.ends() != Ends::Nothing)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Request => "global-token-revocation",
            _ => TABLE.iter().find_map(|(kind, _, name)| (*kind == self).then_some(*name)).unwrap_or_default(),
        }
    }

    pub fn ends(self) -> Ends {
        match self {
            Self::SessionRevoked | Self::Logout => Ends::Session,
            Self::Verification | Self::StreamUpdated => Ends::Nothing,
            _ => Ends::User,
        }
    }
}
