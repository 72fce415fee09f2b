//! A batch (MCP 2025-03-26): each of its messages is judged, forwarded and recorded as if it had come
//! alone, and the answers go back in one array. Knows nothing of streams: what a server tells on the
//! way to an answer is left out, and it can ask nothing.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};
use pingora::protocols::http::ServerSession;

use super::Exchange;
use crate::denial::{Denial, Fault};
use crate::mcp::listing::{self, Watch};
use crate::mcp::reverse;
use crate::mcp::sse::{SseFilter, Verdict};
use crate::mcp::{self, Era, batch};
use crate::pipeline::{self, Admitted, Judgement};
use crate::proxy::asked::Questions;
use crate::proxy::dial::{Reached, gone};
use crate::proxy::record::Tale;
use crate::proxy::reply;
use crate::proxy::response::{self, ANSWER, Form, Plan};
use crate::proxy::results::{self, Looking};
use crate::token::{self, Scheme};

/// A method that no batch may hold (MCP 2025-03-26 "Initialization").
const ALONE: &str = "initialize";

/// The answers so far, bounded as a whole.
#[derive(Default)]
struct Answers {
    all: Vec<Bytes>,
    size: usize,
}

impl Answers {
    fn add(&mut self, answer: Bytes) -> Result<(), Fault> {
        if self.size + answer.len() > ANSWER {
            return Err(Fault::UnreadableAnswer);
        }
        self.size += answer.len();
        self.all.push(answer);
        Ok(())
    }

    /// One array; nothing where nothing was asked (JSON-RPC 2.0 §6).
    fn reply(&self) -> Response<Bytes> {
        if self.all.is_empty() {
            return reply::empty(StatusCode::ACCEPTED);
        }
        let mut reply = Response::new(batch::join(&self.all).into());
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        reply
    }
}

impl<'g> Exchange<'g> {
    /// Answers an array, or refuses it as a whole with `denial` where the client's revision has none.
    pub(super) async fn batch(
        &mut self,
        session: &mut ServerSession,
        admitted: &Admitted,
        body: &Bytes,
        denial: Denial,
    ) -> Result<bool, Denial> {
        let limits = &self.world.config.limits;
        let version = session.req_header().headers.get("mcp-protocol-version").map(|version| version.to_str().unwrap_or_default().trim());
        if !batch::is_spoken(version) {
            return Err(denial);
        }
        self.tale.tell(|event| {
            event.operation = "batch";
            event.era = Some(Era::Legacy);
        });
        let parts = batch::split(body, limits.depth, limits.batch).map_err(Fault::Message)?;
        let head = self.head(session);
        let judged: Vec<_> = parts.iter().map(|part| pipeline::judge(admitted, &head, part, limits.depth, &self.world.sealer)).collect();
        if judged.iter().flatten().any(|judgement| judgement.message.operation.method.name == ALONE) {
            return Err(Fault::Message(mcp::Error::Batch("`initialize` may not be in a batch")).into());
        }
        let mut answers = Answers::default();
        for (index, (part, judged)) in parts.iter().zip(judged).enumerate() {
            // Each may take its time, in which the caller may have lost the right to the next.
            let now = SystemTime::now();
            admitted.since_revoked(&self.gateway.state.current(), now)?;
            if now >= admitted.verified.ends() {
                return Err(token::Error::Expired.into());
            }
            let mut one = self.part(admitted);
            // The batch itself has counted as one.
            let counted = if index == 0 { Ok(()) } else { one.check_rates(&admitted.route, admitted) };
            let answer = match counted {
                Ok(()) => Box::pin(one.message(session, admitted, body.slice_ref(part), judged)).await,
                Err(fault) => Err(Denial { fault, ..addressee(&judged) }),
            };
            let answer = match answer {
                Ok(answer) => answer,
                Err(denial) => one.refuse(session, denial)?,
            };
            if let Some(answer) = answer {
                answers.add(answer)?;
            }
        }
        let mut reply = answers.reply();
        self.tale.answered("gathered", reply.status().as_u16());
        reply.headers_mut().extend(self.nonce_for(admitted));
        Ok(reply::send(session, reply, &self.cors, self.tale.id()).await)
    }

    /// One message of the batch, with a record of its own.
    fn part(&self, admitted: &Admitted) -> Exchange<'g> {
        let mut tale = Tale::begin(self.gateway, self.source, self.received);
        tale.tell(|event| {
            event.upstream = Some(admitted.route.name.clone());
            event.who = Some(admitted.verified.principal.clone());
            event.token = Some(admitted.token);
            event.era = Some(Era::Legacy);
        });
        let Exchange { gateway, world, peer, source, certificate, received, .. } = *self;
        Exchange { gateway, world, peer, source, certificate, received, tale, cors: self.cors.clone() }
    }

    /// The answer to one message, if it is to have one.
    async fn message(
        &mut self,
        session: &mut ServerSession,
        admitted: &Admitted,
        part: Bytes,
        judged: Result<Judgement<'_>, Denial>,
    ) -> Result<Option<Bytes>, Denial> {
        let judgement = match judged {
            Err(Denial { fault: Fault::Message(mcp::Error::Response), .. }) => {
                let (release, part, plan) = self.reply(session, admitted, &part)?;
                self.gather(session, admitted, &release, part, &plan).await?;
                return Ok(None);
            }
            judged => judged?,
        };
        match self.prepare(session, admitted, &judgement)? {
            None => {
                self.tale.answered("absorbed", 202);
                Ok(None)
            }
            Some((release, plan)) => {
                let answer = self.gather(session, admitted, &release, judgement.body(&part), &plan).await;
                answer.map_err(|fault| super::of(&judgement, fault))
            }
        }
    }

    /// A refused message as an item of the answer; none for one that is never answered. `Err` where the
    /// client has gone, or has to begin a new session.
    fn refuse(&mut self, session: &ServerSession, denial: Denial) -> Result<Option<Bytes>, Denial> {
        self.tale.denied(&denial);
        match (&denial.fault, &denial.id) {
            (Fault::ClientGone | Fault::UnknownSession, _) => Err(denial),
            // Refused as it was read, a request hears of it though its id could not be told.
            (Fault::Message(error), None) if !matches!(error, mcp::Error::UnknownMethod | mcp::Error::Response) => {
                Ok(Some(denial.reply(None).into_body()))
            }
            (_, None) => Ok(None),
            (_, Some(_)) => Ok(Some(denial.reply_to(Scheme::of(&session.req_header().headers), None).into_body())),
        }
    }

    /// To the upstream, and its answer as a whole.
    async fn gather(
        &mut self,
        session: &mut ServerSession,
        admitted: &Admitted,
        release: &pipeline::Release,
        body: Bytes,
        plan: &Plan<'_>,
    ) -> Result<Option<Bytes>, Fault> {
        let (reached, token) = self.reach(session, admitted, release, Method::POST, body, plan).await?;
        let gathered = self.read(session, admitted, reached, plan).await;
        self.believe(admitted, token, gathered)
    }

    async fn read(
        &mut self,
        session: &mut ServerSession,
        admitted: &Admitted,
        mut reached: Reached,
        plan: &Plan<'_>,
    ) -> Result<Option<Bytes>, Fault> {
        let Some(answer) = reached.session.response_header() else { return Err(Fault::UpstreamUnreachable) };
        response::check_head(answer)?;
        let (status, form) = (answer.status.as_u16(), response::form(&answer.headers));
        self.tale.tell(|event| event.status = status);
        let Some(id) = plan.id else {
            return Ok(None);
        };
        if status == 404 && plan.legacy.as_ref().is_some_and(|legacy| legacy.session.is_some()) {
            return Err(Fault::UnknownSession);
        }
        match form {
            Form::Events => self.out_of_stream(session, admitted, reached, plan, id.as_json()).await.map(Some),
            Form::Other | Form::Foreign => Err(Fault::UnreadableAnswer),
            Form::Json => {
                let body = response::collect(session, &mut reached, plan, &mut self.tale).await?;
                self.gateway.upstreams.release(reached).await;
                // SECURITY: what is not one message would become several in the array.
                reverse::answered(&body, plan.depth).ok().flatten().ok_or(Fault::UnreadableAnswer)?;
                self.questions(session, admitted).answer(&body, plan)?;
                match &plan.list {
                    Some((kind, standing)) => response::cut(self.gateway, plan, *kind, standing, &body).map(Some),
                    None => Ok(Some(results::refit(&body, plan, results::sight(plan), &mut self.tale)?.unwrap_or(body))),
                }
            }
        }
    }

    /// The answer to the request of this id, out of a stream.
    async fn out_of_stream(
        &mut self,
        session: &mut ServerSession,
        admitted: &Admitted,
        mut reached: Reached,
        plan: &Plan<'_>,
        id: &str,
    ) -> Result<Bytes, Fault> {
        let standing = plan.list.as_ref().map(|(_, standing)| standing).or(plan.resumed.as_ref());
        let mut shows = |kind, name: &str, item: &str| {
            standing.is_none_or(|standing| {
                response::is_as_approved(self.gateway, plan, kind, name, item) && plan.route.policy.shows(standing, kind, name)
            })
        };
        let mut name = |kind, cursor: &str| plan.seals().cursor(kind, cursor);
        let mut looking = Looking::new(plan);
        let watch = Watch {
            expected: plan.list.as_ref().map(|(kind, _)| *kind),
            resumed: plan.resumed.is_some(),
            era: Era::Legacy,
            depth: plan.depth,
        };
        let questions = self.questions(session, admitted);
        let mut refused = Vec::new();
        let mut found: Option<Bytes> = None;
        let mut filter = SseFilter::new(ANSWER);
        loop {
            let part = tokio::select! {
                biased;
                part = reached.session.read_response_body() => part.map_err(|_| Fault::UnreadableAnswer)?,
                () = gone(session) => return Err(Fault::ClientGone),
                () = tokio::time::sleep(plan.route.limits.timeout) => return Err(Fault::UpstreamTimeout),
            };
            let ended = part.is_none() || reached.session.response_done();
            let mut lists = |data: &[u8]| listing::judge_items(data, watch, &mut shows, Some(&mut name));
            let mut judge = |data: &[u8]| match reverse::answered(data, plan.depth) {
                Err(_) => Verdict::Unreadable,
                Ok(Some(other)) if other == id && found.is_none() => match looking.event(data, &mut lists) {
                    Verdict::Pass => {
                        found = Some(Bytes::copy_from_slice(data));
                        Verdict::Drop
                    }
                    Verdict::Replace(cut) => {
                        found = Some(cut.into());
                        Verdict::Drop
                    }
                    verdict => verdict,
                },
                // What is refused on the way is told to the server.
                Ok(None) => questions
                    .judge(data, plan, plan.resumed.as_ref().map(|standing| (&plan.route.policy, standing)), &mut refused)
                    .map_or(Verdict::Drop, |verdict| match verdict {
                        Verdict::Unreadable => verdict,
                        _ => Verdict::Drop,
                    }),
                Ok(Some(_)) => Verdict::Drop,
            };
            let mut each = |data: &[u8]| batch::judge_each(data, plan.depth, &mut judge);
            let pushed = filter.push(&part.unwrap_or_default(), &mut each, &mut Vec::new());
            if !refused.is_empty() {
                questions.decline(session, plan, &mut self.tale, std::mem::take(&mut refused)).await;
            }
            if pushed.is_err() || ended || found.is_some() {
                break;
            }
        }
        looking.tell(&mut self.tale);
        let found = found.ok_or(Fault::UnreadableAnswer)?;
        questions.answer(&found, plan)?;
        Ok(found)
    }

    /// Nothing can be asked by way of a batch.
    fn questions<'a>(&self, session: &ServerSession, admitted: &'a Admitted) -> Questions<'a>
    where
        'g: 'a,
    {
        Questions::new(self.gateway, self.world, admitted, &self.head(session)).nothing()
    }
}

/// To whom a refusal goes that has nothing to do with what was said.
fn addressee(judged: &Result<Judgement<'_>, Denial>) -> Denial {
    match judged {
        Ok(judgement) => super::of(judgement, Fault::Internal),
        Err(denial) => denial.clone(),
    }
}
