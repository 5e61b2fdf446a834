//! The metrics of the clients of Kafka.

use prometheus::{IntCounterVec, IntGaugeVec};

use super::registrar::Registrar;
use crate::model::units::Timestamp;

/// Tokens to log in with. Cloning shares them.
#[derive(Clone)]
pub struct KafkaMetrics {
    failures: IntCounterVec,
    ends: IntGaugeVec,
}

impl KafkaMetrics {
    pub(super) fn new(r: &Registrar) -> Self {
        let failures = "Attempts to get a token for Kafka that failed, of each team; `-` stands for the host";
        let ends = "Unix time at which the newest token for Kafka ends, of each team; `-` stands for the host";
        Self {
            failures: r.counters("sandbar_kafka_token_failures_total", failures, &["team"]),
            ends: r.gauges("sandbar_kafka_token_end_timestamp_seconds", ends, &["team"]),
        }
    }

    pub fn token_failed(&self, owner: &str) {
        self.failures.with_label_values(&[owner]).inc();
    }

    pub fn token_ends(&self, owner: &str, at: Timestamp) {
        self.ends.with_label_values(&[owner]).set(at.0 / 1000);
        // A counter that is there before the first failure lets an alert see that one.
        self.failures.with_label_values(&[owner]).inc_by(0);
    }
}
