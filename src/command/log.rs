//! What goes to the log, and how. Decisions are in the audit record; the log tells of the process.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::Log;

/// Logs to standard error. The framework prints whole heads at `debug`, tokens among them, so its
/// targets are capped whatever `RUST_LOG` says.
pub fn start(log: Log) {
    let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".into());
    // A bare `debug` or `trace` means this crate.
    let wanted = if matches!(wanted.as_str(), "debug" | "trace") { format!("doorward={wanted}") } else { wanted };
    let own: Vec<&str> = wanted.split(',').map(str::trim).filter(|directive| is_ours(directive)).collect();
    let filter =
        EnvFilter::new(format!("warn,pingora=off,pingora_core=off,pingora_proxy=off,h2=off,hyper=off,rustls=off,{}", own.join(",")));
    let text = match log {
        Log::Auto => std::io::stderr().is_terminal(),
        Log::Text => true,
        Log::Json => false,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ =
        if text { builder.with_ansi(std::io::stderr().is_terminal()).try_init() } else { builder.json().flatten_event(true).try_init() };
}

/// A bare level, or a directive for this crate.
fn is_ours(directive: &str) -> bool {
    directive.starts_with("doorward") || matches!(directive, "error" | "warn" | "info")
}
