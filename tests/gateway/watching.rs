//! What the dashboard and the alerts ask for is what a running gateway says.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{self, Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::{Value, json};

use crate::support::tls::Identity;
use crate::support::{Answer, Setup, World, eventually};

const DASHBOARD: &str = include_str!("../../deploy/grafana/dashboard.json");
const ALERTS: &str = include_str!("../../deploy/prometheus/alerts.yaml");
const PAGE: &str = include_str!("../../docs/operations.md");

/// Labels that Prometheus itself adds to what it scrapes.
const SCRAPED: [&str; 2] = ["job", "instance"];

/// Every expression: queries and variables of the dashboard, and rules of alerts.
fn expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let alerts: serde_yaml::Value = serde_yaml::from_str(ALERTS).unwrap();
    let targets = dashboard["panels"].as_array().unwrap().iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
    let rules = alerts["groups"][0]["rules"].as_sequence().unwrap().iter().map(|rule| rule["expr"].as_str().unwrap().to_owned());
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter().filter_map(|variable| variable["definition"].as_str());
    // `label_values(selector, label)` asks for the values of one label.
    let variables = variables.map(|definition| {
        let (selector, label) = definition.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap().rsplit_once(", ").unwrap();
        format!("count by ({label}) ({selector})")
    });
    let all: Vec<String> = queries.chain(rules).chain(variables).collect();
    assert!(all.len() > 40, "{}", all.len());
    all
}

fn parse(expression: &str) -> Expr {
    let plain = expression.replace("$__rate_interval", "5m").replace("$__range", "1h").replace("$job", ".*").replace("$upstream", ".*");
    parser::parse(&plain).unwrap_or_else(|fault| panic!("{expression}: {fault}"))
}

/// What is found wrong in one expression.
struct Reader<'m> {
    /// Labels by name of the metric, and of its parts for a histogram.
    metrics: &'m BTreeMap<String, BTreeSet<String>>,
    kinds: &'m BTreeMap<String, String>,
    words: &'m BTreeSet<&'m str>,
    /// Labels of the metrics that were met on the way down.
    met: BTreeSet<String>,
    grouped: BTreeSet<String>,
    faults: Vec<String>,
}

impl Reader<'_> {
    fn selector(&mut self, selector: &VectorSelector) {
        let Some(name) = &selector.name else { return self.faults.push("a selector without a name".into()) };
        if name == "up" {
            self.met.extend(SCRAPED.map(String::from));
            return;
        }
        let Some(labels) = self.metrics.get(name) else { return self.faults.push(format!("no metric `{name}`")) };
        self.met.extend(labels.iter().cloned().chain(SCRAPED.map(String::from)));
        for matcher in &selector.matchers.matchers {
            if !labels.contains(&matcher.name) && !SCRAPED.contains(&matcher.name.as_str()) {
                self.faults.push(format!("`{name}` has no label `{}`", matcher.name));
            }
            self.value(matcher);
        }
    }

    /// A word that a gateway says stands on the operator's page.
    fn value(&mut self, matcher: &Matcher) {
        if !["outcome", "reason", "result"].contains(&matcher.name.as_str()) {
            return;
        }
        for word in matcher.value.split('|') {
            let stands = match &matcher.op {
                MatchOp::Re(_) | MatchOp::NotRe(_) if word.ends_with(".*") => {
                    self.words.iter().any(|known| known.starts_with(word.trim_end_matches(".*")))
                }
                _ => self.words.contains(word),
            };
            if !stands {
                self.faults.push(format!("`{}` is never `{word}`", matcher.name));
            }
        }
    }

    /// Only what counts up has a rate.
    fn rate(&mut self, of: &Expr) {
        let Expr::MatrixSelector(range) = of else { return };
        let name = range.vs.name.clone().unwrap_or_default();
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(&name);
        if !self.kinds.get(base).is_some_and(|kind| kind == "counter" || kind == "histogram") {
            self.faults.push(format!("`{name}` does not count up, so it has no rate"));
        }
    }
}

impl ExprVisitor for Reader<'_> {
    type Error = ();

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, ()> {
        match expr {
            Expr::VectorSelector(selector) => self.selector(selector),
            Expr::MatrixSelector(range) => self.selector(&range.vs),
            Expr::Aggregate(aggregate) => {
                let labels = aggregate.modifier.iter().flat_map(|modifier| modifier.labels().labels.clone());
                self.grouped.extend(labels);
            }
            Expr::Call(call) if ["rate", "increase"].contains(&call.func.name) => call.args.args.iter().for_each(|of| self.rate(of)),
            _ => {}
        }
        Ok(true)
    }
}

/// Names with their labels, and names with their kinds, as `/metrics` says them.
fn read(text: &str) -> (BTreeMap<String, BTreeSet<String>>, BTreeMap<String, String>) {
    let (mut metrics, mut kinds): (BTreeMap<String, BTreeSet<String>>, BTreeMap<String, String>) = Default::default();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kinds.insert(name.into(), kind.into());
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let labels = line.split_once('{').map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
            let labels = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
            metrics.entry(name.to_owned()).or_default().extend(labels);
        }
    }
    (metrics, kinds)
}

#[tokio::test]
async fn every_query_asks_for_metrics_labels_and_words_that_a_gateway_says() {
    let (mut setup, identity) = (Setup::new().await, Identity::new());
    setup.over_tls(&identity);
    let introspection = json!({"url": "http://127.0.0.1:1/", "client_id": "gateway", "client_secret_env": "GATEWAY_TEST_SECRET"});
    setup.config["issuers"]["opaque"] = json!({"issuer": "http://127.0.0.1:1", "introspection": introspection});
    setup.config["upstreams"]["crm"]["pin"] = json!({"file": "crm.tools.json"});
    setup.config["store"] = json!(format!("sqlite:{}", setup.folder.path().join("doorward.db").display()));
    setup.config["signals"] = json!({"idp": {"issuers": "corp", "revoke": {"token_env": "GATEWAY_TEST_SECRET"}}});
    let world = setup.start_with(identity.client()).await;
    let (answer, feed) = Answer::stream();
    world.files.once(answer);
    let stream = world.tool("read_file").token(&world.ta()).open().await;
    world.tool("read_file").token(&world.ta()).send().await.is(200);
    world.tool("wipe").token(&world.ta()).send().await.is(403);
    world.gateway.offer_and_wait("broken: [").await;
    let metrics = eventually("the metrics", || async {
        let metrics = world.gateway.metrics().await;
        (metrics.sum("doorward_requests_total", "") >= 2.0).then_some(metrics)
    })
    .await;
    drop((stream, feed));
    let (metrics, kinds) = read(&metrics.0);
    let words: BTreeSet<&str> = PAGE.split('`').skip(1).step_by(2).collect();
    let mut faults = Vec::new();
    for expression in expressions() {
        let (met, grouped) = Default::default();
        let mut reader = Reader { metrics: &metrics, kinds: &kinds, words: &words, met, grouped, faults: Vec::new() };
        walk_expr(&mut reader, &parse(&expression)).unwrap();
        let strange = reader.grouped.difference(&reader.met).map(|label| format!("grouped by `{label}`, which is not there"));
        faults.extend(reader.faults.iter().cloned().chain(strange).map(|fault| format!("{expression}: {fault}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test]
async fn what_an_alert_waits_for_counts_from_nothing() {
    let world = World::start().await;
    let metrics = world.gateway.metrics().await;
    for (name, label) in [
        ("doorward_config_reload_total", r#"result="failed""#),
        ("doorward_audit_dropped_total", ""),
        ("doorward_traces_dropped_total", ""),
        ("doorward_connections_refused_total", ""),
        ("doorward_issuer_fetch_total", r#"result="failed""#),
    ] {
        assert!(metrics.series(name).any(|line| line.contains(label) && line.ends_with(" 0")), "{name}: {}", metrics.0);
    }
}
