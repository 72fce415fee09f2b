//! What the arguments of a call must be: a JSON Schema each, or equality with a claim.
//!
//! Servers read arguments with parsers of their own, some of which fold case (Go). So a conditioned
//! argument must be spelled exactly, and no object under judgement may hold two members that fold
//! to one, nor a number that parsers read differently.

use std::collections::BTreeMap;

use jsonschema::Validator;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::principal::Principal;

/// The largest integer that every JSON parser reads alike (RFC 8259 §6).
const SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

#[derive(Debug, Default)]
pub struct Arguments {
    pub schemas: Vec<Schema>,
    pub equal: Vec<Equal>,
}

/// An argument and the JSON Schema (2020-12) that it must satisfy.
#[derive(Debug)]
pub struct Schema {
    pub argument: String,
    pub validator: Validator,
    /// May be absent.
    pub optional: bool,
}

/// An argument that must equal a claim of the caller, in value and JSON type.
#[derive(Debug)]
pub struct Equal {
    pub argument: String,
    /// The claim's dotted path, without the leading `claims.`.
    pub claim: String,
}

impl Arguments {
    /// `Err` holds the name of the argument that is absent or not as demanded.
    pub fn check(&self, arguments: Option<&RawValue>, who: &Principal) -> Result<(), &str> {
        let given = match arguments.map(|raw| serde_json::from_str(raw.get())) {
            None => Map::new(),
            Some(Ok(given)) => given,
            // What cannot be read is not absent: no condition is met.
            Some(Err(_)) => return Err(self.first()),
        };
        for Schema { argument, validator, optional } in &self.schemas {
            let holds = match self.find(&given, argument) {
                Found::Absent => *optional,
                Found::Ambiguous => false,
                Found::Value(value) => reads_alike(value) && validator.is_valid(value),
            };
            if !holds {
                return Err(argument);
            }
        }
        for Equal { argument, claim } in &self.equal {
            let holds = match self.find(&given, argument) {
                Found::Value(value) => reads_alike(value) && who.claim(claim) == Some(value),
                Found::Absent | Found::Ambiguous => false,
            };
            if !holds {
                return Err(argument);
            }
        }
        Ok(())
    }

    /// The same for a call of which not every argument is known, and no claim: none where that decides. An argument that
    /// is known to be absent is there without a value.
    pub fn foresee(&self, known: &BTreeMap<String, Option<Value>>) -> Option<bool> {
        let mut unknown = !self.equal.is_empty();
        for Schema { argument, validator, optional } in &self.schemas {
            match known.get(argument) {
                None => unknown = true,
                Some(None) if *optional => {}
                Some(Some(value)) if reads_alike(value) && validator.is_valid(value) => {}
                Some(_) => return Some(false),
            }
        }
        if self.equal.iter().any(|equal| known.get(&equal.argument) == Some(&None)) {
            return Some(false);
        }
        (!unknown).then_some(true)
    }

    fn first(&self) -> &str {
        let schemas = self.schemas.iter().map(|schema| schema.argument.as_str());
        schemas.chain(self.equal.iter().map(|equal| equal.argument.as_str())).next().unwrap_or_default()
    }

    fn find<'v>(&self, given: &'v Map<String, Value>, argument: &str) -> Found<'v> {
        let folded = fold(argument);
        if given.keys().any(|key| key != argument && fold(key) == folded) {
            return Found::Ambiguous;
        }
        given.get(argument).map_or(Found::Absent, Found::Value)
    }
}

enum Found<'v> {
    Absent,
    /// Another member would be taken for it by a parser that folds case.
    Ambiguous,
    Value(&'v Value),
}

/// Whether every parser reads the value as we do.
fn reads_alike(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64().is_some_and(|n| n.abs() <= SAFE_INTEGER),
        Value::Array(items) => items.iter().all(reads_alike),
        Value::Object(members) => {
            let mut folded: Vec<String> = members.keys().map(|key| fold(key)).collect();
            folded.sort_unstable();
            folded.windows(2).all(|pair| matches!(pair, [a, b] if a != b)) && members.values().all(reads_alike)
        }
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// Go's `encoding/json` compares member names by simple folding.
pub fn fold(key: &str) -> String {
    key.chars().flat_map(char::to_lowercase).map(|c| if c == 'ſ' { 's' } else { c }).collect()
}
