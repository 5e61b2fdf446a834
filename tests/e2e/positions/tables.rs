//! A table over a topic that is deleted and created again.

use std::sync::Arc;

use sandbar::kafka::{KafkaConfig, KafkaLog};
use sandbar::stores::tables::{TableLimits, Tables};
use sandbar::telemetry::metrics::Metrics;
use sandbar_harness::{KafkaCluster, Message, Producer, topics, wait};

const TOPIC: &str = "anew.table";

/// The new topic has as many partitions and records as the old one, so only its id tells it from that.
#[test]
fn a_table_is_read_again_from_a_recreated_topic() {
    let kafka = KafkaCluster::shared();
    let create = |keys: std::ops::Range<u32>, value: &str| {
        topics::create_with(kafka, &[TOPIC], 2, &[("cleanup.policy", "compact")]);
        let rows: Vec<Message> = keys.map(|key| Message::new(format!("k{key}"), value)).collect();
        Producer::new(kafka).send_all(TOPIC, &rows);
    };
    create(0..20, "old");
    let log = KafkaLog::new(KafkaConfig { brokers: kafka.brokers().to_owned(), ..KafkaConfig::default() });
    let limits = TableLimits { table: 1 << 20, team: usize::MAX, host: usize::MAX };
    let tables = Tables::new(Arc::new(log.expect("a client")), limits, Metrics::new());
    let team = "tests".parse().expect("a name");
    let topic = TOPIC.parse().expect("a name");
    let open = tables.of(&team, [topic].into_iter()).unwrap_or_else(|(code, why)| panic!("{code}: {why}"));
    let rows = || ["k3", "k15", "k25"].map(|key| open[0].get(key.as_bytes()));
    let value = |text: &str| Some(text.as_bytes().to_vec());
    assert_eq!(rows(), [value("old"), value("old"), None]);

    topics::delete(kafka, TOPIC);
    create(10..30, "new");
    wait::until("the table has the rows of the new topic alone", wait::PATIENCE, || {
        let found = rows();
        if found == [None, value("new"), value("new")] { Ok(()) } else { Err(format!("{found:?}")) }
    });
}
