//! `doorward grants`: what people let clients do at the authorization server inside, and the end of it.
//!
//! Asks the admin API, or works on the store itself. What is ended is refused at every replica: a grant's refresh tokens,
//! access tokens and open streams. Grants of other issuers are theirs; what was used of them is in `doorward review`.

use std::time::SystemTime;

use clap::{Args, Subcommand};

use super::comparison::plain;
use super::reach::Place;
use super::{Failure, say};
use crate::config::Config;
use crate::control::given::{self, Done, Ending, Listed, Listing, MOST, Shown};
use crate::store::Store;

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
    place: Place,
    /// Only those of this client.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    client: Option<String>,
    /// Only those of this person, as records name it.
    #[arg(long, allow_hyphen_values = true)]
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
    place: Place,
    /// Grants, as the list names them.
    #[arg(required = true, value_name = "GRANT")]
    grants: Vec<String>,
    /// Why, for the records.
    #[arg(long)]
    reason: String,
    /// Who decides, for the records. Over the admin API it is known who asks.
    #[arg(long = "by", value_name = "NAME", required_unless_present = "admin")]
    by: Option<String>,
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
        let Self { place, client, subject, upstream, json } = self;
        let listing = Listing { client: client.clone(), subject: subject.clone(), upstream: upstream.clone() };
        let here = async |store: &Store, config: &Config| given::list(store, config, &listing, SystemTime::now()).await;
        let Listed { grants, cut } = place.read("/admin/v1/grants", &listing, here)?;
        if *json {
            return say(&format!("{:#}\n", serde_json::to_value(&grants).unwrap_or_default()));
        }
        if grants.is_empty() {
            return say("no grants\n");
        }
        grants.iter().try_for_each(|grant| say(&line(grant)))?;
        if cut {
            return say(&format!("only the first {MOST} were looked at: name a client, a subject or an upstream\n"));
        }
        Ok(())
    }
}

impl End {
    fn run(&self) -> Result<(), Failure> {
        let Self { place, grants, reason, by } = self;
        let asked = Ending { grants: grants.clone(), reason: reason.clone(), by: by.clone() };
        let Done { ended, .. } =
            place.change("/admin/v1/grants/end", (&asked, by.as_deref()), async |hand| given::end(hand, &asked).await)?;
        say(&format!("ended: {ended}\n"))
    }
}

fn line(grant: &Shown) -> String {
    let Shown { id, client, subject, name, upstream, scopes, last_used, expires, .. } = grant;
    let name = name.as_ref().map(|name| format!(" `{}`", plain(name))).unwrap_or_default();
    let (client, subject, scopes) = (plain(client), plain(subject), plain(&scopes.join(" ")));
    format!("{id}  {subject}{name} lets {client} use {upstream} ({scopes}), last used {last_used}, until {expires}\n")
}
