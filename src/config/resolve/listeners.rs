//! Where clients connect, and where operators look.

use std::net::SocketAddr;

use super::Context;
use crate::config::raw::{RawAdmin, RawListener, RawTls};
use crate::config::report::At;
use crate::config::{ListenAddress, Listener, Tls};

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
    let RawListener { address, tls: raw_tls, h2c, client_ca, trusted_proxies } = raw;
    context.later(at, "client_ca", client_ca);
    context.later(at, "trusted_proxies", trusted_proxies);
    let h2c = h2c.unwrap_or(false);
    if h2c && raw_tls.is_some() {
        context.report.mend(
            &at.key("h2c"),
            "`h2c` is HTTP/2 without TLS, and this listener has TLS",
            "remove `h2c`; with TLS, HTTP/2 is always offered",
        );
    }
    let tls = raw_tls.and_then(|raw| tls(raw, &at.key("tls"), context));
    let Some(address) = address else {
        context.missing_key(at, "address", "where to listen: `address: 0.0.0.0:8443`");
        return None;
    };
    let at = at.key("address");
    let address = match address.strip_prefix("unix:") {
        Some("") => {
            context.report.error(&at, "`unix:` names no socket");
            return None;
        }
        Some(path) => ListenAddress::Unix(Context::path(&at, path)),
        None => ListenAddress::Tcp(socket_address(&address, &at, context)?),
    };
    Some(Listener { address, tls, h2c })
}

fn tls(raw: RawTls, at: &At<'_>, context: &mut Context<'_>) -> Option<Tls> {
    let RawTls { certificate, key } = raw;
    if certificate.is_none() {
        context.missing_key(at, "certificate", "the file of the certificate chain");
    }
    if key.is_none() {
        context.missing_key(at, "key", "the file of the private key");
    }
    let (certificate, key) = (certificate?, key?);
    let chain = context.certificates(&at.key("certificate"), &certificate);
    context.key_of(&at.key("key"), &key, chain);
    Some(Tls { certificate: Context::path(at, &certificate), key: Context::path(at, &key) })
}

/// The admin address, which no listener may share.
pub fn admin(raw: Option<RawAdmin>, at: &At<'_>, listeners: &[Listener], context: &mut Context<'_>) -> Option<SocketAddr> {
    let RawAdmin { address } = raw?;
    let at = at.key("admin");
    let Some(address) = address else {
        context.missing_key(&at, "address", "where to serve metrics and health: `address: 127.0.0.1:9180`");
        return None;
    };
    let at = at.key("address");
    let address = socket_address(&address, &at, context)?;
    if listeners.iter().any(|listener| is_shared(&listener.address, address)) {
        context.report.mend(&at, format!("`{address}` is an address that clients use"), "metrics and health need a port of their own");
    }
    Some(address)
}

/// Port 0 is any free one, and never taken.
fn is_taken(one: &ListenAddress, other: &ListenAddress) -> bool {
    one == other && !matches!(one, ListenAddress::Tcp(address) if address.port() == 0)
}

/// An unspecified address takes its port on all others.
fn is_shared(listener: &ListenAddress, admin: SocketAddr) -> bool {
    match listener {
        ListenAddress::Unix(_) => false,
        ListenAddress::Tcp(other) => {
            admin.port() != 0
                && other.port() == admin.port()
                && (other.ip() == admin.ip() || other.ip().is_unspecified() || admin.ip().is_unspecified())
        }
    }
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
