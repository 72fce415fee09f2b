//! One request of the transcript: what is sent, and the curl command that sends the same.

use reqwest::header::HeaderMap;
use serde_json::Value;
use url::form_urlencoded;

/// An access token. Never printed: it has neither `Debug` nor `Display`.
pub struct Token(pub String);

pub enum Body {
    None,
    Json(Value),
    Form(Vec<(&'static str, String)>),
}

pub struct Request<'a> {
    pub url: &'a str,
    pub token: Option<&'a Token>,
    /// Besides those that its body brings.
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
    /// Whether the command shows the answer's head too.
    pub head: bool,
}

pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

const ACCEPT: &str = "application/json, text/event-stream";

impl<'a> Request<'a> {
    pub fn get(url: &'a str) -> Self {
        Self { url, token: None, headers: vec![], body: Body::None, head: false }
    }

    /// An MCP message. Without a version header it is of the legacy era, where a call is shortest.
    pub fn mcp(url: &'a str, token: Option<&'a Token>, message: Value) -> Self {
        Self { url, token, headers: vec![("Accept", ACCEPT.into())], body: Body::Json(message), head: false }
    }

    pub fn form(url: &'a str, fields: Vec<(&'static str, String)>) -> Self {
        Self { url, token: None, headers: vec![], body: Body::Form(fields), head: false }
    }

    /// For an answer whose status and challenge are what matters.
    pub fn with_head(self) -> Self {
        Self { head: true, ..self }
    }

    pub async fn send(&self, client: &reqwest::Client) -> Result<Reply, reqwest::Error> {
        let mut request = match &self.body {
            Body::None => client.get(self.url),
            Body::Json(message) => client.post(self.url).header("Content-Type", "application/json").body(message.to_string()),
            Body::Form(fields) => {
                let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
                client.post(self.url).header("Content-Type", "application/x-www-form-urlencoded").body(form)
            }
        };
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some(Token(token)) = self.token {
            request = request.bearer_auth(token);
        }
        let reply = request.send().await?;
        Ok(Reply { status: reply.status().as_u16(), headers: reply.headers().clone(), body: reply.text().await? })
    }

    /// The command, one option a line; the token as `$TOKEN`, the address `mcp` as `$MCP`.
    pub fn curl(&self, mcp: &str) -> Vec<String> {
        let url = if self.url == mcp { "$MCP".to_owned() } else { self.url.to_owned() };
        let mut lines = vec![format!("curl -s{} {url}", if self.head { "i" } else { "" })];
        if self.token.is_some() {
            lines.push(r#"-H "Authorization: Bearer $TOKEN""#.into());
        }
        if matches!(self.body, Body::Json(_)) {
            lines.push("-H 'Content-Type: application/json'".into());
        }
        lines.extend(self.headers.iter().map(|(name, value)| format!("-H {}", quoted(&format!("{name}: {value}")))));
        match &self.body {
            Body::None => {}
            Body::Json(message) => lines.push(format!("-d {}", quoted(&message.to_string()))),
            Body::Form(fields) => {
                lines.extend(fields.iter().map(|(name, value)| format!("--data-urlencode {}", quoted(&format!("{name}={value}")))));
            }
        }
        lines
    }
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The text of a tool's answer.
    pub fn tool_text(&self) -> Option<String> {
        self.json().pointer("/result/content/0/text")?.as_str().map(Into::into)
    }
}

/// In single quotes, for a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_command_names_the_token_and_never_shows_it() {
        let token = Token("abc.def.ghi".into());
        let request = Request::mcp("http://127.0.0.1:1/mcp", Some(&token), json!({ "it's": 1 }));
        let shown = request.curl("http://127.0.0.1:1/mcp").join(" ");
        assert!(!shown.contains("abc"), "{shown}");
        assert_eq!(
            shown,
            r#"curl -s $MCP -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' -d '{"it'\''s":1}'"#
        );
    }
}
