//! What keeps a call out beside the rules, for `doorward explain`: what was decided of the client, and of the tool.
//!
//! Judges by what the configuration and its store say now, as the gateway does. Makes nothing and writes nothing.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::comparison::plain;
use super::runtime;
use crate::config::{self, Config, StorePlace};
use crate::denial::{Denial, Fault};
use crate::governance::client::{Client, Key, Place};
use crate::governance::{Barred, Clients};
use crate::mcp::Kind;
use crate::pin::Flaw;
use crate::principal::Principal;
use crate::route::{Mode, Route};
use crate::state::vouched;
use crate::store::Store;

/// A caller as its client lets it be.
pub struct Governed {
    pub caller: Result<Arc<Principal>, Barrier>,
    /// What could not be looked up, or was cut off.
    pub note: Option<String>,
}

/// Why no rule helps.
pub struct Barrier {
    /// `client` or `tool`.
    what: &'static str,
    fault: Fault,
    mend: String,
}

/// What was decided of the caller's client, by the configuration and its store.
pub fn governed(config: &Config, route: &Route, who: Arc<Principal>) -> Governed {
    let clients = Clients::default();
    clients.configure(config.clients.iter().map(|configured| configured.client.clone()));
    clients.vouch(vouched(config));
    let mut note = None;
    if let (Some(store), Some(id)) = (&config.store, who.client()) {
        let key = Key { issuer: who.issuer().to_owned(), id: id.to_owned() };
        match stored(store, &key) {
            Ok(found) => found.into_iter().for_each(|client| clients.apply(client)),
            Err(why) => note = Some(format!("what was decided of it in the store is not known: {why}")),
        }
    }
    let place = Place { upstream: &route.name, approves: route.approves_clients };
    let caller = match clients.check(&who, place, SystemTime::now()) {
        Ok(None) => Ok(who),
        Ok(Some(narrowed)) => {
            let left = if narrowed.scopes().is_empty() { "none".to_owned() } else { format!("`{}`", narrowed.scopes().join(" ")) };
            note = Some(format!("its scopes are cut to what it is approved for: {left}"));
            Ok(Arc::new(narrowed))
        }
        Err(barred) => Err(Barrier { what: "client", mend: mend(&barred, &who), fault: Fault::Client(barred) }),
    };
    Governed { caller, note }
}

/// What lets the client in, if anything does.
fn mend(barred: &Barred, who: &Principal) -> String {
    let decide =
        |what: &str| format!("`doorward clients {what} {} --issuer {}", plain(who.client().unwrap_or_default()), plain(who.issuer()));
    match barred {
        Barred::Pending(_) => format!("{}` lets it in", decide("approve")),
        Barred::Suspended => format!("{}` lets it in again; `show` says who suspended it, and why", decide("resume")),
        Barred::Retired => "nothing: a retired id never comes back, and the client needs another".into(),
        Barred::Expired => format!("{} --expires TIME` lets it in for longer", decide("approve")),
        Barred::Elsewhere => format!("{} --upstreams NAME,…` says where it may call", decide("approve")),
        Barred::Unnamed => {
            "the authorization server must name the client in its tokens; `issuers.*.claims.client` says in which claim".into()
        }
        Barred::Narrowed => format!("{}` says which scopes count", decide("show")),
    }
}

/// A tool that nobody approved, where tools are pinned. Whether its server changed it since is for a running gateway to know.
pub fn unapproved(route: &Route, kind: Kind, name: &str) -> Option<Barrier> {
    let pin = route.pin.as_ref().filter(|_| kind == Kind::Tool && route.mode == Mode::Enforce)?;
    let mend = || format!("`doorward approve {}` shows how its servers define it; name the tool there to approve it", route.name);
    pin.approvals.find(name).is_none().then(|| Barrier { what: "tool", fault: Fault::Tool(Flaw::Unapproved), mend: mend() })
}

fn stored(store: &config::Store, key: &Key) -> Result<Option<Client>, String> {
    // A question must not make the file.
    if let StorePlace::Sqlite(path) = &store.place
        && !path.exists()
    {
        return Ok(None);
    }
    let runtime = runtime().map_err(|_| "the runtime cannot be started".to_owned())?;
    runtime.block_on(async {
        let store = Store::open(&store.place).await.map_err(|error| error.to_string())?;
        let found = store.client(key).await.map_err(|error| error.to_string());
        store.close().await;
        found
    })
}

impl Barrier {
    /// For people, a line each.
    pub fn text(&self, route: &Route) -> String {
        let (denial, reply) = self.answer(route);
        format!(
            "refused\n  {:9} {}\n  mend      {}\n  hears     {} {}",
            self.what,
            denial.reason(),
            self.mend,
            reply.status().as_u16(),
            String::from_utf8_lossy(reply.body())
        )
    }

    /// For programs: the same.
    pub fn to_json(&self, route: &Route) -> Value {
        let (denial, reply) = self.answer(route);
        let body: Value = serde_json::from_slice(reply.body()).unwrap_or_default();
        json!({
            "permitted": false,
            "reason": denial.reason(),
            "mend": self.mend,
            "hears": { "status": reply.status().as_u16(), "challenge": null, "body": body },
        })
    }

    fn answer(&self, route: &Route) -> (Denial, http::Response<bytes::Bytes>) {
        let denial = Denial::from(self.fault.clone());
        let reply = denial.reply(Some(route));
        (denial, reply)
    }
}
