//! `doorward grants`: what people let clients do at the authorization server inside, and the end of it.
//!
//! Works on the store itself. What is ended is refused at every replica: a grant's refresh tokens, access tokens and open
//! streams (RFC 7009 §2.1). Grants of other issuers are theirs; what was used of them is in `doorward review`.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::comparison::plain;
use super::reach::{local, with_store};
use super::{Failure, File, say};
use crate::config::{self, AuthorizationServer, Config};
use crate::control::revocations::{self, Wanted};
use crate::control::{Fault, Hand, written};
use crate::oauth::Person;
use crate::state::environment;
use crate::store::Store;
use crate::store::authorization::{Grant, Sought};

/// Grants of one question to the store.
const PAGE: i64 = 500;
/// Grants of one list.
const MOST: usize = 10_000;

#[derive(Args)]
pub struct Grants {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// List the grants that are good, the latest use first.
    List(List),
    /// End grants: their refresh tokens, access tokens and open streams are refused from now on, at every replica.
    End(End),
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    file: File,
    /// Only those of this client.
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// Only those of this person, as records name it.
    #[arg(long)]
    subject: Option<String>,
    /// Only those at this upstream.
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// A JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct End {
    #[command(flatten)]
    file: File,
    /// Grants, as the list names them.
    #[arg(required = true, value_name = "GRANT")]
    grants: Vec<String>,
    /// Why, for the records.
    #[arg(long)]
    reason: String,
    /// Who decides, for the records.
    #[arg(long = "by", value_name = "NAME")]
    by: String,
}

impl Grants {
    pub fn run(self) -> Result<(), Failure> {
        match self.what {
            What::List(list) => list.run(),
            What::End(end) => end.run(),
        }
    }
}

impl List {
    fn run(&self) -> Result<(), Failure> {
        let config = config::load(&self.file.config, &environment).map_err(Failure::Problems)?.config;
        let server = issuing(&config)?;
        let named = |name: &Option<String>| name.clone().unwrap_or_default();
        let (client, subject, upstream) = (named(&self.client), named(&self.subject), named(&self.upstream));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let sought = Sought { issuer: &server.issuer, client: &client, subject: &subject, upstream: &upstream, now };
        let mut found = with_store(&config, async |store| Ok(all(store, &sought).await?))?;
        found.sort_by(|one, other| (other.used, &one.id).cmp(&(one.used, &other.id)));
        if self.json {
            let shown: Vec<Value> = found.iter().map(shown).collect();
            return say(&format!("{:#}\n", Value::from(shown)));
        }
        if found.is_empty() {
            return say("no grants\n");
        }
        found.iter().try_for_each(|grant| say(&line(grant)))?;
        if found.len() >= MOST {
            return say(&format!("only the first {MOST} were looked at: name a client, a subject or an upstream\n"));
        }
        Ok(())
    }
}

impl End {
    fn run(&self) -> Result<(), Failure> {
        let ended = local(&self.file, &self.by, async |hand| {
            for id in &self.grants {
                known(hand, id).await?;
            }
            let bounds = hand.config.store.as_ref().map(|store| store.bounds).ok_or(Fault::NoStore)?;
            for id in &self.grants {
                let wanted =
                    Wanted { session: Some(id.clone()), reason: self.reason.clone(), by: Some(self.by.clone()), ..Wanted::default() };
                revocations::revoke(hand, &bounds, &wanted).await?;
            }
            Ok(self.grants.len())
        })?;
        say(&format!("ended: {ended}\n"))
    }
}

/// SECURITY: whoever ends grants must hear where nothing was ended, so an id that is none here is an error before any is.
async fn known(hand: &Hand<'_>, id: &str) -> Result<(), Fault> {
    let grant = hand.store.grant(id).await?;
    let own = hand.config.authorization_server.as_ref().map(|server| &server.issuer);
    match grant.filter(|grant| own.is_some_and(|own| *grant.issuer == **own)) {
        None => Err(Fault::Unknown(format!("there is no grant `{id}`: see `doorward grants list`; nothing was ended"))),
        Some(grant) if grant.ended.is_some() => Err(Fault::Conflict(format!("the grant `{id}` has ended already; nothing was ended"))),
        Some(_) => Ok(()),
    }
}

async fn all(store: &Store, sought: &Sought<'_>) -> Result<Vec<Grant>, Fault> {
    let mut found: Vec<Grant> = Vec::new();
    loop {
        let after = found.last().map(|grant| grant.id.clone()).unwrap_or_default();
        let page = store.grants_after(&after, sought, PAGE).await?;
        let is_last = i64::try_from(page.len()).is_ok_and(|count| count < PAGE);
        found.extend(page);
        if is_last || found.len() >= MOST {
            return Ok(found);
        }
    }
}

fn issuing(config: &Config) -> Result<&AuthorizationServer, Failure> {
    config.authorization_server.as_deref().ok_or_else(|| {
        Failure::Impossible("no grants are made here: no upstream has `ownership: bridge` or `ownership: self_managed`".into())
    })
}

fn line(grant: &Grant) -> String {
    let Grant { id, client_id, subject, upstream, .. } = grant;
    let name = name(grant).map(|name| format!(" `{}`", plain(&name))).unwrap_or_default();
    let (scopes, used, until) = (scopes(grant).join(" "), date(grant.used), date(grant.expires));
    let (client, subject) = (plain(client_id), plain(subject));
    format!("{id}  {subject}{name} lets {client} use {upstream} ({}), last used {used}, until {until}\n", plain(&scopes))
}

fn shown(grant: &Grant) -> Value {
    let Grant { id, client_id, subject, upstream, resource, redirect_uri, binding, created, expires, used, .. } = grant;
    json!({
        "id": id, "client": client_id, "subject": subject, "name": name(grant), "upstream": upstream, "resource": resource,
        "scopes": scopes(grant), "redirect_uri": redirect_uri, "bound_to_a_key": binding.is_some(),
        "created": date(*created), "last_used": date(*used), "expires": date(*expires),
    })
}

fn scopes(grant: &Grant) -> Vec<String> {
    serde_json::from_str(&grant.scopes).unwrap_or_default()
}

/// What the person is called, where that is known.
fn name(grant: &Grant) -> Option<String> {
    serde_json::from_str::<Person>(&grant.person).ok()?.name
}

/// RFC 3339.
fn date(seconds: i64) -> String {
    written(u64::try_from(seconds).unwrap_or(0))
}
