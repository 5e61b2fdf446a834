//! The roles of clients that prove who they are with a certificate: the rules of the operator's file, as it is now.
//!
//! A rule names a certificate by a URI or DNS name of the subject, or by the whole subject. No part of a name is enough,
//! but for the path of a URI (`spiffe://shop/ci/*`). A file that is not valid changes nothing.

mod rules;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use tokio::sync::watch;
use tracing::{info, warn};

use super::client_certificate::ClientCertificate;
use crate::followed_file;
use crate::model::access::{Principal, PrincipalKind};
use crate::model::codes::Code;
use crate::model::text::OneLine;
use crate::model::units::Timestamp;

use self::rules::Rules;

pub use self::rules::RulesError;

/// Largest file that is read: thousands of rules fit.
const BYTES_MAX: u64 = 1 << 20;

/// The reason why a certificate stands for no caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("the client's certificate has no roles: no rule of the host's file (--client-roles) matches one of its names")]
    Unknown,
    #[error("the client's certificate has expired")]
    Expired,
}

/// The rules in use. Cloning shares them.
#[derive(Clone, Default)]
pub struct ClientRoles {
    path: Option<PathBuf>,
    rules: Arc<RwLock<Arc<Rules>>>,
    refused: Arc<AtomicBool>,
}

// === impl ClientRoles ===

impl ClientRoles {
    /// Reads the file, if there is one. Blocks.
    pub fn open(path: Option<&Path>) -> Result<Self, RulesError> {
        let rules = path.map(|path| Rules::parse(&read(path)?)).transpose()?.unwrap_or_default();
        Ok(Self { path: path.map(Path::to_owned), rules: Arc::new(RwLock::new(Arc::new(rules))), ..Self::default() })
    }

    /// Returns true if there is a file: certificates are no more than a condition of TLS without one.
    pub fn has_file(&self) -> bool {
        self.path.is_some()
    }

    /// Returns true while the newest content of the file is not used, because it is not valid.
    pub fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// The number of rules in use.
    pub fn count(&self) -> usize {
        self.rules.read().count()
    }

    /// The caller that a certificate stands for, with the roles of all rules that match.
    pub fn principal(&self, certificate: &ClientCertificate, now: Timestamp) -> Result<Principal, CertificateError> {
        if certificate.not_after <= now {
            return Err(CertificateError::Expired);
        }
        let rules = self.rules.read().clone();
        let (name, grants) = rules.of(certificate).ok_or(CertificateError::Unknown)?;
        Ok(Principal { kind: PrincipalKind::Certificate, id: certificate.fingerprint.clone(), name, grants, login: None })
    }

    /// Takes each change of the file, until `shutdown` becomes true.
    pub async fn follow_for_ever(self, shutdown: watch::Receiver<bool>) {
        let Some(path) = self.path.clone() else { return };
        let own = path.clone();
        let take = |content: Result<Vec<u8>, RulesError>| {
            self.take(&path, content.and_then(|content| Rules::parse(&content)));
        };
        followed_file::follow(shutdown, move || read(&own), take).await;
    }

    fn take(&self, path: &Path, judged: Result<Rules, RulesError>) {
        let file = OneLine(path.display());
        self.refused.store(judged.is_err(), Ordering::Relaxed);
        match judged {
            Ok(rules) if **self.rules.read() == rules => {}
            Ok(rules) => {
                info!(%file, rules = rules.count(), "the file of clients' roles is in use");
                *self.rules.write() = Arc::new(rules);
            }
            Err(error) => {
                let error = OneLine(error);
                warn!(%file, code = %Code::ClientRoles, %error, "the file of clients' roles is not used; the rules stay");
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, RulesError> {
    followed_file::read(path, BYTES_MAX).map_err(RulesError::Unreadable)
}
