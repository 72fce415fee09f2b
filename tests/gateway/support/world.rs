//! The fixture of the acceptance list: two endpoints, their rules, an issuer and three callers.

use std::path::Path;

use serde_json::{Value, json};

use super::client::{self, Call};
use super::gateway::{Gateway, free_port};
use super::issuer::{Issuer, Token};
use super::tls::Identity;
use super::upstream::Upstream;

/// What a gateway is started with: everything may still be changed.
pub struct Setup {
    pub issuer: Issuer,
    pub files: Upstream,
    pub crm: Upstream,
    pub folder: tempfile::TempDir,
    pub port: u16,
    pub config: Value,
}

impl Setup {
    pub async fn new() -> Self {
        Self::before(Upstream::start().await).await
    }

    /// With this upstream behind `/mcp/files`.
    pub async fn before(files: Upstream) -> Self {
        let (issuer, crm) = (Issuer::start().await, Upstream::start().await);
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let config = config(port, free_port(), &issuer.url, &files.url, &crm.url, folder.path());
        Self { issuer, files, crm, folder, port, config }
    }

    /// Serves TLS instead of plain HTTP, under the name `localhost`.
    pub fn over_tls(&mut self, identity: &Identity) {
        let (certificate, key) = identity.write(self.folder.path());
        self.config["public_url"] = json!(format!("https://localhost:{}", self.port));
        self.config["listen"][0]["tls"] = json!({"certificate": certificate, "key": key});
    }

    pub async fn start(self) -> World {
        self.start_with(client::client()).await
    }

    /// Calls are made by this client.
    pub async fn start_with(self, http: reqwest::Client) -> World {
        let origin = self.config["public_url"].as_str().unwrap().to_owned();
        let gateway = Gateway::start(self.folder.path(), &self.config, &http).await;
        let Self { issuer, files, crm, folder, port, config } = self;
        World { issuer, files, crm, gateway, config, origin, address: format!("127.0.0.1:{port}"), http, folder }
    }
}

fn config(port: u16, admin: u16, issuer: &str, files: &str, crm: &str, folder: &Path) -> Value {
    json!({
        "public_url": format!("http://127.0.0.1:{port}"),
        "listen": [{"address": format!("127.0.0.1:{port}")}],
        "admin": {"address": format!("127.0.0.1:{admin}")},
        "audit": {"file": folder.join("audit.jsonl")},
        "issuers": {"corp": {"issuer": issuer}},
        "upstreams": {
            "files": {
                "path": "/mcp/files",
                "url": files,
                "issuers": ["corp"],
                "rules": [
                    {"name": "nobody-wipes", "tools": ["wipe"], "deny": true},
                    {"name": "readers", "tools": ["read_file"], "resources": ["file:///pub/**"], "prompts": ["greet"], "scopes": ["files:read"]},
                    {"name": "writers", "tools": ["write_file"], "scopes": ["files:write"]},
                    {"name": "mergers", "tools": ["merge"], "scopes": ["merge:left", "merge:right"]},
                    {"name": "by-path", "tools": ["read_path"], "scopes": ["files:read"], "arguments": {"path": {"type": "string", "pattern": "^/pub/"}}},
                    {"name": "sre-only", "tools": ["restart"], "scopes": ["files:read"], "groups": ["sre"]},
                ],
                "identity": {"headers": {"X-Mcp-User": "subject", "X-Mcp-Email": "claims.email", "X-Mcp-Groups": "groups"}},
            },
            "crm": {
                "path": "/mcp/crm",
                "url": crm,
                "issuers": ["corp"],
                "rules": [{"tools": ["crm_*"], "scopes": ["crm:read"]}],
            },
        },
        "scopes": {
            "files:read": {"text": "Read files"},
            "files:write": {"text": "Write files", "implies": ["files:read"]},
            "merge:left": {"text": "Merge from the left"},
            "merge:right": {"text": "Merge from the right"},
            "crm:read": {"text": "Read customers"},
        },
    })
}

/// A gateway that serves, and its neighbours.
pub struct World {
    pub issuer: Issuer,
    pub files: Upstream,
    pub crm: Upstream,
    pub gateway: Gateway,
    /// As it was started with.
    pub config: Value,
    pub origin: String,
    /// Host and port of the listener.
    pub address: String,
    pub http: reqwest::Client,
    pub folder: tempfile::TempDir,
}

impl World {
    pub async fn start() -> Self {
        Setup::new().await.start().await
    }

    /// With a changed configuration.
    pub async fn with(change: impl FnOnce(&mut Value)) -> Self {
        let mut setup = Setup::new().await;
        change(&mut setup.config);
        setup.start().await
    }

    pub fn resource(&self) -> String {
        format!("{}/mcp/files", self.origin)
    }

    pub fn metadata_url(&self) -> String {
        format!("{}/.well-known/oauth-protected-resource/mcp/files", self.origin)
    }

    /// A token for the files endpoint, with anything about it changed.
    pub fn token(&self, change: impl FnOnce(&mut Token)) -> String {
        self.issuer.token(&self.resource(), change)
    }

    /// User A with `files:read`.
    pub fn ta(&self) -> String {
        self.token(|_| {})
    }

    /// User B with `files:read`.
    pub fn tb(&self) -> String {
        self.token(|token| token.claims["sub"] = json!("user-b"))
    }

    /// User A with `files:write` only.
    pub fn tw(&self) -> String {
        self.token(|token| token.claims["scope"] = json!("files:write"))
    }

    pub fn modern(&self, method: &str, params: Value) -> Call {
        client::modern(&self.http, &self.origin, method, params)
    }

    pub fn legacy(&self, method: &str, params: Value) -> Call {
        client::legacy(&self.http, &self.origin, method, params)
    }

    /// A modern call of one tool.
    pub fn tool(&self, name: &str) -> Call {
        self.modern("tools/call", json!({"name": name, "arguments": {}}))
    }

    /// The call of an MCP client to `/mcp/files` as bytes, for a connection of its own; `operation`: the headers that say what it is.
    pub fn written(&self, call: &Call, operation: &str) -> Vec<u8> {
        let body = call.bytes();
        let (_, host) = self.origin.split_once("://").unwrap();
        let head = format!(
            "POST /mcp/files HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: {}\r\n{operation}\r\nContent-Length: {}\r\n\r\n",
            host,
            self.ta(),
            client::MODERN,
            body.len()
        );
        [head.as_bytes(), &body].concat()
    }

    /// A GET of a path, without anything else.
    pub async fn get(&self, path: &str) -> client::Reply {
        let response = self.http.get(format!("{}{path}", self.origin)).send().await.unwrap();
        let (status, version, headers) = (response.status().as_u16(), response.version(), response.headers().clone());
        client::Reply { status, version, headers, body: response.bytes().await.unwrap() }
    }
}
