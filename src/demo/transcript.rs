//! The demo told as a transcript: each step shows a request as a curl command, and what came back.
//!
//! What is printed is what is sent. A step that is not answered as it should be ends the tour with
//! a [`Failure`], so the demo is a smoke test too. Tokens are never printed.

mod request;

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Addresses, Failure, http_client, issuer};
use request::{Reply, Request, Token};

/// The records of what just happened may be a little late: so many looks, with so long between two.
const PATIENCE: u32 = 30;
const PAUSE: Duration = Duration::from_millis(50);

/// Walks through the running demo and tells of it.
///
/// # Errors
///
/// The first step that is not answered as it should be, or a writer that fails.
pub async fn run(addresses: &Addresses, out: &mut dyn Write) -> Result<(), Failure> {
    let client = http_client()?;
    let mcp = addresses.resource();
    let mut tour = Tour { mcp: &mcp, addresses, client, out, step: String::new(), number: 0 };
    tour.opening()?;
    let offered = tour.without_the_door().await?;
    let metadata = tour.without_a_token().await?;
    let issuer = tour.resource_metadata(&metadata).await?;
    let endpoint = tour.server_metadata(&issuer).await?;
    let reader = tour.token("A token for alice, to read", &endpoint, "alice", "notes:read").await?;
    tour.cut_list(&reader, offered).await?;
    tour.whoami(&reader).await?;
    tour.missing_scope(&reader).await?;
    let writer = tour.token("A wider token for alice", &endpoint, "alice", "notes:write").await?;
    tour.allowed_write(&writer).await?;
    tour.stream(&writer).await?;
    tour.no_scope_cures_it(&writer).await?;
    let bob = tour.token("A token for bob, who is in the group sre", &endpoint, "bob", "notes:write").await?;
    tour.bob(&bob).await?;
    tour.metrics().await?;
    tour.audit().await
}

struct Tour<'a> {
    /// The resource, as `$MCP` in the commands.
    mcp: &'a str,
    addresses: &'a Addresses,
    client: reqwest::Client,
    out: &'a mut dyn Write,
    step: String,
    number: usize,
}

impl Tour<'_> {
    fn opening(&mut self) -> Result<(), Failure> {
        let mcp = self.mcp;
        self.line("For the commands below:")?;
        self.line("")?;
        self.line(&format!("  $ MCP={mcp}"))
    }

    async fn without_the_door(&mut self) -> Result<usize, Failure> {
        self.title("The server alone: whoever reaches it may do everything")?;
        let url = format!("http://{}/mcp", self.addresses.upstream);
        let reply = self.ask(&Request::mcp(&url, None, list())).await?;
        let tools = names(&reply);
        self.want(tools.len() == 12, "12 tools", &reply)?;
        self.said(&format!("{} tools: {}", tools.len(), tools.join(", ")))?;
        Ok(tools.len())
    }

    /// RFC 9728 §5.1: the challenge names the resource's metadata.
    async fn without_a_token(&mut self) -> Result<String, Failure> {
        self.title("At the door, without a token: 401, and where to look")?;
        let reply = self.ask(&Request::mcp(self.mcp, None, list()).with_head()).await?;
        let url = challenge(&reply, "resource_metadata");
        self.want(reply.status == 401 && url.is_some(), "401 with resource_metadata in its challenge", &reply)?;
        self.show_status(&reply)?;
        Ok(url.unwrap_or_default())
    }

    /// RFC 9728 §3.
    async fn resource_metadata(&mut self, url: &str) -> Result<String, Failure> {
        self.title("The resource's metadata names its authorization server")?;
        let reply = self.ask(&Request::get(url)).await?;
        let document = reply.json();
        let resource = document.get("resource").and_then(Value::as_str);
        let issuer = document.pointer("/authorization_servers/0").and_then(Value::as_str).unwrap_or_default().to_owned();
        let right = resource == Some(self.mcp) && issuer == self.addresses.issuer();
        self.want(right, "the resource and the demo's issuer", &reply)?;
        self.show_json(&document)?;
        Ok(issuer)
    }

    /// RFC 8414 §3.
    async fn server_metadata(&mut self, issuer: &str) -> Result<String, Failure> {
        self.title("The authorization server says where tokens are made")?;
        let reply = self.ask(&Request::get(&format!("{issuer}/.well-known/oauth-authorization-server"))).await?;
        let document = reply.json();
        let endpoint = document.get("token_endpoint").and_then(Value::as_str).unwrap_or_default().to_owned();
        let right = document.get("issuer").and_then(Value::as_str) == Some(issuer) && !endpoint.is_empty();
        self.want(right, "the same issuer, and a token endpoint", &reply)?;
        self.show_json(&document)?;
        Ok(endpoint)
    }

    async fn token(&mut self, title: &str, endpoint: &str, user: &str, scope: &str) -> Result<Token, Failure> {
        self.title(title)?;
        let fields = vec![
            ("grant_type", issuer::GRANT_TYPE.to_owned()),
            ("username", user.to_owned()),
            ("scope", scope.to_owned()),
            ("resource", self.mcp.to_owned()),
        ];
        let request = Request::form(endpoint, fields);
        let mut command = request.curl(self.mcp);
        if let Some(first) = command.first_mut() {
            first.insert_str(0, "TOKEN=$(");
        }
        command.push(r#"| sed 's/.*"access_token":"\([^"]*\)".*/\1/')"#.into());
        self.command(&command)?;
        let reply = self.send(&request).await?;
        let document = reply.json();
        let token = document.get("access_token").and_then(Value::as_str).map(|token| Token(token.to_owned()));
        let Some(token) = token.filter(|_| reply.status == 200) else {
            return Err(self.unexpected("an access token", format!("status {}", reply.status)));
        };
        let seconds = document.get("expires_in").and_then(Value::as_u64).unwrap_or_default();
        self.said(&format!("a token for {user}, scope {scope}, for this resource alone, for {seconds} seconds"))?;
        Ok(token)
    }

    async fn cut_list(&mut self, token: &Token, offered: usize) -> Result<(), Failure> {
        self.title("The list shows what alice may call, and no more")?;
        let reply = self.ask(&Request::mcp(self.mcp, Some(token), list())).await?;
        let tools = names(&reply);
        let wanted = ["whoami", "list_notes", "read_note", "search_notes", "run_report"];
        self.want(reply.status == 200 && tools == wanted, "whoami, list_notes, read_note, search_notes and run_report", &reply)?;
        self.said(&format!("{} of {offered} tools: {}", tools.len(), tools.join(", ")))
    }

    async fn whoami(&mut self, token: &Token) -> Result<(), Failure> {
        self.title("An allowed call: the server sees who calls, and no token")?;
        let reply = self.ask(&Request::mcp(self.mcp, Some(token), call("whoami", json!({})))).await?;
        let seen: Value = reply.tool_text().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let user = seen.pointer("/identity/x-forwarded-user").and_then(Value::as_str);
        let right = user == Some("alice") && seen.get("authorization") == Some(&Value::Bool(false));
        self.want(right, "the user alice and no Authorization header", &reply)?;
        self.show_json(&seen)
    }

    /// RFC 6750 §3.1 `insufficient_scope`.
    async fn missing_scope(&mut self, token: &Token) -> Result<(), Failure> {
        self.title("A call that asks for more: 403, and the scope that would cure it")?;
        let reply = self.ask(&Request::mcp(self.mcp, Some(token), create_note()).with_head()).await?;
        let scope = challenge(&reply, "scope").unwrap_or_default();
        let right =
            reply.status == 403 && challenge(&reply, "error").as_deref() == Some("insufficient_scope") && scope.contains("notes:write");
        self.want(right, "403 with insufficient_scope and notes:write", &reply)?;
        self.show_status(&reply)
    }

    async fn allowed_write(&mut self, token: &Token) -> Result<(), Failure> {
        self.title("The same call with that scope")?;
        let reply = self.ask(&Request::mcp(self.mcp, Some(token), create_note())).await?;
        let text = reply.tool_text().unwrap_or_default();
        self.want(reply.status == 200 && text.contains("created"), "a note that was created", &reply)?;
        self.said(&text)
    }

    /// Revision 2026-07-28: the head says what the body asks, and both must agree.
    async fn stream(&mut self, token: &Token) -> Result<(), Failure> {
        self.title("A streamed answer, asked for as in revision 2026-07-28")?;
        let mut message = call("run_report", json!({ "steps": 2 }));
        let meta = json!({
            "progressToken": "p1",
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "curl", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        if let Some(params) = message.pointer_mut("/params").and_then(Value::as_object_mut) {
            params.insert("_meta".into(), meta);
        }
        let mut request = Request::mcp(self.mcp, Some(token), message);
        for (name, value) in [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", "run_report")] {
            request.headers.push((name, value.into()));
        }
        let reply = self.ask(&request).await?;
        let events: Vec<String> = reply.body.lines().filter(|line| line.starts_with("data:")).map(Into::into).collect();
        let right = events.len() == 3 && events.last().is_some_and(|last| last.contains("report done"));
        self.want(reply.status == 200 && right, "two progress events and a result", &reply)?;
        events.iter().try_for_each(|event| self.said(event))
    }

    async fn no_scope_cures_it(&mut self, token: &Token) -> Result<(), Failure> {
        self.title("A call that no scope opens: 403 without a challenge, so no client asks in a loop")?;
        let reply = self.ask(&Request::mcp(self.mcp, Some(token), call("drop_database", json!({}))).with_head()).await?;
        let right = reply.status == 403 && reply.header("www-authenticate").is_none();
        self.want(right, "403 without a challenge", &reply)?;
        self.show_status(&reply)
    }

    async fn bob(&mut self, token: &Token) -> Result<(), Failure> {
        self.title("The same call by bob: the rule asks for the group, and he is in it")?;
        let reply = self.ask(&Request::mcp(self.mcp, Some(token), call("drop_database", json!({})))).await?;
        let text = reply.tool_text().unwrap_or_default();
        self.want(reply.status == 200 && text.contains("dropped"), "a database that was dropped", &reply)?;
        self.said(&text)
    }

    async fn metrics(&mut self) -> Result<(), Failure> {
        self.title("What was counted")?;
        let url = format!("http://{}/metrics", self.addresses.admin);
        let request = Request::get(&url);
        self.command(&request.curl(self.mcp))?;
        // Counted once an answer has been sent, so a little after it was read.
        for _ in 0..PATIENCE {
            let reply = self.send(&request).await?;
            let lines: Vec<&str> = reply.body.lines().filter(|line| is_told(line)).collect();
            let has = |word: &str| lines.iter().any(|line| line.starts_with("doorward_requests_total{") && line.contains(word));
            if reply.status == 200 && has("permitted") && has("refused") {
                return lines.iter().take(16).try_for_each(|line| self.said(line));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(self.unexpected("doorward_requests_total with permitted and refused requests", "no such lines".into()))
    }

    async fn audit(&mut self) -> Result<(), Failure> {
        self.title("What was recorded: one line a decision (here shortened)")?;
        let file = &self.addresses.audit;
        let command = vec![format!("tail -n 4 {}", file.display())];
        self.command(&command)?;
        for _ in 0..PATIENCE {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let records: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            let has = |subject: &str, outcome: &str| records.iter().any(|record| tells(record, subject, "drop_database", outcome));
            if has("alice", "refused") && has("bob", "permitted") {
                let last = records.get(records.len().saturating_sub(4)..).unwrap_or_default();
                return last.iter().try_for_each(|record| self.said(&shortened(record)));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(self.unexpected("the refusal of alice and the permit of bob", "no such records".into()))
    }

    /// Shows the command, sends the request.
    async fn ask(&mut self, request: &Request<'_>) -> Result<Reply, Failure> {
        self.command(&request.curl(self.mcp))?;
        self.send(request).await
    }

    async fn send(&self, request: &Request<'_>) -> Result<Reply, Failure> {
        request.send(&self.client).await.map_err(|source| Failure::Http { step: self.step.clone(), source })
    }

    fn want(&self, right: bool, wanted: &str, reply: &Reply) -> Result<(), Failure> {
        if right {
            return Ok(());
        }
        let challenge = reply.header("www-authenticate").unwrap_or("none");
        let body: String = reply.body.chars().take(300).collect();
        Err(self.unexpected(wanted, format!("status {}, challenge {challenge}, body {body}", reply.status)))
    }

    fn unexpected(&self, wanted: &str, found: String) -> Failure {
        Failure::Unexpected { step: self.step.clone(), wanted: wanted.into(), found }
    }

    fn title(&mut self, title: &str) -> Result<(), Failure> {
        self.number += 1;
        self.step = title.into();
        let line = format!("\n{}. {title}\n", self.number);
        self.line(&line)
    }

    fn command(&mut self, lines: &[String]) -> Result<(), Failure> {
        self.line(&format!("  $ {}\n", lines.join(" \\\n      ")))
    }

    fn show_status(&mut self, reply: &Reply) -> Result<(), Failure> {
        self.said(&format!("HTTP {}", reply.status))?;
        if let Some(challenge) = reply.header("www-authenticate") {
            self.said(&format!("WWW-Authenticate: {challenge}"))?;
        }
        self.said(&reply.body)
    }

    fn show_json(&mut self, value: &Value) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        text.lines().try_for_each(|line| self.said(line))
    }

    fn said(&mut self, text: &str) -> Result<(), Failure> {
        self.line(&format!("    {text}"))
    }

    fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.out, "{text}").map_err(|source| Failure::Io { what: "write the transcript", source })
    }
}

fn list() -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" })
}

fn call(tool: &str, arguments: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": tool, "arguments": arguments } })
}

fn create_note() -> Value {
    call("create_note", json!({ "title": "Hello", "text": "written through the door" }))
}

fn names(reply: &Reply) -> Vec<String> {
    let document = reply.json();
    let tools = document.pointer("/result/tools").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    tools.iter().filter_map(|tool| tool.get("name")?.as_str()).map(Into::into).collect()
}

/// A quoted parameter of the challenge (RFC 9110 §11.2).
fn challenge(reply: &Reply, parameter: &str) -> Option<String> {
    let text = reply.header("www-authenticate")?;
    let start = format!(r#"{parameter}=""#);
    let mut parameters = text.strip_prefix("Bearer ")?.split(", ");
    parameters.find_map(|one| one.strip_prefix(start.as_str())?.strip_suffix('"').map(Into::into))
}

/// The counters that the excerpt shows.
fn is_told(line: &str) -> bool {
    ["doorward_requests_total{", "doorward_tool_calls_total{"].iter().any(|start| line.starts_with(start))
}

fn tells(record: &Value, subject: &str, name: &str, outcome: &str) -> bool {
    let is = |member: &str, wanted: &str| record.get(member).and_then(Value::as_str) == Some(wanted);
    is("subject", subject) && is("name", name) && is("outcome", outcome)
}

/// The members that answer who, what and why.
fn shortened(record: &Value) -> String {
    let members = ["subject", "operation", "name", "outcome", "reason", "rule"];
    let told = members.iter().filter_map(|member| Some(format!("{}:{}", json!(member), record.get(*member)?)));
    format!("{{ … {} … }}", told.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests;
