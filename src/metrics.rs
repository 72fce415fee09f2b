//! What Prometheus scrapes. The only file that knows the `prometheus` crate.
//!
//! Labels come from closed sets or from the configuration, never from a caller: a tool that neither a
//! rule names nor the upstream's own list has shown is counted as `other`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::config::Config;
use crate::event::Event;

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
    keys_age: IntGaugeVec,
    fetches: IntCounterVec,
    token_cache: IntCounterVec,
    introspection: IntCounterVec,
    reloads: IntCounterVec,
    config_hash: IntGauge,
    audit_dropped: IntCounter,
    tools: Arc<RwLock<HashMap<Arc<str>, HashSet<String>>>>,
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
            connections: value("doorward_connections", "Open client connections")?,
            connections_refused: single("doorward_connections_refused_total", "Connections closed because of `limits.connections`")?,
            keys_age: gauge("doorward_issuer_keys_age_seconds", "Age of the issuer's keys in use; -1 where there are none", &["issuer"])?,
            fetches: counter("doorward_issuer_fetch_total", "Fetches of an issuer's keys", &["issuer", "result"])?,
            token_cache: counter("doorward_token_cache_total", "Look-ups of verified tokens", &["result"])?,
            introspection: counter("doorward_introspection_total", "Questions to an issuer about tokens", &["issuer", "result"])?,
            reloads: counter("doorward_config_reload_total", "Reloads of the configuration", &["result"])?,
            config_hash: value("doorward_config_hash", "Hash of the configuration in use")?,
            audit_dropped: single("doorward_audit_dropped_total", "Audit records that could not be kept")?,
            tools: Arc::default(),
            registry: registry.clone(),
        };
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(metrics)
    }

    /// Counts one request.
    pub fn record(&self, event: &Event) {
        let upstream = event.upstream.as_deref().unwrap_or("none");
        self.requests.with_label_values(&[upstream, event.operation, event.outcome.as_str(), event.reason]).inc();
        self.duration.with_label_values(&[upstream, event.operation]).observe(event.duration.as_secs_f64());
        self.overhead.with_label_values(&[upstream]).observe(event.overhead.as_secs_f64());
        if event.operation == "tools/call" {
            let tool = event.name.as_deref().filter(|tool| self.knows(upstream, tool)).unwrap_or("other");
            self.tool_calls.with_label_values(&[upstream, tool, event.outcome.as_str()]).inc();
        }
    }

    fn knows(&self, upstream: &str, tool: &str) -> bool {
        self.tools.read().is_ok_and(|tools| tools.get(upstream).is_some_and(|known| known.contains(tool)))
    }

    /// Takes the tools that rules name exactly as labels, and the hash of the configuration.
    pub fn configured(&self, config: &Config) {
        self.config_hash.set(i64::try_from(config.hash >> 1).unwrap_or_default());
        for route in &config.routes {
            let exact = route.policy.rules().iter().flat_map(|rule| &rule.tools).filter(|pattern| pattern.is_exact());
            self.learn(&route.name, exact.map(|pattern| pattern.as_str()));
        }
    }

    /// Takes tools that an upstream itself has listed as labels, up to a bound.
    pub fn learn<'a>(&self, upstream: &Arc<str>, names: impl Iterator<Item = &'a str>) {
        let Ok(mut tools) = self.tools.write() else { return };
        let known = tools.entry(upstream.clone()).or_default();
        for name in names.take(LEARNT_TOOLS) {
            if known.len() >= LEARNT_TOOLS {
                return;
            }
            known.insert(name.to_owned());
        }
    }

    pub fn token_cache(&self, hit: bool) {
        self.token_cache.with_label_values(&[if hit { "hit" } else { "miss" }]).inc();
    }

    pub fn reloaded(&self, ok: bool) {
        self.reloads.with_label_values(&[if ok { "ok" } else { "failed" }]).inc();
    }

    pub fn audit_dropped(&self) {
        self.audit_dropped.inc();
    }

    pub fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    /// Counts an open connection until the guard is dropped.
    pub fn connection(&self) -> Open {
        Open::new(self.connections.clone())
    }

    /// Counts an open stream until the guard is dropped.
    pub fn stream(&self, upstream: &str) -> Open {
        Open::new(self.open_streams.with_label_values(&[upstream]))
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
            source: Ipv4Addr::LOCALHOST.into(),
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
}
