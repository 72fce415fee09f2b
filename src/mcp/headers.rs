//! What the head of a request claims about its body, and whether body and claim agree. The body
//! decides; headers are only a claim. Knows no policy.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AsHeaderName;
use http::{HeaderMap, HeaderName};

use super::message::Passed;
use super::{Era, Error, Message, Target, Verb};

// Prepared: to look a name up by its text costs more than to find it.
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// The standard request headers of MCP 2026-07-28 ("Request Metadata"), each at most once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim<'a> {
    /// `MCP-Protocol-Version`.
    pub version: Option<&'a str>,
    /// `Mcp-Method`.
    pub method: Option<&'a str>,
    /// `Mcp-Name`, still encoded.
    pub name: Option<&'a str>,
}

impl<'a> Claim<'a> {
    /// Reads the claim. A header that comes twice, or that holds anything but printable ASCII
    /// within its optional white space, is an [`Error::Header`] in every era.
    pub fn read(headers: &'a HeaderMap) -> Result<Self, Error> {
        Ok(Self { version: once(headers, VERSION)?, method: once(headers, METHOD)?, name: once(headers, NAME)? })
    }

    /// Demands that the headers say what the body says, as an [`Error::Header`] otherwise. Legacy
    /// clients may send the two names for their own reasons (mcp-remote does): nobody reads them.
    pub fn agree(&self, message: &Message<'_>) -> Result<(), Error> {
        if message.era == Era::Legacy {
            return Ok(());
        }
        let method = message.operation.method;
        match self.method {
            Some(claimed) if claimed != method.name => {
                return Err(Error::Header("header mismatch: Mcp-Method and the body name different methods"));
            }
            None if !method.notification => return Err(Error::Header("the Mcp-Method header is required")),
            _ => {}
        }
        let expected = match (method.verb, &message.operation.target) {
            (Verb::Use(..), Target::One(thing)) => Some(&thing.name),
            (Verb::Task, _) => message.returned.iter().find(|one| one.what == Passed::Task).map(|one| &one.text),
            // Whether an extension sends the name is its own affair; if it does, it is the name.
            (Verb::Point(..), Target::One(thing)) if self.name.is_some() => Some(&thing.name),
            _ => None,
        };
        let Some(expected) = expected else { return Ok(()) };
        match self.name.map(decode) {
            None => Err(Error::Header("the Mcp-Name header is required")),
            Some(Err(error)) => Err(error),
            Some(Ok(name)) if name != *expected => Err(Error::Header("header mismatch: Mcp-Name and the body name different things")),
            Some(Ok(_)) => Ok(()),
        }
    }
}

pub(super) fn once(headers: &HeaderMap, name: impl AsHeaderName) -> Result<Option<&str>, Error> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Error::Header("an MCP header is sent twice"));
    }
    let text = std::str::from_utf8(value.as_bytes()).unwrap_or("\u{fffd}").trim_matches([' ', '\t']);
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        Ok(Some(text))
    } else {
        Err(Error::Header("an MCP header holds a character that is not printable ASCII"))
    }
}

/// A name as a header value: plain, or behind the sentinel where the revision demands it.
pub fn encode(name: &str) -> Cow<'_, str> {
    let plain = name.bytes().all(|byte| matches!(byte, b' '..=b'~')) && name.trim() == name && !name.starts_with("=?base64?");
    if plain && !name.is_empty() { Cow::Borrowed(name) } else { Cow::Owned(format!("=?base64?{}?=", STANDARD.encode(name))) }
}

/// The base64 sentinel of "Value Encoding": both markers exact, else the value is literal.
pub(super) fn decode(value: &str) -> Result<Cow<'_, str>, Error> {
    let Some(inner) = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) else {
        return Ok(Cow::Borrowed(value));
    };
    let bytes = STANDARD.decode(inner).map_err(|_| Error::Header("an MCP header is not strict base64"))?;
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| Error::Header("an MCP header does not hold UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn head(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value).expect("a header value"));
        }
        headers
    }

    #[test]
    fn item_46_white_space_around_a_value_is_not_part_of_it() {
        let headers = head(&[("mcp-method", b" \ttools/call \t"), ("mcp-name", b" a b ")]);
        assert_eq!(Claim::read(&headers), Ok(Claim { version: None, method: Some("tools/call"), name: Some("a b") }));
    }

    #[test]
    fn a_header_sent_twice_or_with_strange_characters_is_refused() {
        for name in ["mcp-protocol-version", "mcp-method", "mcp-name"] {
            assert!(matches!(Claim::read(&head(&[(name, b"x"), (name, b"x")])), Err(Error::Header(_))), "{name}");
            for value in ["wörld".as_bytes(), b"a\tb", b"\xff"] {
                assert!(matches!(Claim::read(&head(&[(name, value)])), Err(Error::Header(_))), "{name}: {value:?}");
            }
        }
    }

    #[test]
    fn item_45_the_sentinel_is_decoded_strictly_and_only_when_exact() {
        let table = [
            ("plain", Some("plain")),
            ("=?base64?SGVsbG8sIOS4lueVjA==?=", Some("Hello, 世界")),
            ("=?base64?IHBhZGRlZCA=?=", Some(" padded ")),
            ("=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=", Some("=?base64?literal?=")),
            ("=?base64??=", Some("")),
            ("=?BASE64?SGVsbG8=?=", Some("=?BASE64?SGVsbG8=?=")),
            ("=?base64?SGVsbG8=", Some("=?base64?SGVsbG8=")),
            ("=?base64?=", Some("=?base64?=")),
            ("=?base64?SGVsbG8?=", None),
            ("=?base64?SGVsbG8==?=", None),
            ("=?base64?SGVsbG9=?=", None),
            ("=?base64?SGVs bG8=?=", None),
            ("=?base64?SGVs-_8=?=", None),
            ("=?base64?/w==?=", None),
        ];
        for (value, name) in table {
            assert_eq!(decode(value).ok().as_deref(), name, "{value}");
        }
        for name in ["plain", "Hello, 世界", " padded ", "=?base64?literal?=", ""] {
            assert_eq!(decode(&encode(name)).ok().as_deref(), Some(name));
        }
    }
}
