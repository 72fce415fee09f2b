//! Every configuration under `deploy/` is one that `doorward check` accepts.

use std::fs;
use std::path::{Path, PathBuf};

use doorward::config;

#[test]
fn the_configuration_in_each_kubernetes_manifest_loads() {
    for name in ["sidecar.yaml", "edge.yaml"] {
        let manifest = fs::read_to_string(folder().join("kubernetes").join(name)).expect("a manifest");
        let inside = block(&manifest, "doorward.yaml: |").expect("a ConfigMap with a configuration");
        let place = tempfile::tempdir().expect("a temporary folder");
        let file = place.path().join("doorward.yaml");
        fs::write(&file, inside).expect("a file");
        accept(&file, name);
    }
}

#[test]
fn the_configuration_beside_the_compose_file_loads() {
    accept(&folder().join("compose/doorward.yaml"), "compose");
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn accept(file: &Path, name: &str) {
    if let Err(problems) = config::load(file, &|_| None) {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{name}:\n{}", lines.join("\n"));
    }
}

/// The lines of a literal block scalar, without their indent.
fn block(text: &str, key: &str) -> Option<String> {
    let (_, behind) = text.split_once(&format!("{key}\n"))?;
    let indent = behind.len() - behind.trim_start().len();
    let margin = " ".repeat(indent);
    let lines = behind.lines().map_while(|line| if line.is_empty() { Some("") } else { line.strip_prefix(&margin) });
    Some(lines.map(|line| format!("{line}\n")).collect())
}
