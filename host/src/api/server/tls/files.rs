//! The files of TLS: certificate, key and the authorities of clients, as rustls takes them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, crypto};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::followed_file;
use crate::model::text::OneLine;

/// Largest file that is read: a bundle of authorities is the largest.
const BYTES_MAX: u64 = 1 << 20;
/// The protocols that a connection may speak after the handshake (ALPN). A client that names none speaks HTTP/1.1.
pub const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";

/// The options of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsOptions {
    /// The host's certificate and those between it and its authority, as PEM.
    pub certificate: PathBuf,
    /// The key of the certificate, as PEM.
    pub key: PathBuf,
    /// The authorities of clients' certificates, as PEM. `None`: no client is asked for one.
    pub client_authorities: Option<PathBuf>,
    /// True if a client without a certificate is refused.
    pub client_required: bool,
}

/// The reason why the files of TLS are not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {reason}")]
pub struct TlsFileError {
    file: String,
    reason: String,
}

/// The content of the files at one moment.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_authorities: Option<Vec<u8>>,
}

/// Usable content.
pub(super) struct Loaded {
    pub config: Arc<ServerConfig>,
    pub expiry: Expiry,
    /// The content of the file of clients' authorities.
    pub client_authorities: Option<Vec<u8>>,
}

/// The times at which certificates end, in seconds of Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expiry {
    /// The first end in the host's own chain.
    pub host: i64,
    /// The first end among the authorities of clients.
    pub client_authorities: Option<i64>,
}

// === impl Content ===

impl Content {
    /// Reads all files. Blocks.
    pub fn read(options: &TlsOptions) -> Result<Self, TlsFileError> {
        Ok(Self {
            certificate: read(&options.certificate)?,
            key: read(&options.key)?,
            client_authorities: options.client_authorities.as_deref().map(read).transpose()?,
        })
    }

    /// Makes a configuration that rustls accepts: the key fits the certificate, and both can be used.
    pub fn load(&self, options: &TlsOptions) -> Result<Loaded, TlsFileError> {
        let chain = certificates(&options.certificate, &self.certificate)?;
        let in_key = |error: &dyn std::fmt::Display| TlsFileError::new(&options.key, error);
        // The message does not quote the file: it has a secret.
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| in_key(&"it has no private key in PEM"))?;
        let mut expiry = Expiry { host: first_end(&options.certificate, &chain)?, client_authorities: None };
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[&TLS13, &TLS12]);
        let builder = builder.map_err(|error| TlsFileError::new(&options.certificate, &error))?;
        let builder = match (&options.client_authorities, &self.client_authorities) {
            (Some(path), Some(text)) => {
                let authorities = certificates(path, text)?;
                expiry.client_authorities = Some(first_end(path, &authorities)?);
                let in_authorities = |error: &dyn std::fmt::Display| TlsFileError::new(path, error);
                let mut roots = RootCertStore::empty();
                for authority in authorities {
                    roots.add(authority).map_err(|error| in_authorities(&error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = if options.client_required { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build().map_err(|error| in_authorities(&error))?)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| in_key(&error))?;
        config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1.to_vec()];
        // A resumed session would bring a client's certificate back without a look at its end or at newer authorities.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Loaded { config: Arc::new(config), expiry, client_authorities: self.client_authorities.clone() })
    }
}

fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = parsed.map_err(|error| TlsFileError::new(path, &error))?;
    if found.is_empty() { Err(TlsFileError::new(path, &"it has no certificate in PEM")) } else { Ok(found) }
}

fn first_end(path: &Path, certificates: &[CertificateDer]) -> Result<i64, TlsFileError> {
    let ends = certificates.iter().map(|der| match X509Certificate::from_der(der) {
        Ok((_, certificate)) => Ok(certificate.validity().not_after.timestamp()),
        Err(_) => Err(TlsFileError::new(path, &"a certificate in it cannot be read")),
    });
    let ends = ends.collect::<Result<Vec<_>, _>>()?;
    Ok(ends.into_iter().min().unwrap_or(i64::MAX))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsFileError> {
    followed_file::read(path, BYTES_MAX).map_err(|reason| TlsFileError::new(path, &reason))
}

// === impl TlsFileError ===

impl TlsFileError {
    pub(super) fn new(path: &Path, reason: &dyn std::fmt::Display) -> Self {
        Self { file: OneLine(path.display()).to_string(), reason: OneLine(reason).to_string() }
    }
}
