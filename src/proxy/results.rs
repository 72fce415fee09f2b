//! Results on their way back: what a client will bring again is sealed, what it may not see is left out.
//! Knows sockets; what is looked for stands in [`crate::mcp::result`].

use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use pingora::protocols::http::ServerSession;

use super::dial::{Reached, gone};
use super::record::Tale;
use super::response::{ANSWER, Plan};
use crate::denial::Fault;
use crate::mcp::result::{self, Keeper, Sight};
use crate::mcp::sse::Verdict;
use crate::mcp::{Era, Kind, Target, Verb};
use crate::pipeline::{Admitted, Judgement};
use crate::policy::{Caller, Standing};
use crate::route::Mode;
use crate::session::{Errand, Seals};
use crate::state::Snapshot;

/// Bytes that are searched for what must be sealed, where nothing else is looked for. A state or task that
/// comes after them is passed as it is, and opens nothing when it comes back.
const SEARCHED: usize = 1 << 20;
/// The reason that a record has where a resource was left out.
const WITHHELD: &str = "resource_withheld";

/// Who asked for what, as far as the answer must be looked at.
#[derive(Clone, Copy)]
pub struct Asked<'m> {
    pub admitted: &'m Admitted,
    /// None of a session alone.
    pub judgement: Option<&'m Judgement<'m>>,
    pub world: &'m Snapshot,
    pub source: IpAddr,
    pub received: SystemTime,
}

impl Asked<'_> {
    pub fn seals(&self) -> Seals {
        Seals::new(self.world.sealer.clone(), &self.admitted.route, &self.admitted.verified.principal)
    }
}

/// What to look for in the answer. Costs nothing but a look at the rules.
pub fn sight(plan: &Plan<'_>) -> Sight {
    let rules = || plan.route.policy.speaks_of_resources();
    let bare = Sight { depth: plan.depth, ..Sight::default() };
    let Some(judgement) = plan.asked.judgement else { return Sight { resources: plan.resumed.is_some() && rules(), ..bare } };
    let message = &judgement.message;
    let modern = plan.era == Era::Modern;
    match (message.operation.method.verb, message.operation.method.name) {
        (Verb::Use(kind, _), "tools/call" | "prompts/get" | "resources/read") => Sight {
            states: modern,
            tasks: kind == Kind::Tool && (message.speaks_tasks || message.begins_task),
            no_task: kind == Kind::Tool && modern && !message.speaks_tasks,
            reading: kind == Kind::Resource,
            resources: rules(),
            ..bare
        },
        (Verb::Task, _) => Sight { tasks: true, resources: rules(), ..bare },
        _ => Sight { resources: plan.resumed.is_some() && rules(), ..bare },
    }
}

/// A body of which this much was read.
pub struct Begun {
    pub part: Bytes,
    pub done: bool,
}

/// An answer that was looked at.
pub enum Gathered {
    AsItIs(Begun),
    Replaced(Bytes),
}

/// Reads an answer in JSON and looks through it. One that comes in a single part is not copied.
pub async fn gather(
    session: &mut ServerSession,
    reached: &mut Reached,
    plan: &Plan<'_>,
    tale: &mut Tale<'_>,
    sight: Sight,
) -> Result<Gathered, Fault> {
    let begun = collect(session, reached, plan, tale, sight).await?;
    if !begun.done || !result::may_hold(&begun.part, sight) {
        return Ok(Gathered::AsItIs(begun));
    }
    let mut looking = Looking::new(plan);
    let verdict = looking.look(&begun.part);
    looking.tell(tale);
    match verdict {
        Verdict::Pass => Ok(Gathered::AsItIs(begun)),
        Verdict::Replace(body) => Ok(Gathered::Replaced(body.into())),
        Verdict::Drop | Verdict::Unreadable => Err(Fault::UnreadableResult),
    }
}

async fn collect(
    session: &mut ServerSession,
    reached: &mut Reached,
    plan: &Plan<'_>,
    tale: &mut Tale<'_>,
    sight: Sight,
) -> Result<Begun, Fault> {
    let mut whole = BytesMut::new();
    loop {
        let waiting = Instant::now();
        let part = tokio::select! {
            biased;
            part = reached.session.read_response_body() => part,
            () = gone(session) => return Err(Fault::ClientGone),
            () = tokio::time::sleep(plan.route.limits.timeout) => return Err(Fault::UpstreamTimeout),
        };
        tale.waited(waiting);
        let part = part.map_err(|_| Fault::UnreadableResult)?;
        let done = part.is_none() || reached.session.response_done();
        let part = part.unwrap_or_default();
        if done && whole.is_empty() {
            return Ok(Begun { part, done });
        }
        whole.extend_from_slice(&part);
        if done || (whole.len() > SEARCHED && !sight.resources) {
            return Ok(Begun { part: whole.freeze(), done });
        }
        // SECURITY: what the rules speak of does not pass for being large.
        if whole.len() > ANSWER {
            return Err(Fault::UnreadableResult);
        }
    }
}

/// Looks through the messages of one answer.
pub struct Looking<'p> {
    plan: &'p Plan<'p>,
    sight: Sight,
    /// Made when the first thing is to be sealed.
    seals: Option<Seals>,
    /// Made when the first resource is judged.
    standing: Option<Standing>,
    withheld: bool,
}

impl<'p> Looking<'p> {
    pub fn new(plan: &'p Plan<'p>) -> Self {
        Self { plan, sight: sight(plan), seals: None, standing: None, withheld: false }
    }

    fn look(&mut self, data: &[u8]) -> Verdict {
        result::refit(data, self.sight, self)
    }

    /// Judges a stream's event; `rest` says the rest.
    pub fn event(&mut self, data: &[u8], rest: &mut dyn FnMut(&[u8]) -> Verdict) -> Verdict {
        if !result::may_hold(data, self.sight) && !result::may_tell_of_task(data) {
            return rest(data);
        }
        match self.look(data) {
            Verdict::Pass => rest(data),
            Verdict::Replace(new) => match rest(&new) {
                Verdict::Pass => Verdict::Replace(new),
                other => other,
            },
            other => other,
        }
    }

    /// Puts into the record that something was left out.
    pub fn tell(&mut self, tale: &mut Tale<'_>) {
        if std::mem::take(&mut self.withheld) {
            tale.tell(|event| event.reason = WITHHELD);
        }
    }

    fn seals(&mut self) -> &Seals {
        self.seals.get_or_insert_with(|| self.plan.seals())
    }

    fn may_see(&mut self, uri: &str) -> bool {
        let (policy, asked) = (&self.plan.route.policy, &self.plan.asked);
        // SECURITY: not as lists are cut, which may show what a wider scope would allow.
        let standing = self.standing.get_or_insert_with(|| {
            let caller = Caller { principal: &asked.admitted.verified.principal, source: asked.source, now: asked.received };
            policy.standing(caller, false)
        });
        policy.shows(standing, Kind::Resource, uri)
    }
}

impl Keeper for Looking<'_> {
    fn state(&mut self, state: &str) -> Option<String> {
        let asked = self.plan.asked;
        self.seals().state(&Errand::of(&asked.judgement?.message), state, asked.received)
    }

    fn task(&mut self, id: &str) -> Option<String> {
        let message = &self.plan.asked.judgement?.message;
        let Target::One(tool) = &message.operation.target else { return None };
        self.seals().task(message.era, &tool.name, id)
    }

    fn shows(&mut self, uri: &str, embedded: bool) -> bool {
        let own = self.plan.asked.judgement.is_some_and(|judgement| match &judgement.message.operation.target {
            Target::One(thing) => thing.kind == Kind::Resource && thing.name == uri,
            Target::Nothing | Target::Each(_) => false,
        });
        // What a permitted tool or prompt makes up itself is its own; what a rule speaks of is that rule's.
        let free = embedded && self.plan.route.policy.naming(Kind::Resource, uri).is_none();
        if own || free || self.may_see(uri) {
            return true;
        }
        self.withheld = true;
        self.plan.route.mode == Mode::Observe
    }
}
