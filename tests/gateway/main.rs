//! The gateway from outside: the real binary between a fake issuer and a fake MCP server.
//!
//! Everything is judged by what the upstream really received and what the client got. Knows nothing
//! of the gateway's own types: what is expected here was written down from the standards.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    reason = "a test says what went wrong by failing"
)]

mod support;

mod activation;
mod admin_api;
mod admin_login;
mod asks;
mod assertion;
mod attacker;
mod audit_log;
mod authorization_accounts;
mod authorization_attacks;
mod authorization_clients;
mod authorization_flow;
mod authorization_grants;
mod authorization_passkeys;
mod authorization_replicas;
mod authorization_tokens;
mod balance;
mod bars;
mod batches;
mod clients;
mod crash;
mod discover;
mod discovery;
mod doctor;
mod dpop;
mod edge;
mod era_legacy;
mod era_modern;
mod faults;
mod introspection;
mod issuer_metadata;
mod lag;
mod lifecycle;
mod limits;
mod listeners;
mod lists;
mod pinning;
mod policy;
mod probe;
mod providers;
mod record;
mod refusals;
mod reload;
mod review;
mod revocation;
mod round_trips;
mod signals;
mod smuggling;
mod step_up;
mod strangers;
mod streams;
mod surfaces;
mod tasks;
mod tokens;
mod traces;
mod upstream_credential;
mod upstream_identity;
mod watching;
