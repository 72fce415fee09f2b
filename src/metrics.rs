//! What Prometheus scrapes. The only room that knows the `prometheus` crate.
//!
//! Labels come from closed sets or from the configuration, never from a caller: a tool that neither a
//! rule names nor the upstream's own list has shown is counted as `other`.

mod series;

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::config::Config;
use crate::event::{Event, Outcome};
use crate::governance::surface;
use crate::mcp::ask::Ask;
use series::{Known, Series, Tools};

/// Tool names taken as labels, for each upstream.
const LEARNT_TOOLS: usize = 2_000;

/// Every metric that Doorward has. Cloning shares them.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    duration: HistogramVec,
    overhead: HistogramVec,
    tool_calls: IntCounterVec,
    open_streams: IntGaugeVec,
    connections: IntGauge,
    connections_refused: IntCounter,
    proxy_headers_refused: IntCounter,
    certificate_expiry: IntGaugeVec,
    upstream_healthy: IntGaugeVec,
    keys_age: IntGaugeVec,
    fetches: IntCounterVec,
    drift: IntCounterVec,
    keys_held: IntGaugeVec,
    token_hits: IntCounter,
    token_misses: IntCounter,
    introspection: IntCounterVec,
    reloads: IntCounterVec,
    config_hash: IntGauge,
    revocations: IntGauge,
    revocation_lag: IntGauge,
    clients: IntGaugeVec,
    observed_lost: IntCounter,
    signals: IntCounterVec,
    audit_dropped: IntCounter,
    audit_copies_dropped: IntCounter,
    traces_dropped: IntCounter,
    tools: Arc<RwLock<HashMap<Arc<str>, Arc<Tools>>>>,
    known: Arc<Known>,
    step_up_loops: IntCounterVec,
    tools_changed: IntCounterVec,
    pinned_tools: IntGaugeVec,
    server_requests: IntCounterVec,
}

impl Metrics {
    /// A registry of its own, so that a process (and a test) can hold several.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let histogram = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            let metric = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let single = |name: &str, help: &str| {
            let metric = IntCounter::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let value = |name: &str, help: &str| {
            let metric = IntGauge::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let token_cache = counter("doorward_token_cache_total", "Look-ups of verified tokens", &["result"])?;
        let metrics = Self {
            requests: counter(
                "doorward_requests_total",
                "Requests by what became of them",
                &["upstream", "operation", "outcome", "reason"],
            )?,
            duration: histogram(
                "doorward_request_duration_seconds",
                "From the request's head to the end of the answer",
                &["upstream", "operation"],
                &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0],
            )?,
            overhead: histogram(
                "doorward_overhead_seconds",
                "The part of it spent in the gateway itself",
                &["upstream"],
                &[0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.1, 1.0],
            )?,
            tool_calls: counter("doorward_tool_calls_total", "Tool calls by tool and outcome", &["upstream", "tool", "outcome"])?,
            open_streams: gauge("doorward_open_streams", "Answers being streamed", &["upstream"])?,
            upstream_healthy: gauge(
                "doorward_upstream_healthy",
                "1 where an upstream's server is given calls, 0 while it is left out",
                &["upstream", "address"],
            )?,
            connections: value("doorward_connections", "Open client connections")?,
            connections_refused: single("doorward_connections_refused_total", "Connections closed because of `limits.connections`")?,
            proxy_headers_refused: single(
                "doorward_proxy_header_refused_total",
                "Connections closed for want of a PROXY protocol header that can be believed",
            )?,
            certificate_expiry: gauge(
                "doorward_certificate_expiry_seconds",
                "When the first certificate of the listener ends, in seconds since 1970",
                &["listener"],
            )?,
            keys_age: gauge("doorward_issuer_keys_age_seconds", "Age of the issuer's keys in use; -1 where there are none", &["issuer"])?,
            fetches: counter("doorward_issuer_fetch_total", "Fetches of an issuer's keys", &["issuer", "result"])?,
            drift: counter("doorward_issuer_drift_total", "Changes of what an issuer publishes", &["issuer", "kind"])?,
            keys_held: gauge("doorward_issuer_keys_held", "Keys that the issuer publishes and that are on hold", &["issuer"])?,
            token_hits: token_cache.with_label_values(&["hit"]),
            token_misses: token_cache.with_label_values(&["miss"]),
            introspection: counter("doorward_introspection_total", "Questions to an issuer about tokens", &["issuer", "result"])?,
            reloads: counter("doorward_config_reload_total", "Reloads of the configuration", &["result"])?,
            config_hash: value("doorward_config_hash", "Hash of the configuration in use")?,
            signals: counter("doorward_signals_total", "Signals from outside by what became of them", &["signal", "operation", "result"])?,
            audit_dropped: single("doorward_audit_dropped_total", "Audit records that could not be kept")?,
            audit_copies_dropped: single(
                "doorward_audit_copies_dropped_total",
                "Copies of audit records that their destination did not take",
            )?,
            traces_dropped: single("doorward_traces_dropped_total", "Requests whose spans the collector did not take")?,
            step_up_loops: counter(
                "doorward_step_up_loops_total",
                "Challenges held back because they had no effect before",
                &["upstream"],
            )?,
            tools_changed: counter("doorward_tools_changed_total", "Tools found to be other than approved", &["upstream"])?,
            pinned_tools: gauge("doorward_pinned_tools", "Approved tools by what was seen of them", &["upstream", "state"])?,
            server_requests: counter(
                "doorward_server_requests_total",
                "What servers asked of clients, by what became of it",
                &["upstream", "kind", "outcome"],
            )?,
            revocations: value("doorward_revocations", "Revocations in force")?,
            revocation_lag: value(
                "doorward_revocation_lag_seconds",
                "Since the store was last read; -1 where it never was, or there is none",
            )?,
            clients: gauge("doorward_clients", "Clients in the store and in the configuration", &["state"])?,
            observed_lost: single("doorward_observed_lost_total", "Counts of use that found no room, or made room for others")?,
            tools: Arc::default(),
            known: Arc::default(),
            registry: registry.clone(),
        };
        // A counter that appears with its first event shows no increase: what is waited for is there from the start.
        for result in ["ok", "failed"] {
            metrics.reloads.with_label_values(&[result]);
        }
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(metrics)
    }

    /// Counts one request.
    pub fn record(&self, event: &Event) {
        self.known.with(
            event,
            || self.series(event),
            |series| {
                series.requests.inc();
                series.duration.observe(event.duration.as_secs_f64());
                series.overhead.observe(event.overhead.as_secs_f64());
                if let Some(tools) = &series.tools {
                    tools.count(upstream(event), event.name.as_deref(), event.outcome, &self.tool_calls);
                }
            },
        );
    }

    /// What a request of this kind counts in, by its labels.
    fn series(&self, event: &Event) -> Series {
        let upstream = upstream(event);
        Series::new(
            event,
            self.requests.with_label_values(&[upstream, event.operation, event.outcome.as_str(), event.reason]),
            self.duration.with_label_values(&[upstream, event.operation]),
            self.overhead.with_label_values(&[upstream]),
            (event.operation == "tools/call").then(|| self.tools(&event.upstream.clone().unwrap_or_else(|| upstream.into()))),
        )
    }

    fn tools(&self, upstream: &Arc<str>) -> Arc<Tools> {
        if let Some(tools) = self.tools.read().ok().and_then(|tools| tools.get(upstream).cloned()) {
            return tools;
        }
        self.tools.write().map_or_else(|_| Arc::default(), |mut tools| tools.entry(upstream.clone()).or_default().clone())
    }

    /// Takes the tools that rules name exactly as labels, and the hash of the configuration.
    pub fn configured(&self, config: &Config) {
        self.known.forget();
        self.config_hash.set(i64::try_from(config.hash >> 1).unwrap_or_default());
        for (issuer, kind) in config.issuers.keys().flat_map(|issuer| surface::Kind::ALL.map(|kind| (issuer, kind))) {
            self.drift.with_label_values(&[issuer.as_str(), kind.name()]);
        }
        for signal in &config.signals {
            let poll = signal.poll.is_some().then_some("signal/poll");
            for operation in signal.inlets().map(|(_, inlet)| inlet.operation()).chain(poll) {
                for result in ["revoked", "acknowledged", "repeated", "not_applicable", "refused", "failed"] {
                    self.signals.with_label_values(&[&*signal.name, operation, result]);
                }
            }
        }
        for route in &config.routes {
            self.step_up_loops.with_label_values(&[&*route.name]);
            if route.pin.is_some() {
                self.tools_changed.with_label_values(&[&*route.name]);
            }
            for ask in Ask::ALL.into_iter().filter(|ask| *ask != Ask::Ping) {
                for outcome in [Outcome::Permitted, Outcome::Refused] {
                    self.server_requests.with_label_values(&[&*route.name, ask.label(), outcome.as_str()]);
                }
            }
            let exact = route.policy.rules().iter().flat_map(|rule| &rule.tools).filter(|pattern| pattern.is_exact());
            self.learn(&route.name, exact.map(|pattern| pattern.as_str()));
        }
    }

    /// Takes tools that an upstream itself has listed as labels, up to a bound.
    pub fn learn<'a>(&self, upstream: &Arc<str>, names: impl Iterator<Item = &'a str>) {
        self.tools(upstream).learn(names, LEARNT_TOOLS);
    }

    pub fn token_cache(&self, hit: bool) {
        if hit { &self.token_hits } else { &self.token_misses }.inc();
    }

    pub fn reloaded(&self, ok: bool) {
        self.reloads.with_label_values(&[if ok { "ok" } else { "failed" }]).inc();
    }

    /// Counts a signal from outside.
    pub fn signal(&self, signal: &str, operation: &'static str, result: &'static str) {
        self.signals.with_label_values(&[signal, operation, result]).inc();
    }

    pub fn audit_dropped(&self) {
        self.audit_dropped.inc();
    }

    /// Counts lines whose copy was lost; the log itself has them.
    pub fn audit_copies_dropped(&self, lines: u64) {
        self.audit_copies_dropped.inc_by(lines);
    }

    /// Counts requests whose spans were lost.
    pub fn traces_dropped(&self, requests: u64) {
        self.traces_dropped.inc_by(requests);
    }

    /// How much is revoked, and how old that knowledge is.
    pub fn revocations(&self, number: usize, age: Option<Duration>) {
        self.revocations.set(i64::try_from(number).unwrap_or(i64::MAX));
        self.revocation_lag.set(age.map_or(-1, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX)));
    }

    /// How many clients are in which state, and how many counts of use were lost so far; brought up to date before a scrape.
    pub fn governed(&self, clients: impl Iterator<Item = (&'static str, usize)>, lost: u64) {
        for (state, count) in clients {
            self.clients.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.observed_lost.inc_by(lost.saturating_sub(self.observed_lost.get()));
    }

    pub fn step_up_loop(&self, upstream: &str) {
        self.step_up_loops.with_label_values(&[upstream]).inc();
    }

    pub fn tool_changed(&self, upstream: &str) {
        self.tools_changed.with_label_values(&[upstream]).inc();
    }

    /// How many approved tools of an upstream are in which state.
    pub fn pinned_tools(&self, upstream: &str, counts: [(&'static str, i64); 3]) {
        for (state, count) in counts {
            self.pinned_tools.with_label_values(&[upstream, state]).set(count);
        }
    }

    /// Pinned upstreams are about to be told anew; those that are gone have no metric.
    pub fn pins_changed(&self) {
        self.pinned_tools.reset();
    }

    /// Counts what a server asked of a client.
    pub fn server_request(&self, upstream: &str, ask: Ask, outcome: Outcome) {
        self.server_requests.with_label_values(&[upstream, ask.label(), outcome.as_str()]).inc();
    }

    pub fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    /// Counts a connection as refused for its PROXY protocol header when dropped, unless it is forgotten.
    pub fn proxy_header_refused(&self) -> Refused {
        Refused(Some(self.proxy_headers_refused.clone()))
    }

    /// When the first certificate of a listener ends, in seconds since 1970.
    pub fn certificate_ends(&self, listener: &str, not_after: i64) {
        self.certificate_expiry.with_label_values(&[listener]).set(not_after);
    }

    /// Counts an open connection until the guard is dropped.
    pub fn connection(&self) -> Open {
        Open::new(self.connections.clone())
    }

    /// Counts an open stream until the guard is dropped.
    pub fn stream(&self, upstream: &str) -> Open {
        Open::new(self.open_streams.with_label_values(&[upstream]))
    }

    /// Whether a server is given calls. `address` is what the configuration calls it.
    pub fn upstream_healthy(&self, upstream: &str, address: &str, healthy: bool) {
        self.upstream_healthy.with_label_values(&[upstream, address]).set(healthy.into());
    }

    /// Servers are about to be told anew; those that are gone have no metric.
    pub fn upstreams_changed(&self) {
        self.upstream_healthy.reset();
    }

    /// The state of one issuer's keys, brought up to date before a scrape.
    pub fn issuer(&self, issuer: &str, age: Option<Duration>, fetched: u64, unchanged: u64, failed: u64) {
        let age = age.map_or(-1, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        self.keys_age.with_label_values(&[issuer]).set(age);
        for (result, total) in [("ok", fetched), ("unchanged", unchanged), ("failed", failed)] {
            let counter = self.fetches.with_label_values(&[issuer, result]);
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }

    /// Counts a change of what an issuer publishes.
    pub fn issuer_drift(&self, issuer: &str, kind: surface::Kind) {
        self.drift.with_label_values(&[issuer, kind.name()]).inc();
    }

    /// How many published keys of an issuer verify nothing for now.
    pub fn issuer_keys_held(&self, issuer: &str, number: usize) {
        self.keys_held.with_label_values(&[issuer]).set(i64::try_from(number).unwrap_or(i64::MAX));
    }

    /// How questions about tokens ended, brought up to date before a scrape.
    pub fn introspection(&self, issuer: &str, counts: [(&'static str, u64); 6]) {
        for (result, total) in counts {
            let counter = self.introspection.with_label_values(&[issuer, result]);
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }

    /// All metrics in the text format.
    pub fn text(&self) -> String {
        let mut out = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            Ok(()) => String::from_utf8(out).unwrap_or_default(),
            Err(error) => format!("# {error}\n"),
        }
    }
}

/// Counts once when dropped, however that comes about: a deadline too.
pub struct Refused(Option<IntCounter>);

impl Refused {
    pub fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Refused {
    fn drop(&mut self) {
        if let Some(counter) = &self.0 {
            counter.inc();
        }
    }
}

fn upstream(event: &Event) -> &str {
    event.upstream.as_deref().unwrap_or("none")
}

/// One thing in a gauge, for as long as it lives.
pub struct Open(IntGauge);

impl Open {
    fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome;
    use std::net::Ipv4Addr;
    use std::time::SystemTime;

    fn call(tool: &str) -> Event {
        Event {
            id: String::new(),
            time: SystemTime::UNIX_EPOCH,
            upstream: Some("up".into()),
            who: None,
            token: None,
            operation: "tools/call",
            name: Some(tool.into()),
            outcome: Outcome::Permitted,
            reason: "permitted",
            rule: None,
            arguments: None,
            values: None,
            source: Ipv4Addr::LOCALHOST.into(),
            session: None,
            era: None,
            status: 200,
            duration: Duration::from_millis(3),
            overhead: Duration::from_micros(80),
            trace: None,
        }
    }

    #[test]
    fn an_invented_tool_is_counted_as_other() {
        let metrics = Metrics::new().expect("registers");
        metrics.learn(&"up".into(), ["echo"].into_iter());
        for n in 0..1000 {
            metrics.record(&call(&format!("invented_{n}")));
        }
        metrics.record(&call("echo"));
        let text = metrics.text();
        assert!(text.contains(r#"doorward_tool_calls_total{outcome="permitted",tool="echo",upstream="up"} 1"#), "{text}");
        assert!(text.contains(r#"doorward_tool_calls_total{outcome="permitted",tool="other",upstream="up"} 1000"#));
        assert!(!text.contains("invented"));
    }

    #[test]
    fn each_request_is_counted_under_its_own_labels_however_often_the_names_are_made_anew() {
        let metrics = Metrics::new().expect("registers");
        for n in 0..200 {
            // A name that lies where another one lay must not be taken for it.
            let upstream: Arc<str> = format!("up{}", n % 4).into();
            let outcome = Outcome::ALL[n % 5];
            let reason = ["permitted", "no_rule"][n % 2];
            metrics.record(&Event { upstream: Some(upstream), outcome, reason, ..call("x") });
            if n == 100 {
                metrics.known.forget();
            }
        }
        metrics.record(&Event { upstream: None, operation: "none", ..call("x") });
        let text = metrics.text();
        let counts: Vec<&str> = text.lines().filter(|line| line.starts_with("doorward_requests_total{")).collect();
        assert_eq!(counts.len(), 21, "{counts:?}");
        assert!(counts.iter().filter(|line| line.ends_with(" 10")).count() == 20, "{counts:?}");
        assert!(text.contains(r#"doorward_requests_total{operation="none",outcome="permitted",reason="permitted",upstream="none"} 1"#));
        assert!(text.contains(r#"doorward_request_duration_seconds_count{operation="tools/call",upstream="up3"} 50"#));
        assert!(text.contains(r#"doorward_overhead_seconds_count{upstream="up0"} 50"#));
    }

    #[test]
    fn a_tool_that_is_learnt_later_is_counted_by_name_from_then_on_and_their_number_is_bounded() {
        let metrics = Metrics::new().expect("registers");
        metrics.record(&call("late"));
        metrics.learn(&"up".into(), ["late"].into_iter());
        metrics.record(&call("late"));
        let names: Vec<String> = (0..2 * LEARNT_TOOLS).map(|n| format!("tool{n}")).collect();
        metrics.learn(&"up".into(), names.iter().map(String::as_str));
        metrics.learn(&"up".into(), names.iter().rev().map(String::as_str));
        for name in &names {
            metrics.record(&call(name));
        }
        let text = metrics.text();
        assert!(text.contains(r#"doorward_tool_calls_total{outcome="permitted",tool="late",upstream="up"} 1"#));
        let series = text.lines().filter(|line| line.starts_with("doorward_tool_calls_total{")).count();
        assert_eq!(series, LEARNT_TOOLS + 1);
    }
}
