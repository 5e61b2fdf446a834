//! The client's side of TLS and sign-in: the authorities that it trusts, its certificate and its token.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::CertificateError;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use ureq::http::HeaderValue;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use super::super::error::{Error, Kind, Result};
use crate::bounded_input;
use crate::model::codes::Code;
use crate::model::text::OneLine;
use crate::trust;

/// Longest token: one of an identity provider has its owner's groups in it.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Largest file of authorities, of a certificate or of a key: all authorities of a system have 300 KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The options of a client for TLS and sign-in.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The authorities in place of the system's.
    pub ca: Option<PathBuf>,
    pub client_cert: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
    pub token: Option<Token>,
    /// True if the token may go over plain HTTP to another machine.
    pub token_over_http: bool,
}

/// A bearer token. It is never shown.
#[derive(Clone)]
pub struct Token(HeaderValue);

// === impl Access ===

impl Access {
    /// Makes the configuration for https. The system's authorities are read here: without https nobody needs them.
    pub fn tls(&self) -> Result<TlsConfig> {
        let provider = Arc::new(ring::default_provider());
        let roots = match &self.ca {
            Some(path) => trust::authorities(&read(path)?).map_err(|reason| unusable(path, reason))?,
            None => system_authorities()?,
        };
        let roots: Vec<_> = roots.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        let client = match (&self.client_cert, &self.client_key) {
            (Some(certificate), Some(key)) => Some(client_certificate(certificate, key, &provider)?),
            (None, None) => None,
            _ => return Err(Error::usage("a client's certificate needs both --client-cert and --client-key")),
        };
        let config = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots)).client_cert(client);
        Ok(config.unversioned_rustls_crypto_provider(provider).build())
    }
}

fn system_authorities() -> Result<Vec<CertificateDer<'static>>> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let error = Error::usage("this system has no certificates of authorities, so no host can be trusted");
        let hint = "install the package ca-certificates, or name the host's authority with --ca FILE or SANDBAR_CA";
        return Err(error.with_code(Code::TlsFiles.as_str()).with_hint(hint));
    }
    Ok(found.certs)
}

fn client_certificate(certificate: &Path, key: &Path, provider: &rustls::crypto::CryptoProvider) -> Result<ClientCert> {
    let chain = certificates(certificate)?;
    let text = read(key)?;
    // The message does not quote the file: it has a secret.
    let secret = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_| unusable(key, "it has no private key in PEM, or an encrypted one"))?;
    let fits = CertifiedKey::from_der(chain.clone(), secret, provider);
    fits.map_err(|error| unusable(key, error))?;
    let secret = PrivateKey::from_pem(&text).map_err(|_| unusable(key, "it has no private key in PEM"))?;
    let chain: Vec<_> = chain.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    Ok(ClientCert::new_with_certs(&chain, secret))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| unusable(path, error))?;
    if found.is_empty() { Err(unusable(path, "it has no certificate in PEM")) } else { Ok(found) }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    bounded_input::read_file(path, FILE_BYTES_MAX).map_err(|error| unusable(path, error))
}

fn unusable(path: &Path, reason: impl fmt::Display) -> Error {
    Error::file(path, OneLine(reason)).with(Code::TlsFiles)
}

// === impl Token ===

impl Token {
    /// Takes a token; a line's end behind it is left out.
    pub fn new(raw: &str) -> Result<Self> {
        let token = raw.trim();
        if token.is_empty() {
            return Err(
                Error::usage("the token is empty").with_hint("`sandbar login` asks for it, or reads --token-file FILE")
            );
        }
        let plain = token.len() <= TOKEN_BYTES_MAX && token.bytes().all(|byte| byte.is_ascii_graphic());
        let header = plain.then(|| HeaderValue::from_str(&format!("Bearer {token}")).ok()).flatten();
        // The message does not quote it: it may be a secret with a small mistake.
        let mut header = header.ok_or_else(|| Error::usage("the token is not one: it has other characters, or too many"))?;
        header.set_sensitive(true);
        Ok(Self(header))
    }

    /// The value of the header `Authorization`.
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Explains an error of TLS to the caller of `url`; `None` for any other error.
pub fn explained(error: &ureq::Error, url: &str) -> Option<Error> {
    let tls: &rustls::Error = match error {
        ureq::Error::Rustls(error) => error,
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref()?,
        _ => return None,
    };
    let (reason, hint) = reason(tls);
    let message = format!("no TLS connection to {url}: {reason}");
    let error = Error::new(Kind::Failed, message).with_code(Code::TlsConnection.as_str());
    Some(error.with_hint(hint))
}

fn reason(error: &rustls::Error) -> (String, &'static str) {
    use rustls::AlertDescription as Alert;
    use rustls::CertificateError as Wrong;
    const NAME: &str = "call the host by a name in its certificate";
    const ISSUER: &str = "name its authority with --ca FILE or SANDBAR_CA, if you trust it";
    const TIME: &str = "its operator must renew it, unless this machine's clock is wrong";
    const CLIENT: &str =
        "docs/errors/E073.md: --client-cert FILE and --client-key FILE are a certificate that the host trusts";
    match error {
        rustls::Error::InvalidCertificate(wrong) => match wrong {
            Wrong::NotValidForName => ("the host's certificate is for another name".into(), NAME),
            Wrong::NotValidForNameContext { .. } => (presented(wrong), NAME),
            Wrong::Expired | Wrong::ExpiredContext { .. } => ("the host's certificate has expired".into(), TIME),
            Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
                ("the host's certificate is not valid yet".into(), TIME)
            }
            Wrong::UnknownIssuer => ("no trusted authority signed the host's certificate".into(), ISSUER),
            other => (format!("the host's certificate is not valid: {}", OneLine(other)), ISSUER),
        },
        rustls::Error::AlertReceived(Alert::CertificateRequired) => {
            ("the host asks for a client's certificate".into(), CLIENT)
        }
        rustls::Error::AlertReceived(
            Alert::BadCertificate
            | Alert::UnknownCA
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnsupportedCertificate
            | Alert::AccessDenied
            | Alert::DecryptError,
        ) => ("the host refuses the client's certificate".into(), CLIENT),
        rustls::Error::InvalidMessage(_) => {
            ("the other end does not speak TLS".into(), "call it with http:// if it is meant to speak plain HTTP")
        }
        other => (OneLine(other).to_string(), Code::TlsConnection.hint()),
    }
}

/// The names of a certificate for another name.
fn presented(wrong: &CertificateError) -> String {
    let CertificateError::NotValidForNameContext { expected, presented } = wrong else { return String::new() };
    let names = if presented.is_empty() { "none".to_owned() } else { presented.join(", ") };
    let names = OneLine(crate::model::text::cut(&names, 300)).to_string();
    format!("the host's certificate is not for {}; its names: {names}", OneLine(expected.to_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_taken_whole_and_never_shown() {
        let token = Token::new("sbt_abc\n").expect("a token");
        assert_eq!(token.header(), "Bearer sbt_abc");
        assert!(!format!("{token:?} {:?}", token.header()).contains("abc"));
        for wrong in ["", " ", "a b", "a\nb", "tökén", &"a".repeat(TOKEN_BYTES_MAX + 1)] {
            let error = Token::new(wrong).expect_err("refused").to_string();
            assert!(wrong.trim().is_empty() || !error.contains(wrong), "{error}");
        }
    }
}
