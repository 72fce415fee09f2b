//! The rim towards clients and upstreams: the only folder that knows Pingora.
//!
//! Pingora gives listeners, TLS, HTTP/1 and HTTP/2 sessions and the upstream connector with its
//! pools. The exchange itself is ours, because a message must be read whole and judged before an
//! upstream is dialled, and because a stream must be ended when its token or the process ends:
//!
//! | file | holds |
//! |---|---|
//! | `server` | binds listeners, runs until told to stop, drains |
//! | `upgrade` | listening sockets handed to the next process |
//! | `connection` | one connection: cap, deadlines, one request after the other |
//! | `peer` | who is at its other end, and for whom it speaks |
//! | `proxy_protocol`, `forwarded` | what a trusted proxy says of its client, before TLS and in headers |
//! | `head` | the raw HTTP/1 head: size, time, and the one reading that every server shares |
//! | `exchange` | one request from head to record: the line of [`crate::pipeline`] with sockets |
//! | `hosted` | the authorization server's metadata, and advice for the operator |
//! | `authorization` | requests to the authorization server inside |
//! | `body` | the request body, bounded in size and time |
//! | `upstream` | what is sent on: the judged bytes and a head of our own making |
//! | `shown` | what the gateway itself shows to an upstream |
//! | `signals` | requests of those who tell what has ended elsewhere |
//! | `destination` | where a server is, as the connectors ask it |
//! | `dial` | connections to upstreams, and when a request may be sent again |
//! | `pool` | the servers of an upstream, and which of them is given the next call |
//! | `standing` | how one server stands: in flight, failed, found ill |
//! | `resolve` | names of upstreams, resolved beside the requests |
//! | `health` | looks after servers between calls |
//! | `trust` | what a TLS connection to an upstream is made with |
//! | `attention` | what else is looked at in answers: introductions, streams without an end |
//! | `response` | what comes back: headers, lists cut |
//! | `stream` | a stream of events on its way back, for as long as it may last |
//! | `asked` | what servers ask of clients on the way to an answer |
//! | `reply` | answers of our own, and CORS |
//! | `record` | the one event of a request, also when it is cut short |
//! | `activation` | listening sockets that a supervisor holds |

pub mod activation;
mod asked;
mod attention;
mod authorization;
mod body;
mod connection;
mod destination;
mod dial;
mod exchange;
mod forwarded;
mod gathered;
mod head;
mod health;
mod hosted;
mod peer;
mod pool;
mod proxy_protocol;
mod record;
mod reply;
mod resolve;
mod response;
mod results;
pub mod server;
mod shown;
mod signals;
mod standing;
mod stream;
mod trust;
pub mod upgrade;
mod upstream;

pub use server::{Gateway, Running, start, start_with};
