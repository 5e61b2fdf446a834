//! The records of an open transaction: encoded blocks in memory, which become visible all at once or never.
//!
//! Owned by one session (or one append). Bounded: [`Outputs::push`] refuses records beyond the limit.

use std::time::Duration;

use super::block::{self, Builder, Entry};
use super::options::Options;
use super::store::{PartitionId, Topic};
use crate::model::murmur2::partition_for;
use crate::model::names::TopicName;
use crate::model::units::Timestamp;
use crate::ports::refused_timestamp;

/// The reason why a record was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no output topic {0}")]
    NoTopic(usize),
    #[error("a record for topic {topic} has {bytes} bytes, the limit is {limit} (record_bytes_max)")]
    RecordTooLarge { topic: TopicName, bytes: usize, limit: usize },
    #[error("topic {0} is compacted: its records need a key")]
    NoKey(TopicName),
    #[error("topic {topic} takes no timestamp of more than an hour ahead, and this is {timestamp}")]
    Timestamp { topic: TopicName, timestamp: i64 },
    #[error("topic {topic}: {reason}")]
    NegativeTimestamp { topic: TopicName, reason: String },
    #[error("the transaction is over {limit} bytes (transaction_bytes_max): write less at once")]
    Full { limit: usize },
}

/// Time by which a timestamp may be ahead of the clock: Kafka's default of `message.timestamp.after.max.ms`.
const TIMESTAMP_AHEAD_MAX: Duration = Duration::from_secs(60 * 60);

/// The buffered records of one transaction, by topic and partition.
#[derive(Debug, Default)]
pub struct Outputs {
    targets: Vec<Target>,
    /// Timestamps up to this one are taken without a look at the clock.
    timestamp_max: i64,
    bytes: usize,
    bytes_max: usize,
    record_bytes_max: usize,
}

#[derive(Debug)]
struct Target {
    name: TopicName,
    compacted: bool,
    partitions: Vec<Buffer>,
    /// The partition of the next record without a key.
    turn: usize,
}

#[derive(Debug)]
struct Buffer {
    id: PartitionId,
    full: Vec<Builder>,
    open: Builder,
}

/// Blocks of one partition that are ready to be written, with their spans.
#[derive(Debug)]
pub struct PartitionBlocks {
    pub id: PartitionId,
    pub blocks: Vec<(u32, Vec<u8>)>,
}

impl Outputs {
    pub fn new(options: &Options) -> Self {
        Self {
            targets: Vec::new(),
            timestamp_max: 0,
            bytes: 0,
            bytes_max: options.transaction_bytes_max,
            record_bytes_max: options.record_bytes_max,
        }
    }

    /// Adds a topic; [`Outputs::push`] counts them in this order. `turn` is where records without a key begin.
    pub fn add_topic(&mut self, name: &TopicName, topic: &Topic, turn: usize) -> usize {
        let buffer = |partition| Buffer {
            id: PartitionId { topic: topic.id, partition },
            full: Vec::new(),
            open: Builder::default(),
        };
        let partitions = (0..topic.partitions).map(buffer).collect();
        self.targets.push(Target { name: name.clone(), compacted: topic.compacted, partitions, turn });
        self.targets.len() - 1
    }

    /// Buffers a record for `partition` of the topic, or for the one that its key hashes to; without a key, for each in
    /// turn. A timestamp of -1 becomes the current time.
    pub fn push(&mut self, target: usize, partition: Option<i32>, entry: &Entry<'_>) -> Result<(), Refusal> {
        let target = self.targets.get_mut(target).ok_or(Refusal::NoTopic(target))?;
        if entry.timestamp > self.timestamp_max {
            self.timestamp_max = Timestamp::now().after(TIMESTAMP_AHEAD_MAX).0;
            if entry.timestamp > self.timestamp_max {
                return Err(Refusal::Timestamp { topic: target.name.clone(), timestamp: entry.timestamp });
            }
        }
        if let Some(reason) = refused_timestamp(entry.timestamp) {
            return Err(Refusal::NegativeTimestamp { topic: target.name.clone(), reason });
        }
        let bytes = block::payload_bytes(entry);
        let limit = self.record_bytes_max;
        if bytes > limit {
            return Err(Refusal::RecordTooLarge { topic: target.name.clone(), bytes, limit });
        }
        if target.compacted && entry.key.is_none() {
            return Err(Refusal::NoKey(target.name.clone()));
        }
        if self.bytes + block::entry_bytes(entry) > self.bytes_max {
            return Err(Refusal::Full { limit: self.bytes_max });
        }
        let partition = match (partition, entry.key) {
            (Some(partition), _) => partition as usize,
            (None, Some(key)) => partition_for(key, target.partitions.len() as i32) as usize,
            (None, None) => {
                target.turn += 1;
                target.turn % target.partitions.len()
            }
        };
        let timestamp = if entry.timestamp == -1 { Timestamp::now().0 } else { entry.timestamp };
        let buffer = &mut target.partitions[partition];
        self.bytes += buffer.open.push(buffer.open.next_delta(), &Entry { timestamp, ..*entry });
        if buffer.open.is_full() {
            buffer.full.push(std::mem::take(&mut buffer.open));
        }
        Ok(())
    }

    /// Returns true if it is filled to less than a half.
    pub fn has_room(&self) -> bool {
        self.bytes < self.bytes_max / 2
    }

    /// The partition of a topic.
    pub fn id(&self, target: usize, partition: i32) -> Option<PartitionId> {
        let partitions = &self.targets.get(target)?.partitions;
        Some(partitions.get(usize::try_from(partition).ok()?)?.id)
    }

    /// Hands the records over for writing; the buffer is empty again.
    pub fn seal(&mut self, written_at: i64) -> Vec<PartitionBlocks> {
        self.bytes = 0;
        let partitions = self.targets.iter_mut().flat_map(|target| &mut target.partitions);
        let touched = partitions.filter(|buffer| !buffer.full.is_empty() || !buffer.open.is_empty());
        touched
            .map(|buffer| {
                let open = Some(std::mem::take(&mut buffer.open)).filter(|open| !open.is_empty());
                let builders = std::mem::take(&mut buffer.full).into_iter().chain(open);
                let blocks = builders.map(|mut builder| (builder.span(), builder.seal(written_at))).collect();
                PartitionBlocks { id: buffer.id, blocks }
            })
            .collect()
    }

    /// Forgets everything that was buffered.
    pub fn clear(&mut self) {
        self.bytes = 0;
        for buffer in self.targets.iter_mut().flat_map(|target| &mut target.partitions) {
            buffer.full.clear();
            buffer.open = Builder::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs() -> Outputs {
        let mut outputs =
            Outputs::new(&Options { transaction_bytes_max: 1 << 20, record_bytes_max: 2000, ..Options::new("unused") });
        let name: TopicName = "t".parse().expect("valid");
        outputs.add_topic(&name, &Topic { id: 7, partitions: 2, compacted: false }, 0);
        outputs.add_topic(&name, &Topic { id: 9, partitions: 1, compacted: true }, 0);
        outputs
    }

    fn entry(value: &[u8]) -> Entry<'_> {
        Entry { timestamp: 0, key: None, value: Some(value), headers: &[] }
    }

    #[test]
    fn outputs_are_bounded_and_cut_into_blocks() {
        let mut outputs = outputs();
        let value = vec![0; 1000];
        let taken = (0..2000).take_while(|_| outputs.push(0, Some(1), &entry(&value)).is_ok()).count();
        assert_eq!(taken, (1 << 20) / 1028);
        let written = outputs.seal(5);
        assert_eq!(written.len(), 1);
        assert_eq!(written[0].id, PartitionId { topic: 7, partition: 1 });
        let records: usize = written[0].blocks.iter().map(|(span, _)| *span as usize + 1).sum();
        assert_eq!((written[0].blocks.len(), records), (4, taken));
        assert_eq!(outputs.push(0, None, &entry(&value)), Ok(()), "sealing makes room");
        outputs.clear();
        assert!(outputs.seal(6).is_empty());
    }

    #[test]
    fn records_without_a_key_go_round() {
        let mut outputs = outputs();
        for _ in 0..4 {
            assert_eq!(outputs.push(0, None, &entry(b"v")), Ok(()));
        }
        let spans: Vec<u32> = outputs.seal(0).iter().map(|partition| partition.blocks[0].0).collect();
        assert_eq!(spans, [1, 1]);
    }

    #[test]
    fn a_refusal_names_the_limit() {
        let mut outputs = outputs();
        let refused = |result: Result<(), Refusal>| result.expect_err("too much").to_string();
        assert!(
            refused(outputs.push(0, None, &entry(&[0; 2001]))).contains("2001 bytes, the limit is 2000 (record_bytes_max)")
        );
        assert!(refused(outputs.push(1, None, &entry(b"v"))).contains("need a key"));
        let ahead = Entry { timestamp: i64::MAX, ..entry(b"v") };
        assert!(refused(outputs.push(0, None, &ahead)).contains("an hour ahead"));
        let negative = Entry { timestamp: -5, ..entry(b"v") };
        assert!(refused(outputs.push(0, None, &negative)).contains("topic t: a record with the timestamp -5"));
        assert_eq!(outputs.push(0, None, &Entry { timestamp: -1, ..entry(b"v") }), Ok(()));
        assert_eq!(outputs.push(2, None, &entry(b"v")), Err(Refusal::NoTopic(2)));
    }
}
