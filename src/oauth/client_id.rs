//! Which URLs may name a client? Those of client id metadata documents (draft-ietf-oauth-client-id-metadata-document §2).
//!
//! A URL is compared as text, so it must stand in the one form in which it is fetched.

use url::{Host, Url};

/// Bytes of a URL.
const LONGEST: usize = 1_024;

/// The URL of a metadata document, which is the client's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentUrl(Url);

/// Why a URL names no client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Long,
    /// Not a URL, or not the one that would be fetched: capitals in the host, a standard port, dots as segments.
    Form,
    Scheme,
    Path,
    Fragment,
    Person,
}

impl Fault {
    pub fn text(self) -> &'static str {
        match self {
            Self::Long => "it is longer than 1024 bytes",
            Self::Form => "it is not in the form in which it is fetched (no dot segments, capitals in the host or standard port)",
            Self::Scheme => "it is not an https URL",
            Self::Path => "it has no path",
            Self::Fragment => "it has a fragment",
            Self::Person => "it has a user name or password",
        }
    }
}

/// Whether a client id is meant as the URL of a document. Ids given out here never are.
pub fn is_url(id: &str) -> bool {
    id.contains("://")
}

impl DocumentUrl {
    /// `allow_loopback` lets `http` on loopback pass too, for development.
    ///
    /// # Errors
    /// Why it names no client; nothing is fetched then.
    pub fn parse(id: &str, allow_loopback: bool) -> Result<Self, Fault> {
        if id.len() > LONGEST {
            return Err(Fault::Long);
        }
        let url = Url::parse(id).map_err(|_| Fault::Form)?;
        let is_development = allow_loopback && url.scheme() == "http" && is_loopback(&url);
        if url.scheme() != "https" && !is_development {
            return Err(Fault::Scheme);
        }
        if id.contains('#') {
            return Err(Fault::Fragment);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Fault::Person);
        }
        if url.as_str() != id && url.as_str().strip_suffix('/') != Some(id) {
            return Err(Fault::Form);
        }
        if url.path() == "/" { Err(Fault::Path) } else { Ok(Self(url)) }
    }

    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Who answers for the client.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

/// Whether a host is `pattern`, or below it where that begins with `*.`.
pub fn host_fits(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => host.strip_suffix(parent).is_some_and(|below| below.len() > 1 && below.ends_with('.')),
        None => pattern == host,
    }
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn item_121_only_an_https_url_in_its_one_form_names_a_client() {
        for id in ["https://app.example/client.json", "https://app.example:8443/a/b", "https://app.example/c?v=1", "https://app.example/c/"]
        {
            assert!(DocumentUrl::parse(id, false).is_ok(), "{id}");
        }
        for (id, fault) in [
            ("http://app.example/client.json", Fault::Scheme),
            ("http://127.0.0.1/client.json", Fault::Scheme),
            ("ftp://app.example/client.json", Fault::Scheme),
            ("https://app.example", Fault::Path),
            ("https://app.example/", Fault::Path),
            ("https://app.example/c#x", Fault::Fragment),
            ("https://app.example/c#", Fault::Fragment),
            ("https://mia@app.example/c", Fault::Person),
            ("https://:x@app.example/c", Fault::Person),
            ("https://app.example/./c", Fault::Form),
            ("https://app.example/a/../c", Fault::Form),
            ("https://app.example/..", Fault::Form),
            ("https://app.example/a/%2E%2e/c", Fault::Form),
            ("https://app.example\\c", Fault::Form),
            ("https://APP.example/c", Fault::Form),
            ("https://app.example:443/c", Fault::Form),
            ("https://app.example/c d", Fault::Form),
            ("https://bücher.example/c", Fault::Form),
            ("https://0x7f.1/c", Fault::Form),
            ("https:app.example/c", Fault::Form),
            ("https://", Fault::Form),
            ("client", Fault::Form),
        ] {
            assert_eq!(DocumentUrl::parse(id, false), Err(fault), "{id}");
        }
        assert_eq!(DocumentUrl::parse(&format!("https://app.example/{}", "a".repeat(LONGEST)), false), Err(Fault::Long));
    }

    #[test]
    fn plain_http_is_for_loopback_by_permission() {
        for id in ["http://127.0.0.1:9/c", "http://localhost/c", "http://[::1]:9/c"] {
            assert!(DocumentUrl::parse(id, true).is_ok(), "{id}");
        }
        assert_eq!(DocumentUrl::parse("http://app.example/c", true), Err(Fault::Scheme));
        assert_eq!(DocumentUrl::parse("http://127.0.0.1.evil.example/c", true), Err(Fault::Scheme));
    }

    #[test]
    fn s34_a_pattern_is_a_host_or_what_is_below_it() {
        assert!(host_fits("claude.ai", "claude.ai"));
        assert!(host_fits("*.claude.ai", "api.claude.ai"));
        assert!(host_fits("*.claude.ai", "a.b.claude.ai"));
        for host in ["claude.ai", "evilclaude.ai", ".claude.ai", "claude.ai.evil.example"] {
            assert!(!host_fits("*.claude.ai", host), "{host}");
        }
        assert!(!host_fits("claude.ai", "api.claude.ai"));
    }
}
