//! Arguments → configuration → state → serve; exit codes.

use std::process::ExitCode;

use clap::Parser;
use doorward::command::Arguments;

/// Chosen by measurement: glibc's allocator costs 18 % more CPU a request.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // One provider for everything that speaks TLS, before anything could install another.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Arguments::parse().run()
}
