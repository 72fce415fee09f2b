//! Where an upstream's servers are, how they are spoken to and looked after.
//!
//! Names are resolved where they are dialled, not here: a server may start later than its gateway.

use std::mem::discriminant;
use std::path::Path;
use std::time::Duration;

use http::uri::PathAndQuery;

use crate::config::lint;
use crate::config::raw::{RawHealth, RawTls, Strings};
use crate::config::report::At;
use crate::config::resolve::{Context, quantity, web};
use crate::route::{Address, ClientCertificate, Health, Place, Reach};

/// Servers of one upstream.
const MOST: usize = 32;
const ROW: u32 = 100;

/// The keys of an upstream that are about its servers.
pub struct Section {
    pub url: Option<Strings>,
    pub ca_file: Option<String>,
    pub http2: Option<bool>,
    pub client_certificate: Option<RawTls>,
    pub health: Option<RawHealth>,
}

impl Section {
    /// The servers, and the path that each of them is called at.
    pub fn resolve(self, at: &At<'_>, context: &mut Context<'_>) -> Option<(Reach, PathAndQuery)> {
        let Self { url, ca_file, http2, client_certificate, health } = self;
        let ca = ca_file.map(|file| {
            context.certificates(&at.key("ca_file"), &file);
            Context::path(at, &file)
        });
        let client_certificate = client_certificate.and_then(|raw| certificate(raw, &at.key("client_certificate"), context));
        let health = health.map(|raw| looked_after(raw, &at.key("health"), context));
        let (places, path) = places(url, ca.as_deref(), at, context)?;
        if !matches!(places.first()?.address, Address::Tls { .. }) {
            for (key, stands) in [("ca_file", ca.is_some()), ("client_certificate", client_certificate.is_some())] {
                if stands {
                    let message = format!("`{key}` is for an https upstream");
                    context.report.mend(&at.key(key), message, "remove it, or write the url with https");
                }
            }
        }
        Some((Reach { places, http2: http2.unwrap_or(false), client_certificate, health }, path))
    }
}

/// One server or several that are alike: each may be given any call.
fn places(url: Option<Strings>, ca: Option<&Path>, at: &At<'_>, context: &mut Context<'_>) -> Option<(Vec<Place>, PathAndQuery)> {
    let Some(Strings(urls)) = url.filter(|urls| !urls.0.is_empty()) else {
        context.missing_key(at, "url", "where the MCP server is: `url: http://127.0.0.1:3001/mcp`");
        return None;
    };
    let here = at.key("url");
    if urls.len() > MOST {
        context.report.mend(&here, format!("more than {MOST} servers"), "a name may stand for any number of addresses");
        return None;
    }
    let mut found: Vec<(Place, PathAndQuery)> = Vec::new();
    for (index, text) in urls.iter().enumerate() {
        let here = if urls.len() == 1 { here.clone() } else { here.item(index) };
        let (place, path) = match text.strip_prefix("unix:") {
            Some(socket) => unix(socket, &here, context)?,
            None => network(text, ca, &here, context)?,
        };
        if let Some((first, first_path)) = found.first() {
            if discriminant(&first.address) != discriminant(&place.address) {
                context.report.mend(
                    &here,
                    format!("`{text}` has another scheme than the first"),
                    "servers that share calls are reached alike",
                );
            } else if *first_path != path {
                context.report.mend(
                    &here,
                    format!("`{text}` has another path than the first"),
                    "servers that share calls are reached alike",
                );
            }
        }
        if found.iter().any(|(other, _)| other.address == place.address) {
            context.report.error(&here, format!("`{text}` stands here twice"));
        }
        found.push((place, path));
    }
    let path = found.first()?.1.clone();
    Some((found.into_iter().map(|(place, _)| place).collect(), path))
}

fn certificate(raw: RawTls, at: &At<'_>, context: &mut Context<'_>) -> Option<ClientCertificate> {
    let (certificate, key) = context.pair(raw, at)?;
    let chain = context.certificates(&at.key("certificate"), &certificate);
    context.key_of(&at.key("key"), &key, chain);
    Some(ClientCertificate { certificate: Context::path(at, &certificate), key: Context::path(at, &key) })
}

fn looked_after(raw: RawHealth, at: &At<'_>, context: &mut Context<'_>) -> Health {
    let RawHealth { path, interval, timeout, healthy, unhealthy } = raw;
    if let Some(path) = &path
        && let Some(fault) = web::path_fault(path)
    {
        context.report.mend(&at.key("path"), format!("`{path}` {fault}"), "a path is plain: `/healthz`");
    }
    let report = &mut context.report;
    let interval = quantity::duration(interval, Duration::from_secs(10), &at.key("interval"), report);
    let written = timeout.is_some();
    let timeout = quantity::duration(timeout, Duration::from_secs(2).min(interval), &at.key("timeout"), report);
    if written && timeout > interval {
        report.mend(&at.key("timeout"), "a check may not last longer than `interval`", "write less, or check less often");
    }
    let mut row = |value: Option<u32>, default: u32, key: &str| {
        let value = value.unwrap_or(default);
        if !(1..=ROW).contains(&value) {
            report.mend(&at.key(key), format!("`{value}` is not a number of checks"), format!("write a number from 1 to {ROW}"));
        }
        value
    };
    Health { path, interval, timeout, healthy: row(healthy, 1, "healthy"), unhealthy: row(unhealthy, 3, "unhealthy") }
}

/// `/run/mcp.sock` or `/run/mcp.sock:/path`.
fn unix(socket: &str, at: &At<'_>, context: &mut Context<'_>) -> Option<(Place, PathAndQuery)> {
    let (socket, path) = socket.split_once(':').unwrap_or((socket, "/"));
    let path = path.parse::<PathAndQuery>().ok().filter(|path| path.as_str().starts_with('/'));
    let Some(path) = path.filter(|_| !socket.is_empty()) else {
        context.report.mend(at, "not a socket", "write `unix:/run/mcp.sock`, or `unix:/run/mcp.sock:/mcp` with the server's path");
        return None;
    };
    let place = Place { address: Address::Unix(Context::path(at, socket)), authority: "localhost".into() };
    Some((place, path))
}

fn network(text: &str, ca: Option<&Path>, at: &At<'_>, context: &mut Context<'_>) -> Option<(Place, PathAndQuery)> {
    let url = web::url(text, at, &mut context.report)?;
    let (host, port) = (url.host_str()?.to_owned(), url.port_or_known_default()?);
    if port == 0 {
        context.report.error(at, format!("`{text}` has port 0, where nothing listens"));
        return None;
    }
    let authority = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let Ok(path) = path.parse() else {
        context.report.error(at, format!("`{path}` is not a path that a request can name"));
        return None;
    };
    let address = if url.scheme() == "https" {
        if url.domain().is_none() {
            let hint = "name the host that the server's certificate is for";
            context.report.mend(at, format!("an https upstream needs a host name, and `{host}` is an address"), hint);
            return None;
        }
        Address::Tls { host, port, ca: ca.map(Path::to_path_buf) }
    } else {
        if !web::is_loopback(&url) {
            lint::plain_http_upstream(&host, at, &mut context.report);
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Address::Tcp { host, port }
    };
    Some((Place { address, authority }, path))
}
