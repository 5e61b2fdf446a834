//! The one way to write the deployments topic: a turn, in which nobody else of this host writes.
//!
//! A turn excludes the other writers of **this process**, by a lock. It does not exclude other hosts: two of them that
//! change one transform in the same moment both succeed, and the later record wins. The exclusion between hosts
//! belongs here and nowhere else: [`Writer::begin`] will open a producer with the cluster's transactional id `ctl`,
//! whose initialisation fences every other writer, fetch the end offset after that, and [`Turn::write`] will commit.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::model::names::TopicName;
use crate::ports::{Log, LogError, LogRecord};

pub struct Writer {
    log: Arc<dyn Log>,
    topic: TopicName,
    turn: Mutex<()>,
}

impl Writer {
    pub fn new(log: Arc<dyn Log>, topic: TopicName) -> Self {
        Self { log, topic, turn: Mutex::new(()) }
    }

    /// Waits for its turn. Whoever has read up to [`Turn::end_offset`] knows all that was written before it.
    pub fn begin(&self) -> Result<Turn<'_>, LogError> {
        let guard = self.turn.lock();
        let end_offset = self.end_offset()?;
        Ok(Turn { writer: self, end_offset, _guard: guard })
    }

    /// One past the last record, without taking a turn.
    pub fn end_offset(&self) -> Result<i64, LogError> {
        Ok(self.log.offsets(&self.topic, 0)?.1)
    }
}

/// The right to write one record.
pub struct Turn<'a> {
    writer: &'a Writer,
    end_offset: i64,
    _guard: MutexGuard<'a, ()>,
}

impl Turn<'_> {
    pub fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// Writes the record; returns the end offset after it. The turn lasts until the caller has seen it, so it is
    /// borrowed rather than consumed.
    pub fn write(&self, record: LogRecord) -> Result<i64, LogError> {
        self.writer.log.append(&self.writer.topic, Some(0), vec![record])?;
        self.writer.end_offset()
    }
}
