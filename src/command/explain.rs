//! `doorward explain`: which rule decides for a caller and a thing, what is missing, what the client hears.

use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use clap::{ArgGroup, Args};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::barrier::{Barrier, Governed, governed, unapproved};
use super::explanation::{explain, operation};
use super::{Failure, File, keys, runtime, say};
use crate::advice::Advice;
use crate::authenticate::prove;
use crate::config::{self, Config};
use crate::denial::Denial;
use crate::mcp::Kind;
use crate::policy::Caller;
use crate::principal::Principal;
use crate::remote::Issuers;
use crate::route::Route;
use crate::state::environment;
use crate::token::{self, Token, TokenCache};

#[derive(Args)]
#[command(group = ArgGroup::new("who").args(["token", "claims", "request"]).required(true))]
#[command(group = ArgGroup::new("what").args(["tool", "resource", "prompt"]))]
pub struct Explain {
    #[command(flatten)]
    file: File,
    /// The upstream, by its key in the configuration; not needed where there is one.
    #[arg(short, long)]
    upstream: Option<String>,
    /// A file with an access token, or `-` for standard input. The token is verified, and never printed.
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// A file with a token's claims as JSON, or `-`. They are believed: nothing is verified.
    #[arg(long, value_name = "FILE")]
    claims: Option<PathBuf>,
    /// A request id (the answer's `Doorward-Request-Id`): prints its audit record.
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    #[arg(long, value_name = "URI")]
    resource: Option<String>,
    #[arg(long, value_name = "NAME")]
    prompt: Option<String>,
    /// The arguments of the call, as JSON.
    #[arg(long, value_name = "JSON")]
    arguments: Option<String>,
    /// The client's address, for rules with `source`.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    source: IpAddr,
    /// For programs.
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub fn run(self) -> Result<(), Failure> {
        let loaded = config::load(&self.file.config, &environment).map_err(Failure::Problems)?;
        if let Some(id) = &self.request {
            return past(&loaded.config, id);
        }
        let route = self.route(&loaded.config)?;
        let principal = match self.caller(&loaded.config, &route)? {
            Ok(principal) => principal,
            Err(stranger) => return self.tell_stranger(&stranger, &route),
        };
        let (kind, name) = self.thing()?;
        let Governed { caller, note } = governed(&loaded.config, &route, principal);
        let principal = match caller {
            Ok(principal) => principal,
            Err(barrier) => return self.tell_barrier(&barrier, &route),
        };
        let arguments = match &self.arguments {
            Some(text) => Some(
                RawValue::from_string(text.clone()).map_err(|error| Failure::Impossible(format!("`--arguments` is not JSON: {error}")))?,
            ),
            None => None,
        };
        let Some(operation) = operation(kind, name, arguments.as_deref()) else { return Err(Failure::No) };
        let explanation = explain(&route.policy, Caller { principal: &principal, source: self.source, now: SystemTime::now() }, &operation);
        if let Some(barrier) = unapproved(&route, kind, name).filter(|_| explanation.is_permitted()) {
            return self.tell_barrier(&barrier, &route);
        }
        if self.json {
            let mut told = explanation.to_json(Some(&route));
            if let (Some(told), Some(note)) = (told.as_object_mut(), note) {
                told.insert("client".into(), note.into());
            }
            say(&format!("{told}\n"))?;
        } else {
            let note = note.map(|note| format!("  client    {note}\n")).unwrap_or_default();
            say(&format!("{}\n{note}", explanation.text(Some(&route))))?;
        }
        if explanation.is_permitted() { Ok(()) } else { Err(Failure::No) }
    }

    fn route(&self, config: &Config) -> Result<Arc<Route>, Failure> {
        let known = || config.routes.iter().map(|route| format!("`{}`", route.name)).collect::<Vec<_>>().join(", ");
        match (&self.upstream, config.routes.as_slice()) {
            (None, [only]) => Ok(only.clone()),
            (None, _) => Err(Failure::Impossible(format!("say which upstream: one of {}", known()))),
            (Some(name), routes) => {
                let found = routes.iter().find(|route| *route.name == **name).cloned();
                found.ok_or_else(|| Failure::Impossible(format!("no upstream `{name}`; there are {}", known())))
            }
        }
    }

    fn thing(&self) -> Result<(Kind, &str), Failure> {
        match (&self.tool, &self.resource, &self.prompt) {
            (Some(name), _, _) => Ok((Kind::Tool, name)),
            (_, Some(uri), _) => Ok((Kind::Resource, uri)),
            (_, _, Some(name)) => Ok((Kind::Prompt, name)),
            _ => Err(Failure::Impossible("say what is asked for: --tool, --resource or --prompt".into())),
        }
    }

    /// Who the token or the claims speak of; the inner error is a token that is not accepted.
    fn caller(&self, config: &Config, route: &Arc<Route>) -> Result<Result<Arc<Principal>, Stranger>, Failure> {
        if let Some(path) = &self.token {
            let text = read(path)?;
            let issuers = Issuers::build(config, None).map_err(|error| Failure::Impossible(error.to_string()))?;
            issuers.govern(std::iter::empty());
            return runtime()?.block_on(async {
                keys::recall(config, &issuers).await;
                let token = match Token::new(text.trim()) {
                    Ok(token) => token,
                    Err(error) => return Ok(Err(error.into())),
                };
                let verified = prove(token, token.digest(), route, &issuers, &TokenCache::new(1, route.claims()), SystemTime::now()).await;
                let stranger = |error| Stranger { error, advice: Advice::of(error, token, route, config) };
                // A client is taken to hold what its token is bound to; whether that is enough is the route's to say.
                let proved = verified.and_then(|verified| {
                    verified.binding().held(route.sender.demand)?;
                    Ok(verified.principal.clone())
                });
                Ok(proved.map_err(stranger))
            });
        }
        let path = self.claims.as_deref().unwrap_or(Path::new("-"));
        let claims: Map<String, Value> = serde_json::from_str(&read(path)?)
            .map_err(|error| Failure::Impossible(format!("the claims are not a JSON object: {error}")))?;
        let issuer = claims.get("iss").and_then(Value::as_str);
        let rules = match (issuer, route.issuers.as_slice()) {
            (None, [only]) => Some(only),
            (issuer, all) => all.iter().find(|rules| Some(&*rules.issuer) == issuer),
        };
        let Some(rules) = rules else { return Ok(Err(token::Error::Issuer.into())) };
        Ok(token::prove(rules.issuer.clone(), &claims, &rules.claims, &route.claims())
            .map(|proof| Arc::new(Principal::new(proof)))
            .map_err(Stranger::from))
    }

    /// The client or the tool is barred, whatever the rules say.
    fn tell_barrier(&self, barrier: &Barrier, route: &Route) -> Result<(), Failure> {
        say(&if self.json { format!("{}\n", barrier.to_json(route)) } else { format!("{}\n", barrier.text(route)) })?;
        Err(Failure::No)
    }

    /// The token was not accepted: no rule was asked.
    fn tell_stranger(&self, stranger: &Stranger, route: &Route) -> Result<(), Failure> {
        let Stranger { error, advice } = stranger;
        let denial = Denial::from(*error);
        let reply = denial.reply(Some(route));
        let challenge = reply.headers().get("www-authenticate").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if self.json {
            let advice = advice.as_ref().map(|advice| advice.text);
            let told = serde_json::json!({ "permitted": false, "reason": denial.reason(), "advice": advice, "hears": { "status": denial.status(), "challenge": challenge } });
            say(&format!("{told}\n"))?;
        } else {
            let advice = advice.as_ref().map(|advice| format!("  advice    {}\n", advice.text)).unwrap_or_default();
            say(&format!(
                "refused\n  token     {} ({error:?})\n{advice}  hears     {} WWW-Authenticate: {challenge}\n",
                denial.reason(),
                denial.status()
            ))?;
        }
        Err(Failure::No)
    }
}

/// A token that is not accepted, and what to change at its provider.
struct Stranger {
    error: token::Error,
    advice: Option<Advice>,
}

impl From<token::Error> for Stranger {
    fn from(error: token::Error) -> Self {
        Self { error, advice: None }
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let told = |error: std::io::Error| Failure::Impossible(format!("cannot read `{}`: {error}", path.display()));
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().take(1 << 20).read_to_string(&mut text).map_err(told)?;
        return Ok(text);
    }
    std::fs::read_to_string(path).map_err(told)
}

/// The audit record of a request that was.
fn past(config: &Config, id: &str) -> Result<(), Failure> {
    let Some(path) = &config.audit.file else {
        return Err(Failure::Impossible("`audit.file` is not set: records went to standard output".into()));
    };
    let file = std::fs::File::open(path).map_err(|error| Failure::Impossible(format!("cannot read `{}`: {error}", path.display())))?;
    for line in BufReader::new(file).lines().map_while(Result::ok) {
        let found = serde_json::from_str::<Value>(&line).is_ok_and(|record| record.get("id").and_then(Value::as_str) == Some(id));
        if found {
            return say(&format!("{line}\n"));
        }
    }
    Err(Failure::Impossible(format!("no record of request `{id}` in `{}`", path.display())))
}
