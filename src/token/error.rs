//! Why a credential is not accepted. Each variant has its answer in `denial.rs`.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Error {
    /// No credential was offered.
    Absent,
    /// More than one credential, or a header that is not `scheme SP token` (RFC 6750 §3.1 `invalid_request`).
    Malformed,
    /// Another scheme than Bearer and DPoP.
    Scheme,
    /// Longer than the limit.
    TooLong,
    /// Not a JWS in compact form, or a part that is not strict base64url JSON without duplicate members.
    NotJwt,
    /// An algorithm that is not on the issuer's list, `none` and HMAC among them.
    Algorithm,
    /// A `typ` that is not named for the issuer (RFC 9068 §4).
    Type,
    /// `crit`, or key material in the header: `jwk`, `jku`, `x5u`, `x5c` (RFC 8725 §3.10).
    Header,
    /// Not one of the route's issuers.
    Issuer,
    /// No key of the issuer has this id and algorithm.
    UnknownKey,
    /// The issuer publishes the key, and it does not count here, or not yet (`accept_new_keys`).
    KeyHeld,
    Signature,
    Expired,
    /// `nbf` or `iat` lies ahead.
    NotYet,
    /// A registered claim of a wrong JSON type.
    ClaimType(&'static str),
    MissingClaim(&'static str),
    /// A claim has none of the values that the issuer's configuration demands of it.
    ClaimValue,
    Audience,
    /// An ID token (RFC 8725 §3.12).
    IdToken,
    /// Bound to a key (`cnf`), presented as bearer (RFC 9449 §7.2, RFC 8705 §3).
    Bound,
    /// `cnf` in a form, or with a member, that cannot be checked (RFC 7800 §3.1).
    Confirmation,
    /// Not bound to what the scheme or the route asks for (RFC 9449 §7.1, RFC 8705 §3).
    Unbound,
    /// Bound to another client certificate than the connection's, or to one where there is none (RFC 8705 §3).
    Certificate,
    /// What is wrong with a DPoP proof.
    Proof(Flaw),
    /// The proof has no nonce of ours, or an old one (RFC 9449 §9).
    Nonce,
    /// No more proofs can be remembered, so none can be accepted.
    ProofsFull,
    /// The issuer's keys cannot be had, and none are left to stand on.
    KeysUnavailable,
    /// Its issuer says that it is not a live token, and no more (RFC 7662 §2.2).
    Inactive,
    /// It, or something that it comes from, was revoked here.
    Revoked,
    /// It lives longer than revocations are kept for.
    Lifetime,
    /// What was revoked cannot be known at present.
    RevocationsUnknown,
    /// Its issuer cannot be asked about it, and no answer is left to stand on.
    IntrospectionUnavailable,
}

/// Why a DPoP proof is not accepted (RFC 9449 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// No `DPoP` header.
    Missing,
    /// More than one `DPoP` header.
    Several,
    /// Longer than is looked at.
    TooLong,
    /// Not a JWS of strict JSON, or without a claim that it must have.
    Malformed,
    /// Another `typ` than `dpop+jwt`.
    Type,
    /// Not an asymmetric algorithm of the list.
    Algorithm,
    /// `jwk` is not a sound public key for the algorithm, or brings a private one.
    Key,
    Signature,
    Method,
    Url,
    /// `iat` too far back or ahead.
    Time,
    /// `ath` is of another token.
    Token,
    /// Another key than the token is bound to.
    OtherKey,
    /// Used before.
    Replayed,
}

impl Flaw {
    /// The label for audit and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "proof_missing",
            Self::Several => "proof_several",
            Self::TooLong => "proof_too_long",
            Self::Malformed => "proof_malformed",
            Self::Type => "proof_type",
            Self::Algorithm => "proof_algorithm",
            Self::Key => "proof_key",
            Self::Signature => "proof_signature",
            Self::Method => "proof_method",
            Self::Url => "proof_url",
            Self::Time => "proof_time",
            Self::Token => "proof_token",
            Self::OtherKey => "proof_other_key",
            Self::Replayed => "proof_replayed",
        }
    }

    /// What the client may know. It can mend each of these itself.
    pub fn message(self) -> &'static str {
        match self {
            Self::Missing => "a DPoP proof is required",
            Self::Several => "exactly one DPoP proof is expected",
            Self::TooLong => "the DPoP proof is too long",
            Self::Malformed => "the DPoP proof is malformed",
            Self::Type => "the DPoP proof is not of the type dpop+jwt",
            Self::Algorithm => "the algorithm of the DPoP proof is not accepted",
            Self::Key => "the key of the DPoP proof is not accepted",
            Self::Signature => "the signature of the DPoP proof is invalid",
            Self::Method => "the DPoP proof is for another method",
            Self::Url => "the DPoP proof is for another URL",
            Self::Time => "the DPoP proof is too old, or from the future",
            Self::Token => "the DPoP proof is for another access token",
            Self::OtherKey => "the DPoP proof is by another key than the access token is bound to",
            Self::Replayed => "the DPoP proof was used before",
        }
    }
}
