//! Tables: compacted topics that this host holds whole, in memory, for all transforms that look things up in them.
//!
//! One thread for each table reads its topic for as long as somebody has the table. A look-up takes a read lock for the
//! time of one copy: the one lock on the data path, held for writing only while a new record is put in. Keys are compared
//! by what they say, of records and of look-ups alike: see [`sandbar_table::canonical`].

mod budget;
mod counted;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};
use sandbar_table::Rows;
use tokio::sync::Notify;
use tokio::time::timeout_at;

use crate::model::codes::Code;
use crate::model::names::{TeamName, TopicName};
use crate::model::status::LastError;
use crate::model::units::{Backoff, Timestamp};
use crate::ports::{Log, LogError, Table, TopicSize};
use crate::telemetry::metrics::{Metrics, TableMeter};

use self::budget::{TableBudget, TableShare};

pub use self::budget::TableLimits;
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
    budget: Arc<TableBudget>,
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
    trouble: Mutex<Option<Trouble>>,
    /// Tell threads and futures of each change of the two.
    moved: Condvar,
    news: Notify,
    memory: Mutex<TableShare>,
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

/// The reason for which a table cannot be read on.
#[derive(Debug, Clone)]
struct Trouble {
    code: Code,
    why: String,
    /// The next run of its reader will most likely meet the same: nobody waits for it.
    lasts: bool,
}

impl Tables {
    pub fn new(log: Arc<dyn Log>, limits: TableLimits, metrics: Metrics) -> Self {
        let budget = Arc::new(TableBudget::new(limits, metrics.tables.clone()));
        Self { log, budget, catch_up_wait: CATCH_UP_WAIT, stale_after: STALE_AFTER, metrics, open: Arc::default() }
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

    /// Opens these tables of a team, and waits for them as [`Self::of`] does, but without a thread: hundreds of transforms may
    /// wait at once. While the result is held, they stay open.
    pub async fn open_ahead(
        &self,
        team: &TeamName,
        topics: impl Iterator<Item = TopicName>,
    ) -> Result<Vec<Arc<TopicTable>>, TableUnavailable> {
        let tables: Vec<Arc<TopicTable>> = topics.map(|topic| self.open(team, &topic)).collect();
        let deadline = tokio::time::Instant::now() + self.catch_up_wait;
        for table in &tables {
            table.catch_up(deadline).await?;
        }
        Ok(tables)
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
            news: Notify::new(),
            memory: Mutex::new(self.budget.share(team)),
            freshness: Mutex::new(Freshness::now()),
        });
        let meter = self.metrics.tables.table(topic, key.0.as_ref());
        open.insert(key, Arc::downgrade(&table));
        let log = own.unwrap_or_else(|| self.log.clone());
        let reader = TableReader { table: Arc::downgrade(&table), log, topic: topic.clone(), meter };
        let thread = std::thread::Builder::new().name("table".into()).spawn(move || reader.run());
        if let Err(error) = thread {
            *table.trouble.lock() = Some(Trouble::lasting(format!("the system has no thread left: {error}")));
        }
        table
    }
}

impl TopicTable {
    fn wait(&self, deadline: Instant) -> Result<(), TableUnavailable> {
        let mut trouble = self.trouble.lock();
        while !self.is_settled(trouble.as_ref()) && !self.moved.wait_until(&mut trouble, deadline).timed_out() {}
        self.outcome(trouble.as_ref())
    }

    async fn catch_up(&self, deadline: tokio::time::Instant) -> Result<(), TableUnavailable> {
        loop {
            // It hears of changes from here on.
            let news = self.news.notified();
            let is_settled = self.is_settled(self.trouble.lock().as_ref());
            if is_settled || timeout_at(deadline, news).await.is_err() {
                return self.outcome(self.trouble.lock().as_ref());
            }
        }
    }

    /// Returns true if there is nothing to wait for.
    fn is_settled(&self, trouble: Option<&Trouble>) -> bool {
        self.caught_up.load(Ordering::Acquire) || trouble.is_some_and(|trouble| trouble.lasts)
    }

    fn outcome(&self, trouble: Option<&Trouble>) -> Result<(), TableUnavailable> {
        if self.caught_up.load(Ordering::Acquire) {
            return Ok(());
        }
        let Trouble { code, why, .. } = trouble.cloned().unwrap_or_else(|| Trouble::passing("it is being read"));
        Err((code, format!("table {}: {why}", self.topic)))
    }

    /// The table's error, if it has been stale for that long. It does not change while that is so.
    fn stale(&self, after: Duration) -> Option<LastError> {
        let Freshness { at, since } = *self.freshness.lock();
        if at.elapsed() <= after {
            return None;
        }
        let slow = || Trouble::passing("it is read more slowly than it is written");
        let Trouble { code, why, .. } = self.trouble.lock().clone().unwrap_or_else(slow);
        let message = format!("table {} does not follow its topic, and old values are looked up: {why}", self.topic);
        Some(LastError { code, message, offset: None, at: since })
    }

    /// Gives back the memory of a content that never caught up.
    fn give_back(&self) {
        let bytes = self.content.read().bytes();
        // It may be over the limit by the records of one poll, and then keeps what it has.
        let _ = self.memory.lock().resize(bytes, 0);
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
        self.news.notify_waiters();
    }
}

impl Trouble {
    fn passing(why: impl Into<String>) -> Self {
        Self { code: Code::TableUnavailable, why: why.into(), lasts: false }
    }

    fn lasting(why: impl Into<String>) -> Self {
        Self { lasts: true, ..Self::passing(why) }
    }

    fn of_keys(why: impl Into<String>) -> Self {
        Self { code: Code::TableKeys, ..Self::lasting(why) }
    }
}

impl Freshness {
    fn now() -> Self {
        Self { at: Instant::now(), since: Timestamp::now() }
    }
}

/// The reason why a topic is not the one whose records were read, if it is another one: it was deleted and created again, or
/// has other partitions. An id that is not known says nothing.
fn changed(read: &TopicSize, now: &TopicSize) -> Option<String> {
    if !read.id.is_empty() && !now.id.is_empty() && read.id != now.id {
        return Some("it was deleted and created again".to_owned());
    }
    (read.partitions != now.partitions).then(|| format!("it has {} partitions now", now.partitions))
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
    topic: TopicName,
    meter: TableMeter,
}

/// The end of a run of a table's reader.
enum End {
    Unused,
    Failed(Trouble),
}

/// Runs a reader until nobody uses it any more, or `pause` returns false. The pauses between failed runs grow; after a run
/// that was longer than the longest of them they begin again with the first.
fn run_until_unused(
    clock: impl Fn() -> Instant,
    mut run: impl FnMut() -> End,
    mut pause: impl FnMut(Trouble, Duration) -> bool,
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
    fn pause(&self, trouble: Trouble, pause: Duration) -> bool {
        let Some(table) = self.table.upgrade() else { return false };
        let Trouble { code, why, .. } = &trouble;
        tracing::warn!(topic = %self.topic, %code, error = why, "a table cannot be read on, tried again");
        self.meter.failed();
        *table.trouble.lock() = Some(trouble);
        table.give_back();
        table.moved.notify_all();
        table.news.notify_waiters();
        let age = table.age();
        drop(table);
        self.meter.stale(age);
        std::thread::sleep(pause);
        true
    }

    /// Asks which topic has the name now.
    fn size(&self) -> Result<TopicSize, LogError> {
        let found = self.log.sizes(std::slice::from_ref(&self.topic))?.remove(&self.topic);
        found.ok_or_else(|| LogError::NoTopic(self.topic.to_string()))
    }

    /// Reads the topic from its start into a content of its own, until that has caught up: a topic that is read again goes
    /// through old values once more. Until then the table shows its old content; from then on records are put into it.
    fn read(&self) -> End {
        let failed = |error: LogError| End::Failed(Trouble::passing(error.to_string()));
        // In this order: a topic that is created again in between is told at the first look.
        let opened = self.size().and_then(|size| Ok((size, self.log.follow(&self.topic, None)?)));
        let (size, mut reader) = match opened {
            Ok(opened) => opened,
            Err(error) => return failed(error),
        };
        let mut catching_up = Some(Rows::default());
        let mut measured_at: Option<Instant> = None;
        let mut read: u64 = 0;
        let mut is_unanswered = false;
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
                return End::Failed(Trouble::of_keys(respelled.to_string()));
            }
            // The limit holds while the table catches up, too: until then it has each spelling of a key.
            let extent = |content: &Rows| (content.len(), content.bytes());
            let (shown, shown_bytes) = extent(&table.content.read());
            let (entries, bytes, old) =
                catching_up.as_ref().map(extent).map_or((shown, shown_bytes, 0), |(new, bytes)| (new, bytes, shown_bytes));
            if let Err(why) = table.memory.lock().resize(bytes, old) {
                return End::Failed(Trouble::lasting(why));
            }
            let is_due = measured_at.is_none_or(|at: Instant| at.elapsed() >= LAG_INTERVAL);
            if catching_up.is_none() && !is_due {
                continue;
            }
            let measured = reader.behind().and_then(|behind| {
                // A content is published of the topic that has the name after it was read to its end.
                let changed = if is_due || behind == 0 { changed(&size, &self.size()?) } else { None };
                Ok((behind, changed))
            });
            let behind = match measured {
                Ok((_, Some(why))) => return End::Failed(Trouble::passing(why)),
                Ok((behind, None)) => behind,
                // The reader itself goes on: to read all of a topic again would be worse. The table counts as stale.
                Err(LogError::Unavailable(why)) => {
                    if is_due {
                        tracing::warn!(topic = %self.topic, error = why, "the end of a table's topic is not known");
                    }
                    *table.trouble.lock() = Some(Trouble::passing(why));
                    is_unanswered = true;
                    self.meter.stale(table.age());
                    measured_at = Some(Instant::now());
                    continue;
                }
                Err(error) => return failed(error),
            };
            if is_due || behind == 0 {
                measured_at = Some(Instant::now());
            }
            if std::mem::take(&mut is_unanswered) {
                *table.trouble.lock() = None;
            }
            self.meter.update(entries, bytes, behind);
            if behind == 0
                && let Some(mut content) = catching_up.take()
            {
                if let Err(respelled) = content.settle() {
                    return End::Failed(Trouble::of_keys(respelled.to_string()));
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
                End::Failed(Trouble::passing("no broker"))
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
    fn a_topic_that_was_created_again_is_another_one() {
        let of = |id: &str, partitions: i32| TopicSize { id: id.to_owned(), partitions };
        for (read, now, expected) in [
            (of("a", 2), of("a", 2), None),
            (of("a", 2), of("b", 2), Some("created again")),
            (of("a", 2), of("b", 3), Some("created again")),
            (of("a", 2), of("a", 3), Some("3 partitions")),
            // The log knows no ids, or does not any more.
            (of("", 2), of("a", 2), None),
            (of("a", 2), of("", 2), None),
            (of("", 2), of("", 3), Some("3 partitions")),
        ] {
            let found = changed(&read, &now);
            assert!(found.as_deref().map_or(expected.is_none(), |why| expected.is_some_and(|part| why.contains(part))));
        }
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
