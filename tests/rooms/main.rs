//! The rooms from outside: their public API, over corpora of files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests may stop at what cannot be"
)]

mod admin;
mod config;
mod deploy;
mod docs;
mod watching;
