//! What a TLS connection to an upstream is made with: whom to trust, and what to show.
//!
//! Read from files at start and on reload, never while a request waits. Knows no address.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::route::{Address, ClientCertificate, Reach};

/// Trust anchors and client certificate of one upstream.
#[derive(Clone, Default)]
pub struct Trust {
    anchors: Option<Arc<[WrappedX509]>>,
    identity: Option<Arc<CertKey>>,
    /// Tells connections that were made with other files apart: none is shared, and none outlives a change.
    group: u64,
}

impl Trust {
    /// # Errors
    /// A file that cannot be read, or holds what the framework would panic on.
    pub fn load(reach: &Reach) -> Result<Self, String> {
        let mut hasher = DefaultHasher::new();
        let mut trust = Self::default();
        let ca = reach.places.iter().find_map(|place| match &place.address {
            Address::Tls { ca, .. } => ca.as_deref(),
            Address::Tcp { .. } | Address::Unix(_) => None,
        });
        if let Some(path) = ca {
            let anchors = anchors(path).ok_or_else(|| format!("`{}` holds no usable certificate", path.display()))?;
            anchors.iter().for_each(|anchor| anchor.borrow_raw_cert().hash(&mut hasher));
            trust.anchors = Some(anchors);
        }
        if let Some(files) = &reach.client_certificate {
            let identity = identity(files)?;
            identity.leaf().borrow_raw_cert().hash(&mut hasher);
            identity.intermediates().iter().for_each(|certificate| certificate.borrow_raw_cert().hash(&mut hasher));
            identity.key().hash(&mut hasher);
            trust.identity = Some(Arc::new(identity));
        }
        if trust.anchors.is_some() || trust.identity.is_some() {
            trust.group = hasher.finish();
        }
        Ok(trust)
    }

    /// Makes the connections to `peer` with it.
    pub fn equip(&self, peer: &mut HttpPeer) {
        peer.options.ca.clone_from(&self.anchors);
        peer.client_cert_key.clone_from(&self.identity);
        peer.group_key = self.group;
    }
}

/// None where a certificate cannot be read: the framework's own parser would panic on it.
fn anchors(path: &Path) -> Option<Arc<[WrappedX509]>> {
    let mut wrapped = Vec::new();
    for der in CertificateDer::pem_file_iter(path).ok()? {
        let der = der.ok()?;
        RootCertStore::empty().add(der.clone()).ok()?;
        wrapped.push(WrappedX509::new(der.to_vec(), parse_x509));
    }
    (!wrapped.is_empty()).then(|| wrapped.into())
}

fn identity(files: &ClientCertificate) -> Result<CertKey, String> {
    let ClientCertificate { certificate, key } = files;
    let told = |path: &Path, error: &dyn std::fmt::Display| format!("`{}`: {error}", path.display());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).map_err(|error| told(certificate, &error))?.collect();
    let chain = chain.map_err(|error| told(certificate, &error))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| told(key, &error))?;
    let bytes = secret.secret_der().to_vec();
    // The framework reads the key's format off its bytes, and panics where it cannot.
    PrivateKeyDer::try_from(bytes.as_slice()).map_err(|error| told(key, &error))?;
    let provider = CryptoProvider::get_default().ok_or("no crypto provider is installed")?;
    // Parses the first certificate, and compares its key.
    CertifiedKey::from_der(chain.clone(), secret, provider).map_err(|error| told(certificate, &error))?;
    // The others are parsed by the framework, which panics on what is none.
    for der in &chain {
        RootCertStore::empty().add(der.clone()).map_err(|error| told(certificate, &error))?;
    }
    Ok(CertKey::new(chain.iter().map(|der| der.to_vec()).collect(), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;

    #[test]
    fn a_certificate_that_is_none_is_no_trust_anchor_and_no_panic() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let pem =
            format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", base64::prelude::BASE64_STANDARD.encode("not DER"));
        std::fs::write(file.path(), pem).expect("written");
        assert!(anchors(file.path()).is_none());
        let made = rcgen::generate_simple_self_signed(vec!["ca.example".into()]).expect("made");
        std::fs::write(file.path(), made.cert.pem()).expect("written");
        assert_eq!(anchors(file.path()).map(|anchors| anchors.len()), Some(1));
    }

    #[test]
    fn a_client_certificate_and_another_ones_key_are_refused() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().expect("a folder");
        let files = ClientCertificate { certificate: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        let [one, other] =
            ["one.example", "other.example"].map(|name| rcgen::generate_simple_self_signed([name.to_owned()]).expect("made"));
        std::fs::write(&files.certificate, one.cert.pem()).expect("written");
        std::fs::write(&files.key, other.signing_key.serialize_pem()).expect("written");
        assert!(identity(&files).is_err());
        std::fs::write(&files.key, one.signing_key.serialize_pem()).expect("written");
        assert!(identity(&files).is_ok());
        std::fs::write(&files.key, "no key").expect("written");
        assert!(identity(&files).is_err());
    }
}
