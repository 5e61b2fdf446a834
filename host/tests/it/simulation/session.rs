//! A session on the broker in memory. Every call may fail, and the process may die in it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use sandbar::model::batch::{HeaderRef, RecordRef};
use sandbar::model::names::TopicName;
use sandbar::ports::{
    CommitOffset, NoPlace, ProducerRecord, Rebalance, Session, SessionError, TopicPartition, UnplacedPartition,
};

use super::broker::{Broker, InputLog, Sent, partition_of};
use super::clock;

type Result<T> = std::result::Result<T, SessionError>;

pub struct SimSession {
    broker: Rc<RefCell<Broker>>,
    pub id: u64,
    transactional_id: String,
    epoch: u32,
    /// The partitions that it believes to own: from the event on, until it gave them up.
    holds: BTreeSet<TopicPartition>,
    positions: BTreeMap<TopicPartition, i64>,
    /// Partitions whose offset was not settled.
    unplaced: Vec<UnplacedPartition>,
    /// Paused partitions, with how many fetched records may still come.
    paused: BTreeMap<TopicPartition, usize>,
    /// Given up, but with fetched records that may still come.
    ghosts: Vec<(TopicPartition, i64)>,
    /// Ends that were told already.
    told: BTreeMap<TopicPartition, i64>,
    ends: Vec<(TopicPartition, i64)>,
    /// A change that was told and not answered: none is told again.
    unanswered: bool,
    open: bool,
    captured: Option<u64>,
    /// One past the last change that it has in each changelog.
    written: BTreeMap<i32, i64>,
    dead: bool,
}

impl SimSession {
    pub fn open(broker: Rc<RefCell<Broker>>, transactional_id: &str) -> Self {
        let (id, epoch) = broker.borrow_mut().open(transactional_id);
        Self {
            broker,
            id,
            transactional_id: transactional_id.to_owned(),
            epoch,
            holds: BTreeSet::new(),
            positions: BTreeMap::new(),
            unplaced: Vec::new(),
            paused: BTreeMap::new(),
            ghosts: Vec::new(),
            told: BTreeMap::new(),
            ends: Vec::new(),
            unanswered: false,
            open: false,
            captured: None,
            written: BTreeMap::new(),
            dead: false,
        }
    }

    /// The faults of any call: the process dies, or the call fails.
    fn enter(&mut self, call: &str) -> Result<()> {
        if self.dead {
            return Err(SessionError::Restart("dead".into()));
        }
        let broker = &mut *self.broker.borrow_mut();
        broker.tick();
        let rate = broker.faults.calls;
        if !broker.rng.chance(rate) {
            return Ok(());
        }
        Err(match broker.rng.below(3) {
            0 => {
                self.dead = true;
                broker.crashed.insert(self.id);
                SessionError::Restart(format!("died in {call}"))
            }
            1 => SessionError::Restart(format!("{call} failed")),
            _ => SessionError::Abort(format!("{call} failed")),
        })
    }

    /// Reads a partition from its committed offset on.
    fn place(&mut self, partition: TopicPartition) -> CommitOffset {
        let next_offset = self.broker.borrow_mut().position(partition);
        self.positions.insert(partition, next_offset);
        self.told.remove(&partition);
        self.paused.remove(&partition);
        self.ghosts.retain(|(ghost, _)| *ghost != partition);
        let metadata = self.broker.borrow().metadata.get(&partition).cloned().unwrap_or_default();
        CommitOffset { partition, next_offset, metadata }
    }

    fn check_epoch(&self) -> Result<()> {
        if !self.broker.borrow().is_current(&self.transactional_id, self.epoch) {
            return Err(SessionError::Restart("fenced".into()));
        }
        Ok(())
    }

    fn deliver(&mut self, records_max: usize, on_record: &mut dyn FnMut(TopicPartition, &RecordRef<'_>)) -> usize {
        let broker = &mut *self.broker.borrow_mut();
        let Broker { rng, faults, inputs, reads_max, .. } = broker;
        for (partition, from) in self.ghosts.drain(..) {
            hand_over(&inputs[&partition], from, 3, partition, on_record);
        }
        let mut partitions: Vec<TopicPartition> = self.positions.keys().copied().collect();
        rng.shuffle(&mut partitions);
        let mut delivered = 0;
        for partition in partitions {
            let log = &inputs[&partition];
            let mut room = (records_max - delivered).min(1 + rng.below(*reads_max));
            if let Some(fetched) = self.paused.get_mut(&partition) {
                room = room.min(*fetched);
                *fetched -= room;
                if room == 0 {
                    continue;
                }
            }
            let position = self.positions.get_mut(&partition).expect("listed");
            if room > 0 && rng.chance(faults.repeats) {
                hand_over(log, *position - rng.between(1, 6), 3.min(room), partition, &mut |partition, record| {
                    if record.offset < *position {
                        on_record(partition, record);
                    }
                });
            }
            let first = log.find(*position);
            let count = room.min(log.records.len() - first);
            hand_over(log, *position, count, partition, on_record);
            delivered += count;
            if count > 0 {
                *position = log.records[first + count - 1].offset + 1;
            }
            if first + count == log.records.len() && self.told.get(&partition) != Some(&log.end) {
                *position = log.end;
                self.told.insert(partition, log.end);
                self.ends.push((partition, log.end));
            }
        }
        delivered
    }
}

fn hand_over(
    log: &InputLog,
    from: i64,
    count: usize,
    partition: TopicPartition,
    on_record: &mut dyn FnMut(TopicPartition, &RecordRef<'_>),
) {
    for record in log.records[log.find(from)..].iter().take(count) {
        let headers: Vec<HeaderRef<'_>> =
            record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let record = RecordRef {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: Some(record.value.as_slice()),
            headers: &headers,
        };
        on_record(partition, &record);
    }
}

impl Session for SimSession {
    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        on_record: &mut dyn FnMut(TopicPartition, &RecordRef<'_>),
    ) -> Result<Option<Rebalance>> {
        self.ends.clear();
        self.enter("poll")?;
        let change = if self.unanswered { None } else { self.broker.borrow_mut().next_change(self.id, &self.holds) };
        if let Some(change) = &change {
            self.unanswered = true;
            if let Rebalance::Assign(partitions) = change {
                self.holds.extend(partitions);
            }
        }
        let delivered = self.deliver(records_max, on_record);
        let waits = delivered == 0 && change.is_none() && self.ends.is_empty();
        let idle = if waits { timeout.as_millis() as i64 } else { 0 };
        clock::advance(idle + self.broker.borrow_mut().rng.between(0, 2));
        Ok(change)
    }

    fn assign(&mut self, partitions: &[TopicPartition]) -> Result<Vec<CommitOffset>> {
        self.enter("assign")?;
        assert!(!self.open, "a partition is taken over in mid-transaction");
        self.unanswered = false;
        let mut assigned = Vec::new();
        for &partition in partitions {
            // Such a log waits for the transaction's end, or tells of it.
            let waits = self.broker.borrow_mut().rng.chance(500);
            if !waits && !self.broker.borrow_mut().is_settled(partition) {
                self.unplaced.push(UnplacedPartition { partition, reason: NoPlace::Unsettled });
                continue;
            }
            assigned.push(self.place(partition));
        }
        Ok(assigned)
    }

    fn unplaced(&self) -> &[UnplacedPartition] {
        &self.unplaced
    }

    fn settle(&mut self) -> Result<Vec<CommitOffset>> {
        self.enter("settle")?;
        assert!(!self.open, "a partition is taken over in mid-transaction");
        let waiting = self.unplaced.iter().map(|unplaced| unplaced.partition);
        let settled: Vec<TopicPartition> = waiting.filter(|&at| self.broker.borrow_mut().is_settled(at)).collect();
        self.unplaced.retain(|unplaced| !settled.contains(&unplaced.partition));
        Ok(settled.into_iter().map(|partition| self.place(partition)).collect())
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.enter("unassign")?;
        self.unanswered = false;
        for partition in partitions {
            self.holds.remove(partition);
            self.unplaced.retain(|unplaced| unplaced.partition != *partition);
            if let Some(position) = self.positions.remove(partition) {
                self.ghosts.push((*partition, position));
            }
        }
        self.broker.borrow_mut().released(self.id, partitions);
        Ok(())
    }

    fn seek(&mut self, partition: TopicPartition, offset: i64) -> Result<()> {
        self.enter("seek")?;
        let position = self.positions.get_mut(&partition).ok_or_else(|| SessionError::Abort("not assigned".into()))?;
        *position = offset;
        self.told.remove(&partition);
        Ok(())
    }

    fn pause(&mut self, partition: TopicPartition) -> Result<()> {
        self.enter("pause")?;
        let fetched = self.broker.borrow_mut().rng.below(6);
        self.paused.insert(partition, fetched);
        Ok(())
    }

    fn resume(&mut self, partition: TopicPartition) -> Result<()> {
        self.enter("resume")?;
        self.paused.remove(&partition);
        Ok(())
    }

    fn end_offset(&self, partition: TopicPartition) -> Option<i64> {
        Some(self.broker.borrow().inputs[&partition].end)
    }

    fn consumed_ends(&self) -> &[(TopicPartition, i64)] {
        &self.ends
    }

    fn begin(&mut self) -> Result<()> {
        self.enter("begin")?;
        self.check_epoch()?;
        assert!(!self.open, "begin in an open transaction");
        let mut broker = self.broker.borrow_mut();
        broker.begin(&self.transactional_id);
        self.captured = broker.generation_of(self.id);
        self.open = true;
        Ok(())
    }

    fn send(&mut self, record: &ProducerRecord<'_>) -> Result<()> {
        self.enter("send")?;
        self.check_epoch()?;
        assert!(self.open, "send outside of a transaction");
        if let Some(partition) = record.partition {
            let key = record.key.expect("an entry has a key");
            let mut broker = self.broker.borrow_mut();
            let end = broker.send_change(&self.transactional_id, partition, key, record.value, record.timestamp);
            self.written.insert(partition, end);
            return Ok(());
        }
        let value = record.value.expect("every record has a value");
        let sent = Sent {
            topic: record.topic,
            partition: partition_of(record.key, value),
            key: record.key.map(<[u8]>::to_vec),
            value: value.to_vec(),
            headers: record.headers.iter().map(|(name, value)| ((*name).to_owned(), value.map(<[u8]>::to_vec))).collect(),
            timestamp: record.timestamp,
        };
        self.broker.borrow_mut().send(&self.transactional_id, sent);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.enter("flush")
    }

    fn written_end(&self, _: usize, partition: i32) -> Option<i64> {
        self.written.get(&partition).copied()
    }

    fn commit(&mut self, offsets: &[CommitOffset]) -> Result<()> {
        assert!(self.open || self.dead, "commit outside of a transaction");
        self.enter("commit")?;
        let broker = self.broker.clone();
        let id = self.transactional_id.clone();
        let mut broker = broker.borrow_mut();
        let rate = broker.faults.commits;
        let aborts = broker.faults.aborts;
        let fault = if broker.rng.chance(rate) { broker.rng.below(8) } else { usize::MAX };
        if aborts > 0 && broker.rng.chance(aborts) {
            return Err(SessionError::Abort("a record was not delivered".into()));
        }
        match fault {
            // It was away for so long that somebody else took over.
            0 => broker.evict(self.id),
            1 => broker.rebalance(),
            2 => broker.fence(&id),
            3 => return Err(SessionError::Abort("a record was not delivered".into())),
            // It dies with its records sent: until its transaction is given up, nobody can read the records after them.
            4 => {
                self.dead = true;
                broker.crashed.insert(self.id);
                return Err(SessionError::Restart("died before its offsets were sent".into()));
            }
            _ => {}
        }
        drop(broker);
        self.check_epoch()?;
        let mut broker = self.broker.borrow_mut();
        broker.add_offsets(self.id, &id, self.captured, offsets).map_err(|error| SessionError::Abort(error.into()))?;
        let unknown = || Err(SessionError::Restart("nobody knows how the commit ended".into()));
        match fault {
            // Its answer is lost.
            5 => {
                broker.end(&id, true);
                return unknown();
            }
            // Its request is lost: the transaction stays open.
            6 => return unknown(),
            // Its request is late: it arrives, or it is fenced before.
            7 => {
                let at = clock::ms() + broker.rng.between(1, 100_000);
                broker.end_later(&id, at);
                return unknown();
            }
            _ => broker.end(&id, true),
        }
        self.open = false;
        Ok(())
    }

    fn abort(&mut self) -> Result<()> {
        self.enter("abort")?;
        self.check_epoch()?;
        self.open = false;
        self.broker.borrow_mut().end(&self.transactional_id, false);
        Ok(())
    }

    fn set_outputs(&mut self, _: &[TopicName]) -> Result<()> {
        assert!(!self.open, "other outputs in an open transaction");
        self.enter("set_outputs")
    }
}

impl Drop for SimSession {
    /// Leaves the group, unless its process died. An open transaction stays behind either way.
    fn drop(&mut self) {
        // Not to be had while a broken invariant unwinds.
        if let Ok(mut broker) = self.broker.try_borrow_mut()
            && !broker.crashed.contains(&self.id)
        {
            broker.leave(self.id);
        }
    }
}
