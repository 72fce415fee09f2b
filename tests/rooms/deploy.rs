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

#[test]
fn the_image_is_built_from_everything_that_the_sources_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| fs::read_to_string(root.join(name)).expect("a file");
    let (dockerfile, ignored, manifest) = (read("Dockerfile"), read(".dockerignore"), read("Cargo.toml"));
    let mut named = ["src", "Cargo.lock", "Cargo.toml", ".cargo"].map(str::to_owned).to_vec();
    named.extend(manifest.lines().filter_map(|line| line.strip_prefix("path = \"")?.split('/').next().map(str::to_owned)));
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let text = fs::read_to_string(&entry).unwrap_or_default();
            let marks = ["include_str!(\"../../", "include_bytes!(\"../../", "migrate!(\"./", "#[template(path"];
            let after = |mark: &'static str| text.match_indices(mark).map(move |(at, _)| (mark, at + mark.len())).collect::<Vec<_>>();
            named.extend(marks.into_iter().flat_map(after).filter_map(|(mark, at)| match mark {
                "#[template(path" => Some("templates".to_owned()),
                _ => text[at..].trim_start_matches("../").split(['/', '"']).next().map(str::to_owned),
            }));
        }
    }
    assert!(named.iter().any(|name| name == "migrations") && named.iter().any(|name| name == "config"), "{named:?}");
    for name in named {
        let copied =
            dockerfile.lines().filter(|line| line.starts_with("COPY ")).any(|line| line.split(' ').skip(1).any(|word| word == name));
        assert!(copied, "`{name}` is not copied into the image");
        assert!(!ignored.lines().any(|line| line.trim_matches('/') == name), "`{name}` is kept from the image");
    }
}

#[test]
fn the_sockets_of_systemd_are_addresses_that_a_listener_can_name() {
    let unit = fs::read_to_string(folder().join("systemd/doorward.socket")).expect("a unit");
    let places: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("ListenStream=")).collect();
    assert!(!places.is_empty());
    for place in places {
        assert!(place.parse::<std::net::SocketAddr>().is_ok() || place.starts_with('/'), "{place}");
    }
    assert!(!unit.lines().any(|line| line.starts_with("Accept=yes")));
}
