//! Reads pages of single partitions, outside of any group.
//!
//! A client needs time to connect, so a reader is kept for the next read, which mostly goes on where this one ended.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::config::READER_GROUP;
use super::credentials::Connection;
use super::error::{of_topic, unavailable};
use super::raw::{Client, FetchBuffer, PartitionList, QueueMessage, RawError};
use crate::model::names::TopicName;
use crate::ports::{LogError, LogRecord, Page};

/// Messages that are taken from librdkafka at a time.
const FETCH_RECORDS_MAX: usize = 1024;
/// Bytes that a record of a page counts beside its key and value.
const RECORD_BYTES: usize = 16;
/// A wait for records that is shorter than this says nothing of the end: a fetch may be on its way.
const QUIET_MIN: Duration = Duration::from_millis(200);
/// Time after which a quiet reader asks again where its partition ends: the topic may have been cut, or made anew.
const END_ASKED_MAX: Duration = Duration::from_secs(2);
/// Readers that are kept for the next read; each is a client with threads of its own.
const READERS_MAX: usize = 24;

/// The position of an idle reader: topic, partition, next offset.
type ReaderKey = (TopicName, i32, i64);

/// The readers between two reads: several may follow one partition. Those that were used last.
#[derive(Default)]
pub(super) struct ReaderCache {
    idle: Mutex<HashMap<ReaderKey, IdleReader>>,
}

struct IdleReader {
    since: Instant,
    reader: PartitionReader,
}

/// Reads one partition from an offset on.
struct PartitionReader {
    client: Client,
    /// The generation of the client's properties.
    generation: u64,
    next_offset: i64,
    /// Fetched, and left over from a page that was full.
    left: VecDeque<LogRecord>,
    /// The end of the partition, as it was seen last.
    end_seen: i64,
    /// The time at which a broker was asked for the end.
    end_asked: Option<Instant>,
    buffer: FetchBuffer,
}

// === impl ReaderCache ===

impl ReaderCache {
    /// Reads a page. `ask_end` asks another client for the end: this reader's connection is busy with the next fetch, which
    /// waits for records. A reader that waited at the end and got nothing knows it, for a while.
    pub fn read(
        &self,
        connection: &Connection,
        (topic, partition, offset): (&TopicName, i32, i64),
        wait: Duration,
        bytes_max: usize,
        ask_end: impl FnOnce() -> Result<i64, LogError>,
    ) -> Result<Page, LogError> {
        let kept = self.idle.lock().remove(&(topic.clone(), partition, offset)).map(|idle| idle.reader);
        let kept = kept.filter(|reader| reader.generation == connection.generation());
        let mut reader = match kept {
            Some(reader) => reader,
            None => PartitionReader::open(connection, topic, partition, offset).map_err(unavailable)?,
        };
        let page = reader.page(wait, bytes_max).map_err(|error| of_topic(topic, error))?;
        let end_offset = match reader.known_end(&page, wait) {
            Some(end_offset) => end_offset,
            None => ask_end()?,
        };
        self.keep((topic.clone(), partition, reader.next_offset), reader);
        Ok(Page { end_offset, ..page })
    }

    /// Keeps a reader for the next read, and drops the one that was not used for longest where there are too many.
    fn keep(&self, key: ReaderKey, reader: PartitionReader) {
        let mut idle = self.idle.lock();
        idle.insert(key, IdleReader { since: Instant::now(), reader });
        let oldest = idle.iter().min_by_key(|(_, reader)| reader.since).map(|(key, _)| key.clone());
        let dropped = oldest.filter(|_| idle.len() > READERS_MAX).and_then(|key| idle.remove(&key));
        drop(idle);
        // Closing a client takes a moment: not while others wait for the lock.
        drop(dropped);
    }
}

// === impl PartitionReader ===

impl PartitionReader {
    fn open(connection: &Connection, topic: &TopicName, partition: i32, offset: i64) -> Result<Self, RawError> {
        let generation = connection.generation();
        let client = connection.reader(READER_GROUP)?;
        let mut list = PartitionList::new();
        list.add(topic.as_str(), partition, offset, "");
        client.assign_only(&list)?;
        Ok(Self {
            client,
            generation,
            next_offset: offset,
            left: VecDeque::new(),
            end_seen: 0,
            end_asked: None,
            buffer: FetchBuffer::default(),
        })
    }

    /// The end of the partition, if nobody has to be asked for it after this page. None is noted as a question.
    fn known_end(&mut self, page: &Page, waited: Duration) -> Option<i64> {
        let was_quiet = page.records.is_empty() && waited >= QUIET_MIN && self.end_seen == self.next_offset;
        let is_known = was_quiet && self.end_asked.is_some_and(|at| at.elapsed() < END_ASKED_MAX);
        if !is_known {
            self.end_asked = Some(Instant::now());
        }
        is_known.then_some(self.end_seen)
    }

    fn page(&mut self, wait: Duration, bytes_max: usize) -> Result<Page, RawError> {
        let deadline = Instant::now() + wait;
        // That the end was reached is news too: past records that are not shown.
        while self.left.is_empty() && self.end_seen <= self.next_offset {
            let time_left = deadline.saturating_duration_since(Instant::now());
            self.fetch(time_left)?;
            if time_left.is_zero() {
                break;
            }
        }
        let mut records = Vec::new();
        let mut bytes = 0;
        loop {
            while let Some(record) = self.left.pop_front_if(|_| bytes < bytes_max) {
                bytes += RECORD_BYTES + record.value.as_ref().map_or(0, Vec::len) + record.key.as_ref().map_or(0, Vec::len);
                self.next_offset = record.offset + 1;
                records.push(record);
            }
            // A page costs a question to the broker, so it takes all that is there already. (An error drops this reader, and
            // the next read begins where this one did.)
            if bytes >= bytes_max || self.fetch(Duration::ZERO)? == 0 {
                break;
            }
        }
        if self.left.is_empty() {
            // Control records at the end are read too.
            self.next_offset = self.next_offset.max(self.end_seen);
        }
        Ok(Page { records, next_offset: self.next_offset, ..Page::default() })
    }

    /// Returns the number of messages: records, and ends.
    fn fetch(&mut self, wait: Duration) -> Result<usize, RawError> {
        let left = &mut self.left;
        let end_seen = &mut self.end_seen;
        let mut failed = None;
        let taken = self.client.consume(&mut self.buffer, wait, FETCH_RECORDS_MAX, &mut |message| match message {
            QueueMessage::Record(record) => {
                let mut headers = Vec::new();
                record.headers(&mut headers);
                left.push_back(LogRecord::from(&record.with_headers(&headers)));
            }
            QueueMessage::End { offset, .. } => *end_seen = offset,
            QueueMessage::Error { error, of_partition } if failed.is_none() || of_partition => {
                failed = Some((error, of_partition))
            }
            QueueMessage::Error { .. } => {}
        });
        match failed {
            // Records that came with it may be from behind a gap, whichever side of it they were taken from.
            Some((error, true)) => Err(error),
            Some((error, false)) if self.left.is_empty() => Err(error),
            Some(_) | None => Ok(taken),
        }
    }
}
