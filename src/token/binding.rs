//! What must a caller hold besides the token? The confirmation (`cnf`, RFC 7800) of a token and of a route.
//!
//! Two kinds are known: a DPoP key by thumbprint (RFC 9449 §6.1) and a client certificate by digest
//! (RFC 8705 §3.1). A kind that is not known is never skipped. Knows nothing of proofs or sockets.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Error, Members, Scheme};

/// SHA-256 of a public key (RFC 7638) or of a certificate in DER.
pub type Thumbprint = [u8; 32];

/// What a token is bound to. Both where it names both: then both must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// `cnf.jkt` (RFC 9449 §6.1).
    pub key: Option<Thumbprint>,
    /// `cnf.x5t#S256` (RFC 8705 §3.1).
    pub certificate: Option<Thumbprint>,
}

/// What a route demands of every token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Only tokens that are bound to a DPoP key.
    pub dpop: bool,
    /// Only tokens that are bound to a client certificate.
    pub certificate: bool,
}

impl Binding {
    /// None where the token is bound to nothing.
    pub fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }

    /// The binding in a claim set, or in an introspection answer (RFC 9449 §6.2, RFC 8705 §3.2).
    ///
    /// # Errors
    /// [`Error::Confirmation`] for a `cnf` that is empty, of another shape, or has a member that is
    /// not known here: what cannot be checked must not be taken for a bearer token.
    pub fn read(claims: &Members) -> Result<Self, Error> {
        let Some(confirmation) = claims.get("cnf") else { return Ok(Self::default()) };
        let members = confirmation.as_object().filter(|members| !members.is_empty()).ok_or(Error::Confirmation)?;
        let mut binding = Self::default();
        for (name, value) in members {
            let digest = value.as_str().and_then(digest).ok_or(Error::Confirmation)?;
            match name.as_str() {
                "jkt" => binding.key = Some(digest),
                "x5t#S256" => binding.certificate = Some(digest),
                _ => return Err(Error::Confirmation),
            }
        }
        Ok(binding)
    }

    /// Whether the token may be used under this scheme, with this certificate, where that is demanded.
    /// The answer is the key that a proof must be made with, if one is needed.
    ///
    /// # Errors
    /// [`Error::Bound`] for a key-bound token as bearer (RFC 9449 §7.2), [`Error::Unbound`] for a
    /// token without the binding that the scheme or the route asks for, [`Error::Certificate`] for
    /// another certificate than the token's, or none (RFC 8705 §3).
    pub fn admits(&self, scheme: Scheme, certificate: Option<&Thumbprint>, demand: Demand) -> Result<Option<Thumbprint>, Error> {
        if self.key.is_some() && scheme == Scheme::Bearer {
            return Err(Error::Bound);
        }
        if self.key.is_none() && (scheme == Scheme::Dpop || demand.dpop) {
            return Err(Error::Unbound);
        }
        match &self.certificate {
            Some(bound) if certificate != Some(bound) => return Err(Error::Certificate),
            None if demand.certificate => return Err(Error::Unbound),
            _ => {}
        }
        Ok(self.key)
    }

    /// The same for a caller that holds whatever the token is bound to.
    ///
    /// # Errors
    /// [`Error::Unbound`] where the route asks for more.
    pub fn held(&self, demand: Demand) -> Result<(), Error> {
        let scheme = if self.key.is_some() { Scheme::Dpop } else { Scheme::Bearer };
        self.admits(scheme, self.certificate.as_ref(), demand).map(|_| ())
    }
}

fn digest(text: &str) -> Option<Thumbprint> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::json;
    use serde_json::{Value, json};

    const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    const X5T: &str = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2";

    fn read(cnf: Value) -> Result<Binding, Error> {
        Binding::read(&json::members(json!({ "cnf": cnf }).to_string().as_bytes()).expect("an object"))
    }

    #[test]
    fn both_kinds_are_read_and_no_cnf_binds_nothing() {
        assert_eq!(Binding::read(&Members::default()), Ok(Binding::default()));
        let both = read(json!({"jkt": JKT, "x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg0"})).expect("a binding");
        assert!(both.key.is_some() && both.certificate.is_some());
    }

    #[test]
    fn a_confirmation_that_cannot_be_checked_is_refused() {
        let odd = [
            json!(null),
            json!({}),
            json!([]),
            json!(JKT),
            json!({"jwk": {"kty": "EC"}}),
            json!({"kid": "a"}),
            json!({"jkt": JKT, "kid": "a"}),
            json!({"jkt": 7}),
            json!({"jkt": null}),
            json!({"jkt": ""}),
            json!({"jkt": format!("{JKT}=")}),
            json!({"jkt": "AAAA"}),
            json!({"x5t#S256": X5T}),
            json!({"x5t#s256": JKT}),
            json!({"JKT": JKT}),
        ];
        for cnf in odd {
            assert_eq!(read(cnf.clone()), Err(Error::Confirmation), "{cnf}");
        }
    }

    #[test]
    fn items_141_and_144_every_scheme_binding_certificate_and_demand() {
        const K: Thumbprint = [1; 32];
        const C: Thumbprint = [2; 32];
        const OTHER: Thumbprint = [3; 32];
        let (none, key, cert, both) = (
            Binding::default(),
            Binding { key: Some(K), certificate: None },
            Binding { key: None, certificate: Some(C) },
            Binding { key: Some(K), certificate: Some(C) },
        );
        let (free, dpop, mtls) = (Demand::default(), Demand { dpop: true, certificate: false }, Demand { dpop: false, certificate: true });
        let all = Demand { dpop: true, certificate: true };
        use Scheme::{Bearer, Dpop};
        let table = [
            (none, Bearer, None, free, Ok(None)),
            (none, Bearer, Some(C), free, Ok(None)),
            (none, Dpop, None, free, Err(Error::Unbound)),
            (none, Bearer, None, dpop, Err(Error::Unbound)),
            (none, Bearer, Some(C), mtls, Err(Error::Unbound)),
            (key, Bearer, None, free, Err(Error::Bound)),
            (key, Bearer, Some(C), free, Err(Error::Bound)),
            (key, Dpop, None, free, Ok(Some(K))),
            (key, Dpop, None, dpop, Ok(Some(K))),
            (key, Dpop, Some(C), mtls, Err(Error::Unbound)),
            (cert, Bearer, None, free, Err(Error::Certificate)),
            (cert, Bearer, Some(OTHER), free, Err(Error::Certificate)),
            (cert, Bearer, Some(C), free, Ok(None)),
            (cert, Bearer, Some(C), mtls, Ok(None)),
            (cert, Bearer, Some(C), dpop, Err(Error::Unbound)),
            (cert, Dpop, Some(C), free, Err(Error::Unbound)),
            (both, Bearer, Some(C), free, Err(Error::Bound)),
            (both, Dpop, None, free, Err(Error::Certificate)),
            (both, Dpop, Some(OTHER), free, Err(Error::Certificate)),
            (both, Dpop, Some(C), all, Ok(Some(K))),
        ];
        assert_eq!([none, key, cert, both].map(|binding| binding.held(free)), [Ok(()); 4]);
        assert_eq!([none, key, cert, both].map(|binding| binding.held(all).is_ok()), [false, false, false, true]);
        for (binding, scheme, certificate, demand, answer) in table {
            assert_eq!(binding.admits(scheme, certificate.as_ref(), demand), answer, "{binding:?} {scheme:?} {certificate:?} {demand:?}");
        }
    }
}
