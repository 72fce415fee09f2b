//! Which programs are met everywhere, and where do their answers go? A catalogue of redirect URIs.
//!
//! It vouches for nobody: a redirect URI on the web shows whose a client is, one on loopback shows nothing. It says
//! which schemes without a domain are an app's own, and when a name does not fit the place that an answer goes to.

use super::likeness;
use super::redirect::Place;

/// One program.
#[derive(Debug, PartialEq, Eq)]
pub struct KnownClient {
    /// As its makers write it.
    pub name: &'static str,
    /// What else it calls itself.
    others: &'static [&'static str],
    /// Redirect URIs; `*` is one segment of the path.
    redirects: &'static [&'static str],
    /// It also, or only, listens on loopback.
    on_loopback: bool,
}

/// As they were seen to register, in November 2026.
const ALL: [KnownClient; 14] = [
    KnownClient {
        name: "Claude",
        others: &["Claude.ai", "Claude Desktop"],
        redirects: &["https://claude.ai/api/mcp/auth_callback", "https://claude.com/api/mcp/auth_callback"],
        on_loopback: false,
    },
    KnownClient { name: "Claude Code", others: &[], redirects: &[], on_loopback: true },
    KnownClient {
        name: "ChatGPT",
        others: &["OpenAI"],
        redirects: &["https://chatgpt.com/connector/oauth/*", "https://chatgpt.com/connector_platform_oauth_redirect"],
        on_loopback: false,
    },
    KnownClient { name: "Codex", others: &[], redirects: &[], on_loopback: true },
    KnownClient {
        name: "Cursor",
        others: &[],
        redirects: &[
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "cursor://anysphere.cursor-retrieval/oauth/*/callback",
            "https://www.cursor.com/agents/mcp/oauth/callback",
        ],
        on_loopback: true,
    },
    KnownClient {
        name: "Visual Studio Code",
        others: &["VS Code", "VSCode", "GitHub Copilot"],
        redirects: &["https://vscode.dev/redirect", "https://insiders.vscode.dev/redirect"],
        on_loopback: true,
    },
    KnownClient {
        name: "Microsoft Copilot Studio",
        others: &["Copilot Studio", "Microsoft 365 Copilot"],
        redirects: &["https://global.consent.azure-apim.net/redirect/*"],
        on_loopback: false,
    },
    KnownClient { name: "MCP Inspector", others: &[], redirects: &[], on_loopback: true },
    KnownClient { name: "mcp-remote", others: &["MCP CLI Proxy"], redirects: &[], on_loopback: true },
    KnownClient { name: "Gemini CLI", others: &[], redirects: &[], on_loopback: true },
    KnownClient { name: "Grok", others: &["xAI"], redirects: &["https://grok.com/*", "https://grok.com/*/*"], on_loopback: false },
    KnownClient {
        name: "Perplexity",
        others: &[],
        redirects: &["https://www.perplexity.ai/*", "https://www.perplexity.ai/*/*", "https://www.perplexity.ai/*/*/*"],
        on_loopback: false,
    },
    KnownClient { name: "opencode", others: &[], redirects: &[], on_loopback: true },
    KnownClient { name: "FastMCP", others: &[], redirects: &[], on_loopback: true },
];

impl KnownClient {
    /// Whether its answers go there.
    pub fn answers_at(&self, uri: &str) -> bool {
        let is_here = self.on_loopback && matches!(Place::of(uri), Ok(Place::Loopback(_)));
        is_here || self.redirects.iter().any(|pattern| fits(pattern, uri))
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        [self.name].into_iter().chain(self.others.iter().copied())
    }
}

/// The one that a name makes people think of: the longest that the name holds.
pub fn named(name: &str) -> Option<&'static KnownClient> {
    let longest = |known: &&'static KnownClient| known.names().filter(|one| likeness::holds(name, one)).map(str::len).max();
    ALL.iter().filter(|known| longest(known).is_some()).max_by_key(longest)
}

/// The one whose the web addresses and apps among these are, all of them.
pub fn of(redirects: &[String]) -> Option<&'static KnownClient> {
    let is_shown = |uri: &&String| !matches!(Place::of(uri), Ok(Place::Loopback(_)));
    let shown: Vec<&String> = redirects.iter().filter(is_shown).collect();
    ALL.iter().find(|known| !shown.is_empty() && shown.iter().all(|uri| known.answers_at(uri)))
}

/// Whether a scheme without a domain is used as one of these uses it.
pub(super) fn has_app(uri: &str) -> bool {
    ALL.iter().flat_map(|known| known.redirects).any(|pattern| !pattern.starts_with("https:") && fits(pattern, uri))
}

fn fits(pattern: &str, uri: &str) -> bool {
    let (mut expected, mut found) = (pattern.split('/'), uri.split('/'));
    loop {
        match (expected.next(), found.next()) {
            (None, None) => return true,
            (Some("*"), Some(segment)) if !segment.is_empty() && !segment.contains(['?', '#']) => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(of: Option<&'static KnownClient>) -> Option<&'static str> {
        of.map(|known| known.name)
    }

    #[test]
    fn a_program_is_known_by_where_its_answers_go_and_not_by_loopback() {
        let of = |uris: &[&str]| name(of(&uris.iter().map(|uri| (*uri).to_owned()).collect::<Vec<_>>()));
        let cursor = [
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "https://www.cursor.com/agents/mcp/oauth/callback",
            "http://localhost:8787/callback",
        ];
        assert_eq!(of(&cursor), Some("Cursor"));
        assert_eq!(of(&["https://chatgpt.com/connector/oauth/abc"]), Some("ChatGPT"));
        assert_eq!(of(&["https://vscode.dev/redirect", "http://127.0.0.1:33418/"]), Some("Visual Studio Code"));
        assert_eq!(of(&["https://chatgpt.com/connector/oauth/a/b"]), None);
        assert_eq!(of(&["https://chatgpt.com/connector/oauth/"]), None);
        assert_eq!(of(&["https://claude.ai/api/mcp/auth_callback", "https://evil.example/cb"]), None);
        assert_eq!(of(&["http://localhost:1/callback"]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_name_makes_people_think_of_the_longest_that_it_holds() {
        assert_eq!(name(named("Claude Code (files)")), Some("Claude Code"));
        assert_eq!(name(named("CIaude")), Some("Claude"));
        assert_eq!(name(named("Сlaude Desktop")), Some("Claude"), "a Cyrillic letter");
        assert_eq!(name(named("vs-code")), Some("Visual Studio Code"));
        assert_eq!(name(named("Precursor tools")), None);
        assert_eq!(name(named("Acme agent")), None);
    }
}
