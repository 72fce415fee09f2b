//! What comes back: headers cleaned, lists cut, streams passed on event by event.
//!
//! A list is cut by the policy that decides calls. An answer that should be cut and cannot be read is
//! never passed on: before its head was sent it becomes a 502, afterwards the connection is cut.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;

use super::Gateway;
use super::attention::{Attention, Watcher};
use super::dial::{Reached, gone};
use super::record::Tale;
use super::reply::Cors;
use super::server::told_to_stop;
use crate::denial::Fault;
use crate::event::Outcome;
use crate::mcp::listing::{self, Lens, Watch};
use crate::mcp::sse::{SseFilter, Verdict};
use crate::mcp::{Era, Id, Kind};
use crate::mcp::{introduction, reverse};
use crate::policy::Standing;
use crate::route::Route;
use crate::session::{Seals, Session};

/// Bytes of a list, and of one event of a stream that must be read.
const ANSWER: usize = 8 << 20;

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
    /// Of a legacy caller.
    pub legacy: Option<Legacy>,
    /// When the caller's token ends, and with it every stream.
    pub until: SystemTime,
    /// Whether it does no harm to ask again.
    pub repeatable: bool,
    pub depth: usize,
    /// Whether the answer is a stream without an end of its own.
    pub endless: bool,
    /// What else the answer is looked at for.
    pub attention: Option<Box<Attention>>,
}

/// What a legacy answer is sealed with.
pub struct Legacy {
    pub seals: Seals,
    pub session: Option<Session>,
}

enum Form {
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
) -> Result<bool, Fault> {
    let Some(answer) = reached.session.response_header() else { return Err(Fault::UpstreamUnreachable) };
    let status = answer.status.as_u16();
    match status {
        401 | 407 => return Err(Fault::UpstreamUnauthorized),
        300..=399 => return Err(Fault::UpstreamRedirect),
        _ => {}
    }
    if answer.headers.get(CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Fault::UpstreamCoding);
    }
    let form = form(&answer.headers);
    let success = answer.status.is_success();
    let mut clean = header(answer, cors, tale.id())?;
    if let Some((name, value)) = &plan.nonce {
        clean.insert_header(name.clone(), value.clone()).map_err(|_| Fault::Internal)?;
    }
    if let Some((legacy, id)) = plan.legacy.as_ref().zip(answer.headers.get("mcp-session-id")) {
        let begun = id.to_str().ok().and_then(|id| legacy.seals.begun(&reached.mark, id)).ok_or(Fault::UpstreamSession)?;
        clean.insert_header("mcp-session-id", begun).map_err(|_| Fault::Internal)?;
    }
    let head = Head { header: clean, length: answer.headers.get(CONTENT_LENGTH).cloned() };
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
        (Form::Events, _) => {
            let _open = gateway.metrics.stream(&plan.route.name);
            tale.tell(|event| event.status = status);
            Ok(stream(gateway, session, reached, plan, tale, head).await)
        }
        // What a session is listened to with is a stream; anything else was never asked for.
        _ if plan.endless && plan.era == Era::Legacy && success => Err(Fault::UnreadableList),
        (_, list) if (list.is_some() || introduces(plan)) && success && status != 202 && status != 204 => Err(Fault::UnreadableList),
        _ => {
            tale.tell(|event| event.status = status);
            Ok(pass(gateway, session, reached, plan, tale, head).await)
        }
    }
}

fn introduces(plan: &Plan<'_>) -> bool {
    matches!(plan.attention.as_deref(), Some(Attention::Introduction))
}

struct Head {
    header: ResponseHeader,
    length: Option<HeaderValue>,
}

fn form(headers: &HeaderMap) -> Form {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let form = match essence.trim() {
        json if json.eq_ignore_ascii_case("application/json") => Form::Json,
        events if events.eq_ignore_ascii_case("text/event-stream") => Form::Events,
        _ => return Form::Other,
    };
    let parameters = parameters.to_ascii_lowercase();
    let charset = parameters.split(';').find_map(|one| Some(one.trim().strip_prefix("charset=")?.trim_matches('"')));
    if charset.is_none_or(|charset| charset == "utf-8") { form } else { Form::Foreign }
}

/// The head for the client, without its length: nothing hop-by-hop, no cookie, challenge or session
/// of the upstream's, and no say in who may read it.
fn header(answer: &ResponseHeader, cors: &Cors, id: &str) -> Result<ResponseHeader, Fault> {
    let mut header = ResponseHeader::build_no_case(answer.status, Some(answer.headers.len() + 4)).map_err(|_| Fault::Internal)?;
    for (name, value) in &answer.headers {
        if !is_kept_back(name.as_str()) {
            header.append_header(name.clone(), value.clone()).map_err(|_| Fault::Internal)?;
        }
    }
    for (name, value) in cors.headers() {
        header.insert_header(name, value).map_err(|_| Fault::Internal)?;
    }
    header.insert_header("doorward-request-id", id).map_err(|_| Fault::Internal)?;
    Ok(header)
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
async fn collect(session: &mut ServerSession, reached: &mut Reached, plan: &Plan<'_>, tale: &mut Tale<'_>) -> Result<Bytes, Fault> {
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
fn cut(gateway: &Gateway, plan: &Plan<'_>, kind: Kind, standing: &Standing, body: &[u8]) -> Result<Bytes, Fault> {
    let lens = Lens { kind, era: plan.era, depth: plan.depth };
    let mut names = Vec::new();
    let mut shows = |name: &str| {
        if kind == Kind::Tool {
            names.push(name.to_owned());
        }
        plan.route.policy.shows(standing, kind, name)
    };
    let lists = &gateway.state.current().lists;
    let key = (plan.route.name.clone(), standing.clone());
    let out = match plan.id {
        Some(id) => lists.cut(&key, id, body, lens, &mut shows),
        None => listing::cut(body, lens, &mut shows).map(|cut| cut.body),
    };
    if !names.is_empty() {
        gateway.metrics.learn(&plan.route.name, names.iter().map(String::as_str));
        gateway.mirrors.learn(&plan.route.name, body);
    }
    out.map(Bytes::from).map_err(|_| Fault::UnreadableList)
}

async fn send_whole(session: &mut ServerSession, mut header: ResponseHeader, body: Bytes) -> bool {
    header.remove_header("etag");
    header.remove_header("digest");
    header.remove_header("content-digest");
    let set = header.insert_header(CONTENT_LENGTH, HeaderValue::from(body.len())).is_ok()
        && header.insert_header(CACHE_CONTROL, "private, no-store").is_ok();
    set && session.write_response_header(Box::new(header)).await.is_ok() && session.write_response_body(body, true).await.is_ok()
}

/// Passes an answer as it is.
async fn pass(
    gateway: &Gateway,
    session: &mut ServerSession,
    mut reached: Reached,
    plan: &Plan<'_>,
    tale: &mut Tale<'_>,
    head: Head,
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
    loop {
        let waiting = Instant::now();
        let part = tokio::select! {
            biased;
            part = reached.session.read_response_body() => part,
            () = gone(session) => return cut_short(tale, "client_gone"),
            () = tokio::time::sleep(plan.route.limits.timeout) => return cut_short(tale, "upstream_timeout"),
        };
        tale.waited(waiting);
        let Ok(part) = part else { return cut_short(tale, "upstream_broken") };
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

/// Passes a stream, event by event where its events must be read.
async fn stream(
    gateway: &Gateway,
    session: &mut ServerSession,
    mut reached: Reached,
    plan: &Plan<'_>,
    tale: &mut Tale<'_>,
    head: Head,
) -> bool {
    let mut header = head.header;
    let _ = header.insert_header("x-accel-buffering", "no");
    let _ = header.insert_header(CACHE_CONTROL, "no-store");
    let framed = session.is_http2() || header.insert_header(TRANSFER_ENCODING, "chunked").is_ok();
    if !framed || session.write_response_header(Box::new(header)).await.is_err() {
        return cut_short(tale, "client_gone");
    }
    let standing = plan.list.as_ref().map(|(_, standing)| standing).or(plan.resumed.as_ref());
    let mut shows = |kind: Kind, name: &str| standing.is_none_or(|standing| plan.route.policy.shows(standing, kind, name));
    let mut filter = SseFilter::new(ANSWER);
    let mut expiry = pin!(tokio::time::sleep(plan.until.duration_since(SystemTime::now()).unwrap_or_default()));
    let watch =
        Watch { expected: plan.list.as_ref().map(|(kind, _)| *kind), resumed: plan.resumed.is_some(), era: plan.era, depth: plan.depth };
    let mut watcher = Watcher::new(plan, &gateway.introduced);
    let mut worlds = gateway.state.worlds();
    loop {
        let waiting = Instant::now();
        let part = tokio::select! {
            biased;
            part = reached.session.read_response_body() => part,
            () = gone(session) => return cut_short(tale, "client_gone"),
            Ok(()) = worlds.changed(), if plan.endless => {
                tale.waited(waiting);
                let changes = watcher.renewed(&gateway.state.current());
                if !changes.is_empty() && session.write_response_body(changes.into(), false).await.is_err() {
                    return cut_short(tale, "client_gone");
                }
                continue;
            }
            // A call's stream has an end, and is waited for like any call.
            // Later than the listeners close, where another process took over.
            () = told_to_stop(&gateway.closing), if plan.endless => return farewell(session, plan, tale, "stopping").await,
            () = &mut expiry => return farewell(session, plan, tale, "token_expired").await,
        };
        tale.waited(waiting);
        let Ok(part) = part else { return cut_short(tale, "upstream_broken") };
        let done = part.is_none() || reached.session.response_done();
        let out = match part {
            None => Bytes::new(),
            Some(part) => {
                let mut out = Vec::with_capacity(part.len());
                let pushed = match &plan.legacy {
                    None => {
                        let mut judge =
                            |data: &[u8]| watcher.judge(data, watch).unwrap_or_else(|| listing::judge_event(data, watch, &mut shows));
                        filter.push(&part, &mut judge, &mut out)
                    }
                    Some(Legacy { seals, session }) => {
                        let mut judge = |data: &[u8]| match reverse::rename(data, plan.depth, &mut |id| seals.request(session.as_ref(), id))
                        {
                            Ok(Some(renamed)) => Verdict::Replace(renamed),
                            Ok(None) => watcher.judge(data, watch).unwrap_or_else(|| listing::judge_event(data, watch, &mut shows)),
                            Err(_) => Verdict::Unreadable,
                        };
                        filter.push_named(&part, &mut judge, Some(&mut |id| seals.event(session.as_ref(), id)), &mut out)
                    }
                };
                if pushed.is_err() {
                    return cut_short(tale, "unreadable_list");
                }
                Bytes::from(out)
            }
        };
        if session.write_response_body(out, done).await.is_err() {
            return cut_short(tale, "client_gone");
        }
        if done {
            gateway.upstreams.release(reached).await;
            return true;
        }
    }
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
    session.write_response_body(Bytes::from(last), true).await.is_ok() && plan.endless
}

/// The answer had begun and cannot be finished: the connection says so.
fn cut_short(tale: &mut Tale<'_>, reason: &'static str) -> bool {
    tale.tell(|event| {
        event.outcome = Outcome::Failed;
        event.reason = reason;
    });
    false
}
