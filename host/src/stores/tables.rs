//! Tables: compacted topics that this host holds whole, in memory, for all transforms that look things up in them.
//!
//! One thread for each table reads its topic for as long as somebody has the table. A look-up takes a read lock for the
//! time of one copy: the one lock on the data path, held for writing only while a new record is put in. Keys are compared
//! by what they say, of records and of look-ups alike: see [`sandbar_table::canonical`].

mod counted;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};
use sandbar_table::Rows;

use crate::model::codes::Code;
use crate::model::names::{TeamName, TopicName};
use crate::model::status::LastError;
use crate::model::units::{Backoff, Timestamp};
use crate::ports::{Log, LogError, Table};
use crate::telemetry::metrics::{Metrics, TableMeter};

pub use self::counted::counted;

/// The time for which one poll waits for records; a table ends that long after its last user, at most.
const POLL_WAIT: Duration = Duration::from_millis(200);
/// The time between two measurements of a table's lag.
const LAG_INTERVAL: Duration = Duration::from_secs(2);
/// The time for which a transform that starts waits for its tables in one attempt.
const CATCH_UP_WAIT: Duration = Duration::from_secs(20);
/// First and longest time between two runs of a table's reader.
const REOPEN: Backoff = Backoff { first: Duration::from_millis(200), longest: Duration::from_secs(10) };
/// Time without a look at which a table followed its topic, after which it is stale (`table_stale_after`). A broker that
/// restarts takes less.
pub const STALE_AFTER: Duration = Duration::from_secs(60);

/// Most memory of one table by default (`table_bytes_max`).
pub const BYTES_MAX: usize = 256 << 20;

/// The tables of a host. Cloning shares them.
#[derive(Clone)]
pub struct Tables {
    log: Arc<dyn Log>,
    /// Most memory of one table, in bytes.
    bytes_max: usize,
    catch_up_wait: Duration,
    stale_after: Duration,
    metrics: Metrics,
    open: Arc<Mutex<HashMap<TableKey, Weak<TopicTable>>>>,
}

/// A table's topic, and the team with whose rights it is read; None: teams have no rights of their own, and share tables.
type TableKey = (Option<TeamName>, TopicName);

/// One table of this host.
pub struct TopicTable {
    topic: TopicName,
    content: RwLock<Rows>,
    caught_up: AtomicBool,
    /// The reason for which it is not caught up, if that is known.
    trouble: Mutex<Option<TableUnavailable>>,
    moved: Condvar,
    freshness: Mutex<Freshness>,
}

/// The last look at which a table had what its topic had.
#[derive(Debug, Clone, Copy)]
struct Freshness {
    at: Instant,
    /// That moment by the wall clock, for people.
    since: Timestamp,
}

/// The reason for which a table cannot be used now.
pub type TableUnavailable = (Code, String);

impl Tables {
    pub fn new(log: Arc<dyn Log>, bytes_max: usize, metrics: Metrics) -> Self {
        Self { log, bytes_max, catch_up_wait: CATCH_UP_WAIT, stale_after: STALE_AFTER, metrics, open: Arc::default() }
    }

    /// Sets the time to wait for a table before it is said to be behind.
    pub fn waiting_at_most(mut self, wait: Duration) -> Self {
        self.catch_up_wait = wait;
        self
    }

    /// Sets the time after which a table that does not follow its topic is stale.
    pub fn stale_after(mut self, time: Duration) -> Self {
        self.stale_after = time;
        self
    }

    /// The error of the first of these tables that is in use and stale: its old content is looked up until it follows its
    /// topic again.
    pub fn stale<'a>(&self, team: &TeamName, topics: impl Iterator<Item = &'a TopicName>) -> Option<LastError> {
        let owner = self.log.of_team(team).map(|_| team.clone());
        let open = self.open.lock();
        let mut used = topics.filter_map(|topic| open.get(&(owner.clone(), topic.clone()))?.upgrade());
        used.find_map(|table| table.stale(self.stale_after))
    }

    /// These topics as tables of a team, once they have caught up. Blocks while they are read, up to the time to wait.
    pub fn of(
        &self,
        team: &TeamName,
        topics: impl Iterator<Item = TopicName>,
    ) -> Result<Arc<[Arc<dyn Table>]>, TableUnavailable> {
        let tables: Vec<Arc<TopicTable>> = topics.map(|topic| self.open(team, &topic)).collect();
        let deadline = Instant::now() + self.catch_up_wait;
        for table in &tables {
            table.wait(deadline)?;
        }
        Ok(tables.into_iter().map(|table| table as Arc<dyn Table>).collect())
    }

    fn open(&self, team: &TeamName, topic: &TopicName) -> Arc<TopicTable> {
        let own = self.log.of_team(team);
        let key = (own.is_some().then(|| team.clone()), topic.clone());
        let mut open = self.open.lock();
        if let Some(table) = open.get(&key).and_then(Weak::upgrade) {
            return table;
        }
        let table = Arc::new(TopicTable {
            topic: topic.clone(),
            content: RwLock::default(),
            caught_up: AtomicBool::new(false),
            trouble: Mutex::default(),
            moved: Condvar::new(),
            freshness: Mutex::new(Freshness::now()),
        });
        let meter = self.metrics.tables.table(topic, key.0.as_ref());
        open.insert(key, Arc::downgrade(&table));
        let log = own.unwrap_or_else(|| self.log.clone());
        let reader =
            TableReader { table: Arc::downgrade(&table), log, bytes_max: self.bytes_max, topic: topic.clone(), meter };
        let thread = std::thread::Builder::new().name("table".into()).spawn(move || reader.run());
        if let Err(error) = thread {
            *table.trouble.lock() = Some((Code::TableUnavailable, format!("the system has no thread left: {error}")));
        }
        table
    }
}

impl TopicTable {
    fn wait(&self, deadline: Instant) -> Result<(), TableUnavailable> {
        let mut trouble = self.trouble.lock();
        while !self.caught_up.load(Ordering::Acquire) {
            let lasts = trouble.as_ref().is_some_and(|(code, _)| *code == Code::TableKeys);
            if lasts || self.moved.wait_until(&mut trouble, deadline).timed_out() {
                let (code, why) = trouble.clone().unwrap_or_else(|| (Code::TableUnavailable, "it is being read".into()));
                return Err((code, format!("table {}: {why}", self.topic)));
            }
        }
        Ok(())
    }

    /// The table's error, if it has been stale for that long. It does not change while that is so.
    fn stale(&self, after: Duration) -> Option<LastError> {
        let Freshness { at, since } = *self.freshness.lock();
        if at.elapsed() <= after {
            return None;
        }
        let slow = || (Code::TableUnavailable, "it is read more slowly than it is written".into());
        let (code, why) = self.trouble.lock().clone().unwrap_or_else(slow);
        let message = format!("table {} does not follow its topic, and old values are looked up: {why}", self.topic);
        Some(LastError { code, message, offset: None, at: since })
    }

    fn age(&self) -> Duration {
        self.freshness.lock().at.elapsed()
    }

    /// Replaces the content: the table may be used from now on.
    fn publish(&self, content: Rows) {
        *self.content.write() = content;
        let mut trouble = self.trouble.lock();
        *trouble = None;
        self.caught_up.store(true, Ordering::Release);
        self.moved.notify_all();
    }
}

impl Freshness {
    fn now() -> Self {
        Self { at: Instant::now(), since: Timestamp::now() }
    }
}

/// Returns true if a table follows its topic: it lacks no more records than it has read since the look before.
fn follows(behind: u64, read: u64) -> bool {
    behind <= read
}

impl Table for TopicTable {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.content.read().get(key).map(<[u8]>::to_vec)
    }
}

/// Keeps a table up to date until nobody has it any more.
struct TableReader {
    table: Weak<TopicTable>,
    log: Arc<dyn Log>,
    bytes_max: usize,
    topic: TopicName,
    meter: TableMeter,
}

/// The end of a run of a table's reader.
enum End {
    Unused,
    Failed(TableUnavailable),
}

/// Runs a reader until nobody uses it any more, or `pause` returns false. The pauses between failed runs grow; after a run
/// that was longer than the longest of them they begin again with the first.
fn run_until_unused(
    clock: impl Fn() -> Instant,
    mut run: impl FnMut() -> End,
    mut pause: impl FnMut(TableUnavailable, Duration) -> bool,
) {
    let mut failures: u32 = 0;
    loop {
        let started = clock();
        let End::Failed(why) = run() else { return };
        if clock().duration_since(started) > REOPEN.longest {
            failures = 0;
        }
        if !pause(why, REOPEN.after(failures)) {
            return;
        }
        failures = failures.saturating_add(1);
    }
}

impl TableReader {
    fn run(self) {
        run_until_unused(Instant::now, || self.read(), |why, pause| self.pause(why, pause));
    }

    /// Says why the table cannot be read, and waits. Returns false if nobody has the table any more.
    fn pause(&self, trouble: TableUnavailable, pause: Duration) -> bool {
        let Some(table) = self.table.upgrade() else { return false };
        let (code, why) = &trouble;
        tracing::warn!(topic = %self.topic, %code, error = why, "a table cannot be read on, tried again");
        self.meter.failed();
        *table.trouble.lock() = Some(trouble);
        table.moved.notify_all();
        let age = table.age();
        drop(table);
        self.meter.stale(age);
        std::thread::sleep(pause);
        true
    }

    /// Reads the topic from its start into a content of its own, until that has caught up: a topic that is read again goes
    /// through old values once more. Until then the table shows its old content; from then on records are put into it.
    fn read(&self) -> End {
        let unavailable = |why: String| End::Failed((Code::TableUnavailable, why));
        let failed = |error: LogError| unavailable(error.to_string());
        let Self { log, bytes_max, .. } = self;
        let opened = log.partitions(&self.topic).and_then(|partitions| Ok((partitions, log.follow(&self.topic, None)?)));
        let (partitions, mut reader) = match opened {
            Ok(opened) => opened,
            Err(error) => return failed(error),
        };
        let mut catching_up = Some(Rows::default());
        let mut measured_at: Option<Instant> = None;
        let mut read: u64 = 0;
        loop {
            let Some(table) = self.table.upgrade() else { return End::Unused };
            let polled = reader.poll(POLL_WAIT, &mut |_, record| {
                read += 1;
                match (record.key, &mut catching_up) {
                    (None, _) => {}
                    (Some(key), Some(content)) => content.put(key, record.value, record.timestamp),
                    (Some(key), None) => table.content.write().put(key, record.value, record.timestamp),
                }
            });
            if let Err(error) = polled {
                return failed(error);
            }
            if catching_up.is_none()
                && let Err(respelled) = table.content.write().settle()
            {
                return End::Failed((Code::TableKeys, respelled.to_string()));
            }
            // The limit holds while the table catches up, too: until then it has each spelling of a key.
            let size = |content: &Rows| (content.len(), content.bytes());
            let (entries, bytes) = catching_up.as_ref().map_or_else(|| size(&table.content.read()), size);
            if bytes > *bytes_max {
                return unavailable(format!("it has {bytes} bytes, the limit is {bytes_max} (table_bytes_max)"));
            }
            if catching_up.is_none() && measured_at.is_some_and(|at| at.elapsed() < LAG_INTERVAL) {
                continue;
            }
            measured_at = Some(Instant::now());
            let behind = match (reader.behind(), log.partitions(&self.topic)) {
                (_, Ok(now)) if now != partitions => return unavailable(format!("it has {now} partitions now")),
                (Ok(behind), Ok(_)) => behind,
                (Err(error), _) | (_, Err(error)) => return failed(error),
            };
            self.meter.update(entries, bytes, behind);
            if behind == 0
                && let Some(mut content) = catching_up.take()
            {
                if let Err(respelled) = content.settle() {
                    return End::Failed((Code::TableKeys, respelled.to_string()));
                }
                tracing::info!(topic = %self.topic, entries, bytes, "a table has caught up");
                table.publish(content);
            }
            if catching_up.is_none() && follows(behind, read) {
                *table.freshness.lock() = Freshness::now();
            }
            self.meter.stale(table.age());
            read = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    /// The pauses, in ms, after runs of these lengths that all failed.
    #[track_caller]
    fn check(runs: &[Duration], expected: &[u128]) {
        let now = Cell::new(Instant::now());
        let left = RefCell::new(runs.iter());
        let mut pauses = Vec::new();
        let run = || match left.borrow_mut().next() {
            Some(&length) => {
                now.set(now.get() + length);
                End::Failed((Code::TableUnavailable, "no broker".into()))
            }
            None => End::Unused,
        };
        run_until_unused(
            || now.get(),
            run,
            |_, pause| {
                now.set(now.get() + pause);
                pauses.push(pause.as_millis());
                true
            },
        );
        assert_eq!(pauses, expected);
    }

    #[test]
    fn a_table_that_keeps_pace_follows_its_topic() {
        for (behind, read, expected) in [(0, 0, true), (3, 0, false), (5, 900, true), (900, 899, false)] {
            assert_eq!(follows(behind, read), expected, "{behind} {read}");
        }
    }

    #[test]
    fn a_reader_that_ran_well_begins_again_with_the_first_pause() {
        let well = REOPEN.longest + Duration::from_millis(1);
        check(&[Duration::ZERO; 3], &[200, 400, 800]);
        check(&[Duration::ZERO, Duration::ZERO, well, Duration::ZERO], &[200, 400, 200, 400]);
        check(&[Duration::ZERO, REOPEN.longest, well], &[200, 400, 200]);
    }
}
