//! Entries of a store with a `ttl` on real Kafka: once one has expired, it is gone for every host.

use std::collections::BTreeMap;
use std::fs;

use sandbar_harness::{Host, KafkaCluster, Message, wait};
use serde_json::json;

use crate::stateful::Stateful;

const KEYS: u64 = 200;

fn numbers(prefix: &str, number: &str) -> Vec<Message> {
    (0..KEYS).map(|key| Message::new(format!("{prefix}-{key}"), number)).collect()
}

/// The host loses its local store, and the ttl is raised: an entry that only the clock of the first host had hidden would
/// be there again.
#[test]
fn a_swept_entry_does_not_come_back() {
    let kafka = KafkaCluster::shared();
    let mut stateful = Stateful::new("state-expiry", 2, json!({"mode": "fold"}), json!({}));
    let mut host = Host::start(kafka, "state-expiry");
    stateful.job.spec["state"]["sums"]["ttl"] = json!("2s");
    stateful.job.deploy(&host.api());
    stateful.job.produce(&numbers("key", "5"));
    stateful.job.wait_through(wait::PATIENCE);
    // Nobody reads the old keys again: the commits of other records find them.
    wait::until("the changelog has none of the old entries", wait::PATIENCE, || {
        stateful.job.produce(&numbers("other", "1"));
        stateful.job.wait_through(wait::PATIENCE);
        let sums = stateful.fold_changelog().into_iter().flat_map(|(sums, _)| sums);
        let left = sums.filter(|(key, _)| key.starts_with("key-")).count();
        if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
    });
    stateful.job.spec["state"]["sums"]["ttl"] = json!("1day");
    stateful.job.deploy(&host.api());
    assert_eq!(host.sigterm_and_wait(), Some(0));
    fs::remove_dir_all(host.state_dir()).expect("it is there");
    host.start_again();
    stateful.job.produce(&numbers("key", "7"));
    stateful.job.wait_through(wait::PATIENCE);
    let mut outputs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in stateful.job.outputs().into_iter().filter(|record| record.key_text().starts_with("key-")) {
        outputs.entry(record.key_text()).or_default().push(record.value_text());
    }
    assert_eq!(outputs.len(), KEYS as usize);
    assert!(outputs.values().all(|values| values == &["1 5", "1 7"]), "{outputs:?}");
}
