//! `doorward doctor URL`: walks to a server as clients do, and says where they would stumble.
//!
//! Asks in the order of the known clients: a call without a token, the metadata that the challenge
//! names, the path form, the root form, then the issuer's documents. [`finding`] judges the answers.

mod configured;
mod finding;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;
use http::Method;
use serde_json::{Map, Value, json};
use url::Url;

use super::{Failure, runtime, say};
use crate::config::{self, Config};
use crate::oauth::resource_metadata;
use crate::remote::ask::{Answer, Asker};
use crate::remote::discovery::candidates;
use crate::remote::http::permitted;
use crate::state::environment;
use finding::{Finding, Verdict};

/// Of one request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Exit codes: 0 nothing is wrong, 1 something is, 3 nobody answers there.
#[derive(Args)]
pub struct Doctor {
    /// The address that people type into their client.
    url: String,
    /// A file with an access token, or `-`: its claims are held against what the resource asks. Never sent, never printed.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Hold what is found against this configuration: is what others see what it says?
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// For programs: `{"ok": bool, "findings": [...]}`.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub fn run(self) -> Result<(), Failure> {
        let url = permitted(&self.url, true).map_err(|error| Failure::Impossible(error.to_string()))?;
        let token = self.token_file.as_deref().map(read).transpose()?;
        let config = self.config.as_deref().map(|path| config::load(path, &environment)).transpose().map_err(Failure::Problems)?;
        let config = config.map(|loaded| loaded.config);
        let asker = Asker::new(TIMEOUT)
            .map_err(|_| Failure::Impossible("the HTTP client cannot be made; are root certificates installed?".into()))?;
        let findings = runtime()?.block_on(examine(&asker, &url, &self.url, token.as_deref(), config.as_ref()))?;
        let ok = findings.iter().all(|finding| finding.verdict != Verdict::Wrong);
        if self.json {
            say(&format!("{}\n", json!({ "ok": ok, "findings": findings.iter().map(Finding::to_json).collect::<Vec<_>>() })))?;
        } else {
            let wrong = findings.iter().filter(|finding| finding.verdict == Verdict::Wrong).count();
            say(&findings.iter().map(Finding::text).collect::<String>())?;
            say(&if ok { "nothing is wrong\n".to_owned() } else { format!("{wrong} wrong\n") })?;
        }
        if ok { Ok(()) } else { Err(Failure::No) }
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let told = |error: std::io::Error| Failure::Impossible(format!("cannot read `{}`: {error}", path.display()));
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(1 << 20).read_to_string(&mut text).map_err(told)?;
    } else {
        std::fs::File::open(path).map_err(told)?.take(1 << 20).read_to_string(&mut text).map_err(told)?;
    }
    Ok(text.trim().to_owned())
}

async fn examine(asker: &Asker, url: &Url, typed: &str, token: Option<&str>, config: Option<&Config>) -> Result<Vec<Finding>, Failure> {
    let mut findings = vec![match permitted(typed, false) {
        Ok(_) if url.scheme() == "https" => Finding::well("transport", "https"),
        Ok(_) => Finding::note("transport", "plain http on loopback", "use https anywhere else"),
        Err(_) => Finding::wrong("transport", "plain http, where tokens can be read", "serve https"),
    }];
    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "server/discover",
        "params": { "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "doorward", "version": env!("CARGO_PKG_VERSION") },
            "io.modelcontextprotocol/clientCapabilities": {},
        } },
    });
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "server/discover"),
    ];
    let bare = asker.ask(Method::POST, url, &headers, message.to_string()).await;
    let bare = bare.map_err(|error| Failure::Impossible(format!("`{typed}`: {error}")))?;
    findings.extend(finding::clock(&bare, SystemTime::now()));
    findings.extend(finding::bare(&bare));
    let document = resource(asker, typed, &bare, &mut findings).await;
    let issuers = document.as_ref().map(finding::issuers).unwrap_or_default();
    if let (Some(config), Some(document)) = (config, &document) {
        findings.extend(configured::resource(config, typed, document));
    }
    for issuer in &issuers {
        let document = server(asker, issuer, &mut findings).await;
        if let (Some(config), Some(document)) = (config, document) {
            findings.extend(configured::server(config, issuer, &document));
        }
    }
    let origin = [
        ("origin", "https://page.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type,mcp-method,mcp-protocol-version"),
    ];
    if let Ok(answer) = asker.ask(Method::OPTIONS, url, &origin, String::new()).await {
        findings.push(finding::preflight(&answer));
    }
    if let Some(token) = token {
        findings.extend(finding::token(token, typed, &issuers, finding::parameter(&bare, "scope"), SystemTime::now()));
    }
    Ok(findings)
}

/// The metadata at each of its places; the first that is there counts, as for clients, and is returned.
async fn resource(asker: &Asker, typed: &str, bare: &Answer, findings: &mut Vec<Finding>) -> Option<Map<String, Value>> {
    let origin = Url::parse(typed).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
    let named = finding::parameter(bare, "resource_metadata").map(str::to_owned);
    let forms = [resource_metadata::url(typed.trim_end_matches('/')), format!("{origin}/.well-known/oauth-protected-resource")];
    let mut places: Vec<String> = named.clone().into_iter().collect();
    places.extend(forms.into_iter().filter(|form| named.as_ref() != Some(form)));
    places.dedup();
    let mut first = None;
    for place in &places {
        match document(asker, place).await {
            Ok((answer, document)) => {
                findings.push(Finding::well("metadata", format!("at {place}")));
                if !answer.headers.contains_key("access-control-allow-origin") {
                    findings.push(Finding::note("metadata", "pages may not read it", "send `Access-Control-Allow-Origin: *` with it"));
                }
                first = first.or(Some(document));
            }
            Err(why) if named.as_ref() == Some(place) => {
                findings.push(Finding::wrong("metadata", format!("{place}: {why}"), "the challenge must name a document that is there"));
            }
            Err(why) => {
                findings.push(Finding::note("metadata", format!("{place}: {why}"), "only clients that ignore the challenge look there"))
            }
        }
    }
    let Some(document) = first else {
        let mend = "serve the protected resource metadata (RFC 9728)";
        findings.push(Finding::wrong("metadata", "there is none, so no client finds the authorization server", mend));
        return None;
    };
    findings.extend(finding::resource(&document, typed));
    Some(document)
}

/// The issuer's documents in the order of the clients; the first that is there counts, and is returned.
async fn server(asker: &Asker, issuer: &str, findings: &mut Vec<Finding>) -> Option<Map<String, Value>> {
    if permitted(issuer, false).is_err() {
        findings.push(Finding::wrong("issuer", format!("{issuer} is not an https address"), "use https"));
    }
    let mut found = None;
    for place in candidates(issuer) {
        match document(asker, &place).await {
            Ok((_, document)) => {
                findings.push(Finding::well("issuer", format!("metadata at {place}")));
                if found.is_none() {
                    findings.extend(finding::server(&document, issuer));
                }
                found = found.or(Some(document));
            }
            Err(why) => findings.push(Finding::note(
                "issuer",
                format!("{place}: {why}"),
                "some clients look there first; one form is enough for most",
            )),
        }
    }
    if found.is_none() {
        let mend = "serve the authorization server's metadata (RFC 8414) at one of these";
        findings.push(Finding::wrong("issuer", format!("{issuer} has no metadata at any place that clients look at"), mend));
    }
    found
}

/// A JSON object that is there, or why not.
async fn document(asker: &Asker, place: &str) -> Result<(Answer, Map<String, Value>), String> {
    let url = permitted(place, true).map_err(|error| error.to_string())?;
    let answer =
        asker.ask(Method::GET, &url, &[("accept", "application/json"), ("mcp-protocol-version", "2025-11-25")], String::new()).await;
    let answer = answer.map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(format!("answered with {}", answer.status));
    }
    let document = serde_json::from_slice(&answer.body).map_err(|_| "not a JSON object".to_owned())?;
    Ok((answer, document))
}
