//! What happened in one request: the one source of the audit line, the metrics and the log.

pub mod values;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::mcp::Era;
use crate::policy::Place;
use crate::principal::Principal;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The rules allow it; it went to the upstream.
    Permitted,
    /// The rules refuse it, or the request never came that far.
    Refused,
    /// The rules refuse it, but the upstream is in `mode: observe`.
    Observed,
    /// Permitted, and then the upstream or the way to it failed.
    Failed,
    /// Answered here: metadata, preflight, absorbed notifications.
    Answered,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permitted => "permitted",
            Self::Refused => "refused",
            Self::Observed => "observed",
            Self::Failed => "failed",
            Self::Answered => "answered",
        }
    }

    pub const ALL: [Self; 5] = [Self::Permitted, Self::Refused, Self::Observed, Self::Failed, Self::Answered];
}

/// One request, told once. Holds no token, and of arguments only what the operator named.
#[derive(Clone, Debug)]
pub struct Event {
    /// 32 hexadecimal digits, also sent back as `Doorward-Request-Id`.
    pub id: String,
    pub time: SystemTime,
    /// The upstream's name; absent where no route was found.
    pub upstream: Option<Arc<str>>,
    pub who: Option<Arc<Principal>>,
    /// SHA-256 of the token.
    pub token: Option<[u8; 32]>,
    /// The MCP method, from the method table; `session/stream`, `session/end` and `session/answer` for what carries none;
    /// `tools/definition` for a tool that is not as it was approved, which no request asked for; `none` where none was read.
    pub operation: &'static str,
    /// The tool, prompt or URI that was asked for, cut to a bound.
    pub name: Option<String>,
    pub outcome: Outcome,
    pub reason: &'static str,
    pub rule: Option<(String, Place)>,
    /// BLAKE3 of the call's arguments as sent: they may be long, and SHA-256 takes more than twice as long.
    pub arguments: Option<[u8; 32]>,
    /// The values that the operator wants to have, of a tool that has such.
    pub values: Option<Box<values::Values>>,
    pub source: IpAddr,
    /// SHA-256 of the session's id, as the upstream knows it.
    pub session: Option<[u8; 32]>,
    pub era: Option<Era>,
    /// The HTTP status that the client got.
    pub status: u16,
    pub duration: Duration,
    /// The part of it that was spent in the gateway itself.
    pub overhead: Duration,
    /// The W3C trace id.
    pub trace: Option<String>,
}

/// What somebody did to the gateway itself: a revocation, an approval, a reload. Holds no secret.
#[derive(Clone, Debug)]
pub struct Act {
    /// Of the request that asked for it, where one did.
    pub id: Option<String>,
    pub time: SystemTime,
    pub upstream: Option<Arc<str>>,
    /// `admin/` and a word: `admin/revoke`, `admin/approve`, `admin/reload`.
    pub operation: &'static str,
    /// What it was done to: a client's id, a subject, a key's id.
    pub name: Option<String>,
    pub outcome: Outcome,
    /// Why, in the words of whoever did it; cut to 256 characters.
    pub reason: String,
    /// Who did it, as far as the gateway knows: a name of the admin API, a signal, a signed event's issuer.
    pub actor: String,
}
