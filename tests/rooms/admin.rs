//! The committed document of the admin API is the one that is served, and every route is in it.

use std::fs;
use std::path::Path;

use doorward::server::api::{document, table};
use serde_json::Value;

#[test]
fn the_committed_document_is_the_one_that_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/admin-v1.openapi.json");
    let text = document::text();
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), text, "UPDATE_EXPECTED=1 writes it anew");
}

#[test]
fn every_route_is_in_the_document_and_on_the_page() {
    let document: Value = serde_json::from_str(&document::text()).unwrap();
    let page = include_str!("../../docs/admin.md");
    let mut names = std::collections::BTreeSet::new();
    for entry in table::entries() {
        let operation = &document["paths"][entry.path][entry.method.as_str().to_lowercase()];
        assert_eq!((operation["operationId"].as_str(), operation["x-role"].as_str()), (Some(entry.name), Some(entry.role.name())));
        assert!(names.insert(entry.name), "`{}` is the name of two routes", entry.name);
        let last = entry.path.rsplit('/').next().unwrap();
        assert!(page.contains(last), "`{}` is not in docs/admin.md", entry.path);
    }
    let count: usize = document["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum();
    assert_eq!(count, names.len());
}
