//! The rim towards clients and upstreams: the only folder that knows Pingora.
//!
//! Pingora gives listeners, TLS, HTTP/1 and HTTP/2 sessions and the upstream connector with its
//! pools. The exchange itself is ours, because a message must be read whole and judged before an
//! upstream is dialled, and because a stream must be ended when its token or the process ends:
//!
//! | file | holds |
//! |---|---|
//! | `server` | binds listeners, runs until told to stop, drains |
//! | `connection` | one connection: cap, deadlines, one request after the other |
//! | `head` | the raw HTTP/1 head: size, time, and the one reading that every server shares |
//! | `exchange` | one request from head to record: the line of [`crate::pipeline`] with sockets |
//! | `hosted` | the authorization server's metadata, and advice for the operator |
//! | `body` | the request body, bounded in size and time |
//! | `upstream` | what is sent on: the judged bytes and a head of our own making |
//! | `dial` | connections to upstreams, and when a request may be sent again |
//! | `response` | what comes back: headers, lists cut, streams |
//! | `reply` | answers of our own, and CORS |
//! | `record` | the one event of a request, also when it is cut short |
//! | `tls` | certificates, replaced while serving |

mod body;
mod connection;
mod dial;
mod exchange;
mod head;
mod hosted;
mod record;
mod reply;
mod response;
pub mod server;
mod tls;
mod upstream;

pub use server::{Gateway, Running, start};
