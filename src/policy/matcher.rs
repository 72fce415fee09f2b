//! Patterns for names and URIs. Comparison is by code point; nothing is folded.

/// A tool or prompt name: exact, or with `*` for any run of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    pub fn matches(&self, name: &str) -> bool {
        glob(self.0.as_bytes(), name.as_bytes(), None)
    }

    /// Whether everything that `other` matches is matched by `self` (sound, not complete).
    pub fn covers(&self, other: &Self) -> bool {
        glob(self.0.as_bytes(), other.0.as_bytes(), None)
    }

    /// Whether some name is matched by both.
    pub fn meets(&self, other: &Self) -> bool {
        meets(self.0.as_bytes(), other.0.as_bytes())
    }
}

/// A resource URI: `*` within a segment, `**` across segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriPattern(String);

impl UriPattern {
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn matches(&self, uri: &str) -> bool {
        glob(self.0.as_bytes(), uri.as_bytes(), Some(b'/'))
    }

    /// Whether everything that `other` matches is matched by `self` (sound, not complete).
    pub fn covers(&self, other: &Self) -> bool {
        // A `**` of the other pattern is only covered by a `**` here: `*` never takes its slash.
        if other.0.contains("**") {
            return self.0 == other.0 || self.0.strip_suffix("**").is_some_and(|head| !head.contains('*') && other.0.starts_with(head));
        }
        self.matches(&other.0)
    }

    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether some URI is matched by both; also said of some that none is.
    pub fn meets(&self, other: &Self) -> bool {
        meets(self.0.as_bytes(), other.0.as_bytes())
    }
}

/// Whether two patterns have a text in common, with every star for any run of characters; in `one × other` steps.
fn meets(one: &[u8], other: &[u8]) -> bool {
    let is_star = |byte: &u8| *byte == b'*';
    // Whether the rest of `one` meets each rest of `other`, the shortest first. At the end of `one`, only stars do.
    let mut below = vec![true];
    below.extend(other.iter().rev().scan(true, |stars, byte| {
        *stars &= is_star(byte);
        Some(*stars)
    }));
    for byte in one.iter().rev() {
        let mut met = is_star(byte) && below.first() == Some(&true);
        let mut row = vec![met];
        for (first, pair) in other.iter().rev().zip(below.windows(2)) {
            let [behind, here] = pair else { continue };
            met = if is_star(byte) || is_star(first) { *here || met } else { byte == first && *behind };
            row.push(met);
        }
        below = row;
    }
    below.last() == Some(&true)
}

/// Iterative glob with one point of return per kind of star: linear in practice, bounded by
/// `pattern × text` at worst, never exponential.
fn glob(pattern: &[u8], text: &[u8], separator: Option<u8>) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut single: Option<(usize, usize)> = None;
    let mut double: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(p), text.get(t)) {
            (Some(b'*'), _) => {
                let crosses = separator.is_none() || pattern.get(p + 1) == Some(&b'*');
                while pattern.get(p) == Some(&b'*') {
                    p += 1;
                }
                if crosses {
                    double = Some((p, t));
                    single = None;
                } else {
                    single = Some((p, t));
                }
                continue;
            }
            (Some(expected), Some(found)) if expected == found => {
                p += 1;
                t += 1;
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        // Let the nearest star take one more byte, the crossing one when the other may not.
        match (single, double) {
            (Some((after, from)), _) if text.get(from).is_some_and(|byte| Some(*byte) != separator) => {
                single = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
            (_, Some((after, from))) if from < text.len() => {
                double = Some((after, from + 1));
                single = None;
                (p, t) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

/// Whether a URI is in the one spelling that rules are compared with (RFC 3986 §6.2.2): lower-case
/// scheme (and host, where the scheme has DNS hosts), no dot segments, no encoded unreserved
/// characters, slashes or backslashes, upper-case escapes. Any other spelling is refused, because
/// a server may read it as a thing that the rules know under its plain name.
pub fn is_canonical_uri(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once(':') else { return false };
    let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.'));
    if !scheme_ok || uri.bytes().any(|b| b <= b' ' || b == b'\\' || b == 0x7F) || !escapes_are_canonical(uri) {
        return false;
    }
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())),
        None => ("", rest),
    };
    let dns = matches!(scheme, "http" | "https" | "ws" | "wss" | "ftp" | "file");
    if dns && authority.bytes().any(|b| b.is_ascii_uppercase()) {
        return false;
    }
    let path = path.split(['?', '#']).next().unwrap_or_default();
    !path.split('/').any(|segment| segment == "." || segment == "..") && !matches!(authority, "." | "..")
}

fn escapes_are_canonical(uri: &str) -> bool {
    let mut parts = uri.split('%');
    parts.next();
    parts.all(|part| {
        let Some(hex) = part.get(..2) else { return false };
        let canonical = hex.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
        let Ok(byte) = u8::from_str_radix(hex, 16) else { return false };
        let unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        canonical && !unreserved && !matches!(byte, b'/' | b'\\' | 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_a_segment_and_two_cross() {
        let cases = [
            ("repo://*", "repo://acme", true),
            ("repo://*", "repo://acme/x", false),
            ("repo://**", "repo://acme/x/y", true),
            ("repo://*/issues/*", "repo://acme/issues/1", true),
            ("repo://*/issues/*", "repo://acme/x/issues/1", false),
            ("repo://**/issues/*", "repo://acme/x/issues/1", true),
            ("repo://**/issues/*", "repo://acme/x/issues/1/2", false),
            ("file:///a", "file:///a", true),
            ("file:///a", "file:///A", false),
            ("**", "anything://at/all", true),
        ];
        for (pattern, uri, expected) in cases {
            assert_eq!(UriPattern::new(pattern).matches(uri), expected, "{pattern} on {uri}");
        }
    }

    #[test]
    fn names_match_exactly_or_by_star() {
        let cases = [
            ("get_*", "get_issue", true),
            ("get_*", "get_", true),
            ("get_*", "Get_issue", false),
            ("*_secret", "read_secret", true),
            ("*_secret", "read_secrets", false),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("wipe", "wipe ", false),
            ("wipe", "wipe\u{200b}", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(NamePattern::new(pattern).matches(name), expected, "{pattern} on {name:?}");
        }
    }

    #[test]
    fn a_hostile_pattern_and_name_end_quickly() {
        let pattern = NamePattern::new("*a".repeat(50) + "b");
        assert!(!pattern.matches(&"a".repeat(5000)));
    }

    #[test]
    fn other_spellings_of_a_uri_are_not_canonical() {
        for uri in
            ["file:///a/b", "repo://Acme/x", "https://x.example/a?b=%20#c", "mailto:a@b", "ui://w/p.html", "test://template/{id}/data"]
        {
            assert!(is_canonical_uri(uri), "{uri}");
        }
        let odd = [
            "FILE:///a",
            "file:///a/../b",
            "file:///a/%2e%2e/b",
            "file:///a/%2E%2E/b",
            "file:///./b",
            "file:///a%2fb",
            "file:///a%2Fb",
            "file:///a%5Cb",
            "file:///a\\b",
            "file:///%41",
            "https://X.example/",
            "file:///a b",
            "no-scheme",
            "file:///a%",
            "file:///a%2",
            "file:///%c3%a9",
            "repo://../x",
            "file:///a/..",
            "file:///a\n",
        ];
        for uri in odd {
            assert!(!is_canonical_uri(uri), "{uri}");
        }
    }

    #[test]
    fn patterns_meet_where_a_name_fits_both() {
        let cases = [
            ("get_*", "get_issue", true),
            ("get_*", "*_issue", true),
            ("get_*", "set_*", false),
            ("*a", "*b", false),
            ("a*c", "ab*", true),
            ("a*b*c", "a*c", true),
            ("*", "x", true),
            ("x", "x", true),
            ("x", "y", false),
            ("x", "xx", false),
            ("x*x", "x", false),
            ("*_secret", "get_*", true),
            ("", "*", true),
            ("", "a*", false),
        ];
        for (one, other, expected) in cases {
            let (a, b) = (NamePattern::new(one), NamePattern::new(other));
            assert_eq!((a.meets(&b), b.meets(&a)), (expected, expected), "{one} and {other}");
        }
        assert!(UriPattern::new("file:///pub/**").meets(&UriPattern::new("file:///*/a")));
        assert!(!UriPattern::new("file:///pub/**").meets(&UriPattern::new("repo://*")));
    }

    #[test]
    fn covering_is_sound() {
        assert!(NamePattern::new("*").covers(&NamePattern::new("get_*")));
        assert!(NamePattern::new("get_*").covers(&NamePattern::new("get_x")));
        assert!(!NamePattern::new("get_x").covers(&NamePattern::new("get_*")));
        assert!(UriPattern::new("**").covers(&UriPattern::new("repo://**")));
        assert!(!UriPattern::new("repo://*").covers(&UriPattern::new("repo://**")));
    }
}
