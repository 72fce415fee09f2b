//! `doorward revoke`: writes a revocation durably, tells the audit log, and waits until every replica knows.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{ArgGroup, Args};

use super::{Failure, File, recorder, runtime, say};
use crate::config::{self, Config};
use crate::governance::{Revocation, Selector};
use crate::state::environment;
use crate::store::{Reason, Standing, Store};
use crate::token::{Token, marks};

/// Between two looks whether all replicas know.
const LOOK: Duration = Duration::from_millis(50);
/// Bytes of a reason or a name.
const LONGEST: usize = 1_024;

#[derive(Args)]
#[command(group(ArgGroup::new("what").required(true).multiple(true).args(
    ["token_file", "digest", "jti", "session", "client", "subject", "key", "upstream", "before"])))]
pub struct Revoke {
    #[command(flatten)]
    file: File,
    /// The token in this file; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The token with this digest, as in the audit log. A JWT is better revoked by `--jti` or `--token-file`.
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    /// The token with this `jti`.
    #[arg(long, requires = "issuer")]
    jti: Option<String>,
    /// All tokens with this `sid`.
    #[arg(long, value_name = "SID")]
    session: Option<String>,
    /// All tokens that were issued to this client until now.
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// All tokens of this subject that were issued until now.
    #[arg(long, requires = "issuer")]
    subject: Option<String>,
    /// All tokens signed with the key that has this `kid`, for ever.
    #[arg(long, value_name = "KID", requires = "issuer")]
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
    /// Who revokes, for the records.
    #[arg(long = "by", value_name = "NAME")]
    by: String,
    /// Return when every live replica refuses.
    #[arg(long)]
    wait: bool,
    /// How long to wait at most.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// What was asked for, with the end of the one token it means, where that is known.
struct Meant {
    selector: Selector,
    expires: Option<u64>,
}

impl Revoke {
    pub fn run(self) -> Result<(), Failure> {
        let loaded = config::load(&self.file.config, &environment).map_err(Failure::Problems)?;
        let config = loaded.config;
        let Some(store) = &config.store else {
            return Err(Failure::Impossible("the configuration has no `store`, so nothing can be revoked here".into()));
        };
        for (name, text) in [("--reason", &self.reason), ("--by", &self.by)] {
            if text.trim().is_empty() || text.len() > LONGEST {
                return Err(Failure::Impossible(format!("`{name}` must say something, in at most {LONGEST} bytes")));
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let before = self.before.as_deref().map(time).transpose()?;
        let meant = self.meant(&config)?;
        let revocations: Vec<Revocation> =
            meant.into_iter().map(|Meant { selector, expires }| Revocation::new(selector, now, before, expires, &store.bounds)).collect();
        runtime()?.block_on(async {
            let told = |error: crate::store::Error| Failure::Impossible(format!("cannot use the store: {error}"));
            let database = Store::open(&store.place).await.map_err(told)?;
            let mut last = 0;
            for revocation in &revocations {
                let reason = Reason { text: &self.reason, actor: &self.by, made: now };
                last = database.revoke(revocation, &reason).await.map_err(told)?;
                say(&format!("revoked: {} ({last})\n", describe(&revocation.selector)))?;
                recorder::record(&config, "revoked", "admin/revoke", describe(&revocation.selector), (&self.reason, &self.by))?;
            }
            let waited = if self.wait { wait(&database, last, self.timeout).await } else { Ok(()) };
            database.close().await;
            waited
        })
    }

    /// A token file is revoked by the token's digest and by what cannot be spelled in another way.
    fn meant(&self, config: &Config) -> Result<Vec<Meant>, Failure> {
        let mut meant = Vec::new();
        let issuer = || issuer(self.issuer.as_deref().unwrap_or_default(), config);
        if let Some(file) = &self.token_file {
            let text = read(file)?;
            let token = Token::new(text.trim()).map_err(|_| Failure::Impossible("the file does not hold one token".into()))?;
            let claimed = marks::claimed(token);
            let expires = claimed.as_ref().and_then(|claimed| claimed.expires);
            meant.push(Meant { selector: Selector::Token(token.digest()), expires });
            if let Some(marks::Claimed { issuer, id: jti, expires }) = claimed {
                meant.push(Meant { selector: Selector::Id { issuer, jti }, expires });
            }
        }
        let mut any = |selector| meant.push(Meant { selector, expires: None });
        if let Some(text) = &self.digest {
            any(Selector::Token(digest(text)?));
        }
        if let Some(jti) = self.jti.clone() {
            any(Selector::Id { issuer: issuer()?, jti });
        }
        if let Some(sid) = self.session.clone() {
            any(Selector::Session(sid));
        }
        if let Some(client) = self.client.clone() {
            any(Selector::Client(client));
        }
        if let Some(subject) = self.subject.clone() {
            any(Selector::Subject { issuer: issuer()?, subject });
        }
        if let Some(kid) = self.key.clone() {
            any(Selector::Key { issuer: issuer()?, kid });
        }
        if let Some(name) = self.upstream.clone() {
            if !config.routes.iter().any(|route| *route.name == *name) {
                return Err(Failure::Impossible(format!("the configuration has no upstream `{name}`")));
            }
            any(Selector::Upstream(name));
        }
        if meant.is_empty() {
            meant.push(Meant { selector: Selector::Everything, expires: None });
        }
        Ok(meant)
    }
}

/// Waits until every replica that lets anybody in has read the change.
async fn wait(store: &Store, seq: i64, timeout: Duration) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let told = |error: crate::store::Error| Failure::Impossible(format!("revoked, but the replicas cannot be asked: {error}"));
        let replicas = store.replicas().await.map_err(told)?;
        let waiting = replicas.iter().any(|replica| !replica.is_gone && replica.seq < seq);
        if waiting && begun.elapsed() < timeout {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        for replica in &replicas {
            say(&format!("{}\n", confirmation(replica, seq)))?;
        }
        if replicas.is_empty() {
            say("no replica serves\n")?;
        }
        return if waiting { Err(Failure::No) } else { Ok(()) };
    }
}

fn confirmation(Standing { id, place, seq: read, is_gone }: &Standing, seq: i64) -> String {
    let state = match (*read >= seq, is_gone) {
        (true, _) => "confirmed",
        (false, true) => "gone: it has ended, or refuses every request",
        (false, false) => "not confirmed",
    };
    format!("{place} ({id}): {state}")
}

/// SECURITY: names a token by its digest alone.
fn describe(selector: &Selector) -> String {
    let kind = selector.kind();
    match selector {
        Selector::Token(digest) => format!("{kind} {}", URL_SAFE_NO_PAD.encode(digest)),
        Selector::Id { issuer, jti: name } | Selector::Subject { issuer, subject: name } | Selector::Key { issuer, kid: name } => {
            format!("{kind} {name} of {issuer}")
        }
        Selector::Session(name) | Selector::Client(name) | Selector::Upstream(name) => format!("{kind} {name}"),
        Selector::Everything => kind.to_owned(),
    }
}

/// By its identifier, or by its name in the configuration. Another one's revocation would have no effect.
pub(super) fn issuer(text: &str, config: &Config) -> Result<String, Failure> {
    if let Some(issuer) = config.issuers.get(text) {
        return Ok(issuer.rules.issuer.to_string());
    }
    match config.issuers.values().any(|issuer| *issuer.rules.issuer == *text) {
        true => Ok(text.to_owned()),
        false => Err(Failure::Impossible(format!("the configuration has no issuer `{text}`"))),
    }
}

/// In base64url, as in the audit log, or in hexadecimal digits.
fn digest(text: &str) -> Result<[u8; 32], Failure> {
    let hex = || {
        let pairs: Option<Vec<u8>> = (0..32).map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()).collect();
        pairs.filter(|_| text.len() == 64)
    };
    let bytes = URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() == 32).or_else(hex);
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| Failure::Impossible(format!("`{text}` is not the digest of a token")))
}

/// Seconds since 1970. A time to come would refuse tokens that are not issued yet.
fn time(text: &str) -> Result<u64, Failure> {
    let time = humantime::parse_rfc3339_weak(text)
        .map_err(|_| Failure::Impossible(format!("`{text}` is not a time: write it as `2026-08-01T12:00:00Z`")))?;
    if time > SystemTime::now() {
        return Err(Failure::Impossible(format!("`{text}` lies ahead")));
    }
    Ok(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

fn read(file: &std::path::Path) -> Result<String, Failure> {
    let text = match file.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(file),
    };
    text.map_err(|error| Failure::Impossible(format!("cannot read `{}`: {error}", file.display())))
}
