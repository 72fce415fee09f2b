//! The `WWW-Authenticate` challenge (RFC 6750 §3, RFC 9728 §5.1).

/// One challenge on one line. `error` is the code and its description; characters that RFC 6750 §3
/// does not allow in a description are dropped, and scopes that are no scope tokens are left out.
pub fn bearer(error: Option<(&str, &str)>, scopes: &[&str], resource_metadata: Option<&str>) -> String {
    challenge("Bearer", error, scopes, resource_metadata)
}

/// The same for proofs of possession, with the algorithms that they may use (RFC 9449 §7.1).
pub fn dpop(algorithms: &str, error: Option<(&str, &str)>, scopes: &[&str], resource_metadata: Option<&str>) -> String {
    let mut text = challenge("DPoP", error, scopes, resource_metadata);
    parameter(&mut text, "algs", algorithms);
    text
}

fn challenge(scheme: &str, error: Option<(&str, &str)>, scopes: &[&str], resource_metadata: Option<&str>) -> String {
    // Room for the usual one: strangers ask for it as often as they like.
    let mut text = String::with_capacity(256);
    text.push_str(scheme);
    if let Some((code, description)) = error {
        let description: String = description.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect();
        parameter(&mut text, "error", code);
        parameter(&mut text, "error_description", &description);
    }
    let scopes: Vec<&str> = scopes.iter().copied().filter(|scope| super::is_scope_token(scope)).collect();
    if !scopes.is_empty() {
        parameter(&mut text, "scope", &scopes.join(" "));
    }
    if let Some(url) = resource_metadata {
        parameter(&mut text, "resource_metadata", url);
    }
    text
}

/// Adds one parameter; every one before it ended in a quote.
fn parameter(text: &mut String, name: &str, value: &str) {
    let between = if text.ends_with('"') { ", " } else { " " };
    for part in [between, name, "=\"", value, "\""] {
        text.push_str(part);
    }
}

/// What RFC 9470 §3 adds to a challenge: log in again, thus. The challenge asks for scopes in the same
/// breath, so that one visit to the authorization server cures all. `max_age` is in seconds.
pub fn step_up(text: &mut String, acr: &[&str], max_age: Option<u64>) {
    let acr: Vec<&str> = acr.iter().copied().filter(|class| super::is_scope_token(class)).collect();
    if !acr.is_empty() {
        parameter(text, "acr_values", &acr.join(" "));
    }
    if let Some(seconds) = max_age {
        parameter(text, "max_age", &seconds.to_string());
    }
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
    fn item_35_the_login_that_is_needed_is_named() {
        let asked = || bearer(Some(("insufficient_user_authentication", "again")), &["a"], Some("https://gw.example/x"));
        let mut text = asked();
        step_up(&mut text, &["urn:x:mfa", "a b", "q\""], Some(300));
        let head = r#"Bearer error="insufficient_user_authentication", error_description="again", scope="a", "#;
        assert_eq!(text, format!(r#"{head}resource_metadata="https://gw.example/x", acr_values="urn:x:mfa", max_age="300""#));
        let mut text = asked();
        step_up(&mut text, &[], None);
        assert_eq!(text, asked());
    }

    #[test]
    fn item_28_only_allowed_characters_are_left() {
        let text = bearer(Some(("invalid_token", "a\"b\\c\r\né")), &["ok", "not ok", "q\""], None);
        assert_eq!(text, r#"Bearer error="invalid_token", error_description="abc", scope="ok""#);
    }
}
