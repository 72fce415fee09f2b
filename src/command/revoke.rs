//! `doorward revoke`: writes a revocation durably, tells the audit log, and waits until every replica knows.
//!
//! Asks the admin API, or works on the store itself.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args};

use super::reach::{Api, Reach, local};
use super::{Failure, File, complain, say};
use crate::control::Fault;
use crate::control::revocations::{self, Confirmation, Confirmations, Done, Question, Replica, Revoked, Wanted};

/// The longest that one question to the admin API waits.
const TURN: Duration = Duration::from_secs(50);
/// After a question that could not be asked.
const AGAIN: Duration = Duration::from_millis(500);

#[derive(Args)]
#[command(group(ArgGroup::new("what").required(true).multiple(true).args(
    ["token_file", "digest", "jti", "session", "client", "subject", "key", "upstream", "before"])))]
pub struct Revoke {
    #[command(flatten)]
    file: File,
    #[command(flatten)]
    at: Reach,
    /// The token in this file; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The token with this digest, as in the audit log. A JWT is better revoked by `--jti` or `--token-file`.
    #[arg(long, value_name = "DIGEST", allow_hyphen_values = true)]
    digest: Option<String>,
    /// The token with this `jti`. Needs `--issuer`.
    #[arg(long, requires = "issuer", allow_hyphen_values = true)]
    jti: Option<String>,
    /// All tokens with this `sid`.
    #[arg(long, value_name = "SID", allow_hyphen_values = true)]
    session: Option<String>,
    /// All tokens that were issued to this client until now.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    client: Option<String>,
    /// All tokens of this subject that were issued until now. Needs `--issuer`.
    #[arg(long, requires = "issuer", allow_hyphen_values = true)]
    subject: Option<String>,
    /// All tokens signed with the key that has this `kid`, for ever. Needs `--issuer`.
    #[arg(long, value_name = "KID", requires = "issuer", allow_hyphen_values = true)]
    key: Option<String>,
    /// All tokens that were issued until now, at this upstream.
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// Only tokens issued before this time (RFC 3339); alone: all of them, everywhere.
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
    /// The issuer identifier, as in `iss`, or the issuer's name in the configuration.
    #[arg(long)]
    issuer: Option<String>,
    /// Why, for the records.
    #[arg(long)]
    reason: String,
    /// Who revokes, for the records. Over the admin API it is known who asks.
    #[arg(long = "by", value_name = "NAME", required_unless_present = "admin")]
    by: Option<String>,
    /// Return when every live replica refuses.
    #[arg(long)]
    wait: bool,
    /// How long to wait at most.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

impl Revoke {
    pub fn run(self) -> Result<(), Failure> {
        let wanted = self.wanted()?;
        let api = self.at.api()?;
        let revoked = match &api {
            Some(api) => api.post::<Done>("/admin/v1/revocations/new", &wanted)?.revoked,
            None => self.here(async |hand| {
                let bounds = hand.config.store.as_ref().map(|store| store.bounds).ok_or(Fault::NoStore)?;
                revocations::revoke(hand, &bounds, &wanted).await
            })?,
        };
        for Revoked { what, seq } in &revoked {
            say(&format!("revoked: {what} ({seq})\n"))?;
        }
        match revoked.last() {
            Some(last) if self.wait => self.wait(api.as_ref(), last.seq),
            _ => Ok(()),
        }
    }

    fn here<T>(&self, work: impl AsyncFnOnce(&crate::control::Hand<'_>) -> Result<T, Fault>) -> Result<T, Failure> {
        local(&self.file, self.by.as_deref().unwrap_or_default(), work)
    }

    fn wanted(&self) -> Result<Wanted, Failure> {
        let Self { digest, jti, session, client, subject, key, upstream, before, issuer, reason, by, .. } = self;
        Ok(Wanted {
            token: self.token_file.as_deref().map(read).transpose()?,
            digest: digest.clone(),
            jti: jti.clone(),
            session: session.clone(),
            client: client.clone(),
            subject: subject.clone(),
            key: key.clone(),
            upstream: upstream.clone(),
            before: before.clone(),
            issuer: issuer.clone(),
            reason: reason.clone(),
            by: by.clone(),
            wait: None,
        })
    }

    /// Waits until every replica that lets anybody in has read the change.
    fn wait(&self, api: Option<&Api>, seq: i64) -> Result<(), Failure> {
        let (begun, mut told_so) = (Instant::now(), false);
        let is_over = || begun.elapsed() >= self.timeout.saturating_sub(Duration::from_secs(1));
        let Confirmations { confirmed, replicas } = loop {
            let left = self.timeout.saturating_sub(begun.elapsed());
            let told = match api {
                Some(api) => {
                    let wait = Some(humantime::format_duration(Duration::from_secs(left.min(TURN).as_secs())).to_string());
                    api.get("/admin/v1/replicas", &Question { seq: Some(seq), wait })
                }
                None => self.here(async |hand| revocations::confirmations(hand.store, seq, left).await),
            };
            let told: Confirmations = match told {
                Ok(told) => told,
                Err(Failure::Impossible(why)) if is_over() => {
                    return Err(Failure::Impossible(format!("revoked, but the replicas cannot be asked: {why}")));
                }
                // A database that starts anew is back in a moment, and so are the replicas.
                Err(Failure::Impossible(why)) => {
                    if !std::mem::replace(&mut told_so, true) {
                        complain(&format!("doorward: revoked, but the replicas cannot be asked yet: {why}"));
                    }
                    std::thread::sleep(AGAIN);
                    continue;
                }
                Err(other) => return Err(other),
            };
            if told.confirmed || is_over() {
                break told;
            }
        };
        for replica in &replicas {
            say(&format!("{}\n", confirmation(replica)))?;
        }
        if replicas.is_empty() {
            say("no replica serves\n")?;
        }
        if confirmed { Ok(()) } else { Err(Failure::No) }
    }
}

fn confirmation(Replica { id, place, state, .. }: &Replica) -> String {
    let state = match state {
        Confirmation::Confirmed => "confirmed",
        Confirmation::Gone => "gone: it has ended, or refuses every request",
        Confirmation::Waiting => "not confirmed",
    };
    format!("{place} ({id}): {state}")
}

fn read(file: &std::path::Path) -> Result<String, Failure> {
    let text = match file.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(file),
    };
    text.map_err(|error| Failure::Impossible(format!("cannot read `{}`: {error}", file.display())))
}
