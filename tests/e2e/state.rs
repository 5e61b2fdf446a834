//! Keyed state on real Kafka. The output, the changelog and the local store are the fold of the committed input,
//! whatever is done to hosts, to their local stores and to the changelog.

use std::fs;
use std::path::{Path, PathBuf};

use sandbar_harness::{Host, KafkaCluster, Message, Seed, dirs, topics, wait};
use serde_json::json;

use crate::faults::run;
use crate::stateful::{Stateful, messages, numbers};

const RECORDS: usize = 60_000;
const AHEAD: i64 = 6_000;
const KEYS: u64 = 400;

#[test]
fn a_host_with_state_killed_again_and_again() {
    let mut seed = Seed::new("a_host_with_state_killed_again_and_again");
    let stateful = Stateful::new("state-killed", 4, json!({"mode": "fold"}), json!({}));
    let mut host = Host::start(KafkaCluster::shared(), "state-killed");
    stateful.job.deploy(&host.api());
    let messages = messages(&mut seed, RECORDS, KEYS);
    run(&stateful.job, &messages, AHEAD, &mut seed, 4, |_| {
        host.kill9();
        host.start_again();
    });
    stateful.probe(KEYS);
    stateful.assert_exact();
}

/// State moves with its partition: a host that gets one back has an older copy of it.
#[test]
fn state_moves_between_two_hosts() {
    let mut seed = Seed::new("state_moves_between_two_hosts");
    let stateful = Stateful::new("state-pair", 4, json!({"mode": "fold"}), json!({}));
    let mut hosts = [(); 2].map(|()| Host::start(KafkaCluster::shared(), "state-pair"));
    stateful.job.deploy(&hosts[0].api());
    let messages = messages(&mut seed, RECORDS, KEYS);
    run(&stateful.job, &messages, AHEAD, &mut seed, 5, |number| match number {
        0 => assert_eq!(hosts[0].sigterm_and_wait(), Some(0)),
        1 => hosts[0].start_again(),
        2 => hosts[1].kill9(),
        3 => hosts[1].start_again(),
        _ => {
            hosts[0].kill9();
            hosts[0].start_again();
        }
    });
    stateful.probe(KEYS);
    stateful.assert_exact();
}

/// Damage to a local store between two lives of its host: folder, an older copy of it, randomness.
type Tamper = fn(&Path, &Path, &mut Seed);

/// A local store is a cache: damage to it is found, or does no harm.
#[test]
fn a_local_store_that_was_tampered_with() {
    const TAMPERS: [(&str, Tamper); 7] = [
        ("is as it was, and copied", |state, older, _| copy(state, older)),
        ("has bytes flipped in a file", |state, _, seed| flip(&files(state), 1, seed)),
        ("is an older copy", |state, older, _| {
            fs::remove_dir_all(state).expect("it is there");
            copy(older, state);
        }),
        ("has bytes flipped in each file", |state, _, seed| flip(&files(state), usize::MAX, seed)),
        ("has files cut off", |state, _, _| files(state).iter().for_each(|file| cut(file))),
        ("is empty", |state, _, _| fs::remove_dir_all(state).expect("it is there")),
        ("has files of an older copy", |state, older, _| copy(older, state)),
    ];
    const KEYS: u64 = 2_000;
    let mut seed = Seed::new("a_local_store_that_was_tampered_with");
    // There are enough records that they do not all lie in memory, or in one file.
    let stateful = Stateful::new("state-local", 1, json!({"mode": "fold", "bytes": 1500}), json!({}));
    let mut host = Host::start(KafkaCluster::shared(), "state-local");
    stateful.job.deploy(&host.api());
    stateful.job.produce(&messages(&mut seed, 20_000, KEYS));
    stateful.job.wait_through(wait::PATIENCE);
    let older = dirs::fresh("state-older");
    for (what, tamper) in TAMPERS {
        // A host that is killed leaves less on the disk.
        assert_eq!(host.sigterm_and_wait(), Some(0));
        tamper(&host.state_dir(), &older, &mut seed);
        println!("the local store {what}");
        host.start_again();
        stateful.job.produce(&messages(&mut seed, 3_000, KEYS));
        stateful.probe(KEYS);
    }
    stateful.assert_exact();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").path()) {
        if entry.is_dir() { found.extend(files(&entry)) } else { found.push(entry) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).expect("below it"));
        fs::create_dir_all(target.parent().expect("a folder")).expect("writable");
        fs::copy(&file, &target).expect("writable");
    }
}

/// Flips some bytes in `count` of the files, the largest first.
fn flip(files: &[PathBuf], count: usize, seed: &mut Seed) {
    let mut all: Vec<(PathBuf, Vec<u8>)> =
        files.iter().map(|file| (file.clone(), fs::read(file).expect("readable"))).collect();
    all.retain(|(_, bytes)| !bytes.is_empty());
    all.sort_by_key(|(_, bytes)| std::cmp::Reverse(bytes.len()));
    for (file, mut bytes) in all.into_iter().take(count) {
        let flips = 1 + bytes.len() / 20_000;
        for _ in 0..flips {
            let at = seed.within(0..bytes.len() as u64) as usize;
            bytes[at] ^= 1 << seed.within(0..8);
        }
        println!("{flips} bits of {} of {} bytes", file.display(), bytes.len());
        fs::write(file, bytes).expect("writable");
    }
}

fn cut(file: &Path) {
    let half = fs::metadata(file).expect("it is there").len() / 2;
    fs::File::options().write(true).open(file).expect("writable").set_len(half).expect("writable");
}

/// Values that were overwritten, and keys that were deleted, are gone from the changelog; the rest still is the state.
/// A local copy from before must not be trusted: it would keep the deleted keys.
#[test]
fn a_changelog_whose_older_part_was_compacted() {
    const KEYS: u64 = 100;
    let mut seed = Seed::new("a_changelog_whose_older_part_was_compacted");
    let (kafka, stateful) =
        (KafkaCluster::shared(), Stateful::new("state-compacted", 2, json!({"mode": "fold"}), json!({})));
    // The topic is compacted as soon and as much as Kafka can.
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "300"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("max.compaction.lag.ms", "500"),
        ("delete.retention.ms", "0"),
    ];
    topics::create_with(kafka, &[&stateful.changelog], 2, &settings);
    let mut host = Host::start(kafka, "state-compacted");
    stateful.job.deploy(&host.api());
    stateful.job.produce(&messages(&mut seed, 5_000, KEYS));
    stateful.probe(KEYS);
    assert_eq!(host.sigterm_and_wait(), Some(0));
    let older = dirs::fresh("state-before-compaction");
    copy(&host.state_dir(), &older);
    host.start_again();
    let deleted: Vec<Message> =
        (0..KEYS / 2).map(|key| Message { value: None, ..Message::new(format!("key-{key}"), "") }).collect();
    stateful.job.produce(&deleted);
    let is_deleted = |key: &str| deleted.iter().any(|message| message.key.as_deref() == Some(key.as_bytes()));
    // A segment ends when there is something for the next one.
    wait::until("neither those keys nor their tombstones are in the changelog", wait::PATIENCE, || {
        stateful.job.produce(&(KEYS / 2..KEYS).map(|key| Message::new(format!("key-{key}"), "1")).collect::<Vec<_>>());
        stateful.job.wait_through(wait::PATIENCE);
        let left = topics::read_committed(kafka, &stateful.changelog);
        let of_them = left.iter().filter(|record| is_deleted(&record.key_text())).count();
        if of_them == 0 { Ok(()) } else { Err(format!("{of_them} of {} records are of them", left.len())) }
    });
    for copied in [Some(&older), None] {
        assert_eq!(host.sigterm_and_wait(), Some(0));
        fs::remove_dir_all(host.state_dir()).expect("it is there");
        copied.iter().for_each(|older| copy(older, &host.state_dir()));
        host.start_again();
        stateful.probe(KEYS);
        stateful.assert_exact();
    }
}

/// Partitions of one number of both inputs are in the same hands: a key of either is counted in the same entry.
#[test]
fn two_inputs_share_a_store() {
    const KEYS: u64 = 50;
    let mut seed = Seed::new("two_inputs_share_a_store");
    let kafka = KafkaCluster::shared();
    let other = "state-shared.other";
    topics::create(kafka, &[other], 4);
    let mut stateful = Stateful::new("state-shared", 4, json!({"mode": "fold"}), json!({}));
    let inputs = json!([stateful.job.input, other]);
    stateful.job = stateful.job.with(json!({ "inputs": inputs }));
    let mut hosts = [(); 2].map(|()| Host::start(kafka, "state-shared"));
    stateful.job.deploy(&hosts[0].api());
    let mut number = || Message::new(format!("key-{}", seed.within(0..KEYS)), seed.within(0..100).to_string());
    let own: Vec<Message> = (0..RECORDS).map(|_| number()).collect();
    let others: Vec<Message> = (0..20_000).map(|_| number()).collect();
    let feed = sandbar_harness::Producer::new(kafka);
    others[..10_000].iter().for_each(|message| feed.send(other, message));
    run(&stateful.job, &own, AHEAD, &mut seed, 3, |fault| match fault {
        0 => assert_eq!(hosts[1].sigterm_and_wait(), Some(0)),
        1 => hosts[1].start_again(),
        _ => {
            others[10_000..].iter().for_each(|message| feed.send(other, message));
            hosts[0].kill9();
            hosts[0].start_again();
        }
    });
    feed.flush();
    sandbar_harness::Progress::new(kafka, "sandbar.state-shared.tests.state-shared", other).wait_through(wait::PATIENCE);

    // The order in which the inputs meet is open, but each record is counted once, on top of the state before.
    let mut expected = std::collections::BTreeMap::new();
    for message in own.iter().chain(&others) {
        let (count, sum): &mut (i64, i64) = expected.entry(text(message.key.as_deref())).or_default();
        (*count, *sum) = (*count + 1, *sum + text(message.value.as_deref()).parse::<i64>().expect("a number"));
    }
    let mut seen = std::collections::BTreeMap::new();
    for record in stateful.job.outputs() {
        let (count, sum) = numbers(&record.value_text());
        let before = seen.insert(record.key_text(), (count, sum)).map_or(0, |(count, _)| count);
        assert_eq!(count, before + 1, "{} after {before}", record.key_text());
    }
    assert_eq!(seen, expected);
    let changelog: std::collections::BTreeMap<_, _> =
        stateful.fold_changelog().into_iter().flat_map(|(sums, _)| sums).collect();
    assert_eq!(changelog, expected);
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}
