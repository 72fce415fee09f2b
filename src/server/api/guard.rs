//! Is this request meant for this listener, and does it come from no foreign page?
//!
//! A browser can be led here by a name that somebody points at this address (DNS rebinding), and by any page that posts
//! (cross-site request forgery). Neither gets as far as a credential. A link may lead to a page, which only shows something.

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};

use super::{Refusal, people};
use crate::config::{Admin, TokenDigest};
use crate::server::listen::Peer;

/// What changes of a signed-in browser carry besides.
const PROOF: &str = "doorward-csrf";

/// The authority that was asked for, if it is ours.
pub fn host(head: &Parts, peer: &Peer, admin: &Admin) -> Result<String, Refusal> {
    let misdirected = |host: &str| {
        let message = format!("this is not `{host}`: ask by the address or `localhost`, or name the host under `admin.hosts`");
        Refusal::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", message)
    };
    let authority = only(&head.headers, header::HOST.as_str()).map_err(|()| misdirected("several hosts"))?;
    // An absolute form must name the same (RFC 9112 §3.2.2).
    let authority = match (authority, head.uri.authority()) {
        (Some(host), Some(target)) if !target.as_str().eq_ignore_ascii_case(host) => return Err(misdirected(host)),
        (Some(host), _) => host,
        (None, _) => return Err(misdirected("")),
    };
    let Some(name) = name(authority) else { return Err(misdirected(authority)) };
    let is_local = peer.local.is_some_and(|local| name.parse().is_ok_and(|address: std::net::IpAddr| address == local));
    if name == "localhost" || is_local || admin.hosts.contains(&name) {
        return Ok(authority.to_owned());
    }
    Err(misdirected(authority))
}

/// The host of an authority, without its port and without brackets.
fn name(authority: &str) -> Option<String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => authority.split_once(':').map_or((authority, ""), |(host, _)| (host, authority.get(host.len()..).unwrap_or_default())),
    };
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    (is_port && !host.is_empty()).then(|| host.to_ascii_lowercase())
}

/// SECURITY: what a page of another origin asks for is refused, whatever credential a browser adds to it.
pub fn site(head: &Parts, peer: &Peer, host: &str, admin: &Admin) -> Result<(), Refusal> {
    let cross = || Refusal::new(StatusCode::FORBIDDEN, "cross_site", "requests of other origins are refused");
    let scheme = if peer.is_tls { "https" } else { "http" };
    let own = format!("{scheme}://{host}");
    // Where something before this listener speaks TLS, a browser knows another origin than we do.
    let typed = admin.login.as_ref().map(|login| login.url.as_str());
    match only(&head.headers, header::ORIGIN.as_str()) {
        Ok(None) => {}
        Ok(Some(origin)) if origin.eq_ignore_ascii_case(&own) || Some(origin) == typed => {}
        Ok(Some(_)) | Err(()) => return Err(cross()),
    }
    match only(&head.headers, "sec-fetch-site") {
        Ok(None | Some("same-origin" | "none")) => Ok(()),
        Ok(Some(_)) if typed.is_some() && is_visit(head) => Ok(()),
        Ok(Some(_)) | Err(()) => Err(cross()),
    }
}

/// A person follows a link to a page of ours, or is sent back to it. Nobody else sees what it shows (`frame-ancestors`).
fn is_visit(head: &Parts) -> bool {
    let is = |name, value| only(&head.headers, name) == Ok(Some(value));
    head.method == Method::GET && people::is_page(head.uri.path()) && is("sec-fetch-mode", "navigate") && is("sec-fetch-dest", "document")
}

/// SECURITY: a browser adds its cookie to whatever a page sends; only pages of ours know the proof.
pub fn proof(head: &Parts, expected: &str) -> Result<(), Refusal> {
    match only(&head.headers, PROOF) {
        Ok(Some(shown)) if is_same(shown, expected) => Ok(()),
        _ => Err(forged()),
    }
}

/// In a time that says nothing of either.
pub fn is_same(shown: &str, expected: &str) -> bool {
    TokenDigest::of(shown.as_bytes()).is(&TokenDigest::of(expected.as_bytes()))
}

/// What a change without its proof gets.
pub fn forged() -> Refusal {
    let message = format!("a change by a browser needs `{PROOF}`, with `csrf` of `/admin/v1/whoami`");
    Refusal::new(StatusCode::FORBIDDEN, "csrf", message)
}

/// A header that may stand once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ()> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(drop),
        (Some(_), Some(_)) => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AdminLogin;
    use crate::config::login::Logins;
    use crate::server::listen::Source;
    use axum::http::Request;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    fn peer(local: Option<IpAddr>) -> Peer {
        let source = Source::Address(Ipv4Addr::LOCALHOST.into());
        Peer { source, local, is_tls: false, is_owner: false, subjects: [].into() }
    }

    fn admin() -> Admin {
        Admin { addresses: vec![], tls: None, hosts: vec!["ops.internal".into()], tokens: vec![], certificates: vec![], login: None }
    }

    fn ask(local: Option<IpAddr>, hosts: &[&str]) -> u16 {
        let mut request = Request::builder().uri("/admin/v1/status");
        for host in hosts {
            request = request.header("host", *host);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        host(&head, &peer(local), &admin()).map_or_else(|refusal| refusal.status.as_u16(), |_| 200)
    }

    #[test]
    fn only_the_listeners_own_names_are_answered() {
        let here: Option<IpAddr> = Some(Ipv4Addr::LOCALHOST.into());
        for host in ["127.0.0.1:9180", "127.0.0.1", "localhost:9180", "LOCALHOST", "ops.internal", "Ops.Internal:8443"] {
            assert_eq!(ask(here, &[host]), 200, "{host}");
        }
        for host in
            ["evil.example", "evil.example:9180", "127.0.0.2:9180", "localhost.evil.example", "127.0.0.1:80@evil.example", "", ":9180"]
        {
            assert_eq!(ask(here, &[host]), 421, "{host}");
        }
        assert_eq!(ask(here, &[]), 421);
        assert_eq!(ask(here, &["localhost", "localhost"]), 421);
        assert_eq!(ask(Some(Ipv6Addr::LOCALHOST.into()), &["[::1]:9180"]), 200);
        assert_eq!(ask(Some(Ipv6Addr::LOCALHOST.into()), &["[::2]:9180"]), 421);
        assert_eq!(ask(None, &["localhost"]), 200);
        assert_eq!(ask(None, &["127.0.0.1"]), 421);
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let ask = |headers: &[(&str, &str)]| {
            let mut request = Request::builder().uri("/");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (head, ()) = request.body(()).expect("a request").into_parts();
            site(&head, &peer(None), "localhost:9180", &admin()).is_ok()
        };
        assert!(ask(&[]) && ask(&[("origin", "http://localhost:9180")]) && ask(&[("sec-fetch-site", "none")]));
        assert!(ask(&[("sec-fetch-site", "same-origin"), ("origin", "http://LOCALHOST:9180")]));
        for headers in [
            [("origin", "https://localhost:9180")],
            [("origin", "http://localhost:9181")],
            [("origin", "http://evil.example")],
            [("origin", "null")],
            [("sec-fetch-site", "cross-site")],
            [("sec-fetch-site", "same-site")],
        ] {
            assert!(!ask(&headers), "{headers:?}");
        }
        assert!(!ask(&[("origin", "http://localhost:9180"), ("origin", "http://localhost:9180")]));
    }

    #[test]
    fn a_link_from_elsewhere_leads_to_a_page_and_to_nothing_else() {
        let login = AdminLogin {
            url: "https://ops.internal".into(),
            issuer: String::new(),
            logins: Logins::default(),
            roles: vec![],
            session: Duration::ZERO,
        };
        let admin = Admin { login: Some(login), ..admin() };
        let ask = |method: &str, path: &str, headers: &[(&str, &str)]| {
            let mut request = Request::builder().method(method).uri(path);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (head, ()) = request.body(()).expect("a request").into_parts();
            site(&head, &peer(None), "localhost:9180", &admin).is_ok()
        };
        let visit = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        for path in ["/admin/", "/admin/callback?code=x", "/admin/review"] {
            assert!(ask("GET", path, &visit), "{path}");
            assert!(!ask("POST", path, &visit), "{path}");
            assert!(!ask("GET", path, &[visit[0], visit[1], ("sec-fetch-dest", "iframe")]), "{path}");
            assert!(!ask("GET", path, &[visit[0], ("sec-fetch-mode", "no-cors"), visit[2]]), "{path}");
        }
        assert!(!ask("GET", "/admin/v1/clients", &visit));
        assert!(ask("POST", "/admin/review", &[("origin", "https://ops.internal"), ("sec-fetch-site", "same-origin")]));
        assert!(!ask("POST", "/admin/review", &[("origin", "https://ops.internal.evil.example")]));
    }
}
