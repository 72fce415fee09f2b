//! A stream of events on its way to the client: each one judged, all of it ended when it must end.
//!
//! Knows sockets; what is done with one event stands in [`Sieve`].

use std::pin::{Pin, pin};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CACHE_CONTROL, TRANSFER_ENCODING};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use tokio::sync::watch;
use tokio::time::Sleep;

use super::asked::Questions;
use super::attention::Watcher;
use super::dial::{Reached, gone};
use super::exchange::holder;
use super::record::Tale;
use super::response::{ANSWER, Legacy, Plan, cut_short, is_as_approved};
use super::results::{self, Looking};
use super::server::told_to_stop;
use super::{Gateway, gathered};
use crate::denial::Fault;
use crate::mcp::listing::{self, Unreadable, Watch};
use crate::mcp::sse::{SseFilter, Verdict};
use crate::mcp::{Era, Kind, batch, listen, related, result, reverse};
use crate::policy::Standing;
use crate::state::Snapshot;
use crate::streams::Open;

/// Bytes of a stream that are taken in before what passed of them leaves, if they have arrived.
const TOGETHER: usize = 16 << 10;
/// How an answer begins, before its result.
const ANSWERS: &[u8] = br#"{"jsonrpc":"2.0","id":0,"result":"#;
/// For what is on its way when a stream is ended, and again for its last event.
const FAREWELL: Duration = Duration::from_millis(500);

/// Passes a stream that is known to the gateway for as long as it lasts. `false` where the connection must be given up.
pub async fn relay(
    gateway: &Gateway,
    session: &mut ServerSession,
    reached: Reached,
    plan: &Plan<'_>,
    tale: &mut Tale<'_>,
    header: ResponseHeader,
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
    pass(gateway, session, reached, (plan, open), tale, (header, questions)).await
}

/// Sends the head; with what `follows` at once, if anything does.
async fn begin(session: &mut ServerSession, mut header: ResponseHeader, follows: bool) -> bool {
    let _ = header.insert_header("x-accel-buffering", "no");
    let _ = header.insert_header(CACHE_CONTROL, "no-store");
    let framed = session.is_http2() || header.insert_header(TRANSFER_ENCODING, "chunked").is_ok();
    gathered::hold(session, follows);
    let begun = framed && session.write_response_header(Box::new(header)).await.is_ok();
    gathered::hold(session, false);
    begun
}

/// Sends what goes on of a stream; if it is the last, with the end of the stream.
async fn write(session: &mut ServerSession, out: Bytes, done: bool) -> pingora::Result<()> {
    if !done || out.is_empty() || session.is_http2() {
        return session.write_response_body(out, done).await;
    }
    gathered::hold(session, true);
    let written = session.write_response_body(out, false).await;
    gathered::hold(session, false);
    written?;
    session.write_response_body(Bytes::new(), true).await
}

/// Passes it, event by event where its events must be read.
async fn pass(
    gateway: &Gateway,
    session: &mut ServerSession,
    mut reached: Reached,
    (plan, open): (&Plan<'_>, &Open),
    tale: &mut Tale<'_>,
    (header, questions): (ResponseHeader, &Questions<'_>),
) -> bool {
    let mut sieve = Sieve::new(gateway, plan, questions);
    let mut first = reached.session.read_response_body().now_or_never().map(|part| sieve.take(part, &mut reached));
    let follows = first.as_ref().is_some_and(|first| first.done || !first.out.is_empty());
    if !begin(session, header, follows).await {
        return cut_short(tale, "client_gone");
    }
    let mut worlds = gateway.state.worlds();
    // What was revoked before this began to listen.
    worlds.mark_changed();
    // Made once, and not for every event.
    let mut next_world = pin!(changed(worlds));
    let mut ended = pin!(open.ended());
    let mut stopping = pin!(told_to_stop(&gateway.closing));
    let mut expiry = pin!(tokio::time::sleep(left(plan, &gateway.state.current())));
    loop {
        let waiting = Instant::now();
        let arrived = tokio::select! {
            biased;
            // Another world came while something was written.
            () = std::future::ready(()), if !sieve.owed.is_empty() => sieve.pay(),
            // First, so that an upstream that never pauses cannot put its end off.
            worlds = &mut next_world => {
                next_world.set(changed(worlds));
                tale.waited(waiting);
                match sieve.renew(expiry.as_mut()) {
                    Ok(()) if sieve.owed.is_empty() => continue,
                    Ok(()) => sieve.pay(),
                    Err(reason) => return farewell(session, plan, tale, reason).await,
                }
            }
            reason = &mut ended => return farewell(session, plan, tale, reason).await,
            () = &mut expiry => return farewell(session, plan, tale, spent(gateway, plan)).await,
            Some(first) = async { first.take() } => first,
            part = reached.session.read_response_body() => {
                tale.waited(waiting);
                sieve.take(part, &mut reached)
            }
            () = gone(session) => return cut_short(tale, "client_gone"),
            // A call's stream has an end, and is waited for like any call.
            // Later than the listeners close, where another process took over.
            () = &mut stopping, if plan.endless => return farewell(session, plan, tale, "stopping").await,
        };
        let Arrived { out, done, cut } = arrived;
        sieve.looking.tell(tale);
        let over = {
            let mut write = pin!(write(session, out.into(), done));
            let over = loop {
                tokio::select! {
                    biased;
                    written = &mut write => break written.map(|()| None).map_err(|_| "client_gone"),
                    reason = &mut ended => break Ok(Some(reason)),
                    () = &mut expiry => break Ok(Some(spent(gateway, plan))),
                    worlds = &mut next_world => {
                        next_world.set(changed(worlds));
                        if let Err(reason) = sieve.renew(expiry.as_mut()) {
                            break Ok(Some(reason));
                        }
                    }
                }
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
        match (over, cut) {
            (Ok(None), None) => {}
            (Ok(Some(reason)), None) => return farewell(session, plan, tale, reason).await,
            (Ok(_), Some(reason)) | (Err(reason), _) => return cut_short(tale, reason),
        }
        if !sieve.refused.is_empty() {
            Box::pin(questions.decline(session, plan, tale, std::mem::take(&mut sieve.refused))).await;
        }
        if done {
            gateway.upstreams.release(reached).await;
            return true;
        }
    }
}

/// What of a stream goes on.
struct Sieve<'p, 'm> {
    gateway: &'p Gateway,
    plan: &'p Plan<'m>,
    questions: &'p Questions<'p>,
    watcher: Watcher<'p, 'm>,
    looking: Looking<'p>,
    filter: SseFilter,
    watch: Watch,
    /// What the caller may see of lists, as it was when the stream began.
    standing: Option<&'p Standing>,
    answering: Option<&'p str>,
    /// Requests of the server that are to be declined.
    refused: Vec<String>,
    /// What the client is still to be told of another world.
    owed: Vec<u8>,
}

/// What has arrived, as it goes on.
struct Arrived {
    out: Vec<u8>,
    /// The upstream has ended it.
    done: bool,
    /// Why nothing of it can follow.
    cut: Option<&'static str>,
}

impl<'p, 'm> Sieve<'p, 'm> {
    fn new(gateway: &'p Gateway, plan: &'p Plan<'m>, questions: &'p Questions<'p>) -> Self {
        let expected = plan.list.as_ref().map(|(kind, _)| *kind);
        Self {
            gateway,
            plan,
            questions,
            watcher: Watcher::new(plan, &gateway.introduced),
            looking: Looking::new(plan),
            filter: SseFilter::new(ANSWER),
            watch: Watch { expected, resumed: plan.resumed.is_some(), era: plan.era, depth: plan.depth },
            standing: plan.list.as_ref().map(|(_, standing)| standing).or(plan.resumed.as_ref()),
            answering: results::answering(plan),
            refused: Vec::new(),
            owed: Vec::new(),
        }
    }

    /// Takes up another world, or what was revoked in this one: the client may have been given another end, or other lists.
    ///
    /// # Errors
    /// Why the stream is over.
    fn renew(&mut self, expiry: Pin<&mut Sleep>) -> Result<(), &'static str> {
        let world = self.gateway.state.current();
        self.plan.asked.admitted.since_revoked(&world, SystemTime::now()).map_err(|denial| denial.reason())?;
        if let Some(end) = tokio::time::Instant::now().checked_add(left(self.plan, &world)) {
            expiry.reset(end);
        }
        if self.plan.endless {
            self.owed.extend(self.watcher.renewed(&world));
        }
        Ok(())
    }

    /// What the client is still to be told.
    fn pay(&mut self) -> Arrived {
        Arrived { out: std::mem::take(&mut self.owed), done: false, cut: None }
    }

    /// Takes in a part. What has arrived already leaves together; nothing that has is kept back for what has not.
    fn take(&mut self, part: pingora::Result<Option<Bytes>>, reached: &mut Reached) -> Arrived {
        let (mut out, mut next, mut taken) = (Vec::new(), part, 0);
        loop {
            let Ok(part) = next else { return Arrived { out, done: false, cut: Some("upstream_broken") } };
            let done = part.is_none() || reached.session.response_done();
            taken += part.as_ref().map_or(0, Bytes::len);
            if part.is_some_and(|part| self.push(&part, &mut out).is_err()) {
                return Arrived { out, done: false, cut: Some("unreadable_list") };
            }
            // What is dropped counts too: nobody who sends it may put off the end of the stream.
            if done || taken >= TOGETHER {
                return Arrived { out, done, cut: None };
            }
            match reached.session.read_response_body().now_or_never() {
                Some(read) => next = read,
                None => return Arrived { out, done: false, cut: None },
            }
        }
    }

    /// Judges the events that these bytes complete.
    fn push(&mut self, part: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
        let Self { gateway, plan, questions, watcher, looking, filter, watch, answering, refused, .. } = self;
        let renewed = watcher.renewed_lists();
        if let Some((route, _)) = &renewed {
            looking.follow(route);
        }
        let (policy, standing) =
            renewed.as_ref().map_or((&plan.route.policy, self.standing), |(route, lists)| (&route.policy, Some(lists)));
        let seen = plan.resumed.as_ref().and(standing).map(|standing| (policy, standing));
        let mut shows = |kind: Kind, name: &str, item: &str| {
            let Some(standing) = standing else { return true };
            is_as_approved(gateway, plan, kind, name, item) && policy.shows(standing, kind, name)
        };
        let mut name = |kind, cursor: &str| plan.seals().cursor(kind, cursor);
        let mut lists = |data: &[u8]| listing::judge_items(data, *watch, &mut shows, Some(&mut name));
        let mut rest =
            |looking: &mut Looking<'_>, data: &[u8]| watcher.judge(data, *watch).unwrap_or_else(|| looking.event(data, &mut lists));
        let mut one = |data: &[u8]| {
            let named = match looking.related(data) {
                Ok(named) => named,
                Err(related::Flaw::Unknown) => return questions.stray(data, plan, refused),
                Err(related::Flaw::Unreadable) => return Verdict::Unreadable,
            };
            let data = named.as_deref().unwrap_or(data);
            let verdict = match reverse::is_report(data, plan.depth) {
                true => Verdict::Pass,
                false => {
                    let told = if tells(plan, data) { task(gateway, plan, questions, looking, data) } else { None };
                    let judged = told.or_else(|| questions.judge(data, plan, seen, refused));
                    judged.unwrap_or_else(|| rest(looking, data))
                }
            };
            match (verdict, named) {
                (Verdict::Pass, Some(named)) => Verdict::Replace(named),
                (verdict, _) => verdict,
            }
        };
        match &plan.legacy {
            None => filter.push(part, &mut one, out),
            Some(Legacy { seals, session }) => {
                let mut judge = |data: &[u8]| batch::judge_each(data, plan.depth, &mut one);
                filter.push_named(part, &mut judge, Some(&mut |id| seals.event(session.as_ref(), *answering, id)), out)
            }
        }
    }
}

/// Whether a subscription to tasks may be told of one here.
fn tells(plan: &Plan<'_>, data: &[u8]) -> bool {
    let follows = plan.era == Era::Modern && plan.attending().is_some_and(|attending| !attending.tasks.is_empty());
    follows && result::may_tell_of_task(data)
}

/// Judges what a subscription tells of a task like the answer to `tasks/get`, whose members it has (SEP-2663 "Notifications");
/// none for what tells of none.
fn task(gateway: &Gateway, plan: &Plan<'_>, questions: &Questions<'_>, looking: &mut Looking<'_>, data: &[u8]) -> Option<Verdict> {
    let (id, place) = match listen::told_of(data, plan.depth) {
        Ok(told) => told?,
        Err(Unreadable) => return Some(Verdict::Unreadable),
    };
    let Some(task) = plan.attending().and_then(|attending| attending.follows(&id)) else { return Some(Verdict::Drop) };
    let world = gateway.state.current();
    // SECURITY: a tool that is not as it was approved gives nothing by way of a task either.
    if world.vigils.find(&plan.route.name).and_then(|vigil| vigil.flaw(&task.tool)).is_some() {
        return Some(Verdict::Drop);
    }
    let (before, params, after) = (data.get(..place.start)?, data.get(place.clone())?, data.get(place.end..)?);
    let answer = [ANSWERS, params, b"}"].concat();
    Some(match questions.answer(&answer, plan) {
        Ok(()) => match looking.told_of(&answer) {
            Verdict::Replace(new) => match new.strip_prefix(ANSWERS).and_then(|new| new.strip_suffix(b"}")) {
                Some(params) => Verdict::Replace([before, params, after].concat()),
                None => Verdict::Unreadable,
            },
            // It names no task.
            Verdict::Pass => Verdict::Drop,
            other => other,
        },
        // The client hears so when it asks for the task.
        Err(Fault::ServerRequest) => Verdict::Drop,
        Err(_) => Verdict::Unreadable,
    })
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
