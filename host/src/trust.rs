//! The authorities that may vouch for the servers to which this process is a client.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The system's authorities, and those of a file if there is one.
    SystemAnd(Option<PathBuf>),
    /// The authorities of a file alone.
    Only(PathBuf),
}

/// A file whose authorities cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct TrustError {
    pub path: PathBuf,
    pub reason: String,
}

// === impl Trust ===

impl Trust {
    /// The TLS of an HTTP client that trusts them. Reads files.
    pub fn tls_config(&self) -> Result<TlsConfig, TrustError> {
        let roots = match self {
            Self::Only(path) => of_file(path)?,
            Self::SystemAnd(None) => rustls_native_certs::load_native_certs().certs,
            Self::SystemAnd(Some(path)) => [rustls_native_certs::load_native_certs().certs, of_file(path)?].concat(),
        };
        Ok(tls_config(&roots))
    }
}

/// The TLS of an HTTP client that trusts these authorities alone.
pub fn tls_config(roots: &[CertificateDer<'_>]) -> TlsConfig {
    let roots: Vec<_> = roots.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots));
    tls.unversioned_rustls_crypto_provider(Arc::new(ring::default_provider())).build()
}

fn of_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let failed = |reason: String| TrustError { path: path.to_owned(), reason };
    let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| failed(error.to_string()))?;
    if found.is_empty() { Err(failed("it has no certificate in PEM".to_owned())) } else { Ok(found) }
}
