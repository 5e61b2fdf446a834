//! The metrics of TLS.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec};

use super::registrar::Registrar;

/// Certificates and handshakes of the API. Cloning shares them.
#[derive(Clone)]
pub struct TlsMetrics {
    pub refused: IntGauge,
    ends: IntGaugeVec,
    handshakes_failed: IntCounterVec,
}

impl TlsMetrics {
    pub(super) fn new(r: &Registrar) -> Self {
        let refused = "1 while the newest files of TLS are not used, because they are not usable";
        let ends = "Unix time at which the first of these certificates ends";
        let failed = "Connections without a TLS handshake that succeeded, by reason";
        Self {
            refused: r.gauge("sandbar_tls_files_refused", refused),
            ends: r.gauges("sandbar_tls_certificate_end_timestamp_seconds", ends, &["certificate"]),
            handshakes_failed: r.counters("sandbar_tls_handshakes_failed_total", failed, &["reason"]),
        }
    }

    pub fn ends(&self, certificate: &str, unix_seconds: i64) {
        self.ends.with_label_values(&[certificate]).set(unix_seconds);
    }

    pub fn handshake_failed(&self, reason: &str) {
        self.handshakes_failed.with_label_values(&[reason]).inc();
    }
}
