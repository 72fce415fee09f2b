//! What comes back: headers cleaned, lists cut.
//!
//! A list is cut by the policy that decides calls. An answer that should be cut and cannot be read is
//! never passed on: before its head was sent it becomes a 502, afterwards the connection is cut.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;

use super::Gateway;
use super::asked::Questions;
use super::attention::{Attending, Attention};
use super::dial::{Reached, gone};
use super::record::Tale;
use super::reply::{self, Cors};
use super::results::{self, Asked, Gathered, Held};
use super::stream;
use super::upstream::SESSION;
use crate::denial::Fault;
use crate::event::Outcome;
use crate::mcp::ask::Asks;
use crate::mcp::introduction;
use crate::mcp::listing::{self, Lens};
use crate::mcp::mirror::Lacking;
use crate::mcp::{Era, Id, Kind, Verb};
use crate::policy::Standing;
use crate::route::Route;
use crate::session::{Seals, Session};
use crate::streams::Open;

/// Bytes of a list, and of one event of a stream that must be read.
pub(super) const ANSWER: usize = 8 << 20;

/// What was decided about the answer when the request was judged.
pub struct Plan<'m> {
    pub route: Arc<Route>,
    /// For the client's next proof of possession.
    pub nonce: Option<HeaderValue>,
    pub era: Era,
    pub id: Option<Id<'m>>,
    /// The list that is asked for, and what the caller may see of it.
    pub list: Option<(Kind, Standing)>,
    /// What the caller may see of the lists that a stream of a session may deliver: answers to other requests too.
    pub resumed: Option<Standing>,
    pub asked: Asked<'m>,
    /// Of a legacy caller.
    pub legacy: Option<Legacy>,
    /// Headers that repeat arguments, and that the client may leave out and did.
    pub lacking: Box<[Lacking]>,
    /// When the caller's token ends, and with it every stream.
    pub until: SystemTime,
    /// Whether it does no harm to ask again.
    pub repeatable: bool,
    pub depth: usize,
    /// Whether the answer is a stream without an end of its own.
    pub endless: bool,
    /// The place of such a stream.
    pub open: Option<Box<Open>>,
    /// What else the answer is looked at for.
    pub attention: Option<Box<Attention>>,
}

impl Plan<'_> {
    /// The seals of the caller.
    pub fn seals(&self) -> Seals {
        self.legacy.as_ref().map_or_else(|| self.asked.seals(), |legacy| legacy.seals.clone())
    }

    /// Who listens, on a stream without an end.
    pub fn attending(&self) -> Option<&Attending> {
        match self.attention.as_deref() {
            Some(Attention::Stream(attending)) => Some(attending),
            Some(Attention::Introduction) | None => None,
        }
    }

    /// What the client says that it can answer, with each message or when its session began; none where nobody knows.
    pub fn declared(&self) -> Option<Asks> {
        match &self.legacy {
            None => self.asked.judgement.map(|judgement| judgement.message.answers),
            Some(legacy) => legacy.session.as_ref().map(|session| session.declared),
        }
    }
}

/// What the client declares of which the session of this answer is. Servers name it in every answer; only the first has a
/// message that says so.
fn declared(plan: &Plan<'_>) -> Asks {
    let message = plan.asked.judgement.map(|judgement| &judgement.message);
    match message.filter(|message| message.operation.method.verb == Verb::Introduce) {
        Some(message) => message.answers,
        None => plan.declared().unwrap_or_default(),
    }
}

/// What a legacy answer is sealed with.
pub struct Legacy {
    pub seals: Seals,
    pub session: Option<Session>,
}

pub(super) enum Form {
    Json,
    Events,
    Other,
    /// JSON or events in another encoding than UTF-8: the client would read something else than was judged.
    Foreign,
}

/// Passes the answer on. `Ok(false)` where the client's connection must be given up; `Err` only
/// before anything was sent.
pub async fn relay(
    gateway: &Gateway,
    session: &mut ServerSession,
    mut reached: Reached,
    plan: &Plan<'_>,
    tale: &mut Tale<'_>,
    cors: &Cors,
    questions: &Questions<'_>,
) -> Result<bool, Fault> {
    let Some(answer) = reached.session.response_header() else { return Err(Fault::UpstreamUnreachable) };
    let status = answer.status.as_u16();
    check_head(answer)?;
    let form = form(&answer.headers);
    let success = answer.status.is_success();
    let mut clean = header(answer, cors, tale.id()).ok_or(Fault::Internal)?;
    if let Some(nonce) = &plan.nonce {
        clean.insert_header(reply::DPOP_NONCE, nonce.clone()).map_err(|_| Fault::Internal)?;
    }
    if let Some(legacy) = &plan.legacy
        && let Some(id) = answer.headers.get(SESSION)
    {
        let begun = id.to_str().ok().and_then(|id| legacy.seals.begun(&reached.mark, declared(plan), id)).ok_or(Fault::UpstreamSession)?;
        clean.insert_header(SESSION, begun).map_err(|_| Fault::Internal)?;
    }
    let head = Head { header: clean, length: answer.headers.get(CONTENT_LENGTH).cloned() };
    let sight = results::sight(plan);
    match (form, &plan.list) {
        (Form::Foreign, _) => Err(Fault::UpstreamCoding),
        (Form::Json, Some((kind, standing))) => {
            let body = collect(session, &mut reached, plan, tale).await?;
            let cut = match cut(gateway, plan, *kind, standing, &body) {
                // What a server of another era, or something before it, says instead of a list is passed as it is: clients
                // that speak both eras go by it (MCP 2026-07-28 "Backward Compatibility").
                Err(_) if !success && listing::holds_none(&body, plan.depth) => body,
                cut => cut?,
            };
            tale.tell(|event| event.status = status);
            gateway.upstreams.release(reached).await;
            Ok(send_whole(session, head.header, cut).await)
        }
        (Form::Json, None) if success && introduces(plan) => {
            let body = collect(session, &mut reached, plan, tale).await?;
            let offer = plan.route.protocol.offer(&plan.route.policy);
            let (cut, told) = introduction::cut(&body, offer, plan.depth).map_err(|_| Fault::UnreadableList)?;
            gateway.introduced.note(&plan.route.name, told);
            tale.tell(|event| event.status = status);
            gateway.upstreams.release(reached).await;
            Ok(send_whole(session, head.header, cut.into()).await)
        }
        // What a session is listened to with is a stream; anything else was never asked for.
        (Form::Json, None) if plan.endless && plan.era == Era::Legacy && success => Err(Fault::UnreadableList),
        // Whatever the status: clients read bodies of refusals too. What is asked is recorded where all may be asked, too.
        (Form::Json, None) => match results::gather(session, &mut reached, plan, tale, (sight, questions)).await? {
            Gathered::Replaced(body) => {
                tale.tell(|event| event.status = status);
                gateway.upstreams.release(reached).await;
                Ok(send_whole(session, head.header, body).await)
            }
            Gathered::AsItIs(held) => {
                tale.tell(|event| event.status = status);
                Ok(pass(gateway, session, reached, plan, tale, head, Some(held)).await)
            }
        },
        (Form::Events, _) => {
            tale.tell(|event| event.status = status);
            // On the heap: the task of a connection without a stream need not make room for one.
            Ok(Box::pin(stream::relay(gateway, session, reached, plan, tale, head.header, questions)).await)
        }
        _ if plan.endless && plan.era == Era::Legacy && success => Err(Fault::UnreadableList),
        (_, list) if (list.is_some() || sight.lists_tasks || introduces(plan)) && success && status != 202 && status != 204 => {
            Err(Fault::UnreadableList)
        }
        _ => {
            tale.tell(|event| event.status = status);
            Ok(pass(gateway, session, reached, plan, tale, head, None).await)
        }
    }
}

/// What no client is to see: a challenge, a redirect, an encoding that was not asked for.
pub(super) fn check_head(answer: &ResponseHeader) -> Result<(), Fault> {
    match answer.status.as_u16() {
        401 | 407 => return Err(Fault::UpstreamUnauthorized),
        300..=399 => return Err(Fault::UpstreamRedirect),
        _ => {}
    }
    let coded = answer.headers.get(CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if coded { Err(Fault::UpstreamCoding) } else { Ok(()) }
}

fn introduces(plan: &Plan<'_>) -> bool {
    matches!(plan.attention.as_deref(), Some(Attention::Introduction))
}

struct Head {
    header: ResponseHeader,
    length: Option<HeaderValue>,
}

pub(super) fn form(headers: &HeaderMap) -> Form {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let text = types.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
    // SECURITY: clients join what comes twice, and look for a type anywhere in the text.
    if types.next().is_some() {
        return Form::Foreign;
    }
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let form = match essence.trim() {
        json if json.eq_ignore_ascii_case("application/json") => Form::Json,
        events if events.eq_ignore_ascii_case("text/event-stream") => Form::Events,
        _ if ["application/json", "text/event-stream"].iter().any(|known| text.to_ascii_lowercase().contains(known)) => {
            return Form::Foreign;
        }
        _ => return Form::Other,
    };
    let parameters = parameters.to_ascii_lowercase();
    let charset = parameters.split(';').find_map(|one| Some(one.trim().strip_prefix("charset=")?.trim_matches('"')));
    if charset.is_none_or(|charset| charset == "utf-8") { form } else { Form::Foreign }
}

/// The head for the client, without its length: nothing hop-by-hop, no cookie, challenge or session
/// of the upstream's, no say in who may read it, and nothing that works on our origin or on a proxy before us.
fn header(answer: &ResponseHeader, cors: &Cors, id: &str) -> Option<ResponseHeader> {
    // The framework's own builder copies every name.
    let mut headers = HeaderMap::with_capacity(answer.headers.len() + 6);
    for (name, value) in &answer.headers {
        if !is_kept_back(name.as_str()) {
            headers.try_append(name.clone(), value.clone()).ok()?;
        }
    }
    for (name, value) in cors.headers() {
        headers.try_insert(name, value).ok()?;
    }
    headers.try_insert(reply::REQUEST_ID, HeaderValue::from_str(id).ok()?).ok()?;
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = answer.status;
    parts.headers = headers;
    Some(parts.into())
}

fn is_kept_back(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "content-length"
            | "content-encoding"
            | "set-cookie"
            | "www-authenticate"
            | "proxy-authenticate"
            | "authentication-info"
            | "dpop-nonce"
            | "mcp-session-id"
            | "alt-svc"
            | "strict-transport-security"
            | "date"
            | "doorward-request-id"
            | "vary"
            | "refresh"
            | "location"
            | "content-location"
            | "link"
            | "set-cookie2"
            | "proxy-authentication-info"
            // What browsers would do to all of our origin.
            | "clear-site-data"
            | "service-worker-allowed"
            | "nel"
            | "report-to"
            | "reporting-endpoints"
            | "public-key-pins"
            // What a proxy or cache before us would do.
            | "cdn-cache-control"
            | "surrogate-control"
            | "x-sendfile"
            | "x-lighttpd-send-file"
    ) || name.starts_with("access-control-")
        || name.starts_with("x-accel-")
}

/// Reads a whole answer, bounded in size, and in time as a whole.
pub(super) async fn collect(
    session: &mut ServerSession,
    reached: &mut Reached,
    plan: &Plan<'_>,
    tale: &mut Tale<'_>,
) -> Result<Bytes, Fault> {
    let waiting = Instant::now();
    let read = async {
        let mut whole = BytesMut::new();
        while let Some(part) = reached.session.read_response_body().await.map_err(|_| Fault::UnreadableList)? {
            if whole.is_empty() && reached.session.response_done() {
                return Ok(part);
            }
            if whole.len() + part.len() > ANSWER {
                return Err(Fault::UnreadableList);
            }
            whole.extend_from_slice(&part);
        }
        Ok(whole.freeze())
    };
    let body = tokio::select! {
        biased;
        body = tokio::time::timeout(plan.route.limits.timeout, read) => body.unwrap_or(Err(Fault::UpstreamTimeout)),
        () = gone(session) => Err(Fault::ClientGone),
    };
    tale.waited(waiting);
    body
}

/// The list as the caller may see it. The same answer to the same standing is not read twice.
pub(super) fn cut(gateway: &Gateway, plan: &Plan<'_>, kind: Kind, standing: &Standing, body: &[u8]) -> Result<Bytes, Fault> {
    let lens = Lens { kind, era: plan.era, depth: plan.depth };
    let mut names = Vec::new();
    let world = gateway.state.current();
    let vigil = if kind == Kind::Tool { world.vigils.find(&plan.route.name) } else { None };
    let mut shows = |name: &str, item: &str| {
        if kind == Kind::Tool {
            names.push(name.to_owned());
        }
        // Seen in any case: what one caller's list shows of a change counts for all.
        vigil.is_none_or(|vigil| vigil.see(name, item)) && plan.route.policy.shows(standing, kind, name)
    };
    // Without a cursor equal standings see equal lists; a cursor is each caller's own.
    let seals = listing::may_go_on(body).then(|| plan.seals());
    let key = (plan.route.name.clone(), standing.clone(), vigil.map_or(0, |vigil| vigil.changes()), seals.as_ref().map(Seals::owner));
    let mut name = |kind, cursor: &str| seals.as_ref()?.cursor(kind, cursor);
    let naming: Option<listing::Naming<'_>> = if seals.is_some() { Some(&mut name) } else { None };
    // SECURITY: what an older world's rules show is not remembered for those of a newer one.
    let remembered = plan.id.filter(|_| std::ptr::eq(plan.asked.world, &*world));
    let out = match remembered {
        Some(id) => world.lists.cut(&key, id, body, lens, &mut shows, naming),
        None => listing::cut_items(body, lens, &mut shows, naming).map(|cut| cut.body),
    };
    if !names.is_empty() {
        gateway.metrics.learn(&plan.route.name, names.iter().map(String::as_str));
        gateway.mirrors.learn(&plan.route.name, body);
    }
    out.map(Bytes::from).map_err(|_| Fault::UnreadableList)
}

/// Of a pinned upstream. A stream may live longer than the approvals that it began under.
pub(super) fn is_as_approved(gateway: &Gateway, plan: &Plan<'_>, kind: Kind, name: &str, item: &str) -> bool {
    if kind != Kind::Tool {
        return true;
    }
    gateway.state.current().vigils.find(&plan.route.name).is_none_or(|vigil| vigil.see(name, item))
}

async fn send_whole(session: &mut ServerSession, mut header: ResponseHeader, body: Bytes) -> bool {
    header.remove_header("etag");
    header.remove_header("digest");
    header.remove_header("content-digest");
    header.remove_header("repr-digest");
    header.remove_header("content-md5");
    let set = header.insert_header(CONTENT_LENGTH, HeaderValue::from(body.len())).is_ok()
        && header.insert_header(CACHE_CONTROL, "private, no-store").is_ok();
    set && session.write_response_header(Box::new(header)).await.is_ok() && session.write_response_body(body, true).await.is_ok()
}

/// Passes an answer as it is; what of it was read already comes first.
async fn pass(
    gateway: &Gateway,
    session: &mut ServerSession,
    mut reached: Reached,
    plan: &Plan<'_>,
    tale: &mut Tale<'_>,
    head: Head,
    held: Option<Held>,
) -> bool {
    let Head { mut header, length } = head;
    let bodiless = matches!(header.status.as_u16(), 204 | 304);
    let framed = match length {
        Some(length) => header.insert_header(CONTENT_LENGTH, length),
        None if session.is_http2() || bodiless => Ok(()),
        None => header.insert_header(TRANSFER_ENCODING, "chunked"),
    };
    if framed.is_err() || session.write_response_header(Box::new(header)).await.is_err() {
        return false;
    }
    let (mut held, mut watcher) = match held {
        Some(Held { part, done: true, .. }) => {
            if session.write_response_body(part, true).await.is_err() {
                return cut_short(tale, "client_gone");
            }
            gateway.upstreams.release(reached).await;
            return true;
        }
        Some(Held { part, watcher, .. }) => (Some(part), watcher),
        None => (None, None),
    };
    loop {
        let part = if let Some(held) = held.take() {
            Some(held)
        } else {
            let waiting = Instant::now();
            let part = tokio::select! {
                biased;
                part = reached.session.read_response_body() => part,
                () = gone(session) => return cut_short(tale, "client_gone"),
                () = tokio::time::sleep(plan.route.limits.timeout) => return cut_short(tale, "upstream_timeout"),
            };
            tale.waited(waiting);
            let Ok(part) = part else { return cut_short(tale, "upstream_broken") };
            // SECURITY: cut here it is no JSON, and nobody asks anything with it.
            if watcher.as_mut().is_some_and(|watcher| watcher.sees(part.as_deref().unwrap_or_default())) {
                return cut_short(tale, "server_request");
            }
            part
        };
        let done = part.is_none() || reached.session.response_done();
        if session.write_response_body(part.unwrap_or_default(), done).await.is_err() {
            return cut_short(tale, "client_gone");
        }
        if done {
            gateway.upstreams.release(reached).await;
            return true;
        }
    }
}

/// The answer had begun and cannot be finished: the connection says so.
pub(super) fn cut_short(tale: &mut Tale<'_>, reason: &'static str) -> bool {
    tale.tell(|event| {
        event.outcome = Outcome::Failed;
        event.reason = reason;
    });
    false
}
