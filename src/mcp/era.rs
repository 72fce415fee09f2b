//! The two ways of speaking MCP over HTTP: stateless with `_meta` on each request, or with `initialize`.

/// Protocol revisions that this gateway polices, newest first.
pub const MODERN: &[&str] = &["2026-07-28"];
/// Legacy revisions, newest first. 2024-11-05 (HTTP+SSE) is not among them.
pub const LEGACY: &[&str] = &["2025-11-25", "2025-06-18", "2025-03-26"];

/// The only revision with batches.
pub const BATCHING: &str = "2025-03-26";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// 2026-07-28 and later: stateless, `_meta` on each request.
    Modern,
    /// 2025-03-26 to 2025-11-25: `initialize`, sessions.
    Legacy,
}

impl Era {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Modern => "modern",
            Self::Legacy => "legacy",
        }
    }

    /// The era of a revision that is on one of the lists; compared as known values, not as dates.
    pub fn of(version: &str) -> Option<Self> {
        if MODERN.contains(&version) {
            Some(Self::Modern)
        } else if LEGACY.contains(&version) {
            Some(Self::Legacy)
        } else {
            None
        }
    }
}
