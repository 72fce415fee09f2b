//! Looks at the tools of pinned upstreams, and tells what was found: log, audit record, metrics.
//!
//! Beside the requests: at the start, after a reload, each interval, and soon after a call of a tool that was not seen yet.
//! One look at each upstream is under way at a time.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::join_all;
use tokio::task::{AbortHandle, JoinSet};

use super::comparison::plain;
use super::serve::random;
use crate::audit::Audit;
use crate::event::{Event, Outcome};
use crate::metrics::Metrics;
use crate::pin::Flaw;
use crate::remote::listed;
use crate::route::Mode;
use crate::state::{Snapshot, State};
use crate::vigil::Vigil;

/// Between two looks for something to do; while nothing is pinned, it takes longer.
const TICK: Duration = Duration::from_millis(200);
const IDLE: Duration = Duration::from_secs(1);
/// At least this lies between two looks at one upstream, whoever wants them.
const PAUSE: Duration = Duration::from_secs(1);
/// Of one request to a server.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Who tells, and where.
struct Lookout {
    state: Arc<State>,
    metrics: Metrics,
    audit: Audit,
    /// The random half of record ids.
    process: u64,
    told: u64,
    looks: JoinSet<()>,
    watched: HashMap<Arc<str>, Watched>,
}

/// The last look at an upstream.
struct Watched {
    vigil: Arc<Vigil>,
    begun: Instant,
    look: AbortHandle,
}

/// Begins, on the current runtime, for as long as that lives.
pub fn start(state: Arc<State>, metrics: Metrics, audit: Audit) {
    let mut lookout = Lookout { state, metrics, audit, process: random(), told: 0, looks: JoinSet::new(), watched: HashMap::new() };
    tokio::spawn(async move {
        loop {
            let pinned = lookout.tick();
            tokio::time::sleep(if pinned { TICK } else { IDLE }).await;
        }
    });
}

impl Lookout {
    /// Whether anything is pinned.
    fn tick(&mut self) -> bool {
        while self.looks.try_join_next().is_some() {}
        let world = self.state.current();
        let before = self.watched.len();
        self.watched.retain(|name, _| world.vigils.find(name).is_some());
        if self.watched.len() < before {
            self.metrics.pins_changed();
        }
        for vigil in world.vigils.iter() {
            self.tell(vigil);
            if self.is_due(vigil) {
                let look = self.looks.spawn(look(world.clone(), vigil.clone()));
                self.watched.insert(vigil.route.name.clone(), Watched { vigil: vigil.clone(), begun: Instant::now(), look });
            }
        }
        world.vigils.iter().next().is_some()
    }

    fn is_due(&self, vigil: &Arc<Vigil>) -> bool {
        let Some(last) = self.watched.get(&vigil.route.name) else { return true };
        if !last.look.is_finished() {
            return false;
        }
        let since = last.begun.elapsed();
        !Arc::ptr_eq(&last.vigil, vigil) || since >= vigil.pin().interval || (since >= PAUSE && vigil.take_wanted())
    }

    fn tell(&mut self, vigil: &Vigil) {
        let upstream = &vigil.route.name;
        for tool in vigil.untold() {
            tracing::error!(%upstream, tool = plain(tool), file = %vigil.pin().file.display(), "a tool is not as it was approved; `doorward check --probe` shows the difference");
            self.metrics.tool_changed(upstream);
            self.record(vigil, tool, Flaw::Changed);
        }
        for tool in vigil.untold_strangers() {
            tracing::warn!(%upstream, tool = plain(&tool), "a tool is listed that nobody approved");
            self.record(vigil, &tool, Flaw::Unapproved);
        }
        let census = vigil.census();
        self.metrics
            .pinned_tools(upstream, [("verified", census.verified), ("changed", census.changed), ("unverified", census.unverified)]);
    }

    /// A record that no request made: it has no caller, and the status 0.
    fn record(&mut self, vigil: &Vigil, tool: &str, flaw: Flaw) {
        self.told += 1;
        let observed = vigil.route.mode == Mode::Observe;
        let event = Event {
            id: format!("{:016x}{:016x}", self.process, self.told),
            time: SystemTime::now(),
            upstream: Some(vigil.route.name.clone()),
            who: None,
            token: None,
            operation: "tools/definition",
            name: Some(tool.chars().take(256).collect()),
            outcome: if observed { Outcome::Observed } else { Outcome::Refused },
            reason: flaw.reason(),
            rule: None,
            arguments: None,
            values: None,
            source: Ipv4Addr::UNSPECIFIED.into(),
            session: None,
            era: None,
            status: 0,
            duration: Duration::ZERO,
            overhead: Duration::ZERO,
            trace: None,
        };
        if !self.audit.record(event, None) {
            self.metrics.audit_dropped();
        }
    }
}

/// Asks every server, for one that differs is enough.
async fn look(world: Arc<Snapshot>, vigil: Arc<Vigil>) {
    let upstream = &vigil.route.upstream;
    let own = match world.upstream_tokens.own(&vigil.route).await {
        Ok(own) => own,
        // The reason was told where it was met.
        Err(_) => return,
    };
    let own = own.as_ref();
    let asked = upstream.reach.places.iter().map(|place| async move { (place, listed::tools(upstream, place, own, TIMEOUT).await) });
    for (place, found) in join_all(asked).await {
        match found {
            Ok(tools) => tools.iter().for_each(|tool| {
                vigil.see(&tool.name, &tool.text);
            }),
            Err(why) => {
                tracing::warn!(upstream = %vigil.route.name, server = place.label(), why, "its tools could not be compared with what was approved")
            }
        }
    }
}
