//! Are the servers' tools still as they were approved? What was seen of each since the start.
//!
//! Told by every list that passes through and by looks of the gateway's own; asked before every call of a pinned upstream.
//! Knows no clock and asks no server. A change stays until the tool is approved anew: a server that shows its good side
//! again, to us or to others, is no better for it.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::mcp::definition::Definition;
use crate::mcp::{Kind, Operation, Target, Verb};
use crate::pin::{Flaw, Pin};
use crate::route::{Route, Upstream};

/// Names without an approval that are told of, for each upstream.
const STRANGERS: usize = 100;

const UNSEEN: u8 = 0;
const VERIFIED: u8 = 1;
const CHANGED: u8 = 2;

/// All pinned upstreams by name.
#[derive(Debug, Default)]
pub struct Vigils(HashMap<Arc<str>, Arc<Vigil>>);

/// One pinned upstream.
#[derive(Debug)]
pub struct Vigil {
    pub route: Arc<Route>,
    pin: Arc<Pin>,
    tools: HashMap<String, Sight>,
    changes: AtomicU64,
    strangers: Mutex<Strangers>,
    wanted: AtomicBool,
}

/// What was seen of one approved tool.
#[derive(Debug, Default)]
struct Sight {
    state: AtomicU8,
    told: AtomicBool,
}

#[derive(Debug, Default)]
struct Strangers {
    known: BTreeSet<String>,
    untold: Vec<String>,
}

/// How many approved tools are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    pub verified: i64,
    pub changed: i64,
    pub unverified: i64,
}

impl Vigils {
    /// What was seen of a tool stays seen where its approval is the same, a change in any case, and anything else where the
    /// servers are the same too.
    pub fn build(routes: &[Arc<Route>], old: Option<&Self>) -> Self {
        let pinned = routes.iter().filter_map(|route| Some((route, route.pin.as_ref()?)));
        let vigil = |(route, pin): (&Arc<Route>, &Arc<Pin>)| {
            let before = old.and_then(|old| old.0.get(&route.name));
            (route.name.clone(), Arc::new(Vigil::new(route.clone(), pin.clone(), before.map(|before| &**before))))
        };
        Self(pinned.map(vigil).collect())
    }

    pub fn find(&self, upstream: &str) -> Option<&Arc<Vigil>> {
        self.0.get(upstream)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Vigil>> {
        self.0.values()
    }

    /// What is the matter with a call of a pinned upstream, if anything is.
    pub fn flaw(&self, upstream: &str, operation: &Operation<'_>) -> Option<Flaw> {
        // What a tool began, and what stands for it, is the tool; to end it is free.
        let is_tool = match operation.method.verb {
            Verb::Use(Kind::Tool, _) | Verb::Point(Kind::Tool, _) => true,
            Verb::Task => operation.method.name != "tasks/cancel",
            _ => false,
        };
        if !is_tool {
            return None;
        }
        let things = match &operation.target {
            Target::Nothing => &[],
            Target::One(thing) => std::slice::from_ref(thing),
            Target::Each(things) => things.as_slice(),
        };
        let vigil = self.find(upstream)?;
        things.iter().find_map(|thing| vigil.flaw(&thing.name))
    }
}

impl Vigil {
    fn new(route: Arc<Route>, pin: Arc<Pin>, old: Option<&Self>) -> Self {
        let same_servers = old.is_some_and(|old| is_same(&old.route.upstream, &route.upstream));
        let sight = |name: &str| {
            let sight = Sight::default();
            let Some(before) = old.filter(|old| old.pin.approvals.find(name) == pin.approvals.find(name)) else { return sight };
            let Some(before) = before.tools.get(name) else { return sight };
            let state = before.state.load(Relaxed);
            if state == CHANGED || same_servers {
                sight.state.store(state, Relaxed);
                sight.told.store(before.told.load(Relaxed), Relaxed);
            }
            sight
        };
        let tools = pin.approvals.iter().map(|(name, _)| (name.to_owned(), sight(name))).collect();
        Self { route, tools, pin, changes: AtomicU64::new(0), strangers: Mutex::default(), wanted: AtomicBool::new(false) }
    }

    pub fn pin(&self) -> &Pin {
        &self.pin
    }

    /// What is the matter with a call of this tool, if anything is.
    pub fn flaw(&self, name: &str) -> Option<Flaw> {
        let Some(sight) = self.tools.get(name) else { return Some(Flaw::Unapproved) };
        match sight.state.load(Relaxed) {
            VERIFIED => None,
            CHANGED => Some(Flaw::Changed),
            _ => {
                self.wanted.store(true, Relaxed);
                Some(Flaw::Unverified)
            }
        }
    }

    /// Takes in how a server defines a tool. Whether that may be shown: only as it was approved, and if no server has ever
    /// shown it otherwise.
    pub fn see(&self, name: &str, definition: &str) -> bool {
        let (Some(approval), Some(sight)) = (self.pin.approvals.find(name), self.tools.get(name)) else {
            self.meet(name);
            return false;
        };
        if Definition::read(definition).is_some_and(|now| now == approval.definition) {
            // INVARIANT: from changed no way leads back.
            return sight.state.compare_exchange(UNSEEN, VERIFIED, Relaxed, Relaxed) != Err(CHANGED);
        }
        if sight.state.swap(CHANGED, Relaxed) != CHANGED {
            self.changes.fetch_add(1, Relaxed);
        }
        false
    }

    /// Grows with each change, so that what was remembered before it is not used after it.
    pub fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    /// Whether a call was refused because a tool was not seen yet, since this was last asked.
    pub fn take_wanted(&self) -> bool {
        self.wanted.swap(false, Relaxed)
    }

    /// Changed tools, each told once.
    pub fn untold(&self) -> impl Iterator<Item = &str> {
        let untold = |sight: &Sight| sight.state.load(Relaxed) == CHANGED && !sight.told.swap(true, Relaxed);
        self.tools.iter().filter(move |(_, sight)| untold(sight)).map(|(name, _)| name.as_str())
    }

    /// Names that servers list and nobody approved, each told once, and only so many.
    pub fn untold_strangers(&self) -> Vec<String> {
        std::mem::take(&mut self.strangers.lock().unwrap_or_else(PoisonError::into_inner).untold)
    }

    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for sight in self.tools.values() {
            match sight.state.load(Relaxed) {
                VERIFIED => census.verified += 1,
                CHANGED => census.changed += 1,
                _ => census.unverified += 1,
            }
        }
        census
    }

    fn meet(&self, name: &str) {
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if strangers.known.len() >= STRANGERS {
            return;
        }
        let name: String = name.chars().take(256).collect();
        if strangers.known.insert(name.clone()) {
            strangers.untold.push(name);
        }
    }
}

/// The credential may rotate; the servers are the same.
fn is_same(before: &Upstream, now: &Upstream) -> bool {
    before.reach == now.reach && before.path == now.path
}

#[cfg(test)]
mod tests;
