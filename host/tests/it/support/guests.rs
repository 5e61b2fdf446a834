//! Helpers for tests of guests: the fixture module, a task with its revision, a session that records.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sandbar::guest::compile::Compiler;
use sandbar::guest::{ModuleOptions, Modules, Tables};
use sandbar::model::batch::{Batch, RecordRef};
use sandbar::model::clock::{Monotonic, Now};
use sandbar::model::names::{Digest, TopicName, TransformId};
use sandbar::model::spec::{RawSpec, Spec, Then};
use sandbar::model::units::Timestamp;
use sandbar::ports::{CommitOffset, Guest, GuestFactory, ProducerRecord, Rebalance, Session, SessionError, TopicPartition};
use sandbar::state::KeyedState;
use sandbar::task::{RunnableRevision, Settings, SpareBatches, Step, StepContext, Task, TransactionStats};
use sandbar::telemetry::metrics::Metrics;
use sandbar::telemetry::observer::Observers;
use serde_json::json;

pub const PARTITION: TopicPartition = TopicPartition { input: 0, partition: 3 };
/// Most steps of one test: more means that a task spins.
const STEPS_MAX: usize = 1000;

/// The component of `tests/guests/fixture`.
pub fn fixture() -> &'static [u8] {
    static FIXTURE: OnceLock<Vec<u8>> = OnceLock::new();
    FIXTURE.get_or_init(|| built("guest_fixture.wasm"))
}

/// The component of `tests/guests/stateful`.
pub fn stateful() -> &'static [u8] {
    static STATEFUL: OnceLock<Vec<u8>> = OnceLock::new();
    STATEFUL.get_or_init(|| built("guest_stateful.wasm"))
}

fn built(name: &str) -> Vec<u8> {
    let default = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/guests"));
    let file = std::env::var_os("SANDBAR_GUESTS_DIR").map_or_else(default, PathBuf::from).join(name);
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}: run `make guests`", file.display()))
}

/// Modules that are compiled in this process, once for all tests.
pub fn modules() -> &'static Modules {
    static MODULES: OnceLock<Modules> = OnceLock::new();
    MODULES.get_or_init(|| modules_of(Compiler::default()))
}

pub fn modules_of(compiler: Compiler) -> Modules {
    modules_with(ModuleOptions { compiler, ..ModuleOptions::default() })
}

/// Modules with these options, and a folder of their own.
pub fn modules_with(options: ModuleOptions) -> Modules {
    let folder = tempfile::tempdir().expect("a temporary folder").keep();
    Modules::open(&folder, options, Metrics::new().modules).expect("an engine")
}

/// A spec for the fixture; `changes` are merged into it.
pub fn spec(config: serde_json::Value, changes: serde_json::Value) -> Spec {
    let mut raw = json!({ "inputs": ["shop.orders"], "outputs": { "out": "shop.out" }, "config": config });
    let fields = raw.as_object_mut().expect("an object");
    fields.extend(changes.as_object().expect("an object").clone());
    let raw: RawSpec = serde_json::from_value(raw).expect("a spec");
    let id: TransformId = "shop/fixture".parse().expect("valid");
    Spec::parse(&raw, &id, Some(Digest::of(fixture()))).expect("valid")
}

pub fn mode(mode: &str) -> serde_json::Value {
    json!({ "mode": mode })
}

/// An instance of the fixture.
pub fn instance(spec: &Spec) -> Box<dyn Guest> {
    modules().prepare(spec, 1, fixture(), Tables::default(), None).expect("prepared").instantiate().expect("an instance")
}

/// Each mode that a module's source lists is a function of the tests'.
pub fn assert_tested(source: &str, tests: &str, modes_min: usize) {
    let modes = source.split("enum Mode {").nth(1).and_then(|rest| rest.split('}').next()).expect("the enum");
    let names: Vec<&str> = modes.lines().map(|line| line.trim().trim_end_matches(',')).collect();
    let names: Vec<&str> = names.into_iter().filter(|name| !name.is_empty() && !name.starts_with("//")).collect();
    assert!(names.len() >= modes_min, "{names:?}");
    for name in names {
        let mut function = String::new();
        for letter in name.chars() {
            if letter.is_uppercase() && !function.is_empty() {
                function.push('_');
            }
            function.extend(letter.to_lowercase());
        }
        let written = [format!("\nfn {function}()"), format!("\nfn r#{function}()")];
        assert!(written.iter().any(|written| tests.contains(written)), "mode {name} has no test {function}");
    }
}

/// Records with these values, no keys, from offset 0 on.
pub fn batch(values: &[&str]) -> Batch {
    let mut batch = Batch::default();
    for (offset, value) in values.iter().enumerate() {
        batch.push(&record(offset as i64, value));
    }
    batch
}

pub fn record(offset: i64, value: &str) -> RecordRef<'_> {
    RecordRef { offset, timestamp: 1000 + offset, key: None, value: Some(value.as_bytes()), headers: &[] }
}

/// A record that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub topic: usize,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    pub timestamp: i64,
}

impl Sent {
    pub fn text(&self) -> &str {
        std::str::from_utf8(self.value.as_deref().unwrap_or(b"null")).expect("text")
    }

    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(own, _)| own == name).and_then(|(_, value)| value.as_deref());
        std::str::from_utf8(found.unwrap_or_else(|| panic!("there is no {name}"))).expect("text")
    }
}

/// A session that takes everything and keeps it.
#[derive(Default)]
pub struct Recorder {
    pub sent: Vec<Sent>,
}

impl Recorder {
    /// The values that went to a topic, in order.
    pub fn values(&self, topic: usize) -> Vec<&str> {
        self.sent.iter().filter(|sent| sent.topic == topic).map(Sent::text).collect()
    }
}

/// One task of the fixture, run by hand in virtual time (the guest's own limits are in real time).
pub struct Bench {
    pub task: Task,
    pub revision: Arc<RunnableRevision>,
    pub session: Recorder,
    pub state: KeyedState,
    pub stats: TransactionStats,
    pub now: Now,
    /// The waits of the task, in order.
    pub waits: Vec<u64>,
    offset: i64,
}

impl Bench {
    pub fn new(spec: &Spec) -> Self {
        Self::with(spec, |_| {})
    }

    /// With settings that a spec cannot have.
    pub fn with(spec: &Spec, change: impl FnOnce(&mut Settings)) -> Self {
        Self::of(fixture(), spec, KeyedState::default(), change)
    }

    /// Makes a bench of any module, with the state of its partition.
    pub fn of(module: &[u8], spec: &Spec, state: KeyedState, change: impl FnOnce(&mut Settings)) -> Self {
        Self::on((modules(), &Observers::default()), module, spec, state, change)
    }

    /// Makes a bench with other modules and observers than those of all tests.
    pub fn on(
        (modules, observers): (&Modules, &Observers),
        module: &[u8],
        spec: &Spec,
        state: KeyedState,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let mut settings = Settings::of(spec, 5, Vec::new(), vec![1 << 20; 2]);
        change(&mut settings);
        let topics: Vec<_> = spec.written_topics().cloned().collect();
        let observer = observers.transform(&spec.id, &spec.inputs, &topics);
        let guests = modules.prepare(spec, 5, module, Tables::default(), Some(&observer)).expect("prepared");
        let revision = Arc::new(RunnableRevision { settings, guests: Arc::new(guests), observer });
        let assigned = CommitOffset { partition: PARTITION, next_offset: 0, metadata: String::new() };
        let task = Task::new(&assigned, revision.clone(), false, SpareBatches::default());
        let session = Recorder::default();
        let stats = TransactionStats::default();
        let now = Now { wall: Timestamp(1_700_000_000_000), mono: Monotonic::from_millis(1000) };
        Self { task, revision, session, state, stats, now, waits: Vec::new(), offset: 0 }
    }

    pub fn offer(&mut self, values: &[&str]) -> &mut Self {
        for value in values {
            self.task.offer(&record(self.offset, value));
            self.offset += 1;
        }
        self
    }

    /// Records with keys; no value is a tombstone.
    pub fn offer_keyed(&mut self, records: &[(&str, Option<&str>)]) -> &mut Self {
        for (key, value) in records {
            let key = (!key.is_empty()).then_some(key.as_bytes());
            self.task.offer(&RecordRef { key, value: value.map(str::as_bytes), ..record(self.offset, "") });
            self.offset += 1;
        }
        self
    }

    /// Steps until nothing is left to do, and waits where the task waits.
    pub fn run(&mut self) -> &mut Self {
        for _ in 0..STEPS_MAX {
            if !self.task.has_pending() {
                return self;
            }
            if self.task.is_waiting(self.now.mono) {
                let left = self.task.time_left(self.now).expect("it waits for a time");
                self.waits.push(left.as_millis() as u64);
                self.pass(left);
            }
            self.step();
        }
        panic!("no end: {:?}", self.task.status(None));
    }

    /// Time passes.
    pub fn pass(&mut self, time: Duration) {
        let Now { wall, mono } = self.now;
        self.now = Now { wall: wall.after(time), mono: mono.after(time) };
    }

    pub fn step(&mut self) -> Step {
        self.try_step().expect("the session takes everything")
    }

    pub fn try_step(&mut self) -> Result<Step, SessionError> {
        let Self { task, now, session, state, stats, .. } = self;
        task.step(&mut StepContext { now: *now, end: now.mono.after(Duration::MAX), session, state, stats })
    }

    /// The dead letters, as offset, code and message.
    pub fn dead_letters(&self) -> Vec<(&str, &str, &str)> {
        assert_eq!(self.revision.settings.then, Then::DeadLetter);
        let dead = self.session.sent.iter().filter(|sent| sent.topic == 1);
        dead.map(|sent| {
            let get = |name: &str| sent.header(&format!("sandbar.error.{name}"));
            (get("offset"), get("code"), get("message"))
        })
        .collect()
    }
}

impl Session for Recorder {
    fn send(&mut self, record: &ProducerRecord<'_>) -> Result<(), SessionError> {
        self.sent.push(Sent {
            topic: record.topic,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.iter().map(|(name, value)| ((*name).to_owned(), value.map(<[u8]>::to_vec))).collect(),
            timestamp: record.timestamp,
        });
        Ok(())
    }

    fn poll(
        &mut self,
        _: Duration,
        _: usize,
        _: &mut dyn FnMut(TopicPartition, &RecordRef<'_>),
    ) -> Result<Option<Rebalance>, SessionError> {
        Ok(None)
    }

    fn assign(&mut self, _: &[TopicPartition]) -> Result<Vec<CommitOffset>, SessionError> {
        Ok(Vec::new())
    }

    fn unassign(&mut self, _: &[TopicPartition]) -> Result<(), SessionError> {
        Ok(())
    }

    fn seek(&mut self, _: TopicPartition, _: i64) -> Result<(), SessionError> {
        Ok(())
    }

    fn pause(&mut self, _: TopicPartition) -> Result<(), SessionError> {
        Ok(())
    }

    fn resume(&mut self, _: TopicPartition) -> Result<(), SessionError> {
        Ok(())
    }

    fn end_offset(&self, _: TopicPartition) -> Option<i64> {
        None
    }

    fn consumed_ends(&self) -> &[(TopicPartition, i64)] {
        &[]
    }

    fn begin(&mut self) -> Result<(), SessionError> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SessionError> {
        Ok(())
    }

    fn written_end(&self, _: usize, _: i32) -> Option<i64> {
        None
    }

    fn commit(&mut self, _: &[CommitOffset]) -> Result<(), SessionError> {
        Ok(())
    }

    fn abort(&mut self) -> Result<(), SessionError> {
        Ok(())
    }

    fn set_outputs(&mut self, _: &[TopicName]) -> Result<(), SessionError> {
        Ok(())
    }
}
