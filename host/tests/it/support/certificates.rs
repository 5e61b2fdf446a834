//! Authorities and certificates that a test makes for itself, as files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, SanType, date_time_ymd,
};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// An authority with the certificates that it signed, in a folder of its own.
pub struct Authority {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

// === impl Authority ===

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = params(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        let own = Self { folder: tempfile::tempdir().expect("a folder"), issuer };
        std::fs::write(own.file(), own.issuer.pem()).expect("written");
        own
    }

    /// The authority's own certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// Signs a certificate for these names: `dns` or `uri:...`.
    pub fn sign(&self, common_name: &str, names: &[&str]) -> CertificateFiles {
        self.finish(common_name, params(common_name, names))
    }

    /// Signs a certificate whose time is over.
    pub fn sign_expired(&self, common_name: &str, names: &[&str]) -> CertificateFiles {
        let mut params = params(common_name, names);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.finish(&format!("{common_name}-expired"), params)
    }

    fn finish(&self, file: &str, params: CertificateParams) -> CertificateFiles {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let file = file.replace('/', "-");
        let at = |end: &str| self.folder.path().join(format!("{file}{end}"));
        let files = CertificateFiles { certificate: at(".pem"), key: at(".key") };
        std::fs::write(&files.certificate, certificate.pem()).expect("written");
        std::fs::write(&files.key, key.serialize_pem()).expect("written");
        files
    }

    /// A client that trusts this authority alone, and shows a certificate if there is one.
    pub fn client(&self, own: Option<&CertificateFiles>) -> Arc<ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("versions").with_root_certificates(roots);
        Arc::new(match own {
            Some(files) => builder.with_client_auth_cert(files.chain(), files.secret()).expect("a certificate"),
            None => builder.with_no_client_auth(),
        })
    }
}

fn params(common_name: &str, names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names yet");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let san = |name: &&str| match name.strip_prefix("uri:") {
        Some(uri) => SanType::URI(uri.try_into().expect("ASCII")),
        None => SanType::DnsName((*name).try_into().expect("ASCII")),
    };
    params.subject_alt_names = names.iter().map(san).collect();
    params
}

// === impl CertificateFiles ===

impl CertificateFiles {
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(&self.certificate).expect("a file").map(|one| one.expect("PEM")).collect()
    }

    pub fn secret(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_file(&self.key).expect("a key")
    }

    /// Copies the files to another place.
    pub fn copy_to(&self, folder: &Path) -> Self {
        let copy = Self { certificate: folder.join("host.pem"), key: folder.join("host.key") };
        std::fs::copy(&self.certificate, &copy.certificate).expect("copied");
        std::fs::copy(&self.key, &copy.key).expect("copied");
        copy
    }
}
