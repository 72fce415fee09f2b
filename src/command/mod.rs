//! The command line: one file for each subcommand.
//!
//! Exit codes: 0 done or "yes"; 1 the answer is no (a wrong configuration, a refused call); 2 wrong
//! usage; 3 it could not be done (an address in use, a file that cannot be written).

mod approve;
mod audit;
mod barrier;
mod check;
mod clients;
mod demo;
mod descriptors;
mod doctor;
mod explain;
mod explanation;
mod following;
mod grants;
mod keys;
mod log;
mod lookout;
mod operators;
mod ownership;
mod probe;
mod reach;
mod recorder;
mod replay;
mod review;
mod revoke;
mod running;
mod schema;
mod serve;
mod solo;
mod surfaces;
mod users;
mod watch;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::comparison;
use crate::config::Problem;

/// The small gateway that governs who may talk to an MCP server.
#[derive(Parser)]
#[command(name = "doorward", version, about, after_help = "Exit codes: 0 done or yes, 1 no, 2 wrong usage, 3 it could not be done.")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve.
    Serve(serve::Serve),
    /// Say everything that is wrong with a configuration, and what is legal but probably not meant.
    Check(check::Check),
    /// Approve the tools of a pinned upstream as its servers define them now, or show how they differ from what was approved.
    Approve(approve::Approve),
    /// Say what a caller may do, by which rule, and what is missing.
    Explain(Box<explain::Explain>),
    /// Walk to a server as its clients do, and say where they would stumble.
    Doctor(doctor::Doctor),
    /// Refuse a token, or all of a session, client, subject, key or upstream, on every replica, from now on.
    Revoke(Box<revoke::Revoke>),
    /// Verify and search the audit log.
    Audit(audit::AuditCommand),
    /// Say what a proposed configuration would have changed for the requests of an audit log.
    Replay(replay::Replay),
    /// Approve, suspend and retire clients, and show them.
    Clients(clients::Clients),
    /// Invite people, disable their accounts, and let them in again.
    Users(users::Users),
    /// Show what people let clients do at the authorization server inside, and end it.
    Grants(grants::Grants),
    /// Say for each upstream who issues tokens, registers clients, asks people, signs, revokes and reviews.
    Ownership(ownership::Ownership),
    /// Show the keys that issuers publish, and decide on new ones.
    Keys(keys::Keys),
    /// Say what is granted and was not used, with what would be enough; or attest that somebody has looked.
    Review(Box<review::Review>),
    /// Say how a running gateway stands. Asks the admin API.
    Status(running::Status),
    /// Let a running gateway read its configuration anew, and say what became of it. Asks the admin API.
    Reload(running::Reload),
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Run a gateway, a sample MCP server and a demo issuer on loopback, and show what happens.
    Demo(demo::Demo),
}

/// Where the configuration is.
#[derive(Args)]
struct File {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = "doorward.yaml", env = "DOORWARD_CONFIG")]
    config: PathBuf,
}

/// Why a command ended early.
enum Failure {
    /// The answer is no.
    No,
    /// Problems of the configuration.
    Problems(Vec<Problem>),
    /// It could not be done.
    Impossible(String),
}

impl Arguments {
    pub fn run(self) -> ExitCode {
        let result = match self.command {
            Command::Serve(serve) => serve.run(),
            Command::Check(check) => check.run(),
            Command::Approve(approve) => approve.run(),
            Command::Explain(explain) => explain.run(),
            Command::Doctor(doctor) => doctor.run(),
            Command::Revoke(revoke) => revoke.run(),
            Command::Audit(audit) => audit.run(),
            Command::Replay(replay) => replay.run(),
            Command::Clients(clients) => clients.run(),
            Command::Users(users) => users.run(),
            Command::Grants(grants) => grants.run(),
            Command::Ownership(ownership) => ownership.run(),
            Command::Keys(keys) => keys.run(),
            Command::Review(review) => review.run(),
            Command::Status(status) => status.run(),
            Command::Reload(reload) => reload.run(),
            Command::Schema => schema::run(),
            Command::Demo(demo) => demo.run(),
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure::No) => ExitCode::from(1),
            Err(Failure::Problems(problems)) => {
                for problem in problems {
                    complain(&problem.to_string());
                }
                ExitCode::from(1)
            }
            Err(Failure::Impossible(what)) => {
                complain(&format!("doorward: {what}"));
                ExitCode::from(3)
            }
        }
    }
}

/// A line for a person, on standard error.
fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Text for a person or a program, on standard output.
fn say(text: &str) -> Result<(), Failure> {
    io::stdout().write_all(text.as_bytes()).map_err(|error| Failure::Impossible(format!("cannot write to standard output: {error}")))
}

/// A runtime with a thread for each processor.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let builder = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    builder.map_err(|error| Failure::Impossible(format!("cannot start the runtime: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One random id in 64 begins with a hyphen.
    #[test]
    fn a_command_takes_an_id_that_begins_with_a_hyphen() {
        let commands = [
            "revoke --digest -x --reason theft --by ann",
            "revoke --jti -x --issuer corp --reason theft --by ann",
            "revoke --session -x --reason theft --by ann",
            "revoke --client -x --reason theft --by ann",
            "revoke --subject -x --issuer corp --reason theft --by ann",
            "revoke --key -x --issuer corp --reason theft --by ann",
            "users remove-passkey ann --passkey -x --reason lost --by bob",
            "grants list --client -x",
            "grants list --subject -x",
            "review --client -x",
            "clients suspend -x --reason theft --by ann",
            "keys reject -x --issuer corp --reason theft --by ann",
            // Of several, so that no mistyped option is taken for one of them.
            "grants end --reason theft --by ann -- -x",
        ];
        let parse = |command: &str| Arguments::try_parse_from(std::iter::once("doorward").chain(command.split(' ')));
        for command in commands {
            let parsed = parse(command);
            assert!(parsed.is_ok(), "{command}: {}", parsed.err().map(|error| error.to_string()).unwrap_or_default());
        }
        for command in ["clients suspend x --dry --reason theft --by ann", "grants end x --dry --reason theft --by ann"] {
            assert!(parse(command).is_err(), "{command}");
        }
    }
}
