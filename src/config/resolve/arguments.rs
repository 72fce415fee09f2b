//! JSON Schemas of arguments. A keyword that no validator knows would be passed over, and the rule
//! would hold where it should not; so a misspelt keyword is an error here.

use jsonschema::Validator;
use serde_json::Value;

use super::Context;
use crate::config::document::{list, near_miss};
use crate::config::report::At;

/// Keywords of JSON Schema 2020-12 that judge a value, or say something about one.
const KEYWORDS: &[&str] = &[
    "$id",
    "$schema",
    "$ref",
    "$defs",
    "$comment",
    "$anchor",
    "$dynamicRef",
    "$dynamicAnchor",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "type",
    "enum",
    "const",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "format",
    "items",
    "prefixItems",
    "maxItems",
    "minItems",
    "uniqueItems",
    "contains",
    "maxContains",
    "minContains",
    "maxProperties",
    "minProperties",
    "required",
    "properties",
    "patternProperties",
    "additionalProperties",
    "propertyNames",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedItems",
    "unevaluatedProperties",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
];

/// The validator of one argument.
pub fn validator(schema: &Value, at: &At<'_>, context: &mut Context<'_>) -> Option<Validator> {
    if !schema.is_object() {
        context.report.mend(
            at,
            "not a JSON Schema",
            "write what the argument must be: `{ enum: [a, b] }` or `{ type: string, maxLength: 200 }`",
        );
        return None;
    }
    if schema.as_object().is_some_and(serde_json::Map::is_empty) {
        context.report.mend(at, "an empty JSON Schema allows any value", "say what the argument must be, or remove it");
        return None;
    }
    if let Some(keyword) = unknown_keyword(schema) {
        let hint = near_miss(keyword, KEYWORDS).unwrap_or_else(|| "it would be passed over; remove it".into());
        context.report.mend(at, format!("`{keyword}` is no keyword of JSON Schema"), hint);
        return None;
    }
    if let Some(elsewhere) = foreign_reference(schema) {
        context.report.mend(at, format!("`{elsewhere}` lies outside of this schema"), "write out here what it would refer to");
        return None;
    }
    let built = jsonschema::draft202012::options().should_validate_formats(true).should_ignore_unknown_formats(false).build(&typed(schema));
    match built {
        Ok(validator) => Some(validator),
        Err(error) => {
            let path = error.instance_path().to_string();
            let written = schema.pointer(&path).unwrap_or(&Value::Null);
            let shown = written.as_str().map_or_else(|| written.to_string(), str::to_owned);
            let (message, hint) = match path.rsplit('/').next() {
                Some("type") => (format!("`{shown}` is not a type"), near_type(written)),
                Some("format") => (format!("`{shown}` is not a format that is checked here"), "use `pattern` instead".into()),
                Some("pattern") => {
                    (format!("`{shown}` is not a regular expression"), "put it in single quotes, and escape `(`, `[` and the like".into())
                }
                Some("") | None => (format!("not a JSON Schema: {error}"), MEANT.into()),
                Some(_) => (format!("not a JSON Schema at `{path}`: {error}"), MEANT.into()),
            };
            context.report.mend(at, message, hint);
            None
        }
    }
}

/// The schema with the type that its keywords speak of. By the standard `maxLength: 3` says nothing of
/// a list, so a list would pass; whoever writes a length, a pattern or a bound means a value that has one.
fn typed(schema: &Value) -> Value {
    let Value::Object(members) = schema else { return schema.clone() };
    let mut members = members.clone();
    for (keyword, inner) in &mut members {
        match (keyword.as_str(), &mut *inner) {
            ("properties" | "patternProperties", Value::Object(each)) => each.values_mut().for_each(|one| *one = typed(one)),
            ("items" | "additionalProperties" | "contains", one) => *one = typed(one),
            ("prefixItems" | "allOf" | "anyOf" | "oneOf", Value::Array(each)) => each.iter_mut().for_each(|one| *one = typed(one)),
            _ => {}
        }
    }
    let open = ["type", "enum", "const", "$ref"].iter().all(|keyword| !members.contains_key(*keyword));
    let implied: Vec<Value> = TYPED
        .iter()
        .filter(|(_, keywords)| keywords.iter().any(|keyword| members.contains_key(*keyword)))
        .map(|(name, _)| Value::from(*name))
        .collect();
    if open && !implied.is_empty() {
        members.insert("type".into(), implied.into());
    }
    Value::Object(members)
}

/// Keywords that say nothing of values of another type (JSON Schema Validation §6).
const TYPED: &[(&str, &[&str])] = &[
    ("string", &["minLength", "maxLength", "pattern", "format", "contentEncoding", "contentMediaType"]),
    ("number", &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]),
    ("array", &["items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"]),
    ("object", &["properties", "patternProperties", "additionalProperties", "required", "minProperties", "maxProperties", "propertyNames"]),
];

const MEANT: &str = "JSON Schema 2020-12 is meant, as in a tool's `inputSchema`";

fn near_type(written: &Value) -> String {
    const TYPES: &[&str] = &["string", "number", "integer", "boolean", "array", "object", "null"];
    let near = written.as_str().and_then(|written| near_miss(written, TYPES));
    near.unwrap_or_else(|| format!("the types are {}", list(TYPES)))
}

fn unknown_keyword(schema: &Value) -> Option<&str> {
    let members = schema.as_object()?;
    if let Some(unknown) = members.keys().find(|key| !KEYWORDS.contains(&key.as_str())) {
        return Some(unknown);
    }
    members.iter().find_map(|(keyword, value)| match keyword.as_str() {
        "enum" | "const" | "default" | "examples" | "required" | "dependentRequired" => None,
        "properties" | "patternProperties" | "$defs" | "dependentSchemas" => value.as_object()?.values().find_map(unknown_keyword),
        _ => match value {
            Value::Array(items) => items.iter().find_map(unknown_keyword),
            other => unknown_keyword(other),
        },
    })
}

/// A reference that would have to be fetched, or be found in some other file.
fn foreign_reference(schema: &Value) -> Option<&str> {
    match schema {
        Value::Object(members) => members.iter().find_map(|(keyword, value)| match value.as_str() {
            Some(target) if matches!(keyword.as_str(), "$ref" | "$dynamicRef") && !target.starts_with('#') => Some(target),
            _ => foreign_reference(value),
        }),
        Value::Array(items) => items.iter().find_map(foreign_reference),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}
