//! Committed offsets, seen and changed from outside of their group: [`Groups`].
//!
//! A consumer that is configured with the group's name makes the calls, and never joins it. A broker takes a commit from
//! outside only while the group has no member, so a member that comes between a look and a change is safe.

use std::time::{Duration, Instant};

use futures::executor::block_on;

use super::config::{CALL_TIMEOUT, READER_GROUP};
use super::error::{none_refused, of_group, of_group_deletion, unavailable};
use super::log::KafkaLog;
use super::raw::{Client, CodeName, CommittedOffset, FetchBuffer, NO_OFFSET, PartitionList, Position};
use super::retry::{asked_again, led};
use super::topics::Topics;
use crate::model::names::TopicName;
use crate::model::units::Timestamp;
use crate::ports::{GroupOffset, Groups, LogError};

/// Longest time to join an empty group: brokers wait for more members first.
const JOIN_TIMEOUT: Duration = Duration::from_secs(20);

impl KafkaLog {
    fn outsider(&self, group: &str) -> Result<Client, LogError> {
        self.connection.reader(group).map_err(unavailable)
    }

    /// Asks once, through a client that is there already, which takes a tenth of the time. None if an open transaction may
    /// change an offset, or nobody answered: another client asks again and again then.
    fn stable_offsets(&self, group: &str, list: &PartitionList) -> Option<Vec<Position>> {
        let open = || self.connection.reader(READER_GROUP);
        let ask = |client: &Client| client.group_offsets(group, list, true, CALL_TIMEOUT);
        let offsets = self.outsiders.with(self.connection.generation(), open, ask).ok()?;
        let stable = |offset| match offset {
            CommittedOffset::Stable(position) => Some(position),
            CommittedOffset::Unstable(_) => None,
        };
        offsets.into_iter().map(stable).collect()
    }
}

impl Groups for KafkaLog {
    fn group_offsets(&self, group: &str, topics: &[TopicName]) -> Result<Vec<GroupOffset>, LogError> {
        let mut list = PartitionList::new();
        for topic in topics {
            for partition in 0..self.topics.partitions(topic)? {
                list.add(topic.as_str(), partition, NO_OFFSET, "");
            }
        }
        let positions = match self.stable_offsets(group, &list) {
            Some(positions) => positions,
            None => {
                self.outsider(group)?.committed(&list, CALL_TIMEOUT).map_err(unavailable)?;
                list.entries()
            }
        };
        let committed = positions.into_iter().filter(|position| position.offset >= 0);
        let offset = |position: Position| {
            let Position { topic, partition, offset: next_offset, metadata } = position;
            Some(GroupOffset { topic: topic.parse().ok()?, partition, next_offset, metadata })
        };
        Ok(committed.filter_map(offset).collect())
    }

    fn group_members(&self, group: &str) -> Result<usize, LogError> {
        let open = || self.connection.reader(READER_GROUP);
        // librdkafka keeps the coordinator that it has found, also where that one says it is none: a client whose call has
        // failed is not used again.
        let ask = |left| self.outsiders.with(self.connection.generation(), open, |client| client.members(group, left));
        match asked_again(ask) {
            Ok(members) => Ok(members.len()),
            Err(error) if error.code == CodeName::RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND => Ok(0),
            Err(error) => Err(unavailable(error)),
        }
    }

    fn commit_for_group(&self, group: &str, offsets: &[GroupOffset]) -> Result<(), LogError> {
        let mut list = PartitionList::new();
        for offset in offsets {
            list.add(offset.topic.as_str(), offset.partition, offset.next_offset, &offset.metadata);
        }
        self.outsider(group)?.commit_sync(&list).map_err(|error| of_group(group, error))
    }

    /// Kafka counts the days from when the group became empty, whenever its offsets were committed: a commit from outside
    /// puts nothing off. So a member joins, and leaves.
    fn keep_group(&self, group: &str, topics: &[TopicName], co_partitioned: bool) -> Result<(), LogError> {
        if self.group_members(group)? > 0 {
            return Ok(());
        }
        let client = self.connection.consumer(group, co_partitioned, None).map_err(unavailable)?;
        let mut list = PartitionList::new();
        for topic in topics {
            list.add(topic.as_str(), -1, NO_OFFSET, "");
        }
        client.subscribe(&list).map_err(unavailable)?;
        let deadline = Instant::now() + JOIN_TIMEOUT;
        let mut buffer = FetchBuffer::default();
        // Nothing is taken over, so nothing is read, and dropping the client leaves.
        while client.next_rebalance().is_none() {
            if Instant::now() > deadline {
                return Err(LogError::Unavailable(format!("group {group} could not be joined in time")));
            }
            client.consume(&mut buffer, Duration::from_millis(100), 1, &mut |_| {});
        }
        Ok(())
    }

    fn delete_group(&self, group: &str) -> Result<(), LogError> {
        let admin = self.topics.admin()?;
        let delete = |left| none_refused(block_on(admin.delete_groups(&[group], &Topics::options(left)))?);
        asked_again(delete).or_else(|error| of_group_deletion(group, &error))
    }

    fn offsets_at(&self, topic: &TopicName, at: Timestamp) -> Result<Vec<Option<i64>>, LogError> {
        let partitions = self.topics.partitions(topic)?;
        let client = self.outsider(READER_GROUP)?;
        led(&client, || client.offsets_at(topic.as_str(), 0..partitions, at, CALL_TIMEOUT)).map_err(unavailable)
    }
}
