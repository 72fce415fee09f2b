//! The JSON Schema of the configuration, for editors: what this version accepts, and nothing else.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use super::raw::RawConfig;

/// The schema as text, ending in a newline; the same in every build.
pub fn schema() -> String {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(without_null));
    let generator = SchemaGenerator::new(settings);
    let schema = generator.into_root_schema_for::<RawConfig>();
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// A key without a value is refused, so no schema allows null.
fn without_null(schema: &mut Schema) {
    let Some(members) = schema.as_object_mut() else { return };
    members.remove("format");
    members.remove("minimum");
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            members.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(values)) = members.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    let Some(Value::Array(mut choices)) = members.remove("anyOf") else { return };
    choices.retain(|choice| choice.get("type") != Some(&Value::from("null")));
    match choices.as_slice() {
        [Value::Object(only)] => {
            for (key, value) in only.clone() {
                members.entry(key).or_insert(value);
            }
        }
        _ => {
            members.insert("anyOf".into(), Value::Array(choices));
        }
    }
}
