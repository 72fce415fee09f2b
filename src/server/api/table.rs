//! Every route of the admin API: who may ask what, with which words in and out.
//!
//! The router, the OpenAPI document and the tests are made from this one table. A new route is one line in [`entries`].

use axum::body::Bytes;
use axum::extract::Query;
use axum::http::{Method, Uri};
use futures_util::future::BoxFuture;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Call, audit, clients, gateway, grants, keys, reviews, revocations, tools, users};
use crate::config::Role;
use crate::control::Fault;

/// One route.
pub struct Entry {
    pub method: Method,
    pub path: &'static str,
    /// The least that may.
    pub role: Role,
    /// `operationId`.
    pub name: &'static str,
    pub summary: &'static str,
    /// Statuses besides those that every route can have.
    pub faults: &'static [u16],
    /// The query, or the body of a change.
    pub takes: fn(&mut SchemaGenerator) -> Schema,
    pub gives: fn(&mut SchemaGenerator) -> Schema,
    run: Box<Run>,
}

type Run = dyn Fn(Call, &Uri, &Bytes) -> BoxFuture<'static, Result<Value, Fault>> + Send + Sync;

impl Entry {
    pub fn is_change(&self) -> bool {
        self.method == Method::POST
    }

    pub(super) fn run(&self, call: Call, uri: &Uri, body: &Bytes) -> BoxFuture<'static, Result<Value, Fault>> {
        (self.run)(call, uri, body)
    }
}

/// What a route is called, and how it can fail.
struct Named(&'static str, &'static str, &'static str, &'static [u16]);

/// Reads, and takes a query.
fn reads<Q, A, F>(role: Role, named: Named, run: fn(Call, Q) -> F) -> Entry
where
    Q: DeserializeOwned + JsonSchema + 'static,
    A: Serialize + JsonSchema + 'static,
    F: Future<Output = Result<A, Fault>> + Send + 'static,
{
    let Named(path, name, summary, faults) = named;
    let run = move |call: Call, uri: &Uri, _: &Bytes| match Query::<Q>::try_from_uri(uri) {
        Ok(Query(query)) => answered(run(call, query)),
        Err(error) => failed(format!("the query is wrong: {}", error.body_text())),
    };
    Entry { method: Method::GET, path, role, name, summary, faults, takes: Q::json_schema, gives: schema::<A>, run: Box::new(run) }
}

/// Changes something, and takes a body.
fn changes<B, A, F>(role: Role, named: Named, run: fn(Call, B) -> F) -> Entry
where
    B: DeserializeOwned + JsonSchema + 'static,
    A: Serialize + JsonSchema + 'static,
    F: Future<Output = Result<A, Fault>> + Send + 'static,
{
    let Named(path, name, summary, faults) = named;
    let run = move |call: Call, _: &Uri, body: &Bytes| match serde_json::from_slice(body) {
        // An array of its members in their order would be read too.
        _ if !body.trim_ascii_start().starts_with(b"{") => failed("the body is wrong: it is not a JSON object".into()),
        Ok(body) => answered(run(call, body)),
        Err(error) => failed(format!("the body is wrong: {error}")),
    };
    Entry { method: Method::POST, path, role, name, summary, faults, takes: schema::<B>, gives: schema::<A>, run: Box::new(run) }
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn answered<A: Serialize + 'static>(
    answer: impl Future<Output = Result<A, Fault>> + Send + 'static,
) -> BoxFuture<'static, Result<Value, Fault>> {
    Box::pin(async move {
        let answer = answer.await?;
        serde_json::to_value(answer).map_err(|_| Fault::Busy("the answer cannot be written".into()))
    })
}

fn failed(what: String) -> BoxFuture<'static, Result<Value, Fault>> {
    Box::pin(async move { Err(Fault::Invalid(what)) })
}

/// The whole API.
pub fn entries() -> Vec<Entry> {
    use Role::{Operator, Reviewer, Viewer};
    const STORE: &[u16] = &[503];
    const ONE: &[u16] = &[404, 409];
    const REVIEW: &[u16] = &[404, 503];
    const OURS: &[u16] = &[409, 503];
    const HELD: &[u16] = &[404, 409, 503];
    vec![
        reads(Viewer, Named("/admin/v1/whoami", "whoami", "Who asks, and what they may.", &[]), gateway::whoami),
        reads(Viewer, Named("/admin/v1/openapi.json", "openapi", "This document.", &[]), gateway::openapi),
        reads(Viewer, Named("/admin/v1/status", "status", "How the process stands.", &[]), gateway::status),
        reads(Viewer, Named("/admin/v1/upstreams", "upstreams", "The MCP servers, and who issues their tokens.", &[]), gateway::upstreams),
        reads(Viewer, Named("/admin/v1/replicas", "replicas", "How far each replica has read changes.", STORE), revocations::replicas),
        reads(Viewer, Named("/admin/v1/clients", "clients", "Lists clients; `state=pending` is the queue.", STORE), clients::list),
        reads(Viewer, Named("/admin/v1/client", "client", "Shows a client and every decision on it.", &[404, 503]), clients::show),
        changes(Reviewer, Named("/admin/v1/client/approve", "approve_client", "Lets a client call.", ONE), clients::approve),
        changes(Reviewer, Named("/admin/v1/client/own", "own_client", "Says who answers for a client.", ONE), clients::own),
        changes(Operator, Named("/admin/v1/client/suspend", "suspend_client", "Refuses a client for now.", ONE), clients::suspend),
        changes(Operator, Named("/admin/v1/client/resume", "resume_client", "Lets a suspended client call again.", ONE), clients::resume),
        changes(Operator, Named("/admin/v1/client/retire", "retire_client", "Refuses a client for ever.", ONE), clients::retire),
        reads(Viewer, Named("/admin/v1/revocations", "revocations", "Lists what is revoked.", STORE), revocations::list),
        changes(Operator, Named("/admin/v1/revocations/new", "revoke", "Revokes.", &[]), revocations::revoke),
        reads(Viewer, Named("/admin/v1/keys", "keys", "Lists the keys of issuers; `state=held` is the queue.", STORE), keys::list),
        reads(Viewer, Named("/admin/v1/keys/versions", "key_versions", "Lists versions of key sets and metadata.", STORE), keys::versions),
        changes(Operator, Named("/admin/v1/key/approve", "approve_key", "Lets a key verify from now on.", ONE), keys::approve),
        changes(Operator, Named("/admin/v1/key/reject", "reject_key", "Lets a key verify nothing.", ONE), keys::reject),
        reads(Viewer, Named("/admin/v1/review", "review", "What is granted and was not used.", REVIEW), reviews::review),
        changes(
            Reviewer,
            Named("/admin/v1/review/attest", "attest_review", "Says that somebody has looked.", &[404, 412]),
            reviews::attest,
        ),
        reads(Viewer, Named("/admin/v1/tools", "tools", "Holds an upstream's tools against their approvals.", HELD), tools::compare),
        changes(
            Reviewer,
            Named("/admin/v1/tools/approve", "approve_tools", "Approves tools as they are now.", &[404, 409, 412]),
            tools::approve,
        ),
        reads(Viewer, Named("/admin/v1/grants", "grants", "Lists what people let clients do.", OURS), grants::list),
        changes(Operator, Named("/admin/v1/grants/end", "end_grants", "Ends grants with all their tokens.", ONE), grants::end),
        reads(Viewer, Named("/admin/v1/users", "users", "Lists accounts.", OURS), users::list),
        reads(Viewer, Named("/admin/v1/user", "user", "Shows an account, and what it has signed in.", HELD), users::show),
        changes(Operator, Named("/admin/v1/user/invite", "invite_user", "Makes an account, and its link.", &[409]), users::invite),
        changes(Operator, Named("/admin/v1/user/reset", "reset_user", "Makes another link for somebody.", ONE), users::reset),
        changes(
            Operator,
            Named("/admin/v1/user/disable", "disable_user", "Lets nobody sign in, and ends everything.", ONE),
            users::disable,
        ),
        changes(Operator, Named("/admin/v1/user/enable", "enable_user", "Lets somebody sign in again.", ONE), users::enable),
        changes(Operator, Named("/admin/v1/user/end", "end_user", "Signs somebody out, and all their clients.", ONE), users::end),
        changes(Operator, Named("/admin/v1/user/groups", "regroup_user", "Says which groups somebody is in.", ONE), users::regroup),
        changes(
            Operator,
            Named("/admin/v1/user/remove-passkey", "remove_passkey", "Lets nobody sign in with a passkey.", ONE),
            users::remove_passkey,
        ),
        reads(Viewer, Named("/admin/v1/audit/records", "audit_records", "Searches the audit log.", &[404]), audit::search),
        reads(Viewer, Named("/admin/v1/audit/key", "audit_key", "The public key of the audit log's checkpoints.", &[404]), audit::key),
        changes(Operator, Named("/admin/v1/reload", "reload", "Reads the configuration anew.", &[409]), gateway::reload),
    ]
}
