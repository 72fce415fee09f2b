//! Which names a certificate is for, and when it ends.
//!
//! Knows nothing of keys, chains and trust: those are the TLS library's. No clock.

use std::net::IpAddr;

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// What is read of an end-entity certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaf {
    /// DNS names of the subject alternative name, in lower case (RFC 9525 §6.3: the common name does not count).
    names: Vec<String>,
    addresses: Vec<IpAddr>,
    /// Seconds since 1970.
    pub not_after: i64,
}

/// How well a certificate fits a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    Wildcard,
    Exact,
}

impl Leaf {
    /// Reads a certificate in DER; none where it is not one.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let mut leaf = Self { not_after: certificate.validity().not_after.timestamp(), ..Self::default() };
        let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Some(leaf) };
        for name in &extension.value.general_names {
            match name {
                GeneralName::DNSName(name) => leaf.names.push(plain(name)),
                GeneralName::IPAddress(bytes) => leaf.addresses.extend(address(bytes)),
                _ => {}
            }
        }
        Some(leaf)
    }

    /// How it is for this DNS name, if it is. A wildcard stands for one whole label, the leftmost
    /// (RFC 9525 §6.3).
    pub fn fit(&self, name: &str) -> Option<Fit> {
        let name = plain(name);
        if self.names.contains(&name) {
            return Some(Fit::Exact);
        }
        let (first, parent) = name.split_once('.')?;
        let covered = |pattern: &String| pattern.strip_prefix("*.").is_some_and(|rest| rest == parent && rest.contains('.'));
        (!first.is_empty() && self.names.iter().any(covered)).then_some(Fit::Wildcard)
    }

    /// Whether it is for this host of an authority: a DNS name, or an address (in brackets, if IPv6).
    pub fn covers(&self, host: &str) -> bool {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match bare.parse::<IpAddr>() {
            Ok(address) => self.addresses.contains(&address),
            Err(_) => self.fit(host).is_some(),
        }
    }
}

/// Lower case, without the root's dot.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(names: &[&str]) -> Leaf {
        let der = rcgen::generate_simple_self_signed(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        Leaf::read(der.cert.der()).unwrap()
    }

    #[test]
    fn a_name_fits_exactly_or_by_one_whole_label() {
        let leaf = leaf(&["a.example.com", "*.b.example.com", "*.com", "127.0.0.1", "::1"]);
        let cases = [
            ("a.example.com", Some(Fit::Exact)),
            ("A.Example.COM.", Some(Fit::Exact)),
            ("x.b.example.com", Some(Fit::Wildcard)),
            ("b.example.com", None),
            ("x.y.b.example.com", None),
            (".b.example.com", None),
            ("xb.example.com", None),
            // A wildcard over a whole top-level domain is nobody's.
            ("example.com", None),
            ("com", None),
            ("", None),
        ];
        for (name, expected) in cases {
            assert_eq!(leaf.fit(name), expected, "{name}");
        }
        assert!(leaf.covers("127.0.0.1") && leaf.covers("[::1]") && leaf.covers("x.b.example.com"));
        assert!(!leaf.covers("127.0.0.2") && !leaf.covers("c.example.com"));
    }

    #[test]
    fn what_is_no_certificate_has_no_names() {
        assert_eq!(Leaf::read(b""), None);
        assert_eq!(Leaf::read(b"\x30\x03\x02\x01\x01"), None);
    }
}
