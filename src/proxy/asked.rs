//! What a server asks of its client on the way to an answer: passed on where the configuration allows
//! it, refused in the client's place where not, recorded in both cases. Knows neither streams nor sockets.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::HeaderMap;
use pingora::protocols::http::ServerSession;

use super::Gateway;
use super::record::{PERMITTED, Tale};
use super::response::Plan;
use super::shown::Shown;
use super::upstream::{Outgoing, Sent};
use crate::denial::{Denial, Fault};
use crate::event::{Event, Outcome};
use crate::identity;
use crate::mcp::ask::{self, Ask, Asks};
use crate::mcp::reverse::{self, Fate, Told};
use crate::mcp::sse::Verdict;
use crate::mcp::{Era, Id, Kind};
use crate::pipeline::{self, Admitted};
use crate::policy::{Policy, Standing};
use crate::route::{Head, Mode};
use crate::session::Session;
use crate::state::Snapshot;

/// How long a refusal may take to be told.
const DECLINE: Duration = Duration::from_secs(5);
/// Bytes of an id that a refusal can name.
const ID: usize = 1 << 10;
/// No revision has a way to say that a gateway does not pass a request on; a client that lacks the feature says this.
const DECLINED: &str = r#"{"code":-32601,"message":"this request is not passed on to the client"}"#;

/// What decides about the questions of one server while it answers one request.
pub(super) struct Questions<'a> {
    pub gateway: &'a Gateway,
    pub world: &'a Snapshot,
    pub admitted: &'a Admitted,
    pub source: IpAddr,
    pub certificate: Option<[u8; 32]>,
    pub received: SystemTime,
    pub allowed: Asks,
    /// Whether what is refused passes all the same.
    pub observes: bool,
}

impl<'a> Questions<'a> {
    /// Whether there is anything that would not pass. What a client of the modern era does not declare never would.
    pub fn refuses(&self, plan: &Plan<'_>) -> bool {
        let declared = plan.declared();
        let passes = |ask| self.allowed.permits(ask) && declared.is_none_or(|declared| declared.permits(ask));
        plan.era == Era::Modern || Ask::ALL.into_iter().any(|ask| ask != Ask::Other && !passes(ask))
    }

    pub fn new(gateway: &'a Gateway, world: &'a Snapshot, admitted: &'a Admitted, head: &Head<'_>) -> Self {
        let Head { source, certificate, received, .. } = *head;
        let (allowed, observes) = (admitted.route.asks, admitted.route.mode == Mode::Observe);
        Self { gateway, world, admitted, source, certificate, received, allowed, observes }
    }

    /// Where nothing can reach the client.
    pub fn nothing(self) -> Self {
        Self { allowed: Asks::default(), observes: false, ..self }
    }

    /// Judges one message of a stream; none where it asks nothing. The ids of refused requests are put
    /// into `refused`, to be [declined](Self::decline). `seen`: what the caller of a session may see by the rules of now.
    pub fn judge(&self, data: &[u8], plan: &Plan<'_>, seen: Option<(&Policy, &Standing)>, refused: &mut Vec<String>) -> Option<Verdict> {
        // A request as such is judged below. An answer may be to another request than the plan's, where a session is resumed.
        let answered = if ask::may_ask(data) { reverse::answered(data, plan.depth) } else { Ok(None) };
        if !matches!(answered, Ok(None)) {
            match self.answer(data, plan) {
                Ok(()) => {}
                Err(Fault::ServerRequest) => {
                    let id = answered.ok().flatten().or(plan.id.map(Id::as_json));
                    return Some(id.map_or(Verdict::Drop, |id| Verdict::Replace(refusal(id, plan.era))));
                }
                Err(_) => return Some(Verdict::Unreadable),
            }
        }
        reverse::judge(data, plan.depth, &mut |told| match (told, &plan.legacy) {
            (Told::Updated(uri), _) => match seen {
                Some((policy, standing)) if !uri.is_some_and(|uri| policy.shows(standing, Kind::Resource, uri)) => Fate::Dropped,
                // Without a session nobody can have subscribed.
                None if !self.observes && plan.legacy.is_some() => Fate::Dropped,
                _ => Fate::Unchanged,
            },
            // The modern era has no requests of servers (MCP 2026-07-28 "Transports").
            (Told::Request(ask, _), None) => {
                self.tell(ask, Outcome::Refused, "server_request", plan);
                Fate::Dropped
            }
            (Told::Cancelled(_), None) => Fate::Unchanged,
            (Told::Cancelled(id), Some(legacy)) => named(legacy.seals.request(legacy.session.as_ref(), id)),
            (Told::Request(ask, id), Some(legacy)) => {
                let answerable = legacy.session.is_some();
                if self.passes(ask, answerable, plan) {
                    return named(legacy.seals.request(legacy.session.as_ref(), id));
                }
                if answerable && id.len() <= ID {
                    refused.push(id.to_owned());
                }
                Fate::Dropped
            }
        })
    }

    /// What belongs to a task of which nobody knows whose it is: a request is refused, all else is left out.
    pub fn stray(&self, data: &[u8], plan: &Plan<'_>, refused: &mut Vec<String>) -> Verdict {
        let judged = reverse::judge(data, plan.depth, &mut |told| {
            if let Told::Request(ask, id) = told {
                self.tell(ask, Outcome::Refused, "unknown_task", plan);
                if plan.legacy.as_ref().is_some_and(|legacy| legacy.session.is_some()) && id.len() <= ID {
                    refused.push(id.to_owned());
                }
            }
            Fate::Dropped
        });
        if judged == Some(Verdict::Unreadable) { Verdict::Unreadable } else { Verdict::Drop }
    }

    /// Whether an answer asks only for what may be asked; each question is recorded.
    pub fn answer(&self, body: &[u8], plan: &Plan<'_>) -> Result<(), Fault> {
        if !ask::may_ask(body) {
            return Ok(());
        }
        let asks = match ask::asked(body, plan.depth) {
            Ok(asks) => asks,
            Err(_) if self.observes => return Ok(()),
            Err(_) => return Err(Fault::UnreadableAnswer),
        };
        // All are told, though one is enough to refuse.
        match asks.into_iter().filter(|ask| !self.passes(*ask, true, plan)).count() {
            0 => Ok(()),
            _ => Err(Fault::ServerRequest),
        }
    }

    fn passes(&self, ask: Ask, answerable: bool, plan: &Plan<'_>) -> bool {
        if ask == Ask::Ping {
            return answerable;
        }
        // What a client does not say that it can answer is not asked of it (MCP 2026-07-28 "Multi Round-Trip Requests"; MCP 2025-11-25
        // "Capability Negotiation").
        let declared = plan.declared().is_none_or(|declared| declared.permits(ask));
        let flaw = match (answerable, self.allowed.permits(ask), declared) {
            (false, ..) => Some("no_session"),
            (true, false, _) => Some("server_request"),
            (true, true, false) => Some("undeclared_request"),
            (true, true, true) => None,
        };
        let (outcome, reason) = match flaw {
            None => (Outcome::Permitted, PERMITTED),
            Some(flaw) if answerable && self.observes => (Outcome::Observed, flaw),
            Some(flaw) => (Outcome::Refused, flaw),
        };
        // What cannot be recorded is not let through.
        self.tell(ask, outcome, reason, plan) && outcome != Outcome::Refused
    }

    /// Records one question. `false` where records cannot be kept, and go before what they tell.
    fn tell(&self, ask: Ask, outcome: Outcome, reason: &'static str, plan: &Plan<'_>) -> bool {
        let slot = self.gateway.audit.slot(self.world.config.audit.when_full);
        let told = slot.is_some() || outcome == Outcome::Refused;
        let (outcome, reason) = if told { (outcome, reason) } else { (Outcome::Refused, "audit_unavailable") };
        let route = &self.admitted.route;
        self.gateway.metrics.server_request(&route.name, ask, outcome);
        let event = Event {
            id: self.gateway.ids.next(),
            time: SystemTime::now(),
            upstream: Some(route.name.clone()),
            who: Some(self.admitted.verified.principal.clone()),
            token: Some(self.admitted.token),
            operation: ask.method(),
            name: (ask == Ask::ElicitationUrl).then(|| "url".to_owned()),
            outcome,
            reason,
            rule: None,
            arguments: None,
            values: None,
            source: self.source,
            session: plan.legacy.as_ref().and_then(|legacy| legacy.session.as_ref()).map(Session::digest),
            era: Some(plan.era),
            status: if outcome == Outcome::Refused { 403 } else { 200 },
            duration: Duration::ZERO,
            overhead: Duration::ZERO,
            trace: None,
        };
        if !self.gateway.audit.record(event, slot) {
            self.gateway.metrics.audit_dropped();
        }
        told
    }

    /// Answers refused requests in the client's place, within the session, so that the server need not wait.
    pub async fn decline(&self, session: &mut ServerSession, plan: &Plan<'_>, tale: &mut Tale<'_>, refused: Vec<String>) {
        let told = async {
            for id in refused {
                if self.decline_one(session, plan, tale, &id).await.is_err() {
                    tracing::debug!(upstream = %self.admitted.route.name, "a refusal could not be told to the server");
                }
            }
        };
        let _ = tokio::time::timeout(DECLINE, told).await;
    }

    async fn decline_one(&self, session: &mut ServerSession, plan: &Plan<'_>, tale: &mut Tale<'_>, id: &str) -> Result<(), Fault> {
        let Some(own) = plan.legacy.as_ref().and_then(|legacy| legacy.session.as_ref()) else { return Ok(()) };
        let release = pipeline::attend(self.admitted, own);
        let body = Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{DECLINED}}}"#));
        let headers = session.req_header().headers.clone();
        let head = self.head(&headers);
        let route = &self.admitted.route;
        let shown = match route.identity.asserts() || route.grant.is_some() {
            true => Shown::gather(self.world, route, &head, self.admitted, tale).await?,
            false => Shown::default(),
        };
        // A new stream is not resumed by it.
        let own = own.without_event();
        let forwarded_for = identity::forwarded_for(head.source).ok_or(Fault::Internal)?;
        let sent = Sent {
            session: Some(&own),
            task: None,
            lacking: &[],
            traceparent: None,
            forwarded_for,
            method: http::Method::POST,
            body,
            shown,
        };
        let outgoing = Outgoing::new(&release, self.admitted, &head, sent)?;
        let reached = self.gateway.upstreams.call(outgoing, session, plan, tale).await?;
        drop(reached);
        Ok(())
    }

    fn head<'h>(&self, headers: &'h HeaderMap) -> Head<'h> {
        Head {
            method: &http::Method::POST,
            authority: None,
            path: "/",
            headers,
            source: self.source,
            certificate: self.certificate,
            received: self.received,
        }
    }
}

fn named(id: Option<String>) -> Fate {
    id.map_or(Fate::Unreadable, Fate::As)
}

/// In the place of an answer that asks too much; `id` as JSON text.
fn refusal(id: &str, era: Era) -> Vec<u8> {
    let denial = Denial { id: Some(id.to_owned()), era: Some(era), ..Fault::ServerRequest.into() };
    denial.reply(None).into_body().to_vec()
}
