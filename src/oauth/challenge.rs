//! The `WWW-Authenticate` challenge (RFC 6750 §3, RFC 9728 §5.1).

/// One challenge on one line. `error` is the code and its description; characters that RFC 6750 §3
/// does not allow in a description are dropped, and scopes that are no scope tokens are left out.
pub fn bearer(error: Option<(&str, &str)>, scopes: &[&str], resource_metadata: Option<&str>) -> String {
    format!("Bearer {}", parameters(error, scopes, resource_metadata).join(", "))
}

/// The same for proofs of possession, with the algorithms that they may use (RFC 9449 §7.1).
pub fn dpop(algorithms: &str, error: Option<(&str, &str)>, scopes: &[&str], resource_metadata: Option<&str>) -> String {
    let mut all = parameters(error, scopes, resource_metadata);
    all.push(format!(r#"algs="{algorithms}""#));
    format!("DPoP {}", all.join(", "))
}

fn parameters(error: Option<(&str, &str)>, scopes: &[&str], resource_metadata: Option<&str>) -> Vec<String> {
    let mut parameters = Vec::with_capacity(5);
    if let Some((code, description)) = error {
        let description: String = description.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect();
        parameters.push(format!(r#"error="{code}""#));
        parameters.push(format!(r#"error_description="{description}""#));
    }
    let scopes: Vec<&str> = scopes.iter().copied().filter(|scope| super::is_scope_token(scope)).collect();
    if !scopes.is_empty() {
        parameters.push(format!(r#"scope="{}""#, scopes.join(" ")));
    }
    if let Some(url) = resource_metadata {
        parameters.push(format!(r#"resource_metadata="{url}""#));
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn item_1_without_a_credential_there_is_no_error() {
        let text = bearer(None, &["a", "b"], Some("https://gw.example/x"));
        assert_eq!(text, r#"Bearer scope="a b", resource_metadata="https://gw.example/x""#);
    }

    #[test]
    fn item_28_only_allowed_characters_are_left() {
        let text = bearer(Some(("invalid_token", "a\"b\\c\r\né")), &["ok", "not ok", "q\""], None);
        assert_eq!(text, r#"Bearer error="invalid_token", error_description="abc", scope="ok""#);
    }
}
