//! Begins transforms in their inputs, and keeps a record of that outside of their consumer groups.
//!
//! | topic | partitions | key | value |
//! |---|---|---|---|
//! | `_sandbar.<cluster>.positions` | 1, compacted | `team/name` | [`StartRecord`] as JSON, with its version |
//!
//! A group's offsets are forgotten by the log after some days without members. So each transform has a start record here:
//! for each input the topic's id and the number of its partitions that have had an offset. Whoever is about to start workers
//! calls [`Positions::begin`] first; `plan` decides which partitions begin. Sessions give no partition an offset.
//!
//! Invariants: a start record and the first offsets that go with it are written in one transaction, by the transform's one
//! writer (a newer one fences an older), so a crash leaves both or neither. Where the team has rights of its own, its writer
//! commits the offsets first, and then the host's writes the record; offsets without a record are taken over. An offset
//! that is there is never replaced, unless it is one of a topic that was recreated, and then only while the group has no
//! members; a record that cannot be understood is kept as it is, and its transform does not begin.

mod error;
mod keep_alive;
mod plan;
mod questions;
pub(crate) mod record;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::catalog::{self, CatalogError, MaterializedTopic, compacted, ensure_topic, until_won};
use crate::model::names::{ClusterName, TopicName, TransformId};
use crate::model::spec::Start;
use crate::model::units::Timestamp;
use crate::ports::{ExclusiveWriter, GroupOffset, Log, LogError, LogRecord, NewTopic, PartitionWrite, TopicSize, log_of};

use plan::Plan;
use record::StartRecords;

pub use error::PositionsError;
pub use keep_alive::{KEEP_ALIVE_INTERVAL, keep_groups_for_ever};
pub use record::{InputStart, StartEntry, StartRecord, encode, read, value};

/// Longest time to read the records to their end.
const SEEN_TIMEOUT: Duration = Duration::from_secs(15);
/// A transform's inputs, and its place in them.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    pub id: &'a TransformId,
    pub group: &'a str,
    pub topics: &'a [TopicName],
    /// The changelog topics of its stores, where these are to be opened: each must be the one in the start record.
    pub changelogs: &'a [TopicName],
    pub start: &'a Start,
}

/// The topic of the start records.
pub fn control_topic(cluster: &ClusterName) -> NewTopic {
    compacted(cluster, "positions", 1)
}

type AttemptError = catalog::AttemptError<PositionsError>;

impl From<PositionsError> for AttemptError {
    fn from(error: PositionsError) -> Self {
        Self::Failed(error)
    }
}

/// The start records of a cluster's transforms.
pub struct Positions {
    log: Arc<dyn Log>,
    cluster: ClusterName,
    topic: TopicName,
    records: MaterializedTopic<StartRecords>,
}

// === impl Positions ===

impl Positions {
    /// Creates the topic where it is missing, reads it and follows it from there on.
    pub fn open(log: Arc<dyn Log>, cluster: &ClusterName) -> Result<Self, CatalogError> {
        let topic = ensure_topic(&*log, control_topic(cluster))?;
        let records = MaterializedTopic::start(log.clone(), topic.clone(), 0, StartRecords::default())?;
        Ok(Self { log, cluster: cluster.clone(), topic, records })
    }

    /// The reason why the records cannot be read now, if there is one.
    pub fn trouble(&self) -> Option<String> {
        self.records.trouble()
    }

    /// The start record of a transform, as far as this host has seen it.
    pub fn record(&self, id: &TransformId) -> Result<Option<StartRecord>, PositionsError> {
        match self.records.current().get(id) {
            None => Ok(None),
            Some(StartEntry::Readable(record)) => Ok(Some(record.clone())),
            Some(StartEntry::Unreadable(reason)) => {
                Err(PositionsError::Unreadable { topic: self.topic.clone(), id: id.clone(), reason: reason.clone() })
            }
        }
    }

    /// Begins the partitions that have not begun: afterwards every partition of the inputs has an offset, but those that
    /// lost theirs. Returns for each input the number of partitions that have had one. `is_wanted` is asked when nobody else
    /// can begin any more.
    pub fn begin(
        &self,
        inputs: Inputs<'_>,
        is_wanted: &dyn Fn() -> Result<bool, LogError>,
    ) -> Result<BTreeMap<TopicName, InputStart>, PositionsError> {
        let (_, end_offset) = self.log.offsets(&self.topic, 0)?;
        self.see(end_offset)?;
        let log = log_of(&self.log, &inputs.id.team);
        until_won(PositionsError::Contended, || {
            let sizes = questions::sizes(&*log, inputs.topics)?;
            let changelogs = questions::changelog_ids(&*log, inputs.changelogs)?;
            let record = self.record(inputs.id)?;
            if let Some(record) = record.filter(|record| record.covers(&sizes) && record.has_changelogs(&changelogs)) {
                return Ok(record.inputs);
            }
            self.begin_once(inputs, &sizes, changelogs, is_wanted).map(|record| record.inputs)
        })
    }

    /// Deletes the start record of a transform: its spec's `start` decides again, once its group has no offsets either.
    pub fn forget(&self, id: &TransformId) -> Result<(), PositionsError> {
        until_won(PositionsError::Contended, || self.forget_once(id))
    }

    fn begin_once(
        &self,
        inputs: Inputs<'_>,
        sizes: &BTreeMap<TopicName, TopicSize>,
        changelogs: BTreeMap<TopicName, String>,
        is_wanted: &dyn Fn() -> Result<bool, LogError>,
    ) -> Result<StartRecord, AttemptError> {
        let Inputs { id, group, topics, start, .. } = inputs;
        let log = log_of(&self.log, &id.team);
        let writers = self.acquire_both(id)?;
        if !is_wanted()? {
            return Err(PositionsError::Unwanted.into());
        }
        let before = self.record(id)?;
        if let Some(topic) = before.as_ref().and_then(|record| record.recreated_changelog(&changelogs)) {
            return Err(PositionsError::ChangelogRecreated(topic.clone()).into());
        }
        let is_recreated = before.as_ref().is_some_and(|before| before.has_recreated(sizes));
        if is_recreated {
            questions::confirm_topics(&*log, sizes)?;
        }
        let committed = questions::committed(&*log, group, topics, sizes)?;
        let Plan { starts, inputs } = plan::plan(before.as_ref(), sizes, &committed);
        let changelogs =
            if changelogs.is_empty() { before.map(|record| record.changelogs).unwrap_or_default() } else { changelogs };
        let record = StartRecord { inputs, changelogs };
        let offsets = questions::first_offsets(&*log, &starts, start)?;
        let written = record::encode(id, &record, Timestamp::now());
        if is_recreated {
            questions::refuse_members(&*log, group)?;
        }
        writers.commit(self.write(written), group, &offsets)?;
        // It is there: if this host does not see it in time, it will soon.
        let _ = self.records.wait_until(SEEN_TIMEOUT, |all| all.get(id) == Some(&StartEntry::Readable(record.clone())));
        for (topic, partition, from) in &starts {
            tracing::info!(transform = %id, %topic, partition, ?from, "partition begun");
        }
        Ok(record)
    }

    fn forget_once(&self, id: &TransformId) -> Result<(), AttemptError> {
        let writer = self.acquire(id)?;
        if self.record(id)?.is_none() {
            return Ok(());
        }
        writer.commit(&[self.write(record::tombstone(id, Timestamp::now()))])?;
        let _ = self.records.wait_until(SEEN_TIMEOUT, |all| !all.contains_key(id));
        Ok(())
    }

    fn write(&self, record: LogRecord) -> PartitionWrite {
        PartitionWrite { topic: self.topic.clone(), partition: 0, records: vec![record] }
    }

    /// Becomes the one writer of this transform's record: from here on nobody else writes it, or this host's commit fails.
    /// All records that were written before are read.
    fn acquire(&self, id: &TransformId) -> Result<Box<dyn ExclusiveWriter>, AttemptError> {
        let writer = self.log.exclusive(&self.transactional_id(id, "positions"))?;
        let end_offset = writer.end_offset(&self.topic, 0)?;
        self.see(end_offset)?;
        Ok(writer)
    }

    /// Becomes the one writer of the record, then that of the team's first offsets: a host that did so before cannot commit
    /// offsets any more, nor a record.
    fn acquire_both(&self, id: &TransformId) -> Result<Writers, AttemptError> {
        let record = self.acquire(id)?;
        let team = self.log.of_team(&id.team);
        let offsets = team.map(|log| log.exclusive(&self.transactional_id(id, "offsets"))).transpose()?;
        Ok(Writers { record, offsets })
    }

    fn transactional_id(&self, id: &TransformId, of: &str) -> String {
        format!("sandbar.{}.{}.{}.{of}", self.cluster, id.team, id.name)
    }

    fn see(&self, end_offset: i64) -> Result<(), LogError> {
        if self.records.wait_for(end_offset, SEEN_TIMEOUT) {
            return Ok(());
        }
        Err(LogError::Unavailable(format!("{} cannot be read to its end", self.topic)))
    }
}

/// The writers of a start record and of the first offsets.
struct Writers {
    record: Box<dyn ExclusiveWriter>,
    /// The team's own, where it has rights of its own.
    offsets: Option<Box<dyn ExclusiveWriter>>,
}

impl Writers {
    fn commit(self, record: PartitionWrite, group: &str, offsets: &[GroupOffset]) -> Result<(), AttemptError> {
        let Some(writer) = self.offsets else {
            return Ok(self.record.commit_with_offsets(&[record], group, offsets)?);
        };
        if !offsets.is_empty() {
            writer.commit_with_offsets(&[], group, offsets)?;
        }
        self.record.commit(&[record])?;
        Ok(())
    }
}
