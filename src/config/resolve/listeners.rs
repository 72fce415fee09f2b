//! Where clients connect.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Context;
use super::rules::networks;
use crate::config::lint;
use crate::config::raw::{OneOrMany, RawClientCertificate, RawListener, RawTls, RawUpgrade, Strings};
use crate::config::report::At;
use crate::config::{Clients, ListenAddress, Listener, Pair, Tls, Trusted};

/// All listeners, each address once.
pub fn listeners(raw: Option<Vec<RawListener>>, at: &At<'_>, context: &mut Context<'_>) -> Vec<Listener> {
    let Some(raw) = raw.filter(|raw| !raw.is_empty()) else {
        context.missing_key(at, "listen", "an address to listen at: `listen: [{ address: 0.0.0.0:8443 }]`");
        return Vec::new();
    };
    let at = at.key("listen");
    let mut all: Vec<(Listener, At<'_>)> = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let at = at.item(index);
        let Some(listener) = listener(raw, &at, context) else { continue };
        match all.iter().find(|(other, _)| is_taken(&other.address, &listener.address)) {
            Some((_, first)) => context.report.error(&at.key("address"), format!("this address is also on line {}", first.line())),
            None => all.push((listener, at)),
        }
    }
    all.into_iter().map(|(listener, _)| listener).collect()
}

fn listener(raw: RawListener, at: &At<'_>, context: &mut Context<'_>) -> Option<Listener> {
    let RawListener { address, tls: raw_tls, h2c, client_ca, client_certificate, trusted_proxies, proxy_protocol } = raw;
    let h2c = h2c.unwrap_or(false);
    if h2c && raw_tls.is_some() {
        context.report.mend(
            &at.key("h2c"),
            "`h2c` is HTTP/2 without TLS, and this listener has TLS",
            "remove `h2c`; with TLS, HTTP/2 is always offered",
        );
    }
    let has_tls = raw_tls.is_some();
    let pairs = raw_tls.map(|raw| pairs(raw, &at.key("tls"), context)).unwrap_or_default();
    let clients = clients(client_ca, client_certificate, has_tls, at, context);
    let tls = (!pairs.is_empty()).then_some(Tls { pairs, clients });
    let proxied = trusted_proxies.is_some();
    let is_unix = address.as_ref().is_some_and(|address| address.starts_with("unix:"));
    let trusted = trusted(trusted_proxies, is_unix, &at.key("trusted_proxies"), context);
    let proxy_protocol = proxy_protocol.unwrap_or(false);
    if proxy_protocol && !proxied {
        context.report.mend(
            &at.key("proxy_protocol"),
            "`proxy_protocol` without `trusted_proxies` would let anyone choose an address",
            "name the networks of your proxies: `trusted_proxies: [10.0.0.0/8]`",
        );
    }
    let Some(address) = address else {
        context.missing_key(at, "address", "where to listen: `address: 0.0.0.0:8443`");
        return None;
    };
    let address = listen_address(&address, &at.key("address"), context)?;
    Some(Listener { address, tls, h2c, trusted, proxy_protocol })
}

/// `unix:` and a path, or an IP address and a port.
pub(super) fn listen_address(text: &str, at: &At<'_>, context: &mut Context<'_>) -> Option<ListenAddress> {
    match text.strip_prefix("unix:") {
        Some("") => {
            context.report.error(at, "`unix:` names no socket");
            None
        }
        Some(path) => Some(ListenAddress::Unix(Context::path(at, path))),
        None => Some(ListenAddress::Tcp(socket_address(text, at, context)?)),
    }
}

pub(super) fn pairs(raw: OneOrMany<RawTls>, at: &At<'_>, context: &mut Context<'_>) -> Vec<Pair> {
    let OneOrMany { all, is_list } = raw;
    if all.is_empty() {
        context.report.mend(at, "the list is empty", "name a certificate and its key, or remove the key");
    }
    let places = all.into_iter().enumerate().map(|(index, raw)| (raw, if is_list { at.item(index) } else { at.clone() }));
    places.filter_map(|(raw, at)| pair(raw, &at, context)).collect()
}

pub(super) fn clients(
    ca: Option<String>,
    certificate: Option<RawClientCertificate>,
    has_tls: bool,
    at: &At<'_>,
    context: &mut Context<'_>,
) -> Option<Clients> {
    let Some(ca) = ca else {
        if certificate.is_some() {
            let hint = "name the authority: `client_ca: clients.pem`";
            context.report.mend(&at.key("client_certificate"), "`client_certificate` says nothing without `client_ca`", hint);
        }
        return None;
    };
    let at = at.key("client_ca");
    if !has_tls {
        context.report.mend(&at, "clients show certificates in TLS, and this listener has none", "add `tls`, or remove `client_ca`");
    }
    let authorities = context.certificates(&at, &ca)?;
    let mut roots = rustls::RootCertStore::empty();
    if authorities.into_iter().any(|authority| roots.add(authority).is_err()) {
        context.report.error(&at, format!("a certificate in `{ca}` cannot be an authority"));
    }
    Some(Clients { ca: Context::path(&at, &ca), required: !matches!(certificate, Some(RawClientCertificate::Optional)) })
}

/// Networks, and `unix` where the listener is a Unix socket.
fn trusted(raw: Option<Strings>, is_unix: bool, at: &At<'_>, context: &mut Context<'_>) -> Trusted {
    let Some(Strings(all)) = raw else { return Trusted::default() };
    let unix = all.iter().any(|text| text == "unix");
    if unix && !is_unix {
        let hint = "name networks; `unix` is for a listener at a Unix socket";
        context.report.mend(at, "`unix` trusts nobody here: this listener is no Unix socket", hint);
    } else if is_unix && all.iter().any(|text| text != "unix") {
        context.report.mend(at, "a peer at a Unix socket has no network", "write `trusted_proxies: [unix]`");
    }
    if unix {
        return Trusted { networks: Vec::new(), unix };
    }
    let networks = networks(Some(Strings(all)), at, context);
    if let Some(all) = networks.iter().find(|network| network.prefix_len() == 0) {
        let hint = "name the networks of your proxies, and no others";
        context.report.mend(at, format!("`{all}` would let every client choose its own address"), hint);
    }
    Trusted { networks, unix }
}

/// Where the next process asks for the sockets.
pub fn upgrade(raw: Option<RawUpgrade>, at: &At<'_>, context: &mut Context<'_>) -> Option<PathBuf> {
    let RawUpgrade { socket } = raw?;
    let at = at.key("upgrade");
    let Some(socket) = socket.filter(|socket| !socket.is_empty()) else {
        context.missing_key(&at, "socket", "a Unix socket: `socket: /run/doorward/upgrade.sock`");
        return None;
    };
    let path = Context::path(&at, &socket);
    if !path.parent().is_none_or(|folder| folder.as_os_str().is_empty() || folder.is_dir()) {
        context.report.mend(&at.key("socket"), format!("the folder of `{socket}` does not exist"), "make it, for doorward's user alone");
    }
    Some(path)
}

fn pair(raw: RawTls, at: &At<'_>, context: &mut Context<'_>) -> Option<Pair> {
    let (certificate, key) = context.pair(raw, at)?;
    let chain = context.certificates(&at.key("certificate"), &certificate);
    if let Some(own) = chain.as_ref().and_then(|chain| chain.first()) {
        lint::expiry(own, &certificate, &at.key("certificate"), &mut context.report);
    }
    context.key_of(&at.key("key"), &key, chain);
    Some(Pair { certificate: Context::path(at, &certificate), key: Context::path(at, &key) })
}

/// Port 0 is any free one, and never taken.
fn is_taken(one: &ListenAddress, other: &ListenAddress) -> bool {
    one == other && !matches!(one, ListenAddress::Tcp(address) if address.port() == 0)
}

fn socket_address(text: &str, at: &At<'_>, context: &mut Context<'_>) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let hint = match text.rsplit_once(':') {
        Some(("", port)) => format!("write `0.0.0.0:{port}` for all addresses, `127.0.0.1:{port}` for this machine"),
        Some(("localhost", port)) => format!("write `127.0.0.1:{port}`"),
        _ if text.parse::<u16>().is_ok() => format!("write `0.0.0.0:{text}` for all addresses, `127.0.0.1:{text}` for this machine"),
        _ if text.starts_with('/') => format!("write `unix:{text}` for a socket"),
        _ => "write an IP address and a port, such as `0.0.0.0:8443` or `[::]:8443`".into(),
    };
    context.report.mend(at, format!("`{text}` is not an address"), hint);
    None
}
