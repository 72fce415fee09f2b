//! What may a server say of itself? The results of `initialize` and `server/discover`, cut to what passes this gateway: a client
//! that is told of a capability will use it. Knows no rules; the caller says what they could permit.

use std::borrow::Cow;

use super::json::{Scanner, is_variant};
use super::listing::Unreadable;
use super::sse::Verdict;
use super::{Era, era};

const MESSAGE: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];
const RESULT: &[&str] = &["capabilities", "supportedVersions", "protocolVersion"];
const CAPABILITIES: &[&str] = &["tools", "prompts", "resources", "completions", "logging", "tasks", "extensions", "experimental"];
/// Extensions that are served: apps are resources (MCP Apps 2026-01-26), tasks stand in the method table.
const SERVED: &[&str] = &["io.modelcontextprotocol/ui", "io.modelcontextprotocol/tasks"];

/// What of a server's capabilities a route can serve from end to end.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// Whether some rule permits any tool, prompt or resource to anybody. It is the same for all callers, since a session
    /// may outlive the scopes it began with.
    pub tools: bool,
    pub prompts: bool,
    pub resources: bool,
    /// Extensions, and experimental capabilities, that the operator lets pass by name.
    pub extensions: &'a [String],
    /// Whether legacy revisions are served.
    pub legacy: bool,
}

/// A server's changes of a list that it says it will tell of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub tools: bool,
    pub prompts: bool,
    pub resources: bool,
}

impl Told {
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// Cuts the answer to `initialize` or `server/discover`. Everything but `capabilities` and the versions stays as it is.
/// A legacy revision that is not served here becomes an error that names those that are (MCP 2025-11-25 "Version
/// Negotiation"). An error answer passes as it is.
///
/// # Errors
/// [`Unreadable`] where the answer has more than one reading, or is none.
pub fn cut(body: &[u8], offer: Offer<'_>, depth: usize) -> Result<(Vec<u8>, Told), Unreadable> {
    let text = std::str::from_utf8(body).map_err(|_| Unreadable)?;
    let message = members(text, depth)?;
    refuse_variants(&message, MESSAGE)?;
    let has = |name: &str| message.iter().any(|(other, _)| other == name);
    match (has("method"), has("result"), has("error")) {
        (false, false, true) => return Ok((body.to_vec(), Told::default())),
        (false, true, false) => {}
        _ => return Err(Unreadable),
    }
    let mut told = Told::default();
    let mut out = Vec::with_capacity(message.len());
    for (name, value) in &message {
        let value = match name.as_ref() {
            "result" => match result(value, offer, &mut told)? {
                Ok(cut) => Cow::Owned(cut),
                Err(unknown) => return Ok((refusal(&message, &unknown).into_bytes(), Told::default())),
            },
            _ => Cow::Borrowed(*value),
        };
        out.push((name.clone(), value));
    }
    Ok((object(&out).into_bytes(), told))
}

/// Cuts the answer where it comes as an event of a stream; what is no answer is left to others.
pub fn judge_event(data: &[u8], offer: Offer<'_>, depth: usize) -> Option<(Verdict, Told)> {
    let is_message = std::str::from_utf8(data).ok().and_then(|text| members(text, depth).ok());
    if is_message.is_some_and(|members| members.iter().any(|(name, _)| name == "method")) {
        return None;
    }
    Some(match cut(data, offer, depth) {
        Ok((cut, told)) => (Verdict::Replace(cut), told),
        Err(Unreadable) => (Verdict::Unreadable, Told::default()),
    })
}

/// The revision that an `initialize` asks for.
pub fn asked(body: &[u8], depth: usize) -> Option<String> {
    let message = members(std::str::from_utf8(body).ok()?, depth).ok()?;
    let (_, params) = message.iter().find(|(name, _)| name == "params")?;
    let params = members(params, DEEP).ok()?;
    let (_, version) = params.iter().find(|(name, _)| name == "protocolVersion")?;
    serde_json::from_str(version).ok()
}

/// The result that may be seen; or, within, the version that may not.
fn result(text: &str, offer: Offer<'_>, told: &mut Told) -> Result<Result<String, String>, Unreadable> {
    let result = members(text, DEEP)?;
    refuse_variants(&result, RESULT)?;
    let mut out = Vec::with_capacity(result.len());
    for (name, value) in result {
        let value = match name.as_ref() {
            "capabilities" => Cow::Owned(capabilities(value, offer, told)?),
            // Only three methods may be answered with a question (MCP 2026-07-28 "Supported Requests").
            "resultType" if serde_json::from_str::<String>(value).is_ok_and(|kind| kind == "input_required") => return Err(Unreadable),
            "supportedVersions" => Cow::Owned(versions(value, offer)?),
            "protocolVersion" => {
                let version: String = serde_json::from_str(value).map_err(|_| Unreadable)?;
                if Era::of(&version) != Some(Era::Legacy) {
                    return Ok(Err(version));
                }
                Cow::Borrowed(value)
            }
            _ => Cow::Borrowed(value),
        };
        out.push((name, value));
    }
    Ok(Ok(object(&out)))
}

fn capabilities(text: &str, offer: Offer<'_>, told: &mut Told) -> Result<String, Unreadable> {
    let all = members(text, DEEP)?;
    refuse_variants(&all, CAPABILITIES)?;
    let mut out = Vec::with_capacity(all.len());
    for (name, value) in all {
        let value = match name.as_ref() {
            "tools" if offer.tools => {
                told.tools = tells(value);
                Cow::Borrowed(value)
            }
            "prompts" if offer.prompts => {
                told.prompts = tells(value);
                Cow::Borrowed(value)
            }
            "resources" if offer.resources => {
                told.resources = tells(value);
                Cow::Borrowed(value)
            }
            "completions" if offer.prompts || offer.resources => Cow::Borrowed(value),
            "logging" => Cow::Borrowed(value),
            "extensions" | "experimental" => match named(value, offer, name == "extensions")? {
                Some(kept) => Cow::Owned(kept),
                None => continue,
            },
            "tasks" if offer.tools => Cow::Borrowed(value),
            // Whatever nobody here has heard of.
            _ => continue,
        };
        out.push((name, value));
    }
    Ok(object(&out))
}

/// The extensions that pass; none where none does.
fn named(text: &str, offer: Offer<'_>, extensions: bool) -> Result<Option<String>, Unreadable> {
    let passes = |name: &str| offer.extensions.iter().any(|passed| passed == name) || extensions && SERVED.contains(&name);
    let kept: Vec<_> =
        members(text, DEEP)?.into_iter().filter(|(name, _)| passes(name)).map(|(name, value)| (name, Cow::Borrowed(value))).collect();
    Ok((!kept.is_empty()).then(|| object(&kept)))
}

fn versions(text: &str, offer: Offer<'_>) -> Result<String, Unreadable> {
    let all: Vec<String> = serde_json::from_str(text).map_err(|_| Unreadable)?;
    let served = |version: &String| match Era::of(version) {
        Some(Era::Modern) => true,
        Some(Era::Legacy) => offer.legacy,
        None => false,
    };
    let kept: Vec<String> = all.into_iter().filter(served).collect();
    serde_json::to_string(&kept).map_err(|_| Unreadable)
}

fn tells(capability: &str) -> bool {
    members(capability, DEEP).is_ok_and(|members| members.iter().any(|(name, value)| name == "listChanged" && *value == "true"))
}

fn refusal(message: &[(Cow<'_, str>, &str)], version: &str) -> String {
    let id = message.iter().find(|(name, _)| name == "id").map_or("null", |(_, id)| id);
    let version: String = version.chars().take(64).collect();
    let data = serde_json::json!({ "supported": era::LEGACY, "requested": version });
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32602,"message":"Unsupported protocol version","data":{data}}}}}"#)
}

/// Within a text whose depth was held to before.
const DEEP: usize = 127;

type Members<'a> = Vec<(Cow<'a, str>, &'a str)>;

/// The members of an object, names unescaped, values as they stand.
fn members(text: &str, depth: usize) -> Result<Members<'_>, Unreadable> {
    let mut scanner = Scanner::new(text, depth);
    if scanner.peek() != Ok(b'{') {
        return Err(Unreadable);
    }
    let mut all = Vec::new();
    let read = scanner.object(|scanner, name| {
        let name = Cow::Owned(name.to_owned());
        all.push((name, scanner.raw()?));
        Ok(())
    });
    if read.and_then(|()| scanner.end()).is_err() || scanner.duplicate() { Err(Unreadable) } else { Ok(all) }
}

fn refuse_variants(members: &[(Cow<'_, str>, &str)], known: &[&str]) -> Result<(), Unreadable> {
    if members.iter().any(|(name, _)| is_variant(name, known)) { Err(Unreadable) } else { Ok(()) }
}

fn object<V: AsRef<str>>(members: &[(Cow<'_, str>, V)]) -> String {
    let parts: Vec<String> =
        members.iter().map(|(name, value)| format!("{}:{}", serde_json::Value::from(name.as_ref()), value.as_ref())).collect();
    format!("{{{}}}", parts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Offer<'static> = Offer { tools: false, prompts: false, resources: false, extensions: &[], legacy: true };
    const ALL: Offer<'static> = Offer { tools: true, prompts: true, resources: true, extensions: &[], legacy: true };

    fn shown(result: &str, offer: Offer<'_>) -> String {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        let (cut, _) = cut(body.as_bytes(), offer, 64).unwrap_or_else(|_| panic!("unreadable: {body}"));
        let cut = String::from_utf8(cut).expect("text");
        let inner = cut.strip_prefix(r#"{"jsonrpc":"2.0","id":1,"result":"#).and_then(|rest| rest.strip_suffix('}'));
        inner.unwrap_or_else(|| panic!("{cut}")).to_owned()
    }

    #[test]
    fn item_60_capabilities_that_no_rule_can_open_are_not_shown() {
        let all = r#"{"tools":{"listChanged":true},"prompts":{},"resources":{"subscribe":true},"completions":{},"logging":{}}"#;
        assert_eq!(shown(&format!(r#"{{"capabilities":{all}}}"#), ALL), format!(r#"{{"capabilities":{all}}}"#));
        assert_eq!(shown(&format!(r#"{{"capabilities":{all}}}"#), NOTHING), r#"{"capabilities":{"logging":{}}}"#);
        let tools = Offer { tools: true, ..NOTHING };
        assert_eq!(
            shown(&format!(r#"{{"capabilities":{all}}}"#), tools),
            r#"{"capabilities":{"tools":{"listChanged":true},"logging":{}}}"#
        );
    }

    #[test]
    fn item_60_what_nobody_here_polices_is_not_shown() {
        let result = r#"{"capabilities":{"tasks":{"list":{}},"experimental":{"acme":{}},"shiny":{},"extensions":{"io.modelcontextprotocol/tasks":{},"io.modelcontextprotocol/ui":{},"com.acme/x":{"a":1}}}}"#;
        assert_eq!(
            shown(result, ALL),
            r#"{"capabilities":{"tasks":{"list":{}},"extensions":{"io.modelcontextprotocol/tasks":{},"io.modelcontextprotocol/ui":{}}}}"#
        );
        let extensions = ["com.acme/x".to_owned(), "acme".to_owned()];
        let offer = Offer { extensions: &extensions, ..ALL };
        let cut = r#"{"capabilities":{"tasks":{"list":{}},"experimental":{"acme":{}},"extensions":{"io.modelcontextprotocol/tasks":{},"io.modelcontextprotocol/ui":{},"com.acme/x":{"a":1}}}}"#;
        assert_eq!(shown(result, offer), cut);
    }

    #[test]
    fn item_60_only_versions_that_are_spoken_are_shown() {
        let result = r#"{"supportedVersions":["2027-01-01","2026-07-28","2025-11-25","2024-11-05"],"ttlMs":5,"cacheScope":"public"}"#;
        let rest = r#""ttlMs":5,"cacheScope":"public"}"#;
        assert_eq!(shown(result, ALL), format!(r#"{{"supportedVersions":["2026-07-28","2025-11-25"],{rest}"#));
        assert_eq!(shown(result, Offer { legacy: false, ..ALL }), format!(r#"{{"supportedVersions":["2026-07-28"],{rest}"#));
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        let result = r#"{"serverInfo": {"name":"x", "big": 123456789012345678901234567890},"instructions":"a\u0062","_meta":{ "k":[1, 2] },"protocolVersion":"2025-06-18"}"#;
        let same = result.replace(r#""serverInfo": "#, r#""serverInfo":"#);
        assert_eq!(shown(result, NOTHING), same);
        let error = br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}"#;
        assert_eq!(cut(error, ALL, 64).map(|(body, _)| body), Ok(error.to_vec()));
    }

    #[test]
    fn a_legacy_version_that_is_not_served_becomes_an_error_that_names_those_that_are() {
        let body = br#"{"jsonrpc":"2.0","id":"a","result":{"protocolVersion":"2024-11-05","capabilities":{"tools":{}}}}"#;
        let (cut, _) = cut(body, ALL, 64).expect("an answer");
        let cut: serde_json::Value = serde_json::from_slice(&cut).expect("JSON");
        assert_eq!((&cut["id"], &cut["error"]["code"]), (&"a".into(), &(-32602).into()));
        assert_eq!(cut["error"]["data"]["requested"], "2024-11-05");
        assert!(cut.get("result").is_none() && cut["error"]["data"]["supported"].as_array().is_some_and(|all| all.len() == 3));
    }

    #[test]
    fn what_has_two_readings_is_not_shown() {
        for body in [
            r#"{"id":1,"result":{"capabilities":{"tools":{}}},"Result":{}}"#,
            r#"{"id":1,"result":{"capabilities":{},"Capabilities":{"tools":{}}}}"#,
            r#"{"id":1,"result":{"capabilities":{"Tools":{}}}}"#,
            r#"{"id":1,"result":{"capabilities":{},"capabilities":{"tools":{}}}}"#,
            r#"{"id":1,"result":{"capabilities":[]}}"#,
            r#"{"id":1,"result":{"supportedVersions":"2026-07-28"}}"#,
            r#"{"id":1,"result":{"protocolVersion":7}}"#,
            r#"{"id":1,"result":[]}"#,
            r#"{"id":1,"result":{},"error":{}}"#,
            "[]",
            "",
        ] {
            assert_eq!(cut(body.as_bytes(), ALL, 64), Err(Unreadable), "{body}");
        }
    }

    #[test]
    fn changes_that_a_server_will_tell_of_are_noted() {
        let body = br#"{"id":1,"result":{"capabilities":{"tools":{"listChanged":true},"prompts":{"listChanged":false},"resources":{}}}}"#;
        assert_eq!(cut(body, ALL, 64).map(|(_, told)| told), Ok(Told { tools: true, ..Told::default() }));
    }

    #[test]
    fn an_answer_in_a_stream_is_cut_and_notifications_are_left_to_others() {
        assert_eq!(judge_event(br#"{"method":"notifications/message"}"#, NOTHING, 64), None);
        let answer = br#"{"id":1,"result":{"capabilities":{"tools":{}}}}"#;
        let cut = br#"{"id":1,"result":{"capabilities":{}}}"#.to_vec();
        assert_eq!(judge_event(answer, NOTHING, 64), Some((Verdict::Replace(cut), Told::default())));
        assert!(matches!(judge_event(b"x", NOTHING, 64), Some((Verdict::Unreadable, _))));
    }
}
