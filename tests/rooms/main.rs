//! The rooms from outside: their public API, over corpora of files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests may stop at what cannot be"
)]

// Fuzz targets name libFuzzer; here they mean the stand-in of `fuzz`.
extern crate self as libfuzzer_sys;

mod admin;
mod config;
mod deploy;
mod docs;
mod fuzz;
mod watching;

pub(crate) use fuzz::fuzz_target;
