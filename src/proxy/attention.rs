//! What is looked at in an answer beside lists: a server's introduction, and streams without an end, of which each event is
//! held against what the caller may read, and which are told when the rules change.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use http::HeaderMap;
use memchr::memmem;

use super::response::Plan;
use crate::mcp::introduction::{self, Told};
use crate::mcp::listen::Keeps;
use crate::mcp::listing::Watch;
use crate::mcp::mirror::{self, Lacking, Mirror};
use crate::mcp::sse::Verdict;
use crate::mcp::{self, Era, Kind, Message, Target, Verb, listen};
use crate::pipeline::Followed;
use crate::policy::{Caller, Policy, Standing};
use crate::principal::Principal;
use crate::route::{ListMode, Mode, Route};
use crate::state::Snapshot;

/// What an answer is looked at for; most are for nothing.
pub enum Attention {
    /// The answer to `initialize` or `server/discover`.
    Introduction,
    /// A subscription, or the stream of a session.
    Stream(Attending),
}

/// Who listens, and to what.
pub struct Attending {
    pub who: Arc<Principal>,
    pub source: IpAddr,
    /// The resources and tasks that a subscription was granted.
    pub granted: Vec<String>,
    pub tasks: Vec<Followed>,
}

impl Attending {
    /// The task of this id (the upstream's), if the subscription was granted it.
    pub fn follows(&self, id: &str) -> Option<&Followed> {
        self.tasks.iter().find(|task| task.id == id)
    }

    /// What the caller may see of lists, or may read.
    fn standing(&self, policy: &Policy, acquirable: bool) -> Standing {
        policy.standing(Caller { principal: &self.who, source: self.source, now: SystemTime::now() }, acquirable)
    }
}

/// The changes of lists that each upstream said it would tell of, when last it introduced itself.
#[derive(Default)]
pub struct Introduced(Mutex<HashMap<Arc<str>, Told>>);

impl Introduced {
    pub fn note(&self, upstream: &Arc<str>, told: Told) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(upstream.clone(), told);
    }

    fn of(&self, upstream: &str) -> Told {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(upstream).copied().unwrap_or_default()
    }
}

/// Tools of one upstream whose headers are remembered.
const MOST_TOOLS: usize = 4096;

/// Which arguments the tools of each upstream want repeated in headers, by its own lists.
#[derive(Default)]
pub struct Mirrors(ArcSwap<HashMap<Arc<str>, Tools>>);

/// By the tool's name.
type Tools = HashMap<String, Vec<Mirror>>;

impl Mirrors {
    /// Takes in the tools of a list, as far as there is room.
    pub fn learn(&self, upstream: &Arc<str>, answer: &[u8]) {
        let known = self.0.load();
        let named = memmem::find(answer, b"x-mcp-header").is_some();
        if !named && !known.contains_key(upstream) {
            return;
        }
        let tools = mirror::learn(answer);
        let is_known = |(name, mirrors): &(String, Vec<Mirror>)| {
            let known = known.get(upstream).and_then(|tools| tools.get(name)).map_or(&[][..], Vec::as_slice);
            known == mirrors.as_slice()
        };
        if tools.iter().all(is_known) {
            return;
        }
        self.0.rcu(|known| {
            let mut next = HashMap::clone(known);
            let all = next.entry(upstream.clone()).or_default();
            for (name, mirrors) in &tools {
                if mirrors.is_empty() {
                    all.remove(name);
                } else if all.len() < MOST_TOOLS || all.contains_key(name) {
                    all.insert(name.clone(), mirrors.clone());
                }
            }
            next
        });
    }

    /// Holds a call against the headers that its tool wants; for most upstreams there is nothing to hold. Those that the client
    /// left out, where it may.
    pub fn agree(&self, route: &Route, message: &Message<'_>, headers: &HeaderMap) -> Result<Vec<Lacking>, mcp::Error> {
        let known = self.0.load();
        if known.is_empty() || message.era == Era::Legacy {
            return Ok(Vec::new());
        }
        let (Verb::Use(Kind::Tool, _), Target::One(tool)) = (message.operation.method.verb, &message.operation.target) else {
            return Ok(Vec::new());
        };
        let Some(mirrors) = known.get(&route.name).and_then(|tools| tools.get(&*tool.name)) else {
            return Ok(Vec::new());
        };
        mirror::agree(mirrors, headers, message.operation.arguments, route.protocol.may_lack_headers)
    }
}

/// One stream, as it is looked at.
pub struct Watcher<'p, 'm> {
    plan: &'p Plan<'m>,
    introduced: &'p Introduced,
    /// The rules that hold now, and what the caller may read by them.
    route: Arc<Route>,
    readable: Option<Standing>,
    /// What the caller may see of lists, once the rules have changed.
    lists: Option<Standing>,
    /// What the subscription was promised.
    told: Told,
}

impl<'p, 'm> Watcher<'p, 'm> {
    pub fn new(plan: &'p Plan<'m>, introduced: &'p Introduced) -> Self {
        let mut watcher = Self { plan, introduced, route: plan.route.clone(), readable: None, lists: None, told: Told::default() };
        watcher.readable = watcher.attending().map(|attending| attending.standing(&plan.route.policy, false));
        watcher
    }

    fn attending(&self) -> Option<&'p Attending> {
        self.plan.attending()
    }

    /// Judges an event; none for one that is not for this one to judge.
    pub fn judge(&mut self, data: &[u8], watch: Watch) -> Option<Verdict> {
        let Some(attention) = self.plan.attention.as_deref() else {
            // Only a subscription tells of resources; what comes elsewhere was never asked for.
            let stray = watch.era == Era::Modern && self.route.mode == Mode::Enforce;
            let none = Keeps { resource: &mut |_| false, task: &mut |_| None };
            return stray.then(|| listen::judge_event(data, watch.depth, none, &mut |_| false, &mut self.told)).flatten();
        };
        match attention {
            Attention::Introduction => {
                let offer = self.route.protocol.offer(&self.route.policy);
                let (verdict, told) = introduction::judge_event(data, offer, watch.depth)?;
                self.introduced.note(&self.route.name, told);
                Some(verdict)
            }
            Attention::Stream(attending) if watch.era == Era::Modern => {
                let (readable, policy) = (self.readable.as_ref(), &self.route.policy);
                let mut reads = |uri: &str| readable.is_some_and(|readable| policy.shows(readable, Kind::Resource, uri));
                let mut resource = |uri: &str| attending.granted.iter().any(|granted| granted == uri);
                let mut task = |id: &str| Some(attending.follows(id)?.known.clone());
                let granted = Keeps { resource: &mut resource, task: &mut task };
                listen::judge_event(data, watch.depth, granted, &mut reads, &mut self.told)
            }
            Attention::Stream(_) => None,
        }
    }

    /// What the caller may see of lists, once the rules have changed.
    pub fn renewed_lists(&self) -> Option<(Arc<Route>, Standing)> {
        Some((self.route.clone(), self.lists.clone()?))
    }

    /// Takes up another world. Gives the events that tell a client whose lists may have changed, where its server had said
    /// that it would tell.
    pub fn renewed(&mut self, world: &Snapshot) -> Vec<u8> {
        let Some(attending) = self.attending() else { return Vec::new() };
        let Some(route) = world.routes.routes().iter().find(|route| route.name == self.route.name) else { return Vec::new() };
        let same = route.protocol.rules == self.route.protocol.rules && route.list == self.route.list;
        if same || route.mode != Mode::Enforce {
            return Vec::new();
        }
        self.route = route.clone();
        self.readable = Some(attending.standing(&route.policy, false));
        self.lists = Some(attending.standing(&route.policy, route.list == ListMode::Acquirable));
        let told = match self.plan.era {
            Era::Modern => self.told,
            Era::Legacy => self.introduced.of(&route.name),
        };
        self.changes(told).into_bytes()
    }

    fn changes(&self, told: Told) -> String {
        let params = match (self.plan.era, self.plan.id) {
            (Era::Modern, Some(id)) => format!(r#","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{}}}}}"#, id.as_json()),
            _ => String::new(),
        };
        let kinds = [("tools", told.tools), ("prompts", told.prompts), ("resources", told.resources)];
        let event =
            |(kind, _): (&str, bool)| format!("data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/{kind}/list_changed\"{params}}}\n\n");
        kinds.into_iter().filter(|(_, told)| *told).map(event).collect()
    }
}
