//! Cookies of our own: for this host alone, never for scripts (RFC 6265bis §4.1.3.2).
//!
//! With `public_url` on plain http, which is loopback in development, no browser would keep a `__Host-` cookie, and
//! the prefix is left out.

use http::header::{COOKIE, HeaderValue};
use http::{HeaderMap, Request};

use super::Call;

/// The cookies of one request.
#[derive(Clone, Copy)]
pub(in crate::server) struct Cookies<'a> {
    headers: &'a HeaderMap,
    secure: bool,
}

impl<'a> Cookies<'a> {
    pub fn of<B>(call: &Call<'_>, request: &'a Request<B>) -> Self {
        Self::at(&call.settings.issuer, request.headers())
    }

    /// Those of requests to this URL.
    pub fn at(url: &str, headers: &'a HeaderMap) -> Self {
        Self { headers, secure: url.starts_with("https://") }
    }

    fn name(&self, base: &str) -> String {
        format!("{}doorward-{base}", if self.secure { "__Host-" } else { "" })
    }

    /// The value of the only cookie of this name that has the form of a secret.
    pub fn read(&self, base: &str) -> Option<&'a str> {
        let name = self.name(base);
        let mut all = self.all().filter(|(other, _)| *other == name).map(|(_, value)| value);
        match (all.next(), all.next()) {
            (Some(only), None) if is_secret(only) => Some(only),
            _ => None,
        }
    }

    /// What follows `base` in the names of all cookies that begin with it.
    pub fn under(&self, base: &str) -> Vec<&'a str> {
        let name = self.name(base);
        self.all().filter_map(|(other, _)| other.strip_prefix(&name)).collect()
    }

    fn all(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let lines = self.headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='))
    }

    /// A cookie that lasts so many seconds; without, until the browser is closed.
    pub fn write(&self, base: &str, value: &str, seconds: Option<u64>) -> Option<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        let age = seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
        let mut line = HeaderValue::from_str(&format!("{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}", self.name(base))).ok()?;
        line.set_sensitive(true);
        Some(line)
    }

    pub fn clear(&self, base: &str) -> Option<HeaderValue> {
        self.write(base, "", Some(0))
    }
}

/// The form of what [`super::secret`] makes.
pub(in crate::server) fn is_secret(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";

    fn cookies<'a>(request: &'a Request<()>, secure: bool) -> Cookies<'a> {
        Cookies { headers: request.headers(), secure }
    }

    #[test]
    fn item_112_a_cookie_is_for_this_host_over_tls_and_not_for_scripts() {
        let request = Request::new(());
        let line = cookies(&request, true).write("session", SECRET, Some(60)).expect("a cookie");
        let expected = format!("__Host-doorward-session={SECRET}; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=60");
        assert_eq!(line.to_str().expect("text"), expected);
        let line = cookies(&request, false).write("session", SECRET, None).expect("a cookie");
        assert_eq!(line.to_str().expect("text"), format!("doorward-session={SECRET}; Path=/; HttpOnly; SameSite=Lax"));
    }

    #[test]
    fn only_the_one_cookie_of_the_right_name_and_form_is_read() {
        let read = |line: &str, secure| {
            let request = Request::builder().header(COOKIE, line).body(()).expect("a request");
            cookies(&request, secure).read("session").map(str::to_owned)
        };
        assert_eq!(read(&format!("a=b; __Host-doorward-session={SECRET}"), true).as_deref(), Some(SECRET));
        // Over TLS a cookie without the prefix could be another host's.
        assert_eq!(read(&format!("doorward-session={SECRET}"), true), None);
        assert_eq!(read(&format!("__Host-doorward-session={SECRET}; __Host-doorward-session={SECRET}"), true), None);
        assert_eq!(read("__Host-doorward-session=short", true), None);
        assert_eq!(read(&format!("__Host-doorward-session={}", SECRET.replace('0', "\"")), true), None);
    }
}
