//! The servers of one upstream, and which of them is given the next call.
//!
//! The one with the fewest calls in flight: calls take from a millisecond to minutes, so that counting
//! turns would pile them up behind a slow server. A server that fails is left out for a while, but
//! where all have failed all are tried. Knows no request.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::HeaderValue;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use super::destination::Destination;
use super::dial::{CONNECT, IDLE, Links};
use super::resolve::Resolver;
use super::standing::Standing;
use super::trust::Trust;
use super::{health, resolve};
use crate::metrics::Metrics;
use crate::route::{Address, Place, Reach, Route};

const H2_STREAMS: usize = 100;
/// How long the first calls wait for names to be resolved.
const FIRST_ANSWER: Duration = Duration::from_secs(2);

/// One address that answers calls.
pub struct Backend {
    pub peer: Destination,
    /// Sent as `Host`/`:authority`.
    pub authority: HeaderValue,
    /// Tells it from the others in the id of a session that began there, also after a restart and at other replicas.
    pub mark: Arc<str>,
    /// Which of the configured places it belongs to.
    place: usize,
    /// Of the family that the resolver likes less: used where all others have failed.
    spare: bool,
    standing: Arc<Standing>,
}

impl Backend {
    /// Counts a call to it until the guard is dropped.
    pub fn flight(&self) -> Flight {
        self.standing.depart();
        Flight(self.standing.clone())
    }
}

/// A call to a server, until its answer has ended.
pub struct Flight(Arc<Standing>);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.arrive();
    }
}

/// The servers of one upstream.
pub struct Pool {
    upstream: Arc<str>,
    pub reach: Arc<Reach>,
    metrics: Metrics,
    began: Instant,
    backends: ArcSwap<Vec<Arc<Backend>>>,
    /// Where equal servers stand in a row the next one begins.
    turn: AtomicUsize,
    sources: Mutex<Sources>,
    /// Names that were not asked for yet.
    unasked: watch::Sender<usize>,
    /// By place: asks for its name to be resolved again.
    stirred: Vec<Arc<Notify>>,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// What backends are made from.
struct Sources {
    trust: Option<Trust>,
    /// By place; none where a name was never resolved.
    answers: Vec<Option<Vec<SocketAddr>>>,
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..).for_each(|task| task.abort());
    }
}

impl Pool {
    /// A pool whose names are not resolved yet, and which nobody looks after.
    pub fn new(route: &Route, metrics: Metrics) -> Self {
        let reach = route.upstream.reach.clone();
        // SECURITY: what was to be verified in a special way is not verified in another one.
        let told = |problem: &String| tracing::error!(upstream = %route.name, problem, "upstream cannot be reached");
        let trust = Trust::load(&reach).inspect_err(told).ok();
        let answers: Vec<_> = reach.places.iter().map(|place| fixed(&place.address)).collect();
        let unasked = reach.places.iter().filter(|place| place.address.is_named()).count();
        let pool = Self {
            upstream: route.name.clone(),
            metrics,
            began: Instant::now(),
            backends: ArcSwap::default(),
            turn: AtomicUsize::new(0),
            sources: Mutex::new(Sources { trust, answers }),
            unasked: watch::channel(unasked).0,
            stirred: reach.places.iter().map(|_| Arc::default()).collect(),
            tasks: Mutex::default(),
            reach,
        };
        pool.rebuild(&mut pool.sources());
        pool
    }

    /// Resolves names and checks servers for as long as the pool lives.
    pub fn look_after(self: &Arc<Self>, links: &Arc<Links>, resolver: &Arc<dyn Resolver>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let places = self.reach.places.iter().zip(&self.stirred).enumerate();
        for (index, (_, stirred)) in places.filter(|(_, (place, _))| place.address.is_named()) {
            let keep = resolve::keep(Arc::downgrade(self), index, resolver.clone(), stirred.clone());
            tasks.push(tokio::spawn(keep).abort_handle());
        }
        if let Some(health) = &self.reach.health {
            tasks.push(tokio::spawn(health::keep(Arc::downgrade(self), health.clone(), links.clone())).abort_handle());
        }
    }

    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    pub fn backends(&self) -> Arc<Vec<Arc<Backend>>> {
        self.backends.load_full()
    }

    pub fn size(&self) -> usize {
        self.backends.load().len()
    }

    /// Host and port of a place.
    pub fn name(&self, place: usize) -> Option<(&str, u16)> {
        match &self.reach.places.get(place)?.address {
            Address::Tcp { host, port } | Address::Tls { host, port, .. } => Some((host, *port)),
            Address::Unix(_) => None,
        }
    }

    /// Waits for the first answers of the resolver, but not for long.
    pub async fn known(&self) {
        if self.backends.load().is_empty() {
            let mut unasked = self.unasked.subscribe();
            let _ = tokio::time::timeout(FIRST_ANSWER, unasked.wait_for(|left| *left == 0 || !self.backends.load().is_empty())).await;
        }
    }

    /// The server for the next call, none of `tried` again. A call within a session goes where the session began, or to another
    /// address of that name. SECURITY: never elsewhere, where somebody else's session may have the same id.
    pub fn pick(&self, tried: &[Arc<Backend>], home: Option<&str>) -> Option<Arc<Backend>> {
        let backends = self.backends.load();
        if let Some(home) = home.filter(|_| tried.is_empty())
            && let Some(backend) = backends.iter().find(|backend| *backend.mark == *home)
        {
            return Some(backend.clone());
        }
        let count = backends.len();
        let turn = if count > 1 { self.turn.fetch_add(1, Relaxed) % count } else { 0 };
        let houses = |backend: &Backend| home.is_none_or(|home| home.get(..NAMED) == backend.mark.get(..NAMED));
        let is_new =
            |backend: &&Arc<Backend>| houses(backend) && !tried.iter().any(|tried| Arc::ptr_eq(&tried.standing, &backend.standing));
        let candidates = || backends.iter().cycle().skip(turn).take(count).filter(is_new);
        let now = self.began.elapsed();
        let trial = candidates().find(|backend| backend.standing.may_try(now));
        let best = || candidates().min_by_key(|backend| (!backend.standing.is_fit(), backend.spare, backend.standing.in_flight()));
        trial.or_else(best).cloned()
    }

    /// The server did not take a call, or died over it. Its name may have moved.
    pub fn failed(&self, backend: &Backend) {
        if let Some(stirred) = self.stirred.get(backend.place) {
            stirred.notify_one();
        }
        if backend.standing.failed(self.began.elapsed()) {
            self.tell(backend.place, "server fails and is left out for a while");
        }
    }

    pub fn succeeded(&self, backend: &Backend) {
        if backend.standing.succeeded() {
            self.tell(backend.place, "server answers again");
        }
    }

    /// A check has ended.
    pub fn checked(&self, backend: &Backend, well: bool, row: u32) {
        if backend.standing.checked(well, row) {
            self.tell(backend.place, if well { "checks find the server well" } else { "checks find the server ill" });
        }
    }

    /// What the resolver says of a place; where it says nothing, the last answer stays. Returns whether there is one.
    pub fn resolved(&self, place: usize, found: Option<Vec<SocketAddr>>) -> bool {
        let mut sources = self.sources();
        let Some(answer) = sources.answers.get_mut(place) else { return false };
        let first = answer.is_none();
        if let Some(mut found) = found {
            // One order for one answer, however the resolver turns it; its first choice of family comes first.
            let preferred = found.first().is_some_and(SocketAddr::is_ipv4);
            found.sort_unstable_by_key(|address| (address.is_ipv4() != preferred, *address));
            found.dedup();
            if answer.as_ref() != Some(&found) {
                *answer = Some(found);
                self.rebuild(&mut sources);
            }
        }
        let known = sources.answers.get(place).is_some_and(Option::is_some);
        drop(sources);
        if first {
            self.unasked.send_modify(|left| *left = left.saturating_sub(1));
        }
        known
    }

    /// Reads certificates again; what cannot be read leaves the old ones in use.
    pub fn reload(&self) {
        match Trust::load(&self.reach) {
            Ok(trust) => {
                let mut sources = self.sources();
                sources.trust = Some(trust);
                self.rebuild(&mut sources);
            }
            Err(problem) => tracing::error!(upstream = %self.upstream, problem, "certificates not reloaded, the old ones stay in use"),
        }
    }

    /// Tells the metrics how all places stand.
    pub fn tell_all(&self) {
        for (index, place) in self.reach.places.iter().enumerate() {
            self.metrics.upstream_healthy(&self.upstream, &place.label(), self.is_fit(index));
        }
    }

    fn tell(&self, place: usize, what: &'static str) {
        let Some(label) = self.reach.places.get(place).map(Place::label) else { return };
        tracing::warn!(upstream = %self.upstream, address = label, "{what}");
        self.metrics.upstream_healthy(&self.upstream, &label, self.is_fit(place));
    }

    /// A place whose name is not resolved yet has not failed.
    fn is_fit(&self, place: usize) -> bool {
        let backends = self.backends.load();
        let mut here = backends.iter().filter(|backend| backend.place == place).peekable();
        here.peek().is_none() || here.any(|backend| backend.standing.is_fit())
    }

    fn sources(&self) -> std::sync::MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Addresses that stay keep their standing.
    fn rebuild(&self, sources: &mut Sources) {
        let Some(trust) = &sources.trust else { return };
        let old = self.backends.load_full();
        let mut all = Vec::new();
        for (index, place) in self.reach.places.iter().enumerate() {
            let Ok(authority) = HeaderValue::from_str(&place.authority) else { continue };
            let answers = sources.answers.get(index).and_then(Option::as_deref).unwrap_or_default();
            let first = answers.first().map(SocketAddr::is_ipv4);
            let dialled = peers(&place.address, answers);
            all.extend(dialled.into_iter().map(|(address, mut peer)| {
                equip(&mut peer, &self.reach, trust);
                let known = old.iter().find(|known| known.place == index && known.peer._address == peer._address);
                Arc::new(Backend {
                    mark: mark(place, &peer).into(),
                    peer: Destination::new(peer),
                    authority: authority.clone(),
                    place: index,
                    spare: address.map(|address| address.is_ipv4()) != first,
                    standing: known.map(|known| known.standing.clone()).unwrap_or_default(),
                })
            }));
        }
        self.backends.store(Arc::new(all));
    }
}

/// Characters of a mark that all addresses of one name have in common.
const NAMED: usize = 8;

/// Short hashes of the name and of the address: a client sees them, and they tell nothing of the inside.
fn mark(place: &Place, peer: &HttpPeer) -> String {
    let half = |text: &str| -> String { blake3::hash(text.as_bytes()).to_hex().chars().take(NAMED).collect() };
    let name = place.label();
    half(&name) + &half(&format!("{name} {}", peer._address))
}

/// What needs no resolver.
fn fixed(address: &Address) -> Option<Vec<SocketAddr>> {
    match address {
        Address::Unix(_) => Some(Vec::new()),
        Address::Tcp { host, port } | Address::Tls { host, port, .. } => host.parse().ok().map(|ip| vec![SocketAddr::new(ip, *port)]),
    }
}

fn peers(address: &Address, answers: &[SocketAddr]) -> Vec<(Option<SocketAddr>, HttpPeer)> {
    let dialled = |tls: bool, name: &str| answers.iter().map(|at| (Some(*at), HttpPeer::new(at, tls, name.to_owned()))).collect();
    match address {
        Address::Unix(path) => {
            let peer = path.to_str().and_then(|path| HttpPeer::new_uds(path, false, String::new()).ok());
            peer.into_iter().map(|peer| (None, peer)).collect()
        }
        Address::Tcp { .. } => dialled(false, ""),
        Address::Tls { host, .. } => dialled(true, host),
    }
}

fn equip(peer: &mut HttpPeer, reach: &Reach, trust: &Trust) {
    trust.equip(peer);
    let tls = peer.is_tls();
    let options = &mut peer.options;
    options.connection_timeout = Some(CONNECT);
    options.total_connection_timeout = Some(CONNECT);
    options.idle_timeout = Some(IDLE);
    options.max_h2_streams = H2_STREAMS;
    options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
    match (reach.http2, tls) {
        (true, true) => options.set_http_version(2, 1),
        (true, false) => options.set_http_version(2, 2),
        (false, _) => options.set_http_version(1, 1),
    }
}

#[cfg(test)]
mod tests;
