//! A configuration is resolved or refused with problems that can be shown; the same text gives the same answer.
#![no_main]

use std::fs;

use doorward::config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("doorward.yaml");
    fs::write(&file, text).expect("a file");
    let outcome = |loaded: Result<config::Loaded, Vec<config::Problem>>| match loaded {
        Ok(loaded) => (Some(loaded.config.hash), Vec::new()),
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            (None, problems.iter().map(|problem| format!("{problem:?}")).collect())
        }
    };
    assert_eq!(outcome(config::load(&file, &|_| None)), outcome(config::load(&file, &|_| None)));
});
