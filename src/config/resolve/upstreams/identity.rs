//! Headers that tell the server who is calling, and which names they may not have.

use http::HeaderName;

use super::Context;
use crate::config::document::near_miss;
use crate::config::raw::{Keyed, RawIdentity};
use crate::config::report::At;
use crate::identity::{IdentityRules, Source};

const SOURCES: &[&str] = &["subject", "client", "issuer", "groups", "scopes", "kind"];

/// Headers with a meaning in HTTP or MCP, which neither an identity nor a credential may take over.
const RESERVED: &[&str] = &[
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "accept",
    "accept-encoding",
    "origin",
    "last-event-id",
    "traceparent",
    "tracestate",
    "baggage",
    "via",
];

/// The headers to set. `credential` is the header of the upstream's own, which none of them may be.
pub fn rules(raw: Option<RawIdentity>, credential: Option<&str>, at: &At<'_>, context: &mut Context<'_>) -> IdentityRules {
    let Some(RawIdentity { headers, assertion }) = raw else { return IdentityRules::new(Vec::new(), credential) };
    let at = at.key("headers");
    let mut all: Vec<(String, HeaderName, Source)> = Vec::new();
    for (name, written) in headers.map(|Keyed(pairs)| pairs).into_iter().flatten() {
        let at = at.key(&name);
        let header = header_name(&name, &at, context).filter(|_| is_free(&name, false, &at, context));
        let source = source(&written, &at, context);
        let Some(header) = header else { continue };
        if credential.is_some_and(|credential| is_same(credential, &name)) {
            context.report.error(&at, format!("`{name}` carries the upstream's credential"));
        } else if let Some((other, ..)) = all.iter().find(|(other, ..)| is_same(other, &name)) {
            let hint = "many servers read both names as one; keep one";
            context.report.mend(&at, format!("`{name}` and `{other}` differ only in case or in `-` and `_`"), hint);
        } else if let Some(source) = source {
            all.push((name, header, source));
        }
    }
    let all = all.into_iter().map(|(_, header, source)| (header, source)).collect();
    IdentityRules::new(all, credential).with_assertion(assertion.unwrap_or(false))
}

/// A header's name, where it can be one at all (RFC 9110 §5.1).
pub fn header_name(name: &str, at: &At<'_>, context: &mut Context<'_>) -> Option<HeaderName> {
    let header = HeaderName::from_bytes(name.as_bytes()).ok();
    if header.is_none() {
        context.report.mend(at, format!("`{name}` is not a header name"), "use letters, digits and `-`");
    }
    header
}

/// Whether a header has no meaning of its own. A credential may stand in `Authorization`, `Cookie`
/// and others that are stripped from clients; an identity may not.
pub fn is_free(name: &str, credential: bool, at: &At<'_>, context: &mut Context<'_>) -> bool {
    let lower = name.to_ascii_lowercase();
    let own = RESERVED.contains(&lower.as_str()) || lower.starts_with("mcp-") || lower.starts_with("doorward-");
    let stripped = !credential && IdentityRules::default().guards(name);
    if own || stripped {
        context.report.mend(
            at,
            format!("`{name}` has a meaning of its own and cannot be set"),
            "use another name, such as `X-Forwarded-User`",
        );
    }
    !(own || stripped)
}

fn is_same(a: &str, b: &str) -> bool {
    IdentityRules::new(Vec::new(), Some(a)).guards(b)
}

fn source(written: &str, at: &At<'_>, context: &mut Context<'_>) -> Option<Source> {
    let source = match written {
        "subject" => Source::Subject,
        "client" => Source::Client,
        "issuer" => Source::Issuer,
        "groups" => Source::Groups,
        "scopes" => Source::Scopes,
        "kind" => Source::Kind,
        other => match other.strip_prefix("claims.").filter(|path| !path.is_empty()) {
            Some(path) => Source::Claim(path.to_owned()),
            None => {
                let hint = near_miss(other, SOURCES)
                    .unwrap_or_else(|| "a value comes from `subject`, `client`, `issuer`, `groups`, `scopes`, `kind` or `claims.…`".into());
                // SECURITY: what looks like a secret is not repeated.
                let shown = other.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')) && other.len() <= 40;
                let message = if shown { format!("unknown source `{other}`") } else { "unknown source".to_owned() };
                context.report.mend(at, message, hint);
                return None;
            }
        },
    };
    Some(source)
}
