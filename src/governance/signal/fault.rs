//! Why is a signal not accepted? Each fault with its label, its word for the sender, and its code by RFC 8935 §2.4.

use crate::token;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The sender did not show the secret that is asked of it.
    Sender,
    /// Another media type, or a content coding.
    Media,
    /// Not a JWS of strict JSON, or a body that is not what it should be.
    Malformed,
    /// An algorithm that is not on the list, `none` and HMAC among them.
    Algorithm,
    /// Another `typ` (RFC 8417 §2.3).
    Type,
    /// `crit`, or key material in the header.
    Header,
    Issuer,
    Audience,
    UnknownKey,
    Signature,
    /// A claim that is missing, of a wrong type, or must not be there. Holds its name.
    Claim(&'static str),
    /// Made too long ago, or ahead of the clock here.
    Time,
    /// A logout token beyond its `exp`.
    Expired,
    /// No events, too many, or not those that this way is for.
    Events,
    /// A subject that is not what RFC 9493 says.
    Subject,
    /// A request for a subject that is not of an issuer whose tokens are ended here.
    UnknownSubject,
    /// A request for a subject in a form that names nobody here.
    Unmappable,
    /// The sender publishes the key, and it does not count yet (`accept_new_keys`).
    KeyHeld,
    /// The sender's keys cannot be had.
    KeysUnavailable,
    /// It could not be written down.
    Store,
}

impl Fault {
    /// The error code (RFC 8935 §2.4).
    pub fn code(self) -> &'static str {
        match self {
            Self::Sender => "authentication_failed",
            Self::Issuer => "invalid_issuer",
            Self::Audience => "invalid_audience",
            Self::UnknownKey | Self::Algorithm | Self::Signature => "invalid_key",
            _ => "invalid_request",
        }
    }

    /// The label for audit and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Sender => "signal_sender",
            Self::Media => "signal_media_type",
            Self::Malformed => "signal_malformed",
            Self::Algorithm => "signal_algorithm",
            Self::Type => "signal_type",
            Self::Header => "signal_header",
            Self::Issuer => "signal_issuer",
            Self::Audience => "signal_audience",
            Self::UnknownKey => "signal_unknown_key",
            Self::Signature => "signal_signature",
            Self::Claim(_) => "signal_claim",
            Self::Time => "signal_time",
            Self::Expired => "signal_expired",
            Self::Events => "signal_events",
            Self::Subject => "signal_subject",
            Self::UnknownSubject => "signal_unknown_subject",
            Self::Unmappable => "signal_unmappable",
            Self::KeyHeld => "signal_key_held",
            Self::KeysUnavailable => "signal_keys_unavailable",
            Self::Store => "signal_store",
        }
    }

    /// What the sender may know. Never holds what it sent.
    pub fn message(self) -> &'static str {
        match self {
            Self::Sender => "the sender is not authenticated",
            Self::Media => "another media type is expected, without a content coding",
            Self::Malformed => "this cannot be read",
            Self::Algorithm => "the signature algorithm is not accepted",
            Self::Type => "the type of the token is not accepted",
            Self::Header => "the header of the token has a member that is not accepted",
            Self::Issuer => "the issuer of the token is not accepted",
            Self::Audience => "the token is for another audience",
            Self::UnknownKey => "the key of the token is not known",
            Self::Signature => "the signature of the token is invalid",
            Self::Claim(_) => "a claim is missing, of a wrong type, or must not be in this token",
            Self::Time => "the token is too old, or from the future",
            Self::Expired => "the token has expired",
            Self::Events => "the events of the token are not accepted",
            Self::Subject => "the subject cannot be read",
            Self::UnknownSubject => "the subject is not known here",
            Self::Unmappable => "no subject can be found by an identifier of this format",
            Self::KeyHeld => "the key of the token does not count yet; try again later",
            Self::KeysUnavailable => "the keys of the sender cannot be had; try again later",
            Self::Store => "the signal cannot be written down; try again later",
        }
    }

    /// Whether the same signal may be accepted later.
    pub fn is_passing(self) -> bool {
        matches!(self, Self::KeyHeld | Self::KeysUnavailable | Self::Store)
    }
}

impl From<token::Error> for Fault {
    fn from(error: token::Error) -> Self {
        use token::Error;
        match error {
            Error::Algorithm => Self::Algorithm,
            Error::Type => Self::Type,
            Error::Header => Self::Header,
            Error::Issuer | Error::MissingClaim("iss") | Error::ClaimType("iss") => Self::Issuer,
            Error::ClaimType("aud") => Self::Audience,
            Error::UnknownKey => Self::UnknownKey,
            Error::Signature => Self::Signature,
            Error::ClaimType(name) | Error::MissingClaim(name) => Self::Claim(name),
            Error::KeysUnavailable => Self::KeysUnavailable,
            _ => Self::Malformed,
        }
    }
}
