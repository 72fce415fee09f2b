//! One request, from its head to its record: the line of [`crate::pipeline`] with sockets.

mod batch;

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, StatusCode};
use pingora::apps::{HttpPersistentSettings, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;

use super::asked::Questions;
use super::attention::{Attending, Attention};
use super::dial::Reached;
use super::peer::{Client, Peer};
use super::record::{self, PERMITTED, Tale};
use super::reply::{self, Cors};
use super::response::{self, Legacy, Plan};
use super::results::Asked;
use super::shown::Shown;
use super::upstream::{Outgoing, Sent, TRACEPARENT};
use super::{Gateway, authorization, body, hosted, signals};
use crate::config::Limits;
use crate::denial::{Denial, Fault};
use crate::event::Outcome;
use crate::event::values::Values;
use crate::governance::observed::Noted;
use crate::mcp::listen::{Keeps, Narrowed};
use crate::mcp::reverse::Answer;
use crate::mcp::{self, Era, Kind, Operation, Target as Names, Verb, listen, related};
use crate::pin::Flaw;
use crate::pipeline::{self, Admitted, Followed, Judgement, Release};
use crate::policy::{Caller, Standing};
use crate::route::{self, Head, ListMode, Mode, Route, Target};
use crate::session::{Seals, Session};
use crate::state::Snapshot;
use crate::streams::{Holder, Open, TooMany};
use crate::token::Scheme;
use crate::trace::{Parent, Step};

/// A body of this size that a denied client is still sending is read to its end, so that its
/// connection stays usable; a longer one is cut off.
const DRAINED: usize = 64 << 10;
/// For what is still unsent on a connection that is given up: its client may have stopped reading.
const PARTING: Duration = Duration::from_secs(1);

/// Answers one request. Returns the connection where another one may follow on it.
pub async fn run(gateway: &Gateway, peer: &Peer, mut session: ServerSession, shutdown: &ShutdownWatch) -> Option<ReusedHttpStream> {
    match session.read_request().await {
        Ok(true) => {}
        Ok(false) => return None,
        Err(_) => {
            record::refused_head(gateway, peer.source(), &Fault::HeadMalformed("the request head is malformed").into());
            let _ = session.respond_error(400).await;
            return None;
        }
    }
    let _in_flight = gateway.in_flight();
    if *shutdown.borrow() {
        session.set_keepalive(None);
    }
    session.set_write_timeout(Some(gateway.write_timeout));
    if !answer(gateway, peer, &mut session).await {
        drop(tokio::time::timeout(PARTING, session.shutdown()).await);
        return None;
    }
    let settings = HttpPersistentSettings::for_session(&session);
    let stream = session.finish().await.ok()??;
    Some(ReusedHttpStream::from_reusable_stream(stream, settings))
}

/// What is known of a request beside its head.
pub(super) struct Exchange<'g> {
    pub(super) gateway: &'g Gateway,
    pub(super) world: &'g Snapshot,
    peer: &'g Peer,
    pub(super) source: IpAddr,
    /// SHA-256 of the client's verified certificate in DER.
    certificate: Option<[u8; 32]>,
    pub(super) received: SystemTime,
    pub(super) tale: Tale<'g>,
    pub(super) cors: Cors,
}

/// `false` where the connection must be given up.
async fn answer(gateway: &Gateway, peer: &Peer, session: &mut ServerSession) -> bool {
    let world = gateway.state.current();
    let client = peer.client(&session.req_header().headers);
    let Client { source, certificate } = *client.as_ref().unwrap_or(&peer.alone());
    let received = SystemTime::now();
    let tale = Tale::begin(gateway, source, received);
    let mut exchange = Exchange { gateway, world: &world, peer, source, certificate, received, tale, cors: Cors::None };
    match client.map_err(Denial::from).and_then(|_| locate(&exchange, session)) {
        Ok(Target::Metadata(route)) => {
            exchange.tale.tell(|event| event.upstream = Some(route.name.clone()));
            public(&mut exchange, session, world.assertions.metadata(&route)).await
        }
        Ok(Target::AssertionKeys) => {
            let keys = world.assertions.document(received);
            public(&mut exchange, session, keys).await
        }
        Ok(Target::Issuer(route)) => Box::pin(hosted::issuer_metadata(&mut exchange, session, Some(&route))).await,
        Ok(Target::Undecided) => Box::pin(hosted::issuer_metadata(&mut exchange, session, None)).await,
        Ok(Target::Signal(name, inlet)) => Box::pin(signals::serve(&mut exchange, session, &name, inlet)).await,
        Ok(Target::Authorization) => Box::pin(authorization::serve(&mut exchange, session)).await,
        Ok(Target::Mcp(route)) => match exchange.serve(session, &route).await {
            Ok(intact) => intact,
            Err(denial) => exchange.deny(session, &denial, Some(&route)).await,
        },
        Err(denial) => exchange.deny(session, &denial, None).await,
    }
}

/// Where to?
fn locate(exchange: &Exchange<'_>, session: &ServerSession) -> Result<Target, Denial> {
    let head = exchange.head(session);
    check_size(head.headers, &exchange.world.config.limits)?;
    let authority = head.host().ok_or(route::Error::Host)?;
    // RFC 9113 §8.3.1: a Host beside `:authority` says the same.
    if !head.headers.get_all(HOST).iter().all(|host| host.as_bytes().eq_ignore_ascii_case(authority.as_bytes())) {
        return Err(route::Error::Host.into());
    }
    exchange.peer.serves(authority)?;
    Ok(exchange.world.routes.find(&head)?.clone())
}

/// HTTP/2 heads come decoded from the framework; HTTP/1 heads were measured before.
fn check_size(headers: &HeaderMap, limits: &Limits) -> Result<(), Fault> {
    if headers.len() > limits.header_count {
        return Err(Fault::HeadTooLarge);
    }
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if size > limits.headers { Err(Fault::HeadTooLarge) } else { Ok(()) }
}

/// The protected resource metadata (RFC 9728 §3) and the keys of assertions: public, for every origin.
async fn public(exchange: &mut Exchange<'_>, session: &mut ServerSession, document: Bytes) -> bool {
    exchange.cors = Cors::Anyone;
    let method = &session.req_header().method;
    let reply = if method == Method::GET || method == Method::HEAD {
        exchange.tale.answered("metadata", 200);
        reply::document(document)
    } else if method == Method::OPTIONS {
        exchange.tale.answered("preflight", 204);
        reply::preflight(&session.req_header().headers, "GET, HEAD, OPTIONS")
    } else {
        return exchange.deny(session, &Fault::Method("GET, HEAD, OPTIONS").into(), None).await;
    };
    reply::send(session, reply, &exchange.cors, exchange.tale.id()).await
}

impl<'g> Exchange<'g> {
    fn head<'s>(&self, session: &'s ServerSession) -> Head<'s> {
        let header = session.req_header();
        Head {
            method: &header.method,
            authority: header.uri.authority().map(|authority| authority.as_str()),
            path: header.uri.path(),
            headers: &header.headers,
            source: self.source,
            certificate: self.certificate,
            received: self.received,
        }
    }

    /// The straight line of one MCP request. Turns that few requests take are futures on the heap, so that the
    /// task of every connection need not make room for them.
    async fn serve(&mut self, session: &mut ServerSession, route: &Arc<Route>) -> Result<bool, Denial> {
        self.tale.tell(|event| event.upstream = Some(route.name.clone()));
        self.cors = Cors::of(route, &session.req_header().headers).map_err(|()| Fault::Origin)?;
        if session.req_header().method == Method::OPTIONS {
            self.tale.answered("preflight", 204);
            let reply = reply::preflight(&session.req_header().headers, "GET, POST, DELETE, OPTIONS");
            return Ok(reply::send(session, reply, &self.cors, self.tale.id()).await);
        }
        self.tale.step(Step::Authenticate);
        let mut admitted = pipeline::admit(route, &self.head(session), self.world).await?;
        self.gateway.metrics.token_cache(admitted.recalled);
        self.tale.tell(|event| {
            event.who = Some(admitted.verified.principal.clone());
            event.token = Some(admitted.token);
        });
        self.check_rates(route, &admitted)?;
        admitted.govern(self.world, self.received)?;
        match session.req_header().method {
            Method::POST => {}
            Method::GET | Method::DELETE => return Box::pin(self.attend(session, &admitted)).await,
            _ => return Err(Fault::Method("POST, GET, DELETE").into()),
        }
        check_media(&session.req_header().headers)?;

        self.tale.step(Step::Body);
        let waiting = Instant::now();
        let body = body::read(session, route.limits.body, self.world.config.limits.body_timeout).await;
        self.tale.waited(waiting);
        let body = body?;

        self.tale.step(Step::Judge);
        let judgement = match pipeline::judge(&admitted, &self.head(session), &body, self.world.config.limits.depth, &self.world.sealer) {
            Err(Denial { fault: Fault::Message(mcp::Error::Response), .. }) => {
                return Box::pin(self.answer(session, &admitted, &body)).await;
            }
            Err(denial @ Denial { fault: Fault::Message(mcp::Error::Batch(_)), .. }) => {
                return Box::pin(self.batch(session, &admitted, &body, denial)).await;
            }
            judged => judged?,
        };
        match self.prepare(session, &admitted, &judgement)? {
            None => {
                self.tale.answered("absorbed", 202);
                let mut accepted = reply::empty(StatusCode::ACCEPTED);
                accepted.headers_mut().extend(self.nonce_for(&admitted));
                Ok(reply::send(session, accepted, &self.cors, self.tale.id()).await)
            }
            Some((release, plan)) => {
                let sent = self.narrowed(&judgement, &plan, judgement.body(&body));
                let sent = self.forward(session, &admitted, &release, Method::POST, sent, &plan).await;
                sent.map_err(|fault| of(&judgement, fault))
            }
        }
    }

    /// From what was judged to what is done: everything between the two that does not wait. None where
    /// it is acknowledged here and goes no further.
    fn prepare<'m>(
        &mut self,
        session: &ServerSession,
        admitted: &'m Admitted,
        judgement: &'m Judgement<'m>,
    ) -> Result<Option<(Release, Plan<'m>)>, Denial>
    where
        'g: 'm,
    {
        let route = &admitted.route;
        self.tale.within(parent(judgement.message.traceparent.as_deref(), &session.req_header().headers));
        self.tell_judgement(&admitted.route, judgement);
        let nonce = self.nonce_for(admitted).map(|(_, nonce)| nonce);
        let with_id = |fault: Fault| of(judgement, fault);
        let headers = &session.req_header().headers;
        let lacking = self.gateway.mirrors.agree(route, &judgement.message, headers).map_err(Fault::Message).map_err(with_id)?;
        let legacy = match judgement.message.era {
            Era::Legacy => Some(self.legacy(session, admitted).map_err(with_id)?),
            Era::Modern => None,
        };
        let release = judgement.release(route.mode).map_err(|denial| {
            self.note(admitted, judgement, false);
            self.insisted(denial, errand(admitted, judgement, headers), &admitted.route)
        })?;
        let flaw = self.flaw(route, judgement);
        if let (Some(flaw), Mode::Enforce) = (flaw, route.mode) {
            return Err(with_id(Fault::Tool(flaw)));
        }
        if judgement.decision.is_ok() {
            self.gateway.insistence.cured(errand(admitted, judgement, headers));
        }
        let within = legacy.as_ref().is_some_and(|legacy| legacy.session.is_some());
        if judgement.message.operation.method.verb == Verb::Absorb && !within {
            return Ok(None);
        }
        let endless = judgement.message.operation.method.verb == Verb::Listen;
        let open = if endless { Some(self.listen(admitted).map_err(with_id)?) } else { None };
        self.promise(judgement.decision.is_err() || flaw.is_some()).map_err(with_id)?;
        self.note(admitted, judgement, true);
        let resumed = if within { self.standing(admitted) } else { None };
        Ok(Some((release, Plan { nonce, legacy, resumed, open, lacking: lacking.into(), ..self.plan(route, admitted, judgement) })))
    }

    /// Counts what the caller used, or was refused.
    fn note(&self, admitted: &Admitted, judgement: &Judgement<'_>, passed: bool) {
        let Some(observed) = &self.gateway.observed else { return };
        let (upstream, who, target) = (&admitted.route.name, &admitted.verified.principal, &judgement.message.operation.target);
        observed.note(&Noted { upstream, who, target, passed, now: self.received });
    }

    /// The nonce for a caller whose token is bound to a key.
    fn nonce_for(&self, admitted: &Admitted) -> Option<(HeaderName, HeaderValue)> {
        admitted.verified.binding().key.and_then(|_| self.nonce())
    }

    /// The bytes to send on: those that were judged, but for the resources of a subscription that may not be read, and the
    /// tasks that are not the caller's.
    fn narrowed(&mut self, judgement: &Judgement<'_>, plan: &Plan<'_>, body: Bytes) -> Bytes {
        let operation = &judgement.message.operation;
        let (Verb::Listen, Names::Each(granted), Ok(_)) = (operation.method.verb, &operation.target, &judgement.decision) else {
            return body;
        };
        let mut resource = |uri: &str| granted.iter().any(|thing| thing.name == uri);
        let tasks = plan.attending().map_or(&[][..], |attending| attending.tasks.as_slice());
        let mut task = |known: &str| Some(tasks.iter().find(|task| task.known == known)?.id.clone());
        match listen::narrow(&body, plan.depth, Keeps { resource: &mut resource, task: &mut task }) {
            Some(Narrowed { body, less }) => {
                self.tale.tell(|event| event.reason = if less { "narrowed" } else { event.reason });
                body.into()
            }
            None => body,
        }
    }

    /// What the answer must be looked at for, beside lists; nothing where the rules are only observed.
    fn attention(&self, admitted: &Admitted, judgement: &Judgement<'_>) -> Option<Box<Attention>> {
        let operation = &judgement.message.operation;
        match (operation.method.verb, &operation.target) {
            _ if admitted.route.mode != Mode::Enforce => None,
            (Verb::Introduce, _) => Some(Box::new(Attention::Introduction)),
            (Verb::Listen, Names::Each(granted)) => {
                let granted = granted.iter().map(|thing| thing.name.clone().into_owned()).collect();
                Some(self.attending(admitted, granted, judgement.followed(&self.world.sealer, self.source, self.received)))
            }
            _ => None,
        }
    }

    fn attending(&self, admitted: &Admitted, granted: Vec<String>, tasks: Vec<Followed>) -> Box<Attention> {
        Box::new(Attention::Stream(Attending { who: admitted.verified.principal.clone(), source: self.source, granted, tasks }))
    }

    /// The seals of a legacy caller, and the session that the head names.
    fn legacy(&mut self, session: &ServerSession, admitted: &Admitted) -> Result<Legacy, Fault> {
        let seals = Seals::new(self.world.sealer.clone(), &admitted.route, &admitted.verified.principal);
        let own = seals.session(&session.req_header().headers)?;
        self.tale.tell(|event| event.session = own.as_ref().map(Session::digest));
        Ok(Legacy { seals, session: own })
    }

    /// Opens or resumes the stream of a session (GET), or ends the session (DELETE). Without a session
    /// there is nothing of the caller's own to have (MCP 2025-11-25 "Listening for Messages from the Server").
    async fn attend(&mut self, session: &mut ServerSession, admitted: &Admitted) -> Result<bool, Denial> {
        if admitted.route.protocol.modern_only {
            return Err(Fault::Method("POST").into());
        }
        let legacy = self.legacy(session, admitted)?;
        let opens = session.req_header().method == Method::GET;
        self.tale.tell(|event| {
            event.operation = if opens { "session/stream" } else { "session/end" };
            event.era = Some(Era::Legacy);
        });
        let Some(own) = &legacy.session else { return Err(Fault::Method("POST").into()) };
        let release = pipeline::attend(admitted, own);
        let open = if opens { Some(self.listen(admitted)?) } else { None };
        let attention = (opens && admitted.route.mode == Mode::Enforce).then(|| self.attending(admitted, Vec::new(), Vec::new()));
        let plan = Plan { endless: opens, repeatable: opens, open, attention, ..self.bare_plan(admitted, legacy) };
        self.promise(false)?;
        Ok(self.forward(session, admitted, &release, if opens { Method::GET } else { Method::DELETE }, Bytes::new(), &plan).await?)
    }

    /// A client's answer to what its server asked it, if it was asked.
    async fn answer(&mut self, session: &mut ServerSession, admitted: &Admitted, body: &Bytes) -> Result<bool, Denial> {
        let (release, body, plan) = self.reply(session, admitted, body)?;
        Ok(self.forward(session, admitted, &release, Method::POST, body, &plan).await?)
    }

    /// The answer as the server is to have it.
    fn reply<'m>(&mut self, session: &ServerSession, admitted: &'m Admitted, body: &Bytes) -> Result<(Release, Bytes, Plan<'m>), Denial>
    where
        'g: 'm,
    {
        let legacy = self.legacy(session, admitted)?;
        self.tale.tell(|event| {
            event.operation = "session/answer";
            event.era = Some(Era::Legacy);
        });
        let unasked = || Denial::from(Fault::Message(mcp::Error::Response));
        let own = legacy.session.as_ref().filter(|_| !admitted.route.protocol.modern_only).ok_or_else(unasked)?;
        let answer = Answer::read(body, self.world.config.limits.depth).ok_or_else(unasked)?;
        let id = legacy.seals.asked(own, &answer.id).map_err(Fault::Message)?;
        let release = pipeline::attend(admitted, own);
        let body = answer.to(id);
        let mut named = |task: &str| Some(legacy.seals.opened_task(Era::Legacy, task)?.1);
        let body = match related::rename(&body, self.world.config.limits.depth, "result", &mut named) {
            Ok(named) => named.unwrap_or(body).into(),
            Err(related::Flaw::Unknown) => return Err(Fault::UnknownTask.into()),
            Err(related::Flaw::Unreadable) => return Err(unasked()),
        };
        let plan = self.bare_plan(admitted, legacy);
        self.promise(false)?;
        Ok((release, body, plan))
    }

    /// Takes the place of the record that what goes on from here will have, and what it will say if nothing fails.
    fn promise(&mut self, observed: bool) -> Result<(), Fault> {
        self.tale.slot = Some(self.gateway.audit.slot(self.world.config.audit.when_full).ok_or(Fault::AuditUnavailable)?);
        self.tale.tell(|event| {
            event.outcome = if observed { Outcome::Observed } else { Outcome::Permitted };
            event.reason = if observed { event.reason } else { PERMITTED };
        });
        Ok(())
    }

    /// To the upstream and back.
    async fn forward(
        &mut self,
        session: &mut ServerSession,
        admitted: &Admitted,
        release: &Release,
        method: Method,
        body: Bytes,
        plan: &Plan<'_>,
    ) -> Result<bool, Fault> {
        let (reached, token) = self.reach(session, admitted, release, method, body, plan).await?;
        self.tale.step(Step::Relay);
        let questions = Questions::new(self.gateway, self.world, admitted, &self.head(session));
        let relayed = response::relay(self.gateway, session, reached, plan, &mut self.tale, &self.cors, &questions).await;
        self.believe(admitted, token, relayed)
    }

    /// To the upstream, as far as the head of its answer; with the token that was shown to it.
    async fn reach(
        &mut self,
        session: &mut ServerSession,
        admitted: &Admitted,
        release: &Release,
        method: Method,
        body: Bytes,
        plan: &Plan<'_>,
    ) -> Result<(Reached, Option<HeaderValue>), Fault> {
        let route = &admitted.route;
        let shown = match route.identity.asserts() || route.grant.is_some() {
            true => Box::pin(Shown::gather(self.world, route, &self.head(session), admitted, &mut self.tale)).await?,
            false => Shown::default(),
        };
        let token = shown.token.clone();
        let own = plan.legacy.as_ref().and_then(|legacy| legacy.session.as_ref());
        let task = plan.asked.judgement.and_then(Judgement::task);
        let (traceparent, forwarded_for) = (self.tale.traceparent(), self.peer.forwarded_for(self.source).ok_or(Fault::Internal)?);
        let sent = Sent { method, body, session: own, traceparent, forwarded_for, task, lacking: &plan.lacking, shown };
        let outgoing = Outgoing::new(release, admitted, &self.head(session), sent)?;
        self.tale.step(Step::Upstream);
        let reached = self.gateway.upstreams.call(outgoing, session, plan, &mut self.tale).await?;
        Ok((reached, token))
    }

    /// A token that the upstream did not accept is not shown again.
    fn believe<T>(&self, admitted: &Admitted, token: Option<HeaderValue>, answered: Result<T, Fault>) -> Result<T, Fault> {
        if let (Err(Fault::UpstreamUnauthorized), Some(token)) = (&answered, &token) {
            self.world.upstream_tokens.reject(&admitted.route, admitted.token, token);
        }
        answered
    }

    fn asked<'m>(&self, admitted: &'m Admitted, judgement: Option<&'m Judgement<'m>>) -> Asked<'m>
    where
        'g: 'm,
    {
        Asked { admitted, judgement, world: self.world, begun: &self.gateway.begun, source: self.source, received: self.received }
    }

    fn bare_plan<'m>(&self, admitted: &'m Admitted, legacy: Legacy) -> Plan<'m>
    where
        'g: 'm,
    {
        Plan {
            route: admitted.route.clone(),
            era: Era::Legacy,
            id: None,
            nonce: None,
            list: None,
            resumed: self.standing(admitted),
            asked: self.asked(admitted, None),
            legacy: Some(legacy),
            lacking: Box::default(),
            endless: false,
            attention: None,
            repeatable: false,
            depth: self.world.config.limits.depth,
            until: admitted.verified.ends(),
            open: None,
        }
    }

    /// A place for a stream without an end.
    fn listen(&mut self, admitted: &Admitted) -> Result<Box<Open>, Fault> {
        let most = admitted.route.limits.streams_per_subject;
        let open = self.gateway.streams.listen(holder(admitted), most, self.tale.begun());
        open.map(Box::new).map_err(|TooMany| {
            // Refused before it was permitted.
            self.tale.tell(|event| event.reason = "too_many_streams");
            Fault::TooManyStreams
        })
    }

    fn check_rates(&self, route: &Route, admitted: &Admitted) -> Result<(), Fault> {
        let who = &admitted.verified.principal;
        let limited = |wait: Duration| Fault::RateLimited(wait.as_secs() + 1);
        if let (Some(rate), Some(client)) = (route.limits.per_client, who.client()) {
            self.gateway.limiter.admit((&route.name, "client", who.issuer(), client), rate).map_err(limited)?;
        }
        if let Some(rate) = route.limits.per_subject {
            self.gateway.limiter.admit((&route.name, "subject", who.issuer(), who.subject(), who.kind()), rate).map_err(limited)?;
        }
        Ok(())
    }

    /// A challenge that this caller already heard for the same operation, and that cured nothing,
    /// becomes a plain no: a client that loops would go on for ever.
    fn insisted(&self, denial: Denial, errand: impl Hash, route: &Route) -> Denial {
        let what = match &denial.fault {
            Fault::InsufficientScope(scopes) => (None, None, scopes),
            Fault::StepUp { acr, max_age, scopes } => (Some(acr), *max_age, scopes),
            _ => return denial,
        };
        if self.gateway.insistence.may_challenge(errand, what, Instant::now()) {
            return denial;
        }
        self.gateway.metrics.step_up_loop(&route.name);
        Denial { fault: Fault::StepUpLoop, ..denial }
    }

    /// What is the matter with a tool that the rules would let be called, where tools are pinned.
    fn flaw(&mut self, route: &Route, judgement: &Judgement<'_>) -> Option<Flaw> {
        route.pin.as_ref()?;
        let flaw = self.world.vigils.flaw(&route.name, &judgement.message.operation)?;
        if judgement.decision.is_ok() {
            self.tale.tell(|event| event.reason = flaw.reason());
        }
        Some(flaw)
    }

    fn tell_judgement(&mut self, route: &Route, judgement: &Judgement<'_>) {
        let operation = &judgement.message.operation;
        let (rule, reason) = match &judgement.decision {
            Ok(permit) => match &judgement.restored {
                Ok(_) => (permit.rule(), PERMITTED),
                Err(fault) => (permit.rule(), Denial::from(fault.clone()).reason()),
            },
            Err(refusal) => (refusal.rule(), Denial::from(Fault::from(refusal)).reason()),
        };
        self.tale.tell(|event| {
            event.operation = operation.method.name;
            event.era = Some(judgement.message.era);
            event.name = named(operation);
            event.rule = rule.map(|rule| (rule.name.clone(), rule.place.clone()));
            event.reason = if event.reason == "client_gone" || reason != PERMITTED { reason } else { event.reason };
            event.arguments = operation.arguments.map(|arguments| *blake3::hash(arguments.get().as_bytes()).as_bytes());
            event.values = recorded(route, operation).map(Box::new);
        });
    }

    /// What the caller may see of lists; none where they pass uncut, because the rules are only observed.
    fn standing(&self, admitted: &Admitted) -> Option<Standing> {
        let route = &admitted.route;
        let caller = Caller { principal: &admitted.verified.principal, source: self.source, now: self.received };
        (route.mode == Mode::Enforce).then(|| route.policy.standing(caller, route.list == ListMode::Acquirable))
    }

    fn plan<'m>(&self, route: &Arc<Route>, admitted: &'m Admitted, judgement: &'m Judgement<'m>) -> Plan<'m>
    where
        'g: 'm,
    {
        let message = &judgement.message;
        let list = match message.operation.method.verb {
            Verb::List(kind) if route.mode == Mode::Enforce => Some(kind),
            _ => None,
        };
        let standing = list.and_then(|_| self.standing(admitted));
        Plan {
            route: route.clone(),
            nonce: None,
            era: message.era,
            id: message.id,
            list: list.zip(standing),
            resumed: None,
            asked: self.asked(admitted, Some(judgement)),
            attention: self.attention(admitted, judgement),
            legacy: None,
            lacking: Box::default(),
            until: admitted.verified.ends(),
            open: None,
            endless: message.operation.method.verb == Verb::Listen,
            repeatable: is_repeatable(message.operation.method),
            depth: self.world.config.limits.depth,
        }
    }

    /// The nonce for the client's next proof, given ahead (RFC 9449 §8.2).
    fn nonce(&self) -> Option<(HeaderName, HeaderValue)> {
        let nonce = self.world.proofs.nonce(self.received)?;
        Some((reply::DPOP_NONCE, HeaderValue::from_str(&nonce).ok()?))
    }

    pub(super) async fn deny(&mut self, session: &mut ServerSession, denial: &Denial, route: Option<&Route>) -> bool {
        self.tale.denied(denial);
        if let (Fault::Credential(error), Some(route)) = (&denial.fault, route) {
            hosted::advise(self.gateway, self.world, route, *error, &session.req_header().headers);
        }
        if matches!(denial.fault, Fault::ClientGone | Fault::BodyBroken) {
            return false;
        }
        drain_later(session, denial.fault == Fault::BodyTooLarge);
        let scheme = Scheme::of(&session.req_header().headers);
        let mut reply = denial.reply_to(scheme, route);
        if route.is_some_and(|route| route.sender.offered || scheme == Scheme::Dpop) {
            reply.headers_mut().extend(self.nonce());
        }
        reply::send(session, reply, &self.cors, self.tale.id()).await
    }
}

/// A tool call may have had its effect, and what an extension's method does nobody here knows.
fn is_repeatable(method: &mcp::Method) -> bool {
    match method.verb {
        Verb::Use(mcp::Kind::Tool, _) | Verb::Task | Verb::Point(..) => false,
        Verb::Plain => mcp::Method::find(method.name).is_some(),
        _ => true,
    }
}

/// Whose a stream will be.
pub(super) fn holder(admitted: &Admitted) -> Holder {
    Holder { upstream: admitted.route.name.clone(), who: admitted.verified.principal.clone() }
}

/// Lets a body that is still on its way be read for a moment after the answer: a connection that is
/// closed on unread bytes is reset, and the reset may overtake the answer. A known caller's body
/// that is too large is read for longer than a stranger's.
pub(super) fn drain_later(session: &mut ServerSession, known: bool) {
    let length = session.req_header().headers.get(http::header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let small = length.is_some_and(|length| length.parse::<usize>().is_ok_and(|length| length <= DRAINED));
    if !session.is_http2() && (small || known) {
        session.set_close_on_response_before_downstream_finish(false);
        session.set_total_drain_timeout(Some(Duration::from_millis(if known { 1_000 } else { 300 })));
    }
}

/// JSON and nothing else, uncompressed: what cannot be read here must not be read behind us.
fn check_media(headers: &HeaderMap) -> Result<(), Fault> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return Err(Fault::MediaType) };
    let text = only.to_str().map_err(|_| Fault::MediaType)?;
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let parameters = parameters.trim();
    let utf8 = parameters.is_empty() || ["charset=utf-8", "charset=\"utf-8\""].iter().any(|known| parameters.eq_ignore_ascii_case(known));
    if !essence.trim().eq_ignore_ascii_case("application/json") || !utf8 {
        return Err(Fault::MediaType);
    }
    match headers.get(CONTENT_ENCODING) {
        Some(coding) if !coding.as_bytes().eq_ignore_ascii_case(b"identity") => Err(Fault::ContentCoding),
        _ => Ok(()),
    }
}

/// The answer to a judged message that went wrong.
fn of(judgement: &Judgement<'_>, fault: Fault) -> Denial {
    Denial { fault, id: judgement.message.id.map(|id| id.as_json().to_owned()), era: Some(judgement.message.era) }
}

/// Who is about what: a caller by its program, and the operation with what it names. Programs that share a client id do not
/// share their loops.
fn errand<'a>(admitted: &'a Admitted, judgement: &'a Judgement<'_>, headers: &'a HeaderMap) -> impl Hash + 'a {
    let who = &admitted.verified.principal;
    let operation = &judgement.message.operation;
    let name = match &operation.target {
        Names::Nothing => "",
        Names::One(thing) => &*thing.name,
        Names::Each(things) => things.first().map_or("", |thing| &*thing.name),
    };
    let program = headers.get(USER_AGENT).map(HeaderValue::as_bytes);
    (&*admitted.route.name, who.issuer(), who.client(), who.subject(), program, operation.method.name, name)
}

/// Values of arguments that the operator wants to have of this call. SECURITY: of a tool that was named alone, for a task
/// names the tool that began it, and a call must be one.
fn recorded(route: &Route, operation: &Operation<'_>) -> Option<Values> {
    let Names::One(thing) = &operation.target else { return None };
    if !matches!(operation.method.verb, Verb::Use(Kind::Tool, _)) {
        return None;
    }
    Values::of(operation.arguments, route.recorded_arguments.get(&*thing.name)?)
}

fn named(operation: &Operation<'_>) -> Option<String> {
    match &operation.target {
        Names::Nothing => None,
        Names::One(thing) => Some(record::name(&thing.name)),
        Names::Each(things) => things.first().map(|thing| record::name(&thing.name)),
    }
}

/// The caller's trace context, from the message or the head.
fn parent(message: Option<&str>, headers: &HeaderMap) -> Option<Parent> {
    let header = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
    Parent::parse(message.or(header)?)
}
