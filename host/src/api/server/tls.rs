//! TLS of the server: the certificate in use, and its newer files.
//!
//! Each handshake takes the newest usable files. Open connections stay as they are, but for those of clients with a
//! certificate when the authorities of clients change. Files that cannot be used change
//! nothing: the last usable ones stay in use, and a metric says so.

mod files;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::ServerConfig;
use tokio::sync::watch;
use tracing::{info, warn};

use self::files::{Content, Expiry, Loaded};
use crate::followed_file::Looks;
use crate::model::codes::Code;
use crate::model::units::Timestamp;
use crate::telemetry::metrics::TlsMetrics;

pub(super) use self::files::HTTP_2;
pub use self::files::{TlsFileError, TlsOptions};

/// Time between two looks. The files are read each time: their times and sizes may stay the same when they are written
/// again, and a link to one may come to point elsewhere, as Kubernetes' do.
const INTERVAL: Duration = Duration::from_millis(500);
const DAY_SECONDS: i64 = 24 * 60 * 60;

/// The configuration in use. Cloning shares it.
#[derive(Clone)]
pub struct Tls {
    options: Arc<TlsOptions>,
    current: Arc<RwLock<Current>>,
    /// The content of the file of clients' authorities.
    authorities: Arc<watch::Sender<Option<Vec<u8>>>>,
    pub(super) metrics: TlsMetrics,
}

struct Current {
    config: Arc<ServerConfig>,
    expiry: Expiry,
}

/// The newest content of the files.
#[derive(Default)]
struct Newest(Looks<Result<Content, TlsFileError>>);

// === impl Tls ===

impl Tls {
    /// Reads the files. Blocks.
    pub fn open(options: &TlsOptions, metrics: TlsMetrics) -> Result<Self, TlsFileError> {
        let Loaded { config, expiry, client_authorities } = Content::read(options)?.load(options)?;
        let current = Arc::new(RwLock::new(Current { config, expiry }));
        let authorities = Arc::new(watch::Sender::new(client_authorities));
        let own = Self { options: Arc::new(options.clone()), current, authorities, metrics };
        own.metrics.refused.set(0);
        own.show_expiry();
        Ok(own)
    }

    /// The days until the first certificate ends, of the host's chain or of the clients' authorities.
    pub fn days_left(&self) -> i64 {
        let expiry = self.current.read().expiry;
        let end = expiry.client_authorities.map_or(expiry.host, |authorities| authorities.min(expiry.host));
        days(end, now())
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.current.read().config.clone()
    }

    /// The authorities of clients, as they change. A connection whose client has a certificate ends with them: its
    /// authority may be one that is no longer trusted.
    pub(super) fn authorities(&self) -> watch::Receiver<Option<Vec<u8>>> {
        self.authorities.subscribe()
    }

    /// Takes each change of the files, until `shutdown` becomes true.
    pub async fn follow_for_ever(self, mut shutdown: watch::Receiver<bool>) {
        let mut newest = Newest::default();
        loop {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                _ = shutdown.wait_for(|&down| down) => return,
            }
            let options = self.options.clone();
            // A panic in there was reported where it happened.
            let Ok(read) = tokio::task::spawn_blocking(move || Content::read(&options)).await else { continue };
            if let Some(judged) = newest.look(read, &self.options) {
                self.take(judged);
            }
            self.show_expiry();
        }
    }

    fn take(&self, judged: Result<Loaded, TlsFileError>) {
        let certificate = crate::model::text::OneLine(self.options.certificate.display());
        match judged {
            Ok(Loaded { config, expiry, client_authorities }) => {
                let before = std::mem::replace(&mut *self.current.write(), Current { config, expiry });
                self.authorities.send_if_modified(|own| {
                    let is_new = *own != client_authorities;
                    *own = client_authorities;
                    is_new
                });
                self.metrics.refused.set(0);
                if before.expiry != expiry {
                    info!(%certificate, expires_in_days = days(expiry.host, now()), "the files of TLS are in use");
                }
            }
            Err(error) => {
                self.metrics.refused.set(1);
                warn!(code = %Code::TlsFiles, %error, "the files of TLS are not used; the last usable ones stay in use");
            }
        }
    }

    fn show_expiry(&self) {
        let expiry = self.current.read().expiry;
        self.metrics.ends("host", expiry.host);
        if let Some(end) = expiry.client_authorities {
            self.metrics.ends("client-authorities", end);
        }
    }
}

/// Whole days until the end; below zero after it.
fn days(end: i64, now: i64) -> i64 {
    (end - now).div_euclid(DAY_SECONDS)
}

fn now() -> i64 {
    Timestamp::now().0 / 1000
}

// === impl Newest ===

impl Newest {
    /// Judges content that was read twice, and that was not judged before: certificate and key are replaced one after the
    /// other. A certificate that has ended is no better than the one in use.
    fn look(&mut self, read: Result<Content, TlsFileError>, options: &TlsOptions) -> Option<Result<Loaded, TlsFileError>> {
        let read = self.0.look(read)?;
        let loaded = read.and_then(|content| content.load(options));
        Some(loaded.and_then(|loaded| match loaded.expiry.host > now() {
            true => Ok(loaded),
            false => Err(TlsFileError::new(&options.certificate, &"the certificate has expired")),
        }))
    }
}
