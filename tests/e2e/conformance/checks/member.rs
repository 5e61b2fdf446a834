//! A worker reduced to the needs of the checks: it follows rebalances, drops repeats, and copies records.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use sandbar::ports::{CommitOffset, ProducerRecord, Rebalance, Session, SessionError, TopicPartition};

use super::{NOW, text, wait_for};

const POLL: Duration = Duration::from_millis(50);

/// A record that was delivered and had not been before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedRecord {
    pub partition: TopicPartition,
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl ReceivedRecord {
    pub fn text(&self) -> String {
        text(self.value.as_deref())
    }
}

#[derive(Clone, Copy)]
struct Position {
    next: i64,
    committed: i64,
}

pub struct Member {
    pub session: Box<dyn Session>,
    positions: BTreeMap<TopicPartition, Position>,
    /// The start offsets of the last assignments.
    pub assigned: Vec<CommitOffset>,
}

impl Member {
    pub fn new(session: Box<dyn Session>) -> Self {
        Self { session, positions: BTreeMap::new(), assigned: Vec::new() }
    }

    /// The number of partitions that it owns.
    pub fn owned(&self) -> usize {
        self.positions.len()
    }

    pub fn owns(&self, partition: TopicPartition) -> bool {
        self.positions.contains_key(&partition)
    }

    /// Polls once, and leaves it to the caller to carry the rebalance out.
    pub fn poll(&mut self, seen: &mut Vec<ReceivedRecord>) -> Result<Option<Rebalance>> {
        let positions = &mut self.positions;
        let rebalance = self.session.poll(POLL, 500, &mut |partition, record| {
            let Some(position) = positions.get_mut(&partition).filter(|position| record.offset >= position.next) else {
                return;
            };
            position.next = record.offset + 1;
            seen.push(ReceivedRecord {
                partition,
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record.headers.iter().map(|(name, v)| ((*name).to_owned(), v.map(<[u8]>::to_vec))).collect(),
            });
        })?;
        Ok(rebalance)
    }

    /// Carries a rebalance out. No transaction may be open.
    pub fn follow(&mut self, rebalance: Rebalance) -> Result<()> {
        match rebalance {
            Rebalance::Assign(partitions) => {
                let assigned = self.session.assign(&partitions)?;
                for at in &assigned {
                    let position = Position { next: at.next_offset, committed: at.next_offset };
                    self.positions.insert(at.partition, position);
                }
                self.assigned.extend(assigned);
            }
            Rebalance::Revoke(partitions) | Rebalance::Lost(partitions) => {
                self.positions.retain(|partition, _| !partitions.contains(partition));
                self.session.unassign(&partitions)?;
            }
        }
        Ok(())
    }

    /// Polls once and follows a rebalance.
    pub fn turn(&mut self, seen: &mut Vec<ReceivedRecord>) -> Result<()> {
        match self.poll(seen)? {
            Some(rebalance) => self.follow(rebalance),
            None => Ok(()),
        }
    }

    /// Polls until it owns `partitions`.
    pub fn join(&mut self, partitions: usize) -> Result<()> {
        let mut seen = Vec::new();
        wait_for("the assignment", || {
            self.turn(&mut seen)?;
            Ok(self.owned() == partitions)
        })?;
        self.rewind()
    }

    /// Polls until it has seen `records`.
    pub fn receive(&mut self, records: usize) -> Result<Vec<ReceivedRecord>> {
        let mut seen = Vec::new();
        wait_for("records", || {
            self.turn(&mut seen)?;
            Ok(seen.len() >= records)
        })?;
        Ok(seen)
    }

    /// Polls until `records` were delivered, a few at a time, so that the rest stays fetched.
    pub fn receive_few(&mut self, records: usize) -> Result<()> {
        let mut delivered = 0;
        wait_for("a few records", || {
            self.session.poll(POLL, 2, &mut |_, _| delivered += 1)?;
            Ok(delivered >= records)
        })
    }

    /// Goes back to the committed offsets.
    pub fn rewind(&mut self) -> Result<()> {
        self.positions.values_mut().for_each(|position| position.next = position.committed);
        let places: Vec<_> = self.positions.iter().map(|(partition, position)| (*partition, position.committed)).collect();
        Ok(self.session.seek_all(&places)?)
    }

    pub fn seek(&mut self, partition: TopicPartition, offset: i64) -> Result<()> {
        if let Some(position) = self.positions.get_mut(&partition) {
            position.next = offset;
        }
        Ok(self.session.seek(partition, offset)?)
    }

    pub fn send(&mut self, topic: usize, key: &str, value: &str) -> Result<(), SessionError> {
        let key = Some(key.as_bytes());
        let value = Some(value.as_bytes());
        self.session.send(&ProducerRecord { topic, partition: None, key, value, headers: &[], timestamp: *NOW })
    }

    /// The offsets up to which everything was seen.
    pub fn offsets(&self, metadata: &str) -> Vec<CommitOffset> {
        let moved = self.positions.iter().filter(|(_, position)| position.next > position.committed);
        let offset = |(&partition, position): (&TopicPartition, &Position)| CommitOffset {
            partition,
            next_offset: position.next,
            metadata: metadata.to_owned(),
        };
        moved.map(offset).collect()
    }

    pub fn commit(&mut self, metadata: &str) -> Result<(), SessionError> {
        let offsets = self.offsets(metadata);
        self.session.commit(&offsets)?;
        self.positions.values_mut().for_each(|position| position.committed = position.next);
        Ok(())
    }

    /// One transaction that copies the records of one poll to output 0, as `partition:offset value`. Follows rebalances after
    /// it, and recovers from a refused commit. Returns how many records were committed.
    pub fn copy(&mut self) -> Result<usize> {
        let mut seen = Vec::new();
        self.session.begin()?;
        let rebalance = self.poll(&mut seen)?;
        for record in &seen {
            let place = format!("{}:{}", record.partition.partition, record.offset);
            self.send(0, &place, &format!("{place} {}", record.text()))?;
        }
        let committed = match self.commit("copy") {
            Ok(()) => seen.len(),
            Err(SessionError::Abort(_) | SessionError::Withheld { .. }) => {
                self.session.abort()?;
                self.rewind()?;
                0
            }
            Err(error) => bail!(error),
        };
        rebalance.map_or(Ok(()), |rebalance| self.follow(rebalance))?;
        Ok(committed)
    }

    /// Begins a transaction with a record in it, whatever comes, and leaves it open.
    pub fn begin_copy(&mut self) -> Result<()> {
        let mut seen = Vec::new();
        self.session.begin()?;
        self.poll(&mut seen)?;
        self.send(0, "zombie", "from a transaction that never ends")?;
        for record in &seen {
            let place = format!("{}:{}", record.partition.partition, record.offset);
            self.send(0, &place, &format!("{place} {}", record.text()))?;
        }
        Ok(())
    }
}
