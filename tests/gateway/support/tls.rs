//! Certificates made on the fly.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

/// A self-signed certificate for loopback, and its key.
pub struct Identity {
    pub certificate_pem: String,
    key_pem: String,
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Identity {
    pub fn new() -> Self {
        super::install_crypto();
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        Self {
            certificate_pem: cert.pem(),
            key_pem: signing_key.serialize_pem(),
            certificate: cert.der().clone(),
            key: signing_key.serialize_der(),
        }
    }

    /// Writes `cert.pem` and `key.pem` over what is there: certificate last, as tools that renew do.
    pub fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        std::fs::write(&key, &self.key_pem).unwrap();
        std::fs::write(&certificate, &self.certificate_pem).unwrap();
        (certificate, key)
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![self.certificate.clone()], key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// Serves nobody but who shows the certificate of `known`.
    pub fn acceptor_for(&self, known: &Self) -> TlsAcceptor {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(known.certificate.clone()).unwrap();
        let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let builder = rustls::ServerConfig::builder().with_client_cert_verifier(verifier);
        TlsAcceptor::from(Arc::new(builder.with_single_cert(vec![self.certificate.clone()], key).unwrap()))
    }

    /// A client that trusts this certificate and no other.
    pub fn client(&self) -> reqwest::Client {
        let root = reqwest::Certificate::from_pem(self.certificate_pem.as_bytes()).unwrap();
        super::client::builder().tls_certs_only([root]).build().unwrap()
    }

    /// A TLS configuration that trusts this certificate and offers `protocols`.
    pub fn connector(&self, protocols: &[&str]) -> tokio_rustls::TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        tokio_rustls::TlsConnector::from(Arc::new(config))
    }
}
