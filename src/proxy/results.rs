//! Results on their way back: what a client will bring again is sealed, what it may not see is left out.
//! Knows sockets; what is looked for stands in [`crate::mcp::result`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use pingora::protocols::http::ServerSession;

use super::asked::Questions;
use super::dial::{Reached, gone};
use super::record::Tale;
use super::response::{ANSWER, Plan};
use crate::denial::Fault;
use crate::mcp::ask::Watcher;
use crate::mcp::related;
use crate::mcp::result::{self, Keeper, Sight};
use crate::mcp::sse::Verdict;
use crate::mcp::{Era, Kind, Target, Verb};
use crate::pipeline::{Admitted, Judgement};
use crate::policy::{Caller, Standing};
use crate::route::{Mode, Route};
use crate::session::begun::Begun;
use crate::session::{Errand, Seals};
use crate::state::Snapshot;

/// Bytes that are searched for what must be sealed, where nothing else is looked for. A state or task that
/// comes after them is passed as it is, and opens nothing when it comes back.
const SEARCHED: usize = 1 << 20;
/// Bytes of an answer that are held back until it is known what it asks.
const HELD: usize = 64 << 10;
/// The reason that a record has where a resource was left out.
const WITHHELD: &str = "resource_withheld";

/// Who asked for what, as far as the answer must be looked at.
#[derive(Clone, Copy)]
pub struct Asked<'m> {
    pub admitted: &'m Admitted,
    /// None of a session alone.
    pub judgement: Option<&'m Judgement<'m>>,
    pub world: &'m Snapshot,
    /// The tasks of callers.
    pub begun: &'m Begun,
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
    let bare = Sight { depth: plan.depth, related: plan.era == Era::Legacy, ..Sight::default() };
    let Some(judgement) = plan.asked.judgement else {
        // The stream of a session may deliver the answer to any request of it.
        return Sight { tasks: plan.endless, resources: plan.resumed.is_some() && rules(), ..bare };
    };
    let message = &judgement.message;
    let modern = plan.era == Era::Modern;
    match (message.operation.method.verb, message.operation.method.name) {
        (Verb::Use(kind, _), "tools/call" | "prompts/get" | "resources/read") => Sight {
            states: modern,
            tasks: kind == Kind::Tool && (message.speaks_tasks || message.begins_task),
            no_task: kind == Kind::Tool && modern && !message.speaks_tasks,
            reading: kind == Kind::Resource,
            private: kind == Kind::Resource && modern && plan.route.mode == Mode::Enforce,
            resources: rules(),
            ..bare
        },
        (Verb::Task, _) => Sight { tasks: true, no_input: modern, resources: rules(), ..bare },
        (Verb::Tasks, _) => Sight { lists_tasks: true, ..bare },
        // What an extension's answer means nobody here knows.
        (Verb::Point(kind, _), _) => Sight { reading: kind == Kind::Resource, resources: rules(), ..bare },
        _ => Sight { no_input: modern, resources: plan.resumed.is_some() && rules(), ..bare },
    }
}

/// The tool whose call an answer is for, where the answer may name a task: a stream of it that is resumed must know.
pub fn answering<'p>(plan: &'p Plan<'_>) -> Option<&'p str> {
    match plan.asked.judgement {
        Some(judgement) => match &judgement.message.operation.target {
            Target::One(tool) if tool.kind == Kind::Tool && sight(plan).tasks => Some(&tool.name),
            _ => None,
        },
        None => plan.legacy.as_ref()?.session.as_ref()?.tool.as_deref(),
    }
}

/// What was read of an answer before anything of it is sent.
pub struct Held {
    pub part: Bytes,
    /// It is the whole.
    pub done: bool,
    /// Looks at the rest, where there is one, for questions.
    pub watcher: Option<Box<Watcher>>,
}

/// An answer that was looked at.
pub enum Gathered {
    AsItIs(Held),
    Replaced(Bytes),
}

/// Reads an answer in JSON and looks through it: for what is to be sealed or left out, and for what the server asks
/// with it. One that comes in a single part is not copied.
pub async fn gather(
    session: &mut ServerSession,
    reached: &mut Reached,
    plan: &Plan<'_>,
    tale: &mut Tale<'_>,
    (sight, questions): (Sight, &Questions<'_>),
) -> Result<Gathered, Fault> {
    let first = read(session, reached, plan, tale).await?;
    let held = if first.is_none() || reached.session.response_done() {
        Held { part: first.unwrap_or_default(), done: true, watcher: None }
    } else {
        Box::pin(hold(session, reached, plan, tale, (sight, questions), first.unwrap_or_default())).await?
    };
    if !held.done {
        return Ok(Gathered::AsItIs(held));
    }
    questions.answer(&held.part, plan)?;
    Ok(refit(&held.part, plan, sight, tale)?.map_or_else(|| Gathered::AsItIs(held), Gathered::Replaced))
}

/// A whole answer with what must be sealed sealed and what may not be seen left out; none where it stays as it is.
pub fn refit(body: &[u8], plan: &Plan<'_>, sight: Sight, tale: &mut Tale<'_>) -> Result<Option<Bytes>, Fault> {
    if !result::may_hold(body, sight) {
        return Ok(None);
    }
    let mut looking = Looking::new(plan);
    let verdict = looking.look(body);
    looking.tell(tale);
    match verdict {
        Verdict::Pass => Ok(None),
        Verdict::Replace(body) => Ok(Some(body.into())),
        Verdict::Drop | Verdict::Unreadable => Err(Fault::UnreadableResult),
    }
}

/// The whole of an answer, or enough of a longer one; its rest is watched where a question in it would not pass.
async fn hold(
    session: &mut ServerSession,
    reached: &mut Reached,
    plan: &Plan<'_>,
    tale: &mut Tale<'_>,
    (sight, questions): (Sight, &Questions<'_>),
    first: Bytes,
) -> Result<Held, Fault> {
    let most = if sight.looks() { SEARCHED } else { HELD };
    let watches = questions.refuses(plan) && !questions.observes;
    let mut part = BytesMut::from(&*first);
    let mut watcher = Box::<Watcher>::default();
    let (mut seen, mut looked) = (false, 0);
    while let Some(next) = read(session, reached, plan, tale).await? {
        part.extend_from_slice(&next);
        if reached.session.response_done() {
            break;
        }
        // SECURITY: what the rules speak of does not pass for being large.
        if part.len() > ANSWER {
            return Err(if sight.whole() { Fault::UnreadableResult } else { Fault::UnreadableAnswer });
        }
        if part.len() <= most || sight.whole() {
            continue;
        }
        if !watches {
            return Ok(Held { part: part.freeze(), done: false, watcher: None });
        }
        seen |= watcher.sees(part.get(looked..).unwrap_or_default()) || part.trim_ascii_start().first() != Some(&b'{');
        looked = part.len();
        if !seen {
            return Ok(Held { part: part.freeze(), done: false, watcher: Some(watcher) });
        }
    }
    Ok(Held { part: part.freeze(), done: true, watcher: None })
}

async fn read(session: &mut ServerSession, reached: &mut Reached, plan: &Plan<'_>, tale: &mut Tale<'_>) -> Result<Option<Bytes>, Fault> {
    let waiting = Instant::now();
    let part = tokio::select! {
        biased;
        part = reached.session.read_response_body() => part.map_err(|_| Fault::UpstreamBroken),
        () = gone(session) => Err(Fault::ClientGone),
        () = tokio::time::sleep(plan.route.limits.timeout) => Err(Fault::UpstreamTimeout),
    };
    tale.waited(waiting);
    part
}

/// Looks through the messages of one answer.
pub struct Looking<'p> {
    plan: &'p Plan<'p>,
    sight: Sight,
    /// The rules that hold now.
    route: Arc<Route>,
    /// Made when the first thing is to be sealed.
    seals: Option<Seals>,
    /// Made when the first resource is judged.
    standing: Option<Standing>,
    withheld: bool,
}

impl<'p> Looking<'p> {
    pub fn new(plan: &'p Plan<'p>) -> Self {
        let strays = plan.legacy.as_ref().is_some_and(|legacy| legacy.session.is_some());
        let sight = Sight { strays, ..sight(plan) };
        Self { plan, sight, route: plan.route.clone(), seals: None, standing: None, withheld: false }
    }

    /// Goes on by the rules of a reload.
    pub fn follow(&mut self, route: &Arc<Route>) {
        if !Arc::ptr_eq(&self.route, route) {
            self.route = route.clone();
            self.standing = None;
        }
    }

    fn look(&mut self, data: &[u8]) -> Verdict {
        result::refit(data, self.sight, self)
    }

    /// What a subscription tells of a task, by the answer to `tasks/get` that has the same members.
    pub fn told_of(&mut self, answer: &[u8]) -> Verdict {
        let sight = Sight { tasks: true, no_input: true, resources: self.route.policy.speaks_of_resources(), ..self.sight };
        result::refit(answer, sight, self)
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

    fn may_see(&mut self, kind: Kind, name: &str) -> bool {
        let (policy, asked) = (&self.route.policy, &self.plan.asked);
        // SECURITY: not as lists are cut, which may show what a wider scope would allow.
        let standing = self.standing.get_or_insert_with(|| {
            let caller = Caller { principal: &asked.admitted.verified.principal, source: asked.source, now: asked.received };
            policy.standing(caller, false)
        });
        policy.shows(standing, kind, name)
    }

    /// A request or notification of the server with the task that it belongs to under the name that the client knows; none
    /// where it belongs to no task.
    pub fn related(&mut self, data: &[u8]) -> Result<Option<Vec<u8>>, related::Flaw> {
        if !self.sight.related || !related::may_belong(data) {
            return Ok(None);
        }
        related::rename(data, self.sight.depth, "params", &mut |id| {
            let tool = self.tool(id)?;
            self.named(&tool, id)
        })
    }

    /// A task of the older design, told of unasked: as long as its tool may be used.
    fn named(&mut self, tool: &str, id: &str) -> Option<String> {
        if self.route.mode == Mode::Enforce && !self.may_see(Kind::Tool, tool) {
            return None;
        }
        self.seals().task(Era::Legacy, tool, id)
    }

    /// The tool that began the task of this id.
    fn tool(&mut self, id: &str) -> Option<Arc<str>> {
        // SECURITY: what tells of one task gives no right to another.
        let asked = self.plan.asked.judgement.and_then(Judgement::task);
        if let Some(tool) = answering(self.plan)
            && asked.is_none_or(|asked| asked == id)
        {
            return Some(tool.into());
        }
        let owner = self.seals().owner();
        self.plan.asked.begun.tool(&owner, id)
    }
}

impl Keeper for Looking<'_> {
    fn state(&mut self, state: &str) -> Option<String> {
        let asked = self.plan.asked;
        self.seals().state(&Errand::of(&asked.judgement?.message), state, asked.received)
    }

    fn task(&mut self, id: &str) -> Option<String> {
        if let Some(attending) = self.plan.attending().filter(|_| self.plan.era == Era::Modern) {
            let task = attending.follows(id)?;
            return self.may_see(Kind::Tool, &task.tool).then(|| task.known.clone());
        }
        let (era, begun) = (self.plan.era, self.plan.asked.begun);
        let tool = self.tool(id)?;
        let seals = self.seals();
        if era == Era::Legacy {
            begun.note(seals.owner(), id, &tool);
        }
        seals.task(era, &tool, id)
    }

    fn told(&mut self, id: &str) -> Option<String> {
        let owner = self.seals().owner();
        let tool = self.plan.asked.begun.tool(&owner, id)?;
        self.named(&tool, id)
    }

    fn cursor(&mut self, cursor: &str) -> Option<String> {
        self.seals().task_cursor(cursor)
    }

    fn shows(&mut self, uri: &str, embedded: bool) -> bool {
        let own = self.plan.asked.judgement.is_some_and(|judgement| match &judgement.message.operation.target {
            Target::One(thing) => thing.kind == Kind::Resource && thing.name == uri,
            Target::Nothing | Target::Each(_) => false,
        });
        // What a permitted tool or prompt makes up itself is its own; what a rule speaks of is that rule's.
        let free = embedded && self.route.policy.naming(Kind::Resource, uri).is_none();
        if own || free || self.may_see(Kind::Resource, uri) {
            return true;
        }
        self.withheld = true;
        self.plan.route.mode == Mode::Observe
    }
}
