//! A message that is accepted is JSON for other parsers too, and they read the same method, name and id.
#![no_main]

use doorward::mcp::headers::Claim;
use doorward::mcp::{Message, Target};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    // The first byte chooses the era that the head claims.
    let Some((era, body)) = data.split_first() else { return };
    let version = match era % 4 {
        0 => None,
        1 => Some("2026-07-28"),
        2 => Some("2025-06-18"),
        _ => Some("2099-01-01"),
    };
    let mut headers = HeaderMap::new();
    if let Some(version) = version {
        headers.insert("mcp-protocol-version", HeaderValue::from_static(version));
    }
    let claim = Claim::read(&headers).expect("a plain head");
    let Ok(message) = Message::parse(body, &claim, 64) else { return };
    let _ = claim.agree(&message);

    let other: Value = serde_json::from_slice(body).expect("accepted, so JSON");
    if let Some(id) = message.id {
        assert_eq!(serde_json::from_str::<Value>(id.as_json()).expect("an id"), other["id"]);
    }
    if let Target::One(thing) = &message.operation.target {
        let params = &other["params"];
        let named = [&params["name"], &params["uri"], &params["ref"]["name"], &params["ref"]["uri"]];
        assert!(named.iter().any(|value| value.as_str() == Some(&thing.name)), "judged another thing than was sent");
    }
    if let Some(arguments) = message.operation.arguments {
        assert_eq!(serde_json::from_str::<Value>(arguments.get()).expect("arguments"), other["params"]["arguments"]);
    }
});
