//! The audit topic: every change and every refusal of a caller, with its author.
//!
//! | topic | partitions | key | value |
//! |---|---|---|---|
//! | `_sandbar.<cluster>.audit` | 1, kept for `--audit-retention` | the team, or none | [`AuditEntry`] as JSON, with its version |
//!
//! The entry of a change of a control topic is written in the transaction of that change: neither is there without the
//! other. Changes of other things (offsets, topics) have their entry before them. A refusal of a caller who has signed in
//! is written before it is answered; those of others are counted and written together ([`Refusals`]).

mod refusals;

use std::sync::Arc;
use std::time::Duration;

pub use self::refusals::{Refusals, RefusedRequest};
pub use crate::model::audit::{Action, Actor, AuditEntry, AuditOutcome};

use crate::model::format::{Format, decode, encode};
use crate::model::names::{ClusterName, TopicName};
use crate::model::units::Timestamp;
use crate::ports::{Log, LogError, LogRecord, NewTopic, PartitionWrite};

/// Time that entries are kept by default (`--audit-retention`): 400 days, so that a year can be compared with the last.
pub const AUDIT_RETENTION: Duration = Duration::from_secs(400 * 24 * 3600);
/// Entries are read in the order of their time.
const PARTITION: i32 = 0;
const PAGE_BYTES_MAX: usize = 1 << 20;

/// The topic, as a host writes and reads it.
#[derive(Clone)]
pub struct AuditLog {
    log: Arc<dyn Log>,
    topic: TopicName,
}

/// Entries of one read.
pub struct AuditPage {
    pub entries: Vec<AuditEntry>,
    /// The offset at which the next page begins; none at the end.
    pub next_offset: Option<i64>,
}

// === impl AuditLog ===

impl AuditLog {
    pub fn new(log: Arc<dyn Log>, cluster: &ClusterName) -> Self {
        Self { log, topic: cluster.control_topic("audit") }
    }

    /// Creates the topic if it is missing.
    pub fn ensure(&self, retention: Duration) -> Result<(), LogError> {
        match self.log.topic(&self.topic) {
            Err(LogError::NoTopic(_)) => {
                tracing::info!(topic = %self.topic, "creating control topic");
                self.log.create_topic(&topic_kept_for(self.topic.clone(), retention))
            }
            found => found.map(drop),
        }
    }

    /// The entries as a part of a transaction.
    pub fn write(&self, entries: &[AuditEntry]) -> PartitionWrite {
        let records = entries.iter().map(record).collect();
        PartitionWrite { topic: self.topic.clone(), partition: PARTITION, records }
    }

    /// Writes entries by themselves. Blocks.
    pub fn append(&self, entries: &[AuditEntry]) -> Result<(), LogError> {
        let PartitionWrite { topic, partition, records } = self.write(entries);
        self.log.append(&topic, Some(partition), records)
    }

    /// The offset of the first entry from `since` on. Blocks.
    pub fn offset_at(&self, since: Timestamp) -> Result<i64, LogError> {
        let found = self.log.offsets_at(&self.topic, since)?.first().copied().flatten();
        found.map_or_else(|| Ok(self.log.offsets(&self.topic, PARTITION)?.1), Ok)
    }

    /// Reads one page. Entries that this host does not understand are left out. Blocks.
    pub fn read(&self, offset: i64) -> Result<AuditPage, LogError> {
        let (first, end_offset) = self.log.offsets(&self.topic, PARTITION)?;
        if offset >= end_offset {
            return Ok(AuditPage { entries: Vec::new(), next_offset: None });
        }
        let page = self.log.read(&self.topic, PARTITION, offset.max(first), Duration::ZERO, PAGE_BYTES_MAX)?;
        let values = page.records.iter().filter_map(|record| record.value.as_deref());
        let entries = values.filter_map(|value| decode(Format::Audit, value).ok()).collect();
        let next_offset = Some(page.next_offset).filter(|&next| next < end_offset && next > offset);
        Ok(AuditPage { entries, next_offset })
    }
}

/// The topic of the entries, which are kept for `retention`.
pub fn control_topic(cluster: &ClusterName, retention: Duration) -> NewTopic {
    topic_kept_for(cluster.control_topic("audit"), retention)
}

fn topic_kept_for(name: TopicName, retention: Duration) -> NewTopic {
    NewTopic { name, partitions: 1, compacted: false, retention: Some(retention) }
}

fn record(entry: &AuditEntry) -> LogRecord {
    let key = entry.team.as_ref().map(|team| team.as_str().as_bytes().to_vec());
    let value = Some(encode(Format::Audit, entry));
    LogRecord { offset: 0, timestamp: entry.at.0.0, key, value, headers: Vec::new() }
}
