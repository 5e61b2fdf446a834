//! Reads a page of a partition, outside of sessions.

use std::time::{Duration, Instant};

use super::block::{Entry, Records, entry_bytes};
use super::broker::Broker;
use super::error::unavailable;
use super::store::Block;
use crate::model::names::TopicName;
use crate::ports::{LogError, LogRecord, Page};

/// Longest that one read waits, whatever it was told.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// Reads from a place, which is a topic, a partition and an offset: see [`crate::ports::Log::read`].
pub fn read(
    broker: &Broker,
    (topic, partition, offset): (&TopicName, i32, i64),
    wait: Duration,
    bytes_max: usize,
) -> Result<Page, LogError> {
    let id = broker.find_partition(topic, partition)?;
    let extent = broker.wait_for(id, offset, Instant::now() + wait.min(WAIT_MAX));
    let mut page = PageBuilder {
        page: Page { records: Vec::new(), next_offset: offset.max(extent.start), end_offset: extent.end },
        bytes: 0,
        bytes_max: bytes_max.max(1),
    };
    while page.page.next_offset < extent.end && !page.is_full() {
        let blocks = broker.read(id, page.page.next_offset, extent.end, 1).map_err(unavailable)?;
        let Some(block) = blocks.front() else {
            page.page.next_offset = extent.end;
            break;
        };
        page.add(block)?;
    }
    Ok(page.page)
}

struct PageBuilder {
    page: Page,
    bytes: usize,
    bytes_max: usize,
}

impl PageBuilder {
    fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max
    }

    /// Adds the records of a block from the next offset on, until the page is full.
    fn add(&mut self, block: &Block) -> Result<(), LogError> {
        let mut records = Records::new(&block.bytes, 0);
        let mut headers = Vec::new();
        let from = self.page.next_offset;
        self.page.next_offset = block.last + 1;
        while let Some(record) = records.next(&mut headers).map_err(unavailable)? {
            let offset = block.first + i64::from(record.delta);
            if offset < from {
                continue;
            }
            if self.is_full() {
                self.page.next_offset = offset;
                break;
            }
            let entry = Entry { timestamp: record.timestamp, key: record.key, value: record.value, headers: &headers };
            self.bytes += entry_bytes(&entry);
            self.page.records.push(owned(offset, &entry));
        }
        Ok(())
    }
}

fn owned(offset: i64, entry: &Entry<'_>) -> LogRecord {
    LogRecord {
        offset,
        timestamp: entry.timestamp,
        key: entry.key.map(<[u8]>::to_vec),
        value: entry.value.map(<[u8]>::to_vec),
        headers: entry.headers.iter().map(|(name, value)| ((*name).to_owned(), value.map(<[u8]>::to_vec))).collect(),
    }
}
