//! Follows one partition of a control topic and publishes the fold of it.
//!
//! One thread owns the fold and the position. It reads from the beginning, long-polls at the end, and goes on through
//! everything: unreadable records are logged and skipped, an unavailable log is asked again after a backoff.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::model::text::{OneLine, cut};
use crate::ports::{Log, LogError, LogRecord, Page};

use super::error::CatalogError;

/// Longest wait of one read for news: a stop takes as long.
const POLL_WAIT: Duration = Duration::from_millis(500);
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;
const LOAD_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest reason for which a record is skipped, in bytes: it quotes foreign text.
const REASON_BYTES_MAX: usize = 512;
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// State made of records, one after the other.
pub trait Fold: Send + 'static {
    /// The published state: cheap to clone.
    type Snapshot: Clone + Send + Sync;

    /// Takes one record; an error says why it was skipped.
    fn apply(&mut self, record: &LogRecord) -> Result<(), String>;

    /// Every record that the topic had at the start has been applied.
    fn loaded(&mut self) {}

    fn snapshot(&self) -> Self::Snapshot;
}

/// A running follower. Dropping it ends its thread.
pub struct MaterializedTopic<F: Fold> {
    snapshot: watch::Receiver<F::Snapshot>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// The offset up to which the snapshot is complete.
    position: Mutex<i64>,
    /// The reason why the log cannot be read now.
    trouble: Mutex<Option<String>>,
    moved: Condvar,
}

impl<F: Fold> MaterializedTopic<F> {
    /// Reads the partition to its end, then starts the thread that follows it.
    pub fn start(log: Arc<dyn Log>, topic: TopicName, partition: i32, fold: F) -> Result<Self, CatalogError> {
        let shared = Arc::new(Shared::default());
        let (sender, snapshot) = watch::channel(fold.snapshot());
        let mut thread = FoldThread {
            log,
            topic,
            partition,
            fold,
            position: 0,
            gone: false,
            quiet_until: 0,
            sender,
            shared: shared.clone(),
        };
        thread.load()?;
        let thread = std::thread::Builder::new()
            .name(format!("follow-{partition}"))
            .spawn(move || thread.run())
            .map_err(|error| CatalogError::Host(format!("starting a thread: {error}")))?;
        Ok(Self { snapshot, shared, thread: Some(thread) })
    }

    pub fn watch(&self) -> watch::Receiver<F::Snapshot> {
        self.snapshot.clone()
    }

    pub fn current(&self) -> F::Snapshot {
        self.snapshot.borrow().clone()
    }

    /// The reason why the log cannot be read now, if there is one: the snapshot is of the time before.
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble.lock().clone()
    }

    /// Waits until the snapshot holds every record before `offset`. Returns false if it does not in time.
    #[must_use]
    pub fn wait_for(&self, offset: i64, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut position = self.shared.position.lock();
        while *position < offset {
            if self.shared.moved.wait_until(&mut position, deadline).timed_out() {
                return *position >= offset;
            }
        }
        true
    }

    /// Waits until the snapshot is as wanted. Returns false if it is not in time.
    #[must_use]
    pub fn wait_until(&self, timeout: Duration, wanted: impl Fn(&F::Snapshot) -> bool) -> bool {
        let deadline = Instant::now() + timeout;
        let mut position = self.shared.position.lock();
        while !wanted(&self.snapshot.borrow()) {
            if self.shared.moved.wait_until(&mut position, deadline).timed_out() {
                return wanted(&self.snapshot.borrow());
            }
        }
        true
    }
}

impl<F: Fold> MaterializedTopic<F> {
    /// Tells the thread to end, and does not wait for it.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl<F: Fold> Drop for MaterializedTopic<F> {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // It ends within one poll; a panic in it was logged where it happened.
            let _ = thread.join();
        }
    }
}

/// The fold and its position, owned by the thread.
struct FoldThread<F: Fold> {
    log: Arc<dyn Log>,
    topic: TopicName,
    partition: i32,
    fold: F,
    position: i64,
    /// The topic was not there: one that is there again is another one.
    gone: bool,
    /// Records below this offset were known before, or are older than the known ones: they are not published.
    quiet_until: i64,
    sender: watch::Sender<F::Snapshot>,
    shared: Arc<Shared>,
}

impl<F: Fold> FoldThread<F> {
    fn load(&mut self) -> Result<(), CatalogError> {
        let (_, end_offset) = self.log.offsets(&self.topic, self.partition)?;
        let deadline = Instant::now() + LOAD_TIMEOUT;
        while self.position < end_offset {
            if Instant::now() > deadline {
                return Err(LogError::Unavailable(format!("{} cannot be read to its end", self.topic)).into());
            }
            let page = self.read()?;
            self.take(page);
        }
        self.fold.loaded();
        self.publish();
        Ok(())
    }

    fn run(mut self) {
        let mut backoff = BACKOFF_MIN;
        while !self.shared.stop.load(Ordering::Relaxed) {
            match self.read() {
                Ok(page) => {
                    if self.shared.trouble.lock().take().is_some() {
                        info!(topic = %self.topic, "control topic is readable again");
                    }
                    backoff = BACKOFF_MIN;
                    if self.take(page) && self.position >= self.quiet_until {
                        self.publish();
                    }
                }
                Err(error) => {
                    self.gone |= matches!(error, LogError::NoTopic(_));
                    let before = self.shared.trouble.lock().replace(format!("{}: {error}", self.topic));
                    if before.is_none() {
                        let code = CatalogError::Log(error.clone()).code();
                        warn!(topic = %self.topic, %code, %error, "cannot read the control topic, trying again");
                    }
                    std::thread::park_timeout(backoff);
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    fn read(&self) -> Result<Page, LogError> {
        self.log.read(&self.topic, self.partition, self.position, POLL_WAIT, READ_BYTES_MAX)
    }

    /// Applies a page. Returns true if the position moved.
    fn take(&mut self, page: Page) -> bool {
        if std::mem::take(&mut self.gone) || (page.end_offset < self.position && self.was_cut()) {
            // What is known stays: running transforms go on. The new topic's records come on top.
            warn!(topic = %self.topic, code = %Code::ControlTopic, position = self.position, end_offset = page.end_offset,
                "control topic was cut short or recreated, reading it from its beginning");
            self.position = 0;
            self.quiet_until = page.end_offset;
            *self.shared.position.lock() = 0;
            return false;
        }
        for record in &page.records {
            if let Err(reason) = self.fold.apply(record) {
                warn!(topic = %self.topic, partition = self.partition, offset = record.offset, code = %Code::ControlRecord,
                    reason = %OneLine(cut(&reason, REASON_BYTES_MAX)), "skipping a record of the control topic");
            }
        }
        let moved = page.next_offset > self.position || !page.records.is_empty();
        self.position = self.position.max(page.next_offset);
        moved
    }

    /// Returns true if the partition ends before the position. A page's own end may be an old one.
    fn was_cut(&self) -> bool {
        self.log.offsets(&self.topic, self.partition).is_ok_and(|(_, end_offset)| end_offset < self.position)
    }

    /// Publishes the snapshot first, then the position: whoever waits for an offset finds it in the snapshot.
    fn publish(&self) {
        self.sender.send_replace(self.fold.snapshot());
        *self.shared.position.lock() = self.position;
        self.shared.moved.notify_all();
    }
}
