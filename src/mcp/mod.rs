//! What do they ask? MCP messages of every era, read once and strictly.
//!
//! A message is read into a [`Message`] whose [`Operation`] is all that policy needs to know. What
//! cannot be read in exactly one way is refused, never skipped: duplicate members, members that
//! another parser would take for ours (`Method`, `paramſ`), ids that are neither string nor
//! integer, batches, unknown methods. This room knows nothing of HTTP frameworks, tokens or rules.

pub mod ask;
pub mod batch;
mod bytes;
pub mod definition;
mod draft;
pub mod era;
pub mod error;
pub mod extension;
pub mod headers;
pub mod introduction;
mod json;
pub mod listen;
pub mod listing;
mod memo;
pub mod message;
pub mod method;
pub mod mirror;
pub mod related;
pub mod result;
pub mod reverse;
pub mod seal;
pub mod sse;

pub use era::Era;
pub use error::Error;
pub use message::{Failure, Id, Message, Operation, Passed, Returned, Target, Thing};
pub use method::{Kind, Method, Verb};
