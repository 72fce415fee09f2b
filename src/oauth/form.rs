//! The parameters of a form (RFC 6749 §3.2): each at most once, and one without a value is none.

use super::{Code, OAuthError};

/// Parameters at most.
const MOST: usize = 64;
/// The only one that may come several times (RFC 8707 §2).
const MANY: &str = "resource";

/// What was posted. Never printed: it holds secrets.
pub struct Form(Vec<(String, String)>);

impl Form {
    /// # Errors
    /// A parameter that comes twice (RFC 6749 §3.2), or too many.
    pub fn parse(body: &[u8]) -> Result<Self, OAuthError> {
        let invalid = |description| OAuthError::new(Code::InvalidRequest, description);
        let mut all: Vec<(String, String)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(body) {
            if all.len() >= MOST {
                return Err(invalid("too many parameters"));
            }
            if name != MANY && all.iter().any(|(other, _)| *other == name) {
                return Err(invalid("a parameter is there more than once"));
            }
            all.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(all.into_iter().filter(|(_, value)| !value.is_empty()).collect()))
    }

    /// The value of a parameter.
    pub fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Every value of `resource`.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(name, _)| name == MANY).map(|(_, value)| value.as_str())
    }
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_tuple("Form").field(&names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_comes_twice_is_refused_and_one_without_a_value_is_none() {
        let form = Form::parse(b"grant_type=a%20b&scope=&resource=x&resource=y").expect("a form");
        assert_eq!((form.one("grant_type"), form.one("scope")), (Some("a b"), None));
        assert_eq!(form.resources().collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(Form::parse(b"code=a&code=b").expect_err("twice").code, Code::InvalidRequest);
        assert_eq!(Form::parse(b"code=a&code=").expect_err("twice").code, Code::InvalidRequest);
        assert!(Form::parse("a1=1&".repeat(2).as_bytes()).is_err());
        let many: String = (0..MOST + 1).map(|n| format!("p{n}=1&")).collect();
        assert!(Form::parse(many.as_bytes()).is_err());
        assert!(!format!("{form:?}").contains("a b"));
    }
}
