//! A worker on a log that refuses records for what they are: each goes the way of the policy, and no other does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sandbar::embedded::{EmbeddedLog, Options};
use sandbar::model::batch::RecordRef;
use sandbar::model::batch::{Batch, Failure, Output};
use sandbar::model::names::{Digest, TopicName, TransformId};
use sandbar::model::spec::{Delivery, Spec, Start};
use sandbar::model::status::State as Condition;
use sandbar::model::units::Timestamp;
use sandbar::ports::{
    Call, Cause, CommitOffset, Guest, GuestError, GuestFactory, Log, LogRecord, NewTopic, Outgoing, Rebalance, Rejection,
    Session, SessionError, SessionOptions, TopicPartition,
};
use sandbar::state::KeyedState;
use sandbar::task::{RunnableRevision, Settings};
use sandbar::telemetry::observer::Observers;
use sandbar::worker::{Revisions, Swap, TaskManager};
use serde_json::{Value, json};

const RECORD_BYTES: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(60);
const HOUR_MS: i64 = 60 * 60 * 1000;

/// Forwards every record, twice where its value begins with "twice", the second time without a key; fails those that
/// begin with "fail".
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
            let copies = if value.starts_with(b"twice") { 2 } else { 1 };
            for copy in 0..copies {
                output.targets.push(0);
                output.sources.push(row as u32);
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

/// A worker of one transform from `in` to `out`, on an embedded log.
struct Setup {
    _dir: tempfile::TempDir,
    log: Arc<dyn Log>,
    input: TopicName,
    output: TopicName,
    dead: TopicName,
    program: Arc<RunnableRevision>,
    cycle: TaskManager,
}

impl Setup {
    fn new(spec: &Value, compacted: bool, compacted_dead: bool) -> Setup {
        Self::with(spec, compacted, compacted_dead, |session| session)
    }

    fn with(
        spec: &Value,
        compacted: bool,
        compacted_dead: bool,
        session_of: impl FnOnce(Box<dyn Session>) -> Box<dyn Session>,
    ) -> Setup {
        let dir = tempfile::tempdir().expect("a directory");
        let options = Options { record_bytes_max: RECORD_BYTES, ..Options::new(dir.path()) };
        let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(options).expect("opens"));
        let topic = |name: &str, compacted| {
            let name: TopicName = name.parse().expect("valid");
            log.create_topic(&NewTopic { name: name.clone(), partitions: 1, compacted, retention: None }).expect("made");
            name
        };
        let (input, output) = (topic("in", false), topic("out", compacted));
        let dead = topic("t.n.dead-letter", compacted_dead);
        let mut raw = json!({"inputs": ["in"], "outputs": {"out": "out"}, "start": "earliest", "commit_interval": "10ms"});
        raw.as_object_mut().expect("an object").extend(spec.as_object().expect("an object").clone());
        let id: TransformId = "t/n".parse().expect("valid");
        let raw = serde_json::from_value(raw).expect("a spec");
        let spec = Spec::parse(&raw, &id, Some(Digest::of(b""))).expect("valid");
        let settings = Settings::of(&spec, 1, Vec::new(), vec![usize::MAX; 2]);
        let observer = Observers::default().transform(&id, &settings.inputs, &settings.outputs);
        let session = SessionOptions {
            group: "g".into(),
            transactional_id: "w".into(),
            inputs: settings.inputs.clone(),
            outputs: settings.outputs.clone(),
            delivery: Delivery::ExactlyOnce,
            start: Start::Earliest,
            begun: BTreeMap::new(),
            co_partitioned: false,
        };
        let first = log.start_offsets(&input, &session.start).expect("there");
        log.commit_for_group("g", &first).expect("nobody is a member");
        let program = Arc::new(RunnableRevision { settings, guests: Arc::new(Forwards), observer });
        let programs = Revisions { run: program.clone(), kept: None, refused: None };
        let cycle = TaskManager::new(session_of(log.open(&session).expect("opens")), programs, None);
        Setup { _dir: dir, log, input, output, dead, program, cycle }
    }

    fn append(&self, records: &[LogRecord]) {
        self.log.append(&self.input, None, records.to_vec()).expect("appended");
    }

    /// Turns until `done`.
    #[track_caller]
    fn turn_until(&mut self, done: impl Fn(&Setup) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "at {:?}: {:?}", self.committed(), self.cycle.status());
            self.cycle.turn(Timestamp::now, Duration::from_millis(10)).expect("the session goes on");
        }
    }

    fn committed(&self) -> Option<i64> {
        self.log.group_offsets("g", std::slice::from_ref(&self.input)).expect("there").first().map(|at| at.next_offset)
    }

    fn read(&self, topic: &TopicName) -> Vec<LogRecord> {
        self.log.read(topic, 0, 0, Duration::ZERO, 1 << 24).expect("read").records
    }
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
    let mut setup = Setup::new(&spec, compacted[0], compacted[1]);
    setup.append(records);
    setup.turn_until(|setup| setup.committed() == Some(records.len() as i64));
    let is_refused = |offset: &usize| refused.iter().any(|(other, ..)| other == offset);
    let passed: Vec<LogRecord> = (0..records.len()).filter(|at| !is_refused(at)).map(|at| records[at].clone()).collect();
    let outputs = setup.read(&setup.output);
    assert_eq!(values(&outputs), values(&passed));
    for (output, record) in outputs.iter().zip(&passed) {
        assert_eq!((&output.key, &output.headers, output.timestamp), (&record.key, &record.headers, record.timestamp));
    }
    if setup.program.settings.dead_letters.is_none() {
        return;
    }
    let letters = setup.read(&setup.dead);
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
        let error = setup.cycle.status().error;
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
    let (one, none) = ([(417, "E109", None)], []);
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
    records[1].timestamp = -5;
    records[2].timestamp = 0;
    records[4].key = Some(Vec::new());
    records[5].value = Some(Vec::new());
    records[6].headers = vec![("h".into(), None), ("h".into(), Some(Vec::new())), (String::new(), Some(b"v".to_vec()))];
    records[7].headers = vec![("a\0b".into(), Some(b"v".to_vec()))];
    check(json!({}), [false, false], &records, &[(2, "E109", Some("timestamp"))]);
}

#[test]
fn a_record_that_is_too_large_fails_and_its_dead_letter_is_mended() {
    let mut records = good(20);
    records[3] = record(Some("k"), vec![b'x'; RECORD_BYTES - 1]);
    // It fits; the dead letter of it does not.
    let mut setup = Setup::new(&json!({}), false, false);
    setup.append(&records);
    setup.turn_until(|setup| setup.committed() == Some(20));
    assert_eq!(setup.read(&setup.output).len(), 20);

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
    let mut setup = Setup::new(&spec, compacted[0], compacted[1]);
    setup.append(&records);
    for _ in 0..2 {
        setup.turn_until(|setup| setup.cycle.status().state == Condition::Paused);
        assert_eq!(setup.committed(), Some(AT as i64));
        assert_eq!(values(&setup.read(&setup.output)), values(&records[..AT]));
        let error = setup.cycle.status().error.expect("it says why");
        assert_eq!((error.code.to_string().as_str(), error.offset), (code, Some(AT as i64)));
        assert!(setup.read(&setup.dead).is_empty());
        // The topic is as it was.
        setup.cycle.resume().expect("resumed");
        assert_ne!(setup.cycle.status().state, Condition::Paused);
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
    let mut setup = Setup::new(&json!({"tick": "100ms"}), true, false);
    setup.turn_until(|setup| setup.cycle.status().error.is_some_and(|error| error.code.to_string() == "E109"));
    assert!(setup.read(&setup.output).is_empty());
}

#[test]
fn a_timestamp_ahead_of_the_clock_fails_as_on_kafka() {
    let ahead = Timestamp::now().0 + 2 * HOUR_MS;
    // A log of before, which took them.
    let mut setup = Setup::new(&json!({}), false, false);
    let refused = setup.log.append(&setup.input, None, vec![LogRecord { timestamp: ahead, ..record(None, "x") }]);
    assert!(refused.is_err_and(|error| error.to_string().contains("an hour ahead")));
    setup.append(&good(3));
    setup.turn_until(|setup| setup.committed() == Some(3));
}

#[test]
fn a_revision_on_trial_is_not_refused_for_a_record() {
    let mut records = good(50);
    records[20] = record(None, "null");
    let mut setup = Setup::new(&json!({}), true, false);
    setup.append(&records[..10]);
    setup.turn_until(|setup| setup.committed() == Some(10));
    let settings = Settings { revision: 2, ..setup.program.settings.clone() };
    let observer = setup.program.observer.clone();
    let program = Arc::new(RunnableRevision { settings, guests: Arc::new(Forwards), observer });
    setup.cycle.swap(Swap { program, guests: Vec::new() });
    setup.append(&records[10..]);
    setup.turn_until(|setup| setup.committed() == Some(50));
    let status = setup.cycle.status();
    assert_eq!((status.revision, status.on_trial, status.refused), (2, false, None));
    assert_eq!((setup.read(&setup.output).len(), setup.read(&setup.dead).len()), (49, 1));
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
    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), SessionError> {
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

fn vague(cause: Option<Cause>, bad: (usize, &'static [u8])) -> Setup {
    Setup::with(&json!({}), false, false, |inner| Box::new(Vague { inner, cause, bad, has_bad: false }))
}

#[test]
fn a_culprit_that_nobody_names_is_found_by_doing_less_at_once() {
    for (cause, code) in [(Cause::Size, "E107"), (Cause::Content, "E109")] {
        let mut records = good(1000);
        records[723] = record(Some("k"), "bad");
        let mut setup = vague(Some(cause), (0, b"bad"));
        setup.append(&records);
        setup.turn_until(|setup| setup.committed() == Some(1000));
        assert_eq!(setup.read(&setup.output).len(), 999);
        let letters = setup.read(&setup.dead);
        let [letter] = &letters[..] else { panic!("{letters:?}") };
        assert_eq!((header(letter, "code"), header(letter, "offset")), (Some(code), Some("723")));
    }
}

#[test]
fn a_dead_letter_that_nobody_names_stops_its_partition() {
    let mut records = good(300);
    records[123] = record(Some("k"), "fail");
    let mut setup = vague(Some(Cause::Size), (1, b"fail"));
    setup.append(&records);
    setup.turn_until(|setup| setup.cycle.status().state == Condition::Paused);
    assert_eq!((setup.committed(), setup.read(&setup.output).len()), (Some(123), 123));
    assert_eq!(setup.cycle.status().error.map(|error| error.code.to_string()), Some("E110".into()));
}

#[test]
fn nobody_is_blamed_where_the_log_does_not_say_why() {
    let mut records = good(300);
    records[123] = record(Some("k"), "bad");
    let mut setup = vague(None, (0, b"bad"));
    setup.append(&records);
    // All before it are done, and it is shown.
    setup.turn_until(|setup| {
        let error = setup.cycle.status().error;
        error.is_some_and(|error| error.message.contains("in/0 offset 123"))
    });
    let status = setup.cycle.status();
    assert_eq!(status.state, Condition::Degraded);
    assert_eq!(status.error.map(|error| error.code.to_string()), Some("E202".into()));
    assert_eq!((setup.committed(), setup.read(&setup.output).len()), (Some(123), 123));
    assert!(setup.read(&setup.dead).is_empty());
}

#[test]
fn a_dead_letter_of_a_dead_letter_names_its_own_failure() {
    let mut records = good(3);
    records[1] = record(Some("k"), "fail");
    let of_before = ("sandbar.error.code".to_owned(), Some(b"E999".to_vec()));
    records[1].headers = vec![of_before, ("other".to_owned(), None)];
    let mut setup = Setup::new(&json!({}), false, false);
    setup.append(&records);
    setup.turn_until(|setup| setup.committed() == Some(3));
    let letters = setup.read(&setup.dead);
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!(header(letter, "code"), Some("E101"));
    let kept = [("was.sandbar.error.code".to_owned(), Some(b"E999".to_vec())), ("other".to_owned(), None)];
    assert_eq!(letter.headers[..2], kept);
}
