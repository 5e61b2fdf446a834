//! A worker on a log that takes little in one transaction: everything is done all the same, in smaller ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sandbar::embedded::{EmbeddedLog, Options};
use sandbar::model::batch::{Batch, Output};
use sandbar::model::names::{Digest, TopicName, TransformId};
use sandbar::model::spec::{Delivery, Spec, Start};
use sandbar::model::units::Timestamp;
use sandbar::ports::{Call, Guest, GuestError, GuestFactory, Log, LogRecord, NewTopic, SessionOptions};
use sandbar::state::KeyedState;
use sandbar::task::{RunnableRevision, Settings};
use sandbar::telemetry::observer::Observers;
use sandbar::worker::{Revisions, TaskManager};
use serde_json::json;

/// Most of one transaction, in bytes.
const TRANSACTION_BYTES: usize = 40_000;
const OUTPUT_BYTES: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Puts out as many records as each record's value says; for a tick, as many as it was made for.
struct Multiplier {
    for_a_tick: usize,
}

impl Guest for Multiplier {
    fn process(&mut self, batch: &Batch, _: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
        let rows = (0..batch.len()).flat_map(|row| {
            let value = std::str::from_utf8(batch.value(row).expect("a value")).expect("text");
            std::iter::repeat_n(row as u32, value.parse::<usize>().expect("a number"))
        });
        Ok(outputs(rows.collect(), batch.data.len()))
    }

    fn tick(&mut self, _: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
        Ok(outputs(vec![0; self.for_a_tick], 0))
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

/// A record for each source. Spans begin in the input's data and go on in the output's.
fn outputs(sources: Vec<u32>, input_bytes: usize) -> Output {
    let span = [input_bytes as u32, (input_bytes + OUTPUT_BYTES) as u32];
    Output {
        data: vec![b'x'; OUTPUT_BYTES],
        targets: vec![0; sources.len()],
        keys: vec![u32::MAX; 2 * sources.len()],
        values: span.repeat(sources.len()),
        sources,
        ..Output::default()
    }
}

struct Multipliers {
    for_a_tick: usize,
}

impl GuestFactory for Multipliers {
    fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
        Ok(Box::new(Multiplier { for_a_tick: self.for_a_tick }))
    }
}

fn topic(log: &dyn Log, name: &str) -> TopicName {
    let name: TopicName = name.parse().expect("valid");
    log.create_topic(&NewTopic { name: name.clone(), partitions: 1, compacted: false, retention: None }).expect("made");
    name
}

/// How many records of each topic: outputs, and dead letters with their code.
#[track_caller]
fn check(spec: serde_json::Value, for_a_tick: usize, values: &[usize], outputs: usize, dead_letters: usize) {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options { transaction_bytes_max: TRANSACTION_BYTES, ..Options::new(dir.path()) };
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(options).expect("opens"));
    let input = topic(&*log, "in");
    let output = topic(&*log, "out");
    let dead = topic(&*log, "t.n.dead-letter");
    let record = |value: &usize| LogRecord {
        offset: 0,
        timestamp: 1,
        key: None,
        value: Some(value.to_string().into_bytes()),
        headers: Vec::new(),
    };
    log.append(&input, None, values.iter().map(record).collect()).expect("appended");

    let mut raw = json!({"inputs": ["in"], "outputs": {"out": "out"}, "start": "earliest", "commit_interval": "10ms"});
    raw.as_object_mut().expect("an object").extend(spec.as_object().expect("an object").clone());
    let id: TransformId = "t/n".parse().expect("valid");
    let raw = serde_json::from_value(raw).expect("a spec");
    let spec = Spec::parse(&raw, &id, Some(Digest::of(b""))).expect("valid");
    let settings = Settings::of(&spec, 1, Vec::new(), vec![1 << 20; 2]);
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
    let run = Arc::new(RunnableRevision { settings, guests: Arc::new(Multipliers { for_a_tick }), observer });
    let programs = Revisions { run, kept: None, refused: None };
    let first = log.start_offsets(&input, &session.start).expect("there");
    log.commit_for_group("g", &first).expect("nobody is a member");
    let mut cycle = TaskManager::new(log.open(&session).expect("opens"), programs, None);

    let end = |topic: &TopicName| usize::try_from(log.offsets(topic, 0).expect("there").1).expect("not negative");
    let committed = || log.group_offsets("g", std::slice::from_ref(&input)).expect("there").first().map(|at| at.next_offset);
    let deadline = Instant::now() + PATIENCE;
    while committed() != Some(values.len() as i64) || end(&output) < outputs {
        assert!(Instant::now() < deadline, "{:?} of {}, {} outputs", committed(), values.len(), end(&output));
        cycle.turn(Timestamp::now, Duration::from_millis(10)).expect("the session goes on");
    }
    assert_eq!((end(&output), end(&dead)), (outputs, dead_letters));
    let letters = log.read(&dead, 0, 0, Duration::ZERO, 1 << 20).expect("read").records;
    for letter in letters {
        let code = letter.headers.iter().find(|(name, _)| name == "sandbar.error.code").expect("a code");
        assert_eq!(code.1.as_deref(), Some(b"E105".as_slice()));
    }
}

#[test]
fn a_large_batch_is_done_in_smaller_ones() {
    check(json!({}), 0, &[1; 10], 10, 0);
    check(json!({}), 0, &[4; 300], 1200, 0);
    // So many that whole batches are tried again between.
    check(json!({"limits": {"batch_records": 60}}), 0, &[1; 2000], 2000, 0);
}

#[test]
fn a_record_that_is_too_much_alone_goes_the_way_of_the_policy() {
    let mut values = [4; 100];
    values[50] = 64;
    check(json!({}), 0, &values, 99 * 4, 1);
    check(json!({"on_error": {"retry": {"attempts": 2, "backoff": "1ms"}}}), 0, &values, 99 * 4, 1);
    check(json!({"on_error": {"then": "skip"}}), 0, &values, 99 * 4, 0);
    check(json!({}), 0, &[64, 64, 1, 64], 1, 3);
}

#[test]
fn a_tick_that_is_too_much_fails_and_the_records_go_on() {
    check(json!({"tick": "100ms"}), 64, &[1; 50], 50, 0);
}
