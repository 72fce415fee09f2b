//! The operator's page tells of every metric and every reason, and of none that is not there.

use std::collections::BTreeSet;

use doorward::metrics::Metrics;

const PAGE: &str = include_str!("../../docs/operations.md");

fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_metric_is_on_the_page_and_every_metric_on_the_page_exists() {
    let source = include_str!("../../src/metrics.rs").split("#[cfg(test)]").next().unwrap();
    let named: BTreeSet<&str> = source.split('"').filter(|text| text.starts_with("doorward_")).collect();
    assert!(named.len() >= 10 && Metrics::new().is_ok());
    let told: BTreeSet<&str> = quoted(PAGE).into_iter().filter(|word| word.starts_with("doorward_") && !word.contains('{')).collect();
    assert_eq!(told, named);
}

#[test]
fn every_reason_is_on_the_page() {
    let source = include_str!("../../src/denial.rs");
    let table = source.split("fn row(").nth(1).unwrap();
    let reasons: BTreeSet<&str> =
        table.lines().filter_map(|line| line.split("=> (").nth(1)?.split('"').nth(1)).filter(|word| !word.contains(' ')).collect();
    assert!(reasons.len() > 40, "{reasons:?}");
    let told = quoted(PAGE);
    let missing: Vec<_> = reasons.iter().filter(|reason| !told.contains(*reason)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
