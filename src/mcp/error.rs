//! Why a message cannot be judged. Each variant has its answer in `denial.rs`.

/// A fault of the client's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Not JSON, not UTF-8, a byte order mark, trailing data (JSON-RPC -32700).
    NotJson,
    /// Deeper than the limit.
    TooDeep,
    /// The same member twice in one object.
    DuplicateMember,
    /// A member that other parsers take for a protocol member (`Method`, `paramſ`).
    VariantMember,
    /// An array where there may be none (batches are of 2025-03-26 alone), or one that cannot be taken apart.
    Batch(&'static str),
    /// Not a JSON-RPC 2.0 request or notification: `jsonrpc`, `id`, `method` or `params` of a wrong shape.
    NotRequest(&'static str),
    /// A JSON-RPC response from the client: there is no server request it could answer.
    Response,
    /// The method is in no row of the table, or not of this era. Holds the era it was asked in.
    UnknownMethod,
    /// A member that the method needs is absent or of a wrong type.
    Params(&'static str),
    /// `_meta` lacks a member that the modern era requires.
    Meta(&'static str),
    /// A header of the modern era is absent, malformed, or says something else than the body.
    Header(&'static str),
    /// A protocol revision that is not on the list.
    Version { requested: String, modern: bool },
}
