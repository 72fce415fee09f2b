//! What does a token request ask for (RFC 6749 §3.2)? Read once; who asks is another question.

use super::form::Form;
use super::{Code, GrantType, OAuthError, is_scope_token, pkce};

/// The longest code, token or verifier that is looked at; they are ours, and shorter.
const LONGEST: usize = 512;
/// The longest assertion.
const LONGEST_ASSERTION: usize = 16 << 10;
/// Scopes at most.
const MOST_SCOPES: usize = 100;

/// A token request.
#[derive(Debug)]
pub struct TokenRequest<'a> {
    pub asked: Asked<'a>,
    /// What is asked for; none is what was granted, or the default.
    pub scopes: Option<Vec<String>>,
    /// As it was sent (RFC 8707).
    pub resource: Option<&'a str>,
}

/// By what a token is asked for.
pub enum Asked<'a> {
    Code {
        code: &'a str,
        redirect_uri: Option<&'a str>,
        verifier: &'a str,
    },
    Refresh(&'a str),
    Credentials,
    /// A JWT that somebody else issued (RFC 7523 §2.1).
    Assertion(&'a str),
}

impl Asked<'_> {
    pub fn grant_type(&self) -> GrantType {
        match self {
            Self::Code { .. } => GrantType::AuthorizationCode,
            Self::Refresh(_) => GrantType::RefreshToken,
            Self::Credentials => GrantType::ClientCredentials,
            Self::Assertion(_) => GrantType::JwtBearer,
        }
    }
}

impl std::fmt::Debug for Asked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.grant_type().name())
    }
}

impl<'a> TokenRequest<'a> {
    /// # Errors
    /// What is missing, unknown or malformed.
    pub fn read(form: &'a Form) -> Result<Self, OAuthError> {
        let invalid = |description| OAuthError::new(Code::InvalidRequest, description);
        let name = form.one("grant_type").ok_or(invalid("`grant_type` is missing"))?;
        let grant = GrantType::named(name).ok_or(OAuthError::new(Code::UnsupportedGrantType, "this `grant_type` is not served here"))?;
        let text = |name: &str, missing| {
            let value = form.one(name).ok_or(invalid(missing))?;
            if value.len() > LONGEST { Err(OAuthError::new(Code::InvalidGrant, "it was not issued here")) } else { Ok(value) }
        };
        let asked = match grant {
            GrantType::AuthorizationCode => Asked::Code {
                code: text("code", "`code` is missing")?,
                redirect_uri: form.one("redirect_uri"),
                // OAuth 2.1 §4.1.3: each code here has a challenge, so each redemption has a verifier.
                verifier: form.one("code_verifier").ok_or(invalid("`code_verifier` is missing"))?,
            },
            GrantType::RefreshToken => Asked::Refresh(text("refresh_token", "`refresh_token` is missing")?),
            GrantType::ClientCredentials => Asked::Credentials,
            GrantType::JwtBearer => {
                let assertion = form.one("assertion").ok_or(invalid("`assertion` is missing"))?;
                if assertion.len() > LONGEST_ASSERTION {
                    return Err(invalid("`assertion` is too long"));
                }
                Asked::Assertion(assertion)
            }
        };
        if let Asked::Code { verifier, .. } = &asked
            && !pkce::is_verifier(verifier)
        {
            return Err(invalid("`code_verifier` has between 43 and 128 unreserved characters"));
        }
        // RFC 7636 §4.5 knows it for codes alone: elsewhere somebody is confused.
        if grant != GrantType::AuthorizationCode && form.one("code_verifier").is_some() {
            return Err(invalid("`code_verifier` belongs to a code"));
        }
        // RFC 9396 §6: no type is known here, and what is not known is never granted in silence.
        if form.one("authorization_details").is_some() {
            let description = "no type of `authorization_details` is known here; ask for scopes";
            return Err(OAuthError::new(Code::InvalidAuthorizationDetails, description));
        }
        let mut resources = form.resources();
        let resource = resources.next();
        if resources.any(|other| Some(other) != resource) {
            return Err(OAuthError::new(Code::InvalidTarget, "a token is for one resource: ask for one at a time"));
        }
        Ok(Self { asked, scopes: form.one("scope").map(scopes).transpose()?, resource })
    }
}

/// A list of scopes (RFC 6749 §3.3), each once.
///
/// # Errors
/// What is no scope token, or too many.
pub fn scopes(text: &str) -> Result<Vec<String>, OAuthError> {
    let mut all: Vec<String> = Vec::new();
    for scope in text.split(' ').filter(|scope| !scope.is_empty()) {
        if !is_scope_token(scope) || all.len() >= MOST_SCOPES {
            return Err(OAuthError::new(Code::InvalidScope, "`scope` is malformed"));
        }
        if !all.iter().any(|other| other == scope) {
            all.push(scope.to_owned());
        }
    }
    Ok(all)
}

/// What of a grant a token gets (RFC 6749 §6): what is asked for if all of it was granted.
///
/// # Errors
/// More than was granted.
pub fn narrow(granted: &[String], asked: Option<Vec<String>>) -> Result<Vec<String>, OAuthError> {
    match asked {
        None => Ok(granted.to_vec()),
        // It asks for a refresh token, and allows nothing.
        Some(asked) if asked.iter().all(|scope| scope == "offline_access" || granted.contains(scope)) => {
            Ok(asked.into_iter().filter(|scope| granted.contains(scope)).collect())
        }
        Some(_) => Err(OAuthError::new(Code::InvalidScope, "more is asked for than was granted")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    fn code_of(body: &str) -> Code {
        let form = Form::parse(body.as_bytes()).expect("a form");
        TokenRequest::read(&form).expect_err("refused").code
    }

    #[test]
    fn item_116_a_code_needs_a_verifier_and_nothing_else_has_one() {
        assert_eq!(code_of("grant_type=authorization_code&code=c"), Code::InvalidRequest);
        assert_eq!(code_of("grant_type=authorization_code&code=c&code_verifier=short"), Code::InvalidRequest);
        assert_eq!(code_of(&format!("grant_type=refresh_token&refresh_token=r&code_verifier={VERIFIER}")), Code::InvalidRequest);
        let body = format!("grant_type=authorization_code&code=c&code_verifier={VERIFIER}");
        let form = Form::parse(body.as_bytes()).expect("a form");
        assert!(matches!(TokenRequest::read(&form).expect("read").asked, Asked::Code { code: "c", redirect_uri: None, .. }));
    }

    #[test]
    fn what_is_missing_or_unknown_is_said() {
        assert_eq!(code_of("code=c"), Code::InvalidRequest);
        assert_eq!(code_of("grant_type=password&username=a&password=b"), Code::UnsupportedGrantType);
        assert_eq!(code_of("grant_type=authorization_code"), Code::InvalidRequest);
        assert_eq!(code_of("grant_type=refresh_token"), Code::InvalidRequest);
        assert_eq!(code_of(&format!("grant_type=refresh_token&refresh_token={}", "a".repeat(513))), Code::InvalidGrant);
        assert_eq!(code_of("grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer"), Code::InvalidRequest);
        assert_eq!(code_of("grant_type=client_credentials&scope=a%22"), Code::InvalidScope);
    }

    #[test]
    fn item_108_a_token_is_for_one_resource() {
        assert_eq!(code_of("grant_type=client_credentials&resource=https://a.example&resource=https://b.example"), Code::InvalidTarget);
        let form = Form::parse(b"grant_type=client_credentials&resource=https://a.example&resource=https://a.example").expect("a form");
        assert_eq!(TokenRequest::read(&form).expect("read").resource, Some("https://a.example"));
    }

    #[test]
    fn item_145_authorization_details_are_refused_at_every_grant() {
        for grant in ["client_credentials", "refresh_token&refresh_token=r"] {
            assert_eq!(code_of(&format!("grant_type={grant}&authorization_details=%5B%5D")), Code::InvalidAuthorizationDetails);
        }
    }

    #[test]
    fn item_119_scopes_are_narrowed_and_never_widened() {
        let granted = ["a".to_owned(), "b".to_owned()];
        assert_eq!(narrow(&granted, None).expect("all"), granted);
        assert_eq!(narrow(&granted, scopes("b offline_access").ok()).expect("fewer"), ["b"]);
        assert_eq!(narrow(&granted, scopes("a c").ok()).expect_err("more").code, Code::InvalidScope);
    }

    #[test]
    fn a_request_is_never_printed() {
        let form = Form::parse(b"grant_type=refresh_token&refresh_token=s3cret").expect("a form");
        assert!(!format!("{:?}", TokenRequest::read(&form)).contains("s3cret"));
    }
}
