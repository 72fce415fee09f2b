//! How the process stands, and the configuration anew.

use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;

use super::audit::Nothing;
use super::{Call, Reload, document};
use crate::config::StorePlace;
use crate::control::Fault;
use crate::route::{ListMode, Mode};

/// For a reload.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who asks.
#[derive(Serialize, JsonSchema)]
pub struct WhoAmI {
    /// As the configuration calls them.
    pub name: String,
    /// `viewer`, `reviewer` or `operator`.
    pub role: &'static str,
    /// `token`, `certificate`, `socket` or `person`.
    pub by: &'static str,
    /// An address, or a user of the machine.
    pub source: String,
    /// Of a person who signed in; null for all others.
    pub session: Option<SessionShown>,
}

/// A person who signed in.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Session")]
pub struct SessionShown {
    /// The provider, of which `name` is the subject.
    pub issuer: String,
    /// When it ends. RFC 3339.
    pub ends: String,
    /// What a change by this browser carries as `Doorward-Csrf`.
    pub csrf: String,
}

pub async fn whoami(call: Call, _: Nothing) -> Result<WhoAmI, Fault> {
    let who = &call.who;
    let session = who.session.as_ref().map(|session| SessionShown {
        issuer: session.issuer.clone(),
        ends: humantime::format_rfc3339_seconds(session.ends).to_string(),
        csrf: session.proof.clone(),
    });
    Ok(WhoAmI { name: who.name.clone(), role: who.role.name(), by: who.by.name(), source: who.source.to_string(), session })
}

pub async fn openapi(call: Call, _: Nothing) -> Result<Value, Fault> {
    Ok(call.api.document.get_or_init(|| document::of(&call.api.table)).clone())
}

/// How the process stands.
#[derive(Serialize, JsonSchema)]
pub struct Status {
    pub version: &'static str,
    /// It stops, and takes no new calls.
    pub draining: bool,
    /// Audit records can be written.
    pub audited: bool,
    /// Of the configuration in use, as in `doorward_config_hash`.
    pub configuration: String,
    /// The last reload; null before the first.
    pub reload: Option<ReloadResult>,
    /// Null where there is none.
    pub store: Option<StoreStatus>,
    /// Issuers whose keys are not there yet.
    pub without_keys: Vec<String>,
}

/// What became of the last reload.
#[derive(Serialize, JsonSchema)]
pub struct ReloadResult {
    /// RFC 3339.
    pub time: String,
    /// Whether the new configuration is in use.
    pub taken: bool,
    /// Why it is not.
    pub problems: Vec<String>,
}

/// What is known of the store.
#[derive(Serialize, JsonSchema)]
pub struct StoreStatus {
    /// `sqlite` or `postgres`.
    pub kind: &'static str,
    /// What is revoked is known well enough to let requests in.
    pub known: bool,
    /// Seconds since the store was last read.
    pub age: Option<u64>,
    pub revocations: usize,
    pub clients: usize,
}

pub async fn status(call: Call, _: Nothing) -> Result<Status, Fault> {
    let (world, now) = (&call.world, SystemTime::now());
    let store = world.config.store.as_ref().zip(world.revocations.as_ref()).map(|(store, revocations)| StoreStatus {
        kind: match store.place {
            StorePlace::Sqlite(_) => "sqlite",
            StorePlace::Postgres(_) => "postgres",
        },
        known: revocations.are_known(now),
        age: revocations.age(now).map(|age| age.as_secs()),
        revocations: revocations.len(),
        clients: world.clients.as_ref().map_or(0, |clients| clients.len()),
    });
    let reload = call.api.state.last_reload().map(|last| ReloadResult {
        time: humantime::format_rfc3339_millis(last.time).to_string(),
        taken: last.problems.is_empty(),
        problems: last.problems.clone(),
    });
    let without_keys = world.issuers.iter().filter(|(_, keys)| !keys.has_keys()).map(|(rules, _)| rules.name.clone());
    Ok(Status {
        version: env!("CARGO_PKG_VERSION"),
        draining: call.api.is_draining(),
        audited: call.api.audit.is_healthy(),
        configuration: format!("{:016x}", world.config.hash),
        reload,
        store,
        without_keys: without_keys.collect(),
    })
}

/// Every upstream.
#[derive(Serialize, JsonSchema)]
pub struct Upstreams {
    pub upstreams: Vec<Upstream>,
}

/// An MCP server behind this door.
#[derive(Serialize, JsonSchema)]
pub struct Upstream {
    pub name: String,
    /// The resource identifier, which tokens name as audience.
    pub resource: String,
    /// Who issues its tokens: `hosted` is an authorization server elsewhere, `bridge` and `self_managed` are this gateway.
    pub ownership: &'static str,
    /// The issuers whose tokens are accepted.
    pub issuers: Vec<IssuerShown>,
    /// `enforce` or `observe`.
    pub mode: &'static str,
    /// What lists show: `granted` or `acquirable`.
    pub list: &'static str,
    /// What a client gets that nobody approved: `pending` or `allow`.
    pub unknown_clients: &'static str,
    /// Its tools are let through only as they were approved.
    pub pinned: bool,
    /// Where its servers are.
    pub servers: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
pub struct IssuerShown {
    pub name: String,
    /// The issuer identifier.
    pub issuer: String,
}

pub async fn upstreams(call: Call, _: Nothing) -> Result<Upstreams, Fault> {
    let own = call.world.config.authorization_server.as_deref();
    let upstreams = call.world.config.routes.iter().map(|route| Upstream {
        name: route.name.to_string(),
        resource: route.resource.clone(),
        ownership: own.and_then(|server| server.ownership(&route.name)).unwrap_or("hosted"),
        issuers: route.issuers.iter().map(|rules| IssuerShown { name: rules.name.clone(), issuer: rules.issuer.to_string() }).collect(),
        mode: match route.mode {
            Mode::Enforce => "enforce",
            Mode::Observe => "observe",
        },
        list: match route.list {
            ListMode::Granted => "granted",
            ListMode::Acquirable => "acquirable",
        },
        unknown_clients: if route.approves_clients { "pending" } else { "allow" },
        pinned: route.pin.is_some(),
        servers: route.upstream.reach.places.iter().map(|place| place.label()).collect(),
    });
    Ok(Upstreams { upstreams: upstreams.collect() })
}

/// Takes nothing.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReloadAsked {}

/// The new configuration is in use.
#[derive(Serialize, JsonSchema)]
pub struct Reloaded {
    /// What is legal in it and probably not meant.
    pub warnings: Vec<String>,
}

pub async fn reload(call: Call, _: ReloadAsked) -> Result<Reloaded, Fault> {
    let (done, answer) = oneshot::channel();
    let asked = Reload { actor: call.who.to_string(), id: call.id.clone(), done };
    let busy = || Fault::Busy("the process is not ready to reload: ask again in a moment".into());
    call.api.reload.try_send(asked).map_err(|_| busy())?;
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(Ok(warnings))) => Ok(Reloaded { warnings }),
        Ok(Ok(Err(problems))) => Err(Fault::Conflict(format!("the old configuration stays in use: {}", problems.join("; ")))),
        Ok(Err(_)) | Err(_) => Err(busy()),
    }
}
