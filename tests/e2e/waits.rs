//! Waits that are bounded, on real Kafka: a worker that backs off keeps its memory, and a dead host's transaction holds up no
//! partition but its own.

use std::time::{Duration, Instant};

use sandbar_harness::proxy::END_TXN;
use sandbar_harness::{Host, KafkaCluster, Message, Producer, guests, topics, wait};
use serde_json::json;

use crate::job::{Job, unchanged};

const MIB: u64 = 1 << 20;

/// The memory of a host's process.
fn resident_bytes(host: &Host) -> u64 {
    let pid = host.pid().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    1024 * kib.expect("a size").parse::<u64>().expect("a number")
}

/// Bytes that no compression makes fewer: a fetched batch has the size that it takes in memory.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).take(bytes / 8).flatten().collect()
}

/// All outputs are refused, before 300 MB of input: each transaction is aborted, and the back-off after it grows to 5 s.
#[test]
fn a_worker_that_backs_off_keeps_its_memory() {
    const RECORDS: usize = 30_000;
    const RECORD_BYTES: usize = 10_000;
    const MORE_MAX: u64 = 160 * MIB;
    let kafka = KafkaCluster::shared();
    let job = Job::new("waits", "refused", 2, guests::fixture(), json!({"mode": "echo"}));
    let host = Host::start(kafka, "waits");
    let api = host.api();
    job.deploy(&api);
    job.produce(&[Message::new("key", "value")]);
    job.wait_through(wait::PATIENCE);
    let before = resident_bytes(&host);
    topics::delete(kafka, &job.output);
    let producer = Producer::new(kafka);
    let noise = noise(MIB as usize);
    for n in 0..RECORDS {
        let from = n * RECORD_BYTES % (noise.len() - RECORD_BYTES);
        producer.send(&job.input, &Message::new(format!("key-{n}"), &noise[from..from + RECORD_BYTES]));
    }
    producer.flush();
    wait::until("the transactions are aborted", wait::PATIENCE, || {
        let status = api.status(&job.transform);
        if status["hosts"][0]["error"]["code"] == "E207" { Ok(()) } else { Err(status.to_string()) }
    });
    // Several back-offs, of up to 5 s.
    let deadline = Instant::now() + Duration::from_secs(25);
    let mut most = 0;
    while Instant::now() < deadline {
        most = most.max(resident_bytes(&host));
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("{} MiB at first, {} MiB at most", before / MIB, most / MIB);
    assert!(most < before + MORE_MAX, "{} MiB at first, {} MiB in the back-off", before / MIB, most / MIB);
    topics::create(kafka, &[&job.output], 2);
    wait::until_complete("all records are through", 4 * wait::PATIENCE, || {
        most = most.max(resident_bytes(&host));
        let done = job.progress.total();
        if done > RECORDS as i64 { Ok(()) } else { Err(format!("{done}")) }
    });
    assert!(most < before + MORE_MAX, "{} MiB at first, {} MiB on the way", before / MIB, most / MIB);
    assert_eq!(topics::read_committed(kafka, &job.output).len(), RECORDS);
}

/// A host dies with its offsets sent and its transaction open. The other host takes its partitions over, and waits for
/// them only.
#[test]
fn a_dead_hosts_transaction_holds_up_no_other_partition() {
    const PARTITIONS: i32 = 4;
    // Longer than a call to a broker may take.
    const LONG: Duration = Duration::from_secs(6);
    let kafka = KafkaCluster::shared();
    let fields = json!({"limits": {"batch_time": "5s"}});
    let job = Job::new("unsettled", "unsettled", PARTITIONS, guests::fixture(), json!({"mode": "echo"})).with(fields);
    let mut dying = Host::start_proxied(kafka, "unsettled");
    job.deploy(&dying.api());
    let other = Host::start(kafka, "unsettled");
    job.wait_for_hosts(&other.api(), 2);
    let producer = Producer::new(kafka);
    let mut messages = Vec::new();
    let produce = |messages: &mut Vec<Message>| {
        for partition in 0..PARTITIONS {
            let number = messages.len();
            let message = Message::new(format!("key-{partition}"), format!("value-{number}")).to_partition(partition);
            producer.send(&job.input, &message);
            messages.push(message);
        }
        producer.flush();
    };
    produce(&mut messages);
    job.wait_through(wait::PATIENCE);
    let before = job.progress.committed();
    let stalled = kafka.faults().stall(&[END_TXN], "sandbar.unsettled.tests.unsettled");
    produce(&mut messages);
    stalled.wait_caught();
    dying.kill9();
    // The longest time in which each partition made no progress.
    let mut progress: Vec<(Option<i64>, Instant)> = before.iter().map(|offset| (*offset, Instant::now())).collect();
    let mut gaps = [Duration::ZERO; PARTITIONS as usize];
    wait::until("all partitions go on", 3 * wait::PATIENCE, || {
        produce(&mut messages);
        std::thread::sleep(Duration::from_millis(200));
        for (index, committed) in job.progress.committed().into_iter().enumerate() {
            let (last, since) = &mut progress[index];
            if committed != *last {
                (*last, *since) = (committed, Instant::now());
            }
            gaps[index] = gaps[index].max(since.elapsed());
        }
        // Those of the dead host stand still until its session and its transaction are over.
        let all_went_on = progress.iter().zip(&before).all(|((last, _), before)| last != before);
        let all_go_on = progress.iter().all(|(_, since)| since.elapsed() < Duration::from_secs(2));
        if all_went_on && all_go_on { Ok(()) } else { Err(format!("{gaps:?}")) }
    });
    println!("longest gaps: {gaps:?}");
    gaps.sort_unstable();
    assert!(gaps[1] < 2 * LONG, "the other host's own two partitions: {gaps:?}");
    assert!(gaps[2] > LONG / 3, "those of the dead host wait for its session: {gaps:?}");
    job.wait_through(wait::PATIENCE);
    job.assert_output(&unchanged(&messages));
}
