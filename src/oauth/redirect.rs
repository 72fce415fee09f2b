//! Where may an answer go? Redirect URIs as clients register them, and as they ask for them.
//!
//! `https` anywhere, `http` on loopback with any port (RFC 8252 §7.3), and schemes of an app's own where they are
//! reversed domain names (RFC 8252 §7.1) or those of a known client. Everything else is nobody's.

use url::{Host, Url};

use super::known_clients;

/// Bytes of a redirect URI.
pub const LONGEST: usize = 1_024;
/// Of one client.
pub const MOST: usize = 10;

/// Schemes that a browser would take for its own. They never come along unnoticed with better ones.
const SCRIPTS: [&str; 7] = ["javascript", "data", "vbscript", "file", "blob", "about", "filesystem"];
/// What an answer says.
const ANSWER: [&str; 6] = ["code", "state", "iss", "error", "error_description", "error_uri"];
const LOOPBACK: [&str; 3] = ["127.0.0.1", "[::1]", "localhost"];

/// What kind of place a redirect URI leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A web site, by its host.
    Web(String),
    /// Any program on the person's own machine; the host as written.
    Loopback(String),
    /// The app that has this scheme on the person's machine, which no one vouches for.
    App(String),
}

/// Why an answer may not go there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Long,
    /// Not an absolute URI.
    Relative,
    /// RFC 6749 §3.1.2.
    Fragment,
    /// A pattern instead of one place (RFC 9700 §4.1.3).
    Wildcard,
    /// A name or password before the host.
    Person,
    /// A browser would read it as another one.
    Form,
    /// Plain `http` anywhere but on loopback.
    Plain,
    /// A scheme that is not an app's own.
    Scheme,
    /// A scheme by which a browser runs or reads something.
    Script,
    /// A parameter of ours stands in its query already, and the client would hear two (RFC 6749 §3.1, RFC 9207 §2.4).
    Answer,
}

impl Fault {
    /// Whether a client that has other redirect URIs may be registered without this one.
    pub fn is_dropped(self) -> bool {
        self == Self::Scheme
    }

    pub fn text(self) -> &'static str {
        match self {
            Self::Long => "a redirect URI is longer than 1024 bytes",
            Self::Relative => "a redirect URI is not an absolute URI",
            Self::Fragment => "a redirect URI has a fragment",
            Self::Wildcard => "a redirect URI has a wildcard; register each one as it is used",
            Self::Person => "a redirect URI has a user name or password",
            Self::Form => "a redirect URI is not in its normal form",
            Self::Plain => "a redirect URI with http is for 127.0.0.1, [::1] and localhost only; use https",
            Self::Scheme => "a redirect URI has a scheme that is neither https nor a reversed domain name",
            Self::Script => "a redirect URI has a scheme that no answer may go to",
            Self::Answer => "a redirect URI has a parameter in its query that belongs to the answer, such as code or state",
        }
    }
}

impl Place {
    /// # Errors
    /// Why no client may have it.
    pub fn of(uri: &str) -> Result<Self, Fault> {
        if uri.len() > LONGEST {
            return Err(Fault::Long);
        }
        if uri.contains('#') {
            return Err(Fault::Fragment);
        }
        if uri.contains('*') {
            return Err(Fault::Wildcard);
        }
        let url = Url::parse(uri).map_err(|_| Fault::Relative)?;
        if SCRIPTS.contains(&url.scheme()) {
            return Err(Fault::Script);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Fault::Person);
        }
        // SECURITY: what is compared as text must be what the browser goes to.
        let is_as_written = url.as_str() == uri || url.as_str().strip_suffix('/') == Some(uri) && url.path() == "/";
        if !is_as_written {
            return Err(Fault::Form);
        }
        if url.query_pairs().any(|(name, _)| ANSWER.contains(&&*name)) {
            return Err(Fault::Answer);
        }
        match (url.scheme(), url.host_str()) {
            ("https", Some(host)) => Ok(Self::Web(host.to_owned())),
            ("http", Some(host)) if LOOPBACK.contains(&host) => Ok(Self::Loopback(host.to_owned())),
            ("http", _) => Err(Fault::Plain),
            (scheme, _) if scheme.contains('.') || known_clients::has_app(uri) => Ok(Self::App(scheme.to_owned())),
            _ => Err(Fault::Scheme),
        }
    }
}

/// The registered one that this is, to the letter, but for the port on loopback (RFC 8252 §7.3, OAuth 2.1 §8.4.2).
pub fn find<'a>(registered: &'a [String], asked: &str) -> Option<&'a str> {
    registered.iter().map(String::as_str).find(|one| matches(one, asked))
}

/// As in [`find`]. `localhost` and `127.0.0.1` are two hosts.
pub fn matches(registered: &str, asked: &str) -> bool {
    registered == asked || portless(registered).is_some_and(|one| portless(asked) == Some(one))
}

/// What two registrations of one program have in common: a loopback URI without its port.
pub fn essence(uri: &str) -> String {
    portless(uri).map_or_else(|| uri.to_owned(), |(host, rest)| format!("http://{host}{rest}"))
}

/// Host and path of a loopback URI, whatever its port; without a path it is `/`.
fn portless(uri: &str) -> Option<(&str, &str)> {
    let rest = uri.strip_prefix("http://")?;
    let end = rest.find(['/', '?', '#', '\\', '@']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let host = LOOPBACK.into_iter().find(|host| authority.starts_with(host))?;
    let port = authority.strip_prefix(host)?;
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_number);
    let is_path = path.is_empty() || path.starts_with(['/', '?']);
    (is_port && is_path).then_some((host, if path.is_empty() { "/" } else { path }))
}

fn is_number(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|port| port > 0)
}

/// The host of a web address, for comparing whose it is.
pub fn host(uri: &str) -> Option<String> {
    match Url::parse(uri).ok()?.host()? {
        Host::Domain(name) => Some(name.to_owned()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn item_104_exact_but_for_the_port_on_loopback() {
        let registered = ["http://127.0.0.1/cb".to_owned(), "https://app.example/cb".to_owned(), "http://[::1]:9/cb?x=1".to_owned()];
        for asked in ["http://127.0.0.1/cb", "http://127.0.0.1:51004/cb", "https://app.example/cb", "http://[::1]:1/cb?x=1"] {
            assert!(find(&registered, asked).is_some(), "{asked}");
        }
        for asked in [
            "http://127.0.0.1:51004/cb/",
            "http://127.0.0.1:51004/cb?x=1",
            "http://127.0.0.1:51004/cb#x",
            "http://localhost:51004/cb",
            "http://127.0.0.1:51004@evil.example/cb",
            "http://127.0.0.1:x/cb",
            "http://127.0.0.1:0/cb",
            "http://127.0.0.1:99999/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://127.0.0.1\\@evil.example/cb",
            "https://127.0.0.1/cb",
            "https://app.example:8443/cb",
            "https://app.example/cb/",
            "https://app.example/cb?",
            "https://APP.example/cb",
            "https://evil.example/cb",
            "",
        ] {
            assert_eq!(find(&registered, asked), None, "{asked}");
        }
    }

    #[test]
    fn a_loopback_uri_without_a_path_has_the_path_of_a_slash() {
        assert!(matches("http://127.0.0.1/", "http://127.0.0.1:33418"));
        assert!(matches("http://127.0.0.1:33418", "http://127.0.0.1:50000/"));
        assert!(!matches("https://vscode.dev", "https://vscode.dev/"));
        assert_eq!(essence("http://localhost:3334/oauth/callback"), "http://localhost/oauth/callback");
        assert_eq!(essence("https://app.example:1/cb"), "https://app.example:1/cb");
    }

    #[test]
    fn item_129_only_https_loopback_and_schemes_of_apps_are_places() {
        let web = |host: &str| Ok(Place::Web(host.into()));
        assert_eq!(Place::of("https://app.example/cb"), web("app.example"));
        assert_eq!(Place::of("https://app.example"), web("app.example"));
        assert_eq!(Place::of("http://localhost:3000/cb"), Ok(Place::Loopback("localhost".into())));
        assert_eq!(Place::of("http://[::1]/cb"), Ok(Place::Loopback("[::1]".into())));
        assert_eq!(Place::of("com.example.app:/oauth"), Ok(Place::App("com.example.app".into())));
        assert_eq!(Place::of("cursor://anysphere.cursor-mcp/oauth/callback"), Ok(Place::App("cursor".into())));
        for (uri, fault) in [
            ("http://evil.example/cb", Fault::Plain),
            ("http://127.0.0.2/cb", Fault::Plain),
            ("http://0/cb", Fault::Form),
            ("javascript:alert(1)", Fault::Script),
            ("JavaScript://x/%0aalert(1)", Fault::Script),
            ("data:text/html,x", Fault::Script),
            ("https://*.app.example/cb", Fault::Wildcard),
            ("https://app.example/cb#x", Fault::Fragment),
            ("https://app.example/cb#", Fault::Fragment),
            ("https://app.example@evil.example/cb", Fault::Person),
            ("https://app.example/a/../cb", Fault::Form),
            ("https://app.example/%2e%2e/cb", Fault::Form),
            ("https://app.example\\@evil.example/cb", Fault::Form),
            ("https://app.example:443/cb", Fault::Form),
            ("HTTPS://app.example/cb", Fault::Form),
            ("https://bücher.example/cb", Fault::Form),
            (" https://app.example/cb", Fault::Form),
            ("https://app.example/c\tb", Fault::Form),
            ("cursor://evil/oauth/callback", Fault::Scheme),
            ("myapp://cb", Fault::Scheme),
            ("mailto:a@b.example", Fault::Scheme),
            ("https://app.example/cb?code=mine", Fault::Answer),
            ("https://app.example/cb?x=1&st%61te=", Fault::Answer),
            ("http://127.0.0.1/cb?iss=https%3A%2F%2Fevil.example", Fault::Answer),
            ("/cb", Fault::Relative),
            ("", Fault::Relative),
        ] {
            assert_eq!(Place::of(uri), Err(fault), "{uri}");
        }
        assert_eq!(Place::of(&format!("https://app.example/{}", "a".repeat(LONGEST))), Err(Fault::Long));
    }
}
