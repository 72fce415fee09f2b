//! A key set is read or refused; what it holds answers to its own names, and a set that is read is JSON for other parsers too.
#![no_main]

use doorward::token::{Algorithm, KeySet};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(keys) = KeySet::parse(data) else { return };
    let other: Value = serde_json::from_slice(data).expect("accepted, so JSON");
    // A list stands for its members in their order, which is no less a set.
    let listed = other.get("keys").or_else(|| other.get(0)).and_then(Value::as_array).map_or(0, Vec::len);
    for algorithm in Algorithm::ALL {
        assert!(keys.find(None, algorithm).count() <= listed, "more keys than were listed");
        assert_eq!(keys.find(Some("\u{0}no such name"), algorithm).filter(|_| !other.to_string().contains("no such name")).count(), 0);
    }
});
