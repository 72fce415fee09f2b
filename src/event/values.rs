//! Which values of a call's arguments go into its record? Only those that the operator named, each cut off at a bound.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::policy::arguments::fold;

/// Bytes of a value as JSON.
pub const LONGEST: usize = 1_024;
/// Arguments of one tool.
pub const MOST: usize = 16;

/// What is kept of one argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    Absent,
    /// JSON on one line.
    Value(String),
    /// Longer than [`LONGEST`], by its bytes.
    Long(usize),
    /// Some parsers would take another member for it, so nobody knows which one counts.
    Ambiguous,
}

/// The named arguments of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values(Vec<(String, Kept)>);

impl Values {
    /// None where the arguments cannot be read: then there are no names in them.
    pub fn of(arguments: Option<&RawValue>, names: &[String]) -> Option<Self> {
        let given: BTreeMap<String, &RawValue> = arguments.map_or(Ok(BTreeMap::new()), |raw| serde_json::from_str(raw.get())).ok()?;
        let kept = |name: &String| {
            let folded = fold(name);
            if given.keys().any(|key| key != name && fold(key) == folded) {
                return Kept::Ambiguous;
            }
            match given.get(name) {
                None => Kept::Absent,
                Some(raw) if raw.get().len() > LONGEST => Kept::Long(raw.get().len()),
                Some(raw) => one_line(raw),
            }
        };
        Some(Self(names.iter().take(MOST).map(|name| (name.clone(), kept(name))).collect()))
    }

    /// As an object with one for each argument: `{"owner":{"value":"acme"},"title":{},"body":{"bytes":20000}}`.
    pub fn to_json(&self) -> String {
        let mut text = String::from("{");
        for (index, (name, kept)) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let _ = match kept {
                Kept::Absent => write!(text, "{comma}{}:{{}}", Value::from(name.as_str())),
                Kept::Value(value) => write!(text, "{comma}{}:{{\"value\":{value}}}", Value::from(name.as_str())),
                Kept::Long(bytes) => write!(text, "{comma}{}:{{\"bytes\":{bytes}}}", Value::from(name.as_str())),
                Kept::Ambiguous => write!(text, "{comma}{}:{{\"ambiguous\":true}}", Value::from(name.as_str())),
            };
        }
        text.push('}');
        text
    }
}

/// A text, a number, true, false and null stand on one line as they were sent; what holds others is written anew.
fn one_line(raw: &RawValue) -> Kept {
    let text = raw.get();
    if !text.starts_with(['{', '[']) {
        return Kept::Value(text.to_owned());
    }
    // INVARIANT: it was read as JSON already; a number that is too large to be read has no one meaning.
    serde_json::from_str::<Value>(text).map_or(Kept::Ambiguous, |value| Kept::Value(value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(arguments: Option<&str>, names: &[&str]) -> Option<String> {
        let raw = arguments.map(|text| RawValue::from_string(text.to_owned()).expect("json"));
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Values::of(raw.as_deref(), &names).map(|values| values.to_json())
    }

    #[test]
    fn only_what_is_named_is_kept_and_what_is_absent_is_said_to_be() {
        let text = kept(
            Some(
                r#"{"owner":"acme","secret":"s3cr3t","n":1.50,"deep":{"a" :[1,
 2]}}"#,
            ),
            &["owner", "title", "n", "deep"],
        );
        let expected = r#"{"owner":{"value":"acme"},"title":{},"n":{"value":1.50},"deep":{"value":{"a":[1,2]}}}"#;
        assert_eq!(text.as_deref(), Some(expected));
        assert_eq!(kept(None, &["owner"]).as_deref(), Some(r#"{"owner":{}}"#));
        assert_eq!(kept(Some("[]"), &["owner"]), None);
    }

    #[test]
    fn a_long_value_is_told_by_its_length_and_one_of_two_spellings_not_at_all() {
        let long = "x".repeat(LONGEST);
        let text = kept(Some(&format!(r#"{{"body":"{long}","owner":"a","OWNER":"b"}}"#)), &["body", "owner"]);
        assert_eq!(text.as_deref(), Some(r#"{"body":{"bytes":1026},"owner":{"ambiguous":true}}"#));
    }

    #[test]
    fn a_value_never_breaks_a_record_into_lines() {
        let text = kept(Some("{\"a\":\"one\\ntwo\",\"b\":[\n\"x\"\r\n]}"), &["a", "b"]).expect("kept");
        assert!(!text.contains(['\n', '\r']), "{text}");
        assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
    }
}
