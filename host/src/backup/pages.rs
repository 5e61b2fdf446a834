//! Reads a partition of a control topic up to an end, page by page.

use std::time::{Duration, Instant};

use super::error::BackupError;
use crate::model::names::TopicName;
use crate::ports::{Log, LogError, LogRecord};

/// Bytes of a page; a single record may be larger.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// Longest wait for a page.
const WAIT: Duration = Duration::from_millis(500);
/// Longest time without a record or a move of the position.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A partition up to an end.
pub struct Part<'a> {
    pub topic: &'a TopicName,
    pub partition: i32,
    pub first: i64,
    pub end: i64,
}

impl Part<'_> {
    /// Hands over each committed record before the end, until `take` returns false.
    pub fn each(
        &self,
        log: &dyn Log,
        mut take: impl FnMut(LogRecord) -> Result<bool, BackupError>,
    ) -> Result<(), BackupError> {
        let Self { topic, partition, first, end } = *self;
        let mut position = first;
        let mut moved = Instant::now();
        while position < end {
            let page = log.read(topic, partition, position, WAIT, PAGE_BYTES_MAX)?;
            for record in page.records {
                if record.offset < end && !take(record)? {
                    return Ok(());
                }
            }
            if page.next_offset > position {
                position = page.next_offset;
                moved = Instant::now();
            } else if moved.elapsed() > SILENCE_MAX {
                return Err(LogError::Unavailable(format!("{topic}/{partition} gives no records from {position} on")).into());
            }
        }
        Ok(())
    }
}
