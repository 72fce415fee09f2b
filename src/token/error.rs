//! Why a credential is not accepted. Each variant has its answer in `denial.rs`.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Error {
    /// No credential was offered.
    Absent,
    /// More than one credential, or a header that is not `scheme SP token` (RFC 6750 §3.1 `invalid_request`).
    Malformed,
    /// Another scheme than Bearer.
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
    /// The issuer's keys cannot be had, and none are left to stand on.
    KeysUnavailable,
}
