//! The authorities that may vouch for the servers to which this process is a client.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::followed_file;

/// Largest file of authorities: all of a system have 300 KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The authorities that a client trusts.
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
            Self::Only(path) => authorities_of(path)?,
            Self::SystemAnd(None) => rustls_native_certs::load_native_certs().certs,
            Self::SystemAnd(Some(path)) => [rustls_native_certs::load_native_certs().certs, authorities_of(path)?].concat(),
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

/// Reads authorities in PEM. Some may be of a kind that nothing here can verify with, as in the bundles of systems, but not all.
pub fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| error.to_string())?;
    let mut checked = RootCertStore::empty();
    let errors: Vec<_> = found.iter().filter_map(|certificate| checked.add(certificate.clone()).err()).collect();
    match errors.into_iter().next() {
        _ if !checked.is_empty() => Ok(found),
        None => Err("it has no certificate in PEM".to_owned()),
        Some(error) => Err(error.to_string()),
    }
}

/// Reads a file of authorities.
pub fn authorities_of(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let found = followed_file::read(path, FILE_BYTES_MAX).and_then(|pem| authorities(&pem));
    found.map_err(|reason| TrustError { path: path.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";

    #[test]
    fn a_file_has_an_authority_that_can_vouch() {
        let good = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate").cert.pem();
        let bundle = [NO_CERTIFICATE, good.as_bytes()].concat();
        assert_eq!(authorities(&bundle).map(|found| found.len()), Ok(2));
        assert!(authorities(NO_CERTIFICATE).is_err());
        assert_eq!(authorities(b"text"), Err("it has no certificate in PEM".to_owned()));
        let cut = &good.as_bytes()[..good.len() / 2];
        assert!(authorities(cut).is_err());
        let folder = tempfile::tempdir().expect("a folder");
        let error = authorities_of(folder.path()).expect_err("a folder has no authorities");
        assert_eq!(error.reason, "it is not a file");
    }
}
