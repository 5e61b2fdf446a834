//! A task manager of one transform from `in` to `out`, on an embedded log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sandbar::embedded::{EmbeddedLog, Options};
use sandbar::model::clock::Now;
use sandbar::model::names::{Digest, TopicName, TransformId};
use sandbar::model::spec::{Delivery, Spec, Start};
use sandbar::ports::{GuestFactory, Log, LogRecord, NewTopic, Session, SessionOptions};
use sandbar::task::{RunnableRevision, Settings};
use sandbar::telemetry::observer::Observers;
use sandbar::worker::{Revisions, TaskManager};
use serde_json::{Value, json};

use crate::support::cpu;

pub const GROUP: &str = "g";
/// The time after which a test gives up: far more than a slow machine needs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The parts of a bench that tests choose.
pub struct Setup<'a> {
    /// Fields of the spec, beside inputs, outputs, start and commit interval.
    pub spec: &'a Value,
    pub options: fn(Options) -> Options,
    /// True for topics that are compacted: the output, and the dead-letter topic.
    pub compacted: [bool; 2],
    /// The largest record of each topic, as the transform's settings have it.
    pub record_bytes_max: usize,
    pub guests: Arc<dyn GuestFactory>,
    pub observers: Observers,
}

/// See the module.
pub struct Bench {
    _dir: tempfile::TempDir,
    pub log: Arc<dyn Log>,
    pub input: TopicName,
    pub output: TopicName,
    pub dead: TopicName,
    pub revision: Arc<RunnableRevision>,
    pub manager: TaskManager,
}

impl Bench {
    pub fn new(setup: Setup<'_>) -> Self {
        Self::with_session(setup, |session| session)
    }

    /// A bench whose task manager works on the session that `wrap` makes of the log's.
    pub fn with_session(setup: Setup<'_>, wrap: impl FnOnce(Box<dyn Session>) -> Box<dyn Session>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let options = (setup.options)(Options::new(dir.path()));
        let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(options).expect("opens"));
        let input = topic(&*log, "in", false);
        let output = topic(&*log, "out", setup.compacted[0]);
        let dead = topic(&*log, "t.n.dead-letter", setup.compacted[1]);
        let (revision, session) = runnable(setup.spec, Vec::new(), setup.record_bytes_max, (setup.guests, &setup.observers));
        let first = log.start_offsets(&input, &session.start).expect("there");
        log.commit_for_group(GROUP, &first).expect("nobody is a member");
        let revisions = Revisions { current: revision.clone(), previous: None, rejected: None };
        let manager = TaskManager::new(wrap(log.open(&session).expect("opens")), revisions, None, cpu::account("t"));
        Self { _dir: dir, log, input, output, dead, revision, manager }
    }

    pub fn append(&self, records: &[LogRecord]) {
        self.log.append(&self.input, None, records.to_vec()).expect("appended");
    }

    /// Runs the task manager until `done`.
    #[track_caller]
    pub fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "at {:?}: {:?}", self.committed(), self.manager.status());
            self.manager.run_once(Now::read, Duration::from_millis(10)).expect("the session goes on");
        }
    }

    pub fn committed(&self) -> Option<i64> {
        let offsets = self.log.group_offsets(GROUP, std::slice::from_ref(&self.input)).expect("there");
        offsets.first().map(|offset| offset.next_offset)
    }

    pub fn read(&self, topic: &TopicName) -> Vec<LogRecord> {
        self.log.read(topic, 0, 0, Duration::ZERO, 1 << 24).expect("read").records
    }

    /// The end offset of a topic.
    pub fn end(&self, topic: &TopicName) -> usize {
        usize::try_from(self.log.offsets(topic, 0).expect("there").1).expect("not negative")
    }
}

/// The transform with these fields of its spec, and the options of its session.
pub fn runnable(
    fields: &Value,
    changelogs: Vec<TopicName>,
    record_bytes_max: usize,
    (guests, observers): (Arc<dyn GuestFactory>, &Observers),
) -> (Arc<RunnableRevision>, SessionOptions) {
    let spec = spec(fields);
    let written = 2 + changelogs.len();
    let settings = Settings::of(&spec, 1, changelogs, vec![record_bytes_max; written]);
    let observer = observers.transform(&spec.id, &settings.inputs, &settings.outputs);
    let session = SessionOptions {
        group: GROUP.into(),
        transactional_id: "w".into(),
        inputs: settings.inputs.clone(),
        outputs: settings.outputs.clone(),
        delivery: Delivery::ExactlyOnce,
        transaction_timeout: settings.transaction_timeout,
        start: Start::Earliest,
        begun: BTreeMap::new(),
        co_partitioned: false,
    };
    (Arc::new(RunnableRevision { settings, guests, observer }), session)
}

pub fn topic(log: &dyn Log, name: &str, compacted: bool) -> TopicName {
    let name: TopicName = name.parse().expect("valid");
    log.create_topic(&NewTopic { name: name.clone(), partitions: 1, compacted, retention: None }).expect("made");
    name
}

fn spec(fields: &Value) -> Spec {
    let mut raw = json!({"inputs": ["in"], "outputs": {"out": "out"}, "start": "earliest", "commit_interval": "10ms"});
    raw.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    let id: TransformId = "t/n".parse().expect("valid");
    let raw = serde_json::from_value(raw).expect("a spec");
    Spec::parse(&raw, &id, Some(Digest::of(b""))).expect("valid")
}
