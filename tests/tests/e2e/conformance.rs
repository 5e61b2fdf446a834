//! The suite that every log must pass, over Apache Kafka: the same checks as over the embedded log.

#[path = "../../../host/tests/support/conformance.rs"]
mod suite;

use std::sync::Arc;

use sandbar::kafka::{KafkaConfig, KafkaLog};
use sandbar_tests::KafkaCluster;

#[test]
fn kafka_conforms() {
    let brokers = KafkaCluster::shared().brokers().to_owned();
    let log = KafkaLog::new(KafkaConfig { brokers, ..KafkaConfig::default() }).expect("a client");
    suite::run(Arc::new(log), "conformance");
}
