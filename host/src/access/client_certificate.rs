//! The certificate with which a client proved who it is.

use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::model::distinguished_name::DistinguishedName;
use crate::model::units::Timestamp;

/// Most names of one kind that are read from a certificate.
const NAMES_MAX: usize = 64;
/// Longest name: that of a SPIFFE id.
const NAME_BYTES_MAX: usize = 2048;

/// A verified certificate of a client: an authority of `--tls-client-ca` vouches for its names. It is in the extensions of
/// each request of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject, if it has one that consists of texts.
    pub subject: Option<DistinguishedName>,
    /// The DNS names of the subject.
    pub dns_names: Vec<String>,
    /// The URIs of the subject, such as a SPIFFE id.
    pub uri_names: Vec<String>,
    /// SHA-256 over the certificate, in hex.
    pub fingerprint: String,
    /// The end of its time.
    pub not_after: Timestamp,
}

// === impl ClientCertificate ===

impl ClientCertificate {
    /// Reads the names of a certificate that rustls has verified. A certificate that cannot be read has no name, and its
    /// time is over.
    pub fn of(der: &[u8]) -> Self {
        let fingerprint = hex::encode(Sha256::digest(der));
        let nameless =
            Self { subject: None, dns_names: Vec::new(), uri_names: Vec::new(), fingerprint, not_after: Timestamp(0) };
        let Ok((_, certificate)) = X509Certificate::from_der(der) else { return nameless };
        let not_after = Timestamp(certificate.validity().not_after.timestamp().saturating_mul(1000));
        let subject = subject(&certificate);
        let own = Self { subject, not_after, ..nameless };
        // Of names that are there in part nobody knows which ones the authority meant.
        alternative_names(&certificate)
            .map_or_else(|| own.clone(), |(dns_names, uri_names)| Self { dns_names, uri_names, ..own.clone() })
    }
}

fn subject(certificate: &X509Certificate<'_>) -> Option<DistinguishedName> {
    let part = |part: &x509_parser::x509::RelativeDistinguishedName<'_>| {
        let attributes = part.iter().map(|attribute| {
            let value = attribute.as_str().ok()?.to_owned();
            Some((attribute.attr_type().to_id_string(), value))
        });
        attributes.collect::<Option<Vec<_>>>()
    };
    let parts = certificate.subject().iter_rdn().map(part).collect::<Option<Vec<_>>>()?;
    DistinguishedName::of_certificate(parts)
}

/// The DNS names and the URIs; `None` if one of them is not plain, or if there are too many.
fn alternative_names(certificate: &X509Certificate<'_>) -> Option<(Vec<String>, Vec<String>)> {
    let names = certificate.subject_alternative_name().ok()??;
    let mut dns_names = Vec::new();
    let mut uri_names = Vec::new();
    for name in &names.value.general_names {
        let (own, name) = match name {
            GeneralName::DNSName(name) => (&mut dns_names, *name),
            GeneralName::URI(name) => (&mut uri_names, *name),
            _ => continue,
        };
        if own.len() >= NAMES_MAX || !is_plain(name) {
            return None;
        }
        own.push(name.to_owned());
    }
    Some((dns_names, uri_names))
}

/// A name with control characters could look like another one where it is shown.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control)
}
