//! Arguments that a client repeats in headers (`x-mcp-header`, MCP 2026-07-28 "Custom Headers"): which ones a tool's own schema
//! names, and whether header and body say the same. What no schema names is nobody's business and passes.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Error;
use super::headers::{decode, encode, once};

/// Headers that one tool may have; more than these are not looked at.
const MOST: usize = 16;
/// Numbers beyond it are not told apart by every reader (RFC 8259 §6).
const EXACT: f64 = 9_007_199_254_740_991.0;

/// One argument that a header repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// `mcp-param-…`
    header: HeaderName,
    /// From the arguments on.
    path: Vec<String>,
}

/// The tools of a list answer with the headers that their schemas name; none for a tool whose schema names none.
pub fn learn(answer: &[u8]) -> Vec<(String, Vec<Mirror>)> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        result: Result<'a>,
    }
    #[derive(Deserialize)]
    struct Result<'a> {
        #[serde(borrow)]
        tools: Vec<Tool<'a>>,
    }
    #[derive(Deserialize)]
    struct Tool<'a> {
        name: String,
        #[serde(borrow, rename = "inputSchema")]
        schema: Option<&'a RawValue>,
    }
    let Ok(answer) = serde_json::from_slice::<Answer<'_>>(answer) else { return Vec::new() };
    let mirrors = |tool: Tool<'_>| {
        let mut found = Vec::new();
        let schema = tool.schema.filter(|schema| schema.get().contains("x-mcp-header"));
        if let Some(Value::Object(schema)) = schema.and_then(|schema| serde_json::from_str(schema.get()).ok()) {
            search(&schema, &mut Vec::new(), &mut found);
        }
        (tool.name, found)
    };
    answer.result.tools.into_iter().map(mirrors).collect()
}

/// Only what a chain of `properties` leads to counts.
fn search(schema: &Map<String, Value>, path: &mut Vec<String>, found: &mut Vec<Mirror>) {
    let Some(Value::Object(properties)) = schema.get("properties") else { return };
    for (name, property) in properties {
        let Value::Object(property) = property else { continue };
        path.push(name.clone());
        let header = property.get("x-mcp-header").and_then(Value::as_str).filter(|header| !header.is_empty());
        let header = header.and_then(|header| HeaderName::from_bytes(format!("mcp-param-{header}").as_bytes()).ok());
        if let (Some(header), true) = (header, found.len() < MOST) {
            found.push(Mirror { header, path: path.clone() });
        }
        search(property, path, found);
        path.pop();
    }
}

/// A header that a client left out, as it would have sent it.
pub type Lacking = (HeaderName, HeaderValue);

/// Demands that the headers repeat the arguments as they are. Where they `may_lack`, those that do are handed back.
///
/// # Errors
/// [`Error::Header`] where a header says something else, is there without its argument, or, unless `may_lack`, is not there.
pub fn agree(mirrors: &[Mirror], headers: &HeaderMap, arguments: Option<&RawValue>, may_lack: bool) -> Result<Vec<Lacking>, Error> {
    let arguments: Value = match arguments {
        Some(arguments) => serde_json::from_str(arguments.get()).map_err(|_| Error::NotJson)?,
        None => Value::Null,
    };
    let mut lacking = Vec::new();
    for Mirror { header, path } in mirrors {
        let argument = path.iter().try_fold(&arguments, |at, step| at.get(step)).filter(|argument| !argument.is_null());
        match (argument, once(headers, header)?) {
            (None, None) => {}
            (None, Some(_)) => return Err(Error::Header("header mismatch: an Mcp-Param header repeats an argument that is not there")),
            (Some(argument), None) if may_lack => lacking.extend(said(argument).map(|value| (header.clone(), value))),
            (Some(_), None) => return Err(Error::Header("an Mcp-Param header that the tool asks for is missing")),
            (Some(argument), Some(said)) if says(&decode(said)?, argument) => {}
            (Some(_), Some(_)) => return Err(Error::Header("header mismatch: an Mcp-Param header and the body say different things")),
        }
    }
    Ok(lacking)
}

/// An argument as a header says it ("Value Encoding"); none of what no header can.
fn said(argument: &Value) -> Option<HeaderValue> {
    let text = match argument {
        Value::String(text) => encode(text),
        Value::Bool(_) | Value::Number(_) => argument.to_string().into(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    HeaderValue::from_str(&text).ok()
}

fn says(header: &str, argument: &Value) -> bool {
    match argument {
        Value::String(text) => text == header,
        Value::Bool(flag) => header == if *flag { "true" } else { "false" },
        Value::Number(number) => {
            let plain = !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.'));
            let said = header.parse::<f64>().ok().filter(|said| plain && said.abs() <= EXACT);
            number.to_string() == header || said.is_some_and(|said| number.as_f64().is_some_and(|number| number == said))
        }
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use serde_json::json;

    fn mirrors(schema: &Value) -> Vec<Mirror> {
        let answer = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "t", "inputSchema": schema}]}});
        learn(answer.to_string().as_bytes()).remove(0).1
    }

    fn agrees(headers: &[(&'static str, &str)], arguments: &str) -> bool {
        let schema = json!({"properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "deep": {"properties": {"n": {"type": "integer", "x-mcp-header": "N"}, "b": {"type": "boolean", "x-mcp-header": "b"}}},
        }});
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).expect("a value"));
        }
        let arguments: Box<RawValue> = serde_json::from_str(arguments).expect("JSON");
        agree(&mirrors(&schema), &map, Some(&arguments), false).is_ok()
    }

    #[test]
    fn item_48_a_known_parameter_is_repeated_as_it_is() {
        let table = [
            (true, "{}", vec![]),
            (true, r#"{"region":null}"#, vec![]),
            (true, r#"{"region":"eu"}"#, vec![("mcp-param-region", "eu")]),
            (true, r#"{"region":"eu"}"#, vec![("mcp-param-region", " eu ")]),
            (true, r#"{"region":"\u4e16"}"#, vec![("mcp-param-region", "=?base64?5LiW?=")]),
            (true, r#"{"deep":{"n":42}}"#, vec![("mcp-param-n", "42")]),
            (true, r#"{"deep":{"n":42.0}}"#, vec![("mcp-param-n", "42")]),
            (true, r#"{"deep":{"n":42}}"#, vec![("mcp-param-n", "42.0")]),
            (true, r#"{"deep":{"b":true}}"#, vec![("mcp-param-b", "true")]),
            (true, r#"{"region":"eu"}"#, vec![("mcp-param-region", "eu"), ("mcp-param-foo", "bar")]),
            (false, r#"{"region":"eu"}"#, vec![]),
            (false, r#"{"region":"eu"}"#, vec![("mcp-param-region", "EU")]),
            (false, r#"{"region":"eu"}"#, vec![("mcp-param-region", "eu"), ("mcp-param-region", "eu")]),
            (false, r#"{"region":"eu"}"#, vec![("mcp-param-region", "=?base64?ZX?=")]),
            (false, "{}", vec![("mcp-param-region", "eu")]),
            (false, r#"{"region":null}"#, vec![("mcp-param-region", "")]),
            (false, r#"{"region":["eu"]}"#, vec![("mcp-param-region", "eu")]),
            (false, r#"{"deep":{"n":9007199254740993}}"#, vec![("mcp-param-n", "9007199254740992")]),
            (false, r#"{"deep":{"n":42}}"#, vec![("mcp-param-n", "4.2e1")]),
            (false, r#"{"deep":{"b":true}}"#, vec![("mcp-param-b", "True")]),
        ];
        for (good, arguments, headers) in table {
            assert_eq!(agrees(&headers, arguments), good, "{arguments} {headers:?}");
        }
    }

    #[test]
    fn only_what_a_chain_of_properties_leads_to_counts() {
        let schema = json!({
            "properties": {"a": {"items": {"properties": {"x": {"x-mcp-header": "X"}}}}, "b": {"x-mcp-header": "no token"}, "c": {"x-mcp-header": ""}},
            "anyOf": [{"properties": {"y": {"x-mcp-header": "Y"}}}],
        });
        assert_eq!(mirrors(&schema), []);
        assert!(learn(b"x").is_empty());
    }
}
