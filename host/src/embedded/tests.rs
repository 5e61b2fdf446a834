//! Tests of the embedded log's particulars; the conformance suite has the duties of every log.

use std::collections::BTreeMap;

use std::path::Path;
use std::time::Duration;

use super::block::Entry;
use super::{EmbeddedLog, Options, cleanup, commit};
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::model::spec::{Delivery, Start};
use crate::model::units::Timestamp;
use crate::ports::{
    CommitOffset, ExclusiveError, Groups, Log, LogError, LogRecord, NewTopic, NoPlace, PartitionWrite, ProducerRecord,
    Rebalance, Session, SessionError, SessionOptions, TopicPartition, UnplacedPartition,
};

const T0: TopicPartition = TopicPartition { input: 0, partition: 0 };

fn name(raw: &str) -> TopicName {
    raw.parse().expect("valid")
}

fn open(dir: &Path) -> EmbeddedLog {
    EmbeddedLog::open(Options::new(dir)).expect("opens")
}

fn topic(log: &EmbeddedLog, raw: &str, partitions: i32, compacted: bool) -> TopicName {
    log.create_topic(&NewTopic { name: name(raw), partitions, compacted, retention: None }).expect("is created");
    name(raw)
}

fn record(key: &str, value: Option<&[u8]>) -> LogRecord {
    LogRecord {
        offset: 0,
        timestamp: 1,
        key: Some(key.as_bytes().to_vec()),
        value: value.map(<[u8]>::to_vec),
        headers: Vec::new(),
    }
}

fn read_all(log: &EmbeddedLog, topic: &TopicName) -> Vec<LogRecord> {
    let (mut offset, end) = log.offsets(topic, 0).expect("there");
    let mut records = Vec::new();
    while offset < end {
        let page = log.read(topic, 0, offset, Duration::ZERO, 100_000).expect("reads");
        offset = page.next_offset;
        records.extend(page.records);
    }
    records
}

fn session(log: &EmbeddedLog, id: &str, start: Start) -> Box<dyn Session> {
    let options = SessionOptions {
        group: "g".into(),
        transactional_id: id.into(),
        inputs: vec![name("in")],
        outputs: vec![name("out")],
        delivery: Delivery::ExactlyOnce,
        transaction_timeout: crate::model::transaction_time::TIMEOUT_MIN,
        start,
        begun: BTreeMap::new(),
        co_partitioned: false,
    };
    begin(log, &options);
    log.open(&options).expect("opens")
}

/// Gives the partitions of a group without offsets their first ones.
fn begin(log: &EmbeddedLog, options: &SessionOptions) {
    if log.group_offsets(&options.group, &options.inputs).expect("reads").is_empty() {
        let offsets = log.start_offsets(&options.inputs[0], &options.start).expect("reads");
        log.commit_for_group(&options.group, &offsets).expect("commits");
    }
}

fn assigned(session: &mut dyn Session) -> Vec<CommitOffset> {
    match session.poll(Duration::ZERO, 1, &mut |_, _| {}).expect("polls") {
        Some(Rebalance::Assign(partitions)) => session.assign(&partitions).expect("assigns"),
        other => panic!("{other:?}"),
    }
}

fn in_and_out(log: &EmbeddedLog, partitions: i32) {
    topic(log, "in", partitions, false);
    topic(log, "out", 1, false);
}

#[test]
fn a_second_process_is_refused_clearly() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path().join("made/if/missing");
    let _log = open(&dir);
    let Err(error) = EmbeddedLog::open(Options::new(&dir)) else { panic!("opened twice") };
    assert!(error.to_string().contains("in use by another process"), "{error}");
}

#[test]
fn everything_is_there_after_reopening() {
    let dir = tempfile::tempdir().expect("a directory");
    {
        let log = open(dir.path());
        in_and_out(&log, 1);
        log.append(&name("in"), None, vec![record("a", Some(b"1")), record("b", None)]).expect("appends");
        let mut session = session(&log, "tx", Start::Earliest);
        assigned(&mut *session);
        session.begin().expect("begins");
        let record = ProducerRecord { topic: 0, partition: None, key: None, value: Some(b"x"), headers: &[], timestamp: 5 };
        session.send(&record).expect("sends");
        let metadata = "rev 3".to_owned();
        session.commit(&[CommitOffset { partition: T0, next_offset: 2, metadata }]).expect("commits");
        session.begin().expect("begins");
        session.send(&record).expect("sends");
    }
    let log = open(dir.path());
    assert_eq!(read_all(&log, &name("in")).len(), 2);
    assert_eq!(read_all(&log, &name("out")).len(), 1, "the open transaction is gone");
    let mut session = session(&log, "tx", Start::Latest);
    assert_eq!(assigned(&mut *session), [CommitOffset { partition: T0, next_offset: 2, metadata: "rev 3".into() }]);
}

#[test]
fn retention_bounds_the_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let limit = 8 * 1024 * 1024;
    let log = EmbeddedLog::open(Options { retention_bytes: limit, ..Options::new(dir.path()) }).expect("opens");
    let topic = topic(&log, "t", 1, false);
    // Bytes that do not compress, or the bound would prove nothing.
    let mut random = 1u64;
    let mut word = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random ^ (random >> 29)).to_le_bytes()
    };
    for _ in 0..400 {
        let mut value = || (0..125).flat_map(|_| word()).collect::<Vec<u8>>();
        let batch = (0..1000).map(|i| record(&format!("{i}"), Some(&value()))).collect();
        log.append(&topic, None, batch).expect("appends");
    }
    let (start, end) = log.offsets(&topic, 0).expect("there");
    assert_eq!(end, 400_000);
    let records = read_all(&log, &topic);
    assert_eq!(records.len() as i64, end - start);
    assert_eq!(records[0].offset, start, "the first that is left is read first");
    assert!((5_000..8_500).contains(&(end - start)), "{}", end - start);
    let early = log.read(&topic, 0, 0, Duration::ZERO, 1).expect("reads");
    assert_eq!(early.records[0].offset, start, "an offset that is gone begins at the first that is left");
    let disk = log.disk_bytes().expect("known");
    assert!(disk < 300 << 20, "{disk} bytes on disk after 400 MB were written");
}

/// The session says that its next record is gone, and the next session names the gap.
#[test]
fn a_session_is_overtaken_by_retention() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    in_and_out(&log, 1);
    for i in 0..3 {
        log.append(&name("in"), None, vec![record(&i.to_string(), Some(b"v"))]).expect("appends");
    }
    let mut session_before = session(&log, "tx", Start::Earliest);
    assert_eq!(assigned(&mut *session_before).len(), 1);
    assert_eq!(session_before.interrupted(), None);
    let later = Timestamp(Timestamp::now().0 + 8 * 24 * 3600 * 1000);
    cleanup::all(&log.broker, &mut log.broker.writer(), later).expect("cleans up");
    let polled = session_before.poll(Duration::ZERO, 10, &mut |_, record| panic!("{} is behind a gap", record.offset));
    assert_eq!(polled.expect("polls"), None);
    assert!(session_before.interrupted().is_some());
    drop(session_before);
    let mut session = session(&log, "tx", Start::Earliest);
    assert_eq!(assigned(&mut *session), []);
    let reason = NoPlace::Outside { next_offset: 0, first: 2, end: 3 };
    assert_eq!(session.unplaced(), [UnplacedPartition { partition: T0, reason }]);
}

/// Retention deletes records between two reads of a session, and the session notices it by a gap.
#[test]
fn records_deleted_behind_those_that_were_read_ahead_are_missed() {
    const VALUE_BYTES: usize = 100_000;
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    in_and_out(&log, 1);
    // More than a session reads ahead.
    for i in 0..20 {
        log.append(&name("in"), None, vec![record(&i.to_string(), Some(&[b'v'; VALUE_BYTES]))]).expect("appends");
    }
    let mut session = session(&log, "tx", Start::Earliest);
    assert_eq!(assigned(&mut *session).len(), 1);
    let mut read = Vec::new();
    let polled = session.poll(Duration::ZERO, 1, &mut |_, record| read.push(record.offset));
    assert_eq!((polled.expect("polls"), &read[..]), (None, &[0][..]));
    let later = Timestamp(Timestamp::now().0 + 8 * 24 * 3600 * 1000);
    cleanup::all(&log.broker, &mut log.broker.writer(), later).expect("cleans up");
    while session.interrupted().is_none() {
        session.poll(Duration::ZERO, 10, &mut |_, record| read.push(record.offset)).expect("polls");
        assert!(read.len() < 20, "{read:?}");
    }
    let last = *read.last().expect("one at least");
    assert!(last < 19 && read == (0..=last).collect::<Vec<_>>(), "what was read ahead, and nothing behind a gap: {read:?}");
}

#[test]
fn old_records_go_and_the_newest_block_stays() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    let topic = topic(&log, "t", 1, false);
    for i in 0..3 {
        log.append(&topic, None, vec![record(&i.to_string(), Some(b"v"))]).expect("appends");
    }
    let later = Timestamp(Timestamp::now().0 + 8 * 24 * 3600 * 1000);
    cleanup::all(&log.broker, &mut log.broker.writer(), later).expect("cleans up");
    assert_eq!(log.offsets(&topic, 0).expect("there"), (2, 3));
}

#[test]
fn a_compacted_topic_keeps_the_last_value_of_each_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    let topic = topic(&log, "t", 1, true);
    let without_key = LogRecord { key: None, ..record("", None) };
    assert!(matches!(log.append(&topic, None, vec![without_key]), Err(LogError::Refused(_))));
    let value = vec![b'x'; 500];
    // 12 MB on 100 keys: compacted over and over.
    for round in 0..240 {
        let value = |i: usize| [round.to_string().as_bytes(), b" ", i.to_string().as_bytes(), &value].concat();
        let batch = (0..100).map(|i| record(&format!("k{}", i * 7 % 100), Some(&value(i)))).collect();
        log.append(&topic, None, batch).expect("appends");
    }
    log.append(&topic, None, vec![record("k0", None)]).expect("appends");
    let (start, end) = log.offsets(&topic, 0).expect("there");
    assert_eq!((start, end), (0, 24_001), "offsets do not move");
    let id = log.broker.find_partition(&topic, 0).expect("there");
    let extent = log.broker.metadata().extent(id);
    assert!(extent.bytes < 3 * 1024 * 1024, "{extent:?}");

    let compact = |now| cleanup::compact(&log.broker, &mut log.broker.writer(), id, now).expect("compacts");
    compact(Timestamp::now());
    let records = read_all(&log, &topic);
    assert_eq!(records.len(), 100);
    assert!(records.windows(2).all(|pair| pair[0].offset < pair[1].offset));
    assert!(records[..99].iter().all(|record| record.value.as_ref().expect("kept").starts_with(b"239 ")));
    assert_eq!((records[99].offset, &records[99].value), (24_000, &None), "the tombstone is kept for a while");

    compact(Timestamp(Timestamp::now().0 + 25 * 3600 * 1000));
    let records = read_all(&log, &topic);
    assert_eq!(records.len(), 99);
    let counted: u64 = log.broker.read(id, 0, end, usize::MAX).expect("reads").iter().map(|b| b.bytes.len() as u64).sum();
    let extent = log.broker.metadata().extent(id);
    assert_eq!((extent.bytes, extent.clean_bytes), (counted, counted), "the books are right");
    let page = log.read(&topic, 0, 24_000, Duration::ZERO, 1).expect("reads");
    assert_eq!((page.records.len(), page.next_offset), (0, 24_001), "a gap at the end is passed over");
    drop(log);
    assert_eq!(read_all(&open(dir.path()), &topic), records);
}

#[test]
fn a_transaction_over_its_limit_is_refused_and_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = EmbeddedLog::open(Options { transaction_bytes_max: 10_000, ..Options::new(dir.path()) }).expect("opens");
    in_and_out(&log, 1);
    let mut session = session(&log, "tx", Start::Latest);
    session.begin().expect("begins");
    let record =
        ProducerRecord { topic: 0, partition: None, key: Some(b"k"), value: Some(&[0; 4000]), headers: &[], timestamp: -1 };
    assert!(session.has_room());
    session.send(&record).expect("fits");
    session.send(&record).expect("fits");
    assert!(!session.has_room());
    let Err(SessionError::TooLarge(message)) = session.send(&record) else { panic!("fitted") };
    assert!(message.contains("10000 bytes (transaction_bytes_max)"), "{message}");
    session.abort().expect("aborts");
    session.begin().expect("begins");
    session.send(&record).expect("fits again");
}

#[test]
fn an_append_over_the_limit_becomes_several() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = EmbeddedLog::open(Options { transaction_bytes_max: 10_000, ..Options::new(dir.path()) }).expect("opens");
    let topic = topic(&log, "t", 1, false);
    let records: Vec<LogRecord> = (0..20).map(|n| record(&format!("k{n}"), Some(&[0; 3000]))).collect();
    log.append(&topic, Some(0), records.clone()).expect("appended");
    let keys = |records: &[LogRecord]| records.iter().map(|record| record.key.clone()).collect::<Vec<_>>();
    assert_eq!(keys(&read_all(&log, &topic)), keys(&records));
    // Records that can only be written as a whole are refused, as is a record that is too large alone.
    let exclusive = log.exclusive("one").expect("opens");
    let whole = [PartitionWrite { topic: topic.clone(), partition: 0, records }];
    assert!(matches!(exclusive.commit(&whole), Err(ExclusiveError::Log(LogError::Refused(_)))));
    let large = vec![record("a", None), record("k", Some(&[0; 20_000])), record("b", None)];
    assert!(matches!(log.append(&topic, None, large), Err(LogError::Refused(_))));
    log.append(&topic, None, Vec::new()).expect("nothing is appended");
}

#[test]
fn a_silent_member_is_evicted_and_told_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let poll_interval_max = Duration::from_millis(500);
    let log = EmbeddedLog::open(Options { poll_interval_max, ..Options::new(dir.path()) }).expect("opens");
    in_and_out(&log, 1);
    let mut silent = session(&log, "a", Start::Latest);
    assert_eq!(assigned(&mut *silent).len(), 1);
    silent.begin().expect("begins");
    let mut other = session(&log, "b", Start::Latest);
    // Waits for exactly as long as the silent one is given.
    let change = other.poll(Duration::from_secs(60), 1, &mut |_, _| {}).expect("polls");
    assert_eq!(change, Some(Rebalance::Assign(vec![T0])));
    assert_eq!(other.assign(&[T0]).expect("assigns").len(), 1);
    let offset = CommitOffset { partition: T0, next_offset: 0, metadata: String::new() };
    assert!(matches!(silent.commit(&[offset]), Err(SessionError::Withheld { code: Code::Fenced, .. })));
    silent.abort().expect("aborts");
    let change = silent.poll(Duration::ZERO, 1, &mut |_, _| {}).expect("polls");
    assert_eq!(change, Some(Rebalance::Lost(vec![T0])));
    silent.unassign(&[T0]).expect("unassigns");
    let change = silent.poll(Duration::ZERO, 1, &mut |_, _| {}).expect("joins again");
    assert!(!matches!(change, Some(Rebalance::Lost(_))), "{change:?}");
}

#[test]
fn polling_is_fair_and_tells_where_partitions_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    in_and_out(&log, 3);
    for number in 0..3 {
        log.append(&name("in"), Some(number), vec![record("k", Some(b"v")); 1000]).expect("appends");
    }
    let mut session = session(&log, "tx", Start::Earliest);
    assigned(&mut *session);
    let mut counts = [0; 3];
    session.poll(Duration::ZERO, 300, &mut |partition, _| counts[partition.partition as usize] += 1).expect("polls");
    assert_eq!(counts, [100; 3]);
    session.pause(T0).expect("pauses");
    session.poll(Duration::ZERO, 10_000, &mut |partition, _| counts[partition.partition as usize] += 1).expect("polls");
    assert_eq!(counts, [100, 1000, 1000]);
    let end = |number| (TopicPartition { input: 0, partition: number }, 1000);
    assert_eq!(session.consumed_ends(), [end(1), end(2)]);
    session.resume(T0).expect("resumes");
    session.poll(Duration::ZERO, 10_000, &mut |partition, _| counts[partition.partition as usize] += 1).expect("polls");
    assert_eq!((counts, session.consumed_ends()), ([1000; 3], &[end(0)][..]));
    session.poll(Duration::ZERO, 10, &mut |_, _| panic!("nothing is left")).expect("polls");
    assert_eq!(session.consumed_ends(), []);
}

/// Cuts the journal where a power cut might have: a whole number of transactions is left.
#[test]
fn a_torn_journal_ends_between_two_transactions() {
    for cut_bytes in [1u64, 7, 100, 1_000, 5_000] {
        let dir = tempfile::tempdir().expect("a directory");
        let copy = tempfile::tempdir().expect("a directory");
        let log = open(dir.path());
        let topic = topic(&log, "t", 2, false);
        for i in 0..50 {
            let batch = (0..4).map(|_| record(&format!("{i}"), Some(&[b'v'; 50]))).collect::<Vec<_>>();
            let both = [0, 1].map(|number| (number, batch.clone()));
            // Both partitions in one transaction: by hand, as a session would.
            let mut outputs = super::outputs::Outputs::new(&log.broker.options);
            outputs.add_topic(&topic, &log.broker.find(&topic).expect("there"), 0);
            for (number, records) in &both {
                for record in records {
                    let entry =
                        Entry { timestamp: 0, key: record.key.as_deref(), value: record.value.as_deref(), headers: &[] };
                    outputs.push(0, Some(*number), &entry).expect("fits");
                }
            }
            commit::commit(&log.broker, &mut log.broker.writer(), &mut outputs, &[]).expect("writes");
        }
        // A copy of the files as they are, as a killed process leaves them.
        copy_dir(dir.path(), copy.path());
        let journal = std::fs::read_dir(copy.path())
            .expect("lists")
            .map(|entry| entry.expect("lists").path())
            .find(|path| path.extension().is_some_and(|extension| extension == "jnl"))
            .expect("a journal");
        let file = std::fs::OpenOptions::new().write(true).open(&journal).expect("opens");
        let used = used_bytes(&journal);
        file.set_len(used - cut_bytes).expect("cuts");
        let torn = open(copy.path());
        let ends = [0, 1].map(|number| torn.offsets(&topic, number).expect("there").1);
        assert_eq!(ends[0], ends[1], "cut by {cut_bytes}");
        assert!(ends[0] % 4 == 0 && ends[0] < 200 && ends[0] > 100, "cut by {cut_bytes}: {ends:?}");
        assert_eq!(read_all(&torn, &topic).len() as i64, ends[0]);
        torn.append(&topic, Some(0), vec![record("k", None)]).expect("goes on");
    }
}

/// Journals are allocated ahead: the zeros at the end are not used.
fn used_bytes(path: &Path) -> u64 {
    let bytes = std::fs::read(path).expect("reads");
    bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last as u64 + 1)
}

fn copy_dir(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            std::fs::create_dir_all(&target).expect("creates");
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copies");
        }
    }
}
