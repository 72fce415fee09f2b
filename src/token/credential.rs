//! What credential does the head carry? Exactly one `Authorization: Bearer` or `DPoP`, or none.
//!
//! A token in the query or the body is not looked for (OAuth 2.1 §5.1.1). Knows nothing of what a token says.

use std::fmt;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::Error;

/// Bytes of the longest token that is looked at.
pub const LONGEST: usize = 16 << 10;

/// SHA-256 of a token: what may be kept and written down in its place.
pub type Digest = [u8; 32];

/// A token as sent. Never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token<'a>(&'a str);

/// What a token is by its parts alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Three parts (RFC 7515 §7.1).
    Jws,
    /// Five parts: encrypted for somebody (RFC 7516 §7.1).
    Jwe,
    Opaque,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential<'a> {
    Absent,
    Presented { scheme: Scheme, token: Token<'a> },
}

/// How a token is presented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 6750 §2.1.
    #[default]
    Bearer,
    /// RFC 9449 §7.1: with a proof beside it.
    Dpop,
}

impl Scheme {
    /// The scheme of the only `Authorization` header, for the form of an answer. What is not DPoP is answered as to a bearer.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        match (values.next().map(|value| value.as_bytes().split(|byte| *byte == b' ').next()), values.next()) {
            (Some(Some(scheme)), None) if scheme.eq_ignore_ascii_case(b"DPoP") => Self::Dpop,
            _ => Self::Bearer,
        }
    }

    fn named(name: &str) -> Option<Self> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("Bearer") { Some(Self::Bearer) } else { is("DPoP").then_some(Self::Dpop) }
    }
}

impl<'a> Token<'a> {
    /// A `b64token` (RFC 6750 §2.1) of bounded length.
    pub fn new(text: &'a str) -> Result<Self, Error> {
        if text.len() > LONGEST {
            return Err(Error::TooLong);
        }
        if is_b64token(text) { Ok(Self(text)) } else { Err(Error::Malformed) }
    }

    pub fn as_str(&self) -> &'a str {
        self.0
    }

    pub fn form(&self) -> Form {
        match self.0.bytes().filter(|byte| *byte == b'.').count() {
            2 => Form::Jws,
            4 => Form::Jwe,
            _ => Form::Opaque,
        }
    }

    pub fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.0.as_bytes());
        digest.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        digest
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The credential of a head (RFC 6750 §2.1, RFC 9449 §7.1, OAuth 2.1 §5.1). The scheme's case is folded, the token's is not.
pub fn credential(headers: &HeaderMap) -> Result<Credential<'_>, Error> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(Credential::Absent) };
    if values.next().is_some() {
        return Err(Error::Malformed);
    }
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| Error::Malformed)?;
    let (scheme, token) = text.split_once(' ').ok_or(Error::Malformed)?;
    let scheme = Scheme::named(scheme).ok_or(Error::Scheme)?;
    Ok(Credential::Presented { scheme, token: Token::new(token)? })
}

/// Asked of every byte of every request's token: without a branch, so that the processor looks at many at once.
fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=').as_bytes();
    let within = |byte: u8, first: u8, last: u8| byte.wrapping_sub(first) <= last - first;
    let stands = |byte: u8| within(byte | 0x20, b'a', b'z') | within(byte, b'-', b'9') | (byte == b'_') | (byte == b'~') | (byte == b'+');
    !body.is_empty() && body.iter().fold(true, |all, byte| all & stands(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn head(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
        }
        headers
    }

    #[test]
    fn the_scheme_is_case_insensitive_and_the_token_is_not() {
        for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
            let headers = head(&[&format!("{scheme} aB.c-_~+/==")]);
            let token = Token("aB.c-_~+/==");
            assert_eq!(credential(&headers), Ok(Credential::Presented { scheme: Scheme::Bearer, token }), "{scheme}");
        }
        for scheme in ["DPoP", "dpop", "DPOP"] {
            let headers = head(&[&format!("{scheme} abc")]);
            assert_eq!(credential(&headers), Ok(Credential::Presented { scheme: Scheme::Dpop, token: Token("abc") }), "{scheme}");
            assert_eq!(Scheme::of(&headers), Scheme::Dpop);
        }
        assert_eq!(Scheme::of(&head(&["DPoP a", "DPoP a"])), Scheme::Bearer);
    }

    #[test]
    fn no_header_is_absent_and_not_wrong() {
        assert_eq!(credential(&HeaderMap::new()), Ok(Credential::Absent));
    }

    #[test]
    fn two_headers_are_refused_even_when_equal() {
        assert_eq!(credential(&head(&["Bearer a", "Bearer a"])), Err(Error::Malformed));
        assert_eq!(credential(&head(&["Bearer a", "Basic b"])), Err(Error::Malformed));
    }

    #[test]
    fn what_is_not_scheme_space_token_is_malformed() {
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer  a",
            "Bearer a b",
            "Bearer a,Bearer b",
            "Bearer a\tb",
            "Bearer =",
            "Bearer a=b",
            "Bearer é",
            "Bearer \"a\"",
            "abc",
        ] {
            assert_eq!(credential(&head(&[value])), Err(Error::Malformed), "{value}");
        }
    }

    #[test]
    fn another_scheme_is_told_apart() {
        for value in ["Basic YTpi", "DPoPs abc", "Token abc", "BearerX abc"] {
            assert_eq!(credential(&head(&[value])), Err(Error::Scheme), "{value}");
        }
    }

    #[test]
    fn a_b64token_is_made_of_these_characters_and_no_others() {
        let lawful = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/";
        for character in (0..=0x17F).filter_map(char::from_u32).filter(|character| *character != '=') {
            assert_eq!(is_b64token(&format!("a{character}b")), lawful.contains(character), "{character:?}");
        }
    }

    #[test]
    fn a_token_is_bounded() {
        let longest = "a".repeat(LONGEST);
        assert!(credential(&head(&[&format!("Bearer {longest}")])).is_ok());
        assert_eq!(credential(&head(&[&format!("Bearer {longest}a")])), Err(Error::TooLong));
    }

    #[test]
    fn a_token_is_never_printed() {
        let token = Token::new("secret").expect("a token");
        assert_eq!(
            format!("{:?} {:?}", token, Credential::Presented { scheme: Scheme::Bearer, token }),
            "*** Presented { scheme: Bearer, token: *** }"
        );
    }

    #[test]
    fn the_digest_is_sha_256() {
        let digest = Token::new("abc").expect("a token").digest();
        assert_eq!(digest[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!(digest[28..], [0xf2, 0x00, 0x15, 0xad]);
    }
}
