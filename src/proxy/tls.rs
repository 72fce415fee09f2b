//! Certificates of listeners, read again on reload and used from the next handshake on.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora::listeners::tls::Acceptor;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::Tls;

/// The certificate of one listener.
pub struct Certificate {
    current: ArcSwap<CertifiedKey>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

impl Certificate {
    pub fn load(tls: &Tls) -> Result<Self, String> {
        Ok(Self { current: ArcSwap::new(Arc::new(read(tls)?)) })
    }

    /// Reads the files again; a pair that does not fit leaves the old one in use.
    pub fn reload(&self, tls: &Tls) -> Result<(), String> {
        self.current.store(Arc::new(read(tls)?));
        Ok(())
    }
}

/// TLS 1.2 and 1.3, HTTP/2 where the client offers it.
pub fn acceptor(certificate: Arc<Certificate>) -> Result<Acceptor, String> {
    let provider = CryptoProvider::get_default().ok_or("no crypto provider is installed")?;
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Acceptor::from_server_config(Arc::new(config)))
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn read(tls: &Tls) -> Result<CertifiedKey, String> {
    let told = |path: &std::path::Path, error: &dyn fmt::Display| format!("`{}`: {error}", path.display());
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(&tls.certificate).map_err(|error| told(&tls.certificate, &error))?.collect();
    let chain = chain.map_err(|error| told(&tls.certificate, &error))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| told(&tls.key, &error))?;
    let provider = CryptoProvider::get_default().ok_or("no crypto provider is installed")?;
    let signing = provider.key_provider.load_private_key(key).map_err(|error| told(&tls.key, &error))?;
    let certified = CertifiedKey::new(chain, signing);
    certified.keys_match().map_err(|_| format!("`{}` is not the key of `{}`", tls.key.display(), tls.certificate.display()))?;
    Ok(certified)
}
