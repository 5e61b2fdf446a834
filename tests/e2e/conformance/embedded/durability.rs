//! The embedded log under `kill -9`: a child process appends and copies until it is killed, again and again; afterwards
//! inputs, outputs and committed offsets agree exactly, and nothing that was acknowledged is gone.
//!
//! The child is this test binary, run again for one test with [`DIR_VARIABLE`] set.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use sandbar::embedded::{EmbeddedLog, Options};
use sandbar::model::names::TopicName;
use sandbar::model::spec::{Delivery, Start};
use sandbar::ports::{
    CommitOffset, Groups, Log, LogRecord, NewTopic, ProducerRecord, Rebalance, Session, SessionOptions, TopicPartition,
};

const DIR_VARIABLE: &str = "SANDBAR_TEST_DURABILITY_DIR";
const PARTITIONS: i32 = 4;
const KILLS: usize = 8;
const POLL: Duration = Duration::from_millis(20);

/// The lines that the child had acknowledged before it was killed.
#[derive(Default)]
struct Acknowledgements {
    appended: usize,
    committed: usize,
}

pub fn kill_and_check() {
    let mut random = std::time::UNIX_EPOCH.elapsed().map_or(1, |now| now.as_nanos() as u64) | 1;
    println!("seed {random}");
    let mut dice = |n: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % n
    };
    let dir = tempfile::tempdir().expect("a directory");
    for kill in 0..KILLS {
        let acknowledged = run_and_kill(dir.path(), 5 + dice(60) as usize, Duration::from_micros(dice(20_000)));
        let (inputs, outputs) = check(dir.path(), &acknowledged);
        println!("kill {kill}: {inputs} inputs, {outputs} outputs");
    }
}

/// Runs the child until it has acknowledged `lines` commits, and for `more` time, then kills it.
fn run_and_kill(dir: &Path, lines: usize, more: Duration) -> Acknowledgements {
    let mut child = Command::new(std::env::current_exe().expect("known"))
        .args(["conformance::embedded::durability_child", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR_VARIABLE, dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut acknowledged = Acknowledgements::default();
    let mut note = |line: String| match line.split_once(' ') {
        Some(("appended", n)) => acknowledged.appended = acknowledged.appended.max(n.parse().unwrap_or(0)),
        Some(("committed", n)) => acknowledged.committed = acknowledged.committed.max(n.parse().unwrap_or(0)),
        _ => {}
    };
    let mut output = BufReader::new(child.stdout.take().expect("is piped")).lines().map_while(Result::ok);
    output.by_ref().filter(|line| line.starts_with("committed")).take(lines).for_each(&mut note);
    // The moment is random on purpose, so this is not a wait for anything.
    std::thread::sleep(more);
    child.kill().expect("is killed");
    output.for_each(&mut note);
    let status = child.wait().expect("ends");
    assert!(!status.success(), "the child ended by itself: {status}");
    acknowledged
}

/// Opens the log that the killed child left, and compares everything with everything.
fn check(dir: &Path, acknowledged: &Acknowledgements) -> (usize, usize) {
    let log = EmbeddedLog::open(Options::new(dir)).expect("opens after a kill");
    let inputs: Vec<Vec<String>> = (0..PARTITIONS).map(|number| values(&log, "in", number)).collect();
    let mut numbers: Vec<usize> = inputs.iter().flatten().map(|value| value.parse().expect("a number")).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..numbers.len()), "inputs have a gap or a repeat");
    assert!(numbers.len() >= acknowledged.appended, "{} of {} appends", numbers.len(), acknowledged.appended);

    let mut outputs: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for number in 0..PARTITIONS {
        for value in values(&log, "out", number) {
            let (source, value) = value.split_once(' ').expect("written by the child");
            outputs.entry(source.parse().expect("a number")).or_default().push(value.to_owned());
        }
    }
    let total = outputs.values().map(Vec::len).sum();
    assert!(total >= acknowledged.committed, "{total} of {} committed records", acknowledged.committed);
    let mut session = open(&log);
    let Ok(Some(Rebalance::Assign(partitions))) = session.poll(POLL, 1, &mut |_, _| {}) else { panic!("no partitions") };
    for at in session.assign(&partitions).expect("assigns") {
        let number = at.partition.partition;
        // Keyed by source, a source's outputs lie in one partition: their order is the input's.
        let copied = outputs.remove(&number).unwrap_or_default();
        let offset = usize::try_from(at.next_offset).expect("positive");
        let copies = copied.len();
        let differs = copied.iter().zip(&inputs[number as usize]).position(|(a, b)| a != b);
        assert_eq!((copies, differs), (offset, None), "partition {number}: copies, the first that differs, and the offset");
        let metadata = if offset == 0 { String::new() } else { copied[offset - 1].clone() };
        assert_eq!(at.metadata, metadata, "partition {number}: the metadata is of the same transaction");
    }
    (numbers.len(), total)
}

fn values(log: &EmbeddedLog, topic: &str, partition: i32) -> Vec<String> {
    let topic = topic.parse().expect("valid");
    let (mut offset, end) = log.offsets(&topic, partition).unwrap_or_default();
    let mut values = Vec::new();
    while offset < end {
        let page = log.read(&topic, partition, offset, Duration::ZERO, 1 << 20).expect("reads");
        offset = page.next_offset;
        values.extend(
            page.records.into_iter().map(|record| String::from_utf8(record.value.expect("not null")).expect("text")),
        );
    }
    values
}

fn open(log: &EmbeddedLog) -> Box<dyn Session> {
    for name in ["in", "out"] {
        let name: TopicName = name.parse().expect("valid");
        log.create_topic(&NewTopic { name, partitions: PARTITIONS, compacted: false, retention: None }).expect("creates");
    }
    let options = SessionOptions {
        group: "copy".into(),
        transactional_id: "copy".into(),
        inputs: vec!["in".parse().expect("valid")],
        outputs: vec!["out".parse().expect("valid")],
        delivery: Delivery::ExactlyOnce,
        transaction_timeout: sandbar::model::transaction_time::TIMEOUT_MIN,
        start: Start::Earliest,
        begun: BTreeMap::new(),
        co_partitioned: false,
    };
    if log.group_offsets(&options.group, &options.inputs).expect("there").is_empty() {
        let first = log.start_offsets(&options.inputs[0], &options.start).expect("there");
        log.commit_for_group(&options.group, &first).expect("nobody is a member");
    }
    log.open(&options).expect("opens a session")
}

/// Appends and copies for ever, where it was asked to; returns at once otherwise.
pub fn child() {
    let Ok(dir) = std::env::var(DIR_VARIABLE) else { return };
    let log = Arc::new(EmbeddedLog::open(Options::new(dir)).expect("opens"));
    let mut session = open(&log);
    let appended: usize = (0..PARTITIONS).map(|number| values(&log, "in", number).len()).sum();
    let copied: usize = (0..PARTITIONS).map(|number| values(&log, "out", number).len()).sum();
    std::thread::spawn({
        let log = Arc::clone(&log);
        move || append_for_ever(&log, appended)
    });
    copy_for_ever(&mut *session, copied);
}

fn acknowledge(what: &str, n: usize) {
    // Straight to the descriptor: a line that was written must reach the parent.
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{what} {n}\n").as_bytes()).and_then(|()| out.flush()).expect("the parent reads");
}

fn append_for_ever(log: &EmbeddedLog, mut appended: usize) {
    let topic = "in".parse().expect("valid");
    loop {
        let batch = 1 + appended % 40;
        let record = |n: usize| {
            let key = Some(n.to_string().into_bytes());
            let value = Some(n.to_string().into_bytes());
            LogRecord { offset: 0, timestamp: -1, key, value, headers: Vec::new() }
        };
        log.append(&topic, None, (appended..appended + batch).map(record).collect()).expect("appends");
        appended += batch;
        acknowledge("appended", appended);
    }
}

fn copy_for_ever(session: &mut dyn Session, mut copied: usize) {
    loop {
        session.begin().expect("begins");
        let mut records: Vec<(TopicPartition, i64, Vec<u8>)> = Vec::new();
        let mut collect = |partition, record: &sandbar::model::batch::RecordRef<'_>| {
            records.push((partition, record.offset, record.value.unwrap_or_default().to_vec()));
        };
        let rebalance = session.poll(POLL, 100, &mut collect).expect("polls");
        if let Some(Rebalance::Assign(partitions)) = rebalance {
            session.abort().expect("aborts");
            session.assign(&partitions).expect("assigns");
            continue;
        }
        let mut offsets: BTreeMap<TopicPartition, CommitOffset> = BTreeMap::new();
        for (partition, offset, value) in &records {
            let key = partition.partition.to_string();
            let metadata = String::from_utf8(value.clone()).expect("text");
            let copy = format!("{key} {metadata}");
            let key = Some(key.as_bytes());
            let value = Some(copy.as_bytes());
            session
                .send(&ProducerRecord { topic: 0, partition: None, key, value, headers: &[], timestamp: -1 })
                .expect("sends");
            offsets.insert(*partition, CommitOffset { partition: *partition, next_offset: offset + 1, metadata });
        }
        session.commit(&offsets.into_values().collect::<Vec<_>>()).expect("commits");
        copied += records.len();
        acknowledge("committed", copied);
    }
}
