//! Who is behind a trusted proxy: `X-Forwarded-For`, `Forwarded` (RFC 7239) and `Client-Cert`
//! (RFC 9440), each with one reading or none.
//!
//! Knows nothing of connections. Asked only for peers that may speak for others; from anybody else
//! these headers are ignored, and from everybody they are removed before a request is sent on.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};

use crate::config::Trusted;

/// Characters of a certificate in a header.
const LONGEST_CERTIFICATE: usize = 12 << 10;
/// Hops of one header.
const MOST_HOPS: usize = 32;

/// What a trusted proxy says that cannot be believed.
pub const MALFORMED: &str = "a proxy's header about the client is malformed";
/// Two headers that tell of different clients: one of them is the client's own.
pub const DISAGREE: &str = "Forwarded and X-Forwarded-For tell of different clients";

/// The address of the client: the rightmost one that no trusted proxy has, or the leftmost where all
/// are trusted. None where the proxy says nothing.
///
/// SECURITY: what stands left of that address was written by a stranger and is never read.
pub fn source(headers: &HeaderMap, trusted: &Trusted) -> Result<Option<IpAddr>, &'static str> {
    let plain = farthest(headers, "x-forwarded-for", trusted, address)?;
    let standard = farthest(headers, "forwarded", trusted, forwarded)?;
    match (plain, standard) {
        // A proxy writes one of the two and may pass the other as the client sent it: neither can be
        // preferred without knowing the proxy.
        (Some(plain), Some(standard)) if plain != standard => Err(DISAGREE),
        (plain, standard) => Ok(plain.or(standard)),
    }
}

/// The SHA-256 of the client's certificate, as the proxy that ended its TLS tells of it (RFC 9440 §2.2).
pub fn certificate(headers: &HeaderMap) -> Result<Option<[u8; 32]>, &'static str> {
    let mut values = headers.get_all("client-cert").iter();
    let Some(only) = values.next() else { return Ok(None) };
    if values.next().is_some() || only.len() > LONGEST_CERTIFICATE {
        return Err(MALFORMED);
    }
    let text = only.to_str().map_err(|_| MALFORMED)?.trim();
    let inner = text.strip_prefix(':').and_then(|text| text.strip_suffix(':')).ok_or(MALFORMED)?;
    let der = STANDARD.decode(inner).map_err(|_| MALFORMED)?;
    crate::certificate::Leaf::read(&der).ok_or(MALFORMED)?;
    Ok(Some(fingerprint(&der)))
}

/// The SHA-256 of a certificate in DER (RFC 8705 §3.1).
pub fn fingerprint(der: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, der).as_ref());
    out
}

/// Goes through the hops of a list header from the right.
fn farthest(
    headers: &HeaderMap,
    name: &'static str,
    trusted: &Trusted,
    read: impl Fn(&str) -> Option<IpAddr>,
) -> Result<Option<IpAddr>, &'static str> {
    let mut last = None;
    let mut hops = 0;
    for value in headers.get_all(HeaderName::from_static(name)).iter().rev() {
        for hop in value.to_str().map_err(|_| MALFORMED)?.rsplit(',') {
            hops += 1;
            // A hop that cannot be read hides whether the next one may be believed.
            let address = read(hop.trim()).filter(|_| hops <= MOST_HOPS).ok_or(MALFORMED)?;
            last = Some(address);
            if !trusted.trusts(last) {
                return Ok(last);
            }
        }
    }
    Ok(last)
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let address = text.parse::<IpAddr>().ok().or_else(bracketed).or_else(|| text.parse::<SocketAddr>().ok().map(|both| both.ip()))?;
    Some(address.to_canonical())
}

/// The `for` of one element: `for=192.0.2.43;proto=http`, `for="[2001:db8:cafe::17]:4711"`. A
/// quoted comma would split an element, and then neither part can be read.
fn forwarded(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in element.split(';') {
        let (name, value) = pair.trim().split_once('=')?;
        if !name.eq_ignore_ascii_case("for") {
            continue;
        }
        let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        if found.replace(address(bare)?).is_some() {
            return None;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs<'a> = &'a [(&'static str, &'a str)];

    fn headers(pairs: Pairs<'_>) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn trusted() -> Trusted {
        Trusted { networks: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()], unix: false }
    }

    #[test]
    fn the_client_is_the_rightmost_that_is_not_trusted() {
        let cases: &[(Pairs<'_>, Result<Option<&str>, &str>)] = &[
            (&[], Ok(None)),
            (&[("x-forwarded-for", "192.0.2.1")], Ok(Some("192.0.2.1"))),
            // What the client wrote itself is left of what the proxy saw.
            (&[("x-forwarded-for", "10.1.1.1, 192.0.2.1")], Ok(Some("192.0.2.1"))),
            (&[("x-forwarded-for", "garbage, 192.0.2.1, 10.0.0.2")], Ok(Some("192.0.2.1"))),
            (&[("x-forwarded-for", "10.9.9.9"), ("x-forwarded-for", "192.0.2.1")], Ok(Some("192.0.2.1"))),
            (&[("x-forwarded-for", "10.0.0.3, 10.0.0.2")], Ok(Some("10.0.0.3"))),
            (&[("x-forwarded-for", "192.0.2.1:4711")], Ok(Some("192.0.2.1"))),
            (&[("x-forwarded-for", "[2001:db8::1]:4711, fd00::1")], Ok(Some("2001:db8::1"))),
            (&[("x-forwarded-for", "::ffff:192.0.2.1")], Ok(Some("192.0.2.1"))),
            (&[("x-forwarded-for", "192.0.2.1, unknown")], Err(MALFORMED)),
            (&[("x-forwarded-for", "192.0.2.1,")], Err(MALFORMED)),
            (&[("x-forwarded-for", "")], Err(MALFORMED)),
            (&[("forwarded", "for=192.0.2.1;proto=https;by=10.0.0.1")], Ok(Some("192.0.2.1"))),
            (&[("forwarded", "for=10.7.7.7, For=\"[2001:db8::1]:80\"")], Ok(Some("2001:db8::1"))),
            (&[("forwarded", "for=_hidden")], Err(MALFORMED)),
            (&[("forwarded", "proto=https")], Err(MALFORMED)),
            (&[("forwarded", "for=192.0.2.1;for=10.0.0.1")], Err(MALFORMED)),
            (&[("forwarded", "for=\"192.0.2.1, 10.0.0.1\"")], Err(MALFORMED)),
            (&[("forwarded", "for=192.0.2.1"), ("x-forwarded-for", "192.0.2.1")], Ok(Some("192.0.2.1"))),
            // One of them is the client's own invention.
            (&[("forwarded", "for=10.0.0.9"), ("x-forwarded-for", "192.0.2.1")], Err(DISAGREE)),
        ];
        for (pairs, expected) in cases {
            let expected = expected.map(|address| address.map(|address| address.parse().unwrap()));
            assert_eq!(source(&headers(pairs), &trusted()), expected, "{pairs:?}");
        }
        let long = vec!["10.0.0.1"; MOST_HOPS + 1].join(",");
        assert_eq!(source(&headers(&[("x-forwarded-for", &long)]), &trusted()), Err(MALFORMED));
    }

    #[test]
    fn a_certificate_is_one_byte_sequence() {
        let der = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap().cert.der().to_vec();
        let encoded = STANDARD.encode(&der);
        let good = format!(":{encoded}:");
        assert_eq!(certificate(&headers(&[("client-cert", &good)])), Ok(Some(fingerprint(&der))));
        assert_eq!(certificate(&headers(&[])), Ok(None));
        assert_eq!(certificate(&headers(&[("client-cert", &good), ("client-cert", &good)])), Err(MALFORMED));
        let junk = format!(":{}:", STANDARD.encode(b"junk"));
        let long = format!(":{}:", "A".repeat(LONGEST_CERTIFICATE));
        for bad in ["", ":", "::", "x", &encoded, &format!("{good}, {good}"), &format!("{good};a=1"), &junk, &long] {
            assert_eq!(certificate(&headers(&[("client-cert", bad)])), Err(MALFORMED), "{bad}");
        }
    }
}
