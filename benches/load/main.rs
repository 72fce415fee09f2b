//! How much does Doorward cost beside a bare Pingora proxy, on this machine, in this run?
//!
//! Absolute figures differ from machine to machine; the ratio in one run hardly does. So both are
//! measured in turn, on the same core, with the same load, and the bars are ratios of processor
//! time for each answer. `benches/load/run` builds and starts this; `--help` names the rows.
//!
//! The binary plays every part: `load baseline LISTEN UPSTREAM [KEY]` is the bare proxy, everything else the
//! generator that starts it, with the fake MCP server on its own thread.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measuring script that stops at what cannot be"
)]

mod baseline;
mod generator;
mod governed;
mod measure;
mod report;
mod rows;
mod seat;
mod streams;
mod tokens;
mod upstream;
mod workload;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Chosen for both seats alike, as Doorward chooses it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["baseline", listen, upstream] => baseline::run(listen, upstream, None),
        ["baseline", listen, upstream, key] => baseline::run(listen, upstream, Some(key)),
        ["--help"] => {
            println!("{USAGE}\nrows: {}", rows::names().join(" "));
            ExitCode::SUCCESS
        }
        _ => match Options::read(&arguments) {
            Ok(options) => drive(options),
            Err(fault) => {
                eprintln!("{fault}\n{USAGE}\nrows: {}", rows::names().join(" "));
                ExitCode::from(2)
            }
        },
    }
}

const USAGE: &str = "usage: benches/load/run [--quick] [--row NAME]... [--rounds N] [--bare]
  --quick     2 s a cell instead of 5 s
  --row NAME  only this row; may be repeated
  --rounds N  default 3
  --bare      a bare proxy in both seats: shows the noise of this machine
  DOORWARD    in the environment: the binary to measure, default a release built now";

struct Options {
    cell: Duration,
    rounds: usize,
    rows: Vec<String>,
    /// Nothing for a bare proxy in both seats.
    binary: Option<PathBuf>,
}

impl Options {
    fn read(arguments: &[String]) -> Result<Self, String> {
        let binary = std::env::var_os("DOORWARD").map_or_else(|| PathBuf::from("target/release/doorward"), PathBuf::from);
        let mut options = Self { cell: Duration::from_secs(5), rounds: 3, rows: Vec::new(), binary: Some(binary) };
        let mut arguments = arguments.iter().map(String::as_str);
        while let Some(argument) = arguments.next() {
            match argument {
                // Cargo adds it when it runs a bench.
                "--bench" => {}
                "--quick" => options.cell = Duration::from_secs(2),
                "--bare" => options.binary = None,
                "--row" => options.rows.push(row_name(arguments.next())?),
                "--rounds" => {
                    options.rounds = arguments.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0).ok_or("`--rounds` needs a number")?
                }
                other => return Err(format!("unknown argument `{other}`")),
            }
        }
        match &options.binary {
            Some(binary) if !binary.is_file() => Err(format!("no binary at `{}`; build it or set DOORWARD", binary.display())),
            _ => Ok(options),
        }
    }
}

fn row_name(name: Option<&str>) -> Result<String, String> {
    let name = name.ok_or("`--row` needs a name")?;
    if rows::names().contains(&name) { Ok(name.to_owned()) } else { Err(format!("no row `{name}`")) }
}

fn drive(options: Options) -> ExitCode {
    // Before the first thread is started, so that all share the core.
    let pinned = Command::new("taskset").args(["-cp", seat::LOAD_CORE, &std::process::id().to_string()]).output();
    if !pinned.is_ok_and(|output| output.status.success()) {
        eprintln!("this needs `taskset` and two cores");
        return ExitCode::from(2);
    }
    streams::raise_descriptors();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (measured, done) = tokio::task::LocalSet::new().block_on(&runtime, rows::measure(options));
    let passed = report::print(&measured);
    match done {
        Ok(()) if passed => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(fault) => {
            eprintln!("\nended early: {fault}");
            ExitCode::from(2)
        }
    }
}
