//! The dashboard and the alerts as files: whole, in order, and leading where they say.

use std::collections::BTreeSet;

use serde_json::Value;

const DASHBOARD: &str = include_str!("../../deploy/grafana/dashboard.json");
const ALERTS: &str = include_str!("../../deploy/prometheus/alerts.yaml");
const PAGE: &str = include_str!("../../docs/operations.md");

fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).unwrap()
}

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no `{key}` in {value}"))
}

#[test]
fn each_panel_has_an_id_a_title_and_words_of_its_own() {
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    let mut titles = BTreeSet::new();
    for panel in panels(&dashboard) {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(titles.insert(text(panel, "title").to_owned()), "{panel}");
        match text(panel, "type") {
            "row" => assert_eq!(panel["panels"], serde_json::json!([])),
            "timeseries" | "stat" => assert!(text(panel, "description").len() > 5, "{panel}"),
            other => panic!("`{other}` is not a kind of panel that this dashboard has"),
        }
    }
    for row in [
        "Traffic",
        "Refusals and failures",
        "Latency and overhead",
        "Tools",
        "Streams and connections",
        "Issuers, keys and tokens",
        "Process",
    ] {
        assert!(titles.contains(row), "{row}");
    }
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 39 && text(&dashboard, "uid") == "doorward");
}

#[test]
fn no_panel_lies_over_another_or_over_the_edge() {
    let dashboard = dashboard();
    let mut taken = BTreeSet::new();
    for panel in panels(&dashboard) {
        let side = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        assert!(side("w") > 0 && side("h") > 0 && side("x") + side("w") <= 24, "{panel}");
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                assert!(taken.insert((x, y)), "{} lies over another panel", text(panel, "title"));
            }
        }
    }
}

#[test]
fn each_query_asks_the_source_that_was_chosen_by_variables_that_exist() {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: BTreeSet<&str> = variables.iter().map(|variable| text(variable, "name")).collect();
    assert!(["datasource", "job", "upstream"].iter().all(|name| names.contains(name)));
    for variable in variables.iter().filter(|variable| text(variable, "type") == "query") {
        assert_eq!(text(&variable["datasource"], "uid"), "${datasource}");
        // The empty upstream of a request that found none must be within "all".
        assert_eq!(text(variable, "allValue"), ".*");
    }
    for panel in panels(&dashboard).iter().filter(|panel| text(panel, "type") != "row") {
        let targets = panel["targets"].as_array().unwrap();
        let letters: BTreeSet<&str> = targets.iter().map(|target| text(target, "refId")).collect();
        assert!(!targets.is_empty() && letters.len() == targets.len(), "{panel}");
        for source in targets.iter().chain([panel]).map(|part| &part["datasource"]) {
            assert_eq!((text(source, "uid"), text(source, "type")), ("${datasource}", "prometheus"), "{panel}");
        }
        for expr in targets.iter().map(|target| text(target, "expr")) {
            for used in expr.split('$').skip(1) {
                let name: String = used.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                assert!(names.contains(name.as_str()) || ["__rate_interval", "__range"].contains(&name.as_str()), "`{name}` in {expr}");
            }
            assert!(expr.contains(r#"job=~"$job""#), "every replica of every job is mixed in {expr}");
        }
    }
}

#[test]
fn the_dashboard_shows_every_metric() {
    // That the page names them all is the claim of another test.
    let named: Vec<&str> = PAGE.split('`').skip(1).step_by(2).filter(|word| word.starts_with("doorward_") && !word.contains('{')).collect();
    let missing: Vec<_> = named.iter().filter(|name| !DASHBOARD.contains(**name)).collect();
    assert!(named.len() > 10 && missing.is_empty(), "{missing:?}");
}

#[test]
fn each_alert_has_a_weight_and_a_section_that_says_what_to_do() {
    let alerts: serde_yaml::Value = serde_yaml::from_str(ALERTS).unwrap();
    let rules = alerts["groups"][0]["rules"].as_sequence().unwrap();
    assert!(rules.len() >= 12);
    let sections: BTreeSet<String> = PAGE.lines().filter_map(|line| line.strip_prefix("### ")).map(anchor).collect();
    let mut led = BTreeSet::new();
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        assert!(name.starts_with("Doorward") && rule["annotations"]["summary"].is_string(), "{name}");
        assert!(["critical", "warning", "info"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
        let runbook = rule["annotations"]["runbook_url"].as_str().unwrap();
        let section = runbook.strip_prefix("docs/operations.md#").unwrap_or_else(|| panic!("{name}: {runbook}"));
        assert!(sections.contains(section), "{name}: no section `{section}`");
        led.insert(section.to_owned());
    }
    assert_eq!(led, sections, "a section that no alert leads to");
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    heading.to_lowercase().replace(' ', "-")
}
