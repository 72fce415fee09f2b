//! A path that finds a route is spelled as the configuration spells it, but for one slash at the end.
#![no_main]

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;
use std::time::SystemTime;

use doorward::config;
use doorward::route::{Head, RouteTable};
use http::{HeaderMap, Method};
use libfuzzer_sys::fuzz_target;

const CONFIG: &str = "public_url: https://mcp.example.com
listen: [{ address: '127.0.0.1:8080' }]
issuers: { corp: { issuer: 'https://login.example.com' } }
upstreams:
  one: { path: /one/mcp, url: 'http://127.0.0.1:3001/mcp', rules: [{ tools: [a] }] }
  two: { path: /two, url: 'http://127.0.0.1:3002/mcp', rules: [{ tools: [b] }] }
";

const PATHS: &[&str] = &[
    "/one/mcp",
    "/two",
    "/.well-known/oauth-protected-resource/one/mcp",
    "/.well-known/oauth-protected-resource/two",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server/one/mcp",
    "/.well-known/openid-configuration/one/mcp",
    "/one/mcp/.well-known/oauth-authorization-server",
    "/one/mcp/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server/two",
    "/.well-known/openid-configuration/two",
    "/two/.well-known/oauth-authorization-server",
    "/two/.well-known/openid-configuration",
];

static TABLE: LazyLock<RouteTable> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("doorward.yaml");
    fs::write(&file, CONFIG).expect("a file");
    RouteTable::new(config::load(&file, &|_| None).expect("a configuration").config.routes)
});

fuzz_target!(|path: &str| {
    let headers = HeaderMap::new();
    let head = Head {
        method: &Method::POST,
        authority: Some("mcp.example.com"),
        path,
        headers: &headers,
        source: IpAddr::V4(Ipv4Addr::LOCALHOST),
        certificate: None,
        received: SystemTime::UNIX_EPOCH,
    };
    if TABLE.find(&head).is_ok() {
        assert!(PATHS.contains(&path) || PATHS.contains(&path.strip_suffix('/').unwrap_or_default()), "found by {path:?}");
    }
});
