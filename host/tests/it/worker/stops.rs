//! A worker in a thread of its own, with commands: it obeys them in time, and they leave time for its records.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sandbar::embedded::{EmbeddedLog, Options};
use sandbar::kafka::{KafkaConfig, KafkaLog};
use sandbar::model::clock::Now;
use sandbar::model::names::TopicName;
use sandbar::model::status::State;
use sandbar::ports::{Log, LogRecord, OpenError, Positions, Restore, StateOpener};
use sandbar::state::local::{Change, Entry, LocalError, LocalStore, Mark, Memory};
use sandbar::state::{KeyedState, Store, StoreSettings};
use sandbar::telemetry::observer::Observers;
use sandbar::worker::{Command, Commands, LookUp, Rests, Revisions, Worker, WorkerStatus, inbox};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::bench::{GROUP, PATIENCE, runnable, topic};
use super::fake::{Guests, opened};

pub struct Running {
    pub commands: Commands,
    pub status: watch::Receiver<WorkerStatus>,
    pub thread: JoinHandle<()>,
}

pub fn start(
    log: Arc<dyn Log>,
    fields: &Value,
    changelogs: Vec<TopicName>,
    stores: Option<Arc<dyn StateOpener>>,
) -> Running {
    let (commands, commands_in) = inbox::channel();
    let (published, status) = watch::channel(WorkerStatus::default());
    let (current, options) =
        runnable(fields, changelogs, usize::MAX, (Arc::new(Guests::new(&[], 0)), &Observers::default()));
    let revisions = Revisions { current, previous: None, rejected: None };
    let worker = Worker {
        log,
        options,
        revisions,
        stores,
        processors: crate::support::cpu::processors(),
        commands: commands_in,
        rests: Rests::default(),
        status: published,
        clock: Now::read,
    };
    Running { commands, status, thread: std::thread::spawn(move || worker.run()) }
}

#[track_caller]
pub fn wait_until(done: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "it takes too long");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_session_that_cannot_be_opened_is_given_up_at_a_stop() {
    let config = KafkaConfig { brokers: "127.0.0.1:1".into(), ..KafkaConfig::default() };
    let log: Arc<dyn Log> = Arc::new(KafkaLog::new(config).expect("a client"));
    let worker = start(log, &json!({}), Vec::new(), None);
    // Before it begins to open a session, a stop takes no time either.
    std::thread::sleep(Duration::from_secs(1));
    worker.commands.send(Command::Resume).expect("it runs");
    worker.commands.send(Command::Stop).expect("it runs");
    let since = Instant::now();
    worker.thread.join().expect("it ends");
    assert!(since.elapsed() < Duration::from_secs(5), "it took {:?}", since.elapsed());
    assert_eq!(worker.status.borrow().state, State::Stopped);
}

/// A store whose reads take long.
struct SlowStore(Memory);

impl LocalStore for SlowStore {
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, LocalError> {
        std::thread::sleep(Duration::from_millis(5));
        self.0.get(key)
    }

    fn scan(
        &mut self,
        start: &[u8],
        end: Option<&[u8]>,
        on: &mut dyn FnMut(&[u8], Entry) -> bool,
    ) -> Result<(), LocalError> {
        self.0.scan(start, end, on)
    }

    fn apply(&mut self, changes: Vec<Change>, mark: &Mark) -> Result<(), LocalError> {
        self.0.apply(changes, mark)
    }

    fn mark(&self) -> Result<Option<Mark>, LocalError> {
        self.0.mark()
    }

    fn wipe(&mut self) -> Result<(), LocalError> {
        self.0.wipe()
    }

    fn wants_cache(&self) -> bool {
        false
    }
}

struct SlowStores;

impl StateOpener for SlowStores {
    fn open(&self, _: i32, _: Positions, _: bool) -> Box<dyn Restore> {
        let settings = StoreSettings {
            name: "s".into(),
            ttl: None,
            bytes_max: 1 << 20,
            call_bytes_max: 1 << 20,
            record_bytes_max: 1 << 20,
            hot_bytes_max: 0,
        };
        let store = Store::new(settings, Box::new(SlowStore(Memory::default()))).expect("memory does not fail");
        opened(KeyedState::new(vec![store]))
    }

    fn check_inputs(&self) -> Result<(), OpenError> {
        Ok(())
    }
}

#[test]
fn a_flood_of_look_ups_leaves_time_for_records() {
    const LOOK_UPS: usize = 2000;
    let dir = tempfile::tempdir().expect("a directory");
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(Options::new(dir.path())).expect("opens"));
    let input = topic(&*log, "in", false);
    for name in ["out", "t.n.dead-letter", "_sandbar.c.state.t.n.s"] {
        topic(&*log, name, false);
    }
    let first = log.start_offsets(&input, &sandbar::model::spec::Start::Earliest).expect("there");
    log.commit_for_group(GROUP, &first).expect("nobody is a member");
    let changelogs = vec!["_sandbar.c.state.t.n.s".parse().expect("valid")];
    let worker = start(log.clone(), &json!({"state": {"s": {}}}), changelogs, Some(Arc::new(SlowStores)));
    wait_until(|| worker.status.borrow().partitions.iter().any(|partition| partition.state == State::Running));
    let look_up = |number: usize| {
        let (answer, answered) = sync_channel(1);
        // Each of another key: one that is read twice is hot.
        let look_up = LookUp { partition: 0, store: "s".into(), key: number.to_be_bytes().to_vec(), answer };
        worker.commands.send(Command::LookUp(look_up)).expect("it runs");
        answered
    };
    let answers: Vec<Receiver<_>> = (0..LOOK_UPS).map(look_up).collect();
    let record = LogRecord { offset: 0, timestamp: 1, key: None, value: Some(b"v".to_vec()), headers: Vec::new() };
    log.append(&input, None, vec![record; 10]).expect("appended");
    let committed = || log.group_offsets(GROUP, std::slice::from_ref(&input)).expect("there")[0].next_offset;
    wait_until(|| committed() == 10);
    let answered = answers.iter().filter(|answer| answer.try_recv().is_ok()).count();
    assert!(answered < LOOK_UPS, "all look-ups came before the records");
    worker.commands.send(Command::Stop).expect("it runs");
    worker.thread.join().expect("it ends");
}
