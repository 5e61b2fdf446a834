//! Requests and replies that are lost or late, through the harness's proxy: exactly once all the same.
//!
//! The delayed EndTxn is the worst of them: librdkafka sends it again by itself and says that all went well, and the
//! delayed one, when it arrives, ends the next transaction of that producer (librdkafka#5423).

use std::time::Duration;

use sandbar_harness::proxy::{ADD_PARTITIONS_TO_TXN, END_TXN, HEARTBEAT, PRODUCE, TXN_OFFSET_COMMIT};
use sandbar_harness::{Host, KafkaCluster, Seed, topics, wait};
use serde_json::json;

use crate::stateful::{Stateful, messages};

const KEYS: u64 = 100;

/// A host behind the proxy, with a job whose transactions take this long, and the text that its requests contain: group
/// and transactional id both begin with it.
fn start(cluster: &str, commit_interval: &str) -> (Stateful, Host, String) {
    let fields = json!({ "commit_interval": commit_interval });
    let stateful = Stateful::new(cluster, 4, json!({"mode": "fold"}), fields);
    let host = Host::start_proxied(KafkaCluster::shared(), cluster);
    stateful.job.deploy(&host.api());
    (stateful, host, format!("sandbar.{cluster}.tests.{cluster}"))
}

#[test]
fn requests_and_replies_of_a_transaction_are_lost() {
    let mut seed = Seed::new("requests_and_replies_of_a_transaction_are_lost");
    let (stateful, mut host, own) = start("lost-replies", "100ms");
    let faults = KafkaCluster::shared().faults();
    for api_key in [END_TXN, TXN_OFFSET_COMMIT, ADD_PARTITIONS_TO_TXN, PRODUCE] {
        for is_reply in [true, false] {
            let fault = if is_reply { faults.lose_reply(api_key, &own) } else { faults.hold(api_key, &own) };
            stateful.job.produce(&messages(&mut seed, 1_000, KEYS));
            fault.wait_caught();
            stateful.job.wait_through(wait::PATIENCE);
        }
    }
    // Nobody is left who knows whether it was committed.
    for _ in 0..2 {
        let fault = faults.lose_reply(END_TXN, &own);
        stateful.job.produce(&messages(&mut seed, 1_000, KEYS));
        fault.wait_caught();
        host.kill9();
        host.start_again();
        stateful.job.wait_through(wait::PATIENCE);
    }
    stateful.probe(KEYS);
    stateful.assert_exact();
}

#[test]
fn a_delayed_commit_ends_no_other_transaction() {
    let mut seed = Seed::new("a_delayed_commit_ends_no_other_transaction");
    let (stateful, mut host, own) = start("late-commit", "4s");
    let kafka = KafkaCluster::shared();
    let job = &stateful.job;
    let written = || topics::ends(kafka, &job.output).iter().sum::<i64>();
    let late = kafka.faults().hold(END_TXN, &own);
    job.produce(&messages(&mut seed, 4_000, KEYS));
    late.wait_caught();
    job.wait_through(wait::PATIENCE);
    // The next transaction: its outputs are with Kafka, and its own commit does not arrive.
    let stalled = kafka.faults().stall(&[END_TXN], &own);
    let before = written();
    let committed = job.progress.total();
    job.produce(&messages(&mut seed, 4_000, KEYS));
    wait::until("the next transaction has written", wait::PATIENCE, || {
        let more = written() - before;
        if more > 1_000 { Ok(()) } else { Err(format!("{more} records")) }
    });
    let reply = late.deliver();
    // Whatever that one has ended, the host will not commit it.
    host.kill9();
    assert_eq!(job.progress.total(), committed, "the delayed commit has ended the next transaction");
    drop(stalled);
    println!("the delayed commit was answered with {reply:?}");
    host.start_again();
    job.wait_through(wait::PATIENCE);
    stateful.probe(KEYS);
    stateful.assert_exact();
}

/// Delayed offsets do no harm either: they would take the group back behind the next transaction.
#[test]
fn delayed_offsets_take_no_group_back() {
    let mut seed = Seed::new("delayed_offsets_take_no_group_back");
    let (stateful, mut host, own) = start("late-offsets", "1s");
    let kafka = KafkaCluster::shared();
    let job = &stateful.job;
    let late = kafka.faults().hold(TXN_OFFSET_COMMIT, &own);
    job.produce(&messages(&mut seed, 2_000, KEYS));
    late.wait_caught();
    job.wait_through(wait::PATIENCE);
    // The next transaction has sent its own offsets, and is not committed yet.
    let stalled = kafka.faults().stall(&[END_TXN], &own);
    job.produce(&messages(&mut seed, 2_000, KEYS));
    stalled.wait_caught();
    println!("the delayed offsets were answered with {:?}", late.deliver());
    drop(stalled);
    job.wait_through(wait::PATIENCE);
    // Whoever starts now asks where the group is.
    host.kill9();
    host.start_again();
    stateful.probe(KEYS);
    stateful.assert_exact();
}

/// Its partitions go to another host while its records are held up: then they arrive, and it wants to commit.
#[test]
fn a_host_that_was_cut_off_commits_nothing_more() {
    let mut seed = Seed::new("a_host_that_was_cut_off_commits_nothing_more");
    let (stateful, host, own) = start("cut-off", "100ms");
    let kafka = KafkaCluster::shared();
    let job = &stateful.job;
    let mut other = Host::start(kafka, "cut-off");
    job.produce(&messages(&mut seed, 2_000, KEYS));
    job.wait_through(wait::PATIENCE);
    let both_work = || job.wait_for_hosts(&host.api(), 2);
    both_work();
    let stalled = kafka.faults().stall(&[PRODUCE, HEARTBEAT], &own);
    job.produce(&messages(&mut seed, 4_000, KEYS));
    stalled.wait_caught();
    job.wait_through(wait::PATIENCE);
    drop(stalled);
    both_work();
    job.produce(&messages(&mut seed, 2_000, KEYS));
    stateful.probe(KEYS);
    stateful.assert_exact();
    assert_eq!(other.sigterm_and_wait(), Some(0));
}

/// The same, but its heartbeats come through before its records do: so its client knows that it was thrown out, while its
/// worker, which waits for the records, does not. Kafka takes a transaction's offsets from a client that names no member;
/// those of the member that it was when it began are refused.
#[test]
fn a_host_that_was_thrown_out_and_knows_it_commits_nothing_more() {
    // The session ends after this, and well before the records' time does (`kafka/config.rs`).
    const HEAD_START: Duration = Duration::from_secs(2);
    // Two of its heartbeats.
    const HEARD: Duration = Duration::from_secs(4);
    let mut seed = Seed::new("a_host_that_was_thrown_out_and_knows_it_commits_nothing_more");
    let (stateful, host, own) = start("thrown-out", "100ms");
    let kafka = KafkaCluster::shared();
    let job = &stateful.job;
    let mut other = Host::start(kafka, "thrown-out");
    job.produce(&messages(&mut seed, 2_000, KEYS));
    job.wait_through(wait::PATIENCE);
    job.wait_for_hosts(&host.api(), 2);
    let heartbeats = kafka.faults().stall(&[HEARTBEAT], &own);
    heartbeats.wait_caught();
    std::thread::sleep(HEAD_START);
    let records = kafka.faults().stall(&[PRODUCE], &own);
    job.produce(&messages(&mut seed, 4_000, KEYS));
    records.wait_caught();
    job.wait_through(wait::PATIENCE);
    drop(heartbeats);
    std::thread::sleep(HEARD);
    drop(records);
    job.wait_for_hosts(&host.api(), 2);
    job.produce(&messages(&mut seed, 2_000, KEYS));
    stateful.probe(KEYS);
    stateful.assert_exact();
    assert_eq!(other.sigterm_and_wait(), Some(0));
}

#[test]
fn requests_lost_at_random() {
    // These are the requests above, and Fetch, ListOffsets, Metadata, OffsetFetch, FindCoordinator, JoinGroup,
    // SyncGroup, InitProducerId, AddOffsetsToTxn.
    const API_KEYS: [i16; 14] =
        [PRODUCE, HEARTBEAT, ADD_PARTITIONS_TO_TXN, END_TXN, TXN_OFFSET_COMMIT, 1, 2, 3, 9, 10, 11, 14, 22, 25];
    let mut seed = Seed::new("requests_lost_at_random");
    let (stateful, mut host, own) = start("lost-at-random", "100ms");
    let all = KafkaCluster::shared().faults();
    let mut faults = Vec::new();
    for round in 1..=16 {
        let api_key = API_KEYS[seed.within(0..API_KEYS.len() as u64) as usize];
        // Some of these name only a topic or the catalog's writer. All names of this cluster have its name in them.
        let containing = if [1, 2, 3, 10].contains(&api_key) { "lost-at-random" } else { &own };
        faults.push(match seed.within(0..2) {
            0 => all.hold(api_key, containing),
            _ => all.lose_reply(api_key, containing),
        });
        stateful.job.produce(&messages(&mut seed, 2_000, KEYS));
        if round % 6 == 0 {
            host.kill9();
            host.start_again();
        }
        // One round is open at any time.
        stateful.job.wait_total((round - 1) * 2_000, |_| ());
    }
    drop(faults);
    stateful.job.wait_through(wait::PATIENCE);
    stateful.probe(KEYS);
    stateful.assert_exact();
}
