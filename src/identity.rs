//! What the upstream is told of the caller: headers that clients may not send and upstreams may trust.
//!
//! A header is set or removed, never merged. Names are compared by letters and digits alone, so that
//! no spelling (`X_Forwarded_User`, `x-forwarded-user`) slips by a server that folds them (CGI, WSGI).

pub mod assertion;
pub mod ring;
pub mod signing;

use std::net::IpAddr;

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use crate::principal::{Kind, Principal};

/// Where the value of an identity header comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The person's subject; absent for a machine, so that its id is never read as a user's.
    Subject,
    Client,
    Issuer,
    /// Joined by `,`.
    Groups,
    /// Joined by a space.
    Scopes,
    /// `user` or `client`.
    Kind,
    /// A claim by dotted path: a string, number or boolean, or an array of them joined by `,`.
    Claim(String),
}

/// The identity part of one upstream's configuration.
#[derive(Clone, Debug)]
pub struct IdentityRules {
    headers: Vec<(HeaderName, Source)>,
    /// Folded names that never pass from a client.
    guarded: Vec<String>,
    /// What they, and the families, begin with.
    initials: Initials,
    assertion: bool,
}

/// Headers that never pass from a client: credentials, and what only a proxy may say.
const ALWAYS_STRIPPED: &[&str] = &[
    "authorization",
    "proxyauthorization",
    "cookie",
    "dpop",
    "forwarded",
    "xforwardedfor",
    "xforwardedhost",
    "xforwardedproto",
    "xforwardedport",
    "xforwardedprefix",
    "xforwardedserver",
    "xforwardeduri",
    "xforwardedmethod",
    "xoriginalurl",
    "xoriginaluri",
    "xoriginalmethod",
    "xrewriteurl",
    "xforwardedclientcert",
    "xforwardedscheme",
    "xforwardedssl",
    "xoriginalforwardedfor",
    "xrealip",
    "trueclientip",
    "cfconnectingip",
    "xclusterclientip",
    "xclientip",
    "clientcert",
    "clientcertchain",
    "xhttpmethodoverride",
    "xhttpmethod",
    "xmethodoverride",
    "doorwardassertion",
];

/// What the names of headers begin with by which proxies tell servers who is calling. A client's word for it never passes,
/// whether or not this upstream is told by one of them: a server that was written for such a proxy may read more of them than
/// the configuration names.
const FAMILIES: &[&str] = &[
    "xforwarded",
    "xauthrequest",
    "xauthenticated",
    "xremote",
    "remoteuser",
    "remotename",
    "remoteemail",
    "remotegroups",
    "xwebauth",
    "xauthentik",
    "xpomerium",
    "cfaccess",
    "xamznoidc",
    "xgoogauthenticated",
    "xgoogiap",
    "xmsclientprincipal",
    "xmstoken",
    "tailscale",
    "xclientcert",
    "xsslclient",
    "sslclient",
    "impersonate",
];

impl Default for IdentityRules {
    fn default() -> Self {
        Self::new(Vec::new(), None)
    }
}

impl IdentityRules {
    /// `headers` are the configured pairs; `credential` is the name of the header that carries the
    /// upstream's own credential, which clients may not send either.
    pub fn new(headers: Vec<(HeaderName, Source)>, credential: Option<&str>) -> Self {
        let own = headers.iter().map(|(name, _)| name.as_str()).chain(credential).map(fold);
        let guarded: Vec<String> = ALWAYS_STRIPPED.iter().map(|name| (*name).to_owned()).chain(own).collect();
        let initials = guarded.iter().map(String::as_str).chain(FAMILIES.iter().copied()).collect();
        Self { headers, guarded, initials, assertion: false }
    }

    /// With a signed assertion beside the headers, or without.
    #[must_use]
    pub fn with_assertion(self, assertion: bool) -> Self {
        Self { assertion, ..self }
    }

    /// Whether a signed assertion goes with each request.
    pub fn asserts(&self) -> bool {
        self.assertion
    }

    pub fn headers(&self) -> &[(HeaderName, Source)] {
        &self.headers
    }

    /// The paths of the claims that headers and the assertion are set from.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        let headers = self.headers.iter().filter_map(|(_, source)| match source {
            Source::Claim(path) => Some(path.as_str()),
            _ => None,
        });
        headers.chain(self.assertion.then_some(assertion::ACTOR))
    }

    /// Whether a client's header of this name must not reach the upstream.
    pub fn strips(&self, name: &str) -> bool {
        // Asked of every header of every request: most begin like none of them.
        self.initials.include(name) && (self.guards(name) || FAMILIES.iter().any(|family| begins_with(name, family)))
    }

    /// Whether a header of this name is stripped for what it is itself, and not for its likeness to others.
    pub fn guards(&self, name: &str) -> bool {
        self.guarded.iter().any(|folded| folds_to(name, folded))
    }

    /// The headers to set, in the configured order; those without a value stay removed.
    pub fn values<'a>(&'a self, who: &'a Principal) -> impl Iterator<Item = (&'a HeaderName, String)> {
        self.headers.iter().filter_map(|(name, source)| Some((name, source.value(who)?)))
    }
}

impl Source {
    fn value(&self, who: &Principal) -> Option<String> {
        match self {
            Self::Subject => (who.kind() == Kind::User).then(|| encode(who.subject())),
            Self::Client => who.client().map(encode),
            Self::Issuer => Some(encode(who.issuer())),
            Self::Groups => (!who.groups().is_empty()).then(|| join(who.groups(), ",")),
            Self::Scopes => (!who.scopes().is_empty()).then(|| join(who.scopes(), " ")),
            Self::Kind => Some(if who.kind() == Kind::User { "user" } else { "client" }.into()),
            Self::Claim(path) => claim(who.claim(path)?),
        }
    }
}

fn claim(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(encode(text)),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(scalar).collect();
            Some(join(&items?, ","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Each part is encoded with the separator besides, so that no part can look like two.
fn join(parts: &[String], separator: &str) -> String {
    let encoded: Vec<String> =
        parts.iter().map(|part| encode(part).replace(separator, if separator == "," { "%2C" } else { "%20" })).collect();
    encoded.join(separator)
}

/// Percent-encodes everything but printable ASCII, `%` itself, and spaces at either end: no CR or LF can reach a header,
/// what was encoded can be told from what was not, and `alice ` does not arrive as `alice` (RFC 9110 §5.5: outer spaces are no
/// part of a value).
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (begins, ends) = (text.len() - text.trim_start_matches(' ').len(), text.trim_end_matches(' ').len());
    for (at, byte) in text.bytes().enumerate() {
        let outer = byte == b' ' && !(begins..ends).contains(&at);
        if (b' '..=b'~').contains(&byte) && byte != b'%' && !outer {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&format!("{byte:02X}"));
        }
    }
    out
}

/// The first letters of names, without their case; two may share a bit.
#[derive(Clone, Copy, Debug, Default)]
struct Initials(u64);

impl Initials {
    /// Whether a name may begin like one of these.
    fn include(self, name: &str) -> bool {
        let own = Self::of(name);
        self.0 & own == own
    }

    fn of(name: &str) -> u64 {
        let first = name.bytes().find(u8::is_ascii_alphanumeric);
        first.map_or(0, |first| 1 << (first.to_ascii_lowercase() % 64))
    }
}

impl<'a> FromIterator<&'a str> for Initials {
    fn from_iter<T: IntoIterator<Item = &'a str>>(names: T) -> Self {
        Self(names.into_iter().fold(0, |bits, name| bits | Self::of(name)))
    }
}

/// Whether the name is this one by letters and digits alone.
fn folds_to(name: &str, folded: &str) -> bool {
    let mut letters = name.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase());
    folded.bytes().all(|byte| letters.next() == Some(byte)) && letters.next().is_none()
}

/// Whether the name begins thus by letters and digits alone.
fn begins_with(name: &str, folded: &str) -> bool {
    let mut letters = name.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase());
    folded.bytes().all(|byte| letters.next() == Some(byte))
}

/// The name by letters and digits alone, in lower case.
fn fold(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// `X-Forwarded-For` from the real peer (RFC 7239 §5.2 in its common form).
pub fn forwarded_for(source: IpAddr) -> Option<HeaderValue> {
    HeaderValue::try_from(source.to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::Proof;

    fn rules(source: Source) -> IdentityRules {
        IdentityRules::new(vec![(HeaderName::from_static("x-mcp-user"), source)], Some("X-Api-Key"))
    }

    fn first(rules: &IdentityRules, proof: Proof) -> Option<String> {
        let who = Principal::new(proof);
        rules.values(&who).next().map(|(_, value)| value)
    }

    #[test]
    fn every_spelling_of_a_configured_header_is_stripped() {
        for name in [
            "x-mcp-user",
            "X_MCP_USER",
            "xmcpuser",
            "x_mcp-user",
            "x-api-key",
            "X_Api_Key",
            "Authorization",
            "cookie",
            "DPoP",
            "X-Forwarded-For",
        ] {
            assert!(rules(Source::Subject).strips(name), "{name}");
        }
        assert!(!rules(Source::Subject).strips("mcp-protocol-version"));
    }

    #[test]
    fn every_name_that_never_passes_is_stripped_however_it_begins() {
        let rules = IdentityRules::new(vec![(HeaderName::from_static("9-lives"), Source::Subject)], Some("Zeta-Key"));
        let families = FAMILIES.iter().map(|family| format!("{family}more"));
        for name in ALWAYS_STRIPPED.iter().map(|name| (*name).to_owned()).chain(families).chain(["9lives".into(), "zetakey".into()]) {
            let (first, rest) = name.split_at(1);
            for spelling in [name.clone(), name.to_uppercase(), format!("_-{name}"), format!("{first}_{rest}"), format!("-{first}-{rest}_")]
            {
                assert!(rules.strips(&spelling), "{spelling}");
            }
        }
        assert!(!rules.strips("accept") && !rules.strips("user-agent") && !rules.strips("mcp-name") && !rules.strips("-"));
    }

    #[test]
    fn item_s30_the_likes_of_identity_headers_are_stripped_and_nothing_that_clients_need() {
        for name in ["x-forwarded-user", "X_Forwarded-Groups", "x-auth-request-email", "Remote-User", "remote_groups", "X-WEBAUTH-USER"] {
            assert!(rules(Source::Subject).strips(name), "{name}");
            assert!(!rules(Source::Subject).guards(name), "{name} may be one of the gateway's own");
        }
        for name in
            ["accept", "user-agent", "mcp-method", "mcp-param-region", "x-request-id", "x-client-name", "baggage", "remote", "x-auth"]
        {
            assert!(!rules(Source::Subject).strips(name), "{name}");
        }
    }

    #[test]
    fn item_s29_spaces_around_a_value_are_part_of_it() {
        let value = |text: &str| first(&rules(Source::Subject), Proof { subject: text.into(), ..Proof::default() });
        for (text, told) in [("alice ", "alice%20"), ("  a b", "%20%20a b"), (" ", "%20"), ("a b", "a b")] {
            assert_eq!(value(text).as_deref(), Some(told));
        }
        let proof = Proof { groups: vec!["x".into(), " admins".into()], ..Proof::default() };
        assert_eq!(first(&rules(Source::Groups), proof).as_deref(), Some("x,%20admins"));
    }

    #[test]
    fn values_are_safe_in_a_header() {
        let proof = Proof { subject: "al\r\nX-Admin: 1é%".into(), ..Proof::default() };
        assert_eq!(first(&rules(Source::Subject), proof).as_deref(), Some("al%0D%0AX-Admin: 1%C3%A9%25"));
    }

    #[test]
    fn a_group_with_a_comma_is_still_one_group() {
        let proof = Proof { groups: vec!["a,b".into(), "c".into()], ..Proof::default() };
        assert_eq!(first(&rules(Source::Groups), proof).as_deref(), Some("a%2Cb,c"));
    }

    #[test]
    fn a_machine_has_no_subject_header() {
        let proof = Proof { subject: "alice".into(), client: Some("alice".into()), ..Proof::default() };
        assert_eq!(first(&rules(Source::Subject), proof), None);
    }
}
