//! A log that holds up whoever asks how many partitions a topic has, or has a turn as the one writer of an id, while the gate
//! for that is shut. A topic of it can be replaced by another one, as if it was deleted and created again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use sandbar::embedded::EmbeddedLog;
use sandbar::model::names::TopicName;
use sandbar::model::units::Timestamp;
use sandbar::ports::{
    ExclusiveError, ExclusiveWriter, GroupOffset, Groups, Log, LogError, LogRecord, NewTopic, Page, PartitionWrite, Session,
    SessionError, SessionOptions, TopicInfo, TopicReader,
};

/// Longest time before a gate that is shut, and longer than any test waits. A test that has failed opens none, and its
/// runtime waits for its threads.
const SHUT_MAX: Duration = Duration::from_secs(150);

/// Cloning shares it.
#[derive(Clone)]
pub struct Gated {
    log: Arc<EmbeddedLog>,
    gate: Arc<Gate>,
    /// The gate before the turns of exclusive writers: each asks where its partition ends.
    pub writers: Arc<Gate>,
    /// The topics that others have the names of.
    replaced: Arc<Mutex<BTreeMap<TopicName, TopicName>>>,
    /// The questions for topics that get no answer.
    pub lost_topics: Arc<LostAnswers>,
    /// The questions for the offsets of groups that get no answer.
    pub lost_offsets: Arc<LostAnswers>,
}

/// Questions that get no answer.
#[derive(Default)]
pub struct LostAnswers {
    /// How many of the next ones.
    left: AtomicUsize,
    asked: AtomicUsize,
}

impl LostAnswers {
    /// Leaves the next questions without an answer.
    pub fn lose(&self, count: usize) {
        self.left.store(count, Ordering::SeqCst);
    }

    /// The number of questions that had none.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn meet(&self) -> Result<(), LogError> {
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err() {
            return Ok(());
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        Err(LogError::Unavailable("the answer is lost".into()))
    }
}

#[derive(Default)]
pub struct Gate {
    /// True while it is shut; and how many wait before it.
    shut: Mutex<(bool, usize)>,
    changed: Condvar,
    /// Sessions that were opened, or turns of writers.
    opened: AtomicUsize,
}

impl Gated {
    pub fn new(log: EmbeddedLog) -> Self {
        Self {
            log: Arc::new(log),
            gate: Arc::default(),
            writers: Arc::default(),
            replaced: Arc::default(),
            lost_topics: Arc::default(),
            lost_offsets: Arc::default(),
        }
    }

    /// From now on `other` is the topic of this name. Whoever reads it already reads the old one on.
    pub fn replace(&self, name: &TopicName, other: &TopicName) {
        self.replaced.lock().expect("unpoisoned").insert(name.clone(), other.clone());
    }

    /// The topic of the log that has this name now.
    fn now(&self, name: &TopicName) -> TopicName {
        self.replaced.lock().expect("unpoisoned").get(name).unwrap_or(name).clone()
    }

    pub fn shut(&self) {
        self.gate.shut();
    }

    pub fn open_gate(&self) {
        self.gate.open();
    }

    /// Waits until somebody waits before it.
    pub fn wait_for_somebody(&self, patience: Duration) {
        self.gate.wait_for_somebody(patience);
    }

    pub fn sessions_opened(&self) -> usize {
        self.gate.opened.load(Ordering::SeqCst)
    }
}

impl Gate {
    pub fn shut(&self) {
        self.shut.lock().expect("unpoisoned").0 = true;
    }

    pub fn open(&self) {
        self.shut.lock().expect("unpoisoned").0 = false;
        self.changed.notify_all();
    }

    /// Waits until somebody waits before it.
    pub fn wait_for_somebody(&self, patience: Duration) {
        let shut = self.shut.lock().expect("unpoisoned");
        let waited = self.changed.wait_timeout_while(shut, patience, |(_, waiting)| *waiting == 0).expect("unpoisoned");
        assert!(!waited.1.timed_out(), "nobody came to the gate");
    }

    /// The number of those that came to the gate.
    pub fn passed(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    fn pass(&self) {
        let mut shut = self.shut.lock().expect("unpoisoned");
        if !shut.0 {
            return;
        }
        shut.1 += 1;
        self.changed.notify_all();
        let waited = self.changed.wait_timeout_while(shut, SHUT_MAX, |(is_shut, _)| *is_shut);
        let (mut shut, _) = waited.expect("unpoisoned");
        shut.1 -= 1;
    }
}

impl Groups for Gated {
    fn group_offsets(&self, group: &str, topics: &[TopicName]) -> Result<Vec<GroupOffset>, LogError> {
        self.lost_offsets.meet()?;
        self.log.group_offsets(group, topics)
    }

    fn group_members(&self, group: &str) -> Result<usize, LogError> {
        self.log.group_members(group)
    }

    fn commit_for_group(&self, group: &str, offsets: &[GroupOffset]) -> Result<(), LogError> {
        self.log.commit_for_group(group, offsets)
    }

    fn delete_group(&self, group: &str) -> Result<(), LogError> {
        self.log.delete_group(group)
    }

    fn offsets_at(&self, topic: &TopicName, at: Timestamp) -> Result<Vec<Option<i64>>, LogError> {
        self.log.offsets_at(topic, at)
    }
}

impl Log for Gated {
    fn open(&self, options: &SessionOptions) -> Result<Box<dyn Session>, SessionError> {
        self.gate.opened.fetch_add(1, Ordering::SeqCst);
        Log::open(&*self.log, options)
    }

    fn topic(&self, name: &TopicName) -> Result<TopicInfo, LogError> {
        self.lost_topics.meet()?;
        self.log.topic(&self.now(name))
    }

    fn partitions(&self, name: &TopicName) -> Result<i32, LogError> {
        self.gate.pass();
        self.log.partitions(&self.now(name))
    }

    fn topics(&self) -> Result<Vec<(TopicName, TopicInfo)>, LogError> {
        self.log.topics()
    }

    fn create_topic(&self, topic: &NewTopic) -> Result<(), LogError> {
        self.log.create_topic(topic)
    }

    fn append(&self, topic: &TopicName, partition: Option<i32>, records: Vec<LogRecord>) -> Result<(), LogError> {
        self.log.append(&self.now(topic), partition, records)
    }

    fn exclusive(&self, id: &str) -> Result<Box<dyn ExclusiveWriter>, ExclusiveError> {
        Ok(Box::new(GatedWriter { writer: self.log.exclusive(id)?, gate: self.writers.clone() }))
    }

    fn read(
        &self,
        topic: &TopicName,
        partition: i32,
        offset: i64,
        wait: Duration,
        bytes_max: usize,
    ) -> Result<Page, LogError> {
        self.log.read(&self.now(topic), partition, offset, wait, bytes_max)
    }

    fn follow(&self, topic: &TopicName, from: Option<&BTreeMap<i32, i64>>) -> Result<Box<dyn TopicReader>, LogError> {
        self.log.follow(&self.now(topic), from)
    }

    fn offsets(&self, topic: &TopicName, partition: i32) -> Result<(i64, i64), LogError> {
        self.log.offsets(&self.now(topic), partition)
    }

    fn high_watermark(&self, topic: &TopicName, partition: i32) -> Result<i64, LogError> {
        self.log.high_watermark(&self.now(topic), partition)
    }
}

/// A writer of the log, with a gate before each of its turns.
struct GatedWriter {
    writer: Box<dyn ExclusiveWriter>,
    gate: Arc<Gate>,
}

impl ExclusiveWriter for GatedWriter {
    fn end_offset(&self, topic: &TopicName, partition: i32) -> Result<i64, LogError> {
        self.gate.opened.fetch_add(1, Ordering::SeqCst);
        self.gate.pass();
        self.writer.end_offset(topic, partition)
    }

    fn commit(self: Box<Self>, writes: &[PartitionWrite]) -> Result<Option<Box<dyn ExclusiveWriter>>, ExclusiveError> {
        let Self { writer, gate } = *self;
        let again = writer.commit(writes)?;
        Ok(again.map(|writer| Box::new(Self { writer, gate }) as Box<dyn ExclusiveWriter>))
    }

    fn commit_with_offsets(
        self: Box<Self>,
        writes: &[PartitionWrite],
        group: &str,
        offsets: &[GroupOffset],
    ) -> Result<(), ExclusiveError> {
        self.writer.commit_with_offsets(writes, group, offsets)
    }
}
