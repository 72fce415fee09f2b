//! Does any room know one that it should not? The table in `src/lib.rs` says who may; this reads the sources.
//!
//! Links nothing of the crate. Comments and tests are exempt: a test may build what a room is given.
#![allow(clippy::expect_used, clippy::string_slice, clippy::indexing_slicing, reason = "a test stops at what cannot be")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const SRC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// Rooms without I/O, clock or environment.
const PURE: &[&str] = &[
    "principal",
    "certificate",
    "token",
    "mcp",
    "policy",
    "identity",
    "oauth",
    "pin",
    "route",
    "vigil",
    "denial",
    "event",
    "trace",
    "governance",
];
/// How a room would come by them.
const IMPURE: &[&str] = &["SystemTime::now", "Instant::now", ".elapsed()"];
const IMPURE_STD: &[&str] = &["env", "fs", "os", "process", "thread"];

/// A crate, and the only rooms that may name it.
const WRAPPED: &[(&str, &[&str])] = &[
    ("pingora", &["proxy"]),
    ("reqwest", &["remote", "demo"]),
    ("serde_yaml", &["config"]),
    ("prometheus", &["metrics"]),
    ("sqlx", &["store"]),
];

#[test]
fn each_room_knows_only_the_rooms_on_its_line() {
    let table = table();
    let mut faults = Vec::new();
    for Source { room, place, depth, code } in sources() {
        let Some(known) = table.get(&room) else {
            faults.push(format!("{place}: `{room}` has no line in the table of src/lib.rs"));
            continue;
        };
        let strangers = names_under("crate", &code).into_iter().filter(|name| *name != room && !known.contains(name));
        faults.extend(strangers.map(|name| format!("{place}: `{room}` may not know `{name}`")));
        if code.contains(&"super::".repeat(depth)) {
            faults.push(format!("{place}: reaches the crate's root by `super`; say `crate::`"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn each_wrapped_crate_is_named_only_in_its_room() {
    let mut faults = Vec::new();
    for Source { room, place, code, .. } in sources() {
        let astray = WRAPPED.iter().filter(|(name, rooms)| !rooms.contains(&room.as_str()) && names_crate(name, &code));
        faults.extend(astray.map(|(name, rooms)| format!("{place}: `{name}` belongs to {}", rooms.join(" and "))));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_pure_room_has_a_clock_a_file_or_an_environment() {
    let mut faults = Vec::new();
    for Source { place, code, .. } in sources().into_iter().filter(|source| PURE.contains(&source.room.as_str())) {
        let std = names_under("std", &code).into_iter().filter(|name| IMPURE_STD.contains(&name.as_str()));
        faults.extend(std.map(|name| format!("{place}: `std::{name}` in a pure room")));
        let tokio = names_crate("tokio", &code).then_some("tokio");
        let impure = IMPURE.iter().copied().filter(|call| code.contains(call)).chain(tokio);
        faults.extend(impure.map(|call| format!("{place}: `{call}` in a pure room")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_line_of_the_table_names_rooms_of_the_table() {
    let table = table();
    assert!(table.len() > 10, "the table of src/lib.rs was not found");
    for (room, known) in &table {
        let unknown: Vec<_> = known.iter().filter(|name| !table.contains_key(*name)).collect();
        assert!(unknown.is_empty(), "`{room}` may know {unknown:?}, which have no line");
    }
}

#[test]
fn names_are_found_alone_in_groups_and_in_nested_groups() {
    let code = "use crate::{policy::{Rule, Permit}, token, mcp::Era};\nlet x = crate::route::find(); use supercrate::no; crate::{};";
    let found: Vec<_> = names_under("crate", code).into_iter().collect();
    assert_eq!(found, ["mcp", "policy", "route", "token"]);
}

#[test]
fn comments_and_tests_are_exempt_and_what_follows_them_is_not() {
    let text = "//! crate::a\nuse crate::b; // crate::c\n#[cfg(test)]\nuse crate::d;\nlet u = \"https://x\"; crate::e\n\
                #[cfg(test)]\nmod tests {\n    use crate::f;\n}\nuse crate::g;\n";
    let found: Vec<_> = names_under("crate", &without_tests_and_comments(text)).into_iter().collect();
    assert_eq!(found, ["b", "e", "g"]);
}

/// One file, without what is exempt.
struct Source {
    room: String,
    place: String,
    /// How many `super` lead to the crate's root.
    depth: usize,
    code: String,
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    walk(Path::new(SRC), &mut files);
    let sources: Vec<_> = files.iter().filter_map(|path| source(path)).collect();
    assert!(sources.len() > 10, "the sources were not found");
    sources
}

/// Nothing for the crate's root, the program and tests in files of their own.
fn source(path: &Path) -> Option<Source> {
    let place = path.strip_prefix(SRC).ok()?.to_str()?.to_owned();
    let mut module: Vec<&str> = place.trim_end_matches(".rs").split('/').filter(|part| *part != "mod").collect();
    if matches!(module.as_slice(), ["lib" | "main"]) || module.contains(&"tests") {
        return None;
    }
    let depth = module.len();
    let room = module.swap_remove(0).to_owned();
    let code = without_tests_and_comments(&fs::read_to_string(path).expect("a source file"));
    Some(Source { room, place, depth, code })
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Leans on `cargo fmt`: an item ends on a line that closes at the indent of its attribute.
fn without_tests_and_comments(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start() == "#[cfg(test)]" {
            let indent = &line[..line.len() - line.trim_start().len()];
            let first = lines.next().unwrap_or_default();
            if !first.ends_with(';') && !first.ends_with('}') {
                let _ = lines.find(|line| line.strip_prefix(indent).is_some_and(|rest| rest.starts_with('}')));
            }
            continue;
        }
        let comment = line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':')).map_or(line.len(), |(at, _)| at);
        code.push_str(&line[..comment]);
        code.push('\n');
    }
    code
}

/// The first names behind `root::`, alone or in a group.
fn names_under(root: &str, code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for rest in behind(&format!("{root}::"), code) {
        match rest.strip_prefix('{') {
            Some(group) => names.extend(names_of_group(group)),
            None => names.extend(first_name(rest)),
        }
    }
    names
}

fn names_of_group(group: &str) -> Vec<String> {
    let (mut names, mut depth, mut begun) = (Vec::new(), 0, 0);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                names.extend(first_name(group[begun..at].trim_start()));
                begun = at + 1;
                if letter == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names
}

/// The name at the start, if one stands there.
fn first_name(text: &str) -> Option<String> {
    let end = text.find(|letter: char| !is_of_a_name(letter)).unwrap_or(text.len());
    let name = text[..end].to_owned();
    (!name.is_empty()).then_some(name)
}

fn names_crate(name: &str, code: &str) -> bool {
    behind(&format!("{name}::"), code).next().is_some() || behind(&format!("use {name}"), code).any(|rest| rest.starts_with([';', ' ']))
}

/// The text behind each place where `path` stands and does not end a longer name.
fn behind<'a>(path: &'a str, code: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(path).filter(|(at, _)| !code[..*at].ends_with(is_of_a_name)).map(|(at, path)| &code[at + path.len()..])
}

fn is_of_a_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// `room <- those it may know`, from the fence under "Who may know whom".
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let lib = fs::read_to_string(Path::new(SRC).join("lib.rs")).expect("src/lib.rs");
    let behind_title = lib.split_once("# Who may know whom").expect("the title").1;
    let fence = behind_title.split("//! ```").nth(1).expect("a fence");
    let lines = fence.lines().filter_map(|line| line.trim_start_matches("//!").split_once("<-"));
    lines.map(|(room, known)| (room.trim().to_owned(), words(known))).collect()
}

fn words(known: &str) -> BTreeSet<String> {
    known.split_whitespace().filter(|word| !word.starts_with('(')).map(str::to_owned).collect()
}
