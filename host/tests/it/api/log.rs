//! A log in memory, which can be told to be unavailable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use sandbar::model::murmur2::partition_for;
use sandbar::model::names::TopicName;
use sandbar::model::units::Timestamp;
use sandbar::ports::{
    ExclusiveError, ExclusiveWriter, GroupOffset, Groups, Log, LogError, LogRecord, NewTopic, Page, PartitionWrite, Session,
    SessionError, SessionOptions, TopicInfo, TopicReader,
};

/// The work of somebody else, which is done at a certain moment.
pub type Interruption = Box<dyn FnOnce() + Send>;

/// Cloning shares it.
#[derive(Default, Clone)]
pub struct MemoryLog {
    topics: Arc<Mutex<BTreeMap<TopicName, Vec<Vec<LogRecord>>>>>,
    compacted: Arc<Mutex<BTreeSet<TopicName>>>,
    /// The number of the newest exclusive writer. A commit holds it, so that no newer writer begins meanwhile.
    epoch: Arc<Mutex<u64>>,
    /// The number of commits that are carried out and then not answered.
    pub unanswered: Arc<AtomicU64>,
    appended: Arc<Condvar>,
    /// A record that another host writes right behind the next ones for its topic, into the first partition.
    pub behind: Arc<Mutex<Option<(TopicName, LogRecord)>>>,
    /// Somebody else's work, which is done right after the next topic is created.
    after_topic: Arc<Mutex<Option<Interruption>>>,
    /// While it is true, readers get no record.
    pub is_held: Arc<AtomicBool>,
    pub unavailable: Arc<AtomicBool>,
    /// Bytes of values that were read.
    pub bytes_read: Arc<AtomicU64>,
    /// Larger records are refused, unless it is 0.
    pub record_bytes_max: Arc<AtomicU64>,
}

impl MemoryLog {
    pub fn with_topics(topics: &[(&str, i32)]) -> Self {
        let log = Self::default();
        for (name, partitions) in topics {
            let name = name.parse().expect("a topic's name");
            log.create_topic(&NewTopic { name, partitions: *partitions, compacted: false, retention: None })
                .expect("created");
        }
        log
    }

    /// Has this done right after the next topic is created.
    pub fn interrupt(&self, interruption: impl FnOnce() + Send + 'static) {
        *self.after_topic.lock().expect("unpoisoned") = Some(Box::new(interruption));
    }

    /// Everything in a partition.
    pub fn all(&self, topic: &str, partition: usize) -> Vec<LogRecord> {
        let topics = self.topics.lock().expect("unpoisoned");
        topics[&topic.parse().expect("a topic's name")][partition].clone()
    }

    /// Deletes a topic.
    pub fn delete(&self, topic: &str) {
        self.topics.lock().expect("unpoisoned").remove(&topic.parse().expect("a topic's name"));
    }

    /// Changes the records in place, as nothing but a fault can.
    pub fn damage(&self, topic: &str, partition: usize, damage: impl FnMut(&mut LogRecord)) {
        let mut topics = self.topics.lock().expect("unpoisoned");
        let topic: TopicName = topic.parse().expect("a topic's name");
        topics.get_mut(&topic).expect("there")[partition].iter_mut().for_each(damage);
    }

    fn available(&self) -> Result<(), LogError> {
        if self.unavailable.load(Ordering::Relaxed) {
            return Err(LogError::Unavailable("the brokers are away".into()));
        }
        Ok(())
    }
}

fn missing(topic: &TopicName) -> LogError {
    LogError::NoTopic(topic.to_string())
}

/// Nobody has ever committed anything here: there are no sessions.
impl Groups for MemoryLog {
    fn group_offsets(&self, _: &str, _: &[TopicName]) -> Result<Vec<GroupOffset>, LogError> {
        self.available().map(|()| Vec::new())
    }

    fn group_members(&self, _: &str) -> Result<usize, LogError> {
        self.available().map(|()| 0)
    }

    fn commit_for_group(&self, _: &str, _: &[GroupOffset]) -> Result<(), LogError> {
        Err(LogError::Refused("this log has no groups".into()))
    }

    fn delete_group(&self, _: &str) -> Result<(), LogError> {
        self.available()
    }

    fn offsets_at(&self, topic: &TopicName, at: Timestamp) -> Result<Vec<Option<i64>>, LogError> {
        self.available()?;
        let topics = self.topics.lock().expect("unpoisoned");
        let partitions = topics.get(topic).ok_or_else(|| missing(topic))?;
        let first = |records: &Vec<LogRecord>| records.iter().find(|record| record.timestamp >= at.0).map(|at| at.offset);
        Ok(partitions.iter().map(first).collect())
    }
}

/// The newest writer may write.
struct Exclusive {
    log: MemoryLog,
    epoch: u64,
}

impl ExclusiveWriter for Exclusive {
    fn end_offset(&self, topic: &TopicName, partition: i32) -> Result<i64, LogError> {
        Ok(self.log.offsets(topic, partition)?.1)
    }

    fn commit(self: Box<Self>, writes: &[PartitionWrite]) -> Result<Option<Box<dyn ExclusiveWriter>>, ExclusiveError> {
        let newest = self.log.epoch.lock().expect("unpoisoned");
        if *newest != self.epoch {
            return Err(ExclusiveError::Fenced("a newer writer took over".into()));
        }
        for PartitionWrite { topic, partition, records } in writes {
            self.log.append(topic, Some(*partition), records.clone())?;
        }
        let fewer = |left: u64| left.checked_sub(1);
        match self.log.unanswered.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer) {
            Ok(_) => Err(ExclusiveError::Unknown("no answer".into())),
            Err(_) => {
                drop(newest);
                Ok(Some(self))
            }
        }
    }

    fn commit_with_offsets(self: Box<Self>, _: &[PartitionWrite], _: &str, _: &[GroupOffset]) -> Result<(), ExclusiveError> {
        Err(LogError::Refused("this log has no groups".into()).into())
    }
}

impl Log for MemoryLog {
    fn exclusive(&self, _: &str) -> Result<Box<dyn ExclusiveWriter>, ExclusiveError> {
        self.available()?;
        let mut newest = self.epoch.lock().expect("unpoisoned");
        *newest += 1;
        Ok(Box::new(Exclusive { log: self.clone(), epoch: *newest }))
    }

    fn open(&self, _: &SessionOptions) -> Result<Box<dyn Session>, SessionError> {
        Err(SessionError::Restart("this log has no sessions".into()))
    }

    fn topic(&self, name: &TopicName) -> Result<TopicInfo, LogError> {
        self.available()?;
        let topics = self.topics.lock().expect("unpoisoned");
        let partitions = topics.get(name).ok_or_else(|| missing(name))?.len();
        let compacted = Some(self.compacted.lock().expect("unpoisoned").contains(name));
        Ok(TopicInfo {
            partitions: partitions as i32,
            record_bytes_max: 1 << 20,
            sent_bytes_max: 1 << 20,
            compacted,
            needs_keys: compacted,
            tombstones_kept: None,
            deleted_after: None,
            id: Some(name.to_string()),
        })
    }

    fn partitions(&self, name: &TopicName) -> Result<i32, LogError> {
        Ok(self.topic(name)?.partitions)
    }

    fn topics(&self) -> Result<Vec<(TopicName, TopicInfo)>, LogError> {
        let names: Vec<TopicName> = self.topics.lock().expect("unpoisoned").keys().cloned().collect();
        names.into_iter().map(|name| self.topic(&name).map(|info| (name, info))).collect()
    }

    fn create_topic(&self, topic: &NewTopic) -> Result<(), LogError> {
        self.available()?;
        let partitions = vec![Vec::new(); topic.partitions as usize];
        if topic.compacted {
            self.compacted.lock().expect("unpoisoned").insert(topic.name.clone());
        }
        self.topics.lock().expect("unpoisoned").entry(topic.name.clone()).or_insert(partitions);
        let interruption = self.after_topic.lock().expect("unpoisoned").take();
        if let Some(interruption) = interruption {
            interruption();
        }
        Ok(())
    }

    fn append(&self, topic: &TopicName, partition: Option<i32>, records: Vec<LogRecord>) -> Result<(), LogError> {
        self.available()?;
        let largest = records.iter().filter_map(|record| record.value.as_ref()).map(Vec::len).max().unwrap_or(0);
        match self.record_bytes_max.load(Ordering::Relaxed) {
            bytes_max if bytes_max > 0 && largest as u64 > bytes_max => {
                return Err(LogError::Refused("a record is too large".into()));
            }
            _ => {}
        }
        let mut topics = self.topics.lock().expect("unpoisoned");
        let partitions = topics.get_mut(topic).ok_or_else(|| missing(topic))?;
        for record in records {
            let hashed = partition_for(record.key.as_deref().unwrap_or_default(), partitions.len() as i32);
            let partition = &mut partitions[partition.unwrap_or(hashed) as usize];
            partition.push(LogRecord { offset: partition.len() as i64, ..record });
        }
        if let Some((_, record)) = self.behind.lock().expect("unpoisoned").take_if(|(of, _)| *of == *topic) {
            let first = &mut partitions[0];
            first.push(LogRecord { offset: first.len() as i64, ..record });
        }
        self.appended.notify_all();
        Ok(())
    }

    fn read(
        &self,
        topic: &TopicName,
        partition: i32,
        offset: i64,
        wait: Duration,
        bytes_max: usize,
    ) -> Result<Page, LogError> {
        let deadline = Instant::now() + wait;
        let mut topics = self.topics.lock().expect("unpoisoned");
        loop {
            self.available()?;
            let records = &topics.get(topic).ok_or_else(|| missing(topic))?[partition as usize];
            let is_held = self.is_held.load(Ordering::Relaxed);
            let end = if is_held { records.len().min(offset as usize) } else { records.len() };
            let records = &records[..end];
            let left = deadline.saturating_duration_since(Instant::now());
            if records.len() as i64 > offset || left.is_zero() {
                let mut bytes_left = bytes_max;
                let fits = |record: &&LogRecord| {
                    let before = bytes_left;
                    bytes_left = bytes_left.saturating_sub(record.value.as_ref().map_or(0, Vec::len));
                    before > 0
                };
                let page: Vec<_> = records.iter().skip(offset as usize).take_while(fits).cloned().collect();
                let bytes: usize = page.iter().filter_map(|record| record.value.as_ref()).map(Vec::len).sum();
                self.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
                let next_offset = offset + page.len() as i64;
                return Ok(Page { records: page, next_offset, end_offset: records.len() as i64 });
            }
            topics = self.appended.wait_timeout(topics, left).expect("unpoisoned").0;
        }
    }

    fn follow(&self, _: &TopicName, _: Option<&BTreeMap<i32, i64>>) -> Result<Box<dyn TopicReader>, LogError> {
        Err(LogError::Refused("this log has no readers".into()))
    }

    fn offsets(&self, topic: &TopicName, partition: i32) -> Result<(i64, i64), LogError> {
        self.available()?;
        let topics = self.topics.lock().expect("unpoisoned");
        let end = topics.get(topic).ok_or_else(|| missing(topic))?[partition as usize].len();
        Ok((0, end as i64))
    }

    fn high_watermark(&self, topic: &TopicName, partition: i32) -> Result<i64, LogError> {
        Ok(self.offsets(topic, partition)?.1)
    }
}
