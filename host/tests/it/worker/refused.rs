//! A worker on a log that refuses records for their content: each goes the way of the policy, and no other does.

use std::sync::Arc;
use std::time::Duration;

use sandbar::embedded::Options;
use sandbar::model::batch::{Batch, Failure, Output, RecordRef};
use sandbar::model::names::TopicName;
use sandbar::model::status::State;
use sandbar::model::units::Timestamp;
use sandbar::ports::{
    Call, Cause, CommitOffset, Guest, GuestError, GuestFactory, LogRecord, ProducerRecord, Rebalance, Rejection, Session,
    SessionError, TopicPartition,
};
use sandbar::state::KeyedState;
use sandbar::task::{RunnableRevision, Settings};
use sandbar::telemetry::observer::Observers;
use sandbar::worker::Swap;
use serde_json::{Value, json};

use super::bench::{Bench, Setup};

const RECORD_BYTES: usize = 1000;
const HOUR_MS: i64 = 60 * 60 * 1000;

/// Forwards every record, twice where its value begins with "twice", the second time without a key, and with another
/// timestamp where the value is "at" and a number; fails those that begin with "fail".
struct Forward;

impl Guest for Forward {
    fn process(&mut self, batch: &Batch, _: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
        let mut output = Output::default();
        let mut header = 0;
        for row in 0..batch.len() {
            let value = batch.value(row).unwrap_or_default();
            let headers = batch.header_counts.get(row).map_or(0, |count| *count as usize);
            let spans = &batch.headers[4 * header..4 * (header + headers)];
            header += headers;
            if value.starts_with(b"fail") {
                output.failures.push(Failure { row: row as u32, message: "as asked".into() });
                continue;
            }
            let number = |at| std::str::from_utf8(at).expect("text").parse::<i64>().expect("a number");
            let timestamp = value.strip_prefix(b"at ").map_or(batch.timestamps[row], number);
            let copies = if value.starts_with(b"twice") { 2 } else { 1 };
            for copy in 0..copies {
                output.targets.push(0);
                output.sources.push(row as u32);
                output.timestamps.push(timestamp);
                let key = &batch.keys[2 * row..2 * row + 2];
                output.keys.extend(if copy == 0 { key } else { &[u32::MAX; 2] });
                output.values.extend(&batch.values[2 * row..2 * row + 2]);
                output.header_counts.push(headers as u32);
                output.headers.extend(spans);
            }
        }
        Ok(output)
    }

    fn tick(&mut self, _: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
        // One record, with a null key.
        let nulls = vec![u32::MAX; 2];
        Ok(Output { targets: vec![0], sources: vec![0], keys: nulls.clone(), values: nulls, ..Output::default() })
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

struct Forwards;

impl GuestFactory for Forwards {
    fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
        Ok(Box::new(Forward))
    }
}

fn setup(spec: &Value, compacted: [bool; 2]) -> Setup<'_> {
    Setup {
        spec,
        options: |options| Options { record_bytes_max: RECORD_BYTES, ..options },
        compacted,
        record_bytes_max: usize::MAX,
        guests: Arc::new(Forwards),
        observers: Observers::default(),
    }
}

/// A bench with the default spec. `compacted` is true for topics that are: output, dead letters.
fn bench(compacted: [bool; 2]) -> Bench {
    Bench::new(setup(&json!({}), compacted))
}

fn record(key: Option<&str>, value: impl Into<Vec<u8>>) -> LogRecord {
    let key = key.map(|key| key.as_bytes().to_vec());
    LogRecord { offset: 0, timestamp: 1, key, value: Some(value.into()), headers: Vec::new() }
}

fn header<'a>(record: &'a LogRecord, name: &str) -> Option<&'a str> {
    let mut found = record.headers.iter().filter(|(own, _)| own == &format!("sandbar.error.{name}"));
    let value = found.next()?.1.as_deref().expect("a value");
    assert!(found.next().is_none(), "{name} is there twice");
    Some(std::str::from_utf8(value).expect("text"))
}

fn values(records: &[LogRecord]) -> Vec<&[u8]> {
    records.iter().map(|record| record.value.as_deref().unwrap_or_default()).collect()
}

/// Records go in; those at the offsets of `refused` become dead letters (or are skipped) with their code and mended parts,
/// in order, and the others come out as they were.
#[track_caller]
fn check(spec: Value, compacted: [bool; 2], records: &[LogRecord], refused: &[(usize, &str, Option<&str>)]) {
    let mut bench = Bench::new(setup(&spec, compacted));
    bench.append(records);
    bench.run_until(|bench| bench.committed() == Some(records.len() as i64));
    let is_refused = |offset: &usize| refused.iter().any(|(other, ..)| other == offset);
    let passed: Vec<LogRecord> = (0..records.len()).filter(|at| !is_refused(at)).map(|at| records[at].clone()).collect();
    let outputs = bench.read(&bench.output);
    assert_eq!(values(&outputs), values(&passed));
    for (output, record) in outputs.iter().zip(&passed) {
        assert_eq!((&output.key, &output.headers, output.timestamp), (&record.key, &record.headers, record.timestamp));
    }
    if bench.revision.settings.dead_letters.is_none() {
        return;
    }
    let letters = bench.read(&bench.dead);
    let told = |letter: &LogRecord| {
        let offset = header(letter, "offset").expect("an offset").parse::<usize>().expect("a number");
        (offset, header(letter, "code").expect("a code").to_owned(), header(letter, "mended").map(str::to_owned))
    };
    let expected: Vec<_> =
        refused.iter().map(|(at, code, mended)| (*at, (*code).to_owned(), mended.map(str::to_owned))).collect();
    assert_eq!(letters.iter().map(told).collect::<Vec<_>>(), expected);
    for (letter, (at, _, mended)) in letters.iter().zip(refused) {
        let record = &records[*at];
        assert_eq!(letter.value, record.value);
        match mended {
            Some("key") => assert_eq!(letter.key.as_deref(), Some(format!("in/0/{at}").as_bytes())),
            _ => assert_eq!(letter.key, record.key),
        }
        match mended {
            Some("timestamp") => assert_eq!(header(letter, "timestamp"), Some(record.timestamp.to_string().as_str())),
            _ => assert_eq!(letter.timestamp, record.timestamp),
        }
    }
    // A tick may have failed since, or not.
    if spec["tick"].is_null() {
        let error = bench.manager.status().error;
        assert_eq!(error.map(|error| error.code.to_string()), refused.last().map(|(_, code, _)| (*code).to_owned()));
    }
}

fn good(count: usize) -> Vec<LogRecord> {
    (0..count).map(|i| record(Some("k"), format!("good {i}"))).collect()
}

#[test]
fn a_null_key_in_a_compacted_topic_is_its_records_failure() {
    let mut records = good(1000);
    records[417] = record(None, "null");
    let one = [(417, "E109", None)];
    let none = [];
    check(json!({}), [true, false], &records, &one);
    check(json!({"on_error": {"then": "skip"}}), [true, false], &records, &one);
    check(json!({"on_error": {"retry": {"attempts": 2, "backoff": "1ms"}}}), [true, false], &records, &one);
    check(json!({"delivery": "at-least-once"}), [true, false], &records, &one);
    check(json!({}), [false, false], &records, &none);
    // First, last, side by side, and in batches of their own.
    for at in [0, 400, 401, 999] {
        records[at] = record(None, "null");
    }
    let five = [0, 400, 401, 417, 999].map(|at| (at, "E109", None));
    check(json!({}), [true, false], &records, &five);
    let all: Vec<LogRecord> = (0..100).map(|i| record(None, format!("null {i}"))).collect();
    check(json!({}), [true, false], &all, &(0..100).map(|at| (at, "E109", None)).collect::<Vec<_>>());
}

#[test]
fn whatever_a_record_has_is_passed_on_or_fails() {
    let mut records = good(12);
    records[1] = record(Some("k"), "at -5");
    records[2].timestamp = 0;
    records[3] = record(Some("k"), "at 1");
    records[4].key = Some(Vec::new());
    records[5].value = Some(Vec::new());
    records[6].headers = vec![("h".into(), None), ("h".into(), Some(Vec::new())), (String::new(), Some(b"v".to_vec()))];
    records[7].headers = vec![("a\0b".into(), Some(b"v".to_vec())), ("a\0c".into(), None)];
    records[8] = record(Some("k"), format!("at {}", i64::MIN));
    let refused = [(1, "E109", None), (2, "E109", Some("timestamp")), (8, "E109", None)];
    check(json!({}), [false, false], &records, &refused);
}

/// A broker takes it, and never compacts its partition again.
#[test]
fn a_timestamp_before_1970_is_appended_nowhere() {
    let bench = bench([false, false]);
    let refused = bench.log.append(&bench.input, None, vec![LogRecord { timestamp: -5, ..record(None, "x") }]);
    assert!(refused.is_err_and(|error| error.to_string().contains("timestamp -5 (before 1970)")));
    bench.append(&[LogRecord { timestamp: -1, ..record(None, "now") }]);
    assert!(bench.log.read(&bench.input, 0, 0, Duration::ZERO, 1 << 20).expect("read").records[0].timestamp > 0);
}

#[test]
fn a_record_that_is_too_large_fails_and_its_dead_letter_is_mended() {
    let mut records = good(20);
    records[3] = record(Some("k"), vec![b'x'; RECORD_BYTES - 1]);
    // It fits; the dead letter of it does not.
    let mut bench = bench([false, false]);
    bench.append(&records);
    bench.run_until(|bench| bench.committed() == Some(20));
    assert_eq!(bench.read(&bench.output).len(), 20);

    records[3] = record(Some("k"), "fail");
    records[3].headers = vec![("h".into(), Some(vec![b'x'; RECORD_BYTES - 100]))];
    check(json!({}), [false, false], &records, &[(3, "E101", Some("headers"))]);
    records[3] = record(None, "fail");
    check(json!({}), [false, true], &records, &[(3, "E101", Some("key"))]);
    // Two outputs, the second of which is refused: neither is there.
    records[3] = record(Some("k"), "twice");
    check(json!({}), [true, false], &records, &[(3, "E109", None)]);
    // Refused as an output, and in its turn as a dead letter.
    records[3] = record(None, "null");
    check(json!({}), [true, true], &records, &[(3, "E109", Some("key"))]);
}

/// The partition stops before the record at `at`, says why, and goes on once it is resumed.
#[track_caller]
fn check_pause(spec: Value, compacted: [bool; 2], bad: LogRecord, code: &str) {
    const AT: usize = 57;
    let mut records = good(100);
    records[AT] = bad;
    let mut bench = Bench::new(setup(&spec, compacted));
    bench.append(&records);
    for _ in 0..2 {
        bench.run_until(|bench| bench.manager.status().state == State::Paused);
        assert_eq!(bench.committed(), Some(AT as i64));
        assert_eq!(values(&bench.read(&bench.output)), values(&records[..AT]));
        let error = bench.manager.status().error.expect("it says why");
        assert_eq!((error.code.to_string().as_str(), error.offset), (code, Some(AT as i64)));
        assert!(bench.read(&bench.dead).is_empty());
        // The topic is as it was.
        bench.manager.resume().expect("resumed");
        assert_ne!(bench.manager.status().state, State::Paused);
    }
}

#[test]
fn a_partition_stops_where_the_policy_says_so_or_a_dead_letter_is_beyond_mending() {
    let pause = json!({"on_error": {"then": "pause"}});
    check_pause(pause, [true, false], record(None, "null"), "E109");
    let mut large = record(Some("k"), b"fail".to_vec());
    large.value = Some([b"fail".as_slice(), &[b'x'; RECORD_BYTES - 10]].concat());
    check_pause(json!({}), [false, false], large, "E110");
}

#[test]
fn a_tick_whose_output_is_refused_fails_and_the_records_go_on() {
    check(json!({"tick": "100ms"}), [true, false], &good(300), &[]);
    let mut bench = Bench::new(setup(&json!({"tick": "100ms"}), [true, false]));
    bench.run_until(|bench| bench.manager.status().error.is_some_and(|error| error.code.to_string() == "E109"));
    assert!(bench.read(&bench.output).is_empty());
}

#[test]
fn a_timestamp_ahead_of_the_clock_fails_as_on_kafka() {
    let ahead = Timestamp::now().0 + 2 * HOUR_MS;
    // A log of before, which took them.
    let mut bench = bench([false, false]);
    let refused = bench.log.append(&bench.input, None, vec![LogRecord { timestamp: ahead, ..record(None, "x") }]);
    assert!(refused.is_err_and(|error| error.to_string().contains("an hour ahead")));
    bench.append(&good(3));
    bench.run_until(|bench| bench.committed() == Some(3));
}

#[test]
fn a_revision_on_trial_is_not_refused_for_a_record() {
    let mut records = good(50);
    records[20] = record(None, "null");
    let mut bench = bench([true, false]);
    bench.append(&records[..10]);
    bench.run_until(|bench| bench.committed() == Some(10));
    let settings = Settings { revision: 2, ..bench.revision.settings.clone() };
    let observer = bench.revision.observer.clone();
    let revision = Arc::new(RunnableRevision { settings, guests: Arc::new(Forwards), observer });
    bench.manager.swap(Swap { revision, guests: Vec::new() });
    bench.append(&records[10..]);
    bench.run_until(|bench| bench.committed() == Some(50));
    let status = bench.manager.status();
    assert_eq!((status.revision, status.fallback, status.refused), (2, None, None));
    assert_eq!((bench.read(&bench.output).len(), bench.read(&bench.dead).len()), (49, 1));
}

/// A session whose log refuses a whole transaction for one of its records, and does not say which.
struct Vague {
    inner: Box<dyn Session>,
    cause: Option<Cause>,
    /// Topic and value of the record that it refuses.
    bad: (usize, &'static [u8]),
    has_bad: bool,
}

impl Session for Vague {
    fn send(&mut self, record: &ProducerRecord<'_>) -> Result<(), SessionError> {
        self.has_bad |= (record.topic, record.value) == (self.bad.0, Some(self.bad.1));
        self.inner.send(record)
    }

    fn commit(&mut self, offsets: &[CommitOffset]) -> Result<(), SessionError> {
        if std::mem::take(&mut self.has_bad) {
            let reason = "one of these".to_owned();
            return Err(SessionError::Rejected(Rejection { culprits: Vec::new(), cause: self.cause, reason }));
        }
        self.inner.commit(offsets)
    }

    fn abort(&mut self) -> Result<(), SessionError> {
        self.has_bad = false;
        self.inner.abort()
    }

    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        on_record: &mut dyn FnMut(TopicPartition, &RecordRef<'_>),
    ) -> Result<Option<Rebalance>, SessionError> {
        self.inner.poll(timeout, records_max, on_record)
    }

    fn assign(&mut self, partitions: &[TopicPartition]) -> Result<Vec<CommitOffset>, SessionError> {
        self.inner.assign(partitions)
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<(), SessionError> {
        self.inner.unassign(partitions)
    }

    fn seek(&mut self, partition: TopicPartition, offset: i64) -> Result<(), SessionError> {
        self.inner.seek(partition, offset)
    }

    fn pause(&mut self, partition: TopicPartition) -> Result<(), SessionError> {
        self.inner.pause(partition)
    }

    fn resume(&mut self, partition: TopicPartition) -> Result<(), SessionError> {
        self.inner.resume(partition)
    }

    fn end_offset(&self, partition: TopicPartition) -> Option<i64> {
        self.inner.end_offset(partition)
    }

    fn consumed_ends(&self) -> &[(TopicPartition, i64)] {
        self.inner.consumed_ends()
    }

    fn begin(&mut self) -> Result<(), SessionError> {
        self.inner.begin()
    }

    fn flush(&mut self) -> Result<(), SessionError> {
        self.inner.flush()
    }

    fn written_end(&self, topic: usize, partition: i32) -> Option<i64> {
        self.inner.written_end(topic, partition)
    }

    fn set_outputs(&mut self, outputs: &[TopicName]) -> Result<(), SessionError> {
        self.inner.set_outputs(outputs)
    }
}

fn vague(cause: Option<Cause>, bad: (usize, &'static [u8])) -> Bench {
    let wrap = |inner| Box::new(Vague { inner, cause, bad, has_bad: false }) as Box<dyn Session>;
    Bench::with_session(setup(&json!({}), [false, false]), wrap)
}

#[test]
fn a_culprit_that_nobody_names_is_found_by_doing_less_at_once() {
    for (cause, code) in [(Cause::Size, "E107"), (Cause::Content, "E109")] {
        let mut records = good(1000);
        records[723] = record(Some("k"), "bad");
        let mut bench = vague(Some(cause), (0, b"bad"));
        bench.append(&records);
        bench.run_until(|bench| bench.committed() == Some(1000));
        assert_eq!(bench.read(&bench.output).len(), 999);
        let letters = bench.read(&bench.dead);
        let [letter] = &letters[..] else { panic!("{letters:?}") };
        assert_eq!((header(letter, "code"), header(letter, "offset")), (Some(code), Some("723")));
    }
}

#[test]
fn a_dead_letter_that_nobody_names_stops_its_partition() {
    let mut records = good(300);
    records[123] = record(Some("k"), "fail");
    let mut bench = vague(Some(Cause::Size), (1, b"fail"));
    bench.append(&records);
    bench.run_until(|bench| bench.manager.status().state == State::Paused);
    assert_eq!((bench.committed(), bench.read(&bench.output).len()), (Some(123), 123));
    assert_eq!(bench.manager.status().error.map(|error| error.code.to_string()), Some("E110".into()));
}

#[test]
fn nobody_is_blamed_where_the_log_does_not_say_why() {
    let mut records = good(300);
    records[123] = record(Some("k"), "bad");
    let mut bench = vague(None, (0, b"bad"));
    bench.append(&records);
    // All before it are done, and it is shown.
    bench.run_until(|bench| {
        let error = bench.manager.status().error;
        error.is_some_and(|error| error.message.contains("in/0 offset 123"))
    });
    let status = bench.manager.status();
    assert_eq!(status.state, State::Degraded);
    assert_eq!(status.error.map(|error| error.code.to_string()), Some("E202".into()));
    assert_eq!((bench.committed(), bench.read(&bench.output).len()), (Some(123), 123));
    assert!(bench.read(&bench.dead).is_empty());
}

#[test]
fn a_dead_letter_of_a_dead_letter_names_its_own_failure() {
    let mut records = good(3);
    records[1] = record(Some("k"), "fail");
    let of_before = ("sandbar.error.code".to_owned(), Some(b"E999".to_vec()));
    records[1].headers = vec![of_before, ("other".to_owned(), None)];
    let mut bench = bench([false, false]);
    bench.append(&records);
    bench.run_until(|bench| bench.committed() == Some(3));
    let letters = bench.read(&bench.dead);
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!(header(letter, "code"), Some("E101"));
    let kept = [("was.sandbar.error.code".to_owned(), Some(b"E999".to_vec())), ("other".to_owned(), None)];
    assert_eq!(letter.headers[..2], kept);
}
