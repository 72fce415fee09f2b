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

#[test]
fn the_configuration_in_the_readme_loads() {
    let readme = include_str!("../../README.md");
    let yaml = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tls")).unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["mcp.example.com".into()]).unwrap();
    std::fs::write(folder.path().join("tls/cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.path().join("tls/key.pem"), made.signing_key.serialize_pem()).unwrap();
    let file = folder.path().join("doorward.yaml");
    std::fs::write(&file, yaml).unwrap();
    let loaded = doorward::config::load(&file, &|_| None);
    let loaded = loaded.unwrap_or_else(|problems| panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")));
    assert_eq!(loaded.config.routes.len(), 1);
}

#[test]
fn the_lines_that_verify_an_assertion_are_those_that_are_run() {
    let page = include_str!("../../docs/upstream-identity.md");
    for (source, marks) in [
        (include_str!("../sdk/verify.mjs"), ["// --- begin\n", "// --- end"]),
        (include_str!("../sdk/verify.py"), ["# --- begin\n", "# --- end"]),
    ] {
        let lines = source.split(marks[0]).nth(1).unwrap().split(marks[1]).next().unwrap();
        assert!(lines.len() > 100 && page.contains(lines), "not on the page:\n{lines}");
    }
}

#[test]
fn how_clients_come_to_an_id_is_on_the_page_of_providers_as_check_says_it() {
    let page = include_str!("../../docs/providers.md");
    for profile in doorward::config::profile::PROFILES {
        assert!(page.contains(&format!("`{}`", profile.name)), "{}", profile.name);
        assert!(page.contains(profile.registration), "{}", profile.name);
    }
}
