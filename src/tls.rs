//! TLS of listeners: several certificates chosen by SNI, clients' certificates, all read again on
//! reload and used from the next handshake on.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use crate::certificate::{Fit, Leaf};
use crate::config::{Clients, Pair, Tls};

/// What is offered to clients by ALPN (RFC 7301), the best one first.
pub type Protocols = &'static [&'static [u8]];

/// The TLS of one listener, read again on reload.
pub struct Certificates {
    tls: Tls,
    protocols: Protocols,
    current: ArcSwap<Served>,
}

/// What handshakes are made with, until the next reload.
///
/// A reload makes a new server configuration, and with it an empty memory of sessions: nobody resumes
/// a session that a client certificate opened under authorities that are no longer trusted.
pub struct Served {
    pub config: Arc<ServerConfig>,
    shown: Arc<Shown>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

/// All certificates of a listener.
struct Shown(Vec<Arc<Certificate>>);

/// A certificate with its key, and what it says of itself.
struct Certificate {
    key: Arc<CertifiedKey>,
    leaf: Arc<Leaf>,
}

impl Certificates {
    /// # Errors
    /// A file that cannot be used.
    pub fn load(tls: &Tls, protocols: Protocols) -> Result<Self, String> {
        let shown = tls.pairs.iter().map(|pair| read(pair).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
        let verifier = tls.clients.as_ref().map(verifier).transpose()?;
        let served = Served::new(shown, verifier, protocols)?;
        Ok(Self { tls: tls.clone(), protocols, current: ArcSwap::from_pointee(served) })
    }

    pub fn current(&self) -> Arc<Served> {
        self.current.load_full()
    }

    /// Reads all files again. What cannot be used leaves its old one in use, each for itself.
    pub fn reload(&self) {
        let old = self.current();
        let keep = |problem: String| tracing::error!(problem, "certificate not reloaded, the old one stays in use");
        let pairs = self.tls.pairs.iter().zip(&old.shown.0);
        let shown = pairs.map(|(pair, old)| read(pair).map(Arc::new).map_err(keep).unwrap_or_else(|()| old.clone())).collect();
        let clients = self.tls.clients.as_ref().and_then(|clients| verifier(clients).map_err(keep).ok());
        match Served::new(shown, clients.or_else(|| old.verifier.clone()), self.protocols) {
            Ok(served) => self.current.store(Arc::new(served)),
            Err(problem) => keep(problem),
        }
    }

    /// When the first of the certificates ends, in seconds since 1970.
    pub fn not_after(&self) -> Option<i64> {
        self.current().shown.0.iter().map(|certificate| certificate.leaf.not_after).min()
    }
}

impl Served {
    /// TLS 1.2 and 1.3.
    fn new(shown: Vec<Arc<Certificate>>, verifier: Option<Arc<dyn ClientCertVerifier>>, protocols: Protocols) -> Result<Self, String> {
        let shown = Arc::new(Shown(shown));
        let builder = ServerConfig::builder_with_provider(provider()?).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(shown.clone());
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self { config: Arc::new(config), shown, verifier })
    }

    /// What the certificate for this SNI says of itself.
    pub fn leaf(&self, name: &str) -> Option<Arc<Leaf>> {
        self.shown.choose(Some(name)).map(|certificate| certificate.leaf.clone())
    }
}

impl Shown {
    /// The certificate with this very name, else one with a wildcard for it, else the first.
    fn choose(&self, name: Option<&str>) -> Option<&Arc<Certificate>> {
        let fits = |wanted| move |certificate: &&Arc<Certificate>| name.and_then(|name| certificate.leaf.fit(name)) == Some(wanted);
        let exact = self.0.iter().find(fits(Fit::Exact));
        exact.or_else(|| self.0.iter().find(fits(Fit::Wildcard))).or_else(|| self.0.first())
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name()).map(|certificate| certificate.key.clone())
    }
}

fn provider() -> Result<Arc<CryptoProvider>, String> {
    CryptoProvider::get_default().cloned().ok_or_else(|| "no crypto provider is installed".to_owned())
}

fn read(pair: &Pair) -> Result<Certificate, String> {
    let chain = certificates(&pair.certificate)?;
    let leaf = chain.first().and_then(|own| Leaf::read(own)).ok_or_else(|| told(&pair.certificate, &"no certificate"))?;
    let key = PrivateKeyDer::from_pem_file(&pair.key).map_err(|error| told(&pair.key, &error))?;
    let signing = provider()?.key_provider.load_private_key(key).map_err(|error| told(&pair.key, &error))?;
    let certified = CertifiedKey::new(chain, signing);
    certified.keys_match().map_err(|_| format!("`{}` is not the key of `{}`", pair.key.display(), pair.certificate.display()))?;
    Ok(Certificate { key: Arc::new(certified), leaf: Arc::new(leaf) })
}

/// Demands that a client's certificate comes from one of the authorities, is in its time, and is for
/// clients; without one, a client is let in only where that is said.
fn verifier(clients: &Clients) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(&clients.ca)? {
        roots.add(authority).map_err(|error| told(&clients.ca, &error))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()?);
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| told(&clients.ca, &error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_file_iter(path).map_err(|error| told(path, &error))?;
    all.collect::<Result<Vec<_>, _>>().map_err(|error| told(path, &error))
}

fn told(path: &Path, error: &dyn fmt::Display) -> String {
    format!("`{}`: {error}", path.display())
}
