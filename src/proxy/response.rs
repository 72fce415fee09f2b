//! What comes back: headers cleaned, lists cut, streams passed on event by event.
//!
//! A list is cut by the policy that decides calls. An answer that should be cut and cannot be read is
//! never passed on: before its head was sent it becomes a 502, afterwards the connection is cut.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use tokio::sync::watch;

use super::Gateway;
use super::asked::Questions;
use super::attention::{Attention, Watcher};
use super::dial::{Reached, gone};
use super::exchange::holder;
use super::record::Tale;
use super::reply::{self, Cors};
use super::results::{self, Asked, Gathered, Held, Looking};
use super::server::told_to_stop;
use crate::denial::Fault;
use crate::event::Outcome;
use crate::mcp::batch;
use crate::mcp::introduction;
use crate::mcp::listing::{self, Lens, Watch};
use crate::mcp::reverse;
use crate::mcp::sse::{SseFilter, Verdict};
use crate::mcp::{Era, Id, Kind};
use crate::policy::Standing;
use crate::route::Route;
use crate::session::{Seals, Session};
use crate::state::Snapshot;
use crate::streams::Open;

/// Bytes of a list, and of one event of a stream that must be read.
pub(super) const ANSWER: usize = 8 << 20;
/// Bytes of a stream that are taken in before what passed of them leaves, if they have arrived.
const TOGETHER: usize = 16 << 10;
/// For what is on its way when a stream is ended, and again for its last event.
const FAREWELL: Duration = Duration::from_millis(500);

/// What was decided about the answer when the request was judged.
pub struct Plan<'m> {
    pub route: Arc<Route>,
    /// For the client's next proof of possession.
    pub nonce: Option<(HeaderName, HeaderValue)>,
    pub era: Era,
    pub id: Option<Id<'m>>,
    /// The list that is asked for, and what the caller may see of it.
    pub list: Option<(Kind, Standing)>,
    /// What the caller may see of the lists that a stream of a session may deliver: answers to other requests too.
    pub resumed: Option<Standing>,
    pub asked: Asked<'m>,
    /// Of a legacy caller.
    pub legacy: Option<Legacy>,
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
    if let Some((name, value)) = &plan.nonce {
        clean.insert_header(name.clone(), value.clone()).map_err(|_| Fault::Internal)?;
    }
    if let Some((legacy, id)) = plan.legacy.as_ref().zip(answer.headers.get("mcp-session-id")) {
        let begun = id.to_str().ok().and_then(|id| legacy.seals.begun(&reached.mark, id)).ok_or(Fault::UpstreamSession)?;
        clean.insert_header("mcp-session-id", begun).map_err(|_| Fault::Internal)?;
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
        // Whatever the status: clients read bodies of refusals too. What is asked is recorded where all may be asked, too.
        (Form::Json, None) if !plan.endless => match results::gather(session, &mut reached, plan, tale, (sight, questions)).await? {
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
            Ok(Box::pin(events(gateway, session, reached, plan, tale, head, questions)).await)
        }
        // What a session is listened to with is a stream; anything else was never asked for.
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
/// of the upstream's, and no say in who may read it.
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
            | "link"
    ) || name.starts_with("access-control-")
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

/// Passes a stream that is known to the gateway for as long as it lasts.
async fn events(
    gateway: &Gateway,
    session: &mut ServerSession,
    reached: Reached,
    plan: &Plan<'_>,
    tale: &mut Tale<'_>,
    head: Head,
    questions: &Questions<'_>,
) -> bool {
    let _counted = gateway.metrics.stream(&plan.route.name);
    let answer;
    let open = match &plan.open {
        Some(open) => open,
        None => {
            answer = gateway.streams.answer(holder(plan.asked.admitted), tale.begun());
            &answer
        }
    };
    stream(gateway, session, reached, (plan, open), tale, head, questions).await
}

/// Passes a stream, event by event where its events must be read.
async fn stream(
    gateway: &Gateway,
    session: &mut ServerSession,
    mut reached: Reached,
    (plan, open): (&Plan<'_>, &Open),
    tale: &mut Tale<'_>,
    head: Head,
    questions: &Questions<'_>,
) -> bool {
    let mut header = head.header;
    let _ = header.insert_header("x-accel-buffering", "no");
    let _ = header.insert_header(CACHE_CONTROL, "no-store");
    let framed = session.is_http2() || header.insert_header(TRANSFER_ENCODING, "chunked").is_ok();
    if !framed || session.write_response_header(Box::new(header)).await.is_err() {
        return cut_short(tale, "client_gone");
    }
    let standing = plan.list.as_ref().map(|(_, standing)| standing).or(plan.resumed.as_ref());
    let mut name = |kind, cursor: &str| plan.seals().cursor(kind, cursor);
    let mut looking = Looking::new(plan);
    let answering = results::answering(plan);
    let mut filter = SseFilter::new(ANSWER);
    let mut refused = Vec::new();
    let mut expiry = pin!(tokio::time::sleep(left(plan, &gateway.state.current())));
    let watch =
        Watch { expected: plan.list.as_ref().map(|(kind, _)| *kind), resumed: plan.resumed.is_some(), era: plan.era, depth: plan.depth };
    let mut watcher = Watcher::new(plan, &gateway.introduced);
    let mut worlds = gateway.state.worlds();
    // What was revoked before this began to listen.
    worlds.mark_changed();
    // Made once, and not for every event.
    let mut world_next = pin!(changed(worlds));
    let mut ended = pin!(open.ended());
    let mut stopping = pin!(told_to_stop(&gateway.closing));
    loop {
        let waiting = Instant::now();
        let part = tokio::select! {
            biased;
            // First, so that an upstream that never pauses cannot put its end off.
            worlds = &mut world_next => {
                world_next.set(changed(worlds));
                tale.waited(waiting);
                let world = gateway.state.current();
                if let Err(denial) = plan.asked.admitted.since_revoked(&world, SystemTime::now()) {
                    return farewell(session, plan, tale, denial.reason()).await;
                }
                // The client may have been given another end.
                if let Some(end) = tokio::time::Instant::now().checked_add(left(plan, &world)) {
                    expiry.as_mut().reset(end);
                }
                let changes = if plan.endless { watcher.renewed(&world) } else { Vec::new() };
                if !changes.is_empty() && session.write_response_body(changes.into(), false).await.is_err() {
                    return cut_short(tale, "client_gone");
                }
                continue;
            }
            reason = &mut ended => return farewell(session, plan, tale, reason).await,
            () = &mut expiry => return farewell(session, plan, tale, spent(gateway, plan)).await,
            part = reached.session.read_response_body() => part,
            () = gone(session) => return cut_short(tale, "client_gone"),
            // A call's stream has an end, and is waited for like any call.
            // Later than the listeners close, where another process took over.
            () = &mut stopping, if plan.endless => return farewell(session, plan, tale, "stopping").await,
        };
        tale.waited(waiting);
        let mut cut = None;
        let mut out = Vec::new();
        let done = {
            let renewed = watcher.renewed_lists();
            if let Some((route, _)) = &renewed {
                looking.follow(route);
            }
            let (policy, standing) = renewed.as_ref().map_or((&plan.route.policy, standing), |(route, lists)| (&route.policy, Some(lists)));
            let seen = plan.resumed.as_ref().and(standing).map(|standing| (policy, standing));
            let mut shows = |kind: Kind, name: &str, item: &str| {
                let Some(standing) = standing else { return true };
                is_as_approved(gateway, plan, kind, name, item) && policy.shows(standing, kind, name)
            };
            let mut lists = |data: &[u8]| listing::judge_items(data, watch, &mut shows, Some(&mut name));
            let mut rest = |data: &[u8]| watcher.judge(data, watch).unwrap_or_else(|| looking.event(data, &mut lists));
            let mut one = |data: &[u8]| match reverse::is_report(data, plan.depth) {
                true => Verdict::Pass,
                false => questions.judge(data, plan, seen, &mut refused).unwrap_or_else(|| rest(data)),
            };
            let mut push = |part: &[u8], out: &mut Vec<u8>| match &plan.legacy {
                None => filter.push(part, &mut one, out),
                Some(Legacy { seals, session }) => {
                    let mut judge = |data: &[u8]| batch::judge_each(data, plan.depth, &mut one);
                    filter.push_named(part, &mut judge, Some(&mut |id| seals.event(session.as_ref(), answering, id)), out)
                }
            };
            let (mut next, mut taken) = (part, 0);
            // What has arrived already leaves together; nothing that has is kept back for what has not.
            loop {
                let Ok(part) = next else {
                    cut = Some("upstream_broken");
                    break false;
                };
                let done = part.is_none() || reached.session.response_done();
                taken += part.as_ref().map_or(0, Bytes::len);
                if part.is_some_and(|part| push(&part, &mut out).is_err()) {
                    cut = Some("unreadable_list");
                    break false;
                }
                // What is dropped counts too: nobody who sends it may put off the end of the stream.
                if done || taken >= TOGETHER {
                    break done;
                }
                match reached.session.read_response_body().now_or_never() {
                    Some(read) => next = read,
                    None => break false,
                }
            }
        };
        looking.tell(tale);
        let over = {
            let mut write = pin!(session.write_response_body(out.into(), done));
            let over = tokio::select! {
                biased;
                written = &mut write => written.map(|()| None).map_err(|_| "client_gone"),
                reason = &mut ended => Ok(Some(reason)),
                () = &mut expiry => Ok(Some(spent(gateway, plan))),
            };
            match over {
                // Who reads slowly has a moment; who does not read is not waited for.
                Ok(Some(reason)) => match tokio::time::timeout(FAREWELL, write).await {
                    Ok(Ok(())) => Ok(Some(reason).filter(|_| !done)),
                    Ok(Err(_)) | Err(_) => Err(reason),
                },
                other => other,
            }
        };
        match over {
            Ok(None) => {}
            Ok(Some(reason)) => return farewell(session, plan, tale, reason).await,
            Err(reason) => return cut_short(tale, reason),
        }
        if let Some(reason) = cut {
            return cut_short(tale, reason);
        }
        if !refused.is_empty() {
            Box::pin(questions.decline(session, plan, tale, std::mem::take(&mut refused))).await;
        }
        if done {
            gateway.upstreams.release(reached).await;
            return true;
        }
    }
}

/// Waits for the next world, or for something to be revoked in this one.
async fn changed(mut worlds: watch::Receiver<u64>) -> watch::Receiver<u64> {
    if worlds.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    worlds
}

/// How long a stream may still last: as long as its caller's token and the approval of its client.
fn left(plan: &Plan<'_>, world: &Snapshot) -> Duration {
    let ends = plan.asked.admitted.approved_until(world).map_or(plan.until, |until| until.min(plan.until));
    ends.duration_since(SystemTime::now()).unwrap_or_default()
}

/// Why it may last no longer.
fn spent(gateway: &Gateway, plan: &Plan<'_>) -> &'static str {
    let now = SystemTime::now();
    plan.asked.admitted.since_revoked(&gateway.state.current(), now).err().map_or("token_expired", |denial| denial.reason())
}

/// Ends a stream before its own end, in the way of its era: a subscription has a result (MCP 2026-07-28
/// "Graceful Closure"), an older stream just closes and may be resumed.
async fn farewell(session: &mut ServerSession, plan: &Plan<'_>, tale: &mut Tale<'_>, reason: &'static str) -> bool {
    tale.tell(|event| event.reason = reason);
    let last = match (plan.era, plan.id) {
        (Era::Modern, Some(id)) if plan.endless => {
            let id = id.as_json();
            format!(
                "data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"resultType\":\"complete\",\"_meta\":{{\"io.modelcontextprotocol/subscriptionId\":{id}}}}}}}\n\n"
            )
        }
        _ => String::new(),
    };
    // A reader who has stopped is not waited for.
    let written = tokio::time::timeout(FAREWELL, session.write_response_body(Bytes::from(last), true)).await;
    matches!(written, Ok(Ok(()))) && plan.endless
}

/// The answer had begun and cannot be finished: the connection says so.
fn cut_short(tale: &mut Tale<'_>, reason: &'static str) -> bool {
    tale.tell(|event| {
        event.outcome = Outcome::Failed;
        event.reason = reason;
    });
    false
}
