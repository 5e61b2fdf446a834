//! One run: workers, a scheduler that steps them, the faults, and the checks at the end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sandbar::model::batch::OutputLimits;
use sandbar::model::names::Digest;
use sandbar::model::spec::{Delivery, Retry, Then};
use sandbar::model::status::State;
use sandbar::model::units::Span;
use sandbar::ports::{SessionError, StateOpener, TopicPartition};
use sandbar::state::local::Memory;
use sandbar::task::{RunnableRevision, Settings};
use sandbar::telemetry::observer::{Observers, TransformObserver};
use sandbar::worker::{Revisions, Swap, TaskManager};

use super::broker::{Broker, Faults, Input};
use super::changelog::{Disk, STORE, SimStates};
use super::clock;
use super::guests::{Factory, Kind, Quality, RECORD_BYTES_MAX, RECORDS_PER_INPUT, TICK_MS, World};
use super::rng::Rng;
use super::session::SimSession;
use crate::support::cpu;

const START_MS: i64 = 1_700_000_000_000;
const HOUR_MS: usize = 3_600_000;
const IDLE_WAIT: Duration = Duration::from_millis(100);
/// The virtual time, and the number of turns, within which all must be done once nothing fails any more.
const CALM_MS_MAX: i64 = 6 * 3_600_000;
const CALM_STEPS_MAX: usize = 300_000;

/// A worker as `worker::Worker` runs it, its thread replaced by steps.
pub struct SimWorker {
    transactional_id: String,
    /// The disk that its process keeps between two of its lives.
    disk: Disk,
    /// An older state of the disk.
    snapshot: BTreeMap<i32, Memory>,
    manager: Option<(u64, TaskManager)>,
    /// The revisions at hand, between two sessions. None: it is a new process, which is told.
    revisions: Option<Revisions>,
    /// The newest revision that it was told of.
    told: u64,
    opens_at: i64,
    stalled_until: i64,
}

pub struct Simulation {
    pub broker: Rc<RefCell<Broker>>,
    pub world: Arc<Mutex<World>>,
    pub settings: Settings,
    observer: Arc<TransformObserver>,
    /// The newest revision that was deployed.
    deployed: u64,
    pub workers: Vec<SimWorker>,
    /// Cycles whose place was taken by another with the same transactional id; they do not know it.
    zombies: Vec<(u64, TaskManager)>,
}

pub fn settings(then: Then, retry_attempts: u32, batch_records: usize) -> Settings {
    let topics = |names: &[&str]| names.iter().map(|name| name.parse().expect("valid")).collect();
    let dead_letters = (then == Then::DeadLetter).then_some(2);
    let mut record_bytes_max = vec![RECORD_BYTES_MAX; 2];
    record_bytes_max.extend(dead_letters.map(|_| 1 << 20));
    Settings {
        id: "sim/transform".parse().expect("valid"),
        revision: 7,
        module: Digest::of(b"simulated"),
        inputs: topics(&["in.a", "in.b"]),
        outputs: topics(&["out.a", "out.b", "dead"]),
        delivery: Delivery::ExactlyOnce,
        commit_interval: Duration::from_millis(100),
        commit_interval_min: Duration::from_millis(100),
        transaction_timeout: Duration::from_secs(15),
        batch_records,
        batch_bytes: 4096,
        output: OutputLimits { records_per_input: RECORDS_PER_INPUT, bytes_per_input: 1 << 20, targets: 2 },
        record_bytes_max,
        retry: Retry { attempts: retry_attempts, backoff: Span::ms(200) },
        then,
        dead_letters,
        changelogs: 3..3,
        resets: 0,
        tick: None,
    }
}

/// Settings with a store.
pub fn stateful(mut settings: Settings) -> Settings {
    let first = settings.outputs.len();
    settings.outputs.push("changelog".parse().expect("valid"));
    settings.changelogs = first..first + 1;
    settings
}

impl Simulation {
    pub fn new(rng: Rng, settings: Settings, partitions: Vec<TopicPartition>, workers: usize) -> Self {
        clock::start(START_MS);
        let world = Arc::new(Mutex::new(World { retry_attempts: settings.retry.attempts, ..World::default() }));
        let observer = Observers::default().transform(&settings.id, &settings.inputs, &settings.inputs);
        let broker = Broker::new(rng, Arc::new(settings.clone()), world.clone(), partitions);
        let deployed = settings.revision;
        let worker = |i| SimWorker {
            transactional_id: format!("sim-{i}"),
            disk: Disk::default(),
            snapshot: BTreeMap::new(),
            manager: None,
            revisions: None,
            told: deployed,
            opens_at: 0,
            stalled_until: 0,
        };
        Self {
            broker: Rc::new(RefCell::new(broker)),
            world,
            settings,
            observer,
            deployed,
            workers: (0..workers).map(worker).collect(),
            zombies: Vec::new(),
        }
    }

    /// A run that is made of its seed.
    pub fn of_seed(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let then = rng.pick(&[Then::DeadLetter, Then::DeadLetter, Then::Skip, Then::Pause]);
        let retry_attempts = rng.pick(&[0, 0, 1, 3]);
        let batch_records = rng.pick(&[1, 3, 8, 50]);
        let mut partitions: Vec<TopicPartition> =
            (0..rng.between(1, 4) as i32).map(|number| TopicPartition { input: 0, partition: number }).collect();
        if rng.chance(300) {
            partitions.extend((0..2).map(|number| TopicPartition { input: 1, partition: number }));
        }
        let workers = 1 + rng.below(3);
        let mut faults = Faults {
            calls: rng.pick(&[0, 2, 10]),
            commits: rng.pick(&[0, 50, 300]),
            repeats: rng.pick(&[0, 200]),
            aborts: 0,
        };
        if rng.chance(100) {
            faults = Faults::default();
        }
        let strict = rng.chance(500);
        let mut settings = settings(then, retry_attempts, batch_records);
        if rng.chance(600) {
            settings = stateful(settings);
            settings.tick = rng.chance(300).then_some(Duration::from_millis(TICK_MS as u64));
        }
        let ticks_fail = rng.chance(500);
        let simulation = Self::new(rng, settings, partitions, workers);
        simulation.world.lock().ticks_fail = ticks_fail;
        let mut broker = simulation.broker.borrow_mut();
        (broker.faults, broker.strict) = (faults, strict);
        drop(broker);
        simulation
    }

    /// Faults for a while, then none: all must be done.
    pub fn run(&mut self) {
        let steps = 150 + self.chance_below(250);
        let poison = [0, 20, 150, 600][self.chance_below(4)];
        for _ in 0..steps {
            self.disturb(poison);
            self.step_one();
        }
        self.calm();
    }

    fn chance_below(&self, n: usize) -> usize {
        self.broker.borrow_mut().rng.below(n)
    }

    fn disturb(&mut self, poison: usize) {
        let what = self.chance_below(100);
        let worker = self.chance_below(self.workers.len());
        match what {
            0..25 => self.produce(1 + self.chance_below(20), poison),
            25 => self.crash(worker),
            26 => self.stop(worker),
            27 => self.stall(worker),
            28 => self.replace(worker),
            29 => self.broker.borrow_mut().rebalance(),
            30 => clock::advance(self.chance_below(40_000) as i64),
            31 if self.chance_below(2) == 0 => self.world.lock().stalls = self.chance_below(4) as u32,
            31 => self.world.lock().no_instances = self.chance_below(4) as u32,
            32..36 => self.operate(),
            36..38 => {
                let qualities = [Quality::Good, Quality::Good, Quality::Broken, Quality::Fragile];
                let quality = self.broker.borrow_mut().rng.pick(&qualities);
                self.deploy(quality);
            }
            38..46 => self.tell(worker),
            // Somebody sets the wall clock, by up to an hour.
            46..48 => clock::step_wall(self.chance_below(2 * HOUR_MS) as i64 - HOUR_MS as i64),
            _ => {}
        }
    }

    pub fn deploy(&mut self, quality: Quality) {
        self.deployed += 1;
        self.world.lock().qualities.insert(self.deployed, quality);
    }

    fn runnable(&self, revision: u64) -> Arc<RunnableRevision> {
        let settings = Settings { revision, ..self.settings.clone() };
        let guests = Arc::new(Factory { world: self.world.clone(), revision });
        Arc::new(RunnableRevision { settings, guests, observer: self.observer.clone() })
    }

    /// A worker hears of the newest revision, or gets the one that it was outrun by; with instances for some of its
    /// tasks.
    pub fn tell(&mut self, worker: usize) {
        let SimWorker { manager, told, .. } = &self.workers[worker];
        let outrun_by = manager.as_ref().and_then(|(_, manager)| manager.status().outrun_by);
        if *told == self.deployed && outrun_by.is_none() {
            return;
        }
        let revision = self.runnable(if *told < self.deployed { self.deployed } else { outrun_by.expect("seen above") });
        let guests = (0..self.chance_below(4)).filter_map(|_| revision.guests.instantiate().ok()).collect();
        let worker = &mut self.workers[worker];
        worker.told = self.deployed;
        match (&mut worker.manager, &mut worker.revisions) {
            (Some((_, manager)), _) => manager.swap(Swap { revision, guests }),
            (None, Some(revisions)) => revisions.replace(revision),
            (None, None) => {}
        }
    }

    /// They have supervisors as well.
    fn tell_zombies(&mut self) {
        for zombie in 0..self.zombies.len() {
            if let Some(outrun_by) = self.zombies[zombie].1.status().outrun_by {
                let revision = self.runnable(outrun_by);
                self.zombies[zombie].1.swap(Swap { revision, guests: Vec::new() });
            }
        }
    }

    /// The revisions of a new process: it runs the deployed one, on trial if that has not committed yet.
    fn first_revisions(&self) -> Revisions {
        let mut revisions = Revisions { current: self.runnable(self.deployed), previous: None, rejected: None };
        let proven = self.broker.borrow().newest_revision();
        let proven = proven.max(self.settings.revision);
        revisions.previous = (proven < self.deployed).then(|| self.runnable(proven));
        revisions
    }

    /// Appends records, and now and then offsets that no record takes.
    pub fn produce(&mut self, count: usize, poison: usize) {
        let retries = self.settings.retry.attempts > 0;
        let broker = &mut *self.broker.borrow_mut();
        let partitions: Vec<TopicPartition> = broker.inputs.keys().copied().collect();
        let at = broker.rng.pick(&partitions);
        for _ in 0..count {
            let kind = if !broker.rng.chance(poison) {
                broker.rng.pick(&Kind::GOOD)
            } else if retries && broker.rng.chance(400) {
                Kind::Flaky
            } else {
                broker.rng.pick(&Kind::BAD)
            };
            put(broker, at, kind);
        }
        // A commit or abort marker, an aborted record.
        let gap = broker.rng.below(3) as i64;
        broker.inputs.get_mut(&at).expect("listed").end += gap;
    }

    /// The process dies: no goodbye.
    fn crash(&mut self, worker: usize) {
        if let Some((session, manager)) = self.workers[worker].manager.take() {
            self.broker.borrow_mut().crashed.insert(session);
            drop(manager);
            self.workers[worker].revisions = None;
            self.workers[worker].opens_at = clock::ms() + self.chance_below(80_000) as i64;
            self.age_disk(worker);
        }
    }

    /// The disk of a process that died is as it was, or older, or empty.
    fn age_disk(&mut self, worker: usize) {
        let fate = self.chance_below(4);
        let worker = &mut self.workers[worker];
        match fate {
            0 => worker.disk.lock().clone_from(&worker.snapshot),
            1 => worker.disk.lock().clear(),
            _ => worker.snapshot = worker.disk.lock().clone(),
        }
    }

    /// Holds a process up for so long that the group throws it out, now or meanwhile.
    fn stall(&mut self, worker: usize) {
        let Some((session, _)) = &self.workers[worker].manager else { return };
        let mut broker = self.broker.borrow_mut();
        if broker.rng.chance(500) {
            broker.evict(*session);
        } else {
            self.workers[worker].stalled_until = clock::ms() + 70_000;
        }
    }

    fn stop(&mut self, worker: usize) {
        if let Some((_, mut manager)) = self.workers[worker].manager.take() {
            let _ = manager.stop(clock::now);
            self.workers[worker].revisions = None;
            self.workers[worker].opens_at = clock::ms() + self.chance_below(5000) as i64;
        }
    }

    /// Another process takes this one's place, while it still runs.
    fn replace(&mut self, worker: usize) {
        self.zombies.extend(self.workers[worker].manager.take());
        // No two processes share a disk: this one has a copy.
        let copy = self.workers[worker].disk.lock().clone();
        self.workers[worker].disk = Arc::new(Mutex::new(copy));
        self.workers[worker].revisions = None;
        self.workers[worker].opens_at = 0;
    }

    /// Somebody looks at the status, mends the records that stopped a partition (mostly), and resumes.
    fn operate(&mut self) {
        for index in 0..self.workers.len() + self.zombies.len() {
            let manager = match index.checked_sub(self.workers.len()) {
                None => self.workers[index].manager.as_mut(),
                Some(zombie) => self.zombies.get_mut(zombie),
            };
            let Some((_, manager)) = manager else { continue };
            for partition in manager.status().partitions.iter().filter(|partition| partition.state == State::Paused) {
                let input = self.settings.inputs.iter().position(|input| *input == partition.topic).expect("an input");
                let at = TopicPartition { input: input as u32, partition: partition.partition };
                let offset = partition.error.as_ref().and_then(|error| error.offset).expect("it says where it stopped");
                if self.broker.borrow_mut().rng.chance(800) {
                    self.world.lock().healed.insert((at, offset));
                }
            }
            let resumed = manager.resume();
            match index.checked_sub(self.workers.len()) {
                None => self.ended(index, resumed),
                Some(zombie) if resumed.is_err() => drop(self.zombies.swap_remove(zombie)),
                Some(_) => {}
            }
        }
    }

    fn step_one(&mut self) {
        if !self.zombies.is_empty() && self.chance_below(4) == 0 {
            let which = self.chance_below(self.zombies.len());
            if self.zombies[which].1.run_once(clock::now, IDLE_WAIT).is_err() {
                drop(self.zombies.swap_remove(which));
            }
            return;
        }
        let worker = self.chance_below(self.workers.len());
        self.step(worker);
    }

    /// One turn of a worker, or its next attempt to open a session.
    pub fn step(&mut self, worker: usize) {
        let now = clock::ms();
        let one = &mut self.workers[worker];
        if now < one.stalled_until || (one.manager.is_none() && now < one.opens_at) {
            clock::advance(10);
            return;
        }
        match &mut one.manager {
            Some((_, manager)) => {
                let turned = manager.run_once(clock::now, IDLE_WAIT);
                self.ended(worker, turned);
            }
            None => self.open(worker),
        }
    }

    fn open(&mut self, worker: usize) {
        let session = SimSession::open(self.broker.clone(), &self.workers[worker].transactional_id);
        let revisions = self.workers[worker].revisions.take();
        let revisions = revisions.unwrap_or_else(|| {
            self.workers[worker].told = self.deployed;
            self.first_revisions()
        });
        let stores = (!self.settings.changelogs.is_empty()).then(|| {
            let changelogs = self.broker.borrow().changelogs.clone();
            let disk = self.workers[worker].disk.clone();
            Arc::new(SimStates { changelogs, disk }) as Arc<dyn StateOpener>
        });
        self.workers[worker].manager =
            Some((session.id, TaskManager::new(Box::new(session), revisions, stores, cpu::account("t"))));
    }

    fn ended(&mut self, worker: usize, result: Result<(), SessionError>) {
        match result {
            Ok(()) => {}
            Err(SessionError::Restart(_) | SessionError::Ended { .. }) => {
                let ended = self.workers[worker].manager.take();
                // Its process may have died in a call: then nothing of it is left.
                let (session, manager) = ended.expect("it has just run");
                let died = self.broker.borrow().crashed.contains(&session);
                self.workers[worker].revisions = (!died).then(|| manager.into_revisions());
                self.workers[worker].opens_at = clock::ms() + 100 + self.chance_below(1000) as i64;
            }
            Err(error) => panic!("the task manager handles an abort itself: {error}"),
        }
    }

    /// Nothing fails any more: everything that was put in must come out, once.
    pub fn calm(&mut self) {
        self.broker.borrow_mut().faults = Faults::default();
        self.world.lock().no_instances = 0;
        self.world.lock().stalls = 0;
        self.workers.iter_mut().for_each(|worker| worker.stalled_until = 0);
        let since = clock::ms();
        for steps in 0.. {
            if self.is_done() {
                break;
            }
            let took = clock::ms() - since;
            assert!(
                took < CALM_MS_MAX && steps < CALM_STEPS_MAX,
                "no end after {steps} turns, {took} ms: {}",
                self.describe()
            );
            self.step_one();
            if steps % 10 == 0 {
                self.operate();
                (0..self.workers.len()).for_each(|worker| self.tell(worker));
                self.tell_zombies();
            }
        }
        self.check_states();
        self.broker.borrow().check_outputs();
    }

    /// Local store = changelog.
    fn check_states(&mut self) {
        if self.settings.changelogs.is_empty() {
            return;
        }
        let broker = self.broker.borrow();
        for (session, manager) in self.workers.iter_mut().filter_map(|worker| worker.manager.as_mut()) {
            let owned: Vec<i32> =
                broker.inputs.keys().filter(|at| broker.owner(**at) == Some(*session)).map(|at| at.partition).collect();
            for partition in owned {
                let fold = broker.fold(partition);
                for key in broker.changelogs.lock().keys(partition) {
                    // What ticks write depends on the time.
                    if key == b"tick" {
                        continue;
                    }
                    let found = manager.look_up(partition, STORE, &key, clock::wall()).expect("it is open");
                    let key_text = String::from_utf8_lossy(&key);
                    assert_eq!(found.as_ref(), fold.get(&key), "partition {partition}, key {key_text:?}");
                }
            }
        }
    }

    pub fn has_swapped(&self) -> bool {
        self.broker.borrow().newest_revision() > self.settings.revision
    }

    pub fn has_refused(&self) -> bool {
        let managers = self.workers.iter().filter_map(|worker| worker.manager.as_ref());
        managers.map(|(_, manager)| manager.status()).any(|status| status.refused.is_some())
    }

    /// Every partition's owner sees no lag, and no record is left. A zombie that finds nothing to do is not found out,
    /// and does no harm.
    fn is_done(&self) -> bool {
        let broker = self.broker.borrow();
        let managers = || self.workers.iter().filter_map(|worker| worker.manager.as_ref()).chain(&self.zombies);
        let no_lag = |at: TopicPartition| {
            let owner = managers().find(|(session, _)| broker.owner(at) == Some(*session));
            let topic = &self.settings.inputs[at.input as usize];
            let status = owner.and_then(|(_, manager)| {
                let mut partitions = manager.status().partitions.into_iter();
                partitions.find(|partition| partition.topic == *topic && partition.partition == at.partition)
            });
            // Its state may be still to be opened.
            status.is_some_and(|status| status.lag == Some(0) && status.state != State::Starting)
        };
        let left = |at: &TopicPartition| broker.inputs[at].records_from(broker.committed_offset(*at)).len();
        // Nobody stays outside for ever: the next time it would be all that is left.
        let joined = self.workers.iter().all(|worker| worker.manager.as_ref().is_some_and(|(id, _)| broker.has_member(*id)));
        joined && broker.inputs.keys().all(|at| left(at) == 0 && no_lag(*at))
    }

    fn describe(&self) -> String {
        let managers = self.workers.iter().map(|worker| worker.manager.as_ref()).chain(self.zombies.iter().map(Some));
        let lines = managers
            .map(|manager| manager.map_or("none".to_owned(), |(_, manager)| format!("{:?}", manager.status().partitions)));
        format!("{}\n{}", lines.collect::<Vec<_>>().join("\n"), self.broker.borrow().describe_group())
    }
}

/// Appends one record.
pub fn put(broker: &mut Broker, at: TopicPartition, kind: Kind) {
    let rng = &mut broker.rng;
    let log = broker.inputs.get_mut(&at).expect("an input partition");
    let offset = log.end;
    let key = rng.chance(800).then(|| format!("key {}", rng.below(5)).into_bytes());
    let headers = match rng.below(4) {
        0 => vec![("h".to_owned(), Some(b"1".to_vec())), ("null".to_owned(), None)],
        _ => Vec::new(),
    };
    let letter = char::from(kind.letter());
    let value = format!("{letter}/{}/{}/{offset}", at.input, at.partition).into_bytes();
    log.records.push(Input { offset, timestamp: clock::wall().0, key, value, headers });
    log.end += 1;
}
