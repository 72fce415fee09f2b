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

/// Everything that a certificate in DER says its subject is: `cn:…`, `dns:…`, `email:…` and `uri:…`, as written.
pub fn subjects(der: &[u8]) -> Vec<String> {
    let Ok(([], certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
    let common = certificate.subject().iter_common_name().filter_map(|name| Some(format!("cn:{}", name.as_str().ok()?)));
    let mut all: Vec<String> = common.collect();
    if let Ok(Some(extension)) = certificate.subject_alternative_name() {
        all.extend(extension.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(format!("dns:{}", plain(name))),
            GeneralName::RFC822Name(name) => Some(format!("email:{name}")),
            GeneralName::URI(name) => Some(format!("uri:{name}")),
            _ => None,
        }));
    }
    all
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
    fn each_name_of_a_subject_says_of_which_kind_it_is() {
        let mut parameters = rcgen::CertificateParams::new(vec!["Ops.example.com".to_owned()]).unwrap();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "dns:boss.example.com");
        parameters.subject_alt_names.push(rcgen::SanType::URI("spiffe://a/b".try_into().unwrap()));
        parameters.subject_alt_names.push(rcgen::SanType::Rfc822Name("mia@example.com".try_into().unwrap()));
        let certificate = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let found = subjects(certificate.der());
        assert_eq!(found, ["cn:dns:boss.example.com", "dns:ops.example.com", "uri:spiffe://a/b", "email:mia@example.com"]);
        assert_eq!(subjects(b"no certificate"), [""; 0]);
    }

    #[test]
    fn what_is_no_certificate_has_no_names() {
        assert_eq!(Leaf::read(b""), None);
        assert_eq!(Leaf::read(b"\x30\x03\x02\x01\x01"), None);
    }
}
