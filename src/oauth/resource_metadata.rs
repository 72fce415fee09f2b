//! The protected resource metadata document (RFC 9728 §2).

use serde_json::{Map, Value};

/// Where the metadata of a resource stands: the well-known name goes between host and path (RFC 9728 §3.1).
pub fn url(resource: &str) -> String {
    let (origin, path) = split(resource);
    format!("{origin}/.well-known/oauth-protected-resource{}", if path == "/" { "" } else { path })
}

/// What a resource says of sender-constrained tokens (RFC 9728 §2).
#[derive(Clone, Copy, Debug, Default)]
pub struct SenderConstraint<'a> {
    /// `dpop_signing_alg_values_supported`.
    pub algorithms: &'a [&'a str],
    /// `dpop_bound_access_tokens_required`.
    pub dpop_required: bool,
    /// `tls_client_certificate_bound_access_tokens`.
    pub certificate_bound: bool,
}

/// The document. Members without a value are left out, never null or empty (RFC 9728 §3.2);
/// `offline_access` is the authorization server's to offer.
pub fn document(resource: &str, issuers: &[&str], scopes: &[&str], name: &str, sender: &SenderConstraint<'_>) -> String {
    let list = |items: Vec<&str>| Value::from(items.into_iter().map(Value::from).collect::<Vec<_>>());
    let scopes: Vec<&str> = scopes.iter().copied().filter(|scope| *scope != "offline_access" && *scope != "*").collect();
    let mut document = Map::new();
    document.insert("resource".into(), resource.into());
    if !issuers.is_empty() {
        document.insert("authorization_servers".into(), list(issuers.to_vec()));
    }
    if !scopes.is_empty() {
        document.insert("scopes_supported".into(), list(scopes));
    }
    document.insert("bearer_methods_supported".into(), list(vec!["header"]));
    if !sender.algorithms.is_empty() {
        document.insert("dpop_signing_alg_values_supported".into(), list(sender.algorithms.to_vec()));
    }
    if sender.dpop_required {
        document.insert("dpop_bound_access_tokens_required".into(), true.into());
    }
    if sender.certificate_bound {
        document.insert("tls_client_certificate_bound_access_tokens".into(), true.into());
    }
    document.insert("resource_name".into(), name.into());
    Value::Object(document).to_string()
}

/// `typ` of signed metadata.
pub const SIGNED_TYPE: &str = "resource-metadata+jwt";

/// The document with its members once more in a JWT (RFC 9728 §2.2), and where the key is (§2, `jwks_uri`). `sign` takes the
/// claims: those members, who says so and when, in seconds since 1970. None where it cannot sign.
pub fn signed(
    document: &[u8],
    (issuer, jwks_uri): (&str, &str),
    issued: u64,
    sign: impl FnOnce(&Value) -> Option<String>,
) -> Option<String> {
    let mut members: Map<String, Value> = serde_json::from_slice(document).ok()?;
    members.insert("jwks_uri".into(), jwks_uri.into());
    let mut claims = members.clone();
    claims.insert("iss".into(), issuer.into());
    claims.insert("iat".into(), issued.into());
    members.insert("signed_metadata".into(), sign(&Value::Object(claims))?.into());
    Some(Value::Object(members).to_string())
}

fn split(resource: &str) -> (&str, &str) {
    let after_scheme = resource.find("://").map_or(0, |at| at + 3);
    let rest = resource.get(after_scheme..).unwrap_or_default();
    let path = rest.find('/').map_or(resource.len(), |at| after_scheme + at);
    resource.split_at(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_well_known_name_goes_between_host_and_path() {
        assert_eq!(url("https://gw.example"), "https://gw.example/.well-known/oauth-protected-resource");
        assert_eq!(url("https://gw.example/t1/mcp"), "https://gw.example/.well-known/oauth-protected-resource/t1/mcp");
    }

    #[test]
    fn item_5_and_7_nothing_empty_and_no_offline_access() {
        let text =
            document("https://gw.example/mcp", &["https://idp.example"], &["offline_access", "*"], "files", &SenderConstraint::default());
        assert_eq!(
            text,
            r#"{"resource":"https://gw.example/mcp","authorization_servers":["https://idp.example"],"bearer_methods_supported":["header"],"resource_name":"files"}"#
        );
    }
}
