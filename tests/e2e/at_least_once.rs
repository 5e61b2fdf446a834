//! `delivery: at-least-once` under the faults that exactly-once withstands: nothing is lost, each key's records come in
//! order, and only records that were under way when a host was killed or lost its partitions come twice.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sandbar_harness::proxy::{HEARTBEAT, JOIN_GROUP, PRODUCE};
use sandbar_harness::{Host, KafkaCluster, Message, Seed, guests, wait};
use serde_json::json;

use crate::faults::run;
use crate::job::{Job, numbered};

const KEYS: usize = 100;
const PARTITIONS: u32 = 4;
/// Messages at a time.
const ROUND: usize = 4_000;

fn job(cluster: &str) -> Job {
    let job = Job::new(cluster, "copy", PARTITIONS as i32, guests::fixture(), json!({"mode": "echo"}));
    job.with(json!({"delivery": "at-least-once"}))
}

/// Compares the output with the messages, which differ in their values. Returns how many of them are there once more.
#[track_caller]
fn repeats(job: &Job, messages: &[Message]) -> u64 {
    let mut seen = HashSet::new();
    let mut last = HashMap::new();
    let place: HashMap<&[u8], usize> =
        messages.iter().enumerate().map(|(i, message)| (message.value.as_deref().expect("a value"), i)).collect();
    let outputs = job.outputs();
    for record in &outputs {
        let at = place[record.value.as_deref().expect("a value")];
        if seen.insert(at) {
            let before = last.insert(record.key.clone(), at);
            assert!(before < Some(at), "message {at} came first after {before:?} of its key");
        }
    }
    assert_eq!(seen.len(), messages.len(), "messages are missing");
    (outputs.len() - messages.len()) as u64
}

/// The sum of a transform's counter over its labels, where they contain this.
fn counted(host: &Host, name: &str, label: &str) -> u64 {
    let page = host.api().get("/metrics").success().body.clone();
    let own = page.lines().filter(|line| line.starts_with(name) && line.contains(label));
    own.map(|line| line.rsplit(' ').next().expect("a value").parse::<u64>().expect("a number")).sum()
}

/// The partitions that a host has: it tells their lag.
fn partitions_of(host: &Host) -> Vec<u64> {
    let page = host.api().get("/metrics").success().body.clone();
    let lags = page.lines().filter(|line| line.starts_with("sandbar_lag_records{"));
    let number = |line: &str| line.split("partition=\"").nth(1)?.split('"').next()?.parse().ok();
    lags.map(|line| number(line).expect("a partition")).collect()
}

fn is_in(key: Option<&[u8]>, partitions: &[u64]) -> bool {
    partitions.contains(&(sandbar_shop::partition_for(key.expect("each has a key"), PARTITIONS) as u64))
}

/// The number of messages of these partitions' keys in the output.
fn sent_of(job: &Job, partitions: &[u64]) -> usize {
    let outputs = job.outputs();
    let own = outputs.iter().filter(|record| is_in(record.key.as_deref(), partitions));
    own.map(|record| &record.value).collect::<HashSet<_>>().len()
}

#[track_caller]
fn assert_session_was_kept(host: &Host) {
    let page = host.api().get("/metrics").success().body.clone();
    assert_eq!(counted(host, "sandbar_transactions_aborted_total", "reason=\"restart\""), 0, "{page}");
}

#[test]
fn hosts_are_killed_and_stopped() {
    let mut seed = Seed::new("hosts_are_killed_and_stopped");
    const AHEAD: u64 = 5_000;
    const KILLS: u64 = 2;
    let job = job("alo-killed");
    let mut hosts = [(); 2].map(|()| Host::start(KafkaCluster::shared(), "alo-killed"));
    job.deploy(&hosts[0].api());
    let messages = numbered(60_000, KEYS);
    run(&job, &messages, AHEAD as i64, &mut seed, 4, |number| {
        let host = &mut hosts[number as usize % 2];
        if number < KILLS {
            host.kill9()
        } else {
            assert_eq!(host.sigterm_and_wait(), Some(0))
        }
        host.start_again();
        host.wait_ready();
    });
    let repeats = repeats(&job, &messages);
    println!("{repeats} records came twice");
    // A stop repeats nothing, and a kill nothing that was committed.
    assert!(repeats <= KILLS * AHEAD, "{repeats} records came twice");
}

/// One member is slow to join again. Another one's commit waits behind its own JoinGroup on their connection, until there is
/// a new generation: it is refused, as it names the one before. The member stays one, and has its partitions: its heartbeats
/// wait on that connection as well, so its session lasts longer than they do.
#[test]
fn commits_meet_rebalances() {
    let kafka = KafkaCluster::shared();
    let job = job("alo-rebalance").with(json!({"hosts": "all"}));
    // The longest that a host takes.
    let session = ["--session-timeout", "45s"];
    let slow = Host::start_at(kafka.proxied(), kafka, "alo-rebalance", &session);
    job.deploy(&slow.api());
    let messages = numbered(4 * ROUND, KEYS);
    let mut rounds = messages.chunks(ROUND);
    let mut next = || job.produce(rounds.next().expect("enough"));
    next();
    job.wait_through(wait::PATIENCE);
    let other = Host::start_with(kafka, "alo-rebalance", &session);
    job.wait_for_hosts(&slow.api(), 2);
    let mut third = Host::start_with(kafka, "alo-rebalance", &session);
    job.wait_for_hosts(&slow.api(), 3);
    let mut is_there = true;
    for round in 2..=4 {
        let own = partitions_of(&other);
        let wanted = messages[..round * ROUND].iter().filter(|message| is_in(message.key.as_deref(), &own)).count();
        let stalled = kafka.faults().stall(&[JOIN_GROUP], "sandbar.alo-rebalance.tests.copy");
        if is_there {
            assert_eq!(third.sigterm_and_wait(), Some(0))
        } else {
            third.start_again()
        }
        is_there = !is_there;
        stalled.wait_caught();
        next();
        wait::until("the other host has sent its records", wait::PATIENCE, || {
            let sent = sent_of(&job, &own);
            if sent == wanted { Ok(()) } else { Err(format!("{sent} of {wanted}")) }
        });
        // Their commit follows at once.
        std::thread::sleep(Duration::from_millis(500));
        drop(stalled);
        job.wait_through(wait::PATIENCE);
        // One that leaves before it has joined starts no rebalance.
        job.wait_for_hosts(&slow.api(), 2 + usize::from(is_there));
        println!("round {round} is over: partitions {own:?} sent {wanted}");
    }
    let repeats = repeats(&job, &messages);
    // On a busy machine a host is thrown out before its commit is refused: it counts later than the next owner commits.
    wait::until("each record that came twice is counted", wait::PATIENCE, || {
        let repeated: u64 = [&slow, &other].map(|host| counted(host, "sandbar_records_repeated_total", "")).iter().sum();
        let counts = format!("{repeats} records came twice, {repeated} were counted");
        if repeats <= repeated { Ok(()) } else { Err(counts) }
    });
    for host in [&slow, &other] {
        assert_session_was_kept(host);
    }
}

/// Another host has its partitions and has done its work, when it wants to commit.
#[test]
fn a_host_was_cut_off() {
    let kafka = KafkaCluster::shared();
    let job = job("alo-cut-off");
    let host = Host::start_proxied(kafka, "alo-cut-off");
    job.deploy(&host.api());
    let messages = numbered(8_000, KEYS);
    job.produce(&messages[..2_000]);
    job.wait_through(wait::PATIENCE);
    let _other = Host::start(kafka, "alo-cut-off");
    job.wait_for_hosts(&host.api(), 2);
    let heartbeats = kafka.faults().stall(&[HEARTBEAT], "sandbar.alo-cut-off.tests.copy");
    let stalled = kafka.faults().stall(&[PRODUCE], &job.output);
    job.produce(&messages[2_000..6_000]);
    stalled.wait_caught();
    job.wait_through(wait::PATIENCE);
    drop(stalled);
    drop(heartbeats);
    job.wait_for_hosts(&host.api(), 2);
    job.produce(&messages[6_000..]);
    job.wait_through(wait::PATIENCE);
    let repeats = repeats(&job, &messages);
    let repeated = wait::until("each record that came twice is counted", wait::PATIENCE, || {
        let repeated = counted(&host, "sandbar_records_repeated_total", "");
        let counts = format!("{repeats} records came twice, {repeated} were counted");
        if repeats <= repeated { Ok(repeated) } else { Err(counts) }
    });
    println!("{repeats} records came twice, {repeated} were counted");
    assert!(repeats <= 4_000, "{repeats} records came twice");
}
