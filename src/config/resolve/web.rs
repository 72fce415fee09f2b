//! URLs, origins and paths as the configuration may spell them.

use std::net::IpAddr;

use url::{Host, Url};

use crate::config::report::{At, Report};

/// Whether a URL's host is this very machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}

/// An http or https URL without credentials and fragment. What is wrong is told without the URL
/// where it may hold a password.
pub fn url(text: &str, at: &At<'_>, report: &mut Report) -> Option<Url> {
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(url::ParseError::RelativeUrlWithoutBase) => {
            let host = if text.starts_with('/') { "mcp.example.com" } else { "" };
            report.mend(
                at,
                format!("`{text}` is not an absolute URL"),
                format!("write it with its scheme and host: `https://{host}{text}`"),
            );
            return None;
        }
        Err(error) => {
            report.error(at, format!("not a URL: {error}"));
            return None;
        }
    };
    if !matches!(url.scheme(), "http" | "https") {
        report.mend(at, format!("`{}` is not a scheme that can be used here", url.scheme()), "use `https`, or `http` on loopback");
    } else if !url.username().is_empty() || url.password().is_some() {
        report.mend(at, "a user or password may not stand in a URL", "use a key that ends in `_file` for the secret");
    } else if url.fragment().is_some() {
        report.error(at, format!("`{text}` has a fragment (`#…`), which is never sent"));
    } else {
        return Some(url);
    }
    None
}

/// A plain origin: scheme, host and a port that is not the scheme's own, as browsers write it.
pub fn origin(text: &str, at: &At<'_>, report: &mut Report) -> Option<Url> {
    let url = url(text, at, report)?;
    let plain = url.origin().ascii_serialization();
    if plain == text {
        return Some(url);
    }
    let message = if url.path() != "/" || url.query().is_some() {
        format!("`{text}` has a path; only the origin belongs here")
    } else {
        format!("`{text}` is not in its plain spelling")
    };
    report.mend(at, message, format!("write `{plain}`"));
    None
}

/// What is wrong with a path that clients are to use, or nothing. Agrees with what the route table
/// accepts, so that no configured path can be unreachable.
pub fn path_fault(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') {
        Some("does not begin with `/`")
    } else if path != "/" && path.ends_with('/') {
        Some("ends with `/`")
    } else if path.contains("//") {
        Some("has two slashes in a row")
    } else if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        Some("has a segment of dots")
    } else if path.contains('%') {
        Some("holds an escape (`%`)")
    } else if path == "/.well-known" || path.starts_with("/.well-known/") {
        Some("lies under `/.well-known`, which is the gateway's own")
    } else if !path.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~' | b'@' | b'+')) {
        Some("holds a character that servers may read differently")
    } else {
        None
    }
}
